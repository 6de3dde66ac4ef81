/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/peers_impl.h"

#include "node/base/log.h"
#include "node/mesh/address.h"
#include "node/mesh/explain.h"
#include "node/mesh/job.h"
#include "node/mesh/membership.h"
#include "node/mesh/service_site.h"
#include "node/mesh/skew.h"
#include "node/mesh/topics.h"
#include "rpc/link.h"

#include <stdlib.h>
#include <string.h>

static const char *source_str(enum peer_source s)
{
	switch (s) {
	case PEER_FROM_DHT:
		return "dht";
	case PEER_FROM_LAN:
		return "lan";
	case PEER_FROM_DIAL:
		return "dial";
	case PEER_FROM_INVITE:
		return "invite";
	case PEER_FROM_STORE:
		return "stored";
	case PEER_FROM_INBOUND:
		return "inbound";
	}
	return "?";
}

/* --- by name --- */

static bool hex_prefix(const char *text, size_t n, const struct node_id *id)
{
	char hex[2 * NODE_ID_SIZE + 1];

	hex_encode(id->b, NODE_ID_SIZE, hex);
	return n <= 2 * NODE_ID_SIZE && !strncasecmp(text, hex, n);
}

static bool fits(const char *text, size_t n, bool digits,
		 const struct node_id *id, const char *name)
{
	return (n >= 3 && !strncasecmp(text, name, n)) ||
	       (digits && hex_prefix(text, n, id));
}

enum err peers_find(const struct peers *p, const char *text,
		    struct node_id *out, struct buf *why)
{
	const struct node_id *self = identity_id(p->m->me), *found = NULL;
	char name[NODE_NAME_SIZE];
	size_t count = 0;

	size_t n = text ? strlen(text) : 0;
	bool digits =
	    n >= 4 && strspn(text, "0123456789abcdefABCDEF") == n && n <= 64;
	if (!n) {
		buf_add_str(why, "name a peer: its name or id, or how one of "
				 "them begins");
		return ERR_INPUT;
	}
	node_name(self, name);
	if (fits(text, n, digits, self, name)) {
		found = self;
		count = 1;
	}
	for (size_t i = 0; i < p->n; i++)
		if (fits(text, n, digits, &p->items[i]->id,
			 p->items[i]->name)) {
			found = &p->items[i]->id;
			count++;
		}
	if (count > 1) {
		buf_printf(why,
			   "%zu peers fit %s; give more digits of the id, or "
			   "more of the name",
			   count, log_quote(text));
		return ERR_INPUT;
	}
	/* A whole id needs no introduction. */
	if (!found && digits && n == 64 && hex_decode(text, out->b, 32))
		return OK;
	if (!found) {
		buf_printf(why,
			   "no peer %s is known here; `hnode peers` lists "
			   "them; one that offers nothing must be dialled "
			   "first: `hnode dial ID@HOST:PORT`",
			   log_quote(text));
		return ERR_NOTFOUND;
	}
	*out = *found;
	return OK;
}

/* --- rows --- */

static char *arena_text(struct arena *a, const char *s)
{
	return s ? arena_strndup(a, s, strlen(s)) : NULL;
}

static void row_of(const struct peer *q, uint64_t now, struct arena *a,
		   struct peer_info *r)
{
	*r = (struct peer_info){
	    .name = arena_text(a, q->name),
	    .state = arena_text(a, peer_state_str(q->state)),
	    .path = arena_text(a, "-"),
	    .role = arena_text(a, q->role),
	    .software = arena_text(a, q->software),
	    .cpu = arena_text(a, q->cpu),
	    .cores = q->cores,
	    .ram_mib = q->ram_mib,
	    .record_seq = q->record_seq,
	    .why = arena_text(a, q->why ? q->why : q->refused),
	    .source = arena_text(a, source_str(q->source)),
	    .topics = texts_copy(&q->topics, a),
	};
	memcpy(r->id, q->id.b, 32);
	r->offers.items =
	    arena_alloc(a, (q->ncaps + 1) * sizeof(struct cap_info));
	r->offers.n = q->ncaps;
	for (size_t i = 0; i < q->ncaps; i++)
		fields_copy(&cap_info_message, &q->caps[i], a,
			    (struct cap_info *)r->offers.items + i);
	uint64_t last = q->heard_ms ? q->heard_ms : q->made_ms;
	if (q->session) {
		struct peer_session s;
		peer_session_of(q->session, a, &s);
		r->address = s.address;
		r->path = service_site_behind_us(q->all->m, &q->id)
			      ? arena_text(a, "behind")
			      : s.path;
		r->rtt_us = s.rtt_us;
		r->session_ms = now - session_since_ms(q->session);
		session_bytes(q->session, &r->bytes_in, &r->bytes_out);
		r->clock_ms = q->clock_ms;
		struct link_tcp tcp;
		if (session_tcp(q->session, &tcp)) {
			r->sent = tcp.sent;
			r->resent = tcp.resent;
		}
		if (session_heard_ms(q->session) > last)
			last = session_heard_ms(q->session);
	} else if (q->address.n)
		r->address = arena_text(a, q->address.items[0]);
	r->age_ms = now > last ? now - last : 0;
	if (q->due_ms && !q->session)
		r->retry_ms = q->due_ms > now ? q->due_ms - now : 0;
}

/* 0.5 of something that fades is nothing. */
static uint64_t rounded(double count)
{
	return (uint64_t)(count + 0.5);
}

static char *arena_buf(struct arena *a, struct buf *take)
{
	char *s = take->n ? arena_text(a, buf_str(take)) : NULL;

	buf_release(take);
	return s;
}

static void put_score(const struct peers *p, const struct node_id *id,
		      struct arena *a, struct peer_info *r)
{
	struct mesh *m = p->m;
	struct buf reasons = {0}, why = {0};
	struct peer_score s;

	if (!m->jobs)
		return;
	jobs_score(m->jobs, id, loop_ms(m->loop), &s);
	const double *n = s.score.count;
	const uint64_t until = score_until(&s.score, &s.rules, s.wall_ms);

	score_reasons(&s.score, &reasons);
	score_why(&s.score, &s.rules, s.wall_ms, &why);
	r->score = score_permille(&s.score);
	r->trust = arena_text(a, score_state_str(s.score.state));
	r->reasons = arena_buf(a, &reasons);
	r->trust_why = arena_buf(a, &why);
	r->until_ms = until > s.wall_ms ? until - s.wall_ms : 0;
	r->units = rounded(n[SCORE_UNIT]);
	r->fails = rounded(n[SCORE_GONE] + n[SCORE_SILENT] + n[SCORE_FAILED] +
			   n[SCORE_MISSED] + n[SCORE_SUSPECT] + n[SCORE_PROOF]);
	r->measured = s.rate;
}

static void self_row(const struct peers *p, struct arena *a,
		     struct peer_info *r)
{
	struct mesh *m = p->m;
	char name[NODE_NAME_SIZE];

	node_name(identity_id(m->me), name);
	*r = (struct peer_info){
	    .name = arena_text(a, name),
	    .state = arena_text(a, "ok"),
	    .path = arena_text(a, "self"),
	    .role = arena_text(a, m->o.role),
	    .software = arena_text(a, m->o.software),
	    .cpu = arena_text(a, m->cpu),
	    .cores = m->cores,
	    .ram_mib = m->ram_mib,
	    .source = arena_text(a, "self"),
	    .address = m->address.n ? arena_text(a, m->address.items[0]) : NULL,
	};
	memcpy(r->id, identity_id(m->me)->b, 32);
	mesh_offers(m, a, &r->offers);
	topics_own(m->topics, a, &r->topics);
}

static bool shown(const struct peers_query *q, const struct peer_info *r)
{
	if (q->topic && !texts_have(&r->topics, q->topic))
		return false;
	if (q->max_rtt_us && (!r->rtt_us || r->rtt_us > q->max_rtt_us) &&
	    strcmp(r->path, "self") != 0)
		return false;
	if (!q->cap && !q->min_rate)
		return true;
	const struct cap_info *caps = r->offers.items;
	for (size_t i = 0; i < r->offers.n; i++)
		if ((!q->cap || !strcmp(caps[i].name, q->cap)) &&
		    caps[i].rate >= q->min_rate)
			return true;
	return false;
}

static int by_name(const void *a, const void *b)
{
	const struct peer_info *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/* The disk's silent ones are no news to people after a while. */
static bool hidden(const struct peer *q, uint64_t now)
{
	return !q->heard_ms && q->source == PEER_FROM_STORE &&
	       now - q->made_ms > PEERS_GHOST_MS;
}

void peers_list(const struct peers *p, const struct peers_query *q,
		struct arena *a, struct peers_list *out)
{
	uint64_t now = loop_ms(p->m->loop);
	struct peer_info *rows = arena_alloc(a, (p->n + 1) * sizeof(*rows));
	size_t n = 0;

	self_row(p, a, &rows[0]);
	if (shown(q, &rows[0]))
		n = 1;
	size_t first = n;
	for (size_t i = 0; i < p->n; i++) {
		if (hidden(p->items[i], now))
			continue;
		row_of(p->items[i], now, a, &rows[n]);
		put_score(p, &p->items[i]->id, a, &rows[n]);
		if (shown(q, &rows[n]))
			n++;
	}
	qsort(rows + first, n - first, sizeof(*rows), by_name);
	out->peers = (struct list){rows, n};
}

size_t peers_count(const struct peers *p)
{
	uint64_t now = loop_ms(p->m->loop);
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++)
		n += !hidden(p->items[i], now);
	return n;
}

size_t peers_sessions(const struct peers *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++)
		n += p->items[i]->session != NULL;
	return n;
}

void peers_each_session(const struct peers *p,
			void (*fn)(struct session *s, void *arg), void *arg)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->items[i]->session)
			fn(p->items[i]->session, arg);
}

size_t peers_in_topic(const struct peers *p, const char *topic)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++)
		n += texts_have(&p->items[i]->topics, topic);
	return n;
}

bool peers_clock(const struct peers *p, int64_t *median)
{
	int64_t *offsets = xcalloc(p->n + 1, sizeof(*offsets));
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++)
		if (p->items[i]->session)
			offsets[n++] = p->items[i]->clock_ms;
	bool known = skew_median(offsets, n, median);
	free(offsets);
	return known;
}

void peers_introduce(const struct peers *p, struct arena *a, size_t max,
		     struct list *out)
{
	struct known_node *nodes = arena_alloc(a, (max + 1) * sizeof(*nodes));
	struct mesh *m = p->m;
	size_t n = 0;

	memcpy(nodes[n].id, identity_id(m->me)->b, 32);
	nodes[n].address = texts_copy(&m->address, a);
	nodes[n++].dht = texts_copy(&m->dht_address, a);
	for (size_t i = 0; i < p->n && n < max; i++) {
		const struct peer *q = p->items[i];
		if (!q->session || !q->address.n || q->state != PEER_OK)
			continue;
		memcpy(nodes[n].id, q->id.b, 32);
		nodes[n].address = texts_copy(&q->address, a);
		nodes[n++].dht = texts_copy(&q->dht, a);
	}
	*out = (struct list){nodes, n};
}

void peer_session_of(const struct session *s, struct arena *a,
		     struct peer_session *out)
{
	struct buf b = {0};
	struct address at;
	char name[NODE_NAME_SIZE];

	session_address(s, &b);
	node_name(session_peer(s), name);
	char *cut = text_cut(buf_str(&b), 127);
	const char *path =
	    address_parse(cut, &at) ? address_path(at.host) : "direct";
	*out = (struct peer_session){.name = arena_text(a, name),
				     .address = arena_text(a, cut),
				     .path = arena_text(a, path),
				     .rtt_us = session_rtt_us(s)};
	memcpy(out->id, session_peer(s)->b, 32);
	free(cut);
	buf_release(&b);
}

/* --- sessions on demand --- */

/* What cannot be tried is answered from the loop, too. */
struct refusal {
	peers_session_fn fn;
	void *arg;
	enum err e;
	const char *text;
};

static void on_refusal(void *arg)
{
	struct refusal *r = arg;

	r->fn(r->arg, r->e, NULL, r->text);
	free(r);
}

static void refuse(struct peers *p, enum err e, const char *text,
		   peers_session_fn fn, void *arg)
{
	struct refusal *r = HN_NEW(struct refusal);

	*r = (struct refusal){fn, arg, e, text};
	loop_post(p->m->loop, on_refusal, r);
}

void peers_connect(struct peers *p, const struct node_id *id,
		   uint32_t timeout_ms, peers_session_fn fn, void *arg)
{
	struct peer *q = peer_find(p, id);

	if (p->stopping)
		refuse(p, ERR_CANCELED, "this node is stopping", fn, arg);
	else if (node_id_eq(id, identity_id(p->m->me)))
		refuse(p, ERR_INPUT, "that is this node itself", fn, arg);
	else if (!q)
		refuse(p, ERR_NOTFOUND,
		       "this node is not known here; `hnode dial "
		       "ID@HOST:PORT` names its address",
		       fn, arg);
	else
		peer_wait(q, timeout_ms, fn, arg);
}

struct dial_asked {
	struct peers *p;
	struct node_id id;
	peers_session_fn fn;
	void *arg;
};

static void on_dialled(void *arg, enum err e, struct session *s,
		       const char *text)
{
	struct dial_asked *d = arg;
	struct peer *q = d->p->stopping ? NULL : peer_find(d->p, &d->id);

	if (!e && q) {
		q->user = true;
		peer_store(q);
	}
	d->fn(d->arg, e, s, text);
	free(d);
}

void peers_dial(struct peers *p, const struct node_id *id, const char *address,
		uint32_t timeout_ms, peers_session_fn fn, void *arg)
{
	if (p->stopping || node_id_eq(id, identity_id(p->m->me))) {
		peers_connect(p, id, timeout_ms, fn, arg);
		return;
	}
	if (membership_excludes(p->m->membership, id)) {
		refuse(p, ERR_DENIED, "that node was left out of this mesh", fn,
		       arg);
		return;
	}
	struct peer *q = peer_get_or_add(p, id, PEER_FROM_DIAL);
	if (!q) {
		refuse(p, ERR_LIMIT, "too many peers are known", fn, arg);
		return;
	}
	if (q->state == PEER_LEFT)
		peer_set_state(q, PEER_KNOWN, NULL);
	peer_add_address(q, address, true);
	struct dial_asked *d = HN_NEW(struct dial_asked);
	*d = (struct dial_asked){p, *id, fn, arg};
	peer_wait(q, timeout_ms, on_dialled, d);
}

/* --- why, or why not --- */

static enum explain_contact contact_of(const struct peer *q)
{
	if (q->session)
		return EXPLAIN_SESSION;
	switch (q->state) {
	case PEER_DIALLING:
		return EXPLAIN_DIALLING;
	case PEER_RETRY:
		return EXPLAIN_RETRY;
	case PEER_LEFT:
		return EXPLAIN_LEFT;
	case PEER_LOST:
		return EXPLAIN_LOST;
	case PEER_KNOWN:
	case PEER_OK:
	case PEER_DROPPED:
		break;
	}
	return EXPLAIN_KNOWN;
}

static void offer_facts(const struct cap_info *caps, size_t n, const char *cap,
			struct explain_facts *f)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(caps[i].name, cap) != 0) {
			f->instead = caps[i].name;
			continue;
		}
		f->offers = true;
		f->paused = caps[i].paused;
	}
}

static void conduct(const struct peers *p, const struct node_id *id,
		    struct arena *a, struct explain_facts *f)
{
	struct mesh *m = p->m;
	struct buf why = {0};
	struct peer_score s;

	if (!m->jobs || !jobs_score(m->jobs, id, loop_ms(m->loop), &s))
		return;
	score_why(&s.score, &s.rules, s.wall_ms, &why);
	const char *text = arena_buf(a, &why);
	if (s.score.state == SCORE_BARRED)
		f->barred = text ? text : "was proven to cheat";
	else if (!score_may_work(&s.score))
		f->quarantine = text ? text : "quarantined";
}

static void peer_facts(const struct peer *q, const char *cap, struct arena *a,
		       struct explain_facts *f)
{
	const uint64_t now = loop_ms(q->all->m->loop);

	*f = (struct explain_facts){
	    .cap = cap,
	    .excluded = membership_excludes(q->all->m->membership, &q->id),
	    .refused = q->refused,
	    .contact = contact_of(q),
	    .contact_why = q->why,
	    .retry_ms = q->due_ms > now ? q->due_ms - now : 0,
	    .has_address = q->address.n > 0,
	    .use_only = !strcmp(q->role, "use"),
	    .learned = q->learned || q->ncaps || q->record_seq,
	    .clock_ms = q->session ? q->clock_ms : 0,
	};
	offer_facts(q->caps, q->ncaps, cap, f);
	conduct(q->all, &q->id, a, f);
	if (q->proof && !f->barred)
		f->barred = q->why ? q->why : "was proven to cheat";
}

void peers_facts(const struct peers *p, const char *cap, struct arena *a,
		 void (*fn)(void *arg, const struct node_id *id,
			    const char *name, uint64_t rtt_us,
			    const struct explain_facts *f),
		 void *arg)
{
	const struct node_id *self = identity_id(p->m->me);
	char name[NODE_NAME_SIZE];
	struct explain_facts f = {
	    .cap = cap,
	    .self = true,
	    .learned = true,
	    .use_only = !strcmp(p->m->o.role, "use"),
	};
	struct list own;

	mesh_offers(p->m, a, &own);
	offer_facts(own.items, own.n, cap, &f);
	node_name(self, name);
	fn(arg, self, name, 0, &f);
	for (size_t i = 0; i < p->n; i++) {
		const struct peer *q = p->items[i];

		peer_facts(q, cap, a, &f);
		fn(arg, &q->id, q->name,
		   q->session ? session_rtt_us(q->session) : 0, &f);
	}
}
