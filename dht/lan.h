/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_DHT_LAN_H
#define HN_DHT_LAN_H

#include <stdbool.h>
#include <stdint.h>

#include "dht/record.h"
#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/identity.h"
#include "node/base/loop.h"

/*
 * Finding each other on one network segment, with no server and no internet:
 * sends our beacons (decision D "Ports") and hears others'. IPv4: the
 * broadcast address of each interface; IPv6: LAN_GROUP on each interface.
 * Every LAN_FAST_MS for the first LAN_FAST_FOR_MS, and again when an interface
 * or address appears; then every LAN_SLOW_MS. Interfaces are read anew each
 * time. Used by discovery.c only. Loop thread; callbacks come on the loop,
 * never from inside a call.
 */
struct lan;
struct beacon_news;
struct discovery_counters;

#define LAN_GROUP "ff02::686e:6f64" /* link-local scope, "hnod" */
#define LAN_FAST_MS 2000
#define LAN_FAST_FOR_MS 10000
#define LAN_SLOW_MS 60000
#define LAN_INTERFACES 64 /* addresses that one round sends from */
#define LAN_ANSWERS 10	  /* per second */
#define LAN_JUDGED 200	  /* beacons opened per second; more are dropped */
#define LAN_PEERS 1024	  /* the one heard longest ago goes */

struct lan_options {
	struct loop *loop;
	const struct identity *me;
	struct mesh_keys keys; /* copied */
	uint16_t port;
	const char *bind; /* NULL or a wildcard: all; else its interfaces */
	uint16_t session_port, dht_port;
	uint64_t suites;
	struct discovery_counters *counters;
	void *arg;
	void (*beacon)(void *arg, const struct beacon_news *n);
};

/* NULL or an IP address; else false with a sentence. */
bool lan_bind_ok(const char *bind_to, struct buf *why);
/* ERR_INPUT for a bind that is no address; a socket that cannot be had is no
 * error, the others work on. */
enum err lan_new(const struct lan_options *o, struct buf *why,
		 struct lan **out) HN_CHECK;
void lan_stop(struct lan *l, loop_fn done, void *arg);
/* New keys to send with; beacons under the old ones are heard for old_ms. */
void lan_rekey(struct lan *l, const struct mesh_keys *keys, uint64_t old_ms);
/* The ports of our own that sockets read, 0 without one (tests). */
uint16_t lan_own_port(const struct lan *l, int family);

#endif
