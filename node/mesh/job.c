/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The table of jobs and their life: QUEUED until the first unit is in
 * somebody's hands, RUNNING until the range is done and looked over, then
 * DONE, FAILED or CANCELED.
 *
 * Every event (a worker's word, an end, a result of our own scan) changes the
 * accounts first, then job_step looks whether that ends the job, then free
 * slots are filled. jobs_tick adds what only time brings.
 */
#include "node/mesh/job.h"
#include "node/mesh/job_impl.h"

#include "node/base/mem.h"
#include "node/mesh/job_save.h"
#include "node/mesh/sched.h"

#include <utlist.h>

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICK_MS 250
#define TICK_WATCH_MS 50 /* while slow workers are watched */
#define TICK_IDLE_MS 60000

#define LAST_WORD_MS 1000  /* for the signed end of a unit that is done */
#define LAST_LOOK_MS 3000  /* for what is still being scanned again */
#define LAST_CHECK_MS 250  /* for what others still do again: so long ... */
#define LAST_CHECK_PART 50 /* ... or such a part of the job's time */
#define RATE_MS 1000
#define LONELY_TEXT 350 /* bytes; then no further reason is begun */
#define ASLEEP_MS 5000	/* between two ticks: this process was stopped */

static void job_free(struct job *job);
static void job_end(struct job *job, enum job_state state, enum err error,
		    const char *text, uint64_t now);

const char *job_state_str(enum job_state s)
{
	switch (s) {
	case JOB_QUEUED:
		return "queued";
	case JOB_RUNNING:
		return "running";
	case JOB_DONE:
		return "done";
	case JOB_FAILED:
		return "failed";
	case JOB_CANCELED:
		return "canceled";
	}
	return "unknown";
}

struct jobs *jobs_new(const struct jobs_ops *ops, void *arg,
		      const struct node_id *self)
{
	struct jobs *j = HN_NEW(struct jobs);

	j->ops = *ops;
	j->arg = arg;
	j->self = *self;
	j->judge = judge_reference;
	trusts_init(&j->trusts);
	/* Lease ids are never used again, by another start of this node
	 * neither: jobs_set_marks goes on where that ended. */
	j->next_id = ops->random(arg) >> 2;
	j->job_key = ops->random(arg);
	return j;
}

static void no_revoke(void *arg, uint64_t lease_id)
{
	(void)arg;
	(void)lease_id;
}

static void no_change(void *arg, const char *job, bool ended)
{
	(void)arg;
	(void)job;
	(void)ended;
}

void jobs_free(struct jobs *j)
{
	if (!j)
		return;
	j->ops.finish = NULL;
	j->ops.revoke = no_revoke;
	j->ops.rescan_cancel = no_revoke;
	j->ops.changed = no_change;
	while (j->open)
		job_end(j->open, JOB_CANCELED, ERR_CANCELED, "", 0);
	while (j->ended)
		job_free(j->ended);
	for (size_t i = 0; i < HN_COUNT(j->pools); i++)
		pool_release(&j->pools[i]);
	trusts_release(&j->trusts);
	free(j);
}

void jobs_set_judge(struct jobs *j,
		    void (*judge)(void *arg,
				  const uint8_t header[static HEADER_SIZE],
				  uint32_t nonce, uint8_t digest[static 32]),
		    void *arg)
{
	j->judge = (struct judge){judge, arg};
}

void jobs_set_core_rate(struct jobs *j, uint64_t hashes_per_s)
{
	j->core_rate = hashes_per_s;
}

uint64_t jobs_fresh_id(struct jobs *j)
{
	return ++j->next_id;
}

struct pool *jobs_pool(struct jobs *j, const struct kind *kind)
{
	for (size_t i = 0; i < KIND_COUNT; i++)
		if (kind_list[i] == kind)
			return &j->pools[i];
	assert(!"a kind that is not listed");
	return NULL;
}

/* Workers */

static void pool_offer(struct jobs *j, struct pool *p,
		       const struct worker_offer *o, uint64_t now)
{
	struct worker *w = pool_add(p, &o->id);

	if (!w)
		return;
	if (!w->here) {
		w->streak = 0;
		w->resume_at = 0;
	}
	w->here = true;
	w->self = node_id_eq(&o->id, &j->self);
	trust_offered(j, w, now);
	w->owner = o->owner;
	w->price = o->price;
	w->load = o->load > 100 ? 100 : (unsigned)o->load;
	w->hardware = o->hardware;
	snprintf(w->region, sizeof(w->region), "%s",
		 o->region ? o->region : "");
	w->rtt_ms = o->rtt_ms;
	w->slots = o->slots > SCHED_SLOTS_MAX ? SCHED_SLOTS_MAX
		   : o->slots		      ? (unsigned)o->slots
					      : SCHED_SLOTS;
	worker_announce(w, o->rate, now);
	worker_file(w, now);
	units_feed(j, p, w, now);
}

void jobs_worker(struct jobs *j, const char *cap, const struct worker_offer *o,
		 uint64_t now)
{
	for (size_t i = 0; i < KIND_COUNT; i++) {
		struct worker_offer offer = *o;

		if (strcmp(kind_list[i]->cap, cap) != 0)
			continue;
		/* What a device scans says little of another kind's rate. */
		if (!kind_list[i]->shares)
			offer.rate = 0;
		pool_offer(j, &j->pools[i], &offer, now);
	}
}

static void pool_gone(struct jobs *j, struct pool *p, const struct node_id *id,
		      uint64_t now)
{
	struct worker *w = pool_find(p, id);

	if (!w || !w->here)
		return;
	w->here = false;
	challenge_forget(j, w->trust);
	while (w->units) {
		struct unit *u = w->units;
		struct job *job = u->job;

		part_lost(u->part, "left");
		unit_close(u, false, now);
		job_changed(job);
	}
	worker_file(w, now);
	units_feed_all(j, now);
}

void jobs_worker_gone(struct jobs *j, const char *cap, const struct node_id *id,
		      uint64_t now)
{
	for (size_t i = 0; i < KIND_COUNT; i++)
		if (!strcmp(kind_list[i]->cap, cap))
			pool_gone(j, &j->pools[i], id, now);
}

/* One that it holds. */
static struct unit *unit_of(const struct part *part)
{
	struct unit *u = part->worker->units;

	while (u && u->job != part->job)
		u = u->wnext;
	return u;
}

/* What it did in this job is done again; its verified hits stay hits. */
static void part_drop(struct part *part, const char *why, uint64_t now)
{
	struct job *job = part->job;
	struct unit *u;

	part->dropped = true;
	/* What a closed one shows may be proof, and close the others. */
	while ((u = unit_of(part)))
		unit_close(u, true, now);
	audit_forget(part);
	replica_forget(part);
	book_undo(&job->book, &part->did);
	part->hashes = 0;
	free(part->why);
	part->why = xstrdup(why);
}

const char *job_lie_str(enum job_lie lie)
{
	switch (lie) {
	case JOB_LIE_PLACE:
		return "place";
	case JOB_LIE_FALSE:
		return "false";
	case JOB_LIE_MISSING:
		return "missing";
	case JOB_LIE_BEYOND:
		return "beyond";
	case JOB_LIE_ANSWER:
		return "answer";
	case JOB_LIE_ELSEWHERE:
		return "elsewhere";
	}
	return "unknown";
}

struct job_proof job_proof_of(const struct job *job, uint64_t lease,
			      enum job_lie lie, uint64_t nonce)
{
	struct job_proof proof = {.lease = lease, .lie = lie, .nonce = nonce};

	memcpy(proof.job, job->id, sizeof(proof.job));
	return proof;
}

void jobs_drop(struct jobs *j, struct worker *w, const struct job_proof *proof,
	       uint64_t now, const char *fmt, ...)
{
	const struct node_id id = w->id;
	struct job *job;
	struct part *part;
	char why[200];
	va_list ap;

	if (w->bad)
		return;
	/* Its lists do not count any more, nor are they held against it twice.
	 */
	w->total.e = (struct evidence){0};
	w->total.failures++;
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);

	for (size_t i = 0; i < HN_COUNT(j->pools); i++) {
		struct worker *same = pool_find(&j->pools[i], &id);

		if (same && proof) {
			same->bad = true;
			worker_file(same, now);
		}
	}
	challenge_forget(j, w->trust);
	DL_FOREACH (j->open, job) {
		part = part_find(job, &id);
		if (part)
			part_drop(part, why, now);
	}
	j->returned = true;
	/* What its closed units showed was proof, and is told already. */
	if (!proof && w->bad)
		return;
	trust_event(j, w, proof ? SCORE_PROOF : SCORE_SUSPECT, now);
	j->ops.peer_bad(j->arg, &id, proof, why);
}

/* Jobs */

void job_changed(struct job *job)
{
	if (job_is_open(job))
		job->jobs->ops.changed(job->jobs->arg, job->id, false);
}

/* An ended one. */
static void job_free(struct job *job)
{
	struct part *part, *next_part;
	struct unit *u, *next_unit;

	DL_DELETE(job->jobs->ended, job);
	job->jobs->nended--;
	DL_FOREACH_SAFE (job->closed, u, next_unit)
		unit_free(u);
	HASH_CLEAR(hh, job->part_by_id);
	DL_FOREACH_SAFE (job->parts, part, next_part) {
		spans_release(&part->did);
		free(part->why);
		free(part);
	}
	book_release(&job->book);
	hits_release(&job->hits);
	arena_release(&job->spec_mem);
	free(job->text);
	free(job);
}

/* Everything stops at once; what people may ask about later stays. */
static void job_end(struct job *job, enum job_state state, enum err error,
		    const char *text, uint64_t now)
{
	struct jobs *j = job->jobs;
	struct part *part;
	struct unit *u;

	job->state = state;
	job->error = error;
	job->text = xstrdup(text);
	job->ended_at = now;
	while (job->units)
		unit_close(job->units, true, now);
	audit_clear(job);
	replica_end(job);
	DL_FOREACH (job->parts, part) {
		/* A backup gives its job back with who did what. */
		if (!job->terms->backup.n)
			spans_release(&part->did);
		part->ever = part->worker->total;
		part->worker->refs--;
		part->worker = NULL;
	}
	DL_FOREACH (job->closed, u) {
		if (!u->hh.tbl)
			continue; /* of an earlier start */
		HASH_DEL(j->leases, u);
		u->hh.tbl = NULL;
	}
	DL_DELETE(j->open, job);
	j->nopen--;
	DL_APPEND(j->ended, job);
	if (++j->nended > JOB_MAX_KEPT)
		job_free(j->ended);
	j->returned = true;
	j->ops.changed(j->arg, job->id, true);
}

/* The range is done. Late words have done what is left of some units; of the
 * others the end should come, until it is too late (all). */
static void sweep(struct job *job, bool all, uint64_t now)
{
	struct unit *u, *next;

	DL_FOREACH_SAFE (job->units, u, next)
		if (!u->replica && (all || u->below < u->span.b))
			unit_close(u, true, now);
}

/* How long a job that is done waits for checks: the slowest worker may have
 * one, and nobody asked for it. */
static uint64_t last_check_ms(const struct job *job)
{
	const uint64_t part =
	    (job->complete_at - job->submitted_at) / LAST_CHECK_PART;

	return part > LAST_CHECK_MS ? part : LAST_CHECK_MS;
}

/* All is done and looked over: is the result where it shall be? */
static bool job_final(struct job *job)
{
	struct jobs *j = job->jobs;

	if (!job->kind->finish || !j->ops.finish || job->finished)
		return true;
	if (!job->finishing) {
		job->finishing = true;
		j->ops.finish(j->arg, job->id, job->kind, job->spec);
	}
	return false;
}

/* The range is done: true when nothing more is to be waited for. */
static bool job_settled(struct job *job, uint64_t now)
{
	if (!job->complete) {
		job->complete = true;
		job->complete_at = now;
		job->swept = false;
	}
	const uint64_t since = now - job->complete_at;

	if (!job->swept)
		sweep(job, false, now);
	if (job->ncover && since >= LAST_WORD_MS)
		sweep(job, true, now);
	job->swept = true;
	audit_spend(job, true, now);
	if (!book_complete(&job->book))
		return false;
	if (replica_owing(job, now))
		return false;
	if (job->ncover)
		return false;
	if (since < LAST_LOOK_MS &&
	    (audit_busy(job) ||
	     (since < last_check_ms(job) && (job->nruns || job->nreplicating))))
		return false;
	return job_final(job);
}

void job_step(struct job *job, uint64_t now)
{
	if (!job_is_open(job))
		return;
	if (job->too_many) {
		job_end(job, JOB_FAILED, ERR_LIMIT,
			"more hits than a job can hold (65536): ask for a "
			"smaller range or a harder target",
			now);
	} else if (job->enough) {
		job_end(job, JOB_DONE, OK, "", now);
	} else if (!book_complete(&job->book)) {
		job->complete = job->finished = false;
		audit_spend(job, false, now);
	} else if (job_settled(job, now)) {
		job_end(job, JOB_DONE, OK, "", now);
	}
}

static struct job *find_in(struct job *list, const char *id, size_t n,
			   size_t *found)
{
	struct job *job, *last = NULL;

	DL_FOREACH (list, job) {
		if (strncmp(job->id, id, n))
			continue;
		last = job;
		++*found;
	}
	return last;
}

struct job *jobs_find(const struct jobs *j, const char *id)
{
	const size_t n = strlen(id);
	size_t found = 0;

	if (!n || n >= JOB_ID_SIZE)
		return NULL;
	struct job *open = find_in(j->open, id, n, &found);
	struct job *ended = find_in(j->ended, id, n, &found);

	return found == 1 ? (open ? open : ended) : NULL;
}

/* A permutation of 32 bits (four Feistel rounds): ids that look drawn and do
 * not come twice in four thousand million jobs. */
static uint32_t scramble(uint32_t x, uint64_t key)
{
	uint32_t l = x >> 16, r = x & 0xffff;

	for (int i = 0; i < 4; i++) {
		uint64_t t = (r + (key >> (16 * i))) * 0x9e3779b97f4a7c15u;

		t ^= t >> 29;
		t *= 0xbf58476d1ce4e5b9u;
		const uint32_t next = l ^ (uint32_t)(t >> 48);

		l = r;
		r = next;
	}
	return l << 16 | r;
}

void jobs_draw_id(struct jobs *j, char id[static JOB_ID_SIZE])
{
	do
		snprintf(id, JOB_ID_SIZE, "%08" PRIx32,
			 scramble((uint32_t)j->next_job++, j->job_key));
	while (jobs_find(j, id));
}

struct job *job_new(struct jobs *j, const struct kind *kind, const void *spec)
{
	struct job *job = HN_NEW(struct job);

	job->jobs = j;
	job->kind = kind;
	job->pool = jobs_pool(j, kind);
	job->spec = arena_alloc(&job->spec_mem, kind->spec_size);
	fields_copy(kind->spec, spec, &job->spec_mem, job->spec);
	job->terms = kind->terms(job->spec);
	job->patience_ms = job->terms->wait_ms;
	job->picky = !sched_takes_all(job->terms);
	if (kind->shares) {
		job->all = kind->all(job->spec);
		job->max_bits = kind->max_bits(job->spec);
	}
	return job;
}

enum err jobs_submit_search(struct jobs *j, const struct search_spec *s,
			    uint64_t now, struct buf *why,
			    char id[static JOB_ID_SIZE])
{
	return jobs_submit(j, &kind_search, s, now, why, id);
}

enum err jobs_submit(struct jobs *j, const struct kind *kind, const void *spec,
		     uint64_t now, struct buf *why, char id[static JOB_ID_SIZE])
{
	const enum err e = kind->spec_check(spec, why);

	if (e)
		return e;
	if (j->nopen >= JOB_MAX_OPEN) {
		buf_printf(why,
			   "%d jobs are open already; wait for one to "
			   "end, or cancel one",
			   JOB_MAX_OPEN);
		return ERR_BUSY;
	}
	struct job *job = job_new(j, kind, spec);

	job->submitted_at = job->served_at = job->rate_at = now;
	jobs_draw_id(j, job->id);

	const struct span range = job->kind->range(job->spec);
	book_init(&job->book, range.a, range.b);
	DL_APPEND(j->open, job);
	j->nopen++;
	j->returned = true;
	audit_start(job, now);
	memcpy(id, job->id, JOB_ID_SIZE);
	return OK;
}

void jobs_fail(struct jobs *j, const char *id, enum err e, const char *text,
	       uint64_t now)
{
	struct job *job = jobs_find(j, id);

	if (!job || !job_is_open(job))
		return;
	job_end(job, JOB_FAILED, e, text, now);
	units_feed_all(j, now);
}

void jobs_finished(struct jobs *j, const char *id, enum err e, const char *text,
		   uint64_t now)
{
	struct job *job = jobs_find(j, id);

	if (!job || !job_is_open(job))
		return;
	if (e) {
		jobs_fail(j, id, e, text, now);
		return;
	}
	job->finishing = false;
	job->finished = true;
	job_step(job, now);
}

enum err jobs_cancel(struct jobs *j, const char *id, uint64_t now)
{
	return jobs_cancel_because(j, id, "", now);
}

enum err jobs_cancel_because(struct jobs *j, const char *id, const char *text,
			     uint64_t now)
{
	struct job *job = jobs_find(j, id);

	if (!job)
		return ERR_NOTFOUND;
	if (job_is_open(job)) {
		job_end(job, JOB_CANCELED, ERR_CANCELED, text, now);
		units_feed_all(j, now);
	}
	return OK;
}

void jobs_forget(struct jobs *j, const char *id)
{
	struct job *job = jobs_find(j, id);

	if (job && !job_is_open(job))
		job_free(job);
}

bool jobs_wants(const struct jobs *j, const char *cap)
{
	const struct job *job;

	DL_FOREACH (j->open, job)
		if (!strcmp(job->kind->cap, cap))
			return true;
	return false;
}

const void *jobs_spec(const struct jobs *j, const char *id,
		      const struct kind **kind)
{
	const struct job *job = jobs_find(j, id);

	if (!job)
		return NULL;
	*kind = job->kind;
	return job->spec;
}

void jobs_each(const struct jobs *j, void (*fn)(const char *id, void *arg),
	       void *arg)
{
	const struct job *job;

	DL_FOREACH (j->ended, job)
		fn(job->id, arg);
	DL_FOREACH (j->open, job)
		fn(job->id, arg);
}

/* Time */

static void job_measure(struct job *job, uint64_t now)
{
	const uint64_t done = job->book.done.total;
	const double ms = (double)(now - job->rate_at);

	if (ms < RATE_MS)
		return;
	/* It may shrink: what a liar did is done again. */
	const double fresh =
	    done > job->rate_hashes ? (double)(done - job->rate_hashes) : 0;
	const double rate = fresh * 1000.0 / ms;

	job->rate = job->rate > 0 ? (job->rate + rate) / 2 : rate;
	job->rate_at = now;
	job->rate_hashes = done;
}

/* How many usable workers a picky job's terms leave it, and how fast they
 * are. Not at every event: it looks at all of them. */
static void count_suited(struct job *job, uint64_t now)
{
	struct worker *w, *next;

	if (!job->picky || (job->suited_at && now - job->suited_at < TICK_MS))
		return;
	job->suited_at = now;
	job->suited = 0;
	job->suited_rate = 0;
	HASH_ITER (hh, job->pool->by_id, w, next) {
		if (!w->is_usable || !job_suits(job, w, now))
			continue;
		job->suited++;
		job->suited_rate += w->counted;
	}
}

/* Of those who are there and do not suit: why not, and how many. */
static void say_refused(const struct job *job, uint64_t now, struct buf *out)
{
	struct sched_refusal seen[SCHED_REASONS] = {0};
	size_t count[SCHED_REASONS] = {0};
	struct worker *w, *next;
	const char *sep = ": ";

	HASH_ITER (hh, job->pool->by_id, w, next) {
		const struct sched_candidate c = job_candidate(job, w, now);
		const struct sched_refusal r =
		    sched_refuses_now(job->terms, &c);

		if (!count[r.reason]++)
			seen[r.reason] = r;
	}
	for (size_t i = SCHED_AWAY + 1; i < SCHED_REASONS; i++) {
		if (!count[i] || out->n > LONELY_TEXT)
			continue;
		buf_printf(out, "%s%zu %s (one %s", sep, count[i],
			   sched_reason_str((enum sched_reason)i),
			   count[i] > 1 ? "of them " : "");
		sched_refusal_say(&seen[i], out);
		buf_add_str(out, ")");
		sep = ", ";
	}
}

static void end_lonely(struct job *job, uint64_t now)
{
	const char *cap = job->kind->cap;
	struct buf text = {0};

	const bool here = job->pool->here, busy = here && !job->picky;

	buf_printf(&text,
		   busy ? "who offers %s took no work for %" PRIu64 " s"
			: "nobody offered %s for %" PRIu64 " s",
		   cap, job->patience_ms / 1000);
	if (busy) {
		buf_printf(&text, "; why: hnode job show %s --by-peer",
			   job->id);
	} else if (here) {
		buf_add_str(&text, " as the job asks for it");
		say_refused(job, now, &text);
	} else {
		buf_printf(&text, " (workers start with hnode --offer %s)",
			   cap);
	}
	job_end(job, JOB_FAILED, ERR_NOPEER, buf_str(&text), now);
	buf_release(&text);
}

/* Fails a job that nobody does; returns when that would be. */
static uint64_t job_lonely(struct job *job, uint64_t now)
{
	count_suited(job, now);
	const bool some = job->picky ? job->suited : job->pool->usable;

	if (some || job->complete)
		job->served_at = now;
	if (some)
		job->patience_ms = job->terms->wait_ms;
	if (now - job->served_at < job->patience_ms || some || job->complete)
		return job->served_at + job->patience_ms;
	end_lonely(job, now);
	return UINT64_MAX;
}

/* A machine that slept is no reason to give a job up: its workers could not
 * have reached us. */
static void forgive_sleep(struct jobs *j, uint64_t now)
{
	struct job *job;

	if (j->ticked_at && now - j->ticked_at > ASLEEP_MS)
		DL_FOREACH (j->open, job)
			job->served_at = now;
	j->ticked_at = j->open ? now : 0;
}

uint64_t jobs_tick(struct jobs *j, uint64_t now)
{
	uint64_t next = now + TICK_IDLE_MS;
	struct job *job, *after;

	forgive_sleep(j, now);
	for (size_t i = 0; i < KIND_COUNT; i++)
		units_expire(j, &j->pools[i], now);
	DL_FOREACH_SAFE (j->open, job, after) {
		job_measure(job, now);
		job_step(job, now);
		if (!job_is_open(job))
			continue;
		const uint64_t lonely = job_lonely(job, now);

		if (lonely < next)
			next = lonely;
	}
	const uint64_t ask = challenges_tick(j, now);

	if (ask < next)
		next = ask;
	if (j->returned || now >= j->feed_at) {
		units_feed_all(j, now);
		j->feed_at = now + TICK_MS;
	}
	if (now >= j->steal_at) {
		bool watch = false;

		for (size_t i = 0; i < KIND_COUNT; i++)
			watch |= units_steal(j, &j->pools[i], now);
		j->steal_at = now + (watch ? TICK_WATCH_MS : 1);
	}
	if (next > j->steal_at && j->steal_at > now + 1)
		next = j->steal_at;
	if (j->open && next > now + TICK_MS)
		next = now + TICK_MS;
	return next > now ? next : now + 1;
}
