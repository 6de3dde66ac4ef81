/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_DHT_BEACON_H
#define HN_DHT_BEACON_H

#include <stdint.h>

#include "dht/record.h"
#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/fields.h"
#include "node/base/identity.h"

/*
 * One LAN beacon: a datagram that says who is here and on which ports. A table
 * of fields, signed over ("hnode beacon 1" || mesh id || body), sealed with
 * the mesh's beacon key, at most BEACON_MAX bytes. Pure. lan.h sends them.
 */
#define BEACON_MAX 512

enum beacon_kind {
	BEACON_PLAIN,
	BEACON_HELLO, /* just started: whoever hears it answers */
	BEACON_ANSWER /* answered only by those who do not know the sender */
};

struct beacon {
	uint64_t version; /* BEACON_VERSION */
	uint8_t node[32];
	uint64_t kind;	       /* enum beacon_kind */
	uint64_t session_port; /* 0: outbound only */
	uint64_t dht_port;     /* 0: no DHT */
	uint64_t suites;
	uint64_t time; /* the sender's, ms; each packet's above the last */
};
#define BEACON_VERSION 1
extern const struct message beacon_message;

/* Signs and seals; b->node must be me. Appended to out. */
void beacon_seal(const struct beacon *b, const struct identity *me,
		 const struct mesh_keys *k, const uint8_t nonce[static 24],
		 struct buf *out);
/* ERR_CRYPTO (not ours or forged), ERR_PROTO, ERR_LIMIT; *out only when all is
 * well. The time is the caller's to judge. */
enum err beacon_open(const uint8_t *p, size_t n, const struct mesh_keys *k,
		     struct beacon *out) HN_CHECK;
/* The fields alone. */
enum err beacon_unpack(const uint8_t *body, size_t n,
		       struct beacon *out) HN_CHECK;

#endif
