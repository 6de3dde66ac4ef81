/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One session's streams.
 *
 * Frames of streams that ended are ordinary: the two ends cross on the wire.
 * A number at or below the last one of its side that is not in the table is
 * such a stream, and its frames are dropped; a number never used breaks the
 * protocol.
 *
 * Sizes are checked against the method's row before a partial message grows,
 * and what a row forbids ends the stream, not the session: a peer with another
 * version of the row may mean well. Only frames that no version may send close
 * the session.
 *
 * Callbacks run from here only when the stack holds no public function of
 * rpc: from the record, from writable, from a timer, from a post. Any of them
 * may end any stream and close the session, so the channel and the stream in
 * hand are held by counts across the call.
 */
#include "rpc/chan.h"

#include "node/base/log.h"
#include "node/base/mem.h"

#include <utlist.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define PUMP_TURNS 128 /* frames in one go: 2 MiB at most */

/* Streams */

static void on_number(void *arg, struct lane *l)
{
	struct chan *c = arg;
	struct rpc_stream *st = (struct rpc_stream *)l;
	HASH_ADD(hh, c->by_number, lane.number, sizeof(l->number), st);
}

struct rpc_stream *stream_new(struct chan *c, struct method_slot *slot,
			      bool caller, uint32_t timeout_ms)
{
	const struct rpc_method *m = slot->m;
	struct rpc_stream *st = HN_NEW(struct rpc_stream);

	_Static_assert(offsetof(struct rpc_stream, lane) == 0, "on_number");
	st->rpc = c->rpc;
	st->chan = c;
	st->slot = slot;
	st->m = m;
	st->caller = caller;
	st->refs = 1;
	st->credit = caller && m->up ? FRAME_WINDOW : 0;
	st->window = (caller ? m->down : m->up) ? FRAME_WINDOW : 0;
	DL_APPEND(c->streams, st);
	if (caller) {
		c->nout++;
		c->out_of[slot->index]++;
	} else {
		c->nin++;
		c->in_of[slot->index]++;
	}
	session_outstanding(c->s, 1);
	if (timeout_ms)
		rpc_time_set(st, timeout_ms);
	return st;
}

void stream_unref(struct rpc_stream *st)
{
	if (--st->refs)
		return;
	assert(!st->chan);
	buf_release(&st->part);
	free(st);
}

void stream_stop_waiting(struct rpc_stream *st)
{
	st->want = 0;
	if (st->waiting)
		DL_DELETE2(st->chan->waiters, st, wprev, wnext);
	st->waiting = false;
}

void chan_retire(struct chan *c)
{
	if (!c->streams)
		session_close(c->s, OK, "replaced by another session");
}

/* Out of the channel; the memory stays. */
static void detach(struct rpc_stream *st)
{
	struct chan *c = st->chan;

	rpc_time_drop(st);
	stream_stop_waiting(st);
	outbox_drop(&c->box, &st->lane);
	if (st->lane.number)
		HASH_DELETE(hh, c->by_number, st);
	DL_DELETE(c->streams, st);
	if (st->caller) {
		c->nout--;
		c->out_of[st->slot->index]--;
	} else {
		c->nin--;
		c->in_of[st->slot->index]--;
	}
	if (c->s)
		session_outstanding(c->s, -1);
	buf_release(&st->part);
	st->chan = NULL;
	if (c->s && session_retiring(c->s))
		chan_retire(c);
}

void stream_end(struct rpc_stream *st)
{
	detach(st);
	st->state = STREAM_ENDED;
	stream_unref(st);
}

void stream_over(struct rpc_stream *st, enum err e, const void *reply,
		 const char *text)
{
	if (st->state == STREAM_ENDING || st->state == STREAM_OPENING) {
		stream_end(st); /* its user has left or never saw it */
		return;
	}
	detach(st);
	if (!st->ops.end) {
		/* A callee without ops: the pointer is its until it answers. */
		st->state = STREAM_ORPHAN;
		st->end = e;
		DL_APPEND(st->rpc->orphans, st);
		st->slot->norphans++;
		return;
	}
	st->state = STREAM_ENDED;
	st->ops.end(st->arg, st, e, reply, text);
	stream_unref(st);
}

void stream_adopt(struct rpc_stream *st)
{
	if (st->rpc) {
		DL_DELETE(st->rpc->orphans, st);
		st->slot->norphans--;
	}
	st->state = STREAM_ENDED;
}

static void send_end(struct chan *c, uint32_t number, enum err e,
		     const char *text)
{
	struct frame_end end = {.err = e};
	struct buf b = {0};

	frame_text(end.text, text, text ? strlen(text) : 0);
	frame_end_pack(&end, &b);
	outbox_control(&c->box, FRAME_END, number, b.p, b.n);
	buf_release(&b);
}

static void send_cancel(struct chan *c, uint32_t number, enum err why)
{
	const uint8_t p[2] = {(uint8_t)(why >> 8), (uint8_t)why};
	outbox_control(&c->box, FRAME_CANCEL, number, p, sizeof(p));
}

void stream_break(struct rpc_stream *st, enum err e, const char *text)
{
	struct chan *c = st->chan;

	outbox_drop(&c->box, &st->lane);
	/* A call of which nothing was sent yet is unknown to the peer. */
	if (st->lane.number && !st->caller)
		send_end(c, st->lane.number, e, text);
	else if (st->lane.number)
		send_cancel(c, st->lane.number, e);
	stream_over(st, e, NULL, text);
}

/* Credit */

void stream_grant(struct rpc_stream *st)
{
	if (st->held || st->state != STREAM_OPEN || !st->lane.number ||
	    (!st->caller && st->half_closed) || st->consumed < FRAME_WINDOW / 2)
		return;
	uint8_t p[4];
	put_be32(p, (uint32_t)st->consumed);
	st->window += st->consumed;
	st->consumed = 0;
	outbox_control(&st->chan->box, FRAME_CREDIT, st->lane.number, p,
		       sizeof(p));
}

void stream_try_wait(struct rpc_stream *st)
{
	if (!st->want || st->waiting || st->want > st->credit ||
	    st->lane.queued > FRAME_WINDOW / 8)
		return;
	st->waiting = true;
	DL_APPEND2(st->chan->waiters, st, wprev, wnext);
}

/* Sending */

static void on_fed(void *arg, struct lane *l, enum frame_kind kind, bool whole)
{
	struct rpc_stream *st = (struct rpc_stream *)l;

	(void)arg;
	if (whole && kind == FRAME_END)
		stream_end(st);
	else
		stream_try_wait(st);
}

/* The room callback of the first waiter; false: nobody waits. */
static bool call_waiter(struct chan *c)
{
	struct rpc_stream *st = c->waiters;
	if (!st)
		return false;
	stream_stop_waiting(st);
	if (!st->ops.room)
		return true;
	st->refs++;
	st->ops.room(st->arg, st);
	stream_unref(st);
	return true;
}

static void chan_hold(struct chan *c)
{
	c->busy++;
}

static void chan_let(struct chan *c)
{
	if (--c->busy || c->s)
		return;
	free(c->in_of);
	free(c->out_of);
	free(c);
}

/*
 * One frame of the lanes and one waiter in turn. This ends: lanes only
 * shrink, and a waiter that always finds room uses up its credit.
 */
void chan_pump(struct chan *c)
{
	unsigned turns = 0;
	bool more = true;

	chan_hold(c);
	while (more && c->s && session_is_up(c->s) && outbox_room(&c->box) &&
	       turns++ < PUMP_TURNS) {
		more = outbox_step(&c->box);
		if (outbox_room(&c->box))
			more |= call_waiter(c);
	}
	/* A peer that takes all it can get is not alone here. */
	if (more && c->s)
		chan_kick(c);
	chan_let(c);
}

static void on_pump(void *arg)
{
	struct rpc *r = arg;
	struct chan *c, *next;

	r->pump_posted = false;
	DL_FOREACH_SAFE (r->chans, c, next) {
		if (c->box.ring || c->waiters)
			chan_pump(c);
	}
}

void chan_kick(struct chan *c)
{
	struct rpc *r = c->rpc;

	/* With more than that queued the session says writable. */
	if (r->pump_posted || !outbox_room(&c->box))
		return;
	r->pump_posted = true;
	loop_post(r->loop, on_pump, r);
}

/* Receiving */

/* A known stream; *st is NULL if it ended. */
static enum err stream_find(struct chan *c, uint32_t number,
			    struct rpc_stream **st)
{
	const bool ours = (number & 1) == (c->box.next_number & 1);
	if (ours ? number >= c->box.next_number : number > c->last_in)
		return ERR_PROTO;
	HASH_FIND(hh, c->by_number, &number, sizeof(number), *st);
	return OK;
}

static void serve(struct rpc_stream *st, const uint8_t *p, size_t n)
{
	const struct message *t = st->m->request;
	struct arena a = {0};

	if (!t)
		t = &message_empty;
	void *request = arena_alloc(&a, t->size);
	const enum err e = fields_unpack(t, p, n, &a, request);
	if (e) {
		stream_break(st, e, "the request does not fit its fields");
	} else {
		st->state = STREAM_OPEN;
		st->refs++;
		st->m->serve(st, request, st->rpc->o.arg);
		stream_unref(st);
	}
	arena_release(&a);
}

/* Adds to the partial message, below its cap. */
static bool part_add(struct rpc_stream *st, uint8_t kind, struct bytes p,
		     size_t max)
{
	if (p.n > max || st->part.n > max - p.n)
		return false;
	st->part_kind = kind;
	buf_add(&st->part, p.p, p.n);
	return true;
}

static void request_part(struct rpc_stream *st, const struct frame *f,
			 struct bytes p)
{
	const bool more = f->flags & FRAME_MORE;
	const size_t max = rpc_max_request(st->m);

	if (!more && !st->part.n && p.n <= max) {
		serve(st, p.p, p.n);
		return;
	}
	if (!part_add(st, FRAME_OPEN, p, max)) {
		stream_break(st, ERR_LIMIT, "the request is too large");
		return;
	}
	if (more)
		return;
	struct buf whole = st->part;
	st->part = (struct buf){0};
	st->part_kind = 0;
	serve(st, whole.p, whole.n);
	buf_release(&whole);
}

/*
 * The caps of streams at once. Orphans count, whosever they were: work goes on
 * for them, and who opens, cancels and opens again must not pile it up.
 */
static bool is_full(const struct chan *c, const struct method_slot *slot)
{
	return c->nin >= c->rpc->o.max_streams ||
	       c->in_of[slot->index] + slot->norphans >=
		   rpc_max_streams(slot->m);
}

/* May this call in? Otherwise it is refused. */
static bool admitted(struct chan *c, uint32_t number,
		     const struct method_slot *slot, const char *name)
{
	struct rpc *r = c->rpc;
	struct buf why = {0};
	enum err e;

	if (!slot) {
		r->counters.unknown_method++;
		e = ERR_NOMETHOD;
		buf_printf(&why, "no method %s here", name);
	} else if (r->stopping) {
		e = ERR_GONE;
		buf_add_str(&why, "the node is stopping");
	} else if (!r->o.authorize) {
		r->counters.denied++;
		e = ERR_DENIED;
	} else if ((e = r->o.authorize(r->o.arg, c->s, slot->m, &why))) {
		r->counters.denied++;
	} else if (is_full(c, slot)) {
		r->counters.busy++;
		e = ERR_BUSY;
		buf_printf(&why, "too many calls of %s at once", name);
	}
	if (e)
		send_end(c, number, e, why.n ? buf_str(&why) : NULL);
	buf_release(&why);
	return !e;
}

static enum err on_open(struct chan *c, const struct frame *f)
{
	struct rpc_stream *st;
	struct frame_open o;

	if ((f->stream & 1) == (c->box.next_number & 1))
		return ERR_PROTO;
	if (f->stream <= c->last_in) {
		/* More of a request; or of one that was refused already. */
		HASH_FIND(hh, c->by_number, &f->stream, sizeof(f->stream), st);
		if (!st)
			return OK;
		if (st->state == STREAM_ENDING)
			return OK;
		if (st->state != STREAM_OPENING)
			return ERR_PROTO;
		request_part(st, f, f->payload);
		return OK;
	}
	enum err e = frame_open_unpack(f, &o);
	if (e)
		return e;
	c->last_in = f->stream;
	c->rpc->counters.calls_in++;
	struct method_slot *slot = rpc_slot_find(c->rpc, o.name);
	if (!admitted(c, f->stream, slot, o.name))
		return OK;
	st = stream_new(c, slot, false, o.deadline_ms);
	st->lane.number = f->stream;
	on_number(c, &st->lane);
	st->credit = slot->m->down ? o.credit : 0;
	request_part(st, f, o.body);
	return OK;
}

/* One whole chunk for the user. */
static void chunk(struct rpc_stream *st, const uint8_t *p, size_t n)
{
	const struct message *t = st->caller ? st->m->down : st->m->up;
	struct arena a = {0};
	void *msg = arena_alloc(&a, t->size);

	const enum err e = fields_unpack(t, p, n, &a, msg);
	if (e) {
		stream_break(st, e, "a chunk does not fit its fields");
		arena_release(&a);
		return;
	}
	st->refs++;
	if (st->ops.chunk)
		st->ops.chunk(st->arg, st, msg);
	if (st->chan) {
		st->consumed += n;
		stream_grant(st);
	}
	stream_unref(st);
	arena_release(&a);
}

static enum err on_data(struct rpc_stream *st, const struct frame *f)
{
	const bool more = f->flags & FRAME_MORE;
	const size_t max = rpc_max_chunk(st->m);
	const struct bytes p = f->payload;

	if (st->state == STREAM_ENDING)
		return OK;
	if (st->state != STREAM_OPEN || (!st->caller && st->half_closed) ||
	    (st->part_kind && st->part_kind != FRAME_DATA))
		return ERR_PROTO;
	if (!(st->caller ? st->m->down : st->m->up)) {
		stream_break(st, ERR_PROTO, "this method has no chunks");
		return OK;
	}
	if (p.n > st->window)
		return ERR_PROTO;
	st->window -= p.n;
	if (!more && !st->part_kind && p.n <= max) {
		chunk(st, p.p, p.n);
		return OK;
	}
	if (!part_add(st, FRAME_DATA, p, max)) {
		stream_break(st, ERR_LIMIT, "a chunk is too large");
		return OK;
	}
	if (more)
		return OK;
	struct buf whole = st->part;
	st->part = (struct buf){0};
	st->part_kind = 0;
	st->refs++;
	chunk(st, whole.p, whole.n);
	if (st->chan && !st->part.p) {
		buf_clear(&whole); /* memory for the next one */
		st->part = whole;
	} else {
		buf_release(&whole);
	}
	stream_unref(st);
	return OK;
}

static enum err on_data_end(struct rpc_stream *st)
{
	if (st->state == STREAM_ENDING)
		return OK;
	if (st->state != STREAM_OPEN || st->half_closed || st->part_kind)
		return ERR_PROTO;
	st->half_closed = true;
	st->refs++;
	if (st->ops.chunk)
		st->ops.chunk(st->arg, st, NULL);
	stream_unref(st);
	return OK;
}

/* The end with its whole reply. */
static void finish(struct rpc_stream *st, enum err e, const char *text,
		   const uint8_t *p, size_t n)
{
	const struct message *t = st->m->reply ? st->m->reply : &message_empty;

	if (e) {
		st->rpc->counters.errors_in++;
		stream_over(st, e, NULL, text && *text ? text : NULL);
		return;
	}
	struct arena a = {0};
	void *reply = arena_alloc(&a, t->size);
	e = fields_unpack(t, p, n, &a, reply);
	if (e)
		stream_over(st, e, NULL, "the reply does not fit its fields");
	else
		stream_over(st, OK, reply, NULL);
	arena_release(&a);
}

static enum err on_end(struct rpc_stream *st, const struct frame *f)
{
	const bool more = f->flags & FRAME_MORE;
	const size_t max = rpc_max_reply(st->m);
	struct frame_end end = {.err = st->end, .body = f->payload};

	if (st->part_kind != FRAME_END) {
		const enum err e = frame_end_unpack(f, &end);
		if (e)
			return e;
		buf_clear(&st->part); /* a chunk may be left unfinished */
		st->end = end.err;
		if (!more && end.body.n <= max) {
			finish(st, end.err, end.text, end.body.p, end.body.n);
			return OK;
		}
	}
	if (!part_add(st, FRAME_END, end.body, max)) {
		stream_break(st, ERR_LIMIT, "the reply is too large");
		return OK;
	}
	if (more)
		return OK;
	struct buf whole = st->part;
	st->part = (struct buf){0};
	finish(st, st->end, NULL, whole.p, whole.n);
	buf_release(&whole);
	return OK;
}

static enum err on_credit(struct rpc_stream *st, const struct frame *f)
{
	uint32_t n;
	const enum err e = frame_credit_unpack(f, &n);
	if (e)
		return e;
	st->credit += n;
	stream_try_wait(st);
	return OK;
}

static enum err on_cancel(struct rpc_stream *st, const struct frame *f)
{
	enum err why;
	const enum err e = frame_cancel_unpack(f, &why);
	if (e)
		return e;
	stream_over(st, why ? why : ERR_CANCELED, NULL,
		    why == ERR_TIMEOUT ? "the caller's deadline passed"
				       : "the caller canceled");
	return OK;
}

static enum err on_frame(struct chan *c, const struct frame *f)
{
	const bool ours = (f->stream & 1) == (c->box.next_number & 1);
	struct rpc_stream *st = NULL;

	if (f->kind == FRAME_OPEN)
		return on_open(c, f);
	const enum err e = stream_find(c, f->stream, &st);
	if (e)
		return e;
	/* Who sends END is the callee, DATA_END and CANCEL the caller. */
	if (ours ? f->kind == FRAME_DATA_END || f->kind == FRAME_CANCEL
		 : f->kind == FRAME_END)
		return ERR_PROTO;
	if (!st)
		return OK;
	switch ((enum frame_kind)f->kind) {
	case FRAME_OPEN:
		break;
	case FRAME_DATA:
		return on_data(st, f);
	case FRAME_DATA_END:
		return on_data_end(st);
	case FRAME_CREDIT:
		return on_credit(st, f);
	case FRAME_END:
		return on_end(st, f);
	case FRAME_CANCEL:
		return on_cancel(st, f);
	}
	return OK;
}

/* What a frame costs us hardly depends on its size: a peer that sends many
 * small ones would have the loop to itself. */
static void spend_small(struct chan *c, size_t n)
{
	const double rate = c->rpc->o.small_per_s;
	const uint64_t now = loop_ms(c->rpc->loop);

	if (!c->rpc->o.small_per_s || session_kind(c->s) == SESSION_CONTROL)
		return;
	c->small += (double)(now - c->small_ms) * rate / 1000;
	c->small_ms = now;
	if (c->small > rate)
		c->small = rate;
	c->small -= (double)n;
	if (c->small < 0)
		session_rest(c->s, (uint32_t)(-c->small * 1000 / rate) + 1);
}

enum err chan_record(struct chan *c, const uint8_t *p, size_t n)
{
	struct reader r = reader_of(p, n);
	enum err e = OK;

	size_t small = 0;

	chan_hold(c);
	while (!e && c->s && session_is_up(c->s) && reader_left(&r)) {
		const size_t left = reader_left(&r);
		struct frame f;
		bool known;

		e = frame_next(&r, &f, &known);
		small += left - reader_left(&r) <= RPC_SMALL;
		if (!e && !known)
			e = f.flags & FRAME_SKIP ? OK : ERR_PROTO;
		else if (!e)
			e = on_frame(c, &f);
	}
	if (e) {
		c->rpc->counters.bad_frames++;
		log_debug("rpc", "bad frame, closing reason=%s", err_name(e));
	} else if (c->s && (c->waiters || c->box.ring)) {
		chan_pump(c);
	}
	if (c->s)
		spend_small(c, small);
	chan_let(c);
	return e;
}

/* Life */

struct chan *chan_new(struct rpc *r, struct session *s)
{
	struct chan *c = HN_NEW(struct chan);

	c->rpc = r;
	c->s = s;
	c->small = r->o.small_per_s;
	c->small_ms = loop_ms(r->loop);
	c->box = (struct outbox){
	    .s = s,
	    .next_number = session_dialled(s) ? 1 : 2,
	    .arg = c,
	    .number = on_number,
	    .fed = on_fed,
	};
	c->in_of = xcalloc(r->nslots, sizeof(*c->in_of));
	c->out_of = xcalloc(r->nslots, sizeof(*c->out_of));
	DL_APPEND(r->chans, c);
	session_set_user(s, c);
	return c;
}

void chan_down(struct chan *c, const char *text)
{
	chan_hold(c);
	session_set_user(c->s, NULL);
	c->s = NULL;
	while (c->streams)
		stream_over(c->streams, ERR_GONE, NULL, text);
	DL_DELETE(c->rpc->chans, c);
	chan_let(c);
}
