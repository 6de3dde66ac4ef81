/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_NODE_CLI_H
#define HN_NODE_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/err.h"
#include "node/base/fields.h"
#include "node/base/mem.h"
#include "node/config.h"
#include "node/opt.h"

/*
 * A verb of the command line: a row of main.c's table. Its options stand in a
 * table of its own, from which parsing, --help and the man page come. Most
 * verbs call a running node's methods over its control socket; the calls here
 * block (they run the loop until the answer is there).
 */
struct cli;
struct loop;
struct rpc;
struct rpc_stream;
struct session;

struct verb {
	const char *name;    /* "job show"; the node itself is "" */
	const char *args;    /* "ID"; NULL: none */
	const char *summary; /* one line */
	const char *more;    /* further lines for --help, or NULL */
	const char *example; /* one command a line */
	const struct opt *opts;
	size_t nopts;
	size_t values; /* size of the struct that opts fill */
	unsigned min_args, max_args;
	bool node;	/* takes the options of a node, too */
	bool hidden;	/* not in help */
	bool passes_on; /* words after the first are no options of ours */
	int (*run)(struct cli *c); /* the exit code */
};
#define VERB_OPTS(rows_, struct_) \
	.opts = (rows_), .nopts = sizeof(rows_) / sizeof((rows_)[0]), \
	.values = sizeof(struct_)

struct cli {
	const struct verb *verb;
	struct config cfg;
	struct arena arena; /* all of what is read lives to the end */
	struct strs args;
	void *values; /* the verb's own options */
	/* a verb that may ask a node */
	struct loop *loop;
	struct rpc *rpc;
	struct session *session; /* NULL: not connected, or gone */
};

/* The whole table, ending with NULL; main.c. */
extern const struct verb *const verbs[];
/* The verb of that name, or NULL. */
const struct verb *verb_named(const char *name);
bool verb_is_group(const char *word); /* "job": the first of two */

/*
 * Connects to the node of cfg.data_dir. cli_try says whether one is there
 * (false: *why has the sentence, *e the error); cli_open prints the failure
 * and gives the exit code, 0 on success.
 */
bool cli_try(struct cli *c, enum err *e, struct buf *why);
int cli_open(struct cli *c);
void cli_close(struct cli *c); /* at the end; copes with never opened */

/* Milliseconds that a call may take unless it says otherwise. */
#define CLI_CALL_MS 20000
/*
 * One call; connects first if need be. The reply lives in the arena. On
 * failure it is printed and the exit code comes back; 0: *reply is set.
 */
int cli_call(struct cli *c, const char *method, const void *request,
	     uint32_t timeout_ms, const void **reply);
/* The same without printing: the error and, in why, its sentence. */
enum err cli_ask(struct cli *c, const char *method, const void *request,
		 uint32_t timeout_ms, const void **reply, struct buf *why);

/* Submits a job by this method and, if asked to, follows it to its end; the
 * exit code (cli_job.c). */
int cli_submit(struct cli *c, const char *method, const void *spec,
	       uint32_t timeout_ms, bool watch);

/* Wrong use of the verb; prints the sentence and where help is. Exit 64. */
int cli_usage(const struct cli *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* DIR/name, in the arena. */
char *cli_path(struct cli *c, const char *name);

/* Yes or no, asked on the terminal; false where there is none. */
bool cli_confirm(const char *question);
/* A whole file, or standard input for "-"; at most max bytes. */
enum err cli_read(const char *path, size_t max, struct buf *out,
		  struct buf *why) HN_CHECK;
/* The text itself, or what @FILE or - holds, without white space around. */
enum err cli_secret(struct cli *c, const char *text, size_t max, char **out,
		    struct buf *why) HN_CHECK;

/* help.c */
void help_verb(const struct verb *v);
void help_group(const char *group); /* the verbs that begin so */
/* All verbs; with the options of a node, too. */
void help_all(bool options);
void help_man(void); /* the man page, roff */

/* "hnode 0.1.0" and the whole line of `hnode version` (node.c). */
#define HN_SOFTWARE "hnode " HN_VERSION

#endif
