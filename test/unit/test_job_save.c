/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Jobs as bytes and back. Restarts at random moments: scenario_restart.
 */
#include "node/mesh/job_save.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/lab/world.h"

#define S UINT64_C(1000000)
#define MH 1e6

/* Everything people are shown, as text; without what time changes. */
static char *shown(struct world *w, const char *id)
{
	struct arena a = {0};
	struct buf b = {0};
	struct job_info info;

	assert_int_equal(
	    jobs_info(w->jobs, id, JOB_UNITS, w->now_us / 1000, &a, &info), OK);
	info.rate = info.workers = 0;
	info.eta_s = 0;
	fields_to_json(&job_info_message, &info, &b);
	char *text = xstrdup(buf_str(&b));
	buf_release(&b);
	arena_release(&a);
	return text;
}

static void begin(struct world *w, uint64_t seed, unsigned bits, char *id)
{
	const struct search_spec s = world_spec(0, 1u << 28, bits, true);

	world_init(w, seed);
	w->durable = true;
	for (int i = 0; i < 3; i++)
		world_join(w, 20 * MH, 1000, HONEST);
	world_submit(w, &s, id);
}

static void test_an_ended_job_reads_back_the_same(void **state)
{
	struct world w;
	char id[JOB_ID_SIZE];

	(void)state;
	begin(&w, 1, 20, id);
	world_run(&w, UINT64_MAX / 2);
	char *before = shown(&w, id);
	assert_non_null(strstr(before, "\"state\":\"done\""));
	assert_null(strstr(before, "\"nonce\":null"));
	world_restart(&w, 5 * S);
	char *after = shown(&w, id);
	assert_string_equal(before, after);
	free(before);
	free(after);
	world_release(&w);
}

static void test_an_open_job_goes_on_where_it_was(void **state)
{
	struct world w;
	struct arena a = {0};
	struct job_info info;
	char id[JOB_ID_SIZE];

	(void)state;
	begin(&w, 2, 20, id);
	world_run(&w, w.now_us + 2 * S);
	world_save(&w);
	assert_int_equal(
	    jobs_info(w.jobs, id, JOB_PEERS, w.now_us / 1000, &a, &info), OK);
	const uint64_t hashes = info.hashes, shares = info.shares;
	const double seconds = info.seconds;
	const size_t hits = info.hits.n;

	assert_true(hashes > 0 && hits > 0 && shares > 0);
	world_restart(&w, 100 * S);
	assert_int_equal(
	    jobs_info(w.jobs, id, JOB_PEERS, w.now_us / 1000, &a, &info), OK);
	assert_int_equal(info.hashes, hashes);
	assert_int_equal(info.shares, shares);
	assert_int_equal(info.hits.n, hits);
	assert_true(info.seconds == seconds); /* not while it was dead */
	assert_string_equal(info.state, "running");
	world_run(&w, UINT64_MAX / 2);
	assert_int_equal(
	    jobs_info(w.jobs, id, JOB_PEERS, w.now_us / 1000, &a, &info), OK);
	assert_int_equal(info.hashes, 1u << 28);
	assert_int_equal(info.late, 0);
	arena_release(&a);
	world_release(&w);
}

static void test_a_liar_stays_dropped(void **state)
{
	const struct search_spec s = world_spec(0, NONCES, 32, true);
	struct world w;
	char id[JOB_ID_SIZE];

	(void)state;
	world_init(&w, 3);
	w.durable = true;
	world_join(&w, 40 * MH, 1000, HONEST);
	const size_t liar = world_join(&w, 40 * MH, 1000, LIE_INVENTS);
	world_submit(&w, &s, id);
	while (!w.w[liar].bad)
		world_run(&w, w.now_us + S / 10);
	world_restart(&w, S);
	const uint64_t spent = w.w[liar].hashes;
	world_run(&w, w.now_us + 20 * S);
	assert_int_equal(w.w[liar].hashes, spent);
	char *text = shown(&w, id);
	assert_non_null(strstr(text, "\"state\":\"dropped\""));
	free(text);
	world_release(&w);
}

static void test_ids_are_never_used_again(void **state)
{
	struct world w;
	char one[JOB_ID_SIZE], id[JOB_ID_SIZE];
	char ids[200][JOB_ID_SIZE];

	(void)state;
	begin(&w, 4, 32, one);
	world_run(&w, w.now_us + S);
	const uint64_t last = jobs_marks(w.jobs).lease;
	world_restart(&w, S);
	assert_true(jobs_marks(w.jobs).lease >= last);
	/* Forgotten ones do not come again either. */
	for (size_t i = 0; i < HN_COUNT(ids); i++) {
		const struct search_spec s = world_spec(0, 9, 32, true);
		struct buf why = {0};

		assert_int_equal(jobs_submit_search(w.jobs, &s, 1, &why, id),
				 OK);
		assert_int_equal(jobs_cancel(w.jobs, id, 1), OK);
		jobs_forget(w.jobs, id);
		memcpy(ids[i], id, sizeof(id));
		assert_string_not_equal(id, one);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(ids[k], id);
	}
	world_release(&w);
}

static enum err try_restore(struct world *w, const struct buf *b)
{
	struct buf why = {0};
	char id[JOB_ID_SIZE];

	const enum err e = jobs_restore(w->jobs, b->p, b->n, 1, &why, id);
	if (e)
		assert_true(why.n);
	buf_release(&why);
	return e;
}

static void test_what_does_not_add_up_is_refused(void **state)
{
	struct world w, other;
	struct buf b = {0};
	char id[JOB_ID_SIZE];
	size_t refused = 0;

	(void)state;
	begin(&w, 5, 20, id);
	world_run(&w, w.now_us + 2 * S);
	assert_int_equal(jobs_save(w.jobs, id, w.now_us / 1000, &b), OK);
	assert_int_equal(jobs_save(w.jobs, "ffffffff", 1, &b), ERR_NOTFOUND);
	assert_int_equal(try_restore(&w, &b), ERR_EXISTS);
	world_init(&other, 6);
	/* Cut anywhere. */
	for (size_t n = 0; n < b.n; n++) {
		const struct buf cut = {.p = b.p, .n = n};

		assert_int_equal(try_restore(&other, &cut), ERR_PROTO);
	}
	/* One bit changed: refused, or the books hold all the same. */
	for (size_t i = 0; i < b.n * 8; i += 7) {
		b.p[i / 8] ^= (uint8_t)(1 << i % 8);
		if (try_restore(&other, &b)) {
			refused++;
		} else {
			world_audit(&other);
			assert_int_equal(other.broken.n, 0);
			world_release(&other);
			world_init(&other, 6);
		}
		b.p[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	assert_true(refused > b.n / 7);
	assert_int_equal(try_restore(&other, &b), OK);
	world_audit(&other);
	assert_int_equal(other.broken.n, 0);
	buf_release(&b);
	world_release(&other);
	world_release(&w);
}

static void test_without_workers_it_waits_and_then_fails(void **state)
{
	struct search_spec s = world_spec(0, NONCES, 32, true);
	struct world w;
	struct arena a = {0};
	struct job_info info;
	char id[JOB_ID_SIZE];

	(void)state;
	world_init(&w, 7);
	w.durable = true;
	s.terms.wait_ms = 0; /* yet nobody can be back at once */
	const size_t k = world_join(&w, 20 * MH, 1000, HONEST);
	world_submit(&w, &s, id);
	world_run(&w, w.now_us + 3 * S);
	world_crash(&w, k, UINT64_MAX);
	world_restart(&w, S);
	const uint64_t at = w.now_us;
	world_run(&w, UINT64_MAX / 2);
	assert_in_range(w.now_us - at, 29 * S, 31 * S);
	assert_int_equal(
	    jobs_info(w.jobs, id, JOB_BRIEF, w.now_us / 1000, &a, &info), OK);
	assert_string_equal(info.error, "no-peer");
	assert_true(info.hashes > 0);
	arena_release(&a);
	world_release(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_an_ended_job_reads_back_the_same),
	    cmocka_unit_test(test_an_open_job_goes_on_where_it_was),
	    cmocka_unit_test(test_a_liar_stays_dropped),
	    cmocka_unit_test(test_ids_are_never_used_again),
	    cmocka_unit_test(test_what_does_not_add_up_is_refused),
	    cmocka_unit_test(test_without_workers_it_waits_and_then_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
