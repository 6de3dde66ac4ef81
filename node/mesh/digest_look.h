/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_DIGEST_LOOK_H
#define HN_MESH_DIGEST_LOOK_H

#include "node/mesh/digest.h"
#include "node/mesh/kind_batch.h"

/*
 * Looking at a worker's answer: is it what was signed, and are the digests at
 * drawn places right? Zero-initialised, then `given` is filled in (borrowed).
 */
struct digest_look {
	/* given */
	int fd; /* of the inputs */
	const struct batch_spec *spec;
	const struct batch_mark *marks; /* of the lease's blocks, and its end */
	size_t nmarks;
	const uint8_t (*digests)[32];
	size_t n;
	const struct digest_answer *answer;
	const struct node_id *worker;
	const uint8_t *sig;
	size_t want; /* places */

	/* found: OK; ERR_CRYPTO: not what was signed; ERR_INPUT, ERR_IO: the
	 * input file, with a sentence */
	enum err e;
	struct buf why;
	uint32_t *places;
	size_t nplaces;
	uint32_t open[DIGEST_OPEN_MAX]; /* of them, to be opened */
	uint8_t leaves[DIGEST_OPEN_MAX][MERKLE_SIZE];
	size_t nopen;
	bool wrong; /* the digest at open[wrong_open], of that input */
	size_t wrong_open;
	struct buf input;
	uint8_t path[MERKLE_PATH_MAX][MERKLE_SIZE]; /* of that digest */
	size_t npath;
	uint64_t spent_ns; /* of a core, to read and compute again */
};
/* Blocks: the uv pool. */
void digest_look_run(struct digest_look *l);
void digest_look_release(struct digest_look *l);
/* The worker opened what was asked, against what it signed. */
bool digest_look_opened(const struct digest_look *l,
			const struct hash_digested *r);

/* SHA-256 of many messages on the fastest kernel, for trees. */
void digest_hash(const struct bytes *msgs, size_t n, uint8_t (*out)[32]);

#endif
