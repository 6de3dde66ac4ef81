/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_MEMBERSHIP_H
#define HN_MESH_MEMBERSHIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/identity.h"
#include "node/mesh/wire.h"

/*
 * Which mesh this node is in, and with what key (decisions D1 to D3): the open
 * mesh `public` until it made or joined a private one. A private one is kept
 * in DIR/mesh (0600, one line of JSON, replaced atomically): a later plain
 * start is in it again. Every change is on disk before the call returns, or
 * nothing has changed. Loop thread only; file calls block shortly.
 */
#define MESH_NAME_MAX 64
#define MESH_EXCLUDED_MAX 1024
#define OLD_KEY_MS (UINT64_C(24) * 3600 * 1000) /* old psk accepted (D2) */

struct mesh_keys;

struct membership {
	char *dir;
	char name[MESH_NAME_MAX + 1];
	bool is_public;
	uint8_t mesh_id[32];
	struct mesh_secret {
		uint8_t key[32];
		uint8_t prev[32]; /* see membership_prev */
	} * secret;		  /* sodium_malloc */
	bool has_prev;
	uint64_t generation;	  /* rekeys so far */
	uint64_t rekeyed_ms;	  /* wall clock of the last one, here */
	struct node_id owner;	  /* the mesh owner; zero in `public` */
	struct buf cert;	  /* ours; empty in `public` */
	struct node_id *excluded; /* in the order that was signed */
	size_t nexcluded;
	uint8_t rekey_sig[64];
};

/* Lower-case letters, digits, - _ . ; at most MESH_NAME_MAX; not "public". */
enum err mesh_name_check(const char *name, struct buf *why) HN_CHECK;

/* ERR_CONFIG for a damaged file or one that is not ours to be in, ERR_IO;
 * each with what to do. The file is never replaced then. */
enum err membership_load(const char *dir, const struct identity *me,
			 struct buf *why, struct membership **out) HN_CHECK;
void membership_free(struct membership *m);

/* A new private mesh of this owner, with a random key and our certificate. */
enum err membership_found(struct membership *m, const char *name,
			  const struct identity *owner,
			  const struct identity *me, uint64_t now_ms,
			  struct buf *why) HN_CHECK;
/* What an inviter answered. The name and id must be those of the invite and
 * the certificate ours; else ERR_CRYPTO or ERR_PROTO. */
enum err membership_join(struct membership *m, const struct mesh_enrolled *e,
			 const char *name, const uint8_t mesh_id[static 32],
			 const struct identity *me, uint64_t now_ms,
			 struct buf *why) HN_CHECK;

/* A rekey that leaves out `without` and all who were left out before; the
 * message lives in the arena. ERR_LIMIT with too many. Changes nothing. */
enum err membership_rekey(const struct membership *m,
			  const struct identity *owner,
			  const struct node_id *without, size_t n,
			  struct arena *a, struct mesh_newkey *out,
			  struct buf *why) HN_CHECK;
/* Takes a rekey: ERR_EXISTS (we have this generation), ERR_EXPIRED (we have a
 * later one), ERR_CRYPTO (not the owner's), ERR_DENIED (we are left out). */
enum err membership_apply(struct membership *m, const struct mesh_newkey *k,
			  const struct node_id *self, uint64_t now_ms,
			  struct buf *why) HN_CHECK;
/* The last rekey, to hand on; false when there was none. */
bool membership_newkey(const struct membership *m, struct arena *a,
		       struct mesh_newkey *out);

/* The key before the last rekey while it is still accepted, else NULL. */
const uint8_t *membership_prev(const struct membership *m, uint64_t now_ms);
/* How much longer; 0: not accepted. */
uint64_t membership_prev_ms(const struct membership *m, uint64_t now_ms);
void membership_keys(const struct membership *m, struct mesh_keys *out);
bool membership_excludes(const struct membership *m, const struct node_id *id);
/* Is this a member, by its certificate and the list of those left out? */
enum err membership_admit(const struct membership *m, const struct node_id *id,
			  struct bytes cert, uint64_t now_ms,
			  struct buf *why) HN_CHECK;

/*
 * The owner's key of this node, DIR/owner.key; made when `make`, else
 * ERR_NOTFOUND when there is none. The caller frees it. In a private mesh:
 * ERR_DENIED, naming `hnode owner import`, unless it is the mesh owner's.
 */
enum err membership_owner(const struct membership *m, bool make,
			  struct buf *why, struct identity **out) HN_CHECK;

#endif
