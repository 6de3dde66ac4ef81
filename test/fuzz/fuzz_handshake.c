/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a stranger may send before anything is proven: first bytes, refusal,
 * and the hello payload. What was read must write the same.
 */
#include "test/fuzz/fuzz.h"

#include "rpc/handshake.h"

#include <assert.h>
#include <string.h>

static void try_first(const uint8_t *p, size_t n)
{
	uint8_t again[FIRST_SIZE];
	struct first f;
	bool whole;

	if (first_unpack(p, n, &whole, &f) || !whole)
		return;
	first_pack(&f, again);
	assert(!memcmp(again, p, FIRST_SIZE - 1));
	assert(f.version != PROTOCOL_VERSION ||
	       again[FIRST_SIZE - 1] == p[FIRST_SIZE - 1]);
}

static void try_refusal(const uint8_t *p, size_t n)
{
	uint8_t again[REFUSAL_MAX];
	struct refusal r;
	bool whole;

	if (refusal_unpack(p, n, &whole, &r) || !whole)
		return;
	const size_t size = refusal_pack(&r, again);
	assert(size == n && !memcmp(again, p, n));
}

static void try_hello(const uint8_t *p, size_t n)
{
	struct arena a = {0};
	struct hello h, again;
	struct buf b = {0};

	if (!fields_unpack(&hello_message, p, n, &a, &h)) {
		assert(h.cert.n <= HELLO_CERT);
		fields_pack(&hello_message, &h, &b);
		const enum err e =
		    fields_unpack(&hello_message, b.p, b.n, &a, &again);
		assert(!e && h.version == again.version &&
		       h.dials == again.dials && h.cert.n == again.cert.n &&
		       !memcmp(h.key, again.key, sizeof(h.key)) &&
		       !memcmp(h.sig, again.sig, sizeof(h.sig)));
	}
	buf_release(&b);
	arena_release(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	try_first(data, size);
	try_refusal(data, size);
	try_hello(data, size);
	return 0;
}
