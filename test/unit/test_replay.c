/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sodium.h>

#include "node/mesh/replay.h"

static const struct node_id a = {{1}}, b = {{2}};

static void test_a_lease_is_asked_for_once(void **state)
{
	struct replay *r = replay_new(1000, 10);

	(void)state;
	assert_true(replay_fresh(r, &a, "job", 1, 100));
	assert_false(replay_fresh(r, &a, "job", 1, 101));
	assert_false(replay_fresh(r, &a, "job", 1, 1100));
	assert_true(replay_fresh(r, &b, "job", 1, 1100));
	assert_true(replay_fresh(r, &a, "jo", 1, 1100));
	assert_true(replay_fresh(r, &a, "job", 2, 1100));
	assert_int_equal(replay_counters(r)->refused, 2);
	assert_int_equal(replay_counters(r)->held, 4);
	replay_free(r);
}

static void test_the_window_slides(void **state)
{
	struct replay *r = replay_new(1000, 10);

	(void)state;
	assert_true(replay_fresh(r, &a, "job", 1, 100));
	assert_true(replay_fresh(r, &a, "job", 2, 600));
	assert_true(replay_fresh(r, &a, "job", 1, 1101));
	assert_false(replay_fresh(r, &a, "job", 2, 1600));
	/* A clock that goes back forgets nothing. */
	assert_false(replay_fresh(r, &a, "job", 1, 5));
	assert_int_equal(replay_counters(r)->early, 0);
	replay_free(r);
}

static void test_the_cache_is_bounded(void **state)
{
	struct replay *r = replay_new(1000, 100);

	(void)state;
	for (uint64_t i = 0; i < 250; i++)
		assert_true(replay_fresh(r, &a, "job", i, 100));
	assert_int_equal(replay_counters(r)->held, 100);
	assert_int_equal(replay_counters(r)->early, 150);
	assert_false(replay_fresh(r, &a, "job", 150, 100));
	assert_true(replay_fresh(r, &a, "job", 149, 100));
	replay_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_lease_is_asked_for_once),
	    cmocka_unit_test(test_the_window_slides),
	    cmocka_unit_test(test_the_cache_is_bounded),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
