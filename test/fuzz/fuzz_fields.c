/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A message with a field of every type, from any bytes. What could be read
 * must be equal after being written and read again, copied, and sent through
 * JSON. Input that begins with { goes to the JSON reader instead.
 */
#include "test/fuzz/fuzz.h"

#include "node/base/fields.h"
#include "node/base/json.h"
#include "test/support/every_type.h"

#include <assert.h>
#include <string.h>

static const struct message *const table = &every_type_message;

/* The message must be one that can be written as exactly these bytes. */
static void must_pack_as(const struct every_type *m, const struct buf *want)
{
	struct buf b = {0};
	fields_pack(table, m, &b);
	assert(b.n == want->n && !memcmp(b.p, want->p, b.n));
	buf_release(&b);
}

static void through_json(const struct every_type *m, const struct buf *want)
{
	struct arena a = {0};
	struct buf text = {0}, why = {0};
	struct every_type back;

	fields_to_json(table, m, &text);
	if (text.n <= JSON_MAX_TEXT) {
		const enum err e = fields_from_json(table, (const char *)text.p,
						    text.n, &a, &back, &why);
		assert(!e);
		must_pack_as(&back, want);
	}
	arena_release(&a);
	buf_release(&text);
	buf_release(&why);
}

static void check(const struct every_type *m)
{
	struct arena a = {0};
	struct buf wire = {0};
	struct every_type back, copy;

	fields_pack(table, m, &wire);
	const enum err e = fields_unpack(table, wire.p, wire.n, &a, &back);
	assert(!e);
	must_pack_as(&back, &wire);
	fields_copy(table, m, &a, &copy);
	must_pack_as(&copy, &wire);
	through_json(m, &wire);
	arena_release(&a);
	buf_release(&wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = {0};
	struct buf why = {0};
	struct every_type m;
	enum err e;

	if (size && data[0] == '{') {
		e = fields_from_json(table, (const char *)data, size, &a, &m,
				     &why);
		assert(!e == !why.n); /* a refusal says why */
	} else {
		e = fields_unpack(table, data, size, &a, &m);
	}
	if (!e)
		check(&m);
	arena_release(&a);
	buf_release(&why);
	return 0;
}
