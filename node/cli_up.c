/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * hnode and hnode up: the verbs that run a node. Detaching forks before any
 * thread is there. The child keeps the terminal's standard error until it is
 * ready, so that what goes wrong at the start is seen; then it says so through
 * a pipe and lets go.
 */
#include "node/base/json.h"
#include "node/cli.h"
#include "node/cli_verbs.h"
#include "node/node.h"
#include "node/out.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOG_BYTES (8 << 20) /* of the last runs; then log.old */

static int run_node(struct cli *c)
{
	int code = node_directory(c);

	return code ? code : node_run(c, NULL);
}

const struct verb verb_node = {
    .name = "",
    .summary = "run a node here; Ctrl-C ends it",
    .more = "It says who it is, what it opens, what it offers and where its "
	    "files are.",
    .example = "hnode --offer hash/sha256d\n"
	       "hnode --data-dir ./a --port 0 --bootstrap 192.0.2.1:7450\n"
	       "hnode --join @invite.txt",
    .node = true,
    .run = run_node,
};

struct up_opts {
	bool detach;
};
static const struct opt up_opts[] = {
    {.flag = "detach",
     .letter = 'd',
     .type = OPT_BOOL,
     .offset = offsetof(struct up_opts, detach),
     .help = "in the background, its log in DIR/log; prints the pid once it "
	     "is ready"},
};

static int open_log(struct cli *c)
{
	char *path = cli_path(c, "log");
	struct stat st;

	if (!stat(path, &st) && st.st_size > LOG_BYTES &&
	    rename(path, cli_path(c, "log.old")))
		unlink(path);
	return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

struct child {
	int pipe, log;
};

static void on_ready(void *arg)
{
	const struct child *k = arg;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		close(null);
	}
	dup2(k->log, STDERR_FILENO);
	/* Where it was started may be unmounted one day; a parent that was
	 * interrupted meanwhile hears nothing. */
	if (chdir("/") || write(k->pipe, "+", 1) < 0)
		errno = 0;
	close(k->pipe);
}

static int run_child(struct cli *c, int pipe_fd, int log_fd)
{
	struct child k = {pipe_fd, log_fd};
	struct node_hooks hooks = {
	    .log_fd = log_fd, .ready = on_ready, .arg = &k};

	setsid();
	return node_run(c, &hooks);
}

static int wait_ready(struct cli *c, pid_t child, int fd)
{
	int status;
	char ready;
	ssize_t n;

	do {
		n = read(fd, &ready, 1);
	} while (n < 0 && errno == EINTR);
	if (n == 1) {
		if (c->cfg.json) {
			struct json *j = json_object();
			json_set(j, "pid", json_int(child));
			json_set(j, "log", json_str(cli_path(c, "log")));
			out_json(j);
		} else {
			out("%d\n", (int)child);
			out_note("the node runs; its log is %s; end it with "
				 "`hnode stop`",
				 cli_path(c, "log"));
		}
		return 0;
	}
	/* It has said why. */
	if (waitpid(child, &status, 0) == child && WIFEXITED(status) &&
	    WEXITSTATUS(status))
		return WEXITSTATUS(status);
	return out_fail(ERR_INTERNAL,
			"the node ended before it was ready: see %s",
			cli_path(c, "log"));
}

static int run_up(struct cli *c)
{
	const struct up_opts *o = c->values;
	int fds[2], log_fd;

	int code = node_directory(c);
	if (code)
		return code;
	if (!o->detach)
		return node_run(c, NULL);
	log_fd = open_log(c);
	if (log_fd < 0 || pipe2(fds, O_CLOEXEC))
		return out_fail(ERR_IO, "cannot write %s: %s",
				cli_path(c, "log"), strerror(errno));
	fflush(NULL);
	pid_t child = fork();
	if (child < 0)
		return out_fail(ERR_IO, "cannot start another process: %s",
				strerror(errno));
	if (!child) {
		close(fds[0]);
		return run_child(c, fds[1], log_fd);
	}
	close(fds[1]);
	close(log_fd);
	code = wait_ready(c, child, fds[0]);
	close(fds[0]);
	return code;
}

const struct verb verb_up = {
    .name = "up",
    .args = "[-d]",
    .summary = "run a node here, with -d in the background",
    .example = "hnode up -d --offer hash/sha256d",
    VERB_OPTS(up_opts, struct up_opts),
    .node = true,
    .run = run_up,
};
