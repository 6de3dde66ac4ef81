/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Verbs about this node: what it is, what it offers, which topics it is in.
 */
#include "asic/kernel.h"
#include "dht/record.h"
#include "node/base/identity.h"
#include "node/base/json.h"
#include "node/base/log.h"
#include "node/base/loop.h"
#include "node/cli.h"
#include "node/cli_verbs.h"
#include "node/mesh/membership.h"
#include "node/mesh/wire.h"
#include "node/out.h"
#include "node/version.h"
#include "rpc/rpc.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/utsname.h>
#include <unistd.h>

static const char nothing; /* the request of methods that need none */

/* --- stop --- */

#define STOP_S 10

static void on_alarm(int signum)
{
	(void)signum;
}

/* A node holds a lock on DIR/pid as long as it runs. */
static bool wait_for_end(struct cli *c)
{
	struct sigaction alarm_action = {.sa_handler = on_alarm};
	int fd = open(cli_path(c, "pid"), O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT;
	sigaction(SIGALRM, &alarm_action, NULL);
	alarm(STOP_S);
	bool ended = !flock(fd, LOCK_SH);
	alarm(0);
	close(fd);
	return ended;
}

static int run_stop(struct cli *c)
{
	struct buf why = {0};
	const void *reply;

	enum err e = cli_ask(c, "node.stop", &nothing, 0, &reply, &why);
	/* Its answer may be lost with the socket. */
	int code = !e || (e == ERR_GONE && !c->session)
		       ? 0
		       : out_fail(e, "%s", buf_str(&why));
	buf_release(&why);
	if (code)
		return code;
	if (!wait_for_end(c))
		return out_fail(ERR_TIMEOUT,
				"the node was told to stop, but still runs "
				"after %d s: see its log",
				STOP_S);
	if (c->cfg.json) {
		struct json *j = json_object();
		json_set(j, "stopped", json_bool(true));
		out_json(j);
	} else {
		out_note("stopped");
	}
	return 0;
}

const struct verb verb_stop = {
    .name = "stop",
    .summary = "end the node that runs here",
    .example = "hnode stop",
    .run = run_stop,
};

/* --- status --- */

static void put_caps(const struct list *caps, struct buf *b)
{
	const struct cap_info *c = caps->items;

	for (size_t i = 0; i < caps->n; i++) {
		buf_printf(b, "%s%s", i ? ", " : "", c[i].name);
		if (c[i].rate) {
			buf_add_str(b, " ");
			out_rate(b, c[i].rate);
		}
		if (c[i].paused)
			buf_add_str(b, " (paused)");
	}
	if (!caps->n)
		buf_add_str(b, "nothing (see `hnode offer --help`)");
}

static void line(const char *head, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void line(const char *head, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	char *text = xvasprintf(fmt, ap);
	va_end(ap);
	out("%-9s %s\n", head, text);
	free(text);
}

static void show_topics(const struct list *topics)
{
	const struct topic_info *t = topics->items;

	for (size_t i = 0; i < topics->n; i++)
		line(i ? "" : "topics", "%s (%s), %" PRIu64 " other%s",
		     t[i].topic,
		     t[i].offered  ? "offered"
		     : t[i].joined ? "joined"
				   : "followed",
		     t[i].peers, out_s(t[i].peers));
}

static void show_devices(const struct list *devices)
{
	const struct device_info *d = devices->items;

	for (size_t i = 0; i < devices->n; i++) {
		struct buf b = {0};
		if (d[i].rate) {
			out_rate(&b, d[i].rate);
			buf_add_str(&b, ", ");
		}
		buf_printf(&b, "%" PRIu64 " unit%s at work, ", d[i].running,
			   out_s(d[i].running));
		out_count(&b, d[i].hashes);
		line(i ? "" : "devices",
		     "%s %s, %" PRIu64 " thread%s, kernel %s", d[i].id,
		     d[i].model ? d[i].model : "-", d[i].threads,
		     out_s(d[i].threads), d[i].kernel ? d[i].kernel : "-");
		line("", "%s hash%s", buf_str(&b),
		     d[i].hashes == 1 ? "" : "es");
		buf_release(&b);
	}
}

/* What the machine says, as far as it was looked at. */
static void put_machine(const struct lending_info *l, struct buf *b)
{
	if (l->others.set)
		buf_printf(b, "others use %" PRIu64 ".%" PRIu64 " %%",
			   l->others.v / 10, l->others.v % 10);
	if (l->input_ms.set) {
		buf_printf(b, "%slast input ", b->n ? ", " : "");
		out_age(b, l->input_ms.v);
		buf_add_str(b, " ago");
	}
	if (l->heat.set)
		buf_printf(b, "%s%" PRIu64 " C (%s)", b->n ? ", " : "",
			   (l->heat.v + 500) / 1000,
			   l->heat_of ? l->heat_of : "-");
	if (l->on_battery && strcmp(l->on_battery, "unknown") != 0)
		buf_printf(b, "%s%s", b->n ? ", " : "",
			   !strcmp(l->on_battery, "yes") ? "on battery"
							 : "on mains");
	if (l->charge.set)
		buf_printf(b, " (%" PRIu64 " %%)", l->charge.v);
}

static void show_lending(const struct lending_info *l)
{
	struct buf b = {0};

	if (!l->active)
		return;
	line("lends", "%" PRIu64 " unit%s of %" PRIu64 " job%s now; limits: %s",
	     l->units, out_s(l->units), l->jobs, out_s(l->jobs),
	     l->summary ? l->summary : "none");
	if (l->why)
		line("", "%s%s", l->allowed ? "" : "paused: ", l->why);
	if (l->change_ms) {
		out_age(&b, l->change_ms);
		line("", "%s in %s at the earliest",
		     l->allowed ? "pauses" : "goes on", buf_str(&b));
		buf_clear(&b);
	}
	put_machine(l, &b);
	if (b.n)
		line("", "%s", buf_str(&b));
	if (l->blind)
		line("",
		     "no sensor here speaks for: %s; these limits hold "
		     "nothing back",
		     l->blind);
	buf_release(&b);
}

static void show_site(const struct site_info *s)
{
	const struct site_node *n = s->behind.items;
	struct buf b = {0};

	if (s->head)
		line("site", "%s, behind %s%s", s->name ? s->name : "-",
		     s->head, s->joined ? "" : " (not taken in)");
	else if (s->name)
		line("site", "%s, %zu node%s behind this one", s->name,
		     s->behind.n, out_s(s->behind.n));
	for (size_t i = 0; i < s->behind.n; i++) {
		buf_clear(&b);
		out_rate(&b, n[i].rate);
		line("",
		     "%s %s, %" PRIu64 " device%s, %" PRIu64 " parts done%s",
		     n[i].name ? n[i].name : "-", buf_str(&b), n[i].devices,
		     out_s(n[i].devices), n[i].parts,
		     n[i].here ? "" : ", takes no work now");
	}
	buf_release(&b);
}

static void show_status(const struct node_status *s)
{
	struct buf b = {0};
	bool open = s->mesh && !strcmp(s->mesh, "public");

	out("%s\n", s->word);
	for (size_t i = 0; i < s->reasons.n; i++) {
		buf_clear(&b);
		out_wrap(&b, s->reasons.items[i], 2);
		out("%s\n", buf_str(&b));
	}
	char hex[65];
	hex_encode(s->id, sizeof(s->id), hex);
	line("id", "%s", hex);
	line("name", "%s", s->name);
	buf_clear(&b);
	out_age(&b, s->uptime_ms);
	buf_add_str(&b, ", ");
	out_bytes(&b, s->rss_kib * 1024);
	line("process", "%s, pid %" PRIu64 ", up %s", s->software, s->pid,
	     buf_str(&b));
	line("mesh", "\"%s\"%s, role %s", s->mesh,
	     open ? " (open; `hnode invite` makes a private one)" : "",
	     s->role ? s->role : "both");
	if (s->port)
		line("port", "%" PRIu64 " tcp+udp, dht %s", s->port, s->dht);
	else
		line("port", "none (--no-listen), dht %s", s->dht);
	for (size_t i = 0; i < s->address.n; i++)
		line(i ? "" : "address", "%s", s->address.items[i]);
	line("peers", "%" PRIu64 " session%s, %" PRIu64 " other node%s known",
	     s->sessions, out_s(s->sessions), s->peers_known,
	     out_s(s->peers_known));
	if (s->quarantined || s->barred)
		line("",
		     "no work for %" PRIu64 " quarantined, %" PRIu64
		     " barred: `hnode peers --stats` says why",
		     s->quarantined, s->barred);
	line("jobs", "%" PRIu64 " open", s->jobs_open);
	buf_clear(&b);
	put_caps(&s->offers, &b);
	line("offers", "%s", buf_str(&b));
	show_lending(&s->lending);
	show_site(&s->site);
	show_topics(&s->topics);
	show_devices(&s->devices);
	line("files", "%s", s->data_dir);
	buf_release(&b);
}

static int run_status(struct cli *c)
{
	const void *reply;

	int code = cli_call(c, "node.status", &nothing, 0, &reply);
	if (code)
		return code;
	const struct node_status *s = reply;
	if (c->cfg.json) {
		out_message(&node_status_message, s);
	} else {
		show_status(s);
		const struct counter *n = s->counters.items;
		for (size_t i = 0; c->cfg.verbose && i < s->counters.n; i++)
			out("  %-28s %" PRIu64 "\n", n[i].name, n[i].value);
	}
	return s->word && !strcmp(s->word, "degraded") ? 2 : 0;
}

const struct verb verb_status = {
    .name = "status",
    .summary = "is this node well: peers, topics, devices",
    .more = "Exit 0 healthy, 2 degraded (and why), 69 no node. With -v its "
	    "counters.",
    .example = "hnode status\nhnode status --json",
    .run = run_status,
};

/* --- id --- */

static int run_id(struct cli *c)
{
	struct buf why = {0};
	struct identity *me;
	bool fresh;
	int code = 0;
	char *path = cli_path(c, "node.key");

	if (access(path, F_OK))
		return out_fail(ERR_NOTFOUND,
				"there is no %s yet: the first `hnode` on this "
				"directory makes it",
				path);
	enum err e = identity_load(path, "node", &fresh, &why, &me);
	if (e) {
		code = out_fail(e, "%s", buf_str(&why));
	} else {
		const struct node_id *id = identity_id(me);
		if (c->cfg.json) {
			struct json *j = json_object();
			json_set(j, "id", json_str(node_hex(id)));
			json_set(j, "name", json_str(node_str(id)));
			out_json(j);
		} else {
			out("%s %s\n", node_hex(id), node_str(id));
		}
		identity_free(me);
	}
	buf_release(&why);
	return code;
}

const struct verb verb_id = {
    .name = "id",
    .summary = "this node's id and its name",
    .more = "Needs no running node.",
    .example = "hnode id",
    .run = run_id,
};

/* --- offers and topics --- */

static void show_offers(const struct offer_list *l, bool all)
{
	static const char *const heads[] = {"OFFER", ">RATE", ">FREE",
					    ">DEVICES", ">SLOTS"};
	struct table *t = table_new(heads, HN_COUNT(heads), false);
	const struct cap_info *c = l->offers.items;
	struct buf b = {0};

	for (size_t i = 0; i < l->offers.n; i++) {
		buf_clear(&b);
		out_rate(&b, c[i].rate);
		table_cell(t, PLAIN, "%s", c[i].name);
		table_cell(t, PLAIN, "%s", buf_str(&b));
		table_cell(t, PLAIN, "%" PRIu64 " %%", c[i].free);
		table_cell(t, PLAIN, "%" PRIu64, c[i].devices);
		table_cell(t, PLAIN, "%" PRIu64, c[i].slots);
	}
	if (l->offers.n)
		table_print(t);
	else
		table_free(t);
	if (l->offers.n)
		show_lending(&l->lending);
	if (!l->offers.n && all)
		out_note("nothing is offered; `hnode offer hash/sha256d` "
			 "offers this machine's processor");
	buf_release(&b);
}

static void show_topic_table(const struct topic_list *l)
{
	static const char *const heads[] = {"*TOPIC", "HERE", ">OTHERS"};
	struct table *t = table_new(heads, HN_COUNT(heads), false);
	const struct topic_info *i = l->topics.items, *end = i + l->topics.n;

	for (; i < end; i++) {
		table_cell(t, PLAIN, "%s", i->topic);
		table_cell(t, i->offered ? GREEN : PLAIN, "%s",
			   i->offered  ? "offered"
			   : i->joined ? "joined"
				       : "followed");
		table_cell(t, PLAIN, "%" PRIu64, i->peers);
	}
	table_print(t);
}

/* Whichever of the two a method answers with. */
static int topic_call(struct cli *c, const char *method, const char *topic,
		      const struct strs *limits)
{
	/* Its beginning is a struct topic_ref. */
	struct offer_add ref = {.topic = (char *)topic};
	const void *request = topic ? (const void *)&ref : &nothing;
	const struct rpc_method *m;
	const void *reply;

	if (limits)
		ref.limits = *limits;
	int code = cli_call(c, method, request, 0, &reply);
	if (code)
		return code;
	m = rpc_method_find(c->rpc, method);
	if (c->cfg.json)
		out_message(m->reply ? m->reply : &message_empty, reply);
	else if (m->reply == &offer_list_message)
		show_offers(reply, !topic);
	else if (m->reply == &topic_list_message)
		show_topic_table(reply);
	return 0;
}

struct offer_opts {
	bool stop;
	struct lend_texts lend;
};
static const struct opt offer_opts[] = {
    {.flag = "stop",
     .type = OPT_BOOL,
     .offset = offsetof(struct offer_opts, stop),
     .help = "offer it no more; work that others gave is given back"},
#define X(id, name, flag, meta, def, help) \
	LEND_OPT(struct offer_opts, lend, id, name, NULL, NULL, meta, help),
    LEND_LIMITS(X)
#undef X
};

static int run_offer(struct cli *c)
{
	const struct offer_opts *o = c->values;
	const char *cap = c->args.n ? c->args.items[0] : NULL;
	struct strs limits;

	lend_pairs(&o->lend, &c->arena, &limits);
	if (!cap && (o->stop || limits.n))
		return cli_usage(c, "name the capability, too, such as "
				    "hash/sha256d");
	if (o->stop && limits.n)
		return cli_usage(c, "--stop takes no limits");
	int code = topic_call(c,
			      !cap	? "offer.list"
			      : o->stop ? "offer.stop"
					: "offer.add",
			      cap, &limits);
	if (!code && cap)
		out_note(o->stop ? "%s is offered no more"
				 : "%s is offered to the mesh until it is "
				   "stopped or the node ends",
			 cap);
	return code;
}

const struct verb verb_offer = {
    .name = "offer",
    .args = "[CAP [--stop]]",
    .summary = "what this machine does for others, how much",
    .more = "Nothing is offered unless asked. CAP is hash/sha256d: searches "
	    "and batches of\ndigests, single SHA-256 too. Limits hold for all "
	    "that others get of this\nmachine, not for its own jobs; those "
	    "not named stay as they are. When one of\nthem says no, units "
	    "are handed back where they are and others do the rest.",
    .example = "hnode offer hash/sha256d --share 50% --when idle\n"
	       "hnode offer hash/sha256d --hours 23-07 --max-temp 80C\n"
	       "hnode offer\nhnode offer hash/sha256d --stop",
    VERB_OPTS(offer_opts, struct offer_opts),
    .max_args = 1,
    .run = run_offer,
};

static int run_join(struct cli *c)
{
	return topic_call(c, "topic.join", c->args.items[0], NULL);
}

const struct verb verb_join = {
    .name = "join",
    .args = "TOPIC",
    .summary = "be seen under a topic and see who is there",
    .example = "hnode join hash/sha256d",
    .min_args = 1,
    .max_args = 1,
    .run = run_join,
};

static int run_leave(struct cli *c)
{
	return topic_call(c, "topic.leave", c->args.items[0], NULL);
}

const struct verb verb_leave = {
    .name = "leave",
    .args = "TOPIC",
    .summary = "leave a topic that was joined",
    .example = "hnode leave hash/sha256d",
    .min_args = 1,
    .max_args = 1,
    .run = run_leave,
};

/* The mesh this directory is in; `public` where there is nothing yet. */
static enum err stored_keys(struct cli *c, char **mesh, struct mesh_keys *keys,
			    struct buf *why)
{
	char *path = cli_path(c, "node.key");
	struct identity *me = NULL;
	struct membership *m;
	bool fresh;

	if (access(path, F_OK)) {
		static const uint8_t no_owner[32];
		uint8_t id[32], key[32];
		mesh_public_key(key);
		mesh_id_of(no_owner, "public", id);
		mesh_keys_derive(id, key, keys);
		*mesh = "public";
		return OK;
	}
	enum err e = identity_load(path, "node", &fresh, why, &me);
	if (!e)
		e = membership_load(c->cfg.data_dir, me, why, &m);
	if (!e) {
		membership_keys(m, keys);
		*mesh = arena_printf(&c->arena, "%s", m->name);
		membership_free(m);
	}
	identity_free(me);
	return e;
}

static int run_topic_id(struct cli *c)
{
	const char *name = c->args.items[0];
	struct mesh_keys keys;
	struct topic_id id;
	struct buf why = {0};
	char *mesh, hex[65];
	int code = 0;

	enum err e = topic_check(name, &why);
	if (!e)
		e = stored_keys(c, &mesh, &keys, &why);
	if (e) {
		code = out_fail(e, "%s", buf_str(&why));
	} else {
		topic_id_of(&keys, name, &id);
		hex_encode(id.b, sizeof(id.b), hex);
		if (c->cfg.json) {
			struct json *j = json_object();
			json_set(j, "topic", json_str(name));
			json_set(j, "id", json_str(hex));
			json_set(j, "dht_key", json_str_n(hex, 40));
			json_set(j, "mesh", json_str(mesh));
			out_json(j);
		} else {
			out("%s\n", hex);
			out_note("%s in the mesh \"%s\"", name, mesh);
		}
	}
	buf_release(&why);
	return code;
}

const struct verb verb_topic_id = {
    .name = "topic id",
    .args = "NAME",
    .summary = "the id of a topic in this node's mesh",
    .more = "Needs no running node. The first 20 bytes are its DHT key.",
    .example = "hnode topic id hash/sha256d",
    .min_args = 1,
    .max_args = 1,
    .run = run_topic_id,
};

/* --- version, help --- */

static int run_version(struct cli *c)
{
	const struct kernel *k;
	struct utsname u;
	struct buf b = {0};
	size_t n;

	k = kernel_list(&n);
	if (uname(&u))
		memset(&u, 0, sizeof(u));
	if (c->cfg.json) {
		struct json *j = json_object(), *names = json_array();
		json_set(j, "version", json_str(HN_VERSION));
		json_set(j, "commit", json_str(HN_COMMIT));
		json_set(j, "os", json_str("linux"));
		json_set(j, "arch", json_str(u.machine));
		for (size_t i = n; i--;)
			if (k[i].usable())
				json_add(names, json_str(k[i].name));
		json_set(j, "kernels", names);
		out_json(j);
		return 0;
	}
	for (size_t i = n; i--;)
		if (k[i].usable())
			buf_printf(&b, " %s", k[i].name);
	out("%s (%s) linux %s, kernels:%s\n", HN_SOFTWARE, HN_COMMIT, u.machine,
	    buf_str(&b));
	buf_release(&b);
	return 0;
}

const struct verb verb_version = {
    .name = "version",
    .summary = "version, platform, kernels that run here",
    .example = "hnode version",
    .run = run_version,
};

struct help_opts {
	bool man;
};
static const struct opt help_opts[] = {
    {.flag = "man",
     .type = OPT_BOOL,
     .offset = offsetof(struct help_opts, man),
     .help = "the whole manual page as roff"},
};

static int run_help(struct cli *c)
{
	const struct help_opts *o = c->values;
	const struct verb *v;

	if (o->man) {
		help_man();
		return 0;
	}
	if (!c->args.n) {
		help_all(false);
		return 0;
	}
	char *name = c->args.n > 1
			 ? arena_printf(&c->arena, "%s %s", c->args.items[0],
					c->args.items[1])
			 : c->args.items[0];
	v = verb_named(name);
	if (!v && c->args.n == 1 && verb_is_group(name)) {
		help_group(name);
		return 0;
	}
	if (!v)
		return cli_usage(c, "there is no `hnode %s`", name);
	help_verb(v);
	return 0;
}

const struct verb verb_help = {
    .name = "help",
    .args = "[VERB]",
    .summary = "this list, or a verb's options",
    .example = "hnode help submit search\nhnode help --man | man -l -",
    VERB_OPTS(help_opts, struct help_opts),
    .max_args = 2,
    .run = run_help,
};
