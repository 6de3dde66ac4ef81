/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/cli.h"
#include "node/cli_terms.h"
#include "node/cli_verbs.h"
#include "node/mesh/kind_batch.h"
#include "node/out.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAIT_MS 30000
#define CHECK_PERMILLE 50
#define READ_MS (7u * 86400 * 1000) /* the node reads the file once before */

struct batch_opts {
	const char *out, *hash;
	bool lines, hex, force, watch;
	struct opt_u64 record, wait, check;
	struct terms_opts terms;
};
static const struct opt batch_opts[] = {
    {.flag = "out",
     .type = OPT_TEXT,
     .meta = "FILE",
     .offset = offsetof(struct batch_opts, out),
     .help = "where the digests go, 32 bytes each, in the order of the "
	     "inputs"},
    {.flag = "hash",
     .type = OPT_CHOICE,
     .choices = "sha256d sha256",
     .offset = offsetof(struct batch_opts, hash),
     .help = "which digest [sha256d]"},
    {.flag = "lines",
     .type = OPT_BOOL,
     .offset = offsetof(struct batch_opts, lines),
     .help = "each line is an input, without its newline (this is the "
	     "default)"},
    {.flag = "records",
     .type = OPT_SIZE,
     .meta = "BYTES",
     .max = BATCH_INPUT_MAX,
     .offset = offsetof(struct batch_opts, record),
     .help = "each so many bytes are an input"},
    {.flag = "hex",
     .type = OPT_BOOL,
     .offset = offsetof(struct batch_opts, hex),
     .help = "write digests as lines of hex"},
    {.flag = "force",
     .type = OPT_BOOL,
     .offset = offsetof(struct batch_opts, force),
     .help = "replace what --out names"},
    {.flag = "watch",
     .letter = 'w',
     .type = OPT_BOOL,
     .offset = offsetof(struct batch_opts, watch),
     .help = "follow it to the end; Ctrl-C cancels it"},
    {.flag = "wait",
     .type = OPT_MS,
     .meta = "TIME",
     .max = UINT64_C(7) * 86400 * 1000,
     .offset = offsetof(struct batch_opts, wait),
     .help = "nobody to do it for so long: give up [30s]"},
    {.flag = "check",
     .type = OPT_PERMILLE,
     .meta = "PERCENT",
     .max = 1000,
     .offset = offsetof(struct batch_opts, check),
     .help = "of one core here, to compute digests of others again [5%]"},
    TERMS_ROWS_OF(struct batch_opts, true),
};

/* The node has another working directory. */
static char *absolute(struct cli *c, const char *path)
{
	char here[PATH_MAX];

	if (path[0] == '/')
		return arena_strndup(&c->arena, path, strlen(path));
	if (!getcwd(here, sizeof(here)))
		return NULL;
	return arena_printf(&c->arena, "%s/%s", strcmp(here, "/") ? here : "",
			    path);
}

static int run_batch(struct cli *c)
{
	const struct batch_opts *o = c->values;
	struct batch_spec spec = {
	    .rounds = o->hash && !strcmp(o->hash, "sha256") ? 1 : 2,
	    .record = o->record.v,
	    .hex = o->hex,
	    .force = o->force,
	    .terms.wait_ms = o->wait.set ? o->wait.v : WAIT_MS,
	    .terms.check_permille = o->check.set ? o->check.v : CHECK_PERMILLE};

	if (!o->out)
		return cli_usage(c, "it needs --out FILE for the digests");
	if (o->record.set && (o->lines || !o->record.v))
		return cli_usage(c, "--records takes the bytes of an input, 1 "
				    "to 1MiB, and not --lines");
	struct buf why = {0};
	int code = 0;

	if (terms_read(&o->terms, &spec.terms, &why))
		code = cli_usage(c, "%s", buf_str(&why));
	buf_release(&why);
	if (code)
		return code;
	spec.file = absolute(c, c->args.items[0]);
	spec.out = absolute(c, o->out);
	if (!spec.file || !spec.out)
		return out_fail(ERR_IO, "where are we? %s", strerror(errno));
	if (strlen(spec.file) > BATCH_PATH_MAX ||
	    strlen(spec.out) > BATCH_PATH_MAX)
		return out_fail(ERR_INPUT, "a path has at most %d bytes",
				BATCH_PATH_MAX);
	return cli_submit(c, "job.batch", &spec, READ_MS, o->watch);
}

const struct verb verb_submit_batch = {
    .name = "submit batch",
    .args = "FILE --out FILE",
    .summary = "digests of all inputs of a file, by all peers",
    .more = "The node reads FILE itself, however large it is, and writes the "
	    "digests beside\n--out; the file has its name once all are there. "
	    "Exit 0 done, 75 nobody to do\nit, 130 canceled. A job survives "
	    "its node: it goes on when that starts again.",
    .example = "hnode submit batch words.txt --out words.sha256d --watch\n"
	       "hnode submit batch headers.bin --records 80 --out hashes.txt "
	       "--hex",
    VERB_OPTS(batch_opts, struct batch_opts),
    .min_args = 1,
    .max_args = 1,
    .run = run_batch,
};
