/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * bench_faults [--schedules N] [--seed S] [--jobs P]
 *
 * N random lives of a submitter with one to four jobs on the virtual clock:
 * workers come, die, lag, give back and repeat themselves, messages overtake
 * each other or come when nobody waits any more, somebody lies, and the
 * submitter's node dies at any moment, also in the middle of a save, and goes
 * on with what is on its disk. Every unit of every job ends done exactly once,
 * or its job failed with a reason. A failure names the seed that repeats it.
 */
#include "node/lab/world.h"

#include "node/base/mem.h"
#include "node/mesh/batch_file.h"
#include "node/mesh/job_impl.h"
#include "test/support/shards.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define S UINT64_C(1000000)
#define MH 1e6
#define JOBS_MAX 4
#define PATIENCE_US (3600 * S) /* no life takes longer than an hour */

enum {
	SUM_JOBS,
	SUM_DONE,
	SUM_FAILED,
	SUM_CANCELED,
	SUM_UNITS,
	SUM_WORDS,
	SUM_REVOKED,
	SUM_RESTARTS,
	SUM_SAVES,
	SUM_HOURS,
	SUM_BAD
};

struct life {
	struct world w;
	struct {
		char id[JOB_ID_SIZE];
		unsigned bits; /* 0: a batch */
		uint64_t key;  /* of its header */
		bool canceled;
		char *told; /* its last words */
	} job[JOBS_MAX];
	size_t njobs, planned;
	bool lied; /* somebody did, and was not found before a job ended */
	struct buf *why;
};

static bool fails(struct life *l, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static bool fails(struct life *l, const char *fmt, ...)
{
	va_list ap;

	if (l->why->n)
		return false;
	va_start(ap, fmt);
	char *text = xvasprintf(fmt, ap);
	va_end(ap);
	buf_add_str(l->why, text);
	free(text);
	return false;
}

static double draw_rate(struct world *w)
{
	return (4.2 + 40 * world_chance(w)) * MH;
}

static struct job_terms draw_terms(struct world *w)
{
	struct job_terms t = {.wait_ms = 30000};

	t.check_permille = world_random(w) % 60;
	if (world_random(w) % 4 == 0)
		t.wait_ms = world_random(w) % 5000;
	t.balance = world_random(w) % BALANCE_COUNT;
	return t;
}

static void submit_search(struct life *l)
{
	struct world *w = &l->w;
	const uint64_t start = world_random(w) % (NONCES / 2);
	const uint64_t length = 1 + world_random(w) % (1u << 27);
	const unsigned bits = 16 + (unsigned)(world_random(w) % 8);
	struct search_spec s =
	    world_spec(start, start + length, bits, world_random(w) % 2);

	s.terms = draw_terms(w);
	if (world_random(w) % 4 == 0)
		s.terms.replicas = 1 + world_random(w) % 3;
	put_le32(s.header, (uint32_t)world_random(w));
	l->job[l->njobs].key = world_key(s.header);
	l->job[l->njobs].bits = bits;
	world_submit(w, &s, l->job[l->njobs].id);
}

static void submit(struct life *l)
{
	struct world *w = &l->w;

	if (world_random(w) % 3) {
		submit_search(l);
	} else {
		const struct job_terms t = draw_terms(w);

		world_submit_batch(w, 1 + world_random(w) % 20000, &t,
				   l->job[l->njobs].id);
	}
	l->njobs++;
}

static void join(struct life *l)
{
	static const double says[] = {1, 4, 0, 1};
	static const enum world_lie lies[] = {
	    LIE_SKIPS,	 LIE_SCATTERED, LIE_WITHHOLDS, LIE_INVENTS,
	    LIE_REPEATS, LIE_LAZY,	LIE_BEYOND};
	struct world *w = &l->w;
	const bool liar = world_random(w) % 12 == 0;

	/* Some say nothing of themselves, or something wrong. */
	w->announce = says[world_random(w) % HN_COUNT(says)];
	const size_t i =
	    world_join(w, draw_rate(w), world_random(w) % 50000,
		       liar ? lies[world_random(w) % HN_COUNT(lies)] : HONEST);
	w->w[i].jitter_us = world_random(w) % 60000;
	l->lied |= liar;
}

static void begin(struct life *l, uint64_t seed)
{
	struct world *w = &l->w;

	world_init(w, seed);
	w->durable = world_random(w) % 5 != 0;
	w->torn = w->durable ? 0.2 : 0;
	w->dup = 0.2 * world_chance(w);
	w->reorder = 0.5 * world_chance(w);
	if (world_random(w) % 2)
		w->late = 0.02 * world_chance(w);
	if (world_random(w) % 2)
		w->loss = 0.1 * world_chance(w);
	if (world_random(w) % 2)
		w->fails = 0.05 * world_chance(w);
	w->paranoid = world_random(w) % 10 == 0;
	l->planned = 1 + world_random(w) % JOBS_MAX;
	for (size_t i = world_random(w) % 5; i; i--)
		join(l);
	submit(l);
}

static void disturb_worker(struct life *l, size_t i, double what)
{
	struct world *w = &l->w;
	struct world_worker *k = &w->w[i];

	if (!k->here) {
		if (what < 0.3)
			world_rejoin(w, i);
	} else if (what < 0.15) {
		world_crash(w, i, world_random(w) % (4 * S));
	} else if (what < 0.2) {
		/* Nobody tells us; its leases run out. */
		world_crash(w, i, UINT64_MAX);
	} else if (what < 0.23 && !k->mute) {
		k->mute = true;
	} else if (what < 0.3 && k->mute) {
		/* What got lost came never: its session is another one. */
		world_crash(w, i, 0);
		k->mute = false;
		world_rejoin(w, i);
	} else if (what < 0.45) {
		k->rate = draw_rate(w);
	}
}

static void cancel(struct life *l)
{
	const size_t i = world_random(&l->w) % l->njobs;

	if (jobs_cancel(l->w.jobs, l->job[i].id, l->w.now_us / 1000))
		return;
	l->job[i].canceled = true;
	world_settle(&l->w);
}

/* All at once; some come back by and by. */
static void blackout(struct life *l)
{
	for (size_t i = 0; i < l->w.n; i++)
		world_crash(&l->w, i, world_random(&l->w) % S);
}

static void disturb(struct life *l)
{
	struct world *w = &l->w;
	const size_t i = world_random(w) % 7;
	const double what = world_chance(w);

	if (w->durable && world_random(w) % 5 == 0)
		world_restart(w, world_random(w) % (20 * S));
	else if (l->njobs < l->planned && world_random(w) % 3 == 0)
		submit(l);
	else if (world_random(w) % 50 == 0)
		cancel(l);
	else if (world_random(w) % 40 == 0)
		blackout(l);
	else if (i >= w->n)
		join(l);
	else
		disturb_worker(l, i, what);
}

static bool live(struct life *l)
{
	struct world *w = &l->w;

	while (world_open(w) || l->njobs < l->planned) {
		if (!world_open(w))
			submit(l);
		world_run(w, w->now_us + 20000 + world_random(w) % 600000);
		if (world_open(w))
			disturb(l);
		if (w->broken.n)
			return fails(l, "%s", buf_str(&w->broken));
		if (w->now_us > PATIENCE_US)
			return fails(l, "a job did not end in an hour");
	}
	return true;
}

static bool check_hits(struct life *l, const struct job_info *info,
		       uint64_t key, unsigned bits)
{
	const struct job_hit *hits = info->hits.items;
	size_t n, i = 0;
	uint32_t *want = world_shares(key, info->start, info->end, bits, &n);
	bool well = true;

	if (info->all) {
		if (info->hits.n != n)
			well = fails(l, "job %s: %zu hits where %zu are",
				     info->job, info->hits.n, n);
		for (; well && i < n; i++)
			if (hits[i].nonce != want[i])
				well =
				    fails(l, "job %s: hit %" PRIu64 " is none",
					  info->job, hits[i].nonce);
	} else if (info->found != (n > 0)) {
		well = fails(l, "job %s: found %d of %zu hits", info->job,
			     info->found, n);
	} else if (n) {
		while (i < n && want[i] != info->nonce.v)
			i++;
		if (i == n)
			well = fails(l, "job %s: hit %" PRIu64 " is none",
				     info->job, info->nonce.v);
	}
	free(want);
	return well;
}

static bool check_done(struct life *l, size_t at, const struct job_info *info)
{
	const struct job_peer *p = info->by_peer.items;
	const struct world_job *known = world_find(&l->w, info->job);
	const unsigned bits = l->job[at].bits;
	const uint64_t numbers = info->end - info->start;
	const uint64_t length = numbers * (bits ? 1 : BATCH_BLOCK_INPUTS);
	uint64_t credited = 0;

	for (size_t i = 0; i < info->by_peer.n; i++)
		credited += p[i].hashes;
	if (credited != info->hashes)
		return fails(
		    l, "job %s: %" PRIu64 " hashes done, %" PRIu64 " credited",
		    info->job, info->hashes, credited);
	if (info->hashes > length)
		return fails(l, "job %s: more done than there is", info->job);
	if (info->all || !info->found) {
		if (info->hashes != length)
			return fails(
			    l, "job %s: %" PRIu64 " of %" PRIu64 " hashes done",
			    info->job, info->hashes, length);
		if (spans_count(&known->told, info->start, info->end) !=
		    numbers)
			return fails(l, "job %s: done without a word of it",
				     info->job);
	}
	/* One who kept a hit back may have died unseen. */
	return !bits || l->lied || check_hits(l, info, l->job[at].key, bits);
}

static bool check_job(struct life *l, size_t i, double *sums)
{
	struct arena a = {0};
	struct job_info info;
	const char *id = l->job[i].id;
	bool well = true;

	if (jobs_info(l->w.jobs, id, JOB_UNITS, l->w.now_us / 1000, &a, &info))
		return fails(l, "job %s is not known any more", id);
	sums[SUM_JOBS]++;
	if (!strcmp(info.state, "done")) {
		sums[SUM_DONE]++;
		well = check_done(l, i, &info);
	} else if (!strcmp(info.state, "failed")) {
		sums[SUM_FAILED]++;
		if (!info.error || !info.text || !*info.text)
			well = fails(l, "job %s failed without a reason", id);
	} else if (!strcmp(info.state, "canceled")) {
		sums[SUM_CANCELED]++;
		if (!l->job[i].canceled)
			well = fails(l, "job %s: nobody canceled it", id);
	} else {
		well = fails(l, "job %s is %s at the end", id, info.state);
	}
	if (info.assigned || info.computing)
		well = fails(l, "job %s ended with units in hands", id);
	arena_release(&a);
	return well;
}

static char *last_words(struct life *l, const char *id)
{
	struct arena a = {0};
	struct job_info info;
	struct buf b = {0};
	char *text = NULL;

	if (!jobs_info(l->w.jobs, id, JOB_PEERS, l->w.now_us / 1000, &a,
		       &info)) {
		struct job_peer *p = info.by_peer.items;

		/* What all jobs say of a peer goes on. */
		for (size_t i = 0; i < info.by_peer.n; i++)
			p[i].all_hashes = p[i].all_expected = p[i].all_shares =
			    p[i].all_rescanned = p[i].all_pieces =
				p[i].all_checks = p[i].all_failures = 0;
		fields_to_json(&job_info_message, &info, &b);
		text = xstrdup(buf_str(&b));
	}
	buf_release(&b);
	arena_release(&a);
	return text;
}

/* Both texts from where they begin to differ. */
static bool differs(struct life *l, const char *told, const char *again)
{
	size_t at = 0;

	while (told[at] == again[at])
		at++;
	at -= at < 40 ? at : 40;
	return fails(l, "told %.90s; after a restart %.90s", told + at,
		     again + at);
}

/* What was told as final is final. */
static bool check_final(struct life *l)
{
	bool well = true;

	for (size_t i = 0; i < l->njobs; i++)
		l->job[i].told = last_words(l, l->job[i].id);
	world_restart(&l->w, S);
	for (size_t i = 0; i < l->njobs; i++) {
		char *again = last_words(l, l->job[i].id);

		if (!again || !l->job[i].told)
			well = fails(l, "job %s is lost", l->job[i].id);
		else if (strcmp(again, l->job[i].told) != 0)
			well = differs(l, l->job[i].told, again);
		free(again);
		free(l->job[i].told);
	}
	return well;
}

static bool check(struct life *l, double *sums)
{
	const struct world *w = &l->w;

	for (size_t i = 0; i < l->njobs; i++)
		if (!check_job(l, i, sums))
			return false;
	for (size_t i = 0; i < w->n; i++) {
		sums[SUM_BAD] += w->w[i].bad;
		if (w->w[i].lie == HONEST && w->w[i].bad)
			return fails(l, "honest worker %zu dropped: %s", i,
				     w->w[i].why);
	}
	if (HASH_COUNT(w->jobs->leases))
		return fails(l, "%u leases outlived their jobs",
			     HASH_COUNT(w->jobs->leases));
	return !w->durable || check_final(l);
}

static bool one(void *arg, uint64_t seed, struct buf *why,
		double sums[static SHARD_SUMS])
{
	struct life l = {.why = why};

	(void)arg;
	begin(&l, seed);
	const bool well = live(&l) && check(&l, sums);
	sums[SUM_UNITS] += (double)l.w.assigned;
	sums[SUM_WORDS] += (double)l.w.words;
	sums[SUM_REVOKED] += (double)l.w.revoked;
	sums[SUM_RESTARTS] += (double)l.w.restarts;
	sums[SUM_SAVES] += (double)l.w.saves;
	sums[SUM_HOURS] += (double)l.w.now_us / (3600.0 * S);
	world_release(&l.w);
	return well;
}

static uint64_t number(const char *text)
{
	char *end;
	const uint64_t v = strtoull(text, &end, 10);

	if (!*text || *end) {
		fprintf(stderr, "bench_faults: %s is no number\n", text);
		exit(64);
	}
	return v;
}

int main(int argc, char **argv)
{
	static const struct option rows[] = {
	    {"schedules", required_argument, NULL, 'n'},
	    {"seed", required_argument, NULL, 's'},
	    {"procs", required_argument, NULL, 'p'},
	    {0}};
	struct shards s = {.seed = 1, .n = 10000, .procs = 2, .one = one};
	int c;

	while ((c = getopt_long(argc, argv, "", rows, NULL)) != -1) {
		switch (c) {
		case 'n':
			s.n = number(optarg);
			break;
		case 's':
			s.seed = number(optarg);
			break;
		case 'p':
			s.procs = (unsigned)number(optarg);
			break;
		default:
			return 64;
		}
	}
	if (!s.n || !s.procs || s.procs > 64 || optind < argc) {
		fprintf(stderr, "usage: bench_faults [--schedules N] "
				"[--seed S] [--procs 1..64]\n");
		return 64;
	}
	const struct shards_result r = shards_run(&s);
	const double *sum = r.sums;

	printf("%.0f jobs: %.0f done, %.0f failed with a reason, %.0f "
	       "canceled; %.0f units handed out, %.0f taken back, %.0f words; "
	       "%.0f deaths of the submitter, %.0f saves, %.0f liars found; "
	       "%.0f hours\n",
	       sum[SUM_JOBS], sum[SUM_DONE], sum[SUM_FAILED], sum[SUM_CANCELED],
	       sum[SUM_UNITS], sum[SUM_REVOKED], sum[SUM_WORDS],
	       sum[SUM_RESTARTS], sum[SUM_SAVES], sum[SUM_BAD], sum[SUM_HOURS]);
	printf("%" PRIu64 " passed, %" PRIu64 " failed\n", r.passed, r.failed);
	return r.failed ? 1 : 0;
}
