/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_DHT_PUBLISH_H
#define HN_DHT_PUBLISH_H

#include <stdbool.h>
#include <stdint.h>

#include "dht/record.h"
#include "node/base/identity.h"
#include "node/base/loop.h"

/*
 * Keeps our records in the DHT (decision D6): at once when new, on change at
 * most once a minute with the latest body, every 4 minutes, and again soon
 * where nobody took them. Used by discovery.c only. Loop thread; callbacks
 * come on the loop, never from inside a call.
 */
struct publisher;
struct overlay;
struct discovery_counters;

#define PUBLISH_MAX 64

struct publisher_options {
	struct loop *loop;
	struct overlay *overlay; /* NULL: remembers, and puts nothing */
	const struct identity *me;
	const struct mesh_keys *keys; /* borrowed; alive until freed */
	const int64_t *clock_offset_ms;
	struct discovery_counters *counters;
	uint64_t last_seq;
	void *arg;
	void (*issued)(void *arg, uint64_t seq);
};

struct publisher *publisher_new(const struct publisher_options *o);
/* Before the overlay is stopped. */
void publisher_free(struct publisher *p);

/* A topic beyond PUBLISH_MAX or a body that cannot be packed is refused:
 * false. */
bool publisher_set(struct publisher *p, const char *topic,
		   const struct record *body);
void publisher_withdraw(struct publisher *p, const char *topic);
bool publisher_has(const struct publisher *p, const char *topic);

/* The overlay reached somebody: what nobody took is put again. */
void publisher_connected(struct publisher *p);
/* The keys behind the pointer changed: everything is put under new topics. */
void publisher_rekey(struct publisher *p);
/* Someone holds a record of ours with this sequence: go on above it. */
void publisher_saw_own(struct publisher *p, uint64_t seq);

/* Withdraws all; done once every tombstone was taken, or after limit_ms. */
void publisher_leave(struct publisher *p, uint64_t limit_ms, loop_fn done,
		     void *arg);

#endif
