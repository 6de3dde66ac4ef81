/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The measurement as a test: two processes, every cell, sane figures. With
 * seconds per cell as an argument it prints them.
 */
#include "rpc/bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void run(const struct bench_rpc_options *o, struct bench_rpc_result *r)
{
	struct buf why = {0};
	const enum err e = bench_rpc_run(o, r, &why);

	if (e)
		print_error("%s: %s\n", err_name(e), buf_str(&why));
	buf_release(&why);
	assert_int_equal(e, OK);
}

static void sane(const struct bench_rpc_result *r)
{
	assert_true(r->p50_us > 0 && r->p99_us >= r->p50_us);
	assert_true(r->tcp.p50_us > 0 && r->tcp.p99_us >= r->tcp.p50_us);
	assert_true(r->nng.p50_us > 0 && r->nng.p99_us >= r->nng.p50_us);
	assert_true(r->calls_per_s > r->calls_alone_per_s);
	assert_true(r->nng_calls_per_s > 0);
	assert_true(r->stream_mb_s > 0 && r->stream_up_mb_s > 0);
	assert_true(r->beside_p99_us > 0 && r->beside_mb_s > 0);
}

static void test_every_cell_has_a_figure(void **state)
{
	struct bench_rpc_result r;

	(void)state;
	run(&(struct bench_rpc_options){.seconds = 0.1}, &r);
	sane(&r);
}

static void test_the_other_suite_too(void **state)
{
	struct bench_rpc_result r;

	(void)state;
	run(&(struct bench_rpc_options){.seconds = 0.05,
					.chacha = true,
					.place = BENCH_FREE},
	    &r);
	sane(&r);
	assert_string_equal(r.suite, "ChaChaPoly");
}

static void test_a_program_that_is_no_peer_is_said(void **state)
{
	static const char *const bad[] = {"/nonexistent", "/bin/true"};
	struct bench_rpc_result r = {0};

	(void)state;
	for (size_t i = 0; i < HN_COUNT(bad); i++) {
		struct buf why = {0};
		const struct bench_rpc_options o = {.exe = bad[i]};
		assert_int_not_equal(bench_rpc_run(&o, &r, &why), OK);
		assert_true(why.n > 10);
		buf_release(&why);
	}
}

static int print(double seconds, bool chacha, enum bench_place place)
{
	struct bench_rpc_options o = {
	    .seconds = seconds, .chacha = chacha, .place = place};
	struct bench_rpc_result r;

	run(&o, &r);
	printf("%s place=%d\n tcp %.1f/%.1f us, rpc %.1f/%.1f (x%.2f, p99 "
	       "x%.2f), nng %.1f/%.1f\n calls/s %.0f (alone %.0f) nng %.0f\n "
	       "stream %.0f MB/s, up %.0f; beside %.1f/%.1f us at %.0f MB/s\n",
	       r.suite, place, r.tcp.p50_us, r.tcp.p99_us, r.p50_us, r.p99_us,
	       r.p50_us / r.tcp.p50_us, r.p99_us / r.tcp.p99_us, r.nng.p50_us,
	       r.nng.p99_us, r.calls_per_s, r.calls_alone_per_s,
	       r.nng_calls_per_s, r.stream_mb_s, r.stream_up_mb_s,
	       r.beside_p50_us, r.beside_p99_us, r.beside_mb_s);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_cell_has_a_figure),
	    cmocka_unit_test(test_the_other_suite_too),
	    cmocka_unit_test(test_a_program_that_is_no_peer_is_said),
	};

	if (argc > 1 && !strcmp(argv[1], "bench-peer"))
		return bench_peer_main(argc, argv);
	if (argc > 1) {
		const double s = strtod(argv[1], NULL);
		for (int place = 0; place < 3; place++) {
			print(s, false, (enum bench_place)place);
			print(s, true, (enum bench_place)place);
		}
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
