/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_LEDGER_IMPL_H
#define HN_MESH_LEDGER_IMPL_H

#include "node/mesh/ledger.h"

#include <uthash.h>

/* What ledger.c (issuing, and the whole), ledger_send.c (towards workers) and
 * ledger_follow.c (the worker's side) share. */

/* A chain that we write. */
struct chain {
	uint8_t id[32];
	struct node_id owner; /* of the workers */
	enum { CHAIN_UNREAD, CHAIN_READING, CHAIN_READ } state;
	struct chain_head head; /* on disk */
	struct chain_head tip;	/* with what is being written */
	/* A node of that owner said, since our start, where its copy ends. */
	bool confirmed;
	bool wanted; /* answers wait for it */
	UT_hash_handle hh;
};

/* A peer that is up. */
struct follower {
	struct node_id id, owner;
	bool busy;	 /* a call to it is under way */
	bool deaf;	 /* it has no such method */
	bool known;	 /* it said where its copy ends */
	uint64_t cursor; /* there */
	uint64_t next_at;
	unsigned failures;
	uint64_t told; /* restoring: it says that it has so many */
	UT_hash_handle hh;
};

struct account { /* with another owner */
	struct node_id owner;
	uint64_t earned, spent, open; /* open: served, no receipt yet */
	UT_hash_handle hh;
};

struct ledger {
	struct ledger_ops ops;
	void *arg;
	const struct identity *me;
	struct node_id owner;
	uint8_t mesh_id[32];
	bool loaded, stopping;
	struct chain *chains;
	struct follower *followers;
	struct account *accounts;
	struct ledger_counters counters;

	/* issuing */
	uint64_t due_at; /* UINT64_MAX: nothing waits */
	bool fetching, stale;
	unsigned writing;
	uint64_t tidy_at;
	unsigned written; /* rows since then */

	/* loading */
	ledger_seen_fn seen;
	ledger_load_fn done;
	void *done_arg;
};

#define LEDGER_NEVER UINT64_MAX

static inline void ledger_run(struct ledger *l, const char *sql,
			      const struct store_val *vals, size_t n,
			      store_done_fn done, void *arg)
{
	l->ops.run(l->arg, sql, vals, n, done, arg);
}

/* --- ledger.c --- */

/* The chain for workers of that owner, read from disk or not yet. */
struct chain *ledger_chain(struct ledger *l, const struct node_id *owner);
/* If it is not read: its head comes, with a kick. */
void ledger_chain_read(struct ledger *l, struct chain *c);
/* Where its copies end is known, as well as it ever will be. */
void ledger_confirm(struct ledger *l, struct chain *c);
/* Writes r, which c->tip is at now; ours: it was lost here. */
void ledger_issue(struct ledger *l, struct chain *c, const struct receipt *r,
		  bool base, bool ours);

/* --- ledger_send.c --- */

/* Tells or asks f what there is to tell or to ask; if that is not now, when;
 * else LEDGER_NEVER. */
uint64_t follow_up(struct ledger *l, struct follower *f, uint64_t now);

/* --- both sides --- */

/* A row that a peer made us write. */
void ledger_wrote(struct ledger *l);
struct account *account_of(struct ledger *l, const struct node_id *owner);
uint64_t ledger_now(const struct ledger *l);

/*
 * Writes a receipt after those of its chain that are there; base: whatever is
 * there. done's result has one change, or none when something else came
 * between.
 */
enum ledger_side { SIDE_ISSUED, SIDE_EARNED };
void receipt_write(struct ledger *l, enum ledger_side side,
		   const struct receipt *r, bool base, store_done_fn done,
		   void *arg);
/* A column of a row: the receipt in it; false when it is damaged. */
bool receipt_of(const struct store_val *v, struct arena *a,
		struct receipt *out);
/* Remembers a point of disagreement and tells the log, once. theirs may be
 * NULL. */
void dispute(struct ledger *l, const uint8_t chain[static 32], uint64_t seq,
	     const uint8_t ours[static 32], const uint8_t theirs[static 32],
	     const struct node_id *peer, const char *what);

#endif
