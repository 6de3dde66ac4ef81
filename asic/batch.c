/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Messages of mixed lengths on the lanes of a vector kernel. A vector works
 * as long as its longest lane, so messages are taken in chunks, put in order
 * of their block counts, longest first, and dealt out in groups as wide as the
 * vector. What is left over when a group's shorter lanes are done, or a chunk
 * has too few messages, goes through the SHA instructions or the scalar code
 * one by one: half-empty vectors are slower than those.
 *
 * Groups of equal length, which is what hash trees and block headers are, take
 * short ways: their padding is one constant block where the length is a
 * multiple of 64, and a second hash stays in the vector registers.
 *
 * Everything is on the stack, about 20 KiB.
 */
#include "asic/batch.h"
#include "asic/kernel_impl.h"

#include "asic/kernel.h"
#include "asic/sha256d.h"
#include "node/base/mem.h"

enum {
	CHUNK = 1024, /* messages put in order at a time */
	CLASSES = 64  /* block counts sorted by counting; longer by hand */
};

/* One group of messages in the lanes. */
struct group {
	const struct lanes *l;
	const struct bytes *msgs;
	uint8_t (*out)[32];
	int rounds;
	const uint16_t *which; /* message of each lane */
	size_t n;	       /* lanes used */
	bool in_order;	       /* they follow each other */
	size_t narrow;	       /* so few busy lanes are not worth a vector */
	const uint8_t *p[LANES_MAX];
	uint8_t tail[LANES_MAX][128];
	uint32_t state[8 * LANES_MAX] __attribute__((aligned(64)));
	size_t tail_n; /* the length that all tails are padded for */
	/* K + W of the padding block of messages of fixed_n bytes */
	size_t fixed_n;
	uint32_t fixed[64];
};

void batch_digests(const struct kernel *kernel, const struct bytes *msgs,
		   size_t n, int rounds, uint8_t (*out)[32])
{
	if (!kernel)
		kernel = kernel_best_batch();
	kernel->batch(msgs, n, rounds, out);
}

/* ---- one at a time ---- */

static void narrow_one(const struct bytes *m, int rounds, uint8_t out[32])
{
	kernel_compress_fn *compress = kernel_compress();
	uint32_t state[8];
	uint8_t tail[128];

	memcpy(state, sha256_iv, sizeof(state));
	compress(state, m->p, m->n / 64);
	compress(state, tail, pad_tail(tail, m->p, m->n));
	put_digest(out, state);
	if (rounds > 1) {
		struct bytes first = {out, 32};

		narrow_one(&first, 1, out);
	}
}

/* ---- a vector full ---- */

/* The digests of all lanes at once. */
static void group_end(struct group *g)
{
	uint8_t out[LANES_MAX][32];

	if (g->rounds > 1)
		g->l->again(g->state);
	if (g->in_order && g->n == g->l->width) {
		g->l->digests(g->state, g->out + g->which[0]);
		return;
	}
	g->l->digests(g->state, out);
	for (size_t i = 0; i < g->n; i++)
		memcpy(g->out[g->which[i]], out[i], 32);
}

static uint32_t ror(uint32_t x, unsigned n)
{
	return x >> n | x << (32 - n);
}

/* The padding block of a message that ends with a block: K + W. */
static void group_fix(struct group *g, size_t n)
{
	uint32_t w[64] = {0x80000000};

	if (g->fixed_n == n)
		return;
	w[14] = (uint32_t)((uint64_t)n * 8 >> 32);
	w[15] = (uint32_t)(n * 8);
	for (int t = 16; t < 64; t++) {
		uint32_t x = w[t - 15], y = w[t - 2];

		w[t] = w[t - 16] + (ror(x, 7) ^ ror(x, 18) ^ x >> 3) +
		       w[t - 7] + (ror(y, 17) ^ ror(y, 19) ^ y >> 10);
	}
	for (int t = 0; t < 64; t++)
		g->fixed[t] = sha256_k[t] + w[t];
	g->fixed_n = n;
}

/* The last blocks of messages of n bytes; how many they are in each lane. */
static size_t group_tails(struct group *g, size_t n)
{
	const size_t rest = n % 64;

	for (size_t i = 0; i < g->l->width; i++) {
		const uint8_t *p = g->msgs[g->which[i < g->n ? i : 0]].p;

		/* What pads the messages of one length stays the same. */
		if (g->tail_n == n)
			memcpy(g->tail[i], p + (n - rest), rest);
		else
			pad_tail(g->tail[i], p, n);
		g->p[i] = g->tail[i];
	}
	g->tail_n = n;
	return pad_blocks(n) - n / 64;
}

/* All of n bytes. */
static void group_equal(struct group *g, size_t n)
{
	g->l->start(g->state);
	if (n >= 64) {
		/* Lanes without a message repeat the first one. */
		for (size_t i = 0; i < g->l->width; i++)
			g->p[i] = g->msgs[g->which[i < g->n ? i : 0]].p;
		g->l->blocks(g->state, g->p, n / 64);
	}
	if (n % 64 == 0) {
		group_fix(g, n);
		g->l->fixed(g->state, g->fixed);
	} else {
		size_t tail = group_tails(g, n);

		g->l->blocks(g->state, g->p, tail);
	}
	group_end(g);
}

/* How a group of mixed lengths stands. */
struct mixed {
	size_t body[LANES_MAX];	  /* blocks whole in the message */
	size_t blocks[LANES_MAX]; /* those and the padded ones */
	size_t done;		  /* blocks hashed, the same for all */
	size_t busy;		  /* lanes below this one have more */
	uint32_t final[8 * LANES_MAX];
};

static void column_copy(uint32_t *to, const uint32_t *from, size_t width)
{
	for (size_t r = 0; r < 8; r++)
		to[r * width] = from[r * width];
}

/* Sets the pointers; how many blocks all busy lanes have there. */
static size_t mixed_aim(struct group *g, const struct mixed *m)
{
	size_t run = SIZE_MAX;

	for (size_t i = 0; i < m->busy; i++) {
		bool in_body = m->done < m->body[i];
		size_t end = in_body ? m->body[i] : m->blocks[i];

		if (in_body)
			g->p[i] = g->msgs[g->which[i]].p + 64 * m->done;
		else
			g->p[i] = g->tail[i] + 64 * (m->done - m->body[i]);
		if (end - m->done < run)
			run = end - m->done;
	}
	/* The idle ones follow the longest, whose blocks are there. */
	for (size_t i = m->busy; i < g->l->width; i++)
		g->p[i] = g->p[0];
	return run;
}

/* What lane i still has to do, without the other lanes. */
static void mixed_alone(struct group *g, struct mixed *m, size_t i)
{
	const size_t width = g->l->width;
	kernel_compress_fn *compress = kernel_compress();
	size_t done = m->done, body = m->body[i];
	uint32_t state[8];

	for (size_t r = 0; r < 8; r++)
		state[r] = g->state[r * width + i];
	if (done < body) {
		compress(state, g->msgs[g->which[i]].p + 64 * done,
			 body - done);
		done = body;
	}
	compress(state, g->tail[i] + 64 * (done - body), m->blocks[i] - done);
	for (size_t r = 0; r < 8; r++)
		m->final[r * width + i] = state[r];
}

/* Lengths that differ, the longest in the first lane. */
static void group_mixed(struct group *g)
{
	const size_t width = g->l->width;
	struct mixed m;

	m.done = 0;
	m.busy = g->n;
	g->tail_n = SIZE_MAX;
	g->l->start(g->state);
	for (size_t i = 0; i < g->n; i++) {
		const struct bytes *msg = &g->msgs[g->which[i]];

		m.body[i] = msg->n / 64;
		m.blocks[i] = m.body[i] + pad_tail(g->tail[i], msg->p, msg->n);
	}
	while (m.busy > g->narrow) {
		size_t run = mixed_aim(g, &m);

		g->l->blocks(g->state, g->p, run);
		m.done += run;
		for (; m.busy && m.blocks[m.busy - 1] == m.done; m.busy--)
			column_copy(m.final + m.busy - 1, g->state + m.busy - 1,
				    width);
	}
	for (size_t i = 0; i < m.busy; i++)
		mixed_alone(g, &m, i);
	memcpy(g->state, m.final, sizeof(m.final));
	group_end(g);
}

/* ---- all of them ---- */

/* Longest first, by blocks. Insertion is enough for the few very long. */
static void chunk_sort(const struct bytes *msgs, size_t n, uint16_t *order)
{
	uint16_t at[CLASSES + 1] = {0};
	size_t big;

	for (size_t i = 0; i < n; i++) {
		size_t c = pad_blocks(msgs[i].n);

		at[c < CLASSES ? c : CLASSES]++;
	}
	big = at[CLASSES];
	for (size_t c = CLASSES + 1, sum = 0; c-- > 0;) {
		size_t count = at[c];

		at[c] = (uint16_t)sum;
		sum += count;
	}
	for (size_t i = 0; i < n; i++) {
		size_t c = pad_blocks(msgs[i].n);

		order[at[c < CLASSES ? c : CLASSES]++] = (uint16_t)i;
	}
	for (size_t i = 1; i < big; i++) {
		uint16_t x = order[i];
		size_t k = i;

		for (; k > 0 &&
		       pad_blocks(msgs[order[k - 1]].n) < pad_blocks(msgs[x].n);
		     k--)
			order[k] = order[k - 1];
		order[k] = x;
	}
}

static bool all_equal(const struct bytes *msgs, const uint16_t *which, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (msgs[which[i]].n != msgs[which[0]].n)
			return false;
	return true;
}

static void chunk(struct group *g, size_t n)
{
	uint16_t order[CHUNK];

	for (size_t i = 0; i < n; i++)
		order[i] = (uint16_t)i;
	g->in_order = all_equal(g->msgs, order, n);
	if (!g->in_order)
		chunk_sort(g->msgs, n, order);

	for (size_t i = 0; i < n; i += g->n) {
		g->n = n - i < g->l->width ? n - i : g->l->width;
		g->which = order + i;
		if (g->n <= g->narrow)
			for (size_t k = 0; k < g->n; k++)
				narrow_one(&g->msgs[g->which[k]], g->rounds,
					   g->out[g->which[k]]);
		else if (g->in_order || all_equal(g->msgs, g->which, g->n))
			group_equal(g, g->msgs[g->which[0]].n);
		else
			group_mixed(g);
	}
}

void lanes_batch(const struct lanes *l, const struct bytes *msgs, size_t n,
		 int rounds, uint8_t (*out)[32])
{
	struct group g;

	g.l = l;
	g.rounds = rounds;
	g.tail_n = SIZE_MAX;
	g.fixed_n = SIZE_MAX;
	/* A vector step takes as long as eight blocks by SHA instructions. */
	g.narrow = l->width / (kernel_cpu_shani() ? 4 : 16);
	for (size_t i = 0; i < n; i += CHUNK) {
		g.msgs = msgs + i;
		g.out = out + i;
		chunk(&g, n - i < CHUNK ? n - i : CHUNK);
	}
}
