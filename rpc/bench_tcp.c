/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The floor under every figure: blocking sockets, no framing, no cipher. */
#include "rpc/bench_impl.h"

#include "node/base/loop.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct bench_tcp_server {
	int fd;
	pthread_t thread;
};

static bool read_all(int fd, uint8_t *p, size_t n)
{
	while (n) {
		const ssize_t got = recv(fd, p, n, 0);
		if (got <= 0)
			return false;
		p += got;
		n -= (size_t)got;
	}
	return true;
}

static void no_delay(int fd)
{
	const int one = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static void *serve(void *arg)
{
	const struct bench_tcp_server *s = arg;
	uint8_t b[BENCH_CALL];
	int fd;

	while ((fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		no_delay(fd);
		while (read_all(fd, b, sizeof(b)) &&
		       send(fd, b, sizeof(b), MSG_NOSIGNAL) == sizeof(b))
			;
		close(fd);
	}
	return NULL;
}

enum err bench_tcp_serve(struct bench_tcp_server **out, uint16_t *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);

	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return ERR_IO;
	struct bench_tcp_server *s = HN_NEW(struct bench_tcp_server);
	s->fd = fd;
	if (bind(fd, (struct sockaddr *)&a, n) || listen(fd, 4) ||
	    getsockname(fd, (struct sockaddr *)&a, &n) ||
	    pthread_create(&s->thread, NULL, serve, s)) {
		close(fd);
		free(s);
		return ERR_IO;
	}
	*port = ntohs(a.sin_port);
	*out = s;
	return OK;
}

void bench_tcp_end(struct bench_tcp_server *s)
{
	if (!s)
		return;
	shutdown(s->fd, SHUT_RDWR); /* accept returns */
	pthread_join(s->thread, NULL);
	close(s->fd);
	free(s);
}

enum err bench_tcp_run(uint16_t port, double seconds, struct bench_times *out)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons(port),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	uint8_t b[BENCH_CALL] = {0};
	enum err e = ERR_IO;

	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return ERR_IO;
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		goto out;
	no_delay(fd);
	const uint64_t end = clock_ns() + (uint64_t)(seconds * 1e9);
	uint64_t now = clock_ns();
	while (now < end) {
		const uint64_t from = now;
		if (send(fd, b, sizeof(b), MSG_NOSIGNAL) != sizeof(b) ||
		    !read_all(fd, b, sizeof(b)))
			goto out;
		now = clock_ns();
		bench_time(out, now - from);
	}
	e = OK;
out:
	close(fd);
	return e;
}
