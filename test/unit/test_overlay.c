/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * OpenDHT through its doorway: nodes of one process, on 127.0.0.1 only. With
 * --slow also what takes minutes.
 */
#include "dht/overlay.h"

#include "node/base/log.h"
#include "node/base/mem.h"

#include <sodium.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool slow;

struct world {
	struct loop *loop;
	struct overlay *a, *b;
	struct loop_timer *deadline, *poll;
	bool late;
	bool (*cond)(struct world *w);
	unsigned values, dones, oks, stops, connects;
	size_t last_n;
	uint8_t last[OVERLAY_VALUE_MAX];
	uint8_t key[OVERLAY_KEY_SIZE];
	uint64_t grace_ms;
};

static void on_deadline(void *arg)
{
	struct world *w = arg;
	w->late = true;
	loop_stop(w->loop);
}

static void check(struct world *w)
{
	if (w->cond && w->cond(w))
		loop_stop(w->loop);
}

static void on_poll(void *arg)
{
	check(arg);
}

static bool wait_for(struct world *w, bool (*cond)(struct world *w),
		     uint64_t ms)
{
	if (cond && cond(w))
		return true;
	w->cond = cond;
	w->late = false;
	loop_timer_set(w->deadline, ms);
	loop_run(w->loop);
	w->cond = NULL;
	loop_timer_cancel(w->deadline);
	return !w->late;
}

static void on_connected(void *arg, bool yes)
{
	struct world *w = arg;
	w->connects += yes;
	check(w);
}

static void on_value(void *arg, const uint8_t *p, size_t n)
{
	struct world *w = arg;
	w->values++;
	w->last_n = n;
	memcpy(w->last, p, n);
	check(w);
}

static void on_put(void *arg, bool ok)
{
	struct world *w = arg;
	w->dones++;
	w->oks += ok;
	check(w);
}

static void on_stopped(void *arg)
{
	struct world *w = arg;
	w->stops++;
	check(w);
}

static struct overlay *start(struct world *w, uint32_t network)
{
	struct buf why = {0};
	const struct overlay_options o = {.loop = w->loop,
					  .network = network,
					  .arg = w,
					  .connected = on_connected};
	struct overlay *out = NULL;
	assert_int_equal(overlay_new(&o, &why, &out), OK);
	buf_release(&why);
	return out;
}

static void bootstrap(struct overlay *o, const struct overlay *to)
{
	char port[8];
	snprintf(port, sizeof(port), "%u", overlay_port(to));
	overlay_bootstrap(o, "127.0.0.1", port);
}

static void world_init(struct world *w)
{
	const uint32_t network = randombytes_random() | 1;

	memset(w, 0, sizeof(*w));
	w->loop = loop_new();
	w->grace_ms = 100;
	w->deadline = loop_timer_new(w->loop, on_deadline, w);
	w->poll = loop_timer_new(w->loop, on_poll, w);
	loop_timer_every(w->poll, 20);
	randombytes_buf(w->key, sizeof(w->key));
	w->a = start(w, network);
	w->b = start(w, network);
}

static bool one_stopped(struct world *w)
{
	return w->stops == 1;
}

static bool both_stopped(struct world *w)
{
	return w->stops == 2;
}

static void world_end(struct world *w)
{
	overlay_stop(w->a, w->grace_ms, on_stopped, w);
	overlay_stop(w->b, w->grace_ms, on_stopped, w);
	assert_true(wait_for(w, both_stopped, 5000));
	loop_timer_free(w->deadline);
	loop_timer_free(w->poll);
	assert_true(loop_free(w->loop));
}

static bool both_connected(struct world *w)
{
	return overlay_connected(w->a) && overlay_connected(w->b);
}

static bool got_value(struct world *w)
{
	return w->values > 0;
}

static bool got_done(struct world *w)
{
	return w->dones > 0;
}

/* Each of many puts under one key has its outcome, with and without gets. */
static void test_every_put_is_done(void **state)
{
	struct world w;
	(void)state;

	world_init(&w);
	bootstrap(w.b, w.a);
	assert_true(wait_for(&w, both_connected, 10000));
	struct overlay_put *before = NULL;
	for (int i = 0; i < 6; i++) {
		w.dones = w.oks = 0;
		struct overlay_put *p =
		    overlay_put(w.b, w.key, "abc", 3, on_put, &w);
		if (before)
			overlay_put_end(before);
		before = p;
		assert_true(wait_for(&w, got_done, 5000));
		assert_int_equal(w.oks, 1);
		if (i == 2) {
			struct overlay_listen *l =
			    overlay_listen(w.b, w.key, on_value, &w);
			overlay_refresh(l);
			assert_true(wait_for(&w, got_value, 5000));
			overlay_unlisten(l);
		}
	}
	assert_int_equal(w.dones, 1);
	world_end(&w);
}

static void test_listen_and_refresh(void **state)
{
	struct world w;
	uint8_t longest[OVERLAY_VALUE_MAX];
	(void)state;

	world_init(&w);
	bootstrap(w.b, w.a);
	assert_true(wait_for(&w, both_connected, 10000));
	/* Longest value, there before the listen began. */
	randombytes_buf(longest, sizeof(longest));
	overlay_put(w.a, w.key, longest, sizeof(longest), on_put, &w);
	assert_true(wait_for(&w, got_done, 10000));
	struct overlay_listen *l = overlay_listen(w.b, w.key, on_value, &w);
	overlay_refresh(l);
	overlay_refresh(l);
	overlay_refresh(l);
	assert_true(wait_for(&w, got_value, 10000));
	assert_int_equal(w.last_n, sizeof(longest));
	assert_memory_equal(w.last, longest, sizeof(longest));
	/* And one after it, an empty one. */
	assert_false(wait_for(&w, NULL, 300));
	w.values = 0;
	overlay_put(w.a, w.key, "", 0, NULL, NULL);
	assert_true(wait_for(&w, got_value, 10000));
	assert_int_equal(w.last_n, 0);
	/* No news after the end, and a new listen under the key is fine. */
	overlay_unlisten(l);
	l = overlay_listen(w.b, w.key, on_value, &w);
	overlay_unlisten(l);
	w.values = 0;
	overlay_put(w.a, w.key, "late", 4, NULL, NULL);
	assert_false(wait_for(&w, got_value, 300));
	world_end(&w);
}

static void test_networks_do_not_mix(void **state)
{
	struct world w;
	(void)state;

	world_init(&w);
	bootstrap(w.b, w.a);
	struct overlay *c = start(&w, 77);
	bootstrap(c, w.a);
	assert_true(wait_for(&w, both_connected, 10000));
	assert_false(wait_for(&w, NULL, 500));
	assert_false(overlay_connected(c));
	overlay_stop(c, 0, on_stopped, &w);
	w.stops = 0;
	assert_true(wait_for(&w, one_stopped, 5000));
	w.stops = 0;
	world_end(&w);
}

/* Alone for a while; puts fail, and each failure is told. */
static void test_alone_then_connected(void **state)
{
	struct world w;
	(void)state;

	world_init(&w);
	struct overlay_listen *l = overlay_listen(w.b, w.key, on_value, &w);
	overlay_put(w.a, w.key, "early", 5, on_put, &w);
	assert_true(wait_for(&w, got_done, 10000));
	assert_int_equal(w.oks, 0);
	assert_false(overlay_connected(w.a));
	const uint64_t t = clock_ns();
	bootstrap(w.a, w.b);
	assert_true(wait_for(&w, both_connected, 10000));
	print_message("both connected after %lu ms\n",
		      (unsigned long)((clock_ns() - t) / 1000000));
	/* The listen from before hears what is put now. */
	w.values = 0;
	overlay_put(w.a, w.key, "now", 3, on_put, &w);
	assert_true(wait_for(&w, got_value, 10000));
	overlay_unlisten(l);
	world_end(&w);
}

static bool a_alone(struct world *w)
{
	return !overlay_connected(w->a);
}

/* The only other node goes, and another comes in its place. */
static void test_loss_is_noticed(void **state)
{
	struct world w;
	(void)state;

	world_init(&w);
	bootstrap(w.b, w.a);
	assert_true(wait_for(&w, both_connected, 10000));
	overlay_stop(w.b, 0, on_stopped, &w);
	assert_true(wait_for(&w, one_stopped, 5000));
	if (slow) {
		const uint64_t t = clock_ns();
		assert_true(wait_for(&w, a_alone, 90000));
		print_message("alone is said after %lu ms\n",
			      (unsigned long)((clock_ns() - t) / 1000000));
	}
	overlay_stop(w.a, 0, on_stopped, &w);
	assert_true(wait_for(&w, both_stopped, 5000));
	loop_timer_free(w.deadline);
	loop_timer_free(w.poll);
	assert_true(loop_free(w.loop));
}

static void count_boots(void *arg, const char *host, const char *port,
			bool answered, unsigned failed)
{
	(void)host;
	(void)port;
	(void)answered;
	(void)failed;
	++*(unsigned *)arg;
}

static void test_bootstraps_are_bounded(void **state)
{
	struct world w;
	unsigned n = 0;
	char text[64];
	(void)state;

	world_init(&w);
	bootstrap(w.b, w.a);
	assert_true(wait_for(&w, both_connected, 10000));
	for (int i = 0; i < 200; i++) {
		snprintf(text, sizeof(text), "%d", 20000 + i);
		overlay_bootstrap(w.b, "127.0.0.2", text);
	}
	overlay_bootstraps(w.b, count_boots, &n);
	assert_int_equal(n, OVERLAY_BOOTSTRAPS);
	/* What strangers say: numeric, with a port. */
	n = 0;
	static const char *const hints[] = {
	    "name.example:1",  "1.2.3",	    ":", "", "[::1]", "[::1]:0", "[]:1",
	    "127.0.0.1:99999", "127.0.0.1:"};
	for (size_t i = 0; i < HN_COUNT(hints); i++)
		overlay_hint(w.a, hints[i]);
	overlay_bootstraps(w.a, count_boots, &n);
	assert_int_equal(n, 0);
	snprintf(text, sizeof(text), "[::1]:%u", overlay_port(w.b));
	overlay_hint(w.a, text);
	snprintf(text, sizeof(text), "127.0.0.1:%u", overlay_port(w.b));
	overlay_hint(w.a, text);
	overlay_bootstraps(w.a, count_boots, &n);
	assert_int_equal(n, 2);
	world_end(&w);
}

/* Stop right after the start, and with everything under way. */
static void test_stop_at_any_time(void **state)
{
	struct world w;
	uint64_t longest = 0;
	(void)state;

	for (int i = 0; i < 10; i++) {
		world_init(&w);
		bootstrap(w.b, w.a);
		overlay_bootstrap(w.b, "127.0.0.1", "9");
		overlay_bootstrap(w.b, "no.such.name.invalid", "9");
		struct overlay_listen *l =
		    overlay_listen(w.b, w.key, on_value, &w);
		overlay_refresh(l);
		struct overlay_put *p =
		    overlay_put(w.b, w.key, "x", 1, on_put, &w);
		if (i % 2)
			overlay_put_end(p);
		overlay_put(w.a, w.key, "y", 1, on_put, &w);
		if (i > 5)
			wait_for(&w, NULL, (uint64_t)i * 3);
		w.grace_ms = i < 9 ? 100 : 5000; /* cut to 2 s */
		const uint64_t t = clock_ns();
		world_end(&w);
		const uint64_t ms = (clock_ns() - t) / 1000000;
		longest = ms > longest ? ms : longest;
	}
	print_message("longest stop: %lu ms\n", (unsigned long)longest);
	assert_true(longest < 2500);
}

static void test_taken_port(void **state)
{
	struct world w;
	struct buf why = {0};
	struct overlay *c = NULL;
	(void)state;

	world_init(&w);
	const struct overlay_options o = {
	    .loop = w.loop, .network = 5, .port = overlay_port(w.a)};
	assert_int_equal(overlay_new(&o, &why, &c), ERR_BUSY);
	assert_null(c);
	assert_true(why.n > 0);
	buf_release(&why);
	world_end(&w);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_put_is_done),
	    cmocka_unit_test(test_listen_and_refresh),
	    cmocka_unit_test(test_networks_do_not_mix),
	    cmocka_unit_test(test_alone_then_connected),
	    cmocka_unit_test(test_loss_is_noticed),
	    cmocka_unit_test(test_bootstraps_are_bounded),
	    cmocka_unit_test(test_stop_at_any_time),
	    cmocka_unit_test(test_taken_port),
	};
	if (sodium_init() < 0)
		return 1;
	slow = argc > 1 && !strcmp(argv[1], "--slow");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
