/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/lab/sim.h"
#include "node/mesh/job_impl.h"

#include "node/base/mem.h"
#include "node/lab/world.h"
#include "node/mesh/batch_file.h"

#include <utlist.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define S UINT64_C(1000000)
#define STEP_US (S / 4)
#define OPEN 16 /* jobs; one of them a search */
#define RATE_LEAST 64e3
#define RATE_MOST 256e3
#define CORE 50e6
#define JOB_S 15	 /* of the whole mesh */
#define WARM_US (10 * S) /* before anything is measured */
#define WINDOW 20	 /* steps: 5 s */
#define ENOUGH 0.95
#define AWAY_US (60 * S) /* on average, of one that leaves */

static const struct {
	const char *name;
	enum world_lie lie;
	double part;
} cheats[SIM_CHEATS] = {
    {"skips a tenth, in one stretch", LIE_SKIPS, 0.1},
    {"skips a twentieth, in small holes", LIE_SCATTERED, 0.05},
    {"invents one in a hundred", LIE_INVENTS, 0.01},
    {"withholds winners", LIE_WINNER, 1},
    {"replays another's answers", LIE_REPLAYS, 1},
    {"claims ten times its work", LIE_SCATTERED, 0.9},
    {"announces ten times its rate", LIE_BOASTS, 0},
    {"answers only easy units", LIE_EASY, 0.1},
    {"stalls just under the timeout", LIE_STALLS, 0.001},
    {"flips one bit in a thousand", LIE_FLIPS, 0.001},
};

struct node {
	int cheat; /* -1: honest */
	uint64_t back_us;
	bool lost; /* in the great loss */
};

struct sim {
	const struct sim_options *o;
	struct sim_result *r;
	struct world w;
	struct node *nodes;
	double rate; /* of all */
	uint64_t begun_us;
	double ideal, done_from; /* hashes since WARM_US */
	double ring[WINDOW], ring_ideal[WINDOW];
	size_t steps;
	uint64_t lost_us;
};

static void nodes_join(struct sim *s)
{
	struct world *w = &s->w;
	const struct sim_options *o = s->o;

	s->nodes = xcalloc(o->nodes, sizeof(*s->nodes));
	for (size_t i = 0; i < o->nodes; i++) {
		/* Cheaters stand evenly among the others. */
		const bool cheat = i * o->cheaters / o->nodes !=
				   (i + 1) * o->cheaters / o->nodes;
		const int which =
		    cheat ? (int)(s->r->cheaters++ % SIM_CHEATS) : -1;
		const double rate =
		    RATE_LEAST * pow(RATE_MOST / RATE_LEAST, world_chance(w));
		const uint64_t way =
		    (uint64_t)((double)o->delay_us * (0.5 + world_chance(w)));
		const size_t k = world_join(w, rate, way,
					    cheat ? cheats[which].lie : HONEST);

		w->w[k].jitter_us = o->delay_us / 4;
		if (cheat)
			w->w[k].lie_part = cheats[which].part;
		s->nodes[i].cheat = which;
		s->rate += rate;
	}
}

static bool searches(const struct world *w)
{
	const struct job *job;

	DL_FOREACH (w->jobs->open, job)
		if (job->kind->shares)
			return true;
	return false;
}

static void submit(struct sim *s)
{
	struct world *w = &s->w;
	char id[JOB_ID_SIZE];
	const uint64_t size = (uint64_t)(s->rate * JOB_S);

	if (searches(w)) {
		const struct job_terms t = {.wait_ms = 600000,
					    .check_permille = 50};

		world_submit_batch(w, size / BATCH_BLOCK_INPUTS + 1, &t, id);
		return;
	}
	struct search_spec q =
	    world_spec(0, size < NONCES ? size : NONCES, 22, true);

	q.terms.wait_ms = 600000;
	put_le32(q.header, (uint32_t)world_random(w));
	world_submit(w, &q, id);
}

static bool held_by(struct sim *s, size_t i)
{
	for (size_t k = 0; k < KIND_COUNT; k++) {
		const struct worker *v =
		    pool_find(&s->w.jobs->pools[k], &s->w.w[i].id);

		if (v && v->held)
			return true;
	}
	return false;
}

static void go_away(struct sim *s, size_t i, uint64_t back_us)
{
	/* Half of them without a word. */
	world_crash(&s->w, i, world_random(&s->w) % 2 ? 0 : UINT64_MAX);
	s->nodes[i].back_us = back_us;
}

static void lose(struct sim *s)
{
	struct world *w = &s->w;
	size_t left = s->o->nodes * SIM_LOST_PERCENT / 100;

	s->lost_us = w->now_us;
	while (s->r->lost < left) {
		const size_t i = world_random(w) % s->o->nodes;

		if (s->nodes[i].lost)
			continue;
		s->nodes[i].lost = true;
		s->r->lost++;
		go_away(s, i, s->begun_us + s->o->us * 3 / 4);
	}
}

/* Some leave, some are back, jobs are submitted, all that is due by now. */
static void disturb(struct sim *s)
{
	struct world *w = &s->w;
	const double leaves =
	    (double)s->o->churn / 1000 * (double)STEP_US / (3600.0 * (double)S);

	for (size_t i = 0; i < s->o->nodes; i++) {
		struct node *n = &s->nodes[i];

		if (w->w[i].here) {
			if (leaves > 0 && world_chance(w) < leaves)
				go_away(s, i,
					w->now_us +
					    world_random(w) % (2 * AWAY_US));
		} else if (w->now_us >= n->back_us) {
			world_rejoin(w, i);
		}
	}
	while (w->jobs->nopen < OPEN)
		submit(s);
}

/* Hashes a step that those who are here could do. */
static double can_do(const struct sim *s)
{
	double rate = 0;

	for (size_t i = 0; i < s->o->nodes; i++)
		if (s->w.w[i].here && !s->w.w[i].bad)
			rate += s->w.w[i].rate;
	return rate * (double)STEP_US / (double)S;
}

static double seconds(const struct sim *s)
{
	return (double)(s->w.now_us - s->lost_us) / (double)S;
}

/* After the great loss: is everything as good as before? */
static void watch(struct sim *s)
{
	double did = 0, could = 0;

	if (!s->lost_us || s->w.now_us >= s->begun_us + s->o->us * 3 / 4)
		return;
	if (s->r->regiven_s < 0) {
		bool waits = false;

		for (size_t i = 0; i < s->o->nodes && !waits; i++)
			waits = s->nodes[i].lost && held_by(s, i);
		if (!waits)
			s->r->regiven_s = seconds(s);
	}
	for (size_t i = 0; i < WINDOW; i++) {
		did += s->ring[i];
		could += s->ring_ideal[i];
	}
	/* The window lies behind the loss, and began that long ago. */
	if (s->r->recovered_s < 0 &&
	    s->w.now_us >= s->lost_us + WINDOW * STEP_US &&
	    did >= ENOUGH * could)
		s->r->recovered_s = seconds(s) - WINDOW * STEP_US / (double)S;
}

static void step(struct sim *s)
{
	struct world *w = &s->w;
	const double before = (double)world_done(w), can = can_do(s);

	world_run(w, w->now_us + STEP_US);
	const double did = (double)world_done(w) - before;

	s->ring[s->steps % WINDOW] = did;
	s->ring_ideal[s->steps % WINDOW] = can;
	s->steps++;
	if (w->now_us > s->begun_us + WARM_US) {
		s->ideal += can;
		s->done_from += did;
	}
	watch(s);
}

static void count(struct sim *s)
{
	struct sim_result *r = s->r;
	const struct world *w = &s->w;

	for (size_t i = 0; i < s->o->nodes; i++) {
		const struct world_worker *k = &w->w[i];
		const int which = s->nodes[i].cheat;

		if (which < 0) {
			r->slandered += k->bad;
			continue;
		}
		struct sim_cheat *c = &r->cheats[which];

		struct peer_score score;

		jobs_score(w->jobs, &k->id, w->now_us / 1000, &score);
		c->nodes++;
		c->out += !score_may_work(&score.score);
		if (!k->bad)
			continue;
		r->found++;
		c->found++;
		c->proven += k->proof;
		c->after_s += (double)(k->bad_at_us - s->begun_us) / (double)S;
	}
	for (size_t i = 0; i < SIM_CHEATS; i++) {
		r->cheats[i].name = cheats[i].name;
		if (r->cheats[i].found)
			r->cheats[i].after_s /= (double)r->cheats[i].found;
	}
	for (size_t i = 0; i < w->njobs; i++)
		r->jobs += w->job[i].ended;
	r->jobs_failed = w->failed;
	r->units = w->assigned;
	r->taken_back = w->revoked;
	r->messages = w->messages;
	r->calls = w->calls;
	r->hashes = world_done(w);
	r->throughput = s->ideal > 0 ? s->done_from / s->ideal : 0;
	r->spent_ns = w->spent_ns;
	snprintf(r->broken, sizeof(r->broken), "%s", buf_str(&s->w.broken));
}

void sim_run(const struct sim_options *o, struct sim_result *r)
{
	struct sim s = {.o = o, .r = r};
	struct world *w = &s.w;

	*r = (struct sim_result){
	    .nodes = o->nodes, .regiven_s = -1, .recovered_s = -1};
	world_init(w, o->seed);
	w->forgets = true;
	w->core_rate = CORE;
	w->loss = o->loss / 1000.0;
	w->clock_ns = o->clock_ns;
	jobs_set_core_rate(w->jobs, (uint64_t)CORE);
	nodes_join(&s);
	s.begun_us = w->now_us;
	while (w->now_us < s.begun_us + o->us && !w->broken.n) {
		if (!s.lost_us && w->now_us >= s.begun_us + o->us / 2)
			lose(&s);
		disturb(&s);
		step(&s);
	}
	count(&s);
	world_release(w);
	free(s.nodes);
}
