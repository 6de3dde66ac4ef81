/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rpc/frame.h"

#include "node/base/utf8.h"

#include <assert.h>
#include <string.h>

_Static_assert(FRAME_PAYLOAD <= UINT16_MAX, "length is a u16");
_Static_assert(2 + 4 + 4 + 1 + FRAME_NAME_MAX <= UINT8_MAX, "head length");
_Static_assert(2 + 1 + FRAME_TEXT_MAX <= UINT8_MAX, "head length");

static bool kind_known(unsigned kind)
{
	return kind >= FRAME_OPEN && kind <= FRAME_CANCEL;
}

/* A message of this kind may be longer than a frame. */
static bool kind_goes_on(unsigned kind)
{
	return kind == FRAME_OPEN || kind == FRAME_DATA || kind == FRAME_END;
}

enum err frame_next(struct reader *r, struct frame *f, bool *known)
{
	struct frame g;

	g.kind = read_u8(r);
	g.flags = read_u8(r);
	g.stream = read_be32(r);
	g.payload.n = read_be16(r);
	g.payload.p = read_bytes(r, g.payload.n);
	if (r->failed || g.payload.n > FRAME_PAYLOAD)
		return ERR_PROTO;
	*known = kind_known(g.kind);
	if (*known && !g.stream)
		return ERR_PROTO;
	if (*known && g.flags & FRAME_MORE &&
	    (!kind_goes_on(g.kind) || !g.payload.n))
		return ERR_PROTO;
	*f = g;
	return OK;
}

void frame_header(uint8_t *out, enum frame_kind kind, unsigned flags,
		  uint32_t stream, size_t n)
{
	assert(n <= FRAME_PAYLOAD);
	out[0] = (uint8_t)kind;
	out[1] = (uint8_t)flags;
	put_be32(out + 2, stream);
	out[6] = (uint8_t)(n >> 8);
	out[7] = (uint8_t)n;
}

/*
 * OPEN and END begin with the length of their head, so that a later version
 * can append to it and this one still finds the body (PROTOCOL 9).
 */
static enum err head_of(const struct frame *f, struct reader *head,
			struct bytes *body)
{
	struct reader r = reader_of(f->payload.p, f->payload.n);
	const size_t n = read_u8(&r);
	const uint8_t *p = read_bytes(&r, n);
	if (r.failed)
		return ERR_PROTO;
	*head = reader_of(p, n);
	*body = (struct bytes){r.p, reader_left(&r)};
	return OK;
}

void frame_open_pack(const struct frame_open *o, struct buf *out)
{
	const size_t n = strlen(o->name);

	buf_u8(out, (uint8_t)(2 + 4 + 4 + 1 + n));
	buf_be16(out, o->version);
	buf_be32(out, o->deadline_ms);
	buf_be32(out, o->credit);
	buf_u8(out, (uint8_t)n);
	buf_add(out, o->name, n);
	buf_add(out, o->body.p, o->body.n);
}

enum err frame_open_unpack(const struct frame *f, struct frame_open *o)
{
	struct reader r;
	struct frame_open t;

	enum err e = head_of(f, &r, &t.body);
	if (e)
		return e;
	t.version = read_be16(&r);
	t.deadline_ms = read_be32(&r);
	t.credit = read_be32(&r);
	const size_t n = read_u8(&r);
	const uint8_t *name = read_bytes(&r, n);
	if (r.failed || !n || n > FRAME_NAME_MAX)
		return ERR_PROTO;
	for (size_t i = 0; i < n; i++) {
		if (name[i] <= ' ' || name[i] > '~')
			return ERR_PROTO;
	}
	memcpy(t.name, name, n);
	t.name[n] = 0;
	*o = t;
	return OK;
}

void frame_text(char out[static FRAME_TEXT_MAX + 1], const void *text, size_t n)
{
	const char *p = text;
	size_t done = 0, step = 0;

	do {
		done += step;
		step = done < n && p[done] ? utf8_step(p + done, n - done, NULL)
					   : 0;
	} while (step && done + step <= FRAME_TEXT_MAX);
	if (done)
		memcpy(out, p, done);
	out[done] = 0;
}

void frame_end_pack(const struct frame_end *e, struct buf *out)
{
	const size_t n = strlen(e->text);

	buf_u8(out, (uint8_t)(2 + 1 + n));
	buf_be16(out, (uint16_t)e->err);
	buf_u8(out, (uint8_t)n);
	buf_add(out, e->text, n);
	buf_add(out, e->body.p, e->body.n);
}

enum err frame_end_unpack(const struct frame *f, struct frame_end *e)
{
	struct reader r;
	struct frame_end t;

	enum err why = head_of(f, &r, &t.body);
	if (why)
		return why;
	t.err = err_from_wire(read_be16(&r));
	const size_t n = read_u8(&r);
	const uint8_t *text = read_bytes(&r, n);
	if (r.failed || n > FRAME_TEXT_MAX)
		return ERR_PROTO;
	frame_text(t.text, text, n);
	*e = t;
	return OK;
}

enum err frame_credit_unpack(const struct frame *f, uint32_t *bytes)
{
	struct reader r = reader_of(f->payload.p, f->payload.n);
	const uint32_t n = read_be32(&r);
	if (r.failed)
		return ERR_PROTO;
	*bytes = n;
	return OK;
}

enum err frame_cancel_unpack(const struct frame *f, enum err *why)
{
	struct reader r = reader_of(f->payload.p, f->payload.n);
	const enum err e = err_from_wire(read_be16(&r));
	if (r.failed)
		return ERR_PROTO;
	*why = e;
	return OK;
}
