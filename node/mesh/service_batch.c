/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * hash.batch: digests of many inputs, streamed both ways, order kept.
 *
 * Serving: each chunk's complete inputs become one slice for the device pool;
 * slices are answered in order. What is held is bounded: the stream takes no
 * more chunks while HELD_MAX bytes wait, and an input is at most
 * BATCH_ITEM_MAX.
 *
 * Over the control socket a batch may name a peer: then this node is a pipe
 * between the two streams, with a queue each way that stops its source while
 * it is not empty.
 */
#include "node/mesh/mesh_impl.h"

#include "asic/asic.h"
#include "node/base/buf.h"
#include "node/mesh/lender.h"
#include "node/mesh/lending.h"
#include "node/mesh/service_hash.h"

#include <sodium.h>
#include <utlist.h>

#include <stdlib.h>
#include <string.h>

#define HELD_MAX (1u << 20)

/* --- serving --- */

struct slice {
	struct slice *prev, *next;
	struct batch *b;
	struct asic_batch *work; /* NULL: done */
	struct buf data;	 /* the inputs, one after the other */
	struct bytes *msgs;
	size_t n;
	uint64_t first;
	uint8_t *digests; /* n * 32 */
	enum err e;
};

struct batch {
	struct mesh *m;
	struct rpc_stream *st; /* NULL: over, the device still runs */
	uint64_t client;
	struct loan loan;
	int rounds;
	uint64_t next; /* index of the input to come or in part */
	struct buf part;
	bool ended;
	size_t held;
	struct slice *slices;
};

/* Empty inputs weigh something, too: the place for their digests. */
static size_t slice_weight(const struct slice *s)
{
	return s->data.n + s->n * (sizeof(*s->msgs) + 32);
}

static void slice_free(struct slice *s)
{
	DL_DELETE(s->b->slices, s);
	s->b->held -= slice_weight(s);
	buf_release(&s->data);
	free(s->msgs);
	free(s->digests);
	free(s);
}

static void batch_maybe_free(struct batch *b)
{
	if (b->st || b->slices)
		return;
	lending_end(&b->loan);
	buf_release(&b->part);
	free(b);
}

/* No more is wanted: what the device has not begun is dropped. */
static void batch_over(struct batch *b)
{
	struct slice *s, *tmp;

	b->st = NULL;
	DL_FOREACH_SAFE (b->slices, s, tmp) {
		if (s->work)
			asic_batch_cancel(s->work);
		else
			slice_free(s);
	}
	batch_maybe_free(b);
}

static void batch_fail(struct batch *b, enum err e, const char *text)
{
	rpc_fail(b->st, e, "%s", text);
	batch_over(b);
}

static void batch_push(struct batch *b)
{
	struct slice *s;

	while (b->st && (s = b->slices) && !s->work) {
		struct batch_out out = {.first = s->first,
					.digests = {s->digests, s->n * 32}};
		if (s->e) {
			batch_fail(b, s->e, "the device failed");
			return;
		}
		if (rpc_send(b->st, &out))
			break;
		slice_free(s);
	}
	if (!b->st)
		return;
	rpc_hold(b->st, b->held > HELD_MAX);
	if (b->ended && !b->slices) {
		struct batch_end end = {.count = b->next};
		memcpy(end.by, identity_id(b->m->me)->b, sizeof(end.by));
		rpc_reply(b->st, &end);
		b->st = NULL;
		batch_maybe_free(b);
	}
}

static void on_digests(void *arg, enum err e, const uint8_t (*digests)[32],
		       size_t n)
{
	struct slice *s = arg;
	struct batch *b = s->b;

	s->work = NULL;
	s->e = e;
	if (!b->st) {
		slice_free(s);
		batch_maybe_free(b);
		return;
	}
	if (!e)
		s->digests = xmemdup(digests, n * 32);
	batch_push(b);
}

/* Moves the complete input in b->part to the slice. */
static void slice_add(struct slice *s, struct batch *b, size_t ends[])
{
	buf_add(&s->data, b->part.p, b->part.n);
	buf_clear(&b->part);
	ends[s->n++] = s->data.n;
	b->next++;
}

static void slice_start(struct slice *s, const size_t ends[])
{
	struct batch *b = s->b;
	size_t at = 0;

	s->msgs = xcalloc(s->n, sizeof(*s->msgs));
	for (size_t i = 0; i < s->n; i++) {
		/* An empty buffer has no address; an empty input needs none. */
		s->msgs[i].p = s->data.p ? s->data.p + at : (uint8_t *)"";
		s->msgs[i].n = ends[i] - at;
		at = ends[i];
	}
	b->held += slice_weight(s);
	DL_APPEND(b->slices, s);
	s->e = asic_batch_start(b->m->asic, s->msgs, s->n, b->rounds, b->client,
				on_digests, s, &s->work);
	batch_push(b);
}

static void on_inputs(void *arg, struct rpc_stream *st, const void *msg)
{
	struct batch *b = arg;
	const struct batch_in *in = msg;
	size_t ends[BATCH_ITEMS_MAX];

	(void)st;
	if (!in) {
		b->ended = true;
		if (b->part.n)
			batch_fail(b, ERR_INPUT, "the last input has no end");
		else
			batch_push(b);
		return;
	}
	if (in->first != b->next) {
		batch_fail(b, ERR_INPUT, "inputs out of order");
		return;
	}
	struct slice *s = HN_NEW(struct slice);
	s->b = b;
	s->first = b->next;
	const struct batch_item *items = in->items.items;
	for (size_t i = 0; i < in->items.n; i++) {
		if (b->part.n + items[i].data.n > BATCH_ITEM_MAX) {
			buf_release(&s->data);
			free(s);
			batch_fail(b, ERR_LIMIT, "an input is over 1 MiB");
			return;
		}
		buf_add(&b->part, items[i].data.p, items[i].data.n);
		if (!items[i].more)
			slice_add(s, b, ends);
	}
	if (s->n)
		slice_start(s, ends);
	else
		free(s);
}

static void on_batch_room(void *arg, struct rpc_stream *st)
{
	(void)st;
	batch_push(arg);
}

static void on_batch_left(void *arg, struct rpc_stream *st, enum err e,
			  const void *reply, const char *text)
{
	(void)st, (void)e, (void)reply, (void)text;
	batch_over(arg);
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
	b->client = work_client(st);
	b->rounds = (int)q->rounds;
	enum err e =
	    lending_take(m->lending, st, "", &b->loan, on_recalled, b, &why);
	if (e) {
		rpc_fail(st, e, "%s", buf_str(&why));
		free(b);
	} else {
		rpc_serve(st, &batch_ops, b);
	}
	buf_release(&why);
}
