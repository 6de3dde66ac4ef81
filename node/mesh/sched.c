/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Sizes by guided self-scheduling in units of time: a unit is a quarter of
 * the time that the whole mesh still needs, at most one second and at least
 * 50 ms. Two such units in each worker's hands are at most half of what is
 * pending, so nobody is expected to be at work after the others have ended
 * for longer than the last, smallest unit takes. Equal shares up front were
 * not taken: a rate is only an estimate, and machines are used by people.
 */
#include "node/mesh/sched.h"

#include <math.h>

#define FIRST_PARTS 64 /* a first unit is at least such a part of `first` */
#define FIRST_MS 250   /* a first unit by the word of its worker */
#define REST_PARTS 4
#define LOW_PART 0.125 /* of a unit, for those trusted least */

#define STEAL_COST_MS 300 /* work not yet reported, and messages */
#define STEAL_GAIN_MS 100

unsigned sched_bits(double unit_hashes, unsigned max_bits)
{
	unsigned bits = 0;

	if (max_bits > SCHED_BITS_MAX)
		max_bits = SCHED_BITS_MAX;
	while (bits < max_bits &&
	       ldexp(SCHED_SHARES, (int)bits + 1) <= unit_hashes)
		bits++;
	return bits;
}

static double clamp(double x, double lo, double hi)
{
	return x < lo ? lo : x > hi ? hi : x;
}

static double unit_ms(const struct sched_job *j, const struct sched_worker *w)
{
	/* With two units in hand a device does not run dry when each takes at
	 * least as long as the way there and back. */
	const double floor_ms =
	    clamp((double)w->rtt_ms, SCHED_FLOOR_MS, SCHED_UNIT_MS);
	const double most = w->measured ? SCHED_UNIT_MS : FIRST_MS;
	const double mesh = j->mesh_rate > w->rate ? j->mesh_rate : w->rate;
	const double rest_ms = (double)j->pending * 1000.0 / mesh;

	return clamp(fmin(most, rest_ms / REST_PARTS), floor_ms, SCHED_UNIT_MS);
}

static double first_of(const struct sched_job *j)
{
	return j->first ? (double)j->first : SCHED_FIRST;
}

/* Twice over, each worker finds its slots filled. */
static double fair_part(const struct sched_job *j)
{
	const size_t parts = (j->workers ? j->workers : 1) * 2 * SCHED_SLOTS;

	return fmax((double)j->pending / (double)parts,
		    first_of(j) / FIRST_PARTS);
}

/* Worth a smaller unit: less is lost when it fails, or lies. */
static double trust_part(const struct sched_worker *w)
{
	return clamp(w->score / SCHED_LOW_SCORE, LOW_PART, 1);
}

/* The unit of one that is as fast as all are on average. */
static struct sched_worker average(const struct sched_job *j,
				   const struct sched_worker *w)
{
	struct sched_worker mean = *w;

	if (j->mesh_rate >= 1 && j->workers)
		mean.rate = j->mesh_rate / (double)j->workers;
	mean.measured = true;
	return mean;
}

static struct sched_cut cut(const struct sched_job *j,
			    const struct sched_worker *w)
{
	const bool known = w->rate >= 1;
	const double one_second = known ? w->rate : first_of(j);
	const unsigned bits =
	    j->plain ? 0 : sched_bits(one_second, j->max_bits);
	double most = j->plain ? 0x1p32 : ldexp(SCHED_SHARES_MAX, (int)bits);
	double n = known ? w->rate * unit_ms(j, w) / 1000.0
			 : fmin(fair_part(j), first_of(j));

	if (j->most)
		most = fmin(most, (double)j->most);
	/* Its word alone must not bring it all there is. */
	if (known && !w->measured)
		n = fmin(n, fair_part(j));
	n = clamp(n * trust_part(w), 1, fmin(most, 0x1p32));
	return (struct sched_cut){
	    .nonces = (uint64_t)n,
	    .bits = bits,
	    .expected_ms =
		known ? (uint64_t)(n * 1000.0 / w->rate) : SCHED_UNIT_MS,
	};
}

struct sched_cut sched_unit(const struct sched_job *j,
			    const struct sched_worker *w)
{
	if (!j->equal)
		return cut(j, w);
	const struct sched_worker mean = average(j, w);
	struct sched_cut c = cut(j, &mean);

	if (w->rate >= 1)
		c.expected_ms = (uint64_t)((double)c.nonces * 1000.0 / w->rate);
	return c;
}

size_t sched_pick(const uint64_t *held, size_t n)
{
	size_t best = n;

	for (size_t i = 0; i < n; i++)
		if (held[i] != UINT64_MAX &&
		    (best == n || held[i] < held[best]))
			best = i;
	return best;
}

static uint64_t add_ms(uint64_t t, double ms)
{
	return t + (uint64_t)clamp(ms, 0, 1e12);
}

uint64_t sched_finish(const struct sched_slow *u, uint64_t now)
{
	if (u->rate < 1)
		return now + SCHED_UNIT_MS + (now - u->heard_at);
	const double work = (double)(u->ahead + u->left) * 1000.0 / u->rate;
	const uint64_t at = add_ms(u->heard_at, work);

	/* Overdue: as long again as it is late. */
	return at >= now ? at : now + (now - at);
}

bool sched_steal(const struct sched_slow *u, double idle_rate,
		 uint64_t idle_rtt_ms, uint64_t now)
{
	if (idle_rate < 1)
		return false;
	const uint64_t finish = sched_finish(u, now);
	double rate = idle_rate, cost = (double)idle_rtt_ms;

	if (u->begun) {
		const uint64_t word = SCHED_PROGRESS_MS * 2 + u->rtt_ms;

		cost += (double)u->rtt_ms + STEAL_COST_MS;
		/* One that still speaks will get a part of it back. */
		if (now - u->heard_at <= word)
			rate += u->rate;
	}
	return finish > add_ms(now, cost + STEAL_GAIN_MS +
					(double)u->left * 1000.0 / rate);
}
