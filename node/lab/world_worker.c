/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What workers do with their leases, and how they cheat. */
#include "node/lab/world_impl.h"

#include "node/base/mem.h"

#include <utlist.h>

#include <stdlib.h>

#define STEP_US 250000

static double speed(const struct world_worker *k)
{
	switch (k->lie) {
	case LIE_SKIPS:
	case LIE_SCATTERED:
		return k->rate / (1 - k->lie_part);
	case LIE_LAZY:
		return k->rate * 1000;
	case HONEST:
	case LIE_WITHHOLDS:
	case LIE_INVENTS:
	case LIE_REPEATS:
	case LIE_BEYOND:
		break;
	}
	return k->rate;
}

static void plan(struct world *w, size_t i)
{
	struct world_worker *k = &w->w[i];
	struct world_task *t = k->tasks;

	if (!t || k->stepping)
		return;
	if (!t->begun_us) {
		t->begun_us = w->now_us;
		t->begun_pos = t->pos;
	}
	const uint64_t left = t->work.end - t->pos;
	uint64_t us = (uint64_t)((double)left * 1e6 / speed(k)) + 1;

	if (us > STEP_US)
		us = STEP_US;
	k->stepping = true;
	world_push(w, (struct world_event){.kind = EV_STEP,
					   .at = w->now_us + us,
					   .worker = (uint32_t)i,
					   .id = ++k->step});
}

/* Does this worker leave the nonce out? */
static bool leaves_out(struct world *w, const struct world_worker *k,
		       const struct world_task *t, uint32_t nonce)
{
	const struct scan_work *work = &t->work;
	const double length = (double)(work->end - work->start);

	switch (k->lie) {
	case LIE_SKIPS:
		return (double)(nonce - work->start) >
		       length * (1 - k->lie_part);
	case LIE_SCATTERED:
		return (nonce >> (work->share_bits - 4)) % 100 <
		       (uint32_t)(100 * k->lie_part);
	case LIE_WITHHOLDS:
		return world_chance(w) < k->lie_part;
	case LIE_LAZY:
		return true;
	case HONEST:
	case LIE_INVENTS:
	case LIE_REPEATS:
	case LIE_BEYOND:
		break;
	}
	return false;
}

static void lie_about(struct world *w, struct world_worker *k,
		      struct world_task *t, struct world_event *e)
{
	size_t n = 0;

	for (size_t i = 0; i < e->n; i++)
		if (!leaves_out(w, k, t, e->shares[i]))
			e->shares[n++] = e->shares[i];
	e->n = n;
	if (k->lie == LIE_REPEATS && n) {
		e->shares[n] = e->shares[n - 1];
		e->n++;
	}
	if (k->lie == LIE_INVENTS && (!n || e->shares[n - 1] + 1 < e->below)) {
		e->shares[n] = (uint32_t)(e->below - 1);
		e->n++;
	}
	if (k->lie == LIE_BEYOND)
		e->below = t->work.end + 1;
}

static void send(struct world *w, size_t i, struct world_task *t,
		 struct world_event e)
{
	struct world_worker *k = &w->w[i];
	uint64_t at = w->now_us + world_way(w, k);

	e.worker = (uint32_t)i;
	e.job = t->job;
	e.id = t->id;
	if (at < t->sent_us)
		at = t->sent_us;
	/* Words of different leases may overtake each other. */
	if (at < k->last_sent_us && world_chance(w) >= w->reorder)
		at = k->last_sent_us;
	t->sent_us = at;
	if (at > k->last_sent_us)
		k->last_sent_us = at;
	e.at = at;
	t->broken |= k->mute;
	if (t->broken) {
		free(e.shares);
		return;
	}
	world_push(w, e);
	if (world_chance(w) < w->dup) {
		e.at += world_random(w) % 3000000;
		e.shares = xmemdup(e.shares, e.n * sizeof(*e.shares));
		world_push(w, e);
	}
}

static void tell(struct world *w, size_t i, struct world_task *t)
{
	struct world_worker *k = &w->w[i];
	struct world_event e = {
	    .kind = EV_WORD, .from = t->told, .below = t->pos};

	e.shares =
	    world_shares(t->told, t->pos, (unsigned)t->work.share_bits, &e.n);
	lie_about(w, k, t, &e);
	t->told = t->pos;
	send(w, i, t, e);
}

void world_task_free(struct world *w, struct world_task *t)
{
	struct world_worker *k = &w->w[t->worker];

	if (t->arrived) {
		if (t == k->tasks) {
			k->stepping = false;
			k->step++;
		}
		DL_DELETE(k->tasks, t);
	}
	HASH_DEL(w->by_lease, t);
	free(t);
}

void worker_clear(struct world *w, size_t i)
{
	while (w->w[i].tasks)
		world_task_free(w, w->w[i].tasks);
}

/* Its device fails, or its user takes it back: what was told stays true. */
static void give_back(struct world *w, size_t i, struct world_task *t)
{
	static const enum err errors[] = {ERR_BUSY, ERR_DEVICE, ERR_GONE,
					  ERR_CANCELED, ERR_TIMEOUT};

	send(w, i, t,
	     (struct world_event){
		 .kind = EV_END,
		 .err = errors[world_random(w) % HN_COUNT(errors)]});
	world_task_free(w, t);
}

static void step(struct world *w, size_t i)
{
	struct world_worker *k = &w->w[i];
	struct world_task *t = k->tasks;

	k->stepping = false;
	const double us = (double)(w->now_us - t->begun_us);
	uint64_t pos = t->begun_pos + (uint64_t)(us * speed(k) / 1e6);

	if (pos > t->work.end)
		pos = t->work.end;
	k->hashes += pos - t->pos;
	t->pos = pos;
	/* A changed rate counts from here. */
	t->begun_us = w->now_us;
	t->begun_pos = pos;
	if (pos > t->told)
		tell(w, i, t);
	if (w->fails > 0 && world_chance(w) < w->fails) {
		give_back(w, i, t);
	} else if (pos == t->work.end) {
		send(w, i, t,
		     (struct world_event){
			 .kind = EV_END, .below = t->work.end - t->work.start});
		world_task_free(w, t);
	}
	plan(w, i);
}

void worker_on_step(struct world *w, size_t i, uint64_t number)
{
	struct world_worker *k = &w->w[i];

	if (k->stepping && number == k->step && k->tasks)
		step(w, i);
}

void worker_on_lease(struct world *w, struct world_task *t)
{
	t->arrived = true;
	DL_APPEND(w->w[t->worker].tasks, t);
	plan(w, t->worker);
}

void worker_on_revoke(struct world *w, uint64_t lease_id)
{
	struct world_task *t;

	HASH_FIND(hh, w->by_lease, &lease_id, sizeof(lease_id), t);
	/* The taking back of one that is still under way came too early. */
	if (!t || !t->arrived)
		return;
	const size_t i = t->worker;

	world_task_free(w, t);
	plan(w, i);
}
