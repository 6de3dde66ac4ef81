/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct {
	enum err code;
	unsigned number;
} rows[] = {
#define X(code, num, name, exit, http, text) {code, num},
    ERR_LIST(X)
#undef X
};

#define NROWS (sizeof(rows) / sizeof(rows[0]))

static void test_numbers_count_up_from_zero(void **state)
{
	(void)state;
	for (size_t i = 0; i < NROWS; i++) {
		assert_int_equal(rows[i].number, i);
		assert_int_equal(rows[i].code, i);
		assert_int_equal(err_from_wire(i), rows[i].code);
	}
}

static void test_names_are_unique_and_lead_back(void **state)
{
	(void)state;
	for (size_t i = 0; i < NROWS; i++) {
		const char *name = err_name(rows[i].code);
		assert_int_equal(err_from_name(name), rows[i].code);
		assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz-"),
				 strlen(name));
	}
}

static void test_rows_are_complete(void **state)
{
	(void)state;
	for (size_t i = 0; i < NROWS; i++) {
		const enum err e = rows[i].code;
		assert_true(strlen(err_str(e)) > 3);
		assert_int_equal(err_exit(e) == 0, e == OK);
		assert_true(err_exit(e) >= 0 && err_exit(e) < 256);
		assert_true(err_http(e) >= 200 && err_http(e) < 600);
		assert_int_equal(err_http(e) < 400, e == OK);
	}
}

static void test_unknown_reads_as_internal(void **state)
{
	(void)state;
	assert_int_equal(err_from_wire(NROWS), ERR_INTERNAL);
	assert_int_equal(err_from_wire(~0ull), ERR_INTERNAL);
	assert_int_equal(err_from_name("no such name"), ERR_INTERNAL);
	assert_string_equal(err_name((enum err)9999), "internal");
	assert_int_equal(err_exit((enum err)9999), 70);
	assert_int_equal(err_http((enum err)9999), 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_numbers_count_up_from_zero),
	    cmocka_unit_test(test_names_are_unique_and_lead_back),
	    cmocka_unit_test(test_rows_are_complete),
	    cmocka_unit_test(test_unknown_reads_as_internal),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
