/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_ASIC_WORK_H
#define HN_ASIC_WORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/fields.h"

/*
 * Work and result types of hash devices, target arithmetic, and their wire
 * form (field tables). Pure; any thread.
 *
 * A header is 80 bytes as hashed. A nonce is the integer whose little-endian
 * bytes stand at 76..79. A digest is 32 bytes as SHA-256 gives it; as a
 * number it is little-endian (explorers show the bytes reversed). A target is
 * 32 bytes little-endian, too: a digest is a hit when digest <= target.
 */
#define HEADER_SIZE 80
#define NONCES (UINT64_C(1) << 32)

/* One range of one header: nonces [start, end). */
struct scan_work {
	uint8_t header[HEADER_SIZE]; /* the nonce in it is ignored */
	uint64_t start, end;	     /* end <= NONCES */
	uint64_t share_bits;	     /* k of D15, 0..32 */
};
extern const struct message scan_work_message;
enum err scan_work_check(const struct scan_work *w) HN_CHECK;

/* Is a digest a share or a hit: sha256d_zero_bits, sha256d_meets. */
unsigned target_zero_bits(const uint8_t target[static 32]); /* 0..256 */
/* Compact form (BIP: "nBits"); false when negative, overflowing or zero. */
bool target_from_nbits(uint32_t nbits, uint8_t out[static 32]);
uint32_t header_nbits(const uint8_t header[static HEADER_SIZE]);
/* diff1 target / difficulty (pool difficulty 1 = 0x00000000ffff0000...). */
bool target_from_difficulty(double d, uint8_t out[static 32]);
double target_difficulty(const uint8_t target[static 32]);
/* D16: 8 hex digits nbits, 64 as explorers show it, "diff1", "diff0.001". */
enum err target_parse(const char *text, uint8_t out[static 32],
		      struct buf *why) HN_CHECK;
/* 64 hex digits as explorers show a digest or target. */
void digest_show(const uint8_t digest[static 32], char out[static 65]);
/* 76 or 80 bytes as hex. */
enum err header_parse(const char *hex, size_t n,
		      uint8_t out[static HEADER_SIZE],
		      struct buf *why) HN_CHECK;

#endif
