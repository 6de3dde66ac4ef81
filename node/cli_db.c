/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Verbs about the database of a node, whether or not it runs.
 */
#include "node/base/json.h"
#include "node/base/store_tool.h"
#include "node/cli.h"
#include "node/cli_verbs.h"
#include "node/mesh/journal_check.h"
#include "node/out.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

static int open_tool(struct cli *c, const char *path, struct store_tool **out)
{
	struct buf why = {0};
	int code = 0;

	enum err e = store_tool_open(path, &why, out);
	if (e == ERR_NOTFOUND)
		code = out_fail(e,
				"there is no database in %s yet: a node makes "
				"it when it first runs there",
				c->cfg.data_dir);
	else if (e)
		code = out_fail(e, "%s", buf_str(&why));
	buf_release(&why);
	return code;
}

static void say_check(const struct db_check *d)
{
	out("%s: %s\n", d->file, d->whole ? "whole" : "damaged");
	out("jobs   %" PRIu64 " open, %" PRIu64 " ended%s\n", d->open, d->ended,
	    d->whole ? "" : ", that can be read");
	out("peers  %" PRIu64 " remembered\n", d->peers);
	out("books  %" PRIu64 " receipt%s\n", d->receipts, out_s(d->receipts));
	if (d->older)
		out("older  by %" PRIu64 " change%s than it was\n", d->older,
		    out_s(d->older));
	for (size_t i = 0; i < d->wrong.n; i++) {
		struct buf b = {0};

		out_wrap(&b, d->wrong.items[i], 2);
		out("%s\n", buf_str(&b));
		buf_release(&b);
	}
}

static int run_db_check(struct cli *c)
{
	const char *path = cli_path(c, "hnode.db");
	struct store_tool *t;
	struct db_check d;

	int code = open_tool(c, path, &t);
	if (code)
		return code;
	journal_check(t, path, &c->arena, &d);
	store_tool_close(t);
	if (c->cfg.json)
		out_message(&db_check_message, &d);
	else
		say_check(&d);
	if (d.whole && d.older)
		return out_fail(ERR_IO,
				"the last %" PRIu64
				" change%s are gone: its log of changes was "
				"cut, or an earlier copy put in its place; a "
				"node may run on it, and jobs that had ended "
				"may run again",
				d.older, out_s(d.older));
	if (d.whole)
		return 0;
	return out_fail(ERR_IO,
			"the database is damaged: stop the node, then put a "
			"backup in its place, or move %s, %s-wal and %s-shm "
			"away for a new one (the node keeps its key; jobs and "
			"remembered nodes are lost)",
			path, path, path);
}

const struct verb verb_db_check = {
    .name = "db check",
    .summary = "is the database whole, and what is lost if not",
    .more = "Needs no running node and disturbs none. Exit 1 when something "
	    "is wrong, 78 when\nthe file cannot be read at all.",
    .example = "hnode db check",
    .run = run_db_check,
};

static int run_db_backup(struct cli *c)
{
	const char *file = c->args.items[0];
	struct store_tool *t;
	struct buf why = {0};
	struct stat st;

	int code = open_tool(c, cli_path(c, "hnode.db"), &t);
	if (code)
		return code;
	enum err e = store_tool_backup(t, file, &why);
	store_tool_close(t);
	if (e)
		code = out_fail(e, "%s", buf_str(&why));
	buf_release(&why);
	if (code)
		return code;
	const uint64_t bytes = stat(file, &st) ? 0 : (uint64_t)st.st_size;

	if (c->cfg.json) {
		struct json *j = json_object();
		json_set(j, "file", json_str(file));
		json_set(j, "bytes", json_int((int64_t)bytes));
		out_json(j);
	} else {
		struct buf size = {0};
		out_bytes(&size, bytes);
		out("%s  %s\n", file, buf_str(&size));
		buf_release(&size);
	}
	return 0;
}

const struct verb verb_db_backup = {
    .name = "db backup",
    .args = "FILE",
    .summary = "copy the database to a new file",
    .more = "All as of one moment, also while the node runs. To go back to "
	    "it, stop the node,\nmove hnode.db, hnode.db-wal and hnode.db-shm "
	    "away, and put FILE in their place.\nThe key (node.key) is not in "
	    "it.",
    .example = "hnode db backup hnode-monday.db",
    .min_args = 1,
    .max_args = 1,
    .run = run_db_backup,
};
