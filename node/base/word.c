/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/word.h"

#include "node/base/mem.h"

#include <sodium.h>

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_SIZE 4
#define PREFIX_MAX 16

static const char alphabet[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/* For sentences; a kind that is not here is named by its prefix. */
static const struct kind {
	const char *prefix, *text;
} kinds[] = {
    {WORD_INVITE, "an invite"},
    {WORD_OWNER, "an exported owner key"},
};

static const struct kind *kind_find(const char *prefix, size_t n)
{
	for (size_t i = 0; i < HN_COUNT(kinds); i++)
		if (strlen(kinds[i].prefix) == n &&
		    !memcmp(kinds[i].prefix, prefix, n))
			return &kinds[i];
	return NULL;
}

static void check_of(const char *prefix, const void *p, size_t n,
		     uint8_t out[static CHECK_SIZE])
{
	crypto_generichash_state st;
	uint8_t h[32];

	crypto_generichash_init(&st, NULL, 0, sizeof(h));
	crypto_generichash_update(&st, (const uint8_t *)prefix,
				  strlen(prefix) + 1);
	crypto_generichash_update(&st, p, n);
	crypto_generichash_final(&st, h, sizeof(h));
	memcpy(out, h, CHECK_SIZE);
	sodium_memzero(&st, sizeof(st));
	sodium_memzero(h, sizeof(h));
}

void word_encode(const char *prefix, const void *p, size_t n, struct buf *out)
{
	size_t total = n + CHECK_SIZE;
	uint8_t *data = xmalloc(total);
	uint32_t bits = 0;
	unsigned have = 0;

	assert(strlen(prefix) <= PREFIX_MAX &&
	       prefix[strlen(prefix) - 1] == '1');
	if (n)
		memcpy(data, p, n);
	check_of(prefix, data, n, data + n);
	/* In one go: growing would leave copies of a secret behind. */
	buf_reserve(out, strlen(prefix) + (total * 8 + 4) / 5 + 1);
	buf_add_str(out, prefix);
	for (size_t i = 0; i < total; i++) {
		bits = bits << 8 | data[i];
		for (have += 8; have >= 5; have -= 5)
			buf_add(out, &alphabet[bits >> (have - 5) & 31], 1);
	}
	if (have)
		buf_add(out, &alphabet[bits << (5 - have) & 31], 1);
	sodium_memzero(data, total);
	free(data);
}

/* Reading */

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static enum err refuse(struct buf *why, const char *sentence)
{
	if (why)
		buf_add_str(why, sentence);
	return ERR_INPUT;
}

/* The length of the word's prefix with its 1, lower-cased into out; 0 when
 * it does not look like one of ours. */
static size_t prefix_of(const char *s, size_t n, char out[PREFIX_MAX])
{
	for (size_t i = 0; i < n && i < PREFIX_MAX; i++) {
		out[i] = lower(s[i]);
		if (out[i] == '1')
			return i ? i + 1 : 0;
		if (out[i] < 'a' || out[i] > 'z')
			return 0;
	}
	return 0;
}

static enum err prefix_check(const char *want, const char *s, size_t n,
			     struct buf *why)
{
	char have[PREFIX_MAX];
	const struct kind *w = kind_find(want, strlen(want));

	size_t len = prefix_of(s, n, have);
	if (len == strlen(want) && !memcmp(have, want, len))
		return OK;
	if (!why)
		return ERR_INPUT;
	const struct kind *h = kind_find(have, len);
	if (h)
		buf_printf(why, "this is %s; ", h->text);
	else if (len)
		buf_printf(why, "this word begins with %.*s; ", (int)len, have);
	else
		buf_add_str(why, "this is not a word made by hnode; ");
	buf_printf(why, "%s is needed here, it begins with %s",
		   w ? w->text : "another kind", want);
	return ERR_INPUT;
}

/* data holds n * 5 / 8 bytes. */
static enum err base32_decode(const char *s, size_t n, size_t at, uint8_t *data,
			      struct buf *why)
{
	uint32_t bits = 0;
	unsigned have = 0;

	for (size_t i = 0; i < n; i++) {
		const char *c = s[i] ? strchr(alphabet, lower(s[i])) : NULL;
		if (!c && is_space(s[i]))
			return refuse(why, "there is white space inside the "
					   "word; it must be in one piece");
		if (!c) {
			if (why)
				buf_printf(why,
					   "character %zu of the word is "
					   "mistyped: it is never used there",
					   at + i + 1);
			return ERR_INPUT;
		}
		bits = bits << 5 | (uint32_t)(c - alphabet);
		have += 5;
		if (have >= 8) {
			have -= 8;
			*data++ = (uint8_t)(bits >> have);
		}
	}
	if (have >= 5 || bits & ((1u << have) - 1))
		return refuse(why, "the word is cut short or mistyped at its "
				   "end");
	return OK;
}

enum err word_decode(const char *prefix, const char *text, size_t max,
		     struct buf *out, struct buf *why)
{
	uint8_t check[CHECK_SIZE];

	while (is_space(*text))
		text++;
	size_t len = strlen(text), skip = strlen(prefix);
	while (len && is_space(text[len - 1]))
		len--;
	if (!len)
		return refuse(why, "the word is empty");
	enum err e = prefix_check(prefix, text, len, why);
	if (e)
		return e;
	size_t chars = len - skip;
	if (chars / 8 > (max + CHECK_SIZE) / 5 + 1) {
		if (why)
			buf_add_str(why, "the word is too long");
		return ERR_LIMIT;
	}
	size_t n = chars * 5 / 8;
	if (n < CHECK_SIZE)
		return refuse(why, "the word is cut short");
	uint8_t *data = xmalloc(n);
	e = base32_decode(text + skip, chars, skip, data, why);
	if (e)
		goto out;
	n -= CHECK_SIZE;
	check_of(prefix, data, n, check);
	if (sodium_memcmp(check, data + n, CHECK_SIZE)) {
		e = refuse(why, "the word is mistyped or cut short: its "
				"checksum does not fit");
		goto out;
	}
	if (n > max) {
		if (why)
			buf_add_str(why, "the word is too long");
		e = ERR_LIMIT;
		goto out;
	}
	buf_add(out, data, n);
out:
	sodium_memzero(data, chars * 5 / 8);
	free(data);
	return e;
}
