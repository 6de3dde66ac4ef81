/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/merkle.h"

#include <sodium.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define LEAF 0
#define NODE 1
#define SLICE 512	       /* messages of one call of the hash */
#define SLICE_BYTES (1u << 20) /* and about as many bytes, copied */

struct merkle {
	size_t n;
	merkle_hash_fn hash;
	size_t levels;
	/* level[0] are the leaves, the last one is the root alone. */
	uint8_t (*level[MERKLE_PATH_MAX + 1])[MERKLE_SIZE];
	size_t count[MERKLE_PATH_MAX + 1];
};

void merkle_hash_plain(const struct bytes *msgs, size_t n, uint8_t (*out)[32])
{
	for (size_t i = 0; i < n; i++)
		crypto_hash_sha256(out[i], msgs[i].p, msgs[i].n);
}

/* One level from the one below it. */
static void level_up(struct merkle *t, size_t l)
{
	const uint8_t(*from)[MERKLE_SIZE] = t->level[l];
	const size_t pairs = t->count[l] / 2;
	uint8_t text[SLICE][1 + 2 * MERKLE_SIZE];
	struct bytes msgs[SLICE];

	for (size_t at = 0; at < pairs; at += SLICE) {
		const size_t n = pairs - at < SLICE ? pairs - at : SLICE;

		for (size_t i = 0; i < n; i++) {
			text[i][0] = NODE;
			memcpy(text[i] + 1, from[2 * (at + i)],
			       2 * MERKLE_SIZE);
			msgs[i] = (struct bytes){text[i], sizeof(text[i])};
		}
		t->hash(msgs, n, t->level[l + 1] + at);
	}
	if (t->count[l] % 2)
		memcpy(t->level[l + 1][pairs], from[2 * pairs], MERKLE_SIZE);
}

/* Room for all levels; the leaves are still to be filled in. */
static struct merkle *tree_new(size_t n, merkle_hash_fn hash)
{
	struct merkle *t = HN_NEW(struct merkle);
	size_t count = n ? n : 1;

	assert(n <= UINT32_MAX);
	t->n = n;
	t->hash = hash;
	for (;;) {
		t->count[t->levels] = count;
		t->level[t->levels++] = xcalloc(count, MERKLE_SIZE);
		if (count == 1)
			break;
		count = (count + 1) / 2;
	}
	return t;
}

static void tree_grow(struct merkle *t)
{
	if (!t->n)
		crypto_hash_sha256(t->level[0][0], NULL, 0);
	for (size_t l = 0; l + 1 < t->levels; l++)
		level_up(t, l);
}

struct merkle *merkle_new(const struct bytes *texts, size_t n,
			  merkle_hash_fn hash)
{
	struct merkle *t = tree_new(n, hash);
	size_t room = 0;
	uint8_t *copy = NULL;

	for (size_t at = 0; at < n;) {
		struct bytes msgs[SLICE];
		size_t k = 0, bytes = 0;

		while (at + k < n && k < SLICE &&
		       (!k || bytes + texts[at + k].n < SLICE_BYTES))
			bytes += 1 + texts[at + k++].n;
		if (bytes > room) {
			copy = xrealloc(copy, bytes);
			room = bytes;
		}
		bytes = 0;
		for (size_t i = 0; i < k; i++) {
			const struct bytes *text = &texts[at + i];

			msgs[i] = (struct bytes){copy + bytes, 1 + text->n};
			copy[bytes] = LEAF;
			if (text->n)
				memcpy(copy + bytes + 1, text->p, text->n);
			bytes += 1 + text->n;
		}
		hash(msgs, k, t->level[0] + at);
		at += k;
	}
	free(copy);
	tree_grow(t);
	return t;
}

struct merkle *merkle_of_leaves(const uint8_t (*leaves)[MERKLE_SIZE], size_t n,
				merkle_hash_fn hash)
{
	struct merkle *t = tree_new(n, hash);

	if (n)
		memcpy(t->level[0], leaves, n * MERKLE_SIZE);
	tree_grow(t);
	return t;
}

struct merkle *merkle_of_digests(const uint8_t (*digests)[32], size_t n,
				 merkle_hash_fn hash)
{
	struct bytes *texts = xcalloc(n + 1, sizeof(*texts));

	for (size_t i = 0; i < n; i++)
		texts[i] = (struct bytes){digests[i], 32};
	struct merkle *t = merkle_new(texts, n, hash);
	free(texts);
	return t;
}

void merkle_free(struct merkle *t)
{
	if (!t)
		return;
	for (size_t l = 0; l < t->levels; l++)
		free(t->level[l]);
	free(t);
}

const uint8_t *merkle_root(const struct merkle *t)
{
	return t->level[t->levels - 1][0];
}

size_t merkle_path(const struct merkle *t, size_t at,
		   uint8_t (*path)[MERKLE_SIZE])
{
	size_t n = 0;

	assert(at < t->n);
	for (size_t l = 0; l + 1 < t->levels; l++, at /= 2)
		if ((at ^ 1) < t->count[l])
			memcpy(path[n++], t->level[l][at ^ 1], MERKLE_SIZE);
	return n;
}

void merkle_leaf(const void *text, size_t n, uint8_t leaf[static MERKLE_SIZE])
{
	static const uint8_t domain = LEAF;
	crypto_hash_sha256_state h;

	crypto_hash_sha256_init(&h);
	crypto_hash_sha256_update(&h, &domain, 1);
	if (n)
		crypto_hash_sha256_update(&h, text, n);
	crypto_hash_sha256_final(&h, leaf);
}

static void node(const uint8_t left[static MERKLE_SIZE],
		 const uint8_t right[static MERKLE_SIZE],
		 uint8_t out[static MERKLE_SIZE])
{
	static const uint8_t domain = NODE;
	crypto_hash_sha256_state h;

	crypto_hash_sha256_init(&h);
	crypto_hash_sha256_update(&h, &domain, 1);
	crypto_hash_sha256_update(&h, left, MERKLE_SIZE);
	crypto_hash_sha256_update(&h, right, MERKLE_SIZE);
	crypto_hash_sha256_final(&h, out);
}

bool merkle_proves(const uint8_t root[static MERKLE_SIZE], uint64_t n,
		   uint64_t at, const uint8_t leaf[static MERKLE_SIZE],
		   const uint8_t (*path)[MERKLE_SIZE], size_t npath)
{
	uint8_t h[MERKLE_SIZE];
	size_t used = 0;

	if (at >= n)
		return false;
	memcpy(h, leaf, sizeof(h));
	/* The length says on which levels there is a neighbour. */
	for (; n > 1; at /= 2, n = n / 2 + n % 2) {
		if ((at ^ 1) >= n)
			continue;
		if (used == npath)
			return false;
		if (at % 2)
			node(path[used++], h, h);
		else
			node(h, path[used++], h);
	}
	return used == npath && !memcmp(h, root, sizeof(h));
}
