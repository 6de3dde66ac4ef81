/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Verbs about jobs. `submit --watch` follows a job to its end: progress on the
 * way, then the result; Ctrl-C cancels the job first and leaves, a second one
 * leaves at once.
 */
#include "asic/work.h"
#include "node/base/identity.h"
#include "node/base/json.h"
#include "node/base/loop.h"
#include "node/cli.h"
#include "node/cli_terms.h"
#include "node/cli_verbs.h"
#include "node/mesh/job.h"
#include "node/mesh/wire.h"
#include "node/out.h"
#include "rpc/rpc.h"

#include <ctype.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char nothing;

#define WAIT_MS 30000
#define CHECK_PERMILLE 50
#define CANCEL_MS 1800	   /* Ctrl-C: gone within 2 s */
#define JSON_EVERY_MS 1000 /* between two progress objects */
#define EXIT_INTERRUPTED 130

/* --- what was asked for --- */

struct submit_opts {
	const char *header, *range, *target;
	bool all, watch;
	struct opt_u64 wait, check;
	const char *backup;
	struct terms_opts terms;
};
static const struct opt submit_opts[] = {
    {.flag = "header",
     .type = OPT_TEXT,
     .meta = "HEX|FILE",
     .offset = offsetof(struct submit_opts, header),
     .help = "the block header: 80 or 76 bytes as hex, or a file of them; "
	     "the nonce in it is ignored"},
    {.flag = "range",
     .type = OPT_TEXT,
     .meta = "A-B",
     .offset = offsetof(struct submit_opts, range),
     .help = "nonces from A to B, both included [0-4294967295]"},
    {.flag = "target",
     .type = OPT_TEXT,
     .meta = "TARGET",
     .offset = offsetof(struct submit_opts, target),
     .help = "8 hex digits: nbits; 64: as explorers show it; diff1, "
	     "diff0.001 (default: the header's own)"},
    {.flag = "all",
     .type = OPT_BOOL,
     .offset = offsetof(struct submit_opts, all),
     .help = "find every hit, do not stop at the first"},
    {.flag = "watch",
     .letter = 'w',
     .type = OPT_BOOL,
     .offset = offsetof(struct submit_opts, watch),
     .help = "follow it to the end; Ctrl-C cancels it"},
    {.flag = "wait",
     .type = OPT_MS,
     .meta = "TIME",
     .max = UINT64_C(7) * 86400 * 1000,
     .offset = offsetof(struct submit_opts, wait),
     .help = "nobody to do it for so long: give up [30s]"},
    {.flag = "check",
     .type = OPT_PERMILLE,
     .meta = "PERCENT",
     .max = 1000,
     .offset = offsetof(struct submit_opts, check),
     .help = "of one core here, to scan work of others again [5%]"},
    {.flag = "backup",
     .type = OPT_TEXT,
     .meta = "PEER",
     .offset = offsetof(struct submit_opts, backup),
     .help = "this peer ends the job if this node is gone"},
    TERMS_ROWS(struct submit_opts),
};

/* A file if it names one, else the hex itself. */
static enum err read_header(const char *text, uint8_t out[HEADER_SIZE],
			    struct buf *why)
{
	struct buf b = {0};
	enum err e = OK;

	if (!strcmp(text, "-") || !access(text, F_OK))
		e = cli_read(text, 4096, &b, why);
	else
		buf_add_str(&b, text);
	const char *s = buf_str(&b);
	size_t at = strspn(s, " \t\r\n"), n = strlen(s);
	while (n > at && isspace((unsigned char)s[n - 1]))
		n--;
	/* As many hex digits would be another length: no text is both. */
	if (!e && (b.n == HEADER_SIZE || b.n == HEADER_SIZE - 4)) {
		memset(out, 0, HEADER_SIZE);
		memcpy(out, b.p, b.n);
	} else if (!e) {
		e = header_parse(s + at, n - at, out, why);
		if (e && b.n < 80 && strpbrk(text, "./"))
			buf_printf(why, " (there is no file %s)", text);
	}
	buf_release(&b);
	return e;
}

static enum err read_spec(const struct submit_opts *o, struct search_spec *out,
			  struct buf *why)
{
	enum err e;

	*out = (struct search_spec){
	    .end = NONCES,
	    .all = o->all,
	    .terms.wait_ms = o->wait.set ? o->wait.v : WAIT_MS,
	    .terms.check_permille = o->check.set ? o->check.v : CHECK_PERMILLE};
	if (!o->header) {
		buf_add_str(why, "it needs --header HEX|FILE");
		return ERR_INPUT;
	}
	e = terms_read(&o->terms, &out->terms, why);
	if (!e)
		e = read_header(o->header, out->header, why);
	if (e)
		return e;
	if (o->range &&
	    !opt_read_range(o->range, NONCES - 1, &out->start, &out->end)) {
		buf_add_str(why, "--range takes A-B with 0 <= A <= B <= "
				 "4294967295, decimal or 0x");
		return ERR_INPUT;
	}
	if (o->target)
		return target_parse(o->target, out->target, why);
	if (!target_from_nbits(header_nbits(out->header), out->target)) {
		buf_add_str(why, "the header has no valid nbits of its own: "
				 "give --target");
		return ERR_INPUT;
	}
	return OK;
}

/* --- what is said --- */

static const char *name_of(const char *hex)
{
	struct node_id id;

	if (!hex || !hex_decode(hex, id.b, sizeof(id.b)))
		return hex ? hex : "-";
	return node_str(&id);
}

static struct json *text_or_null(const char *s)
{
	return s ? json_str(s) : json_null();
}

static void say_progress_json(const struct job_info *i)
{
	struct json *j = json_object();

	json_set(j, "job", json_str(i->job));
	json_set(j, "state", json_str(i->state));
	json_set(j, "percent", json_num(i->percent));
	json_set(j, "rate", json_int((int64_t)i->rate));
	json_set(j, "eta_s", i->eta_s < 0 ? json_null() : json_num(i->eta_s));
	json_set(j, "hashes", json_int((int64_t)i->hashes));
	json_set(j, "seconds", json_num(i->seconds));
	json_set(j, "peers", json_int((int64_t)i->peers));
	json_set(j, "workers", json_int((int64_t)i->workers));
	json_set(j, "checked", json_num(i->checked));
	json_set(j, "waiting", text_or_null(i->waiting));
	out_json(j);
}

static struct json *hits_json(const struct list *hits)
{
	const struct job_hit *h = hits->items;
	struct json *all = json_array();

	for (size_t i = 0; i < hits->n; i++) {
		struct json *j = json_object();
		json_set(j, "nonce", json_int((int64_t)h[i].nonce));
		json_set(j, "hash", text_or_null(h[i].hash));
		json_set(j, "by", text_or_null(h[i].by));
		json_add(all, j);
	}
	return all;
}

static void say_batch_json(const struct job_info *i)
{
	struct json *j = json_object();

	json_set(j, "job", json_str(i->job));
	json_set(j, "state", json_str(i->state));
	json_set(j, "file", text_or_null(i->file));
	json_set(j, "out", text_or_null(i->out));
	json_set(j, "inputs", json_int((int64_t)i->inputs));
	json_set(j, "bytes", json_int((int64_t)i->bytes));
	json_set(j, "hashes", json_int((int64_t)i->hashes));
	json_set(j, "rate", json_int((int64_t)i->rate));
	json_set(j, "seconds", json_num(i->seconds));
	json_set(j, "peers", json_int((int64_t)i->peers));
	json_set(j, "checked", json_num(i->checked));
	out_json(j);
}

static void say_result_json(const struct job_info *i)
{
	if (i->file) {
		say_batch_json(i);
		return;
	}
	struct json *j = json_object();

	json_set(j, "job", json_str(i->job));
	json_set(j, "found", json_bool(i->found));
	json_set(j, "nonce",
		 i->nonce.set ? json_int((int64_t)i->nonce.v) : json_null());
	json_set(j, "hash", text_or_null(i->hash));
	json_set(j, "by", text_or_null(i->by));
	json_set(j, "hashes", json_int((int64_t)i->hashes));
	json_set(j, "seconds", json_num(i->seconds));
	json_set(j, "peers", json_int((int64_t)i->peers));
	json_set(j, "checked", json_num(i->checked));
	if (i->all)
		json_set(j, "hits", hits_json(&i->hits));
	out_json(j);
}

static void say_sum(const struct job_info *i)
{
	struct buf b = {0}, note = {0};

	if (!i->hashes)
		return;
	out_count(&b, i->hashes);
	if (i->file)
		buf_printf(&b, " digest%s", out_s(i->hashes));
	else
		buf_printf(&b, " hash%s", i->hashes == 1 ? "" : "es");
	buf_printf(&b, " in %.*f s, ", i->seconds < 1 ? 3 : 1, i->seconds);
	out_rate(&b, i->rate);
	out("%s, %" PRIu64 " peer%s, %.1f %% checked\n", buf_str(&b), i->peers,
	    out_s(i->peers), i->checked * 100);
	buf_release(&b);
	if (i->note && *i->note) {
		out_wrap(&note, i->note, 0);
		out_note("%s", buf_str(&note));
	}
	buf_release(&note);
}

static void say_hit(uint64_t nonce, const char *hash, const char *by)
{
	out("found nonce 0x%08" PRIx64 " (%" PRIu64 ") by %s, confirmed here\n"
	    "hash  %s\n",
	    nonce, nonce, name_of(by), hash ? hash : "-");
}

static void say_result(const struct job_info *i)
{
	const struct job_hit *h = i->hits.items;

	if (i->file) {
		if (!strcmp(i->state, "done"))
			out("digests of %" PRIu64 " input%s are in %s\n",
			    i->inputs, out_s(i->inputs), i->out);
	} else if (i->all && i->hits.n)
		for (size_t n = 0; n < i->hits.n; n++)
			say_hit(h[n].nonce, h[n].hash, h[n].by);
	else if (i->found)
		say_hit(i->nonce.v, i->hash, i->by);
	else if (!strcmp(i->state, "done"))
		out("nothing found from %" PRIu64 " to %" PRIu64 "\n", i->start,
		    i->end - 1);
	say_sum(i);
}

/* D16: 0 found, 1 the range is empty, else what ended it. */
static int result_exit(const struct job_info *i)
{
	if (!strcmp(i->state, "failed")) {
		enum err e = err_from_name(i->error ? i->error : "internal");
		return out_fail(e, "job %s: %s", i->job,
				i->text && *i->text ? i->text : err_str(e));
	}
	if (!strcmp(i->state, "canceled"))
		return out_fail(ERR_CANCELED,
				"job %s was canceled, by `hnode job cancel` or "
				"because the node stopped",
				i->job);
	return i->found || i->file ? 0 : 1;
}

/* --- following a job --- */

struct watch {
	struct cli *c;
	char *job;
	struct rpc_stream *st; /* NULL: not begun, or over */
	struct progress bar;
	uint64_t json_ms; /* of the last progress object */
	bool interrupted, canceled;
	bool over;
	enum err e;
	char *text;
	struct arena arena;
	const struct job_info *last;
};

static void on_news(void *arg, struct rpc_stream *st, const void *msg)
{
	struct watch *w = arg;
	const struct job_info *i = msg;
	uint64_t now = loop_ms(w->c->loop);

	(void)st;
	if (!i || w->interrupted)
		return;
	if (!w->c->cfg.json) {
		struct progress_state p = {.percent = i->percent,
					   .rate = i->rate,
					   .eta_s = i->eta_s,
					   .peers = i->workers,
					   .checked = i->checked,
					   .waiting = i->waiting};
		progress_show(&w->bar, &p, now);
	} else if (now - w->json_ms >= JSON_EVERY_MS) {
		w->json_ms = now;
		say_progress_json(i);
	}
}

static void on_job_end(void *arg, struct rpc_stream *st, enum err e,
		       const void *reply, const char *text)
{
	struct watch *w = arg;

	(void)st;
	w->st = NULL;
	w->over = true;
	w->e = e;
	w->text = text ? xstrdup(text) : NULL;
	if (!e) {
		struct job_info *last = arena_alloc(&w->arena, sizeof(*last));
		fields_copy(&job_info_message, reply, &w->arena, last);
		w->last = last;
	}
	loop_stop(w->c->loop);
}

static void on_canceled(void *arg, struct rpc_stream *st, enum err e,
			const void *reply, const char *text)
{
	struct watch *w = arg;

	(void)st, (void)e, (void)reply, (void)text;
	w->canceled = true;
	loop_stop(w->c->loop);
}

static void send_cancel(struct watch *w)
{
	static const struct rpc_ops ops = {.end = on_canceled};
	struct job_ref ref = {.job = w->job};

	if (rpc_call(w->c->rpc, w->c->session, "job.cancel", &ref, CANCEL_MS,
		     &ops, w, NULL)) {
		w->canceled = true;
		loop_stop(w->c->loop);
	}
}

static void on_signal(void *arg)
{
	struct watch *w = arg;

	if (w->interrupted)
		_exit(EXIT_INTERRUPTED);
	w->interrupted = true;
	progress_end(&w->bar);
	if (w->job) {
		out_note("canceling job %s (Ctrl-C again leaves at once)",
			 w->job);
		send_cancel(w);
	}
}

static int follow(struct watch *w)
{
	static const struct rpc_ops ops = {.chunk = on_news, .end = on_job_end};
	struct job_ref ref = {.job = w->job};

	w->bar = progress_start(loop_ms(w->c->loop));
	w->json_ms = loop_ms(w->c->loop);
	if (w->interrupted) /* while the job was being accepted */
		send_cancel(w);
	enum err e = rpc_call(w->c->rpc, w->c->session, "job.watch", &ref, 0,
			      &ops, w, &w->st);
	if (e)
		return out_fail(e,
				"job %s runs, but cannot be followed: see "
				"`hnode job show %s`",
				w->job, w->job);
	while (!w->over && !(w->interrupted && w->canceled))
		loop_run(w->c->loop);
	progress_end(&w->bar);
	if (w->st)
		rpc_cancel(w->st);
	return 0;
}

/* Peers that were dropped or lost have a name and a reason. */
static void say_bad_peers(struct cli *c, char *job)
{
	struct job_ref ref = {.job = job, .detail = JOB_PEERS};
	struct buf why = {0};
	const void *reply;

	if (cli_ask(c, "job.show", &ref, 2000, &reply, &why) == OK) {
		const struct job_info *i = reply;
		const struct job_peer *p = i->by_peer.items;
		for (size_t n = 0; n < i->by_peer.n; n++)
			if (p[n].why && *p[n].why)
				out_note(
				    "%s %s: %s", p[n].name ? p[n].name : "?",
				    p[n].state ? p[n].state : "", p[n].why);
	}
	buf_release(&why);
}

static int conclude(struct watch *w)
{
	struct cli *c = w->c;

	if (w->interrupted)
		return out_fail_as("canceled", EXIT_INTERRUPTED,
				   "interrupted; job %s is canceled", w->job);
	if (w->e == ERR_GONE)
		return out_fail(ERR_GONE,
				"the node stopped; job %s goes on when it "
				"starts again (`hnode job watch %s`)",
				w->job, w->job);
	if (w->e)
		return out_fail(w->e, "job %s: %s", w->job,
				w->text ? w->text : err_str(w->e));
	if (c->cfg.json) {
		say_result_json(w->last);
	} else {
		say_result(w->last);
		say_bad_peers(c, w->job);
	}
	return result_exit(w->last);
}

static int watch_job(struct watch *w, char *job)
{
	struct job_info first = {.job = job, .state = "queued", .eta_s = -1};

	w->job = job;
	if (w->c->cfg.json)
		say_progress_json(&first);
	else
		out_note("job %s", job);
	int code = follow(w);
	return code ? code : conclude(w);
}

/* Asks the peer itself: one that is away could not be a backup. */
static int find_backup(struct cli *c, const char *peer, struct job_terms *terms)
{
	struct peer_ref q = {.peer = (char *)(uintptr_t)peer};
	const void *reply;

	int code = cli_call(c, "peer.ping", &q, 0, &reply);
	if (code)
		return code;
	const struct peer_session *s = reply;
	uint8_t *id = arena_alloc(&c->arena, sizeof(s->id));

	memcpy(id, s->id, sizeof(s->id));
	terms->backup = (struct bytes){id, sizeof(s->id)};
	return 0;
}

int cli_submit(struct cli *c, const char *method, const void *spec,
	       uint32_t timeout_ms, bool watch)
{
	struct watch w = {.c = c};
	const void *reply;

	int code = c->session ? 0 : cli_open(c);
	if (!code && watch) {
		loop_signal(c->loop, SIGINT, on_signal, &w);
		loop_signal(c->loop, SIGTERM, on_signal, &w);
	}
	if (!code)
		code = cli_call(c, method, spec, timeout_ms, &reply);
	if (code)
		return code;
	const struct job_made *made = reply;
	if (watch) {
		code = watch_job(&w, made->job);
		free(w.text);
		arena_release(&w.arena);
	} else if (c->cfg.json) {
		out_message(&job_made_message, made);
	} else {
		out("%s\n", made->job);
		bool named = config_from(&c->cfg, "data-dir");
		out_note("follow it: hnode job show %s%s%s", made->job,
			 named ? " --data-dir " : "",
			 named ? c->cfg.data_dir : "");
	}
	return code;
}

static int run_submit(struct cli *c)
{
	const struct submit_opts *o = c->values;
	struct search_spec spec;
	struct buf why = {0};
	int code = 0;

	enum err e = read_spec(o, &spec, &why);
	if (e == ERR_INPUT)
		code = cli_usage(c, "%s", buf_str(&why));
	else if (e)
		code = out_fail(e, "%s", buf_str(&why));
	buf_release(&why);
	if (!code && o->backup)
		code = find_backup(c, o->backup, &spec.terms);
	return code ? code : cli_submit(c, "job.submit", &spec, 0, o->watch);
}

const struct verb verb_submit_search = {
    .name = "submit search",
    .args = "--header HEX|FILE",
    .summary = "search nonces of a block header on all peers",
    .more = "Without --watch it prints the job's id. With it: exit 0 found, 1 "
	    "the range has\nno hit, 75 nobody to do it, 130 canceled. A job "
	    "survives "
	    "its node: it goes on\nwhen that starts again.",
    .example = "hnode submit search --header header.hex --watch\n"
	       "hnode submit search --header header.hex --range 0-0xffffff "
	       "--all",
    VERB_OPTS(submit_opts, struct submit_opts),
    .run = run_submit,
};

/* --- jobs --- */

static enum colour job_colour(const char *state)
{
	if (!strcmp(state, "running"))
		return GREEN;
	if (!strcmp(state, "failed"))
		return RED;
	return !strcmp(state, "queued") ? YELLOW : PLAIN;
}

static int run_jobs(struct cli *c)
{
	static const char *const heads[] = {"JOB",   "KIND",   "STATE",
					    ">DONE", ">RATE",  ">PEERS",
					    ">TIME", "*RESULT"};
	const void *reply;

	int code = cli_call(c, "job.list", &nothing, 0, &reply);
	if (code)
		return code;
	const struct job_list *l = reply;
	if (c->cfg.json) {
		out_message(&job_list_message, l);
		return 0;
	}
	struct table *t = table_new(heads, HN_COUNT(heads), false);
	const struct job_info *i = l->jobs.items, *end = i + l->jobs.n;
	for (; i < end; i++) {
		struct buf rate = {0}, time = {0};
		out_rate(&rate, i->rate);
		out_clock(&time, i->seconds);
		table_cell(t, PLAIN, "%s", i->job);
		table_cell(t, PLAIN, "%s", i->kind);
		table_cell(t, job_colour(i->state), "%s", i->state);
		table_cell(t, PLAIN, "%.1f %%", i->percent);
		table_cell(t, PLAIN, "%s", buf_str(&rate));
		table_cell(t, PLAIN, "%" PRIu64, i->peers);
		table_cell(t, PLAIN, "%s", buf_str(&time));
		if (i->nonce.set)
			table_cell(t, GREEN, "0x%08" PRIx64, i->nonce.v);
		else
			table_cell(t, PLAIN, "%s",
				   i->error && *i->error       ? i->error
				   : i->file		       ? i->out
				   : !strcmp(i->state, "done") ? "nothing"
							       : "-");
		buf_release(&rate);
		buf_release(&time);
	}
	table_print(t);
	if (!l->jobs.n)
		out_note("no job yet: see `hnode submit search --help`");
	return 0;
}

const struct verb verb_jobs = {
    .name = "jobs",
    .summary = "the jobs submitted to this node",
    .example = "hnode jobs",
    .run = run_jobs,
};

/* --- job show, job cancel --- */

struct show_opts {
	bool by_peer, units;
};
static const struct opt show_opts[] = {
    {.flag = "by-peer",
     .type = OPT_BOOL,
     .offset = offsetof(struct show_opts, by_peer),
     .help = "who did what, and what was checked"},
    {.flag = "units",
     .type = OPT_BOOL,
     .offset = offsetof(struct show_opts, units),
     .help = "the pieces in hand, too"},
};

/* What is known of the same peers from all their jobs. */
static void show_ever(const struct job_info *i)
{
	static const char *const heads[] = {
	    "*PEER",   ">EVER",	  ">SHARES",	  ">OF",
	    ">PIECES", ">CHECKS", ">UNSEEN 10 %", ">LIES"};
	struct table *t = table_new(heads, HN_COUNT(heads), false);
	const struct job_peer *p = i->by_peer.items, *end = p + i->by_peer.n;

	for (; p < end; p++) {
		struct buf hashes = {0};
		out_count(&hashes, p->all_hashes);
		table_cell(t, PLAIN, "%s", p->name ? p->name : "?");
		table_cell(t, PLAIN, "%s", buf_str(&hashes));
		table_cell(t, PLAIN, "%" PRIu64, p->all_shares);
		table_cell(t, PLAIN, "%" PRIu64, p->all_expected);
		table_cell(t, PLAIN, "%" PRIu64, p->all_pieces);
		table_cell(t, PLAIN, "%" PRIu64, p->all_checks);
		table_cell(t, PLAIN, "%.2g", p->unseen_10);
		table_cell(t, PLAIN, "%" PRIu64, p->all_failures);
		buf_release(&hashes);
	}
	table_print(t);
}

static void show_by_peer(const struct job_info *i)
{
	static const char *const heads[] = {"*PEER",	">UNITS",  ">HASHES",
					    ">RATE",	">SHARES", ">OF",
					    ">CHECKED", "STATE"};
	struct table *t = table_new(heads, HN_COUNT(heads), false);
	const struct job_peer *p = i->by_peer.items, *end = p + i->by_peer.n;

	for (; p < end; p++) {
		struct buf rate = {0}, hashes = {0};
		out_rate(&rate, p->rate);
		out_count(&hashes, p->hashes);
		table_cell(t, PLAIN, "%s", p->name ? p->name : "?");
		table_cell(t, PLAIN, "%" PRIu64, p->units);
		table_cell(t, PLAIN, "%s", buf_str(&hashes));
		table_cell(t, PLAIN, "%s", buf_str(&rate));
		table_cell(t, PLAIN, "%" PRIu64, p->shares);
		table_cell(t, PLAIN, "%" PRIu64, p->expected_shares);
		table_cell(t, PLAIN, "%.1f %%", p->rescanned * 100);
		table_cell(t, PLAIN, "%s", p->state ? p->state : "-");
		buf_release(&rate);
		buf_release(&hashes);
	}
	table_print(t);
	if (!i->file) /* a batch has no shares */
		show_ever(i);
	p = i->by_peer.items;
	for (; p < end; p++)
		if (p->why && *p->why)
			out("%s: %s\n", p->name ? p->name : "?", p->why);
}

static void show_units(const struct job_info *i)
{
	static const char *const heads[] = {">LEASE", ">FROM", ">TO",
					    ">DONE",  "STATE", "*PEER"};
	struct table *t = table_new(heads, HN_COUNT(heads), false);
	const struct job_unit *u = i->units.items, *end = u + i->units.n;

	for (; u < end; u++) {
		uint64_t size = u->end > u->start ? u->end - u->start : 1;
		table_cell(t, PLAIN, "%" PRIu64, u->lease);
		table_cell(t, PLAIN, "%" PRIu64, u->start);
		table_cell(t, PLAIN, "%" PRIu64, u->end ? u->end - 1 : 0);
		table_cell(t, PLAIN, "%.0f %%",
			   100.0 *
			       (double)(u->below > u->start
					    ? u->below - u->start
					    : 0) /
			       (double)size);
		table_cell(t, PLAIN, "%s", u->state ? u->state : "-");
		table_cell(t, PLAIN, "%s", u->peer ? u->peer : "-");
	}
	table_print(t);
}

static void show_terms(const struct terms_shown *t)
{
	struct buf b = {0};

	terms_say(t, &b);
	if (b.n)
		out("asks    %s\n", buf_str(&b));
	buf_release(&b);
}

static void show_twice(uint64_t hashes)
{
	struct buf b = {0};

	out_count(&b, hashes);
	out("twice   %s hashes, by this node's side and the backup's while "
	    "they were apart; counted once\n",
	    buf_str(&b));
	buf_release(&b);
}

static void show_job(const struct job_info *i)
{
	out("job %s  %s  %s  %.1f %%\n", i->job, i->kind, i->state, i->percent);
	if (i->file) {
		out("file    %s, %" PRIu64 " bytes, %" PRIu64 " input%s\n",
		    i->file, i->bytes, i->inputs, out_s(i->inputs));
		out("out     %s%s\n", i->out,
		    strcmp(i->state, "done") ? " (once done)" : "");
	} else {
		out("range   %" PRIu64 "-%" PRIu64 "%s\n", i->start, i->end - 1,
		    i->all ? ", every hit" : "");
		out("target  %s\n", i->target ? i->target : "-");
	}
	out("units   %" PRIu64 " to do, %" PRIu64 " given out, %" PRIu64
	    " at work, %" PRIu64 " done, %" PRIu64 " taken back\n",
	    i->pending, i->assigned, i->computing, i->done, i->failed);
	if (!i->file)
		out("shares  %" PRIu64 " reported, %" PRIu64
		    " expected, %" PRIu64 " hashed again, %" PRIu64
		    " pieces re-scanned\n",
		    i->shares, i->expected_shares, i->rehashed, i->pieces);
	if (!i->file)
		out("checks  %" PRIu64 " of %" PRIu64
		    " check units passed, %" PRIu64
		    " replicas compared, cost %.2f %% of the work\n",
		    i->checks_passed, i->checks, i->replicas, i->cost * 100);
	if (i->waiting && *i->waiting)
		out("waits   %s\n", i->waiting);
	if (i->terms.replicas > 1 && i->hashes)
		out("again   %.1f %% done twice\n",
		    100.0 * (double)i->given / (double)i->hashes);
	show_terms(&i->terms);
	if (i->backup)
		out("backup  %s%s%s\n", name_of(i->backup),
		    i->backup_note ? ", " : "",
		    i->backup_note ? i->backup_note : "");
	if (i->taken_from)
		out("taken over from %s, which was gone\n", i->taken_from);
	if (i->twice)
		show_twice(i->twice);
	if (i->error && i->text && *i->text && strcmp(i->error, i->text) != 0)
		out("error   %s: %s\n", i->error, i->text);
	say_result(i);
}

static int run_job_show(struct cli *c)
{
	const struct show_opts *o = c->values;
	struct job_ref q = {.job = c->args.items[0],
			    .detail = o->units	   ? JOB_UNITS
				      : o->by_peer ? JOB_PEERS
						   : JOB_BRIEF};
	const void *reply;

	int code = cli_call(c, "job.show", &q, 0, &reply);
	if (code)
		return code;
	const struct job_info *i = reply;
	if (c->cfg.json) {
		out_message(&job_info_message, i);
		return 0;
	}
	show_job(i);
	if (o->by_peer || o->units)
		show_by_peer(i);
	if (o->units)
		show_units(i);
	return 0;
}

const struct verb verb_job_show = {
    .name = "job show",
    .args = "ID",
    .summary = "one job: how far, by whom, how well checked",
    .example = "hnode job show 4f2a --by-peer",
    VERB_OPTS(show_opts, struct show_opts),
    .min_args = 1,
    .max_args = 1,
    .run = run_job_show,
};

static int run_job_watch(struct cli *c)
{
	struct job_ref q = {.job = c->args.items[0]};
	struct watch w = {.c = c};
	const void *reply;

	int code = cli_call(c, "job.show", &q, 0, &reply);
	if (code)
		return code;
	code = watch_job(&w, ((const struct job_info *)reply)->job);
	free(w.text);
	arena_release(&w.arena);
	return code;
}

const struct verb verb_job_watch = {
    .name = "job watch",
    .args = "ID",
    .summary = "follow a job to its end",
    .more = "As `submit search --watch`, but Ctrl-C only leaves: the job goes "
	    "on.",
    .example = "hnode job watch 4f2a",
    .min_args = 1,
    .max_args = 1,
    .run = run_job_watch,
};

static int run_job_cancel(struct cli *c)
{
	struct job_ref q = {.job = c->args.items[0]};
	const void *reply;

	int code = cli_call(c, "job.cancel", &q, 0, &reply);
	if (code)
		return code;
	if (c->cfg.json)
		out_message(&job_info_message, reply);
	else
		out("job %s %s\n", ((const struct job_info *)reply)->job,
		    ((const struct job_info *)reply)->state);
	return 0;
}

const struct verb verb_job_cancel = {
    .name = "job cancel",
    .args = "ID",
    .summary = "stop a job, everywhere",
    .example = "hnode job cancel 4f2a",
    .min_args = 1,
    .max_args = 1,
    .run = run_job_cancel,
};
