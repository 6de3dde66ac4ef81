/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_DHT_FOLLOW_H
#define HN_DHT_FOLLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "dht/record.h"
#include "node/base/identity.h"
#include "node/base/loop.h"

/*
 * Watches topics in the DHT, judges what comes (decision D5) and reports news.
 * Used by discovery.c only. Loop thread; callbacks come on the loop, never
 * from inside a call.
 */
struct follower;
struct overlay;
struct discovery_counters;

#define FOLLOW_MAX 64
/* Values judged per topic and second; more wait, up to WAIT per topic and
 * FOLLOW_WAIT_ALL together; beyond that they are dropped and counted, and the
 * topic is asked again 30 s later. */
#define FOLLOW_RATE 64
#define FOLLOW_WAIT 1024
#define FOLLOW_WAIT_ALL 4096

struct follower_options {
	struct loop *loop;
	struct overlay *overlay; /* NULL: remembers what is followed */
	const struct identity *me;
	struct mesh_keys keys; /* copied */
	const int64_t *clock_offset_ms;
	struct discovery_counters *counters;
	void *arg;
	void (*record)(void *arg, const char *topic, const struct record *r);
	void (*expired)(void *arg, const char *topic, const struct node_id *id);
	bool (*cert_ok)(void *arg, const struct record *r);
	/* Signed by its node, and yet not taken: ahead_ms of our clock, or 0
	 * for its certificate. NULL: nobody asks. */
	void (*refused)(void *arg, const struct record *r, uint64_t ahead_ms);
	void (*own)(void *arg, uint64_t seq); /* a valid record of ours */
};

struct follower *follower_new(const struct follower_options *o);
/* Before the overlay is stopped. */
void follower_free(struct follower *f);

/* False: a topic beyond FOLLOW_MAX. */
bool follower_add(struct follower *f, const char *topic);
void follower_remove(struct follower *f, const char *topic);
bool follower_has(const struct follower *f, const char *topic);

/* The overlay reached somebody: values are asked for again. */
void follower_connected(struct follower *f);
/* Behind the pointer: what was ahead or late may be neither. */
void follower_clock_changed(struct follower *f);
/* New keys; the old ones are followed too for old_ms. */
void follower_rekey(struct follower *f, const struct mesh_keys *keys,
		    uint64_t old_ms);

#endif
