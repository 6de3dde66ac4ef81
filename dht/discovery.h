/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_DHT_DISCOVERY_H
#define HN_DHT_DISCOVERY_H

#include <stdbool.h>
#include <stdint.h>

#include "dht/record.h"
#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/identity.h"
#include "node/base/loop.h"

/*
 * Who is out there: keeps our records published under their topics, follows
 * topics, hears LAN beacons, and reports verified news of other nodes
 * (decisions D4 to D8). Owns the DHT node and the beacon sockets. Loop thread
 * only; every callback comes on the loop, never from inside a call.
 */
struct discovery;

/* A beacon's content, verified; the address is the packet's. */
struct beacon_news {
	struct node_id id;
	char host[64];
	uint16_t session_port; /* 0: outbound only */
	uint16_t dht_port;     /* 0: no DHT */
	uint64_t suites;
};

struct discovery_options {
	struct loop *loop;
	const struct identity *me;
	struct mesh_keys keys;
	uint16_t port;	  /* UDP of the DHT node; it binds all addresses */
	bool dht;	  /* run the DHT at all */
	bool lan;	  /* beacons */
	const char *bind; /* beacons: NULL or an address: only interfaces
			   * that own it (a loopback one: loopback only) */
	uint16_t beacon_port;  /* 7451; another value only in tests */
	uint16_t session_port; /* told in beacons; 0 outbound only */
	uint64_t suites;
	uint64_t last_seq; /* highest sequence ever issued (stored) */

	void *arg;
	/* A verified record, new or newer than the last of this node and
	 * topic; alive for the call. Our own never comes. */
	void (*record)(void *arg, const char *topic, const struct record *r);
	/* Expired without a successor. */
	void (*expired)(void *arg, const char *topic,
			const struct node_id *id);
	void (*beacon)(void *arg, const struct beacon_news *n);
	/* The certificate of a record; true in `public`. */
	bool (*cert_ok)(void *arg, const struct record *r);
	/* A sequence number was issued: store it. */
	void (*issued)(void *arg, uint64_t seq);
};

enum err discovery_new(const struct discovery_options *o, struct buf *why,
		       struct discovery **out) HN_CHECK;
/* Puts tombstones, waits at most ~500 ms for them, shuts down. */
void discovery_stop(struct discovery *d, loop_fn done, void *arg);

/* One DHT bootstrap address, given or remembered; again at will. */
void discovery_bootstrap(struct discovery *d, const char *host,
			 const char *port);

/*
 * Publishes this body under the topic (node, seq, life are filled in here):
 * at once, on change at most once a minute, and every 4 minutes. The body is
 * copied. Called again with another body it replaces it.
 */
void discovery_publish(struct discovery *d, const char *topic,
		       const struct record *body);
/* Tombstone and stop publishing. */
void discovery_withdraw(struct discovery *d, const char *topic);
/* Standing listen. */
void discovery_follow(struct discovery *d, const char *topic);
void discovery_unfollow(struct discovery *d, const char *topic);
bool discovery_follows(const struct discovery *d, const char *topic);
bool discovery_publishes(const struct discovery *d, const char *topic);

/* A rekey: new keys for everything new; for 24 h the old topics and beacons
 * are followed, nothing is published there. */
void discovery_rekey(struct discovery *d, const struct mesh_keys *keys);

/* Which bootstrap addresses never answered, and whether anyone did. */
enum discovery_state { DISCOVERY_OFF, DISCOVERY_ALONE, DISCOVERY_CONNECTED };
enum discovery_state discovery_state(const struct discovery *d);

#define DISCOVERY_COUNTERS(X)                                                  \
	X(records_ok) X(records_same) X(bad_seal) X(bad_shape) X(bad_time)     \
	X(old_sequence) X(bad_cert) X(puts) X(put_failed) X(beacons_in)        \
	X(beacons_out) X(bad_beacons)
struct discovery_counters {
#define X(name) uint64_t name;
	DISCOVERY_COUNTERS(X)
#undef X
};
const struct discovery_counters *
discovery_counters(const struct discovery *d);

#endif
