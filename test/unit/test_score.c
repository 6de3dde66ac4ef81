/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/score.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "test/support/headers.h"

#define T0 UINT64_C(1800000000000)
#define SECOND UINT64_C(1000)
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)

static const struct score_rules *const R = &score_rules_default;

static void times(struct score *s, enum score_event e, unsigned n, uint64_t *t)
{
	for (; n; n--) {
		*t += 2 * SECOND;
		score_event(s, R, e, *t);
	}
}

static bool due(const struct score *s, uint64_t now)
{
	uint64_t when;

	return score_wants_probe(s, R, now, &when);
}

static void near(double a, double b, double within)
{
	assert_true(a > b - within && a < b + within);
}

static bool says(const struct score *s, uint64_t now, const char *text)
{
	struct buf b = {0};

	score_reasons(s, &b);
	buf_add_str(&b, "|");
	score_why(s, R, now, &b);
	const bool found = strstr(buf_str(&b), text) != NULL;
	if (!found)
		print_error("%s lacks %s\n", buf_str(&b), text);
	buf_release(&b);
	return found;
}

static void test_stranger_is_in_the_middle_and_may_work(void **state)
{
	const struct score s = {0};

	(void)state;
	near(score_value(&s), 0.5, 1e-9);
	assert_int_equal(score_permille(&s), 500);
	assert_true(score_may_work(&s));
	assert_true(score_is_blank(&s));
	assert_false(due(&s, T0));
	assert_true(says(&s, T0, "nothing yet"));
	assert_string_equal(score_state_str(s.state), "new");
}

static void test_work_raises_and_failures_lower(void **state)
{
	struct score s = {0};
	uint64_t t = T0;
	double last = 0.5;

	(void)state;
	for (int i = 0; i < 50; i++) {
		times(&s, SCORE_UNIT, 1, &t);
		assert_true(score_value(&s) > last);
		last = score_value(&s);
	}
	near(last, 52.0 / 54, 0.001);
	assert_int_equal(s.state, SCORE_TRUSTED);
	for (enum score_event e = SCORE_BUSY; e <= SCORE_SUSPECT; e++) {
		times(&s, e, 1, &t);
		assert_true(score_value(&s) < last);
		last = score_value(&s);
	}
	assert_true(says(&s, t,
			 "50 units done, 1 unit given back, 1 time gone,"
			 " 1 time silent, 1 unit failed"));
}

static void test_trust_takes_some_work(void **state)
{
	struct score s = {0};
	uint64_t t = T0;

	(void)state;
	times(&s, SCORE_UNIT, 7, &t);
	assert_int_equal(s.state, SCORE_NEW);
	times(&s, SCORE_UNIT, 2, &t);
	assert_int_equal(s.state, SCORE_TRUSTED);
}

/* Good for a year, then bad: a hundred events tell. */
static void test_long_good_past_does_not_hide_the_present(void **state)
{
	struct score s = {0};
	uint64_t t = T0;

	(void)state;
	times(&s, SCORE_UNIT, 100000, &t);
	assert_true(score_value(&s) > 0.97);
	for (int i = 0; i < 50; i++) { /* never three in a row */
		times(&s, SCORE_SILENT, 2, &t);
		times(&s, SCORE_UNIT, 1, &t);
	}
	assert_true(score_value(&s) < 0.35);
	assert_true(score_may_work(&s));
}

static void test_half_is_left_after_a_half_life(void **state)
{
	struct score s = {0};
	uint64_t t = T0;

	(void)state;
	times(&s, SCORE_UNIT, 40, &t);
	times(&s, SCORE_GONE, 2, &t);
	const double good = s.good, bad = s.bad;

	score_fade(&s, R, t + R->half_life_ms);
	near(s.good, good / 2, 1e-6);
	near(s.bad, bad / 2, 1e-6);
	near(s.count[SCORE_UNIT], 20, 0.01);

	/* In a thousand steps as in one. */
	struct score one = s, many = s;
	const uint64_t from = s.at;
	score_fade(&one, R, from + 5 * DAY);
	for (uint64_t i = 1; i <= 1000; i++)
		score_fade(&many, R, from + 5 * DAY * i / 1000);
	near(one.good, many.good, 1e-9);
}

static void test_stale_score_fades_to_a_stranger(void **state)
{
	struct score s = {0};
	uint64_t t = T0;

	(void)state;
	times(&s, SCORE_UNIT, 90, &t);
	times(&s, SCORE_SILENT, 2, &t);
	assert_int_equal(s.state, SCORE_TRUSTED);
	score_fade(&s, R, t + 365 * DAY);
	near(score_value(&s), 0.5, 0.001);
	assert_int_equal(s.state, SCORE_NEW);
	assert_true(score_is_blank(&s));
}

static void test_three_failures_in_a_row(void **state)
{
	struct score s = {0};
	uint64_t t = T0;

	(void)state;
	times(&s, SCORE_SILENT, 2, &t);
	times(&s, SCORE_UNIT, 1, &t); /* not in a row any more */
	times(&s, SCORE_SILENT, 1, &t);
	times(&s, SCORE_PIECE, 1, &t); /* of earlier work: no end */
	times(&s, SCORE_BUSY, 5, &t);  /* a lender may */
	times(&s, SCORE_GONE, 1, &t);
	assert_true(score_may_work(&s));
	assert_false(score_event(&s, R, SCORE_UNIT, ++t));
	times(&s, SCORE_GONE, 2, &t);
	assert_true(score_may_work(&s));
	t += 5 * SECOND;
	assert_true(score_event(&s, R, SCORE_SILENT, t));
	assert_false(score_may_work(&s));
	assert_int_equal(s.state, SCORE_QUARANTINED);
	assert_int_equal(score_until(&s, R, t), t + R->delay_ms);
	assert_true(says(&s, t,
			 "quarantined: it said nothing of its unit, "
			 "failure 3 in a row; tried again in 30 s"));
}

static void test_one_break_under_many_units_is_one_failure(void **state)
{
	struct score s = {0};

	(void)state;
	for (unsigned i = 0; i < 16; i++)
		assert_false(score_event(&s, R, SCORE_GONE, T0 + i));
	assert_int_equal(s.row, 1);
	near(s.count[SCORE_GONE], 16, 0.01);
	assert_false(score_event(&s, R, SCORE_GONE, T0 + 5000));
	assert_true(score_event(&s, R, SCORE_GONE, T0 + 10000));
}

/* Each quarantine doubles the delay until the greatest; a probe is asked for
 * when it is over, not before. */
static void test_delay_grows_until_the_limit(void **state)
{
	struct score s = {0};
	uint64_t t = T0, delay = R->delay_ms, when;

	(void)state;
	times(&s, SCORE_FAILED, 3, &t);
	for (int i = 0; i < 12; i++) {
		assert_int_equal(s.state, SCORE_QUARANTINED);
		assert_int_equal(s.until - t, delay);
		assert_false(score_wants_probe(&s, R, t, &when));
		assert_int_equal(when, t + delay);
		assert_false(due(&s, t + delay - 1));
		t += delay;
		assert_true(due(&s, t));
		t += SECOND;
		assert_true(score_event(&s, R, SCORE_MISSED, t));
		delay =
		    delay * 2 < R->delay_max_ms ? delay * 2 : R->delay_max_ms;
	}
	assert_int_equal(delay, R->delay_max_ms);
}

static void test_clean_probes_bring_back(void **state)
{
	struct score s = {0};
	uint64_t t = T0;

	(void)state;
	times(&s, SCORE_SILENT, 3, &t);
	t += R->delay_ms;
	assert_true(score_event(&s, R, SCORE_PROBE, t));
	assert_int_equal(s.state, SCORE_PROBATION);
	assert_true(due(&s, t));
	assert_false(score_may_work(&s));
	assert_true(says(&s, t, "2 clean probes to go"));
	/* Old work that ends well does not count. */
	assert_false(score_event(&s, R, SCORE_UNIT, ++t));
	score_event(&s, R, SCORE_PROBE, ++t);
	assert_false(score_may_work(&s));
	score_event(&s, R, SCORE_PROBE, ++t);
	assert_true(score_may_work(&s));
	assert_int_equal(s.state, SCORE_TRUSTED);
	assert_false(due(&s, t));
	/* The row is over, too. */
	times(&s, SCORE_GONE, 2, &t);
	assert_true(score_may_work(&s));
}

static void test_failure_on_probation_is_the_next_quarantine(void **state)
{
	struct score s = {0};
	uint64_t t = T0;

	(void)state;
	times(&s, SCORE_SILENT, 3, &t);
	t += R->delay_ms;
	score_event(&s, R, SCORE_PROBE, t);
	score_event(&s, R, SCORE_PROBE, ++t);
	t += 5 * SECOND;
	assert_true(score_event(&s, R, SCORE_MISSED, t));
	assert_int_equal(s.state, SCORE_QUARANTINED);
	assert_int_equal(s.until, t + 2 * R->delay_ms);
	assert_int_equal(s.togo, R->clean);
}

static void test_failures_of_old_units_do_not_lengthen_it(void **state)
{
	struct score s = {0};
	uint64_t t = T0;

	(void)state;
	times(&s, SCORE_SILENT, 3, &t);
	const uint64_t until = s.until;
	assert_false(score_event(&s, R, SCORE_GONE, t + 3 * SECOND));
	assert_int_equal(s.until, until);
}

static void test_hours_of_good_work_wear_the_delay_off(void **state)
{
	struct score s = {0};
	uint64_t t = T0;

	(void)state;
	for (int i = 0; i < 4; i++) {
		times(&s, SCORE_SILENT, 3, &t);
		t = s.until;
		times(&s, SCORE_PROBE, 3, &t);
		assert_int_equal(s.level, i + 1);
	}
	t += 2 * HOUR;
	times(&s, SCORE_SILENT, 3, &t);
	assert_int_equal(s.level, 3);
	assert_int_equal(s.until - t, R->delay_ms * 4);
}

static void test_suspect_waits_longest_and_has_a_way_back(void **state)
{
	struct score s = {0};
	uint64_t t = T0;

	(void)state;
	times(&s, SCORE_UNIT, 90, &t);
	assert_true(score_event(&s, R, SCORE_SUSPECT, t));
	assert_int_equal(s.state, SCORE_QUARANTINED);
	assert_int_equal(s.until, t + R->delay_max_ms);
	assert_true(score_value(&s) < 0.7);
	t = s.until;
	times(&s, SCORE_PROBE, R->clean, &t);
	assert_true(score_may_work(&s));
}

static void test_proven_cheat_is_never_let_back_by_itself(void **state)
{
	struct score s = {0};
	uint64_t t = T0;

	(void)state;
	times(&s, SCORE_UNIT, 90, &t);
	assert_true(score_event(&s, R, SCORE_PROOF, ++t));
	assert_int_equal(score_permille(&s), 0);
	for (enum score_event e = 0; e < SCORE_EVENTS; e++)
		times(&s, e, 200, &t);
	score_fade(&s, R, t + 3650 * DAY);
	t += 3650 * DAY;
	times(&s, SCORE_PROBE, 50, &t);
	assert_int_equal(s.state, SCORE_BARRED);
	assert_int_equal(score_permille(&s), 0);
	assert_false(score_may_work(&s));
	assert_false(due(&s, t));
	assert_false(score_is_blank(&s));
	assert_true(says(&s, t, "barred: it was proven to cheat"));

	/* By a person it is, and begins with probes. */
	score_pardon(&s, R, t);
	assert_int_equal(s.state, SCORE_PROBATION);
	assert_true(due(&s, t));
	times(&s, SCORE_PROBE, R->clean, &t);
	assert_true(score_may_work(&s));
}

static void test_clock_put_back_lengthens_nothing(void **state)
{
	struct score s = {0};
	uint64_t t = T0 + 100 * DAY;

	(void)state;
	times(&s, SCORE_UNIT, 20, &t);
	times(&s, SCORE_SILENT, 3, &t);
	const double good = s.good;

	score_fade(&s, R, T0);
	near(s.good, good, 1e-9);
	assert_true(score_until(&s, R, T0) <= T0 + R->delay_max_ms);
	/* Fading goes on from there. */
	score_fade(&s, R, T0 + R->half_life_ms);
	near(s.good, good / 2, 1e-6);
	assert_int_equal(score_until(&s, R, T0), T0 + R->delay_max_ms);
}

static void test_other_rules_are_kept(void **state)
{
	const struct score_rules r = {.half_life_ms = 1000,
				      .failures = 1,
				      .clean = 1,
				      .delay_ms = 500,
				      .delay_max_ms = 600};
	struct score s = {0};

	(void)state;
	assert_true(score_event(&s, &r, SCORE_GONE, T0));
	assert_int_equal(s.until, T0 + 500);
	assert_true(score_event(&s, &r, SCORE_MISSED, T0 + 2000));
	assert_int_equal(s.until, T0 + 2600);
	assert_true(score_event(&s, &r, SCORE_PROBE, T0 + 3000));
	assert_true(score_may_work(&s));
}

/* Whatever comes in whatever order: in bounds, and out of quarantine only by
 * probes. */
static void test_any_history_keeps_the_bounds(void **state)
{
	uint64_t seed = 7;

	(void)state;
	for (int run = 0; run < 200; run++) {
		struct score s = {0};
		uint64_t t = T0;

		for (int i = 0; i < 500; i++) {
			const uint64_t x =
			    (uint64_t)noise32(&seed) << 32 | noise32(&seed);
			const enum score_event e = (enum score_event)(
			    x % (SCORE_PROOF + (x >> 8) % 2));
			const bool could = score_may_work(&s);

			t += (x >> 16) % (x >> 40 & 1 ? DAY : 10 * SECOND);
			score_event(&s, R, e, t);
			assert_true(score_value(&s) >= 0 &&
				    score_value(&s) <= 1);
			assert_true(s.good + s.bad <= SCORE_MASS * 1.0001);
			if (!could && score_may_work(&s))
				assert_int_equal(e, SCORE_PROBE);
			if (s.state == SCORE_QUARANTINED)
				assert_true(s.until <= t + R->delay_max_ms);
		}
	}
}

static void test_survives_the_disk(void **state)
{
	struct score s = {0}, back;
	uint64_t t = T0;
	struct buf b = {0};

	(void)state;
	times(&s, SCORE_UNIT, 30, &t);
	times(&s, SCORE_SILENT, 3, &t);
	score_pack(&s, &b);
	assert_int_equal(score_unpack(b.p, b.n, &back), OK);
	assert_memory_equal(s.count, back.count, sizeof(s.count));
	assert_int_equal(back.state, SCORE_QUARANTINED);
	assert_int_equal(back.why, SCORE_SILENT);
	assert_int_equal(back.until, s.until);
	assert_int_equal(back.row, 3);
	assert_int_equal(back.level, 1);
	assert_int_equal(score_permille(&back), score_permille(&s));
	for (size_t n = 0; n < b.n; n++)
		assert_int_not_equal(score_unpack(b.p, n, &back), OK);
	buf_release(&b);
}

static void test_refuses_what_it_cannot_have_written(void **state)
{
	struct score s = {0}, back;
	struct buf b = {0};

	(void)state;
	s.good = -1;
	score_pack(&s, &b);
	assert_int_equal(score_unpack(b.p, b.n, &back), ERR_PROTO);
	buf_clear(&b);
	s.good = 1e9;
	score_pack(&s, &b);
	assert_int_equal(score_unpack(b.p, b.n, &back), ERR_PROTO);
	buf_clear(&b);
	s.good = 1;
	s.count[SCORE_GONE] = -5;
	score_pack(&s, &b);
	assert_int_equal(score_unpack(b.p, b.n, &back), ERR_PROTO);
	buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_stranger_is_in_the_middle_and_may_work),
	    cmocka_unit_test(test_work_raises_and_failures_lower),
	    cmocka_unit_test(test_trust_takes_some_work),
	    cmocka_unit_test(test_long_good_past_does_not_hide_the_present),
	    cmocka_unit_test(test_half_is_left_after_a_half_life),
	    cmocka_unit_test(test_stale_score_fades_to_a_stranger),
	    cmocka_unit_test(test_three_failures_in_a_row),
	    cmocka_unit_test(test_one_break_under_many_units_is_one_failure),
	    cmocka_unit_test(test_delay_grows_until_the_limit),
	    cmocka_unit_test(test_clean_probes_bring_back),
	    cmocka_unit_test(test_failure_on_probation_is_the_next_quarantine),
	    cmocka_unit_test(test_failures_of_old_units_do_not_lengthen_it),
	    cmocka_unit_test(test_hours_of_good_work_wear_the_delay_off),
	    cmocka_unit_test(test_suspect_waits_longest_and_has_a_way_back),
	    cmocka_unit_test(test_proven_cheat_is_never_let_back_by_itself),
	    cmocka_unit_test(test_clock_put_back_lengthens_nothing),
	    cmocka_unit_test(test_other_rules_are_kept),
	    cmocka_unit_test(test_any_history_keeps_the_bounds),
	    cmocka_unit_test(test_survives_the_disk),
	    cmocka_unit_test(test_refuses_what_it_cannot_have_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
