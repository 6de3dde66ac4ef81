/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_RPC_SESSION_H
#define HN_RPC_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/identity.h"
#include "node/base/loop.h"

/*
 * A session is one link plus one handshake: an authenticated, encrypted,
 * ordered channel of records to one peer (decisions D10, D11), or the same
 * records in clear over the control socket (D12). The hub owns listeners,
 * half-open handshakes and the table of sessions. Loop thread only.
 *
 * A record carries whole frames (rpc/frame.h), at most SESSION_RECORD bytes
 * with their headers; this layer does not look inside.
 */
#define SESSION_RECORD 16384u
#define SESSION_PSKS 16

struct hub;
struct session;

/* How the peer proved that it belongs here. */
enum session_kind {
	SESSION_PEER,	 /* the mesh key in force */
	SESSION_OLD_KEY, /* the mesh key before the last rekey */
	SESSION_INVITED, /* an invite's secret: may only enrol */
	SESSION_CONTROL	 /* the control socket: our own user */
};

struct session_psk {
	uint8_t key[32];
	enum session_kind kind;
	uint64_t tag; /* the caller's: which invite */
};

/* What both handshakes need, read anew for each (a rekey changes it). */
struct session_creds {
	uint8_t mesh_id[32];
	struct session_psk psks[SESSION_PSKS]; /* [0] is used to dial */
	size_t npsks;
	struct bytes cert; /* empty: none; borrowed until the call returns */
};

/* What the peer said of itself in its handshake payload, verified. */
struct session_hello {
	struct node_id id;
	uint64_t version;  /* protocol version */
	uint64_t features; /* bits */
	uint8_t boot_id[8];
	uint64_t unix_ms;  /* its wall clock */
	struct bytes cert; /* empty: none */
};

struct hub_options {
	struct loop *loop;
	const struct identity *me;
	uint8_t boot_id[8];
	uint64_t features;
	bool aes; /* this CPU has AES-GCM and we may use it */
	/* Timings in ms; 0 takes the default in brackets. */
	uint32_t ping_idle;    /* [10000] idle ping; three misses: lost */
	uint32_t silent_busy;  /* [4500] silence with something outstanding */
	uint32_t handshake_ms; /* [5000] */
	uint32_t rekey_ms;     /* [600000] */
	uint64_t rekey_bytes;  /* [1 << 30] */
	unsigned max_sessions; /* [1024] that others dialled */
	bool posted_io;	       /* tests, measurements: link.h, LINK_POSTED */
	const char *source;    /* link_ctx_source; NULL: any */

	void *arg;
	void (*creds)(void *arg, struct session_creds *out);
	/* May this peer in? The signature and the key match are checked
	 * already; the caller checks the certificate and its deny lists. */
	enum err (*admit)(void *arg, const struct session_hello *hello,
			  const struct session_psk *psk, struct buf *why);
	void (*up)(void *arg, struct session *s);
	/* The plaintext of one record; p is valid for the call only.
	 * A result other than OK closes the session with that reason. */
	enum err (*record)(void *arg, struct session *s, const uint8_t *p,
			   size_t n);
	/*
	 * D11 replaced s a second ago and both sides know it: nobody starts a
	 * call on it any more. Close it (OK) when its streams have ended. NULL:
	 * the hub closes it at once.
	 */
	void (*retire)(void *arg, struct session *s);
	/* Room again after session_queued passed SESSION_HIGH. */
	void (*writable)(void *arg, struct session *s);
	/* Once per session that was up; s is freed after the call. OK: the
	 * peer said goodbye without a reason, it left. text is a sentence.
	 * dup: another session to the same peer goes on. */
	void (*down)(void *arg, struct session *s, enum err why,
		     const char *text, bool dup);
	/* A second live process uses this node key (D11). */
	void (*copied_key)(void *arg, const struct node_id *id,
			   const char *address);
	/* Somebody who came to us was closed: over the flood limits, a
	 * handshake that failed, a record that breaks the protocol. Counted
	 * already; the callee limits its own logging. NULL: nobody asks. */
	void (*refused)(void *arg, const char *address, const char *text);
};

struct hub *hub_new(const struct hub_options *o); /* o is copied */
/* Says goodbye on every session, closes all; done on the loop. */
void hub_stop(struct hub *h, loop_fn done, void *arg);

/* "tcp://127.0.0.1:0", "tcp://[::]:7450"; *port is the bound one. why names
 * the holder of a taken port where /proc tells it. */
enum err hub_listen(struct hub *h, const char *url, uint16_t *port,
		    struct buf *why) HN_CHECK;
/* The control socket; peers that are not our uid or root are refused. */
enum err hub_listen_control(struct hub *h, const char *path,
			    struct buf *why) HN_CHECK;
void hub_unlisten(struct hub *h); /* closes the listeners only */

/*
 * Dials host:port and expects the node id there. psk NULL: the mesh key in
 * force (creds.psks[0]); else this one (an invite's). aes: the peer is known
 * to have suite 1. done is called exactly once, on the loop, never from
 * inside: OK with the session that is up (it may be an older one that D11
 * kept), or the error and a sentence. For ERR_BUSY (refused, flood limits)
 * the hub has already retried a few times with growing random delay within
 * timeout_ms.
 */
typedef void (*hub_dial_fn)(void *arg, enum err e, struct session *s,
			    const char *text);
struct hub_dial;
struct hub_dial *hub_dial(struct hub *h, const struct node_id *expect,
			  const char *host, uint16_t port,
			  const struct session_psk *psk, bool aes,
			  uint32_t timeout_ms, hub_dial_fn done, void *arg);
void hub_dial_cancel(struct hub_dial *d); /* done comes: ERR_CANCELED */

/* Client side of the control socket (the command line). */
struct hub_dial *hub_dial_control(struct hub *h, const char *path,
				  uint32_t timeout_ms, hub_dial_fn done,
				  void *arg);

/* The session that takes new calls to this peer; NULL when none. */
struct session *hub_find(struct hub *h, const struct node_id *id);
size_t hub_each(struct hub *h, void (*fn)(struct session *s, void *arg),
		void *arg); /* sessions that are up; returns how many */

/* Counters, each also in `status`. */
/* clang-format off */
#define HUB_COUNTERS(X) \
	X(handshakes_in) X(handshakes_out) X(handshakes_failed) \
	X(flood_closed) X(bad_magic) X(bad_version) X(bad_psk) X(bad_auth) \
	X(bad_records) X(self_dials) X(dups_closed) X(copied_keys) \
	X(lost_silent) X(lost_reset) X(rekeys) X(puzzles_asked) \
	X(puzzles_solved) X(evicted) X(rests)
/* clang-format on */
struct hub_counters {
#define X(name) uint64_t name;
	HUB_COUNTERS(X)
#undef X
};
const struct hub_counters *hub_counters(const struct hub *h);

/*
 * Sending. Frames are appended to the open record; all records that are
 * ready go out in one write at the end of the loop round (or at once when
 * much is queued). session_space returns n bytes of room inside the current
 * or a new record, n <= SESSION_RECORD; the caller fills all of it before
 * anything else is called. Never fails: a session that is closing swallows.
 */
uint8_t *session_space(struct session *s, size_t n);
size_t session_queued(const struct session *s); /* not yet in the kernel */
/* Above HIGH: rpc stops feeding bulk; writable once it is at most LOW again.
 * Low marks, because a small call waits behind what is queued. */
#define SESSION_HIGH (128u << 10)
#define SESSION_LOW (64u << 10)
#define SESSION_MAX (16u << 20) /* above: closed, the peer does not read */

/* rpc tells how many calls are under way, of either side: the silence limit
 * changes. */
void session_outstanding(struct session *s, int delta);
/* Replaced (D11): true from the call of hub_options.retire on. Before that
 * hub_find gives the other session already. */
bool session_retiring(const struct session *s);
/* Reads nothing from it for so long, at most a second or so: the peer's words
 * wait in its own buffers. */
void session_rest(struct session *s, uint32_t ms);
/* Sends a goodbye record with the reason, then closes; down comes later. */
void session_close(struct session *s, enum err why, const char *text);

/* Facts. Control sessions have a zero id. */
enum session_kind session_kind(const struct session *s);
const struct node_id *session_peer(const struct session *s);
const struct session_hello *session_hello(const struct session *s);
uint64_t session_psk_tag(const struct session *s);
bool session_dialled(const struct session *s); /* by us */
bool session_aes(const struct session *s);
const uint8_t *session_hash(const struct session *s); /* 32 bytes, or NULL */
void session_address(const struct session *s, struct buf *out); /* host:port */
bool session_is_up(const struct session *s);
/* Smoothed round trip of keepalive pings, microseconds; 0: none yet. */
uint64_t session_rtt_us(const struct session *s);
uint64_t session_since_ms(const struct session *s); /* loop_ms when up */
uint64_t session_heard_ms(const struct session *s); /* last bytes */
void session_bytes(const struct session *s, uint64_t *in, uint64_t *out);
struct link_tcp;
bool session_tcp(const struct session *s,
		 struct link_tcp *out); /* rpc/link.h */
/* Measures one round trip at the session layer now; done once. */
typedef void (*session_ping_fn)(void *arg, enum err e, uint64_t us);
void session_ping(struct session *s, session_ping_fn done, void *arg);

/* rpc's own pointer for this session. */
void session_set_user(struct session *s, void *user);
void *session_user(const struct session *s);

#endif
