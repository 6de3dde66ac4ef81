/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/worker.h"

#include "node/base/mem.h"
#include "node/mesh/sched.h"
#include "node/mesh/trust.h"

#include <stdlib.h>

#define RATE_MEMORY_MS 2000.0 /* of the moving mean */
#define WINDOW_MS 200	      /* a shorter one says little */
#define ANNOUNCED_MS 50.0     /* what an announced rate weighs */

#define BACKOFF_DOUBLINGS 4

#define PATIENCE_MS 5000
#define PATIENCE_INTERVALS 4

void pool_release(struct pool *p)
{
	struct worker *w, *next;

	HASH_ITER (hh, p->by_id, w, next) {
		HASH_DEL(p->by_id, w);
		free(w);
	}
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
	w->id = *id;
	w->interval_ms = SCHED_PROGRESS_MS;
	HASH_ADD(hh, p->by_id, id, sizeof(w->id), w);
	return w;
}

static bool worker_usable(const struct worker *w)
{
	return w->here && !w->bad && !w->streak && trust_may_work(w->trust);
}

void pool_count(struct pool *p)
{
	struct worker *w, *next;

	p->rate = 0;
	p->usable = p->here = 0;
	HASH_ITER (hh, p->by_id, w, next) {
		if (!w->here || w->bad)
			continue;
		p->here++;
		if (!worker_usable(w))
			continue;
		p->usable++;
		p->rate += w->rate;
	}
}

bool worker_free(const struct worker *w, uint64_t now)
{
	/* One that failed gets one unit, and the others when that is well. */
	const unsigned slots = w->streak ? 1 : w->slots;

	return w->here && !w->bad && w->held < slots && now >= w->resume_at &&
	       trust_may_work(w->trust);
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

void worker_announce(struct worker *w, uint64_t rate)
{
	if (w->measured || !rate)
		return;
	w->rate = (double)rate;
	w->seen_ms = ANNOUNCED_MS;
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
}

void worker_progress(struct worker *w, uint64_t hashes, uint64_t now)
{
	if (now > w->heard_at)
		w->interval_ms =
		    (3 * w->interval_ms + (double)(now - w->heard_at)) / 4;
	w->heard_at = now;
	w->streak = 0;
	w->resume_at = 0;
	if (!w->held)
		return; /* late words: nobody knows since when */
	w->window_hashes += hashes;
	if (now >= w->window_from + WINDOW_MS)
		window_fold(w, now);
}

void worker_idle(struct worker *w, uint64_t now)
{
	if (w->window_hashes)
		window_fold(w, now);
}

void worker_failed(struct worker *w, uint64_t rest_ms, uint64_t now)
{
	const unsigned n =
	    w->streak < BACKOFF_DOUBLINGS ? w->streak : BACKOFF_DOUBLINGS;

	w->resume_at = now + (rest_ms << n);
	w->streak++;
}

uint64_t worker_patience_ms(const struct worker *w)
{
	const double long_ms =
	    PATIENCE_INTERVALS * (w->interval_ms + (double)w->rtt_ms);

	return long_ms > PATIENCE_MS ? (uint64_t)long_ms : PATIENCE_MS;
}
