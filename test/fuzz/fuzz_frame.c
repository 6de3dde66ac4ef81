/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A record of any bytes as frames: what was read must write the same, heads
 * and bodies must lie inside their frame, and heads must come through a round
 * trip.
 */
#include "test/fuzz/fuzz.h"

#include "rpc/frame.h"

#include <assert.h>
#include <string.h>

static void inside(const struct frame *f, struct bytes body)
{
	assert(body.n <= f->payload.n);
	assert(!body.n || (body.p >= f->payload.p &&
			   body.p + body.n == f->payload.p + f->payload.n));
}

static void try_open(const struct frame *f)
{
	struct frame_open o, again;
	struct buf b = {0};

	if (frame_open_unpack(f, &o))
		return;
	inside(f, o.body);
	assert(*o.name && strlen(o.name) <= FRAME_NAME_MAX);
	frame_open_pack(&o, &b);
	const struct frame g = {.kind = FRAME_OPEN, .payload = {b.p, b.n}};
	const enum err e = frame_open_unpack(&g, &again);
	assert(!e && !strcmp(o.name, again.name) &&
	       o.version == again.version &&
	       o.deadline_ms == again.deadline_ms && o.credit == again.credit &&
	       o.body.n == again.body.n);
	buf_release(&b);
}

static void try_end(const struct frame *f)
{
	struct frame_end x, again;
	struct buf b = {0};

	if (frame_end_unpack(f, &x))
		return;
	inside(f, x.body);
	assert(strlen(x.text) <= FRAME_TEXT_MAX);
	frame_end_pack(&x, &b);
	const struct frame g = {.kind = FRAME_END, .payload = {b.p, b.n}};
	const enum err e = frame_end_unpack(&g, &again);
	assert(!e && x.err == again.err && !strcmp(x.text, again.text) &&
	       x.body.n == again.body.n);
	buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_of(data, size);
	size_t used = 0;

	while (reader_left(&r)) {
		struct frame f;
		uint8_t head[FRAME_HEADER];
		uint32_t credit;
		enum err why;
		bool known;

		if (frame_next(&r, &f, &known))
			break;
		frame_header(head, (enum frame_kind)f.kind, f.flags, f.stream,
			     f.payload.n);
		assert(!memcmp(head, data + used, sizeof(head)));
		used += FRAME_HEADER + f.payload.n;
		assert(used <= size);
		/* Each decoder on each payload: the kind is one byte. */
		try_open(&f);
		try_end(&f);
		if (!frame_credit_unpack(&f, &credit))
			assert(f.payload.n >= 4);
		if (!frame_cancel_unpack(&f, &why))
			assert(f.payload.n >= 2);
	}
	return 0;
}
