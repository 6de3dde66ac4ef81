/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/lease.h"

#include "node/base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void spans_release(struct spans *s)
{
	free(s->v);
	*s = (struct spans){0};
}

/* The first span that ends at or behind x (touch) or behind x (not). */
static size_t first_at(const struct spans *s, uint64_t x, bool touch)
{
	size_t lo = 0, hi = s->n;

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;

		if (s->v[mid].b < x || (!touch && s->v[mid].b == x))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Replaces the spans [from, to) by the n of `with`. */
static void splice(struct spans *s, size_t from, size_t to,
		   const struct span *with, size_t n)
{
	const size_t behind = s->n - to, count = from + n + behind;

	if (count > s->cap) {
		s->cap = count < 8 ? 8 : count * 2;
		s->v = xrealloc(s->v, s->cap * sizeof(*s->v));
	}
	if (behind)
		memmove(s->v + from + n, s->v + to, behind * sizeof(*s->v));
	if (n)
		memcpy(s->v + from, with, n * sizeof(*s->v));
	s->n = count;
}

uint64_t spans_add(struct spans *s, uint64_t a, uint64_t b)
{
	assert(a <= b);
	if (a == b)
		return 0;
	struct span joined = {a, b};
	const size_t from = first_at(s, a, true);
	size_t to = from;
	uint64_t had = 0;

	for (; to < s->n && s->v[to].a <= b; to++) {
		had += s->v[to].b - s->v[to].a;
		if (s->v[to].a < joined.a)
			joined.a = s->v[to].a;
		if (s->v[to].b > joined.b)
			joined.b = s->v[to].b;
	}
	splice(s, from, to, &joined, 1);

	const uint64_t added = joined.b - joined.a - had;
	s->total += added;
	return added;
}

uint64_t spans_cut(struct spans *s, uint64_t a, uint64_t b)
{
	assert(a <= b);
	if (a == b)
		return 0;
	const size_t from = first_at(s, a, false);
	size_t to = from, n = 0;
	struct span rest[2];
	uint64_t cut = 0;

	for (; to < s->n && s->v[to].a < b; to++) {
		const struct span v = s->v[to];
		const uint64_t lo = v.a > a ? v.a : a, hi = v.b < b ? v.b : b;

		cut += hi - lo;
		if (v.a < lo)
			rest[n++] = (struct span){v.a, lo};
		if (hi < v.b)
			rest[n++] = (struct span){hi, v.b};
	}
	if (to > from)
		splice(s, from, to, rest, n);
	s->total -= cut;
	return cut;
}

uint64_t spans_count(const struct spans *s, uint64_t a, uint64_t b)
{
	uint64_t count = 0;

	for (size_t i = first_at(s, a, false); i < s->n && s->v[i].a < b; i++) {
		const struct span v = s->v[i];

		count += (v.b < b ? v.b : b) - (v.a > a ? v.a : a);
	}
	return count;
}

void spans_minus(struct spans *s, const struct spans *other)
{
	if (!s->n)
		return;
	const uint64_t end = s->v[s->n - 1].b;

	for (size_t i = first_at(other, s->v[0].a, false);
	     i < other->n && other->v[i].a < end; i++)
		spans_cut(s, other->v[i].a, other->v[i].b);
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

bool book_take(struct book *b, uint64_t want, struct span *unit)
{
	if (!b->pending.n)
		return false;
	*unit = b->pending.v[0];
	if (want < 1)
		want = 1;
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
	uint64_t count;

	spans_add(&fresh, a, e);
	spans_minus(&fresh, &b->done);
	for (size_t i = 0; i < fresh.n; i++)
		spans_add(credit, fresh.v[i].a, fresh.v[i].b);
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
	spans_minus(take_t, &b->done);
	spans_minus(take_t, &b->out);
	for (size_t i = 0; i < take_t->n; i++)
		spans_add(&b->pending, take_t->v[i].a, take_t->v[i].b);
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
