/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_TEST_FAKE_HUB_H
#define HN_TEST_FAKE_HUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/session.h"

/*
 * The part of rpc/session.h that rpc uses, in memory: two ends on one loop,
 * records delivered in order by posts, a few per round. No handshake, no
 * cipher, no clock.
 */

/* A session between two hubs, dialled by a; both `up` come as posts. */
void fake_hub_join(struct hub *a, struct hub *b);

/* The only session of the hub, or the latest; NULL. */
struct session *fake_hub_session(struct hub *h);
size_t fake_hub_sessions(const struct hub *h);

/* What s sends is kept back (its peer does not read) and goes on. */
void fake_session_stall(struct session *s, bool stalled);
/* Lost: both ends go down without a goodbye. */
void fake_session_cut(struct session *s);
void fake_session_retire(struct session *s);
/* s receives this as a record, now; OK or what rpc says. Closes as a real
 * one does. */
enum err fake_session_inject(struct session *s, const void *p, size_t n);

struct fake_stats {
	uint64_t records, bytes; /* sent */
	size_t most_queued;
	int outstanding;
	size_t biggest_record;
	uint64_t rested_ms; /* asked for; reading goes on all the same */
};
struct fake_stats fake_session_stats(const struct session *s);

/* Why the last session of this hub went down; cleared by reading. */
enum err fake_hub_down(struct hub *h);

#endif
