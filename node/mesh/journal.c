/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An entry per open job says what is not on disk yet. At most one write of a
 * job is under way; what changes meanwhile makes the entry dirty again, so
 * that a slow disk makes writes rarer, never a queue. A large job (many hits,
 * many pieces) is written less often, by its size.
 *
 * Rejected: a log of every event (the done sets are small, and a log must be
 * compacted and replayed), and leases on disk (a lease that was out when the
 * node died is worth at most the second since the last save).
 */
#include "node/mesh/journal.h"

#include "node/base/log.h"
#include "node/mesh/job.h"
#include "node/mesh/job_save.h"

#include <sodium.h>
#include <utlist.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LAZY_MS 1000
#define LAZY_RATE 256	 /* bytes a ms of all that is lazy, of one job */
#define URGENT_RATE 1024 /* and of what is not */
#define RETRY_MS 1000
#define TIDY_MS (60u * 60 * 1000)
/* Lease ids are promised to the disk in blocks, so that none is used again;
 * a gap keeps them apart even where the database was put back to an earlier
 * state. */
#define IDS_BLOCK (UINT64_C(1) << 40)
#define IDS_LAST (UINT64_C(1) << 62)

const struct store_schema journal_schema[] = {
    {"jobs", 1,
     "CREATE TABLE jobs (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
     /* ended: ms since 1970; 0: open; negative: when set aside, unreadable */
     " ended INTEGER NOT NULL, saved BLOB NOT NULL, sum BLOB NOT NULL);"
     "CREATE TABLE job_marks (name TEXT PRIMARY KEY, value INTEGER NOT "
     "NULL)"},
};
const size_t journal_schema_count = HN_COUNT(journal_schema);

struct waiter {
	journal_done_fn done;
	void *arg;
	bool end;   /* for the write that has the job's end in it */
	bool later; /* not for the one that was under way */
	struct waiter *prev, *next;
};

struct entry {
	struct journal *all;
	char id[JOB_ID_SIZE];
	bool dirty, urgent, writing;
	bool ended;    /* the job has ... */
	bool end_sent; /* ... and the write under way says so */
	bool told;     /* its end was */
	uint64_t written_at, failed_at; /* loop time; 0: never */
	uint64_t bytes;
	size_t hits;
	struct waiter *waiters; /* for a write to end */
	struct entry *prev, *next;
};

struct kept { /* an ended job on disk, oldest first */
	char id[JOB_ID_SIZE];
	uint64_t ended, bytes;
};

struct journal {
	struct loop *loop;
	struct store *store;
	struct jobs *jobs; /* NULL: stopped */
	journal_ended_fn ended;
	void *arg;
	journal_saved_fn saved;
	void *saved_arg;
	struct loop_timer *due, *tidy;
	struct entry *entries;
	struct kept *kept;
	size_t nkept, cap;
	uint64_t kept_bytes;
	uint64_t promised; /* lease ids up to here */
	char *cannot_write, *cannot_read;

	/* while it loads */
	journal_load_fn loaded;
	void *loaded_arg;
	size_t rows, lost, open;
	struct job_marks marks;
	bool has_key;
};

void journal_sum(const char *id, const void *p, size_t n,
		 uint8_t sum[static JOURNAL_SUM_SIZE])
{
	crypto_generichash(sum, JOURNAL_SUM_SIZE, p, n, (const uint8_t *)id,
			   strlen(id));
}

/* Marks */

static void mark(struct journal *j, const char *name, uint64_t value,
		 store_done_fn done, void *arg)
{
	const struct store_val vals[] = {store_text(name), STORE_I(value)};

	store_run(j->store,
		  "INSERT OR REPLACE INTO job_marks (name, value) VALUES (?, "
		  "?)",
		  vals, HN_COUNT(vals), done, arg);
}

static void promise_ids(struct journal *j, uint64_t from, store_done_fn done,
			void *arg)
{
	j->promised = from + IDS_BLOCK;
	mark(j, "lease", j->promised, done, arg);
}

/* Retention */

static void kept_add(struct journal *j, const char *id, uint64_t ended,
		     uint64_t bytes)
{
	if (j->nkept == j->cap) {
		j->cap = j->cap ? j->cap * 2 : 64;
		j->kept = xrealloc(j->kept, j->cap * sizeof(*j->kept));
	}
	struct kept *k = &j->kept[j->nkept++];

	snprintf(k->id, sizeof(k->id), "%s", id);
	k->ended = ended;
	k->bytes = bytes;
	j->kept_bytes += bytes;
}

static void kept_drop_first(struct journal *j)
{
	const struct store_val id = store_text(j->kept[0].id);

	store_run(j->store, "DELETE FROM jobs WHERE id = ?", &id, 1, NULL,
		  NULL);
	jobs_forget(j->jobs, j->kept[0].id);
	j->kept_bytes -= j->kept[0].bytes;
	memmove(j->kept, j->kept + 1, --j->nkept * sizeof(*j->kept));
}

static void kept_tidy(struct journal *j)
{
	const uint64_t now = clock_unix_ms();

	while (j->nkept &&
	       (j->nkept > JOB_MAX_KEPT || j->kept_bytes > JOURNAL_KEPT_BYTES ||
		j->kept[0].ended + JOURNAL_KEPT_MS < now))
		kept_drop_first(j);
}

static void on_tidy(void *arg)
{
	kept_tidy(arg);
}

/* Entries */

static struct entry *entry_find(const struct journal *j, const char *id)
{
	struct entry *e;

	DL_FOREACH (j->entries, e)
		if (!strcmp(e->id, id))
			return e;
	return NULL;
}

static struct entry *entry_add(struct journal *j, const char *id)
{
	struct entry *e = HN_NEW(struct entry);

	e->all = j;
	snprintf(e->id, sizeof(e->id), "%s", id);
	DL_APPEND(j->entries, e);
	return e;
}

static void entry_wait(struct entry *e, bool end, journal_done_fn done,
		       void *arg)
{
	struct waiter *w = HN_NEW(struct waiter);

	w->end = end;
	w->done = done;
	w->arg = arg;
	DL_APPEND(e->waiters, w);
}

/* Those for the end too, if this is it. */
static void tell_waiters(struct entry *e, bool end, enum err err,
			 const char *text)
{
	struct waiter *w, *next;

	DL_FOREACH_SAFE (e->waiters, w, next) {
		if (w->end && !end)
			continue;
		if (w->later) {
			w->later = false;
			continue;
		}
		DL_DELETE(e->waiters, w);
		w->done(w->arg, e->id, err, text);
		free(w);
	}
}

static void entry_free(struct entry *e)
{
	DL_DELETE(e->all->entries, e);
	free(e);
}

static uint64_t entry_due(const struct entry *e)
{
	uint64_t ms = e->bytes / (e->urgent ? URGENT_RATE : LAZY_RATE);

	if (!e->urgent && ms < LAZY_MS)
		ms = LAZY_MS;
	uint64_t due = e->written_at ? e->written_at + ms : 0;

	if (e->failed_at && due < e->failed_at + RETRY_MS)
		due = e->failed_at + RETRY_MS;
	return due;
}

static void arm(struct journal *j)
{
	uint64_t next = UINT64_MAX;
	const uint64_t now = loop_ms(j->loop);
	const struct entry *e;

	DL_FOREACH (j->entries, e) {
		if (!e->dirty || e->writing)
			continue;
		if (entry_due(e) < next)
			next = entry_due(e);
	}
	if (next != UINT64_MAX)
		loop_timer_set(j->due, next > now ? next - now : 0);
}

static void cannot_write(struct journal *j, const char *message)
{
	if (!j->cannot_write)
		log_error("work",
			  "jobs cannot be saved (%s): they would not survive a "
			  "crash; trying again every second",
			  message ? message : "unknown");
	free(j->cannot_write);
	j->cannot_write = xasprintf(
	    "jobs cannot be saved (%.120s): free some space on the disk of "
	    "--data-dir, or see `hnode db check`",
	    message ? message : "unknown");
}

static void can_write(struct journal *j)
{
	if (!j->cannot_write)
		return;
	log_info("work", "jobs are saved again");
	free(j->cannot_write);
	j->cannot_write = NULL;
}

static void entry_final(struct entry *e)
{
	struct journal *j = e->all;

	kept_add(j, e->id, clock_unix_ms(), e->bytes);
	kept_tidy(j);
	entry_free(e);
}

static void on_written(const struct store_result *r, void *arg)
{
	struct entry *e = arg;
	struct journal *j = e->all;

	if (!j->jobs) { /* stopped: the last words */
		if (r->err)
			log_error("work", "job %s was not saved: %s", e->id,
				  r->message);
		return;
	}
	const bool final = e->end_sent;
	const bool news = final && !e->told;

	e->told |= final;
	e->writing = false;
	if (r->err) {
		e->failed_at = loop_ms(j->loop);
		e->dirty = true;
		cannot_write(j, r->message);
	} else {
		e->failed_at = 0;
		can_write(j);
	}
	/* A full disk is no reason to keep a result from who waits for it. */
	tell_waiters(e, final, r->err, r->message);
	if (!r->err && j->saved)
		j->saved(j->saved_arg, e->id);
	if (news)
		j->ended(j->arg, e->id);
	if (final && !r->err)
		entry_final(e);
	arm(j);
}

static void entry_write(struct entry *e)
{
	struct journal *j = e->all;
	uint8_t sum[JOURNAL_SUM_SIZE];
	struct buf b = {0};

	if (jobs_save(j->jobs, e->id, loop_ms(j->loop), &b)) {
		/* Forgotten meanwhile: more ended than are kept. */
		tell_waiters(e, true, ERR_NOTFOUND, "the job is forgotten");
		entry_free(e);
		return;
	}
	journal_sum(e->id, b.p, b.n, sum);
	const struct store_val vals[] = {
	    store_text(e->id),
	    STORE_I(e->ended ? clock_unix_ms() : 0),
	    STORE_B(b.p, b.n),
	    STORE_B(sum, sizeof(sum)),
	};

	e->dirty = e->urgent = false;
	e->writing = true;
	e->end_sent = e->ended;
	e->written_at = loop_ms(j->loop);
	e->bytes = b.n;
	store_run(j->store,
		  "INSERT INTO jobs (id, ended, saved, sum) VALUES (?, ?, ?, "
		  "?) ON CONFLICT (id) DO UPDATE SET ended = excluded.ended, "
		  "saved = excluded.saved, sum = excluded.sum",
		  vals, HN_COUNT(vals), on_written, e);
	buf_release(&b);
}

static void on_due(void *arg)
{
	struct journal *j = arg;
	const uint64_t now = loop_ms(j->loop);
	struct entry *e, *next;

	DL_FOREACH_SAFE (j->entries, e, next) {
		if (e->dirty && !e->writing && entry_due(e) <= now)
			entry_write(e);
	}
	arm(j);
}

void journal_submitted(struct journal *j, const char *job, journal_done_fn done,
		       void *arg)
{
	const struct job_marks m = jobs_marks(j->jobs);
	struct entry *e = entry_add(j, job);

	/* First the number, so that no later job has this one's id. */
	mark(j, "job", m.job, NULL, NULL);
	entry_wait(e, false, done, arg);
	entry_write(e);
}

void journal_changed(struct journal *j, const char *job, bool ended)
{
	struct entry *e = j->jobs ? entry_find(j, job) : NULL;
	size_t hits;
	bool open;

	if (!e || !jobs_glance(j->jobs, job, &hits, &open))
		return;
	e->dirty = true;
	e->ended |= ended;
	e->urgent |= e->ended || hits != e->hits;
	e->hits = hits;
	arm(j);
	if (jobs_marks(j->jobs).lease > j->promised - IDS_BLOCK / 2)
		promise_ids(j, j->promised, NULL, NULL);
}

void journal_dropped(struct journal *j)
{
	struct entry *e;

	if (!j->jobs)
		return;
	DL_FOREACH (j->entries, e)
		e->dirty = e->urgent = true;
	arm(j);
}

void journal_on_saved(struct journal *j, journal_saved_fn fn, void *arg)
{
	j->saved = fn;
	j->saved_arg = arg;
}

bool journal_final(const struct journal *j, const char *job)
{
	const struct entry *e = entry_find(j, job);

	return !e || !e->ended || e->told;
}

struct at_once {
	struct journal *j;
	char job[JOB_ID_SIZE];
	journal_done_fn done;
	void *arg;
};

static void on_at_once(void *arg)
{
	struct at_once *a = arg;

	a->done(a->arg, a->job, OK, NULL);
	free(a);
}

void journal_when_final(struct journal *j, const char *job,
			journal_done_fn done, void *arg)
{
	struct entry *e = entry_find(j, job);

	if (e && e->ended && !e->told) {
		entry_wait(e, true, done, arg);
		return;
	}
	struct at_once *a = HN_NEW(struct at_once);

	a->j = j;
	snprintf(a->job, sizeof(a->job), "%s", job);
	a->done = done;
	a->arg = arg;
	loop_post(j->loop, on_at_once, a);
}

void journal_flush(struct journal *j, const char *job, journal_done_fn done,
		   void *arg)
{
	struct entry *e = entry_find(j, job);

	if (!e) {
		journal_when_final(j, job, done, arg);
		return;
	}
	entry_wait(e, false, done, arg);
	e->waiters->prev->later = e->writing;
	e->dirty = e->urgent = true;
	arm(j);
}

const char *journal_trouble(const struct journal *j)
{
	return j->cannot_write ? j->cannot_write : j->cannot_read;
}

/* Reading */

static void load_end(struct journal *j, enum err e, const char *text)
{
	if (j->lost) {
		free(j->cannot_read);
		j->cannot_read = xasprintf(
		    "%zu job%s could not be read from the database and will "
		    "not go on: `hnode db check` says which; submit %s again",
		    j->lost, j->lost == 1 ? "" : "s",
		    j->lost == 1 ? "it" : "them");
	}
	if (!e && (j->open || j->nkept))
		log_info("work", "%zu open job%s taken up again, %zu ended",
			 j->open, j->open == 1 ? "" : "s", j->nkept);
	if (!e && j->jobs)
		kept_tidy(j);
	j->loaded(j->loaded_arg, e, text);
}

static void on_promised(const struct store_result *r, void *arg)
{
	load_end(arg, r->err, r->message);
}

static void load_last(struct journal *j)
{
	promise_ids(j, j->marks.lease, on_promised, j);
}

struct row {
	struct journal *j;
	char id[JOB_ID_SIZE];
	uint64_t ended, bytes;
};

static void set_aside(const struct row *row, const char *why)
{
	const struct store_val vals[] = {
	    STORE_I(-(int64_t)clock_unix_ms()),
	    store_text(row->id),
	};

	log_error("work",
		  "job %s is lost: its record in the database is damaged (%s); "
		  "it is set aside",
		  log_quote(row->id), why);
	row->j->lost++;
	store_run(row->j->store, "UPDATE jobs SET ended = ? WHERE id = ?", vals,
		  HN_COUNT(vals), NULL, NULL);
}

static enum err row_restore(const struct row *row, const struct store_val *v,
			    struct buf *why)
{
	struct journal *j = row->j;
	uint8_t sum[JOURNAL_SUM_SIZE];
	char id[JOB_ID_SIZE];
	size_t hits;
	bool open;

	journal_sum(row->id, v[0].b.p, v[0].b.n, sum);
	if (v[1].b.n != sizeof(sum) || memcmp(sum, v[1].b.p, sizeof(sum))) {
		buf_add_str(why, "its checksum is wrong");
		return ERR_PROTO;
	}
	enum err e = jobs_restore(j->jobs, v[0].b.p, v[0].b.n, loop_ms(j->loop),
				  why, id);
	if (e || !jobs_glance(j->jobs, id, &hits, &open))
		return e;
	if (!open) {
		kept_add(j, id, row->ended, row->bytes);
		return OK;
	}
	struct entry *entry = entry_add(j, id);

	entry->hits = hits;
	entry->bytes = row->bytes;
	j->open++;
	return OK;
}

static void on_row(const struct store_result *r, void *arg)
{
	struct row *row = arg;
	struct journal *j = row->j;
	struct buf why = {0};

	if (j->jobs) {
		enum err e = r->err;

		if (!e && r->rows == 1)
			e = row_restore(row, r->cells, &why);
		else
			buf_add_str(&why, e ? r->message : "it is gone");
		if (e)
			set_aside(row, buf_str(&why));
	}
	buf_release(&why);
	free(row);
	if (!--j->rows && j->jobs)
		load_last(j);
}

static void on_list(const struct store_result *r, void *arg)
{
	struct journal *j = arg;

	if (!j->jobs)
		return;
	if (r->err) {
		load_end(j, r->err, r->message);
		return;
	}
	j->rows = r->rows;
	for (size_t i = 0; i < r->rows; i++) {
		const struct store_val *v = &r->cells[i * r->columns];
		struct row *row = HN_NEW(struct row);

		row->j = j;
		snprintf(row->id, sizeof(row->id), "%s",
			 v[0].type == STORE_TEXT ? (const char *)v[0].b.p : "");
		row->ended = (uint64_t)v[1].i;
		row->bytes = (uint64_t)v[2].i;
		store_run(j->store, "SELECT saved, sum FROM jobs WHERE id = ?",
			  v, 1, on_row, row);
	}
	if (!r->rows)
		load_last(j);
}

static void on_marks(const struct store_result *r, void *arg)
{
	struct journal *j = arg;
	uint64_t gap;

	if (!j->jobs)
		return;
	if (r->err) {
		load_end(j, r->err, r->message);
		return;
	}
	j->marks = jobs_marks(j->jobs);
	for (size_t i = 0; i < r->rows; i++) {
		const struct store_val *v = &r->cells[i * r->columns];
		const char *name = (const char *)v[0].b.p;

		if (!strcmp(name, "lease") && v[1].i > 0 &&
		    (uint64_t)v[1].i < IDS_LAST) {
			randombytes_buf(&gap, sizeof(gap));
			j->marks.lease = (uint64_t)v[1].i + gap % IDS_BLOCK;
		} else if (!strcmp(name, "job")) {
			j->marks.job = (uint64_t)v[1].i;
		} else if (!strcmp(name, "key")) {
			j->marks.key = (uint64_t)v[1].i;
			j->has_key = true;
		}
	}
	jobs_set_marks(j->jobs, &j->marks);
	if (!j->has_key)
		mark(j, "key", j->marks.key, NULL, NULL);
}

void journal_load(struct journal *j, journal_load_fn done, void *arg)
{
	const struct store_val old =
	    STORE_I(-(int64_t)(clock_unix_ms() - JOURNAL_ASIDE_MS));

	j->loaded = done;
	j->loaded_arg = arg;
	store_run(j->store, "SELECT name, value FROM job_marks", NULL, 0,
		  on_marks, j);
	store_run(j->store, "DELETE FROM jobs WHERE ended < 0 AND ended > ?",
		  &old, 1, NULL, NULL);
	store_run(j->store,
		  "SELECT id, ended, length(saved) FROM jobs WHERE ended >= 0 "
		  "ORDER BY ended = 0, ended, n",
		  NULL, 0, on_list, j);
}

/* Life */

struct journal *journal_new(struct loop *l, struct store *s, struct jobs *jobs,
			    journal_ended_fn ended, void *arg)
{
	struct journal *j = HN_NEW(struct journal);

	j->loop = l;
	j->store = s;
	j->jobs = jobs;
	j->ended = ended;
	j->arg = arg;
	j->due = loop_timer_new(l, on_due, j);
	j->tidy = loop_timer_new(l, on_tidy, j);
	loop_timer_every(j->tidy, TIDY_MS);
	return j;
}

void journal_stop(struct journal *j)
{
	struct entry *e, *next;

	if (!j->jobs)
		return;
	DL_FOREACH_SAFE (j->entries, e, next) {
		tell_waiters(e, true, ERR_GONE, "this node is stopping");
		entry_write(e);
	}
	j->jobs = NULL;
	loop_timer_free(j->due);
	loop_timer_free(j->tidy);
}

void journal_free(struct journal *j)
{
	struct entry *e, *next;

	if (!j)
		return;
	DL_FOREACH_SAFE (j->entries, e, next)
		entry_free(e);
	free(j->kept);
	free(j->cannot_write);
	free(j->cannot_read);
	free(j);
}
