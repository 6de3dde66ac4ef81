/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_BASE_STORE_H
#define HN_BASE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/loop.h"

/*
 * The SQLite file (decision D17): WAL, synchronous=FULL, on a thread of its
 * own that runs every statement in order and commits what is queued as one
 * transaction at most 20 ms after the first. Results come back on the loop.
 * Tables belong to the modules that name them in their schema rows.
 */
struct store;

/* One step of one module's schema, run once, in the order of the array
 * given to store_open: meta remembers (module, version). */
struct store_schema {
	const char *module;
	unsigned version; /* 1, 2, ... */
	const char *sql;
};

/*
 * Opens or makes the file (0600) and brings the schema up to date; blocks
 * (start only). A newer schema than ours is ERR_CONFIG; a file that is not a
 * database or is damaged is ERR_CONFIG with what to do in why.
 */
enum err store_open(struct loop *l, const char *path,
		    const struct store_schema *schema, size_t n,
		    struct buf *why, struct store **out) HN_CHECK;

/* A value of a statement: bound or returned. */
enum store_type { STORE_NULL, STORE_INT, STORE_REAL, STORE_TEXT, STORE_BLOB };
struct store_val {
	enum store_type type;
	int64_t i;
	double r;
	struct bytes b; /* text without NUL, or blob */
};
#define STORE_I(v_) ((struct store_val){.type = STORE_INT, .i = (int64_t)(v_)})
#define STORE_R(v_) ((struct store_val){.type = STORE_REAL, .r = (v_)})
#define STORE_B(p_, n_)                                                        \
	((struct store_val){.type = STORE_BLOB,                                \
			    .b = {(const uint8_t *)(p_), (n_)}})
struct store_val store_text(const char *s); /* NULL: null */

struct store_result {
	enum err err;	      /* OK, or ERR_IO / ERR_EXISTS (constraint) */
	const char *message;  /* SQLite's words when err */
	size_t rows, columns;
	const struct store_val *cells; /* row by row */
	int64_t changes;
};
/* r is borrowed for the call. On the loop, once per statement, in order of
 * the statements; for a change only after its transaction is durable. */
typedef void (*store_done_fn)(const struct store_result *r, void *arg);

/* Queues one statement; copies sql and values. done may be NULL. Rows are
 * limited to 10,000 (ERR_LIMIT). */
void store_run(struct store *s, const char *sql, const struct store_val *vals,
	       size_t n, store_done_fn done, void *arg);

/* Runs what is queued, closes, joins; done on the loop. */
void store_stop(struct store *s, loop_fn done, void *arg);

#endif
