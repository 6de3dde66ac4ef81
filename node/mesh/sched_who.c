/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who may work for a job, why not, and who is next. */
#include "node/mesh/sched.h"

#include <inttypes.h>
#include <strings.h>

enum unit { NOTHING, RATES, SCORES, NUMBERS, TIMES, TEXTS };

/* %h and %w in a sentence: what it has, and what is wanted. */
static const struct {
	const char *name, *sentence;
	enum unit unit;
} reasons[SCHED_REASONS] = {
    [SCHED_SUITS] = {"suits", "gets work", NOTHING},
    [SCHED_AWAY] = {"away", "does not offer it now", NOTHING},
    [SCHED_BARRED] = {"barred", "was caught lying and gets no work", NOTHING},
    [SCHED_QUARANTINED] = {"quarantined",
			   "failed too often and gets only probes for now",
			   NOTHING},
    [SCHED_NO_HARDWARE] = {"no-hardware",
			   "is a processor, and chips made for it are asked "
			   "for",
			   NOTHING},
    [SCHED_REGION] = {"region", "is in %h, and %w is asked for", TEXTS},
    [SCHED_UNTRUSTED] = {"untrusted",
			 "has a score of %h, and at least %w is asked for",
			 SCORES},
    [SCHED_TOO_DEAR] = {"too-dear", "asks %h credits, and at most %w are paid",
			NUMBERS},
    [SCHED_TOO_SLOW] = {"too-slow", "does %h, and at least %w is asked for",
			RATES},
    [SCHED_RESTING] = {"resting", "failed lately and rests for %h", TIMES},
    [SCHED_FULL] = {"full", "holds %h units and takes no more than %w",
		    NUMBERS},
};

const char *sched_reason_str(enum sched_reason r)
{
	return r < SCHED_REASONS ? reasons[r].name : "unknown";
}

static uint64_t permille(double score)
{
	return (uint64_t)(score * PERMILLE + 0.5);
}

static bool same_region(const char *have, const char *want)
{
	return have && !strcasecmp(have, want);
}

bool sched_takes_all(const struct job_terms *t)
{
	return !t->hardware && (!t->region || !*t->region) && !t->trust &&
	       !t->max_price && !t->min_rate;
}

struct sched_refusal sched_refuses(const struct job_terms *t,
				   const struct sched_candidate *c)
{
	const bool known = c->rate >= 1;

	if (!c->here)
		return (struct sched_refusal){.reason = SCHED_AWAY};
	if (c->barred)
		return (struct sched_refusal){.reason = SCHED_BARRED};
	if (c->quarantined)
		return (struct sched_refusal){.reason = SCHED_QUARANTINED};
	if (t->hardware && !c->hardware)
		return (struct sched_refusal){.reason = SCHED_NO_HARDWARE};
	if (t->region && *t->region && !same_region(c->region, t->region))
		return (struct sched_refusal){.reason = SCHED_REGION,
					      .have_text = c->region,
					      .want_text = t->region};
	if (permille(c->score) < t->trust)
		return (struct sched_refusal){
		    SCHED_UNTRUSTED, permille(c->score), t->trust, NULL, NULL};
	if (t->max_price && c->price > t->max_price)
		return (struct sched_refusal){SCHED_TOO_DEAR, c->price,
					      t->max_price, NULL, NULL};
	if (known && c->rate < (double)t->min_rate)
		return (struct sched_refusal){SCHED_TOO_SLOW, (uint64_t)c->rate,
					      t->min_rate, NULL, NULL};
	return (struct sched_refusal){.reason = SCHED_SUITS};
}

struct sched_refusal sched_refuses_now(const struct job_terms *t,
				       const struct sched_candidate *c)
{
	const struct sched_refusal r = sched_refuses(t, c);

	if (r.reason != SCHED_SUITS)
		return r;
	if (c->rest_ms)
		return (struct sched_refusal){SCHED_RESTING, c->rest_ms, 0,
					      NULL, NULL};
	if (c->held >= c->slots)
		return (struct sched_refusal){SCHED_FULL, c->held, c->slots,
					      NULL, NULL};
	return r;
}

static void say_rate(uint64_t rate, struct buf *out)
{
	static const char *const prefixes[] = {"",  "k", "M", "G",
					       "T", "P", "E"};
	double x = (double)rate;
	size_t i = 0;

	for (; x >= 999.5; i++)
		x /= 1000;
	buf_printf(out, "%.*f %sH/s",
		   !i || x >= 99.95 ? 0
		   : x >= 9.995	    ? 1
				    : 2,
		   x, prefixes[i]);
}

static void say(enum unit unit, uint64_t v, const char *text, struct buf *out)
{
	switch (unit) {
	case NOTHING:
		break;
	case RATES:
		say_rate(v, out);
		break;
	case SCORES:
		buf_printf(out, "%.3f", (double)v / PERMILLE);
		break;
	case NUMBERS:
		buf_printf(out, "%" PRIu64, v);
		break;
	case TIMES:
		buf_printf(out, "%.1f s", (double)v / 1000);
		break;
	case TEXTS:
		buf_add_str(out, text && *text ? text : "no region it names");
		break;
	}
}

void sched_refusal_say(const struct sched_refusal *r, struct buf *out)
{
	const enum unit unit = reasons[r->reason].unit;

	for (const char *p = reasons[r->reason].sentence; *p; p++) {
		if (*p != '%')
			buf_add(out, p, 1);
		else if (*++p == 'h')
			say(unit, r->have, r->have_text, out);
		else
			say(unit, r->want, r->want_text, out);
	}
}

/* --- who is next --- */

static bool can_now(const struct sched_candidate *c)
{
	return c->here && !c->barred && !c->quarantined && !c->rest_ms &&
	       c->held < c->slots;
}

/* Does a come before b? */
static bool faster(const struct sched_candidate *a,
		   const struct sched_candidate *b)
{
	if (a->held != b->held)
		return a->held < b->held;
	return a->rate * a->score > b->rate * b->score;
}

/* Percent of it that is taken, by us and by others. */
static unsigned busy(const struct sched_candidate *c)
{
	const unsigned ours = c->held * 100 / c->slots;

	return ours > c->load ? ours : c->load;
}

static size_t best_of(const struct sched_candidate *c, size_t n, bool spare)
{
	size_t best = n;

	for (size_t i = 0; i < n; i++) {
		if (!can_now(&c[i]))
			continue;
		if (best == n)
			best = i;
		else if (spare && busy(&c[i]) != busy(&c[best]))
			best = busy(&c[i]) < busy(&c[best]) ? i : best;
		else if (faster(&c[i], &c[best]))
			best = i;
	}
	return best;
}

static size_t drawn(const struct sched_candidate *c, size_t n, uint64_t draw)
{
	size_t can = 0, i;

	for (i = 0; i < n; i++)
		can += can_now(&c[i]);
	if (!can)
		return n;
	for (i = 0, draw %= can; !can_now(&c[i]) || draw; i++)
		draw -= can_now(&c[i]);
	return i;
}

size_t sched_next(enum balance b, const struct sched_candidate *c, size_t n,
		  uint64_t draw)
{
	switch (b) {
	case BALANCE_ROUND_ROBIN:
		return n && can_now(&c[0]) ? 0 : n;
	case BALANCE_LEAST_BUSY:
		return best_of(c, n, true);
	case BALANCE_RANDOM:
		return drawn(c, n, draw);
	case BALANCE_RATE:
	case BALANCE_COUNT:
		break;
	}
	return best_of(c, n, false);
}
