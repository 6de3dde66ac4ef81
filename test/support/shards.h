/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_SUPPORT_SHARDS_H
#define HN_SUPPORT_SHARDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"

/*
 * Many independent runs, each from a seed of its own, in a few processes. A
 * run that dies takes only its process along, which begins again behind it;
 * so one line names the seed of everything that failed.
 */
#define SHARD_SUMS 16
#define SHARD_MOST 15 /* of this one the highest, not the sum */

struct shards {
	uint64_t seed, n; /* run i has the seed seed + i */
	unsigned procs;
	/* False with a sentence when it failed; adds to its sums. */
	bool (*one)(void *arg, uint64_t seed, struct buf *why,
		    double sums[static SHARD_SUMS]);
	void *arg;
};
struct shards_result {
	uint64_t passed, failed;
	double sums[SHARD_SUMS]; /* added in the order of processes */
};
/* Prints a line `FAILED seed N: why` per failure. */
struct shards_result shards_run(const struct shards *s);

#endif
