/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/ledger_check.h"

#include "node/base/log.h"
#include "node/base/receipt.h"
#include "node/base/store_tool.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct check {
	ledger_wrong_fn fn;
	void *arg;
	uint64_t whole;
	uint8_t chain[32];
	struct chain_head head; /* of the chain that is being read */
};

static void wrong(struct check *c, const char *what, int64_t n)
{
	char *text = xasprintf("receipt %" PRId64 " is damaged: %s", n, what);

	c->fn(c->arg, text);
	free(text);
}

enum { N, CHAIN, SEQ, CREDIT, TOTAL, HASH, LEASE, BODY, CELLS };

static const char *fault(struct check *c, const struct store_val *v,
			 const struct receipt *r)
{
	uint8_t chain[32], hash[32];

	receipt_chain(r, chain);
	receipt_hash(r, hash);
	if (v[CHAIN].b.n != 32 || memcmp(v[CHAIN].b.p, chain, 32) != 0 ||
	    v[HASH].b.n != 32 || memcmp(v[HASH].b.p, hash, 32) != 0 ||
	    (uint64_t)v[SEQ].i != r->seq ||
	    (uint64_t)v[CREDIT].i != r->credit ||
	    (uint64_t)v[TOTAL].i != r->total ||
	    (uint64_t)v[LEASE].i != r->lease)
		return "its row does not say what is in it";
	if (memcmp(c->chain, chain, 32) != 0) {
		memcpy(c->chain, chain, 32);
		chain_begin(&c->head, r);
		return NULL;
	}
	switch (chain_follow(&c->head, r)) {
	case CHAIN_NEXT:
		return NULL;
	case CHAIN_OLD:
	case CHAIN_GAP:
		chain_begin(&c->head, r);
		return "those before it in its chain are missing";
	case CHAIN_FORK:
	case CHAIN_TOTAL:
		chain_begin(&c->head, r);
		return "it does not follow the one before it in its chain";
	}
	return NULL;
}

static void on_row(void *arg, const struct store_val *v, size_t n)
{
	struct check *c = arg;
	struct arena a = {0};
	struct receipt r;
	const char *what = "it cannot be read";

	if (n != CELLS)
		return;
	if (!receipt_unpack(v[BODY].b.p, v[BODY].b.n, &a, &r))
		what = fault(c, v, &r);
	if (what)
		wrong(c, what, v[N].i);
	else
		c->whole++;
	arena_release(&a);
}

static void on_count(void *arg, const struct store_val *cells, size_t n)
{
	bool *any = arg;

	*any = n && cells[0].i;
}

uint64_t ledger_check(struct store_tool *t, ledger_wrong_fn fn, void *arg)
{
	struct check c = {.fn = fn, .arg = arg};
	struct buf why = {0};
	bool any = false;

	/* A database of an hnode before there were receipts has none. */
	enum err e = store_tool_each(t,
				     "SELECT count(*) FROM sqlite_schema WHERE "
				     "name = 'receipts'",
				     on_count, &any, &why);
	buf_clear(&why);
	if (!e && any)
		e = store_tool_each(t,
				    "SELECT n, chain, seq, credit, total, "
				    "hash, lease, body FROM receipts ORDER BY "
				    "chain, seq",
				    on_row, &c, &why);
	if (e) {
		char *text = xasprintf("receipts behind the damage are lost: "
				       "%" PRIu64 " could be read, then: %s",
				       c.whole, log_quote(buf_str(&why)));
		fn(arg, text);
		free(text);
	}
	buf_release(&why);
	return c.whole;
}
