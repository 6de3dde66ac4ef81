/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/lines.h"

#include <string.h>

/* A line that ends in \r\n came from another system; its digits are meant. */
static void decode(struct lines *l, struct lines_one *out)
{
	size_t n = l->line.n;

	if (n && l->line.p[n - 1] == '\r')
		n--;
	buf_clear(&l->input);
	enum err e =
	    hex_decode_buf((const char *)l->line.p, n, l->max, &l->input);
	if (e)
		out->error = e == ERR_LIMIT ? "longer than 1 MiB"
					    : "not hex digits in pairs";
	out->p = l->input.p;
	out->n = l->input.n;
}

static void complete(struct lines *l, struct lines_one *out)
{
	*out = (struct lines_one){.index = l->next++};
	if (l->over) {
		out->error = "longer than 1 MiB";
	} else if (l->hex) {
		decode(l, out);
	} else {
		out->p = l->line.p;
		out->n = l->line.n;
	}
	if (!out->p)
		out->p = (const uint8_t *)"";
}

bool lines_feed(struct lines *l, const uint8_t **p, size_t *n,
		struct lines_one *out)
{
	if (!l->begun)
		buf_clear(&l->line);
	if (!*n)
		return false;
	const uint8_t *nl = memchr(*p, '\n', *n);
	size_t take = nl ? (size_t)(nl - *p) : *n;
	/* Two digits a byte, and a \r. */
	size_t max = l->hex ? 2 * l->max + 1 : l->max;

	if (l->line.n + take > max)
		l->over = true;
	if (l->over)
		buf_clear(&l->line);
	else if (take)
		buf_add(&l->line, *p, take);
	l->begun = true;
	take += nl != NULL;
	*p += take;
	*n -= take;
	if (!nl)
		return false;
	complete(l, out);
	l->over = l->begun = false;
	return true;
}

bool lines_end(struct lines *l, struct lines_one *out)
{
	if (!l->begun)
		return false;
	complete(l, out);
	l->over = l->begun = false;
	return true;
}

void lines_release(struct lines *l)
{
	buf_release(&l->line);
	buf_release(&l->input);
}
