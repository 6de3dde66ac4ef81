/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A struct json is jansson's json_t under another name. The names that both
 * headers use are given back to jansson here; ours are then hn_json_*.
 */
#include "node/base/json.h"

#include "node/base/mem.h"
#include "node/base/utf8.h"

#undef json_object
#undef json_array
#undef json_null
#undef json_type
#undef JSON_NULL
#undef JSON_ARRAY
#undef JSON_OBJECT
#include <jansson.h>

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct json *ours(json_t *j)
{
	if (!j) {
		fputs("hnode: out of memory\n", stderr);
		abort();
	}
	return (struct json *)j;
}

static json_t *theirs(const struct json *j)
{
	return (json_t *)j;
}

/* Reading */

/*
 * jansson's own depth limit is 2048, fixed when it was built, so nesting is
 * counted before it sees the text. Brackets inside strings do not count; in
 * text that is no JSON the count means nothing, but then jansson says so.
 */
static bool too_deep(const char *text, size_t n)
{
	size_t depth = 0;
	bool quoted = false;

	for (size_t i = 0; i < n; i++) {
		char c = text[i];
		if (quoted && c == '\\')
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted && (c == '[' || c == '{') &&
			 ++depth > JSON_MAX_DEPTH)
			return true;
		else if (!quoted && (c == ']' || c == '}') && depth)
			depth--;
	}
	return false;
}

/* jansson takes a NUL behind the value for the end of the text. */
static bool has_nul(const char *text, size_t n, struct buf *why)
{
	const char *nul = n ? memchr(text, '\0', n) : NULL;
	size_t line = 1;

	if (!nul)
		return false;
	for (const char *p = text; p < nul; p++)
		line += *p == '\n';
	if (why)
		buf_printf(why, "not valid JSON at line %zu: a NUL byte", line);
	return true;
}

enum err json_parse(const char *text, size_t n, struct buf *why,
		    struct json **out)
{
	json_error_t e;

	if (n > JSON_MAX_TEXT) {
		if (why)
			buf_printf(why,
				   "the JSON text has %zu bytes, at most "
				   "%u are read",
				   n, JSON_MAX_TEXT);
		return ERR_LIMIT;
	}
	if (too_deep(text, n)) {
		if (why)
			buf_printf(why,
				   "the JSON text is nested more than %d "
				   "deep",
				   JSON_MAX_DEPTH);
		return ERR_LIMIT;
	}
	if (has_nul(text, n, why))
		return ERR_INPUT;
	json_t *j =
	    json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
	if (!j) {
		if (why)
			buf_printf(why,
				   "not valid JSON at line %d column %d: "
				   "%s",
				   e.line, e.column, e.text);
		return ERR_INPUT;
	}
	*out = ours(j);
	return OK;
}

void json_free(struct json *j)
{
	json_decref(theirs(j));
}

/* Writing */

/* The fewest digits that read back as the same number, and a mark that says
 * it is no integer. */
static void write_num(double v, struct buf *out)
{
	char s[40];

	for (int digits = 15; digits <= 17; digits++) {
		snprintf(s, sizeof(s), "%.*g", digits, v);
		if (strtod(s, NULL) == v)
			break;
	}
	char *comma = strchr(s, ','); /* some locales */
	if (comma)
		*comma = '.';
	buf_add_str(out, s);
	if (!strpbrk(s, ".e"))
		buf_add_str(out, ".0");
}

static void write_str(const char *s, size_t n, struct buf *out)
{
	size_t from = 0;

	buf_add(out, "\"", 1);
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];
		if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
			continue;
		buf_add(out, s + from, i - from);
		from = i + 1;
		if (c == '"' || c == '\\')
			buf_printf(out, "\\%c", c);
		else if (c == '\n')
			buf_add_str(out, "\\n");
		else if (c == '\t')
			buf_add_str(out, "\\t");
		else
			buf_printf(out, "\\u%04x", c);
	}
	buf_add(out, s + from, n - from);
	buf_add(out, "\"", 1);
}

static void write_array(json_t *j, struct buf *out)
{
	buf_add(out, "[", 1);
	for (size_t i = 0; i < json_array_size(j); i++) {
		if (i)
			buf_add(out, ",", 1);
		json_write((struct json *)json_array_get(j, i), out);
	}
	buf_add(out, "]", 1);
}

static void write_object(json_t *j, struct buf *out)
{
	const char *key, *sep = "";
	json_t *v;

	buf_add(out, "{", 1);
	json_object_foreach(j, key, v)
	{
		buf_add_str(out, sep);
		write_str(key, strlen(key), out);
		buf_add(out, ":", 1);
		json_write((struct json *)v, out);
		sep = ",";
	}
	buf_add(out, "}", 1);
}

/* Recursion is as deep as the tree: a parsed one is bounded, another one is
 * our own. */
void json_write(const struct json *value, struct buf *out)
{
	json_t *j = theirs(value);

	switch (json_typeof(j)) {
	case JSON_OBJECT:
		write_object(j, out);
		break;
	case JSON_ARRAY:
		write_array(j, out);
		break;
	case JSON_STRING:
		write_str(json_string_value(j), json_string_length(j), out);
		break;
	case JSON_INTEGER:
		buf_printf(out, "%lld", (long long)json_integer_value(j));
		break;
	case JSON_REAL:
		write_num(json_real_value(j), out);
		break;
	case JSON_TRUE:
		buf_add_str(out, "true");
		break;
	case JSON_FALSE:
		buf_add_str(out, "false");
		break;
	case JSON_NULL:
		buf_add_str(out, "null");
		break;
	}
}

/* Making values */

struct json *hn_json_object(void)
{
	return ours(json_object());
}

struct json *hn_json_array(void)
{
	return ours(json_array());
}

struct json *hn_json_null(void)
{
	return ours(json_null());
}

/* What is not UTF-8 becomes U+FFFD, byte by byte, and so does a NUL: jansson
 * would take it, but every reader here sees a C string. */
static char *clean(const char *s, size_t n)
{
	char *out = xmalloc(3 * n + 1), *o = out;

	for (size_t i = 0; i < n;) {
		size_t step = s[i] ? utf8_step(s + i, n - i, NULL) : 0;
		const char *from = step ? s + i : "\xef\xbf\xbd";
		size_t len = step ? step : 3;
		memcpy(o, from, len);
		o += len;
		i += step ? step : 1;
	}
	*o = '\0';
	return out;
}

struct json *json_str_n(const void *p, size_t n)
{
	char *s = clean(p, n);
	struct json *j = ours(json_string_nocheck(s));
	free(s);
	return j;
}

struct json *json_str(const char *s)
{
	return s ? json_str_n(s, strlen(s)) : hn_json_null();
}

struct json *json_int(int64_t v)
{
	return ours(json_integer(v));
}

struct json *json_num(double v)
{
	return isfinite(v) ? ours(json_real(v)) : hn_json_null();
}

struct json *json_bool(bool v)
{
	return ours(json_boolean(v));
}

void json_set(struct json *object, const char *key, struct json *take_value)
{
	assert(json_is_object(theirs(object)) && take_value);
	char *k = clean(key, strlen(key));
	int failed =
	    json_object_set_new_nocheck(theirs(object), k, theirs(take_value));
	free(k);
	assert(!failed);
	(void)failed;
}

void json_add(struct json *array, struct json *take_value)
{
	assert(json_is_array(theirs(array)) && take_value);
	int failed = json_array_append_new(theirs(array), theirs(take_value));
	assert(!failed);
	(void)failed;
}

/* Looking */

enum hn_json_type hn_json_type(const struct json *value)
{
	json_t *j = theirs(value);

	if (!j)
		return HN_JSON_NULL;
	switch (json_typeof(j)) {
	case JSON_OBJECT:
		return HN_JSON_OBJECT;
	case JSON_ARRAY:
		return HN_JSON_ARRAY;
	case JSON_STRING:
		return JSON_STR;
	case JSON_INTEGER:
		return JSON_INT;
	case JSON_REAL:
		return JSON_NUM;
	case JSON_TRUE:
	case JSON_FALSE:
		return JSON_BOOL;
	case JSON_NULL:
		return HN_JSON_NULL;
	}
	return HN_JSON_NULL;
}

const struct json *json_get(const struct json *object, const char *key)
{
	return (struct json *)json_object_get(theirs(object), key);
}

const struct json *json_at(const struct json *array, size_t i)
{
	return (struct json *)json_array_get(theirs(array), i);
}

size_t json_count(const struct json *j)
{
	/* Both give 0 for another type. */
	return json_array_size(theirs(j)) + json_object_size(theirs(j));
}

const char *json_get_str(const struct json *j)
{
	return json_string_value(theirs(j));
}

int64_t json_get_int(const struct json *j)
{
	return json_integer_value(theirs(j));
}

double json_get_num(const struct json *j)
{
	return json_number_value(theirs(j));
}

bool json_get_bool(const struct json *j)
{
	return json_is_true(theirs(j));
}

void json_each(const struct json *object,
	       bool (*fn)(const char *key, const struct json *v, void *arg),
	       void *arg)
{
	const char *key;
	json_t *v;

	json_object_foreach(theirs(object), key,
			    v) if (!fn(key, (struct json *)v, arg)) return;
}
