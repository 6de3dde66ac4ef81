/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/lines.h"

#include "node/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* "0:abc 1: 2!why": what comes of a text that arrives in pieces of `step`. */
static char *cut(const char *text, size_t step, bool hex, size_t max)
{
	struct lines l = {.hex = hex, .max = max};
	struct buf b = {0};
	size_t total = strlen(text);
	struct lines_one one;

	for (size_t at = 0; at < total; at += step) {
		size_t n = total - at < step ? total - at : step;
		uint8_t *piece = xmemdup(text + at, n);
		const uint8_t *p = piece;
		while (lines_feed(&l, &p, &n, &one))
			buf_printf(
			    &b, "%llu%s%.*s|", (unsigned long long)one.index,
			    one.error ? "!" : ":", one.error ? 4 : (int)one.n,
			    one.error ? one.error : (char *)one.p);
		assert_int_equal(n, 0);
		free(piece);
	}
	if (lines_end(&l, &one))
		buf_printf(&b, "%llu%s%.*s|", (unsigned long long)one.index,
			   one.error ? "!" : ":", one.error ? 4 : (int)one.n,
			   one.error ? one.error : (char *)one.p);
	assert_false(lines_end(&l, &one));
	lines_release(&l);
	buf_u8(&b, 0);
	return (char *)buf_take(&b, &total);
}

static void check(const char *text, bool hex, size_t max, const char *want)
{
	for (size_t step = 1; step <= strlen(text) + 1; step++) {
		char *got = cut(text, step, hex, max);
		assert_string_equal(got, want);
		free(got);
	}
}

static void test_lines_of_any_pieces(void **state)
{
	(void)state;
	check("a\nbc\n", false, 9, "0:a|1:bc|");
	check("a\nbc", false, 9, "0:a|1:bc|");
	check("\n\n", false, 9, "0:|1:|");
	check("", false, 9, "");
	check("a\r\n", false, 9, "0:a\r|");
}

static void test_a_long_line_fails_alone(void **state)
{
	(void)state;
	check("abcd\nabcde\nab\n", false, 4, "0:abcd|1!long|2:ab|");
	check("abcdefghijkl", false, 4, "0!long|");
	check("abcdefghijkl\n\n", false, 4, "0!long|1:|");
}

static void test_hex(void **state)
{
	(void)state;
	check("6162\r\n6\nxy\n\n4142", true, 9, "0:ab|1!not |2!not |3:|4:AB|");
	check("61626364\n6162636465\n61\n", true, 4, "0:abcd|1!long|2:a|");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_lines_of_any_pieces),
	    cmocka_unit_test(test_a_long_line_fails_alone),
	    cmocka_unit_test(test_hex),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
