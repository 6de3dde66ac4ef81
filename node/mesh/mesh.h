/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_MESH_H
#define HN_MESH_MESH_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/identity.h"
#include "node/base/lend.h"
#include "node/base/loop.h"

/*
 * The middle floor as one object: membership, rights, peers, jobs and the
 * services over one rpc, one discovery and one device pool, all of which it
 * makes and stops. node.c gives it options and a store; faces (the control
 * socket, later HTTP) reach it by method calls only. Loop thread only.
 */
struct mesh;
struct store;
struct store_schema;

struct mesh_options {
	struct loop *loop;
	struct store *store;
	const struct identity *me; /* lent */
	const char *data_dir;
	const char *software; /* "hnode 0.1.0" */

	const char *bind; /* NULL: all addresses */
	uint16_t port;	  /* 0: any (the stored one is tried first) */
	bool port_given;  /* a taken port is an error, not a hint */
	bool listen, lan, dht;
	const char *const *bootstrap;
	size_t nbootstrap;
	const char *const *advertise;
	size_t nadvertise;
	bool advertise_only; /* and no address of our own */
	const char *const *offer;
	size_t noffer;
	const char *const *topic; /* joined at start */
	size_t ntopic;
	const char *role; /* serve, use, both */
	const char *join; /* an invite's word; NULL */
	unsigned threads; /* 0: one per core */
	const char *affinity;
	const char *kernel;
	struct lend lend; /* what others get of it; share 0: the defaults */
	const char *site; /* this node heads that one; NULL */
	const char *const *site_nodes; /* ids in hex: who may be behind us */
	size_t nsite_nodes;
	const char *behind;  /* ID@HOST:PORT of our head; NULL */
	const char *sensors; /* stands for / where sensors are read; NULL */
	uint32_t ping_ms, rekey_ms; /* 0: the defaults */
	uint64_t credit_limit;	    /* credits an owner may owe us; 0: any */
	/* What is thought of peers: how fast a score fades, the first
	 * quarantine, probes of idle peers (0: none), the wait for one. */
	struct mesh_trust {
		uint64_t half_life_ms, quarantine_ms, probe_ms, timeout_ms;
	} trust;
	const char *backup_accept;   /* mesh, any, none: see backup.h */
	uint64_t backup_takeover_ms; /* 0: the default */
	const char *runtime_dir;     /* XDG_RUNTIME_DIR or NULL: control.h */
	uint16_t beacon_port;	     /* 0: the default; tests */

	/* `hnode stop`: asks the process to end (node.stop). */
	void (*request_stop)(void *arg);
	void *request_arg;
};

/* The tables this floor keeps, for store_open. */
const struct store_schema *mesh_schema(size_t *n);

/*
 * Loads membership, opens ports, joins topics. ready (once, on the loop)
 * tells OK, or the error and a sentence with the next step, after an
 * invite's enrolment if one is given. On an error mesh_stop is still due.
 * After mesh_stop it does not come any more.
 */
typedef void (*mesh_ready_fn)(void *arg, enum err e, const char *text);
struct mesh *mesh_new(const struct mesh_options *o, mesh_ready_fn ready,
		      void *arg);

/* Tombstones and goodbyes, jobs saved, ports closed, devices stopped; within
 * 2 s. done on the loop; the mesh is gone. */
void mesh_stop(struct mesh *m, loop_fn done, void *arg);

/* For the lines a starting node prints. */
uint16_t mesh_port(const struct mesh *m); /* 0: no listener */
uint16_t mesh_dht_port(const struct mesh *m);
const char *mesh_name(const struct mesh *m);
bool mesh_is_public(const struct mesh *m);

#endif
