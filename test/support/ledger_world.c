/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "test/support/ledger_world.h"

#include "node/base/mem.h"
#include "test/support/books.h"

#include <sqlite3.h>
#include <utlist.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DISK_MS 25
#define NET_MS 60
#define TIMEOUT_MS 3000
#define RESULT_CELLS 4096

struct node;
struct event {
	uint64_t at, order;
	struct node *node;
	unsigned life; /* of the node; 0: whatever happens to it */
	void (*fn)(struct event *e);
	void *p; /* what fn takes; freed by it */
	struct event *prev, *next;
};

struct statement {
	struct node *node;
	char *sql;
	struct store_val vals[16];
	size_t n;
	store_done_fn done;
	void *arg;
	struct arena mem;
	bool run;
	struct store_result result;
	struct statement *prev, *next;
};

struct node {
	struct world *w;
	unsigned index, life;
	bool up, ticking;
	struct identity *me;
	sqlite3 *db, *copy;
	struct ledger *ledger;
	struct statement *statements;
	uint64_t disk_free_at;
	uint64_t timer; /* the order of the tick that counts */
	world_liar_fn liar;
	void *liar_arg;
	uint64_t leases; /* given out by it */
};

struct world {
	struct world_options o;
	uint64_t now, order, draws;
	struct event *events;
	struct node nodes[2];
};

uint64_t world_random(struct world *w, uint64_t below)
{
	uint64_t x = (w->o.seed << 32) + ++w->draws * 0x9e3779b97f4a7c15u;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return (x ^ (x >> 31)) % below;
}

static int by_time(const struct event *a, const struct event *b)
{
	if (a->at != b->at)
		return a->at < b->at ? -1 : 1;
	return a->order < b->order ? -1 : 1;
}

static void later(struct node *n, uint64_t ms, void (*fn)(struct event *),
		  void *p, bool whatever)
{
	struct event *e = HN_NEW(struct event);

	e->at = n->w->now + ms;
	e->order = ++n->w->order;
	e->node = n;
	e->life = whatever ? 0 : n->life;
	e->fn = fn;
	e->p = p;
	DL_INSERT_INORDER(n->w->events, e, by_time);
}

/* Disks */

static void must(sqlite3 *db, int rc)
{
	if (rc == SQLITE_OK || rc == SQLITE_DONE || rc == SQLITE_ROW)
		return;
	fprintf(stderr, "sqlite: %s\n", sqlite3_errmsg(db));
	abort();
}

static void bind(sqlite3_stmt *st, int at, const struct store_val *v)
{
	switch (v->type) {
	case STORE_NULL:
		sqlite3_bind_null(st, at);
		break;
	case STORE_INT:
		sqlite3_bind_int64(st, at, v->i);
		break;
	case STORE_REAL:
		sqlite3_bind_double(st, at, v->r);
		break;
	case STORE_TEXT:
		sqlite3_bind_text(st, at, (const char *)v->b.p, (int)v->b.n,
				  SQLITE_STATIC);
		break;
	case STORE_BLOB:
		sqlite3_bind_blob(st, at, v->b.p ? (const void *)v->b.p : "",
				  (int)v->b.n, SQLITE_STATIC);
		break;
	}
}

static struct store_val cell(struct arena *a, sqlite3_stmt *st, int i)
{
	struct store_val v = {.type = STORE_NULL};

	switch (sqlite3_column_type(st, i)) {
	case SQLITE_INTEGER:
		v.type = STORE_INT;
		v.i = sqlite3_column_int64(st, i);
		break;
	case SQLITE_TEXT:
	case SQLITE_BLOB:
		v.type = sqlite3_column_type(st, i) == SQLITE_TEXT ? STORE_TEXT
								   : STORE_BLOB;
		v.b.n = (size_t)sqlite3_column_bytes(st, i);
		uint8_t *p = arena_alloc(a, v.b.n + 1);
		if (v.b.n)
			memcpy(p, sqlite3_column_blob(st, i), v.b.n);
		v.b.p = p;
		break;
	default:
		break;
	}
	return v;
}

static void statement_run(struct statement *s)
{
	sqlite3 *db = s->node->db;
	struct store_val *cells =
	    arena_alloc(&s->mem, RESULT_CELLS * sizeof(*cells));
	sqlite3_stmt *st = NULL;
	int rc;

	must(db, sqlite3_prepare_v2(db, s->sql, -1, &st, NULL));
	assert((size_t)sqlite3_bind_parameter_count(st) == s->n);
	for (size_t i = 0; i < s->n; i++)
		bind(st, (int)i + 1, &s->vals[i]);
	s->result.cells = cells;
	s->result.columns = (size_t)sqlite3_column_count(st);
	const int before = sqlite3_total_changes(db);

	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		for (size_t i = 0; i < s->result.columns; i++)
			cells[s->result.rows * s->result.columns + i] =
			    cell(&s->mem, st, (int)i);
		s->result.rows++;
		assert((s->result.rows + 1) * s->result.columns <=
		       RESULT_CELLS);
	}
	if (rc == SQLITE_CONSTRAINT)
		s->result.err = ERR_EXISTS;
	else
		must(db, rc);
	s->result.message = rc == SQLITE_CONSTRAINT ? "a constraint" : NULL;
	if (sqlite3_total_changes(db) != before)
		s->result.changes = sqlite3_changes(db);
	sqlite3_finalize(st);
	s->run = true;
}

static void statement_end(struct statement *s)
{
	DL_DELETE(s->node->statements, s);
	if (s->done)
		s->done(&s->result, s->arg);
	arena_release(&s->mem);
	free(s->sql);
	free(s);
}

static void on_told(struct event *e)
{
	statement_end(e->p);
}

static void on_disk(struct event *e)
{
	struct statement *s = e->p;

	statement_run(s);
	later(e->node, 0, on_told, s, false);
}

static void op_run(void *arg, const char *sql, const struct store_val *vals,
		   size_t n, store_done_fn done, void *done_arg)
{
	struct node *node = arg;
	struct world *w = node->w;
	struct statement *s = HN_NEW(struct statement);

	assert(n <= HN_COUNT(s->vals));
	s->node = node;
	s->sql = xstrdup(sql);
	s->n = n;
	s->done = done;
	s->arg = done_arg;
	for (size_t i = 0; i < n; i++) {
		s->vals[i] = vals[i];
		s->vals[i].b.p =
		    arena_memdup(&s->mem, vals[i].b.p, vals[i].b.n);
	}
	DL_APPEND(node->statements, s);
	/* In order; now and then it takes its time. */
	if (node->disk_free_at < w->now)
		node->disk_free_at = w->now;
	if (!world_random(w, 4))
		node->disk_free_at += world_random(w, DISK_MS);
	later(node, node->disk_free_at - w->now, on_disk, s, false);
}

/* The clock */

static uint64_t op_now(void *arg)
{
	const struct node *n = arg;

	return n->w->now;
}

static void on_tick(struct event *e)
{
	struct node *n = e->node;

	if (e->order != n->timer)
		return; /* it was set anew */
	n->ticking = false;
	later(n, ledger_tick(n->ledger), on_tick, NULL, false);
	if (!n->ticking)
		n->timer = n->w->order;
}

static void op_kick(void *arg)
{
	struct node *n = arg;

	if (n->ticking || !n->up)
		return;
	n->ticking = true;
	later(n, 1, on_tick, NULL, false);
	n->timer = n->w->order;
}

/* The network */

struct call {
	struct node *from, *to;
	unsigned life;
	bool is_put, ended;
	struct arena mem;
	struct receipt_put put;
	struct receipt_since since;
	/* the reply */
	enum err e;
	struct receipt_head head;
	struct receipt_list list;
	unsigned refs;
};

static void call_free(struct call *c)
{
	if (--c->refs)
		return;
	arena_release(&c->mem);
	free(c);
}

static void told(struct call *c, enum err e)
{
	const struct node_id *id = identity_id(c->to->me);

	if (c->ended || !c->from->up || c->from->life != c->life)
		return;
	c->ended = true;
	if (c->is_put)
		ledger_put_done(c->from->ledger, id, e, &c->head);
	else
		ledger_since_done(c->from->ledger, id, e, &c->list);
}

static void on_timeout(struct event *e)
{
	told(e->p, ERR_TIMEOUT);
	call_free(e->p);
}

static void on_reply(struct event *e)
{
	struct call *c = e->p;

	told(c, c->e);
	call_free(c);
}

static void on_request(struct event *e)
{
	struct call *c = e->p;
	const struct node_id *id = identity_id(c->from->me);

	if (!c->to->up) {
		call_free(c);
		return;
	}
	/* The reference goes with it. */
	if (c->is_put)
		ledger_on_put(c->to->ledger, id, id, &c->put, c);
	else
		ledger_on_since(c->to->ledger, id, id, &c->since, c);
}

static void op_reply(void *arg, void *call, enum err e, const struct message *m,
		     const void *reply, const char *text)
{
	struct node *n = arg;
	struct call *c = call;

	(void)text;
	if (!n->up || world_random(n->w, 1000) < n->w->o.loss) {
		call_free(c);
		return;
	}
	c->e = e;
	if (e == OK)
		fields_copy(m, reply, &c->mem,
			    c->is_put ? (void *)&c->head : (void *)&c->list);
	later(n, world_random(n->w, NET_MS), on_reply, c, true);
}

static void send_call(struct call *c)
{
	struct world *w = c->from->w;

	c->refs = 1;
	c->life = c->from->life;
	later(c->from, TIMEOUT_MS, on_timeout, c, true);
	for (unsigned i = 0; i < 2; i++) {
		if (i && world_random(w, 1000) >= w->o.twice)
			break;
		if (world_random(w, 1000) < w->o.loss)
			continue;
		c->refs++;
		later(c->from, world_random(w, NET_MS), on_request, c, true);
	}
}

static struct call *call_new(struct node *n)
{
	struct call *c = HN_NEW(struct call);

	c->from = n;
	c->to = &n->w->nodes[!n->index];
	return c;
}

static void op_put(void *arg, const struct node_id *to,
		   const struct receipt_put *q)
{
	struct node *n = arg;
	struct call *c = call_new(n);

	assert(node_id_eq(to, identity_id(c->to->me)));
	c->is_put = true;
	fields_copy(&receipt_put_message, q, &c->mem, &c->put);
	if (n->liar)
		n->liar(n->liar_arg, &c->put, n->me);
	send_call(c);
}

static void op_since(void *arg, const struct node_id *to,
		     const struct receipt_since *q)
{
	struct call *c = call_new(arg);

	assert(node_id_eq(to, identity_id(c->to->me)));
	c->since = *q;
	send_call(c);
}

/* Nodes */

static const struct ledger_ops node_ops = {
    .run = op_run,
    .now = op_now,
    .kick = op_kick,
    .put = op_put,
    .since = op_since,
    .reply = op_reply,
};

static void on_seen(void *arg, const struct node_id *submitter, const char *job,
		    uint64_t lease, uint64_t at_ms)
{
	(void)arg, (void)submitter, (void)job, (void)lease, (void)at_ms;
}

static void on_loaded(void *arg, enum err e, const char *text)
{
	struct node *n = arg, *other = &n->w->nodes[!n->index];

	(void)text;
	assert(!e);
	if (!other->up)
		return;
	ledger_peer_up(n->ledger, identity_id(other->me),
		       identity_id(other->me));
	ledger_peer_down(other->ledger, identity_id(n->me));
	ledger_peer_up(other->ledger, identity_id(n->me), identity_id(n->me));
}

static void node_start(struct node *n)
{
	n->up = true;
	n->life++;
	n->ledger = ledger_new(&node_ops, n, n->me);
	ledger_load(n->ledger, on_seen, on_loaded, n);
}

/* What the disk has run is there; nobody hears of it. */
static void node_end(struct node *n)
{
	struct statement *s, *tmp;
	struct event *e, *etmp;

	n->up = n->ticking = false;
	ledger_stop(n->ledger);
	DL_FOREACH_SAFE (n->statements, s, tmp) {
		s->result = (struct store_result){.err = ERR_CANCELED,
						  .message = "power"};
		statement_end(s);
	}
	ledger_free(n->ledger);
	n->ledger = NULL;
	DL_FOREACH_SAFE (n->w->events, e, etmp) {
		if (e->node == n && e->life) {
			DL_DELETE(n->w->events, e);
			free(e);
		}
	}
}

static sqlite3 *database(void)
{
	sqlite3 *db = NULL;

	must(db, sqlite3_open(":memory:", &db));
	return db;
}

static void copy_db(sqlite3 *to, sqlite3 *from)
{
	sqlite3_backup *b = sqlite3_backup_init(to, "main", from, "main");

	assert(b);
	sqlite3_backup_step(b, -1);
	must(to, sqlite3_backup_finish(b));
}

struct world *world_new(const struct world_options *o)
{
	struct world *w = HN_NEW(struct world);

	w->o = *o;
	w->now = UINT64_C(1700000000000);
	for (unsigned i = 0; i < 2; i++) {
		struct node *n = &w->nodes[i];
		const uint8_t seed[32] = {(uint8_t)(i + 1)};

		n->w = w;
		n->index = i;
		n->me = identity_from_seed(seed);
		n->db = database();
		for (size_t k = 0; k < ledger_schema_count; k++)
			must(n->db, sqlite3_exec(n->db, ledger_schema[k].sql,
						 NULL, NULL, NULL));
	}
	node_start(&w->nodes[0]);
	node_start(&w->nodes[1]);
	return w;
}

void world_run(struct world *w, uint64_t ms)
{
	const uint64_t until = w->now + ms;

	while (w->events && w->events->at <= until) {
		struct event *e = w->events;

		DL_DELETE(w->events, e);
		w->now = e->at;
		e->fn(e);
		free(e);
	}
	w->now = until;
}

void world_free(struct world *w)
{
	for (unsigned i = 0; i < 2; i++)
		if (w->nodes[i].up)
			node_end(&w->nodes[i]);
	w->o.loss = 1000;
	world_run(w, 10 * TIMEOUT_MS); /* calls on their way, and returns */
	for (unsigned i = 0; i < 2; i++) {
		struct node *n = &w->nodes[i];

		if (n->up)
			node_end(n);
		sqlite3_close(n->db);
		sqlite3_close(n->copy);
		identity_free(n->me);
	}
	assert(!w->events);
	free(w);
}

static void on_back(struct event *e)
{
	if (!e->node->up)
		node_start(e->node);
}

void world_crash(struct world *w, unsigned node, uint64_t ms)
{
	struct node *n = &w->nodes[node], *other = &w->nodes[!node];

	if (!n->up)
		return;
	node_end(n);
	if (other->up)
		ledger_peer_down(other->ledger, identity_id(n->me));
	later(n, ms, on_back, NULL, true);
}

void world_snapshot(struct world *w, unsigned node)
{
	struct node *n = &w->nodes[node];

	sqlite3_close(n->copy);
	n->copy = database();
	copy_db(n->copy, n->db);
}

void world_roll_back(struct world *w, unsigned node)
{
	struct node *n = &w->nodes[node];

	assert(!n->up);
	if (n->copy)
		copy_db(n->db, n->copy);
}

/* Work */

struct answer {
	struct node *to;
	char job[16];
	uint64_t lease;
	struct node_id worker;
	struct buf text;
	uint8_t sig[64];
};

static void on_answer(struct event *e)
{
	static const uint32_t shares[] = {3, 70000, 4000000000};
	struct answer *a = e->p;
	const struct ledger_answer l = {.kind = "search",
					.job = a->job,
					.lease = a->lease,
					.worker = a->worker,
					.owner = a->worker,
					.text = {a->text.p, a->text.n},
					.sig = a->sig,
					.shares = shares,
					.nshares = HN_COUNT(shares)};

	if (a->to->up)
		ledger_answered(a->to->ledger, &l);
	buf_release(&a->text);
	free(a);
}

uint64_t world_work(struct world *w, unsigned worker, const char *job,
		    uint64_t hashes)
{
	struct node *n = &w->nodes[worker], *to = &w->nodes[!worker];
	const uint64_t lease = ++to->leases;

	if (!n->up)
		return lease;
	struct answer *a = HN_NEW(struct answer);

	a->to = to;
	a->lease = lease;
	a->worker = *identity_id(n->me);
	snprintf(a->job, sizeof(a->job), "%s", job);
	const struct bytes text = search_text(&a->text, job, lease, 0, hashes);

	identity_sign(n->me, ANSWER_PURPOSE, &text, 1, a->sig);
	ledger_served(n->ledger, identity_id(to->me), identity_id(to->me),
		      "search", text, a->sig);
	later(n, world_random(w, NET_MS), on_answer, a, true);
	return lease;
}

void world_job_ended(struct world *w, unsigned node, const char *job)
{
	if (w->nodes[node].up)
		ledger_job_ended(w->nodes[node].ledger, job);
}

void world_drop(struct world *w, unsigned node)
{
	if (w->nodes[node].up)
		ledger_dropped(w->nodes[node].ledger,
			       identity_id(w->nodes[!node].me));
}

void world_liar(struct world *w, unsigned node, world_liar_fn fn, void *arg)
{
	w->nodes[node].liar = fn;
	w->nodes[node].liar_arg = arg;
}

struct ledger *world_ledger(struct world *w, unsigned node)
{
	return w->nodes[node].ledger;
}

const struct node_id *world_id(struct world *w, unsigned node)
{
	return identity_id(w->nodes[node].me);
}

int64_t world_count(struct world *w, unsigned node, const char *sql)
{
	sqlite3 *db = w->nodes[node].db;
	sqlite3_stmt *st = NULL;

	must(db, sqlite3_prepare_v2(db, sql, -1, &st, NULL));
	must(db, sqlite3_step(st));
	const int64_t v = sqlite3_column_int64(st, 0);

	sqlite3_finalize(st);
	return v;
}

void world_export(struct world *w, unsigned node, struct audit *a)
{
	struct node *n = &w->nodes[node];
	struct receipt_export x = {.export = RECEIPT_EXPORT};
	sqlite3_stmt *st = NULL;
	struct buf line = {0};

	audit_begin(a, node ? "node 1" : "node 0");
	memcpy(x.node, identity_id(n->me), 32);
	memcpy(x.owner, identity_id(n->me), 32);
	fields_to_json(&receipt_export_message, &x, &line);
	audit_add(a, (char *)line.p, line.n);
	must(n->db, sqlite3_prepare_v2(n->db, "SELECT body FROM receipts", -1,
				       &st, NULL));
	while (sqlite3_step(st) == SQLITE_ROW) {
		struct arena mem = {0};
		struct receipt r;

		enum err e = receipt_unpack(sqlite3_column_blob(st, 0),
					    (size_t)sqlite3_column_bytes(st, 0),
					    &mem, &r);
		assert(!e);
		(void)e;
		buf_clear(&line);
		fields_to_json(&receipt_message, &r, &line);
		audit_add(a, (char *)line.p, line.n);
		arena_release(&mem);
	}
	sqlite3_finalize(st);
	buf_release(&line);
}
