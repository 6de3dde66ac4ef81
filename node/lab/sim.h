/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_LAB_SIM_H
#define HN_LAB_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A mesh that is always busy, in a made-up world (world.h): one submitter with
 * sixteen jobs open, fifteen batches of digests and a search, and so many
 * workers of 64 to 256 kH/s. In the middle of its time 30 % of them are lost at
 * once, half of them without a word. Pure, except for the clock it is given.
 */
#define SIM_NODES_MAX 16000
#define SIM_LOST_PERCENT 30
#define SIM_US_MIN (UINT64_C(60) * 1000000)

struct sim_options {
	size_t nodes, cheaters;
	uint64_t seed;
	uint64_t us;	   /* how long, at least SIM_US_MIN */
	unsigned loss;	   /* of messages, permille: sent again */
	unsigned churn;	   /* nodes that leave in an hour, permille; each is
			    * back after a minute or so */
	uint64_t delay_us; /* one way, 0.5 to 1.5 times as much */
	/* What the coordinator's calls took; NULL: not measured, and then the
	 * result is the same for the same options. */
	uint64_t (*clock_ns)(void);
};

#define SIM_CHEATS 10
struct sim_cheat {
	const char *name;
	size_t nodes, found, proven;
	size_t out;	/* who got no work at the end */
	double after_s; /* mean, of work in the mesh */
};

struct sim_result {
	size_t nodes;
	uint64_t jobs, jobs_failed; /* that ended */
	uint64_t units;		    /* handed out */
	uint64_t taken_back, messages, calls, hashes;
	double throughput; /* of what those there could do, 0..1 */
	size_t lost;
	double regiven_s;   /* until nobody waited for a lost node */
	double recovered_s; /* until the others did 95 % of what they can */
	size_t cheaters, found;
	size_t slandered; /* honest ones that were taken for cheats */
	struct sim_cheat cheats[SIM_CHEATS];
	uint64_t spent_ns; /* 0: not measured */
	char broken[160];  /* what must never be; empty: well */
};
/* A time that did not come: -1. */
void sim_run(const struct sim_options *o, struct sim_result *r);

#endif
