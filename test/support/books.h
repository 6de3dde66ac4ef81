/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_TEST_SUPPORT_BOOKS_H
#define HN_TEST_SUPPORT_BOOKS_H

#include "node/base/buf.h"
#include "node/base/receipt.h"

#include <string.h>

/* The text that a worker signs for a search of [start, end). */
static inline struct bytes search_text(struct buf *b, const char *job,
				       uint64_t lease, uint64_t start,
				       uint64_t end)
{
	uint8_t be[8], list[32];

	buf_clear(b);
	buf_add_str(b, job);
	for (unsigned i = 0; i < 80; i++)
		buf_u8(b, (uint8_t)i);
	put_be64(be, lease);
	buf_add(b, be, 8);
	put_be64(be, start);
	buf_add(b, be, 8);
	put_be64(be, end);
	buf_add(b, be, 8);
	buf_u8(b, 12);
	memset(list, (int)(lease & 0xff), sizeof(list));
	buf_add(b, list, 32);
	return (struct bytes){b->p, b->n};
}

#endif
