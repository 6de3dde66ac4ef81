/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What lies in the DHT for anyone to take:
 *
 *	nonce (24) || XChaCha20-Poly1305(signature (64) || body)
 *
 * The body is the table below as msgpack. The seal keeps strangers from
 * reading and members of one topic's key from replaying into another (the
 * topic id is associated data). The signature is inside the seal, so that
 * nobody outside learns who signs, and it covers mesh and topic too: members
 * share the record key, and only the signature tells them apart.
 *
 * Checks run from cheap to dear: size, seal, fields, signature, times.
 */
#include "dht/record.h"

#include "node/base/mem.h"

#include <sodium.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_PURPOSE "hnode record 1"
#define NONCE_SIZE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define SEAL_SIZE crypto_aead_xchacha20poly1305_ietf_ABYTES
#define OVERHEAD (NONCE_SIZE + SEAL_SIZE + SIGN_SIZE)

_Static_assert(NONCE_SIZE == 24, "the nonce in record.h");
_Static_assert(crypto_kdf_KEYBYTES == 32, "a mesh key is a kdf key");

static const struct field record_cap_fields[] = {
    FIELD_STR(struct record_cap, name, TOPIC_NAME_MAX, "the capability"),
    FIELD_U64(struct record_cap, rate, 0,
	      "measured units of work per second; 0: not measured"),
    FIELD_U64(struct record_cap, slots, 1 << 20, "units it runs at once"),
    FIELD_U64(struct record_cap, free, 100, "share free at issue, percent"),
    FIELD_U64(struct record_cap, devices, 1 << 20, "devices behind it"),
    FIELD_U64(struct record_cap, price, 0, "credits per 2^32 hashes"),
    FIELD_STR(struct record_cap, region, RECORD_REGION_MAX,
	      "where it is, in its owner's words"),
    FIELD_BOOL(struct record_cap, hardware, "dedicated chips"),
    FIELD_BOOL(struct record_cap, paused, "takes no work now"),
};
const struct message record_cap_message =
    MESSAGE("record.cap", struct record_cap, record_cap_fields);

static const struct field record_fields[] = {
    FIELD_U64(struct record, version, 0, "1"),
    FIELD_FIXED(struct record, node, "Ed25519 key of the node that signs"),
    FIELD_U64(struct record, seq, 0,
	      "ms since 1970 at issue, never below the last + 1"),
    FIELD_U64(struct record, life_ms, RECORD_LIFE_MS,
	      "expires this long after issue"),
    FIELD_U64(struct record, state, RECORD_LEFT, "0 live, 1 left"),
    FIELD_STR(struct record, role, 8, "serve, use or both"),
    FIELD_STRS(struct record, address, RECORD_ADDRESSES,
	       "host:port of sessions, best first; none: outbound only"),
    FIELD_STRS(struct record, dht, RECORD_ADDRESSES,
	       "host:port of its DHT node"),
    FIELD_LIST(struct record, caps, RECORD_CAPS, &record_cap_message,
	       "what it offers under this topic"),
    FIELD_U64(struct record, suites, 0, "bit 0 ChaChaPoly, bit 1 AESGCM"),
    FIELD_FIXED(struct record, boot_id, "random at each start"),
    FIELD_U64(struct record, cores, 0, "CPU cores it may use"),
    FIELD_U64(struct record, ram_mib, 0, "memory, MiB"),
    FIELD_STR(struct record, cpu, 128, "instruction sets that matter"),
    FIELD_STR(struct record, software, 64, "name and version"),
    FIELD_BYTES(struct record, cert, 512, "membership; empty in `public`"),
};
const struct message record_message =
    MESSAGE("record", struct record, record_fields);

/* Keys and topics */

static void hash_of(uint8_t out[static 32], const uint8_t *key, size_t nkey,
		    const struct bytes *parts, size_t n)
{
	crypto_generichash_state st;
	crypto_generichash_init(&st, key, nkey, 32);
	for (size_t i = 0; i < n; i++)
		crypto_generichash_update(&st, parts[i].p, parts[i].n);
	crypto_generichash_final(&st, out, 32);
	sodium_memzero(&st, sizeof(st));
}

static struct bytes text(const char *s)
{
	return (struct bytes){(const uint8_t *)s, strlen(s)};
}

void mesh_keys_derive(const uint8_t mesh_id[static 32],
		      const uint8_t mesh_key[static 32], struct mesh_keys *out)
{
	uint8_t *const keys[] = {out->psk0, out->topic, out->record,
				 out->beacon};
	const struct bytes net[] = {text("hnode dht"), {mesh_id, 32}};
	uint8_t h[32];

	memcpy(out->mesh_id, mesh_id, 32);
	for (size_t i = 0; i < HN_COUNT(keys); i++)
		crypto_kdf_derive_from_key(keys[i], 32, i + 1, "hnodekdf",
					   mesh_key);
	hash_of(h, NULL, 0, net, HN_COUNT(net));
	out->network = get_be32(h);
	if (!out->network) /* 0 is OpenDHT's public network */
		out->network = 1;
}

void mesh_id_of(const uint8_t owner[static 32], const char *name,
		uint8_t out[static 32])
{
	const struct bytes parts[] = {
	    text("hnode mesh"), {owner, 32}, text(name)};
	hash_of(out, NULL, 0, parts, HN_COUNT(parts));
}

void mesh_public_key(uint8_t out[static 32])
{
	const struct bytes part = text("hnode public mesh");
	hash_of(out, NULL, 0, &part, 1);
}

enum err topic_check(const char *name, struct buf *why)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
				      "0123456789-_.:/";
	const size_t n = strlen(name), good = strspn(name, allowed);

	if (!n) {
		buf_add_str(why, "a topic needs a name, such as hash/sha256d");
		return ERR_INPUT;
	}
	if (n > TOPIC_NAME_MAX) {
		buf_printf(why, "a topic name has at most %d characters",
			   TOPIC_NAME_MAX);
		return ERR_INPUT;
	}
	if (good < n) {
		buf_printf(why,
			   "a topic name has lower-case letters, digits and "
			   "- _ . : / only; character %zu is another",
			   good + 1);
		return ERR_INPUT;
	}
	if (name[0] == '/' || name[n - 1] == '/' || strstr(name, "//")) {
		buf_add_str(why, "a topic name has no empty part before, "
				 "after or between slashes");
		return ERR_INPUT;
	}
	return OK;
}

void topic_id_of(const struct mesh_keys *k, const char *name,
		 struct topic_id *out)
{
	const struct bytes parts[] = {text("hnode/1"), text(name)};
	hash_of(out->b, k->topic, sizeof(k->topic), parts, HN_COUNT(parts));
}

/* Sealing */

static bool countable(const struct record *r)
{
	return r->address.n <= RECORD_ADDRESSES &&
	       r->dht.n <= RECORD_ADDRESSES && r->caps.n <= RECORD_CAPS;
}

enum err record_seal(const struct record *r, const struct identity *me,
		     const struct mesh_keys *k, const struct topic_id *topic,
		     const uint8_t nonce[static 24], struct buf *out)
{
	struct buf body = {0}, plain = {0};
	uint8_t sig[SIGN_SIZE];
	enum err e = ERR_LIMIT;

	assert(!memcmp(r->node, identity_id(me)->b, NODE_ID_SIZE));
	if (!countable(r))
		return ERR_LIMIT;
	fields_pack(&record_message, r, &body);
	if (body.n > RECORD_MAX - OVERHEAD)
		goto out;

	const struct bytes parts[] = {{k->mesh_id, sizeof(k->mesh_id)},
				      {topic->b, sizeof(topic->b)},
				      {body.p, body.n}};
	identity_sign(me, RECORD_PURPOSE, parts, HN_COUNT(parts), sig);
	buf_add(&plain, sig, sizeof(sig));
	buf_add(&plain, body.p, body.n);

	buf_add(out, nonce, NONCE_SIZE);
	buf_reserve(out, plain.n + SEAL_SIZE);
	unsigned long long sealed;
	crypto_aead_xchacha20poly1305_ietf_encrypt(
	    out->p + out->n, &sealed, plain.p, plain.n, topic->b,
	    sizeof(topic->b), NULL, nonce, k->record);
	out->n += sealed;
	e = OK;
out:
	buf_release(&body);
	buf_release(&plain);
	return e;
}

/* Opening */

static bool role_known(const char *role)
{
	return role && (!strcmp(role, "serve") || !strcmp(role, "use") ||
			!strcmp(role, "both"));
}

/* A name that topic_check takes, so that nobody above meets another. */
static bool name_good(const char *name)
{
	struct buf why = {0};
	const bool good = name && topic_check(name, &why) == OK;
	buf_release(&why);
	return good;
}

/* Addresses are printed and parsed further up: printable, and a port. */
static bool addresses_good(const struct strs *s)
{
	for (size_t i = 0; i < s->n; i++) {
		const char *p = s->items[i];
		const char *colon = p ? strrchr(p, ':') : NULL;
		if (!colon || colon == p || !colon[1])
			return false;
		for (; *p; p++)
			if (*p <= ' ' || *p > '~')
				return false;
	}
	return true;
}

enum record_fault record_unpack(const uint8_t *body, size_t n, struct arena *a,
				struct record *out)
{
	struct record r;

	const enum err e = fields_unpack(&record_message, body, n, a, &r);
	if (e)
		return e == ERR_LIMIT ? RECORD_BAD_SIZE : RECORD_BAD_SHAPE;
	if (r.version != RECORD_VERSION)
		return RECORD_BAD_VERSION;
	if (!role_known(r.role) || !addresses_good(&r.address) ||
	    !addresses_good(&r.dht))
		return RECORD_BAD_SHAPE;
	const struct record_cap *caps = r.caps.items;
	for (size_t i = 0; i < r.caps.n; i++)
		if (!name_good(caps[i].name))
			return RECORD_BAD_SHAPE;
	*out = r;
	return RECORD_OK;
}

static enum record_fault judge_plain(const uint8_t *plain, size_t n,
				     const struct mesh_keys *k,
				     const struct topic_id *topic,
				     uint64_t now_ms, struct arena *a,
				     struct record *out)
{
	const uint8_t *body = plain + SIGN_SIZE;
	const struct bytes parts[] = {{k->mesh_id, sizeof(k->mesh_id)},
				      {topic->b, sizeof(topic->b)},
				      {body, n - SIGN_SIZE}};
	struct record r;
	struct node_id id;

	const enum record_fault f = record_unpack(body, n - SIGN_SIZE, a, &r);
	if (f)
		return f;
	memcpy(id.b, r.node, sizeof(id.b));
	if (!node_id_verify(&id, RECORD_PURPOSE, parts, HN_COUNT(parts), plain))
		return RECORD_BAD_SIGNATURE;
	*out = r;
	if (r.seq > now_ms && r.seq - now_ms > RECORD_AHEAD_MS)
		return RECORD_AHEAD;
	if (r.seq <= now_ms && now_ms - r.seq >= r.life_ms)
		return RECORD_EXPIRED;
	return RECORD_OK;
}

enum record_fault record_judge(const uint8_t *p, size_t n,
			       const struct mesh_keys *k,
			       const struct topic_id *topic, uint64_t now_ms,
			       struct arena *a, struct record *out)
{
	uint8_t plain[RECORD_MAX];
	unsigned long long m;

	if (n > RECORD_MAX)
		return RECORD_BAD_SIZE;
	if (n < OVERHEAD || crypto_aead_xchacha20poly1305_ietf_decrypt(
				plain, &m, NULL, p + NONCE_SIZE, n - NONCE_SIZE,
				topic->b, sizeof(topic->b), p, k->record))
		return RECORD_BAD_SEAL;
	return judge_plain(plain, (size_t)m, k, topic, now_ms, a, out);
}

enum err record_open(const uint8_t *p, size_t n, const struct mesh_keys *k,
		     const struct topic_id *topic, uint64_t now_ms,
		     struct arena *a, struct record *out)
{
	switch (record_judge(p, n, k, topic, now_ms, a, out)) {
	case RECORD_OK:
		return OK;
	case RECORD_BAD_SIZE:
		return ERR_LIMIT;
	case RECORD_BAD_SEAL:
	case RECORD_BAD_SIGNATURE:
		return ERR_CRYPTO;
	case RECORD_BAD_SHAPE:
	case RECORD_BAD_VERSION:
	case RECORD_AHEAD:
		return ERR_PROTO;
	case RECORD_EXPIRED:
		return ERR_EXPIRED;
	}
	return ERR_PROTO;
}
