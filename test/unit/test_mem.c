/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/mem.h"

#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_nothing_is_still_a_pointer(void **state)
{
	(void)state;
	void *p[] = {xmalloc(0), xcalloc(0, 8), xrealloc(NULL, 0),
		     xmemdup(NULL, 0)};
	for (size_t i = 0; i < HN_COUNT(p); i++) {
		assert_non_null(p[i]);
		free(p[i]);
	}
}

static void test_copies_are_equal_and_apart(void **state)
{
	(void)state;
	char text[] = "some text";
	char *whole = xstrdup(text), *part = xstrndup(text, 4);
	char *made = xasprintf("%s %d", text, 7);
	text[0] = 'S';
	assert_string_equal(whole, "some text");
	assert_string_equal(part, "some");
	assert_string_equal(made, "some text 7");
	free(whole);
	free(part);
	free(made);
}

static void test_new_is_zeroed(void **state)
{
	(void)state;
	struct bytes *b = HN_NEW(struct bytes);
	assert_null(b->p);
	assert_int_equal(b->n, 0);
	free(b);
}

static void test_arena_gives_zeroed_aligned_memory(void **state)
{
	(void)state;
	struct arena a = {0};
	for (size_t n = 0; n < 3000; n += 7) {
		uint8_t *p = arena_alloc(&a, n);
		assert_int_equal((uintptr_t)p % alignof(max_align_t), 0);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(p[i], 0);
		memset(p, 0xff, n);
	}
	arena_release(&a);
}

static void test_arena_pieces_do_not_overlap(void **state)
{
	(void)state;
	struct arena a = {0};
	uint8_t *p[200];
	for (size_t i = 0; i < HN_COUNT(p); i++) {
		p[i] = arena_alloc(&a, 1 + i * 5);
		memset(p[i], (int)i, 1 + i * 5);
	}
	for (size_t i = 0; i < HN_COUNT(p); i++)
		for (size_t k = 0; k < 1 + i * 5; k++)
			assert_int_equal(p[i][k], i);
	arena_release(&a);
	assert_null(a.blocks);
}

static void test_arena_text(void **state)
{
	(void)state;
	struct arena a = {0};
	assert_string_equal(arena_strndup(&a, "abcdef", 3), "abc");
	assert_string_equal(arena_strndup(&a, "ab", 99), "ab");
	assert_string_equal(arena_strndup(&a, "", 0), "");
	assert_string_equal(arena_printf(&a, "%d-%s", 5, "x"), "5-x");
	assert_memory_equal(arena_memdup(&a, "\0\1\2", 3), "\0\1\2", 3);
	assert_non_null(arena_memdup(&a, NULL, 0));
	arena_release(&a);
}

static void test_arena_is_ready_after_release(void **state)
{
	(void)state;
	struct arena a = {0};
	arena_release(&a);
	assert_non_null(arena_alloc(&a, 10000));
	arena_release(&a);
	assert_string_equal(arena_strndup(&a, "again", 5), "again");
	arena_release(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_nothing_is_still_a_pointer),
	    cmocka_unit_test(test_copies_are_equal_and_apart),
	    cmocka_unit_test(test_new_is_zeroed),
	    cmocka_unit_test(test_arena_gives_zeroed_aligned_memory),
	    cmocka_unit_test(test_arena_pieces_do_not_overlap),
	    cmocka_unit_test(test_arena_text),
	    cmocka_unit_test(test_arena_is_ready_after_release),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
