/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dht/beacon.h"

#include "node/base/mem.h"

#include <sodium.h>

#include <assert.h>
#include <string.h>

#define BEACON_PURPOSE "hnode beacon 1"
#define NONCE_SIZE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define SEAL_SIZE crypto_aead_xchacha20poly1305_ietf_ABYTES
#define OVERHEAD (NONCE_SIZE + SEAL_SIZE + SIGN_SIZE)

static const struct field beacon_fields[] = {
    FIELD_U64(struct beacon, version, 0, "1"),
    FIELD_FIXED(struct beacon, node, "Ed25519 key of the node that signs"),
    FIELD_U64(struct beacon, kind, 0,
	      "0 plain, 1 hello (answer it), 2 answer; others read as 0"),
    FIELD_U64(struct beacon, session_port, 65535, "TCP; 0: outbound only"),
    FIELD_U64(struct beacon, dht_port, 65535, "UDP; 0: no DHT"),
    FIELD_U64(struct beacon, suites, 0, "bit 0 ChaChaPoly, bit 1 AESGCM"),
    FIELD_U64(struct beacon, time, 0,
	      "ms by the sender's clock, in each packet above the last"),
};
const struct message beacon_message =
    MESSAGE("beacon", struct beacon, beacon_fields);

void beacon_seal(const struct beacon *b, const struct identity *me,
		 const struct mesh_keys *k, const uint8_t nonce[static 24],
		 struct buf *out)
{
	struct buf body = {0}, plain = {0};
	uint8_t sig[SIGN_SIZE];

	assert(!memcmp(b->node, identity_id(me)->b, NODE_ID_SIZE));
	fields_pack(&beacon_message, b, &body);
	const struct bytes parts[] = {{k->mesh_id, sizeof(k->mesh_id)},
				      {body.p, body.n}};
	identity_sign(me, BEACON_PURPOSE, parts, HN_COUNT(parts), sig);
	buf_add(&plain, sig, sizeof(sig));
	buf_add(&plain, body.p, body.n);
	assert(NONCE_SIZE + plain.n + SEAL_SIZE <= BEACON_MAX);

	buf_add(out, nonce, NONCE_SIZE);
	buf_reserve(out, plain.n + SEAL_SIZE);
	unsigned long long sealed;
	crypto_aead_xchacha20poly1305_ietf_encrypt(out->p + out->n, &sealed,
						   plain.p, plain.n, NULL, 0,
						   NULL, nonce, k->beacon);
	out->n += sealed;
	buf_release(&body);
	buf_release(&plain);
}

enum err beacon_unpack(const uint8_t *body, size_t n, struct beacon *out)
{
	struct arena a = {0};
	struct beacon b;

	enum err e = fields_unpack(&beacon_message, body, n, &a, &b);
	arena_release(&a); /* no field lives there */
	if (!e && b.version != BEACON_VERSION)
		e = ERR_PROTO;
	if (e)
		return e;
	if (b.kind > BEACON_ANSWER)
		b.kind = BEACON_PLAIN;
	*out = b;
	return OK;
}

enum err beacon_open(const uint8_t *p, size_t n, const struct mesh_keys *k,
		     struct beacon *out)
{
	uint8_t plain[BEACON_MAX];
	unsigned long long m;
	struct node_id id;
	struct beacon b;

	if (n > BEACON_MAX)
		return ERR_LIMIT;
	if (n < OVERHEAD || crypto_aead_xchacha20poly1305_ietf_decrypt(
				plain, &m, NULL, p + NONCE_SIZE, n - NONCE_SIZE,
				NULL, 0, p, k->beacon))
		return ERR_CRYPTO;
	const struct bytes parts[] = {{k->mesh_id, sizeof(k->mesh_id)},
				      {plain + SIGN_SIZE, m - SIGN_SIZE}};
	const enum err e = beacon_unpack(plain + SIGN_SIZE, m - SIGN_SIZE, &b);
	if (e)
		return e;
	memcpy(id.b, b.node, sizeof(id.b));
	if (!node_id_verify(&id, BEACON_PURPOSE, parts, HN_COUNT(parts), plain))
		return ERR_CRYPTO;
	*out = b;
	return OK;
}
