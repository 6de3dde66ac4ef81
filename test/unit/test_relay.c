/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The relay between plain sockets that stand where nodes would.
 */
#include "node/lab/relay.h"

#include "node/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define NODES 3
#define LIMIT_MS 10000
#define BULK (3u << 20)

struct env {
	struct loop *loop;
	struct loop_timer *tick;
	struct impair im;
	struct relay *relay;
	int tcp[NODES], udp[NODES]; /* the nodes' own */
	struct sockaddr_in at[NODES];
	uint16_t port[NODES]; /* the relay's */
	bool (*seen)(struct env *e);
	uint64_t end;
	bool late, stopped;
	int fd; /* what `seen` looks at */
	char got[64];
	ssize_t n;
	size_t sent, read;
	int other;
};

static void on_tick(void *arg)
{
	struct env *e = arg;

	e->late = loop_ms(e->loop) > e->end;
	if (e->late || e->seen(e))
		loop_stop(e->loop);
}

/* Runs the loop until it is seen. */
static void until(struct env *e, bool (*seen)(struct env *e))
{
	e->seen = seen;
	e->end = clock_ns() / 1000000 + LIMIT_MS;
	loop_timer_every(e->tick, 1);
	loop_run(e->loop);
	loop_timer_cancel(e->tick);
	assert_false(e->late);
}

static bool got_some(struct env *e)
{
	e->n = recv(e->fd, e->got, sizeof(e->got), MSG_DONTWAIT);
	return e->n >= 0 || errno != EAGAIN;
}

static bool got_caller(struct env *e)
{
	e->other = accept4(e->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	return e->other >= 0;
}

static void node_open(struct env *e, int i)
{
	struct sockaddr_in *a = &e->at[i];
	socklen_t len = sizeof(*a);
	struct buf why = {0};
	char host[32];

	snprintf(host, sizeof(host), "127.9.9.%d", i + 1);
	for (int tries = 0; tries < 20; tries++) {
		/* As the DHT's socket: on all addresses. */
		struct sockaddr_in any = {.sin_family = AF_INET};

		*a = any;
		inet_pton(AF_INET, host, &a->sin_addr);
		e->tcp[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		e->udp[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
		assert_int_equal(bind(e->tcp[i], (struct sockaddr *)a, len), 0);
		assert_int_equal(listen(e->tcp[i], 8), 0);
		getsockname(e->tcp[i], (struct sockaddr *)a, &len);
		any.sin_port = a->sin_port;
		if (!bind(e->udp[i], (struct sockaddr *)&any, sizeof(any)))
			break;
		close(e->tcp[i]); /* somebody's UDP: another number */
		close(e->udp[i]);
	}
	assert_int_equal(
	    relay_add(e->relay, host, ntohs(a->sin_port), &e->port[i], &why),
	    OK);
	buf_release(&why);
}

static int setup(void **state)
{
	struct env *e = HN_NEW(struct env);

	e->loop = loop_new();
	e->tick = loop_timer_new(e->loop, on_tick, e);
	impair_init(&e->im, 11);
	e->relay = relay_new(e->loop, &e->im);
	e->other = -1;
	for (int i = 0; i < NODES; i++)
		node_open(e, i);
	*state = e;
	return 0;
}

static void on_stopped(void *arg)
{
	struct env *e = arg;

	e->stopped = true;
	loop_stop(e->loop);
}

static int teardown(void **state)
{
	struct env *e = *state;

	relay_stop(e->relay, on_stopped, e);
	loop_run(e->loop);
	loop_timer_free(e->tick);
	bool clean = loop_free(e->loop) && e->stopped;
	for (int i = 0; i < NODES; i++) {
		close(e->tcp[i]);
		close(e->udp[i]);
	}
	if (e->other >= 0)
		close(e->other);
	free(e);
	return clean ? 0 : -1;
}

static struct sockaddr_in before(const struct env *e, int i)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons(e->port[i]),
				.sin_addr = {htonl(INADDR_LOOPBACK)}};
	return a;
}

/* Node `from` dials node `to` as hnode does: from its own address. */
static int dial(const struct env *e, int from, int to)
{
	struct sockaddr_in a = e->at[from], b = before(e, to);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	a.sin_port = 0;
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&b, sizeof(b)), 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

static void test_a_datagram_and_its_answer(void **state)
{
	struct env *e = *state;
	struct sockaddr_in to = before(e, 1), from = {0};
	socklen_t len = sizeof(from);

	assert_int_equal(
	    sendto(e->udp[0], "ask", 3, 0, (struct sockaddr *)&to, sizeof(to)),
	    3);
	e->fd = e->udp[1];
	until(e, got_some);
	assert_int_equal(e->n, 3);
	/* It seems to come from node 0's port of the relay. */
	assert_int_equal(
	    sendto(e->udp[0], "ask", 3, 0, (struct sockaddr *)&to, sizeof(to)),
	    3);
	to = before(e, 0);
	assert_int_equal(sendto(e->udp[1], "answer", 6, 0,
				(struct sockaddr *)&to, sizeof(to)),
			 6);
	e->fd = e->udp[0];
	until(e, got_some);
	assert_memory_equal(e->got, "answer", 6);
	assert_int_equal(recvfrom(e->udp[1], e->got, sizeof(e->got), 0,
				  (struct sockaddr *)&from, &len),
			 3);
	assert_int_equal(from.sin_port, to.sin_port);
	assert_int_equal(from.sin_addr.s_addr, to.sin_addr.s_addr);
}

static void test_strangers_are_not_passed_on(void **state)
{
	struct env *e = *state;
	struct sockaddr_in to = before(e, 1);
	int udp = socket(AF_INET, SOCK_DGRAM, 0);
	int tcp = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(
	    sendto(udp, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)), 1);
	assert_int_equal(
	    sendto(e->udp[0], "y", 1, 0, (struct sockaddr *)&to, sizeof(to)),
	    1);
	assert_int_equal(connect(tcp, (struct sockaddr *)&to, sizeof(to)), 0);
	/* Were it passed on, it would be first. */
	e->fd = e->udp[1];
	until(e, got_some);
	assert_memory_equal(e->got, "y", 1);
	e->fd = tcp;
	until(e, got_some);
	assert_int_equal(e->n, 0);
	assert_int_equal(accept(e->tcp[1], NULL, NULL), -1);
	close(udp);
	close(tcp);
}

/* Sends BULK bytes of a pattern, reads and checks them. */
static bool bulk_done(struct env *e)
{
	uint8_t b[4096];
	ssize_t n;

	while (e->sent < BULK) {
		for (size_t i = 0; i < sizeof(b); i++)
			b[i] = (uint8_t)((e->sent + i) * 7 >> 3);
		n = send(e->fd, b, sizeof(b), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n <= 0)
			break;
		e->sent += (size_t)n;
	}
	while ((n = recv(e->other, b, sizeof(b), MSG_DONTWAIT)) > 0)
		for (ssize_t i = 0; i < n; i++, e->read++)
			assert_int_equal(b[i], (uint8_t)(e->read * 7 >> 3));
	return e->read == BULK;
}

static void test_a_stream_keeps_its_order(void **state)
{
	struct env *e = *state;

	e->im.loss = 20;
	e->im.delay_us = 2000;
	int fd = dial(e, 0, 1);
	e->fd = e->tcp[1];
	until(e, got_caller);
	struct sockaddr_in who = {0};
	socklen_t len = sizeof(who);
	getpeername(e->other, (struct sockaddr *)&who, &len);
	assert_int_equal(who.sin_addr.s_addr, e->at[0].sin_addr.s_addr);
	e->fd = fd;
	until(e, bulk_done);
	assert_true(e->im.lost > 0);
	/* The end comes behind the last byte. */
	close(fd);
	e->fd = e->other;
	until(e, got_some);
	assert_int_equal(e->n, 0);
}

static void test_delay_is_felt_both_ways(void **state)
{
	struct env *e = *state;

	e->im.delay_us = 30000;
	int fd = dial(e, 0, 1);
	e->fd = e->tcp[1];
	until(e, got_caller);
	const uint64_t begin = clock_ns();
	assert_int_equal(send(fd, "a", 1, 0), 1);
	e->fd = e->other;
	until(e, got_some);
	assert_int_equal(send(e->other, "b", 1, 0), 1);
	e->fd = fd;
	until(e, got_some);
	const uint64_t ms = (clock_ns() - begin) / 1000000;
	assert_in_range(ms, 53, 5000);
	close(fd);
}

static bool later(struct env *e)
{
	/* By then a byte on its way would be there. */
	return e->end - loop_ms(e->loop) < LIMIT_MS - 50;
}

static void test_a_cut_holds_back_and_its_end_resets(void **state)
{
	struct env *e = *state;
	struct sockaddr_in to = before(e, 1);

	int fd = dial(e, 0, 1);
	e->fd = e->tcp[1];
	until(e, got_caller);
	e->im.nodes[1].group = 1;
	relay_changed(e->relay);
	assert_int_equal(send(fd, "held", 4, 0), 4);
	sendto(e->udp[0], "lost", 4, 0, (struct sockaddr *)&to, sizeof(to));
	int begun = dial(e, 2, 1);
	until(e, later);
	assert_int_equal(recv(e->other, e->got, 4, MSG_DONTWAIT), -1);
	assert_int_equal(recv(e->udp[1], e->got, 4, MSG_DONTWAIT), -1);
	assert_int_equal(recv(begun, e->got, 4, MSG_DONTWAIT), -1);
	e->im.nodes[1].group = 0;
	relay_changed(e->relay);
	e->fd = e->other;
	until(e, got_some);
	assert_memory_equal(e->got, "held", 4);
	e->fd = begun;
	until(e, got_some);
	assert_int_equal(e->n, -1);
	assert_int_equal(errno, ECONNRESET);
	close(fd);
	close(begun);
}

static void test_nobody_there_is_told(void **state)
{
	struct env *e = *state;

	close(e->tcp[1]);
	e->tcp[1] = -1;
	e->fd = dial(e, 0, 1);
	int fd = e->fd;
	until(e, got_some);
	assert_true(e->n <= 0);
	close(fd);
	assert_int_equal(relay_connections(e->relay), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	    TEST(test_a_datagram_and_its_answer),
	    TEST(test_strangers_are_not_passed_on),
	    TEST(test_a_stream_keeps_its_order),
	    TEST(test_delay_is_felt_both_ways),
	    TEST(test_a_cut_holds_back_and_its_end_resets),
	    TEST(test_nobody_there_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
