/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_RPC_HUB_H
#define HN_RPC_HUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "rpc/handshake.h"
#include "rpc/link.h"
#include "rpc/noise.h"
#include "rpc/record.h"
#include "rpc/session.h"

/*
 * The inside of session.h, shared by opening.c (a connection becomes a
 * session), session.c (a session that is up, and its end) and hub.c
 * (listeners, dials, limits, which session to a peer counts). Loop thread
 * only.
 */
#define HUB_HALF_OPEN 64	  /* D10: handshakes at once, in all */
#define HUB_HALF_OPEN_ADDRESS 8	  /* from one address, not loopback */
#define HUB_NEW_PER_S 200	  /* new connections a second */
#define HUB_BUSY_HALF_OPEN 24	  /* from here on a puzzle is asked (1.6) */
#define HUB_BUSY_PER_S 100	  /* and from here on */
#define HUB_SESSIONS 1024	  /* that others dialled, up */
#define HUB_SESSIONS_PER_PEER 4	  /* replaced ones included */
#define SESSION_PINGS 16	  /* under way at once */
#define SESSION_LINGER_MS 1000	  /* for a goodbye to arrive */
#define SESSION_PROBE_MS 2000	  /* D11: an older session must answer */
#define SESSION_RETIRE_MS 1000	  /* until both sides know of the other one */
#define SESSION_FLUSH (64u << 10) /* queued: written before the round's end */

enum session_state {
	S_CONNECTING, /* dialler: the link is being made */
	S_FIRST,      /* responder: awaits the first bytes and message 1 */
	S_MESSAGE_2,  /* dialler: awaits it */
	S_MESSAGE_3,  /* responder: awaits it */
	S_WELCOME,    /* dialler: awaits the responder's first record */
	S_PARKED,     /* D11 waits for an older session to answer or not */
	S_UP,
	S_ENDING /* told or being told; the link may still carry a goodbye */
};

struct session_probe {
	uint8_t token[RECORD_TOKEN];
	uint64_t sent_ns, due_ms; /* due_ms 0: no limit of its own */
	session_ping_fn done;	  /* NULL: keepalive */
	void *arg;
};

struct session {
	struct session *prev, *next;   /* hub->sessions: all of them */
	struct session *dprev, *dnext; /* hub->dirty */
	struct hub *hub;
	struct link *link; /* NULL once closed */
	struct link_addr address;
	enum session_state state;
	bool dialled, control, aes;
	bool dirty, high;
	bool was_up, told;
	bool early;	    /* the peer closed before it said anything */
	bool early_reset;   /* and did not read what we sent */
	bool suite_refused; /* the responder lacks our suite */
	bool puzzled;	    /* it asked a puzzle, which the dial answers */
	bool replaced, retiring, probing; /* D11 */
	bool refusing;			  /* S_ENDING: a refusal is under way */
	bool deaf;     /* S_ENDING: records are no longer understood */
	bool resting;  /* S_UP: session_rest */
	unsigned pins; /* posts that point here */
	struct hub_dial *dial;
	struct session_psk psk; /* key wiped once up */
	struct loop_timer *timer, *retire, *rest;

	/* opening */
	struct handshake *hs;
	size_t first; /* bytes before message 1; 0: not known */
	struct buf in;
	struct handshake_peer peer;
	uint64_t dials; /* the dialler's number of this dial */

	/* records */
	struct noise_cipher tx, rx;
	struct record_reader reader;
	struct record_writer writer;
	uint8_t hash[NOISE_HASH_LEN];
	uint64_t rekeyed_ms;
	uint64_t in_bytes, out_bytes;

	/* keepalive */
	uint64_t since_ms, heard_ms, busy_ms, grace_ms, pinged_ms, due_ms;
	uint64_t rtt_us, next_token;
	int outstanding;
	struct session_probe pings[SESSION_PINGS];
	size_t npings;

	enum err why;
	char *text;
	void *user;
};

struct hub {
	struct hub_options o;
	struct link_ctx *links;
	uv_prepare_t prepare;
	uv_check_t check;
	unsigned handles;
	struct hub_listener *listeners;
	struct session *sessions;
	struct session *dirty;
	struct hub_dial *dials;
	uint64_t ndials;	     /* so far */
	uint64_t accept_ms, accepts; /* in the second that began then */
	struct puzzles puzzles;
	struct hub_counters counters;
	uint8_t scratch[SESSION_RECORD]; /* what a closing session swallows */
	bool stopping;
	loop_fn stopped;
	void *stopped_arg;
};

/* opening.c */
void opening_accept(struct hub *h, struct link *take_l, bool control);
/* NULL: *why says it; no callback comes. */
struct session *opening_dial(struct hub *h, const struct node_id *expect,
			     const char *host, uint16_t port, const char *path,
			     const struct session_psk *psk, bool aes,
			     uint32_t timeout_ms, enum err *why);
void opening_bytes(struct session *s, const uint8_t *p, size_t n);
/* Dialler of a control socket: whether these bytes belong to a refusal. */
bool opening_refused(struct session *s, const uint8_t *p, size_t n);

/* session.c */
extern const struct link_ops session_link_ops;
struct session *session_new(struct hub *h, bool dialled, bool control);
void session_free(struct session *s);	/* has no link, nobody points here */
void session_opened(struct session *s); /* opening.c's; the link is there */
/* PARKED or WELCOME or a responder's last step: the session is up. */
void session_go_up(struct session *s);
/* Ends it once, in whatever state; the owner hears from a post. */
void session_end(struct session *s, enum err why, const char *text,
		 bool goodbye);
void session_flush(struct session *s);
void session_probe_within(struct session *s, uint32_t ms, session_ping_fn done,
			  void *arg);
void session_records(struct session *s, uint8_t *p, size_t n);

/* hub.c */
/* Logs it and tells hub_options.refused; the caller counts and closes. */
void hub_refused(struct hub *h, const struct link_addr *from, const char *text);
void hub_dirty(struct session *s);
bool hub_settle(struct session *s); /* D11; false: parked or ended */
void hub_judge(struct hub *h, const struct node_id *id);
void hub_ended(struct session *s); /* told: out of the table */
void hub_freed(struct hub *h);
/* The session of a dial is up. */
void hub_dial_up(struct session *s);
/* So many come that each has to solve a puzzle first. */
bool hub_is_busy(const struct hub *h);
/* Where sessions from one place are counted together; below 256. */
unsigned hub_bucket(const struct hub *h, const uint8_t ip[static 16]);
/* Dialler: what it was asked and has not answered yet in this dial. False: it
 * was asked too often, or too much. */
bool hub_dial_puzzle(struct session *s, const struct puzzle *p);
/* The answer to send, or NULL. */
const uint8_t *hub_dial_answer(const struct session *s);

#endif
