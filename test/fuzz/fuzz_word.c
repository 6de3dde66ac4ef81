/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "test/fuzz/fuzz.h"

#include "node/base/mem.h"
#include "node/base/word.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { FUZZ_WORD_MAX = 256 };

/* The input as a word, and the input as bytes that become one. A word that is
 * taken is the only spelling of its bytes, but for case and white space. */
static void decode(const char *prefix, const char *text)
{
	struct buf b = {0}, why = {0}, again = {0};

	enum err e = word_decode(prefix, text, FUZZ_WORD_MAX, &b, &why);
	assert((e != OK) == (why.n > 0));
	if (!e) {
		assert(b.n <= FUZZ_WORD_MAX);
		word_encode(prefix, b.p, b.n, &again);
		text += strspn(text, " \t\r\n\v\f");
		assert(!strncasecmp(text, buf_str(&again), again.n));
	}
	buf_release(&b);
	buf_release(&why);
	buf_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf word = {0}, back = {0};
	char *text = xmalloc(size + 1);

	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	decode(WORD_INVITE, text);
	decode(WORD_OWNER, text);

	word_encode(WORD_INVITE, data, size, &word);
	enum err e =
	    word_decode(WORD_INVITE, buf_str(&word), size, &back, NULL);
	assert(!e && back.n == size);
	assert(!size || !memcmp(back.p, data, size));
	free(text);
	buf_release(&word);
	buf_release(&back);
	return 0;
}
