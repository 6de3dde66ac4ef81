/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * bench_cheaters [--jobs N] [--seed S] [--procs P] [--json | --markdown]
 *
 * Each way to cheat, N jobs of it on the virtual clock with one cheat in each:
 * how often it was seen, beside what the formulas of node/mesh/check.h say.
 * What a formula needs (pieces, shares, tests) comes from the same job done by
 * an honest worker of the same speed. The intervals are Wilson's, at such a
 * level that all rows are right at once in 99 of 100 runs.
 */
#include "node/lab/world.h"
#include "node/mesh/digest.h"
#include "node/mesh/job_impl.h"
#include "node/mesh/sched.h"
#include "test/support/shards.h"

#include "node/base/mem.h"

#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define S UINT64_C(1000000)
#define RATE 40e6
#define CORE 50e6
#define TWINS 20 /* one job in so many is done by an honest twin as well */
#define DOUBT 0.01
#define SLOWER 1.1 /* a cheat that only wastes time may cost a tenth of it */

enum formula {
	F_STRETCH,   /* pieces, the count and the gap */
	F_SCATTERED, /* pieces and the count */
	F_WINNER,
	F_FALSE,   /* each share is hashed again */
	F_CERTAIN, /* the first share that is expected of it */
	F_OPENING, /* digests: positions drawn after the commitment */
	F_TIME	   /* nothing false; does it cost time? */
};

struct row {
	const char *text;
	enum world_lie lie;
	double part;
	double seconds; /* of the cheat's work */
	enum formula formula;
	bool blind; /* BLIND: the submitter cannot scan */
};

enum { SCANS, BLIND };
static const struct row rows[] = {
    {"skips 1 % of each unit, one stretch", LIE_SKIPS, 0.01, 1.5, F_STRETCH,
     SCANS},
    {"skips 1 % of each unit, one stretch", LIE_SKIPS, 0.01, 6, F_STRETCH,
     SCANS},
    {"skips 2 % of each unit, one stretch", LIE_SKIPS, 0.02, 1.5, F_STRETCH,
     SCANS},
    {"skips 10 % of each unit, one stretch", LIE_SKIPS, 0.1, 1.5, F_STRETCH,
     SCANS},
    {"skips 1 % in small holes", LIE_SCATTERED, 0.01, 1.5, F_SCATTERED, SCANS},
    {"skips 1 % in small holes", LIE_SCATTERED, 0.01, 6, F_SCATTERED, SCANS},
    {"skips 5 % in small holes", LIE_SCATTERED, 0.05, 1.5, F_SCATTERED, SCANS},
    {"skips 10 % in small holes", LIE_SCATTERED, 0.1, 1.5, F_SCATTERED, SCANS},
    {"skips 10 %, nobody scans again", LIE_SCATTERED, 0.1, 2, F_SCATTERED,
     BLIND},
    {"skips 10 %, nobody scans again", LIE_SCATTERED, 0.1, 5, F_SCATTERED,
     BLIND},
    {"claims ten times its work", LIE_SCATTERED, 0.9, 1.5, F_SCATTERED, SCANS},
    {"claims it, nobody scans again", LIE_SCATTERED, 0.9, 1.5, F_SCATTERED,
     BLIND},
    {"keeps back 1 share in 100", LIE_WITHHOLDS, 0.01, 1.5, F_SCATTERED, SCANS},
    {"keeps back 1 share in 10", LIE_WITHHOLDS, 0.1, 1.5, F_SCATTERED, SCANS},
    {"withholds the winner only", LIE_WINNER, 1, 1.5, F_WINNER, SCANS},
    {"withholds it, nobody scans again", LIE_WINNER, 1, 1.5, F_WINNER, BLIND},
    {"invents shares", LIE_INVENTS, 1, 1.5, F_CERTAIN, SCANS},
    {"replays another's shares", LIE_REPLAYS, 1, 1.5, F_CERTAIN, SCANS},
    {"flips one bit in a thousand", LIE_FLIPS, 1e-3, 1.5, F_FALSE, SCANS},
    {"flips one bit in 100,000", LIE_FLIPS, 1e-5, 1.5, F_FALSE, SCANS},
    {"flips one bit in a million", LIE_FLIPS, 1e-6, 1.5, F_FALSE, SCANS},
    {"invents 1 digest in 10,000", HONEST, 1e-4, 4, F_OPENING, SCANS},
    {"invents 1 digest in 1,000", HONEST, 1e-3, 4, F_OPENING, SCANS},
    {"invents 1 digest in 100", HONEST, 0.01, 4, F_OPENING, SCANS},
    {"announces ten times its rate", LIE_BOASTS, 0, 10, F_TIME, SCANS},
    {"answers only easy units (0.1 s)", LIE_EASY, 0.1, 10, F_TIME, SCANS},
    {"stalls just under the timeout", LIE_STALLS, 0.001, 10, F_TIME, SCANS},
};

enum {
	SUM_N,
	SUM_SEEN,
	SUM_WORK,
	SUM_PROOF,
	SUM_TWINS,
	SUM_FORMULA,
	SUM_TIME,
	SUM_WORST = SHARD_MOST
};

/* What was, or would have been, looked at. */
struct plan {
	double hits;	 /* shares expected where was scanned again */
	double fraction; /* of its work that was */
	double reported; /* shares */
	double counted;	 /* expected at the last test of the count */
	double stretch;	 /* chance that a stretch of x in each unit is unseen */
};

/* Pieces and gap of one unit whose end is left out. */
static double unit_stretch(const struct unit *u, double x, double before,
			   bool blind)
{
	const uint64_t length = u->span.b - u->span.a;
	const uint64_t piece = UINT64_C(1) << (u->bits - 2);
	const double expected = ldexp((double)length, -(int)u->bits);
	const double n = blind ? 0
			       : (double)(length + CHECK_PER_UNIT - 1) /
				     CHECK_PER_UNIT / (double)piece;
	const double more = n - floor(n), w = check_weight(piece, u->bits);
	const double pieces = (1 - more) * unseen_in_stretch(x, floor(n), w) +
			      more * unseen_in_stretch(x, floor(n) + 1, w);

	return pieces * unseen_by_gap(x * expected, before + expected);
}

static struct plan plan_of(const struct world *w, double x, bool blind)
{
	struct plan p = {.stretch = 1};
	const struct job *job = w->jobs->ended;
	const struct unit *u;
	const struct part *part = job ? job->parts : NULL;

	if (!part)
		return p;
	double before = 0;
	DL_FOREACH (job->closed, u) {
		p.stretch *= unit_stretch(u, x, before, blind);
		before += ldexp((double)(u->span.b - u->span.a), -(int)u->bits);
		p.hits = ldexp((double)part->rescanned, -(int)u->bits);
	}
	p.fraction = (double)part->rescanned / (double)part->hashes;
	p.reported = (double)part->evidence.reported;
	/* It doubles at each test. */
	p.counted = part->evidence.next / 2;
	return p;
}

static double unseen(const struct row *r, const struct plan *p)
{
	const double count = unseen_by_count(r->part, p->counted);

	switch (r->formula) {
	case F_STRETCH:
		return p->stretch * count;
	case F_SCATTERED:
		return unseen_if_scattered(r->part, p->hits) * count;
	case F_WINNER:
		return unseen_winner(p->fraction);
	case F_FALSE:
		return unseen_if_false(-expm1(32 * log1p(-r->part)),
				       p->reported, SCHED_BITS_MAX);
	case F_CERTAIN:
	case F_OPENING:
	case F_TIME:
		break;
	}
	return 0;
}

/* How much faster than it works it says it is. */
static double claims(const struct row *r)
{
	return r->lie == LIE_SKIPS || r->lie == LIE_SCATTERED
		   ? 1 / (1 - r->part)
		   : 1;
}

static void begin(struct world *w, const struct row *r, uint64_t seed)
{
	world_init(w, seed);
	w->forgets = r->lie != LIE_REPLAYS;
	w->core_rate = r->blind ? 0 : CORE;
	jobs_set_core_rate(w->jobs, (uint64_t)CORE);
}

/* The lowest value in the range is the only winner. */
static void one_winner(struct search_spec *s)
{
	const uint64_t key = world_key(s->header);
	uint32_t lowest = UINT32_MAX;
	size_t n;
	uint32_t *list = world_shares(key, s->start, s->end, 20, &n);

	for (size_t i = 0; i < n; i++)
		if (world_value(key, list[i]) < lowest)
			lowest = world_value(key, list[i]);
	free(list);
	put_le32(s->target + 28, lowest);
}

static void submit(struct world *w, const struct row *r, double rate)
{
	const uint64_t length = (uint64_t)(r->seconds * rate);
	const uint64_t start = world_random(w) % (NONCES - length);
	struct search_spec s = world_spec(start, start + length, 32, true);
	char id[JOB_ID_SIZE];

	put_le32(s.header, (uint32_t)world_random(w));
	put_le32(s.header + 4, (uint32_t)world_random(w));
	if (r->formula == F_WINNER)
		one_winner(&s);
	world_submit(w, &s, id);
}

/* One job, one worker: the cheat, or its honest twin. */
static bool one_search(const struct row *r, uint64_t seed, bool twin,
		       double *sums)
{
	const double rate = RATE * claims(r);
	struct world w;

	begin(&w, r, seed);
	if (r->lie == LIE_REPLAYS)
		world_join(&w, RATE, 1000, HONEST);
	w.announce = twin ? 1 : claims(r);
	const size_t i =
	    world_join(&w, twin ? rate : RATE, 1000, twin ? HONEST : r->lie);

	w.w[i].lie_part = r->part;
	submit(&w, r, rate * (r->lie == LIE_REPLAYS ? 2 : 1));
	while (world_open(&w) && !w.w[i].bad)
		world_run(&w, w.now_us + S / 20);
	const struct world_worker *k = &w.w[i];

	if (twin) {
		const struct plan p = plan_of(&w, r->part, r->blind);

		sums[SUM_TWINS]++;
		sums[SUM_FORMULA] += 1 - unseen(r, &p);
	} else {
		sums[SUM_N]++;
		sums[SUM_SEEN] += k->bad;
		sums[SUM_PROOF] += k->proof;
		if (k->bad)
			sums[SUM_WORK] += (double)k->claimed / rate;
	}
	/* A twin that is dropped, or books that do not agree. */
	const bool well = !w.broken.n && !(twin && k->bad);

	world_release(&w);
	return well;
}

static uint64_t draw(void *arg)
{
	return world_random(arg);
}

#define DIGESTS 10000 /* of a unit */
#define UNITS 4

/* Batches of digests: the root is said, then the places are drawn. */
static bool one_batch(const struct row *r, uint64_t seed, double *sums)
{
	const uint64_t bad = (uint64_t)(r->part * DIGESTS + 0.5);
	uint32_t places[DIGESTS / DIGEST_CHECK_PER];
	struct world w;
	bool seen = false;
	uint64_t unit = 0;

	world_init(&w, seed);
	for (; unit < UNITS && !seen; unit++) {
		digest_draw(DIGESTS, HN_COUNT(places), draw, &w, places);
		/* Which ones are bad does not matter, as they were chosen
		 * before: the first ones. */
		seen = places[0] < bad;
	}
	sums[SUM_N]++;
	sums[SUM_SEEN] += seen;
	sums[SUM_PROOF] += seen;
	if (seen)
		sums[SUM_WORK] += (double)unit;
	sums[SUM_TWINS]++;
	sums[SUM_FORMULA] +=
	    1 - pow(unseen_by_opening(DIGESTS, bad, HN_COUNT(places)), UNITS);
	world_release(&w);
	return true;
}

/* Three honest ones beside it: how much longer than without it? */
static bool one_waste(const struct row *r, uint64_t seed, double *sums)
{
	const double rate = 3 * RATE;
	struct world w;

	begin(&w, r, seed);
	const size_t i = world_join(&w, RATE, 1000, r->lie);

	w.w[i].lie_part = r->part;
	for (int k = 0; k < 3; k++)
		world_join(&w, RATE, 1000, HONEST);
	const uint64_t begun = w.now_us;

	submit(&w, r, rate);
	world_run(&w, UINT64_MAX / 2);
	const double time =
	    (double)(w.ended_us - begun) / (double)S / r->seconds;

	sums[SUM_N]++;
	sums[SUM_SEEN] += w.w[i].bad;
	sums[SUM_TIME] += time;
	sums[SUM_WORST] = fmax(sums[SUM_WORST], time);
	const bool well = !w.broken.n;

	world_release(&w);
	return well;
}

static bool one(void *arg, uint64_t seed, struct buf *why,
		double sums[static SHARD_SUMS])
{
	const struct row *r = arg;
	bool well = true;

	if (r->formula == F_OPENING)
		well = one_batch(r, seed, sums);
	else if (r->formula == F_TIME)
		well = one_waste(r, seed, sums);
	else
		well = one_search(r, seed, false, sums) &&
		       (seed % TWINS || one_search(r, seed, true, sums));
	if (!well)
		buf_printf(why,
			   "%s: an honest worker was dropped, or the "
			   "books do not agree",
			   r->text);
	return well;
}

struct result {
	double n, seen, rate, lo, hi, formula, work, proof, time, worst;
	bool agrees;
};

/* How far out a standard normal is with this chance, on both sides. */
static double normal_out(double chance)
{
	double lo = 0, hi = 40;

	for (int i = 0; i < 200; i++) {
		const double mid = (lo + hi) / 2;

		if (erfc(mid / sqrt(2)) > chance)
			lo = mid;
		else
			hi = mid;
	}
	return hi;
}

/* Wilson's interval. */
static void interval(struct result *r, double z)
{
	const double p = r->seen / r->n, zz = z * z;
	const double mid = (p + zz / (2 * r->n)) / (1 + zz / r->n);
	const double half = z / (1 + zz / r->n) *
			    sqrt(p * (1 - p) / r->n + zz / (4 * r->n * r->n));

	r->rate = p;
	r->lo = fmax(0, mid - half);
	r->hi = fmin(1, mid + half);
}

static struct result measure(const struct row *row, struct shards s, double z,
			     uint64_t *failed)
{
	s.arg = (void *)row;
	s.one = one;
	/* Other rows, other seeds; a time is measured well by fewer. */
	s.seed += (uint64_t)(row - rows) * 1000000007;
	if (row->formula == F_TIME)
		s.n = (s.n + 49) / 50;
	const struct shards_result got = shards_run(&s);
	const double *sum = got.sums;
	struct result r = {.n = sum[SUM_N], .seen = sum[SUM_SEEN]};

	*failed += got.failed;
	interval(&r, z);
	r.proof = r.seen > 0 ? sum[SUM_PROOF] / r.seen : 0;
	r.work = r.seen > 0 ? sum[SUM_WORK] / r.seen : 0;
	if (row->formula == F_TIME) {
		r.time = sum[SUM_TIME] / r.n;
		r.worst = sum[SUM_WORST];
		r.agrees = r.time <= SLOWER;
		return r;
	}
	r.formula = row->formula == F_CERTAIN ? 1
		    : sum[SUM_TWINS] > 0 ? sum[SUM_FORMULA] / sum[SUM_TWINS]
					 : 0;
	r.agrees = r.formula >= r.lo - 1e-9 && r.formula <= r.hi + 1e-9;
	return r;
}

/* Printing */

enum style { TEXT, MARKDOWN, JSON };

#define COLUMNS 9
#define CELL 40
/* Widths of the text; a negative one stands to the left. */
static const int widths[2][COLUMNS] = {{-36, 6, 6, 8, 18, 8, 6, 7, 6},
				       {-36, 6, 6, 10, 10, 9}};

static void line(enum style style, bool time, const char cells[][CELL])
{
	for (int i = 0; i < (time ? 6 : COLUMNS); i++) {
		if (style == MARKDOWN)
			printf("| %s ", cells[i]);
		else
			printf("%s%*s", i ? " " : "", widths[time][i],
			       cells[i]);
	}
	printf(style == MARKDOWN ? "|\n" : "\n");
}

static void head(enum style style, bool time)
{
	static const char heads[2][COLUMNS][CELL] = {
	    {"A PEER THAT", "WORK", "JOBS", "SEEN", "INTERVAL", "FORMULA",
	     "PROVEN", "AFTER", "AGREES"},
	    {"A PEER THAT", "WORK", "JOBS", "MEAN TIME", "WORST", "MEAN<110%"}};

	if (style == JSON)
		return;
	if (time)
		printf("\n");
	line(style, time, heads[time]);
	for (int i = 0; style == MARKDOWN && i < (time ? 6 : COLUMNS); i++)
		printf(i ? "---:|" : "|---|");
	if (style == MARKDOWN)
		printf("\n");
}

static void show_json(const struct row *row, const struct result *r)
{
	printf("{\"cheat\":\"%s\",\"seconds\":%.1f,\"jobs\":%.0f,", row->text,
	       row->seconds, r->n);
	if (row->formula == F_TIME)
		printf("\"time\":%.6f,\"worst\":%.6f,", r->time, r->worst);
	else
		printf("\"seen\":%.6f,\"low\":%.6f,\"high\":%.6f,"
		       "\"formula\":%.6f,\"proven\":%.6f,\"after_s\":%.4f,",
		       r->rate, r->lo, r->hi, r->formula, r->proof, r->work);
	printf("\"agrees\":%s}\n", r->agrees ? "true" : "false");
}

static void show(enum style style, const struct row *row,
		 const struct result *r)
{
	const bool time = row->formula == F_TIME;
	char c[COLUMNS][CELL];

	if (style == JSON) {
		show_json(row, r);
		fflush(stdout);
		return;
	}
	snprintf(c[0], CELL, "%s", row->text);
	snprintf(c[1], CELL, "%.1f s", row->seconds);
	snprintf(c[2], CELL, "%.0f", r->n);
	if (time) {
		snprintf(c[3], CELL, "%.2f %%", 100 * r->time);
		snprintf(c[4], CELL, "%.2f %%", 100 * r->worst);
	} else {
		snprintf(c[3], CELL, "%.2f %%", 100 * r->rate);
		snprintf(c[4], CELL, "%.2f .. %.2f %%", 100 * r->lo,
			 100 * r->hi);
		snprintf(c[5], CELL, "%.2f %%", 100 * r->formula);
		snprintf(c[6], CELL, "%.0f %%", 100 * r->proof);
		snprintf(c[7], CELL, "%.2f s", r->work);
	}
	snprintf(c[time ? 5 : 8], CELL, "%s", r->agrees ? "yes" : "NO");
	line(style, time, c);
	fflush(stdout);
}

static uint64_t number(const char *text)
{
	char *end;
	const uint64_t v = strtoull(text, &end, 10);

	if (!*text || *end) {
		fprintf(stderr, "bench_cheaters: %s is no number\n", text);
		exit(64);
	}
	return v;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"jobs", required_argument, NULL, 'n'},
	    {"seed", required_argument, NULL, 's'},
	    {"procs", required_argument, NULL, 'p'},
	    {"json", no_argument, NULL, 'j'},
	    {"markdown", no_argument, NULL, 'm'},
	    {0}};
	struct shards s = {.seed = 1, .n = 10000, .procs = 2};
	enum style style = TEXT;
	uint64_t passed = 0, failed = 0, broken = 0;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
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
		case 'j':
			style = JSON;
			break;
		case 'm':
			style = MARKDOWN;
			break;
		default:
			return 64;
		}
	}
	if (s.n < TWINS || !s.procs || s.procs > 64 || optind < argc) {
		fprintf(stderr,
			"usage: bench_cheaters [--jobs 20...] [--seed S] "
			"[--procs 1..64] [--json | --markdown]\n");
		return 64;
	}
	const double z = normal_out(DOUBT / (double)HN_COUNT(rows));
	bool time = false;

	head(style, false);
	for (size_t i = 0; i < HN_COUNT(rows); i++) {
		if (rows[i].formula == F_TIME && !time) {
			time = true;
			head(style, true);
		}
		const struct result r = measure(&rows[i], s, z, &broken);

		show(style, &rows[i], &r);
		passed += r.agrees;
		failed += !r.agrees;
	}
	if (style != MARKDOWN && style != JSON)
		printf("\n");
	if (style != MARKDOWN)
		fprintf(style == JSON ? stderr : stdout,
			"%" PRIu64 " passed, %" PRIu64 " failed\n", passed,
			failed + broken);
	return failed + broken ? 1 : 0;
}
