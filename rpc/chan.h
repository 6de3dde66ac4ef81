/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_RPC_CHAN_H
#define HN_RPC_CHAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/loop.h"
#include "node/base/mem.h"
#include "rpc/frame.h"
#include "rpc/outbox.h"
#include "rpc/rpc.h"
#include "rpc/session.h"

#define uthash_malloc(n) xmalloc(n)
#include <uthash.h>

/*
 * The inside of rpc, shared by rpc.c (tables, calls, deadlines) and chan.c
 * (one session's streams: frames in, credit, turns to send). Loop thread
 * only.
 */

/* A row with its place, under which channels count its streams. */
struct method_slot {
	const struct rpc_method *m;
	size_t index;
	size_t norphans;   /* cut off, and their users have not answered yet */
	UT_hash_handle hh; /* by name */
};

struct rpc {
	struct rpc_options o;
	struct loop *loop;
	struct hub *hub;
	struct method_slot *slots; /* array, in order of the tables */
	size_t nslots;
	struct method_slot *by_name; /* hash over slots */
	struct chan *chans;
	/* Streams with a deadline, in no order: the timer is set to the
	 * earliest and scans all when it fires. Those due move to expired. */
	struct rpc_stream *timed, *expired;
	struct loop_timer *deadline;
	uint64_t due; /* loop_ms the deadline timer is set to; 0: not set */
	struct rpc_stream *orphans;
	struct buf scratch; /* for packing; empty between calls */
	bool pump_posted, stopping;
	struct rpc_counters counters;
	loop_fn stopped;
	void *stopped_arg;
};

/* rpc's side of one session; its user pointer. */
struct chan {
	struct chan *prev, *next;
	struct rpc *rpc;
	struct session *s; /* NULL once down */
	struct outbox box;
	struct rpc_stream *streams; /* all, in order of their beginning */
	struct rpc_stream *by_number;
	struct rpc_stream *waiters; /* whose room callback is due */
	uint32_t last_in;	    /* the greatest number the peer used */
	size_t nin, nout;
	uint16_t *in_of, *out_of; /* streams per method */
	unsigned busy;		  /* frames of ours on the C stack */
	double small;		  /* small frames it may send now */
	uint64_t small_ms;	  /* as of then */
};

enum stream_state {
	STREAM_OPENING, /* callee: the request is not complete */
	STREAM_OPEN,
	STREAM_ENDING, /* callee: its END is queued, its user has left */
	STREAM_ORPHAN, /* callee: cut off; its user has not heard yet */
	STREAM_ENDED,  /* only references on the C stack keep it */
};

enum stream_timing { TIMING_NONE, TIMING_SET, TIMING_EXPIRED };

struct rpc_stream {
	struct lane lane;  /* number too */
	struct rpc *rpc;   /* NULL only for an orphan that outlived it */
	struct chan *chan; /* NULL for an orphan or after the end */
	struct method_slot *slot;
	const struct rpc_method *m;
	enum stream_state state;
	bool caller;
	bool half_closed; /* caller: sent; callee: received DATA_END */
	bool held;
	bool waiting;  /* in chan->waiters */
	unsigned refs; /* one while it lives, one per C frame */
	struct rpc_ops ops;
	void *arg;
	/* The message that is coming in, and of which kind: 0, none. */
	struct buf part;
	uint8_t part_kind;
	uint64_t credit;   /* bytes we may send */
	uint64_t window;   /* bytes the peer may still send */
	uint64_t consumed; /* bytes taken since the last grant */
	size_t want;	   /* rpc_send refused a chunk of this size; 0 */
	uint64_t deadline; /* loop_ms; 0: none */
	enum stream_timing timing;
	enum err end; /* of an END that goes on, or of an orphan */
	struct rpc_stream *prev, *next;	  /* chan->streams, orphans */
	struct rpc_stream *tprev, *tnext; /* timed, expired */
	struct rpc_stream *wprev, *wnext; /* waiters */
	UT_hash_handle hh;		  /* by_number */
};

struct chan *chan_new(struct rpc *r, struct session *s);
/* Ends every stream with ERR_GONE and frees the channel. */
void chan_down(struct chan *c, const char *text);
enum err chan_record(struct chan *c, const uint8_t *p, size_t n) HN_CHECK;
/* The session was replaced: closes it if no stream is left on it. */
void chan_retire(struct chan *c);
/* Sends what waits, as far as there is room. Calls room callbacks. */
void chan_pump(struct chan *c);
/* Posts a pump if something could be sent now. */
void chan_kick(struct chan *c);

struct rpc_stream *stream_new(struct chan *c, struct method_slot *slot,
			      bool caller, uint32_t timeout_ms);
void stream_unref(struct rpc_stream *st);
/* Out of its channel and all lists; the creator's reference is dropped. */
void stream_end(struct rpc_stream *st);
/* stream_end, and its user hears of it (or finds an orphan). */
void stream_over(struct rpc_stream *st, enum err e, const void *reply,
		 const char *text);
/* Tells the peer, then stream_over. */
void stream_break(struct rpc_stream *st, enum err e, const char *text);
void stream_grant(struct rpc_stream *st);
/* Puts it in the queue for room if that is due. */
void stream_try_wait(struct rpc_stream *st);
void stream_stop_waiting(struct rpc_stream *st); /* it sends no more */
/* An orphan's user has answered or heard: out of the list and its count. */
void stream_adopt(struct rpc_stream *st);

/* Of rpc.c: the list of deadlines. */
void rpc_time_set(struct rpc_stream *st, uint32_t timeout_ms);
void rpc_time_drop(struct rpc_stream *st);
struct method_slot *rpc_slot_find(struct rpc *r, const char *name);
size_t rpc_max_request(const struct rpc_method *m);
size_t rpc_max_chunk(const struct rpc_method *m);
size_t rpc_max_reply(const struct rpc_method *m);
unsigned rpc_max_streams(const struct rpc_method *m);

#endif
