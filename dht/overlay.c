/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * OpenDHT calls back on its own thread with its lock held, so such a callback
 * copies, posts and returns. What it is given is a struct op: one operation of
 * OpenDHT's, which lives until OpenDHT can call no more for it. That is after
 * the done callback of a get, a put or a ping, after the end callback of a
 * listen (OpenDHT calls it when it destroys the listener), or, since a node
 * that is deleted drops what is pending without a word, after dht_runner_delete
 * returned. Posts keep their order, so the post that follows delete is behind
 * every post of OpenDHT's threads, and frees what is left. Hence no lock and no
 * count is needed, and a late callback finds its op alive.
 *
 * Bootstrapping is done with pings and not with dht_runner_bootstrap: that one
 * keeps every address for ever, duplicates too, looks names up on the DHT
 * thread, and never tells who answered. While a ping is under way and nobody
 * has answered yet OpenDHT holds gets and puts back, up to 3 s.
 *
 * OpenDHT 2.4 signals its condition variable without holding the mutex that
 * its thread waits with, so the signal for an operation is lost when it comes
 * at the wrong moment, and the operation waits for the next packet or timer,
 * which on a quiet node may be seconds away. So each operation is followed by
 * two nudges: operations that do nothing, a little later.
 *
 * While OpenDHT knows only nodes that never replied to us, such as newcomers
 * that asked us something, it holds everything back too, and it asks them
 * something itself only after seconds to minutes. But a search that is never
 * done asks each new node at once. So the first thing an overlay does, while it
 * knows nobody and nothing is held back, is to listen to a random key for ever.
 *
 * Connected means: a ping was answered, or a get of a random key ended well,
 * which needs some node that answers. The get is repeated every 60 s, sooner
 * while nobody answers.
 */
#include "dht/overlay.h"

#include "dht/bootstrap.h"
#include "node/base/log.h"
#include "node/base/mem.h"

#include <opendht/opendht_c.h>
#include <sodium.h>
#include <uv.h>

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROBE_FIRST_MS 250
#define PROBE_ALONE_MS 5000 /* longest delay while nobody answers */
#define PROBE_MS 60000
#define PINGS_PER_TICK 16
#define TICK_LEAST_MS 100
#define NUDGE_MS 5 /* the second one 5 times as late */
#define GRACE_MAX_MS 2000
/* Values of one listen that wait for the loop; about 600 KiB. */
#define WAITING_MAX 512

_Static_assert(BOOTSTRAPS == OVERLAY_BOOTSTRAPS, "as overlay.h says");
_Static_assert(HASH_LEN == OVERLAY_KEY_SIZE, "a DHT key");

enum op_kind { OP_LISTEN, OP_GET, OP_PUT, OP_PROBE, OP_PING };

struct op {
	struct overlay *o;
	struct op *prev, *next;
	enum op_kind kind;
	/* Set by the loop, read by the loop; NULL once nobody cares. */
	struct overlay_listen *listen;
	struct overlay_put *put;
	unsigned boot; /* id of the bootstrap that is pinged */
	atomic_uint waiting;
};

/* From OpenDHT's threads to the loop. */
struct post {
	struct op *op;
	bool ok;
	size_t n;
	uint8_t p[];
};

struct overlay_listen {
	struct overlay *o;
	struct overlay_listen *prev, *next;
	dht_infohash key;
	struct op *op;
	dht_op_token *token;
	bool getting, again;
	overlay_value_fn fn;
	void *arg;
};

struct overlay_put {
	struct overlay *o;
	struct overlay_put *prev, *next;
	dht_infohash key;
	dht_value *value;
	bool done, ended;
	overlay_put_fn fn;
	void *arg;
};

struct lookup {
	uv_getaddrinfo_t req;
	struct overlay *o; /* NULL: the overlay is gone */
	struct lookup *prev, *next;
	unsigned boot;
};

struct overlay {
	struct loop *loop;
	dht_runner *runner;
	uint16_t port;
	void *arg;
	void (*on_connected)(void *arg, bool yes);

	struct op *ops;
	struct overlay_listen *listens;
	struct overlay_put *puts;
	struct bootstraps boots;
	struct lookup *lookups;

	struct loop_timer *tick;
	uint64_t tick_ms; /* when it is due */
	bool connected, probing;
	unsigned probes_failed;
	uint64_t probe_due_ms;
	atomic_ullong dropped;
	struct loop_timer *nudge;
	unsigned nudges; /* to come */

	struct loop_timer *grace;
	bool stopping, deleting;
	loop_fn done;
	void *done_arg;
};

#define LIST_ADD(head, x) \
	do { \
		(x)->prev = NULL; \
		(x)->next = (head); \
		if ((x)->next) \
			(x)->next->prev = (x); \
		(head) = (x); \
	} while (0)
#define LIST_CUT(head, x) \
	do { \
		if ((x)->prev) \
			(x)->prev->next = (x)->next; \
		else \
			(head) = (x)->next; \
		if ((x)->next) \
			(x)->next->prev = (x)->prev; \
	} while (0)

static struct op *op_new(struct overlay *o, enum op_kind kind)
{
	struct op *op = HN_NEW(struct op);
	op->o = o;
	op->kind = kind;
	LIST_ADD(o->ops, op);
	o->nudges = 2;
	loop_timer_set(o->nudge, NUDGE_MS);
	return op;
}

static void on_nudge(void *arg)
{
	struct overlay *o = arg;
	dht_infohash none;

	dht_infohash_zero(&none);
	dht_runner_cancel_put(o->runner, &none, 0);
	if (--o->nudges)
		loop_timer_set(o->nudge, 5 * NUDGE_MS);
}

static void op_free(struct op *op)
{
	LIST_CUT(op->o->ops, op);
	free(op);
}

/* On OpenDHT's threads */

static void on_post_value(void *arg);
static void on_post_done(void *arg);

static void post_value(struct op *op, const dht_value *v)
{
	const dht_data_view d = dht_value_get_data(v);

	if (d.size > OVERLAY_VALUE_MAX ||
	    atomic_load(&op->waiting) >= WAITING_MAX) {
		atomic_fetch_add(&op->o->dropped, 1);
		return;
	}
	atomic_fetch_add(&op->waiting, 1);
	struct post *p = xmalloc(sizeof(*p) + d.size);
	p->op = op;
	p->ok = true;
	p->n = d.size;
	if (d.size)
		memcpy(p->p, d.data, d.size);
	loop_post(op->o->loop, on_post_value, p);
}

static void post_done(struct op *op, bool ok)
{
	struct post *p = xmalloc(sizeof(*p));
	p->op = op;
	p->ok = ok;
	p->n = 0;
	loop_post(op->o->loop, on_post_done, p);
}

static bool on_dht_value(const dht_value *v, bool expired, void *arg)
{
	/* Records carry their own time; that a copy went says nothing. */
	if (!expired)
		post_value(arg, v);
	return true;
}

static bool on_dht_get(const dht_value *v, void *arg)
{
	post_value(arg, v);
	return true;
}

static bool on_dht_probe(const dht_value *v, void *arg)
{
	(void)v;
	(void)arg;
	return true;
}

static void on_dht_done(bool ok, void *arg)
{
	post_done(arg, ok);
}

static void on_dht_listen_end(void *arg)
{
	post_done(arg, true);
}

/* Connected or not */

/* No later than that; an earlier tick that is set stays. */
static void tick_at(struct overlay *o, uint64_t due_ms)
{
	const uint64_t least = loop_ms(o->loop) + TICK_LEAST_MS;

	if (due_ms < least)
		due_ms = least;
	if (loop_timer_armed(o->tick) && o->tick_ms <= due_ms)
		return;
	o->tick_ms = due_ms;
	loop_timer_set(o->tick, due_ms - loop_ms(o->loop));
}

static void set_connected(struct overlay *o, bool yes)
{
	if (yes)
		o->probes_failed = 0;
	if (o->connected == yes)
		return;
	o->connected = yes;
	log_debug("dht", yes ? "connected" : "nobody answers");
	if (o->on_connected)
		o->on_connected(o->arg, yes);
}

static void probe(struct overlay *o)
{
	dht_infohash key;

	o->probing = true;
	o->probe_due_ms = UINT64_MAX;
	dht_infohash_random(&key);
	dht_runner_get(o->runner, &key, on_dht_probe, on_dht_done,
		       op_new(o, OP_PROBE));
}

/* A sign of life or of silence: ask soon whether it is so. */
static void probe_soon(struct overlay *o)
{
	if (o->probing)
		return;
	const uint64_t at = loop_ms(o->loop) + TICK_LEAST_MS;
	if (o->probe_due_ms > at)
		o->probe_due_ms = at;
	tick_at(o, o->probe_due_ms);
}

static uint64_t alone_delay(unsigned failed)
{
	const uint64_t ms =
	    failed < 8 ? (uint64_t)PROBE_FIRST_MS << failed : PROBE_ALONE_MS;
	return ms < PROBE_ALONE_MS ? ms : PROBE_ALONE_MS;
}

static void probe_done(struct overlay *o, bool ok)
{
	const bool was = o->connected;

	o->probing = false;
	if (!ok)
		o->probes_failed++;
	/*
	 * One failed get among good ones may be three lost packets; what we
	 * know of is asked before it is said.
	 */
	if (ok)
		set_connected(o, true);
	else if (o->probes_failed > 1)
		set_connected(o, false);
	o->probe_due_ms =
	    loop_ms(o->loop) + (ok ? PROBE_MS : alone_delay(o->probes_failed));
	tick_at(o, o->probe_due_ms);
	if (!was || ok)
		return;
	bootstraps_hurry(&o->boots);
	tick_at(o, 0);
}

/* Bootstraps */

static void bootstrap_ping(struct overlay *o, struct bootstrap *b)
{
	struct op *op = op_new(o, OP_PING);
	socklen_t n;
	const struct sockaddr *to = bootstrap_next(b, &n);

	op->boot = b->id;
	b->pinging = true;
	dht_runner_ping(o->runner, (struct sockaddr *)to, n, on_dht_done, op);
}

static void ping_done(struct overlay *o, unsigned id, bool ok)
{
	struct bootstrap *b = bootstraps_by_id(&o->boots, id);

	if (b) {
		bootstrap_outcome(b, loop_ms(o->loop), ok);
		tick_at(o, b->due_ms);
	}
	if (ok)
		set_connected(o, true);
}

static void on_looked_up(uv_getaddrinfo_t *req, int status, struct addrinfo *ai)
{
	struct lookup *l = req->data;
	struct overlay *o = l->o;

	if (o) {
		LIST_CUT(o->lookups, l);
		struct bootstrap *b = bootstraps_by_id(&o->boots, l->boot);
		if (b) {
			b->looking = false;
			if (!status)
				bootstrap_keep(b, ai);
			if (!status && b->naddr && !o->stopping)
				bootstrap_ping(o, b);
			else
				b->failed++;
		}
	}
	uv_freeaddrinfo(ai);
	free(l);
}

static void bootstrap_lookup(struct overlay *o, struct bootstrap *b)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM,
				       .ai_flags =
					   AI_NUMERICSERV | AI_ADDRCONFIG};
	struct lookup *l = HN_NEW(struct lookup);

	l->o = o;
	l->boot = b->id;
	l->req.data = l;
	if (uv_getaddrinfo(loop_uv(o->loop), &l->req, on_looked_up, b->host,
			   b->port, &hints)) {
		b->failed++;
		free(l);
		return;
	}
	b->looking = true;
	LIST_ADD(o->lookups, l);
}

static void bootstrap_ask(struct overlay *o, struct bootstrap *b)
{
	bootstrap_asked(b, loop_ms(o->loop));
	/* A name may have moved: looked up again until it answers. */
	if (!b->numeric && (!b->naddr || b->failed))
		bootstrap_lookup(o, b);
	else
		bootstrap_ping(o, b);
}

static void on_tick(void *arg)
{
	struct overlay *o = arg;
	const uint64_t now = loop_ms(o->loop);
	uint64_t next;
	int pings = 0;

	if (!o->probing && o->probe_due_ms <= now)
		probe(o);
	next = o->probe_due_ms;
	for (size_t i = 0; i < o->boots.n; i++) {
		struct bootstrap *b = &o->boots.items[i];
		if (b->pinging || b->looking) {
			if (b->due_ms <= now)
				b->due_ms = now + BOOTSTRAP_FIRST_MS;
		} else if (b->due_ms <= now && pings < PINGS_PER_TICK) {
			pings++;
			bootstrap_ask(o, b);
		}
		if (b->due_ms < next)
			next = b->due_ms;
	}
	if (next != UINT64_MAX)
		tick_at(o, next);
}

void overlay_bootstrap(struct overlay *o, const char *host, const char *port)
{
	bool fresh;

	loop_assert(o->loop);
	if (o->stopping)
		return;
	struct bootstrap *b = bootstraps_add(&o->boots, host, port, &fresh);
	if (!b) {
		log_debug("dht", "not an address, ignored host=%s port=%s",
			  log_quote(host), log_quote(port));
		return;
	}
	if (o->connected && b->answered && !b->failed)
		return; /* it is asked once a minute anyway */
	const uint64_t now = loop_ms(o->loop);
	const uint64_t at = fresh ? now : b->asked_ms + BOOTSTRAP_FIRST_MS;
	if (at < b->due_ms)
		b->due_ms = at;
	if (b->due_ms <= now && !b->pinging && !b->looking)
		bootstrap_ask(o, b);
	tick_at(o, b->due_ms);
}

void overlay_hint(struct overlay *o, const char *address)
{
	char host[BOOTSTRAP_HOST];
	const char *port;

	if (bootstraps_answering(&o->boots) < OVERLAY_HINTS &&
	    bootstrap_split(address, host, &port))
		overlay_bootstrap(o, host, port);
}

void overlay_bootstraps(const struct overlay *o,
			void (*fn)(void *arg, const char *host,
				   const char *port, bool answered,
				   unsigned failed),
			void *arg)
{
	loop_assert(o->loop);
	for (size_t i = 0; i < o->boots.n; i++) {
		const struct bootstrap *b = &o->boots.items[i];
		fn(arg, b->host, b->port, b->answered, b->failed);
	}
}

/* Values */

static dht_infohash key_of(const uint8_t key[static 20])
{
	dht_infohash h;
	memcpy(h.d, key, sizeof(h.d));
	return h;
}

struct overlay_listen *overlay_listen(struct overlay *o,
				      const uint8_t key[static 20],
				      overlay_value_fn fn, void *arg)
{
	struct overlay_listen *l = HN_NEW(struct overlay_listen);

	loop_assert(o->loop);
	assert(!o->stopping);
	l->o = o;
	l->key = key_of(key);
	l->fn = fn;
	l->arg = arg;
	l->op = op_new(o, OP_LISTEN);
	l->op->listen = l;
	l->token = dht_runner_listen(o->runner, &l->key, on_dht_value,
				     on_dht_listen_end, l->op);
	LIST_ADD(o->listens, l);
	return l;
}

void overlay_refresh(struct overlay_listen *l)
{
	loop_assert(l->o->loop);
	if (l->getting) {
		l->again = true;
		return;
	}
	struct op *op = op_new(l->o, OP_GET);
	op->listen = l;
	l->getting = true;
	dht_runner_get(l->o->runner, &l->key, on_dht_get, on_dht_done, op);
}

void overlay_unlisten(struct overlay_listen *l)
{
	struct overlay *o = l->o;

	loop_assert(o->loop);
	for (struct op *op = o->ops; op; op = op->next)
		if (op->listen == l)
			op->listen = NULL;
	/* Once each: a second cancel aborts. */
	dht_runner_cancel_listen(o->runner, &l->key, l->token);
	dht_op_token_delete(l->token);
	LIST_CUT(o->listens, l);
	free(l);
}

struct overlay_put *overlay_put(struct overlay *o, const uint8_t key[static 20],
				const void *p, size_t n, overlay_put_fn done,
				void *arg)
{
	struct overlay_put *put = HN_NEW(struct overlay_put);
	struct op *op = op_new(o, OP_PUT);

	loop_assert(o->loop);
	assert(!o->stopping && n <= OVERLAY_VALUE_MAX);
	put->o = o;
	put->key = key_of(key);
	put->fn = done;
	put->arg = arg;
	put->value = dht_value_new(p, n);
	op->put = put;
	LIST_ADD(o->puts, put);
	dht_runner_put(o->runner, &put->key, put->value, on_dht_done, op, true);
	return put;
}

static void put_free(struct overlay_put *put)
{
	dht_value_unref(put->value);
	LIST_CUT(put->o->puts, put);
	free(put);
}

void overlay_put_end(struct overlay_put *put)
{
	loop_assert(put->o->loop);
	put->ended = true;
	put->fn = NULL;
	if (!put->done)
		return; /* its id is not known before: see put_done */
	dht_runner_cancel_put(put->o->runner, &put->key,
			      dht_value_get_id(put->value));
	put_free(put);
}

static void put_done(struct overlay_put *put, bool ok)
{
	put->done = true;
	if (put->ended)
		overlay_put_end(put);
	else if (put->fn)
		put->fn(put->arg, ok);
}

static void get_done(struct overlay_listen *l)
{
	l->getting = false;
	if (!l->again)
		return;
	l->again = false;
	overlay_refresh(l);
}

/* On the loop, what OpenDHT's threads posted */

static void on_post_value(void *arg)
{
	struct post *p = arg;
	struct op *op = p->op;
	struct overlay *o = op->o;

	atomic_fetch_sub(&op->waiting, 1);
	if (!o->stopping) {
		if (!o->connected)
			probe_soon(o);
		if (op->listen)
			op->listen->fn(op->listen->arg, p->p, p->n);
	}
	free(p);
}

static void on_post_done(void *arg)
{
	struct post *p = arg;
	struct op *op = p->op;
	struct overlay *o = op->o;
	const bool ok = p->ok;
	const struct op was = {.kind = op->kind,
			       .listen = op->listen,
			       .put = op->put,
			       .boot = op->boot};

	free(p);
	op_free(op);
	if (o->stopping)
		return;
	switch (was.kind) {
	case OP_LISTEN:
		break; /* OpenDHT let go of it */
	case OP_GET:
		if (was.listen)
			get_done(was.listen);
		break;
	case OP_PUT:
		put_done(was.put, ok);
		break;
	case OP_PROBE:
		probe_done(o, ok);
		break;
	case OP_PING:
		ping_done(o, was.boot, ok);
		break;
	}
}

/* Life */

static void on_lure(void *arg, const uint8_t *p, size_t n)
{
	(void)arg;
	(void)p;
	(void)n;
}

/* OpenDHT says only that it could not run; whether the port is taken is what
 * callers act on. */
static bool port_free(int family, uint16_t port)
{
	struct sockaddr_in6 a = {0}; /* an IPv4 address begins the same way */
	const int on = 1;

	const int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return true; /* no such protocol here */
	a.sin6_family = (sa_family_t)family;
	a.sin6_port = htons(port);
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	const bool taken =
	    bind(fd, (struct sockaddr *)&a, sizeof(a)) && errno == EADDRINUSE;
	close(fd);
	return !taken;
}

enum err overlay_new(const struct overlay_options *opt, struct buf *why,
		     struct overlay **out)
{
	dht_runner_config config;

	assert(opt->network);
	if (opt->port && (!port_free(AF_INET, opt->port) ||
			  !port_free(AF_INET6, opt->port))) {
		buf_printf(why, "UDP port %u is in use", opt->port);
		return ERR_BUSY;
	}
	dht_runner_config_default(&config);
	config.dht_config.node_config.network = opt->network;
	config.threaded = true;
	dht_runner *runner = dht_runner_new();
	if (dht_runner_run_config(runner, opt->port, &config)) {
		dht_runner_delete(runner);
		buf_printf(why, "the DHT node could not start on UDP port %u",
			   opt->port);
		return opt->port ? ERR_BUSY : ERR_IO;
	}

	struct overlay *o = HN_NEW(struct overlay);
	o->loop = opt->loop;
	o->arg = opt->arg;
	o->on_connected = opt->connected;
	o->runner = runner;
	o->port = dht_runner_get_bound_port(runner, AF_INET);
	if (!o->port)
		o->port = dht_runner_get_bound_port(runner, AF_INET6);
	o->nudge = loop_timer_new(o->loop, on_nudge, o);
	o->tick = loop_timer_new(o->loop, on_tick, o);
	uint8_t lure[OVERLAY_KEY_SIZE];
	randombytes_buf(lure, sizeof(lure));
	overlay_listen(o, lure, on_lure, NULL);
	o->probe_due_ms = loop_ms(o->loop) + PROBE_FIRST_MS;
	tick_at(o, o->probe_due_ms);
	*out = o;
	return OK;
}

uint16_t overlay_port(const struct overlay *o)
{
	return o->port;
}

bool overlay_connected(const struct overlay *o)
{
	return o->connected;
}

uint64_t overlay_dropped(const struct overlay *o)
{
	return atomic_load(&o->dropped);
}

/* Stop: listens canceled, OpenDHT told, a while to end, threads joined. */

static void on_last_post(void *arg)
{
	struct overlay *o = arg;
	const loop_fn done = o->done;
	void *done_arg = o->done_arg;

	while (o->ops)
		op_free(o->ops);
	while (o->puts)
		put_free(o->puts);
	bootstraps_release(&o->boots);
	for (struct lookup *l = o->lookups; l; l = l->next) {
		l->o = NULL;
		uv_cancel((uv_req_t *)&l->req);
	}
	free(o);
	done(done_arg);
}

static void delete_runner(void *arg)
{
	struct overlay *o = arg;
	dht_runner_delete(o->runner);
}

static void on_deleted(void *arg)
{
	struct overlay *o = arg;
	loop_post(o->loop, on_last_post, o);
}

static void on_grace(void *arg)
{
	struct overlay *o = arg;

	if (o->deleting)
		return;
	o->deleting = true;
	loop_timer_free(o->grace);
	loop_work(o->loop, delete_runner, on_deleted, o);
}

static void on_dht_shutdown(void *arg)
{
	struct overlay *o = arg;
	loop_post(o->loop, on_grace, o);
}

void overlay_stop(struct overlay *o, uint64_t grace_ms, loop_fn done, void *arg)
{
	loop_assert(o->loop);
	assert(!o->stopping);
	while (o->listens)
		overlay_unlisten(o->listens);
	o->stopping = true;
	o->done = done;
	o->done_arg = arg;
	loop_timer_free(o->tick);
	loop_timer_free(o->nudge);
	if (grace_ms > GRACE_MAX_MS)
		grace_ms = GRACE_MAX_MS;
	o->grace = loop_timer_new(o->loop, on_grace, o);
	loop_timer_set(o->grace, grace_ms);
	dht_runner_shutdown(o->runner, on_dht_shutdown, o);
}
