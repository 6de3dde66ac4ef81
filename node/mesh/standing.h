/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_STANDING_H
#define HN_MESH_STANDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/err.h"
#include "node/base/identity.h"
#include "node/base/loop.h"
#include "node/base/store.h"

/*
 * The scores on disk: one row per peer, as score_pack has it with a checksum,
 * read before the first peer is known and brought up to date while jobs run:
 * at once where a peer's state changed, the rest every few seconds. What has
 * faded to nothing is deleted, and so is the oldest beyond STANDING_MAX; a bar
 * stays. Loop thread only.
 */
struct jobs;
struct standing;

#define STANDING_MAX 8192
#define STANDING_KEPT_MS (UINT64_C(180) * 24 * 3600 * 1000)

extern const struct store_schema standing_schema[];
extern const size_t standing_schema_count;

struct standing *standing_new(struct loop *l, struct store *s, struct jobs *j,
			      uint64_t half_life_ms);
/* Gives the coordinator what the table holds; done once. A row that is damaged
 * is left out, said in the log and deleted. */
typedef void (*standing_load_fn)(void *arg, enum err e, const char *text);
void standing_load(struct standing *s, standing_load_fn done, void *arg);
/* A state changed, as jobs_ops.scored says; may be called from it. */
void standing_changed(struct standing *s, const struct node_id *id);
/* Something may have changed: saved within a few seconds. */
void standing_tick(struct standing *s);
/* Saves what has changed; the coordinator is not used any more. */
void standing_stop(struct standing *s);
/* No statement of it may be waiting in the store. NULL is fine. */
void standing_free(struct standing *s);

#endif
