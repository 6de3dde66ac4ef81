/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Ways to cheat. It scans honestly and lies about what it found: what the
 * submitter sees is what a lazier liar would show it, at the liar's own cost.
 */
#include "node/mesh/cheat.h"

#include "asic/sha256d.h"
#include "asic/work.h"
#include "node/base/mem.h"

#include <sodium.h>

#include <stdlib.h>
#include <string.h>

#define WINNER_BITS 6 /* so many more than a share's: it may have won */

enum way {
	CHEAT_NONE,
	CHEAT_SKIP,
	CHEAT_WITHHOLD,
	CHEAT_REPLAY,
	CHEAT_BOAST,
	CHEAT_EASY,
	CHEAT_STALL,
	CHEAT_FLIP,
	CHEAT_INVENT,
};

static const struct cheat_row {
	const char *name;
	enum way way;
	double usual, min, max;
} rows[] = {
    /* Reports no share of this part of the pieces of each unit. */
    {"skip", CHEAT_SKIP, 0.25, 0.0001, 1},
    /* Keeps each share that may have won for itself. */
    {"withhold", CHEAT_WITHHOLD, 1, 1, 1},
    /* Its first unit's shares are what it found in every other, too. */
    {"replay", CHEAT_REPLAY, 1, 1, 1},
    /* Claims so many times its rate. */
    {"boast", CHEAT_BOAST, 10, 1.01, 1000000},
    /* Refuses units longer than this part of the longest one so far. */
    {"easy", CHEAT_EASY, 0.5, 0.01, 1},
    /* Answers after so many times what a unit should take. */
    {"stall", CHEAT_STALL, 3, 1, 1000},
    /* Turns one bit of this part of its shares and digests. */
    {"flip", CHEAT_FLIP, 0.001, 0.000001, 1},
    /* Makes up this part of its digests; and a share a message. */
    {"invent", CHEAT_INVENT, 0.01, 0.000001, 1},
};

static enum way way;
static double part;
static struct buf made; /* what the last hook returned */
static uint64_t longest;

/* The unit whose shares are replayed. */
static struct {
	uint64_t start, end;
	struct buf shares;
	bool whole;
} first;

enum err cheat_use(const char *text, struct buf *why)
{
	const size_t n = strcspn(text, "=");
	char *end;

	for (size_t i = 0; i < HN_COUNT(rows); i++) {
		const struct cheat_row *r = &rows[i];

		if (strlen(r->name) != n || memcmp(r->name, text, n) != 0)
			continue;
		double v = text[n] ? strtod(text + n + 1, &end) : r->usual;
		if (text[n] && (end == text + n + 1 || *end || !(v >= r->min) ||
				!(v <= r->max)))
			break;
		way = r->way;
		part = v;
		return OK;
	}
	buf_add_str(why, "takes one of");
	for (size_t i = 0; i < HN_COUNT(rows); i++)
		buf_printf(why, " %s=%g", rows[i].name, rows[i].usual);
	return ERR_INPUT;
}

static bool happens(double chance)
{
	return randombytes_uniform(1u << 30) < chance * (1u << 30);
}

static void put(uint32_t nonce)
{
	buf_add(&made, &nonce, sizeof(nonce));
}

/* Pieces of about four shares, the same ones however often it is asked. */
static bool is_skipped(const struct scan_work *w, uint32_t nonce)
{
	uint64_t piece = (nonce - w->start) >> (w->share_bits + 2);

	piece = (piece + w->start) * 0x9e3779b97f4a7c15;
	return (double)(piece >> 40) < part * (1 << 24);
}

static bool may_win(const struct scan_work *w, uint32_t nonce)
{
	uint8_t hash[32];

	sha256d_header(w->header, nonce, hash);
	return sha256d_zero_bits(hash) >= w->share_bits + WINNER_BITS;
}

/* The first unit is told as it is, and remembered. */
static void replay(const struct scan_work *w, uint64_t from, uint64_t below,
		   const uint32_t *shares, size_t n)
{
	const uint32_t *old = (const uint32_t *)(const void *)first.shares.p;

	if (!first.end) {
		first.start = w->start;
		first.end = w->end;
	}
	if (w->start == first.start && w->end == first.end && !first.whole) {
		buf_add(&first.shares, shares, n * sizeof(*shares));
		buf_add(&made, shares, n * sizeof(*shares));
		first.whole = below == w->end;
		return;
	}
	for (size_t i = 0; i < first.shares.n / sizeof(*old); i++) {
		const uint64_t at = old[i] - first.start + w->start;
		if (at >= from && at < below)
			put((uint32_t)at);
	}
}

static void edit(const struct scan_work *w, uint32_t nonce)
{
	if ((way == CHEAT_SKIP && is_skipped(w, nonce)) ||
	    (way == CHEAT_WITHHOLD && may_win(w, nonce)))
		return;
	if (way == CHEAT_FLIP && happens(part))
		nonce ^= 1; /* it stays in its place */
	put(nonce);
}

const uint32_t *cheat_shares(const struct scan_work *w, uint64_t from,
			     uint64_t below, const uint32_t *shares, size_t *n)
{
	const bool invents = way == CHEAT_INVENT && below > from &&
			     (!*n || shares[*n - 1] + 1ull < below);

	buf_clear(&made);
	if (way == CHEAT_REPLAY)
		replay(w, from, below, shares, *n);
	else
		for (size_t i = 0; i < *n; i++)
			edit(w, shares[i]);
	if (invents)
		put((uint32_t)(below - 1));
	*n = made.n / sizeof(uint32_t);
	return (const uint32_t *)(const void *)made.p;
}

bool cheat_refuses(const struct scan_work *w)
{
	const uint64_t n = w->end - w->start;

	longest = n > longest ? n : longest;
	return way == CHEAT_EASY && (double)n > part * (double)longest;
}

uint64_t cheat_rate(uint64_t rate)
{
	return way == CHEAT_BOAST ? (uint64_t)((double)rate * part) : rate;
}

const uint8_t (*cheat_digests(const uint8_t (*digests)[32], size_t n))[32]
{
	buf_clear(&made);
	buf_add(&made, digests, n * 32);
	for (size_t i = 0; i < n; i++) {
		uint8_t *d = made.p + i * 32;

		if (way == CHEAT_INVENT && happens(part))
			randombytes_buf(d, 32);
		else if (way == CHEAT_FLIP && happens(part))
			d[31] ^= 1;
	}
	return (const uint8_t(*)[32])(const void *)made.p;
}

void cheat_hold_init(struct cheat_hold *h, struct loop *l, uint64_t expected_ms,
		     loop_fn fn, void *arg)
{
	*h = (struct cheat_hold){.over = way != CHEAT_STALL};
	if (h->over)
		return;
	h->timer = loop_timer_new(l, fn, arg);
	loop_timer_set(h->timer, (uint64_t)((double)expected_ms * part) + 1);
}

bool cheat_holds(const struct cheat_hold *h)
{
	return !h->over && loop_timer_armed(h->timer);
}

void cheat_hold_release(struct cheat_hold *h)
{
	loop_timer_free(h->timer);
	h->timer = NULL;
	h->over = true;
}
