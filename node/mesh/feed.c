/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Who gets the next unit, of which job and how large; and what is taken from
 * the slow when others are idle. The choice itself is sched.h's; here is where
 * its numbers come from, and that no more workers are looked at than need be:
 * an event is answered by a look at one worker, or at CHOICES of those that
 * are free.
 */
#include "node/mesh/job_impl.h"

#include "node/base/mem.h"
#include "node/mesh/sched.h"

#include <utlist.h>

#include <stdlib.h>

#define ROBBED_AGAIN_MS 1000
#define CHOICES 16    /* workers that are compared for one unit */
#define NOBODY_MS 250 /* until all are looked at again */

/* What w's next unit is like, with so much to do. */
static struct sched_cut cut_for(const struct job *job, const struct worker *w,
				uint64_t pending)
{
	const struct pool *p = job->pool;
	const struct sched_job sj = {
	    .pending = pending,
	    .mesh_rate = (double)(job->picky ? job->suited_rate : p->rate),
	    .workers = job->picky ? job->suited : p->here,
	    .max_bits = job->max_bits,
	    .plain = !job->kind->shares,
	    .first = job->kind->first,
	    .most = job->kind->most,
	    .equal = job->terms->balance != BALANCE_RATE,
	};
	const struct sched_worker sw = {worker_speed(w), w->measured, w->rtt_ms,
					worker_score(w)};

	return sched_unit(&sj, &sw);
}

static bool give_replica(struct job *job, struct worker *w, uint64_t now)
{
	const struct sched_cut cut =
	    cut_for(job, w, job->book.pending.total + job->owed_nonces);
	struct span span;
	struct piece *p = replica_pick(job, w, &cut, &span);

	if (!p)
		return false;
	struct unit *u = unit_new(job, w, span, cut.bits, true, now);

	replica_taken(p, u);
	return unit_hand_over(u, cut.expected_ms, now);
}

static bool give_unit(struct job *job, struct worker *w, uint64_t now)
{
	struct jobs *j = job->jobs;
	const struct sched_cut cut =
	    cut_for(job, w, job->book.pending.total + job->owed_nonces);
	/* Without shares nothing is given twice, and order is worth more. */
	const uint64_t draw = job->kind->shares ? j->ops.random(j->arg) : 0;
	struct span span;

	if (!book_take(&job->book, cut.nonces, draw, &span))
		return false;
	job->cut_units++;
	job->cut_nonces += span.b - span.a;
	return unit_hand_over(unit_new(job, w, span, cut.bits, false, now),
			      cut.expected_ms, now);
}

/* A suspect that was let back does no more for the job where it failed. */
static bool was_dropped(const struct job *job, const struct worker *w)
{
	const struct part *part = part_find(job, &w->id);

	return part && part->dropped;
}

struct sched_candidate job_candidate(const struct job *job,
				     const struct worker *w, uint64_t now)
{
	struct sched_candidate c = worker_candidate(w, now);

	/* Measured in numbers of its kind; what it says of itself is H/s. */
	if (w->measured && job->kind->weight)
		c.rate *= job->kind->weight(job->spec);
	return c;
}

bool job_suits(const struct job *job, const struct worker *w, uint64_t now)
{
	if (was_dropped(job, w))
		return false;
	if (!job->picky)
		return true;
	const struct sched_candidate c = job_candidate(job, w, now);

	return sched_refuses(job->terms, &c).reason == SCHED_SUITS;
}

/* Is there anything to do for it? */
static bool job_wants(const struct job *job)
{
	return job->book.pending.n || job->runs || job->owed;
}

/* Something for w, which is free and suits. */
static bool give(struct job *job, struct worker *w, uint64_t now)
{
	const bool gave = (replica_any(job) && give_replica(job, w, now)) ||
			  (worker_free(w, now) && give_unit(job, w, now));

	if (gave)
		job->turn = w;
	return gave;
}

/* One more unit for w, of the job that it may serve and that has the fewest in
 * hands; false when there is none or it was not taken. */
static bool feed_one(struct jobs *j, struct pool *p, struct worker *w,
		     uint64_t now)
{
	struct job *job, *jobs[JOB_MAX_OPEN];
	uint64_t held[JOB_MAX_OPEN];
	size_t n = 0, best;

	DL_FOREACH (j->open, job) {
		if (job->pool != p || !job_wants(job) ||
		    !job_suits(job, w, now))
			continue;
		jobs[n] = job;
		held[n++] = job->nunits;
	}
	while (worker_free(w, now) && (best = sched_pick(held, n)) < n) {
		if (give(jobs[best], w, now))
			return true;
		held[best] = UINT64_MAX;
	}
	return false;
}

/* --- whoever is next --- */

/* Round-robin: whose turn it is, free or not; NULL: nobody's. */
static struct worker *turn_of(const struct job *job, uint64_t now)
{
	const size_t n = HASH_COUNT(job->pool->by_id);
	struct worker *w = job->turn;

	for (size_t i = 0; i < n; i++) {
		w = w && w->hh.next ? w->hh.next : job->pool->by_id;
		if (w->is_here && now >= w->resume_at &&
		    trust_may_work(w->trust) && job_suits(job, w, now))
			return w;
	}
	return NULL;
}

struct choice {
	struct worker *w[CHOICES];
	struct sched_candidate c[CHOICES];
	size_t n;
};

static void consider(struct choice *c, const struct job *job, struct worker *w,
		     uint64_t now)
{
	if (!job_suits(job, w, now))
		return;
	c->w[c->n] = w;
	c->c[c->n++] = worker_candidate(w, now);
}

/* Some that suit: those that have nothing to do, else those that could do
 * more. More than CHOICES would not make the choice better, only dearer. */
static void choose(struct choice *c, const struct job *job, uint64_t draw,
		   uint64_t now)
{
	const struct pool *p = job->pool;
	const size_t n = p->idle.n;
	/* The fastest stand first. */
	const size_t from =
	    n && job->terms->balance != BALANCE_RATE ? draw % n : 0;

	for (size_t i = 0; i < n && c->n < CHOICES; i++)
		consider(c, job, pool_idle(p, (from + i) % n), now);
	if (c->n)
		return;
	for (struct worker *w = p->spare; w && c->n < CHOICES; w = w->snext)
		consider(c, job, w, now);
}

/* A unit of this job for the one who is next. */
static bool feed_job(struct job *job, uint64_t now)
{
	struct jobs *j = job->jobs;
	const enum balance balance = (enum balance)job->terms->balance;
	const uint64_t draw = j->ops.random(j->arg);
	struct choice c = {.n = 0};

	if (job->nobody_at && now - job->nobody_at < NOBODY_MS)
		return false;
	if (balance == BALANCE_ROUND_ROBIN) {
		struct worker *w = turn_of(job, now);

		if (w)
			consider(&c, job, w, now);
	} else {
		choose(&c, job, draw, now);
	}
	job->nobody_at = job->picky && !c.n ? now : 0;
	while (c.n) {
		const size_t i = sched_next(balance, c.c, c.n, draw >> 32);

		if (i == c.n)
			return false;
		if (give(job, c.w[i], now))
			return true;
		c.w[i] = c.w[--c.n];
		c.c[i] = c.c[c.n];
	}
	return false;
}

/* The job with the fewest units in hands first; one unit at a time, so that
 * the last are not all in one worker's hands. */
static void feed_pool(struct jobs *j, struct pool *p, uint64_t now)
{
	struct job *job, *jobs[JOB_MAX_OPEN];
	uint64_t held[JOB_MAX_OPEN];
	size_t n = 0, best;

	DL_FOREACH (j->open, job) {
		if (job->pool != p || !job_wants(job))
			continue;
		jobs[n] = job;
		held[n++] = job->nunits;
	}
	while ((p->idle.n || p->spare) && (best = sched_pick(held, n)) < n) {
		job = jobs[best];
		held[best] = feed_job(job, now) && job_wants(job) ? job->nunits
								  : UINT64_MAX;
	}
}

void units_feed_all(struct jobs *j, uint64_t now)
{
	j->returned = false;
	for (size_t i = 0; i < KIND_COUNT; i++)
		feed_pool(j, &j->pools[i], now);
}

/* Is there a job whose next unit is not for whoever asks first? */
static bool in_turn(const struct jobs *j, const struct pool *p)
{
	const struct job *job;

	DL_FOREACH (j->open, job)
		if (job->pool == p &&
		    job->terms->balance == BALANCE_ROUND_ROBIN)
			return true;
	return false;
}

void units_feed(struct jobs *j, struct pool *p, struct worker *w, uint64_t now)
{
	if (in_turn(j, p)) {
		feed_pool(j, p, now);
		return;
	}
	while (worker_free(w, now) && feed_one(j, p, w, now))
		;
}

void jobs_settle(struct jobs *j, struct pool *p, struct worker *w, uint64_t now)
{
	if (j->returned)
		units_feed_all(j, now);
	else
		units_feed(j, p, w, now);
}

/* --- taking from the slow --- */

/* A unit in hands, and when it would be done. */
struct late {
	struct heap_node node;
	struct unit *u;
	struct sched_slow slow;
};

static bool look_at(struct unit *u, uint64_t now, struct late *l)
{
	struct worker *w = u->part->worker;

	l->u = u;
	l->slow = (struct sched_slow){.rate = worker_speed(w),
				      .rtt_ms = w->rtt_ms,
				      .heard_at = w->heard_at,
				      .left = u->span.b - u->below,
				      .begun = w->units == u};
	if (u->replica || !l->slow.left ||
	    (l->slow.begun && now - w->robbed_at < ROBBED_AGAIN_MS))
		return false;
	for (struct unit *v = w->units; v != u; v = v->wnext)
		l->slow.ahead += v->span.b - v->below;
	return true;
}

static struct worker *fastest_for(const struct job *job, uint64_t now)
{
	const struct pool *p = job->pool;
	struct worker *best = NULL;

	for (size_t i = 0; i < p->idle.n; i++) {
		struct worker *w = pool_idle(p, i);

		if ((best && w->rate <= best->rate) || !job_suits(job, w, now))
			continue;
		best = w;
		if (!i)
			break; /* the fastest of all */
	}
	return best;
}

/* From the last to be done on, while somebody idle is sooner. */
static void steal_from(struct job *job, uint64_t now)
{
	struct late *late = xcalloc(job->nunits, sizeof(*late));
	struct heap latest = {0};
	struct worker *idle;
	struct unit *u;
	size_t n = 0;

	DL_FOREACH (job->units, u)
		if (look_at(u, now, &late[n])) {
			heap_put(&latest, &late[n].node,
				 UINT64_MAX - sched_finish(&late[n].slow, now));
			n++;
		}
	while (latest.n && (idle = fastest_for(job, now))) {
		struct late *l =
		    HN_HEAP_OF(heap_top(&latest), struct late, node);
		struct worker *w = l->u->part->worker;

		heap_take(&latest, &l->node);
		/* What else it holds is done sooner by now. */
		if (w->stolen_at == now)
			continue;
		if (!sched_steal(&l->slow, idle->rate, idle->rtt_ms, now))
			break;
		if (l->slow.begun)
			w->robbed_at = now;
		w->stolen_at = now;
		unit_close(l->u, true, now);
		while (worker_free(idle, now) && give(job, idle, now))
			;
		job_changed(job);
	}
	heap_release(&latest);
	free(late);
}

bool units_steal(struct jobs *j, struct pool *p, uint64_t now)
{
	struct job *job, *next;
	bool watch = false;

	DL_FOREACH_SAFE2(j->open, job, next, next)
	{
		if (job->pool != p || job->book.pending.n || !job->ncover)
			continue;
		if (!p->idle.n)
			return watch;
		watch = true;
		steal_from(job, now);
	}
	return watch;
}
