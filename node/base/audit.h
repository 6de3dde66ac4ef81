/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_BASE_AUDIT_H
#define HN_BASE_AUDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/receipt.h"

/*
 * Adds up exported receipts, of one node or of several, and says where they
 * disagree first. Pure; one thread.
 *
 * An export is lines of JSON: one struct receipt_export, then receipts in any
 * order. Lines that are empty are skipped.
 */
#define AUDIT_LINE_MAX 8192
#define AUDIT_EXPORTS_MAX 16

struct receipt_export {
	uint64_t export; /* RECEIPT_EXPORT */
	uint8_t node[32], owner[32];
	uint64_t time_ms;
};
#define RECEIPT_EXPORT 1
extern const struct message receipt_export_message;

/* What a line holds; strings in the arena. ERR_INPUT with a sentence. */
enum audit_line { LINE_EMPTY, LINE_EXPORT, LINE_RECEIPT };
enum err audit_read_line(const char *text, size_t n, struct arena *a,
			 enum audit_line *what, struct receipt_export *x,
			 struct receipt *r, struct buf *why) HN_CHECK;

struct audit;
struct audit *audit_new(void);
void audit_free(struct audit *a); /* NULL is fine */

/* The next export; the name is for people. */
void audit_begin(struct audit *a, const char *name);
/* A line of it. What is wrong with one is remembered, as below; the rest is
 * read on. */
void audit_add(struct audit *a, const char *line, size_t n);
/* Did the current export say whose it is? One that did not compares with
 * nothing. */
bool audit_headed(const struct audit *a);

/*
 * All lines are in: chains are followed and compared. True: all is whole and
 * all exports that speak of a chain say the same. Else *where has the first
 * point of disagreement: the chain, the number, both hashes or sums.
 */
bool audit_end(struct audit *a, struct buf *where);

/* After audit_end, the sums: one row for each pair of owners of each export,
 * pairs in a fixed order. total and part are of what the receipts say (total:
 * the chains' running totals, part: the receipts that are there). */
struct audit_sum {
	const char *export;
	uint8_t submitter_owner[32], worker_owner[32];
	uint64_t chains, receipts, total, part;
};
size_t audit_sums(const struct audit *a, const struct audit_sum **out);

#endif
