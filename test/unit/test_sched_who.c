/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who may work for a job and why not; whose turn it is. */
#include "node/mesh/sched.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "test/support/headers.h"

#define MH 1e6

static struct sched_candidate candidate(double rate)
{
	return (struct sched_candidate){.rate = rate,
					.measured = true,
					.score = 0.5,
					.here = true,
					.slots = 2};
}

static void refused(const struct job_terms *t, const struct sched_candidate *c,
		    enum sched_reason reason, const char *sentence)
{
	const struct sched_refusal r = sched_refuses_now(t, c);
	struct buf b = {0};

	assert_int_equal(r.reason, reason);
	sched_refusal_say(&r, &b);
	assert_string_equal(buf_str(&b), sentence);
	buf_release(&b);
}

static void test_each_condition_refuses_with_its_numbers(void **state)
{
	struct sched_candidate c = candidate(2 * MH);

	(void)state;
	refused(&(struct job_terms){0}, &c, SCHED_SUITS, "gets work");
	refused(&(struct job_terms){.min_rate = 10000000}, &c, SCHED_TOO_SLOW,
		"does 2.00 MH/s, and at least 10.0 MH/s is asked for");
	refused(&(struct job_terms){.hardware = true}, &c, SCHED_NO_HARDWARE,
		"is a processor, and chips made for it are asked for");
	refused(&(struct job_terms){.region = (char[]){"eu"}}, &c, SCHED_REGION,
		"is in no region it names, and eu is asked for");
	c.region = "us";
	refused(&(struct job_terms){.region = (char[]){"eu"}}, &c, SCHED_REGION,
		"is in us, and eu is asked for");
	c.region = "EU";
	refused(&(struct job_terms){.region = (char[]){"eu"}}, &c, SCHED_SUITS,
		"gets work");
	refused(&(struct job_terms){.trust = 600}, &c, SCHED_UNTRUSTED,
		"has a score of 0.500, and at least 0.600 is asked for");
	refused(&(struct job_terms){.trust = 500}, &c, SCHED_SUITS,
		"gets work");
	c.price = 7;
	refused(&(struct job_terms){.max_price = 6}, &c, SCHED_TOO_DEAR,
		"asks 7 credits, and at most 6 are paid");
	refused(&(struct job_terms){.max_price = 7}, &c, SCHED_SUITS,
		"gets work");
	/* Nobody knows how fast it is until it has worked. */
	c.rate = 0;
	refused(&(struct job_terms){.min_rate = 10000000}, &c, SCHED_SUITS,
		"gets work");
}

static void test_what_is_so_now_refuses_too(void **state)
{
	const struct job_terms none = {0};
	struct sched_candidate c = candidate(2 * MH);

	(void)state;
	c.held = 2;
	refused(&none, &c, SCHED_FULL,
		"holds 2 units and takes no more than 2");
	assert_int_equal(sched_refuses(&none, &c).reason, SCHED_SUITS);
	c.rest_ms = 1500;
	refused(&none, &c, SCHED_RESTING, "failed lately and rests for 1.5 s");
	c.quarantined = true;
	refused(&none, &c, SCHED_QUARANTINED,
		"failed too often and gets only probes for now");
	c.barred = true;
	refused(&none, &c, SCHED_BARRED, "was caught lying and gets no work");
	c.here = false;
	refused(&none, &c, SCHED_AWAY, "does not offer it now");
}

static void test_terms_without_conditions_take_all(void **state)
{
	(void)state;
	assert_true(sched_takes_all(&(struct job_terms){
	    .wait_ms = 1, .balance = BALANCE_RANDOM, .replicas = 2}));
	assert_false(sched_takes_all(&(struct job_terms){.hardware = true}));
	assert_false(sched_takes_all(&(struct job_terms){.trust = 1}));
	assert_false(sched_takes_all(&(struct job_terms){.min_rate = 1}));
	assert_false(sched_takes_all(&(struct job_terms){.max_price = 1}));
	assert_false(
	    sched_takes_all(&(struct job_terms){.region = (char[]){"x"}}));
}

#define N 4

/* One unit at a time, all idle: how often each gets it in 1,000. */
static void split(enum balance b, const struct sched_candidate *all,
		  unsigned count[static N])
{
	uint64_t seed = 3;
	size_t last = N - 1;

	memset(count, 0, N * sizeof(*count));
	for (int unit = 0; unit < 1000; unit++) {
		const uint64_t high = noise32(&seed);
		struct sched_candidate c[N];
		size_t at[N];

		for (size_t i = 0; i < N; i++) {
			at[i] = (last + 1 + i) % N; /* in turn */
			c[i] = all[at[i]];
		}
		const size_t i =
		    sched_next(b, c, N, high << 32 | noise32(&seed));

		assert_true(i < N);
		last = at[i];
		count[last]++;
	}
}

static void test_strategies_split_as_they_say(void **state)
{
	struct sched_candidate c[N] = {candidate(1 * MH), candidate(2 * MH),
				       candidate(4 * MH), candidate(8 * MH)};
	unsigned n[N];

	(void)state;
	split(BALANCE_RATE, c, n);
	assert_int_equal(n[3], 1000); /* the fastest, while it is free */
	split(BALANCE_ROUND_ROBIN, c, n);
	for (size_t i = 0; i < N; i++)
		assert_int_equal(n[i], 250);
	split(BALANCE_RANDOM, c, n);
	for (size_t i = 0; i < N; i++)
		assert_in_range(n[i], 200, 300); /* 250 +- 3.6 sigma */
	for (size_t i = 0; i < N; i++)
		c[i].load = 90 - 10 * (unsigned)i % 40;
	c[1].load = 5;
	split(BALANCE_LEAST_BUSY, c, n);
	assert_int_equal(n[1], 1000);
}

static void test_round_robin_waits_for_its_turn(void **state)
{
	struct sched_candidate c[2] = {candidate(1 * MH), candidate(8 * MH)};

	(void)state;
	c[0].held = 2;
	assert_int_equal(sched_next(BALANCE_ROUND_ROBIN, c, 2, 0), 2);
	assert_int_equal(sched_next(BALANCE_RATE, c, 2, 0), 1);
	assert_int_equal(sched_next(BALANCE_LEAST_BUSY, c, 2, 0), 1);
	for (uint64_t draw = 0; draw < 9; draw++)
		assert_int_equal(sched_next(BALANCE_RANDOM, c, 2, draw), 1);
	c[1].held = 2;
	for (int b = 0; b < BALANCE_COUNT; b++)
		assert_int_equal(sched_next((enum balance)b, c, 2, 7), 2);
}

static void test_idle_one_goes_before_a_fast_one(void **state)
{
	struct sched_candidate c[2] = {candidate(1 * MH), candidate(8 * MH)};

	(void)state;
	c[1].held = 1;
	assert_int_equal(sched_next(BALANCE_RATE, c, 2, 0), 0);
	/* A bad score weighs as much as a low rate. */
	c[1] = c[0];
	c[1].score = 0.1;
	c[1].rate = 2 * MH;
	assert_int_equal(sched_next(BALANCE_RATE, c, 2, 0), 0);
}

static void test_units_are_equal_or_by_rate_and_score(void **state)
{
	struct sched_job j = {.pending = UINT64_C(1) << 32,
			      .mesh_rate = 45 * MH,
			      .workers = 4,
			      .max_bits = 60};
	const struct sched_worker slow = {5 * MH, true, 1, 1},
				  fast = {40 * MH, true, 1, 1},
				  low = {40 * MH, true, 1, 0.1};

	(void)state;
	assert_int_equal(sched_unit(&j, &slow).nonces, 5000000);
	assert_int_equal(sched_unit(&j, &fast).nonces, 40000000);
	assert_int_equal(sched_unit(&j, &low).nonces, 10000000);
	j.equal = true;
	assert_int_equal(sched_unit(&j, &slow).nonces, 11250000);
	assert_int_equal(sched_unit(&j, &fast).nonces, 11250000);
	assert_int_equal(sched_unit(&j, &slow).bits,
			 sched_unit(&j, &fast).bits);
	assert_int_equal(sched_unit(&j, &slow).expected_ms, 2250);
}

static void test_names_come_back(void **state)
{
	enum balance b;

	(void)state;
	for (int i = 0; i < BALANCE_COUNT; i++) {
		assert_true(balance_parse(balance_str((enum balance)i), &b));
		assert_int_equal(b, i);
	}
	assert_false(balance_parse("fair", &b));
	for (int i = 0; i < SCHED_REASONS; i++)
		assert_true(strlen(sched_reason_str((enum sched_reason)i)) > 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_each_condition_refuses_with_its_numbers),
	    cmocka_unit_test(test_what_is_so_now_refuses_too),
	    cmocka_unit_test(test_terms_without_conditions_take_all),
	    cmocka_unit_test(test_strategies_split_as_they_say),
	    cmocka_unit_test(test_round_robin_waits_for_its_turn),
	    cmocka_unit_test(test_idle_one_goes_before_a_fast_one),
	    cmocka_unit_test(test_units_are_equal_or_by_rate_and_score),
	    cmocka_unit_test(test_names_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
