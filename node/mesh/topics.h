/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_TOPICS_H
#define HN_MESH_TOPICS_H

#include <stdbool.h>
#include <stddef.h>

#include "node/base/err.h"
#include "node/base/loop.h"
#include "node/mesh/wire.h"

/*
 * Which topics this node has to do with, and why (decision D4): it offers the
 * capability, joined, was asked about it, or has a job that needs it. From
 * that follows what discovery publishes and follows, within the node's role
 * (DIS-03): `use` publishes no capability, `serve` follows nothing but
 * `want/`. Survives the discovery it feeds: another mesh, another discovery.
 * Loop thread only.
 */
struct mesh;
struct topics;

#define TOPICS_JOINED_MAX 24
#define TOPICS_LOOK_MS (10 * 60 * 1000) /* a question is followed so long */
#define WANT_PREFIX "want/"

struct topics *topics_new(struct mesh *m);
void topics_free(struct topics *t);

/* ERR_INPUT for a bad name, ERR_LIMIT, ERR_NOTFOUND. */
enum err topics_join(struct topics *t, const char *name,
		     struct buf *why) HN_CHECK;
enum err topics_leave(struct topics *t, const char *name,
		      struct buf *why) HN_CHECK;
void topics_offer(struct topics *t, const char *cap, bool offered);
void topics_want(struct topics *t, const char *cap, bool wanted);
/* Somebody asks who is there. True: it is followed from now on only, so the
 * answer is worth waiting for. */
bool topics_look(struct topics *t, const char *name);

bool topics_shared(const struct topics *t, const char *name); /* any reason */
bool topics_wanted(const struct topics *t, const char *name); /* by a job */

/* What we say of ourselves has changed (an offer, an address, the role of
 * being dialable), or discovery is another: brings it up to date. */
void topics_refresh(struct topics *t);
void topics_tick(struct topics *t); /* every few seconds */

/* Somebody's news under a topic: fn(arg, topic), for those who wait. */
void topics_news(struct topics *t, const char *topic);
void topics_on_news(struct topics *t, void (*fn)(void *arg, const char *topic),
		    void *arg);

/* Offered and joined ones, into the arena; for node.info. */
void topics_own(const struct topics *t, struct arena *a, struct strs *out);
void topics_list(const struct topics *t, struct arena *a, struct list *out);

#endif
