/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Writing is msgpack-c's packer with a buf as its sink.
 *
 * Reading is ours: msgpack-c's unpacker builds a tree of objects in memory it
 * allocates itself, 24 bytes and more for each byte of input, before anybody
 * has looked at a limit. The cursor here decodes one head at a time from
 * borrowed bytes, allocates nothing, and believes no length or count beyond
 * the bytes that are there. What it accepts is the whole of MessagePack;
 * integers in any width that holds them.
 */
#include "node/base/pack.h"

#include "node/base/utf8.h"

#include <msgpack/pack.h>

#include <assert.h>
#include <string.h>

static int on_write(void *data, const char *p, size_t n)
{
	struct buf *b = data;
	buf_add(b, p, n);
	return 0;
}

static msgpack_packer packer_on(struct buf *b)
{
	return (msgpack_packer){b, on_write};
}

void pack_array(struct buf *b, size_t n)
{
	assert(n <= UINT32_MAX);
	msgpack_packer pk = packer_on(b);
	msgpack_pack_array(&pk, n);
}

void pack_uint(struct buf *b, uint64_t v)
{
	msgpack_packer pk = packer_on(b);
	msgpack_pack_uint64(&pk, v);
}

void pack_int(struct buf *b, int64_t v)
{
	msgpack_packer pk = packer_on(b);
	msgpack_pack_int64(&pk, v);
}

void pack_bool(struct buf *b, bool v)
{
	msgpack_packer pk = packer_on(b);
	if (v)
		msgpack_pack_true(&pk);
	else
		msgpack_pack_false(&pk);
}

void pack_nil(struct buf *b)
{
	msgpack_packer pk = packer_on(b);
	msgpack_pack_nil(&pk);
}

void pack_double(struct buf *b, double v)
{
	msgpack_packer pk = packer_on(b);
	msgpack_pack_double(&pk, v);
}

void pack_str(struct buf *b, const char *s, size_t n)
{
	assert(n <= UINT32_MAX);
	msgpack_packer pk = packer_on(b);
	msgpack_pack_str(&pk, n);
	msgpack_pack_str_body(&pk, s, n);
}

void pack_bin(struct buf *b, const void *p, size_t n)
{
	assert(n <= UINT32_MAX);
	msgpack_packer pk = packer_on(b);
	msgpack_pack_bin(&pk, n);
	msgpack_pack_bin_body(&pk, p, n);
}

/* What one head can announce; BAD is the byte that no value begins with. */
enum kind {
	KIND_BAD,
	KIND_NIL,
	KIND_BOOL,
	KIND_UINT,
	KIND_INT,
	KIND_FLOAT,
	KIND_STR,
	KIND_BIN,
	KIND_EXT,
	KIND_ARRAY,
	KIND_MAP
};

struct head {
	enum kind kind;
	/* Value of a bool, UINT or INT (two's complement, negative), bits of a
	 * FLOAT, body bytes of STR, BIN and EXT, elements of ARRAY and MAP. */
	uint64_t v;
	size_t width; /* bytes after the first that belong to the head */
};

/* First bytes 0xc0 to 0xdf: kind and big-endian bytes that follow. For ext of
 * fixed size the body is known, its length stands in `fixed`. */
static const struct head_form {
	uint8_t kind, width, fixed;
} forms[32] = {
    {KIND_NIL, 0, 0},  {KIND_BAD, 0, 0},   {KIND_BOOL, 0, 0},
    {KIND_BOOL, 0, 1}, {KIND_BIN, 1, 0},   {KIND_BIN, 2, 0},
    {KIND_BIN, 4, 0},  {KIND_EXT, 1, 0},   {KIND_EXT, 2, 0},
    {KIND_EXT, 4, 0},  {KIND_FLOAT, 4, 0}, {KIND_FLOAT, 8, 0},
    {KIND_UINT, 1, 0}, {KIND_UINT, 2, 0},  {KIND_UINT, 4, 0},
    {KIND_UINT, 8, 0}, {KIND_INT, 1, 0},   {KIND_INT, 2, 0},
    {KIND_INT, 4, 0},  {KIND_INT, 8, 0},   {KIND_EXT, 0, 1},
    {KIND_EXT, 0, 2},  {KIND_EXT, 0, 4},   {KIND_EXT, 0, 8},
    {KIND_EXT, 0, 16}, {KIND_STR, 1, 0},   {KIND_STR, 2, 0},
    {KIND_STR, 4, 0},  {KIND_ARRAY, 2, 0}, {KIND_ARRAY, 4, 0},
    {KIND_MAP, 2, 0},  {KIND_MAP, 4, 0},
};

static size_t left(const struct unpack *u)
{
	return (size_t)(u->end - u->p);
}

void unpack_fail(struct unpack *u, enum err e)
{
	if (!u->err)
		u->err = e;
	u->p = u->end;
}

static uint64_t sign_extend(uint64_t v, size_t width)
{
	const uint64_t top = (uint64_t)1 << (width * 8 - 1);
	return (v ^ top) - top;
}

static struct head head_wide(struct unpack *u, const struct head_form *form)
{
	struct head h = {form->kind, form->fixed, form->width};

	if (h.kind == KIND_BAD || left(u) - 1 < h.width) {
		unpack_fail(u, ERR_PROTO);
		return (struct head){KIND_BAD, 0, 0};
	}
	for (size_t i = 0; i < h.width; i++)
		h.v = h.v << 8 | u->p[1 + i];
	if (h.kind == KIND_INT) {
		h.v = sign_extend(h.v, h.width);
		if (h.v <= INT64_MAX)
			h.kind = KIND_UINT;
	}
	if (h.kind == KIND_EXT)
		h.v++; /* the type byte counts as body */
	return h;
}

/* The head at the cursor, which does not move. KIND_BAD at the end of the
 * input; there, unlike elsewhere, without failing. */
static struct head head_of(struct unpack *u)
{
	if (u->err || u->p == u->end)
		return (struct head){KIND_BAD, 0, 0};
	const uint8_t c = *u->p;
	if (c < 0x80)
		return (struct head){KIND_UINT, c, 0};
	if (c < 0x90)
		return (struct head){KIND_MAP, c & 15, 0};
	if (c < 0xa0)
		return (struct head){KIND_ARRAY, c & 15, 0};
	if (c < 0xc0)
		return (struct head){KIND_STR, c & 31, 0};
	if (c >= 0xe0)
		return (struct head){KIND_INT, sign_extend(c, 1), 0};
	return head_wide(u, &forms[c - 0xc0]);
}

static void consume(struct unpack *u, const struct head *h)
{
	u->p += 1 + h->width;
}

/* Consumes a head of this kind and gives its value; fails on others. */
static uint64_t expect(struct unpack *u, enum kind kind)
{
	const struct head h = head_of(u);
	if (h.kind != kind) {
		unpack_fail(u, ERR_PROTO);
		return 0;
	}
	consume(u, &h);
	return h.v;
}

struct unpack unpack_of(const void *p, size_t n)
{
	static const uint8_t none[1];
	const uint8_t *q = p ? p : none;
	return (struct unpack){q, q + (p ? n : 0), OK};
}

enum pack_type unpack_peek(struct unpack *u)
{
	switch (head_of(u).kind) {
	case KIND_NIL:
		return PACK_NIL;
	case KIND_BOOL:
		return PACK_BOOL;
	case KIND_UINT:
		return PACK_UINT;
	case KIND_INT:
		return PACK_INT;
	case KIND_FLOAT:
		return PACK_DOUBLE;
	case KIND_STR:
		return PACK_STR;
	case KIND_BIN:
		return PACK_BIN;
	case KIND_ARRAY:
		return PACK_ARRAY;
	case KIND_EXT:
	case KIND_MAP:
		unpack_fail(u, ERR_PROTO);
		break;
	case KIND_BAD:
		break;
	}
	return PACK_END;
}

size_t unpack_array(struct unpack *u)
{
	const uint64_t n = expect(u, KIND_ARRAY);
	if (n > left(u)) {
		unpack_fail(u, ERR_PROTO);
		return 0;
	}
	return n;
}

uint64_t unpack_uint(struct unpack *u)
{
	return expect(u, KIND_UINT);
}

int64_t unpack_int(struct unpack *u)
{
	const struct head h = head_of(u);
	if (h.kind != KIND_INT && !(h.kind == KIND_UINT && h.v <= INT64_MAX)) {
		unpack_fail(u, ERR_PROTO);
		return 0;
	}
	consume(u, &h);
	return (int64_t)h.v;
}

bool unpack_bool(struct unpack *u)
{
	return expect(u, KIND_BOOL) != 0;
}

bool unpack_nil(struct unpack *u)
{
	const struct head h = head_of(u);
	if (h.kind != KIND_NIL)
		return false;
	consume(u, &h);
	return true;
}

static double double_of(const struct head *h)
{
	if (h->kind == KIND_UINT)
		return (double)h->v;
	if (h->kind == KIND_INT)
		return (double)(int64_t)h->v;
	if (h->width == 4) {
		const uint32_t bits = (uint32_t)h->v;
		float f;
		memcpy(&f, &bits, sizeof(f));
		return (double)f;
	}
	double d;
	memcpy(&d, &h->v, sizeof(d));
	return d;
}

double unpack_double(struct unpack *u)
{
	const struct head h = head_of(u);
	if (h.kind != KIND_UINT && h.kind != KIND_INT && h.kind != KIND_FLOAT) {
		unpack_fail(u, ERR_PROTO);
		return 0;
	}
	consume(u, &h);
	return double_of(&h);
}

static struct bytes body(struct unpack *u, enum kind kind, size_t max)
{
	const uint64_t n = expect(u, kind);
	if (u->err)
		return (struct bytes){0};
	if (n > max || n > left(u)) {
		unpack_fail(u, n > max ? ERR_LIMIT : ERR_PROTO);
		return (struct bytes){0};
	}
	const struct bytes b = {u->p, n};
	u->p += n;
	return b;
}

struct bytes unpack_str(struct unpack *u, size_t max)
{
	const struct bytes b = body(u, KIND_STR, max);
	for (size_t i = 0; i < b.n;) {
		const size_t step = utf8_step(b.p + i, b.n - i, NULL);
		if (!step) {
			unpack_fail(u, ERR_PROTO);
			return (struct bytes){0};
		}
		i += step;
	}
	return b;
}

struct bytes unpack_bin(struct unpack *u, size_t max)
{
	return body(u, KIND_BIN, max);
}

/* Consumes one head and, for text and bytes, its body; the number of values
 * that belong inside it. */
static uint64_t skip_one(struct unpack *u)
{
	const struct head h = head_of(u);
	if (h.kind == KIND_BAD) {
		unpack_fail(u, ERR_PROTO);
		return 0;
	}
	consume(u, &h);
	const bool has_body =
	    h.kind == KIND_STR || h.kind == KIND_BIN || h.kind == KIND_EXT;
	const uint64_t inside = h.kind == KIND_ARRAY ? h.v
				: h.kind == KIND_MAP ? h.v * 2
						     : 0;
	if ((has_body ? h.v : inside) > left(u)) {
		unpack_fail(u, ERR_PROTO);
		return 0;
	}
	if (has_body)
		u->p += h.v;
	return inside;
}

void unpack_skip(struct unpack *u)
{
	uint64_t todo[PACK_DEPTH + 1]; /* values still to skip per level */
	size_t depth = 0;

	todo[0] = 1;
	while (!u->err) {
		if (!todo[depth]) {
			if (!depth)
				return;
			depth--;
			continue;
		}
		todo[depth]--;
		const uint64_t inside = skip_one(u);
		if (!inside)
			continue;
		if (depth == PACK_DEPTH) {
			unpack_fail(u, ERR_LIMIT);
			return;
		}
		todo[++depth] = inside;
	}
}

bool unpack_done(const struct unpack *u)
{
	return !u->err && u->p == u->end;
}
