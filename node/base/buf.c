/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/buf.h"

#include <sodium.h>

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_FIRST 64
#define BUF_MAX (SIZE_MAX / 4) /* doubling and NUL cannot overflow below it */

void buf_release(struct buf *b)
{
	free(b->p);
	*b = (struct buf){0};
}

void buf_clear(struct buf *b)
{
	b->n = 0;
}

void buf_reserve(struct buf *b, size_t more)
{
	assert(more <= BUF_MAX && b->n <= BUF_MAX);
	if (b->cap - b->n >= more)
		return;
	size_t cap = b->cap ? b->cap * 2 : BUF_FIRST;
	if (cap < b->n + more)
		cap = b->n + more;
	b->p = xrealloc(b->p, cap);
	b->cap = cap;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
	if (!n)
		return;
	buf_reserve(b, n);
	memcpy(b->p + b->n, p, n);
	b->n += n;
}

void buf_add_str(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;

	va_start(ap, fmt);
	va_copy(again, ap);
	buf_reserve(b, BUF_FIRST);
	int n = vsnprintf((char *)b->p + b->n, b->cap - b->n, fmt, ap);
	assert(n >= 0);
	if ((size_t)n >= b->cap - b->n) {
		buf_reserve(b, (size_t)n + 1);
		vsnprintf((char *)b->p + b->n, (size_t)n + 1, fmt, again);
	}
	b->n += (size_t)n;
	va_end(again);
	va_end(ap);
}

void buf_drop(struct buf *b, size_t n)
{
	assert(n <= b->n);
	b->n -= n;
	if (b->n && n)
		memmove(b->p, b->p + n, b->n);
}

uint8_t *buf_take(struct buf *b, size_t *n)
{
	uint8_t *p = b->p;
	*n = b->n;
	*b = (struct buf){0};
	return p;
}

const char *buf_str(struct buf *b)
{
	buf_reserve(b, 1);
	b->p[b->n] = 0;
	return (const char *)b->p;
}

void buf_u8(struct buf *b, uint8_t v)
{
	buf_reserve(b, 1);
	b->p[b->n++] = v;
}

void buf_be16(struct buf *b, uint16_t v)
{
	const uint8_t t[2] = {(uint8_t)(v >> 8), (uint8_t)v};
	buf_add(b, t, sizeof(t));
}

void buf_be32(struct buf *b, uint32_t v)
{
	buf_reserve(b, 4);
	put_be32(b->p + b->n, v);
	b->n += 4;
}

struct reader reader_of(const void *p, size_t n)
{
	/* NULL + 0 is undefined in C, an empty reader is not. */
	static const uint8_t none[1];
	const uint8_t *q = p ? p : none;
	return (struct reader){q, q + (p ? n : 0), false};
}

size_t reader_left(const struct reader *r)
{
	return r->failed ? 0 : (size_t)(r->end - r->p);
}

const uint8_t *read_bytes(struct reader *r, size_t n)
{
	if (r->failed || (size_t)(r->end - r->p) < n) {
		r->failed = true;
		return NULL;
	}
	const uint8_t *p = r->p;
	r->p += n;
	return p;
}

uint8_t read_u8(struct reader *r)
{
	const uint8_t *p = read_bytes(r, 1);
	return p ? *p : 0;
}

uint16_t read_be16(struct reader *r)
{
	const uint8_t *p = read_bytes(r, 2);
	return p ? (uint16_t)(p[0] << 8 | p[1]) : 0;
}

uint32_t read_be32(struct reader *r)
{
	const uint8_t *p = read_bytes(r, 4);
	return p ? get_be32(p) : 0;
}

void hex_encode(const void *p, size_t n, char *out)
{
	assert(n < BUF_MAX);
	sodium_bin2hex(out, n * 2 + 1, p, n);
}

char *hex_dup(const void *p, size_t n)
{
	char *s = xmalloc(n * 2 + 1);
	hex_encode(p, n, s);
	return s;
}

/* sodium_hex2bin writes what it has read before it meets a bad digit; looking
 * first keeps our outputs untouched on failure. */
static bool all_hex(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const unsigned char c = (unsigned char)s[i];
		const unsigned char lower = c | 0x20;
		if (!(c >= '0' && c <= '9') && !(lower >= 'a' && lower <= 'f'))
			return false;
	}
	return true;
}

bool hex_decode(const char *hex, void *out, size_t n)
{
	if (n >= BUF_MAX || strnlen(hex, n * 2 + 1) != n * 2 ||
	    !all_hex(hex, n * 2))
		return false;
	return !sodium_hex2bin(out, n, hex, n * 2, NULL, NULL, NULL);
}

enum err hex_decode_buf(const char *hex, size_t len, size_t max,
			struct buf *out)
{
	if (len % 2 || !all_hex(hex, len))
		return ERR_INPUT;
	if (len / 2 > max)
		return ERR_LIMIT;
	if (!len)
		return OK;
	buf_reserve(out, len / 2);
	if (sodium_hex2bin(out->p + out->n, len / 2, hex, len, NULL, NULL,
			   NULL))
		return ERR_INPUT;
	out->n += len / 2;
	return OK;
}
