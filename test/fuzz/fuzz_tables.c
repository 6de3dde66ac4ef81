/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Every message that hnode reads, from any bytes: the first byte chooses the
 * table. What could be read must be equal after being written and read again.
 */
#include "test/fuzz/fuzz.h"

#include "node/base/fields.h"
#include "test/support/tables.h"

#include <assert.h>
#include <string.h>

struct pick {
	size_t left;
	const struct message *m;
};

static void count(const struct message *m, void *arg)
{
	(void)m;
	++*(size_t *)arg;
}

static void choose(const struct message *m, void *arg)
{
	struct pick *p = arg;

	if (!p->left--)
		p->m = m;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = {0};
	struct buf once = {0}, twice = {0};
	size_t n = 0;

	if (!size)
		return 0;
	each_message(count, &n);
	struct pick p = {.left = data[0] % n};
	each_message(choose, &p);
	void *msg = arena_alloc(&a, p.m->size);
	if (fields_unpack(p.m, data + 1, size - 1, &a, msg) == OK) {
		fields_pack(p.m, msg, &once);
		const enum err e = fields_unpack(p.m, once.p, once.n, &a, msg);
		assert(!e);
		fields_pack(p.m, msg, &twice);
		assert(once.n == twice.n);
		assert(!memcmp(once.p, twice.p, once.n));
	}
	buf_release(&once);
	buf_release(&twice);
	arena_release(&a);
	return 0;
}
