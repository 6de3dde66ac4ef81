/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/start.h"

#include "asic/asic.h"
#include "asic/kernel.h"
#include "dht/discovery.h"
#include "node/base/log.h"
#include "node/mesh/access.h"
#include "node/mesh/address.h"
#include "node/mesh/backup.h"
#include "node/mesh/control.h"
#include "node/mesh/invite.h"
#include "node/mesh/journal.h"
#include "node/mesh/lending.h"
#include "node/mesh/membership.h"
#include "node/mesh/offers.h"
#include "node/mesh/peers.h"
#include "node/mesh/service_site.h"
#include "node/mesh/service_trust.h"
#include "node/mesh/standing.h"
#include "node/mesh/topics.h"

#include <sodium.h>
#include <uv.h>

#include <stdlib.h>
#include <string.h>

/*
 * A node comes up in steps, each begun when the one before has ended: what is
 * on disk; every part that needs no port; an invite's enrolment; the ports;
 * remembered peers; the topics and offers that were asked for. Only then is
 * it ready. A step that fails ends the walk with one sentence; what was made
 * by then is mesh_stop's to take down.
 */
#define SMALL_PER_S 5000 /* small frames of one session */
#define PORT_TRIES 24

struct start {
	mesh_ready_fn ready;
	void *arg;
	enum err e;
	char *text;
	uint16_t stored_port;
	size_t offers_open;
};

static void on_ready(void *arg)
{
	struct mesh *m = arg;

	if (m->stopping)
		return; /* nobody waits any more */
	struct start s = *m->start;
	free(m->start);
	m->start = NULL;
	s.ready(s.arg, s.e, s.text);
	free(s.text);
}

static void finish(struct mesh *m, enum err e, const char *text)
{
	m->start->e = e;
	m->start->text = text ? xstrdup(text) : NULL;
	loop_post(m->loop, on_ready, m);
}

void start_free(struct mesh *m)
{
	if (m->start)
		free(m->start->text);
	free(m->start);
	m->start = NULL;
}

/* --- topics and offers --- */

static void on_offered(void *arg, enum err e, const char *text)
{
	struct mesh *m = arg;
	struct start *s = m->start;

	if (e && !s->e) {
		s->e = e;
		s->text = text ? xstrdup(text) : NULL;
	}
	if (--s->offers_open || m->stopping)
		return;
	loop_post(m->loop, on_ready, m);
}

static void on_peers_loaded(void *arg)
{
	struct mesh *m = arg;
	struct buf why = {0};

	if (m->stopping)
		return;
	service_job_resume(m);
	service_site_run(m->service_site);
	for (size_t i = 0; i < m->o.ntopic; i++) {
		enum err e = topics_join(m->topics, m->o.topic[i], &why);
		if (e) {
			finish(m, e, buf_str(&why));
			buf_release(&why);
			return;
		}
	}
	buf_release(&why);
	if (!m->o.noffer) {
		finish(m, OK, NULL);
		return;
	}
	m->start->offers_open = m->o.noffer;
	for (size_t i = 0; i < m->o.noffer; i++)
		offers_add(m->offers, m->o.offer[i], on_offered, m);
}

/* --- ports --- */

static enum err listen_on(struct mesh *m, uint16_t port, struct buf *why)
{
	struct hub *hub = rpc_hub(m->rpc);
	const char *bind = m->o.bind ? m->o.bind : "::";
	char *url = strchr(bind, ':') ? xasprintf("tcp://[%s]:%u", bind, port)
				      : xasprintf("tcp://%s:%u", bind, port);

	enum err e = hub_listen(hub, url, &m->port, why);
	free(url);
	if (e && !m->o.bind) {
		/* A kernel without IPv6. */
		struct buf again = {0};
		url = xasprintf("tcp://0.0.0.0:%u", port);
		if (!hub_listen(hub, url, &m->port, &again))
			e = OK;
		free(url);
		buf_release(&again);
	}
	return e;
}

/* Sessions on TCP first, then the DHT on UDP of the same number. */
static enum err open_port(struct mesh *m, uint16_t port, struct buf *why)
{
	enum err e = OK;

	m->port = 0;
	if (m->o.listen)
		e = listen_on(m, port, why);
	if (!e)
		e = mesh_discover(m, m->o.listen ? m->port : port, why);
	if (e && m->port) {
		hub_unlisten(rpc_hub(m->rpc));
		m->port = 0;
	}
	return e;
}

/* The candidates in order: the one in use last time, the usual one, any. */
static uint16_t candidate(const struct mesh *m, unsigned try)
{
	bool fixed = m->o.port_given && m->o.port;

	if (fixed)
		return m->o.port;
	if (try == 0)
		return m->start->stored_port ? m->start->stored_port
					     : m->o.port;
	return try == 1 ? m->o.port : 0;
}

static enum err open_ports(struct mesh *m, struct buf *why)
{
	bool fixed = m->o.port_given && m->o.port;
	enum err e = OK;

	for (unsigned try = 0; try < (fixed ? 1 : PORT_TRIES); try++) {
		buf_clear(why);
		e = open_port(m, candidate(m, try), why);
		if (!e)
			break;
		/* Whoever opened that port to the world must hear of it. */
		if (e == ERR_EXISTS && !fixed && candidate(m, try))
			log_info("net",
				 "%s; taking another, which stays this "
				 "node's; --port chooses one",
				 buf_str(why));
		else
			log_debug("net", "port not taken: %s", buf_str(why));
	}
	if (e == ERR_EXISTS && fixed)
		buf_add_str(why, "; stop that, or choose another --port (0: "
				 "any)");
	if (e == ERR_IO && m->o.bind) {
		buf_add_str(why, "; --bind takes an address that this machine "
				 "has");
		e = ERR_CONFIG;
	}
	return e;
}

static enum err open_control(struct mesh *m, struct buf *why)
{
	struct buf path = {0};

	enum err e = control_place(m->o.data_dir, m->o.runtime_dir,
				   identity_id(m->me), &path, why);
	if (!e)
		e = hub_listen_control(rpc_hub(m->rpc), buf_str(&path), why);
	if (!e)
		m->control = xstrdup(buf_str(&path));
	buf_release(&path);
	return e;
}

static void log_ports(struct mesh *m)
{
	const char *where = m->o.bind ? m->o.bind : "all interfaces";

	log_info("net",
		 m->membership->is_public
		     ? "mesh \"%s\" (open; `hnode invite` makes a "
		       "private one)"
		     : "mesh \"%s\" (private)",
		 m->membership->name);
	if (m->port && m->dht_port == m->port)
		log_info("net", "listening udp+tcp %u on %s", (unsigned)m->port,
			 where);
	else if (m->port)
		log_info("net", "listening tcp %u on %s", (unsigned)m->port,
			 where);
	else
		log_info("net", "outbound only: no session port%s",
			 m->dht_port ? ", DHT on a UDP port" : "");
	if (m->o.bind && m->dht_port)
		log_info("net",
			 "--bind governs sessions and beacons; the DHT's UDP "
			 "socket %u is open on all interfaces (--no-dht: none)",
			 (unsigned)m->dht_port);
}

static void open_all(struct mesh *m)
{
	struct buf why = {0};

	enum err e = open_ports(m, &why);
	if (!e)
		e = open_control(m, &why);
	if (e) {
		finish(m, e, buf_str(&why));
		buf_release(&why);
		return;
	}
	buf_release(&why);
	if (m->port)
		mesh_remember(m, "port", m->port);
	mesh_readdress(m);
	log_ports(m);
	peers_load(m->peers, on_peers_loaded, m);
}

static void on_enrolled(struct mesh *m, enum err e, const char *text)
{
	if (m->stopping)
		return;
	if (e)
		finish(m, e, text);
	else
		open_all(m);
}

/* --- the parts --- */

static enum err make_rpc(struct mesh *m)
{
	struct rpc_options o = {
	    .hub = {.loop = m->loop,
		    .me = m->me,
		    .aes = m->suites & 2,
		    .ping_idle = m->o.ping_ms,
		    .rekey_ms = m->o.rekey_ms,
		    .source = m->o.bind,
		    .creds = mesh_on_creds,
		    .admit = mesh_on_admit,
		    .copied_key = mesh_on_copied,
		    .refused = mesh_on_refused},
	    .tables = mesh_methods,
	    .ntables = mesh_methods_count,
	    .arg = m,
	    .small_per_s = SMALL_PER_S,
	    .authorize = access_authorize,
	    .up = mesh_on_up,
	    .down = mesh_on_down,
	};

	memcpy(o.hub.boot_id, m->boot_id, 8);
	m->rpc = rpc_new(&o);
	return OK;
}

/* Names of the kernels this CPU can run: "scalar shani avx2". */
static char *cpu_words(void)
{
	struct buf b = {0};
	size_t n;
	const struct kernel *all = kernel_list(&n);

	for (size_t i = 0; i < n; i++)
		if (all[i].usable())
			buf_printf(&b, "%s%s", b.n ? " " : "", all[i].name);
	char *text = xstrdup(buf_str(&b));
	buf_release(&b);
	return text;
}

static void know_ourselves(struct mesh *m)
{
	m->suites = 1 | (crypto_aead_aes256gcm_is_available() ? 2 : 0);
	m->cores = uv_available_parallelism();
	m->ram_mib = uv_get_total_memory() >> 20;
	m->cpu = cpu_words();
}

static enum err make_parts(struct mesh *m, struct buf *why)
{
	const struct asic_options ao = {.loop = m->loop,
					.threads = m->o.threads,
					.affinity = m->o.affinity,
					.kernel = m->o.kernel};

	know_ourselves(m);
	enum err e = asic_new(&ao, why, &m->asic);
	if (e)
		return e;
	m->topics = topics_new(m);
	m->lending = lending_new(m);
	m->offers = offers_new(m);
	m->service_site = service_site_new(m);
	m->peers = peers_new(m);
	e = make_rpc(m);
	if (e)
		return e;
	m->service_node = service_node_new(m);
	m->service_receipt = service_receipt_new(m);
	m->service_hash = service_hash_new(m);
	m->service_digest = service_digest_new(m);
	m->service_job = service_job_new(m);
	m->backup = backup_new(m);
	return OK;
}

/* --- what is on disk, and what was asked for --- */

static void finish_unread(struct mesh *m, enum err e, const char *text)
{
	struct buf why = {0};

	buf_printf(&why,
		   "the database cannot be used: %s (`hnode db check` "
		   "says more)",
		   text ? text : err_str(e));
	finish(m, e, buf_str(&why));
	buf_release(&why);
}

static void on_backup_loaded(void *arg)
{
	struct mesh *m = arg;

	if (m->stopping)
		return;
	if (m->o.join)
		enrol_start(m, on_enrolled);
	else
		open_all(m);
}

static void on_receipts_loaded(void *arg, enum err e, const char *text)
{
	struct mesh *m = arg;

	if (m->stopping)
		return;
	if (e)
		finish_unread(m, e, text);
	else
		backup_load(m->backup, on_backup_loaded, m);
}

static void on_jobs_loaded(void *arg, enum err e, const char *text)
{
	struct mesh *m = arg;

	if (m->stopping)
		return;
	if (e)
		finish_unread(m, e, text);
	else
		service_receipt_load(m, on_receipts_loaded);
}

static void on_scores_loaded(void *arg, enum err e, const char *text)
{
	struct mesh *m = arg;

	if (m->stopping)
		return;
	if (e) {
		finish_unread(m, e, text);
		return;
	}
	service_trust_tidy(m);
	journal_load(m->journal, on_jobs_loaded, m);
}

static void on_invites_loaded(void *arg, enum err e, const char *text)
{
	struct mesh *m = arg;
	struct buf why = {0};

	if (m->stopping)
		return;
	if (e) {
		finish_unread(m, e, text);
		return;
	}
	e = make_parts(m, &why);
	if (e)
		finish(m, e, buf_str(&why));
	else
		standing_load(m->standing, on_scores_loaded, m);
	buf_release(&why);
}

static void on_meta(const struct store_result *r, void *arg)
{
	struct mesh *m = arg;

	if (m->stopping)
		return;
	for (size_t i = 0; !r->err && i < r->rows; i++) {
		const struct store_val *v = &r->cells[i * r->columns];
		const char *name = (const char *)v[0].b.p;
		if (!strcmp(name, "port") && v[1].i > 0 && v[1].i < 65536)
			m->start->stored_port = (uint16_t)v[1].i;
		if (!strcmp(name, "seq"))
			m->last_seq = (uint64_t)v[1].i;
	}
	if (r->err) {
		on_invites_loaded(m, r->err, r->message);
		return;
	}
	m->invites = invites_new(m->store);
	invites_load(m->invites, on_invites_loaded, m);
}

static enum err check_addresses(const struct mesh_options *o, struct buf *why)
{
	struct address a;

	for (size_t i = 0; i < o->nbootstrap; i++)
		if (!address_parse(o->bootstrap[i], &a)) {
			buf_printf(why,
				   "--bootstrap %s: give HOST:PORT, with "
				   "[brackets] around an IPv6 address",
				   log_quote(o->bootstrap[i]));
			return ERR_CONFIG;
		}
	for (size_t i = 0; i < o->nadvertise; i++)
		if (!address_parse(o->advertise[i], &a) &&
		    (strlen(o->advertise[i]) > 100 || !*o->advertise[i] ||
		     strpbrk(o->advertise[i], " /@"))) {
			buf_printf(why,
				   "--advertise %s: give HOST or "
				   "HOST:PORT",
				   log_quote(o->advertise[i]));
			return ERR_CONFIG;
		}
	return OK;
}

static enum err check_options(const struct mesh_options *o, struct buf *why)
{
	if (strcmp(o->role, "serve") && strcmp(o->role, "use") &&
	    strcmp(o->role, "both")) {
		buf_printf(why, "--role %s: it is serve, use or both",
			   log_quote(o->role));
		return ERR_CONFIG;
	}
	if (!strcmp(o->role, "use") && o->noffer) {
		buf_add_str(why, "--role use offers nothing: leave out --offer "
				 "or choose --role both");
		return ERR_CONFIG;
	}
	for (size_t i = 0; i < o->ntopic; i++)
		if (topic_check(o->topic[i], why))
			return ERR_CONFIG;
	if (o->behind) {
		struct node_id id;
		struct address a;
		struct buf what = {0};
		bool bad = address_parse_node(o->behind, &id, &a, &what);
		if (bad)
			buf_printf(why, "--behind %s: %s", log_quote(o->behind),
				   buf_str(&what));
		buf_release(&what);
		if (bad)
			return ERR_CONFIG;
	}
	return check_addresses(o, why);
}

static void on_begin(void *arg)
{
	struct mesh *m = arg;
	struct buf why = {0};

	if (m->stopping)
		return;
	enum err e = check_options(&m->o, &why);
	if (!e)
		e = membership_load(m->o.data_dir, m->me, &why, &m->membership);
	if (e)
		finish(m, e, buf_str(&why));
	else
		store_run(m->store, "SELECT name, value FROM mesh_meta", NULL,
			  0, on_meta, m);
	buf_release(&why);
}

static const char *copy(const char *s)
{
	return s ? xstrdup(s) : NULL;
}

static const char *const *copy_list(const char *const *list, size_t n)
{
	char **c = xcalloc(n + 1, sizeof(*c));

	for (size_t i = 0; i < n; i++)
		c[i] = xstrdup(list[i]);
	return (const char *const *)c;
}

struct mesh *mesh_new(const struct mesh_options *o, mesh_ready_fn ready,
		      void *arg)
{
	struct mesh *m = HN_NEW(struct mesh);

	m->o = *o;
	m->loop = o->loop;
	m->store = o->store;
	m->me = o->me;
	m->started_ms = loop_ms(o->loop);
	randombytes_buf(m->boot_id, sizeof(m->boot_id));
	m->o.data_dir = copy(o->data_dir);
	m->o.software = copy(o->software ? o->software : "hnode");
	m->o.bind = copy(o->bind);
	m->o.role = copy(o->role ? o->role : "both");
	m->o.join = copy(o->join);
	m->o.affinity = copy(o->affinity);
	m->o.kernel = copy(o->kernel);
	m->o.sensors = copy(o->sensors);
	m->o.site = copy(o->site);
	m->o.behind = copy(o->behind);
	m->o.runtime_dir = copy(o->runtime_dir);
	m->o.backup_accept = copy(o->backup_accept ? o->backup_accept : "mesh");
	m->o.bootstrap = copy_list(o->bootstrap, o->nbootstrap);
	m->o.advertise = copy_list(o->advertise, o->nadvertise);
	m->o.offer = copy_list(o->offer, o->noffer);
	m->o.site_nodes = copy_list(o->site_nodes, o->nsite_nodes);
	m->o.topic = copy_list(o->topic, o->ntopic);
	m->start = HN_NEW(struct start);
	m->start->ready = ready;
	m->start->arg = arg;
	loop_post(m->loop, on_begin, m);
	return m;
}
