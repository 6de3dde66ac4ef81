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
#define CHECK_PER_UNIT 100 /* one part in so many is scanned again */
#define CHECK_SMALL 100000 /* nonces: a unit of no more is, wholly */
/* Pieces after which a worker is no stranger any more: a tenth left out would
 * have been seen with a chance of 99.9 %, see unseen_by_pieces. */
#define CHECK_STRANGER 320
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
/* P(X > n), exact on both sides of the mean. */
double poisson_above(double mean, uint64_t n);

/* What all jobs together say of one peer: the evidence outlives a job, so
 * that little left out of each of many is seen as well. Plain numbers, to be
 * saved as they are. Zero-initialised is ready. */
struct evidence_total {
	struct evidence e;
	uint64_t hashes;    /* nonces that it says it has done */
	uint64_t given;	    /* of them, what others had done before */
	uint64_t units;	    /* that it has ended */
	uint64_t rescanned; /* nonces that were held against another's list */
	uint64_t pieces;    /* in so many pieces, all of which agreed */
	double weight;	    /* of them: the sum of check_weight */
	uint64_t checks;    /* of them work whose answer was known */
	uint64_t failures;  /* lies, proven or suspected */
};

/*
 * Chances to stay unseen. Each is the probability that one kind of evidence
 * says nothing of a peer that cheats in the stated way, if the model in
 * CHECKING.md holds: shares fall like rain, 2^-k to the nonce, and nobody
 * knows beforehand where we look. x is the part left out or falsified, 0..1.
 */
/* What one piece of so many nonces at k = bits can show: the chance that
 * there is a share in it, 1 - exp(-nonces / 2^k). A piece of D15 has a
 * quarter of a share: 0.2212. */
double check_weight(uint64_t nonces, unsigned bits);
/* (b): after so many pieces of that weight altogether. An upper bound, reached
 * when what is left out lies in one stretch: D15's (1 - 0.22 x)^s. */
double unseen_by_pieces(double x, double pieces, double weight);
/* (b) of one unit whose first or last part x is left out, exactly: its pieces
 * lie one in each of as many equal strata, so a stretch meets its share of
 * them for certain. `weight` is that of one piece. Below the bound above. */
double unseen_in_stretch(double x, double pieces, double weight);
/* (b) when what is left out is scattered finer than a piece, or single shares
 * are kept back; `shares` are expected where was looked again. */
double unseen_if_scattered(double x, double shares);
/* (c): one test, after so many expected shares, however it is left out. */
double unseen_by_count(double x, double expected);
/* (d): one stretch in which `gap` shares were to be expected, after so many
 * expected in all. */
double unseen_by_gap(double gap, double expected);
/* (a): each of n reported shares is false with chance x and is one by luck
 * with 2^-k; so for invented nonces and for flipped bits. */
double unseen_if_false(double x, double n, unsigned bits);
/* `bad` of `all` answers are false, and `opened` different ones, drawn
 * afterwards, are computed again. */
double unseen_by_opening(uint64_t all, uint64_t bad, uint64_t opened);
/* A winner kept back: seen only where it is scanned again. */
double unseen_winner(double rescanned);

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

/* D15's sentences with their numbers. */
struct check_report {
	uint64_t foreign;   /* hashes done by others */
	uint64_t own;	    /* and by ourselves */
	uint64_t rescanned; /* of the others' work: by us and by replicas */
	uint64_t pieces;
	uint64_t expected, reported;
	uint64_t scanned; /* nonces that we scanned for it */
	uint64_t given;	  /* nonces that others did twice for it */
	uint64_t checks, checks_passed; /* units whose answer was known */
	uint64_t replicas;     /* units of others done again and compared */
	uint64_t unreplicated; /* nonces that should have been, and were not */
	/* Of the peer that we know least about: its pieces and their weight,
	 * and the chance that it left out so much and was not seen. */
	uint64_t fewest;
	double unseen_1, unseen_10, unseen_50;
};
/* Takes one more peer into account; pieces and weight are what was looked at
 * of its work, e its lists. */
void check_peer(struct check_report *r, uint64_t pieces, double weight,
		const struct evidence *e);
/* c: the fraction re-scanned of what others did; 1 when all was our own. */
double check_fraction(const struct check_report *r);
/* What it cost, as a share of the work. */
double check_cost(const struct check_report *r);
void check_note(const struct check_report *r, struct buf *out);

#endif
