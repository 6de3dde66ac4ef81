/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_START_H
#define HN_MESH_START_H

#include "node/mesh/mesh_impl.h"

/*
 * Between start.c, which brings a node up step by step, and mesh.c, which
 * keeps it: what the parts are given at construction.
 */
void mesh_on_creds(void *arg, struct session_creds *out);
enum err mesh_on_admit(void *arg, const struct session_hello *hello,
		       const struct session_psk *psk, struct buf *why) HN_CHECK;
void mesh_on_up(void *arg, struct session *s);
void mesh_on_down(void *arg, struct session *s, enum err why, const char *text,
		  bool dup);
void mesh_on_refused(void *arg, const char *address, const char *text);
void mesh_on_copied(void *arg, const struct node_id *id, const char *address);

/* Starts discovery on this UDP port (0: any); sets dht_port. */
enum err mesh_discover(struct mesh *m, uint16_t port, struct buf *why) HN_CHECK;
bool mesh_readdress(struct mesh *m);
void mesh_remember(struct mesh *m, const char *name, uint64_t value);

void start_free(struct mesh *m);

#endif
