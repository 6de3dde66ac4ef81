/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Verbs about receipts and credits. They read the database of a node from
 * outside, whether or not it runs, and change nothing.
 */
#include "node/base/audit.h"
#include "node/base/cert.h"
#include "node/base/json.h"
#include "node/base/log.h"
#include "node/base/store_tool.h"
#include "node/cli.h"
#include "node/cli_verbs.h"
#include "node/mesh/ledger.h"
#include "node/mesh/membership.h"
#include "node/out.h"

#include <uthash.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Opens the database of the data directory; the exit code if that fails. */
static int open_books(struct cli *c, struct store_tool **out)
{
	struct buf why = {0};
	int code = 0;

	enum err e = store_tool_open(cli_path(c, "hnode.db"), &why, out);
	if (e == ERR_NOTFOUND)
		code = out_fail(e,
				"there is no database in %s yet: a node makes "
				"it when it first runs there",
				c->cfg.data_dir);
	else if (e)
		code = out_fail(e, "%s", buf_str(&why));
	/* One moment, although the node goes on; what cannot be read is said
	 * where it is read. */
	else if (store_tool_each(*out, "BEGIN", NULL, NULL, &why))
		log_debug("credit", "no transaction: %s", buf_str(&why));
	buf_release(&why);
	return code;
}

static void on_any(void *arg, const struct store_val *cells, size_t n)
{
	bool *any = arg;

	*any = n && cells[0].i;
}

/* A database of an hnode before there were receipts has none. */
static bool have_books(struct store_tool *t)
{
	struct buf why = {0};
	bool any = false;

	enum err e = store_tool_each(t,
				     "SELECT count(*) FROM sqlite_schema WHERE "
				     "name = 'receipts'",
				     on_any, &any, &why);
	buf_release(&why);
	return !e && any;
}

static int each(struct store_tool *t, const char *sql, store_row_fn fn,
		void *arg)
{
	struct buf why = {0};
	int code = 0;

	enum err e = store_tool_each(t, sql, fn, arg, &why);
	if (e)
		code = out_fail(e,
				"the receipts cannot be read: %s (`hnode db "
				"check` says more)",
				log_quote(buf_str(&why)));
	buf_release(&why);
	return code;
}

static const char *name_of(const uint8_t id[static 32])
{
	return node_str((const void *)id);
}

static const char *hex_of(const uint8_t id[static 32])
{
	return node_hex((const void *)id);
}

/* 12.345678; "-" for nothing. */
static const char *credits(struct buf *b, uint64_t parts)
{
	buf_clear(b);
	if (parts)
		credit_str(parts, b);
	else
		buf_add_str(b, "-");
	return buf_str(b);
}

/* --- receipt list, receipt show --- */

enum { ROW_N, ROW_SIDE, ROW_BODY, ROW_CELLS };

static bool unpack_row(const struct store_val *v, size_t n, struct arena *a,
		       struct receipt *r)
{
	return n == ROW_CELLS && v[ROW_BODY].type == STORE_BLOB &&
	       !receipt_unpack(v[ROW_BODY].b.p, v[ROW_BODY].b.n, a, r);
}

struct listing {
	struct table *t;
	size_t n, damaged;
	uint64_t now;
};

static void list_row(void *arg, const struct store_val *v, size_t n)
{
	struct listing *l = arg;
	struct arena a = {0};
	struct buf b = {0};
	struct receipt r;

	l->n++;
	if (!unpack_row(v, n, &a, &r)) {
		l->damaged++;
	} else if (out_is_json()) {
		out_message(&receipt_message, &r);
	} else {
		const bool issued = v[ROW_SIDE].i == 0;

		table_cell(l->t, PLAIN, "%" PRId64, v[ROW_N].i);
		table_cell(l->t, PLAIN, "%s", issued ? "spent" : "earned");
		table_cell(l->t, PLAIN, "%s",
			   name_of(issued ? r.worker : r.submitter));
		table_cell(l->t, PLAIN, "%s", r.job);
		table_cell(l->t, PLAIN, "%" PRIu64, r.seq);
		out_count(&b, r.amount);
		table_cell(l->t, PLAIN, "%s %s", buf_str(&b), r.unit);
		table_cell(l->t, PLAIN, "%s", credits(&b, r.credit));
		buf_clear(&b);
		out_age(&b, l->now > r.time_ms ? l->now - r.time_ms : 0);
		table_cell(l->t, PLAIN, "%s", buf_str(&b));
	}
	buf_release(&b);
	arena_release(&a);
}

struct list_opts {
	struct opt_u64 limit;
};

static const struct opt list_opts[] = {
    {.flag = "limit",
     .type = OPT_UINT,
     .meta = "N",
     .offset = offsetof(struct list_opts, limit),
     .min = 1,
     .max = 100000,
     .help = "the newest N only (default: 50)"},
};

static int run_receipt_list(struct cli *c)
{
	static const char *const heads[] = {
	    "N", "SIDE", "*WITH", "JOB", ">SEQ", ">WORK", ">CREDITS", ">AGE"};
	const struct list_opts *o = c->values;
	struct listing l = {.now = clock_unix_ms()};
	struct store_tool *t;

	int code = open_books(c, &t);
	if (code)
		return code;
	l.t = table_new(heads, HN_COUNT(heads), false);
	char *sql = xasprintf("SELECT n, side, body FROM (SELECT n, side, body "
			      "FROM receipts ORDER BY n DESC LIMIT %" PRIu64
			      ") ORDER BY n",
			      o->limit.set ? o->limit.v : 50);
	if (have_books(t))
		code = each(t, sql, list_row, &l);
	free(sql);
	store_tool_close(t);
	if (!code && l.n && !out_is_json())
		table_print(l.t);
	else
		table_free(l.t);
	if (!code && !l.n)
		out_note("no receipts yet: they come when work for another "
			 "node was accepted");
	if (!code && l.damaged)
		code = out_fail(ERR_IO,
				"%zu receipt%s damaged: see `hnode db check`",
				l.damaged, l.damaged == 1 ? " is" : "s are");
	return code;
}

const struct verb verb_receipt_list = {
    .name = "receipt list",
    .summary = "receipts for work done, here and elsewhere",
    .more = "Needs no running node. With --json one receipt a line, which "
	    "`hnode receipt\nverify` and hnode-audit read.",
    .example = "hnode receipt list --limit 10",
    VERB_OPTS(list_opts, struct list_opts),
    .run = run_receipt_list,
};

static void say_time(struct buf *b, uint64_t ms)
{
	const time_t t = (time_t)(ms / 1000);
	struct tm tm;
	char text[40] = "?";

	if (gmtime_r(&t, &tm))
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm);
	buf_add_str(b, text);
}

static void say_field(const char *name, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void say_field(const char *name, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	char *text = xvasprintf(fmt, ap);
	va_end(ap);
	out("%-16s %s\n", name, text);
	free(text);
}

static void say_party(const char *name, const uint8_t id[static 32])
{
	say_field(name, "%s %s", hex_of(id), name_of(id));
}

/* Text from elsewhere, as a terminal may have it. */
static const char *word(const char *s)
{
	if (!s || !*s)
		return "-";
	for (const char *p = s; *p; p++)
		if (*p <= ' ' || *p > '~')
			return log_quote(s);
	return s;
}

static void say_receipt(const struct receipt *r)
{
	uint8_t chain[32], hash[32];
	struct buf b = {0};

	receipt_chain(r, chain);
	receipt_hash(r, hash);
	say_field("version", "%" PRIu64, r->version);
	say_field("mesh", "%s", hex_of(r->mesh_id));
	say_party("worker", r->worker);
	say_party("  its owner", r->worker_owner);
	say_party("submitter", r->submitter);
	say_party("  its owner", r->submitter_owner);
	say_field("kind", "%s", word(r->kind));
	say_field("job", "%s", word(r->job));
	say_field("lease", "%" PRIu64, r->lease);
	say_field("input", "%s", hex_of(r->input));
	say_field("output", "%s", hex_of(r->output));
	out_count(&b, r->amount);
	say_field("amount", "%s %s", buf_str(&b), word(r->unit));
	buf_clear(&b);
	say_time(&b, r->time_ms);
	say_field("accepted", "%s", buf_str(&b));
	say_field("chain", "%s", hex_of(chain));
	say_field("number", "%" PRIu64, r->seq);
	say_field("after", "%s", hex_of(r->prev));
	say_field("credits", "%s", credits(&b, r->credit));
	say_field("total", "%s", credits(&b, r->total));
	say_field("hash", "%s", hex_of(hash));
	buf_release(&b);
}

static void show_row(void *arg, const struct store_val *v, size_t n)
{
	size_t *shown = arg;
	struct arena a = {0};
	struct receipt r;

	if (!unpack_row(v, n, &a, &r)) {
		out_note("receipt %" PRId64 " is damaged", n ? v[0].i : 0);
	} else if (out_is_json()) {
		out_message(&receipt_message, &r);
		++*shown;
	} else {
		if ((*shown)++)
			out("\n");
		say_field("receipt", "%" PRId64 ", %s", v[ROW_N].i,
			  v[ROW_SIDE].i ? "earned" : "spent");
		say_receipt(&r);
	}
	arena_release(&a);
}

static int run_receipt_show(struct cli *c)
{
	struct store_tool *t;

	for (size_t i = 0; i < c->args.n; i++) {
		uint64_t n;
		if (!opt_read_uint(c->args.items[i], &n) || n > INT64_MAX)
			return cli_usage(c,
					 "%s is no number of a receipt: see "
					 "`hnode receipt list`",
					 log_quote(c->args.items[i]));
	}
	int code = open_books(c, &t);
	if (code)
		return code;
	size_t shown = 0, want = 0;
	const bool any = have_books(t);

	for (size_t i = 0; !code && i < c->args.n; i++) {
		uint64_t n = 0;
		bool known = opt_read_uint(c->args.items[i], &n);
		char *sql = xasprintf("SELECT n, side, body FROM receipts "
				      "WHERE n = %" PRIu64,
				      n);
		want++;
		if (known && any)
			code = each(t, sql, show_row, &shown);
		free(sql);
		if (!code && shown < want)
			code = out_fail(ERR_NOTFOUND,
					"no receipt %" PRIu64
					" here: see `hnode receipt list`",
					n);
	}
	store_tool_close(t);
	return code;
}

const struct verb verb_receipt_show = {
    .name = "receipt show",
    .args = "N...",
    .summary = "all that receipts say, by number in the list",
    .more = "Needs no running node. With --json as `hnode receipt verify` "
	    "reads them.",
    .example = "hnode receipt show 12\n"
	       "hnode receipt show 12 --json > receipt.json",
    .min_args = 1,
    .max_args = 1000,
    .run = run_receipt_show,
};

/* --- receipt verify --- */

struct verifying {
	const char *file;
	size_t lines, good, bad;
	bool many; /* only what is bad is shown */
};

static void verify_one(struct verifying *v, const struct receipt *r)
{
	struct buf why = {0};
	const enum err e = receipt_verify(r, &why);

	v->good += !e;
	v->bad += e != 0;
	if (out_is_json()) {
		struct json *j = json_object();
		uint8_t hash[32];

		receipt_hash(r, hash);
		json_set(j, "line", json_int((int64_t)v->lines));
		json_set(j, "good", json_bool(!e));
		json_set(j, "why", e ? json_str(buf_str(&why)) : json_null());
		json_set(j, "job", json_str(r->job));
		json_set(j, "seq", json_int((int64_t)r->seq));
		json_set(j, "hash", json_str(hex_of(hash)));
		out_json(j);
	} else if (e || !v->many) {
		if (v->many)
			out("%sline %zu:\n", v->bad > 1 ? "\n" : "", v->lines);
		say_receipt(r);
		say_field("verdict", "%s%s", e ? "BAD: " : "good: ",
			  e ? buf_str(&why)
			    : "signed by the worker and the submitter");
	}
	buf_release(&why);
}

static int verify_line(struct cli *c, struct verifying *v, const char *line,
		       size_t n)
{
	struct receipt_export x;
	struct buf why = {0};
	enum audit_line what;
	struct receipt r;
	int code = 0;

	v->lines++;
	enum err e = audit_read_line(line, n, &c->arena, &what, &x, &r, &why);
	if (e)
		code =
		    out_fail_as("bad-input", 1, "%s line %zu is no receipt: %s",
				v->file, v->lines, buf_str(&why));
	else if (what == LINE_RECEIPT)
		verify_one(v, &r);
	buf_release(&why);
	return code;
}

#define VERIFY_MAX (64u << 20)

/* Lines that are neither empty nor an export's head. */
static size_t receipts_of(const char *at, size_t n)
{
	const char *end = at + n;
	size_t count = 0;

	while (at < end) {
		static const char head[] = "{\"export\"";
		const char *stop = memchr(at, '\n', (size_t)(end - at));
		stop = stop ? stop : end;
		const size_t len = (size_t)(stop - at);
		const size_t skip = sizeof(head) - 1;
		bool blank = true;

		for (size_t i = 0; blank && i < len; i++)
			blank = strchr(" \t\r", at[i]) != NULL;
		count += !blank && (len < skip || memcmp(at, head, skip) != 0);
		at = stop + 1;
	}
	return count;
}

static int run_receipt_verify(struct cli *c)
{
	struct verifying v = {.file = c->args.items[0]};
	struct buf text = {0}, why = {0};
	int code = 0;

	enum err e = cli_read(v.file, VERIFY_MAX, &text, &why);
	if (e)
		code = out_fail(e, "%s", buf_str(&why));
	const char *at = (const char *)text.p, *end = at + text.n;
	v.many = receipts_of(at, text.n) > 1;

	while (!code && at < end) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));
		stop = stop ? stop : end;
		code = verify_line(c, &v, at, (size_t)(stop - at));
		at = stop + 1;
	}
	buf_release(&text);
	buf_release(&why);
	if (!code && v.many && !out_is_json())
		out("%zu receipts, %zu good\n", v.good + v.bad, v.good);
	if (!code && v.bad)
		code = out_fail_as("crypto", 1, "%zu of %zu receipts %s bad",
				   v.bad, v.bad + v.good,
				   v.bad == 1 ? "is" : "are");
	else if (!code && !v.good)
		code = out_fail_as("bad-input", 1, "there is no receipt in %s",
				   v.file);
	return code;
}

const struct verb verb_receipt_verify = {
    .name = "receipt verify",
    .args = "FILE",
    .summary = "are these receipts true, whoever they are from",
    .more = "Takes one receipt or an export, a line of JSON each; - reads "
	    "standard input.\nNeeds no node and no network. Exit 0: all are "
	    "good; 1: one is not.\nOf more than one only the bad are shown. "
	    "Chains are hnode-audit's to follow.",
    .example = "hnode receipt verify receipt.json",
    .min_args = 1,
    .max_args = 1,
    .run = run_receipt_verify,
};

/* --- credits --- */

struct owner {
	uint8_t id[32];
	uint64_t earned, spent, unpaid, pending, receipts;
	UT_hash_handle hh;
};

struct books {
	struct owner *owners;
	struct json *disputes;
	size_t ndisputes;
	FILE *export;
	size_t exported, damaged;
};

static struct owner *owner_get(struct books *k, struct bytes id)
{
	static const uint8_t nobody[32];
	const uint8_t *p = id.n == 32 ? id.p : nobody;
	struct owner *o;

	HASH_FIND(hh, k->owners, p, 32, o);
	if (o)
		return o;
	o = HN_NEW(struct owner);
	memcpy(o->id, p, 32);
	HASH_ADD(hh, k->owners, id, 32, o);
	return o;
}

static void sum_row(void *arg, const struct store_val *v, size_t n)
{
	if (n != 4)
		return;
	struct owner *o = owner_get(arg, v[1].b);

	*(v[0].i ? &o->earned : &o->spent) += (uint64_t)v[2].i;
	o->receipts += (uint64_t)v[3].i;
}

static void unpaid_row(void *arg, const struct store_val *v, size_t n)
{
	if (n == 2)
		owner_get(arg, v[0].b)->unpaid = (uint64_t)v[1].i;
}

static void pending_row(void *arg, const struct store_val *v, size_t n)
{
	if (n == 2)
		owner_get(arg, v[0].b)->pending = (uint64_t)v[1].i;
}

static void dispute_row(void *arg, const struct store_val *v, size_t n)
{
	struct books *k = arg;
	struct json *j;

	if (n != 7 || v[0].b.n != 32 || v[2].b.n != 32 || v[3].b.n != 32 ||
	    v[4].b.n != 32)
		return;
	j = json_object();
	json_set(j, "chain", json_str(hex_of(v[0].b.p)));
	json_set(j, "seq", json_int(v[1].i));
	json_set(j, "ours", json_str(hex_of(v[2].b.p)));
	json_set(j, "theirs", json_str(hex_of(v[3].b.p)));
	json_set(j, "peer", json_str(hex_of(v[4].b.p)));
	json_set(j, "what", json_str_n(v[5].b.p, v[5].b.n));
	json_set(j, "time_ms", json_int(v[6].i));
	json_add(k->disputes, j);
	k->ndisputes++;
}

static int read_sums(struct store_tool *t, struct books *k)
{
	int code =
	    each(t,
		 "SELECT side, other, total, count FROM (SELECT side, other, "
		 "total, count(*) AS count, max(seq) FROM receipts GROUP BY "
		 "chain)",
		 sum_row, k);
	if (!code)
		code = each(t,
			    "SELECT owner, sum(credit) FROM served s WHERE "
			    "state = 0 AND NOT EXISTS (SELECT 1 FROM receipts "
			    "r WHERE r.submitter = s.submitter AND r.job = "
			    "s.job AND r.lease = s.lease) GROUP BY owner",
			    unpaid_row, k);
	if (!code)
		code = each(t,
			    "SELECT owner, count(*) FROM answers WHERE state = "
			    "0 GROUP BY owner",
			    pending_row, k);
	if (!code)
		code = each(t,
			    "SELECT chain, seq, ours, theirs, peer, what, at "
			    "FROM disputes ORDER BY n",
			    dispute_row, k);
	return code;
}

static int by_balance(const struct owner *a, const struct owner *b)
{
	const int64_t x = (int64_t)(a->earned - a->spent);
	const int64_t y = (int64_t)(b->earned - b->spent);

	if (x != y)
		return x > y ? -1 : 1;
	return memcmp(a->id, b->id, 32);
}

static void say_json(struct books *k)
{
	struct json *j = json_object(), *rows = json_array();
	struct owner *o, *tmp;

	HASH_ITER (hh, k->owners, o, tmp) {
		struct json *r = json_object();

		json_set(r, "owner", json_str(hex_of(o->id)));
		json_set(r, "name", json_str(name_of(o->id)));
		json_set(r, "earned_parts", json_int((int64_t)o->earned));
		json_set(r, "spent_parts", json_int((int64_t)o->spent));
		json_set(r, "balance_parts",
			 json_int((int64_t)(o->earned - o->spent)));
		json_set(r, "unpaid_parts", json_int((int64_t)o->unpaid));
		json_set(r, "pending_answers", json_int((int64_t)o->pending));
		json_set(r, "receipts", json_int((int64_t)o->receipts));
		json_add(rows, r);
	}
	json_set(j, "parts_per_credit", json_int(CREDIT_PARTS));
	json_set(j, "owners", rows);
	json_set(j, "disputes", k->disputes);
	k->disputes = NULL;
	out_json(j);
}

static void say_balance(struct table *t, const struct owner *o, struct buf *b)
{
	const bool debt = o->spent > o->earned;

	credits(b, debt ? o->spent - o->earned : o->earned - o->spent);
	table_cell(t, debt ? YELLOW : PLAIN, "%s%s", debt ? "-" : "",
		   buf_str(b));
}

static void say_books(struct books *k)
{
	static const char *const heads[] = {"*OWNER",	">EARNED", ">SPENT",
					    ">BALANCE", ">UNPAID", ">RECEIPTS"};
	struct table *t = table_new(heads, HN_COUNT(heads), false);
	struct owner *o, *tmp;
	struct buf b = {0};

	HASH_ITER (hh, k->owners, o, tmp) {
		table_cell(t, PLAIN, "%s", name_of(o->id));
		table_cell(t, PLAIN, "%s", credits(&b, o->earned));
		table_cell(t, PLAIN, "%s", credits(&b, o->spent));
		say_balance(t, o, &b);
		table_cell(t, PLAIN, "%s", credits(&b, o->unpaid));
		table_cell(t, PLAIN, "%" PRIu64, o->receipts);
	}
	if (k->owners)
		table_print(t);
	else
		table_free(t);
	if (k->owners)
		out_note("credits: 1 is 2^32 hashes or 2^20 digests; unpaid: "
			 "done here, no receipt yet");
	else
		out_note("no credits yet: they come when work for another node "
			 "was accepted");
	for (size_t i = 0; i < k->ndisputes; i++) {
		const struct json *d = json_at(k->disputes, i);
		buf_clear(&b);
		buf_printf(&b,
			   "no agreement with %.16s about number %" PRId64
			   " of chain %.16s: %s; here %.16s, there %.16s",
			   json_get_str(json_get(d, "peer")),
			   json_get_int(json_get(d, "seq")),
			   json_get_str(json_get(d, "chain")),
			   log_quote(json_get_str(json_get(d, "what"))),
			   json_get_str(json_get(d, "ours")),
			   json_get_str(json_get(d, "theirs")));
		struct buf line = {0};
		out_wrap(&line, buf_str(&b), 2);
		out("%s\n", buf_str(&line));
		buf_release(&line);
	}
	buf_release(&b);
}

static void export_row(void *arg, const struct store_val *v, size_t n)
{
	struct books *k = arg;
	struct arena a = {0};
	struct buf b = {0};
	struct receipt r;

	if (unpack_row(v, n, &a, &r)) {
		fields_to_json(&receipt_message, &r, &b);
		fprintf(k->export, "%s\n", buf_str(&b));
		k->exported++;
	} else {
		k->damaged++;
	}
	buf_release(&b);
	arena_release(&a);
}

/* Whose books these are: the first line. */
static int export_head(struct cli *c, FILE *f)
{
	const char *path = cli_path(c, "node.key");
	struct receipt_export x = {.export = RECEIPT_EXPORT,
				   .time_ms = clock_unix_ms()};
	struct identity *me = NULL;
	struct membership *m = NULL;
	struct arena a = {0};
	struct buf b = {0}, why = {0};
	struct cert cert;
	bool fresh;
	enum err e = ERR_NOTFOUND;

	if (access(path, F_OK))
		buf_printf(&why, "there is no %s", path);
	else
		e = identity_load(path, "node", &fresh, &why, &me);
	if (!e)
		e = membership_load(c->cfg.data_dir, me, &why, &m);
	if (!e) {
		memcpy(x.node, identity_id(me), 32);
		memcpy(x.owner, identity_id(me), 32);
		if (m->cert.n && !fields_unpack(&cert_message, m->cert.p,
						m->cert.n, &a, &cert))
			memcpy(x.owner, cert.owner, 32);
		fields_to_json(&receipt_export_message, &x, &b);
		fprintf(f, "%s\n", buf_str(&b));
	}
	int code = e ? out_fail(e, "%s", buf_str(&why)) : 0;

	membership_free(m);
	identity_free(me);
	arena_release(&a);
	buf_release(&b);
	buf_release(&why);
	return code;
}

static int export_books(struct cli *c, struct store_tool *t, const char *file)
{
	const bool std = !strcmp(file, "-");
	struct books k = {.export = std ? stdout : fopen(file, "we")};

	if (!k.export)
		return out_fail(ERR_IO, "cannot write %s: %s", file,
				strerror(errno));
	int code = export_head(c, k.export);
	if (!code && have_books(t))
		code = each(t,
			    "SELECT n, side, body FROM receipts ORDER BY "
			    "chain, seq",
			    export_row, &k);
	if (fflush(k.export) && !code)
		code = out_fail(ERR_IO, "cannot write %s: %s", file,
				strerror(errno));
	if (!std && fclose(k.export) && !code)
		code = out_fail(ERR_IO, "cannot write %s: %s", file,
				strerror(errno));
	if (!code && k.damaged)
		code = out_fail(ERR_IO,
				"%zu receipts are damaged and left out: see "
				"`hnode db check`",
				k.damaged);
	if (!code && !std)
		out_note("%zu receipt%s in %s; hnode-audit checks and compares "
			 "such files",
			 k.exported, out_s(k.exported), file);
	return code;
}

struct credit_opts {
	const char *export;
};

static const struct opt credit_opts[] = {
    {.flag = "export",
     .type = OPT_TEXT,
     .meta = "FILE",
     .offset = offsetof(struct credit_opts, export),
     .help = "write all receipts, a line of JSON each; -: to standard output"},
};

static int run_credits(struct cli *c)
{
	const struct credit_opts *opts = c->values;
	struct books k = {0};
	struct owner *o, *tmp;
	struct store_tool *t;

	int code = open_books(c, &t);
	if (code)
		return code;
	if (opts->export) {
		code = export_books(c, t, opts->export);
		store_tool_close(t);
		return code;
	}
	k.disputes = json_array();
	if (have_books(t))
		code = read_sums(t, &k);
	store_tool_close(t);
	HASH_SORT(k.owners, by_balance);
	if (!code && out_is_json())
		say_json(&k);
	else if (!code)
		say_books(&k);
	HASH_ITER (hh, k.owners, o, tmp) {
		HASH_DEL(k.owners, o);
		free(o);
	}
	json_free(k.disputes);
	return code;
}

const struct verb verb_credits = {
    .name = "credits",
    .summary = "what was earned from and spent on each owner",
    .more = "From the receipts in this node's database; needs no running node. "
	    "One credit is\n2^32 hashes or 2^20 digests; unpaid is what was "
	    "done here without a receipt yet.\nWhere the other side's "
	    "receipts do not fit ours, the first such point is named.",
    .example = "hnode credits\n"
	       "hnode credits --export mine.jsonl",
    VERB_OPTS(credit_opts, struct credit_opts),
    .run = run_credits,
};
