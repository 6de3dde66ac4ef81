/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "node/mesh/invite.h"
#include "test/support/temp.h"

/* --- the word --- */

static char *hosts[] = {"192.0.2.7:7450", "[2001:db8::1]:7450"};

static struct invite sample(void)
{
	struct invite i = {.version = INVITE_VERSION,
			   .mesh = "home",
			   .address = {hosts, 2},
			   .dht = {hosts, 1},
			   .expires_ms = 123456789,
			   .uses = 3};

	memset(i.mesh_id, 1, 32);
	memset(i.node, 2, 32);
	memset(i.secret, 3, 16);
	return i;
}

static void test_a_word_reads_back(void **state)
{
	struct invite i = sample(), back;
	struct buf word = {0}, why = {0};
	struct arena a = {0};

	(void)state;
	invite_word(&i, &word);
	assert_memory_equal(buf_str(&word), "hn1", 3);
	assert_true(word.n < 400);
	assert_int_equal(invite_read(buf_str(&word), &a, &back, &why), OK);
	assert_string_equal(back.mesh, "home");
	assert_memory_equal(back.secret, i.secret, 16);
	assert_memory_equal(back.node, i.node, 32);
	assert_int_equal(back.address.n, 2);
	assert_string_equal(back.address.items[1], hosts[1]);
	assert_int_equal(back.expires_ms, i.expires_ms);
	assert_int_equal(back.uses, 3);
	buf_release(&word);
	buf_release(&why);
	arena_release(&a);
}

static void refused(struct invite *i)
{
	struct buf word = {0}, why = {0};
	struct arena a = {0};
	struct invite back;

	invite_word(i, &word);
	assert_int_equal(invite_read(buf_str(&word), &a, &back, &why),
			 ERR_INPUT);
	assert_true(why.n);
	buf_release(&word);
	buf_release(&why);
	arena_release(&a);
}

static void test_bad_words_are_refused(void **state)
{
	struct invite i = sample(), back;
	struct buf word = {0}, why = {0};
	struct arena a = {0};

	(void)state;
	invite_word(&i, &word);
	/* One letter changed, anywhere. */
	for (size_t k = 3; k < word.n; k++) {
		uint8_t was = word.p[k];
		word.p[k] = was == 'q' ? 'p' : 'q';
		buf_clear(&why);
		assert_int_equal(invite_read(buf_str(&word), &a, &back, &why),
				 ERR_INPUT);
		assert_true(why.n);
		word.p[k] = was;
	}
	i.version = 9;
	refused(&i);
	i = sample();
	i.mesh = "Not A Name";
	refused(&i);
	i = sample();
	i.address.n = 0;
	refused(&i);
	buf_release(&word);
	buf_release(&why);
	arena_release(&a);
}

static void test_the_psk_depends_on_the_secret(void **state)
{
	uint8_t secret[16] = {1}, one[32], two[32];

	(void)state;
	invite_psk(secret, one);
	secret[15] = 1;
	invite_psk(secret, two);
	assert_memory_not_equal(one, two, 32);
}

/* --- the list --- */

static struct loop *loop;
static struct store *store;
static struct invites *list;
static enum err got;
static unsigned done; /* callbacks not yet waited for */

static void on_done(void *arg, enum err e, const char *text)
{
	(void)arg;
	got = e;
	assert_true(e == OK || text);
	done++;
	loop_stop(loop);
}

static void on_flag(void *arg)
{
	(void)arg;
	done++;
	loop_stop(loop);
}

static void run(void)
{
	while (!done)
		loop_run(loop);
	done--;
}

static void open_list(void)
{
	struct buf why = {0};

	assert_int_equal(store_open(loop, temp_path("db"), invites_schema,
				    invites_schema_count, &why, &store),
			 OK);
	list = invites_new(store);
	invites_load(list, on_done, NULL);
	run();
	assert_int_equal(got, OK);
	buf_release(&why);
}

static void close_list(void)
{
	store_stop(store, on_flag, NULL);
	run();
	invites_free(list);
}

static int setup(void **state)
{
	(void)state;
	temp_make();
	loop = loop_new();
	open_list();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close_list();
	bool good = loop_free(loop);
	temp_remove();
	return good ? 0 : 1;
}

static uint64_t add(uint64_t expires_ms, uint64_t uses, uint64_t now)
{
	uint8_t secret[16];
	struct buf why = {0};
	uint64_t tag;

	assert_int_equal(invites_add(list, expires_ms, uses, now, secret, &tag,
				     &why, on_done, NULL),
			 OK);
	run();
	assert_int_equal(got, OK);
	buf_release(&why);
	return tag;
}

static enum err use(uint64_t tag, uint8_t who, uint64_t now)
{
	struct node_id id = {{who}};

	invites_use(list, tag, &id, now, on_done, NULL);
	run();
	return got;
}

static void on_each(uint64_t tag, const uint8_t secret[16], void *arg)
{
	(void)tag;
	(void)secret;
	++*(size_t *)arg;
}

static size_t count(uint64_t now)
{
	size_t n = 0;

	invites_each(list, now, on_each, &n);
	return n;
}

static void test_uses_are_counted_per_node(void **state)
{
	(void)state;
	uint64_t tag = add(1000, 2, 0);
	assert_int_equal(use(tag, 1, 10), OK);
	assert_int_equal(use(tag, 1, 10), OK); /* its answer was lost */
	assert_int_equal(use(tag, 2, 10), OK);
	assert_int_equal(use(tag, 3, 10), ERR_DENIED);
	assert_int_equal(use(tag, 2, 10), OK);
	assert_int_equal(use(tag, 2, 1000), ERR_EXPIRED);
	assert_int_equal(use(tag + 7, 2, 10), ERR_NOTFOUND);
}

static void test_two_at_once_do_not_share_the_last_use(void **state)
{
	struct node_id a = {{1}}, b = {{2}};
	(void)state;
	uint64_t tag = add(1000, 1, 0);
	invites_use(list, tag, &a, 1, on_done, NULL);
	invites_use(list, tag, &b, 1, on_done, NULL);
	run();
	run();
	assert_int_equal(use(tag, 1, 1), OK);
	assert_int_equal(use(tag, 2, 1), ERR_DENIED);
}

static void test_they_survive_a_restart(void **state)
{
	(void)state;
	uint64_t tag = add(1000, 1, 0);
	add(2000, 1, 0);
	assert_int_equal(use(tag, 1, 10), OK);
	close_list();
	open_list();
	assert_int_equal(count(10), 2);
	assert_int_equal(use(tag, 2, 10), ERR_DENIED);
	assert_int_equal(use(tag, 1, 10), OK);
	/* A tag is never used again. */
	assert_true(add(3000, 1, 10) > tag + 1);
}

static void test_the_number_of_open_ones_is_bounded(void **state)
{
	uint8_t secret[16];
	struct buf why = {0};
	uint64_t tag, first = 0;

	(void)state;
	for (int i = 0; i < INVITES_OPEN; i++) {
		tag = add(100000 + (uint64_t)i, 1, 0);
		first = first ? first : tag;
	}
	assert_int_equal(
	    invites_add(list, 5, 1, 0, secret, &tag, &why, on_done, NULL),
	    ERR_LIMIT);
	assert_true(why.n);
	assert_int_equal(count(0), INVITES_OPEN);
	/* A used up one makes room, and so does time. */
	assert_int_equal(use(first, 1, 0), OK);
	add(200000, 1, 0);
	assert_int_equal(use(first, 1, 0), ERR_NOTFOUND);
	assert_int_equal(count(100005), 9);
	add(200000, 1, 150000);
	assert_int_equal(count(150000), 2);
	buf_release(&why);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    cmocka_unit_test(test_a_word_reads_back),
	    cmocka_unit_test(test_bad_words_are_refused),
	    cmocka_unit_test(test_the_psk_depends_on_the_secret),
	    T(test_uses_are_counted_per_node),
	    T(test_two_at_once_do_not_share_the_last_use),
	    T(test_they_survive_a_restart),
	    T(test_the_number_of_open_ones_is_bounded),
#undef T
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
