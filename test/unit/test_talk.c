/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One question, one answer, by lab_ask as the client.
 */
#include "node/lab/talk.h"

#include "node/base/json.h"
#include "node/base/mem.h"
#include "node/lab/lab.h"
#include "test/support/temp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

struct env {
	struct loop *loop;
	struct talk *talk;
	struct talk_client *kept; /* asked "keep" */
	bool stopped;
	/* of the client's thread */
	const char *ask;
	enum err e;
	char said[200];
};

static void on_ask(void *arg, struct talk_client *c, const struct json *q)
{
	struct env *e = arg;
	const char *what = json_get_str(json_get(q, "do"));
	struct json *j;

	if (what && !strcmp(what, "keep")) {
		e->kept = c;
		loop_stop(e->loop);
	} else if (what && !strcmp(what, "no")) {
		talk_refuse(c, ERR_DENIED, "not here");
	} else {
		j = json_object();
		json_set(j, "heard", json_str(what));
		talk_answer(c, j);
	}
}

static int setup(void **state)
{
	struct env *e = HN_NEW(struct env);
	struct buf why = {0};
	char path[200];

	e->loop = loop_new();
	temp_make();
	snprintf(path, sizeof(path), "%s/socket", temp_dir);
	assert_int_equal(talk_new(e->loop, path, on_ask, e, &why, &e->talk),
			 OK);
	*state = e;
	return 0;
}

static void on_stopped(void *arg)
{
	struct env *e = arg;

	e->stopped = true;
	loop_stop(e->loop);
}

static int teardown(void **state)
{
	struct env *e = *state;

	talk_stop(e->talk, e->loop, on_stopped, e);
	loop_run(e->loop);
	bool clean = loop_free(e->loop) && e->stopped;
	temp_remove();
	free(e);
	return clean ? 0 : -1;
}

static void *client(void *arg)
{
	struct env *e = arg;
	struct json *j = NULL;
	struct buf why = {0};

	e->e = lab_ask(temp_dir, e->ask, 5000, &why, &j);
	const char *heard = json_get_str(json_get(j, "heard"));
	snprintf(e->said, sizeof(e->said), "%s", heard ? heard : buf_str(&why));
	json_free(j);
	buf_release(&why);
	loop_stop(e->loop);
	return NULL;
}

static void ask(struct env *e, const char *what)
{
	pthread_t t;

	e->ask = what;
	assert_int_equal(pthread_create(&t, NULL, client, e), 0);
	loop_run(e->loop);
	pthread_join(t, NULL);
}

static void test_a_question_is_answered(void **state)
{
	struct env *e = *state;

	ask(e, "{\"do\":\"state\"}");
	assert_int_equal(e->e, OK);
	assert_string_equal(e->said, "state");
}

static void test_an_error_comes_through(void **state)
{
	struct env *e = *state;

	ask(e, "{\"do\":\"no\"}");
	assert_int_equal(e->e, ERR_DENIED);
	assert_string_equal(e->said, "not here");
	ask(e, "no json");
	assert_int_equal(e->e, ERR_INPUT);
}

static void test_nobody_there(void **state)
{
	struct env *e = *state;
	struct buf why = {0};
	struct json *j = NULL;

	assert_int_equal(lab_ask("/nonexistent", "{}", 100, &why, &j),
			 ERR_NONODE);
	assert_null(j);
	buf_release(&why);
	(void)e;
}

static int silent_client(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/socket", temp_dir);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

/* A client that left before its answer, one that never asked and one that
 * still waits: the end waits for none of them. */
static void test_the_end_waits_for_nobody(void **state)
{
	struct env *e = *state;
	int left = silent_client(), silent = silent_client();
	int waits = silent_client();

	assert_int_equal(write(left, "{\"do\":\"keep\"}\n", 14), 14);
	loop_run(e->loop);
	assert_non_null(e->kept);
	struct talk_client *first = e->kept;
	close(left);
	assert_int_equal(write(waits, "{\"do\":\"keep\"}\n", 14), 14);
	loop_run(e->loop);
	assert_ptr_not_equal(e->kept, first);
	talk_refuse(first, ERR_GONE, "too late");
	close(silent);
	close(waits);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	    TEST(test_a_question_is_answered),
	    TEST(test_an_error_comes_through),
	    TEST(test_nobody_there),
	    TEST(test_the_end_waits_for_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
