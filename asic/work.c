/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "asic/work.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct field scan_work_fields[] = {
    FIELD_FIXED(struct scan_work, header, "80 bytes as hashed"),
    FIELD_U64(struct scan_work, start, NONCES, "first nonce"),
    FIELD_U64(struct scan_work, end, NONCES, "one past the last nonce"),
    FIELD_U64(struct scan_work, share_bits, 32, "leading zero bits of a share"),
};
const struct message scan_work_message =
    MESSAGE("scan_work", struct scan_work, scan_work_fields);

enum err scan_work_check(const struct scan_work *w)
{
	if (w->start >= w->end || w->end > NONCES || w->share_bits > 32)
		return ERR_INPUT;
	return OK;
}

unsigned target_zero_bits(const uint8_t target[static 32])
{
	unsigned bits = 0;

	for (int i = 31; i >= 0; i--, bits += 8)
		if (target[i])
			return bits +
			       (unsigned)__builtin_clz((unsigned)target[i]) -
			       24;
	return bits;
}

/*
 * Bitcoin's compact form: one byte of exponent (length in bytes), a sign bit
 * and 23 bits of mantissa. A target that is negative, zero or over 256 bits
 * is no target.
 */
bool target_from_nbits(uint32_t nbits, uint8_t out[static 32])
{
	uint8_t t[32] = {0};
	uint32_t mantissa = nbits & 0x7fffff;
	int size = (int)(nbits >> 24);

	if (nbits & 0x800000)
		return false;
	for (int i = 0; i < 3; i++) {
		int at = size - 3 + i;
		uint8_t byte = (uint8_t)(mantissa >> 8 * i);
		if (at >= 0 && at < 32)
			t[at] = byte;
		else if (at >= 32 && byte)
			return false;
	}
	if (target_zero_bits(t) == 256)
		return false;
	memcpy(out, t, 32);
	return true;
}

uint32_t header_nbits(const uint8_t header[static HEADER_SIZE])
{
	return get_le32(header + 72);
}

/* 0xffff shifted left by 208: pool difficulty 1. */
#define DIFF1_MANTISSA 65535.0
#define DIFF1_SHIFT 208

/*
 * diff1 / d with the 53 bits that a double has, truncated: more than any
 * difficulty is written with. Byte by byte from the top, so that no big
 * number is needed.
 */
bool target_from_difficulty(double d, uint8_t out[static 32])
{
	uint8_t t[32] = {0};

	if (!isfinite(d) || d <= 0)
		return false;
	double q = ldexp(DIFF1_MANTISSA / d, DIFF1_SHIFT - 248);
	if (q >= 256) { /* more than 2^256: everything is a hit */
		memset(out, 0xff, 32);
		return true;
	}
	for (int i = 31; i >= 0; i--) {
		double byte = floor(q);
		t[i] = (uint8_t)byte;
		q = (q - byte) * 256;
	}
	if (target_zero_bits(t) == 256)
		return false;
	memcpy(out, t, 32);
	return true;
}

double target_difficulty(const uint8_t target[static 32])
{
	double v = 0;

	for (int i = 31; i >= 0; i--)
		v += ldexp(target[i], 8 * i);
	return v > 0 ? ldexp(DIFF1_MANTISSA, DIFF1_SHIFT) / v : INFINITY;
}

static bool parse_difficulty(const char *text, uint8_t out[static 32])
{
	char *end;

	if ((*text < '0' || *text > '9') && *text != '.')
		return false;
	double d = strtod(text, &end);
	return !*end && target_from_difficulty(d, out);
}

enum err target_parse(const char *text, uint8_t out[static 32], struct buf *why)
{
	uint8_t be[32];
	size_t n = strlen(text);

	if (!strncmp(text, "diff", 4) && parse_difficulty(text + 4, out))
		return OK;
	if (n == 8 && hex_decode(text, be, 4)) {
		if (target_from_nbits(get_be32(be), out))
			return OK;
		buf_printf(why,
			   "target %s: as nBits this is negative, zero or "
			   "over 256 bits",
			   text);
		return ERR_INPUT;
	}
	if (n == 64 && hex_decode(text, be, 32)) {
		for (int i = 0; i < 32; i++)
			out[i] = be[31 - i];
		if (target_zero_bits(out) < 256)
			return OK;
		buf_add_str(why, "target: zero, no hash can meet it");
		return ERR_INPUT;
	}
	buf_add_str(why, "target: give 8 hex digits (nBits, such as 1d00ffff), "
			 "64 hex digits (as explorers show a hash), or a "
			 "difficulty such as diff1 or diff0.001");
	return ERR_INPUT;
}

void digest_show(const uint8_t digest[static 32], char out[static 65])
{
	uint8_t be[32];

	for (int i = 0; i < 32; i++)
		be[i] = digest[31 - i];
	hex_encode(be, 32, out);
}

enum err header_parse(const char *hex, size_t n,
		      uint8_t out[static HEADER_SIZE], struct buf *why)
{
	struct buf b = {0};
	enum err e = OK;

	if ((n != 152 && n != 160) ||
	    hex_decode_buf(hex, n, HEADER_SIZE, &b) != OK) {
		buf_printf(why,
			   "header: give 80 bytes as 160 hex digits (or 152 "
			   "without the nonce); this has %zu characters%s",
			   n,
			   n == 152 || n == 160 ? " that are not all hex" : "");
		e = ERR_INPUT;
	} else {
		memset(out, 0, HEADER_SIZE);
		memcpy(out, b.p, b.n);
	}
	buf_release(&b);
	return e;
}
