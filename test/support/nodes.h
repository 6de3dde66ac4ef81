/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_SUPPORT_NODES_H
#define HN_SUPPORT_NODES_H

#include <stdbool.h>

#include "node/base/identity.h"
#include "node/base/loop.h"
#include "node/base/mem.h"
#include "node/base/store.h"
#include "node/mesh/mesh_impl.h"

/*
 * Whole nodes (struct mesh with its store and a client on its control socket)
 * in one process, on one loop, over loopback. Everything waits for events,
 * with a bound of NODES_WAIT_MS.
 */
#define NODES_WAIT_MS 20000

struct node {
	struct loop *loop;
	char dir[128];
	struct identity *me;
	struct store *store;
	struct mesh *mesh;
	bool ready, stopped;
	enum err e;
	char *text;

	struct rpc *client;
	struct session *control;
};

/* Runs the loop until done(arg) says so; false: too late. */
bool nodes_until(struct loop *l, bool (*done)(void *arg), void *arg);

/* Options of a quiet node on 127.0.0.1: no beacons, any port, two threads. */
struct mesh_options node_options(struct node *n, struct loop *l,
				 const char *dir);
/* Starts it and its client, asserts that it is ready; node_start_raw leaves
 * the outcome in e and text. */
void node_start(struct node *n, const struct mesh_options *o);
void node_start_raw(struct node *n, const struct mesh_options *o);
/* Stops it as SIGTERM would; keeps the directory. */
void node_stop(struct node *n);
const struct node_id *node_id_of(const struct node *n);
/* "ID@127.0.0.1:PORT". */
char *node_at(const struct node *n, struct arena *a);

/* Calls an owner's method of this node over its control socket; the reply is
 * copied to *reply (a struct of the method's reply) in the arena. */
enum err node_call(struct node *n, const char *method, const void *request,
		   struct arena *a, void *reply, char **text);
/* The same over a session from one node to another. */
enum err node_call_peer(struct node *from, struct node *to, const char *method,
			const void *request, struct arena *a, void *reply,
			char **text);

/* Waits until `n` lists `who` in this state. */
bool node_sees(struct node *n, const struct node_id *who, const char *state);
/* Its row, or NULL. */
struct peer_info *node_row(struct node *n, const struct node_id *who,
			   struct arena *a);

#endif
