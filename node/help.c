/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Help and the man page, both from the tables that parsing uses.
 */
#include "node/cli.h"
#include "node/out.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLAG_COLUMN 26
#define VERB_COLUMN 29

/* "--port N", "-v, --verbose", "-d". */
static void flag_text(const struct opt *o, struct buf *b)
{
	if (o->letter)
		buf_printf(b, "-%c", o->letter);
	if (o->letter && o->flag)
		buf_add_str(b, ", ");
	if (o->flag)
		buf_printf(b, "--%s", o->flag);
	if (o->meta)
		buf_printf(b, " %s", o->meta);
}

/* The help, its default, and the variable that does the same. */
static void note_text(const struct opt *o, struct buf *b)
{
	buf_add_str(b, o->help);
	if (o->type == OPT_CHOICE && !strstr(o->help, o->choices))
		buf_printf(b, " (%s)", o->choices);
	if (o->def && o->type != OPT_NOT)
		buf_printf(b, " [%s]", o->def);
}

static void print_opt(const struct opt *o)
{
	struct buf flag = {0}, note = {0};
	size_t column = 2;

	flag_text(o, &flag);
	note_text(o, &note);
	out("  %s", buf_str(&flag));
	column += flag.n;
	if (column >= FLAG_COLUMN) {
		out("\n");
		column = 0;
	}
	out("%*s", (int)(FLAG_COLUMN - column), "");
	column = FLAG_COLUMN;
	for (const char *p = buf_str(&note); *p;) {
		size_t n = strcspn(p, " ");
		if (column > FLAG_COLUMN && column + 1 + n > OUT_COLUMNS) {
			out("\n%*s", FLAG_COLUMN, "");
			column = FLAG_COLUMN;
		} else if (column > FLAG_COLUMN) {
			out(" ");
			column++;
		}
		out("%.*s", (int)n, p);
		column += n;
		p += n + strspn(p + n, " ");
	}
	out("\n");
	buf_release(&flag);
	buf_release(&note);
}

static void print_opts(const struct opt *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!rows[i].hidden)
			print_opt(&rows[i]);
}

static void print_lines(const char *text)
{
	while (*text) {
		size_t n = strcspn(text, "\n");
		out("  %.*s\n", (int)n, text);
		text += n + (text[n] == '\n');
	}
}

static void synopsis(const struct verb *v, struct buf *b)
{
	buf_add_str(b, "hnode");
	if (*v->name)
		buf_printf(b, " %s", v->name);
	if (v->args)
		buf_printf(b, " %s", v->args);
}

/* Its own line ends stay; what is longer than a line is wrapped. */
static void put_more(const char *text)
{
	while (*text) {
		const size_t n = strcspn(text, "\n");
		char *line = xstrndup(text, n);
		struct buf b = {0};

		out_wrap(&b, line, 0);
		out("%s\n", buf_str(&b));
		buf_release(&b);
		free(line);
		text += n + (text[n] == '\n');
	}
}

void help_verb(const struct verb *v)
{
	struct buf b = {0};
	size_t n, common;
	const struct opt *rows = config_rows(&n, &common);

	synopsis(v, &b);
	out("%s%s\n\n", buf_str(&b), v->nopts || v->node ? " [OPTION]..." : "");
	out("%s\n", v->summary);
	if (v->more)
		put_more(v->more);
	if (v->nopts || v->node) {
		out("\nOptions:\n");
		print_opts(v->opts, v->nopts);
		if (v->node)
			print_opts(rows + common, n - common);
	}
	out("\nFor every verb:\n");
	print_opts(rows, common);
	out("\nExample:\n");
	print_lines(v->example);
	if (v->node)
		out("\nEvery option can stand in the environment: HNODE_PORT "
		    "for --port.\n");
	buf_release(&b);
}

static void print_verb(const struct verb *v)
{
	struct buf b = {0};

	synopsis(v, &b);
	if (b.n > VERB_COLUMN)
		out("  %s\n", buf_str(&b));
	out("  %-*s  %s\n", VERB_COLUMN, b.n > VERB_COLUMN ? "" : buf_str(&b),
	    v->summary);
	buf_release(&b);
}

void help_group(const char *group)
{
	size_t n = strlen(group);

	for (size_t i = 0; verbs[i]; i++) {
		const struct verb *v = verbs[i];
		if (!v->hidden && !strncmp(v->name, group, n) &&
		    v->name[n] == ' ')
			print_verb(v);
	}
	out("\n`hnode %s VERB --help` says more.\n", group);
}

static void print_codes(void)
{
	out("\nExit codes: 0 done, 1 failed, 2 partly done, 64 wrong use, 69 "
	    "no node running,\n70 internal error, 75 try again later, 77 not "
	    "allowed, 78 bad configuration,\n124 time limit reached, 130 "
	    "interrupted.\n");
}

void help_all(bool options)
{
	size_t n, common;
	const struct opt *rows = config_rows(&n, &common);

	out("hnode: a compute mesh. Without a verb it runs a node here, in "
	    "the foreground;\nthe verbs talk to that node.\n\n");
	for (size_t i = 0; verbs[i]; i++)
		if (!verbs[i]->hidden)
			print_verb(verbs[i]);
	out("\n`hnode VERB --help` shows its options and an example.%s\n",
	    options ? "" : " Those of a node:\n`hnode --help`.");
	if (options) {
		out("\nOptions of a node (or in the environment: HNODE_PORT "
		    "for --port):\n");
		print_opts(rows + common, n - common);
		out("\nFor every verb:\n");
		print_opts(rows, common);
		out("\nExample:\n");
		print_lines(verb_named("")->example);
	}
	print_codes();
}

/* --- the man page --- */

/* Text into roff: no line begins a request, no hyphen becomes another. */
static void roff(const char *s)
{
	if (*s == '.' || *s == '\'')
		out("\\&");
	for (; *s; s++) {
		if (*s == '\\')
			out("\\e");
		else if (*s == '-')
			out("\\-");
		else
			out("%c", *s);
		if (*s == '\n' && (s[1] == '.' || s[1] == '\''))
			out("\\&");
	}
}

static void man_opt(const struct opt *o)
{
	struct buf flag = {0}, note = {0};
	char variable[64];

	flag_text(o, &flag);
	note_text(o, &note);
	out(".TP\n.B ");
	roff(buf_str(&flag));
	out("\n");
	roff(buf_str(&note));
	out("\n");
	if (config_variable(o, variable, sizeof(variable)))
		out("(%s%s)\n", variable, o->type == OPT_NOT ? "=no" : "");
	buf_release(&flag);
	buf_release(&note);
}

static void man_opts(const struct opt *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!rows[i].hidden)
			man_opt(&rows[i]);
}

static void man_verb(const struct verb *v)
{
	struct buf b = {0};

	synopsis(v, &b);
	out(".SS \"");
	roff(buf_str(&b));
	out("\"\n");
	roff(v->summary);
	out(".\n");
	if (v->more) {
		roff(v->more);
		out("\n");
	}
	man_opts(v->opts, v->nopts);
	out(".PP\n.nf\n.RS\n");
	roff(v->example);
	out("\n.RE\n.fi\n");
	buf_release(&b);
}

void help_man(void)
{
	static const char *const codes[][2] = {
	    {"0", "done"},
	    {"1", "the job or request failed"},
	    {"2", "degraded or partly done"},
	    {"64", "wrong use of the command line"},
	    {"69", "no node running"},
	    {"70", "internal error, please report"},
	    {"75", "try again later: busy, or nobody to do it"},
	    {"77", "not allowed"},
	    {"78", "bad configuration"},
	    {"124", "time limit reached"},
	    {"130", "interrupted"},
	};
	static const char *const files[][2] = {
	    {"DIR/node.key", "who this node is; keep it, and keep it here"},
	    {"DIR/owner.key", "the owner's key, when there is one"},
	    {"DIR/mesh", "the private mesh this node is in"},
	    {"DIR/hnode.db", "jobs, peers and the rest that is remembered"},
	    {"DIR/control", "the socket that the verbs talk to"},
	    {"DIR/pid", "the process that runs here"},
	    {"DIR/log", "what `hnode up -d` says"},
	};
	size_t n, common;
	const struct opt *rows = config_rows(&n, &common);

	out(".\\\" Made by `hnode help --man`; a test compares the two.\n");
	out(".TH HNODE 1 \"\" \"hnode %s\"\n", HN_VERSION);
	out(".nh\n.ad l\n.SH NAME\nhnode \\- a compute mesh: nodes find each "
	    "other and "
	    "work together\n");
	out(".SH SYNOPSIS\n.B hnode\n[\\fIOPTION\\fR]...\n.br\n.B hnode\n"
	    "\\fIVERB\\fR [\\fIARG\\fR]... [\\fIOPTION\\fR]...\n");
	out(".SH DESCRIPTION\nWithout a verb, hnode runs a node in the "
	    "foreground. It finds the other nodes\nof its mesh by topic, over "
	    "a DHT and on the local network, opens encrypted\nsessions to "
	    "them, and works only where it was told to offer work.\nThe verbs "
	    "talk to that node over a socket in its data directory.\n");
	out(".SH OPTIONS FOR EVERY VERB\n");
	man_opts(rows, common);
	out(".SH OPTIONS OF A NODE\n");
	out("A flag wins over the environment, that over the default. "
	    "Variables are named\nafter the key; the section may be left out "
	    "(HNODE_PORT is HNODE_NET_PORT).\n");
	man_opts(rows + common, n - common);
	out(".SH VERBS\n");
	for (size_t i = 0; verbs[i]; i++)
		if (!verbs[i]->hidden)
			man_verb(verbs[i]);
	out(".SH SIGNALS\nSIGINT, SIGTERM and SIGHUP end a node cleanly. "
	    "SIGUSR1 makes its log say more\nfor five minutes.\n");
	out(".SH FILES\nDIR is $XDG_DATA_HOME/hnode, ~/.local/share/hnode, or "
	    "/var/lib/hnode for root\nwithout a home.\n");
	for (size_t i = 0; i < HN_COUNT(files); i++)
		out(".TP\n.B %s\n%s\n", files[i][0], files[i][1]);
	out(".SH EXIT STATUS\n");
	for (size_t i = 0; i < HN_COUNT(codes); i++)
		out(".TP\n.B %s\n%s\n", codes[i][0], codes[i][1]);
}
