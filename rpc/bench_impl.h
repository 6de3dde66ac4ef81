/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_RPC_BENCH_IMPL_H
#define HN_RPC_BENCH_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/err.h"
#include "node/base/mem.h"
#include "rpc/bench.h"

/*
 * Shared by bench.c (the measuring process), bench_peer.c (its peer) and the
 * references bench_tcp.c and bench_nng.c.
 */
#define BENCH_CALL 64	  /* bytes of a call */
#define BENCH_CHUNK 16360 /* bytes of a chunk: with its frame a full record */
#define BENCH_INFLIGHT 64
#define BENCH_SAMPLES (1u << 20) /* round trips kept per cell */
#define BENCH_MAGIC "hnode-bench 1"

/* The messages of bench_methods. */
struct bench_blob {
	struct bytes data;
};
struct bench_amount {
	uint64_t bytes;
};

/* Round trips in nanoseconds; further ones are dropped when full. */
struct bench_times {
	uint64_t *ns;
	size_t n;
};
static inline void bench_time(struct bench_times *t, uint64_t ns)
{
	if (t->n < BENCH_SAMPLES)
		t->ns[t->n++] = ns;
}

/* The options of both hubs: the same mesh, nobody refused, no keepalive that
 * a busy or blocked process could miss. */
struct bench_mesh {
	uint8_t secret[32];
	struct identity *me;
};
struct rpc *bench_rpc_new(struct loop *l, struct bench_mesh *m);

/* Plain TCP echo on a thread; ERR_IO when no port can be had. */
struct bench_tcp_server;
enum err bench_tcp_serve(struct bench_tcp_server **out,
			 uint16_t *port) HN_CHECK;
void bench_tcp_end(struct bench_tcp_server *s);
/* Blocking ping-pong for some seconds. */
enum err bench_tcp_run(uint16_t port, double seconds,
		       struct bench_times *out) HN_CHECK;

/* nng REQ/REP likewise. */
struct bench_nng_server;
enum err bench_nng_serve(struct bench_nng_server **out,
			 uint16_t *port) HN_CHECK;
void bench_nng_end(struct bench_nng_server *s);
enum err bench_nng_run(uint16_t port, double seconds,
		       struct bench_times *out) HN_CHECK;
enum err bench_nng_many(uint16_t port, double seconds,
			double *calls_per_s) HN_CHECK;

#endif
