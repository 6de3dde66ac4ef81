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
    {12,
     1u << 18,
     1u << 20,
     {2028798895, 3550398067, 4120997756, 4263647679, 4290394539, 4294406568,
      4294908072, 4294961805, 4294966842, 4294967262, 4294967293, 4294967295}},
    {8,
     1u << 20,
     1u << 24,
     {1681933359, 3258745884, 3997876754, 4228855152, 4282990713, 4293141131,
      4294727134, 4294939545, 4294964437, 4294967030, 4294967273, 4294967294}},
    {WORLD_BITS,
     1u << 24,
     SMALL,
     {1790408741, 3357016390, 4042407236, 4242312900, 4286042263, 4293694902,
      4294810912, 4294950413, 4294965671, 4294967155, 4294967284, 4294967295}},
};
#define LEVELS HN_COUNT(levels)
#define ROUGH 2 /* levels whose blocks hold many of the others' */
#define ROUGH_BITS 14
#define FINE_BITS 8
#define ROUGH_MOST (5 * MOST)		  /* in a rough block */
#define FINE_MOST (ROUGH_MOST + 9 * MOST) /* in a fine one */

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

	for (unsigned i = 0; i < MOST && draw >= v->at_most[i];) {
		z = mix(z);
		const struct listed l = {
		    block << v->bits | ((uint32_t)z & ((1u << v->bits) - 1)),
		    v->from + (uint32_t)((z >> 32) * (v->end - v->from) >> 32)};
		unsigned at = n;

		while (at && out[at - 1].at > l.at)
			at--;
		/* Taken, perhaps by a smaller one: another place. */
		if (at && out[at - 1].at == l.at)
			continue;
		for (unsigned k = n++; k > at; k--)
			out[k] = out[k - 1];
		out[at] = l;
		i++;
	}
	return n;
}

/* All of a block of so many bits that levels [from, to) draw. */
static unsigned list_all(uint64_t key, uint32_t block, unsigned bits,
			 size_t from, size_t to, struct listed *out, unsigned n)
{
	for (size_t v = from; v < to; v++) {
		const unsigned parts = 1u << (bits - levels[v].bits);

		for (unsigned i = 0; i < parts; i++)
			n = list(&levels[v], key, block * parts + i, out, n);
	}
	return n;
}

static uint32_t large(uint64_t key, uint32_t nonce)
{
	const uint64_t z = mix(mix(key) + nonce) >> 32;

	return SMALL + (uint32_t)(z * (UINT64_C(0x100000000) - SMALL) >> 32);
}

uint32_t world_value(uint64_t key, uint32_t nonce)
{
	struct listed l[LEVELS * MOST];
	unsigned n = 0;

	for (size_t v = 0; v < LEVELS; v++)
		n = list(&levels[v], key, nonce >> levels[v].bits, l, n);
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

/* What is asked for, in the order of out. */
struct query {
	uint64_t key, a, b, limit;
	unsigned bits;
	struct out out;
};

static void take(struct query *q, const struct listed *l, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (l[i].at >= q->a && l[i].at < q->b && l[i].value < q->limit)
			add(&q->out, l[i].at);
}

/* The rare way: one by one. */
static void take_large(struct query *q, uint64_t a, uint64_t b,
		       const struct listed *l, unsigned n)
{
	for (uint64_t x = a > q->a ? a : q->a; x < b && x < q->b; x++) {
		while (n && l->at < x) {
			l++;
			n--;
		}
		if ((n && l->at == x) || large(q->key, (uint32_t)x) < q->limit)
			add(&q->out, (uint32_t)x);
	}
}

static void take_fine(struct query *q, uint32_t block,
		      const struct listed *rough, unsigned n)
{
	const uint64_t a = (uint64_t)block << FINE_BITS;
	struct listed l[FINE_MOST];
	unsigned m = 0;

	for (unsigned i = 0; i < n; i++)
		if (rough[i].at >> FINE_BITS == block)
			l[m++] = rough[i];
	m = list_all(q->key, block, FINE_BITS, ROUGH, LEVELS, l, m);
	if (q->bits < WORLD_BITS)
		take_large(q, a, a + (1u << FINE_BITS), l, m);
	else
		take(q, l, m);
}

static void take_rough(struct query *q, uint32_t block)
{
	const uint64_t a = (uint64_t)block << ROUGH_BITS;
	const uint64_t end = a + (1u << ROUGH_BITS);
	/* The first level has all that one asks a fast device for. */
	const size_t to = q->bits < ROUGH_BITS ? ROUGH : 1;
	struct listed l[ROUGH_MOST];
	const unsigned n = list_all(q->key, block, ROUGH_BITS, 0, to, l, 0);

	if (q->bits >= levels[ROUGH - 1].bits) {
		take(q, l, n);
		return;
	}
	for (uint64_t at = a; at < end; at += 1u << FINE_BITS)
		if (at + (1u << FINE_BITS) > q->a && at < q->b)
			take_fine(q, (uint32_t)(at >> FINE_BITS), l, n);
}

uint32_t *world_shares(uint64_t key, uint64_t a, uint64_t b, unsigned bits,
		       size_t *n)
{
	struct query q = {
	    .key = key,
	    .a = a,
	    .b = b,
	    .limit = UINT64_C(1) << (32 - bits),
	    .bits = bits,
	    .out = {.v = xmalloc(16 * sizeof(uint32_t)), .cap = 16}};

	for (uint64_t at = a >> ROUGH_BITS; at << ROUGH_BITS < b; at++)
		take_rough(&q, (uint32_t)at);
	*n = q.out.n;
	return q.out.v;
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
