/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "asic/kernel_impl.h"

#include "asic/sha256d.h"
#include "node/base/mem.h"

/*
 * The kernel for every machine, and the one that other kernels fall back to
 * for messages that fill no vector. The same shortcuts as the vector kernels
 * (see kernel_lanes.inc), fully unrolled, since one stream fits the caches.
 */
const char scalar_compiler[] = KERNEL_COMPILER;

#define ROR(x, n) ((x) >> (n) | (x) << (32 - (n)))
#define BIG0(x) (ROR(x, 2) ^ ROR(x, 13) ^ ROR(x, 22))
#define BIG1(x) (ROR(x, 6) ^ ROR(x, 11) ^ ROR(x, 25))
#define SMALL0(x) (ROR(x, 7) ^ ROR(x, 18) ^ (x) >> 3)
#define SMALL1(x) (ROR(x, 17) ^ ROR(x, 19) ^ (x) >> 10)
#define CH(e, f, g) (((e) & ((f) ^ (g))) ^ (g))
#define MAJ(a, b, c) (((a) & (b)) | ((c) & ((a) | (b))))

/* One round; hkw is h + K + W. The new a stands where h was. */
#define ROUND(a, b, c, d, e, f, g, h, hkw) \
	do { \
		uint32_t t1_ = (hkw) + BIG1(e) + CH(e, f, g); \
		(d) += t1_; \
		(h) = t1_ + BIG0(a) + MAJ(a, b, c); \
	} while (0)
/* The same where nobody reads the new a any more. */
#define ROUND_E(a, b, c, d, e, f, g, h, hkw) \
	((d) += (hkw) + BIG1(e) + CH(e, f, g))

/* Eight rounds from round t on, after which every name is in place again. */
#define ROUND8(kw, t) \
	do { \
		ROUND(a, b, c, d, e, f, g, h, h + kw((t) + 0)); \
		ROUND(h, a, b, c, d, e, f, g, g + kw((t) + 1)); \
		ROUND(g, h, a, b, c, d, e, f, f + kw((t) + 2)); \
		ROUND(f, g, h, a, b, c, d, e, e + kw((t) + 3)); \
		ROUND(e, f, g, h, a, b, c, d, d + kw((t) + 4)); \
		ROUND(d, e, f, g, h, a, b, c, c + kw((t) + 5)); \
		ROUND(c, d, e, f, g, h, a, b, b + kw((t) + 6)); \
		ROUND(b, c, d, e, f, g, h, a, a + kw((t) + 7)); \
	} while (0)

/* W in a ring of 16. */
#define W(t) w[(t)&15]
#define EXPAND(t) \
	(W(t) += SMALL0(W((t) + 1)) + W((t) + 9) + SMALL1(W((t) + 14)))
#define KW(t) (sha256_k[t] + W(t))
#define KW_EXPAND(t) (sha256_k[t] + EXPAND(t))
#define KW_JOB(t) (job->kw[t])

void scalar_compress(uint32_t state[8], const uint8_t *blocks, size_t n)
{
	uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
	uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
	uint32_t w[16];

	for (; n; n--, blocks += 64) {
		for (int i = 0; i < 16; i++) {
			memcpy(&w[i], blocks + 4 * i, 4);
			w[i] = __builtin_bswap32(w[i]);
		}
		ROUND8(KW, 0);
		ROUND8(KW, 8);
		for (int t = 16; t < 64; t += 16) {
			ROUND8(KW_EXPAND, t);
			ROUND8(KW_EXPAND, t + 8);
		}
		a = state[0] += a;
		b = state[1] += b;
		c = state[2] += c;
		d = state[3] += d;
		e = state[4] += e;
		f = state[5] += f;
		g = state[6] += g;
		h = state[7] += h;
	}
}

/* W0..W7 of the second hash from W3 of the first one's second block. */
static inline void first_hash(const struct kernel_job *job, uint32_t w3,
			      uint32_t w[16])
{
	/* Round 3: two sums. */
	uint32_t a = w3 + job->a3, e = w3 + job->e3;
	uint32_t b = job->pre3[0], c = job->pre3[1], d = job->pre3[2];
	uint32_t f = job->pre3[4], g = job->pre3[5], h = 0;

	ROUND(a, b, c, d, e, f, g, h, job->hkw[0]);
	ROUND(h, a, b, c, d, e, f, g, job->hkw[1]);
	ROUND(g, h, a, b, c, d, e, f, job->hkw[2]);
	ROUND(f, g, h, a, b, c, d, e, e + KW_JOB(7));
	ROUND(e, f, g, h, a, b, c, d, d + KW_JOB(8));
	ROUND(d, e, f, g, h, a, b, c, c + KW_JOB(9));
	ROUND(c, d, e, f, g, h, a, b, b + KW_JOB(10));
	ROUND(b, c, d, e, f, g, h, a, a + KW_JOB(11));
	ROUND(a, b, c, d, e, f, g, h, h + KW_JOB(12));
	ROUND(h, a, b, c, d, e, f, g, g + KW_JOB(13));
	ROUND(g, h, a, b, c, d, e, f, f + KW_JOB(14));
	ROUND(f, g, h, a, b, c, d, e, e + KW_JOB(15));
	ROUND(e, f, g, h, a, b, c, d, d + KW_JOB(16));
	ROUND(d, e, f, g, h, a, b, c, c + KW_JOB(17));

	/* W5 to W14 are zero, W4 and W15 constant. */
	W(16) = job->w16;
	W(17) = job->w17;
	W(18) = job->w18 + SMALL0(w3);
	W(19) = job->w19 + w3;
	W(20) = SMALL1(W(18)) + 0x80000000;
	W(21) = SMALL1(W(19));
	W(22) = SMALL1(W(20)) + 640;
	W(23) = SMALL1(W(21)) + W(16);
	W(24) = SMALL1(W(22)) + W(17);
	W(25) = SMALL1(W(23)) + W(18);
	W(26) = SMALL1(W(24)) + W(19);
	W(27) = SMALL1(W(25)) + W(20);
	W(28) = SMALL1(W(26)) + W(21);
	W(29) = SMALL1(W(27)) + W(22);
	W(30) = SMALL1(W(28)) + W(23) + SMALL0(640u);
	W(31) = SMALL1(W(29)) + W(24) + job->w31;

	ROUND(c, d, e, f, g, h, a, b, b + KW(18));
	ROUND(b, c, d, e, f, g, h, a, a + KW(19));
	ROUND(a, b, c, d, e, f, g, h, h + KW(20));
	ROUND(h, a, b, c, d, e, f, g, g + KW(21));
	ROUND(g, h, a, b, c, d, e, f, f + KW(22));
	ROUND(f, g, h, a, b, c, d, e, e + KW(23));
	ROUND(e, f, g, h, a, b, c, d, d + KW(24));
	ROUND(d, e, f, g, h, a, b, c, c + KW(25));
	ROUND(c, d, e, f, g, h, a, b, b + KW(26));
	ROUND(b, c, d, e, f, g, h, a, a + KW(27));
	/* Round 28 stands where round 4 began: the names are in place. */
	ROUND(a, b, c, d, e, f, g, h, h + KW(28));
	ROUND(h, a, b, c, d, e, f, g, g + KW(29));
	ROUND(g, h, a, b, c, d, e, f, f + KW(30));
	ROUND(f, g, h, a, b, c, d, e, e + KW(31));
	for (int t = 32; t < 64; t += 16) {
		ROUND(e, f, g, h, a, b, c, d, d + KW_EXPAND(t));
		ROUND(d, e, f, g, h, a, b, c, c + KW_EXPAND(t + 1));
		ROUND(c, d, e, f, g, h, a, b, b + KW_EXPAND(t + 2));
		ROUND(b, c, d, e, f, g, h, a, a + KW_EXPAND(t + 3));
		ROUND8(KW_EXPAND, t + 4);
		ROUND(a, b, c, d, e, f, g, h, h + KW_EXPAND(t + 12));
		ROUND(h, a, b, c, d, e, f, g, g + KW_EXPAND(t + 13));
		ROUND(g, h, a, b, c, d, e, f, f + KW_EXPAND(t + 14));
		ROUND(f, g, h, a, b, c, d, e, e + KW_EXPAND(t + 15));
	}
	/* Four rounds past a multiple of eight: a stands in e, and so on. */
	w[0] = job->mid[0] + e;
	w[1] = job->mid[1] + f;
	w[2] = job->mid[2] + g;
	w[3] = job->mid[3] + h;
	w[4] = job->mid[4] + a;
	w[5] = job->mid[5] + b;
	w[6] = job->mid[6] + c;
	w[7] = job->mid[7] + d;
}

/* H7 of the second hash: known after round 60. */
static inline uint32_t second_hash(uint32_t w[16])
{
	uint32_t a = sha256_iv[0], b = sha256_iv[1], c = sha256_iv[2];
	uint32_t d = sha256_iv[3], e = sha256_iv[4], f = sha256_iv[5];
	uint32_t g = sha256_iv[6], h = sha256_iv[7];

	w[8] = 0x80000000;
	memset(w + 9, 0, 6 * sizeof(w[0]));
	w[15] = 256;
	ROUND8(KW, 0);
	ROUND8(KW, 8);
	for (int t = 16; t < 48; t += 16) {
		ROUND8(KW_EXPAND, t);
		ROUND8(KW_EXPAND, t + 8);
	}
	ROUND8(KW_EXPAND, 48);
	ROUND(a, b, c, d, e, f, g, h, h + KW_EXPAND(56));
	ROUND_E(h, a, b, c, d, e, f, g, g + KW_EXPAND(57));
	ROUND_E(g, h, a, b, c, d, e, f, f + KW_EXPAND(58));
	ROUND_E(f, g, h, a, b, c, d, e, e + KW_EXPAND(59));
	ROUND_E(e, f, g, h, a, b, c, d, d + KW_EXPAND(60));
	return sha256_iv[7] + h;
}

size_t scalar_scan(const struct kernel_job *job, uint64_t start, uint64_t end,
		   uint32_t mask, uint32_t *out, size_t cap, uint64_t *next)
{
	size_t found = 0;
	uint32_t w[16];
	uint64_t n;

	for (n = start; n < end && found < cap; n++) {
		first_hash(job, __builtin_bswap32((uint32_t)n), w);
		if ((second_hash(w) & mask) == 0)
			out[found++] = (uint32_t)n;
	}
	*next = n;
	return found;
}

void scalar_batch(const struct bytes *msgs, size_t n, int rounds,
		  uint8_t (*out)[32])
{
	uint32_t state[8];
	uint8_t tail[128];

	for (size_t i = 0; i < n; i++) {
		const struct bytes *m = &msgs[i];

		memcpy(state, sha256_iv, sizeof(state));
		scalar_compress(state, m->p, m->n / 64);
		scalar_compress(state, tail, pad_tail(tail, m->p, m->n));
		put_digest(out[i], state);
		if (rounds < 2)
			continue;
		memcpy(state, sha256_iv, sizeof(state));
		scalar_compress(state, tail, pad_tail(tail, out[i], 32));
		put_digest(out[i], state);
	}
}
