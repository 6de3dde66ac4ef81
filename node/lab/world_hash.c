/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The made-up hash: a Feistel permutation of 32 bits. */
#include "node/lab/world_impl.h"

#include "node/base/mem.h"

#include <stdlib.h>
#include <string.h>

static uint16_t mix16(uint32_t x, uint32_t key)
{
	x = (x + key) * 0x9e3779b1u;
	x ^= x >> 15;
	x *= 0x85ebca77u;
	return (uint16_t)(x >> 13);
}

static const uint32_t keys[4] = {0x243f6a88, 0x85a308d3, 0x13198a2e,
				 0x03707344};

static uint32_t permute(uint32_t x)
{
	uint16_t l = (uint16_t)(x >> 16), r = (uint16_t)x;

	for (int i = 0; i < 4; i++) {
		const uint16_t t = l ^ mix16(r, keys[i]);

		l = r;
		r = t;
	}
	return (uint32_t)l << 16 | r;
}

static uint32_t unpermute(uint32_t x)
{
	uint16_t l = (uint16_t)(x >> 16), r = (uint16_t)x;

	for (int i = 3; i >= 0; i--) {
		const uint16_t t = r ^ mix16(l, keys[i]);

		r = l;
		l = t;
	}
	return (uint32_t)l << 16 | r;
}

void world_judge(void *arg, const uint8_t header[static HEADER_SIZE],
		 uint32_t nonce, uint8_t digest[static 32])
{
	(void)arg;
	(void)header;
	memset(digest, 0, 32);
	put_le32(digest, nonce);
	put_le32(digest + 28, permute(nonce));
}

#define LISTED (1u << (32 - WORLD_BITS))
static uint32_t *listed;

static int by_value(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void list_free(void)
{
	free(listed);
}

static size_t first_listed(uint64_t x)
{
	size_t lo = 0, hi = LISTED;

	if (!listed) {
		listed = xmalloc(LISTED * sizeof(*listed));
		for (uint32_t i = 0; i < LISTED; i++)
			listed[i] = unpermute(i);
		qsort(listed, LISTED, sizeof(*listed), by_value);
		atexit(list_free);
	}
	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;

		if (listed[mid] < x)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The rare way: one by one. */
static uint32_t *shares_one_by_one(uint64_t a, uint64_t b, unsigned bits,
				   size_t *n)
{
	uint32_t *out = xmalloc((b - a + 2) * sizeof(*out));

	*n = 0;
	for (uint64_t i = a; i < b; i++)
		if ((uint64_t)permute((uint32_t)i) < UINT64_C(1) << (32 - bits))
			out[(*n)++] = (uint32_t)i;
	return out;
}

uint32_t *world_shares(uint64_t a, uint64_t b, unsigned bits, size_t *n)
{
	if (bits < WORLD_BITS)
		return shares_one_by_one(a, b, bits, n);
	const size_t from = first_listed(a), to = first_listed(b);
	uint32_t *out = xmalloc((to - from + 2) * sizeof(*out));

	*n = 0;
	for (size_t i = from; i < to; i++)
		if ((uint64_t)permute(listed[i]) < UINT64_C(1) << (32 - bits))
			out[(*n)++] = listed[i];
	return out;
}

void world_target(unsigned bits, uint8_t target[static 32])
{
	memset(target, 0xff, 32);
	put_le32(target + 28, bits < 32 ? 0xffffffffu >> bits : 0);
}

struct search_spec world_spec(uint64_t start, uint64_t end, unsigned bits,
			      bool all)
{
	struct search_spec s = {.start = start,
				.end = end,
				.all = all,
				.terms.wait_ms = 30000,
				.terms.check_permille = 50};

	world_target(bits, s.target);
	return s;
}
