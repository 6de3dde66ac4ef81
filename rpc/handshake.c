/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Noise XKpsk0 over 25519 and SHA256 (PROTOCOL 2):
 *
 *	<- s
 *	...
 *	-> psk, e, es		empty: it can be replayed
 *	<- e, ee		hello
 *	-> s, se		hello
 *
 * The dialler knows whom it dials, so the responder's key never travels and
 * the dialler's travels sealed; psk0 makes a stranger to the mesh fail at the
 * first message. What binds the Noise keys to the node ids is the signature in
 * each hello over the handshake hash as it stands before that message.
 */
#include "rpc/handshake.h"

#include "node/base/mem.h"

#include <sodium.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define PURPOSE "hnode session 1"
#define MSG1_SIZE 48 /* e and the tag of an empty payload */

static const char magic_peer[4] = {'H', 'N', 'O', 'D'};
static const char magic_control[4] = {'H', 'N', 'C', 'T'};

static const struct field hello_fields[] = {
    FIELD_U64(struct hello, version, 0, "protocol version of the sender"),
    FIELD_FIXED(struct hello, key, "node id: Ed25519 public key"),
    FIELD_FIXED(struct hello, sig,
		"by that key over the handshake hash before this message"),
    FIELD_BYTES(struct hello, cert, HELLO_CERT,
		"membership certificate, empty where there is none"),
    FIELD_U64(struct hello, features, 0, "feature bits"),
    FIELD_FIXED(struct hello, boot_id, "random, drawn at each start"),
    FIELD_U64(struct hello, unix_ms, 0, "sender's clock, ms since 1970"),
    FIELD_U64(struct hello, dials, 0,
	      "the dialler's count of dials since its start, 0 in message 2"),
};
const struct message hello_message =
    MESSAGE("session.hello", struct hello, hello_fields);

struct handshake {
	struct noise *noise;
	struct node_id expect; /* dialler */
};

/* First bytes and refusal */

void first_pack(const struct first *f, uint8_t out[static FIRST_SIZE])
{
	memcpy(out, f->control ? magic_control : magic_peer, 4);
	out[4] = (uint8_t)(f->version >> 8);
	out[5] = (uint8_t)f->version;
	out[6] = f->suite;
	out[7] = f->answered;
}

enum err first_unpack(const uint8_t *p, size_t n, bool *whole,
		      struct first *out)
{
	const size_t have = n < 4 ? n : 4;

	if (memcmp(p, magic_peer, have) && memcmp(p, magic_control, have))
		return ERR_PROTO;
	*whole = n >= FIRST_SIZE;
	if (!*whole)
		return OK;
	*out = (struct first){
	    .control = !memcmp(p, magic_control, 4),
	    .version = (uint16_t)(p[4] << 8 | p[5]),
	    .suite = p[6],
	    .answered = p[7] & 1,
	};
	/* A later version may give the other bits a meaning. */
	if (out->version == PROTOCOL_VERSION &&
	    (p[7] & ~1 || (out->answered && out->control)))
		return ERR_PROTO;
	return OK;
}

bool refusal_begins(const uint8_t *p, size_t n)
{
	return n >= 2 && p[0] == 0xff && p[1] == 0xff;
}

size_t refusal_pack(const struct refusal *r, uint8_t out[static REFUSAL_MAX])
{
	out[0] = out[1] = 0xff;
	memcpy(out + 2, magic_peer, 4);
	out[6] = r->code;
	out[7] = (uint8_t)(r->version >> 8);
	out[8] = (uint8_t)r->version;
	out[9] = r->suites;
	if (r->code != REFUSAL_PUZZLE)
		return REFUSAL_SIZE;
	out[10] = r->puzzle.bits;
	memcpy(out + 11, r->puzzle.seed, PUZZLE_SEED);
	return REFUSAL_MAX;
}

enum err refusal_unpack(const uint8_t *p, size_t n, bool *whole,
			struct refusal *out)
{
	*whole = false;
	if (n < REFUSAL_SIZE)
		return OK;
	const size_t size = p[6] == REFUSAL_PUZZLE ? REFUSAL_MAX : REFUSAL_SIZE;
	if (n > size || !refusal_begins(p, n) || memcmp(p + 2, magic_peer, 4) ||
	    p[6] < REFUSAL_VERSION || p[6] > REFUSAL_PUZZLE)
		return ERR_PROTO;
	if (n < size)
		return OK;
	*whole = true;
	*out = (struct refusal){
	    .code = p[6],
	    .version = (uint16_t)(p[7] << 8 | p[8]),
	    .suites = p[9],
	};
	if (out->code == REFUSAL_PUZZLE) {
		out->puzzle.bits = p[10];
		memcpy(out->puzzle.seed, p + 11, PUZZLE_SEED);
	}
	return OK;
}

/* Messages */

static void random_bytes(uint8_t *out, size_t n, void *arg)
{
	(void)arg;
	randombytes_buf(out, n);
}

static enum err noise_begin(struct handshake *hs, const struct handshake_me *me,
			    const uint8_t first[static FIRST_SIZE],
			    enum noise_suite suite, const uint8_t *psk,
			    const uint8_t *rs)
{
	uint8_t prologue[FIRST_SIZE + sizeof(me->mesh_id)];
	uint8_t s[32];

	memcpy(prologue, first, FIRST_SIZE);
	memcpy(prologue + FIRST_SIZE, me->mesh_id, sizeof(me->mesh_id));
	identity_noise_key(me->identity, s);
	const struct noise_options o = {
	    .protocol = suite == NOISE_AESGCM
			    ? "Noise_XKpsk0_25519_AESGCM_SHA256"
			    : "Noise_XKpsk0_25519_ChaChaPoly_SHA256",
	    .initiator = rs != NULL,
	    .s = s,
	    .rs = rs,
	    .psks = (const uint8_t(*)[NOISE_KEY_LEN])psk,
	    .n_psks = psk ? 1 : 0,
	    .prologue = {prologue, sizeof(prologue)},
	    .random = random_bytes,
	};
	const enum err e = noise_new(&o, &hs->noise);
	sodium_memzero(s, sizeof(s));
	return e;
}

static enum err write_message(struct handshake *hs, const struct buf *payload,
			      struct buf *out)
{
	size_t n;

	buf_reserve(out, 2 + HANDSHAKE_MSG);
	uint8_t *p = out->p + out->n;
	enum err e = noise_write(hs->noise, payload->p, payload->n, p + 2,
				 HANDSHAKE_MSG, &n);
	if (e)
		return e;
	p[0] = (uint8_t)(n >> 8);
	p[1] = (uint8_t)n;
	out->n += 2 + n;
	return OK;
}

/* The signature is over h before this message (PROTOCOL 2.3). */
static enum err write_hello(struct handshake *hs, const struct handshake_me *me,
			    uint64_t dials, struct buf *out)
{
	const struct bytes h = {noise_hash(hs->noise), NOISE_HASH_LEN};
	struct hello hello = {
	    .version = PROTOCOL_VERSION,
	    .cert = me->cert,
	    .features = me->features,
	    .unix_ms = me->unix_ms,
	    .dials = dials,
	};
	struct buf payload = {0};

	memcpy(hello.key, identity_id(me->identity)->b, NODE_ID_SIZE);
	memcpy(hello.boot_id, me->boot_id, sizeof(hello.boot_id));
	identity_sign(me->identity, PURPOSE, &h, 1, hello.sig);
	fields_pack(&hello_message, &hello, &payload);
	const enum err e = write_message(hs, &payload, out);
	buf_release(&payload);
	return e;
}

static enum err unpack_hello(const uint8_t *p, size_t n, const uint8_t *h,
			     struct handshake_peer *peer)
{
	struct arena a = {0};
	struct hello hello;
	struct node_id id;
	const struct bytes part = {h, NOISE_HASH_LEN};
	enum err e = fields_unpack(&hello_message, p, n, &a, &hello);

	if (e)
		goto out;
	memcpy(id.b, hello.key, NODE_ID_SIZE);
	if (!node_id_verify(&id, PURPOSE, &part, 1, hello.sig)) {
		e = ERR_CRYPTO;
		goto out;
	}
	buf_clear(&peer->cert);
	buf_add(&peer->cert, hello.cert.p, hello.cert.n);
	peer->dials = hello.dials;
	peer->hello = (struct session_hello){
	    .id = id,
	    .version = hello.version,
	    .features = hello.features,
	    .unix_ms = hello.unix_ms,
	    .cert = {peer->cert.p, peer->cert.n},
	};
	memcpy(peer->hello.boot_id, hello.boot_id, sizeof(hello.boot_id));
out:
	arena_release(&a);
	return e;
}

static enum err read_hello(struct handshake *hs, const uint8_t *p, size_t n,
			   struct handshake_peer *peer)
{
	uint8_t h[NOISE_HASH_LEN], payload[HANDSHAKE_MSG], key[32];
	size_t len;

	if (n > HANDSHAKE_MSG)
		return ERR_LIMIT;
	memcpy(h, noise_hash(hs->noise), sizeof(h));
	enum err e =
	    noise_read(hs->noise, p, n, payload, sizeof(payload), &len);
	if (!e)
		e = unpack_hello(payload, len, h, peer);
	if (e)
		return e;
	/* The signing key is the one behind the Noise key (D10). */
	const uint8_t *rs = noise_remote_static(hs->noise);
	if (!rs || !node_id_noise_key(&peer->hello.id, key) ||
	    sodium_memcmp(key, rs, sizeof(key)))
		return ERR_CRYPTO;
	return OK;
}

enum err handshake_dial(const struct handshake_me *me,
			const struct node_id *expect,
			const uint8_t psk[static 32], enum noise_suite suite,
			struct buf *out, struct handshake **hs)
{
	const struct first f = {.version = PROTOCOL_VERSION,
				.suite = (uint8_t)suite,
				.answered = me->answer};
	const struct buf empty = {0};
	uint8_t first[FIRST_SIZE], rs[32];

	if (!node_id_noise_key(expect, rs))
		return ERR_CRYPTO;
	first_pack(&f, first);
	struct handshake *x = HN_NEW(struct handshake);
	x->expect = *expect;
	enum err e = noise_begin(x, me, first, suite, psk, rs);
	if (!e) {
		buf_add(out, first, sizeof(first));
		if (me->answer)
			buf_add(out, me->answer, PUZZLE_ANSWER);
		e = write_message(x, &empty, out);
	}
	if (e) {
		handshake_free(x);
		return e;
	}
	*hs = x;
	return OK;
}

enum err handshake_read2(struct handshake *hs, const uint8_t *p, size_t n,
			 struct handshake_peer *peer)
{
	enum err e = read_hello(hs, p, n, peer);

	if (!e && !node_id_eq(&peer->hello.id, &hs->expect))
		e = ERR_CRYPTO;
	return e;
}

enum err handshake_write3(struct handshake *hs, const struct handshake_me *me,
			  struct buf *out)
{
	return write_hello(hs, me, me->dials, out);
}

enum err handshake_accept(const struct handshake_me *me,
			  const uint8_t first[static FIRST_SIZE],
			  const struct session_psk *psks, size_t npsks,
			  const uint8_t *p, size_t n, size_t *which,
			  struct buf *out, struct handshake **hs)
{
	uint8_t keys[SESSION_PSKS][NOISE_KEY_LEN], payload[1];
	size_t len;

	if (n != MSG1_SIZE)
		return ERR_PROTO;
	if (!npsks || npsks > SESSION_PSKS)
		return ERR_INPUT;
	for (size_t i = 0; i < npsks; i++)
		memcpy(keys[i], psks[i].key, NOISE_KEY_LEN);
	struct handshake *x = HN_NEW(struct handshake);
	enum err e =
	    noise_begin(x, me, first, (enum noise_suite)first[6], NULL, NULL);
	if (!e)
		e = noise_read_psks(
		    x->noise, (const uint8_t(*)[NOISE_KEY_LEN])keys, npsks, p,
		    n, payload, sizeof(payload), &len, which);
	sodium_memzero(keys, sizeof(keys));
	if (!e)
		e = write_hello(x, me, 0, out);
	if (e) {
		handshake_free(x);
		return e;
	}
	*hs = x;
	return OK;
}

enum err handshake_read3(struct handshake *hs, const uint8_t *p, size_t n,
			 struct handshake_peer *peer)
{
	return read_hello(hs, p, n, peer);
}

enum err handshake_split(struct handshake *hs, struct noise_cipher *tx,
			 struct noise_cipher *rx, uint8_t hash[static 32])
{
	if (!noise_done(hs->noise))
		return ERR_INPUT;
	memcpy(hash, noise_hash(hs->noise), NOISE_HASH_LEN);
	return noise_split(hs->noise, tx, rx);
}

void handshake_peer_release(struct handshake_peer *p)
{
	buf_release(&p->cert);
}

void handshake_free(struct handshake *hs)
{
	if (!hs)
		return;
	noise_free(hs->noise);
	free(hs);
}
