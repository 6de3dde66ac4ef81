/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_JOURNAL_CHECK_H
#define HN_MESH_JOURNAL_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/err.h"
#include "node/base/fields.h"
#include "node/base/mem.h"

/*
 * `hnode db check`: is a node's database whole, and what is lost if not. Reads
 * the file from outside, the node may run. Every job is restored into a
 * coordinator that nobody uses: its sums must agree, its hits are hashed
 * again.
 */
struct store_tool;

struct db_check {
	bool whole; /* nothing is wrong */
	char *file;
	uint64_t open, ended; /* jobs that are whole */
	uint64_t lost;	      /* and that are not */
	uint64_t peers;	      /* remembered */
	struct strs wrong;    /* sentences, the worst first */
	uint64_t receipts;    /* that are whole */
	uint64_t older;	      /* changes that it had once and has no more */
};
extern const struct message db_check_message;

#define DB_CHECK_LINES 100

/* All that is in `out` lives in the arena. */
void journal_check(struct store_tool *t, const char *file, struct arena *a,
		   struct db_check *out);

#endif
