/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_SCHED_H
#define HN_MESH_SCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/mesh/terms.h"

/*
 * Who gets how much: pure functions of a job's terms and of numbers (decisions
 * D13, D15). Rates are hashes per second, 0 unknown; times are milliseconds.
 */
#define SCHED_UNIT_MS 1000 /* a unit in the middle of a job */
#define SCHED_FLOOR_MS 50  /* and at its end */
#define SCHED_SLOTS 2	   /* units a device holds */
#define SCHED_SLOTS_MAX 16
#define SCHED_FIRST (1u << 22) /* nonces for a worker of unknown rate */
#define SCHED_SHARES 1000      /* at least so many in a one-second unit */
#define SCHED_SHARES_MAX 5000  /* at most so many expected in any unit */
#define SCHED_BITS_MAX 32
#define SCHED_PROGRESS_MS 250 /* a device reports at least so often */

/* Below such a score a peer holds one unit at a time, and a smaller one. A
 * stranger has 0.5. */
#define SCHED_LOW_SCORE 0.4

/* k of D15 for a device that does so many hashes in a one-second unit. */
unsigned sched_bits(double unit_hashes, unsigned max_bits);

struct sched_job {
	uint64_t pending;  /* nonces that nobody holds */
	double mesh_rate;  /* of all that work on this capability */
	size_t workers;	   /* how many those are */
	unsigned max_bits; /* the most that the target allows */
	bool plain;	   /* no shares are asked for */
	uint64_t first;	   /* for an unknown rate; 0: SCHED_FIRST */
	uint64_t most;	   /* of one unit; 0: any */
	bool equal;	   /* units as large for one as for another */
};
struct sched_worker {
	double rate;
	bool measured; /* else the rate is only what it says of itself */
	uint64_t rtt_ms;
	double score; /* 0..1 */
};
struct sched_cut {
	uint64_t nonces;
	unsigned bits;
	uint64_t expected_ms; /* how long the device should take */
};
struct sched_cut sched_unit(const struct sched_job *j,
			    const struct sched_worker *w);

/* Of the jobs that a free slot could serve, the one with the fewest units in
 * hands; the first of equals. Entries of UINT64_MAX want nothing. Returns n
 * when none wants. */
size_t sched_pick(const uint64_t *held, size_t n);

/*
 * One who might be given a unit: all that the choice depends on. Texts are
 * lent.
 */
struct sched_candidate {
	double rate;
	bool measured;
	double score; /* 0..1; we ourselves: 1 */
	bool hardware;
	const char *region; /* NULL: not said */
	uint64_t price;
	/* As it is now. */
	bool here;	  /* offers what the job needs */
	bool barred;	  /* was caught lying */
	bool quarantined; /* failed too often: probes, but no work */
	uint64_t rest_ms; /* it failed lately */
	unsigned held, slots;
	unsigned load; /* percent that others use of it */
};

/* Why somebody gets nothing. In the order in which it is looked at: the first
 * that holds is the reason. */
enum sched_reason {
	SCHED_SUITS,
	SCHED_AWAY,
	SCHED_BARRED,
	SCHED_QUARANTINED,
	/* what the job asks for */
	SCHED_NO_HARDWARE,
	SCHED_REGION,
	SCHED_UNTRUSTED,
	SCHED_TOO_DEAR,
	SCHED_TOO_SLOW,
	/* not now */
	SCHED_RESTING,
	SCHED_FULL,
	SCHED_REASONS
};
struct sched_refusal {
	enum sched_reason reason;
	uint64_t have, want; /* H/s, permille, credits, ms, units: as the
			      * reason says */
	const char *have_text, *want_text; /* of regions; lent */
};
/* Does the job want it at all? One of unknown rate is not too slow: it must
 * work to become known. */
struct sched_refusal sched_refuses(const struct job_terms *t,
				   const struct sched_candidate *c);
/* As sched_refuses, and could it take a unit now? */
struct sched_refusal sched_refuses_now(const struct job_terms *t,
				       const struct sched_candidate *c);
/* "too-slow" */
const char *sched_reason_str(enum sched_reason r);
/* "does 2.00 MH/s, and at least 10.0 MH/s is asked for" */
void sched_refusal_say(const struct sched_refusal *r, struct buf *out);
/* No condition that sched_refuses looks at. */
bool sched_takes_all(const struct job_terms *t);

/*
 * Which of n that suit gets the next unit; n: nobody now. Those that cannot
 * take one now are passed over, except by round-robin, whose candidates stand
 * in the order of their turns: it waits for the first. By rate: the fastest of
 * those that hold least; least-busy: the one with most to spare; random: by
 * `draw`, 64 uniform bits.
 */
size_t sched_next(enum balance b, const struct sched_candidate *c, size_t n,
		  uint64_t draw);

/* A unit that others might do sooner. */
struct sched_slow {
	double rate;
	uint64_t rtt_ms;
	uint64_t heard_at; /* when its worker last said something */
	uint64_t ahead;	   /* nonces its worker holds before it */
	uint64_t left;	   /* nonces of its own */
	bool begun;
};
/* When it should be done, as far as one can tell. */
uint64_t sched_finish(const struct sched_slow *u, uint64_t now);
/* Is taking it back worth it, with an idle worker of this rate? Counts what
 * is lost: the message's way and the work that was not yet reported. */
bool sched_steal(const struct sched_slow *u, double idle_rate,
		 uint64_t idle_rtt_ms, uint64_t now);

#endif
