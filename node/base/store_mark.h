/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_BASE_STORE_MARK_H
#define HN_BASE_STORE_MARK_H

#include <stdint.h>

/*
 * How far a database has come, in a small file beside it. SQLite's log of
 * changes has no end mark: cut, it opens without a word as of an earlier
 * moment, and so does a copy that was put in its place. The database counts its
 * own transactions; the mark has the same count, written when each is durable.
 * So a count below the mark says how many transactions are gone. Losing the
 * mark loses no more than that sentence.
 */
struct store_mark {
	int fd; /* -1: none, nothing is written */
};

/* The count in the file of this database; 0: there is none, or no whole one. */
uint64_t store_mark_read(const char *db_path);
/* Makes the file (0600) where it is missing. */
void store_mark_open(struct store_mark *m, const char *db_path);
void store_mark_write(const struct store_mark *m, uint64_t count);
void store_mark_close(struct store_mark *m);

#endif
