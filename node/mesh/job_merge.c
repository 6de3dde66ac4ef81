/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Two coordinators worked on one job: the submitter and its backup, each
 * without a word of the other. Their done sets are joined nonce by nonce, so
 * the totals stay right; what was checked of a peer's work over there comes
 * along in proportion to what of it is new here. Its shares do not: a peer is
 * judged by what we saw, so that no other node's numbers can have it dropped.
 */
#include "node/base/mem.h"
#include "node/mesh/job_save.h"
#include "node/mesh/job_saved.h"

#include <utlist.h>

#include <math.h>
#include <string.h>

/* The work of one peer; returns how much of it was done here, too. */
static uint64_t join_part(struct job *job, const struct saved_part *s)
{
	const struct span range = {job->book.start, job->book.end};
	struct node_id id;
	struct spans did = {0};
	uint64_t fresh = 0;

	memcpy(id.b, s->id, sizeof(id.b));
	struct worker *w = pool_add(job->pool, &id);

	/* Found bad by one of the two: its work counts for neither. */
	if (!w || w->bad || s->dropped || !s->hashes)
		return 0;
	w->self = node_id_eq(&id, &job->jobs->self);
	struct part *part = job_part(job, w);

	borders_add(&s->did, range, &did, NULL);
	struct span v;

	for (uint64_t at = 0; spans_next(&did, at, &v); at = v.b)
		fresh += book_done(&job->book, v.a, v.b, false, &part->did);
	const uint64_t both = did.total - fresh;
	const double new = (double)fresh / (double)s->hashes;

	spans_release(&did);
	part->hashes += fresh;
	part->rescanned += (uint64_t)((double)s->rescanned * new);
	part->pieces += (uint64_t)((double)s->pieces * new);
	part->weight += s->weight * new;
	part->checks += (uint64_t)((double)s->checks * new);
	part->units += (uint64_t)llround((double)s->units * new);
	part->busy_ms += (uint64_t)((double)s->busy_ms * new);
	return both;
}

static void join_hits(struct job *job, const struct job_saved *s)
{
	const struct saved_part *parts = s->parts.items;

	for (size_t i = 0; i < s->hits.n; i++) {
		const size_t at =
		    (size_t)(s->by.p[2 * i] << 8 | s->by.p[2 * i + 1]);
		struct node_id by = job->jobs->self;
		uint8_t digest[32];

		if (at < s->parts.n)
			memcpy(by.b, parts[at].id, sizeof(by.b));
		job->kind->check(job->spec, &job->jobs->judge, s->hits.items[i],
				 0, digest);
		job_hit(job, s->hits.items[i], digest, &by);
	}
}

static bool same_spec(const struct job *job, const struct job_saved *s)
{
	struct buf spec = {0};

	fields_pack(job->kind->spec, job->spec, &spec);
	const bool same =
	    spec.n == s->spec.n && !memcmp(spec.p, s->spec.p, spec.n);
	buf_release(&spec);
	return same && !strcmp(job->kind->name, s->kind);
}

static uint64_t join(struct job *job, const struct job_saved *s, uint64_t had,
		     uint64_t now)
{
	const struct saved_part *parts = s->parts.items;
	const uint64_t done = job->book.done.total;
	struct joined *last = &job->joined;
	uint64_t both = 0;

	/* A repeat, as when the reply was lost: what came the first time is
	 * known here, but was not done twice. */
	if (last->had != had)
		*last = (struct joined){.had = had};
	for (size_t i = 0; i < s->parts.n; i++)
		both += join_part(job, &parts[i]);
	const uint64_t known = had + last->fresh;
	const uint64_t twice = both > known ? both - known : 0;

	job->twice += twice > last->twice ? twice - last->twice : 0;
	last->twice = twice;
	last->fresh += job->book.done.total - done;
	join_hits(job, s);
	/* Its life is the longer one: what was done over there took time. */
	if (now - job->submitted_at < s->ms)
		job->submitted_at = now - s->ms;
	job->served_at = now;
	job_changed(job);
	job_step(job, now);
	return twice;
}

enum err jobs_merge(struct jobs *j, const void *p, size_t n, uint64_t had,
		    uint64_t now, struct buf *why, uint64_t *twice)
{
	const struct kind *kind;
	struct arena a = {0};
	struct job_saved s;
	void *spec;

	*twice = 0;
	enum err e = saved_read(j, p, n, &a, &s, &kind, &spec, why);
	struct job *job = e ? NULL : jobs_find(j, s.job);
	if (!e && !job) {
		buf_printf(why, "there is no job %s here", s.job);
		e = ERR_NOTFOUND;
	} else if (!e && !job_is_open(job)) {
		buf_printf(why, "job %s has ended here", s.job);
		e = ERR_EXISTS;
	} else if (!e && !same_spec(job, &s)) {
		buf_printf(why, "job %s here is another one", s.job);
		e = ERR_PROTO;
	}
	if (!e)
		*twice = join(job, &s, had, now);
	arena_release(&a);
	return e;
}

bool jobs_backup(const struct jobs *j, const char *id, struct node_id *out)
{
	const struct job *job = jobs_find(j, id);

	if (!job || job->terms->backup.n != sizeof(out->b))
		return false;
	memcpy(out->b, job->terms->backup.p, sizeof(out->b));
	return true;
}

uint64_t jobs_done(const struct jobs *j, const char *id)
{
	const struct job *job = jobs_find(j, id);

	return job ? job->book.done.total : 0;
}
