/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Of an open job each worker's done set is saved, and nothing that follows
 * from them: the job's done set is their union, pending is the rest. So a
 * nonce can only be counted twice if two sets meet, which is refused.
 *
 * A set of spans is saved as its borders in ascending order; a border at 2^32
 * is left away, so that an odd number of them means "to the end".
 */
#include "node/mesh/job_save.h"
#include "node/mesh/job_impl.h"

#include "node/base/mem.h"
#include "node/mesh/job_saved.h"

#include <utlist.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BORDERS_MAX (1u << 16) /* of all workers together */
#define WHY_MAX 256
#define TEXT_MAX 512
#define WORD_MAX 32
#define SPEC_MAX 4096
#define BY_SELF 0xffffu
#define BACK_MS \
	30000 /* after a restart, the workers need time to come back \
	       */
#define MS_MAX (UINT64_C(1) << 53)
#define COUNT_MAX MS_MAX /* a double has each of them */

static const struct field saved_part_fields[] = {
    FIELD_FIXED(struct saved_part, id, "node id"),
    FIELD_U32S(struct saved_part, did, BORDERS_MAX,
	       "borders of what it did; of an open job"),
    FIELD_U64(struct saved_part, hashes, NONCES, "nonces credited to it"),
    FIELD_F64(struct saved_part, expected, "shares expected of it"),
    FIELD_F64(struct saved_part, next, "expectation of the next test"),
    FIELD_U64(struct saved_part, shares, COUNT_MAX, "shares it reported"),
    FIELD_U64(struct saved_part, units, COUNT_MAX, "units it has ended"),
    FIELD_U64(struct saved_part, late, COUNT_MAX, "units that came late"),
    FIELD_U64(struct saved_part, rescanned, COUNT_MAX, "nonces scanned again"),
    FIELD_U64(struct saved_part, pieces, COUNT_MAX, "in so many pieces"),
    FIELD_U64(struct saved_part, busy_ms, MS_MAX, "how long it worked"),
    FIELD_BOOL(struct saved_part, self, "it is the submitter"),
    FIELD_BOOL(struct saved_part, dropped, "it was dropped"),
    FIELD_BOOL(struct saved_part, lost, "it was lost"),
    FIELD_STR(struct saved_part, why, WHY_MAX, "of lost and dropped ones"),
    FIELD_F64(struct saved_part, weight, "what the pieces can show"),
    FIELD_U64(struct saved_part, checks, COUNT_MAX, "of them, check units"),
    FIELD_F64(struct saved_part, all_expected, "shares of all its jobs"),
    FIELD_U64(struct saved_part, all_hashes, 0, "nonces there"),
    FIELD_U64(struct saved_part, all_shares, 0, "shares reported there"),
    FIELD_U64(struct saved_part, all_rescanned, 0, "nonces compared there"),
    FIELD_U64(struct saved_part, all_pieces, 0, "pieces there"),
    FIELD_U64(struct saved_part, all_checks, 0, "check units there"),
    FIELD_U64(struct saved_part, all_failures, 0, "lies there"),
};
static const struct message saved_part_message =
    MESSAGE("job_saved_part", struct saved_part, saved_part_fields);

static const struct field saved_unit_fields[] = {
    FIELD_U64(struct saved_unit, lease, 0, "lease id"),
    FIELD_U64(struct saved_unit, start, NONCES, "first nonce"),
    FIELD_U64(struct saved_unit, end, NONCES, "nonce behind the last"),
    FIELD_U64(struct saved_unit, below, NONCES, "all below it is done"),
    FIELD_U64(struct saved_unit, part, WORKER_MAX, "whose, by position"),
    FIELD_BOOL(struct saved_unit, done, "all of it; else taken back"),
};
static const struct message saved_unit_message =
    MESSAGE("job_saved_unit", struct saved_unit, saved_unit_fields);

static const struct field job_saved_fields[] = {
    FIELD_STR(struct job_saved, job, JOB_ID_SIZE - 1, "job id"),
    FIELD_STR(struct job_saved, kind, WORD_MAX, "kind of job"),
    FIELD_BYTES(struct job_saved, spec, SPEC_MAX, "what was asked, packed"),
    FIELD_U64(struct job_saved, state, JOB_CANCELED, "enum job_state"),
    FIELD_STR(struct job_saved, error, WORD_MAX, "of a failed one: its code"),
    FIELD_STR(struct job_saved, text, TEXT_MAX, "and a sentence"),
    FIELD_U64(struct job_saved, ms, MS_MAX, "its time so far"),
    FIELD_U64(struct job_saved, hashes, NONCES, "nonces done, once each"),
    FIELD_U32S(struct job_saved, hits, JOB_MAX_HITS, "nonces that hit"),
    FIELD_BYTES(struct job_saved, by, 2 * JOB_MAX_HITS,
		"whose, by position; 65535 is the submitter"),
    FIELD_LIST(struct job_saved, parts, WORKER_MAX, &saved_part_message,
	       "who did what"),
    FIELD_LIST(struct job_saved, units, UNITS_KEPT, &saved_unit_message,
	       "the last ones"),
    FIELD_U64(struct job_saved, done_units, 0, "units done"),
    FIELD_U64(struct job_saved, failed_units, 0, "units taken back"),
    FIELD_U64(struct job_saved, cut_units, 0, "units given out"),
    FIELD_U64(struct job_saved, cut_nonces, 0, "nonces in them"),
    FIELD_U64(struct job_saved, late, 0, "hashes done twice"),
    FIELD_U64(struct job_saved, rehashed, 0, "shares hashed again"),
    FIELD_U64(struct job_saved, twice, 0,
	      "nonces that its submitter and its backup both had done"),
    FIELD_U64(struct job_saved, scanned, 0, "nonces scanned to check"),
    FIELD_U64(struct job_saved, given, 0, "nonces done twice to check"),
    FIELD_U64(struct job_saved, tested, 0, "of them, in check units"),
    FIELD_U64(struct job_saved, unreplicated, 0, "no second peer for them"),
    FIELD_U64(struct job_saved, checks, 0, "check units that ended"),
    FIELD_U64(struct job_saved, checks_passed, 0, "of them, passed"),
    FIELD_U64(struct job_saved, replicas, 0, "replicas compared"),
};
const struct message job_saved_message =
    MESSAGE("job_saved", struct job_saved, job_saved_fields);

/* Saving */

static char *text(struct arena *a, const char *s)
{
	return s ? arena_strndup(a, s, strlen(s)) : NULL;
}

/* The borders of at most so many; how many nonces lie between. */
static uint64_t borders_of(const struct spans *s, size_t max, struct arena *a,
			   struct u32s *out)
{
	const size_t n = s->n < max / 2 ? s->n : max / 2;
	uint64_t total = 0;

	out->items = arena_alloc(a, 2 * n * sizeof(*out->items) + 1);
	out->n = 0;
	struct span v = {0, 0};
	for (size_t i = 0; i < n && spans_next(s, v.b, &v); i++) {
		out->items[out->n++] = (uint32_t)v.a;
		if (v.b < NONCES)
			out->items[out->n++] = (uint32_t)v.b;
		total += v.b - v.a;
	}
	return total;
}

static void save_part(const struct part *part, size_t *room, uint64_t now,
		      struct arena *a, struct saved_part *out)
{
	memcpy(out->id, part->id.b, sizeof(out->id));
	out->hashes = part->hashes;
	if (job_is_open(part->job) || part->did.n) {
		out->hashes = borders_of(&part->did, *room, a, &out->did);
		*room -= out->did.n;
	}
	out->expected = part->evidence.expected;
	out->next = part->evidence.next;
	out->shares = part->evidence.reported;
	out->units = part->units;
	out->late = part->late;
	out->rescanned = part->rescanned;
	out->pieces = part->pieces;
	out->weight = part->weight;
	out->checks = part->checks;
	out->all_expected = part->ever.e.expected;
	out->all_hashes = part->ever.hashes;
	out->all_shares = part->ever.e.reported;
	out->all_rescanned = part->ever.rescanned;
	out->all_pieces = part->ever.pieces;
	out->all_checks = part->ever.checks;
	out->all_failures = part->ever.failures;
	out->busy_ms =
	    part->busy_ms + (part->open ? now - part->busy_since : 0);
	out->self = part->self;
	out->dropped = part->dropped;
	out->lost = part->lost;
	out->why = text(a, part->why);
}

static void save_units(const struct job *job, size_t nparts, struct arena *a,
		       struct list *out)
{
	const size_t all = job->nclosed + job->nunits;
	size_t skip = all > UNITS_KEPT ? all - UNITS_KEPT : 0, n = 0;
	const struct unit *const lists[] = {job->closed, job->units};
	struct saved_unit *items = arena_alloc(a, UNITS_KEPT * sizeof(*items));

	for (size_t i = 0; i < HN_COUNT(lists); i++) {
		const struct unit *u;

		DL_FOREACH (lists[i], u) {
			const size_t at = u->part->place;

			if (skip) {
				skip--;
				continue;
			}
			if (u->replica || at >= nparts)
				continue;
			items[n++] = (struct saved_unit){
			    .lease = u->id,
			    .start = u->span.a,
			    .end = u->span.b,
			    .below = u->below,
			    .part = at,
			    .done = u->open ? u->below == u->span.b
					    : u->state == UNIT_DONE,
			};
		}
	}
	*out = (struct list){items, n};
}

static void save_hits(const struct job *job, size_t nparts, struct arena *a,
		      struct job_saved *out)
{
	const struct hits *h = &job->hits;
	uint8_t *by = arena_alloc(a, 2 * h->n + 1);

	out->hits.items = arena_alloc(a, h->n * sizeof(uint32_t) + 1);
	out->hits.n = h->n;
	for (size_t i = 0; i < h->n; i++) {
		const struct hit *hit = hits_at(h, i);
		const struct part *part = part_find(job, &hit->by);
		const size_t at =
		    part && part->place < nparts ? part->place : BY_SELF;

		out->hits.items[i] = hit->nonce;
		by[2 * i] = (uint8_t)(at >> 8);
		by[2 * i + 1] = (uint8_t)at;
	}
	out->by = (struct bytes){by, 2 * h->n};
}

/* What is in somebody's hands now will have been taken back. */
static void count_open(const struct job *job, struct job_saved *out)
{
	const struct unit *u;

	DL_FOREACH (job->units, u) {
		out->done_units += !u->replica && u->below == u->span.b;
		out->failed_units += !u->replica && u->below < u->span.b;
	}
}

static void save_parts(const struct job *job, uint64_t now, struct arena *a,
		       struct job_saved *out)
{
	size_t n = 0, room = BORDERS_MAX, i = 0;
	struct part *part;

	DL_COUNT(job->parts, part, n);
	if (n > WORKER_MAX)
		n = WORKER_MAX;
	struct saved_part *items = arena_alloc(a, (n + 1) * sizeof(*items));

	DL_FOREACH (job->parts, part) {
		part->place = i;
		if (i == n)
			continue;
		save_part(part, &room, now, a, &items[i]);
		out->hashes += items[i++].hashes;
	}
	out->parts = (struct list){items, n};
	save_units(job, n, a, &out->units);
	save_hits(job, n, a, out);
}

enum err jobs_save(const struct jobs *j, const char *id, uint64_t now,
		   struct buf *out)
{
	const struct job *job = jobs_find(j, id);
	struct arena a = {0};
	struct buf spec = {0};

	if (!job)
		return ERR_NOTFOUND;
	const bool open = job_is_open(job);

	fields_pack(job->kind->spec, job->spec, &spec);
	struct job_saved s = {
	    .job = text(&a, job->id),
	    .kind = text(&a, job->kind->name),
	    .spec = {spec.p, spec.n},
	    .state = job->state,
	    .error = job->error ? text(&a, err_name(job->error)) : NULL,
	    .text = text(&a, job->text),
	    .ms = (open ? now : job->ended_at) - job->submitted_at,
	    .done_units = job->done_units,
	    .failed_units = job->failed_units,
	    .cut_units = job->cut_units,
	    .cut_nonces = job->cut_nonces,
	    .late = job->late,
	    .rehashed = job->rehashed,
	    .twice = job->twice,
	    .scanned = job->scanned,
	    .given = job->given,
	    .tested = job->tested,
	    /* What is owed is in memory only. */
	    .unreplicated = job->unreplicated + job->owed_nonces,
	    .checks = job->checks,
	    .checks_passed = job->checks_passed,
	    .replicas = job->replicas,
	};

	count_open(job, &s);
	save_parts(job, now, &a, &s);
	fields_pack(&job_saved_message, &s, out);
	buf_release(&spec);
	arena_release(&a);
	return OK;
}

/* Restoring: first all is looked at, then the job is made. */

bool borders_add(const struct u32s *borders, struct span range, struct spans *s,
		 struct spans *too)
{
	for (size_t i = 0; i < borders->n; i += 2) {
		const uint64_t a = borders->items[i];
		const uint64_t b =
		    i + 1 < borders->n ? borders->items[i + 1] : NONCES;

		if (a < range.a || b > range.b || spans_add(s, a, b) != b - a)
			return false;
		if (too)
			spans_add(too, a, b);
	}
	return true;
}

static bool is_amount(double x)
{
	return isfinite(x) && x >= 0 && x <= (double)COUNT_MAX;
}

static int by_id(const void *a, const void *b)
{
	const struct saved_part *const *x = a, *const *y = b;

	return memcmp((*x)->id, (*y)->id, NODE_ID_SIZE);
}

static bool ids_differ(const struct saved_part *p, size_t n)
{
	const struct saved_part **sorted = xcalloc(n + 1, sizeof(*sorted));
	bool differ = true;

	for (size_t i = 0; i < n; i++)
		sorted[i] = &p[i];
	qsort(sorted, n, sizeof(*sorted), by_id);
	for (size_t i = 1; i < n && differ; i++)
		differ = by_id(&sorted[i - 1], &sorted[i]) != 0;
	free(sorted);
	return differ;
}

static enum err parts_check(const struct job_saved *s, struct span range,
			    struct buf *why)
{
	const struct saved_part *p = s->parts.items;
	const bool open = s->state <= JOB_RUNNING;
	struct spans done = {0};
	uint64_t sum = 0;
	bool good = true;

	for (size_t i = 0; i < s->parts.n && good; i++) {
		const uint64_t before = done.total;

		good = is_amount(p[i].expected) && is_amount(p[i].next) &&
		       is_amount(p[i].weight) && is_amount(p[i].all_expected) &&
		       borders_add(&p[i].did, range, &done, NULL) &&
		       ((!open && !p[i].did.n) ||
			done.total - before == p[i].hashes) &&
		       (!p[i].dropped || !p[i].hashes);
		sum += p[i].hashes;
	}
	spans_release(&done);
	if (good && ids_differ(p, s->parts.n) && sum == s->hashes &&
	    sum <= range.b - range.a)
		return OK;
	buf_add_str(why, "what its peers did does not add up");
	return ERR_PROTO;
}

static enum err units_check(const struct job_saved *s, struct span range,
			    struct buf *why)
{
	const struct saved_unit *u = s->units.items;

	for (size_t i = 0; i < s->units.n; i++) {
		if (u[i].start >= range.a && u[i].start < u[i].end &&
		    u[i].end <= range.b && u[i].below >= u[i].start &&
		    u[i].below <= u[i].end && u[i].part < s->parts.n &&
		    (!u[i].done || u[i].below == u[i].end))
			continue;
		buf_add_str(why, "one of its units is impossible");
		return ERR_PROTO;
	}
	if (s->cut_nonces < s->cut_units) {
		buf_add_str(why, "its units would be empty");
		return ERR_PROTO;
	}
	return OK;
}

static enum err hits_check(const struct jobs *j, const struct job_saved *s,
			   const struct kind *kind, const void *spec,
			   struct span range, struct buf *why)
{
	uint8_t digest[32];

	if (s->hits.n && !kind->shares) {
		buf_add_str(why, "a job of its kind has no hits");
		return ERR_PROTO;
	}
	for (size_t i = 0; i < s->hits.n; i++) {
		const uint32_t nonce = s->hits.items[i];
		const size_t at =
		    s->by.n == 2 * s->hits.n
			? (size_t)(s->by.p[2 * i] << 8 | s->by.p[2 * i + 1])
			: BY_SELF - 1;

		if (nonce >= range.a && nonce < range.b &&
		    (at < s->parts.n || at == BY_SELF) &&
		    kind->check(spec, &j->judge, nonce, 0, digest) ==
			FINDING_HIT)
			continue;
		buf_printf(why, "nonce %" PRIu32 " is no hit", nonce);
		return ERR_PROTO;
	}
	return OK;
}

bool job_id_ok(const char *id)
{
	return id && strlen(id) == 8 && strspn(id, "0123456789abcdef") == 8;
}

/* A saved job of this kind that is whole. */
static enum err saved_check(const struct jobs *j, const struct job_saved *s,
			    const struct kind *kind, const void *spec,
			    struct buf *why)
{
	const struct span range = kind->range(spec);

	enum err e = parts_check(s, range, why);
	if (!e)
		e = units_check(s, range, why);
	if (!e)
		e = hits_check(j, s, kind, spec, range, why);
	if (e)
		return e;
	if ((s->state == JOB_FAILED || s->state == JOB_CANCELED) !=
	    (s->error != NULL)) {
		buf_add_str(why, "its state and its error do not agree");
		return ERR_PROTO;
	}
	return OK;
}

static enum err room_check(const struct jobs *j, const struct job_saved *s,
			   struct buf *why)
{
	if (jobs_find(j, s->job)) {
		buf_printf(why, "there is a job %s already", s->job);
		return ERR_EXISTS;
	}
	if (s->state <= JOB_RUNNING && j->nopen >= JOB_MAX_OPEN) {
		buf_printf(why, "%d jobs are open already", JOB_MAX_OPEN);
		return ERR_BUSY;
	}
	return OK;
}

/* An open job needs its workers; without room for one, what it did is done
 * again. */
static struct part *restore_part(struct job *job, const struct saved_part *s)
{
	const bool open = job_is_open(job);
	struct part *part = HN_NEW(struct part);

	part->job = job;
	memcpy(part->id.b, s->id, NODE_ID_SIZE);
	if (open) {
		struct worker *w = pool_add(job->pool, &part->id);

		if (!w) {
			free(part);
			return NULL;
		}
		w->refs++;
		w->self = node_id_eq(&part->id, &job->jobs->self);
		part->worker = w;
	}
	borders_add(&s->did, (struct span){job->book.start, job->book.end},
		    &part->did, open ? &job->book.done : NULL);
	part->hashes = s->hashes;
	part->evidence = (struct evidence){
	    .expected = s->expected, .reported = s->shares, .next = s->next};
	part->units = s->units;
	part->late = s->late;
	part->rescanned = s->rescanned;
	part->pieces = s->pieces;
	part->weight = s->weight;
	part->checks = s->checks;
	part->ever = (struct evidence_total){
	    .e = {.expected = s->all_expected, .reported = s->all_shares},
	    .hashes = s->all_hashes,
	    .rescanned = s->all_rescanned,
	    .pieces = s->all_pieces,
	    .checks = s->all_checks,
	    .failures = s->all_failures,
	};
	part->busy_ms = s->busy_ms;
	part->self = node_id_eq(&part->id, &job->jobs->self);
	part->dropped = s->dropped;
	part->lost = s->lost;
	part->why = s->why ? xstrdup(s->why) : NULL;
	part_add(job, part);
	return part;
}

/* Under no lease any more: a late word about one cannot come, or comes from a
 * stream that ended with the process, and its shares were lost in between. */
static void restore_units(struct job *job, const struct job_saved *s,
			  struct part *const *parts)
{
	const struct saved_unit *list = s->units.items;

	for (size_t i = 0; i < s->units.n; i++) {
		const struct saved_unit *su = &list[i];

		if (!parts[su->part])
			continue;
		struct unit *u = HN_NEW(struct unit);

		u->id = su->lease;
		u->job = job;
		u->part = parts[su->part];
		u->span = (struct span){su->start, su->end};
		u->below = u->audited = su->below;
		u->state = su->done ? UNIT_DONE : UNIT_BACK;
		DL_APPEND(job->closed, u);
		job->nclosed++;
	}
}

static void restore_hits(struct job *job, const struct job_saved *s)
{
	const struct saved_part *parts = s->parts.items;
	struct hits *h = &job->hits;

	for (size_t i = 0; i < s->hits.n; i++) {
		const size_t at =
		    (size_t)(s->by.p[2 * i] << 8 | s->by.p[2 * i + 1]);
		struct hit hit = {.nonce = s->hits.items[i],
				  .by = job->jobs->self};

		job->kind->check(job->spec, &job->jobs->judge, hit.nonce, 0,
				 hit.digest);
		if (at != BY_SELF)
			memcpy(hit.by.b, parts[at].id, NODE_ID_SIZE);
		hits_add(h, &hit);
	}
}

static void restore_accounts(struct job *job, const struct job_saved *s)
{
	const struct span range = job->kind->range(job->spec);
	const struct saved_part *parts = s->parts.items;
	struct part **made = xcalloc(s->parts.n + 1, sizeof(*made));

	book_init(&job->book, range.a, range.b);
	for (size_t i = 0; i < s->parts.n; i++)
		made[i] = restore_part(job, &parts[i]);
	if (job_is_open(job))
		spans_minus(&job->book.pending, &job->book.done);
	else /* of an ended one only the sum is asked for */
		job->book.done.total = s->hashes;
	restore_units(job, s, made);
	restore_hits(job, s);
	free(made);
}

static void restore_counts(struct job *job, const struct job_saved *s)
{
	job->done_units = s->done_units;
	job->failed_units = s->failed_units;
	job->cut_units = s->cut_units;
	job->cut_nonces = s->cut_nonces;
	job->late = s->late;
	job->rehashed = s->rehashed;
	job->twice = s->twice;
	job->scanned = s->scanned;
	job->given = s->given;
	job->tested = s->tested;
	job->unreplicated = s->unreplicated;
	job->checks = s->checks;
	job->checks_passed = s->checks_passed;
	job->replicas = s->replicas;
}

/* All is well with s. */
static void restore(struct jobs *j, const struct job_saved *s,
		    const struct kind *kind, const void *spec, uint64_t now)
{
	struct job *job = job_new(j, kind, spec);

	snprintf(job->id, sizeof(job->id), "%s", s->job);
	job->state = (enum job_state)s->state;
	job->error = s->error ? err_from_name(s->error) : OK;
	job->submitted_at = now - s->ms;
	job->served_at = job->rate_at = job->ended_at = now;
	if (job->patience_ms < BACK_MS)
		job->patience_ms = BACK_MS;
	restore_counts(job, s);
	restore_accounts(job, s);
	job->rate_hashes = job->book.done.total;
	job->enough = kind->shares && !job->all && job->hits.n;
	if (job_is_open(job)) {
		DL_APPEND(j->open, job);
		j->nopen++;
		j->returned = true;
		audit_start(job, now);
	} else {
		job->text = xstrdup(s->text ? s->text : "");
		DL_APPEND(j->ended, job);
		if (++j->nended > JOB_MAX_KEPT)
			jobs_forget(j, j->ended->id);
	}
}

enum err saved_read(const struct jobs *j, const void *p, size_t n,
		    struct arena *a, struct job_saved *s,
		    const struct kind **kind, void **spec, struct buf *why)
{
	enum err e = fields_unpack(&job_saved_message, p, n, a, s);

	*kind = e ? NULL : kind_find(s->kind);
	if (!e && (!*kind || !job_id_ok(s->job)))
		e = ERR_PROTO;
	*spec = e ? NULL : arena_alloc(a, (*kind)->spec_size);
	if (!e)
		e = fields_unpack((*kind)->spec, s->spec.p, s->spec.n, a,
				  *spec);
	if (e)
		buf_add_str(why, "it is no job that this program knows");
	else if ((*kind)->spec_check(*spec, why))
		e = ERR_PROTO;
	else
		e = saved_check(j, s, *kind, *spec, why);
	return e;
}

enum err jobs_restore(struct jobs *j, const void *p, size_t n, uint64_t now,
		      struct buf *why, char id[static JOB_ID_SIZE])
{
	const struct kind *kind;
	struct arena a = {0};
	struct job_saved s;
	void *spec;

	enum err e = saved_read(j, p, n, &a, &s, &kind, &spec, why);
	if (!e)
		e = room_check(j, &s, why);
	if (!e) {
		restore(j, &s, kind, spec, now);
		memcpy(id, s.job, strlen(s.job) + 1);
	}
	arena_release(&a);
	return e;
}

/* What another node says of a peer's shares is no evidence here: its numbers
 * could have an honest one dropped. */
static void forget_evidence(struct job_saved *s)
{
	struct saved_part *p = s->parts.items;

	for (size_t i = 0; i < s->parts.n; i++) {
		p[i].expected = p[i].next = p[i].all_expected = 0;
		p[i].shares = p[i].all_shares = p[i].all_hashes = 0;
		p[i].all_rescanned = p[i].all_pieces = 0;
		p[i].all_checks = p[i].all_failures = 0;
	}
}

enum err jobs_adopt(struct jobs *j, const char *id, const void *p, size_t n,
		    uint64_t now, struct buf *why)
{
	const struct kind *kind;
	struct arena a = {0};
	struct job_saved s;
	void *spec;

	enum err e = saved_read(j, p, n, &a, &s, &kind, &spec, why);
	const struct job_terms *terms = e ? NULL : kind->terms(spec);
	if (!e && strcmp(s.job, id)) {
		buf_printf(why, "these are the bytes of job %s", s.job);
		e = ERR_PROTO;
	} else if (!e && (terms->backup.n != NODE_ID_SIZE ||
			  memcmp(terms->backup.p, j->self.b, NODE_ID_SIZE))) {
		buf_add_str(why, "it names another backup");
		e = ERR_PROTO;
	}
	if (!e)
		e = room_check(j, &s, why);
	if (!e) {
		forget_evidence(&s);
		restore(j, &s, kind, spec, now);
	}
	arena_release(&a);
	return e;
}

bool jobs_glance(const struct jobs *j, const char *id, size_t *hits, bool *open)
{
	const struct job *job = jobs_find(j, id);

	if (!job)
		return false;
	*hits = job->hits.n;
	*open = job_is_open(job);
	return true;
}

struct job_marks jobs_marks(const struct jobs *j)
{
	return (struct job_marks){j->next_id, j->next_job, j->job_key};
}

void jobs_set_marks(struct jobs *j, const struct job_marks *m)
{
	j->next_id = m->lease;
	j->next_job = m->job;
	j->job_key = m->key;
}
