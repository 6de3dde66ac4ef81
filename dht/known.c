/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dht/known.h"

#include "node/base/mem.h"

#include <stdlib.h>
#include <string.h>

void known_release(struct known *k)
{
	free(k->items);
	*k = (struct known){0};
}

/* The place of (topic, id), or where it would be. */
static size_t place(const struct known *k, uint32_t topic,
		    const struct node_id *id)
{
	size_t lo = 0, hi = k->n;

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;
		const struct known_entry *e = &k->items[mid];
		if (e->topic < topic ||
		    (e->topic == topic && node_id_cmp(&e->id, id) < 0))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct known_entry *find(const struct known *k, uint32_t topic,
				const struct node_id *id)
{
	const size_t i = place(k, topic, id);
	if (i < k->n && k->items[i].topic == topic &&
	    node_id_eq(&k->items[i].id, id))
		return &k->items[i];
	return NULL;
}

enum known_verdict known_judge(const struct known *k, uint32_t topic,
			       const struct node_id *id, uint64_t seq)
{
	const struct known_entry *e = find(k, topic, id);

	if (!e)
		return k->n < KNOWN_MAX ? KNOWN_NEW : KNOWN_FULL;
	if (seq == e->seq)
		return KNOWN_SAME;
	return seq < e->seq ? KNOWN_OLD : KNOWN_NEWER;
}

void known_set(struct known *k, uint32_t topic, const struct node_id *id,
	       uint64_t seq, uint64_t expires_ms, bool left)
{
	struct known_entry *e = find(k, topic, id);

	if (!e) {
		const size_t i = place(k, topic, id);
		if (k->n == k->cap) {
			k->cap = k->cap ? k->cap * 2 : 16;
			k->items =
			    xrealloc(k->items, k->cap * sizeof(*k->items));
		}
		e = &k->items[i];
		memmove(e + 1, e, (k->n - i) * sizeof(*e));
		k->n++;
	}
	*e = (struct known_entry){.id = *id,
				  .topic = topic,
				  .left = left,
				  .seq = seq,
				  .expires_ms = expires_ms};
	if (!k->next_ms || expires_ms < k->next_ms)
		k->next_ms = expires_ms;
}

void known_forget(struct known *k, uint32_t topic)
{
	size_t kept = 0;

	for (size_t i = 0; i < k->n; i++)
		if (k->items[i].topic != topic)
			k->items[kept++] = k->items[i];
	k->n = kept;
	if (!k->n)
		k->next_ms = 0;
}

bool known_expire(struct known *k, uint64_t now_ms, struct known_entry *out)
{
	uint64_t next = 0;

	if (!k->next_ms || now_ms < k->next_ms)
		return false;
	for (size_t i = 0; i < k->n; i++) {
		struct known_entry *e = &k->items[i];
		if (e->expires_ms <= now_ms) {
			*out = *e;
			memmove(e, e + 1, (k->n - i - 1) * sizeof(*e));
			k->n--;
			if (!k->n)
				k->next_ms = 0;
			return true; /* next_ms still says: look again */
		}
		if (!next || e->expires_ms < next)
			next = e->expires_ms;
	}
	k->next_ms = next;
	return false;
}
