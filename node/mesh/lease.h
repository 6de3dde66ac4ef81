/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_LEASE_H
#define HN_MESH_LEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The accounts of a range job (decision D13): which nonces are still to be
 * given out, which are in somebody's hands, which are done. Pure; one owner.
 */

/* The half-open interval [a, b); a < b. */
struct span {
	uint64_t a, b;
};

/*
 * A set of numbers as ascending, disjoint spans that do not touch.
 * Zero-initialised is empty and ready. Each step is O(log n) expected; n stays
 * near the number of open leases.
 */
struct spans_node;
struct spans {
	struct spans_node *root;
	size_t n;	/* spans */
	uint64_t total; /* how many numbers are in it */
};

void spans_release(struct spans *s);
/* How many numbers of [a, b) were not in the set before. a <= b. */
uint64_t spans_add(struct spans *s, uint64_t a, uint64_t b);
/* How many numbers of [a, b) were in it. */
uint64_t spans_cut(struct spans *s, uint64_t a, uint64_t b);
/* How many numbers of [a, b) are in it. */
uint64_t spans_count(const struct spans *s, uint64_t a, uint64_t b);
/* The first span that ends behind `from`; false when there is none. All of
 * them: for (at = 0; spans_next(s, at, &v); at = v.b). */
bool spans_next(const struct spans *s, uint64_t from, struct span *out);
/* Takes from s all that is in other. */
void spans_minus(struct spans *s, const struct spans *other);

/*
 * The book of one range. Invariants: the three sets cover [start, end);
 * pending meets neither out nor done. out and done may meet: an answer that
 * came late has done what somebody else holds by then.
 */
struct book {
	uint64_t start, end;
	struct spans pending, out, done;
};

void book_init(struct book *b, uint64_t start, uint64_t end);
void book_release(struct book *b);
/* Cuts a unit of about `want` nonces out of what is pending and puts it into
 * somebody's hands; false when nothing is pending. A crumb that would be left
 * behind it goes along. draw: 64 uniform bits, so that its place says nothing;
 * 0 for the lowest place. */
#define BOOK_FRONTS 64 /* at most so many places are begun at a time */
bool book_take(struct book *b, uint64_t want, uint64_t draw, struct span *unit);
/*
 * [a, b) is done. What was not done before is added to credit and counted in
 * the result; the rest was done already. held: it leaves its holder's hands.
 */
uint64_t book_done(struct book *b, uint64_t a, uint64_t e, bool held,
		   struct spans *credit);
/* A lease gives [a, e) back: pending again, unless done meanwhile. */
void book_return(struct book *b, uint64_t a, uint64_t e);
/* What stands in credit is not done after all; empties credit. What nobody
 * holds is pending again. */
void book_undo(struct book *b, struct spans *credit);
bool book_complete(const struct book *b);

#endif
