/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_BASE_CERT_H
#define HN_BASE_CERT_H

#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/fields.h"
#include "node/base/identity.h"

/*
 * Membership certificates (decision D1): the mesh owner says that a node
 * belongs to a mesh and whose node it is. They stand in records and in
 * handshake payloads. Pure: time is an argument; any thread.
 */
#define CERT_MAX 512 /* bytes packed */

struct cert {
	uint64_t version; /* CERT_VERSION */
	uint8_t node[32];
	uint8_t owner[32]; /* the node's owner; the node itself unless stated */
	uint8_t mesh_id[32];
	uint64_t issued_ms;  /* ms since 1970 */
	uint64_t expires_ms; /* 0: never */
	uint8_t sig[64];     /* "hnode cert 1" over version, node, owner, mesh
			      * id, issued, expires; integers u64 big endian */
};
#define CERT_VERSION 1
extern const struct message cert_message;

/* Fills version and signature in. */
void cert_sign(struct cert *c, const struct identity *mesh_owner);
/* Appends the wire form. */
void cert_pack(const struct cert *c, struct buf *out);

/*
 * Is this a certificate of node for this mesh, signed by this mesh owner and
 * not expired at now_ms? ERR_PROTO (no certificate at all), ERR_DENIED (of
 * another node or mesh), ERR_CRYPTO (not signed by the owner), ERR_EXPIRED,
 * with a sentence in why (may be NULL). *out (may be NULL) on OK only.
 */
enum err cert_check(struct bytes packed, const struct node_id *node,
		    const uint8_t mesh_id[static 32],
		    const struct node_id *mesh_owner, uint64_t now_ms,
		    struct buf *why, struct cert *out) HN_CHECK;

#endif
