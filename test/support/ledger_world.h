/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_TEST_SUPPORT_LEDGER_WORLD_H
#define HN_TEST_SUPPORT_LEDGER_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/audit.h"
#include "node/mesh/ledger.h"

/*
 * Two nodes with their real books (the ledger and its SQL, on databases in
 * memory) and all else made up from a seed: the clock, a network that loses,
 * doubles and reorders, disks that are slow, and power that fails at any
 * moment. What a disk has run is there after a crash, what it has not is not;
 * the word of what it ran may be lost.
 */
struct world;

struct world_options {
	uint64_t seed;
	unsigned loss, twice; /* messages, permille */
};
struct world *world_new(const struct world_options *o);
void world_free(struct world *w);

uint64_t world_random(struct world *w, uint64_t below);
/* Until nothing happens any more, or so many ms have passed. */
void world_run(struct world *w, uint64_t ms);

/* Node `worker` signs [0, hashes) as its answer to a lease of the other, who
 * may get it; the lease's number. */
uint64_t world_work(struct world *w, unsigned worker, const char *job,
		    uint64_t hashes);
void world_job_ended(struct world *w, unsigned node, const char *job);
void world_drop(struct world *w, unsigned node); /* the other cheated */

/* Power fails; the node is back after so many ms. */
void world_crash(struct world *w, unsigned node, uint64_t ms);
/* A copy of its disk, and the disk put back to it (while it is down). */
void world_snapshot(struct world *w, unsigned node);
void world_roll_back(struct world *w, unsigned node);

/* What the node says of its receipts passes here. */
typedef void (*world_liar_fn)(void *arg, struct receipt_put *q,
			      const struct identity *me);
void world_liar(struct world *w, unsigned node, world_liar_fn fn, void *arg);

struct ledger *world_ledger(struct world *w, unsigned node);
const struct node_id *world_id(struct world *w, unsigned node);
/* The one number that a statement gives. */
int64_t world_count(struct world *w, unsigned node, const char *sql);
/* The node's export, into an audit. */
void world_export(struct world *w, unsigned node, struct audit *a);

#endif
