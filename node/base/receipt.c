/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/receipt.h"

#include <sodium.h>

#include <inttypes.h>
#include <string.h>

static const struct field receipt_fields[] = {
    FIELD_U64(struct receipt, version, 0, "RECEIPT_VERSION"),
    FIELD_FIXED(struct receipt, mesh_id, "mesh id"),
    FIELD_FIXED(struct receipt, worker, "node that worked"),
    FIELD_FIXED(struct receipt, worker_owner, "its owner"),
    FIELD_FIXED(struct receipt, submitter, "node that asked"),
    FIELD_FIXED(struct receipt, submitter_owner, "its owner"),
    FIELD_STR(struct receipt, kind, 16, "of the work: search, digest"),
    FIELD_STR(struct receipt, unit, 16, "of the amount: hash, digest"),
    FIELD_STR(struct receipt, job, RECEIPT_JOB_MAX, "job"),
    FIELD_U64(struct receipt, lease, 0, "lease"),
    FIELD_FIXED(struct receipt, input, "SHA-256 of what was asked"),
    FIELD_FIXED(struct receipt, output, "hash of what was answered"),
    FIELD_U64(struct receipt, amount, 0, "work, in units"),
    FIELD_U64(struct receipt, time_ms, 0, "accepted, ms since 1970"),
    FIELD_BYTES(struct receipt, answer, RECEIPT_ANSWER_MAX,
		"text that the worker signed"),
    FIELD_FIXED(struct receipt, answer_sig, "the worker's signature"),
    FIELD_U64(struct receipt, seq, 0, "number in its chain, from 1"),
    FIELD_FIXED(struct receipt, prev, "hash of the one before; zero: none"),
    FIELD_U64(struct receipt, credit, 0, "2^-20 credits for this answer"),
    FIELD_U64(struct receipt, total, 0, "2^-20 credits so far"),
    FIELD_FIXED(struct receipt, sig, "the submitter's signature"),
};
const struct message receipt_message =
    MESSAGE("receipt", struct receipt, receipt_fields);

/* All but the last field: what the submitter signs. */
static const struct message signed_message = {"receipt", sizeof(struct receipt),
					      receipt_fields,
					      HN_COUNT(receipt_fields) - 1};

static const struct receipt_kind kinds[] = {
    {"search", "hash", 80, 1, 12},
    {"digest", "digest", 32, 1, 0},
};

const struct receipt_kind *receipt_kind_find(const char *name)
{
	for (size_t i = 0; i < HN_COUNT(kinds); i++)
		if (name && !strcmp(kinds[i].name, name))
			return &kinds[i];
	return NULL;
}

static bool is_name(const uint8_t *p, const uint8_t *end)
{
	const size_t n = (size_t)(end - p);

	while (p<end && * p> ' ' && *p <= '~')
		p++;
	return p == end && n && n <= RECEIPT_JOB_MAX;
}

bool receipt_job_ok(const char *job)
{
	const uint8_t *p = (const uint8_t *)job;

	return job && is_name(p, p + strlen(job));
}

#define INTEGERS 24 /* lease, start, end */

enum err receipt_fill(struct receipt *r, const char *kind, struct bytes text,
		      struct arena *a, struct buf *why)
{
	const struct receipt_kind *k = receipt_kind_find(kind);
	crypto_hash_sha256_state input;

	if (!k) {
		buf_printf(why, "its kind of work is not known here");
		return ERR_INPUT;
	}
	const size_t fixed = k->what + INTEGERS + k->how + 32;

	if (text.n <= fixed || text.n - fixed > RECEIPT_JOB_MAX ||
	    text.n > RECEIPT_ANSWER_MAX) {
		buf_printf(why,
			   "its answer has %zu bytes, which is not the text of "
			   "a %s",
			   text.n, k->name);
		return ERR_INPUT;
	}
	const uint8_t *what = text.p + (text.n - fixed);
	const uint8_t *lease = what + k->what, *how = lease + INTEGERS;
	const uint64_t start = get_be64(lease + 8), end = get_be64(lease + 16);

	if (!is_name(text.p, what)) {
		buf_add_str(why, "its answer names no job");
		return ERR_INPUT;
	}
	if (end < start) {
		buf_printf(why,
			   "its answer ends at %" PRIu64 ", before its start "
			   "%" PRIu64,
			   end, start);
		return ERR_INPUT;
	}
	r->kind = arena_strndup(a, k->name, strlen(k->name));
	r->unit = arena_strndup(a, k->unit, strlen(k->unit));
	r->job = arena_strndup(a, (const char *)text.p, text.n - fixed);
	r->lease = get_be64(lease);
	r->amount = end - start;
	r->credit = (r->amount >> k->shift) +
		    ((r->amount & ((UINT64_C(1) << k->shift) - 1)) != 0);
	crypto_hash_sha256_init(&input);
	crypto_hash_sha256_update(&input, what, k->what);
	crypto_hash_sha256_update(&input, lease + 8, 16 + k->how);
	crypto_hash_sha256_final(&input, r->input);
	memcpy(r->output, how + k->how, 32);
	r->answer = (struct bytes){arena_memdup(a, text.p, text.n), text.n};
	return OK;
}

void chain_id(const uint8_t submitter[static 32],
	      const uint8_t submitter_owner[static 32],
	      const uint8_t worker_owner[static 32], uint8_t out[static 32])
{
	static const char head[] = "hnode chain 1";
	crypto_generichash_state h;

	crypto_generichash_init(&h, NULL, 0, 32);
	crypto_generichash_update(&h, (const uint8_t *)head, sizeof(head) - 1);
	crypto_generichash_update(&h, submitter, 32);
	crypto_generichash_update(&h, submitter_owner, 32);
	crypto_generichash_update(&h, worker_owner, 32);
	crypto_generichash_final(&h, out, 32);
}

void receipt_chain(const struct receipt *r, uint8_t out[static 32])
{
	chain_id(r->submitter, r->submitter_owner, r->worker_owner, out);
}

void receipt_pack(const struct receipt *r, struct buf *out)
{
	fields_pack(&receipt_message, r, out);
}

enum err receipt_unpack(const void *p, size_t n, struct arena *a,
			struct receipt *out)
{
	if (n > RECEIPT_MAX)
		return ERR_LIMIT;
	return fields_unpack(&receipt_message, p, n, a, out);
}

void receipt_hash(const struct receipt *r, uint8_t out[static 32])
{
	struct buf b = {0};

	receipt_pack(r, &b);
	crypto_generichash(out, 32, b.p, b.n, NULL, 0);
	buf_release(&b);
}

static void signed_text(const struct receipt *r, struct buf *b)
{
	fields_pack(&signed_message, r, b);
}

enum err receipt_sign(struct receipt *r, const struct chain_head *h,
		      const struct identity *submitter)
{
	struct buf b = {0};

	if (h->total > INT64_MAX || r->credit > INT64_MAX - h->total ||
	    h->seq >= INT64_MAX)
		return ERR_LIMIT;
	r->version = RECEIPT_VERSION;
	r->seq = h->seq + 1;
	r->total = h->total + r->credit;
	memcpy(r->prev, h->hash, sizeof(r->prev));
	memcpy(r->submitter, identity_id(submitter)->b, 32);
	signed_text(r, &b);
	const struct bytes part = {b.p, b.n};

	identity_sign(submitter, RECEIPT_PURPOSE, &part, 1, r->sig);
	buf_release(&b);
	return OK;
}

/* Verify */

static enum err differs(struct buf *why, const char *what, uint64_t says,
			uint64_t is)
{
	buf_printf(why,
		   "%s: the receipt says %" PRIu64 ", the signed answer "
		   "%" PRIu64,
		   what, says, is);
	return ERR_PROTO;
}

static enum err differs_text(struct buf *why, const char *what,
			     const char *says, const char *is)
{
	buf_printf(why, "%s: the receipt says %.32s, the signed answer %.32s",
		   what, says ? says : "nothing", is);
	return ERR_PROTO;
}

static enum err differs_hash(struct buf *why, const char *what,
			     const uint8_t says[static 32],
			     const uint8_t is[static 32])
{
	char a[65], b[65];

	hex_encode(says, 32, a);
	hex_encode(is, 32, b);
	buf_printf(why, "%s: the receipt says %s, the signed answer %s", what,
		   a, b);
	return ERR_PROTO;
}

/* Are the fields those that the text of the answer gives? */
static enum err same_as_answer(const struct receipt *r, struct buf *why)
{
	struct arena a = {0};
	struct receipt is = {0};

	enum err e = receipt_fill(&is, r->kind, r->answer, &a, why);
	if (e)
		e = ERR_PROTO;
	else if (!r->unit || strcmp(r->unit, is.unit) != 0)
		e = differs_text(why, "unit", r->unit, is.unit);
	else if (!r->job || strcmp(r->job, is.job) != 0)
		e = differs_text(why, "job", r->job, is.job);
	else if (r->lease != is.lease)
		e = differs(why, "lease", r->lease, is.lease);
	else if (r->amount != is.amount)
		e = differs(why, "amount", r->amount, is.amount);
	else if (r->credit != is.credit)
		e = differs(why, "credit", r->credit, is.credit);
	else if (memcmp(r->input, is.input, 32) != 0)
		e = differs_hash(why, "input", r->input, is.input);
	else if (memcmp(r->output, is.output, 32) != 0)
		e = differs_hash(why, "output", r->output, is.output);
	arena_release(&a);
	return e;
}

static enum err check_place(const struct receipt *r, struct buf *why)
{
	if (!r->seq) {
		buf_add_str(why, "seq: receipts are numbered from 1");
		return ERR_PROTO;
	}
	/* What a database has room for, too. */
	if (r->seq > INT64_MAX || r->total > INT64_MAX) {
		buf_add_str(why, "seq, total: larger than any chain");
		return ERR_PROTO;
	}
	if (r->total < r->credit || (r->seq == 1 && r->total != r->credit)) {
		buf_printf(why,
			   "total: %" PRIu64 " cannot be the sum after a "
			   "receipt number %" PRIu64 " over %" PRIu64,
			   r->total, r->seq, r->credit);
		return ERR_PROTO;
	}
	if (r->seq == 1 && !sodium_is_zero(r->prev, sizeof(r->prev))) {
		buf_add_str(why, "prev: nothing comes before number 1");
		return ERR_PROTO;
	}
	return OK;
}

/* In the open mesh each node is its own owner (there is nobody who would
 * certify another); so nobody makes receipts there in another's name. */
static enum err check_owners(const struct receipt *r, struct buf *why)
{
	static const uint8_t open_mesh[] = "hnode mesh"
					   "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
					   "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
					   "public";
	uint8_t id[32];

	crypto_generichash(id, 32, open_mesh, sizeof(open_mesh) - 1, NULL, 0);
	if (memcmp(id, r->mesh_id, 32) != 0 ||
	    (!memcmp(r->worker, r->worker_owner, 32) &&
	     !memcmp(r->submitter, r->submitter_owner, 32)))
		return OK;
	buf_add_str(why, "owner: in the open mesh each node is its own owner");
	return ERR_PROTO;
}

enum err receipt_verify(const struct receipt *r, struct buf *why)
{
	struct buf b = {0};

	if (r->version != RECEIPT_VERSION) {
		buf_printf(why,
			   "version: %" PRIu64 " is not known here; this hnode "
			   "reads %d",
			   r->version, RECEIPT_VERSION);
		return ERR_PROTO;
	}
	signed_text(r, &b);
	const struct bytes text = {b.p, b.n};
	const bool ours = node_id_verify((const void *)r->submitter,
					 RECEIPT_PURPOSE, &text, 1, r->sig);

	buf_release(&b);
	if (!ours) {
		buf_printf(why, "sig: not signed by the submitter %s",
			   node_hex((const void *)r->submitter));
		return ERR_CRYPTO;
	}
	enum err e = same_as_answer(r, why);
	if (!e)
		e = check_place(r, why);
	if (!e)
		e = check_owners(r, why);
	if (!e && !node_id_verify((const void *)r->worker, ANSWER_PURPOSE,
				  &r->answer, 1, r->answer_sig)) {
		buf_printf(why, "answer_sig: not signed by the worker %s",
			   node_hex((const void *)r->worker));
		e = ERR_DENIED;
	}
	return e;
}

/* Chains */

void chain_begin(struct chain_head *h, const struct receipt *r)
{
	h->seq = r->seq;
	h->total = r->total;
	receipt_hash(r, h->hash);
}

enum chain_step chain_follow(struct chain_head *h, const struct receipt *r)
{
	uint8_t hash[32];

	if (r->seq < h->seq)
		return CHAIN_OLD;
	if (r->seq == h->seq) {
		receipt_hash(r, hash);
		return memcmp(hash, h->hash, 32) ? CHAIN_FORK : CHAIN_OLD;
	}
	if (r->seq != h->seq + 1)
		return CHAIN_GAP;
	if (memcmp(r->prev, h->hash, 32) != 0)
		return CHAIN_FORK;
	if (r->total != h->total + r->credit)
		return CHAIN_TOTAL;
	chain_begin(h, r);
	return CHAIN_NEXT;
}

void credit_str(uint64_t parts, struct buf *out)
{
	uint64_t rest = parts % CREDIT_PARTS * 1000000 / CREDIT_PARTS;
	int digits = 6;

	buf_printf(out, "%" PRIu64, parts / CREDIT_PARTS);
	if (!rest)
		return;
	for (; rest % 10 == 0; digits--)
		rest /= 10;
	buf_printf(out, ".%0*" PRIu64, digits, rest);
}
