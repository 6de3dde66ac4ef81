/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What must hold of the coordinator's books at every moment. */
#include "node/lab/world_impl.h"
#include "node/mesh/job_impl.h"

#include <utlist.h>

#include <inttypes.h>

static uint64_t meet(const struct spans *a, const struct spans *b)
{
	struct span v;
	uint64_t n = 0;

	for (uint64_t at = 0; spans_next(a, at, &v); at = v.b)
		n += spans_count(b, v.a, v.b);
	return n;
}

static void join(struct spans *all, const struct spans *s)
{
	struct span v;

	for (uint64_t at = 0; spans_next(s, at, &v); at = v.b)
		spans_add(all, v.a, v.b);
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
	struct span v = {0, 0};

	join(&all, &b->pending);
	join(&all, &b->out);
	join(&all, &b->done);
	must(w, job,
	     all.n == 1 && spans_next(&all, 0, &v) && v.a == b->start &&
		 v.b == b->end,
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
