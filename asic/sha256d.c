/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "asic/sha256d.h"

#include <string.h>

/* FIPS 180-4, 4.2.2 */
const uint32_t sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
    0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
    0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
    0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
    0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

/* FIPS 180-4, 5.3.3 */
const uint32_t sha256_iv[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
			       0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

static uint32_t ror(uint32_t x, unsigned n)
{
	return x >> n | x << (32 - n);
}

static uint32_t get_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

static void put_be32(uint8_t *p, uint32_t x)
{
	p[0] = x >> 24;
	p[1] = x >> 16;
	p[2] = x >> 8;
	p[3] = x;
}

static void put_state(uint8_t *out, const uint32_t *state)
{
	for (int i = 0; i < 8; i++)
		put_be32(out + 4 * i, state[i]);
}

/* FIPS 180-4, 6.2.2 */
void sha256_compress(uint32_t state[static 8], const uint8_t block[static 64])
{
	uint32_t w[64], v[8];

	for (int t = 0; t < 16; t++)
		w[t] = get_be32(block + 4 * t);
	for (int t = 16; t < 64; t++) {
		uint32_t x = w[t - 15], y = w[t - 2];

		w[t] = w[t - 16] + (ror(x, 7) ^ ror(x, 18) ^ x >> 3) +
		       w[t - 7] + (ror(y, 17) ^ ror(y, 19) ^ y >> 10);
	}

	memcpy(v, state, sizeof(v));
	for (int t = 0; t < 64; t++) {
		uint32_t a = v[0], e = v[4];
		uint32_t t1 = v[7] + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) +
			      ((e & v[5]) ^ (~e & v[6])) + sha256_k[t] + w[t];
		uint32_t t2 = (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) +
			      ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));

		memmove(v + 1, v, 7 * sizeof(v[0]));
		v[0] = t1 + t2;
		v[4] += t1;
	}
	for (int i = 0; i < 8; i++)
		state[i] += v[i];
}

void sha256(const void *msg, size_t n, uint8_t out[static SHA256_BYTES])
{
	const uint8_t *p = msg;
	uint64_t bits = (uint64_t)n * 8;
	uint32_t state[8];
	uint8_t tail[128] = {0};
	size_t end;

	memcpy(state, sha256_iv, sizeof(state));
	for (; n >= 64; p += 64, n -= 64)
		sha256_compress(state, p);

	if (n)
		memcpy(tail, p, n);
	tail[n] = 0x80;
	end = n < 56 ? 64 : 128;
	put_be32(tail + end - 8, bits >> 32);
	put_be32(tail + end - 4, (uint32_t)bits);
	for (size_t i = 0; i < end; i += 64)
		sha256_compress(state, tail + i);
	put_state(out, state);
}

void sha256d(const void *msg, size_t n, uint8_t out[static SHA256_BYTES])
{
	uint8_t first[SHA256_BYTES];

	sha256(msg, n, first);
	sha256(first, sizeof(first), out);
}

void sha256d_midstate(const uint8_t header[static 64], uint32_t state[static 8])
{
	memcpy(state, sha256_iv, sizeof(sha256_iv));
	sha256_compress(state, header);
}

void sha256d_header(const uint8_t header[static HEADER_BYTES], uint32_t nonce,
		    uint8_t out[static SHA256_BYTES])
{
	uint8_t copy[HEADER_BYTES];

	memcpy(copy, header, HEADER_BYTES - 4);
	for (int i = 0; i < 4; i++)
		copy[HEADER_BYTES - 4 + i] = (uint8_t)(nonce >> 8 * i);
	sha256d(copy, sizeof(copy), out);
}

bool sha256d_meets(const uint8_t digest[static SHA256_BYTES],
		   const uint8_t target[static SHA256_BYTES])
{
	for (int i = SHA256_BYTES - 1; i >= 0; i--)
		if (digest[i] != target[i])
			return digest[i] < target[i];
	return true;
}

unsigned sha256d_zero_bits(const uint8_t digest[static SHA256_BYTES])
{
	unsigned bits = 0;

	for (int i = SHA256_BYTES - 1; i >= 0; i--) {
		if (digest[i])
			return bits + (unsigned)__builtin_clz(digest[i]) - 24;
		bits += 8;
	}
	return bits;
}
