/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/store_tool.h"

#include "node/base/store_file.h"

#include <sqlite3.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUSY_MS 5000
#define COLUMNS_MAX 16
#define LINES_MAX 100

struct store_tool {
	sqlite3 *db;
	char *path;
};

static enum err failed(const struct store_tool *t, int rc, struct buf *why)
{
	buf_add_str(why, t->db ? sqlite3_errmsg(t->db) : sqlite3_errstr(rc));
	switch (rc & 0xff) {
	case SQLITE_NOTADB:
	case SQLITE_CORRUPT:
		return ERR_CONFIG;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return ERR_BUSY;
	default:
		return ERR_IO;
	}
}

static enum err look(const char *path, struct buf *why)
{
	struct stat st;

	if (stat(path, &st)) {
		buf_printf(why, "%s cannot be read: %s", path, strerror(errno));
		return errno == ENOENT ? ERR_NOTFOUND : ERR_IO;
	}
	if (!S_ISREG(st.st_mode)) {
		buf_printf(why, "%s is no regular file", path);
		return ERR_CONFIG;
	}
	if (!st.st_size) {
		buf_printf(why,
			   "%s is empty: whatever it held is lost; restore a "
			   "backup if there is one",
			   path);
		return ERR_CONFIG;
	}
	return OK;
}

static void on_id(void *arg, const struct store_val *cells, size_t n)
{
	int64_t *id = arg;

	if (n)
		*id = cells[0].i;
}

static enum err open_db(struct store_tool *t, struct buf *why)
{
	struct buf text = {0};
	int64_t id = 0;

	int rc = sqlite3_open_v2(
	    t->path, &t->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
	if (!rc) {
		sqlite3_extended_result_codes(t->db, 1);
		sqlite3_busy_timeout(t->db, BUSY_MS);
		rc = sqlite3_exec(t->db,
				  "PRAGMA trusted_schema=OFF;"
				  "PRAGMA cell_size_check=ON;",
				  NULL, NULL, NULL);
	}
	enum err e =
	    rc ? failed(t, rc, &text)
	       : store_tool_each(t, "PRAGMA application_id", on_id, &id, &text);
	if (e) {
		buf_printf(why, "%s cannot be read: %s", t->path,
			   buf_str(&text));
	} else if (id != STORE_APPLICATION_ID) {
		buf_printf(why, "%s is not a database of hnode", t->path);
		e = ERR_CONFIG;
	}
	buf_release(&text);
	return e;
}

enum err store_tool_open(const char *path, struct buf *why,
			 struct store_tool **out)
{
	enum err e = look(path, why);
	if (e)
		return e;
	struct store_tool *t = HN_NEW(struct store_tool);

	t->path = xstrdup(path);
	e = open_db(t, why);
	if (e)
		store_tool_close(t);
	else
		*out = t;
	return e;
}

void store_tool_close(struct store_tool *t)
{
	if (!t)
		return;
	sqlite3_close(t->db);
	free(t->path);
	free(t);
}

/* Lives until the next step of the statement. */
static struct store_val cell_of(sqlite3_stmt *stmt, int at)
{
	struct store_val v = {.type = STORE_NULL};

	switch (sqlite3_column_type(stmt, at)) {
	case SQLITE_INTEGER:
		v.type = STORE_INT;
		v.i = sqlite3_column_int64(stmt, at);
		break;
	case SQLITE_FLOAT:
		v.type = STORE_REAL;
		v.r = sqlite3_column_double(stmt, at);
		break;
	case SQLITE_TEXT:
		v.type = STORE_TEXT;
		v.b.p = sqlite3_column_text(stmt, at);
		v.b.n = (size_t)sqlite3_column_bytes(stmt, at);
		break;
	case SQLITE_BLOB:
		v.type = STORE_BLOB;
		v.b.p = sqlite3_column_blob(stmt, at);
		v.b.n = (size_t)sqlite3_column_bytes(stmt, at);
		break;
	default:
		break;
	}
	return v;
}

enum err store_tool_each(struct store_tool *t, const char *sql, store_row_fn fn,
			 void *arg, struct buf *why)
{
	struct store_val cells[COLUMNS_MAX];
	sqlite3_stmt *stmt;

	int rc = sqlite3_prepare_v2(t->db, sql, -1, &stmt, NULL);
	if (rc)
		return failed(t, rc, why);
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		int n = sqlite3_column_count(stmt);

		if (n > COLUMNS_MAX)
			n = COLUMNS_MAX;
		for (int i = 0; i < n; i++)
			cells[i] = cell_of(stmt, i);
		if (fn)
			fn(arg, cells, (size_t)n);
	}
	enum err e = rc == SQLITE_DONE ? OK : failed(t, rc, why);
	sqlite3_finalize(stmt);
	return e;
}

struct lines {
	store_line_fn fn;
	void *arg;
	size_t n;
};

static void on_line(void *arg, const struct store_val *cells, size_t n)
{
	struct lines *l = arg;
	const char *text =
	    n && cells[0].type == STORE_TEXT ? (const char *)cells[0].b.p : "";

	if (!strcmp(text, "ok") || l->n == LINES_MAX)
		return;
	l->n++;
	l->fn(l->arg, text);
}

size_t store_tool_integrity(struct store_tool *t, store_line_fn fn, void *arg)
{
	struct lines l = {fn, arg, 0};
	struct buf why = {0};

	if (store_tool_each(t, "PRAGMA integrity_check", on_line, &l, &why) &&
	    l.n < LINES_MAX) {
		l.n++;
		fn(arg, buf_str(&why));
	}
	buf_release(&why);
	return l.n;
}

/* Backups */

static int fsync_path(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		return -1;
	int rc = fsync(fd);
	close(fd);
	return rc;
}

static int fsync_dir_of(const char *file)
{
	const char *slash = strrchr(file, '/');
	char *dir =
	    slash ? xstrndup(file, (size_t)(slash - file) + 1) : xstrdup(".");
	int rc = fsync_path(dir, O_RDONLY | O_DIRECTORY);

	free(dir);
	return rc;
}

static enum err copy_to(struct store_tool *t, const char *part, struct buf *why)
{
	sqlite3_stmt *stmt;
	struct buf text = {0};

	int rc = sqlite3_prepare_v2(t->db, "VACUUM INTO ?", -1, &stmt, NULL);
	if (!rc) {
		sqlite3_bind_text(stmt, 1, part, -1, SQLITE_STATIC);
		sqlite3_step(stmt);
		rc = sqlite3_finalize(stmt);
	}
	if (!rc)
		return OK;
	enum err e = failed(t, rc, &text);
	if (e == ERR_CONFIG)
		buf_printf(why, "%s is damaged (%s): `hnode db check`", t->path,
			   buf_str(&text));
	else
		buf_printf(why, "%s cannot be written: %s", part,
			   buf_str(&text));
	buf_release(&text);
	return e;
}

/* link, unlike rename, leaves a file of that name alone. */
static enum err put_in_place(const char *part, const char *file,
			     struct buf *why)
{
	/* Some file systems have no links. */
	if (!fsync_path(part, O_RDONLY) &&
	    (!link(part, file) || (errno == EPERM && !rename(part, file))) &&
	    !fsync_dir_of(file))
		return OK;
	enum err e = errno == EEXIST ? ERR_EXISTS : ERR_IO;

	buf_printf(why, "%s cannot be written: %s", file, strerror(errno));
	return e;
}

static void first_line(void *arg, const char *line)
{
	struct buf *b = arg;

	if (!b->n)
		buf_add_str(b, line);
}

enum err store_tool_backup(struct store_tool *t, const char *file,
			   struct buf *why)
{
	struct buf wrong = {0};

	if (!access(file, F_OK)) {
		buf_printf(why, "%s is there already: name another file", file);
		return ERR_EXISTS;
	}
	if (store_tool_integrity(t, first_line, &wrong)) {
		buf_printf(why,
			   "%s is damaged (%s); a copy of it would be, too: "
			   "`hnode db check` says what is lost",
			   t->path, buf_str(&wrong));
		buf_release(&wrong);
		return ERR_CONFIG;
	}
	buf_release(&wrong);
	char *part = xasprintf("%s.part-%d", file, (int)getpid());
	/* The mode first: SQLite would leave it to the umask. */
	int fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	enum err e = OK;

	if (fd < 0) {
		buf_printf(why, "%s cannot be written: %s", part,
			   strerror(errno));
		free(part);
		return ERR_IO;
	}
	close(fd);
	e = copy_to(t, part, why);
	if (!e)
		e = put_in_place(part, file, why);
	unlink(part);
	free(part);
	return e;
}
