/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Verbs about other nodes.
 */
#include "node/base/identity.h"
#include "node/base/json.h"
#include "node/cli.h"
#include "node/cli_verbs.h"
#include "node/mesh/wire.h"
#include "node/out.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char nothing;

/* --- peers, find --- */

static enum colour state_colour(const char *state)
{
	if (!strcmp(state, "ok"))
		return GREEN;
	if (!strcmp(state, "retry") || !strcmp(state, "dialling") ||
	    !strcmp(state, "paused"))
		return YELLOW;
	if (!strcmp(state, "lost") || !strcmp(state, "dropped"))
		return RED;
	return !strcmp(state, "left") ? FAINT : PLAIN;
}

static const char *or_dash(const char *s)
{
	return s && *s ? s : "-";
}

/* Names of all offers; the rate of the fastest. */
static void put_offers(const struct list *offers, struct buf *names,
		       uint64_t *rate)
{
	const struct cap_info *c = offers->items;

	*rate = 0;
	buf_clear(names);
	for (size_t i = 0; i < offers->n; i++) {
		buf_printf(names, "%s%s", i ? "," : "", c[i].name);
		*rate = c[i].rate > *rate ? c[i].rate : *rate;
	}
	if (!offers->n)
		buf_add_str(names, "-");
}

/* The offer that stands for all: the first one. */
static const struct cap_info *offer_of(const struct peer_info *p)
{
	static const struct cap_info none;

	return p->offers.n ? p->offers.items : &none;
}

/* Why it does not work for us, if it does not. */
static const char *why_of(const struct peer_info *p)
{
	return p->why && *p->why ? p->why : offer_of(p)->paused;
}

static const char *state_of(const struct peer_info *p)
{
	return offer_of(p)->paused && p->state && !strcmp(p->state, "ok")
		   ? "paused"
		   : or_dash(p->state);
}

static void offer_cells(struct table *t, const struct cap_info *c)
{
	if (!c->name) {
		for (int i = 0; i < 5; i++)
			table_cell(t, PLAIN, "-");
		return;
	}
	table_cell(t, PLAIN, "%" PRIu64 " %%", c->free);
	table_cell(t, PLAIN, "%" PRIu64, c->devices);
	table_cell(t, PLAIN, "%" PRIu64, c->slots);
	table_cell(t, PLAIN, "%" PRIu64, c->price);
	table_cell(t, PLAIN, "%s", or_dash(c->region));
}

static enum colour trust_colour(const struct peer_info *p)
{
	if (!p->trust || !strcmp(p->trust, "new"))
		return PLAIN;
	if (!strcmp(p->trust, "trusted"))
		return GREEN;
	return strcmp(p->trust, "barred") ? YELLOW : RED;
}

static void peer_row(struct table *t, const struct peer_info *p, bool wide)
{
	struct buf offers = {0}, rate = {0}, rtt = {0}, age = {0};
	char hex[65];
	uint64_t best;

	put_offers(&p->offers, &offers, &best);
	out_rate(&rate, best);
	out_us(&rtt, p->rtt_us);
	table_cell(t, PLAIN, "%s", or_dash(p->name));
	table_cell(t, PLAIN, "%s", or_dash(p->path));
	table_cell(t, PLAIN, "%s", buf_str(&rtt));
	table_cell(t, PLAIN, "%s", buf_str(&offers));
	table_cell(t, PLAIN, "%s", buf_str(&rate));
	table_cell(t, state_colour(state_of(p)), "%s", state_of(p));
	if (wide) {
		out_age(&age, p->age_ms);
		hex_encode(p->id, sizeof(p->id), hex);
		table_cell(t, PLAIN, "%s", or_dash(p->address));
		table_cell(t, PLAIN, "%s", buf_str(&age));
		table_cell(t, PLAIN, "%s", or_dash(p->source));
		table_cell(t, PLAIN, "%s", or_dash(p->role));
		table_cell(t, PLAIN, "%" PRIu64, p->cores);
		table_cell(t, PLAIN, "%" PRIu64, p->ram_mib);
		table_cell(t, PLAIN, "%s", or_dash(p->cpu));
		table_cell(t, PLAIN, "%s", or_dash(p->software));
		table_cell(t, PLAIN, "%s", hex);
		offer_cells(t, offer_of(p));
		table_cell(t, PLAIN, "%s", or_dash(why_of(p)));
		table_cell(t, PLAIN, "%.2f", (double)p->score / 1000);
		table_cell(t, trust_colour(p), "%s", or_dash(p->trust));
	}
	buf_release(&offers);
	buf_release(&rate);
	buf_release(&rtt);
	buf_release(&age);
}

static void show_peers(const struct peers_list *l, bool wide)
{
	static const char *const heads[] = {
	    "PEER",    "PATH",	   ">RTT",   "*OFFERS", ">RATE",    "STATE",
	    "ADDRESS", ">HEARD",   "SOURCE", "ROLE",	">CORES",   ">RAM MIB",
	    "CPU",     "SOFTWARE", "ID",     ">FREE",	">DEVICES", ">SLOTS",
	    ">PRICE",  "REGION",   "WHY",    ">SCORE",	"TRUST"};
	struct table *t = table_new(heads, wide ? HN_COUNT(heads) : 6, wide);
	const struct peer_info *p = l->peers.items;

	for (size_t i = 0; i < l->peers.n; i++)
		peer_row(t, &p[i], wide);
	table_print(t);
	for (size_t i = 0; !wide && i < l->peers.n; i++)
		if (why_of(&p[i]) && p[i].name)
			out_note("%s: %s%s", p[i].name,
				 p[i].why && *p[i].why ? "" : "paused: ",
				 why_of(&p[i]));
}

/* What we think of each, and what stands behind its claims. */
static void show_stats(const struct peers_list *l, bool wide)
{
	static const char *const heads[] = {"PEER",   ">SCORE",	 "TRUST",
					    ">UNITS", ">FAILS",	 ">CLAIMS",
					    ">DOES",  "*REASONS"};
	struct table *t = table_new(heads, HN_COUNT(heads), wide);
	const struct peer_info *p = l->peers.items;

	for (size_t i = 0; i < l->peers.n; i++) {
		struct buf offers = {0}, claims = {0}, does = {0};
		uint64_t best;

		if (!p[i].trust)
			continue; /* ourselves */
		put_offers(&p[i].offers, &offers, &best);
		out_rate(&claims, best);
		out_rate(&does, p[i].measured);
		table_cell(t, PLAIN, "%s", or_dash(p[i].name));
		table_cell(t, PLAIN, "%.2f", (double)p[i].score / 1000);
		table_cell(t, trust_colour(&p[i]), "%s", p[i].trust);
		table_cell(t, PLAIN, "%" PRIu64, p[i].units);
		table_cell(t, PLAIN, "%" PRIu64, p[i].fails);
		table_cell(t, PLAIN, "%s", buf_str(&claims));
		table_cell(t, PLAIN, "%s", buf_str(&does));
		table_cell(t, PLAIN, "%s", or_dash(p[i].reasons));
		buf_release(&offers);
		buf_release(&claims);
		buf_release(&does);
	}
	table_print(t);
	for (size_t i = 0; i < l->peers.n; i++)
		if (p[i].trust_why && p[i].name)
			out_note("%s: %s", p[i].name, p[i].trust_why);
}

/* The connections, as they are now. */
static void show_links(const struct peers_list *l)
{
	static const char *const heads[] = {"PEER",  "PATH",   ">RTT",
					    ">LOSS", ">IN",    ">OUT",
					    ">UP",   ">CLOCK", "ADDRESS"};
	struct table *t = table_new(heads, HN_COUNT(heads), false);
	const struct peer_info *p = l->peers.items;

	for (size_t i = 0; i < l->peers.n; i++) {
		struct buf rtt = {0}, in = {0}, to = {0}, up = {0};

		if (!p[i].session_ms)
			continue;
		out_us(&rtt, p[i].rtt_us);
		out_bytes(&in, p[i].bytes_in);
		out_bytes(&to, p[i].bytes_out);
		out_age(&up, p[i].session_ms);
		table_cell(t, PLAIN, "%s", or_dash(p[i].name));
		table_cell(t, PLAIN, "%s", or_dash(p[i].path));
		table_cell(t, PLAIN, "%s", buf_str(&rtt));
		if (p[i].sent)
			table_cell(t, PLAIN, "%.2f %%",
				   100.0 * (double)p[i].resent /
				       (double)p[i].sent);
		else
			table_cell(t, PLAIN, "-");
		table_cell(t, PLAIN, "%s", buf_str(&in));
		table_cell(t, PLAIN, "%s", buf_str(&to));
		table_cell(t, PLAIN, "%s", buf_str(&up));
		table_cell(t, PLAIN, "%+.1f s", (double)p[i].clock_ms / 1000);
		table_cell(t, PLAIN, "%s", or_dash(p[i].address));
		buf_release(&rtt);
		buf_release(&in);
		buf_release(&to);
		buf_release(&up);
	}
	table_print(t);
}

static bool only_self(const struct peers_list *l)
{
	const struct peer_info *p = l->peers.items;

	for (size_t i = 0; i < l->peers.n; i++)
		if (!p[i].path || strcmp(p[i].path, "self") != 0)
			return false;
	return true;
}

enum columns { USUAL, WIDE, STATS, STATS_WIDE, LINKS };

static int list_peers(struct cli *c, const char *method,
		      const struct peers_query *q, enum columns columns,
		      const struct peers_list **out_list)
{
	const void *reply;

	int code = cli_call(c, method, q, (uint32_t)(CLI_CALL_MS + q->wait_ms),
			    &reply);
	if (code)
		return code;
	*out_list = reply;
	if (c->cfg.json)
		out_message(&peers_list_message, reply);
	else if (columns == STATS || columns == STATS_WIDE)
		show_stats(reply, columns == STATS_WIDE);
	else if (columns == LINKS)
		show_links(reply);
	else
		show_peers(reply, columns == WIDE);
	return 0;
}

struct peers_opts {
	const char *topic;
	bool wide, stats, links;
	struct opt_u64 wait;
};
#define WAIT_OPT(struct_) \
	{ \
		.flag = "wait", .type = OPT_MS, .meta = "TIME", .max = 60000, \
		.offset = offsetof(struct_, wait), \
		.help = "a first look-up waits so long for records [2s]" \
	}
#define WIDE_OPT(struct_) \
	{ \
		.flag = "wide", .type = OPT_BOOL, \
		.offset = offsetof(struct_, wide), \
		.help = "all columns, however wide" \
	}

static const struct opt peers_opts[] = {
    {.flag = "topic",
     .type = OPT_TEXT,
     .meta = "TOPIC",
     .offset = offsetof(struct peers_opts, topic),
     .help = "only those seen under this topic"},
    WIDE_OPT(struct peers_opts),
    {.flag = "stats",
     .type = OPT_BOOL,
     .offset = offsetof(struct peers_opts, stats),
     .help = "what this node thinks of each as a worker, and why"},
    {.flag = "links",
     .type = OPT_BOOL,
     .offset = offsetof(struct peers_opts, links),
     .help = "the connection to each: path, round trip, loss, bytes"},
    WAIT_OPT(struct peers_opts),
};

static int run_peers(struct cli *c)
{
	const struct peers_opts *o = c->values;
	struct peers_query q = {.topic = (char *)o->topic,
				.wait_ms = o->wait.v};
	const struct peers_list *l;

	int code = list_peers(c, "peers.list", &q,
			      o->stats	 ? (o->wide ? STATS_WIDE : STATS)
			      : o->links ? LINKS
			      : o->wide	 ? WIDE
					 : USUAL,
			      &l);
	if (code || c->cfg.json || !only_self(l))
		return code;
	if (o->topic)
		out_note(
		    "nobody else is seen under %s; --wait 30s waits longer",
		    o->topic);
	else
		out_note("nobody else yet: start another node on this network, "
			 "give this one --bootstrap\nHOST:PORT, or use `hnode "
			 "dial ID@HOST:PORT`; `hnode status` says what is "
			 "wrong");
	return 0;
}

const struct verb verb_peers = {
    .name = "peers",
    .summary = "the nodes we know, this one first",
    .more = "--stats: a score from 0 to 1 (a stranger has 0.5) with its "
	    "reasons, which fade;\nwhether it may work; and the rate it "
	    "claims beside what it does for us.",
    .example = "hnode peers\nhnode peers --topic hash/sha256d --wide\n"
	       "hnode peers --stats",
    VERB_OPTS(peers_opts, struct peers_opts),
    .run = run_peers,
};

struct find_opts {
	const char *cap;
	struct opt_u64 min_rate, max_rtt, wait;
	bool wide;
};
static const struct opt find_opts[] = {
    {.flag = "cap",
     .type = OPT_TEXT,
     .meta = "CAP",
     .offset = offsetof(struct find_opts, cap),
     .help = "that offer this capability"},
    {.flag = "min-rate",
     .type = OPT_RATE,
     .meta = "RATE",
     .offset = offsetof(struct find_opts, min_rate),
     .help = "at least as fast, such as 1MH"},
    {.flag = "max-rtt",
     .type = OPT_MS,
     .meta = "TIME",
     .offset = offsetof(struct find_opts, max_rtt),
     .help = "with a round trip of at most this, such as 50ms"},
    WIDE_OPT(struct find_opts),
    WAIT_OPT(struct find_opts),
};

static int run_find(struct cli *c)
{
	const struct find_opts *o = c->values;
	struct peers_query q = {.cap = (char *)o->cap,
				.min_rate = o->min_rate.v,
				.max_rtt_us = o->max_rtt.v * 1000,
				.wait_ms = o->wait.v};
	const struct peers_list *l;

	int code = list_peers(c, "peers.find", &q, o->wide ? WIDE : USUAL, &l);
	if (!code && !l->peers.n) {
		if (!c->cfg.json)
			out_note("nobody offers that now: ask for less, or "
				 "wait longer with --wait 30s");
		return 1;
	}
	return code;
}

const struct verb verb_find = {
    .name = "find",
    .args = "[--cap CAP]",
    .summary = "nodes that can do something",
    .more = "Exit 1 when there is none.",
    .example = "hnode find --cap hash/sha256d --min-rate 1MH",
    VERB_OPTS(find_opts, struct find_opts),
    .run = run_find,
};

/* --- dial --- */

#define DIAL_MS 10000

struct dial_opts {
	struct opt_u64 timeout;
};
static const struct opt dial_opts[] = {
    {.flag = "timeout",
     .type = OPT_MS,
     .meta = "TIME",
     .min = 100,
     .max = 600000,
     .offset = offsetof(struct dial_opts, timeout),
     .help = "give up after so long [10s]"},
};

static bool is_id_at_address(const char *text, struct buf *why)
{
	const char *at = strchr(text, '@');
	uint8_t id[NODE_ID_SIZE];

	if (!at) {
		buf_printf(why,
			   "`%s` names no node: write ID@HOST:PORT. A session "
			   "is only opened to a known key, or a stranger could "
			   "answer there; `hnode id` on that machine prints "
			   "the ID",
			   text);
		return false;
	}
	if (at - text != 2 * NODE_ID_SIZE ||
	    !hex_decode(strndupa(text, (size_t)(at - text)), id, sizeof(id))) {
		buf_add_str(why, "the ID before @ must be the 64 hex digits "
				 "that `hnode id` prints on that machine");
		return false;
	}
	struct buf what = {0};
	bool ok = config_host_port(at + 1, &what);
	if (!ok)
		buf_printf(why, "what stands behind @ %s", buf_str(&what));
	buf_release(&what);
	return ok;
}

static void show_session(const struct peer_session *s)
{
	struct buf rtt = {0};

	out_us(&rtt, s->rtt_us);
	out("%s at %s, path %s, round trip %s\n", or_dash(s->name),
	    or_dash(s->address), or_dash(s->path), buf_str(&rtt));
	buf_release(&rtt);
}

static int run_dial(struct cli *c)
{
	const struct dial_opts *o = c->values;
	struct peer_dial q = {.address = c->args.items[0],
			      .timeout_ms =
				  o->timeout.set ? o->timeout.v : DIAL_MS};
	struct buf why = {0};
	const void *reply;
	int code;

	if (!is_id_at_address(q.address, &why))
		code = cli_usage(c, "%s", buf_str(&why));
	else
		code = cli_call(c, "peer.dial", &q,
				(uint32_t)q.timeout_ms + 5000, &reply);
	buf_release(&why);
	if (code)
		return code;
	if (c->cfg.json)
		out_message(&peer_session_message, reply);
	else
		show_session(reply);
	return 0;
}

const struct verb verb_dial = {
    .name = "dial",
    .args = "ID@HOST:PORT",
    .summary = "open a session without discovery",
    .more = "The ID is what `hnode id` prints on that machine.",
    .example = "hnode dial 9f2c...e1@192.0.2.7:7450",
    VERB_OPTS(dial_opts, struct dial_opts),
    .min_args = 1,
    .max_args = 1,
    .run = run_dial,
};

/* --- ping --- */

#define PING_ROUNDS 4
#define PING_ROUNDS_MAX 10000

struct ping_opts {
	struct opt_u64 count;
};
static const struct opt ping_opts[] = {
    {.flag = "count",
     .letter = 'c',
     .type = OPT_UINT,
     .meta = "N",
     .min = 1,
     .max = PING_ROUNDS_MAX,
     .offset = offsetof(struct ping_opts, count),
     .help = "so many round trips [4]"},
};

struct ping_sum {
	uint64_t min, max, total, n;
};

static void ping_json(const struct peer_session *s, const struct ping_sum *p,
		      struct json *take_rounds)
{
	struct json *j = json_object();
	char hex[65];

	hex_encode(s->id, sizeof(s->id), hex);
	json_set(j, "id", json_str(hex));
	json_set(j, "name", json_str(s->name));
	json_set(j, "address", json_str(s->address));
	json_set(j, "path", json_str(s->path));
	json_set(j, "count", json_int((int64_t)p->n));
	json_set(j, "min_us", json_int((int64_t)p->min));
	json_set(j, "avg_us", json_int((int64_t)(p->total / p->n)));
	json_set(j, "max_us", json_int((int64_t)p->max));
	json_set(j, "rtt_us", take_rounds);
	out_json(j);
}

static int run_ping(struct cli *c)
{
	const struct ping_opts *o = c->values;
	struct peer_ref q = {.peer = c->args.items[0]};
	uint64_t rounds = o->count.set ? o->count.v : PING_ROUNDS;
	struct ping_sum sum = {.min = UINT64_MAX};
	const struct peer_session *s = NULL;
	struct json *each = json_array();

	for (uint64_t i = 0; i < rounds; i++) {
		const void *reply;
		int code = cli_call(c, "peer.ping", &q, 0, &reply);
		if (code) {
			json_free(each);
			return code;
		}
		s = reply;
		sum.min = s->rtt_us < sum.min ? s->rtt_us : sum.min;
		sum.max = s->rtt_us > sum.max ? s->rtt_us : sum.max;
		sum.total += s->rtt_us;
		sum.n++;
		json_add(each, json_int((int64_t)s->rtt_us));
		if (!c->cfg.json && !c->cfg.quiet)
			show_session(s);
	}
	if (c->cfg.json) {
		ping_json(s, &sum, each);
		return 0;
	}
	out("%" PRIu64 " round trip%s: min %.2f, avg %.2f, max %.2f ms\n",
	    sum.n, out_s(sum.n), (double)sum.min / 1000,
	    (double)sum.total / 1000 / (double)sum.n, (double)sum.max / 1000);
	json_free(each);
	return 0;
}

const struct verb verb_ping = {
    .name = "ping",
    .args = "PEER",
    .summary = "round trips to a peer over its session",
    .more = "PEER is a name or an id, or how one of them begins.",
    .example = "hnode ping fox-amber-7d21 -c 10",
    VERB_OPTS(ping_opts, struct ping_opts),
    .min_args = 1,
    .max_args = 1,
    .run = run_ping,
};

/* --- info, call --- */

static void show_info(const struct node_info *n)
{
	const struct method_info *m = n->methods.items;
	struct buf offers = {0}, up = {0}, rate = {0};
	uint64_t best;
	char hex[65];

	hex_encode(n->id, sizeof(n->id), hex);
	put_offers(&n->offers, &offers, &best);
	out_rate(&rate, best);
	out_age(&up, n->uptime_ms);
	out("id        %s\n", hex);
	out("name      %s\n", or_dash(n->name));
	out("software  %s, protocol %" PRIu64 ", up %s\n", or_dash(n->software),
	    n->protocol, buf_str(&up));
	out("mesh      \"%s\", role %s\n", or_dash(n->mesh), or_dash(n->role));
	out("machine   %" PRIu64 " cores, %" PRIu64 " MiB, kernels %s\n",
	    n->cores, n->ram_mib, or_dash(n->cpu));
	out("suites   %s%s\n", n->suites & 1 ? " ChaChaPoly" : "",
	    n->suites & 2 ? " AESGCM" : "");
	for (size_t i = 0; i < n->address.n; i++)
		out("%-9s %s\n", i ? "" : "address", n->address.items[i]);
	out("offers    %s%s%s\n", buf_str(&offers), best ? " " : "",
	    best ? buf_str(&rate) : "");
	out("methods\n");
	for (size_t i = 0; i < n->methods.n; i++)
		out("  %-18s %-8s %s\n", or_dash(m[i].name),
		    or_dash(m[i].right), or_dash(m[i].doc));
	buf_release(&offers);
	buf_release(&rate);
	buf_release(&up);
}

static int run_info(struct cli *c)
{
	struct peer_ref q = {.peer = c->args.n ? c->args.items[0] : NULL};
	const void *reply;

	int code = q.peer ? cli_call(c, "peer.info", &q, 0, &reply)
			  : cli_call(c, "node.info", &nothing, 0, &reply);
	if (code)
		return code;
	if (c->cfg.json)
		out_message(&node_info_message, reply);
	else
		show_info(reply);
	return 0;
}

const struct verb verb_info = {
    .name = "info",
    .args = "[PEER]",
    .summary = "a node about itself, and its methods",
    .more = "Without PEER: this node.",
    .example = "hnode info\nhnode info fox-amber-7d21 --json",
    .max_args = 1,
    .run = run_info,
};

#define CALL_MS 10000

struct call_opts {
	struct opt_u64 timeout;
};
static const struct opt call_opts[] = {
    {.flag = "timeout",
     .type = OPT_MS,
     .meta = "TIME",
     .min = 10,
     .max = 3600000,
     .offset = offsetof(struct call_opts, timeout),
     .help = "give up after so long [10s]"},
};

static int run_call(struct cli *c)
{
	const struct call_opts *o = c->values;
	struct peer_call q = {.peer = c->args.items[0],
			      .method = c->args.items[1],
			      .json = c->args.n > 2 ? c->args.items[2] : NULL,
			      .timeout_ms =
				  o->timeout.set ? o->timeout.v : CALL_MS};
	struct buf text = {0}, why = {0};
	const void *reply;
	int code = 0;

	if (q.json && !strcmp(q.json, "-")) {
		enum err e = cli_read("-", 65536, &text, &why);
		if (e)
			code = out_fail(e, "%s", buf_str(&why));
		q.json = arena_strndup(&c->arena, buf_str(&text), text.n);
	}
	if (!code && q.json) {
		struct json *j = NULL;
		enum err e = json_parse(q.json, strlen(q.json), &why, &j);
		if (e)
			code = cli_usage(c, "the request is %s", buf_str(&why));
		json_free(j);
	}
	if (!code)
		code = cli_call(c, "peer.call", &q,
				(uint32_t)q.timeout_ms + 2000, &reply);
	if (!code) {
		const struct peer_called *r = reply;
		out("%s\n", r->json ? r->json : "{}");
	}
	buf_release(&text);
	buf_release(&why);
	return code;
}

const struct verb verb_call = {
    .name = "call",
    .args = "PEER METHOD [JSON]",
    .summary = "call a method of a peer, JSON in and out",
    .more = "`hnode info PEER` lists the methods; JSON may be - for standard "
	    "input.",
    .example = "hnode call fox-amber-7d21 node.ping '{\"token\": 7}'",
    VERB_OPTS(call_opts, struct call_opts),
    .min_args = 2,
    .max_args = 3,
    .run = run_call,
};
