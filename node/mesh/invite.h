/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_INVITE_H
#define HN_MESH_INVITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/fields.h"
#include "node/base/identity.h"
#include "node/base/store.h"

/*
 * Invites (decision D2): one printable word that leads a newcomer to the node
 * that made it, and that node's list of the ones it has given out. A word
 * holds a secret for the handshake, never the mesh key.
 */
#define INVITE_LIFE_MS (UINT64_C(24) * 3600 * 1000)
#define INVITE_LIFE_MAX_MS (UINT64_C(31) * 24 * 3600 * 1000)
#define INVITE_USES_MAX 1000
#define INVITE_ADDRESSES 8
/* A responder tries 16 psks: two mesh keys and the invites (D10). */
#define INVITES_OPEN 14

/* --- the word: pure --- */

struct invite {
	uint64_t version; /* INVITE_VERSION */
	char *mesh;
	uint8_t mesh_id[32];
	uint8_t node[32];    /* the inviter */
	struct strs address; /* its sessions, host:port */
	struct strs dht;     /* its DHT node */
	uint8_t secret[16];
	uint64_t expires_ms; /* ms since 1970 */
	uint64_t uses;
};
#define INVITE_VERSION 1
extern const struct message invite_message;

/* Appends the word; asserts at most INVITE_ADDRESSES of each kind. */
void invite_word(const struct invite *i, struct buf *out);
/* ERR_INPUT for a damaged or foreign word, with a sentence; whether it has
 * expired is the caller's to ask. The invite lives in the arena. */
enum err invite_read(const char *word, struct arena *a, struct invite *out,
		     struct buf *why) HN_CHECK;
/* psk0 of the handshake that enrols. */
void invite_psk(const uint8_t secret[static 16], uint8_t out[static 32]);

/* --- those that this node gave out, in the store: loop thread --- */

struct invites;
extern const struct store_schema invites_schema[];
extern const size_t invites_schema_count;

typedef void (*invites_done_fn)(void *arg, enum err e, const char *text);
struct invites *invites_new(struct store *s);
/* Reads what is stored; done once. */
void invites_load(struct invites *l, invites_done_fn done, void *arg);
void invites_free(struct invites *l); /* no statement of it may be waiting */

/* A new one; ERR_LIMIT with a sentence when INVITES_OPEN are open. done comes
 * when it is durable; tag and secret are set at once. */
enum err invites_add(struct invites *l, uint64_t expires_ms, uint64_t uses,
		     uint64_t now_ms, uint8_t secret[static 16], uint64_t *tag,
		     struct buf *why, invites_done_fn done, void *arg) HN_CHECK;
/*
 * A newcomer uses one. done comes when the use is counted and durable: OK,
 * ERR_EXPIRED, ERR_DENIED (used up), ERR_NOTFOUND. The same node may repeat it
 * without being counted again: its answer may have been lost.
 */
void invites_use(struct invites *l, uint64_t tag, const struct node_id *who,
		 uint64_t now_ms, invites_done_fn done, void *arg);

/* Calls fn for each one that is not over, used up ones last (so that a late
 * newcomer can be told); at most INVITES_OPEN. */
void invites_each(const struct invites *l, uint64_t now_ms,
		  void (*fn)(uint64_t tag, const uint8_t secret[16], void *arg),
		  void *arg);

#endif
