/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Listeners: one accept is under way at a time, and its outcome comes by a
 * post, as everything of nng's threads does (link.c).
 */
#include "rpc/link_impl.h"

#include "node/base/log.h"
#include "node/base/mem.h"
#include "rpc/link.h"
#include "rpc/place.h"

#include <nng/nng.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ACCEPT_RETRY_MS 100 /* after an accept that failed: no descriptors */

struct link_listener {
	struct link_ctx *ctx;
	struct loop *loop;
	nng_stream_listener *l;
	nng_aio *aio;
	struct loop_timer *retry;
	link_accept_fn fn;
	void *arg;
	bool dead;
	bool accepting; /* and the outcome is not taken yet */
};

static void accept_next(void *arg)
{
	struct link_listener *ll = arg;

	ll->accepting = true;
	nng_stream_listener_accept(ll->l, ll->aio);
}

static void on_accept_posted(void *arg)
{
	struct link_listener *ll = arg;

	if (ll->dead)
		return;
	ll->accepting = false;
	const int rv = nng_aio_result(ll->aio);
	if (rv == NNG_ECLOSED || rv == NNG_ECANCELED)
		return;
	if (rv) {
		static struct log_gate gate;
		log_every(&gate, 10000, LOG_DEBUG, "rpc",
			  "accept failed, retrying in %d ms: %s",
			  ACCEPT_RETRY_MS, nng_strerror(rv));
		loop_timer_set(ll->retry, ACCEPT_RETRY_MS);
		return;
	}
	ll->fn(ll->arg, link_accepted(ll->ctx, nng_aio_get_output(ll->aio, 0)));
	if (!ll->dead)
		accept_next(ll);
}

static void on_accept(void *arg) /* an nng thread */
{
	struct link_listener *ll = arg;
	loop_post(ll->loop, on_accept_posted, ll);
}

static enum err listen_begin(struct link_ctx *c, nng_stream_listener *nl,
			     link_accept_fn fn, void *arg,
			     struct link_listener **out)
{
	struct link_listener *ll = HN_NEW(struct link_listener);

	ll->ctx = c;
	ll->loop = link_ctx_ref(c);
	ll->l = nl;
	ll->fn = fn;
	ll->arg = arg;
	ll->retry = loop_timer_new(ll->loop, accept_next, ll);
	if (nng_aio_alloc(&ll->aio, on_accept, ll))
		abort(); /* as xmalloc */
	accept_next(ll);
	*out = ll;
	return OK;
}

enum err link_listen(struct link_ctx *c, const char *url, link_accept_fn fn,
		     void *arg, uint16_t *port, struct buf *why,
		     struct link_listener **out)
{
	nng_stream_listener *nl;
	const char *colon = strrchr(url, ':');
	int bound;

	if (strncmp(url, "tcp://", 6) || !colon || colon < url + 6) {
		buf_printf(why, "%s: not of the form tcp://ADDRESS:PORT",
			   log_quote(url));
		return ERR_CONFIG;
	}
	int rv = nng_stream_listener_alloc(&nl, url);
	if (rv) {
		buf_printf(why, "%s: %s", log_quote(url), nng_strerror(rv));
		return ERR_CONFIG;
	}
	(void)nng_stream_listener_set_bool(nl, NNG_OPT_TCP_NODELAY, true);
	rv = nng_stream_listener_listen(nl);
	if (!rv)
		rv = nng_stream_listener_get_int(nl, NNG_OPT_TCP_BOUND_PORT,
						 &bound);
	if (rv) {
		nng_stream_listener_free(nl);
		buf_printf(why, "cannot listen on %s: %s", url + 6,
			   rv == NNG_EADDRINUSE ? "the port is taken"
						: nng_strerror(rv));
		if (rv == NNG_EADDRINUSE)
			place_port_holder(
			    (uint16_t)strtoul(colon + 1, NULL, 10), why);
		return rv == NNG_EADDRINUSE ? ERR_EXISTS : ERR_IO;
	}
	*port = (uint16_t)bound;
	return listen_begin(c, nl, fn, arg, out);
}

static enum err ipc_listen_locked(struct link_ctx *c, const char *path,
				  link_accept_fn fn, void *arg, struct buf *why,
				  struct link_listener **out)
{
	nng_stream_listener *nl;
	enum err e = place_clear_socket(path, why);

	if (e)
		return e;
	char *url = xasprintf("ipc://%s", path);
	int rv = nng_stream_listener_alloc(&nl, url);
	free(url);
	if (!rv) {
		rv = nng_stream_listener_set_int(nl, NNG_OPT_IPC_PERMISSIONS,
						 0600);
		if (!rv)
			rv = nng_stream_listener_listen(nl);
		if (rv)
			nng_stream_listener_free(nl);
	}
	if (rv) {
		buf_printf(why, "cannot listen on %s: %s", path,
			   nng_strerror(rv));
		return ERR_IO;
	}
	return listen_begin(c, nl, fn, arg, out);
}

enum err link_listen_ipc(struct link_ctx *c, const char *path,
			 link_accept_fn fn, void *arg, struct buf *why,
			 struct link_listener **out)
{
	if (!place_path_ok(path)) {
		buf_printf(why, "%s: too long for a socket", path);
		return ERR_CONFIG;
	}
	int lock = place_lock_dir(path, why);
	if (lock < 0)
		return ERR_IO;
	enum err e = ipc_listen_locked(c, path, fn, arg, why, out);
	close(lock);
	return e;
}

static void free_listener(void *arg)
{
	struct link_listener *ll = arg;
	struct link_ctx *c = ll->ctx;

	free(ll);
	link_ctx_unref(c);
}

void link_listener_close(struct link_listener *ll)
{
	if (!ll)
		return;
	assert(!ll->dead);
	ll->dead = true;
	nng_stream_listener_close(ll->l);
	nng_aio_stop(ll->aio);
	if (ll->accepting && !nng_aio_result(ll->aio)) /* just came */
		nng_stream_free(nng_aio_get_output(ll->aio, 0));
	nng_aio_free(ll->aio);
	nng_stream_listener_free(ll->l);
	loop_timer_free(ll->retry);
	loop_post(ll->loop, free_listener, ll);
}
