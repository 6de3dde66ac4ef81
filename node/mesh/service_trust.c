/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Every document goes one way, wherever it comes from: it is verified, then
 * stored, and when that is durable its worker is barred and whoever asked is
 * told. So nothing is held against a node that could not be shown to a third.
 */
#include "node/mesh/service_trust.h"
#include "node/mesh/mesh_impl.h"

#include "node/base/log.h"
#include "node/mesh/job.h"
#include "node/mesh/ledger.h"
#include "node/mesh/membership.h"
#include "node/mesh/peers.h"
#include "node/mesh/service_hash.h"

#include <utlist.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALL_MS 15000
#define SAYS_MAX 300
#define ID_TEXT (2 * EVIDENCE_ID_SIZE + 1)
#define DOC_MAX (EVIDENCE_MAX + 64) /* with what is around it */

/* --- tables --- */

const struct store_schema evidence_schema[] = {
    {"evidence", 1,
     "CREATE TABLE evidence (id TEXT PRIMARY KEY, node BLOB NOT NULL,"
     " at INTEGER NOT NULL, source TEXT NOT NULL, doc BLOB NOT NULL);"
     "CREATE INDEX evidence_of_node ON evidence (node, at)"},
};
const size_t evidence_schema_count = HN_COUNT(evidence_schema);

static const struct field query_fields[] = {
    FIELD_FIXED(struct evidence_query, node, "about whom; zero: anybody"),
    FIELD_U64(struct evidence_query, nth, 0, "of those, the newest first"),
};
const struct message evidence_query_message =
    MESSAGE("evidence_query", struct evidence_query, query_fields);

static const struct field found_fields[] = {
    FIELD_U64(struct evidence_found, total, 0, "documents that there are"),
    FIELD_BYTES(struct evidence_found, doc, EVIDENCE_MAX,
		"evidence, packed; empty: no such nth"),
};
const struct message evidence_found_message =
    MESSAGE("evidence_found", struct evidence_found, found_fields);

static const struct field given_fields[] = {
    FIELD_BYTES(struct evidence_given, doc, EVIDENCE_MAX, "evidence, packed"),
};
const struct message evidence_given_message =
    MESSAGE("evidence_given", struct evidence_given, given_fields);

static const struct field ref_fields[] = {
    FIELD_STR(struct evidence_ref, id, 32, "or how it begins, 4 digits"),
};
const struct message evidence_ref_message =
    MESSAGE("evidence_ref", struct evidence_ref, ref_fields);

static const struct field row_fields[] = {
    FIELD_STR(struct evidence_row, id, 32, "the same wherever it is held"),
    FIELD_FIXED(struct evidence_row, node, "whose lie it proves"),
    FIELD_STR(struct evidence_row, name, 64, "of that node"),
    FIELD_STR(struct evidence_row, lie, 16, "false-share, outside, missed"),
    FIELD_STR(struct evidence_row, says, SAYS_MAX, "the sentence"),
    FIELD_U64(struct evidence_row, at_ms, 0, "since when it is here"),
    FIELD_STR(struct evidence_row, source, 64,
	      "here: found by this node; given; or who gave it"),
    FIELD_BOOL(struct evidence_row, fresh, "it was not known before"),
};
const struct message evidence_row_message =
    MESSAGE("evidence_row", struct evidence_row, row_fields);

static const struct field list_fields[] = {
    FIELD_LIST(struct evidence_list, rows, EVIDENCE_KEPT, &evidence_row_message,
	       "newest first"),
};
const struct message evidence_list_message =
    MESSAGE("evidence_list", struct evidence_list, list_fields);

static const struct field shown_fields[] = {
    FIELD_MSG(struct evidence_shown, row, &evidence_row_message, "about it"),
    FIELD_MSG(struct evidence_shown, doc, &evidence_message, "itself"),
};
const struct message evidence_shown_message =
    MESSAGE("evidence_shown", struct evidence_shown, shown_fields);

static const struct field fetch_fields[] = {
    FIELD_STR(struct evidence_fetch, peer, 128, "whom to ask"),
    FIELD_STR(struct evidence_fetch, about, 128, "about whom; nil: anybody"),
};
const struct message evidence_fetch_message =
    MESSAGE("evidence_fetch", struct evidence_fetch, fetch_fields);

static const struct field fetched_fields[] = {
    FIELD_U64(struct evidence_fetched, held, 0, "documents that it has"),
    FIELD_U64(struct evidence_fetched, refused, 0,
	      "of those it gave: they prove nothing"),
    FIELD_LIST(struct evidence_fetched, rows, EVIDENCE_FETCHED,
	       &evidence_row_message, "those that do"),
};
const struct message evidence_fetched_message =
    MESSAGE("evidence_fetched", struct evidence_fetched, fetched_fields);

/* --- a document --- */

static void id_text(const struct evidence_doc *d, char out[static ID_TEXT])
{
	uint8_t id[EVIDENCE_ID_SIZE];

	evidence_id(d, id);
	hex_encode(id, sizeof(id), out);
}

static char *text(struct arena *a, const char *s, size_t max)
{
	return arena_strndup(a, s, strnlen(s, max));
}

/* Reads and verifies; then *row is filled in but for source, at and fresh. */
static enum err judge(const void *p, size_t n, struct arena *a,
		      struct evidence_doc *d, struct evidence_row *row,
		      struct buf *why)
{
	char id[ID_TEXT], name[NODE_NAME_SIZE];
	struct node_id node;

	*row = (struct evidence_row){0};
	enum err e = evidence_read(p, n, a, d, why);
	if (!e)
		e = evidence_verify(d, why);
	if (e)
		return e;
	id_text(d, id);
	memcpy(node.b, d->worker, sizeof(node.b));
	node_name(&node, name);
	memcpy(row->node, d->worker, sizeof(row->node));
	row->id = text(a, id, sizeof(id));
	row->name = text(a, name, sizeof(name));
	row->lie = text(a, d->lie, 16);
	row->says = text(a, buf_str(why), SAYS_MAX);
	return OK;
}

/* --- taking one in --- */

typedef void (*taken_fn)(void *arg, enum err e, const struct evidence_row *row,
			 const char *why);

struct taking {
	struct mesh *m;
	struct arena a;
	struct evidence_row row;
	struct buf doc;
	bool share; /* with our owner's nodes */
	taken_fn done;
	void *arg;
};

static void on_shared(void *arg, struct rpc_stream *st, enum err e,
		      const void *reply, const char *why)
{
	(void)arg, (void)st, (void)reply;
	if (e)
		log_debug("work", "evidence was not taken: %s",
			  log_quote(why ? why : err_str(e)));
}

struct sharing {
	struct mesh *m;
	const struct evidence_given *q;
};

static void share_with(struct session *s, void *arg)
{
	static const struct rpc_ops ops = {.end = on_shared};
	const struct sharing *h = arg;

	/* A private mesh is its owner's network. */
	if (h->m->membership->is_public && !service_receipt_ours(h->m, s))
		return;
	enum err e = rpc_call(h->m->rpc, s, "evidence.put", h->q, CALL_MS, &ops,
			      NULL, NULL);
	(void)e; /* it may ask for it */
}

/* On disk: now it counts. */
static void on_taken(const struct store_result *r, void *arg)
{
	struct taking *t = arg;
	struct mesh *m = t->m;
	struct node_id node;

	memcpy(node.b, t->row.node, sizeof(node.b));
	if (m->jobs && !m->stopping && !r->err) {
		const struct evidence_given q = {{t->doc.p, t->doc.n}};
		const bool out = peers_dropped(m->peers, &node);
		struct sharing h = {m, &q};

		t->row.fresh = r->changes > 0;
		if (t->row.fresh)
			log_warn("work",
				 "evidence %s kept: %s (`hnode evidence show "
				 "%s`)",
				 t->row.id, t->row.says, t->row.id);
		jobs_bar(m->jobs, &node, t->row.says, loop_ms(m->loop));
		if (!out) /* one that never worked for us */
			peers_drop(m->peers, &node, true, t->row.says);
		service_job_kick(m);
		if (t->share && t->row.fresh)
			peers_each_session(m->peers, share_with, &h);
	}
	if (t->done)
		t->done(t->arg, r->err, &t->row, r->message);
	buf_release(&t->doc);
	arena_release(&t->a);
	free(t);
}

void service_trust_tidy(struct mesh *m)
{
	const struct store_val old =
	    STORE_I(clock_unix_ms() - EVIDENCE_KEPT_MS);
	const struct store_val most[] = {STORE_I(EVIDENCE_KEPT),
					 STORE_I(EVIDENCE_KEPT_BYTES)};

	store_run(m->store, "DELETE FROM evidence WHERE at < ?", &old, 1, NULL,
		  NULL);
	store_run(m->store,
		  "DELETE FROM evidence WHERE id IN (SELECT id FROM (SELECT "
		  "id, row_number() OVER w AS n, sum(length(doc)) OVER w AS "
		  "bytes FROM evidence WINDOW w AS (ORDER BY source = 'here' "
		  "DESC, at DESC, id)) WHERE n > ? OR bytes > ?)",
		  most, HN_COUNT(most), NULL, NULL);
}

/* Verified already: row and doc. done after it is on disk. */
static void take(struct mesh *m, const struct evidence_doc *d,
		 const struct evidence_row *row, const char *source, bool share,
		 taken_fn done, void *arg)
{
	struct taking *t = HN_NEW(struct taking);

	t->m = m;
	t->share = share;
	t->done = done;
	t->arg = arg;
	fields_copy(&evidence_row_message, row, &t->a, &t->row);
	t->row.source = text(&t->a, source, 64);
	t->row.at_ms = clock_unix_ms();
	evidence_pack(d, &t->doc);
	const struct store_val vals[] = {
	    store_text(t->row.id),	 STORE_B(t->row.node, 32),
	    STORE_I(t->row.at_ms),	 store_text(t->row.source),
	    STORE_B(t->doc.p, t->doc.n), STORE_B(t->row.node, 32),
	    STORE_I(EVIDENCE_PER_NODE),
	};
	store_run(m->store,
		  "INSERT OR IGNORE INTO evidence (id, node, at, source, doc) "
		  "SELECT ?, ?, ?, ?, ? WHERE (SELECT count(*) FROM evidence "
		  "WHERE node = ?) < ?",
		  vals, HN_COUNT(vals), on_taken, t);
	service_trust_tidy(m);
}

/* --- what was found here --- */

struct caught {
	struct mesh *m;
	struct job_proof proof;
	struct node_id id;
};

static void make(struct mesh *m, const struct job_proof *proof,
		 const struct ledger_answer *l)
{
	struct evidence_doc d = {
	    .kind = (char *)(uintptr_t)l->kind,
	    .answer = l->text,
	    .shares = {(uint32_t *)(uintptr_t)l->shares, l->nshares},
	    .nonce = proof->nonce,
	};

	memcpy(d.worker, l->worker.b, sizeof(d.worker));
	memcpy(d.sig, l->sig, sizeof(d.sig));
	service_trust_found(m, &d);
}

void service_trust_found(struct mesh *m, struct evidence_doc *doc)
{
	struct evidence_doc d = *doc;
	struct evidence_row row;
	struct arena a = {0};
	struct buf why = {0}, packed = {0};
	struct node_id id;

	memcpy(id.b, d.worker, sizeof(id.b));
	enum err e = evidence_make(&d, &why);
	if (!e) {
		struct evidence_doc again;

		evidence_pack(&d, &packed);
		buf_clear(&why);
		e = judge(packed.p, packed.n, &a, &again, &row, &why);
	}
	if (!e)
		take(m, &d, &row, "here", true, NULL, NULL);
	else
		log_info("work",
			 "the lie of %s can be shown to nobody else: %s",
			 node_str(&id), buf_str(&why));
	buf_release(&packed);
	buf_release(&why);
	arena_release(&a);
}

void service_trust_answer(struct mesh *m, const struct node_id *id,
			  const struct job_proof *proof,
			  const struct ledger_answer *answer)
{
	if (m->stopping)
		return;
	if (answer && node_id_eq(&answer->worker, id))
		make(m, proof, answer);
	else
		log_info("work",
			 "the lie of %s can be shown to nobody else: it signed "
			 "no answer with it",
			 node_str(id));
}

static void on_answer(void *arg, const struct ledger_answer *l)
{
	struct caught *c = arg;

	service_trust_answer(c->m, &c->id, &c->proof, l);
	free(c);
}

static void on_caught(void *arg)
{
	struct caught *c = arg;

	if (!c->m->stopping)
		ledger_find_answer(c->m->ledger, c->proof.job, c->proof.lease,
				   on_answer, c);
	else
		free(c);
}

void service_trust_caught(struct mesh *m, const struct node_id *id,
			  const struct job_proof *proof)
{
	/* Somebody else's proof, which is here already; or the service that
	 * found it hands it over itself. */
	if (!proof->job[0] || proof->lie == JOB_LIE_ANSWER)
		return;
	struct caught *c = HN_NEW(struct caught);

	c->m = m;
	c->id = *id;
	c->proof = *proof;
	loop_post(m->loop, on_caught, c);
}

/* --- evidence.get --- */

/* An answer that waits; its caller may leave before. */
struct answer {
	struct mesh *m;
	struct rpc_stream *st; /* NULL: left */
	bool shown;
};

static void on_asker_left(void *arg, struct rpc_stream *st, enum err e,
			  const void *reply, const char *why)
{
	struct answer *a = arg;

	(void)st, (void)e, (void)reply, (void)why;
	a->st = NULL;
}

static struct answer *answer_new(struct mesh *m, struct rpc_stream *st)
{
	static const struct rpc_ops ops = {.end = on_asker_left};
	struct answer *a = HN_NEW(struct answer);

	a->m = m;
	a->st = st;
	rpc_serve(st, &ops, a);
	return a;
}

static void on_got(const struct store_result *r, void *arg)
{
	struct answer *a = arg;
	struct evidence_found f = {0};

	if (a->st && r->err) {
		rpc_fail(a->st, r->err, "the evidence cannot be read: %s",
			 r->message);
	} else if (a->st) {
		if (r->rows) {
			f.total = (uint64_t)r->cells[0].i;
			if (r->cells[1].b.n <= EVIDENCE_MAX)
				f.doc = r->cells[1].b;
		}
		rpc_reply(a->st, &f);
	}
	free(a);
}

static void serve_get(struct rpc_stream *st, const void *request, void *arg)
{
	static const uint8_t nobody[32];
	const struct evidence_query *q = request;
	struct mesh *m = arg;
	const bool any = !memcmp(q->node, nobody, sizeof(nobody));
	const struct store_val vals[] = {
	    STORE_I(any),
	    STORE_B(q->node, 32),
	    STORE_I(q->nth > EVIDENCE_KEPT ? EVIDENCE_KEPT : q->nth),
	};

	store_run(m->store,
		  "SELECT count(*) OVER (), doc FROM evidence WHERE ? OR node "
		  "= ? ORDER BY at DESC, id LIMIT 1 OFFSET ?",
		  vals, HN_COUNT(vals), on_got, answer_new(m, st));
}

/* --- evidence.put and evidence.add --- */

static void on_put(void *arg, enum err e, const struct evidence_row *row,
		   const char *why)
{
	struct answer *a = arg;

	if (a->st && e)
		rpc_fail(a->st, e, "the evidence cannot be kept: %s", why);
	else if (a->st && a->shown)
		rpc_reply(a->st, row);
	else if (a->st)
		rpc_reply(a->st, &(char){0});
	free(a);
}

/* Whose evidence is welcome although nobody asked: that of our owner's nodes;
 * in a private mesh of all, about nodes that we know. Keys that nobody knows
 * are made by the thousand, and would fill what remembers the others. */
static bool welcome(const struct mesh *m, const struct session *s,
		    const struct evidence_row *row)
{
	struct node_id node;

	if (!s)
		return true; /* a person gives it */
	memcpy(node.b, row->node, sizeof(node.b));
	return service_receipt_ours(m, s) ||
	       (!m->membership->is_public && peers_know(m->peers, &node));
}

#define UNWELCOME \
	"only nodes of one owner, or of one private mesh about a node that " \
	"is known here, hand evidence over unasked; others are asked by " \
	"evidence.get"

static void serve_given(struct rpc_stream *st, const struct evidence_given *q,
			struct mesh *m, const struct session *s)
{
	struct arena a = {0};
	struct buf why = {0};
	struct evidence_doc d;
	struct evidence_row row;

	/* To judge a mebibyte is work; a stranger's is refused unread. */
	if (s && m->membership->is_public && !service_receipt_ours(m, s)) {
		rpc_fail(st, ERR_DENIED, UNWELCOME);
		return;
	}
	enum err e = judge(q->doc.p, q->doc.n, &a, &d, &row, &why);
	if (e) {
		rpc_fail(st, e, "%s", buf_str(&why));
	} else if (!memcmp(row.node, identity_id(m->me)->b, 32)) {
		rpc_fail(st, ERR_INPUT, "that is evidence against this node");
	} else if (!welcome(m, s, &row)) {
		rpc_fail(st, ERR_DENIED, UNWELCOME);
	} else {
		struct answer *ask = answer_new(m, st);

		ask->shown = !s;
		take(m, &d, &row, s ? node_str(session_peer(s)) : "given", !s,
		     on_put, ask);
	}
	buf_release(&why);
	arena_release(&a);
}

static void serve_put(struct rpc_stream *st, const void *request, void *arg)
{
	const struct session *s = rpc_stream_session(st);

	if (session_kind(s) == SESSION_CONTROL)
		rpc_fail(st, ERR_INPUT, "that is evidence.add");
	else
		serve_given(st, request, arg, s);
}

static void serve_add(struct rpc_stream *st, const void *request, void *arg)
{
	serve_given(st, request, arg, NULL);
}

/* --- evidence.list and evidence.show --- */

static bool row_of(const struct store_val *v, struct arena *a,
		   struct evidence_doc *d, struct evidence_row *row)
{
	struct buf why = {0};

	enum err e = judge(v[2].b.p, v[2].b.n, a, d, row, &why);
	if (e)
		log_warn("work", "evidence %s on disk is damaged: %s",
			 log_quote((const char *)v[3].b.p), buf_str(&why));
	buf_release(&why);
	if (e)
		return false;
	row->at_ms = (uint64_t)v[0].i;
	row->source = text(a, (const char *)v[1].b.p, 64);
	return true;
}

static void on_listed(const struct store_result *r, void *arg)
{
	struct answer *ask = arg;
	struct arena a = {0};
	struct evidence_doc d;

	if (ask->st && r->err) {
		rpc_fail(ask->st, r->err, "the evidence cannot be read: %s",
			 r->message);
	} else if (ask->st) {
		struct evidence_row *rows =
		    arena_alloc(&a, (r->rows + 1) * sizeof(*rows));
		struct evidence_list l = {{rows, 0}};

		for (size_t i = 0; i < r->rows && i < EVIDENCE_KEPT; i++)
			l.rows.n += row_of(&r->cells[i * r->columns], &a, &d,
					   &rows[l.rows.n]);
		rpc_reply(ask->st, &l);
	}
	arena_release(&a);
	free(ask);
}

static void serve_list(struct rpc_stream *st, const void *request, void *arg)
{
	struct mesh *m = arg;

	(void)request;
	store_run(m->store,
		  "SELECT at, source, doc, id FROM evidence ORDER BY at DESC, "
		  "id LIMIT 64",
		  NULL, 0, on_listed, answer_new(m, st));
}

static void on_shown(const struct store_result *r, void *arg)
{
	struct answer *ask = arg;
	struct arena a = {0};
	struct evidence_shown s;

	if (!ask->st)
		;
	else if (r->err)
		rpc_fail(ask->st, r->err, "the evidence cannot be read: %s",
			 r->message);
	else if (!r->rows)
		rpc_fail(ask->st, ERR_NOTFOUND,
			 "no such evidence here: `hnode evidence list` shows "
			 "what there is");
	else if (r->rows > 1)
		rpc_fail(ask->st, ERR_INPUT,
			 "several begin so: give more digits");
	else if (!row_of(r->cells, &a, &s.doc, &s.row))
		rpc_fail(ask->st, ERR_IO, "it is damaged on disk");
	else
		rpc_reply(ask->st, &s);
	arena_release(&a);
	free(ask);
}

static void serve_show(struct rpc_stream *st, const void *request, void *arg)
{
	const struct evidence_ref *q = request;
	const size_t n = q->id ? strlen(q->id) : 0;
	struct mesh *m = arg;
	char like[40];

	if (n < 4 || strspn(q->id, "0123456789abcdef") != n) {
		rpc_fail(st, ERR_INPUT,
			 "name evidence by the first digits of its id, 4 or "
			 "more: see `hnode evidence list`");
		return;
	}
	snprintf(like, sizeof(like), "%s%%", q->id);
	const struct store_val v = store_text(like);

	store_run(m->store,
		  "SELECT at, source, doc, id FROM evidence WHERE id LIKE ? "
		  "LIMIT 2",
		  &v, 1, on_shown, answer_new(m, st));
}

/* --- evidence.fetch --- */

struct fetching {
	struct mesh *m;
	struct rpc_stream *st; /* of the owner; NULL: left */
	struct rpc_stream *call;
	struct node_id peer;
	struct evidence_query q;
	struct evidence_fetched got;
	struct evidence_row *rows;
	struct arena a;
};

static void fetching_free(struct fetching *f)
{
	arena_release(&f->a);
	free(f);
}

static void fetching_fail(struct fetching *f, enum err e, const char *why)
{
	if (f->st)
		rpc_fail(f->st, e, "%s does not tell: %s", node_str(&f->peer),
			 why ? why : err_str(e));
	fetching_free(f);
}

static void fetch_next(struct fetching *f);

static void on_fetched_taken(void *arg, enum err e,
			     const struct evidence_row *row, const char *why)
{
	struct fetching *f = arg;

	if (e) {
		fetching_fail(f, e, why);
		return;
	}
	fields_copy(&evidence_row_message, row, &f->a,
		    &f->rows[f->got.rows.n++]);
	fetch_next(f);
}

static void on_fetched(void *arg, struct rpc_stream *st, enum err e,
		       const void *reply, const char *why)
{
	const struct evidence_found *r = reply;
	struct fetching *f = arg;
	struct arena a = {0};
	struct buf said = {0};
	struct evidence_doc d;
	struct evidence_row row;

	(void)st;
	f->call = NULL;
	if (e || f->m->stopping) {
		fetching_fail(f, e ? e : ERR_GONE, why);
		return;
	}
	if (r->doc.n)
		f->got.held = r->total;
	if (!r->doc.n) {
		f->got.rows.items = f->rows;
		if (f->st)
			rpc_reply(f->st, &f->got);
		fetching_free(f);
		return;
	}
	if (judge(r->doc.p, r->doc.n, &a, &d, &row, &said)) {
		log_warn("work",
			 "%s gave evidence that proves nothing: %s; ignored",
			 node_str(&f->peer), buf_str(&said));
		f->got.refused++;
		fetch_next(f);
	} else if (!memcmp(row.node, identity_id(f->m->me)->b, 32)) {
		f->got.refused++;
		fetch_next(f);
	} else {
		take(f->m, &d, &row, node_str(&f->peer), false,
		     on_fetched_taken, f);
	}
	buf_release(&said);
	arena_release(&a);
}

static void fetch_next(struct fetching *f)
{
	static const struct rpc_ops ops = {.end = on_fetched};
	struct session *s =
	    f->m->rpc ? hub_find(rpc_hub(f->m->rpc), &f->peer) : NULL;

	f->q.nth = f->got.rows.n + f->got.refused;
	if (f->q.nth >= EVIDENCE_FETCHED || !f->st) {
		f->got.rows.items = f->rows;
		if (f->st)
			rpc_reply(f->st, &f->got);
		fetching_free(f);
		return;
	}
	enum err e = s ? rpc_call(f->m->rpc, s, "evidence.get", &f->q, CALL_MS,
				  &ops, f, &f->call)
		       : ERR_GONE;
	if (e)
		fetching_fail(f, e, NULL);
}

static void on_fetch_left(void *arg, struct rpc_stream *st, enum err e,
			  const void *reply, const char *why)
{
	struct fetching *f = arg;

	(void)st, (void)e, (void)reply, (void)why;
	f->st = NULL; /* it ends at its next step */
}

static void on_fetch_session(void *arg, enum err e, struct session *s,
			     const char *why)
{
	struct fetching *f = arg;

	(void)s;
	if (e)
		fetching_fail(f, e, why);
	else
		fetch_next(f);
}

static void serve_fetch(struct rpc_stream *st, const void *request, void *arg)
{
	static const struct rpc_ops ops = {.end = on_fetch_left};
	const struct evidence_fetch *q = request;
	struct mesh *m = arg;
	struct node_id peer, about = {{0}};
	struct buf why = {0};

	enum err e = peers_find(m->peers, q->peer, &peer, &why);
	if (!e && q->about && *q->about)
		e = peers_find(m->peers, q->about, &about, &why);
	if (e) {
		rpc_fail(st, e, "%s", buf_str(&why));
		buf_release(&why);
		return;
	}
	struct fetching *f = HN_NEW(struct fetching);

	f->m = m;
	f->st = st;
	f->peer = peer;
	memcpy(f->q.node, about.b, sizeof(about.b));
	f->rows = arena_alloc(&f->a, EVIDENCE_FETCHED * sizeof(*f->rows));
	rpc_serve(st, &ops, f);
	peers_connect(m->peers, &peer, CALL_MS, on_fetch_session, f);
}

/* --- trust.pardon --- */

static void serve_pardon(struct rpc_stream *st, const void *request, void *arg)
{
	const struct peer_ref *q = request;
	struct mesh *m = arg;
	struct node_id id;
	struct buf why = {0};

	enum err e = peers_find(m->peers, q->peer, &id, &why);
	struct peer_score s = {0};
	if (!e && !jobs_barred(m->jobs, &id) &&
	    (!jobs_score(m->jobs, &id, loop_ms(m->loop), &s) ||
	     (s.score.state != SCORE_BARRED &&
	      s.score.state != SCORE_QUARANTINED))) {
		buf_printf(&why,
			   "%s is neither barred nor quarantined: nothing to "
			   "pardon",
			   node_str(&id));
		e = ERR_NOTFOUND;
	}
	if (e) {
		rpc_fail(st, e, "%s", buf_str(&why));
	} else {
		jobs_pardon(m->jobs, &id, loop_ms(m->loop));
		peers_readmit(m->peers, &id);
		service_job_kick(m);
		log_info("work", "peer %s pardoned, on probation now",
			 node_str(&id));
		rpc_reply(st, &(char){0});
	}
	buf_release(&why);
}

/* --- the whole --- */

const struct rpc_method service_trust_methods[] = {
    {.name = "evidence.get",
     .version = 1,
     .right = RIGHT_MEMBER,
     .repeatable = true,
     .request = &evidence_query_message,
     .reply = &evidence_found_message,
     .max_reply = DOC_MAX,
     .max_streams = 2,
     .serve = serve_get,
     .doc = "one document that proves a node's lie"},
    {.name = "evidence.put",
     .version = 1,
     .right = RIGHT_MEMBER,
     .repeatable = true,
     .request = &evidence_given_message,
     .max_request = DOC_MAX,
     .max_streams = 2,
     .serve = serve_put,
     .doc = "hands one to a node of the owner's network"},
    {.name = "evidence.list",
     .version = 1,
     .repeatable = true,
     .request = &message_empty,
     .reply = &evidence_list_message,
     .max_reply = DOC_MAX,
     .serve = serve_list,
     .doc = "the newest 64 documents that are held here"},
    {.name = "evidence.show",
     .version = 1,
     .repeatable = true,
     .request = &evidence_ref_message,
     .reply = &evidence_shown_message,
     .max_reply = 2 * DOC_MAX,
     .serve = serve_show,
     .doc = "one of them"},
    {.name = "evidence.add",
     .version = 1,
     .repeatable = true,
     .request = &evidence_given_message,
     .reply = &evidence_row_message,
     .max_request = DOC_MAX,
     .serve = serve_add,
     .doc = "verifies one, keeps it, and bars its node"},
    {.name = "evidence.fetch",
     .version = 1,
     .repeatable = true,
     .request = &evidence_fetch_message,
     .reply = &evidence_fetched_message,
     .max_reply = DOC_MAX,
     .serve = serve_fetch,
     .doc = "asks a peer for what it holds"},
    {.name = "trust.pardon",
     .version = 1,
     .repeatable = true,
     .request = &peer_ref_message,
     .serve = serve_pardon,
     .doc = "lets a barred or quarantined peer back, on probation"},
    {0},
};
