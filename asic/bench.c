/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "asic/bench.h"

#include "asic/kernel.h"
#include "asic/sha256d.h"
#include "node/base/mem.h"

#include <openssl/evp.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	SLICES_MAX = 64,
	MESSAGES = 256, /* in one call of a batch */
	TEXT = MESSAGES * 1024,
	THREADS_MAX = 1024
};

/* What is measured. */
enum what { SCAN, BATCH_64, BATCH_1K };
static const size_t message_bytes[] = {[BATCH_64] = 64, [BATCH_1K] = 1024};

struct tally {
	double count, cpu, wall;
};

/* One thread of one measurement. */
struct worker {
	pthread_t thread;
	const atomic_bool *quit; /* the other threads did not come */
	const struct kernel *kernel;
	enum what what;
	double seconds;
	struct tally ours, openssl;
	double ratios[SLICES_MAX];
	size_t n;
	EVP_MD *md;
	EVP_MD_CTX *ctx;
	uint64_t nonce;
	struct kernel_job job;
	uint8_t header[80];
	uint8_t *text, (*out)[32];
	struct bytes msgs[MESSAGES];
};

static double seconds_of(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- the work: each returns how many hashes or messages ---- */

static double ours_some(struct worker *w)
{
	enum { NONCES = 8192 };
	uint32_t hits[16];
	uint64_t next;

	if (w->what != SCAN) {
		w->kernel->batch(w->msgs, MESSAGES, 1, w->out);
		return MESSAGES;
	}
	w->kernel->scan(&w->job, w->nonce, w->nonce + NONCES, 0xffffffff, hits,
			HN_COUNT(hits), &next);
	w->nonce = next & 0xffffffff & ~(uint64_t)(NONCES - 1);
	return NONCES;
}

static void evp_hash(struct worker *w, const void *p, size_t n, uint8_t *out)
{
	EVP_DigestInit_ex2(w->ctx, NULL, NULL);
	EVP_DigestUpdate(w->ctx, p, n);
	EVP_DigestFinal_ex(w->ctx, out, NULL);
}

static double openssl_some(struct worker *w)
{
	for (uint32_t i = 0; i < MESSAGES; i++) {
		uint8_t *out = w->out[i];

		if (w->what != SCAN) {
			evp_hash(w, w->msgs[i].p, w->msgs[i].n, out);
			continue;
		}
		memcpy(w->header + 76, &i, 4);
		evp_hash(w, w->header, 80, out);
		evp_hash(w, out, 32, out);
	}
	return MESSAGES;
}

/* Does it for so long; returns the rate by CPU time. */
static double slice(struct worker *w, double (*some)(struct worker *),
		    double seconds, struct tally *t)
{
	double cpu = seconds_of(CLOCK_THREAD_CPUTIME_ID);
	double wall = seconds_of(CLOCK_MONOTONIC);
	double count = 0, passed;

	do {
		count += some(w);
		passed = seconds_of(CLOCK_MONOTONIC) - wall;
	} while (passed < seconds);
	cpu = seconds_of(CLOCK_THREAD_CPUTIME_ID) - cpu;
	t->count += count;
	t->cpu += cpu;
	t->wall += passed;
	return count / (cpu + 1e-9);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	size_t slices = (size_t)(w->seconds / 0.02);

	slices = slices < 1 ? 1 : slices;
	slices = slices > SLICES_MAX ? SLICES_MAX : slices;
	/* Warm: page in, clock up. */
	ours_some(w);
	openssl_some(w);
	for (size_t i = 0; i < slices && !atomic_load(w->quit); i++) {
		double part = w->seconds / (double)slices;
		double ours = slice(w, ours_some, part * 0.7, &w->ours);
		double other = slice(w, openssl_some, part * 0.3, &w->openssl);

		w->ratios[w->n++] = ours / other;
	}
	return NULL;
}

/* ---- threads ---- */

static void worker_release(struct worker *w)
{
	EVP_MD_CTX_free(w->ctx);
	EVP_MD_free(w->md);
	free(w->text);
	free(w->out);
}

static enum err worker_init(struct worker *w, const struct kernel *k,
			    enum what what, double seconds, unsigned index)
{
	w->kernel = k;
	w->what = what;
	w->seconds = seconds;
	w->text = xmalloc(TEXT);
	w->out = xcalloc(MESSAGES, sizeof(*w->out));
	memset(w->text, (int)index, TEXT);
	/* One behind the other, as a hash tree has them. */
	for (size_t i = 0; i < MESSAGES && what != SCAN; i++)
		w->msgs[i] = (struct bytes){w->text + i * message_bytes[what],
					    message_bytes[what]};
	memset(w->header, (int)index + 1, sizeof(w->header));
	kernel_job_init(&w->job, w->header);
	/* Started with its digest once, then only restarted: the fastest way.
	 */
	w->md = EVP_MD_fetch(NULL, "SHA256", NULL);
	w->ctx = EVP_MD_CTX_new();
	if (!w->md || !w->ctx || !EVP_DigestInit_ex2(w->ctx, w->md, NULL))
		return ERR_CRYPTO;
	return OK;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void sum_up(const struct worker *workers, unsigned n,
		   struct bench_rate *rate)
{
	double *ratios = xcalloc((size_t)n * SLICES_MAX, sizeof(*ratios));
	size_t count = 0;

	memset(rate, 0, sizeof(*rate));
	for (unsigned i = 0; i < n; i++) {
		const struct worker *w = &workers[i];

		rate->cpu += 1e-6 * w->ours.count / (w->ours.cpu + 1e-9);
		rate->wall += 1e-6 * w->ours.count / (w->ours.wall + 1e-9);
		rate->openssl +=
		    1e-6 * w->openssl.count / (w->openssl.cpu + 1e-9);
		memcpy(ratios + count, w->ratios, w->n * sizeof(*ratios));
		count += w->n;
	}
	qsort(ratios, count, sizeof(*ratios), by_value);
	rate->ratio = count ? ratios[count / 2] : 0;
	free(ratios);
}

static enum err measure(const struct kernel *k, enum what what, double seconds,
			unsigned threads, struct bench_rate *rate)
{
	struct worker *workers;
	atomic_bool quit = false;
	unsigned begun;
	enum err e = OK;

	workers = xcalloc(threads, sizeof(*workers));
	for (unsigned i = 0; i < threads && e == OK; i++) {
		workers[i].quit = &quit;
		e = worker_init(&workers[i], k, what, seconds, i);
	}
	if (e != OK)
		goto out;
	/* The first one is this thread. */
	for (begun = 1; begun < threads; begun++)
		if (pthread_create(&workers[begun].thread, NULL, work,
				   &workers[begun]))
			break;
	if (begun < threads) {
		e = ERR_BUSY;
		atomic_store(&quit, true);
	} else {
		work(&workers[0]);
	}
	for (unsigned i = 1; i < begun; i++)
		pthread_join(workers[i].thread, NULL);
	if (e == OK)
		sum_up(workers, threads, rate);
out:
	for (unsigned i = 0; i < threads; i++)
		worker_release(&workers[i]);
	free(workers);
	return e;
}

/* ---- the table ---- */

static unsigned processors(void)
{
	cpu_set_t set;
	int n = 1;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		n = CPU_COUNT(&set);
	return n < 1 ? 1 : (unsigned)n;
}

static unsigned more_threads(unsigned n, unsigned max)
{
	unsigned next = n < 4 ? n + 1 : 2 * n;

	return n < max && next > max ? max : next;
}

static enum err row_measure(struct bench_row *row, double seconds)
{
	static const enum what all[] = {SCAN, BATCH_64, BATCH_1K};
	struct bench_rate *to[] = {&row->scan, &row->b64, &row->b1k};
	enum err e = OK;

	for (size_t i = 0; i < HN_COUNT(all) && e == OK; i++)
		e = measure(row->kernel, all[i], seconds, row->threads, to[i]);
	return e;
}

enum err bench_hash_run(double seconds, unsigned threads_max,
			bench_row_fn *on_row, void *arg, struct bench_hash *out)
{
	struct bench_hash b = {0};
	double best = 0;
	size_t n;
	const struct kernel *list = kernel_list(&n);

	if (threads_max == 0)
		threads_max = processors();
	if (threads_max > THREADS_MAX)
		threads_max = THREADS_MAX;
	if (!(seconds > 0.02))
		seconds = 0.02;
	for (size_t i = 0; i < n; i++)
		for (unsigned t = 1; t <= threads_max && list[i].usable();
		     t = more_threads(t, threads_max)) {
			struct bench_row *row;
			enum err e;

			b.rows = xrealloc(b.rows, (b.n + 1) * sizeof(*b.rows));
			row = &b.rows[b.n++];
			memset(row, 0, sizeof(*row));
			row->kernel = &list[i];
			row->threads = t;
			e = row_measure(row, seconds);
			if (e != OK) {
				bench_hash_release(&b);
				return e;
			}
			if (t == 1 && row->scan.cpu > best) {
				best = row->scan.cpu;
				b.best = row->kernel;
			}
			if (on_row)
				on_row(row, arg);
		}
	*out = b;
	return OK;
}

void bench_hash_release(struct bench_hash *b)
{
	free(b->rows);
	memset(b, 0, sizeof(*b));
}
