/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * hnode-audit: what a third party needs to check the books of two nodes. It
 * has no network, no database and nothing of a node in it but the receipts.
 */
#include "node/base/audit.h"

#include "node/base/json.h"

#include <sodium.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXIT_USAGE 64

static const char help[] =
    "Usage: hnode-audit [--json] EXPORT...\n"
    "\n"
    "Checks receipts that `hnode credits --export FILE` wrote: every\n"
    "signature, every chain (numbers, hashes, running totals, no lease paid\n"
    "twice), adds them up per pair of owners, and compares the exports: both\n"
    "sides must have the same chain. - reads standard input.\n"
    "\n"
    "Prints the sums and `equal`, or the first point of disagreement.\n"
    "Exit 0: all is well; 1: it is not; 64: wrong use, or a file that cannot\n"
    "be read.\n"
    "\n"
    "Example:\n"
    "  hnode-audit mine.jsonl theirs.jsonl\n";

static int usage(const char *what, const char *about)
{
	fprintf(stderr, "hnode-audit: %s%s; see hnode-audit --help\n", what,
		about);
	return EXIT_USAGE;
}

/* False: it cannot be read, which has been said. */
static bool read_export(struct audit *a, const char *path)
{
	const bool in = !strcmp(path, "-");
	FILE *f = in ? stdin : fopen(path, "re");
	static char line[AUDIT_LINE_MAX + 2];
	bool cut = false;

	if (!f) {
		fprintf(stderr, "hnode-audit: cannot read %s: %s\n", path,
			strerror(errno));
		return false;
	}
	audit_begin(a, in ? "standard input" : path);
	/* The rest of a line that is too long is not one of its own. */
	while (fgets(line, sizeof(line), f)) {
		const size_t n = strlen(line);
		const bool whole = n && line[n - 1] == '\n';

		if (!cut)
			audit_add(a, line, n);
		cut = !whole;
	}
	const bool failed = ferror(f) != 0;

	if (failed)
		fprintf(stderr, "hnode-audit: cannot read %s: %s\n", path,
			strerror(errno));
	if (!in)
		fclose(f);
	if (failed)
		return false;
	if (!audit_headed(a))
		fprintf(stderr,
			"hnode-audit: %s is no export: its first line is "
			"missing\n",
			in ? "standard input" : path);
	return audit_headed(a);
}

static struct json *json_u64(uint64_t v)
{
	return v > INT64_MAX ? json_num((double)v) : json_int((int64_t)v);
}

static void print_json(const struct audit *a, bool equal, const char *where)
{
	struct json *j = json_object(), *sums = json_array();
	const struct audit_sum *s;
	const size_t n = audit_sums(a, &s);
	struct buf b = {0};

	json_set(j, "equal", json_bool(equal));
	json_set(j, "disagreement", equal ? json_null() : json_str(where));
	for (size_t i = 0; i < n; i++) {
		struct json *o = json_object();

		json_set(o, "export", json_str(s[i].export));
		json_set(
		    o, "payer",
		    json_str(node_hex((const void *)s[i].submitter_owner)));
		json_set(o, "worker",
			 json_str(node_hex((const void *)s[i].worker_owner)));
		json_set(o, "chains", json_u64(s[i].chains));
		json_set(o, "receipts", json_u64(s[i].receipts));
		json_set(o, "total_parts", json_u64(s[i].total));
		json_set(o, "here_parts", json_u64(s[i].part));
		json_add(sums, o);
	}
	json_set(j, "sums", sums);
	json_write(j, &b);
	json_free(j);
	printf("%s\n", buf_str(&b));
	buf_release(&b);
}

static void print_text(const struct audit *a, bool equal, const char *where)
{
	const struct audit_sum *s;
	const size_t n = audit_sums(a, &s);

	for (size_t i = 0; i < n; i++) {
		char payer[NODE_NAME_SIZE], worker[NODE_NAME_SIZE];
		struct buf total = {0};

		node_name((const void *)s[i].submitter_owner, payer);
		node_name((const void *)s[i].worker_owner, worker);
		credit_str(s[i].total, &total);
		printf("%s: %s owes %s %s credits for work done (%" PRIu64
		       " receipts here",
		       s[i].export, payer, worker, buf_str(&total),
		       s[i].receipts);
		buf_clear(&total);
		credit_str(s[i].total - s[i].part, &total);
		if (s[i].total != s[i].part)
			printf("; %s of it by older ones that are gone",
			       buf_str(&total));
		printf(")\n");
		buf_release(&total);
	}
	if (!n)
		printf("no receipts\n");
	if (equal)
		printf("equal\n");
	else
		printf("disagreement: %s\n", where);
}

int main(int argc, char **argv)
{
	bool json = false, bad = false;
	struct buf where = {0};
	int at = 1;

	for (; at < argc && argv[at][0] == '-' && argv[at][1]; at++) {
		if (!strcmp(argv[at], "--help") || !strcmp(argv[at], "-h")) {
			fputs(help, stdout);
			return 0;
		}
		if (!strcmp(argv[at], "--version")) {
			printf("hnode-audit %s\n", HN_VERSION);
			return 0;
		}
		if (strcmp(argv[at], "--json") != 0)
			return usage("unknown option ", argv[at]);
		json = true;
	}
	if (at == argc)
		return usage("name at least one export", "");
	if (argc - at > AUDIT_EXPORTS_MAX)
		return usage("too many exports", "");
	if (sodium_init() < 0)
		return usage("libsodium does not start", "");
	struct audit *a = audit_new();

	for (; at < argc; at++)
		bad |= !read_export(a, argv[at]);
	int code = EXIT_USAGE;

	if (!bad) {
		const bool equal = audit_end(a, &where);

		if (json)
			print_json(a, equal, buf_str(&where));
		else
			print_text(a, equal, buf_str(&where));
		code = equal ? 0 : 1;
	}
	audit_free(a);
	buf_release(&where);
	return fflush(stdout) ? 1 : code;
}
