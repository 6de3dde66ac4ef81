/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What waits is on disk, not here: a tick reads the answers that are due, at
 * most DUE_MAX, and writes their receipts; only when all of these are durable
 * the next are read. A write that fails makes the chain unread, and its head
 * is read from disk again. Each receipt is written on the condition that its
 * predecessor is there, so a hole cannot come to be, whatever fails.
 */
#include "node/mesh/ledger_impl.h"

#include "node/base/log.h"
#include "node/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DUE_MAX 64
#define RETRY_MS 1000
#define POSTPONE_MS 60000 /* answers for an owner that is not here */
#define TIDY_MS (UINT64_C(3600) * 1000)
#define TIDY_ROWS 4096 /* that peers made us write: not in an hour's time */
#define SEEN_MS (UINT64_C(3600) * 1000)
#define SEEN_MAX 8192
#define ACCOUNTS_MAX 5000

enum answer_state { ANSWER_WAITS, ANSWER_PAID, ANSWER_REFUSED };

const struct store_schema ledger_schema[] = {
    {"ledger", 1,
     /* state: enum answer_state */
     "CREATE TABLE answers (n INTEGER PRIMARY KEY, job TEXT NOT NULL,"
     " lease INTEGER NOT NULL, worker BLOB NOT NULL, owner BLOB NOT NULL,"
     " kind TEXT NOT NULL, text BLOB NOT NULL, sig BLOB NOT NULL,"
     " shares BLOB NOT NULL, at INTEGER NOT NULL, due INTEGER NOT NULL,"
     " state INTEGER NOT NULL, UNIQUE (job, lease));"
     "CREATE INDEX answers_due ON answers (state, due);"
     /* side: enum ledger_side; other: the other owner */
     "CREATE TABLE receipts (n INTEGER PRIMARY KEY, side INTEGER NOT NULL,"
     " chain BLOB NOT NULL, seq INTEGER NOT NULL, other BLOB NOT NULL,"
     " submitter BLOB NOT NULL, job TEXT NOT NULL, lease INTEGER NOT NULL,"
     " credit INTEGER NOT NULL, total INTEGER NOT NULL, hash BLOB NOT NULL,"
     " at INTEGER NOT NULL, body BLOB NOT NULL, UNIQUE (chain, seq),"
     " UNIQUE (submitter, job, lease));"
     /* One change: with its receipt an answer is paid. */
     "CREATE TRIGGER receipts_pay AFTER INSERT ON receipts WHEN NEW.side = 0"
     " BEGIN UPDATE answers SET state = 1 WHERE job = NEW.job AND"
     " lease = NEW.lease; END;"
     /* What we did for others; state 1: its receipt is here */
     "CREATE TABLE served (n INTEGER PRIMARY KEY, submitter BLOB NOT NULL,"
     " owner BLOB NOT NULL, job TEXT NOT NULL, lease INTEGER NOT NULL,"
     " credit INTEGER NOT NULL, text BLOB NOT NULL, sig BLOB NOT NULL,"
     " at INTEGER NOT NULL, state INTEGER NOT NULL,"
     " UNIQUE (submitter, job, lease));"
     "CREATE TABLE disputes (n INTEGER PRIMARY KEY, chain BLOB NOT NULL,"
     " seq INTEGER NOT NULL, ours BLOB NOT NULL, theirs BLOB NOT NULL,"
     " peer BLOB NOT NULL, what TEXT NOT NULL, at INTEGER NOT NULL,"
     " UNIQUE (chain, seq, theirs, what))"},
};
const size_t ledger_schema_count = HN_COUNT(ledger_schema);

/* The list of an answer, as the table has it. */
struct share_list {
	struct u32s shares;
};
static const struct field share_list_fields[] = {
    FIELD_U32S(struct share_list, shares, 1u << 17, "all that it lists"),
};
static const struct message share_list_message =
    MESSAGE("share_list", struct share_list, share_list_fields);

/* Small things */

uint64_t ledger_now(const struct ledger *l)
{
	return l->ops.now(l->arg);
}

static struct store_val blob(const void *p, size_t n)
{
	return STORE_B(p, n);
}

static void due_from(struct ledger *l, uint64_t at)
{
	if (at < l->due_at)
		l->due_at = at;
	l->ops.kick(l->arg);
}

struct account *account_of(struct ledger *l, const struct node_id *owner)
{
	struct account *a;

	HASH_FIND(hh, l->accounts, owner, sizeof(*owner), a);
	if (a)
		return a;
	a = HN_NEW(struct account);
	a->owner = *owner;
	HASH_ADD(hh, l->accounts, owner, sizeof(a->owner), a);
	return a;
}

uint64_t ledger_owed(const struct ledger *l, const struct node_id *owner)
{
	struct account *a;

	HASH_FIND(hh, l->accounts, owner, sizeof(*owner), a);
	if (!a || a->earned + a->open <= a->spent)
		return 0;
	return a->earned + a->open - a->spent;
}

bool ledger_ours(const struct ledger *l, const struct node_id *owner)
{
	return node_id_eq(owner, &l->owner);
}

const struct ledger_counters *ledger_counters(const struct ledger *l)
{
	return &l->counters;
}

bool receipt_of(const struct store_val *v, struct arena *a, struct receipt *out)
{
	return v->type == STORE_BLOB &&
	       receipt_unpack(v->b.p, v->b.n, a, out) == OK;
}

void receipt_write(struct ledger *l, enum ledger_side side,
		   const struct receipt *r, bool base, store_done_fn done,
		   void *arg)
{
	uint8_t chain[32], hash[32];
	struct buf body = {0};

	receipt_chain(r, chain);
	receipt_hash(r, hash);
	receipt_pack(r, &body);
	const struct store_val vals[] = {
	    STORE_I(side),
	    blob(chain, 32),
	    STORE_I(r->seq),
	    blob(side == SIDE_ISSUED ? r->worker_owner : r->submitter_owner,
		 32),
	    blob(r->submitter, 32),
	    store_text(r->job),
	    STORE_I(r->lease),
	    STORE_I(r->credit),
	    STORE_I(r->total),
	    blob(hash, 32),
	    STORE_I(ledger_now(l)),
	    blob(body.p, body.n),
	    STORE_I(base),
	    blob(r->prev, 32),
	};
	ledger_run(
	    l,
	    "INSERT INTO receipts (side, chain, seq, other, submitter, job, "
	    "lease, credit, total, hash, at, body) SELECT ?1, ?2, ?3, ?4, ?5, "
	    "?6, ?7, ?8, ?9, ?10, ?11, ?12 WHERE NOT EXISTS (SELECT 1 FROM "
	    "receipts WHERE chain = ?2 AND seq >= ?3) AND (?13 OR ?3 = 1 OR "
	    "EXISTS (SELECT 1 FROM receipts WHERE chain = ?2 AND seq = ?3 - 1 "
	    "AND hash = ?14))",
	    vals, HN_COUNT(vals), done, arg);
	buf_release(&body);
}

void ledger_wrote(struct ledger *l)
{
	if (++l->written < TIDY_ROWS)
		return;
	l->tidy_at = 0;
	l->ops.kick(l->arg);
}

void dispute(struct ledger *l, const uint8_t chain[static 32], uint64_t seq,
	     const uint8_t ours[static 32], const uint8_t theirs[static 32],
	     const struct node_id *peer, const char *what)
{
	const struct store_val vals[] = {
	    blob(chain, 32),	    STORE_I(seq),   blob(ours, 32),
	    blob(theirs, 32),	    blob(peer, 32), store_text(what),
	    STORE_I(ledger_now(l)),
	};
	static struct log_gate gate;

	l->counters.disputes++;
	ledger_wrote(l);
	log_every(&gate, 1000, LOG_WARN, "credit",
		  "receipts: no agreement with %s about number %" PRIu64
		  " of chain %.16s: %s; ours %.16s, theirs %.16s; see `hnode "
		  "credits`",
		  node_str(peer), seq, node_hex((const void *)chain),
		  log_quote(what), node_hex((const void *)ours),
		  node_hex((const void *)theirs));
	ledger_run(
	    l,
	    "INSERT OR IGNORE INTO disputes (chain, seq, ours, theirs, peer, "
	    "what, at) VALUES (?1, ?2, coalesce((SELECT hash FROM receipts "
	    "WHERE chain = ?1 AND seq = ?2), ?3), ?4, ?5, ?6, ?7)",
	    vals, HN_COUNT(vals), NULL, NULL);
}

/* Answers */

static void on_answer_stored(const struct store_result *r, void *arg)
{
	struct ledger *l = arg;

	if (!r->err && r->changes) {
		l->counters.answers++;
		return;
	}
	l->counters.answers_lost++;
	if (r->err)
		log_warn("credit",
			 "an answer could not be stored, its worker gets no "
			 "receipt for it: %s",
			 r->message);
}

static void chain_ready(struct ledger *l, const struct node_id *owner);

void ledger_answered(struct ledger *l, const struct ledger_answer *a)
{
	const uint64_t now = ledger_now(l);
	struct share_list list = {
	    {(uint32_t *)(uintptr_t)a->shares, a->nshares}};
	struct buf shares = {0};

	if (l->stopping || a->text.n > RECEIPT_ANSWER_MAX)
		return;
	fields_pack(&share_list_message, &list, &shares);
	const struct store_val vals[] = {
	    store_text(a->job),
	    STORE_I(a->lease),
	    blob(&a->worker, 32),
	    blob(&a->owner, 32),
	    store_text(a->kind),
	    blob(a->text.p, a->text.n),
	    blob(a->sig, SIGN_SIZE),
	    blob(shares.p, shares.n),
	    STORE_I(now),
	    STORE_I(now + LEDGER_ACCEPT_MS),
	    STORE_I(ANSWER_WAITS),
	};
	ledger_run(
	    l,
	    "INSERT OR IGNORE INTO answers (job, lease, worker, owner, kind, "
	    "text, sig, shares, at, due, state) VALUES (?, ?, ?, ?, ?, ?, ?, "
	    "?, ?, ?, ?)",
	    vals, HN_COUNT(vals), on_answer_stored, l);
	buf_release(&shares);
	chain_ready(l, &a->owner);
	due_from(l, now + LEDGER_ACCEPT_MS);
}

static void on_ended(const struct store_result *r, void *arg)
{
	if (!r->err && r->changes)
		due_from(arg, 0);
}

void ledger_job_ended(struct ledger *l, const char *job)
{
	const struct store_val id = store_text(job);

	if (!l->stopping)
		ledger_run(
		    l, "UPDATE answers SET due = 0 WHERE state = 0 AND job = ?",
		    &id, 1, on_ended, l);
}

static void on_refused(const struct store_result *r, void *arg)
{
	struct ledger *l = arg;

	if (!r->err)
		l->counters.answers_refused += (uint64_t)r->changes;
}

void ledger_dropped(struct ledger *l, const struct node_id *worker)
{
	const struct store_val id = blob(worker, 32);

	/* What was read before this must not be paid after it. */
	l->stale |= l->fetching;
	ledger_run(
	    l, "UPDATE answers SET state = 2 WHERE state = 0 AND worker = ?",
	    &id, 1, on_refused, l);
}

struct finding {
	ledger_answer_fn done;
	void *arg;
};

static void on_found(const struct store_result *r, void *arg)
{
	struct finding *f = arg;
	struct ledger_answer a = {0};
	struct share_list list = {0};
	struct arena mem = {0};
	bool good = !r->err && r->rows;

	if (good) {
		const struct store_val *v = r->cells;

		good = v[2].b.n == 32 && v[3].b.n == 32 &&
		       v[6].b.n == SIGN_SIZE &&
		       !fields_unpack(&share_list_message, v[7].b.p, v[7].b.n,
				      &mem, &list);
		if (good) {
			a.job = (const char *)v[0].b.p;
			a.lease = (uint64_t)v[1].i;
			memcpy(&a.worker, v[2].b.p, 32);
			memcpy(&a.owner, v[3].b.p, 32);
			a.kind = (const char *)v[4].b.p;
			a.text = v[5].b;
			a.sig = v[6].b.p;
			a.shares = list.shares.items;
			a.nshares = list.shares.n;
		}
	}
	f->done(f->arg, good ? &a : NULL);
	arena_release(&mem);
	free(f);
}

void ledger_find_answer(struct ledger *l, const char *job, uint64_t lease,
			ledger_answer_fn done, void *arg)
{
	const struct store_val vals[] = {store_text(job), STORE_I(lease)};
	struct finding *f = HN_NEW(struct finding);

	f->done = done;
	f->arg = arg;
	ledger_run(
	    l,
	    "SELECT job, lease, worker, owner, kind, text, sig, shares FROM "
	    "answers WHERE job = ? AND lease = ?",
	    vals, HN_COUNT(vals), on_found, f);
}

/* Chains that we write */

struct chain *ledger_chain(struct ledger *l, const struct node_id *owner)
{
	struct chain *c;
	uint8_t id[32];

	chain_id(identity_id(l->me)->b, l->owner.b, owner->b, id);
	HASH_FIND(hh, l->chains, id, sizeof(id), c);
	if (c)
		return c;
	c = HN_NEW(struct chain);
	memcpy(c->id, id, 32);
	c->owner = *owner;
	HASH_ADD(hh, l->chains, id, sizeof(c->id), c);
	return c;
}

struct reading {
	struct ledger *l;
	uint8_t chain[32];
};

/* Answers that were put off for it are due again. */
static void revive(struct ledger *l, struct chain *c)
{
	const struct store_val vals[] = {STORE_I(LEDGER_ACCEPT_MS),
					 blob(&c->owner, 32)};

	c->wanted = false;
	ledger_run(
	    l,
	    "UPDATE answers SET due = at + ? WHERE state = 0 AND owner = ? "
	    "AND due > 0",
	    vals, HN_COUNT(vals), NULL, NULL);
	due_from(l, 0);
}

void ledger_confirm(struct ledger *l, struct chain *c)
{
	c->confirmed = true;
	if (c->wanted)
		revive(l, c);
}

static void on_head(const struct store_result *r, void *arg)
{
	struct reading *q = arg;
	struct ledger *l = q->l;
	struct chain *c;

	HASH_FIND(hh, l->chains, q->chain, sizeof(q->chain), c);
	free(q);
	if (!c)
		return;
	c->state = CHAIN_UNREAD;
	if (r->err)
		return; /* the next answer or peer asks again */
	c->head = (struct chain_head){0};
	if (r->rows && r->cells[2].b.n == 32) {
		c->head.seq = (uint64_t)r->cells[0].i;
		c->head.total = (uint64_t)r->cells[1].i;
		memcpy(c->head.hash, r->cells[2].b.p, 32);
	}
	c->tip = c->head;
	c->state = CHAIN_READ;
	if (c->confirmed && c->wanted)
		revive(l, c);
	l->ops.kick(l->arg);
}

void ledger_chain_read(struct ledger *l, struct chain *c)
{
	const struct store_val id = blob(c->id, 32);
	struct reading *q;

	if (c->state != CHAIN_UNREAD || l->stopping)
		return;
	c->state = CHAIN_READING;
	q = HN_NEW(struct reading);
	q->l = l;
	memcpy(q->chain, c->id, 32);
	ledger_run(
	    l,
	    "SELECT seq, total, hash FROM receipts WHERE chain = ? ORDER BY "
	    "seq DESC LIMIT 1",
	    &id, 1, on_head, q);
}

static void chain_ready(struct ledger *l, const struct node_id *owner)
{
	struct chain *c = ledger_chain(l, owner);

	if (c->state == CHAIN_READ && c->confirmed)
		return;
	c->wanted = true;
	ledger_chain_read(l, c);
}

/* Issuing */

struct issue {
	struct ledger *l;
	struct node_id owner;
	uint8_t chain[32];
	struct chain_head head; /* when it is on disk */
	bool ours;		/* restored, not new */
};

static void issued_all(struct ledger *l, bool failed)
{
	if (--l->writing && !failed)
		return;
	due_from(l, failed ? ledger_now(l) + RETRY_MS : 0);
}

static void on_issued(const struct store_result *r, void *arg)
{
	struct issue *i = arg;
	struct ledger *l = i->l;
	const bool failed = r->err || !r->changes;
	struct chain *c;

	HASH_FIND(hh, l->chains, i->chain, sizeof(i->chain), c);
	if (c && failed && c->state == CHAIN_READ) {
		c->state = CHAIN_UNREAD;
		c->wanted = true;
		ledger_chain_read(l, c);
	} else if (c && !failed) {
		/* After a hole the total has more than this one in it. */
		account_of(l, &i->owner)->spent +=
		    i->head.total - c->head.total;
		c->head = i->head;
	}
	if (failed && r->err && r->err != ERR_CANCELED)
		log_warn("credit", "a receipt could not be written: %s",
			 r->message);
	if (!failed) {
		l->counters.issued += !i->ours;
		l->counters.restored += i->ours;
	}
	free(i);
	issued_all(l, failed);
}

void ledger_issue(struct ledger *l, struct chain *c, const struct receipt *r,
		  bool base, bool ours)
{
	struct issue *i = HN_NEW(struct issue);

	i->l = l;
	i->owner = c->owner;
	memcpy(i->chain, c->id, 32);
	i->head = c->tip;
	i->ours = ours;
	l->writing++;
	receipt_write(l, SIDE_ISSUED, r, base, on_issued, i);
}

static void postpone(struct ledger *l, const struct node_id *owner,
		     uint64_t now)
{
	const struct store_val vals[] = {STORE_I(now + POSTPONE_MS),
					 blob(owner, 32), STORE_I(now)};

	ledger_run(
	    l,
	    "UPDATE answers SET due = ? WHERE state = 0 AND owner = ? AND due "
	    "<= ?",
	    vals, HN_COUNT(vals), NULL, NULL);
}

/* It can never be paid: its text says no work that we know. */
static void refuse(struct ledger *l, const struct store_val *v)
{
	const struct store_val vals[] = {v[1], v[2]};

	ledger_run(l,
		   "UPDATE answers SET state = 2 WHERE job = ? AND lease = ?",
		   vals, HN_COUNT(vals), on_refused, l);
}

/* v: kind, job, lease, worker, owner, text, sig, due. */
static void issue_one(struct ledger *l, const struct store_val *v, uint64_t now)
{
	struct arena a = {0};
	struct buf why = {0};
	struct receipt r = {.time_ms = now};

	if (v[3].b.n != 32 || v[4].b.n != 32 || v[6].b.n != SIGN_SIZE ||
	    receipt_fill(&r, (const char *)v[0].b.p, v[5].b, &a, &why)) {
		log_warn("credit", "an answer in the books is damaged: %s",
			 why.n ? buf_str(&why) : "its row");
		refuse(l, v);
		goto out;
	}
	struct chain *c = ledger_chain(l, (const void *)v[4].b.p);

	if (c->state != CHAIN_READ || !c->confirmed) {
		chain_ready(l, &c->owner);
		postpone(l, &c->owner, now);
		goto out;
	}
	memcpy(r.mesh_id, l->mesh_id, 32);
	memcpy(r.worker, v[3].b.p, 32);
	memcpy(r.worker_owner, v[4].b.p, 32);
	memcpy(r.submitter_owner, &l->owner, 32);
	memcpy(r.answer_sig, v[6].b.p, SIGN_SIZE);
	if (receipt_sign(&r, &c->tip, l->me)) {
		refuse(l, v);
		goto out;
	}
	chain_begin(&c->tip, &r);
	ledger_issue(l, c, &r, false, false);
out:
	buf_release(&why);
	arena_release(&a);
}

static void on_due(const struct store_result *r, void *arg)
{
	struct ledger *l = arg;
	const uint64_t now = ledger_now(l);
	bool more = false;

	l->fetching = false;
	if (l->stopping)
		return;
	if (r->err || l->stale) {
		due_from(l, l->stale ? 0 : now + RETRY_MS);
		l->stale = false;
		return;
	}
	for (size_t i = 0; i < r->rows; i++) {
		const struct store_val *v = &r->cells[i * r->columns];
		const uint64_t due = (uint64_t)v[7].i;

		/* Later than anything is put off: the clock went back. */
		if (due > now && due <= now + 2 * POSTPONE_MS) {
			due_from(l, due);
			break;
		}
		issue_one(l, v, now);
		more = true;
	}
	if (more && !l->writing)
		due_from(l, now + 1);
}

static void fetch_due(struct ledger *l)
{
	const struct store_val max = STORE_I(DUE_MAX);

	l->fetching = true;
	l->due_at = LEDGER_NEVER;
	ledger_run(
	    l,
	    "SELECT kind, job, lease, worker, owner, text, sig, due FROM "
	    "answers WHERE state = 0 ORDER BY due LIMIT ?",
	    &max, 1, on_due, l);
}

/* The whole */

static void tidy(struct ledger *l, uint64_t now)
{
	const struct store_val old = STORE_I(now - LEDGER_KEPT_MS);
	const struct store_val answers[] = {STORE_I(now - LEDGER_ANSWER_MS),
					    STORE_I(LEDGER_KEPT_ANSWERS)};
	const struct store_val receipts[] = {old,
					     STORE_I(LEDGER_KEPT_RECEIPTS)};
	const struct store_val served[] = {old, STORE_I(now - SEEN_MS),
					   STORE_I(LEDGER_KEPT_SERVED)};
	const struct store_val disputes = STORE_I(LEDGER_KEPT_DISPUTES);

	l->tidy_at = now + TIDY_MS;
	l->written = 0;
	ledger_run(
	    l,
	    "DELETE FROM answers WHERE state <> 0 AND (at < ? OR n <= (SELECT "
	    "max(n) FROM answers) - ?)",
	    answers, HN_COUNT(answers), NULL, NULL);
	ledger_run(l, "DELETE FROM answers WHERE at < ?", &old, 1, NULL, NULL);
	ledger_run(
	    l,
	    "DELETE FROM receipts WHERE (at < ? OR n <= (SELECT max(n) FROM "
	    "receipts) - ?) AND seq < (SELECT max(r.seq) FROM receipts r WHERE "
	    "r.chain = receipts.chain)",
	    receipts, HN_COUNT(receipts), NULL, NULL);
	ledger_run(
	    l,
	    "DELETE FROM served WHERE at < ? OR (state = 1 AND at < ?) OR n <= "
	    "(SELECT max(n) FROM served) - ?",
	    served, HN_COUNT(served), NULL, NULL);
	ledger_run(
	    l,
	    "DELETE FROM disputes WHERE n <= (SELECT max(n) FROM disputes) - ?",
	    &disputes, 1, NULL, NULL);
}

uint64_t ledger_tick(struct ledger *l)
{
	const uint64_t now = ledger_now(l);
	uint64_t next = TIDY_MS;
	struct follower *f, *tmp;

	if (!l->loaded || l->stopping)
		return next;
	if (now >= l->tidy_at || l->tidy_at > now + TIDY_MS)
		tidy(l, now);
	if (!l->fetching && !l->writing && l->due_at <= now)
		fetch_due(l);
	else if (l->due_at != LEDGER_NEVER && l->due_at > now &&
		 l->due_at - now < next)
		next = l->due_at - now;
	HASH_ITER (hh, l->followers, f, tmp) {
		const uint64_t at = follow_up(l, f, now);

		if (at != LEDGER_NEVER && at - now < next)
			next = at - now;
	}
	return next;
}

static void on_loaded(struct ledger *l, enum err e, const char *text)
{
	if (l->stopping)
		return;
	l->loaded = !e;
	if (!e)
		l->ops.kick(l->arg);
	l->done(l->done_arg, e, text);
}

static void on_waiting(const struct store_result *r, void *arg)
{
	struct ledger *l = arg;

	if (!r->err && r->rows && r->cells[0].type == STORE_INT)
		due_from(l, (uint64_t)r->cells[0].i);
	on_loaded(l, r->err, r->message);
}

static void on_seen(const struct store_result *r, void *arg)
{
	struct ledger *l = arg;

	for (size_t i = 0; !r->err && i < r->rows; i++) {
		const struct store_val *v = &r->cells[i * r->columns];

		if (v[0].b.n == 32 && v[1].type == STORE_TEXT)
			l->seen(l->done_arg, (const void *)v[0].b.p,
				(const char *)v[1].b.p, (uint64_t)v[2].i,
				(uint64_t)v[3].i);
	}
}

static void on_open(const struct store_result *r, void *arg)
{
	struct ledger *l = arg;

	for (size_t i = 0; !r->err && i < r->rows; i++) {
		const struct store_val *v = &r->cells[i * r->columns];

		if (v[0].b.n == 32)
			account_of(l, (const void *)v[0].b.p)->open =
			    (uint64_t)v[1].i;
	}
}

static void on_sums(const struct store_result *r, void *arg)
{
	struct ledger *l = arg;

	for (size_t i = 0; !r->err && i < r->rows; i++) {
		const struct store_val *v = &r->cells[i * r->columns];

		if (v[1].b.n != 32)
			continue;
		struct account *a = account_of(l, (const void *)v[1].b.p);

		if (v[0].i == SIDE_ISSUED)
			a->spent = (uint64_t)v[2].i;
		else
			a->earned = (uint64_t)v[2].i;
	}
}

void ledger_load(struct ledger *l, ledger_seen_fn seen, ledger_load_fn done,
		 void *arg)
{
	const struct store_val max = STORE_I(ACCOUNTS_MAX);
	const struct store_val lately[] = {STORE_I(ledger_now(l) - SEEN_MS),
					   STORE_I(SEEN_MAX)};

	l->seen = seen;
	l->done = done;
	l->done_arg = arg;
	ledger_run(
	    l,
	    "SELECT side, other, CAST(total(total) AS INTEGER) FROM (SELECT "
	    "side, other, total, "
	    "max(seq) FROM receipts GROUP BY chain) GROUP BY side, other LIMIT "
	    "?",
	    &max, 1, on_sums, l);
	/* Between a receipt and this mark a crash may have come. */
	ledger_run(
	    l,
	    "UPDATE served SET state = 1 WHERE state = 0 AND EXISTS (SELECT 1 "
	    "FROM receipts r WHERE r.submitter = served.submitter AND r.job = "
	    "served.job AND r.lease = served.lease AND instr(r.body, "
	    "served.text))",
	    NULL, 0, NULL, NULL);
	ledger_run(
	    l,
	    "SELECT owner, sum(credit) FROM served WHERE state = 0 GROUP BY "
	    "owner LIMIT ?",
	    &max, 1, on_open, l);
	ledger_run(
	    l,
	    "SELECT submitter, job, lease, at FROM served WHERE at > ? ORDER "
	    "BY n DESC LIMIT ?",
	    lately, HN_COUNT(lately), on_seen, l);
	ledger_run(l, "SELECT min(due) FROM answers WHERE state = 0", NULL, 0,
		   on_waiting, l);
}

struct ledger *ledger_new(const struct ledger_ops *ops, void *arg,
			  const struct identity *me)
{
	struct ledger *l = HN_NEW(struct ledger);

	l->ops = *ops;
	l->arg = arg;
	l->me = me;
	l->owner = *identity_id(me);
	l->due_at = LEDGER_NEVER;
	return l;
}

void ledger_set_owner(struct ledger *l, const uint8_t owner[static 32],
		      const uint8_t mesh_id[static 32])
{
	memcpy(&l->owner, owner, 32);
	memcpy(l->mesh_id, mesh_id, 32);
}

void ledger_stop(struct ledger *l)
{
	l->stopping = true;
}

void ledger_free(struct ledger *l)
{
	struct chain *c, *ctmp;
	struct follower *f, *ftmp;
	struct account *a, *atmp;

	if (!l)
		return;
	HASH_ITER (hh, l->chains, c, ctmp) {
		HASH_DEL(l->chains, c);
		free(c);
	}
	HASH_ITER (hh, l->followers, f, ftmp) {
		HASH_DEL(l->followers, f);
		free(f);
	}
	HASH_ITER (hh, l->accounts, a, atmp) {
		HASH_DEL(l->accounts, a);
		free(a);
	}
	free(l);
}
