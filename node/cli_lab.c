/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Verbs about a lab (node/lab/lab.h): a mesh on this machine that may be
 * broken at will. `up` leaves the lab's process behind; the others talk to it,
 * and to its nodes over their control sockets, as any verb does.
 */
#include "node/cli_lab.h"

#include "node/base/json.h"
#include "node/base/loop.h"
#include "node/cli_verbs.h"
#include "node/lab/lab.h"
#include "node/mesh/wire.h"
#include "node/out.h"

#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DOWN_MS 20000
#define NAME_MAX_BYTES 24 /* the path of a socket is short */

static const char nothing;

/* --- which lab --- */

bool lab_is_name(const char *text, struct buf *why)
{
	size_t n = strlen(text);

	if (n && n <= NAME_MAX_BYTES &&
	    strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == n)
		return true;
	buf_printf(why, "takes 1 to %d of a-z, 0-9 and -", NAME_MAX_BYTES);
	return false;
}

const char *lab_name(const char *name)
{
	return name ? name : "default";
}

char *lab_dir(struct cli *c, const char *name)
{
	const char *base = config_runtime_dir();

	if (base && *base)
		return arena_printf(&c->arena, "%s/hnode-lab-%s", base,
				    lab_name(name));
	return arena_printf(&c->arena, "/tmp/hnode-lab-%u-%s",
			    (unsigned)geteuid(), lab_name(name));
}

/* This program, and the cheating one beside it. */
char *lab_program(struct cli *c, const char *other)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (n <= 0)
		return NULL;
	path[n] = '\0';
	char *slash = strrchr(path, '/');
	if (other && slash)
		return arena_printf(&c->arena, "%.*s/%s", (int)(slash - path),
				    path, other);
	return arena_strndup(&c->arena, path, (size_t)n);
}

/* The names of the labs that stand where that one would: "nu, home". */
static void lab_others(const char *dir, struct buf *out)
{
	const char *dash = strrchr(dir, '/');
	size_t skip;
	glob_t g;

	/* A name has dashes, and so may what stands before it. */
	dash = dash ? strstr(dash, "/hnode-lab-") : NULL;
	if (!dash)
		return;
	skip = (size_t)(dash - dir) + strlen("/hnode-lab-");
	if (!config_runtime_dir() || !*config_runtime_dir())
		skip += strcspn(dir + skip, "-") + 1;
	char *pattern = xasprintf("%.*s*/socket", (int)skip, dir);
	if (!glob(pattern, 0, NULL, &g)) {
		for (size_t i = 0; i < g.gl_pathc; i++)
			buf_printf(out, "%s%.*s", i ? ", " : "",
				   (int)strcspn(g.gl_pathv[i] + skip, "/"),
				   g.gl_pathv[i] + skip);
		globfree(&g);
	}
	free(pattern);
}

static int no_lab(enum err e, const char *dir, const struct buf *why)
{
	struct stat st;

	if (e != ERR_NONODE)
		return out_fail(e, "%s", buf_str((struct buf *)(uintptr_t)why));
	if (!lstat(dir, &st))
		return out_fail(e,
				"this lab's own process is gone, and its nodes "
				"with it: `hnode lab down` removes what is "
				"left");
	struct buf up = {0};
	lab_others(dir, &up);
	int code =
	    up.n ? out_fail(e, "no lab of that name is up; --name may be %s",
			    buf_str(&up))
		 : out_fail(e, "no lab is up: start one with `hnode lab up`");
	buf_release(&up);
	return code;
}

/* The exit code; 0: *out is the answer. */
int lab_ask_or_fail(const char *dir, const char *request, uint32_t ms,
		    struct json **out)
{
	struct buf why = {0};
	int code = 0;

	enum err e = lab_ask(dir, request, ms, &why, out);
	if (e)
		code = no_lab(e, dir, &why);
	buf_release(&why);
	return code;
}

/* --- what its nodes say --- */

static void seen_fill(struct lab_seen *s, const struct node_status *r)
{
	const struct cap_info *cap = r->offers.items;
	const struct device_info *d = r->devices.items;
	struct buf offers = {0};

	s->answers = true;
	s->sessions = r->sessions;
	s->jobs = r->jobs_open;
	for (size_t i = 0; i < r->devices.n; i++)
		s->rate += d[i].running ? d[i].rate : 0;
	for (size_t i = 0; i < r->offers.n; i++)
		buf_printf(&offers, "%s%s", i ? "," : "", cap[i].name);
	snprintf(s->offers, sizeof(s->offers), "%s", buf_str(&offers));
	snprintf(s->name, sizeof(s->name), "%s", r->name ? r->name : "");
	snprintf(s->word, sizeof(s->word), "%s", r->word ? r->word : "");
	buf_release(&offers);
}

struct lab_seen lab_look(const struct cli *c, const struct json *node)
{
	const char *state = json_get_str(json_get(node, "state"));
	struct cli k = {.verb = c->verb, .cfg = c->cfg};
	struct lab_seen s = {0};
	struct buf why = {0};
	const void *reply;

	if (!state || strcmp(state, "runs") != 0)
		return s;
	k.cfg.data_dir = json_get_str(json_get(node, "data_dir"));
	if (!cli_ask(&k, "node.status", &nothing, LAB_ASK_MS, &reply, &why))
		seen_fill(&s, reply);
	cli_close(&k);
	buf_release(&why);
	return s;
}

static const struct json *nodes_of(const struct json *lab)
{
	return json_get(lab, "nodes");
}

void lab_pause(int ms)
{
	(void)poll(NULL, 0, ms);
}

/* --- the table --- */

static const char *text_of(const struct json *j, const char *key)
{
	const char *s = json_get_str(json_get(j, key));

	return s ? s : "-";
}

static void join(const struct json *list, struct buf *out)
{
	for (size_t i = 0; i < json_count(list); i++)
		buf_printf(out, "%s%s", i ? ", " : "",
			   json_get_str(json_at(list, i)));
	if (!json_count(list))
		buf_add_str(out, "-");
}

static void node_row(struct table *t, const struct json *node,
		     const struct lab_seen *s)
{
	const char *state = text_of(node, "state");
	const char *cheat = json_get_str(json_get(node, "cheat"));
	struct buf rate = {0}, wrong = {0};

	out_rate(&rate, s->rate);
	join(json_get(node, "faults"), &wrong);
	if (cheat)
		buf_printf(&wrong, " (cheats: %s)", cheat);
	table_cell(t, PLAIN, "%" PRId64, json_get_int(json_get(node, "node")));
	table_cell(t, PLAIN, "%s", *s->name ? s->name : "-");
	if (s->answers)
		table_cell(t, !strcmp(s->word, "healthy") ? GREEN : YELLOW,
			   "%s", s->word);
	else
		table_cell(t, RED, "%s",
			   strcmp(state, "runs") ? state : "silent");
	table_cell(t, PLAIN, "%" PRIu64, s->sessions);
	table_cell(t, PLAIN, "%s", *s->offers ? s->offers : "-");
	table_cell(t, PLAIN, "%" PRIu64, s->jobs);
	table_cell(t, PLAIN, "%s", buf_str(&rate));
	table_cell(t, json_count(json_get(node, "faults")) ? YELLOW : PLAIN,
		   "%s", buf_str(&wrong));
	buf_release(&rate);
	buf_release(&wrong);
}

static void lab_table(const struct cli *c, const struct json *lab,
		      struct buf *out)
{
	static const char *const heads[] = {"NODE",   "NAME",	 "STATE",
					    ">PEERS", "*OFFERS", ">JOBS",
					    ">RATE",  "FAULTS"};
	struct table *t =
	    table_new(heads, HN_COUNT(heads), !isatty(STDOUT_FILENO));
	const struct json *nodes = nodes_of(lab);

	for (size_t i = 0; i < json_count(nodes); i++) {
		struct lab_seen s = lab_look(c, json_at(nodes, i));
		node_row(t, json_at(nodes, i), &s);
	}
	table_text(t, out);
	table_free(t);
}

/* The lab's own object with what each node says of itself. */
struct copy {
	struct json *to;
};

static struct json *value_copy(const struct json *v)
{
	struct buf b = {0};
	struct json *j = NULL;

	json_write(v, &b);
	if (json_parse(buf_str(&b), b.n, NULL, &j))
		j = json_null();
	buf_release(&b);
	return j;
}

static bool copy_key(const char *key, const struct json *v, void *arg)
{
	struct copy *k = arg;

	if (strcmp(key, "nodes") != 0)
		json_set(k->to, key, value_copy(v));
	return true;
}

static struct json *lab_object(const struct cli *c, const struct json *lab)
{
	struct copy whole = {json_object()};
	struct json *rows = json_array();
	const struct json *nodes = nodes_of(lab);

	json_each(lab, copy_key, &whole);
	for (size_t i = 0; i < json_count(nodes); i++) {
		struct copy row = {json_object()};
		struct lab_seen s = lab_look(c, json_at(nodes, i));

		json_each(json_at(nodes, i), copy_key, &row);
		json_set(row.to, "answers", json_bool(s.answers));
		json_set(row.to, "name", json_str(s.answers ? s.name : NULL));
		json_set(row.to, "health", json_str(s.answers ? s.word : NULL));
		json_set(row.to, "sessions", json_int((int64_t)s.sessions));
		json_set(row.to, "jobs_open", json_int((int64_t)s.jobs));
		json_set(row.to, "rate", json_int((int64_t)s.rate));
		json_add(rows, row.to);
	}
	json_set(whole.to, "nodes", rows);
	return whole.to;
}

void lab_show(const struct cli *c, const struct json *lab)
{
	struct buf b = {0};

	if (c->cfg.json) {
		out_json(lab_object(c, lab));
		return;
	}
	lab_table(c, lab, &b);
	out("%s", buf_str(&b));
	buf_release(&b);
}

/* --- fault --- */

struct named_opts {
	const char *name;
};
static const struct opt named_opts[] = {LAB_NAME_ROW(struct named_opts)};

/* "3", "2,4", "all" (an empty list). */
static bool read_nodes(const char *text, struct json **out)
{
	struct json *a = json_array();
	uint64_t n;

	*out = a;
	if (!strcmp(text, "all"))
		return true;
	while (*text) {
		size_t len = strcspn(text, ",");
		char one[8];

		if (!len || len >= sizeof(one))
			break;
		memcpy(one, text, len);
		one[len] = '\0';
		if (!opt_read_uint(one, &n) || !n || n > LAB_NODES_MAX)
			break;
		json_add(a, json_int((int64_t)n));
		text += len;
		if (*text && !*++text)
			text--; /* a comma at the end */
		if (!*text)
			return true;
		if (*text == ',')
			break;
	}
	return false;
}

static bool read_value(const char *text, int64_t *out)
{
	uint64_t v;

	if (*text == '+' || *text == '-') {
		if (!opt_read_uint(text + 1, &v) || v > INT32_MAX)
			return false;
		*out = *text == '-' ? -(int64_t)v : (int64_t)v;
		return true;
	}
	if (!opt_read_uint(text, &v) || v > INT32_MAX)
		return false;
	*out = (int64_t)v;
	return true;
}

/* Those that were to be started answer, within a bounded time. */
static int wait_started(const struct cli *c, const char *dir, struct json **lab)
{
	const uint64_t end = clock_ns() / 1000000 + 15000;

	for (;;) {
		const struct json *nodes = nodes_of(*lab);
		size_t waits = 0;

		for (size_t i = 0; i < json_count(nodes); i++) {
			const struct json *node = json_at(nodes, i);
			const char *state = text_of(node, "state");
			struct lab_seen s = lab_look(c, node);
			waits += !strcmp(state, "stopping") ||
				 (!strcmp(state, "runs") && !s.answers);
		}
		if (!waits)
			return 0;
		if (clock_ns() / 1000000 > end)
			return out_fail(ERR_TIMEOUT,
					"%zu node%s not answer yet: `hnode "
					"lab watch` shows which",
					waits, waits == 1 ? " does" : "s do");
		lab_pause(LAB_POLL_MS);
		json_free(*lab);
		*lab = NULL;
		int code =
		    lab_ask_or_fail(dir, "{\"do\":\"state\"}", LAB_ASK_MS, lab);
		if (code)
			return code;
	}
}

static int run_fault(struct cli *c)
{
	const struct named_opts *o = c->values;
	const char *dir = lab_dir(c, o->name);
	char **args = c->args.items;
	struct json *nodes, *lab = NULL, *q;
	struct buf line = {0};
	int64_t value = 0;
	const bool starts = !strcmp(args[0], "start") ||
			    !strcmp(args[0], "skew") ||
			    !strcmp(args[0], "heal");

	if (!read_nodes(args[1], &nodes)) {
		json_free(nodes);
		return cli_usage(c,
				 "%s is no node: give a number, such as 3, "
				 "some, such as 2,4, or all",
				 args[1]);
	}
	q = json_object();
	json_set(q, "do", json_str("fault"));
	json_set(q, "what", json_str(args[0]));
	json_set(q, "nodes", nodes);
	if (c->args.n > 2 && !read_value(args[2], &value)) {
		json_free(q);
		return cli_usage(c, "%s is no whole number", args[2]);
	}
	if (c->args.n > 2)
		json_set(q, "value", json_int(value));
	json_write(q, &line);
	json_free(q);
	int code = lab_ask_or_fail(dir, buf_str(&line), LAB_ASK_MS, &lab);
	buf_release(&line);
	if (!code && starts)
		code = wait_started(c, dir, &lab);
	if (!code)
		lab_show(c, lab);
	json_free(lab);
	return code;
}

const struct verb verb_lab_fault = {
    .name = "lab fault",
    .args = "kill|start|cut|slow|skew|heal NODE [VALUE]",
    .summary = "breaks something in the lab, or mends it",
    .more = "kill: at once, without a word; start brings it back. cut: the "
	    "nodes named together hear each other and nobody else. slow: it "
	    "runs one part in VALUE of the time (2 to 50), stopped in between. "
	    "skew: started anew with a clock that is VALUE seconds off (-90 "
	    "after --). heal: all of it is undone. NODE is a number, some "
	    "(2,4), or all.",
    .example = "hnode lab fault kill 3\n"
	       "hnode lab fault cut 2,4\n"
	       "hnode lab fault slow 5 10\n"
	       "hnode lab fault skew 2 3600\n"
	       "hnode lab fault heal all",
    VERB_OPTS(named_opts, struct named_opts),
    .min_args = 2,
    .max_args = 3,
    .run = run_fault,
};

/* --- watch, run, down --- */

struct watch_opts {
	const char *name;
	bool once;
};
static const struct opt watch_opts[] = {
    {.flag = "once",
     .type = OPT_BOOL,
     .offset = offsetof(struct watch_opts, once),
     .help = "as it is now, and no more"},
    LAB_NAME_ROW(struct watch_opts),
};

static int run_watch(struct cli *c)
{
	const struct watch_opts *o = c->values;
	const char *dir = lab_dir(c, o->name);
	const bool terminal = isatty(STDOUT_FILENO) && !c->cfg.json;
	struct json *lab = NULL;

	for (bool first = true;; first = false) {
		struct buf why = {0};
		enum err e =
		    lab_ask(dir, "{\"do\":\"state\"}", LAB_ASK_MS, &why, &lab);
		/* It ends with the lab that it began with. */
		int code = !e ? 0 : first ? no_lab(e, dir, &why) : 0;
		buf_release(&why);
		if (e)
			return code;
		if (terminal && !o->once)
			out("\033[H\033[2J");
		lab_show(c, lab);
		json_free(lab);
		lab = NULL;
		code = out_flush(0);
		if (o->once || code)
			return code;
		lab_pause(terminal ? 1000 : 2000);
	}
}

const struct verb verb_lab_watch = {
    .name = "lab watch",
    .summary = "its nodes, and what is wrong with them",
    .more = "On a terminal the table is drawn anew each second, elsewhere "
	    "printed every two; with --json one object a time. Ctrl-C, or the "
	    "lab's end, ends it. A killed node has no row of its own to give; "
	    "RATE is what its device does now.",
    .example = "hnode lab watch\nhnode lab watch --once --json",
    VERB_OPTS(watch_opts, struct watch_opts),
    .run = run_watch,
};

/* hnode lab run 2 submit search ...: exactly as hnode itself would. */
static int run_run(struct cli *c)
{
	const struct named_opts *o = c->values;
	const char *dir = lab_dir(c, o->name);
	char **argv = arena_alloc(&c->arena, (c->args.n + 3) * sizeof(*argv));
	uint64_t node;
	struct stat st;
	size_t n = 0;

	if (!opt_read_uint(c->args.items[0], &node))
		return cli_usage(c, "%s is no node: give a number, such as 1",
				 c->args.items[0]);
	char *data = arena_printf(&c->arena, "%s/%" PRIu64, dir, node);
	if (stat(data, &st)) {
		struct json *lab = NULL;
		int code = lab_ask_or_fail(dir, "{\"do\":\"state\"}",
					   LAB_ASK_MS, &lab);
		size_t count = json_count(nodes_of(lab));
		json_free(lab);
		return code ? code
			    : out_fail(ERR_INPUT, "this lab has nodes 1 to %zu",
				       count);
	}
	argv[n++] = lab_program(c, NULL);
	argv[n++] = arena_printf(&c->arena, "--data-dir=%s", data);
	for (size_t i = 1; i < c->args.n; i++)
		argv[n++] = c->args.items[i];
	if (!argv[0] || fflush(NULL) || execv(argv[0], argv))
		return out_fail(ERR_IO, "cannot run it: %s", strerror(errno));
	return 0;
}

const struct verb verb_lab_run = {
    .name = "lab run",
    .args = "NODE VERB...",
    .summary = "a verb at a node of the lab",
    .more = "What stands after NODE is what stands after hnode elsewhere; "
	    "--name goes before it.",
    .example = "hnode lab run 1 peers\n"
	       "hnode lab run 1 jobs --json",
    VERB_OPTS(named_opts, struct named_opts),
    .min_args = 2,
    .max_args = 512,
    .passes_on = true,
    .run = run_run,
};

static int run_down(struct cli *c)
{
	const struct named_opts *o = c->values;
	const char *dir = lab_dir(c, o->name);
	struct json *lab = NULL;
	struct buf why = {0};
	struct stat st;
	int code = 0, lock = -1;

	if (lstat(dir, &st))
		return no_lab(ERR_NONODE, dir, &why);
	enum err e = lab_ask(dir, "{\"do\":\"down\"}", DOWN_MS, &why, &lab);
	size_t nodes = json_count(nodes_of(lab));
	json_free(lab);
	/* It lets go of its lock last; a process that hangs never does. */
	for (int i = 0; i < 100 && (lock = lab_lock(dir)) < 0; i++)
		lab_pause(20);
	if (lock < 0) {
		code = out_fail(ERR_TIMEOUT,
				"the lab's process does not end: %s; its pid "
				"stands in %s/lab.json",
				e ? buf_str(&why) : "it hangs", dir);
		goto out;
	}
	close(lock);
	buf_clear(&why);
	e = lab_clean(dir, &why);
	if (e)
		code = out_fail(e, "%s", buf_str(&why));
	else if (nodes)
		out_note("%zu nodes stopped, %s removed", nodes, dir);
	else
		out_note("%s removed; the lab's process was gone already", dir);
	if (!code && c->cfg.json) {
		struct json *j = json_object();
		json_set(j, "down", json_bool(true));
		json_set(j, "nodes", json_int((int64_t)nodes));
		out_json(j);
	}
out:
	buf_release(&why);
	return code;
}

const struct verb verb_lab_down = {
    .name = "lab down",
    .summary = "ends the lab and removes all of it",
    .example = "hnode lab down",
    VERB_OPTS(named_opts, struct named_opts),
    .run = run_down,
};
