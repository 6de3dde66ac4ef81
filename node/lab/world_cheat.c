/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How workers cheat. */
#include "node/lab/world_impl.h"

#include "node/base/mem.h"

#include <math.h>
#include <string.h>

#define STEP_US 250000
#define STALL_US 4900000 /* the least patience is 5 s */

double cheat_speed(const struct world_worker *k)
{
	switch (k->lie) {
	case LIE_SKIPS:
	case LIE_SCATTERED:
		return k->rate / (1 - k->lie_part);
	case LIE_LAZY:
		return k->rate * 1000;
	case LIE_STALLS:
		return k->rate * k->lie_part;
	case HONEST:
	case LIE_WITHHOLDS:
	case LIE_WINNER:
	case LIE_INVENTS:
	case LIE_FLIPS:
	case LIE_REPEATS:
	case LIE_REPLAYS:
	case LIE_BEYOND:
	case LIE_BOASTS:
	case LIE_EASY:
		break;
	}
	return k->rate;
}

uint64_t cheat_step_us(const struct world_worker *k)
{
	return k->lie == LIE_STALLS ? STALL_US : STEP_US;
}

bool cheat_declines(const struct world_worker *k, const struct world_task *t)
{
	const double hashes =
	    (double)((t->work.end - t->work.start) * t->weight);

	return k->lie == LIE_EASY && hashes > k->rate * k->lie_part;
}

/* Holes of a sixteenth of a piece of D15, drawn by where they are. */
static bool in_hole(const struct world_worker *k, uint32_t nonce, unsigned bits)
{
	uint64_t z =
	    (nonce >> (bits > 6 ? bits - 6 : 0)) * UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z ^= z >> 27;
	return (double)(z >> 11) * 0x1p-53 < k->lie_part;
}

/* Does this worker leave the share out? */
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
		return in_hole(k, nonce, (unsigned)work->share_bits);
	case LIE_WITHHOLDS:
		return world_chance(w) < k->lie_part;
	case LIE_WINNER:
		return world_value(world_key(work->header), nonce) <= t->hit;
	case LIE_LAZY:
		return true;
	case HONEST:
	case LIE_INVENTS:
	case LIE_FLIPS:
	case LIE_REPEATS:
	case LIE_REPLAYS:
	case LIE_BEYOND:
	case LIE_BOASTS:
	case LIE_EASY:
	case LIE_STALLS:
		break;
	}
	return false;
}

static void replace(uint32_t **list, size_t *n, const uint32_t *by, size_t m)
{
	*list = xrealloc(*list, (m + 2) * sizeof(**list));
	if (m)
		memcpy(*list, by, m * sizeof(**list));
	*n = m;
}

static void flip(struct world *w, double part, struct world_event *e)
{
	/* That at least one of the 32 is wrong. */
	const double some = -expm1(32 * log1p(-part));

	for (size_t i = 0; i < e->n; i++)
		if (world_chance(w) < some)
			e->shares[i] ^= 1u << (world_random(w) % 32);
}

static void omit(struct world *w, const struct world_task *t,
		 struct world_event *e)
{
	size_t n = 0;

	for (size_t i = 0; i < e->n; i++)
		if (!leaves_out(w, &w->w[t->worker], t, e->shares[i]))
			e->shares[n++] = e->shares[i];
	e->n = n;
}

void cheat_word(struct world *w, const struct world_task *t,
		struct world_event *e)
{
	const struct world_worker *k = &w->w[t->worker];

	switch (k->lie) {
	case HONEST:
		if (w->eavesdrops)
			replace(&w->overheard, &w->noverheard, e->shares, e->n);
		break;
	case LIE_SKIPS:
	case LIE_SCATTERED:
	case LIE_WITHHOLDS:
	case LIE_WINNER:
	case LIE_LAZY:
		omit(w, t, e);
		break;
	case LIE_INVENTS:
		if (!e->n || e->shares[e->n - 1] + 1 < e->below)
			e->shares[e->n++] = (uint32_t)(e->below - 1);
		break;
	case LIE_FLIPS:
		flip(w, k->lie_part, e);
		break;
	case LIE_REPEATS:
		if (e->n) {
			e->shares[e->n] = e->shares[e->n - 1];
			e->n++;
		}
		break;
	case LIE_REPLAYS:
		replace(&e->shares, &e->n, w->overheard, w->noverheard);
		break;
	case LIE_BEYOND:
		e->below = t->work.end + 1;
		break;
	case LIE_BOASTS:
	case LIE_EASY:
	case LIE_STALLS:
		break;
	}
}

uint64_t world_cheat_digests(struct world *w, const struct world_worker *k,
			     uint64_t n)
{
	double part = k->lie_part;

	switch (k->lie) {
	case LIE_SKIPS:
	case LIE_SCATTERED:
	case LIE_WITHHOLDS:
	case LIE_INVENTS:
		break;
	case LIE_FLIPS:
		part = -expm1(256 * log1p(-part));
		break;
	case LIE_LAZY:
	case LIE_REPLAYS:
		return n;
	case HONEST:
	case LIE_WINNER:
	case LIE_REPEATS:
	case LIE_BEYOND:
	case LIE_BOASTS:
	case LIE_EASY:
	case LIE_STALLS:
		return 0;
	}
	/* The part, and one more as often as the rest demands. */
	const double want = (double)n * part;

	return (uint64_t)want + (world_chance(w) < want - floor(want));
}
