/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_BASE_IDENTITY_H
#define HN_BASE_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/mem.h"

/*
 * Who we are (decision D1): Ed25519 keys on disk (0600), node ids, names for
 * people, signatures with a purpose. Pure but for the two file functions; any
 * thread.
 */
#define NODE_ID_SIZE 32

struct node_id {
	uint8_t b[NODE_ID_SIZE]; /* the Ed25519 public key */
};

bool node_id_eq(const struct node_id *a, const struct node_id *b);
int node_id_cmp(const struct node_id *a, const struct node_id *b);

/* "fox-amber-7d21": two words and four hex digits drawn from the key's hash;
 * for people, never for trust. */
#define NODE_NAME_SIZE 40
void node_name(const struct node_id *id, char out[static NODE_NAME_SIZE]);
/* The same in a ring of eight per-thread buffers, for log lines. */
const char *node_str(const struct node_id *id);
const char *node_hex(const struct node_id *id); /* 64 digits, same ring */

/* A key pair: a node's or an owner's. Lives in sodium_malloc memory. */
struct identity;

/*
 * Loads the key in path or makes one (mode 0600, fsync, rename). *fresh says
 * which. A file that is readable by others is mended to 0600. One that is
 * cut, foreign, damaged, from a newer hnode or of another purpose ("node",
 * "owner": at most 16 letters) is ERR_CONFIG, one that cannot be read or
 * written ERR_IO, with a sentence in why; it is never replaced. Of two
 * processes that make one at the same time both get the same key. Blocks.
 *
 * The file is one line of text:
 *	hnode-key 1 PURPOSE SEED CHECK
 * in lower-case hex; the check is the first 8 bytes of
 * BLAKE2b-256("hnode key 1" || NUL || purpose || NUL || seed).
 */
enum err identity_load(const char *path, const char *purpose, bool *fresh,
		       struct buf *why, struct identity **out) HN_CHECK;
struct identity *identity_random(void);
struct identity *identity_from_seed(const uint8_t seed[static 32]);
void identity_free(struct identity *me); /* wipes; NULL is fine */
const struct node_id *identity_id(const struct identity *me);
/* Writes it to path (0600, atomically), replacing what is there. Blocks. */
enum err identity_save(const struct identity *me, const char *path,
		       const char *purpose, struct buf *why) HN_CHECK;
/*
 * Passphrase-sealed text (Argon2id + XChaCha20-Poly1305), one printable word
 * (word.h, WORD_OWNER); import gives ERR_CRYPTO for a wrong passphrase,
 * ERR_INPUT for a mistyped word or one of another kind. Export gives ERR_INPUT
 * for an empty passphrase; both ERR_LIMIT when there is no memory for
 * Argon2id (64 MiB). Slow on purpose: loop_work or a client, never the loop.
 *
 * The bytes of the word: version 1, operations, log2 of memory in MiB, salt
 * (16), nonce (24), sealed seed (32 + 16); the first 43 are associated data.
 */
enum err identity_export(const struct identity *me, const char *passphrase,
			 struct buf *out) HN_CHECK;
enum err identity_import(const char *word, const char *passphrase,
			 struct buf *why, struct identity **out) HN_CHECK;

/* X25519 private key for Noise: crypto_sign_ed25519_sk_to_curve25519. The
 * caller wipes it. */
void identity_noise_key(const struct identity *me, uint8_t out[static 32]);
/* The X25519 public key of an id; false when the point is not valid. */
bool node_id_noise_key(const struct node_id *id, uint8_t out[static 32]);

/*
 * Signatures begin with their purpose and version, such as "hnode record 1"
 * (decision D3): signed is purpose || NUL || the parts in order. Where a part
 * varies in length, the parts must be so made that no other parts give the
 * same bytes.
 */
#define SIGN_SIZE 64
void identity_sign(const struct identity *me, const char *purpose,
		   const struct bytes *parts, size_t n,
		   uint8_t sig[static SIGN_SIZE]);
bool node_id_verify(const struct node_id *id, const char *purpose,
		    const struct bytes *parts, size_t n,
		    const uint8_t sig[static SIGN_SIZE]);

#endif
