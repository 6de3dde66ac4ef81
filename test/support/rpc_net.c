/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "test/support/rpc_net.h"

#include "node/base/mem.h"
#include "test/support/fake_hub.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct field num_fields[] = {
    FIELD_U64(struct num, v, 0, "a number"),
    FIELD_STR(struct num, text, 300, "a text"),
};
const struct message num_message = MESSAGE("num", struct num, num_fields);

static const struct field blob_fields[] = {
    FIELD_BYTES(struct blob, data, 1 << 20, "bytes"),
};
const struct message blob_message = MESSAGE("blob", struct blob, blob_fields);

static const struct field num2_fields[] = {
    FIELD_U64(struct num2, v, 0, "a number"),
    FIELD_STR(struct num2, text, 300, "a text"),
    FIELD_U64(struct num2, more, 0, "appended"),
};
const struct message num2_message = MESSAGE("num", struct num2, num2_fields);

bool net_in_api;
enum err net_api_err;

void side_feed(struct side *d)
{
	static uint8_t bytes[1 << 17];

	while (d->send_left) {
		const size_t n =
		    d->chunk < d->send_left ? d->chunk : d->send_left;
		const struct blob b = {{bytes, n}};
		const enum err e = TRY(rpc_send(d->st, &b));
		if (e == ERR_BUSY)
			return;
		assert_int_equal(e, OK);
		d->send_left -= n;
	}
	if (d->end_when_sent)
		API((rpc_send_end(d->st), 0));
	d->end_when_sent = false;
	if (d->reply_when_sent) {
		const struct num r = {.v = 77};
		API((rpc_reply(d->st, &r), 0));
		d->st = NULL;
	}
	d->reply_when_sent = false;
}

static void on_chunk(void *arg, struct rpc_stream *st, const void *msg)
{
	struct side *d = arg;
	const struct blob *b = msg;

	assert_false(net_in_api);
	assert_int_equal(d->ends, 0);
	if (!b) {
		d->eofs++;
		return;
	}
	d->chunks++;
	d->bytes += b->data.n;
	if (d->cancel_in_chunk) {
		API((rpc_cancel(st), 0));
		d->st = NULL;
	}
	if (d->fail_in_chunk) {
		API((rpc_fail(st, ERR_DEVICE, "chip %d", 3), 0));
		d->st = NULL;
	}
}

static void on_room(void *arg, struct rpc_stream *st)
{
	struct side *d = arg;

	(void)st;
	assert_false(net_in_api);
	d->rooms++;
	side_feed(d);
}

static void on_end(void *arg, struct rpc_stream *st, enum err e,
		   const void *reply, const char *text)
{
	struct side *d = arg;

	(void)st;
	assert_false(net_in_api);
	assert_int_equal(d->ends, 0);
	d->ends++;
	d->e = e;
	d->st = NULL;
	d->got_reply = reply != NULL;
	if (reply)
		d->v = ((const struct num *)reply)->v;
	d->no_text = !text;
	if (text)
		strncpy(d->text, text, sizeof(d->text) - 1);
	if (d->count)
		++*d->count;
	if (d->watch)
		d->seen = *d->watch;
}

const struct rpc_ops side_ops = {on_chunk, on_room, on_end};

/* Callee's methods; arg is the net. */

static void serve_add(struct rpc_stream *st, const void *request, void *arg)
{
	struct net *n = arg;
	const struct num *q = request;
	const struct num r = {.v = q->v + 1, .text = q->text};

	assert_false(net_in_api);
	n->served++;
	API((rpc_reply(st, &r), 0));
}

/* The same of the later version. */
static void serve_add2(struct rpc_stream *st, const void *request, void *arg)
{
	const struct num2 *q = request;
	const struct num2 r = {.v = q->v + 1, .more = q->more};

	(void)arg;
	API((rpc_reply(st, &r), 0));
}

static void serve_fail(struct rpc_stream *st, const void *request, void *arg)
{
	const struct num *q = request;

	(void)arg;
	API((rpc_fail(st, (enum err)q->v, "%s", q->text), 0));
}

/* Takes chunks and waits for what the test does with it. */
static void serve_wait(struct rpc_stream *st, const void *request, void *arg)
{
	struct net *n = arg;

	(void)request;
	n->served++;
	n->callee.st = st;
	API((rpc_serve(st, &side_ops, &n->callee), 0));
}

static void serve_mute(struct rpc_stream *st, const void *request, void *arg)
{
	struct net *n = arg;

	(void)request;
	n->served++;
	assert_true(n->nmute < HN_COUNT(n->mute));
	n->mute[n->nmute++] = st;
}

/* Streams v bytes down in chunks as the test set. */
static void serve_down(struct rpc_stream *st, const void *request, void *arg)
{
	struct net *n = arg;
	const struct num *q = request;

	n->callee.st = st;
	n->callee.send_left = q->v;
	if (!n->callee.chunk)
		n->callee.chunk = 16000;
	n->callee.reply_when_sent = true;
	API((rpc_serve(st, &side_ops, &n->callee), 0));
	side_feed(&n->callee);
}

static void serve_echo(struct rpc_stream *st, const void *request, void *arg)
{
	(void)arg;
	API((rpc_reply(st, request), 0));
}

#define ROW(n, rq, rp, u, d, s) \
	{ \
		.name = n, .version = 1, .right = RIGHT_MEMBER, .request = rq, \
		.reply = rp, .up = u, .down = d, .serve = s, .doc = "a test", \
		.max_streams = 2000, .max_chunk = 65536 + 8 \
	}

const struct rpc_method callee_rows[] = {
    ROW("t.add", &num_message, &num_message, NULL, NULL, serve_add),
    ROW("t.fail", &num_message, NULL, NULL, NULL, serve_fail),
    ROW("t.wait", NULL, &num_message, &blob_message, &blob_message, serve_wait),
    ROW("t.mute", NULL, &num_message, &blob_message, NULL, serve_mute),
    ROW("t.down", &num_message, &num_message, NULL, &blob_message, serve_down),
    {.name = "t.echo",
     .request = &blob_message,
     .reply = &blob_message,
     .max_request = 200000,
     .max_reply = 200000,
     .serve = serve_echo},
    {.name = "t.owner", .right = RIGHT_OWNER, .serve = serve_mute},
    {.name = "t.two", .max_streams = 2, .serve = serve_mute},
    {.name = "t.small",
     .request = &blob_message,
     .up = &blob_message,
     .down = &blob_message,
     .max_request = 1000,
     .max_chunk = 1000,
     .max_reply = 1000,
     .serve = serve_wait},
    {.name = "t.bigreply",
     .reply = &blob_message,
     .max_reply = 200000,
     .serve = serve_mute},
    {0},
};

const size_t callee_rows_count = HN_COUNT(callee_rows) - 1;

const struct rpc_method caller_rows[] = {
    ROW("t.add", &num2_message, &num2_message, NULL, NULL, serve_add2),
    ROW("t.fail", &num_message, NULL, NULL, NULL, serve_fail),
    ROW("t.wait", NULL, &num_message, &blob_message, &blob_message, serve_wait),
    ROW("t.mute", NULL, &num_message, &blob_message, NULL, serve_mute),
    ROW("t.down", &num_message, &num_message, NULL, &blob_message, serve_down),
    {.name = "t.echo",
     .request = &blob_message,
     .reply = &blob_message,
     .max_request = 200000,
     .max_reply = 200000,
     .serve = serve_echo},
    {.name = "t.owner", .serve = serve_mute},
    {.name = "t.two", .max_streams = 100, .serve = serve_mute},
    {.name = "t.small",
     .request = &blob_message,
     .up = &blob_message,
     .down = &blob_message,
     .max_request = 100000,
     .max_chunk = 100000,
     .serve = serve_mute},
    {.name = "t.bigreply",
     .reply = &blob_message,
     .max_reply = 20000,
     .serve = serve_mute},
    {.name = "t.future", .serve = serve_mute},
    {0},
};

static enum err on_authorize(void *arg, struct session *s,
			     const struct rpc_method *m, struct buf *why)
{
	const struct net *n = arg;

	assert_non_null(s);
	if (m->right != RIGHT_OWNER || strcmp(m->name, "t.owner"))
		return OK;
	if (n->denied_says)
		buf_add_str(why, "only the owner");
	return ERR_DENIED;
}

static void on_up(void *arg, struct session *s)
{
	struct net *n = arg;
	if (session_dialled(s))
		n->s = s;
}

static void on_down(void *arg, struct session *s, enum err why,
		    const char *text, bool dup)
{
	struct net *n = arg;

	(void)why;
	(void)text;
	(void)dup;
	n->downs++;
	if (s == n->s)
		n->s = NULL;
}

/* Running */

struct wait {
	struct net *n;
	const int *count;
	int want;
	uint64_t until;
	int rounds;
};

static void on_round(void *arg)
{
	struct wait *w = arg;

	if (w->rounds ? !--w->rounds : *w->count >= w->want) {
		loop_stop(w->n->loop);
		return;
	}
	assert_true(clock_ns() < w->until);
	loop_post(w->n->loop, on_round, w);
}

void net_until(struct net *n, const int *count, int want)
{
	struct wait w = {n, count, want, clock_ns() + 20000000000u, 0};
	loop_post(n->loop, on_round, &w);
	loop_run(n->loop);
	assert_true(*count >= want);
}

void net_settle(struct net *n)
{
	struct wait w = {n, NULL, 0, clock_ns() + 20000000000u, 200};
	loop_post(n->loop, on_round, &w);
	loop_run(n->loop);
}

struct rpc *net_rpc(struct net *n, const struct rpc_method *rows)
{
	const struct rpc_method *const tables[] = {rows};
	const struct rpc_options o = {
	    .hub = {.loop = n->loop},
	    .tables = tables,
	    .ntables = 1,
	    .arg = n,
	    .authorize = on_authorize,
	    .up = on_up,
	    .down = on_down,
	    .max_streams = 1500,
	};
	return rpc_new(&o);
}

int net_setup(void **state)
{
	struct net *n = HN_NEW(struct net);

	n->loop = loop_new();
	n->a = net_rpc(n, caller_rows);
	n->b = net_rpc(n, callee_rows);
	fake_hub_join(rpc_hub(n->a), rpc_hub(n->b));
	net_settle(n);
	assert_non_null(n->s);
	*state = n;
	return 0;
}

void net_on_stopped(void *arg)
{
	struct net *n = arg;
	n->stopped++;
}

int net_teardown(void **state)
{
	struct net *n = *state;

	rpc_stop(n->a, net_on_stopped, n);
	rpc_stop(n->b, net_on_stopped, n);
	net_until(n, &n->stopped, 2);
	/* Who serves without callbacks answers some day, even after the stop.
	 */
	while (n->nmute)
		API((rpc_fail(n->mute[--n->nmute], ERR_GONE, NULL), 0));
	assert_true(loop_free(n->loop));
	free(n);
	return 0;
}

enum err net_call(struct net *n, const char *method, const void *request,
		  uint32_t timeout, struct side *d)
{
	d->count = &n->ended;
	return TRY(rpc_call(n->a, n->s, method, request, timeout, &side_ops, d,
			    &d->st));
}

struct session *net_callee(struct net *n)
{
	return fake_hub_session(rpc_hub(n->b));
}

void net_quiet(struct net *n)
{
	assert_int_equal(rpc_streams(n->a, n->s), 0);
	assert_int_equal(rpc_streams(n->b, net_callee(n)), 0);
	assert_int_equal(fake_session_stats(n->s).outstanding, 0);
	assert_int_equal(fake_session_stats(net_callee(n)).outstanding, 0);
}
