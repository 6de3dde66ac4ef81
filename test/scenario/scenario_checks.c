/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Work that is given twice, and evidence over many jobs, in a made-up world:
 * what it costs, whether it can be told apart, what it finds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "node/lab/world.h"
#include "node/mesh/job_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

#define S UINT64_C(1000000)
#define MH 1e6

static struct job_info info_of(struct world *w, const char *id, struct arena *a)
{
	struct job_info info;

	assert_int_equal(
	    jobs_info(w->jobs, id, JOB_PEERS, w->now_us / 1000, a, &info), OK);
	return info;
}

static void nobody_is_bad(const struct world *w)
{
	for (size_t i = 0; i < w->n; i++)
		if (w->w[i].bad)
			fail_msg("honest worker %zu dropped: %s", i,
				 w->w[i].why);
}

/* The whole range by two equal workers: all that the checks cost, and the
 * rest of what a mesh costs, is under 2 %. */
static void test_checks_of_honest_workers_cost_little(void **state)
{
	uint64_t checks = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 5; seed++) {
		struct world w;
		struct arena a = {0};
		char id[JOB_ID_SIZE];
		const struct search_spec s = world_spec(0, NONCES, 32, true);

		world_init(&w, seed);
		world_join(&w, 32 * MH, 200, HONEST);
		world_join(&w, 32 * MH, 200, HONEST);
		const uint64_t begun = w.now_us;

		world_submit(&w, &s, id);
		world_run(&w, UINT64_MAX / 2);
		nobody_is_bad(&w);
		const struct job_info info = info_of(&w, id, &a);
		const double ideal = (double)NONCES / (64 * MH);
		const double took = (double)(w.ended_us - begun) / 1e6;

		printf("two equal workers: +%.2f %%, %" PRIu64
		       " check units, done twice %.2f %%, cost %.2f %%\n",
		       100 * (took / ideal - 1), info.checks,
		       100.0 * (double)info.given / (double)info.hashes,
		       100 * info.cost);
		assert_string_equal(info.state, "done");
		assert_true(took < ideal * 1.02);
		assert_true(info.given <= info.hashes / 100);
		assert_int_equal(info.checks_passed, info.checks);
		assert_true(info.cost < 0.021);
		assert_true(info.winner_seen >= 0.0095);
		assert_true(info.unseen_50 < 1e-6);
		checks += info.checks;
		arena_release(&a);
		world_release(&w);
	}
	assert_true(checks >= 5);
}

/* What a worker sees of the leases that it was given. */
struct seen {
	uint64_t n, below, longest, shortest;
	double sum, sum2;
};

static void see(struct seen *s, const struct unit *u, uint64_t before)
{
	const uint64_t length = u->span.b - u->span.a;

	s->n++;
	s->below += u->span.a < before;
	s->sum += (double)length;
	s->longest = length > s->longest ? length : s->longest;
	if (!s->shortest || length < s->shortest)
		s->shortest = length;
}

/* In sizes, share bits and places, check units are like others. */
static void test_check_units_look_like_work(void **state)
{
	struct seen real = {0}, check = {0};

	(void)state;
	for (uint64_t seed = 1; seed <= 6; seed++) {
		struct world w;
		char id[JOB_ID_SIZE];
		uint64_t last = 0, place[8] = {0};
		unsigned bits[8] = {0};
		const struct search_spec s = world_spec(0, NONCES, 32, true);

		world_init(&w, 50 + seed);
		for (int i = 0; i < 8; i++)
			world_join(&w, 8 * MH, 1000, HONEST);
		world_submit(&w, &s, id);
		/* From when rates are measured to when units shrink. */
		while (world_open(&w) && w.now_us < 60 * S) {
			const struct job *job = w.jobs->open;
			const struct unit *u;

			world_run(&w, w.now_us + 20000);
			if (!world_open(&w))
				break;
			DL_FOREACH (job->units, u) {
				const size_t k = u->part->id.b[0] % 8;

				if (u->id <= last || w.now_us < 4 * S)
					continue;
				if (place[k])
					see(u->replica ? &check : &real, u,
					    place[k]);
				assert_true(!bits[k] || bits[k] == u->bits);
				bits[k] = u->bits;
				place[k] = u->span.a;
			}
			if (job->units)
				last = job->units->prev->id;
		}
		nobody_is_bad(&w);
		world_release(&w);
	}
	const double ratio =
	    check.sum / (double)check.n / (real.sum / (double)real.n);
	const double back = (double)check.below / (double)check.n -
			    (double)real.below / (double)real.n;

	printf("%" PRIu64 " check units among %" PRIu64
	       ": mean size %.3f of the others', %.0f %% lie below the unit "
	       "before, of the others %.0f %%\n",
	       check.n, check.n + real.n, ratio,
	       100 * (double)check.below / (double)check.n,
	       100 * (double)real.below / (double)real.n);
	assert_true(check.n >= 10);
	assert_true(ratio > 0.95 && ratio < 1.05);
	assert_true(check.longest <= real.longest + real.longest / 8);
	assert_true(check.shortest >= real.shortest);
	assert_true(back > -0.35 && back < 0.35);
}

/* One share in a hundred is kept back, and we scan nothing again: found by
 * those who do the same work. */
static void test_replicas_find_what_is_kept_back(void **state)
{
	int found = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 6; seed++) {
		struct world w;
		struct arena a = {0};
		char id[JOB_ID_SIZE];
		struct search_spec s = world_spec(0, 1u << 29, 20, true);

		world_init(&w, 300 + seed);
		s.terms.replicas = 2;
		w.core_rate = 0;
		for (int i = 0; i < 3; i++)
			world_join(&w, (20 + 10 * i) * MH, 1000, HONEST);
		const size_t liar =
		    world_join(&w, 30 * MH, 1000, LIE_WITHHOLDS);
		w.w[liar].lie_part = 0.01;
		world_submit(&w, &s, id);
		world_run(&w, UINT64_MAX / 2);
		for (size_t i = 0; i < w.n; i++)
			assert_true(i == liar || !w.w[i].bad);
		found += w.w[liar].bad && w.w[liar].proof;
		const struct job_info info = info_of(&w, id, &a);
		size_t n;
		uint32_t *hits = world_shares(0, 0, 1u << 29, 20, &n);

		/* Not one hit is lost, though it kept some back. */
		assert_int_equal(info.hits.n, n);
		assert_int_equal(info.hashes, 1u << 29);
		assert_int_equal(info.unreplicated, 0);
		assert_true(info.replicas > 4);
		free(hits);
		arena_release(&a);
		world_release(&w);
	}
	assert_int_equal(found, 6);
}

/* Asked for three, there are two: the job says so and ends. */
static void test_missing_replicas_are_named(void **state)
{
	struct world w;
	struct arena a = {0};
	char id[JOB_ID_SIZE];
	struct search_spec s = world_spec(0, 1u << 26, 32, true);

	(void)state;
	world_init(&w, 9);
	s.terms.replicas = 3;
	s.terms.wait_ms = 2000;
	world_join(&w, 20 * MH, 1000, HONEST);
	world_join(&w, 20 * MH, 1000, HONEST);
	const uint64_t begun = w.now_us;

	world_submit(&w, &s, id);
	world_run(&w, UINT64_MAX / 2);
	nobody_is_bad(&w);
	struct job_info info = info_of(&w, id, &a);

	assert_string_equal(info.state, "done");
	assert_true(info.replicas > 0 && info.unreplicated > 0);
	assert_non_null(strstr(info.note, "no second peer"));
	/* Twice the work, and as long again as it waits for workers. */
	assert_true(w.ended_us - begun < 2 * S + 5 * S);

	/* With a third one nothing is missing. */
	world_join(&w, 20 * MH, 1000, HONEST);
	s.start = 1u << 26, s.end = 2u << 26;
	world_submit(&w, &s, id);
	world_run(&w, UINT64_MAX / 2);
	info = info_of(&w, id, &a);
	printf("three times each: %.2f of the work done again\n",
	       (double)info.given / (double)info.hashes);
	assert_int_equal(info.unreplicated, 0);
	assert_true(info.given > info.hashes);
	nobody_is_bad(&w);

	/* Asked for one, nothing is done twice. */
	s.terms.replicas = 1;
	s.start = 2u << 26, s.end = 20u << 26;
	world_submit(&w, &s, id);
	world_run(&w, UINT64_MAX / 2);
	assert_int_equal(info_of(&w, id, &a).given, 0);
	arena_release(&a);
	world_release(&w);
}

/* Many small jobs, by one worker, and nothing is scanned again: none of them
 * has enough shares to show that it leaves out a twenty-fifth. */
static uint64_t jobs_until_seen(double part, uint64_t most)
{
	struct world w;
	char id[JOB_ID_SIZE];
	uint64_t jobs = 0;

	world_init(&w, 77);
	w.core_rate = 0;
	w.forgets = true;
	const size_t k = world_join(&w, 64 * MH, 200, LIE_WITHHOLDS);

	w.w[k].lie_part = part;
	while (jobs < most && !w.w[k].bad) {
		struct search_spec s =
		    world_spec(jobs << 26, (jobs + 1) << 26, 32, true);

		s.terms.wait_ms = 100;
		world_submit(&w, &s, id);
		world_run(&w, w.now_us + 3 * S);
		jobs++;
	}
	if (w.w[k].bad) {
		assert_false(w.w[k].proof);
		assert_non_null(strstr(w.w[k].why, "in all its jobs"));
	}
	world_release(&w);
	return jobs;
}

static void test_a_little_of_each_of_many_jobs_is_seen(void **state)
{
	(void)state;
	const uint64_t jobs = jobs_until_seen(0.04, 64);

	printf("4 %% kept back: seen after %" PRIu64 " small jobs\n", jobs);
	assert_in_range(jobs, 5, 50);
	assert_int_equal(jobs_until_seen(0, 64), 64);
}

/* Totals outlive the coordinator when they are given back to the next. */
static void test_evidence_is_taken_along(void **state)
{
	struct world w;
	char id[JOB_ID_SIZE];
	struct peer_score p;
	const struct search_spec s = world_spec(0, 1u << 27, 32, true);

	(void)state;
	world_init(&w, 5);
	const size_t k = world_join(&w, 64 * MH, 200, HONEST);
	const struct node_id peer = w.w[k].id;

	world_submit(&w, &s, id);
	world_run(&w, UINT64_MAX / 2);
	assert_true(jobs_score(w.jobs, &peer, w.now_us / 1000, &p));
	const struct evidence_total was = p.total;

	assert_int_equal(was.hashes, 1u << 27);
	assert_true(was.e.reported > 0 && was.pieces > 0 && was.units > 0);
	assert_true(was.weight > 0.1 * (double)was.pieces);
	assert_int_equal(was.failures, 0);
	world_restart(&w, S);
	jobs_set_score(w.jobs, &peer, &p.score, &was);
	world_submit(&w, &s, id);
	world_run(&w, UINT64_MAX / 2);
	assert_true(jobs_score(w.jobs, &peer, w.now_us / 1000, &p));
	assert_int_equal(p.total.hashes, 2 * was.hashes);
	assert_true(p.total.pieces > was.pieces);
	assert_true(p.total.e.expected > 1.9 * was.e.expected);
	world_release(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_checks_of_honest_workers_cost_little),
	    cmocka_unit_test(test_check_units_look_like_work),
	    cmocka_unit_test(test_replicas_find_what_is_kept_back),
	    cmocka_unit_test(test_missing_replicas_are_named),
	    cmocka_unit_test(test_a_little_of_each_of_many_jobs_is_seen),
	    cmocka_unit_test(test_evidence_is_taken_along),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
