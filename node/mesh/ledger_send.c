/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The submitter's side towards peers: a chain is sent to each node of its
 * workers' owner that is up, from where that says its copy ends. There is no
 * list of what was sent: the answer says what has arrived. A worker that has
 * more of our chain than we do gives it back.
 */
#include "node/mesh/ledger_impl.h"

#include "node/base/log.h"
#include "node/base/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_MS 1000
#define PUSH_MS 200 /* between two messages to one peer */
#define RESTS 6	    /* a failed one waits RETRY_MS, doubling so often */
#define REST_MAX_MS ((uint64_t)RETRY_MS << RESTS)

static struct follower *follower_find(struct ledger *l,
				      const struct node_id *id)
{
	struct follower *f;

	HASH_FIND(hh, l->followers, id, sizeof(*id), f);
	return f;
}

static void rest(struct ledger *l, struct follower *f)
{
	f->next_at =
	    ledger_now(l) +
	    ((uint64_t)RETRY_MS << (f->failures < RESTS ? f->failures : RESTS));
	f->failures++;
}

struct sending {
	struct ledger *l;
	struct node_id to;
};

static void on_to_send(const struct store_result *r, void *arg)
{
	struct sending *s = arg;
	struct ledger *l = s->l;
	struct follower *f = follower_find(l, &s->to);
	struct receipt rows[LEDGER_PUT_MAX];
	struct receipt_put q = {.receipts = {rows, 0}};
	struct arena a = {0};

	free(s);
	if (!f || l->stopping)
		return;
	if (r->err) {
		f->busy = false;
		rest(l, f);
		return;
	}
	memcpy(q.submitter_owner, &l->owner, 32);
	memcpy(q.worker_owner, &f->owner, 32);
	for (size_t i = 0; i < r->rows && i < LEDGER_PUT_MAX; i++) {
		const struct store_val *v = &r->cells[i * r->columns];

		q.oldest = (uint64_t)v[1].i;
		if (!receipt_of(&v[0], &a, &rows[i])) {
			log_warn("credit", "a receipt in the books is damaged");
			break;
		}
		q.receipts.n++;
	}
	l->ops.put(l->arg, &f->id, &q);
	arena_release(&a);
}

static void send_to(struct ledger *l, struct follower *f, struct chain *c)
{
	const struct store_val vals[] = {STORE_B(c->id, 32), STORE_I(f->cursor),
					 STORE_I(LEDGER_PUT_MAX)};
	struct sending *s = HN_NEW(struct sending);

	s->l = l;
	s->to = f->id;
	f->busy = true;
	f->next_at = ledger_now(l) + PUSH_MS;
	ledger_run(
	    l,
	    "SELECT body, (SELECT min(seq) FROM receipts WHERE chain = ?1) "
	    "FROM receipts WHERE chain = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
	    vals, HN_COUNT(vals), on_to_send, s);
}

uint64_t follow_up(struct ledger *l, struct follower *f, uint64_t now)
{
	struct chain *c = ledger_chain(l, &f->owner);

	if (f->busy || f->deaf || c->state == CHAIN_READING)
		return LEDGER_NEVER;
	if (c->state == CHAIN_UNREAD) {
		ledger_chain_read(l, c);
		return LEDGER_NEVER;
	}
	if (f->known ? f->cursor >= c->head.seq
		     : !c->head.seq && (c->confirmed || !c->wanted))
		return LEDGER_NEVER;
	if (f->next_at > now && f->next_at <= now + REST_MAX_MS)
		return f->next_at;
	/* Its end alone, until we know what is missing there. */
	if (!f->known)
		f->cursor = c->head.seq ? c->head.seq - 1 : 0;
	send_to(l, f, c);
	return LEDGER_NEVER;
}

void ledger_peer_up(struct ledger *l, const struct node_id *id,
		    const struct node_id *owner)
{
	struct follower *f = follower_find(l, id);

	if (l->stopping)
		return;
	if (!f) {
		f = HN_NEW(struct follower);
		f->id = *id;
		HASH_ADD(hh, l->followers, id, sizeof(f->id), f);
	}
	f->owner = *owner;
	f->known = f->deaf = false;
	f->failures = 0;
	f->next_at = 0;
	ledger_chain_read(l, ledger_chain(l, owner));
	l->ops.kick(l->arg);
}

/* Who came, had no work from us and left leaves nothing behind. */
static void forget_chain(struct ledger *l, const struct node_id *owner)
{
	struct chain *c = ledger_chain(l, owner);
	const struct follower *f, *tmp;

	HASH_ITER (hh, l->followers, f, tmp)
		if (node_id_eq(&f->owner, owner))
			return;
	if (c->wanted || c->head.seq || c->tip.seq)
		return;
	HASH_DEL(l->chains, c);
	free(c);
}

void ledger_peer_down(struct ledger *l, const struct node_id *id)
{
	struct follower *f = follower_find(l, id);

	if (!f)
		return;
	const struct node_id owner = f->owner;

	HASH_DEL(l->followers, f);
	free(f);
	forget_chain(l, &owner);
}

static void ask_back(struct ledger *l, struct follower *f, struct chain *c)
{
	struct receipt_since q = {.seq = c->head.seq};

	memcpy(q.submitter, identity_id(l->me), 32);
	memcpy(q.submitter_owner, &l->owner, 32);
	memcpy(q.worker_owner, &f->owner, 32);
	f->busy = true;
	l->ops.since(l->arg, &f->id, &q);
}

static void on_refusal(struct ledger *l, struct follower *f, struct chain *c,
		       const struct receipt_head *h)
{
	/* Ours at that number is what it refused. */
	dispute(l, c->id, h->wrong_seq,
		h->wrong_seq == c->head.seq ? c->head.hash
					    : (const uint8_t[32]){0},
		h->wrong_hash, &f->id, h->why ? h->why : "refused");
	f->deaf = true; /* until it comes again */
	ledger_confirm(l, c);
}

void ledger_put_done(struct ledger *l, const struct node_id *from, enum err e,
		     const struct receipt_head *h)
{
	struct follower *f = follower_find(l, from);

	if (!f || !f->busy || l->stopping)
		return;
	struct chain *c = ledger_chain(l, &f->owner);

	f->busy = false;
	if (e) {
		rest(l, f);
		f->deaf = e == ERR_NOMETHOD;
		if (f->deaf)
			ledger_confirm(l, c);
	} else if (h->wrong_seq) {
		on_refusal(l, f, c, h);
	} else if (c->state != CHAIN_READ) {
		rest(l, f);
	} else if (h->seq > c->head.seq && c->tip.seq != c->head.seq) {
		f->known = false; /* asked again when all is written */
		f->next_at = ledger_now(l) + PUSH_MS;
	} else if (h->seq > c->head.seq) {
		/* It has more than we remember. */
		f->told = h->seq;
		ask_back(l, f, c);
		return;
	} else {
		/* Standing still is no reason to send it all again at once. */
		if (f->known && h->seq <= f->cursor)
			rest(l, f);
		else
			f->failures = 0;
		f->known = true;
		f->cursor = h->seq;
		ledger_confirm(l, c);
	}
	l->ops.kick(l->arg);
}

/* What a worker holds against us, signed by us: how much of it goes on from
 * what we have. Written; true if there may be more. */
static bool restore(struct ledger *l, struct chain *c, const struct node_id *by,
		    const struct receipt_list *got)
{
	const struct receipt *rows = got->receipts.items;
	bool more = false;

	for (size_t i = 0; i < got->receipts.n; i++) {
		const struct receipt *r = &rows[i];
		struct buf why = {0};
		uint8_t id[32], hash[32];
		bool base = false;

		receipt_chain(r, id);
		const enum err e = receipt_verify(r, &why);

		buf_release(&why);
		if (e || memcmp(id, c->id, 32) != 0)
			return false; /* made up: none of ours */
		switch (chain_follow(&c->tip, r)) {
		case CHAIN_OLD:
			continue;
		case CHAIN_NEXT:
			break;
		case CHAIN_GAP:
			base = i == 0 && r->seq == got->oldest;
			if (!base)
				return more;
			chain_begin(&c->tip, r);
			break;
		case CHAIN_FORK:
		case CHAIN_TOTAL:
			receipt_hash(r, hash);
			dispute(l, c->id, r->seq, c->tip.hash, hash, by,
				"this node signed two receipts of one number");
			return false;
		}
		ledger_issue(l, c, r, base, true);
		more = true;
	}
	return more;
}

void ledger_since_done(struct ledger *l, const struct node_id *from, enum err e,
		       const struct receipt_list *got)
{
	struct follower *f = follower_find(l, from);

	if (!f || !f->busy || l->stopping)
		return;
	struct chain *c = ledger_chain(l, &f->owner);

	f->busy = false;
	f->known = false;
	if (e || c->state != CHAIN_READ) {
		rest(l, f);
	} else if (restore(l, c, from, got)) {
		log_info("credit",
			 "%s has receipts of ours that are lost here: restored "
			 "up to number %" PRIu64,
			 node_str(from), c->tip.seq);
		/* The next put asks where it is. */
		f->next_at = ledger_now(l) + PUSH_MS;
	} else if (c->tip.seq < f->told) {
		log_warn("credit",
			 "%s says that it has %" PRIu64 " receipts of ours and "
			 "cannot show them",
			 node_str(from), f->told);
		f->deaf = true;
		ledger_confirm(l, c);
	}
	l->ops.kick(l->arg);
}
