/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_DIGEST_H
#define HN_MESH_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/fields.h"
#include "node/base/identity.h"
#include "node/base/merkle.h"

/*
 * hash.digest, one lease of a batch job: what travels, what is signed, what is
 * looked at again (PROTOCOL 10.6). Pure.
 *
 * The caller streams the inputs, the worker their digests. Then the worker
 * commits: it signs the roots of two trees, over the inputs and over the
 * digests. Only now the caller draws places. It computes their digests again
 * and asks the worker to open some of them, which is to prove that these
 * inputs stand at these places of the tree that it signed. A wrong digest
 * together with its opening convinces anybody (evidence.h).
 */
#define DIGEST_INPUTS_MAX (1u << 17) /* of a lease */
#define DIGEST_OPEN_MAX 16	     /* places opened of a lease */
#define DIGEST_CHECK_PER 100	     /* one input in so many is looked at */
#define DIGEST_CHECK_MIN 16	     /* and so many of a lease at least */

struct hash_digest { /* request */
	char *job;
	uint64_t lease;
	uint64_t start, end; /* numbers of the inputs: [start, end) */
	uint64_t rounds;     /* 1 SHA-256, 2 SHA-256d */
	uint64_t expected_ms;
};
struct digest_in {	   /* caller to worker */
	uint64_t first;	   /* number of the input that items[0] is or goes on */
	struct list items; /* struct batch_item */
	struct u32s open;  /* after the commitment: places from 0 on */
};
struct digest_out { /* worker to caller */
	uint64_t first;
	struct bytes digests;	   /* 32 each */
	struct bytes inputs, root; /* the commitment: two roots ... */
	struct bytes sig;	   /* ... and "hnode answer 1" over them */
};
struct digest_opened {
	uint64_t at;
	struct bytes path; /* of the input's leaf, 32 bytes a step */
};
struct hash_digested { /* reply */
	uint64_t count;
	struct list opened; /* struct digest_opened, as they were asked for */
};
extern const struct message hash_digest_message, digest_in_message,
    digest_out_message, digest_opened_message, hash_digested_message;

/* ERR_INPUT with a sentence. */
enum err hash_digest_check(const struct hash_digest *q,
			   struct buf *why) HN_CHECK;

/*
 * What the worker signs, in the shape of all answers: job || root over the
 * inputs || lease u64 || start u64 || end u64 || rounds u8 || root over the
 * digests, big endian.
 */
struct digest_answer {
	const char *job;
	uint64_t lease, start, end;
	unsigned rounds;
	uint8_t inputs[MERKLE_SIZE], root[MERKLE_SIZE];
};
void digest_answer_text(const struct digest_answer *a, struct buf *out);
void digest_answer_sign(const struct digest_answer *a,
			const struct identity *me,
			uint8_t sig[static SIGN_SIZE]);
bool digest_answer_verify(const struct digest_answer *a,
			  const struct node_id *worker,
			  const uint8_t sig[static SIGN_SIZE]);

/* Draws `want` places out of n, ascending, each set with the same chance;
 * want <= n. */
void digest_draw(uint64_t n, size_t want, uint64_t (*random)(void *arg),
		 void *arg, uint32_t *out);

/* --- what people are told --- */

struct digest_report {
	uint64_t foreign; /* digests by others */
	bool own;	  /* some by ourselves */
	uint64_t checked; /* of others', computed again */
	uint64_t fewest;  /* of the least checked peer */
};
/* That a peer which invented x of its digests is not seen at s places. */
double digest_unseen(double x, uint64_t s);
double digest_fraction(const struct digest_report *r);
void digest_note(const struct digest_report *r, struct buf *out);

#endif
