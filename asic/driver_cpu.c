/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The software device: worker threads that scan nonce ranges and digest
 * messages with the fastest kernel of this CPU.
 *
 * Tasks behind one mutex, a queue for each client. A thread takes the next
 * chunk (some 5 ms of work) of the first task of the client that was served
 * least, so all threads share a unit and pass on to the next one without a
 * gap, and a client with much work does not keep the others waiting (start-time
 * fair queueing, Goyal, Vin and Cheng 1996: who comes anew begins where the
 * others are, so idling saves nothing up). What is done for others is held to
 * its share by a credit that each thread earns as time passes and pays with
 * the processor time it uses for them (asic_lend). Chunks end out of order; a
 * task keeps those in flight in order of issue and reports only the prefix,
 * with its claims ascending. A task's chunk is short, so cancelling means to
 * hand out no more: it is over when the last chunk in flight ends.
 *
 * The loop hears of a task by at most one post at a time (`posted`): the
 * thread that ends a chunk posts when a report is due, and the handler takes
 * all that is there. Threads start with the first task and run at the lowest
 * priority; nothing runs and nothing is measured before.
 */
#include "asic/driver.h"

#include "asic/kernel.h"
#include "node/base/buf.h"
#include "node/base/loop.h"
#include "node/base/mem.h"

#include <utlist.h>

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define CHUNK_NS 5000000u  /* what a chunk should take a thread */
#define CHUNK_FIRST 65536u /* nonces, before the rate is known */
#define CHUNK_MIN 4096u
#define CHUNK_MAX (1u << 24)
#define REPORT_NS 100000000u	 /* between two reports of a task */
#define CLAIMS_AT_ONCE 1024	 /* a kernel's output buffer */
#define SLICE_BYTES (256u << 10) /* of messages, per batch chunk */
#define SLICE_ITEMS 1024u
#define BATCH_NS 2.0 /* a byte of a message, about */
#define BATCH_LEAST_NS 100000.0
#define LENT_CHUNK_NS 500000u	 /* at the least, however small the share */
#define LENT_CREDIT_NS 5000000.0 /* what a thread may save up */
#define LENT_AHEAD_NS 100000000.0
#define THREADS_MAX 1024u
#define LOWEST_PRIORITY 19

struct chunk {
	struct chunk *prev, *next;
	uint64_t start, end;
	bool done;
	struct buf claims; /* uint32_t in host order */
};

/* Who has tasks with something left to hand out. */
struct client {
	struct client *prev, *next;
	uint64_t key;
	double served; /* ns, in the device's virtual time */
	struct asic_task *queue;
};

/* A scan or, with msgs, a batch. */
struct asic_task {
	struct asic_task *prev, *next; /* in its client's queue */
	struct asic_device *dev;
	struct client *client; /* while queued */
	void *arg;
	bool canceled, finished, posted;
	unsigned running;   /* chunks in flight */
	uint64_t todo, end; /* [todo, end) is not handed out yet */

	/* scan */
	struct kernel_job job;
	uint32_t mask;
	struct chunk *chunks; /* in order of issue */
	uint64_t below;
	uint64_t hashes;
	struct buf claims; /* of the prefix, not reported yet */
	uint64_t reported_ns;

	/* batch */
	const struct bytes *msgs;
	int rounds;
	uint8_t (*digests)[32];
	asic_batch_fn batch_done;
};

struct thread {
	pthread_t tid;
	struct asic_device *dev;
	const struct kernel *kernel; /* the thread's own to set and read */
	int core;		     /* -1: not pinned */
	double rate;		     /* nonces per ns, smoothed; 0: not known */
	double credit;		     /* ns for others' work; below 0: none */
	uint64_t credit_ns;	     /* as of then */
};

struct asic_device {
	struct loop *loop;
	const struct asic_device_events *events;
	const struct kernel *kernel;	  /* NULL: the best */
	const struct kernel *scan_kernel; /* in use; NULL: not known yet */

	pthread_mutex_t lock; /* guards all below and the tasks */
	pthread_cond_t work;
	struct client *clients;
	double served; /* where a client that comes anew begins */
	struct thread *threads;
	unsigned nthreads, started;
	unsigned lent_threads, lent_permille;
	bool closing;
	uint64_t hashes;
	unsigned open; /* tasks not finished */

	loop_fn closed;
	void *closed_arg;
};

/* --- worker threads --- */

static bool is_batch(const struct asic_task *t)
{
	return t->msgs != NULL;
}

static void on_report(void *arg);

/* With the lock held. */
static void report(struct asic_task *t)
{
	if (t->posted)
		return;
	t->posted = true;
	t->reported_ns = clock_ns();
	loop_post(t->dev->loop, on_report, t);
}

/* With the lock held. */
static void queue_add(struct asic_device *d, struct asic_task *t, uint64_t key)
{
	struct client *c;

	DL_SEARCH_SCALAR(d->clients, c, key, key);
	if (!c) {
		c = HN_NEW(struct client);
		c->key = key;
		c->served = d->served;
		DL_APPEND(d->clients, c);
	}
	DL_APPEND(c->queue, t);
	t->client = c;
}

static void queue_remove(struct asic_device *d, struct asic_task *t)
{
	struct client *c = t->client;

	DL_DELETE(c->queue, t);
	t->client = NULL;
	if (c->queue)
		return;
	DL_DELETE(d->clients, c);
	free(c);
}

static bool is_lent(const struct client *c)
{
	return c->key >= ASIC_OTHERS;
}

/* With the lock held: how many ns it is until this thread may work for others;
 * 0: it may now. UINT64_MAX: it may not at all. */
static uint64_t lent_wait(struct thread *th)
{
	const struct asic_device *d = th->dev;
	const double share = d->lent_permille / 1000.0;
	uint64_t now = clock_ns();

	if ((unsigned)(th - d->threads) >= d->lent_threads)
		return UINT64_MAX;
	th->credit += (double)(now - th->credit_ns) * share;
	th->credit_ns = now;
	if (th->credit > LENT_CREDIT_NS)
		th->credit = LENT_CREDIT_NS;
	if (d->lent_permille >= 1000 || th->credit >= 0)
		return 0;
	return (uint64_t)(-th->credit / share) + 1;
}

/* With the lock held: whose turn it is; NULL: nobody's for *wait ns. */
static struct asic_task *queue_next(struct thread *th, uint64_t *wait)
{
	struct asic_device *d = th->dev;
	struct client *c, *least = NULL, *held = NULL;
	bool asked = false;

	*wait = UINT64_MAX;
	DL_FOREACH (d->clients, c) {
		if (c->key == ASIC_URGENT)
			return c->queue;
		if (is_lent(c) && !asked) {
			asked = true;
			*wait = lent_wait(th);
		}
		struct client **best = is_lent(c) && *wait ? &held : &least;
		if (!*best || c->served < (*best)->served)
			*best = c;
	}
	if (!least)
		return NULL;
	/* Being held to a share saves nothing up, either. */
	if (held && least->served > held->served + LENT_AHEAD_NS)
		least->served = held->served + LENT_AHEAD_NS;
	d->served = least->served;
	return least->queue;
}

/* With the lock held: after a change of todo, end, running or canceled. */
static void settle(struct asic_task *t)
{
	struct asic_device *d = t->dev;

	if (t->client && (t->canceled || t->todo == t->end))
		queue_remove(d, t);
	if (t->finished || t->client || t->running)
		return;
	t->finished = true;
	d->open--;
	report(t);
}

static size_t slice_items(const struct asic_task *t, size_t *bytes)
{
	size_t n = 0;

	while (n < SLICE_ITEMS && t->todo + n < t->end && *bytes < SLICE_BYTES)
		*bytes += t->msgs[t->todo + n++].n;
	return n;
}

static uint64_t scan_nonces(const struct asic_task *t, const struct thread *th)
{
	const struct asic_device *d = t->dev;
	const bool lent = is_lent(t->client);
	uint64_t left = t->end - t->todo;
	unsigned ns = CHUNK_NS;

	/* A small share in small pieces: its pauses are shorter, too. */
	if (lent)
		ns = CHUNK_NS / 1000 * d->lent_permille;
	if (ns < LENT_CHUNK_NS)
		ns = LENT_CHUNK_NS;
	uint64_t n = th->rate > 0 ? (uint64_t)(th->rate * ns) : CHUNK_FIRST;

	n = n < CHUNK_MIN ? CHUNK_MIN : n > CHUNK_MAX ? CHUNK_MAX : n;
	/* Towards the end of a unit the threads share what is left. */
	uint64_t fair = left / (lent ? d->lent_threads : d->nthreads) + 1;
	if (n > fair)
		n = fair < CHUNK_MIN ? CHUNK_MIN : fair;
	return n < left ? n : left;
}

/* With the lock held: the next piece of the task for this thread. */
static struct chunk *hand_out(struct asic_task *t, const struct thread *th)
{
	struct chunk *c = HN_NEW(struct chunk);
	size_t bytes = 0;

	c->start = t->todo;
	c->end = t->todo +
		 (is_batch(t) ? slice_items(t, &bytes) : scan_nonces(t, th));
	/* What it will take, about; a part of a chunk counts as a whole one. */
	t->client->served +=
	    is_batch(t) ? (double)bytes * BATCH_NS + BATCH_LEAST_NS : CHUNK_NS;
	t->todo = c->end;
	t->running++;
	DL_APPEND(t->chunks, c);
	settle(t);
	return c;
}

static void chunk_free(struct chunk *c)
{
	buf_release(&c->claims);
	free(c);
}

static void run_scan(const struct asic_task *t, struct chunk *c,
		     const struct kernel *k)
{
	uint32_t out[CLAIMS_AT_ONCE];

	for (uint64_t at = c->start; at < c->end;) {
		size_t n = k->scan(&t->job, at, c->end, t->mask, out,
				   CLAIMS_AT_ONCE, &at);
		buf_add(&c->claims, out, n * sizeof(out[0]));
	}
}

/* With the lock held: chunks that are through join the prefix, in order. */
static void collect(struct asic_task *t)
{
	struct chunk *c;

	while ((c = t->chunks) && c->done) {
		t->below = c->end;
		buf_add(&t->claims, c->claims.p, c->claims.n);
		DL_DELETE(t->chunks, c);
		chunk_free(c);
	}
}

static void learn_rate(struct thread *th, uint64_t nonces, uint64_t ns)
{
	double rate = (double)nonces / (double)(ns ? ns : 1);

	th->rate = th->rate > 0 ? th->rate * 0.9 + rate * 0.1 : rate;
}

static uint64_t thread_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* One chunk; called and left with the lock held. */
static void work_on(struct thread *th, struct asic_task *t)
{
	struct asic_device *d = th->dev;
	const bool lent = is_lent(t->client);
	struct chunk *c = hand_out(t, th);

	pthread_mutex_unlock(&d->lock);
	uint64_t began = clock_ns(), used = thread_ns();
	if (is_batch(t))
		kernel_best_batch()->batch(t->msgs + c->start,
					   (size_t)(c->end - c->start),
					   t->rounds, t->digests + c->start);
	else
		run_scan(t, c, th->kernel);
	uint64_t now = clock_ns();
	used = thread_ns() - used;
	pthread_mutex_lock(&d->lock);

	uint64_t count = c->end - c->start;
	if (lent && d->lent_permille < 1000)
		th->credit -= (double)used;
	c->done = true;
	t->running--;
	if (!is_batch(t)) {
		t->hashes += count;
		d->hashes += count;
		learn_rate(th, count, now - began);
	}
	collect(t);
	if (!is_batch(t) && now - t->reported_ns >= REPORT_NS)
		report(t);
	settle(t);
}

static void pin(const struct thread *th)
{
	cpu_set_t one;

	/* Best effort: a refused priority or core costs speed, not truth. */
	setpriority(PRIO_PROCESS, (id_t)gettid(), LOWEST_PRIORITY);
	if (th->core < 0)
		return;
	CPU_ZERO(&one);
	CPU_SET((unsigned)th->core, &one);
	pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
}

static void wait_for_work(struct asic_device *d, uint64_t wait_ns)
{
	if (wait_ns == UINT64_MAX) {
		pthread_cond_wait(&d->work, &d->lock);
		return;
	}
	uint64_t until = clock_ns() + wait_ns;
	struct timespec t = {.tv_sec = (time_t)(until / 1000000000u),
			     .tv_nsec = (long)(until % 1000000000u)};
	pthread_cond_timedwait(&d->work, &d->lock, &t);
}

static void *thread_main(void *arg)
{
	struct thread *th = arg;
	struct asic_device *d = th->dev;

	pin(th);
	th->kernel = d->kernel ? d->kernel : kernel_best();
	pthread_mutex_lock(&d->lock);
	d->scan_kernel = th->kernel;
	th->credit_ns = clock_ns();
	while (!d->closing) {
		uint64_t wait;
		struct asic_task *t = queue_next(th, &wait);
		if (t)
			work_on(th, t);
		else
			wait_for_work(d, wait);
	}
	pthread_mutex_unlock(&d->lock);
	return NULL;
}

/* --- the loop's side --- */

static void task_free(struct asic_task *t)
{
	struct chunk *c;

	while ((c = t->chunks)) {
		DL_DELETE(t->chunks, c);
		chunk_free(c);
	}
	buf_release(&t->claims);
	free(t->digests);
	free(t);
}

static void tell_scan(struct asic_task *t, uint64_t below, struct buf *claims,
		      bool finished, enum err e, uint64_t hashes)
{
	const struct asic_device_events *ev = t->dev->events;

	ev->progress(t->arg, below, (const uint32_t *)(void *)claims->p,
		     claims->n / sizeof(uint32_t));
	if (finished)
		ev->done(t->arg, e, hashes);
}

static void on_report(void *arg)
{
	struct asic_task *t = arg;
	struct asic_device *d = t->dev;

	pthread_mutex_lock(&d->lock);
	struct buf claims = t->claims;
	memset(&t->claims, 0, sizeof(t->claims));
	uint64_t below = t->below, hashes = t->hashes;
	bool finished = t->finished;
	enum err e = t->todo < t->end ? ERR_CANCELED : OK;
	t->posted = false;
	pthread_mutex_unlock(&d->lock);

	if (!is_batch(t))
		tell_scan(t, below, &claims, finished, e, hashes);
	else if (finished)
		t->batch_done(t->arg, e, (const uint8_t(*)[32])t->digests,
			      e ? 0 : (size_t)t->end);
	buf_release(&claims);
	if (finished)
		task_free(t);
}

static void start_threads(struct asic_device *d)
{
	for (; d->started < d->nthreads; d->started++) {
		struct thread *th = &d->threads[d->started];
		if (pthread_create(&th->tid, NULL, thread_main, th))
			break; /* fewer threads work more slowly */
	}
}

static struct asic_task *task_add(struct asic_device *d, struct asic_task *t,
				  uint64_t client)
{
	start_threads(d);
	if (!d->started) {
		task_free(t);
		return NULL;
	}
	t->dev = d;
	pthread_mutex_lock(&d->lock);
	queue_add(d, t, client);
	d->open++;
	t->reported_ns = clock_ns();
	pthread_cond_broadcast(&d->work);
	pthread_mutex_unlock(&d->lock);
	return t;
}

static struct asic_task *task_new(void)
{
	struct asic_task *t =
	    aligned_alloc(_Alignof(struct asic_task), sizeof(*t));

	if (!t)
		abort();
	memset(t, 0, sizeof(*t));
	return t;
}

static struct asic_task *cpu_submit(struct asic_device *d,
				    const struct scan_work *w, uint64_t client,
				    void *task_arg)
{
	struct asic_task *t = task_new();

	t->arg = task_arg;
	t->todo = t->below = w->start;
	t->end = w->end;
	t->mask = kernel_mask((unsigned)w->share_bits);
	kernel_job_init(&t->job, w->header);
	return task_add(d, t, client);
}

static struct asic_task *cpu_batch(struct asic_device *d,
				   const struct bytes *msgs, size_t n,
				   int rounds, uint64_t client,
				   asic_batch_fn done, void *arg)
{
	struct asic_task *t = task_new();

	t->arg = arg;
	t->msgs = msgs;
	t->end = n;
	t->rounds = rounds;
	t->digests = xcalloc(n, sizeof(*t->digests));
	t->batch_done = done;
	return task_add(d, t, client);
}

static void cpu_cancel(struct asic_device *d, struct asic_task *t)
{
	pthread_mutex_lock(&d->lock);
	t->canceled = true;
	settle(t);
	pthread_mutex_unlock(&d->lock);
}

static void cpu_lend(struct asic_device *d, unsigned threads, unsigned permille)
{
	assert(permille && permille <= 1000);
	pthread_mutex_lock(&d->lock);
	d->lent_threads =
	    threads && threads < d->nthreads ? threads : d->nthreads;
	d->lent_permille = permille;
	for (unsigned n = 0; n < d->nthreads; n++)
		d->threads[n].credit = 0;
	pthread_cond_broadcast(&d->work);
	pthread_mutex_unlock(&d->lock);
}

static void cpu_info(const struct asic_device *cd, struct asic_device_info *i)
{
	struct asic_device *d = (struct asic_device *)cd;
	const struct client *c;
	const struct asic_task *t;
	double rate = 0, lent = 0;

	pthread_mutex_lock(&d->lock);
	for (unsigned n = 0; n < d->nthreads; n++) {
		rate += d->threads[n].rate;
		lent += n < d->lent_threads ? d->threads[n].rate : 0;
	}
	i->lent_threads = d->lent_threads;
	i->lent_rate = (uint64_t)(lent * 1e6 * d->lent_permille);
	DL_FOREACH (d->clients, c)
		DL_FOREACH (c->queue, t)
			i->queued += !t->running;
	i->running = d->open - i->queued;
	i->hashes = d->hashes;
	i->kernel = d->scan_kernel ? d->scan_kernel->name
		    : d->kernel	   ? d->kernel->name
				   : "not chosen yet";
	pthread_mutex_unlock(&d->lock);
	snprintf(i->id, sizeof(i->id), "cpu0");
	i->model = "software";
	i->threads = d->nthreads;
	i->rate = (uint64_t)(rate * 1e9);
}

/* "0,2-3" into the cores it names; false when it is not of that form. */
static bool parse_cores(const char *s, cpu_set_t *out)
{
	CPU_ZERO(out);
	for (;; s++) {
		char *end;
		unsigned long a = strtoul(s, &end, 10), b = a;
		if (end == s || *s < '0' || *s > '9')
			return false;
		if (*end == '-') {
			s = end + 1;
			b = strtoul(s, &end, 10);
			if (end == s || *s < '0' || *s > '9')
				return false;
		}
		if (a > b || b >= CPU_SETSIZE)
			return false;
		for (; a <= b; a++)
			CPU_SET(a, out);
		s = end;
		if (!*s)
			return true;
		if (*s != ',')
			return false;
	}
}

/* The cores to pin to (none: *n == 0) and how many threads they can keep
 * busy: by default and at most. More would share cores, and the sum of what
 * each reaches while it runs would be a rate that nobody gets. */
static enum err find_cores(const struct asic_options *o, int cores[],
			   unsigned *n, unsigned *threads, struct buf *why)
{
	cpu_set_t allowed, wanted;

	*n = 0;
	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		CPU_ZERO(&allowed);
	*threads = (unsigned)CPU_COUNT(&allowed);
	if (!*threads)
		*threads = 1;
	if (!o->affinity)
		return OK;
	if (!parse_cores(o->affinity, &wanted)) {
		buf_printf(why, "affinity %s: give core numbers such as 0,2-3",
			   o->affinity);
		return ERR_CONFIG;
	}
	for (unsigned c = 0; c < CPU_SETSIZE && *n < THREADS_MAX; c++) {
		if (!CPU_ISSET(c, &wanted))
			continue;
		if (!CPU_ISSET(c, &allowed)) {
			buf_printf(why,
				   "affinity %s: core %u is not one this "
				   "process may run on",
				   o->affinity, c);
			return ERR_CONFIG;
		}
		cores[(*n)++] = (int)c;
	}
	*threads = *n;
	return OK;
}

static enum err cpu_open(struct loop *l, const struct asic_options *o,
			 const struct asic_device_events *events,
			 struct buf *why, struct asic_device **out)
{
	int cores[THREADS_MAX];
	unsigned ncores, threads;
	const struct kernel *k = NULL;

	if (o->kernel && (!(k = kernel_find(o->kernel)) || !k->usable())) {
		buf_printf(why, "kernel %s: %s; see `hnode bench hash`",
			   o->kernel,
			   k ? "this CPU cannot run it" : "no such kernel");
		return ERR_CONFIG;
	}
	enum err e = find_cores(o, cores, &ncores, &threads, why);
	if (e)
		return e;
	if (o->threads > THREADS_MAX) {
		buf_printf(why, "threads %u: at most %u", o->threads,
			   THREADS_MAX);
		return ERR_CONFIG;
	}
	struct asic_device *d = HN_NEW(struct asic_device);
	d->loop = l;
	d->events = events;
	d->kernel = k;
	d->nthreads = o->threads && o->threads < threads ? o->threads : threads;
	d->threads = xcalloc(d->nthreads, sizeof(*d->threads));
	for (unsigned i = 0; i < d->nthreads; i++) {
		d->threads[i].dev = d;
		d->threads[i].core = ncores ? cores[i % ncores] : -1;
	}
	d->lent_threads = d->nthreads;
	d->lent_permille = 1000;
	pthread_condattr_t clock;
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->work, &clock);
	pthread_condattr_destroy(&clock);
	*out = d;
	return OK;
}

/* Off the loop: threads end within a chunk's time. */
static void join_threads(void *arg)
{
	struct asic_device *d = arg;

	for (unsigned i = 0; i < d->started; i++)
		pthread_join(d->threads[i].tid, NULL);
}

static void on_closed(void *arg)
{
	struct asic_device *d = arg;
	loop_fn closed = d->closed;
	void *closed_arg = d->closed_arg;

	assert(!d->open);
	pthread_cond_destroy(&d->work);
	pthread_mutex_destroy(&d->lock);
	free(d->threads);
	free(d);
	closed(closed_arg);
}

/* The threads are gone; what they posted is before this in the queue. */
static void on_joined(void *arg)
{
	struct asic_device *d = arg;

	loop_post(d->loop, on_closed, d);
}

static void cpu_close(struct asic_device *d, loop_fn done, void *arg)
{
	d->closed = done;
	d->closed_arg = arg;
	pthread_mutex_lock(&d->lock);
	while (d->clients) {
		struct asic_task *t = d->clients->queue;

		t->canceled = true;
		settle(t);
	}
	d->closing = true;
	pthread_cond_broadcast(&d->work);
	pthread_mutex_unlock(&d->lock);
	loop_work(d->loop, join_threads, on_joined, d);
}

const struct asic_driver driver_cpu = {
    .name = "cpu",
    .hardware = false,
    .open = cpu_open,
    .submit = cpu_submit,
    .cancel = cpu_cancel,
    .batch = cpu_batch,
    .lend = cpu_lend,
    .info = cpu_info,
    .close = cpu_close,
};
