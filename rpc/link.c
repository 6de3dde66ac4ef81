/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Bytes over nng streams, owned by the loop.
 *
 * nng completes operations on threads of its own; handing each completion to
 * the loop costs two thread switches per small message. So, wherever it can
 * be had, nothing is left for those threads to do:
 *
 * Writing is done inline in either mode. An aio without a callback completes
 * in the calling thread; send, cancel, wait and result together are one write
 * that does not block (NNG_ECANCELED with nothing sent: it would have).
 *
 * LINK_AUTO: for tcp the stream's descriptor is found by its two addresses
 * among our own (1.5.2 has no option for it), and a duplicate is watched by
 * the loop with uv_poll; reading is then inline too. No aio with a callback
 * ever stands on such a stream, so nng's poller has nothing to say about it.
 *
 * LINK_POSTED, and every local socket: one receive aio whose callback posts
 * to the loop, which takes the buffer and only then receives again: at most
 * one buffer per link is in flight. A write that would block is given to a
 * second aio with a callback.
 *
 * Tried by measurement and not taken: work in nng's callback under a lock (two
 * owners for a session), libuv alone (it would have to dial and listen).
 *
 * An aio's callback only posts. nng_aio_stop from the loop therefore never
 * waits long, and a post made before the stop runs before the one that frees
 * the link, which is queued after it.
 */
#include "rpc/link.h"
#include "rpc/link_impl.h"

#include "node/base/log.h"
#include "node/base/mem.h"
#include "rpc/place.h"

#include <nng/nng.h>
#include <nng/supplemental/util/platform.h>
#include <uv.h>

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_WATCHED (128u << 10) /* one buffer per ctx, used for a moment */
#define READ_POSTED (64u << 10)	  /* one per link */
#define OUT_KEEP \
	(64u << 10) /* a larger buffer is given back when it is empty \
		     */
#define ADDRESSES 8 /* of one name that are tried */

struct link_ctx {
	struct loop *loop;
	enum link_io io;
	nng_aio *inl; /* no callback: inline operations of all links */
	struct link_addr source; /* zeros: any */
	uint8_t *shared;	 /* READ_WATCHED bytes */
	size_t live;		 /* links and listeners not yet freed */
	bool stopping;
	loop_fn done;
	void *done_arg;
};

struct link {
	struct link_ctx *ctx;
	unsigned refs; /* owner, posts and handles that point here; loop only */
	bool started, paused, dead;
	bool failed;  /* closed was or will be called */
	bool reset;   /* by the peer, while it was failing */
	bool wbroken; /* writing failed; reading will tell */
	bool uid_known;
	const struct link_ops *ops;
	void *arg;
	nng_stream *stream;
	struct link_addr peer;
	uint64_t uid;
	uint64_t writes;

	/* dialling */
	nng_stream_dialer *dialer;
	uv_getaddrinfo_t resolve;
	bool resolving;
	char *what; /* for sentences: host:port or path */
	struct link_addr addrs[ADDRESSES];
	size_t naddrs, addr;
	uint16_t port;
	uint64_t deadline; /* loop_ms */

	/* out grows, sending stands still from sent_off on until it is gone */
	struct buf out, sending;
	size_t sent_off;

	/* watched */
	uv_poll_t *poll;
	int fd;
	bool want_write;

	/* posted */
	nng_aio *rx, *tx; /* rx: also the dial */
	uint8_t *in;
	bool reading, tx_busy;
	enum err why;
	char *text;
};

/* Context */

static void run_done(void *arg)
{
	struct link_ctx *c = arg;
	loop_fn done = c->done;
	void *done_arg = c->done_arg;

	nng_aio_free(c->inl);
	free(c->shared);
	free(c);
	done(done_arg);
}

struct loop *link_ctx_ref(struct link_ctx *c)
{
	c->live++;
	return c->loop;
}

void link_ctx_unref(struct link_ctx *c)
{
	if (--c->live == 0)
		loop_post(c->loop, run_done, c);
}

struct link_ctx *link_ctx_new(struct loop *l, enum link_io io)
{
	struct link_ctx *c = HN_NEW(struct link_ctx);

	c->loop = l;
	c->io = io;
	c->live = 1; /* link_ctx_stop takes it back */
	if (nng_aio_alloc(&c->inl, NULL, NULL))
		abort(); /* as xmalloc */
	return c;
}

void link_ctx_source(struct link_ctx *c, const char *host)
{
	if (!link_addr_parse(host, &c->source))
		c->source = (struct link_addr){0};
}

void link_ctx_stop(struct link_ctx *c, loop_fn done, void *arg)
{
	assert(!c->stopping);
	c->stopping = true;
	c->done = done;
	c->done_arg = arg;
	link_ctx_unref(c);
}

void link_library_end(void)
{
	nng_fini();
}

/* Addresses */

static bool addr_of_nng(nng_stream *s, const char *opt, struct link_addr *a)
{
	nng_sockaddr sa;

	if (nng_stream_get_addr(s, opt, &sa))
		return false;
	if (sa.s_family == NNG_AF_INET)
		link_addr_v4(a, &sa.s_in.sa_addr, sa.s_in.sa_port);
	else if (sa.s_family == NNG_AF_INET6)
		link_addr_v6(a, sa.s_in6.sa_addr, sa.s_in6.sa_port);
	else
		return false;
	return true;
}

/* Errors */

static enum err err_of(int rv, bool local)
{
	switch (rv) {
	case NNG_ECONNREFUSED:
		return local ? ERR_NONODE : ERR_GONE;
	case NNG_ENOENT:
		return ERR_NONODE;
	case NNG_ETIMEDOUT:
		return ERR_TIMEOUT;
	case NNG_EADDRINVAL:
		return ERR_NOTFOUND;
	case NNG_EPERM:
		return ERR_DENIED;
	case NNG_ECONNSHUT:
	case NNG_ECLOSED:
	case NNG_ECONNRESET:
	case NNG_ECONNABORTED:
		return ERR_GONE;
	default:
		return ERR_IO;
	}
}

static const char *text_of(int rv)
{
	switch (rv) {
	case NNG_ECONNREFUSED:
		return "connection refused, nobody listens there";
	case NNG_ENOENT:
		return "no such socket";
	case NNG_ETIMEDOUT:
		return "no answer in time";
	case NNG_ECONNSHUT:
	case NNG_ECLOSED:
		return "the peer closed the connection";
	case NNG_ECONNRESET:
		return "the peer reset the connection";
	default:
		return nng_strerror(rv);
	}
}

/* Life */

static struct link *link_new(struct link_ctx *c)
{
	struct link *l = HN_NEW(struct link);

	l->ctx = c;
	l->refs = 1;
	l->fd = -1;
	link_ctx_ref(c);
	return l;
}

static void link_unref(struct link *l)
{
	struct link_ctx *c = l->ctx;

	if (--l->refs)
		return;
	buf_release(&l->out);
	buf_release(&l->sending);
	free(l->what);
	free(l->text);
	free(l->in);
	free(l);
	link_ctx_unref(c);
}

static void post_unref(void *arg)
{
	link_unref(arg);
}

static void on_poll_closed(uv_handle_t *h)
{
	struct link *l = h->data;

	close(l->fd);
	free(h);
	link_unref(l);
}

static void drop_stream(struct link *l)
{
	if (l->stream)
		nng_stream_close(l->stream);
	if (l->dialer)
		nng_stream_dialer_close(l->dialer);
	if (l->rx) {
		nng_aio_stop(l->rx);
		if (l->dialer && !nng_aio_result(l->rx)) /* just connected */
			l->stream = nng_aio_get_output(l->rx, 0);
		nng_aio_free(l->rx);
	}
	if (l->tx) {
		nng_aio_stop(l->tx);
		nng_aio_free(l->tx);
	}
	if (l->stream)
		nng_stream_free(l->stream);
	if (l->dialer)
		nng_stream_dialer_free(l->dialer);
	l->stream = NULL;
	l->dialer = NULL;
	l->rx = l->tx = NULL;
}

void link_close(struct link *l)
{
	if (!l)
		return;
	assert(!l->dead);
	l->dead = true;
	if (l->resolving)
		uv_cancel((uv_req_t *)&l->resolve); /* its callback comes */
	if (l->poll) {
		uv_poll_stop(l->poll);
		uv_close((uv_handle_t *)l->poll, on_poll_closed);
		l->poll = NULL;
	}
	drop_stream(l);
	loop_post(l->ctx->loop, post_unref, l);
}

static void on_failed(void *arg)
{
	struct link *l = arg;

	if (!l->dead)
		l->ops->closed(l->arg, l->why, l->text);
	link_unref(l);
}

/* Ends in ops->closed, from a post: callers may be anywhere. */
static void fail_with(struct link *l, enum err why, const char *text)
{
	if (l->failed || l->dead)
		return;
	l->failed = true;
	l->why = why;
	l->text = l->what ? xasprintf("%s: %s", l->what, text) : xstrdup(text);
	if (l->poll)
		uv_poll_stop(l->poll);
	l->refs++;
	loop_post(l->ctx->loop, on_failed, l);
}

static void fail(struct link *l, int rv)
{
	l->reset |= rv == NNG_ECONNRESET;
	fail_with(l, err_of(rv, !l->peer.port && !l->naddrs), text_of(rv));
}

/* Reading */

static void on_rx_posted(void *arg);

static void on_rx(void *arg) /* an nng thread */
{
	struct link *l = arg;
	loop_post(l->ctx->loop, on_rx_posted, l);
}

static void read_more(struct link *l)
{
	if (l->dead || l->failed || l->paused || l->reading || !l->started)
		return;
	if (!l->in)
		l->in = xmalloc(READ_POSTED);
	nng_iov iov = {l->in, READ_POSTED};
	nng_aio_set_iov(l->rx, 1, &iov);
	l->reading = true;
	nng_stream_recv(l->stream, l->rx);
}

static void on_rx_posted(void *arg)
{
	struct link *l = arg;

	l->reading = false;
	if (l->dead)
		return; /* the post that frees l comes after this one */
	const int rv = nng_aio_result(l->rx);
	if (rv) {
		fail(l, rv);
		return;
	}
	l->refs++;
	l->ops->bytes(l->arg, l->in, nng_aio_count(l->rx));
	read_more(l);
	link_unref(l);
}

static bool inline_done(struct link *l, size_t *n, int *rv)
{
	nng_aio *a = l->ctx->inl;

	nng_aio_cancel(a);
	nng_aio_wait(a);
	*rv = nng_aio_result(a);
	*n = nng_aio_count(a);
	return *rv == 0;
}

/*
 * The loop says readable and nng says nothing is there: nng's poller saw a
 * hang-up and closed its side first, or the wake-up was spurious.
 */
static void read_nothing(struct link *l)
{
	uint8_t b;
	const ssize_t n = recv(l->fd, &b, 1, MSG_PEEK | MSG_DONTWAIT);

	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	fail(l, n < 0 && errno == ECONNRESET ? NNG_ECONNRESET : NNG_ECONNSHUT);
}

static void read_watched(struct link *l)
{
	struct link_ctx *c = l->ctx;
	size_t n;
	int rv;

	if (!c->shared)
		c->shared = xmalloc(READ_WATCHED);
	nng_iov iov = {c->shared, READ_WATCHED};
	nng_aio_set_iov(c->inl, 1, &iov);
	nng_stream_recv(l->stream, c->inl);
	if (inline_done(l, &n, &rv))
		l->ops->bytes(l->arg, c->shared, n);
	else if (rv == NNG_ECANCELED)
		read_nothing(l);
	else
		fail(l, rv);
}

static void watch(struct link *l);
static void write_more(struct link *l);

static void on_poll(uv_poll_t *h, int status, int events)
{
	struct link *l = h->data;

	l->refs++;
	if (status < 0)
		fail(l, NNG_ECONNSHUT);
	if (!l->dead && !l->failed && (events & UV_WRITABLE) && l->want_write) {
		l->want_write = false;
		write_more(l);
		if (!l->dead)
			l->ops->sent(l->arg);
		if (!l->dead && !l->want_write)
			watch(l);
	}
	if (!l->dead && !l->failed && !l->paused && (events & UV_READABLE))
		read_watched(l);
	link_unref(l);
}

/* libuv takes a descriptor out of the kernel's set on every change of its
 * events, which is why this is called on changes only. */
static void watch(struct link *l)
{
	int events = 0;

	if (!l->poll || l->failed)
		return;
	if (l->started && !l->paused)
		events |= UV_READABLE;
	if (l->want_write)
		events |= UV_WRITABLE;
	if (events)
		uv_poll_start(l->poll, events, on_poll);
	else
		uv_poll_stop(l->poll);
}

void link_pause(struct link *l, bool paused)
{
	if (l->paused == paused)
		return;
	l->paused = paused;
	if (l->poll)
		watch(l);
	else
		read_more(l);
}

/* Writing */

static void on_tx_posted(void *arg);

static void on_tx(void *arg) /* an nng thread */
{
	struct link *l = arg;
	loop_post(l->ctx->loop, on_tx_posted, l);
}

static void write_broken(struct link *l, int rv)
{
	/*
	 * What the peer said before it closed, such as why, may still be
	 * unread: the reader finds both. A paused one never would.
	 */
	l->wbroken = true;
	buf_clear(&l->sending);
	l->sent_off = 0;
	if (l->paused)
		fail(l, rv);
}

static void wrote(struct link *l, size_t n)
{
	l->sent_off += n;
	if (l->sent_off < l->sending.n)
		return;
	l->sent_off = 0;
	buf_clear(&l->sending);
	if (l->sending.cap > OUT_KEEP)
		buf_release(&l->sending);
}

/* Writes until all is gone or it would block. */
static void write_more(struct link *l)
{
	while (l->sending.n) {
		nng_iov iov = {l->sending.p + l->sent_off,
			       l->sending.n - l->sent_off};
		size_t n;
		int rv;

		nng_aio_set_iov(l->ctx->inl, 1, &iov);
		nng_stream_send(l->stream, l->ctx->inl);
		l->writes++;
		if (inline_done(l, &n, &rv)) {
			wrote(l, n);
			continue;
		}
		if (rv != NNG_ECANCELED) {
			write_broken(l, rv);
			return;
		}
		if (l->poll) {
			l->want_write = true;
			watch(l);
			return;
		}
		nng_aio_set_iov(l->tx, 1, &iov);
		l->tx_busy = true;
		nng_stream_send(l->stream, l->tx);
		return;
	}
}

static void on_tx_posted(void *arg)
{
	struct link *l = arg;

	l->tx_busy = false;
	if (l->dead)
		return;
	const int rv = nng_aio_result(l->tx);
	if (rv) {
		write_broken(l, rv);
		return;
	}
	wrote(l, nng_aio_count(l->tx));
	l->refs++;
	write_more(l);
	l->ops->sent(l->arg);
	link_unref(l);
}

struct buf *link_out(struct link *l)
{
	return &l->out;
}

bool link_ready(const struct link *l)
{
	return !l->sending.n;
}

size_t link_queued(const struct link *l)
{
	return l->out.n + l->sending.n - l->sent_off;
}

uint64_t link_writes(const struct link *l)
{
	return l->writes;
}

void link_flush(struct link *l)
{
	if (l->dead || l->failed || l->wbroken) {
		buf_clear(&l->out);
		return;
	}
	if (l->sending.n || !l->out.n || !l->stream)
		return;
	const struct buf empty = l->sending;
	l->sending = l->out;
	l->out = empty;
	write_more(l);
	if (!l->sending.n && !l->out.cap) { /* the usual case: one buffer */
		l->out = l->sending;
		l->sending = (struct buf){0};
	}
}

void link_trim(struct link *l)
{
	if (!l->sending.n)
		buf_release(&l->sending);
	if (!l->out.n)
		buf_release(&l->out);
}

/* Opening */

static void watch_begin(struct link *l)
{
	struct link_addr local;

	if (l->ctx->io != LINK_AUTO || !l->peer.port ||
	    !addr_of_nng(l->stream, NNG_OPT_LOCADDR, &local))
		return;
	l->fd = link_addr_descriptor(&local, &l->peer);
	if (l->fd < 0)
		return;
	l->poll = HN_NEW(uv_poll_t);
	if (uv_poll_init(loop_uv(l->ctx->loop), l->poll, l->fd)) {
		close(l->fd);
		free(l->poll);
		l->poll = NULL;
		return;
	}
	l->poll->data = l;
	uv_unref((uv_handle_t *)l->poll);
	l->refs++;
}

static void aio_new(nng_aio **a, void (*fn)(void *), void *arg)
{
	if (nng_aio_alloc(a, fn, arg))
		abort(); /* as xmalloc */
}

static void stream_take(struct link *l, nng_stream *s)
{
	l->stream = s;
	addr_of_nng(s, NNG_OPT_REMADDR, &l->peer);
	if (!l->peer.port)
		l->uid_known =
		    !nng_stream_get_uint64(s, NNG_OPT_IPC_PEER_UID, &l->uid);
}

struct link *link_accepted(struct link_ctx *c, nng_stream *take_s)
{
	struct link *l = link_new(c);

	stream_take(l, take_s);
	return l;
}

/* Not before somebody wants the link: to find the descriptor costs a look at
 * all of ours, too much for a flood that is closed unread. */
static void stream_begin(struct link *l)
{
	watch_begin(l);
	if (l->poll)
		return;
	aio_new(&l->rx, on_rx, l);
	aio_new(&l->tx, on_tx, l);
}

void link_start(struct link *l, const struct link_ops *ops, void *arg)
{
	l->ops = ops;
	l->arg = arg;
	l->started = true;
	if (!l->poll && !l->rx)
		stream_begin(l);
	if (l->poll)
		watch(l);
	else
		read_more(l);
}

/* Dialling */

static void dial_next(struct link *l);

static void on_dial_posted(void *arg)
{
	struct link *l = arg;

	if (l->dead)
		return;
	const int rv = nng_aio_result(l->rx);
	nng_stream *s = rv ? NULL : nng_aio_get_output(l->rx, 0);
	nng_aio_free(l->rx);
	l->rx = NULL;
	nng_stream_dialer_free(l->dialer);
	l->dialer = NULL;
	if (rv && ++l->addr < l->naddrs) {
		dial_next(l);
		return;
	}
	if (rv) {
		fail(l, rv);
		return;
	}
	free(l->what);
	l->what = NULL;
	stream_take(l, s);
	stream_begin(l);
	l->refs++;
	l->ops->open(l->arg);
	if (!l->dead)
		link_start(l, l->ops, l->arg);
	link_unref(l);
}

static void on_dialled(void *arg) /* an nng thread */
{
	struct link *l = arg;
	loop_post(l->ctx->loop, on_dial_posted, l);
}

/* A wildcard's zeros have no family in common with anything but v6, whose
 * any is what we would get without asking. */
static void dial_from(struct link *l, const struct link_addr *to)
{
	const struct link_addr *from = &l->ctx->source;
	static const uint8_t zeros[16], v4[12] = {[10] = 0xff, 0xff};
	const bool is_v4 = !memcmp(from->ip, v4, 12);
	nng_sockaddr sa = {0};

	if (!memcmp(from->ip, zeros, 16) ||
	    (is_v4 && !memcmp(from->ip + 12, zeros, 4)) ||
	    is_v4 != !memcmp(to->ip, v4, 12) ||
	    link_addr_is_loopback(from) != link_addr_is_loopback(to))
		return;
	if (is_v4) {
		sa.s_in.sa_family = NNG_AF_INET;
		memcpy(&sa.s_in.sa_addr, from->ip + 12, 4);
	} else {
		sa.s_in6.sa_family = NNG_AF_INET6;
		sa.s_in6.sa_scope = from->scope;
		memcpy(sa.s_in6.sa_addr, from->ip, 16);
	}
	int rv = nng_stream_dialer_set_addr(l->dialer, NNG_OPT_LOCADDR, &sa);
	if (rv)
		log_debug("net", "dials from anywhere: %s", nng_strerror(rv));
}

/* Each address gets an even share of the time that is left. */
static void dial_url(struct link *l, const char *url, size_t left)
{
	const uint64_t now = loop_ms(l->ctx->loop);
	const uint64_t ms = l->deadline > now ? (l->deadline - now) / left : 0;
	int rv = nng_stream_dialer_alloc(&l->dialer, url);

	if (rv) {
		l->dialer = NULL;
		fail(l, rv);
		return;
	}
	/* Refused for local sockets, the default for tcp: we want to be sure.
	 */
	(void)nng_stream_dialer_set_bool(l->dialer, NNG_OPT_TCP_NODELAY, true);
	if (l->naddrs)
		dial_from(l, &l->addrs[l->addr]);
	aio_new(&l->rx, on_dialled, l);
	nng_aio_set_timeout(l->rx, ms ? (nng_duration)ms : 1);
	nng_stream_dialer_dial(l->dialer, l->rx);
}

static void dial_next(struct link *l)
{
	struct buf url = {0};

	buf_add_str(&url, "tcp://");
	link_addr_str(&l->addrs[l->addr], &url);
	dial_url(l, buf_str(&url), l->naddrs - l->addr);
	buf_release(&url);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
	struct link *l = req->data;

	l->resolving = false;
	for (const struct addrinfo *a = res;
	     a && !status && l->naddrs < ADDRESSES; a = a->ai_next)
		if (link_addr_of_sockaddr(a->ai_addr, &l->addrs[l->naddrs])) {
			l->addrs[l->naddrs].port = l->port;
			l->naddrs++;
		}
	if (res)
		uv_freeaddrinfo(res);
	if (!l->dead && !l->naddrs)
		fail_with(l, ERR_NOTFOUND, "this name has no address");
	else if (!l->dead)
		dial_next(l);
	link_unref(l);
}

static void on_dial_numeric(void *arg)
{
	struct link *l = arg;

	if (!l->dead)
		dial_next(l);
	link_unref(l);
}

static struct link *dial_new(struct link_ctx *c, uint32_t timeout_ms,
			     const struct link_ops *ops, void *arg)
{
	struct link *l = link_new(c);

	l->ops = ops;
	l->arg = arg;
	l->deadline = loop_ms(c->loop) + timeout_ms;
	return l;
}

enum err link_dial(struct link_ctx *c, const char *host, uint16_t port,
		   uint32_t timeout_ms, const struct link_ops *ops, void *arg,
		   struct link **out)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC,
				       .ai_socktype = SOCK_STREAM};
	struct link_addr a;
	const bool is_numeric = link_addr_parse(host, &a);

	if (!port || (!is_numeric && !link_host_is_name(host)))
		return ERR_INPUT;
	struct link *l = dial_new(c, timeout_ms, ops, arg);
	l->port = port;
	l->what =
	    xasprintf(strchr(host, ':') && host[0] != '[' ? "[%s]:%u" : "%s:%u",
		      host, port);
	l->refs++;
	if (is_numeric) {
		a.port = port;
		l->addrs[0] = a;
		l->naddrs = 1;
		loop_post(c->loop, on_dial_numeric, l);
		*out = l;
		return OK;
	}
	l->resolve.data = l;
	l->resolving = true;
	if (uv_getaddrinfo(loop_uv(c->loop), &l->resolve, on_resolved, host,
			   NULL, &hints)) {
		l->resolving = false;
		fail_with(l, ERR_NOTFOUND, "the name cannot be looked up");
		link_unref(l);
	}
	*out = l;
	return OK;
}

enum err link_dial_ipc(struct link_ctx *c, const char *path,
		       uint32_t timeout_ms, const struct link_ops *ops,
		       void *arg, struct link **out)
{
	if (!place_path_ok(path))
		return ERR_INPUT;
	struct link *l = dial_new(c, timeout_ms, ops, arg);
	char *url = xasprintf("ipc://%s", path);
	l->what = xstrdup(path);
	dial_url(l, url, 1);
	free(url);
	*out = l;
	return OK;
}

/* Facts */

const struct link_addr *link_peer(const struct link *l)
{
	return &l->peer;
}

bool link_peer_uid(const struct link *l, uint64_t *uid)
{
	if (!l->uid_known)
		return false;
	*uid = l->uid;
	return true;
}

bool link_tcp(const struct link *l, struct link_tcp *out)
{
	return l->fd >= 0 && link_fd_tcp(l->fd, out);
}

bool link_was_reset(const struct link *l)
{
	return l->reset;
}

bool link_is_watched(const struct link *l)
{
	return l->poll != NULL;
}
