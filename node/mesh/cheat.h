/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_CHEAT_H
#define HN_MESH_CHEAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/loop.h"

/*
 * A worker that cheats, for labs and tests: the hooks of the serve halves. They
 * are nothing in hnode; hnode-cheat, built with HN_CHEATS and never installed,
 * has them from cheat.c. What each way to cheat does stands in its table there.
 * What a hook returns is good until its next call. Loop thread only.
 */
struct scan_work;

#ifdef HN_CHEATS

/* "skip=0.25", "stall"; ERR_INPUT with a sentence as opt_set gives it. */
enum err cheat_use(const char *text, struct buf *why) HN_CHECK;

/* What is told of these new shares, found in [from, below). */
const uint32_t *cheat_shares(const struct scan_work *w, uint64_t from,
			     uint64_t below, const uint32_t *shares, size_t *n);
/* Is this unit too hard for it? */
bool cheat_refuses(const struct scan_work *w);
uint64_t cheat_rate(uint64_t rate);
const uint8_t (*cheat_digests(const uint8_t (*digests)[32], size_t n))[32];

/* Holds an answer back: true until fn(arg) is called, once. */
struct cheat_hold {
	struct loop_timer *timer;
	bool over;
};
void cheat_hold_init(struct cheat_hold *h, struct loop *l, uint64_t expected_ms,
		     loop_fn fn, void *arg);
bool cheat_holds(const struct cheat_hold *h);
void cheat_hold_release(struct cheat_hold *h);

#else

struct cheat_hold {
};

static inline const uint32_t *cheat_shares(const struct scan_work *w,
					   uint64_t from, uint64_t below,
					   const uint32_t *shares, size_t *n)
{
	(void)w, (void)from, (void)below, (void)n;
	return shares;
}

static inline bool cheat_refuses(const struct scan_work *w)
{
	(void)w;
	return false;
}

static inline uint64_t cheat_rate(uint64_t rate)
{
	return rate;
}

static inline const uint8_t (*cheat_digests(const uint8_t (*digests)[32],
					    size_t n))[32]
{
	(void)n;
	return digests;
}

static inline void cheat_hold_init(struct cheat_hold *h, struct loop *l,
				   uint64_t expected_ms, loop_fn fn, void *arg)
{
	(void)h, (void)l, (void)expected_ms, (void)fn, (void)arg;
}

static inline bool cheat_holds(const struct cheat_hold *h)
{
	(void)h;
	return false;
}

static inline void cheat_hold_release(struct cheat_hold *h)
{
	(void)h;
}

#endif

#endif
