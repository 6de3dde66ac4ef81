/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "rpc/puzzle.h"

#include <sodium.h>

#include <string.h>

static const uint8_t here[16] = {[10] = 0xff, [11] = 0xff, 192, 0, 2, 1};
static const uint8_t there[16] = {[10] = 0xff, [11] = 0xff, 192, 0, 2, 2};

static struct puzzles s;
static uint8_t answer[PUZZLE_ANSWER];

static int setup(void **state)
{
	struct puzzle p;

	(void)state;
	memset(&s, 0, sizeof(s));
	randombytes_buf(s.key, sizeof(s.key));
	puzzle_make(&s, here, 600, &p);
	return puzzle_solve(&p, answer) ? 0 : -1;
}

static void test_an_answer_works_once(void **state)
{
	(void)state;
	assert_true(puzzle_accept(&s, here, 600, answer));
	assert_false(puzzle_accept(&s, here, 600, answer));
}

static void test_an_answer_is_for_one_address(void **state)
{
	(void)state;
	assert_false(puzzle_accept(&s, there, 600, answer));
	assert_true(puzzle_accept(&s, here, 600, answer));
}

static void test_an_answer_grows_old(void **state)
{
	(void)state;
	assert_false(puzzle_accept(&s, here, 600 + 2 * PUZZLE_LIFE_S, answer));
	assert_true(
	    puzzle_accept(&s, here, 600 + 2 * PUZZLE_LIFE_S - 1, answer));
}

static void test_a_wrong_number_or_seed_is_refused(void **state)
{
	unsigned right = 0;

	(void)state;
	for (int i = 0; i < 64; i++) {
		uint8_t other[PUZZLE_ANSWER];

		memcpy(other, answer, sizeof(other));
		other[PUZZLE_SEED + 7] ^= (uint8_t)(i + 1);
		right += puzzle_accept(&s, here, 600, other);
	}
	assert_true(right <= 1); /* 64 tries at one in 16,384 */
	answer[0] ^= 1;
	assert_false(puzzle_accept(&s, here, 600, answer));
}

static void test_too_much_is_not_worked_on(void **state)
{
	const struct puzzle p = {.bits = PUZZLE_BITS_MAX + 1};

	(void)state;
	assert_false(puzzle_solve(&p, answer));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_an_answer_works_once, setup),
	    cmocka_unit_test_setup(test_an_answer_is_for_one_address, setup),
	    cmocka_unit_test_setup(test_an_answer_grows_old, setup),
	    cmocka_unit_test_setup(test_a_wrong_number_or_seed_is_refused,
				   setup),
	    cmocka_unit_test_setup(test_too_much_is_not_worked_on, setup),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
