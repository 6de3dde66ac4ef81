/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_LEDGER_H
#define HN_MESH_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/fields.h"
#include "node/base/identity.h"
#include "node/base/receipt.h"
#include "node/base/store.h"

/*
 * The books of this node: answers that it got and signed receipts for, and
 * receipts that it got for its own work. Tables of the store hold all of it;
 * what is here decides. It acts on a change only when that is durable, so
 * that a crash at any moment loses no accepted answer and pays none twice.
 *
 * An answer is accepted when its job has ended, or after LEDGER_ACCEPT_MS, and
 * its worker was not dropped before. Its receipt is then the next of the
 * chain for the worker's owner; the chain itself is what is sent, again and
 * again from where the worker's node says that it is, until that has all of
 * it. The first receipt of a chain after a start waits until a node of that
 * owner said where its end is: if our disk was put back to an earlier state,
 * we first take back from there what we signed, instead of forking our chain.
 *
 * Time is an argument of nobody: it and all else comes through ledger_ops. So
 * the same code runs on a made-up clock, with a store that forgets. Loop
 * thread only.
 */
struct ledger;

#define LEDGER_ACCEPT_MS 30000
#define LEDGER_PUT_MAX 16 /* receipts of one message */
/* Kept so long and so much; the last receipt of a chain always stays. */
#define LEDGER_KEPT_MS (UINT64_C(90) * 24 * 3600 * 1000)
#define LEDGER_KEPT_RECEIPTS 65536 /* of RECEIPT_MAX bytes: 64 MiB */
#define LEDGER_ANSWER_MS (UINT64_C(24) * 3600 * 1000)
#define LEDGER_KEPT_ANSWERS 16384 /* settled ones */
#define LEDGER_KEPT_SERVED 65536
#define LEDGER_KEPT_DISPUTES 1000

extern const struct store_schema ledger_schema[];
extern const size_t ledger_schema_count;

/* --- on the wire --- */

/* receipt.put: the submitter hands over, in order; none: "where are you?" */
struct receipt_put {
	uint8_t submitter_owner[32], worker_owner[32];
	uint64_t oldest;      /* number that the submitter still has */
	struct list receipts; /* struct receipt */
};
/* Its answer: where the callee's copy of the chain ends. */
struct receipt_head {
	uint64_t seq; /* 0: it has none */
	uint64_t total;
	uint8_t hash[32];
	/* Refused: the number, what the callee has there, and why. */
	uint64_t wrong_seq;
	uint8_t wrong_hash[32];
	char *why;
};
/* receipt.since: what the callee has of a chain after seq. */
struct receipt_since {
	uint8_t submitter[32], submitter_owner[32], worker_owner[32];
	uint64_t seq;
};
struct receipt_list {
	uint64_t oldest;
	struct list receipts; /* struct receipt; at most LEDGER_PUT_MAX */
};
extern const struct message receipt_put_message, receipt_head_message,
    receipt_since_message, receipt_list_message;

/* --- the outside --- */

struct ledger_ops {
	/* store_run of the node's store. */
	void (*run)(void *arg, const char *sql, const struct store_val *vals,
		    size_t n, store_done_fn done, void *done_arg);
	uint64_t (*now)(void *arg); /* ms since 1970 */
	/* ledger_tick is due, soon and not from inside. */
	void (*kick)(void *arg);
	/* A call to a peer that is up; its end is told to ledger_put_done or
	 * ledger_since_done, once, never from inside. */
	void (*put)(void *arg, const struct node_id *to,
		    const struct receipt_put *q);
	void (*since)(void *arg, const struct node_id *to,
		      const struct receipt_since *q);
	/* The answer to ledger_on_put and ledger_on_since: m and reply on OK,
	 * else text. */
	void (*reply)(void *arg, void *call, enum err e,
		      const struct message *m, const void *reply,
		      const char *text);
};

/* me is lent. The owner is me until ledger_set_owner. */
struct ledger *ledger_new(const struct ledger_ops *ops, void *arg,
			  const struct identity *me);
/* No callback of the store may be on its way. NULL is fine. */
void ledger_free(struct ledger *l);
/* Nothing new from now on; callbacks still may come. */
void ledger_stop(struct ledger *l);
/* Whose node we are, and in which mesh. */
void ledger_set_owner(struct ledger *l, const uint8_t owner[static 32],
		      const uint8_t mesh_id[static 32]);

/* Reads sums and what is waiting; once, before anything else. seen: leases
 * that this node was asked for lately, newest first. */
typedef void (*ledger_seen_fn)(void *arg, const struct node_id *submitter,
			       const char *job, uint64_t lease, uint64_t at_ms);
typedef void (*ledger_load_fn)(void *arg, enum err e, const char *text);
void ledger_load(struct ledger *l, ledger_seen_fn seen, ledger_load_fn done,
		 void *arg);

/* Does what is due; how many ms until it is to be called again. */
uint64_t ledger_tick(struct ledger *l);

/* --- the submitter's side --- */

struct ledger_answer {
	const char *kind; /* receipt.h */
	const char *job;
	uint64_t lease;
	struct node_id worker, owner;
	struct bytes text; /* what was signed, see receipt.h */
	const uint8_t *sig;
	const uint32_t *shares; /* the list behind the text's hash, or none */
	size_t nshares;
};
/* A lease ended well, the signature is good. Copied. */
void ledger_answered(struct ledger *l, const struct ledger_answer *a);
/* Its end is on disk. */
void ledger_job_ended(struct ledger *l, const char *job);
/* It cheated: what it was not paid for yet it will not be. */
void ledger_dropped(struct ledger *l, const struct node_id *worker);
/* An answer of the last LEDGER_ANSWER_MS: NULL when there is none. Borrowed
 * for the call, which comes later. */
typedef void (*ledger_answer_fn)(void *arg, const struct ledger_answer *a);
void ledger_find_answer(struct ledger *l, const char *job, uint64_t lease,
			ledger_answer_fn done, void *arg);

void ledger_peer_up(struct ledger *l, const struct node_id *id,
		    const struct node_id *owner);
void ledger_peer_down(struct ledger *l, const struct node_id *id);
void ledger_put_done(struct ledger *l, const struct node_id *from, enum err e,
		     const struct receipt_head *reply);
void ledger_since_done(struct ledger *l, const struct node_id *from, enum err e,
		       const struct receipt_list *reply);

/* --- the worker's side --- */

/* We signed this answer and send it. */
void ledger_served(struct ledger *l, const struct node_id *submitter,
		   const struct node_id *owner, const char *kind,
		   struct bytes text, const uint8_t sig[static 64]);
void ledger_on_put(struct ledger *l, const struct node_id *from,
		   const struct node_id *owner, const struct receipt_put *q,
		   void *call);
void ledger_on_since(struct ledger *l, const struct node_id *from,
		     const struct node_id *owner, const struct receipt_since *q,
		     void *call);

bool ledger_ours(const struct ledger *l, const struct node_id *owner);
/* What that owner owes us, in parts of a credit: receipts, and answers that
 * are not paid yet, less what we owe. 0 when it is the other way round. */
uint64_t ledger_owed(const struct ledger *l, const struct node_id *owner);

#define LEDGER_COUNTERS(X) \
	X(answers)	/* stored */ \
	X(answers_lost) /* not: the disk refused */ \
	X(answers_refused) \
	X(issued) \
	X(earned) \
	X(forged)   /* refused: a signature */ \
	X(disputes) /* points of disagreement */ \
	X(restored) /* our own, taken back from a worker */
struct ledger_counters {
#define X(name) uint64_t name;
	LEDGER_COUNTERS(X)
#undef X
};
const struct ledger_counters *ledger_counters(const struct ledger *l);

#endif
