/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_RPC_NOISE_CIPHER_H
#define HN_RPC_NOISE_CIPHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/err.h"

/*
 * The cipher states of Noise (revision 34, section 5.1): one key, one counter,
 * two suites. Pure, for one thread at a time.
 */

#define NOISE_KEY_LEN 32
#define NOISE_TAG_LEN 16
#define NOISE_MSG_MAX 65535 /* any message, handshake or transport; 3 */

/* The numbers are what a dialler writes (D10, PROTOCOL). */
enum noise_suite {
	NOISE_CHACHAPOLY = 0,
	NOISE_AESGCM = 1,
};

/* Whether this CPU has what libsodium's AES-256-GCM needs. */
bool noise_aesgcm_available(void);

/*
 * A CipherState (5.1) with a key, embeddable. The members are read-only for
 * callers; the struct may be copied, but two copies that both seal repeat a
 * nonce. Whoever embeds it wipes it.
 */
struct noise_cipher {
	uint8_t aes[512] __attribute__((aligned(16))); /* expanded AES key */
	uint8_t key[NOISE_KEY_LEN];
	uint64_t nonce; /* of the next message */
	enum noise_suite suite;
	bool keyed; /* false: seal and open refuse */
};

/*
 * Starts at nonce 0. ERR_INPUT when the suite is AES-GCM and the CPU lacks it.
 */
HN_CHECK enum err noise_cipher_init(struct noise_cipher *c,
				    enum noise_suite suite,
				    const uint8_t key[static NOISE_KEY_LEN]);

/*
 * Seal n bytes into n + NOISE_TAG_LEN at out; open n bytes into
 * n - NOISE_TAG_LEN. `out` may be `in` itself, not overlap it otherwise, and
 * for opening be NULL: the tag is checked, no more. The nonce advances on
 * success only. ERR_LIMIT: over NOISE_MSG_MAX on the wire, or the nonces are
 * used up (2^64 - 1 is reserved). ERR_PROTO: shorter than a tag. ERR_CRYPTO:
 * the tag does not match, or there is no key.
 */
HN_CHECK enum err noise_cipher_seal(struct noise_cipher *c, const uint8_t *ad,
				    size_t adlen, const uint8_t *in, size_t n,
				    uint8_t *out);
HN_CHECK enum err noise_cipher_open(struct noise_cipher *c, const uint8_t *ad,
				    size_t adlen, const uint8_t *in, size_t n,
				    uint8_t *out);

/* REKEY (4.2, 11.3): a new key, the nonce runs on. No-op without a key. */
void noise_cipher_rekey(struct noise_cipher *c);
void noise_cipher_wipe(struct noise_cipher *c);

#endif
