/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/peers.h"
#include "node/mesh/peers_impl.h"

#include "dht/discovery.h"
#include "node/base/log.h"
#include "node/base/utf8.h"
#include "node/mesh/address.h"
#include "node/mesh/job.h"
#include "node/mesh/membership.h"
#include "node/mesh/skew.h"
#include "node/mesh/topics.h"

#include <sodium.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * The table of other nodes. An entry is made by whatever names a node first
 * (a record, a beacon, a session, the disk, a person) and forgotten ten
 * minutes after the last word of it. Records and the node's own words over a
 * session say the same kind of thing; a session's words are newer, so while
 * there is a session records only add addresses and topics.
 */
#define TICK_MS 5000

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

void text_set(char **at, const char *s, size_t max)
{
	free(*at);
	*at = text_cut(s, max);
}

const char *role_name(const char *role)
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

static char *text_dup(const char *s)
{
	return s && *s ? xstrdup(s) : NULL;
}

static struct cap_info cap_dup(const struct cap_info *c)
{
	struct cap_info copy = *c;

	copy.name = text_dup(c->name);
	copy.region = text_dup(c->region);
	copy.paused = text_dup(c->paused);
	return copy;
}

static void cap_release(struct cap_info *c)
{
	free(c->name);
	free(c->region);
	free(c->paused);
}

static void caps_clear(struct peer *q)
{
	for (size_t i = 0; i < q->ncaps; i++)
		cap_release(&q->caps[i]);
	free(q->caps);
	q->caps = NULL;
	q->ncaps = 0;
}

static bool is_worker(const struct peer *q)
{
	const bool suspect = q->state == PEER_DROPPED && !q->proof;

	return q->session && (q->state == PEER_OK || suspect) &&
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
		if (q->caps[i].paused)
			service_job_worker_gone(m, q->caps[i].name, &q->id);
		else
			service_job_worker(m, &q->caps[i], &q->id, rtt);
}

void peer_workers_gone(struct peer *q)
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
	free(q->refused);
	free(q->software);
	free(q->cpu);
	peer_probe_stop(q);
	texts_clear(&q->failed);
	free(q->failed_why);
	free(q);
}

/* Full: the one without a session that was silent the longest goes; those that
 * failed a proof last, or a few thousand keys of a liar would fill the table.
 */
static bool make_room(struct peers *p)
{
	struct peer *oldest = NULL;

	if (p->n < PEERS_MAX)
		return true;
	for (size_t i = 0; i < p->n; i++) {
		struct peer *q = p->items[i];
		if (q->session || q->user || q->attempt || q->waiters)
			continue;
		if (!oldest || q->proof < oldest->proof ||
		    (q->proof == oldest->proof &&
		     q->heard_ms < oldest->heard_ms))
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
	q->tokens = PEER_CALLS_BURST;
	q->timer = loop_timer_new(p->m->loop, on_peer_due, q);
	p->items = xrealloc(p->items, (p->n + 1) * sizeof(struct peer *));
	p->items[p->n++] = q;
	if (p->m->jobs && jobs_barred(p->m->jobs, id)) {
		q->proof = true;
		peer_set_state(q, PEER_DROPPED, "was proven to cheat");
	}
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
void peer_set_addresses(struct peer *q, const struct strs *said)
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
void peer_set_caps(struct peer *q, const struct list *caps)
{
	const struct cap_info *said = caps->items;
	struct cap_info *old = q->caps;
	size_t nold = q->ncaps;
	struct buf why = {0};

	q->caps = xcalloc(caps->n + 1, sizeof(*q->caps));
	q->ncaps = 0;
	for (size_t i = 0; i < caps->n && q->ncaps < PEER_CAPS; i++) {
		buf_clear(&why);
		if (!said[i].name || topic_check(said[i].name, &why))
			continue;
		struct cap_info *c = &q->caps[q->ncaps++];
		*c = cap_dup(&said[i]);
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
		cap_release(&old[i]);
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

void peer_heard(struct peer *q)
{
	q->heard_ms = loop_ms(q->all->m->loop);
}

/* A new process of a node that left or was lost: a fresh start. */
bool peer_new_boot(struct peer *q, const uint8_t boot_id[8])
{
	bool fresh = memcmp(q->boot_id, boot_id, 8) != 0;

	memcpy(q->boot_id, boot_id, 8);
	if (fresh)
		q->changed_seq = 0;
	return fresh;
}

/* Some of these are its own, which peer_set_caps frees: lends it copies. */
static void lend_caps(struct peer *q, struct cap_info *caps, size_t n)
{
	for (size_t i = 0; i < n; i++)
		caps[i] = cap_dup(&caps[i]);
	peer_set_caps(q, &(struct list){caps, n});
	for (size_t i = 0; i < n; i++)
		cap_release(&caps[i]);
}

/* A record says that, but not why; a session says why. */
static char paused_by_record[] = "paused by its owner";

static void record_caps(struct peer *q, const char *topic,
			const struct record *r)
{
	const struct record_cap *said = r->caps.items;
	struct cap_info all[PEER_CAPS];
	size_t n = 0;

	/* Its words under this topic, and what it said under others. */
	for (size_t i = 0; i < r->caps.n && n < PEER_CAPS; i++)
		all[n++] = (struct cap_info){
		    .name = said[i].name,
		    .rate = said[i].rate,
		    .free = said[i].free,
		    .devices = said[i].devices,
		    .slots = said[i].slots,
		    .price = said[i].price,
		    .region = said[i].region,
		    .hardware = said[i].hardware,
		    .paused = said[i].paused ? paused_by_record : NULL};
	size_t own = n;
	for (size_t i = 0; i < q->ncaps && n < PEER_CAPS; i++) {
		bool again = !strcmp(q->caps[i].name, topic);
		for (size_t k = 0; k < own && !again; k++)
			again = !strcmp(all[k].name, q->caps[i].name);
		if (!again)
			all[n++] = q->caps[i];
	}
	lend_caps(q, all, n);
}

/* It does not announce this capability any more. */
static void drop_cap(struct peer *q, const char *name)
{
	struct cap_info left[PEER_CAPS];
	size_t n = 0;

	for (size_t i = 0; i < q->ncaps; i++)
		if (strcmp(q->caps[i].name, name) != 0)
			left[n++] = q->caps[i];
	lend_caps(q, left, n);
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
	if (!want && !q->session)
		drop_cap(q, topic);
	peer_heard(q);
	/* It left this topic; it left us when that was the last. */
	if (q->session || q->topics.n || want)
		return;
	memcpy(q->left_boot, r->boot_id, 8);
	peer_set_caps(q, &(struct list){0});
	peer_dial_cancel(q);
	if (q->state != PEER_DROPPED)
		peer_set_state(q, PEER_LEFT, "said goodbye");
}

/* True when its addresses are others than before. */
static bool record_addresses(struct peer *q, const struct record *r)
{
	struct strs before = q->address;

	q->address = (struct strs){0};
	for (size_t i = 0; i < before.n; i++)
		texts_add(&q->address, before.items[i]);
	peer_set_addresses(q, &r->address);
	bool changed = !texts_same(&before, &q->address);
	texts_clear(&before);
	if (r->dht.n) {
		texts_clear(&q->dht);
		for (size_t i = 0; i < r->dht.n; i++)
			texts_add_once(&q->dht, r->dht.items[i],
				       ADDRESS_ANNOUNCED);
	}
	return changed;
}

static void record_facts(struct peer *q, const char *topic,
			 const struct record *r)
{
	texts_add_once(&q->topics, topic, PEER_TOPICS);
	q->role = role_name(r->role);
	text_set(&q->software, r->software, 64);
	text_set(&q->cpu, r->cpu, 128);
	q->cores = r->cores;
	q->ram_mib = r->ram_mib;
	if (!q->session)
		record_caps(q, topic, r);
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
	if (q && r->seq < q->record_seq && memcmp(q->boot_id, r->boot_id, 8))
		return; /* of a process before the one that speaks now */
	q = peer_get_or_add(p, id, PEER_FROM_DHT);
	if (!q || membership_excludes(p->m->membership, id))
		return;
	peer_heard(q);
	text_set(&q->refused, NULL, 0);
	bool fresh = peer_new_boot(q, r->boot_id);
	if (q->state == PEER_LEFT)
		peer_set_state(q, PEER_KNOWN, NULL);
	if (r->seq > q->record_seq)
		q->record_seq = r->seq;
	q->suites = r->suites;
	fresh |= record_addresses(q, r);
	if (!strncmp(topic, "want/", 5))
		texts_add_once(&q->wants, topic + 5, PEER_TOPICS);
	else
		record_facts(q, topic, r);
	if (q->session)
		peer_bootstrap(q);
	peer_consider(q, fresh);
	topics_news(p->m->topics, topic);
}

/* It stands in the list, so that people can find out why it does nothing. */
void peers_refused(struct peers *p, const struct record *r, uint64_t ahead_ms)
{
	const struct node_id *id = (const void *)r->node;
	struct buf why = {0};

	if (p->stopping || node_id_eq(id, identity_id(p->m->me)))
		return;
	struct peer *q = peer_get_or_add(p, id, PEER_FROM_DHT);
	if (!q)
		return;
	if (ahead_ms)
		buf_printf(&why,
			   "its announcement is %" PRIu64
			   " minutes ahead of our clock: set the clock that is "
			   "wrong, there or here",
			   (ahead_ms + 30000) / 60000);
	else
		buf_add_str(&why, "its certificate is not valid in this mesh: "
				  "it needs a new invite");
	text_set(&q->refused, buf_str(&why), 190);
	buf_release(&why);
}

void peers_expired(struct peers *p, const char *topic, const struct node_id *id)
{
	struct peer *q = peer_find(p, id);

	if (!q || p->stopping)
		return;
	if (!strncmp(topic, "want/", 5)) {
		texts_remove(&q->wants, topic + 5);
		return;
	}
	texts_remove(&q->topics, topic);
	/* Its own words over a session are newer than any record. */
	if (!q->session)
		drop_cap(q, topic);
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
	peer_heard(q);
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
	peer_consider(q, true);
}

void peers_known(struct peers *p, const struct node_id *id,
		 const struct strs *address, const struct strs *dht)
{
	struct peer *q = peer_get_or_add(p, id, PEER_FROM_INVITE);

	if (!q)
		return;
	peer_heard(q);
	for (size_t i = 0; i < address->n; i++)
		peer_add_address(q, address->items[i], false);
	for (size_t i = 0; i < dht->n; i++)
		texts_add_once(&q->dht, dht->items[i], ADDRESS_ANNOUNCED);
	peer_bootstrap(q);
	peer_consider(q, true);
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
	p->tell = loop_timer_new(m->loop, peers_on_tell, p);
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
		peer_probe_stop(p->items[i]);
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
		peer_workers_gone(q);
		q->session = NULL;
		peer_remove(q);
		if (s)
			session_close(s, OK, why);
	}
	p->greeted = false;
	peers_store_clear(p);
}
