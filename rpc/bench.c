/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The measuring process. It starts the peer as a process of its own, runs the
 * cells one after the other, the round trips of the three kinds in turns, and
 * ends the peer by closing its input.
 *
 * The loop runs only within a cell of ours; between cells blocking code may
 * take its place, and no keepalive is due meanwhile (bench_rpc_new).
 */
#include "rpc/bench.h"
#include "rpc/bench_impl.h"

#include "node/base/buf.h"
#include "node/base/fields.h"
#include "node/base/identity.h"
#include "node/base/loop.h"
#include "node/base/mem.h"
#include "rpc/noise.h"

#include <sodium.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 3 /* of the cells that take turns */
#define START_MS 10000
#define END_MS 5000

struct peer {
	pid_t pid;
	int in, out; /* its standard input and output */
	struct node_id id;
	uint16_t port, tcp_port, nng_port;
};

struct bench {
	struct peer peer;
	struct bench_mesh mesh;
	struct loop *loop;
	struct rpc *rpc;
	struct session *session;
	struct buf *why;
	enum err err;	  /* of the cell that runs */
	cpu_set_t cpus;	  /* as we found them */
	int ours, theirs; /* a CPU each; -1: any */

	/* the cell */
	struct bench_times *times;
	uint64_t begin, end; /* clock_ns */
	uint64_t calls, bytes;
	size_t open; /* calls and streams that have not ended */
	struct rpc_stream *flow;
};

/* The peer process */

static void pin(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* Chooses CPUs from those we may use. */
static void choose_cpus(struct bench *b, enum bench_place place)
{
	int found[2] = {-1, -1};

	b->ours = b->theirs = -1;
	if (place == BENCH_FREE ||
	    sched_getaffinity(0, sizeof(b->cpus), &b->cpus))
		return;
	for (int i = 0, n = 0; i < CPU_SETSIZE && n < 2; i++) {
		if (CPU_ISSET((size_t)i, &b->cpus))
			found[n++] = i;
	}
	if (place == BENCH_SHARED)
		b->ours = b->theirs = found[0];
	else if (found[1] >= 0) {
		b->ours = found[0];
		b->theirs = found[1];
	}
}

/* A line from the peer, without its end. */
static enum err peer_line(const struct peer *p, char *line, size_t cap)
{
	const uint64_t end = clock_ns() + START_MS * 1000000ull;
	size_t n = 0;

	while (n + 1 < cap) {
		struct pollfd f = {.fd = p->out, .events = POLLIN};
		const uint64_t now = clock_ns();
		if (now >= end)
			return ERR_TIMEOUT;
		const int rc = poll(&f, 1, (int)((end - now) / 1000000) + 1);
		if (rc < 0 && errno == EINTR)
			continue;
		if (rc <= 0)
			return ERR_TIMEOUT;
		if (read(p->out, line + n, 1) != 1)
			return ERR_GONE;
		if (line[n] == '\n') {
			line[n] = 0;
			return OK;
		}
		n++;
	}
	return ERR_LIMIT;
}

static enum err peer_hello(struct bench *b)
{
	struct peer *p = &b->peer;
	char line[256], hex[65];
	unsigned port, tcp, nng;

	char *secret = hex_dup(b->mesh.secret, sizeof(b->mesh.secret));
	const size_t n = strlen(secret);
	secret[n] = '\n';
	const bool told =
	    send(p->in, secret, n + 1, MSG_NOSIGNAL) == (ssize_t)n + 1;
	free(secret);
	if (!told)
		return ERR_GONE;
	const enum err e = peer_line(p, line, sizeof(line));
	if (e)
		return e;
	if (sscanf(line, BENCH_MAGIC " %64s %u %u %u", hex, &port, &tcp,
		   &nng) != 4 ||
	    !hex_decode(hex, p->id.b, sizeof(p->id.b)) || port > UINT16_MAX ||
	    tcp > UINT16_MAX || nng > UINT16_MAX)
		return ERR_PROTO;
	p->port = (uint16_t)port;
	p->tcp_port = (uint16_t)tcp;
	p->nng_port = (uint16_t)nng;
	return OK;
}

static enum err peer_start(struct bench *b, const char *exe)
{
	struct peer *p = &b->peer;
	char self[4096];
	char verb[] = "bench-peer";
	posix_spawn_file_actions_t fa;
	extern char **environ;
	int in[2], out[2];

	if (!exe) {
		const ssize_t n =
		    readlink("/proc/self/exe", self, sizeof(self) - 1);
		if (n <= 0)
			return ERR_IO;
		self[n] = 0;
		exe = self;
	}
	/* A socket: writing to a peer that is gone must not end us. */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in))
		return ERR_IO;
	if (pipe2(out, O_CLOEXEC)) {
		close(in[0]);
		close(in[1]);
		return ERR_IO;
	}
	char *name = xstrdup(exe);
	char *const argv[] = {name, verb, NULL};
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, in[0], STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&fa, out[1], STDOUT_FILENO);
	pin(b->theirs); /* it inherits that */
	const int rc = posix_spawn(&p->pid, exe, &fa, NULL, argv, environ);
	pin(b->ours);
	posix_spawn_file_actions_destroy(&fa);
	free(name);
	close(in[0]);
	close(out[1]);
	p->in = in[1];
	p->out = out[0];
	if (rc) {
		p->pid = 0;
		buf_printf(b->why, "cannot start %s: %s", exe, strerror(rc));
		return ERR_IO;
	}
	const enum err e = peer_hello(b);
	if (e)
		buf_printf(b->why, "the peer process did not start: %s",
			   err_str(e));
	return e;
}

static void peer_end(struct peer *p)
{
	if (p->in >= 0)
		close(p->in);
	if (p->pid) {
		/* Its output ends with it. */
		struct pollfd f = {.fd = p->out, .events = POLLIN};
		if (poll(&f, 1, END_MS) <= 0)
			kill(p->pid, SIGKILL);
		waitpid(p->pid, NULL, 0);
	}
	if (p->out >= 0)
		close(p->out);
}

/* Cells */

static void cell_fail(struct bench *b, enum err e, const char *text)
{
	if (!b->err) {
		b->err = e;
		buf_printf(b->why, "a measured call failed: %s",
			   text ? text : err_str(e));
	}
}

/* Runs until nothing is open. */
static enum err cell_run(struct bench *b)
{
	if (b->open)
		loop_run(b->loop);
	return b->err;
}

static void cell_one_ended(struct bench *b)
{
	if (!--b->open)
		loop_stop(b->loop);
}

static void cell_begin(struct bench *b, double seconds)
{
	b->begin = clock_ns();
	b->end = b->begin + (uint64_t)(seconds * 1e9);
	b->calls = b->bytes = 0;
}

static double cell_seconds(const struct bench *b)
{
	return (double)(clock_ns() - b->begin) / 1e9;
}

/* One of the calls in flight: asks again when answered. */
struct caller {
	struct bench *b;
	uint64_t from;
};

static void caller_ask(struct caller *c);

static void on_answer(void *arg, struct rpc_stream *st, enum err e,
		      const void *reply, const char *text)
{
	struct caller *c = arg;
	struct bench *b = c->b;
	const uint64_t now = clock_ns();

	(void)st;
	(void)reply;
	b->open--;
	if (e) {
		cell_fail(b, e, text);
	} else {
		b->calls++;
		if (b->times)
			bench_time(b->times, now - c->from);
		if (now < b->end && !b->err)
			caller_ask(c);
	}
	/* The stream beside it ends with the calls. */
	if (b->open == 1 && b->flow) {
		rpc_cancel(b->flow);
		b->flow = NULL;
		b->open = 0;
	}
	if (!b->open)
		loop_stop(b->loop);
}

static void caller_ask(struct caller *c)
{
	static const uint8_t bytes[BENCH_CALL];
	static const struct rpc_ops ops = {.end = on_answer};
	const struct bench_blob q = {{bytes, sizeof(bytes)}};
	struct bench *b = c->b;

	c->from = clock_ns();
	const enum err e = rpc_call(b->rpc, b->session, "bench.echo", &q, 60000,
				    &ops, c, NULL);
	if (e)
		cell_fail(b, e, NULL);
	else
		b->open++;
}

static enum err calls_run(struct bench *b, size_t inflight, double seconds,
			  struct bench_times *times)
{
	struct caller callers[BENCH_INFLIGHT];

	cell_begin(b, seconds);
	b->times = times;
	for (size_t i = 0; i < inflight; i++) {
		callers[i] = (struct caller){.b = b};
		caller_ask(&callers[i]);
	}
	return cell_run(b);
}

/* A stream down: without calls beside it, it ends itself. */
static void on_down_chunk(void *arg, struct rpc_stream *st, const void *msg)
{
	struct bench *b = arg;
	const struct bench_blob *m = msg;

	b->bytes += m->data.n;
	if (b->open == 1 && clock_ns() >= b->end) {
		rpc_cancel(st);
		b->flow = NULL;
		cell_one_ended(b);
	}
}

static void on_flow_end(void *arg, struct rpc_stream *st, enum err e,
			const void *reply, const char *text)
{
	struct bench *b = arg;
	const struct bench_amount *r = reply;

	(void)st;
	b->flow = NULL;
	if (e)
		cell_fail(b, e, text);
	else
		b->bytes = r->bytes;
	cell_one_ended(b);
}

static void flow_start(struct bench *b, const char *method,
		       const struct rpc_ops *ops)
{
	const struct bench_amount q = {UINT64_MAX / 2};

	const enum err e =
	    rpc_call(b->rpc, b->session, method, &q, 0, ops, b, &b->flow);
	if (e)
		cell_fail(b, e, NULL);
	else
		b->open++;
}

static const struct rpc_ops down_ops = {.chunk = on_down_chunk,
					.end = on_flow_end};

static enum err down_run(struct bench *b, double seconds, double *mb_s)
{
	cell_begin(b, seconds);
	flow_start(b, "bench.source", &down_ops);
	const enum err e = cell_run(b);
	*mb_s = (double)b->bytes / cell_seconds(b) / 1e6;
	return e;
}

static void up_feed(struct bench *b)
{
	static const uint8_t bytes[BENCH_CHUNK];
	const struct bench_blob m = {{bytes, sizeof(bytes)}};

	while (clock_ns() < b->end) {
		if (rpc_send(b->flow, &m))
			return; /* busy: room comes */
	}
	rpc_send_end(b->flow);
}

static void on_up_room(void *arg, struct rpc_stream *st)
{
	(void)st;
	up_feed(arg);
}

static enum err up_run(struct bench *b, double seconds, double *mb_s)
{
	static const struct rpc_ops ops = {.room = on_up_room,
					   .end = on_flow_end};

	cell_begin(b, seconds);
	flow_start(b, "bench.sink", &ops);
	if (!b->err)
		up_feed(b);
	const enum err e = cell_run(b);
	*mb_s = (double)b->bytes / cell_seconds(b) / 1e6;
	return e;
}

/* One call at a time beside a stream down. */
static enum err beside_run(struct bench *b, double seconds,
			   struct bench_times *times, double *mb_s)
{
	struct caller c = {.b = b};

	cell_begin(b, seconds);
	b->times = times;
	flow_start(b, "bench.source", &down_ops);
	caller_ask(&c);
	const enum err e = cell_run(b);
	*mb_s = (double)b->bytes / cell_seconds(b) / 1e6;
	return e;
}

/* Figures */

static int by_value(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static struct bench_rtt figures(struct bench_times *t)
{
	struct bench_rtt r = {0};

	if (t->n) {
		qsort(t->ns, t->n, sizeof(*t->ns), by_value);
		r.p50_us = (double)t->ns[t->n / 2] / 1e3;
		r.p99_us = (double)t->ns[t->n - 1 - t->n / 100] / 1e3;
	}
	t->n = 0;
	return r;
}

static enum err references(struct bench *b, enum err e, const char *what)
{
	if (e)
		buf_printf(b->why, "the %s reference failed", what);
	return e;
}

/* The three kinds of round trip take turns, so that none has the machine's
 * better moment. */
static enum err round_trips(struct bench *b, double seconds,
			    struct bench_rpc_result *r)
{
	const double part = seconds / ROUNDS;
	struct bench_times t[3];
	enum err e = OK;

	for (int i = 0; i < 3; i++) {
		t[i].n = 0;
		t[i].ns = xmalloc(BENCH_SAMPLES * sizeof(*t[i].ns));
	}
	for (int i = 0; i < ROUNDS && !e; i++) {
		e = references(b, bench_tcp_run(b->peer.tcp_port, part, &t[0]),
			       "TCP");
		if (!e)
			e = calls_run(b, 1, part, &t[1]);
		if (!e)
			e = references(
			    b, bench_nng_run(b->peer.nng_port, part, &t[2]),
			    "nng");
	}
	r->calls_alone_per_s = (double)t[1].n / seconds;
	r->tcp = figures(&t[0]);
	const struct bench_rtt ours = figures(&t[1]);
	r->p50_us = ours.p50_us;
	r->p99_us = ours.p99_us;
	r->nng = figures(&t[2]);

	if (!e)
		e = beside_run(b, seconds, &t[1], &r->beside_mb_s);
	const struct bench_rtt beside = figures(&t[1]);
	r->beside_p50_us = beside.p50_us;
	r->beside_p99_us = beside.p99_us;
	for (int i = 0; i < 3; i++)
		free(t[i].ns);
	return e;
}

static enum err rates(struct bench *b, double seconds,
		      struct bench_rpc_result *r)
{
	enum err e = calls_run(b, BENCH_INFLIGHT, seconds, NULL);
	r->calls_per_s = (double)b->calls / cell_seconds(b);
	if (!e)
		e = references(b,
			       bench_nng_many(b->peer.nng_port, seconds,
					      &r->nng_calls_per_s),
			       "nng");
	if (!e)
		e = down_run(b, seconds, &r->stream_mb_s);
	if (!e)
		e = up_run(b, seconds, &r->stream_up_mb_s);
	return e;
}

/* The whole */

static void on_dialled(void *arg, enum err e, struct session *s,
		       const char *text)
{
	struct bench *b = arg;

	b->session = s;
	if (e)
		cell_fail(b, e, text);
	cell_one_ended(b);
}

static enum err dial(struct bench *b, bool aes)
{
	b->open = 1;
	hub_dial(rpc_hub(b->rpc), &b->peer.id, "127.0.0.1", b->peer.port, NULL,
		 aes, START_MS, on_dialled, b);
	return cell_run(b);
}

static void on_stopped(void *arg)
{
	struct bench *b = arg;
	loop_stop(b->loop);
}

enum err bench_rpc_run(const struct bench_rpc_options *o,
		       struct bench_rpc_result *out, struct buf *why)
{
	struct bench b = {.why = why, .peer = {.in = -1, .out = -1}};
	struct bench_rpc_result r = {0};
	const double seconds = o->seconds > 0 ? o->seconds : 1;

	if (sodium_init() < 0)
		return ERR_CRYPTO;
	randombytes_buf(b.mesh.secret, sizeof(b.mesh.secret));
	b.mesh.me = identity_random();
	choose_cpus(&b, o->place);
	b.loop = loop_new();
	b.rpc = bench_rpc_new(b.loop, &b.mesh);
	enum err e = peer_start(&b, o->exe);
	if (!e)
		e = dial(&b, !o->chacha && noise_aesgcm_available());
	if (!e) {
		r.suite = session_aes(b.session) ? "AESGCM" : "ChaChaPoly";
		e = round_trips(&b, seconds, &r);
	}
	if (!e)
		e = rates(&b, seconds, &r);

	rpc_stop(b.rpc, on_stopped, &b);
	loop_run(b.loop);
	if (!loop_free(b.loop) && !e)
		e = ERR_INTERNAL;
	peer_end(&b.peer);
	identity_free(b.mesh.me);
	if (b.ours >= 0)
		sched_setaffinity(0, sizeof(b.cpus), &b.cpus);
	if (!e)
		*out = r;
	return e;
}
