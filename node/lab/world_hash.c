/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The made-up hash: to each header another function of the nonce, with values
 * as independent as those of a real one, and so made that the small ones can be
 * listed: each block of nonces draws how many of its values are small
 * (Poisson), where, and which. There are two sizes of blocks, for values so
 * small that fast devices are asked for them and for the next ones.
 */
#include "node/lab/world_impl.h"

#include "node/base/mem.h"

#include <stdlib.h>
#include <string.h>

#define SMALL (1u << (32 - WORLD_BITS)) /* values below are listed */
#define MOST 12				/* P(more) < 1e-10 */

static const struct level {
	unsigned bits;	    /* of a block */
	uint32_t from, end; /* values */
	/* 2^32 P(X <= n); the mean is (end - from) / 2^32 of a block. */
	uint32_t at_most[MOST];
} levels[] = {
    {14,
     0,
     1u << 18,
     {1580030168, 3160060337, 3950075421, 4213413783, 4279248373, 4292415291,
      4294609777, 4294923276, 4294962463, 4294966817, 4294967252, 4294967292}},
    {WORLD_BITS,
     1u << 18,
     SMALL,
     {2028798895, 3550398067, 4120997756, 4263647679, 4290394539, 4294406568,
      4294908072, 4294961805, 4294966842, 4294967262, 4294967293, 4294967295}},
};
#define RARE (&levels[0])
#define MORE (&levels[1])
#define BLOCK (1u << 14)

/* splitmix64, Steele, Lea, Flood 2014 */
static uint64_t mix(uint64_t z)
{
	z += 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

struct listed {
	uint32_t at, value; /* at: the nonce */
};

/* Puts what block number `block` of the level draws into out, which is
 * ascending and has n already; returns how many there are then. */
static unsigned list(const struct level *v, uint64_t key, uint32_t block,
		     struct listed *out, unsigned n)
{
	uint64_t z = mix(key + ((uint64_t)block << 8 | v->bits) *
				   UINT64_C(0xd1342543de82ef95));
	const uint32_t draw = (uint32_t)(z >> 32);

	for (unsigned i = 0; i < MOST && draw >= v->at_most[i]; i++) {
		z = mix(z);
		const struct listed l = {
		    block << v->bits | ((uint32_t)z & ((1u << v->bits) - 1)),
		    v->from + (uint32_t)((z >> 32) * (v->end - v->from) >> 32)};
		unsigned at = n;

		while (at && out[at - 1].at > l.at)
			at--;
		/* Two at one place: the first has it. */
		if (at && out[at - 1].at == l.at)
			continue;
		for (unsigned k = n++; k > at; k--)
			out[k] = out[k - 1];
		out[at] = l;
	}
	return n;
}

/* All of a block of the larger size that may have so many bits. */
static unsigned list_all(uint64_t key, uint32_t block, unsigned bits,
			 struct listed *out)
{
	const unsigned parts = 1u << (RARE->bits - MORE->bits);
	unsigned n = list(RARE, key, block, out, 0);

	for (unsigned i = 0; bits < RARE->bits && i < parts; i++)
		n = list(MORE, key, block * parts + i, out, n);
	return n;
}

static uint32_t large(uint64_t key, uint32_t nonce)
{
	const uint64_t z = mix(mix(key) + nonce) >> 32;

	return SMALL + (uint32_t)(z * (UINT64_C(0x100000000) - SMALL) >> 32);
}

uint32_t world_value(uint64_t key, uint32_t nonce)
{
	struct listed l[2 * MOST];
	unsigned n = list(RARE, key, nonce >> RARE->bits, l, 0);

	n = list(MORE, key, nonce >> MORE->bits, l, n);
	for (unsigned i = 0; i < n; i++)
		if (l[i].at == nonce)
			return l[i].value;
	return large(key, nonce);
}

uint64_t world_key(const uint8_t header[static HEADER_SIZE])
{
	return (uint64_t)get_le32(header + 4) << 32 | get_le32(header);
}

void world_judge(void *arg, const uint8_t header[static HEADER_SIZE],
		 uint32_t nonce, uint8_t digest[static 32])
{
	(void)arg;
	memset(digest, 0, 32);
	put_le32(digest, nonce);
	put_le32(digest + 28, world_value(world_key(header), nonce));
}

struct out {
	uint32_t *v;
	size_t n, cap;
};

static void add(struct out *o, uint32_t nonce)
{
	/* Room for one more, which a cheat may need. */
	if (o->n + 2 > o->cap) {
		o->cap = o->cap * 2 + 16;
		o->v = xrealloc(o->v, o->cap * sizeof(*o->v));
	}
	o->v[o->n++] = nonce;
}

/* The rare way: one by one. */
static void add_large(struct out *o, uint64_t key, uint64_t a, uint64_t b,
		      uint64_t limit, const struct listed *l, unsigned m)
{
	for (uint64_t x = a; x < b; x++) {
		while (m && l->at < x) {
			l++;
			m--;
		}
		if ((m && l->at == x) || large(key, (uint32_t)x) < limit)
			add(o, (uint32_t)x);
	}
}

uint32_t *world_shares(uint64_t key, uint64_t a, uint64_t b, unsigned bits,
		       size_t *n)
{
	const uint64_t limit = UINT64_C(1) << (32 - bits);
	struct out o = {.v = xmalloc(16 * sizeof(*o.v)), .cap = 16};

	for (uint64_t from = a - a % BLOCK; from < b; from += BLOCK) {
		const uint64_t lo = from > a ? from : a;
		const uint64_t hi = from + BLOCK < b ? from + BLOCK : b;
		struct listed l[5 * MOST];
		const unsigned m =
		    list_all(key, (uint32_t)(from / BLOCK), bits, l);

		if (bits < WORLD_BITS)
			add_large(&o, key, lo, hi, limit, l, m);
		for (unsigned i = 0; bits >= WORLD_BITS && i < m; i++)
			if (l[i].at >= lo && l[i].at < hi && l[i].value < limit)
				add(&o, l[i].at);
	}
	*n = o.n;
	return o.v;
}

void world_target(unsigned bits, uint8_t target[static 32])
{
	memset(target, 0xff, 32);
	put_le32(target + 28, bits < 32 ? 0xffffffffu >> bits : 0);
}

struct search_spec world_spec(uint64_t start, uint64_t end, unsigned bits,
			      bool all)
{
	struct search_spec s = {
	    .start = start,
	    .end = end,
	    .all = all,
	    .terms = {.wait_ms = 30000, .check_permille = 50},
	};

	world_target(bits, s.target);
	return s;
}
