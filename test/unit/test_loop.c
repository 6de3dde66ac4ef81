/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/loop.h"

#include "node/base/mem.h"

#include <uv.h>

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static void on_stop(void *arg)
{
	loop_stop(arg);
}

static void on_count(void *arg)
{
	++*(int *)arg;
}

/* Posts from several threads */

#define THREADS 4
#define POSTS 5000

struct poster {
	struct loop *loop;
	int *finished;
	unsigned next; /* the number that must come next; loop only */
	bool ordered;
};

struct numbered {
	struct poster *from;
	unsigned number;
};

static void on_numbered(void *arg)
{
	struct numbered *post = arg;
	struct poster *p = post->from;

	p->ordered &= post->number == p->next && loop_here(p->loop);
	if (++p->next == POSTS && ++*p->finished == THREADS)
		loop_stop(p->loop);
	free(post);
}

static void *post_all(void *arg)
{
	struct poster *p = arg;
	for (unsigned i = 0; i < POSTS; i++) {
		struct numbered *post = HN_NEW(struct numbered);
		*post = (struct numbered){p, i};
		loop_post(p->loop, on_numbered, post);
	}
	return NULL;
}

static void test_posts_of_each_thread_keep_their_order(void **state)
{
	(void)state;
	struct loop *l = loop_new();
	struct poster posters[THREADS];
	pthread_t threads[THREADS];
	int finished = 0;

	for (int i = 0; i < THREADS; i++) {
		posters[i] = (struct poster){l, &finished, 0, true};
		assert_int_equal(
		    pthread_create(&threads[i], NULL, post_all, &posters[i]),
		    0);
	}
	loop_run(l);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(posters[i].next, POSTS);
		assert_true(posters[i].ordered);
	}
	assert_true(loop_free(l));
}

/* Posts and rounds */

struct chain {
	struct loop *loop;
	struct loop_timer *timer;
	bool inside;	/* a post is running */
	bool nested;	/* a post ran inside another */
	bool timer_ran; /* although the chain never ends */
	unsigned links;
};

static void on_link(void *arg)
{
	struct chain *c = arg;
	c->nested |= c->inside;
	c->inside = true;
	c->links++;
	if (!c->timer_ran)
		loop_post(c->loop, on_link, c);
	c->inside = false;
}

static void on_chain_timer(void *arg)
{
	struct chain *c = arg;
	c->timer_ran = true;
	loop_stop(c->loop);
}

static void test_posting_chain_does_not_starve_timers(void **state)
{
	(void)state;
	struct chain c = {.loop = loop_new()};
	c.timer = loop_timer_new(c.loop, on_chain_timer, &c);
	loop_timer_set(c.timer, 5);
	loop_post(c.loop, on_link, &c);
	loop_run(c.loop);
	assert_true(c.timer_ran);
	assert_false(c.nested);
	assert_true(c.links > 1);
	loop_timer_free(c.timer);
	assert_true(loop_free(c.loop));
}

static void test_stop_before_run_ends_the_run(void **state)
{
	(void)state;
	struct loop *l = loop_new();
	int calls = 0;
	loop_stop(l);
	loop_post(l, on_count, &calls);
	loop_run(l);
	assert_int_equal(calls, 1);
	/* A stop is spent by the run that it ended. */
	loop_post(l, on_count, &calls);
	loop_post(l, on_stop, l);
	loop_post(l, on_count, &calls);
	loop_run(l);
	assert_int_equal(calls, 3);
	assert_true(loop_free(l));
}

static void test_free_runs_what_is_queued(void **state)
{
	(void)state;
	struct loop *l = loop_new();
	int calls = 0;
	for (int i = 0; i < 10000; i++)
		loop_post(l, on_count, &calls);
	assert_true(loop_free(l));
	assert_int_equal(calls, 10000);
}

static void *stop_it(void *arg)
{
	struct loop *l = arg;
	loop_stop(l);
	return loop_here(l) ? arg : NULL;
}

static void on_start_stopper(void *arg)
{
	void **box = arg;
	pthread_t thread;
	pthread_create(&thread, NULL, stop_it, box[0]);
	pthread_join(thread, &box[1]);
}

static void test_stop_from_another_thread(void **state)
{
	(void)state;
	struct loop *l = loop_new();
	void *box[2] = {l, l};
	assert_true(loop_here(l));
	loop_post(l, on_start_stopper, box);
	loop_run(l);
	assert_null(box[1]); /* loop_here was false there */
	assert_true(loop_here(l));
	assert_true(loop_free(l));
}

/* Timers */

struct ticker {
	struct loop *loop;
	struct loop_timer *timer;
	int ticks, until;
	bool armed;  /* in the last callback */
	uint64_t ms; /* clock of the last callback */
};

static void on_tick(void *arg)
{
	struct ticker *t = arg;
	t->armed = loop_timer_armed(t->timer);
	t->ms = clock_ns() / 1000000;
	if (++t->ticks == t->until)
		loop_stop(t->loop);
}

static void test_timer_runs_once(void **state)
{
	(void)state;
	struct ticker t = {.loop = loop_new(), .until = 1};
	t.timer = loop_timer_new(t.loop, on_tick, &t);
	assert_false(loop_timer_armed(t.timer));
	const uint64_t from = clock_ns() / 1000000;
	loop_timer_set(t.timer, 10000);
	loop_timer_set(t.timer, 20); /* the later call counts */
	assert_true(loop_timer_armed(t.timer));
	loop_run(t.loop);
	assert_int_equal(t.ticks, 1);
	assert_false(t.armed);
	assert_true(t.ms - from >= 20 && t.ms - from < 5000);
	loop_timer_free(t.timer);
	assert_true(loop_free(t.loop));
}

static void test_timer_repeats_until_canceled(void **state)
{
	(void)state;
	struct ticker t = {.loop = loop_new(), .until = 3};
	t.timer = loop_timer_new(t.loop, on_tick, &t);
	loop_timer_every(t.timer, 2);
	loop_run(t.loop);
	assert_int_equal(t.ticks, 3);
	assert_true(t.armed);
	assert_true(loop_timer_armed(t.timer));
	loop_timer_cancel(t.timer);
	assert_false(loop_timer_armed(t.timer));
	loop_timer_cancel(t.timer);
	loop_timer_free(t.timer);
	loop_timer_free(NULL);
	assert_true(loop_free(t.loop));
}

static void on_long_callback(void *arg)
{
	struct ticker *t = arg;
	const uint64_t end = clock_ns() + 60 * 1000000ull;
	while (clock_ns() < end)
		;
	t->ms = clock_ns() / 1000000;
	loop_timer_set(t->timer, 30);
}

static void test_delay_counts_from_the_call(void **state)
{
	(void)state;
	struct ticker t = {.loop = loop_new(), .until = 1};
	t.timer = loop_timer_new(t.loop, on_tick, &t);
	loop_post(t.loop, on_long_callback, &t);
	const uint64_t from = clock_ns() / 1000000;
	loop_run(t.loop);
	assert_int_equal(t.ticks, 1);
	assert_true(t.ms - from >= 90);
	loop_timer_free(t.timer);
	assert_true(loop_free(t.loop));
}

static void on_last_tick(void *arg)
{
	struct ticker *t = arg;
	loop_timer_free(t->timer);
	t->timer = NULL;
	t->ticks++;
	loop_stop(t->loop);
}

static void test_timer_may_free_itself(void **state)
{
	(void)state;
	struct ticker t = {.loop = loop_new()};
	t.timer = loop_timer_new(t.loop, on_last_tick, &t);
	loop_timer_every(t.timer, 0);
	loop_run(t.loop);
	assert_int_equal(t.ticks, 1);
	assert_true(loop_free(t.loop));
}

static void on_rearm(void *arg)
{
	struct ticker *t = arg;
	t->ticks++;
	loop_timer_set(t->timer, 0);
}

static void test_rearming_with_zero_does_not_starve_posts(void **state)
{
	(void)state;
	struct ticker t = {.loop = loop_new()};
	t.timer = loop_timer_new(t.loop, on_rearm, &t);
	loop_timer_set(t.timer, 0);
	loop_post(t.loop, on_stop, t.loop);
	loop_run(t.loop);
	loop_timer_free(t.timer);
	assert_true(loop_free(t.loop));
}

static void test_armed_timer_freed_before_the_run(void **state)
{
	(void)state;
	struct ticker t = {.loop = loop_new()};
	t.timer = loop_timer_new(t.loop, on_tick, &t);
	loop_timer_set(t.timer, 0);
	loop_timer_free(t.timer);
	loop_post(t.loop, on_stop, t.loop);
	loop_run(t.loop);
	assert_int_equal(t.ticks, 0);
	assert_true(loop_free(t.loop));
}

static void test_clocks_agree(void **state)
{
	(void)state;
	struct loop *l = loop_new();
	const uint64_t before = clock_ns() / 1000000;
	const uint64_t ms = loop_ms(l);
	assert_true(ms >= before && ms <= clock_ns() / 1000000);
	assert_true(clock_unix_ms() > 1600000000000);
	clock_unix_shift(-1600000000000);
	assert_true(clock_unix_ms() < 1600000000000);
	clock_unix_shift(0);
	assert_true(loop_free(l));
}

/* Work */

struct job {
	struct loop *loop;
	bool worked, elsewhere, back;
	int posts;
};

static void work(void *arg)
{
	struct job *j = arg;
	j->worked = true;
	j->elsewhere = !loop_here(j->loop);
	loop_post(j->loop, on_count, &j->posts);
}

static void on_done(void *arg)
{
	struct job *j = arg;
	j->back = loop_here(j->loop) && j->worked;
	loop_post(j->loop, on_count, &j->posts);
	loop_stop(j->loop);
}

static void on_start_work(void *arg)
{
	struct job *j = arg;
	loop_work(j->loop, work, on_done, j);
}

static void test_work_runs_elsewhere_and_returns(void **state)
{
	(void)state;
	struct job j = {.loop = loop_new()};
	loop_post(j.loop, on_start_work, &j);
	loop_run(j.loop);
	assert_true(j.elsewhere);
	assert_true(j.back);
	assert_true(loop_free(j.loop));
	assert_int_equal(j.posts, 2);
}

static void test_free_waits_for_work(void **state)
{
	(void)state;
	struct job j = {.loop = loop_new()};
	loop_work(j.loop, work, on_done, &j);
	assert_true(loop_free(j.loop));
	assert_true(j.back);
	assert_int_equal(j.posts, 2);
}

/* Signals and handles */

static void on_kill_self(void *arg)
{
	(void)arg;
	kill(getpid(), SIGUSR1);
}

static void test_signal_reaches_the_loop(void **state)
{
	(void)state;
	struct loop *l = loop_new();
	int calls = 0;
	loop_signal(l, SIGUSR1, on_count, &calls);
	loop_signal(l, SIGUSR1, on_stop, l);
	loop_post(l, on_kill_self, NULL);
	loop_run(l);
	assert_int_equal(calls, 1);
	assert_true(loop_free(l));
}

static void on_idle(uv_idle_t *idle)
{
	(void)idle;
}

static struct loop *leaked; /* reachable, so that leak checkers agree */

static void test_free_tells_of_an_open_handle(void **state)
{
	(void)state;
	static uv_idle_t idle;
	struct loop *l = loop_new();
	leaked = l;
	uv_idle_init(loop_uv(l), &idle);
	assert_int_equal(uv_idle_start(&idle, on_idle), 0);
	assert_false(loop_free(l));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_posts_of_each_thread_keep_their_order),
	    cmocka_unit_test(test_posting_chain_does_not_starve_timers),
	    cmocka_unit_test(test_stop_before_run_ends_the_run),
	    cmocka_unit_test(test_free_runs_what_is_queued),
	    cmocka_unit_test(test_stop_from_another_thread),
	    cmocka_unit_test(test_timer_runs_once),
	    cmocka_unit_test(test_timer_repeats_until_canceled),
	    cmocka_unit_test(test_delay_counts_from_the_call),
	    cmocka_unit_test(test_timer_may_free_itself),
	    cmocka_unit_test(test_rearming_with_zero_does_not_starve_posts),
	    cmocka_unit_test(test_armed_timer_freed_before_the_run),
	    cmocka_unit_test(test_clocks_agree),
	    cmocka_unit_test(test_work_runs_elsewhere_and_returns),
	    cmocka_unit_test(test_free_waits_for_work),
	    cmocka_unit_test(test_signal_reaches_the_loop),
	    cmocka_unit_test(test_free_tells_of_an_open_handle),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
