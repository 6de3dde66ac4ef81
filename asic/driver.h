/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_ASIC_DRIVER_H
#define HN_ASIC_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "asic/asic.h"
#include "asic/work.h"
#include "node/base/err.h"

struct bytes;
struct loop;

/*
 * What a device driver fills. The pool (asic.c) calls it on the loop thread;
 * the driver may have threads of its own and posts to the loop. It holds the
 * work it was given in a queue of its own, in order, so that one unit follows
 * the other without a gap, and claims nonces; the pool believes none of them
 * before the reference hash says so.
 *
 * A task is one scan. It lives in the pool until the driver's `done`.
 */
struct asic_device; /* the driver's own */
struct asic_task;   /* the driver's own, one scan */

struct asic_device_events {
	/*
	 * On the loop, never from inside a call. Every nonce below `below` was
	 * tried; claims are ascending, below it, and each told once.
	 */
	void (*progress)(void *task_arg, uint64_t below, const uint32_t *claims,
			 size_t n);
	/* The last word on a task: OK, ERR_CANCELED or ERR_DEVICE. */
	void (*done)(void *task_arg, enum err e, uint64_t hashes);
};

struct asic_driver {
	const char *name;
	bool hardware;

	enum err (*open)(struct loop *l, const struct asic_options *o,
			 const struct asic_device_events *events,
			 struct buf *why, struct asic_device **out);
	/* NULL: the device cannot work at all (no thread, unplugged). */
	struct asic_task *(*submit)(struct asic_device *d,
				    const struct scan_work *w, uint64_t client,
				    void *task_arg);
	/* done comes with ERR_CANCELED within 50 ms (a driver says what its
	 * device can do), or with OK if it was through already. */
	void (*cancel)(struct asic_device *d, struct asic_task *t);
	/* Digests; NULL: this device only scans. done as for asic_batch_start;
	 * cancel ends it, too. */
	struct asic_task *(*batch)(struct asic_device *d,
				   const struct bytes *msgs, size_t n,
				   int rounds, uint64_t client,
				   asic_batch_fn done, void *arg);
	void (*lend)(struct asic_device *d, unsigned threads,
		     unsigned permille); /* asic_lend */
	void (*info)(const struct asic_device *d, struct asic_device_info *i);
	/* Ends every task with ERR_CANCELED, then done on the loop. */
	void (*close)(struct asic_device *d, loop_fn done, void *arg);
};

extern const struct asic_driver driver_cpu;

#endif
