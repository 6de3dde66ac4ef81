/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A lab from outside: its lock, its socket, and what is left of one whose
 * process is gone. A node holds a lock on its own pid file (node.c) for as
 * long as it lives, so that a pid that is read there is a node's own.
 */
#include "node/base/json.h"
#include "node/base/loop.h"
#include "node/base/mem.h"
#include "node/lab/lab.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define GONE_MS 10000
#define ANSWER_MAX JSON_MAX_TEXT

int lab_lock(const char *dir)
{
	char *path = xasprintf("%s/lock", dir);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	free(path);
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB)) {
		close(fd);
		errno = EWOULDBLOCK;
		return -1;
	}
	return fd;
}

/* --- asking --- */

static int connect_to(const char *dir)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int n = snprintf(a.sun_path, sizeof(a.sun_path), "%s/socket", dir);
	int fd = n < 0 || (size_t)n >= sizeof(a.sun_path)
		     ? -1
		     : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (const struct sockaddr *)&a, sizeof(a))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* Up to the end of the line, or of the connection. */
static enum err read_line(int fd, uint32_t timeout_ms, struct buf *out)
{
	const uint64_t end = clock_ns() / 1000000 + timeout_ms;

	while (out->n < ANSWER_MAX) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		const uint64_t now = clock_ns() / 1000000;

		if (now >= end)
			return ERR_TIMEOUT;
		if (poll(&p, 1, (int)(end - now)) <= 0)
			continue;
		buf_reserve(out, 4096);
		ssize_t n = read(fd, out->p + out->n, 4096);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ERR_GONE;
		out->n += (size_t)n;
		if (out->p[out->n - 1] == '\n')
			return OK;
	}
	return ERR_LIMIT;
}

static enum err read_answer(struct json *j, struct buf *why)
{
	const struct json *e = json_get(j, "error");

	if (!e)
		return OK;
	const char *text = json_get_str(json_get(e, "message"));
	const char *code = json_get_str(json_get(e, "code"));
	buf_add_str(why, text ? text : "the lab refuses");
	return err_from_name(code ? code : "");
}

enum err lab_ask(const char *dir, const char *request, uint32_t timeout_ms,
		 struct buf *why, struct json **out)
{
	char *line = xasprintf("%s\n", request);
	struct buf in = {0};
	struct json *j = NULL;
	enum err e = ERR_NONODE;
	int fd = connect_to(dir);

	if (fd < 0) {
		buf_add_str(why, "no lab is up");
		goto out;
	}
	e = send(fd, line, strlen(line), MSG_NOSIGNAL) == (ssize_t)strlen(line)
		? read_line(fd, timeout_ms, &in)
		: ERR_GONE;
	if (e == ERR_GONE)
		buf_add_str(why, "the lab's process went away");
	else if (e)
		buf_add_str(why, "the lab's process does not answer");
	else
		e = json_parse(buf_str(&in), in.n, why, &j);
	if (!e)
		e = read_answer(j, why);
	if (!e)
		*out = j;
	else
		json_free(j);
out:
	if (fd >= 0)
		close(fd);
	buf_release(&in);
	free(line);
	return e;
}

/* --- what is left --- */

/* The pid of the node that holds the lock of that directory; 0: none does. */
static pid_t node_pid(const char *dir, size_t node)
{
	char *path = xasprintf("%s/%zu/pid", dir, node);
	char text[32] = "";
	long pid = 0;
	int fd = open(path, O_RDWR | O_CLOEXEC);

	free(path);
	if (fd < 0)
		return 0;
	if (flock(fd, LOCK_EX | LOCK_NB) &&
	    read(fd, text, sizeof(text) - 1) > 0)
		pid = strtol(text, NULL, 10);
	close(fd);
	return pid > 1 ? (pid_t)pid : 0;
}

static bool all_gone(const char *dir, int number)
{
	bool gone = true;

	for (size_t i = 1; i <= LAB_NODES_MAX; i++) {
		pid_t pid = node_pid(dir, i);
		gone &= !pid;
		if (pid && number)
			kill(pid, number);
	}
	return gone;
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *at)
{
	(void)st, (void)type, (void)at;
	return remove(path);
}

enum err lab_clean(const char *dir, struct buf *why)
{
	const uint64_t end = clock_ns() / 1000000 + GONE_MS;
	int number = SIGKILL; /* once; stopped ones would hear nothing else */

	/* They were told to die with the lab: it is a matter of moments. */
	while (!all_gone(dir, number)) {
		if (clock_ns() / 1000000 > end) {
			buf_printf(why,
				   "a node in %s does not end: end it and run "
				   "this again",
				   dir);
			return ERR_TIMEOUT;
		}
		number = 0;
		(void)poll(NULL, 0, 20);
	}
	if (nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS)) {
		if (errno == ENOENT)
			return OK;
		buf_printf(why, "cannot remove %s: %s", dir, strerror(errno));
		return ERR_IO;
	}
	return OK;
}
