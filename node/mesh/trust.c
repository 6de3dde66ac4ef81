/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/trust.h"
#include "node/mesh/job_impl.h"

#include "node/base/mem.h"

#include <utlist.h>

#include <stdlib.h>

#define PROBE_TIMEOUT_MS 10000

void trusts_init(struct trusts *t)
{
	*t = (struct trusts){.rules = score_rules_default,
			     .timeout_ms = PROBE_TIMEOUT_MS};
}

void trusts_release(struct trusts *t)
{
	struct trust *one, *next;

	challenges_release(t);
	HASH_ITER (hh, t->by_id, one, next) {
		HASH_DEL(t->by_id, one);
		free(one);
	}
	*t = (struct trusts){0};
}

static uint64_t wall(const struct jobs *j, uint64_t now)
{
	return j->trusts.wall_ms + (now - j->trusts.wall_at);
}

static struct trust *trust_find(const struct jobs *j, const struct node_id *id)
{
	struct trust *t;

	HASH_FIND(hh, j->trusts.by_id, id, sizeof(*id), t);
	return t;
}

static bool pointed_to(struct jobs *j, const struct trust *t)
{
	if (t->challenge || t->news)
		return true;
	for (size_t i = 0; i < HN_COUNT(j->pools); i++)
		if (pool_find(&j->pools[i], &t->id))
			return true;
	return false;
}

/* Room for another: one that says nothing, else the oldest that may go. What
 * is on disk stays there. */
static bool forget_one(struct jobs *j)
{
	struct trust *t, *next, *victim = NULL, *barred = NULL;

	HASH_ITER (hh, j->trusts.by_id, t, next) {
		if (pointed_to(j, t))
			continue;
		if (t->score.state == SCORE_BARRED) {
			barred = barred ? barred : t;
			continue;
		}
		if (!victim)
			victim = t;
		if (!score_is_blank(&t->score))
			continue;
		victim = t;
		break;
	}
	/* Keys cost nothing: a cheat with very many must not become one whom
	 * nobody remembers. */
	if (!victim)
		victim = barred;
	if (!victim)
		return false;
	HASH_DEL(j->trusts.by_id, victim);
	free(victim);
	return true;
}

struct trust *trust_of(struct jobs *j, const struct node_id *id)
{
	struct trust *t = trust_find(j, id);

	if (t)
		return t;
	if (HASH_COUNT(j->trusts.by_id) >= TRUST_MAX && !forget_one(j))
		return NULL;
	t = HN_NEW(struct trust);
	t->id = *id;
	HASH_ADD(hh, j->trusts.by_id, id, sizeof(t->id), t);
	return t;
}

void trust_offered(struct jobs *j, struct worker *w, uint64_t now)
{
	if (w->self)
		return;
	j->trusts.due = 0;
	if (w->trust)
		return;
	w->trust = trust_of(j, &w->id);
	if (!w->trust)
		return; /* as a stranger whom we do not remember */
	w->bad |= w->trust->score.state == SCORE_BARRED;
	score_fade(&w->trust->score, &j->trusts.rules, wall(j, now));
	if (pool_find(jobs_pool(j, &kind_search), &w->id) == w &&
	    !w->total.hashes)
		w->total = w->trust->total;
	if (w->trust->asked_at)
		return;
	w->trust->asked_at = now;
	if (j->trusts.interval_ms) /* not all at once */
		w->trust->asked_at +=
		    j->ops.random(j->arg) % j->trusts.interval_ms / 4;
}

uint64_t trust_permille(const struct trust *t)
{
	return t ? score_permille(&t->score) : PERMILLE;
}

bool trust_may_work(const struct trust *t)
{
	return !t || score_may_work(&t->score);
}

/* Its workers follow what the score says. */
static void take_effect(struct jobs *j, const struct trust *t, uint64_t now)
{
	for (size_t i = 0; i < HN_COUNT(j->pools); i++) {
		struct worker *w = pool_find(&j->pools[i], &t->id);

		if (w)
			worker_file(w, now);
	}
}

static void tell(struct jobs *j, struct trust *t, bool state, uint64_t now)
{
	if (!t->news) {
		t->news = true;
		DL_APPEND(j->trusts.scored, t);
	}
	if (!state)
		return;
	take_effect(j, t, now);
	/* It may be due for a probe, or free for work, now. */
	if (score_may_work(&t->score))
		j->returned = true;
	else
		j->trusts.due = 0;
	if (j->ops.scored)
		j->ops.scored(j->arg, &t->id);
}

void trust_event(struct jobs *j, struct worker *w, enum score_event e,
		 uint64_t now)
{
	struct trust *t = w->trust;

	if (t)
		tell(j, t,
		     score_event(&t->score, &j->trusts.rules, e, wall(j, now)),
		     now);
}

/* --- what others ask --- */

void jobs_set_wall(struct jobs *j, uint64_t unix_ms, uint64_t now)
{
	j->trusts.wall_ms = unix_ms;
	j->trusts.wall_at = now;
}

void jobs_set_trust(struct jobs *j, const struct score_rules *rules,
		    uint64_t interval_ms, uint64_t timeout_ms)
{
	j->trusts.rules = *rules;
	j->trusts.interval_ms = interval_ms;
	j->trusts.timeout_ms = timeout_ms;
}

/* A person, or an earlier start, says whether its workers are barred. */
static void set_barred(struct jobs *j, const struct trust *t, uint64_t now)
{
	for (size_t i = 0; i < HN_COUNT(j->pools); i++) {
		struct worker *w = pool_find(&j->pools[i], &t->id);

		if (!w)
			continue;
		w->bad = t->score.state == SCORE_BARRED;
		worker_file(w, now);
	}
}

void jobs_set_score(struct jobs *j, const struct node_id *id,
		    const struct score *s, const struct evidence_total *total)
{
	struct trust *t = trust_of(j, id);

	if (!t)
		return;
	t->score = *s;
	if (total)
		t->total = *total;
	set_barred(j, t, 0);
}

void jobs_pardon(struct jobs *j, const struct node_id *id, uint64_t now)
{
	struct trust *t = trust_find(j, id);

	if (!t)
		return;
	score_pardon(&t->score, &j->trusts.rules, wall(j, now));
	set_barred(j, t, now);
	tell(j, t, true, now);
}

static const struct evidence_total *total_of(const struct jobs *j,
					     const struct trust *t)
{
	struct jobs *some = (struct jobs *)(uintptr_t)j;
	const struct worker *w =
	    pool_find(jobs_pool(some, &kind_search), &t->id);

	return w && w->trust == t ? &w->total : &t->total;
}

bool jobs_score(const struct jobs *j, const struct node_id *id, uint64_t now,
		struct peer_score *out)
{
	const struct trust *t = trust_find(j, id);

	*out = (struct peer_score){.rules = j->trusts.rules,
				   .wall_ms = wall(j, now)};
	for (size_t i = 0; i < HN_COUNT(j->pools) && !out->rate; i++) {
		const struct worker *w =
		    pool_find((struct pool *)(uintptr_t)&j->pools[i], id);

		if (w && w->measured)
			out->rate = (uint64_t)w->rate;
	}
	if (!t)
		return false;
	out->score = t->score;
	out->total = *total_of(j, t);
	score_fade(&out->score, &j->trusts.rules, out->wall_ms);
	return true;
}

bool jobs_barred(const struct jobs *j, const struct node_id *id)
{
	const struct trust *t = trust_find(j, id);

	return t && t->score.state == SCORE_BARRED;
}

void jobs_shut_out(const struct jobs *j, uint64_t *quarantined,
		   uint64_t *barred)
{
	const struct trust *t, *next;

	*quarantined = *barred = 0;
	HASH_ITER (hh, j->trusts.by_id, t, next) {
		if (t->score.state == SCORE_BARRED)
			++*barred;
		else if (!score_may_work(&t->score))
			++*quarantined;
	}
}

bool jobs_scored_next(struct jobs *j, struct node_id *id, struct score *out,
		      struct evidence_total *total)
{
	struct trust *t = j->trusts.scored;

	if (!t)
		return false;
	DL_DELETE(j->trusts.scored, t);
	t->news = false;
	*id = t->id;
	*out = t->score;
	t->total = *total = *total_of(j, t);
	return true;
}

void jobs_bar(struct jobs *j, const struct node_id *id, const char *why,
	      uint64_t now)
{
	static const struct job_proof elsewhere = {.lie = JOB_LIE_ELSEWHERE};
	struct trust *t = trust_of(j, id);

	for (size_t i = 0; i < HN_COUNT(j->pools); i++) {
		struct worker *w = pool_find(&j->pools[i], id);

		if (!w || w->bad)
			continue;
		jobs_drop(j, w, &elsewhere, now, "%s", why);
		units_feed_all(j, now);
		return;
	}
	if (t && t->score.state != SCORE_BARRED)
		tell(j, t,
		     score_event(&t->score, &j->trusts.rules, SCORE_PROOF,
				 wall(j, now)),
		     now);
}
