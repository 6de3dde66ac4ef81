/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "asic/asic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "asic/sha256d.h"
#include "node/base/buf.h"

static const char header_125552[] =
    "0100000081cd02ab7e569e8bcd9317e2fe99f2de44d49ab2b8851ba4a30800000000"
    "0000e320b6c2fffc8d750423db8b1eb942ae710e951ed797f7affc8892b0f1fc122b"
    "c7f5d74df2b9441a42a14695";

struct run {
	struct loop *l;
	struct asic *a;
	struct asic_scan *scan;
	uint64_t below, hashes, cancel_at, began;
	struct buf shares; /* uint32_t */
	enum err e;
	unsigned done, want;
	void (*next)(struct run *r);
};

static void on_stopped(void *arg)
{
	struct run *r = arg;

	loop_stop(r->l);
}

static void on_progress(void *arg, uint64_t below, const uint32_t *shares,
			size_t n)
{
	struct run *r = arg;

	assert_true(below >= r->below);
	for (size_t i = 0; i < n; i++) {
		assert_true(shares[i] < below);
		assert_true(shares[i] >= r->below || r->below == 0);
		if (i)
			assert_true(shares[i] > shares[i - 1]);
	}
	r->below = below;
	buf_add(&r->shares, shares, n * sizeof(*shares));
	if (r->cancel_at && below >= r->cancel_at && r->scan) {
		r->began = clock_ns();
		asic_scan_cancel(r->scan);
		r->cancel_at = 0;
	}
}

static void on_done(void *arg, enum err e, uint64_t hashes)
{
	struct run *r = arg;

	r->e = e;
	r->hashes += hashes;
	r->scan = NULL;
	if (++r->done == r->want)
		asic_stop(r->a, on_stopped, r);
}

static const struct asic_scan_ops ops = {on_progress, on_done};

static void setup(struct run *r, unsigned threads, const char *kernel)
{
	struct buf why = {0};

	memset(r, 0, sizeof(*r));
	r->l = loop_new();
	r->want = 1;
	struct asic_options o = {
	    .loop = r->l, .threads = threads, .kernel = kernel};
	assert_int_equal(asic_new(&o, &why, &r->a), OK);
	buf_release(&why);
}

static void finish(struct run *r)
{
	loop_run(r->l);
	assert_true(loop_free(r->l));
}

static struct scan_work work(uint64_t start, uint64_t end, unsigned bits)
{
	struct scan_work w = {.start = start, .end = end, .share_bits = bits};
	struct buf why = {0};

	assert_int_equal(header_parse(header_125552, 160, w.header, &why), OK);
	buf_release(&why);
	return w;
}

static void check_shares(struct run *r, const struct scan_work *w)
{
	const uint32_t *got = (const uint32_t *)(void *)r->shares.p;
	size_t n = 0;

	for (uint64_t x = w->start; x < w->end; x++) {
		uint8_t d[32];
		sha256d_header(w->header, (uint32_t)x, d);
		if (sha256d_zero_bits(d) < w->share_bits)
			continue;
		assert_true(n < r->shares.n / 4);
		assert_int_equal(got[n], x);
		n++;
	}
	assert_int_equal(r->shares.n / 4, n);
	assert_true(n > 0);
}

static void test_scan_finds_all_shares_in_order(void **state)
{
	struct run r;
	struct scan_work w = work(12345, 12345 + 300000, 8);

	(void)state;
	setup(&r, 3, NULL);
	assert_int_equal(asic_scan_start(r.a, &w, ASIC_OWN, &ops, &r, &r.scan),
			 OK);
	finish(&r);
	assert_int_equal(r.e, OK);
	assert_int_equal(r.below, w.end);
	assert_int_equal(r.hashes, 300000);
	check_shares(&r, &w);
	buf_release(&r.shares);
}

static void test_scan_solves_block_125552(void **state)
{
	struct run r;
	struct scan_work w = work(0x9546a142 - 40000, 0x9546a142 + 40000, 32);

	(void)state;
	setup(&r, 2, NULL);
	assert_int_equal(asic_scan_start(r.a, &w, ASIC_OWN, &ops, &r, &r.scan),
			 OK);
	finish(&r);
	assert_int_equal(r.shares.n, 4);
	assert_int_equal(*(uint32_t *)(void *)r.shares.p, 0x9546a142);
	buf_release(&r.shares);
}

static void test_top_of_the_nonce_space(void **state)
{
	struct run r;
	struct scan_work w = work(NONCES - 5000, NONCES, 4);

	(void)state;
	setup(&r, 2, "scalar");
	assert_int_equal(asic_scan_start(r.a, &w, ASIC_OWN, &ops, &r, &r.scan),
			 OK);
	finish(&r);
	assert_int_equal(r.below, NONCES);
	check_shares(&r, &w);
	buf_release(&r.shares);
}

static void test_every_nonce_is_a_share_at_zero_bits(void **state)
{
	struct run r;
	struct scan_work w = work(7, 7 + 5000, 0);

	(void)state;
	setup(&r, 2, NULL);
	assert_int_equal(asic_scan_start(r.a, &w, ASIC_OWN, &ops, &r, &r.scan),
			 OK);
	finish(&r);
	assert_int_equal(r.shares.n / 4, 5000);
	buf_release(&r.shares);
}

static void test_cancel_stops_soon_and_keeps_the_prefix(void **state)
{
	struct run r;
	struct scan_work w = work(0, NONCES, 20);

	(void)state;
	setup(&r, 2, "scalar");
	r.cancel_at = 1;
	assert_int_equal(asic_scan_start(r.a, &w, ASIC_OWN, &ops, &r, &r.scan),
			 OK);
	finish(&r);
	assert_int_equal(r.e, ERR_CANCELED);
	assert_true(r.below > 0 && r.below < NONCES);
	assert_true(r.hashes >= r.below);
	/* "within 50 ms"; this only catches a wait for the whole range. */
	assert_true(clock_ns() - r.began < 5000000000u);
	buf_release(&r.shares);
}

static void test_cancel_of_a_queued_scan(void **state)
{
	struct run r;
	struct scan_work w = work(0, 200000, 20), later = work(0, NONCES, 20);
	struct asic_scan *second;

	(void)state;
	setup(&r, 1, "scalar");
	r.want = 2;
	assert_int_equal(asic_scan_start(r.a, &w, ASIC_OWN, &ops, &r, &r.scan),
			 OK);
	assert_int_equal(
	    asic_scan_start(r.a, &later, ASIC_OWN, &ops, &r, &second), OK);
	asic_scan_cancel(second);
	finish(&r);
	assert_int_equal(r.done, 2);
	assert_int_equal(r.hashes, 200000);
	buf_release(&r.shares);
}

struct order {
	struct run *r;
	unsigned *clock, at;
};

static void on_order_done(void *arg, enum err e, uint64_t hashes)
{
	struct order *o = arg;

	o->at = ++*o->clock;
	on_done(o->r, e, hashes);
}

static void on_order_progress(void *arg, uint64_t below, const uint32_t *shares,
			      size_t n)
{
	(void)arg, (void)below, (void)shares, (void)n;
}

static void test_urgent_goes_before_what_waits(void **state)
{
	static const struct asic_scan_ops order_ops = {on_order_progress,
						       on_order_done};
	struct run r;
	unsigned clock = 0;
	struct order o[3] = {{&r, &clock, 0}, {&r, &clock, 0}, {&r, &clock, 0}};
	struct scan_work w = work(0, 2000000, 32), small = work(0, 1000, 32);
	struct asic_scan *s;

	(void)state;
	setup(&r, 1, "scalar");
	r.want = 3;
	for (int i = 0; i < 2; i++)
		assert_int_equal(
		    asic_scan_start(r.a, &w, ASIC_OWN, &order_ops, &o[i], &s),
		    OK);
	assert_int_equal(
	    asic_scan_start(r.a, &small, ASIC_URGENT, &order_ops, &o[2], &s),
	    OK);
	finish(&r);
	assert_int_equal(o[2].at, 1);
	assert_true(o[0].at < o[1].at);
}

/* Ten long units of one client and a short one of another that came last: the
 * short one needs twice its own time, not the time of all. */
static void test_clients_share_the_device(void **state)
{
	static const struct asic_scan_ops order_ops = {on_order_progress,
						       on_order_done};
	struct run r;
	unsigned clock = 0;
	struct order o[11];
	struct scan_work w = work(0, 6000000, 32), last = work(0, 5000000, 32);
	struct asic_scan *s;

	(void)state;
	setup(&r, 1, NULL);
	r.want = HN_COUNT(o);
	for (size_t i = 0; i < HN_COUNT(o); i++) {
		const bool other = i == 10;

		o[i] = (struct order){&r, &clock, 0};
		assert_int_equal(asic_scan_start(r.a, other ? &last : &w,
						 other ? 7 : ASIC_OTHERS,
						 &order_ops, &o[i], &s),
				 OK);
	}
	finish(&r);
	assert_int_equal(o[10].at, 1);
	for (size_t i = 1; i < 10; i++)
		assert_true(o[i - 1].at < o[i].at);
}

static void test_stop_cancels_what_runs(void **state)
{
	struct run r;
	struct scan_work w = work(0, NONCES, 24);
	struct asic_scan *second;

	(void)state;
	setup(&r, 2, NULL);
	r.want = 99;
	assert_int_equal(asic_scan_start(r.a, &w, ASIC_OWN, &ops, &r, &r.scan),
			 OK);
	assert_int_equal(asic_scan_start(r.a, &w, ASIC_OWN, &ops, &r, &second),
			 OK);
	asic_stop(r.a, on_stopped, &r);
	finish(&r);
	assert_int_equal(r.done, 2);
	assert_int_equal(r.e, ERR_CANCELED);
	buf_release(&r.shares);
}

static void on_rate(void *arg, uint64_t rate)
{
	struct run *r = arg;

	r->hashes = rate;
	asic_stop(r->a, on_stopped, r);
}

/* The sum of more threads than cores would be a rate that nobody gets. */
static void test_no_more_threads_than_cores(void **state)
{
	static const unsigned asked[] = {1000, 0};
	struct asic_device_info info[2];

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct run r;
		setup(&r, asked[i], NULL);
		assert_int_equal(asic_devices(r.a, &info[i], 1), 1);
		asic_stop(r.a, on_stopped, &r);
		finish(&r);
	}
	assert_int_equal(info[0].threads, info[1].threads);
}

static void test_measure_tells_a_rate(void **state)
{
	struct run r;
	struct asic_device_info info;

	(void)state;
	setup(&r, 2, NULL);
	assert_int_equal(asic_devices(r.a, &info, 1), 1);
	assert_in_range(info.threads, 1, 2);
	assert_int_equal(info.rate, 0);
	asic_measure(r.a, 50, on_rate, &r);
	finish(&r);
	assert_true(r.hashes > 10000);
}

#define MESSAGES 5000
static void on_batch(void *arg, enum err e, const uint8_t (*digests)[32],
		     size_t n)
{
	struct run *r = arg;

	r->e = e;
	assert_int_equal(n, e ? 0 : MESSAGES);
	buf_add(&r->shares, digests, n * 32);
	asic_stop(r->a, on_stopped, r);
}

static void ignore_progress(void *arg, uint64_t below, const uint32_t *shares,
			    size_t n)
{
	(void)arg, (void)below, (void)shares, (void)n;
}

static void ignore_done(void *arg, enum err e, uint64_t hashes)
{
	(void)arg, (void)e, (void)hashes;
}

/* Keeps the threads busy until the pool is stopped: what is queued waits. */
static void scan_all(struct asic *a)
{
	static const struct asic_scan_ops quiet = {ignore_progress,
						   ignore_done};
	const struct scan_work w = {.end = NONCES, .share_bits = 32};
	struct asic_scan *s;

	assert_int_equal(asic_scan_start(a, &w, ASIC_OWN, &quiet, NULL, &s),
			 OK);
}

static void batch(bool cancel)
{
	struct run r;
	struct asic_batch *b;
	static uint8_t data[MESSAGES];
	static struct bytes msgs[MESSAGES];

	for (size_t i = 0; i < MESSAGES; i++) {
		data[i] = (uint8_t)(i * 7);
		msgs[i] = (struct bytes){data, i % 300};
	}
	setup(&r, 2, NULL);
	if (cancel)
		scan_all(r.a);
	assert_int_equal(asic_batch_start(r.a, msgs, MESSAGES, 2, ASIC_OWN,
					  on_batch, &r, &b),
			 OK);
	if (cancel)
		asic_batch_cancel(b);
	finish(&r);
	if (cancel)
		assert_int_equal(r.e, ERR_CANCELED);
	for (size_t i = 0; i < r.shares.n / 32; i++) {
		uint8_t d[32];
		sha256d(msgs[i].p, msgs[i].n, d);
		assert_memory_equal(d, r.shares.p + 32 * i, 32);
	}
	assert_int_equal(r.shares.n, cancel ? 0 : MESSAGES * 32);
	buf_release(&r.shares);
}

static void test_batch_keeps_the_order(void **state)
{
	(void)state;
	batch(false);
}

static void test_batch_can_be_canceled(void **state)
{
	(void)state;
	batch(true);
}

/* --- work for others --- */

struct lent {
	struct run r;
	struct loop_timer *timer;
	struct timespec cpu;
	uint64_t began;
	double ratio; /* processor time by wall time */
};

static double cpu_since(struct timespec t)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)(now.tv_sec - t.tv_sec) * 1e9 +
	       (double)(now.tv_nsec - t.tv_nsec);
}

static void on_lent_time(void *arg)
{
	struct lent *x = arg;

	x->ratio = cpu_since(x->cpu) / (double)(clock_ns() - x->began);
	loop_timer_free(x->timer);
	asic_stop(x->r.a, on_stopped, &x->r);
}

/* Counted from the first report on, when the threads run. */
static void on_lent_progress(void *arg, uint64_t below, const uint32_t *shares,
			     size_t n)
{
	struct lent *x = arg;

	(void)below, (void)shares, (void)n;
	if (x->began)
		return;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &x->cpu);
	x->began = clock_ns();
	loop_timer_set(x->timer, 600);
}

static double lent_ratio(unsigned permille)
{
	static const struct asic_scan_ops lent_ops = {on_lent_progress,
						      ignore_done};
	const struct scan_work w = {.end = NONCES, .share_bits = 32};
	struct lent x = {0};
	struct asic_scan *s;

	setup(&x.r, 2, NULL);
	x.timer = loop_timer_new(x.r.l, on_lent_time, &x);
	asic_lend(x.r.a, 1, permille);
	assert_int_equal(
	    asic_scan_start(x.r.a, &w, ASIC_OTHERS, &lent_ops, &x, &s), OK);
	finish(&x.r);
	print_message("share %u permille of 1 thread: %.3f used\n", permille,
		      x.ratio);
	return x.ratio;
}

/* Never more; less only where somebody else has the processor. */
static void test_work_for_others_keeps_to_its_share(void **state)
{
	(void)state;
	double half = lent_ratio(500), tenth = lent_ratio(100);

	assert_true(half < 0.58 && half > 0.2);
	assert_true(tenth < 0.15 && tenth > 0.03);
}

static void on_own_done(void *arg, enum err e, uint64_t hashes)
{
	struct run *r = arg;

	r->e = e;
	r->hashes = hashes;
	asic_stop(r->a, on_stopped, r);
}

/* However little others get, our own work does not wait for it. */
static void test_own_work_is_not_held_to_the_share(void **state)
{
	static const struct asic_scan_ops other_ops = {ignore_progress,
						       on_done};
	static const struct asic_scan_ops own_ops = {ignore_progress,
						     on_own_done};
	const struct scan_work w = {.end = NONCES, .share_bits = 32};
	const struct scan_work own = {.end = 4000000, .share_bits = 32};
	struct run r, others = {0};
	struct asic_scan *s;

	(void)state;
	setup(&r, 2, NULL);
	asic_lend(r.a, 0, 10);
	assert_int_equal(
	    asic_scan_start(r.a, &w, ASIC_OTHERS, &other_ops, &others, &s), OK);
	assert_int_equal(asic_scan_start(r.a, &own, ASIC_OWN, &own_ops, &r, &s),
			 OK);
	finish(&r);
	assert_int_equal(r.e, OK);
	assert_int_equal(others.e, ERR_CANCELED);
	assert_true(others.hashes < r.hashes / 2);
}

static void test_bad_options_are_explained(void **state)
{
	static const struct {
		const char *affinity, *kernel;
		unsigned threads;
	} bad[] = {{"x", NULL, 0},    {"0-", NULL, 0},	 {"3-1", NULL, 0},
		   {"0,", NULL, 0},   {"999", NULL, 0},	 {"", NULL, 0},
		   {"-1", NULL, 0},   {NULL, "warp", 0}, {NULL, NULL, 5000},
		   {"99999", NULL, 0}};
	struct loop *l = loop_new();

	(void)state;
	for (size_t i = 0; i < HN_COUNT(bad); i++) {
		struct buf why = {0};
		struct asic *a;
		struct asic_options o = {.loop = l,
					 .threads = bad[i].threads,
					 .affinity = bad[i].affinity,
					 .kernel = bad[i].kernel};
		assert_int_equal(asic_new(&o, &why, &a), ERR_CONFIG);
		assert_true(why.n > 10);
		buf_release(&why);
	}
	assert_true(loop_free(l));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_scan_finds_all_shares_in_order),
	    cmocka_unit_test(test_scan_solves_block_125552),
	    cmocka_unit_test(test_top_of_the_nonce_space),
	    cmocka_unit_test(test_every_nonce_is_a_share_at_zero_bits),
	    cmocka_unit_test(test_cancel_stops_soon_and_keeps_the_prefix),
	    cmocka_unit_test(test_cancel_of_a_queued_scan),
	    cmocka_unit_test(test_urgent_goes_before_what_waits),
	    cmocka_unit_test(test_clients_share_the_device),
	    cmocka_unit_test(test_stop_cancels_what_runs),
	    cmocka_unit_test(test_no_more_threads_than_cores),
	    cmocka_unit_test(test_measure_tells_a_rate),
	    cmocka_unit_test(test_batch_keeps_the_order),
	    cmocka_unit_test(test_batch_can_be_canceled),
	    cmocka_unit_test(test_work_for_others_keeps_to_its_share),
	    cmocka_unit_test(test_own_work_is_not_held_to_the_share),
	    cmocka_unit_test(test_bad_options_are_explained),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
