/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/digest.h"

#include "node/base/mem.h"
#include "node/base/receipt.h"
#include "node/mesh/wire.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PURPOSE "hnode answer 1"

static const struct field hash_digest_fields[] = {
    FIELD_STR(struct hash_digest, job, 16, "job id"),
    FIELD_U64(struct hash_digest, lease, 0, "lease id"),
    FIELD_U64(struct hash_digest, start, 0, "number of the first input"),
    FIELD_U64(struct hash_digest, end, 0, "one past the last"),
    FIELD_U64(struct hash_digest, rounds, 2, "1 SHA-256, 2 SHA-256d"),
    FIELD_U64(struct hash_digest, expected_ms, 0, "what the submitter expects"),
};
const struct message hash_digest_message =
    MESSAGE("hash_digest", struct hash_digest, hash_digest_fields);

static const struct field digest_in_fields[] = {
    FIELD_U64(struct digest_in, first, 0,
	      "number of the input that the first item is or goes on"),
    FIELD_LIST(struct digest_in, items, BATCH_ITEMS_MAX, &batch_item_message,
	       "inputs, or parts of them"),
    FIELD_U32S(struct digest_in, open, DIGEST_OPEN_MAX,
	       "after the commitment: places to be opened, from 0 on"),
};
const struct message digest_in_message =
    MESSAGE("digest_in", struct digest_in, digest_in_fields);

static const struct field digest_out_fields[] = {
    FIELD_U64(struct digest_out, first, 0,
	      "number of the first digest's input"),
    FIELD_BYTES(struct digest_out, digests, BATCH_ITEMS_MAX * 32,
		"32 bytes each"),
    FIELD_OPT_FIXED(struct digest_out, inputs, MERKLE_SIZE,
		    "the commitment: root over the inputs"),
    FIELD_OPT_FIXED(struct digest_out, root, MERKLE_SIZE,
		    "and over the digests"),
    FIELD_OPT_FIXED(struct digest_out, sig, SIGN_SIZE,
		    "the worker's signature over both"),
};
const struct message digest_out_message =
    MESSAGE("digest_out", struct digest_out, digest_out_fields);

static const struct field digest_opened_fields[] = {
    FIELD_U64(struct digest_opened, at, DIGEST_INPUTS_MAX, "the place"),
    FIELD_BYTES(struct digest_opened, path, MERKLE_PATH_MAX *MERKLE_SIZE,
		"neighbours of the input's leaf and of the nodes above"),
};
const struct message digest_opened_message =
    MESSAGE("digest_opened", struct digest_opened, digest_opened_fields);

static const struct field hash_digested_fields[] = {
    FIELD_U64(struct hash_digested, count, 0, "digests sent"),
    FIELD_LIST(struct hash_digested, opened, DIGEST_OPEN_MAX,
	       &digest_opened_message, "the places that were asked for"),
};
const struct message hash_digested_message =
    MESSAGE("hash_digested", struct hash_digested, hash_digested_fields);

enum err hash_digest_check(const struct hash_digest *q, struct buf *why)
{
	if (!receipt_job_ok(q->job) || strlen(q->job) > 15)
		buf_add_str(why, "a lease names its job, in up to 15 visible "
				 "characters");
	else if (q->rounds != 1 && q->rounds != 2)
		buf_add_str(why, "rounds: 1 (SHA-256) or 2 (SHA-256d)");
	else if (q->start >= q->end || q->end - q->start > DIGEST_INPUTS_MAX)
		buf_printf(why, "a lease has 1 to %u inputs",
			   DIGEST_INPUTS_MAX);
	else
		return OK;
	return ERR_INPUT;
}

void digest_answer_text(const struct digest_answer *a, struct buf *out)
{
	uint8_t numbers[25];

	put_be64(numbers, a->lease);
	put_be64(numbers + 8, a->start);
	put_be64(numbers + 16, a->end);
	numbers[24] = (uint8_t)a->rounds;
	buf_add(out, a->job, strlen(a->job));
	buf_add(out, a->inputs, sizeof(a->inputs));
	buf_add(out, numbers, sizeof(numbers));
	buf_add(out, a->root, sizeof(a->root));
}

void digest_answer_sign(const struct digest_answer *a,
			const struct identity *me,
			uint8_t sig[static SIGN_SIZE])
{
	struct buf text = {0};

	digest_answer_text(a, &text);
	identity_sign(me, PURPOSE, &(struct bytes){text.p, text.n}, 1, sig);
	buf_release(&text);
}

bool digest_answer_verify(const struct digest_answer *a,
			  const struct node_id *worker,
			  const uint8_t sig[static SIGN_SIZE])
{
	struct buf text = {0};

	digest_answer_text(a, &text);
	const bool good = node_id_verify(
	    worker, PURPOSE, &(struct bytes){text.p, text.n}, 1, sig);
	buf_release(&text);
	return good;
}

/* Floyd's: of those below i + 1 the draw, or i if that is taken already. */
void digest_draw(uint64_t n, size_t want, uint64_t (*random)(void *arg),
		 void *arg, uint32_t *out)
{
	uint8_t *taken = xcalloc(1, (size_t)(n / 8 + 1));
	size_t k = 0;

	assert(want <= n);
	for (uint64_t i = n - want; i < n; i++) {
		/* n is far below 2^64: the bias is nothing. */
		uint64_t at = random(arg) % (i + 1);

		if (taken[at / 8] >> at % 8 & 1)
			at = i;
		taken[at / 8] |= (uint8_t)(1u << at % 8);
	}
	for (uint64_t i = 0; k < want; i++)
		if (taken[i / 8] >> i % 8 & 1)
			out[k++] = (uint32_t)i;
	free(taken);
}

double digest_unseen(double x, uint64_t s)
{
	return pow(1 - x, (double)s);
}

double digest_fraction(const struct digest_report *r)
{
	if (!r->foreign)
		return r->own ? 1 : 0;
	return fmin(1, (double)r->checked / (double)r->foreign);
}

void digest_note(const struct digest_report *r, struct buf *out)
{
	if (!r->foreign) {
		buf_add_str(out, r->own ? "all of it was done by this node, "
					  "which trusts itself"
					: "nothing was done");
		return;
	}
	buf_printf(out,
		   "%" PRIu64 " of %" PRIu64
		   " digests of others (%.2f %%) were computed again here, at "
		   "places drawn after their author had signed them; a peer "
		   "that invented x of its digests stays unseen with "
		   "probability at most (1-x)^s, s = %" PRIu64
		   " for the least checked one (x = 1 %%: %.2g)",
		   r->checked, r->foreign, 100 * digest_fraction(r), r->fewest,
		   digest_unseen(0.01, r->fewest));
}
