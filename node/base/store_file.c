/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/store_file.h"

#include "node/base/log.h"
#include "node/base/store.h"

#include <sqlite3.h>

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUSY_MS 5000
#define STR_(x) #x
#define STR(x) STR_(x)

/* Makes the file ours alone before SQLite sees it: WAL and index files take
 * over its mode. */
static enum err file_prepare(const char *path, struct buf *why)
{
	struct stat st;

	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
	if (fd < 0 || fstat(fd, &st)) {
		buf_printf(why, "the database %s cannot be opened: %s", path,
			   strerror(errno));
		if (fd >= 0)
			close(fd);
		return ERR_IO;
	}
	bool regular = S_ISREG(st.st_mode);
	if (regular && st.st_mode & 077 && fchmod(fd, 0600))
		log_debug("store", "database stays readable by others");
	close(fd);
	if (regular)
		return OK;
	buf_printf(why, "%s should be a database, but it is no regular file",
		   path);
	return ERR_CONFIG;
}

static enum err open_failed(sqlite3 *db, int rc, const char *path,
			    struct buf *why)
{
	switch (rc & 0xff) {
	case SQLITE_NOTADB:
		buf_printf(why,
			   "%s is not a database; if nothing else needs it, "
			   "move it away and a new one is made",
			   path);
		return ERR_CONFIG;
	case SQLITE_CORRUPT:
		buf_printf(why,
			   "the database %s is damaged (%s): `hnode db check` "
			   "says what is lost; restore a backup, or move it "
			   "away together with %s-wal and %s-shm: a new one is "
			   "made, the node keeps its key",
			   path, sqlite3_errmsg(db), path, path);
		return ERR_CONFIG;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		buf_printf(why, "the database %s is in use by another process",
			   path);
		return ERR_BUSY;
	default:
		buf_printf(why, "the database %s cannot be used: %s", path,
			   sqlite3_errmsg(db));
		/* "disk I/O error" is no help to who has a full disk. */
		if (sqlite3_system_errno(db))
			buf_printf(why, " (%s)",
				   strerror(sqlite3_system_errno(db)));
		return ERR_IO;
	}
}

/* The first column of the first row as text, in a static-size buffer; an
 * SQLite code. */
static int ask(sqlite3 *db, const char *sql, char *out, size_t size)
{
	sqlite3_stmt *stmt;

	int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
	if (rc)
		return rc;
	rc = sqlite3_step(stmt);
	const char *text = rc == SQLITE_ROW
			       ? (const char *)sqlite3_column_text(stmt, 0)
			       : NULL;
	snprintf(out, size, "%s", text ? text : "");
	/* reset repeats what went wrong in the step, if anything did. */
	rc = sqlite3_reset(stmt);
	sqlite3_finalize(stmt);
	return rc;
}

static int set_pragmas(sqlite3 *db)
{
	static const char sql[] = "PRAGMA synchronous=FULL;"
				  "PRAGMA foreign_keys=ON;"
				  "PRAGMA trusted_schema=OFF;"
				  "PRAGMA cell_size_check=ON;"
				  "PRAGMA temp_store=MEMORY;"
				  "PRAGMA cache_size=-1024;" /* KiB */
				  "PRAGMA journal_size_limit=4194304;";
	sqlite3_extended_result_codes(db, 1);
	sqlite3_busy_timeout(db, BUSY_MS);
	sqlite3_limit(db, SQLITE_LIMIT_LENGTH, (int)STORE_RESULT_BYTES);
	sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
	sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

/* Whose file it is, whether it is whole, and WAL. */
static enum err file_check(sqlite3 *db, const char *path, struct buf *why)
{
	char id[32], tables[32], text[200];

	int rc = set_pragmas(db);
	if (!rc)
		rc = ask(db, "PRAGMA application_id", id, sizeof(id));
	if (!rc)
		rc = ask(db, "SELECT count(*) FROM sqlite_schema", tables,
			 sizeof(tables));
	if (!rc && strtoll(id, NULL, 10) != STORE_APPLICATION_ID &&
	    strcmp(tables, "0") != 0) {
		buf_printf(why, "%s is the database of another program", path);
		return ERR_CONFIG;
	}
	if (!rc)
		rc = ask(db, "PRAGMA quick_check(1)", text, sizeof(text));
	if (!rc && strcmp(text, "ok") != 0) {
		log_debug("store", "quick_check says %s", log_quote(text));
		rc = SQLITE_CORRUPT;
	}
	if (rc)
		return open_failed(db, rc, path, why);
	rc = ask(db, "PRAGMA journal_mode=WAL", text, sizeof(text));
	if (rc)
		return open_failed(db, rc, path, why);
	if (!strcmp(text, "wal"))
		return OK;
	buf_printf(why,
		   "the file system under %s cannot hold a database "
		   "(no WAL); use a --data-dir on a local disc",
		   path);
	return ERR_CONFIG;
}

static int meta_get(sqlite3 *db, const char *module, unsigned *version)
{
	sqlite3_stmt *stmt;

	*version = 0;
	int rc = sqlite3_prepare_v2(
	    db, "SELECT version FROM meta WHERE module = ?", -1, &stmt, NULL);
	if (rc)
		return rc;
	sqlite3_bind_text(stmt, 1, module, -1, SQLITE_STATIC);
	if (sqlite3_step(stmt) == SQLITE_ROW)
		*version = (unsigned)sqlite3_column_int64(stmt, 0);
	return sqlite3_finalize(stmt);
}

static int meta_set(sqlite3 *db, const char *module, unsigned version)
{
	sqlite3_stmt *stmt;

	int rc = sqlite3_prepare_v2(
	    db, "INSERT OR REPLACE INTO meta (module, version) VALUES (?, ?)",
	    -1, &stmt, NULL);
	if (rc)
		return rc;
	sqlite3_bind_text(stmt, 1, module, -1, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 2, version);
	sqlite3_step(stmt);
	return sqlite3_finalize(stmt);
}

static unsigned newest(const struct store_schema *schema, size_t n,
		       const char *module)
{
	unsigned version = 0;

	for (size_t i = 0; i < n; i++) {
		if (strcmp(schema[i].module, module) != 0)
			continue;
		assert(schema[i].version == version + 1);
		version = schema[i].version;
	}
	return version;
}

static enum err schema_step(sqlite3 *db, const struct store_schema *schema,
			    size_t n, size_t at, const char *path,
			    struct buf *why)
{
	const struct store_schema *step = &schema[at];
	unsigned have, ours = newest(schema, n, step->module);

	int rc = meta_get(db, step->module, &have);
	if (!rc && have > ours) {
		buf_printf(why,
			   "the database %s was written by a newer hnode (%s "
			   "has version %u, this program knows %u); use that "
			   "one, or another --data-dir",
			   path, step->module, have, ours);
		return ERR_CONFIG;
	}
	if (!rc && have < step->version) {
		rc = sqlite3_exec(db, step->sql, NULL, NULL, NULL);
		if (!rc)
			rc = meta_set(db, step->module, step->version);
	}
	return rc ? open_failed(db, rc, path, why) : OK;
}

static enum err schema_run(sqlite3 *db, const struct store_schema *schema,
			   size_t n, const char *path, struct buf *why)
{
	static const char first[] =
	    "BEGIN IMMEDIATE;"
	    "PRAGMA application_id=" STR(
		STORE_APPLICATION_ID) ";"
				      "CREATE TABLE IF NOT EXISTS meta (module "
				      "TEXT "
				      "PRIMARY KEY,"
				      " version INTEGER NOT NULL) WITHOUT "
				      "ROWID;"
				      "CREATE TABLE IF NOT EXISTS commits "
				      "(n INTEGER NOT NULL);"
				      "INSERT INTO commits SELECT 0 WHERE NOT "
				      "EXISTS (SELECT 1 FROM commits);";

	int rc = sqlite3_exec(db, first, NULL, NULL, NULL);
	enum err e = rc ? open_failed(db, rc, path, why) : OK;
	for (size_t i = 0; i < n && !e; i++)
		e = schema_step(db, schema, n, i, path, why);
	if (!e) {
		rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
		e = rc ? open_failed(db, rc, path, why) : OK;
	}
	if (e && !sqlite3_get_autocommit(db))
		sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return e;
}

/* Transactions so far; an SQLite code. */
static int count_get(sqlite3 *db, uint64_t *count)
{
	char text[32];
	int rc = ask(db, "SELECT n FROM commits", text, sizeof(text));

	*count = strtoull(text, NULL, 10);
	return rc;
}

enum err store_file_open(const char *path, const struct store_schema *schema,
			 size_t n, struct buf *why, struct sqlite3 **out,
			 uint64_t *count)
{
	sqlite3 *db = NULL;

	enum err e = file_prepare(path, why);
	if (e)
		return e;
	int rc = sqlite3_open_v2(
	    path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	e = rc ? open_failed(db, rc, path, why) : file_check(db, path, why);
	if (!e)
		e = schema_run(db, schema, n, path, why);
	if (!e && (rc = count_get(db, count)))
		e = open_failed(db, rc, path, why);
	if (e) {
		sqlite3_close(db);
		return e;
	}
	*out = db;
	return OK;
}
