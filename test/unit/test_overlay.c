/* SPDX-License-Identifier: GPL-3.0-or-later */
/* OpenDHT through its doorway: nodes of one process, on 127.0.0.1 only. */
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
	w->deadline = loop_timer_new(w->loop, on_deadline, w);
	w->poll = loop_timer_new(w->loop, on_poll, w);
	loop_timer_every(w->poll, 20);
	randombytes_buf(w->key, sizeof(w->key));
	w->a = start(w, network);
	w->b = start(w, network);
}

static bool both_stopped(struct world *w)
{
	return w->stops == 2;
}

static void world_end(struct world *w)
{
	overlay_stop(w->a, 2000, on_stopped, w);
	overlay_stop(w->b, 2000, on_stopped, w);
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

/* Each of many puts under one key has its outcome, also without any get. */
static void test_every_put_is_done(void **state)
{
	struct world w;
	(void)state;

	world_init(&w);
	bootstrap(w.b, w.a);
	assert_true(wait_for(&w, both_connected, 10000));
	struct overlay_put *before = NULL;
	for (int i = 0; i < 5; i++) {
		const uint64_t t = clock_ns();
		w.dones = w.oks = 0;
		struct overlay_put *p =
		    overlay_put(w.b, w.key, "abc", 3, on_put, &w);
		if (before)
			overlay_put_end(before);
		before = p;
		const bool done = wait_for(&w, got_done, 15000);
		print_message("put %d done=%d ok=%u after %lu ms\n", i, done,
			      w.oks,
			      (unsigned long)((clock_ns() - t) / 1000000));
	}
	world_end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_put_is_done),
	};
	if (sodium_init() < 0)
		return 1;
	(void)got_value;
	(void)on_value;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
