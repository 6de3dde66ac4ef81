/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/service_site.h"
#include "node/mesh/mesh_impl.h"

#include "asic/sha256d.h"
#include "node/base/log.h"
#include "node/mesh/address.h"
#include "node/mesh/job.h"
#include "node/mesh/membership.h"
#include "node/mesh/offers.h"
#include "node/mesh/peers.h"
#include "node/mesh/site.h"

#include <sodium.h>
#include <uthash.h>
#include <utlist.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SITE_CAP "hash/sha256d"
#define SITE_JOB "site-" /* what parts are called, with our boot id */
#define INSIDERS_MAX 1024
#define RATE_MAX UINT64_C(1000000000000000) /* 1 PH/s: their sum fits */
#define DIAL_MS 10000
#define AGAIN_MS 1000 /* until the head is dialled again */
#define TELL_MS 1000  /* what we offer is looked at so often */

/* A node behind us. */
struct insider {
	struct node_id id;
	struct service_site *s;
	struct rpc_stream *st; /* its site.join */
	struct cap_info cap;   /* its offer; name and texts are not kept */
	bool here;	       /* offers and is not paused */
	UT_hash_handle hh;
};

/* A part in a member's hands, or a piece that we look at again. */
struct piece {
	struct piece *prev, *next;
	struct service_site *s;
	uint64_t part;
	bool check;
	bool closed; /* revoked: what still comes is not told */
	struct scan_work work;
	struct asic_scan *scan; /* ours */
	struct rpc_stream *st;	/* an insider's */
	struct buf shares;	/* of a check */
};

struct site_scan {
	struct service_site *s;
	struct asic_scan *scan;	  /* by our device alone; or */
	struct site_lease *lease; /* by all */
	struct scan_work work;
	uint64_t client;
	struct asic_scan_ops ops;
	void *arg;
};

struct service_site {
	struct mesh *m;
	bool stopping;
	char job[JOB_ID_SIZE];

	/* as the head */
	struct site *site;
	struct insider *insiders;
	struct piece *pieces;
	struct loop_timer *tick;

	/* behind one */
	bool behind;
	char *trouble; /* why we are not in our site; NULL: we are */
	struct node_id head;
	char *address;
	struct loop_timer *again, *tell;
	struct rpc_stream *st; /* to the head */
	bool joined;
	char *name;	 /* of its site */
	struct buf told; /* the last offer that it was told, packed */
};

static uint64_t now_of(const struct service_site *s)
{
	return loop_ms(s->m->loop);
}

/* --- parts, as the splitter asks for them --- */

static void kick(struct service_site *s)
{
	if (!s->stopping)
		loop_timer_set(s->tick, 0);
}

static void piece_free(struct piece *p)
{
	DL_DELETE(p->s->pieces, p);
	buf_release(&p->shares);
	free(p);
}

static struct piece *piece_new(struct service_site *s, uint64_t part,
			       const struct site_scan *x, uint64_t start,
			       uint64_t end, bool check)
{
	struct piece *p = HN_NEW(struct piece);

	p->s = s;
	p->part = part;
	p->check = check;
	p->work = x->work;
	p->work.start = start;
	p->work.end = end;
	DL_APPEND(s->pieces, p);
	return p;
}

static struct piece *piece_find(struct service_site *s, uint64_t part,
				bool check)
{
	struct piece *p;

	DL_FOREACH (s->pieces, p) {
		if (p->part == part && p->check == check && !p->closed)
			return p;
	}
	return NULL;
}

/* A scan of ours ends by itself a little later. */
static void piece_close(struct piece *p)
{
	p->closed = true;
	if (p->scan) {
		asic_scan_cancel(p->scan);
		return;
	}
	if (p->st)
		rpc_cancel(p->st);
	piece_free(p);
}

static void piece_end(struct piece *p, enum err e)
{
	struct service_site *s = p->s;
	const uint64_t part = p->part;
	const bool tell = !p->closed;

	piece_free(p);
	if (tell)
		site_end(s->site, part, e, now_of(s));
	kick(s);
}

static void on_own_progress(void *arg, uint64_t below, const uint32_t *shares,
			    size_t n)
{
	struct piece *p = arg;

	if (!p->closed)
		site_progress(p->s->site, p->part, below, shares, n,
			      now_of(p->s));
}

static void on_own_done(void *arg, enum err e, uint64_t hashes)
{
	struct piece *p = arg;

	(void)hashes;
	p->scan = NULL;
	piece_end(p, e);
}

static const struct asic_scan_ops own_ops = {on_own_progress, on_own_done};

/* Each share is hashed again, as D15 (a) has it: we sign for it. */
static bool shares_true(const struct piece *p, const struct u32s *shares)
{
	for (size_t i = 0; i < shares->n; i++) {
		uint8_t digest[SHA256_BYTES];
		sha256d_header(p->work.header, shares->items[i], digest);
		if (sha256d_zero_bits(digest) < p->work.share_bits)
			return false;
	}
	return true;
}

static void on_part_chunk(void *arg, struct rpc_stream *st, const void *msg)
{
	struct piece *p = arg;
	const struct search_progress *q = msg;
	struct service_site *s = p->s;

	(void)st;
	if (!q || p->closed)
		return;
	/* The splitter may revoke this very part. */
	if (shares_true(p, &q->shares))
		site_progress(s->site, p->part, q->below, q->shares.items,
			      q->shares.n, now_of(s));
	else
		site_lied(s->site, p->part, "a share that is none", now_of(s));
	kick(s);
}

/* Its signature is not looked at: nobody but us ever sees its answer, and the
 * session says whose it is. */
static void on_part_end(void *arg, struct rpc_stream *st, enum err e,
			const void *reply, const char *text)
{
	struct piece *p = arg;

	(void)st, (void)reply;
	p->st = NULL;
	if (e)
		log_debug("site", "part ended: %s (%s)", err_name(e),
			  log_quote(text ? text : ""));
	piece_end(p, e);
}

static enum err call_insider(struct piece *p, const struct site_part *part)
{
	static const struct rpc_ops ops = {.chunk = on_part_chunk,
					   .end = on_part_end};
	struct service_site *s = p->s;
	struct hash_search req = {.job = s->job,
				  .lease = part->id,
				  .start = part->start,
				  .end = part->end,
				  .share_bits = p->work.share_bits,
				  .expected_ms = part->expected_ms};
	struct session *to = hub_find(rpc_hub(s->m->rpc), &part->member);

	if (!to)
		return ERR_GONE;
	memcpy(req.header, p->work.header, HEADER_SIZE);
	return rpc_call(s->m->rpc, to, "hash.search", &req, 0, &ops, p, &p->st);
}

static bool op_assign(void *arg, const struct site_part *part)
{
	struct service_site *s = arg;
	struct site_scan *x = part->lease_arg;
	struct piece *p =
	    piece_new(s, part->id, x, part->start, part->end, false);

	enum err e = part->own
			 ? asic_scan_start(s->m->asic, &p->work, x->client,
					   &own_ops, p, &p->scan)
			 : call_insider(p, part);
	if (e)
		piece_free(p);
	return !e;
}

static void op_revoke(void *arg, uint64_t part)
{
	struct piece *p = piece_find(arg, part, false);

	if (p)
		piece_close(p);
}

static void on_check_progress(void *arg, uint64_t below, const uint32_t *shares,
			      size_t n)
{
	struct piece *p = arg;

	(void)below;
	buf_add(&p->shares, shares, n * sizeof(*shares));
}

static void on_check_done(void *arg, enum err e, uint64_t hashes)
{
	struct piece *p = arg;
	struct service_site *s = p->s;
	struct buf shares = p->shares;
	const uint64_t part = p->part;
	const bool tell = !p->closed;

	(void)hashes;
	memset(&p->shares, 0, sizeof(p->shares));
	piece_free(p);
	if (tell)
		site_checked(s->site, part, e,
			     (const uint32_t *)(const void *)shares.p,
			     shares.n / sizeof(uint32_t), now_of(s));
	buf_release(&shares);
	kick(s);
}

static bool op_check(void *arg, uint64_t part, void *lease_arg, uint64_t start,
		     uint64_t end)
{
	static const struct asic_scan_ops ops = {on_check_progress,
						 on_check_done};
	struct service_site *s = arg;
	struct piece *p = piece_new(s, part, lease_arg, start, end, true);

	if (!asic_scan_start(s->m->asic, &p->work, ASIC_URGENT, &ops, p,
			     &p->scan))
		return true;
	piece_free(p);
	return false;
}

static void op_check_cancel(void *arg, uint64_t part)
{
	struct piece *p = piece_find(arg, part, true);

	if (p)
		piece_close(p);
}

static uint64_t op_random(void *arg)
{
	uint64_t v;

	(void)arg;
	randombytes_buf(&v, sizeof(v));
	return v;
}

/* The splitter is busy now: it is dropped at the end of this round. */
struct liar {
	struct mesh *m;
	struct node_id id;
	char why[96];
};

static void on_liar(void *arg)
{
	struct liar *x = arg;

	if (x->m->peers && !x->m->stopping)
		peers_drop(x->m->peers, &x->id, true, x->why);
	free(x);
}

static void op_lied(void *arg, const struct node_id *member, const char *why)
{
	struct service_site *s = arg;
	struct liar *x = HN_NEW(struct liar);

	log_warn("site", "%s behind us dropped: %s; its parts are done again",
		 node_str(member), why);
	x->m = s->m;
	x->id = *member;
	snprintf(x->why, sizeof(x->why), "behind us, and told %s", why);
	loop_post(s->m->loop, on_liar, x);
}

static void op_progress(void *lease_arg, uint64_t below, const uint32_t *shares,
			size_t n)
{
	struct site_scan *x = lease_arg;

	x->ops.progress(x->arg, below, shares, n);
}

static void op_done(void *lease_arg, uint64_t hashes)
{
	struct site_scan *x = lease_arg;

	x->ops.done(x->arg, OK, hashes);
	free(x);
}

static const struct site_ops site_ops = {.random = op_random,
					 .assign = op_assign,
					 .revoke = op_revoke,
					 .check = op_check,
					 .check_cancel = op_check_cancel,
					 .lied = op_lied,
					 .progress = op_progress,
					 .done = op_done};

static void on_tick(void *arg)
{
	struct service_site *s = arg;
	const uint64_t now = now_of(s);

	if (s->stopping)
		return;
	uint64_t next = site_tick(s->site, now);
	if (s->pieces)
		loop_timer_set(s->tick, next > now ? next - now : 1);
}

/* --- scans for those outside --- */

static void on_plain_progress(void *arg, uint64_t below, const uint32_t *shares,
			      size_t n)
{
	op_progress(arg, below, shares, n);
}

static void on_plain_done(void *arg, enum err e, uint64_t hashes)
{
	struct site_scan *x = arg;

	x->ops.done(x->arg, e, hashes);
	free(x);
}

static bool anybody(const struct service_site *s)
{
	const struct insider *i;

	for (i = s->insiders; i; i = i->hh.next)
		if (i->here)
			return true;
	return false;
}

enum err site_scan_start(struct mesh *m, const struct scan_work *w,
			 uint64_t client, const struct asic_scan_ops *ops,
			 void *arg, struct site_scan **out)
{
	static const struct asic_scan_ops plain = {on_plain_progress,
						   on_plain_done};
	struct service_site *s = m->service_site;
	struct site_scan *x = HN_NEW(struct site_scan);
	enum err e = scan_work_check(w);

	*x = (struct site_scan){
	    .s = s, .work = *w, .client = client, .ops = *ops, .arg = arg};
	if (!e && (s->stopping || !anybody(s) || w->start == w->end))
		e = asic_scan_start(m->asic, w, client, &plain, x, &x->scan);
	else if (!e)
		x->lease = site_lease_new(s->site, w->start, w->end,
					  (unsigned)w->share_bits, client, x,
					  now_of(s));
	if (e) {
		free(x);
		return e;
	}
	kick(s);
	*out = x;
	return OK;
}

static void on_canceled(void *arg)
{
	on_plain_done(arg, ERR_CANCELED, 0);
}

void site_scan_cancel(struct site_scan *x)
{
	if (x->scan) {
		asic_scan_cancel(x->scan);
		return;
	}
	if (!x->lease)
		return; /* its end is on its way */
	site_lease_cancel(x->s->site, x->lease, now_of(x->s));
	x->lease = NULL;
	loop_post(x->s->m->loop, on_canceled, x);
}

/* --- who is behind us --- */

static struct insider *insider_find(const struct service_site *s,
				    const struct node_id *id)
{
	struct insider *i;

	HASH_FIND(hh, s->insiders, id, sizeof(*id), i);
	return i;
}

bool service_site_behind_us(const struct mesh *m, const struct node_id *id)
{
	return m->service_site && insider_find(m->service_site, id);
}

void service_site_sum(const struct mesh *m, struct site_sum *out)
{
	const struct insider *i;

	*out = (struct site_sum){0};
	if (!m->service_site)
		return;
	for (i = m->service_site->insiders; i; i = i->hh.next)
		if (i->here) {
			out->rate += i->cap.rate;
			out->slots += i->cap.slots;
			out->devices += i->cap.devices;
		}
}

void service_site_own(struct mesh *m, uint64_t rate)
{
	struct service_site *s = m->service_site;

	if (s && s->site && !s->stopping)
		site_member(s->site, identity_id(m->me), true, rate,
			    OFFER_SLOTS, now_of(s));
}

static void insider_gone(struct insider *i, const char *why)
{
	struct service_site *s = i->s;

	log_info("site", "%s is not behind us any more (%s)", node_str(&i->id),
		 why);
	HASH_DEL(s->insiders, i);
	site_member_gone(s->site, &i->id, now_of(s));
	free(i);
	offers_changed(s->m->offers);
	kick(s);
}

static void on_insider_end(void *arg, struct rpc_stream *st, enum err e,
			   const void *reply, const char *text)
{
	struct insider *i = arg;

	(void)st, (void)reply;
	if (i->s->stopping) {
		HASH_DEL(i->s->insiders, i);
		free(i);
		return;
	}
	insider_gone(i, text && *text ? text : err_str(e));
}

/* Everything it offers, as it is now. */
static void on_insider_offer(void *arg, struct rpc_stream *st, const void *msg)
{
	struct insider *i = arg;
	const struct site_offer *q = msg;
	const struct cap_info *c = NULL, *caps = q ? q->offers.items : NULL;
	struct service_site *s = i->s;

	(void)st;
	for (size_t k = 0; q && k < q->offers.n; k++)
		if (caps[k].name && !strcmp(caps[k].name, SITE_CAP))
			c = &caps[k];
	const bool here = c && !c->paused;
	if (here != i->here)
		log_info("site", "%s behind us %s%s", node_str(&i->id),
			 here ? "takes work" : "pauses: ",
			 here		  ? ""
			 : c && c->paused ? log_quote(c->paused)
					  : "offers nothing");
	i->here = here;
	i->cap = (struct cap_info){0};
	if (here) {
		i->cap.rate = c->rate < RATE_MAX ? c->rate : RATE_MAX;
		i->cap.slots =
		    c->slots > SITE_SLOTS_MAX ? SITE_SLOTS_MAX : c->slots;
		i->cap.devices = c->devices > 1024 ? 1024 : c->devices;
		site_member(s->site, &i->id, false, i->cap.rate,
			    (unsigned)i->cap.slots, now_of(s));
	} else {
		site_member_gone(s->site, &i->id, now_of(s));
	}
	offers_changed(s->m->offers);
	kick(s);
}

/* In the mesh that anybody is in, its owner names who may be behind us. */
static bool may_join(const struct mesh *m, const struct node_id *id,
		     struct buf *why)
{
	for (size_t i = 0; i < m->o.nsite_nodes; i++)
		if (!strcmp(m->o.site_nodes[i], node_hex(id)))
			return true;
	if (!m->o.site)
		buf_add_str(why, "this node heads no site: start it with "
				 "--site NAME");
	else if (m->o.nsite_nodes || m->membership->is_public)
		buf_printf(why,
			   "this site's owner did not name %s: start its head "
			   "with --site-node %s, or have both in a private "
			   "mesh",
			   node_str(id), node_hex(id));
	return !why->n;
}

static void serve_join(struct rpc_stream *st, const void *request, void *arg)
{
	static const struct rpc_ops ops = {.chunk = on_insider_offer,
					   .end = on_insider_end};
	struct mesh *m = arg;
	struct service_site *s = m->service_site;
	const struct session *from = rpc_stream_session(st);
	struct buf why = {0};

	(void)request;
	if (session_kind(from) == SESSION_CONTROL)
		buf_add_str(&why, "for nodes behind this one only");
	else if (HASH_COUNT(s->insiders) >= INSIDERS_MAX)
		buf_printf(&why, "%d nodes are behind this one, no more",
			   INSIDERS_MAX);
	else if (!s->site || s->stopping ||
		 !may_join(m, session_peer(from), &why))
		buf_printf(&why, "%s", why.n ? "" : "this node heads no site");
	else if (insider_find(s, session_peer(from)))
		buf_add_str(&why, "it is behind this node already");
	if (why.n) {
		static struct log_gate gate;

		if (session_kind(from) != SESSION_CONTROL)
			log_every(&gate, 10000, LOG_WARN, "site",
				  "%s may not be behind this node: %s",
				  node_str(session_peer(from)), buf_str(&why));
		rpc_fail(st, ERR_DENIED, "%s", buf_str(&why));
		buf_release(&why);
		return;
	}
	struct insider *i = HN_NEW(struct insider);
	i->id = *session_peer(from);
	i->s = s;
	i->st = st;
	HASH_ADD(hh, s->insiders, id, sizeof(i->id), i);
	log_info("site", "%s is behind us now", node_str(&i->id));
	rpc_serve(st, &ops, i);
	struct site_name name = {.name = (char *)(uintptr_t)m->o.site};
	enum err e = rpc_send(st, &name);
	if (e)
		log_debug("site", "the site's name is not told: %s",
			  err_name(e));
}

/* --- behind a head --- */

bool service_site_serves(const struct mesh *m, const struct node_id *id)
{
	const struct service_site *s = m->service_site;

	return !s || !s->behind || node_id_eq(&s->head, id);
}

bool service_site_part(const struct mesh *m, struct rpc_stream *st,
		       const char *job)
{
	const struct service_site *s = m->service_site;
	const struct session *from = rpc_stream_session(st);

	return s && s->behind && from &&
	       session_kind(from) != SESSION_CONTROL &&
	       node_id_eq(&s->head, session_peer(from)) &&
	       !strncmp(job, SITE_JOB, strlen(SITE_JOB));
}

static void dial_later(struct service_site *s)
{
	if (!s->stopping)
		loop_timer_set(s->again, AGAIN_MS);
}

static void set_trouble(struct service_site *s, const char *why)
{
	free(s->trouble);
	s->trouble = why ? xasprintf("not in the site of %s, for which alone "
				     "this node works: %.160s",
				     node_str(&s->head), why)
			 : NULL;
}

const char *service_site_trouble(const struct mesh *m)
{
	return m->service_site ? m->service_site->trouble : NULL;
}

static void on_head_name(void *arg, struct rpc_stream *st, const void *msg)
{
	struct service_site *s = arg;
	const struct site_name *q = msg;

	(void)st;
	if (!q)
		return;
	free(s->name);
	s->name = xstrdup(q->name ? q->name : "");
	s->joined = true;
	set_trouble(s, NULL);
	log_info("site", "behind %s, site %s", node_str(&s->head),
		 log_quote(s->name));
}

static void on_head_end(void *arg, struct rpc_stream *st, enum err e,
			const void *reply, const char *text)
{
	struct service_site *s = arg;
	static struct log_gate gate;

	(void)st, (void)reply;
	s->st = NULL;
	s->joined = false;
	if (s->stopping)
		return;
	loop_timer_cancel(s->tell);
	set_trouble(s, text && *text ? text : err_str(e));
	log_every(&gate, 10000, LOG_WARN, "site",
		  "%s is not our head now: %s; asking it again",
		  node_str(&s->head), text && *text ? text : err_str(e));
	dial_later(s);
}

/* What we offer, when it is another than before. */
static void tell_head(struct service_site *s)
{
	struct arena a = {0};
	struct site_offer say;
	struct buf packed = {0};

	mesh_offers(s->m, &a, &say.offers);
	fields_pack(&site_offer_message, &say, &packed);
	const bool news =
	    packed.n != s->told.n || memcmp(packed.p, s->told.p, packed.n) != 0;
	if (s->st && news && rpc_send(s->st, &say) == OK) {
		buf_release(&s->told);
		s->told = packed;
		packed = (struct buf){0};
	}
	buf_release(&packed);
	arena_release(&a);
}

static void on_tell(void *arg)
{
	tell_head(arg);
}

static void on_head(void *arg, enum err e, struct session *to, const char *text)
{
	static const struct rpc_ops ops = {.chunk = on_head_name,
					   .end = on_head_end};
	struct mesh *m = arg;
	struct service_site *s = m->service_site;
	static struct log_gate gate;

	if (!s || s->stopping)
		return;
	if (!e)
		e = rpc_call(m->rpc, to, "site.join", NULL, 0, &ops, s, &s->st);
	if (e) {
		set_trouble(s, text && *text ? text : err_str(e));
		log_every(&gate, 10000, LOG_WARN, "site",
			  "no session with our head %s at %s: %s; trying on",
			  node_str(&s->head), s->address,
			  text ? text : err_str(e));
		dial_later(s);
		return;
	}
	buf_clear(&s->told);
	tell_head(s);
	loop_timer_every(s->tell, TELL_MS);
}

static void on_again(void *arg)
{
	struct service_site *s = arg;

	peers_dial(s->m->peers, &s->head, s->address, DIAL_MS, on_head, s->m);
}

/* --- the whole --- */

struct service_site *service_site_new(struct mesh *m)
{
	struct service_site *s = HN_NEW(struct service_site);
	struct buf why = {0}, at = {0};
	struct address a;

	s->m = m;
	snprintf(s->job, sizeof(s->job), SITE_JOB "%08x", get_be32(m->boot_id));
	s->site = site_new(&site_ops, s);
	s->tick = loop_timer_new(m->loop, on_tick, s);
	s->again = loop_timer_new(m->loop, on_again, s);
	s->tell = loop_timer_new(m->loop, on_tell, s);
	/* start.c has checked it. */
	if (m->o.behind &&
	    !address_parse_node(m->o.behind, &s->head, &a, &why)) {
		s->behind = true;
		address_str(a.host, a.port, &at);
		s->address = xstrdup(buf_str(&at));
	}
	buf_release(&why);
	buf_release(&at);
	return s;
}

void service_site_run(struct service_site *s)
{
	if (s->behind)
		on_again(s);
}

void service_site_stop(struct service_site *s)
{
	struct piece *p, *tmp;

	s->stopping = true;
	loop_timer_free(s->tick);
	loop_timer_free(s->again);
	loop_timer_free(s->tell);
	s->tick = s->again = s->tell = NULL;
	DL_FOREACH_SAFE (s->pieces, p, tmp) {
		if (!p->closed)
			piece_close(p);
	}
}

void service_site_free(struct service_site *s)
{
	if (!s)
		return;
	site_free(s->site);
	buf_release(&s->told);
	free(s->address);
	free(s->name);
	free(s->trouble);
	free(s);
}

static char *text_of(struct arena *a, const char *s)
{
	return s && *s ? arena_strndup(a, s, strlen(s)) : NULL;
}

static void fill_members(const struct service_site *s, struct arena *a,
			 struct list *out)
{
	const size_t max = HASH_COUNT(s->insiders) + 1;
	struct site_view *v = arena_alloc(a, max * sizeof(*v));
	struct site_node *rows = arena_alloc(a, max * sizeof(struct site_node));
	size_t n = 0, nviews = site_views(s->site, v, max);
	const struct insider *i;

	for (i = s->insiders; i; i = i->hh.next) {
		char name[NODE_NAME_SIZE];
		node_name(&i->id, name);
		struct site_node *r = &rows[n++];
		*r = (struct site_node){.name = text_of(a, name),
					.here = i->here,
					.rate = i->cap.rate,
					.devices = i->cap.devices};
		memcpy(r->id, i->id.b, sizeof(r->id));
		for (size_t k = 0; k < nviews; k++)
			if (node_id_eq(&v[k].id, &i->id)) {
				r->parts = v[k].parts;
				r->nonces = v[k].nonces;
				r->held = v[k].held;
				r->rate = v[k].rate;
			}
	}
	*out = (struct list){rows, n};
}

void service_site_fill(const struct mesh *m, struct arena *a,
		       struct site_info *out)
{
	const struct service_site *s = m->service_site;

	*out = (struct site_info){0};
	if (!s)
		return;
	out->name = text_of(a, m->o.site ? m->o.site : s->name);
	if (s->behind) {
		char name[NODE_NAME_SIZE];
		node_name(&s->head, name);
		out->head = text_of(a, name);
		out->joined = s->joined;
	}
	fill_members(s, a, &out->behind);
}

const struct rpc_method service_site_methods[] = {
    {.name = "site.join",
     .version = 1,
     .right = RIGHT_MEMBER,
     .request = &message_empty,
     .reply = &message_empty,
     .up = &site_offer_message,
     .down = &site_name_message,
     .max_chunk = 32u << 10,
     .max_streams = 1,
     .serve = serve_join,
     .doc = "puts the caller behind this node while the stream is open"},
    {0},
};
