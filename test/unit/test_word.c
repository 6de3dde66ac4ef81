/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/word.h"

#include <ctype.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char alphabet[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

static char *encode(const char *prefix, const void *p, size_t n)
{
	struct buf b = {0};
	word_encode(prefix, p, n, &b);
	buf_u8(&b, 0);
	return (char *)buf_take(&b, &n);
}

static void assert_decodes(const char *text, const void *p, size_t n)
{
	struct buf b = {0}, why = {0};
	assert_int_equal(word_decode(WORD_INVITE, text, n, &b, &why), OK);
	assert_int_equal(b.n, n);
	if (n)
		assert_memory_equal(b.p, p, n);
	assert_int_equal(why.n, 0);
	buf_release(&b);
}

static void assert_refused(const char *text, enum err want, const char *words)
{
	struct buf b = {0}, why = {0};
	assert_int_equal(word_decode(WORD_INVITE, text, 200, &b, &why), want);
	assert_int_equal(b.n, 0);
	if (!strstr(buf_str(&why), words))
		fail_msg("\"%s\" does not say %s", buf_str(&why), words);
	buf_release(&why);
	assert_int_equal(word_decode(WORD_INVITE, text, 200, &b, NULL), want);
	buf_release(&b);
}

static void test_every_length_comes_back(void **state)
{
	uint8_t data[101];
	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 151 + 200);
	for (size_t n = 0; n < sizeof(data); n++) {
		char *w = encode(WORD_INVITE, data, n);
		assert_int_equal(strlen(w), 3 + ((n + 4) * 8 + 4) / 5);
		assert_int_equal(strspn(w + 3, alphabet), strlen(w) - 3);
		assert_decodes(w, data, n);
		free(w);
	}
}

/* The check of "hn1" and no bytes, and of the text hnode, computed with
 * Python's hashlib.blake2b(digest_size=32). */
static void test_known_words(void **state)
{
	(void)state;
	char *w = encode(WORD_INVITE, "", 0);
	assert_string_equal(w, "hn1pzusv7q");
	free(w);
	w = encode(WORD_INVITE, "hnode", 5);
	assert_string_equal(w, "hn1dphx7er9r0y8s4g");
	free(w);
}

static void test_white_space_and_case(void **state)
{
	(void)state;
	char *w = encode(WORD_INVITE, "abc", 3);
	char *t = xasprintf(" \t\r\n%s\n ", w);
	assert_decodes(t, "abc", 3);
	for (char *c = t; *c; c++)
		*c = (char)toupper((unsigned char)*c);
	assert_decodes(t, "abc", 3);
	free(t);
	t = xasprintf("%.6s %s", w, w + 6);
	assert_refused(t, ERR_INPUT, "white space inside");
	free(t);
	free(w);
}

static void test_one_wrong_character_is_seen(void **state)
{
	(void)state;
	char *w = encode(WORD_INVITE, "0123456789abcdef", 16);
	for (char *c = w + 3; *c; c++) {
		char right = *c;
		for (const char *a = alphabet; *a; a++) {
			*c = *a;
			if (*a != right)
				assert_refused(w, ERR_INPUT, "mistyped");
		}
		*c = 'b';
		assert_refused(w, ERR_INPUT, "never used");
		*c = right;
	}
	free(w);
}

static void test_neighbours_exchanged_are_seen(void **state)
{
	(void)state;
	char *w = encode(WORD_INVITE, "0123456789abcdef", 16);
	for (char *c = w + 3; c[1]; c++) {
		char first = c[0], second = c[1];
		c[0] = second;
		c[1] = first;
		if (first != second)
			assert_refused(w, ERR_INPUT, "mistyped");
		c[0] = first;
		c[1] = second;
	}
	free(w);
}

static void test_cut_is_seen(void **state)
{
	(void)state;
	char *w = encode(WORD_INVITE, "0123456789abcdef", 16);
	for (size_t n = strlen(w) - 1; n > 2; n--) {
		w[n] = '\0';
		assert_refused(w, ERR_INPUT, "cut");
	}
	w[2] = '\0';
	assert_refused(w, ERR_INPUT, "not a word made by hnode");
	w[0] = '\0';
	assert_refused(w, ERR_INPUT, "empty");
	assert_refused(" \n", ERR_INPUT, "empty");
	free(w);
}

static void test_other_kinds_are_named(void **state)
{
	(void)state;
	char *w = encode(WORD_OWNER, "abc", 3);
	assert_refused(w, ERR_INPUT,
		       "this is an exported owner key; an "
		       "invite is needed here");
	free(w);
	assert_refused("npub1qqqq", ERR_INPUT, "begins with npub1");
	assert_refused("127.0.0.1:7450", ERR_INPUT, "not a word made by");
	assert_refused("hn", ERR_INPUT, "not a word made by");
	assert_refused("\xff\xff\xff\xff", ERR_INPUT, "not a word made by");
	/* The prefix is part of the checksum. */
	w = encode("hnx1", "abc", 3);
	char *t = xasprintf("hn1%s", w + 4);
	assert_refused(t, ERR_INPUT, "checksum");
	free(t);
	free(w);
}

static void test_size_limit(void **state)
{
	uint8_t data[300] = {0};
	struct buf b = {0};
	(void)state;
	char *w = encode(WORD_INVITE, data, 201);
	assert_refused(w, ERR_LIMIT, "too long");
	assert_int_equal(word_decode(WORD_INVITE, w, 201, &b, NULL), OK);
	buf_release(&b);
	free(w);
	char *big = xmalloc(1 << 20);
	memset(big, 'q', 1 << 20);
	memcpy(big, "hn1", 3);
	big[(1 << 20) - 1] = '\0';
	assert_refused(big, ERR_LIMIT, "too long");
	free(big);
}

static void test_the_word_is_never_repeated(void **state)
{
	struct buf b = {0}, why = {0};
	(void)state;
	char *w = encode(WORD_INVITE, "very secret", 11);
	w[9] = w[9] == 'q' ? 'p' : 'q';
	assert_int_equal(word_decode(WORD_INVITE, w, 99, &b, &why), ERR_INPUT);
	assert_null(strstr(buf_str(&why), "hn1"));
	buf_release(&why);
	free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_length_comes_back),
	    cmocka_unit_test(test_known_words),
	    cmocka_unit_test(test_white_space_and_case),
	    cmocka_unit_test(test_one_wrong_character_is_seen),
	    cmocka_unit_test(test_neighbours_exchanged_are_seen),
	    cmocka_unit_test(test_cut_is_seen),
	    cmocka_unit_test(test_other_kinds_are_named),
	    cmocka_unit_test(test_size_limit),
	    cmocka_unit_test(test_the_word_is_never_repeated),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
