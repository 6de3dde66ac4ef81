/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_BASE_RECEIPT_H
#define HN_BASE_RECEIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/fields.h"
#include "node/base/identity.h"

/*
 * Receipts: the submitter of a job countersigns an answer that it accepted.
 * A receipt holds all that its two signatures cover, so that anybody can
 * check it offline. Receipts of one (submitter, its owner, worker's owner)
 * form a chain that only the submitter writes: each has the next number, the
 * hash of the one before and the running total, so that a chain says what it
 * is worth although its beginning is gone. Two different receipts with one
 * number prove that the submitter forked the chain. Pure; any thread.
 */
#define RECEIPT_VERSION 1
#define RECEIPT_MAX 1024       /* bytes packed */
#define RECEIPT_ANSWER_MAX 256 /* bytes of the text that a worker signs */
#define RECEIPT_JOB_MAX 32     /* bytes of a job's id */
#define RECEIPT_HASH_SIZE 32

/* What a worker signs its answers with, and a submitter receipts. */
#define ANSWER_PURPOSE "hnode answer 1"
#define RECEIPT_PURPOSE "hnode receipt 1"

/* One credit is 2^32 hashes or 2^20 digests. Credits are counted in whole
 * 2^-20 parts (one digest, 4,096 hashes), each receipt rounded up. */
#define CREDIT_PARTS (UINT64_C(1) << 20)

struct receipt {
	uint64_t version;
	uint8_t mesh_id[32];
	uint8_t worker[32], worker_owner[32];
	uint8_t submitter[32], submitter_owner[32];
	char *kind; /* of the work: search, digest */
	char *unit; /* of the amount: hash, digest */
	char *job;
	uint64_t lease;
	uint8_t input[32];  /* SHA-256 of what was asked */
	uint8_t output[32]; /* of what was answered */
	uint64_t amount;
	uint64_t time_ms;    /* accepted, ms since 1970 */
	struct bytes answer; /* the text that the worker signed */
	uint8_t answer_sig[64];
	uint64_t seq; /* 1, 2, ... */
	uint8_t prev[32];
	uint64_t credit; /* parts for this answer */
	uint64_t total;	 /* parts so far, this one included */
	uint8_t sig[64]; /* "hnode receipt 1" over all that precedes, packed */
};
extern const struct message receipt_message;

/*
 * The text of an answer is the same shape for every kind, integers big
 * endian:
 *
 *	job || what || lease u64 || start u64 || end u64 || how || output (32)
 *
 * what and how have a fixed size in each kind; the amount is end - start; the
 * input hash is SHA-256(what || start || end || how).
 *
 *	search: what = header (80), how = share bits u8, output = SHA-256 of
 *		the share nonces as u32
 *	digest: what = hash of the inputs (32), how = rounds u8, output = root
 *		of the tree over the digests
 *
 * The sizes are such that no text can be read as two kinds.
 */
struct receipt_kind {
	const char *name, *unit;
	size_t what, how;
	unsigned shift; /* 2^shift units are one part of a credit */
};
const struct receipt_kind *receipt_kind_find(const char *name);

/* Can an answer for that job be told from others, and be receipted? */
bool receipt_job_ok(const char *job);

/*
 * Fills in what the text says: kind, unit, job, lease, input, output, amount,
 * credit, and the text itself; strings in the arena. ERR_INPUT with a
 * sentence for an unknown kind or a text that is none of it.
 */
enum err receipt_fill(struct receipt *r, const char *kind, struct bytes text,
		      struct arena *a, struct buf *why) HN_CHECK;

/* The end of a chain, all zero before its first receipt. */
struct chain_head {
	uint64_t seq, total;
	uint8_t hash[RECEIPT_HASH_SIZE];
};

/* Which chain: BLAKE2b-256("hnode chain 1" || submitter || its owner || the
 * worker's owner). */
void chain_id(const uint8_t submitter[static 32],
	      const uint8_t submitter_owner[static 32],
	      const uint8_t worker_owner[static 32], uint8_t out[static 32]);
void receipt_chain(const struct receipt *r, uint8_t out[static 32]);

/* Makes it the next of the chain: version, seq, prev, total, and our
 * signature; all else is there. ERR_LIMIT: the total would overflow. */
enum err receipt_sign(struct receipt *r, const struct chain_head *h,
		      const struct identity *submitter) HN_CHECK;

void receipt_pack(const struct receipt *r, struct buf *out);
/* ERR_PROTO, ERR_LIMIT; strings live in the arena. Says nothing of truth. */
enum err receipt_unpack(const void *p, size_t n, struct arena *a,
			struct receipt *out) HN_CHECK;
/* BLAKE2b-256 of the packed form; the `prev` of the next one. */
void receipt_hash(const struct receipt *r, uint8_t out[static 32]);

/*
 * By itself: known version and kind; the fields are those of the text; the
 * worker signed the text and the submitter the receipt. Whose nodes they are
 * in a private mesh is the submitter's word alone. ERR_PROTO (a version
 * or kind of a later hnode, a field that does not fit), ERR_DENIED (not
 * signed by the worker), ERR_CRYPTO (not by the submitter: then nobody vouches
 * for anything in it), with a sentence that names the field and both values.
 */
enum err receipt_verify(const struct receipt *r, struct buf *why) HN_CHECK;

/* Where a verified receipt of the same chain stands to its head. */
enum chain_step {
	CHAIN_NEXT,  /* goes on; *h is moved */
	CHAIN_OLD,   /* at or before the head, and not seen to differ */
	CHAIN_GAP,   /* some between are missing */
	CHAIN_FORK,  /* another one has this number, or came before */
	CHAIN_TOTAL, /* the running total is wrong */
};
enum chain_step chain_follow(struct chain_head *h, const struct receipt *r);
/* It becomes the head whatever was before: its total is the submitter's word.
 */
void chain_begin(struct chain_head *h, const struct receipt *r);

/* "12.345678 credits"; decimals as needed, at most six. */
void credit_str(uint64_t parts, struct buf *out);

#endif
