/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_LAB_LAB_H
#define HN_LAB_LAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/fields.h"
#include "node/lab/impair.h"

/*
 * A lab: a mesh of real nodes on one machine, and what is made to go wrong in
 * it. One process keeps it: it starts the nodes, is the network between them
 * and obeys `hnode lab ...` over a socket in the lab's directory. Nodes die
 * with it, whatever ends it; what is then left is one directory.
 *
 *   DIR/lock     held while the lab runs
 *   DIR/socket   one line of JSON in, one out: lab_ask
 *   DIR/lab.json the answer to {"do": "state"}, as of the last change
 *   DIR/log      of the lab's own process
 *   DIR/N/       the data directory of node N (1 is the first), its log in it
 */
enum lab_nat { LAB_NAT_NONE, LAB_NAT_CONE, LAB_NAT_SYMMETRIC, LAB_NAT_MIXED };

struct lab_options {
	const char *dir; /* made already, 0700 */
	const char *name;
	const char *bin;	   /* hnode */
	const char *cheat_bin;	   /* hnode-cheat; NULL: no cheaters */
	size_t nodes, cheaters;	   /* the last ones cheat */
	const char *const *cheats; /* what they do, in turn */
	size_t ncheats;
	const char *const *offer; /* of every node */
	size_t noffer;
	uint64_t threads;
	const struct strs *flags; /* further ones of every node */
	unsigned loss;		  /* per mille */
	uint64_t delay_us, bandwidth;
	enum lab_nat nat;
	uint64_t seed;
	char *const *env; /* of the nodes */
	/* Everything is started, or not, with a sentence. */
	void (*ready)(void *arg, enum err e, const char *text);
	void *arg;
};

/* The lab's process: returns its exit code when the lab is down. The caller
 * holds DIR/lock. */
int lab_run(const struct lab_options *o);

struct json;
/*
 * Asks the lab of this directory: the object that it answers, the caller's to
 * free. {"error": {"code", "message"}} becomes the error. ERR_NONODE: no lab
 * runs there.
 *
 *   {"do": "state"}
 *   {"do": "fault", "what": "kill", "nodes": [2, 3], "value": 10}
 *       kill start cut slow skew heal; no nodes: all
 *   {"do": "down"}   answered when the last node has ended
 */
enum err lab_ask(const char *dir, const char *request, uint32_t timeout_ms,
		 struct buf *why, struct json **out) HN_CHECK;

/* Takes DIR/lock: the descriptor, or -1 when a lab runs there (or errno). */
int lab_lock(const char *dir);

/* What a lab whose process is gone has left: waits until its nodes are gone,
 * too, ends them if they do not, and removes the directory. */
enum err lab_clean(const char *dir, struct buf *why) HN_CHECK;

#endif
