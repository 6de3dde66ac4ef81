/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_BASE_MERKLE_H
#define HN_BASE_MERKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/mem.h"

/*
 * A tree over a list (decision D20; the shape is that of RFC 6962): a leaf is
 * SHA-256(0 || bytes), a node SHA-256(1 || left || right), a last one without
 * a neighbour goes up as it is, and the root of nothing is SHA-256(""). A root
 * binds a list only together with the list's length: sign both. Pure; any
 * thread.
 */
#define MERKLE_SIZE 32
#define MERKLE_PATH_MAX 32 /* of a list shorter than 2^32 */

/* SHA-256 of n messages, in their order: libsodium's one after the other, or
 * a faster one of the caller. */
typedef void (*merkle_hash_fn)(const struct bytes *msgs, size_t n,
			       uint8_t (*out)[32]);
void merkle_hash_plain(const struct bytes *msgs, size_t n, uint8_t (*out)[32]);

struct merkle;
/* A leaf for each of the n texts; n below 2^32. It holds 64 bytes a leaf. */
struct merkle *merkle_new(const struct bytes *texts, size_t n,
			  merkle_hash_fn hash);
/* The same of leaves that are hashed already, with the 0 before them. */
struct merkle *merkle_of_leaves(const uint8_t (*leaves)[MERKLE_SIZE], size_t n,
				merkle_hash_fn hash);
/* The same of n texts of 32 bytes each, such as digests. */
struct merkle *merkle_of_digests(const uint8_t (*digests)[32], size_t n,
				 merkle_hash_fn hash);
void merkle_free(struct merkle *t); /* NULL is fine */

const uint8_t *merkle_root(const struct merkle *t); /* MERKLE_SIZE bytes */
/* What proves the text at that place, lowest neighbour first; at < n. Returns
 * how many. */
size_t merkle_path(const struct merkle *t, size_t at,
		   uint8_t (*path)[MERKLE_SIZE]);

void merkle_leaf(const void *text, size_t n, uint8_t leaf[static MERKLE_SIZE]);
/* Does this leaf stand at that place of a list of n with this root? */
bool merkle_proves(const uint8_t root[static MERKLE_SIZE], uint64_t n,
		   uint64_t at, const uint8_t leaf[static MERKLE_SIZE],
		   const uint8_t (*path)[MERKLE_SIZE], size_t npath);

#endif
