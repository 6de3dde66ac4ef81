/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * job.explain: every node that is known here, and why it has work of a job or
 * has not. What keeps a node away comes from peers, what the placement depends
 * on from the coordinator, the order of the reasons from explain.c.
 */
#include "node/mesh/mesh_impl.h"

#include "node/base/log.h"
#include "node/mesh/explain.h"
#include "node/mesh/job.h"
#include "node/mesh/peers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_MAX (PEERS_MAX + 1)
#define TEXT_MAX 512

static const struct field explain_row_fields[] = {
    FIELD_FIXED(struct explain_row, id, "node id"),
    FIELD_STR(struct explain_row, name, NODE_NAME_SIZE, "its name for people"),
    FIELD_BOOL(struct explain_row, chosen, "has, had or gets work of the job"),
    FIELD_STR(struct explain_row, code, 32, "the reason, one word"),
    FIELD_STR(struct explain_row, text, TEXT_MAX, "and with its numbers"),
    FIELD_U64(struct explain_row, rate, 0, "H/s; 0: not known"),
    FIELD_BOOL(struct explain_row, measured, "that rate; else its own word"),
    FIELD_U64(struct explain_row, score, 1000, "thousandths"),
    FIELD_U64(struct explain_row, rtt_us, 0, "round trip; 0: not measured"),
    FIELD_U64(struct explain_row, load, 100, "percent that others use of it"),
    FIELD_U64(struct explain_row, price, 0, "credits per 2^32 hashes"),
    FIELD_U64(struct explain_row, held, 0, "units of the job in its hands"),
    FIELD_U64(struct explain_row, units, 0, "units of it that it ended"),
    FIELD_U64(struct explain_row, hashes, 0, "work credited to it"),
};
const struct message explain_row_message =
    MESSAGE("explain_row", struct explain_row, explain_row_fields);

static const struct field explained_fields[] = {
    FIELD_STR(struct explained, job, JOB_ID_SIZE, "job id"),
    FIELD_STR(struct explained, state, 32, "as in job_info"),
    FIELD_STR(struct explained, balance, 32, "how units are shared out"),
    FIELD_LIST(struct explained, peers, ROWS_MAX, &explain_row_message,
	       "those with work first, ourselves before others"),
    FIELD_STR(struct explained, waiting, TEXT_MAX, "as in job_info"),
};
const struct message explained_message =
    MESSAGE("explained", struct explained, explained_fields);

struct explaining {
	struct mesh *m;
	struct arena *a;
	const char *job;
	struct explain_row *rows;
	size_t n;
};

static char *text_of(struct arena *a, const char *s)
{
	return arena_strndup(a, s, strlen(s));
}

/* Of one that offers nothing, too. */
static uint64_t score_of(struct mesh *m, const struct node_id *id,
			 const struct sched_candidate *c)
{
	struct peer_score s;

	if (c->here)
		return (uint64_t)llround(c->score * 1000);
	if (node_id_eq(id, identity_id(m->me)))
		return 1000;
	jobs_score(m->jobs, id, loop_ms(m->loop), &s);
	return score_permille(&s.score);
}

static void one_peer(void *arg, const struct node_id *id, const char *name,
		     uint64_t rtt_us, const struct explain_facts *known)
{
	struct explaining *x = arg;
	struct explain_facts f = *known;
	struct buf text = {0};
	struct job_view v;

	if (x->n == ROWS_MAX ||
	    jobs_view(x->m->jobs, x->job, id, loop_ms(x->m->loop), &v))
		return;
	f.terms = v.terms;
	f.c = v.c;
	f.open = v.open;
	f.pending = v.pending;
	f.others = v.others;
	f.held = v.held;
	f.units = v.units;
	f.dropped = v.dropped;
	const struct explain_word w = explain(&f, &text);

	struct explain_row *r = &x->rows[x->n++];
	*r = (struct explain_row){
	    .name = text_of(x->a, name),
	    .chosen = w.chosen,
	    .code = text_of(x->a, w.code),
	    .text = arena_strndup(x->a, buf_str(&text),
				  text.n < TEXT_MAX ? text.n : TEXT_MAX - 1),
	    .rate = (uint64_t)llround(v.c.rate),
	    .measured = v.c.measured,
	    .score = score_of(x->m, id, &v.c),
	    .rtt_us = rtt_us,
	    .load = v.c.load,
	    .price = v.c.price,
	    .held = v.held,
	    .units = v.units,
	    .hashes = v.hashes,
	};
	memcpy(r->id, id->b, sizeof(r->id));
	buf_release(&text);
}

/* Stable: ourselves first among equals, as they came. */
static void chosen_first(struct explain_row *rows, size_t n, struct arena *a,
			 struct list *out)
{
	struct explain_row *sorted = arena_alloc(a, (n + 1) * sizeof(*sorted));
	size_t k = 0;

	for (int pass = 1; pass >= 0; pass--)
		for (size_t i = 0; i < n; i++)
			if (rows[i].chosen == pass)
				sorted[k++] = rows[i];
	*out = (struct list){sorted, n};
}

static void serve_explain(struct rpc_stream *st, const void *request, void *arg)
{
	const struct job_ref *q = request;
	struct mesh *m = arg;
	struct arena a = {0};
	struct explaining x = {.m = m, .a = &a};
	struct explained reply = {0};
	struct job_info info;
	struct job_view v;

	enum err e = jobs_info(m->jobs, q->job ? q->job : "", JOB_BRIEF,
			       loop_ms(m->loop), &a, &info);
	if (!e)
		e = jobs_view(m->jobs, info.job, identity_id(m->me),
			      loop_ms(m->loop), &v);
	if (e) {
		rpc_fail(st, e, "no job %s here: see `hnode jobs`",
			 log_quote(q->job ? q->job : ""));
		arena_release(&a);
		return;
	}
	x.job = info.job;
	x.rows = arena_alloc(&a, ROWS_MAX * sizeof(*x.rows));
	reply.job = info.job;
	reply.state = info.state;
	reply.waiting = info.waiting;
	reply.balance =
	    text_of(&a, balance_str((enum balance)v.terms->balance));
	peers_facts(m->peers, v.cap, &a, one_peer, &x);
	chosen_first(x.rows, x.n, &a, &reply.peers);
	rpc_reply(st, &reply);
	arena_release(&a);
}

const struct rpc_method service_explain_methods[] = {
    {.name = "job.explain",
     .version = 1,
     .repeatable = true,
     .request = &job_ref_message,
     .reply = &explained_message,
     .max_reply = 2u << 20,
     .serve = serve_explain,
     .doc = "each peer considered for a job, and why or why not"},
    {0},
};
