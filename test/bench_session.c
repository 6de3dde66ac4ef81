/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Round trips of 64 bytes between two processes over loopback, one at a time
 * and 64 in flight, and one stream of full records: sessions in both ways of
 * reading and both suites, beside a blocking TCP ping-pong. Rounds alternate;
 * the median of three counts. With an argument the two processes are kept on
 * CPUs 0 and 1; taskset puts both on one.
 */
#include "rpc/link.h"
#include "rpc/noise.h"
#include "rpc/session.h"

#include "node/base/mem.h"

#include <sodium.h>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE 64
#define TRIPS 20000
#define FLIGHT 64
#define FLIGHT_TRIPS 600000
#define STREAM (512u << 20)
#define PIECE 16000u
#define ROUNDS 3

struct result {
	double p50, p99, calls, mb;
};

static int by_value(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static void percentiles(uint64_t *ns, size_t n, struct result *r)
{
	qsort(ns, n, sizeof(*ns), by_value);
	r->p50 = (double)ns[n / 2] / 1000;
	r->p99 = (double)ns[n * 99 / 100] / 1000;
}

/* Blocking TCP */

static void all(int fd, uint8_t *p, size_t n, bool write_it)
{
	while (n) {
		const ssize_t k = write_it ? write(fd, p, n) : read(fd, p, n);
		if (k <= 0)
			exit(write_it ? 1 : 0);
		p += k;
		n -= (size_t)k;
	}
}

static int nodelay(int fd)
{
	const int on = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

static void tcp_server(int listener)
{
	int fd = nodelay(accept(listener, NULL, NULL));
	uint8_t m[SIZE];

	for (;;) {
		all(fd, m, sizeof(m), false);
		all(fd, m, sizeof(m), true);
	}
}

static void tcp_round(int fd, struct result *r)
{
	static uint64_t ns[TRIPS];
	uint8_t m[SIZE] = {0};

	for (size_t i = 0; i < TRIPS; i++) {
		const uint64_t from = clock_ns();
		all(fd, m, sizeof(m), true);
		all(fd, m, sizeof(m), false);
		ns[i] = clock_ns() - from;
	}
	percentiles(ns, TRIPS, r);
}

/* Sessions */

static struct identity *identity_of(uint8_t n)
{
	uint8_t seed[32] = {n};
	return identity_from_seed(seed);
}

static void on_creds(void *arg, struct session_creds *out)
{
	(void)arg;
	out->npsks = 1;
}

static void on_up(void *arg, struct session *s)
{
	(void)arg;
	(void)s;
}

/* A record that begins with 1 is a stream's: counted, not answered. */
static uint64_t streamed;

static enum err on_server_record(void *arg, struct session *s, const uint8_t *p,
				 size_t n)
{
	(void)arg;
	if (p[0] != 1) {
		memcpy(session_space(s, n), p, n);
		return OK;
	}
	streamed += n;
	if (streamed >= STREAM) {
		streamed = 0;
		memset(session_space(s, SIZE), 0, SIZE);
	}
	return OK;
}

static void session_server(bool posted, int port_to)
{
	struct loop *l = loop_new();
	struct hub_options o = {
	    .loop = l,
	    .me = identity_of(2),
	    .aes = true,
	    .posted_io = posted,
	    .creds = on_creds,
	    .up = on_up,
	    .record = on_server_record,
	};
	struct hub *h = hub_new(&o);
	struct buf why = {0};
	uint16_t port;

	if (hub_listen(h, "tcp://127.0.0.1:0", &port, &why) ||
	    write(port_to, &port, sizeof(port)) != sizeof(port))
		exit(1);
	loop_run(l);
}

enum what { TRIP, FLIGHTS, BULK };

struct client {
	struct loop *l;
	struct hub *h;
	struct identity *me, *peer;
	struct session *s;
	enum what what;
	size_t sent, got, partial;
	uint64_t from, ns[TRIPS];
};

static void send_one(struct client *c)
{
	memset(session_space(c->s, SIZE), 0, SIZE);
	c->sent++;
}

static void feed(struct client *c)
{
	while (c->sent < STREAM && session_queued(c->s) <= SESSION_HIGH) {
		uint8_t *p = session_space(c->s, PIECE);
		memset(p, 1, PIECE);
		c->sent += PIECE;
	}
}

static void on_writable(void *arg, struct session *s)
{
	(void)s;
	feed(arg);
}

static enum err on_client_record(void *arg, struct session *s, const uint8_t *p,
				 size_t n)
{
	struct client *c = arg;
	const uint64_t now = clock_ns();

	(void)s;
	(void)p;
	c->partial += n;
	for (; c->partial >= SIZE; c->partial -= SIZE) {
		if (c->what == TRIP) {
			c->ns[c->got] = now - c->from;
			c->from = now;
		}
		c->got++;
		if (c->what == TRIP && c->got < TRIPS)
			send_one(c);
		if (c->what == FLIGHTS && c->sent < FLIGHT_TRIPS)
			send_one(c);
	}
	if ((c->what == TRIP && c->got == TRIPS) ||
	    (c->what == FLIGHTS && c->got == FLIGHT_TRIPS) ||
	    (c->what == BULK && c->got == 1))
		loop_stop(c->l);
	return OK;
}

static void on_dialled(void *arg, enum err e, struct session *s,
		       const char *text)
{
	struct client *c = arg;

	if (e) {
		fprintf(stderr, "%s\n", text);
		exit(1);
	}
	c->s = s;
	loop_stop(c->l);
}

static struct client *client_new(bool posted, bool aes, uint16_t port)
{
	struct client *c = HN_NEW(struct client);

	c->l = loop_new();
	c->me = identity_of(1);
	c->peer = identity_of(2);
	struct hub_options o = {
	    .loop = c->l,
	    .me = c->me,
	    .boot_id = {(uint8_t)(1 + posted + 2 * aes)},
	    .aes = true,
	    .posted_io = posted,
	    .arg = c,
	    .creds = on_creds,
	    .up = on_up,
	    .record = on_client_record,
	    .writable = on_writable,
	};
	c->h = hub_new(&o);
	hub_dial(c->h, identity_id(c->peer), "127.0.0.1", port, NULL, aes, 5000,
		 on_dialled, c);
	loop_run(c->l);
	return c;
}

static double seconds(struct client *c, enum what what, size_t at_once)
{
	c->what = what;
	c->sent = c->got = c->partial = 0;
	c->from = clock_ns();
	const uint64_t from = c->from;
	if (what == BULK)
		feed(c);
	for (size_t i = 0; what != BULK && i < at_once; i++)
		send_one(c);
	loop_run(c->l);
	return (double)(clock_ns() - from) / 1e9;
}

static void session_round(struct client *c, struct result *r)
{
	seconds(c, TRIP, 1);
	percentiles(c->ns, TRIPS, r);
	r->calls = FLIGHT_TRIPS / seconds(c, FLIGHTS, FLIGHT);
	r->mb = STREAM / 1e6 / seconds(c, BULK, 0);
}

static int by_double(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static double median(const struct result *r, size_t at)
{
	double v[ROUNDS];

	for (size_t i = 0; i < ROUNDS; i++)
		v[i] = *(const double *)((const char *)&r[i] + at);
	qsort(v, ROUNDS, sizeof(v[0]), by_double);
	return v[ROUNDS / 2];
}

#define MEDIAN(r, m) median(r, offsetof(struct result, m))

static void stay_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static pid_t forked(bool apart)
{
	const pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (apart)
		stay_on(1);
	return 0;
}

int main(int argc, char **argv)
{
	static const char *const names[] = {
	    "session, watched, ChaChaPoly", "session, watched, AESGCM",
	    "session, posted, ChaChaPoly", "session, posted, AESGCM"};
	struct result tcp[ROUNDS], r[4][ROUNDS];
	struct sockaddr_in sa = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sa);
	uint16_t ports[2];
	pid_t pids[3];
	int at[2];

	if (sodium_init() < 0 || pipe(at))
		return 1;
	/* nng must not be forked: every child before its first call. */
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(listener, (struct sockaddr *)&sa, len) ||
	    listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&sa, &len))
		return 1;
	if (!(pids[0] = forked(argc > 1)))
		tcp_server(listener);
	for (int posted = 0; posted < 2; posted++) {
		if (!(pids[1 + posted] = forked(argc > 1)))
			session_server(posted, at[1]);
		if (read(at[0], &ports[posted], 2) != 2)
			return 1;
	}
	int fd = nodelay(socket(AF_INET, SOCK_STREAM, 0));
	if (connect(fd, (struct sockaddr *)&sa, len))
		return 1;
	(void)argv;
	if (argc > 1)
		stay_on(0);
	const bool aes = noise_aesgcm_available();
	for (size_t i = 0; i < ROUNDS; i++) {
		tcp_round(fd, &tcp[i]);
		for (size_t k = 0; k < 4; k++) {
			if ((k & 1) && !aes)
				continue;
			struct client *c =
			    client_new(k / 2, k & 1, ports[k / 2]);
			session_round(c, &r[k][i]);
			session_close(c->s, OK, "done");
			loop_stop(c->l);
			loop_run(c->l); /* the rest goes with the process */
		}
	}
	const double p50 = MEDIAN(tcp, p50), p99 = MEDIAN(tcp, p99);
	printf("%-30s p50 %6.1f us        p99 %6.1f us\n", "blocking TCP", p50,
	       p99);
	for (size_t k = 0; k < 4; k++)
		if (!(k & 1) || aes)
			printf("%-30s p50 %6.1f us (%.2f) p99 %6.1f us (%.2f) "
			       "%7.0f calls/s at %d in flight, %5.0f MB/s\n",
			       names[k], MEDIAN(r[k], p50),
			       MEDIAN(r[k], p50) / p50, MEDIAN(r[k], p99),
			       MEDIAN(r[k], p99) / p99, MEDIAN(r[k], calls),
			       FLIGHT, MEDIAN(r[k], mb));
	for (size_t i = 0; i < 3; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
	return 0;
}
