/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Work that a second worker does again, in a lease like any other: with a
 * fresh id, signed and paid, but outside the book of the job. Three reasons:
 *
 * - a run: what our own re-scan budget does not cover of a unit (decision
 *   D15). It is short, a hundred messages for pieces would cost more than
 *   they prove, and so its second worker may know it for what it is; it tests
 *   the first one, who has answered already.
 * - what is owed: with `replicas` N, N - 1 others do all of a stranger's
 *   unit, and one in TERMS_REPLICA_SAMPLE of the others'.
 * - what is known: without `replicas`, the lists of the last units are kept,
 *   and now and then a worker is given a part of one, of its own usual size,
 *   share bits and place in the queue, instead of a new unit. If it tests the
 *   second worker it is a check unit, if it tests the first a replica; it is
 *   both. Strangers get them more often, and theirs are given first.
 *
 * Units lie at random places of the range (book_take), so that a place which
 * was done before looks like any other to one who has not done it.
 *
 * Both lists are compared at the higher of the two share bits. Each share was
 * hashed again when it was told: one that a list lacks proves that list wrong.
 */
#include "node/mesh/job_impl.h"

#include "node/base/mem.h"

#include <utlist.h>

#include <inttypes.h>
#include <stdlib.h>

#define RUN_TRIES 2
#define OWED_TRIES 4
#define ALONE_MS 10000 /* waited for a second peer that nobody knows */
#define KNOWN_MAX 32
#define KEPT_SHARES (1u << 18) /* of a job, in all lists: 1 MiB */
#define TEST_PART 100	  /* of all work, one part in so many is given again */
#define TEST_MOST 100	  /* and of one job */
#define WORKER_PART 25	  /* and of what one worker does for us */
#define STRANGER_CHANCE 2 /* one chance in so many to get a known one */
#define OTHERS_CHANCE 16

static struct piece **list_of(struct job *job, enum piece_role role)
{
	return role == PIECE_RUN    ? &job->runs
	       : role == PIECE_OWED ? &job->owed
				    : &job->known;
}

/* What the counts of a list say of one piece more or less. */
static void count(struct piece *p, int by)
{
	struct job *job = p->part->job;
	const size_t one = (size_t)by;

	switch (p->role) {
	case PIECE_LOOK:
		break;
	case PIECE_RUN:
		job->nruns += one;
		break;
	case PIECE_OWED:
		job->nowed += one;
		job->kept_shares += one * p->n;
		job->owed_nonces += one * piece_size(p) * p->rounds;
		break;
	case PIECE_KNOWN:
		job->nknown += one;
		job->kept_shares += one * p->n;
		break;
	}
}

static void append(struct piece *p)
{
	struct piece **list = list_of(p->part->job, p->role);

	DL_APPEND(*list, p);
	count(p, 1);
}

static void take_out(struct piece *p)
{
	struct piece **list = list_of(p->part->job, p->role);

	DL_DELETE(*list, p);
	count(p, -1);
}

/* Nobody will do it. */
static void give_up(struct piece *p)
{
	if (p->role == PIECE_OWED)
		p->part->job->unreplicated += piece_size(p) * p->rounds;
	piece_free(p);
}

static void make_room(struct job *job)
{
	while (job->known &&
	       (job->nknown > KNOWN_MAX || job->kept_shares > KEPT_SHARES)) {
		struct piece *p = job->known;

		take_out(p);
		piece_free(p);
	}
	while (job->owed && job->kept_shares > KEPT_SHARES) {
		struct piece *p = job->owed;

		take_out(p);
		give_up(p);
	}
}

void replica_want(struct unit *u, struct span range, uint64_t nonces)
{
	struct job *job = u->job;
	struct jobs *j = job->jobs;

	if (nonces < CHECK_PIECE_MIN || job->terms->replicas == 1 ||
	    job->pool->here < 2 || job->nruns >= job->pool->here * 2)
		return;
	struct piece *p =
	    piece_new(u, check_run(range, nonces, j->ops.random, j->arg));

	p->role = PIECE_RUN;
	append(p);
	j->returned = true;
}

/* By how many others shall this unit be done? */
static unsigned rounds_of(const struct unit *u)
{
	struct jobs *j = u->job->jobs;
	const uint64_t n = u->job->terms->replicas;

	if (n < 2 || u->part->self)
		return 0;
	if (!audit_stranger(u->part->worker) &&
	    j->ops.random(j->arg) % TERMS_REPLICA_SAMPLE)
		return 0;
	return (unsigned)(n - 1);
}

void replica_keep(struct unit *u, uint64_t now)
{
	struct job *job = u->job;

	struct jobs *j = job->jobs;
	const uint64_t length = u->span.b - u->span.a;

	if (!job->kind->shares || u->part->dropped || job->enough ||
	    !job_is_open(job))
		return;
	j->test_debt -= j->test_debt < length ? j->test_debt : length;
	const unsigned rounds = rounds_of(u);

	if (!rounds && job->terms->replicas)
		return;
	struct piece *p = piece_new(u, u->span);

	p->role = rounds ? PIECE_OWED : PIECE_KNOWN;
	p->rounds = rounds;
	if (rounds && !job->nowed)
		job->owed_at = now;
	if (rounds)
		j->returned = true;
	append(p);
	make_room(job);
}

/* Who may do it again: neither who did it, nor one of the same owner. */
static bool may_do(const struct piece *p, const struct worker *w)
{
	if (!worker_independent(p->part->worker, w))
		return false;
	for (unsigned i = 0; i < p->nby; i++)
		if (!worker_independent(p->by[i], w))
			return false;
	return true;
}

/* After each there is none until so much work is done that it was one part in
 * TEST_PART of it; and it is not always the same who is asked. */
static bool affordable(const struct job *job, const struct worker *w,
		       uint64_t nonces)
{
	return !job->jobs->test_debt &&
	       w->total.given <= w->total.hashes / WORKER_PART &&
	       job->tested + nonces <=
		   (job->book.end - job->book.start) / TEST_MOST;
}

bool replica_any(const struct job *job)
{
	return job->runs || job->owed || job->known;
}

/* The front part of one that is too long, as a piece of its own. */
static struct piece *split(struct piece *p, uint64_t nonces)
{
	struct piece *front = HN_NEW(struct piece);
	const struct span span = {p->span.a, p->span.a + nonces};

	take_out(p);
	*front = *p;
	front->span = span;
	const uint32_t *shares = check_within(p->shares, p->n, span, &front->n);
	front->shares = xmemdup(shares, front->n * sizeof(*shares));
	p->span.a = span.b;
	p->n -= front->n;
	if (p->n) /* else there may be no list at all */
		memmove(p->shares, p->shares + front->n,
			p->n * sizeof(*shares));
	append(p);
	append(front);
	return front;
}

static struct piece *pick_owed(struct job *job, const struct worker *w,
			       const struct sched_cut *cut, struct span *span)
{
	struct piece *p;

	DL_FOREACH (job->owed, p)
		if (may_do(p, w))
			break;
	if (!p)
		return NULL;
	if (piece_size(p) > cut->nonces + cut->nonces / 8)
		p = split(p, cut->nonces);
	*span = p->span;
	return p;
}

/* Of those that are long enough: for a stranger the list of the one we know
 * best; for others that of the one we know least. */
static struct piece *pick_known(struct job *job, const struct worker *w,
				const struct sched_cut *cut, struct span *span)
{
	struct jobs *j = job->jobs;
	const bool stranger = audit_stranger(w);
	struct piece *p, *best = NULL;

	/* Nobody should wait for a check at the end. */
	if (!job->book.pending.n || w->self ||
	    !affordable(job, w, cut->nonces) ||
	    j->ops.random(j->arg) %
		(stranger ? STRANGER_CHANCE : OTHERS_CHANCE))
		return NULL;
	DL_FOREACH (job->known, p) {
		const uint64_t pieces = p->part->worker->total.pieces;

		if (piece_size(p) < cut->nonces || !may_do(p, w))
			continue;
		if (!best || p->part->self ||
		    (stranger ? pieces > best->part->worker->total.pieces
			      : pieces < best->part->worker->total.pieces))
			best = p;
	}
	if (!best)
		return NULL;
	span->a = best->span.a +
		  j->ops.random(j->arg) % (piece_size(best) - cut->nonces + 1);
	span->b = span->a + cut->nonces;
	return best;
}

struct piece *replica_pick(struct job *job, const struct worker *w,
			   const struct sched_cut *cut, struct span *span)
{
	struct piece *p;

	DL_FOREACH (job->runs, p) {
		if (may_do(p, w)) {
			*span = p->span;
			return p;
		}
	}
	p = pick_owed(job, w, cut, span);
	return p ? p : pick_known(job, w, cut, span);
}

void replica_taken(struct piece *p, struct unit *u)
{
	struct job *job = u->job;

	take_out(p);
	p->tries++;
	u->piece = p;
	job->nreplicating++;
	job->nowed_given += p->role == PIECE_OWED;
	job->given += u->span.b - u->span.a;
	u->part->worker->total.given += u->span.b - u->span.a;
	if (p->role == PIECE_KNOWN) {
		job->tested += u->span.b - u->span.a;
		job->jobs->test_debt = (u->span.b - u->span.a) * TEST_PART;
	}
}

/* The shares of an ascending list that have so many bits; free it. */
static uint32_t *finer(struct job *job, const uint32_t *list, size_t n,
		       unsigned have, unsigned bits, size_t *count)
{
	uint32_t *out = xcalloc(n + 1, sizeof(*out));
	uint8_t digest[32];

	*count = 0;
	for (size_t i = 0; i < n; i++) {
		if (have < bits) {
			job->rehashed++;
			if (job->kind->check(job->spec, &job->jobs->judge,
					     list[i], bits,
					     digest) == FINDING_FALSE)
				continue;
		}
		out[(*count)++] = list[i];
	}
	return out;
}

/* What two lists of the same nonces say of their authors. */
struct verdict {
	bool first_lied, second_lied;
	uint32_t first_at, second_at;
	unsigned bits; /* at which they were compared */
};

static struct verdict compare(const struct piece *p, const struct unit *u)
{
	struct verdict v = {.bits = p->bits > u->bits ? p->bits : u->bits};
	size_t n, m;
	const uint32_t *there = check_within(p->shares, p->n, u->span, &n);
	uint32_t *first = finer(u->job, there, n, p->bits, v.bits, &n);
	uint32_t *second =
	    finer(u->job, u->shares, u->nshares, u->bits, v.bits, &m);

	v.first_lied = check_lacks(first, n, second, m, &v.first_at);
	v.second_lied = check_lacks(second, m, first, n, &v.second_at);
	free(first);
	free(second);
	return v;
}

/* Its list stands beside the first one's, and is the same. */
static void agreed(struct piece *p, struct unit *u, unsigned bits, uint64_t now)
{
	struct job *job = u->job;
	struct part *second = u->part;
	const uint64_t nonces = u->span.b - u->span.a;

	/* Once more the same says nothing new of the first. */
	if (!p->part->self && !p->nby)
		audit_passed(p->part, nonces, bits, true, now);
	switch (p->role) {
	case PIECE_LOOK:
	case PIECE_RUN:
		break;
	case PIECE_OWED:
		p->rounds--;
		job->owed_at = now;
		audit_passed(second, nonces, bits, false, now);
		break;
	case PIECE_KNOWN:
		job->checks_passed++;
		second->checks++;
		second->worker->total.checks++;
		trust_event(job->jobs, second->worker, SCORE_PROBE, now);
		audit_passed(second, nonces, bits, false, now);
		break;
	}
	if (p->nby < HN_COUNT(p->by))
		p->by[p->nby++] = second->worker;
}

/* Whether there is more to do with it. */
static bool worth_keeping(const struct piece *p)
{
	switch (p->role) {
	case PIECE_LOOK:
		break;
	case PIECE_RUN:
		return !p->nby && p->tries < RUN_TRIES;
	case PIECE_OWED:
		return p->rounds && p->tries < OWED_TRIES + p->nby;
	case PIECE_KNOWN:
		return p->nby < HN_COUNT(p->by);
	}
	return false;
}

static void keep_or_free(struct piece *p)
{
	if (!worth_keeping(p)) {
		give_up(p);
		return;
	}
	if (p->role != PIECE_KNOWN)
		p->part->job->jobs->returned = true;
	append(p);
	make_room(p->part->job);
}

static void judge(struct piece *p, struct unit *u, uint64_t now)
{
	struct job *job = u->job;
	struct jobs *j = job->jobs;
	struct worker *first = p->part->worker, *second = u->part->worker;
	const struct verdict v = compare(p, u);
	const struct job_proof first_proof =
	    job_proof_of(job, p->lease, JOB_LIE_MISSING, v.first_at);
	const struct job_proof second_proof =
	    job_proof_of(job, u->id, JOB_LIE_MISSING, v.second_at);

	if (p->role == PIECE_KNOWN)
		job->checks++;
	if (!p->part->self)
		job->replicas++;
	if (!v.first_lied && !v.second_lied)
		agreed(p, u, v.bits, now);
	if (v.first_lied)
		piece_free(p); /* its own worker's list is worth nothing */
	else
		keep_or_free(p);
	if (v.first_lied)
		jobs_drop(j, first, &first_proof, now,
			  "did not report nonce %" PRIu32
			  ", which another peer found",
			  v.first_at);
	if (v.second_lied)
		jobs_drop(j, second, &second_proof, now,
			  "did not find nonce %" PRIu32
			  " when asked to check another peer",
			  v.second_at);
}

void replica_ended(struct unit *u, bool done, uint64_t now)
{
	struct job *job = u->job;
	struct piece *p = u->piece;

	job->given -= u->span.b - u->below;
	u->part->worker->total.given -= u->span.b - u->below;
	if (!p)
		return; /* what it stood for was dropped */
	u->piece = NULL;
	job->nreplicating--;
	job->nowed_given -= p->role == PIECE_OWED;
	if (!job_is_open(job))
		piece_free(p);
	else if (done)
		judge(p, u, now);
	else
		keep_or_free(p);
}

bool replica_needs(const struct job *job, const struct worker *w)
{
	const struct piece *p;

	DL_FOREACH (job->runs, p)
		if (may_do(p, w))
			return true;
	DL_FOREACH (job->owed, p)
		if (may_do(p, w))
			return true;
	return false;
}

/* Is one known that could do the oldest? It may be away just now. */
static bool somebody(const struct job *job, uint64_t now)
{
	const struct worker *w;

	for (w = job->pool->by_id; w; w = w->hh.next)
		if (!w->bad && (w->here || !w->self) && may_do(job->owed, w) &&
		    job_suits(job, w, now))
			return true;
	return false;
}

uint64_t replica_wait_ms(const struct job *job, uint64_t now)
{
	const uint64_t from =
	    job->owed_at > job->complete_at ? job->owed_at : job->complete_at;
	uint64_t wait = job->terms->wait_ms;

	if (!job->nowed)
		return 0;
	if (wait > ALONE_MS && !somebody(job, now))
		wait = ALONE_MS;
	return now - from < wait ? wait - (now - from) : 0;
}

bool replica_owing(const struct job *job, uint64_t now)
{
	return job->nowed_given || replica_wait_ms(job, now);
}

static void forget(struct piece *list, struct part *part)
{
	struct piece *p, *next;

	DL_FOREACH_SAFE (list, p, next) {
		if (p->part != part)
			continue;
		take_out(p);
		piece_free(p);
	}
}

void replica_forget(struct part *part)
{
	struct job *job = part->job;
	struct unit *u;

	forget(job->runs, part);
	forget(job->owed, part);
	forget(job->known, part);
	DL_FOREACH (job->units, u) {
		struct piece *p = u->piece;

		if (!p || p->part != part)
			continue;
		u->piece = NULL;
		job->nreplicating--;
		job->nowed_given -= p->role == PIECE_OWED;
		piece_free(p);
	}
}

static void drain(struct piece **list)
{
	while (*list) {
		struct piece *p = *list;

		take_out(p);
		give_up(p);
	}
}

void replica_end(struct job *job)
{
	drain(&job->runs);
	drain(&job->owed);
	drain(&job->known);
}
