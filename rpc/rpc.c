/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Calls: the table of methods, what users of streams do, deadlines.
 *
 * Nothing here calls a user back. What a call causes comes from the record,
 * from writable, from the deadline timer or from a post (chan.c), so a user
 * may call anything from anywhere, its own callbacks included.
 *
 * A small message goes to the session at once, past what others have queued;
 * a long one waits in its stream's lane and takes turns (outbox.c). A chunk
 * costs credit when rpc_send takes it, so that whatever is in a lane may be
 * sent; what bulk has in flight is its window of 256 KiB, and that is the
 * longest queue a small message can meet.
 */
#include "rpc/rpc.h"

#include "node/base/log.h"
#include "node/base/mem.h"
#include "rpc/chan.h"

#include <utlist.h>

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_BYTES 16384u
#define DEFAULT_METHOD_STREAMS 16u
#define DEFAULT_STREAMS 256u
/* Far from the end of the numbers: what is queued has none yet. */
#define NUMBERS_END 0xfff00000u
#define SCRATCH_KEEP (256u << 10)

/* Rows */

size_t rpc_max_request(const struct rpc_method *m)
{
	return m->max_request ? m->max_request : DEFAULT_BYTES;
}

size_t rpc_max_chunk(const struct rpc_method *m)
{
	return m->max_chunk ? m->max_chunk : DEFAULT_BYTES;
}

size_t rpc_max_reply(const struct rpc_method *m)
{
	return m->max_reply ? m->max_reply : DEFAULT_BYTES;
}

unsigned rpc_max_streams(const struct rpc_method *m)
{
	return m->max_streams ? m->max_streams : DEFAULT_METHOD_STREAMS;
}

struct method_slot *rpc_slot_find(struct rpc *r, const char *name)
{
	struct method_slot *slot;
	HASH_FIND_STR(r->by_name, name, slot);
	return slot;
}

const struct rpc_method *rpc_method_find(struct rpc *r, const char *name)
{
	const struct method_slot *slot = rpc_slot_find(r, name);
	return slot ? slot->m : NULL;
}

void rpc_methods_each(struct rpc *r,
		      void (*fn)(const struct rpc_method *m, void *arg),
		      void *arg)
{
	for (size_t i = 0; i < r->nslots; i++)
		fn(r->slots[i].m, arg);
}

static void check_row(struct rpc *r, const struct rpc_method *m)
{
	const size_t n = strlen(m->name);

	assert(n && n <= FRAME_NAME_MAX);
	assert(!rpc_slot_find(r, m->name)); /* a name twice */
	assert(rpc_max_chunk(m) <= FRAME_CHUNK_MAX);
	assert(rpc_max_streams(m) <= UINT16_MAX);
	assert(m->version <= UINT16_MAX);
}

static void collect_rows(struct rpc *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->o.ntables; i++) {
		for (const struct rpc_method *m = r->o.tables[i]; m->name; m++)
			n++;
	}
	r->slots = xcalloc(n, sizeof(*r->slots));
	for (size_t i = 0; i < r->o.ntables; i++) {
		const struct rpc_method *m = r->o.tables[i];
		for (; m->name; m++) {
			check_row(r, m);
			struct method_slot *slot = &r->slots[r->nslots];
			slot->m = m;
			slot->index = r->nslots++;
			HASH_ADD_KEYPTR(hh, r->by_name, m->name,
					strlen(m->name), slot);
		}
	}
}

/* Deadlines */

static void arm(struct rpc *r, uint64_t due)
{
	const uint64_t now = loop_ms(r->loop);

	r->due = due;
	loop_timer_set(r->deadline, due > now ? due - now : 0);
}

void rpc_time_set(struct rpc_stream *st, uint32_t timeout_ms)
{
	struct rpc *r = st->rpc;

	st->deadline = loop_ms(r->loop) + timeout_ms;
	st->timing = TIMING_SET;
	DL_APPEND2(r->timed, st, tprev, tnext);
	if (!r->due || st->deadline < r->due)
		arm(r, st->deadline);
}

void rpc_time_drop(struct rpc_stream *st)
{
	switch (st->timing) {
	case TIMING_NONE:
		return;
	case TIMING_SET:
		DL_DELETE2(st->rpc->timed, st, tprev, tnext);
		break;
	case TIMING_EXPIRED:
		DL_DELETE2(st->rpc->expired, st, tprev, tnext);
		break;
	}
	/* The timer may fire for nothing; it then finds the next one. */
	st->timing = TIMING_NONE;
}

static void on_deadline(void *arg)
{
	struct rpc *r = arg;
	const uint64_t now = loop_ms(r->loop);
	struct rpc_stream *st, *next;
	uint64_t due = 0;

	DL_FOREACH_SAFE2(r->timed, st, next, tnext)
	{
		if (st->deadline > now) {
			if (!due || st->deadline < due)
				due = st->deadline;
			continue;
		}
		DL_DELETE2(r->timed, st, tprev, tnext);
		st->timing = TIMING_EXPIRED;
		DL_APPEND2(r->expired, st, tprev, tnext);
	}
	r->due = 0;
	if (due)
		arm(r, due);
	while (r->expired) {
		r->counters.deadline++;
		stream_break(r->expired, ERR_TIMEOUT,
			     "the call's deadline passed");
	}
}

/* Sessions */

static void on_up(void *arg, struct session *s)
{
	struct rpc *r = arg;

	chan_new(r, s);
	if (r->o.up)
		r->o.up(r->o.arg, s);
}

static void on_retire(void *arg, struct session *s)
{
	struct chan *c = session_user(s);

	(void)arg;
	if (c)
		chan_retire(c);
}

static enum err on_record(void *arg, struct session *s, const uint8_t *p,
			  size_t n)
{
	(void)arg;
	struct chan *c = session_user(s);
	return c ? chan_record(c, p, n) : ERR_PROTO;
}

static void on_writable(void *arg, struct session *s)
{
	struct chan *c = session_user(s);

	(void)arg;
	if (!c)
		return;
	if (c->box.writing)
		chan_kick(c);
	else
		chan_pump(c);
}

static void on_down(void *arg, struct session *s, enum err why,
		    const char *text, bool dup)
{
	struct rpc *r = arg;
	struct chan *c = session_user(s);

	if (c)
		chan_down(c, text);
	if (r->o.down)
		r->o.down(r->o.arg, s, why, text, dup);
}

static void on_creds(void *arg, struct session_creds *out)
{
	const struct rpc *r = arg;
	r->o.hub.creds(r->o.arg, out);
}

static enum err on_admit(void *arg, const struct session_hello *hello,
			 const struct session_psk *psk, struct buf *why)
{
	const struct rpc *r = arg;
	return r->o.hub.admit(r->o.arg, hello, psk, why);
}

static void on_copied_key(void *arg, const struct node_id *id,
			  const char *address)
{
	const struct rpc *r = arg;
	r->o.hub.copied_key(r->o.arg, id, address);
}

static void on_refused(void *arg, const char *address, const char *text)
{
	const struct rpc *r = arg;
	r->o.hub.refused(r->o.arg, address, text);
}

/* Life */

struct rpc *rpc_new(const struct rpc_options *o)
{
	struct rpc *r = HN_NEW(struct rpc);

	loop_assert(o->hub.loop);
	r->o = *o;
	if (!r->o.max_streams)
		r->o.max_streams = DEFAULT_STREAMS;
	r->loop = o->hub.loop;
	collect_rows(r);
	r->deadline = loop_timer_new(r->loop, on_deadline, r);

	struct hub_options h = o->hub;
	h.arg = r;
	h.creds = o->hub.creds ? on_creds : NULL;
	h.admit = o->hub.admit ? on_admit : NULL;
	h.copied_key = o->hub.copied_key ? on_copied_key : NULL;
	h.refused = o->hub.refused ? on_refused : NULL;
	h.up = on_up;
	h.retire = on_retire;
	h.record = on_record;
	h.writable = on_writable;
	h.down = on_down;
	r->hub = hub_new(&h);
	return r;
}

struct hub *rpc_hub(struct rpc *r)
{
	return r->hub;
}

static void on_free(void *arg)
{
	struct rpc *r = arg;
	struct rpc_stream *st, *next;

	/* Their users still answer them some time. */
	DL_FOREACH_SAFE (r->orphans, st, next)
		st->rpc = NULL;
	assert(!r->chans);
	loop_timer_free(r->deadline);
	HASH_CLEAR(hh, r->by_name);
	free(r->slots);
	buf_release(&r->scratch);
	const loop_fn done = r->stopped;
	void *done_arg = r->stopped_arg;
	free(r);
	if (done)
		done(done_arg);
}

static void on_hub_stopped(void *arg)
{
	struct rpc *r = arg;
	/* After every post that still names r. */
	loop_post(r->loop, on_free, r);
}

void rpc_stop(struct rpc *r, loop_fn done, void *arg)
{
	loop_assert(r->loop);
	assert(!r->stopping);
	r->stopping = true;
	r->stopped = done;
	r->stopped_arg = arg;
	hub_stop(r->hub, on_hub_stopped, r);
}

/* Calls */

static const struct message *request_of(const struct rpc_method *m)
{
	return m->request ? m->request : &message_empty;
}

/* A message packed into the scratch buffer, to be given back. */
static void scratch_done(struct rpc *r)
{
	if (r->scratch.cap > SCRATCH_KEEP)
		buf_release(&r->scratch);
	else
		buf_clear(&r->scratch);
}

enum err rpc_call(struct rpc *r, struct session *s, const char *method,
		  const void *request, uint32_t timeout_ms,
		  const struct rpc_ops *ops, void *arg, struct rpc_stream **out)
{
	loop_assert(r->loop);
	assert(ops->end);
	struct method_slot *slot = rpc_slot_find(r, method);
	struct chan *c = s ? session_user(s) : NULL;

	if (!slot)
		return ERR_NOMETHOD;
	if (!c || r->stopping || !session_is_up(s) || session_retiring(s))
		return ERR_GONE;
	if (c->box.next_number >= NUMBERS_END) {
		session_close(s, ERR_LIMIT, "its stream numbers are used up");
		return ERR_GONE;
	}
	if (c->nout >= r->o.max_streams ||
	    c->out_of[slot->index] >= rpc_max_streams(slot->m))
		return ERR_BUSY;

	struct frame_open o = {
	    .version = (uint16_t)slot->m->version,
	    .deadline_ms = timeout_ms,
	    .credit = slot->m->down ? FRAME_WINDOW : 0,
	};
	memcpy(o.name, slot->m->name, strlen(slot->m->name) + 1);
	frame_open_pack(&o, &r->scratch);
	const size_t head = r->scratch.n;
	fields_pack(request_of(slot->m), request, &r->scratch);
	if (r->scratch.n - head > rpc_max_request(slot->m)) {
		scratch_done(r);
		return ERR_LIMIT;
	}
	struct rpc_stream *st = stream_new(c, slot, true, timeout_ms);
	st->state = STREAM_OPEN;
	st->ops = *ops;
	st->arg = arg;
	r->counters.calls_out++;
	if (!outbox_put(&c->box, &st->lane, FRAME_OPEN, r->scratch.p,
			r->scratch.n))
		chan_kick(c);
	scratch_done(r);
	if (out)
		*out = st;
	return OK;
}

static void on_orphan(void *arg)
{
	struct rpc_stream *st = arg;

	if (st->state == STREAM_ORPHAN) {
		stream_adopt(st);
		st->ops.end(st->arg, st, st->end, NULL, NULL);
		stream_unref(st);
	}
	stream_unref(st);
}

void rpc_serve(struct rpc_stream *st, const struct rpc_ops *ops, void *arg)
{
	assert(!st->caller);
	st->ops = *ops;
	st->arg = arg;
	if (st->state == STREAM_ORPHAN && st->rpc && ops->end) {
		/* It ended before anybody listened. */
		st->refs++;
		loop_post(st->rpc->loop, on_orphan, st);
	}
}

enum err rpc_send(struct rpc_stream *st, const void *msg)
{
	struct rpc *r = st->rpc;
	struct chan *c = st->chan;
	const struct message *t = st->caller ? st->m->up : st->m->down;

	assert(t);
	if (!c)
		return ERR_GONE;
	loop_assert(r->loop);
	assert(st->state == STREAM_OPEN && !(st->caller && st->half_closed));
	if (st->want)
		return ERR_BUSY; /* room has not come since */
	fields_pack(t, msg, &r->scratch);
	const size_t n = r->scratch.n;
	enum err e = OK;
	if (n > rpc_max_chunk(st->m)) {
		e = ERR_LIMIT;
	} else if (n > st->credit ||
		   (!outbox_clear(&c->box, &st->lane) &&
		    (n > OUTBOX_SMALL ||
		     st->lane.queued + n > FRAME_WINDOW / 4))) {
		e = ERR_BUSY;
		st->want = n;
		stream_try_wait(st);
		if (st->waiting)
			chan_kick(c);
	} else {
		st->credit -= n;
		if (!outbox_put(&c->box, &st->lane, FRAME_DATA, r->scratch.p,
				n))
			chan_kick(c);
	}
	scratch_done(r);
	return e;
}

void rpc_send_end(struct rpc_stream *st)
{
	assert(st->caller);
	if (!st->chan || st->half_closed)
		return;
	loop_assert(st->rpc->loop);
	st->half_closed = true;
	stream_stop_waiting(st);
	if (!outbox_put(&st->chan->box, &st->lane, FRAME_DATA_END, NULL, 0))
		chan_kick(st->chan);
}

/* The callee's last word; the stream is rpc's own after it. */
static void answer(struct rpc_stream *st, const struct frame_end *end,
		   const void *reply)
{
	struct chan *c = st->chan;
	struct rpc *r = st->rpc;

	assert(!st->caller);
	if (st->state == STREAM_ORPHAN) {
		stream_adopt(st);
		stream_unref(st);
		return;
	}
	if (!c)
		return; /* its end was heard on this very stack */
	loop_assert(r->loop);
	assert(st->state == STREAM_OPEN);
	frame_end_pack(end, &r->scratch);
	const size_t head = r->scratch.n;
	if (!end->err) {
		fields_pack(st->m->reply ? st->m->reply : &message_empty, reply,
			    &r->scratch);
		if (r->scratch.n - head > rpc_max_reply(st->m)) {
			scratch_done(r);
			rpc_fail(st, ERR_LIMIT, "the reply is too large");
			return;
		}
	}
	rpc_time_drop(st);
	stream_stop_waiting(st);
	if (outbox_put(&c->box, &st->lane, FRAME_END, r->scratch.p,
		       r->scratch.n)) {
		stream_end(st);
	} else {
		st->state = STREAM_ENDING;
		chan_kick(c);
	}
	scratch_done(r);
}

void rpc_reply(struct rpc_stream *st, const void *reply)
{
	const struct frame_end end = {.err = OK};
	answer(st, &end, reply);
}

void rpc_fail(struct rpc_stream *st, enum err e, const char *fmt, ...)
{
	struct frame_end end = {.err = e ? e : ERR_INTERNAL};
	char text[2 * FRAME_TEXT_MAX] = "";

	if (fmt) {
		va_list ap;
		va_start(ap, fmt);
		vsnprintf(text, sizeof(text), fmt, ap);
		va_end(ap);
	}
	frame_text(end.text, text, strlen(text));
	answer(st, &end, NULL);
}

void rpc_cancel(struct rpc_stream *st)
{
	assert(st->caller);
	if (!st->chan)
		return; /* inside its own end */
	loop_assert(st->rpc->loop);
	/* No end for who cancels. */
	st->ops = (struct rpc_ops){0};
	st->state = STREAM_ENDING;
	stream_break(st, ERR_CANCELED, NULL);
}

void rpc_hold(struct rpc_stream *st, bool held)
{
	st->held = held;
	if (!held && st->chan)
		stream_grant(st);
}

/* Facts */

struct session *rpc_stream_session(struct rpc_stream *st)
{
	return st->chan ? st->chan->s : NULL;
}

const struct rpc_method *rpc_stream_method(struct rpc_stream *st)
{
	return st->m;
}

size_t rpc_streams(struct rpc *r, struct session *s)
{
	const struct chan *c = session_user(s);

	loop_assert(r->loop);
	return c ? c->nin + c->nout : 0;
}

const struct rpc_counters *rpc_counters(const struct rpc *r)
{
	return &r->counters;
}
