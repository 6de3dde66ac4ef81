/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_WORKER_H
#define HN_MESH_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

#include "node/base/identity.h"
#include "node/mesh/check.h"

/*
 * What the coordinator knows of those who offer a capability: how fast they
 * really are, whether they answer, whether they may be given work. It
 * outlives a connection, so that a liar does not come back as a stranger.
 * Pure; owned by struct jobs.
 */
#define WORKER_MAX 16384 /* remembered; absent ones go first */

struct trust;
struct unit;

struct worker {
	struct node_id id;
	struct node_id owner; /* zero: the node itself */
	bool self;
	bool here; /* offers the capability now */
	bool bad;  /* gets nothing any more */
	uint64_t rtt_ms;
	unsigned slots;

	/* Its rate: a mean over the first seconds, then a moving one. */
	double rate;	/* H/s, 0 unknown */
	double seen_ms; /* how much work the rate stands on */
	double recent;	/* of the last window alone */
	bool measured;
	uint64_t window_from, window_hashes; /* since it got busy */
	double interval_ms;		     /* between its words */
	uint64_t heard_at; /* its last word, or its first unit after idling */

	unsigned streak;    /* failures since its last progress */
	uint64_t resume_at; /* no work before */
	uint64_t robbed_at; /* when a begun unit was last taken from it */
	struct evidence_total total; /* over all jobs; saved elsewhere */

	struct trust *trust; /* NULL: ourselves; owned by struct jobs */

	struct unit *units; /* in its hands, oldest first */
	unsigned held;
	unsigned refs; /* open jobs that point here */
	UT_hash_handle hh;
};

/* All workers of one capability. Zero-initialised is empty. */
struct pool {
	struct worker *by_id;
	double rate;   /* of the usable ones */
	size_t usable; /* here, good, and not failing */
	size_t here;
};

void pool_release(struct pool *p);
struct worker *pool_find(struct pool *p, const struct node_id *id);
/* Finds it or makes it; may forget an absent one nobody points to. NULL when
 * all WORKER_MAX are needed. */
struct worker *pool_add(struct pool *p, const struct node_id *id);
void pool_count(struct pool *p); /* rate, usable and here, afresh */

/* May it be given a unit now? */
bool worker_free(const struct worker *w, uint64_t now);
/* Neither one node nor one owner's. */
bool worker_independent(const struct worker *a, const struct worker *b);
/* It announces this rate; ignored once measured. */
void worker_announce(struct worker *w, uint64_t rate);
/* Its first unit after having none. */
void worker_busy(struct worker *w, uint64_t now);
/* It has done so many more hashes. */
void worker_progress(struct worker *w, uint64_t hashes, uint64_t now);
/* It holds nothing any more. */
void worker_idle(struct worker *w, uint64_t now);
/* A unit of it failed: it rests, twice as long each time in a row. */
#define WORKER_REST_MS 500	   /* it refused or gave back: 8 s at most */
#define WORKER_SILENT_REST_MS 4000 /* it said nothing: 64 s at most */
void worker_failed(struct worker *w, uint64_t rest_ms, uint64_t now);
/* Silence after which its oldest unit is taken back. */
uint64_t worker_patience_ms(const struct worker *w);

#endif
