/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rpc/bench_impl.h"

#include "node/base/buf.h"
#include "node/base/fields.h"
#include "node/base/identity.h"
#include "node/base/loop.h"
#include "node/base/mem.h"
#include "rpc/noise.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Methods */

static const struct field blob_fields[] = {
    FIELD_BYTES(struct bench_blob, data, 65536, "any bytes"),
};
static const struct message blob_message =
    MESSAGE("bench_blob", struct bench_blob, blob_fields);

static const struct field amount_fields[] = {
    FIELD_U64(struct bench_amount, bytes, 0, "how many bytes"),
};
static const struct message amount_message =
    MESSAGE("bench_amount", struct bench_amount, amount_fields);

static void serve_echo(struct rpc_stream *st, const void *request, void *arg)
{
	(void)arg;
	rpc_reply(st, request);
}

/* One stream of either direction. */
struct flow {
	uint64_t left, seen;
};

static void flow_feed(struct flow *f, struct rpc_stream *st)
{
	static const uint8_t bytes[BENCH_CHUNK];

	while (f->left) {
		const struct bench_blob b = {
		    {bytes, f->left < BENCH_CHUNK ? f->left : BENCH_CHUNK}};
		if (rpc_send(st, &b))
			return; /* busy: room comes */
		f->left -= b.data.n;
		f->seen += b.data.n;
	}
	const struct bench_amount r = {f->seen};
	rpc_reply(st, &r);
	free(f);
}

static void on_room(void *arg, struct rpc_stream *st)
{
	flow_feed(arg, st);
}

static void on_chunk(void *arg, struct rpc_stream *st, const void *msg)
{
	struct flow *f = arg;
	const struct bench_blob *b = msg;

	if (b) {
		f->seen += b->data.n;
		return;
	}
	const struct bench_amount r = {f->seen};
	rpc_reply(st, &r);
	free(f);
}

static void on_end(void *arg, struct rpc_stream *st, enum err e,
		   const void *reply, const char *text)
{
	(void)st;
	(void)e;
	(void)reply;
	(void)text;
	free(arg);
}

static const struct rpc_ops flow_ops = {on_chunk, on_room, on_end};

static void serve_source(struct rpc_stream *st, const void *request, void *arg)
{
	const struct bench_amount *q = request;
	struct flow *f = HN_NEW(struct flow);

	(void)arg;
	f->left = q->bytes;
	rpc_serve(st, &flow_ops, f);
	flow_feed(f, st);
}

static void serve_sink(struct rpc_stream *st, const void *request, void *arg)
{
	(void)request;
	(void)arg;
	rpc_serve(st, &flow_ops, HN_NEW(struct flow));
}

const struct rpc_method bench_methods[] = {
    {.name = "bench.echo",
     .version = 1,
     .right = RIGHT_MEMBER,
     .repeatable = true,
     .request = &blob_message,
     .reply = &blob_message,
     .max_request = 65600,
     .max_reply = 65600,
     .max_streams = 256,
     .serve = serve_echo,
     .doc = "answers with its request"},
    {.name = "bench.source",
     .version = 1,
     .right = RIGHT_MEMBER,
     .repeatable = true,
     .request = &amount_message,
     .reply = &amount_message,
     .down = &blob_message,
     .serve = serve_source,
     .doc = "sends so many bytes"},
    {.name = "bench.sink",
     .version = 1,
     .right = RIGHT_MEMBER,
     .repeatable = true,
     .reply = &amount_message,
     .up = &blob_message,
     .serve = serve_sink,
     .doc = "swallows bytes and says how many"},
    {0},
};

/* Both ends */

static void on_creds(void *arg, struct session_creds *out)
{
	const struct bench_mesh *m = arg;

	memcpy(out->mesh_id, m->secret, sizeof(out->mesh_id));
	memcpy(out->psks[0].key, m->secret, sizeof(out->psks[0].key));
	out->psks[0].kind = SESSION_PEER;
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

static enum err on_authorize(void *arg, struct session *s,
			     const struct rpc_method *m, struct buf *why)
{
	(void)arg;
	(void)s;
	(void)m;
	(void)why;
	return OK;
}

struct rpc *bench_rpc_new(struct loop *l, struct bench_mesh *m)
{
	static const struct rpc_method *const tables[] = {bench_methods};
	struct rpc_options o = {
	    .hub = {.loop = l,
		    .me = m->me,
		    .aes = noise_aesgcm_available(),
		    .ping_idle = 600000,
		    .silent_busy = 60000,
		    .creds = on_creds,
		    .admit = on_admit},
	    .tables = tables,
	    .ntables = HN_COUNT(tables),
	    .arg = m,
	    .authorize = on_authorize,
	};
	memcpy(o.hub.boot_id, identity_id(m->me)->b, sizeof(o.hub.boot_id));
	return rpc_new(&o);
}

/* The process */

static void *await_end(void *arg)
{
	char b[64];

	while (read(STDIN_FILENO, b, sizeof(b)) > 0)
		;
	loop_stop(arg);
	return NULL;
}

static void on_stopped(void *arg)
{
	loop_stop(arg);
}

static bool read_secret(struct bench_mesh *m)
{
	char line[2 * sizeof(m->secret) + 2];
	size_t n = 0;

	while (n < sizeof(line) && read(STDIN_FILENO, line + n, 1) == 1) {
		if (line[n] == '\n')
			break;
		n++;
	}
	if (n >= sizeof(line))
		return false;
	line[n] = 0;
	return hex_decode(line, m->secret, sizeof(m->secret));
}

int bench_peer_main(int argc, char **argv)
{
	struct bench_tcp_server *tcp = NULL;
	struct bench_nng_server *nng = NULL;
	uint16_t port = 0, tcp_port = 0, nng_port = 0;
	struct bench_mesh m = {0};
	struct buf why = {0};
	pthread_t reader;

	(void)argc;
	(void)argv;
	if (!read_secret(&m)) {
		fputs("bench-peer is started by `bench rpc` only\n", stderr);
		return err_exit(ERR_INPUT);
	}
	m.me = identity_random();
	struct loop *l = loop_new();
	struct rpc *r = bench_rpc_new(l, &m);
	enum err e = hub_listen(rpc_hub(r), "tcp://127.0.0.1:0", &port, &why);
	if (!e)
		e = bench_tcp_serve(&tcp, &tcp_port);
	if (!e)
		e = bench_nng_serve(&nng, &nng_port);
	if (e) {
		fprintf(stderr, "bench-peer: %s %s\n", err_str(e),
			why.n ? buf_str(&why) : "");
	} else {
		printf(BENCH_MAGIC " %s %u %u %u\n",
		       node_hex(identity_id(m.me)), port, tcp_port, nng_port);
		fflush(stdout);
		if (pthread_create(&reader, NULL, await_end, l))
			abort();
		loop_run(l);
		pthread_join(reader, NULL);
	}
	rpc_stop(r, on_stopped, l);
	loop_run(l);
	bench_tcp_end(tcp);
	bench_nng_end(nng);
	if (!loop_free(l))
		e = ERR_INTERNAL;
	identity_free(m.me);
	buf_release(&why);
	return err_exit(e);
}
