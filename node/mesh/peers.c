/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/peers_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "dht/discovery.h"
#include "node/base/log.h"
#include "node/base/utf8.h"
#include "node/mesh/address.h"
#include "node/mesh/membership.h"
#include "node/mesh/skew.h"
#include "node/mesh/topics.h"

/*
 * The table of other nodes. An entry is made by whatever names a node first
 * (a record, a beacon, a session, the disk, a person) and forgotten ten
 * minutes after the last word of it. Records and the node's own words over a
 * session say the same kind of thing; a session's words are newer, so while
 * there is a session records only add addresses and topics.
 */
#define TICK_MS 5000
#define TELL_MS 1000
#define CALLS_PER_S 20
#define CALLS_BURST 40
#define TOPICS_OF_PEER 64
#define CAPS_OF_PEER 64
#define STEADY_MS 10000 /* a session this long forgets earlier failures */

const char *peer_state_str(enum peer_state s)
{
	switch (s) {
	case PEER_KNOWN:
		return "known";
	case PEER_DIALLING:
		return "dialling";
	case PEER_OK:
		return "ok";
	case PEER_RETRY:
		return "retry";
	case PEER_LEFT:
		return "left";
	case PEER_LOST:
		return "lost";
	case PEER_DROPPED:
		return "dropped";
	}
	return "?";
}

char *text_cut(const char *s, size_t max)
{
	size_t n = 0, step;

	if (!s)
		return NULL;
	size_t len = strlen(s);
	while ((step = utf8_step(s + n, len - n, NULL)) && n + step <= max)
		n += step;
	return xstrndup(s, n);
}

static void set_text(char **at, const char *s, size_t max)
{
	free(*at);
	*at = text_cut(s, max);
}

static const char *role_name(const char *role)
{
	return role && !strcmp(role, "serve") ? "serve"
	       : role && !strcmp(role, "use") ? "use"
					      : "both";
}

/* --- entries --- */

struct peer *peer_find(const struct peers *p, const struct node_id *id)
{
	for (size_t i = 0; i < p->n; i++)
		if (node_id_eq(&p->items[i]->id, id))
			return p->items[i];
	return NULL;
}

static void caps_clear(struct peer *q)
{
	for (size_t i = 0; i < q->ncaps; i++)
		free(q->caps[i].name);
	free(q->caps);
	q->caps = NULL;
	q->ncaps = 0;
}

static bool is_worker(const struct peer *q)
{
	return q->session && q->state == PEER_OK &&
	       session_kind(q->session) != SESSION_INVITED &&
	       strcmp(q->role, "use") != 0;
}

void peer_workers(struct peer *q)
{
	struct mesh *m = q->all->m;

	if (!m->service_job || !is_worker(q))
		return;
	uint64_t rtt = session_rtt_us(q->session);
	for (size_t i = 0; i < q->ncaps; i++)
		service_job_worker(m, q->caps[i].name, &q->id, q->caps[i].rate,
				   rtt, q->caps[i].slots);
}

static void workers_gone(struct peer *q)
{
	struct mesh *m = q->all->m;

	for (size_t i = 0; m->service_job && i < q->ncaps; i++)
		service_job_worker_gone(m, q->caps[i].name, &q->id);
}

void peer_remove(struct peer *q)
{
	struct peers *p = q->all;

	for (size_t i = 0; i < p->n; i++)
		if (p->items[i] == q) {
			p->items[i] = p->items[--p->n];
			break;
		}
	peer_dial_stop(q);
	loop_timer_free(q->timer);
	caps_clear(q);
	texts_clear(&q->address);
	texts_clear(&q->dht);
	texts_clear(&q->topics);
	texts_clear(&q->wants);
	free(q->why);
	free(q->software);
	free(q->cpu);
	free(q->failed_address);
	free(q);
}

/* Full: the one without a session that was silent the longest goes. */
static bool make_room(struct peers *p)
{
	struct peer *oldest = NULL;

	if (p->n < PEERS_MAX)
		return true;
	for (size_t i = 0; i < p->n; i++) {
		struct peer *q = p->items[i];
		if (!q->session && !q->user && !q->attempt && !q->waiters &&
		    !q->proof && (!oldest || q->heard_ms < oldest->heard_ms))
			oldest = q;
	}
	if (oldest)
		peer_remove(oldest);
	return oldest != NULL;
}

struct peer *peer_get_or_add(struct peers *p, const struct node_id *id,
			     enum peer_source source)
{
	struct peer *q = peer_find(p, id);

	if (q)
		return q;
	if (node_id_eq(id, identity_id(p->m->me)) || !make_room(p))
		return NULL;
	q = HN_NEW(struct peer);
	q->all = p;
	q->id = *id;
	node_name(id, q->name);
	q->source = source;
	q->role = "both";
	q->made_ms = loop_ms(p->m->loop);
	q->tokens = CALLS_BURST;
	q->timer = loop_timer_new(p->m->loop, on_peer_due, q);
	p->items = xrealloc(p->items, (p->n + 1) * sizeof(struct peer *));
	p->items[p->n++] = q;
	return q;
}

void peer_set_state(struct peer *q, enum peer_state s, const char *why)
{
	if (q->state != s)
		log_debug("net", "peer=%s state=%s was=%s why=%s", q->name,
			  peer_state_str(s), peer_state_str(q->state),
			  log_quote(why));
	char *cut = text_cut(why, 190);
	free(q->why);
	q->why = cut;
	q->state = s;
}

void peer_add_address(struct peer *q, const char *address, bool first)
{
	struct address parsed;

	if (strlen(address) > 127 || !address_parse(address, &parsed))
		return;
	if (first) {
		texts_remove(&q->address, address);
		texts_add(&q->address, address);
		char *last = q->address.items[q->address.n - 1];
		memmove(&q->address.items[1], &q->address.items[0],
			(q->address.n - 1) * sizeof(char *));
		q->address.items[0] = last;
	} else
		texts_add_once(&q->address, address, ADDRESS_ANNOUNCED);
	while (q->address.n > ADDRESS_ANNOUNCED)
		texts_remove(&q->address, q->address.items[q->address.n - 1]);
}

/* What it announces replaces what we had, but for the one that works. */
static void set_addresses(struct peer *q, const struct strs *said)
{
	char *good = q->session && session_dialled(q->session) && q->address.n
			 ? xstrdup(q->address.items[0])
			 : NULL;
	struct address a;

	if (!said->n && !good)
		return; /* outbound only; or it could not tell */
	texts_clear(&q->address);
	if (good)
		peer_add_address(q, good, false);
	free(good);
	/* Those in a network that we stand in first. */
	for (int far = 0; far < 2; far++)
		for (size_t i = 0; i < said->n; i++)
			if (address_parse(said->items[i], &a) &&
			    !strcmp(address_path(a.host), "lan") == !far)
				peer_add_address(q, said->items[i], false);
}

/* Takes a list of capabilities as the whole truth; tells the job side. */
static void set_caps(struct peer *q, const struct list *caps)
{
	const struct cap_info *said = caps->items;
	struct cap_info *old = q->caps;
	size_t nold = q->ncaps;
	struct buf why = {0};

	q->caps = xcalloc(caps->n + 1, sizeof(*q->caps));
	q->ncaps = 0;
	for (size_t i = 0; i < caps->n && q->ncaps < CAPS_OF_PEER; i++) {
		buf_clear(&why);
		if (!said[i].name || topic_check(said[i].name, &why))
			continue;
		struct cap_info *c = &q->caps[q->ncaps++];
		*c = said[i];
		c->name = xstrdup(said[i].name);
		if (c->free > 100)
			c->free = 100;
	}
	buf_release(&why);
	struct mesh *m = q->all->m;
	for (size_t i = 0; i < nold; i++) {
		bool kept = false;
		for (size_t k = 0; k < q->ncaps && !kept; k++)
			kept = !strcmp(q->caps[k].name, old[i].name);
		if (!kept && m->service_job)
			service_job_worker_gone(m, old[i].name, &q->id);
		free(old[i].name);
	}
	free(old);
	peer_workers(q);
}

void peer_bootstrap(struct peer *q)
{
	struct address a;
	char port[8];

	if (!q->all->m->discovery)
		return;
	for (size_t i = 0; i < q->dht.n && i < 2; i++)
		if (address_parse(q->dht.items[i], &a)) {
			snprintf(port, sizeof(port), "%u", (unsigned)a.port);
			discovery_bootstrap(q->all->m->discovery, a.host, port);
		}
}

/* --- what discovery says --- */

static void heard(struct peer *q)
{
	q->heard_ms = loop_ms(q->all->m->loop);
}

/* A new process of a node that left or was lost: a fresh start. */
static bool new_boot(struct peer *q, const uint8_t boot_id[8])
{
	bool fresh = memcmp(q->boot_id, boot_id, 8) != 0;

	memcpy(q->boot_id, boot_id, 8);
	return fresh;
}

static void record_caps(struct peer *q, const char *topic,
			const struct record *r)
{
	const struct record_cap *said = r->caps.items;
	struct cap_info all[CAPS_OF_PEER];
	size_t n = 0;

	/* Its words under this topic, and what it said under others. */
	for (size_t i = 0; i < r->caps.n && n < CAPS_OF_PEER; i++)
		all[n++] = (struct cap_info){.name = said[i].name,
					     .rate = said[i].rate,
					     .free = said[i].free,
					     .devices = said[i].devices,
					     .slots = said[i].slots};
	size_t own = n;
	for (size_t i = 0; i < q->ncaps && n < CAPS_OF_PEER; i++) {
		bool again = !strcmp(q->caps[i].name, topic);
		for (size_t k = 0; k < own && !again; k++)
			again = !strcmp(all[k].name, q->caps[i].name);
		if (!again)
			all[n++] = q->caps[i];
	}
	/* set_caps frees the names it replaces: lend it copies. */
	for (size_t i = 0; i < n; i++)
		all[i].name = all[i].name ? xstrdup(all[i].name) : NULL;
	set_caps(q, &(struct list){all, n});
	for (size_t i = 0; i < n; i++)
		free(all[i].name);
}

static void record_left(struct peers *p, const char *topic,
			const struct node_id *id, const struct record *r)
{
	struct peer *q = peer_find(p, id);

	if (!q)
		return;
	bool want = !strncmp(topic, "want/", 5);
	if (want)
		texts_remove(&q->wants, topic + 5);
	else
		texts_remove(&q->topics, topic);
	heard(q);
	/* It left this topic; it left us when that was the last. */
	if (q->session || q->topics.n || want)
		return;
	memcpy(q->left_boot, r->boot_id, 8);
	set_caps(q, &(struct list){0});
	peer_dial_cancel(q);
	if (q->state != PEER_DROPPED)
		peer_set_state(q, PEER_LEFT, "said goodbye");
}

void peers_record(struct peers *p, const char *topic, const struct record *r)
{
	const struct node_id *id = (const void *)r->node;
	static const uint8_t none[8];

	if (p->stopping)
		return;
	if (r->state == RECORD_LEFT) {
		record_left(p, topic, id, r);
		return;
	}
	struct peer *q = peer_find(p, id);
	if (q && memcmp(q->left_boot, none, 8) &&
	    !memcmp(q->left_boot, r->boot_id, 8))
		return; /* older than its goodbye */
	q = peer_get_or_add(p, id, PEER_FROM_DHT);
	if (!q || membership_excludes(p->m->membership, id))
		return;
	heard(q);
	bool fresh = new_boot(q, r->boot_id);
	if (q->state == PEER_LEFT)
		peer_set_state(q, PEER_KNOWN, NULL);
	if (r->seq > q->record_seq)
		q->record_seq = r->seq;
	q->suites = r->suites;
	struct strs before = q->address;
	q->address = (struct strs){0};
	for (size_t i = 0; i < before.n; i++)
		texts_add(&q->address, before.items[i]);
	set_addresses(q, &r->address);
	fresh = fresh || !texts_same(&before, &q->address);
	texts_clear(&before);
	if (r->dht.n) {
		texts_clear(&q->dht);
		for (size_t i = 0; i < r->dht.n; i++)
			texts_add_once(&q->dht, r->dht.items[i],
				       ADDRESS_ANNOUNCED);
	}
	if (!strncmp(topic, "want/", 5)) {
		texts_add_once(&q->wants, topic + 5, TOPICS_OF_PEER);
	} else {
		texts_add_once(&q->topics, topic, TOPICS_OF_PEER);
		q->role = role_name(r->role);
		set_text(&q->software, r->software, 64);
		set_text(&q->cpu, r->cpu, 128);
		q->cores = r->cores;
		q->ram_mib = r->ram_mib;
		if (!q->session)
			record_caps(q, topic, r);
	}
	if (q->session)
		peer_bootstrap(q);
	peer_consider(q, fresh);
	topics_news(p->m->topics, topic);
}

void peers_expired(struct peers *p, const char *topic, const struct node_id *id)
{
	struct peer *q = peer_find(p, id);

	if (!q || p->stopping)
		return;
	if (!strncmp(topic, "want/", 5))
		texts_remove(&q->wants, topic + 5);
	else
		texts_remove(&q->topics, topic);
}

void peers_beacon(struct peers *p, const struct beacon_news *n)
{
	struct buf b = {0};

	if (p->stopping || membership_excludes(p->m->membership, &n->id))
		return;
	struct peer *q = peer_get_or_add(p, &n->id, PEER_FROM_LAN);
	if (!q)
		return;
	/* A beacon is sent by a live process: it is back. */
	if (q->state == PEER_LEFT) {
		memset(q->left_boot, 0, 8);
		peer_set_state(q, PEER_KNOWN, NULL);
	}
	bool fresh = !q->heard_ms || !q->lan;
	heard(q);
	q->lan = true;
	q->suites = n->suites;
	if (n->session_port) {
		address_str(n->host, n->session_port, &b);
		peer_add_address(q, buf_str(&b), true);
	}
	buf_clear(&b);
	if (n->dht_port) {
		address_str(n->host, n->dht_port, &b);
		texts_add_once(&q->dht, buf_str(&b), ADDRESS_ANNOUNCED);
		peer_bootstrap(q);
	}
	buf_release(&b);
	peer_consider(q, fresh);
}

void peers_known(struct peers *p, const struct node_id *id,
		 const struct strs *address, const struct strs *dht)
{
	struct peer *q = peer_get_or_add(p, id, PEER_FROM_INVITE);

	if (!q)
		return;
	heard(q);
	for (size_t i = 0; i < address->n; i++)
		peer_add_address(q, address->items[i], false);
	for (size_t i = 0; i < dht->n; i++)
		texts_add_once(&q->dht, dht->items[i], ADDRESS_ANNOUNCED);
	peer_bootstrap(q);
	peer_consider(q, true);
}

/* --- what its session says --- */

/* An answer about a peer that may be forgotten by then. */
struct asked {
	struct peers *p;
	struct node_id id;
	uint64_t sent_ns;
	char *address;
};

static struct asked *asked_new(struct peer *q)
{
	struct asked *a = HN_NEW(struct asked);

	a->p = q->all;
	a->id = q->id;
	a->sent_ns = clock_ns();
	return a;
}

static struct peer *asked_end(struct asked *a)
{
	struct peer *q = a->p->stopping ? NULL : peer_find(a->p, &a->id);

	free(a->address);
	free(a);
	return q;
}

static void clock_changed(struct peers *p)
{
	struct mesh *m = p->m;
	int64_t median;

	if (!peers_clock(p, &median))
		median = 0;
	mesh_set_clock(m, median);
	uint64_t now = loop_ms(m->loop);
	if (skew_bad(median) &&
	    (!p->skew_warned_ms || now - p->skew_warned_ms > 3600000)) {
		p->skew_warned_ms = now;
		log_warn("net",
			 "this machine's clock is %lld s %s the middle of its "
			 "peers; set it (for example with NTP); expiry is "
			 "judged by the peers' time meanwhile",
			 (long long)llabs(median) / 1000,
			 median > 0 ? "behind" : "ahead of");
	}
}

static void on_info(void *arg, struct rpc_stream *st, enum err e,
		    const void *reply, const char *text)
{
	struct asked *asked = arg;
	const struct node_info *i = reply;
	uint64_t took_ms = (clock_ns() - asked->sent_ns) / 1000000;
	struct peer *q = asked_end(asked);

	(void)st;
	if (e)
		log_debug("net", "node.info failed: %s", log_quote(text));
	if (e || !q || !q->session)
		return;
	heard(q);
	q->role = role_name(i->role);
	set_text(&q->software, i->software, 64);
	set_text(&q->cpu, i->cpu, 128);
	q->cores = i->cores;
	q->ram_mib = i->ram_mib;
	q->suites = i->suites;
	q->clock_ms =
	    (int64_t)(i->unix_ms + took_ms / 2) - (int64_t)clock_unix_ms();
	set_addresses(q, &i->address);
	for (size_t k = 0; k < i->topics.n; k++)
		texts_add_once(&q->topics, i->topics.items[k], TOPICS_OF_PEER);
	/* Where its session is, its DHT node is, too. */
	if (i->dht_port && i->dht_port < 65536) {
		struct buf b = {0};
		struct address a;
		session_address(q->session, &b);
		if (address_parse(buf_str(&b), &a)) {
			buf_clear(&b);
			address_str(a.host, (uint16_t)i->dht_port, &b);
			texts_add_once(&q->dht, buf_str(&b), ADDRESS_ANNOUNCED);
		}
		buf_release(&b);
		peer_bootstrap(q);
	}
	set_caps(q, &i->offers);
	peer_store(q);
	clock_changed(q->all);
	for (size_t k = 0; k < q->topics.n; k++)
		topics_news(q->all->m->topics, q->topics.items[k]);
}

static void on_first_ping(void *arg, enum err e, uint64_t us)
{
	struct peer *q = asked_end(arg);
	struct buf b = {0};
	struct address a;

	if (e || !q || !q->session)
		return;
	session_address(q->session, &b);
	const char *path =
	    address_parse(buf_str(&b), &a) ? address_path(a.host) : "direct";
	if (!q->all->greeted)
		log_info("net", "joined \"%s\", peer %s via %s %.1f ms",
			 q->all->m->membership->name, q->name, path,
			 (double)us / 1000);
	else
		log_info("net", "peer %s via %s %.1f ms", q->name, path,
			 (double)us / 1000);
	q->all->greeted = true;
	buf_release(&b);
	peer_workers(q);
}

static void on_ignored(void *arg, struct rpc_stream *st, enum err e,
		       const void *reply, const char *text)
{
	(void)arg;
	(void)st;
	(void)e;
	(void)reply;
	(void)text;
}

static void send_newkey(struct peer *q, const struct rpc_ops *ops, void *arg,
			bool *sent)
{
	struct mesh *m = q->all->m;
	struct arena arena = {0};
	struct mesh_newkey k;

	*sent = membership_newkey(m->membership, &arena, &k) &&
		!rpc_call(m->rpc, q->session, "mesh.newkey", &k, 10000, ops,
			  arg, NULL);
	sodium_memzero(&k, sizeof(k));
	arena_release(&arena);
}

/* It could not be dialled where it says it is, and came by itself. Only while
 * the same process was running: before its start nobody listened there. */
static void tell_unreachable(struct peer *q)
{
	const struct rpc_ops ops = {.end = on_ignored};
	struct node_unreachable u = {.address = q->failed_address,
				     .error = q->why ? q->why : ""};

	if (!q->failed_address || session_dialled(q->session) ||
	    memcmp(q->failed_boot, session_hello(q->session)->boot_id, 8) != 0)
		return;
	if (rpc_call(q->all->m->rpc, q->session, "node.unreachable", &u, 5000,
		     &ops, NULL, NULL))
		log_debug("net", "peer=%s is not told that %s does not work",
			  q->name, log_quote(q->failed_address));
}

void peers_up(struct peers *p, struct session *s)
{
	const struct session_hello *hello = session_hello(s);
	enum session_kind kind = session_kind(s);
	bool sent;

	if (kind == SESSION_CONTROL || kind == SESSION_INVITED || p->stopping)
		return;
	struct peer *q = peer_get_or_add(p, session_peer(s), PEER_FROM_INBOUND);
	if (!q) {
		session_close(s, ERR_BUSY, "too many peers");
		return;
	}
	bool again = q->session != NULL;
	q->session = s;
	heard(q);
	new_boot(q, hello->boot_id);
	memset(q->left_boot, 0, 8);
	q->clock_ms = (int64_t)hello->unix_ms - (int64_t)clock_unix_ms();
	if (!session_dialled(s))
		p->had_inbound = true;
	if (kind == SESSION_OLD_KEY) {
		const struct rpc_ops ops = {.end = on_ignored};
		send_newkey(q, &ops, NULL, &sent);
	}
	tell_unreachable(q);
	if (q->state != PEER_DROPPED)
		peer_set_state(q, PEER_OK, NULL);
	peer_on_session(q);
	if (again)
		return; /* D11 replaced a session; all is known */
	const struct rpc_ops ops = {.end = on_info};
	struct asked *a = asked_new(q);
	if (rpc_call(p->m->rpc, s, "node.info", NULL, 10000, &ops, a, NULL))
		free(a);
	session_ping(s, on_first_ping, asked_new(q));
	peer_workers(q);
	peer_bootstrap(q);
	clock_changed(p);
}

void peers_down(struct peers *p, struct session *s, enum err why,
		const char *text, bool dup)
{
	struct peer *q = NULL;

	for (size_t i = 0; i < p->n && !q; i++)
		if (p->items[i]->session == s)
			q = p->items[i];
	if (!q || p->stopping)
		return;
	if (dup) {
		struct session *other = hub_find(rpc_hub(p->m->rpc), &q->id);
		if (other && other != s) {
			q->session = other;
			return;
		}
	}
	workers_gone(q);
	uint64_t now = loop_ms(p->m->loop);
	if (now - session_since_ms(s) >= STEADY_MS) {
		q->backoff_ms = 0;
		q->failures = 0;
	}
	q->session = NULL;
	heard(q);
	if (q->state == PEER_DROPPED)
		return;
	if (!why) {
		memcpy(q->left_boot, q->boot_id, 8);
		set_caps(q, &(struct list){0});
		texts_clear(&q->topics);
		texts_clear(&q->wants);
		peer_set_state(q, PEER_LEFT, text);
		log_info("net", "peer %s left", q->name);
		return;
	}
	peer_set_state(q, PEER_LOST, text ? text : err_str(why));
	peer_bootstrap(q);
	peer_lost_dial(q);
	if (q->due_ms)
		log_info("net", "peer %s lost (%s), dialling again in %.1f s",
			 q->name, log_quote(q->why),
			 (double)(q->due_ms - now) / 1000);
	else
		log_info("net", "peer %s lost (%s)", q->name,
			 log_quote(q->why));
}

void peers_changed(struct peers *p, const struct node_id *id,
		   const struct node_changed *c)
{
	struct peer *q = peer_find(p, id);

	if (!q || !q->session)
		return;
	heard(q);
	texts_clear(&q->topics);
	for (size_t i = 0; i < c->topics.n; i++)
		texts_add_once(&q->topics, c->topics.items[i], TOPICS_OF_PEER);
	set_caps(q, &c->offers);
	for (size_t i = 0; i < q->topics.n; i++)
		topics_news(p->m->topics, q->topics.items[i]);
}

void peers_unreachable(struct peers *p, const struct node_id *id,
		       const struct node_unreachable *u)
{
	struct mesh *m = p->m;
	char by[NODE_NAME_SIZE];

	if (!u->address || !texts_have(&m->address, u->address))
		return; /* not ours, or not any more */
	node_name(id, by);
	mesh_set_unreachable(m, u->address, u->error, by);
}

/* --- our own news --- */

static void send_changed(struct peer *q, const struct node_changed *c)
{
	const struct rpc_ops ops = {.end = on_ignored};

	if (rpc_call(q->all->m->rpc, q->session, "node.changed", c, 5000, &ops,
		     NULL, NULL))
		log_debug("net", "node.changed not sent peer=%s", q->name);
}

static void on_tell(void *arg)
{
	struct peers *p = arg;
	struct arena arena = {0};
	struct node_changed c = {.seq = ++p->changed_seq};

	if (p->stopping)
		return;
	p->told_ms = loop_ms(p->m->loop);
	mesh_offers(p->m, &arena, &c.offers);
	topics_own(p->m->topics, &arena, &c.topics);
	for (size_t i = 0; i < p->n; i++)
		if (p->items[i]->session)
			send_changed(p->items[i], &c);
	arena_release(&arena);
}

void peers_tell(struct peers *p)
{
	uint64_t now = loop_ms(p->m->loop);

	if (p->stopping || loop_timer_armed(p->tell))
		return;
	uint64_t next = p->told_ms ? p->told_ms + TELL_MS : 0;
	loop_timer_set(p->tell, next > now ? next - now : 0);
}

void peers_consider(struct peers *p)
{
	for (size_t i = 0; i < p->n; i++)
		peer_consider(p->items[i], false);
}

/* How many confirmed a rekey. */
struct rekey_count {
	struct loop *loop;
	size_t open, told;
	peers_told_fn done;
	void *arg;
};

static void rekey_counted(struct rekey_count *c)
{
	if (--c->open)
		return;
	if (c->done)
		c->done(c->arg, c->told);
	free(c);
}

static void on_newkey_told(void *arg, struct rpc_stream *st, enum err e,
			   const void *reply, const char *text)
{
	struct rekey_count *c = arg;

	(void)st;
	(void)reply;
	if (e)
		log_debug("mesh", "new key not taken: %s", log_quote(text));
	else
		c->told++;
	rekey_counted(c);
}

static void on_rekey_post(void *arg)
{
	rekey_counted(arg);
}

void peers_rekeyed(struct peers *p, peers_told_fn done, void *arg)
{
	const struct rpc_ops ops = {.end = on_newkey_told};
	struct rekey_count *c = HN_NEW(struct rekey_count);
	bool sent;

	*c = (struct rekey_count){
	    .loop = p->m->loop, .open = 1, .done = done, .arg = arg};
	for (size_t i = 0; i < p->n; i++) {
		struct peer *q = p->items[i];
		if (membership_excludes(p->m->membership, &q->id)) {
			peer_dial_stop(q);
			if (q->session)
				session_close(q->session, ERR_DENIED,
					      "left out of the mesh");
			workers_gone(q);
			peer_set_state(q, PEER_DROPPED, "left out of the mesh");
		} else if (q->session) {
			send_newkey(q, &ops, c, &sent);
			c->open += sent;
		}
	}
	loop_post(c->loop, on_rekey_post, c);
}

void peers_drop(struct peers *p, const struct node_id *id, bool proof,
		const char *why)
{
	struct peer *q = peer_find(p, id);

	if (!q)
		return;
	log_debug("net", "dropped peer=%s proof=%d why=%s", q->name, proof,
		  log_quote(why));
	workers_gone(q);
	q->proof = q->proof || proof;
	peer_dial_cancel(q);
	peer_set_state(q, PEER_DROPPED, why);
	if (proof && q->session)
		session_close(q->session, ERR_DENIED, why);
}

bool peers_dropped(const struct peers *p, const struct node_id *id)
{
	const struct peer *q = peer_find(p, id);

	return q && q->proof;
}

void peers_want(struct peers *p, const char *cap, bool wanted)
{
	topics_want(p->m->topics, cap, wanted);
}

bool peers_allow(struct peers *p, const struct session *s)
{
	struct peer *q = peer_find(p, session_peer(s));

	if (!q)
		return false;
	uint64_t now = loop_ms(p->m->loop);
	q->tokens += (double)(now - q->tokens_ms) * CALLS_PER_S / 1000;
	q->tokens_ms = now;
	if (q->tokens > CALLS_BURST)
		q->tokens = CALLS_BURST;
	if (q->tokens < 1)
		return false;
	q->tokens -= 1;
	return true;
}

/* --- life --- */

static bool is_ghost(const struct peer *q, uint64_t now)
{
	if (q->session || q->attempt || q->waiters || q->user || q->proof)
		return false;
	/* From the disk and silent: still our way back into the mesh. */
	if (q->source == PEER_FROM_STORE && !q->heard_ms)
		return false;
	uint64_t last = q->heard_ms ? q->heard_ms : q->made_ms;
	return now - last > PEERS_GHOST_MS;
}

static void on_tick(void *arg)
{
	struct peers *p = arg;
	uint64_t now = loop_ms(p->m->loop);

	for (size_t i = p->n; i-- > 0;)
		if (is_ghost(p->items[i], now))
			peer_remove(p->items[i]);
	mesh_tick(p->m);
}

struct peers *peers_new(struct mesh *m)
{
	struct peers *p = HN_NEW(struct peers);

	p->m = m;
	p->tick = loop_timer_new(m->loop, on_tick, p);
	p->tell = loop_timer_new(m->loop, on_tell, p);
	loop_timer_every(p->tick, TICK_MS);
	return p;
}

void peers_stop(struct peers *p)
{
	p->stopping = true;
	loop_timer_cancel(p->tick);
	loop_timer_cancel(p->tell);
	for (size_t i = 0; i < p->n; i++) {
		peer_dial_stop(p->items[i]);
		/* OK tells them that we left, and are not lost. */
		if (p->items[i]->session)
			session_close(p->items[i]->session, OK, "left");
	}
}

void peers_free(struct peers *p)
{
	if (!p)
		return;
	while (p->n)
		peer_remove(p->items[p->n - 1]);
	free(p->items);
	loop_timer_free(p->tick);
	loop_timer_free(p->tell);
	free(p);
}

void peers_clear(struct peers *p, const char *why)
{
	while (p->n) {
		struct peer *q = p->items[p->n - 1];
		struct session *s = q->session;
		workers_gone(q);
		q->session = NULL;
		peer_remove(q);
		if (s)
			session_close(s, OK, why);
	}
	p->greeted = false;
	peers_store_clear(p);
}
