/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_SUPPORT_HUBS_H
#define HN_SUPPORT_HUBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "node/base/buf.h"
#include "rpc/session.h"

/*
 * Several hubs on one loop, over 127.0.0.1 and ports that the kernel chose,
 * raw clients that send anything, and a proxy that can damage what passes.
 * until() runs the loop until a condition holds and fails the test after
 * UNTIL_MS.
 */
#define UNTIL_MS 20000

struct bench {
	struct loop *loop;
	struct loop_timer *limit, *poll;
	bool (*cond)(void *arg);
	void *arg;
	bool late;
};

struct bench *bench_new(void);
void bench_free(struct bench *b);
void until(struct bench *b, bool (*cond)(void *arg), void *arg);
/* Runs the loop for so long: to see that something does not happen. */
void run_for(struct bench *b, uint64_t ms);

/* A hub with what its callbacks saw. */
struct hnode {
	struct bench *bench;
	struct hub *hub;
	struct identity *me;
	uint16_t port;
	struct session_creds creds;
	struct hub_options o; /* change before hnode_start */

	enum err admit; /* what to answer */
	const char *admit_why;
	unsigned admits;
	struct session_hello seen; /* of the last admit; cert is not kept */
	size_t seen_cert;
	enum session_kind seen_kind;
	uint64_t seen_tag;

	unsigned ups, downs, dups, copies, retires, writables;
	struct session *s; /* the last that came up and is up */
	enum err down_why;
	char down_text[256];
	bool down_dup;
	bool keep_retired; /* retire is only counted */

	struct buf in; /* bodies of records */
	size_t records;
	enum err record_answer;
	void (*on_writable)(struct hnode *n, struct session *s);
	void (*on_record)(struct hnode *n, struct session *s);
	bool stopped;
};

/* Same mesh, fresh identity. */
struct hnode *hnode_new(struct bench *b);
/* The same key, another process. */
struct hnode *hnode_twin(struct hnode *of);
void hnode_start(struct hnode *n, bool listen);
void hnode_stop(struct hnode *n); /* waits for the end */
void hnode_free(struct hnode *n); /* stops it first; NULL is fine */
void hnode_send(struct session *s, const void *p, size_t n);

/* One dial and its end. */
struct dialling {
	struct bench *bench;
	struct hub_dial *d;
	bool done;
	enum err e;
	struct session *s;
	char text[256];
};
void dial_begin(struct dialling *d, struct hnode *from, struct hnode *to,
		uint16_t port, const struct session_psk *psk, bool aes,
		uint32_t timeout_ms);
/* Waits for it. */
enum err dial(struct dialling *d, struct hnode *from, struct hnode *to);
/* from and to are up with each other. */
void connect_hubs(struct hnode *from, struct hnode *to);

/* A tcp client with no manners; or what a raw server accepted. */
struct raw {
	struct bench *bench;
	uv_tcp_t tcp;
	struct buf in;
	bool connected, closed, closing, freed;
};
struct raw *raw_connect(struct bench *b, uint16_t port);
void raw_send(struct raw *r, const void *p, size_t n);
void raw_close(struct raw *r); /* and frees */
bool raw_is_closed(void *raw);

/* A listener that answers every connection with some bytes and waits. */
struct raw_server {
	struct bench *bench;
	uv_tcp_t tcp;
	uint16_t port;
	uint8_t answer[64];
	size_t answer_n;
	struct raw *clients[8];
	size_t n;
	void *owner;
};
struct raw_server *raw_serve(struct bench *b, const void *answer, size_t n);
void raw_server_free(struct raw_server *rs);

/* Passes connections on to a port, with damage. */
enum damage {
	PASS,
	SILENT, /* swallow everything, both ways */
	FLIP,	/* one bit of each chunk to the server */
	REPEAT, /* each chunk to the server twice */
	SWAP	/* hold a chunk to the server back behind the next */
};
struct proxy {
	struct raw_server *server;
	struct bench *bench;
	uint16_t port, to;
	enum damage damage;
	struct raw *near, *far;
	struct buf held;
};
struct proxy *proxy_new(struct bench *b, uint16_t to);
void proxy_cut(struct proxy *p); /* closes both connections */
void proxy_free(struct proxy *p);

#endif
