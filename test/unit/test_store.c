/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/store.h"

#include "test/support/temp.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static const struct store_schema schema[] = {
    {"kv", 1, "CREATE TABLE kv (k INTEGER PRIMARY KEY, v)"},
    {"other", 1, "CREATE TABLE other (x); INSERT INTO other VALUES (1)"},
    {"kv", 2, "ALTER TABLE kv ADD COLUMN w DEFAULT 5"},
};
#define N_SCHEMA HN_COUNT(schema)

/* One store on one loop, and the results in order. */
struct rig {
	struct loop *loop;
	struct store *store;
	struct buf log; /* "OK rows changes;" and so on */
	unsigned got, wait_for;
	bool stopped;
};

static struct rig rig;

static enum err rig_open(const struct store_schema *rows, size_t n,
			 struct buf *why)
{
	rig = (struct rig){.loop = loop_new()};
	enum err e =
	    store_open(rig.loop, temp_path("db"), rows, n, why, &rig.store);
	if (e)
		assert_true(loop_free(rig.loop));
	return e;
}

static void on_stopped(void *arg)
{
	(void)arg;
	rig.stopped = true;
	loop_stop(rig.loop);
}

static void rig_close(void)
{
	store_stop(rig.store, on_stopped, NULL);
	loop_run(rig.loop);
	assert_true(rig.stopped);
	assert_true(loop_free(rig.loop));
	buf_release(&rig.log);
}

static int set_up(void **state)
{
	struct buf why = {0};
	(void)state;
	temp_make();
	if (rig_open(schema, N_SCHEMA, &why))
		fail_msg("%s", buf_str(&why));
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	rig_close();
	temp_remove();
	return 0;
}

static int dir_up(void **state)
{
	(void)state;
	temp_make();
	return 0;
}

static int dir_down(void **state)
{
	(void)state;
	temp_remove();
	return 0;
}

static void log_val(const struct store_val *v)
{
	switch (v->type) {
	case STORE_NULL:
		buf_add_str(&rig.log, " null");
		break;
	case STORE_INT:
		buf_printf(&rig.log, " %lld", (long long)v->i);
		break;
	case STORE_REAL:
		buf_printf(&rig.log, " %g", v->r);
		break;
	case STORE_TEXT:
		buf_printf(&rig.log, " '%s'", (const char *)v->b.p);
		break;
	case STORE_BLOB:
		buf_printf(&rig.log, " blob%zu", v->b.n);
		break;
	}
}

static void got_one(void)
{
	if (++rig.got == rig.wait_for)
		loop_stop(rig.loop);
}

/* arg: a name for the log. */
static void on_done(const struct store_result *r, void *arg)
{
	assert_true(loop_here(rig.loop));
	assert_int_equal(r->err != OK, r->message != NULL);
	buf_printf(&rig.log, "%s:%s/%lld", (const char *)arg, err_name(r->err),
		   (long long)r->changes);
	for (size_t i = 0; i < r->rows; i++) {
		for (size_t k = 0; k < r->columns; k++)
			log_val(&r->cells[i * r->columns + k]);
		buf_add_str(&rig.log, ",");
	}
	buf_add_str(&rig.log, "; ");
	got_one();
}

static void run(const char *name, const char *sql)
{
	store_run(rig.store, sql, NULL, 0, on_done, (void *)(uintptr_t)name);
}

/* Waits until n more results came; what they were. */
static const char *await(unsigned n)
{
	buf_clear(&rig.log);
	rig.got = 0;
	rig.wait_for = n;
	loop_run(rig.loop);
	assert_int_equal(rig.got, n);
	return buf_str(&rig.log);
}

static void test_values_come_back(void **state)
{
	const struct store_val in[] = {
	    STORE_I(INT64_MIN), STORE_R(2.5),	    store_text("h\xc3\xa4"),
	    store_text(NULL),	STORE_B("a\0b", 3), STORE_B(NULL, 0),
	    store_text(""),
	};
	(void)state;
	store_run(rig.store, "SELECT ?, ?, ?, ?, ?, ?, ?", in, HN_COUNT(in),
		  on_done, "a");
	assert_string_equal(await(1),
			    "a:ok/0 -9223372036854775808 2.5 'h\xc3\xa4' "
			    "null blob3 blob0 '',; ");
}

static void test_results_keep_the_order(void **state)
{
	(void)state;
	for (int i = 0; i < 3000; i++) {
		const struct store_val v[] = {STORE_I(i), STORE_I(i * 2)};
		store_run(rig.store, "INSERT INTO kv (k, v) VALUES (?, ?)", v,
			  2, on_done, "i");
		if (i % 3 == 0)
			run("c", "SELECT count(*) FROM kv");
	}
	const char *s = await(4000);
	for (int i = 0; i < 3000; i++) {
		assert_int_equal(strncmp(s, "i:ok/1; ", 8), 0);
		s += 8;
		if (i % 3)
			continue;
		char want[64];
		int n = snprintf(want, sizeof(want), "c:ok/0 %d,; ", i + 1);
		assert_int_equal(strncmp(s, want, (size_t)n), 0);
		s += n;
	}
}

static void test_one_failure_leaves_the_others(void **state)
{
	(void)state;
	run("a", "INSERT INTO kv VALUES (1, 'one', 0)");
	run("b", "INSERT INTO kv VALUES (2, 'x', 0), (1, 'again', 0)");
	run("c", "INSERT INTO none VALUES (1)");
	run("d", "SELEC 1");
	run("e", "INSERT INTO kv VALUES (3, ?, 0)");
	run("f", "SELECT 1; SELECT 2");
	run("g", "INSERT INTO kv VALUES (4, 'four', 0)");
	run("h", "UPDATE kv SET w = 9");
	run("i", "SELECT k, v, w FROM kv");
	assert_string_equal(await(9),
			    "a:ok/1; b:exists/0; c:internal/0; d:internal/0; "
			    "e:internal/0; f:internal/0; g:ok/1; h:ok/2; "
			    "i:ok/0 1 'one' 9, 4 'four' 9,; ");
	/* They are there for good. */
	rig_close();
	struct buf why = {0};
	assert_int_equal(rig_open(schema, N_SCHEMA, &why), OK);
	run("i", "SELECT k FROM kv");
	assert_string_equal(await(1), "i:ok/0 1, 4,; ");
}

/* A transaction that SQLite drops as a whole takes along what was in it, and
 * says so; what comes later is in a new one. */
static void test_dropped_transaction_is_reported(void **state)
{
	(void)state;
	run("a", "INSERT INTO kv VALUES (1, 1, 0)");
	run("b", "INSERT OR ROLLBACK INTO kv VALUES (1, 2, 0)");
	run("c", "INSERT INTO kv VALUES (2, 2, 0)");
	run("d", "SELECT k FROM kv");
	assert_string_equal(await(4), "a:io/0; b:exists/0; c:ok/1; "
				      "d:ok/0 2,; ");
}

/* A deferred constraint is only seen by COMMIT. */
static void test_failed_commit_fails_all(void **state)
{
	(void)state;
	run("t", "CREATE TABLE child (p REFERENCES kv(k) DEFERRABLE INITIALLY "
		 "DEFERRED)");
	assert_string_equal(await(1), "t:ok/0; ");
	run("a", "INSERT INTO kv VALUES (1, 1, 0)");
	run("b", "INSERT INTO child VALUES (77)");
	run("c", "SELECT count(*) FROM kv");
	assert_string_equal(await(3), "a:io/0; b:io/0; c:io/0; ");
	run("d", "SELECT count(*) FROM kv");
	run("e", "INSERT INTO kv VALUES (1, 1, 0)");
	assert_string_equal(await(2), "d:ok/0 0,; e:ok/1; ");
}

#define NUMBERS(n) \
	"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c " \
	"LIMIT " n ") "

static void on_rows(const struct store_result *r, void *arg)
{
	*(size_t *)arg = r->err ? (size_t)r->err * 1000000 : r->rows;
	got_one();
}

static void test_results_are_bounded(void **state)
{
	size_t rows[4];
	(void)state;
	store_run(rig.store, NUMBERS("10000") "SELECT x FROM c", NULL, 0,
		  on_rows, &rows[0]);
	store_run(rig.store, NUMBERS("10001") "SELECT x FROM c", NULL, 0,
		  on_rows, &rows[1]);
	store_run(rig.store, NUMBERS("100") "SELECT zeroblob(1000000) FROM c",
		  NULL, 0, on_rows, &rows[2]);
	/* A change whose answer is too long is undone. */
	store_run(rig.store,
		  "INSERT INTO kv (k) " NUMBERS("10001") "SELECT x FROM c "
							 "RETURNING k",
		  NULL, 0, on_rows, &rows[3]);
	run("n", "SELECT count(*) FROM kv");
	assert_string_equal(await(5), "n:ok/0 0,; ");
	assert_int_equal(rows[0], 10000);
	for (int i = 1; i < 4; i++)
		assert_int_equal(rows[i], ERR_LIMIT * 1000000);
	run("r", "INSERT INTO kv VALUES (5, 'x', 0) RETURNING k, v");
	assert_string_equal(await(1), "r:ok/1 5 'x',; ");
}

static void test_full_queue_refuses(void **state)
{
	static uint8_t blob[1 << 20];
	size_t rows = 0;
	(void)state;
	/* Keeps the thread busy while the loop fills the queue. */
	store_run(rig.store,
		  NUMBERS("3000000") "SELECT count(*), sum(x) FROM c", NULL, 0,
		  on_rows, &rows);
	const struct store_val v = STORE_B(blob, sizeof(blob));
	for (int i = 0; i < 50; i++)
		store_run(rig.store, "INSERT INTO kv (v) VALUES (?)", &v, 1,
			  on_done, "i");
	const char *s = await(51);
	unsigned ok = 0, busy = 0;
	for (; (s = strstr(s, "i:")); s++) {
		ok += !strncmp(s, "i:ok/1;", 7);
		busy += !strncmp(s, "i:busy/0;", 9);
	}
	assert_int_equal(ok + busy, 50);
	assert_true(busy >= 50 - 33 && ok >= 31);
	char want[64];
	snprintf(want, sizeof(want), "n:ok/0 %u,; ", ok);
	run("n", "SELECT count(*) FROM kv");
	assert_string_equal(await(1), want);
}

static void test_many_texts_pass_the_cache(void **state)
{
	(void)state;
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 200; i++) {
			char sql[64];
			snprintf(sql, sizeof(sql), "SELECT %d", i);
			run("s", sql);
		}
		const char *s = await(200);
		assert_non_null(strstr(s, "s:ok/0 0,; s:ok/0 1,; "));
		assert_non_null(strstr(s, "s:ok/0 199,; "));
	}
}

static void test_cached_statement_survives_new_columns(void **state)
{
	(void)state;
	run("i", "INSERT INTO kv VALUES (1, 2, 3)");
	run("a", "SELECT * FROM kv");
	run("t", "ALTER TABLE kv ADD COLUMN z DEFAULT 8");
	run("b", "SELECT * FROM kv");
	assert_string_equal(await(4), "i:ok/1; a:ok/0 1 2 3,; t:ok/0; "
				      "b:ok/0 1 2 3 8,; ");
}

static void test_stop_runs_what_is_queued(void **state)
{
	struct buf why = {0};
	(void)state;
	for (int i = 0; i < 500; i++)
		run("i", "INSERT INTO kv (v) VALUES (0)");
	store_stop(rig.store, on_stopped, NULL);
	run("late", "SELECT 1");
	loop_run(rig.loop);
	assert_true(rig.stopped);
	assert_int_equal(rig.got, 501);
	assert_non_null(strstr(buf_str(&rig.log), "late:canceled/0; "));
	assert_true(loop_free(rig.loop));
	buf_release(&rig.log);
	assert_int_equal(access(temp_path("db-wal"), F_OK), -1);
	assert_int_equal(rig_open(schema, N_SCHEMA, &why), OK);
	run("n", "SELECT count(*) FROM kv");
	assert_string_equal(await(1), "n:ok/0 500,; ");
}

static void test_files_are_private(void **state)
{
	(void)state;
	run("i", "INSERT INTO kv (v) VALUES (0)");
	await(1);
	assert_int_equal(temp_mode(temp_path("db")), 0600);
	assert_int_equal(temp_mode(temp_path("db-wal")), 0600);
	assert_int_equal(temp_mode(temp_path("db-shm")), 0600);
}

static void test_store_settings(void **state)
{
	(void)state;
	run("j", "PRAGMA journal_mode");
	run("s", "PRAGMA synchronous");
	run("m", "SELECT module, version FROM meta ORDER BY module");
	assert_string_equal(await(3), "j:ok/0 'wal',; s:ok/0 2,; "
				      "m:ok/0 'kv' 2, 'other' 1,; ");
}

/* Schema */

static void test_schema_grows(void **state)
{
	struct buf why = {0};
	(void)state;
	assert_int_equal(rig_open(schema, 2, &why), OK);
	run("i", "INSERT INTO kv VALUES (1, 2)");
	await(1);
	rig_close();
	assert_int_equal(rig_open(schema, N_SCHEMA, &why), OK);
	run("k", "SELECT * FROM kv");
	run("o", "SELECT count(*) FROM other"); /* ran once */
	assert_string_equal(await(2), "k:ok/0 1 2 5,; o:ok/0 1,; ");
	rig_close();
	/* A module that we do not know is none of our business. */
	assert_int_equal(rig_open(schema, 0, &why), OK);
	rig_close();
}

static void assert_open_refused(const struct store_schema *rows, size_t n,
				enum err want, const char *words)
{
	struct buf why = {0};
	assert_int_equal(rig_open(rows, n, &why), want);
	if (!strstr(buf_str(&why), words) ||
	    !strstr(buf_str(&why), temp_path("db")))
		fail_msg("\"%s\" does not say %s", buf_str(&why), words);
	buf_release(&why);
}

static void test_newer_schema_is_refused(void **state)
{
	struct buf why = {0};
	(void)state;
	assert_int_equal(rig_open(schema, N_SCHEMA, &why), OK);
	rig_close();
	assert_open_refused(schema, 2, ERR_CONFIG, "newer hnode");
	/* And nothing was changed by trying. */
	assert_int_equal(rig_open(schema, N_SCHEMA, &why), OK);
	rig_close();
}

static void test_failed_step_undoes_all_steps(void **state)
{
	static const struct store_schema bad[] = {
	    {"kv", 1, "CREATE TABLE kv (k)"},
	    {"kv", 2, "CREATE TABLE more (k); CREATE TABLE kv (k)"},
	};
	struct buf why = {0};
	(void)state;
	assert_open_refused(bad, 2, ERR_IO, "already exists");
	assert_int_equal(rig_open(schema, N_SCHEMA, &why), OK);
	run("m", "SELECT count(*) FROM sqlite_schema WHERE name = 'more'");
	assert_string_equal(await(1), "m:ok/0 0,; ");
	rig_close();
}

/* Files that are not ours */

static void test_garbage_is_refused_and_kept(void **state)
{
	static char junk[20000];
	(void)state;
	for (size_t i = 0; i < sizeof(junk); i++)
		junk[i] = (char)(i * 7919 >> 3);
	temp_write(temp_path("db"), junk, sizeof(junk));
	assert_open_refused(schema, N_SCHEMA, ERR_CONFIG, "not a database");
	temp_write(temp_path("db"), "hello", 5);
	assert_open_refused(schema, N_SCHEMA, ERR_CONFIG, "not a database");
	struct stat st;
	assert_int_equal(stat(temp_path("db"), &st), 0);
	assert_int_equal(st.st_size, 5);
	/* An empty file is how every database begins. */
	struct buf why = {0};
	temp_write(temp_path("db"), "", 0);
	assert_int_equal(rig_open(schema, N_SCHEMA, &why), OK);
	rig_close();
}

static void test_damage_is_found_at_open(void **state)
{
	struct buf why = {0};
	uint8_t blank[4096];
	struct stat st;
	(void)state;
	assert_int_equal(rig_open(schema, N_SCHEMA, &why), OK);
	for (int i = 0; i < 2000; i++)
		store_run(rig.store,
			  "INSERT INTO kv (v) VALUES (hex(randomblob(50)))",
			  NULL, 0, NULL, NULL);
	rig_close();
	int fd = open(temp_path("db"), O_RDWR);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_size > 20 * 4096);
	memset(blank, 0xa5, sizeof(blank));
	assert_int_equal(pwrite(fd, blank, 4096, 15 * 4096), 4096);
	close(fd);
	assert_open_refused(schema, N_SCHEMA, ERR_CONFIG, "is damaged");
	/* Cut in the middle. */
	assert_int_equal(truncate(temp_path("db"), 10 * 4096), 0);
	assert_open_refused(schema, N_SCHEMA, ERR_CONFIG, "is damaged");
}

static void test_what_is_no_file_is_refused(void **state)
{
	(void)state;
	assert_int_equal(mkfifo(temp_path("db"), 0600), 0);
	assert_open_refused(schema, N_SCHEMA, ERR_CONFIG, "no regular file");
	assert_int_equal(unlink(temp_path("db")), 0);
	assert_int_equal(mkdir(temp_path("db"), 0700), 0);
	assert_open_refused(schema, N_SCHEMA, ERR_IO, "cannot be opened");
}

/* kill -9 */

/* In the child: inserts 1, 2, 3, ... and tells the parent each number that
 * was reported done. */
struct child {
	int out;
	int64_t next, reported;
};

static void child_insert(struct child *c);

static void on_child_done(const struct store_result *r, void *arg)
{
	struct child *c = arg;
	c->reported++;
	if (r->err || write(c->out, &c->reported, sizeof(c->reported)) !=
			  sizeof(c->reported))
		_exit(1);
	child_insert(c);
}

static void child_insert(struct child *c)
{
	const struct store_val v = STORE_I(++c->next);
	store_run(rig.store, "INSERT INTO kv (k, v) VALUES (?, randomblob(99))",
		  &v, 1, on_child_done, c);
}

static void child_main(int out)
{
	struct child c = {.out = out};
	struct buf why = {0};
	if (rig_open(schema, N_SCHEMA, &why))
		_exit(1);
	for (int i = 0; i < 200; i++) /* so many are always queued */
		child_insert(&c);
	loop_run(rig.loop);
	_exit(1);
}

static void test_what_was_reported_survives_kill(void **state)
{
	struct buf why = {0};
	int64_t last = 0, one;
	int p[2];
	(void)state;
	for (int round = 1; round <= 3; round++) {
		last = 0;
		assert_int_equal(pipe(p), 0);
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (!pid) {
			close(p[0]);
			child_main(p[1]);
		}
		close(p[1]);
		while (last < round * 700 &&
		       read(p[0], &one, sizeof(one)) == sizeof(one))
			last = one;
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		while (read(p[0], &one, sizeof(one)) == sizeof(one))
			last = one;
		close(p[0]);
		assert_true(last >= round * 700);

		assert_int_equal(rig_open(schema, N_SCHEMA, &why), OK);
		run("n", "SELECT count(*), max(k) FROM kv");
		long long count, max;
		assert_int_equal(
		    sscanf(await(1), "n:ok/0 %lld %lld,", &count, &max), 2);
		assert_int_equal(count, max); /* no hole: a prefix */
		assert_true(max >= last);
		assert_true(max <= last + 400);
		run("d", "DELETE FROM kv");
		await(1);
		rig_close();
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define D(f) cmocka_unit_test_setup_teardown(f, dir_up, dir_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_values_come_back),
	    T(test_results_keep_the_order),
	    T(test_one_failure_leaves_the_others),
	    T(test_dropped_transaction_is_reported),
	    T(test_failed_commit_fails_all),
	    T(test_results_are_bounded),
	    T(test_full_queue_refuses),
	    T(test_many_texts_pass_the_cache),
	    T(test_cached_statement_survives_new_columns),
	    T(test_stop_runs_what_is_queued),
	    T(test_files_are_private),
	    T(test_store_settings),
	    D(test_schema_grows),
	    D(test_newer_schema_is_refused),
	    D(test_failed_step_undoes_all_steps),
	    D(test_garbage_is_refused_and_kept),
	    D(test_damage_is_found_at_open),
	    D(test_what_is_no_file_is_refused),
	    D(test_what_was_reported_survives_kill),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
