/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The hub: listeners, flood limits, dials with their retries, and which of
 * several sessions to one peer counts (PROTOCOL 5).
 *
 * All sessions stand in one list from their first byte on; a few dozen peers
 * need no table. A session between the same two processes is compared by facts
 * that both ends know alike (who dialled, which dial), so that both keep the
 * same one without another word. What only one end can know, whether the
 * older session still lives, it asks with a ping before it believes.
 */
#include "rpc/hub.h"

#include "node/base/log.h"
#include "node/base/mem.h"

#include <sodium.h>
#include <utlist.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define DIAL_RETRIES 3	     /* closed without a word: perhaps no member */
#define DIAL_RETRIES_RESET 6 /* unread: flood limits, most likely */
#define DIAL_DELAY_MIN 50u   /* ms, doubled with each retry */
#define DIAL_DELAY_MAX 500u
#define DIAL_ANSWERS 3 /* puzzles, in one dial */
#define CONTROL_MAX 64 /* connections to the control socket */

struct hub_listener {
	struct hub_listener *next;
	struct hub *hub;
	struct link_listener *link;
	bool control;
};

struct hub_dial {
	struct hub_dial *prev, *next;
	struct hub *hub;
	struct node_id expect;
	char *host, *path; /* path: the control socket */
	uint16_t port;
	struct session_psk psk;
	bool has_psk, aes, fell_back, finished;
	bool puzzled; /* the last attempt was asked one, and here is */
	uint8_t answer[PUZZLE_ANSWER];
	unsigned answers;
	uint64_t deadline; /* loop_ms */
	unsigned retries;
	struct loop_timer *limit, *retry;
	struct session *s;
	hub_dial_fn done;
	void *arg;
	enum err why;
	char *text;
};

static void stop_if_empty(struct hub *h);

/* Writing: once per round of the loop */

void hub_dirty(struct session *s)
{
	if (s->dirty)
		return;
	s->dirty = true;
	DL_APPEND2(s->hub->dirty, s, dprev, dnext);
}

static void flush_all(struct hub *h)
{
	struct session *s;
	size_t n;

	/* Those that writable fills again are for the next round. */
	DL_COUNT2(h->dirty, s, n, dnext);
	while (n-- && (s = h->dirty)) {
		DL_DELETE2(h->dirty, s, dprev, dnext);
		s->dirty = false;
		session_flush(s);
		if (s->state != S_UP || !s->high ||
		    session_queued(s) > SESSION_LOW)
			continue;
		s->high = false;
		if (h->o.writable)
			h->o.writable(h->o.arg, s);
	}
}

/* What timers made goes before the loop waits, what sockets and posts made
 * right after them. */
static void on_prepare(uv_prepare_t *p)
{
	flush_all(p->data);
}

static void on_check(uv_check_t *c)
{
	flush_all(c->data);
}

/* Life */

struct hub *hub_new(const struct hub_options *o)
{
	struct hub *h = HN_NEW(struct hub);

	h->o = *o;
	randombytes_buf(h->puzzles.key, sizeof(h->puzzles.key));
	h->o.ping_idle = o->ping_idle ? o->ping_idle : 10000;
	h->o.silent_busy = o->silent_busy ? o->silent_busy : 4500;
	h->o.handshake_ms = o->handshake_ms ? o->handshake_ms : 5000;
	h->o.rekey_ms = o->rekey_ms ? o->rekey_ms : 600000;
	h->o.rekey_bytes = o->rekey_bytes ? o->rekey_bytes : 1ull << 30;
	h->o.max_sessions = o->max_sessions ? o->max_sessions : HUB_SESSIONS;
	h->o.aes = o->aes && noise_aesgcm_available();
	h->links =
	    link_ctx_new(o->loop, o->posted_io ? LINK_POSTED : LINK_AUTO);
	if (o->source)
		link_ctx_source(h->links, o->source);
	uv_prepare_init(loop_uv(o->loop), &h->prepare);
	uv_check_init(loop_uv(o->loop), &h->check);
	h->prepare.data = h->check.data = h;
	uv_prepare_start(&h->prepare, on_prepare);
	uv_check_start(&h->check, on_check);
	uv_unref((uv_handle_t *)&h->prepare);
	uv_unref((uv_handle_t *)&h->check);
	h->handles = 2;
	return h;
}

static void on_links_stopped(void *arg)
{
	struct hub *h = arg;
	const loop_fn stopped = h->stopped;
	void *stopped_arg = h->stopped_arg;

	free(h);
	stopped(stopped_arg);
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct hub *h = handle->data;

	if (--h->handles == 0)
		link_ctx_stop(h->links, on_links_stopped, h);
}

static void stop_if_empty(struct hub *h)
{
	if (!h->stopping || h->sessions || h->dials ||
	    uv_is_closing((uv_handle_t *)&h->check))
		return;
	uv_close((uv_handle_t *)&h->prepare, on_handle_closed);
	uv_close((uv_handle_t *)&h->check, on_handle_closed);
}

void hub_freed(struct hub *h)
{
	stop_if_empty(h);
}

void hub_stop(struct hub *h, loop_fn done, void *arg)
{
	struct session *s, *next;
	struct hub_dial *d, *dnext;

	assert(!h->stopping);
	h->stopping = true;
	h->stopped = done;
	h->stopped_arg = arg;
	hub_unlisten(h);
	DL_FOREACH_SAFE (h->dials, d, dnext)
		hub_dial_cancel(d);
	DL_FOREACH_SAFE (h->sessions, s, next)
		session_end(s, ERR_GONE, "the node stops", true);
	stop_if_empty(h);
}

const struct hub_counters *hub_counters(const struct hub *h)
{
	return &h->counters;
}

/* Listening */

static bool is_half_open(const struct session *s)
{
	return !s->dialled && !s->control && s->state != S_UP && !s->was_up;
}

bool hub_is_busy(const struct hub *h)
{
	const struct session *s;
	size_t n = 0;

	DL_FOREACH (h->sessions, s)
		n += is_half_open(s);
	return n > HUB_BUSY_HALF_OPEN || h->accepts > HUB_BUSY_PER_S;
}

/* Who only holds its place, and has done so longest, goes. */
static bool make_way(struct hub *h)
{
	struct session *s;

	DL_FOREACH (h->sessions, s) {
		if (s->state != S_FIRST || s->control || s->dialled)
			continue;
		h->counters.flood_closed++;
		session_end(s, ERR_BUSY, "others wait", false);
		return true;
	}
	return false;
}

/* Of an IPv6 address the network: whoever has one has all of its 2^64. Keyed,
 * so that nobody chooses whose bucket he shares. */
unsigned hub_bucket(const struct hub *h, const uint8_t ip[static 16])
{
	static const uint8_t v4[12] = {[10] = 0xff, 0xff};
	uint8_t out[8];

	crypto_shorthash(out, ip, memcmp(ip, v4, sizeof(v4)) ? 8 : 16,
			 h->puzzles.key);
	return out[0];
}

static bool is_guest(const struct session *s)
{
	return s->state == S_UP && !s->dialled && !s->control;
}

/* All places for sessions that others dialled are taken: of those from the
 * address that has most (or one that shares its bucket) the one that idled
 * longest goes. False: all come from different ones. */
static bool make_room(struct hub *h)
{
	unsigned count[256] = {0}, most = 1;
	struct session *s, *oldest = NULL;

	DL_FOREACH (h->sessions, s)
		count[hub_bucket(h, s->address.ip)] += is_guest(s);
	DL_FOREACH (h->sessions, s) {
		const unsigned n = count[hub_bucket(h, s->address.ip)];

		if (!is_guest(s) || s->outstanding || n < 2 || n < most)
			continue;
		if (n > most || !oldest || s->busy_ms < oldest->busy_ms)
			oldest = s;
		most = n;
	}
	if (!oldest)
		return false;
	h->counters.evicted++;
	session_end(oldest, ERR_BUSY,
		    "too many sessions, and most from your address", true);
	return true;
}

/* D10's limits, and one on strangers' sessions, since the open mesh lets
 * anybody in; true: close it unread. */
static bool is_flood(struct hub *h, const struct link_addr *a)
{
	const uint64_t now = loop_ms(h->o.loop);
	const size_t per_address =
	    link_addr_is_loopback(a) ? HUB_HALF_OPEN : HUB_HALF_OPEN_ADDRESS;
	size_t all = 0, same = 0, up = 0;
	const struct session *s;

	if (now - h->accept_ms >= 1000) {
		h->accept_ms = now;
		h->accepts = 0;
	}
	if (++h->accepts > HUB_NEW_PER_S)
		return true;
	DL_FOREACH (h->sessions, s) {
		if (is_half_open(s)) {
			all++;
			same += !memcmp(s->address.ip, a->ip, sizeof(a->ip));
		}
		up += s->state == S_UP && !s->dialled && !s->control;
	}
	if (same >= per_address || (up >= h->o.max_sessions && !make_room(h)))
		return true;
	return all >= HUB_HALF_OPEN && !make_way(h);
}

/* D12: our own user or root. */
static bool is_stranger(struct hub *h, const struct link *l)
{
	const struct session *s;
	uint64_t uid;
	size_t n = 0;

	DL_FOREACH (h->sessions, s)
		n += s->control && !s->dialled;
	return n >= CONTROL_MAX || !link_peer_uid(l, &uid) ||
	       (uid != 0 && uid != geteuid());
}

void hub_refused(struct hub *h, const struct link_addr *from, const char *text)
{
	static struct log_gate gate;
	struct buf a = {0};

	link_addr_str(from, &a);
	log_every(&gate, 1000, LOG_DEBUG, "rpc", "%s, closing addr=%s", text,
		  buf_str(&a));
	if (h->o.refused)
		h->o.refused(h->o.arg, buf_str(&a), text);
	buf_release(&a);
}

static void on_accept(void *arg, struct link *take_l)
{
	struct hub_listener *hl = arg;
	struct hub *h = hl->hub;

	if (hl->control ? is_stranger(h, take_l)
			: is_flood(h, link_peer(take_l))) {
		h->counters.flood_closed++;
		hub_refused(h, link_peer(take_l),
			    "a connection over the limits");
		link_close(take_l);
		return;
	}
	opening_accept(h, take_l, hl->control);
}

static struct hub_listener *listener_new(struct hub *h, bool control)
{
	struct hub_listener *hl = HN_NEW(struct hub_listener);

	hl->hub = h;
	hl->control = control;
	LL_PREPEND(h->listeners, hl);
	return hl;
}

static void listener_free(struct hub_listener *hl)
{
	struct hub *h = hl->hub;

	LL_DELETE(h->listeners, hl);
	link_listener_close(hl->link);
	free(hl);
}

enum err hub_listen(struct hub *h, const char *url, uint16_t *port,
		    struct buf *why)
{
	struct hub_listener *hl = listener_new(h, false);
	enum err e =
	    link_listen(h->links, url, on_accept, hl, port, why, &hl->link);

	if (e)
		listener_free(hl);
	return e;
}

enum err hub_listen_control(struct hub *h, const char *path, struct buf *why)
{
	struct hub_listener *hl = listener_new(h, true);
	enum err e =
	    link_listen_ipc(h->links, path, on_accept, hl, why, &hl->link);

	if (e)
		listener_free(hl);
	return e;
}

void hub_unlisten(struct hub *h)
{
	while (h->listeners)
		listener_free(h->listeners);
}

/* Which session counts (D11, PROTOCOL 5.1) */

static const struct node_id *dialler_of(const struct session *s)
{
	return s->dialled ? identity_id(s->hub->o.me) : &s->peer.hello.id;
}

static bool better(const struct session *a, const struct session *b)
{
	const bool ia = a->psk.kind == SESSION_INVITED;
	const bool ib = b->psk.kind == SESSION_INVITED;
	const int c = node_id_cmp(dialler_of(a), dialler_of(b));

	if (ia != ib)
		return ib;
	return c ? c < 0 : a->dials > b->dials;
}

static bool is_up_to(const struct session *s, const struct node_id *id)
{
	return s->state == S_UP && !s->control &&
	       node_id_eq(&s->peer.hello.id, id);
}

struct session *hub_find(struct hub *h, const struct node_id *id)
{
	struct session *s, *best = NULL;

	DL_FOREACH (h->sessions, s)
		if (is_up_to(s, id) && (!best || better(s, best)))
			best = s;
	return best;
}

size_t hub_each(struct hub *h, void (*fn)(struct session *s, void *arg),
		void *arg)
{
	struct session *s, *next;
	size_t n = 0;

	DL_FOREACH_SAFE (h->sessions, s, next)
		if (s->state == S_UP && !s->control) {
			n++;
			if (fn)
				fn(s, arg);
		}
	return n;
}

static void on_retire(void *arg)
{
	struct session *s = arg;

	if (s->state != S_UP || !s->replaced)
		return;
	s->retiring = true;
	if (s->hub->o.retire)
		s->hub->o.retire(s->hub->o.arg, s);
	else
		session_end(s, OK, "another session to this peer goes on",
			    true);
}

static void replace(struct session *s)
{
	if (s->replaced)
		return;
	s->replaced = true;
	if (!s->retire)
		s->retire = loop_timer_new(s->hub->o.loop, on_retire, s);
	loop_timer_set(s->retire, SESSION_RETIRE_MS);
}

static void reinstate(struct session *s)
{
	s->replaced = s->retiring = false;
	if (s->retire)
		loop_timer_cancel(s->retire);
}

/* The parked sessions to this peer may go on, or its key is copied. */
static void unpark(struct hub *h, const struct node_id *id, bool copied)
{
	struct session *s, *next;

	DL_FOREACH_SAFE (h->sessions, s, next) {
		if (s->state != S_PARKED || !node_id_eq(&s->peer.hello.id, id))
			continue;
		if (!copied) {
			/* The first one up may park the others again. */
			if (hub_settle(s))
				session_go_up(s);
			continue;
		}
		struct buf a = {0};
		h->counters.copied_keys++;
		link_addr_str(&s->address, &a);
		if (h->o.copied_key)
			h->o.copied_key(h->o.arg, id, buf_str(&a));
		buf_release(&a);
		session_end(s, ERR_EXISTS,
			    "another live process uses this node key", true);
	}
}

static void on_probe(void *arg, enum err e, uint64_t us)
{
	struct session *old = arg, *s, *next;
	struct hub *h = old->hub;
	const struct node_id id = old->peer.hello.id;

	(void)us;
	old->probing = false;
	if (e == ERR_TIMEOUT) {
		h->counters.lost_silent++;
		session_end(old, ERR_GONE,
			    "no answer, and the peer has a newer session",
			    false);
		return; /* hub_ended goes on from here */
	}
	if (e || old->state != S_UP)
		return;
	unpark(h, &id, true);
	if (hub_find(h, &id) != old)
		return;
	DL_FOREACH_SAFE (h->sessions, s, next)
		if (is_up_to(s, &id) && s != old)
			replace(s);
}

static void probe(struct session *old)
{
	if (old->probing)
		return;
	old->probing = true;
	session_probe_within(old, SESSION_PROBE_MS, on_probe, old);
}

bool hub_settle(struct session *s)
{
	struct hub *h = s->hub;
	struct session *old;

	if (s->control)
		return true;
	old = hub_find(h, &s->peer.hello.id);
	if (!old || !memcmp(old->peer.hello.boot_id, s->peer.hello.boot_id,
			    sizeof(old->peer.hello.boot_id)))
		return true;
	if (s->state != S_PARKED) {
		s->state = S_PARKED;
		s->reader.held = true;
		link_pause(s->link, true);
	}
	probe(old);
	return false;
}

/* Too many to one peer: the oldest that does not count goes at once. */
static void trim(struct hub *h, const struct node_id *id,
		 const struct session *best)
{
	struct session *s, *oldest = NULL;
	size_t n = 0;

	DL_FOREACH (h->sessions, s)
		if (is_up_to(s, id)) {
			n++;
			if (s != best &&
			    (!oldest || s->since_ms < oldest->since_ms))
				oldest = s;
		}
	if (n > HUB_SESSIONS_PER_PEER)
		session_end(oldest, ERR_LIMIT, "too many sessions to one peer",
			    true);
}

void hub_judge(struct hub *h, const struct node_id *id)
{
	struct session *best = hub_find(h, id), *s, *next;

	if (!best)
		return;
	reinstate(best);
	DL_FOREACH_SAFE (h->sessions, s, next) {
		if (s == best || !is_up_to(s, id) || s->replaced)
			continue;
		/* A newer one has just proved that it lives; of an older one
		 * we cannot be sure. */
		if (best->since_ms > s->since_ms)
			replace(s);
		else
			probe(best);
	}
	trim(h, id, best);
}

/* Dialling */

static void dial_done(void *arg)
{
	struct hub_dial *d = arg;
	struct hub *h = d->hub;
	struct session *s = d->s;

	if (s)
		s->dial = NULL;
	if (!d->why && (!s || s->state != S_UP)) {
		d->why = ERR_GONE;
		d->text = xstrdup("the session ended at once");
	}
	if (!d->why && !s->control && s->psk.kind != SESSION_INVITED)
		s = hub_find(h, &s->peer.hello.id);
	d->done(d->arg, d->why, d->why ? NULL : s, d->text);
	DL_DELETE(h->dials, d);
	loop_timer_free(d->limit);
	loop_timer_free(d->retry);
	sodium_memzero(&d->psk, sizeof(d->psk));
	free(d->host);
	free(d->path);
	free(d->text);
	free(d);
	stop_if_empty(h);
}

static void dial_finish(struct hub_dial *d, enum err why, const char *text)
{
	if (d->finished)
		return;
	d->finished = true;
	d->why = why;
	d->text = text ? xstrdup(text) : NULL;
	loop_timer_cancel(d->limit);
	loop_timer_cancel(d->retry);
	/* An attempt that is under way ends; one that is up stays. */
	if (d->s && d->s->state != S_UP) {
		d->s->dial = NULL;
		session_end(d->s, why, "the dial ended", false);
		d->s = NULL;
	}
	loop_post(d->hub->o.loop, dial_done, d);
}

void hub_dial_up(struct session *s)
{
	dial_finish(s->dial, OK, NULL);
}

static void dial_try(void *arg)
{
	struct hub_dial *d = arg;
	const uint64_t now = loop_ms(d->hub->o.loop);
	const uint64_t left = d->deadline > now ? d->deadline - now : 1;
	enum err why;

	if (d->finished)
		return;
	d->s = opening_dial(d->hub, &d->expect, d->host, d->port, d->path,
			    d->has_psk ? &d->psk : NULL, d->aes, (uint32_t)left,
			    &why);
	if (!d->s) {
		dial_finish(d, why,
			    d->path ? "this is not a path of a socket"
				    : "this is not an address to dial");
		return;
	}
	d->s->dial = d;
}

static void on_dial_limit(void *arg)
{
	struct hub_dial *d = arg;
	const struct session *s = d->s;

	dial_finish(d, ERR_TIMEOUT,
		    s && s->state != S_CONNECTING
			? "the peer did not finish the handshake in time"
			: "no connection in time");
}

bool hub_dial_puzzle(struct session *s, const struct puzzle *p)
{
	struct hub_dial *d = s->dial;

	if (!d || d->answers++ >= DIAL_ANSWERS || !puzzle_solve(p, d->answer))
		return false;
	s->hub->counters.puzzles_solved++;
	d->puzzled = s->puzzled = true;
	return true;
}

const uint8_t *hub_dial_answer(const struct session *s)
{
	return s->dial && s->dial->puzzled ? s->dial->answer : NULL;
}

/* An attempt ended before it was up. */
static void dial_failed(struct hub_dial *d, struct session *s)
{
	d->s = NULL;
	if (d->finished)
		return;
	if (s->suite_refused && d->aes && !d->fell_back) { /* D10 */
		d->fell_back = true;
		d->aes = false;
		dial_try(d);
		return;
	}
	if (s->puzzled) {
		dial_try(d);
		return;
	}
	if (!s->early) {
		dial_finish(d, s->why, s->text);
		return;
	}
	const uint64_t delay =
	    (uint64_t)(DIAL_DELAY_MIN +
		       randombytes_uniform(DIAL_DELAY_MAX - DIAL_DELAY_MIN + 1))
	    << d->retries;
	const unsigned most =
	    s->early_reset ? DIAL_RETRIES_RESET : DIAL_RETRIES;
	if (d->retries < most &&
	    loop_ms(d->hub->o.loop) + delay < d->deadline) {
		d->retries++;
		loop_timer_set(d->retry, delay);
		return;
	}
	if (s->early_reset)
		dial_finish(d, ERR_BUSY,
			    "the peer takes no more connections now");
	else
		dial_finish(d, ERR_DENIED,
			    "the peer closed the handshake without a word: "
			    "another mesh, another node, or overloaded");
}

static struct hub_dial *dial_new(struct hub *h, uint32_t timeout_ms,
				 hub_dial_fn done, void *arg)
{
	struct hub_dial *d = HN_NEW(struct hub_dial);

	if (!timeout_ms)
		timeout_ms = h->o.handshake_ms;
	d->hub = h;
	d->done = done;
	d->arg = arg;
	d->deadline = loop_ms(h->o.loop) + timeout_ms;
	d->limit = loop_timer_new(h->o.loop, on_dial_limit, d);
	d->retry = loop_timer_new(h->o.loop, dial_try, d);
	loop_timer_set(d->limit, timeout_ms);
	DL_APPEND(h->dials, d);
	return d;
}

struct hub_dial *hub_dial(struct hub *h, const struct node_id *expect,
			  const char *host, uint16_t port,
			  const struct session_psk *psk, bool aes,
			  uint32_t timeout_ms, hub_dial_fn done, void *arg)
{
	struct hub_dial *d = dial_new(h, timeout_ms, done, arg);

	d->expect = *expect;
	d->host = xstrdup(host);
	d->port = port;
	d->has_psk = psk != NULL;
	if (psk)
		d->psk = *psk;
	d->aes = aes && h->o.aes;
	if (h->stopping) {
		dial_finish(d, ERR_CANCELED, "the node stops");
	} else if (node_id_eq(expect, identity_id(h->o.me))) {
		h->counters.self_dials++;
		dial_finish(d, ERR_INPUT, "self: this is our own node id");
	} else {
		dial_try(d);
	}
	return d;
}

struct hub_dial *hub_dial_control(struct hub *h, const char *path,
				  uint32_t timeout_ms, hub_dial_fn done,
				  void *arg)
{
	struct hub_dial *d = dial_new(h, timeout_ms, done, arg);

	d->path = xstrdup(path);
	if (h->stopping)
		dial_finish(d, ERR_CANCELED, "the node stops");
	else
		dial_try(d);
	return d;
}

void hub_dial_cancel(struct hub_dial *d)
{
	dial_finish(d, ERR_CANCELED, "canceled");
}

/* Ends */

void hub_ended(struct session *s)
{
	struct hub *h = s->hub;
	const struct node_id id = s->peer.hello.id;

	if (s->replaced)
		h->counters.dups_closed++;
	if (!s->was_up && !s->refusing && s->why != ERR_CANCELED)
		h->counters.handshakes_failed++;
	if (s->was_up && h->o.down)
		h->o.down(h->o.arg, s, s->why, s->text,
			  !s->control && hub_find(h, &id) != NULL);
	if (s->dial) {
		struct hub_dial *d = s->dial;
		s->dial = NULL;
		if (s->was_up) {
			d->s = NULL; /* dial_done says that it ended */
			dial_finish(d, s->why ? s->why : ERR_GONE, s->text);
		} else {
			dial_failed(d, s);
		}
	}
	if (!s->was_up || s->control)
		return;
	hub_judge(h, &id);
	if (!hub_find(h, &id))
		unpark(h, &id, false);
}
