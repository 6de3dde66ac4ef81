/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/lab/impair.h"

#include "node/base/mem.h"

#include <utlist.h>

#include <stdlib.h>
#include <string.h>

void impair_init(struct impair *im, uint64_t seed)
{
	*im = (struct impair){.rng = seed};
}

/* SplitMix64: any seed will do, 0 too. */
static uint64_t rng_next(struct impair *im)
{
	uint64_t z = im->rng += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static bool is_lost(struct impair *im)
{
	im->packets++;
	if (rng_next(im) % 1000 >= im->loss)
		return false;
	im->lost++;
	return true;
}

/* When the last of n bytes has left the uplink. */
static uint64_t leave(struct impair *im, size_t from, size_t n, uint64_t now)
{
	struct impair_node *node = &im->nodes[from];

	if (!im->bandwidth)
		return now;
	if (node->busy_us < now)
		node->busy_us = now;
	node->busy_us += n * 1000000 / im->bandwidth;
	return node->busy_us;
}

static uint64_t travel(struct impair *im)
{
	const uint64_t jitter = im->delay_us / 10;

	return im->delay_us - jitter + rng_next(im) % (2 * jitter + 1);
}

bool impair_joined(const struct impair *im, size_t a, size_t b)
{
	return im->nodes[a].group == im->nodes[b].group;
}

bool impair_packet(struct impair *im, size_t from, size_t to, size_t n,
		   uint64_t now_us, uint64_t *due_us)
{
	if (!impair_joined(im, from, to) || is_lost(im))
		return false;
	if (im->nodes[from].busy_us > now_us + IMPAIR_BACKLOG_US) {
		im->lost++;
		return false;
	}
	*due_us = leave(im, from, n, now_us) + travel(im);
	return true;
}

uint64_t impair_stream(struct impair *im, size_t from, size_t n,
		       uint64_t now_us)
{
	uint64_t due = leave(im, from, n, now_us) + travel(im);
	bool late = false;

	for (size_t at = 0; at < n; at += IMPAIR_SEGMENT)
		late |= is_lost(im);
	if (late)
		due += 2 * im->delay_us > IMPAIR_STALL_US ? 2 * im->delay_us
							  : IMPAIR_STALL_US;
	return due;
}

bool parcels_put(struct parcels *q, uint64_t due_us, size_t from, size_t to,
		 const void *p, size_t n)
{
	struct parcel *at = q->head ? q->head->prev : NULL; /* the last */

	if (q->n >= PARCELS_MAX)
		return false;
	struct parcel *x = xmalloc(sizeof(*x) + n);
	*x = (struct parcel){.due_us = due_us, .from = from, .to = to, .n = n};
	memcpy(x->bytes, p, n);
	/* Nearly always the last one is due last. */
	while (at && at->due_us > due_us)
		at = at == q->head ? NULL : at->prev;
	if (at)
		DL_APPEND_ELEM(q->head, at, x);
	else
		DL_PREPEND(q->head, x);
	q->n++;
	return true;
}

struct parcel *parcels_take(struct parcels *q, uint64_t now_us)
{
	struct parcel *x = q->head;

	if (!x || x->due_us > now_us)
		return NULL;
	DL_DELETE(q->head, x);
	q->n--;
	return x;
}

bool parcels_due(const struct parcels *q, uint64_t *due_us)
{
	if (!q->head)
		return false;
	*due_us = q->head->due_us;
	return true;
}

void parcels_release(struct parcels *q)
{
	struct parcel *x, *tmp;

	DL_FOREACH_SAFE (q->head, x, tmp) {
		DL_DELETE(q->head, x);
		free(x);
	}
	q->n = 0;
}
