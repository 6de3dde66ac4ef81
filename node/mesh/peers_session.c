/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/peers_impl.h"

#include "node/base/log.h"
#include "node/mesh/address.h"
#include "node/mesh/job.h"
#include "node/mesh/membership.h"
#include "node/mesh/probe.h"
#include "node/mesh/skew.h"
#include "node/mesh/topics.h"

#include <sodium.h>

#include <stdlib.h>
#include <string.h>

/*
 * Peers that have a session: what each side tells the other of its own accord
 * (its facts at the beginning, then offers and topics as they change, new mesh
 * keys, addresses that do not work), and how a session's end reads: a goodbye
 * without a reason is a node that left, everything else one that was lost.
 */
#define TELL_MS 1000
#define CALLS_PER_S 20
#define STEADY_MS 10000 /* a session this long forgets earlier failures */

/* --- what it says --- */

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

static void on_ignored(void *arg, struct rpc_stream *st, enum err e,
		       const void *reply, const char *text)
{
	(void)arg;
	(void)st;
	(void)e;
	(void)reply;
	(void)text;
}

/* An address of it does not work; it is here all the same. */
static void say_unreachable(struct peer *q, const char *address,
			    const char *why, bool all)
{
	const struct rpc_ops ops = {.end = on_ignored};
	char *cut = text_cut(why ? why : "", 190);
	struct node_unreachable u = {
	    .address = (char *)(uintptr_t)address, .error = cut, .all = all};

	if (rpc_call(q->all->m->rpc, q->session, "node.unreachable", &u, 5000,
		     &ops, NULL, NULL))
		log_debug("net", "peer=%s is not told that %s does not work",
			  q->name, log_quote(address));
	free(cut);
}

/* What the last attempt found. When the peer came by itself, that is news only
 * if the same process was running when we tried: before its start nobody
 * listened there. */
static void tell_unreachable(struct peer *q)
{
	const uint8_t *boot = session_hello(q->session)->boot_id;
	bool ours = session_dialled(q->session);

	for (size_t i = 0; i < q->failed.n; i++)
		if (ours || !memcmp(q->failed_boot, boot, 8))
			say_unreachable(q, q->failed.items[i], q->failed_why,
					!ours);
	texts_clear(&q->failed);
}

/* The first address is the one that its owner wants us to use. */
static void on_probed(void *arg, unsigned worked, unsigned tried,
		      const char *error)
{
	struct peer *q = arg;

	q->probe = NULL;
	if (q->session && tried & ~worked & 1)
		say_unreachable(q, q->probed.items[0], error, !worked);
	texts_clear(&q->probed);
}

/* It dialled us, so its own addresses were not tried: does one work? Once for
 * each process of it. */
static void probe_peer(struct peer *q, const struct strs *said)
{
	if (session_dialled(q->session) || q->probe || !said->n ||
	    !memcmp(q->probed_boot, q->boot_id, 8))
		return;
	memcpy(q->probed_boot, q->boot_id, 8);
	for (size_t i = 0; i < said->n; i++)
		texts_add(&q->probed, said->items[i]);
	q->probe = probe_start(q->all->m->loop, said, on_probed, q);
	if (!q->probe)
		texts_clear(&q->probed);
}

void peer_probe_stop(struct peer *q)
{
	if (q->probe)
		probe_cancel(q->probe);
	q->probe = NULL;
	texts_clear(&q->probed);
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
	peer_heard(q);
	q->learned = true;
	q->role = role_name(i->role);
	text_set(&q->software, i->software, 64);
	text_set(&q->cpu, i->cpu, 128);
	q->cores = i->cores;
	q->ram_mib = i->ram_mib;
	q->suites = i->suites;
	q->clock_ms =
	    (int64_t)(i->unix_ms + took_ms / 2) - (int64_t)clock_unix_ms();
	peer_set_addresses(q, &i->address);
	for (size_t k = 0; k < i->topics.n; k++)
		texts_add_once(&q->topics, i->topics.items[k], PEER_TOPICS);
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
	peer_set_caps(q, &i->offers);
	probe_peer(q, &i->address);
	peer_store(q);
	clock_changed(q->all);
	for (size_t k = 0; k < q->topics.n; k++)
		topics_news(q->all->m->topics, q->topics.items[k]);
}

static void learn(struct peer *q)
{
	const struct rpc_ops ops = {.end = on_info};
	struct asked *a = asked_new(q);

	if (rpc_call(q->all->m->rpc, q->session, "node.info", NULL, 10000, &ops,
		     a, NULL))
		free(a);
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
	peer_heard(q);
	peer_new_boot(q, hello->boot_id);
	memset(q->left_boot, 0, 8);
	q->clock_ms = (int64_t)hello->unix_ms - (int64_t)clock_unix_ms();
	if (kind == SESSION_OLD_KEY) {
		const struct rpc_ops ops = {.end = on_ignored};
		send_newkey(q, &ops, NULL, &sent);
	}
	tell_unreachable(q);
	if (q->state != PEER_DROPPED)
		peer_set_state(q, PEER_OK, NULL);
	mesh_let_in(p->m);
	peer_on_session(q);
	if (again)
		return; /* D11 replaced a session; all is known */
	q->learned = false;
	learn(q);
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
			if (!q->learned)
				learn(q);
			return;
		}
	}
	peer_workers_gone(q);
	uint64_t now = loop_ms(p->m->loop);
	if (now - session_since_ms(s) >= STEADY_MS) {
		q->backoff_ms = 0;
		q->failures = 0;
	}
	q->session = NULL;
	peer_heard(q);
	if (q->state == PEER_DROPPED)
		return;
	if (!why) {
		memcpy(q->left_boot, q->boot_id, 8);
		peer_set_caps(q, &(struct list){0});
		texts_clear(&q->topics);
		texts_clear(&q->wants);
		peer_set_state(q, PEER_LEFT, text);
		log_info("net", "peer %s left", q->name);
		return;
	}
	if (why == ERR_DENIED && text && strstr(text, LEFT_OUT))
		mesh_left_out(p->m, q->name);
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
	peer_heard(q);
	if (c->seq <= q->changed_seq)
		return; /* over a session that D11 is ending */
	q->changed_seq = c->seq;
	texts_clear(&q->topics);
	for (size_t i = 0; i < c->topics.n; i++)
		texts_add_once(&q->topics, c->topics.items[i], PEER_TOPICS);
	peer_set_caps(q, &c->offers);
	for (size_t i = 0; i < q->topics.n; i++)
		topics_news(p->m->topics, q->topics.items[i]);
}

void peers_unreachable(struct peers *p, const struct node_id *id,
		       const struct node_unreachable *u)
{
	const struct peer *q = peer_find(p, id);

	if (q && u->address)
		mesh_set_unreachable(p->m, u->address, u->error, q->name,
				     u->all);
}

/* --- our own news --- */

static void send_changed(struct peer *q, const struct node_changed *c)
{
	const struct rpc_ops ops = {.end = on_ignored};

	if (rpc_call(q->all->m->rpc, q->session, "node.changed", c, 5000, &ops,
		     NULL, NULL))
		log_debug("net", "node.changed not sent peer=%s", q->name);
}

void peers_on_tell(void *arg)
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
				session_close(q->session, ERR_DENIED, LEFT_OUT);
			peer_workers_gone(q);
			peer_set_state(q, PEER_DROPPED, LEFT_OUT);
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
	/* A suspect gets no work, but may be asked what we know. */
	if (proof)
		peer_workers_gone(q);
	q->proof = q->proof || proof;
	peer_dial_cancel(q);
	peer_set_state(q, PEER_DROPPED, why);
	if (proof && q->session)
		session_close(q->session, ERR_DENIED, why);
}

void peers_readmit(struct peers *p, const struct node_id *id)
{
	struct peer *q = peer_find(p, id);

	if (!q || q->state != PEER_DROPPED ||
	    membership_excludes(p->m->membership, id))
		return;
	q->proof = false;
	peer_set_state(q, q->session ? PEER_OK : PEER_KNOWN, NULL);
	peer_workers(q);
	peer_consider(q, true);
}

bool peers_know(const struct peers *p, const struct node_id *id)
{
	return peer_find(p, id) != NULL;
}

bool peers_dropped(const struct peers *p, const struct node_id *id)
{
	const struct peer *q = peer_find(p, id);

	return (q && q->proof) || (p->m->jobs && jobs_barred(p->m->jobs, id));
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
	if (q->tokens > PEER_CALLS_BURST)
		q->tokens = PEER_CALLS_BURST;
	if (q->tokens < 1)
		return false;
	q->tokens -= 1;
	return true;
}
