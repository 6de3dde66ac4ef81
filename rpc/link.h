/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_RPC_LINK_H
#define HN_RPC_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/loop.h"
#include "rpc/link_addr.h"

/*
 * One ordered connection of plain bytes, tcp or a local socket: the doorway to
 * nng, whose byte streams carry it. Every function and every callback here is
 * on the loop's thread; how nng's own threads are kept away is link.c's
 * secret. No callback runs inside the call that causes it. A relay or a
 * punched UDP path would be one more way to make a struct link.
 */
struct link_ctx;
struct link;
struct link_listener;

enum link_io {
	LINK_AUTO,   /* the loop watches the descriptor where it can (tcp) */
	LINK_POSTED, /* nng reads on its threads and posts what it read */
};

struct link_ctx *link_ctx_new(struct loop *l, enum link_io io);
/* Dials come from this address of ours, an IP one, where it can reach the
 * other end: of its family, and both loopback or neither. */
void link_ctx_source(struct link_ctx *c, const char *host);
/* Every link and listener has been closed by the caller; done comes when
 * their memory is free, and the ctx with it. */
void link_ctx_stop(struct link_ctx *c, loop_fn done, void *arg);
/* Ends nng's threads: once, at the end of a process without a ctx. */
void link_library_end(void);

struct link_ops {
	/* A dialled link is connected. */
	void (*open)(void *arg);
	/* n bytes came; the callee may change them, and forgets them when it
	 * returns. */
	void (*bytes)(void *arg, uint8_t *p, size_t n);
	/* Bytes that had to wait left us; link_ready tells if all did. */
	void (*sent)(void *arg);
	/* The peer closed it, or the dial failed, with a sentence. Nothing
	 * comes after it; link_close is still the owner's to call. */
	void (*closed)(void *arg, enum err why, const char *text);
};

/*
 * Dials host (IPv4, IPv6 with or without brackets, or a name, whose addresses
 * are tried in order) and port; open or closed follows. ERR_INPUT when host is
 * none of these.
 */
enum err link_dial(struct link_ctx *c, const char *host, uint16_t port,
		   uint32_t timeout_ms, const struct link_ops *ops, void *arg,
		   struct link **out) HN_CHECK;
enum err link_dial_ipc(struct link_ctx *c, const char *path,
		       uint32_t timeout_ms, const struct link_ops *ops,
		       void *arg, struct link **out) HN_CHECK;

/* take_l is the callee's: it calls link_start or link_close before it
 * returns. */
typedef void (*link_accept_fn)(void *arg, struct link *take_l);

/* "tcp://127.0.0.1:0", "tcp://[::]:7450"; *port is the bound one. */
enum err link_listen(struct link_ctx *c, const char *url, link_accept_fn fn,
		     void *arg, uint16_t *port, struct buf *why,
		     struct link_listener **out) HN_CHECK;
/*
 * A local socket that only our user may open (0600). A file that a dead
 * process left is replaced; ERR_EXISTS when somebody answers there.
 */
enum err link_listen_ipc(struct link_ctx *c, const char *path,
			 link_accept_fn fn, void *arg, struct buf *why,
			 struct link_listener **out) HN_CHECK;
void link_listener_close(struct link_listener *ll); /* NULL is fine */

/* Begins to read an accepted link. */
void link_start(struct link *l, const struct link_ops *ops, void *arg);

/*
 * Sending: append to link_out, then link_flush, which takes it all and never
 * blocks. What the kernel does not take now is kept and goes out by itself;
 * until link_ready, link_flush does nothing. link_queued counts both.
 */
struct buf *link_out(struct link *l);
void link_flush(struct link *l);
bool link_ready(const struct link *l);
size_t link_queued(const struct link *l);
void link_trim(struct link *l); /* gives back buffers that are empty */
uint64_t link_writes(const struct link *l); /* to the kernel, for tests */

/* Stops reading, goes on. */
void link_pause(struct link *l, bool paused);

/* No callback comes after it. NULL is fine. */
void link_close(struct link *l);

/* The far end's address; zeros for local sockets. */
const struct link_addr *link_peer(const struct link *l);
/* The user at the other end of a local socket; false when not known. */
bool link_peer_uid(const struct link *l, uint64_t *uid);
/* What the kernel knows of a TCP connection, since it began; false where it
 * tells nothing (local sockets, descriptors that nng hides). */
struct link_tcp {
	uint64_t rtt_us;       /* smoothed round trip */
	uint64_t sent, resent; /* segments; resent: lost on the way, or late */
};
bool link_tcp(const struct link *l, struct link_tcp *out);
/* The peer dropped it with our bytes unread, as far as we could see. */
bool link_was_reset(const struct link *l);
bool link_is_watched(const struct link *l); /* LINK_AUTO found a descriptor */

#endif
