/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/evidence.h"

#include "node/base/merkle.h"

#include <sodium.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_PURPOSE "hnode answer 1"
#define NONCES (UINT64_C(1) << 32)
#define BITS_MAX 32

enum { HEADER = 80, NUMBERS = 8 + 8 + 8 + 1, LIST = 32 };

static const struct field evidence_fields[] = {
    FIELD_U64(struct evidence_doc, version, 0, "1"),
    FIELD_FIXED(struct evidence_doc, worker, "node that signed the answer"),
    FIELD_STR(struct evidence_doc, kind, 16, "of the work: search, digest"),
    FIELD_STR(struct evidence_doc, lie, 16,
	      "false-share, outside, missed, false-digest"),
    FIELD_BYTES(struct evidence_doc, answer, EVIDENCE_ANSWER_MAX,
		"the text it signed (10.1)"),
    FIELD_FIXED(struct evidence_doc, sig, "its signature"),
    FIELD_U32S(struct evidence_doc, shares, EVIDENCE_SHARES_MAX,
	       "all nonces that the answer lists"),
    FIELD_U64(struct evidence_doc, nonce, 0,
	      "where it is wrong: the nonce, or the place from 0 on"),
    FIELD_BYTES(struct evidence_doc, input, EVIDENCE_INPUT_MAX,
		"of digests: the input there"),
    FIELD_BYTES(struct evidence_doc, input_path, EVIDENCE_PATH_MAX,
		"its path to the root over the inputs"),
    FIELD_OPT_FIXED(struct evidence_doc, digest, 32,
		    "the digest that was answered"),
    FIELD_BYTES(struct evidence_doc, digest_path, EVIDENCE_PATH_MAX,
		"its path to the root over the digests"),
};
const struct message evidence_message =
    MESSAGE("evidence", struct evidence_doc, evidence_fields);

bool evidence_answer_of(struct bytes text, struct evidence_answer *out)
{
	const size_t fixed = HEADER + NUMBERS + LIST;

	if (text.n <= fixed || text.n - fixed >= sizeof(out->job))
		return false;
	const size_t n = text.n - fixed;
	const uint8_t *p = text.p + n;

	memset(out, 0, sizeof(*out));
	memcpy(out->job, text.p, n);
	memcpy(out->header, p, HEADER);
	p += HEADER;
	out->lease = get_be64(p);
	out->start = get_be64(p + 8);
	out->end = get_be64(p + 16);
	out->bits = p[24];
	memcpy(out->list, p + NUMBERS, LIST);
	for (size_t i = 0; i < n; i++)
		if (out->job[i] < '!' || out->job[i] > '~')
			return false;
	return out->start < out->end && out->end <= NONCES &&
	       out->bits <= BITS_MAX;
}

/* Leading zero bits of SHA-256d(header with this nonce) as a little-endian
 * number. */
static unsigned zero_bits(const uint8_t header[static HEADER], uint32_t nonce)
{
	uint8_t text[HEADER], digest[32];
	unsigned bits = 0;

	memcpy(text, header, HEADER);
	put_le32(text + 76, nonce);
	crypto_hash_sha256(digest, text, HEADER);
	crypto_hash_sha256(digest, digest, sizeof(digest));
	for (int i = 31; i >= 0; i--) {
		if (!digest[i]) {
			bits += 8;
			continue;
		}
		for (unsigned mask = 0x80; !(digest[i] & mask); mask >>= 1)
			bits++;
		break;
	}
	return bits;
}

static void list_hash(const struct u32s *list, uint8_t out[static 32])
{
	crypto_hash_sha256_state s;

	crypto_hash_sha256_init(&s);
	for (size_t i = 0; i < list->n; i++) {
		uint8_t be[4];

		put_be32(be, list->items[i]);
		crypto_hash_sha256_update(&s, be, sizeof(be));
	}
	crypto_hash_sha256_final(&s, out);
}

static int by_value(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static bool listed(const struct u32s *list, uint32_t nonce)
{
	return list->n &&
	       bsearch(&nonce, list->items, list->n, sizeof(nonce), by_value);
}

/* --- the lies --- */

/* What a document must show, and the sentence when it does. */
struct lie {
	const char *name;
	bool listed, inside, share;
	const char *verb, *because; /* around the nonce */
};
static const struct lie lies[] = {
    {"outside", true, false, false, "lists", "which is outside of its range"},
    {"false-share", true, true, false, "lists",
     "whose hash lacks the asked zero bits"},
    {"missed", false, true, true, "does not list",
     "whose hash has the asked zero bits"},
};

/* Which one it is; NULL: nothing is wrong there. */
static const struct lie *lie_of(const struct evidence_doc *d,
				const struct evidence_answer *t)
{
	if (d->nonce >= NONCES)
		return NULL;
	const bool in_list = listed(&d->shares, (uint32_t)d->nonce);
	const bool inside = d->nonce >= t->start && d->nonce < t->end;
	const bool share =
	    inside && zero_bits(t->header, (uint32_t)d->nonce) >= t->bits;

	for (size_t i = 0; i < HN_COUNT(lies); i++)
		if (lies[i].listed == in_list && lies[i].inside == inside &&
		    lies[i].share == share)
			return &lies[i];
	return NULL;
}

static enum err fail(struct buf *why, enum err e, const char *text)
{
	buf_add_str(why, text);
	return e;
}

static bool is_signed(const struct evidence_doc *d, struct buf *why)
{
	struct node_id id;

	memcpy(id.b, d->worker, sizeof(id.b));
	if (node_id_verify(&id, ANSWER_PURPOSE, &d->answer, 1, d->sig))
		return true;
	buf_printf(why,
		   "%s did not sign this answer: the document was changed or "
		   "made up",
		   node_str(&id));
	return false;
}

/* The signature and the list under it. */
static enum err check_signed(const struct evidence_doc *d,
			     struct evidence_answer *t, struct buf *why)
{
	uint8_t list[32];

	if (!evidence_answer_of(d->answer, t))
		return fail(why, ERR_PROTO,
			    "the signed text is not the answer to a search");
	if (!is_signed(d, why))
		return ERR_CRYPTO;
	list_hash(&d->shares, list);
	if (memcmp(list, t->list, sizeof(list)) != 0)
		return fail(why, ERR_CRYPTO,
			    "the list of shares is not the one that was "
			    "signed: the document was changed");
	return OK;
}

static enum err check_form(const struct evidence_doc *d, struct buf *why)
{
	if (d->version != EVIDENCE_VERSION) {
		buf_printf(
		    why,
		    "this hnode reads evidence of version %d, not %" PRIu64,
		    EVIDENCE_VERSION, d->version);
		return ERR_PROTO;
	}
	if (!d->kind ||
	    (strcmp(d->kind, "search") != 0 && strcmp(d->kind, "digest") != 0))
		return fail(why, ERR_PROTO,
			    "this hnode knows no evidence about work of that "
			    "kind: a newer one may");
	for (size_t i = 1; i < d->shares.n; i++)
		if (d->shares.items[i] <= d->shares.items[i - 1])
			return fail(why, ERR_PROTO,
				    "the list of shares is not ascending");
	return OK;
}

static bool stands_at(const struct evidence_doc *d, uint64_t n,
		      const uint8_t root[static MERKLE_SIZE],
		      const struct bytes *text, const struct bytes *path)
{
	uint8_t leaf[MERKLE_SIZE];
	const void *steps = path->p;

	merkle_leaf(text->p, text->n, leaf);
	return path->n % MERKLE_SIZE == 0 &&
	       merkle_proves(root, n, d->nonce, leaf, steps,
			     path->n / MERKLE_SIZE);
}

/* The text of digests: job || inputs (32) || lease, start, end || rounds u8 ||
 * root (32). */
static enum err examine_digest(const struct evidence_doc *d,
			       const struct lie **lie, struct buf *why)
{
	static const struct lie false_digest = {.name = "false-digest"};
	const size_t fixed = MERKLE_SIZE + NUMBERS + MERKLE_SIZE;
	struct node_id id;
	uint8_t digest[32];

	if (d->answer.n <= fixed || d->answer.n - fixed > 32 ||
	    d->digest.n != 32)
		return fail(why, ERR_PROTO,
			    "the signed text is not an answer about digests");
	const size_t job = d->answer.n - fixed;
	const uint8_t *inputs = d->answer.p + job;
	const uint8_t *numbers = inputs + MERKLE_SIZE;
	const uint64_t start = get_be64(numbers + 8);
	const uint64_t end = get_be64(numbers + 16);

	if (!is_signed(d, why))
		return ERR_CRYPTO;
	if (start >= end || end - start > UINT32_MAX || numbers[24] < 1 ||
	    numbers[24] > 2)
		return fail(why, ERR_PROTO,
			    "the signed text is not an answer about digests");
	if (!stands_at(d, end - start, inputs, &d->input, &d->input_path) ||
	    !stands_at(d, end - start, numbers + NUMBERS, &d->digest,
		       &d->digest_path))
		return fail(why, ERR_CRYPTO,
			    "input or digest do not stand where the document "
			    "says: it was changed");
	crypto_hash_sha256(digest, d->input.p, d->input.n);
	if (numbers[24] == 2)
		crypto_hash_sha256(digest, digest, sizeof(digest));
	if (!memcmp(digest, d->digest.p, sizeof(digest))) {
		buf_printf(why,
			   "the answer is right about place %" PRIu64
			   ": this proves nothing",
			   d->nonce);
		return ERR_INPUT;
	}
	*lie = &false_digest;
	memcpy(id.b, d->worker, sizeof(id.b));
	buf_printf(why,
		   "%s signed an answer to lease %" PRIu64
		   " of a job, with a wrong digest of input %" PRIu64,
		   node_str(&id), get_be64(numbers), start + d->nonce);
	return OK;
}

static enum err examine(const struct evidence_doc *d, const struct lie **lie,
			struct buf *why)
{
	struct evidence_answer t;
	struct node_id id;

	enum err e = check_form(d, why);
	if (!e && !strcmp(d->kind, "digest"))
		return examine_digest(d, lie, why);
	if (!e)
		e = check_signed(d, &t, why);
	if (e)
		return e;
	*lie = lie_of(d, &t);
	if (!*lie) {
		buf_printf(why,
			   "the answer is right about nonce %" PRIu64
			   ": this proves nothing",
			   d->nonce);
		return ERR_INPUT;
	}
	memcpy(id.b, d->worker, sizeof(id.b));
	buf_printf(why,
		   "%s signed an answer to lease %" PRIu64 " of job %s that "
		   "%s nonce %" PRIu64 ", %s",
		   node_str(&id), t.lease, t.job, (*lie)->verb, d->nonce,
		   (*lie)->because);
	return OK;
}

enum err evidence_verify(const struct evidence_doc *d, struct buf *why)
{
	const struct lie *lie;
	struct buf said = {0};

	enum err e = examine(d, &lie, &said);
	if (!e && (!d->lie || strcmp(d->lie, lie->name) != 0)) {
		buf_clear(&said);
		buf_printf(&said, "it proves %s, but claims something else",
			   lie->name);
		e = ERR_INPUT;
	}
	buf_add_str(why, buf_str(&said));
	buf_release(&said);
	return e;
}

enum err evidence_make(struct evidence_doc *d, struct buf *why)
{
	const struct lie *lie;

	d->version = EVIDENCE_VERSION;
	enum err e = examine(d, &lie, why);
	if (!e)
		d->lie = (char *)(uintptr_t)lie->name;
	return e;
}

/* --- its forms --- */

void evidence_id(const struct evidence_doc *d,
		 uint8_t id[static EVIDENCE_ID_SIZE])
{
	crypto_generichash_state s;
	uint8_t nonce[8], hash[crypto_generichash_BYTES_MIN];

	put_be64(nonce, d->nonce);
	crypto_generichash_init(&s, NULL, 0, sizeof(hash));
	crypto_generichash_update(&s, d->worker, sizeof(d->worker));
	crypto_generichash_update(&s, d->answer.p, d->answer.n);
	crypto_generichash_update(&s, nonce, sizeof(nonce));
	crypto_generichash_final(&s, hash, sizeof(hash));
	memcpy(id, hash, EVIDENCE_ID_SIZE);
}

void evidence_pack(const struct evidence_doc *d, struct buf *out)
{
	fields_pack(&evidence_message, d, out);
}

enum err evidence_read(const void *p, size_t n, struct arena *a,
		       struct evidence_doc *out, struct buf *why)
{
	const char *text = p;
	size_t at = 0;

	while (at < n && memchr(" \t\r\n", text[at], 4))
		at++;
	if (at < n && text[at] == '{')
		return fields_from_json(&evidence_message, text, n, a, out,
					why);
	enum err e = n > EVIDENCE_MAX
			 ? ERR_LIMIT
			 : fields_unpack(&evidence_message, p, n, a, out);
	if (e)
		buf_add_str(why, "this is no evidence: neither its JSON nor "
				 "its packed form");
	return e;
}
