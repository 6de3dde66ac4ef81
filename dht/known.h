/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_DHT_KNOWN_H
#define HN_DHT_KNOWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/identity.h"

/*
 * The last sequence seen of each (topic, node), until it expires: what makes
 * a record new, the same again, or old (decision D5). Pure: times are
 * arguments (any one monotonic clock, ms). At most KNOWN_MAX entries; when it
 * is full, nodes that are not in it are refused and nobody is forgotten for
 * them, so that a flood of made-up nodes cannot push out the ones we know.
 */
#define KNOWN_MAX 4096

struct known_entry {
	struct node_id id;
	uint32_t topic; /* a number of the owner's */
	bool left;
	uint64_t seq;
	uint64_t expires_ms;
};

/* Sorted by topic, then id. Zero-initialised is empty and ready. */
struct known {
	struct known_entry *items;
	size_t n, cap;
	uint64_t next_ms; /* nothing expires before; 0: nothing is in */
};

enum known_verdict {
	KNOWN_NEW,
	KNOWN_NEWER,
	KNOWN_SAME,
	KNOWN_OLD,
	KNOWN_FULL
};

void known_release(struct known *k);
enum known_verdict known_judge(const struct known *k, uint32_t topic,
			       const struct node_id *id, uint64_t seq);
/* After KNOWN_NEW or KNOWN_NEWER. */
void known_set(struct known *k, uint32_t topic, const struct node_id *id,
	       uint64_t seq, uint64_t expires_ms, bool left);
void known_forget(struct known *k, uint32_t topic);
/* Removes one entry whose time has come; false if there is none. */
bool known_expire(struct known *k, uint64_t now_ms, struct known_entry *out);

#endif
