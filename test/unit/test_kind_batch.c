/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/kind_batch.h"

#include "node/mesh/job.h"
#include "node/mesh/job_save.h"
#include "node/mesh/kind.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LEASES 64

struct world {
	struct jobs *jobs;
	uint64_t draws, now;
	struct lease leases[LEASES];
	size_t n;
	unsigned finishes, ended, dropped;
	char id[JOB_ID_SIZE];
};

static uint64_t on_random(void *arg)
{
	struct world *w = arg;

	return ++w->draws * 0x9e3779b97f4a7c15u;
}

static enum err on_assign(void *arg, const struct lease *l)
{
	struct world *w = arg;

	assert_ptr_equal(l->kind, &kind_batch);
	assert_int_equal(l->bits, 0);
	assert_string_equal(((const struct batch_spec *)l->spec)->out, "/out");
	assert_true(w->n < LEASES);
	w->leases[w->n++] = *l;
	return OK;
}

static void on_revoke(void *arg, uint64_t id)
{
	(void)arg, (void)id;
}

static enum err on_rescan(void *arg, uint64_t id, const struct scan_work *s)
{
	(void)arg, (void)id, (void)s;
	fail_msg("a job without shares is not scanned again");
	return ERR_DEVICE;
}

static void on_finish(void *arg, const char *job, const struct kind *kind,
		      const void *spec)
{
	struct world *w = arg;

	assert_string_equal(job, w->id);
	assert_ptr_equal(kind, &kind_batch);
	assert_string_equal(((const struct batch_spec *)spec)->file, "/in");
	w->finishes++;
}

static void on_bad(void *arg, const struct node_id *id,
		   const struct job_proof *proof, const char *why)
{
	struct world *w = arg;

	(void)id;
	assert_non_null(proof);
	assert_int_equal(proof->lie, JOB_LIE_ANSWER);
	assert_string_equal(why, "wrong");
	w->dropped++;
}

static void on_changed(void *arg, const char *job, bool ended)
{
	struct world *w = arg;

	(void)job;
	w->ended += ended;
}

static const struct jobs_ops ops = {
    .random = on_random,
    .assign = on_assign,
    .revoke = on_revoke,
    .rescan = on_rescan,
    .rescan_cancel = on_revoke,
    .finish = on_finish,
    .peer_bad = on_bad,
    .changed = on_changed,
};

static const struct node_id self = {{1}}, peer = {{2}}, other = {{3}};

static struct batch_spec spec_of(uint64_t blocks)
{
	return (struct batch_spec){.file = "/in",
				   .out = "/out",
				   .rounds = 2,
				   .inputs = blocks * 10,
				   .blocks = blocks,
				   .size = blocks * 100,
				   .terms.wait_ms = 1000};
}

static void offer(struct world *w, const struct node_id *id)
{
	const struct worker_offer o = {.id = *id, .rate = 50000000};

	jobs_worker(w->jobs, "hash/sha256d", &o, w->now);
}

static void tick(struct world *w)
{
	w->now += 20;
	jobs_tick(w->jobs, w->now);
}

static struct job_info info(struct world *w, struct arena *a)
{
	struct job_info i;

	assert_int_equal(jobs_info(w->jobs, w->id, JOB_PEERS, w->now, a, &i),
			 OK);
	return i;
}

static int setup(void **state)
{
	struct world *w = HN_NEW(struct world);

	w->now = 1000;
	w->jobs = jobs_new(&ops, w, &self);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	jobs_free(w->jobs);
	free(w);
	return 0;
}

static void submit(struct world *w, uint64_t blocks)
{
	const struct batch_spec s = spec_of(blocks);
	struct buf why = {0};

	assert_int_equal(
	    jobs_submit(w->jobs, &kind_batch, &s, w->now, &why, w->id), OK);
	buf_release(&why);
}

/* All leases that are out end well; true while there are some. */
static bool do_all(struct world *w)
{
	const size_t n = w->n;
	struct lease l[LEASES];

	memcpy(l, w->leases, sizeof(l));
	w->n = 0;
	for (size_t i = 0; i < n; i++) {
		const uint64_t blocks = l[i].span.b - l[i].span.a;

		w->now += 1 + blocks;
		jobs_heard(w->jobs, l[i].id, w->now);
		jobs_checked(w->jobs, l[i].id, 16, w->now);
		jobs_progress(w->jobs, l[i].id, l[i].span.b, NULL, 0, w->now);
		jobs_lease_end(w->jobs, l[i].id, OK, blocks, w->now);
	}
	tick(w);
	return n > 0;
}

static void test_it_is_done_when_its_result_is_final(void **state)
{
	struct world *w = *state;
	struct arena a = {0};

	submit(w, 500);
	offer(w, &peer);
	tick(w);
	assert_true(w->n > 0);
	for (size_t i = 0; i < w->n; i++) /* H/s say nothing of blocks */
		assert_true(w->leases[i].span.b - w->leases[i].span.a <= 128);
	while (do_all(w))
		;
	assert_int_equal(w->finishes, 1);
	struct job_info i = info(w, &a);

	assert_string_equal(i.state, "running");
	assert_int_equal(i.hashes, 5000);
	tick(w);
	assert_int_equal(w->finishes, 1);
	jobs_finished(w->jobs, w->id, OK, NULL, w->now);
	i = info(w, &a);
	assert_string_equal(i.state, "done");
	assert_int_equal(w->ended, 1);
	assert_string_equal(i.file, "/in");
	assert_int_equal(i.inputs, 5000);
	const struct job_peer *p = i.by_peer.items;

	assert_int_equal(i.by_peer.n, 1);
	assert_int_equal(p->hashes, 5000);
	assert_true(i.pieces >= 16 && i.checked > 0 && i.checked < 1);
	assert_true(p->rescanned == i.checked);
	arena_release(&a);
}

static void test_a_result_that_cannot_be_final_fails_it(void **state)
{
	struct world *w = *state;
	struct arena a = {0};

	submit(w, 3);
	offer(w, &self);
	tick(w);
	while (do_all(w))
		;
	jobs_finished(w->jobs, w->id, ERR_EXISTS, "it is there", w->now);
	const struct job_info i = info(w, &a);

	assert_string_equal(i.state, "failed");
	assert_string_equal(i.error, "exists");
	assert_string_equal(i.text, "it is there");
	arena_release(&a);
}

static void test_an_empty_file_needs_nobody(void **state)
{
	struct world *w = *state;
	struct arena a = {0};

	submit(w, 0);
	tick(w);
	assert_int_equal(w->finishes, 1);
	jobs_finished(w->jobs, w->id, OK, NULL, w->now);
	const struct job_info i = info(w, &a);

	assert_string_equal(i.state, "done");
	assert_true(i.percent == 100);
	arena_release(&a);
}

static void test_a_liars_blocks_are_done_again(void **state)
{
	struct world *w = *state;
	struct arena a = {0};

	submit(w, 200);
	offer(w, &peer);
	tick(w);
	do_all(w);
	assert_true(w->n > 0);
	jobs_lie(w->jobs, w->leases[0].id, "wrong", w->now);
	assert_int_equal(w->dropped, 1);
	w->n = 0;
	assert_int_equal(info(w, &a).hashes, 0);
	offer(w, &other);
	tick(w);
	while (do_all(w))
		;
	const struct job_info i = info(w, &a);

	assert_int_equal(i.hashes, 2000);
	assert_int_equal(i.by_peer.n, 2);
	const struct job_peer *p = i.by_peer.items;

	assert_string_equal(p[0].state, "dropped");
	assert_int_equal(p[0].hashes, 0);
	assert_int_equal(p[1].hashes, 2000);
	arena_release(&a);
}

static void test_it_fails_for_a_reason_outside(void **state)
{
	struct world *w = *state;
	struct arena a = {0};

	submit(w, 9);
	offer(w, &peer);
	tick(w);
	jobs_fail(w->jobs, w->id, ERR_IO, "no space left", w->now);
	const struct job_info i = info(w, &a);

	assert_string_equal(i.state, "failed");
	assert_string_equal(i.text, "no space left");
	assert_int_equal(w->ended, 1);
	jobs_fail(w->jobs, w->id, ERR_IO, "again", w->now);
	assert_int_equal(w->ended, 1);
	arena_release(&a);
}

static void test_it_outlives_its_process(void **state)
{
	struct world *w = *state;
	struct arena a = {0};
	struct buf saved = {0}, why = {0};
	char id[JOB_ID_SIZE];

	submit(w, 300);
	offer(w, &peer);
	tick(w);
	do_all(w);
	const struct job_info before = info(w, &a);

	assert_true(before.hashes > 0 && before.hashes < 3000);
	assert_int_equal(jobs_save(w->jobs, w->id, w->now, &saved), OK);
	jobs_free(w->jobs);
	w->jobs = jobs_new(&ops, w, &self);
	w->n = 0;
	assert_int_equal(
	    jobs_restore(w->jobs, saved.p, saved.n, w->now, &why, id), OK);
	assert_string_equal(id, w->id);
	const struct job_info after = info(w, &a);

	assert_int_equal(after.hashes, before.hashes);
	assert_string_equal(after.out, "/out");
	assert_int_equal(after.pieces, before.pieces);
	offer(w, &other);
	tick(w);
	while (do_all(w))
		;
	assert_int_equal(w->finishes, 1);
	assert_int_equal(info(w, &a).hashes, 3000);
	buf_release(&saved);
	buf_release(&why);
	arena_release(&a);
}

static void test_specs_that_make_no_sense(void **state)
{
	const struct batch_spec good = spec_of(20);
	struct batch_spec bad[] = {good, good, good, good, good, good, good};
	struct buf why = {0};

	(void)state;
	assert_int_equal(kind_batch.spec_check(&good, &why), OK);
	bad[0].file = "in";
	bad[1].out = NULL;
	bad[2].rounds = 3;
	bad[3].inputs = 19;
	bad[4].inputs = good.size + 1;
	bad[5].record = 7;
	bad[6].blocks = 0;
	bad[6].inputs = bad[6].size = 5000;
	for (size_t i = 0; i < HN_COUNT(bad); i++) {
		assert_int_equal(kind_batch.spec_check(&bad[i], &why),
				 ERR_INPUT);
		assert_true(why.n > 0);
		buf_clear(&why);
	}
	buf_release(&why);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_it_is_done_when_its_result_is_final),
	    T(test_a_result_that_cannot_be_final_fails_it),
	    T(test_an_empty_file_needs_nobody),
	    T(test_a_liars_blocks_are_done_again),
	    T(test_it_fails_for_a_reason_outside),
	    T(test_it_outlives_its_process),
	    T(test_specs_that_make_no_sense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
