/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "asic/asic.h"

#include "asic/driver.h"
#include "asic/sha256d.h"
#include "node/base/buf.h"

#include <utlist.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* With one software device the pool is a list of one; drivers for chips add
 * rows to `drivers` and devices to the list. */
struct device {
	const struct asic_driver *driver;
	struct asic_device *dev;
	uint64_t shares, hw_errors;
};

struct asic {
	struct loop *loop;
	struct device cpu;
	unsigned tasks; /* scans and batches not done */
	bool stopping;
	loop_fn stopped;
	void *stopped_arg;
};

struct asic_scan {
	struct asic *pool;
	struct device *device;
	struct asic_task *task;
	struct scan_work work;
	struct asic_scan_ops ops;
	void *arg;
	uint64_t below;
};

struct asic_batch {
	struct asic *pool;
	struct asic_task *task;
	asic_batch_fn done;
	void *arg;
};

/* The reference hash decides what is a share; a claim that is none is a
 * hardware error. Keeps the good ones in place and returns how many. */
static size_t judge(struct asic_scan *s, const uint32_t *claims, size_t n,
		    uint32_t *good)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		uint8_t digest[SHA256_BYTES];
		sha256d_header(s->work.header, claims[i], digest);
		if (sha256d_zero_bits(digest) >= s->work.share_bits)
			good[kept++] = claims[i];
	}
	s->device->shares += kept;
	s->device->hw_errors += n - kept;
	return kept;
}

static void on_progress(void *arg, uint64_t below, const uint32_t *claims,
			size_t n)
{
	struct asic_scan *s = arg;

	if (below == s->below && !n)
		return;
	uint32_t *good = xmalloc(n * sizeof(*good));
	n = judge(s, claims, n, good);
	s->below = below;
	s->ops.progress(s->arg, below, good, n);
	free(good);
}

static void task_over(struct asic *a)
{
	a->tasks--;
}

static void on_done(void *arg, enum err e, uint64_t hashes)
{
	struct asic_scan *s = arg;

	task_over(s->pool);
	s->ops.done(s->arg, e, hashes);
	free(s);
}

static const struct asic_device_events events = {
    .progress = on_progress,
    .done = on_done,
};

enum err asic_new(const struct asic_options *o, struct buf *why,
		  struct asic **out)
{
	struct asic *a = HN_NEW(struct asic);

	a->loop = o->loop;
	a->cpu.driver = &driver_cpu;
	enum err e = driver_cpu.open(o->loop, o, &events, why, &a->cpu.dev);
	if (e) {
		free(a);
		return e;
	}
	*out = a;
	return OK;
}

static void on_closed(void *arg)
{
	struct asic *a = arg;
	loop_fn stopped = a->stopped;
	void *stopped_arg = a->stopped_arg;

	assert(!a->tasks);
	free(a);
	stopped(stopped_arg);
}

void asic_stop(struct asic *a, loop_fn done, void *arg)
{
	loop_assert(a->loop);
	a->stopping = true;
	a->stopped = done;
	a->stopped_arg = arg;
	a->cpu.driver->close(a->cpu.dev, on_closed, a);
}

enum err asic_scan_start(struct asic *a, const struct scan_work *w,
			 uint64_t client, const struct asic_scan_ops *ops,
			 void *arg, struct asic_scan **out)
{
	loop_assert(a->loop);
	enum err e = scan_work_check(w);
	if (e)
		return e;
	if (a->stopping)
		return ERR_GONE;
	struct asic_scan *s = HN_NEW(struct asic_scan);
	s->pool = a;
	s->device = &a->cpu;
	s->work = *w;
	s->ops = *ops;
	s->arg = arg;
	s->below = w->start;
	s->task = s->device->driver->submit(s->device->dev, w, client, s);
	if (!s->task) {
		free(s);
		return ERR_DEVICE;
	}
	a->tasks++;
	*out = s;
	return OK;
}

void asic_scan_cancel(struct asic_scan *s)
{
	loop_assert(s->pool->loop);
	s->device->driver->cancel(s->device->dev, s->task);
}

static void on_batch(void *arg, enum err e, const uint8_t (*digests)[32],
		     size_t n)
{
	struct asic_batch *b = arg;

	task_over(b->pool);
	b->done(b->arg, e, digests, n);
	free(b);
}

enum err asic_batch_start(struct asic *a, const struct bytes *msgs, size_t n,
			  int rounds, uint64_t client, asic_batch_fn done,
			  void *arg, struct asic_batch **out)
{
	loop_assert(a->loop);
	if (!n || (rounds != 1 && rounds != 2))
		return ERR_INPUT;
	if (a->stopping)
		return ERR_GONE;
	struct asic_batch *b = HN_NEW(struct asic_batch);
	b->pool = a;
	b->done = done;
	b->arg = arg;
	b->task = a->cpu.driver->batch(a->cpu.dev, msgs, n, rounds, client,
				       on_batch, b);
	if (!b->task) {
		free(b);
		return ERR_DEVICE;
	}
	a->tasks++;
	*out = b;
	return OK;
}

void asic_batch_cancel(struct asic_batch *b)
{
	loop_assert(b->pool->loop);
	b->pool->cpu.driver->cancel(b->pool->cpu.dev, b->task);
}

/* --- measuring: a scan that nobody needs, cut off by a timer --- */

struct measure {
	struct asic *pool;
	struct asic_scan *scan;
	struct loop_timer *timer;
	uint32_t ms;
	asic_measure_fn done;
	void *arg;
};

static void measure_end(struct measure *m, uint64_t rate)
{
	loop_timer_free(m->timer);
	m->done(m->arg, rate);
	free(m);
}

static void on_measure_time(void *arg)
{
	struct measure *m = arg;

	asic_scan_cancel(m->scan);
}

/* The clock starts with the first report, when the threads run and the
 * kernel is chosen. */
static void on_measure_progress(void *arg, uint64_t below,
				const uint32_t *shares, size_t n)
{
	struct measure *m = arg;

	(void)below, (void)shares, (void)n;
	if (!loop_timer_armed(m->timer))
		loop_timer_set(m->timer, m->ms);
}

static void on_measure_done(void *arg, enum err e, uint64_t hashes)
{
	struct measure *m = arg;

	(void)e, (void)hashes;
	measure_end(m, asic_rate(m->pool));
}

static void on_measure_known(void *arg)
{
	struct measure *m = arg;

	measure_end(m, asic_rate(m->pool));
}

void asic_measure(struct asic *a, uint32_t ms, asic_measure_fn done, void *arg)
{
	static const struct asic_scan_ops ops = {on_measure_progress,
						 on_measure_done};
	struct scan_work w = {.start = 0, .end = NONCES, .share_bits = 32};
	struct measure *m = HN_NEW(struct measure);

	loop_assert(a->loop);
	m->pool = a;
	m->ms = ms;
	m->done = done;
	m->arg = arg;
	m->timer = loop_timer_new(a->loop, on_measure_time, m);
	if (a->tasks || asic_scan_start(a, &w, ASIC_OWN, &ops, m, &m->scan))
		loop_post(a->loop, on_measure_known, m);
}

void asic_lend(struct asic *a, unsigned threads, unsigned permille)
{
	loop_assert(a->loop);
	a->cpu.driver->lend(a->cpu.dev, threads, permille);
}

uint64_t asic_lent_rate(const struct asic *a)
{
	struct asic_device_info info;

	return asic_devices(a, &info, 1) ? info.lent_rate : 0;
}

size_t asic_devices(const struct asic *a, struct asic_device_info *out,
		    size_t max)
{
	if (!max)
		return 0;
	memset(out, 0, sizeof(*out));
	out->hardware = a->cpu.driver->hardware;
	a->cpu.driver->info(a->cpu.dev, out);
	out->shares = a->cpu.shares;
	out->hw_errors = a->cpu.hw_errors;
	return 1;
}

uint64_t asic_rate(const struct asic *a)
{
	struct asic_device_info info;

	return asic_devices(a, &info, 1) ? info.rate : 0;
}
