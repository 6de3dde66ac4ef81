/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_JOB_SAVED_H
#define HN_MESH_JOB_SAVED_H

#include "node/mesh/job_impl.h"

/*
 * What job_save.h's bytes say, for the two that take it up: job_save.c
 * (restores a job) and job_merge.c (joins what another node did of it). Part
 * of the coordinator's inside.
 */
struct saved_part {
	uint8_t id[NODE_ID_SIZE];
	struct u32s did; /* borders; of an open job, or one with a backup */
	uint64_t hashes;
	double expected, next;
	uint64_t shares, units, late, rescanned, pieces, busy_ms;
	bool self, dropped, lost;
	char *why;
	double weight;
	uint64_t checks;
	/* Of an ended job: the totals of all jobs until then. */
	double all_expected;
	uint64_t all_hashes, all_shares, all_rescanned, all_pieces, all_checks,
	    all_failures;
};

struct saved_unit {
	uint64_t lease, start, end, below, part;
	bool done;
};

struct job_saved {
	char *job, *kind;
	struct bytes spec;
	uint64_t state;
	char *error, *text;
	uint64_t ms, hashes;
	struct u32s hits;
	struct bytes by; /* per hit: two bytes, position of its finder */
	struct list parts, units;
	uint64_t done_units, failed_units, cut_units, cut_nonces, late,
	    rehashed, twice;
	uint64_t scanned, given, tested, unreplicated, checks, checks_passed,
	    replicas;
};

/*
 * Decodes and looks all over: the sums agree, every hit is one. *spec lives in
 * the arena. ERR_PROTO or ERR_LIMIT with a sentence.
 */
enum err saved_read(const struct jobs *j, const void *p, size_t n,
		    struct arena *a, struct job_saved *s,
		    const struct kind **kind, void **spec,
		    struct buf *why) HN_CHECK;

/* The spans between borders, added to s (and to `too`, unless NULL); false when
 * one leaves the range, is empty, or meets what is in s already. */
bool borders_add(const struct u32s *borders, struct span range, struct spans *s,
		 struct spans *too);

#endif
