/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_BASE_BUF_H
#define HN_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/err.h"
#include "node/base/mem.h"

/*
 * Growable bytes. Zero-initialised is empty and ready. The owner calls
 * buf_release. As text it is kept NUL-terminated by buf_str.
 */
struct buf {
	uint8_t *p;
	size_t n, cap;
};

void buf_release(struct buf *b);
void buf_clear(struct buf *b); /* n = 0, memory kept */
void buf_reserve(struct buf *b, size_t more);
void buf_add(struct buf *b, const void *p, size_t n);
void buf_add_str(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void buf_drop(struct buf *b, size_t n);	     /* removes the first n bytes */
uint8_t *buf_take(struct buf *b, size_t *n); /* caller frees; b is empty */
const char *buf_str(struct buf *b);	     /* NUL-terminated view */

void buf_u8(struct buf *b, uint8_t v);
void buf_be16(struct buf *b, uint16_t v);
void buf_be32(struct buf *b, uint32_t v);

/*
 * A bounded reader with a sticky failure: after the first read past the end
 * every read gives zeros. Read all fields, then check ok once.
 */
struct reader {
	const uint8_t *p, *end;
	bool failed;
};

struct reader reader_of(const void *p, size_t n);
uint8_t read_u8(struct reader *r);
uint16_t read_be16(struct reader *r);
uint32_t read_be32(struct reader *r);
const uint8_t *read_bytes(struct reader *r, size_t n); /* NULL if failed */
size_t reader_left(const struct reader *r);

/* Fixed-width integers in memory. */
static inline uint32_t get_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}
static inline uint32_t get_le32(const uint8_t *p)
{
	return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 |
	       (uint32_t)p[1] << 8 | p[0];
}
static inline void put_be32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}
static inline void put_le32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
	p[2] = (uint8_t)(v >> 16);
	p[3] = (uint8_t)(v >> 24);
}
static inline void put_be64(uint8_t *p, uint64_t v)
{
	put_be32(p, (uint32_t)(v >> 32));
	put_be32(p + 4, (uint32_t)v);
}
static inline uint64_t get_be64(const uint8_t *p)
{
	return (uint64_t)get_be32(p) << 32 | get_be32(p + 4);
}

/* out holds 2n + 1 chars. Lower case. */
void hex_encode(const void *p, size_t n, char *out);
char *hex_dup(const void *p, size_t n); /* caller frees */
/* Exactly n bytes from 2n hex digits of either case and then the end. */
bool hex_decode(const char *hex, void *out, size_t n);
/* Any even number of digits, at most max bytes; ERR_INPUT or ERR_LIMIT. */
enum err hex_decode_buf(const char *hex, size_t len, size_t max,
			struct buf *out) HN_CHECK;

#endif
