/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_RPC_BENCH_H
#define HN_RPC_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "rpc/rpc.h"

/*
 * What calls and streams cost between two processes over loopback, next to a
 * plain blocking TCP ping-pong and to nng REQ/REP in the same run: figures of
 * different runs do not compare, ratios within one do. Every call is 64 bytes
 * each way.
 */

/* Where the two processes run. */
enum bench_place {
	BENCH_APART,  /* each on a CPU of its own; FREE if there is only one */
	BENCH_SHARED, /* both on one CPU */
	BENCH_FREE    /* as the scheduler likes */
};

struct bench_rpc_options {
	const char *exe; /* of the peer: EXE bench-peer; NULL: this program */
	double seconds;	 /* per cell; 0: 1 */
	bool chacha;	 /* suite 0 even where AES-GCM is available */
	enum bench_place place;
};

struct bench_rtt {
	double p50_us, p99_us;
};

struct bench_rpc_result {
	/* One call at a time. */
	double p50_us, p99_us;
	double calls_per_s;	  /* 64 in flight: many frames per record */
	double calls_alone_per_s; /* one in flight: one frame per record */
	double stream_mb_s;	  /* 10^6 bytes of chunks, one stream down */
	double stream_up_mb_s;	  /* one stream up */
	double beside_p50_us;	  /* one call at a time beside a stream down */
	double beside_p99_us;
	double beside_mb_s; /* that stream */
	const char *suite;  /* "ChaChaPoly", "AESGCM" */
	struct bench_rtt tcp;
	struct bench_rtt nng;	/* REQ/REP, one call at a time */
	double nng_calls_per_s; /* 64 in flight, a context each */
};

/* Blocks for about 8 cells. On failure why has a sentence. */
enum err bench_rpc_run(const struct bench_rpc_options *o,
		       struct bench_rpc_result *out, struct buf *why) HN_CHECK;

/*
 * The peer process: `EXE bench-peer`. Reads a line with a secret from
 * standard input, prints one with its ports, serves until the input closes.
 * Returns the exit code.
 */
int bench_peer_main(int argc, char **argv);

/* bench.echo, bench.source, bench.sink: served by the peer process only. */
extern const struct rpc_method bench_methods[];

#endif
