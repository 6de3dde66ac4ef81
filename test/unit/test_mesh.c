/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Whole nodes in one process over loopback: finding each other, sessions,
 * rights, leaving. Invites and rekeys are in test_enrol.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <sodium.h>

#include "node/base/log.h"
#include "node/mesh/address.h"
#include "node/mesh/offers.h"
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

static void dial(struct node *from, struct node *to)
{
	struct peer_dial q = {.address = node_at(to, &arena)};
	struct peer_session s;

	assert_int_equal(node_call(from, "peer.dial", &q, &arena, &s, NULL),
			 OK);
	assert_memory_equal(s.id, node_id_of(to)->b, 32);
	assert_string_equal(s.path, "lan");
	assert_true(node_sees(from, node_id_of(to), "ok"));
	assert_true(node_sees(to, node_id_of(from), "ok"));
}

static void test_starts_and_stops_clean(void **state)
{
	struct node n;
	struct node_status s;

	(void)state;
	start(&n, "a");
	assert_int_equal(node_call(&n, "node.status", NULL, &arena, &s, NULL),
			 OK);
	assert_string_equal(s.word, "healthy");
	assert_string_equal(s.mesh, "public");
	assert_string_equal(s.dht, "off");
	assert_int_equal(s.port, mesh_port(n.mesh));
	assert_int_equal(s.offers.n, 0);
	uint64_t began = clock_ns();
	node_stop(&n);
	assert_true((clock_ns() - began) / 1000000 < 2000);
}

static void test_dial_ping_info_call(void **state)
{
	struct node a, b;
	struct peer_ref ref;
	struct peer_session s;
	struct node_info info;
	struct peer_called called;

	(void)state;
	start(&a, "a");
	start(&b, "b");
	dial(&a, &b);
	char name[NODE_NAME_SIZE];
	node_name(node_id_of(&b), name);
	ref.peer = name;
	assert_int_equal(node_call(&a, "peer.ping", &ref, &arena, &s, NULL),
			 OK);
	assert_true(s.rtt_us > 0 && s.rtt_us < 1000000);
	assert_int_equal(node_call(&a, "peer.info", &ref, &arena, &info, NULL),
			 OK);
	assert_string_equal(info.name, name);
	assert_string_equal(info.mesh, "public");
	assert_int_equal(info.offers.n, 0);
	assert_true(info.methods.n > 4);
	struct peer_call c = {
	    .peer = name, .method = "node.ping", .json = "{\"token\":42}"};
	assert_int_equal(node_call(&a, "peer.call", &c, &arena, &called, NULL),
			 OK);
	assert_non_null(strstr(called.json, "\"token\":42"));
	/* What cannot be called, or is not there. */
	char *text;
	c.method = "no.such";
	assert_int_equal(node_call(&a, "peer.call", &c, &arena, NULL, &text),
			 ERR_NOMETHOD);
	c.method = "node.ping";
	c.json = "{\"tokem\":1}";
	assert_int_equal(node_call(&a, "peer.call", &c, &arena, NULL, &text),
			 ERR_INPUT);
	assert_non_null(strstr(text, "tokem"));
	ref.peer = "no-such-peer";
	assert_int_equal(node_call(&a, "peer.ping", &ref, &arena, NULL, &text),
			 ERR_NOTFOUND);
	node_stop(&a);
	node_stop(&b);
}

static void test_dial_needs_a_known_key(void **state)
{
	struct node a, b;
	char *text;

	(void)state;
	start(&a, "a");
	start(&b, "b");
	struct peer_dial q = {.address = "127.0.0.1:7450"};
	assert_int_equal(node_call(&a, "peer.dial", &q, &arena, NULL, &text),
			 ERR_INPUT);
	assert_non_null(strstr(text, "ID@HOST:PORT"));
	/* The right place, the wrong key: refused, nothing left behind. */
	struct identity *other = identity_random();
	q.address = arena_printf(&arena, "%s@127.0.0.1:%u",
				 node_hex(identity_id(other)),
				 (unsigned)mesh_port(b.mesh));
	assert_int_not_equal(
	    node_call(&a, "peer.dial", &q, &arena, NULL, &text), OK);
	assert_int_equal(peers_count(a.mesh->peers), 0);
	assert_int_equal(peers_count(b.mesh->peers), 0);
	identity_free(other);
	node_stop(&a);
	node_stop(&b);
}

/* Every row of the table that is for the owner. */
struct rows {
	const struct rpc_method *m[64];
	size_t n;
};

static void on_row(const struct rpc_method *m, void *arg)
{
	struct rows *r = arg;

	if (m->right == RIGHT_OWNER || m->right == RIGHT_INVITED)
		r->m[r->n++] = m;
}

static void test_owner_methods_are_denied_to_peers(void **state)
{
	struct node a, b;
	struct rows rows = {.n = 0};

	(void)state;
	start(&a, "a");
	start(&b, "b");
	dial(&a, &b);
	rpc_methods_each(a.mesh->rpc, on_row, &rows);
	assert_true(rows.n >= 18);
	for (size_t i = 0; i < rows.n; i++) {
		size_t size = rows.m[i]->request ? rows.m[i]->request->size : 1;
		void *request = arena_alloc(&arena, size + 1);
		char *text = NULL;
		enum err e = node_call_peer(&a, &b, rows.m[i]->name, request,
					    &arena, NULL, &text);
		if (e != ERR_DENIED)
			print_error("%s: %s\n", rows.m[i]->name, err_name(e));
		assert_int_equal(e, ERR_DENIED);
	}
	/* Work is for those who offer it: b does not. */
	struct hash_search work = {.job = "x", .end = 1};
	char *text;
	assert_int_equal(
	    node_call_peer(&a, &b, "hash.search", &work, &arena, NULL, &text),
	    ERR_DENIED);
	assert_non_null(strstr(text, "does not offer"));
	node_stop(&a);
	node_stop(&b);
}

static void test_members_calls_are_rate_limited(void **state)
{
	struct node a, b;
	struct ping ping = {.token = 1}, pong;
	bool busy = false;
	char *text;

	(void)state;
	start(&a, "a");
	start(&b, "b");
	dial(&a, &b);
	for (int i = 0; i < 200 && !busy; i++)
		busy = node_call_peer(&a, &b, "node.ping", &ping, &arena, &pong,
				      &text) == ERR_BUSY;
	assert_true(busy);
	/* The owner's socket is not. */
	for (int i = 0; i < 100; i++)
		assert_int_equal(
		    node_call(&a, "node.ping", &ping, &arena, &pong, NULL), OK);
	node_stop(&a);
	node_stop(&b);
}

static void test_a_peer_that_says_goodbye_has_left(void **state)
{
	struct node a, b;
	struct node_id id;

	(void)state;
	start(&a, "a");
	start(&b, "b");
	dial(&a, &b);
	id = *node_id_of(&b);
	node_stop(&b);
	assert_true(node_sees(&a, &id, "left"));
	/* Nobody waits for one that is known to be away. */
	struct peer_ref ref = {.peer = (char *)(uintptr_t)node_hex(&id)};
	uint64_t began = clock_ns();
	assert_int_equal(node_call(&a, "peer.ping", &ref, &arena, NULL, NULL),
			 ERR_GONE);
	assert_true((clock_ns() - began) / 1000000 < 5000);
	node_stop(&a);
}

static void test_a_peer_whose_session_breaks_is_lost(void **state)
{
	struct node a, b;

	(void)state;
	start(&a, "a");
	start(&b, "b");
	dial(&a, &b);
	/* Its port goes, then its sessions break without a goodbye. */
	hub_unlisten(rpc_hub(b.mesh->rpc));
	struct session *s = hub_find(rpc_hub(b.mesh->rpc), node_id_of(&a));
	session_close(s, ERR_IO, "the cable was pulled");
	assert_true(node_sees(&a, node_id_of(&b), "lost"));
	struct peer_info *row = node_row(&a, node_id_of(&b), &arena);
	assert_non_null(row->why);
	assert_true(row->retry_ms <= 3000);
	node_stop(&a);
	node_stop(&b);
}

static bool has_offer(void *arg)
{
	struct node **ab = arg;
	struct arena t = {0};

	struct peer_info *row = node_row(ab[0], node_id_of(ab[1]), &t);
	bool good = row && row->offers.n == 1;
	arena_release(&t);
	return good;
}

static bool has_none(void *arg)
{
	struct node **ab = arg;
	struct arena t = {0};

	struct peer_info *row = node_row(ab[0], node_id_of(ab[1]), &t);
	bool good = row && !row->offers.n;
	arena_release(&t);
	return good;
}

static void test_offers_reach_peers_over_sessions(void **state)
{
	struct node a, b;
	struct offer_list list;
	struct peers_list found;
	char *text;

	(void)state;
	start(&a, "a");
	start(&b, "b");
	dial(&a, &b);
	struct offer_add ref = {.topic = "hash/sha256d"};
	assert_int_equal(node_call(&b, "offer.add", &ref, &arena, &list, NULL),
			 OK);
	assert_int_equal(list.offers.n, 1);
	struct cap_info *cap = list.offers.items;
	assert_true(cap->rate > 100000);
	assert_true(nodes_until(loop, has_offer, (struct node *[]){&a, &b}));
	struct peers_query q = {.cap = "hash/sha256d", .min_rate = 1};
	assert_int_equal(node_call(&a, "peers.find", &q, &arena, &found, NULL),
			 OK);
	assert_int_equal(found.peers.n, 1);
	q.min_rate = cap->rate * 1000;
	assert_int_equal(node_call(&a, "peers.find", &q, &arena, &found, NULL),
			 OK);
	assert_int_equal(found.peers.n, 0);
	assert_int_equal(node_call(&b, "offer.stop", &ref, &arena, &list, NULL),
			 OK);
	assert_int_equal(list.offers.n, 0);
	assert_true(nodes_until(loop, has_none, (struct node *[]){&a, &b}));
	ref.topic = "hash/unheard-of";
	assert_int_equal(node_call(&b, "offer.add", &ref, &arena, NULL, &text),
			 ERR_INPUT);
	assert_int_equal(node_call(&b, "offer.stop", &ref, &arena, NULL, &text),
			 ERR_NOTFOUND);
	node_stop(&a);
	node_stop(&b);
}

static void test_role_use_offers_nothing(void **state)
{
	struct node n;
	const char *offers[] = {"hash/sha256d"};
	struct offer_add ref = {.topic = "hash/sha256d"};
	char *text;

	(void)state;
	struct mesh_options o = node_options(&n, loop, temp_path("a"));
	o.dht = false;
	o.role = "use";
	o.offer = offers;
	o.noffer = 1;
	node_start_raw(&n, &o);
	assert_int_equal(n.e, ERR_CONFIG);
	assert_non_null(strstr(n.text, "--role"));
	node_stop(&n);
	o = node_options(&n, loop, temp_path("a"));
	o.dht = false;
	o.role = "use";
	node_start(&n, &o);
	assert_int_equal(node_call(&n, "offer.add", &ref, &arena, NULL, &text),
			 ERR_CONFIG);
	node_stop(&n);
}

static void test_three_nodes_meet_by_topic(void **state)
{
	struct node n[3];
	const char *topics[] = {"hash/sha256d"};
	const char *boot[1];

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct mesh_options o = node_options(
		    &n[i], loop, temp_path(arena_printf(&arena, "n%d", i)));
		o.topic = topics;
		o.ntopic = 1;
		if (i) {
			boot[0] =
			    arena_printf(&arena, "127.0.0.1:%u",
					 (unsigned)mesh_dht_port(n[0].mesh));
			o.bootstrap = boot;
			o.nbootstrap = 1;
		}
		node_start(&n[i], &o);
		assert_int_equal(mesh_port(n[i].mesh),
				 mesh_dht_port(n[i].mesh));
	}
	for (int i = 0; i < 3; i++)
		for (int k = 0; k < 3; k++)
			if (i != k)
				assert_true(
				    node_sees(&n[i], node_id_of(&n[k]), "ok"));
	struct topic_list list;
	assert_int_equal(
	    node_call(&n[2], "topic.list", NULL, &arena, &list, NULL), OK);
	assert_int_equal(list.topics.n, 1);
	struct topic_info *t = list.topics.items;
	assert_true(t->joined && t->followed && !t->offered);
	assert_int_equal(t->peers, 2);
	struct offer_add ref = {.topic = "hash/sha256d"};
	assert_int_equal(
	    node_call(&n[2], "topic.leave", &ref, &arena, &list, NULL), OK);
	assert_int_equal(list.topics.n, 0);
	for (int i = 2; i >= 0; i--)
		node_stop(&n[i]);
}

static void test_remembered_peers_come_back(void **state)
{
	struct node a, b;

	(void)state;
	start(&a, "a");
	start(&b, "b");
	dial(&a, &b);
	node_stop(&a);
	node_stop(&b);
	/* The same ports, the same keys, told nothing. */
	start(&b, "b");
	start(&a, "a");
	assert_true(node_sees(&a, node_id_of(&b), "ok"));
	assert_true(node_sees(&b, node_id_of(&a), "ok"));
	node_stop(&a);
	node_stop(&b);
}

static void test_outbound_only_node_dials(void **state)
{
	struct node a, b;
	char *text;

	(void)state;
	start(&a, "a");
	struct mesh_options o = node_options(&b, loop, temp_path("b"));
	o.dht = false;
	o.listen = false;
	node_start(&b, &o);
	assert_int_equal(mesh_port(b.mesh), 0);
	dial(&b, &a);
	struct mesh_invite q = {.yes = true};
	assert_int_equal(node_call(&b, "mesh.invite", &q, &arena, NULL, &text),
			 ERR_CONFIG);
	node_stop(&b);
	node_stop(&a);
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

static void test_worker_that_cannot_be_dialled_follows_the_want(void **state)
{
	struct node hub, worker, user;
	const char *boot[2], *offers[] = {"hash/sha256d"};

	(void)state;
	struct mesh_options o = with_dht(&hub, "hub", NULL, NULL);
	node_start(&hub, &o);
	o = with_dht(&worker, "worker", &hub, &boot[0]);
	o.listen = false;
	o.role = "serve";
	o.offer = offers;
	o.noffer = 1;
	node_start(&worker, &o);
	o = with_dht(&user, "user", &hub, &boot[1]);
	o.role = "use";
	node_start(&user, &o);
	peers_want(user.mesh->peers, "hash/sha256d", true);
	assert_true(node_sees(&user, node_id_of(&worker), "ok"));
	assert_true(
	    nodes_until(loop, has_offer, (struct node *[]){&user, &worker}));
	/* The user is nobody's worker. */
	struct peer_info *row = node_row(&worker, node_id_of(&user), &arena);
	assert_string_equal(row->role, "use");
	assert_int_equal(row->offers.n, 0);
	peers_want(user.mesh->peers, "hash/sha256d", false);
	node_stop(&worker);
	node_stop(&user);
	node_stop(&hub);
}

static bool is_degraded(void *arg)
{
	struct node *n = arg;

	return n->mesh->trouble.unreachable != NULL;
}

static void test_a_wrong_address_is_reported_back(void **state)
{
	struct node a, b;
	const char *boot[1], *topics[] = {"hash/sha256d"};
	const char *wrong[] = {"127.0.0.1:1"};
	struct node_status s;

	(void)state;
	struct mesh_options o = with_dht(&a, "a", NULL, NULL);
	o.topic = topics;
	o.ntopic = 1;
	node_start(&a, &o);
	o = with_dht(&b, "b", &a, &boot[0]);
	o.advertise = wrong;
	o.nadvertise = 1;
	o.role = "serve"; /* it looks for nobody by itself */
	node_start(&b, &o);
	/* Only the wrong one is announced: as behind a router. */
	texts_remove(&b.mesh->address, b.mesh->address.items[1]);
	struct offer_add ref = {.topic = "hash/sha256d"};
	assert_int_equal(node_call(&b, "topic.join", &ref, &arena, NULL, NULL),
			 OK);
	assert_true(node_sees(&a, node_id_of(&b), "retry"));
	dial(&b, &a);
	assert_true(nodes_until(loop, is_degraded, &b));
	assert_int_equal(node_call(&b, "node.status", NULL, &arena, &s, NULL),
			 OK);
	assert_string_equal(s.word, "degraded");
	assert_non_null(strstr(s.reasons.items[0], "127.0.0.1:1"));
	node_stop(&b);
	node_stop(&a);
}

static void test_stop_in_the_middle_of_a_start(void **state)
{
	struct node n;
	struct buf why = {0};
	size_t count;

	(void)state;
	/* At once, and after a few rounds: whatever was made goes. */
	for (int rounds = 0; rounds < 6; rounds++) {
		struct mesh_options o = node_options(&n, loop, temp_path("a"));
		const struct store_schema *schema = mesh_schema(&count);
		assert_int_equal(store_open(loop, temp_path("db"), schema,
					    count, &why, &n.store),
				 OK);
		o.store = n.store;
		n.mesh = mesh_new(&o, NULL, NULL);
		for (int i = 0; i < rounds; i++) {
			loop_post(loop, (loop_fn)loop_stop, loop);
			loop_run(loop);
		}
		node_stop(&n);
	}
	buf_release(&why);
}

static bool flag_set(void *arg)
{
	return *(bool *)arg;
}

static void on_flag(void *arg)
{
	*(bool *)arg = true;
}

static void on_no_matter(void *arg, struct rpc_stream *st, enum err e,
			 const void *reply, const char *text)
{
	(void)arg, (void)st, (void)e, (void)reply, (void)text;
}

static bool works_for_others(void *arg)
{
	struct node *n = arg;

	return service_hash_busy(n->mesh->service_hash) == 1;
}

/* Its services end one by one; who calls meanwhile hears that it stops. */
static void test_calls_to_a_stopping_node(void **state)
{
	static const struct rpc_ops ops = {.end = on_no_matter};
	struct hash_search work = {
	    .job = "x", .end = UINT64_C(1) << 32, .share_bits = 20};
	struct offer_add ref = {.topic = "hash/sha256d"};
	bool stopped = false, client = false, store = false;
	struct node a, b;

	(void)state;
	start(&a, "a");
	start(&b, "b");
	dial(&b, &a);
	assert_int_equal(node_call(&a, "offer.add", &ref, &arena, NULL, NULL),
			 OK);
	struct session *s = hub_find(rpc_hub(b.mesh->rpc), node_id_of(&a));
	assert_int_equal(
	    rpc_call(b.mesh->rpc, s, "hash.search", &work, 0, &ops, NULL, NULL),
	    OK);
	assert_true(nodes_until(loop, works_for_others, &a));
	mesh_stop(a.mesh, on_flag, &stopped);
	assert_int_not_equal(
	    node_call(&a, "job.list", NULL, &arena, NULL, NULL), OK);
	assert_true(nodes_until(loop, flag_set, &stopped));
	rpc_stop(a.client, on_flag, &client);
	assert_true(nodes_until(loop, flag_set, &client));
	store_stop(a.store, on_flag, &store);
	assert_true(nodes_until(loop, flag_set, &store));
	identity_free(a.me);
	free(a.text);
	node_stop(&b);
}

static void test_bad_options_are_told(void **state)
{
	struct node n;
	const char *boot[] = {"nonsense"};
	struct mesh_options o = node_options(&n, loop, temp_path("a"));

	(void)state;
	o.bootstrap = boot;
	o.nbootstrap = 1;
	node_start_raw(&n, &o);
	assert_int_equal(n.e, ERR_CONFIG);
	assert_non_null(strstr(n.text, "--bootstrap"));
	node_stop(&n);
	o = node_options(&n, loop, temp_path("a"));
	o.role = "boss";
	node_start_raw(&n, &o);
	assert_int_equal(n.e, ERR_CONFIG);
	node_stop(&n);
}

static void test_a_taken_port_is_an_error_when_given(void **state)
{
	struct node a, b;

	(void)state;
	start(&a, "a");
	struct mesh_options o = node_options(&b, loop, temp_path("b"));
	o.dht = false;
	o.port = mesh_port(a.mesh);
	o.port_given = true;
	node_start_raw(&b, &o);
	assert_int_not_equal(b.e, OK);
	assert_non_null(strstr(b.text, "--port"));
	node_stop(&b);
	/* As a hint, the next free one is taken. */
	o = node_options(&b, loop, temp_path("b"));
	o.dht = false;
	o.port = mesh_port(a.mesh);
	node_start(&b, &o);
	assert_int_not_equal(mesh_port(b.mesh), mesh_port(a.mesh));
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
	    T(test_starts_and_stops_clean),
	    T(test_dial_ping_info_call),
	    T(test_dial_needs_a_known_key),
	    T(test_owner_methods_are_denied_to_peers),
	    T(test_members_calls_are_rate_limited),
	    T(test_a_peer_that_says_goodbye_has_left),
	    T(test_a_peer_whose_session_breaks_is_lost),
	    T(test_offers_reach_peers_over_sessions),
	    T(test_role_use_offers_nothing),
	    T(test_three_nodes_meet_by_topic),
	    T(test_remembered_peers_come_back),
	    T(test_outbound_only_node_dials),
	    T(test_worker_that_cannot_be_dialled_follows_the_want),
	    T(test_a_wrong_address_is_reported_back),
	    T(test_stop_in_the_middle_of_a_start),
	    T(test_calls_to_a_stopping_node),
	    T(test_bad_options_are_told),
	    T(test_a_taken_port_is_an_error_when_given),
#undef T
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	link_library_end();
	return failed;
}
