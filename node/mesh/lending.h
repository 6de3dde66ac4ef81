/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_LENDING_H
#define HN_MESH_LENDING_H

#include <stdbool.h>

#include "node/base/identity.h"
#include "node/base/lend.h"
#include "node/mesh/job.h"
#include "node/mesh/wire.h"

/*
 * The lender's surroundings: looks at the machine once a second while
 * something is offered and a limit asks for it, tells the device and the
 * offers what the lender says, and keeps the list of what is lent. Whoever
 * does work for another node takes a loan first and ends it when the work is
 * through; when lending pauses, every loan is recalled. Loop thread only.
 */
struct lending;
struct mesh;
struct rpc_stream;
struct lender_word;

struct lending *lending_new(struct mesh *m); /* limits: m->o.lend */
void lending_stop(struct lending *l);	     /* looks no more */
/* After the services that take loans. A look that is under way on another
 * thread frees it. */
void lending_free(struct lending *l);

/* Something is offered, or nothing is any more. */
void lending_run(struct lending *l, bool on);
/* New limits ("share=50%"), all or none: ERR_INPUT with a sentence. */
enum err lending_limits(struct lending *l, const struct strs *pairs,
			struct buf *why) HN_CHECK;
const struct lend *lending_lend(const struct lending *l);
const struct lender_word *lending_word(const struct lending *l);

/* One piece of work for another node. Embedded in it. */
struct loan {
	struct loan *prev, *next;
	struct lending *of; /* NULL: none is taken */
	struct node_id by;
	char job[JOB_ID_SIZE];
	/* Lending pauses: stop, hand back what is not done (ERR_BUSY with
	 * lending_word's why), and end the loan, now or soon. */
	void (*recall)(void *arg);
	void *arg;
};
/* ERR_BUSY with a sentence: paused, or as much is lent as the limits say. Our
 * own stream (the control socket) gets OK and no loan. job "" is one of its
 * own. */
enum err lending_take(struct lending *l, struct rpc_stream *st, const char *job,
		      struct loan *x, void (*recall)(void *arg), void *arg,
		      struct buf *why) HN_CHECK;
void lending_end(struct loan *x); /* one that was not taken, too */
unsigned lending_units(const struct lending *l); /* loans now */

/* For offer.list and node.status. */
void lending_fill(const struct lending *l, struct arena *a,
		  struct lending_info *out);

#endif
