/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * hash.search: one lease of a range job, both halves (decisions D13, D15).
 *
 * The call half hands a lease to its worker: over a session, or, when the
 * worker is this node, straight to the device pool. Either way the same two
 * words come back to the coordinator, jobs_progress and jobs_lease_end. Both
 * may revoke leases before they return, this one too: nothing of a unit is
 * touched after them.
 *
 * The serve half runs a unit of somebody else's. Its shares are sent with the
 * prefix they belong to; while the caller grants no credit they are kept, at
 * most SHARES_MAX of them, because a unit that may have more is refused. The
 * answer is signed over what was asked and the list of all shares.
 */
#include "node/mesh/service_hash.h"
#include "node/mesh/mesh_impl.h"

#include "asic/asic.h"
#include "node/base/buf.h"
#include "node/base/log.h"
#include "node/mesh/cheat.h"
#include "node/mesh/digest.h"
#include "node/mesh/job.h"
#include "node/mesh/ledger.h"
#include "node/mesh/lender.h"
#include "node/mesh/lending.h"
#include "node/mesh/service_digest.h"
#include "node/mesh/service_site.h"

#include <sodium.h>
#include <utlist.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SHARES_MAX (1u << 16)	 /* of one unit, expected */
#define SHARES_CHUNK 4096u	 /* of one progress message */
#define PROGRESS_MAX (32u << 10) /* packed: up to 5 bytes a share */
#define UNITS_PER_SESSION 8
#define HEAR_MS 5000		/* for the rest of a lie */
#define HEARD_SHARES (1u << 17) /* of one answer, whatever it is */
#define UNITS_PER_PEER 16	/* of all its sessions */
#define UNITS_MAX 512		/* of all peers */
#define AHEAD_S 120u /* how long a peer's units may take us, but for one */

/* --- what a worker signs --- */

struct answer {
	crypto_hash_sha256_state list;
	uint64_t shares;
};

static void answer_init(struct answer *a)
{
	memset(a, 0, sizeof(*a));
	crypto_hash_sha256_init(&a->list);
}

static void answer_add(struct answer *a, const uint32_t *shares, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint8_t be[4];
		put_be32(be, shares[i]);
		crypto_hash_sha256_update(&a->list, be, sizeof(be));
	}
	a->shares += n;
}

/* PROTOCOL 10.1: what is signed, in order. */
struct answer_text {
	uint8_t tail[8 + 8 + 8 + 1];
	uint8_t list[32];
	struct bytes parts[4];
};

static void answer_text(const struct answer *a, const char *job, uint64_t lease,
			const struct scan_work *w, struct answer_text *t)
{
	crypto_hash_sha256_state copy = a->list;

	put_be64(t->tail, lease);
	put_be64(t->tail + 8, w->start);
	put_be64(t->tail + 16, w->end);
	t->tail[24] = (uint8_t)w->share_bits;
	crypto_hash_sha256_final(&copy, t->list);
	t->parts[0] = (struct bytes){(const uint8_t *)job, strlen(job)};
	t->parts[1] = (struct bytes){w->header, HEADER_SIZE};
	t->parts[2] = (struct bytes){t->tail, sizeof(t->tail)};
	t->parts[3] = (struct bytes){t->list, sizeof(t->list)};
}

/* The same in one piece, as receipts carry it. */
static struct bytes text_join(const struct answer_text *t, struct buf *out)
{
	for (size_t i = 0; i < HN_COUNT(t->parts); i++)
		buf_add(out, t->parts[i].p, t->parts[i].n);
	return (struct bytes){out->p, out->n};
}

/* --- the call half --- */

/* A lease in flight, or a piece that we re-scan. */
struct unit {
	struct unit *prev, *next;
	struct mesh *m;
	uint64_t id; /* lease, or check if check is set */
	bool check;
	bool closed; /* revoked: what still comes is not told */
	char job[JOB_ID_SIZE];
	struct node_id worker;
	struct scan_work work;
	uint64_t below;
	struct answer answer;
	struct rpc_stream *st;	     /* remote */
	struct asic_scan *scan;	     /* ours */
	struct buf shares;	     /* of a check, or a peer's lease */
	service_hash_heard_fn heard; /* closed, but its end is waited for */
	void *heard_arg;
	struct loop_timer *late;
};

struct serving;
struct service_hash {
	struct mesh *m;
	struct unit *units;
	struct serving *serving;
	unsigned nserving;
	loop_fn stopped;
	void *stopped_arg;
};

struct service_hash *service_hash_new(struct mesh *m)
{
	struct service_hash *s = HN_NEW(struct service_hash);

	s->m = m;
	return s;
}

static void maybe_stopped(struct service_hash *s)
{
	if (!s->stopped || s->units || s->serving)
		return;
	loop_post(s->m->loop, s->stopped, s->stopped_arg);
	s->m->service_hash = NULL;
	free(s);
}

static struct unit *unit_find(struct service_hash *s, uint64_t id, bool check)
{
	struct unit *u;

	DL_FOREACH (s->units, u) {
		if (u->id == id && u->check == check && !u->closed)
			return u;
	}
	return NULL;
}

static struct unit *unit_new(struct mesh *m, uint64_t id,
			     const struct scan_work *w)
{
	struct unit *u = HN_NEW(struct unit);

	u->m = m;
	u->id = id;
	u->work = *w;
	u->below = w->start;
	answer_init(&u->answer);
	DL_APPEND(m->service_hash->units, u);
	return u;
}

static void unit_free(struct unit *u)
{
	struct service_hash *s = u->m->service_hash;

	DL_DELETE(s->units, u);
	if (u->late)
		loop_timer_free(u->late);
	buf_release(&u->shares);
	free(u);
	maybe_stopped(s);
}

static uint64_t now_of(const struct mesh *m)
{
	return loop_ms(m->loop);
}

/* The end of a lease; the unit is gone before the coordinator hears it. */
static void unit_end(struct unit *u, enum err e, uint64_t hashes)
{
	struct mesh *m = u->m;
	uint64_t id = u->id;
	bool tell = !u->closed;

	unit_free(u);
	if (!tell)
		return;
	jobs_lease_end(m->jobs, id, e, hashes, now_of(m));
	service_job_kick(m);
}

static void unit_progress(struct unit *u, uint64_t below,
			  const uint32_t *shares, size_t n)
{
	struct mesh *m = u->m;

	if (u->closed && (!u->heard || u->answer.shares + n > HEARD_SHARES))
		return;
	u->below = below;
	answer_add(&u->answer, shares, n);
	if (u->st)
		buf_add(&u->shares, shares, n * sizeof(*shares));
	if (u->closed)
		return;
	jobs_progress(m->jobs, u->id, below, shares, n, now_of(m));
	service_job_kick(m);
}

static bool answer_good(const struct unit *u, const struct hash_searched *r)
{
	struct answer_text t;

	answer_text(&u->answer, u->job, u->id, &u->work, &t);
	return r->shares == u->answer.shares && u->below == u->work.end &&
	       r->hashes >= u->work.end - u->work.start &&
	       node_id_verify(&u->worker, ANSWER_PURPOSE, t.parts,
			      HN_COUNT(t.parts), r->sig);
}

/* The evidence, and what its receipt will be about; or what a liar signed. */
static void keep_answer(struct unit *u, const struct hash_searched *r)
{
	struct answer_text t;
	struct buf text = {0};

	answer_text(&u->answer, u->job, u->id, &u->work, &t);
	struct ledger_answer a = {
	    .kind = "search",
	    .job = u->job,
	    .lease = u->id,
	    .worker = u->worker,
	    .text = text_join(&t, &text),
	    .sig = r->sig,
	    .shares = (const uint32_t *)(const void *)u->shares.p,
	    .nshares = u->shares.n / sizeof(uint32_t),
	};

	if (u->heard) {
		const service_hash_heard_fn heard = u->heard;

		u->heard = NULL;
		heard(u->heard_arg, &a);
	} else {
		service_receipt_answered(u->m, &a);
	}
	buf_release(&text);
}

/* It signed nothing. */
static void heard_nothing(struct unit *u)
{
	const service_hash_heard_fn heard = u->heard;

	u->heard = NULL;
	if (heard)
		heard(u->heard_arg, NULL);
}

static void on_chunk(void *arg, struct rpc_stream *st, const void *msg)
{
	const struct search_progress *p = msg;
	struct unit *u = arg;

	if (!p)
		return;
	/* What repeats itself is no news to the coordinator, but it is in the
	 * list that is kept here. */
	if (!u->closed && u->answer.shares + p->shares.n > HEARD_SHARES) {
		rpc_cancel(st);
		u->st = NULL;
		unit_end(u, ERR_CRYPTO, 0);
		return;
	}
	unit_progress(u, p->below, p->shares.items, p->shares.n);
}

static void on_end(void *arg, struct rpc_stream *st, enum err e,
		   const void *reply, const char *text)
{
	struct unit *u = arg;
	const struct hash_searched *r = reply;

	static struct log_gate gate;

	(void)st;
	u->st = NULL;
	if (e == ERR_BUSY)
		log_every(&gate, 10000, LOG_INFO, "work",
			  "%s takes no work now, it is asked again: %s",
			  node_str(&u->worker), log_quote(text ? text : ""));
	if (e)
		log_debug("work", "lease %llu ended by %s: %s (%s)",
			  (unsigned long long)u->id, node_str(&u->worker),
			  err_name(e), log_quote(text ? text : ""));
	else if (!answer_good(u, r))
		e = ERR_CRYPTO;
	else if (!u->closed || u->heard)
		keep_answer(u, r);
	heard_nothing(u);
	unit_end(u, e, r ? r->hashes : 0);
}

static const struct rpc_ops call_ops = {.chunk = on_chunk, .end = on_end};

static enum err call_remote(struct unit *u, uint64_t expected_ms)
{
	struct hash_search req = {.job = u->job,
				  .lease = u->id,
				  .start = u->work.start,
				  .end = u->work.end,
				  .share_bits = u->work.share_bits,
				  .expected_ms = expected_ms};
	struct session *s = hub_find(rpc_hub(u->m->rpc), &u->worker);

	if (!s)
		return ERR_GONE;
	memcpy(req.header, u->work.header, HEADER_SIZE);
	return rpc_call(u->m->rpc, s, "hash.search", &req, 0, &call_ops, u,
			&u->st);
}

static void on_own_progress(void *arg, uint64_t below, const uint32_t *shares,
			    size_t n)
{
	unit_progress(arg, below, shares, n);
}

static void on_own_done(void *arg, enum err e, uint64_t hashes)
{
	struct unit *u = arg;

	u->scan = NULL;
	unit_end(u, e, hashes);
}

static const struct asic_scan_ops own_ops = {on_own_progress, on_own_done};

enum err service_hash_assign(struct mesh *m, const struct lease *l)
{
	struct scan_work work;
	enum err e;

	lease_scan(l, &work);
	struct unit *u = unit_new(m, l->id, &work);

	memcpy(u->job, l->job, sizeof(u->job));
	u->worker = l->worker;
	if (node_id_eq(&l->worker, identity_id(m->me)))
		e = asic_scan_start(m->asic, &u->work, ASIC_OWN, &own_ops, u,
				    &u->scan);
	else
		e = call_remote(u, l->expected_ms);
	if (e)
		unit_free(u);
	return e;
}

/* Nothing more is told; a scan of ours ends by itself a little later. */
static void unit_close(struct unit *u)
{
	u->closed = true;
	if (u->scan) {
		asic_scan_cancel(u->scan);
		return;
	}
	if (u->st)
		rpc_cancel(u->st);
	heard_nothing(u);
	unit_free(u);
}

/* One whose end is not told any more, but which is not cancelled yet. */
static struct unit *find_closing(struct mesh *m, uint64_t lease_id)
{
	struct unit *u;

	DL_FOREACH (m->service_hash->units, u)
		if (u->id == lease_id && !u->check && u->closed && u->st)
			return u;
	return NULL;
}

struct closing {
	struct mesh *m;
	uint64_t id;
};

static void on_closing(void *arg)
{
	struct closing *c = arg;
	struct unit *u = c->m->service_hash ? find_closing(c->m, c->id) : NULL;

	if (u && !u->heard)
		unit_close(u);
	free(c);
}

static void on_late(void *arg)
{
	unit_close(arg);
}

bool service_hash_hear(struct mesh *m, uint64_t lease_id,
		       service_hash_heard_fn heard, void *arg)
{
	struct unit *u = m->service_hash ? find_closing(m, lease_id) : NULL;

	if (!u || u->heard)
		return false;
	u->heard = heard;
	u->heard_arg = arg;
	u->late = loop_timer_new(m->loop, on_late, u);
	loop_timer_set(u->late, HEAR_MS);
	return true;
}

void service_hash_revoke(struct mesh *m, uint64_t lease_id)
{
	struct unit *u = unit_find(m->service_hash, lease_id, false);

	if (!u)
		return;
	if (!u->st) {
		unit_close(u);
		return;
	}
	/* Cancelled at the end of this round: by then it is known whether its
	 * worker is a liar, whose signature is wanted all the same. */
	struct closing *c = HN_NEW(struct closing);

	u->closed = true;
	c->m = m;
	c->id = lease_id;
	loop_post(m->loop, on_closing, c);
}

/* --- re-scans, on our own device --- */

static void on_check_progress(void *arg, uint64_t below, const uint32_t *shares,
			      size_t n)
{
	struct unit *u = arg;

	(void)below;
	buf_add(&u->shares, shares, n * sizeof(*shares));
}

static void on_check_done(void *arg, enum err e, uint64_t hashes)
{
	struct unit *u = arg;
	struct mesh *m = u->m;
	struct buf shares = u->shares;
	uint64_t id = u->id;
	bool tell = !u->closed;

	(void)hashes;
	memset(&u->shares, 0, sizeof(u->shares));
	unit_free(u);
	if (tell) {
		jobs_rescan_end(m->jobs, id, e,
				(const uint32_t *)(const void *)shares.p,
				shares.n / sizeof(uint32_t), now_of(m));
		service_job_kick(m);
	}
	buf_release(&shares);
}

static const struct asic_scan_ops check_ops = {on_check_progress,
					       on_check_done};

enum err service_hash_rescan(struct mesh *m, uint64_t check_id,
			     const struct scan_work *w)
{
	struct unit *u = unit_new(m, check_id, w);

	u->check = true;
	enum err e = asic_scan_start(m->asic, &u->work, ASIC_URGENT, &check_ops,
				     u, &u->scan);
	if (e)
		unit_free(u);
	return e;
}

void service_hash_rescan_cancel(struct mesh *m, uint64_t check_id)
{
	struct unit *u = unit_find(m->service_hash, check_id, true);

	if (u)
		unit_close(u);
}

/* --- the serve half --- */

struct serving {
	struct serving *prev, *next;
	struct mesh *m;
	struct rpc_stream *st;	/* NULL: the caller has left */
	struct site_scan *scan; /* NULL: done */
	uint64_t client;
	struct loan loan;
	char job[JOB_ID_SIZE];
	uint64_t lease;
	struct scan_work work;
	struct answer answer;
	uint64_t below, told_below;
	struct buf shares; /* uint32_t, not sent yet */
	bool recalled;
	enum err e;
	uint64_t hashes;
	struct cheat_hold hold; /* a cheat's */
};

static void serving_free(struct serving *v)
{
	struct service_hash *s = v->m->service_hash;

	DL_DELETE(s->serving, v);
	s->nserving--;
	lending_end(&v->loan);
	cheat_hold_release(&v->hold);
	buf_release(&v->shares);
	free(v);
	maybe_stopped(s);
}

/* One message of shares and the prefix they belong to. */
static enum err send_some(struct serving *v)
{
	uint32_t *shares = (uint32_t *)(void *)v->shares.p;
	size_t n = v->shares.n / sizeof(*shares);
	struct search_progress p = {.below = v->below};

	if (n > SHARES_CHUNK) {
		n = SHARES_CHUNK;
		p.below = (uint64_t)shares[n - 1] + 1;
	}
	p.shares.items = shares;
	p.shares.n = n;
	enum err e = rpc_send(v->st, &p);
	if (e)
		return e;
	v->told_below = p.below;
	buf_drop(&v->shares, n * sizeof(*shares));
	return OK;
}

static void reply(struct serving *v)
{
	struct hash_searched r = {.hashes = v->hashes,
				  .shares = v->answer.shares};
	struct answer_text t;
	struct buf text = {0};

	answer_text(&v->answer, v->job, v->lease, &v->work, &t);
	identity_sign(v->m->me, ANSWER_PURPOSE, t.parts, HN_COUNT(t.parts),
		      r.sig);
	if (!service_site_part(v->m, v->st, v->job))
		service_receipt_served(v->m, v->st, "search",
				       text_join(&t, &text), r.sig);
	buf_release(&text);
	rpc_reply(v->st, &r);
}

/* Sends what is there, and the end once all is sent. */
static void serving_push(struct serving *v)
{
	if (v->st && cheat_holds(&v->hold))
		return;
	while (v->st && (v->shares.n || v->told_below < v->below))
		if (send_some(v))
			return; /* room comes, or the end */
	if (v->scan)
		return;
	if (v->st && v->e == OK)
		reply(v);
	else if (v->st && v->e == ERR_CANCELED)
		rpc_fail(v->st, ERR_BUSY, "%s%s", v->recalled ? "paused: " : "",
			 v->recalled ? lending_word(v->m->lending)->why
				     : "this node offers the work no longer");
	else if (v->st)
		rpc_fail(v->st, v->e, "the device failed");
	v->st = NULL;
	serving_free(v);
}

static void on_scan_progress(void *arg, uint64_t below, const uint32_t *shares,
			     size_t n)
{
	struct serving *v = arg;

	shares = cheat_shares(&v->work, v->below, below, shares, &n);
	v->below = below;
	answer_add(&v->answer, shares, n);
	buf_add(&v->shares, shares, n * sizeof(*shares));
	serving_push(v);
}

static void on_scan_done(void *arg, enum err e, uint64_t hashes)
{
	struct serving *v = arg;

	v->scan = NULL;
	v->e = e;
	v->hashes = hashes;
	serving_push(v);
}

static void on_hold_over(void *arg)
{
	serving_push(arg);
}

static const struct asic_scan_ops serve_scan_ops = {on_scan_progress,
						    on_scan_done};

static void on_room(void *arg, struct rpc_stream *st)
{
	(void)st;
	serving_push(arg);
}

static void on_caller_left(void *arg, struct rpc_stream *st, enum err e,
			   const void *r, const char *text)
{
	struct serving *v = arg;

	(void)st, (void)e, (void)r, (void)text;
	v->st = NULL;
	if (v->scan)
		site_scan_cancel(v->scan);
	else
		serving_free(v);
}

static const struct rpc_ops serve_ops = {.room = on_room,
					 .end = on_caller_left};

uint64_t work_client(struct rpc_stream *st)
{
	const struct session *s = rpc_stream_session(st);
	uint64_t key;

	if (session_kind(s) == SESSION_CONTROL)
		return ASIC_OWN;
	memcpy(&key, session_peer(s)->b, sizeof(key));
	return key | ASIC_OTHERS; /* none of those that have a name */
}

/* The device shares itself out evenly, so nobody waits for what others ask;
 * this bounds what waits here for one peer, and for all. */
static bool over_budget(const struct service_hash *s, uint64_t client,
			const struct scan_work *w)
{
	struct site_sum behind;
	const struct serving *v;
	uint64_t ahead = w->end - w->start;
	unsigned n = 0;

	service_site_sum(s->m, &behind);
	const uint64_t most = (asic_rate(s->m->asic) + behind.rate) * AHEAD_S;

	DL_FOREACH (s->serving, v) {
		if (v->client != client)
			continue;
		n++;
		ahead += v->work.end - v->below;
	}
	return s->nserving >= UNITS_MAX || n >= UNITS_PER_PEER ||
	       (n && most && ahead > most);
}

/* What is done of it reaches its submitter before the end does. */
static void on_recalled(void *arg)
{
	struct serving *v = arg;

	if (!v->scan)
		return;
	v->recalled = true;
	site_scan_cancel(v->scan);
}

/* false: refused, and v is gone. */
static bool borrow(struct serving *v)
{
	struct buf why = {0};

	enum err e = lending_take(v->m->lending, v->st, v->job, &v->loan,
				  on_recalled, v, &why);
	if (e) {
		rpc_fail(v->st, e, "%s", buf_str(&why));
		free(v);
	}
	buf_release(&why);
	return !e;
}

static void serve_search(struct rpc_stream *st, const void *request, void *arg)
{
	const struct hash_search *q = request;
	struct mesh *m = arg;
	struct service_hash *s = m->service_hash;
	struct scan_work w = {
	    .start = q->start, .end = q->end, .share_bits = q->share_bits};

	memcpy(w.header, q->header, HEADER_SIZE);
	/* What no receipt could name would be work that nobody owes. */
	if (!receipt_job_ok(q->job) || strlen(q->job) >= JOB_ID_SIZE ||
	    scan_work_check(&w)) {
		rpc_fail(st, ERR_INPUT,
			 "a lease names a job in visible characters and a "
			 "range [start, end) "
			 "with end at most 2^32");
		return;
	}
	if ((w.end - w.start) >> w.share_bits > SHARES_MAX) {
		rpc_fail(st, ERR_INPUT,
			 "too many shares: ask for more share_bits or a "
			 "shorter range");
		return;
	}
	const uint64_t client = work_client(st);
	if (cheat_refuses(&w) || over_budget(s, client, &w)) {
		rpc_fail(
		    st, ERR_BUSY,
		    "this node has enough work of yours: at most %u units, "
		    "%u s of them, wait here",
		    UNITS_PER_PEER, AHEAD_S);
		return;
	}
	if (!service_site_part(m, st, q->job) &&
	    !service_receipt_admit(m, st, q->job, q->lease))
		return;
	struct serving *v = HN_NEW(struct serving);
	v->m = m;
	v->st = st;
	v->client = client;
	v->lease = q->lease;
	v->work = w;
	v->below = v->told_below = w.start;
	memcpy(v->job, q->job, strlen(q->job) + 1);
	answer_init(&v->answer);
	if (!borrow(v))
		return;
	/* A request in many pieces may be whole only when we stop. */
	enum err e =
	    m->stopping
		? ERR_GONE
		: site_scan_start(m, &w, client, &serve_scan_ops, v, &v->scan);
	if (e) {
		rpc_fail(st, e, "the device takes no work");
		lending_end(&v->loan);
		free(v);
		return;
	}
	cheat_hold_init(&v->hold, m->loop, q->expected_ms, on_hold_over, v);
	DL_APPEND(s->serving, v);
	s->nserving++;
	rpc_serve(st, &serve_ops, v);
}

unsigned service_hash_busy(const struct service_hash *s)
{
	return s ? s->nserving : 0;
}

void service_hash_withdraw(struct mesh *m)
{
	struct serving *v;

	if (!m->service_hash)
		return;
	DL_FOREACH (m->service_hash->serving, v) {
		if (v->scan)
			site_scan_cancel(v->scan);
	}
}

void service_hash_stop(struct service_hash *s, loop_fn done, void *arg)
{
	struct unit *u, *tmp;
	struct serving *v, *vtmp;

	assert(!s->stopped);
	service_hash_withdraw(s->m);
	DL_FOREACH_SAFE (s->units, u, tmp) {
		unit_close(u);
	}
	DL_FOREACH_SAFE (s->serving, v, vtmp) {
		if (!v->scan) { /* only a slow reader is left */
			rpc_fail(v->st, ERR_GONE, "this node is stopping");
			serving_free(v);
		}
	}
	s->stopped = done;
	s->stopped_arg = arg;
	maybe_stopped(s);
}

const struct rpc_method service_hash_methods[] = {
    {.name = "hash.search",
     .version = 1,
     .right = RIGHT_GRANTED,
     .cap = "hash/sha256d",
     .repeatable = true,
     .request = &hash_search_message,
     .reply = &hash_searched_message,
     .down = &search_progress_message,
     .max_chunk = PROGRESS_MAX,
     .max_streams = UNITS_PER_SESSION,
     .serve = serve_search,
     .doc = "scan a nonce range of a header; shares as evidence"},
    {.name = "hash.digest",
     .version = 1,
     .right = RIGHT_GRANTED,
     .cap = "hash/sha256d",
     .repeatable = true,
     .request = &hash_digest_message,
     .reply = &hash_digested_message,
     .up = &digest_in_message,
     .down = &digest_out_message,
     .max_chunk = BATCH_CHUNK_MAX,
     .max_streams = UNITS_PER_SESSION,
     .serve = serve_digest,
     .doc = "digests of a lease's inputs, committed to and opened"},
    {.name = "hash.batch",
     .version = 1,
     .right = RIGHT_GRANTED,
     .cap = "hash/sha256d",
     .repeatable = true,
     .request = &hash_batch_message,
     .reply = &batch_end_message,
     .up = &batch_in_message,
     .down = &batch_out_message,
     .max_chunk = BATCH_CHUNK_MAX,
     .max_streams = 4,
     .serve = serve_batch,
     .doc = "digests of many inputs, order kept"},
    {0},
};
