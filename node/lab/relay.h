/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_LAB_RELAY_H
#define HN_LAB_RELAY_H

#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/loop.h"
#include "node/lab/impair.h"

/*
 * A bad network on loopback, in user space: before each node stands one port
 * of the relay, for TCP (sessions) and UDP (the DHT). Nodes know each other
 * by these ports only. Loop thread only.
 *
 * Who sends is seen from the far end: a node's datagrams come from its own
 * port; its connections from its own address (--bind), of 127.0.0.0/8, which
 * is all loopback. A datagram from A reaches B from A's port of the relay, so
 * that the answer takes the same way back. What comes from elsewhere is
 * dropped.
 */
struct relay;

/* im is lent; it may change at any time, see relay_changed. */
struct relay *relay_new(struct loop *loop, struct impair *im);

/*
 * Opens the port before node i, which will stand at host:port (host an IPv4
 * address). Nodes are added in the order of their numbers. *out: the port, on
 * 127.0.0.1.
 */
enum err relay_add(struct relay *r, const char *host, uint16_t port,
		   uint16_t *out, struct buf *why) HN_CHECK;

/* A cut or its end. What is under way between nodes that are cut apart waits;
 * connections that were begun meanwhile are reset when it ends. */
void relay_changed(struct relay *r);

size_t relay_connections(const struct relay *r);

/* Closes all; done on the loop; the relay is gone. */
void relay_stop(struct relay *r, loop_fn done, void *arg);

#endif
