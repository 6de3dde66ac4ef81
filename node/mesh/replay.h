/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_REPLAY_H
#define HN_MESH_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/identity.h"

/*
 * Requests that were served before: a lease id is used once, so the second
 * request for one is a replay. What is older than the window is forgotten,
 * and the oldest ones when there are more than the cache holds; both are
 * bounded whatever peers do. Pure: time is an argument; one thread.
 */
#define REPLAY_WINDOW_MS (UINT64_C(3600) * 1000)
#define REPLAY_CACHE 65536

struct replay;
struct replay *replay_new(uint64_t window_ms, size_t cache);
void replay_free(struct replay *r); /* NULL is fine */

/* Remembers a request; false: it was seen before. */
bool replay_fresh(struct replay *r, const struct node_id *submitter,
		  const char *job, uint64_t lease, uint64_t now_ms);

struct replay_counters {
	uint64_t window_ms, cache; /* the bounds */
	uint64_t held;		   /* now */
	uint64_t refused;
	uint64_t early; /* forgotten before their time: the cache was full */
};
const struct replay_counters *replay_counters(const struct replay *r);

#endif
