/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One thread owns the connection. It takes statements one by one from a
 * bounded queue. A read outside a transaction is answered at once. The first
 * change opens a transaction; the thread then goes on with what comes, until
 * nothing came for LINGER_MS or GROUP_MS are over, and commits: one fsync for
 * all of them. Only then the whole batch goes to the loop as one post. So a
 * lone change costs LINGER_MS and an fsync, a burst one fsync for hundreds,
 * and whatever a done callback was told survives kill -9 and power loss.
 *
 * A statement that fails is undone by SQLite alone (conflict resolution
 * ABORT). Errors that make SQLite drop the whole transaction (disc full, I/O)
 * show as autocommit being on again: then everything of this batch so far is
 * reported as lost and the next change opens a new transaction. The one
 * statement that can end with an error of ours after it changed something,
 * a RETURNING over the row limit, runs inside a savepoint.
 *
 * Rejected: one transaction per call of the loop (an fsync per event; a slow
 * card then sets the pace), the uv pool (no order), a connection for reads (a
 * read must see the changes queued before it).
 */
#include "node/base/store.h"

#include "node/base/log.h"
#include "node/base/store_file.h"
#include "node/base/store_mark.h"

#include <sqlite3.h>

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define GROUP_MS 20
#define LINGER_MS 2
#define BATCH_MAX 4096 /* statements whose results wait for one commit */
#define CACHE_MAX 64

/* A queued statement, later its result. One allocation with all it holds. */
struct item {
	struct item *next;
	struct store *counted; /* NULL: it was refused */
	store_done_fn done;
	void *arg;
	const char *sql;
	size_t size;
	struct store_result r;
	bool change; /* not read-only: lost when its transaction is */
	char *message;
	struct arena bytes;
	struct store_val *cells;
	size_t ncells; /* room for */
	size_t nvals;
	struct store_val vals[];
};

struct items {
	struct item *first, **tail;
	size_t n, bytes;
};

struct cached {
	char *sql;
	sqlite3_stmt *stmt;
	uint64_t used;
};

struct store {
	struct loop *loop;
	pthread_t thread;
	bool stopped;	/* loop: store_stop was called */
	size_t waiting; /* loop: statements whose done has not been called */
	loop_fn stop_done;
	void *stop_arg;

	/* Under the mutex: */
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	struct items queue;
	bool stopping;

	/* The thread's own, after store_open: */
	sqlite3 *db;
	bool in_change;	    /* a transaction is open */
	uint64_t commit_at; /* ns, its latest end */
	struct items batch; /* run, not yet posted */
	struct cached cache[CACHE_MAX];
	size_t ncached;
	uint64_t uses;
	uint64_t count; /* transactions of changes */
	struct store_mark mark;

	uint64_t lost; /* constant */
};

struct store_val store_text(const char *s)
{
	if (!s)
		return (struct store_val){.type = STORE_NULL};
	return (struct store_val){.type = STORE_TEXT,
				  .b = {(const uint8_t *)s, strlen(s)}};
}

/* Lists */

static void items_init(struct items *q)
{
	*q = (struct items){.tail = &q->first};
}

static void items_add(struct items *q, struct item *it)
{
	it->next = NULL;
	*q->tail = it;
	q->tail = &it->next;
	q->n++;
	q->bytes += it->size;
}

static struct item *items_take(struct items *q)
{
	struct item *it = q->first;

	if (!it)
		return NULL;
	q->first = it->next;
	if (!q->first)
		q->tail = &q->first;
	q->n--;
	q->bytes -= it->size;
	return it;
}

static struct item *item_new(const char *sql, const struct store_val *vals,
			     size_t n, store_done_fn done, void *arg)
{
	size_t sql_size = strlen(sql) + 1;
	size_t size = sizeof(struct item) + n * sizeof(*vals) + sql_size;

	for (size_t i = 0; i < n; i++)
		size += vals[i].b.n;
	struct item *it = xcalloc(1, size);
	it->size = size;
	it->done = done;
	it->arg = arg;
	uint8_t *p = (uint8_t *)(it->vals + n);
	it->sql = memcpy(p, sql, sql_size);
	p += sql_size;
	for (size_t i = 0; i < n; i++) {
		it->vals[i] = vals[i];
		it->vals[i].b.p = p;
		if (vals[i].b.n)
			memcpy(p, vals[i].b.p, vals[i].b.n);
		p += vals[i].b.n;
	}
	it->nvals = n;
	return it;
}

static void item_drop_rows(struct item *it)
{
	arena_release(&it->bytes);
	free(it->cells);
	it->cells = NULL;
	it->ncells = 0;
	it->r.rows = it->r.columns = 0;
}

static void item_fail(struct item *it, enum err e, const char *message)
{
	item_drop_rows(it);
	free(it->message);
	it->message = xstrdup(message);
	it->r.err = e;
	it->r.changes = 0;
}

static void item_finish(struct item *it)
{
	it->r.message = it->message;
	it->r.cells = it->cells;
	if (it->counted)
		it->counted->waiting--;
	if (it->done)
		it->done(&it->r, it->arg);
	item_drop_rows(it);
	free(it->message);
	free(it);
}

/* Statements, on the thread */

static enum err err_of(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return OK;
	case SQLITE_CONSTRAINT:
		return ERR_EXISTS;
	case SQLITE_TOOBIG:
		return ERR_LIMIT;
	case SQLITE_ERROR:
	case SQLITE_MISUSE:
	case SQLITE_RANGE:
	case SQLITE_MISMATCH:
		return ERR_INTERNAL;
	default:
		return ERR_IO;
	}
}

static int run_plain(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

/* The least recently used one makes room. */
static struct cached *cache_slot(struct store *s)
{
	if (s->ncached < CACHE_MAX)
		return &s->cache[s->ncached++];
	struct cached *old = &s->cache[0];
	for (size_t i = 1; i < CACHE_MAX; i++)
		if (s->cache[i].used < old->used)
			old = &s->cache[i];
	sqlite3_finalize(old->stmt);
	free(old->sql);
	return old;
}

static sqlite3_stmt *prepare(struct store *s, struct item *it)
{
	sqlite3_stmt *stmt;
	const char *rest;

	for (size_t i = 0; i < s->ncached; i++) {
		struct cached *c = &s->cache[i];
		if (strcmp(c->sql, it->sql) != 0)
			continue;
		c->used = ++s->uses;
		return c->stmt;
	}
	int rc = sqlite3_prepare_v3(s->db, it->sql, -1,
				    SQLITE_PREPARE_PERSISTENT, &stmt, &rest);
	if (rc) {
		item_fail(it, err_of(rc), sqlite3_errmsg(s->db));
		return NULL;
	}
	if (!stmt || rest[strspn(rest, "; \t\n")]) {
		sqlite3_finalize(stmt);
		item_fail(it, ERR_INTERNAL, "not exactly one statement");
		return NULL;
	}
	struct cached *c = cache_slot(s);
	*c = (struct cached){xstrdup(it->sql), stmt, ++s->uses};
	return stmt;
}

static int bind_one(sqlite3_stmt *stmt, int at, const struct store_val *v)
{
	/* The item outlives the run; a NULL pointer would bind null. */
	const char *p = v->b.n ? (const char *)v->b.p : "";

	switch (v->type) {
	case STORE_NULL:
		return sqlite3_bind_null(stmt, at);
	case STORE_INT:
		return sqlite3_bind_int64(stmt, at, v->i);
	case STORE_REAL:
		return sqlite3_bind_double(stmt, at, v->r);
	case STORE_TEXT:
		return sqlite3_bind_text64(stmt, at, p, v->b.n, SQLITE_STATIC,
					   SQLITE_UTF8);
	case STORE_BLOB:
		return sqlite3_bind_blob64(stmt, at, p, v->b.n, SQLITE_STATIC);
	}
	return SQLITE_MISUSE;
}

static bool bind_all(struct store *s, sqlite3_stmt *stmt, struct item *it)
{
	if ((size_t)sqlite3_bind_parameter_count(stmt) != it->nvals) {
		item_fail(it, ERR_INTERNAL, "wrong number of values");
		return false;
	}
	for (size_t i = 0; i < it->nvals; i++) {
		int rc = bind_one(stmt, (int)i + 1, &it->vals[i]);
		if (rc) {
			item_fail(it, err_of(rc), sqlite3_errmsg(s->db));
			return false;
		}
	}
	return true;
}

static struct store_val cell_of(sqlite3_stmt *stmt, int at, struct arena *a)
{
	struct store_val v = {.type = STORE_NULL};
	const void *p = NULL;

	switch (sqlite3_column_type(stmt, at)) {
	case SQLITE_INTEGER:
		v.type = STORE_INT;
		v.i = sqlite3_column_int64(stmt, at);
		return v;
	case SQLITE_FLOAT:
		v.type = STORE_REAL;
		v.r = sqlite3_column_double(stmt, at);
		return v;
	case SQLITE_TEXT:
		v.type = STORE_TEXT;
		p = sqlite3_column_text(stmt, at);
		break;
	case SQLITE_BLOB:
		v.type = STORE_BLOB;
		p = sqlite3_column_blob(stmt, at);
		break;
	default:
		return v;
	}
	v.b.n = (size_t)sqlite3_column_bytes(stmt, at);
	uint8_t *copy = arena_alloc(a, v.b.n + 1);
	if (v.b.n)
		memcpy(copy, p, v.b.n);
	v.b.p = copy;
	return v;
}

/* One row copied; false beyond the limits. */
static bool take_row(sqlite3_stmt *stmt, struct item *it, size_t *bytes)
{
	size_t columns = it->r.columns;

	if (it->r.rows == STORE_ROWS_MAX)
		return false;
	if (it->r.rows * columns == it->ncells) {
		it->ncells = it->ncells ? it->ncells * 2 : columns;
		it->cells =
		    xrealloc(it->cells, it->ncells * sizeof(*it->cells));
	}
	struct store_val *row = it->cells + it->r.rows * columns;
	for (size_t i = 0; i < columns; i++) {
		row[i] = cell_of(stmt, (int)i, &it->bytes);
		*bytes += sizeof(*row) + row[i].b.n;
	}
	it->r.rows++;
	return *bytes <= STORE_RESULT_BYTES;
}

static void step_all(struct store *s, sqlite3_stmt *stmt, struct item *it)
{
	int64_t before = sqlite3_total_changes64(s->db);
	bool fits = true;
	size_t bytes = 0;
	int rc;

	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		/* After the step: it may have prepared "*" afresh. */
		it->r.columns = (size_t)sqlite3_column_count(stmt);
		fits = take_row(stmt, it, &bytes);
		if (!fits)
			break;
	}
	it->r.columns = (size_t)sqlite3_column_count(stmt);
	if (!fits)
		item_fail(it, ERR_LIMIT, "too many rows");
	else if (rc != SQLITE_DONE)
		item_fail(it, err_of(rc), sqlite3_errmsg(s->db));
	else if (sqlite3_total_changes64(s->db) != before)
		it->r.changes = sqlite3_changes64(s->db);
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
}

static void run_guarded(struct store *s, sqlite3_stmt *stmt, struct item *it)
{
	if (!it->change || !sqlite3_column_count(stmt)) {
		step_all(s, stmt, it);
		return;
	}
	if (run_plain(s->db, "SAVEPOINT one")) {
		item_fail(it, ERR_IO, sqlite3_errmsg(s->db));
		return;
	}
	step_all(s, stmt, it);
	if (it->r.err && !sqlite3_get_autocommit(s->db))
		run_plain(s->db, "ROLLBACK TO one");
	run_plain(s->db, "RELEASE one");
}

static bool change_begin(struct store *s, struct item *it)
{
	if (s->in_change)
		return true;
	if (run_plain(s->db, "BEGIN IMMEDIATE")) {
		item_fail(it, ERR_IO, sqlite3_errmsg(s->db));
		return false;
	}
	s->in_change = true;
	s->commit_at = clock_ns() + GROUP_MS * 1000000ull;
	return true;
}

/* Also what was only read may have seen what is now undone. */
static void batch_lost(struct store *s, const char *message)
{
	log_debug("store", "transaction lost statements=%zu error=%s",
		  s->batch.n, log_quote(message));
	for (struct item *it = s->batch.first; it; it = it->next)
		if (!it->r.err)
			item_fail(it, ERR_IO, message);
}

static void run_item(struct store *s, struct item *it)
{
	sqlite3_stmt *stmt = prepare(s, it);

	it->change = stmt && !sqlite3_stmt_readonly(stmt);
	if (stmt && bind_all(s, stmt, it) &&
	    (!it->change || change_begin(s, it)))
		run_guarded(s, stmt, it);
	if (s->in_change && sqlite3_get_autocommit(s->db)) {
		s->in_change = false;
		batch_lost(s, it->message ? it->message
					  : "the transaction was undone");
	}
	if (it->r.err)
		log_debug("store", "statement failed error=%s sql=%s",
			  log_quote(it->message), log_quote(it->sql));
	items_add(&s->batch, it);
}

/* Loop: the callbacks of one batch, in order. */
static void on_batch(void *arg)
{
	struct items *batch = arg;
	struct item *it;

	while ((it = items_take(batch)))
		item_finish(it);
	free(batch);
}

static void batch_end(struct store *s)
{
	if (s->in_change && !run_plain(s->db, STORE_COUNT_SQL) &&
	    !run_plain(s->db, "COMMIT")) {
		store_mark_write(&s->mark, ++s->count);
	} else if (s->in_change) {
		char *message = xstrdup(sqlite3_errmsg(s->db));
		if (!sqlite3_get_autocommit(s->db))
			run_plain(s->db, "ROLLBACK");
		batch_lost(s, message);
		free(message);
	}
	s->in_change = false;
	if (!s->batch.n)
		return;
	struct items *batch = HN_NEW(struct items);
	items_init(batch);
	struct item *it;
	while ((it = items_take(&s->batch)))
		items_add(batch, it);
	loop_post(s->loop, on_batch, batch);
}

/* The thread */

static struct timespec at_ns(uint64_t ns)
{
	return (struct timespec){.tv_sec = (time_t)(ns / 1000000000),
				 .tv_nsec = (long)(ns % 1000000000)};
}

/* The next statement; NULL when the transaction should be committed now, or
 * (*end) when nothing will come any more. */
static struct item *queue_take(struct store *s, bool *end)
{
	uint64_t until = clock_ns() + LINGER_MS * 1000000ull;
	if (until > s->commit_at)
		until = s->commit_at;
	const struct timespec ts = at_ns(until);
	int rc = 0;

	pthread_mutex_lock(&s->mutex);
	while (!s->queue.first && !s->stopping && !rc) {
		if (s->in_change)
			rc = pthread_cond_timedwait(&s->wake, &s->mutex, &ts);
		else
			pthread_cond_wait(&s->wake, &s->mutex);
	}
	struct item *it = items_take(&s->queue);
	*end = !it && s->stopping;
	pthread_mutex_unlock(&s->mutex);
	return it;
}

static void cache_release(struct store *s)
{
	for (size_t i = 0; i < s->ncached; i++) {
		sqlite3_finalize(s->cache[i].stmt);
		free(s->cache[i].sql);
	}
	s->ncached = 0;
}

static void on_thread_end(void *arg)
{
	struct store *s = arg;
	loop_fn done = s->stop_done;
	void *done_arg = s->stop_arg;

	/* The post was the thread's last act: this does not wait. */
	pthread_join(s->thread, NULL);
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->mutex);
	free(s);
	if (done)
		done(done_arg);
}

static void *thread_main(void *arg)
{
	struct store *s = arg;
	bool end = false;

	while (!end) {
		struct item *it = queue_take(s, &end);
		if (it)
			run_item(s, it);
		if (!it || !s->in_change || s->batch.n >= BATCH_MAX ||
		    clock_ns() >= s->commit_at)
			batch_end(s);
	}
	cache_release(s);
	store_mark_close(&s->mark);
	int rc = sqlite3_close(s->db);
	assert(rc == SQLITE_OK); /* no statement of ours was left */
	(void)rc;
	loop_post(s->loop, on_thread_end, s);
	return NULL;
}

/* Signals go to the loop's thread. */
static int thread_start(struct store *s)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int rc = pthread_create(&s->thread, NULL, thread_main, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

/* The loop's side */

static void on_refused(void *arg)
{
	item_finish(arg);
}

static void refuse(struct store *s, struct item *it, enum err e)
{
	static struct log_gate gate;

	log_every(&gate, 10000, LOG_DEBUG, "store",
		  "statement refused "
		  "error=%s sql=%s",
		  err_name(e), log_quote(it->sql));
	item_fail(it, e, err_str(e));
	loop_post(s->loop, on_refused, it);
}

void store_run(struct store *s, const char *sql, const struct store_val *vals,
	       size_t n, store_done_fn done, void *arg)
{
	loop_assert(s->loop);
	struct item *it = item_new(sql, vals, n, done, arg);
	if (s->stopped) {
		refuse(s, it, ERR_CANCELED);
		return;
	}
	pthread_mutex_lock(&s->mutex);
	bool fits = s->queue.n < STORE_QUEUE_MAX &&
		    s->queue.bytes + it->size <= STORE_QUEUE_BYTES;
	if (fits) {
		it->counted = s;
		items_add(&s->queue, it);
		pthread_cond_signal(&s->wake);
	}
	pthread_mutex_unlock(&s->mutex);
	if (fits)
		s->waiting++;
	else
		refuse(s, it, ERR_BUSY);
}

bool store_idle(const struct store *s)
{
	return !s->waiting;
}

uint64_t store_lost(const struct store *s)
{
	return s->lost;
}

void store_stop(struct store *s, loop_fn done, void *arg)
{
	loop_assert(s->loop);
	assert(!s->stopped);
	s->stopped = true;
	s->stop_done = done;
	s->stop_arg = arg;
	pthread_mutex_lock(&s->mutex);
	s->stopping = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->mutex);
}

/* Opening */

static struct store *store_new(struct loop *l, sqlite3 *db)
{
	struct store *s = HN_NEW(struct store);
	pthread_condattr_t attr;

	s->loop = l;
	s->db = db;
	items_init(&s->queue);
	items_init(&s->batch);
	pthread_mutex_init(&s->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->wake, &attr);
	pthread_condattr_destroy(&attr);
	return s;
}

enum err store_open(struct loop *l, const char *path,
		    const struct store_schema *schema, size_t n,
		    struct buf *why, struct store **out)
{
	const uint64_t mark = store_mark_read(path);
	uint64_t count;
	sqlite3 *db;

	enum err e = store_file_open(path, schema, n, why, &db, &count);
	if (e)
		return e;
	struct store *s = store_new(l, db);
	s->count = count;
	s->lost = mark > count ? mark - count : 0;
	store_mark_open(&s->mark, path);
	store_mark_write(&s->mark, count);
	int rc = thread_start(s);
	if (rc) {
		buf_printf(why, "no thread for the database: %s", strerror(rc));
		sqlite3_close(db);
		store_mark_close(&s->mark);
		pthread_cond_destroy(&s->wake);
		pthread_mutex_destroy(&s->mutex);
		free(s);
		return ERR_IO;
	}
	*out = s;
	return OK;
}
