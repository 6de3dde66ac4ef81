/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_LAB_WORLD_IMPL_H
#define HN_LAB_WORLD_IMPL_H

#include "node/lab/world.h"

#include <uthash.h>

/*
 * The inside of the world, shared by world.c (events, the submitter),
 * world_worker.c (what workers do), world_cheat.c (how they cheat),
 * world_hash.c and world_audit.c.
 */
enum world_kind {
	EV_LEASE,
	EV_REVOKE,
	EV_STEP,
	EV_WORD,
	EV_HEARD,  /* a part of the digests */
	EV_ANSWER, /* all of them, and their root */
	EV_LOOKED, /* those at drawn places were computed again */
	EV_FINISHED,
	EV_END,
	EV_GONE,
	EV_BACK,
	EV_RESCAN
};

struct world_event {
	uint64_t at, order;
	uint64_t id, below, from;
	uint64_t bad; /* of n digests */
	uint32_t *shares;
	size_t n;
	uint32_t worker;
	uint32_t job; /* of a word: index into world.job */
	enum world_kind kind;
	enum err err;
};

/* A lease on its way to its worker or in its hands. */
struct world_task {
	uint64_t id;
	struct scan_work work;
	size_t worker;
	uint32_t job;
	uint64_t weight; /* hashes of one number */
	bool digests;	 /* a batch: no shares */
	uint32_t hit;	 /* the highest value of a winner */
	bool arrived;
	bool broken; /* a word of it was lost, so none can follow */
	uint64_t pos, told;
	uint64_t begun_us; /* 0: not yet */
	uint64_t begun_pos;
	uint64_t sent_us; /* when its last word arrives: order is kept */
	struct world_task *prev, *next;
	UT_hash_handle hh;
};

void world_push(struct world *w, struct world_event e);
/* How long a message takes to or from a worker, this time. */
uint64_t world_way(struct world *w, const struct world_worker *k);
uint32_t world_job_index(struct world *w, const char *id);
/* Remembers what must never be; the first counts. */
void world_break(struct world *w, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* world_cheat.c */
double cheat_speed(const struct world_worker *k); /* nonces told per second */
/* How long until its next word at most. */
uint64_t cheat_step_us(const struct world_worker *k);
/* Will it not do this one? */
bool cheat_declines(const struct world_worker *k, const struct world_task *t);
/* A true word becomes what it says instead; shares has room for one more. */
void cheat_word(struct world *w, const struct world_task *t,
		struct world_event *e);

/* How many digests of so many it makes up. */
uint64_t world_cheat_digests(struct world *w, const struct world_worker *k,
			     uint64_t n);

/* world_worker.c */
void worker_on_lease(struct world *w, struct world_task *t);
void worker_on_revoke(struct world *w, uint64_t lease_id);
void worker_on_step(struct world *w, size_t i, uint64_t step);
/* Forgets all it does. */
void worker_clear(struct world *w, size_t i);
void world_task_free(struct world *w, struct world_task *t);

#endif
