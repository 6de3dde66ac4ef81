/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Units: handed out, told about, ended, taken back.
 *
 * A unit's truth is its prefix: all below `below` is done and its shares are
 * known. Whatever ends a lease, the prefix counts and the rest is pending
 * again. Words about a closed lease are still believed (they bring their
 * shares) but count only for nonces nobody else has done.
 */
#include "node/mesh/job_impl.h"

#include "node/base/mem.h"
#include "node/mesh/sched.h"

#include <utlist.h>

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct part *part_find(const struct job *job, const struct node_id *id)
{
	struct part *part;

	HASH_FIND(hh, job->part_by_id, id, sizeof(*id), part);
	return part;
}

void part_add(struct job *job, struct part *part)
{
	DL_APPEND(job->parts, part);
	HASH_ADD(hh, job->part_by_id, id, sizeof(part->id), part);
}

struct part *job_part(struct job *job, struct worker *w)
{
	struct part *part = part_find(job, &w->id);

	if (part)
		return part;
	part = HN_NEW(struct part);
	part->job = job;
	part->worker = w;
	part->id = w->id;
	part->self = w->self;
	w->refs++;
	part_add(job, part);
	return part;
}

struct unit *unit_new(struct job *job, struct worker *w, struct span span,
		      unsigned bits, bool replica, uint64_t now)
{
	struct unit *u = HN_NEW(struct unit);

	u->id = jobs_fresh_id(job->jobs);
	u->job = job;
	u->part = job_part(job, w);
	u->span = span;
	u->below = u->audited = u->last = span.a;
	u->bits = bits;
	u->open = true;
	u->replica = replica;
	job->ncover += !replica;
	if (!w->held++) {
		w->turn_at = now;
		worker_busy(w, now);
	}
	if (!u->part->open++)
		u->part->busy_since = now;
	DL_APPEND2(w->units, u, wprev, wnext);
	worker_file(w, now);
	DL_APPEND(job->units, u);
	job->nunits++;
	HASH_ADD(hh, job->jobs->leases, id, sizeof(u->id), u);
	return u;
}

void unit_free(struct unit *u)
{
	struct jobs *j = u->job->jobs;

	if (u->hh.tbl)
		HASH_DEL(j->leases, u);
	free(u->shares);
	free(u);
}

void part_lost(struct part *part, const char *fmt, ...)
{
	va_list ap;

	if (part->dropped)
		return;
	part->lost = true;
	free(part->why);
	va_start(ap, fmt);
	part->why = xvasprintf(fmt, ap);
	va_end(ap);
}

static void unhand(struct unit *u, uint64_t now)
{
	struct job *job = u->job;
	struct part *part = u->part;
	struct worker *w = part->worker;
	const bool head = w->units == u;

	u->open = false;
	DL_DELETE(job->units, u);
	job->nunits--;
	job->ncover -= !u->replica;
	DL_DELETE2(w->units, u, wprev, wnext);
	if (head)
		w->turn_at = now;
	if (!--w->held)
		worker_idle(w, now);
	else
		worker_file(w, now);
	if (!--part->open)
		part->busy_ms += now - part->busy_since;
	DL_APPEND(job->closed, u);
	if (++job->nclosed > UNITS_KEPT) {
		struct unit *oldest = job->closed;

		DL_DELETE(job->closed, oldest);
		job->nclosed--;
		unit_free(oldest);
	}
}

void unit_close(struct unit *u, bool revoke, uint64_t now)
{
	struct job *job = u->job;
	const bool done = u->below == u->span.b;

	assert(u->open);
	u->state = done ? UNIT_DONE : UNIT_BACK;
	unhand(u, now);
	if (u->replica) {
		replica_ended(u, done, now);
	} else {
		book_return(&job->book, u->below, u->span.b);
		if (done) {
			job->done_units++;
		} else if (job_is_open(job)) {
			job->failed_units++;
			job->jobs->returned = true;
		}
		audit_draw(u, now);
		if (done)
			replica_keep(u, now);
	}
	free(u->shares);
	u->shares = NULL;
	u->nshares = u->cap = 0;
	if (revoke)
		job->jobs->ops.revoke(job->jobs->arg, u->id);
}

/* Handing out */

void lease_scan(const struct lease *l, struct scan_work *out)
{
	l->kind->cut(l->spec, l->span, l->bits, out);
}

bool unit_hand_over(struct unit *u, uint64_t expected_ms, uint64_t now)
{
	struct job *job = u->job;
	struct jobs *j = job->jobs;
	struct worker *w = u->part->worker;
	struct lease lease = {.id = u->id,
			      .worker = w->id,
			      .kind = job->kind,
			      .spec = job->spec,
			      .span = u->span,
			      .bits = u->bits,
			      .expected_ms = expected_ms};

	memcpy(lease.job, job->id, sizeof(lease.job));
	if (j->ops.assign(j->arg, &lease) == OK) {
		job->state = JOB_RUNNING;
		return true;
	}
	worker_failed(w, WORKER_REST_MS, now);
	unit_close(u, false, now);
	return false;
}

/* Progress */

static void keep_shares(struct unit *u, const uint32_t *shares, size_t n)
{
	if (!n)
		return;
	if (u->nshares + n > u->cap) {
		u->cap = (u->nshares + n) * 2;
		u->shares = xrealloc(u->shares, u->cap * sizeof(*shares));
	}
	memcpy(u->shares + u->nshares, shares, n * sizeof(*shares));
	u->nshares += n;
}

void job_hit(struct job *job, uint32_t nonce, const uint8_t digest[static 32],
	     const struct node_id *by)
{
	struct hit hit = {.nonce = nonce, .by = *by};

	memcpy(hit.digest, digest, sizeof(hit.digest));
	switch (job->kind->merge(job->spec, &job->hits, &hit)) {
	case MERGED_MORE:
		break;
	case MERGED_ENOUGH:
		job->enough = true;
		break;
	case MERGED_TOO_MANY:
		job->too_many = true;
		break;
	}
}

enum share_lie { LIE_NONE, LIE_PLACE, LIE_FALSE, LIE_GAP };

/*
 * (a) and (d) of D15 for the shares of [u->below, below). What precedes a lie
 * and is a hit remains one. *at: the share in question.
 */
static enum share_lie shares_check(struct unit *u, uint64_t below,
				   const uint32_t *shares, size_t n,
				   uint32_t *at)
{
	struct job *job = u->job;
	const double expected = u->part->worker->total.e.expected;
	uint64_t least = u->below;
	enum share_lie lie = LIE_NONE;

	for (size_t i = 0; i < n; i++) {
		uint8_t digest[32];

		*at = shares[i];
		if (shares[i] < least || shares[i] >= below)
			return LIE_PLACE;
		least = (uint64_t)shares[i] + 1;
		job->rehashed++;
		switch (job->kind->check(job->spec, &job->jobs->judge,
					 shares[i], u->bits, digest)) {
		case FINDING_FALSE:
			return LIE_FALSE;
		case FINDING_SHARE:
			break;
		case FINDING_HIT:
			job_hit(job, shares[i], digest, &u->part->id);
			break;
		}
		if (lie == LIE_NONE &&
		    evidence_gap(shares[i] - u->last, u->bits,
				 expected + (double)i))
			lie = LIE_GAP;
		u->last = least;
	}
	if (lie == LIE_NONE &&
	    evidence_gap(below - u->last, u->bits, expected + (double)n))
		lie = LIE_GAP;
	return lie;
}

/* No doubt about it: u's own answer shows it. */
static struct job_proof proof_in(const struct unit *u, enum job_lie lie,
				 uint64_t nonce)
{
	return job_proof_of(u->job, u->id, lie, nonce);
}

static void drop_liar(struct unit *u, enum share_lie lie, uint32_t at,
		      uint64_t now)
{
	struct jobs *j = u->job->jobs;
	struct worker *w = u->part->worker;
	struct job_proof proof;

	switch (lie) {
	case LIE_NONE:
		break;
	case LIE_PLACE:
		proof = proof_in(u, JOB_LIE_PLACE, at);
		jobs_drop(j, w, &proof, now,
			  "reported nonce %" PRIu32
			  " out of its range, out of order or twice",
			  at);
		break;
	case LIE_FALSE:
		proof = proof_in(u, JOB_LIE_FALSE, at);
		jobs_drop(j, w, &proof, now,
			  "reported nonce %" PRIu32
			  ", whose hash has not the asked %u zero bits",
			  at, u->bits);
		break;
	case LIE_GAP:
		jobs_drop(j, w, NULL, now,
			  "reported no share for too long a stretch near "
			  "nonce %" PRIu64,
			  u->last);
		break;
	}
}

/* The prefix of u moves to below; only what nobody had done counts. */
static void advance(struct unit *u, uint64_t below)
{
	struct job *job = u->job;
	struct part *part = u->part;
	const uint64_t count = below - u->below;

	if (!u->replica) {
		const uint64_t fresh =
		    book_done(&job->book, u->below, below, u->open, &part->did);

		part->hashes += fresh;
		job->late += count - fresh;
		if (fresh < count && !u->late) {
			u->late = true;
			part->late++;
		}
	}
	u->below = below;
	if (u->state == UNIT_ASSIGNED)
		u->state = UNIT_COMPUTING;
}

/* (c) of D15 for its lists in this job, and in all it ever did for us. */
static bool too_few(struct unit *u, uint64_t now)
{
	struct part *part = u->part;
	struct worker *w = part->worker;
	const bool here = evidence_low(&part->evidence);

	if (!evidence_low(&w->total.e) && !here)
		return false;
	const struct evidence *e = here ? &part->evidence : &w->total.e;

	jobs_drop(u->job->jobs, w, NULL, now,
		  "reported %" PRIu64
		  " shares where %.0f were to be expected%s",
		  e->reported, e->expected, here ? "" : ", in all its jobs");
	return true;
}

static void progress(struct unit *u, uint64_t below, const uint32_t *shares,
		     size_t n, uint64_t now)
{
	struct job *job = u->job;
	struct part *part = u->part;
	struct worker *w = part->worker;
	const uint64_t count = below - u->below;
	uint32_t at = 0;

	if (w->units == u)
		w->turn_at = now;
	worker_progress(w, count, now);
	job->served_at = now;
	part->lost = false;
	if (!job->kind->shares) {
		advance(u, below);
		return;
	}
	const enum share_lie lie = shares_check(u, below, shares, n, &at);
	if (lie != LIE_NONE) {
		drop_liar(u, lie, at, now);
		return;
	}

	evidence_add(&part->evidence, count, u->bits, n);
	evidence_add(&w->total.e, count, u->bits, n);
	w->total.hashes += count;
	keep_shares(u, shares, n);
	advance(u, below);
	if (too_few(u, now))
		return;
	if (!u->open) {
		/* Late: nothing will close it again. */
		audit_draw(u, now);
		u->nshares = 0;
	}
}

void jobs_progress(struct jobs *j, uint64_t lease_id, uint64_t below,
		   const uint32_t *shares, size_t n, uint64_t now)
{
	struct unit *u;

	HASH_FIND(hh, j->leases, &lease_id, sizeof(lease_id), u);
	/* What was said before is no news: a message came twice. */
	if (!u) {
		challenge_progress(j, lease_id, below, shares, n, now);
		return;
	}
	if (u->part->dropped || below <= u->below)
		return;
	/* The reply to a replica is compared once, when it ends. */
	if (u->replica && !u->open)
		return;
	struct job *job = u->job;
	struct pool *pool = job->pool;
	struct worker *w = u->part->worker;

	const struct job_proof proof = proof_in(u, JOB_LIE_BEYOND, below);

	if (below > u->span.b)
		jobs_drop(j, w, &proof, now,
			  "reported more than its unit, up to %" PRIu64, below);
	else
		progress(u, below, shares, n, now);
	job_changed(job);
	job_step(job, now);
	jobs_settle(j, pool, w, now);
}

void jobs_lease_end(struct jobs *j, uint64_t lease_id, enum err e,
		    uint64_t hashes, uint64_t now)
{
	struct unit *u;

	HASH_FIND(hh, j->leases, &lease_id, sizeof(lease_id), u);
	if (!u)
		challenge_end(j, lease_id, e, now);
	if (!u || !u->open)
		return;
	struct job *job = u->job;
	struct pool *pool = job->pool;
	struct worker *w = u->part->worker;
	const uint64_t length = u->span.b - u->span.a;

	if (e == ERR_CRYPTO) {
		jobs_drop(j, w, NULL, now, "signed no answer to its unit");
	} else if (e == OK && (u->below < u->span.b || hashes < length)) {
		jobs_drop(j, w, NULL, now,
			  "ended a unit of %" PRIu64 " nonces after %" PRIu64
			  " hashes, with word of %" PRIu64,
			  length, hashes, u->below - u->span.a);
	} else {
		if (e == OK) {
			u->part->units++;
			w->total.units++;
		} else {
			worker_failed(w, WORKER_REST_MS, now);
		}
		trust_event(j, w, score_event_of(e), now);
		if (e == ERR_GONE)
			part_lost(u->part, "its session ended");
		else if (e == ERR_BUSY)
			part_lost(u->part, "busy: it takes no work now");
		unit_close(u, false, now);
	}
	job_changed(job);
	job_step(job, now);
	jobs_settle(j, pool, w, now);
}

void jobs_heard(struct jobs *j, uint64_t lease_id, uint64_t now)
{
	struct unit *u;

	HASH_FIND(hh, j->leases, &lease_id, sizeof(lease_id), u);
	if (!u || !u->open)
		return;
	struct worker *w = u->part->worker;

	w->heard_at = now;
	if (w->units == u)
		w->turn_at = now;
	u->job->served_at = now;
	if (u->state == UNIT_ASSIGNED)
		u->state = UNIT_COMPUTING;
}

void jobs_checked(struct jobs *j, uint64_t lease_id, uint64_t hashes,
		  uint64_t now)
{
	struct unit *u;

	HASH_FIND(hh, j->leases, &lease_id, sizeof(lease_id), u);
	if (!u || u->job->kind->shares || !hashes)
		return;
	u->part->pieces += hashes;
	trust_event(j, u->part->worker, SCORE_PIECE, now);
}

void jobs_lie(struct jobs *j, uint64_t lease_id, const char *why, uint64_t now)
{
	struct unit *u;

	HASH_FIND(hh, j->leases, &lease_id, sizeof(lease_id), u);
	if (!u || u->part->dropped)
		return;
	struct job *job = u->job;
	struct pool *pool = job->pool;
	struct worker *w = u->part->worker;

	const struct job_proof proof = proof_in(u, JOB_LIE_ANSWER, 0);

	jobs_drop(j, w, &proof, now, "%s", why);
	job_changed(job);
	job_step(job, now);
	jobs_settle(j, pool, w, now);
}

/* Taking back */

/* All its units when it says nothing at all; the oldest when others overtake
 * that one, which is then lost as well. */
static void take_back(struct jobs *j, struct worker *w, uint64_t now)
{
	const uint64_t silent = now - w->heard_at;
	const bool all = silent >= worker_patience_ms(w);

	worker_failed(w, WORKER_SILENT_REST_MS, now);
	trust_event(j, w, SCORE_SILENT, now);
	part_lost(w->units->part, "silent for %" PRIu64 " s", silent / 1000);
	do {
		struct job *job = w->units->job;

		unit_close(w->units, true, now);
		job_changed(job);
	} while (all && w->units);
}

void units_expire(struct jobs *j, struct pool *p, uint64_t now)
{
	struct worker *w;

	while ((w = pool_due(p, now))) {
		if (worker_expiry(w) <= now)
			take_back(j, w, now);
		worker_file(w, now);
		units_feed(j, p, w, now);
	}
}
