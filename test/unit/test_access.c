/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who may call what: every right against every kind of session. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "node/mesh/access.h"

static enum err ask(enum session_kind kind, enum rpc_right right, bool granted,
		    bool excluded)
{
	const struct rpc_method m = {
	    .name = "x.y", .right = right, .cap = "hash/sha256d"};
	const struct access_facts f = {kind, excluded, granted};
	struct buf why = {0};

	enum err e = access_rule(&f, &m, &why);
	assert_true(e == OK || (e == ERR_DENIED && why.n));
	buf_release(&why);
	return e;
}

static void test_the_control_socket_may_all_but_enrol(void **state)
{
	(void)state;
	assert_int_equal(ask(SESSION_CONTROL, RIGHT_OWNER, false, false), OK);
	assert_int_equal(ask(SESSION_CONTROL, RIGHT_MEMBER, false, false), OK);
	assert_int_equal(ask(SESSION_CONTROL, RIGHT_GRANTED, false, false), OK);
	assert_int_equal(ask(SESSION_CONTROL, RIGHT_INVITED, false, false),
			 ERR_DENIED);
}

static void test_members_have_no_owners_right(void **state)
{
	static const enum session_kind kinds[] = {SESSION_PEER,
						  SESSION_OLD_KEY};

	(void)state;
	for (size_t i = 0; i < HN_COUNT(kinds); i++) {
		enum session_kind k = kinds[i];
		assert_int_equal(ask(k, RIGHT_OWNER, true, false), ERR_DENIED);
		assert_int_equal(ask(k, RIGHT_INVITED, true, false),
				 ERR_DENIED);
		assert_int_equal(ask(k, RIGHT_MEMBER, false, false), OK);
		assert_int_equal(ask(k, RIGHT_GRANTED, true, false), OK);
		assert_int_equal(ask(k, RIGHT_GRANTED, false, false),
				 ERR_DENIED);
	}
}

static void test_the_left_out_may_nothing(void **state)
{
	(void)state;
	for (int r = RIGHT_OWNER; r <= RIGHT_INVITED; r++)
		assert_int_equal(
		    ask(SESSION_PEER, (enum rpc_right)r, true, true),
		    ERR_DENIED);
}

static void test_an_invite_may_only_enrol(void **state)
{
	(void)state;
	assert_int_equal(ask(SESSION_INVITED, RIGHT_OWNER, true, false),
			 ERR_DENIED);
	assert_int_equal(ask(SESSION_INVITED, RIGHT_MEMBER, true, false),
			 ERR_DENIED);
	assert_int_equal(ask(SESSION_INVITED, RIGHT_GRANTED, true, false),
			 ERR_DENIED);
	assert_int_equal(ask(SESSION_INVITED, RIGHT_INVITED, false, false), OK);
}

static void test_a_row_without_a_right_is_the_owners(void **state)
{
	const struct rpc_method m = {.name = "x.y"};

	(void)state;
	assert_int_equal(m.right, RIGHT_OWNER);
	assert_string_equal(right_str(m.right), "owner");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_the_control_socket_may_all_but_enrol),
	    cmocka_unit_test(test_members_have_no_owners_right),
	    cmocka_unit_test(test_the_left_out_may_nothing),
	    cmocka_unit_test(test_an_invite_may_only_enrol),
	    cmocka_unit_test(test_a_row_without_a_right_is_the_owners),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
