/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The coordinator through its header, with the real hash on small ranges; who
 * works when is told by hand. Whole schedules: scenario_jobs.
 */
#include "node/mesh/job.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "asic/sha256d.h"
#include "test/support/headers.h"

#define CAP "hash/sha256d"
#define MAX 256

/* A lease, as its worker has it. */
struct given {
	uint64_t id;
	struct node_id worker;
	struct scan_work work;
};

/* What the coordinator has asked for. */
struct desk {
	struct jobs *jobs;
	uint64_t now, seed;
	struct given leases[MAX];
	bool open[MAX];
	size_t n;
	struct {
		uint64_t id;
		struct scan_work work;
	} looks[MAX];
	size_t nlooks;
	size_t revoked, bad, proofs, ended;
	struct job_proof proof; /* the last */
	enum err refuse;	/* what assign says */
	bool in_order;		/* units are cut off the lowest end */
	char why[200];
};

static struct node_id node(uint8_t x)
{
	struct node_id id;

	memset(id.b, x, sizeof(id.b));
	return id;
}

#define SELF 0xee

static uint64_t on_random(void *arg)
{
	struct desk *d = arg;
	const uint64_t high = noise32(&d->seed);

	if (d->in_order)
		return 0;
	return high << 32 | noise32(&d->seed);
}

static enum err on_assign(void *arg, const struct lease *l)
{
	struct desk *d = arg;

	if (d->refuse)
		return d->refuse;
	assert_true(d->n < MAX);
	d->leases[d->n].id = l->id;
	d->leases[d->n].worker = l->worker;
	lease_scan(l, &d->leases[d->n].work);
	d->open[d->n++] = true;
	return OK;
}

static void on_revoke(void *arg, uint64_t id)
{
	struct desk *d = arg;

	d->revoked++;
	for (size_t i = 0; i < d->n; i++)
		if (d->leases[i].id == id)
			d->open[i] = false;
}

static enum err on_rescan(void *arg, uint64_t id, const struct scan_work *w)
{
	struct desk *d = arg;

	assert_true(d->nlooks < MAX);
	d->looks[d->nlooks].id = id;
	d->looks[d->nlooks++].work = *w;
	return OK;
}

static void on_rescan_cancel(void *arg, uint64_t id)
{
	(void)arg;
	(void)id;
}

static void on_bad(void *arg, const struct node_id *id,
		   const struct job_proof *proof, const char *why)
{
	struct desk *d = arg;

	(void)id;
	d->bad++;
	d->proofs += proof != NULL;
	if (proof)
		d->proof = *proof;
	snprintf(d->why, sizeof(d->why), "%s", why);
}

static void on_changed(void *arg, const char *job, bool ended)
{
	struct desk *d = arg;

	(void)job;
	d->ended += ended;
}

static const struct jobs_ops desk_ops = {
    .random = on_random,
    .assign = on_assign,
    .revoke = on_revoke,
    .rescan = on_rescan,
    .rescan_cancel = on_rescan_cancel,
    .peer_bad = on_bad,
    .changed = on_changed,
};

static int setup(void **state)
{
	struct desk *d = calloc(1, sizeof(*d));
	const struct node_id self = node(SELF);

	d->now = 5000;
	d->seed = 42;
	d->jobs = jobs_new(&desk_ops, d, &self);
	*state = d;
	return 0;
}

static int teardown(void **state)
{
	struct desk *d = *state;

	jobs_free(d->jobs);
	free(d);
	return 0;
}

static void join(struct desk *d, uint8_t who, uint64_t rate)
{
	const struct worker_offer o = {
	    .id = node(who), .rate = rate, .rtt_ms = 1};

	jobs_worker(d->jobs, CAP, &o, d->now);
}

static struct search_spec spec_of(uint64_t start, uint64_t end, unsigned bits)
{
	struct search_spec s = {.start = start,
				.end = end,
				.all = true,
				.terms.wait_ms = 1000,
				.terms.check_permille = 50};

	unhex(known_headers[1].header, s.header, HEADER_SIZE);
	memset(s.target, 0xff, 32);
	for (unsigned i = 0; i < bits; i++)
		s.target[31 - i / 8] &= (uint8_t) ~(0x80u >> i % 8);
	return s;
}

static void submit(struct desk *d, const struct search_spec *s,
		   char id[static JOB_ID_SIZE])
{
	struct buf why = {0};

	assert_int_equal(jobs_submit_search(d->jobs, s, d->now, &why, id), OK);
	jobs_tick(d->jobs, d->now);
	buf_release(&why);
}

static size_t scan(const struct scan_work *w, uint64_t from, uint64_t below,
		   uint32_t *out, size_t max)
{
	size_t n = 0;

	for (uint64_t x = from; x < below; x++) {
		uint8_t digest[32];

		sha256d_header(w->header, (uint32_t)x, digest);
		if (sha256d_zero_bits(digest) < w->share_bits)
			continue;
		assert_true(n < max);
		out[n++] = (uint32_t)x;
	}
	return n;
}

static void progress(struct desk *d, size_t i, uint64_t from, uint64_t below)
{
	static uint32_t shares[100000];
	const size_t n = scan(&d->leases[i].work, from, below, shares, 100000);

	jobs_progress(d->jobs, d->leases[i].id, below, shares, n, d->now);
}

static void finish(struct desk *d, size_t i)
{
	const struct scan_work *w = &d->leases[i].work;

	d->open[i] = false;
	progress(d, i, w->start, w->end);
	jobs_lease_end(d->jobs, d->leases[i].id, OK, w->end - w->start, d->now);
}

static void answer_looks(struct desk *d)
{
	for (size_t i = 0; i < d->nlooks; i++) {
		uint32_t shares[5000];
		const struct scan_work *w = &d->looks[i].work;
		const size_t n = scan(w, w->start, w->end, shares, 5000);

		jobs_rescan_end(d->jobs, d->looks[i].id, OK, shares, n, d->now);
	}
	d->nlooks = 0;
}

/* Everybody does what they have, until nothing is open. */
static void work_it_off(struct desk *d)
{
	for (size_t i = 0; i < d->n; i++) {
		if (!d->open[i])
			continue;
		d->now += 20;
		finish(d, i);
		answer_looks(d);
		jobs_tick(d->jobs, d->now);
	}
}

static struct job_info info_of(struct desk *d, const char *id, struct arena *a)
{
	struct job_info info;

	assert_int_equal(jobs_info(d->jobs, id, JOB_UNITS, d->now, a, &info),
			 OK);
	return info;
}

static void test_known_block_is_found(void **state)
{
	struct desk *d = *state;
	struct arena a = {0};
	const uint64_t nonce = known_headers[1].nonce;
	struct search_spec s = spec_of(nonce - 30000, nonce + 30000, 0);
	char id[JOB_ID_SIZE];

	s.all = false;
	assert_true(target_from_nbits(header_nbits(s.header), s.target));
	join(d, 1, 100000);
	join(d, 2, 100000);
	submit(d, &s, id);
	assert_int_equal(d->n, 4);
	work_it_off(d);

	const struct job_info info = info_of(d, id, &a);
	assert_string_equal(info.state, "done");
	assert_true(info.found && info.nonce.set);
	assert_int_equal(info.nonce.v, nonce);
	assert_string_equal(info.hash, known_headers[1].hash);
	assert_int_equal(strlen(info.by), 64);
	assert_int_equal(info.hits.n, 0); /* only with all */
	assert_int_equal(d->ended, 1);
	assert_true(d->revoked > 0); /* the others stop at once */
	for (size_t i = 0; i < d->n; i++)
		assert_false(d->open[i]);
	assert_false(jobs_wants(d->jobs, CAP));
	arena_release(&a);
}

static void test_all_hits_are_found_in_order(void **state)
{
	struct desk *d = *state;
	struct arena a = {0};
	const struct search_spec s = spec_of(7, 60007, 6);
	struct scan_work whole = {.start = 7, .end = 60007, .share_bits = 6};
	static uint32_t want[60000];
	char id[JOB_ID_SIZE];

	memcpy(whole.header, s.header, HEADER_SIZE);
	join(d, 1, 100000);
	join(d, 2, 300000);
	submit(d, &s, id);
	work_it_off(d);

	const struct job_info info = info_of(d, id, &a);
	const struct job_hit *hits = info.hits.items;
	const size_t n = scan(&whole, whole.start, whole.end, want, 60000);
	assert_string_equal(info.state, "done");
	assert_int_equal(info.hits.n, n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(hits[i].nonce, want[i]);
	assert_int_equal(info.hashes, 60000);
	assert_int_equal(info.peers, 2);
	assert_true(info.percent == 100);
	assert_true(info.checked > 0);
	assert_true(info.shares >= n);
	assert_int_equal(info.failed, 0);
	arena_release(&a);
}

static void test_empty_range_says_so(void **state)
{
	struct desk *d = *state;
	struct arena a = {0};
	const struct search_spec s = spec_of(0, 20000, 60);
	char id[JOB_ID_SIZE];

	join(d, SELF, 100000);
	submit(d, &s, id);
	work_it_off(d);
	const struct job_info info = info_of(d, id, &a);
	assert_string_equal(info.state, "done");
	assert_false(info.found);
	assert_false(info.nonce.set);
	assert_null(info.hash);
	assert_int_equal(info.hashes, 20000);
	/* All of it was our own work: nothing is looked at again. */
	assert_true(info.checked == 1);
	assert_int_equal(info.pieces, 0);
	arena_release(&a);
}

/* The first worker's list is spoiled; all it did is done again. */
static void check_dropped(struct desk *d, const char *id, bool proof)
{
	struct arena a = {0};

	assert_int_equal(d->bad, 1);
	assert_int_equal(d->proofs, proof);
	join(d, 2, 100000);
	jobs_tick(d->jobs, d->now);
	work_it_off(d);
	const struct job_info info = info_of(d, id, &a);
	const struct job_peer *p = info.by_peer.items;

	assert_string_equal(info.state, "done");
	assert_int_equal(info.hashes, info.end - info.start);
	assert_string_equal(p[0].state, "dropped");
	assert_string_equal(p[0].why, d->why);
	assert_int_equal(p[0].hashes, 0);
	assert_int_equal(p[1].hashes, info.hashes);
	assert_int_equal(info.peers, 1);
	arena_release(&a);
}

static void begin(struct desk *d, char id[static JOB_ID_SIZE])
{
	const struct search_spec s = spec_of(100, 40100, 8);

	d->in_order = true;
	join(d, 1, 256000);
	submit(d, &s, id);
	assert_int_equal(d->leases[0].work.share_bits, 8);
	progress(d, 0, 100, 5100);
}

static void test_invented_share_is_proof(void **state)
{
	struct desk *d = *state;
	char id[JOB_ID_SIZE];
	uint32_t share = 5100;
	uint8_t digest[32];

	begin(d, id);
	do
		sha256d_header(d->leases[0].work.header, ++share, digest);
	while (sha256d_zero_bits(digest) >= 8);
	jobs_progress(d->jobs, d->leases[0].id, 6000, &share, 1, d->now);
	assert_int_equal(d->proof.lie, JOB_LIE_FALSE);
	assert_int_equal(d->proof.nonce, share);
	assert_int_equal(d->proof.lease, d->leases[0].id);
	assert_string_equal(d->proof.job, id);
	check_dropped(d, id, true);
}

static void test_share_out_of_place_is_proof(void **state)
{
	struct desk *d = *state;
	char id[JOB_ID_SIZE];
	uint32_t shares[2000];

	begin(d, id);
	/* Of the prefix that was told already. */
	scan(&d->leases[0].work, 100, 5100, shares, 2000);
	jobs_progress(d->jobs, d->leases[0].id, 6000, shares, 1, d->now);
	check_dropped(d, id, true);
}

static void test_share_above_the_prefix_is_proof(void **state)
{
	struct desk *d = *state;
	char id[JOB_ID_SIZE];
	uint32_t shares[2000];
	const size_t n =
	    (begin(d, id), scan(&d->leases[0].work, 5100, 8100, shares, 2000));

	jobs_progress(d->jobs, d->leases[0].id, shares[n - 1], shares, n,
		      d->now);
	check_dropped(d, id, true);
}

static void test_repeated_share_is_proof(void **state)
{
	struct desk *d = *state;
	char id[JOB_ID_SIZE];
	uint32_t shares[2000];

	begin(d, id);
	scan(&d->leases[0].work, 5100, 6100, shares, 2000);
	shares[1] = shares[0];
	jobs_progress(d->jobs, d->leases[0].id, 6100, shares, 2, d->now);
	check_dropped(d, id, true);
}

static void test_more_than_the_unit_is_proof(void **state)
{
	struct desk *d = *state;
	char id[JOB_ID_SIZE];

	begin(d, id);
	jobs_progress(d->jobs, d->leases[0].id, d->leases[0].work.end + 1, NULL,
		      0, d->now);
	check_dropped(d, id, true);
}

static void test_long_gap_is_suspicion(void **state)
{
	struct desk *d = *state;
	char id[JOB_ID_SIZE];

	begin(d, id);
	/* 7,700 nonces, 30 shares expected, none told. */
	jobs_progress(d->jobs, d->leases[0].id, 12800, NULL, 0, d->now);
	check_dropped(d, id, false);
}

static void test_end_before_the_end_is_suspicion(void **state)
{
	struct desk *d = *state;
	char id[JOB_ID_SIZE];

	begin(d, id);
	jobs_lease_end(d->jobs, d->leases[0].id, OK, 40000, d->now);
	check_dropped(d, id, false);
}

static void test_unsigned_answer_is_suspicion(void **state)
{
	struct desk *d = *state;
	char id[JOB_ID_SIZE];

	begin(d, id);
	jobs_lease_end(d->jobs, d->leases[0].id, ERR_CRYPTO, 0, d->now);
	check_dropped(d, id, false);
}

static void test_withheld_share_is_seen_by_the_rescan(void **state)
{
	struct desk *d = *state;
	char id[JOB_ID_SIZE];
	const struct search_spec s = spec_of(0, 1000000, 8);
	uint32_t shares[5000], kept[5000];

	/* A large budget: all that is drawn is looked at. */
	jobs_set_core_rate(d->jobs, 1000000000);
	join(d, 1, 4096000);
	submit(d, &s, id);
	const struct scan_work w = d->leases[0].work;
	const size_t n = scan(&w, w.start, w.end, shares, 5000);
	size_t m = 0;

	/* Every sixth is kept back: too few to be noticed by counting. */
	for (size_t i = 0; i < n; i++)
		if (i % 6)
			kept[m++] = shares[i];
	jobs_progress(d->jobs, d->leases[0].id, w.end, kept, m, d->now);
	jobs_lease_end(d->jobs, d->leases[0].id, OK, w.end - w.start, d->now);
	assert_int_equal(d->bad, 0);
	assert_true(d->nlooks > 0);
	/* Our own scan of all of that finds what was kept back. */
	for (size_t i = 0; i < d->nlooks && !d->bad; i++) {
		const struct scan_work *l = &d->looks[i].work;
		uint32_t in[5000];
		const size_t k = scan(l, l->start, l->end, in, 5000);

		assert_int_equal(l->share_bits, w.share_bits);
		jobs_rescan_end(d->jobs, d->looks[i].id, OK, in, k, d->now);
	}
	/* Chance drew the pieces, but from a fixed seed. */
	assert_int_equal(d->bad, 1);
	assert_int_equal(d->proofs, 1);
	/* Who has the signed list sees that this share is not in it. */
	assert_int_equal(d->proof.lie, JOB_LIE_MISSING);
	assert_int_equal(d->proof.lease, d->leases[0].id);
	bool was_share = false, was_told = false;

	for (size_t i = 0; i < n; i++)
		was_share |= shares[i] == d->proof.nonce;
	for (size_t i = 0; i < m; i++)
		was_told |= kept[i] == d->proof.nonce;
	assert_true(was_share && !was_told);
}

/* Which of the two lists lacks the share, that one lied. */
static void convict(struct desk *d, bool first_lies)
{
	char id[JOB_ID_SIZE];
	struct search_spec s = spec_of(0, 40000, 8);
	static uint32_t shares[5000];

	s.terms.replicas = 2;
	s.terms.check_permille = 0;
	d->in_order = true;
	join(d, 1, 256000);
	submit(d, &s, id);
	const struct scan_work w = d->leases[0].work;
	const size_t n = scan(&w, w.start, w.end, shares, 5000);
	const uint32_t kept = shares[n - 1];

	jobs_progress(d->jobs, d->leases[0].id, w.end, shares, n - first_lies,
		      d->now);
	jobs_lease_end(d->jobs, d->leases[0].id, OK, w.end - w.start, d->now);
	const size_t before = d->n;

	join(d, 2, 256000);
	/* The same again, for somebody else. */
	assert_true(d->n > before);
	const struct given *l = &d->leases[before];
	assert_int_equal(l->work.start, w.start);
	assert_int_equal(l->work.end, w.end);
	assert_true(l->id != d->leases[0].id);
	const uint64_t liars = first_lies ? d->leases[0].id : l->id;
	jobs_progress(d->jobs, l->id, w.end, shares, n - !first_lies, d->now);
	assert_int_equal(d->bad, 0);
	jobs_lease_end(d->jobs, l->id, OK, w.end - w.start, d->now);
	assert_int_equal(d->bad, 1);
	assert_int_equal(d->proofs, 1);
	assert_int_equal(d->proof.lie, JOB_LIE_MISSING);
	assert_int_equal(d->proof.nonce, kept);
	assert_int_equal(d->proof.lease, liars);
}

static void test_a_replica_convicts_the_first(void **state)
{
	convict(*state, true);
}

static void test_a_replica_convicts_the_second(void **state)
{
	convict(*state, false);
}

static void test_own_device_that_errs_blames_nobody(void **state)
{
	struct desk *d = *state;
	struct arena a = {0};
	char id[JOB_ID_SIZE];
	const struct search_spec s = spec_of(0, 300000, 8);

	join(d, 1, 100000);
	submit(d, &s, id);
	for (size_t i = 0; i < d->n; i++) {
		if (!d->open[i])
			continue;
		d->now += 20;
		finish(d, i);
		for (size_t k = 0; k < d->nlooks; k++) {
			/* Once nothing, once nonsense, once an error. */
			const uint32_t no = (uint32_t)d->looks[k].work.start;

			jobs_rescan_end(d->jobs, d->looks[k].id,
					k % 3 == 2 ? ERR_DEVICE : OK, &no,
					k % 3 == 1, d->now);
		}
		d->nlooks = 0;
		jobs_tick(d->jobs, d->now);
	}
	const struct job_info info = info_of(d, id, &a);
	assert_string_equal(info.state, "done");
	assert_int_equal(d->bad, 0);
	arena_release(&a);
}

static void test_lost_worker_is_cut_at_its_prefix(void **state)
{
	struct desk *d = *state;
	struct arena a = {0};
	char id[JOB_ID_SIZE];

	begin(d, id);
	const struct node_id one = node(1);
	jobs_worker_gone(d->jobs, CAP, &one, d->now);
	join(d, 2, 256000);
	jobs_tick(d->jobs, d->now);
	/* Its end may still come; nothing of it counts. */
	jobs_lease_end(d->jobs, d->leases[0].id, ERR_GONE, 0, d->now);
	d->open[0] = d->open[1] = false;
	work_it_off(d);
	const struct job_info info = info_of(d, id, &a);
	const struct job_peer *p = info.by_peer.items;

	assert_string_equal(info.state, "done");
	assert_int_equal(info.hashes, 40000);
	assert_int_equal(p[0].hashes, 5000);
	assert_int_equal(p[1].hashes, 35000);
	assert_string_equal(p[0].state, "lost");
	assert_int_equal(info.late, 0);
	arena_release(&a);
}

static void test_late_words_count_once(void **state)
{
	struct desk *d = *state;
	struct arena a = {0};
	char id[JOB_ID_SIZE];
	const struct node_id one = node(1);

	begin(d, id);
	jobs_worker_gone(d->jobs, CAP, &one, d->now);
	/* Nobody has it meanwhile: its later words count. */
	progress(d, 0, 5100, 7100);
	assert_int_equal(info_of(d, id, &a).hashes, 7000);
	progress(d, 0, 5100, 7100); /* twice: no news */
	assert_int_equal(info_of(d, id, &a).hashes, 7000);
	join(d, 2, 256000);
	jobs_tick(d->jobs, d->now);
	size_t i = d->n - 1;
	while (d->leases[i].work.start != 7100)
		i--;
	/* In the hands of another, who then comes second. */
	progress(d, 0, 7100, 7600);
	progress(d, i, 7100, 8100);
	const struct job_info info = info_of(d, id, &a);
	const struct job_peer *p = info.by_peer.items;
	assert_int_equal(info.hashes, 8000);
	assert_int_equal(info.late, 500);
	assert_int_equal(p[0].hashes, 7500);
	assert_int_equal(p[1].hashes, 500);
	assert_int_equal(p[1].late, 1);
	/* An unknown lease is nothing at all. */
	jobs_progress(d->jobs, 12345, 40000, NULL, 0, d->now);
	jobs_lease_end(d->jobs, 12345, OK, 1, d->now);
	jobs_rescan_end(d->jobs, 12345, OK, NULL, 0, d->now);
	assert_int_equal(d->bad, 0);
	arena_release(&a);
}

static void test_refusing_worker_is_asked_again_later(void **state)
{
	struct desk *d = *state;
	char id[JOB_ID_SIZE];
	struct search_spec s = spec_of(0, 40000, 8);

	s.terms.wait_ms = 30000;
	d->refuse = ERR_BUSY;
	join(d, 1, 256000);
	submit(d, &s, id);
	assert_int_equal(d->n, 0);
	d->refuse = OK;
	jobs_tick(d->jobs, d->now + 100);
	assert_int_equal(d->n, 0);
	jobs_tick(d->jobs, d->now += 600);
	assert_int_equal(d->n, 1); /* one, until that is well */
	jobs_lease_end(d->jobs, d->leases[0].id, ERR_BUSY, 0, d->now);
	assert_int_equal(d->n, 1);
	jobs_tick(d->jobs, d->now += 1100);
	assert_int_equal(d->n, 2);
	finish(d, 1);
	assert_true(d->n > 3);
	assert_int_equal(d->bad, 0);
}

static void test_nobody_is_an_end(void **state)
{
	struct desk *d = *state;
	struct arena a = {0};
	char id[JOB_ID_SIZE];
	const struct search_spec s = spec_of(0, 40000, 8);

	submit(d, &s, id);
	assert_true(jobs_wants(d->jobs, CAP));
	assert_false(jobs_wants(d->jobs, "hash/randomx"));
	assert_true(jobs_tick(d->jobs, d->now + 900) <= d->now + 1000);
	assert_string_equal(info_of(d, id, &a).state, "queued");
	jobs_tick(d->jobs, d->now += 1000);
	assert_string_equal(info_of(d, id, &a).error, "no-peer");
	assert_int_equal(d->ended, 1);
	arena_release(&a);
}

static void test_a_second_peer_nobody_knows_is_not_waited_for_long(void **state)
{
	struct desk *d = *state;
	struct arena a = {0};
	char id[JOB_ID_SIZE];
	struct search_spec s = spec_of(0, 40000, 8);
	struct job_view v;

	s.terms.replicas = 2;
	s.terms.wait_ms = 30000;
	s.terms.check_permille = 0;
	join(d, 1, 256000);
	submit(d, &s, id);
	work_it_off(d);
	assert_null(strstr(info_of(d, id, &a).state, "done"));
	assert_string_equal(info_of(d, id, &a).waiting,
			    "for a second peer for 40000 nonces, at most 10 s "
			    "more");
	const struct node_id first = d->leases[0].worker;
	assert_int_equal(jobs_view(d->jobs, id, &first, d->now, &v), OK);
	assert_true(v.pending && v.others);
	jobs_tick(d->jobs, d->now += 9900);
	assert_string_equal(info_of(d, id, &a).state, "running");
	jobs_tick(d->jobs, d->now += 200);
	assert_string_equal(info_of(d, id, &a).state, "done");
	assert_null(info_of(d, id, &a).waiting);
	assert_int_equal(info_of(d, id, &a).unreplicated, 40000);
	arena_release(&a);
}

static void test_cancel_stops_everybody(void **state)
{
	struct desk *d = *state;
	struct arena a = {0};
	char id[JOB_ID_SIZE];

	begin(d, id);
	assert_int_equal(jobs_cancel(d->jobs, "zz", d->now), ERR_NOTFOUND);
	assert_int_equal(jobs_cancel(d->jobs, "", d->now), ERR_NOTFOUND);
	id[4] = 0; /* a prefix is enough */
	assert_int_equal(jobs_cancel(d->jobs, id, d->now), OK);
	for (size_t i = 0; i < d->n; i++)
		assert_false(d->open[i]);
	const struct job_info info = info_of(d, id, &a);
	assert_string_equal(info.state, "canceled");
	assert_string_equal(info.error, "canceled");
	assert_int_equal(info.hashes, 5000);
	/* Words that were on their way change nothing; nor a second cancel. */
	progress(d, 0, 5100, 6100);
	assert_int_equal(info_of(d, id, &a).hashes, 5000);
	assert_int_equal(jobs_cancel(d->jobs, id, d->now), OK);
	assert_int_equal(d->ended, 1);
	arena_release(&a);
}

static void test_bad_input_is_refused_with_a_sentence(void **state)
{
	struct desk *d = *state;
	const struct search_spec good = spec_of(0, 10, 8);
	struct search_spec bad[8];
	struct buf why = {0};
	char id[JOB_ID_SIZE];

	for (size_t i = 0; i < 8; i++)
		bad[i] = good;
	bad[0].end = 0;
	bad[1].start = 10;
	bad[2].end = NONCES + 1;
	bad[3].terms.wait_ms = UINT64_MAX;
	bad[4].terms.check_permille = 1001;
	bad[5].terms.balance = BALANCE_COUNT;
	bad[6].terms.replicas = TERMS_REPLICAS_MAX + 1;
	bad[7].terms.trust = 1001;
	for (size_t i = 0; i < 8; i++) {
		buf_clear(&why);
		assert_int_equal(
		    jobs_submit_search(d->jobs, &bad[i], d->now, &why, id),
		    ERR_INPUT);
		assert_true(why.n > 20);
	}
	for (size_t i = 0; i < JOB_MAX_OPEN; i++)
		submit(d, &good, id);
	buf_clear(&why);
	assert_int_equal(jobs_submit_search(d->jobs, &good, d->now, &why, id),
			 ERR_BUSY);
	assert_true(why.n > 20);
	buf_release(&why);
}

/* What was asked of a node, or saved by one, before there were terms. */
static void test_a_shorter_spec_has_no_conditions(void **state)
{
	const struct search_spec s = spec_of(3, 10, 8);
	struct message seven = search_spec_message;
	struct arena a = {0};
	struct buf wire = {0};
	struct search_spec got;

	(void)state;
	seven.nfields = 7;
	fields_pack(&seven, &s, &wire);
	assert_int_equal(
	    fields_unpack(&search_spec_message, wire.p, wire.n, &a, &got), OK);
	assert_int_equal(got.end, 10);
	assert_int_equal(got.terms.check_permille, 50);
	assert_int_equal(got.terms.balance, BALANCE_RATE);
	assert_null(got.terms.region);
	assert_int_equal(got.terms.backup.n, 0);
	buf_release(&wire);
	arena_release(&a);
}

/* The service that runs a lease can prove it, even later. */
static void test_a_lie_proved_outside_undoes_the_work(void **state)
{
	struct desk *d = *state;
	const struct search_spec s = spec_of(0, 40000, 8);
	struct arena a = {0};
	char id[JOB_ID_SIZE];

	submit(d, &s, id);
	join(d, 1, 10000);
	finish(d, 0);
	assert_true(info_of(d, id, &a).hashes > 0);
	jobs_lie(d->jobs, 12345, "nobody's", d->now);
	assert_int_equal(d->bad, 0);
	jobs_lie(d->jobs, d->leases[0].id, "its root has another leaf", d->now);
	assert_int_equal(d->proofs, 1);
	assert_string_equal(d->why, "its root has another leaf");
	assert_int_equal(info_of(d, id, &a).hashes, 0);
	jobs_lie(d->jobs, d->leases[0].id, "again", d->now);
	assert_int_equal(d->bad, 1);
	/* Nobody is left until an honest one comes. */
	const size_t before = d->n;
	join(d, 2, 10000);
	assert_true(d->n > before);
	work_it_off(d);
	assert_int_equal(info_of(d, id, &a).hashes, 40000);
	arena_release(&a);
}

static void offer(struct desk *d, const struct worker_offer *o)
{
	jobs_worker(d->jobs, CAP, o, d->now);
	jobs_tick(d->jobs, d->now);
}

/* Of five, one is what the job asks for. */
static void test_terms_choose_who_works(void **state)
{
	struct desk *d = *state;
	struct search_spec s = spec_of(0, 400000, 8);
	struct arena a = {0};
	char id[JOB_ID_SIZE];
	const struct worker_offer good = {.id = node(1),
					  .rate = 5000,
					  .rtt_ms = 1,
					  .price = 3,
					  .region = "eu",
					  .hardware = true};
	struct worker_offer slow = good, dear = good, far = good, soft = good;

	s.terms.min_rate = 4000;
	s.terms.max_price = 3;
	s.terms.region = (char[]){"EU"};
	s.terms.hardware = true;
	slow.id = node(2), slow.rate = 3999;
	dear.id = node(3), dear.price = 4;
	far.id = node(4), far.region = "us";
	soft.id = node(5), soft.hardware = false;
	submit(d, &s, id);
	offer(d, &slow);
	offer(d, &dear);
	offer(d, &far);
	offer(d, &soft);
	assert_int_equal(d->n, 0);
	offer(d, &good);
	assert_true(d->n > 0);
	for (size_t i = 0; i < d->n; i++) {
		const struct node_id one = node(1);

		assert_true(node_id_eq(&d->leases[i].worker, &one));
	}
	/* It leaves: the job fails, and says what is wrong with the others. */
	jobs_worker_gone(d->jobs, CAP, &good.id, d->now);
	for (int i = 0; i < 20 && !d->ended; i++)
		jobs_tick(d->jobs, d->now += 100);
	const struct job_info info = info_of(d, id, &a);
	assert_string_equal(info.error, "no-peer");
	assert_non_null(strstr(info.text, "1 too-slow (one does 4.00 kH/s, and "
					  "at least 4.00 kH/s is asked for)"));
	assert_non_null(strstr(info.text, "1 no-hardware"));
	assert_non_null(strstr(info.text, "1 region (one is in us, and EU"));
	assert_non_null(strstr(info.text, "1 too-dear (one asks 4 credits"));
	assert_string_equal(info.terms.region, "EU");
	assert_int_equal(info.terms.min_rate, 4000);
	arena_release(&a);
}

static void test_a_stranger_is_not_trusted_with_everything(void **state)
{
	struct desk *d = *state;
	struct search_spec s = spec_of(0, 40000, 8);
	char id[JOB_ID_SIZE];

	s.terms.trust = 501;
	submit(d, &s, id);
	join(d, 1, 5000);
	jobs_tick(d->jobs, d->now);
	assert_int_equal(d->n, 0);
	join(d, SELF, 5000);
	assert_true(d->n > 0);
}

static void test_turns_are_taken_one_after_the_other(void **state)
{
	struct desk *d = *state;
	struct search_spec s = spec_of(0, 400000, 8);
	char id[JOB_ID_SIZE];

	s.terms.balance = BALANCE_ROUND_ROBIN;
	for (uint8_t who = 1; who <= 3; who++)
		join(d, who, 5000u * who * who);
	submit(d, &s, id);
	/* Two for each; then who is done waits for the others. */
	assert_int_equal(d->n, 6);
	for (size_t i = 0; i < 6; i++) {
		const struct node_id want = node((uint8_t)(i % 3 + 1));

		assert_true(node_id_eq(&d->leases[i].worker, &want));
	}
	finish(d, 2);
	assert_int_equal(d->n, 6);
	finish(d, 0);
	assert_int_equal(d->n, 7);
	finish(d, 1);
	assert_int_equal(d->n, 9);
}

static void count(const char *id, void *arg)
{
	(void)id;
	++*(size_t *)arg;
}

static void test_old_jobs_are_forgotten(void **state)
{
	struct desk *d = *state;
	const struct search_spec s = spec_of(0, 10, 8);
	struct job_info info;
	struct arena a = {0};
	char first[JOB_ID_SIZE], id[JOB_ID_SIZE];
	size_t n = 0;

	for (size_t i = 0; i < JOB_MAX_KEPT + 10; i++) {
		submit(d, &s, i ? id : first);
		assert_int_equal(jobs_cancel(d->jobs, i ? id : first, d->now),
				 OK);
	}
	jobs_each(d->jobs, count, &n);
	assert_int_equal(n, JOB_MAX_KEPT);
	assert_int_equal(
	    jobs_info(d->jobs, first, JOB_BRIEF, d->now, &a, &info),
	    ERR_NOTFOUND);
	arena_release(&a);
}

/* Everything is a hit. */
static void zero_judge(void *arg, const uint8_t header[static HEADER_SIZE],
		       uint32_t nonce, uint8_t digest[static 32])
{
	(void)arg;
	(void)header;
	(void)nonce;
	memset(digest, 0, 32);
}

static void test_too_many_hits_fail_the_job(void **state)
{
	struct desk *d = *state;
	struct arena a = {0};
	const struct search_spec s = spec_of(0, 100000, 0);
	static uint32_t shares[5000];
	char id[JOB_ID_SIZE];

	jobs_set_judge(d->jobs, zero_judge, NULL);
	join(d, SELF, 1000000);
	submit(d, &s, id);
	for (size_t i = 0; i < d->n && !d->ended; i++) {
		const struct scan_work *w = &d->leases[i].work;
		const uint64_t n = w->end - w->start;

		assert_true(n <= 5000 && w->share_bits == 0);
		for (uint64_t k = 0; k < n; k++)
			shares[k] = (uint32_t)(w->start + k);
		jobs_progress(d->jobs, d->leases[i].id, w->end, shares, n,
			      d->now += 5);
		jobs_lease_end(d->jobs, d->leases[i].id, OK, n, d->now);
	}
	const struct job_info info = info_of(d, id, &a);
	assert_string_equal(info.error, "limit");
	assert_int_equal(info.hits.n, JOB_MAX_HITS);
	arena_release(&a);
}

static void test_snapshot_survives_the_wire(void **state)
{
	struct desk *d = *state;
	struct arena a = {0};
	struct buf wire = {0}, json = {0};
	struct job_info got;
	char id[JOB_ID_SIZE];

	begin(d, id);
	const struct job_info info = info_of(d, id, &a);
	assert_int_equal(info.computing, 1);
	assert_int_equal(info.assigned, 1);
	assert_true(info.pending > 0);
	assert_true(info.units.n == 2);
	fields_pack(&job_info_message, &info, &wire);
	assert_int_equal(
	    fields_unpack(&job_info_message, wire.p, wire.n, &a, &got), OK);
	assert_string_equal(got.job, info.job);
	assert_int_equal(got.units.n, 2);
	assert_string_equal(((struct job_unit *)got.units.items)[0].state,
			    "computing");
	fields_to_json(&job_info_message, &got, &json);
	assert_non_null(strstr(buf_str(&json), "\"all\":true"));
	buf_release(&wire);
	buf_release(&json);
	arena_release(&a);
}

static void test_a_boast_is_cut(void **state)
{
	struct desk *d = *state;
	const struct search_spec s = spec_of(0, 1000000, 0);
	const struct node_id id = node(1);
	char job[JOB_ID_SIZE];
	struct job_view v;

	join(d, 1, UINT64_MAX);
	submit(d, &s, job);
	assert_int_equal(jobs_view(d->jobs, job, &id, d->now, &v), OK);
	assert_true(v.c.rate <= 1e15); /* thousands of them fit 64 bits */
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(test_known_block_is_found),
	    T(test_a_boast_is_cut),
	    T(test_all_hits_are_found_in_order),
	    T(test_empty_range_says_so),
	    T(test_invented_share_is_proof),
	    T(test_share_out_of_place_is_proof),
	    T(test_share_above_the_prefix_is_proof),
	    T(test_repeated_share_is_proof),
	    T(test_more_than_the_unit_is_proof),
	    T(test_long_gap_is_suspicion),
	    T(test_end_before_the_end_is_suspicion),
	    T(test_unsigned_answer_is_suspicion),
	    T(test_withheld_share_is_seen_by_the_rescan),
	    T(test_a_replica_convicts_the_first),
	    T(test_a_replica_convicts_the_second),
	    T(test_own_device_that_errs_blames_nobody),
	    T(test_lost_worker_is_cut_at_its_prefix),
	    T(test_late_words_count_once),
	    T(test_refusing_worker_is_asked_again_later),
	    T(test_nobody_is_an_end),
	    T(test_a_second_peer_nobody_knows_is_not_waited_for_long),
	    T(test_cancel_stops_everybody),
	    T(test_bad_input_is_refused_with_a_sentence),
	    T(test_old_jobs_are_forgotten),
	    T(test_too_many_hits_fail_the_job),
	    T(test_snapshot_survives_the_wire),
	    T(test_a_shorter_spec_has_no_conditions),
	    T(test_a_lie_proved_outside_undoes_the_work),
	    T(test_terms_choose_who_works),
	    T(test_a_stranger_is_not_trusted_with_everything),
	    T(test_turns_are_taken_one_after_the_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
