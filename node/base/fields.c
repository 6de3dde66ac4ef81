/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The wire form, and copies: one walk over the table each, with one switch
 * that names every type, so that a new type is a list of compiler warnings.
 * The forms for people are in fields_json.c.
 *
 * Whatever is read is bounded twice: by the table's limit, and by what is
 * left of the input, because each element takes at least one byte. Memory is
 * asked for after both checks. Tables may refer to themselves; the depth of
 * the data is bounded by PACK_DEPTH.
 */
#include "node/base/fields.h"

#include "node/base/pack.h"
#include "node/base/utf8.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define LEB_MAX 5 /* bytes of a 32-bit LEB128 number */

const struct message message_empty = {"empty", 0, NULL, 0};

static const void *member(const struct field *f, const void *msg)
{
	return (const char *)msg + f->offset;
}

static void *member_mut(const struct field *f, void *msg)
{
	return (char *)msg + f->offset;
}

static void *item_at(const struct list *l, const struct message *m, size_t i)
{
	return (char *)l->items + i * m->size;
}

static void message_zero(const struct message *m, void *msg)
{
	if (m->size)
		memset(msg, 0, m->size);
}

/* Packing */

static void message_pack(const struct message *m, const void *msg,
			 struct buf *out, unsigned depth);

static void leb_add(struct buf *b, uint32_t v)
{
	for (; v > 0x7f; v >>= 7)
		buf_u8(b, (uint8_t)(v | 0x80));
	buf_u8(b, (uint8_t)v);
}

static void u32s_pack(const struct u32s *v, struct buf *out)
{
	struct buf bin = {0};
	uint32_t last = 0;

	for (size_t i = 0; i < v->n; i++) {
		assert(!i || v->items[i] > last);
		leb_add(&bin, v->items[i] - last);
		last = v->items[i];
	}
	pack_bin(out, bin.p, bin.n);
	buf_release(&bin);
}

static void strs_pack(const struct strs *v, struct buf *out)
{
	pack_array(out, v->n);
	for (size_t i = 0; i < v->n; i++) {
		const size_t n = strlen(v->items[i]);
		assert(n <= STRS_MAX_TEXT);
		pack_str(out, v->items[i], n);
	}
}

static void list_pack(const struct message *m, const struct list *v,
		      struct buf *out, unsigned depth)
{
	pack_array(out, v->n);
	for (size_t i = 0; i < v->n; i++)
		message_pack(m, item_at(v, m, i), out, depth + 1);
}

static void str_pack(const char *s, size_t limit, struct buf *out)
{
	if (!s) {
		pack_nil(out);
		return;
	}
	const size_t n = strlen(s);
	assert(n <= limit);
	pack_str(out, s, n);
}

static void opt_fixed_pack(const struct bytes *v, size_t limit, struct buf *out)
{
	assert(!v->n || v->n == limit);
	if (v->n)
		pack_bin(out, v->p, v->n);
	else
		pack_nil(out);
}

static void opt_u64_pack(const struct opt_u64 *v, struct buf *out)
{
	if (v->set)
		pack_uint(out, v->v);
	else
		pack_nil(out);
}

/* The number of elements or bytes that the limit is about; 0 for the types
 * whose limit says something else. */
static size_t counted(const struct field *f, const void *p)
{
	switch (f->type) {
	case FIELD_T_BYTES:
		return ((const struct bytes *)p)->n;
	case FIELD_T_LIST:
		return ((const struct list *)p)->n;
	case FIELD_T_STRS:
		return ((const struct strs *)p)->n;
	case FIELD_T_U32S:
		return ((const struct u32s *)p)->n;
	case FIELD_T_BOOL:
	case FIELD_T_U64:
	case FIELD_T_I64:
	case FIELD_T_F64:
	case FIELD_T_STR:
	case FIELD_T_FIXED:
	case FIELD_T_OPT_U64:
	case FIELD_T_OPT_FIXED:
	case FIELD_T_MSG:
		break;
	}
	return 0;
}

static bool u64_fits(const struct field *f, uint64_t v)
{
	return !f->limit || v <= f->limit;
}

static void field_pack(const struct field *f, const void *p, struct buf *out,
		       unsigned depth)
{
	assert(counted(f, p) <= f->limit);
	switch (f->type) {
	case FIELD_T_BOOL:
		pack_bool(out, *(const bool *)p);
		break;
	case FIELD_T_U64:
		assert(u64_fits(f, *(const uint64_t *)p));
		pack_uint(out, *(const uint64_t *)p);
		break;
	case FIELD_T_I64:
		pack_int(out, *(const int64_t *)p);
		break;
	case FIELD_T_F64:
		assert(isfinite(*(const double *)p));
		pack_double(out, *(const double *)p);
		break;
	case FIELD_T_STR:
		str_pack(*(char *const *)p, f->limit, out);
		break;
	case FIELD_T_BYTES:
		pack_bin(out, ((const struct bytes *)p)->p, counted(f, p));
		break;
	case FIELD_T_FIXED:
		pack_bin(out, p, f->limit);
		break;
	case FIELD_T_OPT_U64:
		opt_u64_pack(p, out);
		break;
	case FIELD_T_OPT_FIXED:
		opt_fixed_pack(p, f->limit, out);
		break;
	case FIELD_T_MSG:
		message_pack(f->sub, p, out, depth + 1);
		break;
	case FIELD_T_LIST:
		list_pack(f->sub, p, out, depth + 1);
		break;
	case FIELD_T_STRS:
		strs_pack(p, out);
		break;
	case FIELD_T_U32S:
		u32s_pack(p, out);
		break;
	}
}

static void message_pack(const struct message *m, const void *msg,
			 struct buf *out, unsigned depth)
{
	assert(depth < PACK_DEPTH);
	pack_array(out, m->nfields);
	for (size_t i = 0; i < m->nfields; i++)
		field_pack(&m->fields[i], member(&m->fields[i], msg), out,
			   depth);
}

void fields_pack(const struct message *m, const void *msg, struct buf *out)
{
	message_pack(m, msg, out, 0);
}

/* Checking what was not made by us */

static bool text_fits(const char *s, size_t limit)
{
	const size_t n = s ? strlen(s) : 0;
	size_t step;

	if (n > limit)
		return false;
	for (size_t i = 0; i < n; i += step) {
		step = utf8_step(s + i, n - i, NULL);
		if (!step)
			return false;
	}
	return true;
}

static bool message_fits(const struct message *m, const void *msg,
			 const struct field **bad);

static bool list_fits(const struct field *f, const struct list *v,
		      const struct field **bad)
{
	for (size_t i = 0; i < v->n; i++)
		if (!message_fits(f->sub, item_at(v, f->sub, i), bad))
			return false;
	return true;
}

static bool strs_fit(const struct strs *v)
{
	for (size_t i = 0; i < v->n; i++)
		if (!text_fits(v->items[i], STRS_MAX_TEXT))
			return false;
	return true;
}

static bool field_fits(const struct field *f, const void *p,
		       const struct field **bad)
{
	*bad = f;
	if (counted(f, p) > f->limit)
		return false;
	switch (f->type) {
	case FIELD_T_U64:
		return u64_fits(f, *(const uint64_t *)p);
	case FIELD_T_F64:
		return isfinite(*(const double *)p);
	case FIELD_T_STR:
		return text_fits(*(char *const *)p, f->limit);
	case FIELD_T_STRS:
		return strs_fit(p);
	case FIELD_T_MSG:
		return message_fits(f->sub, p, bad);
	case FIELD_T_LIST:
		return list_fits(f, p, bad);
	case FIELD_T_BOOL:
	case FIELD_T_I64:
	case FIELD_T_BYTES:
	case FIELD_T_FIXED:
	case FIELD_T_OPT_U64:
	case FIELD_T_OPT_FIXED:
	case FIELD_T_U32S:
		break;
	}
	return true;
}

static bool message_fits(const struct message *m, const void *msg,
			 const struct field **bad)
{
	for (size_t i = 0; i < m->nfields; i++)
		if (!field_fits(&m->fields[i], member(&m->fields[i], msg), bad))
			return false;
	return true;
}

enum err fields_check(const struct message *m, const void *msg, struct buf *why)
{
	const struct field *bad;

	if (message_fits(m, msg, &bad))
		return OK;
	if (bad->type == FIELD_T_STR || bad->type == FIELD_T_STRS)
		buf_printf(why, "%s takes UTF-8 text of at most %zu bytes",
			   bad->name,
			   bad->type == FIELD_T_STR ? bad->limit
						    : (size_t)STRS_MAX_TEXT);
	else
		buf_printf(why, "%s takes at most %zu", bad->name, bad->limit);
	return ERR_INPUT;
}

/* Unpacking */

static void message_unpack(const struct message *m, struct unpack *u,
			   struct arena *a, void *msg, unsigned depth);

/* Text that C can hold: a NUL inside would cut it silently. */
static char *text_unpack(struct unpack *u, size_t limit, struct arena *a)
{
	const struct bytes b = unpack_str(u, limit);
	if (!u->err && b.n && memchr(b.p, 0, b.n))
		unpack_fail(u, ERR_PROTO);
	if (u->err)
		return NULL;
	return arena_strndup(a, (const char *)b.p, b.n);
}

static void bytes_unpack(struct unpack *u, size_t limit, struct arena *a,
			 struct bytes *out)
{
	const struct bytes b = unpack_bin(u, limit);
	if (b.n)
		*out = (struct bytes){arena_memdup(a, b.p, b.n), b.n};
}

/* A bin of exactly n bytes; NULL when it failed. */
static const uint8_t *exact_unpack(struct unpack *u, size_t n)
{
	const struct bytes b = unpack_bin(u, SIZE_MAX);
	if (!u->err && b.n != n)
		unpack_fail(u, ERR_PROTO);
	return u->err ? NULL : b.p;
}

static size_t count_unpack(struct unpack *u, size_t limit)
{
	const size_t n = unpack_array(u);
	if (n <= limit)
		return n;
	unpack_fail(u, ERR_LIMIT);
	return 0;
}

static void list_unpack(const struct field *f, struct unpack *u,
			struct arena *a, struct list *out, unsigned depth)
{
	const size_t n = count_unpack(u, f->limit);
	if (!n)
		return;
	*out = (struct list){arena_alloc(a, n * f->sub->size), n};
	for (size_t i = 0; i < n && !u->err; i++)
		message_unpack(f->sub, u, a, item_at(out, f->sub, i),
			       depth + 1);
}

static void strs_unpack(const struct field *f, struct unpack *u,
			struct arena *a, struct strs *out)
{
	const size_t n = count_unpack(u, f->limit);
	if (!n)
		return;
	*out = (struct strs){arena_alloc(a, n * sizeof(char *)), n};
	for (size_t i = 0; i < n && !u->err; i++)
		out->items[i] = text_unpack(u, STRS_MAX_TEXT, a);
}

/* One number in its shortest form; false on anything else. */
static bool leb_read(struct reader *r, uint32_t *out)
{
	uint64_t v = 0;
	for (unsigned i = 0; i < LEB_MAX; i++) {
		const uint8_t c = read_u8(r);
		v |= (uint64_t)(c & 0x7f) << (7 * i);
		if (c & 0x80)
			continue;
		*out = (uint32_t)v;
		return !r->failed && v <= UINT32_MAX && (c || !i);
	}
	return false;
}

static void u32s_unpack(const struct field *f, struct unpack *u,
			struct arena *a, struct u32s *out)
{
	assert(f->limit <= SIZE_MAX / LEB_MAX);
	const struct bytes b = unpack_bin(u, f->limit * LEB_MAX);
	size_t n = 0;
	for (size_t i = 0; i < b.n; i++)
		n += !(b.p[i] & 0x80);
	if (n > f->limit)
		unpack_fail(u, ERR_LIMIT);
	if (!b.n || u->err)
		return;

	struct reader r = reader_of(b.p, b.n);
	uint32_t last = 0, diff;
	*out = (struct u32s){arena_alloc(a, n * sizeof(uint32_t)), n};
	for (size_t i = 0; i < n; i++) {
		if (!leb_read(&r, &diff) || (i && !diff) ||
		    diff > UINT32_MAX - last) {
			unpack_fail(u, ERR_PROTO);
			return;
		}
		last += diff;
		out->items[i] = last;
	}
	if (reader_left(&r))
		unpack_fail(u, ERR_PROTO);
}

static void opt_u64_unpack(struct unpack *u, struct opt_u64 *out)
{
	if (unpack_nil(u))
		return;
	out->v = unpack_uint(u);
	out->set = true;
}

static void opt_fixed_unpack(struct unpack *u, size_t n, struct arena *a,
			     struct bytes *out)
{
	if (unpack_nil(u))
		return;
	const uint8_t *p = exact_unpack(u, n);
	if (p && n)
		*out = (struct bytes){arena_memdup(a, p, n), n};
}

static void fixed_unpack(struct unpack *u, size_t n, void *out)
{
	const uint8_t *p = exact_unpack(u, n);
	if (p)
		memcpy(out, p, n);
}

static void field_unpack(const struct field *f, struct unpack *u,
			 struct arena *a, void *p, unsigned depth)
{
	switch (f->type) {
	case FIELD_T_BOOL:
		*(bool *)p = unpack_bool(u);
		break;
	case FIELD_T_U64:
		*(uint64_t *)p = unpack_uint(u);
		if (!u64_fits(f, *(uint64_t *)p))
			unpack_fail(u, ERR_LIMIT);
		break;
	case FIELD_T_I64:
		*(int64_t *)p = unpack_int(u);
		break;
	case FIELD_T_F64:
		*(double *)p = unpack_double(u);
		if (!isfinite(*(double *)p))
			unpack_fail(u, ERR_PROTO);
		break;
	case FIELD_T_STR:
		if (!unpack_nil(u))
			*(char **)p = text_unpack(u, f->limit, a);
		break;
	case FIELD_T_BYTES:
		bytes_unpack(u, f->limit, a, p);
		break;
	case FIELD_T_FIXED:
		fixed_unpack(u, f->limit, p);
		break;
	case FIELD_T_OPT_U64:
		opt_u64_unpack(u, p);
		break;
	case FIELD_T_OPT_FIXED:
		opt_fixed_unpack(u, f->limit, a, p);
		break;
	case FIELD_T_MSG:
		message_unpack(f->sub, u, a, p, depth + 1);
		break;
	case FIELD_T_LIST:
		list_unpack(f, u, a, p, depth + 1);
		break;
	case FIELD_T_STRS:
		strs_unpack(f, u, a, p);
		break;
	case FIELD_T_U32S:
		u32s_unpack(f, u, a, p);
		break;
	}
}

static void message_unpack(const struct message *m, struct unpack *u,
			   struct arena *a, void *msg, unsigned depth)
{
	if (depth >= PACK_DEPTH) {
		unpack_fail(u, ERR_LIMIT);
		return;
	}
	const size_t n = unpack_array(u);
	for (size_t i = 0; i < n && !u->err; i++) {
		if (i >= m->nfields) {
			unpack_skip(u);
			continue;
		}
		const struct field *f = &m->fields[i];
		field_unpack(f, u, a, member_mut(f, msg), depth);
	}
}

enum err fields_unpack(const struct message *m, const void *p, size_t n,
		       struct arena *a, void *msg)
{
	struct unpack u = unpack_of(p, n);

	message_zero(m, msg);
	message_unpack(m, &u, a, msg, 0);
	if (unpack_done(&u))
		return OK;
	message_zero(m, msg);
	return u.err ? u.err : ERR_PROTO;
}

/* Copying */

static void bytes_copy(const struct bytes *from, struct arena *a,
		       struct bytes *to)
{
	*to = (struct bytes){0};
	if (from->n)
		*to =
		    (struct bytes){arena_memdup(a, from->p, from->n), from->n};
}

static void list_copy(const struct message *m, const struct list *from,
		      struct arena *a, struct list *to)
{
	*to = (struct list){0};
	if (!from->n)
		return;
	*to = (struct list){arena_alloc(a, from->n * m->size), from->n};
	for (size_t i = 0; i < from->n; i++)
		fields_copy(m, item_at(from, m, i), a, item_at(to, m, i));
}

static char *text_copy(const char *s, struct arena *a)
{
	return s ? arena_strndup(a, s, strlen(s)) : NULL;
}

static void strs_copy(const struct strs *from, struct arena *a, struct strs *to)
{
	*to = (struct strs){0};
	if (!from->n)
		return;
	*to = (struct strs){arena_alloc(a, from->n * sizeof(char *)), from->n};
	for (size_t i = 0; i < from->n; i++)
		to->items[i] = text_copy(from->items[i], a);
}

static void u32s_copy(const struct u32s *from, struct arena *a, struct u32s *to)
{
	*to = (struct u32s){0};
	if (from->n)
		*to = (struct u32s){
		    arena_memdup(a, from->items, from->n * sizeof(uint32_t)),
		    from->n};
}

static void field_copy(const struct field *f, const void *from, struct arena *a,
		       void *to)
{
	switch (f->type) {
	case FIELD_T_BOOL:
		*(bool *)to = *(const bool *)from;
		break;
	case FIELD_T_U64:
	case FIELD_T_I64:
	case FIELD_T_F64:
		memcpy(to, from, 8);
		break;
	case FIELD_T_STR:
		*(char **)to = text_copy(*(char *const *)from, a);
		break;
	case FIELD_T_BYTES:
	case FIELD_T_OPT_FIXED:
		bytes_copy(from, a, to);
		break;
	case FIELD_T_FIXED:
		memcpy(to, from, f->limit);
		break;
	case FIELD_T_OPT_U64:
		*(struct opt_u64 *)to = *(const struct opt_u64 *)from;
		break;
	case FIELD_T_MSG:
		fields_copy(f->sub, from, a, to);
		break;
	case FIELD_T_LIST:
		list_copy(f->sub, from, a, to);
		break;
	case FIELD_T_STRS:
		strs_copy(from, a, to);
		break;
	case FIELD_T_U32S:
		u32s_copy(from, a, to);
		break;
	}
}

void fields_copy(const struct message *m, const void *from, struct arena *a,
		 void *to)
{
	message_zero(m, to);
	for (size_t i = 0; i < m->nfields; i++) {
		const struct field *f = &m->fields[i];
		field_copy(f, member(f, from), a, member_mut(f, to));
	}
}
