/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Several nodes that find each other, or should not.
 *
 *	test_discovery [--joins N] [--slow]
 *
 * --joins: how often the simultaneous joins are tried (20). --slow: also what
 * takes minutes.
 */
#include "dht/discovery.h"

#include "dht/overlay.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "test/support/dht_world.h"

#include <sodium.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TOPIC "hash/sha256d"

static unsigned joins = 20;
static bool slow;

static void took(const char *what, uint64_t since)
{
	print_message("%s: %lu ms\n", what, (unsigned long)(now_ms() - since));
}

/* Finding */

static void test_nodes_find_each_other(void **state)
{
	struct world w;
	(void)state;

	world_init(&w);
	struct node *seed = node_add(&w), *a = node_add(&w), *b = node_add(&w);
	bootstrap(a, seed);
	bootstrap(b, seed);
	for (size_t i = 0; i < w.n; i++) {
		publish(&w.nodes[i], TOPIC, (unsigned)i + 1);
		discovery_follow(w.nodes[i].d, TOPIC);
	}
	assert_true(discovery_follows(a->d, TOPIC));
	assert_true(discovery_publishes(a->d, TOPIC));
	assert_false(discovery_publishes(a->d, "other"));
	const uint64_t t = now_ms();
	struct pairs p = {TOPIC, 0};
	assert_true(wait_for(&w, all_pairs, &p, 10000));
	took("3 nodes, all pairs", t);
	assert_int_equal(seen_of(a, TOPIC, b)->cores, 3);
	assert_int_equal(discovery_state(a->d), DISCOVERY_CONNECTED);
	world_end(&w);
}

/* Listens and puts that began with nobody there must work once there is. */
static void test_a_lonely_start_is_made_up_for(void **state)
{
	struct world w;
	(void)state;

	world_init(&w);
	struct node *a = node_add(&w), *b = node_add(&w), *c = node_add(&w);
	for (size_t i = 0; i < w.n; i++) {
		publish(&w.nodes[i], TOPIC, 1);
		discovery_follow(w.nodes[i].d, TOPIC);
	}
	/* Long enough for puts and gets to have failed. */
	assert_false(wait_polled(&w, all_connected, NULL, 1500));
	assert_int_equal(discovery_state(a->d), DISCOVERY_ALONE);
	assert_true(discovery_counters(a->d)->put_failed > 0);
	bootstrap(b, a);
	bootstrap(c, a);
	const uint64_t t = now_ms();
	struct pairs p = {TOPIC, 0};
	assert_true(wait_for(&w, all_pairs, &p, 10000));
	took("after a lonely start", t);
	/* The listen works too, not only the gets: news is there at once. */
	publish(b, "other", 1);
	discovery_follow(c->d, "other");
	discovery_follow(a->d, "other");
	publish(a, "other", 1);
	publish(c, "other", 1);
	discovery_follow(b->d, "other");
	p = (struct pairs){"other", 0};
	assert_true(wait_for(&w, all_pairs, &p, 10000));
	world_end(&w);
}

static bool sees_state(struct world *w, void *arg)
{
	const uint64_t state = *(const uint64_t *)arg;
	/* Node 0 is the one that leaves. */
	for (size_t i = 1; i < w->n; i++) {
		const struct seen *s =
		    seen_of(&w->nodes[i], TOPIC, &w->nodes[0]);
		if (!s || s->state != state)
			return false;
	}
	return true;
}

static void test_leaving_is_told_at_once(void **state)
{
	struct world w;
	uint64_t want = RECORD_LEFT;
	(void)state;

	world_init(&w);
	struct node *a = node_add(&w);
	for (int i = 0; i < 3; i++)
		bootstrap(node_add(&w), a);
	for (size_t i = 0; i < w.n; i++)
		discovery_follow(w.nodes[i].d, TOPIC);
	publish(a, TOPIC, 1);
	want = RECORD_LIVE;
	assert_true(wait_for(&w, sees_state, &want, 10000));

	uint64_t t = now_ms();
	discovery_withdraw(a->d, TOPIC);
	assert_false(discovery_publishes(a->d, TOPIC));
	want = RECORD_LEFT;
	assert_true(wait_for(&w, sees_state, &want, 5000));
	took("left, by withdraw", t);

	/* And back, at once too. */
	t = now_ms();
	publish(a, TOPIC, 2);
	want = RECORD_LIVE;
	assert_true(wait_for(&w, sees_state, &want, 5000));
	took("back", t);

	t = now_ms();
	node_stop(a);
	want = RECORD_LEFT;
	assert_true(wait_for(&w, sees_state, &want, 5000));
	took("left, by stop", t);
	assert_true(wait_for(&w, is_stopped, a, 5000));
	print_message("stop took %lu ms\n", (unsigned long)a->stop_ms);
	assert_true(a->stop_ms < 2000);
	world_end(&w);
}

/* A change waits for its minute, and only the latest goes out. */
static bool sees_cores(struct world *w, void *arg)
{
	const struct seen *s = seen_of(&w->nodes[1], TOPIC, &w->nodes[0]);
	return s && s->cores == *(const unsigned *)arg;
}

static void test_changes_are_put_once_a_minute(void **state)
{
	struct world w;
	unsigned want = 1;
	(void)state;

	world_init(&w);
	struct node *a = node_add(&w), *b = node_add(&w);
	bootstrap(b, a);
	assert_true(wait_polled(&w, all_connected, NULL, 10000));
	discovery_follow(b->d, TOPIC);
	publish(a, TOPIC, 1);
	assert_true(wait_for(&w, sees_cores, &want, 10000));
	const uint64_t t = now_ms();
	for (unsigned i = 2; i < 10; i++)
		publish(a, TOPIC, i);
	publish(a, TOPIC, 9); /* the same again */
	want = 9;
	assert_false(wait_for(&w, sees_cores, &want, slow ? 50000 : 2000));
	assert_int_equal(seen_of(b, TOPIC, a)->cores, 1);
	assert_int_equal(a->issued, 1);
	if (slow) {
		assert_true(wait_for(&w, sees_cores, &want, 20000));
		assert_int_equal(a->issued, 2);
		took("change seen after", t);
		const uint64_t seq = a->last_seq;
		/* The refresh after 4 minutes. */
		want = 0;
		assert_false(wait_for(&w, sees_cores, &want, 245000));
		assert_int_equal(a->issued, 3);
		assert_true(seen_of(b, TOPIC, a)->seq > seq);
	}
	world_end(&w);
}

/* Simultaneous joins */

static int by_value(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

/*
 * A seed that stays and remembers the dead of earlier tries, or a fresh one;
 * 2 to 4 nodes come at the same moment.
 */
static void test_simultaneous_joins_never_miss(void **state)
{
	uint64_t *times = xcalloc(joins, sizeof(*times));
	unsigned missed = 0;
	uint64_t stop_max = 0;
	struct world w;
	(void)state;

	world_init(&w);
	node_add(&w);
	for (unsigned i = 0; i < joins; i++) {
		if (i % 2) { /* a fresh seed */
			node_stop(&w.nodes[0]);
			assert_true(
			    wait_for(&w, is_stopped, &w.nodes[0], 5000));
			nodes_drop(&w, 0);
			node_add(&w);
		}
		const size_t count = 2 + i % 3;
		for (size_t j = 0; j < count; j++)
			node_add(&w);
		const uint64_t t = now_ms();
		for (size_t j = 1; j < w.n; j++) {
			publish(&w.nodes[j], TOPIC, 1);
			discovery_follow(w.nodes[j].d, TOPIC);
			bootstrap(&w.nodes[j], &w.nodes[0]);
		}
		struct pairs p = {TOPIC, 1};
		const bool ok = wait_for(&w, all_pairs, &p, 15000);
		times[i] = now_ms() - t;
		if (slow)
			print_message("%u: seed %s, %zu join: %lu ms\n", i,
				      i % 2 ? "fresh" : "old", count,
				      (unsigned long)times[i]);
		missed += !ok;
		for (size_t j = 1; j < w.n; j++)
			node_stop(&w.nodes[j]);
		for (size_t j = 1; j < w.n; j++) {
			assert_true(
			    wait_for(&w, is_stopped, &w.nodes[j], 5000));
			if (w.nodes[j].stop_ms > stop_max)
				stop_max = w.nodes[j].stop_ms;
		}
		nodes_drop(&w, 1);
	}
	qsort(times, joins, sizeof(*times), by_value);
	print_message("%u joins, %u missed; found p50 %lu p95 %lu max %lu ms; "
		      "longest stop %lu ms\n",
		      joins, missed, (unsigned long)times[joins / 2],
		      (unsigned long)times[joins * 95 / 100],
		      (unsigned long)times[joins - 1], (unsigned long)stop_max);
	free(times);
	world_end(&w);
	assert_int_equal(missed, 0);
}

/* What should not be there */

static struct overlay *raw_node(struct world *w, const struct node *to)
{
	struct buf why = {0};
	const struct overlay_options o = {.loop = w->loop,
					  .network = w->keys.network};
	struct overlay *raw;
	char port[8];

	assert_int_equal(overlay_new(&o, &why, &raw), OK);
	snprintf(port, sizeof(port), "%u", discovery_port(to->d));
	overlay_bootstrap(raw, "127.0.0.1", port);
	buf_release(&why);
	return raw;
}

static void put_raw(struct overlay *raw, const struct mesh_keys *k,
		    const void *p, size_t n)
{
	struct topic_id id;
	topic_id_of(k, TOPIC, &id);
	overlay_put(raw, id.b, p, n, NULL, NULL);
}

static void put_record(struct overlay *raw, const struct mesh_keys *topic_keys,
		       const struct mesh_keys *seal_keys,
		       const struct identity *me, int64_t age_ms, int flip)
{
	struct record r = body_of(1);
	struct topic_id id;
	uint8_t nonce[24];
	struct buf b = {0};

	r.version = RECORD_VERSION;
	memcpy(r.node, identity_id(me)->b, 32);
	r.seq = clock_unix_ms() - (uint64_t)age_ms;
	r.life_ms = RECORD_LIFE_MS;
	if (flip == 1)
		r.version = 2;
	randombytes_buf(nonce, sizeof(nonce));
	topic_id_of(topic_keys, TOPIC, &id);
	assert_int_equal(record_seal(&r, me, seal_keys, &id, nonce, &b), OK);
	put_raw(raw, topic_keys, b.p, b.n);
	buf_release(&b);
}

static bool counted(struct world *w, void *arg)
{
	const struct discovery_counters *c = discovery_counters(w->nodes[1].d);
	(void)arg;
	return c->bad_seal >= 3 && c->bad_version && c->bad_time && c->late &&
	       c->bad_signature && seen_of(&w->nodes[1], TOPIC, &w->nodes[0]);
}

static void raw_done(void *arg)
{
	*(bool *)arg = true;
}

static bool flag(struct world *w, void *arg)
{
	(void)w;
	return *(bool *)arg;
}

/*
 * A forged signature needs the record key and a mesh of another id: sealed
 * with our record key, signed over another mesh's id.
 */
static void test_bad_records_are_counted_and_harmless(void **state)
{
	uint8_t garbage[RECORD_MAX], id[32], key[32];
	struct mesh_keys other, forged;
	struct world w;
	bool gone = false;
	(void)state;

	world_init(&w);
	struct node *a = node_add(&w), *b = node_add(&w);
	bootstrap(b, a);
	struct overlay *raw = raw_node(&w, a);
	struct identity *stranger = identity_random();
	randombytes_buf(id, sizeof(id));
	randombytes_buf(key, sizeof(key));
	mesh_keys_derive(id, key, &other);
	forged = w.keys;
	memcpy(forged.mesh_id, id, sizeof(id));
	memcpy(other.topic, w.keys.topic, sizeof(other.topic));

	randombytes_buf(garbage, sizeof(garbage));
	put_raw(raw, &w.keys, garbage, sizeof(garbage));
	put_raw(raw, &w.keys, garbage, 7);
	put_record(raw, &w.keys, &other, stranger, 0, 0);
	put_record(raw, &w.keys, &forged, stranger, 0, 0);
	put_record(raw, &w.keys, &w.keys, stranger, 0, 1);
	put_record(raw, &w.keys, &w.keys, stranger, RECORD_LIFE_MS + 1, 0);
	put_record(raw, &w.keys, &w.keys, stranger, -RECORD_AHEAD_MS - 60000,
		   0);
	discovery_follow(b->d, TOPIC);
	publish(a, TOPIC, 1);
	const bool all = wait_polled(&w, counted, NULL, 15000);
	const struct discovery_counters *c = discovery_counters(b->d);
#define X(name) print_message("%s=%lu ", #name, (unsigned long)c->name);
	DISCOVERY_COUNTERS(X)
#undef X
	print_message("\n");
	assert_true(all);
	assert_int_equal(b->nseen, 1);
	assert_int_equal(c->records_ok, 1);
	assert_int_equal(c->bad_seal, 3);
	assert_int_equal(c->bad_signature, 1);
	assert_int_equal(c->bad_version, 1);
	assert_int_equal(c->late, 1);
	overlay_stop(raw, 0, raw_done, &gone);
	assert_true(wait_polled(&w, flag, &gone, 5000));
	identity_free(stranger);
	world_end(&w);
}

/* More than a second's share waits for the next seconds, and none is lost. */
#define FLOOD 150

static bool flood_began(struct world *w, void *arg)
{
	(void)arg;
	return discovery_counters(w->nodes[0].d)->bad_seal > 0;
}

static bool flood_judged(struct world *w, void *arg)
{
	(void)arg;
	return discovery_counters(w->nodes[0].d)->bad_seal >= FLOOD;
}

static void test_a_flood_is_judged_bit_by_bit(void **state)
{
	uint8_t garbage[100];
	struct world w;
	bool gone = false;
	(void)state;

	world_init(&w);
	struct node *a = node_add(&w);
	discovery_follow(a->d, TOPIC);
	struct overlay *raw = raw_node(&w, a);
	for (int i = 0; i < FLOOD; i++) {
		randombytes_buf(garbage, sizeof(garbage));
		put_raw(raw, &w.keys, garbage, sizeof(garbage));
	}
	assert_true(wait_polled(&w, flood_began, NULL, 10000));
	const uint64_t t = now_ms();
	assert_true(wait_polled(&w, flood_judged, NULL, 15000));
	assert_true(now_ms() - t > 1800);
	took("a flood of 150", t);
	assert_int_equal(discovery_counters(a->d)->bad_seal, FLOOD);
	assert_int_equal(discovery_counters(a->d)->dropped, 0);
	overlay_stop(raw, 0, raw_done, &gone);
	assert_true(wait_polled(&w, flag, &gone, 5000));
	world_end(&w);
}

/* A raw node puts old sequences of a node, and one ahead of it. */
static bool old_counted(struct world *w, void *arg)
{
	(void)arg;
	return discovery_counters(w->nodes[1].d)->old_sequence > 0;
}

static bool above(struct world *w, void *arg)
{
	const struct seen *s = seen_of(&w->nodes[1], TOPIC, &w->nodes[0]);
	return s && s->seq > *(const uint64_t *)arg && s->cores == 5;
}

static void test_sequences(void **state)
{
	struct world w;
	bool gone = false;
	unsigned five = 5;
	(void)state;

	world_init(&w);
	struct node *a = node_add(&w), *b = node_add(&w);
	bootstrap(b, a);
	struct overlay *raw = raw_node(&w, a);
	discovery_follow(a->d, TOPIC);
	discovery_follow(b->d, TOPIC);
	publish(a, TOPIC, 5);
	assert_true(wait_for(&w, sees_cores, &five, 10000));
	put_record(raw, &w.keys, &w.keys, a->me, 5000, 0);
	assert_true(wait_polled(&w, old_counted, NULL, 10000));
	assert_int_equal(seen_of(b, TOPIC, a)->count, 1);

	/* One of ours, ahead of us (a store lost, a clock set back): we go on
	 * above it, so that others take us again. */
	uint64_t ahead = clock_unix_ms() + 59000;
	put_record(raw, &w.keys, &w.keys, a->me, -60000, 0);
	assert_true(wait_for(&w, above, &ahead, 15000));

	overlay_stop(raw, 0, raw_done, &gone);
	assert_true(wait_polled(&w, flag, &gone, 5000));
	world_end(&w);
}

static void test_restart_goes_on_above_its_last_sequence(void **state)
{
	struct world w;
	(void)state;

	world_init(&w);
	struct node *a = node_add(&w), *b = node_add(&w);
	bootstrap(a, b);
	a->last_seq = clock_unix_ms() + 100000;
	node_stop(a);
	assert_true(wait_for(&w, is_stopped, a, 5000));
	for (unsigned i = 1; i < 4; i++) {
		uint64_t before = a->last_seq;
		node_start(a, &w.keys);
		bootstrap(a, b);
		publish(a, TOPIC, 5);
		discovery_follow(b->d, TOPIC);
		/* b is node 1, a is node 0. */
		assert_true(wait_for(&w, above, &before, 10000));
		node_stop(a);
		assert_true(wait_for(&w, is_stopped, a, 5000));
		assert_true(a->last_seq > before);
	}
	world_end(&w);
}

static bool refused_cert(struct world *w, void *arg)
{
	(void)arg;
	return discovery_counters(w->nodes[1].d)->bad_cert > 0;
}

static void test_bad_certificates_are_refused(void **state)
{
	struct world w;
	(void)state;

	world_init(&w);
	struct node *a = node_add(&w), *b = node_add(&w);
	bootstrap(b, a);
	b->distrusts = true;
	publish(a, TOPIC, 1);
	discovery_follow(b->d, TOPIC);
	assert_true(wait_polled(&w, refused_cert, NULL, 10000));
	assert_int_equal(b->nseen, 0);
	/* Certified later: the same record is taken when it comes again. */
	b->distrusts = false;
	unsigned want = 1;
	assert_true(wait_for(&w, sees_cores, &want, 20000));
	world_end(&w);
}

/* A node whose clock is 20 minutes behind is told so by its sessions. */
static void test_clock_offset(void **state)
{
	struct world w;
	unsigned one = 1;
	(void)state;

	world_init(&w);
	struct node *a = node_add(&w), *b = node_add(&w);
	bootstrap(b, a);
	discovery_set_clock_offset(a->d, -20 * 60 * 1000);
	discovery_follow(b->d, TOPIC);
	publish(a, TOPIC, 1);
	assert_false(wait_for(&w, sees_cores, &one, 2000));
	assert_true(discovery_counters(b->d)->late > 0);
	discovery_set_clock_offset(b->d, -20 * 60 * 1000);
	assert_true(wait_for(&w, sees_cores, &one, 5000));
	world_end(&w);
}

/* Rekey */

#define DAY_MS (24u * 3600 * 1000)

static void test_rekey_follows_old_topics_too(void **state)
{
	uint8_t key[32];
	struct mesh_keys fresh;
	struct world w;
	unsigned want = 1;
	(void)state;

	world_init(&w);
	randombytes_buf(key, sizeof(key));
	mesh_keys_derive(w.keys.mesh_id, key, &fresh);
	struct node *a = node_add(&w), *b = node_add(&w);
	bootstrap(b, a);
	assert_true(wait_polled(&w, all_connected, NULL, 10000));
	discovery_follow(b->d, TOPIC);
	discovery_rekey(b->d, &fresh, DAY_MS);
	/* One that has the old key only is still heard. */
	publish(a, TOPIC, 1);
	assert_true(wait_for(&w, sees_cores, &want, 10000));
	const uint64_t seq = seen_of(b, TOPIC, a)->seq;
	/* With the new key it publishes anew. */
	discovery_rekey(a->d, &fresh, DAY_MS);
	discovery_follow(a->d, TOPIC);
	publish(b, TOPIC, 2);
	struct pairs p = {TOPIC, 0};
	assert_true(wait_for(&w, all_pairs, &p, 10000));
	assert_true(a->last_seq > seq);
	/* And a third time, while two old sets are kept. */
	randombytes_buf(key, sizeof(key));
	mesh_keys_derive(w.keys.mesh_id, key, &fresh);
	discovery_rekey(a->d, &fresh, DAY_MS);
	discovery_rekey(b->d, &fresh, DAY_MS);
	publish(a, "other", 1);
	discovery_follow(b->d, "other");
	publish(b, "other", 1);
	discovery_follow(a->d, "other");
	p.topic = "other";
	assert_true(wait_for(&w, all_pairs, &p, 10000));
	world_end(&w);
}

/* The seed of a young mesh dies */

static bool found_value(struct world *w, void *arg)
{
	const struct pairs *p = arg;
	for (size_t i = 2; i < w->n; i++)
		if (!seen_of(&w->nodes[i], p->topic, &w->nodes[1]))
			return false;
	return true;
}

static void never(struct world *w, uint64_t ms)
{
	assert_false(wait_for(w, NULL, NULL, ms));
}

static void test_a_young_mesh_survives_its_seed(void **state)
{
	struct world w;
	struct pairs p = {"late", 0};
	(void)state;

	world_init(&w);
	struct node *seed = node_add(&w);
	for (int i = 0; i < 8; i++)
		bootstrap(node_add(&w), seed);
	for (size_t i = 2; i < w.n; i++)
		discovery_follow(w.nodes[i].d, p.topic);
	never(&w, 5000); /* the age at which it hurts most */
	node_stop(seed);
	assert_true(wait_for(&w, is_stopped, seed, 5000));
	/* What the mesh layer does: peers with sessions are bootstraps. */
	for (size_t i = 1; i < w.n; i++)
		for (size_t j = 1; j < w.n; j++)
			if (i != j)
				bootstrap(&w.nodes[i], &w.nodes[j]);
	const uint64_t t = now_ms();
	publish(&w.nodes[1], p.topic, 1);
	assert_true(wait_for(&w, found_value, &p, 20000));
	took("seed dead, 7 survivors see a new value", t);
	world_end(&w);
}

/* Bounds and odd uses */

static void test_topics_are_bounded(void **state)
{
	struct world w;
	char topic[32];
	(void)state;

	world_init(&w);
	struct node *a = node_add(&w);
	for (int i = 0; i < 70; i++) {
		snprintf(topic, sizeof(topic), "t/%d", i);
		discovery_follow(a->d, topic);
		publish(a, topic, 1);
	}
	assert_int_equal(discovery_counters(a->d)->refused, 12);
	assert_true(discovery_follows(a->d, "t/63"));
	assert_false(discovery_follows(a->d, "t/64"));
	for (int i = 0; i < 70; i++) {
		snprintf(topic, sizeof(topic), "t/%d", i);
		discovery_unfollow(a->d, topic);
		discovery_withdraw(a->d, topic);
	}
	assert_false(discovery_follows(a->d, "t/1"));
	discovery_follow(a->d, "t/64");
	assert_true(discovery_follows(a->d, "t/64"));
	world_end(&w);
}

static void test_without_dht(void **state)
{
	struct world w;
	struct buf why = {0};
	bool gone = false;
	struct discovery *d;
	(void)state;

	world_init(&w);
	struct identity *me = identity_random();
	const struct record r = body_of(1);
	const struct discovery_options o = {
	    .loop = w.loop, .me = me, .keys = w.keys};
	assert_int_equal(discovery_new(&o, &why, &d), OK);
	assert_int_equal(discovery_state(d), DISCOVERY_OFF);
	assert_int_equal(discovery_port(d), 0);
	discovery_bootstrap(d, "127.0.0.1", "1");
	discovery_follow(d, TOPIC);
	discovery_publish(d, TOPIC, &r);
	discovery_withdraw(d, TOPIC);
	discovery_publish(d, TOPIC, &r);
	discovery_stop(d, raw_done, &gone);
	assert_true(wait_polled(&w, flag, &gone, 5000));
	identity_free(me);
	buf_release(&why);
	world_end(&w);
}

static void test_a_taken_port_is_busy(void **state)
{
	struct world w;
	struct buf why = {0};
	struct discovery *d = NULL;
	(void)state;

	world_init(&w);
	struct node *a = node_add(&w);
	struct discovery_options o = {.loop = w.loop,
				      .me = a->me,
				      .keys = w.keys,
				      .dht = true,
				      .port = discovery_port(a->d)};
	assert_int_equal(discovery_new(&o, &why, &d), ERR_BUSY);
	assert_non_null(strstr(buf_str(&why), "in use"));
	buf_clear(&why);
	o.lan = true;
	o.bind = "nowhere";
	assert_int_equal(discovery_new(&o, &why, &d), ERR_INPUT);
	assert_null(d);
	buf_release(&why);
	world_end(&w);
}

/* Stopped by a callback, with a get and a put under way, and at once. */
static void on_record_stop(void *arg, const char *topic, const struct record *r)
{
	struct node *n = arg;
	(void)topic;
	(void)r;
	if (!n->stop_ms)
		node_stop(n);
}

static void test_stop_in_a_callback_and_at_once(void **state)
{
	struct world w;
	struct buf why = {0};
	(void)state;

	world_init(&w);
	struct node *a = node_add(&w);
	publish(a, TOPIC, 1);
	struct node *b = &w.nodes[w.n++];
	*b = (struct node){.w = &w, .me = identity_random()};
	const struct discovery_options o = {.loop = w.loop,
					    .me = b->me,
					    .keys = w.keys,
					    .dht = true,
					    .arg = b,
					    .record = on_record_stop};
	assert_int_equal(discovery_new(&o, &why, &b->d), OK);
	bootstrap(b, a);
	discovery_follow(b->d, TOPIC);
	publish(b, TOPIC, 1);
	assert_true(wait_for(&w, is_stopped, b, 10000));

	struct node *c = node_add(&w);
	bootstrap(c, a);
	discovery_follow(c->d, TOPIC);
	publish(c, TOPIC, 1);
	node_stop(c);
	assert_true(wait_for(&w, is_stopped, c, 5000));
	print_message("stop at once took %lu ms\n", (unsigned long)c->stop_ms);
	buf_release(&why);
	world_end(&w);
}

/* Bootstraps that never answer are told apart, and do not hold up others. */
struct boots {
	unsigned n, answered, failed;
};

static void on_boot(void *arg, const char *host, const char *port,
		    bool answered, unsigned failed)
{
	struct boots *b = arg;
	assert_non_null(host);
	assert_non_null(port);
	b->n++;
	b->answered += answered;
	b->failed += failed > 0;
}

static bool boots_told(struct world *w, void *arg)
{
	struct boots *b = arg;
	*b = (struct boots){0};
	discovery_bootstraps(w->nodes[1].d, on_boot, b);
	return b->answered == 1 && b->failed >= 1;
}

static void test_dead_bootstraps_are_named(void **state)
{
	struct world w;
	struct boots b;
	unsigned one = 1;
	(void)state;

	world_init(&w);
	struct node *a = node_add(&w), *c = node_add(&w);
	publish(a, TOPIC, 1);
	discovery_follow(c->d, TOPIC);
	for (int i = 0; i < 3; i++) /* one entry */
		discovery_bootstrap(c->d, "127.0.0.1", "9");
	discovery_bootstrap(c->d, "127.0.0.1", "70000");
	discovery_bootstrap(c->d, "127.0.0.1", "x");
	discovery_bootstrap(c->d, "", "9");
	discovery_bootstrap(c->d, "no.such.name.invalid", "9");
	bootstrap(c, a);
	const uint64_t t = now_ms();
	assert_true(wait_for(&w, sees_cores, &one, 10000));
	took("found beside dead bootstraps", t);
	assert_true(wait_polled(&w, boots_told, &b, 10000));
	assert_int_equal(b.n, 3);

	/* The live one comes after the dead one was tried for a while. */
	struct node *d = node_add(&w);
	discovery_bootstrap(d->d, "127.0.0.1", "9");
	discovery_follow(d->d, TOPIC);
	publish(d, TOPIC, 1);
	never(&w, 1500);
	const uint64_t t2 = now_ms();
	bootstrap(d, a);
	while (!seen_of(d, TOPIC, a) && now_ms() - t2 < 15000)
		wait_for(&w, NULL, NULL, 50);
	took("found after a dead one was tried", t2);
	assert_non_null(seen_of(d, TOPIC, a));
	world_end(&w);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_nodes_find_each_other),
	    cmocka_unit_test(test_a_lonely_start_is_made_up_for),
	    cmocka_unit_test(test_leaving_is_told_at_once),
	    cmocka_unit_test(test_changes_are_put_once_a_minute),
	    cmocka_unit_test(test_bad_records_are_counted_and_harmless),
	    cmocka_unit_test(test_a_flood_is_judged_bit_by_bit),
	    cmocka_unit_test(test_sequences),
	    cmocka_unit_test(test_restart_goes_on_above_its_last_sequence),
	    cmocka_unit_test(test_bad_certificates_are_refused),
	    cmocka_unit_test(test_clock_offset),
	    cmocka_unit_test(test_rekey_follows_old_topics_too),
	    cmocka_unit_test(test_topics_are_bounded),
	    cmocka_unit_test(test_without_dht),
	    cmocka_unit_test(test_a_taken_port_is_busy),
	    cmocka_unit_test(test_stop_in_a_callback_and_at_once),
	    cmocka_unit_test(test_dead_bootstraps_are_named),
	    cmocka_unit_test(test_a_young_mesh_survives_its_seed),
	    cmocka_unit_test(test_simultaneous_joins_never_miss),
	};
	const char *only = NULL;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--joins") && i + 1 < argc) {
			joins = (unsigned)strtoul(argv[++i], NULL, 10);
		} else if (!strcmp(argv[i], "--only") && i + 1 < argc) {
			only = argv[++i];
		} else if (!strcmp(argv[i], "--slow")) {
			slow = true;
		} else {
			fprintf(stderr,
				"usage: %s [--joins N] [--only TEST] "
				"[--slow]\n",
				argv[0]);
			return 2;
		}
	}
	if (!joins)
		joins = 1;
	if (sodium_init() < 0)
		return 1;
	if (only)
		cmocka_set_test_filter(only);
	if (getenv("HN_TEST_LOG"))
		log_setup(LOG_TRACE, LOG_TEXT, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
