/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * PROTOCOL.md section 10 is made from the tables of methods and messages.
 * Without an argument this test compares; with --write it writes the section
 * anew.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/buf.h"
#include "node/base/fields.h"
#include "node/mesh/methods.h"
#include "rpc/rpc.h"
#include "test/support/tables.h"

#define PROTOCOL HN_SOURCE "/rpc/PROTOCOL.md"
#define BEGIN "<!-- methods -->\n"
#define END "<!-- end of methods -->\n"

static const char *const rights[] = {
    [RIGHT_OWNER] = "owner",
    [RIGHT_MEMBER] = "member",
    [RIGHT_GRANTED] = "granted",
    [RIGHT_INVITED] = "invited",
};

static const char *name_of(const struct message *m)
{
	return m ? m->name : "-";
}

static void method_rows(struct buf *out)
{
	buf_add_str(out,
		    "| method | version | who | repeat | request | chunks up "
		    "| chunks down | reply | meaning |\n"
		    "|---|---|---|---|---|---|---|---|---|\n");
	for (size_t t = 0; t < mesh_methods_count; t++)
		for (const struct rpc_method *r = mesh_methods[t]; r->name; r++)
			buf_printf(out,
				   "| `%s` | %u | %s%s%s | %s | %s | %s | %s "
				   "| %s | %s |\n",
				   r->name, r->version, rights[r->right],
				   r->cap ? " " : "", r->cap ? r->cap : "",
				   r->repeatable ? "harmless" : "no",
				   name_of(r->request), name_of(r->up),
				   name_of(r->down), name_of(r->reply),
				   r->doc ? r->doc : "");
}

static void message_rows(const struct message *m, void *arg)
{
	struct buf *out = arg;

	if (!m->nfields)
		return;
	buf_printf(out, "\n### %s\n\n", m->name);
	fields_doc(m, out);
}

static void section(struct buf *out)
{
	buf_add_str(out, "\n");
	method_rows(out);
	each_message(message_rows, out);
	buf_add_str(out, "\n");
}

static void read_file(const char *path, struct buf *out)
{
	FILE *f = fopen(path, "rb");
	char part[4096];
	size_t n;

	assert_non_null(f);
	while ((n = fread(part, 1, sizeof(part), f)) > 0)
		buf_add(out, part, n);
	fclose(f);
}

static void test_section_10_is_true(void **state)
{
	struct buf file = {0}, want = {0};

	(void)state;
	read_file(PROTOCOL, &file);
	section(&want);
	const char *text = buf_str(&file), *begin = strstr(text, BEGIN);
	assert_non_null(begin);
	begin += strlen(BEGIN);
	const char *end = strstr(begin, END);
	assert_non_null(end);
	if ((size_t)(end - begin) != want.n ||
	    memcmp(begin, want.p, want.n) != 0)
		fail_msg("PROTOCOL.md section 10 differs from the tables: run "
			 "test_protocol --write");
	buf_release(&file);
	buf_release(&want);
}

static int write_section(void)
{
	struct buf file = {0}, out = {0};

	read_file(PROTOCOL, &file);
	const char *text = buf_str(&file), *begin = strstr(text, BEGIN);
	if (!begin)
		return 1;
	begin += strlen(BEGIN);
	const char *end = strstr(begin, END);
	buf_add(&out, text, (size_t)(begin - text));
	section(&out);
	buf_add_str(&out, end ? end : END);
	FILE *f = fopen(PROTOCOL, "wb");
	if (!f)
		return 1;
	fwrite(out.p, 1, out.n, f);
	buf_release(&file);
	buf_release(&out);
	return fclose(f) != 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_section_10_is_true),
	};

	if (argc > 1 && !strcmp(argv[1], "--write"))
		return write_section();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
