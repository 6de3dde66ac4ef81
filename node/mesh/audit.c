/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * (b) of D15: after a unit (or the prefix of one that was cut) is in, pieces
 * of it are scanned again on our own device, at places nobody could know
 * before; of a small unit, all of it.
 *
 * The budget is a token bucket of nonces, filled by a share of one core; the
 * least proven workers' pieces go first: they wait in a few queues, one for
 * each power of two of what we know of their worker. What would wait longer
 * than HORIZON_MS goes to another worker instead (replica.c). Once the whole
 * range is done the budget no longer holds back what waits, since it is at
 * most two horizons' worth and the submitter waits, too.
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
#define RUNNING_MAX 256
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

struct piece *piece_new(struct unit *u, struct span span)
{
	struct piece *p = HN_NEW(struct piece);
	const uint32_t *shares =
	    check_within(u->shares, u->nshares, span, &p->n);

	p->part = u->part;
	p->lease = u->id;
	p->span = span;
	p->bits = u->bits;
	if (p->n)
		p->shares = xmemdup(shares, p->n * sizeof(*shares));
	return p;
}

void piece_free(struct piece *p)
{
	free(p->shares);
	free(p);
}

/* 0 for one of whom nothing is known; one more for each doubling. */
static unsigned level_of(const struct worker *w)
{
	unsigned level = 0;

	while (level < AUDIT_LEVELS - 1 && w->total.pieces >> level)
		level++;
	return level;
}

static void piece_queue(struct piece *p, unsigned level)
{
	struct job *job = p->part->job;

	p->level = level;
	job->queued[level] += piece_size(p);
	p->part->looking++;
	DL_APPEND(job->waiting[level], p);
}

static void piece_unqueue(struct piece *p)
{
	struct job *job = p->part->job;

	job->queued[p->level] -= piece_size(p);
	p->part->looking--;
	DL_DELETE(job->waiting[p->level], p);
}

bool audit_stranger(const struct worker *w)
{
	return w->total.pieces < CHECK_STRANGER;
}

void audit_passed(struct part *part, uint64_t nonces, unsigned bits, bool own,
		  uint64_t now)
{
	struct evidence_total *t = &part->worker->total;
	const double weight = check_weight(nonces, bits);

	if (own)
		part->rescanned += nonces;
	part->pieces++;
	part->weight += weight;
	t->rescanned += nonces;
	t->pieces++;
	t->weight += weight;
	trust_event(part->job->jobs, part->worker, SCORE_PIECE, now);
}

/* Nonces that wait and go first when those of this level join them. */
static uint64_t queued_before(const struct job *job, unsigned level)
{
	uint64_t n = 0;

	for (unsigned i = 0; i <= level; i++)
		n += job->queued[i];
	return n;
}

/* Pieces of a range, `own` nonces in all; all of a small one. */
static size_t pieces_draw(struct job *job, struct span range, unsigned bits,
			  uint64_t own, struct span *out, size_t max)
{
	struct jobs *j = job->jobs;

	if (own < range.b - range.a)
		return check_draw(range, bits, own, j->ops.random, j->arg, out,
				  max);
	*out = range;
	return 1;
}

void audit_draw(struct unit *u, uint64_t now)
{
	struct job *job = u->job;
	struct jobs *j = job->jobs;
	const struct span range = {u->audited, u->below};
	const uint64_t length = range.b - range.a;
	const unsigned level = level_of(u->part->worker);
	struct span spans[CHECK_PIECES_MAX];

	u->audited = u->below;
	if (!length || !job->kind->shares || u->replica || u->part->self ||
	    u->part->dropped || job->enough || !job_is_open(job))
		return;
	refill(job, now);

	const double room = job->tokens + budget(job) * HORIZON_MS -
			    (double)queued_before(job, level);
	const uint64_t want = (length + CHECK_PER_UNIT - 1) / CHECK_PER_UNIT;
	uint64_t own = want;

	if (now < j->no_device_until || room <= 0)
		own = 0;
	else if (length <= CHECK_SMALL && room >= (double)length)
		own = length;
	else if (room < (double)want)
		own = (uint64_t)room;
	const size_t n =
	    pieces_draw(job, range, u->bits, own, spans, HN_COUNT(spans));
	for (size_t i = 0; i < n; i++)
		piece_queue(piece_new(u, spans[i]), level);

	if (own < want)
		replica_want(u, range, want - own);
}

/* Our own scan */

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
		job->scanned += piece_size(p);
		return;
	}
	j->no_device_until = now + NO_DEVICE_MS;
	DL_DELETE(job->running, p);
	job->nrunning--;
	piece_free(p);
}

static struct piece *least_proven(struct job *job)
{
	for (size_t i = 0; i < AUDIT_LEVELS; i++)
		if (job->waiting[i])
			return job->waiting[i];
	return NULL;
}

void audit_spend(struct job *job, bool flush, uint64_t now)
{
	struct piece *p = least_proven(job);

	if (!p)
		return;
	refill(job, now);
	while (p && job->nrunning < RUNNING_MAX && (flush || job->tokens > 0)) {
		piece_start(p, now);
		p = least_proven(job);
	}
}

bool audit_busy(const struct job *job)
{
	return queued_before(job, AUDIT_LEVELS - 1) || job->nrunning;
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
	if (check_lacks(p->shares, p->n, shares, n, &at)) {
		const struct job_proof proof =
		    job_proof_of(p->part->job, p->lease, JOB_LIE_MISSING, at);

		jobs_drop(j, p->part->worker, &proof, now,
			  "did not report nonce %" PRIu32
			  " of a piece that was scanned again",
			  at);
	} else if (n == p->n) {
		audit_passed(p->part, piece_size(p), p->bits, true, now);
	}
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

void audit_forget(struct part *part)
{
	struct job *job = part->job;
	struct jobs *j = job->jobs;
	struct piece *p, *next;

	for (size_t i = 0; i < AUDIT_LEVELS && part->looking; i++) {
		DL_FOREACH_SAFE (job->waiting[i], p, next) {
			if (p->part != part)
				continue;
			piece_unqueue(p);
			piece_free(p);
		}
	}
	DL_FOREACH_SAFE (job->running, p, next) {
		if (p->part != part)
			continue;
		DL_DELETE(job->running, p);
		job->nrunning--;
		j->ops.rescan_cancel(j->arg, p->id);
		piece_free(p);
	}
}

void audit_clear(struct job *job)
{
	struct jobs *j = job->jobs;
	struct piece *p;

	while ((p = least_proven(job)) != NULL) {
		piece_unqueue(p);
		piece_free(p);
	}
	while ((p = job->running) != NULL) {
		DL_DELETE(job->running, p);
		job->nrunning--;
		j->ops.rescan_cancel(j->arg, p->id);
		piece_free(p);
	}
}
