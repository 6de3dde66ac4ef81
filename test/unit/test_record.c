/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dht/record.h"

#include "dht/known.h"
#include "node/base/mem.h"

#include <sodium.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW 1700000000000ull

/* What one record needs, with keys that are the same at each run. */
struct fixture {
	struct identity *me;
	struct mesh_keys keys;
	struct topic_id topic;
	struct record r;
	char *address[RECORD_ADDRESSES + 1];
	struct record_cap caps[RECORD_CAPS + 1];
	uint8_t nonce[24];
	struct buf sealed;
	struct arena arena;
};

static void setup(struct fixture *f)
{
	const uint8_t seed[32] = {7}, zero[32] = {0};
	uint8_t id[32], key[32];

	memset(f, 0, sizeof(*f));
	f->me = identity_from_seed(seed);
	mesh_id_of(zero, "public", id);
	mesh_public_key(key);
	mesh_keys_derive(id, key, &f->keys);
	topic_id_of(&f->keys, "hash/sha256d", &f->topic);
	for (size_t i = 0; i < HN_COUNT(f->address); i++)
		f->address[i] = (char *)"[::1]:7450";
	for (size_t i = 0; i < HN_COUNT(f->caps); i++)
		f->caps[i] = (struct record_cap){.name = (char *)"x"};
	f->caps[0] = (struct record_cap){.name = (char *)"hash/sha256d",
					 .rate = 123456789,
					 .slots = 2,
					 .free = 100,
					 .devices = 1};
	f->r = (struct record){.version = RECORD_VERSION,
			       .seq = NOW,
			       .life_ms = RECORD_LIFE_MS,
			       .role = (char *)"serve",
			       .address = {f->address, 2},
			       .dht = {f->address, 1},
			       .caps = {f->caps, 1},
			       .suites = 3,
			       .boot_id = {1, 2, 3, 4, 5, 6, 7, 8},
			       .cores = 8,
			       .ram_mib = 32000,
			       .cpu = (char *)"sha-ni avx2",
			       .software = (char *)"hnode 0.1.0"};
	memcpy(f->r.node, identity_id(f->me)->b, 32);
}

static void teardown(struct fixture *f)
{
	buf_release(&f->sealed);
	arena_release(&f->arena);
	identity_free(f->me);
}

static enum err seal(struct fixture *f)
{
	buf_clear(&f->sealed);
	return record_seal(&f->r, f->me, &f->keys, &f->topic, f->nonce,
			   &f->sealed);
}

static enum record_fault judge_at(struct fixture *f, uint64_t now)
{
	struct record out;
	arena_release(&f->arena);
	return record_judge(f->sealed.p, f->sealed.n, &f->keys, &f->topic, now,
			    &f->arena, &out);
}

/* Computed with Python's hashlib (BLAKE2b), not with libsodium. */
static void test_keys_match_another_implementation(void **state)
{
	struct fixture f;
	char hex[65];
	(void)state;

	setup(&f);
#define IS(bytes, want) \
	do { \
		hex_encode(bytes, 32, hex); \
		assert_string_equal(hex, want); \
	} while (0)
	IS(f.keys.mesh_id,
	   "fb266273ad6ec22889f52e0dd6d06e53bad961e9414d17e93f0a6db14ee638ed");
	IS(f.keys.psk0,
	   "8e2030da1720e949268ecbc0f2d23a0256698e27a1454cb19797bea5e94b0ec9");
	IS(f.keys.topic,
	   "aab738daa334810172d9e1d193e7242ae141e8f9ba35594a40a990c8ec8e3ac0");
	IS(f.keys.record,
	   "d7e5da03acda8e02a811f369e6a34ff5ca00b4974c6b38b5935042b3d95ff237");
	IS(f.keys.beacon,
	   "ab961495e9725385019d0e61734e7c5c94f47353d8c7b7761efae735d1e9c0c5");
	IS(f.topic.b,
	   "98b2192e691d98b33d1eda1a1ab69f1fce9f4ca5b9881f7aca25ccbfd1ee3a3e");
	assert_int_equal(f.keys.network, 1408120544u);
	teardown(&f);
}

static void test_topics_of_two_meshes_differ(void **state)
{
	struct fixture f;
	struct mesh_keys other;
	struct topic_id a, b;
	uint8_t id[32], key[32] = {1};
	(void)state;

	setup(&f);
	mesh_id_of(identity_id(f.me)->b, "home", id);
	mesh_keys_derive(id, key, &other);
	topic_id_of(&f.keys, "infer/x", &a);
	topic_id_of(&other, "infer/x", &b);
	assert_memory_not_equal(&a, &b, sizeof(a));
	assert_int_not_equal(other.network, f.keys.network);
	/* A rekey changes the topics, not the network. */
	key[0] = 2;
	mesh_keys_derive(id, key, &f.keys);
	assert_int_equal(other.network, f.keys.network);
	topic_id_of(&f.keys, "infer/x", &a);
	assert_memory_not_equal(&a, &b, sizeof(a));
	teardown(&f);
}

static void test_topic_names(void **state)
{
	static const char *const good[] = {
	    "hash/sha256d", "a", "infer/q-2.5:7b", "want/hash/sha256d", "x_y"};
	static const char *const bad[] = {"",	"Hash",	   "a b", "/a",
					  "a/", "a//b",	   "a\n", "\xc3\xa4",
					  "a?", "blob/%41"};
	char longest[TOPIC_NAME_MAX + 2];
	struct buf why = {0};
	(void)state;

	for (size_t i = 0; i < HN_COUNT(good); i++)
		assert_int_equal(topic_check(good[i], &why), OK);
	assert_int_equal(why.n, 0);
	for (size_t i = 0; i < HN_COUNT(bad); i++) {
		buf_clear(&why);
		assert_int_equal(topic_check(bad[i], &why), ERR_INPUT);
		assert_true(why.n > 10);
	}
	memset(longest, 'a', sizeof(longest));
	longest[TOPIC_NAME_MAX + 1] = 0;
	assert_int_equal(topic_check(longest, &why), ERR_INPUT);
	longest[TOPIC_NAME_MAX] = 0;
	assert_int_equal(topic_check(longest, &why), OK);
	buf_release(&why);
}

static void test_a_record_comes_back_as_it_was(void **state)
{
	struct fixture f;
	struct record out;
	struct buf a = {0}, b = {0};
	(void)state;

	setup(&f);
	assert_int_equal(seal(&f), OK);
	assert_true(f.sealed.n <= RECORD_MAX);
	assert_int_equal(record_open(f.sealed.p, f.sealed.n, &f.keys, &f.topic,
				     NOW, &f.arena, &out),
			 OK);
	fields_pack(&record_message, &f.r, &a);
	fields_pack(&record_message, &out, &b);
	assert_int_equal(a.n, b.n);
	assert_memory_equal(a.p, b.p, a.n);
	assert_string_equal(((struct record_cap *)out.caps.items)->name,
			    "hash/sha256d");
	print_message("a usual record: %zu bytes\n", f.sealed.n);
	buf_release(&a);
	buf_release(&b);
	teardown(&f);
}

static void test_times(void **state)
{
	struct fixture f;
	(void)state;

	setup(&f);
	assert_int_equal(seal(&f), OK);
	assert_int_equal(judge_at(&f, NOW), RECORD_OK);
	assert_int_equal(judge_at(&f, NOW + RECORD_LIFE_MS - 1), RECORD_OK);
	assert_int_equal(judge_at(&f, NOW + RECORD_LIFE_MS), RECORD_EXPIRED);
	assert_int_equal(judge_at(&f, UINT64_MAX), RECORD_EXPIRED);
	assert_int_equal(judge_at(&f, NOW - RECORD_AHEAD_MS), RECORD_OK);
	assert_int_equal(judge_at(&f, NOW - RECORD_AHEAD_MS - 1), RECORD_AHEAD);
	assert_int_equal(judge_at(&f, 0), RECORD_AHEAD);
	f.r.seq = UINT64_MAX;
	assert_int_equal(seal(&f), OK);
	assert_int_equal(judge_at(&f, NOW), RECORD_AHEAD);
	f.r.seq = NOW;
	f.r.life_ms = 0;
	assert_int_equal(seal(&f), OK);
	assert_int_equal(judge_at(&f, NOW), RECORD_EXPIRED);
	teardown(&f);
}

/* Packs a body that record_seal would not make, and signs and seals it. */
static enum record_fault judge_body(struct fixture *f, const struct buf *body,
				    const char *purpose)
{
	const struct bytes parts[] = {
	    {f->keys.mesh_id, 32}, {f->topic.b, 32}, {body->p, body->n}};
	struct buf plain = {0};
	uint8_t sig[64];
	unsigned long long n;

	identity_sign(f->me, purpose, parts, 3, sig);
	buf_add(&plain, sig, sizeof(sig));
	buf_add(&plain, body->p, body->n);
	buf_clear(&f->sealed);
	buf_reserve(&f->sealed, 24 + plain.n + 16);
	memset(f->sealed.p, 0, 24);
	crypto_aead_xchacha20poly1305_ietf_encrypt(
	    f->sealed.p + 24, &n, plain.p, plain.n, f->topic.b, 32, NULL,
	    f->sealed.p, f->keys.record);
	f->sealed.n = 24 + n;
	buf_release(&plain);
	return judge_at(f, NOW);
}

static enum record_fault judge_changed(struct fixture *f)
{
	struct buf body = {0};
	fields_pack(&record_message, &f->r, &body);
	const enum record_fault fault = judge_body(f, &body, "hnode record 1");
	buf_release(&body);
	return fault;
}

static void test_each_refusal(void **state)
{
	struct fixture f, other;
	struct buf body = {0};
	(void)state;

	setup(&f);
	assert_int_equal(judge_changed(&f), RECORD_OK);
	f.r.version = 2;
	assert_int_equal(judge_changed(&f), RECORD_BAD_VERSION);
	f.r.version = RECORD_VERSION;
	f.r.role = (char *)"boss";
	assert_int_equal(judge_changed(&f), RECORD_BAD_SHAPE);
	f.r.role = NULL;
	assert_int_equal(judge_changed(&f), RECORD_BAD_SHAPE);
	f.r.role = (char *)"use";
	static const char *const bad[] = {
	    "nowhere", ":1", "a:", "a b:1", "\x1b[2J:1", ""};
	for (size_t i = 0; i < HN_COUNT(bad); i++) {
		f.address[0] = (char *)bad[i];
		assert_int_equal(judge_changed(&f), RECORD_BAD_SHAPE);
	}
	f.address[0] = (char *)"host.example:1";
	f.caps[0].name = (char *)"Hash";
	assert_int_equal(judge_changed(&f), RECORD_BAD_SHAPE);
	f.caps[0].name = NULL;
	assert_int_equal(judge_changed(&f), RECORD_BAD_SHAPE);
	f.caps[0].name = (char *)"x";
	f.r.node[5] ^= 1;
	assert_int_equal(judge_changed(&f), RECORD_BAD_SIGNATURE);
	f.r.node[5] ^= 1;
	fields_pack(&record_message, &f.r, &body);
	assert_int_equal(judge_body(&f, &body, "hnode cert 1"),
			 RECORD_BAD_SIGNATURE);
	/* Cut, and with something behind. */
	body.n--;
	assert_int_equal(judge_body(&f, &body, "hnode record 1"),
			 RECORD_BAD_SHAPE);
	body.n++;
	buf_u8(&body, 0);
	assert_int_equal(judge_body(&f, &body, "hnode record 1"),
			 RECORD_BAD_SHAPE);
	body.n = 0;
	assert_int_equal(judge_body(&f, &body, "hnode record 1"),
			 RECORD_BAD_SHAPE);

	/* Another mesh, another topic. */
	setup(&other);
	assert_int_equal(seal(&f), OK);
	other.keys.record[0] ^= 1;
	struct record out;
	assert_int_equal(record_open(f.sealed.p, f.sealed.n, &other.keys,
				     &f.topic, NOW, &f.arena, &out),
			 ERR_CRYPTO);
	other.keys.record[0] ^= 1;
	other.keys.mesh_id[0] ^= 1;
	assert_int_equal(record_judge(f.sealed.p, f.sealed.n, &other.keys,
				      &f.topic, NOW, &f.arena, &out),
			 RECORD_BAD_SIGNATURE);
	assert_int_equal(record_open(f.sealed.p, f.sealed.n, &other.keys,
				     &f.topic, NOW, &f.arena, &out),
			 ERR_CRYPTO);
	topic_id_of(&f.keys, "other", &other.topic);
	assert_int_equal(record_judge(f.sealed.p, f.sealed.n, &f.keys,
				      &other.topic, NOW, &f.arena, &out),
			 RECORD_BAD_SEAL);
	teardown(&other);
	buf_release(&body);
	teardown(&f);
}

/* Appended fields of a later version are skipped. */
static void test_later_fields_are_skipped(void **state)
{
	struct fixture f;
	struct buf body = {0};
	(void)state;

	setup(&f);
	fields_pack(&record_message, &f.r, &body);
	/* array16: dc hi lo */
	assert_int_equal(body.p[0], 0xdc);
	body.p[2]++;
	buf_u8(&body, 0x2a);
	assert_int_equal(judge_body(&f, &body, "hnode record 1"), RECORD_OK);
	buf_release(&body);
	teardown(&f);
}

static void test_sizes(void **state)
{
	struct fixture f;
	uint8_t longer[RECORD_MAX + 1] = {0};
	struct record out;
	(void)state;

	setup(&f);
	/* As many addresses as fit, and one more. */
	size_t n = 0;
	for (size_t i = 0; i < HN_COUNT(f.address); i++)
		f.address[i] = (char *)"[2001:db8::1:2:3:4:5:6]:7450";
	for (f.r.address.n = 0; seal(&f) == OK; f.r.address.n++)
		n = f.sealed.n;
	assert_true(n <= RECORD_MAX && n > RECORD_MAX - 30);
	assert_int_equal(f.sealed.n, 0);
	print_message("addresses that fit: %zu\n", f.r.address.n - 1);
	f.r.address.n = RECORD_ADDRESSES + 1;
	assert_int_equal(seal(&f), ERR_LIMIT);
	f.r.address.n = 0;
	f.r.caps.n = RECORD_CAPS + 1;
	assert_int_equal(seal(&f), ERR_LIMIT);
	for (size_t i = 0; i < HN_COUNT(f.caps); i++)
		f.caps[i] = (struct record_cap){.name = (char *)"x"};
	f.r.caps.n = RECORD_CAPS;
	f.r.dht.n = 0;
	assert_int_equal(seal(&f), OK);
	assert_int_equal(judge_at(&f, NOW), RECORD_OK);

	for (size_t i = 0; i < 24 + 16 + 64; i++)
		assert_int_equal(record_judge(longer, i, &f.keys, &f.topic, NOW,
					      &f.arena, &out),
				 RECORD_BAD_SEAL);
	assert_int_equal(record_open(longer, sizeof(longer), &f.keys, &f.topic,
				     NOW, &f.arena, &out),
			 ERR_LIMIT);
	teardown(&f);
}

static void test_every_flipped_bit_is_found(void **state)
{
	struct fixture f;
	(void)state;

	setup(&f);
	assert_int_equal(seal(&f), OK);
	for (size_t i = 0; i < f.sealed.n * 8; i++) {
		f.sealed.p[i / 8] ^= (uint8_t)(1 << i % 8);
		assert_int_equal(judge_at(&f, NOW), RECORD_BAD_SEAL);
		f.sealed.p[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	assert_int_equal(judge_at(&f, NOW), RECORD_OK);
	const size_t n = f.sealed.n;
	for (f.sealed.n = 0; f.sealed.n < n; f.sealed.n++)
		assert_int_equal(judge_at(&f, NOW), RECORD_BAD_SEAL);
	teardown(&f);
}

/* By a member, inside the seal. */
static void test_every_flipped_bit_of_the_body_is_found(void **state)
{
	struct fixture f;
	struct buf body = {0};
	uint8_t sig[64];
	(void)state;

	setup(&f);
	fields_pack(&record_message, &f.r, &body);
	assert_int_equal(judge_body(&f, &body, "hnode record 1"), RECORD_OK);
	struct arena a = {0};
	struct record out;
	for (size_t i = 0; i < body.n * 8; i++) {
		body.p[i / 8] ^= (uint8_t)(1 << i % 8);
		/* Whatever it reads as, it does not crash. */
		(void)!record_unpack(body.p, body.n, &a, &out);
		arena_release(&a);
		body.p[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	/* One bit of the signature itself. */
	const struct bytes parts[] = {
	    {f.keys.mesh_id, 32}, {f.topic.b, 32}, {body.p, body.n}};
	identity_sign(f.me, "hnode record 1", parts, 3, sig);
	for (size_t i = 0; i < 512; i += 7) {
		sig[i / 8] ^= (uint8_t)(1 << i % 8);
		assert_false(node_id_verify(identity_id(f.me), "hnode record 1",
					    parts, 3, sig));
		sig[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	buf_release(&body);
	teardown(&f);
}

/* The last sequence of each node */

static struct node_id id_of(uint32_t i)
{
	struct node_id id = {{0}};
	put_be32(id.b, i * 2654435761u);
	return id;
}

static void test_known_sequences(void **state)
{
	struct known k = {0};
	struct known_entry e;
	const struct node_id a = id_of(1), b = id_of(2);
	(void)state;

	assert_int_equal(known_judge(&k, 1, &a, 5), KNOWN_NEW);
	known_set(&k, 1, &a, 5, 1000, false);
	assert_int_equal(known_judge(&k, 1, &a, 5), KNOWN_SAME);
	assert_int_equal(known_judge(&k, 1, &a, 4), KNOWN_OLD);
	assert_int_equal(known_judge(&k, 1, &a, 6), KNOWN_NEWER);
	assert_int_equal(known_judge(&k, 2, &a, 4), KNOWN_NEW);
	assert_int_equal(known_judge(&k, 1, &b, 4), KNOWN_NEW);
	known_set(&k, 2, &a, 4, 500, false);
	known_set(&k, 1, &b, 4, 2000, true);
	known_set(&k, 1, &a, 6, 1500, false);
	assert_false(known_expire(&k, 499, &e));
	assert_true(known_expire(&k, 500, &e));
	assert_int_equal(e.topic, 2);
	assert_false(known_expire(&k, 500, &e));
	assert_false(known_expire(&k, 1499, &e));
	assert_true(known_expire(&k, 5000, &e));
	assert_true(known_expire(&k, 5000, &e));
	assert_false(known_expire(&k, 5000, &e));
	assert_int_equal(k.n, 0);
	assert_int_equal(k.next_ms, 0);
	known_release(&k);
}

static void test_known_is_bounded(void **state)
{
	struct known k = {0};
	struct known_entry e;
	unsigned gone = 0;
	(void)state;

	for (uint32_t i = 0; i < KNOWN_MAX; i++) {
		const struct node_id id = id_of(i);
		assert_int_equal(known_judge(&k, i % 3, &id, 1), KNOWN_NEW);
		known_set(&k, i % 3, &id, 1, 1000 + i % 10, false);
	}
	const struct node_id more = id_of(KNOWN_MAX), old = id_of(7);
	assert_int_equal(known_judge(&k, 0, &more, 1), KNOWN_FULL);
	/* Those inside go on. */
	assert_int_equal(known_judge(&k, 7 % 3, &old, 2), KNOWN_NEWER);
	for (uint32_t i = 0; i < KNOWN_MAX; i++) {
		const struct node_id id = id_of(i);
		assert_int_equal(known_judge(&k, i % 3, &id, 1), KNOWN_SAME);
	}
	known_forget(&k, 1);
	assert_int_equal(k.n, KNOWN_MAX - (KNOWN_MAX + 1) / 3);
	while (known_expire(&k, 1004, &e))
		gone++;
	assert_true(gone > 1000);
	while (known_expire(&k, 2000, &e))
		gone++;
	assert_int_equal(k.n, 0);
	known_release(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_keys_match_another_implementation),
	    cmocka_unit_test(test_topics_of_two_meshes_differ),
	    cmocka_unit_test(test_topic_names),
	    cmocka_unit_test(test_a_record_comes_back_as_it_was),
	    cmocka_unit_test(test_times),
	    cmocka_unit_test(test_each_refusal),
	    cmocka_unit_test(test_later_fields_are_skipped),
	    cmocka_unit_test(test_sizes),
	    cmocka_unit_test(test_every_flipped_bit_is_found),
	    cmocka_unit_test(test_every_flipped_bit_of_the_body_is_found),
	    cmocka_unit_test(test_known_sequences),
	    cmocka_unit_test(test_known_is_bounded),
	};
	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
