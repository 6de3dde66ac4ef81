/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The lab's own process: nodes, what is wrong with them, and the socket on
 * which it hears what to do. All of its state is here; lab.json is a copy for
 * people and scripts.
 *
 * A node that is to be slow is stopped and woken in turns by a timer, so that
 * it has one part in `slow` of the time; its share of the processor is then
 * its share of a real slow machine, and its answers are late by up to
 * SLICE_MS * slow. A clock that is off is an option of the node, which is
 * therefore started anew.
 */
#include "node/lab/lab.h"

#include "node/base/json.h"
#include "node/base/log.h"
#include "node/base/loop.h"
#include "node/base/mem.h"
#include "node/lab/nat.h"
#include "node/lab/proc.h"
#include "node/lab/relay.h"
#include "node/lab/talk.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLICE_MS 10 /* a slowed node runs so long at a time */
#define SLOW_MAX 50
#define STOP_MS 6000 /* then a node that was asked to end is killed */
#define SKEW_MAX 315360000
#define DOWNS_MAX 16

enum state { RUNS, KILLED, ENDED, STOPPING, STOPPED };
static const char *const state_names[] = {"runs", "killed", "ended", "stopping",
					  "stopped"};

struct lab_node {
	struct proc proc;
	enum state state;
	bool again; /* STOPPING: to be started anew */
	char *dir, *log;
	char host[16];	     /* its own address */
	uint16_t port, seen; /* its own; the relay's before it */
	char *address;	     /* by which others know it */
	int netns;	     /* -1: ours */
	enum lab_nat nat;
	const char *cheat; /* NULL: honest */
	unsigned slow;	   /* 1: as it is */
	int64_t skew_s;
};

struct lab {
	const struct lab_options *o;
	struct loop *loop;
	struct impair im;
	struct relay *relay;
	struct nat *net;
	struct lab_node nodes[LAB_NODES_MAX];
	unsigned groups; /* numbers given to cuts so far */
	struct loop_timer *slicer, *guard;
	uint64_t slice;
	struct talk *talk;
	struct talk_client *down[DOWNS_MAX]; /* wait for the end */
	size_t downs;
	bool stopping, stopped;
	int code;
};

static const char *nat_name(enum lab_nat k)
{
	static const char *const names[] = {"none", "cone", "symmetric",
					    "mixed"};
	return names[k];
}

/* --- what is told --- */

static struct json *faults_json(const struct lab *l, const struct lab_node *n)
{
	struct json *a = json_array();
	struct buf b = {0};

	if (n->state == KILLED)
		json_add(a, json_str("killed"));
	if (l->im.nodes[n - l->nodes].group)
		json_add(a, json_str("cut"));
	if (n->slow > 1) {
		buf_printf(&b, "slow %u", n->slow);
		json_add(a, json_str(buf_str(&b)));
	}
	if (n->skew_s) {
		buf_clear(&b);
		buf_printf(&b, "clock %+" PRId64 " s", n->skew_s);
		json_add(a, json_str(buf_str(&b)));
	}
	buf_release(&b);
	return a;
}

static struct json *node_json(const struct lab *l, const struct lab_node *n)
{
	struct json *j = json_object();
	struct buf b = {0};

	json_set(j, "node", json_int(n - l->nodes + 1));
	json_set(j, "state", json_str(state_names[n->state]));
	json_set(j, "pid", json_int(n->proc.pid));
	json_set(j, "data_dir", json_str(n->dir));
	json_set(j, "address", json_str(n->address));
	json_set(j, "nat", json_str(nat_name(n->nat)));
	json_set(j, "cheat", json_str(n->cheat));
	json_set(j, "faults", faults_json(l, n));
	if (n->state == ENDED)
		proc_status(&n->proc, &b);
	json_set(j, "ended", json_str(b.n ? buf_str(&b) : NULL));
	buf_release(&b);
	return j;
}

static struct json *lab_json(const struct lab *l)
{
	struct json *j = json_object(), *nodes = json_array();

	json_set(j, "name", json_str(l->o->name));
	json_set(j, "pid", json_int(getpid()));
	json_set(j, "dir", json_str(l->o->dir));
	json_set(j, "nat", json_str(nat_name(l->o->nat)));
	json_set(j, "loss_permille", json_int(l->im.loss));
	json_set(j, "delay_ms", json_num((double)l->im.delay_us / 1000));
	json_set(j, "bandwidth", json_int((int64_t)l->im.bandwidth));
	json_set(j, "packets", json_int((int64_t)l->im.packets));
	json_set(j, "lost", json_int((int64_t)l->im.lost));
	for (size_t i = 0; i < l->o->nodes; i++)
		json_add(nodes, node_json(l, &l->nodes[i]));
	json_set(j, "nodes", nodes);
	return j;
}

/* A reader sees the old file or the new one. */
static void write_state(const struct lab *l)
{
	char *path = xasprintf("%s/lab.json", l->o->dir);
	char *tmp = xasprintf("%s/lab.json.new", l->o->dir);
	struct json *j = lab_json(l);
	struct buf b = {0};
	FILE *f = fopen(tmp, "we");

	json_write(j, &b);
	buf_add_str(&b, "\n");
	bool good = f && fwrite(b.p, 1, b.n, f) == b.n;
	if (f)
		good = !fclose(f) && good;
	if (!good || rename(tmp, path))
		log_warn("lab", "cannot write %s: %s", path, strerror(errno));
	json_free(j);
	buf_release(&b);
	free(tmp);
	free(path);
}

/* --- nodes --- */

static void add(struct strs *s, char *take_text)
{
	s->items = xrealloc(s->items, (s->n + 1) * sizeof(*s->items));
	s->items[s->n++] = take_text;
}

static void add2(struct strs *s, const char *flag, const char *value)
{
	add(s, xstrdup(flag));
	add(s, xstrdup(value));
}

static void node_argv(const struct lab *l, const struct lab_node *n,
		      struct strs *s)
{
	const struct lab_options *o = l->o;

	add(s, xstrdup(n->cheat ? o->cheat_bin : o->bin));
	add2(s, "--data-dir", n->dir);
	add(s, xstrdup("--no-lan"));
	add(s, xasprintf("--port=%u", (unsigned)n->port));
	add(s, xasprintf("--threads=%" PRIu64, o->threads));
	if (l->relay) {
		add2(s, "--bind", n->host);
		add2(s, "--advertise", n->address);
		add(s, xstrdup("--advertise-only"));
	}
	if (n != l->nodes)
		add2(s, "--bootstrap", l->nodes[0].address);
	for (size_t i = 0; i < o->noffer; i++)
		add2(s, "--offer", o->offer[i]);
	if (n->skew_s)
		add(s, xasprintf("--clock-offset=%" PRId64, n->skew_s));
	if (n->cheat)
		add2(s, "--cheat", n->cheat);
	for (size_t i = 0; i < o->flags->n; i++)
		add(s, xstrdup(o->flags->items[i]));
}

static enum err node_start(struct lab *l, struct lab_node *n, struct buf *why)
{
	struct strs argv = {0};

	node_argv(l, n, &argv);
	const struct proc_options o = {
	    .argv = &argv, .env = l->o->env, .log = n->log, .netns = n->netns};
	enum err e = proc_start(&n->proc, &o);
	if (e)
		buf_printf(why, "cannot start a process: %s", strerror(errno));
	else
		n->state = RUNS;
	for (size_t i = 0; i < argv.n; i++)
		free(argv.items[i]);
	free(argv.items);
	return e;
}

/* A number that is free for TCP and for UDP at this moment. */
static uint16_t free_port(void)
{
	uint16_t port = 0;

	for (int tries = 0; !port && tries < 50; tries++) {
		struct sockaddr_in a = {.sin_family = AF_INET};
		socklen_t len = sizeof(a);
		int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (!bind(udp, (const struct sockaddr *)&a, sizeof(a)) &&
		    !getsockname(udp, (struct sockaddr *)&a, &len) &&
		    !bind(tcp, (const struct sockaddr *)&a, sizeof(a)))
			port = ntohs(a.sin_port);
		close(udp);
		close(tcp);
	}
	return port;
}

static enum lab_nat nat_of(const struct lab_options *o, size_t i)
{
	static const enum lab_nat mix[] = {LAB_NAT_NONE, LAB_NAT_CONE,
					   LAB_NAT_SYMMETRIC};

	if (!i) /* somebody must be where all can find it */
		return LAB_NAT_NONE;
	return o->nat == LAB_NAT_MIXED ? mix[i % 3] : o->nat;
}

static enum err node_place(struct lab *l, size_t i, struct buf *why)
{
	struct lab_node *n = &l->nodes[i];
	struct nat_place at;
	enum err e;

	n->netns = -1;
	n->nat = nat_of(l->o, i);
	if (l->net) {
		e = nat_add(l->net, n->nat, &at, why);
		if (e)
			return e;
		memcpy(n->host, at.host, sizeof(n->host));
		n->netns = at.netns;
		n->port = NAT_PORT;
		n->address = xasprintf("%s:%u", at.seen, NAT_PORT);
		return OK;
	}
	/* Labs of one machine stand apart, as far as chance will have it. */
	snprintf(n->host, sizeof(n->host), "127.%u.%u.%u",
		 64 + (unsigned)(l->o->seed & 63),
		 (unsigned)(l->o->seed >> 8 & 255), (unsigned)i + 1);
	n->port = free_port();
	e = relay_add(l->relay, n->host, n->port, &n->seen, why);
	if (!e)
		n->address = xasprintf("127.0.0.1:%u", (unsigned)n->seen);
	return e;
}

static enum err node_make(struct lab *l, size_t i, struct buf *why)
{
	const struct lab_options *o = l->o;
	struct lab_node *n = &l->nodes[i];

	n->slow = 1;
	n->dir = xasprintf("%s/%zu", o->dir, i + 1);
	n->log = xasprintf("%s/log", n->dir);
	if (i >= o->nodes - o->cheaters)
		n->cheat =
		    o->cheats[(i - (o->nodes - o->cheaters)) % o->ncheats];
	if (mkdir(n->dir, 0700) && errno != EEXIST) {
		buf_printf(why, "cannot make %s: %s", n->dir, strerror(errno));
		return ERR_IO;
	}
	return node_place(l, i, why);
}

/* --- the end --- */

static void stopped_all(void *arg)
{
	struct lab *l = arg;

	loop_stop(l->loop);
}

static bool any_runs(const struct lab *l)
{
	for (size_t i = 0; i < l->o->nodes; i++)
		if (l->nodes[i].proc.pid)
			return true;
	return false;
}

static void on_talk_stopped(void *arg)
{
	struct lab *l = arg;

	if (l->relay)
		relay_stop(l->relay, stopped_all, l);
	else if (l->net)
		nat_stop(l->net, stopped_all, l);
	else
		loop_stop(l->loop);
}

static void on_guard(void *arg)
{
	struct lab *l = arg;

	for (size_t i = 0; i < l->o->nodes; i++) {
		if (l->nodes[i].proc.pid)
			log_warn("lab", "node %zu does not end: killed", i + 1);
		proc_signal(&l->nodes[i].proc, SIGKILL);
	}
}

static void maybe_down(struct lab *l)
{
	if (!l->stopping || l->stopped || any_runs(l))
		return;
	l->stopped = true;
	write_state(l);
	for (size_t i = 0; i < l->downs; i++)
		talk_answer(l->down[i], lab_json(l));
	l->downs = 0;
	talk_stop(l->talk, l->loop, on_talk_stopped, l);
}

static void lab_down(struct lab *l)
{
	if (!l->stopping) {
		l->stopping = true;
		loop_timer_cancel(l->slicer);
		loop_timer_set(l->guard, STOP_MS);
		for (size_t i = 0; i < l->o->nodes; i++) {
			if (l->nodes[i].proc.pid)
				l->nodes[i].state = STOPPING;
			proc_signal(&l->nodes[i].proc, SIGTERM);
		}
	}
	maybe_down(l);
}

static void on_end_signal(void *arg)
{
	lab_down(arg);
}

static void node_ended(struct lab *l, struct lab_node *n)
{
	struct buf b = {0};

	proc_status(&n->proc, &b);
	log_info("lab", "node %zd ended: %s", n - l->nodes + 1, buf_str(&b));
	if (n->state == STOPPING)
		n->state = STOPPED;
	else if (n->state == RUNS)
		n->state = ENDED;
	buf_clear(&b);
	if (n->again && !l->stopping && node_start(l, n, &b))
		log_warn("lab", "%s", buf_str(&b));
	n->again = false;
	buf_release(&b);
}

static void on_child(void *arg)
{
	struct lab *l = arg;
	bool news = false;

	for (size_t i = 0; i < l->o->nodes; i++) {
		if (!proc_reap(&l->nodes[i].proc))
			continue;
		node_ended(l, &l->nodes[i]);
		news = true;
	}
	if (news && !l->stopping)
		write_state(l);
	maybe_down(l);
}

/* --- faults --- */

static void on_slice(void *arg)
{
	struct lab *l = arg;

	l->slice++;
	for (size_t i = 0; i < l->o->nodes; i++) {
		struct lab_node *n = &l->nodes[i];
		proc_pause(&n->proc, n->slow > 1 && n->state == RUNS &&
					 l->slice % n->slow);
	}
}

static void slow_changed(struct lab *l)
{
	bool any = false;

	for (size_t i = 0; i < l->o->nodes; i++)
		any |= l->nodes[i].slow > 1;
	if (!any) {
		loop_timer_cancel(l->slicer);
		l->slice = 0;
		on_slice(l);
	} else if (!loop_timer_armed(l->slicer)) {
		loop_timer_every(l->slicer, SLICE_MS);
	}
}

static void net_changed(struct lab *l)
{
	if (l->relay)
		relay_changed(l->relay);
}

static enum err again(struct lab *l, struct lab_node *n, struct buf *why)
{
	if (n->proc.pid) {
		n->state = STOPPING;
		n->again = true;
		proc_signal(&n->proc, SIGTERM);
		return OK;
	}
	return node_start(l, n, why);
}

struct fault {
	struct lab *lab;
	int64_t value;
	unsigned group;
};

static enum err fault_kill(struct fault *f, struct lab_node *n, struct buf *why)
{
	(void)f, (void)why;
	if (n->proc.pid)
		n->state = KILLED;
	n->again = false;
	proc_signal(&n->proc, SIGKILL);
	return OK;
}

static enum err fault_start(struct fault *f, struct lab_node *n,
			    struct buf *why)
{
	if (n->state == STOPPING) {
		n->again = true;
		return OK;
	}
	return n->state == RUNS ? OK : again(f->lab, n, why);
}

static enum err fault_cut(struct fault *f, struct lab_node *n, struct buf *why)
{
	(void)why;
	f->lab->im.nodes[n - f->lab->nodes].group = f->group;
	return OK;
}

static enum err fault_slow(struct fault *f, struct lab_node *n, struct buf *why)
{
	(void)why;
	n->slow = (unsigned)f->value;
	return OK;
}

static enum err fault_skew(struct fault *f, struct lab_node *n, struct buf *why)
{
	if (n->skew_s == f->value)
		return OK;
	n->skew_s = f->value;
	return n->state == RUNS ? again(f->lab, n, why) : OK;
}

static enum err fault_heal(struct fault *f, struct lab_node *n, struct buf *why)
{
	const bool skewed = n->skew_s != 0;

	f->lab->im.nodes[n - f->lab->nodes].group = 0;
	n->slow = 1;
	n->skew_s = 0;
	return skewed && n->state == RUNS ? again(f->lab, n, why)
					  : fault_start(f, n, why);
}

static const struct fault_kind {
	const char *name;
	int64_t min, max; /* of the value; both 0: it has none */
	enum err (*apply)(struct fault *f, struct lab_node *n, struct buf *why);
} fault_kinds[] = {
    {"kill", 0, 0, fault_kill},
    {"start", 0, 0, fault_start},
    {"cut", 0, 0, fault_cut},
    {"slow", 2, SLOW_MAX, fault_slow},
    {"skew", -SKEW_MAX, SKEW_MAX, fault_skew},
    {"heal", 0, 0, fault_heal},
};

static const struct fault_kind *fault_named(const char *name)
{
	for (size_t i = 0; name && i < HN_COUNT(fault_kinds); i++)
		if (!strcmp(fault_kinds[i].name, name))
			return &fault_kinds[i];
	return NULL;
}

static enum err fault_check(const struct lab *l, const struct fault_kind *k,
			    const struct json *q, struct buf *why)
{
	const struct json *nodes = json_get(q, "nodes");
	const int64_t value = json_get_int(json_get(q, "value"));

	if (!k) {
		buf_add_str(why, "there is kill, start, cut, slow, skew, heal");
		return ERR_INPUT;
	}
	if (k->max &&
	    (!json_get(q, "value") || value < k->min || value > k->max)) {
		buf_printf(why,
			   "%s takes a number from %" PRId64 " to %" PRId64,
			   k->name, k->min, k->max);
		return ERR_INPUT;
	}
	if (!k->max && json_get(q, "value")) {
		buf_printf(why,
			   "%s takes no value; several nodes are 2,4 or all",
			   k->name);
		return ERR_INPUT;
	}
	for (size_t i = 0; i < json_count(nodes); i++) {
		const int64_t n = json_get_int(json_at(nodes, i));
		if (n < 1 || n > (int64_t)l->o->nodes) {
			buf_printf(why,
				   "this lab has nodes 1 to %zu, and no node "
				   "%" PRId64,
				   l->o->nodes, n);
			return ERR_INPUT;
		}
	}
	return OK;
}

static enum err do_fault(struct lab *l, const struct json *q, struct buf *why)
{
	const struct fault_kind *k =
	    fault_named(json_get_str(json_get(q, "what")));
	const struct json *nodes = json_get(q, "nodes");
	size_t n = json_count(nodes);

	enum err e = fault_check(l, k, q, why);
	if (e)
		return e;
	struct fault f = {.lab = l,
			  .value = json_get_int(json_get(q, "value")),
			  .group = ++l->groups};
	for (size_t i = 0; !e && i < (n ? n : l->o->nodes); i++) {
		const size_t at =
		    n ? (size_t)json_get_int(json_at(nodes, i)) - 1 : i;
		log_info("lab", "%s node %zu", k->name, at + 1);
		e = k->apply(&f, &l->nodes[at], why);
	}
	slow_changed(l);
	net_changed(l);
	write_state(l);
	return e;
}

/* --- what it is told to do --- */

static void on_asked(void *arg, struct talk_client *c, const struct json *q)
{
	const char *what = json_get_str(json_get(q, "do"));
	struct lab *l = arg;
	struct buf why = {0};
	enum err e = OK;

	if (what && !strcmp(what, "down")) {
		if (l->downs == DOWNS_MAX) {
			talk_refuse(c, ERR_BUSY, "it is going down");
			return;
		}
		l->down[l->downs++] = c;
		lab_down(l);
		return;
	}
	if (l->stopping) {
		e = ERR_GONE;
		buf_add_str(&why, "this lab is going down");
	} else if (what && !strcmp(what, "fault")) {
		e = do_fault(l, q, &why);
	} else if (!what || strcmp(what, "state") != 0) {
		e = ERR_INPUT;
		buf_add_str(&why, "a lab knows state, fault and down");
	}
	if (e)
		talk_refuse(c, e, buf_str(&why));
	else
		talk_answer(c, lab_json(l));
	buf_release(&why);
}

static enum err listen_here(struct lab *l, struct buf *why)
{
	char *path = xasprintf("%s/socket", l->o->dir);
	enum err e = talk_new(l->loop, path, on_asked, l, why, &l->talk);

	free(path);
	return e;
}

/* --- the whole --- */

static enum err start_all(struct lab *l, struct buf *why)
{
	const struct lab_options *o = l->o;
	enum err e = OK;

	if (o->nat)
		e = nat_new(l->loop, &l->im, why, &l->net);
	else
		l->relay = relay_new(l->loop, &l->im);
	for (size_t i = 0; !e && i < o->nodes; i++)
		e = node_make(l, i, why);
	for (size_t i = 0; !e && i < o->nodes; i++)
		e = node_start(l, &l->nodes[i], why);
	if (!e)
		e = listen_here(l, why);
	return e;
}

static void on_begin(void *arg)
{
	struct lab *l = arg;
	struct buf why = {0};

	enum err e = start_all(l, &why);
	if (!e)
		write_state(l);
	l->o->ready(l->o->arg, e, buf_str(&why));
	if (e) {
		l->code = err_exit(e);
		lab_down(l);
	}
	buf_release(&why);
}

int lab_run(const struct lab_options *o)
{
	struct lab *l = HN_NEW(struct lab);
	int code;

	signal(SIGPIPE, SIG_IGN);
	l->o = o;
	l->loop = loop_new();
	impair_init(&l->im, o->seed);
	l->im.loss = o->loss;
	l->im.delay_us = o->delay_us;
	l->im.bandwidth = o->bandwidth;
	for (size_t i = 0; i < LAB_NODES_MAX; i++)
		l->nodes[i].netns = -1;
	l->slicer = loop_timer_new(l->loop, on_slice, l);
	l->guard = loop_timer_new(l->loop, on_guard, l);
	loop_signal(l->loop, SIGCHLD, on_child, l);
	loop_signal(l->loop, SIGINT, on_end_signal, l);
	loop_signal(l->loop, SIGTERM, on_end_signal, l);
	loop_signal(l->loop, SIGHUP, on_end_signal, l);
	loop_post(l->loop, on_begin, l);
	loop_run(l->loop);
	loop_timer_free(l->slicer);
	loop_timer_free(l->guard);
	loop_free(l->loop);
	for (size_t i = 0; i < o->nodes; i++) {
		free(l->nodes[i].dir);
		free(l->nodes[i].log);
		free(l->nodes[i].address);
	}
	code = l->code;
	free(l);
	return code;
}
