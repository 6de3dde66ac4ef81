/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/json.h"

#include <math.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct json *parse(const char *s)
{
	struct json *j = NULL;
	assert_int_equal(json_parse(s, strlen(s), NULL, &j), OK);
	return j;
}

static void assert_json(struct json *take_j, const char *want)
{
	struct buf b = {0};
	json_write(take_j, &b);
	assert_string_equal(buf_str(&b), want);
	buf_release(&b);
	json_free(take_j);
}

static void assert_refused(const char *s, size_t n, enum err want,
			   const char *words)
{
	struct buf why = {0};
	struct json *j = (struct json *)1;
	if (json_parse(s, n, &why, &j) != want)
		fail_msg("not refused: %s", s);
	assert_ptr_equal(j, (struct json *)1); /* untouched */
	if (!strstr(buf_str(&why), words))
		fail_msg("\"%s\" does not say %s", buf_str(&why), words);
	buf_release(&why);
	assert_int_equal(json_parse(s, n, NULL, &j), want);
}

static void test_writes_in_order_of_insertion(void **state)
{
	(void)state;
	struct json *o = json_object(), *a = json_array();
	json_set(o, "z", json_int(INT64_MIN));
	json_set(o, "a", json_str("x\n\"\\\x01"));
	json_set(o, "list", a);
	json_add(a, json_bool(true));
	json_add(a, json_bool(false));
	json_add(a, json_null());
	json_add(a, json_num(0.1));
	json_add(a, json_object());
	json_set(o, "z", json_int(7)); /* keeps its place */
	assert_json(o, "{\"z\":7,\"a\":\"x\\n\\\"\\\\\\u0001\","
		       "\"list\":[true,false,null,0.1,{}]}");
}

static void test_numbers(void **state)
{
	static const struct {
		double v;
		const char *text;
	} nums[] = {
	    {0.5, "0.5"},
	    {3, "3.0"},
	    {-0.0, "-0.0"},
	    {1e300, "1e+300"},
	    {2.0 / 3, "0.6666666666666666"},
	    {0.1 + 0.2, "0.30000000000000004"},
	    {123456789.25, "123456789.25"},
	};
	(void)state;
	for (size_t i = 0; i < HN_COUNT(nums); i++) {
		struct json *j = parse(nums[i].text);
		assert_true(json_get_num(j) == nums[i].v);
		json_free(j);
		assert_json(json_num(nums[i].v), nums[i].text);
	}
	assert_json(json_num(NAN), "null");
	assert_json(json_num(INFINITY), "null");
	struct json *j = parse("9223372036854775807");
	assert_int_equal(json_type(j), JSON_INT);
	assert_true(json_get_int(j) == INT64_MAX);
	assert_json(j, "9223372036854775807");
	assert_refused("9223372036854775808", 19, ERR_INPUT, "too big");
}

static void test_strings_become_utf8(void **state)
{
	(void)state;
	assert_json(json_str(NULL), "null");
	assert_json(json_str("\xc3\xa4"), "\"\xc3\xa4\"");
	assert_json(json_str("a\xff\xc3"), "\"a\xef\xbf\xbd\xef\xbf\xbd\"");
	/* Overlong, surrogate, beyond Unicode. */
	assert_json(json_str("\xc0\xaf"), "\"\xef\xbf\xbd\xef\xbf\xbd\"");
	assert_json(json_str("\xed\xa0\x80"),
		    "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
	assert_json(json_str_n("a\0b", 3), "\"a\xef\xbf\xbd"
					   "b\"");
	struct json *o = json_object();
	json_set(o, "k\xff", json_int(1));
	assert_json(o, "{\"k\xef\xbf\xbd\":1}");
}

static bool add_key(const char *key, const struct json *v, void *arg)
{
	buf_printf(arg, "%s=%lld ", key, (long long)json_get_int(v));
	return json_get_int(v) < 3;
}

static void test_looking(void **state)
{
	(void)state;
	struct json *j = parse(" {\"b\": 1, \"a\": 2, \"c\": 3, \"d\": 4,"
			       "\"s\": \"x\", \"f\": 2.5, \"t\": true,"
			       "\"n\": null, \"l\": [1, [2]]}\n");
	struct buf keys = {0};
	json_each(j, add_key, &keys);
	assert_string_equal(buf_str(&keys), "b=1 a=2 c=3 ");
	buf_release(&keys);
	assert_int_equal(json_type(j), JSON_OBJECT);
	assert_int_equal(json_count(j), 9);
	assert_string_equal(json_get_str(json_get(j, "s")), "x");
	assert_true(json_get_num(json_get(j, "f")) == 2.5);
	assert_true(json_get_num(json_get(j, "b")) == 1);
	assert_true(json_get_bool(json_get(j, "t")));
	assert_int_equal(json_type(json_get(j, "n")), JSON_NULL);
	assert_non_null(json_get(j, "n"));
	assert_int_equal(json_count(json_get(j, "l")), 2);
	assert_int_equal(json_get_int(json_at(json_at(json_get(j, "l"), 1), 0)),
			 2);
	/* Absent or of another type. */
	assert_null(json_get(j, "x"));
	assert_null(json_get(json_get(j, "l"), "x"));
	assert_null(json_at(j, 0));
	assert_null(json_at(json_get(j, "l"), 2));
	assert_null(json_get_str(json_get(j, "b")));
	assert_int_equal(json_get_int(json_get(j, "f")), 0);
	assert_false(json_get_bool(json_get(j, "b")));
	assert_int_equal(json_count(json_get(j, "s")), 0);
	assert_null(json_get(NULL, "x"));
	assert_null(json_get_str(NULL));
	assert_int_equal(json_get_int(NULL), 0);
	assert_int_equal(json_type(NULL), JSON_NULL);
	json_each(NULL, add_key, NULL);
	json_free(j);
	json_free(NULL);
}

static void test_any_value_at_the_top(void **state)
{
	(void)state;
	assert_json(parse("\"x\""), "\"x\"");
	assert_json(parse("null"), "null");
	assert_json(parse(" [ ] "), "[]");
}

static void test_refuses_what_is_not_json(void **state)
{
	static const char *const bad[] = {
	    "",		"{",	       "{\"a\":1} x", "[1,]",	  "{a:1}",
	    "\"\xff\"", "\"\\u0000\"", "\"\\ud800\"", "NaN",	  "'x'",
	    "[1e999]",	"\"a\nb\"",    "01",	      "[\"\\\"]",
	};
	(void)state;
	for (size_t i = 0; i < HN_COUNT(bad); i++)
		assert_refused(bad[i], strlen(bad[i]), ERR_INPUT, "line 1");
	assert_refused("1\0", 2, ERR_INPUT, "line 1");
	assert_refused("{\n\"a\": x}", 9, ERR_INPUT, "line 2 column 6");
}

static void test_refuses_a_key_twice(void **state)
{
	(void)state;
	assert_refused("{\"a\":1,\"a\":1}", 13, ERR_INPUT, "duplicate");
	assert_refused("{\"a\":1,\"\\u0061\":1}", 18, ERR_INPUT, "duplicate");
}

static char *nested(size_t depth, const char *open, const char *close)
{
	struct buf b = {0};
	size_t n;
	for (size_t i = 0; i < depth; i++)
		buf_add_str(&b, open);
	buf_add_str(&b, "1");
	for (size_t i = 0; i < depth; i++)
		buf_add_str(&b, close);
	buf_u8(&b, 0);
	return (char *)buf_take(&b, &n);
}

static void test_depth_limit(void **state)
{
	(void)state;
	char *s = nested(JSON_MAX_DEPTH, "[", "]");
	assert_json(parse(s), s);
	free(s);
	s = nested(JSON_MAX_DEPTH, "{\"a\":", "}");
	assert_json(parse(s), s);
	free(s);
	s = nested(JSON_MAX_DEPTH + 1, "[", "]");
	assert_refused(s, strlen(s), ERR_LIMIT, "deep");
	free(s);
	s = nested(100000, "{\"a\":", "}");
	assert_refused(s, strlen(s), ERR_LIMIT, "deep");
	free(s);
	/* Brackets in strings and next to each other do not count. */
	assert_json(
	    parse("[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[\"]"),
	    "[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[\"]");
	json_free(parse("[[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],"
			"[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[]]"));
}

static void test_size_limit(void **state)
{
	char *s = xmalloc(JSON_MAX_TEXT + 1);
	(void)state;
	memset(s, ' ', JSON_MAX_TEXT + 1);
	s[5] = '7';
	struct json *j;
	assert_int_equal(json_parse(s, JSON_MAX_TEXT, NULL, &j), OK);
	assert_int_equal(json_get_int(j), 7);
	json_free(j);
	assert_refused(s, JSON_MAX_TEXT + 1, ERR_LIMIT, "bytes");
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_writes_in_order_of_insertion),
	    cmocka_unit_test(test_numbers),
	    cmocka_unit_test(test_strings_become_utf8),
	    cmocka_unit_test(test_looking),
	    cmocka_unit_test(test_any_value_at_the_top),
	    cmocka_unit_test(test_refuses_what_is_not_json),
	    cmocka_unit_test(test_refuses_a_key_twice),
	    cmocka_unit_test(test_depth_limit),
	    cmocka_unit_test(test_size_limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
