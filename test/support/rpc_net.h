/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_TEST_RPC_NET_H
#define HN_TEST_RPC_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/fields.h"
#include "node/base/loop.h"
#include "rpc/frame.h"
#include "rpc/rpc.h"

/*
 * Two ends of rpc over a hub in memory (fake_hub.h), with methods to call and
 * streams whose ends behave as a test says. The ends have tables of their own,
 * so that they can disagree about a row.
 */
struct num {
	uint64_t v;
	char *text;
};
struct num2 { /* a later version of num: the caller's of t.add */
	uint64_t v;
	char *text;
	uint64_t more;
};
struct blob {
	struct bytes data;
};
extern const struct message num_message, num2_message, blob_message;
/*
 * t.add num -> num: v + 1		t.fail num -> error v with the text
 * t.wait chunks both ways, answered by the test through net.callee
 * t.mute the same without callbacks: net.mute
 * t.down num: streams v bytes down	t.echo blob -> blob, long ones
 * t.owner denied			t.two two at once, mute
 * t.small small caps, waits; the caller's row has large ones
 * t.bigreply mute, a small cap at the caller; t.future at the caller only
 */
extern const struct rpc_method callee_rows[], caller_rows[];
extern const size_t callee_rows_count;

/* What a callee keeps of a stream; also what a caller does. */
struct side {
	struct rpc_stream *st;
	int ends, chunks, eofs, rooms;
	enum err e;
	uint64_t v;
	size_t bytes;
	char text[FRAME_TEXT_MAX + 1];
	bool no_text, got_reply;
	/* behaviour */
	uint64_t send_left; /* bytes to stream out */
	size_t chunk;	    /* of this size */
	bool reply_when_sent, end_when_sent, cancel_in_chunk, fail_in_chunk;
	int *count;	     /* counted up at the end */
	const size_t *watch; /* read at the end into seen: loop_run goes on */
	size_t seen;
};

struct net {
	struct loop *loop;
	struct rpc *a, *b; /* caller, callee */
	struct session *s; /* a's */
	struct side callee;
	bool denied_says;
	int served, downs, stopped, ended;
	struct rpc_stream *mute[8]; /* not answered yet */
	size_t nmute;
};

/* Calls of rpc go through these: callbacks fail when they run inside. */
extern bool net_in_api;
extern enum err net_api_err;
#define API(x) (net_in_api = true, (void)(x), net_in_api = false)
#define TRY(x) \
	(net_in_api = true, net_api_err = (x), net_in_api = false, net_api_err)

extern const struct rpc_ops side_ops;
void side_feed(struct side *d); /* sends what is left, while there is room */

int net_setup(void **state); /* cmocka's; *state is the net */
int net_teardown(void **state);
struct rpc *net_rpc(struct net *n, const struct rpc_method *rows);
void net_on_stopped(void *arg); /* counts net.stopped */
/* Until *count is at least want; fails after 20 s. */
void net_until(struct net *n, const int *count, int want);
/* Long enough for anything that only needs posts. */
void net_settle(struct net *n);
enum err net_call(struct net *n, const char *method, const void *request,
		  uint32_t timeout, struct side *d);
struct session *net_callee(struct net *n); /* b's session */
/* Nothing is left of any stream on either side. */
void net_quiet(struct net *n);

#endif
