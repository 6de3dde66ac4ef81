/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct made {
	struct config c;
	struct arena a;
	struct strs args;
	struct buf why;
	enum err e;
};

/* Reads the environment as it is, then the flags. */
static struct made *make(int argc, char **argv)
{
	struct made *m = HN_NEW(struct made);

	m->e = config_init(&m->c, &m->a, &m->why);
	if (!m->e) {
		const struct opt_table t = config_table(&m->c, true);
		m->e = opt_parse(&t, 1, argc, argv, &m->a, &m->args, &m->why);
	}
	if (!m->e)
		m->e = config_finish(&m->c, &m->a, &m->why);
	return m;
}

static void made_free(struct made *m)
{
	arena_release(&m->a);
	buf_release(&m->why);
	free(m);
}

static int setup(void **state)
{
	(void)state;
	clearenv();
	setenv("HOME", "/h/x", 1);
	return 0;
}

static void test_defaults(void **state)
{
	struct made *m = make(0, NULL);

	(void)state;
	assert_int_equal(m->e, OK);
	assert_string_equal(m->c.data_dir, "/h/x/.local/share/hnode");
	assert_int_equal(m->c.port.v, 7450);
	assert_true(m->c.listen && m->c.lan && m->c.dht);
	assert_string_equal(m->c.role, "both");
	assert_int_equal(m->c.threads.v, 0);
	assert_int_equal(m->c.ping_ms.v, 10000);
	assert_int_equal(m->c.offer.n, 0);
	assert_null(m->c.join);
	assert_int_equal(config_from(&m->c, "port"), OPT_FROM_DEFAULT);
	made_free(m);
}

static void test_environment_over_default(void **state)
{
	(void)state;
	setenv("HNODE_NET_PORT", "8000", 1);
	setenv("HNODE_DATA_DIR", "/srv/n/", 1);
	setenv("HNODE_OFFER", "hash/sha256d, hash/sha256", 1);
	setenv("HNODE_NET_LAN", "no", 1);
	setenv("HNODE_NO_DHT", "1", 1);
	setenv("HNODE_JOIN", "hn1word", 1);
	struct made *m = make(0, NULL);
	assert_int_equal(m->e, OK);
	assert_int_equal(m->c.port.v, 8000);
	assert_int_equal(config_from(&m->c, "port"), OPT_FROM_ENV);
	assert_string_equal(m->c.data_dir, "/srv/n");
	assert_int_equal(m->c.offer.n, 2);
	assert_string_equal(m->c.offer.items[1], "hash/sha256");
	assert_false(m->c.lan);
	assert_false(m->c.dht);
	assert_true(m->c.listen);
	assert_string_equal(m->c.join, "hn1word");
	made_free(m);
}

static void test_the_section_may_be_left_out(void **state)
{
	(void)state;
	setenv("HNODE_PORT", "8001", 1);
	setenv("HNODE_THREADS", "3", 1);
	struct made *m = make(0, NULL);
	assert_int_equal(m->c.port.v, 8001);
	assert_int_equal(m->c.threads.v, 3);
	assert_int_equal(m->c.unknown.n, 0);
	made_free(m);

	setenv("HNODE_NET_PORT", "8002", 1);
	m = make(0, NULL);
	assert_int_equal(m->c.port.v, 8002);
	made_free(m);
}

static void test_flag_over_environment(void **state)
{
	char *argv[] = {"--port", "0", "--offer=hash/sha256", "--no-lan"};

	(void)state;
	setenv("HNODE_PORT", "8000", 1);
	setenv("HNODE_OFFER", "hash/sha256d", 1);
	setenv("HNODE_NET_LAN", "yes", 1);
	struct made *m = make(4, argv);
	assert_int_equal(m->e, OK);
	assert_int_equal(m->c.port.v, 0);
	assert_int_equal(config_from(&m->c, "port"), OPT_FROM_FLAG);
	assert_int_equal(m->c.offer.n, 1);
	assert_string_equal(m->c.offer.items[0], "hash/sha256");
	assert_false(m->c.lan);
	made_free(m);
}

static void test_a_bad_variable_is_named(void **state)
{
	(void)state;
	setenv("HNODE_NET_PORT", "seven", 1);
	struct made *m = make(0, NULL);
	assert_int_equal(m->e, ERR_CONFIG);
	assert_non_null(strstr(buf_str(&m->why), "HNODE_NET_PORT"));
	made_free(m);
}

static void test_unknown_variables_are_remembered(void **state)
{
	(void)state;
	setenv("HNODE_NET_PROT", "1", 1);
	setenv("HNODES", "1", 1);
	struct made *m = make(0, NULL);
	assert_int_equal(m->e, OK);
	assert_int_equal(m->c.unknown.n, 1);
	assert_string_equal(m->c.unknown.items[0], "HNODE_NET_PROT");
	made_free(m);
}

static void refused(char *flag, char *value, const char *says)
{
	char *argv[] = {flag, value};
	struct made *m = make(2, argv);

	assert_int_equal(m->e, ERR_INPUT);
	if (!strstr(buf_str(&m->why), says))
		fail_msg("%s %s: \"%s\" does not say \"%s\"", flag, value,
			 buf_str(&m->why), says);
	made_free(m);
}

static void test_malformed_values(void **state)
{
	(void)state;
	refused("--bind", "localhost", "IP address");
	refused("--bind", "1.2.3", "IP address");
	refused("--bootstrap", "192.0.2.1", "HOST:PORT");
	refused("--bootstrap", ":7450", "HOST:PORT");
	refused("--bootstrap", "h:0", "HOST:PORT");
	refused("--bootstrap", "h:65536", "HOST:PORT");
	refused("--bootstrap", "2001:db8::1:7450", "HOST:PORT");
	refused("--bootstrap", "[::1]", "HOST:PORT");
	refused("--advertise", "[::1]7450", "HOST:PORT");
	refused("--role", "worker", "serve use both");
	refused("--log", "loud", "error, warn, info");
	refused("--data-dir", "", "empty");
	refused("--ping-interval", "1ms", "too small");
	refused("--clock-offset", "1h", "seconds");
	refused("--clock-offset", "-", "seconds");
	refused("--clock-offset", "-999999999", "seconds");
}

static void test_a_clock_that_is_off(void **state)
{
	char *argv[] = {"--clock-offset=-90"};
	struct made *m = make(1, argv);

	(void)state;
	assert_int_equal(m->e, OK);
	assert_int_equal(config_clock_ms(&m->c), -90000);
	made_free(m);
	m = make(0, NULL);
	assert_int_equal(config_clock_ms(&m->c), 0);
	made_free(m);
}

static void test_nothing_to_announce_is_said(void **state)
{
	char *argv[] = {"--advertise-only", "--advertise", "192.0.2.1:7"};
	struct made *m = make(1, argv);

	(void)state;
	assert_int_equal(m->e, ERR_CONFIG);
	assert_non_null(strstr(buf_str(&m->why), "--advertise HOST:PORT"));
	made_free(m);
	m = make(3, argv);
	assert_int_equal(m->e, OK);
	made_free(m);
}

static void test_a_site_needs_a_name_and_a_port(void **state)
{
	static char id[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
			   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	char *argv[] = {"--site-node", id,	   "--site",
			"garage",      "--behind", "id@192.0.2.1:7"};
	struct made *m = make(2, argv);

	(void)state;
	assert_int_equal(m->e, ERR_CONFIG);
	assert_non_null(strstr(buf_str(&m->why), "--site NAME"));
	made_free(m);
	m = make(4, argv);
	assert_int_equal(m->e, OK);
	made_free(m);
	m = make(6, argv);
	assert_int_equal(m->e, ERR_CONFIG);
	assert_non_null(strstr(buf_str(&m->why), "leave out --site"));
	made_free(m);
}

static void test_addresses(void **state)
{
	static const char *const good[] = {"192.0.2.1:7450", "[::1]:1",
					   "node.example:65535"};

	(void)state;
	for (size_t i = 0; i < HN_COUNT(good); i++) {
		struct buf why = {0};
		assert_true(config_host_port(good[i], &why));
		buf_release(&why);
	}
}

static void test_where_the_files_are(void **state)
{
	char *argv[] = {"--data-dir", "rel/dir"};

	(void)state;
	setenv("XDG_DATA_HOME", "/data", 1);
	struct made *m = make(0, NULL);
	assert_string_equal(m->c.data_dir, "/data/hnode");
	made_free(m);

	setenv("XDG_DATA_HOME", "relative", 1);
	m = make(0, NULL);
	assert_string_equal(m->c.data_dir, "/h/x/.local/share/hnode");
	made_free(m);

	m = make(2, argv);
	assert_int_equal(m->c.data_dir[0], '/');
	assert_non_null(strstr(m->c.data_dir, "/rel/dir"));
	made_free(m);

	clearenv();
	m = make(0, NULL);
	if (getuid()) {
		assert_int_equal(m->e, ERR_CONFIG);
		assert_non_null(strstr(buf_str(&m->why), "--data-dir"));
	} else {
		assert_string_equal(m->c.data_dir, "/var/lib/hnode");
	}
	made_free(m);
}

static void test_every_row_is_whole(void **state)
{
	size_t n, common;
	const struct opt *r = config_rows(&n, &common);
	char name[64];

	(void)state;
	assert_true(common < n && n <= CONFIG_ROWS);
	for (size_t i = 0; i < n; i++) {
		assert_non_null(r[i].flag);
		assert_non_null(r[i].help);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(r[i].flag, r[k].flag);
		if (i >= common)
			assert_true(config_variable(&r[i], name, sizeof(name)));
	}
}

static void test_facts_of_the_environment(void **state)
{
	(void)state;
	assert_false(config_no_color());
	setenv("NO_COLOR", "1", 1);
	assert_true(config_no_color());
	unsetenv("NO_COLOR");
	setenv("TERM", "dumb", 1);
	assert_true(config_no_color());
	assert_null(config_runtime_dir());
	setenv("XDG_RUNTIME_DIR", "/run/user/1", 1);
	assert_string_equal(config_runtime_dir(), "/run/user/1");
	setenv("JOURNAL_STREAM", "1:2", 1);
	assert_false(config_journal(STDERR_FILENO));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_defaults, setup),
	    cmocka_unit_test_setup(test_environment_over_default, setup),
	    cmocka_unit_test_setup(test_the_section_may_be_left_out, setup),
	    cmocka_unit_test_setup(test_flag_over_environment, setup),
	    cmocka_unit_test_setup(test_a_bad_variable_is_named, setup),
	    cmocka_unit_test_setup(test_unknown_variables_are_remembered,
				   setup),
	    cmocka_unit_test_setup(test_malformed_values, setup),
	    cmocka_unit_test_setup(test_a_clock_that_is_off, setup),
	    cmocka_unit_test_setup(test_nothing_to_announce_is_said, setup),
	    cmocka_unit_test_setup(test_a_site_needs_a_name_and_a_port, setup),
	    cmocka_unit_test_setup(test_addresses, setup),
	    cmocka_unit_test_setup(test_where_the_files_are, setup),
	    cmocka_unit_test_setup(test_every_row_is_whole, setup),
	    cmocka_unit_test_setup(test_facts_of_the_environment, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
