/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a unit costs the coordinator must not grow with the mesh. Not its time
 * is measured, which other programs disturb: the coordinator's files are
 * compiled so that each block of code they run counts itself, which no loop
 * can hide from, and the same job gives the same count everywhere.
 */
#include "node/mesh/job.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "asic/sha256d.h"
#include "node/base/mem.h"

#define CAP "hash/sha256d"
#define RATE 100 /* H/s: units of few nonces, each of which is a share */
#define SECONDS 3
#define LEASES 400000u

static uint64_t blocks;

void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_pc(void)
{
	blocks++;
}

struct given {
	size_t worker;
	struct span span;
	uint64_t at;
	bool open;
};

/* Workers that do what they are given, one after the other. */
struct mesh {
	struct jobs *jobs;
	uint64_t now, seed, first_id;
	size_t n, given, next;
	struct given *lease;
	uint64_t *busy_until;
	bool *gone;
	bool ended;
};

static struct node_id name(size_t i)
{
	struct node_id id = {0};

	put_le32(id.b, (uint32_t)i + 1);
	return id;
}

static uint64_t on_random(void *arg)
{
	struct mesh *m = arg;

	m->seed = m->seed * 6364136223846793005u + 1442695040888963407u;
	return m->seed ^ m->seed >> 31;
}

static enum err on_assign(void *arg, const struct lease *l)
{
	struct mesh *m = arg;

	if (!m->given)
		m->first_id = l->id;
	assert_true(m->given < LEASES);
	assert_int_equal(l->id - m->first_id, m->given);
	assert_int_equal(l->bits, 0);
	m->lease[m->given++] =
	    (struct given){get_le32(l->worker.b) - 1, l->span, m->now, true};
	return OK;
}

static void on_revoke(void *arg, uint64_t id)
{
	struct mesh *m = arg;

	m->lease[id - m->first_id].open = false;
}

static enum err on_rescan(void *arg, uint64_t id, const struct scan_work *w)
{
	(void)arg, (void)id, (void)w;
	return ERR_DEVICE;
}

static void on_rescan_cancel(void *arg, uint64_t id)
{
	(void)arg, (void)id;
}

static void on_changed(void *arg, const char *job, bool ended)
{
	struct mesh *m = arg;

	(void)job;
	m->ended |= ended;
}

static void no_hit(void *arg, const uint8_t header[static HEADER_SIZE],
		   uint32_t nonce, uint8_t digest[static 32])
{
	(void)arg, (void)header, (void)nonce;
	memset(digest, 0xff, 32);
}

static void tell(struct mesh *m, size_t i, uint64_t from, uint64_t below)
{
	static uint32_t shares[4096];
	size_t n = 0;

	for (uint64_t x = from; x < below; x++)
		shares[n++] = (uint32_t)x;
	jobs_progress(m->jobs, m->first_id + i, below, shares, n, m->now);
	jobs_tick(m->jobs, m->now);
}

static void work(struct mesh *m, size_t i)
{
	struct given *g = &m->lease[i];
	const uint64_t from =
	    g->at > m->busy_until[g->worker] ? g->at : m->busy_until[g->worker];
	const uint64_t n = g->span.b - g->span.a;

	if (!g->open || m->gone[g->worker])
		return;
	m->busy_until[g->worker] = from + n * 1000 / RATE;
	if (m->busy_until[g->worker] > m->now)
		m->now = m->busy_until[g->worker];
	tell(m, i, g->span.a, g->span.a + n / 2);
	tell(m, i, g->span.a + n / 2, g->span.b);
	if (!g->open)
		return;
	g->open = false;
	jobs_lease_end(m->jobs, m->first_id + i, OK, n, m->now);
	jobs_tick(m->jobs, m->now);
}

static void leave(struct mesh *m, size_t i)
{
	const struct node_id id = name(i);

	m->gone[i] = true;
	jobs_worker_gone(m->jobs, CAP, &id, m->now);
	jobs_tick(m->jobs, m->now);
}

/* Blocks per unit of a whole job: n join, a tenth of them leave on the way. */
static double cost(size_t n)
{
	static const struct jobs_ops ops = {.random = on_random,
					    .assign = on_assign,
					    .revoke = on_revoke,
					    .rescan = on_rescan,
					    .rescan_cancel = on_rescan_cancel,
					    .changed = on_changed};
	const struct search_spec s = {.end = n * RATE * SECONDS,
				      .target = {1},
				      .all = true,
				      .terms.wait_ms = 1000};
	struct mesh m = {.n = n, .now = 1000, .seed = n};
	const struct node_id self = name(n + 1);
	struct buf why = {0};
	char id[JOB_ID_SIZE];

	m.lease = xcalloc(LEASES, sizeof(*m.lease));
	m.busy_until = xcalloc(n, sizeof(*m.busy_until));
	m.gone = xcalloc(n, sizeof(*m.gone));
	m.jobs = jobs_new(&ops, &m, &self);
	jobs_set_judge(m.jobs, no_hit, NULL);
	blocks = 0;
	assert_int_equal(jobs_submit_search(m.jobs, &s, m.now, &why, id), OK);
	for (size_t i = 0; i < n; i++) {
		const struct worker_offer o = {
		    .id = name(i), .rate = RATE, .rtt_ms = 1};

		jobs_worker(m.jobs, CAP, &o, m.now);
		jobs_tick(m.jobs, m.now);
	}
	for (size_t i = 0; i < m.given && !m.ended; i++) {
		if (i >= 3 * n && i < 3 * n + n / 10)
			leave(&m, i - 3 * n);
		work(&m, i);
		if (i + 1 == m.given && !m.ended)
			jobs_tick(m.jobs, m.now += 300);
	}
	const double each = (double)blocks / (double)m.given;

	assert_true(m.ended);
	printf("%zu workers: %.0f blocks for each of %zu units\n", n, each,
	       m.given);
	buf_release(&why);
	jobs_free(m.jobs);
	free(m.lease);
	free(m.busy_until);
	free(m.gone);
	return each;
}

/* From a hundred to ten thousand the logarithm doubles. */
static void test_a_unit_costs_no_more_in_a_large_mesh(void **state)
{
	const double small = cost(100), middle = cost(1000);

	(void)state;
	assert_true(middle < 1.5 * small);
	assert_true(cost(10000) < 2 * small);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_unit_costs_no_more_in_a_large_mesh),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
