/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_BASE_MEM_H
#define HN_BASE_MEM_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Allocation that aborts: a node without memory for a list entry cannot
 * recover. Sizes that come from outside are checked against a named limit
 * before they get here. Any thread. Free with free().
 */
void *xmalloc(size_t n);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t n);
void *xmemdup(const void *p, size_t n); /* n == 0: a pointer to free */
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *xvasprintf(const char *fmt, va_list ap)
    __attribute__((format(printf, 1, 0)));

#define HN_NEW(type) ((type *)xcalloc(1, sizeof(type)))
#define HN_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Borrowed bytes: whoever hands them over says for how long. */
struct bytes {
	const uint8_t *p;
	size_t n;
};

/*
 * An arena: what lives as long as one decoded message or one request. One
 * owner; not safe to share between threads. Zero-initialised is empty and
 * ready. The memory handed out is zeroed and aligned for any type.
 */
struct arena_block;
struct arena {
	struct arena_block *blocks;
};

void *arena_alloc(struct arena *a, size_t n);
char *arena_strndup(struct arena *a, const char *s, size_t n);
void *arena_memdup(struct arena *a, const void *p, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void arena_release(struct arena *a); /* frees all; empty again */

#endif
