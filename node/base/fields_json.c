/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The forms of a message that people read: JSON both ways and the tables in
 * the documents. The wire form is in fields.c.
 *
 * Reading collects the path to the value at hand ("caps[3].name"); the first
 * value that does not fit writes one sentence from the path and from what the
 * field expects, and everything above it only returns.
 */
#include "node/base/fields.h"

#include "node/base/json.h"
#include "node/base/log.h"
#include "node/base/pack.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* To JSON */

static struct json *message_json(const struct message *m, const void *msg);

/* JSON integers end at 2^63 - 1 in most readers; above, exact digits in text
 * are better than a rounded number. */
static struct json *u64_json(uint64_t v)
{
	char digits[24];

	if (v <= INT64_MAX)
		return json_int((int64_t)v);
	snprintf(digits, sizeof(digits), "%" PRIu64, v);
	return json_str(digits);
}

static struct json *hex_json(const void *p, size_t n)
{
	char *hex = hex_dup(p, n);
	struct json *j = json_str(hex);
	free(hex);
	return j;
}

static struct json *list_json(const struct message *m, const struct list *v)
{
	struct json *j = json_array();
	for (size_t i = 0; i < v->n; i++)
		json_add(j, message_json(m, (char *)v->items + i * m->size));
	return j;
}

static struct json *strs_json(const struct strs *v)
{
	struct json *j = json_array();
	for (size_t i = 0; i < v->n; i++)
		json_add(j, json_str(v->items[i]));
	return j;
}

static struct json *u32s_json(const struct u32s *v)
{
	struct json *j = json_array();
	for (size_t i = 0; i < v->n; i++)
		json_add(j, json_int(v->items[i]));
	return j;
}

static struct json *field_json(const struct field *f, const void *p)
{
	const struct bytes *bytes;
	const struct opt_u64 *opt;

	switch (f->type) {
	case FIELD_T_BOOL:
		return json_bool(*(const bool *)p);
	case FIELD_T_U64:
		return u64_json(*(const uint64_t *)p);
	case FIELD_T_I64:
		return json_int(*(const int64_t *)p);
	case FIELD_T_F64:
		return json_num(*(const double *)p);
	case FIELD_T_STR:
		return json_str(*(char *const *)p);
	case FIELD_T_BYTES:
		bytes = p;
		return hex_json(bytes->p, bytes->n);
	case FIELD_T_FIXED:
		return hex_json(p, f->limit);
	case FIELD_T_OPT_U64:
		opt = p;
		return opt->set ? u64_json(opt->v) : json_null();
	case FIELD_T_OPT_FIXED:
		bytes = p;
		return bytes->n ? hex_json(bytes->p, bytes->n) : json_null();
	case FIELD_T_MSG:
		return message_json(f->sub, p);
	case FIELD_T_LIST:
		return list_json(f->sub, p);
	case FIELD_T_STRS:
		return strs_json(p);
	case FIELD_T_U32S:
		return u32s_json(p);
	}
	return json_null();
}

static struct json *message_json(const struct message *m, const void *msg)
{
	struct json *j = json_object();
	for (size_t i = 0; i < m->nfields; i++) {
		const struct field *f = &m->fields[i];
		const void *p = (const char *)msg + f->offset;
		json_set(j, f->name, field_json(f, p));
	}
	return j;
}

void fields_to_json(const struct message *m, const void *msg, struct buf *out)
{
	struct json *j = message_json(m, msg);
	json_write(j, out);
	json_free(j);
}

/* From JSON */

struct reading {
	struct arena *arena;
	struct buf *why; /* NULL: nobody asks */
	struct buf path; /* of the value being read */
	bool failed;	 /* why is written */
};

static bool message_read(struct reading *r, const struct message *m,
			 const struct json *j, void *msg, unsigned depth);

/* What a field takes, to follow "expected". */
static void expected(const struct field *f, struct buf *out)
{
	switch (f->type) {
	case FIELD_T_BOOL:
		buf_add_str(out, "true or false");
		break;
	case FIELD_T_U64:
		if (f->limit)
			buf_printf(out, "a whole number from 0 to %zu",
				   f->limit);
		else
			buf_add_str(out, "a whole number, 0 or more");
		break;
	case FIELD_T_I64:
		buf_add_str(out, "a whole number");
		break;
	case FIELD_T_F64:
		buf_add_str(out, "a number");
		break;
	case FIELD_T_STR:
		buf_printf(out, "text of at most %zu bytes", f->limit);
		break;
	case FIELD_T_BYTES:
		buf_printf(out, "hex digits of at most %zu bytes", f->limit);
		break;
	case FIELD_T_FIXED:
		buf_printf(out, "exactly %zu hex digits", f->limit * 2);
		break;
	case FIELD_T_OPT_U64:
		buf_add_str(out, "a whole number, 0 or more, or null");
		break;
	case FIELD_T_OPT_FIXED:
		buf_printf(out, "exactly %zu hex digits or null", f->limit * 2);
		break;
	case FIELD_T_MSG:
		buf_add_str(out, "an object");
		break;
	case FIELD_T_LIST:
		buf_printf(out, "an array of at most %zu objects", f->limit);
		break;
	case FIELD_T_STRS:
		buf_printf(out,
			   "an array of at most %zu texts of at most %d bytes",
			   f->limit, STRS_MAX_TEXT);
		break;
	case FIELD_T_U32S:
		buf_printf(out,
			   "an array of at most %zu ascending whole numbers "
			   "below 2^32",
			   f->limit);
		break;
	}
}

/* The sentence of the first failure; later ones are its echo. */
static void tell(struct reading *r, const struct field *f)
{
	if (!r->failed && r->why) {
		buf_printf(r->why, "%s: expected ", buf_str(&r->path));
		expected(f, r->why);
	}
	r->failed = true;
}

static void tell_unknown(struct reading *r, const struct message *m,
			 const char *key)
{
	r->failed = true;
	if (!r->why)
		return;
	if (r->path.n)
		buf_printf(r->why, "%s: ", buf_str(&r->path));
	buf_printf(r->why, "unknown field %s; ", log_quote(key));
	if (!m->nfields)
		buf_add_str(r->why, "it takes none");
	for (size_t i = 0; i < m->nfields; i++)
		buf_printf(r->why, "%s%s", i ? ", " : "it takes ",
			   m->fields[i].name);
}

static bool u64_read(const struct json *j, size_t limit, uint64_t *out)
{
	uint64_t v;

	if (json_type(j) == JSON_INT && json_get_int(j) >= 0) {
		v = (uint64_t)json_get_int(j);
	} else if (json_type(j) == JSON_STR) {
		const char *s = json_get_str(j);
		const size_t n = strlen(s);
		if (!n || strspn(s, "0123456789") != n)
			return false;
		errno = 0;
		v = strtoull(s, NULL, 10);
		if (errno)
			return false;
	} else {
		return false;
	}
	*out = v;
	return !limit || v <= limit;
}

static bool i64_read(const struct json *j, int64_t *out)
{
	*out = json_get_int(j);
	return json_type(j) == JSON_INT;
}

static bool f64_read(const struct json *j, double *out)
{
	*out = json_get_num(j);
	return (json_type(j) == JSON_NUM || json_type(j) == JSON_INT) &&
	       isfinite(*out);
}

static bool text_read(struct reading *r, const struct json *j, size_t limit,
		      char **out)
{
	const char *s = json_get_str(j);
	if (!s || strlen(s) > limit)
		return false;
	*out = arena_strndup(r->arena, s, strlen(s));
	return true;
}

/* Hex digits of at least min and at most max bytes. */
static bool hex_read(struct reading *r, const struct json *j, size_t min,
		     size_t max, struct bytes *out)
{
	const char *s = json_get_str(j);
	const size_t n = s ? strlen(s) : 0;

	if (!s || n % 2 || n / 2 < min || n / 2 > max)
		return false;
	if (!n)
		return true;
	uint8_t *p = arena_alloc(r->arena, n / 2);
	*out = (struct bytes){p, n / 2};
	return hex_decode(s, p, n / 2);
}

static bool fixed_read(const struct json *j, size_t n, void *out)
{
	const char *s = json_get_str(j);
	return s && hex_decode(s, out, n);
}

static bool list_read(struct reading *r, const struct field *f,
		      const struct json *j, struct list *out, unsigned depth)
{
	const size_t n = json_count(j), mark = r->path.n;

	if (json_type(j) != JSON_ARRAY || n > f->limit)
		return false;
	if (!n)
		return true;
	*out = (struct list){arena_alloc(r->arena, n * f->sub->size), n};
	for (size_t i = 0; i < n; i++) {
		buf_printf(&r->path, "[%zu]", i);
		if (!message_read(r, f->sub, json_at(j, i),
				  (char *)out->items + i * f->sub->size,
				  depth + 1))
			return false;
		r->path.n = mark;
	}
	return true;
}

static bool strs_read(struct reading *r, const struct field *f,
		      const struct json *j, struct strs *out)
{
	const size_t n = json_count(j);

	if (json_type(j) != JSON_ARRAY || n > f->limit)
		return false;
	if (!n)
		return true;
	*out = (struct strs){arena_alloc(r->arena, n * sizeof(char *)), n};
	for (size_t i = 0; i < n; i++)
		if (!text_read(r, json_at(j, i), STRS_MAX_TEXT, &out->items[i]))
			return false;
	return true;
}

static bool u32s_read(struct reading *r, const struct field *f,
		      const struct json *j, struct u32s *out)
{
	const size_t n = json_count(j);
	int64_t last = -1;

	if (json_type(j) != JSON_ARRAY || n > f->limit)
		return false;
	if (!n)
		return true;
	*out = (struct u32s){arena_alloc(r->arena, n * sizeof(uint32_t)), n};
	for (size_t i = 0; i < n; i++) {
		int64_t v;
		if (!i64_read(json_at(j, i), &v) || v <= last || v > UINT32_MAX)
			return false;
		out->items[i] = (uint32_t)v;
		last = v;
	}
	return true;
}

static bool field_read(struct reading *r, const struct field *f,
		       const struct json *j, void *p, unsigned depth)
{
	const bool null = json_type(j) == JSON_NULL;
	struct opt_u64 *opt;

	switch (f->type) {
	case FIELD_T_BOOL:
		*(bool *)p = json_get_bool(j);
		return json_type(j) == JSON_BOOL;
	case FIELD_T_U64:
		return u64_read(j, f->limit, p);
	case FIELD_T_I64:
		return i64_read(j, p);
	case FIELD_T_F64:
		return f64_read(j, p);
	case FIELD_T_STR:
		return null || text_read(r, j, f->limit, p);
	case FIELD_T_BYTES:
		return hex_read(r, j, 0, f->limit, p);
	case FIELD_T_FIXED:
		return fixed_read(j, f->limit, p);
	case FIELD_T_OPT_U64:
		opt = p;
		opt->set = !null;
		return null || u64_read(j, 0, &opt->v);
	case FIELD_T_OPT_FIXED:
		return null || hex_read(r, j, f->limit, f->limit, p);
	case FIELD_T_MSG:
		return message_read(r, f->sub, j, p, depth + 1);
	case FIELD_T_LIST:
		return list_read(r, f, j, p, depth + 1);
	case FIELD_T_STRS:
		return strs_read(r, f, j, p);
	case FIELD_T_U32S:
		return u32s_read(r, f, j, p);
	}
	return false;
}

/* One object being read; its keys arrive in on_key. */
struct reading_message {
	struct reading *r;
	const struct message *m;
	void *msg;
	unsigned depth;
};

static const struct field *field_find(const struct message *m, const char *name)
{
	for (size_t i = 0; i < m->nfields; i++)
		if (!strcmp(m->fields[i].name, name))
			return &m->fields[i];
	return NULL;
}

static bool on_key(const char *key, const struct json *v, void *arg)
{
	const struct reading_message *o = arg;
	struct reading *r = o->r;
	const struct field *f = field_find(o->m, key);

	if (!f) {
		tell_unknown(r, o->m, key);
		return false;
	}
	const size_t mark = r->path.n;
	buf_printf(&r->path, "%s%s", mark ? "." : "", key);
	if (!field_read(r, f, v, (char *)o->msg + f->offset, o->depth)) {
		tell(r, f);
		return false;
	}
	r->path.n = mark;
	return true;
}

static bool tell_message(struct reading *r, const char *sentence)
{
	if (r->why && r->path.n)
		buf_printf(r->why, "%s: ", buf_str(&r->path));
	if (r->why)
		buf_add_str(r->why, sentence);
	r->failed = true;
	return false;
}

static bool message_read(struct reading *r, const struct message *m,
			 const struct json *j, void *msg, unsigned depth)
{
	struct reading_message o = {r, m, msg, depth};

	if (json_type(j) != JSON_OBJECT)
		return tell_message(r, "expected an object, such as {}");
	if (depth >= PACK_DEPTH)
		return tell_message(r, "nested too deep");
	json_each(j, on_key, &o);
	return !r->failed;
}

enum err fields_from_json(const struct message *m, const char *text, size_t n,
			  struct arena *a, void *msg, struct buf *why)
{
	struct reading r = {.arena = a, .why = why};
	struct json *j;

	if (m->size)
		memset(msg, 0, m->size);
	enum err e = json_parse(text, n, why, &j);
	if (e)
		return e;
	const bool ok = message_read(&r, m, j, msg, 0);
	if (!ok && m->size)
		memset(msg, 0, m->size);
	buf_release(&r.path);
	json_free(j);
	return ok ? OK : ERR_INPUT;
}

/* Documents */

static void doc_type(const struct field *f, struct buf *out)
{
	switch (f->type) {
	case FIELD_T_BOOL:
		buf_add_str(out, "bool | -");
		break;
	case FIELD_T_U64:
		buf_add_str(out, "uint | ");
		if (f->limit)
			buf_printf(out, "at most %zu", f->limit);
		else
			buf_add_str(out, "64 bits");
		break;
	case FIELD_T_I64:
		buf_add_str(out, "int | 64 bits");
		break;
	case FIELD_T_F64:
		buf_add_str(out, "float | finite");
		break;
	case FIELD_T_STR:
		buf_printf(out, "text or nil | %zu bytes", f->limit);
		break;
	case FIELD_T_BYTES:
		buf_printf(out, "bytes | %zu bytes", f->limit);
		break;
	case FIELD_T_FIXED:
		buf_printf(out, "bytes | exactly %zu bytes", f->limit);
		break;
	case FIELD_T_OPT_U64:
		buf_add_str(out, "uint or nil | 64 bits");
		break;
	case FIELD_T_OPT_FIXED:
		buf_printf(out, "bytes or nil | exactly %zu bytes", f->limit);
		break;
	case FIELD_T_MSG:
		buf_printf(out, "`%s` | -", f->sub->name);
		break;
	case FIELD_T_LIST:
		buf_printf(out, "list of `%s` | %zu items", f->sub->name,
			   f->limit);
		break;
	case FIELD_T_STRS:
		buf_printf(out, "list of text | %zu items of %d bytes",
			   f->limit, STRS_MAX_TEXT);
		break;
	case FIELD_T_U32S:
		buf_printf(out, "ascending uint32 | %zu items", f->limit);
		break;
	}
}

/* Text in a table's cell, where a bar would end it. */
static void doc_cell(const char *s, struct buf *out)
{
	for (; *s; s++) {
		if (*s == '|')
			buf_u8(out, '\\');
		buf_u8(out, (uint8_t)*s);
	}
}

void fields_doc(const struct message *m, struct buf *out)
{
	if (!m->nfields) {
		buf_add_str(out, "No fields: an empty array.\n");
		return;
	}
	buf_add_str(out, "| # | name | type | limit | meaning |\n"
			 "|---|---|---|---|---|\n");
	for (size_t i = 0; i < m->nfields; i++) {
		const struct field *f = &m->fields[i];
		buf_printf(out, "| %zu | `%s` | ", i, f->name);
		doc_type(f, out);
		buf_add_str(out, " | ");
		doc_cell(f->doc, out);
		if (f->since)
			buf_printf(out, " (since version %u)", f->since);
		buf_add_str(out, " |\n");
	}
}
