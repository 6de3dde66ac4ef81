/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_add_grows_and_keeps(void **state)
{
	(void)state;
	struct buf b = {0};
	for (unsigned i = 0; i < 1000; i++)
		buf_u8(&b, (uint8_t)i);
	assert_int_equal(b.n, 1000);
	assert_true(b.cap >= b.n);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(b.p[i], (uint8_t)i);
	buf_release(&b);
	assert_null(b.p);
	assert_int_equal(b.n + b.cap, 0);
	buf_release(&b);
}

static void test_nothing_added_to_nothing(void **state)
{
	(void)state;
	struct buf b = {0};
	buf_add(&b, NULL, 0);
	buf_drop(&b, 0);
	assert_int_equal(b.n, 0);
	assert_string_equal(buf_str(&b), "");
	buf_release(&b);
}

static void test_printf_of_any_length(void **state)
{
	(void)state;
	char text[300];
	memset(text, 'x', sizeof(text));
	for (size_t n = 0; n < sizeof(text); n++) {
		struct buf b = {0};
		buf_printf(&b, "%.*s|", (int)n, text);
		buf_printf(&b, "%d", 42);
		assert_int_equal(b.n, n + 3);
		assert_memory_equal(b.p, text, n);
		assert_string_equal(buf_str(&b) + n, "|42");
		buf_release(&b);
	}
}

static void test_drop_clear_take(void **state)
{
	(void)state;
	struct buf b = {0};
	size_t n;

	buf_add_str(&b, "hello world");
	buf_drop(&b, 6);
	assert_string_equal(buf_str(&b), "world");
	uint8_t *p = buf_take(&b, &n);
	assert_int_equal(n, 5);
	assert_memory_equal(p, "world", 5);
	free(p);
	assert_null(b.p);

	buf_add_str(&b, "again");
	buf_drop(&b, 5);
	assert_int_equal(b.n, 0);
	buf_add_str(&b, "more");
	const size_t cap = b.cap;
	buf_clear(&b);
	assert_int_equal(b.n, 0);
	assert_int_equal(b.cap, cap);
	buf_release(&b);
}

static void test_integers_come_back(void **state)
{
	(void)state;
	struct buf b = {0};
	buf_u8(&b, 0x01);
	buf_be16(&b, 0x0203);
	buf_be32(&b, 0x04050607);
	assert_int_equal(b.n, 7);
	for (unsigned i = 0; i < 7; i++)
		assert_int_equal(b.p[i], i + 1);

	struct reader r = reader_of(b.p, b.n);
	assert_int_equal(read_u8(&r), 0x01);
	assert_int_equal(read_be16(&r), 0x0203);
	assert_int_equal(read_be32(&r), 0x04050607);
	assert_int_equal(reader_left(&r), 0);
	assert_false(r.failed);
	buf_release(&b);
}

static void test_reader_stays_failed(void **state)
{
	(void)state;
	const uint8_t p[] = {1, 2, 3, 4, 5};
	struct reader r = reader_of(p, sizeof(p));
	assert_int_equal(read_u8(&r), 1);
	assert_null(read_bytes(&r, 8));
	assert_true(r.failed);
	/* What would have fitted reads as zero now. */
	assert_int_equal(read_u8(&r), 0);
	assert_int_equal(read_be16(&r), 0);
	assert_int_equal(read_be32(&r), 0);
	assert_null(read_bytes(&r, 0));
	assert_int_equal(reader_left(&r), 0);
}

static void test_reader_bounds_are_exact(void **state)
{
	(void)state;
	const uint8_t p[4] = {0};
	for (size_t n = 0; n <= 4; n++) {
		struct reader r = reader_of(p, n);
		read_be32(&r);
		assert_int_equal(r.failed, n < 4);
		r = reader_of(p, n);
		assert_int_equal(read_bytes(&r, 3) != NULL, n >= 3);
		r = reader_of(p, n);
		assert_null(read_bytes(&r, SIZE_MAX));
	}
	struct reader none = reader_of(NULL, 0);
	assert_non_null(read_bytes(&none, 0));
	read_u8(&none);
	assert_true(none.failed);
}

static void test_fixed_width_in_memory(void **state)
{
	(void)state;
	uint8_t p[8];
	put_be32(p, 0x01020304);
	assert_int_equal(get_be32(p), 0x01020304);
	assert_int_equal(get_le32(p), 0x04030201);
	put_le32(p, 0xfffefdfc);
	assert_int_equal(p[0], 0xfc);
	assert_int_equal(get_le32(p), 0xfffefdfc);
	put_be64(p, UINT64_MAX - 1);
	assert_true(get_be64(p) == UINT64_MAX - 1);
}

static void test_hex_both_ways(void **state)
{
	(void)state;
	uint8_t p[3] = {9, 9, 9};
	char hex[7];
	hex_encode("\x00\xaf\x10", 3, hex);
	assert_string_equal(hex, "00af10");
	assert_true(hex_decode("00aF10", p, 3));
	assert_memory_equal(p, "\x00\xaf\x10", 3);
	assert_true(hex_decode("", p, 0));
	char *dup = hex_dup(p, 3);
	assert_string_equal(dup, "00af10");
	free(dup);
}

static void test_hex_refuses_and_leaves_output(void **state)
{
	(void)state;
	static const char *const bad[] = {"",	    "00af1",	"00af100",
					  "00af1g", "00af1000", "0x00af",
					  " 00af1", "00 af1",	"00af1\n"};
	uint8_t p[3] = {7, 7, 7};
	for (size_t i = 0; i < HN_COUNT(bad); i++) {
		assert_false(hex_decode(bad[i], p, 3));
		assert_memory_equal(p, "\7\7\7", 3);
	}
}

static void test_hex_buf_has_a_limit(void **state)
{
	(void)state;
	struct buf b = {0};
	assert_int_equal(hex_decode_buf("0102", 4, 2, &b), OK);
	assert_int_equal(hex_decode_buf("0102", 4, 1, &b), ERR_LIMIT);
	assert_int_equal(hex_decode_buf("010", 3, 9, &b), ERR_INPUT);
	assert_int_equal(hex_decode_buf("01zz", 4, 9, &b), ERR_INPUT);
	assert_int_equal(hex_decode_buf("", 0, 0, &b), OK);
	assert_int_equal(hex_decode_buf("ffEE", 2, 9, &b), OK);
	assert_int_equal(b.n, 3);
	assert_memory_equal(b.p, "\x01\x02\xff", 3);
	buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_add_grows_and_keeps),
	    cmocka_unit_test(test_nothing_added_to_nothing),
	    cmocka_unit_test(test_printf_of_any_length),
	    cmocka_unit_test(test_drop_clear_take),
	    cmocka_unit_test(test_integers_come_back),
	    cmocka_unit_test(test_reader_stays_failed),
	    cmocka_unit_test(test_reader_bounds_are_exact),
	    cmocka_unit_test(test_fixed_width_in_memory),
	    cmocka_unit_test(test_hex_both_ways),
	    cmocka_unit_test(test_hex_refuses_and_leaves_output),
	    cmocka_unit_test(test_hex_buf_has_a_limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
