/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rpc/noise_cipher.h"

#include <sodium.h>

#include <string.h>

/* Section numbers are those of the Noise specification, revision 34. */

#define KEY NOISE_KEY_LEN
#define TAG NOISE_TAG_LEN
#define NONCE_LEN 12
#define NONCE_RESERVED UINT64_MAX /* 5.1 */

_Static_assert(KEY == crypto_aead_chacha20poly1305_ietf_KEYBYTES, "k");
_Static_assert(KEY == crypto_aead_aes256gcm_KEYBYTES, "k");
_Static_assert(TAG == crypto_aead_chacha20poly1305_ietf_ABYTES, "tag");
_Static_assert(TAG == crypto_aead_aes256gcm_ABYTES, "tag");
_Static_assert(NONCE_LEN == crypto_aead_chacha20poly1305_ietf_NPUBBYTES, "n");
_Static_assert(NONCE_LEN == crypto_aead_aes256gcm_NPUBBYTES, "n");
_Static_assert(sizeof(crypto_aead_aes256gcm_state) ==
		   sizeof(((struct noise_cipher *)0)->aes),
	       "libsodium's expanded AES key");

bool noise_aesgcm_available(void)
{
	return sodium_init() >= 0 && crypto_aead_aes256gcm_is_available();
}

static crypto_aead_aes256gcm_state *aes_of(struct noise_cipher *c)
{
	return (crypto_aead_aes256gcm_state *)(void *)c->aes;
}

static void set_key(struct noise_cipher *c, const uint8_t key[static KEY])
{
	memcpy(c->key, key, KEY);
	if (c->suite == NOISE_AESGCM)
		(void)crypto_aead_aes256gcm_beforenm(aes_of(c), c->key);
	c->keyed = true;
}

enum err noise_cipher_init(struct noise_cipher *c, enum noise_suite suite,
			   const uint8_t key[static KEY])
{
	if (suite != NOISE_CHACHAPOLY &&
	    (suite != NOISE_AESGCM || !noise_aesgcm_available()))
		return ERR_INPUT;
	c->suite = suite;
	c->nonce = 0;
	set_key(c, key);
	return OK;
}

void noise_cipher_wipe(struct noise_cipher *c)
{
	sodium_memzero(c, sizeof *c);
}

/* 32 zero bits, then n: little-endian (12.3) or big-endian (12.4). */
static void put_nonce(enum noise_suite suite, uint64_t n,
		      uint8_t out[static NONCE_LEN])
{
	memset(out, 0, 4);
	for (int i = 0; i < 8; i++)
		out[suite == NOISE_AESGCM ? 11 - i : 4 + i] =
		    (uint8_t)(n >> 8 * i);
}

/* ENCRYPT (4.2) */
static void encrypt(struct noise_cipher *c, uint64_t nonce, const uint8_t *ad,
		    size_t adlen, const uint8_t *in, size_t n, uint8_t *out)
{
	uint8_t npub[NONCE_LEN];

	put_nonce(c->suite, nonce, npub);
	switch (c->suite) {
	case NOISE_CHACHAPOLY:
		(void)crypto_aead_chacha20poly1305_ietf_encrypt(
		    out, NULL, in, n, ad, adlen, NULL, npub, c->key);
		return;
	case NOISE_AESGCM:
		(void)crypto_aead_aes256gcm_encrypt_afternm(
		    out, NULL, in, n, ad, adlen, NULL, npub, aes_of(c));
		return;
	}
}

/* DECRYPT (4.2) of n >= TAG bytes; `out` NULL: the tag is checked, no more */
static bool decrypt(struct noise_cipher *c, const uint8_t *ad, size_t adlen,
		    const uint8_t *in, size_t n, uint8_t *out)
{
	uint8_t npub[NONCE_LEN];
	const uint8_t *tag = in + (n - TAG);

	put_nonce(c->suite, c->nonce, npub);
	switch (c->suite) {
	case NOISE_CHACHAPOLY:
		return crypto_aead_chacha20poly1305_ietf_decrypt_detached(
			   out, NULL, in, n - TAG, tag, ad, adlen, npub,
			   c->key) == 0;
	case NOISE_AESGCM:
		return crypto_aead_aes256gcm_decrypt_detached_afternm(
			   out, NULL, in, n - TAG, tag, ad, adlen, npub,
			   aes_of(c)) == 0;
	}
	return false;
}

enum err noise_cipher_seal(struct noise_cipher *c, const uint8_t *ad,
			   size_t adlen, const uint8_t *in, size_t n,
			   uint8_t *out)
{
	if (!c->keyed)
		return ERR_CRYPTO;
	if (n > NOISE_MSG_MAX - TAG || c->nonce == NONCE_RESERVED)
		return ERR_LIMIT;
	encrypt(c, c->nonce, ad, adlen, in, n, out);
	c->nonce++;
	return OK;
}

enum err noise_cipher_open(struct noise_cipher *c, const uint8_t *ad,
			   size_t adlen, const uint8_t *in, size_t n,
			   uint8_t *out)
{
	if (!c->keyed)
		return ERR_CRYPTO;
	if (n > NOISE_MSG_MAX || c->nonce == NONCE_RESERVED)
		return ERR_LIMIT;
	if (n < TAG)
		return ERR_PROTO;
	if (!decrypt(c, ad, adlen, in, n, out))
		return ERR_CRYPTO;
	c->nonce++;
	return OK;
}

void noise_cipher_rekey(struct noise_cipher *c)
{
	static const uint8_t zeros[KEY];
	uint8_t sealed[KEY + TAG];

	if (!c->keyed)
		return;
	encrypt(c, NONCE_RESERVED, NULL, 0, zeros, KEY, sealed);
	set_key(c, sealed);
	sodium_memzero(sealed, sizeof sealed);
}
