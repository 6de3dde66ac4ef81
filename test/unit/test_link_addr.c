/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rpc/link_addr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void same_again(const char *host, const char *shown)
{
	struct link_addr a;
	struct buf b = {0};

	assert_true(link_addr_parse(host, &a));
	assert_int_equal(a.port, 0);
	a.port = 7450;
	link_addr_str(&a, &b);
	assert_string_equal(buf_str(&b), shown);
	buf_release(&b);
}

static void test_shown_as_parsed(void **state)
{
	(void)state;
	same_again("192.0.2.7", "192.0.2.7:7450");
	same_again("2001:db8::1", "[2001:db8::1]:7450");
	same_again("[2001:db8::1]", "[2001:db8::1]:7450");
	/* A link-local address means nothing without its interface. */
	same_again("fe80::1%lo", "[fe80::1%lo]:7450");
	same_again("[fe80::1%lo]", "[fe80::1%lo]:7450");
}

static void test_no_address(void **state)
{
	static const char *const none[] = {
	    "",		"1.2.3",	   "1.2.3.4.5",	 "::g",		"[::1",
	    "fe80::1%", "fe80::1%no-such", "1.2.3.4%lo", "node.example"};
	struct link_addr a;

	(void)state;
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		assert_false(link_addr_parse(none[i], &a));
}

static void test_loopback(void **state)
{
	struct link_addr a;

	(void)state;
	assert_true(link_addr_parse("127.8.0.1", &a));
	assert_true(link_addr_is_loopback(&a));
	assert_true(link_addr_parse("::1", &a));
	assert_true(link_addr_is_loopback(&a));
	assert_true(link_addr_parse("192.0.2.1", &a));
	assert_false(link_addr_is_loopback(&a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_shown_as_parsed),
	    cmocka_unit_test(test_no_address),
	    cmocka_unit_test(test_loopback),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
