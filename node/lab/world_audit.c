/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What must hold of the coordinator's books at every moment. */
#include "node/lab/world_impl.h"
#include "node/mesh/job_impl.h"

#include <utlist.h>

#include <inttypes.h>

static uint64_t meet(const struct spans *a, const struct spans *b)
{
	uint64_t n = 0;

	for (size_t i = 0; i < a->n; i++)
		n += spans_count(b, a->v[i].a, a->v[i].b);
	return n;
}

static void join(struct spans *all, const struct spans *s)
{
	for (size_t i = 0; i < s->n; i++)
		spans_add(all, s->v[i].a, s->v[i].b);
}

static void must(struct world *w, const struct job *job, bool holds,
		 const char *what)
{
	if (!holds)
		world_break(w, "job %s at %" PRIu64 " us: not so: %s", job->id,
			    w->now_us, what);
}

/* What is in hands is what the open units say. */
static void audit_units(struct world *w, struct job *job)
{
	const struct book *b = &job->book;
	struct spans out = {0};
	struct unit *u;

	DL_FOREACH (job->units, u) {
		if (u->replica || u->below == u->span.b)
			continue;
		must(w, job,
		     spans_add(&out, u->below, u->span.b) ==
			 u->span.b - u->below,
		     "no nonce is in two hands");
	}
	must(w, job,
	     out.total == b->out.total && meet(&out, &b->out) == out.total,
	     "what is out is in the hands of an open unit");
	spans_release(&out);
}

static void audit_credit(struct world *w, struct job *job)
{
	const struct book *b = &job->book;
	struct part *part;
	uint64_t credited = 0;

	DL_FOREACH (job->parts, part) {
		must(w, job,
		     part->did.total == part->hashes &&
			 meet(&part->did, &b->done) == part->hashes,
		     "what a peer is credited with is done");
		credited += part->hashes;
	}
	must(w, job, credited == b->done.total,
	     "each done nonce is credited to one peer");
}

static void audit_cover(struct world *w, struct job *job)
{
	const struct book *b = &job->book;
	struct spans all = {0};

	join(&all, &b->pending);
	join(&all, &b->out);
	join(&all, &b->done);
	must(w, job,
	     all.n == 1 && all.v[0].a == b->start && all.v[0].b == b->end,
	     "pending, out and done cover the range");
	must(w, job,
	     !meet(&b->pending, &b->out) && !meet(&b->pending, &b->done),
	     "what is pending is neither out nor done");
	spans_release(&all);
}

void world_audit(struct world *w)
{
	struct job *job;

	DL_FOREACH (w->jobs->open, job) {
		audit_units(w, job);
		audit_credit(w, job);
		audit_cover(w, job);
	}
}
