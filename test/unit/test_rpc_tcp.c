/* SPDX-License-Identifier: GPL-3.0-or-later */
/* rpc over real sessions: two hubs in one process, TCP on loopback. */
#include "rpc/rpc.h"

#include "node/base/fields.h"
#include "node/base/identity.h"
#include "rpc/frame.h"
#include "rpc/noise.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct blob {
	struct bytes data;
	uint64_t v;
};
static const struct field blob_fields[] = {
    FIELD_BYTES(struct blob, data, 1 << 20, "bytes"),
    FIELD_U64(struct blob, v, 0, "a number"),
};
static const struct message blob_message =
    MESSAGE("blob", struct blob, blob_fields);

struct side {
	struct rpc_stream *st;
	int ends, eofs;
	enum err e;
	uint64_t v;
	size_t bytes;
	uint64_t left; /* to send */
	char text[FRAME_TEXT_MAX + 1];
	int *count;
};

struct net {
	struct loop *loop;
	struct identity *id[2];
	struct rpc *a, *b;
	struct session *s; /* a's */
	uint16_t port;
	struct side callee;
	int ready, stopped, ended, downs;
	struct loop_timer *guard;
	const int *until; /* loop_run ends when it reaches want */
	int want;
};

static void check(struct net *n)
{
	if (n->until && *n->until >= n->want)
		loop_stop(n->loop);
}

static void feed(struct side *d)
{
	static const uint8_t bytes[50000];

	while (d->left) {
		/* One frame, or several. */
		const size_t size = d->left % 3 ? 50000 : 16000;
		const struct blob b = {{bytes, size < d->left ? size : d->left},
				       0};
		if (rpc_send(d->st, &b))
			return;
		d->left -= b.data.n;
	}
	if (!rpc_stream_session(d->st))
		return;
	if (d->count) {
		rpc_send_end(d->st);
	} else {
		const struct blob r = {.v = 7};
		rpc_reply(d->st, &r);
	}
}

static void on_chunk(void *arg, struct rpc_stream *st, const void *msg)
{
	struct side *d = arg;
	const struct blob *b = msg;

	if (b) {
		d->bytes += b->data.n;
		return;
	}
	d->eofs++;
	const struct blob r = {.v = d->bytes};
	rpc_reply(st, &r);
}

static void on_room(void *arg, struct rpc_stream *st)
{
	(void)st;
	feed(arg);
}

static void on_end(void *arg, struct rpc_stream *st, enum err e,
		   const void *reply, const char *text)
{
	struct side *d = arg;

	(void)st;
	d->ends++;
	d->e = e;
	d->st = NULL;
	if (reply) {
		d->v = ((const struct blob *)reply)->v;
		d->bytes += ((const struct blob *)reply)->data.n;
	}
	if (text)
		strncpy(d->text, text, sizeof(d->text) - 1);
	if (d->count)
		++*d->count;
}

static const struct rpc_ops ops = {on_chunk, on_room, on_end};

static void serve_echo(struct rpc_stream *st, const void *request, void *arg)
{
	(void)arg;
	rpc_reply(st, request);
}

static void serve_fail(struct rpc_stream *st, const void *request, void *arg)
{
	(void)arg;
	rpc_fail(st, ERR_DEVICE, "chip %d is too hot",
		 (int)((const struct blob *)request)->v);
}

static void serve_stream(struct rpc_stream *st, const void *request, void *arg)
{
	struct net *n = arg;

	n->callee.st = st;
	n->callee.left = ((const struct blob *)request)->v;
	rpc_serve(st, &ops, &n->callee);
	if (n->callee.left)
		feed(&n->callee);
}

static const struct rpc_method rows[] = {
    {.name = "t.echo",
     .right = RIGHT_MEMBER,
     .request = &blob_message,
     .reply = &blob_message,
     .max_request = 600000,
     .max_reply = 600000,
     .max_streams = 2000,
     .serve = serve_echo},
    {.name = "t.fail",
     .right = RIGHT_MEMBER,
     .request = &blob_message,
     .serve = serve_fail},
    {.name = "t.stream",
     .right = RIGHT_MEMBER,
     .request = &blob_message,
     .reply = &blob_message,
     .up = &blob_message,
     .down = &blob_message,
     .max_chunk = 60000,
     .serve = serve_stream},
    {.name = "t.owner", .serve = serve_echo},
    {0},
};

static enum err on_authorize(void *arg, struct session *s,
			     const struct rpc_method *m, struct buf *why)
{
	(void)arg;
	(void)why;
	return m->right == RIGHT_OWNER && session_kind(s) != SESSION_CONTROL
		   ? ERR_DENIED
		   : OK;
}

static void on_creds(void *arg, struct session_creds *out)
{
	(void)arg;
	memset(out->mesh_id, 1, sizeof(out->mesh_id));
	memset(out->psks[0].key, 2, sizeof(out->psks[0].key));
	out->npsks = 1;
}

static enum err on_admit(void *arg, const struct session_hello *hello,
			 const struct session_psk *psk, struct buf *why)
{
	(void)arg;
	(void)hello;
	(void)psk;
	(void)why;
	return OK;
}

static void on_down(void *arg, struct session *s, enum err why,
		    const char *text, bool dup)
{
	struct net *n = arg;

	(void)why;
	(void)text;
	(void)dup;
	if (s == n->s)
		n->s = NULL;
	n->downs++;
	check(n);
}

static struct rpc *make(struct net *n, int which)
{
	static const struct rpc_method *const tables[] = {rows};
	struct rpc_options o = {
	    .hub = {.loop = n->loop,
		    .me = n->id[which],
		    .boot_id = {(uint8_t)(which + 1)},
		    .aes = noise_aesgcm_available(),
		    .creds = on_creds,
		    .admit = on_admit},
	    .tables = tables,
	    .ntables = 1,
	    .arg = n,
	    .authorize = on_authorize,
	    .down = on_down,
	    .max_streams = 1500,
	};
	return rpc_new(&o);
}

static void on_guard(void *arg)
{
	struct net *n = arg;
	n->until = NULL;
	loop_stop(n->loop);
}

static void on_poll(void *arg)
{
	struct net *n = arg;

	check(n);
	if (n->until && *n->until < n->want)
		loop_post(n->loop, on_poll, n);
}

static void run_until(struct net *n, const int *count, int want)
{
	n->until = count;
	n->want = want;
	loop_timer_set(n->guard, 20000);
	loop_post(n->loop, on_poll, n);
	loop_run(n->loop);
	loop_timer_cancel(n->guard);
	assert_non_null(n->until); /* the guard did not fire */
	n->until = NULL;
	assert_true(*count >= want);
}

static void on_dialled(void *arg, enum err e, struct session *s,
		       const char *text)
{
	struct net *n = arg;

	if (e)
		print_error("dial: %s\n", text);
	n->s = s;
	n->ready++;
}

static int setup(void **state)
{
	struct net *n = HN_NEW(struct net);
	struct buf why = {0};

	n->loop = loop_new();
	n->guard = loop_timer_new(n->loop, on_guard, n);
	for (int i = 0; i < 2; i++)
		n->id[i] = identity_random();
	n->a = make(n, 0);
	n->b = make(n, 1);
	assert_int_equal(
	    hub_listen(rpc_hub(n->b), "tcp://127.0.0.1:0", &n->port, &why), OK);
	hub_dial(rpc_hub(n->a), identity_id(n->id[1]), "127.0.0.1", n->port,
		 NULL, true, 5000, on_dialled, n);
	run_until(n, &n->ready, 1);
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
	if (n->b)
		rpc_stop(n->b, on_stopped, n);
	run_until(n, &n->stopped, 1 + (n->b != NULL));
	loop_timer_free(n->guard);
	assert_true(loop_free(n->loop));
	for (int i = 0; i < 2; i++)
		identity_free(n->id[i]);
	free(n);
	return 0;
}

static enum err call(struct net *n, const char *method, const void *request,
		     uint32_t timeout, struct side *d)
{
	d->count = &n->ended;
	return rpc_call(n->a, n->s, method, request, timeout, &ops, d, &d->st);
}

static void test_calls_and_typed_errors(void **state)
{
	struct net *n = *state;
	struct side d[3] = {0};
	const struct blob q = {.v = 3};

	assert_int_equal(call(n, "t.echo", &q, 5000, &d[0]), OK);
	assert_int_equal(call(n, "t.fail", &q, 5000, &d[1]), OK);
	assert_int_equal(call(n, "t.owner", NULL, 5000, &d[2]), OK);
	run_until(n, &n->ended, 3);
	assert_int_equal(d[0].e, OK);
	assert_int_equal(d[0].v, 3);
	assert_int_equal(d[1].e, ERR_DEVICE);
	assert_string_equal(d[1].text, "chip 3 is too hot");
	assert_int_equal(d[2].e, ERR_DENIED);
	assert_int_equal(rpc_streams(n->a, n->s), 0);
}

static void test_a_thousand_calls_at_once(void **state)
{
	struct net *n = *state;
	struct side *d = xcalloc(1000, sizeof(*d));

	for (size_t i = 0; i < 1000; i++) {
		const struct blob q = {.v = i};
		assert_int_equal(call(n, "t.echo", &q, 10000, &d[i]), OK);
	}
	run_until(n, &n->ended, 1000);
	for (size_t i = 0; i < 1000; i++) {
		assert_int_equal(d[i].e, OK);
		assert_int_equal(d[i].v, i);
	}
	free(d);
}

static void test_long_messages(void **state)
{
	struct net *n = *state;
	struct side d[8] = {0};
	uint8_t *data = xcalloc(1, 500000);

	for (size_t i = 0; i < 8; i++) {
		const struct blob q = {{data, 70000 * i}, i};
		assert_int_equal(call(n, "t.echo", &q, 10000, &d[i]), OK);
	}
	run_until(n, &n->ended, 8);
	for (size_t i = 0; i < 8; i++) {
		assert_int_equal(d[i].e, OK);
		assert_int_equal(d[i].bytes, 70000 * i);
	}
	free(data);
}

static void test_streams_both_ways(void **state)
{
	struct net *n = *state;
	struct side down = {0}, up = {.left = 20000000};
	struct blob q = {.v = 20000000};

	assert_int_equal(call(n, "t.stream", &q, 0, &down), OK);
	run_until(n, &down.ends, 1);
	assert_int_equal(down.e, OK);
	assert_int_equal(down.bytes, 20000000);
	assert_int_equal(down.v, 7);

	n->callee = (struct side){0};
	q.v = 0;
	assert_int_equal(call(n, "t.stream", &q, 0, &up), OK);
	feed(&up);
	run_until(n, &up.ends, 1);
	assert_int_equal(up.e, OK);
	assert_int_equal(up.v, 20000000);
	assert_int_equal(n->callee.eofs, 1);
}

static void test_small_calls_beside_a_stream(void **state)
{
	struct net *n = *state;
	struct side down = {0};
	const struct blob all = {.v = 400000000}, q = {.v = 1};

	assert_int_equal(call(n, "t.stream", &all, 0, &down), OK);
	for (int i = 0; i < 50; i++) {
		struct side d = {0};
		assert_int_equal(call(n, "t.echo", &q, 5000, &d), OK);
		run_until(n, &d.ends, 1);
		assert_int_equal(d.e, OK);
		if (i == 10) /* not after the stream */
			assert_int_equal(down.ends, 0);
	}
	if (down.st)
		rpc_cancel(down.st);
	run_until(n, &n->ended, 50);
}

static void test_deadline_and_cancel(void **state)
{
	struct net *n = *state;
	struct side d = {0};
	const struct blob q = {.v = 0};

	assert_int_equal(call(n, "t.stream", &q, 30, &d), OK);
	run_until(n, &d.ends, 1);
	assert_int_equal(d.e, ERR_TIMEOUT);
	run_until(n, &n->callee.ends, 1);
	assert_int_equal(n->callee.e, ERR_TIMEOUT);

	n->callee = (struct side){0};
	d = (struct side){0};
	assert_int_equal(call(n, "t.stream", &q, 0, &d), OK);
	rpc_cancel(d.st);
	run_until(n, &n->callee.ends, 1);
	assert_int_equal(n->callee.e, ERR_CANCELED);
	assert_int_equal(d.ends, 0);
}

static void test_closed_session_ends_streams(void **state)
{
	struct net *n = *state;
	struct side d = {0}, late = {0};
	const struct blob q = {.v = 0};

	assert_int_equal(call(n, "t.stream", &q, 0, &d), OK);
	rpc_stop(n->b, on_stopped, n);
	n->b = NULL;
	run_until(n, &d.ends, 1);
	assert_int_equal(d.e, ERR_GONE);
	run_until(n, &n->downs, 1);
	assert_int_equal(call(n, "t.echo", &q, 0, &late), ERR_GONE);
	run_until(n, &n->stopped, 1);
	n->stopped = 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_calls_and_typed_errors),
	    T(test_a_thousand_calls_at_once),
	    T(test_long_messages),
	    T(test_streams_both_ways),
	    T(test_small_calls_beside_a_stream),
	    T(test_deadline_and_cancel),
	    T(test_closed_session_ends_streams),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
