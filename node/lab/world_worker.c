/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What workers do with their leases. */
#include "node/lab/world_impl.h"

#include "node/base/mem.h"

#include <utlist.h>

#include <stdlib.h>

/* In numbers of its range per second. */
static double pace(const struct world_worker *k, const struct world_task *t)
{
	return cheat_speed(k) / (double)t->weight;
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
	uint64_t us = (uint64_t)((double)left * 1e6 / pace(k, t)) + 1;

	if (us > cheat_step_us(k))
		us = cheat_step_us(k);
	k->stepping = true;
	world_push(w, (struct world_event){.kind = EV_STEP,
					   .at = w->now_us + us,
					   .worker = (uint32_t)i,
					   .id = ++k->step});
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
	if (e.kind != EV_ANSWER && world_chance(w) < w->dup) {
		e.at += world_random(w) % 3000000;
		if (e.shares)
			e.shares = xmemdup(e.shares, e.n * sizeof(*e.shares));
		world_push(w, e);
	}
}

/* A part of the digests; the answer is complete with their root. */
static void stream(struct world *w, size_t i, struct world_task *t)
{
	struct world_worker *k = &w->w[i];

	k->claimed += (t->pos - t->told) * t->weight;
	t->told = t->pos;
	if (t->pos < t->work.end)
		send(w, i, t, (struct world_event){.kind = EV_HEARD});
}

static void answer(struct world *w, size_t i, struct world_task *t)
{
	const uint64_t n = (t->work.end - t->work.start) * t->weight;

	send(w, i, t,
	     (struct world_event){.kind = EV_ANSWER,
				  .from = t->work.start,
				  .below = t->work.end,
				  .n = n,
				  .bad = world_cheat_digests(w, &w->w[i], n)});
}

static void tell(struct world *w, size_t i, struct world_task *t)
{
	struct world_worker *k = &w->w[i];
	struct world_event e = {
	    .kind = EV_WORD, .from = t->told, .below = t->pos};

	e.shares = world_shares(world_key(t->work.header), t->told, t->pos,
				(unsigned)t->work.share_bits, &e.n);
	cheat_word(w, t, &e);
	k->claimed += (t->pos - t->told) * t->weight;
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
static void give_back(struct world *w, size_t i, struct world_task *t,
		      enum err e)
{
	send(w, i, t, (struct world_event){.kind = EV_END, .err = e});
	world_task_free(w, t);
}

static void step(struct world *w, size_t i)
{
	static const enum err errors[] = {ERR_BUSY, ERR_DEVICE, ERR_GONE,
					  ERR_CANCELED, ERR_TIMEOUT};
	struct world_worker *k = &w->w[i];
	struct world_task *t = k->tasks;

	k->stepping = false;
	const double us = (double)(w->now_us - t->begun_us);
	uint64_t pos = t->begun_pos + (uint64_t)(us * pace(k, t) / 1e6);

	if (pos > t->work.end)
		pos = t->work.end;
	k->hashes += (pos - t->pos) * t->weight;
	t->pos = pos;
	/* A changed rate counts from here. */
	t->begun_us = w->now_us;
	t->begun_pos = pos;
	if (pos > t->told && t->digests)
		stream(w, i, t);
	else if (pos > t->told)
		tell(w, i, t);
	if (w->fails > 0 && world_chance(w) < w->fails) {
		give_back(w, i, t, errors[world_random(w) % HN_COUNT(errors)]);
	} else if (pos == t->work.end) {
		if (t->digests)
			answer(w, i, t);
		else
			send(w, i, t,
			     (struct world_event){.kind = EV_END,
						  .below = t->work.end -
							   t->work.start});
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
	const size_t i = t->worker;

	DL_APPEND(w->w[i].tasks, t);
	if (cheat_declines(&w->w[i], t))
		give_back(w, i, t, ERR_BUSY);
	plan(w, i);
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
