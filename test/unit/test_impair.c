/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/lab/impair.h"

#include "node/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N 20000

static void test_nothing_is_wrong_at_first(void **state)
{
	struct impair im;
	uint64_t due = 0;

	(void)state;
	impair_init(&im, 1);
	for (int i = 0; i < 100; i++) {
		assert_true(impair_packet(&im, 0, 1, 1400, 7, &due));
		assert_int_equal(due, 7);
		assert_int_equal(impair_stream(&im, 0, 1 << 16, 7), 7);
	}
	assert_int_equal(im.lost, 0);
}

static void test_loses_as_many_as_it_should(void **state)
{
	struct impair im;
	uint64_t due;
	int got = 0;

	(void)state;
	impair_init(&im, 1);
	im.loss = 50;
	for (int i = 0; i < N; i++)
		got += impair_packet(&im, 0, 1, 100, 0, &due);
	assert_in_range(N - got, N / 20 - 150, N / 20 + 150);
	assert_int_equal(im.packets, N);
	assert_int_equal(im.lost, N - got);
}

static void test_delay_is_a_tenth_more_or_less(void **state)
{
	uint64_t due, least = UINT64_MAX, most = 0;
	struct impair im;

	(void)state;
	impair_init(&im, 2);
	im.delay_us = 20000;
	for (int i = 0; i < N; i++) {
		assert_true(impair_packet(&im, 0, 1, 100, 1000, &due));
		least = due < least ? due : least;
		most = due > most ? due : most;
	}
	assert_in_range(least, 1000 + 18000, 1000 + 18050);
	assert_in_range(most, 1000 + 21950, 1000 + 22000);
}

static void test_a_lost_segment_costs_a_round_trip(void **state)
{
	struct impair im;

	(void)state;
	impair_init(&im, 3);
	im.loss = 1000;
	assert_int_equal(impair_stream(&im, 0, 1, 0), IMPAIR_STALL_US);
	/* The end of a stream is no segment. */
	assert_int_equal(impair_stream(&im, 0, 0, 0), 0);
	im.delay_us = 100000;
	assert_in_range(impair_stream(&im, 0, 1, 0), 290000, 310000);
}

static void test_an_uplink_is_shared_and_overflows(void **state)
{
	struct impair im;
	uint64_t due;

	(void)state;
	impair_init(&im, 4);
	im.bandwidth = 100000;
	assert_true(impair_packet(&im, 0, 1, 1000, 0, &due));
	assert_int_equal(due, 10000);
	assert_int_equal(impair_stream(&im, 0, 1000, 0), 20000);
	assert_true(impair_packet(&im, 1, 0, 1000, 0, &due));
	assert_int_equal(due, 10000);
	impair_stream(&im, 0, 100000, 0);
	assert_false(impair_packet(&im, 0, 1, 1, 0, &due));
	assert_true(impair_packet(&im, 0, 1, 1, 1020000, &due));
}

static void test_a_cut_stands_between_groups(void **state)
{
	struct impair im;
	uint64_t due;

	(void)state;
	impair_init(&im, 5);
	im.nodes[1].group = im.nodes[2].group = 1;
	assert_true(impair_joined(&im, 1, 2));
	assert_false(impair_joined(&im, 0, 1));
	assert_true(impair_packet(&im, 1, 2, 1, 0, &due));
	assert_false(impair_packet(&im, 0, 2, 1, 0, &due));
}

static void test_one_seed_one_fate(void **state)
{
	struct impair a, b;
	uint64_t due_a, due_b;

	(void)state;
	impair_init(&a, 6);
	impair_init(&b, 6);
	a.loss = b.loss = 300;
	a.delay_us = b.delay_us = 1000;
	for (int i = 0; i < 1000; i++) {
		bool got = impair_packet(&a, 0, 1, 1, 0, &due_a);
		assert_int_equal(got, impair_packet(&b, 0, 1, 1, 0, &due_b));
		if (got)
			assert_int_equal(due_a, due_b);
	}
}

static void test_parcels_come_when_they_are_due(void **state)
{
	static const uint64_t due[] = {50, 10, 30, 10, 70};
	struct parcels q = {0};
	struct parcel *x;
	uint64_t first, last = 0;
	size_t n = 0;

	(void)state;
	assert_false(parcels_due(&q, &first));
	for (size_t i = 0; i < HN_COUNT(due); i++)
		assert_true(parcels_put(&q, due[i], i, 0, "x", 1));
	assert_true(parcels_due(&q, &first));
	assert_int_equal(first, 10);
	assert_null(parcels_take(&q, 9));
	while ((x = parcels_take(&q, 50))) {
		assert_true(x->due_us >= last);
		if (n < 2) /* equals stay in order */
			assert_int_equal(x->from, n ? 3 : 1);
		last = x->due_us;
		n++;
		free(x);
	}
	assert_int_equal(n, 4);
	parcels_release(&q);
	assert_int_equal(q.n, 0);
	for (size_t i = 0; i < PARCELS_MAX; i++)
		assert_true(parcels_put(&q, i, 0, 0, "", 0));
	assert_false(parcels_put(&q, 0, 0, 0, "", 0));
	parcels_release(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_nothing_is_wrong_at_first),
	    cmocka_unit_test(test_loses_as_many_as_it_should),
	    cmocka_unit_test(test_delay_is_a_tenth_more_or_less),
	    cmocka_unit_test(test_a_lost_segment_costs_a_round_trip),
	    cmocka_unit_test(test_an_uplink_is_shared_and_overflows),
	    cmocka_unit_test(test_a_cut_stands_between_groups),
	    cmocka_unit_test(test_one_seed_one_fate),
	    cmocka_unit_test(test_parcels_come_when_they_are_due),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
