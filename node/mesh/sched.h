/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_SCHED_H
#define HN_MESH_SCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Who gets how much: pure functions of numbers (decisions D13, D15). Rates
 * are hashes per second, 0 unknown; times are milliseconds.
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
};
struct sched_worker {
	double rate;
	bool measured; /* else the rate is only what it says of itself */
	uint64_t rtt_ms;
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
