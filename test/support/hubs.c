/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "test/support/hubs.h"

#include "node/base/mem.h"

#include <setjmp.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The loop */

static void on_limit(void *arg)
{
	struct bench *b = arg;
	b->late = true;
	loop_stop(b->loop);
}

static void on_poll(void *arg)
{
	struct bench *b = arg;
	if (b->cond && b->cond(b->arg))
		loop_stop(b->loop);
}

struct bench *bench_new(void)
{
	struct bench *b = HN_NEW(struct bench);
	b->loop = loop_new();
	b->limit = loop_timer_new(b->loop, on_limit, b);
	b->poll = loop_timer_new(b->loop, on_poll, b);
	return b;
}

void bench_free(struct bench *b)
{
	loop_timer_free(b->limit);
	loop_timer_free(b->poll);
	assert_true(loop_free(b->loop));
	free(b);
}

void until(struct bench *b, bool (*cond)(void *arg), void *arg)
{
	if (cond(arg))
		return;
	b->late = false;
	b->cond = cond;
	b->arg = arg;
	loop_timer_set(b->limit, UNTIL_MS);
	loop_timer_every(b->poll, 1);
	loop_run(b->loop);
	loop_timer_cancel(b->limit);
	loop_timer_cancel(b->poll);
	b->cond = NULL;
	assert_false(b->late);
}

void run_for(struct bench *b, uint64_t ms)
{
	loop_timer_set(b->limit, ms);
	loop_run(b->loop);
}

/* Hubs */

static void on_creds(void *arg, struct session_creds *out)
{
	const struct hnode *n = arg;
	*out = n->creds;
}

static enum err on_admit(void *arg, const struct session_hello *hello,
			 const struct session_psk *psk, struct buf *why)
{
	struct hnode *n = arg;
	n->admits++;
	n->seen = *hello;
	n->seen_cert = hello->cert.n;
	n->seen_kind = psk->kind;
	n->seen_tag = psk->tag;
	if (n->admit)
		buf_add_str(why, n->admit_why);
	return n->admit;
}

static void on_up(void *arg, struct session *s)
{
	struct hnode *n = arg;
	n->ups++;
	n->s = s;
	assert_true(session_is_up(s));
}

static enum err on_record(void *arg, struct session *s, const uint8_t *p,
			  size_t len)
{
	struct hnode *n = arg;
	buf_add(&n->in, p, len);
	n->records++;
	if (n->on_record)
		n->on_record(n, s);
	return n->record_answer;
}

static void on_writable(void *arg, struct session *s)
{
	struct hnode *n = arg;
	n->writables++;
	if (n->on_writable)
		n->on_writable(n, s);
}

static void on_retire(void *arg, struct session *s)
{
	struct hnode *n = arg;
	n->retires++;
	assert_true(session_retiring(s));
	if (!n->keep_retired)
		session_close(s, OK, "idle and replaced");
}

static void on_down(void *arg, struct session *s, enum err why,
		    const char *text, bool dup)
{
	struct hnode *n = arg;
	n->downs++;
	n->dups += dup;
	n->down_why = why;
	n->down_dup = dup;
	snprintf(n->down_text, sizeof(n->down_text), "%s", text);
	if (n->s == s)
		n->s = hub_find(n->hub, session_peer(s));
}

static void on_copied(void *arg, const struct node_id *id, const char *address)
{
	struct hnode *n = arg;
	(void)id;
	assert_non_null(strchr(address, ':'));
	n->copies++;
}

static struct hnode *new_with(struct bench *b, struct identity *me)
{
	struct hnode *n = HN_NEW(struct hnode);

	n->bench = b;
	n->me = me;
	memset(n->creds.mesh_id, 0x4d, sizeof(n->creds.mesh_id));
	memset(n->creds.psks[0].key, 0x50, 32);
	n->creds.npsks = 1;
	n->o = (struct hub_options){
	    .loop = b->loop,
	    .me = me,
	    .features = 5,
	    .arg = n,
	    .creds = on_creds,
	    .admit = on_admit,
	    .up = on_up,
	    .record = on_record,
	    .writable = on_writable,
	    .retire = on_retire,
	    .down = on_down,
	    .copied_key = on_copied,
	};
	randombytes_buf(n->o.boot_id, sizeof(n->o.boot_id));
	return n;
}

struct hnode *hnode_new(struct bench *b)
{
	return new_with(b, identity_random());
}

struct hnode *hnode_twin(struct hnode *of)
{
	struct hnode *n = new_with(of->bench, NULL);
	n->o.me = of->o.me;
	return n;
}

void hnode_start(struct hnode *n, bool listen)
{
	struct buf why = {0};

	/* As the program does: a peer that is gone is an error code. */
	signal(SIGPIPE, SIG_IGN);
	n->hub = hub_new(&n->o);
	if (listen)
		assert_int_equal(
		    hub_listen(n->hub, "tcp://127.0.0.1:0", &n->port, &why),
		    OK);
	buf_release(&why);
}

static void on_stopped(void *arg)
{
	struct hnode *n = arg;
	n->stopped = true;
}

static bool is_stopped(void *arg)
{
	return ((struct hnode *)arg)->stopped;
}

void hnode_stop(struct hnode *n)
{
	hub_stop(n->hub, on_stopped, n);
	until(n->bench, is_stopped, n);
	n->hub = NULL;
	n->s = NULL;
}

void hnode_free(struct hnode *n)
{
	if (!n)
		return;
	if (n->hub)
		hnode_stop(n);
	identity_free(n->me);
	buf_release(&n->in);
	free(n);
}

void hnode_send(struct session *s, const void *p, size_t n)
{
	memcpy(session_space(s, n), p, n);
}

/* Dials */

static void on_dialled(void *arg, enum err e, struct session *s,
		       const char *text)
{
	struct dialling *d = arg;
	assert_false(d->done);
	d->done = true;
	d->e = e;
	d->s = s;
	snprintf(d->text, sizeof(d->text), "%s", text ? text : "");
}

void dial_begin(struct dialling *d, struct hnode *from, struct hnode *to,
		uint16_t port, const struct session_psk *psk, bool aes,
		uint32_t timeout_ms)
{
	memset(d, 0, sizeof(*d));
	d->bench = from->bench;
	d->d = hub_dial(from->hub, identity_id(to->o.me), "127.0.0.1", port,
			psk, aes, timeout_ms, on_dialled, d);
	assert_false(d->done);
}

static bool dial_is_done(void *arg)
{
	return ((struct dialling *)arg)->done;
}

enum err dial(struct dialling *d, struct hnode *from, struct hnode *to)
{
	dial_begin(d, from, to, to->port, NULL, false, 5000);
	until(d->bench, dial_is_done, d);
	return d->e;
}

void connect_hubs(struct hnode *from, struct hnode *to)
{
	struct dialling d;

	if (dial(&d, from, to))
		print_error("dial: %s\n", d.text);
	assert_int_equal(d.e, OK);
	assert_ptr_equal(d.s, from->s);
	assert_non_null(to->s); /* the responder is up first */
}

/* Raw ends */

static void on_alloc(uv_handle_t *h, size_t size, uv_buf_t *buf)
{
	(void)h;
	(void)size;
	*buf = uv_buf_init(xmalloc(65536), 65536);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct raw *r = s->data;
	if (n > 0)
		buf_add(&r->in, buf->base, (size_t)n);
	else if (n < 0)
		r->closed = true;
	free(buf->base);
}

static void on_connect(uv_connect_t *req, int status)
{
	struct raw *r = req->data;
	free(req);
	if (r->closing)
		return;
	r->connected = status == 0;
	r->closed = status != 0;
	if (r->connected)
		uv_read_start((uv_stream_t *)&r->tcp, on_alloc, on_read);
}

static bool raw_is_connected(void *arg)
{
	const struct raw *r = arg;
	return r->connected || r->closed;
}

static struct raw *raw_new(struct bench *b)
{
	struct raw *r = HN_NEW(struct raw);
	r->bench = b;
	uv_tcp_init(loop_uv(b->loop), &r->tcp);
	uv_tcp_nodelay(&r->tcp, 1);
	r->tcp.data = r;
	return r;
}

static void raw_dial(struct raw *r, uint16_t port)
{
	struct sockaddr_in sa;
	uv_connect_t *req = HN_NEW(uv_connect_t);

	uv_ip4_addr("127.0.0.1", port, &sa);
	req->data = r;
	assert_int_equal(uv_tcp_connect(req, &r->tcp,
					(const struct sockaddr *)&sa,
					on_connect),
			 0);
}

struct raw *raw_connect(struct bench *b, uint16_t port)
{
	struct raw *r = raw_new(b);
	raw_dial(r, port);
	until(b, raw_is_connected, r);
	assert_true(r->connected);
	return r;
}

static void on_written(uv_write_t *req, int status)
{
	(void)status;
	free(req);
}

void raw_send(struct raw *r, const void *p, size_t n)
{
	struct {
		uv_write_t req;
		uint8_t copy[];
	} *w = xmalloc(sizeof(*w) + n);
	uv_buf_t buf = uv_buf_init((char *)w->copy, (unsigned)n);

	if (n)
		memcpy(w->copy, p, n);
	if (uv_write(&w->req, (uv_stream_t *)&r->tcp, &buf, 1, on_written))
		free(w);
}

static void on_raw_closed(uv_handle_t *h)
{
	struct raw *r = h->data;
	buf_release(&r->in);
	free(r);
}

void raw_close(struct raw *r)
{
	r->closing = true;
	uv_close((uv_handle_t *)&r->tcp, on_raw_closed);
}

bool raw_is_closed(void *raw)
{
	return ((struct raw *)raw)->closed;
}

static void on_raw_accept(uv_stream_t *server, int status)
{
	struct raw_server *rs = server->data;
	struct raw *r = raw_new(rs->bench);

	assert_int_equal(status, 0);
	assert_int_equal(uv_accept(server, (uv_stream_t *)&r->tcp), 0);
	if (rs->n == HN_COUNT(rs->clients)) {
		raw_close(r);
		return;
	}
	rs->clients[rs->n++] = r;
	r->connected = true;
	uv_read_start((uv_stream_t *)&r->tcp, on_alloc, on_read);
	if (rs->answer_n)
		raw_send(r, rs->answer, rs->answer_n);
}

static struct raw_server *serve(struct bench *b, uv_connection_cb fn)
{
	struct raw_server *rs = HN_NEW(struct raw_server);
	struct sockaddr_storage sa;
	int len = sizeof(sa);

	rs->bench = b;
	uv_tcp_init(loop_uv(b->loop), &rs->tcp);
	rs->tcp.data = rs;
	uv_ip4_addr("127.0.0.1", 0, (struct sockaddr_in *)&sa);
	uv_tcp_bind(&rs->tcp, (const struct sockaddr *)&sa, 0);
	assert_int_equal(uv_listen((uv_stream_t *)&rs->tcp, 16, fn), 0);
	uv_tcp_getsockname(&rs->tcp, (struct sockaddr *)&sa, &len);
	rs->port = ntohs(((struct sockaddr_in *)&sa)->sin_port);
	return rs;
}

struct raw_server *raw_serve(struct bench *b, const void *answer, size_t n)
{
	struct raw_server *rs = serve(b, on_raw_accept);
	memcpy(rs->answer, answer, n);
	rs->answer_n = n;
	return rs;
}

static void on_server_closed(uv_handle_t *h)
{
	free(h->data);
}

void raw_server_free(struct raw_server *rs)
{
	for (size_t i = 0; i < rs->n; i++)
		raw_close(rs->clients[i]);
	uv_close((uv_handle_t *)&rs->tcp, on_server_closed);
}

/* Proxy. Chunks are what one read gave. */

struct hop {
	struct proxy *p;
	struct raw *to;
	bool to_server;
};

static void pass(struct proxy *p, struct raw *to, bool to_server, uint8_t *at,
		 size_t n)
{
	if (!to_server || p->damage == PASS) {
		raw_send(to, at, n);
		return;
	}
	switch (p->damage) {
	case PASS:
	case SILENT:
		break;
	case FLIP:
		at[n / 2] ^= 0x10;
		raw_send(to, at, n);
		break;
	case REPEAT:
		raw_send(to, at, n);
		raw_send(to, at, n);
		break;
	case SWAP:
		if (!p->held.n) {
			buf_add(&p->held, at, n);
			break;
		}
		raw_send(to, at, n);
		raw_send(to, p->held.p, p->held.n);
		buf_clear(&p->held);
		break;
	}
}

static void on_pass(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct raw *r = s->data;
	struct hop *hop = (struct hop *)r->in.p;
	struct proxy *p = hop->p;

	if (n > 0 && p->damage != SILENT)
		pass(p, hop->to, hop->to_server, (uint8_t *)buf->base,
		     (size_t)n);
	free(buf->base);
	if (n < 0 && p->damage != SILENT)
		proxy_cut(p);
}

/* The hop lives in the raw's own buffer, which is not used otherwise. */
static void hop_begin(struct proxy *p, struct raw *from, struct raw *to,
		      bool to_server)
{
	const struct hop hop = {p, to, to_server};
	buf_add(&from->in, &hop, sizeof(hop));
	uv_read_start((uv_stream_t *)&from->tcp, on_alloc, on_pass);
}

static void on_far_connected(uv_connect_t *req, int status)
{
	struct proxy *p = req->data;
	free(req);
	if (status || !p->near)
		return;
	hop_begin(p, p->near, p->far, true);
	hop_begin(p, p->far, p->near, false);
}

static void on_near(uv_stream_t *server, int status)
{
	struct raw_server *rs = server->data;
	struct proxy *p = rs->owner;
	struct sockaddr_in sa;
	uv_connect_t *req = HN_NEW(uv_connect_t);

	assert_int_equal(status, 0);
	proxy_cut(p);
	p->near = raw_new(p->bench);
	assert_int_equal(uv_accept(server, (uv_stream_t *)&p->near->tcp), 0);
	p->far = raw_new(p->bench);
	uv_ip4_addr("127.0.0.1", p->to, &sa);
	req->data = p;
	uv_tcp_connect(req, &p->far->tcp, (const struct sockaddr *)&sa,
		       on_far_connected);
}

struct proxy *proxy_new(struct bench *b, uint16_t to)
{
	struct proxy *p = HN_NEW(struct proxy);

	p->bench = b;
	p->to = to;
	p->server = serve(b, on_near);
	p->server->owner = p;
	p->port = p->server->port;
	return p;
}

void proxy_cut(struct proxy *p)
{
	if (p->near)
		raw_close(p->near);
	if (p->far)
		raw_close(p->far);
	p->near = p->far = NULL;
}

void proxy_free(struct proxy *p)
{
	proxy_cut(p);
	raw_server_free(p->server);
	buf_release(&p->held);
	free(p);
}
