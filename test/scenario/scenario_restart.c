/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The submitter's node dies at random moments and begins again with what was
 * on its disk, while workers come, go, lag and repeat themselves: every nonce
 * is done once, every hit is there, what was told as final stays so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "node/lab/world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define S UINT64_C(1000000)
#define MH 1e6
#define SCHEDULES 2500

struct sums {
	uint64_t restarts, saves;
};

static struct job_info info_of(struct world *w, const char *id, struct arena *a)
{
	struct job_info info;

	assert_int_equal(
	    jobs_info(w->jobs, id, JOB_UNITS, w->now_us / 1000, a, &info), OK);
	return info;
}

static char *final_words(struct world *w, const char *id)
{
	struct arena a = {0};
	struct buf b = {0};
	const struct job_info info = info_of(w, id, &a);

	fields_to_json(&job_info_message, &info, &b);
	char *text = xstrdup(buf_str(&b));
	buf_release(&b);
	arena_release(&a);
	return text;
}

static void check_done(struct world *w, const char *id, unsigned bits)
{
	struct arena a = {0};
	const struct job_info info = info_of(w, id, &a);
	const struct job_peer *p = info.by_peer.items;
	const struct job_hit *hits = info.hits.items;
	uint64_t credited = 0;
	size_t n;
	uint32_t *want = world_shares(info.start, info.end, bits, &n);

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

static void disturb(struct world *w)
{
	while (world_open(w)) {
		world_run(w, w->now_us + 20000 + world_random(w) % 600000);
		if (!world_open(w))
			break;
		const size_t i = 1 + world_random(w) % 6;
		const double what = world_chance(w);

		if (what < 0.4) {
			world_restart(w, world_random(w) % (20 * S));
		} else if (i >= w->n) {
			world_join(w, (4.2 + 40 * world_chance(w)) * MH,
				   world_random(w) % 50000, HONEST);
		} else if (!w->w[i].here) {
			if (what < 0.8)
				world_rejoin(w, i);
		} else if (what < 0.5) {
			world_crash(w, i, world_random(w) % (4 * S));
		} else if (what < 0.55) {
			world_crash(w, i, UINT64_MAX);
		} else if (what < 0.8) {
			w->w[i].rate = (4.2 + 40 * world_chance(w)) * MH;
		}
		assert_true(w->now_us < 3600 * S);
	}
}

static void one_schedule(uint64_t seed, struct sums *sums)
{
	struct world w;
	char id[JOB_ID_SIZE];

	world_init(&w, 90000 + seed);
	w.durable = true;
	w.torn = 0.2;
	w.dup = 0.1;
	w.reorder = 0.3;
	w.paranoid = seed % 10 == 0;
	const uint64_t start = world_random(&w) % (NONCES / 2);
	const uint64_t length = 1 + world_random(&w) % (1u << 27);
	const unsigned bits = 16 + world_random(&w) % 8;
	struct search_spec s =
	    world_spec(start, start + length, bits, world_random(&w) % 2);

	s.terms.check_permille = world_random(&w) % 60;
	for (size_t i = 0; i < 1 + seed % 4; i++) {
		const size_t k =
		    world_join(&w, (4.2 + 30 * world_chance(&w)) * MH,
			       world_random(&w) % 50000, HONEST);

		w.w[k].jitter_us = world_random(&w) % 60000;
	}
	world_submit(&w, &s, id);
	disturb(&w);
	check_done(&w, id, bits);
	for (size_t i = 0; i < w.n; i++)
		if (w.w[i].bad)
			fail_msg("honest worker %zu dropped: %s", i,
				 w.w[i].why);

	/* What was told as final is final. */
	char *told = final_words(&w, id);
	world_restart(&w, S);
	char *again = final_words(&w, id);
	assert_string_equal(told, again);
	free(told);
	free(again);
	sums->restarts += w.restarts;
	sums->saves += w.saves;
	world_release(&w);
}

static void test_any_restart_does_each_nonce_once(void **state)
{
	struct sums sums = {0};

	(void)state;
	for (uint64_t seed = 1; seed <= SCHEDULES; seed++)
		one_schedule(seed, &sums);
	printf("%d schedules, %" PRIu64 " restarts, %" PRIu64 " saves\n",
	       SCHEDULES, sums.restarts, sums.saves);
	assert_true(sums.restarts > 2 * SCHEDULES);
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
	    cmocka_unit_test(test_any_restart_does_each_nonce_once),
	    cmocka_unit_test(test_liars_are_dropped_across_restarts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
