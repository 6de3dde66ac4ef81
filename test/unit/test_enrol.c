/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Who belongs to a mesh, with whole nodes over loopback: invites, enrolment,
 * rekeys, changing the mesh while running.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "node/base/log.h"
#include "node/mesh/membership.h"
#include "node/mesh/peers.h"
#include "rpc/link.h"
#include "test/support/nodes.h"
#include "test/support/temp.h"

static struct loop *loop;
static struct arena arena;

static int setup(void **state)
{
	(void)state;
	temp_make();
	loop = loop_new();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	arena_release(&arena);
	bool good = loop_free(loop);
	temp_remove();
	return good ? 0 : 1;
}

static void start(struct node *n, const char *name)
{
	struct mesh_options o = node_options(n, loop, temp_path(name));

	o.dht = false;
	node_start(n, &o);
}

/* --- private meshes --- */

static char *invite(struct node *n, uint64_t uses)
{
	struct mesh_invite q = {.yes = true, .uses = uses};
	struct mesh_invited r;

	assert_int_equal(node_call(n, "mesh.invite", &q, &arena, &r, NULL), OK);
	assert_non_null(r.invite);
	return r.invite;
}

static void join(struct node *n, const char *name, const char *word)
{
	struct mesh_options o = node_options(n, loop, temp_path(name));

	o.dht = false;
	o.join = word;
	node_start_raw(n, &o);
}

static void start_joined(struct node *n, const char *name, const char *word)
{
	struct mesh_options o = node_options(n, loop, temp_path(name));

	o.dht = false;
	o.join = word;
	node_start(n, &o);
}

static void test_invite_asks_before_it_leaves_public(void **state)
{
	struct node a;
	struct mesh_invite q = {0};
	struct mesh_invited r;
	char *text;

	(void)state;
	start(&a, "a");
	assert_int_equal(node_call(&a, "mesh.invite", &q, &arena, &r, NULL),
			 OK);
	assert_null(r.invite);
	assert_true(r.new_mesh);
	assert_true(mesh_is_public(a.mesh));
	q.mesh = "Not A Name";
	q.yes = true;
	assert_int_equal(node_call(&a, "mesh.invite", &q, &arena, NULL, &text),
			 ERR_INPUT);
	assert_true(mesh_is_public(a.mesh));
	node_stop(&a);
}

static void test_invite_enrols_once(void **state)
{
	struct node a, b, c;
	struct stat st;

	(void)state;
	start(&a, "a");
	char *word = invite(&a, 1);
	assert_false(mesh_is_public(a.mesh));
	assert_string_equal(mesh_name(a.mesh), "home");
	start_joined(&b, "b", word);
	assert_string_equal(mesh_name(b.mesh), "home");
	assert_true(node_sees(&b, node_id_of(&a), "ok"));
	assert_true(node_sees(&a, node_id_of(&b), "ok"));
	char *path = arena_printf(&arena, "%s/mesh", b.dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	/* It worked once. */
	join(&c, "c", word);
	assert_int_equal(c.e, ERR_DENIED);
	assert_non_null(strstr(c.text, "used up"));
	node_stop(&c);
	/* Who is not in it cannot come in by dialling. */
	start(&c, "c");
	struct peer_dial q = {.address = node_at(&a, &arena),
			      .timeout_ms = 3000};
	char *text;
	assert_int_not_equal(
	    node_call(&c, "peer.dial", &q, &arena, NULL, &text), OK);
	assert_false(peers_sessions(a.mesh->peers) > 1);
	node_stop(&c);
	/* Membership is kept: a plain start is in that mesh. */
	node_stop(&b);
	start(&b, "b");
	assert_string_equal(mesh_name(b.mesh), "home");
	assert_true(node_sees(&b, node_id_of(&a), "ok"));
	/* Only who holds the owner's key invites. */
	struct mesh_invite ask = {.yes = true};
	assert_int_equal(
	    node_call(&b, "mesh.invite", &ask, &arena, NULL, &text),
	    ERR_DENIED);
	assert_non_null(strstr(text, "owner import"));
	struct mesh_rekey rekey = {0};
	assert_int_equal(
	    node_call(&b, "mesh.rekey", &rekey, &arena, NULL, &text),
	    ERR_DENIED);
	node_stop(&b);
	node_stop(&a);
}

static void test_bad_invites_are_refused_in_words(void **state)
{
	struct node a, b;

	(void)state;
	join(&b, "b", "hn1qqqqqqqq");
	assert_int_equal(b.e, ERR_INPUT);
	assert_non_null(b.text);
	node_stop(&b);
	/* In another mesh already. */
	start(&a, "a");
	char *word = invite(&a, 1);
	start(&b, "b");
	(void)invite(&b, 1);
	node_stop(&b);
	join(&b, "b", word);
	assert_int_equal(b.e, ERR_CONFIG);
	assert_non_null(strstr(b.text, "\"home\""));
	node_stop(&b);
	/* Nobody there. */
	node_stop(&a);
	join(&b, "c", word);
	assert_int_not_equal(b.e, OK);
	assert_non_null(strstr(b.text, "could not be reached"));
	node_stop(&b);
}

static bool has_generation(void *arg)
{
	return ((struct node *)arg)->mesh->membership->generation == 1;
}

static void test_rekey_leaves_a_node_out(void **state)
{
	struct node a, b, c, d;

	(void)state;
	start(&a, "a");
	char *word = invite(&a, 3);
	start_joined(&b, "b", word);
	start_joined(&c, "c", word);
	start_joined(&d, "d", word);
	assert_true(node_sees(&a, node_id_of(&b), "ok"));
	assert_true(node_sees(&a, node_id_of(&c), "ok"));
	assert_true(node_sees(&a, node_id_of(&d), "ok"));
	/* d is away; it is told when it comes back. */
	node_stop(&d);
	char *without[] = {(char *)(uintptr_t)node_hex(node_id_of(&c))};
	struct mesh_rekey q = {.without = {without, 1}};
	struct mesh_rekeyed r;
	assert_int_equal(node_call(&a, "mesh.rekey", &q, &arena, &r, NULL), OK);
	assert_int_equal(r.generation, 1);
	assert_int_equal(r.excluded, 1);
	assert_int_equal(r.told, 1);
	assert_true(nodes_until(loop, has_generation, &b));
	assert_memory_equal(a.mesh->membership->secret->key,
			    b.mesh->membership->secret->key, 32);
	assert_int_equal(c.mesh->membership->generation, 0);
	assert_true(node_sees(&a, node_id_of(&c), "dropped"));
	struct peer_dial dial_a = {.address = node_at(&a, &arena),
				   .timeout_ms = 3000};
	char *text;
	assert_int_not_equal(
	    node_call(&c, "peer.dial", &dial_a, &arena, NULL, &text), OK);
	/* d knows only the old key, and is given the new one. */
	start(&d, "d");
	assert_true(nodes_until(loop, has_generation, &d));
	node_stop(&d);
	node_stop(&c);
	node_stop(&b);
	node_stop(&a);
	/* It is on disk. */
	start(&b, "b");
	assert_int_equal(b.mesh->membership->generation, 1);
	node_stop(&b);
}

/* A node with the DHT on and this bootstrap (NULL: none). */
static struct mesh_options with_dht(struct node *n, const char *name,
				    struct node *boot, const char **store)
{
	struct mesh_options o = node_options(n, loop, temp_path(name));

	if (boot) {
		*store = arena_printf(&arena, "127.0.0.1:%u",
				      (unsigned)mesh_dht_port(boot->mesh));
		o.bootstrap = store;
		o.nbootstrap = 1;
	}
	return o;
}

static void test_mesh_is_changed_while_running(void **state)
{
	struct node a, b, c;
	const char *boot[2], *topics[] = {"hash/sha256d"};
	struct mesh_rekeyed r;

	(void)state;
	struct mesh_options o = with_dht(&a, "a", NULL, NULL);
	o.topic = topics;
	o.ntopic = 1;
	node_start(&a, &o);
	o = with_dht(&b, "b", &a, &boot[0]);
	o.topic = topics;
	o.ntopic = 1;
	node_start(&b, &o);
	assert_true(node_sees(&a, node_id_of(&b), "ok"));
	uint16_t port = mesh_dht_port(a.mesh);
	/* a leaves public; b sees it go, and does not follow. */
	char *word = invite(&a, 2);
	assert_true(node_sees(&b, node_id_of(&a), "left"));
	struct mesh_options oc = with_dht(&c, "c", NULL, NULL);
	oc.topic = topics;
	oc.ntopic = 1;
	oc.join = word;
	node_start(&c, &oc);
	assert_true(node_sees(&c, node_id_of(&a), "ok"));
	assert_true(node_sees(&a, node_id_of(&c), "ok"));
	assert_int_equal(mesh_dht_port(a.mesh), port);
	assert_int_equal(peers_in_topic(a.mesh->peers, "hash/sha256d"), 1);
	assert_int_equal(peers_count(a.mesh->peers), 1);
	/* A rekey does not disturb the session, and topics go on. */
	struct mesh_rekey q = {0};
	assert_int_equal(node_call(&a, "mesh.rekey", &q, &arena, &r, NULL), OK);
	assert_int_equal(r.told, 1);
	assert_true(node_sees(&a, node_id_of(&c), "ok"));
	node_stop(&c);
	assert_true(node_sees(&a, identity_id(a.me), "ok"));
	oc = with_dht(&c, "c", NULL, NULL);
	oc.topic = topics;
	oc.ntopic = 1;
	node_start(&c, &oc);
	assert_true(node_sees(&a, node_id_of(&c), "ok"));
	node_stop(&c);
	node_stop(&b);
	node_stop(&a);
}

/* The day of the old topics outlives a restart: one that has only the old key,
 * and no address of ours, is heard of under them. */
static void test_old_topics_are_followed_after_a_restart(void **state)
{
	struct node a, b;
	const char *boot, *topics[] = {"hash/sha256d"};
	struct mesh_rekey q = {0};

	(void)state;
	struct mesh_options o = with_dht(&a, "a", NULL, NULL);
	o.topic = topics;
	o.ntopic = 1;
	node_start(&a, &o);
	start_joined(&b, "b", invite(&a, 1));
	assert_true(node_sees(&a, node_id_of(&b), "ok"));
	node_stop(&b);
	assert_int_equal(node_call(&a, "mesh.rekey", &q, &arena, NULL, NULL),
			 OK);
	node_stop(&a);
	/* Both forget whom they met. */
	assert_int_equal(unlink(temp_path("a/hnode.db")), 0);
	assert_int_equal(unlink(temp_path("b/hnode.db")), 0);
	o = with_dht(&a, "a", NULL, NULL);
	o.topic = topics;
	o.ntopic = 1;
	node_start(&a, &o);
	o = with_dht(&b, "b", &a, &boot);
	o.topic = topics;
	o.ntopic = 1;
	node_start(&b, &o);
	assert_int_equal(b.mesh->membership->generation, 0);
	assert_true(nodes_until(loop, has_generation, &b));
	node_stop(&b);
	node_stop(&a);
}

int main(int argc, char **argv)
{
	log_setup(argc > 1 ? LOG_DEBUG : LOG_ERROR, LOG_TEXT, 2);
	if (sodium_init() < 0)
		return 1;
	if (argc > 2)
		cmocka_set_test_filter(argv[2]);
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    T(test_invite_asks_before_it_leaves_public),
	    T(test_invite_enrols_once),
	    T(test_bad_invites_are_refused_in_words),
	    T(test_rekey_leaves_a_node_out),
	    T(test_mesh_is_changed_while_running),
	    T(test_old_topics_are_followed_after_a_restart),
#undef T
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	link_library_end();
	return failed;
}
