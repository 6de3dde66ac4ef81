/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <immintrin.h>

#include "asic/kernel_impl.h"

/*
 * AVX2: a rotation is three operations and Ch three, so that one stream keeps
 * the ports busy, and 16 registers hold no second one.
 */
#define V __m256i
#define LANES 8
#ifndef STREAMS
#define STREAMS 1
#endif

#define v_set1(x) _mm256_set1_epi32((int)(x))
#define v_load(p) _mm256_load_si256((const __m256i *)(p))
#define v_store(p, x) _mm256_store_si256((__m256i *)(p), x)
#define v_add(x, y) _mm256_add_epi32(x, y)
#define v_xor(x, y) _mm256_xor_si256(x, y)
#define v_xor3(x, y, z) v_xor(v_xor(x, y), z)
#define v_shr(x, n) _mm256_srli_epi32(x, n)
#define v_ror(x, n) \
	v_xor(_mm256_srli_epi32(x, n), _mm256_slli_epi32(x, 32 - (n)))

static inline __m256i v_ch(__m256i e, __m256i f, __m256i g)
{
	return v_xor(_mm256_and_si256(v_xor(f, g), e), g);
}

/* Where a and b differ, c decides; the a ^ b of one round is the b ^ c of the
 * next. */
static inline __m256i maj(__m256i a, __m256i b, __m256i *bc)
{
	__m256i ab = v_xor(a, b), x = v_xor(_mm256_and_si256(ab, *bc), b);

	*bc = ab;
	return x;
}
#define V_MAJ(a, b, c, bc) maj(a, b, &(bc))

static inline unsigned v_clear_lanes(__m256i x, uint32_t m)
{
	x = _mm256_cmpeq_epi32(_mm256_and_si256(x, v_set1(m)),
			       _mm256_setzero_si256());
	return (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(x));
}

static inline __m256i swap_bytes(__m256i x)
{
	return _mm256_shuffle_epi8(
	    x, _mm256_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203,
				 0x0c0d0e0f08090a0b, 0x0405060700010203));
}

static inline __m256i v_counts(uint32_t n)
{
	__m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);

	return swap_bytes(_mm256_add_epi32(lane, v_set1(n)));
}

/* Eight rows of eight words become eight columns. */
static inline void turn8(__m256i *r)
{
	__m256i t[8], u[8];

	for (int i = 0; i < 8; i += 2) {
		t[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
		t[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
	}
	for (int i = 0; i < 8; i += 4) {
		u[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
		u[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
		u[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
		u[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
	}
	for (int i = 0; i < 4; i++) {
		r[i] = _mm256_permute2x128_si256(u[i], u[i + 4], 0x20);
		r[i + 4] = _mm256_permute2x128_si256(u[i], u[i + 4], 0x31);
	}
}

/* One block of each lane: w[t] gets word t of all. Moves the pointers on. */
static inline void v_load_block(__m256i *w, const uint8_t **p)
{
	for (int half = 0; half < 2; half++) {
		__m256i r[8];

		for (int i = 0; i < 8; i++) {
			r[i] = swap_bytes(
			    _mm256_loadu_si256((const __m256i *)p[i]));
			p[i] += 32;
		}
		turn8(r);
		for (int i = 0; i < 8; i++)
			w[8 * half + i] = r[i];
	}
}

/* Rows H0..H7 of eight lanes become eight digests. */
static inline void v_store_digests(const uint32_t *h, size_t width,
				   uint8_t (*out)[32])
{
	__m256i r[8];

	for (int i = 0; i < 8; i++)
		r[i] = swap_bytes(v_load(h + (size_t)i * width));
	turn8(r);
	for (int i = 0; i < 8; i++)
		_mm256_storeu_si256((__m256i *)out[i], r[i]);
}

#include "asic/kernel_lanes.h"

const char avx2_compiler[] = KERNEL_COMPILER;

size_t avx2_scan(const struct kernel_job *job, uint64_t start, uint64_t end,
		 uint32_t mask, uint32_t *out, size_t cap, uint64_t *next)
{
	return scan(job, start, end, mask, out, cap, next);
}

void avx2_batch(const struct bytes *msgs, size_t n, int rounds,
		uint8_t (*out)[32])
{
	lanes_batch(&lanes, msgs, n, rounds, out);
}
