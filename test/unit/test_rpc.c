/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Two ends of rpc over a hub in memory (test/support/fake_hub.h). The ends
 * have tables of their own, so that they can disagree about a row.
 */
#include "rpc/rpc.h"

#include "node/base/log.h"
#include "rpc/frame.h"
#include "test/support/fake_hub.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Messages */

struct num {
	uint64_t v;
	char *text;
};
static const struct field num_fields[] = {
    FIELD_U64(struct num, v, 0, "a number"),
    FIELD_STR(struct num, text, 300, "a text"),
};
static const struct message num_message =
    MESSAGE("num", struct num, num_fields);

struct blob {
	struct bytes data;
};
static const struct field blob_fields[] = {
    FIELD_BYTES(struct blob, data, 1 << 20, "bytes"),
};
static const struct message blob_message =
    MESSAGE("blob", struct blob, blob_fields);

/* A later version of num, with a field more. */
struct num2 {
	uint64_t v;
	char *text;
	uint64_t more;
};
static const struct field num2_fields[] = {
    FIELD_U64(struct num2, v, 0, "a number"),
    FIELD_STR(struct num2, text, 300, "a text"),
    FIELD_U64(struct num2, more, 0, "appended"),
};
static const struct message num2_message =
    MESSAGE("num", struct num2, num2_fields);

/* What a callee keeps of a stream; also what a caller does. */
struct side {
	struct rpc_stream *st;
	int ends, chunks, eofs, rooms;
	enum err e;
	uint64_t v;
	size_t bytes;
	char text[FRAME_TEXT_MAX + 1];
	bool no_text, got_reply;
	/* behaviour */
	uint64_t send_left; /* bytes to stream out */
	size_t chunk;	    /* of this size */
	bool reply_when_sent, end_when_sent, cancel_in_chunk, fail_in_chunk;
	int *count;	     /* counted up at the end */
	const size_t *watch; /* read at the end into seen: loop_run goes on */
	size_t seen;
};

struct net {
	struct loop *loop;
	struct rpc *a, *b; /* caller, callee */
	struct session *s; /* a's */
	struct side callee;
	bool denied_says;
	int served, downs, stopped, ended;
	struct rpc_stream *mute[8]; /* not answered yet */
	size_t nmute;
};

/* A callback inside the call that caused it is what must not be. */
static bool in_api;
#define API(x) (in_api = true, (void)(x), in_api = false)

static enum err api_err;
#define TRY(x) (in_api = true, api_err = (x), in_api = false, api_err)

static void feed(struct side *d)
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

	assert_false(in_api);
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
	assert_false(in_api);
	d->rooms++;
	feed(d);
}

static void on_end(void *arg, struct rpc_stream *st, enum err e,
		   const void *reply, const char *text)
{
	struct side *d = arg;

	(void)st;
	assert_false(in_api);
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

static const struct rpc_ops side_ops = {on_chunk, on_room, on_end};

/* Callee's methods; arg is the net. */

static void serve_add(struct rpc_stream *st, const void *request, void *arg)
{
	struct net *n = arg;
	const struct num *q = request;
	const struct num r = {.v = q->v + 1, .text = q->text};

	assert_false(in_api);
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
	feed(&n->callee);
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

static const struct rpc_method callee_rows[] = {
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

static const struct rpc_method caller_rows[] = {
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

/* Until *count is at least want; fails after 20 s. */
static void run_until(struct net *n, const int *count, int want)
{
	struct wait w = {n, count, want, clock_ns() + 20000000000u, 0};
	loop_post(n->loop, on_round, &w);
	loop_run(n->loop);
	assert_true(*count >= want);
}

/* Long enough for anything that only needs posts. */
static void settle(struct net *n)
{
	struct wait w = {n, NULL, 0, clock_ns() + 20000000000u, 200};
	loop_post(n->loop, on_round, &w);
	loop_run(n->loop);
}

static struct rpc *make(struct net *n, const struct rpc_method *rows)
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

static int setup(void **state)
{
	struct net *n = HN_NEW(struct net);

	n->loop = loop_new();
	n->a = make(n, caller_rows);
	n->b = make(n, callee_rows);
	fake_hub_join(rpc_hub(n->a), rpc_hub(n->b));
	settle(n);
	assert_non_null(n->s);
	*state = n;
	return 0;
}

static void on_stopped(void *arg)
{
	struct net *n = arg;
	n->stopped++;
}

static int teardown(void **state)
{
	struct net *n = *state;

	rpc_stop(n->a, on_stopped, n);
	rpc_stop(n->b, on_stopped, n);
	run_until(n, &n->stopped, 2);
	/* Who serves without callbacks answers some day, even after the stop.
	 */
	while (n->nmute)
		API((rpc_fail(n->mute[--n->nmute], ERR_GONE, NULL), 0));
	assert_true(loop_free(n->loop));
	free(n);
	return 0;
}

static enum err call(struct net *n, const char *method, const void *request,
		     uint32_t timeout, struct side *d)
{
	d->count = &n->ended;
	return TRY(rpc_call(n->a, n->s, method, request, timeout, &side_ops, d,
			    &d->st));
}

static struct session *callee_session(struct net *n)
{
	return fake_hub_session(rpc_hub(n->b));
}

/* Nothing is left of any stream on either side. */
static void assert_quiet(struct net *n)
{
	assert_int_equal(rpc_streams(n->a, n->s), 0);
	assert_int_equal(rpc_streams(n->b, callee_session(n)), 0);
	assert_int_equal(fake_session_stats(n->s).outstanding, 0);
}

/* Tests */

static void test_call_gets_its_reply(void **state)
{
	struct net *n = *state;
	struct side d = {0};
	const struct num2 q = {.v = 41, .text = (char *)"hello", .more = 5};

	assert_int_equal(call(n, "t.add", &q, 0, &d), OK);
	assert_int_equal(d.ends, 0);
	run_until(n, &d.ends, 1);
	assert_int_equal(d.e, OK);
	assert_true(d.got_reply);
	assert_int_equal(d.v, 42);
	assert_int_equal(n->served, 1);
	assert_int_equal(rpc_counters(n->a)->calls_out, 1);
	assert_int_equal(rpc_counters(n->b)->calls_in, 1);
	assert_quiet(n);
}

static void test_small_calls_of_a_round_share_a_record(void **state)
{
	struct net *n = *state;
	struct side d[50] = {0};
	const struct num2 q = {.v = 1};

	for (size_t i = 0; i < HN_COUNT(d); i++)
		assert_int_equal(call(n, "t.add", &q, 0, &d[i]), OK);
	run_until(n, &n->ended, HN_COUNT(d));
	assert_int_equal(fake_session_stats(n->s).records, 1);
	assert_quiet(n);
}

static void test_errors_come_typed_with_their_text(void **state)
{
	struct net *n = *state;
	struct side d = {0}, plain = {0};
	struct num q = {.v = ERR_DEVICE, .text = (char *)"fan 3 stands"};

	assert_int_equal(call(n, "t.fail", &q, 0, &d), OK);
	q = (struct num){.v = ERR_EXPIRED, .text = (char *)""};
	assert_int_equal(call(n, "t.fail", &q, 0, &plain), OK);
	run_until(n, &n->ended, 2);
	assert_int_equal(d.e, ERR_DEVICE);
	assert_string_equal(d.text, "fan 3 stands");
	assert_false(d.got_reply);
	assert_int_equal(plain.e, ERR_EXPIRED);
	assert_true(plain.no_text);
	assert_int_equal(rpc_counters(n->a)->errors_in, 2);
}

static void test_long_text_is_cut(void **state)
{
	struct net *n = *state;
	struct side d = {0};
	char text[301];
	const struct num q = {.v = ERR_INPUT, .text = text};

	memset(text, 'x', 300);
	text[300] = 0;
	assert_int_equal(call(n, "t.fail", &q, 0, &d), OK);
	run_until(n, &d.ends, 1);
	assert_int_equal(strlen(d.text), FRAME_TEXT_MAX);
}

static void test_unknown_method_is_said_cleanly(void **state)
{
	struct net *n = *state;
	struct side d = {0}, e = {0};
	const struct num2 q = {.v = 1};

	assert_int_equal(call(n, "t.nowhere", NULL, 0, &d), ERR_NOMETHOD);
	assert_int_equal(call(n, "t.future", NULL, 0, &d), OK);
	run_until(n, &d.ends, 1);
	assert_int_equal(d.e, ERR_NOMETHOD);
	assert_string_equal(d.text, "no method t.future here");
	assert_int_equal(rpc_counters(n->b)->unknown_method, 1);
	/* The session lives. */
	assert_int_equal(call(n, "t.add", &q, 0, &e), OK);
	run_until(n, &e.ends, 1);
	assert_int_equal(e.e, OK);
}

static void test_denied_before_serving(void **state)
{
	struct net *n = *state;
	struct side d = {0};

	n->denied_says = true;
	assert_int_equal(call(n, "t.owner", NULL, 0, &d), OK);
	run_until(n, &d.ends, 1);
	assert_int_equal(d.e, ERR_DENIED);
	assert_string_equal(d.text, "only the owner");
	assert_int_equal(n->served, 0);
	assert_int_equal(rpc_counters(n->b)->denied, 1);
}

static void test_long_messages_are_put_together(void **state)
{
	struct net *n = *state;
	static const size_t sizes[] = {0,     1,     16000,  FRAME_PAYLOAD,
				       16500, 65536, 150000, 199990};
	uint8_t *data = xcalloc(1, 200000);

	for (size_t i = 0; i < HN_COUNT(sizes); i++) {
		struct side d = {0};
		const struct blob q = {{data, sizes[i]}};
		assert_int_equal(call(n, "t.echo", &q, 0, &d), OK);
		run_until(n, &d.ends, 1);
		assert_int_equal(d.e, OK);
		assert_true(d.got_reply);
	}
	assert_true(fake_session_stats(n->s).biggest_record <= SESSION_RECORD);
	assert_quiet(n);
	free(data);
}

static void test_oversized_request_is_refused_on_both_sides(void **state)
{
	struct net *n = *state;
	struct side d = {0}, one = {0}, many = {0}, after = {0};
	uint8_t *data = xcalloc(1, 300000);
	struct blob q = {{data, 250000}};
	const struct num2 p = {.v = 1};

	assert_int_equal(call(n, "t.echo", &q, 0, &d), ERR_LIMIT);
	q.data.n = 1100; /* in one frame */
	assert_int_equal(call(n, "t.small", &q, 0, &one), OK);
	q.data.n = 90000; /* in many */
	assert_int_equal(call(n, "t.small", &q, 0, &many), OK);
	run_until(n, &n->ended, 2);
	assert_int_equal(one.e, ERR_LIMIT);
	assert_int_equal(many.e, ERR_LIMIT);
	assert_int_equal(n->served, 0);
	assert_int_equal(call(n, "t.add", &p, 0, &after), OK);
	run_until(n, &after.ends, 1);
	assert_int_equal(after.e, OK);
	assert_quiet(n);
	free(data);
}

static void test_oversized_chunk_ends_the_stream(void **state)
{
	struct net *n = *state;
	uint8_t *data = xcalloc(1, 300000);
	struct blob b = {{data, 0}};

	for (int many = 0; many < 2; many++) {
		struct side d = {0};
		n->callee = (struct side){0};
		n->ended = 0;
		assert_int_equal(call(n, "t.small", &b, 0, &d), OK);
		settle(n);
		struct blob c = {{data, 200000}};
		assert_int_equal(TRY(rpc_send(d.st, &c)), ERR_LIMIT);
		c.data.n = many ? 90000 : 1100;
		assert_int_equal(TRY(rpc_send(d.st, &c)), OK);
		run_until(n, &d.ends, 1);
		assert_int_equal(d.e, ERR_LIMIT);
		assert_int_equal(n->callee.ends, 1);
		assert_int_equal(n->callee.e, ERR_LIMIT);
		assert_int_equal(n->callee.chunks, 0);
		settle(n);
		assert_quiet(n);
	}
	free(data);
}

static void test_oversized_reply_is_an_error_at_both(void **state)
{
	struct net *n = *state;
	struct side d = {0}, e = {0};
	uint8_t *data = xcalloc(1, 300000);
	struct blob b = {{data, 250000}};

	/* Over the callee's own cap: it says so. */
	assert_int_equal(call(n, "t.bigreply", NULL, 0, &d), OK);
	settle(n);
	API((rpc_reply(n->mute[--n->nmute], &b), 0));
	run_until(n, &d.ends, 1);
	assert_int_equal(d.e, ERR_LIMIT);
	/* Over the caller's. */
	assert_int_equal(call(n, "t.bigreply", NULL, 0, &e), OK);
	settle(n);
	b.data.n = 150000;
	API((rpc_reply(n->mute[--n->nmute], &b), 0));
	run_until(n, &e.ends, 1);
	assert_int_equal(e.e, ERR_LIMIT);
	settle(n);
	assert_quiet(n);
	free(data);
}

static void test_stream_down_arrives_whole_and_bounded(void **state)
{
	struct net *n = *state;
	static const size_t chunks[] = {100, 1000, 16000, 65536};

	for (size_t i = 0; i < HN_COUNT(chunks); i++) {
		struct side d = {0};
		const struct num q = {.v = 5000000};
		n->callee = (struct side){.chunk = chunks[i]};
		assert_int_equal(call(n, "t.down", &q, 0, &d), OK);
		run_until(n, &d.ends, 1);
		assert_int_equal(d.e, OK);
		assert_int_equal(d.v, 77);
		assert_int_equal(d.bytes, 5000000);
	}
	const struct fake_stats st = fake_session_stats(callee_session(n));
	assert_true(st.most_queued < 2 * FRAME_WINDOW);
	assert_quiet(n);
}

static void test_stream_up_arrives_whole(void **state)
{
	struct net *n = *state;
	struct side d = {
	    .send_left = 3000000, .chunk = 16000, .end_when_sent = true};
	const struct num r = {.v = 9};

	assert_int_equal(call(n, "t.wait", NULL, 0, &d), OK);
	feed(&d);
	run_until(n, &n->callee.eofs, 1);
	assert_int_equal(n->callee.bytes, 3000000);
	API((rpc_reply(n->callee.st, &r), 0));
	run_until(n, &d.ends, 1);
	assert_int_equal(d.v, 9);
	assert_true(d.rooms > 0);
	assert_quiet(n);
}

static void test_held_stream_stops_its_sender(void **state)
{
	struct net *n = *state;
	struct side d = {0};
	const struct num q = {.v = 5000000};

	n->callee.chunk = 10000;
	assert_int_equal(call(n, "t.down", &q, 0, &d), OK);
	API((rpc_hold(d.st, true), 0));
	settle(n);
	settle(n);
	/* The window and not more. */
	assert_true(d.bytes <= FRAME_WINDOW);
	assert_true(d.bytes > FRAME_WINDOW - 20000);
	assert_int_equal(d.ends, 0);
	API((rpc_hold(d.st, false), 0));
	run_until(n, &d.ends, 1);
	assert_int_equal(d.bytes, 5000000);
}

static void test_stalled_link_stops_the_sender_and_goes_on(void **state)
{
	struct net *n = *state;
	struct side d = {0};
	const struct num q = {.v = 5000000};
	struct session *s = callee_session(n);

	fake_session_stall(s, true);
	assert_int_equal(call(n, "t.down", &q, 0, &d), OK);
	settle(n);
	assert_int_equal(d.bytes, 0);
	assert_true(session_queued(s) <= SESSION_HIGH + FRAME_CHUNK_MAX);
	assert_true(n->callee.send_left > 4000000);
	fake_session_stall(s, false);
	run_until(n, &d.ends, 1);
	assert_int_equal(d.bytes, 5000000);
}

static void test_no_room_after_the_last_chunk(void **state)
{
	struct net *n = *state;
	struct side d = {.send_left = 300000, .chunk = 16000};
	struct session *s = callee_session(n);
	const struct num q = {.v = 300000}, r = {.v = 5};
	struct side down = {0};

	/* The link is full: both wait for room, and then say their last. */
	fake_session_stall(n->s, true);
	assert_int_equal(call(n, "t.wait", NULL, 0, &d), OK);
	feed(&d);
	assert_true(d.send_left > 0);
	API((rpc_send_end(d.st), 0));
	fake_session_stall(n->s, false);
	run_until(n, &n->callee.eofs, 1);
	assert_int_equal(d.rooms, 0);
	API((rpc_cancel(d.st), 0));
	settle(n);

	n->callee = (struct side){0};
	fake_session_stall(s, true);
	assert_int_equal(call(n, "t.down", &q, 0, &down), OK);
	settle(n);
	assert_true(n->callee.send_left > 0);
	API((rpc_reply(n->callee.st, &r), 0));
	fake_session_stall(s, false);
	run_until(n, &down.ends, 1);
	assert_int_equal(down.v, 5);
	assert_int_equal(n->callee.rooms, 0);
	assert_quiet(n);
}

static void test_small_call_passes_by_a_bulk_stream(void **state)
{
	struct net *n = *state;
	struct side bulk = {.send_left = 1000000, .chunk = 16000};
	struct side d = {.watch = &n->callee.bytes};
	const struct num2 q = {.v = 1};

	assert_int_equal(call(n, "t.wait", NULL, 0, &bulk), OK);
	settle(n);
	feed(&bulk);
	const size_t before = session_queued(n->s);
	assert_true(before > SESSION_LOW);
	assert_int_equal(call(n, "t.add", &q, 0, &d), OK);
	/* It is with the session, not behind what bulk has to send. */
	assert_true(session_queued(n->s) > before);
	run_until(n, &d.ends, 1);
	assert_true(d.seen > 0);
	assert_true(d.seen <= FRAME_WINDOW);
	API((rpc_cancel(bulk.st), 0));
	settle(n);
	assert_quiet(n);
}

static void test_bulk_streams_share_the_link(void **state)
{
	struct net *n = *state;
	struct side d[4] = {0};
	uint8_t *data = xcalloc(1, 200000);
	const struct blob big = {{data, 199000}};

	/* Long requests beside each other end together, not one by one. */
	for (int i = 0; i < 4; i++)
		assert_int_equal(call(n, "t.echo", &big, 0, &d[i]), OK);
	run_until(n, &n->ended, 4);
	for (int i = 0; i < 4; i++)
		assert_int_equal(d[i].e, OK);
	assert_quiet(n);
	free(data);
}

static void test_cancel_reaches_the_callee(void **state)
{
	struct net *n = *state;
	struct side d = {0};

	assert_int_equal(call(n, "t.wait", NULL, 0, &d), OK);
	settle(n);
	assert_non_null(n->callee.st);
	API((rpc_cancel(d.st), 0));
	run_until(n, &n->callee.ends, 1);
	assert_int_equal(n->callee.e, ERR_CANCELED);
	settle(n);
	assert_int_equal(d.ends, 0); /* who cancels hears nothing */
	assert_quiet(n);
}

static void test_cancel_before_anything_was_sent(void **state)
{
	struct net *n = *state;
	struct side d = {0}, e = {0};
	uint8_t *data = xcalloc(1, 200000);
	const struct blob big = {{data, 199000}};
	const struct num2 q = {.v = 1};

	fake_session_stall(n->s, true);
	assert_int_equal(call(n, "t.echo", &big, 0, &d), OK);
	API((rpc_cancel(d.st), 0));
	assert_int_equal(call(n, "t.echo", &big, 0, &d), OK);
	settle(n); /* part of it is with the session */
	API((rpc_cancel(d.st), 0));
	fake_session_stall(n->s, false);
	assert_int_equal(call(n, "t.add", &q, 0, &e), OK);
	run_until(n, &e.ends, 1);
	assert_int_equal(e.e, OK);
	assert_int_equal(d.ends, 0);
	settle(n);
	assert_quiet(n);
	free(data);
}

static void test_cancel_and_fail_inside_callbacks(void **state)
{
	struct net *n = *state;
	struct side d = {.cancel_in_chunk = true};
	struct side up = {.send_left = 200000, .chunk = 10000};
	const struct num q = {.v = 1000000};

	assert_int_equal(call(n, "t.down", &q, 0, &d), OK);
	run_until(n, &n->callee.ends, 1);
	assert_int_equal(n->callee.e, ERR_CANCELED);
	assert_int_equal(d.chunks, 1);
	assert_int_equal(d.ends, 0);

	n->callee = (struct side){.fail_in_chunk = true};
	assert_int_equal(call(n, "t.wait", NULL, 0, &up), OK);
	feed(&up);
	run_until(n, &up.ends, 1);
	assert_int_equal(up.e, ERR_DEVICE);
	assert_string_equal(up.text, "chip 3");
	assert_int_equal(n->callee.chunks, 1);
	assert_int_equal(n->callee.ends, 0);
	settle(n);
	assert_quiet(n);
}

static void test_end_crosses_a_cancel(void **state)
{
	struct net *n = *state;
	struct side d = {0};
	const struct num r = {.v = 1};

	assert_int_equal(call(n, "t.wait", NULL, 0, &d), OK);
	settle(n);
	API((rpc_reply(n->callee.st, &r), 0));
	API((rpc_cancel(d.st), 0));
	settle(n);
	assert_int_equal(d.ends, 0);
	assert_int_equal(n->callee.ends, 0);
	assert_non_null(n->s);
	assert_true(session_is_up(n->s));
	assert_quiet(n);
}

static void test_deadline_ends_both_sides(void **state)
{
	struct net *n = *state;
	struct side d = {0};

	assert_int_equal(call(n, "t.wait", NULL, 20, &d), OK);
	settle(n);
	assert_non_null(n->callee.st);
	assert_true(rpc_stream_deadline(n->callee.st) > 0);
	run_until(n, &d.ends, 1);
	run_until(n, &n->callee.ends, 1);
	assert_int_equal(d.e, ERR_TIMEOUT);
	assert_int_equal(n->callee.e, ERR_TIMEOUT);
	settle(n);
	assert_quiet(n);
}

static void test_callee_keeps_the_deadline_alone(void **state)
{
	struct net *n = *state;
	struct side d = {0};

	/* The caller's cancel never arrives. */
	assert_int_equal(call(n, "t.wait", NULL, 20, &d), OK);
	settle(n);
	fake_session_stall(n->s, true);
	run_until(n, &n->callee.ends, 1);
	assert_int_equal(n->callee.e, ERR_TIMEOUT);
	run_until(n, &d.ends, 1);
	assert_int_equal(d.e, ERR_TIMEOUT);
	fake_session_stall(n->s, false);
	settle(n);
	assert_quiet(n);
}

static void test_deadlines_in_any_order(void **state)
{
	struct net *n = *state;
	struct side d[5] = {0};
	static const uint32_t ms[] = {60, 5, 40, 1, 20};

	for (int i = 0; i < 5; i++)
		assert_int_equal(call(n, "t.mute", NULL, ms[i], &d[i]), OK);
	run_until(n, &d[3].ends, 1);
	assert_int_equal(d[0].ends, 0);
	run_until(n, &d[4].ends, 1);
	assert_int_equal(d[1].ends, 1);
	assert_int_equal(d[0].ends, 0);
	run_until(n, &n->ended, 5);
	for (int i = 0; i < 5; i++)
		assert_int_equal(d[i].e, ERR_TIMEOUT);
	settle(n);
	assert_quiet(n);
	assert_int_equal(rpc_counters(n->a)->deadline, 5);
}

static void test_callee_without_ops_answers_late(void **state)
{
	struct net *n = *state;
	struct side d = {0};
	const struct num r = {.v = 1};

	assert_int_equal(call(n, "t.mute", NULL, 0, &d), OK);
	settle(n);
	API((rpc_cancel(d.st), 0));
	settle(n);
	assert_null(rpc_stream_session(n->mute[0]));
	assert_quiet(n);
	API((rpc_reply(n->mute[--n->nmute], &r), 0)); /* frees it: no leak */
	/* And one that asks only now: its end comes. */
	assert_int_equal(call(n, "t.mute", NULL, 0, &d), OK);
	settle(n);
	API((rpc_cancel(d.st), 0));
	settle(n);
	API((rpc_serve(n->mute[--n->nmute], &side_ops, &n->callee), 0));
	run_until(n, &n->callee.ends, 1);
	assert_int_equal(n->callee.e, ERR_CANCELED);
}

static void test_busy_at_the_method_cap(void **state)
{
	struct net *n = *state;
	struct side d[3] = {0};

	for (int i = 0; i < 3; i++)
		assert_int_equal(call(n, "t.two", NULL, 0, &d[i]), OK);
	run_until(n, &n->ended, 1);
	assert_int_equal(d[2].e, ERR_BUSY);
	assert_int_equal(rpc_counters(n->b)->busy, 1);
	/* A place that is free again is used. */
	API((rpc_fail(n->mute[--n->nmute], ERR_GONE, "enough"), 0));
	run_until(n, &n->ended, 2);
	d[2] = (struct side){0};
	assert_int_equal(call(n, "t.two", NULL, 0, &d[2]), OK);
	settle(n);
	assert_int_equal(d[2].ends, 0);
	for (int i = 0; i < 3; i++) {
		if (!d[i].ends)
			API((rpc_cancel(d[i].st), 0));
	}
	settle(n);
}

static void test_busy_at_the_session_cap(void **state)
{
	struct net *n = *state;
	struct side *d = xcalloc(1501, sizeof(*d));
	const struct num2 q = {.v = 1};
	enum err e = OK;
	int i;

	for (i = 0; i < 1500; i++)
		assert_int_equal(call(n, "t.add", &q, 0, &d[i]), OK);
	e = call(n, "t.add", &q, 0, &d[i]);
	assert_int_equal(e, ERR_BUSY);
	run_until(n, &n->ended, 1500);
	assert_int_equal(d[1500].ends, 0);
	assert_quiet(n);
	free(d);
}

static void test_a_thousand_calls_at_once(void **state)
{
	struct net *n = *state;
	struct side *d = xcalloc(1000, sizeof(*d));

	for (int i = 0; i < 1000; i++) {
		const struct num2 q = {.v = (uint64_t)i};
		assert_int_equal(call(n, "t.add", &q, 5000, &d[i]), OK);
	}
	run_until(n, &n->ended, 1000);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(d[i].e, OK);
		assert_int_equal(d[i].v, i + 1);
	}
	assert_int_equal(n->served, 1000);
	assert_quiet(n);
	free(d);
}

static void test_calls_both_ways_on_one_session(void **state)
{
	struct net *n = *state;
	struct side d = {0}, back = {.count = &n->ended};
	const struct num2 q = {.v = 1};
	const struct num p = {.v = 10};

	assert_int_equal(call(n, "t.add", &q, 0, &d), OK);
	assert_int_equal(TRY(rpc_call(n->b, callee_session(n), "t.add", &p, 0,
				      &side_ops, &back, NULL)),
			 OK);
	run_until(n, &n->ended, 2);
	assert_int_equal(d.v, 2);
	assert_int_equal(back.v, 11);
}

static void test_lost_session_ends_all_its_streams(void **state)
{
	struct net *n = *state;
	struct side d[3] = {0};

	assert_int_equal(call(n, "t.wait", NULL, 0, &d[0]), OK);
	assert_int_equal(call(n, "t.mute", NULL, 1000, &d[1]), OK);
	settle(n);
	assert_int_equal(call(n, "t.wait", NULL, 0, &d[2]), OK);
	struct session *s = n->s;
	fake_session_cut(s);
	struct side late = {0};
	assert_int_equal(call(n, "t.wait", NULL, 0, &late), ERR_GONE);
	run_until(n, &n->downs, 2);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(d[i].ends, 1);
		assert_int_equal(d[i].e, ERR_GONE);
	}
	assert_int_equal(n->callee.ends, 1);
	assert_int_equal(n->callee.e, ERR_GONE);
	assert_int_equal(TRY(rpc_call(n->a, NULL, "t.wait", NULL, 0, &side_ops,
				      &late, NULL)),
			 ERR_GONE);
}

static void test_retiring_session_ends_with_its_last_stream(void **state)
{
	struct net *n = *state;
	struct side d = {0}, e = {0};
	const struct num r = {.v = 4};

	assert_int_equal(call(n, "t.wait", NULL, 0, &d), OK);
	settle(n);
	fake_session_retire(n->s);
	assert_int_equal(call(n, "t.wait", NULL, 0, &e), ERR_GONE);
	settle(n);
	assert_int_equal(n->downs, 0);
	API((rpc_reply(n->callee.st, &r), 0));
	run_until(n, &d.ends, 1);
	assert_int_equal(d.e, OK);
	run_until(n, &n->downs, 2);
}

static void test_idle_session_that_retires_is_closed(void **state)
{
	struct net *n = *state;
	struct session *old = n->s;

	fake_hub_join(rpc_hub(n->a), rpc_hub(n->b));
	settle(n);
	assert_ptr_not_equal(n->s, old);
	fake_session_retire(old);
	run_until(n, &n->downs, 2);
	assert_true(session_is_up(n->s));
}

static void test_stop_ends_streams(void **state)
{
	struct net *n = *state;
	struct side d = {0};

	assert_int_equal(call(n, "t.wait", NULL, 0, &d), OK);
	settle(n);
	rpc_stop(n->b, on_stopped, n);
	run_until(n, &n->stopped, 1);
	run_until(n, &d.ends, 1);
	assert_int_equal(d.e, ERR_GONE);
	assert_int_equal(n->callee.ends, 1);
	n->stopped = 0;
	n->b = make(n, callee_rows); /* for the teardown */
}

/* Bytes as a peer of ours would not send them. */

static size_t raw(uint8_t *out, unsigned kind, unsigned flags, uint32_t stream,
		  const void *p, size_t n)
{
	frame_header(out, (enum frame_kind)kind, flags, stream, n);
	if (n)
		memcpy(out + FRAME_HEADER, p, n);
	return FRAME_HEADER + n;
}

static size_t raw_open(uint8_t *out, unsigned flags, uint32_t stream,
		       const char *method, const void *request, size_t n)
{
	struct frame_open o = {.credit = FRAME_WINDOW, .body = {request, n}};
	struct buf b = {0};

	strncpy(o.name, method, FRAME_NAME_MAX);
	frame_open_pack(&o, &b);
	const size_t len = raw(out, FRAME_OPEN, flags, stream, b.p, b.n);
	buf_release(&b);
	return len;
}

static void test_garbage_closes_the_session(void **state)
{
	struct net *n = *state;
	uint8_t rec[512];
	struct side d = {0};
	size_t len;

	/* Each of these on a session of its own. */
	for (int i = 0; i < 11; i++) {
		struct session *s = callee_session(n);
		const int downs = n->downs;

		assert_int_equal(call(n, "t.wait", NULL, 0, &d), OK);
		settle(n); /* stream 1 is open */
		switch (i) {
		case 0: /* noise */
			memset(rec, 0xee, sizeof(rec));
			len = sizeof(rec);
			break;
		case 1: /* cut header */
			len = raw(rec, FRAME_DATA, 0, 1, "x", 1) - 5;
			break;
		case 2: /* a stream never opened */
			len = raw(rec, FRAME_DATA, 0, 99, "x", 1);
			break;
		case 3: /* a number of the other side */
			len = raw_open(rec, 0, 2, "t.wait", "\x90", 1);
			break;
		case 4: /* an open stream's number */
			len = raw_open(rec, 0, 1, "t.wait", "\x90", 1);
			break;
		case 5: /* END from a caller */
			len = raw(rec, FRAME_END, 0, 1, "\x03\0\0\0", 4);
			break;
		case 6: /* an unknown kind that may not be skipped */
			len = raw(rec, 77, 0, 1, "x", 1);
			break;
		case 7: /* a short CREDIT */
			len = raw(rec, FRAME_CREDIT, 0, 1, "xx", 2);
			break;
		case 8: /* DATA after DATA_END */
			len = raw(rec, FRAME_DATA_END, 0, 1, NULL, 0);
			len += raw(rec + len, FRAME_DATA, 0, 1, "x", 1);
			break;
		case 9: /* DATA_END inside a chunk */
			len = raw(rec, FRAME_DATA, FRAME_MORE, 1, "x", 1);
			len += raw(rec + len, FRAME_DATA_END, 0, 1, NULL, 0);
			break;
		default: /* a head that is longer than its frame */
			len = raw(rec, FRAME_OPEN, 0, 3, "\xff", 1);
			break;
		}
		assert_int_equal(fake_session_inject(s, rec, len), ERR_PROTO);
		run_until(n, &n->downs, downs + 2);
		assert_int_equal(d.ends, 1);
		assert_int_equal(d.e, ERR_GONE);
		assert_int_equal(n->callee.ends, 1);
		assert_int_equal(fake_hub_down(rpc_hub(n->b)), ERR_PROTO);
		d = n->callee = (struct side){0};
		fake_hub_join(rpc_hub(n->a), rpc_hub(n->b));
		settle(n);
	}
	assert_int_equal(rpc_counters(n->b)->bad_frames, 11);
}

static void test_garbage_at_the_caller_closes_too(void **state)
{
	struct net *n = *state;
	uint8_t rec[512];
	struct side d = {0};
	size_t len;

	for (int i = 0; i < 4; i++) {
		const int downs = n->downs;
		assert_int_equal(call(n, "t.wait", NULL, 0, &d), OK);
		settle(n);
		switch (i) {
		case 0: /* a call never made */
			len = raw(rec, FRAME_END, 0, 9, "\x03\0\0\0", 4);
			break;
		case 1: /* CANCEL from a callee */
			len = raw(rec, FRAME_CANCEL, 0, 1, "\0\5", 2);
			break;
		case 2: /* a chunk inside the end */
			len = raw(rec, FRAME_END, FRAME_MORE, 1, "\x03\0\0\0x",
				  5);
			len += raw(rec + len, FRAME_DATA, 0, 1, "x", 1);
			break;
		default: /* half a head */
			len = raw(rec, FRAME_END, 0, 1, "\x03\0\0", 3);
			break;
		}
		assert_int_equal(fake_session_inject(n->s, rec, len),
				 ERR_PROTO);
		run_until(n, &n->downs, downs + 2);
		assert_int_equal(d.e, ERR_GONE);
		d = n->callee = (struct side){0};
		fake_hub_join(rpc_hub(n->a), rpc_hub(n->b));
		settle(n);
	}
}

static void test_more_than_the_window_closes(void **state)
{
	struct net *n = *state;
	struct side d = {0};
	uint8_t *rec = xcalloc(1, SESSION_RECORD);
	struct buf chunk = {0};
	const struct blob b = {{rec, 16000}};
	enum err e = OK;
	int i;

	assert_int_equal(call(n, "t.wait", NULL, 0, &d), OK);
	settle(n);
	API((rpc_hold(n->callee.st, true), 0));
	fields_pack(&blob_message, &b, &chunk);
	uint8_t *out = xcalloc(1, SESSION_RECORD);
	for (i = 0; i < 30 && !e; i++) {
		const size_t len = raw(out, FRAME_DATA, 0, 1, chunk.p, chunk.n);
		e = fake_session_inject(callee_session(n), out, len);
	}
	assert_int_equal(e, ERR_PROTO);
	assert_int_equal(i - 1, FRAME_WINDOW / chunk.n);
	run_until(n, &n->downs, 2);
	buf_release(&chunk);
	free(rec);
	free(out);
}

static void test_frames_of_the_future_are_skipped(void **state)
{
	struct net *n = *state;
	uint8_t rec[64];
	struct side d = {0};
	const struct num2 q = {.v = 1};

	size_t len = raw(rec, 77, FRAME_SKIP, 0, "what", 4);
	len += raw(rec + len, 78, FRAME_SKIP | FRAME_MORE, 5, NULL, 0);
	assert_int_equal(fake_session_inject(callee_session(n), rec, len), OK);
	assert_int_equal(call(n, "t.add", &q, 0, &d), OK);
	run_until(n, &d.ends, 1);
	assert_int_equal(d.e, OK);
}

static void test_late_frames_of_ended_streams_are_dropped(void **state)
{
	struct net *n = *state;
	uint8_t rec[256];
	struct side d = {0};
	const struct num2 q = {.v = 1};

	assert_int_equal(call(n, "t.add", &q, 0, &d), OK);
	run_until(n, &d.ends, 1);
	size_t len = raw(rec, FRAME_DATA, 0, 1, "x", 1);
	len += raw(rec + len, FRAME_CANCEL, 0, 1, "\0\5", 2);
	len += raw(rec + len, FRAME_CREDIT, 0, 1, "\0\0\0\1", 4);
	len += raw_open(rec + len, FRAME_MORE, 1, "t.add", "x", 1);
	assert_int_equal(fake_session_inject(callee_session(n), rec, len), OK);
	len = raw(rec, FRAME_END, 0, 1, "\x03\0\0\0", 4);
	assert_int_equal(fake_session_inject(n->s, rec, len), OK);
	assert_true(session_is_up(n->s));
	assert_int_equal(n->served, 1);
}

static void test_bad_fields_end_the_stream_only(void **state)
{
	struct net *n = *state;
	uint8_t rec[256];
	struct side d = {0};

	/* A request that is no array; its END finds no call at a: drop it. */
	fake_session_stall(callee_session(n), true);
	size_t len = raw_open(rec, 0, 1, "t.add", "\xc1", 1);
	assert_int_equal(fake_session_inject(callee_session(n), rec, len), OK);
	assert_int_equal(rpc_streams(n->b, callee_session(n)), 0);
	assert_int_equal(n->served, 0);
	(void)d;
	fake_session_cut(n->s);
	run_until(n, &n->downs, 2);
}

static void test_bad_chunk_fields_end_both(void **state)
{
	struct net *n = *state;
	uint8_t rec[64];
	struct side d = {0};

	assert_int_equal(call(n, "t.wait", NULL, 0, &d), OK);
	settle(n);
	const size_t len = raw(rec, FRAME_DATA, 0, 1, "\xc1", 1);
	assert_int_equal(fake_session_inject(callee_session(n), rec, len), OK);
	run_until(n, &d.ends, 1);
	assert_int_equal(d.e, ERR_PROTO);
	assert_int_equal(n->callee.ends, 1);
	assert_true(session_is_up(n->s));
	settle(n);
	assert_quiet(n);
}

static void test_peer_that_never_reads_is_cut_off(void **state)
{
	struct net *n = *state;
	uint8_t rec[128];
	uint32_t number = 1;
	struct session *s = callee_session(n);

	/* Refusals pile up for somebody who only writes. */
	fake_session_stall(s, true);
	for (; session_is_up(s) && number < 4000000; number += 2) {
		const size_t len = raw_open(rec, 0, number, "no.such", "", 0);
		(void)fake_session_inject(s, rec, len);
	}
	assert_false(session_is_up(s));
	assert_true(fake_session_stats(s).most_queued < 5u << 20);
	run_until(n, &n->downs, 2);
}

static void test_replies_wait_for_a_slow_reader(void **state)
{
	struct net *n = *state;
	struct side *d = xcalloc(100, sizeof(*d));
	uint8_t *data = xcalloc(1, 200000);
	const struct blob big = {{data, 100000}};
	struct session *s = callee_session(n);
	int i;

	/* Streams whose END is not sent yet keep their places: busy, and the
	 * memory for replies is bounded by places times size. */
	fake_session_stall(s, true);
	for (i = 0; i < 16; i++)
		assert_int_equal(call(n, "t.echo", &big, 0, &d[i]), OK);
	settle(n);
	settle(n);
	assert_true(rpc_streams(n->b, s) >= 14);
	assert_true(session_queued(s) <= SESSION_HIGH + FRAME_CHUNK_MAX);
	fake_session_stall(s, false);
	run_until(n, &n->ended, 16);
	for (i = 0; i < 16; i++)
		assert_int_equal(d[i].e, OK);
	assert_quiet(n);
	free(data);
	free(d);
}

static void count_row(const struct rpc_method *m, void *arg)
{
	int *count = arg;
	assert_non_null(m->name);
	++*count;
}

static void test_table_can_be_walked(void **state)
{
	struct net *n = *state;
	int count = 0;

	rpc_methods_each(n->b, count_row, &count);
	assert_int_equal(count, HN_COUNT(callee_rows) - 1);
	assert_ptr_equal(rpc_method_find(n->b, "t.add"), &callee_rows[0]);
	assert_null(rpc_method_find(n->b, "t.future"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_call_gets_its_reply),
	    T(test_small_calls_of_a_round_share_a_record),
	    T(test_errors_come_typed_with_their_text),
	    T(test_long_text_is_cut),
	    T(test_unknown_method_is_said_cleanly),
	    T(test_denied_before_serving),
	    T(test_long_messages_are_put_together),
	    T(test_oversized_request_is_refused_on_both_sides),
	    T(test_oversized_chunk_ends_the_stream),
	    T(test_oversized_reply_is_an_error_at_both),
	    T(test_stream_down_arrives_whole_and_bounded),
	    T(test_stream_up_arrives_whole),
	    T(test_held_stream_stops_its_sender),
	    T(test_stalled_link_stops_the_sender_and_goes_on),
	    T(test_no_room_after_the_last_chunk),
	    T(test_small_call_passes_by_a_bulk_stream),
	    T(test_bulk_streams_share_the_link),
	    T(test_cancel_reaches_the_callee),
	    T(test_cancel_before_anything_was_sent),
	    T(test_cancel_and_fail_inside_callbacks),
	    T(test_end_crosses_a_cancel),
	    T(test_deadline_ends_both_sides),
	    T(test_callee_keeps_the_deadline_alone),
	    T(test_deadlines_in_any_order),
	    T(test_callee_without_ops_answers_late),
	    T(test_busy_at_the_method_cap),
	    T(test_busy_at_the_session_cap),
	    T(test_a_thousand_calls_at_once),
	    T(test_calls_both_ways_on_one_session),
	    T(test_lost_session_ends_all_its_streams),
	    T(test_retiring_session_ends_with_its_last_stream),
	    T(test_idle_session_that_retires_is_closed),
	    T(test_stop_ends_streams),
	    T(test_garbage_closes_the_session),
	    T(test_garbage_at_the_caller_closes_too),
	    T(test_more_than_the_window_closes),
	    T(test_frames_of_the_future_are_skipped),
	    T(test_late_frames_of_ended_streams_are_dropped),
	    T(test_bad_fields_end_the_stream_only),
	    T(test_bad_chunk_fields_end_both),
	    T(test_peer_that_never_reads_is_cut_off),
	    T(test_replies_wait_for_a_slow_reader),
	    T(test_table_can_be_walked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
