/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_OFFERS_H
#define HN_MESH_OFFERS_H

#include <stdbool.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/loop.h"
#include "node/mesh/wire.h"

/*
 * What this node offers to others: nothing unless asked. An offer is measured
 * when it is made (half a second of all allowed threads), published through
 * topics, told over sessions, and kept up to date with the rate that is
 * reached at work. Loop thread only.
 */
struct mesh;
struct offers;

#define OFFER_SLOTS 2 /* units in a device's hands at once (D13) */

struct offers *offers_new(struct mesh *m);
void offers_stop(struct offers *o); /* nothing is told any more */
void offers_free(struct offers *o); /* after the device pool has stopped */

/* done exactly once, never from inside, when it is measured and published:
 * OK (also when it was offered before), ERR_INPUT (nothing here can do it),
 * ERR_CONFIG (role use), ERR_CANCELED. */
typedef void (*offers_done_fn)(void *arg, enum err e, const char *text);
void offers_add(struct offers *o, const char *cap, offers_done_fn done,
		void *arg);
/* ERR_NOTFOUND with a sentence. */
enum err offers_remove(struct offers *o, const char *cap,
		       struct buf *why) HN_CHECK;
/* What others get of them changed (lending.h): tells peers and records. */
void offers_changed(struct offers *o);
bool offers_have(const struct offers *o, const char *cap);
void offers_list(const struct offers *o, struct arena *a, struct list *out);

#endif
