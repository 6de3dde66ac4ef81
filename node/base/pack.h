/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_BASE_PACK_H
#define HN_BASE_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"

/*
 * MessagePack over buf: the doorway to msgpack-c. Pure; any thread. Writers
 * append to a buf. The reader is a bounded cursor over borrowed bytes with a
 * sticky failure (first error kept): depth at most PACK_DEPTH, no length
 * beyond the input, nothing is allocated.
 */
#define PACK_DEPTH 16

void pack_array(struct buf *b, size_t n);
void pack_uint(struct buf *b, uint64_t v);
void pack_int(struct buf *b, int64_t v);
void pack_bool(struct buf *b, bool v);
void pack_nil(struct buf *b);
void pack_double(struct buf *b, double v);
void pack_str(struct buf *b, const char *s, size_t n);
void pack_bin(struct buf *b, const void *p, size_t n);

enum pack_type {
	PACK_NIL,
	PACK_BOOL,
	PACK_UINT,
	PACK_INT, /* negative */
	PACK_DOUBLE,
	PACK_STR,
	PACK_BIN,
	PACK_ARRAY,
	PACK_END /* nothing left, or failed */
};

struct unpack {
	const uint8_t *p, *end;
	enum err err;
};

struct unpack unpack_of(const void *p, size_t n);

/*
 * The type of the next value; integers are PACK_UINT or PACK_INT by their
 * value, in whatever width they came. Maps, extensions and cut heads fail
 * with ERR_PROTO. The readers below fail with ERR_PROTO on another type or a
 * cut value and with ERR_LIMIT beyond max, and then give zeros.
 */
enum pack_type unpack_peek(struct unpack *u);
size_t unpack_array(struct unpack *u); /* element count, never > bytes left */
uint64_t unpack_uint(struct unpack *u);
int64_t unpack_int(struct unpack *u); /* also non-negative ones */
bool unpack_bool(struct unpack *u);
bool unpack_nil(struct unpack *u);	/* consumes a nil if one is next */
double unpack_double(struct unpack *u); /* integers convert */
struct bytes unpack_str(struct unpack *u, size_t max); /* borrowed, UTF-8 */
struct bytes unpack_bin(struct unpack *u, size_t max); /* borrowed */
void unpack_skip(struct unpack *u); /* one value of any type, maps too */
void unpack_fail(struct unpack *u, enum err e);
/* ok and nothing left over. */
bool unpack_done(const struct unpack *u);

#endif
