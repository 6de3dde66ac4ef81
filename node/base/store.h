/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_BASE_STORE_H
#define HN_BASE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/loop.h"
#include "node/base/mem.h"

/*
 * The SQLite file (decision D17): WAL, synchronous=FULL, on a thread of its
 * own that runs every statement in order and commits what is queued as one
 * transaction at most 20 ms after the first. Results come back on the loop.
 * Tables belong to the modules that name them in their schema rows. All
 * functions are called on the loop's thread.
 */
struct store;

/* Waiting for the thread at most; more is refused (see store_run). */
#define STORE_QUEUE_MAX 16384
#define STORE_QUEUE_BYTES (32u << 20)
/* Of one result; more is ERR_LIMIT. */
#define STORE_ROWS_MAX 10000
#define STORE_RESULT_BYTES (16u << 20)

/* One step of one module's schema, run once, in the order of the array
 * given to store_open: meta remembers (module, version). A module's versions
 * stand in the array as 1, 2, 3, ... sql may hold several statements. */
struct store_schema {
	const char *module;
	unsigned version; /* 1, 2, ... */
	const char *sql;
};

/*
 * Opens or makes the file (0600) and brings the schema up to date, all steps
 * or none; blocks (start only). ERR_CONFIG with what to do in why: a newer
 * schema than ours, a file that is not a database or not ours, a damaged one.
 * ERR_BUSY: another process holds it; ERR_IO: the rest. A module of which meta
 * knows and we do not is left alone.
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
	struct bytes b; /* text or blob; a returned one is followed by a NUL
			 * that n does not count */
};
#define STORE_I(v_) ((struct store_val){.type = STORE_INT, .i = (int64_t)(v_)})
#define STORE_R(v_) ((struct store_val){.type = STORE_REAL, .r = (v_)})
#define STORE_B(p_, n_) \
	((struct store_val){.type = STORE_BLOB, \
			    .b = {(const uint8_t *)(p_), (n_)}})
struct store_val store_text(const char *s); /* NULL: null */

struct store_result {
	/*
	 * OK; ERR_EXISTS: a constraint; ERR_LIMIT: too many rows or too large,
	 * nothing changed; ERR_BUSY: the queue was full, not run; ERR_CANCELED:
	 * after store_stop, not run; ERR_INTERNAL: our own SQL is wrong;
	 * ERR_IO: the rest, and everything of a transaction that could not be
	 * committed.
	 */
	enum err err;
	const char *message; /* SQLite's words when err */
	size_t rows, columns;
	const struct store_val *cells; /* row by row */
	int64_t changes;
};
/* r is borrowed for the call. On the loop, once per statement, in order of
 * the statements (one that was refused may come earlier); for a change only
 * after its transaction is durable. */
typedef void (*store_done_fn)(const struct store_result *r, void *arg);

/*
 * Queues one statement; copies sql and values. done may be NULL. A statement
 * that fails changes nothing and leaves those around it alone. It sees what
 * earlier ones changed. sql is one statement with as many ? as values, none
 * that begins or ends transactions, and a constant text: it is the key of the
 * cache of prepared statements. At the bound of the queue the statement is
 * refused (ERR_BUSY by done; a change without done is lost, with a debug
 * line), so a peer that makes us store must wait for done.
 */
void store_run(struct store *s, const char *sql, const struct store_val *vals,
	       size_t n, store_done_fn done, void *arg);

/* Nothing waits for the thread, nor for its done; within a done that one
 * counts no more. */
bool store_idle(const struct store *s);

/* How many transactions the file had once and has no more, found at the start:
 * its log of changes was cut, or an earlier copy was put in its place. */
uint64_t store_lost(const struct store *s);

/* Runs what is queued, closes, joins; done on the loop, after the last
 * result; then the store is gone. */
void store_stop(struct store *s, loop_fn done, void *arg);

#endif
