/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_NODE_OUT_H
#define HN_NODE_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/fields.h"

/*
 * What the command line prints: results on standard output, all else on
 * standard error; tables that fit 80 columns, units, colour only on a
 * terminal, progress. Main thread only.
 */
struct json;
struct out_options {
	bool json, quiet;
	bool no_color; /* NO_COLOR, a dumb terminal */
};
void out_setup(const struct out_options *o);
bool out_is_json(void);

void out(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A remark on standard error; not with --quiet or --json. */
void out_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Text in lines of at most 80 columns, broken at spaces, indented so far. */
void out_wrap(struct buf *b, const char *text, int indent);
/* One line of JSON, written at once. */
void out_json(struct json *take_value);
void out_message(const struct message *m, const void *msg);

/*
 * An error: "hnode: sentence" on standard error, or {error, message, exit}
 * with --json. The sentence says what to do next. Returns the exit code, the
 * error's own or the one given.
 */
int out_fail(enum err e, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
int out_fail_as(const char *name, int exit, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* What was printed could not be written (disk full): code, or 1 if it is 0. */
int out_flush(int code);

/* --- units --- */
const char *out_s(uint64_t n); /* 1 peer, 2 peers: "", "s" */
void out_rate(struct buf *b, uint64_t hashes_per_s); /* 88.1 MH/s; 0: - */
void out_count(struct buf *b, uint64_t n);	     /* 1,234,567 */
void out_bytes(struct buf *b, uint64_t n);	     /* 1.5 MiB */
void out_us(struct buf *b, uint64_t us);	     /* 0.4 ms; 0: - */
void out_clock(struct buf *b, double s);	     /* 00:16, 1:02:03 */
void out_age(struct buf *b, uint64_t ms);	     /* 3 s, 12 m, 5 h, 3 d */

/* --- tables --- */
#define OUT_COLUMNS 80
enum colour { PLAIN, GREEN, YELLOW, RED, FAINT };

/*
 * Column heads: "NAME"; ">RATE" is set to the right; "*OFFERS" is the column
 * that gives way when the row would not fit. Cells come row by row. wide: as
 * long as it takes, as always where standard output is no terminal (when
 * printed).
 */
struct table;
struct table *table_new(const char *const *heads, size_t n, bool wide);
void table_cell(struct table *t, enum colour c, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Appends the text of the whole table; colours as out_setup knows them. */
void table_text(const struct table *t, struct buf *b);
void table_print(struct table *take_t); /* and frees it */
void table_free(struct table *t);

/* --- progress --- */
struct progress_state {
	double percent;
	uint64_t rate;
	double eta_s; /* -1: unknown */
	uint64_t peers;
	double checked;	     /* 0..1 */
	const char *waiting; /* instead of the others; NULL */
};
/* The bar; at most OUT_COLUMNS - 1 wide. */
void progress_bar(const struct progress_state *p, struct buf *b);
void progress_line(const struct progress_state *p, struct buf *b);

#define PROGRESS_LINE_MS 10000 /* where there is no terminal */
struct progress {
	bool terminal;	 /* standard error is one */
	bool shown;	 /* a bar stands there */
	bool waited;	 /* that it waits was said */
	uint64_t due_ms; /* the next line */
};
struct progress progress_start(uint64_t now_ms);
/* Redraws the bar or, every 10 s, prints a line. Silent with --quiet. */
void progress_show(struct progress *g, const struct progress_state *p,
		   uint64_t now_ms);
void progress_end(struct progress *g); /* takes the bar away */

#endif
