/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_DHT_OVERLAY_H
#define HN_DHT_OVERLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/loop.h"

/*
 * The doorway to OpenDHT: one DHT node that stores, finds and watches small
 * values under 20-byte keys. It knows nothing of what is in them. Loop thread
 * only; OpenDHT's threads copy what they have and post it here. Every callback
 * comes on the loop, never from inside a call, and none after overlay_stop
 * was called but its done.
 */
struct overlay;
struct overlay_listen;
struct overlay_put;

#define OVERLAY_KEY_SIZE 20
#define OVERLAY_VALUE_MAX 1200 /* longer values are dropped unread */
#define OVERLAY_BOOTSTRAPS 64

struct overlay_options {
	struct loop *loop;
	uint16_t port; /* UDP; 0: any. OpenDHT binds all addresses */
	uint32_t network;
	void *arg;
	/* Somebody answered, or nobody does any more. May be NULL. */
	void (*connected)(void *arg, bool yes);
};

/* ERR_BUSY with a sentence when the port is taken. */
enum err overlay_new(const struct overlay_options *o, struct buf *why,
		     struct overlay **out) HN_CHECK;

/*
 * Ends all listens and puts, waits up to grace_ms for operations under way,
 * and joins OpenDHT's threads on the uv pool. The overlay and all its listens
 * and puts are gone in done. What was stored on other nodes stays there until
 * it expires.
 */
void overlay_stop(struct overlay *o, uint64_t grace_ms, loop_fn done,
		  void *arg);

uint16_t overlay_port(const struct overlay *o);
/* Some node answered lately. */
bool overlay_connected(const struct overlay *o);
/* Values that OpenDHT's threads dropped: too long, or too many waiting. */
uint64_t overlay_dropped(const struct overlay *o);

/*
 * A node to begin with: a numeric address or a name (looked up without
 * blocking), again at will. One that answers is asked again once a minute, one
 * that does not with a delay that doubles from 1 s to 60 s; a repeat asks at
 * once, but no address more than once a second. Of more than
 * OVERLAY_BOOTSTRAPS the one that failed longest is forgotten.
 */
void overlay_bootstrap(struct overlay *o, const char *host, const char *port);
/* A stranger's "host:port": taken only if it is numeric and fewer than
 * OVERLAY_HINTS bootstraps answer. */
#define OVERLAY_HINTS 16
void overlay_hint(struct overlay *o, const char *address);
/* Each of them: answered since it was given, and pings that failed since its
 * last answer. */
void overlay_bootstraps(const struct overlay *o,
			void (*fn)(void *arg, const char *host,
				   const char *port, bool answered,
				   unsigned failed),
			void *arg);

/* p is borrowed for the call. The same value may come several times. */
typedef void (*overlay_value_fn)(void *arg, const uint8_t *p, size_t n);

/*
 * Every value under key, as it is put, until overlay_unlisten; those there
 * already are asked for by overlay_refresh (one at a time: a second call while
 * one is under way is remembered as one more).
 */
struct overlay_listen *overlay_listen(struct overlay *o,
				      const uint8_t key[static 20],
				      overlay_value_fn fn, void *arg);
void overlay_refresh(struct overlay_listen *l);
void overlay_unlisten(struct overlay_listen *l);

/* ok: some other node has stored the value. */
typedef void (*overlay_put_fn)(void *arg, bool ok);

/*
 * Keeps a value announced, also to nodes that join later, until
 * overlay_put_end. done once, with the first outcome; not after
 * overlay_put_end.
 */
struct overlay_put *overlay_put(struct overlay *o, const uint8_t key[static 20],
				const void *p, size_t n, overlay_put_fn done,
				void *arg);
void overlay_put_end(struct overlay_put *p);

#endif
