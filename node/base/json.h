/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_BASE_JSON_H
#define HN_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"

/*
 * The doorway to jansson: bounded reading and writing of JSON values. Pure;
 * any thread. A value is owned by whoever made it; adding it to an object or
 * array passes it on (take_).
 */
struct json; /* one value of any type; json_free frees the tree */

/*
 * jansson exports some of these very names; a program that exported them too
 * would be called from inside the library. Ours have other names for the
 * linker.
 */
#define json_object hn_json_object
#define json_array hn_json_array
#define json_null hn_json_null
#define json_type hn_json_type
#define JSON_NULL HN_JSON_NULL
#define JSON_ARRAY HN_JSON_ARRAY
#define JSON_OBJECT HN_JSON_OBJECT

#define JSON_MAX_TEXT (1u << 20) /* bytes read from outside */
#define JSON_MAX_DEPTH 32	 /* arrays and objects inside each other */

/*
 * One value of any type and then the end. ERR_INPUT (also for a key that is
 * there twice, an integer beyond 64 bits, a NUL in a string, bad UTF-8) with
 * line and column in why (may be NULL); ERR_LIMIT beyond the two limits.
 */
enum err json_parse(const char *text, size_t n, struct buf *why,
		    struct json **out) HN_CHECK;
void json_free(struct json *j); /* NULL is fine */
/* Compact, on one line, keys in the order of insertion; appended to out. A
 * number is written with as many digits as reading it back exactly takes. */
void json_write(const struct json *j, struct buf *out);

struct json *json_object(void);
struct json *json_array(void);
struct json *json_str(const char *s); /* NULL: null; bad UTF-8 is replaced */
struct json *json_str_n(const void *p, size_t n); /* a NUL is replaced too */
struct json *json_int(int64_t v);
struct json *json_num(double v); /* not finite: null */
struct json *json_bool(bool v);
struct json *json_null(void);
/* A key that is there already gets the new value in its old place. */
void json_set(struct json *object, const char *key, struct json *take_value);
void json_add(struct json *array, struct json *take_value);

enum json_type {
	JSON_NULL,
	JSON_BOOL,
	JSON_INT,
	JSON_NUM,
	JSON_STR,
	JSON_ARRAY,
	JSON_OBJECT
};
enum json_type json_type(const struct json *j); /* NULL: JSON_NULL */
/* Borrowed views; NULL or zero when absent or of another type. They take NULL
 * too, so that lookups can be chained. */
const struct json *json_get(const struct json *object, const char *key);
const struct json *json_at(const struct json *array, size_t i);
size_t json_count(const struct json *array_or_object);
const char *json_get_str(const struct json *j);
int64_t json_get_int(const struct json *j);
double json_get_num(const struct json *j); /* integers convert */
bool json_get_bool(const struct json *j);
/* Keys in order of insertion: fn returns false to stop. */
void json_each(const struct json *object,
	       bool (*fn)(const char *key, const struct json *v, void *arg),
	       void *arg);

#endif
