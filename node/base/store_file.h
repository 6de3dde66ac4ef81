/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_BASE_STORE_FILE_H
#define HN_BASE_STORE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "node/base/err.h"

/*
 * The file behind struct store before its thread starts: whose it is, whether
 * it is whole, its mode, and its schema. Blocks. For store.c and store_tool.c.
 */
#define STORE_APPLICATION_ID 0x686e6f64 /* "hnod", in the file's header */

struct buf;
struct sqlite3;
struct store_schema;

/* As store_open says. *out is the caller's to close; one thread may use it.
 * *count: transactions of changes so far. */
enum err store_file_open(const char *path, const struct store_schema *schema,
			 size_t n, struct buf *why, struct sqlite3 **out,
			 uint64_t *count) HN_CHECK;
/* Run in each transaction of changes: its place in the count. */
#define STORE_COUNT_SQL "UPDATE commits SET n = n + 1"

#endif
