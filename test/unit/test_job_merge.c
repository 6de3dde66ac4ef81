/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A job under two coordinators, its submitter's and its backup's, joined.
 */
#include "node/mesh/job_save.h"
#include "node/mesh/job_saved.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/lab/world.h"

#define S UINT64_C(1000000)
#define MH 1e6
#define RANGE (1u << 28)

static uint8_t backup[32] = {9};

struct two {
	struct world a, b; /* the submitter's, the backup's */
	char id[JOB_ID_SIZE];
	uint64_t had;
};

static struct job_info info_of(struct world *w, const char *id, struct arena *m)
{
	struct job_info info;

	assert_int_equal(
	    jobs_info(w->jobs, id, JOB_PEERS, w->now_us / 1000, m, &info), OK);
	return info;
}

/* Two seconds at the submitter, then the backup has it, too. */
static void split(struct two *t, unsigned bits, bool all)
{
	struct search_spec s = world_spec(0, RANGE, bits, all);
	struct buf bytes = {0}, why = {0};
	char id[JOB_ID_SIZE];

	s.terms.backup = (struct bytes){backup, sizeof(backup)};
	world_init(&t->a, 11);
	world_init(&t->b, 12);
	for (int i = 0; i < 3; i++) {
		world_join(&t->a, 20 * MH, 1000, HONEST);
		world_join(&t->b, 15 * MH, 1000, HONEST);
	}
	world_submit(&t->a, &s, t->id);
	world_run(&t->a, t->a.now_us + 2 * S);
	assert_int_equal(
	    jobs_save(t->a.jobs, t->id, t->a.now_us / 1000, &bytes), OK);
	t->had = jobs_done(t->a.jobs, t->id);
	assert_true(t->had > 0);
	assert_int_equal(jobs_restore(t->b.jobs, bytes.p, bytes.n,
				      t->b.now_us / 1000, &why, id),
			 OK);
	assert_string_equal(id, t->id);
	jobs_tick(t->b.jobs, t->b.now_us / 1000);
	buf_release(&bytes);
}

static enum err join(struct two *t, uint64_t *twice)
{
	struct buf bytes = {0}, why = {0};

	assert_int_equal(
	    jobs_save(t->b.jobs, t->id, t->b.now_us / 1000, &bytes), OK);
	enum err e = jobs_merge(t->a.jobs, bytes.p, bytes.n, t->had,
				t->a.now_us / 1000, &why, twice);
	if (!e)
		world_audit(&t->a);
	buf_release(&bytes);
	buf_release(&why);
	return e;
}

static void end(struct two *t)
{
	world_release(&t->a);
	world_release(&t->b);
}

static void check_whole(struct world *w, const char *id, unsigned bits)
{
	struct arena m = {0};
	const struct job_info i = info_of(w, id, &m);
	const struct job_peer *p = i.by_peer.items;
	const struct job_hit *hits = i.hits.items;
	uint64_t sum = 0;
	size_t n;
	uint32_t *want = world_shares(0, 0, RANGE, bits, &n);

	assert_string_equal(i.state, "done");
	assert_int_equal(i.hashes, RANGE);
	for (size_t k = 0; k < i.by_peer.n; k++)
		sum += p[k].hashes;
	assert_int_equal(sum, RANGE);
	assert_int_equal(i.hits.n, n);
	for (size_t k = 0; k < n; k++)
		assert_int_equal(hits[k].nonce, want[k]);
	free(want);
	arena_release(&m);
}

static void test_both_went_on_and_are_joined(void **state)
{
	struct two t;
	uint64_t twice;

	(void)state;
	split(&t, 20, true);
	world_run(&t.a, t.a.now_us + S);
	world_run(&t.b, t.b.now_us + S * 3 / 2);
	const uint64_t here = jobs_done(t.a.jobs, t.id) - t.had;
	const uint64_t there = jobs_done(t.b.jobs, t.id) - t.had;

	assert_int_equal(join(&t, &twice), OK);
	assert_true(twice > 0); /* both begin at the lowest nonce */
	assert_int_equal(jobs_done(t.a.jobs, t.id),
			 t.had + here + there - twice);
	world_run(&t.a, UINT64_MAX / 2);
	check_whole(&t.a, t.id, 20);
	end(&t);
}

static void test_the_backup_has_finished_it(void **state)
{
	struct two t;
	uint64_t twice;

	(void)state;
	split(&t, 20, true);
	world_run(&t.a, t.a.now_us + S);
	world_run(&t.b, UINT64_MAX / 2);
	check_whole(&t.b, t.id, 20);
	const uint64_t here = jobs_done(t.a.jobs, t.id) - t.had;
	struct arena m = {0};
	const double there = info_of(&t.b, t.id, &m).seconds;

	assert_int_equal(join(&t, &twice), OK);
	assert_int_equal(twice, here);
	world_run(&t.a, UINT64_MAX / 2);
	check_whole(&t.a, t.id, 20);

	/* What was done over there took its time over there. */
	const struct job_info i = info_of(&t.a, t.id, &m);
	assert_true(i.seconds >= there && there > 4);
	assert_true((double)i.rate <= RANGE / there + 1);
	arena_release(&m);
	end(&t);
}

static void test_a_hit_over_there_ends_it_here(void **state)
{
	struct two t;
	struct arena m = {0};
	uint64_t twice;

	(void)state;
	split(&t, 26, false);
	if (world_open(&t.a)) {
		world_run(&t.b, UINT64_MAX / 2);
		assert_int_equal(join(&t, &twice), OK);
	}
	const struct job_info i = info_of(&t.a, t.id, &m);
	assert_string_equal(i.state, "done");
	assert_true(i.found);
	/* Joined again, as when the answer was lost: it has ended. */
	assert_int_equal(join(&t, &twice), ERR_EXISTS);
	arena_release(&m);
	end(&t);
}

static void test_joined_twice_counts_once(void **state)
{
	struct two t;
	uint64_t twice;

	(void)state;
	split(&t, 20, true);
	world_run(&t.b, t.b.now_us + S);
	assert_int_equal(join(&t, &twice), OK);
	assert_int_equal(twice, 0);
	const uint64_t done = jobs_done(t.a.jobs, t.id);
	t.had = done;
	assert_int_equal(join(&t, &twice), OK);
	assert_int_equal(jobs_done(t.a.jobs, t.id), done);
	world_run(&t.a, UINT64_MAX / 2);
	check_whole(&t.a, t.id, 20);
	end(&t);
}

static void test_another_job_is_refused(void **state)
{
	struct two t;
	struct buf bytes = {0}, why = {0};
	uint64_t twice;

	(void)state;
	split(&t, 20, true);
	assert_int_equal(jobs_save(t.b.jobs, t.id, t.b.now_us / 1000, &bytes),
			 OK);
	for (size_t n = 0; n < bytes.n; n++)
		assert_int_not_equal(jobs_merge(t.a.jobs, bytes.p, n, 0,
						t.a.now_us / 1000, &why,
						&twice),
				     OK);
	assert_int_equal(jobs_cancel(t.a.jobs, t.id, t.a.now_us / 1000), OK);
	assert_int_equal(jobs_merge(t.a.jobs, bytes.p, bytes.n, 0,
				    t.a.now_us / 1000, &why, &twice),
			 ERR_EXISTS);
	jobs_forget(t.a.jobs, t.id);
	assert_int_equal(jobs_merge(t.a.jobs, bytes.p, bytes.n, 0,
				    t.a.now_us / 1000, &why, &twice),
			 ERR_NOTFOUND);
	buf_release(&bytes);
	buf_release(&why);
	end(&t);
}

/* The reply to the first was lost, and both went on. */
static void test_a_repeat_is_told_the_same(void **state)
{
	struct two t;
	struct arena m = {0};
	uint64_t twice, again;

	(void)state;
	split(&t, 20, true);
	world_run(&t.a, t.a.now_us + S);
	world_run(&t.b, t.b.now_us + S * 3 / 2);
	assert_int_equal(join(&t, &twice), OK);
	assert_true(twice > 0);
	assert_int_equal(join(&t, &again), OK);
	assert_int_equal(again, twice);
	assert_int_equal(info_of(&t.a, t.id, &m).twice, twice);
	world_run(&t.a, UINT64_MAX / 2);
	check_whole(&t.a, t.id, 20);
	arena_release(&m);
	end(&t);
}

/* The bytes of b's half, in which somebody says that every peer was to report
 * a million shares and told none. */
static void slandered(struct two *t, struct buf *out)
{
	struct arena m = {0};
	struct buf bytes = {0};
	struct job_saved s;

	assert_int_equal(
	    jobs_save(t->b.jobs, t->id, t->b.now_us / 1000, &bytes), OK);
	assert_int_equal(
	    fields_unpack(&job_saved_message, bytes.p, bytes.n, &m, &s), OK);
	struct saved_part *p = s.parts.items;

	for (size_t i = 0; i < s.parts.n; i++) {
		p[i].expected = 1e6;
		p[i].shares = 0;
	}
	fields_pack(&job_saved_message, &s, out);
	buf_release(&bytes);
	arena_release(&m);
}

static void check_nobody_dropped(struct world *w, const char *id)
{
	struct arena m = {0};
	const struct job_info i = info_of(w, id, &m);
	const struct job_peer *p = i.by_peer.items;

	assert_true(i.by_peer.n > 0);
	for (size_t k = 0; k < i.by_peer.n; k++)
		assert_string_not_equal(p[k].state, "dropped");
	arena_release(&m);
}

static void test_a_backup_cannot_have_peers_dropped(void **state)
{
	struct two t;
	struct buf bytes = {0}, why = {0};
	uint64_t twice;

	(void)state;
	split(&t, 20, true);
	world_run(&t.b, t.b.now_us + S);
	slandered(&t, &bytes);
	assert_int_equal(jobs_merge(t.a.jobs, bytes.p, bytes.n, t.had,
				    t.a.now_us / 1000, &why, &twice),
			 OK);
	world_run(&t.a, UINT64_MAX / 2);
	check_whole(&t.a, t.id, 20);
	check_nobody_dropped(&t.a, t.id);
	buf_release(&bytes);
	end(&t);
}

static void test_only_a_job_for_us_is_adopted(void **state)
{
	struct world c;
	struct two t;
	struct buf bytes = {0}, why = {0};

	(void)state;
	split(&t, 20, true);
	slandered(&t, &bytes);
	world_init(&c, 13);
	for (int i = 0; i < 3; i++)
		world_join(&c, 15 * MH, 1000, HONEST);
	/* Under the id of another job, such as one of ours. */
	assert_int_equal(
	    jobs_adopt(c.jobs, "00000000", bytes.p, bytes.n, 0, &why),
	    ERR_PROTO);
	/* It names node 9, and we are another. */
	assert_int_equal(jobs_adopt(c.jobs, t.id, bytes.p, bytes.n, 0, &why),
			 ERR_PROTO);
	assert_non_null(strstr(buf_str(&why), "another backup"));
	buf_release(&why);
	buf_release(&bytes);
	end(&t);

	memset(backup, 0xee, sizeof(backup)); /* as worlds name themselves */
	split(&t, 20, true);
	slandered(&t, &bytes);
	assert_int_equal(jobs_adopt(c.jobs, t.id, bytes.p, bytes.n, 0, &why),
			 OK);
	world_run(&c, UINT64_MAX / 2);
	check_whole(&c, t.id, 20);
	check_nobody_dropped(&c, t.id);
	buf_release(&bytes);
	world_release(&c);
	end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_both_went_on_and_are_joined),
	    cmocka_unit_test(test_the_backup_has_finished_it),
	    cmocka_unit_test(test_a_hit_over_there_ends_it_here),
	    cmocka_unit_test(test_joined_twice_counts_once),
	    cmocka_unit_test(test_another_job_is_refused),
	    cmocka_unit_test(test_a_repeat_is_told_the_same),
	    cmocka_unit_test(test_a_backup_cannot_have_peers_dropped),
	    cmocka_unit_test(test_only_a_job_for_us_is_adopted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
