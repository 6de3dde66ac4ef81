/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How long a job takes against the ideal split, when machines are unequal and
 * when one changes its mind; and who did how much under each strategy.
 */
#include "node/lab/world.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MH 1e6
#define S 1000000u
#define SEEDS 8

static double seconds(const struct world *w, uint64_t begun)
{
	return (double)(w->ended_us - begun) / 1e6;
}

static void sound(struct world *w)
{
	if (w->broken.n)
		fail_msg("%s", buf_str(&w->broken));
	assert_int_equal(w->ended, 1);
}

/* One of 80 MH/s beside three of 10 MH/s. */
static double one_fast(uint64_t seed, uint64_t nonces)
{
	const struct search_spec s = world_spec(0, nonces, 32, true);
	struct world w;
	char id[JOB_ID_SIZE];

	world_init(&w, seed);
	for (int i = 0; i < 3; i++)
		world_join(&w, 10 * MH, 2000, HONEST);
	world_join(&w, 80 * MH, 2000, HONEST);
	const uint64_t begun = w.now_us;

	world_submit(&w, &s, id);
	world_run(&w, UINT64_MAX / 2);
	sound(&w);
	const double took = seconds(&w, begun);

	world_release(&w);
	return took / ((double)nonces / (110 * MH));
}

static void test_one_eight_times_faster_is_used_up(void **state)
{
	double most = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		most = fmax(most, one_fast(seed, 1u << 31));
		most = fmax(most, one_fast(seed, 1u << 29));
	}
	printf("8 times faster than three others: at most %.1f %% over the "
	       "ideal split\n",
	       (most - 1) * 100);
	assert_true(most < 1.10);
}

/* Four of 25 MH/s; one falls to a tenth while two fifths are left. */
static double one_slows(uint64_t seed, uint64_t nonces, double at_s)
{
	const struct search_spec s = world_spec(0, nonces, 32, true);
	struct world w;
	char id[JOB_ID_SIZE];

	world_init(&w, seed);
	for (int i = 0; i < 4; i++)
		world_join(&w, 25 * MH, 2000, HONEST);
	const uint64_t begun = w.now_us;

	world_submit(&w, &s, id);
	world_run(&w, begun + (uint64_t)(at_s * S));
	w.w[seed % 4].rate = 2.5 * MH;
	world_run(&w, UINT64_MAX / 2);
	sound(&w);
	const double took = seconds(&w, begun);
	const double rest = (double)nonces - at_s * 100 * MH;

	world_release(&w);
	return took / (at_s + rest / (77.5 * MH));
}

static void test_one_that_slows_to_a_tenth_is_relieved(void **state)
{
	double most = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		most = fmax(most, one_slows(seed, 1000000000, 6));
		most = fmax(most, one_slows(seed, 2000000000, 3.3));
		/* At the worst moment: nothing is pending any more. */
		most = fmax(most, one_slows(seed, 1000000000, 9.7));
	}
	printf("slows to a tenth: at most %.1f %% over the ideal split\n",
	       (most - 1) * 100);
	assert_true(most < 1.10);
}

/* What part of the job the worker of eight times the rate did. */
static double fast_part(enum balance b)
{
	struct search_spec s = world_spec(0, 600000000, 32, true);
	struct world w;
	struct arena a = {0};
	struct job_info info;
	char id[JOB_ID_SIZE];
	double part = 0;

	s.terms.balance = b;
	world_init(&w, 77);
	for (int i = 0; i < 3; i++)
		world_join(&w, 10 * MH, 2000, HONEST);
	const size_t fast = world_join(&w, 80 * MH, 2000, HONEST);

	world_submit(&w, &s, id);
	world_run(&w, UINT64_MAX / 2);
	sound(&w);
	assert_int_equal(
	    jobs_info(w.jobs, id, JOB_PEERS, w.now_us / 1000, &a, &info), OK);
	const struct job_peer *p = info.by_peer.items;

	for (size_t i = 0; i < info.by_peer.n; i++)
		if (!strcmp(p[i].id, node_hex(&w.w[fast].id)))
			part = (double)p[i].hashes / (double)info.hashes;
	arena_release(&a);
	world_release(&w);
	return part;
}

/* Who asks first when all are busy is who is done first: only taking turns
 * holds the fast one back. */
static void test_a_busy_mesh_splits_by_rate_unless_in_turn(void **state)
{
	static const struct {
		enum balance b;
		double part;
	} want[] = {{BALANCE_RATE, 8.0 / 11},
		    {BALANCE_LEAST_BUSY, 8.0 / 11},
		    {BALANCE_RANDOM, 8.0 / 11},
		    {BALANCE_ROUND_ROBIN, 1.0 / 4}};

	(void)state;
	for (size_t i = 0; i < HN_COUNT(want); i++) {
		const double part = fast_part(want[i].b);

		printf("%s: %.1f %% by the fast one of four, %.1f %% "
		       "expected\n",
		       balance_str(want[i].b), part * 100, want[i].part * 100);
		assert_true(fabs(part - want[i].part) < 0.05);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_one_eight_times_faster_is_used_up),
	    cmocka_unit_test(test_one_that_slows_to_a_tenth_is_relieved),
	    cmocka_unit_test(test_a_busy_mesh_splits_by_rate_unless_in_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
