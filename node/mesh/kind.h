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
/* Ascending by nonce, each once. Zero-initialised is empty and ready. */
struct hits {
	struct hit *v;
	size_t n, cap;
};
void hits_release(struct hits *h);

enum finding { FINDING_FALSE, FINDING_SHARE, FINDING_HIT };
enum merged { MERGED_MORE, MERGED_ENOUGH, MERGED_TOO_MANY };

struct kind {
	const char *name;
	const char *cap;	    /* what a worker must offer */
	const struct message *spec; /* what a submitter says */
	const struct message *work; /* what a worker is told: the pack of it */
	size_t spec_size;
	enum err (*spec_check)(const void *spec, struct buf *why);
	/* What every kind's spec says: how long it waits for workers, the
	 * re-scan budget, whether every hit is wanted. */
	void (*terms)(const void *spec, uint64_t *wait_ms,
		      uint64_t *check_permille, bool *all);
	/* The most leading zero bits a share may be asked to have. */
	unsigned (*max_bits)(const void *spec);
	struct span (*range)(const void *spec);
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

extern const struct kind kind_search;

#define KIND_COUNT 1
extern const struct kind *const kind_list[KIND_COUNT];

#endif
