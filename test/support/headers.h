/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_TEST_SUPPORT_HEADERS_H
#define HN_TEST_SUPPORT_HEADERS_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Real block headers and what is known of them; and cheap noise for tests. */
struct known_header {
	const char *name;
	const char *header;   /* as hashed */
	const char *hash;     /* as explorers show it; may be its beginning */
	const char *midstate; /* H0..H7, big-endian words; or NULL */
	uint32_t nonce;
	unsigned zero_bits; /* of the hash */
};

static const struct known_header known_headers[] = {
    {"genesis",
     "01000000"
     "0000000000000000000000000000000000000000000000000000000000000000"
     "3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a"
     "29ab5f49ffff001d1dac2b7c",
     "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
     "bc909a336358bff090ccac7d1e59caa8c3c8d8e94f0103c896b187364719f91b",
     0x7c2bac1d, 43},
    {"125552",
     "01000000"
     "81cd02ab7e569e8bcd9317e2fe99f2de44d49ab2b8851ba4a308000000000000"
     "e320b6c2fffc8d750423db8b1eb942ae710e951ed797f7affc8892b0f1fc122b"
     "c7f5d74df2b9441a42a14695",
     "00000000000000001e8d6829a8a21adc5d38d0a473b144b6765798e61f98bd1d",
     "9524c59305c5671316e669ba2d2810a007e86e372f56a9dacd5bce697a78da2d",
     0x9546a142, 67},
    {"driver self test",
     "02000000067a0058c8b07b03af53e2990cf169c3a862779e3bd373aa34000000"
     "000000008746519d9fda7f8ff1767f7f5167aac1afe379f6b222f7f3ac0e0b03"
     "975d4f81baf30152f2db7219359131ae",
     "0000000017534538", NULL, 0xae319135, 35},
};

static inline void unhex(const char *hex, uint8_t *out, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char byte[3] = {hex[2 * i], hex[2 * i + 1], 0};

		out[i] = (uint8_t)strtoul(byte, NULL, 16);
	}
}

/* xorshift64*: the same on every machine. The seed is not 0. */
static inline uint32_t noise32(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (uint32_t)(*state * 0x2545f4914f6cdd1d >> 32);
}

static inline void noise_fill(uint64_t *state, uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)noise32(state);
}

#endif
