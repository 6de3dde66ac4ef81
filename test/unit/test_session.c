/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Sessions that are up: records, keepalive, rekey, close. Two hubs, one loop,
 * 127.0.0.1. */
#include "rpc/hub.h"
#include "test/support/hubs.h"
#include "test/support/temp.h"

#include "node/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct bench *b;
static struct hnode *a, *z; /* a dials, z listens */
static struct proxy *proxy;

static int begin(void **state)
{
	(void)state;
	b = bench_new();
	a = hnode_new(b);
	z = hnode_new(b);
	return 0;
}

static int end(void **state)
{
	(void)state;
	if (proxy)
		proxy_free(proxy);
	proxy = NULL;
	hnode_free(a);
	hnode_free(z);
	bench_free(b);
	return 0;
}

static void start_both(void)
{
	hnode_start(a, false);
	hnode_start(z, true);
}

static void connect_both(void)
{
	start_both();
	connect_hubs(a, z);
}

static void connect_by_proxy(void)
{
	start_both();
	proxy = proxy_new(b, z->port);
	const uint16_t port = z->port;
	z->port = proxy->port;
	connect_hubs(a, z);
	z->port = port;
}

static bool z_has_hello(void *arg)
{
	(void)arg;
	return z->in.n >= 5;
}

static bool a_has_hello(void *arg)
{
	(void)arg;
	return a->in.n >= 5;
}

static bool a_down(void *arg)
{
	(void)arg;
	return a->downs > 0;
}

static bool z_down(void *arg)
{
	(void)arg;
	return z->downs > 0;
}

static bool both_down(void *arg)
{
	return a_down(arg) && z_down(arg);
}

static bool both_up(void *arg)
{
	(void)arg;
	return a->s && z->s;
}

static void on_pinged(void *arg, enum err e, uint64_t us)
{
	assert_int_equal(e, OK);
	*(uint64_t *)arg = us + 1;
}

static bool is_set(void *arg)
{
	return *(uint64_t *)arg != 0;
}

static void records_both_ways(bool posted, bool aes)
{
	struct dialling d;
	struct buf addr = {0};
	uint64_t us = 0, in, out;

	a->o.posted_io = z->o.posted_io = posted;
	a->o.aes = z->o.aes = true;
	start_both();
	dial_begin(&d, a, z, z->port, NULL, aes, 5000);
	until(b, both_up, NULL);
	hnode_send(a->s, "hello", 5);
	hnode_send(z->s, "world", 5);
	until(b, z_has_hello, NULL);
	until(b, a_has_hello, NULL);
	assert_memory_equal(z->in.p, "hello", 5);
	assert_memory_equal(a->in.p, "world", 5);
	assert_true(d.done);
	assert_int_equal(d.e, OK);

	assert_memory_equal(session_hash(a->s), session_hash(z->s), 32);
	assert_true(session_dialled(a->s));
	assert_false(session_dialled(z->s));
	assert_int_equal(session_aes(a->s), aes);
	assert_int_equal(session_aes(z->s), aes);
	assert_int_equal(session_kind(z->s), SESSION_PEER);
	assert_true(node_id_eq(session_peer(z->s), identity_id(a->me)));
	assert_true(node_id_eq(session_peer(a->s), identity_id(z->me)));
	assert_ptr_equal(hub_find(a->hub, identity_id(z->me)), a->s);
	assert_int_equal(session_hello(z->s)->features, 5);
	session_address(a->s, &addr);
	assert_memory_equal(buf_str(&addr), "127.0.0.1:", 10);
	buf_release(&addr);
	assert_int_equal(link_is_watched(a->s->link), !posted);
	session_ping(a->s, on_pinged, &us);
	assert_int_equal(us, 0);
	until(b, is_set, &us);
	assert_true(session_rtt_us(a->s) > 0);
	session_bytes(a->s, &in, &out);
	assert_true(in > 5 && out > 5);
	assert_int_equal(hub_each(a->hub, NULL, NULL), 1);
	assert_int_equal(hub_counters(a->hub)->handshakes_out, 1);
	assert_int_equal(hub_counters(z->hub)->handshakes_in, 1);
}

static void test_session_watched(void **state)
{
	(void)state;
	records_both_ways(false, false);
}

static void test_session_posted(void **state)
{
	(void)state;
	records_both_ways(true, false);
}

static void test_session_with_aes(void **state)
{
	(void)state;
	if (!noise_aesgcm_available())
		skip();
	records_both_ways(false, true);
}

/* Bulk, with writable as the pump, a pattern that would show any mix-up. */
#define BULK (6u << 20)
#define PIECE 5000u

struct bulk {
	struct hnode *from;
	size_t sent, checked;
};
static struct bulk to_z, to_a;

static uint8_t bulk_byte(size_t i)
{
	return (uint8_t)(i ^ i >> 8 ^ i >> 16);
}

static void pump(struct bulk *k, struct session *s)
{
	while (k->sent < BULK && session_queued(s) <= SESSION_HIGH) {
		const size_t n =
		    BULK - k->sent < PIECE ? BULK - k->sent : PIECE;
		uint8_t *p = session_space(s, n);
		for (size_t i = 0; i < n; i++)
			p[i] = bulk_byte(k->sent + i);
		k->sent += n;
	}
}

static void on_room(struct hnode *n, struct session *s)
{
	pump(n == a ? &to_z : &to_a, s);
}

static void check_bulk(struct hnode *n, struct session *s)
{
	struct bulk *k = n == z ? &to_z : &to_a;

	(void)s;
	for (size_t i = 0; i < n->in.n; i++)
		if (n->in.p[i] != bulk_byte(k->checked + i))
			fail_msg("byte %zu differs", k->checked + i);
	k->checked += n->in.n;
	buf_clear(&n->in);
}

static bool bulk_is_there(void *arg)
{
	(void)arg;
	return to_z.checked == BULK && to_a.checked == BULK;
}

static void bulk_both_ways(void)
{
	to_z = (struct bulk){a, 0, 0};
	to_a = (struct bulk){z, 0, 0};
	a->on_writable = z->on_writable = on_room;
	a->on_record = z->on_record = check_bulk;
	pump(&to_z, a->s);
	pump(&to_a, z->s);
	until(b, bulk_is_there, NULL);
	assert_true(a->writables > 0 && z->writables > 0);
	assert_true(session_is_up(a->s) && session_is_up(z->s));
}

static void test_rekey_by_bytes_under_load(void **state)
{
	(void)state;
	a->o.rekey_bytes = z->o.rekey_bytes = 64 << 10;
	connect_both();
	bulk_both_ways();
	assert_true(hub_counters(a->hub)->rekeys > 50);
	assert_true(hub_counters(z->hub)->rekeys > 50);
	assert_int_equal(z->s->reader.rekeys, hub_counters(a->hub)->rekeys);
	assert_int_equal(a->s->reader.rekeys, hub_counters(z->hub)->rekeys);
}

static void test_bulk_posted(void **state)
{
	(void)state;
	a->o.posted_io = z->o.posted_io = true;
	connect_both();
	bulk_both_ways();
	assert_int_equal(hub_counters(a->hub)->rekeys, 0);
}

static bool z_rekeyed(void *arg)
{
	(void)arg;
	hnode_send(a->s, "x", 1);
	return z->s->reader.rekeys > 0;
}

static void test_rekey_by_time(void **state)
{
	(void)state;
	a->o.rekey_ms = 20;
	connect_both();
	until(b, z_rekeyed, NULL);
	assert_true(session_is_up(z->s));
}

static bool all_small_are_there(void *arg)
{
	(void)arg;
	return z->in.n == 10000 * 32;
}

static void test_small_frames_share_records_and_writes(void **state)
{
	uint8_t frame[32];
	(void)state;

	connect_both();
	const uint64_t writes = link_writes(a->s->link);
	for (uint32_t i = 0; i < 10000; i++) {
		memset(frame, (int)(i & 0xff), sizeof(frame));
		hnode_send(a->s, frame, sizeof(frame));
	}
	until(b, all_small_are_there, NULL);
	/* 320,000 bytes in records of 16 KiB: 20 of them, 64 KiB a write. */
	assert_true(z->records <= 21);
	assert_true(link_writes(a->s->link) - writes <= 12);
	for (uint32_t i = 0; i < 10000; i++)
		assert_int_equal(z->in.p[i * 32 + 31], i & 0xff);
}

static bool z_has_largest(void *arg)
{
	(void)arg;
	return z->in.n == SESSION_RECORD + 5;
}

static void test_largest_frame(void **state)
{
	(void)state;
	connect_both();
	memset(session_space(a->s, SESSION_RECORD), 7, SESSION_RECORD);
	hnode_send(a->s, "hello", 5);
	until(b, z_has_largest, NULL);
	assert_int_equal(z->in.p[0], 7);
	assert_int_equal(z->records, 2); /* the frame fills one */
}

/* Keepalive */

static void test_idle_session_stays(void **state)
{
	(void)state;
	/* Three misses end it: long enough for a machine that is busy. */
	a->o.ping_idle = z->o.ping_idle = 100;
	connect_both();
	run_for(b, 600);
	assert_int_equal(a->downs + z->downs, 0);
	assert_true(session_is_up(a->s) && session_is_up(z->s));
}

static void test_silent_peer_when_idle(void **state)
{
	(void)state;
	a->o.ping_idle = 50;
	a->o.silent_busy = 100000;
	connect_by_proxy();
	proxy->damage = SILENT;
	const uint64_t from = loop_ms(b->loop);
	until(b, a_down, NULL);
	const uint64_t took = loop_ms(b->loop) - from;
	assert_in_range(took, 100, 1000);
	assert_int_equal(hub_counters(a->hub)->lost_silent, 1);
	assert_int_equal(a->down_why, ERR_GONE);
	assert_false(a->down_dup);
}

static void test_silent_peer_when_busy(void **state)
{
	(void)state;
	a->o.silent_busy = 150;
	connect_by_proxy();
	run_for(b, 200); /* quiet for longer than that is fine while idle */
	assert_int_equal(a->downs, 0);
	proxy->damage = SILENT;
	session_outstanding(a->s, 1);
	const uint64_t from = loop_ms(b->loop);
	until(b, a_down, NULL);
	assert_in_range(loop_ms(b->loop) - from, 100, 1000);
	assert_int_equal(hub_counters(a->hub)->lost_silent, 1);
}

static void test_busy_session_to_a_quiet_peer_stays(void **state)
{
	(void)state;
	a->o.silent_busy = 90;
	connect_both();
	session_outstanding(a->s, 1);
	run_for(b, 400); /* it answers pings, no more */
	assert_true(session_is_up(a->s));
	session_outstanding(a->s, -1);
}

static void test_killed_peer_is_noticed_at_once(void **state)
{
	(void)state;
	connect_by_proxy();
	const uint64_t from = loop_ms(b->loop);
	proxy_cut(proxy);
	until(b, both_down, NULL);
	assert_true(loop_ms(b->loop) - from < 500);
	assert_int_equal(hub_counters(a->hub)->lost_reset, 1);
	assert_int_equal(a->down_why, ERR_GONE);
}

/* Damage by someone in the middle */

static void damaged(enum damage damage)
{
	connect_by_proxy();
	proxy->damage = damage;
	hnode_send(a->s, "hello", 5);
	run_for(b, 5); /* a chunk of its own */
	if (a->s)
		hnode_send(a->s, "again", 5);
	until(b, both_down, NULL);
	assert_int_equal(hub_counters(z->hub)->bad_records, 1);
	assert_int_equal(z->down_why, ERR_CRYPTO);
	proxy->damage = PASS;
	connect_hubs(a, z); /* unharmed */
}

static void test_flipped_bit_closes(void **state)
{
	(void)state;
	damaged(FLIP);
	assert_int_equal(z->in.n, 0);
}

static void test_repeated_record_closes(void **state)
{
	(void)state;
	damaged(REPEAT);
	assert_int_equal(z->in.n, 5); /* once */
}

static void test_swapped_records_close(void **state)
{
	(void)state;
	damaged(SWAP);
	assert_int_equal(z->in.n, 0);
}

/* Bounds */

static void test_peer_that_never_reads_is_dropped(void **state)
{
	(void)state;
	connect_both();
	link_pause(z->s->link, true);
	for (int i = 0; i < 4096 && a->s && session_is_up(a->s); i++)
		memset(session_space(a->s, SESSION_RECORD), 0, SESSION_RECORD);
	until(b, a_down, NULL);
	assert_int_equal(a->down_why, ERR_LIMIT);
}

/* Ends */

static void test_close_tells_the_peer_why(void **state)
{
	(void)state;
	connect_both();
	hnode_send(a->s, "hello", 5); /* goes before */
	session_close(a->s, ERR_DENIED,
		      "you were \xe2\x80\x9crude\xe2\x80\x9d");
	assert_false(session_is_up(a->s));
	hnode_send(a->s, "lost", 4);   /* swallowed */
	assert_int_equal(a->downs, 0); /* later */
	until(b, both_down, NULL);
	assert_int_equal(z->in.n, 5);
	assert_int_equal(z->down_why, ERR_DENIED);
	assert_string_equal(z->down_text,
			    "you were \xe2\x80\x9crude\xe2\x80\x9d");
	assert_int_equal(a->downs, 1);
}

static void test_long_reason_is_cut_between_characters(void **state)
{
	char text[400];
	(void)state;

	memset(text, 'x', sizeof(text));
	memcpy(text + 199, "\xe2\x82\xac", 3);
	text[399] = 0;
	connect_both();
	session_close(a->s, ERR_GONE, text);
	until(b, both_down, NULL);
	assert_int_equal(strlen(z->down_text), 199);
}

static void test_bad_frames_close(void **state)
{
	(void)state;
	connect_both();
	z->record_answer = ERR_PROTO;
	hnode_send(a->s, "hello", 5);
	until(b, both_down, NULL);
	assert_int_equal(z->down_why, ERR_PROTO);
	assert_int_equal(a->down_why, ERR_PROTO);
	assert_int_equal(hub_counters(z->hub)->bad_records, 1);
}

static void on_ping_end(void *arg, enum err e, uint64_t us)
{
	(void)us;
	*(enum err *)arg = e;
}

static void test_ping_ends_with_its_session(void **state)
{
	enum err e = OK;
	(void)state;

	connect_both();
	session_ping(a->s, on_ping_end, &e);
	session_close(a->s, OK, "bye");
	until(b, both_down, NULL);
	assert_int_equal(e, ERR_GONE);
	assert_int_equal(z->down_why, OK); /* it left, it was not lost */
}

static void test_hub_stop_with_sessions_and_dials(void **state)
{
	struct dialling d;
	(void)state;

	connect_both();
	dial_begin(&d, a, z, z->port, NULL, false, 5000);
	hnode_stop(a);
	assert_true(d.done);
	assert_int_equal(d.e, ERR_CANCELED);
	assert_int_equal(a->downs, 1);
	until(b, z_down, NULL);
	assert_string_equal(z->down_text, "the node stops");
}

/* Control socket */

static void on_control(void *arg, enum err e, struct session *s,
		       const char *text)
{
	struct dialling *d = arg;
	d->done = true;
	d->e = e;
	d->s = s;
	snprintf(d->text, sizeof(d->text), "%s", text ? text : "");
}

static bool control_done(void *arg)
{
	return ((struct dialling *)arg)->done;
}

static void test_control_socket(void **state)
{
	struct dialling d = {0};
	struct buf why = {0};
	(void)state;

	temp_make();
	const char *path = temp_path("control");
	start_both();
	hub_dial_control(a->hub, path, 1000, on_control, &d);
	until(b, control_done, &d);
	assert_int_equal(d.e, ERR_NONODE);

	assert_int_equal(hub_listen_control(z->hub, path, &why), OK);
	assert_int_equal(hub_listen_control(a->hub, path, &why), ERR_EXISTS);
	assert_string_equal(buf_str(&why), "a node already runs here");
	d.done = false;
	hub_dial_control(a->hub, path, 1000, on_control, &d);
	until(b, control_done, &d);
	assert_int_equal(d.e, OK);
	assert_ptr_equal(d.s, a->s);
	assert_int_equal(session_kind(a->s), SESSION_CONTROL);
	assert_int_equal(session_kind(z->s), SESSION_CONTROL);
	assert_null(session_hash(z->s));
	assert_true(node_id_eq(session_peer(z->s), &(struct node_id){{0}}));
	assert_int_equal(hub_each(z->hub, NULL, NULL), 0);
	assert_int_equal(z->admits, 0);
	hnode_send(a->s, "hello", 5);
	until(b, z_has_hello, NULL);
	buf_clear(&z->in);
	bulk_both_ways();
	session_close(a->s, OK, "done");
	until(b, both_down, NULL);
	buf_release(&why);
	temp_remove();
}

static void ignore_bytes(void *arg, uint8_t *p, size_t n)
{
	(void)arg;
	(void)p;
	(void)n;
}

static void ignore_closed(void *arg, enum err why, const char *text)
{
	(void)arg;
	(void)why;
	(void)text;
}

static const struct link_ops ignore_ops = {
    .bytes = ignore_bytes,
    .closed = ignore_closed,
};

/* A command line older than its node, say: an answer, not a riddle. */
static void on_refuse_accept(void *arg, struct link *take_l)
{
	struct link **l = arg;

	*l = take_l;
	link_start(take_l, &ignore_ops, NULL);
	buf_add(link_out(take_l), "\xff\xffHNOD\1\0\7\1", REFUSAL_SIZE);
	link_flush(take_l);
}

static void on_nothing(void *arg)
{
	*(bool *)arg = true;
}

static bool is_true(void *arg)
{
	return *(bool *)arg;
}

static void test_control_socket_of_another_version(void **state)
{
	struct link_ctx *ctx = link_ctx_new(b->loop, LINK_AUTO);
	struct link_listener *ll;
	struct link *l = NULL;
	struct dialling d = {0};
	struct buf why = {0};
	bool stopped = false;
	(void)state;

	temp_make();
	const char *path = temp_path("control");
	start_both();
	assert_int_equal(
	    link_listen_ipc(ctx, path, on_refuse_accept, &l, &why, &ll), OK);
	hub_dial_control(a->hub, path, 1000, on_control, &d);
	until(b, control_done, &d);
	assert_int_equal(d.e, ERR_PROTO);
	assert_non_null(strstr(d.text, "version 7"));
	link_close(l);
	link_listener_close(ll);
	link_ctx_stop(ctx, on_nothing, &stopped);
	until(b, is_true, &stopped);
	temp_remove();
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
	    T(test_session_watched),
	    T(test_session_posted),
	    T(test_session_with_aes),
	    T(test_rekey_by_bytes_under_load),
	    T(test_bulk_posted),
	    T(test_rekey_by_time),
	    T(test_small_frames_share_records_and_writes),
	    T(test_largest_frame),
	    T(test_idle_session_stays),
	    T(test_silent_peer_when_idle),
	    T(test_silent_peer_when_busy),
	    T(test_busy_session_to_a_quiet_peer_stays),
	    T(test_killed_peer_is_noticed_at_once),
	    T(test_flipped_bit_closes),
	    T(test_repeated_record_closes),
	    T(test_swapped_records_close),
	    T(test_peer_that_never_reads_is_dropped),
	    T(test_close_tells_the_peer_why),
	    T(test_long_reason_is_cut_between_characters),
	    T(test_bad_frames_close),
	    T(test_ping_ends_with_its_session),
	    T(test_hub_stop_with_sessions_and_dials),
	    T(test_control_socket),
	    T(test_control_socket_of_another_version),
	};
	const int rc = cmocka_run_group_tests(tests, NULL, NULL);
	link_library_end();
	return rc;
}
