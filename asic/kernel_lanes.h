/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The vector kernels: one SHA-256 per lane. This is the body of kernel_avx2.c
 * and kernel_avx512.c, which include it after defining
 *
 *   V, LANES, STREAMS   the vector, its 32-bit lanes, how many vectors at once
 *   v_set1 v_load v_store v_add v_xor v_xor3 v_ror v_shr v_ch
 *   V_MAJ(a, b, c, bc)  bc keeps b ^ c from one round to the next, if wanted
 *   v_counts(n)         W3 of the nonces n, n + 1, ...
 *   v_clear_lanes(x, m) a bit for each lane with (x & m) == 0
 *   v_load_block, v_store_digests   transpositions
 *
 * Two streams: a round is a chain of dependent operations, shorter on some
 * processors than its count divided by the ports, longer on others. Two
 * independent vectors fill the gaps; three do not fit the registers.
 * The rounds are rolled into bodies of eight, W is kept in memory: unrolled,
 * two streams exceed the cache of decoded instructions and even the first
 * level of the plain one. The streams alternate round by round (EACH).
 *
 * The shortcuts of a scan, counted per vector: round 3 of the first hash is
 * two sums, rounds 4 to 17 add constants, W18 to W32 are partly constant; of
 * the second hash, W8 to W15 are constant, W16 to W31 partly, only H7 is
 * computed, which is e after round 60, for which rounds 57 to 60 need no new
 * a. That leaves 2,850 operations where three plain blocks take 5,400.
 */
#ifndef HN_ASIC_KERNEL_LANES_H
#define HN_ASIC_KERNEL_LANES_H

#include "asic/kernel_impl.h"

#include "asic/sha256d.h"

#define INLINE static inline __attribute__((always_inline))

struct stream {
	V a, b, c, d, e, f, g, h, bc;
};

#define EACH(...) \
	do { \
		{ \
			enum { i = 0 }; \
			struct stream *s = &st[0]; \
			(void)s; \
			__VA_ARGS__; \
		} \
		{ \
			enum { i = 1 }; \
			struct stream *s = &st[1]; \
			(void)s; \
			__VA_ARGS__; \
		} \
	} while (0)
INLINE V big0(V x)
{
	return v_xor3(v_ror(x, 2), v_ror(x, 13), v_ror(x, 22));
}

INLINE V big1(V x)
{
	return v_xor3(v_ror(x, 6), v_ror(x, 11), v_ror(x, 25));
}

INLINE V small0(V x)
{
	return v_xor3(v_ror(x, 7), v_ror(x, 18), v_shr(x, 3));
}

INLINE V small1(V x)
{
	return v_xor3(v_ror(x, 17), v_ror(x, 19), v_shr(x, 10));
}

INLINE V v_add3(V x, V y, V z)
{
	return v_add(v_add(x, y), z);
}

/* One round; hkw is h + K + W. The new a stands where h was. */
#define ROUND(A, B, C, D, E, F, G, H, hkw) \
	do { \
		V t1_ = v_add3(hkw, v_ch(s->E, s->F, s->G), big1(s->E)); \
		V t2_ = big0(s->A); \
		s->D = v_add(s->D, t1_); \
		t1_ = v_add(t1_, V_MAJ(s->A, s->B, s->C, s->bc)); \
		s->H = v_add(t1_, t2_); \
	} while (0)
/* The same where nobody reads the new a any more. */
#define ROUND_E(A, B, C, D, E, F, G, H, hkw) \
	(s->D = v_add3(s->D, hkw, v_add(v_ch(s->E, s->F, s->G), big1(s->E))))

/* Rounds t to t + 7 of all streams, after which the names are in place. */
#define ROUND8(hkw, t) \
	do { \
		EACH(ROUND(a, b, c, d, e, f, g, h, hkw(h, (t) + 0))); \
		EACH(ROUND(h, a, b, c, d, e, f, g, hkw(g, (t) + 1))); \
		EACH(ROUND(g, h, a, b, c, d, e, f, hkw(f, (t) + 2))); \
		EACH(ROUND(f, g, h, a, b, c, d, e, hkw(e, (t) + 3))); \
		EACH(ROUND(e, f, g, h, a, b, c, d, hkw(d, (t) + 4))); \
		EACH(ROUND(d, e, f, g, h, a, b, c, hkw(c, (t) + 5))); \
		EACH(ROUND(c, d, e, f, g, h, a, b, hkw(b, (t) + 6))); \
		EACH(ROUND(b, c, d, e, f, g, h, a, hkw(a, (t) + 7))); \
	} while (0)

/*
 * gcc would carry many words from round to round in registers, and for that
 * spill the states: it is not to know what memory holds.
 */
#ifdef __clang__
#define IN_MEMORY(x) ((void)0)
#else
#define IN_MEMORY(x) __asm__("" : "+m"(x))
#endif

/* W of stream i at round t is w[i][t]. */
INLINE V expand(V *w)
{
	V x = v_add(v_add(w[-16], small0(w[-15])), v_add(w[-7], small1(w[-2])));

	*w = x;
	IN_MEMORY(*w);
	return x;
}

#define K1(t) v_set1(sha256_k[t])
#define HKW(H, t) v_add3(s->H, w[i][t], K1(t))
#define HKW_EXPAND(H, t) v_add3(s->H, K1(t), expand(&w[i][t]))
#define HKW_FIXED(H, t) v_add(s->H, v_set1(kw[t]))

/* The compiler is not to unroll what is rolled on purpose. */
#ifdef __clang__
#define ROLLED _Pragma("clang loop unroll(disable)")
#else
#define ROLLED _Pragma("GCC unroll 1")
#endif

/* States in memory: row r of `width` words is H[r] of every lane. */
INLINE void state_load(struct stream *s, const uint32_t *h, size_t width)
{
	s->a = v_load(h);
	s->b = v_load(h + width);
	s->c = v_load(h + 2 * width);
	s->d = v_load(h + 3 * width);
	s->e = v_load(h + 4 * width);
	s->f = v_load(h + 5 * width);
	s->g = v_load(h + 6 * width);
	s->h = v_load(h + 7 * width);
	s->bc = v_xor(s->b, s->c);
}

INLINE void row_add(V *x, uint32_t *h)
{
	*x = v_add(*x, v_load(h));
	v_store(h, *x);
}

INLINE void state_add(struct stream *s, uint32_t *h, size_t width)
{
	row_add(&s->a, h);
	row_add(&s->b, h + width);
	row_add(&s->c, h + 2 * width);
	row_add(&s->d, h + 3 * width);
	row_add(&s->e, h + 4 * width);
	row_add(&s->f, h + 5 * width);
	row_add(&s->g, h + 6 * width);
	row_add(&s->h, h + 7 * width);
	s->bc = v_xor(s->b, s->c);
}

/* ---- scan ---- */

/*
 * The state after round 3, as the names are before round 4, and the words of
 * the first hash that see the nonce early. What round 4 calls a is in e, what
 * it calls e is in a: from round 8 on all are in place.
 */
INLINE void scan_start(struct stream *s, V *w, const struct kernel_job *job,
		       V w3)
{
	s->e = v_add(w3, v_set1(job->a3));
	s->f = v_set1(job->pre3[0]);
	s->g = v_set1(job->pre3[1]);
	s->h = v_set1(job->pre3[2]);
	s->a = v_add(w3, v_set1(job->e3));
	s->b = v_set1(job->pre3[4]);
	s->c = v_set1(job->pre3[5]);
	s->bc = v_xor(s->f, s->g);

	w[16] = v_set1(job->w16);
	w[17] = v_set1(job->w17);
	w[18] = v_add(small0(w3), v_set1(job->w18));
	w[19] = v_add(w3, v_set1(job->w19));
}

/* W20..W31 of the first hash: W5 to W14 are zero, W4 and W15 constant. */
INLINE void scan_expand(V *w, const struct kernel_job *job)
{
	w[20] = v_add(small1(w[18]), v_set1(0x80000000));
	w[21] = small1(w[19]);
	w[22] = v_add(small1(w[20]), v_set1(640));
	w[23] = v_add(small1(w[21]), w[16]);
	w[24] = v_add(small1(w[22]), w[17]);
	w[25] = v_add(small1(w[23]), w[18]);
	w[26] = v_add(small1(w[24]), w[19]);
	w[27] = v_add(small1(w[25]), w[20]);
	w[28] = v_add(small1(w[26]), w[21]);
	w[29] = v_add(small1(w[27]), w[22]);
	w[30] = v_add3(small1(w[28]), w[23], v_set1(0x00a00055));
	w[31] = v_add3(small1(w[29]), w[24], v_set1(job->w31));
}

/*
 * The second hash begins with constants: a and e after round 0 less W0, h + K
 * of rounds 1 to 3, K + W of rounds 8 to 15.
 */
#define AGAIN_A0 0xfc08884d
#define AGAIN_E0 0x98c7e2a2
static const uint32_t again_hk[4] = {0, 0x90bb1e3c, 0x50c6645b, 0x3ac42e24};
static const uint32_t again_kw[8] = {0x5807aa98, 0x12835b01, 0x243185be,
				     0x550c7dc3, 0x72be5d74, 0x80deb1fe,
				     0x9bdc06a7, 0xc19bf274};
#define HKW_AGAIN(H, t) v_add(s->H, v_set1(again_kw[(t)-8]))

/* The state, with what it began with added, becomes W0..W7. */
INLINE void state_turn(const struct stream *s, V *w, const uint32_t h[8])
{
	w[0] = v_add(s->a, v_set1(h[0]));
	w[1] = v_add(s->b, v_set1(h[1]));
	w[2] = v_add(s->c, v_set1(h[2]));
	w[3] = v_add(s->d, v_set1(h[3]));
	w[4] = v_add(s->e, v_set1(h[4]));
	w[5] = v_add(s->f, v_set1(h[5]));
	w[6] = v_add(s->g, v_set1(h[6]));
	w[7] = v_add(s->h, v_set1(h[7]));
}

/* Round 0 from the initial state: two sums. Then round 1 calls a h. */
INLINE void again_start(struct stream *s, const V *w)
{
	s->h = v_add(w[0], v_set1(AGAIN_A0));
	s->a = v_set1(sha256_iv[0]);
	s->b = v_set1(sha256_iv[1]);
	s->c = v_set1(sha256_iv[2]);
	s->d = v_add(w[0], v_set1(AGAIN_E0));
	s->e = v_set1(sha256_iv[4]);
	s->f = v_set1(sha256_iv[5]);
	s->bc = v_xor(s->a, s->b);
}

/* W16..W31 of a 32-byte message: W8 = 2^31, W9 to W14 zero, W15 = 256. */
INLINE void again_expand(V *w)
{
	w[16] = v_add(w[0], small0(w[1]));
	w[17] = v_add3(w[1], small0(w[2]), v_set1(0x00a00000));
	w[18] = v_add3(w[2], small0(w[3]), small1(w[16]));
	w[19] = v_add3(w[3], small0(w[4]), small1(w[17]));
	w[20] = v_add3(w[4], small0(w[5]), small1(w[18]));
	w[21] = v_add3(w[5], small0(w[6]), small1(w[19]));
	w[22] = v_add(v_add3(w[6], small0(w[7]), small1(w[20])), v_set1(256));
	w[23] = v_add(v_add3(w[7], w[16], small1(w[21])), v_set1(0x11002000));
	w[24] = v_add3(w[17], small1(w[22]), v_set1(0x80000000));
	w[25] = v_add(w[18], small1(w[23]));
	w[26] = v_add(w[19], small1(w[24]));
	w[27] = v_add(w[20], small1(w[25]));
	w[28] = v_add(w[21], small1(w[26]));
	w[29] = v_add(w[22], small1(w[27]));
	w[30] = v_add3(w[23], small1(w[28]), v_set1(0x00400022));
	w[31] = v_add(v_add3(w[24], small1(w[29]), small0(w[16])), v_set1(256));
}

/* Rounds 0 to 15 of the second hash; then its W16..W31. */
INLINE void again_first16(struct stream *st, V w[][64])
{
	EACH(again_start(s, w[i]));
	EACH(
	    ROUND(h, a, b, c, d, e, f, g, v_add(w[i][1], v_set1(again_hk[1]))));
	EACH(
	    ROUND(g, h, a, b, c, d, e, f, v_add(w[i][2], v_set1(again_hk[2]))));
	EACH(
	    ROUND(f, g, h, a, b, c, d, e, v_add(w[i][3], v_set1(again_hk[3]))));
	EACH(ROUND(e, f, g, h, a, b, c, d, HKW(d, 4)));
	EACH(ROUND(d, e, f, g, h, a, b, c, HKW(c, 5)));
	EACH(ROUND(c, d, e, f, g, h, a, b, HKW(b, 6)));
	EACH(ROUND(b, c, d, e, f, g, h, a, HKW(a, 7)));
	ROUND8(HKW_AGAIN, 8);
	EACH(again_expand(w[i]));
}

/* H7 of LANES * STREAMS nonces from n on. */
INLINE void scan_step(const struct kernel_job *job, uint32_t n, V h7[STREAMS])
{
	const uint32_t *kw = job->kw;
	struct stream st[STREAMS];
	V w[STREAMS][64];

	EACH(scan_start(s, w[i], job, v_counts(n + LANES * i)));
	EACH(ROUND(e, f, g, h, a, b, c, d, v_set1(job->hkw[0])));
	EACH(ROUND(d, e, f, g, h, a, b, c, v_set1(job->hkw[1])));
	EACH(ROUND(c, d, e, f, g, h, a, b, v_set1(job->hkw[2])));
	EACH(ROUND(b, c, d, e, f, g, h, a, HKW_FIXED(a, 7)));
	ROUND8(HKW_FIXED, 8);
	EACH(scan_expand(w[i], job));
	ROLLED for (int t = 16; t < 32; t += 8) ROUND8(HKW, t);
	ROLLED for (int t = 32; t < 64; t += 8) ROUND8(HKW_EXPAND, t);

	EACH(state_turn(s, w[i], job->mid));
	again_first16(st, w);
	ROLLED for (int t = 16; t < 32; t += 8) ROUND8(HKW, t);
	ROLLED for (int t = 32; t < 56; t += 8) ROUND8(HKW_EXPAND, t);
	EACH(ROUND(a, b, c, d, e, f, g, h, HKW_EXPAND(h, 56)));
	EACH(ROUND_E(h, a, b, c, d, e, f, g, HKW_EXPAND(g, 57)));
	EACH(ROUND_E(g, h, a, b, c, d, e, f, HKW_EXPAND(f, 58)));
	EACH(ROUND_E(f, g, h, a, b, c, d, e, HKW_EXPAND(e, 59)));
	EACH(ROUND_E(e, f, g, h, a, b, c, d, HKW_EXPAND(d, 60)));
	EACH(h7[i] = v_add(s->h, v_set1(sha256_iv[7])));
}

static size_t scan(const struct kernel_job *job, uint64_t start, uint64_t end,
		   uint32_t mask, uint32_t *out, size_t cap, uint64_t *next)
{
	enum { STEP = LANES * STREAMS };
	size_t found = 0;

	for (uint64_t n = start; n < end; n += STEP) {
		V h7[STREAMS];
		uint32_t hits = 0;

		scan_step(job, (uint32_t)n, h7);
		for (int i = 0; i < STREAMS; i++)
			hits |= (uint32_t)v_clear_lanes(h7[i], mask)
				<< i * LANES;
		for (; hits; hits &= hits - 1) {
			uint64_t hit = n + (unsigned)__builtin_ctz(hits);

			if (hit >= end)
				break;
			out[found++] = (uint32_t)hit;
			if (found == cap) {
				*next = hit + 1;
				return found;
			}
		}
	}
	*next = end > start ? end : start;
	return found;
}

/* ---- messages: struct lanes of kernel_impl.h ---- */

static void blocks(uint32_t *state, const uint8_t **p, size_t n)
{
	const size_t width = LANES * STREAMS;
	struct stream st[STREAMS];
	V w[STREAMS][64];

	EACH(state_load(s, state + i * LANES, width));
	for (; n; n--) {
		EACH(v_load_block(w[i], p + i * LANES));
		ROLLED for (int t = 0; t < 16; t += 8) ROUND8(HKW, t);
		ROLLED for (int t = 16; t < 64; t += 8) ROUND8(HKW_EXPAND, t);
		EACH(state_add(s, state + i * LANES, width));
	}
}

static void start(uint32_t *state)
{
	for (int r = 0; r < 8; r++)
		for (int i = 0; i < STREAMS; i++, state += LANES)
			v_store(state, v_set1(sha256_iv[r]));
}

static void fixed(uint32_t *state, const uint32_t kw[64])
{
	const size_t width = LANES * STREAMS;
	struct stream st[STREAMS];

	EACH(state_load(s, state + i * LANES, width));
	ROLLED for (int t = 0; t < 64; t += 8) ROUND8(HKW_FIXED, t);
	EACH(state_add(s, state + i * LANES, width));
}

static void again(uint32_t *state)
{
	const size_t width = LANES * STREAMS;
	struct stream st[STREAMS];
	V w[STREAMS][64];

	EACH(for (int r = 0; r < 8; r++) w[i][r] =
		 v_load(state + r * width + i * LANES));
	again_first16(st, w);
	ROLLED for (int t = 16; t < 32; t += 8) ROUND8(HKW, t);
	ROLLED for (int t = 32; t < 64; t += 8) ROUND8(HKW_EXPAND, t);
	EACH(state_turn(s, w[i], sha256_iv));
	EACH(for (int r = 0; r < 8; r++)
		 v_store(state + r * width + i * LANES, w[i][r]));
}

static void digests(const uint32_t *state, uint8_t (*out)[32])
{
	for (int i = 0; i < STREAMS; i++)
		v_store_digests(state + i * LANES, LANES * STREAMS,
				out + i * LANES);
}

static const struct lanes lanes = {LANES * STREAMS, start, blocks,
				   fixed,	    again, digests};

#endif
