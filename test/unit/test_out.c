/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/out.h"

#include "node/base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

typedef void (*unit_fn)(struct buf *b, uint64_t v);

static void says(unit_fn fn, uint64_t v, const char *text)
{
	struct buf b = {0};

	fn(&b, v);
	assert_string_equal(buf_str(&b), text);
	buf_release(&b);
}

static void test_units(void **state)
{
	(void)state;
	says(out_rate, 0, "-");
	says(out_rate, 999, "999 H/s");
	says(out_rate, 1000, "1.00 kH/s");
	says(out_rate, 88140000, "88.1 MH/s");
	says(out_rate, 164000000, "164 MH/s");
	says(out_rate, 999600, "1.00 MH/s");
	says(out_rate, 1180000000000, "1.18 TH/s");
	says(out_rate, UINT64_MAX, "18.4 EH/s");
	says(out_count, 0, "0");
	says(out_count, 999, "999");
	says(out_count, 4294967296, "4,294,967,296");
	says(out_bytes, 512, "512 B");
	says(out_bytes, 1536, "1.50 KiB");
	says(out_bytes, UINT64_C(20) << 20, "20.0 MiB");
	says(out_us, 0, "-");
	says(out_us, 412, "0.41 ms");
	says(out_us, 4120, "4.1 ms");
	says(out_us, 412000, "412 ms");
	says(out_us, 4120000, "4.1 s");
	says(out_age, 3400, "3 s");
	says(out_age, 180000, "3 m");
	says(out_age, UINT64_C(3) * 86400000, "3 d");
}

static void clock_says(double s, const char *text)
{
	struct buf b = {0};

	out_clock(&b, s);
	assert_string_equal(buf_str(&b), text);
	buf_release(&b);
}

static void test_clock(void **state)
{
	(void)state;
	clock_says(-1, "--:--");
	clock_says(0, "00:00");
	clock_says(16.4, "00:16");
	clock_says(3723, "1:02:03");
	clock_says(90000, "1d01h");
	clock_says(1e300, "11574d01h");
}

static const char *const heads[] = {"PEER", ">RTT", "*OFFERS", "STATE"};

static void test_table_lines_up(void **state)
{
	struct table *t = table_new(heads, HN_COUNT(heads), false);
	struct buf b = {0};

	(void)state;
	table_cell(t, PLAIN, "fox");
	table_cell(t, PLAIN, "%s ms", "0.4");
	table_cell(t, PLAIN, "-");
	table_cell(t, GREEN, "ok");
	table_cell(t, PLAIN, "f\xc3\xb6x-long");
	table_cell(t, PLAIN, "12 ms");
	table_cell(t, PLAIN, "hash");
	table_cell(t, RED, "lost");
	table_text(t, &b);
	assert_string_equal(buf_str(&b), "PEER         RTT  OFFERS  STATE\n"
					 "fox       0.4 ms  -       ok\n"
					 "f\xc3\xb6x-long   12 ms  hash    "
					 "lost\n");
	buf_release(&b);
	table_free(t);
}

static size_t longest(const char *s)
{
	size_t most = 0;

	while (*s) {
		size_t n = strcspn(s, "\n");
		most = n > most ? n : most;
		s += n + (s[n] == '\n');
	}
	return most;
}

static void test_table_fits_80_columns(void **state)
{
	for (int wide = 0; wide < 2; wide++) {
		struct table *t = table_new(heads, HN_COUNT(heads), wide);
		struct buf b = {0};
		(void)state;
		table_cell(t, PLAIN, "fox-amber-7d21");
		table_cell(t, PLAIN, "0.4 ms");
		table_cell(t, PLAIN, "%0120d", 7);
		table_cell(t, PLAIN, "ok");
		table_text(t, &b);
		if (wide) {
			assert_true(longest(buf_str(&b)) > 120);
		} else {
			assert_int_equal(longest(buf_str(&b)), OUT_COLUMNS);
			assert_non_null(strstr(buf_str(&b), "0~  ok"));
		}
		buf_release(&b);
		table_free(t);
	}
}

static void test_table_lets_no_escape_through(void **state)
{
	struct table *t = table_new(heads, HN_COUNT(heads), false);
	struct buf b = {0};

	(void)state;
	for (int i = 0; i < 4; i++)
		table_cell(t, RED, "a\033[31mb\nc");
	table_text(t, &b);
	assert_null(strchr(buf_str(&b), '\033'));
	assert_non_null(strstr(buf_str(&b), "a?[31mb?c"));
	buf_release(&b);
	table_free(t);
}

static void test_progress_bar(void **state)
{
	struct progress_state p = {.percent = 38,
				   .rate = 164000000,
				   .eta_s = 16,
				   .peers = 4,
				   .checked = 0.015};
	struct buf b = {0};

	(void)state;
	progress_bar(&p, &b);
	assert_string_equal(buf_str(&b),
			    " 38% [=======             ] 164 MH/s  ETA 00:16  "
			    "4 peers  checked 1.5 %");
	buf_clear(&b);
	p = (struct progress_state){.percent = 1e9,
				    .rate = UINT64_MAX,
				    .eta_s = 1e300,
				    .peers = UINT64_MAX,
				    .checked = 1e9};
	progress_bar(&p, &b);
	assert_true(b.n < OUT_COLUMNS);
	buf_clear(&b);
	p = (struct progress_state){.percent = 12.25, .eta_s = -1, .peers = 1};
	progress_line(&p, &b);
	assert_string_equal(buf_str(&b),
			    "12.2 %  -  ETA --:--  1 peer  checked 0.0 %");
	buf_release(&b);
}

/* --- what goes to the two outputs --- */

static char *captured(int fd, FILE *f, void (*fn)(void))
{
	char *text = xcalloc(1, 4096);
	int saved = dup(fd);
	FILE *tmp = tmpfile();

	fflush(f);
	dup2(fileno(tmp), fd);
	fn();
	fflush(f);
	dup2(saved, fd);
	close(saved);
	rewind(tmp);
	text[fread(text, 1, 4095, tmp)] = '\0';
	fclose(tmp);
	return text;
}

static void fail_plain(void)
{
	out_setup(&(struct out_options){0});
	assert_int_equal(out_fail(ERR_NONODE, "no node, start %s", "one"), 69);
}

static void fail_json(void)
{
	out_setup(&(struct out_options){.json = true});
	out_note("not to be seen");
	assert_int_equal(out_fail(ERR_NONODE, "no \"node\""), 69);
	assert_int_equal(out_fail_as("mine", 64, "x"), 64);
	out_setup(&(struct out_options){0});
}

static void say_escapes(void)
{
	out_setup(&(struct out_options){0});
	out_note("a\033[2Jb\r\nc\xc2\x9b"
		 "d\xc3\xa9\t.");
	(void)out_fail(ERR_NONODE, "x\033]0;y\007z");
}

static void test_text_of_peers_cannot_steer_a_terminal(void **state)
{
	char *text = captured(STDERR_FILENO, stderr, say_escapes);

	(void)state;
	assert_string_equal(text, "a?[2Jb?\nc??d\xc3\xa9\t.\n"
				  "hnode: x?]0;y?z\n");
	free(text);
}

static void test_errors_say_the_sentence(void **state)
{
	char *text = captured(STDERR_FILENO, stderr, fail_plain);

	(void)state;
	assert_string_equal(text, "hnode: no node, start one\n");
	free(text);
}

static void test_errors_are_json_with_json(void **state)
{
	char *text = captured(STDERR_FILENO, stderr, fail_json);

	(void)state;
	assert_string_equal(
	    text, "{\"error\":\"no-node\",\"message\":\"no \\\"node\\\"\","
		  "\"exit\":69}\n{\"error\":\"mine\",\"message\":\"x\","
		  "\"exit\":64}\n");
	free(text);
}

static void show_progress(void)
{
	struct progress g = {.due_ms = 1000 + PROGRESS_LINE_MS};
	struct progress_state p = {.percent = 50, .eta_s = -1};

	progress_show(&g, &p, 1001);
	progress_show(&g, &p, 1000 + PROGRESS_LINE_MS);
	progress_show(&g, &p, 1001 + PROGRESS_LINE_MS);
	progress_show(&g, &p, 1000 + 2 * PROGRESS_LINE_MS);
	progress_end(&g);
}

static void test_a_line_every_ten_seconds_without_a_terminal(void **state)
{
	char *text = captured(STDERR_FILENO, stderr, show_progress);

	(void)state;
	assert_string_equal(text,
			    "50.0 %  -  ETA --:--  0 peers  checked 0.0 %\n"
			    "50.0 %  -  ETA --:--  0 peers  checked 0.0 %\n");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_units),
	    cmocka_unit_test(test_clock),
	    cmocka_unit_test(test_table_lines_up),
	    cmocka_unit_test(test_table_fits_80_columns),
	    cmocka_unit_test(test_table_lets_no_escape_through),
	    cmocka_unit_test(test_progress_bar),
	    cmocka_unit_test(test_text_of_peers_cannot_steer_a_terminal),
	    cmocka_unit_test(test_errors_say_the_sentence),
	    cmocka_unit_test(test_errors_are_json_with_json),
	    cmocka_unit_test(test_a_line_every_ten_seconds_without_a_terminal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
