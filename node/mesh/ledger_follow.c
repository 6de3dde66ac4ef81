/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The worker's side: copies of the chains that others write for our owner,
 * and what we did that is not in them yet.
 *
 * Nothing of a copy is kept here: a message reads what the table has of its
 * chain, is compared with it, and is answered when what it brought is
 * durable. A message for the same chain that came between makes the write
 * fail, and the caller asks again.
 */
#include "node/mesh/ledger_impl.h"

#include "node/base/log.h"
#include "node/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct field receipt_put_fields[] = {
    FIELD_FIXED(struct receipt_put, submitter_owner, "the caller's owner"),
    FIELD_FIXED(struct receipt_put, worker_owner, "the callee's owner"),
    FIELD_U64(struct receipt_put, oldest, 0,
	      "first number that the caller still has"),
    FIELD_LIST(struct receipt_put, receipts, LEDGER_PUT_MAX, &receipt_message,
	       "in order; none: where does your copy end?"),
};
const struct message receipt_put_message =
    MESSAGE("receipt_put", struct receipt_put, receipt_put_fields);

static const struct field receipt_head_fields[] = {
    FIELD_U64(struct receipt_head, seq, 0, "last number here; 0: none"),
    FIELD_U64(struct receipt_head, total, 0, "2^-20 credits up to it"),
    FIELD_FIXED(struct receipt_head, hash, "of the last one"),
    FIELD_U64(struct receipt_head, wrong_seq, 0,
	      "the number that is refused; 0: none"),
    FIELD_FIXED(struct receipt_head, wrong_hash, "what is here in its place"),
    FIELD_STR(struct receipt_head, why, 200, "why it is refused"),
};
const struct message receipt_head_message =
    MESSAGE("receipt_head", struct receipt_head, receipt_head_fields);

static const struct field receipt_since_fields[] = {
    FIELD_FIXED(struct receipt_since, submitter, "who writes the chain"),
    FIELD_FIXED(struct receipt_since, submitter_owner, "its owner"),
    FIELD_FIXED(struct receipt_since, worker_owner, "the workers' owner"),
    FIELD_U64(struct receipt_since, seq, 0, "only later ones"),
};
const struct message receipt_since_message =
    MESSAGE("receipt_since", struct receipt_since, receipt_since_fields);

static const struct field receipt_list_fields[] = {
    FIELD_U64(struct receipt_list, oldest, 0,
	      "first number that the callee still has"),
    FIELD_LIST(struct receipt_list, receipts, LEDGER_PUT_MAX, &receipt_message,
	       "the first of them, in order"),
};
const struct message receipt_list_message =
    MESSAGE("receipt_list", struct receipt_list, receipt_list_fields);

static void refuse(struct ledger *l, void *call, enum err e, const char *text)
{
	l->ops.reply(l->arg, call, e, NULL, NULL, text);
}

/* What we did */

struct serving {
	struct ledger *l;
	struct node_id owner;
	uint64_t credit;
};

static void on_served(const struct store_result *r, void *arg)
{
	struct serving *s = arg;

	if (!r->err && r->changes)
		account_of(s->l, &s->owner)->open += s->credit;
	free(s);
}

void ledger_served(struct ledger *l, const struct node_id *submitter,
		   const struct node_id *owner, const char *kind,
		   struct bytes text, const uint8_t sig[static 64])
{
	struct arena a = {0};
	struct buf why = {0};
	struct receipt r = {0};

	if (l->stopping || receipt_fill(&r, kind, text, &a, &why))
		goto out; /* nothing that a receipt could be about */
	const struct store_val vals[] = {
	    STORE_B(submitter, 32),  STORE_B(owner, 32),
	    store_text(r.job),	     STORE_I(r.lease),
	    STORE_I(r.credit),	     STORE_B(text.p, text.n),
	    STORE_B(sig, SIGN_SIZE), STORE_I(ledger_now(l)),
	};
	struct serving *s = HN_NEW(struct serving);

	s->l = l;
	s->owner = *owner;
	s->credit = r.credit;
	ledger_wrote(l);
	ledger_run(
	    l,
	    /* A lease that comes again after its replay is forgotten is paid
	     * once at most; it is owed all the same. */
	    "INSERT INTO served (submitter, owner, job, lease, credit, text, "
	    "sig, at, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0) ON CONFLICT "
	    "(submitter, job, lease) DO UPDATE SET credit = excluded.credit + "
	    "iif(state = 0, credit, 0), text = excluded.text, sig = "
	    "excluded.sig, at = excluded.at, state = 0",
	    vals, HN_COUNT(vals), on_served, s);
out:
	buf_release(&why);
	arena_release(&a);
}

struct paying {
	struct ledger *l;
	struct node_id owner;
	uint64_t credit;
};

static void on_paid(const struct store_result *r, void *arg)
{
	struct paying *p = arg;
	struct account *a = account_of(p->l, &p->owner);

	if (!r->err && r->changes)
		a->open -= a->open < p->credit ? a->open : p->credit;
	free(p);
}

static void paid(struct ledger *l, const struct receipt *r)
{
	const struct store_val vals[] = {STORE_B(r->submitter, 32),
					 store_text(r->job), STORE_I(r->lease),
					 STORE_B(r->answer.p, r->answer.n)};
	struct paying *p = HN_NEW(struct paying);

	p->l = l;
	p->credit = r->credit;
	memcpy(&p->owner, r->submitter_owner, 32);
	ledger_run(
	    l,
	    "UPDATE served SET state = 1 WHERE state = 0 AND submitter = ? AND "
	    "job = ? AND lease = ? AND text = ?",
	    vals, HN_COUNT(vals), on_paid, p);
}

/* receipt.put */

struct put {
	struct ledger *l;
	void *call;
	struct arena mem;
	struct node_id from;
	struct receipt_put q;
	uint8_t chain[32];
	struct chain_head head; /* of our copy */
	struct chain_head tip;	/* with what this message brings */
	size_t first, end;	/* those of its receipts that are new */
	bool base;		/* and do not follow what we have */
	size_t writing;
	enum err failed;
	struct receipt_head reply;
	char why[201];
};

static void put_free(struct put *p)
{
	arena_release(&p->mem);
	free(p);
}

static void put_reply(struct put *p)
{
	struct ledger *l = p->l;

	p->reply.seq = p->head.seq;
	p->reply.total = p->head.total;
	memcpy(p->reply.hash, p->head.hash, 32);
	l->ops.reply(l->arg, p->call, OK, &receipt_head_message, &p->reply,
		     NULL);
	put_free(p);
}

/* The submitter signed something that cannot be: it hears where. */
static void put_dispute(struct put *p, const struct receipt *r,
			const uint8_t here[static 32], const char *what)
{
	uint8_t theirs[32];

	receipt_hash(r, theirs);
	dispute(p->l, p->chain, r->seq, here, theirs, &p->from, what);
	p->reply.wrong_seq = r->seq;
	memcpy(p->reply.wrong_hash, here, 32);
	snprintf(p->why, sizeof(p->why), "%s", what);
	p->reply.why = p->why;
}

static void put_failed(struct put *p, enum err e, const char *text)
{
	refuse(p->l, p->call, e, text);
	put_free(p);
}

struct writing {
	struct put *p;
	const struct receipt *r;
};

static void on_written(const struct store_result *r, void *arg)
{
	struct writing *w = arg;
	struct put *p = w->p;
	struct ledger *l = p->l;

	if (!r->err && r->changes) {
		const uint64_t before = p->head.total;

		chain_begin(&p->head, w->r);
		account_of(l, (const void *)p->q.submitter_owner)->earned +=
		    p->head.total - before;
		l->counters.earned++;
		ledger_wrote(l);
		paid(l, w->r);
	} else if (r->err == ERR_EXISTS && !p->reply.wrong_seq) {
		put_dispute(p, w->r, (const uint8_t[32]){0},
			    "its lease was paid before");
	} else if (!p->failed) {
		p->failed = r->err ? ERR_IO : ERR_BUSY;
	}
	free(w);
	if (--p->writing)
		return;
	if (p->failed && !p->reply.wrong_seq)
		put_failed(p, p->failed,
			   p->failed == ERR_BUSY
			       ? "receipts of this chain are being written"
			       : "the receipts cannot be stored here");
	else
		put_reply(p);
}

static void put_write(struct put *p)
{
	const struct receipt *rows = p->q.receipts.items;

	p->writing = p->end - p->first;
	for (size_t i = p->first; i < p->end; i++) {
		struct writing *w = HN_NEW(struct writing);

		w->p = p;
		w->r = &rows[i];
		receipt_write(p->l, SIDE_EARNED, &rows[i],
			      p->base && i == p->first, on_written, w);
	}
}

/* What the table has of the numbers that the message speaks of. */
static const uint8_t *hash_at(const struct store_result *r, uint64_t seq)
{
	for (size_t i = 0; i < r->rows; i++) {
		const struct store_val *v = &r->cells[i * r->columns];

		if ((uint64_t)v[0].i == seq && v[2].b.n == 32)
			return v[2].b.p;
	}
	return NULL;
}

/* False: it is refused, and that is in the reply. */
static bool put_one(struct put *p, const struct receipt *r, size_t i,
		    const struct store_result *have)
{
	const uint8_t *here = hash_at(have, r->seq);
	const uint64_t last = p->tip.seq;
	uint8_t hash[32];

	receipt_hash(r, hash);
	if (here && memcmp(here, hash, 32) != 0) {
		put_dispute(p, r, here, "another receipt has this number here");
		return false;
	}
	switch (chain_follow(&p->tip, r)) {
	case CHAIN_OLD:
		p->first = i + 1;
		return true;
	case CHAIN_NEXT:
		p->end = i + 1;
		return true;
	case CHAIN_GAP:
		/* Older ones are gone over there; its total is its word. */
		if (r->seq != p->q.oldest || p->end > p->first)
			return true; /* our answer says where to begin */
		if (r->total - r->credit < p->tip.total) {
			put_dispute(p, r, p->tip.hash,
				    "its total is below what it was");
			return false;
		}
		chain_begin(&p->tip, r);
		p->base = true;
		p->first = i;
		p->end = i + 1;
		return true;
	case CHAIN_FORK:
		here = hash_at(have, last);
		put_dispute(p, r, here ? here : p->tip.hash,
			    "it does not follow the one before it here");
		return false;
	case CHAIN_TOTAL:
		put_dispute(p, r, p->tip.hash, "its total is wrong");
		return false;
	}
	return false;
}

static void on_have(const struct store_result *r, void *arg)
{
	struct put *p = arg;
	const struct receipt *rows = p->q.receipts.items;

	if (r->err) {
		put_failed(p, ERR_IO, "the receipts cannot be read here");
		return;
	}
	if (r->rows) {
		const struct store_val *v =
		    &r->cells[(r->rows - 1) * r->columns];

		p->head.seq = (uint64_t)v[0].i;
		p->head.total = (uint64_t)v[1].i;
		if (v[2].b.n == 32)
			memcpy(p->head.hash, v[2].b.p, 32);
	}
	p->tip = p->head;
	for (size_t i = 0; i < p->q.receipts.n; i++)
		if (!put_one(p, &rows[i], i, r))
			break;
	if (p->end > p->first)
		put_write(p);
	else
		put_reply(p);
}

static void put_read(struct put *p)
{
	const struct receipt *rows = p->q.receipts.items;
	const size_t n = p->q.receipts.n;
	const struct store_val vals[] = {STORE_B(p->chain, 32),
					 STORE_I(n ? rows[0].seq : 0),
					 STORE_I(n ? rows[n - 1].seq : 0)};

	ledger_run(
	    p->l,
	    "SELECT seq, total, hash FROM receipts WHERE chain = ?1 AND (seq "
	    "BETWEEN ?2 AND ?3 OR seq = (SELECT max(seq) FROM receipts WHERE "
	    "chain = ?1)) ORDER BY seq LIMIT 1000",
	    vals, HN_COUNT(vals), on_have, p);
}

/* A key that the submitter made itself has no part in our books. Where an
 * owner has several nodes, any of them may be the worker: each has a copy. */
static bool not_ours(const struct ledger *l, const struct receipt *r)
{
	const uint8_t *self = identity_id(l->me)->b;

	return !memcmp(r->worker_owner, self, 32) &&
	       memcmp(r->worker, self, 32) != 0;
}

/* Is it the caller's, for us, and true? Else it is refused: true. */
static bool put_refused(struct put *p)
{
	const struct receipt *rows = p->q.receipts.items;
	struct ledger *l = p->l;

	for (size_t i = 0; i < p->q.receipts.n; i++) {
		const struct receipt *r = &rows[i];
		struct buf why = {0};

		if (memcmp(r->submitter, &p->from, 32) != 0 ||
		    memcmp(r->submitter_owner, p->q.submitter_owner, 32) != 0 ||
		    memcmp(r->worker_owner, p->q.worker_owner, 32) != 0 ||
		    not_ours(l, r) || (i && r->seq != rows[i - 1].seq + 1)) {
			l->counters.forged++;
			put_failed(p, ERR_DENIED,
				   "a receipt of another chain, or out of "
				   "order");
			return true;
		}
		const enum err e = receipt_verify(r, &why);

		if (e == ERR_CRYPTO) {
			l->counters.forged++;
			put_failed(p, e, buf_str(&why));
		} else if (e) {
			/* It signed what it cannot have got from a worker. */
			l->counters.forged++;
			put_dispute(p, r, (const uint8_t[32]){0},
				    buf_str(&why));
			put_reply(p);
		}
		buf_release(&why);
		if (e)
			return true;
	}
	return false;
}

void ledger_on_put(struct ledger *l, const struct node_id *from,
		   const struct node_id *owner, const struct receipt_put *q,
		   void *call)
{
	const uint8_t *self = identity_id(l->me)->b;

	if (l->stopping || !l->loaded) {
		refuse(l, call, ERR_BUSY, "this node starts or stops");
		return;
	}
	/* Owners may have changed since; a node always is one of its own. */
	if ((memcmp(q->worker_owner, &l->owner, 32) != 0 &&
	     memcmp(q->worker_owner, self, 32) != 0) ||
	    (memcmp(q->submitter_owner, owner, 32) != 0 &&
	     memcmp(q->submitter_owner, from, 32) != 0)) {
		l->counters.forged++;
		refuse(l, call, ERR_DENIED,
		       "a chain is between the owners of caller and callee");
		return;
	}
	struct put *p = HN_NEW(struct put);

	p->l = l;
	p->call = call;
	p->from = *from;
	fields_copy(&receipt_put_message, q, &p->mem, &p->q);
	chain_id(from->b, q->submitter_owner, q->worker_owner, p->chain);
	if (!put_refused(p))
		put_read(p);
}

/* receipt.since */

struct since {
	struct ledger *l;
	void *call;
};

static void on_since(const struct store_result *r, void *arg)
{
	struct since *s = arg;
	struct receipt rows[LEDGER_PUT_MAX];
	struct receipt_list list = {.receipts = {rows, 0}};
	struct arena a = {0};

	if (r->err) {
		refuse(s->l, s->call, ERR_IO,
		       "the receipts cannot be read here");
		free(s);
		return;
	}
	for (size_t i = 0; i < r->rows && i < LEDGER_PUT_MAX; i++) {
		const struct store_val *v = &r->cells[i * r->columns];

		list.oldest = (uint64_t)v[1].i;
		if (!receipt_of(&v[0], &a, &rows[i]))
			break;
		list.receipts.n++;
	}
	s->l->ops.reply(s->l->arg, s->call, OK, &receipt_list_message, &list,
			NULL);
	arena_release(&a);
	free(s);
}

void ledger_on_since(struct ledger *l, const struct node_id *from,
		     const struct node_id *owner, const struct receipt_since *q,
		     void *call)
{
	uint8_t chain[32];

	if (l->stopping || !l->loaded) {
		refuse(l, call, ERR_BUSY, "this node starts or stops");
		return;
	}
	if (memcmp(q->submitter, from, 32) != 0 &&
	    memcmp(q->submitter_owner, owner, 32) != 0 &&
	    memcmp(q->worker_owner, owner, 32) != 0) {
		refuse(l, call, ERR_DENIED, "a chain is for its two sides");
		return;
	}
	chain_id(q->submitter, q->submitter_owner, q->worker_owner, chain);
	const struct store_val vals[] = {STORE_B(chain, 32), STORE_I(q->seq),
					 STORE_I(LEDGER_PUT_MAX)};
	struct since *s = HN_NEW(struct since);

	s->l = l;
	s->call = call;
	ledger_run(
	    l,
	    "SELECT body, (SELECT min(seq) FROM receipts WHERE chain = ?1) "
	    "FROM receipts WHERE chain = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
	    vals, HN_COUNT(vals), on_since, s);
}
