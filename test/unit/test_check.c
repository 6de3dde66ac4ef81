/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/check.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "asic/sha256d.h"
#include "test/support/headers.h"

static uint64_t random64(void *arg)
{
	const uint64_t high = noise32(arg);

	return high << 32 | noise32(arg);
}

static double uniform(uint64_t *seed)
{
	return (double)(random64(seed) >> 11) * 0x1p-53;
}

/* By the book: every term. */
static double slow_poisson(double mean, unsigned n)
{
	double sum = 0;

	for (unsigned i = 0; i <= n; i++)
		sum += exp(-mean + i * log(mean) - lgamma(i + 1.0));
	return sum;
}

static void test_poisson_equals_the_sum(void **state)
{
	static const struct {
		double mean;
		unsigned n;
	} rows[] = {{21, 0},   {21, 1},	    {30, 5},	  {100, 50},
		    {100, 99}, {1000, 800}, {5000, 4600}, {0.5, 0}};

	(void)state;
	for (size_t i = 0; i < HN_COUNT(rows); i++) {
		const double want = slow_poisson(rows[i].mean, rows[i].n);
		const double got = poisson_at_most(rows[i].mean, rows[i].n);

		assert_true(fabs(got / want - 1) < 1e-9);
	}
	assert_true(poisson_at_most(100, 100) == 1);
	assert_true(poisson_at_most(0, 0) == 1);
}

static void test_low_is_tested_at_doublings(void **state)
{
	struct evidence e = {0};

	(void)state;
	/* 20 expected and none there: exp(-20) is still 2e-9. */
	evidence_add(&e, 20 << 10, 10, 0);
	assert_false(evidence_low(&e));
	evidence_add(&e, 1 << 10, 10, 0);
	assert_true(evidence_low(&e));

	/* Between doublings nothing is tested. */
	e = (struct evidence){0};
	evidence_add(&e, 25 << 10, 10, 25);
	assert_false(evidence_low(&e));
	evidence_add(&e, 24 << 10, 10, 0);
	assert_false(evidence_low(&e)); /* 49 expected, 25 there */
	evidence_add(&e, 1000 << 10, 10, 500);
	assert_true(evidence_low(&e));

	/* Units of different k add up. */
	e = (struct evidence){0};
	evidence_add(&e, 1000 << 10, 10, 1010);
	evidence_add(&e, 1000 << 12, 12, 985);
	assert_false(evidence_low(&e));
	assert_true(fabs(e.expected - 2000) < 1e-9);
}

static void test_gap(void **state)
{
	(void)state;
	/* exp(-20.7) is 1e-9: the boundary for one expected share. */
	assert_false(evidence_gap(20 << 10, 10, 0));
	assert_true(evidence_gap(21 << 10, 10, 0));
	/* Among a million a longer one is to be expected. */
	assert_false(evidence_gap(34 << 10, 10, 1e6));
	assert_true(evidence_gap(35 << 10, 10, 1e6));
	assert_false(evidence_gap(0, 0, 1e12));
}

static void test_honest_gaps_raise_no_doubt(void **state)
{
	uint64_t seed = 99;

	(void)state;
	/* Three million exponential gaps, as an honest worker has them. */
	for (int i = 0; i < 3000000; i++) {
		const double gap = -log(1 - uniform(&seed)) * 65536;

		if (evidence_gap((uint64_t)gap, 16, i % 100000))
			fail_msg("gap %.0f among %d", gap, i % 100000);
	}
}

static void test_pieces_lie_apart_and_cover_evenly(void **state)
{
	uint64_t seed = 5, drawn = 0, pieces = 0;
	const struct span range = {1000000, 2000000};
	unsigned hits[10] = {0};
	double first = 0, last = 0;
	const int runs = 4000;

	(void)state;
	for (int i = 0; i < runs; i++) {
		struct span out[CHECK_PIECES_MAX];
		const size_t n = check_draw(range, 13, 10000, random64, &seed,
					    out, HN_COUNT(out));

		for (size_t k = 0; k < n; k++) {
			assert_true(out[k].a >= range.a);
			assert_true(out[k].a < out[k].b);
			assert_true(out[k].b <= range.b);
			assert_true(!k || out[k - 1].b <= out[k].a);
			assert_true(out[k].b - out[k].a <= 2048);
			drawn += out[k].b - out[k].a;
			hits[(out[k].a - range.a) / 100000]++;
			first += out[k].a == range.a;
			last += out[k].b == range.b;
		}
		pieces += n;
	}
	/* 10,000 nonces on average, in pieces of 2^(13-2). */
	assert_true(fabs((double)drawn / runs / 10000 - 1) < 0.03);
	assert_true(fabs((double)pieces / runs - 10000.0 / 2048) < 0.1);
	for (int i = 0; i < 10; i++)
		assert_true(fabs(hits[i] * 10.0 / (double)pieces - 1) < 0.1);
	/* The ends are as likely as any place: 1 % of the runs. */
	assert_true(first > runs * 0.005 && first < runs * 0.02);
	assert_true(last > runs * 0.005 && last < runs * 0.02);
}

static void test_pieces_of_odd_ranges(void **state)
{
	uint64_t seed = 6;
	struct span out[CHECK_PIECES_MAX];

	(void)state;
	assert_int_equal(
	    check_draw((struct span){5, 5}, 16, 1, random64, &seed, out, 4), 0);
	assert_int_equal(
	    check_draw((struct span){5, 9}, 16, 0, random64, &seed, out, 4), 0);
	for (unsigned bits = 0; bits <= 32; bits++) {
		for (uint64_t length = 1; length <= NONCES; length *= 2) {
			const struct span r = {NONCES - length, NONCES};
			const size_t n =
			    check_draw(r, bits, length / 100 + 1, random64,
				       &seed, out, HN_COUNT(out));

			assert_true(n <= HN_COUNT(out));
			for (size_t i = 0; i < n; i++)
				assert_true(out[i].a >= r.a &&
					    out[i].a < out[i].b &&
					    out[i].b <= r.b);
			const struct span run =
			    check_run(r, length / 100 + 1, random64, &seed);
			assert_true(run.a >= r.a && run.a < run.b &&
				    run.b <= r.b);
		}
	}
	/* All of it when all is asked for. */
	assert_int_equal(check_draw((struct span){0, 4000}, 2, 99999, random64,
				    &seed, out, 1),
			 1);
}

static void test_poisson_above_is_the_rest(void **state)
{
	static const struct {
		double mean;
		unsigned n;
	} rows[] = {{0.5, 0}, {0.5, 3}, {21, 10},
		    {21, 21}, {21, 40}, {900, 990}};

	(void)state;
	for (size_t i = 0; i < HN_COUNT(rows); i++) {
		double want = 0;

		for (unsigned k = rows[i].n + 1; k < rows[i].n + 500; k++)
			want += exp(-rows[i].mean + k * log(rows[i].mean) -
				    lgamma(k + 1.0));
		const double got = poisson_above(rows[i].mean, rows[i].n);
		assert_true(fabs(got / want - 1) < 1e-9);
	}
	assert_true(poisson_above(0, 0) == 0);
}

/* Looks at one unit as the submitter does, of a peer that left `lost` out of
 * it; true when a piece has a share that it did not report. */
static bool piece_shows(struct span range, struct span lost, unsigned bits,
			uint64_t *seed, size_t *n)
{
	struct span out[CHECK_PIECES_MAX];
	bool seen = false;

	*n = check_draw(range, bits, (range.b - range.a) / 100, random64, seed,
			out, HN_COUNT(out));
	for (size_t i = 0; i < *n; i++) {
		const uint64_t a = out[i].a > lost.a ? out[i].a : lost.a;
		const uint64_t b = out[i].b < lost.b ? out[i].b : lost.b;

		if (a < b && uniform(seed) < check_weight(b - a, bits))
			seen = true;
	}
	return seen;
}

static void test_pieces_show_what_the_formula_says(void **state)
{
	const unsigned bits = 16;
	const struct span range = {0, UINT64_C(1000) << 16};
	const int runs = 40000;
	uint64_t seed = 12;

	(void)state;
	for (int k = 0; k < 2; k++) {
		const double x = k ? 0.1 : 0.02;
		const struct span lost = {(uint64_t)((1 - x) * (double)range.b),
					  range.b};
		double pieces = 0, unseen = 0;

		for (int i = 0; i < runs; i++) {
			size_t n;

			unseen += !piece_shows(range, lost, bits, &seed, &n);
			pieces += (double)n;
		}
		pieces /= runs;
		unseen /= runs;
		const double weight = check_weight(1u << 14, bits);
		const double most =
		    unseen_by_pieces(x, pieces, pieces * weight);
		const double want = unseen_in_stretch(x, pieces, weight);
		const double sigma = sqrt(want * (1 - want) / runs);

		assert_true(want < most && most < want + 0.05);
		/* Pieces reach a little over the border: some 1 %. */
		assert_true(fabs(unseen - want) < 4 * sigma + 0.005);
	}
	/* D15's numbers. */
	assert_true(fabs(check_weight(1u << 14, 16) - 0.2212) < 1e-4);
	assert_true(fabs(unseen_by_pieces(0.1, 100, 22.12) -
			 pow(1 - 0.02212, 100)) < 1e-12);
	assert_true(unseen_by_pieces(0.5, 0, 0) == 1);
	assert_true(unseen_by_pieces(1, 3, 3) == 0);
	/* Scattered is seen sooner than in one stretch. */
	assert_true(unseen_if_scattered(0.1, 25) <
		    unseen_by_pieces(0.1, 100, 22.12));
}

static uint64_t poisson_draw(double mean, uint64_t *seed)
{
	uint64_t n = 0;

	for (double t = 0; (t -= log(1 - uniform(seed))) < mean;)
		n++;
	return n;
}

static void test_counts_show_what_the_formula_says(void **state)
{
	const int runs = 1000;
	const double n = 5000, x = 0.1;
	uint64_t seed = 4;
	int unseen = 0;

	(void)state;
	for (int i = 0; i < runs; i++)
		unseen +=
		    poisson_at_most(n, poisson_draw((1 - x) * n, &seed)) >=
		    CHECK_DOUBT;
	const double want = unseen_by_count(x, n);

	assert_true(fabs((double)unseen / runs - want) <
		    4 * sqrt(want * (1 - want) / runs));
	/* Five thousand shares are what a tenth needs; a half needs few. */
	assert_true(want > 0.05 && want < 0.3);
	assert_true(unseen_by_count(0.1, 2000) > 0.9);
	assert_true(unseen_by_count(0.5, 500) < 1e-3);
	/* Who does its work is not suspected; too few say nothing. */
	assert_true(unseen_by_count(0, 5000) > 1 - 2e-9);
	assert_true(unseen_by_count(1, 20) == 1);
	assert_true(unseen_by_count(1, 21) < 1e-9);
}

static void test_gaps_show_what_the_formula_says(void **state)
{
	const int runs = 100000;
	const double gap = 26, n = 1000;
	uint64_t seed = 8;
	int unseen = 0;

	(void)state;
	for (int i = 0; i < runs; i++) {
		const double more = -log(1 - uniform(&seed));

		unseen +=
		    !evidence_gap((uint64_t)((gap + more) * 65536), 16, n);
	}
	const double want = unseen_by_gap(gap, n);

	assert_true(fabs((double)unseen / runs - want) <
		    4 * sqrt(want * (1 - want) / runs) + 1e-4);
	assert_true(unseen_by_gap(30, n) == 0);
	assert_true(unseen_by_gap(1, n) > 0.999999);
}

static void test_openings_show_what_the_formula_says(void **state)
{
	(void)state;
	/* 10 of 1000 false, 200 opened: by hand, one draw after the other. */
	double want = 1;

	for (int i = 0; i < 200; i++)
		want *= (990.0 - i) / (1000.0 - i);
	assert_true(fabs(unseen_by_opening(1000, 10, 200) / want - 1) < 1e-9);
	assert_true(unseen_by_opening(1000, 0, 200) == 1);
	assert_true(unseen_by_opening(1000, 10, 0) == 1);
	assert_true(unseen_by_opening(1000, 801, 200) == 0);
	/* One false share in a thousand, all hashed again. */
	assert_true(fabs(unseen_if_false(0.001, 1000, 16) - exp(-1)) < 1e-3);
	assert_true(unseen_if_false(0.5, 100, 0) == 1);
	assert_true(fabs(unseen_winner(0.01) - 0.99) < 1e-12);
}

/* One fiftieth left out of each of many small jobs: none shows it alone. */
static void test_all_jobs_together_show_a_little(void **state)
{
	struct evidence total = {0};
	uint64_t seed = 3;
	int jobs = 0;

	(void)state;
	for (bool low = false; !low && jobs < 1000; jobs++) {
		struct evidence job = {0};
		const uint64_t got = poisson_draw(980, &seed);

		evidence_add(&job, 1000 << 16, 16, got);
		evidence_add(&total, 1000 << 16, 16, got);
		assert_false(evidence_low(&job));
		low = evidence_low(&total);
	}
	assert_in_range(jobs, 40, 200);

	/* And an honest one does not stand out by its age. */
	total = (struct evidence){0};
	for (jobs = 0; jobs < 1000; jobs++) {
		evidence_add(&total, 1000 << 16, 16, poisson_draw(1000, &seed));
		assert_false(evidence_low(&total));
	}
}

static void test_lists_are_compared(void **state)
{
	static const uint32_t list[] = {3, 8, 9, 20};
	static const uint32_t more[] = {3, 8, 15, 20, 30};
	uint32_t at = 0;
	size_t n;

	(void)state;
	const uint32_t *in = check_within(list, 4, (struct span){8, 20}, &n);
	assert_int_equal(n, 2);
	assert_int_equal(in[0], 8);
	check_within(list, 4, (struct span){21, 90}, &n);
	assert_int_equal(n, 0);
	check_within(NULL, 0, (struct span){0, 90}, &n);
	assert_int_equal(n, 0);

	assert_false(check_lacks(list, 4, list, 4, &at));
	assert_false(check_lacks(list, 4, NULL, 0, &at));
	assert_true(check_lacks(list, 4, more, 5, &at));
	assert_int_equal(at, 15);
	assert_true(check_lacks(more, 5, list, 4, &at));
	assert_int_equal(at, 9);
	assert_true(check_lacks(NULL, 0, list, 4, &at));
	assert_int_equal(at, 3);
}

static void test_reference_judge_knows_a_block(void **state)
{
	const struct known_header *k = &known_headers[1];
	uint8_t header[HEADER_SIZE], digest[32];

	(void)state;
	unhex(k->header, header, sizeof(header));
	judge_reference.fn(NULL, header, k->nonce, digest);
	assert_int_equal(sha256d_zero_bits(digest), k->zero_bits);
	judge_reference.fn(NULL, header, k->nonce + 1, digest);
	assert_true(sha256d_zero_bits(digest) < 32);
}

static void test_note_states_the_numbers(void **state)
{
	struct buf b = {0};
	struct check_report r = {.foreign = 1000000,
				 .own = 0,
				 .rescanned = 10200,
				 .pieces = 300,
				 .expected = 1000,
				 .reported = 990,
				 .scanned = 8000,
				 .given = 12000,
				 .checks = 4,
				 .checks_passed = 3,
				 .replicas = 2,
				 .fewest = UINT64_MAX};
	const struct evidence few = {.expected = 100, .reported = 99};

	(void)state;
	check_peer(&r, 100, 22.12, &few);
	check_peer(&r, 200, 44.24, &few);
	assert_int_equal(r.fewest, 100);
	assert_true(fabs(check_fraction(&r) - 0.0102) < 1e-9);
	assert_true(fabs(check_cost(&r) - 0.02) < 1e-9);
	check_note(&r, &b);
	assert_non_null(strstr(buf_str(&b), "1000 shares expected"));
	assert_non_null(strstr(buf_str(&b), "990 reported"));
	assert_non_null(strstr(buf_str(&b), "1.02 %"));
	assert_non_null(strstr(buf_str(&b), "300 pieces"));
	assert_non_null(strstr(buf_str(&b), "3 of 4 check units"));
	assert_non_null(strstr(buf_str(&b), "2 replicas"));
	assert_non_null(strstr(buf_str(&b), "cost of 2.00 %"));
	/* 0.978^100 = 0.108; 0.889^100 = 8e-6 */
	assert_non_null(strstr(buf_str(&b), "10 %: 0.11"));
	assert_true(r.unseen_50 < 1e-5);
	/* So many shares tell more than so few pieces. */
	r.unseen_10 = 0;
	const struct evidence many = {
	    .expected = 20000, .reported = 20000, .next = 40000};
	check_peer(&r, 100, 22.12, &many);
	assert_true(r.unseen_10 < 1e-9);
	buf_clear(&b);
	r.foreign = 0;
	r.own = 5;
	assert_true(check_fraction(&r) == 1);
	check_note(&r, &b);
	assert_non_null(strstr(buf_str(&b), "this node"));
	r.own = 0;
	assert_true(check_fraction(&r) == 0);
	assert_true(check_cost(&r) == 0);
	buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_poisson_equals_the_sum),
	    cmocka_unit_test(test_low_is_tested_at_doublings),
	    cmocka_unit_test(test_gap),
	    cmocka_unit_test(test_honest_gaps_raise_no_doubt),
	    cmocka_unit_test(test_pieces_lie_apart_and_cover_evenly),
	    cmocka_unit_test(test_pieces_of_odd_ranges),
	    cmocka_unit_test(test_poisson_above_is_the_rest),
	    cmocka_unit_test(test_pieces_show_what_the_formula_says),
	    cmocka_unit_test(test_counts_show_what_the_formula_says),
	    cmocka_unit_test(test_gaps_show_what_the_formula_says),
	    cmocka_unit_test(test_openings_show_what_the_formula_says),
	    cmocka_unit_test(test_all_jobs_together_show_a_little),
	    cmocka_unit_test(test_lists_are_compared),
	    cmocka_unit_test(test_reference_judge_knows_a_block),
	    cmocka_unit_test(test_note_states_the_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
