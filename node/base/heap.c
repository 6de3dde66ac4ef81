/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/heap.h"

#include "node/base/mem.h"

#include <stdlib.h>

void heap_release(struct heap *h)
{
	free(h->v);
	*h = (struct heap){0};
}

static void set(struct heap *h, size_t i, struct heap_node *x)
{
	h->v[i] = x;
	x->at = i + 1;
}

/* Moves the hole at i up or down to where x belongs. */
static void settle(struct heap *h, size_t i, struct heap_node *x)
{
	while (i && x->key < h->v[(i - 1) / 2]->key) {
		set(h, i, h->v[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	for (size_t c; (c = 2 * i + 1) < h->n; i = c) {
		if (c + 1 < h->n && h->v[c + 1]->key < h->v[c]->key)
			c++;
		if (x->key <= h->v[c]->key)
			break;
		set(h, i, h->v[c]);
	}
	set(h, i, x);
}

void heap_put(struct heap *h, struct heap_node *x, uint64_t key)
{
	x->key = key;
	if (!x->at) {
		if (h->n == h->cap) {
			h->cap = h->cap ? h->cap * 2 : 16;
			h->v = xrealloc(h->v, h->cap * sizeof(*h->v));
		}
		h->v[h->n] = x;
		x->at = ++h->n;
	}
	settle(h, x->at - 1, x);
}

void heap_take(struct heap *h, struct heap_node *x)
{
	if (!x->at)
		return;
	const size_t i = x->at - 1;
	struct heap_node *last = h->v[--h->n];

	x->at = 0;
	if (last != x)
		settle(h, i, last);
}
