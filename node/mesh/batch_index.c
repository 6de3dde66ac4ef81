/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/batch_index.h"

#include "node/base/mem.h"

#include <sodium.h>

#include <stdlib.h>
#include <string.h>

#define ROWS_KEPT 32 /* in memory, at most 32 KiB each */
#define SUM_SIZE 16

const struct store_schema batch_index_schema[] = {
    {"batch", 1,
     "CREATE TABLE batch_index (key INTEGER NOT NULL, row INTEGER NOT NULL,"
     " offset INTEGER NOT NULL, input INTEGER NOT NULL,"
     " blocks BLOB NOT NULL, sum BLOB NOT NULL,"
     " PRIMARY KEY (key, row)) WITHOUT ROWID"},
};
const size_t batch_index_schema_count = HN_COUNT(batch_index_schema);

struct kept {
	uint64_t key, row, used; /* used: 0 is empty */
	struct batch_mark start;
	struct buf packed;
};

struct batch_index {
	struct store *store;
	struct kept kept[ROWS_KEPT];
	uint64_t clock;
	unsigned sweeps; /* batch_index_keep that wait for the store */
	bool dead;
};

struct batch_index *batch_index_new(struct store *s)
{
	struct batch_index *ix = HN_NEW(struct batch_index);

	ix->store = s;
	return ix;
}

void batch_index_free(struct batch_index *ix)
{
	if (!ix)
		return;
	ix->dead = true;
	if (ix->sweeps)
		return;
	for (size_t i = 0; i < ROWS_KEPT; i++)
		buf_release(&ix->kept[i].packed);
	free(ix);
}

/* SQLite's pages have no checksum. */
static void row_sum(uint64_t key, uint64_t row, struct batch_mark start,
		    const void *p, size_t n, uint8_t sum[static SUM_SIZE])
{
	uint8_t head[32];
	crypto_generichash_state h;

	put_be64(head, key);
	put_be64(head + 8, row);
	put_be64(head + 16, start.offset);
	put_be64(head + 24, start.input);
	crypto_generichash_init(&h, NULL, 0, SUM_SIZE);
	crypto_generichash_update(&h, head, sizeof(head));
	crypto_generichash_update(&h, p, n);
	crypto_generichash_final(&h, sum, SUM_SIZE);
}

struct ask {
	struct batch_index *ix;
	uint64_t key, row;
	batch_index_fn done;
	void *arg;
};

static struct ask *ask_new(struct batch_index *ix, uint64_t key, uint64_t row,
			   batch_index_fn done, void *arg)
{
	struct ask *a = HN_NEW(struct ask);

	*a = (struct ask){ix, key, row, done, arg};
	return a;
}

static void on_added(const struct store_result *r, void *arg)
{
	struct ask *a = arg;

	a->done(a->arg, r->err, r->message);
	free(a);
}

void batch_index_add(struct batch_index *ix, uint64_t key, uint64_t row,
		     const struct batch_row *r, batch_index_fn done, void *arg)
{
	uint8_t sum[SUM_SIZE];

	row_sum(key, row, r->start, r->packed.p, r->packed.n, sum);
	const struct store_val vals[] = {
	    STORE_I(key),
	    STORE_I(row),
	    STORE_I(r->start.offset),
	    STORE_I(r->start.input),
	    STORE_B(r->packed.p, r->packed.n),
	    STORE_B(sum, sizeof(sum)),
	};

	store_run(ix->store,
		  "INSERT INTO batch_index (key, row, offset, input, blocks, "
		  "sum) VALUES (?, ?, ?, ?, ?, ?)",
		  vals, HN_COUNT(vals), on_added,
		  ask_new(ix, key, row, done, arg));
}

void batch_index_drop(struct batch_index *ix, uint64_t key)
{
	const struct store_val val = STORE_I(key);

	store_run(ix->store, "DELETE FROM batch_index WHERE key = ?", &val, 1,
		  NULL, NULL);
	for (size_t i = 0; i < ROWS_KEPT; i++)
		if (ix->kept[i].key == key)
			ix->kept[i].used = 0;
}

struct keep {
	struct batch_index *ix;
	size_t n;
	uint64_t keys[];
};

static void on_keys(const struct store_result *r, void *arg)
{
	struct keep *k = arg;

	k->ix->sweeps--;
	for (size_t i = 0; !k->ix->dead && !r->err && i < r->rows; i++) {
		const uint64_t key = (uint64_t)r->cells[i].i;
		size_t at = 0;

		while (at < k->n && k->keys[at] != key)
			at++;
		if (at == k->n)
			batch_index_drop(k->ix, key);
	}
	if (k->ix->dead)
		batch_index_free(k->ix);
	free(k);
}

void batch_index_keep(struct batch_index *ix, const uint64_t *keys, size_t n)
{
	struct keep *k = xcalloc(1, sizeof(*k) + n * sizeof(*keys));

	ix->sweeps++;
	k->ix = ix;
	k->n = n;
	if (n)
		memcpy(k->keys, keys, n * sizeof(*keys));
	store_run(ix->store, "SELECT DISTINCT key FROM batch_index", NULL, 0,
		  on_keys, k);
}

static struct kept *kept_find(struct batch_index *ix, uint64_t key,
			      uint64_t row)
{
	for (size_t i = 0; i < ROWS_KEPT; i++) {
		struct kept *k = &ix->kept[i];

		if (k->used && k->key == key && k->row == row) {
			k->used = ++ix->clock;
			return k;
		}
	}
	return NULL;
}

static struct kept *kept_make(struct batch_index *ix, uint64_t key,
			      uint64_t row)
{
	struct kept *k = kept_find(ix, key, row);

	if (k)
		return k;
	k = &ix->kept[0];
	for (size_t i = 1; i < ROWS_KEPT; i++)
		if (ix->kept[i].used < k->used)
			k = &ix->kept[i];
	k->key = key;
	k->row = row;
	k->used = ++ix->clock;
	buf_clear(&k->packed);
	return k;
}

size_t batch_index_find(struct batch_index *ix, uint64_t key, uint64_t block,
			size_t want, struct batch_mark *out)
{
	struct kept *k = kept_find(ix, key, block / BATCH_ROW_BLOCKS);

	return k ? batch_row_marks(k->packed.p, k->packed.n, k->start,
				   block % BATCH_ROW_BLOCKS, want, out)
		 : 0;
}

static bool row_take(struct ask *a, const struct store_val *cell)
{
	const struct batch_mark start = {(uint64_t)cell[0].i,
					 (uint64_t)cell[1].i};
	const struct bytes blob = cell[2].b, sum = cell[3].b;
	uint8_t want[SUM_SIZE];
	struct batch_mark end;

	if (blob.n > BATCH_ROW_MAX || sum.n != sizeof(want))
		return false;
	row_sum(a->key, a->row, start, blob.p, blob.n, want);
	if (memcmp(want, sum.p, sizeof(want)) != 0 ||
	    !batch_row_marks(blob.p, blob.n, start, 1, 1, &end))
		return false;
	struct kept *k = kept_make(a->ix, a->key, a->row);

	buf_clear(&k->packed);
	buf_add(&k->packed, blob.p, blob.n);
	k->start = start;
	return true;
}

static void on_row(const struct store_result *r, void *arg)
{
	struct ask *a = arg;

	if (r->err)
		a->done(a->arg, r->err, r->message);
	else if (!r->rows)
		a->done(a->arg, ERR_NOTFOUND,
			"a part of the job's index is missing: submit it "
			"again");
	else if (!row_take(a, r->cells))
		a->done(a->arg, ERR_PROTO,
			"a part of the job's index is damaged: submit it "
			"again");
	else
		a->done(a->arg, OK, NULL);
	free(a);
}

void batch_index_load(struct batch_index *ix, uint64_t key, uint64_t block,
		      batch_index_fn done, void *arg)
{
	const uint64_t row = block / BATCH_ROW_BLOCKS;
	const struct store_val vals[] = {STORE_I(key), STORE_I(row)};

	store_run(ix->store,
		  "SELECT offset, input, blocks, sum FROM batch_index WHERE "
		  "key = ? AND row = ?",
		  vals, HN_COUNT(vals), on_row,
		  ask_new(ix, key, row, done, arg));
}
