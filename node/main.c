/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The table of verbs and the way from a command line to one of them.
 */
#include "node/cli.h"
#include "node/cli_verbs.h"
#include "node/out.h"

#include <sodium.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One a line: rows come and go. */
/* clang-format off */
const struct verb *const verbs[] = {
    &verb_node,
    &verb_up,
    &verb_stop,
    &verb_status,
    &verb_id,
    &verb_offer,
    &verb_join,
    &verb_leave,
    &verb_topic_id,
    &verb_peers,
    &verb_find,
    &verb_dial,
    &verb_ping,
    &verb_info,
    &verb_call,
    &verb_invite,
    &verb_mesh_rekey,
    &verb_owner_show,
    &verb_owner_export,
    &verb_owner_import,
    &verb_submit_search,
    &verb_submit_batch,
    &verb_jobs,
    &verb_job_show,
    &verb_job_watch,
    &verb_job_cancel,
    &verb_explain,
    &verb_hash,
    &verb_credits,
    &verb_receipt_list,
    &verb_receipt_show,
    &verb_receipt_verify,
    &verb_evidence_list,
    &verb_evidence_show,
    &verb_evidence_verify,
    &verb_evidence_add,
    &verb_evidence_fetch,
    &verb_pardon,
    &verb_db_check,
    &verb_db_backup,
    &verb_bench_hash,
    &verb_bench_rpc,
    &verb_bench_peer,
    &verb_lab_up,
    &verb_lab_fault,
    &verb_lab_watch,
    &verb_lab_run,
    &verb_lab_down,
    &verb_lab_simulate,
    &verb_version,
    &verb_help,
    NULL,
};
/* clang-format on */

const struct verb *verb_named(const char *name)
{
	for (size_t i = 0; verbs[i]; i++)
		if (!strcmp(verbs[i]->name, name))
			return verbs[i];
	return NULL;
}

bool verb_is_group(const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; n && verbs[i]; i++)
		if (!strncmp(verbs[i]->name, name, n) &&
		    verbs[i]->name[n] == ' ')
			return true;
	return false;
}

/* "submit serach": the nearest whole name, or the nearest first word. */
static const char *nearest(const char *name)
{
	struct near n = near_of(name);

	for (size_t i = 0; verbs[i]; i++)
		if (!verbs[i]->hidden && *verbs[i]->name)
			near_try(&n, verbs[i]->name);
	return n.best;
}

/* How many words of argv[at...] are an option that every verb takes; 0: it is
 * none. */
static int common_words(char **argv, int at)
{
	size_t n, common;
	const struct opt *rows = config_rows(&n, &common);
	const char *w = argv[at];

	for (size_t i = 0; i < common; i++) {
		const struct opt *o = &rows[i];
		size_t len = strlen(o->flag);
		if (o->letter && w[0] == '-' && w[1] == o->letter && !w[2])
			return 1;
		if (strncmp(w, "--", 2) || strncmp(w + 2, o->flag, len) ||
		    (w[2 + len] && w[2 + len] != '='))
			continue;
		return o->meta && !w[2 + len] ? 2 : 1;
	}
	return 0;
}

/*
 * `hnode --data-dir DIR peers` is what many type first: a verb behind options
 * that every verb takes is moved in front of them.
 */
static void verb_first(int argc, char **argv)
{
	char *verb[2];
	int at = 1, n, words = 1;

	while (at < argc && (n = common_words(argv, at)))
		at += n;
	if (at == 1 || at >= argc || argv[at][0] == '-')
		return;
	if (verb_is_group(argv[at]) && at + 1 < argc)
		words = 2;
	memcpy(verb, argv + at, (size_t)words * sizeof(*argv));
	memmove(argv + 1 + words, argv + 1, (size_t)(at - 1) * sizeof(*argv));
	memcpy(argv + 1, verb, (size_t)words * sizeof(*argv));
}

/* How the first words name a verb; *used of them. NULL: *code is the exit. */
static const struct verb *pick(int argc, char **argv, int *used, int *code)
{
	const char *first = argc > 1 ? argv[1] : "";
	const char *second = argc > 2 ? argv[2] : "";
	const struct verb *v = NULL;

	*used = 1;
	if (!*first || (first[0] == '-' && first[1]))
		return verb_named("");
	char *both = xasprintf("%s %s", first, second);
	if (verb_is_group(first))
		v = verb_named(both);
	if (v) {
		*used = 3;
	} else if ((v = verb_named(first))) {
		*used = 2;
	} else if (verb_is_group(first) && (!*second || second[0] == '-')) {
		if (!strcmp(second, "--help") || !strcmp(second, "-h")) {
			help_group(first);
			*code = out_flush(0);
		} else {
			*code = out_fail(ERR_INPUT,
					 "`hnode %s` needs a second word: see "
					 "`hnode %s --help`",
					 first, first);
		}
	} else {
		const char *name = verb_is_group(first) ? both : first;
		const char *best = nearest(name);
		*code = out_fail(ERR_INPUT,
				 "there is no `hnode %s`%s%s%s `hnode help` "
				 "lists what there is",
				 name, best ? "; did you mean `hnode " : ";",
				 best ? best : "", best ? "`?" : "");
	}
	free(both);
	return v;
}

static int check_args(const struct cli *c)
{
	const struct verb *v = c->verb;

	if (c->args.n < v->min_args)
		return cli_usage(c, "`hnode %s` needs %s", v->name, v->args);
	if (c->args.n <= v->max_args)
		return 0;
	const char *extra = c->args.items[v->max_args];
	if (v->node)
		return cli_usage(c, "`%s` makes no sense here; %s", extra,
				 verb_named(extra) || verb_is_group(extra)
				     ? "a verb stands before its options"
				     : "a node takes options only");
	return cli_usage(c, "`%s` is one word too many", extra);
}

/* What --json promises holds for bad flags, too, wherever it stands. */
static bool wants_json(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
		if (!strcmp(argv[i], "--json"))
			return true;
	return false;
}

static int run(struct cli *c, int argc, char **argv, struct buf *why)
{
	struct opt_table tables[2] = {
	    {c->verb->opts, c->verb->nopts, c->values, NULL,
	     c->verb->passes_on},
	    config_table(&c->cfg, c->verb->node),
	};

	enum err e = config_init(&c->cfg, &c->arena, why);
	if (!e)
		e = opt_parse(tables, 2, argc, argv, &c->arena, &c->args, why);
	if (e == ERR_INPUT)
		return cli_usage(c, "%s", buf_str(why));
	if (e)
		return out_fail(e, "%s", buf_str(why));
	struct out_options o = {.json = c->cfg.json,
				.quiet = c->cfg.quiet,
				.no_color = config_no_color()};
	out_setup(&o);
	if (c->cfg.help) {
		if (*c->verb->name)
			help_verb(c->verb);
		else
			help_all(true);
		return 0;
	}
	int code = check_args(c);
	if (code)
		return code;
	e = config_finish(&c->cfg, &c->arena, why);
	if (e)
		return out_fail(e, "%s", buf_str(why));
	return c->verb->run(c);
}

int main(int argc, char **argv)
{
	struct cli c = {0};
	struct buf why = {0};
	struct out_options o = {.json = wants_json(argc, argv)};
	int used, code = 64;

	out_setup(&o);
	if (sodium_init() < 0)
		return out_fail(ERR_INTERNAL, "libsodium does not start");
	if (argc == 2 && !strcmp(argv[1], "--version"))
		argv[1] = "version";
	verb_first(argc, argv);
	c.verb = pick(argc, argv, &used, &code);
	if (!c.verb)
		return code;
	c.values = arena_alloc(&c.arena, c.verb->values + 1);
	code = run(&c, argc - used, argv + used, &why);
	cli_close(&c);
	buf_release(&why);
	return out_flush(code);
}
