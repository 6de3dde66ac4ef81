/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_SITE_H
#define HN_MESH_SITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/err.h"
#include "node/base/identity.h"

/*
 * A site: one node, the head, speaks for several. It takes a lease from
 * outside as one worker and has it done by its members: its own device and the
 * nodes behind it. This is the splitter. It cuts a lease into parts of some
 * SITE_PART_MS at each member's measured rate, hands them out in ascending
 * order, and passes progress on in that order, so that what is told outside is
 * always a prefix. What a member leaves undone goes to others.
 *
 * The head signs for the whole, so a part of another node is passed on only
 * when its shares look like work (check.h, over all its parts) and a piece of
 * it, at a place drawn at random, was done again here and had exactly the
 * shares that were told. One that fails is a member no more, and what of it
 * was not passed on is done again.
 *
 * Pure: time is an argument, the outside is struct site_ops. Its callbacks
 * come from inside the calls below and may not call back.
 */
struct site;
struct site_lease;

#define SITE_PART_MS 250
#define SITE_SLOTS_MAX 8    /* parts of one member at once */
#define SITE_CHECK_PART 100 /* a hundredth of a part is done again */
#define SITE_REST_MS 500    /* after a failure, doubling up to 16 times */

struct site_part {
	uint64_t id; /* never used again */
	struct node_id member;
	bool own;
	void *lease_arg;
	uint64_t start, end, expected_ms;
};

struct site_ops {
	uint64_t (*random)(void *arg);
	/* Its words come by site_progress and site_end. false: it cannot. */
	bool (*assign)(void *arg, const struct site_part *p);
	void (*revoke)(void *arg, uint64_t part); /* no more words of it */
	/* Do [start, end) again, here; site_checked says what it had. false: it
	 * cannot be done. */
	bool (*check)(void *arg, uint64_t part, void *lease_arg, uint64_t start,
		      uint64_t end);
	void (*check_cancel)(void *arg, uint64_t part);
	/* A member that told what is not so. */
	void (*lied)(void *arg, const struct node_id *member, const char *why);

	/* Of a lease: all below `below` is done, with these further shares. */
	void (*progress)(void *lease_arg, uint64_t below,
			 const uint32_t *shares, size_t n);
	/* All of it is done and told; the lease is gone. */
	void (*done)(void *lease_arg, uint64_t hashes);
};

struct site *site_new(const struct site_ops *ops, void *arg);
void site_free(struct site *s); /* tells nobody */

/* New, back, or with other figures. rate 0: not known. own: our own device,
 * whose word is taken as it is. One that lied stays out. */
void site_member(struct site *s, const struct node_id *id, bool own,
		 uint64_t rate, unsigned slots, uint64_t now);
void site_member_gone(struct site *s, const struct node_id *id, uint64_t now);

/* The range is not empty; a share has so many leading zero bits. Clients take
 * turns, each with its oldest lease. Work begins at once. */
struct site_lease *site_lease_new(struct site *s, uint64_t start, uint64_t end,
				  unsigned bits, uint64_t client,
				  void *lease_arg, uint64_t now);
/* Nothing of it is told any more. */
void site_lease_cancel(struct site *s, struct site_lease *l, uint64_t now);

/* A member's words; those about a part that is not in its hands are ignored.
 * Shares are ascending and were hashed: each is one. */
void site_progress(struct site *s, uint64_t part, uint64_t below,
		   const uint32_t *shares, size_t n, uint64_t now);
/* OK: all of it was told. Else the rest goes to others, and it rests. */
void site_end(struct site *s, uint64_t part, enum err e, uint64_t now);
/* The caller has proof that a member's words are false. */
void site_lied(struct site *s, uint64_t part, const char *why, uint64_t now);
/* e: the check could not be done; it is tried again. */
void site_checked(struct site *s, uint64_t part, enum err e,
		  const uint32_t *shares, size_t n, uint64_t now);

/* Takes back what is overdue, hands out. When to call again (ms). */
uint64_t site_tick(struct site *s, uint64_t now);

struct site_view {
	struct node_id id;
	bool own, here, bad;
	uint64_t rate;		/* H/s, measured at work, else as announced */
	uint64_t parts, nonces; /* done */
	unsigned held;
};
size_t site_views(const struct site *s, struct site_view *out, size_t max);

#endif
