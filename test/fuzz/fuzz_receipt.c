/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a peer, a file or an export says are receipts: as packed bytes and as
 * lines of an export. What is read packs to bytes that read the same; nothing
 * made up verifies; an audit ends with a sentence.
 */
#include "test/fuzz/fuzz.h"

#include "node/base/audit.h"

#include <sodium.h>

#include <assert.h>
#include <string.h>

static void as_packed(const uint8_t *p, size_t n)
{
	struct arena a = {0};
	struct receipt r, back;
	struct buf once = {0}, twice = {0}, why = {0};

	if (!receipt_unpack(p, n, &a, &r)) {
		receipt_pack(&r, &once);
		assert(!receipt_unpack(once.p, once.n, &a, &back));
		receipt_pack(&back, &twice);
		assert(once.n == twice.n && !memcmp(once.p, twice.p, once.n));
		const enum err e = receipt_verify(&r, &why);
		assert(!e == !why.n);
	}
	buf_release(&once);
	buf_release(&twice);
	buf_release(&why);
	arena_release(&a);
}

static void as_text(const uint8_t *p, size_t n)
{
	struct arena a = {0};
	struct receipt r = {0};
	struct buf why = {0};

	for (unsigned i = 0; i < 2; i++) {
		const char *kind = i ? "search" : "digest";

		if (!receipt_fill(&r, kind, (struct bytes){p, n}, &a, &why))
			assert(strlen(r.job) <= RECEIPT_JOB_MAX &&
			       r.credit <= r.amount);
	}
	buf_release(&why);
	arena_release(&a);
}

static void as_export(const uint8_t *p, size_t n)
{
	const uint8_t *end = p + n;
	struct audit *a = audit_new();
	struct buf why = {0};

	audit_begin(a, "fuzz");
	while (p < end) {
		const uint8_t *stop = memchr(p, '\n', (size_t)(end - p));

		stop = stop ? stop : end;
		audit_add(a, (const char *)p, (size_t)(stop - p));
		p = stop + 1;
	}
	const bool equal = audit_end(a, &why);
	assert(equal == !why.n);
	buf_release(&why);
	audit_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	if (sodium_init() < 0)
		return 0;
	as_packed(p, n);
	as_text(p, n);
	as_export(p, n);
	return 0;
}
