/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_RPC_NOISE_H
#define HN_RPC_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/err.h"
#include "node/base/mem.h"
#include "rpc/noise_cipher.h"

/*
 * Noise handshakes, "The Noise Protocol Framework" revision 34, over 25519 and
 * SHA256 with ChaChaPoly or AESGCM: every one-way, fundamental and deferred
 * pattern and every pskN modifier; not `fallback`. Pure: bytes in, bytes out,
 * randomness handed in, no I/O, no clock, no globals. One object is for one
 * thread at a time. Section numbers below are the specification's.
 */

#define NOISE_HASH_LEN 32

enum {
	NOISE_MESSAGES_MAX = 4,	       /* messages of the longest pattern */
	NOISE_TOKENS_MAX = 8,	       /* per message, modifiers included */
	NOISE_PSKS_MAX = 5,	       /* psk0 to psk4 at once */
	NOISE_CANDIDATE_PSKS_MAX = 16, /* noise_read_psks */
};

/* A handshake pattern as the table of this file has it (7). */
enum noise_token {
	NOISE_END = 0,
	NOISE_E,
	NOISE_S,
	NOISE_EE,
	NOISE_ES,
	NOISE_SE,
	NOISE_SS,
	NOISE_PSK, /* comes from modifiers only, never in the table */
};

struct noise_pattern {
	const char *name;
	bool pre_i, pre_r; /* the pre-message "s" of either side */
	bool oneway;	   /* 7.4: only the initiator ever sends */
	/* NOISE_END ends a message; the first empty message ends the list */
	uint8_t tokens[NOISE_MESSAGES_MAX][NOISE_TOKENS_MAX];
};

/* Static; for tests and tools that walk all patterns. */
const struct noise_pattern *noise_patterns(size_t *count);

/* Fills n bytes of secret randomness; called for an ephemeral key only. */
typedef void (*noise_random_fn)(uint8_t *out, size_t n, void *arg);

/* Borrowed for the call of noise_new; zero-initialise what is not used. */
struct noise_options {
	const char *protocol; /* "Noise_XKpsk0_25519_ChaChaPoly_SHA256" */
	bool initiator;
	const uint8_t *s; /* 32 bytes private, or NULL */
	const uint8_t *e; /* 32 bytes private, NULL: from `random`. Only for
			     published vectors: never use one twice */
	/*
	 * 32 bytes public, or NULL. Used where the pattern has it as a
	 * pre-message and ignored where the peer sends it: there the caller
	 * judges noise_remote_static.
	 */
	const uint8_t *rs;
	/*
	 * As many as the name has psk modifiers, in their order. None at all
	 * is allowed if the first message with a psk is read through
	 * noise_read_psks, which then fills every place.
	 */
	const uint8_t (*psks)[NOISE_KEY_LEN];
	size_t n_psks;
	struct bytes prologue;
	noise_random_fn random;
	void *random_arg;
};

struct noise;

/*
 * ERR_INPUT: a name that is not ours, a key that the pattern needs is missing,
 * a wrong number of psks, neither e nor random where an ephemeral is sent, or
 * AES-GCM on a CPU without it. ERR_LIMIT: no guarded memory, to which secrets
 * are copied. ERR_CRYPTO: libsodium does not start.
 */
HN_CHECK enum err noise_new(const struct noise_options *o, struct noise **out);
void noise_free(struct noise *n); /* wipes; NULL is fine */

/*
 * Writes or reads the next handshake message. Buffers must not overlap.
 * ERR_INPUT: not our turn, done, or failed earlier, a payload or buffer that
 * does not fit for writing; nothing changed. Everything else leaves the state
 * unusable but for noise_free: ERR_PROTO too short, ERR_LIMIT over
 * NOISE_MSG_MAX or the payload over cap, ERR_CRYPTO a tag or a public key that
 * is no good.
 */
HN_CHECK enum err noise_write(struct noise *n, const uint8_t *payload,
			      size_t len, uint8_t *out, size_t cap,
			      size_t *outlen);
HN_CHECK enum err noise_read(struct noise *n, const uint8_t *msg, size_t len,
			     uint8_t *payload, size_t cap, size_t *plen);

/*
 * noise_read of a message with a psk token, when the psk is one of `count`
 * candidates (1 to NOISE_CANDIDATE_PSKS_MAX): its first psk token takes the
 * candidate, and so does every other one if noise_new got none. Each DH is
 * done once; all candidates are tried, in order, whichever matches, so that
 * the time does not name it. *which is the first that matched.
 */
HN_CHECK enum err noise_read_psks(struct noise *n,
				  const uint8_t (*psks)[NOISE_KEY_LEN],
				  size_t count, const uint8_t *msg, size_t len,
				  uint8_t *payload, size_t cap, size_t *plen,
				  size_t *which);

/* h as it stands; borrowed, valid until the next message or noise_free. */
const uint8_t *noise_hash(const struct noise *n);
/* 32 bytes, or NULL while unknown; borrowed until noise_free. */
const uint8_t *noise_remote_static(const struct noise *n);
bool noise_done(const struct noise *n);	   /* all messages went through */
bool noise_my_turn(const struct noise *n); /* the next one is ours to write */

/*
 * Split (5.2), once, when done; the chaining key is wiped. The direction that
 * a one-way pattern lacks (7.4) comes out without a key. ERR_INPUT otherwise.
 */
HN_CHECK enum err noise_split(struct noise *n, struct noise_cipher *tx,
			      struct noise_cipher *rx);

#endif
