/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Probes of peers by a coordinator without jobs. In this world the shares are
 * the multiples of 256, whatever the bits.
 */
#include "node/mesh/trust.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/mesh/job.h"

#define CAP "hash/sha256d"
#define EVERY 256u
#define MINUTE UINT64_C(60000)

static struct desk {
	struct jobs *jobs;
	uint64_t now, seed;
	/* the last of each */
	uint64_t scan_id, bad_lease, revoked, scan_cancelled;
	struct scan_work scan, work;
	struct lease lease;
	unsigned scans, leases, bads;
	enum err scan_err, assign_err;
	bool proof;
	enum job_lie lie;
	uint64_t lie_nonce;
	char job[JOB_ID_SIZE];
} d;

static uint64_t on_random(void *arg)
{
	(void)arg;
	uint64_t z = d.seed += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	return z ^ z >> 31;
}

static enum err on_assign(void *arg, const struct lease *l)
{
	(void)arg;
	if (d.assign_err)
		return d.assign_err;
	d.leases++;
	d.lease = *l;
	memcpy(d.job, l->job, sizeof(d.job));
	lease_scan(l, &d.work);
	return OK;
}

static void on_revoke(void *arg, uint64_t id)
{
	(void)arg;
	d.revoked = id;
}

static enum err on_rescan(void *arg, uint64_t id, const struct scan_work *w)
{
	(void)arg;
	d.scans++;
	d.scan_id = id;
	d.scan = *w;
	return d.scan_err;
}

static void on_cancel(void *arg, uint64_t id)
{
	(void)arg;
	d.scan_cancelled = id;
}

static void on_bad(void *arg, const struct node_id *id,
		   const struct job_proof *proof, const char *why)
{
	(void)arg, (void)id, (void)why;
	d.bads++;
	d.proof = proof != NULL;
	if (!proof)
		return;
	d.lie = proof->lie;
	d.lie_nonce = proof->nonce;
	d.bad_lease = proof->lease;
}

static void on_changed(void *arg, const char *job, bool ended)
{
	(void)arg, (void)job, (void)ended;
}

static const struct jobs_ops ops = {
    .random = on_random,
    .assign = on_assign,
    .revoke = on_revoke,
    .rescan = on_rescan,
    .rescan_cancel = on_cancel,
    .peer_bad = on_bad,
    .changed = on_changed,
};

static void judge(void *arg, const uint8_t header[static HEADER_SIZE],
		  uint32_t nonce, uint8_t digest[static 32])
{
	(void)arg, (void)header;
	memset(digest, nonce % EVERY ? 0xff : 0, 32);
}

static struct node_id peer(uint8_t i)
{
	struct node_id id;

	memset(id.b, i, sizeof(id.b));
	return id;
}

static void join(uint8_t i, uint64_t rate)
{
	const struct worker_offer o = {.id = peer(i), .rate = rate};

	jobs_worker(d.jobs, CAP, &o, d.now);
}

static int setup(void **state)
{
	const struct node_id self = peer(0xee);

	(void)state;
	memset(&d, 0, sizeof(d));
	d.seed = 5;
	d.now = 1000;
	d.jobs = jobs_new(&ops, NULL, &self);
	jobs_set_judge(d.jobs, judge, NULL);
	jobs_set_core_rate(d.jobs, 1000000);
	jobs_set_trust(d.jobs, &score_rules_default, MINUTE, 10000);
	jobs_set_wall(d.jobs, 1800000000000, d.now);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	jobs_free(d.jobs);
	return 0;
}

/* Time goes on until then. */
static void run(uint64_t until)
{
	uint64_t next = d.now;

	do {
		d.now = next;
		next = jobs_tick(d.jobs, d.now);
	} while (next <= until);
	d.now = until;
}

/* Until our device is asked for the n-th time. */
static void until_scan(unsigned n)
{
	const uint64_t end = d.now + 2 * MINUTE;

	while (d.scans < n && d.now < end)
		d.now = jobs_tick(d.jobs, d.now);
	assert_int_equal(d.scans, n);
}

static size_t shares_of(const struct scan_work *w, uint32_t *out)
{
	size_t n = 0;

	for (uint64_t x = (w->start + EVERY - 1) / EVERY * EVERY; x < w->end;
	     x += EVERY)
		out[n++] = (uint32_t)x;
	return n;
}

static uint32_t list[1 << 16];

static void scanned(void)
{
	const size_t n = shares_of(&d.scan, list);

	jobs_rescan_end(d.jobs, d.scan_id, OK, list, n, d.now);
}

/* A peer that was asked; the device has answered. */
static void ask(uint64_t rate)
{
	join(1, rate);
	until_scan(1);
	assert_int_equal(d.leases, 0);
	scanned();
	assert_int_equal(d.leases, 1);
}

static void tell(const uint32_t *shares, size_t n)
{
	jobs_progress(d.jobs, d.lease.id, d.work.end, shares, n, d.now);
}

static void end(enum err e)
{
	jobs_lease_end(d.jobs, d.lease.id, e, d.work.end - d.work.start, d.now);
}

static struct score score(uint8_t i)
{
	const struct node_id id = peer(i);
	struct peer_score s;

	assert_true(jobs_score(d.jobs, &id, d.now, &s));
	return s.score;
}

static double counted(enum score_event e)
{
	return score(1).count[e];
}

static void test_an_honest_answer_counts(void **state)
{
	(void)state;
	ask(4000000);
	const size_t n = shares_of(&d.work, list);

	/* In two words, as work comes. */
	const uint64_t half = list[n / 2];
	jobs_progress(d.jobs, d.lease.id, half, list, n / 2, d.now);
	jobs_progress(d.jobs, d.lease.id, half, list, n / 2, d.now); /* twice */
	jobs_progress(d.jobs, d.lease.id, d.work.end, list + n / 2, n - n / 2,
		      d.now);
	end(OK);
	assert_true(counted(SCORE_PROBE) > 0.99);
	assert_int_equal(d.bads, 0);
}

/* Like the last units of a job, and never the same. */
static void test_a_probe_looks_like_work(void **state)
{
	struct scan_work first;
	struct lease lease;
	char job[JOB_ID_SIZE];

	(void)state;
	ask(4000000);
	first = d.work;
	lease = d.lease;
	memcpy(job, d.job, sizeof(job));
	assert_memory_equal(&d.work, &d.scan, sizeof(d.work));
	assert_int_equal(strlen(job), 8);
	assert_int_equal(strspn(job, "0123456789abcdef"), 8);
	assert_int_equal(scan_work_check(&d.work), OK);
	assert_in_range(d.work.end - d.work.start, 1 << 14, 200000);
	assert_int_equal(d.work.share_bits, 11); /* of a unit of a second */
	assert_in_range(lease.expected_ms, 20, 60);

	tell(list, shares_of(&d.work, list));
	end(OK);
	until_scan(2);
	scanned();
	assert_int_equal(d.leases, 2);
	assert_memory_not_equal(d.work.header, first.header, 76);
	assert_int_not_equal(d.work.start, first.start);
	assert_int_not_equal(d.lease.id, lease.id);
	assert_string_not_equal(d.job, job);
}

/* A boaster costs us no more than a tenth of a second of a core. */
static void test_our_own_scan_is_bounded(void **state)
{
	(void)state;
	ask(UINT64_C(1000000000000));
	assert_true(d.work.end - d.work.start <= 100000);
	assert_true((d.work.end - d.work.start) >> d.work.share_bits >= 16);
}

static void test_a_missing_share_is_proof_once_it_is_signed(void **state)
{
	(void)state;
	ask(4000000);
	const size_t n = shares_of(&d.work, list);
	const uint32_t left = list[3];

	memmove(list + 3, list + 4, (n - 4) * sizeof(*list));
	tell(list, n - 1);
	assert_int_equal(d.bads, 0);
	end(OK);
	assert_int_equal(d.bads, 1);
	assert_true(d.proof);
	assert_int_equal(d.lie, JOB_LIE_MISSING);
	assert_int_equal(d.lie_nonce, left);
	assert_int_equal(d.bad_lease, d.lease.id);
	assert_int_equal(score(1).state, SCORE_BARRED);
	/* Nothing more for it. */
	run(d.now + 100 * MINUTE);
	assert_int_equal(d.scans, 1);
}

static void test_the_last_share_missing_is_seen(void **state)
{
	(void)state;
	ask(4000000);
	const size_t n = shares_of(&d.work, list);

	tell(list, n - 1);
	end(OK);
	assert_int_equal(d.lie, JOB_LIE_MISSING);
	assert_int_equal(d.lie_nonce, list[n - 1]);
}

static void test_an_invented_share_is_proof(void **state)
{
	(void)state;
	ask(4000000);
	const size_t n = shares_of(&d.work, list);

	memmove(list + 3, list + 2, (n - 2) * sizeof(*list));
	list[2] = list[1] + 1;
	tell(list, n + 1);
	end(OK);
	assert_true(d.proof);
	assert_int_equal(d.lie, JOB_LIE_FALSE);
	assert_int_equal(d.lie_nonce, list[2]);
}

static void test_a_share_outside_is_proof(void **state)
{
	(void)state;
	ask(4000000);
	const size_t n = shares_of(&d.work, list);

	list[n] = list[n - 1] + EVERY;
	tell(list, n + 1);
	end(OK);
	assert_true(d.proof);
	assert_int_equal(d.lie, JOB_LIE_PLACE);
}

/* Our device may err as well: a true share that we lack accuses nobody. */
static void test_our_own_mistake_accuses_nobody(void **state)
{
	(void)state;
	join(1, 4000000);
	until_scan(1);
	size_t n = shares_of(&d.scan, list);

	memmove(list + 3, list + 4, (n - 4) * sizeof(*list));
	jobs_rescan_end(d.jobs, d.scan_id, OK, list, n - 1, d.now);
	assert_int_equal(d.leases, 1);
	tell(list, shares_of(&d.work, list));
	end(OK);
	assert_int_equal(d.bads, 0);
	assert_true(counted(SCORE_PROBE) < 0.01);
	assert_true(counted(SCORE_MISSED) < 0.01);

	/* And what is no share at all is not even asked. */
	until_scan(2);
	n = shares_of(&d.scan, list);
	list[0]++;
	jobs_rescan_end(d.jobs, d.scan_id, OK, list, n, d.now);
	assert_int_equal(d.leases, 1);
}

static void test_silence_is_taken_back_and_counted(void **state)
{
	(void)state;
	ask(4000000);
	const uint64_t lease = d.lease.id;

	run(d.now + 10000);
	assert_int_equal(d.revoked, 0);
	run(d.now + 200);
	assert_int_equal(d.revoked, lease);
	assert_true(counted(SCORE_MISSED) > 0.99);
	/* Late words are nobody's. */
	tell(list, shares_of(&d.work, list));
	end(OK);
	assert_true(counted(SCORE_PROBE) < 0.01);
}

static void test_other_ends(void **state)
{
	(void)state;
	ask(4000000);
	end(ERR_BUSY); /* a lender may */
	assert_true(counted(SCORE_BUSY) > 0.99);
	until_scan(2);
	scanned();
	end(OK); /* but not a word about its shares */
	assert_true(counted(SCORE_MISSED) > 0.99);
	until_scan(3);
	scanned();
	end(ERR_GONE);
	assert_true(counted(SCORE_GONE) > 0.99);
	assert_int_equal(d.bads, 0);
	until_scan(4);
	scanned();
	end(ERR_CRYPTO); /* no signature */
	assert_int_equal(d.bads, 1);
	assert_false(d.proof);
	assert_int_equal(score(1).state, SCORE_QUARANTINED);
}

static void test_one_that_leaves_is_forgotten(void **state)
{
	const struct node_id id = peer(1);

	(void)state;
	ask(4000000);
	jobs_worker_gone(d.jobs, CAP, &id, d.now);
	assert_int_equal(d.revoked, d.lease.id);
	join(1, 4000000);
	until_scan(2);
	jobs_worker_gone(d.jobs, CAP, &id, d.now);
	assert_int_equal(d.scan_cancelled, d.scan_id);
	scanned(); /* too late */
	assert_int_equal(d.leases, 1);
}

/* One scan of ours at a time, and one probe for a peer. */
static void test_many_peers_are_asked_one_after_the_other(void **state)
{
	(void)state;
	jobs_set_trust(d.jobs, &score_rules_default, MINUTE, MINUTE);
	for (uint8_t i = 1; i <= 100; i++)
		join(i, 4000000);
	until_scan(1);
	run(d.now + 1000);
	assert_int_equal(d.scans, 1);
	for (unsigned i = 0; i < 400; i++) {
		if (d.scans > d.leases)
			scanned();
		run(d.now + 50);
	}
	assert_int_equal(d.leases, CHALLENGES_MAX);
}

static void test_none_without_an_interval_or_a_device(void **state)
{
	(void)state;
	d.scan_err = ERR_DEVICE;
	join(1, 4000000);
	run(d.now + 2 * MINUTE);
	const unsigned scans = d.scans;
	assert_in_range(scans, 1, 20);
	assert_int_equal(d.leases, 0);
	assert_true(counted(SCORE_MISSED) < 0.01);
	d.scan_err = OK;
	jobs_set_trust(d.jobs, &score_rules_default, 0, 10000);
	run(d.now + 100 * MINUTE);
	assert_int_equal(d.scans, scans);
}

/* Very many keys that were proven to cheat do not shield the next one. */
static void test_one_cheat_too_many_is_remembered(void **state)
{
	struct node_id id = peer(200);

	(void)state;
	for (uint32_t i = 0; i <= TRUST_MAX; i++) {
		put_be32(id.b, i);
		jobs_bar(d.jobs, &id, "proof from elsewhere", d.now);
		/* As if on disk by now. */
		struct evidence_total total;
		struct node_id who;
		struct score s;

		assert_true(jobs_scored_next(d.jobs, &who, &s, &total));
		assert_true(jobs_barred(d.jobs, &id));
	}
}

static void test_bars_pardons_and_scores_from_elsewhere(void **state)
{
	const struct node_id id = peer(1), other = peer(2);
	struct score s = {0};
	struct evidence_total total;
	struct node_id who;
	uint64_t quarantined, barred;

	(void)state;
	join(1, 4000000);
	jobs_bar(d.jobs, &id, "proof from elsewhere", d.now);
	assert_int_equal(d.bads, 1);
	assert_int_equal(d.lie, JOB_LIE_ELSEWHERE);
	jobs_bar(d.jobs, &id, "again", d.now);
	assert_int_equal(d.bads, 1);
	jobs_bar(d.jobs, &other, "never seen", d.now);
	assert_true(jobs_barred(d.jobs, &other));
	jobs_shut_out(d.jobs, &quarantined, &barred);
	assert_int_equal(barred, 2);
	assert_true(jobs_scored_next(d.jobs, &who, &s, &total));
	assert_true(node_id_eq(&who, &id));
	assert_true(jobs_scored_next(d.jobs, &who, &s, &total));
	assert_false(jobs_scored_next(d.jobs, &who, &s, &total));
	assert_int_equal(s.state, SCORE_BARRED);

	/* Back by three clean probes. */
	run(d.now + 3 * MINUTE);
	assert_int_equal(d.scans, 0);
	jobs_pardon(d.jobs, &id, d.now);
	for (unsigned i = 1; i <= 3; i++) {
		run(d.now + 2000);
		assert_int_equal(d.scans, i);
		scanned();
		tell(list, shares_of(&d.work, list));
		end(OK);
	}
	assert_int_equal(score(1).state, SCORE_TRUSTED);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_an_honest_answer_counts),
	    TEST(test_a_probe_looks_like_work),
	    TEST(test_our_own_scan_is_bounded),
	    TEST(test_a_missing_share_is_proof_once_it_is_signed),
	    TEST(test_the_last_share_missing_is_seen),
	    TEST(test_an_invented_share_is_proof),
	    TEST(test_a_share_outside_is_proof),
	    TEST(test_our_own_mistake_accuses_nobody),
	    TEST(test_silence_is_taken_back_and_counted),
	    TEST(test_other_ends),
	    TEST(test_one_that_leaves_is_forgotten),
	    TEST(test_many_peers_are_asked_one_after_the_other),
	    TEST(test_none_without_an_interval_or_a_device),
	    TEST(test_one_cheat_too_many_is_remembered),
	    TEST(test_bars_pardons_and_scores_from_elsewhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
