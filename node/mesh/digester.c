/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/digester.h"

#include "asic/asic.h"
#include "node/base/buf.h"
#include "node/base/mem.h"
#include "node/mesh/wire.h"

#include <utlist.h>

#include <stdlib.h>
#include <string.h>

struct slice {
	struct slice *prev, *next;
	struct digester *d;
	struct asic_batch *work, *leaf_work; /* NULL: done */
	struct buf data; /* the inputs, each behind the 0 of its leaf */
	struct bytes *msgs, *leaf_msgs;
	size_t n;
	uint64_t first;
	uint8_t (*digests)[32], (*leaves)[32];
	enum err e;
};

struct digester {
	struct asic *asic;
	struct digester_ops ops;
	void *arg;
	uint64_t client;
	int rounds;
	bool leaves;
	bool dead; /* freed, the device still runs */
	bool ended, failed, told;
	bool busy; /* in a callback: freeing waits */
	uint64_t next;
	struct buf part; /* of the input under way */
	bool begun;
	size_t held;
	struct slice *slices;
};

struct digester *digester_new(struct asic *asic, int rounds, bool leaves,
			      uint64_t client, const struct digester_ops *ops,
			      void *arg)
{
	struct digester *d = HN_NEW(struct digester);

	d->asic = asic;
	d->rounds = rounds;
	d->leaves = leaves;
	d->client = client;
	d->ops = *ops;
	d->arg = arg;
	return d;
}

/* Empty inputs weigh something, too: the place for their digests. */
static size_t slice_weight(const struct slice *s)
{
	const size_t each = sizeof(*s->msgs) + 32;

	return s->data.n + s->n * each * (s->d->leaves ? 2 : 1);
}

static void slice_free(struct slice *s)
{
	DL_DELETE(s->d->slices, s);
	s->d->held -= slice_weight(s);
	buf_release(&s->data);
	free(s->msgs);
	free(s->leaf_msgs);
	free(s->digests);
	free(s->leaves);
	free(s);
}

static bool slice_at_work(const struct slice *s)
{
	return s->work || s->leaf_work;
}

static void maybe_free(struct digester *d)
{
	if (!d->dead || d->busy || d->slices)
		return;
	buf_release(&d->part);
	free(d);
}

void digester_free(struct digester *d)
{
	struct slice *s, *tmp;

	if (!d)
		return;
	d->dead = true;
	DL_FOREACH_SAFE (d->slices, s, tmp) {
		if (s->work)
			asic_batch_cancel(s->work);
		if (s->leaf_work)
			asic_batch_cancel(s->leaf_work);
		if (!slice_at_work(s))
			slice_free(s);
	}
	maybe_free(d);
}

/* Hands on what is ready; a callback may free the digester. */
static void push(struct digester *d)
{
	struct slice *s;

	while (!d->dead && !d->failed && (s = d->slices) && !slice_at_work(s)) {
		const struct digests out = {
		    .first = s->first,
		    .n = s->n,
		    .digests = (const uint8_t(*)[32])s->digests,
		    .leaves = (const uint8_t(*)[32])s->leaves,
		    .held = d->held - slice_weight(s)};

		if (s->e) {
			d->failed = true;
			d->ops.failed(d->arg, s->e);
			return;
		}
		if (!d->ops.take(d->arg, &out))
			return;
		if (!d->dead)
			slice_free(s);
	}
	if (!d->dead && !d->failed && d->ended && !d->slices && !d->told) {
		d->told = true;
		d->ops.done(d->arg);
	}
}

void digester_push(struct digester *d)
{
	if (d->busy)
		return; /* it goes on below */
	d->busy = true;
	push(d);
	d->busy = false;
	maybe_free(d);
}

static void slice_ready(struct slice *s)
{
	struct digester *d = s->d;

	if (slice_at_work(s))
		return;
	if (!d->dead) {
		digester_push(d);
		return;
	}
	slice_free(s);
	maybe_free(d);
}

static void on_digests(void *arg, enum err e, const uint8_t (*digests)[32],
		       size_t n)
{
	struct slice *s = arg;

	s->work = NULL;
	if (e)
		s->e = e;
	else
		s->digests = xmemdup(digests, n * 32);
	slice_ready(s);
}

static void on_leaves(void *arg, enum err e, const uint8_t (*digests)[32],
		      size_t n)
{
	struct slice *s = arg;

	s->leaf_work = NULL;
	if (e)
		s->e = e;
	else
		s->leaves = xmemdup(digests, n * 32);
	slice_ready(s);
}

static enum err slice_start(struct slice *s, const size_t *ends)
{
	struct digester *d = s->d;
	size_t at = 0;

	s->msgs = xcalloc(s->n, sizeof(*s->msgs));
	if (d->leaves)
		s->leaf_msgs = xcalloc(s->n, sizeof(*s->leaf_msgs));
	for (size_t i = 0; i < s->n; i++) {
		if (d->leaves)
			s->leaf_msgs[i] =
			    (struct bytes){s->data.p + at, ends[i] - at};
		s->msgs[i] =
		    (struct bytes){s->data.p + at + 1, ends[i] - at - 1};
		at = ends[i];
	}
	d->held += slice_weight(s);
	DL_APPEND(d->slices, s);
	enum err e = asic_batch_start(d->asic, s->msgs, s->n, d->rounds,
				      d->client, on_digests, s, &s->work);
	if (!e && d->leaves)
		e = asic_batch_start(d->asic, s->leaf_msgs, s->n, 1, d->client,
				     on_leaves, s, &s->leaf_work);
	return e;
}

/* The input under way goes on; the 0 is for its leaf. */
static void part_add(struct digester *d, const struct bytes *data)
{
	if (!d->begun)
		buf_u8(&d->part, 0);
	d->begun = true;
	if (data->n)
		buf_add(&d->part, data->p, data->n);
}

enum err digester_feed(struct digester *d, uint64_t first,
		       const struct list *list, const char **why)
{
	const struct batch_item *items = list->items;
	size_t ends[BATCH_ITEMS_MAX];

	if (first != d->next || list->n > BATCH_ITEMS_MAX) {
		*why = "inputs out of order";
		return ERR_INPUT;
	}
	struct slice *s = HN_NEW(struct slice);

	s->d = d;
	s->first = d->next;
	for (size_t i = 0; i < list->n; i++) {
		part_add(d, &items[i].data);
		if (d->part.n > 1 + BATCH_ITEM_MAX) {
			*why = "an input is over 1 MiB";
			buf_release(&s->data);
			free(s);
			return ERR_LIMIT;
		}
		if (items[i].more)
			continue;
		buf_add(&s->data, d->part.p, d->part.n);
		buf_clear(&d->part);
		d->begun = false;
		d->next++;
		ends[s->n++] = s->data.n;
	}
	if (s->n) {
		*why = "the device takes no work";
		return slice_start(s, ends);
	}
	buf_release(&s->data);
	free(s);
	return OK;
}

enum err digester_end(struct digester *d, const char **why)
{
	if (d->begun) {
		*why = "the last input has no end";
		return ERR_INPUT;
	}
	d->ended = true;
	digester_push(d);
	return OK;
}

size_t digester_held(const struct digester *d)
{
	return d->held;
}

uint64_t digester_inputs(const struct digester *d)
{
	return d->next;
}
