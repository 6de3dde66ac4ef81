/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The table of peers without any network: what records and beacons make of
 * it, looking peers up, filters; and the delays between dials.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "dht/discovery.h"
#include "node/base/log.h"
#include "node/mesh/address.h"
#include "node/mesh/backoff.h"
#include "node/mesh/membership.h"
#include "node/mesh/offers.h"
#include "node/mesh/peers_impl.h"
#include "node/mesh/skew.h"
#include "node/mesh/topics.h"
#include "test/support/temp.h"

/* --- delays --- */

/* splitmix64, Steele, Lea and Flood 2014: any seed gives a good stream. */
static uint64_t next(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static void test_backoff_grows_and_stays_in_bounds(void **state)
{
	uint64_t seed = 1;
	uint32_t ms = 0, highest = 0;

	(void)state;
	for (int i = 0; i < 10000; i++) {
		uint32_t was = ms;
		ms = backoff_next(ms, next(&seed));
		uint64_t top = was < BACKOFF_BASE_MS ? 3 * BACKOFF_BASE_MS
						     : 3 * (uint64_t)was;
		assert_true(ms >= BACKOFF_BASE_MS && ms <= BACKOFF_MAX_MS);
		assert_true(ms <= top);
		highest = ms > highest ? ms : highest;
	}
	assert_int_equal(highest, BACKOFF_MAX_MS);
	assert_int_equal(backoff_next(0, 0), BACKOFF_BASE_MS);
}

/* 100 nodes lose the same peer at the same moment, and it stays away. */
static void test_no_reconnect_storm(void **state)
{
	enum { NODES = 100, MS = 120000, SLOT = 100 };
	static unsigned dials[MS / SLOT];
	unsigned worst_early = 0, worst_late = 0, total = 0;
	uint64_t seed = 42;

	(void)state;
	memset(dials, 0, sizeof(dials));
	for (int n = 0; n < NODES; n++) {
		uint32_t delay = 0;
		uint64_t at = 0;
		while (true) {
			delay = backoff_next(delay, next(&seed));
			at += delay;
			if (at >= MS)
				break;
			dials[at / SLOT]++;
		}
	}
	for (int i = 0; i < MS / SLOT; i++) {
		total += dials[i];
		if (i < 50 && dials[i] > worst_early)
			worst_early = dials[i];
		if (i >= 300 && dials[i] > worst_late)
			worst_late = dials[i];
	}
	print_message("100 nodes: at most %u dials in 0.1 s at first, %u after "
		      "half a minute, %u in 2 minutes\n",
		      worst_early, worst_late, total);
	/* A listener takes 20 new handshakes in 0.1 s (D10: 200 a second). */
	assert_true(worst_early <= 20);
	assert_true(worst_late <= 8);
	assert_true(total < NODES * 30);
}

static void test_median_of_clocks(void **state)
{
	int64_t two[] = {1, 2}, three[] = {900000, -5, 10},
		four[] = {-400000, 400001, 7, 400002}, out;

	(void)state;
	assert_false(skew_median(two, 2, &out));
	assert_true(skew_median(three, 3, &out));
	assert_int_equal(out, 10);
	assert_false(skew_bad(out));
	/* Of an even number the smaller one: one liar is not enough. */
	assert_true(skew_median(four, 4, &out));
	assert_int_equal(out, 7);
	assert_true(skew_bad(-300001));
	assert_false(skew_bad(300000));
	assert_true(skew_bad(INT64_MIN));
}

static void test_addresses_as_text(void **state)
{
	static const char *const bad[] = {
	    "",	       "host",	"host:",  ":1",	     "h:0",
	    "h:65536", "h:1x",	"::1:80", "[::1]",   "[::1]x:1",
	    "a b:1",   "x@h:1", "[[]:5",  "[host]:1"};
	struct address a;
	struct buf b = {0};

	(void)state;
	assert_true(address_parse("10.0.0.1:7450", &a));
	assert_string_equal(a.host, "10.0.0.1");
	assert_int_equal(a.port, 7450);
	assert_true(address_parse("[2001:db8::1]:80", &a));
	assert_string_equal(a.host, "2001:db8::1");
	address_str(a.host, a.port, &b);
	assert_string_equal(buf_str(&b), "[2001:db8::1]:80");
	for (size_t i = 0; i < HN_COUNT(bad); i++)
		assert_false(address_parse(bad[i], &a));
	assert_string_equal(address_path("127.0.0.1"), "lan");
	assert_string_equal(address_path("::ffff:127.0.0.1"), "lan");
	assert_string_equal(address_path("::1"), "lan");
	assert_string_equal(address_path("240.0.0.1"), "direct");
	buf_release(&b);
	/* What is advertised comes first; a bare host gets the port. */
	const char *said[] = {"example.org", "192.0.2.9:99"};
	struct strs own = {0};
	address_own("127.0.0.1", said, 2, 7, &own);
	assert_int_equal(own.n, 3);
	assert_string_equal(own.items[0], "example.org:7");
	assert_string_equal(own.items[1], "192.0.2.9:99");
	assert_string_equal(own.items[2], "127.0.0.1:7");
	texts_clear(&own);
	address_own("-", said, 1, 7, &own);
	assert_int_equal(own.n, 1);
	texts_clear(&own);
	address_own(NULL, NULL, 0, 7, &own);
	assert_true(own.n >= 1 && own.n <= ADDRESS_ANNOUNCED);
	texts_clear(&own);
}

/* --- the table --- */

static struct mesh m;
static struct identity *me;
static struct arena arena;

static int setup(void **state)
{
	struct buf why = {0};

	(void)state;
	temp_make();
	memset(&m, 0, sizeof(m));
	me = identity_random();
	m.me = me;
	m.loop = loop_new();
	m.o.role = "both";
	m.o.software = "hnode test";
	m.port = 7450;
	assert_int_equal(membership_load(temp_dir, me, &why, &m.membership),
			 OK);
	m.topics = topics_new(&m);
	m.offers = offers_new(&m);
	m.peers = peers_new(&m);
	buf_release(&why);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	peers_stop(m.peers);
	peers_free(m.peers);
	topics_free(m.topics);
	offers_free(m.offers);
	membership_free(m.membership);
	identity_free(me);
	arena_release(&arena);
	bool good = loop_free(m.loop);
	temp_remove();
	return good ? 0 : 1;
}

static struct node_id id_of(uint8_t a, uint8_t b)
{
	struct node_id id;

	memset(id.b, 0x5a, 32);
	id.b[0] = a;
	id.b[1] = b;
	return id;
}

static void news(struct node_id id, const char *topic, uint64_t seq,
		 uint64_t rate, uint64_t state, const char *role, uint8_t boot)
{
	char *address[] = {"192.0.2.1:7450"};
	struct record_cap cap = {
	    .name = (char *)(uintptr_t)topic, .rate = rate, .slots = 2};
	struct record r = {.version = RECORD_VERSION,
			   .seq = seq,
			   .life_ms = RECORD_LIFE_MS,
			   .state = state,
			   .role = (char *)(uintptr_t)role,
			   .address = {address, 1},
			   .caps = {&cap, rate ? 1 : 0},
			   .suites = 1};

	memcpy(r.node, id.b, 32);
	memset(r.boot_id, boot, 8);
	peers_record(m.peers, topic, &r);
}

static size_t rows(struct peers_query q)
{
	struct peers_list list;

	peers_list(m.peers, &q, &arena, &list);
	return list.peers.n;
}

static void test_peers_are_found_by_name_and_prefix(void **state)
{
	struct node_id a = id_of(0xab, 1), b = id_of(0xab, 2), found;
	char name[NODE_NAME_SIZE];
	struct buf why = {0};

	(void)state;
	news(a, "hash/sha256d", 1, 100, RECORD_LIVE, "both", 1);
	news(b, "hash/sha256d", 1, 100, RECORD_LIVE, "both", 1);
	assert_int_equal(peers_find(m.peers, "ab01", &found, &why), OK);
	assert_true(node_id_eq(&found, &a));
	assert_int_equal(peers_find(m.peers, "AB02", &found, &why), OK);
	assert_true(node_id_eq(&found, &b));
	node_name(&b, name);
	assert_int_equal(peers_find(m.peers, name, &found, &why), OK);
	assert_true(node_id_eq(&found, &b));
	/* Too short, unknown, nothing. */
	assert_int_equal(peers_find(m.peers, "ab0", &found, &why),
			 ERR_NOTFOUND);
	assert_int_equal(peers_find(m.peers, "ab03", &found, &why),
			 ERR_NOTFOUND);
	assert_int_equal(peers_find(m.peers, "", &found, &why), ERR_INPUT);
	/* Two that differ late. */
	struct node_id c = id_of(0xab, 1);
	c.b[31] = 0;
	news(c, "hash/sha256d", 1, 100, RECORD_LIVE, "both", 1);
	buf_clear(&why);
	assert_int_equal(peers_find(m.peers, "ab015a5a", &found, &why),
			 ERR_INPUT);
	assert_non_null(strstr(buf_str(&why), "more digits"));
	/* Ourselves, and a whole id that nobody spoke of. */
	assert_int_equal(
	    peers_find(m.peers, node_hex(identity_id(me)), &found, &why), OK);
	assert_true(node_id_eq(&found, identity_id(me)));
	struct node_id d = id_of(9, 9);
	assert_int_equal(peers_find(m.peers, node_hex(&d), &found, &why), OK);
	assert_true(node_id_eq(&found, &d));
	buf_release(&why);
}

static void test_filters(void **state)
{
	(void)state;
	news(id_of(1, 0), "hash/sha256d", 1, 100, RECORD_LIVE, "both", 1);
	news(id_of(2, 0), "hash/sha256d", 1, 5000, RECORD_LIVE, "both", 1);
	news(id_of(3, 0), "infer/tiny", 1, 7, RECORD_LIVE, "both", 1);
	news(id_of(4, 0), "infer/tiny", 1, 0, RECORD_LIVE, "both", 1);
	assert_int_equal(rows((struct peers_query){0}), 5); /* with us */
	assert_int_equal(rows((struct peers_query){.topic = "infer/tiny"}), 2);
	assert_int_equal(rows((struct peers_query){.cap = "infer/tiny"}), 1);
	assert_int_equal(rows((struct peers_query){.cap = "hash/sha256d"}), 2);
	assert_int_equal(
	    rows((struct peers_query){.cap = "hash/sha256d", .min_rate = 101}),
	    1);
	/* A round trip that nobody measured is no answer. */
	assert_int_equal(rows((struct peers_query){.cap = "hash/sha256d",
						   .max_rtt_us = 1000}),
			 0);
	assert_int_equal(peers_in_topic(m.peers, "infer/tiny"), 2);
}

static const char *state_of(struct node_id id)
{
	struct peer *q = peer_find(m.peers, &id);

	return q ? peer_state_str(q->state) : "none";
}

static void test_a_tombstone_is_a_goodbye(void **state)
{
	struct node_id a = id_of(1, 0);

	(void)state;
	news(a, "hash/sha256d", 10, 100, RECORD_LIVE, "both", 1);
	news(a, "infer/tiny", 11, 0, RECORD_LIVE, "both", 1);
	/* It left one topic, not us. */
	news(a, "infer/tiny", 12, 0, RECORD_LEFT, "both", 1);
	assert_string_equal(state_of(a), "known");
	assert_int_equal(rows((struct peers_query){.topic = "infer/tiny"}), 0);
	news(a, "hash/sha256d", 13, 0, RECORD_LEFT, "both", 1);
	assert_string_equal(state_of(a), "left");
	assert_int_equal(rows((struct peers_query){.cap = "hash/sha256d"}), 0);
	/* An older word of the same process does not wake it. */
	news(a, "infer/tiny", 11, 0, RECORD_LIVE, "both", 1);
	assert_string_equal(state_of(a), "left");
	/* It was started again. */
	news(a, "hash/sha256d", 20, 100, RECORD_LIVE, "both", 2);
	assert_string_equal(state_of(a), "known");
	/* A tombstone of a node that nobody knows makes no row. */
	news(id_of(7, 7), "hash/sha256d", 1, 0, RECORD_LEFT, "both", 1);
	assert_string_equal(state_of(id_of(7, 7)), "none");
}

static bool dials(struct node_id id)
{
	struct peer *q = peer_find(m.peers, &id);

	return q && loop_timer_armed(q->timer);
}

static void test_who_is_dialled(void **state)
{
	struct buf why = {0};

	(void)state;
	/* A topic that is none of ours. */
	news(id_of(1, 0), "infer/tiny", 1, 7, RECORD_LIVE, "both", 1);
	assert_false(dials(id_of(1, 0)));
	assert_int_equal(topics_join(m.topics, "hash/sha256d", &why), OK);
	news(id_of(2, 0), "hash/sha256d", 1, 7, RECORD_LIVE, "both", 1);
	assert_true(dials(id_of(2, 0)));
	/* Who only uses is of no use to us. */
	news(id_of(3, 0), "hash/sha256d", 1, 0, RECORD_LIVE, "use", 1);
	assert_false(dials(id_of(3, 0)));
	/* A want is no offer, and no worker's record. */
	news(id_of(4, 0), "want/hash/sha256d", 1, 0, RECORD_LIVE, "use", 1);
	assert_false(dials(id_of(4, 0)));
	assert_int_equal(rows((struct peers_query){.topic = "hash/sha256d"}),
			 3);
	/* A job's topic comes before everything. */
	peers_want(m.peers, "infer/tiny", true);
	assert_true(dials(id_of(1, 0)));
	peers_want(m.peers, "infer/tiny", false);
	/* A beacon's sender is next to us. */
	struct beacon_news n = {.id = id_of(5, 0),
				.host = "192.0.2.5",
				.session_port = 7450,
				.suites = 1};
	peers_beacon(m.peers, &n);
	assert_true(dials(id_of(5, 0)));
	/* Dropped is dropped. */
	struct node_id bad = id_of(2, 0);
	peers_drop(m.peers, &bad, true, "lied");
	assert_false(dials(bad));
	news(bad, "hash/sha256d", 2, 7, RECORD_LIVE, "both", 1);
	assert_false(dials(bad));
	assert_true(peers_dropped(m.peers, &bad));
	assert_string_equal(state_of(bad), "dropped");
	buf_release(&why);
}

static void test_an_announcing_node_looks_for_nobody(void **state)
{
	struct buf why = {0};
	struct beacon_news n = {.id = id_of(5, 0),
				.host = "192.0.2.5",
				.session_port = 7450,
				.suites = 1};

	(void)state;
	m.o.role = "serve";
	assert_int_equal(topics_join(m.topics, "hash/sha256d", &why), OK);
	news(id_of(2, 0), "hash/sha256d", 1, 7, RECORD_LIVE, "both", 1);
	assert_false(dials(id_of(2, 0)));
	peers_beacon(m.peers, &n);
	assert_false(dials(n.id));
	assert_false(topics_look(m.topics, "infer/tiny"));
	/* Unless nobody could come to it. */
	m.port = 0;
	peers_beacon(m.peers, &n);
	assert_true(dials(n.id));
	buf_release(&why);
}

static void test_hostile_words_are_kept_in_bounds(void **state)
{
	char role[] = "\x1b[31mboss";
	char *addresses[] = {"no port", "h:1", "h:1", "[::1", "x:99999"};
	char big[1000];
	struct record r = {.seq = 1, .state = RECORD_LIVE, .role = role};

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = 0;
	r.software = big;
	r.cpu = big;
	r.address = (struct strs){addresses, 5};
	r.node[0] = 1;
	peers_record(m.peers, "hash/sha256d", &r);
	struct peer *q = peer_find(m.peers, (const void *)r.node);
	assert_non_null(q);
	assert_string_equal(q->role, "both");
	assert_int_equal(strlen(q->software), 64);
	assert_int_equal(q->address.n, 1);
	/* The rows can be packed: nothing is over a limit. */
	struct peers_query all = {0};
	struct peers_list list;
	struct buf b = {0};
	peers_list(m.peers, &all, &arena, &list);
	fields_pack(&peers_list_message, &list, &b);
	buf_release(&b);
	/* More nodes than there is room for: the table stays bounded. */
	for (unsigned i = 0; i < PEERS_MAX + 50; i++)
		news(id_of((uint8_t)(i >> 8), (uint8_t)i), "infer/tiny", 1, 1,
		     RECORD_LIVE, "both", 1);
	assert_true(peers_count(m.peers) <= PEERS_MAX);
	/* Keys of a liar, each of which failed a proof: room all the same. */
	for (size_t i = 0; i < m.peers->n; i++)
		m.peers->items[i]->proof = i > 0;
	const struct node_id kept = m.peers->items[1]->id;
	for (unsigned i = 0; i < 2; i++)
		news(id_of(0xf0, (uint8_t)i), "infer/tiny", 1, 1, RECORD_LIVE,
		     "both", 1);
	struct node_id first = id_of(0xf0, 1);
	assert_non_null(peer_find(m.peers, &first));
	assert_non_null(peer_find(m.peers, &kept));
	assert_int_equal(peers_count(m.peers), PEERS_MAX);
}

static void test_a_record_of_an_earlier_process_is_no_news(void **state)
{
	struct node_id a = id_of(1, 2);

	(void)state;
	news(a, "infer/tiny", 20, 5, RECORD_LIVE, "both", 2);
	news(a, "hash/sha256d", 10, 100, RECORD_LIVE, "use", 1);
	const struct peer *q = peer_find(m.peers, &a);
	assert_string_equal(q->role, "both");
	assert_int_equal(q->boot_id[0], 2);
	assert_int_equal(q->ncaps, 1);
	assert_int_equal(q->topics.n, 1);
	/* Of the same process any topic may come first. */
	news(a, "hash/sha256d", 15, 100, RECORD_LIVE, "both", 2);
	assert_int_equal(q->ncaps, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    cmocka_unit_test(test_backoff_grows_and_stays_in_bounds),
	    cmocka_unit_test(test_no_reconnect_storm),
	    cmocka_unit_test(test_median_of_clocks),
	    cmocka_unit_test(test_addresses_as_text),
	    T(test_peers_are_found_by_name_and_prefix),
	    T(test_filters),
	    T(test_a_tombstone_is_a_goodbye),
	    T(test_a_record_of_an_earlier_process_is_no_news),
	    T(test_who_is_dialled),
	    T(test_an_announcing_node_looks_for_nobody),
	    T(test_hostile_words_are_kept_in_bounds),
#undef T
	};

	log_setup(LOG_ERROR, LOG_TEXT, 2);
	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
