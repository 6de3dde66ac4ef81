/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A mesh of thousands of nodes in this process, on a virtual clock. */
#include "node/base/json.h"
#include "node/cli.h"
#include "node/cli_verbs.h"
#include "node/lab/sim.h"
#include "node/out.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROWS_MAX 8
#define HOUR_US 3600e6

struct sim_opts {
	struct opt_u64 nodes, seed, cheaters, loss, delay, churn;
	const char *hours;
	bool cost;
};

static bool read_hours(const char *text, uint64_t *us)
{
	char *end;
	const double h = strtod(text, &end);

	/* At least a minute, at most a month. */
	if (end == text || *end || !(h * HOUR_US >= SIM_US_MIN) || h > 744)
		return false;
	*us = (uint64_t)(h * HOUR_US);
	return true;
}

static bool is_hours(const char *text, struct buf *why)
{
	uint64_t us;

	if (read_hours(text, &us))
		return true;
	buf_add_str(why, "takes hours from 0.017 (a minute) to 744");
	return false;
}

static const struct opt sim_rows[] = {
    {.flag = "nodes",
     .type = OPT_UINT,
     .meta = "N",
     .min = 10,
     .max = SIM_NODES_MAX,
     .offset = offsetof(struct sim_opts, nodes),
     .help = "workers beside the submitter [10000]"},
    {.flag = "seed",
     .type = OPT_UINT,
     .meta = "S",
     .offset = offsetof(struct sim_opts, seed),
     .help = "the same seed gives the same output [1]"},
    {.flag = "hours",
     .type = OPT_TEXT,
     .meta = "H",
     .check = is_hours,
     .offset = offsetof(struct sim_opts, hours),
     .help = "of virtual time, for each row [0.05]"},
    {.flag = "cheaters",
     .type = OPT_UINT,
     .meta = "K",
     .max = SIM_NODES_MAX,
     .offset = offsetof(struct sim_opts, cheaters),
     .help = "so many of the nodes cheat, in ten ways [0]"},
    {.flag = "loss",
     .type = OPT_PERMILLE,
     .meta = "P",
     .max = 500,
     .offset = offsetof(struct sim_opts, loss),
     .help = "of messages lost, and sent again [0%]"},
    {.flag = "delay",
     .type = OPT_MS,
     .meta = "D",
     .max = 5000,
     .offset = offsetof(struct sim_opts, delay),
     .help = "one way, half to one and a half of it [20ms]"},
    {.flag = "churn",
     .type = OPT_PERMILLE,
     .meta = "P",
     .max = 100000,
     .offset = offsetof(struct sim_opts, churn),
     .help = "of the nodes leave in an hour, for a minute [0%]"},
    {.flag = "cost",
     .type = OPT_BOOL,
     .offset = offsetof(struct sim_opts, cost),
     .help = "processor time as well, which differs each time"},
};

static uint64_t or_else(struct opt_u64 v, uint64_t otherwise)
{
	return v.set ? v.v : otherwise;
}

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static double per(uint64_t n, uint64_t units)
{
	return units ? (double)n / (double)units : 0;
}

static double us_per_unit(const struct sim_result *r)
{
	return per(r->spent_ns, r->units) / 1000;
}

/* --- text --- */

static void print_rows(const struct sim_result *r, size_t n, bool cost)
{
	static const char *const heads[] = {
	    ">NODES",	   ">UNITS",	  ">OF IDEAL",	 ">MESSAGES/UNIT",
	    ">CALLS/UNIT", ">TAKEN BACK", ">CPU US/UNIT"};
	struct table *t = table_new(heads, cost ? 7 : 6, false);

	for (size_t i = 0; i < n; i++) {
		struct buf units = {0}, nodes = {0};

		out_count(&nodes, r[i].nodes);
		out_count(&units, r[i].units);
		table_cell(t, PLAIN, "%s", buf_str(&nodes));
		table_cell(t, PLAIN, "%s", buf_str(&units));
		table_cell(t, PLAIN, "%.1f %%", 100 * r[i].throughput);
		table_cell(t, PLAIN, "%.2f", per(r[i].messages, r[i].units));
		table_cell(t, PLAIN, "%.2f", per(r[i].calls, r[i].units));
		table_cell(t, PLAIN, "%.1f %%",
			   100 * per(r[i].taken_back, r[i].units));
		if (cost)
			table_cell(t, PLAIN, "%.1f", us_per_unit(&r[i]));
		buf_release(&units);
		buf_release(&nodes);
	}
	table_print(t);
}

static void print_growth(const struct sim_result *r, size_t n, bool cost)
{
	const struct sim_result *a = &r[0], *b = &r[n - 1];

	if (n < 2)
		return;
	out("from %zu to %zu nodes a unit takes x%.2f the messages, x%.2f the "
	    "calls",
	    a->nodes, b->nodes,
	    per(b->messages, b->units) / per(a->messages, a->units),
	    per(b->calls, b->units) / per(a->calls, a->units));
	if (cost)
		out(", x%.2f the processor", us_per_unit(b) / us_per_unit(a));
	out(" (log n: x%.2f)\n", log((double)b->nodes) / log((double)a->nodes));
}

static void print_loss(const struct sim_result *r)
{
	out("%zu of %zu nodes lost at once, half of them without a word:\n",
	    r->lost, r->nodes);
	if (r->regiven_s >= 0)
		out("  after %.2f s nobody waited for them any more\n",
		    r->regiven_s);
	else
		out("  to the end somebody waited for one of them\n");
	if (r->recovered_s >= 0)
		out("  after %.2f s the others did 95 %% of what they can\n",
		    r->recovered_s);
	else
		out("  the others did not come to 95 %% of what they can\n");
}

static void print_cheats(const struct sim_result *r)
{
	static const char *const heads[] = {"A PEER THAT", ">PEERS", ">FOUND",
					    ">PROVEN",	   ">AFTER", ">OUT"};
	struct table *t = table_new(heads, HN_COUNT(heads), false);

	for (size_t i = 0; i < SIM_CHEATS; i++) {
		const struct sim_cheat *c = &r->cheats[i];

		table_cell(t, PLAIN, "%s", c->name);
		table_cell(t, PLAIN, "%zu", c->nodes);
		table_cell(t, PLAIN, "%zu", c->found);
		table_cell(t, PLAIN, "%zu", c->proven);
		if (c->found)
			table_cell(t, PLAIN, "%.1f s", c->after_s);
		else
			table_cell(t, PLAIN, "-");
		table_cell(t, PLAIN, "%zu", c->out);
	}
	table_print(t);
	out("%zu of %zu cheats found; %zu of %zu honest peers taken for one\n",
	    r->found, r->cheaters, r->slandered, r->nodes - r->cheaters);
}

/* --- JSON --- */

static struct json *time_json(double s)
{
	return s < 0 ? json_null() : json_num(s);
}

static struct json *row_json(const struct sim_result *r, bool cost)
{
	struct json *j = json_object(), *cheats = json_array();

	json_set(j, "nodes", json_int((int64_t)r->nodes));
	json_set(j, "jobs_ended", json_int((int64_t)r->jobs));
	json_set(j, "jobs_failed", json_int((int64_t)r->jobs_failed));
	json_set(j, "units", json_int((int64_t)r->units));
	json_set(j, "hashes", json_int((int64_t)r->hashes));
	json_set(j, "throughput", json_num(r->throughput));
	json_set(j, "messages_per_unit", json_num(per(r->messages, r->units)));
	json_set(j, "calls_per_unit", json_num(per(r->calls, r->units)));
	json_set(j, "taken_back", json_int((int64_t)r->taken_back));
	if (cost)
		json_set(j, "cpu_us_per_unit", json_num(us_per_unit(r)));
	json_set(j, "lost", json_int((int64_t)r->lost));
	json_set(j, "regiven_s", time_json(r->regiven_s));
	json_set(j, "recovered_s", time_json(r->recovered_s));
	json_set(j, "cheaters", json_int((int64_t)r->cheaters));
	json_set(j, "found", json_int((int64_t)r->found));
	json_set(j, "slandered", json_int((int64_t)r->slandered));
	for (size_t i = 0; i < SIM_CHEATS && r->cheaters; i++) {
		const struct sim_cheat *c = &r->cheats[i];
		struct json *k = json_object();

		json_set(k, "cheat", json_str(c->name));
		json_set(k, "peers", json_int((int64_t)c->nodes));
		json_set(k, "found", json_int((int64_t)c->found));
		json_set(k, "proven", json_int((int64_t)c->proven));
		json_set(k, "after_s", time_json(c->found ? c->after_s : -1));
		json_set(k, "out", json_int((int64_t)c->out));
		json_add(cheats, k);
	}
	json_set(j, "cheats", cheats);
	return j;
}

static void print_json(const struct sim_options *o, const struct sim_result *r,
		       size_t n, bool cost)
{
	struct json *j = json_object(), *rows = json_array();

	json_set(j, "seed", json_int((int64_t)o->seed));
	json_set(j, "hours", json_num((double)o->us / HOUR_US));
	for (size_t i = 0; i < n; i++)
		json_add(rows, row_json(&r[i], cost));
	json_set(j, "rows", rows);
	out_json(j);
}

/* --- the verb --- */

static void print_text(const struct sim_options *o, const struct sim_result *r,
		       size_t n, bool cost)
{
	out("seed %" PRIu64 ", %.3g h in each row; one submitter, 16 jobs "
	    "open\n",
	    o->seed, (double)o->us / HOUR_US);
	print_rows(r, n, cost);
	print_growth(r, n, cost);
	print_loss(&r[n - 1]);
	if (r[n - 1].cheaters)
		print_cheats(&r[n - 1]);
	if (cost)
		out_note("processor time is the coordinator's on this machine, "
			 "with a made-up hash in place of SHA-256");
}

static int run_simulate(struct cli *c)
{
	const struct sim_opts *v = c->values;
	const size_t nodes = or_else(v->nodes, 10000);
	const size_t cheaters = or_else(v->cheaters, 0);
	struct sim_result r[ROWS_MAX];
	size_t n = 0;
	struct sim_options o = {
	    .seed = or_else(v->seed, 1),
	    .us = (uint64_t)(0.05 * HOUR_US),
	    .loss = (unsigned)or_else(v->loss, 0),
	    .delay_us = or_else(v->delay, 20) * 1000,
	    .churn = (unsigned)or_else(v->churn, 0),
	    .clock_ns = v->cost ? cpu_ns : NULL,
	};

	if (cheaters > nodes)
		return out_fail(ERR_INPUT,
				"--cheaters %zu of %zu nodes: at most all",
				cheaters, nodes);
	if (v->hours && !read_hours(v->hours, &o.us))
		return out_fail(ERR_INPUT, "--hours %s is no time", v->hours);
	for (size_t k = 100; n < ROWS_MAX; k *= 10) {
		o.nodes = k < nodes ? k : nodes;
		o.cheaters = cheaters * o.nodes / nodes;
		out_note("%zu nodes ...", o.nodes);
		sim_run(&o, &r[n]);
		if (r[n].broken[0])
			return out_fail(ERR_INTERNAL,
					"seed %" PRIu64 ", %zu nodes: %s",
					o.seed, o.nodes, r[n].broken);
		n++;
		if (k >= nodes)
			break;
	}
	if (c->cfg.json)
		print_json(&o, r, n, v->cost);
	else
		print_text(&o, r, n, v->cost);
	return 0;
}

const struct verb verb_lab_simulate = {
    .name = "lab simulate",
    .summary = "thousands of nodes on a virtual clock, in one process",
    .more =
	"The code that hands out, checks, scores and places is a node's; "
	"time, network and hash are made up. 100, 1,000, 10,000 ... nodes "
	"of 64 to 256 kH/s up to --nodes work for one submitter; in the "
	"middle 30 % of them are lost at once and come back later. "
	"OF IDEAL is what was done of what those there could do, checks and "
	"losses included; MESSAGES do not count the streams of inputs and "
	"digests; CALLS are those of the coordinator. FOUND cheats get no "
	"work any more; OUT are those that got none at the end.",
    .example = "hnode lab simulate --nodes 1000 --cheaters 50\n"
	       "hnode lab simulate --nodes 10000 --seed 7 --hours 0.1 --cost\n"
	       "hnode lab simulate --nodes 300 --loss 2% --churn 100% --json",
    VERB_OPTS(sim_rows, struct sim_opts),
    .run = run_simulate,
};
