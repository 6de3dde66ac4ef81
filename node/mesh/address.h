/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_ADDRESS_H
#define HN_MESH_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/fields.h"
#include "node/base/identity.h"

/*
 * Addresses as text, host:port with brackets around IPv6; which of them are
 * our own to announce (decision D5), and how near a peer's is.
 */
#define ADDRESS_ANNOUNCED 8 /* more would not fit a record */

struct address {
	char host[128]; /* without brackets */
	uint16_t port;
};
/* false: not host:port, or port 0. */
bool address_parse(const char *text, struct address *out);
void address_str(const char *host, uint16_t port, struct buf *out);
/* ID@HOST:PORT with all 64 digits of the id; ERR_INPUT with what is missing
 * (decision D7: a session is only dialled to a known key). */
enum err address_parse_node(const char *text, struct node_id *id,
			    struct address *out, struct buf *why) HN_CHECK;

/*
 * Appends our addresses with this port: what is advertised first (a bare host
 * gets the port), then the bound one; for a wildcard (bind NULL) those of all
 * interfaces that are up, loopback only where there is no other. bind "-":
 * what is advertised and nothing else.
 */
void address_own(const char *bind, const char *const *advertise,
		 size_t nadvertise, uint16_t port, struct strs *out);

/* "lan" (this machine or a network that we stand in) or "direct". */
const char *address_path(const char *host);

/* Lists of texts on the heap. */
void texts_add(struct strs *s, const char *text);
void texts_add_once(struct strs *s, const char *text, size_t max);
bool texts_have(const struct strs *s, const char *text);
void texts_remove(struct strs *s, const char *text);
bool texts_same(const struct strs *a, const struct strs *b);
void texts_clear(struct strs *s);
/* A copy in the arena. */
struct strs texts_copy(const struct strs *s, struct arena *a);

#endif
