/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * hnode lab up: makes the lab's directory, leaves its process behind, and
 * waits until the nodes see each other. The fork comes before any thread.
 */
#include "node/base/json.h"
#include "node/base/log.h"
#include "node/base/loop.h"
#include "node/cli_lab.h"
#include "node/cli_verbs.h"
#include "node/lab/lab.h"
#include "node/out.h"

#include <sodium.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NODES_DEFAULT 3
#define READY_MS 60000 /* and so much more for each node: */
#define READY_NODE_MS 3000

/* --- waiting --- */

/* How many answer, and how many see all that they should. */
struct progress_of {
	size_t n, answer, whole;
	int64_t ended; /* a node that is no more; 0: none */
};

static struct progress_of progress_now(const struct cli *c,
				       const struct json *lab)
{
	const struct json *nodes = json_get(lab, "nodes");
	const char *nat = json_get_str(json_get(lab, "nat"));
	/* Two nodes behind routers need not see each other. */
	const bool star = nat && strcmp(nat, "none") != 0;
	struct progress_of p = {.n = json_count(nodes)};

	for (size_t i = 0; i < p.n; i++) {
		const struct json *node = json_at(nodes, i);
		const char *state = json_get_str(json_get(node, "state"));
		struct lab_seen s = lab_look(c, node);

		if (state && !strcmp(state, "ended"))
			p.ended = json_get_int(json_get(node, "node"));
		p.answer += s.answers;
		p.whole += s.answers && s.sessions >= (star && i ? 1 : p.n - 1);
	}
	return p;
}

static int wait_ready(const struct cli *c, const char *dir, struct json **lab)
{
	const uint64_t begin = clock_ns() / 1000000;
	struct progress_of was = {0};

	for (;;) {
		json_free(*lab);
		*lab = NULL;
		int code =
		    lab_ask_or_fail(dir, "{\"do\":\"state\"}", LAB_ASK_MS, lab);
		if (code)
			return code;
		struct progress_of p = progress_now(c, *lab);
		if (p.ended)
			return out_fail(ERR_INTERNAL,
					"node %" PRId64 " ended at its start: "
					"see %s/%" PRId64 "/log; the lab stays "
					"up until `hnode lab down`",
					p.ended, dir, p.ended);
		if (p.answer != was.answer || p.whole != was.whole)
			out_note("%zu of %zu nodes answer, %zu see all others",
				 p.answer, p.n, p.whole);
		was = p;
		if (p.whole == p.n)
			return 0;
		if (clock_ns() / 1000000 - begin >
		    READY_MS + READY_NODE_MS * p.n)
			return out_fail(ERR_TIMEOUT,
					"after %" PRIu64 " s %zu of %zu nodes "
					"see all others; the lab stays up: "
					"`hnode lab watch` shows it, `hnode "
					"lab down` ends it",
					(READY_MS + READY_NODE_MS * p.n) / 1000,
					p.whole, p.n);
		lab_pause(LAB_POLL_MS);
	}
}

/* --- starting --- */

struct up_opts {
	const char *name, *nat;
	struct opt_u64 nodes, cheaters, loss, delay, bandwidth, threads, seed;
	struct strs offer, cheat;
};

static const struct opt up_opts[] = {
    {.flag = "nodes",
     .type = OPT_UINT,
     .meta = "N",
     .offset = offsetof(struct up_opts, nodes),
     .min = 1,
     .max = LAB_NODES_MAX,
     .help = "how many (3)"},
    {.flag = "cheaters",
     .type = OPT_UINT,
     .meta = "K",
     .offset = offsetof(struct up_opts, cheaters),
     .max = LAB_NODES_MAX,
     .help = "the last K cheat (needs a build with HN_CHEATS)"},
    {.flag = "cheat",
     .type = OPT_TEXTS,
     .meta = "HOW",
     .offset = offsetof(struct up_opts, cheat),
     .help = "such as skip=0.1, withhold, boast=10 (repeatable, in turn)"},
    {.flag = "loss",
     .type = OPT_PERMILLE,
     .meta = "P",
     .offset = offsetof(struct up_opts, loss),
     .max = 500,
     .help = "so many packets are lost, such as 5%"},
    {.flag = "delay",
     .type = OPT_MS,
     .meta = "TIME",
     .offset = offsetof(struct up_opts, delay),
     .max = 2000,
     .help = "one way, a tenth more or less, such as 20ms"},
    {.flag = "bandwidth",
     .type = OPT_SIZE,
     .meta = "BYTES",
     .offset = offsetof(struct up_opts, bandwidth),
     .min = 1024,
     .help = "a second, out of each node, such as 1MiB"},
    {.flag = "nat",
     .type = OPT_CHOICE,
     .meta = "KIND",
     .offset = offsetof(struct up_opts, nat),
     .choices = "none cone symmetric mixed",
     .help = "all but the first stand behind such a router (root)"},
    {.flag = "offer",
     .type = OPT_TEXTS,
     .meta = "CAP",
     .offset = offsetof(struct up_opts, offer),
     .help = "of every node (hash/sha256d; repeatable)"},
    {.flag = "threads",
     .type = OPT_THREADS,
     .meta = "N",
     .offset = offsetof(struct up_opts, threads),
     .max = 256,
     .help = "of every node (1)"},
    {.flag = "seed",
     .type = OPT_UINT,
     .meta = "N",
     .offset = offsetof(struct up_opts, seed),
     .help = "of what is lost and late (by chance)"},
    LAB_NAME_ROW(struct up_opts),
};

static int make_dir(const char *dir)
{
	struct stat st;

	if (mkdir(dir, 0700) && errno != EEXIST)
		return out_fail(ERR_IO, "cannot make %s: %s", dir,
				strerror(errno));
	if (lstat(dir, &st) || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
	    st.st_mode & 077)
		return out_fail(ERR_DENIED,
				"%s is not a directory of yours alone: remove "
				"it, or give the lab another --name",
				dir);
	return 0;
}

/* The directory, empty, and its lock; what a dead lab left goes first. */
static int take_dir(const char *dir, const char *name, int *lock)
{
	struct buf why = {0};
	char *state = xasprintf("%s/lab.json", dir);
	int code = make_dir(dir);
	enum err e = OK;

	if (code)
		goto out;
	*lock = lab_lock(dir);
	if (*lock >= 0 && !access(state, F_OK)) {
		out_note("what an earlier lab left in %s is removed", dir);
		close(*lock);
		e = lab_clean(dir, &why);
		if (e) {
			code = out_fail(e, "%s", buf_str(&why));
			goto out;
		}
		code = make_dir(dir);
		*lock = code ? -1 : lab_lock(dir);
	}
	if (!code && *lock < 0)
		code = out_fail(ERR_EXISTS,
				"a lab is up already in %s: `hnode lab down%s%s"
				"` ends it, or give this one a --name of its "
				"own",
				dir, name ? " --name " : "", name ? name : "");
out:
	buf_release(&why);
	free(state);
	return code;
}

static int options(struct cli *c, const char *dir, struct lab_options *o)
{
	static const char *const offer[] = {"hash/sha256d"};
	static const char *const cheats[] = {"skip=0.25", "withhold", "invent",
					     "replay"};
	static const char *const kinds[] = {"none", "cone", "symmetric",
					    "mixed"};
	const struct up_opts *u = c->values;
	uint64_t seed;

	randombytes_buf(&seed, sizeof(seed));
	*o = (struct lab_options){
	    .dir = dir,
	    .name = lab_name(u->name),
	    .bin = lab_program(c, NULL),
	    .cheat_bin = lab_program(c, "hnode-cheat"),
	    .nodes = u->nodes.set ? u->nodes.v : NODES_DEFAULT,
	    .cheaters = u->cheaters.v,
	    .cheats = cheats,
	    .ncheats = HN_COUNT(cheats),
	    .offer = offer,
	    .noffer = HN_COUNT(offer),
	    .threads = u->threads.set ? u->threads.v : 1,
	    .flags = &c->args,
	    .loss = (unsigned)u->loss.v,
	    .delay_us = u->delay.v * 1000,
	    .bandwidth = u->bandwidth.v,
	    .seed = u->seed.set ? u->seed.v : seed,
	    .env = config_other_environment(&c->arena),
	};
	if (u->offer.n) {
		o->offer = (const char *const *)u->offer.items;
		o->noffer = u->offer.n;
	}
	if (u->cheat.n) {
		o->cheats = (const char *const *)u->cheat.items;
		o->ncheats = u->cheat.n;
	}
	while (u->nat && strcmp(kinds[o->nat], u->nat) != 0)
		o->nat++;
	if (!o->bin)
		return out_fail(ERR_IO, "cannot find this program itself: %s",
				strerror(errno));
	if (o->cheaters >= o->nodes)
		return cli_usage(c,
				 "of %zu nodes at least one is honest: "
				 "--cheaters is at most %zu",
				 o->nodes, o->nodes - 1);
	if (o->cheaters && access(o->cheat_bin, X_OK))
		return out_fail(ERR_CONFIG,
				"there is no %s: cheaters are a test build, "
				"made by cmake -DHN_CHEATS=ON",
				o->cheat_bin);
	return 0;
}

/* To whoever waits for `up`: "+", or the error's number and a sentence. */
static void on_started(void *arg, enum err e, const char *text)
{
	const int fd = *(const int *)arg;
	char *line = e ? xasprintf("%d %s", (int)e, text) : xstrdup("+");

	if (write(fd, line, strlen(line)) < 0)
		log_debug("lab", "nobody waits");
	close(fd);
	free(line);
}

static int run_child(struct lab_options *o, int pipe_fd)
{
	char *path = xasprintf("%s/log", o->dir);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	free(path);
	if (null < 0 || log < 0)
		return err_exit(ERR_IO);
	setsid();
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	log_setup(LOG_INFO, LOG_TEXT, log);
	if (chdir("/"))
		log_debug("lab", "stays where it was started");
	o->ready = on_started;
	o->arg = &pipe_fd;
	return lab_run(o);
}

static int read_started(int fd, const char *dir)
{
	char text[1024];
	size_t at = 0;
	ssize_t n;

	do {
		n = read(fd, text + at, sizeof(text) - 1 - at);
		at += n > 0 ? (size_t)n : 0;
	} while ((n > 0 && at < sizeof(text) - 1) || (n < 0 && errno == EINTR));
	text[at] = '\0';
	if (text[0] == '+')
		return 0;
	char *end;
	unsigned long e = strtoul(text, &end, 10);
	if (end == text)
		return out_fail(ERR_INTERNAL,
				"the lab's process ended: see %s/log", dir);
	return out_fail(err_from_wire(e), "%s", end + (*end == ' '));
}

static int start(struct lab_options *o, int lock)
{
	int fds[2], code;

	if (pipe2(fds, O_CLOEXEC))
		return out_fail(ERR_IO, "cannot make a pipe: %s",
				strerror(errno));
	fflush(NULL);
	pid_t child = fork();
	if (!child) {
		close(fds[0]);
		_exit(run_child(o, fds[1]));
	}
	/* The lock is the child's now. */
	close(lock);
	close(fds[1]);
	code = child < 0 ? out_fail(ERR_IO, "cannot start a process: %s",
				    strerror(errno))
			 : read_started(fds[0], o->dir);
	close(fds[0]);
	return code;
}

static int run_up(struct cli *c)
{
	const struct up_opts *u = c->values;
	const char *dir = lab_dir(c, u->name);
	struct lab_options o;
	struct json *lab = NULL;
	struct buf why = {0};
	int lock = -1;

	int code = options(c, dir, &o);
	if (!code)
		code = take_dir(dir, u->name, &lock);
	if (code)
		return code;
	code = start(&o, lock);
	if (code) {
		if (lab_clean(dir, &why))
			out_note("%s", buf_str(&why));
		buf_release(&why);
		return code;
	}
	code = wait_ready(c, dir, &lab);
	if (!code) {
		lab_show(c, lab);
		const char *flag = u->name ? " --name " : "";
		const char *name = u->name ? u->name : "";

		out_note("the lab is up in %s; talk to a node with `hnode lab "
			 "run%s%s 1 peers` or `hnode --data-dir %s/1 peers`, "
			 "end all with `hnode lab down%s%s`",
			 dir, flag, name, dir, flag, name);
	}
	json_free(lab);
	return code;
}

const struct verb verb_lab_up = {
    .name = "lab up",
    .args = "[-- NODE-OPTIONS...]",
    .summary = "a mesh of real nodes here, to try and to break",
    .more = "Nodes stand on loopback behind a relay that loses and delays what "
	    "they say, or with --nat in network namespaces of their own. Loss "
	    "delays a TCP connection by a round trip. A cone router keeps "
	    "ports, a symmetric one takes a new one for each destination; with "
	    "mixed every third node is of each kind. It returns when all nodes "
	    "see each other (behind routers: the first one).",
    .example = "hnode lab up --nodes 5 --loss 5% --delay 20ms\n"
	       "hnode lab up --nodes 4 --nat mixed --name home\n"
	       "hnode lab up --nodes 2 -- --log debug --ping-interval 1s\n"
	       "hnode lab up --nodes 4 --cheaters 1 --cheat skip=0.25",
    VERB_OPTS(up_opts, struct up_opts),
    .max_args = 64,
    .run = run_up,
};
