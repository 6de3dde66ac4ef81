/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_RPC_HANDSHAKE_H
#define HN_RPC_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/fields.h"
#include "node/base/identity.h"
#include "rpc/noise.h"
#include "rpc/puzzle.h"
#include "rpc/session.h"

/*
 * How a connection begins (decision D10, PROTOCOL 1 and 2). Pure: bytes in,
 * bytes out; the only state is struct handshake.
 */
#define PROTOCOL_VERSION 1u
#define FIRST_SIZE 8	/* the dialler's first bytes */
#define REFUSAL_SIZE 10 /* two bytes 0xFF, and eight */
#define REFUSAL_MAX (REFUSAL_SIZE + 1 + PUZZLE_SEED) /* with a puzzle */
#define HANDSHAKE_MSG 1024 /* the longest handshake message we read */
#define HELLO_CERT 512	   /* bytes of a certificate */

/* The first bytes. */
struct first {
	bool control; /* "HNCT": the control socket */
	uint16_t version;
	uint8_t suite; /* 0 on the control socket */
	bool answered; /* the answer to a puzzle follows: PUZZLE_ANSWER */
};
void first_pack(const struct first *f, uint8_t out[static FIRST_SIZE]);
/* ERR_PROTO: not ours, or reserved bits. n < FIRST_SIZE: *whole is false and
 * OK means that it may still become one. */
enum err first_unpack(const uint8_t *p, size_t n, bool *whole,
		      struct first *out) HN_CHECK;

/* The responder's answer when it cannot go on. */
enum refusal_code {
	REFUSAL_VERSION = 1,
	REFUSAL_SUITE = 2,
	REFUSAL_PUZZLE = 3
};
struct refusal {
	uint8_t code;
	uint16_t version;     /* the responder's */
	uint8_t suites;	      /* its suites, bit n for suite n */
	struct puzzle puzzle; /* of REFUSAL_PUZZLE */
};
/* Returns how many bytes it is. */
size_t refusal_pack(const struct refusal *r, uint8_t out[static REFUSAL_MAX]);
/* *whole false and OK: more is to come. */
enum err refusal_unpack(const uint8_t *p, size_t n, bool *whole,
			struct refusal *out) HN_CHECK;
/* Whether p begins like one rather than with a message's length. */
bool refusal_begins(const uint8_t *p, size_t n);

/* The payload of messages 2 and 3. */
struct hello {
	uint64_t version;
	uint8_t key[NODE_ID_SIZE];
	uint8_t sig[SIGN_SIZE];
	struct bytes cert;
	uint64_t features;
	uint8_t boot_id[8];
	uint64_t unix_ms;
	uint64_t dials; /* the dialler's count in this boot; D11 */
};
extern const struct message hello_message;

/* What we say of ourselves. */
struct handshake_me {
	const struct identity *identity;
	uint64_t features;
	uint8_t boot_id[8];
	uint64_t unix_ms;
	uint64_t dials;
	struct bytes cert;
	uint8_t mesh_id[32];
	/* Dialler: of a puzzle; NULL: none was asked. */
	const uint8_t *answer;
};

/* What we learnt of the peer; cert points into the struct's own buffer. */
struct handshake_peer {
	struct session_hello hello;
	uint64_t dials;
	struct buf cert;
};
void handshake_peer_release(struct handshake_peer *p);

/*
 * The three messages. Output is appended with its length in front, input is
 * without it. After a failure only handshake_free is left. ERR_CRYPTO: psk,
 * key, mesh or signature does not fit; ERR_PROTO: malformed.
 */
struct handshake;

/* Dialler: first bytes and message 1. */
enum err handshake_dial(const struct handshake_me *me,
			const struct node_id *expect,
			const uint8_t psk[static 32], enum noise_suite suite,
			struct buf *out, struct handshake **hs) HN_CHECK;
/* Dialler: message 2, which tells of the peer; then message 3. */
enum err handshake_read2(struct handshake *hs, const uint8_t *p, size_t n,
			 struct handshake_peer *peer) HN_CHECK;
enum err handshake_write3(struct handshake *hs, const struct handshake_me *me,
			  struct buf *out) HN_CHECK;

/* Responder: message 1 under one of the psks, then message 2. */
enum err handshake_accept(const struct handshake_me *me,
			  const uint8_t first[static FIRST_SIZE],
			  const struct session_psk *psks, size_t npsks,
			  const uint8_t *p, size_t n, size_t *which,
			  struct buf *out, struct handshake **hs) HN_CHECK;
enum err handshake_read3(struct handshake *hs, const uint8_t *p, size_t n,
			 struct handshake_peer *peer) HN_CHECK;

/* After the last message: the two ciphers and the handshake hash. */
enum err handshake_split(struct handshake *hs, struct noise_cipher *tx,
			 struct noise_cipher *rx,
			 uint8_t hash[static 32]) HN_CHECK;
void handshake_free(struct handshake *hs); /* NULL is fine */

#endif
