/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/opt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NO UINT64_MAX

typedef bool (*read_fn)(const char *s, uint64_t *out);

struct value {
	const char *text;
	uint64_t is; /* NO: refused */
};

static void check_values(read_fn read, const struct value *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t out = 77;
		bool ok = read(v[i].text, &out);
		if (ok != (v[i].is != NO) || (ok && out != v[i].is))
			fail_msg("\"%s\": %s %llu", v[i].text,
				 ok ? "gives" : "refused, not",
				 (unsigned long long)(ok ? out : v[i].is));
		if (!ok)
			assert_int_equal(out, 77);
	}
}

static void test_durations(void **state)
{
	static const struct value v[] = {
	    {"30s", 30000},
	    {"10m", 600000},
	    {"2h", 7200000},
	    {"7d", 604800000},
	    {"500ms", 500},
	    {"1.5h", 5400000},
	    {"0.25s", 250},
	    {"5", 5000},
	    {"0", 0},
	    {"1w", 604800000},
	    {"", NO},
	    {"s", NO},
	    {"-5s", NO},
	    {"5x", NO},
	    {"5 s", NO},
	    {"1.s", NO},
	    {".5s", NO},
	    {"1e3s", NO},
	    {"5ss", NO},
	    {"99999999999999999999s", NO},
	    {"18446744073709551615d", NO},
	};

	(void)state;
	check_values(opt_read_ms, v, HN_COUNT(v));
}

static void test_rates(void **state)
{
	static const struct value v[] = {
	    {"100", 100},
	    {"100H", 100},
	    {"5kH", 5000},
	    {"5KH/s", 5000},
	    {"1MH", 1000000},
	    {"1.2TH/s", 1200000000000},
	    {"88.1 MH", NO},
	    {"2G", 2000000000},
	    {"18.4EH", 18400000000000000000u},
	    {"19EH", NO},
	    {"H", NO},
	    {"MH", NO},
	    {"", NO},
	    {"/s", NO},
	    {"1.123456789123kH", 1123},
	};

	(void)state;
	check_values(opt_read_rate, v, HN_COUNT(v));
}

static void test_sizes(void **state)
{
	static const struct value v[] = {
	    {"512", 512},
	    {"512B", 512},
	    {"64kB", 64000},
	    {"64KiB", 65536},
	    {"4GiB", UINT64_C(4) << 30},
	    {"1.5MiB", 3 * (1 << 19)},
	    {"4GB", 4000000000},
	    {"4Gi", NO},
	    {"GiB", NO},
	};

	(void)state;
	check_values(opt_read_size, v, HN_COUNT(v));
}

static void test_percentages(void **state)
{
	static const struct value v[] = {
	    {"5%", 50}, {"2.5%", 25}, {"0", 0},	   {"100%", 1000},
	    {"7", 70},	{"%", NO},    {"5 %", NO},
	};

	(void)state;
	check_values(opt_read_permille, v, HN_COUNT(v));
}

static void test_whole_numbers(void **state)
{
	static const struct value v[] = {
	    {"0", 0},
	    {"7450", 7450},
	    {"0x10", 16},
	    {"0XfF", 255},
	    {"0x", NO},
	    {"+1", NO},
	    {"-1", NO},
	    {" 1", NO},
	    {"1 ", NO},
	    {"", NO},
	    {"12a", NO},
	    {"0xg", NO},
	    {"18446744073709551616", NO},
	};

	(void)state;
	check_values(opt_read_uint, v, HN_COUNT(v));
}

static void check_range(const char *text, uint64_t max, uint64_t a, uint64_t b)
{
	uint64_t start = 77, end = 77;
	bool ok = opt_read_range(text, max, &start, &end);

	if (ok != (b != NO) || (ok && (start != a || end != b)))
		fail_msg("\"%s\": %d %llu %llu", text, ok,
			 (unsigned long long)start, (unsigned long long)end);
}

static void test_ranges_include_both_ends(void **state)
{
	const uint64_t max = UINT32_MAX;

	(void)state;
	check_range("0-4294967295", max, 0, UINT64_C(1) << 32);
	check_range("7-7", max, 7, 8);
	check_range("0x10-0xff", max, 16, 256);
	check_range("5-0x10", max, 5, 17);
	check_range("0-4294967296", max, 0, NO);
	check_range("9-8", max, 0, NO);
	check_range("9", max, 0, NO);
	check_range("-9", max, 0, NO);
	check_range("9-", max, 0, NO);
	check_range("1-2-3", max, 0, NO);
	check_range("000000000000000000000000000000001-2", max, 0, NO);
	check_range("0-18446744073709551615", UINT64_MAX, 0, NO);
}

/* --- command lines --- */

struct values {
	bool all, lan;
	unsigned verbose;
	const char *dir, *role;
	struct strs offer;
	struct opt_u64 port, wait, threads, check;
};
#define AT(m) offsetof(struct values, m)
static const struct opt rows[] = {
    {.flag = "all", .letter = 'a', .type = OPT_BOOL, .offset = AT(all)},
    {.flag = "no-lan", .type = OPT_NOT, .offset = AT(lan)},
    {.flag = "verbose",
     .letter = 'v',
     .type = OPT_COUNT,
     .offset = AT(verbose)},
    {.flag = "data-dir", .type = OPT_TEXT, .meta = "DIR", .offset = AT(dir)},
    {.flag = "role",
     .type = OPT_CHOICE,
     .meta = "ROLE",
     .offset = AT(role),
     .choices = "serve use both"},
    {.flag = "offer",
     .letter = 'o',
     .type = OPT_TEXTS,
     .meta = "CAP",
     .offset = AT(offer)},
    {.flag = "port",
     .letter = 'p',
     .type = OPT_UINT,
     .meta = "N",
     .offset = AT(port),
     .max = 65535},
    {.flag = "wait",
     .type = OPT_MS,
     .meta = "TIME",
     .offset = AT(wait),
     .min = 100},
    {.flag = "threads",
     .type = OPT_THREADS,
     .meta = "N",
     .offset = AT(threads),
     .max = 64},
    {.flag = "check",
     .type = OPT_PERMILLE,
     .meta = "PERCENT",
     .offset = AT(check),
     .max = 1000},
};

struct line {
	struct values v;
	struct arena arena;
	struct strs args;
	struct buf why;
	uint8_t from[HN_COUNT(rows)];
	bool passes_on;
	enum err e;
};

/* Words separated by single spaces. */
static struct line *parse_as(const char *words, bool passes_on)
{
	struct line *l = HN_NEW(struct line);
	char *text = arena_strndup(&l->arena, words, strlen(words));
	char *argv[32];
	int n = 0;

	l->passes_on = passes_on;
	l->v.lan = true;
	for (char *save, *w = strtok_r(text, " ", &save); w && n < 32;
	     w = strtok_r(NULL, " ", &save))
		argv[n++] = w;
	const struct opt_table t = {rows, HN_COUNT(rows), &l->v, l->from,
				    l->passes_on};
	l->e = opt_parse(&t, 1, n, argv, &l->arena, &l->args, &l->why);
	return l;
}

static void line_free(struct line *l)
{
	arena_release(&l->arena);
	buf_release(&l->why);
	free(l);
}

static struct line *parse(const char *words)
{
	return parse_as(words, false);
}

static void test_flags_take_values_both_ways(void **state)
{
	struct line *l = parse("--port=7 --data-dir x --wait 30s -a one "
			       "--role=use -vv --no-lan two");

	(void)state;
	assert_int_equal(l->e, OK);
	assert_true(l->v.port.set && l->v.port.v == 7);
	assert_string_equal(l->v.dir, "x");
	assert_int_equal(l->v.wait.v, 30000);
	assert_true(l->v.all);
	assert_false(l->v.lan);
	assert_string_equal(l->v.role, "use");
	assert_int_equal(l->v.verbose, 2);
	assert_int_equal(l->args.n, 2);
	assert_string_equal(l->args.items[0], "one");
	assert_string_equal(l->args.items[1], "two");
	assert_int_equal(l->from[6], OPT_FROM_FLAG);
	assert_int_equal(l->from[8], OPT_FROM_DEFAULT);
	line_free(l);
}

static void test_short_flags_bundle(void **state)
{
	struct line *l = parse("-avp8 -o x -oy");

	(void)state;
	assert_int_equal(l->e, OK);
	assert_true(l->v.all);
	assert_int_equal(l->v.verbose, 1);
	assert_int_equal(l->v.port.v, 8);
	assert_int_equal(l->v.offer.n, 2);
	assert_string_equal(l->v.offer.items[1], "y");
	line_free(l);
}

static void test_double_dash_ends_flags_and_dash_is_an_argument(void **state)
{
	struct line *l = parse("- -- --port -a");

	(void)state;
	assert_int_equal(l->e, OK);
	assert_int_equal(l->args.n, 3);
	assert_string_equal(l->args.items[0], "-");
	assert_string_equal(l->args.items[1], "--port");
	assert_false(l->v.all);
	line_free(l);
}

static void test_words_that_are_passed_on_are_no_flags(void **state)
{
	struct line *l = parse_as("--all 1 --bogus -- -x", true);

	(void)state;
	assert_int_equal(l->e, OK);
	assert_true(l->v.all);
	assert_int_equal(l->args.n, 4);
	assert_string_equal(l->args.items[1], "--bogus");
	assert_string_equal(l->args.items[2], "--");
	line_free(l);
}

static void test_a_flag_replaces_what_a_weaker_source_said(void **state)
{
	struct values v = {0};
	struct arena a = {0};
	struct strs args = {0};
	struct buf why = {0};
	uint8_t from[HN_COUNT(rows)] = {[5] = OPT_FROM_ENV};
	char *argv[] = {"--offer", "mine", "--offer=too"};
	const struct opt_table t = {rows, HN_COUNT(rows), &v, from, false};

	(void)state;
	assert_int_equal(opt_set(&rows[5], &v, "theirs", &a, &why), OK);
	assert_int_equal(opt_parse(&t, 1, 3, argv, &a, &args, &why), OK);
	assert_int_equal(v.offer.n, 2);
	assert_string_equal(v.offer.items[0], "mine");
	assert_string_equal(v.offer.items[1], "too");
	arena_release(&a);
}

static void refused(const char *words, const char *says)
{
	struct line *l = parse(words);

	assert_int_equal(l->e, ERR_INPUT);
	if (!strstr(buf_str(&l->why), says))
		fail_msg("%s: \"%s\" does not say \"%s\"", words,
			 buf_str(&l->why), says);
	line_free(l);
}

static void test_bad_flags_are_refused_with_the_next_step(void **state)
{
	(void)state;
	refused("--prot 3", "did you mean --port?");
	refused("--threds=2", "did you mean --threads?");
	refused("--thr 2", "did you mean --threads?");
	refused("--xyzzy", "there is no --xyzzy here");
	refused("--port", "--port needs a value: N");
	refused("-p", "-p needs a value");
	refused("-z", "there is no -z");
	refused("-port 3", "--port takes a number"); /* -p with "ort" */
	refused("--port 65536", "--port takes a number from 0 to 65535");
	refused("--port x", "--port takes a number from 0 to 65535");
	refused("--wait 50ms", "--wait is too small");
	refused("--wait soon", "30s");
	refused("--check 101%", "--check is too large");
	refused("--threads 0", "auto");
	refused("--threads 65", "from 0 to 64");
	refused("--role slave", "one of: serve use both");
	refused("--role=", "one of");
	refused("--role=serve.", "one of");
	refused("--all=perhaps", "yes or no");
}

static void test_auto_threads_are_zero(void **state)
{
	struct line *l = parse("--threads auto");

	(void)state;
	assert_int_equal(l->e, OK);
	assert_true(l->v.threads.set);
	assert_int_equal(l->v.threads.v, 0);
	line_free(l);
}

/* --- did you mean --- */

static const char *nearest(const char *word)
{
	static const char *const words[] = {"peers", "ping",	      "status",
					    "jobs",  "submit search", "hash"};
	struct near n = near_of(word);

	for (size_t i = 0; i < HN_COUNT(words); i++)
		near_try(&n, words[i]);
	return n.best ? n.best : "-";
}

static void test_did_you_mean(void **state)
{
	(void)state;
	assert_string_equal(nearest("peer"), "peers");
	assert_string_equal(nearest("peesr"), "peers");
	assert_string_equal(nearest("stats"), "status");
	assert_string_equal(nearest("stat"), "status");
	assert_string_equal(nearest("submit serach"), "submit search");
	assert_string_equal(nearest("hsah"), "hash");
	assert_string_equal(nearest("teapot"), "-");
	assert_string_equal(nearest("x"), "-");
	assert_string_equal(
	    nearest("a word that is far too long to be compared with any"),
	    "-");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_durations),
	    cmocka_unit_test(test_rates),
	    cmocka_unit_test(test_sizes),
	    cmocka_unit_test(test_percentages),
	    cmocka_unit_test(test_whole_numbers),
	    cmocka_unit_test(test_ranges_include_both_ends),
	    cmocka_unit_test(test_flags_take_values_both_ways),
	    cmocka_unit_test(test_short_flags_bundle),
	    cmocka_unit_test(test_words_that_are_passed_on_are_no_flags),
	    cmocka_unit_test(
		test_double_dash_ends_flags_and_dash_is_an_argument),
	    cmocka_unit_test(test_a_flag_replaces_what_a_weaker_source_said),
	    cmocka_unit_test(test_bad_flags_are_refused_with_the_next_step),
	    cmocka_unit_test(test_auto_threads_are_zero),
	    cmocka_unit_test(test_did_you_mean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
