/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The coordinator in a made-up world: workers of many rates, the last minutes
 * of jobs, and peers that lie, on a virtual clock with fixed seeds. Figures are
 * printed; the assertions are what must hold.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "node/lab/world.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
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

static uint64_t credited(const struct job_info *info)
{
	const struct job_peer *p = info->by_peer.items;
	uint64_t n = 0;

	for (size_t i = 0; i < info->by_peer.n; i++)
		n += p[i].hashes;
	return n;
}

/* Every hit of the range, and nothing else. */
static void check_hits(const struct job_info *info, unsigned bits)
{
	const struct job_hit *hits = info->hits.items;
	size_t n;
	uint32_t *want = world_shares(0, info->start, info->end, bits, &n);

	assert_int_equal(info->hits.n, n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(hits[i].nonce, want[i]);
	assert_int_equal(info->found, n > 0);
	free(want);
}

static void check_first(const struct job_info *info, unsigned bits)
{
	size_t n;
	uint32_t *want = world_shares(0, info->start, info->end, bits, &n);

	assert_int_equal(info->found, n > 0);
	if (n) {
		size_t i = 0;

		while (i < n && want[i] != info->nonce.v)
			i++;
		assert_true(i < n);
	}
	free(want);
}

static void check_done(struct world *w, const char *id, unsigned bits)
{
	struct arena a = {0};
	const struct job_info info = info_of(w, id, &a);
	const uint64_t length = info.end - info.start;

	if (w->broken.n)
		fail_msg("%s", buf_str(&w->broken));
	assert_string_equal(info.state, "done");
	assert_int_equal(w->ended, 1);
	if (info.all || !info.found) {
		assert_int_equal(info.hashes, length);
		assert_int_equal(
		    spans_count(&world_find(w, id)->told, info.start, info.end),
		    length);
	}
	assert_int_equal(credited(&info), info.hashes);
	assert_true(info.hashes <= length);
	if (info.all)
		check_hits(&info, bits);
	else
		check_first(&info, bits);
	arena_release(&a);
}

static void no_honest_one_is_bad(const struct world *w)
{
	for (size_t i = 0; i < w->n; i++)
		if (w->w[i].lie == HONEST && w->w[i].bad)
			fail_msg("honest worker %zu dropped: %s", i,
				 w->w[i].why);
}

static void test_faster_worker_gets_more(void **state)
{
	struct world w;
	struct arena a = {0};
	char id[JOB_ID_SIZE];
	const struct search_spec s = world_spec(0, NONCES, 32, true);

	(void)state;
	world_init(&w, 8);
	/* Neither says how fast it is. */
	w.announce = 0;
	world_join(&w, 8 * MH, 500, HONEST);
	world_join(&w, 64 * MH, 500, HONEST);
	world_submit(&w, &s, id);
	world_run(&w, w.now_us + 30 * S);
	const struct job_info info = info_of(&w, id, &a);
	const struct job_peer *p = info.by_peer.items;
	const double ratio = (double)p[1].hashes / (double)p[0].hashes;

	printf("8 times faster: %.2f times the range after 30 s\n", ratio);
	assert_true(ratio > 7.5 && ratio < 8.5);
	assert_true(info.eta_s > 0);
	arena_release(&a);
	world_release(&w);
}

/* How much longer than ideal n workers of this rate take for the range. */
static double overhead(size_t n, double rate, uint64_t length, uint64_t lat_us,
		       bool announce)
{
	struct world w;
	char id[JOB_ID_SIZE];
	struct search_spec s = world_spec(0, length, 32, true);

	world_init(&w, 2);
	w.announce = announce;
	for (size_t i = 0; i < n; i++)
		world_join(&w, rate, lat_us, HONEST);
	const uint64_t begun = w.now_us;
	world_submit(&w, &s, id);
	world_run(&w, UINT64_MAX / 2);
	check_done(&w, id, 32);
	const double ideal = (double)length * 1e6 / (rate * (double)n);
	const double took = (double)(w.ended_us - begun);

	printf("%zu workers, ideal %.2f s: %.3f s (+%.2f %%), %" PRIu64
	       " units, re-scanned %.2f %%\n",
	       n, ideal / 1e6, took / 1e6, 100 * (took / ideal - 1), w.assigned,
	       100.0 * (double)w.rescanned / (double)length);
	world_release(&w);
	return took / ideal - 1;
}

static void test_equal_workers_end_together(void **state)
{
	(void)state;
	assert_true(overhead(2, 64 * MH, NONCES, 200, true) < 0.02);
	assert_true(overhead(2, 64 * MH, NONCES, 200, false) < 0.02);
	assert_true(overhead(2, 64 * MH, NONCES / 8, 200, true) < 0.02);
	assert_true(overhead(8, 32 * MH, NONCES, 20000, true) < 0.03);
	assert_true(overhead(1, 64 * MH, NONCES / 4, 200, true) < 0.02);
}

/* Runs one job with three honest workers and one liar. */
static bool caught(enum world_lie lie, double part, uint64_t seed,
		   double *seconds, bool *proof)
{
	struct world w;
	char id[JOB_ID_SIZE];
	const struct search_spec s = world_spec(0, NONCES, 24, true);

	world_init(&w, seed);
	for (int i = 0; i < 3; i++)
		world_join(&w, 40 * MH, 1000, HONEST);
	const size_t liar = world_join(&w, 40 * MH, 1000, lie);
	w.w[liar].lie_part = part;
	const uint64_t begun = w.now_us;
	world_submit(&w, &s, id);
	world_run(&w, UINT64_MAX / 2);
	no_honest_one_is_bad(&w);
	const bool bad = w.w[liar].bad;

	if (bad) {
		struct arena a = {0};
		const struct job_info info = info_of(&w, id, &a);
		const struct job_peer *p = info.by_peer.items;

		while (strcmp(p->id, node_hex(&w.w[liar].id)) != 0)
			p++;
		/* All it did was done again, so nothing is missed. */
		check_done(&w, id, 24);
		assert_int_equal(p->hashes, 0);
		assert_string_equal(p->state, "dropped");
		assert_true(strlen(p->why) > 0);
		*seconds = (double)(w.w[liar].bad_at_us - begun) / 1e6;
		*proof = w.w[liar].proof;
		arena_release(&a);
	}
	world_release(&w);
	return bad;
}

static void test_liars_are_dropped(void **state)
{
	static const struct {
		enum world_lie lie;
		double part;
		const char *text;
	} lies[] = {
	    {LIE_SKIPS, 0.5, "skips the last half of each unit"},
	    {LIE_SKIPS, 0.1, "skips the last tenth of each unit"},
	    {LIE_SCATTERED, 0.2, "skips a fifth in small holes"},
	    {LIE_WITHHOLDS, 0.1, "keeps back one share in ten"},
	    {LIE_WITHHOLDS, 0.5, "keeps back one share in two"},
	    {LIE_INVENTS, 0, "invents a share"},
	    {LIE_REPEATS, 0, "tells a share twice"},
	    {LIE_LAZY, 0, "does nothing, very fast"},
	    {LIE_BEYOND, 0, "tells more than its unit"},
	};

	(void)state;
	for (size_t i = 0; i < HN_COUNT(lies); i++) {
		const int runs = 10;
		double sum = 0, most = 0;
		int proofs = 0;

		for (int k = 0; k < runs; k++) {
			double seconds = 0;
			bool proof = false;

			if (!caught(lies[i].lie, lies[i].part,
				    100 * i + (uint64_t)k + 1, &seconds,
				    &proof))
				fail_msg("not seen: a peer that %s",
					 lies[i].text);
			sum += seconds;
			most = fmax(most, seconds);
			proofs += proof;
		}
		printf("a peer that %s: dropped after %.2f s (at most %.2f "
		       "s), %d of %d by proof\n",
		       lies[i].text, sum / runs, most, proofs, runs);
	}
}

static void test_honest_workers_are_never_dropped(void **state)
{
	const uint64_t runs = 150;
	double checked = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= runs; seed++) {
		struct world w;
		struct arena a = {0};
		char id[JOB_ID_SIZE];
		const struct search_spec s = world_spec(0, NONCES, 32, true);

		world_init(&w, 7000 + seed);
		for (uint64_t i = 0; i < 1 + seed % 3; i++)
			world_join(&w, (5 + 90 * world_chance(&w)) * MH, 1000,
				   HONEST);
		world_submit(&w, &s, id);
		world_run(&w, UINT64_MAX / 2);
		no_honest_one_is_bad(&w);
		check_done(&w, id, 32);
		checked += info_of(&w, id, &a).checked;
		arena_release(&a);
		world_release(&w);
	}
	printf("%" PRIu64 " whole ranges, mean checked %.4f\n", runs,
	       checked / (double)runs);
	assert_true(checked / (double)runs > 0.008);
}

/* One weak submitter, sixteen workers: what its budget cannot cover goes to
 * replicas. */
static void test_replicas_cover_what_the_budget_cannot(void **state)
{
	(void)state;
	for (int lie = 0; lie < 2; lie++) {
		struct world w;
		struct arena a = {0};
		char id[JOB_ID_SIZE];
		const struct search_spec s = world_spec(0, NONCES, 32, true);

		world_init(&w, 77);
		w.core_rate = lie ? 0 : 2 * MH;
		jobs_set_core_rate(w.jobs, 2000000);
		for (int i = 0; i < 15; i++)
			world_join(&w, 30 * MH, 1000, HONEST);
		const size_t last =
		    world_join(&w, 30 * MH, 1000, lie ? LIE_WITHHOLDS : HONEST);
		w.w[last].lie_part = 0.05;
		world_submit(&w, &s, id);
		world_run(&w, UINT64_MAX / 2);
		no_honest_one_is_bad(&w);
		const struct job_info info = info_of(&w, id, &a);

		printf("sixteen workers, %s: checked %.2f %% in %" PRIu64
		       " pieces, %s\n",
		       lie ? "no scan of our own" : "a core of 2 MH/s",
		       100 * info.checked, info.pieces, info.note);
		assert_true(info.checked > 0.006);
		assert_int_equal(w.w[last].bad, lie);
		if (lie)
			assert_true(w.w[last].proof);
		check_done(&w, id, 32);
		arena_release(&a);
		world_release(&w);
	}
}

static void test_silent_worker_loses_its_units(void **state)
{
	struct world w;
	char id[JOB_ID_SIZE];
	const struct search_spec s = world_spec(0, 1u << 30, 32, true);

	(void)state;
	world_init(&w, 5);
	world_join(&w, 50 * MH, 1000, HONEST);
	const size_t mute = world_join(&w, 50 * MH, 1000, HONEST);
	world_submit(&w, &s, id);
	world_run(&w, w.now_us + 3 * S);
	w.w[mute].mute = true;
	const uint64_t at = w.now_us;
	world_run(&w, at + 6 * S);
	struct arena a = {0};
	struct job_info info = info_of(&w, id, &a);
	const struct job_peer *p = info.by_peer.items;

	assert_string_equal(p[mute].state, "lost");
	assert_int_equal(info.assigned + info.computing, 2);
	world_run(&w, UINT64_MAX / 2);
	check_done(&w, id, 32);
	arena_release(&a);
	world_release(&w);
}

static void test_slow_straggler_is_relieved(void **state)
{
	struct world w;
	char id[JOB_ID_SIZE];
	const struct search_spec s = world_spec(0, 1u << 30, 32, true);

	(void)state;
	world_init(&w, 6);
	const size_t slow = world_join(&w, 50 * MH, 1000, HONEST);
	world_join(&w, 50 * MH, 1000, HONEST);
	const uint64_t begun = w.now_us;
	world_submit(&w, &s, id);
	/* Somebody sits down at the first machine, half a second before the
	 * end of the job. */
	world_run(&w, begun + 10 * S);
	w.w[slow].rate = 4.2 * MH;
	world_run(&w, UINT64_MAX / 2);
	check_done(&w, id, 32);
	const double took = (double)(w.ended_us - begun) / 1e6;

	printf("straggler: %.2f s where 10.74 s were ideal for both\n", took);
	assert_true(took < 12.2);
	world_release(&w);
}

static void test_slow_worker_that_speaks_keeps_its_unit(void **state)
{
	struct world w;
	char id[JOB_ID_SIZE];
	const struct search_spec s = world_spec(0, 1u << 28, 32, true);

	(void)state;
	world_init(&w, 16);
	world_join(&w, 20 * MH, 1000, HONEST);
	world_submit(&w, &s, id);
	world_run(&w, w.now_us + 3 * S);
	w.w[0].rate = 0.5 * MH;
	world_run(&w, w.now_us + 15 * S);
	assert_int_equal(w.revoked, 0);
	w.w[0].rate = 20 * MH;
	world_run(&w, UINT64_MAX / 2);
	check_done(&w, id, 32);
	world_release(&w);
}

static void test_nobody_fails_the_job_in_time(void **state)
{
	struct world w;
	struct arena a = {0};
	char id[JOB_ID_SIZE];
	struct search_spec s = world_spec(0, NONCES, 32, true);

	(void)state;
	/* At the start ... */
	world_init(&w, 9);
	s.terms.wait_ms = 3000;
	uint64_t begun = w.now_us;
	world_submit(&w, &s, id);
	world_run(&w, UINT64_MAX / 2);
	assert_in_range(w.ended_us - begun, 3 * S, 3 * S + S / 10);
	struct job_info info = info_of(&w, id, &a);
	assert_string_equal(info.state, "failed");
	assert_string_equal(info.error, "no-peer");
	assert_non_null(strstr(info.text, "hash/sha256d"));

	/* ... and when all have gone later. */
	world_join(&w, 20 * MH, 1000, HONEST);
	world_submit(&w, &s, id);
	world_run(&w, w.now_us + 5 * S);
	assert_true(world_open(&w));
	begun = w.now_us;
	world_crash(&w, 0, 0);
	world_run(&w, UINT64_MAX / 2);
	assert_in_range(w.ended_us - begun, 3 * S, 3 * S + S / 2);
	info = info_of(&w, id, &a);
	assert_string_equal(info.error, "no-peer");
	assert_true(info.hashes > 0);
	arena_release(&a);
	world_release(&w);
}

static void test_last_unit_is_short(void **state)
{
	struct world w;
	char id[JOB_ID_SIZE];
	const struct search_spec s = world_spec(0, 1u << 31, 32, true);

	(void)state;
	world_init(&w, 10);
	for (int i = 0; i < 3; i++)
		world_join(&w, (20 + 15 * i) * MH, 1000, HONEST);
	const uint64_t begun = w.now_us;
	world_submit(&w, &s, id);
	/* The whole takes 20.5 s: none handed out in the last 2 % may be
	 * expected to outlast the job by as much. */
	world_run(&w, begun + 20 * S);
	assert_true(world_open(&w));
	w.most_expected_ms = 0;
	world_run(&w, UINT64_MAX / 2);
	assert_true(w.most_expected_ms <= 410);
	printf("longest unit of the last 2 %%: %" PRIu64 " ms\n",
	       w.most_expected_ms);
	world_release(&w);
}

static void test_two_jobs_share_the_workers(void **state)
{
	struct world w;
	struct arena a = {0};
	char one[JOB_ID_SIZE], two[JOB_ID_SIZE];
	const struct search_spec s = world_spec(0, NONCES, 32, true);

	(void)state;
	world_init(&w, 11);
	for (int i = 0; i < 4; i++)
		world_join(&w, 30 * MH, 1000, HONEST);
	world_submit(&w, &s, one);
	world_submit(&w, &s, two);
	world_run(&w, w.now_us + 10 * S);
	const double x = (double)info_of(&w, one, &a).hashes;
	const double y = (double)info_of(&w, two, &a).hashes;

	assert_true(x / y > 0.8 && x / y < 1.25);
	assert_int_equal(jobs_cancel(w.jobs, one, w.now_us / 1000), OK);
	assert_string_equal(info_of(&w, one, &a).state, "canceled");
	world_run(&w, UINT64_MAX / 2);
	assert_string_equal(info_of(&w, two, &a).state, "done");
	assert_int_equal(info_of(&w, two, &a).hashes, NONCES);
	arena_release(&a);
	world_release(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_faster_worker_gets_more),
	    cmocka_unit_test(test_equal_workers_end_together),
	    cmocka_unit_test(test_liars_are_dropped),
	    cmocka_unit_test(test_replicas_cover_what_the_budget_cannot),
	    cmocka_unit_test(test_silent_worker_loses_its_units),
	    cmocka_unit_test(test_slow_straggler_is_relieved),
	    cmocka_unit_test(test_slow_worker_that_speaks_keeps_its_unit),
	    cmocka_unit_test(test_nobody_fails_the_job_in_time),
	    cmocka_unit_test(test_last_unit_is_short),
	    cmocka_unit_test(test_two_jobs_share_the_workers),
	    cmocka_unit_test(test_honest_workers_are_never_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
