/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Two ends of rpc over a hub in memory, while their users call, send, hold,
 * cancel and answer and while records of any bytes arrive. The input is a row
 * of steps: one byte what, one byte its argument, and for a record its bytes.
 * At the end everything stops, and nothing may be left.
 */
#include "test/fuzz/fuzz.h"

#include "node/base/fields.h"
#include "node/base/loop.h"
#include "rpc/rpc.h"
#include "test/support/fake_hub.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define STEPS 64
#define STREAMS 8

struct blob {
	struct bytes data;
};
static const struct field blob_fields[] = {
    FIELD_BYTES(struct blob, data, 100000, "bytes"),
};
static const struct message blob_message =
    MESSAGE("blob", struct blob, blob_fields);

/* The streams that users hold, callers' and callees'. */
struct user {
	struct world *w;
	struct rpc_stream *st;
	bool caller, heard; /* heard: its callbacks are set */
	bool closed;	    /* no more chunks from it */
};

struct world {
	struct loop *loop;
	struct rpc *ends[2];
	struct user users[STREAMS];
	int stopped, rounds;
};

static void on_chunk(void *arg, struct rpc_stream *st, const void *msg)
{
	struct user *u = arg;
	const struct blob *b = msg;

	assert(u->st == st);
	/* What arrives chooses what its receiver does. */
	switch (b && b->data.n ? b->data.p[0] & 7 : 0) {
	case 1:
		u->st = NULL;
		if (u->caller)
			rpc_cancel(st);
		else
			rpc_fail(st, ERR_INPUT, "no %u", b->data.p[0]);
		break;
	case 2:
		rpc_hold(st, true);
		break;
	case 3:
		session_close(rpc_stream_session(st), ERR_IO, "enough");
		break;
	default:
		break;
	}
}

static void on_room(void *arg, struct rpc_stream *st)
{
	const struct user *u = arg;
	static const uint8_t bytes[9000];
	const struct blob b = {{bytes, sizeof(bytes)}};

	assert(u->st == st && !u->closed);
	(void)!rpc_send(st, &b);
}

static void on_end(void *arg, struct rpc_stream *st, enum err e,
		   const void *reply, const char *text)
{
	struct user *u = arg;

	(void)e;
	(void)text;
	assert(u->st == st);
	assert(!reply || u->caller);
	u->st = NULL;
}

static const struct rpc_ops ops = {on_chunk, on_room, on_end};

static struct user *user_free(struct world *w)
{
	for (size_t i = 0; i < STREAMS; i++) {
		if (!w->users[i].st)
			return &w->users[i];
	}
	return NULL;
}

static void take(struct rpc_stream *st, struct world *w, bool listen)
{
	struct user *u = user_free(w);

	if (!u) {
		rpc_fail(st, ERR_BUSY, NULL);
		return;
	}
	*u = (struct user){w, st, false, listen, false};
	if (listen)
		rpc_serve(st, &ops, u);
}

static void serve_echo(struct rpc_stream *st, const void *request, void *arg)
{
	(void)arg;
	rpc_reply(st, request);
}

static void serve_hear(struct rpc_stream *st, const void *request, void *arg)
{
	(void)request;
	take(st, arg, true);
}

static void serve_mute(struct rpc_stream *st, const void *request, void *arg)
{
	(void)request;
	take(st, arg, false);
}

static const struct rpc_method rows[] = {
    {.name = "e",
     .request = &blob_message,
     .reply = &blob_message,
     .max_request = 90000,
     .max_reply = 60000,
     .serve = serve_echo},
    {.name = "h",
     .reply = &blob_message,
     .up = &blob_message,
     .down = &blob_message,
     .max_chunk = 20000,
     .serve = serve_hear},
    {.name = "m", .up = &blob_message, .serve = serve_mute},
    /* Caps that a short input can break. */
    {.name = "s",
     .request = &blob_message,
     .reply = &blob_message,
     .up = &blob_message,
     .down = &blob_message,
     .max_request = 24,
     .max_chunk = 24,
     .max_reply = 24,
     .max_streams = 2,
     .serve = serve_hear},
    {0},
};

static enum err on_authorize(void *arg, struct session *s,
			     const struct rpc_method *m, struct buf *why)
{
	(void)arg;
	(void)s;
	(void)m;
	(void)why;
	return OK;
}

static void on_round(void *arg)
{
	struct world *w = arg;

	if (--w->rounds > 0)
		loop_post(w->loop, on_round, w);
	else
		loop_stop(w->loop);
}

/* Until posts have had their turns. */
static void run(struct world *w)
{
	w->rounds = 40;
	loop_post(w->loop, on_round, w);
	loop_run(w->loop);
}

static void call(struct world *w, uint8_t what)
{
	static const char *const names[] = {"e", "h", "m", "s"};
	static const uint8_t bytes[90000];
	struct user *u = user_free(w);
	const size_t n = (size_t)(what >> 3) * 2900;
	const struct blob q = {{bytes, n}};

	if (!u)
		return;
	*u = (struct user){w, NULL, true, true, false};
	struct rpc *r = w->ends[what & 1];
	(void)!rpc_call(r, fake_hub_session(rpc_hub(r)), names[(what >> 1) & 3],
			&q, 0, &ops, u, &u->st);
}

static void act(struct world *w, uint8_t what)
{
	static const uint8_t bytes[20000];
	struct user *u = &w->users[what % STREAMS];
	const struct blob b = {{bytes, (size_t)(what >> 3) * 600}};
	struct rpc_stream *st = u->st;

	if (!st)
		return;
	switch (what >> 6) {
	case 0:
		rpc_hold(st, what & 32);
		if (u->caller && (what & 24) == 24) {
			u->closed = true;
			rpc_send_end(st);
		}
		break;
	case 1:
		if (rpc_stream_method(st)->down && !u->closed) {
			/* Up to the window, so that room has to come. */
			for (int i = 0; i < 20 && !rpc_send(st, &b); i++)
				;
		} else if (u->caller && rpc_stream_method(st)->up) {
			u->closed = true;
			rpc_send_end(st);
		}
		break;
	case 2:
		u->st = NULL;
		if (u->caller)
			rpc_cancel(st);
		else
			rpc_fail(st, ERR_DEVICE, "%u", what);
		break;
	default:
		if (u->caller)
			break;
		u->st = NULL;
		rpc_reply(st, &b);
		break;
	}
}

static size_t step(struct world *w, const uint8_t *p, size_t n)
{
	struct session *s = fake_hub_session(rpc_hub(w->ends[p[0] >> 7]));

	switch (p[0] & 7) {
	case 0:
		call(w, p[1]);
		return 2;
	case 1:
		act(w, p[1]);
		return 2;
	case 2:
		run(w);
		return 2;
	case 3:
		if (s && p[1] & 2)
			fake_session_retire(s);
		else if (s)
			fake_session_stall(s, p[1] & 1);
		return 2;
	default: {
		/* A record; each block exactly its size. */
		size_t len = (size_t)p[1] * (p[0] & 4 ? 1 : 8);
		if (len > n - 2)
			len = n - 2;
		uint8_t *copy = xmemdup(p + 2, len);
		if (s)
			(void)!fake_session_inject(s, copy, len);
		free(copy);
		return 2 + len;
	}
	}
}

static void on_stopped(void *arg)
{
	struct world *w = arg;
	w->stopped++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct rpc_method *const tables[] = {rows};
	struct world w = {.loop = loop_new()};
	const struct rpc_options o = {.hub = {.loop = w.loop},
				      .tables = tables,
				      .ntables = 1,
				      .arg = &w,
				      .authorize = on_authorize};

	w.ends[0] = rpc_new(&o);
	w.ends[1] = rpc_new(&o);
	fake_hub_join(rpc_hub(w.ends[0]), rpc_hub(w.ends[1]));
	run(&w);
	for (int i = 0; i < STEPS && size >= 2; i++) {
		const size_t used = step(&w, data, size);
		data += used;
		size -= used;
	}
	for (int i = 0; i < 2; i++) {
		struct session *s = fake_hub_session(rpc_hub(w.ends[i]));
		if (s)
			fake_session_stall(s, false);
	}
	run(&w);
	rpc_stop(w.ends[0], on_stopped, &w);
	rpc_stop(w.ends[1], on_stopped, &w);
	run(&w);
	assert(w.stopped == 2);
	for (size_t i = 0; i < STREAMS; i++) {
		/* Only who never listened may still have to answer. */
		struct user *u = &w.users[i];
		assert(!u->st || !u->heard);
		if (u->st)
			rpc_fail(u->st, ERR_GONE, NULL);
	}
	const bool clean = loop_free(w.loop);
	assert(clean);
	return 0;
}
