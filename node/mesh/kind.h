/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_KIND_H
#define HN_MESH_KIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/fields.h"
#include "node/base/identity.h"
#include "node/mesh/check.h"
#include "node/mesh/lease.h"
#include "node/mesh/terms.h"

/*
 * Kinds of jobs (decision D13): rows of a table, a file each. A row says how
 * the job's space is cut, what travels, how an answer is checked, and how
 * what was found becomes the result. What runs a unit on a device stands in
 * the service that serves it. Pure.
 */
struct hit {
	uint32_t nonce;
	uint8_t digest[32];
	struct node_id by;
};
/*
 * Each nonce once, in ascending order, although they come in any: what is
 * moved to make room is small. Zero-initialised is empty and ready.
 */
struct hits {
	struct hit *v; /* as they came */
	struct hit_place {
		uint32_t nonce, at; /* v[at] is its hit */
	} * order;
	size_t n, cap;
};
/* False: that nonce was there already. */
bool hits_add(struct hits *h, const struct hit *hit);
bool hits_has(const struct hits *h, uint32_t nonce);
/* The i-th by nonce. */
static inline const struct hit *hits_at(const struct hits *h, size_t i)
{
	return &h->v[h->order[i].at];
}
void hits_release(struct hits *h);

enum finding { FINDING_FALSE, FINDING_SHARE, FINDING_HIT };
enum merged { MERGED_MORE, MERGED_ENOUGH, MERGED_TOO_MANY };

struct job_info;
struct kind {
	const char *name;
	const char *cap;	    /* what a worker must offer */
	const struct message *spec; /* what a submitter says */
	const struct message *work; /* what a worker is told: the pack of it */
	size_t spec_size;
	/* Answers carry shares (decision D15), which the coordinator checks.
	 * Without: the service that runs the leases checks their answers
	 * before it says jobs_progress (with no shares), and says jobs_lie when
	 * it has proof; max_bits, cut, check, merge and all are NULL. */
	bool shares;
	/* The result is made final by jobs_ops.finish before the job is done.
	 */
	bool finish;
	uint64_t first; /* numbers for a worker of unknown rate; 0:
			 * SCHED_FIRST */
	uint64_t most;	/* numbers of one unit; 0: any */
	enum err (*spec_check)(const void *spec, struct buf *why);
	const struct job_terms *(*terms)(const void *spec);
	/* Every hit is wanted, not only one. */
	bool (*all)(const void *spec);
	/* The most leading zero bits a share may be asked to have. */
	unsigned (*max_bits)(const void *spec);
	/* The numbers to be done; within [0, NONCES). */
	struct span (*range)(const void *spec);
	/* How many hashes one number stands for, on average; NULL: 1. */
	double (*weight)(const void *spec);
	/* What its own spec adds to what people are shown. */
	void (*show)(const void *spec, struct arena *a, struct job_info *out);
	void (*cut)(const void *spec, struct span unit, unsigned bits,
		    struct scan_work *out);
	/* Is this really a share of so many bits, and is it a hit? */
	enum finding (*check)(const void *spec, const struct judge *judge,
			      uint32_t nonce, unsigned bits,
			      uint8_t digest[static 32]);
	/* A checked hit joins the result. */
	enum merged (*merge)(const void *spec, struct hits *hits,
			     const struct hit *hit);
};

extern const struct kind kind_search, kind_batch;

#define KIND_COUNT 2
extern const struct kind *const kind_list[KIND_COUNT];
const struct kind *kind_find(const char *name); /* NULL: unknown */

#endif
