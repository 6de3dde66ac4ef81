/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_BASE_HEAP_H
#define HN_BASE_HEAP_H

#include <stddef.h>
#include <stdint.h>

/*
 * A heap of things that belong to somebody else: the one with the least key is
 * on top, and each can be moved or taken out where it stands. A thing embeds a
 * node for each heap it may be in, and gets itself back by HN_HEAP_OF. All in
 * O(log n) but heap_top and heap_has. Equal keys come in no order that means
 * anything, but the same calls give the same order. Pure.
 */
struct heap_node {
	uint64_t key;
	size_t at; /* its place + 1; 0: in no heap */
};
/* Zero-initialised is empty and ready. */
struct heap {
	struct heap_node **v;
	size_t n, cap;
};

#define HN_HEAP_OF(node_, type_, member_) \
	((type_ *)(void *)((char *)(node_)-offsetof(type_, member_)))

void heap_release(struct heap *h); /* its things stay as they are */
/* Puts it there, or moves it to its new key. */
void heap_put(struct heap *h, struct heap_node *x, uint64_t key);
void heap_take(struct heap *h, struct heap_node *x); /* if it is there */

static inline struct heap_node *heap_top(const struct heap *h)
{
	return h->n ? h->v[0] : NULL;
}

static inline int heap_has(const struct heap_node *x)
{
	return x->at != 0;
}

#endif
