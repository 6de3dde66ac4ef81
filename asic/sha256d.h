/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_ASIC_SHA256D_H
#define HN_ASIC_SHA256D_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * SHA-256 (FIPS 180-4) and SHA-256 of SHA-256, plainly written: the judge of
 * every hit that a device or a kernel reports, and the reference of the tests.
 * Pure functions, any thread, no allocation.
 *
 * A digest here is bytes as hashed. Explorers display the 32 bytes of a block
 * hash in opposite order: the digest read as a little-endian number.
 */
#define SHA256_BYTES 32
#define HEADER_BYTES 80

/* K0..K63 and the first H0..H7, aligned for vectors. */
extern const uint32_t sha256_k[64] __attribute__((aligned(64)));
extern const uint32_t sha256_iv[8] __attribute__((aligned(64)));

/* One 64-byte block into the state H0..H7. */
void sha256_compress(uint32_t state[static 8], const uint8_t block[static 64]);

void sha256(const void *msg, size_t n, uint8_t out[static SHA256_BYTES]);
void sha256d(const void *msg, size_t n, uint8_t out[static SHA256_BYTES]);

/* H0..H7 after the first 64 bytes of a block header. */
void sha256d_midstate(const uint8_t header[static 64],
		      uint32_t state[static 8]);

/* SHA-256d of the header with this nonce in place of its bytes 76..79 (LE). */
void sha256d_header(const uint8_t header[static HEADER_BYTES], uint32_t nonce,
		    uint8_t out[static SHA256_BYTES]);

/*
 * Both are numbers in little-endian bytes: is the digest <= target? The rule
 * of Bitcoin's proof of work.
 */
bool sha256d_meets(const uint8_t digest[static SHA256_BYTES],
		   const uint8_t target[static SHA256_BYTES]);

/* How many of the displayed hash's leading bits are zero: 0..256. */
unsigned sha256d_zero_bits(const uint8_t digest[static SHA256_BYTES]);

#endif
