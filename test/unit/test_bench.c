/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "asic/bench.h"

#include "asic/kernel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void on_row(const struct bench_row *row, void *arg)
{
	const struct bench_rate *rates[] = {&row->scan, &row->b64, &row->b1k};

	(*(size_t *)arg)++;
	for (int i = 0; i < 3; i++) {
		assert_true(rates[i]->cpu > 0);
		assert_true(rates[i]->wall > 0);
		assert_true(rates[i]->openssl > 0);
		assert_true(rates[i]->ratio > 0);
	}
	print_message("%-7s %u threads: scan %.2f MH/s, %.2f times OpenSSL; "
		      "64 B %.2f M/s, %.2f; 1 KiB %.2f M/s, %.2f (%s)\n",
		      row->kernel->name, row->threads, row->scan.cpu,
		      row->scan.ratio, row->b64.cpu, row->b64.ratio,
		      row->b1k.cpu, row->b1k.ratio, row->kernel->compiler);
}

static void test_bench_measures_each_kernel_and_thread_count(void **state)
{
	struct bench_hash b;
	size_t told = 0, usable = 0, n;
	const struct kernel *list = kernel_list(&n);

	(void)state;
	for (size_t i = 0; i < n; i++)
		usable += list[i].usable();
	assert_int_equal(bench_hash_run(0.02, 2, on_row, &told, &b), OK);
	assert_int_equal(b.n, 2 * usable);
	assert_int_equal(told, b.n);
	assert_non_null(b.best);
	for (size_t i = 0; i < b.n; i++) {
		assert_true(b.rows[i].kernel->usable());
		assert_int_equal(b.rows[i].threads, 1 + i % 2);
	}
	bench_hash_release(&b);
	assert_int_equal(b.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_bench_measures_each_kernel_and_thread_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
