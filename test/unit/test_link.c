/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Links between two ends of one loop, in both ways of doing the work. */
#include "rpc/link.h"

#include "node/base/mem.h"

#include <assert.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define LIMIT_MS 20000

struct side {
	struct env *env;
	struct link *l;
	struct buf in;
	size_t want; /* stop the loop when so many bytes are in */
	bool opened, closed, echo, close_on_bytes;
	enum err why;
	char text[200];
	unsigned sent;
};

struct env {
	struct loop *loop;
	struct link_ctx *ctx;
	struct link_listener *listener;
	struct side a, b; /* a dials, b accepts */
	struct loop_timer *limit;
	bool late, stopped;
	enum link_io io;
};

static void on_late(void *arg)
{
	struct env *e = arg;
	e->late = true;
	loop_stop(e->loop);
}

static void run(struct env *e)
{
	e->late = false;
	loop_timer_set(e->limit, LIMIT_MS);
	loop_run(e->loop);
	loop_timer_cancel(e->limit);
	assert_false(e->late);
}

static void on_open(void *arg)
{
	struct side *s = arg;
	s->opened = true;
	if (!s->want)
		loop_stop(s->env->loop);
}

static void on_bytes(void *arg, uint8_t *p, size_t n)
{
	struct side *s = arg;

	if (s->close_on_bytes) {
		link_close(s->l);
		s->l = NULL;
		loop_stop(s->env->loop);
		return;
	}
	if (s->echo) {
		buf_add(link_out(s->l), p, n);
		link_flush(s->l);
		return;
	}
	buf_add(&s->in, p, n);
	memset(p, 0, n); /* ours to change */
	if (s->want && s->in.n >= s->want)
		loop_stop(s->env->loop);
}

static void on_sent(void *arg)
{
	struct side *s = arg;
	s->sent++;
	if (link_ready(s->l))
		link_flush(s->l);
}

static void on_closed(void *arg, enum err why, const char *text)
{
	struct side *s = arg;
	s->closed = true;
	s->why = why;
	snprintf(s->text, sizeof(s->text), "%s", text);
	loop_stop(s->env->loop);
}

static const struct link_ops ops = {on_open, on_bytes, on_sent, on_closed};

static void on_accept(void *arg, struct link *take_l)
{
	struct env *e = arg;
	assert_null(e->b.l);
	e->b.l = take_l;
	assert_false(link_is_watched(take_l)); /* cheap to close now */
	link_start(take_l, &ops, &e->b);
}

static void on_stopped(void *arg)
{
	struct env *e = arg;
	e->stopped = true;
	loop_stop(e->loop);
}

static struct env *env_new(enum link_io io)
{
	struct env *e = HN_NEW(struct env);
	e->loop = loop_new();
	e->ctx = link_ctx_new(e->loop, io);
	e->limit = loop_timer_new(e->loop, on_late, e);
	e->a.env = e->b.env = e;
	e->io = io;
	return e;
}

static void env_free(struct env *e)
{
	link_close(e->a.l);
	link_close(e->b.l);
	link_listener_close(e->listener);
	link_ctx_stop(e->ctx, on_stopped, e);
	run(e);
	assert_true(e->stopped);
	loop_timer_free(e->limit);
	assert_true(loop_free(e->loop));
	buf_release(&e->a.in);
	buf_release(&e->b.in);
	free(e);
}

static uint16_t listen_at(struct env *e, const char *url)
{
	struct buf why = {0};
	uint16_t port = 0;
	enum err rc =
	    link_listen(e->ctx, url, on_accept, e, &port, &why, &e->listener);
	if (rc)
		print_error("%s\n", buf_str(&why));
	assert_int_equal(rc, OK);
	assert_int_not_equal(port, 0);
	buf_release(&why);
	return port;
}

static void connect_to(struct env *e, const char *url, const char *host)
{
	const uint16_t port = listen_at(e, url);
	assert_int_equal(
	    link_dial(e->ctx, host, port, 5000, &ops, &e->a, &e->a.l), OK);
	e->b.echo = true;
	run(e);
	assert_true(e->a.opened);
}

static void send_text(struct side *s, const char *text)
{
	buf_add_str(link_out(s->l), text);
	link_flush(s->l);
}

static void ping_pong(struct env *e)
{
	e->a.want = 10;
	send_text(&e->a, "01234");
	send_text(&e->a, "56789");
	run(e);
	assert_int_equal(e->a.in.n, 10);
	assert_memory_equal(e->a.in.p, "0123456789", 10);
}

static void echo_over(enum link_io io, const char *url, const char *host,
		      const char *addr)
{
	struct env *e = env_new(io);
	struct buf a = {0};

	connect_to(e, url, host);
	ping_pong(e);
	assert_int_equal(link_is_watched(e->a.l), io == LINK_AUTO);
	assert_int_equal(link_is_watched(e->b.l), io == LINK_AUTO);
	link_addr_str(link_peer(e->a.l), &a);
	assert_memory_equal(buf_str(&a), addr, strlen(addr));
	assert_true(link_addr_is_loopback(link_peer(e->a.l)));
	assert_true(link_addr_is_loopback(link_peer(e->b.l)));
	buf_release(&a);
	env_free(e);
}

static void test_echo_over_ipv4(void **state)
{
	(void)state;
	echo_over(LINK_AUTO, "tcp://127.0.0.1:0", "127.0.0.1", "127.0.0.1:");
	echo_over(LINK_POSTED, "tcp://127.0.0.1:0", "127.0.0.1", "127.0.0.1:");
}

static void test_echo_over_ipv6(void **state)
{
	(void)state;
	echo_over(LINK_AUTO, "tcp://[::1]:0", "::1", "[::1]:");
	echo_over(LINK_POSTED, "tcp://[::1]:0", "[::1]", "[::1]:");
}

static void test_wildcard_ipv6_takes_ipv4(void **state)
{
	(void)state;
	echo_over(LINK_AUTO, "tcp://[::]:0", "127.0.0.1", "127.0.0.1:");
	echo_over(LINK_AUTO, "tcp://[::]:0", "::1", "[::1]:");
}

static void test_dials_from_the_address_it_is_told(void **state)
{
	/* One of another family, or that cannot reach the other end, is left
	 * alone. */
	static const char *const from[] = {"127.3.2.1", "::1", "192.0.2.1",
					   "0.0.0.0"};

	(void)state;
	for (size_t i = 0; i < HN_COUNT(from); i++) {
		struct env *e = env_new(LINK_AUTO);
		struct buf a = {0};

		link_ctx_source(e->ctx, from[i]);
		connect_to(e, "tcp://127.0.0.1:0", "127.0.0.1");
		ping_pong(e);
		assert_true(link_is_watched(e->a.l));
		link_addr_str(link_peer(e->b.l), &a);
		assert_memory_equal(buf_str(&a), i ? "127.0.0.1" : from[0], 9);
		buf_release(&a);
		env_free(e);
	}
}

static void test_name_tries_every_address(void **state)
{
	(void)state;
	/* localhost may be ::1 first; only IPv4 listens. */
	echo_over(LINK_AUTO, "tcp://127.0.0.1:0", "localhost", "127.0.0.1:");
}

/* A reader that pauses makes the writer queue; everything arrives in order. */
static void bulk(enum link_io io)
{
	const size_t total = 24u << 20;
	struct env *e = env_new(io);
	uint8_t *data = xmalloc(total);

	for (size_t i = 0; i < total; i++)
		data[i] = (uint8_t)(i * 31 >> 3);
	connect_to(e, "tcp://127.0.0.1:0", "127.0.0.1");
	ping_pong(e);
	link_pause(e->b.l, true);
	e->b.echo = false;
	e->b.want = total;
	buf_add(link_out(e->a.l), data, total);
	link_flush(e->a.l);
	assert_false(link_ready(e->a.l));
	assert_true(link_queued(e->a.l) > 0);
	send_text(&e->a, "after"); /* waits behind */
	e->b.want = total + 5;
	link_pause(e->b.l, false);
	run(e);
	assert_int_equal(e->b.in.n, total + 5);
	assert_memory_equal(e->b.in.p, data, total);
	assert_memory_equal(e->b.in.p + total, "after", 5);
	assert_true(e->a.sent > 0);
	assert_true(link_ready(e->a.l));
	assert_int_equal(link_queued(e->a.l), 0);
	free(data);
	env_free(e);
}

static void test_bulk_waits_for_a_slow_reader(void **state)
{
	(void)state;
	bulk(LINK_AUTO);
	bulk(LINK_POSTED);
}

static void peer_closes(enum link_io io)
{
	struct env *e = env_new(io);

	connect_to(e, "tcp://127.0.0.1:0", "127.0.0.1");
	ping_pong(e);
	link_close(e->b.l);
	e->b.l = NULL;
	run(e);
	assert_true(e->a.closed);
	assert_int_equal(e->a.why, ERR_GONE);
	/* Writing to it is no mistake. */
	send_text(&e->a, "hello?");
	assert_int_equal(link_queued(e->a.l), 0);
	env_free(e);
}

static void test_peer_close_is_told(void **state)
{
	(void)state;
	peer_closes(LINK_AUTO);
	peer_closes(LINK_POSTED);
}

static void close_inside(enum link_io io)
{
	struct env *e = env_new(io);

	connect_to(e, "tcp://127.0.0.1:0", "127.0.0.1");
	ping_pong(e);
	e->b.close_on_bytes = true;
	send_text(&e->a, "x");
	run(e);
	assert_null(e->b.l);
	env_free(e);
}

static void test_close_inside_a_callback(void **state)
{
	(void)state;
	close_inside(LINK_AUTO);
	close_inside(LINK_POSTED);
}

static void test_nobody_listens(void **state)
{
	struct env *e = env_new(LINK_AUTO);
	const uint16_t port = listen_at(e, "tcp://127.0.0.1:0");
	(void)state;

	link_listener_close(e->listener);
	e->listener = NULL;
	assert_int_equal(
	    link_dial(e->ctx, "127.0.0.1", port, 5000, &ops, &e->a, &e->a.l),
	    OK);
	assert_false(e->a.closed); /* never inside the call */
	run(e);
	assert_true(e->a.closed);
	assert_int_equal(e->a.why, ERR_GONE);
	assert_non_null(strstr(e->a.text, "127.0.0.1:"));
	env_free(e);
}

static void test_bad_addresses_are_refused(void **state)
{
	struct env *e = env_new(LINK_AUTO);
	struct buf why = {0};
	uint16_t port;
	(void)state;

	static const char *const hosts[] = {"",	   "a b",	  "[::1",
					    "::g", "http://x",	  "x/y",
					    "-x",  "127.0.0.1:5", "\xc3\xa9"};
	for (size_t i = 0; i < HN_COUNT(hosts); i++)
		assert_int_equal(
		    link_dial(e->ctx, hosts[i], 1, 100, &ops, &e->a, &e->a.l),
		    ERR_INPUT);
	assert_int_equal(
	    link_dial(e->ctx, "127.0.0.1", 0, 100, &ops, &e->a, &e->a.l),
	    ERR_INPUT);
	assert_int_equal(link_listen(e->ctx, "ws://127.0.0.1:1", on_accept, e,
				     &port, &why, &e->listener),
			 ERR_CONFIG);
	assert_int_equal(link_listen(e->ctx, "tcp://127.0.0.1:99999", on_accept,
				     e, &port, &why, &e->listener),
			 ERR_CONFIG);
	assert_null(e->listener);
	buf_release(&why);
	env_free(e);
}

static void test_close_while_dialling(void **state)
{
	struct env *e = env_new(LINK_AUTO);
	const uint16_t port = listen_at(e, "tcp://127.0.0.1:0");
	static const char *const hosts[] = {"127.0.0.1", "localhost"};
	(void)state;

	for (size_t i = 0; i < 20; i++) {
		assert_int_equal(link_dial(e->ctx, hosts[i % 2], port, 5000,
					   &ops, &e->a, &e->a.l),
				 OK);
		link_close(e->a.l);
		e->a.l = NULL;
	}
	env_free(e);
	assert_true(true);
}

static void test_taken_port_names_its_holder(void **state)
{
	struct env *e = env_new(LINK_AUTO);
	const uint16_t port = listen_at(e, "tcp://127.0.0.1:0");
	struct link_listener *other = NULL;
	struct buf why = {0};
	char url[64], pid[32];
	uint16_t p;
	(void)state;

	snprintf(url, sizeof(url), "tcp://127.0.0.1:%u", port);
	snprintf(pid, sizeof(pid), "(pid %ld)", (long)getpid());
	assert_int_equal(
	    link_listen(e->ctx, url, on_accept, e, &p, &why, &other),
	    ERR_EXISTS);
	assert_null(other);
	assert_non_null(strstr(buf_str(&why), pid));
	buf_release(&why);
	env_free(e);
}

/* Local sockets */

static char dir[] = "/tmp/hn-link-XXXXXX";
static char path[64];

static int make_dir(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/control", dir);
	return 0;
}

static int drop_dir(void **state)
{
	(void)state;
	unlink(path);
	rmdir(dir);
	link_library_end();
	return 0;
}

static enum err listen_ipc(struct env *e, struct buf *why,
			   struct link_listener **out)
{
	return link_listen_ipc(e->ctx, path, on_accept, e, why, out);
}

static void test_local_socket(void **state)
{
	struct env *e = env_new(LINK_AUTO);
	struct buf why = {0};
	struct link_listener *other = NULL;
	struct stat st;
	uint64_t uid = 4711;
	(void)state;

	assert_int_equal(listen_ipc(e, &why, &e->listener), OK);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(
	    link_dial_ipc(e->ctx, path, 1000, &ops, &e->a, &e->a.l), OK);
	e->b.echo = true;
	run(e);
	ping_pong(e);
	assert_true(link_peer_uid(e->b.l, &uid));
	assert_int_equal(uid, geteuid());

	/* A live one is left alone. */
	assert_int_equal(listen_ipc(e, &why, &other), ERR_EXISTS);
	assert_string_equal(buf_str(&why), "a node already runs here");
	buf_release(&why);
	env_free(e);
}

static void test_stale_local_socket_is_replaced(void **state)
{
	struct env *e = env_new(LINK_AUTO);
	struct buf why = {0};
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	(void)state;

	unlink(path);
	memcpy(sun.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	close(fd); /* as a killed process leaves it */
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(listen_ipc(e, &why, &e->listener), OK);
	assert_int_equal(
	    link_dial_ipc(e->ctx, path, 1000, &ops, &e->a, &e->a.l), OK);
	e->b.echo = true;
	run(e);
	ping_pong(e);
	env_free(e);
}

static void test_no_local_socket(void **state)
{
	struct env *e = env_new(LINK_AUTO);
	struct buf why = {0};
	(void)state;

	unlink(path);
	assert_int_equal(
	    link_dial_ipc(e->ctx, path, 1000, &ops, &e->a, &e->a.l), OK);
	run(e);
	assert_true(e->a.closed);
	assert_int_equal(e->a.why, ERR_NONODE);
	/* A plain file in its place is not removed. */
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(listen_ipc(e, &why, &e->listener), ERR_CONFIG);
	assert_int_equal(access(path, F_OK), 0);
	unlink(path);
	buf_release(&why);
	env_free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_echo_over_ipv4),
	    cmocka_unit_test(test_echo_over_ipv6),
	    cmocka_unit_test(test_wildcard_ipv6_takes_ipv4),
	    cmocka_unit_test(test_dials_from_the_address_it_is_told),
	    cmocka_unit_test(test_name_tries_every_address),
	    cmocka_unit_test(test_bulk_waits_for_a_slow_reader),
	    cmocka_unit_test(test_peer_close_is_told),
	    cmocka_unit_test(test_close_inside_a_callback),
	    cmocka_unit_test(test_nobody_listens),
	    cmocka_unit_test(test_bad_addresses_are_refused),
	    cmocka_unit_test(test_close_while_dialling),
	    cmocka_unit_test(test_taken_port_names_its_holder),
	    cmocka_unit_test(test_local_socket),
	    cmocka_unit_test(test_stale_local_socket_is_replaced),
	    cmocka_unit_test(test_no_local_socket),
	};
	return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
