/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/kind.h"

#include "node/base/mem.h"

#include <stdlib.h>
#include <string.h>

const struct kind *const kind_list[KIND_COUNT] = {&kind_search, &kind_batch};

const struct kind *kind_find(const char *name)
{
	for (size_t i = 0; name && i < KIND_COUNT; i++)
		if (!strcmp(kind_list[i]->name, name))
			return kind_list[i];
	return NULL;
}

/* Where it is, or belongs. */
static size_t place_of(const struct hits *h, uint32_t nonce)
{
	size_t lo = 0, hi = h->n;

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;

		if (h->order[mid].nonce < nonce)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool hits_has(const struct hits *h, uint32_t nonce)
{
	const size_t at = place_of(h, nonce);

	return at < h->n && h->order[at].nonce == nonce;
}

bool hits_add(struct hits *h, const struct hit *hit)
{
	const size_t at = place_of(h, hit->nonce);

	if (at < h->n && h->order[at].nonce == hit->nonce)
		return false;
	if (h->n == h->cap) {
		h->cap = h->cap ? h->cap * 2 : 4;
		h->v = xrealloc(h->v, h->cap * sizeof(*h->v));
		h->order = xrealloc(h->order, h->cap * sizeof(*h->order));
	}
	memmove(h->order + at + 1, h->order + at,
		(h->n - at) * sizeof(*h->order));
	h->order[at] = (struct hit_place){hit->nonce, (uint32_t)h->n};
	h->v[h->n++] = *hit;
	return true;
}

void hits_release(struct hits *h)
{
	free(h->v);
	free(h->order);
	*h = (struct hits){0};
}
