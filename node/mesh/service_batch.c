/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * hash.batch: digests of many inputs, streamed both ways, order kept.
 *
 * Serving is digester.c's, between the chunks of a stream. What is held is
 * bounded: the stream takes no more chunks while DIGESTER_HELD bytes wait, and
 * an input is at most BATCH_ITEM_MAX.
 *
 * Over the control socket a batch may name a peer: then this node is a pipe
 * between the two streams, with a queue each way that stops its source while
 * it is not empty.
 */
#include "node/mesh/mesh_impl.h"

#include "node/mesh/cheat.h"
#include "node/mesh/digester.h"
#include "node/mesh/lender.h"
#include "node/mesh/lending.h"
#include "node/mesh/service_hash.h"

#include <sodium.h>
#include <utlist.h>

#include <stdlib.h>
#include <string.h>

/* --- serving --- */

struct batch {
	struct mesh *m;
	struct rpc_stream *st;
	struct loan loan;
	struct digester *d;
};

static void batch_free(struct batch *b)
{
	lending_end(&b->loan);
	digester_free(b->d);
	free(b);
}

static void batch_fail(struct batch *b, enum err e, const char *text)
{
	rpc_fail(b->st, e, "%s", text);
	batch_free(b);
}

static bool on_digests(void *arg, const struct digests *d)
{
	struct batch *b = arg;
	struct batch_out out = {
	    .first = d->first,
	    .digests = {cheat_digests(d->digests, d->n)[0], d->n * 32}};

	if (rpc_send(b->st, &out))
		return false;
	rpc_hold(b->st, d->held > DIGESTER_HELD);
	return true;
}

static void on_device_failed(void *arg, enum err e)
{
	batch_fail(arg, e, "the device failed");
}

static void on_batch_done(void *arg)
{
	struct batch *b = arg;
	struct batch_end end = {.count = digester_inputs(b->d)};

	memcpy(end.by, identity_id(b->m->me)->b, sizeof(end.by));
	rpc_reply(b->st, &end);
	batch_free(b);
}

static const struct digester_ops digest_ops = {
    .take = on_digests, .failed = on_device_failed, .done = on_batch_done};

static void on_inputs(void *arg, struct rpc_stream *st, const void *msg)
{
	struct batch *b = arg;
	const struct batch_in *in = msg;
	const char *why;

	enum err e = in ? digester_feed(b->d, in->first, &in->items, &why)
			: digester_end(b->d, &why);
	if (e)
		batch_fail(b, e, why);
	else if (in)
		rpc_hold(st, digester_held(b->d) > DIGESTER_HELD);
}

static void on_batch_room(void *arg, struct rpc_stream *st)
{
	struct batch *b = arg;

	(void)st;
	digester_push(b->d);
}

static void on_batch_left(void *arg, struct rpc_stream *st, enum err e,
			  const void *reply, const char *text)
{
	(void)st, (void)e, (void)reply, (void)text;
	batch_free(arg);
}

static const struct rpc_ops batch_ops = {
    .chunk = on_inputs, .room = on_batch_room, .end = on_batch_left};

/* --- passing on --- */

/* One message that its stream did not take yet. */
struct parcel {
	struct parcel *prev, *next;
	struct arena arena;
	void *msg;
};

struct pipe {
	struct rpc_stream *from, *to; /* NULL: over */
	const struct message *type;
	struct parcel *queue;
	bool ended; /* the source has no more */
};

struct relay {
	struct pipe up, down; /* up: our user to the peer */
	bool replied;
	struct batch_end reply;
};

static void parcel_free(struct pipe *p, struct parcel *x)
{
	DL_DELETE(p->queue, x);
	arena_release(&x->arena);
	free(x);
}

static void pipe_add(struct pipe *p, const void *msg)
{
	if (!p->to || (!p->queue && rpc_send(p->to, msg) == OK))
		return;
	struct parcel *x = HN_NEW(struct parcel);
	x->msg = arena_alloc(&x->arena, p->type->size);
	fields_copy(p->type, msg, &x->arena, x->msg);
	DL_APPEND(p->queue, x);
	if (p->from)
		rpc_hold(p->from, true);
}

/* True when all that came has gone. */
static bool pipe_drain(struct pipe *p)
{
	while (p->queue) {
		if (rpc_send(p->to, p->queue->msg))
			return false;
		parcel_free(p, p->queue);
	}
	if (p->from)
		rpc_hold(p->from, false);
	return true;
}

static void relay_free(struct relay *r)
{
	while (r->up.queue)
		parcel_free(&r->up, r->up.queue);
	while (r->down.queue)
		parcel_free(&r->down, r->down.queue);
	free(r);
}

static void relay_up(struct relay *r)
{
	if (!pipe_drain(&r->up) || !r->up.ended)
		return;
	r->up.ended = false;
	rpc_send_end(r->up.to);
}

static void relay_down(struct relay *r)
{
	if (!pipe_drain(&r->down) || !r->replied)
		return;
	rpc_reply(r->down.to, &r->reply);
	relay_free(r);
}

static void on_user_chunk(void *arg, struct rpc_stream *st, const void *msg)
{
	struct relay *r = arg;

	(void)st;
	if (!r->up.to)
		return;
	if (msg)
		pipe_add(&r->up, msg);
	else
		r->up.ended = true;
	relay_up(r);
}

static void on_user_room(void *arg, struct rpc_stream *st)
{
	(void)st;
	relay_down(arg);
}

static void on_user_left(void *arg, struct rpc_stream *st, enum err e,
			 const void *reply, const char *text)
{
	struct relay *r = arg;

	(void)st, (void)e, (void)reply, (void)text;
	if (r->up.to)
		rpc_cancel(r->up.to);
	relay_free(r);
}

static void on_peer_chunk(void *arg, struct rpc_stream *st, const void *msg)
{
	struct relay *r = arg;

	(void)st;
	if (msg)
		pipe_add(&r->down, msg);
}

static void on_peer_room(void *arg, struct rpc_stream *st)
{
	(void)st;
	relay_up(arg);
}

static void on_peer_end(void *arg, struct rpc_stream *st, enum err e,
			const void *reply, const char *text)
{
	struct relay *r = arg;

	(void)st;
	r->up.to = r->down.from = NULL;
	if (e) {
		rpc_fail(r->down.to, e, "%s", text ? text : err_str(e));
		relay_free(r);
		return;
	}
	r->replied = true;
	memcpy(&r->reply, reply, sizeof(r->reply));
	relay_down(r);
}

static const struct rpc_ops user_ops = {
    .chunk = on_user_chunk, .room = on_user_room, .end = on_user_left};
static const struct rpc_ops peer_ops = {
    .chunk = on_peer_chunk, .room = on_peer_room, .end = on_peer_end};

static void serve_relay(struct mesh *m, struct rpc_stream *st,
			const struct hash_batch *q)
{
	struct hash_batch pass = {.rounds = q->rounds};
	struct node_id id;
	struct relay *r = HN_NEW(struct relay);

	memcpy(id.b, q->peer, sizeof(id.b));
	struct session *s = hub_find(rpc_hub(m->rpc), &id);
	r->up.type = &batch_in_message;
	r->down.type = &batch_out_message;
	enum err e = rpc_call(m->rpc, s, "hash.batch", &pass, 0, &peer_ops, r,
			      &r->up.to);
	if (e) {
		rpc_fail(st, e,
			 s ? "%s cannot be called now"
			   : "no session with %s: try `hnode dial`",
			 node_str(&id));
		free(r);
		return;
	}
	r->down.from = r->up.to;
	r->up.from = r->down.to = st;
	rpc_serve(st, &user_ops, r);
}

/* A batch has no prefix that its caller could go on from. */
static void on_recalled(void *arg)
{
	struct batch *b = arg;
	struct buf why = {0};

	buf_printf(&why, "paused: %s", lending_word(b->m->lending)->why);
	if (b->st)
		batch_fail(b, ERR_BUSY, buf_str(&why));
	buf_release(&why);
}

void serve_batch(struct rpc_stream *st, const void *request, void *arg)
{
	const struct hash_batch *q = request;
	struct mesh *m = arg;
	struct buf why = {0};

	if (q->rounds != 1 && q->rounds != 2) {
		rpc_fail(st, ERR_INPUT, "rounds: 1 (SHA-256) or 2 (SHA-256d)");
		return;
	}
	if (!sodium_is_zero(q->peer, sizeof(q->peer)) &&
	    memcmp(q->peer, identity_id(m->me)->b, sizeof(q->peer)) != 0) {
		if (session_kind(rpc_stream_session(st)) == SESSION_CONTROL)
			serve_relay(m, st, q);
		else
			rpc_fail(st, ERR_DENIED,
				 "this node passes nothing on for others");
		return;
	}
	struct batch *b = HN_NEW(struct batch);
	b->m = m;
	b->st = st;
	enum err e =
	    lending_take(m->lending, st, "", &b->loan, on_recalled, b, &why);
	if (e) {
		rpc_fail(st, e, "%s", buf_str(&why));
		free(b);
	} else {
		b->d = digester_new(m->asic, (int)q->rounds, false,
				    work_client(st), &digest_ops, b);
		rpc_serve(st, &batch_ops, b);
	}
	buf_release(&why);
}
