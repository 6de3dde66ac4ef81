/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Verbs about what peers did wrong: evidence, which needs no node to be
 * verified, and letting one back.
 */
#include "node/base/evidence.h"
#include "node/base/json.h"
#include "node/base/loop.h"
#include "node/cli.h"
#include "node/cli_verbs.h"
#include "node/mesh/service_trust.h"
#include "node/mesh/wire.h"
#include "node/out.h"

#include <inttypes.h>
#include <string.h>

static const char nothing;

static const char *or_dash(const char *s)
{
	return s && *s ? s : "-";
}

/* --- list and show --- */

static void show_rows(const struct list *rows)
{
	static const char *const heads[] = {"ID",   "NODE",   "LIE",
					    ">AGE", "SOURCE", "*SAYS"};
	struct table *t = table_new(heads, HN_COUNT(heads), false);
	const struct evidence_row *r = rows->items;
	const uint64_t now = clock_unix_ms();

	for (size_t i = 0; i < rows->n; i++) {
		struct buf age = {0};

		out_age(&age, now > r[i].at_ms ? now - r[i].at_ms : 0);
		table_cell(t, PLAIN, "%.8s", or_dash(r[i].id));
		table_cell(t, PLAIN, "%s", or_dash(r[i].name));
		table_cell(t, RED, "%s", or_dash(r[i].lie));
		table_cell(t, PLAIN, "%s", buf_str(&age));
		table_cell(t, PLAIN, "%s", or_dash(r[i].source));
		table_cell(t, PLAIN, "%s", or_dash(r[i].says));
		buf_release(&age);
	}
	table_print(t);
}

static int run_list(struct cli *c)
{
	const void *reply;

	int code = cli_call(c, "evidence.list", &nothing, 0, &reply);
	if (code)
		return code;
	const struct evidence_list *l = reply;

	if (c->cfg.json)
		out_message(&evidence_list_message, l);
	else if (l->rows.n)
		show_rows(&l->rows);
	else
		out_note("no evidence is held here: nobody was proven to "
			 "cheat");
	return 0;
}

const struct verb verb_evidence_list = {
    .name = "evidence list",
    .summary = "proofs of lies that this node holds",
    .more = "The newest 64. Whose lie is proven gets no work from this node.",
    .example = "hnode evidence list",
    .run = run_list,
};

static int run_show(struct cli *c)
{
	const struct evidence_ref q = {.id = c->args.items[0]};
	const void *reply;

	int code = cli_call(c, "evidence.show", &q, 0, &reply);
	if (code)
		return code;
	const struct evidence_shown *s = reply;
	struct evidence_answer t;

	if (c->cfg.json) {
		out_message(&evidence_message, &s->doc);
		return 0;
	}
	out("%s\n", or_dash(s->row.says));
	if (evidence_answer_of(s->doc.answer, &t))
		out("range 0x%08" PRIx64 " to 0x%08" PRIx64
		    ", %u zero bits, %zu nonces listed\n",
		    t.start, t.end - 1, t.bits, s->doc.shares.n);
	out_note("`hnode evidence show %s --json > FILE` makes a file that "
		 "`hnode evidence verify FILE`\nfinds true on any machine",
		 or_dash(s->row.id));
	return 0;
}

const struct verb verb_evidence_show = {
    .name = "evidence show",
    .args = "ID",
    .summary = "one proof; with --json as a file for others",
    .example = "hnode evidence show 4f2a91c0\n"
	       "hnode evidence show 4f2a91c0 --json > evidence.json",
    .min_args = 1,
    .max_args = 1,
    .run = run_show,
};

/* --- verify and add --- */

static int read_file(struct cli *c, struct buf *file, struct evidence_doc *d)
{
	struct buf why = {0};
	int code = 0;

	enum err e = cli_read(c->args.items[0], EVIDENCE_MAX, file, &why);
	if (e) {
		code = out_fail_as(err_name(e), err_exit(ERR_INPUT), "%s",
				   buf_str(&why));
		buf_release(&why);
		return code;
	}
	e = evidence_read(file->p, file->n, &c->arena, d, &why);
	if (!e)
		e = evidence_verify(d, &why);
	if (e)
		code =
		    out_fail_as(err_name(e), 1, "no proof: %s", buf_str(&why));
	buf_release(&why);
	return code;
}

static int run_verify(struct cli *c)
{
	struct buf file = {0}, why = {0};
	struct evidence_doc d;
	char name[NODE_NAME_SIZE];
	struct node_id id;

	int code = read_file(c, &file, &d);
	if (!code && !evidence_verify(&d, &why)) {
		memcpy(id.b, d.worker, sizeof(id.b));
		node_name(&id, name);
		if (c->cfg.json) {
			struct json *j = json_object();
			json_set(j, "proof", json_bool(true));
			json_set(j, "node", json_str(node_hex(&id)));
			json_set(j, "name", json_str(name));
			json_set(j, "lie", json_str(d.lie));
			json_set(j, "says", json_str(buf_str(&why)));
			out_json(j);
		} else {
			out("proof: %s\n", buf_str(&why));
			out("node   %s\n", node_hex(&id));
		}
	}
	buf_release(&file);
	buf_release(&why);
	return code;
}

const struct verb verb_evidence_verify = {
    .name = "evidence verify",
    .args = "FILE",
    .summary = "is this a proof? Needs no node",
    .more = "Checks the worker's signature, that the list is the one it "
	    "signed, and the hash of\nthe nonce in question. Exit 1 when it "
	    "proves nothing, 64 when it cannot be read.\n- reads standard "
	    "input.",
    .example = "hnode evidence verify evidence.json",
    .min_args = 1,
    .max_args = 1,
    .run = run_verify,
};

static int run_add(struct cli *c)
{
	struct buf file = {0}, packed = {0};
	struct evidence_doc d;
	const void *reply;

	int code = read_file(c, &file, &d);
	if (!code) {
		evidence_pack(&d, &packed);
		const struct evidence_given q = {{packed.p, packed.n}};

		code = cli_call(c, "evidence.add", &q, 0, &reply);
	}
	if (!code) {
		const struct evidence_row *r = reply;

		if (c->cfg.json)
			out_message(&evidence_row_message, r);
		else
			out("%s%s: no work for %s from this node\n",
			    or_dash(r->says),
			    r->fresh ? "" : " (known already)",
			    or_dash(r->name));
	}
	buf_release(&file);
	buf_release(&packed);
	return code;
}

const struct verb verb_evidence_add = {
    .name = "evidence add",
    .args = "FILE",
    .summary = "give this node a proof: its author gets no work",
    .example = "hnode evidence add evidence.json",
    .min_args = 1,
    .max_args = 1,
    .run = run_add,
};

/* --- fetch --- */

#define FETCH_MS 60000

struct fetch_opts {
	const char *about;
};
static const struct opt fetch_opts[] = {
    {.flag = "about",
     .type = OPT_TEXT,
     .meta = "NODE",
     .offset = offsetof(struct fetch_opts, about),
     .help = "only what it holds about this node"},
};

static int run_fetch(struct cli *c)
{
	const struct fetch_opts *o = c->values;
	const struct evidence_fetch q = {.peer = c->args.items[0],
					 .about = (char *)o->about};
	const void *reply;

	int code = cli_call(c, "evidence.fetch", &q, FETCH_MS, &reply);
	if (code)
		return code;
	const struct evidence_fetched *f = reply;

	if (c->cfg.json) {
		out_message(&evidence_fetched_message, f);
		return 0;
	}
	if (f->rows.n)
		show_rows(&f->rows);
	if (f->refused)
		out_note("%" PRIu64 " of what it gave prove%s nothing and "
			 "%s ignored",
			 f->refused, f->refused == 1 ? "s" : "",
			 f->refused == 1 ? "was" : "were");
	if (!f->rows.n && !f->refused)
		out_note("it holds no evidence%s%s", o->about ? " about " : "",
			 o->about ? o->about : "");
	return 0;
}

const struct verb verb_evidence_fetch = {
    .name = "evidence fetch",
    .args = "PEER [--about NODE]",
    .summary = "ask a peer for the proofs that it holds",
    .more = "Each is verified here; only then does its author get no work "
	    "from this node.",
    .example = "hnode evidence fetch fox-amber-7d21",
    VERB_OPTS(fetch_opts, struct fetch_opts),
    .min_args = 1,
    .max_args = 1,
    .run = run_fetch,
};

/* --- pardon --- */

static int run_pardon(struct cli *c)
{
	struct peer_ref q = {.peer = c->args.items[0]};
	const void *reply;

	int code = cli_call(c, "trust.pardon", &q, 0, &reply);
	if (code)
		return code;
	if (c->cfg.json)
		out_json(json_object());
	else
		out("%s is on probation: it works again after three clean "
		    "probes\n",
		    q.peer);
	return 0;
}

const struct verb verb_pardon = {
    .name = "pardon",
    .args = "PEER",
    .summary = "let a barred or quarantined peer back",
    .more = "A peer that was proven to cheat never comes back by itself. The "
	    "evidence is kept.",
    .example = "hnode pardon fox-amber-7d21",
    .min_args = 1,
    .max_args = 1,
    .run = run_pardon,
};
