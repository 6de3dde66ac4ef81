/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/mesh_impl.h"

#include "asic/asic.h"
#include "dht/discovery.h"
#include "node/base/log.h"
#include "node/base/store.h"
#include "node/mesh/job.h"
#include "node/mesh/journal.h"
#include "node/mesh/ledger.h"
#include "node/mesh/lending.h"
#include "node/mesh/membership.h"
#include "node/mesh/peers.h"
#include "node/mesh/replay.h"
#include "node/mesh/service_site.h"
#include "node/mesh/skew.h"
#include "node/mesh/topics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/*
 * How this node is doing: sentences on what is wrong and what to do, and the
 * figures of every part.
 */
#define DEVICES_SHOWN 64
#define COUNTERS_MAX 128
#define YOUNG_MS 15000 /* a bootstrap may take so long to answer */

static char *text(struct arena *a, const char *s)
{
	return s ? arena_strndup(a, s, strlen(s)) : NULL;
}

/* --- reasons --- */

struct reasons {
	struct arena *a;
	struct strs *out;
	size_t silent, answered;
};

static void add(struct reasons *r, char *sentence)
{
	/* A text of a list has 256 bytes at most. */
	if (strlen(sentence) > STRS_MAX_TEXT)
		sentence[STRS_MAX_TEXT] = 0;
	if (r->out->n < 16)
		r->out->items[r->out->n++] = sentence;
}

static void on_bootstrap(void *arg, const char *host, const char *port,
			 bool answered, unsigned failed)
{
	struct reasons *r = arg;

	(void)host;
	(void)port;
	(void)failed;
	r->answered += answered;
	r->silent += !answered;
}

static void about_discovery(const struct mesh *m, struct reasons *r)
{
	if (m->trouble.discovery)
		add(r, text(r->a, m->trouble.discovery));
	if (!m->discovery || !m->o.nbootstrap ||
	    loop_ms(m->loop) - m->started_ms < YOUNG_MS ||
	    discovery_state(m->discovery) != DISCOVERY_ALONE)
		return;
	discovery_bootstraps(m->discovery, on_bootstrap, r);
	if (!r->answered)
		add(r, arena_printf(r->a,
				    "no answer from bootstrap %.100s: is a "
				    "node of this mesh running there, and is "
				    "UDP open in between?",
				    m->o.bootstrap[0]));
}

void status_reasons(const struct mesh *m, struct arena *a, struct strs *out)
{
	struct reasons r = {.a = a, .out = out};

	*out = (struct strs){arena_alloc(a, 16 * sizeof(char *)), 0};
	about_discovery(m, &r);
	if (store_lost(m->store))
		add(&r, arena_printf(a,
				     "the database is %" PRIu64
				     " changes older than it was (its log was "
				     "cut, or an earlier copy put in its "
				     "place): jobs that had ended may run "
				     "again",
				     store_lost(m->store)));
	if (m->journal && journal_trouble(m->journal))
		add(&r, text(a, journal_trouble(m->journal)));
	if (service_site_trouble(m))
		add(&r, text(a, service_site_trouble(m)));
	if (m->trouble.left_out)
		add(&r, text(a, m->trouble.left_out));
	if (m->trouble.unreachable)
		add(&r, text(a, m->trouble.unreachable));
	if (m->trouble.copied_key)
		add(&r, text(a, m->trouble.copied_key));
	if (skew_bad(m->clock_ms))
		add(&r, arena_printf(a,
				     "the clock of this machine is %lld s off "
				     "those of its peers: set it",
				     (long long)(m->clock_ms / 1000)));
	if (!m->membership->is_public) {
		struct buf why = {0};
		if (membership_admit(m->membership, identity_id(m->me),
				     (struct bytes){m->membership->cert.p,
						    m->membership->cert.n},
				     mesh_now_ms(m), &why))
			add(&r, arena_printf(a,
					     "this node's membership is not "
					     "valid (%.100s): ask for an "
					     "invite",
					     buf_str(&why)));
		buf_release(&why);
	}
}

/* --- counters --- */

struct counting {
	struct arena *a;
	struct counter *items;
	size_t n;
};

static void count(struct counting *c, const char *group, const char *name,
		  uint64_t value)
{
	if (c->n < COUNTERS_MAX)
		c->items[c->n++] = (struct counter){
		    arena_printf(c->a, "%s.%s", group, name), value};
}

static void count_all(const struct mesh *m, struct arena *a, struct list *out)
{
	struct counting c = {
	    a, arena_alloc(a, COUNTERS_MAX * sizeof(struct counter)), 0};
	const struct hub_counters *h = hub_counters(rpc_hub(m->rpc));
	const struct rpc_counters *r = rpc_counters(m->rpc);

#define X(name) count(&c, "session", #name, h->name);
	HUB_COUNTERS(X)
#undef X
	count(&c, "rpc", "calls_out", r->calls_out);
	count(&c, "rpc", "calls_in", r->calls_in);
	count(&c, "rpc", "errors_in", r->errors_in);
	count(&c, "rpc", "denied", r->denied);
	count(&c, "rpc", "busy", r->busy);
	count(&c, "rpc", "bad_frames", r->bad_frames);
	count(&c, "rpc", "unknown_method", r->unknown_method);
	count(&c, "rpc", "deadline", r->deadline);
	const struct ledger_counters *l = ledger_counters(m->ledger);
	const struct replay_counters *y = replay_counters(m->replay);

#define X(name) count(&c, "credit", #name, l->name);
	LEDGER_COUNTERS(X)
#undef X
	count(&c, "replay", "window_ms", y->window_ms);
	count(&c, "replay", "cache", y->cache);
	count(&c, "replay", "held", y->held);
	count(&c, "replay", "refused", y->refused);
	count(&c, "replay", "early", y->early);
	if (m->discovery) {
		const struct discovery_counters *d =
		    discovery_counters(m->discovery);
#define X(name) count(&c, "discovery", #name, d->name);
		DISCOVERY_COUNTERS(X)
#undef X
	}
	*out = (struct list){c.items, c.n};
}

/* --- the whole --- */

static uint64_t rss_kib(void)
{
	unsigned long pages = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (!f)
		return 0;
	if (fscanf(f, "%lu %lu", &pages, &resident) != 2)
		resident = 0;
	fclose(f);
	return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
}

static void devices_of(const struct mesh *m, struct arena *a, struct list *out)
{
	struct asic_device_info dev[DEVICES_SHOWN];
	size_t n = asic_devices(m->asic, dev, DEVICES_SHOWN);
	struct device_info *rows = arena_alloc(a, (n + 1) * sizeof(*rows));

	for (size_t i = 0; i < n; i++)
		rows[i] = (struct device_info){.id = text(a, dev[i].id),
					       .model = text(a, dev[i].model),
					       .kernel = text(a, dev[i].kernel),
					       .hardware = dev[i].hardware,
					       .threads = dev[i].threads,
					       .rate = dev[i].rate,
					       .hashes = dev[i].hashes,
					       .shares = dev[i].shares,
					       .hw_errors = dev[i].hw_errors,
					       .running = dev[i].running,
					       .queued = dev[i].queued};
	*out = (struct list){rows, n};
}

struct open_jobs {
	const struct mesh *m;
	struct arena *a;
	uint64_t n;
};

static void on_job(const char *id, void *arg)
{
	struct open_jobs *o = arg;
	struct job_info info;

	if (jobs_info(o->m->jobs, id, JOB_BRIEF, loop_ms(o->m->loop), o->a,
		      &info))
		return;
	o->n += !strcmp(info.state, job_state_str(JOB_QUEUED)) ||
		!strcmp(info.state, job_state_str(JOB_RUNNING));
}

static struct strs texts_of(const char *const *list, size_t n, size_t max,
			    struct arena *a)
{
	struct strs s = {arena_alloc(a, (n + 1) * sizeof(char *)), 0};

	for (size_t i = 0; i < n && i < max; i++)
		s.items[s.n++] = text(a, list[i]);
	return s;
}

static const char *dht_word(const struct mesh *m)
{
	if (!m->discovery)
		return "off";
	switch (discovery_state(m->discovery)) {
	case DISCOVERY_OFF:
		return "off";
	case DISCOVERY_ALONE:
		return "alone";
	case DISCOVERY_CONNECTED:
		return "connected";
	}
	return "off";
}

void status_fill(struct mesh *m, struct arena *a, struct node_status *out)
{
	struct open_jobs open = {m, a, 0};
	char name[NODE_NAME_SIZE];

	node_name(identity_id(m->me), name);
	*out = (struct node_status){
	    .name = text(a, name),
	    .software = text(a, m->o.software),
	    .mesh = text(a, m->membership->name),
	    .role = text(a, m->o.role),
	    .data_dir = text(a, m->o.data_dir),
	    .pid = (uint64_t)getpid(),
	    .uptime_ms = loop_ms(m->loop) - m->started_ms,
	    .port = m->port,
	    .sessions = peers_sessions(m->peers),
	    .peers_known = peers_count(m->peers),
	    .dht = text(a, dht_word(m)),
	    .address = texts_of((const char *const *)m->address.items,
				m->address.n, 64, a),
	    .bootstraps = texts_of(m->o.bootstrap, m->o.nbootstrap, 64, a),
	    .clock_ms = m->clock_ms,
	    .rss_kib = rss_kib(),
	};
	memcpy(out->id, identity_id(m->me)->b, 32);
	memcpy(out->mesh_id, m->membership->mesh_id, 32);
	if (m->jobs)
		jobs_each(m->jobs, on_job, &open);
	out->jobs_open = open.n;
	if (m->jobs)
		jobs_shut_out(m->jobs, &out->quarantined, &out->barred);
	status_reasons(m, a, &out->reasons);
	out->word = text(a, out->reasons.n ? "degraded" : "healthy");
	mesh_offers(m, a, &out->offers);
	lending_fill(m->lending, a, &out->lending);
	service_site_fill(m, a, &out->site);
	topics_list(m->topics, a, &out->topics);
	devices_of(m, a, &out->devices);
	count_all(m, a, &out->counters);
}
