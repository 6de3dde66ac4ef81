/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "asic/kernel_impl.h"

#include <immintrin.h>

/* AVX-512: rotations and every three-input function are one operation. */
#define V __m512i
#define LANES 16
#define STREAMS 2

#define v_set1(x) _mm512_set1_epi32((int)(x))
#define v_load(p) _mm512_load_si512(p)
#define v_store(p, x) _mm512_store_si512(p, x)
#define v_add(x, y) _mm512_add_epi32(x, y)
#define v_xor(x, y) _mm512_xor_si512(x, y)
#define v_xor3(x, y, z) _mm512_ternarylogic_epi32(x, y, z, 0x96)
#define v_ror(x, n) _mm512_ror_epi32(x, n)
#define v_shr(x, n) _mm512_srli_epi32(x, n)
#define v_ch(e, f, g) _mm512_ternarylogic_epi32(e, f, g, 0xca)
#define V_MAJ(a, b, c, bc) _mm512_ternarylogic_epi32(a, b, c, 0xe8)
#define v_clear_lanes(x, m) _mm512_testn_epi32_mask(x, v_set1(m))

static inline __m512i swap_bytes(__m512i x)
{
	return _mm512_shuffle_epi8(
	    x,
	    _mm512_set4_epi32(0x0c0d0e0f, 0x08090a0b, 0x04050607, 0x00010203));
}

static inline __m512i v_counts(uint32_t n)
{
	__m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
					 12, 13, 14, 15);

	return swap_bytes(_mm512_add_epi32(lane, v_set1(n)));
}

/*
 * Within each quarter of the vectors, four rows of four words become four
 * columns.
 */
static inline void turn4(__m512i *r)
{
	__m512i a = _mm512_unpacklo_epi32(r[0], r[1]);
	__m512i b = _mm512_unpackhi_epi32(r[0], r[1]);
	__m512i c = _mm512_unpacklo_epi32(r[2], r[3]);
	__m512i d = _mm512_unpackhi_epi32(r[2], r[3]);

	r[0] = _mm512_unpacklo_epi64(a, c);
	r[1] = _mm512_unpackhi_epi64(a, c);
	r[2] = _mm512_unpacklo_epi64(b, d);
	r[3] = _mm512_unpackhi_epi64(b, d);
}

static inline __m128i load_quarter(const uint8_t *p, int q)
{
	return _mm_loadu_si128((const __m128i *)(p + 16 * q));
}

/*
 * One block of each lane: w[t] gets word t of all. Moves the pointers on.
 * Quarter j of a row comes from lane 4j + i: loads put it there, which leaves
 * the one port that shuffles half of the work of a full transposition.
 */
static inline void v_load_block(__m512i *w, const uint8_t **p)
{
	for (int q = 0; q < 4; q++) {
		__m512i r[4];

		for (int i = 0; i < 4; i++) {
			__m512i x =
			    _mm512_castsi128_si512(load_quarter(p[i], q));

			x = _mm512_inserti32x4(x, load_quarter(p[4 + i], q), 1);
			x = _mm512_inserti32x4(x, load_quarter(p[8 + i], q), 2);
			x = _mm512_inserti32x4(x, load_quarter(p[12 + i], q),
					       3);
			r[i] = swap_bytes(x);
		}
		turn4(r);
		for (int i = 0; i < 4; i++)
			w[4 * q + i] = r[i];
	}
	for (int i = 0; i < 16; i++)
		p[i] += 64;
}

/* Rows H0..H7 of 16 lanes become 16 digests. */
static inline void v_store_digests(const uint32_t *h, size_t width,
				   uint8_t (*out)[32])
{
	__m512i r[8];

	for (int i = 0; i < 8; i++)
		r[i] = swap_bytes(_mm512_load_si512(h + (size_t)i * width));
	turn4(r);
	turn4(r + 4);
	for (int i = 0; i < 4; i++) {
		/* Quarter q of r[i] and r[4 + i] is the digest of 4q + i. */
		__m512i x = _mm512_shuffle_i32x4(r[i], r[4 + i], 0x44);
		__m512i y = _mm512_shuffle_i32x4(r[i], r[4 + i], 0xee);

		x = _mm512_shuffle_i32x4(x, x, 0xd8);
		y = _mm512_shuffle_i32x4(y, y, 0xd8);
		_mm256_storeu_si256((void *)out[i], _mm512_castsi512_si256(x));
		_mm256_storeu_si256((void *)out[4 + i],
				    _mm512_extracti64x4_epi64(x, 1));
		_mm256_storeu_si256((void *)out[8 + i],
				    _mm512_castsi512_si256(y));
		_mm256_storeu_si256((void *)out[12 + i],
				    _mm512_extracti64x4_epi64(y, 1));
	}
}

#include "asic/kernel_lanes.inc"

const char avx512_compiler[] = KERNEL_COMPILER;

size_t avx512_scan(const struct kernel_job *job, uint64_t start, uint64_t end,
		   uint32_t mask, uint32_t *out, size_t cap, uint64_t *next)
{
	return scan(job, start, end, mask, out, cap, next);
}

void avx512_batch(const struct bytes *msgs, size_t n, int rounds,
		  uint8_t (*out)[32])
{
	lanes_batch(&lanes, msgs, n, rounds, out);
}
