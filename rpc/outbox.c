/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rpc/outbox.h"

#include "node/base/mem.h"

#include <utlist.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct outbox_msg {
	struct outbox_msg *next;
	enum frame_kind kind;
	size_t n, off;
	uint8_t bytes[];
};

static void write_frame(struct outbox *b, enum frame_kind kind, unsigned flags,
			uint32_t number, const uint8_t *p, size_t n)
{
	b->writing = true;
	uint8_t *out = session_space(b->s, FRAME_HEADER + n);
	b->writing = false;
	frame_header(out, kind, flags, number, n);
	if (n)
		memcpy(out + FRAME_HEADER, p, n);
}

/* One frame from off on; returns the offset after it. */
static size_t write_part(struct outbox *b, struct lane *l, enum frame_kind kind,
			 const uint8_t *p, size_t n, size_t off)
{
	const size_t left = n - off;
	const size_t part = left > FRAME_PAYLOAD ? FRAME_PAYLOAD : left;

	if (!l->number) {
		l->number = b->next_number;
		b->next_number += 2;
		b->number(b->arg, l);
	}
	write_frame(b, kind, part < left ? FRAME_MORE : 0, l->number,
		    part ? p + off : NULL, part);
	return off + part;
}

bool outbox_room(const struct outbox *b)
{
	return session_queued(b->s) <= SESSION_HIGH;
}

bool outbox_clear(const struct outbox *b, const struct lane *l)
{
	return !l->head && !b->ring && outbox_room(b);
}

static bool may_pass(const struct outbox *b, const struct lane *l,
		     enum frame_kind kind, size_t n)
{
	if (l->head || n > FRAME_CHUNK_MAX)
		return false;
	if (outbox_clear(b, l))
		return true;
	return kind != FRAME_DATA && n <= OUTBOX_SMALL &&
	       session_queued(b->s) <= OUTBOX_URGENT;
}

bool outbox_put(struct outbox *b, struct lane *l, enum frame_kind kind,
		const uint8_t *p, size_t n)
{
	if (may_pass(b, l, kind, n)) {
		size_t off = 0;
		do
			off = write_part(b, l, kind, p, n, off);
		while (off < n);
		return true;
	}
	struct outbox_msg *m = xmalloc(sizeof(*m) + n);
	*m = (struct outbox_msg){.kind = kind, .n = n};
	if (n)
		memcpy(m->bytes, p, n);
	if (l->head)
		l->tail->next = m;
	else {
		l->head = m;
		DL_APPEND(b->ring, l);
	}
	l->tail = m;
	l->queued += n;
	return false;
}

void outbox_control(struct outbox *b, enum frame_kind kind, uint32_t number,
		    const uint8_t *p, size_t n)
{
	assert(n <= 256);
	write_frame(b, kind, 0, number, p, n);
	if (session_queued(b->s) > OUTBOX_MAX)
		session_close(b->s, ERR_LIMIT, "the peer does not read");
}

bool outbox_step(struct outbox *b)
{
	struct lane *l = b->ring;
	if (!l)
		return false;
	struct outbox_msg *m = l->head;
	const enum frame_kind kind = m->kind;
	const size_t from = m->off;

	m->off = write_part(b, l, kind, m->bytes, m->n, from);
	l->queued -= m->off - from;
	const bool whole = m->off == m->n;
	DL_DELETE(b->ring, l);
	if (whole) {
		l->head = m->next;
		free(m);
	}
	if (l->head)
		DL_APPEND(b->ring, l);
	else
		l->tail = NULL;
	b->fed(b->arg, l, kind, whole);
	return true;
}

void outbox_drop(struct outbox *b, struct lane *l)
{
	if (!l->head)
		return;
	DL_DELETE(b->ring, l);
	while (l->head) {
		struct outbox_msg *m = l->head;
		l->head = m->next;
		free(m);
	}
	l->tail = NULL;
	l->queued = 0;
}
