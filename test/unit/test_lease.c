/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/lease.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "test/support/headers.h"

#define SIZE 200

/* The same set as a row of flags: slow and surely right. */
static void same(const struct spans *s, const bool flags[static SIZE])
{
	uint64_t total = 0, at = 0;
	struct span v;
	size_t n = 0;

	for (uint64_t x = 0; x < SIZE; x++) {
		assert_int_equal(spans_next(s, x, &v) && v.a <= x, flags[x]);
		total += flags[x];
	}
	assert_int_equal(s->total, total);
	for (; spans_next(s, at, &v); at = v.b) {
		assert_true(v.a < v.b);
		/* Touching spans would be one. */
		assert_true(!n++ || at < v.a);
	}
	assert_int_equal(s->n, n);
}

static uint64_t set_flags(bool *flags, uint64_t a, uint64_t b, bool to)
{
	uint64_t changed = 0;

	for (; a < b; a++) {
		changed += flags[a] != to;
		flags[a] = to;
	}
	return changed;
}

static void test_spans_equal_a_row_of_flags(void **state)
{
	uint64_t seed = 4711;

	(void)state;
	for (int run = 0; run < 100; run++) {
		struct spans s = {0};
		bool flags[SIZE] = {0};

		for (int i = 0; i < 100; i++) {
			const uint64_t a = noise32(&seed) % SIZE;
			const uint64_t b =
			    a +
			    noise32(&seed) % (SIZE - a < 40 ? SIZE - a : 40);
			uint64_t count = 0;

			for (uint64_t x = a; x < b; x++)
				count += flags[x];
			assert_int_equal(spans_count(&s, a, b), count);
			if (noise32(&seed) % 2)
				assert_int_equal(spans_add(&s, a, b),
						 set_flags(flags, a, b, true));
			else
				assert_int_equal(spans_cut(&s, a, b),
						 set_flags(flags, a, b, false));
			same(&s, flags);
		}
		spans_release(&s);
	}
}

static void test_spans_minus_takes_what_both_have(void **state)
{
	uint64_t seed = 12;

	(void)state;
	for (int run = 0; run < 300; run++) {
		struct spans s = {0}, t = {0};
		bool flags[SIZE] = {0};

		for (int i = 0; i < 6; i++) {
			const uint64_t a = noise32(&seed) % SIZE;
			const uint64_t b = a + noise32(&seed) % (SIZE - a);

			spans_add(&s, a, b);
			set_flags(flags, a, b, true);
		}
		for (int i = 0; i < 6; i++) {
			const uint64_t a = noise32(&seed) % SIZE;
			const uint64_t b = a + noise32(&seed) % (SIZE - a) / 4;

			spans_add(&t, a, b);
			set_flags(flags, a, b, false);
		}
		spans_minus(&s, &t);
		same(&s, flags);
		spans_release(&s);
		spans_release(&t);
	}
}

static uint64_t lowest(const struct spans *s)
{
	struct span v;

	assert_true(spans_next(s, 0, &v));
	return v.a;
}

static void test_book_hands_out_each_number_once(void **state)
{
	struct book b;
	struct span u;
	uint64_t next = 1000;

	(void)state;
	book_init(&b, 1000, 2000);
	while (book_take(&b, 70, 0, &u)) {
		assert_int_equal(u.a, next);
		next = u.b;
	}
	/* 1000 = 13 * 70 + 90: the last takes its crumb or is cut. */
	assert_int_equal(next, 2000);
	assert_int_equal(b.out.total, 1000);
	assert_false(book_complete(&b));
	book_release(&b);
}

static void test_book_takes_a_crumb_along(void **state)
{
	struct book b;
	struct span u;

	(void)state;
	book_init(&b, 0, 108);
	assert_true(book_take(&b, 100, 0, &u));
	assert_int_equal(u.b, 108);
	book_release(&b);
	/* Nobody wants nothing: at least one number. */
	book_init(&b, 0, 10);
	assert_true(book_take(&b, 0, 0, &u));
	assert_int_equal(u.b - u.a, 1);
	book_release(&b);
}

static void test_book_gives_back_what_is_not_done(void **state)
{
	struct book b;
	struct span u, v;
	struct spans one = {0}, two = {0};

	(void)state;
	book_init(&b, 0, 100);
	assert_true(book_take(&b, 60, 0, &u));
	assert_int_equal(book_done(&b, 0, 25, true, &one), 25);
	book_return(&b, 25, 60);
	/* The rest is one span with what was pending. */
	assert_int_equal(b.pending.n, 1);
	assert_int_equal(lowest(&b.pending), 25);
	assert_int_equal(b.out.total, 0);
	/* A late word about the lease: it counts, and is not done again. */
	assert_int_equal(book_done(&b, 25, 40, false, &one), 15);
	assert_int_equal(lowest(&b.pending), 40);
	/* In another's hands meanwhile: done once, whoever is first. */
	assert_true(book_take(&b, 60, 0, &v));
	assert_int_equal(v.a, 40);
	assert_int_equal(book_done(&b, 40, 50, false, &one), 10);
	assert_int_equal(book_done(&b, 40, 100, true, &two), 50);
	assert_true(book_complete(&b));
	assert_int_equal(one.total + two.total, 100);
	spans_release(&one);
	spans_release(&two);
	book_release(&b);
}

static void test_book_undoes_one_workers_credit(void **state)
{
	struct book b;
	struct span u, v;
	struct spans liar = {0}, other = {0};

	(void)state;
	book_init(&b, 0, 100);
	assert_true(book_take(&b, 50, 0, &u));
	assert_true(book_take(&b, 50, 0, &v));
	book_done(&b, 0, 50, true, &liar);
	book_done(&b, 50, 70, true, &other);
	/* Late words of the liar about what another holds. */
	book_done(&b, 70, 80, false, &liar);
	book_undo(&b, &liar);
	assert_int_equal(liar.total, 0);
	assert_int_equal(b.done.total, 20);
	/* [0, 50) is to be done again; [70, 100) is in hands anyway. */
	assert_int_equal(b.pending.total, 50);
	assert_int_equal(b.out.total, 30);
	assert_int_equal(book_done(&b, 70, 100, true, &other), 30);
	spans_release(&other);
	book_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_spans_equal_a_row_of_flags),
	    cmocka_unit_test(test_spans_minus_takes_what_both_have),
	    cmocka_unit_test(test_book_hands_out_each_number_once),
	    cmocka_unit_test(test_book_takes_a_crumb_along),
	    cmocka_unit_test(test_book_gives_back_what_is_not_done),
	    cmocka_unit_test(test_book_undoes_one_workers_credit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
