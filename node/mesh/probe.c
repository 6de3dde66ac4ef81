/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/probe.h"

#include "node/base/mem.h"
#include "node/mesh/address.h"

#include <uv.h>

#include <stdlib.h>

#define PROBE_MAX 8

struct
try {
	uv_tcp_t tcp;
	uv_connect_t request;
	struct probe *probe;
	unsigned bit;
};

struct probe {
	struct loop *loop;
	struct loop_timer *timer;
	struct try *tries[PROBE_MAX];
	unsigned open; /* handles that are not closed yet */
	unsigned worked, tried;
	const char *error;
	probe_fn fn; /* NULL: canceled or told */
	void *arg;
};

static void on_closed(uv_handle_t *h)
{
	struct try *t = h->data;
	struct probe *p = t->probe;

	free(t);
	if (--p->open)
		return;
	if (p->fn)
		p->fn(p->arg, p->worked, p->tried, p->error);
	loop_timer_free(p->timer);
	free(p);
}

static void close_try(struct try *t)
{
	t->probe->tries[t->bit] = NULL;
	uv_close((uv_handle_t *)&t->tcp, on_closed);
}

static void on_connect(uv_connect_t *request, int status)
{
	struct try *t = request->data;

	if (uv_is_closing((uv_handle_t *)&t->tcp))
		return;
	if (status)
		t->probe->error = uv_strerror(status);
	else
		t->probe->worked |= 1u << t->bit;
	close_try(t);
}

static void close_all(struct probe *p)
{
	for (unsigned i = 0; i < PROBE_MAX; i++)
		if (p->tries[i])
			close_try(p->tries[i]);
}

static void on_late(void *arg)
{
	struct probe *p = arg;

	p->error = "no answer";
	close_all(p);
}

static void try_one(struct probe *p, const char *text, unsigned bit)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} to;
	struct address a;

	if (!address_parse(text, &a) || (uv_ip4_addr(a.host, a.port, &to.in) &&
					 uv_ip6_addr(a.host, a.port, &to.in6)))
		return;
	struct try *t = HN_NEW(struct try);
	t->probe = p;
	t->bit = bit;
	if (uv_tcp_init(loop_uv(p->loop), &t->tcp)) {
		free(t);
		return;
	}
	t->tcp.data = t;
	t->request.data = t;
	p->open++;
	p->tried |= 1u << bit;
	p->tries[bit] = t;
	int rv = uv_tcp_connect(&t->request, &t->tcp, &to.any, on_connect);
	if (rv) {
		p->error = uv_strerror(rv);
		close_try(t);
	}
}

struct probe *probe_start(struct loop *l, const struct strs *address,
			  probe_fn fn, void *arg)
{
	struct probe *p = HN_NEW(struct probe);

	*p = (struct probe){.loop = l, .fn = fn, .arg = arg};
	for (unsigned i = 0; i < address->n && i < PROBE_MAX; i++)
		try_one(p, address->items[i], i);
	if (!p->open) {
		free(p);
		return NULL;
	}
	p->timer = loop_timer_new(l, on_late, p);
	loop_timer_set(p->timer, PROBE_MS);
	return p;
}

void probe_cancel(struct probe *p)
{
	p->fn = NULL;
	loop_timer_cancel(p->timer);
	close_all(p);
}
