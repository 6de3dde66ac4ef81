/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The submitter's node dies again and again while somebody lies: the liar is
 * found and stays out. What else may happen to a life is in bench_faults.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "node/lab/world.h"

#include <stdlib.h>
#include <string.h>

#define S UINT64_C(1000000)
#define MH 1e6

static struct job_info info_of(struct world *w, const char *id, struct arena *a)
{
	struct job_info info;

	assert_int_equal(
	    jobs_info(w->jobs, id, JOB_UNITS, w->now_us / 1000, a, &info), OK);
	return info;
}

static void check_done(struct world *w, const char *id, unsigned bits)
{
	struct arena a = {0};
	const struct job_info info = info_of(w, id, &a);
	const struct job_peer *p = info.by_peer.items;
	const struct job_hit *hits = info.hits.items;
	uint64_t credited = 0;
	size_t n;
	uint32_t *want = world_shares(0, info.start, info.end, bits, &n);

	if (w->broken.n)
		fail_msg("%s", buf_str(&w->broken));
	assert_string_equal(info.state, "done");
	for (size_t i = 0; i < info.by_peer.n; i++)
		credited += p[i].hashes;
	assert_int_equal(credited, info.hashes);
	assert_int_equal(info.found, n > 0);
	if (info.all || !n) {
		assert_int_equal(info.hashes, info.end - info.start);
		assert_int_equal(
		    spans_count(&world_find(w, id)->told, info.start, info.end),
		    info.hashes);
	}
	if (info.all) {
		assert_int_equal(info.hits.n, n);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(hits[i].nonce, want[i]);
	} else if (n) {
		size_t i = 0;

		while (i < n && want[i] != info.nonce.v)
			i++;
		assert_true(i < n);
	}
	free(want);
	arena_release(&a);
}

/* A liar is found and stays out, however often its judge dies. */
static void test_liars_are_dropped_across_restarts(void **state)
{
	static const enum world_lie lies[] = {LIE_INVENTS, LIE_LAZY,
					      LIE_WITHHOLDS, LIE_BEYOND};

	(void)state;
	for (size_t i = 0; i < HN_COUNT(lies); i++) {
		struct world w;
		char id[JOB_ID_SIZE];
		const struct search_spec s = world_spec(0, NONCES, 24, true);

		world_init(&w, 500 + i);
		w.durable = true;
		for (int k = 0; k < 3; k++)
			world_join(&w, 40 * MH, 1000, HONEST);
		const size_t liar = world_join(&w, 40 * MH, 1000, lies[i]);
		world_submit(&w, &s, id);
		while (world_open(&w)) {
			world_run(&w, w.now_us + 7 * S);
			if (world_open(&w))
				world_restart(&w, S);
		}
		check_done(&w, id, 24);
		assert_true(w.w[liar].bad);
		world_release(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_liars_are_dropped_across_restarts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
