/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rpc/record.h"

#include "node/base/mem.h"
#include "node/base/utf8.h"
#include "rpc/noise.h"
#include "rpc/session.h"

#include <assert.h>
#include <string.h>

#define LENGTH 2 /* bytes in front */
#define HEAD 3	 /* length and type */

static size_t tag_of(const struct noise_cipher *c)
{
	return c ? NOISE_TAG_LEN : 0;
}

/* Reading */

/* Bounds of each type's body (PROTOCOL 3.2). */
static enum err check(const struct record_reader *r, uint8_t type, size_t n)
{
	switch (type) {
	case RECORD_FRAMES:
		return n >= 1 && n <= SESSION_RECORD ? OK : ERR_PROTO;
	case RECORD_PING:
	case RECORD_PONG:
		return n == RECORD_TOKEN ? OK : ERR_PROTO;
	case RECORD_REKEY:
		return n == 0 && r->rx ? OK : ERR_PROTO;
	case RECORD_GOODBYE:
		return n >= 2 && n <= 2 + RECORD_TEXT ? OK : ERR_PROTO;
	}
	return ERR_PROTO;
}

/* One record, without its length. */
static enum err take(struct record_reader *r, uint8_t *p, size_t n,
		     record_fn fn, void *arg)
{
	if (r->rx) {
		enum err e = noise_cipher_open(r->rx, NULL, 0, p, n, p);
		if (e)
			return e;
		n -= NOISE_TAG_LEN;
	}
	const uint8_t type = p[0];
	enum err e = check(r, type, n - 1);
	if (e)
		return e;
	if (type == RECORD_REKEY) {
		noise_cipher_rekey(r->rx);
		r->rekeys++;
		return OK;
	}
	r->busy = true;
	e = fn(arg, (enum record_type)type, p + 1, n - 1);
	r->busy = false;
	return e;
}

/* *len is set when the length is there and within bounds. */
static enum err length_of(const struct record_reader *r, const uint8_t *p,
			  size_t *len)
{
	const size_t n = (size_t)p[0] << 8 | p[1];
	const size_t tag = tag_of(r->rx);

	if (n < 1 + tag || n > 1 + SESSION_RECORD + tag)
		return ERR_PROTO;
	*len = n;
	return OK;
}

static enum err take_all(struct record_reader *r, uint8_t *p, size_t n,
			 record_fn fn, void *arg, size_t *used)
{
	*used = 0;
	while (!r->held && n - *used >= LENGTH) {
		size_t len;
		enum err e = length_of(r, p + *used, &len);
		if (e)
			return e;
		if (n - *used < LENGTH + len)
			break;
		e = take(r, p + *used + LENGTH, len, fn, arg);
		if (e)
			return e;
		*used += LENGTH + len;
	}
	return OK;
}

enum err record_resume(struct record_reader *r, record_fn fn, void *arg)
{
	size_t used;
	enum err e;

	assert(!r->busy);
	e = take_all(r, r->part.p, r->part.n, fn, arg, &used);
	if (e)
		return e;
	buf_drop(&r->part, used);
	/* What back-pressure or one big record left is not kept for idle
	 * times. */
	if (!r->part.n && r->part.cap > 4096)
		buf_release(&r->part);
	return OK;
}

/* Adds what the first record in part still lacks. */
static enum err top_up(struct record_reader *r, uint8_t **p, size_t *n)
{
	size_t want = LENGTH;

	for (;;) {
		if (r->part.n >= LENGTH) {
			enum err e = length_of(r, r->part.p, &want);
			if (e)
				return e;
			want += LENGTH;
		}
		if (r->part.n >= want || !*n)
			return OK;
		size_t add = want - r->part.n;
		if (add > *n)
			add = *n;
		buf_add(&r->part, *p, add);
		*p += add;
		*n -= add;
	}
}

enum err record_feed(struct record_reader *r, uint8_t *p, size_t n,
		     record_fn fn, void *arg)
{
	enum err e;

	assert(!r->busy);
	while (r->part.n && n && !r->held) {
		e = top_up(r, &p, &n);
		if (!e)
			e = record_resume(r, fn, arg);
		if (e)
			return e;
	}
	if (!r->part.n) {
		size_t used;
		e = take_all(r, p, n, fn, arg, &used);
		if (e)
			return e;
		p += used;
		n -= used;
	}
	buf_add(&r->part, p, n);
	return OK;
}

void record_reader_release(struct record_reader *r)
{
	buf_release(&r->part);
}

enum err record_goodbye(const uint8_t *p, size_t n, enum err *why,
			struct buf *text)
{
	if (n < 2 || n > 2 + RECORD_TEXT)
		return ERR_PROTO;
	*why = err_from_wire((unsigned long long)p[0] << 8 | p[1]);
	for (size_t i = 2; i < n;) {
		uint32_t code;
		const size_t step = utf8_step(p + i, n - i, &code);
		if (!step || code < 0x20 || (code >= 0x7f && code < 0xa0)) {
			buf_add_str(text, "?");
			i++;
			continue;
		}
		buf_add(text, p + i, step);
		i += step;
	}
	return OK;
}

/* Writing */

bool record_fits(const struct record_writer *w, const struct buf *out, size_t n)
{
	return w->open && out->n - w->at - HEAD + n <= SESSION_RECORD;
}

static void begin(struct record_writer *w, struct buf *out,
		  enum record_type type, size_t room)
{
	buf_reserve(out, HEAD + room + tag_of(w->tx));
	w->at = out->n;
	w->open = true;
	out->p[out->n + LENGTH] = (uint8_t)type;
	out->n += HEAD;
}

uint8_t *record_space(struct record_writer *w, struct buf *out, size_t n)
{
	assert(n && n <= SESSION_RECORD);
	if (w->open && !record_fits(w, out, n))
		record_end(w, out);
	if (!w->open)
		begin(w, out, RECORD_FRAMES, SESSION_RECORD);
	uint8_t *p = out->p + out->n;
	out->n += n; /* within what begin reserved */
	return p;
}

void record_end(struct record_writer *w, struct buf *out)
{
	if (!w->open)
		return;
	w->open = false;
	const size_t n = out->n - w->at - LENGTH; /* type and body */
	const size_t len = n + tag_of(w->tx);
	uint8_t *p = out->p + w->at;
	if (w->tx) {
		/* Fails only without a key or after 2^64 - 1 records. */
		enum err e = noise_cipher_seal(w->tx, NULL, 0, p + LENGTH, n,
					       p + LENGTH);
		assert(!e);
		(void)e;
		out->n += NOISE_TAG_LEN;
		w->bytes += n;
	}
	p[0] = (uint8_t)(len >> 8);
	p[1] = (uint8_t)len;
}

void record_put(struct record_writer *w, struct buf *out, enum record_type type,
		const void *p, size_t n)
{
	record_end(w, out);
	begin(w, out, type, n);
	if (n)
		memcpy(out->p + out->n, p, n);
	out->n += n;
	record_end(w, out);
}

void record_rekey(struct record_writer *w, struct buf *out)
{
	record_put(w, out, RECORD_REKEY, NULL, 0);
	noise_cipher_rekey(w->tx);
	w->bytes = 0;
}
