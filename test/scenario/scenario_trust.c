/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The way of a peer that fails, on the virtual clock: three silences, a
 * quarantine, a growing delay while its probes come to nothing, clean probes,
 * and work again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "node/lab/world.h"
#include "node/mesh/job.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define S UINT64_C(1000000)
#define MH 1e6
#define JOBS 30

static struct peer_score score_of(struct world *w, size_t i)
{
	struct peer_score s;

	jobs_score(w->jobs, &w->w[i].id, w->now_us / 1000, &s);
	return s;
}

static bool is(struct world *w, size_t i, enum score_state state)
{
	return score_of(w, i).score.state == state;
}

/* Until it has that state; false: not within so long. */
static bool until(struct world *w, size_t i, enum score_state state,
		  uint64_t us)
{
	const uint64_t end = w->now_us + us;

	while (!is(w, i, state) && w->now_us < end)
		world_run(w, w->now_us + S / 10);
	return is(w, i, state);
}

/* Two honest peers with hours of work before them; none of it is done twice,
 * so that only we can prove a lie. */
static void begin(struct world *w, uint64_t seed)
{
	struct search_spec s = world_spec(0, NONCES, 32, true);
	char id[JOB_ID_SIZE];

	s.terms.replicas = 1;
	world_init(w, seed);
	world_join(w, 5 * MH, 2000, HONEST);
	world_join(w, 5 * MH, 2000, HONEST);
	for (int i = 0; i < JOBS; i++)
		world_submit(w, &s, id);
	world_run(w, 3 * S);
}

/* Hashes done for us in so long. */
static uint64_t work_of(struct world *w, size_t i, uint64_t us)
{
	const uint64_t before = w->w[i].hashes;

	world_run(w, w->now_us + us);
	return w->w[i].hashes - before;
}

static void well(struct world *w)
{
	if (w->broken.n)
		fail_msg("%s", buf_str(&w->broken));
	world_release(w);
}

static void test_a_silent_peer_is_quarantined_and_comes_back(void **state)
{
	struct world w;

	(void)state;
	begin(&w, 1);
	assert_true(work_of(&w, 1, 5 * S) > 4 * 5 * MH);
	w.w[1].mute = true;
	assert_true(until(&w, 1, SCORE_QUARANTINED, 60 * S));
	assert_int_equal(score_of(&w, 1).score.why, SCORE_SILENT);
	assert_int_equal(score_of(&w, 1).score.row, 3);
	assert_true(score_of(&w, 1).score.count[SCORE_SILENT] > 2.9);

	/* No new work, but for the probe at the end of each delay. */
	world_run(&w, w.now_us + 2 * S);
	uint64_t delay = 30 * S;
	for (int i = 0; i < 4; i++) {
		const uint64_t ends =
		    score_of(&w, 1).score.until * 1000 - w.now_us;

		assert_true(ends <= delay && ends > delay - 13 * S);
		assert_int_equal(work_of(&w, 1, ends - S), 0);
		assert_true(is(&w, 1, SCORE_QUARANTINED));
		world_run(&w, w.now_us + 13 * S); /* the probe's time-out */
		delay *= 2;
		assert_true(score_of(&w, 1).score.count[SCORE_MISSED] >
			    (double)i + 0.9);
	}

	/* It speaks again: probes, then work. */
	w.w[1].mute = false;
	assert_true(until(&w, 1, SCORE_PROBATION, delay));
	const uint64_t begun = w.now_us;
	assert_true(w.w[1].hashes > 0);
	assert_true(until(&w, 1, SCORE_TRUSTED, 10 * S));
	printf("from the first clean probe to trust: %.1f s\n",
	       (double)(w.now_us - begun) / 1e6);
	assert_true(score_of(&w, 1).score.count[SCORE_PROBE] > 2.9);
	assert_true(work_of(&w, 1, 5 * S) > 4 * 5 * MH);
	assert_false(w.w[1].bad);
	well(&w);
}

/* One that fails in between is back at the beginning, and later. */
static void test_a_relapse_on_probation(void **state)
{
	struct world w;

	(void)state;
	begin(&w, 2);
	w.w[1].mute = true;
	assert_true(until(&w, 1, SCORE_QUARANTINED, 60 * S));
	w.w[1].mute = false;
	assert_true(until(&w, 1, SCORE_PROBATION, 60 * S));
	w.w[1].mute = true;
	assert_true(until(&w, 1, SCORE_QUARANTINED, 60 * S));
	assert_int_equal(score_of(&w, 1).score.level, 2);
	assert_int_equal(score_of(&w, 1).score.togo, 3);
	well(&w);
}

/* A suspect is quarantined for long; its probes find it out. */
static void test_a_suspect_that_lies_again_is_barred(void **state)
{
	struct world w;

	(void)state;
	begin(&w, 3);
	const size_t i = world_join(&w, 5 * MH, 2000, LIE_WITHHOLDS);
	w.w[i].lie_part = 0.5;
	w.core_rate = 0; /* nobody can prove it ... */
	assert_true(until(&w, i, SCORE_QUARANTINED, 60 * S));
	assert_true(w.w[i].bad && !w.w[i].proof);
	w.core_rate = 50 * MH;
	/* ... until it is asked what we know. */
	assert_true(until(&w, i, SCORE_BARRED, 3700 * S));
	assert_true(w.w[i].proof);
	assert_non_null(strstr(w.w[i].why, "of a probe"));
	assert_true(work_of(&w, i, 600 * S) == 0);
	assert_true(is(&w, i, SCORE_BARRED));
	well(&w);
}

/* Work goes on without a trace of all this among those that do it well. */
static void test_honest_peers_stay_trusted(void **state)
{
	struct world w;
	const struct score_rules rules = score_rules_default;

	(void)state;
	begin(&w, 4);
	jobs_set_trust(w.jobs, &rules, 60000, 10000);
	for (int i = 0; i < 20; i++)
		world_join(&w, (5 + i) * MH, 1000 * (uint64_t)i, HONEST);
	world_run(&w, 200 * S);
	assert_true(world_open(&w));
	for (size_t i = 0; i < w.n; i++) {
		const struct score s = score_of(&w, i).score;

		assert_int_equal(s.state, SCORE_TRUSTED);
		assert_true(score_permille(&s) > 900);
	}
	well(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_silent_peer_is_quarantined_and_comes_back),
	    cmocka_unit_test(test_a_relapse_on_probation),
	    cmocka_unit_test(test_a_suspect_that_lies_again_is_barred),
	    cmocka_unit_test(test_honest_peers_stay_trusted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
