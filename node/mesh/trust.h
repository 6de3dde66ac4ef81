/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_TRUST_H
#define HN_MESH_TRUST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

#include "node/base/identity.h"
#include "node/mesh/check.h"
#include "node/mesh/score.h"

/*
 * The coordinator's memory of each peer's conduct, one for all kinds of work,
 * and the probes that test it (VER-02, HLT-01). Pure; owned by struct jobs,
 * whose other files call it; time is theirs (monotonic), the wall clock is
 * derived from it.
 *
 * A probe is a small range whose complete answer we have found ourselves. It
 * goes out as a lease like any other, under a job id and with a header that
 * nobody has seen before, and what it brings is compared share by share: one
 * that is missing or false is proof. Peers on their way out of quarantine get
 * them when they are due, idle ones now and then. At most CHALLENGES_MAX are
 * out and CHALLENGES_SCANNED are scanned by us at a time; each costs us a
 * tenth of a second of one core at most.
 */
#define TRUST_MAX 32768 /* remembered; blank and absent ones go first */
#define CHALLENGES_MAX 64
#define CHALLENGES_SCANNED 1

struct challenge;
struct jobs;
struct worker;

struct trust {
	struct node_id id;
	struct score score;
	struct evidence_total total; /* of an earlier start, or of a worker
				      * that was forgotten; else w->total is
				      * newer */
	bool news;		     /* since jobs_scored_next gave it */
	uint64_t asked_at; /* the last probe; or when it was first seen */
	uint64_t ask_not_before;
	struct challenge *challenge; /* the one that is out */
	struct trust *prev, *next;   /* jobs->scored, while news */
	UT_hash_handle hh;
};

struct trusts {
	struct trust *by_id;
	struct trust *scored; /* with news, oldest first */
	struct score_rules rules;
	uint64_t wall_ms, wall_at; /* the wall clock read wall_ms then */
	uint64_t interval_ms;	   /* of probes of idle peers; 0: none */
	uint64_t timeout_ms;
	uint64_t due; /* when to look for somebody to probe */
	uint64_t looked_at;
	struct challenge *challenges;
	size_t nchallenges, nscanned;
};

void trusts_init(struct trusts *t);
void trusts_release(struct trusts *t);
/* Finds it or makes it; NULL when TRUST_MAX are all needed. */
struct trust *trust_of(struct jobs *j, const struct node_id *id);
/* Its worker offers something: knows w->trust, and may be bad from the start.
 */
void trust_offered(struct jobs *j, struct worker *w, uint64_t now);
bool trust_may_work(const struct trust *t); /* NULL: ourselves, yes */
/* The score as of its last event or offer; NULL: ourselves, 1000. */
uint64_t trust_permille(const struct trust *t);
/* w, not ourselves, did that. */
void trust_event(struct jobs *j, struct worker *w, enum score_event e,
		 uint64_t now);

/* Asks those that are due; returns when to look again. */
uint64_t challenges_tick(struct jobs *j, uint64_t now);
/* As jobs_progress and so on; false: that id is none of a challenge's. */
bool challenge_progress(struct jobs *j, uint64_t lease_id, uint64_t below,
			const uint32_t *shares, size_t n, uint64_t now);
bool challenge_end(struct jobs *j, uint64_t lease_id, enum err e, uint64_t now);
bool challenge_scanned(struct jobs *j, uint64_t check_id, enum err e,
		       const uint32_t *shares, size_t n, uint64_t now);
/* At the end of all; calls no op. */
void challenges_release(struct trusts *t);
/* It is gone or dropped: what it was asked is taken back. */
void challenge_forget(struct jobs *j, struct trust *t);

#endif
