/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/cli.h"
#include "node/cli_verbs.h"
#include "node/mesh/wire.h"
#include "node/out.h"

#include <inttypes.h>

static const char *or_dash(const char *s)
{
	return s && *s ? s : "-";
}

static void numbers_of(const struct explain_row *r, struct buf *b)
{
	struct buf rate = {0};

	out_rate(&rate, r->rate);
	buf_add_str(b, buf_str(&rate));
	if (r->rate && !r->measured)
		buf_add_str(b, " *");
	buf_release(&rate);
}

static void show(const struct explained *x)
{
	static const char *const heads[] = {
	    "", "PEER", "REASON", ">RATE", ">SCORE", ">RTT", ">LOAD", ">UNITS"};
	struct table *t = table_new(heads, HN_COUNT(heads), true);
	const struct explain_row *r = x->peers.items, *end = r + x->peers.n;
	bool claimed = false;

	out("job %s  %s  shared out by %s\n", x->job, x->state, x->balance);
	if (x->waiting && *x->waiting)
		out("waits %s\n", x->waiting);
	for (; r < end; r++) {
		struct buf rate = {0}, rtt = {0};

		numbers_of(r, &rate);
		out_us(&rtt, r->rtt_us);
		claimed |= r->rate && !r->measured;
		table_cell(t, PLAIN, "%s", r->chosen ? "+" : "-");
		table_cell(t, PLAIN, "%s", or_dash(r->name));
		table_cell(t, r->chosen ? GREEN : PLAIN, "%s",
			   or_dash(r->code));
		table_cell(t, PLAIN, "%s", buf_str(&rate));
		table_cell(t, PLAIN, "%.2f", (double)r->score / 1000);
		table_cell(t, PLAIN, "%s", buf_str(&rtt));
		table_cell(t, PLAIN, "%" PRIu64 " %%", r->load);
		table_cell(t, PLAIN, "%" PRIu64, r->units + r->held);
		buf_release(&rate);
		buf_release(&rtt);
	}
	table_print(t);
	for (r = x->peers.items; r < end; r++)
		out("%s: %s\n", or_dash(r->name), or_dash(r->text));
	if (claimed)
		out_note("* its own word; not measured here yet");
}

static int run_explain(struct cli *c)
{
	struct job_ref q = {.job = c->args.items[0]};
	const void *reply;

	int code = cli_call(c, "job.explain", &q, 0, &reply);
	if (code)
		return code;
	if (c->cfg.json)
		out_message(&explained_message, reply);
	else
		show(reply);
	return 0;
}

const struct verb verb_explain = {
    .name = "explain",
    .args = "JOB",
    .summary = "why each peer has work of a job, or has not",
    .more = "Every node known here, with the first reason that holds and the "
	    "numbers used.\n+ stands for one that has, had or gets work.",
    .example = "hnode explain 4f2a",
    .min_args = 1,
    .max_args = 1,
    .run = run_explain,
};
