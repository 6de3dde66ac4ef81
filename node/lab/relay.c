/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Each connection has two sides; what is read on one waits in that side's
 * queue until it is due, then is written to the other. A side is read only
 * while little waits for the other, so that a slow reader is felt by the
 * writer as it would be without us. One timer serves all that waits.
 */
#include "node/lab/relay.h"

#include "node/base/mem.h"

#include <utlist.h>
#include <uv.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define READ_SIZE (64u << 10)
#define WAITING_MAX (1u << 20) /* bytes of one direction */
#define CONNECTIONS_MAX 4096
#define BACKLOG 128

enum ending { GOES_ON, ENDS, BREAKS };

struct chunk {
	struct chunk *prev, *next;
	uint64_t due_us;
	enum ending ending; /* n is 0 unless it goes on */
	size_t n;
	uv_write_t req;
	struct side *to; /* while it is written */
	uint8_t bytes[];
};

struct side {
	uv_tcp_t tcp;
	struct conn *conn;
	size_t node;
	struct chunk *queue; /* read here, not yet written there */
	size_t queued;	     /* bytes of it */
	size_t writing;	     /* bytes under way out of here */
	uint64_t last_us;    /* order is kept */
	bool reading, ended; /* by its node */
	bool shut;	     /* by us: the other's end was passed on */
	uv_shutdown_t shutdown;
};

/* side[0] dialled us, side[1] is what we dial. */
struct conn {
	struct conn *prev, *next;
	struct relay *r;
	struct side side[2];
	uv_connect_t connect;
	bool connecting, up, closing;
	bool severed; /* begun across a cut */
	unsigned handles;
};

struct port {
	struct relay *r;
	size_t node;
	uint16_t port;	       /* of the relay */
	struct sockaddr_in at; /* the node */
	uv_tcp_t listener;
	uv_udp_t udp;
};

struct relay {
	struct loop *loop;
	struct impair *im;
	struct port *ports[LAB_NODES_MAX];
	size_t n;
	struct conn *conns;
	size_t nconns;
	struct parcels parcels;
	struct loop_timer *timer;
	uint64_t timer_us; /* UINT64_MAX: not armed */
	unsigned handles;
	bool stopping;
	loop_fn done;
	void *done_arg;
	char in[READ_SIZE];
};

static uint64_t now_us(void)
{
	return clock_ns() / 1000;
}

static void arm(struct relay *r, uint64_t due_us)
{
	if (due_us >= r->timer_us || r->stopping)
		return;
	const uint64_t now = now_us();
	r->timer_us = due_us;
	loop_timer_set(r->timer, due_us > now ? (due_us - now) / 1000 : 0);
}

/* --- the end of things --- */

static void maybe_stopped(struct relay *r)
{
	if (!r->stopping || r->handles || r->conns)
		return;
	for (size_t i = 0; i < r->n; i++)
		free(r->ports[i]);
	parcels_release(&r->parcels);
	loop_timer_free(r->timer);
	loop_post(r->loop, r->done, r->done_arg);
	free(r);
}

static void on_side_closed(uv_handle_t *h)
{
	struct side *s = h->data;
	struct conn *c = s->conn;
	struct relay *r = c->r;
	struct chunk *k, *tmp;

	DL_FOREACH_SAFE (s->queue, k, tmp) {
		DL_DELETE(s->queue, k);
		free(k);
	}
	if (--c->handles)
		return;
	DL_DELETE(r->conns, c);
	r->nconns--;
	free(c);
	maybe_stopped(r);
}

static void conn_close(struct conn *c, bool reset)
{
	if (c->closing)
		return;
	c->closing = true;
	for (int i = 0; i < 2; i++) {
		uv_tcp_t *t = &c->side[i].tcp;
		/* Refused after a shutdown, and for what is not connected. */
		if (!reset ||
		    uv_tcp_close_reset(t, (uv_close_cb)on_side_closed))
			uv_close((uv_handle_t *)t, on_side_closed);
	}
}

/* --- streams --- */

static void side_read(struct side *s);

static void on_written(uv_write_t *req, int status)
{
	struct chunk *k = req->data;
	struct side *to = k->to;
	struct conn *c = to->conn;

	to->writing -= k->n;
	free(k);
	if (status && !c->closing)
		conn_close(c, true);
	else if (!c->closing)
		side_read(&c->side[to == &c->side[0]]);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
	struct side *s = req->data;
	struct conn *c = s->conn;

	(void)status;
	if (c->side[0].shut && c->side[1].shut)
		conn_close(c, false);
}

/* Gives the other side what has arrived there. */
static void side_pump(struct side *s, uint64_t now)
{
	struct conn *c = s->conn;
	struct side *to = &c->side[s == &c->side[0]];

	while (s->queue && s->queue->due_us <= now && !c->closing) {
		struct chunk *k = s->queue;
		uv_buf_t b = uv_buf_init((char *)k->bytes, (unsigned)k->n);

		DL_DELETE(s->queue, k);
		s->queued -= k->n;
		if (k->ending != GOES_ON) {
			const bool breaks = k->ending == BREAKS;
			free(k);
			to->shut = true;
			to->shutdown.data = to;
			if (breaks ||
			    uv_shutdown(&to->shutdown, (uv_stream_t *)&to->tcp,
					on_shutdown))
				conn_close(c, true);
			return;
		}
		k->req.data = k;
		k->to = to;
		to->writing += k->n;
		if (uv_write(&k->req, (uv_stream_t *)&to->tcp, &b, 1,
			     on_written)) {
			to->writing -= k->n;
			free(k);
			conn_close(c, true);
		}
	}
	if (s->queue && !c->closing)
		arm(c->r, s->queue->due_us);
}

static bool conn_flows(const struct conn *c)
{
	return c->up && !c->closing &&
	       impair_joined(c->r->im, c->side[0].node, c->side[1].node);
}

static void put_chunk(struct side *s, const void *p, size_t n,
		      enum ending ending)
{
	struct chunk *k = xcalloc(1, sizeof(*k) + n);
	struct relay *r = s->conn->r;

	k->n = n;
	k->ending = ending;
	if (n)
		memcpy(k->bytes, p, n);
	k->due_us = impair_stream(r->im, s->node, n, now_us());
	if (k->due_us < s->last_us)
		k->due_us = s->last_us;
	s->last_us = k->due_us;
	DL_APPEND(s->queue, k);
	s->queued += n;
	if (conn_flows(s->conn))
		side_pump(s, now_us());
}

static void on_alloc(uv_handle_t *h, size_t want, uv_buf_t *b)
{
	const struct side *s = h->data;

	(void)want;
	*b = uv_buf_init(s->conn->r->in, READ_SIZE);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b)
{
	struct side *s = stream->data;
	struct conn *c = s->conn;

	if (n == 0)
		return;
	if (n < 0) {
		uv_read_stop(stream);
		s->reading = false;
		s->ended = true;
		put_chunk(s, NULL, 0, n == UV_EOF ? ENDS : BREAKS);
		return;
	}
	put_chunk(s, b->base, (size_t)n, GOES_ON);
	const struct side *to = &c->side[s == &c->side[0]];
	if (s->queued + to->writing > WAITING_MAX && !c->closing) {
		uv_read_stop(stream);
		s->reading = false;
	}
}

static void side_read(struct side *s)
{
	const struct side *to = &s->conn->side[s == &s->conn->side[0]];

	if (s->reading || s->ended || s->queued + to->writing > WAITING_MAX)
		return;
	s->reading = !uv_read_start((uv_stream_t *)&s->tcp, on_alloc, on_read);
}

static void on_connected(uv_connect_t *req, int status)
{
	struct conn *c = req->data;

	c->connecting = false;
	if (c->closing)
		return;
	if (status) {
		conn_close(c, true);
		return;
	}
	c->up = true;
	for (int i = 0; i < 2; i++) {
		uv_tcp_nodelay(&c->side[i].tcp, 1);
		side_read(&c->side[i]);
	}
}

/* From the dialler's own address, as without us: limits count by it. */
static bool conn_connect(struct conn *c)
{
	const struct port *to = c->r->ports[c->side[1].node];
	struct sockaddr_in from = c->r->ports[c->side[0].node]->at;
	uv_tcp_t *t = &c->side[1].tcp;

	from.sin_port = 0;
	c->connect.data = c;
	c->connecting = true;
	return !uv_tcp_bind(t, (const struct sockaddr *)&from, 0) &&
	       !uv_tcp_connect(&c->connect, t, (const struct sockaddr *)&to->at,
			       on_connected);
}

/* The node whose address this is, or n. */
static size_t node_at(const struct relay *r, const struct sockaddr_in *a)
{
	size_t i = 0;

	while (i < r->n &&
	       r->ports[i]->at.sin_addr.s_addr != a->sin_addr.s_addr)
		i++;
	return i;
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct port *p = listener->data;
	struct relay *r = p->r;
	struct sockaddr_storage from = {0};
	int len = sizeof(from);

	if (status)
		return;
	struct conn *c = HN_NEW(struct conn);
	c->r = r;
	c->handles = 2;
	for (int i = 0; i < 2; i++) {
		uv_tcp_init(loop_uv(r->loop), &c->side[i].tcp);
		c->side[i].tcp.data = &c->side[i];
		c->side[i].conn = c;
	}
	c->side[1].node = p->node;
	DL_APPEND(r->conns, c);
	r->nconns++;
	if (uv_accept(listener, (uv_stream_t *)&c->side[0].tcp) ||
	    uv_tcp_getpeername(&c->side[0].tcp, (struct sockaddr *)&from,
			       &len)) {
		conn_close(c, false);
		return;
	}
	c->side[0].node = node_at(r, (const struct sockaddr_in *)&from);
	if (r->stopping || r->nconns > CONNECTIONS_MAX ||
	    c->side[0].node == r->n) {
		/* A node that only looks whether somebody listens (probe.c)
		 * does so from no address of its own: no reset. */
		conn_close(c, false);
		return;
	}
	c->severed = !impair_joined(r->im, c->side[0].node, p->node);
	if (!c->severed && !conn_connect(c))
		conn_close(c, true);
}

/* --- datagrams --- */

static void on_datagram_alloc(uv_handle_t *h, size_t want, uv_buf_t *b)
{
	const struct port *p = h->data;

	(void)want;
	*b = uv_buf_init(p->r->in, READ_SIZE);
}

static void on_datagram(uv_udp_t *udp, ssize_t n, const uv_buf_t *b,
			const struct sockaddr *from, unsigned flags)
{
	struct port *p = udp->data;
	struct relay *r = p->r;
	const struct sockaddr_in *a = (const void *)from;
	size_t i = 0;
	uint64_t due;

	(void)flags;
	if (n <= 0 || !from || from->sa_family != AF_INET)
		return;
	while (i < r->n && r->ports[i]->at.sin_port != a->sin_port)
		i++;
	if (i == r->n ||
	    !impair_packet(r->im, i, p->node, (size_t)n, now_us(), &due))
		return;
	if (parcels_put(&r->parcels, due, i, p->node, b->base, (size_t)n))
		arm(r, due);
}

static void send_parcels(struct relay *r, uint64_t now)
{
	struct parcel *x;
	uint64_t due;

	while ((x = parcels_take(&r->parcels, now))) {
		struct sockaddr_in to = r->ports[x->to]->at;
		uv_buf_t b = uv_buf_init((char *)x->bytes, (unsigned)x->n);

		/* The DHT's socket is bound to all addresses. */
		to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		if (impair_joined(r->im, x->from, x->to) &&
		    uv_udp_try_send(&r->ports[x->from]->udp, &b, 1,
				    (const struct sockaddr *)&to) < 0)
			r->im->lost++;
		free(x);
	}
	if (parcels_due(&r->parcels, &due))
		arm(r, due);
}

/* --- the whole --- */

static void pump(struct relay *r)
{
	const uint64_t now = now_us();
	struct conn *c;

	send_parcels(r, now);
	DL_FOREACH (r->conns, c) {
		for (int i = 0; i < 2; i++)
			if (conn_flows(c))
				side_pump(&c->side[i], now);
	}
}

static void on_timer(void *arg)
{
	struct relay *r = arg;

	r->timer_us = UINT64_MAX;
	pump(r);
}

void relay_changed(struct relay *r)
{
	struct conn *c;

	DL_FOREACH (r->conns, c) {
		if (c->severed &&
		    impair_joined(r->im, c->side[0].node, c->side[1].node))
			conn_close(c, true);
	}
	pump(r);
}

size_t relay_connections(const struct relay *r)
{
	return r->nconns;
}

struct relay *relay_new(struct loop *loop, struct impair *im)
{
	struct relay *r = HN_NEW(struct relay);

	r->loop = loop;
	r->im = im;
	r->timer = loop_timer_new(loop, on_timer, r);
	r->timer_us = UINT64_MAX;
	return r;
}

static void on_port_closed(uv_handle_t *h)
{
	struct port *p = h->data;

	p->r->handles--;
	maybe_stopped(p->r);
}

static void port_close(struct port *p)
{
	uv_close((uv_handle_t *)&p->listener, on_port_closed);
	uv_close((uv_handle_t *)&p->udp, on_port_closed);
}

/* One number for both: TCP takes any free one, then UDP has it or not. */
static int port_open(struct port *p)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct sockaddr_storage got;
	int len = sizeof(got);

	int e = uv_tcp_bind(&p->listener, (const struct sockaddr *)&a, 0);
	if (!e)
		e = uv_listen((uv_stream_t *)&p->listener, BACKLOG,
			      on_connection);
	if (!e)
		e = uv_tcp_getsockname(&p->listener, (struct sockaddr *)&got,
				       &len);
	if (e)
		return e;
	a.sin_port = ((const struct sockaddr_in *)&got)->sin_port;
	p->port = ntohs(a.sin_port);
	e = uv_udp_bind(&p->udp, (const struct sockaddr *)&a, 0);
	return e ? e
		 : uv_udp_recv_start(&p->udp, on_datagram_alloc, on_datagram);
}

/* The memory goes with the relay: a port that was tried in vain is kept where
 * its handles' close finds it. */
static void on_tried_closed(uv_handle_t *h)
{
	struct port *p = h->data;
	struct relay *r = p->r;

	r->handles--;
	if (!--p->node)
		free(p);
	maybe_stopped(r);
}

static struct port *port_new(struct relay *r)
{
	struct port *p = HN_NEW(struct port);

	p->r = r;
	p->listener.data = p->udp.data = p;
	uv_tcp_init(loop_uv(r->loop), &p->listener);
	uv_udp_init(loop_uv(r->loop), &p->udp);
	r->handles += 2;
	return p;
}

enum err relay_add(struct relay *r, const char *host, uint16_t port,
		   uint16_t *out, struct buf *why)
{
	int e = UV_ENOBUFS;

	for (int tries = 0; tries < 20; tries++) {
		struct port *p = port_new(r);

		e = uv_ip4_addr(host, port, &p->at);
		if (!e)
			e = port_open(p);
		if (!e) {
			p->node = r->n;
			r->ports[r->n++] = p;
			*out = p->port;
			return OK;
		}
		p->node = 2; /* handles that are still to close */
		uv_close((uv_handle_t *)&p->listener, on_tried_closed);
		uv_close((uv_handle_t *)&p->udp, on_tried_closed);
		if (e != UV_EADDRINUSE)
			break;
	}
	buf_printf(why, "the lab's relay finds no free port on 127.0.0.1: %s",
		   uv_strerror(e));
	return ERR_IO;
}

void relay_stop(struct relay *r, loop_fn done, void *arg)
{
	struct conn *c;

	r->stopping = true;
	loop_timer_cancel(r->timer);
	r->done = done;
	r->done_arg = arg;
	DL_FOREACH (r->conns, c) {
		conn_close(c, true);
	}
	for (size_t i = 0; i < r->n; i++)
		port_close(r->ports[i]);
	/* With nothing open, done still comes from a post. */
	maybe_stopped(r);
}
