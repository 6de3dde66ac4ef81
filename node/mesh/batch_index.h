/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_BATCH_INDEX_H
#define HN_MESH_BATCH_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/err.h"
#include "node/base/store.h"
#include "node/mesh/batch_file.h"

/*
 * The sparse indexes of batch jobs on disk (decision D17), so that a restart
 * needs no second pass over a file: rows of bounded size under the key of
 * their job, of which a few are kept in memory. Loop thread only.
 */
struct batch_index;

extern const struct store_schema batch_index_schema[];
extern const size_t batch_index_schema_count;

struct batch_index *batch_index_new(struct store *s);
/* No row may be waiting for the store. NULL is fine. */
void batch_index_free(struct batch_index *ix);

typedef void (*batch_index_fn)(void *arg, enum err e, const char *text);
/* done when it is on disk. */
void batch_index_add(struct batch_index *ix, uint64_t key, uint64_t row,
		     const struct batch_row *r, batch_index_fn done, void *arg);
void batch_index_drop(struct batch_index *ix, uint64_t key);
/* Drops all but these: what a crash left behind. */
void batch_index_keep(struct batch_index *ix, const uint64_t *keys, size_t n);

/* The marks of a block and of those behind it, as many as wanted or as the
 * block's row has; 0: it is not in memory, load it and ask again. */
size_t batch_index_find(struct batch_index *ix, uint64_t key, uint64_t block,
			size_t want, struct batch_mark *out);
/* ERR_NOTFOUND, ERR_PROTO: it is not there, or damaged. */
void batch_index_load(struct batch_index *ix, uint64_t key, uint64_t block,
		      batch_index_fn done, void *arg);

#endif
