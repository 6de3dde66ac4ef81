/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Two nodes work for each other over a network that loses, doubles and
 * reorders, on machines whose power fails at any moment and whose disks are
 * now and then put back to an earlier state; in the end their books agree, or
 * the first point where they do not is named. HN_SEEDS=n runs more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "node/base/log.h"
#include "node/mesh/ledger_impl.h"
#include "test/support/books.h"
#include "test/support/ledger_world.h"

#define STEPS 60

static unsigned seeds(void)
{
	const char *n = getenv("HN_SEEDS");

	return n ? (unsigned)strtoul(n, NULL, 10) : 12;
}

static bool audit(struct world *w, struct buf *where)
{
	struct audit *a = audit_new();

	world_export(w, 0, a);
	world_export(w, 1, a);
	const bool equal = audit_end(a, where);

	buf_str(where);
	audit_free(a);
	return equal;
}

/* Sums in memory are those on disk. */
static void check_sums(struct world *w, unsigned node)
{
	const int64_t issued = world_count(
	    w, node,
	    "SELECT coalesce(max(total), 0) FROM receipts WHERE side "
	    "= 0");
	const int64_t earned = world_count(
	    w, node,
	    "SELECT coalesce(max(total), 0) FROM receipts WHERE side "
	    "= 1");
	const int64_t open =
	    world_count(w, node,
			"SELECT coalesce(sum(credit), 0) FROM served "
			"WHERE state = 0");
	const int64_t owed = earned + open - issued;

	assert_int_equal(ledger_owed(world_ledger(w, node), world_id(w, !node)),
			 owed > 0 ? owed : 0);
}

/* What is true of a node's books at any moment. */
static void check_books(struct world *w, unsigned node)
{
	/* An answer is paid if and only if it has a receipt, one. */
	assert_int_equal(
	    world_count(w, node,
			"SELECT count(*) FROM answers a WHERE (state = 1) <> "
			"((SELECT count(*) FROM receipts r WHERE r.side = 0 "
			"AND r.job = a.job AND r.lease = a.lease) = 1)"),
	    0);
	/* Numbers have no holes. */
	assert_int_equal(
	    world_count(w, node,
			"SELECT count(*) FROM (SELECT max(seq) - min(seq) + 1 "
			"- count(*) AS d FROM receipts GROUP BY chain) WHERE d "
			"<> 0"),
	    0);
}

static void one_step(struct world *w, unsigned step, bool roll_back)
{
	const unsigned node = (unsigned)world_random(w, 2);
	char job[16];

	snprintf(job, sizeof(job), "job%u", step / 20);
	for (uint64_t n = world_random(w, 3); n--;)
		world_work(w, node, job, 1 + world_random(w, 1 << 22));
	if (!world_random(w, 10))
		world_job_ended(w, (unsigned)world_random(w, 2), job);
	if (!world_random(w, 12)) {
		const unsigned down = (unsigned)world_random(w, 2);

		world_crash(w, down, world_random(w, 3000));
	}
	if (roll_back && step == STEPS / 3)
		world_snapshot(w, 0);
	if (roll_back && step == STEPS * 2 / 3) {
		world_crash(w, 0, 500);
		world_roll_back(w, 0);
	}
	world_run(w, world_random(w, 2000));
	check_books(w, 0);
	check_books(w, 1);
}

static void one_seed(uint64_t seed, bool roll_back)
{
	const struct world_options o = {
	    .seed = seed, .loss = 150, .twice = 100};
	struct world *w = world_new(&o);
	struct buf where = {0};

	for (unsigned step = 0; step < STEPS; step++)
		one_step(w, step, roll_back);
	/* Time for all that was accepted to be paid and told. */
	world_run(w, 400000);
	for (unsigned i = 0; i < 2; i++) {
		check_books(w, i);
		check_sums(w, i);
		assert_int_equal(world_count(w, i,
					     "SELECT count(*) FROM answers "
					     "WHERE state = 0"),
				 0);
		assert_int_equal(
		    world_count(w, i, "SELECT count(*) FROM disputes"), 0);
	}
	if (!audit(w, &where))
		fail_msg("seed %llu: %s", (unsigned long long)seed,
			 buf_str(&where));
	assert_true(
	    world_count(w, 0, "SELECT count(*) FROM receipts WHERE side = 0") +
		world_count(w, 1,
			    "SELECT count(*) FROM receipts WHERE side = 0") >
	    10);
	buf_release(&where);
	world_free(w);
}

static void test_books_agree_after_losses_and_crashes(void **state)
{
	(void)state;
	for (unsigned i = 1; i <= seeds(); i++)
		one_seed(i, false);
}

static void test_a_disk_put_back_forks_no_chain(void **state)
{
	(void)state;
	for (unsigned i = 1; i <= seeds(); i++)
		one_seed(1000 + i, true);
}

static void test_who_cheated_is_not_paid(void **state)
{
	struct world *w = world_new(&(struct world_options){.seed = 7});

	(void)state;
	for (unsigned i = 0; i < 5; i++)
		world_work(w, 1, "a", 5000);
	world_run(w, 40000);
	for (unsigned i = 0; i < 3; i++)
		world_work(w, 1, "b", 5000);
	world_run(w, 1000);
	world_drop(w, 0);
	world_job_ended(w, 0, "b");
	world_run(w, 100000);
	assert_int_equal(world_count(w, 0, "SELECT count(*) FROM receipts"), 5);
	assert_int_equal(world_count(w, 1, "SELECT count(*) FROM receipts"), 5);
	assert_int_equal(
	    world_count(w, 0, "SELECT count(*) FROM answers WHERE state = 2"),
	    3);
	check_sums(w, 1);
	world_free(w);
}

static void on_answer(void *arg, const struct ledger_answer *a)
{
	uint64_t *lease = arg;

	*lease = a ? a->lease : 0;
	if (!a)
		return;
	assert_int_equal(a->nshares, 3);
	assert_int_equal(a->shares[2], 4000000000);
	assert_string_equal(a->kind, "search");
	assert_true(
	    node_id_verify(&a->worker, ANSWER_PURPOSE, &a->text, 1, a->sig));
}

static void test_answers_are_found_again(void **state)
{
	struct world *w = world_new(&(struct world_options){.seed = 7});
	uint64_t found = 99;

	(void)state;
	const uint64_t lease = world_work(w, 1, "a", 5000);

	world_run(w, 1000);
	ledger_find_answer(world_ledger(w, 0), "a", lease, on_answer, &found);
	world_run(w, 1000);
	assert_int_equal(found, lease);
	ledger_find_answer(world_ledger(w, 0), "a", lease + 1, on_answer,
			   &found);
	world_run(w, 1000);
	assert_int_equal(found, 0);
	world_free(w);
}

#define DAY_MS (UINT64_C(24) * 3600 * 1000)

static void test_old_receipts_go_and_totals_stay(void **state)
{
	struct world *w = world_new(&(struct world_options){.seed = 7});
	struct buf where = {0};

	(void)state;
	world_snapshot(w, 1); /* empty */
	for (unsigned i = 0; i < 5; i++)
		world_work(w, 1, "a", 500000);
	world_run(w, 60000);
	assert_int_equal(world_count(w, 1, "SELECT count(*) FROM receipts"), 5);
	const uint64_t owed = ledger_owed(world_ledger(w, 1), world_id(w, 0));
	world_run(w, 91 * DAY_MS);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(world_count(w, i, "SELECT seq FROM receipts"),
				 5);
		assert_int_equal(
		    world_count(w, i, "SELECT count(*) FROM receipts"), 1);
		assert_int_equal(
		    world_count(w, i, "SELECT count(*) FROM answers"), 0);
	}
	/* Even to a worker that has lost everything. */
	world_crash(w, 1, 1000);
	world_roll_back(w, 1);
	world_run(w, 10000);
	world_work(w, 1, "b", 4096);
	world_run(w, 60000);
	assert_int_equal(ledger_owed(world_ledger(w, 1), world_id(w, 0)),
			 owed + 1);
	check_sums(w, 1);
	assert_true(audit(w, &where));
	buf_release(&where);
	world_free(w);
}

/* Liars */

enum lie { LIE_FORK, LIE_TOTAL, LIE_WORK, LIE_NOT_SIGNED };

static struct receipt *number(struct receipt_put *q, uint64_t seq)
{
	struct receipt *rows = q->receipts.items;

	for (size_t i = 0; i < q->receipts.n; i++)
		if (rows[i].seq == seq)
			return &rows[i];
	return NULL;
}

/* Signed anew as it stands, whatever it says. */
static void sign_again(struct receipt *r, uint64_t total,
		       const struct identity *me)
{
	struct chain_head h = {r->seq - 1, total, {0}};

	memcpy(h.hash, r->prev, 32);
	const enum err e = receipt_sign(r, &h, me);

	assert_int_equal(e, OK);
}

#define WHERE 4 /* the number that is lied about */

static void lie(void *arg, struct receipt_put *q, const struct identity *me)
{
	const enum lie kind = *(enum lie *)arg;
	struct receipt *r = number(q, WHERE);

	if (!r)
		return;
	const uint64_t before = r->total - r->credit;

	switch (kind) {
	case LIE_FORK:
		r->time_ms++;
		sign_again(r, before, me);
		break;
	case LIE_TOTAL:
		sign_again(r, before - 1, me);
		break;
	case LIE_WORK:
		r->amount -= 4096;
		r->credit--;
		sign_again(r, before, me);
		break;
	case LIE_NOT_SIGNED:
		r->amount -= 4096;
		break;
	}
}

static const struct {
	enum lie kind;
	const char *what; /* the worker's words; NULL: no point to record */
	int64_t at, kept;
} lies[] = {
    {LIE_FORK, "does not follow", WHERE + 1, WHERE},
    {LIE_TOTAL, "total is wrong", WHERE, WHERE - 1},
    {LIE_WORK, "amount", WHERE, WHERE - 1},
    {LIE_NOT_SIGNED, NULL, 0, WHERE - 1},
};

static void test_a_lie_ends_with_the_point_where_it_is(void **state)
{
	(void)state;
	for (size_t i = 0; i < HN_COUNT(lies); i++) {
		const struct world_options o = {
		    .seed = 50 + i, .loss = 100, .twice = 100};
		struct world *w = world_new(&o);
		struct buf where = {0};
		enum lie kind = lies[i].kind;

		world_liar(w, 0, lie, &kind);
		for (unsigned k = 0; k < 8; k++) {
			world_work(w, 1, "a", 500000);
			world_run(w, 35000);
		}
		world_run(w, 200000);
		assert_int_equal(
		    world_count(w, 1, "SELECT max(seq) FROM receipts"),
		    lies[i].kept);
		assert_int_equal(
		    world_count(w, 1, "SELECT count(*) FROM disputes"),
		    lies[i].what != NULL);
		if (lies[i].what) {
			char *sql = xasprintf("SELECT seq FROM disputes WHERE "
					      "what LIKE '%%%s%%'",
					      lies[i].what);
			assert_int_equal(world_count(w, 1, sql), lies[i].at);
			/* And the other side heard of it. */
			assert_int_equal(world_count(w, 0, sql), lies[i].at);
			free(sql);
		} else {
			assert_true(
			    ledger_counters(world_ledger(w, 1))->forged > 0);
		}
		assert_false(audit(w, &where));
		assert_non_null(strstr(buf_str(&where), "number"));
		/* What was not paid is still owed. */
		check_sums(w, 1);
		buf_release(&where);
		world_free(w);
	}
}

/* The submitter pays one lease in two receipts. */
static void test_a_lease_is_not_paid_twice(void **state)
{
	struct world *w = world_new(&(struct world_options){.seed = 3});

	(void)state;
	world_work(w, 1, "a", 5000);
	world_run(w, 60000);
	assert_int_equal(world_count(w, 1, "SELECT max(seq) FROM receipts"), 1);
	/* Written past the ledger, into its table. */
	assert_int_equal(
	    world_count(w, 0,
			"UPDATE receipts SET job = 'other' RETURNING seq"),
	    1);
	assert_int_equal(
	    world_count(w, 0,
			"UPDATE answers SET state = 0, due = 0 RETURNING "
			"lease"),
	    1);
	world_work(w, 1, "b", 5000);
	world_run(w, 60000);
	assert_int_equal(
	    world_count(w, 0, "SELECT count(*) FROM receipts WHERE lease = 1"),
	    2);
	assert_int_equal(world_count(w, 1,
				     "SELECT count(*) FROM disputes "
				     "WHERE what LIKE '%paid before%'"),
			 1);
	assert_int_equal(
	    world_count(w, 1, "SELECT count(*) FROM receipts WHERE lease = 1"),
	    1);
	world_free(w);
}

static struct arena arenas; /* of what a liar says; to the end of its test */

/* The work is that of a key of the submitter's own, and next to nothing. */
static void pay_with_own_work(void *arg, struct receipt_put *q,
			      const struct identity *me)
{
	struct identity *puppet = arg;
	struct receipt *rows = q->receipts.items;
	struct arena a = {0};
	struct buf text = {0}, why = {0};

	for (size_t i = 0; i < q->receipts.n; i++) {
		struct receipt *r = &rows[i];
		struct chain_head h = {.seq = r->seq - 1,
				       .total = r->total - r->credit};
		const struct bytes t =
		    search_text(&text, r->job, r->lease, 0, 4096);

		memcpy(h.hash, r->prev, 32);
		memcpy(r->worker, identity_id(puppet)->b, 32);
		identity_sign(puppet, ANSWER_PURPOSE, &t, 1, r->answer_sig);
		assert_int_equal(receipt_fill(r, "search", t, &a, &why), OK);
		assert_int_equal(receipt_sign(r, &h, me), OK);
		/* What it points to lives with the message. */
		struct receipt copy;

		fields_copy(&receipt_message, r, &arenas, &copy);
		*r = copy;
	}
	buf_release(&text);
	buf_release(&why);
	arena_release(&a);
}

static void test_only_our_own_work_is_paid_to_us(void **state)
{
	struct world *w = world_new(&(struct world_options){.seed = 4});
	struct identity *puppet = identity_random();

	(void)state;
	world_liar(w, 0, pay_with_own_work, puppet);
	world_work(w, 1, "a", UINT64_C(1) << 32);
	world_run(w, 60000);
	assert_int_equal(world_count(w, 1, "SELECT count(*) FROM receipts"), 0);
	assert_int_equal(
	    world_count(w, 1, "SELECT count(*) FROM served WHERE state = 0"),
	    1);
	assert_int_equal(ledger_owed(world_ledger(w, 1), world_id(w, 0)),
			 CREDIT_PARTS);
	assert_true(ledger_counters(world_ledger(w, 1))->forged > 0);
	world_crash(w, 1, 10);
	world_run(w, 60000);
	assert_int_equal(ledger_owed(world_ledger(w, 1), world_id(w, 0)),
			 CREDIT_PARTS);
	world_free(w);
	identity_free(puppet);
	arena_release(&arenas);
}

/* The same lease again, with more work: counted, although it is never paid. */
static void test_a_lease_served_again_is_owed(void **state)
{
	struct world *w = world_new(&(struct world_options){.seed = 5});
	const struct node_id *to = world_id(w, 0);
	const uint8_t sig[SIGN_SIZE] = {0};
	struct buf b = {0};

	(void)state;
	world_work(w, 1, "a", 4096);
	world_run(w, 60000);
	assert_int_equal(world_count(w, 1, "SELECT state FROM served"), 1);
	ledger_served(world_ledger(w, 1), to, to, "search",
		      search_text(&b, "a", 1, 0, 4096 * 1000), sig);
	world_run(w, 10000);
	assert_int_equal(ledger_owed(world_ledger(w, 1), to), 1001);
	check_sums(w, 1);
	buf_release(&b);
	world_free(w);
}

/* Sessions of keys that are made by the thousand. */
static void test_who_only_came_by_is_forgotten(void **state)
{
	struct world *w = world_new(&(struct world_options){.seed = 6});
	struct ledger *l = world_ledger(w, 0);
	struct node_id id = {{9}};

	(void)state;
	world_work(w, 1, "a", 4096);
	world_run(w, 60000);
	for (unsigned i = 0; i < 50; i++) {
		id.b[1] = (uint8_t)i;
		ledger_peer_up(l, &id, &id);
		if (i % 2)
			world_run(w, 1000);
		ledger_peer_down(l, &id);
	}
	world_run(w, 1000);
	assert_int_equal(HASH_COUNT(l->chains), 1);
	/* The other one's chain goes on. */
	world_work(w, 1, "a", 4096);
	world_run(w, 60000);
	assert_int_equal(world_count(w, 1, "SELECT max(seq) FROM receipts"), 2);
	world_free(w);
}

/* Peers that disagree all day fill no disk: not even for an hour. */
static void test_a_flood_of_disputes_is_swept(void **state)
{
	struct world *w = world_new(&(struct world_options){.seed = 7});
	struct ledger *l = world_ledger(w, 0);
	const uint8_t hash[32] = {0};

	(void)state;
	world_run(w, 1000);
	for (unsigned i = 0; i < 9000; i++) {
		dispute(l, hash, i + 1, hash, hash, world_id(w, 1), "made up");
		if (i % 50 == 0)
			world_run(w, 2000);
	}
	world_run(w, 2000);
	assert_true(world_count(w, 0, "SELECT count(*) FROM disputes") < 5200);
	assert_int_equal(world_count(w, 0, "SELECT max(seq) FROM disputes"),
			 9000);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_books_agree_after_losses_and_crashes),
	    cmocka_unit_test(test_a_disk_put_back_forks_no_chain),
	    cmocka_unit_test(test_who_cheated_is_not_paid),
	    cmocka_unit_test(test_answers_are_found_again),
	    cmocka_unit_test(test_old_receipts_go_and_totals_stay),
	    cmocka_unit_test(test_a_lie_ends_with_the_point_where_it_is),
	    cmocka_unit_test(test_a_lease_is_not_paid_twice),
	    cmocka_unit_test(test_only_our_own_work_is_paid_to_us),
	    cmocka_unit_test(test_a_lease_served_again_is_owed),
	    cmocka_unit_test(test_who_only_came_by_is_forgotten),
	    cmocka_unit_test(test_a_flood_of_disputes_is_swept),
	};

	if (sodium_init() < 0)
		return 1;
	log_setup(getenv("HN_LOG") ? LOG_DEBUG : LOG_ERROR, LOG_TEXT, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
