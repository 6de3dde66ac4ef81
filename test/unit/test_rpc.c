/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Calls, deadlines, caps and the life of rpc; two ends over a hub in memory. */
#include "rpc/rpc.h"

#include "node/base/mem.h"
#include "rpc/frame.h"
#include "test/support/fake_hub.h"
#include "test/support/rpc_net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_call_gets_its_reply(void **state)
{
	struct net *n = *state;
	struct side d = {0};
	const struct num2 q = {.v = 41, .text = (char *)"hello", .more = 5};

	assert_int_equal(net_call(n, "t.add", &q, 0, &d), OK);
	assert_int_equal(d.ends, 0);
	net_until(n, &d.ends, 1);
	assert_int_equal(d.e, OK);
	assert_true(d.got_reply);
	assert_int_equal(d.v, 42);
	assert_int_equal(n->served, 1);
	assert_int_equal(rpc_counters(n->a)->calls_out, 1);
	assert_int_equal(rpc_counters(n->b)->calls_in, 1);
	net_quiet(n);
}

static void test_small_calls_of_a_round_share_a_record(void **state)
{
	struct net *n = *state;
	struct side d[50] = {0};
	const struct num2 q = {.v = 1};

	for (size_t i = 0; i < HN_COUNT(d); i++)
		assert_int_equal(net_call(n, "t.add", &q, 0, &d[i]), OK);
	net_until(n, &n->ended, HN_COUNT(d));
	assert_int_equal(fake_session_stats(n->s).records, 1);
	net_quiet(n);
}

static void test_errors_come_typed_with_their_text(void **state)
{
	struct net *n = *state;
	struct side d = {0}, plain = {0};
	struct num q = {.v = ERR_DEVICE, .text = (char *)"fan 3 stands"};

	assert_int_equal(net_call(n, "t.fail", &q, 0, &d), OK);
	q = (struct num){.v = ERR_EXPIRED, .text = (char *)""};
	assert_int_equal(net_call(n, "t.fail", &q, 0, &plain), OK);
	net_until(n, &n->ended, 2);
	assert_int_equal(d.e, ERR_DEVICE);
	assert_string_equal(d.text, "fan 3 stands");
	assert_false(d.got_reply);
	assert_int_equal(plain.e, ERR_EXPIRED);
	assert_true(plain.no_text);
	assert_int_equal(rpc_counters(n->a)->errors_in, 2);
}

static void test_long_text_is_cut(void **state)
{
	struct net *n = *state;
	struct side d = {0};
	char text[301];
	const struct num q = {.v = ERR_INPUT, .text = text};

	memset(text, 'x', 300);
	text[300] = 0;
	assert_int_equal(net_call(n, "t.fail", &q, 0, &d), OK);
	net_until(n, &d.ends, 1);
	assert_int_equal(strlen(d.text), FRAME_TEXT_MAX);
}

static void test_unknown_method_is_said_cleanly(void **state)
{
	struct net *n = *state;
	struct side d = {0}, e = {0};
	const struct num2 q = {.v = 1};

	assert_int_equal(net_call(n, "t.nowhere", NULL, 0, &d), ERR_NOMETHOD);
	assert_int_equal(net_call(n, "t.future", NULL, 0, &d), OK);
	net_until(n, &d.ends, 1);
	assert_int_equal(d.e, ERR_NOMETHOD);
	assert_string_equal(d.text, "no method t.future here");
	assert_int_equal(rpc_counters(n->b)->unknown_method, 1);
	/* The session lives. */
	assert_int_equal(net_call(n, "t.add", &q, 0, &e), OK);
	net_until(n, &e.ends, 1);
	assert_int_equal(e.e, OK);
}

static void test_denied_before_serving(void **state)
{
	struct net *n = *state;
	struct side d = {0};

	n->denied_says = true;
	assert_int_equal(net_call(n, "t.owner", NULL, 0, &d), OK);
	net_until(n, &d.ends, 1);
	assert_int_equal(d.e, ERR_DENIED);
	assert_string_equal(d.text, "only the owner");
	assert_int_equal(n->served, 0);
	assert_int_equal(rpc_counters(n->b)->denied, 1);
}

static void test_cancel_reaches_the_callee(void **state)
{
	struct net *n = *state;
	struct side d = {0};

	assert_int_equal(net_call(n, "t.wait", NULL, 0, &d), OK);
	net_settle(n);
	assert_non_null(n->callee.st);
	API((rpc_cancel(d.st), 0));
	net_until(n, &n->callee.ends, 1);
	assert_int_equal(n->callee.e, ERR_CANCELED);
	net_settle(n);
	assert_int_equal(d.ends, 0); /* who cancels hears nothing */
	net_quiet(n);
}

static void test_a_call_keeps_both_sides_awake(void **state)
{
	struct net *n = *state;
	struct side d = {0};

	assert_int_equal(net_call(n, "t.wait", NULL, 0, &d), OK);
	net_settle(n);
	/* Who serves notices a silent caller as soon as the other way round. */
	assert_int_equal(fake_session_stats(n->s).outstanding, 1);
	assert_int_equal(fake_session_stats(net_callee(n)).outstanding, 1);
	API((rpc_cancel(d.st), 0));
	net_until(n, &n->callee.ends, 1);
	assert_int_equal(fake_session_stats(net_callee(n)).outstanding, 0);
}

static void test_cancel_before_anything_was_sent(void **state)
{
	struct net *n = *state;
	struct side d = {0}, e = {0};
	uint8_t *data = xcalloc(1, 200000);
	const struct blob big = {{data, 199000}};
	const struct num2 q = {.v = 1};

	fake_session_stall(n->s, true);
	assert_int_equal(net_call(n, "t.echo", &big, 0, &d), OK);
	API((rpc_cancel(d.st), 0));
	assert_int_equal(net_call(n, "t.echo", &big, 0, &d), OK);
	net_settle(n); /* part of it is with the session */
	API((rpc_cancel(d.st), 0));
	fake_session_stall(n->s, false);
	assert_int_equal(net_call(n, "t.add", &q, 0, &e), OK);
	net_until(n, &e.ends, 1);
	assert_int_equal(e.e, OK);
	assert_int_equal(d.ends, 0);
	net_settle(n);
	net_quiet(n);
	free(data);
}

static void test_cancel_and_fail_inside_callbacks(void **state)
{
	struct net *n = *state;
	struct side d = {.cancel_in_chunk = true};
	struct side up = {.send_left = 200000, .chunk = 10000};
	const struct num q = {.v = 1000000};

	assert_int_equal(net_call(n, "t.down", &q, 0, &d), OK);
	net_until(n, &n->callee.ends, 1);
	assert_int_equal(n->callee.e, ERR_CANCELED);
	assert_int_equal(d.chunks, 1);
	assert_int_equal(d.ends, 0);

	n->callee = (struct side){.fail_in_chunk = true};
	assert_int_equal(net_call(n, "t.wait", NULL, 0, &up), OK);
	side_feed(&up);
	net_until(n, &up.ends, 1);
	assert_int_equal(up.e, ERR_DEVICE);
	assert_string_equal(up.text, "chip 3");
	assert_int_equal(n->callee.chunks, 1);
	assert_int_equal(n->callee.ends, 0);
	net_settle(n);
	net_quiet(n);
}

static void test_end_crosses_a_cancel(void **state)
{
	struct net *n = *state;
	struct side d = {0};
	const struct num r = {.v = 1};

	assert_int_equal(net_call(n, "t.wait", NULL, 0, &d), OK);
	net_settle(n);
	API((rpc_reply(n->callee.st, &r), 0));
	API((rpc_cancel(d.st), 0));
	net_settle(n);
	assert_int_equal(d.ends, 0);
	assert_int_equal(n->callee.ends, 0);
	assert_non_null(n->s);
	assert_true(session_is_up(n->s));
	net_quiet(n);
}

static void test_deadline_ends_both_sides(void **state)
{
	struct net *n = *state;
	struct side d = {0};

	assert_int_equal(net_call(n, "t.wait", NULL, 200, &d), OK);
	net_settle(n);
	assert_non_null(n->callee.st);
	net_until(n, &d.ends, 1);
	net_until(n, &n->callee.ends, 1);
	assert_int_equal(d.e, ERR_TIMEOUT);
	assert_int_equal(n->callee.e, ERR_TIMEOUT);
	net_settle(n);
	net_quiet(n);
}

static void test_callee_keeps_the_deadline_alone(void **state)
{
	struct net *n = *state;
	struct side d = {0};

	/* The caller's cancel never arrives. */
	assert_int_equal(net_call(n, "t.wait", NULL, 200, &d), OK);
	net_settle(n);
	fake_session_stall(n->s, true);
	net_until(n, &n->callee.ends, 1);
	assert_int_equal(n->callee.e, ERR_TIMEOUT);
	net_until(n, &d.ends, 1);
	assert_int_equal(d.e, ERR_TIMEOUT);
	fake_session_stall(n->s, false);
	net_settle(n);
	net_quiet(n);
}

static void test_deadlines_in_any_order(void **state)
{
	struct net *n = *state;
	struct side d[5] = {0};
	static const uint32_t ms[] = {600000, 5, 40, 1, 20};

	for (int i = 0; i < 5; i++)
		assert_int_equal(net_call(n, "t.mute", NULL, ms[i], &d[i]), OK);
	net_until(n, &n->ended, 4);
	for (int i = 1; i < 5; i++)
		assert_int_equal(d[i].e, ERR_TIMEOUT);
	assert_int_equal(d[0].ends, 0);
	assert_int_equal(rpc_counters(n->a)->deadline, 4);
	API((rpc_cancel(d[0].st), 0));
	net_settle(n);
	net_quiet(n);
}

static void test_callee_without_ops_answers_late(void **state)
{
	struct net *n = *state;
	struct side d = {0};
	const struct num r = {.v = 1};

	assert_int_equal(net_call(n, "t.mute", NULL, 0, &d), OK);
	net_settle(n);
	API((rpc_cancel(d.st), 0));
	net_settle(n);
	assert_null(rpc_stream_session(n->mute[0]));
	net_quiet(n);
	API((rpc_reply(n->mute[--n->nmute], &r), 0)); /* frees it: no leak */
	/* And one that asks only now: its end comes. */
	assert_int_equal(net_call(n, "t.mute", NULL, 0, &d), OK);
	net_settle(n);
	API((rpc_cancel(d.st), 0));
	net_settle(n);
	API((rpc_serve(n->mute[--n->nmute], &side_ops, &n->callee), 0));
	net_until(n, &n->callee.ends, 1);
	assert_int_equal(n->callee.e, ERR_CANCELED);
}

static void test_busy_at_the_method_cap(void **state)
{
	struct net *n = *state;
	struct side d[3] = {0};

	for (int i = 0; i < 3; i++)
		assert_int_equal(net_call(n, "t.two", NULL, 0, &d[i]), OK);
	net_until(n, &n->ended, 1);
	assert_int_equal(d[2].e, ERR_BUSY);
	assert_int_equal(rpc_counters(n->b)->busy, 1);
	/* A place that is free again is used. */
	API((rpc_fail(n->mute[--n->nmute], ERR_GONE, "enough"), 0));
	net_until(n, &n->ended, 2);
	d[2] = (struct side){0};
	assert_int_equal(net_call(n, "t.two", NULL, 0, &d[2]), OK);
	net_settle(n);
	assert_int_equal(d[2].ends, 0);
	for (int i = 0; i < 3; i++) {
		if (!d[i].ends)
			API((rpc_cancel(d[i].st), 0));
	}
	net_settle(n);
}

static void test_canceled_calls_still_served_count(void **state)
{
	struct net *n = *state;
	struct side d = {0};

	/* Opened and canceled again and again, while the callee is at it. */
	for (int i = 0; i < 3; i++) {
		assert_int_equal(net_call(n, "t.two", NULL, 0, &d), OK);
		net_settle(n);
		if (!d.ends)
			API((rpc_cancel(d.st), 0));
		net_settle(n);
	}
	assert_int_equal(n->nmute, 2);
	assert_int_equal(d.e, ERR_BUSY);
	API((rpc_reply(n->mute[--n->nmute], NULL), 0));
	d = (struct side){0};
	assert_int_equal(net_call(n, "t.two", NULL, 0, &d), OK);
	net_settle(n);
	assert_int_equal(n->nmute, 2);
	API((rpc_cancel(d.st), 0));
	net_settle(n);
}

static void test_busy_at_the_session_cap(void **state)
{
	struct net *n = *state;
	struct side *d = xcalloc(1501, sizeof(*d));
	const struct num2 q = {.v = 1};
	enum err e = OK;
	int i;

	for (i = 0; i < 1500; i++)
		assert_int_equal(net_call(n, "t.add", &q, 0, &d[i]), OK);
	e = net_call(n, "t.add", &q, 0, &d[i]);
	assert_int_equal(e, ERR_BUSY);
	net_until(n, &n->ended, 1500);
	assert_int_equal(d[1500].ends, 0);
	net_quiet(n);
	free(d);
}

static void test_a_thousand_calls_at_once(void **state)
{
	struct net *n = *state;
	struct side *d = xcalloc(1000, sizeof(*d));

	for (int i = 0; i < 1000; i++) {
		const struct num2 q = {.v = (uint64_t)i};
		assert_int_equal(net_call(n, "t.add", &q, 5000, &d[i]), OK);
	}
	net_until(n, &n->ended, 1000);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(d[i].e, OK);
		assert_int_equal(d[i].v, i + 1);
	}
	assert_int_equal(n->served, 1000);
	net_quiet(n);
	free(d);
}

static void test_calls_both_ways_on_one_session(void **state)
{
	struct net *n = *state;
	struct side d = {0}, back = {.count = &n->ended};
	const struct num2 q = {.v = 1};
	const struct num p = {.v = 10};

	assert_int_equal(net_call(n, "t.add", &q, 0, &d), OK);
	assert_int_equal(TRY(rpc_call(n->b, net_callee(n), "t.add", &p, 0,
				      &side_ops, &back, NULL)),
			 OK);
	net_until(n, &n->ended, 2);
	assert_int_equal(d.v, 2);
	assert_int_equal(back.v, 11);
}

static void test_lost_session_ends_all_its_streams(void **state)
{
	struct net *n = *state;
	struct side d[3] = {0};

	assert_int_equal(net_call(n, "t.wait", NULL, 0, &d[0]), OK);
	assert_int_equal(net_call(n, "t.mute", NULL, 1000, &d[1]), OK);
	net_settle(n);
	assert_int_equal(net_call(n, "t.wait", NULL, 0, &d[2]), OK);
	struct session *s = n->s;
	fake_session_cut(s);
	struct side late = {0};
	assert_int_equal(net_call(n, "t.wait", NULL, 0, &late), ERR_GONE);
	net_until(n, &n->downs, 2);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(d[i].ends, 1);
		assert_int_equal(d[i].e, ERR_GONE);
	}
	assert_int_equal(n->callee.ends, 1);
	assert_int_equal(n->callee.e, ERR_GONE);
	assert_int_equal(TRY(rpc_call(n->a, NULL, "t.wait", NULL, 0, &side_ops,
				      &late, NULL)),
			 ERR_GONE);
}

static void test_retiring_session_ends_with_its_last_stream(void **state)
{
	struct net *n = *state;
	struct side d = {0}, e = {0};
	const struct num r = {.v = 4};

	assert_int_equal(net_call(n, "t.wait", NULL, 0, &d), OK);
	net_settle(n);
	fake_session_retire(n->s);
	assert_int_equal(net_call(n, "t.wait", NULL, 0, &e), ERR_GONE);
	net_settle(n);
	assert_int_equal(n->downs, 0);
	API((rpc_reply(n->callee.st, &r), 0));
	net_until(n, &d.ends, 1);
	assert_int_equal(d.e, OK);
	net_until(n, &n->downs, 2);
}

static void test_idle_session_that_retires_is_closed(void **state)
{
	struct net *n = *state;
	struct session *old = n->s;

	fake_hub_join(rpc_hub(n->a), rpc_hub(n->b));
	net_settle(n);
	assert_ptr_not_equal(n->s, old);
	fake_session_retire(old);
	net_until(n, &n->downs, 2);
	assert_true(session_is_up(n->s));
}

static void test_stop_ends_streams(void **state)
{
	struct net *n = *state;
	struct side d = {0};

	assert_int_equal(net_call(n, "t.wait", NULL, 0, &d), OK);
	net_settle(n);
	rpc_stop(n->b, net_on_stopped, n);
	net_until(n, &n->stopped, 1);
	net_until(n, &d.ends, 1);
	assert_int_equal(d.e, ERR_GONE);
	assert_int_equal(n->callee.ends, 1);
	n->stopped = 0;
	n->b = net_rpc(n, callee_rows); /* for the teardown */
}

static void count_row(const struct rpc_method *m, void *arg)
{
	int *count = arg;
	assert_non_null(m->name);
	++*count;
}

static void test_table_can_be_walked(void **state)
{
	struct net *n = *state;
	int count = 0;

	rpc_methods_each(n->b, count_row, &count);
	assert_int_equal(count, callee_rows_count);
	assert_ptr_equal(rpc_method_find(n->b, "t.add"), &callee_rows[0]);
	assert_null(rpc_method_find(n->b, "t.future"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, net_setup, net_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_call_gets_its_reply),
	    T(test_small_calls_of_a_round_share_a_record),
	    T(test_errors_come_typed_with_their_text),
	    T(test_long_text_is_cut),
	    T(test_unknown_method_is_said_cleanly),
	    T(test_denied_before_serving),
	    T(test_cancel_reaches_the_callee),
	    T(test_a_call_keeps_both_sides_awake),
	    T(test_cancel_before_anything_was_sent),
	    T(test_cancel_and_fail_inside_callbacks),
	    T(test_end_crosses_a_cancel),
	    T(test_deadline_ends_both_sides),
	    T(test_callee_keeps_the_deadline_alone),
	    T(test_deadlines_in_any_order),
	    T(test_callee_without_ops_answers_late),
	    T(test_busy_at_the_method_cap),
	    T(test_canceled_calls_still_served_count),
	    T(test_busy_at_the_session_cap),
	    T(test_a_thousand_calls_at_once),
	    T(test_calls_both_ways_on_one_session),
	    T(test_lost_session_ends_all_its_streams),
	    T(test_retiring_session_ends_with_its_last_stream),
	    T(test_idle_session_that_retires_is_closed),
	    T(test_stop_ends_streams),
	    T(test_table_can_be_walked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
