/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/lease.h"

#include "node/base/mem.h"

#include <assert.h>
#include <stdlib.h>

/*
 * A treap by where spans begin: a search tree that is a heap by priorities
 * which look random and follow from the begin alone, so that its depth is
 * O(log n) and the same calls build the same tree (Seidel, Aragon, 1996).
 * Where a span begins or ends may be changed in place as long as it passes no
 * other.
 */
struct spans_node {
	struct span s;
	uint32_t priority;
	struct spans_node *left, *right;
};

static void nodes_free(struct spans_node *t)
{
	if (!t)
		return;
	nodes_free(t->left);
	nodes_free(t->right);
	free(t);
}

void spans_release(struct spans *s)
{
	nodes_free(s->root);
	*s = (struct spans){0};
}

/* Those that begin below x, and the others. */
static void split(struct spans_node *t, uint64_t x, struct spans_node **below,
		  struct spans_node **rest)
{
	if (!t) {
		*below = *rest = NULL;
	} else if (t->s.a < x) {
		split(t->right, x, &t->right, rest);
		*below = t;
	} else {
		split(t->left, x, below, &t->left);
		*rest = t;
	}
}

/* All of a begin below all of b. */
static struct spans_node *join(struct spans_node *a, struct spans_node *b)
{
	if (!a || !b)
		return a ? a : b;
	if (a->priority > b->priority) {
		a->right = join(a->right, b);
		return a;
	}
	b->left = join(a, b->left);
	return b;
}

static struct spans_node *put(struct spans *s, struct span v)
{
	struct spans_node *x = HN_NEW(struct spans_node), **at = &s->root;
	uint64_t mixed = (v.a + 1) * 0x9e3779b97f4a7c15u;

	mixed = (mixed ^ mixed >> 29) * 0xbf58476d1ce4e5b9u;
	x->s = v;
	x->priority = (uint32_t)(mixed >> 32);
	while (*at && (*at)->priority > x->priority)
		at = v.a < (*at)->s.a ? &(*at)->left : &(*at)->right;
	split(*at, v.a, &x->left, &x->right);
	*at = x;
	s->n++;
	s->total += v.b - v.a;
	return x;
}

static void take_out(struct spans *s, struct spans_node *x)
{
	struct spans_node **at = &s->root;

	while (*at != x)
		at = x->s.a < (*at)->s.a ? &(*at)->left : &(*at)->right;
	*at = join(x->left, x->right);
	s->n--;
	s->total -= x->s.b - x->s.a;
	free(x);
}

/* The last that begins at or below x. */
static struct spans_node *at_or_below(const struct spans *s, uint64_t x)
{
	struct spans_node *t = s->root, *best = NULL;

	while (t) {
		if (t->s.a <= x)
			best = t;
		t = t->s.a <= x ? t->right : t->left;
	}
	return best;
}

/* The first that begins at or above x. */
static struct spans_node *at_or_above(const struct spans *s, uint64_t x)
{
	struct spans_node *t = s->root, *best = NULL;

	while (t) {
		if (t->s.a >= x)
			best = t;
		t = t->s.a >= x ? t->left : t->right;
	}
	return best;
}

/* It ends there from now on. */
static void set_end(struct spans *s, struct spans_node *x, uint64_t b)
{
	s->total += b - x->s.b;
	x->s.b = b;
}

uint64_t spans_add(struct spans *s, uint64_t a, uint64_t b)
{
	assert(a <= b);
	if (a == b)
		return 0;
	const uint64_t before = s->total;
	struct spans_node *x = at_or_below(s, a), *next;

	if (!x || x->s.b < a) {
		next = at_or_above(s, a);
		if (next && next->s.a <= b) {
			/* It grows downwards. */
			s->total += next->s.a - a;
			next->s.a = a;
			x = next;
		} else {
			put(s, (struct span){a, b});
			return b - a;
		}
	}
	while (x->s.b < b) {
		next = at_or_above(s, x->s.a + 1);
		if (!next || next->s.a > b) {
			set_end(s, x, b);
			break;
		}
		const uint64_t end = next->s.b;

		take_out(s, next);
		set_end(s, x, end);
	}
	return s->total - before;
}

uint64_t spans_cut(struct spans *s, uint64_t a, uint64_t b)
{
	assert(a <= b);
	if (a == b)
		return 0;
	const uint64_t before = s->total;
	struct spans_node *x = at_or_below(s, a);

	if (x && x->s.a < a && x->s.b > a) {
		const uint64_t end = x->s.b;

		set_end(s, x, a);
		if (end > b)
			put(s, (struct span){b, end});
	}
	for (x = at_or_above(s, a); x && x->s.a < b; x = at_or_above(s, a)) {
		if (x->s.b > b) {
			s->total -= b - x->s.a;
			x->s.a = b;
			break;
		}
		take_out(s, x);
	}
	return before - s->total;
}

bool spans_next(const struct spans *s, uint64_t from, struct span *out)
{
	const struct spans_node *x = at_or_below(s, from);

	if (!x || x->s.b <= from)
		x = at_or_above(s, from);
	if (!x)
		return false;
	*out = x->s;
	return true;
}

uint64_t spans_count(const struct spans *s, uint64_t a, uint64_t b)
{
	uint64_t count = 0;
	struct span v;

	for (uint64_t at = a; spans_next(s, at, &v) && v.a < b; at = v.b)
		count += (v.b < b ? v.b : b) - (v.a > a ? v.a : a);
	return count;
}

void spans_minus(struct spans *s, const struct spans *other)
{
	struct span v, w;
	uint64_t at = 0;

	/* What neither has is passed over by both. */
	while (spans_next(s, at, &v) && spans_next(other, v.a, &w)) {
		if (w.a < v.b)
			spans_cut(s, w.a, w.b);
		at = w.a < v.b ? w.b : w.a;
	}
}

void book_init(struct book *b, uint64_t start, uint64_t end)
{
	*b = (struct book){.start = start, .end = end};
	spans_add(&b->pending, start, end);
}

void book_release(struct book *b)
{
	spans_release(&b->pending);
	spans_release(&b->out);
	spans_release(&b->done);
}

bool book_take(struct book *b, uint64_t want, uint64_t draw, struct span *unit)
{
	const uint64_t at = b->start + draw % (b->end - b->start);

	if (!spans_next(&b->pending, at, unit) &&
	    !spans_next(&b->pending, 0, unit))
		return false;
	if (want < 1)
		want = 1;
	/* In whole units from its start, so that no crumbs are left between. */
	if (at > unit->a && at < unit->b && b->pending.n < BOOK_FRONTS)
		unit->a += (at - unit->a) / want * want;
	if (unit->b - unit->a > want + want / 8)
		unit->b = unit->a + want;
	spans_cut(&b->pending, unit->a, unit->b);
	spans_add(&b->out, unit->a, unit->b);
	return true;
}

uint64_t book_done(struct book *b, uint64_t a, uint64_t e, bool held,
		   struct spans *credit)
{
	struct spans fresh = {0};
	struct span v;
	uint64_t count;

	spans_add(&fresh, a, e);
	spans_minus(&fresh, &b->done);
	for (uint64_t at = 0; spans_next(&fresh, at, &v); at = v.b)
		spans_add(credit, v.a, v.b);
	count = fresh.total;
	spans_release(&fresh);

	spans_add(&b->done, a, e);
	spans_cut(&b->pending, a, e);
	if (held)
		spans_cut(&b->out, a, e);
	return count;
}

/* Makes of t what neither is done nor in anybody's hands pending. */
static void make_pending(struct book *b, struct spans *take_t)
{
	struct span v;

	spans_minus(take_t, &b->done);
	spans_minus(take_t, &b->out);
	for (uint64_t at = 0; spans_next(take_t, at, &v); at = v.b)
		spans_add(&b->pending, v.a, v.b);
	spans_release(take_t);
}

void book_return(struct book *b, uint64_t a, uint64_t e)
{
	struct spans back = {0};

	spans_cut(&b->out, a, e);
	spans_add(&back, a, e);
	make_pending(b, &back);
}

void book_undo(struct book *b, struct spans *credit)
{
	struct spans back = *credit;

	*credit = (struct spans){0};
	spans_minus(&b->done, &back);
	make_pending(b, &back);
}

bool book_complete(const struct book *b)
{
	return b->done.total == b->end - b->start;
}
