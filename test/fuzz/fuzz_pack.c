/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The cursor on any bytes: a walk by type and a skip must agree on where a
 * value ends, and what was read must read the same after it was written.
 */
#include "test/fuzz/fuzz.h"

#include "node/base/pack.h"

#include <assert.h>
#include <string.h>

/* Reads one value and writes it to out; false at the end or on failure. */
static bool copy_value(struct unpack *u, struct buf *out, unsigned depth)
{
	struct bytes b;
	size_t n;

	switch (unpack_peek(u)) {
	case PACK_NIL:
		assert(unpack_nil(u));
		pack_nil(out);
		return true;
	case PACK_BOOL:
		pack_bool(out, unpack_bool(u));
		return true;
	case PACK_UINT:
		pack_uint(out, unpack_uint(u));
		return true;
	case PACK_INT:
		pack_int(out, unpack_int(u));
		return true;
	case PACK_DOUBLE:
		pack_double(out, unpack_double(u));
		return true;
	case PACK_STR:
		b = unpack_str(u, SIZE_MAX);
		if (!u->err)
			pack_str(out, (const char *)b.p, b.n);
		return !u->err;
	case PACK_BIN:
		b = unpack_bin(u, SIZE_MAX);
		if (!u->err)
			pack_bin(out, b.p, b.n);
		return !u->err;
	case PACK_ARRAY:
		n = unpack_array(u);
		if (u->err || depth == PACK_DEPTH)
			return false;
		pack_array(out, n);
		while (n--)
			if (!copy_value(u, out, depth + 1))
				return false;
		return true;
	case PACK_END:
		break;
	}
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct unpack u = unpack_of(data, size);
	struct buf once = {0}, twice = {0};

	for (;;) {
		struct unpack skipped = u;
		const size_t before = once.n;
		if (!copy_value(&u, &once, 0)) {
			once.n = before;
			break;
		}
		unpack_skip(&skipped);
		assert(!skipped.err && skipped.p == u.p);
	}
	assert(u.p <= u.end && (u.err ? u.p == u.end : true));

	/* In our own encoding everything must come through unchanged. */
	struct unpack again = unpack_of(once.p, once.n);
	while (copy_value(&again, &twice, 0))
		;
	assert(unpack_done(&again));
	assert(once.n == twice.n);
	assert(!once.n || !memcmp(once.p, twice.p, once.n));
	buf_release(&once);
	buf_release(&twice);

	/* Skipping alone accepts more: maps and extensions. */
	struct unpack rest = unpack_of(data, size);
	while (!rest.err && rest.p < rest.end)
		unpack_skip(&rest);
	return 0;
}
