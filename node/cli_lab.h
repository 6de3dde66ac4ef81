/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_NODE_CLI_LAB_H
#define HN_NODE_CLI_LAB_H

#include "node/cli.h"

/*
 * What the verbs of a lab share: which one is meant, what it and its nodes
 * say. cli_lab.c, cli_lab_up.c.
 */
struct json;

#define LAB_ASK_MS 5000
#define LAB_POLL_MS 200

bool lab_is_name(const char *text, struct buf *why);
#define LAB_NAME_ROW(struct_) \
	{ \
		.flag = "name", .type = OPT_TEXT, .meta = "NAME", \
		.offset = offsetof(struct_, name), .check = lab_is_name, \
		.help = "of the lab, for more than one at a time", \
	}
const char *lab_name(const char *name);		/* NULL: the default's */
char *lab_dir(struct cli *c, const char *name); /* in the arena */

/* The path of this program, or of another beside it; NULL: not known. */
char *lab_program(struct cli *c, const char *other);

/* The exit code, printed; 0: *out is the answer, the caller's to free. */
int lab_ask_or_fail(const char *dir, const char *request, uint32_t ms,
		    struct json **out);

/* What a node says of itself. */
struct lab_seen {
	bool answers;
	uint64_t sessions, jobs, rate;
	char name[48], offers[64], word[16];
};
struct lab_seen lab_look(const struct cli *c, const struct json *node);
/* Its table, or with --json one object. */
void lab_show(const struct cli *c, const struct json *lab);
void lab_pause(int ms);

#endif
