/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_LAB_WORLD_H
#define HN_LAB_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/mesh/job.h"
#include "node/mesh/job_save.h"
#include "node/mesh/lease.h"

/*
 * A made-up world around one coordinator: up to 10,000 workers with rates,
 * ways and faults, on a virtual clock of microseconds, all from one seed, so
 * that the same seed is the same life to the last message. Pure: no I/O, no
 * clock; whoever made it owns it, and nothing in it is shared.
 *
 * The hash is made up as well: a function of nonce and header (its first eight
 * bytes), whose small values can be listed, so that a worker "scans" a second
 * of work by looking its shares up, as long as the share bits are WORLD_BITS
 * and more.
 */
#define WORLD_BITS 5
#define WORLD_LATE_US 15000000 /* longer than any patience */

void world_judge(void *arg, const uint8_t header[static HEADER_SIZE],
		 uint32_t nonce, uint8_t digest[static 32]);
uint64_t world_key(const uint8_t header[static HEADER_SIZE]);
/* What the target is compared with: the digest's highest word. */
uint32_t world_value(uint64_t key, uint32_t nonce);
/* The shares of [a, b) with so many bits, ascending; n of them; free it. */
uint32_t *world_shares(uint64_t key, uint64_t a, uint64_t b, unsigned bits,
		       size_t *n);
void world_target(unsigned bits, uint8_t target[static 32]);

/* part: the share of it that is false, struct world_worker.lie_part. */
enum world_lie {
	HONEST,
	LIE_SKIPS,     /* leaves out a part of each unit, in one stretch */
	LIE_SCATTERED, /* leaves out as much in many small holes */
	LIE_WITHHOLDS, /* scans all and keeps back some shares */
	LIE_WINNER,    /* keeps back what meets the target, nothing else */
	LIE_INVENTS,   /* adds a nonce that is no share */
	LIE_FLIPS,     /* each bit of its answer is wrong with chance part */
	LIE_REPEATS,   /* tells a share twice */
	LIE_REPLAYS,   /* tells the shares that somebody else told last */
	LIE_LAZY,      /* tells nothing at all, very fast */
	LIE_BEYOND,    /* says it did more than its unit */
	LIE_BOASTS,    /* announces ten times its rate */
	LIE_EASY,      /* does only units of less than part of a second */
	LIE_STALLS     /* works at part of its rate, and speaks just before
			* its time is up */
};

struct world_worker {
	struct node_id id;
	double rate; /* H/s */
	uint64_t lat_us, jitter_us;
	enum world_lie lie;
	double lie_part; /* how much is skipped or kept back */
	uint64_t announced, slots;
	bool here, mute; /* mute: works, but nothing gets through */
	/* What came of it. */
	uint64_t hashes;  /* that it spent */
	uint64_t claimed; /* that it said it did */
	bool bad, proof;
	char why[200];
	uint64_t bad_at_us;
	struct world_task *tasks; /* that reached it, in order */
	uint64_t last_sent_us;
	bool stepping;
	uint64_t step; /* number of the step event that is valid */
};

/* What the world knows of a job beside the coordinator. */
struct world_job {
	char id[JOB_ID_SIZE];
	bool ended;
	uint64_t ended_us;
	uint64_t weight;   /* hashes of one number */
	uint64_t done;	   /* hashes, when it ended */
	struct spans told; /* what reached the coordinator (durable worlds and
			    * those that say tell) */
	struct buf saved;  /* as it stands on the submitter's disk */
};

struct world {
	struct jobs *jobs;
	uint64_t now_us, seed;
	struct world_worker *w;
	size_t n, wcap;
	struct world_job *job;
	size_t njobs, jcap;
	struct world_task *by_lease; /* all that are not over */
	struct world_event *heap;
	size_t nheap, cap;
	uint64_t order, next_tick;
	double core_rate;    /* of our own re-scans; 0: they fail */
	double dup, reorder; /* chances of a word */
	double late;	 /* chance that a message takes up to WORLD_LATE_US */
	double loss;	 /* chance that one is lost and sent again */
	double fails;	 /* chance that a worker gives a unit back at a step */
	double announce; /* what newcomers say of their rate, as a factor */
	bool forgets;	 /* does not keep what was told: large worlds */
	uint64_t failed; /* jobs */
	bool eavesdrops; /* somebody wants to replay what others say */
	uint64_t ended, changed, assigned, rescans, rescanned, revoked;
	uint64_t words;	   /* that reached the coordinator */
	uint64_t messages; /* both ways, digests and inputs not counted */
	uint64_t calls;	   /* of the coordinator */
	/* For measuring: when it is set, what the calls took. */
	uint64_t (*clock_ns)(void);
	uint64_t spent_ns;
	uint64_t most_expected_ms;
	uint64_t ended_us;
	struct job_marks marks;
	bool durable; /* keeps the disk: at once what matters, the rest
		       * every second */
	double torn;  /* chance that it dies instead of such a save */
	bool save_due;
	uint64_t saved_us, saves, restarts;
	uint32_t *overheard; /* the last list of an honest worker */
	size_t noverheard;
	bool paranoid; /* checks the books after every event */
	struct buf
	    broken; /* what must never be, the first of it; empty: well */
};

void world_init(struct world *w, uint64_t seed);
void world_release(struct world *w);
uint64_t world_random(struct world *w);
double world_chance(struct world *w); /* [0, 1) */
/* A worker joins. Index into w->w, which may move. */
size_t world_join(struct world *w, double rate, uint64_t lat_us,
		  enum world_lie lie);
void world_rejoin(struct world *w, size_t i);
/* Dies; the coordinator hears of it after so long (UINT64_MAX: never). */
void world_crash(struct world *w, size_t i, uint64_t heard_after_us);
/* What the journal does: all jobs as they are now go to the disk. */
void world_save(struct world *w);
/* The submitter's node dies and begins again after so long, with what is on
 * its disk; the workers come back to it one by one. */
void world_restart(struct world *w, uint64_t down_us);
void world_submit(struct world *w, const struct search_spec *s,
		  char id[static JOB_ID_SIZE]);
/* Digests of so many inputs, a block of 1,024 to the number. */
void world_submit_batch(struct world *w, uint64_t blocks,
			const struct job_terms *terms,
			char id[static JOB_ID_SIZE]);
/* Hashes done in all jobs so far. */
uint64_t world_done(const struct world *w);
const struct world_job *world_find(const struct world *w, const char *id);
/* After a call into w->jobs from outside: what is due goes to the disk, unless
 * the node dies instead. */
void world_settle(struct world *w);
/* Runs until there are no open jobs, or until the time. */
void world_run(struct world *w, uint64_t until_us);
bool world_open(const struct world *w);
struct search_spec world_spec(uint64_t start, uint64_t end, unsigned bits,
			      bool all);
/* Do the books of all open jobs keep their invariants? Else w->broken says
 * what not, unless something stood there already. */
void world_audit(struct world *w);

#endif
