/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/worker.h"

#include "node/base/mem.h"
#include "node/mesh/sched.h"
#include "node/mesh/trust.h"

#include <utlist.h>

#include <stdlib.h>

#define RATE_MEMORY_MS 2000.0 /* of the moving mean */
#define WINDOW_MS 200	      /* a shorter one says little */
#define ANNOUNCED_MS 50.0     /* what an announced rate weighs */

#define RATE_MAX UINT64_C(1000000000000000) /* that is announced: 1 PH/s */

#define BACKOFF_DOUBLINGS 4

#define PATIENCE_MS 5000
#define PATIENCE_MAX_MS 30000 /* or words just in time would stretch it */
#define PATIENCE_INTERVALS 4

void pool_release(struct pool *p)
{
	struct worker *w, *next;

	HASH_ITER (hh, p->by_id, w, next) {
		HASH_DEL(p->by_id, w);
		free(w);
	}
	heap_release(&p->idle);
	heap_release(&p->due);
	*p = (struct pool){0};
}

struct worker *pool_find(struct pool *p, const struct node_id *id)
{
	struct worker *w;

	HASH_FIND(hh, p->by_id, id, sizeof(*id), w);
	return w;
}

/* Forgets the oldest absent worker; one found bad only when all are. */
static bool pool_forget(struct pool *p)
{
	struct worker *w, *next, *victim = NULL;

	HASH_ITER (hh, p->by_id, w, next) {
		if (w->here || w->refs || w->units)
			continue;
		if (!victim || (victim->bad && !w->bad))
			victim = w;
		if (!victim->bad)
			break;
	}
	if (!victim)
		return false;
	HASH_DEL(p->by_id, victim);
	heap_take(&p->due, &victim->due);
	free(victim);
	return true;
}

struct worker *pool_add(struct pool *p, const struct node_id *id)
{
	struct worker *w = pool_find(p, id);

	if (w)
		return w;
	if (HASH_COUNT(p->by_id) >= WORKER_MAX && !pool_forget(p))
		return NULL;
	w = HN_NEW(struct worker);
	w->pool = p;
	w->id = *id;
	w->interval_ms = SCHED_PROGRESS_MS;
	HASH_ADD(hh, p->by_id, id, sizeof(w->id), w);
	return w;
}

static bool worker_usable(const struct worker *w)
{
	return w->here && !w->bad && !w->streak && trust_may_work(w->trust);
}

static void count(struct worker *w)
{
	struct pool *p = w->pool;
	const bool here = w->here && !w->bad, usable = worker_usable(w);
	const uint64_t rate = usable ? (uint64_t)w->rate : 0;

	p->here += here - w->is_here;
	p->usable += usable - w->is_usable;
	p->rate += rate - w->counted;
	w->is_here = here;
	w->is_usable = usable;
	w->counted = rate;
}

void worker_file(struct worker *w, uint64_t now)
{
	struct pool *p = w->pool;
	const bool free = worker_free(w, now), spare = free && w->held;
	const bool rests = w->here && !w->bad && now < w->resume_at;
	uint64_t due = worker_expiry(w);

	count(w);
	if (free && !w->held)
		heap_put(&p->idle, &w->idle, UINT64_MAX - (uint64_t)w->rate);
	else
		heap_take(&p->idle, &w->idle);
	if (spare && !w->is_spare)
		DL_APPEND2(p->spare, w, sprev, snext);
	else if (!spare && w->is_spare)
		DL_DELETE2(p->spare, w, sprev, snext);
	w->is_spare = spare;
	if (rests && w->resume_at < due)
		due = w->resume_at;
	if (due != UINT64_MAX)
		heap_put(&p->due, &w->due, due);
	else
		heap_take(&p->due, &w->due);
}

struct worker *pool_due(struct pool *p, uint64_t now)
{
	const struct heap_node *top = heap_top(&p->due);

	return top && top->key <= now ? HN_HEAP_OF(top, struct worker, due)
				      : NULL;
}

double worker_score(const struct worker *w)
{
	static const struct score stranger;

	if (w->self)
		return 1;
	return score_value(w->trust ? &w->trust->score : &stranger);
}

/* One that failed gets one unit, and the others when that is well. */
static unsigned slots_of(const struct worker *w)
{
	return w->streak || worker_score(w) < SCHED_LOW_SCORE ? 1 : w->slots;
}

bool worker_free(const struct worker *w, uint64_t now)
{
	return w->here && !w->bad && w->held < slots_of(w) &&
	       now >= w->resume_at && trust_may_work(w->trust);
}

struct sched_candidate worker_candidate(const struct worker *w, uint64_t now)
{
	return (struct sched_candidate){
	    .rate = worker_speed(w),
	    .measured = w->measured,
	    .score = worker_score(w),
	    .hardware = w->hardware,
	    .region = *w->region ? w->region : NULL,
	    .price = w->price,
	    .here = w->here,
	    .barred = w->bad,
	    .quarantined = !trust_may_work(w->trust),
	    .rest_ms = w->resume_at > now ? w->resume_at - now : 0,
	    .held = w->held,
	    .slots = slots_of(w),
	    .load = w->load,
	};
}

static const struct node_id *owner_of(const struct worker *w)
{
	static const struct node_id none;

	return node_id_eq(&w->owner, &none) ? &w->id : &w->owner;
}

bool worker_independent(const struct worker *a, const struct worker *b)
{
	return !node_id_eq(&a->id, &b->id) &&
	       !node_id_eq(owner_of(a), owner_of(b));
}

void worker_announce(struct worker *w, uint64_t rate, uint64_t now)
{
	if (w->measured || !rate)
		return;
	/* Its own word, summed up over a pool. */
	w->rate = (double)(rate < RATE_MAX ? rate : RATE_MAX);
	w->seen_ms = ANNOUNCED_MS;
	worker_file(w, now);
}

static void window_fold(struct worker *w, uint64_t now)
{
	const double ms =
	    now > w->window_from ? (double)(now - w->window_from) : 1;
	const double sample = (double)w->window_hashes * 1000.0 / ms;
	const double weight =
	    w->seen_ms < RATE_MEMORY_MS ? w->seen_ms : RATE_MEMORY_MS;

	w->rate = (w->rate * weight + sample * ms) / (weight + ms);
	w->recent = sample;
	w->seen_ms += ms;
	w->measured = true;
	w->window_from = now;
	w->window_hashes = 0;
}

void worker_busy(struct worker *w, uint64_t now)
{
	w->window_from = now + w->rtt_ms;
	w->window_hashes = 0;
	w->heard_at = now;
	worker_file(w, now);
}

void worker_progress(struct worker *w, uint64_t hashes, uint64_t now)
{
	if (now > w->heard_at)
		w->interval_ms =
		    (3 * w->interval_ms + (double)(now - w->heard_at)) / 4;
	w->heard_at = now;
	w->streak = 0;
	w->resume_at = 0;
	/* Late words: nobody knows since when. */
	w->window_hashes += w->held ? hashes : 0;
	if (w->held && now >= w->window_from + WINDOW_MS)
		window_fold(w, now);
	worker_file(w, now);
}

void worker_idle(struct worker *w, uint64_t now)
{
	if (w->window_hashes)
		window_fold(w, now);
	worker_file(w, now);
}

void worker_failed(struct worker *w, uint64_t rest_ms, uint64_t now)
{
	const unsigned n =
	    w->streak < BACKOFF_DOUBLINGS ? w->streak : BACKOFF_DOUBLINGS;

	w->resume_at = now + (rest_ms << n);
	w->streak++;
	worker_file(w, now);
}

uint64_t worker_patience_ms(const struct worker *w)
{
	const double long_ms =
	    PATIENCE_INTERVALS * (w->interval_ms + (double)w->rtt_ms);

	if (long_ms > PATIENCE_MAX_MS)
		return PATIENCE_MAX_MS;
	return long_ms > PATIENCE_MS ? (uint64_t)long_ms : PATIENCE_MS;
}

uint64_t worker_expiry(const struct worker *w)
{
	if (!w->held)
		return UINT64_MAX;
	return (w->heard_at < w->turn_at ? w->heard_at : w->turn_at) +
	       worker_patience_ms(w);
}
