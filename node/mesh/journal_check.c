/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/journal_check.h"

#include "node/base/log.h"
#include "node/base/store_mark.h"
#include "node/base/store_tool.h"
#include "node/mesh/job.h"
#include "node/mesh/job_save.h"
#include "node/mesh/journal.h"
#include "node/mesh/ledger_check.h"

#include <sodium.h>

#include <inttypes.h>
#include <string.h>

static const struct field db_check_fields[] = {
    FIELD_BOOL(struct db_check, whole, "nothing is wrong"),
    FIELD_STR(struct db_check, file, 4096, "the database"),
    FIELD_U64(struct db_check, open, 0, "open jobs that are whole"),
    FIELD_U64(struct db_check, ended, 0, "ended ones"),
    FIELD_U64(struct db_check, lost, 0, "jobs that are damaged"),
    FIELD_U64(struct db_check, peers, 0, "nodes remembered"),
    FIELD_STRS(struct db_check, wrong, DB_CHECK_LINES, "what is wrong"),
    FIELD_U64(struct db_check, receipts, 0, "receipts that are whole"),
    FIELD_U64(struct db_check, older, 0,
	      "changes it had once and has no more: store_mark.h"),
};
const struct message db_check_message =
    MESSAGE("db_check", struct db_check, db_check_fields);

struct check {
	struct arena *a;
	struct db_check *out;
	struct jobs *jobs;
};

static void wrong(struct check *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void wrong(struct check *c, const char *fmt, ...)
{
	va_list ap;

	c->out->whole = false;
	if (c->out->wrong.n == DB_CHECK_LINES)
		return;
	va_start(ap, fmt);
	char *text = xvasprintf(fmt, ap);
	va_end(ap);
	const size_t n = strlen(text);

	c->out->wrong.items[c->out->wrong.n++] =
	    arena_strndup(c->a, text, n < STRS_MAX_TEXT ? n : STRS_MAX_TEXT);
	free(text);
}

static void on_receipt(void *arg, const char *line)
{
	wrong(arg, "%s", line);
}

static void on_line(void *arg, const char *line)
{
	/* SQLite's words may quote what is damaged. */
	wrong(arg, "the file is damaged: %s", log_quote(line));
}

/* A coordinator that nobody uses. */

static uint64_t no_random(void *arg)
{
	uint64_t v;

	(void)arg;
	randombytes_buf(&v, sizeof(v));
	return v;
}

static const struct jobs_ops no_ops = {.random = no_random};

static void about_job(struct check *c, const struct store_val *v)
{
	const char *id = v[0].type == STORE_TEXT ? (const char *)v[0].b.p : "?";
	uint8_t sum[JOURNAL_SUM_SIZE];
	char got[JOB_ID_SIZE];
	struct buf why = {0};
	size_t hits;
	bool open = false;

	journal_sum(id, v[2].b.p, v[2].b.n, sum);
	enum err e = ERR_PROTO;
	if (v[1].i < 0)
		buf_add_str(&why, "it was set aside as unreadable");
	else if (v[3].b.n != sizeof(sum) ||
		 memcmp(sum, v[3].b.p, sizeof(sum)) != 0)
		buf_add_str(&why, "its checksum is wrong");
	else
		e = jobs_restore(c->jobs, v[2].b.p, v[2].b.n, 0, &why, got);
	if (!e && strcmp(got, id) != 0) {
		buf_add_str(&why, "its record is that of another");
		e = ERR_PROTO;
	}
	if (e) {
		c->out->lost++;
		wrong(c, "job %s is lost: %s", log_quote(id), buf_str(&why));
	} else if (jobs_glance(c->jobs, got, &hits, &open)) {
		c->out->open += open;
		c->out->ended += !open;
	}
	buf_release(&why);
}

static void on_job(void *arg, const struct store_val *cells, size_t n)
{
	if (n == 4)
		about_job(arg, cells);
}

static void on_count(void *arg, const struct store_val *cells, size_t n)
{
	uint64_t *count = arg;

	if (n)
		*count = (uint64_t)cells[0].i;
}

static bool has_table(struct store_tool *t, const char *sql)
{
	struct buf why = {0};
	uint64_t n = 0;
	enum err e = store_tool_each(t, sql, on_count, &n, &why);

	buf_release(&why);
	return e || n;
}

/* The mark is written after the count, so a node that runs is not wronged. */
static uint64_t older_by(struct store_tool *t, const char *file)
{
	const uint64_t mark = store_mark_read(file);
	uint64_t count = mark;
	struct buf why = {0};
	enum err e =
	    store_tool_each(t, "SELECT n FROM commits", on_count, &count, &why);

	(void)e; /* made before there was one */
	buf_release(&why);
	return mark > count ? mark - count : 0;
}

void journal_check(struct store_tool *t, const char *file, struct arena *a,
		   struct db_check *out)
{
	static const struct node_id nobody;
	struct check c = {a, out, jobs_new(&no_ops, NULL, &nobody)};
	struct buf why = {0};

	*out = (struct db_check){.whole = true};
	out->file = arena_strndup(a, file, strlen(file));
	out->wrong.items =
	    arena_alloc(a, DB_CHECK_LINES * sizeof(*out->wrong.items));
	/* One moment, although the node goes on. */
	if (store_tool_each(t, "BEGIN", NULL, NULL, &why))
		wrong(&c, "the file cannot be read: %s", buf_str(&why));
	store_tool_integrity(t, on_line, &c);
	buf_clear(&why);
	/* A database of an hnode before jobs were saved has no such table. */
	if (has_table(t, "SELECT count(*) FROM sqlite_schema WHERE name = "
			 "'jobs'") &&
	    store_tool_each(t,
			    "SELECT id, ended, saved, sum FROM jobs ORDER BY n",
			    on_job, &c, &why))
		wrong(&c,
		      "jobs behind the damage are lost: %" PRIu64
		      " could be read, then: %s",
		      out->open + out->ended, log_quote(buf_str(&why)));
	out->receipts = ledger_check(t, on_receipt, &c);
	out->older = older_by(t, file);
	buf_clear(&why);
	if (store_tool_each(t, "SELECT count(*) FROM peers", on_count,
			    &out->peers, &why))
		wrong(&c, "remembered nodes are lost: %s",
		      log_quote(buf_str(&why)));
	buf_release(&why);
	jobs_free(c.jobs);
}
