/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * receipt.put and receipt.since, both halves of each: the surroundings of the
 * ledger. And the door through which work for others comes in: what a peer
 * owes us is bounded by credit.limit, and a lease is served once.
 */
#include "node/mesh/mesh_impl.h"

#include "node/base/cert.h"
#include "node/base/log.h"
#include "node/mesh/ledger.h"
#include "node/mesh/membership.h"
#include "node/mesh/replay.h"

#include <stdlib.h>
#include <string.h>

#define CALL_MS 15000
#define PUT_REQUEST_MAX ((LEDGER_PUT_MAX + 1) * RECEIPT_MAX)

struct service_receipt {
	struct mesh *m;
	struct loop_timer *tick;
};

/* Whose node that is, as its certificate says, which was checked when the
 * session came up. */
static void owner_of_cert(struct bytes cert, const struct node_id *id,
			  struct node_id *out)
{
	struct arena a = {0};
	struct cert c;

	*out = *id;
	if (cert.n && cert.n <= CERT_MAX &&
	    !fields_unpack(&cert_message, cert.p, cert.n, &a, &c))
		memcpy(out, c.owner, sizeof(*out));
	arena_release(&a);
}

void service_receipt_owner(const struct session *s, struct node_id *out)
{
	owner_of_cert(session_hello(s)->cert, session_peer(s), out);
}

static void know_ourselves(struct mesh *m)
{
	const struct bytes cert = {m->membership->cert.p,
				   m->membership->cert.n};
	struct node_id owner;

	owner_of_cert(cert, identity_id(m->me), &owner);
	ledger_set_owner(m->ledger, owner.b, m->membership->mesh_id);
}

bool service_receipt_ours(const struct mesh *m, const struct session *s)
{
	const struct bytes cert = {m->membership->cert.p,
				   m->membership->cert.n};
	struct node_id ours, theirs;

	owner_of_cert(cert, identity_id(m->me), &ours);
	service_receipt_owner(s, &theirs);
	return node_id_eq(&ours, &theirs);
}

/* The call half */

struct call { /* of ours */
	struct mesh *m;
	struct node_id to;
	bool put;
	enum err e;
};

static void tell(struct call *c, enum err e, const void *reply)
{
	struct ledger *l = c->m->ledger;

	if (c->put)
		ledger_put_done(l, &c->to, e, reply);
	else
		ledger_since_done(l, &c->to, e, reply);
	free(c);
}

static void on_end(void *arg, struct rpc_stream *st, enum err e,
		   const void *reply, const char *text)
{
	struct call *c = arg;

	(void)st;
	if (e && e != ERR_GONE)
		log_debug("credit", "%s took no receipts: %s (%s)",
			  node_str(&c->to), err_name(e),
			  log_quote(text ? text : ""));
	tell(c, e, reply);
}

static void on_not_called(void *arg)
{
	struct call *c = arg;

	tell(c, c->e, NULL);
}

static void call_peer(struct mesh *m, const struct node_id *to,
		      const char *method, bool put, const void *request)
{
	static const struct rpc_ops ops = {.end = on_end};
	struct call *c = HN_NEW(struct call);

	c->m = m;
	c->to = *to;
	c->put = put;
	struct session *s = m->rpc ? hub_find(rpc_hub(m->rpc), to) : NULL;
	c->e = s ? rpc_call(m->rpc, s, method, request, CALL_MS, &ops, c, NULL)
		 : ERR_GONE;
	if (c->e)
		loop_post(m->loop, on_not_called, c);
}

static void op_put(void *arg, const struct node_id *to,
		   const struct receipt_put *q)
{
	call_peer(arg, to, "receipt.put", true, q);
}

static void op_since(void *arg, const struct node_id *to,
		     const struct receipt_since *q)
{
	call_peer(arg, to, "receipt.since", false, q);
}

/* The serve half */

struct served_call {
	struct rpc_stream *st; /* NULL: the caller has left */
};

static void on_caller_left(void *arg, struct rpc_stream *st, enum err e,
			   const void *reply, const char *text)
{
	struct served_call *c = arg;

	(void)st, (void)e, (void)reply, (void)text;
	c->st = NULL;
}

static struct served_call *served_call(struct rpc_stream *st)
{
	static const struct rpc_ops ops = {.end = on_caller_left};
	struct served_call *c = HN_NEW(struct served_call);

	c->st = st;
	rpc_serve(st, &ops, c);
	return c;
}

static void op_reply(void *arg, void *call, enum err e, const struct message *m,
		     const void *reply, const char *text)
{
	struct served_call *c = call;

	(void)arg, (void)m;
	if (c->st && e)
		rpc_fail(c->st, e, "%s", text);
	else if (c->st)
		rpc_reply(c->st, reply);
	free(c);
}

static bool from_peer(struct rpc_stream *st)
{
	const struct session *s = rpc_stream_session(st);

	if (s && session_kind(s) != SESSION_CONTROL)
		return true;
	rpc_fail(st, ERR_DENIED,
		 "receipts are between nodes: see `hnode "
		 "credits` and `hnode receipt`");
	return false;
}

static void serve_put(struct rpc_stream *st, const void *request, void *arg)
{
	struct mesh *m = arg;
	struct node_id owner;

	if (!from_peer(st))
		return;
	const struct session *s = rpc_stream_session(st);

	know_ourselves(m);
	service_receipt_owner(s, &owner);
	ledger_on_put(m->ledger, session_peer(s), &owner, request,
		      served_call(st));
}

static void serve_since(struct rpc_stream *st, const void *request, void *arg)
{
	struct mesh *m = arg;
	struct node_id owner;

	if (!from_peer(st))
		return;
	const struct session *s = rpc_stream_session(st);

	know_ourselves(m);
	service_receipt_owner(s, &owner);
	ledger_on_since(m->ledger, session_peer(s), &owner, request,
			served_call(st));
}

/* The rest of what the ledger needs */

static void op_run(void *arg, const char *sql, const struct store_val *vals,
		   size_t n, store_done_fn done, void *done_arg)
{
	struct mesh *m = arg;

	store_run(m->store, sql, vals, n, done, done_arg);
}

static uint64_t op_now(void *arg)
{
	(void)arg;
	return clock_unix_ms();
}

static void op_kick(void *arg)
{
	struct mesh *m = arg;

	if (m->service_receipt)
		loop_timer_set(m->service_receipt->tick, 0);
}

static const struct ledger_ops ops = {
    .run = op_run,
    .now = op_now,
    .kick = op_kick,
    .put = op_put,
    .since = op_since,
    .reply = op_reply,
};

static void on_tick(void *arg)
{
	struct service_receipt *s = arg;
	const uint64_t ms = ledger_tick(s->m->ledger);

	/* What it did may have asked for the next one already. */
	if (!loop_timer_armed(s->tick))
		loop_timer_set(s->tick, ms ? ms : 1);
}

void service_receipt_up(struct mesh *m, struct session *s)
{
	struct node_id owner;

	if (!m->service_receipt || (session_kind(s) != SESSION_PEER &&
				    session_kind(s) != SESSION_OLD_KEY))
		return;
	know_ourselves(m);
	service_receipt_owner(s, &owner);
	ledger_peer_up(m->ledger, session_peer(s), &owner);
}

void service_receipt_down(struct mesh *m, struct session *s)
{
	const struct node_id *id = session_peer(s);

	if (m->service_receipt && session_kind(s) != SESSION_CONTROL &&
	    !hub_find(rpc_hub(m->rpc), id))
		ledger_peer_down(m->ledger, id);
}

/* The door */

bool service_receipt_admit(struct mesh *m, struct rpc_stream *st,
			   const char *job, uint64_t lease)
{
	const struct session *s = rpc_stream_session(st);
	const uint64_t limit = m->o.credit_limit * CREDIT_PARTS;
	struct node_id owner;

	if (session_kind(s) == SESSION_CONTROL)
		return true;
	service_receipt_owner(s, &owner);
	if (limit && !ledger_ours(m->ledger, &owner) &&
	    ledger_owed(m->ledger, &owner) >= limit) {
		rpc_fail(st, ERR_BUSY,
			 "credit limit: your owner owes %llu credits here "
			 "(credit.limit), more work waits",
			 (unsigned long long)m->o.credit_limit);
		return false;
	}
	if (!replay_fresh(m->replay, session_peer(s), job, lease,
			  clock_unix_ms())) {
		rpc_fail(st, ERR_DENIED,
			 "a replay: lease %llu of this job was asked for "
			 "before, and a lease is used once",
			 (unsigned long long)lease);
		return false;
	}
	return true;
}

void service_receipt_served(struct mesh *m, struct rpc_stream *st,
			    const char *kind, struct bytes text,
			    const uint8_t sig[static 64])
{
	const struct session *s = rpc_stream_session(st);
	struct node_id owner;

	if (!s || session_kind(s) == SESSION_CONTROL)
		return;
	service_receipt_owner(s, &owner);
	ledger_served(m->ledger, session_peer(s), &owner, kind, text, sig);
}

void service_receipt_answered(struct mesh *m, struct ledger_answer *a)
{
	const struct session *s = hub_find(rpc_hub(m->rpc), &a->worker);

	a->owner = a->worker;
	if (s)
		service_receipt_owner(s, &a->owner);
	ledger_answered(m->ledger, a);
}

/* The whole */

static void on_seen(void *arg, const struct node_id *submitter, const char *job,
		    uint64_t lease, uint64_t at_ms)
{
	struct mesh *m = arg;
	const bool fresh =
	    replay_fresh(m->replay, submitter, job, lease, at_ms);

	(void)fresh; /* it is: the table has each once */
}

void service_receipt_load(struct mesh *m, ledger_load_fn done)
{
	know_ourselves(m);
	ledger_load(m->ledger, on_seen, done, m);
}

struct service_receipt *service_receipt_new(struct mesh *m)
{
	struct service_receipt *s = HN_NEW(struct service_receipt);

	s->m = m;
	s->tick = loop_timer_new(m->loop, on_tick, s);
	m->ledger = ledger_new(&ops, m, m->me);
	m->replay = replay_new(REPLAY_WINDOW_MS, REPLAY_CACHE);
	return s;
}

void service_receipt_stop(struct service_receipt *s)
{
	ledger_stop(s->m->ledger);
	loop_timer_free(s->tick);
	s->m->service_receipt = NULL;
	free(s);
}

const struct rpc_method service_receipt_methods[] = {
    {.name = "receipt.put",
     .version = 1,
     .right = RIGHT_MEMBER,
     .repeatable = true,
     .request = &receipt_put_message,
     .reply = &receipt_head_message,
     .max_request = PUT_REQUEST_MAX,
     .max_streams = 2,
     .serve = serve_put,
     .doc = "receipts for the callee's work; where its copy of the chain ends"},
    {.name = "receipt.since",
     .version = 1,
     .right = RIGHT_MEMBER,
     .repeatable = true,
     .request = &receipt_since_message,
     .reply = &receipt_list_message,
     .max_reply = PUT_REQUEST_MAX,
     .max_streams = 2,
     .serve = serve_since,
     .doc = "what the callee has of a chain between the two owners"},
    {0},
};
