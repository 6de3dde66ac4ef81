/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "node/lab/sim.h"

#include <stdio.h>
#include <string.h>

static struct sim_result run(size_t nodes, size_t cheaters, uint64_t seed)
{
	const struct sim_options o = {.nodes = nodes,
				      .cheaters = cheaters,
				      .seed = seed,
				      .us = SIM_US_MIN,
				      .loss = 10,
				      .churn = 2000,
				      .delay_us = 20000};
	struct sim_result r;

	sim_run(&o, &r);
	assert_string_equal(r.broken, "");
	return r;
}

static void test_same_seed_same_life(void **state)
{
	(void)state;
	const struct sim_result a = run(40, 10, 5), b = run(40, 10, 5);
	const struct sim_result c = run(40, 10, 6);

	assert_int_equal(a.messages, b.messages);
	assert_int_equal(a.hashes, b.hashes);
	assert_int_equal(a.units, b.units);
	assert_int_equal(a.taken_back, b.taken_back);
	assert_memory_equal(&a.cheats, &b.cheats, sizeof(a.cheats));
	assert_int_not_equal(a.messages, c.messages);
}

static void test_a_mesh_is_used_up_and_recovers(void **state)
{
	(void)state;
	const struct sim_result r = run(100, 0, 1);

	printf("%.3f of ideal, %zu lost: given again after %.2f s, recovered "
	       "after %.2f s\n",
	       r.throughput, r.lost, r.regiven_s, r.recovered_s);
	assert_true(r.throughput > 0.93 && r.throughput < 1.02);
	assert_int_equal(r.lost, 30);
	assert_true(r.regiven_s >= 0 && r.regiven_s < 15);
	assert_true(r.recovered_s >= 0 && r.recovered_s < 15);
	assert_int_equal(r.jobs_failed, 0);
}

/* Who says what is false is found, and nobody else. */
static void test_cheats_are_found(void **state)
{
	(void)state;
	const struct sim_result r = run(60, 20, 2);
	size_t false_ones = 0;

	for (size_t i = 0; i < SIM_CHEATS; i++) {
		const struct sim_cheat *c = &r.cheats[i];

		assert_int_equal(c->nodes, 2);
		false_ones += c->found == c->nodes;
	}
	/* A winner kept back is rarely seen; three only waste time. */
	assert_true(false_ones >= 6);
	assert_int_equal(r.slandered, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_same_seed_same_life),
	    cmocka_unit_test(test_a_mesh_is_used_up_and_recovers),
	    cmocka_unit_test(test_cheats_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
