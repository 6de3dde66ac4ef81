/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * nng's own REQ/REP as a reference under measurement. The mesh does not use
 * it: what nng does for hnode stands in link.c alone.
 */
#include "rpc/bench_impl.h"

#include "node/base/loop.h"

#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One of many calls at a time, on either side. */
struct worker {
	nng_ctx ctx;
	nng_aio *aio;
	bool receiving;
	struct many *many; /* the asking side */
};

struct bench_nng_server {
	nng_socket sock;
	struct worker workers[BENCH_INFLIGHT];
	size_t n;
};

static void on_serve(void *arg)
{
	struct worker *w = arg;

	if (nng_aio_result(w->aio)) {
		if (!w->receiving)
			nng_msg_free(nng_aio_get_msg(w->aio));
		return; /* closed */
	}
	w->receiving = !w->receiving;
	if (w->receiving)
		nng_ctx_recv(w->ctx, w->aio);
	else /* the message goes back as it came */
		nng_ctx_send(w->ctx, w->aio);
}

void bench_nng_end(struct bench_nng_server *s)
{
	if (!s)
		return;
	nng_close(s->sock);
	for (size_t i = 0; i < s->n; i++) {
		nng_aio_stop(s->workers[i].aio);
		nng_aio_free(s->workers[i].aio);
	}
	free(s);
}

enum err bench_nng_serve(struct bench_nng_server **out, uint16_t *port)
{
	struct bench_nng_server *s = HN_NEW(struct bench_nng_server);
	nng_listener l;
	int bound;

	if (nng_rep0_open(&s->sock)) {
		free(s);
		return ERR_IO;
	}
	for (; s->n < BENCH_INFLIGHT; s->n++) {
		struct worker *w = &s->workers[s->n];
		if (nng_aio_alloc(&w->aio, on_serve, w))
			goto fail;
		if (nng_ctx_open(&w->ctx, s->sock)) {
			nng_aio_free(w->aio);
			goto fail;
		}
	}
	if (nng_listen(s->sock, "tcp://127.0.0.1:0", &l, 0) ||
	    nng_listener_get_int(l, NNG_OPT_TCP_BOUND_PORT, &bound))
		goto fail;
	for (size_t i = 0; i < s->n; i++) {
		s->workers[i].receiving = true;
		nng_ctx_recv(s->workers[i].ctx, s->workers[i].aio);
	}
	*port = (uint16_t)bound;
	*out = s;
	return OK;
fail:
	bench_nng_end(s);
	return ERR_IO;
}

static enum err req_open(uint16_t port, nng_socket *sock)
{
	char url[64];

	snprintf(url, sizeof(url), "tcp://127.0.0.1:%u", port);
	if (nng_req0_open(sock))
		return ERR_IO;
	if (nng_socket_set_ms(*sock, NNG_OPT_RECVTIMEO, 5000) ||
	    nng_dial(*sock, url, NULL, 0)) {
		nng_close(*sock);
		return ERR_IO;
	}
	return OK;
}

enum err bench_nng_run(uint16_t port, double seconds, struct bench_times *out)
{
	uint8_t b[BENCH_CALL] = {0};
	nng_socket sock;

	enum err e = req_open(port, &sock);
	if (e)
		return e;
	const uint64_t end = clock_ns() + (uint64_t)(seconds * 1e9);
	uint64_t now = clock_ns();
	while (!e && now < end) {
		const uint64_t from = now;
		size_t n = sizeof(b);
		if (nng_send(sock, b, sizeof(b), 0) || nng_recv(sock, b, &n, 0))
			e = ERR_IO;
		now = clock_ns();
		bench_time(out, now - from);
	}
	nng_close(sock);
	return e;
}

/* Many calls at once: each context asks again from its own callback. */
struct many {
	pthread_mutex_t lock;
	pthread_cond_t idle;
	uint64_t end;
	uint64_t calls;
	size_t running;
	bool failed;
	struct worker workers[BENCH_INFLIGHT];
};

static void ask(struct worker *w)
{
	nng_msg *m;

	if (nng_msg_alloc(&m, BENCH_CALL))
		abort();
	w->receiving = false;
	nng_aio_set_msg(w->aio, m);
	nng_ctx_send(w->ctx, w->aio);
}

static void on_asked(void *arg)
{
	struct worker *w = arg;
	struct many *m = w->many;
	const bool failed = nng_aio_result(w->aio) != 0;

	if (!failed && !w->receiving) {
		w->receiving = true;
		nng_ctx_recv(w->ctx, w->aio);
		return;
	}
	if (w->receiving != failed)
		nng_msg_free(nng_aio_get_msg(w->aio));
	pthread_mutex_lock(&m->lock);
	m->calls += !failed;
	m->failed |= failed;
	const bool go = !m->failed && clock_ns() < m->end;
	if (!go && !--m->running)
		pthread_cond_signal(&m->idle);
	pthread_mutex_unlock(&m->lock);
	if (go)
		ask(w);
}

enum err bench_nng_many(uint16_t port, double seconds, double *calls_per_s)
{
	nng_socket sock;
	size_t n = 0;

	enum err e = req_open(port, &sock);
	if (e)
		return e;
	struct many *m = HN_NEW(struct many);
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->idle, NULL);
	for (; n < BENCH_INFLIGHT; n++) {
		struct worker *w = &m->workers[n];
		w->many = m;
		if (nng_aio_alloc(&w->aio, on_asked, w))
			break;
		nng_aio_set_timeout(w->aio, 5000);
		if (nng_ctx_open(&w->ctx, sock)) {
			nng_aio_free(w->aio);
			break;
		}
	}
	const uint64_t from = clock_ns();
	m->end = from + (uint64_t)(seconds * 1e9);
	m->running = n;
	for (size_t i = 0; i < n; i++)
		ask(&m->workers[i]);
	pthread_mutex_lock(&m->lock);
	while (m->running)
		pthread_cond_wait(&m->idle, &m->lock);
	pthread_mutex_unlock(&m->lock);
	const double took = (double)(clock_ns() - from) / 1e9;
	if (n < BENCH_INFLIGHT || m->failed)
		e = ERR_IO;
	else
		*calls_per_s = (double)m->calls / took;
	for (size_t i = 0; i < n; i++) {
		nng_aio_stop(m->workers[i].aio);
		nng_aio_free(m->workers[i].aio);
		nng_ctx_close(m->workers[i].ctx);
	}
	nng_close(sock);
	pthread_cond_destroy(&m->idle);
	pthread_mutex_destroy(&m->lock);
	free(m);
	return e;
}
