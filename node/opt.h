/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_NODE_OPT_H
#define HN_NODE_OPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/fields.h"
#include "node/base/mem.h"

/*
 * Options: a table of rows says what a command line takes; parsing, help and
 * the man page come from it, so that none of them can go stale. The rows of
 * config.c have a key and a default, too; those of a verb do not. Pure.
 */
enum opt_type {
	OPT_BOOL,     /* bool; the flag has no value */
	OPT_NOT,      /* bool, made false: --no-lan */
	OPT_COUNT,    /* unsigned, how often it was said: -vv */
	OPT_TEXT,     /* const char * */
	OPT_CHOICE,   /* const char *, one of `choices` */
	OPT_TEXTS,    /* struct strs, repeatable */
	OPT_UINT,     /* struct opt_u64 for this and all that follow */
	OPT_THREADS,  /* a number or auto, which is 0 */
	OPT_MS,	      /* a duration: 500ms 30s 10m 2h 7d; no unit: seconds */
	OPT_RATE,     /* hashes a second: 100 5kH 1MH 1.2TH/s */
	OPT_SIZE,     /* bytes: 512 64kB 4GiB */
	OPT_PERMILLE, /* 5%, 2.5 (percent): in thousandths */
};

struct opt {
	const char *flag; /* without the dashes */
	char letter;	  /* 0: none */
	enum opt_type type;
	const char *meta;    /* NULL: the flag has no value */
	const char *help;    /* one line */
	size_t offset;	     /* of the value in the struct of values */
	uint64_t min, max;   /* of numbers; max 0: any */
	const char *choices; /* OPT_CHOICE: "serve use both" */
	const char *key;     /* config.c: "net.port"; NULL: flag only */
	const char *def;     /* config.c: as text; NULL: none */
	bool hidden;	     /* not in help */
	/* Of texts: is it well-formed? Else a sentence as opt_set gives. */
	bool (*check)(const char *text, struct buf *why);
};

enum opt_from { OPT_FROM_DEFAULT, OPT_FROM_ENV, OPT_FROM_FLAG };

/* Rows with the struct that their values go to. */
struct opt_table {
	const struct opt *rows;
	size_t n;
	void *values;
	uint8_t *from;	/* enum opt_from per row, or NULL */
	bool passes_on; /* of the first: one argument ends the flags */
};

/* Sets one value from text; a list grows. ERR_INPUT with a sentence that does
 * not name the option. The text must outlive the values. */
enum err opt_set(const struct opt *o, void *values, const char *text,
		 struct arena *a, struct buf *why) HN_CHECK;
/* Empties a list before a stronger source fills it. */
void opt_reset(const struct opt *o, void *values);

/*
 * Reads argv[0..n): --flag value, --flag=value, -f value, -fvalue, -vv; a
 * lone - is an argument, after -- everything is. What is no flag goes to
 * *args. ERR_INPUT with a sentence that names the flag, and for an unknown one
 * the nearest.
 */
enum err opt_parse(const struct opt_table *tables, size_t ntables, int n,
		   char **argv, struct arena *a, struct strs *args,
		   struct buf *why) HN_CHECK;

/* The values by themselves; the whole text must be one. */
bool opt_read_uint(const char *s, uint64_t *out); /* decimal or 0x hex */
bool opt_read_ms(const char *s, uint64_t *out);
bool opt_read_rate(const char *s, uint64_t *out);
bool opt_read_size(const char *s, uint64_t *out);
bool opt_read_permille(const char *s, uint64_t *out);
/* "A-B", both included; the result is [start, end). */
bool opt_read_range(const char *s, uint64_t max, uint64_t *start,
		    uint64_t *end);

/*
 * Did you mean: the word of the list that is nearest, by the number of letters
 * added, dropped, changed or swapped, or because it begins so; NULL when none
 * is near enough to be worth saying.
 */
struct near {
	const char *word, *best;
	size_t cost;
};
struct near near_of(const char *word);
void near_try(struct near *n, const char *candidate);

#endif
