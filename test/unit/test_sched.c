/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/sched.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "node/base/mem.h"

#define MH 1e6

static void test_share_bits_follow_d15(void **state)
{
	(void)state;
	/* k = 16 at 65.5 to 131 MH/s */
	assert_int_equal(sched_bits(65.536e6, 256), 16);
	assert_int_equal(sched_bits(131.0e6, 256), 16);
	assert_int_equal(sched_bits(131.1e6, 256), 17);
	assert_int_equal(sched_bits(65.5e6, 256), 15);
	/* never above the target's, nor 32, nor below 0 */
	assert_int_equal(sched_bits(65.536e6, 10), 10);
	assert_int_equal(sched_bits(1e18, 256), 32);
	assert_int_equal(sched_bits(1, 256), 0);
	assert_int_equal(sched_bits(0, 0), 0);
}

static struct sched_job job_of(double pending, double mesh_rate)
{
	return (struct sched_job){.pending = (uint64_t)pending,
				  .mesh_rate = mesh_rate,
				  .workers = 2,
				  .max_bits = 32};
}

static void test_unit_is_one_second_in_the_middle(void **state)
{
	const struct sched_job j = job_of(0x1p32, 200 * MH);
	const struct sched_worker w = {100 * MH, true, 1, 1};
	const struct sched_cut c = sched_unit(&j, &w);

	(void)state;
	assert_int_equal(c.nonces, 100000000);
	assert_int_equal(c.expected_ms, 1000);
	assert_int_equal(c.bits, 16);
}

static void test_units_shrink_and_keep_k(void **state)
{
	const struct sched_worker w = {100 * MH, true, 1, 1};
	uint64_t last = UINT64_MAX;

	(void)state;
	for (double rest = 0x1p32; rest > 1e6; rest /= 1.5) {
		const struct sched_job j = job_of(rest, 200 * MH);
		const struct sched_cut c = sched_unit(&j, &w);
		const double rest_ms = rest / 200e3;

		assert_true(c.expected_ms <= last);
		assert_true(c.expected_ms >= SCHED_FLOOR_MS);
		assert_true((double)c.expected_ms <=
			    fmax(SCHED_FLOOR_MS, rest_ms / 2));
		assert_int_equal(c.bits, 16);
		last = c.expected_ms;
	}
	assert_int_equal(last, SCHED_FLOOR_MS);
}

static void test_far_worker_gets_units_as_long_as_its_way(void **state)
{
	const struct sched_job j = job_of(1e6, 200 * MH);
	const struct sched_worker w = {100 * MH, true, 180, 1};

	(void)state;
	assert_int_equal(sched_unit(&j, &w).expected_ms, 180);
}

static void test_unknown_worker_begins_small(void **state)
{
	struct sched_job j = job_of(0x1p32, 0);
	const struct sched_worker w = {0, false, 1, 1};
	struct sched_cut c = sched_unit(&j, &w);

	(void)state;
	assert_int_equal(c.nonces, SCHED_FIRST);
	assert_int_equal(c.bits, 12);
	/* A small job is not all for the first who comes. */
	j.pending = 1u << 20;
	c = sched_unit(&j, &w);
	assert_int_equal(c.nonces, (1u << 20) / 8);
	j.pending = 100;
	assert_int_equal(sched_unit(&j, &w).nonces, SCHED_FIRST / 64);
}

static void test_announced_rate_is_trusted_for_a_quarter_second(void **state)
{
	const struct sched_job j = job_of(0x1p32, 200 * MH);
	const struct sched_worker w = {100 * MH, false, 1, 1};

	(void)state;
	assert_int_equal(sched_unit(&j, &w).expected_ms, 250);
}

static void test_a_boast_brings_a_fair_part_only(void **state)
{
	struct sched_job j = job_of(0x1p32, 1e15);
	const struct sched_worker w = {1e15, false, 1, 1};

	(void)state;
	assert_int_equal(sched_unit(&j, &w).nonces, 0x1p32 / 8);
	j.workers = 4;
	assert_int_equal(sched_unit(&j, &w).nonces, 0x1p32 / 16);
}

static void test_easy_target_shrinks_units(void **state)
{
	struct sched_job j = job_of(0x1p32, 200 * MH);
	const struct sched_worker w = {100 * MH, true, 1, 1};

	(void)state;
	j.max_bits = 8;
	const struct sched_cut c = sched_unit(&j, &w);
	assert_int_equal(c.bits, 8);
	assert_int_equal(c.nonces, 5000 * 256);
	j.max_bits = 0;
	assert_int_equal(sched_unit(&j, &w).nonces, 5000);
}

static void test_unit_never_leaves_the_nonces(void **state)
{
	const struct sched_job j = job_of(0x1p32, 1e15);
	const struct sched_worker w = {1e15, true, 1, 1};

	(void)state;
	assert_true(sched_unit(&j, &w).nonces <= UINT64_C(1) << 32);
}

static void test_slot_goes_to_the_job_with_the_fewest(void **state)
{
	const uint64_t held[] = {UINT64_MAX, 4, 2, 2};

	(void)state;
	assert_int_equal(sched_pick(held, 4), 2);
	assert_int_equal(sched_pick(held, 2), 1);
	assert_int_equal(sched_pick(held, 1), 1);
	assert_int_equal(sched_pick(held, 0), 0);
}

static void test_finish_of_silent_one_moves_away(void **state)
{
	struct sched_slow u = {.rate = 10 * MH,
			       .heard_at = 1000,
			       .ahead = 5000000,
			       .left = 5000000,
			       .begun = false};

	(void)state;
	assert_int_equal(sched_finish(&u, 1100), 2000);
	assert_int_equal(sched_finish(&u, 2000), 2000);
	assert_int_equal(sched_finish(&u, 2600), 3200);
	u.rate = 0;
	assert_int_equal(sched_finish(&u, 1500), 1500 + SCHED_UNIT_MS + 500);
}

static void test_steal_only_when_it_pays(void **state)
{
	struct sched_slow u = {.rate = 1 * MH,
			       .rtt_ms = 2,
			       .heard_at = 1000,
			       .left = 2000000,
			       .begun = true};

	(void)state;
	/* Two seconds left; together with a fast one it takes 0.4 s. */
	assert_true(sched_steal(&u, 50 * MH, 2, 1010));
	/* Not for one that is as slow and far away, or unknown. */
	assert_false(sched_steal(&u, 0.1 * MH, 900, 1010));
	assert_false(sched_steal(&u, 0, 2, 1010));
	/* Nearly done: the loss would be greater. */
	u.left = 300000;
	assert_false(sched_steal(&u, 50 * MH, 2, 1010));
	/* A unit that was not begun costs less to take. */
	u.begun = false;
	assert_true(sched_steal(&u, 50 * MH, 2, 1010));
	u.left = 50000;
	assert_false(sched_steal(&u, 50 * MH, 2, 1010));
	/* Silent for long: even a slow helper is better. */
	u = (struct sched_slow){
	    .rate = 50 * MH, .heard_at = 1000, .left = 1000000, .begun = true};
	assert_false(sched_steal(&u, 1 * MH, 2, 1300));
	assert_true(sched_steal(&u, 1 * MH, 2, 3000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_share_bits_follow_d15),
	    cmocka_unit_test(test_unit_is_one_second_in_the_middle),
	    cmocka_unit_test(test_units_shrink_and_keep_k),
	    cmocka_unit_test(test_far_worker_gets_units_as_long_as_its_way),
	    cmocka_unit_test(test_unknown_worker_begins_small),
	    cmocka_unit_test(
		test_announced_rate_is_trusted_for_a_quarter_second),
	    cmocka_unit_test(test_a_boast_brings_a_fair_part_only),
	    cmocka_unit_test(test_easy_target_shrinks_units),
	    cmocka_unit_test(test_unit_never_leaves_the_nonces),
	    cmocka_unit_test(test_slot_goes_to_the_job_with_the_fewest),
	    cmocka_unit_test(test_finish_of_silent_one_moves_away),
	    cmocka_unit_test(test_steal_only_when_it_pays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
