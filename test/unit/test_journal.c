/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Jobs on disk with a real store: what was said to be saved is there after a
 * death at any moment, and of a file that is cut anywhere nothing false is
 * read.
 */
#include "node/mesh/journal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "asic/sha256d.h"
#include "node/base/store_tool.h"
#include "node/mesh/job.h"
#include "node/mesh/job_save.h"
#include "node/mesh/journal_check.h"
#include "test/support/temp.h"

#define CAP "hash/sha256d"
#define RANGE 30000u
#define CUTS 400

/* --- a coordinator whose only worker is the test --- */

struct given {
	uint64_t id;
	struct scan_work work;
};

static struct rig {
	struct loop *loop;
	struct store *store;
	struct jobs *jobs;
	struct journal *journal;
	struct given lease; /* the last one given */
	bool has_lease;
	char working[JOB_ID_SIZE];
	unsigned ends, told; /* journal says so */
	enum err e;
	char text[200];
	bool done;
	uint64_t seed;
} rig;

static uint64_t on_random(void *arg)
{
	(void)arg;
	uint64_t z = rig.seed += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static enum err on_assign(void *arg, const struct lease *l)
{
	(void)arg;
	/* One is worked on; the others lie there until the worker goes. */
	if (rig.has_lease || strcmp(rig.working, l->job) != 0)
		return OK;
	rig.lease.id = l->id;
	lease_scan(l, &rig.lease.work);
	rig.has_lease = true;
	return OK;
}

static void on_revoke(void *arg, uint64_t id)
{
	(void)arg;
	if (id == rig.lease.id)
		rig.has_lease = false;
}

static enum err on_rescan(void *arg, uint64_t id, const struct scan_work *w)
{
	(void)arg, (void)id, (void)w;
	return ERR_DEVICE;
}

static void on_bad(void *arg, const struct node_id *id,
		   const struct job_proof *proof, const char *why)
{
	(void)arg, (void)id, (void)proof, (void)why;
	if (rig.journal)
		journal_dropped(rig.journal);
}

static void on_changed(void *arg, const char *job, bool ended)
{
	(void)arg;
	if (rig.journal)
		journal_changed(rig.journal, job, ended);
}

static const struct jobs_ops ops = {
    .random = on_random,
    .assign = on_assign,
    .revoke = on_revoke,
    .rescan = on_rescan,
    .rescan_cancel = on_revoke,
    .peer_bad = on_bad,
    .changed = on_changed,
};

static void on_ended(void *arg, const char *job)
{
	(void)arg;
	assert_true(journal_final(rig.journal, job));
	rig.ends++;
	loop_stop(rig.loop);
}

static void on_done(void *arg, const char *job, enum err e, const char *text)
{
	(void)arg, (void)job;
	rig.e = e;
	snprintf(rig.text, sizeof(rig.text), "%s", text ? text : "");
	rig.told++;
	loop_stop(rig.loop);
}

static void on_loaded(void *arg, enum err e, const char *text)
{
	on_done(arg, NULL, e, text);
}

static void rig_jobs(void)
{
	struct node_id self;

	memset(&self, 0xee, sizeof(self));
	rig.jobs = jobs_new(&ops, NULL, &self);
	rig.journal = NULL;
	rig.has_lease = false;
}

/* The store's error, or what loading says. */
static enum err rig_open(const char *path, struct buf *why)
{
	static const struct store_schema peers = {
	    "peers", 1, "CREATE TABLE peers (id BLOB PRIMARY KEY)"};
	struct store_schema all[4] = {peers};
	size_t n = 1;

	for (size_t i = 0; i < journal_schema_count; i++)
		all[n++] = journal_schema[i];
	rig.loop = loop_new();
	enum err e = store_open(rig.loop, path, all, n, why, &rig.store);
	if (e) {
		assert_true(loop_free(rig.loop));
		return e;
	}
	rig.seed = 1000 + clock_ns();
	rig_jobs();
	rig.journal =
	    journal_new(rig.loop, rig.store, rig.jobs, on_ended, NULL);
	journal_load(rig.journal, on_loaded, NULL);
	loop_run(rig.loop);
	buf_add_str(why, rig.text);
	return rig.e;
}

static void on_stopped(void *arg)
{
	(void)arg;
	rig.done = true;
	loop_stop(rig.loop);
}

static void rig_close(void)
{
	rig.done = false;
	journal_stop(rig.journal);
	jobs_free(rig.jobs);
	store_stop(rig.store, on_stopped, NULL);
	while (!rig.done)
		loop_run(rig.loop);
	journal_free(rig.journal);
	assert_true(loop_free(rig.loop));
}

static void open_ok(const char *path)
{
	struct buf why = {0};

	if (rig_open(path, &why))
		fail_msg("%s", buf_str(&why));
	buf_release(&why);
}

static uint64_t now(void)
{
	return loop_ms(rig.loop);
}

static void submit(uint64_t start, bool all, char id[static JOB_ID_SIZE])
{
	struct search_spec s = {.start = start,
				.end = start + RANGE,
				.all = all,
				.terms.wait_ms = 1000000};
	struct buf why = {0};

	memset(s.target, 0xff, sizeof(s.target));
	s.target[31] = 0;
	s.target[30] = 0x0f; /* one in 4096 */
	assert_int_equal(jobs_submit_search(rig.jobs, &s, now(), &why, id), OK);
	const unsigned before = rig.told;
	journal_submitted(rig.journal, id, on_done, NULL);
	while (rig.told == before)
		loop_run(rig.loop);
	assert_int_equal(rig.e, OK);
	buf_release(&why);
}

static void work(uint64_t from, uint64_t below)
{
	const struct scan_work *w = &rig.lease.work;
	uint32_t shares[RANGE];
	uint8_t digest[32];
	size_t n = 0;

	for (uint64_t i = from; i < below; i++) {
		sha256d_header(w->header, (uint32_t)i, digest);
		if (sha256d_zero_bits(digest) >= w->share_bits)
			shares[n++] = (uint32_t)i;
	}
	jobs_progress(rig.jobs, rig.lease.id, below, shares, n, now());
}

static bool has_done(const char *id, uint64_t hashes)
{
	struct arena a = {0};
	struct job_info info;

	assert_int_equal(jobs_info(rig.jobs, id, JOB_BRIEF, now(), &a, &info),
			 OK);
	const bool enough =
	    info.hashes >= hashes || !strcmp(info.state, "done");
	arena_release(&a);
	return enough;
}

/* Units until the job has come so far, or has ended. */
static void work_until(const char *id, uint64_t hashes)
{
	struct worker_offer o = {.rate = 20000, .slots = 8};

	memset(o.id.b, 0xee, sizeof(o.id.b));
	memcpy(rig.working, id, JOB_ID_SIZE);
	while (!has_done(id, hashes)) {
		jobs_worker(rig.jobs, CAP, &o, now());
		jobs_tick(rig.jobs, now());
		assert_true(rig.has_lease);
		const struct given l = rig.lease;
		uint64_t at = l.work.start;

		while (at < l.work.end && !has_done(id, hashes)) {
			const uint64_t next =
			    at + 1000 < l.work.end ? at + 1000 : l.work.end;

			work(at, next);
			at = next;
		}
		if (at == l.work.end) {
			rig.has_lease = false;
			jobs_lease_end(rig.jobs, l.id, OK,
				       l.work.end - l.work.start, now());
		}
		jobs_worker_gone(rig.jobs, CAP, &o.id, now());
		rig.has_lease = false;
	}
}

static void on_time(void *arg)
{
	*(bool *)arg = true;
	loop_stop(rig.loop);
}

/* Lazy saves come within a second or so. */
static void wait_ms(uint64_t ms)
{
	bool over = false;
	struct loop_timer *t = loop_timer_new(rig.loop, on_time, &over);

	loop_timer_set(t, ms);
	while (!over)
		loop_run(rig.loop);
	loop_timer_free(t);
}

static void wait_end(void)
{
	const unsigned before = rig.ends;

	while (rig.ends == before)
		loop_run(rig.loop);
}

static char *shown(const char *id)
{
	struct arena a = {0};
	struct buf b = {0};
	struct job_info info;

	assert_int_equal(jobs_info(rig.jobs, id, JOB_UNITS, now(), &a, &info),
			 OK);
	info.rate = 0;
	info.eta_s = 0;
	if (!strcmp(info.state, "running")) {
		struct job_peer *p = info.by_peer.items;

		info.seconds = 0;
		/* What peers did in other jobs is saved at its end. */
		for (size_t i = 0; i < info.by_peer.n; i++) {
			p[i].all_hashes = p[i].all_expected = 0;
			p[i].all_shares = p[i].all_failures = 0;
			p[i].all_rescanned = p[i].all_pieces = 0;
			p[i].all_checks = 0;
		}
	}
	fields_to_json(&job_info_message, &info, &b);
	char *text = xstrdup(buf_str(&b));
	buf_release(&b);
	arena_release(&a);
	return text;
}

static struct buf slurp(const char *path)
{
	struct buf b = {0};
	FILE *f = fopen(path, "re");
	char part[65536];
	size_t n;

	if (!f)
		return b;
	while ((n = fread(part, 1, sizeof(part), f)))
		buf_add(&b, part, n);
	fclose(f);
	return b;
}

/* What a kill -9 now would leave, under another name. */
static void kill_to(const char *from, const char *to)
{
	static const char *const ends[] = {"", "-wal", "-mark"};

	for (size_t i = 0; i < HN_COUNT(ends); i++) {
		char *a = xasprintf("%s%s", from, ends[i]);
		char *b = xasprintf("%s%s", to, ends[i]);
		struct buf bytes = slurp(a);

		temp_write(b, bytes.p, bytes.n);
		buf_release(&bytes);
		free(a);
		free(b);
	}
}

/* --- the tests --- */

static void test_what_was_told_survives(void **state)
{
	char open[JOB_ID_SIZE], ended[JOB_ID_SIZE], gone[JOB_ID_SIZE];

	(void)state;
	open_ok(temp_path("one"));
	submit(0, true, ended);
	work_until(ended, RANGE);
	assert_false(journal_final(rig.journal, ended));
	wait_end();
	submit(RANGE, true, open);
	work_until(open, RANGE / 2);
	wait_ms(1300);
	submit(0, false, gone);
	assert_int_equal(jobs_cancel(rig.jobs, gone, now()), OK);
	const unsigned before = rig.told;
	journal_when_final(rig.journal, gone, on_done, NULL);
	while (rig.told == before)
		loop_run(rig.loop);

	char *was[3] = {shown(ended), shown(open), shown(gone)};
	const struct job_marks marks = jobs_marks(rig.jobs);

	kill_to(temp_path("one"), temp_path("two"));
	rig_close();
	open_ok(temp_path("two"));
	char *is[3] = {shown(ended), shown(open), shown(gone)};

	for (int i = 0; i < 3; i++) {
		assert_string_equal(was[i], is[i]);
		free(was[i]);
		free(is[i]);
	}
	assert_true(jobs_marks(rig.jobs).lease >= marks.lease);
	assert_int_equal(jobs_marks(rig.jobs).job, marks.job);
	assert_null(journal_trouble(rig.journal));
	work_until(open, RANGE);
	wait_end();
	rig_close();
}

static void test_a_clean_stop_saves_the_last_word(void **state)
{
	char id[JOB_ID_SIZE];

	(void)state;
	open_ok(temp_path("one"));
	submit(0, true, id);
	work_until(id, RANGE / 3);
	char *was = shown(id);
	rig_close();
	open_ok(temp_path("one"));
	char *is = shown(id);
	assert_string_equal(was, is);
	free(was);
	free(is);
	rig_close();
}

static size_t count(void)
{
	size_t n = 0;
	struct buf why = {0};
	struct store_tool *t;
	struct arena a = {0};
	struct db_check d;

	assert_int_equal(store_tool_open(temp_path("one"), &why, &t), OK);
	journal_check(t, "one", &a, &d);
	assert_true(d.whole);
	n = d.ended;
	store_tool_close(t);
	arena_release(&a);
	buf_release(&why);
	return n;
}

static void test_only_so_many_are_kept(void **state)
{
	char first[JOB_ID_SIZE] = "", id[JOB_ID_SIZE];
	size_t hits;
	bool is_open;

	(void)state;
	open_ok(temp_path("one"));
	for (int i = 0; i < JOB_MAX_KEPT + 20; i++) {
		submit(0, false, i ? id : first);
		assert_int_equal(jobs_cancel(rig.jobs, i ? id : first, now()),
				 OK);
	}
	while (!journal_final(rig.journal, id))
		wait_end();
	rig_close();
	assert_int_equal(count(), JOB_MAX_KEPT);
	open_ok(temp_path("one"));
	assert_false(jobs_glance(rig.jobs, first, &hits, &is_open));
	assert_true(jobs_glance(rig.jobs, id, &hits, &is_open));
	rig_close();
}

static void on_sql(const struct store_result *r, void *arg)
{
	(void)arg;
	assert_int_equal(r->err, OK);
	loop_stop(rig.loop);
}

static void sql(const char *text)
{
	store_run(rig.store, text, NULL, 0, on_sql, NULL);
	loop_run(rig.loop);
}

static void test_the_old_ones_go(void **state)
{
	char id[JOB_ID_SIZE];
	size_t hits;
	bool is_open;

	(void)state;
	open_ok(temp_path("one"));
	submit(0, false, id);
	assert_int_equal(jobs_cancel(rig.jobs, id, now()), OK);
	wait_end();
	sql("UPDATE jobs SET ended = ended - 2592000000 - 1000");
	rig_close();
	open_ok(temp_path("one"));
	assert_false(jobs_glance(rig.jobs, id, &hits, &is_open));
	rig_close();
	assert_int_equal(count(), 0);
}

static void test_a_damaged_record_is_said_and_set_aside(void **state)
{
	char bad[JOB_ID_SIZE], good[JOB_ID_SIZE];
	struct buf why = {0};
	struct arena a = {0};
	struct store_tool *t;
	struct db_check d;
	size_t hits;
	bool is_open;

	(void)state;
	open_ok(temp_path("one"));
	submit(0, false, bad);
	submit(1, false, good);
	sql("UPDATE jobs SET saved = CAST(substr(saved, 1, length(saved) - 1) "
	    "|| x'07' AS BLOB) WHERE n = 1");
	kill_to(temp_path("one"), temp_path("two"));
	rig_close();

	assert_int_equal(store_tool_open(temp_path("two"), &why, &t), OK);
	journal_check(t, "two", &a, &d);
	store_tool_close(t);
	assert_false(d.whole);
	assert_int_equal(d.lost, 1);
	assert_int_equal(d.open, 1);
	assert_int_equal(d.wrong.n, 1);
	assert_non_null(strstr(d.wrong.items[0], bad));

	open_ok(temp_path("two"));
	assert_false(jobs_glance(rig.jobs, bad, &hits, &is_open));
	assert_true(jobs_glance(rig.jobs, good, &hits, &is_open));
	assert_non_null(journal_trouble(rig.journal));
	rig_close();
	open_ok(temp_path("two"));
	assert_null(journal_trouble(rig.journal)); /* it was said */
	rig_close();
	arena_release(&a);
	buf_release(&why);
}

/* A disk that refuses is said, keeps no result back, and is tried again. */
static void test_a_disk_that_refuses(void **state)
{
	const struct search_spec s = {.end = 9, .terms.wait_ms = 1000000};
	char id[JOB_ID_SIZE], no[JOB_ID_SIZE];
	struct buf why = {0};

	(void)state;
	open_ok(temp_path("one"));
	submit(0, true, id);
	sql("CREATE TRIGGER a BEFORE INSERT ON jobs BEGIN "
	    "SELECT RAISE(ABORT, 'no room'); END");
	assert_int_equal(jobs_submit_search(rig.jobs, &s, now(), &why, no), OK);
	const unsigned before = rig.told;
	journal_submitted(rig.journal, no, on_done, NULL);
	while (rig.told == before)
		loop_run(rig.loop);
	assert_int_not_equal(rig.e, OK);
	assert_non_null(strstr(rig.text, "no room"));
	assert_non_null(strstr(journal_trouble(rig.journal), "no room"));
	assert_int_equal(jobs_cancel(rig.jobs, no, now()), OK);
	wait_end();

	assert_int_equal(jobs_cancel(rig.jobs, id, now()), OK);
	wait_end();
	assert_true(journal_final(rig.journal, id));
	sql("DROP TRIGGER a");
	wait_ms(2500);
	assert_null(journal_trouble(rig.journal));
	kill_to(temp_path("one"), temp_path("two"));
	rig_close();
	open_ok(temp_path("two"));
	char *is = shown(id);
	assert_non_null(strstr(is, "canceled"));
	free(is);
	rig_close();
	buf_release(&why);
}

static void on_text(void *arg, const struct store_val *cells, size_t n)
{
	assert_int_equal(n, 1);
	buf_add_str(arg, (const char *)cells[0].b.p);
	buf_add_str(arg, ";");
}

static void test_a_backup_is_a_whole_database(void **state)
{
	char id[JOB_ID_SIZE];
	struct buf why = {0}, ids = {0};
	struct store_tool *t;

	(void)state;
	open_ok(temp_path("one"));
	submit(0, true, id);
	work_until(id, RANGE / 2);
	wait_ms(1300);
	char *was = shown(id);

	/* While it runs. */
	assert_int_equal(store_tool_open(temp_path("one"), &why, &t), OK);
	assert_int_equal(store_tool_backup(t, temp_path("two"), &why), OK);
	assert_int_equal(temp_mode(temp_path("two")), 0600);
	assert_int_equal(store_tool_backup(t, temp_path("two"), &why),
			 ERR_EXISTS);
	assert_int_equal(store_tool_backup(t, "/no/such/dir/x", &why), ERR_IO);
	store_tool_close(t);
	rig_close();

	assert_int_equal(store_tool_open(temp_path("two"), &why, &t), OK);
	assert_int_equal(
	    store_tool_each(t, "SELECT id FROM jobs", on_text, &ids, &why), OK);
	assert_memory_equal(buf_str(&ids), id, 8);
	store_tool_close(t);
	open_ok(temp_path("two"));
	char *is = shown(id);
	assert_string_equal(was, is);
	rig_close();

	temp_write(temp_path("none"), "", 0);
	assert_int_equal(store_tool_open(temp_path("none"), &why, &t),
			 ERR_CONFIG);
	assert_int_equal(store_tool_open(temp_path("nope"), &why, &t),
			 ERR_NOTFOUND);
	temp_write(temp_path("text"), "hello, this is no database at all", 33);
	assert_int_equal(store_tool_open(temp_path("text"), &why, &t),
			 ERR_CONFIG);
	free(was);
	free(is);
	buf_release(&why);
	buf_release(&ids);
}

/* --- cut anywhere --- */

#define CUT_JOBS 6
static struct {
	char id[JOB_ID_SIZE];
	char *final; /* what it was told to be; NULL: open */
} story[CUT_JOBS];

/* A database with a history in the file and one in the log of changes. */
static void make_history(void)
{
	open_ok(temp_path("one"));
	for (size_t i = 0; i < CUT_JOBS; i++) {
		if (i == CUT_JOBS / 2) {
			rig_close(); /* what was in the log is in the file */
			open_ok(temp_path("one"));
		}
		submit(i * RANGE, true, story[i].id);
		work_until(story[i].id, i % 2 ? RANGE / 2 : RANGE);
		if (i % 2) {
			wait_ms(1200);
		} else {
			wait_end();
			story[i].final = shown(story[i].id);
		}
	}
	kill_to(temp_path("one"), temp_path("kept"));
	rig_close();
}

struct tally {
	unsigned opened, refused, jobs, missing, reopened, said, behind;
};

/* Every job that is there is one of ours, and no more than it was. */
static void look(struct tally *t)
{
	for (size_t i = 0; i < CUT_JOBS; i++) {
		struct arena a = {0};
		struct job_info info;
		size_t hits;
		bool is_open;

		if (!jobs_glance(rig.jobs, story[i].id, &hits, &is_open)) {
			t->missing++;
			continue;
		}
		t->jobs++;
		assert_int_equal(jobs_info(rig.jobs, story[i].id, JOB_PEERS,
					   now(), &a, &info),
				 OK);
		assert_int_equal(info.start, i * RANGE);
		assert_int_equal(info.end, i * RANGE + RANGE);
		assert_true(info.hashes <= (i % 2 ? RANGE - 1 : RANGE));
		if (!is_open) {
			char *is = shown(story[i].id);

			assert_non_null(story[i].final);
			assert_string_equal(is, story[i].final);
			free(is);
		} else {
			t->reopened += story[i].final != NULL;
		}
		arena_release(&a);
	}
}

static void check_cut(struct tally *t)
{
	struct buf why = {0};
	struct store_tool *tool;
	struct arena a = {0};
	struct db_check d = {0};

	/* The tool first: it changes nothing. */
	const enum err seen = store_tool_open(temp_path("cut"), &why, &tool);
	if (!seen) {
		journal_check(tool, temp_path("cut"), &a, &d);
		store_tool_close(tool);
		assert_true(d.whole == !d.wrong.n);
	} else {
		assert_true(why.n);
	}
	buf_clear(&why);
	const enum err e = rig_open(temp_path("cut"), &why);
	if (e) {
		/* It says what is the matter, and so did the tool. */
		assert_int_equal(e, ERR_CONFIG);
		assert_true(strstr(buf_str(&why), "is damaged") ||
			    strstr(buf_str(&why), "is not a database"));
		assert_true(seen || !d.whole);
		t->refused++;
	} else {
		t->opened++;
		t->said += journal_trouble(rig.journal) != NULL;
		/* What a cut log took away is said, by both. */
		const struct tally before = *t;

		look(t);
		if (t->missing > before.missing ||
		    t->reopened > before.reopened)
			assert_true(store_lost(rig.store) > 0 ||
				    journal_trouble(rig.journal) != NULL);
		t->behind += store_lost(rig.store) > 0;
		if (!seen)
			assert_int_equal(d.older, store_lost(rig.store));
		if (!seen)
			assert_true(d.whole ||
				    journal_trouble(rig.journal) != NULL);
		rig_close();
	}
	arena_release(&a);
	buf_release(&why);
}

static void test_cut_anywhere_tells_nothing_false(void **state)
{
	struct tally t[2] = {{0}};
	uint64_t seed = 42;

	(void)state;
	make_history();
	struct buf parts[2] = {slurp(temp_path("kept")),
			       slurp(temp_path("kept-wal"))};
	struct buf mark = slurp(temp_path("kept-mark"));

	assert_true(parts[0].n > 8192 && parts[1].n > 8192);
	for (int i = 0; i < CUTS; i++) {
		const int which = i % 2;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		const size_t at = (size_t)(seed >> 20) % parts[which].n;

		temp_write(temp_path("cut"), parts[0].p,
			   which == 0 ? at : parts[0].n);
		temp_write(temp_path("cut-wal"), parts[1].p,
			   which == 1 ? at : parts[1].n);
		temp_write(temp_path("cut-mark"), mark.p, mark.n);
		unlink(temp_path("cut-shm"));
		check_cut(&t[which]);
		unlink(temp_path("cut"));
		unlink(temp_path("cut-wal"));
		unlink(temp_path("cut-shm"));
		unlink(temp_path("cut-mark"));
	}
	for (int i = 0; i < 2; i++)
		printf("%s cut %d times: %u opened (%u jobs read, %u behind "
		       "the cut, %u to be ended again; %u times said to be "
		       "older), %u refused\n",
		       i ? "log" : "file", CUTS / 2, t[i].opened, t[i].jobs,
		       t[i].missing, t[i].reopened, t[i].behind, t[i].refused);
	assert_int_equal(t[1].opened, CUTS / 2);
	for (size_t i = 0; i < CUT_JOBS; i++)
		free(story[i].final);
	buf_release(&parts[0]);
	buf_release(&parts[1]);
	buf_release(&mark);
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

#define T(f) cmocka_unit_test_setup_teardown(f, dir_up, dir_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_what_was_told_survives),
	    T(test_a_clean_stop_saves_the_last_word),
	    T(test_only_so_many_are_kept),
	    T(test_the_old_ones_go),
	    T(test_a_damaged_record_is_said_and_set_aside),
	    T(test_a_disk_that_refuses),
	    T(test_a_backup_is_a_whole_database),
	    T(test_cut_anywhere_tells_nothing_false),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
