/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Scores on disk with a real store, and a coordinator that has only peers. */
#include "node/mesh/standing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/mesh/job.h"
#include "test/support/temp.h"

#define DAY (UINT64_C(24) * 3600 * 1000)

static struct rig {
	struct loop *loop;
	struct store *store;
	struct jobs *jobs;
	struct standing *standing;
	bool done;
} rig;

static uint64_t on_random(void *arg)
{
	(void)arg;
	return 7;
}

static const struct jobs_ops ops = {.random = on_random};

static void on_loaded(void *arg, enum err e, const char *text)
{
	(void)arg, (void)text;
	assert_int_equal(e, OK);
	loop_stop(rig.loop);
}

static void rig_open(void)
{
	const struct node_id self = {{1}};
	struct buf why = {0};

	rig.loop = loop_new();
	assert_int_equal(store_open(rig.loop, temp_path("db"), standing_schema,
				    standing_schema_count, &why, &rig.store),
			 OK);
	rig.jobs = jobs_new(&ops, NULL, &self);
	jobs_set_wall(rig.jobs, clock_unix_ms(), loop_ms(rig.loop));
	rig.standing = standing_new(rig.loop, rig.store, rig.jobs,
				    score_rules_default.half_life_ms);
	standing_load(rig.standing, on_loaded, NULL);
	loop_run(rig.loop);
}

static void on_stopped(void *arg)
{
	(void)arg;
	rig.done = true;
	loop_stop(rig.loop);
}

static void rig_close(void)
{
	rig.done = false;
	standing_stop(rig.standing);
	jobs_free(rig.jobs);
	store_stop(rig.store, on_stopped, NULL);
	while (!rig.done)
		loop_run(rig.loop);
	standing_free(rig.standing);
	assert_true(loop_free(rig.loop));
}

static struct node_id node(uint8_t i)
{
	struct node_id id;

	memset(id.b, i, sizeof(id.b));
	return id;
}

/* Has that score since so long ago, in memory and on disk. */
static void put(uint8_t i, enum score_event e, unsigned n, uint64_t ago)
{
	const uint64_t now = clock_unix_ms();
	const struct node_id id = node(i);
	struct score s = {0};

	for (unsigned k = n; k; k--)
		score_event(&s, &score_rules_default, e,
			    now - ago - 2000 * (k - 1));
	const struct evidence_total total = {.e = {1000, 990, 2000},
					     .hashes = 1u << 30,
					     .pieces = 640,
					     .weight = 3.5,
					     .failures = i};

	jobs_set_score(rig.jobs, &id, &s, &total);
	jobs_set_wall(rig.jobs, now - ago, loop_ms(rig.loop));
	standing_changed(rig.standing, &id);
	jobs_set_wall(rig.jobs, now, loop_ms(rig.loop));
}

static struct peer_score get(uint8_t i, bool known)
{
	const struct node_id id = node(i);
	struct peer_score s;

	assert_int_equal(jobs_score(rig.jobs, &id, loop_ms(rig.loop), &s),
			 known);
	return s;
}

static void test_scores_survive_a_restart(void **state)
{
	(void)state;
	rig_open();
	put(2, SCORE_UNIT, 50, 0);
	put(3, SCORE_SILENT, 3, 0);
	put(4, SCORE_PROOF, 1, 0);
	const uint64_t until = get(3, true).score.until;
	rig_close();
	rig_open();
	const struct peer_score good = get(2, true), bad = get(3, true);

	assert_int_equal(good.score.state, SCORE_TRUSTED);
	assert_int_equal(good.total.e.reported, 990);
	assert_true(good.total.e.expected == 1000);
	assert_int_equal(good.total.hashes, 1u << 30);
	assert_in_range(good.total.pieces, 639, 640);
	assert_true(good.total.weight > 3.49);
	assert_int_equal(good.total.failures, 2);
	assert_true(score_value(&good.score) > 0.9);
	assert_int_equal(bad.score.state, SCORE_QUARANTINED);
	assert_int_equal(bad.score.until, until);
	assert_int_equal(get(4, true).score.state, SCORE_BARRED);
	const struct node_id cheat = node(4);
	assert_true(jobs_barred(rig.jobs, &cheat));
	get(5, false);
	rig_close();
}

/* The clock goes on while the node is off. */
static void test_scores_fade_on_disk(void **state)
{
	(void)state;
	rig_open();
	put(12, SCORE_UNIT, 50, 7 * DAY);
	put(13, SCORE_UNIT, 50, 56 * DAY);
	put(14, SCORE_UNIT, 50, 190 * DAY);
	put(15, SCORE_PROOF, 1, 400 * DAY);
	rig_close();
	rig_open();
	const struct peer_score week = get(12, true), eight = get(13, true);

	assert_in_range(week.total.pieces, 319, 320);
	assert_int_equal(week.total.e.reported, 990);
	assert_true(week.score.good > 24.9 && week.score.good < 25.1);
	assert_true(eight.score.good < 0.2);
	assert_int_equal(eight.score.state, SCORE_NEW);
	get(14, false); /* beyond retention */
	assert_int_equal(get(15, true).score.state, SCORE_BARRED);
	rig_close();
}

static void test_what_says_nothing_is_deleted(void **state)
{
	const struct node_id id = node(22);
	const struct score nothing = {0};

	(void)state;
	rig_open();
	put(22, SCORE_UNIT, 50, 0);
	rig_close();
	rig_open();
	get(22, true);
	jobs_set_score(rig.jobs, &id, &nothing, NULL);
	standing_changed(rig.standing, &id);
	rig_close();
	rig_open();
	get(22, false);
	rig_close();
}

static void run(const char *sql)
{
	store_run(rig.store, sql, NULL, 0, NULL, NULL);
}

static void test_damaged_rows_are_left_out(void **state)
{
	(void)state;
	rig_open();
	put(32, SCORE_UNIT, 50, 0);
	put(33, SCORE_UNIT, 50, 0);
	put(34, SCORE_UNIT, 50, 0);
	run("UPDATE standing SET saved = zeroblob(20) WHERE substr(id, 1, 1) = "
	    "x'20'");
	run("UPDATE standing SET sum = x'00' WHERE substr(id, 1, 1) = x'21'");
	run("INSERT INTO standing VALUES (x'0102', 0, 9999999999999, x'00', "
	    "x'00')");
	put(35, SCORE_UNIT, 50, 0);
	put(36, SCORE_UNIT, 50, 0);
	run("UPDATE standing SET total = x'90' WHERE substr(id, 1, 1) = x'23'");
	run("UPDATE standing SET total = NULL WHERE substr(id, 1, 1) = x'24'");
	rig_close();
	rig_open();
	get(32, false);
	get(33, false);
	get(35, false);
	get(36, false);
	get(34, true);
	rig_close();
}

static int setup(void **state)
{
	(void)state;
	temp_make();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	temp_remove();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_scores_survive_a_restart),
	    cmocka_unit_test(test_scores_fade_on_disk),
	    cmocka_unit_test(test_what_says_nothing_is_deleted),
	    cmocka_unit_test(test_damaged_rows_are_left_out),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
