/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_ASIC_BENCH_H
#define HN_ASIC_BENCH_H

#include "node/base/err.h"

#include <stddef.h>

struct kernel;

/*
 * What `hnode bench hash` measures: every kernel that runs here, on one
 * thread and more, against OpenSSL's SHA-256 (the EVP interface with its
 * context reused) on the same threads. Both take turns in slices of some
 * milliseconds, so that a clock that changes or a neighbour on the machine
 * meets both. Linked only by who calls it: the library hn_asic_bench.
 */

/* Millions per second, summed over the threads. */
struct bench_rate {
	double cpu;	/* per second of the threads' CPU time */
	double wall;	/* per second that passed while they did this */
	double openssl; /* OpenSSL's, by CPU time */
	double ratio;	/* the median of this / OpenSSL's, slice by slice */
};

struct bench_row {
	const struct kernel *kernel; /* has name and compiler */
	unsigned threads;
	struct bench_rate scan; /* MH/s; OpenSSL: SHA-256d of 80 bytes */
	struct bench_rate b64;	/* SHA-256 of messages of 64 bytes */
	struct bench_rate b1k;	/* and of 1 KiB */
};

struct bench_hash {
	struct bench_row *rows; /* by kernel, then by threads */
	size_t n;
	const struct kernel *best; /* of the scans on one thread */
};

typedef void bench_row_fn(const struct bench_row *row, void *arg);

/*
 * Blocks for about 3 * seconds a row (seconds: one rate of one row; at least
 * 0.02 is taken). Rows for 1, 2, 3, 4, 8, 16 ... threads and for
 * threads_max, which is the number of processors we may use if 0. on_row,
 * if not NULL, is called as each row is done, from the calling thread.
 * ERR_BUSY: no threads to be had. ERR_CRYPTO: OpenSSL has no SHA-256.
 */
enum err bench_hash_run(double seconds, unsigned threads_max,
			bench_row_fn *on_row, void *arg,
			struct bench_hash *out) HN_CHECK;
void bench_hash_release(struct bench_hash *b);

#endif
