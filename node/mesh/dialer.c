/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/peers_impl.h"

#include "dht/record.h"
#include "node/base/log.h"
#include "node/mesh/address.h"
#include "node/mesh/backoff.h"
#include "node/mesh/membership.h"
#include "node/mesh/offers.h"
#include "node/mesh/service_site.h"
#include "node/mesh/topics.h"

#include <sodium.h>

#include <stdlib.h>
#include <string.h>

/*
 * Whom to dial, and when. A node is dialled when we have a use for it: a
 * shared topic, a person's word, a place on our disk, a beacon. An attempt
 * tries its addresses one after the other, a quarter of a second apart, and
 * takes the first that answers. A failed attempt is repeated after a delay
 * that grows with jitter (backoff.h). Two nodes that hear of each other at the
 * same moment may both dial (D11 keeps one session); the one with the larger
 * id waits a little, so that this is rare.
 */
#define STAGGER_MS 250
#define TRY_MS 6000
#define POLITE_MS 200
#define DIALLING_MAX 32	  /* attempts at once */
#define AUTO_SESSIONS 128 /* beyond it only what is asked for or wanted */

struct waiter {
	struct waiter *next;
	struct peer *peer;
	struct loop *loop;
	struct loop_timer *timer;
	peers_session_fn fn;
	void *arg;
	enum err e; /* on its way */
	struct node_id id;
	struct peers *all;
	char *text;
};

struct
try {
	struct attempt *attempt;
	struct hub_dial *dial;
	char *address;
};

struct attempt {
	struct peer *peer; /* NULL: it is not wanted any more */
	struct loop *loop;
	struct strs address;
	size_t next; /* address to try next */
	struct try *tries[ADDRESS_ANNOUNCED];
	unsigned open;
	struct loop_timer *stagger;
	bool old_key;
	enum err e; /* of the last failure */
	char *why;
};

static uint64_t random64(void)
{
	uint64_t r;

	randombytes_buf(&r, sizeof(r));
	return r;
}

/* --- of what use is it --- */

static bool role_is(const char *role, const char *name)
{
	return role && !strcmp(role, name);
}

static bool peer_useful(const struct peer *q)
{
	struct mesh *m = q->all->m;
	bool serve = role_is(m->o.role, "serve");

	if (q->state == PEER_DROPPED || q->state == PEER_LEFT)
		return false;
	/* A node behind a head goes to others only where a person says so. */
	if (!service_site_serves(m, &q->id))
		return q->waiters != NULL;
	if (q->user || q->waiters)
		return true;
	/* Somebody wants our work and cannot dial us (D8). */
	if (!mesh_dialable(m))
		for (size_t i = 0; i < q->wants.n; i++)
			if (offers_have(m->offers, q->wants.items[i]))
				return true;
	bool many = peers_sessions(q->all) >= AUTO_SESSIONS;
	for (size_t i = 0; i < q->topics.n; i++)
		if (topics_wanted(m->topics, q->topics.items[i]) &&
		    !role_is(q->role, "use"))
			return true;
	if (many)
		return false;
	/* A node that only announces looks for nobody, unless it could not
	 * be found otherwise. */
	if (serve && mesh_dialable(m))
		return false;
	if (q->lan || q->source == PEER_FROM_STORE ||
	    q->source == PEER_FROM_INVITE)
		return true;
	if (serve || role_is(q->role, "use"))
		return false;
	for (size_t i = 0; i < q->topics.n; i++)
		if (topics_shared(m->topics, q->topics.items[i]))
			return true;
	return false;
}

/* --- waiters --- */

static void waiter_free(struct waiter *w)
{
	loop_timer_free(w->timer);
	free(w->text);
	free(w);
}

static void waiter_unlink(struct waiter *w)
{
	if (!w->peer)
		return;
	for (struct waiter **at = &w->peer->waiters; *at; at = &(*at)->next)
		if (*at == w) {
			*at = w->next;
			break;
		}
	w->peer = NULL;
}

/* The session is looked up now: what was up a moment ago may be gone. */
static void on_waiter_post(void *arg)
{
	struct waiter *w = arg;
	struct session *s = NULL;

	if (!w->e && !w->all->stopping)
		s = hub_find(rpc_hub(w->all->m->rpc), &w->id);
	if (!w->e && !s)
		w->fn(w->arg, ERR_GONE, NULL, "its session ended at once");
	else
		w->fn(w->arg, w->e, s, w->text);
	waiter_free(w);
}

static void waiter_end(struct waiter *w, enum err e, const char *text)
{
	waiter_unlink(w);
	loop_timer_cancel(w->timer);
	w->e = e;
	w->text = text ? xstrdup(text) : NULL;
	loop_post(w->loop, on_waiter_post, w);
}

static void on_waiter_late(void *arg)
{
	struct waiter *w = arg;

	waiter_end(w, ERR_TIMEOUT,
		   w->peer && w->peer->why ? w->peer->why
					   : "no answer within the time limit");
}

static void end_waiters(struct peer *q, enum err e, const char *text)
{
	while (q->waiters)
		waiter_end(q->waiters, e, text);
}

void peer_wait(struct peer *q, uint32_t timeout_ms, peers_session_fn fn,
	       void *arg)
{
	struct waiter *w = HN_NEW(struct waiter);

	*w = (struct waiter){.loop = q->all->m->loop,
			     .all = q->all,
			     .id = q->id,
			     .fn = fn,
			     .arg = arg};
	w->timer = loop_timer_new(w->loop, on_waiter_late, w);
	w->peer = q;
	w->next = q->waiters;
	q->waiters = w;
	if (q->session) {
		waiter_end(w, OK, NULL);
		return;
	}
	if (q->state == PEER_DROPPED) {
		waiter_end(w, ERR_DENIED, q->why);
		return;
	}
	if (q->state == PEER_LEFT) {
		waiter_end(w, ERR_GONE,
			   "it said goodbye; `hnode dial ID@HOST:PORT` tries "
			   "it all the same");
		return;
	}
	if (!q->address.n && !q->attempt) {
		waiter_end(w, ERR_NOPEER,
			   "no address of it is known: it must dial us");
		return;
	}
	loop_timer_set(w->timer, timeout_ms);
	if (!q->attempt) {
		loop_timer_cancel(q->timer);
		loop_timer_set(q->timer, 0);
		q->due_ms = loop_ms(w->loop);
	}
}

void peer_on_session(struct peer *q)
{
	loop_timer_cancel(q->timer);
	q->due_ms = 0;
	end_waiters(q, OK, NULL);
}

/* --- attempts --- */

static void attempt_step(struct attempt *a);

static void attempt_free(struct attempt *a)
{
	if (a->open)
		return; /* hub_dial's word is still to come */
	loop_timer_free(a->stagger);
	texts_clear(&a->address);
	free(a->why);
	free(a);
}

static void cancel_tries(struct attempt *a)
{
	a->next = a->address.n;
	loop_timer_cancel(a->stagger);
	for (size_t i = 0; i < HN_COUNT(a->tries); i++)
		if (a->tries[i] && a->tries[i]->dial)
			hub_dial_cancel(a->tries[i]->dial);
}

void peer_dial_cancel(struct peer *q)
{
	struct attempt *a = q->attempt;

	loop_timer_cancel(q->timer);
	q->due_ms = 0;
	if (!a)
		return;
	q->attempt = NULL;
	q->all->dialling--;
	a->peer = NULL;
	cancel_tries(a);
	attempt_free(a);
}

void peer_dial_stop(struct peer *q)
{
	end_waiters(q, ERR_CANCELED, "this node is stopping");
	peer_dial_cancel(q);
}

static void arm(struct peer *q, uint64_t ms)
{
	q->due_ms = loop_ms(q->all->m->loop) + ms;
	loop_timer_set(q->timer, ms);
}

static void back_off(struct peer *q)
{
	q->backoff_ms = backoff_next(q->backoff_ms, random64());
	arm(q, q->backoff_ms);
}

static void attempt_failed(struct attempt *a)
{
	struct peer *q = a->peer;

	q->attempt = NULL;
	q->all->dialling--;
	q->failures++;
	log_debug("net", "dial failed peer=%s error=%s try=%u", q->name,
		  log_quote(a->why), q->failures);
	if (a->e == ERR_DENIED) {
		static struct log_gate gate;
		log_every(&gate, 60000, LOG_WARN, "net",
			  "peer %s does not let us in: %s; trying again later",
			  q->name, log_quote(a->why));
	}
	/* A rekey that one of us missed: the old key is tried in turn. */
	if (!q->session) {
		peer_set_state(
		    q, q->state == PEER_LOST ? PEER_LOST : PEER_RETRY, a->why);
	}
	enum err e = a->e ? a->e : ERR_IO;
	bool user = q->waiters && !q->heard_ms && q->source == PEER_FROM_DIAL;
	end_waiters(q, e, a->why);
	if (user)
		peer_remove(q); /* a mistyped address leaves nothing behind */
	else if (!q->session && peer_useful(q))
		back_off(q);
	else if (!q->session && q->state == PEER_RETRY)
		peer_set_state(q, PEER_KNOWN, a->why);
	a->peer = NULL;
	attempt_free(a);
}

/* To tell it, when it comes by itself or by another of its addresses. */
static void note_failure(struct peer *q, const char *address, const char *why)
{
	texts_add_once(&q->failed, address, ADDRESS_ANNOUNCED);
	memcpy(q->failed_boot, q->boot_id, 8);
	free(q->failed_why);
	q->failed_why = text_cut(why, 190);
}

static void on_tried(void *arg, enum err e, struct session *s, const char *text)
{
	struct try *t = arg;
	struct attempt *a = t->attempt;

	(void)s;
	for (size_t i = 0; i < HN_COUNT(a->tries); i++)
		if (a->tries[i] == t)
			a->tries[i] = NULL;
	a->open--;
	if (!a->peer) {
		attempt_free(a);
	} else if (!e) {
		struct peer *q = a->peer;
		q->attempt = NULL;
		q->all->dialling--;
		q->failures = 0;
		a->peer = NULL;
		peer_add_address(q, t->address, true);
		cancel_tries(a);
		attempt_free(a);
		/* hub's up came before or comes with this. */
		if (q->session)
			peer_on_session(q);
	} else {
		note_failure(a->peer, t->address, text ? text : err_str(e));
		if (e == ERR_DENIED && text && strstr(text, LEFT_OUT))
			mesh_left_out(a->peer->all->m, a->peer->name);
		a->e = e;
		free(a->why);
		/* Some sentences name the address already. */
		bool named =
		    text && !strncmp(text, t->address, strlen(t->address));
		char *why =
		    xasprintf("%s%s%s", named ? "" : t->address,
			      named ? "" : ": ", text ? text : err_str(e));
		a->why = text_cut(why, 190);
		free(why);
		if (a->next < a->address.n)
			attempt_step(a);
		else if (!a->open)
			attempt_failed(a);
	}
	free(t->address);
	free(t);
}

static void on_stagger(void *arg)
{
	attempt_step(arg);
}

static void attempt_step(struct attempt *a)
{
	struct mesh *m = a->peer->all->m;
	struct session_psk psk = {.kind = SESSION_OLD_KEY};
	struct mesh_keys keys;
	struct address to;

	const char *text = a->address.items[a->next];
	struct try *t = HN_NEW(struct try);
	t->attempt = a;
	t->address = xstrdup(text);
	a->tries[a->next++] = t;
	a->open++;
	const uint8_t *prev = membership_prev(m->membership, mesh_now_ms(m));
	bool old = a->old_key && prev;
	if (old) {
		mesh_keys_derive(m->membership->mesh_id, prev, &keys);
		memcpy(psk.key, keys.psk0, 32);
		sodium_memzero(&keys, sizeof(keys));
	}
	if (!address_parse(text, &to))
		to = (struct address){.host = "invalid", .port = 1};
	bool aes = a->peer->suites & 2;
	t->dial = hub_dial(rpc_hub(m->rpc), &a->peer->id, to.host, to.port,
			   old ? &psk : NULL, aes, TRY_MS, on_tried, t);
	sodium_memzero(&psk, sizeof(psk));
	if (a->next < a->address.n)
		loop_timer_set(a->stagger, STAGGER_MS);
}

static void attempt_start(struct peer *q)
{
	struct attempt *a = HN_NEW(struct attempt);

	a->peer = q;
	a->loop = q->all->m->loop;
	a->stagger = loop_timer_new(a->loop, on_stagger, a);
	a->old_key = q->failures % 2;
	texts_clear(&q->failed);
	for (size_t i = 0; i < q->address.n; i++)
		texts_add_once(&a->address, q->address.items[i],
			       ADDRESS_ANNOUNCED);
	q->attempt = a;
	q->all->dialling++;
	if (q->state != PEER_LOST)
		peer_set_state(q, PEER_DIALLING, NULL);
	log_debug("net", "dialling peer=%s address=%s", q->name,
		  a->address.items[0]);
	attempt_step(a);
}

/* The delay of this peer is over. */
void on_peer_due(void *arg)
{
	struct peer *q = arg;

	q->due_ms = 0;
	if (q->all->stopping || q->session || q->attempt)
		return;
	if (!q->address.n || !peer_useful(q)) {
		if (q->state == PEER_RETRY || q->state == PEER_DIALLING)
			peer_set_state(q, PEER_KNOWN, NULL);
		return;
	}
	if (q->all->dialling >= DIALLING_MAX && !q->waiters) {
		arm(q, 50 + random64() % 100);
		return;
	}
	attempt_start(q);
}

void peer_consider(struct peer *q, bool fresh)
{
	struct mesh *m = q->all->m;

	if (q->all->stopping || q->session || q->attempt || !q->address.n ||
	    !peer_useful(q))
		return;
	if (loop_timer_armed(q->timer)) {
		if (!fresh || q->due_ms <= loop_ms(m->loop) + BACKOFF_BASE_MS)
			return;
		q->backoff_ms = 0;
		arm(q, random64() % BACKOFF_BASE_MS);
		return;
	}
	bool wait = node_id_cmp(identity_id(m->me), &q->id) > 0;
	arm(q, wait ? random64() % POLITE_MS : 0);
}

void peer_lost_dial(struct peer *q)
{
	if (!q->all->stopping && !q->attempt && q->address.n && peer_useful(q))
		back_off(q);
}
