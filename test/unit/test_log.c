/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/log.h"

#include "node/base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <regex.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static int fd = -1;
static char text[1 << 18];

static int set_up(void **state)
{
	(void)state;
	fd = memfd_create("log", MFD_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(log_levels_parse("info"), OK);
	log_setup(LOG_INFO, LOG_TEXT, fd);
	log_node("");
	log_colour(false);
	log_raise(0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	log_setup(LOG_INFO, LOG_TEXT, STDERR_FILENO);
	close(fd);
	return 0;
}

/* What was written since the last call. */
static const char *written(void)
{
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	assert_true(n >= 0);
	text[n] = '\0';
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return text;
}

static void assert_matches(const char *s, const char *pattern)
{
	regex_t re;
	assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
	int rc = regexec(&re, s, 0, NULL, 0);
	regfree(&re);
	if (rc)
		fail_msg("\"%s\" does not match %s", s, pattern);
}

static void test_text_line(void **state)
{
	(void)state;
	log_info("net", "session closed peer=%s", "fox-amber-7d21");
	assert_matches(written(), "^[0-2][0-9]:[0-5][0-9]:[0-6][0-9] info net "
				  "session closed peer=fox-amber-7d21\n$");
}

static void test_journal_line_has_priority_and_no_time(void **state)
{
	(void)state;
	log_setup(LOG_INFO, LOG_JOURNAL, fd);
	log_warn("node", "disc full");
	assert_string_equal(written(), "<4>warn node disc full\n");
}

static struct json *line_json(void)
{
	struct json *j;
	const char *s = written();
	size_t n = strlen(s);
	assert_true(n > 0 && s[n - 1] == '\n');
	assert_int_equal(json_parse(s, n, NULL, &j), OK);
	return j;
}

static const char *str_at(const struct json *j, const char *key)
{
	const char *s = json_get_str(json_get(j, key));
	return s ? s : "(absent)";
}

static bool add_key(const char *key, const struct json *v, void *arg)
{
	(void)v;
	strncat(arg, key, 20);
	strncat(arg, " ", 2);
	return true;
}

static void test_json_line(void **state)
{
	char keys[200] = "";
	(void)state;
	log_setup(LOG_INFO, LOG_JSON, fd);
	log_node("owl-tin-0001");
	log_info("net", "closed peer=fox-amber-7d21 job=\"j 1\" n=3");
	struct json *j = line_json();
	json_each(j, add_key, keys);
	assert_string_equal(keys, "ts level area msg node peer job ");
	assert_matches(str_at(j, "ts"), "^20[0-9]{2}-[01][0-9]-[0-3][0-9]T"
					"[0-9:]{8}\\.[0-9]{3}Z$");
	assert_string_equal(str_at(j, "level"), "info");
	assert_string_equal(str_at(j, "area"), "net");
	assert_string_equal(str_at(j, "msg"),
			    "closed peer=fox-amber-7d21 job=\"j 1\" n=3");
	assert_string_equal(str_at(j, "node"), "owl-tin-0001");
	assert_string_equal(str_at(j, "peer"), "fox-amber-7d21");
	assert_string_equal(str_at(j, "job"), "j 1");
	json_free(j);
}

static void test_json_takes_pairs_from_the_end_only(void **state)
{
	(void)state;
	log_setup(LOG_INFO, LOG_JSON, fd);
	log_info("net", "bad peer=x in record job=7");
	struct json *j = line_json();
	assert_string_equal(str_at(j, "peer"), "(absent)");
	assert_string_equal(str_at(j, "job"), "7");
	assert_string_equal(str_at(j, "node"), "(absent)");
	json_free(j);
}

static void test_json_stays_valid(void **state)
{
	(void)state;
	log_setup(LOG_INFO, LOG_JSON, fd);
	log_info("net", "a\"b\\c\n\x01 \xff \xc3\xa4 peer=\"");
	struct json *j = line_json();
	assert_string_equal(str_at(j, "msg"), "a\"b\\c\n\x01 \xef\xbf\xbd "
					      "\xc3\xa4 peer=\"");
	json_free(j);
}

static void test_one_event_is_one_line(void **state)
{
	(void)state;
	log_info("net", "name=%s", "x\n00:00:00 error node forged\033[2J");
	const char *s = written();
	assert_ptr_equal(strchr(s, '\n'), s + strlen(s) - 1);
	assert_null(strchr(s, '\033'));
}

static void test_long_message_is_cut(void **state)
{
	char big[5000];
	(void)state;
	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	log_info("net", "%s", big);
	const char *s = written();
	assert_true(strlen(s) > 1900 && strlen(s) < 2100);
	assert_matches(s, "x\\.\\.\\.\n$");
}

static void test_levels(void **state)
{
	(void)state;
	assert_int_equal(log_levels_parse("warn,net=debug,dht=trace"), OK);
	log_info("node", "no");
	log_debug("net", "yes");
	log_trace("net", "no");
	log_trace("dht", "yes");
	const char *s = written();
	assert_null(strstr(s, "no\n"));
	assert_matches(s, "^.* debug net yes\n.* trace dht yes\n$");
	assert_int_equal(log_level_of("net"), LOG_DEBUG);
	assert_int_equal(log_level_of("other"), LOG_WARN);
	/* A level for all areas takes back those of single ones. */
	assert_int_equal(log_levels_parse("error"), OK);
	assert_int_equal(log_level_of("dht"), LOG_ERROR);
}

static void test_bad_levels_change_nothing(void **state)
{
	static const char *const bad[] = {
	    "",		 "loud",
	    "net=",	 "=debug",
	    "debug,",	 ",debug",
	    "net debug", "net=debug,x=y",
	    "Net=debug", "averyverylongareaname=debug"};
	(void)state;
	assert_int_equal(log_levels_parse("warn"), OK);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(log_levels_parse(bad[i]), ERR_INPUT);
		assert_int_equal(log_level_of("net"), LOG_WARN);
	}
	char many[4096] = "debug";
	for (int i = 0; i < 40; i++) {
		size_t n = strlen(many);
		snprintf(many + n, sizeof(many) - n, ",a%d=trace", i);
	}
	assert_int_equal(log_levels_parse(many), ERR_INPUT);
	assert_int_equal(log_level_of("a1"), LOG_WARN);
}

static void test_raise(void **state)
{
	(void)state;
	log_debug("net", "hidden");
	log_raise(1);
	log_debug("net", "shown");
	assert_int_equal(log_level_of("net"), LOG_DEBUG);
	log_raise(0);
	log_debug("net", "hidden");
	assert_matches(written(), "^.* debug net shown\n$");
}

static void test_every_counts_what_it_holds(void **state)
{
	struct log_gate gate = {0};
	(void)state;
	for (int i = 0; i < 5; i++)
		log_every(&gate, 1000000, LOG_WARN, "net", "bad n=%d", i);
	assert_matches(written(), "^[^\n]* warn net bad n=0\n$");
	assert_int_equal(gate.held, 4);
	gate.next_ms = 0; /* as if the time were over */
	log_every(&gate, 1000000, LOG_WARN, "net", "bad n=%d", 5);
	assert_matches(written(), "^[^\n]* warn net bad n=5 repeated=4\n$");
	assert_int_equal(gate.held, 0);
}

static void test_errno_is_kept(void **state)
{
	(void)state;
	log_setup(LOG_INFO, LOG_TEXT, -1);
	errno = ENOTTY;
	log_info("net", "to nowhere");
	assert_int_equal(errno, ENOTTY);
}

static void test_quote(void **state)
{
	char big[400];
	(void)state;
	assert_string_equal(log_quote("plain"), "\"plain\"");
	assert_string_equal(log_quote(NULL), "-");
	assert_string_equal(log_quote(""), "\"\"");
	assert_string_equal(log_quote("a\"\\\n\033"),
			    "\"a\\\"\\\\\\x0a\\x1b\"");
	assert_string_equal(log_quote_n("a\0b", 3), "\"a\\x00b\"");
	assert_string_equal(log_quote("\xc3\xa4 \xff"), "\"\xc3\xa4 \\xff\"");
	/* C1 controls and marks that turn text around are escaped. */
	assert_string_equal(log_quote("\xc2\x9b"), "\"\\xc2\\x9b\"");
	assert_string_equal(log_quote("\xe2\x80\xae"), "\"\\xe2\\x80\\xae\"");
	memset(big, 0xff, sizeof(big));
	const char *q = log_quote_n(big, sizeof(big));
	assert_int_equal(strlen(q), 128 * 4 + 2 + 3);
	assert_matches(q, "\\.\\.\\.\"$");
	memset(big, 'x', 128);
	big[128] = '\0';
	assert_int_equal(strlen(log_quote(big)), 130);
	memset(big, 'x', 127);
	memcpy(big + 127, "\xc3\xa4", 3);
	assert_int_equal(strlen(log_quote(big)), 127 + 2 + 3);
}

static void test_quotes_live_for_eight_calls(void **state)
{
	const char *q[8];
	(void)state;
	for (int i = 0; i < 8; i++) {
		char s[2] = {(char)('a' + i), '\0'};
		q[i] = log_quote(s);
	}
	for (int i = 0; i < 8; i++)
		assert_int_equal(q[i][1], 'a' + i);
}

static void *log_many(void *arg)
{
	for (int i = 0; i < 300; i++)
		log_info("net", "thread=%s %0100d end", (const char *)arg, i);
	return NULL;
}

static void test_lines_of_threads_never_mix(void **state)
{
	static char names[4][2] = {"a", "b", "c", "d"};
	pthread_t t[4];
	(void)state;
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, log_many, names[i]);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	int lines = 0;
	char *save = NULL, *s = (char *)(uintptr_t)written();
	for (s = strtok_r(s, "\n", &save); s; s = strtok_r(NULL, "\n", &save)) {
		assert_int_equal(strlen(s), 131);
		assert_matches(s, " info net thread=[a-d] [0-9]{100} end$");
		lines++;
	}
	assert_int_equal(lines, 1200);
}

static void test_a_reader_that_stands_still_stops_nobody(void **state)
{
	int p[2];
	ssize_t n;
	(void)state;

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	log_setup(LOG_INFO, LOG_TEXT, p[1]);
	alarm(20); /* it would wait for ever */
	for (int i = 0; i < 2000; i++)
		log_info("net", "%0100d", i);
	alarm(0);
	while ((n = read(p[0], text, sizeof(text) - 1)) == sizeof(text) - 1)
		;
	assert_true(n > 0);
	log_info("net", "heard again");
	n = read(p[0], text, sizeof(text) - 1);
	assert_true(n > 0);
	text[n] = '\0';
	assert_non_null(strstr(text, "heard again"));
	close(p[0]);
	close(p[1]);
}

static size_t pty_line(int master, char *out, size_t size)
{
	ssize_t n = read(master, out, size - 1);
	assert_true(n > 0);
	out[n] = '\0';
	return (size_t)n;
}

static void test_colour_needs_a_terminal_and_leave(void **state)
{
	char line[400];
	(void)state;
	log_colour(true);
	log_error("net", "plain in a file");
	assert_null(strchr(written(), '\033'));

	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (master < 0 || grantpt(master) || unlockpt(master))
		skip();
	int tty = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (tty < 0)
		skip();
	log_setup(LOG_INFO, LOG_TEXT, tty);
	log_error("net", "red");
	pty_line(master, line, sizeof(line));
	assert_non_null(strstr(line, "\033[31merror\033[0m net red"));
	log_colour(false);
	log_error("net", "plain");
	pty_line(master, line, sizeof(line));
	assert_null(strchr(line, '\033'));
	close(tty);
	close(master);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_text_line),
	    T(test_journal_line_has_priority_and_no_time),
	    T(test_json_line),
	    T(test_json_takes_pairs_from_the_end_only),
	    T(test_json_stays_valid),
	    T(test_one_event_is_one_line),
	    T(test_long_message_is_cut),
	    T(test_levels),
	    T(test_bad_levels_change_nothing),
	    T(test_raise),
	    T(test_every_counts_what_it_holds),
	    T(test_errno_is_kept),
	    T(test_quote),
	    T(test_quotes_live_for_eight_calls),
	    T(test_lines_of_threads_never_mix),
	    T(test_a_reader_that_stands_still_stops_nobody),
	    T(test_colour_needs_a_terminal_and_leave),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
