/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * (b) of D15: after a unit (or the prefix of one that was cut) is in, pieces
 * of it are scanned again, at places nobody could know before.
 *
 * The budget is a token bucket of nonces, filled by a share of one core; the
 * least proven worker's pieces go first. What would wait longer than
 * HORIZON_MS goes to another worker instead, as one run in one lease: a
 * hundred messages for pieces of a millisecond would cost more than they
 * prove. Once the whole range is done the budget no longer holds back what
 * waits, since it is at most two horizons' worth and the submitter waits, too.
 *
 * Every share was hashed again when it was reported, so a share that only one
 * list of a piece has proves the other list wrong, no matter whose it is; no
 * third scan is needed to decide.
 */
#include "node/mesh/job_impl.h"

#include "node/base/mem.h"

#include <utlist.h>

#include <inttypes.h>
#include <stdlib.h>

#define HORIZON_MS 2000
#define START_MS 1000 /* tokens a job begins with */
#define STRANGER 64   /* pieces after which a worker is known */
#define RUNNING_MAX 256
#define REPLICA_TRIES 2
#define NO_DEVICE_MS 10000 /* after one refused to scan for us */
#define CORE_RATE 1000000  /* while ours is not known; all cores do more */

/* Nonces per millisecond. */
static double budget(const struct job *job)
{
	const struct jobs *j = job->jobs;
	const double core = j->core_rate ? (double)j->core_rate : CORE_RATE;

	return core * (double)job->terms->check_permille / 1e6 /
	       (double)(j->nopen ? j->nopen : 1);
}

static void refill(struct job *job, uint64_t now)
{
	const double most = budget(job) * HORIZON_MS;

	job->tokens += budget(job) * (double)(now - job->tokens_at);
	job->tokens_at = now;
	if (job->tokens > most)
		job->tokens = most;
}

void audit_start(struct job *job, uint64_t now)
{
	job->tokens = budget(job) * START_MS;
	job->tokens_at = now;
}

static struct piece *piece_new(struct unit *u, struct span span)
{
	struct piece *p = HN_NEW(struct piece);
	const uint32_t *shares =
	    check_within(u->shares, u->nshares, span, &p->n);

	p->part = u->part;
	p->span = span;
	p->bits = u->bits;
	if (p->n)
		p->shares = xmemdup(shares, p->n * sizeof(*shares));
	return p;
}

static void piece_free(struct piece *p)
{
	free(p->shares);
	free(p);
}

static uint64_t piece_size(const struct piece *p)
{
	return p->span.b - p->span.a;
}

static void piece_queue(struct piece *p, bool stranger)
{
	struct job *job = p->part->job;

	p->stranger = stranger;
	job->queued += piece_size(p);
	if (stranger)
		job->queued_strangers += piece_size(p);
	DL_APPEND(p->part->waiting, p);
}

static void piece_unqueue(struct piece *p)
{
	struct job *job = p->part->job;

	job->queued -= piece_size(p);
	if (p->stranger)
		job->queued_strangers -= piece_size(p);
	DL_DELETE(p->part->waiting, p);
}

static void piece_passed(struct piece *p, uint64_t now)
{
	p->part->rescanned += piece_size(p);
	p->part->pieces++;
	p->part->worker->passed++;
	trust_event(p->part->job->jobs, p->part->worker, SCORE_PIECE, now);
}

void audit_draw(struct unit *u, uint64_t now)
{
	struct job *job = u->job;
	struct jobs *j = job->jobs;
	const struct span range = {u->audited, u->below};
	const bool stranger = u->part->worker->passed < STRANGER;
	struct span spans[CHECK_PIECES_MAX];

	u->audited = u->below;
	if (range.a == range.b || !job->kind->shares || u->replica ||
	    u->part->self || u->part->dropped || job->enough ||
	    !job_is_open(job))
		return;
	refill(job, now);

	const uint64_t ahead = stranger ? job->queued_strangers : job->queued;
	const double room =
	    job->tokens + budget(job) * HORIZON_MS - (double)ahead;
	const uint64_t want =
	    (range.b - range.a + CHECK_PER_UNIT - 1) / CHECK_PER_UNIT;
	uint64_t own = want;

	if (now < j->no_device_until || room <= 0)
		own = 0;
	else if (room < (double)want)
		own = (uint64_t)room;
	const size_t n = check_draw(range, u->bits, own, j->ops.random, j->arg,
				    spans, HN_COUNT(spans));
	for (size_t i = 0; i < n; i++)
		piece_queue(piece_new(u, spans[i]), stranger);

	/* Enough for another worker, and one is there. */
	if (want - own < CHECK_PIECE_MIN || job->pool->here < 2 ||
	    job->nreplicas >= job->pool->here * 2)
		return;
	struct piece *p =
	    piece_new(u, check_run(range, want - own, j->ops.random, j->arg));
	DL_APPEND(job->replicas, p);
	job->nreplicas++;
	j->returned = true;
}

/* Our own scan */

static struct part *least_proven(struct job *job)
{
	struct part *part, *best = NULL;

	DL_FOREACH (job->parts, part)
		if (part->waiting &&
		    (!best || part->worker->passed < best->worker->passed))
			best = part;
	return best;
}

static void piece_start(struct piece *p, uint64_t now)
{
	struct job *job = p->part->job;
	struct jobs *j = job->jobs;
	struct scan_work work;

	piece_unqueue(p);
	p->id = jobs_fresh_id(j);
	job->kind->cut(job->spec, p->span, p->bits, &work);
	DL_APPEND(job->running, p);
	job->nrunning++;
	if (j->ops.rescan(j->arg, p->id, &work) == OK) {
		job->tokens -= (double)piece_size(p);
		return;
	}
	j->no_device_until = now + NO_DEVICE_MS;
	DL_DELETE(job->running, p);
	job->nrunning--;
	piece_free(p);
}

void audit_spend(struct job *job, bool flush, uint64_t now)
{
	if (!job->queued)
		return;
	refill(job, now);
	while (job->queued && job->nrunning < RUNNING_MAX &&
	       (flush || job->tokens > 0))
		piece_start(least_proven(job)->waiting, now);
}

bool audit_busy(const struct job *job)
{
	return job->queued || job->nrunning || job->nreplicas ||
	       job->nreplicating;
}

static struct piece *running_find(struct jobs *j, uint64_t id)
{
	struct job *job;
	struct piece *p;

	DL_FOREACH (j->open, job)
		DL_FOREACH (job->running, p)
			if (p->id == id)
				return p;
	return NULL;
}

/* What our own device says is hashed again as well: false when it errs. */
static bool own_shares_ok(struct piece *p, const uint32_t *shares, size_t n)
{
	struct job *job = p->part->job;
	uint64_t least = p->span.a;

	for (size_t i = 0; i < n; i++) {
		uint8_t digest[32];

		if (shares[i] < least || shares[i] >= p->span.b)
			return false;
		least = (uint64_t)shares[i] + 1;
		job->rehashed++;
		switch (job->kind->check(job->spec, &job->jobs->judge,
					 shares[i], p->bits, digest)) {
		case FINDING_FALSE:
			return false;
		case FINDING_SHARE:
			break;
		case FINDING_HIT:
			/* Perhaps a winner that was kept back. */
			if (check_lacks(p->shares, p->n, &shares[i], 1,
					&(uint32_t){0}))
				job_hit(job, shares[i], digest,
					&job->jobs->self);
			break;
		}
	}
	return true;
}

static void rescanned(struct piece *p, const uint32_t *shares, size_t n,
		      uint64_t now)
{
	struct jobs *j = p->part->job->jobs;
	uint32_t at;

	if (!own_shares_ok(p, shares, n))
		return;
	if (check_lacks(p->shares, p->n, shares, n, &at))
		jobs_drop(j, p->part->worker, true, now,
			  "did not report nonce %" PRIu32
			  " of a piece that was scanned again",
			  at);
	else if (n == p->n)
		piece_passed(p, now);
}

void jobs_rescan_end(struct jobs *j, uint64_t check_id, enum err e,
		     const uint32_t *shares, size_t n, uint64_t now)
{
	struct piece *p = running_find(j, check_id);

	if (!p) {
		challenge_scanned(j, check_id, e, shares, n, now);
		return;
	}
	struct job *job = p->part->job;
	struct pool *pool = job->pool;
	struct worker *w = p->part->worker;

	DL_DELETE(job->running, p);
	job->nrunning--;
	if (e == OK)
		rescanned(p, shares, n, now);
	piece_free(p);
	job_step(job, now);
	jobs_settle(j, pool, w, now);
}

/* Replicas */

struct piece *audit_replica(struct job *job, const struct worker *w)
{
	struct piece *p;

	DL_FOREACH (job->replicas, p)
		if (p->part->worker != w)
			return p;
	return NULL;
}

void audit_taken(struct piece *p, struct unit *u)
{
	struct job *job = u->job;

	DL_DELETE(job->replicas, p);
	job->nreplicas--;
	job->nreplicating++;
	p->tries++;
	u->piece = p;
}

static void compare(struct piece *p, struct unit *u, uint64_t now)
{
	struct jobs *j = u->job->jobs;
	struct worker *first = p->part->worker, *second = u->part->worker;
	uint32_t a = 0, b = 0;
	const bool first_lied =
	    check_lacks(p->shares, p->n, u->shares, u->nshares, &a);
	const bool second_lied =
	    check_lacks(u->shares, u->nshares, p->shares, p->n, &b);

	if (!first_lied && !second_lied)
		piece_passed(p, now);
	piece_free(p);
	if (first_lied)
		jobs_drop(j, first, true, now,
			  "did not report nonce %" PRIu32
			  ", which another peer found",
			  a);
	if (second_lied)
		jobs_drop(j, second, true, now,
			  "did not find nonce %" PRIu32
			  " when asked to check another peer",
			  b);
}

void audit_replicated(struct unit *u, bool done, uint64_t now)
{
	struct job *job = u->job;
	struct piece *p = u->piece;

	if (!p)
		return;
	u->piece = NULL;
	job->nreplicating--;
	if (done && job_is_open(job)) {
		compare(p, u, now);
	} else if (job_is_open(job) && p->tries < REPLICA_TRIES) {
		DL_APPEND(job->replicas, p);
		job->nreplicas++;
		job->jobs->returned = true;
	} else {
		piece_free(p);
	}
}

void audit_forget(struct part *part)
{
	struct job *job = part->job;
	struct jobs *j = job->jobs;
	struct piece *p, *next;
	struct unit *u;

	DL_FOREACH_SAFE (part->waiting, p, next) {
		piece_unqueue(p);
		piece_free(p);
	}
	DL_FOREACH_SAFE (job->running, p, next) {
		if (p->part != part)
			continue;
		DL_DELETE(job->running, p);
		job->nrunning--;
		j->ops.rescan_cancel(j->arg, p->id);
		piece_free(p);
	}
	DL_FOREACH_SAFE (job->replicas, p, next) {
		if (p->part != part)
			continue;
		DL_DELETE(job->replicas, p);
		job->nreplicas--;
		piece_free(p);
	}
	DL_FOREACH (job->units, u) {
		if (!u->piece || u->piece->part != part)
			continue;
		piece_free(u->piece);
		u->piece = NULL;
		job->nreplicating--;
	}
}
