/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_LAB_NAT_H
#define HN_LAB_NAT_H

#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/loop.h"
#include "node/lab/impair.h"
#include "node/lab/lab.h"

/*
 * A small internet in network namespaces, for nodes behind routers. Each node
 * is a machine of its own: with a public address (10.77.0.N), or in a home
 * network (192.168.N.2) behind a router that has one. Between public
 * addresses stands this process: a TUN device in each namespace ends here, so
 * that loss, delay and cuts are ours and no kernel module is needed.
 *
 *   cone       the router keeps the port, for all destinations the same; what
 *              comes back is let in from where something went out to
 *   symmetric  a new random port for each destination
 *
 * Needs root, ip and nft. The namespaces have no names: they end with the
 * processes in them, whatever ends those. Loop thread only.
 */
#define NAT_PORT 7450

struct nat;
enum err nat_new(struct loop *loop, struct impair *im, struct buf *why,
		 struct nat **out) HN_CHECK;

struct nat_place {
	int netns;     /* the node starts there; the nat's to close */
	char host[16]; /* its own address */
	char seen[16]; /* its, or its router's, public one */
};
/* The place of the next node; not LAB_NAT_MIXED. */
enum err nat_add(struct nat *n, enum lab_nat kind, struct nat_place *out,
		 struct buf *why) HN_CHECK;

void nat_stop(struct nat *n, loop_fn done, void *arg);

#endif
