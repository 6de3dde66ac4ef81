/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Streams, sizes, credit and hostile frames; two ends over a hub in memory. */
#include "rpc/chan.h"

#include "node/base/mem.h"
#include "rpc/frame.h"
#include "test/support/fake_hub.h"
#include "test/support/rpc_net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_long_messages_are_put_together(void **state)
{
	struct net *n = *state;
	static const size_t sizes[] = {0,     1,     16000,  FRAME_PAYLOAD,
				       16500, 65536, 150000, 199990};
	uint8_t *data = xcalloc(1, 200000);

	for (size_t i = 0; i < HN_COUNT(sizes); i++) {
		struct side d = {0};
		const struct blob q = {{data, sizes[i]}};
		assert_int_equal(net_call(n, "t.echo", &q, 0, &d), OK);
		net_until(n, &d.ends, 1);
		assert_int_equal(d.e, OK);
		assert_true(d.got_reply);
	}
	assert_true(fake_session_stats(n->s).biggest_record <= SESSION_RECORD);
	net_quiet(n);
	free(data);
}

static void test_oversized_request_is_refused_on_both_sides(void **state)
{
	struct net *n = *state;
	struct side d = {0}, one = {0}, many = {0}, after = {0};
	uint8_t *data = xcalloc(1, 300000);
	struct blob q = {{data, 250000}};
	const struct num2 p = {.v = 1};

	assert_int_equal(net_call(n, "t.echo", &q, 0, &d), ERR_LIMIT);
	q.data.n = 1100; /* in one frame */
	assert_int_equal(net_call(n, "t.small", &q, 0, &one), OK);
	q.data.n = 90000; /* in many */
	assert_int_equal(net_call(n, "t.small", &q, 0, &many), OK);
	net_until(n, &n->ended, 2);
	assert_int_equal(one.e, ERR_LIMIT);
	assert_int_equal(many.e, ERR_LIMIT);
	assert_int_equal(n->served, 0);
	assert_int_equal(net_call(n, "t.add", &p, 0, &after), OK);
	net_until(n, &after.ends, 1);
	assert_int_equal(after.e, OK);
	net_quiet(n);
	free(data);
}

static void test_oversized_chunk_ends_the_stream(void **state)
{
	struct net *n = *state;
	uint8_t *data = xcalloc(1, 300000);
	struct blob b = {{data, 0}};

	for (int many = 0; many < 2; many++) {
		struct side d = {0};
		n->callee = (struct side){0};
		n->ended = 0;
		assert_int_equal(net_call(n, "t.small", &b, 0, &d), OK);
		net_settle(n);
		struct blob c = {{data, 200000}};
		assert_int_equal(TRY(rpc_send(d.st, &c)), ERR_LIMIT);
		c.data.n = many ? 90000 : 1100;
		assert_int_equal(TRY(rpc_send(d.st, &c)), OK);
		net_until(n, &d.ends, 1);
		assert_int_equal(d.e, ERR_LIMIT);
		assert_int_equal(n->callee.ends, 1);
		assert_int_equal(n->callee.e, ERR_LIMIT);
		assert_int_equal(n->callee.chunks, 0);
		net_settle(n);
		net_quiet(n);
	}
	free(data);
}

static void test_oversized_reply_is_an_error_at_both(void **state)
{
	struct net *n = *state;
	struct side d = {0}, e = {0};
	uint8_t *data = xcalloc(1, 300000);
	struct blob b = {{data, 250000}};

	/* Over the callee's own cap: it says so. */
	assert_int_equal(net_call(n, "t.bigreply", NULL, 0, &d), OK);
	net_settle(n);
	API((rpc_reply(n->mute[--n->nmute], &b), 0));
	net_until(n, &d.ends, 1);
	assert_int_equal(d.e, ERR_LIMIT);
	/* Over the caller's. */
	assert_int_equal(net_call(n, "t.bigreply", NULL, 0, &e), OK);
	net_settle(n);
	b.data.n = 150000;
	API((rpc_reply(n->mute[--n->nmute], &b), 0));
	net_until(n, &e.ends, 1);
	assert_int_equal(e.e, ERR_LIMIT);
	net_settle(n);
	net_quiet(n);
	free(data);
}

static void test_stream_down_arrives_whole_and_bounded(void **state)
{
	struct net *n = *state;
	static const size_t chunks[] = {100, 1000, 16000, 65536};

	for (size_t i = 0; i < HN_COUNT(chunks); i++) {
		struct side d = {0};
		const struct num q = {.v = 5000000};
		n->callee = (struct side){.chunk = chunks[i]};
		assert_int_equal(net_call(n, "t.down", &q, 0, &d), OK);
		net_until(n, &d.ends, 1);
		assert_int_equal(d.e, OK);
		assert_int_equal(d.v, 77);
		assert_int_equal(d.bytes, 5000000);
	}
	const struct fake_stats st = fake_session_stats(net_callee(n));
	assert_true(st.most_queued < 2 * FRAME_WINDOW);
	net_quiet(n);
}

static void test_stream_up_arrives_whole(void **state)
{
	struct net *n = *state;
	struct side d = {
	    .send_left = 3000000, .chunk = 16000, .end_when_sent = true};
	const struct num r = {.v = 9};

	assert_int_equal(net_call(n, "t.wait", NULL, 0, &d), OK);
	side_feed(&d);
	net_until(n, &n->callee.eofs, 1);
	assert_int_equal(n->callee.bytes, 3000000);
	API((rpc_reply(n->callee.st, &r), 0));
	net_until(n, &d.ends, 1);
	assert_int_equal(d.v, 9);
	assert_true(d.rooms > 0);
	net_quiet(n);
}

static void test_held_stream_stops_its_sender(void **state)
{
	struct net *n = *state;
	struct side d = {0};
	const struct num q = {.v = 5000000};

	n->callee.chunk = 10000;
	assert_int_equal(net_call(n, "t.down", &q, 0, &d), OK);
	API((rpc_hold(d.st, true), 0));
	net_settle(n);
	net_settle(n);
	/* The window and not more. */
	assert_true(d.bytes <= FRAME_WINDOW);
	assert_true(d.bytes > FRAME_WINDOW - 20000);
	assert_int_equal(d.ends, 0);
	API((rpc_hold(d.st, false), 0));
	net_until(n, &d.ends, 1);
	assert_int_equal(d.bytes, 5000000);
}

static void test_stalled_link_stops_the_sender_and_goes_on(void **state)
{
	struct net *n = *state;
	struct side d = {0};
	const struct num q = {.v = 5000000};
	struct session *s = net_callee(n);

	fake_session_stall(s, true);
	assert_int_equal(net_call(n, "t.down", &q, 0, &d), OK);
	net_settle(n);
	assert_int_equal(d.bytes, 0);
	assert_true(session_queued(s) <= SESSION_HIGH + FRAME_CHUNK_MAX);
	assert_true(n->callee.send_left > 4000000);
	fake_session_stall(s, false);
	net_until(n, &d.ends, 1);
	assert_int_equal(d.bytes, 5000000);
}

static void test_no_room_after_the_last_chunk(void **state)
{
	struct net *n = *state;
	struct side d = {.send_left = 300000, .chunk = 16000};
	struct session *s = net_callee(n);
	const struct num q = {.v = 300000}, r = {.v = 5};
	struct side down = {0};

	/* The link is full: both wait for room, and then say their last. */
	fake_session_stall(n->s, true);
	assert_int_equal(net_call(n, "t.wait", NULL, 0, &d), OK);
	side_feed(&d);
	assert_true(d.send_left > 0);
	API((rpc_send_end(d.st), 0));
	fake_session_stall(n->s, false);
	net_until(n, &n->callee.eofs, 1);
	assert_int_equal(d.rooms, 0);
	API((rpc_cancel(d.st), 0));
	net_settle(n);

	n->callee = (struct side){0};
	fake_session_stall(s, true);
	assert_int_equal(net_call(n, "t.down", &q, 0, &down), OK);
	net_settle(n);
	assert_true(n->callee.send_left > 0);
	API((rpc_reply(n->callee.st, &r), 0));
	fake_session_stall(s, false);
	net_until(n, &down.ends, 1);
	assert_int_equal(down.v, 5);
	assert_int_equal(n->callee.rooms, 0);
	net_quiet(n);
}

static void test_small_call_passes_by_a_bulk_stream(void **state)
{
	struct net *n = *state;
	struct side bulk = {.send_left = 1000000, .chunk = 16000};
	struct side d = {.watch = &n->callee.bytes};
	const struct num2 q = {.v = 1};

	assert_int_equal(net_call(n, "t.wait", NULL, 0, &bulk), OK);
	net_settle(n);
	side_feed(&bulk);
	const size_t before = session_queued(n->s);
	assert_true(before > SESSION_LOW);
	assert_int_equal(net_call(n, "t.add", &q, 0, &d), OK);
	/* It is with the session, not behind what bulk has to send. */
	assert_true(session_queued(n->s) > before);
	net_until(n, &d.ends, 1);
	assert_true(d.seen > 0);
	assert_true(d.seen <= FRAME_WINDOW);
	API((rpc_cancel(bulk.st), 0));
	net_settle(n);
	net_quiet(n);
}

static void test_bulk_streams_share_the_link(void **state)
{
	struct net *n = *state;
	struct side d[4] = {0};
	uint8_t *data = xcalloc(1, 200000);
	const struct blob big = {{data, 199000}};

	/* Long requests beside each other end together, not one by one. */
	for (int i = 0; i < 4; i++)
		assert_int_equal(net_call(n, "t.echo", &big, 0, &d[i]), OK);
	net_until(n, &n->ended, 4);
	for (int i = 0; i < 4; i++)
		assert_int_equal(d[i].e, OK);
	net_quiet(n);
	free(data);
}

/* Bytes as a peer of ours would not send them. */

static size_t raw(uint8_t *out, unsigned kind, unsigned flags, uint32_t stream,
		  const void *p, size_t n)
{
	frame_header(out, (enum frame_kind)kind, flags, stream, n);
	if (n)
		memcpy(out + FRAME_HEADER, p, n);
	return FRAME_HEADER + n;
}

static size_t raw_open(uint8_t *out, unsigned flags, uint32_t stream,
		       const char *method, const void *request, size_t n)
{
	struct frame_open o = {.credit = FRAME_WINDOW, .body = {request, n}};
	struct buf b = {0};

	strncpy(o.name, method, FRAME_NAME_MAX);
	frame_open_pack(&o, &b);
	const size_t len = raw(out, FRAME_OPEN, flags, stream, b.p, b.n);
	buf_release(&b);
	return len;
}

static void test_garbage_closes_the_session(void **state)
{
	struct net *n = *state;
	uint8_t rec[512];
	struct side d = {0};
	size_t len;

	/* Each of these on a session of its own. */
	for (int i = 0; i < 11; i++) {
		struct session *s = net_callee(n);
		const int downs = n->downs;

		assert_int_equal(net_call(n, "t.wait", NULL, 0, &d), OK);
		net_settle(n); /* stream 1 is open */
		switch (i) {
		case 0: /* noise */
			memset(rec, 0xee, sizeof(rec));
			len = sizeof(rec);
			break;
		case 1: /* cut header */
			len = raw(rec, FRAME_DATA, 0, 1, "x", 1) - 5;
			break;
		case 2: /* a stream never opened */
			len = raw(rec, FRAME_DATA, 0, 99, "x", 1);
			break;
		case 3: /* a number of the other side */
			len = raw_open(rec, 0, 2, "t.wait", "\x90", 1);
			break;
		case 4: /* an open stream's number */
			len = raw_open(rec, 0, 1, "t.wait", "\x90", 1);
			break;
		case 5: /* END from a caller */
			len = raw(rec, FRAME_END, 0, 1, "\x03\0\0\0", 4);
			break;
		case 6: /* an unknown kind that may not be skipped */
			len = raw(rec, 77, 0, 1, "x", 1);
			break;
		case 7: /* a short CREDIT */
			len = raw(rec, FRAME_CREDIT, 0, 1, "xx", 2);
			break;
		case 8: /* DATA after DATA_END */
			len = raw(rec, FRAME_DATA_END, 0, 1, NULL, 0);
			len += raw(rec + len, FRAME_DATA, 0, 1, "x", 1);
			break;
		case 9: /* DATA_END inside a chunk */
			len = raw(rec, FRAME_DATA, FRAME_MORE, 1, "x", 1);
			len += raw(rec + len, FRAME_DATA_END, 0, 1, NULL, 0);
			break;
		default: /* a head that is longer than its frame */
			len = raw(rec, FRAME_OPEN, 0, 3, "\xff", 1);
			break;
		}
		assert_int_equal(fake_session_inject(s, rec, len), ERR_PROTO);
		net_until(n, &n->downs, downs + 2);
		assert_int_equal(d.ends, 1);
		assert_int_equal(d.e, ERR_GONE);
		assert_int_equal(n->callee.ends, 1);
		assert_int_equal(fake_hub_down(rpc_hub(n->b)), ERR_PROTO);
		d = n->callee = (struct side){0};
		fake_hub_join(rpc_hub(n->a), rpc_hub(n->b));
		net_settle(n);
	}
	assert_int_equal(rpc_counters(n->b)->bad_frames, 11);
}

static void test_garbage_at_the_caller_closes_too(void **state)
{
	struct net *n = *state;
	uint8_t rec[512];
	struct side d = {0};
	size_t len;

	for (int i = 0; i < 4; i++) {
		const int downs = n->downs;
		assert_int_equal(net_call(n, "t.wait", NULL, 0, &d), OK);
		net_settle(n);
		switch (i) {
		case 0: /* a call never made */
			len = raw(rec, FRAME_END, 0, 9, "\x03\0\0\0", 4);
			break;
		case 1: /* CANCEL from a callee */
			len = raw(rec, FRAME_CANCEL, 0, 1, "\0\5", 2);
			break;
		case 2: /* a chunk inside the end */
			len = raw(rec, FRAME_END, FRAME_MORE, 1, "\x03\0\0\0x",
				  5);
			len += raw(rec + len, FRAME_DATA, 0, 1, "x", 1);
			break;
		default: /* half a head */
			len = raw(rec, FRAME_END, 0, 1, "\x03\0\0", 3);
			break;
		}
		assert_int_equal(fake_session_inject(n->s, rec, len),
				 ERR_PROTO);
		net_until(n, &n->downs, downs + 2);
		assert_int_equal(d.e, ERR_GONE);
		d = n->callee = (struct side){0};
		fake_hub_join(rpc_hub(n->a), rpc_hub(n->b));
		net_settle(n);
	}
}

static void test_more_than_the_window_closes(void **state)
{
	struct net *n = *state;
	struct side d = {0};
	uint8_t *rec = xcalloc(1, SESSION_RECORD);
	struct buf chunk = {0};
	const struct blob b = {{rec, 16000}};
	enum err e = OK;
	int i;

	assert_int_equal(net_call(n, "t.wait", NULL, 0, &d), OK);
	net_settle(n);
	API((rpc_hold(n->callee.st, true), 0));
	fields_pack(&blob_message, &b, &chunk);
	uint8_t *out = xcalloc(1, SESSION_RECORD);
	for (i = 0; i < 30 && !e; i++) {
		const size_t len = raw(out, FRAME_DATA, 0, 1, chunk.p, chunk.n);
		e = fake_session_inject(net_callee(n), out, len);
	}
	assert_int_equal(e, ERR_PROTO);
	assert_int_equal(i - 1, FRAME_WINDOW / chunk.n);
	net_until(n, &n->downs, 2);
	buf_release(&chunk);
	free(rec);
	free(out);
}

static void test_frames_of_the_future_are_skipped(void **state)
{
	struct net *n = *state;
	uint8_t rec[64];
	struct side d = {0};
	const struct num2 q = {.v = 1};

	size_t len = raw(rec, 77, FRAME_SKIP, 0, "what", 4);
	len += raw(rec + len, 78, FRAME_SKIP | FRAME_MORE, 5, NULL, 0);
	assert_int_equal(fake_session_inject(net_callee(n), rec, len), OK);
	assert_int_equal(net_call(n, "t.add", &q, 0, &d), OK);
	net_until(n, &d.ends, 1);
	assert_int_equal(d.e, OK);
}

static void test_many_small_frames_are_read_slowly(void **state)
{
	struct net *n = *state;
	uint8_t rec[SESSION_RECORD];
	struct session *s = net_callee(n);
	size_t len = 0;

	for (int i = 0; i < 300; i++)
		len += raw(rec + len, 77, FRAME_SKIP, 0, "what", 4);
	assert_int_equal(fake_session_inject(s, rec, len), OK);
	assert_int_equal(fake_session_stats(s).rested_ms, 0);
	n->b->o.small_per_s = 1000;
	assert_int_equal(fake_session_inject(s, rec, len), OK);
	/* It had saved up less than the 300 and owes the rest. */
	assert_in_range(fake_session_stats(s).rested_ms, 1, 301);
	/* Large ones are bounded by credit, and cost nothing here. */
	const double owed = ((struct chan *)session_user(s))->small;
	static const uint8_t big[RPC_SMALL + 1];

	len = raw(rec, 77, FRAME_SKIP, 0, big, sizeof(big));
	for (int i = 0; i < 300; i++)
		assert_int_equal(fake_session_inject(s, rec, len), OK);
	assert_true(((struct chan *)session_user(s))->small >= owed);
}

static void test_late_frames_of_ended_streams_are_dropped(void **state)
{
	struct net *n = *state;
	uint8_t rec[256];
	struct side d = {0};
	const struct num2 q = {.v = 1};

	assert_int_equal(net_call(n, "t.add", &q, 0, &d), OK);
	net_until(n, &d.ends, 1);
	size_t len = raw(rec, FRAME_DATA, 0, 1, "x", 1);
	len += raw(rec + len, FRAME_CANCEL, 0, 1, "\0\5", 2);
	len += raw(rec + len, FRAME_CREDIT, 0, 1, "\0\0\0\1", 4);
	len += raw_open(rec + len, FRAME_MORE, 1, "t.add", "x", 1);
	assert_int_equal(fake_session_inject(net_callee(n), rec, len), OK);
	len = raw(rec, FRAME_END, 0, 1, "\x03\0\0\0", 4);
	assert_int_equal(fake_session_inject(n->s, rec, len), OK);
	assert_true(session_is_up(n->s));
	assert_int_equal(n->served, 1);
}

static void test_bad_fields_end_the_stream_only(void **state)
{
	struct net *n = *state;
	uint8_t rec[256];
	struct side d = {0};

	/* A request that is no array; its END finds no call at a: drop it. */
	fake_session_stall(net_callee(n), true);
	size_t len = raw_open(rec, 0, 1, "t.add", "\xc1", 1);
	assert_int_equal(fake_session_inject(net_callee(n), rec, len), OK);
	assert_int_equal(rpc_streams(n->b, net_callee(n)), 0);
	assert_int_equal(n->served, 0);
	(void)d;
	fake_session_cut(n->s);
	net_until(n, &n->downs, 2);
}

static void test_bad_chunk_fields_end_both(void **state)
{
	struct net *n = *state;
	uint8_t rec[64];
	struct side d = {0};

	assert_int_equal(net_call(n, "t.wait", NULL, 0, &d), OK);
	net_settle(n);
	const size_t len = raw(rec, FRAME_DATA, 0, 1, "\xc1", 1);
	assert_int_equal(fake_session_inject(net_callee(n), rec, len), OK);
	net_until(n, &d.ends, 1);
	assert_int_equal(d.e, ERR_PROTO);
	assert_int_equal(n->callee.ends, 1);
	assert_true(session_is_up(n->s));
	net_settle(n);
	net_quiet(n);
}

static void test_peer_that_never_reads_is_cut_off(void **state)
{
	struct net *n = *state;
	uint8_t rec[128];
	uint32_t number = 1;
	struct session *s = net_callee(n);

	/* Refusals pile up for somebody who only writes. */
	fake_session_stall(s, true);
	for (; session_is_up(s) && number < 4000000; number += 2) {
		const size_t len = raw_open(rec, 0, number, "no.such", "", 0);
		(void)fake_session_inject(s, rec, len);
	}
	assert_false(session_is_up(s));
	assert_true(fake_session_stats(s).most_queued < 5u << 20);
	net_until(n, &n->downs, 2);
}

static void test_replies_wait_for_a_slow_reader(void **state)
{
	struct net *n = *state;
	struct side *d = xcalloc(100, sizeof(*d));
	uint8_t *data = xcalloc(1, 200000);
	const struct blob big = {{data, 100000}};
	struct session *s = net_callee(n);
	int i;

	/* Streams whose END is not sent yet keep their places: busy, and the
	 * memory for replies is bounded by places times size. */
	fake_session_stall(s, true);
	for (i = 0; i < 16; i++)
		assert_int_equal(net_call(n, "t.echo", &big, 0, &d[i]), OK);
	net_settle(n);
	net_settle(n);
	assert_true(rpc_streams(n->b, s) >= 14);
	assert_true(session_queued(s) <= SESSION_HIGH + FRAME_CHUNK_MAX);
	fake_session_stall(s, false);
	net_until(n, &n->ended, 16);
	for (i = 0; i < 16; i++)
		assert_int_equal(d[i].e, OK);
	net_quiet(n);
	free(data);
	free(d);
}

#define T(name) cmocka_unit_test_setup_teardown(name, net_setup, net_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_long_messages_are_put_together),
	    T(test_oversized_request_is_refused_on_both_sides),
	    T(test_oversized_chunk_ends_the_stream),
	    T(test_oversized_reply_is_an_error_at_both),
	    T(test_stream_down_arrives_whole_and_bounded),
	    T(test_stream_up_arrives_whole),
	    T(test_held_stream_stops_its_sender),
	    T(test_stalled_link_stops_the_sender_and_goes_on),
	    T(test_no_room_after_the_last_chunk),
	    T(test_small_call_passes_by_a_bulk_stream),
	    T(test_bulk_streams_share_the_link),
	    T(test_garbage_closes_the_session),
	    T(test_garbage_at_the_caller_closes_too),
	    T(test_more_than_the_window_closes),
	    T(test_frames_of_the_future_are_skipped),
	    T(test_many_small_frames_are_read_slowly),
	    T(test_many_small_frames_are_read_slowly),
	    T(test_late_frames_of_ended_streams_are_dropped),
	    T(test_bad_fields_end_the_stream_only),
	    T(test_bad_chunk_fields_end_both),
	    T(test_peer_that_never_reads_is_cut_off),
	    T(test_replies_wait_for_a_slow_reader),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
