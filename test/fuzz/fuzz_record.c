/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Records in clear, as the control socket has them, cut into two chunks at
 * every place that the first byte names and held back after the record that
 * the second one names: the same records must come out, and write the same
 * bytes. Then as a sealed stream, which nobody without the key gets past.
 */
#include "test/fuzz/fuzz.h"

#include "node/base/mem.h"
#include "rpc/noise.h"
#include "rpc/record.h"
#include "rpc/session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct seen {
	struct record_reader *reader;
	struct record_writer writer;
	struct buf again;
	size_t n, hold_after;
};

static enum err on_record(void *arg, enum record_type type, uint8_t *p,
			  size_t n)
{
	struct seen *s = arg;
	struct buf text = {0};
	enum err why;

	assert(n <= SESSION_RECORD);
	if (type == RECORD_GOODBYE) {
		const enum err e = record_goodbye(p, n, &why, &text);
		assert(!e && text.n <= RECORD_TEXT);
		buf_release(&text);
	}
	record_put(&s->writer, &s->again, type, p, n);
	if (++s->n == s->hold_after)
		s->reader->held = true;
	return OK;
}

/* Whether all was well; *s is what came out. */
static bool read_all(struct seen *s, const uint8_t *p, size_t n, size_t cut)
{
	struct record_reader r = {0};
	uint8_t *copy = xmemdup(p, n);
	enum err e;

	s->reader = &r;
	e = record_feed(&r, copy, cut, on_record, s);
	if (!e)
		e = record_feed(&r, copy + cut, n - cut, on_record, s);
	if (!e && r.held) {
		r.held = false;
		e = record_resume(&r, on_record, s);
	}
	assert(e || r.part.n < 2 + 1 + SESSION_RECORD);
	record_reader_release(&r);
	free(copy);
	return !e;
}

static void try_clear(const uint8_t *p, size_t n, size_t cut, size_t hold)
{
	struct seen whole = {0}, cut_up = {.hold_after = hold};

	const bool ok = read_all(&whole, p, n, n);
	const bool ok_cut = read_all(&cut_up, p, n, cut);
	assert(ok == ok_cut && whole.n == cut_up.n);
	assert(whole.again.n == cut_up.again.n && whole.again.n <= n);
	assert(!whole.again.n ||
	       (!memcmp(whole.again.p, cut_up.again.p, whole.again.n) &&
		!memcmp(whole.again.p, p, whole.again.n)));
	buf_release(&whole.again);
	buf_release(&cut_up.again);
}

static enum err on_forged(void *arg, enum record_type type, uint8_t *p,
			  size_t n)
{
	(void)arg;
	(void)type;
	(void)p;
	(void)n;
	assert(!"a record without the key");
	return OK;
}

static void try_sealed(const uint8_t *p, size_t n)
{
	static const uint8_t key[NOISE_KEY_LEN] = {1, 2, 3};
	struct noise_cipher c;
	struct record_reader r = {.rx = &c};
	uint8_t *copy = xmemdup(p, n);

	if (!noise_cipher_init(&c, NOISE_CHACHAPOLY, key)) {
		const enum err e = record_feed(&r, copy, n, on_forged, NULL);
		assert(e || r.part.n == n);
	}
	record_reader_release(&r);
	noise_cipher_wipe(&c);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	const uint8_t *p = data + 2;
	const size_t n = size - 2;
	try_clear(p, n, data[0] <= n ? data[0] : n, data[1]);
	try_sealed(p, n);
	return 0;
}
