/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_BASE_STORE_TOOL_H
#define HN_BASE_STORE_TOOL_H

#include <stddef.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/store.h"

/*
 * A look at a store's file from outside, whether or not a node has it open:
 * reads, checks and copies it, and changes nothing. Blocks; for the command
 * line, never the loop. One thread.
 */
struct store_tool;

/* ERR_NOTFOUND: no such file; ERR_CONFIG: empty, no database, not ours or too
 * damaged to read at all; ERR_IO. With a sentence. */
enum err store_tool_open(const char *path, struct buf *why,
			 struct store_tool **out) HN_CHECK;
void store_tool_close(struct store_tool *t); /* NULL is fine */

/* Looks at every page and index. A line for each thing that is wrong, a
 * hundred at most; how many. */
typedef void (*store_line_fn)(void *arg, const char *line);
size_t store_tool_integrity(struct store_tool *t, store_line_fn fn, void *arg);

/* Runs one statement; cells live for the call. An error (with SQLite's words)
 * may come after some rows. */
typedef void (*store_row_fn)(void *arg, const struct store_val *cells,
			     size_t n);
enum err store_tool_each(struct store_tool *t, const char *sql, store_row_fn fn,
			 void *arg, struct buf *why) HN_CHECK;

/* Writes all of it, as of now, to a new file (0600), which is there whole or
 * not at all. ERR_EXISTS: there is a file of that name; ERR_CONFIG: what was
 * read is damaged; ERR_IO. */
enum err store_tool_backup(struct store_tool *t, const char *file,
			   struct buf *why) HN_CHECK;

#endif
