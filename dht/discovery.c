/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The composition: the overlay, what we publish, what we follow, and the LAN.
 * The parts know nothing of each other; what one has to tell another passes
 * here. Stop runs from the top down: tombstones, then follower and publisher,
 * then overlay and LAN side by side.
 */
#include "dht/discovery.h"

#include "dht/follow.h"
#include "dht/lan.h"
#include "dht/overlay.h"
#include "dht/publish.h"
#include "node/base/log.h"
#include "node/base/mem.h"

#include <sodium.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOMBSTONES_MS 500
/* Where nobody has answered yet: a node that just came may be listening. */
#define TOMBSTONES_ALONE_MS 150
/* For what OpenDHT has under way after the tombstones; nothing of ours. */
#define OVERLAY_GRACE_MS 50

struct discovery {
	struct discovery_options o;
	struct mesh_keys keys;
	int64_t clock_offset_ms;
	struct overlay *overlay; /* NULL: no DHT */
	struct lan *lan;	 /* NULL: no beacons */
	struct publisher *publisher;
	struct follower *follower;
	struct discovery_counters counters;
	struct discovery_counters shown;
	unsigned stopping_parts;
	bool stopping;
	loop_fn done;
	void *done_arg;
};

/* From the parts */

static void on_connected(void *arg, bool yes)
{
	struct discovery *d = arg;

	if (!yes)
		return;
	publisher_connected(d->publisher);
	follower_connected(d->follower);
}

static void on_record(void *arg, const char *topic, const struct record *r)
{
	struct discovery *d = arg;
	if (!d->stopping && d->o.record)
		d->o.record(d->o.arg, topic, r);
}

static void on_expired(void *arg, const char *topic, const struct node_id *id)
{
	struct discovery *d = arg;
	if (!d->stopping && d->o.expired)
		d->o.expired(d->o.arg, topic, id);
}

static bool on_cert(void *arg, const struct record *r)
{
	struct discovery *d = arg;
	return d->stopping || !d->o.cert_ok || d->o.cert_ok(d->o.arg, r);
}

static void on_refused(void *arg, const struct record *r, uint64_t ahead_ms)
{
	struct discovery *d = arg;
	if (!d->stopping && d->o.refused)
		d->o.refused(d->o.arg, r, ahead_ms);
}

static void on_own(void *arg, uint64_t seq)
{
	struct discovery *d = arg;
	publisher_saw_own(d->publisher, seq);
}

static void on_issued(void *arg, uint64_t seq)
{
	struct discovery *d = arg;
	if (d->o.issued)
		d->o.issued(d->o.arg, seq);
}

static void on_beacon(void *arg, const struct beacon_news *n)
{
	struct discovery *d = arg;
	char address[80];

	if (d->stopping)
		return;
	/* A link-local host has a scope, which no DHT address has. */
	if (d->overlay && n->dht_port && !strchr(n->host, '%')) {
		snprintf(address, sizeof(address), "%s:%u", n->host,
			 n->dht_port);
		overlay_hint(d->overlay, address);
	}
	if (d->o.beacon)
		d->o.beacon(d->o.arg, n);
}

/* Life */

static enum err start_overlay(struct discovery *d, struct buf *why)
{
	const struct overlay_options o = {.loop = d->o.loop,
					  .port = d->o.port,
					  .network = d->keys.network,
					  .arg = d,
					  .connected = on_connected};
	return overlay_new(&o, why, &d->overlay);
}

static enum err start_lan(struct discovery *d, struct buf *why)
{
	const struct lan_options o = {
	    .loop = d->o.loop,
	    .me = d->o.me,
	    .keys = d->keys,
	    .port = d->o.beacon_port,
	    .bind = d->o.bind,
	    .session_port = d->o.session_port,
	    .dht_port = d->overlay ? overlay_port(d->overlay) : 0,
	    .suites = d->o.suites,
	    .counters = &d->counters,
	    .arg = d,
	    .beacon = on_beacon,
	};
	return lan_new(&o, why, &d->lan);
}

static void start_records(struct discovery *d)
{
	const struct publisher_options p = {
	    .loop = d->o.loop,
	    .overlay = d->overlay,
	    .me = d->o.me,
	    .keys = &d->keys,
	    .clock_offset_ms = &d->clock_offset_ms,
	    .counters = &d->counters,
	    .last_seq = d->o.last_seq,
	    .arg = d,
	    .issued = on_issued,
	};
	const struct follower_options f = {
	    .loop = d->o.loop,
	    .overlay = d->overlay,
	    .me = d->o.me,
	    .keys = d->keys,
	    .clock_offset_ms = &d->clock_offset_ms,
	    .counters = &d->counters,
	    .arg = d,
	    .record = on_record,
	    .expired = on_expired,
	    .cert_ok = on_cert,
	    .refused = on_refused,
	    .own = on_own,
	};
	d->publisher = publisher_new(&p);
	d->follower = follower_new(&f);
}

/* The LAN's only failure is looked for before anything runs. */
enum err discovery_new(const struct discovery_options *o, struct buf *why,
		       struct discovery **out)
{
	struct discovery *d = HN_NEW(struct discovery);
	enum err e = OK;

	loop_assert(o->loop);
	if (sodium_init() < 0)
		abort();
	d->o = *o;
	d->keys = o->keys;
	sodium_memzero(&d->o.keys, sizeof(d->o.keys));
	if (o->lan && !lan_bind_ok(o->bind, why))
		e = ERR_INPUT;
	if (!e && o->dht)
		e = start_overlay(d, why);
	if (!e && o->lan)
		e = start_lan(d, why);
	if (e) {
		assert(!d->overlay); /* nothing after it fails */
		sodium_memzero(&d->keys, sizeof(d->keys));
		free(d);
		return e;
	}
	d->o.bind = NULL; /* borrowed, read */
	start_records(d);
	*out = d;
	return OK;
}

static void on_part_stopped(void *arg)
{
	struct discovery *d = arg;
	const loop_fn done = d->done;
	void *done_arg = d->done_arg;

	if (--d->stopping_parts)
		return;
	sodium_memzero(&d->keys, sizeof(d->keys));
	free(d);
	done(done_arg);
}

static void on_tombstones(void *arg)
{
	struct discovery *d = arg;

	publisher_free(d->publisher);
	d->publisher = NULL;
	follower_free(d->follower);
	d->follower = NULL;
	d->stopping_parts = 1;
	if (d->overlay) {
		d->stopping_parts++;
		overlay_stop(d->overlay, OVERLAY_GRACE_MS, on_part_stopped, d);
		d->overlay = NULL;
	}
	if (d->lan) {
		d->stopping_parts++;
		lan_stop(d->lan, on_part_stopped, d);
		d->lan = NULL;
	}
	on_part_stopped(d);
}

static void begin_stop(void *arg)
{
	struct discovery *d = arg;
	const bool alone = !d->overlay || !overlay_connected(d->overlay);

	publisher_leave(d->publisher,
			alone ? TOMBSTONES_ALONE_MS : TOMBSTONES_MS,
			on_tombstones, d);
}

void discovery_stop(struct discovery *d, loop_fn done, void *arg)
{
	loop_assert(d->o.loop);
	assert(!d->stopping);
	d->stopping = true;
	d->done = done;
	d->done_arg = arg;
	/* Perhaps called by a part that is in the middle of something. */
	loop_post(d->o.loop, begin_stop, d);
}

/* Calls */

uint16_t discovery_port(const struct discovery *d)
{
	return d->overlay ? overlay_port(d->overlay) : 0;
}

void discovery_bootstrap(struct discovery *d, const char *host,
			 const char *port)
{
	loop_assert(d->o.loop);
	if (d->overlay && !d->stopping)
		overlay_bootstrap(d->overlay, host, port);
}

void discovery_bootstraps(const struct discovery *d,
			  void (*fn)(void *arg, const char *host,
				     const char *port, bool answered,
				     unsigned failed),
			  void *arg)
{
	loop_assert(d->o.loop);
	if (d->overlay)
		overlay_bootstraps(d->overlay, fn, arg);
}

void discovery_set_clock_offset(struct discovery *d, int64_t ms)
{
	loop_assert(d->o.loop);
	if (d->stopping || ms == d->clock_offset_ms)
		return;
	d->clock_offset_ms = ms;
	follower_clock_changed(d->follower);
}

void discovery_publish(struct discovery *d, const char *topic,
		       const struct record *body)
{
	loop_assert(d->o.loop);
	if (d->stopping || publisher_set(d->publisher, topic, body))
		return;
	d->counters.refused++;
	log_debug("dht", "not published topic=%s: over a limit", topic);
}

void discovery_withdraw(struct discovery *d, const char *topic)
{
	loop_assert(d->o.loop);
	if (!d->stopping)
		publisher_withdraw(d->publisher, topic);
}

void discovery_follow(struct discovery *d, const char *topic)
{
	loop_assert(d->o.loop);
	if (d->stopping || follower_add(d->follower, topic))
		return;
	d->counters.refused++;
	log_debug("dht", "not followed topic=%s: over a limit", topic);
}

void discovery_unfollow(struct discovery *d, const char *topic)
{
	loop_assert(d->o.loop);
	if (!d->stopping)
		follower_remove(d->follower, topic);
}

bool discovery_follows(const struct discovery *d, const char *topic)
{
	return d->follower && follower_has(d->follower, topic);
}

bool discovery_publishes(const struct discovery *d, const char *topic)
{
	return d->publisher && publisher_has(d->publisher, topic);
}

void discovery_rekey(struct discovery *d, const struct mesh_keys *keys,
		     uint64_t old_ms)
{
	loop_assert(d->o.loop);
	assert(keys->network == d->keys.network);
	if (d->stopping)
		return;
	d->keys = *keys;
	publisher_rekey(d->publisher);
	follower_rekey(d->follower, keys, old_ms);
	if (d->lan)
		lan_rekey(d->lan, keys, old_ms);
}

enum discovery_state discovery_state(const struct discovery *d)
{
	if (!d->overlay)
		return DISCOVERY_OFF;
	return overlay_connected(d->overlay) ? DISCOVERY_CONNECTED
					     : DISCOVERY_ALONE;
}

const struct discovery_counters *discovery_counters(const struct discovery *d)
{
	struct discovery *m = (struct discovery *)d; /* shown is a cache */

	m->shown = d->counters;
	if (d->overlay)
		m->shown.dropped += overlay_dropped(d->overlay);
	return &m->shown;
}
