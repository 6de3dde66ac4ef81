/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_BASE_LOOP_H
#define HN_BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/err.h"

/*
 * The one event loop. It owns nearly all state of the program: whatever is
 * not documented otherwise is called on the loop's thread only. loop_post is
 * the only door between threads (architecture.md section 4).
 */
struct loop;
struct loop_timer;

typedef void (*loop_fn)(void *arg);

/* Never NULL: without the few descriptors it needs, the program ends. */
struct loop *loop_new(void);

/* Runs until loop_stop; then drains posts and closing handles. */
void loop_run(struct loop *l);

/* Ends loop_run after the current round. Any thread. */
void loop_stop(struct loop *l);

/* Drains what is left, waits for loop_work and other requests (5 s at most),
 * and closes. Returns false if a handle was left open (a bug: tests assert
 * it; the handles are logged at debug). The loop is gone; no other thread may
 * post any more. */
bool loop_free(struct loop *l);

/*
 * Calls fn(arg) on the loop, in order of posting, never from inside this
 * call. Any thread; takes one mutex. arg is the caller's to own.
 */
void loop_post(struct loop *l, loop_fn fn, void *arg);

/* True on the loop's thread (or before loop_run started). */
bool loop_here(const struct loop *l);
#define loop_assert(l) assert(loop_here(l))

/* Runs work(arg) on the uv pool, then done(arg) on the loop. For short jobs:
 * file reads, name lookups, key derivation. */
void loop_work(struct loop *l, loop_fn work, loop_fn done, void *arg);

/* Monotonic time as of the beginning of this round; the same clock as
 * clock_ns. */
uint64_t loop_ms(const struct loop *l);
uint64_t clock_ns(void);      /* CLOCK_MONOTONIC, any thread */
uint64_t clock_unix_ms(void); /* wall clock, ms since 1970, any thread */
/* From now on clock_unix_ms is off by so much: a lab, tests. */
void clock_unix_shift(int64_t ms);

/*
 * Timers. One object, armed again at will; the callback may free it. A timer
 * never keeps loop_run alive by itself. Delays count from the call, however
 * long the present callback has run; 0 is the next round (1 ms). Free every
 * timer before loop_free.
 */
struct loop_timer *loop_timer_new(struct loop *l, loop_fn fn, void *arg);
void loop_timer_set(struct loop_timer *t, uint64_t ms); /* once, re-arms */
void loop_timer_every(struct loop_timer *t, uint64_t ms);
void loop_timer_cancel(struct loop_timer *t);
bool loop_timer_armed(const struct loop_timer *t);
void loop_timer_free(struct loop_timer *t); /* NULL is fine */

/* fn(arg) on each of these signals; until loop_free. */
void loop_signal(struct loop *l, int signum, loop_fn fn, void *arg);

/* The libuv loop underneath, for doorway files that need other handles. */
struct uv_loop_s *loop_uv(struct loop *l);

#endif
