/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_CHECK_H
#define HN_MESH_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "asic/work.h"
#include "node/mesh/lease.h"

/*
 * Evidence that a range was scanned (decision D15): the statistics, the
 * places to look again, the comparison of lists, and the words of the report.
 * Pure.
 *
 * A share is a nonce whose digest has at least k leading zero bits. Every
 * share that anybody reports is hashed again before it is believed; therefore
 * a share that one list of a piece has and another lacks is the proof that
 * the other's author did not do the work, whoever scanned the first.
 */
#define CHECK_PER_UNIT 100   /* one part in so many is scanned again */
#define CHECK_PIECES_MAX 96  /* of one unit */
#define CHECK_PIECE_MIN 1024 /* nonces: less is not worth a message */
#define CHECK_DOUBT 1e-9     /* suspicion begins below */

/* Digest of the header with this nonce. The reference hash, unless a
 * simulation puts another in its place. */
typedef void (*judge_fn)(void *arg, const uint8_t header[static HEADER_SIZE],
			 uint32_t nonce, uint8_t digest[static 32]);
struct judge {
	judge_fn fn;
	void *arg;
};
extern const struct judge judge_reference;

/* What one worker's lists in one job say. Zero-initialised is ready. */
struct evidence {
	double expected; /* shares, over all it says it has done */
	uint64_t reported;
	double next; /* expectation at which (c) is tested again */
};
void evidence_add(struct evidence *e, uint64_t hashes, unsigned bits,
		  uint64_t shares);
/* (c): too few shares to be chance. True once and for all. */
bool evidence_low(struct evidence *e);
/* (d): a gap of so many nonces without a share is no chance, where so many
 * shares were expected so far. */
bool evidence_gap(uint64_t gap, unsigned bits, double expected);
/* P(X <= n) of a Poisson variable; exact to about 1e-12 relative below the
 * mean, 1 at or above it. */
double poisson_at_most(double mean, uint64_t n);

/*
 * Draws the pieces of [a, b), done at k = bits, that are scanned again:
 * `nonces` altogether on average, each of 2^(k-2) nonces (more where those
 * would be too many or too small), one in each of as many equal strata, every
 * nonce with the same chance. Returns how many, at most max.
 */
size_t check_draw(struct span range, unsigned bits, uint64_t nonces,
		  uint64_t (*random)(void *arg), void *arg, struct span *out,
		  size_t max);
/* One run of that many nonces somewhere in the range. */
struct span check_run(struct span range, uint64_t nonces,
		      uint64_t (*random)(void *arg), void *arg);

/* The part of an ascending list that lies in s; borrowed. */
const uint32_t *check_within(const uint32_t *list, size_t n, struct span s,
			     size_t *count);
/* Both ascending: the first that `all` has and `have` lacks. */
bool check_lacks(const uint32_t *have, size_t n, const uint32_t *all, size_t m,
		 uint32_t *which);

/* D15's sentence with its numbers. */
struct check_report {
	uint64_t foreign; /* hashes done by others */
	uint64_t own;	  /* and by ourselves */
	uint64_t rescanned;
	uint64_t pieces, fewest; /* in all; of the least checked peer */
	uint64_t expected, reported;
};
/* c: the fraction re-scanned of what others did; 1 when all was our own. */
double check_fraction(const struct check_report *r);
void check_note(const struct check_report *r, struct buf *out);

#endif
