/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_BASE_EVIDENCE_H
#define HN_BASE_EVIDENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/fields.h"
#include "node/base/identity.h"

/*
 * Proof that a worker signed a wrong answer. A document holds the text that
 * the worker signed, its signature, the list or tree behind the hash in that
 * text, and the one place where it contradicts the arithmetic; whoever has it
 * needs nothing else to be sure, neither the accuser's word nor the job. An
 * honest worker signs no such answer, whoever asks. Pure; any thread.
 *
 * What can be proven of a search:
 *	false-share	a listed nonce whose hash lacks the asked zero bits
 *	outside		a listed nonce that is not in the range
 *	missed		a nonce of the range that has the bits and is not
 *			listed
 * A list that is out of order has no form here; its author is dropped by
 * whoever got it, without a document.
 *
 * And of digests, whose answer signs the roots of two trees (merkle.h):
 *	false-digest	at one place stand an input and what is not its digest
 * An input longer than EVIDENCE_INPUT_MAX has no form here, either.
 */
#define EVIDENCE_VERSION 1
#define EVIDENCE_SHARES_MAX (1u << 17)
#define EVIDENCE_ANSWER_MAX 256
#define EVIDENCE_INPUT_MAX (256u << 10)
#define EVIDENCE_PATH_MAX 1024
#define EVIDENCE_MAX (1u << 20) /* bytes, packed or as JSON */
#define EVIDENCE_ID_SIZE 8

struct evidence_doc {
	uint64_t version;
	uint8_t worker[32]; /* whose signature it is */
	char *kind;	    /* of the work: search, digest */
	char *lie;
	struct bytes answer; /* PROTOCOL 10.1: the text that was signed */
	uint8_t sig[64];
	struct u32s shares; /* all that the answer lists */
	uint64_t nonce;	    /* where it is wrong; of digests: at which place */
	/* Of digests: what stands there, with the ways up to both roots. */
	struct bytes input, input_path;
	struct bytes digest, digest_path;
};
extern const struct message evidence_message;

/* What a search's answer says, read from its text. */
struct evidence_answer {
	char job[33];
	uint8_t header[80];
	uint64_t lease, start, end;
	unsigned bits;
	uint8_t list[32]; /* SHA-256 of the nonces */
};
/* False: no answer of a search. */
bool evidence_answer_of(struct bytes text, struct evidence_answer *out);

/*
 * Is it proof? OK: *why tells what the worker did. ERR_PROTO: a version or
 * kind of a later hnode, or no document of this form. ERR_CRYPTO: the worker
 * did not sign that. ERR_INPUT: it did, and there is nothing wrong with it.
 * Each with a sentence.
 */
enum err evidence_verify(const struct evidence_doc *d,
			 struct buf *why) HN_CHECK;

/*
 * Finds what the nonce proves against a signed list: fills in version and
 * lie of a document whose other fields are there, and verifies it. The errors
 * are evidence_verify's.
 */
enum err evidence_make(struct evidence_doc *d, struct buf *why) HN_CHECK;

/* The same for the same contradiction of the same answer, whoever holds it. */
void evidence_id(const struct evidence_doc *d,
		 uint8_t id[static EVIDENCE_ID_SIZE]);
void evidence_pack(const struct evidence_doc *d, struct buf *out);
/* Either form, as it stands in a file: packed or JSON. ERR_PROTO, ERR_LIMIT,
 * ERR_INPUT with a sentence. What it points to lives in the arena. */
enum err evidence_read(const void *p, size_t n, struct arena *a,
		       struct evidence_doc *out, struct buf *why) HN_CHECK;

#endif
