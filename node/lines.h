/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_NODE_LINES_H
#define HN_NODE_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"

/*
 * Cuts a stream into inputs, one a line without its newline, decoded if they
 * are hex. Holds one line at most: what follows in a line that is too long is
 * dropped. Pure.
 */
struct lines {
	bool hex;
	size_t max;	  /* bytes of one input, decoded */
	uint64_t next;	  /* index of the line to come */
	struct buf line;  /* of the one that has begun */
	bool over;	  /* it is too long */
	bool begun;	  /* the stream may end without a newline */
	struct buf input; /* of the last one, decoded */
};

struct lines_one {
	uint64_t index;
	const char *error; /* NULL: p is the input */
	const uint8_t *p;  /* good until the next call */
	size_t n;
};

/*
 * Takes bytes from *p (of *n, both moved on) until a line is complete: true
 * and *out, or all are taken: false.
 */
bool lines_feed(struct lines *l, const uint8_t **p, size_t *n,
		struct lines_one *out);
/* The last line, if it had no newline. */
bool lines_end(struct lines *l, struct lines_one *out);
void lines_release(struct lines *l);

#endif
