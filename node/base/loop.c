/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The loop and the door to it.
 *
 * Posts wait in an array of {fn, arg} behind one mutex; a uv_async_t says
 * only that there are some, because libuv merges wake-ups. Whoever makes the
 * queue non-empty sends the wake-up, so a burst of posts costs one write. The
 * loop swaps the array for a second one and runs it unlocked: a callback that
 * posts fills the other array, which is the next round's, so that a chain of
 * posts never keeps sockets and timers waiting. The two arrays are used in
 * turn and nothing is allocated per post.
 *
 * The wake-up is sent with the mutex held: a thread whose last act is a post
 * has no claim on the loop after the mutex is free, and loop_free may follow
 * at once.
 *
 * Every handle of ours but the async is unreferenced, and the async is what
 * keeps loop_run running until loop_stop.
 */
#include "node/base/loop.h"

#include "node/base/log.h"
#include "node/base/mem.h"

#include <uv.h>

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LOOP_POSTS_KEEP 4096 /* a larger array goes after its batch */
#define LOOP_END_ROUNDS 1000 /* for posts that post again after loop_stop */
#define LOOP_END_MS 5000     /* loop_free waits no longer for requests */

struct post {
	loop_fn fn;
	void *arg;
};

struct posts {
	struct post *items;
	size_t n, cap;
};

struct loop {
	uv_loop_t uv;
	uv_async_t wake;
	uv_mutex_t lock;      /* guards queue, and sending on wake */
	struct posts queue;   /* filled by loop_post */
	struct posts running; /* the batch being run; the loop's own */
	struct loop_sig *sigs;
	uv_thread_t thread; /* valid while has_thread */
	atomic_bool has_thread;
	atomic_bool stop;
};

struct loop_sig {
	uv_signal_t uv;
	struct loop_sig *next;
	loop_fn fn;
	void *arg;
};

struct loop_timer {
	uv_timer_t uv;
	loop_fn fn;
	void *arg;
};

struct work {
	uv_work_t req;
	loop_fn work, done;
	void *arg;
};

/* Posts */

void loop_post(struct loop *l, loop_fn fn, void *arg)
{
	uv_mutex_lock(&l->lock);
	struct posts *q = &l->queue;
	if (q->n == q->cap) {
		q->cap = q->cap ? q->cap * 2 : 64;
		q->items = xrealloc(q->items, q->cap * sizeof(*q->items));
	}
	q->items[q->n++] = (struct post){fn, arg};
	if (q->n == 1)
		uv_async_send(&l->wake);
	uv_mutex_unlock(&l->lock);
}

/* Runs what is queued now; false if there was nothing. */
static bool run_posts(struct loop *l)
{
	uv_mutex_lock(&l->lock);
	const struct posts batch = l->queue;
	l->queue = l->running;
	uv_mutex_unlock(&l->lock);

	for (size_t i = 0; i < batch.n; i++)
		batch.items[i].fn(batch.items[i].arg);
	l->running = (struct posts){batch.items, 0, batch.cap};
	if (batch.cap > LOOP_POSTS_KEEP) {
		free(batch.items);
		l->running = (struct posts){0};
	}
	return batch.n > 0;
}

static void on_wake(uv_async_t *wake)
{
	struct loop *l = wake->data;
	run_posts(l);
	if (atomic_load(&l->stop))
		uv_stop(&l->uv);
}

/* Life */

static void must(int rc, const char *what)
{
	if (!rc)
		return;
	fprintf(stderr, "hnode: %s: %s\n", what, uv_strerror(rc));
	abort();
}

struct loop *loop_new(void)
{
	struct loop *l = HN_NEW(struct loop);
	must(uv_loop_init(&l->uv), "event loop");
	must(uv_mutex_init(&l->lock), "mutex");
	must(uv_async_init(&l->uv, &l->wake, on_wake), "wake-up handle");
	l->wake.data = l;
	return l;
}

static void see_closing(uv_handle_t *h, void *arg)
{
	bool *closing = arg;
	*closing |= uv_is_closing(h);
}

void loop_run(struct loop *l)
{
	l->thread = uv_thread_self();
	atomic_store(&l->has_thread, true);
	uv_run(&l->uv, UV_RUN_DEFAULT);

	/* What was posted or closed before the stop still gets its call. */
	bool more = true;
	for (int i = 0; more && i < LOOP_END_ROUNDS; i++) {
		more = run_posts(l);
		uv_walk(&l->uv, see_closing, &more);
		uv_run(&l->uv, UV_RUN_NOWAIT);
	}
	atomic_store(&l->stop, false);
	atomic_store(&l->has_thread, false);
}

void loop_stop(struct loop *l)
{
	uv_mutex_lock(&l->lock);
	atomic_store(&l->stop, true);
	uv_async_send(&l->wake);
	uv_mutex_unlock(&l->lock);
}

bool loop_here(const struct loop *l)
{
	if (!atomic_load(&l->has_thread))
		return true;
	const uv_thread_t self = uv_thread_self();
	return uv_thread_equal(&self, &l->thread);
}

static void unref_open(uv_handle_t *h, void *arg)
{
	(void)arg;
	if (!uv_is_closing(h))
		uv_unref(h);
}

static void log_open(uv_handle_t *h, void *arg)
{
	(void)arg;
	if (!uv_is_closing(h))
		log_debug("loop", "handle left open type=%s at=%p",
			  uv_handle_type_name(h->type), (void *)h);
}

static void on_end_timeout(uv_timer_t *timer)
{
	log_debug("loop", "requests did not end in %d ms, giving up",
		  LOOP_END_MS);
	uv_stop(timer->loop);
}

static void on_sig_closed(uv_handle_t *h)
{
	free(h->data);
}

bool loop_free(struct loop *l)
{
	/*
	 * With every open handle unreferenced, uv_run ends once requests (work,
	 * file reads, lookups) and closing handles have ended, however many
	 * handles somebody forgot. Their callbacks may still post: our own
	 * handles close after that.
	 */
	uv_timer_t guard;
	uv_timer_init(&l->uv, &guard);
	uv_update_time(&l->uv);
	uv_timer_start(&guard, on_end_timeout, LOOP_END_MS, 0);
	int rounds = LOOP_END_ROUNDS;
	do {
		uv_walk(&l->uv, unref_open, NULL);
		uv_run(&l->uv, UV_RUN_DEFAULT);
	} while (run_posts(l) && --rounds &&
		 uv_is_active((uv_handle_t *)&guard));

	uv_close((uv_handle_t *)&guard, NULL);
	uv_close((uv_handle_t *)&l->wake, NULL);
	while (l->sigs) {
		struct loop_sig *s = l->sigs;
		l->sigs = s->next;
		uv_close((uv_handle_t *)&s->uv, on_sig_closed);
	}
	uv_walk(&l->uv, log_open, NULL);
	/* Closing callbacks run in a single round, which need not wait. */
	uv_run(&l->uv, UV_RUN_NOWAIT);
	if (uv_loop_close(&l->uv))
		return false; /* open handles point into l: it must stay */
	free(l->queue.items);
	free(l->running.items);
	uv_mutex_destroy(&l->lock);
	free(l);
	return true;
}

/* Work and time */

static void on_work(uv_work_t *req)
{
	struct work *w = req->data;
	w->work(w->arg);
}

static void on_worked(uv_work_t *req, int status)
{
	struct work *w = req->data;
	const loop_fn done = w->done;
	void *arg = w->arg;

	(void)status; /* nobody cancels these */
	free(w);
	done(arg);
}

void loop_work(struct loop *l, loop_fn work, loop_fn done, void *arg)
{
	struct work *w = HN_NEW(struct work);
	w->work = work;
	w->done = done;
	w->arg = arg;
	w->req.data = w;
	must(uv_queue_work(&l->uv, &w->req, on_work, on_worked), "work");
}

uint64_t clock_ns(void)
{
	return uv_hrtime();
}

static _Atomic int64_t unix_shift;

uint64_t clock_unix_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000 +
	       (uint64_t)atomic_load(&unix_shift);
}

void clock_unix_shift(int64_t ms)
{
	atomic_store(&unix_shift, ms);
}

uint64_t loop_ms(const struct loop *l)
{
	/* Outside loop_run nobody refreshes libuv's clock. */
	if (!atomic_load(&l->has_thread))
		return clock_ns() / 1000000;
	return uv_now(&l->uv);
}

/* Timers */

static void on_timer(uv_timer_t *uv)
{
	struct loop_timer *t = uv->data;
	t->fn(t->arg); /* may free t */
}

struct loop_timer *loop_timer_new(struct loop *l, loop_fn fn, void *arg)
{
	struct loop_timer *t = HN_NEW(struct loop_timer);
	uv_timer_init(&l->uv, &t->uv);
	uv_unref((uv_handle_t *)&t->uv);
	t->uv.data = t;
	t->fn = fn;
	t->arg = arg;
	return t;
}

/*
 * libuv counts from the start of the round; after a long callback that is too
 * early by the callback's length, which is added here. Calling uv_update_time
 * instead would let timers that re-arm themselves become due again within the
 * pass that runs timers, and keep sockets waiting. For the same reason the
 * delay is never 0.
 */
static uint64_t delay_from_now(const struct loop_timer *t, uint64_t ms)
{
	const uint64_t now = clock_ns() / 1000000;
	const uint64_t round = uv_now(t->uv.loop);
	const uint64_t late = now > round ? now - round : 0;

	if (ms > UINT64_MAX / 4)
		ms = UINT64_MAX / 4;
	return ms + late ? ms + late : 1;
}

void loop_timer_set(struct loop_timer *t, uint64_t ms)
{
	uv_timer_start(&t->uv, on_timer, delay_from_now(t, ms), 0);
}

void loop_timer_every(struct loop_timer *t, uint64_t ms)
{
	uv_timer_start(&t->uv, on_timer, delay_from_now(t, ms), ms ? ms : 1);
}

void loop_timer_cancel(struct loop_timer *t)
{
	uv_timer_stop(&t->uv);
}

bool loop_timer_armed(const struct loop_timer *t)
{
	return uv_is_active((const uv_handle_t *)&t->uv);
}

static void on_timer_closed(uv_handle_t *h)
{
	free(h->data);
}

void loop_timer_free(struct loop_timer *t)
{
	if (t)
		uv_close((uv_handle_t *)&t->uv, on_timer_closed);
}

/* Signals */

static void on_sig(uv_signal_t *uv, int signum)
{
	const struct loop_sig *s = uv->data;
	(void)signum;
	s->fn(s->arg);
}

void loop_signal(struct loop *l, int signum, loop_fn fn, void *arg)
{
	struct loop_sig *s = HN_NEW(struct loop_sig);
	s->fn = fn;
	s->arg = arg;
	s->uv.data = s;
	s->next = l->sigs;
	l->sigs = s;
	must(uv_signal_init(&l->uv, &s->uv), "signal handle");
	must(uv_signal_start(&s->uv, on_sig, signum), "signal");
	uv_unref((uv_handle_t *)&s->uv);
}

uv_loop_t *loop_uv(struct loop *l)
{
	return &l->uv;
}
