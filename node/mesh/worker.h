/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_WORKER_H
#define HN_MESH_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

#include "node/base/heap.h"
#include "node/base/identity.h"
#include "node/mesh/check.h"
#include "node/mesh/sched.h"

/*
 * What the coordinator knows of those who offer a capability: how fast they
 * really are, whether they answer, whether they may be given work. It
 * outlives a connection, so that a liar does not come back as a stranger.
 * Pure; owned by struct jobs.
 */
#define WORKER_MAX 16384 /* remembered; absent ones go first */

struct trust;
struct unit;
struct pool;

struct worker {
	struct pool *pool;
	struct node_id id;
	struct node_id owner; /* zero: the node itself */
	bool self;
	bool here; /* offers the capability now */
	bool bad;  /* gets nothing any more */
	uint64_t rtt_ms;
	unsigned slots;
	/* As it says. */
	uint64_t price;
	unsigned load; /* percent that others use of it */
	char region[TERMS_REGION_MAX + 1];
	bool hardware;

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
	uint64_t stolen_at;	     /* when any unit was */
	uint64_t turn_at; /* the last word about its oldest unit, or since
			   * when that is the oldest */

	struct trust *trust; /* NULL: ourselves; owned by struct jobs */

	struct unit *units; /* in its hands, oldest first */
	unsigned held;
	unsigned refs; /* open jobs that point here */
	UT_hash_handle hh;

	/* Where its pool has it; see worker_file. */
	struct heap_node idle, due;
	bool is_spare, is_here, is_usable;
	uint64_t counted; /* of pool->rate */
	struct worker *sprev, *snext;
};

/*
 * All workers for one kind of jobs. Zero-initialised is empty. Who can take a
 * unit and who has been silent for too long is found without a look at the
 * others: a mesh has thousands, and an event concerns one.
 */
struct pool {
	struct worker *by_id;
	struct heap idle;     /* could take work and have none; fastest first */
	struct worker *spare; /* could take more; longest so first */
	struct heap due;      /* by when something is to be done about them */
	uint64_t rate;	      /* of the usable ones */
	size_t usable;	      /* here, good, and not failing */
	size_t here;
};

void pool_release(struct pool *p);
struct worker *pool_find(struct pool *p, const struct node_id *id);
/* Finds it or makes it; may forget an absent one nobody points to. NULL when
 * all WORKER_MAX are needed. */
struct worker *pool_add(struct pool *p, const struct node_id *id);
/* The next worker whose time has come: a silence that is too long, or the end
 * of a rest. NULL: none. It must be filed again. */
struct worker *pool_due(struct pool *p, uint64_t now);
static inline struct worker *pool_idle(const struct pool *p, size_t i)
{
	return HN_HEAP_OF(p->idle.v[i], struct worker, idle);
}

/* Something about it has changed: its place in the pool is found afresh. The
 * functions below do that themselves. */
void worker_file(struct worker *w, uint64_t now);
/* What a choice among workers depends on; lent from w. */
struct sched_candidate worker_candidate(const struct worker *w, uint64_t now);
/* What to expect of it: the mean forgets too slowly that somebody sat down
 * there. */
static inline double worker_speed(const struct worker *w)
{
	return w->measured && w->recent < w->rate ? w->recent : w->rate;
}
/* 0..1; we ourselves: 1. */
double worker_score(const struct worker *w);
/* May it be given a unit now? */
bool worker_free(const struct worker *w, uint64_t now);
/* Neither one node nor one owner's. */
bool worker_independent(const struct worker *a, const struct worker *b);
/* It announces this rate; ignored once measured. */
void worker_announce(struct worker *w, uint64_t rate, uint64_t now);
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
/* When that will be, or be so for its oldest unit alone; UINT64_MAX: it holds
 * nothing. */
uint64_t worker_expiry(const struct worker *w);

#endif
