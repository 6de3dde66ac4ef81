/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "asic/kernel_impl.h"

#include "asic/sha256d.h"
#include "node/base/mem.h"

#include <immintrin.h>

/*
 * The SHA instructions. sha256rnds2 does two rounds and waits for the two
 * before, so that one hash alone uses half of what the unit can do: streams
 * of independent hashes are interleaved step by step. The state lives in two
 * registers, from the lowest word up: abef = F E B A, cdgh = H G D C; each
 * sha256rnds2 turns the older of both into the newer.
 *
 * Shortcuts of the scan: rounds 0 and 1 are in the job; W16 to W31 of the
 * first hash have constant parts; of the second hash only H7 is wanted, which
 * is E after round 60 and lies in abef as F after round 61.
 */
const char shani_compiler[] = KERNEL_COMPILER;

#define STREAMS 2

struct stream {
	__m128i abef, cdgh;
	__m128i m0, m1, m2, m3; /* 16 words of the schedule */
};

/* The same step for each stream; `streams` is a constant where it is used. */
#define EACH(...) \
	do { \
		{ \
			struct stream *s = &st[0]; \
			__VA_ARGS__; \
		} \
		if (streams > 1) { \
			struct stream *s = &st[1]; \
			__VA_ARGS__; \
		} \
	} while (0)

static inline __m128i k4(int t)
{
	return _mm_load_si128((const __m128i *)&sha256_k[t]);
}

/* Four rounds; kw is K + W of them. */
static inline void rounds4(struct stream *s, __m128i kw)
{
	s->cdgh = _mm_sha256rnds2_epu32(s->cdgh, s->abef, kw);
	s->abef = _mm_sha256rnds2_epu32(s->abef, s->cdgh,
					_mm_shuffle_epi32(kw, 0x0e));
}

/* W[t..t+3] from the 16 words before: a oldest, d newest. */
static inline __m128i expand(__m128i a, __m128i b, __m128i c, __m128i d)
{
	a = _mm_add_epi32(_mm_sha256msg1_epu32(a, b), _mm_alignr_epi8(d, c, 4));
	return _mm_sha256msg2_epu32(a, d);
}

#define ROUNDS16_EXPAND(t) \
	do { \
		EACH(s->m0 = expand(s->m0, s->m1, s->m2, s->m3); \
		     rounds4(s, _mm_add_epi32(s->m0, k4(t)))); \
		EACH(s->m1 = expand(s->m1, s->m2, s->m3, s->m0); \
		     rounds4(s, _mm_add_epi32(s->m1, k4((t) + 4)))); \
		EACH(s->m2 = expand(s->m2, s->m3, s->m0, s->m1); \
		     rounds4(s, _mm_add_epi32(s->m2, k4((t) + 8)))); \
		EACH(s->m3 = expand(s->m3, s->m0, s->m1, s->m2); \
		     rounds4(s, _mm_add_epi32(s->m3, k4((t) + 12)))); \
	} while (0)

/* ---- states in memory: H0..H7 ---- */

static inline void state_load(struct stream *s, const uint32_t h[8])
{
	__m128i dcba = _mm_loadu_si128((const __m128i *)h);
	__m128i hgfe = _mm_loadu_si128((const __m128i *)(h + 4));
	__m128i cdab = _mm_shuffle_epi32(dcba, 0xb1);
	__m128i efgh = _mm_shuffle_epi32(hgfe, 0x1b);

	s->abef = _mm_alignr_epi8(cdab, efgh, 8);
	s->cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
}

/* H0..H3 and H4..H7 in the order of memory. */
static inline void state_split(const struct stream *s, __m128i *lo, __m128i *hi)
{
	__m128i abef = _mm_shuffle_epi32(s->abef, 0x1b);
	__m128i cdgh = _mm_shuffle_epi32(s->cdgh, 0x1b);

	*lo = _mm_unpacklo_epi64(abef, cdgh);
	*hi = _mm_unpackhi_epi64(abef, cdgh);
}

static inline void state_store(const struct stream *s, uint32_t h[8])
{
	__m128i lo, hi;

	state_split(s, &lo, &hi);
	_mm_storeu_si128((__m128i *)h, lo);
	_mm_storeu_si128((__m128i *)(h + 4), hi);
}

/* ---- scan ---- */

/* The constants of a scan as registers hold them. */
struct scan {
	struct stream pre;  /* after round 1 */
	__m128i mid0, mid1; /* H0..H3, H4..H7 after the first block */
	uint64_t kw23;	    /* K2 + W2, K3 */
	__m128i kw[3];	    /* K + W of rounds 4 to 15 */
	__m128i w16;	    /* W16..W19 less the nonce's parts */
	__m128i w28;	    /* the constant parts of W28..W31 */
	struct stream iv;
	uint32_t mask;
};

static void scan_init(struct scan *c, const struct kernel_job *job,
		      uint32_t mask)
{
	state_load(&c->pre, job->pre2);
	state_load(&c->iv, sha256_iv);
	c->mid0 = _mm_loadu_si128((const __m128i *)job->mid);
	c->mid1 = _mm_loadu_si128((const __m128i *)(job->mid + 4));
	c->kw23 = job->kw[2] | (uint64_t)sha256_k[3] << 32;
	for (int i = 0; i < 3; i++)
		c->kw[i] =
		    _mm_loadu_si128((const __m128i *)&job->kw[4 + 4 * i]);
	c->w16 = _mm_set_epi32((int)job->w19, (int)job->w18, (int)job->w17,
			       (int)job->w16);
	/* W12 to W14 are zero: what is left is s0(W15) and W15 + s0(W16). */
	c->w28 = _mm_set_epi32((int)job->w31, 0x00a00055, 0, 0);
	c->mask = mask;
}

static inline uint32_t small0(uint32_t x)
{
	return (x >> 7 | x << 25) ^ (x >> 18 | x << 14) ^ x >> 3;
}

/* Rounds 2 and 3, and W16..W19. */
static inline void scan_start(struct stream *s, const struct scan *c,
			      uint32_t nonce)
{
	uint64_t w3 = __builtin_bswap32(nonce);
	/* No carry leaves the upper half, none enters it. */
	uint64_t kw = c->kw23 + (w3 << 32);
	uint64_t w18 = small0((uint32_t)w3) | w3 << 32;

	s->cdgh = c->pre.abef;
	s->abef = _mm_sha256rnds2_epu32(c->pre.cdgh, c->pre.abef,
					_mm_cvtsi64_si128((long long)kw));
	s->m0 = _mm_add_epi32(
	    c->w16, _mm_slli_si128(_mm_cvtsi64_si128((long long)w18), 8));
}

/* The first hash's state becomes W0..W7 of the second. */
static inline void scan_turn(struct stream *s, const struct scan *c)
{
	__m128i lo, hi;

	state_split(s, &lo, &hi);
	s->m0 = _mm_add_epi32(lo, c->mid0);
	s->m1 = _mm_add_epi32(hi, c->mid1);
	s->abef = c->iv.abef;
	s->cdgh = c->iv.cdgh;
}

/* H7 of the STREAMS nonces from n on, in h7. */
static inline void scan_step(const struct scan *c, uint32_t n,
			     uint32_t h7[STREAMS])
{
	enum { streams = STREAMS };
	const __m128i w4 = _mm_set_epi32(0, 0, 0, (int)0x80000000);
	const __m128i w12 = _mm_set_epi32(640, 0, 0, 0);
	const __m128i w12_2 = _mm_set_epi32(256, 0, 0, 0);
	struct stream st[STREAMS];

	EACH(scan_start(s, c, n + (uint32_t)(s - st)));
	EACH(rounds4(s, c->kw[0]));
	EACH(rounds4(s, c->kw[1]));
	EACH(rounds4(s, c->kw[2]));
	EACH(rounds4(s, _mm_add_epi32(s->m0, k4(16))));

	/* W20..W31: the message words but W4 and W15 are zero. */
	EACH(s->m1 = _mm_alignr_epi8(s->m0, w12, 4);
	     s->m1 = _mm_sha256msg2_epu32(_mm_add_epi32(s->m1, w4), s->m0);
	     rounds4(s, _mm_add_epi32(s->m1, k4(20))));
	EACH(s->m2 = _mm_alignr_epi8(s->m1, s->m0, 4);
	     s->m2 = _mm_sha256msg2_epu32(s->m2, s->m1);
	     rounds4(s, _mm_add_epi32(s->m2, k4(24))));
	EACH(s->m3 = _mm_alignr_epi8(s->m2, s->m1, 4);
	     s->m3 = _mm_sha256msg2_epu32(_mm_add_epi32(s->m3, c->w28), s->m2);
	     rounds4(s, _mm_add_epi32(s->m3, k4(28))));
	ROUNDS16_EXPAND(32);
	ROUNDS16_EXPAND(48);

	EACH(scan_turn(s, c));
	EACH(rounds4(s, _mm_add_epi32(s->m0, k4(0))));
	EACH(rounds4(s, _mm_add_epi32(s->m1, k4(4))));
	EACH(rounds4(s, _mm_add_epi32(w4, k4(8))));
	EACH(rounds4(s, _mm_add_epi32(w12_2, k4(12))));
	/* W16..W27: W8 = w4, W9 to W14 are zero, W15 = 256. */
	EACH(s->m0 = _mm_sha256msg2_epu32(_mm_sha256msg1_epu32(s->m0, s->m1),
					  w12_2);
	     rounds4(s, _mm_add_epi32(s->m0, k4(16))));
	EACH(s->m1 = expand(s->m1, w4, w12_2, s->m0);
	     rounds4(s, _mm_add_epi32(s->m1, k4(20))));
	EACH(s->m2 = _mm_add_epi32(w4, _mm_alignr_epi8(s->m1, s->m0, 4));
	     s->m2 = _mm_sha256msg2_epu32(s->m2, s->m1);
	     rounds4(s, _mm_add_epi32(s->m2, k4(24))));
	EACH(s->m3 = expand(w12_2, s->m0, s->m1, s->m2);
	     rounds4(s, _mm_add_epi32(s->m3, k4(28))));
	ROUNDS16_EXPAND(32);
	EACH(s->m0 = expand(s->m0, s->m1, s->m2, s->m3);
	     rounds4(s, _mm_add_epi32(s->m0, k4(48))));
	EACH(s->m1 = expand(s->m1, s->m2, s->m3, s->m0);
	     rounds4(s, _mm_add_epi32(s->m1, k4(52))));
	EACH(s->m2 = expand(s->m2, s->m3, s->m0, s->m1);
	     rounds4(s, _mm_add_epi32(s->m2, k4(56))));
	/* Rounds 60 and 61 are the last that H7 waits for. */
	EACH(s->m3 = expand(s->m3, s->m0, s->m1, s->m2);
	     s->cdgh = _mm_sha256rnds2_epu32(s->cdgh, s->abef,
					     _mm_add_epi32(s->m3, k4(60))));
	EACH(h7[s - st] = (uint32_t)_mm_cvtsi128_si32(s->cdgh) + sha256_iv[7]);
}

size_t shani_scan(const struct kernel_job *job, uint64_t start, uint64_t end,
		  uint32_t mask, uint32_t *out, size_t cap, uint64_t *next)
{
	size_t found = 0;
	struct scan c;
	uint64_t n;

	scan_init(&c, job, mask);
	for (n = start; n < end; n += STREAMS) {
		uint32_t h7[STREAMS];

		scan_step(&c, (uint32_t)n, h7);
		for (unsigned i = 0; i < STREAMS; i++) {
			if (h7[i] & mask || n + i >= end)
				continue;
			out[found++] = (uint32_t)(n + i);
			if (found == cap) {
				*next = n + i + 1;
				return found;
			}
		}
	}
	*next = end;
	return found;
}

/* ---- messages ---- */

static inline __m128i load_be(const uint8_t *p)
{
	const __m128i swap =
	    _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);

	return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)p), swap);
}

/* n blocks into each of one or two states; moves the pointers on. */
static inline __attribute__((always_inline)) void compress(
    const int streams, uint32_t (*state)[8], const uint8_t **blocks, size_t n)
{
	struct stream st[STREAMS], old[STREAMS];

	EACH(state_load(s, state[s - st]));
	for (; n; n--) {
		EACH(old[s - st] = *s; const uint8_t *p = blocks[s - st];
		     s->m0 = load_be(p); s->m1 = load_be(p + 16);
		     s->m2 = load_be(p + 32); s->m3 = load_be(p + 48);
		     blocks[s - st] = p + 64);
		EACH(rounds4(s, _mm_add_epi32(s->m0, k4(0))));
		EACH(rounds4(s, _mm_add_epi32(s->m1, k4(4))));
		EACH(rounds4(s, _mm_add_epi32(s->m2, k4(8))));
		EACH(rounds4(s, _mm_add_epi32(s->m3, k4(12))));
		for (int t = 16; t < 64; t += 16)
			ROUNDS16_EXPAND(t);
		EACH(s->abef = _mm_add_epi32(s->abef, old[s - st].abef);
		     s->cdgh = _mm_add_epi32(s->cdgh, old[s - st].cdgh));
	}
	EACH(state_store(s, state[s - st]));
}

void shani_compress(uint32_t state[8], const uint8_t *blocks, size_t n)
{
	compress(1, (uint32_t(*)[8])state, &blocks, n);
}

/* The messages of a batch flow through two streams, each as it gets free. */
struct feed {
	const struct bytes *msgs;
	uint8_t (*out)[32];
	size_t taken, n; /* messages begun, messages in all */
	int rounds;
	uint32_t state[STREAMS][8];
	const uint8_t *blocks[STREAMS]; /* what is next, and how much of it */
	size_t left[STREAMS];
	size_t msg[STREAMS]; /* which message the stream works on */
	int to_go[STREAMS];  /* hashes begun or to do; 0: the stream rests */
	bool padded[STREAMS];
	uint8_t tail[STREAMS][128];
};

/* Gives stream i, which has no block left, its next ones or lets it rest. */
static void feed_next(struct feed *f, int i)
{
	const struct bytes *m = &f->msgs[f->msg[i]];

	while (f->left[i] == 0) {
		if (f->to_go[i] && !f->padded[i]) {
			f->padded[i] = true;
			f->blocks[i] = f->tail[i];
			f->left[i] = pad_tail(f->tail[i], m->p, m->n);
			return;
		}
		if (f->to_go[i])
			put_digest(f->out[f->msg[i]], f->state[i]);
		memcpy(f->state[i], sha256_iv, sizeof(sha256_iv));
		if (f->to_go[i] > 1) {
			f->to_go[i]--;
			f->blocks[i] = f->tail[i];
			f->left[i] =
			    pad_tail(f->tail[i], f->out[f->msg[i]], 32);
			return;
		}
		f->to_go[i] = 0;
		if (f->taken == f->n)
			return;
		f->msg[i] = f->taken++;
		m = &f->msgs[f->msg[i]];
		f->to_go[i] = f->rounds;
		f->padded[i] = false;
		f->blocks[i] = m->p;
		f->left[i] = m->n / 64;
	}
}

void shani_batch(const struct bytes *msgs, size_t n, int rounds,
		 uint8_t (*out)[32])
{
	struct feed f;

	f.msgs = msgs;
	f.out = out;
	f.taken = 0;
	f.n = n;
	f.rounds = rounds;
	if (n == 0)
		return;
	for (int i = 0; i < STREAMS; i++) {
		f.left[i] = 0;
		f.msg[i] = 0;
		f.to_go[i] = 0;
		feed_next(&f, i);
	}
	while (f.to_go[0] && f.to_go[1]) {
		size_t both = f.left[0] < f.left[1] ? f.left[0] : f.left[1];

		compress(2, f.state, f.blocks, both);
		for (int i = 0; i < STREAMS; i++) {
			f.left[i] -= both;
			feed_next(&f, i);
		}
	}
	for (int i = 0; i < STREAMS; i++)
		while (f.to_go[i]) {
			compress(1, &f.state[i], &f.blocks[i], f.left[i]);
			f.left[i] = 0;
			feed_next(&f, i);
		}
}
