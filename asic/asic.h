/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_ASIC_ASIC_H
#define HN_ASIC_ASIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "asic/work.h"
#include "node/base/err.h"
#include "node/base/loop.h"
#include "node/base/mem.h"

/*
 * The device pool: opens devices by their drivers (asic/driver.h), queues
 * work, re-checks every claimed nonce with the reference hash, keeps the
 * statistics. Owned by the loop thread; drivers post to it.
 */
struct asic;
struct asic_scan;
struct asic_batch;

struct asic_options {
	struct loop *loop;
	unsigned threads;     /* of the software device, at most one per core
			       * that it may run on; 0: so many */
	const char *affinity; /* NULL, or "0,2-3": pin the threads there */
	const char *kernel;   /* NULL: the fastest */
};

/* Bad affinity, unknown kernel: ERR_CONFIG with a sentence. No thread runs
 * and nothing is measured before the first work or asic_measure. */
enum err asic_new(const struct asic_options *o, struct buf *why,
		  struct asic **out) HN_CHECK;
/* Cancels all, joins the threads; done on the loop. */
void asic_stop(struct asic *a, loop_fn done, void *arg);

/*
 * progress: every nonce below `below` is done; shares are the new verified
 * ones, ascending, all below it and not told before; at least every 250 ms
 * while running. done: exactly once, after the last progress (which says
 * below == end on OK); ERR_CANCELED, ERR_DEVICE. hashes: nonces tried by
 * then. Never from inside asic_scan_start.
 */
struct asic_scan_ops {
	void (*progress)(void *arg, uint64_t below, const uint32_t *shares,
			 size_t n);
	void (*done)(void *arg, enum err e, uint64_t hashes);
};
/*
 * Whose work it is: our own, urgent small pieces, which go before all else, or
 * any other number for somebody else's. Each client's work is done in its
 * order; those who have some share the device evenly, whatever they ask for.
 */
#define ASIC_OWN 0
#define ASIC_URGENT 1
#define ASIC_OTHERS 2 /* the first of the others' numbers */

/*
 * What the others' work may take of the software device: so many of its
 * threads (0: all), each for so many thousandths of the time (1 to 1000),
 * counted by the processor time they use. Our own work is not held back. Holds
 * from the next chunk on; at first all of it.
 */
void asic_lend(struct asic *a, unsigned threads, unsigned permille);
/* What that comes to in H/s; 0: no rate is known. */
uint64_t asic_lent_rate(const struct asic *a);

/* Queues behind what that client has there; units follow each other without a
 * gap. */
enum err asic_scan_start(struct asic *a, const struct scan_work *w,
			 uint64_t client, const struct asic_scan_ops *ops,
			 void *arg, struct asic_scan **out) HN_CHECK;
/* The device stops within 50 ms; done comes with ERR_CANCELED. */
void asic_scan_cancel(struct asic_scan *s);

/*
 * Digests of n messages on the worker threads; rounds 1 or 2 (SHA-256d).
 * The messages are lent until done; digests are done's to borrow.
 */
typedef void (*asic_batch_fn)(void *arg, enum err e,
			      const uint8_t (*digests)[32], size_t n);
enum err asic_batch_start(struct asic *a, const struct bytes *msgs, size_t n,
			  int rounds, uint64_t client, asic_batch_fn done,
			  void *arg, struct asic_batch **out) HN_CHECK;
void asic_batch_cancel(struct asic_batch *b); /* done: ERR_CANCELED */

/* Measures the software device for about ms milliseconds on all its
 * threads; hash rate in H/s. Skipped (uses the running rate) when busy. */
typedef void (*asic_measure_fn)(void *arg, uint64_t hashes_per_s);
void asic_measure(struct asic *a, uint32_t ms, asic_measure_fn done, void *arg);

struct asic_device_info {
	char id[32];	   /* "cpu0" */
	const char *model; /* "software" */
	const char *kernel;
	bool hardware; /* false: software */
	unsigned threads;
	uint64_t rate;	    /* measured H/s while working, smoothed; 0 none */
	uint64_t lent_rate; /* what others can get of it */
	unsigned lent_threads;
	uint64_t hashes; /* since start */
	uint64_t shares, hw_errors;
	unsigned queued, running;
};
size_t asic_devices(const struct asic *a, struct asic_device_info *out,
		    size_t max);
uint64_t asic_rate(const struct asic *a); /* the sum */

#endif
