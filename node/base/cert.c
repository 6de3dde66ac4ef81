/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/cert.h"

#include <sodium.h>

#include <stdarg.h>
#include <string.h>

#define PURPOSE "hnode cert 1"

static const struct field cert_fields[] = {
    FIELD_U64(struct cert, version, 0, "CERT_VERSION"),
    FIELD_FIXED(struct cert, node, "node id"),
    FIELD_FIXED(struct cert, owner, "the node's owner"),
    FIELD_FIXED(struct cert, mesh_id, "mesh id"),
    FIELD_U64(struct cert, issued_ms, 0, "ms since 1970"),
    FIELD_U64(struct cert, expires_ms, 0, "ms since 1970; 0: never"),
    FIELD_FIXED(struct cert, sig, "the mesh owner's signature"),
};
const struct message cert_message = MESSAGE("cert", struct cert, cert_fields);

/* What is signed: fixed sizes only, so no two certificates read alike. */
static struct bytes signed_part(const struct cert *c, uint8_t out[static 120])
{
	put_be64(out, c->version);
	memcpy(out + 8, c->node, 32);
	memcpy(out + 40, c->owner, 32);
	memcpy(out + 72, c->mesh_id, 32);
	put_be64(out + 104, c->issued_ms);
	put_be64(out + 112, c->expires_ms);
	return (struct bytes){out, 120};
}

void cert_sign(struct cert *c, const struct identity *mesh_owner)
{
	uint8_t text[120];

	c->version = CERT_VERSION;
	struct bytes part = signed_part(c, text);
	identity_sign(mesh_owner, PURPOSE, &part, 1, c->sig);
}

void cert_pack(const struct cert *c, struct buf *out)
{
	fields_pack(&cert_message, c, out);
}

static enum err refuse(struct buf *why, enum err e, const char *text)
{
	if (why)
		buf_add_str(why, text);
	return e;
}

enum err cert_check(struct bytes packed, const struct node_id *node,
		    const uint8_t mesh_id[static 32],
		    const struct node_id *mesh_owner, uint64_t now_ms,
		    struct buf *why, struct cert *out)
{
	struct arena arena = {0};
	struct cert c;
	uint8_t text[120];

	if (!packed.n)
		return refuse(why, ERR_PROTO, "it has no certificate");
	if (packed.n > CERT_MAX)
		return refuse(why, ERR_PROTO, "its certificate is too long");
	enum err e =
	    fields_unpack(&cert_message, packed.p, packed.n, &arena, &c);
	arena_release(&arena);
	if (e || c.version != CERT_VERSION)
		return refuse(why, ERR_PROTO, "its certificate is damaged");
	if (memcmp(c.node, node->b, 32))
		return refuse(why, ERR_DENIED,
			      "its certificate is of another node");
	if (memcmp(c.mesh_id, mesh_id, 32))
		return refuse(why, ERR_DENIED,
			      "its certificate is of another mesh");
	struct bytes part = signed_part(&c, text);
	if (!node_id_verify(mesh_owner, PURPOSE, &part, 1, c.sig))
		return refuse(why, ERR_CRYPTO,
			      "its certificate is not signed "
			      "by the owner of this mesh");
	if (c.expires_ms && c.expires_ms <= now_ms)
		return refuse(why, ERR_EXPIRED, "its certificate has expired");
	if (out)
		*out = c;
	return OK;
}
