/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/pack.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The bytes of a string literal, NULs included. */
#define UNPACK(literal) unpack_of(literal, sizeof(literal) - 1)

static const uint64_t uints[] = {0,
				 1,
				 127,
				 128,
				 255,
				 256,
				 65535,
				 65536,
				 UINT32_MAX,
				 1ull << 32,
				 INT64_MAX,
				 1ull << 63,
				 UINT64_MAX - 1,
				 UINT64_MAX};
static const int64_t ints[] = {
    0,	    127,    128,       INT64_MAX,	-1,	  -32, -33, -128, -129,
    -32768, -32769, INT32_MIN, INT32_MIN - 1ll, INT64_MIN};

static void test_integers_round_trip(void **state)
{
	(void)state;
	struct buf b = {0};
	for (size_t i = 0; i < HN_COUNT(uints); i++)
		pack_uint(&b, uints[i]);
	for (size_t i = 0; i < HN_COUNT(ints); i++)
		pack_int(&b, ints[i]);

	struct unpack u = unpack_of(b.p, b.n);
	for (size_t i = 0; i < HN_COUNT(uints); i++) {
		assert_int_equal(unpack_peek(&u), PACK_UINT);
		assert_true(unpack_uint(&u) == uints[i]);
	}
	for (size_t i = 0; i < HN_COUNT(ints); i++) {
		assert_int_equal(unpack_peek(&u),
				 ints[i] < 0 ? PACK_INT : PACK_UINT);
		assert_true(unpack_int(&u) == ints[i]);
	}
	assert_true(unpack_done(&u));
	buf_release(&b);
}

static void test_any_width_is_read(void **state)
{
	(void)state;
	struct unpack u = UNPACK("\xcf\0\0\0\0\0\0\0\x05"
				 "\xce\0\0\0\x05\xcd\0\x05\xcc\x05\xd0\x05"
				 "\xd1\0\x05\xd2\0\0\0\x05"
				 "\xd3\0\0\0\0\0\0\0\x05");
	for (int i = 0; i < 8; i++) {
		assert_int_equal(unpack_peek(&u), PACK_UINT);
		assert_int_equal(unpack_uint(&u), 5);
	}
	assert_true(unpack_done(&u));

	u = UNPACK("\xff\xd0\xff\xd1\xff\xff\xd2\xff\xff\xff\xff"
		   "\xd3\xff\xff\xff\xff\xff\xff\xff\xff");
	for (int i = 0; i < 5; i++) {
		assert_int_equal(unpack_peek(&u), PACK_INT);
		assert_int_equal(unpack_int(&u), -1);
	}
	assert_true(unpack_done(&u));
}

static void test_integers_out_of_range_fail(void **state)
{
	(void)state;
	struct unpack u = UNPACK("\xff");
	assert_int_equal(unpack_uint(&u), 0);
	assert_int_equal(u.err, ERR_PROTO);
	u = UNPACK("\xcf\x80\0\0\0\0\0\0\0");
	assert_int_equal(unpack_int(&u), 0);
	assert_int_equal(u.err, ERR_PROTO);
}

static void test_simple_values(void **state)
{
	(void)state;
	struct buf b = {0};
	pack_nil(&b);
	pack_bool(&b, true);
	pack_bool(&b, false);
	pack_double(&b, -0.5);
	pack_array(&b, 2);
	pack_int(&b, -7);
	pack_uint(&b, 7);

	struct unpack u = unpack_of(b.p, b.n);
	assert_int_equal(unpack_peek(&u), PACK_NIL);
	assert_true(unpack_nil(&u));
	assert_false(unpack_nil(&u));
	assert_int_equal(unpack_peek(&u), PACK_BOOL);
	assert_true(unpack_bool(&u));
	assert_false(unpack_bool(&u));
	assert_int_equal(unpack_peek(&u), PACK_DOUBLE);
	assert_true(unpack_double(&u) == -0.5);
	assert_int_equal(unpack_peek(&u), PACK_ARRAY);
	assert_int_equal(unpack_array(&u), 2);
	assert_true(unpack_double(&u) == -7.0);
	assert_true(unpack_double(&u) == 7.0);
	assert_int_equal(unpack_peek(&u), PACK_END);
	assert_true(unpack_done(&u));
	buf_release(&b);

	u = UNPACK("\xca\x3f\xc0\0\0");
	assert_true(unpack_double(&u) == 1.5);
	u = UNPACK("\xca\x7f\x80\0\0");
	assert_true(isinf(unpack_double(&u)));
	assert_true(unpack_done(&u));
}

static void test_text_and_bytes_of_all_lengths(void **state)
{
	(void)state;
	static const size_t sizes[] = {0,   1,	 31,	32,    255,
				       256, 300, 65535, 65536, 70000};
	char *text = xmalloc(70000);
	memset(text, 'x', 70000);
	for (size_t i = 0; i < HN_COUNT(sizes); i++) {
		const size_t n = sizes[i];
		struct buf b = {0};
		pack_str(&b, text, n);
		pack_bin(&b, text, n);
		struct unpack u = unpack_of(b.p, b.n);
		assert_int_equal(unpack_peek(&u), PACK_STR);
		struct bytes s = unpack_str(&u, n);
		assert_int_equal(s.n, n);
		assert_memory_equal(s.p, text, n);
		assert_int_equal(unpack_peek(&u), PACK_BIN);
		s = unpack_bin(&u, n);
		assert_int_equal(s.n, n);
		assert_memory_equal(s.p, text, n);
		assert_true(unpack_done(&u));
		if (n) {
			u = unpack_of(b.p, b.n);
			unpack_str(&u, n - 1);
			assert_int_equal(u.err, ERR_LIMIT);
		}
		buf_release(&b);
	}
	free(text);
}

static void test_text_must_be_utf8(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool good;
	} rows[] = {
	    {"plain", true},
	    {"\xc3\xa4", true},
	    {"\xe2\x82\xac", true},
	    {"\xf0\x9f\x98\x80", true},
	    {"\xc3", false},
	    {"\x80", false},
	    {"\xc0\x80", false},
	    {"\xed\xa0\x80", false},
	    {"\xf4\x90\x80\x80", false},
	    {"ok\xff", false},
	};
	for (size_t i = 0; i < HN_COUNT(rows); i++) {
		struct buf b = {0};
		pack_str(&b, rows[i].text, strlen(rows[i].text));
		struct unpack u = unpack_of(b.p, b.n);
		const struct bytes s = unpack_str(&u, 99);
		assert_int_equal(u.err, rows[i].good ? OK : ERR_PROTO);
		assert_int_equal(s.n, rows[i].good ? strlen(rows[i].text) : 0);
		buf_release(&b);
	}
}

static void test_lengths_beyond_the_input_fail(void **state)
{
	(void)state;
	struct unpack u = UNPACK("\xdb\xff\xff\xff\xff"
				 "abc");
	assert_null(unpack_str(&u, SIZE_MAX).p);
	assert_int_equal(u.err, ERR_PROTO);
	u = UNPACK("\xdd\xff\xff\xff\xff\0\0\0");
	assert_int_equal(unpack_array(&u), 0);
	assert_int_equal(u.err, ERR_PROTO);
	u = UNPACK("\x93\0\0");
	assert_int_equal(unpack_array(&u), 0);
	assert_int_equal(u.err, ERR_PROTO);
	u = UNPACK("\x92\0\0");
	assert_int_equal(unpack_array(&u), 2);
	assert_int_equal(u.err, OK);
}

static void test_maps_and_extensions_are_refused_but_skipped(void **state)
{
	(void)state;
	static const struct {
		const char *p;
		size_t n;
	} rows[] = {
#define ROW(literal) {literal, sizeof(literal) - 1}
	    ROW("\x80"),
	    ROW("\x82\x01\xa1x\x02\x91\xc0"),
	    ROW("\xde\0\x01\x01\x02"),
	    ROW("\xdf\0\0\0\x01\x01\x02"),
	    ROW("\xd4\x01x"),
	    ROW("\xd5\x01xx"),
	    ROW("\xd6\x01xxxx"),
	    ROW("\xd7\x01xxxxxxxx"),
	    ROW("\xd8\x01xxxxxxxxxxxxxxxx"),
	    ROW("\xc7\x03\x01xxx"),
	    ROW("\xc8\0\x03\x01xxx"),
	    ROW("\xc9\0\0\0\x03\x01xxx"),
	    ROW("\xc7\0\x01"),
#undef ROW
	};
	for (size_t i = 0; i < HN_COUNT(rows); i++) {
		struct unpack u = unpack_of(rows[i].p, rows[i].n);
		assert_int_equal(unpack_peek(&u), PACK_END);
		assert_int_equal(u.err, ERR_PROTO);
		u = unpack_of(rows[i].p, rows[i].n);
		unpack_skip(&u);
		assert_true(unpack_done(&u));
		for (size_t n = 0; n < rows[i].n; n++) {
			u = unpack_of(rows[i].p, n);
			unpack_skip(&u);
			assert_int_equal(u.err, ERR_PROTO);
		}
	}
}

static void test_skip_leaves_the_next_value(void **state)
{
	(void)state;
	struct buf b = {0};
	pack_array(&b, 3);
	pack_array(&b, 0);
	pack_str(&b, "abc", 3);
	pack_array(&b, 2);
	pack_double(&b, 1);
	pack_nil(&b);
	pack_uint(&b, 42);
	struct unpack u = unpack_of(b.p, b.n);
	unpack_skip(&u);
	assert_int_equal(unpack_uint(&u), 42);
	assert_true(unpack_done(&u));
	buf_release(&b);
}

static void test_skip_has_a_depth(void **state)
{
	(void)state;
	uint8_t nested[64];
	memset(nested, 0x91, sizeof(nested));
	nested[PACK_DEPTH] = 0xc0;
	struct unpack u = unpack_of(nested, PACK_DEPTH + 1);
	unpack_skip(&u);
	assert_true(unpack_done(&u));

	nested[PACK_DEPTH] = 0x91;
	nested[PACK_DEPTH + 1] = 0xc0;
	u = unpack_of(nested, PACK_DEPTH + 2);
	unpack_skip(&u);
	assert_int_equal(u.err, ERR_LIMIT);
}

static void test_unused_byte_and_wrong_types_fail(void **state)
{
	(void)state;
	struct unpack u = UNPACK("\xc1");
	assert_int_equal(unpack_peek(&u), PACK_END);
	assert_int_equal(u.err, ERR_PROTO);
	u = UNPACK("\xa1x");
	unpack_bin(&u, 9);
	assert_int_equal(u.err, ERR_PROTO);
	u = UNPACK("\xc4\x01x");
	unpack_str(&u, 9);
	assert_int_equal(u.err, ERR_PROTO);
	u = UNPACK("\x01");
	unpack_bool(&u);
	assert_int_equal(u.err, ERR_PROTO);
	u = UNPACK("\xc3");
	unpack_double(&u);
	assert_int_equal(u.err, ERR_PROTO);
	u = UNPACK("\xc0");
	unpack_array(&u);
	assert_int_equal(u.err, ERR_PROTO);
}

static void test_first_failure_is_kept(void **state)
{
	(void)state;
	struct unpack u = UNPACK("\xa3xyz\x01");
	unpack_str(&u, 2);
	assert_int_equal(u.err, ERR_LIMIT);
	assert_int_equal(unpack_uint(&u), 0);
	assert_int_equal(unpack_int(&u), 0);
	assert_false(unpack_nil(&u));
	assert_true(unpack_double(&u) == 0);
	assert_int_equal(unpack_array(&u), 0);
	assert_null(unpack_bin(&u, 9).p);
	unpack_skip(&u);
	unpack_fail(&u, ERR_CRYPTO);
	assert_int_equal(unpack_peek(&u), PACK_END);
	assert_int_equal(u.err, ERR_LIMIT);
	assert_false(unpack_done(&u));
}

static void test_end_of_input(void **state)
{
	(void)state;
	struct unpack u = unpack_of(NULL, 0);
	assert_int_equal(unpack_peek(&u), PACK_END);
	assert_false(unpack_nil(&u));
	assert_true(unpack_done(&u));
	unpack_uint(&u);
	assert_int_equal(u.err, ERR_PROTO);
	/* A head that is cut fails already when it is looked at. */
	u = UNPACK("\xcd\x01");
	assert_int_equal(unpack_peek(&u), PACK_END);
	assert_int_equal(u.err, ERR_PROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_integers_round_trip),
	    cmocka_unit_test(test_any_width_is_read),
	    cmocka_unit_test(test_integers_out_of_range_fail),
	    cmocka_unit_test(test_simple_values),
	    cmocka_unit_test(test_text_and_bytes_of_all_lengths),
	    cmocka_unit_test(test_text_must_be_utf8),
	    cmocka_unit_test(test_lengths_beyond_the_input_fail),
	    cmocka_unit_test(test_maps_and_extensions_are_refused_but_skipped),
	    cmocka_unit_test(test_skip_leaves_the_next_value),
	    cmocka_unit_test(test_skip_has_a_depth),
	    cmocka_unit_test(test_unused_byte_and_wrong_types_fail),
	    cmocka_unit_test(test_first_failure_is_kept),
	    cmocka_unit_test(test_end_of_input),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
