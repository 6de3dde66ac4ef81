/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/mesh.h"
#include "node/mesh/mesh_impl.h"

#include "asic/asic.h"
#include "dht/discovery.h"
#include "node/base/log.h"
#include "node/mesh/access.h"
#include "node/mesh/address.h"
#include "node/mesh/backup.h"
#include "node/mesh/batch_index.h"
#include "node/mesh/control.h"
#include "node/mesh/invite.h"
#include "node/mesh/journal.h"
#include "node/mesh/ledger.h"
#include "node/mesh/lending.h"
#include "node/mesh/membership.h"
#include "node/mesh/offers.h"
#include "node/mesh/peers.h"
#include "node/mesh/replay.h"
#include "node/mesh/service_site.h"
#include "node/mesh/service_trust.h"
#include "node/mesh/skew.h"
#include "node/mesh/standing.h"
#include "node/mesh/start.h"
#include "node/mesh/topics.h"

#include <sodium.h>
#include <uv.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * What lives as long as the node: the callbacks that rpc and discovery were
 * given, the node's view of itself, changing from one mesh to another, and
 * the end. Starting up is start.c's.
 *
 * Stopping goes down the house, each step when the one before has ended:
 * jobs and units; sessions with their goodbyes; discovery with its tombstones;
 * devices; and last a statement through the store, after which no callback of
 * ours is on its way any more.
 */

#define ALONE_MS 15000 /* a bootstrap may take so long to answer */

/* --- the tables --- */

static const struct store_schema meta_schema[] = {
    {"mesh", 1,
     "CREATE TABLE mesh_meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL)"},
};

const struct store_schema *mesh_schema(size_t *n)
{
	static struct store_schema all[32];
	size_t count = 0;

	for (size_t i = 0; i < HN_COUNT(meta_schema); i++)
		all[count++] = meta_schema[i];
	for (size_t i = 0; i < peers_schema_count; i++)
		all[count++] = peers_schema[i];
	for (size_t i = 0; i < invites_schema_count; i++)
		all[count++] = invites_schema[i];
	for (size_t i = 0; i < journal_schema_count; i++)
		all[count++] = journal_schema[i];
	for (size_t i = 0; i < ledger_schema_count; i++)
		all[count++] = ledger_schema[i];
	for (size_t i = 0; i < evidence_schema_count; i++)
		all[count++] = evidence_schema[i];
	for (size_t i = 0; i < standing_schema_count; i++)
		all[count++] = standing_schema[i];
	for (size_t i = 0; i < backup_schema_count; i++)
		all[count++] = backup_schema[i];
	for (size_t i = 0; i < batch_index_schema_count; i++)
		all[count++] = batch_index_schema[i];
	*n = count;
	return all;
}

void mesh_remember(struct mesh *m, const char *name, uint64_t value)
{
	const struct store_val vals[] = {store_text(name), STORE_I(value)};

	store_run(m->store,
		  "INSERT OR REPLACE INTO mesh_meta (name, value) VALUES (?, "
		  "?)",
		  vals, 2, NULL, NULL);
}

/* --- what rpc asks --- */

static void add_psk(struct session_creds *c, const uint8_t key[static 32],
		    enum session_kind kind, uint64_t tag)
{
	if (c->npsks >= SESSION_PSKS)
		return;
	struct session_psk *p = &c->psks[c->npsks++];
	memcpy(p->key, key, 32);
	p->kind = kind;
	p->tag = tag;
}

static void on_invite(uint64_t tag, const uint8_t secret[16], void *arg)
{
	uint8_t key[32];

	invite_psk(secret, key);
	add_psk(arg, key, SESSION_INVITED, tag);
	sodium_memzero(key, sizeof(key));
}

void mesh_on_creds(void *arg, struct session_creds *out)
{
	struct mesh *m = arg;
	const struct membership *me = m->membership;
	uint64_t now = mesh_now_ms(m);
	struct mesh_keys keys;

	if (m->enrol) {
		enrol_creds(m, out);
		return;
	}
	*out = (struct session_creds){.cert = {me->cert.p, me->cert.n}};
	memcpy(out->mesh_id, me->mesh_id, 32);
	membership_keys(me, &keys);
	add_psk(out, keys.psk0, SESSION_PEER, 0);
	const uint8_t *prev = membership_prev(me, now);
	if (prev) {
		mesh_keys_derive(me->mesh_id, prev, &keys);
		add_psk(out, keys.psk0, SESSION_OLD_KEY, 0);
	}
	sodium_memzero(&keys, sizeof(keys));
	if (m->invites)
		invites_each(m->invites, now, on_invite, out);
}

enum err mesh_on_admit(void *arg, const struct session_hello *hello,
		       const struct session_psk *psk, struct buf *why)
{
	struct mesh *m = arg;

	if (m->stopping) {
		buf_add_str(why, "this node is stopping");
		return ERR_GONE;
	}
	/* Enrolling: the id is the invite's, the owner is not known yet; the
	 * answer proves itself (membership_join). */
	if (m->enrol)
		return OK;
	if (membership_excludes(m->membership, &hello->id)) {
		buf_add_str(why, "this node was " LEFT_OUT);
		return ERR_DENIED;
	}
	if (peers_dropped(m->peers, &hello->id)) {
		buf_add_str(why, "this node failed a proof here");
		return ERR_DENIED;
	}
	if (psk->kind == SESSION_INVITED)
		return OK;
	return membership_admit(m->membership, &hello->id, hello->cert,
				mesh_now_ms(m), why);
}

void mesh_on_up(void *arg, struct session *s)
{
	struct mesh *m = arg;

	peers_up(m->peers, s);
	service_receipt_up(m, s);
}

void mesh_on_down(void *arg, struct session *s, enum err why, const char *text,
		  bool dup)
{
	struct mesh *m = arg;

	peers_down(m->peers, s, why, text, dup);
	service_receipt_down(m, s);
}

void mesh_on_refused(void *arg, const char *address, const char *text)
{
	static struct log_gate gate;

	(void)arg;
	log_every(&gate, 10000, LOG_WARN, "net",
		  "refused %s: %s; closed and counted, see `hnode status`",
		  log_quote(address), text);
}

void mesh_on_copied(void *arg, const struct node_id *id, const char *address)
{
	struct mesh *m = arg;
	bool ours = node_id_eq(id, identity_id(m->me));
	static struct log_gate gate;

	log_every(&gate, 60000, LOG_WARN, "net",
		  "the key of node %s is in use twice, also at %s; the newer "
		  "session is refused; give one of the two a key of its own",
		  node_str(id), log_quote(address));
	free(m->trouble.copied_key);
	m->trouble.copied_key = xasprintf(
	    "the key of %s %s is in use twice, also at %.64s: stop one of the "
	    "two and give it another --data-dir",
	    ours ? "this node" : "node", node_str(id),
	    address ? address : "an unknown address");
}

/* --- what discovery says --- */

static void on_record(void *arg, const char *topic, const struct record *r)
{
	struct mesh *m = arg;

	peers_record(m->peers, topic, r);
}

static void on_expired(void *arg, const char *topic, const struct node_id *id)
{
	struct mesh *m = arg;

	peers_expired(m->peers, topic, id);
}

static void on_beacon(void *arg, const struct beacon_news *n)
{
	struct mesh *m = arg;

	peers_beacon(m->peers, n);
}

static bool on_cert(void *arg, const struct record *r)
{
	struct mesh *m = arg;
	struct buf why = {0};

	enum err e = membership_admit(m->membership, (const void *)r->node,
				      r->cert, mesh_now_ms(m), &why);
	buf_release(&why);
	return !e;
}

static void on_refused(void *arg, const struct record *r, uint64_t ahead_ms)
{
	struct mesh *m = arg;

	peers_refused(m->peers, r, ahead_ms);
}

static void on_issued(void *arg, uint64_t seq)
{
	struct mesh *m = arg;

	m->last_seq = seq;
	mesh_remember(m, "seq", seq);
}

/* From the key before to the one in force. */
static void new_keys(struct mesh *m)
{
	uint64_t left = membership_prev_ms(m->membership, mesh_now_ms(m));
	struct mesh_keys keys;

	membership_keys(m->membership, &keys);
	discovery_rekey(m->discovery, &keys, left);
	sodium_memzero(&keys, sizeof(keys));
}

enum err mesh_discover(struct mesh *m, uint16_t port, struct buf *why)
{
	struct discovery_options o = {
	    .loop = m->loop,
	    .me = m->me,
	    .port = port,
	    .dht = m->o.dht,
	    .lan = m->o.lan,
	    .bind = m->o.bind,
	    .beacon_port = m->o.beacon_port ? m->o.beacon_port : 7451,
	    .session_port = m->port,
	    .suites = m->suites,
	    .last_seq = m->last_seq,
	    .arg = m,
	    .record = on_record,
	    .expired = on_expired,
	    .beacon = on_beacon,
	    .cert_ok = on_cert,
	    .refused = on_refused,
	    .issued = on_issued,
	};

	if (!m->o.dht && !m->o.lan)
		return OK;
	const uint8_t *prev = membership_prev(m->membership, mesh_now_ms(m));
	if (prev)
		mesh_keys_derive(m->membership->mesh_id, prev, &o.keys);
	else
		membership_keys(m->membership, &o.keys);
	enum err e = discovery_new(&o, why, &m->discovery);
	sodium_memzero(&o.keys, sizeof(o.keys));
	if (e)
		return e;
	if (prev) /* the day of the old topics goes on after a restart */
		new_keys(m);
	m->dht_port = discovery_port(m->discovery);
	for (size_t i = 0; i < m->o.nbootstrap; i++) {
		struct address a;
		char text[8];
		if (!address_parse(m->o.bootstrap[i], &a))
			continue; /* start.c checked them */
		snprintf(text, sizeof(text), "%u", (unsigned)a.port);
		discovery_bootstrap(m->discovery, a.host, text);
	}
	return OK;
}

/* --- ourselves --- */

uint64_t mesh_now_ms(const struct mesh *m)
{
	uint64_t now = clock_unix_ms();

	return skew_bad(m->clock_ms) ? now + (uint64_t)m->clock_ms : now;
}

void mesh_set_clock(struct mesh *m, int64_t median)
{
	m->clock_ms = median;
	if (m->discovery)
		discovery_set_clock_offset(m->discovery,
					   skew_bad(median) ? median : 0);
}

bool mesh_dialable(const struct mesh *m)
{
	return m->port && !m->trouble.no_inbound;
}

static bool is_advertised(const struct mesh *m, const char *address)
{
	struct strs said = {0};

	address_own("-", m->o.advertise, m->o.nadvertise, m->port, &said);
	bool found = texts_have(&said, address);
	texts_clear(&said);
	return found;
}

/* One of many interfaces that a peer cannot reach is no trouble while another
 * works; what a person advertised is, and so is none. */
void mesh_set_unreachable(struct mesh *m, const char *address,
			  const char *error, const char *by, bool all)
{
	bool said = is_advertised(m, address);

	if (!texts_have(&m->address, address) || (!said && !all)) {
		log_debug("net", "peer=%s cannot dial us at %s, ignored", by,
			  log_quote(address));
		return;
	}
	if (m->trouble.unreachable && (!all || m->trouble.no_inbound))
		return; /* known */
	log_warn("net",
		 "peer %s cannot dial us at %s (%s); %s; going on with %s", by,
		 log_quote(address), log_quote(error),
		 said ? "name the right address with --advertise HOST:PORT"
		      : "forward that port here, or name the right address "
			"with --advertise HOST:PORT",
		 all ? "the sessions that we dial" : "our other addresses");
	free(m->trouble.unreachable);
	m->trouble.unreachable = xasprintf(
	    "peers cannot dial us at %.128s (said by %s): open that port, or "
	    "name the right address with --advertise",
	    address, by);
	if (!all || m->trouble.no_inbound)
		return;
	m->trouble.no_inbound = true;
	topics_refresh(m->topics);
	peers_consider(m->peers);
}

void mesh_offers(const struct mesh *m, struct arena *a, struct list *out)
{
	if (!strcmp(m->o.role, "use"))
		*out = (struct list){0};
	else
		offers_list(m->offers, a, out);
}

/* The addresses that we announce; they change with the interfaces. True when
 * they did. */
bool mesh_readdress(struct mesh *m)
{
	const char *bind = m->o.advertise_only ? "-" : m->o.bind;
	struct strs now = {0}, dht = {0};

	if (m->port)
		address_own(bind, m->o.advertise, m->o.nadvertise, m->port,
			    &now);
	/* The DHT's socket binds everything; the hosts are the same. What
	 * stands before us and is all that is announced passes both on, by one
	 * number. */
	if (m->dht_port && m->o.advertise_only) {
		address_own("-", m->o.advertise, m->o.nadvertise, m->dht_port,
			    &dht);
	} else if (m->dht_port) {
		struct address a;
		for (size_t i = 0; i < m->o.nadvertise; i++) {
			const char *one = m->o.advertise[i];
			const char *host =
			    address_parse(one, &a) ? a.host : one;
			address_own(host, NULL, 0, m->dht_port, &dht);
		}
		address_own(m->o.bind, NULL, 0, m->dht_port, &dht);
	}
	bool changed = !texts_same(&now, &m->address) ||
		       !texts_same(&dht, &m->dht_address);
	texts_clear(&m->address);
	texts_clear(&m->dht_address);
	m->address = now;
	m->dht_address = dht;
	return changed;
}

/* The list of those left out goes by id and has no way back. */
void mesh_left_out(struct mesh *m, const char *by)
{
	if (m->membership->is_public || m->trouble.left_out)
		return;
	m->trouble.left_out = xasprintf(
	    "%s says that this node was left out of mesh \"%s\": its key "
	    "stays out; to come back it needs a new --data-dir and an invite",
	    by, m->membership->name);
	if (!m->said_left_out)
		log_warn("net", "%s", m->trouble.left_out);
	m->said_left_out = true;
}

void mesh_let_in(struct mesh *m)
{
	free(m->trouble.left_out);
	m->trouble.left_out = NULL;
}

/* Finding nobody is said once, with what may be the matter. */
static void say_alone(struct mesh *m)
{
	if (m->said_alone || loop_ms(m->loop) - m->started_ms < ALONE_MS)
		return;
	m->said_alone = true;
	if (peers_sessions(m->peers))
		return;
	if (!m->o.nbootstrap) {
		log_info("net",
			 "no other node found yet%s; elsewhere, a node finds "
			 "this one by --bootstrap HOST:PORT or an invite",
			 m->o.lan ? " on this network" : "");
		return;
	}
	if (!m->discovery || discovery_state(m->discovery) != DISCOVERY_ALONE)
		return;
	log_warn("net",
		 "no answer from bootstrap %s%s; is a node of mesh \"%s\" "
		 "running there, and is UDP open in between? trying on",
		 log_quote(m->o.bootstrap[0]),
		 m->o.nbootstrap > 1 ? " and the others" : "",
		 m->membership->name);
}

void mesh_tick(struct mesh *m)
{
	if (m->stopping || m->start)
		return;
	if (mesh_readdress(m)) {
		log_info("net", "our addresses changed, %s now",
			 m->address.n ? m->address.items[0] : "none");
		free(m->trouble.unreachable);
		m->trouble.unreachable = NULL;
		m->trouble.no_inbound = false;
		topics_refresh(m->topics);
	}
	topics_tick(m->topics);
	say_alone(m);
}

uint16_t mesh_port(const struct mesh *m)
{
	return m->port;
}

uint16_t mesh_dht_port(const struct mesh *m)
{
	return m->dht_port;
}

const char *mesh_name(const struct mesh *m)
{
	return m->membership ? m->membership->name : "public";
}

bool mesh_is_public(const struct mesh *m)
{
	return !m->membership || m->membership->is_public;
}

/* --- another mesh, another key --- */

static void stop_devices(void *arg);

static void on_switched(void *arg)
{
	struct mesh *m = arg;
	struct buf why = {0};

	m->switching = false;
	if (m->stopping) {
		/* Whichever of rpc and this ends last goes on. */
		if (!m->rpc)
			stop_devices(m);
		return;
	}
	/* The port may be taken in between; any other is as good. */
	enum err e = mesh_discover(m, m->dht_port, &why);
	if (e && m->dht_port) {
		buf_clear(&why);
		e = mesh_discover(m, 0, &why);
	}
	free(m->trouble.discovery);
	m->trouble.discovery = NULL;
	if (e) {
		log_error("net",
			  "discovery does not start again (%s); only known "
			  "peers are found until hnode is restarted",
			  buf_str(&why));
		m->trouble.discovery = xasprintf(
		    "discovery is off (%.180s): restart hnode", buf_str(&why));
	}
	buf_release(&why);
	mesh_readdress(m);
	topics_refresh(m->topics);
}

void mesh_switched(struct mesh *m)
{
	struct discovery *d = m->discovery;

	log_info("net", "this node is in private mesh \"%s\" now",
		 m->membership->name);
	peers_clear(m->peers, "left the mesh");
	m->discovery = NULL;
	topics_refresh(m->topics);
	if (!d)
		return;
	m->switching = true;
	discovery_stop(d, on_switched, m);
}

void mesh_rekeyed(struct mesh *m)
{
	log_info("mesh", "mesh \"%s\" has a new key, generation=%llu",
		 m->membership->name,
		 (unsigned long long)m->membership->generation);
	if (!m->discovery)
		return;
	new_keys(m);
	topics_refresh(m->topics);
}

/* --- the end --- */

static void free_strings(const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free((char *)(uintptr_t)list[i]);
	free((void *)(uintptr_t)list);
}

static void free_options(struct mesh_options *o)
{
	free((char *)(uintptr_t)o->data_dir);
	free((char *)(uintptr_t)o->software);
	free((char *)(uintptr_t)o->bind);
	free((char *)(uintptr_t)o->role);
	free((char *)(uintptr_t)o->join);
	free((char *)(uintptr_t)o->affinity);
	free((char *)(uintptr_t)o->kernel);
	free((char *)(uintptr_t)o->sensors);
	free((char *)(uintptr_t)o->site);
	free((char *)(uintptr_t)o->behind);
	free((char *)(uintptr_t)o->runtime_dir);
	free((char *)(uintptr_t)o->backup_accept);
	free_strings(o->bootstrap, o->nbootstrap);
	free_strings(o->advertise, o->nadvertise);
	free_strings(o->offer, o->noffer);
	free_strings(o->site_nodes, o->nsite_nodes);
	free_strings(o->topic, o->ntopic);
}

static void on_last(void *arg)
{
	struct mesh *m = arg;
	loop_fn done = m->stopped;
	void *done_arg = m->stopped_arg;

	enrol_free(m);
	start_free(m);
	peers_free(m->peers);
	topics_free(m->topics);
	offers_free(m->offers);
	service_site_free(m->service_site);
	lending_free(m->lending);
	invites_free(m->invites);
	backup_free(m->backup);
	journal_free(m->journal);
	ledger_free(m->ledger);
	replay_free(m->replay);
	standing_free(m->standing);
	membership_free(m->membership);
	texts_clear(&m->address);
	texts_clear(&m->dht_address);
	free(m->cpu);
	free(m->trouble.unreachable);
	free(m->trouble.copied_key);
	free(m->trouble.left_out);
	free(m->trouble.discovery);
	free(m->control);
	free_options(&m->o);
	free(m);
	done(done_arg);
}

/* What one statement's result brought about may be another statement; once
 * nothing of the store's is on its way any more, one more round, for what was
 * posted before. */
static void on_store_drained(const struct store_result *r, void *arg)
{
	struct mesh *m = arg;

	(void)r;
	if (store_idle(m->store))
		loop_post(m->loop, on_last, m);
	else
		store_run(m->store, "SELECT 1", NULL, 0, on_store_drained, m);
}

static void on_devices_stopped(void *arg)
{
	struct mesh *m = arg;

	m->asic = NULL;
	store_run(m->store, "SELECT 1", NULL, 0, on_store_drained, m);
}

static void stop_devices(void *arg)
{
	struct mesh *m = arg;

	m->discovery = NULL;
	if (m->asic)
		asic_stop(m->asic, on_devices_stopped, m);
	else
		on_devices_stopped(m);
}

static void on_rpc_stopped(void *arg)
{
	struct mesh *m = arg;

	m->rpc = NULL;
	if (m->control)
		control_remove(m->o.data_dir, m->control);
	if (m->switching)
		return; /* on_switched goes on */
	if (m->discovery)
		discovery_stop(m->discovery, stop_devices, m);
	else
		stop_devices(m);
}

static void on_digests_stopped(void *arg)
{
	struct mesh *m = arg;

	if (m->peers)
		peers_stop(m->peers);
	if (m->rpc)
		rpc_stop(m->rpc, on_rpc_stopped, m);
	else
		on_rpc_stopped(m);
}

static void on_units_stopped(void *arg)
{
	struct mesh *m = arg;

	m->service_hash = NULL;
	if (m->service_digest)
		service_digest_stop(m->service_digest, on_digests_stopped, m);
	else
		on_digests_stopped(m);
}

void mesh_stop(struct mesh *m, loop_fn done, void *arg)
{
	loop_assert(m->loop);
	m->stopping = true;
	m->stopped = done;
	m->stopped_arg = arg;
	if (m->offers)
		offers_stop(m->offers);
	if (m->lending)
		lending_stop(m->lending);
	if (m->service_node)
		service_node_stop(m->service_node);
	m->service_node = NULL;
	if (m->backup)
		backup_stop(m->backup);
	if (m->service_job)
		service_job_stop(m->service_job);
	m->service_job = NULL;
	if (m->service_receipt)
		service_receipt_stop(m->service_receipt);
	if (m->service_hash)
		service_hash_stop(m->service_hash, on_units_stopped, m);
	else
		loop_post(m->loop, on_units_stopped, m);
	if (m->service_site)
		service_site_stop(m->service_site);
}
