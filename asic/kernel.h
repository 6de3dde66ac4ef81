/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_ASIC_KERNEL_H
#define HN_ASIC_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes;

/*
 * What a scan needs of one block header, computed once: the midstate, the
 * states after the rounds that do not see the nonce, and whatever of the
 * schedule the nonce does not reach. Plain data: copy it freely, read it from
 * any number of threads. Names are those of FIPS 180-4 for the header's second
 * block: schedule words W0..W63, constants K0..K63, states a..h.
 */
struct kernel_job {
	uint32_t mid[8];   /* H0..H7 after header bytes 0..63 */
	uint32_t pre2[8];  /* a..h after rounds 0 and 1 */
	uint32_t pre3[8];  /* a..h after rounds 0 to 2 */
	uint32_t tail[3];  /* W0..W2: header bytes 64..75 */
	uint32_t a3, e3;   /* a and e after round 3, less W3 */
	uint32_t hkw[3];   /* h + K + W of rounds 4, 5, 6 */
	uint32_t kw[18];   /* K + W of rounds 0..17, except round 3 */
	uint32_t w16, w17; /* W16, W17 */
	uint32_t w18, w19; /* W18 less s0(W3), W19 less W3 */
	uint32_t w31, w32; /* the constant parts of W31, W32 */
};

/* Bytes 76..79 of the header, the nonce, are not looked at. */
void kernel_job_init(struct kernel_job *job, const uint8_t header[static 80]);

/*
 * The mask that H7, the last word of the big-endian SHA-256 state, must have
 * clear for the displayed hash (the digest read as a little-endian number) to
 * begin with that many zero bits. 0..32; more is 32, the rest is the judge's.
 */
uint32_t kernel_mask(unsigned zero_bits);

/*
 * One way to compute, for one family of instructions. The functions keep no
 * state, allocate nothing, and may be called from any thread; they must only
 * be called where usable() says so.
 */
struct kernel {
	const char *name;     /* "scalar", "shani", "avx2", "avx512" */
	const char *compiler; /* which one built it, with its version */
	bool (*usable)(void);

	/*
	 * Scans the nonces start <= n < end, end <= 2^32, where nonce n is the
	 * integer whose little-endian bytes stand at header bytes 76..79.
	 * Those whose SHA-256d leaves (H7 & mask) == 0 go to out in ascending
	 * order, cap of them at most (cap >= 1); returns how many. *next is
	 * the first nonce not scanned: end, unless out filled up before.
	 */
	size_t (*scan)(const struct kernel_job *job, uint64_t start,
		       uint64_t end, uint32_t mask, uint32_t *out, size_t cap,
		       uint64_t *next);

	/*
	 * Digests of n messages of any length, in their order. rounds: 1 for
	 * SHA-256, 2 for SHA-256 of the SHA-256.
	 */
	void (*batch)(const struct bytes *msgs, size_t n, int rounds,
		      uint8_t (*out)[32]);
};

/* Every kernel of this build, usable here or not, simplest first. */
const struct kernel *kernel_list(size_t *n);
const struct kernel *kernel_find(const char *name); /* NULL: no such kernel */

/*
 * The usable kernel that scans (or digests short messages) fastest on this
 * machine. The first call measures for at most 0.2 s; the answers stay the
 * same afterwards. Any thread. Never NULL: scalar is usable everywhere.
 */
const struct kernel *kernel_best(void);
const struct kernel *kernel_best_batch(void);

#endif
