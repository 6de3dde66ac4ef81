/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/site.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/buf.h"
#include "node/base/mem.h"

/*
 * A site on a virtual clock: members work at their rates in steps of STEP_MS,
 * in the way that each has; what is told outside is compared with the truth.
 */
#define STEP_MS 10
#define MEMBERS 4
#define HELD 32
#define BITS 10

enum way {
	HONEST,
	SILENT, /* after a second: says nothing more */
	DIES,	/* after a second: its session goes */
	BUSY,	/* after a second: hands everything back */
	SLOWS,	/* after a second: a fiftieth of its rate */
	SKIPS,	/* tells only half of the shares */
	LAZY	/* claims the end at once, without shares */
};

struct held {
	uint64_t id, below, end;
	bool revoked;
};

struct worker {
	enum way way;
	uint64_t rate;
	struct held held[HELD];
	size_t n;
	uint64_t did;
	bool out;
};

struct lease {
	uint64_t below, end, hashes;
	struct site_lease *l;
	uint64_t shares;
	bool done;
};

struct check {
	uint64_t part, start, end;
	bool open;
};

static struct world {
	struct site *s;
	struct worker w[MEMBERS];
	struct check checks[64];
	uint64_t now, seed, lies, checked;
	bool refuse_checks, differ;
} w;

static bool is_share(uint64_t nonce)
{
	return (nonce * UINT64_C(0x9e3779b97f4a7c15) >> 33) % (1u << BITS) == 0;
}

static size_t shares_of(uint64_t start, uint64_t end, uint32_t *out, size_t max)
{
	size_t n = 0;

	for (uint64_t x = start; x < end; x++)
		if (is_share(x)) {
			assert_true(n < max);
			out[n++] = (uint32_t)x;
		}
	return n;
}

static struct node_id id_of(size_t i)
{
	struct node_id id = {{0}};

	id.b[0] = (uint8_t)(i + 1);
	return id;
}

static uint64_t op_random(void *arg)
{
	(void)arg;
	w.seed = w.seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return w.seed >> 20;
}

static bool op_assign(void *arg, const struct site_part *p)
{
	struct worker *x = &w.w[p->member.b[0] - 1];

	(void)arg;
	assert_true(x->n < HELD);
	assert_int_equal(p->own, p->member.b[0] == 1);
	x->held[x->n++] = (struct held){p->id, p->start, p->end, false};
	return true;
}

static void op_revoke(void *arg, uint64_t part)
{
	(void)arg;
	for (size_t i = 0; i < MEMBERS; i++)
		for (size_t k = 0; k < w.w[i].n; k++)
			if (w.w[i].held[k].id == part) {
				w.w[i].held[k].revoked = true;
				return;
			}
	fail_msg("part %llu is in nobody's hands", (unsigned long long)part);
}

static bool op_check(void *arg, uint64_t part, void *lease_arg, uint64_t start,
		     uint64_t end)
{
	(void)arg, (void)lease_arg;
	if (w.refuse_checks)
		return false;
	assert_true(start < end);
	for (size_t i = 0; i < HN_COUNT(w.checks); i++)
		if (!w.checks[i].open) {
			w.checks[i] = (struct check){part, start, end, true};
			w.checked += end - start;
			return true;
		}
	fail_msg("too many checks");
	return false;
}

static void op_check_cancel(void *arg, uint64_t part)
{
	(void)arg;
	for (size_t i = 0; i < HN_COUNT(w.checks); i++)
		if (w.checks[i].open && w.checks[i].part == part) {
			w.checks[i].open = false;
			return;
		}
	fail_msg("no such check");
}

static void op_lied(void *arg, const struct node_id *member, const char *why)
{
	(void)arg;
	print_message("member %d: %s\n", member->b[0], why);
	assert_int_not_equal(member->b[0], 1);
	w.lies |= UINT64_C(1) << member->b[0];
}

static void op_progress(void *lease_arg, uint64_t below, const uint32_t *shares,
			size_t n)
{
	struct lease *l = lease_arg;
	uint32_t *truth = xcalloc(1 << 16, sizeof(*truth));

	assert_false(l->done);
	assert_true(below >= l->below && below <= l->end);
	size_t want = shares_of(l->below, below, truth, 1 << 16);
	assert_int_equal(n, want);
	if (n)
		assert_memory_equal(shares, truth, n * sizeof(*truth));
	l->below = below;
	l->shares += n;
	free(truth);
}

static void op_done(void *lease_arg, uint64_t hashes)
{
	struct lease *l = lease_arg;

	assert_int_equal(l->below, l->end);
	l->done = true;
	l->hashes = hashes;
}

static const struct site_ops ops = {.random = op_random,
				    .assign = op_assign,
				    .revoke = op_revoke,
				    .check = op_check,
				    .check_cancel = op_check_cancel,
				    .lied = op_lied,
				    .progress = op_progress,
				    .done = op_done};

static void begin(const enum way ways[MEMBERS], const uint64_t rates[MEMBERS])
{
	memset(&w, 0, sizeof(w));
	w.seed = 7;
	w.s = site_new(&ops, NULL);
	for (size_t i = 0; i < MEMBERS && rates[i]; i++) {
		struct node_id id = id_of(i);
		w.w[i].way = ways[i];
		w.w[i].rate = rates[i];
		site_member(w.s, &id, i == 0, rates[i], 2, 0);
	}
}

static void drop_first(struct worker *x)
{
	memmove(x->held, x->held + 1, --x->n * sizeof(x->held[0]));
}

static void say(struct worker *x, struct held *h, uint64_t below)
{
	static uint32_t shares[1 << 16];
	size_t n = 0;

	if (x->way != LAZY)
		n = shares_of(h->below, below, shares, HN_COUNT(shares));
	if (x->way == SKIPS)
		n /= 2;
	site_progress(w.s, h->id, below, shares, n, w.now);
}

static void work(size_t i)
{
	struct worker *x = &w.w[i];
	const bool late = w.now >= 1000;
	uint64_t left = x->rate * STEP_MS / 1000;

	if (x->out || (late && x->way == SILENT))
		return;
	if (late && x->way == SLOWS)
		left /= 50;
	if (late && x->way == DIES) {
		struct node_id id = id_of(i);
		x->out = true;
		site_member_gone(w.s, &id, w.now);
		return;
	}
	while (x->n && left) {
		struct held h = x->held[0];
		uint64_t n = h.end - h.below;
		if (h.revoked) {
			drop_first(x);
			continue;
		}
		if (late && x->way == BUSY) {
			drop_first(x);
			site_end(w.s, h.id, ERR_BUSY, w.now);
			continue;
		}
		n = x->way == LAZY || n < left ? n : left;
		left -= n < left ? n : left;
		x->did += n;
		x->held[0].below += n;
		bool end = h.below + n == h.end;
		if (end)
			drop_first(x);
		say(x, &h, h.below + n);
		if (end)
			site_end(w.s, h.id, OK, w.now);
	}
}

static void answer_checks(void)
{
	static uint32_t shares[1 << 16];

	for (size_t i = 0; i < HN_COUNT(w.checks); i++) {
		struct check c = w.checks[i];
		if (!c.open)
			continue;
		w.checks[i].open = false;
		size_t n = shares_of(c.start, c.end, shares, HN_COUNT(shares));
		/* As if there were one more than was told. */
		if (w.differ)
			shares[n++] = (uint32_t)c.end - 1;
		w.differ = false;
		site_checked(w.s, c.part, OK, shares, n, w.now);
	}
}

/* Until all leases are done; the virtual ms it took. */
static uint64_t run(struct lease *leases, size_t n)
{
	uint64_t next = 0;
	size_t done = 0;

	for (size_t i = 0; i < n; i++)
		leases[i].l =
		    site_lease_new(w.s, leases[i].below, leases[i].end, BITS,
				   i % 2, &leases[i], 0);
	for (; done < n && w.now < 120000; w.now += STEP_MS) {
		answer_checks();
		for (size_t i = 0; i < MEMBERS; i++)
			work(i);
		if (w.now >= next)
			next = site_tick(w.s, w.now);
		for (done = 0; done < n && leases[done].done;)
			done++;
	}
	assert_int_equal(done, n);
	return w.now;
}

#define RATE 200000u

static void fill(struct lease *leases, size_t n, uint64_t each)
{
	for (size_t i = 0; i < n; i++)
		leases[i] =
		    (struct lease){.below = i * each, .end = (i + 1) * each};
}

static void end(void)
{
	site_free(w.s);
}

static void test_work_follows_the_rates(void **state)
{
	const enum way ways[MEMBERS] = {HONEST, HONEST, HONEST, HONEST};
	const uint64_t rates[MEMBERS] = {RATE, 2 * RATE, 4 * RATE, RATE};
	struct lease leases[6];

	(void)state;
	begin(ways, rates);
	fill(leases, 6, 8 * RATE);
	uint64_t ms = run(leases, 6);
	print_message("6 s of work took %llu ms, %.2f %% looked at again\n",
		      (unsigned long long)ms,
		      100.0 * (double)w.checked / (48.0 * RATE));
	assert_true(ms < 6600);
	for (size_t i = 0; i < MEMBERS; i++)
		assert_true(w.w[i].did > 5 * rates[i] &&
			    w.w[i].did < 7 * rates[i]);
	assert_true(w.checked < 48 * RATE / 50);
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(leases[i].hashes, 8 * RATE);
	end();
}

static void test_others_take_over(void **state)
{
	static const enum way bad[] = {SILENT, DIES, BUSY, SLOWS};
	const uint64_t rates[MEMBERS] = {RATE, 2 * RATE, 2 * RATE, RATE};

	(void)state;
	for (size_t i = 0; i < HN_COUNT(bad); i++) {
		const enum way ways[MEMBERS] = {HONEST, bad[i], HONEST, bad[i]};
		struct lease leases[4];
		begin(ways, rates);
		fill(leases, 4, 6 * RATE);
		uint64_t ms = run(leases, 4);
		print_message("way %d: %llu ms\n", bad[i],
			      (unsigned long long)ms);
		/* 6 s of work for three; three more of waiting */
		assert_true(ms < 12000);
		assert_int_equal(w.lies, 0);
		end();
	}
}

static void test_liars_are_found_before_it_is_told(void **state)
{
	static const enum way bad[] = {SKIPS, LAZY};
	const uint64_t rates[MEMBERS] = {RATE, 4 * RATE, RATE};

	(void)state;
	for (size_t i = 0; i < HN_COUNT(bad); i++) {
		const enum way ways[MEMBERS] = {HONEST, bad[i], HONEST};
		struct lease leases[3];
		begin(ways, rates);
		fill(leases, 3, 4 * RATE);
		/* op_progress compares with the truth. */
		run(leases, 3);
		assert_int_equal(w.lies, 1 << 2);
		struct node_id id = id_of(1);
		struct lease more = {.below = 100, .end = 100 + RATE};
		site_member(w.s, &id, false, rates[1], 2, w.now);
		more.l = site_lease_new(w.s, more.below, more.end, BITS, 0,
					&more, w.now);
		assert_int_equal(w.w[1].n, 0); /* stays out */
		site_lease_cancel(w.s, more.l, w.now);
		end();
	}
}

static void test_a_piece_that_differs_is_a_lie(void **state)
{
	const enum way ways[MEMBERS] = {HONEST, HONEST, HONEST};
	const uint64_t rates[MEMBERS] = {RATE, RATE, RATE};
	struct lease leases[2];

	(void)state;
	begin(ways, rates);
	fill(leases, 2, 3 * RATE);
	w.differ = true;
	run(leases, 2);
	assert_true(w.lies == 1 << 2 || w.lies == 1 << 3);
	end();
}

/* Of ten leases of one client and one of another that came last, the last one
 * is done long before the others are. */
static void test_clients_take_turns(void **state)
{
	const enum way ways[MEMBERS] = {HONEST, HONEST};
	const uint64_t rates[MEMBERS] = {RATE, RATE};
	struct lease l[11];

	(void)state;
	begin(ways, rates);
	fill(l, 11, RATE);
	for (size_t i = 0; i < 11; i++)
		l[i].l = site_lease_new(w.s, l[i].below, l[i].end, BITS, i / 10,
					&l[i], 0);
	for (; !l[10].done && w.now < 10000; w.now += STEP_MS) {
		answer_checks();
		for (size_t i = 0; i < MEMBERS; i++)
			work(i);
	}
	print_message("%llu ms\n", (unsigned long long)w.now);
	assert_true(l[10].done && w.now < 2000);
	assert_false(l[5].done);
	end();
}

static void test_canceled_lease_is_silent(void **state)
{
	const enum way ways[MEMBERS] = {HONEST, HONEST};
	const uint64_t rates[MEMBERS] = {RATE, RATE};
	struct lease a = {.end = 10 * RATE}, b = {.end = RATE};

	(void)state;
	begin(ways, rates);
	a.l = site_lease_new(w.s, 0, a.end, BITS, 0, &a, 0);
	for (; w.now < 700; w.now += STEP_MS) {
		for (size_t i = 0; i < MEMBERS; i++)
			work(i);
	}
	uint64_t told = a.below;
	site_lease_cancel(w.s, a.l, w.now);
	run(&b, 1);
	assert_int_equal(a.below, told);
	assert_false(a.done);
	end();
}

static void test_checks_that_cannot_be_done_wait(void **state)
{
	const enum way ways[MEMBERS] = {HONEST, HONEST};
	const uint64_t rates[MEMBERS] = {RATE, RATE};
	struct lease a = {.end = 2 * RATE};

	(void)state;
	begin(ways, rates);
	w.refuse_checks = true;
	a.l = site_lease_new(w.s, 0, a.end, BITS, 0, &a, 0);
	for (; w.now < 3000; w.now += STEP_MS) {
		for (size_t i = 0; i < MEMBERS; i++)
			work(i);
		site_tick(w.s, w.now);
	}
	assert_false(a.done);
	w.refuse_checks = false;
	for (; !a.done && w.now < 10000; w.now += STEP_MS) {
		answer_checks();
		site_tick(w.s, w.now);
	}
	assert_true(a.done);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_work_follows_the_rates),
	    cmocka_unit_test(test_others_take_over),
	    cmocka_unit_test(test_liars_are_found_before_it_is_told),
	    cmocka_unit_test(test_a_piece_that_differs_is_a_lie),
	    cmocka_unit_test(test_clients_take_turns),
	    cmocka_unit_test(test_canceled_lease_is_silent),
	    cmocka_unit_test(test_checks_that_cannot_be_done_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
