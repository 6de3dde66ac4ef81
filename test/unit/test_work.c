/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "asic/work.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "asic/sha256d.h"

/* Block 125552 of the Bitcoin block chain. */
static const char header_125552[] =
    "0100000081cd02ab7e569e8bcd9317e2fe99f2de44d49ab2b8851ba4a30800000000"
    "0000e320b6c2fffc8d750423db8b1eb942ae710e951ed797f7affc8892b0f1fc122b"
    "c7f5d74df2b9441a42a14695";

static void test_known_header_meets_its_own_target(void **state)
{
	uint8_t h[80], digest[32], target[32];
	char shown[65];
	struct buf why = {0};

	(void)state;
	assert_int_equal(header_parse(header_125552, 160, h, &why), OK);
	assert_int_equal(header_nbits(h), 0x1a44b9f2);
	assert_true(target_from_nbits(header_nbits(h), target));
	sha256d(h, 80, digest);
	digest_show(digest, shown);
	assert_string_equal(shown, "00000000000000001e8d6829a8a21adc5d38d0a473"
				   "b144b6765798e61f98bd1d");
	assert_true(sha256d_meets(digest, target));
	buf_release(&why);
}

static void test_nbits_edges(void **state)
{
	uint8_t t[32];
	char shown[65];

	(void)state;
	assert_true(target_from_nbits(0x1d00ffff, t));
	digest_show(t, shown);
	assert_string_equal(shown, "00000000ffff000000000000000000000000000000"
				   "0000000000000000000000");
	assert_int_equal(target_zero_bits(t), 32);
	assert_false(target_from_nbits(0x1d80ffff, t)); /* negative */
	assert_false(target_from_nbits(0x00ffffff, t)); /* shifted away */
	assert_false(target_from_nbits(0, t));
	assert_false(target_from_nbits(0xff00ffff, t)); /* over 256 bits */
	assert_true(target_from_nbits(0x2100ffff, t));	/* its zero byte is */
	assert_false(target_from_nbits(0x2200ffff, t));
	assert_true(target_from_nbits(0x01120000, t));
	assert_int_equal(t[0], 0x12);
	assert_true(target_from_nbits(0x03123456, t));
	assert_int_equal(t[0] | t[1] << 8 | t[2] << 16, 0x123456);
}

static void test_target_boundary_is_inclusive(void **state)
{
	uint8_t t[32], d[32];

	(void)state;
	assert_true(target_from_nbits(0x1d00ffff, t));
	memcpy(d, t, 32);
	assert_true(sha256d_meets(d, t));
	d[0] = 1;
	assert_false(sha256d_meets(d, t));
	memcpy(d, t, 32);
	d[26] = 0xfe;
	memset(d, 0xff, 26);
	assert_true(sha256d_meets(d, t));
}

static void test_difficulty_round_trip(void **state)
{
	static const double ds[] = {1, 2, 0.001, 1.0 / 65536, 16307.4209, 1e12};
	uint8_t a[32], b[32];

	(void)state;
	assert_true(target_from_difficulty(1, a));
	assert_true(target_from_nbits(0x1d00ffff, b));
	assert_memory_equal(a, b, 32);
	for (size_t i = 0; i < HN_COUNT(ds); i++) {
		assert_true(target_from_difficulty(ds[i], a));
		double back = target_difficulty(a);
		assert_true(fabs(back / ds[i] - 1) < 1e-9);
	}
	assert_false(target_from_difficulty(0, a));
	assert_false(target_from_difficulty(-1, a));
	assert_false(target_from_difficulty(NAN, a));
	assert_false(target_from_difficulty(INFINITY, a));
	assert_true(target_from_difficulty(1e-30, a));
	assert_int_equal(target_zero_bits(a), 0);
}

static void test_target_texts(void **state)
{
	static const char *const bad[] = {
	    "",		 "diff",     "diffx",  "diff0",	  "diff-1",  "1d00fff",
	    "1d00ffff0", "00000000", "diff1x", "diffinf", "zz00ffff"};
	uint8_t a[32], b[32];
	struct buf why = {0};

	(void)state;
	assert_int_equal(target_parse("diff1", a, &why), OK);
	assert_int_equal(target_parse("1d00ffff", b, &why), OK);
	assert_memory_equal(a, b, 32);
	assert_int_equal(
	    target_parse("00000000ffff000000000000000000000000000000000000000"
			 "0000000000000",
			 b, &why),
	    OK);
	assert_memory_equal(a, b, 32);
	for (size_t i = 0; i < HN_COUNT(bad); i++) {
		buf_clear(&why);
		assert_int_equal(target_parse(bad[i], a, &why), ERR_INPUT);
		assert_true(why.n > 0);
	}
	buf_release(&why);
}

static void test_header_texts(void **state)
{
	uint8_t h[80];
	struct buf why = {0};
	char text[161];

	(void)state;
	assert_int_equal(header_parse(header_125552, 152, h, &why), OK);
	assert_int_equal(get_le32(h + 76), 0);
	assert_int_equal(header_parse(header_125552, 159, h, &why), ERR_INPUT);
	memcpy(text, header_125552, sizeof(text));
	text[7] = 'g';
	assert_int_equal(header_parse(text, 160, h, &why), ERR_INPUT);
	assert_non_null(strstr(buf_str(&why), "hex"));
	buf_release(&why);
}

static void test_work_check(void **state)
{
	struct scan_work w = {.start = 5, .end = 5};

	(void)state;
	assert_int_equal(scan_work_check(&w), ERR_INPUT);
	w.end = NONCES;
	assert_int_equal(scan_work_check(&w), OK);
	w.end++;
	assert_int_equal(scan_work_check(&w), ERR_INPUT);
	w.end = 6;
	w.share_bits = 33;
	assert_int_equal(scan_work_check(&w), ERR_INPUT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_known_header_meets_its_own_target),
	    cmocka_unit_test(test_nbits_edges),
	    cmocka_unit_test(test_target_boundary_is_inclusive),
	    cmocka_unit_test(test_difficulty_round_trip),
	    cmocka_unit_test(test_target_texts),
	    cmocka_unit_test(test_header_texts),
	    cmocka_unit_test(test_work_check),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
