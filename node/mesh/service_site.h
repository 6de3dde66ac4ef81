/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_SERVICE_SITE_H
#define HN_MESH_SERVICE_SITE_H

#include <stdbool.h>
#include <stdint.h>

#include "asic/asic.h"
#include "node/mesh/wire.h"

/*
 * Sites (site.h) in the mesh. The head of one (--site NAME) is a worker like
 * others for those outside, with the rates, slots and devices of all. A node
 * behind it (--behind ID@HOST:PORT) keeps a stream to it, site.join, over
 * which it says what it offers; the head gives it parts of leases by
 * hash.search. It speaks to nobody else. Loop thread only.
 */
struct mesh;
struct rpc_stream;
struct node_id;
struct service_site;
struct site_scan;

struct service_site *service_site_new(struct mesh *m);
/* The node is ready: one behind a head dials it, again and again. */
void service_site_run(struct service_site *s);
/* Ends streams and dials; its scans end as asic's do. */
void service_site_stop(struct service_site *s);
void service_site_free(struct service_site *s); /* after the device pool */

/*
 * As asic_scan_start and asic_scan_cancel: the head of a site with nodes
 * behind it has the scan done by all of them, any other node by its device.
 */
enum err site_scan_start(struct mesh *m, const struct scan_work *w,
			 uint64_t client, const struct asic_scan_ops *ops,
			 void *arg, struct site_scan **out) HN_CHECK;
void site_scan_cancel(struct site_scan *x);

/* What the nodes behind us add to our offer. */
struct site_sum {
	uint64_t rate, slots, devices;
};
void service_site_sum(const struct mesh *m, struct site_sum *out);
/* Our own device's figures changed. */
void service_site_own(struct mesh *m, uint64_t rate);

bool service_site_behind_us(const struct mesh *m, const struct node_id *id);
/* May this node have work done here? One behind a head serves only that. */
bool service_site_serves(const struct mesh *m, const struct node_id *id);
/* Is this our head's part of a lease? It is nobody's to pay. */
bool service_site_part(const struct mesh *m, struct rpc_stream *st,
		       const char *job);

void service_site_fill(const struct mesh *m, struct arena *a,
		       struct site_info *out);

/* Why this node is not in the site of its head; NULL: it is, or has none. */
const char *service_site_trouble(const struct mesh *m);

#endif
