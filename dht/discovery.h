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
 * only; every callback comes on the loop, never from inside a call. Callbacks
 * may call anything here, discovery_stop too.
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
	struct mesh_keys keys; /* copied */
	uint16_t port;	       /* UDP of the DHT node, 0: any; it binds all
				* addresses */
	bool dht;	       /* run the DHT at all */
	bool lan;	       /* beacons */
	const char *bind; /* beacons: NULL or a wildcard: all interfaces; else
			   * only those that own this address (a loopback
			   * one: loopback only) */
	uint16_t beacon_port;  /* 7451; another value only in tests */
	uint16_t session_port; /* told in beacons; 0 outbound only */
	uint64_t suites;
	uint64_t last_seq; /* highest sequence ever issued (stored) */

	void *arg;
	/* A verified record, new or newer than the last of this node and
	 * topic; alive for the call. Our own never comes. */
	void (*record)(void *arg, const char *topic, const struct record *r);
	/* Expired without a successor; not after a tombstone. */
	void (*expired)(void *arg, const char *topic, const struct node_id *id);
	void (*beacon)(void *arg, const struct beacon_news *n);
	/* The certificate of a record; true in `public`. */
	bool (*cert_ok)(void *arg, const struct record *r);
	/* A record that its node signed was not taken: it was issued so far
	 * ahead of our clock, or (0) its certificate is not valid here. NULL:
	 * nobody asks. */
	void (*refused)(void *arg, const struct record *r, uint64_t ahead_ms);
	/* A sequence number was issued: store it. */
	void (*issued)(void *arg, uint64_t seq);
};

/* ERR_BUSY with a sentence when the UDP port is taken. */
enum err discovery_new(const struct discovery_options *o, struct buf *why,
		       struct discovery **out) HN_CHECK;
/* Puts tombstones, waits at most ~500 ms for them, shuts down. No callback
 * but `issued` follows; the object is gone in done. */
void discovery_stop(struct discovery *d, loop_fn done, void *arg);

uint16_t discovery_port(const struct discovery *d); /* UDP; 0 without DHT */

/*
 * One DHT bootstrap address, given or remembered; again at will: feed it the
 * addresses of peers with sessions, since a young mesh hangs on its seed. At
 * most 64 are kept (those that fail go first), none is asked more than once a
 * second, and one that answers once a minute.
 */
void discovery_bootstrap(struct discovery *d, const char *host,
			 const char *port);
/* Each of them: whether it ever answered, and how often it did not since. */
void discovery_bootstraps(const struct discovery *d,
			  void (*fn)(void *arg, const char *host,
				     const char *port, bool answered,
				     unsigned failed),
			  void *arg);

/* What the median of our peers' clocks is ahead of ours (decision D18): added
 * to our wall clock when records are issued and judged. */
void discovery_set_clock_offset(struct discovery *d, int64_t ms);

/*
 * Publishes this body under the topic (version, node, seq, life are filled in
 * here): at once, on change at most once a minute (the latest body wins), and
 * every 4 minutes. The body is copied. Called again with another body it
 * replaces it. Of addresses that do not fit the last are left out. The 65th
 * topic is refused and counted.
 */
void discovery_publish(struct discovery *d, const char *topic,
		       const struct record *body);
/* Tombstone and stop publishing. */
void discovery_withdraw(struct discovery *d, const char *topic);
/* Standing listen. What was there before is reported as news again. The 65th
 * topic is refused and counted. */
void discovery_follow(struct discovery *d, const char *topic);
void discovery_unfollow(struct discovery *d, const char *topic);
bool discovery_follows(const struct discovery *d, const char *topic);
bool discovery_publishes(const struct discovery *d, const char *topic);

/* A rekey: new keys for everything new; for old_ms the old topics and beacons
 * are followed, nothing is published there. Of the same mesh only: another
 * mesh is another discovery. */
void discovery_rekey(struct discovery *d, const struct mesh_keys *keys,
		     uint64_t old_ms);

/* No DHT; nobody answers; somebody answered within the last minute or two. */
enum discovery_state { DISCOVERY_OFF, DISCOVERY_ALONE, DISCOVERY_CONNECTED };
enum discovery_state discovery_state(const struct discovery *d);

/*
 * records_ok were news, records_same brought nothing new. Refused: bad_seal
 * (another mesh or topic, or garbage), bad_shape (fields, sizes, counts),
 * bad_version, bad_signature, bad_time (over 10 minutes ahead of us), late
 * (expired), old_sequence, bad_cert, over_limit (more than 4,096 nodes and
 * topics are known). dropped: unread, since too many came in a second, or too
 * long. refused: calls beyond 64 topics. old_beacons: copies and replays.
 */
#define DISCOVERY_COUNTERS(X) \
	X(records_ok) \
	X(records_same) \
	X(bad_seal) \
	X(bad_shape) \
	X(bad_version) \
	X(bad_signature) \
	X(bad_time) \
	X(late) \
	X(old_sequence) \
	X(bad_cert) \
	X(over_limit) \
	X(dropped) \
	X(refused) \
	X(puts) \
	X(put_failed) X(beacons_in) X(beacons_out) X(bad_beacons) X(old_beacons)
struct discovery_counters {
#define X(name) uint64_t name;
	DISCOVERY_COUNTERS(X)
#undef X
};
/* Borrowed; a snapshot as of the call. */
const struct discovery_counters *discovery_counters(const struct discovery *d);

#endif
