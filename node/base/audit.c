/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/audit.h"

#include <sodium.h>
#include <uthash.h>

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const struct field receipt_export_fields[] = {
    FIELD_U64(struct receipt_export, export, 0, "RECEIPT_EXPORT"),
    FIELD_FIXED(struct receipt_export, node, "whose books these are"),
    FIELD_FIXED(struct receipt_export, owner, "its owner"),
    FIELD_U64(struct receipt_export, time_ms, 0, "ms since 1970"),
};
const struct message receipt_export_message =
    MESSAGE("receipt_export", struct receipt_export, receipt_export_fields);

/* One receipt, as far as a chain needs it. */
struct link {
	uint64_t seq, credit, total;
	uint8_t hash[32], prev[32];
};

struct chain {
	struct {
		uint8_t id[32];
		uint64_t export; /* index */
	} key;
	uint8_t submitter[32], submitter_owner[32], worker_owner[32];
	struct link *links;
	size_t n, cap;
	UT_hash_handle hh;
};

/* A lease is paid once. */
struct paid {
	uint8_t key[32]; /* of export, submitter, job, lease */
	uint64_t seq;
	UT_hash_handle hh;
};

struct source {
	char *name;
	bool known; /* its first line said whose it is */
	struct receipt_export head;
	uint64_t lines;
};

struct audit {
	struct source sources[AUDIT_EXPORTS_MAX];
	size_t nsources;
	struct chain *chains;
	struct paid *paid;
	struct buf wrong; /* the first thing */
	struct audit_sum *sums;
	size_t nsums;
};

static void disagree(struct audit *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void disagree(struct audit *a, const char *fmt, ...)
{
	va_list ap;

	if (a->wrong.n)
		return;
	va_start(ap, fmt);
	char *text = xvasprintf(fmt, ap);
	va_end(ap);
	buf_add_str(&a->wrong, text);
	free(text);
}

/* Lines */

static size_t trimmed(const char *text, size_t n)
{
	while (n && strchr(" \t\r\n", text[n - 1]))
		n--;
	return n;
}

enum err audit_read_line(const char *text, size_t n, struct arena *a,
			 enum audit_line *what, struct receipt_export *x,
			 struct receipt *r, struct buf *why)
{
	static const char head[] = "{\"export\"";

	n = trimmed(text, n);
	if (!n) {
		*what = LINE_EMPTY;
		return OK;
	}
	if (n > AUDIT_LINE_MAX) {
		buf_printf(why, "longer than any receipt (%d bytes)",
			   AUDIT_LINE_MAX);
		return ERR_INPUT;
	}
	if (n < sizeof(head) - 1 || memcmp(text, head, sizeof(head) - 1)) {
		*what = LINE_RECEIPT;
		return fields_from_json(&receipt_message, text, n, a, r, why);
	}
	*what = LINE_EXPORT;
	enum err e =
	    fields_from_json(&receipt_export_message, text, n, a, x, why);
	if (!e && x->export != RECEIPT_EXPORT) {
		buf_printf(why,
			   "an export of version %" PRIu64
			   ", which this hnode does not read",
			   x->export);
		e = ERR_INPUT;
	}
	return e;
}

struct audit *audit_new(void)
{
	return HN_NEW(struct audit);
}

void audit_free(struct audit *a)
{
	struct chain *c, *ctmp;
	struct paid *p, *ptmp;

	if (!a)
		return;
	HASH_ITER (hh, a->chains, c, ctmp) {
		HASH_DEL(a->chains, c);
		free(c->links);
		free(c);
	}
	HASH_ITER (hh, a->paid, p, ptmp) {
		HASH_DEL(a->paid, p);
		free(p);
	}
	for (size_t i = 0; i < a->nsources; i++)
		free(a->sources[i].name);
	buf_release(&a->wrong);
	free(a->sums);
	free(a);
}

void audit_begin(struct audit *a, const char *name)
{
	assert(a->nsources < AUDIT_EXPORTS_MAX);
	a->sources[a->nsources++].name = xstrdup(name);
}

static struct chain *chain_of(struct audit *a, const struct receipt *r)
{
	struct chain *c, *new = HN_NEW(struct chain);

	receipt_chain(r, new->key.id);
	new->key.export = a->nsources - 1;
	HASH_FIND(hh, a->chains, &new->key, sizeof(new->key), c);
	if (c) {
		free(new);
		return c;
	}
	memcpy(new->submitter, r->submitter, 32);
	memcpy(new->submitter_owner, r->submitter_owner, 32);
	memcpy(new->worker_owner, r->worker_owner, 32);
	HASH_ADD(hh, a->chains, key, sizeof(new->key), new);
	return new;
}

/* The number it was paid with before, or 0. */
static uint64_t paid_before(struct audit *a, const struct receipt *r)
{
	struct paid *p, *new = HN_NEW(struct paid);
	struct buf b = {0};

	buf_u8(&b, (uint8_t)a->nsources);
	buf_add(&b, r->submitter, 32);
	buf_be32(&b, (uint32_t)(r->lease >> 32));
	buf_be32(&b, (uint32_t)r->lease);
	buf_add_str(&b, r->job);
	crypto_generichash(new->key, 32, b.p, b.n, NULL, 0);
	buf_release(&b);
	HASH_FIND(hh, a->paid, new->key, sizeof(new->key), p);
	if (p) {
		free(new);
		return p->seq;
	}
	new->seq = r->seq;
	HASH_ADD(hh, a->paid, key, sizeof(new->key), new);
	return 0;
}

static const char *name_of(const uint8_t id[static 32])
{
	return node_str((const void *)id);
}

static void add_receipt(struct audit *a, const struct receipt *r)
{
	struct source *s = &a->sources[a->nsources - 1];
	struct buf why = {0};

	if (receipt_verify(r, &why)) {
		disagree(a, "%s line %" PRIu64 ": %s", s->name, s->lines,
			 buf_str(&why));
		buf_release(&why);
		return;
	}
	struct chain *c = chain_of(a, r);

	if (c->n == c->cap) {
		c->cap = c->cap ? c->cap * 2 : 16;
		c->links = xrealloc(c->links, c->cap * sizeof(*c->links));
	}
	struct link *l = &c->links[c->n];

	*l = (struct link){
	    .seq = r->seq, .credit = r->credit, .total = r->total};
	memcpy(l->prev, r->prev, 32);
	receipt_hash(r, l->hash);
	const uint64_t before = paid_before(a, r);

	c->n++;
	if (before && before != r->seq)
		disagree(a,
			 "%s: lease %" PRIu64 " of job %s is paid twice by %s, "
			 "in receipts %" PRIu64 " and %" PRIu64,
			 s->name, r->lease, r->job, name_of(r->submitter),
			 before, r->seq);
}

void audit_add(struct audit *a, const char *line, size_t n)
{
	struct source *s = &a->sources[a->nsources - 1];
	struct receipt_export x;
	struct arena mem = {0};
	struct buf why = {0};
	enum audit_line what;
	struct receipt r;

	s->lines++;
	if (audit_read_line(line, n, &mem, &what, &x, &r, &why)) {
		disagree(a, "%s line %" PRIu64 ": %s", s->name, s->lines,
			 buf_str(&why));
	} else if (what == LINE_EXPORT) {
		if (s->known && memcmp(s->head.node, x.node, 32) != 0)
			disagree(a,
				 "%s line %" PRIu64 ": a second export, of "
				 "another node: give each its own file",
				 s->name, s->lines);
		s->known = true;
		s->head = x;
	} else if (what == LINE_RECEIPT) {
		add_receipt(a, &r);
	}
	buf_release(&why);
	arena_release(&mem);
}

bool audit_headed(const struct audit *a)
{
	return a->nsources && a->sources[a->nsources - 1].known;
}

/* Chains */

static int by_seq(const void *x, const void *y)
{
	const struct link *a = x, *b = y;

	if (a->seq != b->seq)
		return a->seq < b->seq ? -1 : 1;
	return memcmp(a->hash, b->hash, 32);
}

static int by_chain(const struct chain *a, const struct chain *b)
{
	int d = memcmp(a->submitter_owner, b->submitter_owner, 32);

	if (!d)
		d = memcmp(a->worker_owner, b->worker_owner, 32);
	if (!d)
		d = memcmp(a->key.id, b->key.id, 32);
	if (!d)
		d = (a->key.export > b->key.export) -
		    (a->key.export < b->key.export);
	return d;
}

static const char *hex_of(const uint8_t id[static 32])
{
	return node_hex((const void *)id);
}

/* "chain fox-1 -> elk-2 (0123...)". */
static const char *chain_str(const struct chain *c, struct buf *b)
{
	buf_clear(b);
	buf_printf(b, "chain %.16s from %s to %s", hex_of(c->key.id),
		   name_of(c->submitter), name_of(c->worker_owner));
	return buf_str(b);
}

/* Sorts a chain, takes double lines out, and follows it. */
static void follow(struct audit *a, struct chain *c)
{
	const char *name = a->sources[c->key.export].name;
	struct buf b = {0};
	size_t n = 1;

	qsort(c->links, c->n, sizeof(*c->links), by_seq);
	for (size_t i = 1; i < c->n; i++) {
		struct link *l = &c->links[i], *last = &c->links[n - 1];

		if (l->seq == last->seq && !memcmp(l->hash, last->hash, 32))
			continue;
		if (l->seq == last->seq)
			disagree(a,
				 "%s: %s has two receipts number %" PRIu64
				 ": %s and %s",
				 name, chain_str(c, &b), l->seq,
				 hex_of(last->hash), hex_of(l->hash));
		else if (l->seq != last->seq + 1)
			disagree(a,
				 "%s: %s lacks receipt number %" PRIu64
				 ", after %s",
				 name, chain_str(c, &b), last->seq + 1,
				 hex_of(last->hash));
		else if (memcmp(l->prev, last->hash, 32) != 0)
			disagree(a,
				 "%s: %s: number %" PRIu64 " follows %s, but "
				 "number %" PRIu64 " is %s",
				 name, chain_str(c, &b), l->seq,
				 hex_of(l->prev), last->seq,
				 hex_of(last->hash));
		else if (l->total != last->total + l->credit)
			disagree(a,
				 "%s: %s: number %" PRIu64 " says total "
				 "%" PRIu64 ", it is %" PRIu64,
				 name, chain_str(c, &b), l->seq, l->total,
				 last->total + l->credit);
		c->links[n++] = *l;
	}
	c->n = n;
	buf_release(&b);
}

/* Two exports about one chain: equal wherever both have a number, and their
 * ends, too. */
static void compare(struct audit *a, const struct chain *x,
		    const struct chain *y)
{
	const char *xn = a->sources[x->key.export].name;
	const char *yn = a->sources[y->key.export].name;
	struct buf b = {0};
	size_t i = 0, k = 0;

	while (i < x->n && k < y->n) {
		const struct link *l = &x->links[i], *m = &y->links[k];

		if (l->seq < m->seq) {
			i++;
		} else if (l->seq > m->seq) {
			k++;
		} else if (memcmp(l->hash, m->hash, 32) != 0) {
			disagree(a,
				 "%s: number %" PRIu64 " is %s (total "
				 "%" PRIu64 ") in %s and %s (total %" PRIu64
				 ") in %s",
				 chain_str(x, &b), l->seq, hex_of(l->hash),
				 l->total, xn, hex_of(m->hash), m->total, yn);
			break;
		} else {
			i++;
			k++;
		}
	}
	const struct link *l = &x->links[x->n - 1], *m = &y->links[y->n - 1];

	if (l->seq != m->seq)
		disagree(a,
			 "%s: ends with number %" PRIu64 " (%s, total %" PRIu64
			 ") in %s and with number %" PRIu64 " (%s, total "
			 "%" PRIu64 ") in %s",
			 chain_str(x, &b), l->seq, hex_of(l->hash), l->total,
			 xn, m->seq, hex_of(m->hash), m->total, yn);
	buf_release(&b);
}

static struct chain *chain_in(struct audit *a, const struct chain *c,
			      uint64_t export)
{
	struct chain want = {0}, *found;

	memcpy(want.key.id, c->key.id, 32);
	want.key.export = export;
	HASH_FIND(hh, a->chains, &want.key, sizeof(want.key), found);
	return found;
}

/* Is that export one that should know of this chain? */
static bool concerns(const struct source *s, const struct chain *c)
{
	return s->known && (!memcmp(s->head.node, c->submitter, 32) ||
			    !memcmp(s->head.owner, c->worker_owner, 32));
}

static void compare_all(struct audit *a)
{
	struct chain *c, *tmp;
	struct buf b = {0};

	HASH_ITER (hh, a->chains, c, tmp) {
		for (size_t i = 0; i < a->nsources; i++) {
			const struct chain *d = chain_in(a, c, i);

			if (d && i > c->key.export)
				compare(a, c, d);
			else if (!d && concerns(&a->sources[i], c))
				disagree(a,
					 "%s: %" PRIu64 " receipts in %s, none "
					 "in %s",
					 chain_str(c, &b), (uint64_t)c->n,
					 a->sources[c->key.export].name,
					 a->sources[i].name);
		}
	}
	buf_release(&b);
}

static void add_sum(struct audit *a, const struct chain *c)
{
	struct audit_sum *s = NULL;
	const char *name = a->sources[c->key.export].name;

	for (size_t i = 0; i < a->nsums; i++) {
		s = &a->sums[i];
		if (s->export == name &&
		    !memcmp(s->submitter_owner, c->submitter_owner, 32) &&
		    !memcmp(s->worker_owner, c->worker_owner, 32))
			break;
		s = NULL;
	}
	if (!s) {
		a->sums = xrealloc(a->sums, (a->nsums + 1) * sizeof(*a->sums));
		s = &a->sums[a->nsums++];
		*s = (struct audit_sum){.export = name};
		memcpy(s->submitter_owner, c->submitter_owner, 32);
		memcpy(s->worker_owner, c->worker_owner, 32);
	}
	s->chains++;
	s->receipts += c->n;
	s->total += c->links[c->n - 1].total;
	for (size_t i = 0; i < c->n; i++)
		s->part += c->links[i].credit;
}

bool audit_end(struct audit *a, struct buf *where)
{
	struct chain *c, *tmp;

	HASH_SORT(a->chains, by_chain);
	HASH_ITER (hh, a->chains, c, tmp) {
		follow(a, c);
		add_sum(a, c);
	}
	compare_all(a);
	buf_add(where, a->wrong.p, a->wrong.n);
	return !a->wrong.n;
}

size_t audit_sums(const struct audit *a, const struct audit_sum **out)
{
	*out = a->sums;
	return a->nsums;
}
