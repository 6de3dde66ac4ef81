/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rpc/noise.h"

#include <sodium.h>

#include <assert.h>
#include <string.h>

/*
 * A handshake is data: a row of the table below plus the psk modifiers of the
 * name, expanded once into a list of tokens per message. One walk over those
 * tokens writes a message, another reads it; no pattern has code of its own.
 *
 * All that a message changes is in struct moving, so that a trial of another
 * psk is a struct copy (noise_read_psks). Everything that can be judged from
 * lengths alone is judged before the first byte is processed.
 *
 * Of the three objects of chapter 5, CipherState is struct noise_cipher,
 * SymmetricState the functions from hkdf to decrypt_and_hash, HandshakeState
 * struct noise. Section numbers are those of the specification, revision 34.
 */

#define KEY NOISE_KEY_LEN
#define HASH NOISE_HASH_LEN
#define TAG NOISE_TAG_LEN
#define NAME_MAX_LEN 255 /* 8 */

_Static_assert(KEY == crypto_scalarmult_BYTES, "DHLEN");
_Static_assert(KEY == crypto_scalarmult_SCALARBYTES, "private keys");
_Static_assert(HASH == crypto_hash_sha256_BYTES, "HASHLEN");
_Static_assert(HASH == crypto_auth_hmacsha256_BYTES, "HASHLEN");

/* --- patterns: 7.4 one-way, 7.5 fundamental, 18.1 deferred --- */

#define E NOISE_E
#define S NOISE_S
#define EE NOISE_EE
#define ES NOISE_ES
#define SE NOISE_SE
#define SS NOISE_SS
#define ONEWAY true

/* clang-format off */
static const struct noise_pattern patterns[] = {
	/* name, "-> s", "<- s" before, one-way, messages from the initiator on */
	{"N", 0, 1, ONEWAY, {{E, ES}}},
	{"K", 1, 1, ONEWAY, {{E, ES, SS}}},
	{"X", 0, 1, ONEWAY, {{E, ES, S, SS}}},

	{"NN", 0, 0, 0, {{E}, {E, EE}}},
	{"NK", 0, 1, 0, {{E, ES}, {E, EE}}},
	{"NX", 0, 0, 0, {{E}, {E, EE, S, ES}}},
	{"XN", 0, 0, 0, {{E}, {E, EE}, {S, SE}}},
	{"XK", 0, 1, 0, {{E, ES}, {E, EE}, {S, SE}}},
	{"XX", 0, 0, 0, {{E}, {E, EE, S, ES}, {S, SE}}},
	{"KN", 1, 0, 0, {{E}, {E, EE, SE}}},
	{"KK", 1, 1, 0, {{E, ES, SS}, {E, EE, SE}}},
	{"KX", 1, 0, 0, {{E}, {E, EE, SE, S, ES}}},
	{"IN", 0, 0, 0, {{E, S}, {E, EE, SE}}},
	{"IK", 0, 1, 0, {{E, ES, S, SS}, {E, EE, SE}}},
	{"IX", 0, 0, 0, {{E, S}, {E, EE, SE, S, ES}}},

	{"NK1", 0, 1, 0, {{E}, {E, EE, ES}}},
	{"NX1", 0, 0, 0, {{E}, {E, EE, S}, {ES}}},
	{"X1N", 0, 0, 0, {{E}, {E, EE}, {S}, {SE}}},
	{"X1K", 0, 1, 0, {{E, ES}, {E, EE}, {S}, {SE}}},
	{"XK1", 0, 1, 0, {{E}, {E, EE, ES}, {S, SE}}},
	{"X1K1", 0, 1, 0, {{E}, {E, EE, ES}, {S}, {SE}}},
	{"X1X", 0, 0, 0, {{E}, {E, EE, S, ES}, {S}, {SE}}},
	{"XX1", 0, 0, 0, {{E}, {E, EE, S}, {ES, S, SE}}},
	{"X1X1", 0, 0, 0, {{E}, {E, EE, S}, {ES, S}, {SE}}},
	{"K1N", 1, 0, 0, {{E}, {E, EE}, {SE}}},
	{"K1K", 1, 1, 0, {{E, ES}, {E, EE}, {SE}}},
	{"KK1", 1, 1, 0, {{E}, {E, EE, SE, ES}}},
	{"K1K1", 1, 1, 0, {{E}, {E, EE, ES}, {SE}}},
	{"K1X", 1, 0, 0, {{E}, {E, EE, S, ES}, {SE}}},
	{"KX1", 1, 0, 0, {{E}, {E, EE, SE, S}, {ES}}},
	{"K1X1", 1, 0, 0, {{E}, {E, EE, S}, {SE, ES}}},
	{"I1N", 0, 0, 0, {{E, S}, {E, EE}, {SE}}},
	{"I1K", 0, 1, 0, {{E, ES, S}, {E, EE}, {SE}}},
	{"IK1", 0, 1, 0, {{E, S}, {E, EE, SE, ES}}},
	{"I1K1", 0, 1, 0, {{E, S}, {E, EE, ES}, {SE}}},
	{"I1X", 0, 0, 0, {{E, S}, {E, EE, S, ES}, {SE}}},
	{"IX1", 0, 0, 0, {{E, S}, {E, EE, SE, S}, {ES}}},
	{"I1X1", 0, 0, 0, {{E, S}, {E, EE, S}, {SE, ES}}},
};
/* clang-format on */

#undef E
#undef S
#undef EE
#undef ES
#undef SE
#undef SS
#undef ONEWAY

const struct noise_pattern *noise_patterns(size_t *count)
{
	*count = HN_COUNT(patterns);
	return patterns;
}

/* --- the state of a handshake --- */

/* What one message changes. */
struct moving {
	struct noise_cipher c; /* SymmetricState */
	uint8_t ck[HASH], h[HASH];
	uint8_t e[KEY], re[KEY], rs[KEY]; /* private, public, public */
	bool have_rs;
	uint8_t psk_at; /* of the next psk token */
};

struct noise {
	struct moving st;
	struct noise_pattern pattern; /* the row with its psk tokens in */
	uint8_t messages, at;	      /* in the pattern, gone through */
	bool initiator, failed, split;
	bool fixed_e;
	uint8_t s[KEY], s_pub[KEY];
	uint8_t fixed_e_key[KEY];
	uint8_t psks[NOISE_PSKS_MAX][KEY];
	uint8_t n_psks; /* psk tokens of the pattern */
	bool have_psks;
	noise_random_fn random;
	void *random_arg;
	/* Results of this message's DHs by token, for noise_read_psks. */
	uint8_t dh[NOISE_SS - NOISE_EE + 1][KEY];
	bool have_dh[NOISE_SS - NOISE_EE + 1];
	bool bad_dh; /* one of them has no result: no psk helps */
};

/* HKDF (4.3): `count` outputs, 2 or 3, from the chaining key and ikm. */
static void hkdf(const uint8_t ck[static HASH], const uint8_t *ikm, size_t len,
		 unsigned count, uint8_t out[static 3][HASH])
{
	crypto_auth_hmacsha256_state keyed, st;
	uint8_t temp[HASH];

	crypto_auth_hmacsha256_init(&st, ck, HASH);
	crypto_auth_hmacsha256_update(&st, ikm, len);
	crypto_auth_hmacsha256_final(&st, temp);
	crypto_auth_hmacsha256_init(&keyed, temp, HASH);
	for (unsigned i = 0; i < count; i++) {
		const uint8_t number = (uint8_t)(i + 1);

		st = keyed;
		if (i > 0)
			crypto_auth_hmacsha256_update(&st, out[i - 1], HASH);
		crypto_auth_hmacsha256_update(&st, &number, 1);
		crypto_auth_hmacsha256_final(&st, out[i]);
	}
	sodium_memzero(&keyed, sizeof keyed);
	sodium_memzero(&st, sizeof st);
	sodium_memzero(temp, sizeof temp);
}

/* The suite was judged by noise_new, so this cannot fail. */
static void init_key(struct noise_cipher *c, enum noise_suite suite,
		     const uint8_t key[static KEY])
{
	const enum err e = noise_cipher_init(c, suite, key);

	assert(!e);
	(void)e;
}

/* 5.2 from here on */
static void mix_hash(struct moving *st, const uint8_t *p, size_t n)
{
	crypto_hash_sha256_state hash;

	crypto_hash_sha256_init(&hash);
	crypto_hash_sha256_update(&hash, st->h, HASH);
	crypto_hash_sha256_update(&hash, p, n);
	crypto_hash_sha256_final(&hash, st->h);
}

static void mix_key(struct moving *st, const uint8_t ikm[static KEY])
{
	uint8_t out[3][HASH];

	hkdf(st->ck, ikm, KEY, 2, out);
	memcpy(st->ck, out[0], HASH);
	init_key(&st->c, st->c.suite, out[1]);
	sodium_memzero(out, sizeof out);
}

static void mix_key_and_hash(struct moving *st, const uint8_t psk[static KEY])
{
	uint8_t out[3][HASH];

	hkdf(st->ck, psk, KEY, 3, out);
	memcpy(st->ck, out[0], HASH);
	mix_hash(st, out[1], HASH);
	init_key(&st->c, st->c.suite, out[2]);
	sodium_memzero(out, sizeof out);
}

/*
 * Both take the size of the sealed form and whether it worked. A key of a
 * handshake seals a few times at most: its nonces do not run out.
 */
static bool encrypt_and_hash(struct moving *st, const uint8_t *in, size_t size,
			     uint8_t *out)
{
	if (st->c.keyed) {
		if (noise_cipher_seal(&st->c, st->h, HASH, in, size - TAG, out))
			return false;
	} else if (size > 0) {
		memcpy(out, in, size);
	}
	mix_hash(st, out, size);
	return true;
}

/* `out` NULL checks only. */
static bool decrypt_and_hash(struct moving *st, const uint8_t *in, size_t size,
			     uint8_t *out)
{
	if (st->c.keyed) {
		if (noise_cipher_open(&st->c, st->h, HASH, in, size, out))
			return false;
	} else if (size > 0 && out) {
		memcpy(out, in, size);
	}
	mix_hash(st, in, size);
	return true;
}

/* --- HandshakeState (5.3) --- */

static const uint8_t *tokens_of(const struct noise *n)
{
	return n->pattern.tokens[n->at];
}

static bool has_psk(const uint8_t *t)
{
	for (; *t != NOISE_END; t++)
		if (*t == NOISE_PSK)
			return true;
	return false;
}

/*
 * Bytes of the next message that are not its payload: known from the tokens,
 * so that lengths are judged before anything is processed.
 */
static size_t overhead(const struct noise *n)
{
	bool keyed = n->st.c.keyed;
	size_t size = 0;

	for (const uint8_t *t = tokens_of(n); *t != NOISE_END; t++) {
		if (*t == NOISE_E) {
			size += KEY;
			keyed = keyed || n->n_psks > 0; /* 9.2 */
		} else if (*t == NOISE_S) {
			size += KEY + (keyed ? TAG : 0);
		} else {
			keyed = true;
		}
	}
	return size + (keyed ? TAG : 0);
}

static void fail(struct noise *n)
{
	sodium_memzero(&n->st, sizeof n->st);
	sodium_memzero(n->psks, sizeof n->psks);
	sodium_memzero(n->dh, sizeof n->dh);
	n->failed = true;
}

/*
 * One DH (12.1) and its MixKey. libsodium refuses a public key that yields
 * zeros, which the specification allows. The result stays until the message is
 * through: noise_read_psks comes here once per candidate, with the same keys,
 * because an encrypted static key under a wrong psk does not pass its tag.
 */
static bool mix_dh(struct noise *n, uint8_t token)
{
	const size_t i = token - NOISE_EE;
	const bool own_static =
	    token == NOISE_SS || token == (n->initiator ? NOISE_SE : NOISE_ES);
	const bool peer_static =
	    token == NOISE_SS || token == (n->initiator ? NOISE_ES : NOISE_SE);

	if (!n->have_dh[i] && !n->bad_dh) {
		n->have_dh[i] = true;
		n->bad_dh =
		    crypto_scalarmult(n->dh[i], own_static ? n->s : n->st.e,
				      peer_static ? n->st.rs : n->st.re) != 0;
	}
	if (n->bad_dh)
		return false;
	mix_key(&n->st, n->dh[i]);
	return true;
}

static void forget_dh(struct noise *n)
{
	sodium_memzero(n->dh, sizeof n->dh);
	memset(n->have_dh, 0, sizeof n->have_dh);
}

/* The tokens that write and read share. */
static bool mix_token(struct noise *n, uint8_t token)
{
	if (token == NOISE_PSK) {
		mix_key_and_hash(&n->st, n->psks[n->st.psk_at++]); /* 9.2 */
		return true;
	}
	return mix_dh(n, token);
}

/* An ephemeral key went by: with psks it is also mixed into the key (9.2). */
static void mix_ephemeral(struct noise *n, const uint8_t pub[static KEY])
{
	mix_hash(&n->st, pub, KEY);
	if (n->n_psks > 0)
		mix_key(&n->st, pub);
}

static bool write_ephemeral(struct noise *n, uint8_t *out)
{
	if (n->fixed_e)
		memcpy(n->st.e, n->fixed_e_key, KEY);
	else
		n->random(n->st.e, KEY, n->random_arg);
	if (crypto_scalarmult_base(out, n->st.e) != 0)
		return false;
	mix_ephemeral(n, out);
	return true;
}

/* Bytes that n bytes become where they are written next. */
static size_t sealed(const struct moving *st, size_t n)
{
	return n + (st->c.keyed ? TAG : 0);
}

/* Room for everything is certain. WriteMessage (5.3). */
static bool write_message(struct noise *n, const uint8_t *payload, size_t len,
			  uint8_t *out)
{
	for (const uint8_t *t = tokens_of(n); *t != NOISE_END; t++) {
		if (*t == NOISE_E) {
			if (!write_ephemeral(n, out))
				return false;
			out += KEY;
		} else if (*t == NOISE_S) {
			const size_t size = sealed(&n->st, KEY);

			if (!encrypt_and_hash(&n->st, n->s_pub, size, out))
				return false;
			out += size;
		} else if (!mix_token(n, *t)) {
			return false;
		}
	}
	return encrypt_and_hash(&n->st, payload, sealed(&n->st, len), out);
}

/*
 * The message is long enough. ReadMessage (5.3). A public key of zeros is
 * refused where it comes in, a full low-order check is what the DH does.
 * payload NULL: everything is checked, the payload is not handed out.
 */
static bool read_message(struct noise *n, const uint8_t *p, const uint8_t *end,
			 uint8_t *payload)
{
	for (const uint8_t *t = tokens_of(n); *t != NOISE_END; t++) {
		if (*t == NOISE_E) {
			memcpy(n->st.re, p, KEY);
			if (sodium_is_zero(n->st.re, KEY))
				return false;
			mix_ephemeral(n, n->st.re);
			p += KEY;
		} else if (*t == NOISE_S) {
			const size_t size = sealed(&n->st, KEY);

			if (!decrypt_and_hash(&n->st, p, size, n->st.rs) ||
			    sodium_is_zero(n->st.rs, KEY))
				return false;
			n->st.have_rs = true;
			p += size;
		} else if (!mix_token(n, *t)) {
			return false;
		}
	}
	return decrypt_and_hash(&n->st, p, (size_t)(end - p), payload);
}

static bool usable(const struct noise *n)
{
	return !n->failed && n->at < n->messages;
}

enum err noise_write(struct noise *n, const uint8_t *payload, size_t len,
		     uint8_t *out, size_t cap, size_t *outlen)
{
	size_t size;

	if (!noise_my_turn(n) || len > NOISE_MSG_MAX)
		return ERR_INPUT;
	size = len + overhead(n);
	if (size > NOISE_MSG_MAX || size > cap)
		return ERR_INPUT;
	if (!write_message(n, payload, len, out)) {
		fail(n);
		return ERR_CRYPTO;
	}
	forget_dh(n);
	n->at++;
	*outlen = size;
	return OK;
}

/* What noise_read and noise_read_psks find out before the first byte. */
static enum err judge_message(struct noise *n, size_t len, size_t cap)
{
	const size_t least = overhead(n);
	enum err e = OK;

	if (len > NOISE_MSG_MAX)
		e = ERR_LIMIT;
	else if (len < least)
		e = ERR_PROTO;
	else if (len - least > cap)
		e = ERR_LIMIT;
	if (e)
		fail(n);
	return e;
}

/* The message is judged; `least` bytes of it are not payload. */
static enum err finish_read(struct noise *n, const uint8_t *msg, size_t len,
			    uint8_t *payload, size_t *plen)
{
	const size_t least = overhead(n);
	uint8_t none; /* so that an empty payload needs no place */

	if (!read_message(n, msg, msg + len, payload ? payload : &none)) {
		fail(n);
		return ERR_CRYPTO;
	}
	forget_dh(n);
	n->at++;
	*plen = len - least;
	return OK;
}

enum err noise_read(struct noise *n, const uint8_t *msg, size_t len,
		    uint8_t *payload, size_t cap, size_t *plen)
{
	enum err e;

	if (!usable(n) || noise_my_turn(n))
		return ERR_INPUT;
	if (has_psk(tokens_of(n)) && !n->have_psks)
		return ERR_INPUT;
	e = judge_message(n, len, cap);
	if (e)
		return e;
	return finish_read(n, msg, len, payload, plen);
}

/* The candidate stands at this message's first psk, or everywhere. */
static void place_psk(struct noise *n, unsigned at,
		      const uint8_t psk[static KEY])
{
	memcpy(n->psks[at], psk, KEY);
	if (!n->have_psks)
		for (unsigned i = 0; i < n->n_psks; i++)
			memcpy(n->psks[i], psk, KEY);
}

enum err noise_read_psks(struct noise *n, const uint8_t (*psks)[NOISE_KEY_LEN],
			 size_t count, const uint8_t *msg, size_t len,
			 uint8_t *payload, size_t cap, size_t *plen,
			 size_t *which)
{
	struct moving before;
	size_t found = count;
	enum err e;

	if (!usable(n) || noise_my_turn(n) || !has_psk(tokens_of(n)) ||
	    count == 0 || count > NOISE_CANDIDATE_PSKS_MAX)
		return ERR_INPUT;
	e = judge_message(n, len, cap);
	if (e)
		return e;
	before = n->st;
	for (size_t i = 0; i < count; i++) {
		place_psk(n, before.psk_at, psks[i]);
		if (read_message(n, msg, msg + len, NULL) && found == count)
			found = i;
		n->st = before;
	}
	sodium_memzero(&before, sizeof before);
	if (found == count) {
		fail(n);
		return ERR_CRYPTO;
	}
	place_psk(n, n->st.psk_at, psks[found]);
	n->have_psks = true;
	e = finish_read(n, msg, len, payload, plen);
	if (!e)
		*which = found;
	return e;
}

/* --- making one --- */

/*
 * "Noise_" pattern modifiers "_25519_" cipher "_SHA256" (8). The modifiers
 * come out as bits: 1 << k for pskK. They must ascend, because where the order
 * does not matter it is alphabetical (8.1).
 */
static bool parse_name(const char *name, const struct noise_pattern **row,
		       unsigned *modifiers, enum noise_suite *suite)
{
	static const char prefix[] = "Noise_";
	const char *p = name, *end;

	*row = NULL;
	*modifiers = 0;
	if (strnlen(name, NAME_MAX_LEN + 1) > NAME_MAX_LEN ||
	    strncmp(p, prefix, sizeof prefix - 1) != 0)
		return false;
	p += sizeof prefix - 1;
	end = p + strspn(p, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
	for (size_t i = 0; i < HN_COUNT(patterns); i++)
		if (strlen(patterns[i].name) == (size_t)(end - p) &&
		    memcmp(patterns[i].name, p, (size_t)(end - p)) == 0)
			*row = &patterns[i];
	if (!*row)
		return false;
	for (p = end; *p != '_'; p++) {
		unsigned bit;

		if (p != end && *p++ != '+')
			return false;
		if (strncmp(p, "psk", 3) != 0 || p[3] < '0' || p[3] > '4')
			return false;
		p += 3;
		bit = 1u << (*p - '0');
		if (bit <= *modifiers)
			return false;
		*modifiers |= bit;
	}
	if (strcmp(p, "_25519_ChaChaPoly_SHA256") == 0)
		*suite = NOISE_CHACHAPOLY;
	else if (strcmp(p, "_25519_AESGCM_SHA256") == 0)
		*suite = NOISE_AESGCM;
	else
		return false;
	return true;
}

static size_t append(uint8_t *tokens, size_t n, uint8_t token)
{
	assert(n + 1 < NOISE_TOKENS_MAX);
	tokens[n] = token;
	return n + 1;
}

/* psk0 begins the first message, pskK ends the Kth (9.4). */
static bool expand(struct noise *n, const struct noise_pattern *row,
		   unsigned modifiers)
{
	n->pattern = *row;
	while (n->messages < NOISE_MESSAGES_MAX &&
	       row->tokens[n->messages][0] != NOISE_END)
		n->messages++;
	if (modifiers >> (n->messages + 1) != 0)
		return false;
	memset(n->pattern.tokens, 0, sizeof n->pattern.tokens);
	for (unsigned m = 0; m < n->messages; m++) {
		uint8_t *to = n->pattern.tokens[m];
		size_t k = 0;

		if (m == 0 && modifiers & 1)
			k = append(to, k, NOISE_PSK);
		for (size_t i = 0; row->tokens[m][i] != NOISE_END; i++)
			k = append(to, k, row->tokens[m][i]);
		if (modifiers >> (m + 1) & 1)
			k = append(to, k, NOISE_PSK);
	}
	n->n_psks = (uint8_t)__builtin_popcount(modifiers);
	return true;
}

/* Whether this side sends `token`, in messages before `end`. */
static bool sends(const struct noise *n, uint8_t token)
{
	for (unsigned m = n->initiator ? 0 : 1; m < n->messages; m += 2)
		for (const uint8_t *t = n->pattern.tokens[m]; *t != NOISE_END;
		     t++)
			if (*t == token)
				return true;
	return false;
}

/* Without psks at hand, the first one must come with a message we read. */
static bool reads_first_psk(const struct noise *n)
{
	for (unsigned m = 0; m < n->messages; m++)
		if (has_psk(n->pattern.tokens[m]))
			return (m % 2 == 0) != n->initiator;
	return false;
}

static bool take_keys(struct noise *n, const struct noise_options *o)
{
	const bool pre_s = n->initiator ? n->pattern.pre_i : n->pattern.pre_r;
	const bool pre_rs = n->initiator ? n->pattern.pre_r : n->pattern.pre_i;

	if ((pre_s || sends(n, NOISE_S)) && !o->s)
		return false;
	if (sends(n, NOISE_E) && !o->e && !o->random)
		return false;
	if (pre_rs && (!o->rs || sodium_is_zero(o->rs, KEY)))
		return false;
	if (o->n_psks != n->n_psks && !(o->n_psks == 0 && reads_first_psk(n)))
		return false;
	if (o->s) {
		memcpy(n->s, o->s, KEY);
		if (crypto_scalarmult_base(n->s_pub, n->s) != 0)
			return false;
	}
	if (pre_rs) {
		memcpy(n->st.rs, o->rs, KEY);
		n->st.have_rs = true;
	}
	if (o->e) {
		memcpy(n->fixed_e_key, o->e, KEY);
		n->fixed_e = true;
	}
	if (o->n_psks > 0) {
		memcpy(n->psks, o->psks, o->n_psks * KEY);
		n->have_psks = true;
	}
	n->random = o->random;
	n->random_arg = o->random_arg;
	return true;
}

/* Initialize (5.3) with its InitializeSymmetric (5.2). */
static void init_hashes(struct noise *n, const char *name,
			struct bytes prologue)
{
	const size_t len = strlen(name);

	if (len <= HASH)
		memcpy(n->st.h, name, len); /* zeros follow */
	else
		crypto_hash_sha256(n->st.h, (const uint8_t *)name, len);
	memcpy(n->st.ck, n->st.h, HASH);
	mix_hash(&n->st, prologue.p, prologue.n);
	if (n->pattern.pre_i)
		mix_hash(&n->st, n->initiator ? n->s_pub : n->st.rs, KEY);
	if (n->pattern.pre_r)
		mix_hash(&n->st, n->initiator ? n->st.rs : n->s_pub, KEY);
}

enum err noise_new(const struct noise_options *o, struct noise **out)
{
	const struct noise_pattern *row;
	enum noise_suite suite;
	unsigned modifiers;
	struct noise *n;

	/* sodium_malloc puts the end at a page's end: this aligns the start. */
	_Static_assert(sizeof *n % 16 == 0, "alignment of the AES key");
	if (sodium_init() < 0)
		return ERR_CRYPTO;
	if (!parse_name(o->protocol, &row, &modifiers, &suite))
		return ERR_INPUT;
	if (suite == NOISE_AESGCM && !noise_aesgcm_available())
		return ERR_INPUT;
	n = sodium_malloc(sizeof *n);
	if (!n)
		return ERR_LIMIT;
	memset(n, 0, sizeof *n);
	n->initiator = o->initiator;
	n->st.c.suite = suite;
	if (!expand(n, row, modifiers) || !take_keys(n, o)) {
		noise_free(n);
		return ERR_INPUT;
	}
	init_hashes(n, o->protocol, o->prologue);
	*out = n;
	return OK;
}

void noise_free(struct noise *n)
{
	sodium_free(n); /* wipes */
}

/* --- looking at one, and its end --- */

const uint8_t *noise_hash(const struct noise *n)
{
	return n->st.h;
}

const uint8_t *noise_remote_static(const struct noise *n)
{
	return n->st.have_rs ? n->st.rs : NULL;
}

bool noise_done(const struct noise *n)
{
	return !n->failed && n->at == n->messages;
}

bool noise_my_turn(const struct noise *n)
{
	return usable(n) && (n->at % 2 == 0) == n->initiator;
}

enum err noise_split(struct noise *n, struct noise_cipher *tx,
		     struct noise_cipher *rx)
{
	const enum noise_suite suite = n->st.c.suite;
	struct noise_cipher *first = n->initiator ? tx : rx;
	struct noise_cipher *second = n->initiator ? rx : tx;
	uint8_t out[3][HASH];

	if (!noise_done(n) || n->split)
		return ERR_INPUT;
	hkdf(n->st.ck, NULL, 0, 2, out);
	init_key(first, suite, out[0]);
	init_key(second, suite, out[1]);
	if (n->pattern.oneway)
		noise_cipher_wipe(second);
	sodium_memzero(out, sizeof out);
	noise_cipher_wipe(&n->st.c);
	sodium_memzero(n->st.ck, sizeof n->st.ck);
	sodium_memzero(n->st.e, sizeof n->st.e);
	n->split = true;
	return OK;
}
