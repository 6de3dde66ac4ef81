/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_DIGESTER_H
#define HN_MESH_DIGESTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/err.h"
#include "node/base/fields.h"

/*
 * Inputs that arrive in parts become digests in their order: each message's
 * complete inputs are one slice for the device pool, slices are handed on as
 * they were begun. What hash.batch and hash.digest have in common. Loop
 * thread only.
 */
struct asic;
struct digester;

struct digests {
	uint64_t first; /* index of the first one's input */
	size_t n;
	const uint8_t (*digests)[32];
	const uint8_t (*leaves)[32]; /* of the inputs (merkle.h), if wanted */
	size_t held;		     /* bytes that wait behind them */
};
struct digester_ops {
	/* The next n; false: not now, say digester_push when. */
	bool (*take)(void *arg, const struct digests *d);
	/* The device failed; nothing more comes. */
	void (*failed)(void *arg, enum err e);
	/* All there was before digester_end is taken. */
	void (*done)(void *arg);
};

/* client: whose work it is (asic.h). */
struct digester *digester_new(struct asic *asic, int rounds, bool leaves,
			      uint64_t client, const struct digester_ops *ops,
			      void *arg);
/* More parts (struct batch_item), the first of which is or goes on the input
 * of that index. An error has a sentence, and nothing more is taken; calls no
 * op. */
enum err digester_feed(struct digester *d, uint64_t first,
		       const struct list *items, const char **why) HN_CHECK;
/* Same of the end of all parts; may call ops. */
enum err digester_end(struct digester *d, const char **why) HN_CHECK;
void digester_push(struct digester *d);
/* Bytes that wait: its source should stop beyond DIGESTER_HELD. */
#define DIGESTER_HELD (1u << 20)
size_t digester_held(const struct digester *d);
uint64_t digester_inputs(const struct digester *d); /* complete ones so far */
/* No callback comes any more; what the device has begun ends by itself. */
void digester_free(struct digester *d);

#endif
