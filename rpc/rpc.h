/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_RPC_RPC_H
#define HN_RPC_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/err.h"
#include "node/base/fields.h"
#include "node/base/loop.h"
#include "rpc/session.h"

/*
 * Many calls and streams on one session: a method table, deadlines, cancel,
 * credit windows, typed errors (PROTOCOL.md). Loop thread only.
 *
 * A call is a stream: one request, then chunks in either direction, then one
 * end with a reply or an error. Which messages those are stands in the
 * method's row; rpc packs and unpacks them by their field tables (D9) and
 * knows no payload.
 */
struct rpc;
struct rpc_stream;

/* Who may call (D12). A row without a right is `owner`. */
enum rpc_right { RIGHT_OWNER, RIGHT_MEMBER, RIGHT_GRANTED, RIGHT_INVITED };

struct rpc_method {
	const char *name; /* "node.ping" */
	unsigned version;
	enum rpc_right right;
	const char *cap; /* GRANTED: the capability, for the doc */
	bool repeatable; /* a repeat is harmless: may be retried */
	const struct message *request;
	const struct message *reply; /* NULL: message_empty */
	const struct message *up;    /* chunks caller to callee; NULL: none */
	const struct message *down;  /* chunks callee to caller; NULL: none */
	size_t max_request;	     /* bytes packed; 0: 16 KiB */
	size_t max_chunk; /* likewise, either direction; at most 128 KiB */
	size_t max_reply; /* likewise */
	/* At once per session, with those that lost their caller and are still
	 * served (of all sessions); 0: 16; more: busy. */
	unsigned max_streams;
	/*
	 * The serve half. request lives until this call returns. It ends the
	 * stream, now or later, with rpc_reply or rpc_fail, exactly once; to
	 * hear of chunks, credit and of the caller leaving it calls rpc_serve
	 * before it returns; chunks that find no callback are dropped, and a
	 * stream without one stays until it is ended, whether or not anybody
	 * still listens. arg is rpc_options.arg.
	 */
	void (*serve)(struct rpc_stream *st, const void *request, void *arg);
	const char *doc; /* one line */
};

struct rpc_options {
	/* arg and the callbacks record, writable, retire, up, down are ours. */
	struct hub_options hub;
	/* ntables arrays of rows, each ending in a row without a name. */
	const struct rpc_method *const *tables;
	size_t ntables;
	void *arg; /* for serve, authorize, up, down, and hub_options'
		    * creds, admit, copied_key, refused (hub.arg is ignored) */
	/* The one place of rights: node/mesh/access.c. Asked before the
	 * request is decoded; its error and sentence go to the caller. NULL:
	 * nobody may call us (a client). */
	enum err (*authorize)(void *arg, struct session *s,
			      const struct rpc_method *m, struct buf *why);
	void (*up)(void *arg, struct session *s);
	void (*down)(void *arg, struct session *s, enum err why,
		     const char *text, bool dup);
	/* All methods, per session and direction; 0: 256. Both sides should
	 * have the same: the caller counts its calls with it, too. */
	unsigned max_streams;
	/* Small frames (RPC_SMALL bytes and less) that a peer may send a
	 * second, with a burst of as many; who sends more is read more slowly.
	 * 0: no such limit. The control socket has none. */
	unsigned small_per_s;
};
#define RPC_SMALL 512u

struct rpc *rpc_new(const struct rpc_options *o); /* copies o, tables stay */
struct hub *rpc_hub(struct rpc *r);
/* Every stream ends with ERR_GONE; the object is gone when done comes. */
void rpc_stop(struct rpc *r, loop_fn done, void *arg);
const struct rpc_method *rpc_method_find(struct rpc *r, const char *name);
/* Every row, in order of the tables. */
void rpc_methods_each(struct rpc *r,
		      void (*fn)(const struct rpc_method *m, void *arg),
		      void *arg);

/*
 * A stream's callbacks. chunk: one unpacked message, alive for the call.
 * room: rpc_send works again after it said ERR_BUSY. end: exactly once, the
 * stream is gone after it; reply is set on OK at the caller only; text is a
 * sentence or NULL. None of them runs inside the call that caused it, with
 * one exception: rpc_cancel's end, which does not come at all.
 */
struct rpc_ops {
	void (*chunk)(void *arg, struct rpc_stream *st, const void *msg);
	void (*room)(void *arg, struct rpc_stream *st);
	void (*end)(void *arg, struct rpc_stream *st, enum err e,
		    const void *reply, const char *text);
};

/*
 * The call half. timeout_ms 0: no deadline; it travels on the wire, and both
 * sides end with ERR_TIMEOUT. ERR_NOMETHOD if the row is unknown here,
 * ERR_LIMIT if too large, ERR_GONE if the session is down, retiring (hub_find
 * knows the one that replaced it) or NULL, ERR_BUSY at the stream cap; then no
 * callback comes. ops are copied, end is a must; out may be NULL.
 */
enum err rpc_call(struct rpc *r, struct session *s, const char *method,
		  const void *request, uint32_t timeout_ms,
		  const struct rpc_ops *ops, void *arg,
		  struct rpc_stream **out) HN_CHECK;

/* The callee hears of chunks, room, and of the caller's end (ERR_CANCELED,
 * ERR_GONE, ERR_TIMEOUT, or the reason that the caller gives; not after
 * rpc_reply or rpc_fail). */
void rpc_serve(struct rpc_stream *st, const struct rpc_ops *ops, void *arg);

/* One chunk. ERR_BUSY: no credit left or the link is full, nothing was
 * taken, room will come. ERR_LIMIT: larger than the row's max_chunk. ERR_GONE:
 * the end is known already. */
enum err rpc_send(struct rpc_stream *st, const void *msg) HN_CHECK;
/* The caller has no more chunks; the callee sees chunk(NULL). */
void rpc_send_end(struct rpc_stream *st);

/* Callee: ends the stream. */
void rpc_reply(struct rpc_stream *st, const void *reply);
void rpc_fail(struct rpc_stream *st, enum err e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Caller: ends the stream; the callee hears ERR_CANCELED. No callback. */
void rpc_cancel(struct rpc_stream *st);

/* Back-pressure: a held stream grants no new credit to its sender. */
void rpc_hold(struct rpc_stream *st, bool held);

struct session *rpc_stream_session(struct rpc_stream *st); /* NULL if down */
const struct rpc_method *rpc_stream_method(struct rpc_stream *st);

/* Streams open on a session now, both directions. */
size_t rpc_streams(struct rpc *r, struct session *s);

/* Requests and errors counted since start, for `status`. */
struct rpc_counters {
	uint64_t calls_out, calls_in, errors_in, denied, busy, bad_frames,
	    unknown_method, deadline;
};
const struct rpc_counters *rpc_counters(const struct rpc *r);

#endif
