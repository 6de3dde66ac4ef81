/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "dht/record.h"
#include "node/base/cert.h"
#include "node/mesh/membership.h"
#include "test/support/temp.h"

static struct identity *me, *other, *owner;
static struct membership *m;
static struct buf why;
static struct arena arena;

static int setup(void **state)
{
	(void)state;
	temp_make();
	me = identity_random();
	other = identity_random();
	owner = identity_random();
	return membership_load(temp_dir, me, &why, &m);
}

static int teardown(void **state)
{
	(void)state;
	membership_free(m);
	identity_free(me);
	identity_free(other);
	identity_free(owner);
	buf_release(&why);
	arena_release(&arena);
	temp_remove();
	return 0;
}

static void reload(void)
{
	membership_free(m);
	m = NULL;
	assert_int_equal(membership_load(temp_dir, me, &why, &m), OK);
}

static void found(void)
{
	assert_int_equal(membership_found(m, "home", owner, me, 1000, &why),
			 OK);
}

static void test_public_needs_no_file(void **state)
{
	uint8_t key[32], id[32], none[32] = {0};

	(void)state;
	assert_true(m->is_public);
	assert_string_equal(m->name, "public");
	mesh_public_key(key);
	mesh_id_of(none, "public", id);
	assert_memory_equal(m->secret->key, key, 32);
	assert_memory_equal(m->mesh_id, id, 32);
	assert_int_equal(
	    membership_admit(m, identity_id(other), (struct bytes){0}, 1, &why),
	    OK);
	assert_int_equal(temp_mode(temp_path("mesh")), 0);
}

static void test_a_private_mesh_is_kept(void **state)
{
	uint8_t key[32];

	(void)state;
	found();
	memcpy(key, m->secret->key, 32);
	assert_false(sodium_is_zero(key, 32));
	assert_int_equal(temp_mode(temp_path("mesh")), 0600);
	reload();
	assert_false(m->is_public);
	assert_string_equal(m->name, "home");
	assert_memory_equal(m->secret->key, key, 32);
	assert_true(node_id_eq(&m->owner, identity_id(owner)));
	/* Ours is a member; a stranger is not. */
	struct bytes cert = {m->cert.p, m->cert.n};
	assert_int_equal(membership_admit(m, identity_id(me), cert, 1, &why),
			 OK);
	assert_int_equal(membership_admit(m, identity_id(other), cert, 1, &why),
			 ERR_DENIED);
	assert_int_equal(
	    membership_admit(m, identity_id(other), (struct bytes){0}, 1, &why),
	    ERR_PROTO);
}

static void test_names_are_checked(void **state)
{
	static const char *const bad[] = {"",	 "public", "Home",
					  "a b", "home/x", "\xc3\xa4"};
	char longer[MESH_NAME_MAX + 2];

	(void)state;
	for (size_t i = 0; i < HN_COUNT(bad); i++)
		assert_int_equal(mesh_name_check(bad[i], &why), ERR_INPUT);
	memset(longer, 'a', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	assert_int_equal(mesh_name_check(longer, &why), ERR_INPUT);
	assert_int_equal(mesh_name_check("lab-2.b_c", &why), OK);
}

static void test_a_damaged_file_is_never_replaced(void **state)
{
	char text[8192];

	(void)state;
	found();
	FILE *f = fopen(temp_path("mesh"), "re");
	size_t n = fread(text, 1, sizeof(text), f);
	fclose(f);
	membership_free(m);
	m = NULL;
	/* Cut, not JSON, another node's, edited. */
	temp_write(temp_path("mesh"), text, n / 2);
	assert_int_equal(membership_load(temp_dir, me, &why, &m), ERR_CONFIG);
	temp_write(temp_path("mesh"), "hello", 5);
	assert_int_equal(membership_load(temp_dir, me, &why, &m), ERR_CONFIG);
	temp_write(temp_path("mesh"), text, n);
	assert_int_equal(membership_load(temp_dir, other, &why, &m),
			 ERR_CONFIG);
	char *name = strstr(text, "\"home\"");
	assert_non_null(name);
	name[1] = 'd';
	temp_write(temp_path("mesh"), text, n);
	buf_clear(&why);
	assert_int_equal(membership_load(temp_dir, me, &why, &m), ERR_CONFIG);
	assert_non_null(strstr(buf_str(&why), "invite"));
	name[1] = 'h';
	temp_write(temp_path("mesh"), text, n);
	assert_int_equal(membership_load(temp_dir, me, &why, &m), OK);
}

/* What an inviter would answer to `me`, of a mesh made by `owner`. */
static struct mesh_enrolled answer(const struct membership *from,
				   const struct identity *signer,
				   const struct identity *for_whom)
{
	struct mesh_enrolled r = {.mesh = (char *)(uintptr_t)from->name};
	struct cert c = {.issued_ms = 5};
	struct buf packed = {0};

	memcpy(c.node, identity_id(for_whom)->b, 32);
	memcpy(c.owner, identity_id(for_whom)->b, 32);
	memcpy(c.mesh_id, from->mesh_id, 32);
	cert_sign(&c, signer);
	cert_pack(&c, &packed);
	r.cert.p = arena_memdup(&arena, packed.p, packed.n);
	r.cert.n = packed.n;
	buf_release(&packed);
	memcpy(r.mesh_key, from->secret->key, 32);
	memcpy(r.owner, from->owner.b, 32);
	return r;
}

static void test_joining_checks_the_answer(void **state)
{
	struct membership *far;

	(void)state;
	mkdir(temp_path("far"), 0700);
	assert_int_equal(membership_load(temp_path("far"), other, &why, &far),
			 OK);
	assert_int_equal(membership_found(far, "lab", owner, other, 1, &why),
			 OK);
	struct mesh_enrolled r = answer(far, owner, me);
	/* Another name or id than the invite's. */
	uint8_t id[32];
	memcpy(id, far->mesh_id, 32);
	assert_int_equal(membership_join(m, &r, "home", id, me, 1, &why),
			 ERR_CRYPTO);
	id[3] ^= 1;
	assert_int_equal(membership_join(m, &r, "lab", id, me, 1, &why),
			 ERR_CRYPTO);
	id[3] ^= 1;
	/* An owner that the mesh id does not commit to. */
	struct mesh_enrolled bad = r;
	memcpy(bad.owner, identity_id(other)->b, 32);
	assert_int_equal(membership_join(m, &bad, "lab", id, me, 1, &why),
			 ERR_CRYPTO);
	/* A certificate by somebody else, or of somebody else. */
	bad = answer(far, other, me);
	assert_int_equal(membership_join(m, &bad, "lab", id, me, 1, &why),
			 ERR_CRYPTO);
	bad = answer(far, owner, other);
	assert_int_equal(membership_join(m, &bad, "lab", id, me, 1, &why),
			 ERR_DENIED);
	assert_true(m->is_public);
	assert_int_equal(membership_join(m, &r, "lab", id, me, 1, &why), OK);
	reload();
	assert_string_equal(m->name, "lab");
	membership_free(far);
}

static void test_rekey_changes_key_and_leaves_out(void **state)
{
	struct mesh_newkey k, again;
	uint8_t old[32];

	(void)state;
	found();
	memcpy(old, m->secret->key, 32);
	assert_false(membership_newkey(m, &arena, &again));
	const struct node_id out[] = {*identity_id(other)};
	assert_int_equal(membership_rekey(m, owner, out, 1, &arena, &k, &why),
			 OK);
	assert_int_equal(k.generation, 1);
	assert_int_equal(m->generation, 0);
	assert_int_equal(
	    membership_apply(m, &k, identity_id(other), 9000, &why),
	    ERR_DENIED);
	assert_int_equal(membership_apply(m, &k, identity_id(me), 9000, &why),
			 OK);
	assert_memory_not_equal(m->secret->key, old, 32);
	assert_memory_equal(m->secret->prev, old, 32);
	assert_true(membership_excludes(m, identity_id(other)));
	assert_false(membership_excludes(m, identity_id(me)));
	assert_int_equal(
	    membership_admit(m, identity_id(other), (struct bytes){0}, 1, &why),
	    ERR_DENIED);
	/* Handed on as it came, also after a restart. */
	reload();
	assert_int_equal(m->generation, 1);
	assert_true(membership_newkey(m, &arena, &again));
	assert_memory_equal(again.sig, k.sig, 64);
	assert_memory_equal(again.mesh_key, k.mesh_key, 32);
	assert_int_equal(again.excluded.n, 1);
	assert_int_equal(membership_apply(m, &k, identity_id(me), 9000, &why),
			 ERR_EXISTS);
	/* The next one keeps who was left out, once. */
	assert_int_equal(
	    membership_rekey(m, owner, out, 1, &arena, &again, &why), OK);
	assert_int_equal(again.excluded.n, 1);
	assert_int_equal(
	    membership_apply(m, &again, identity_id(me), 9000, &why), OK);
	assert_int_equal(membership_apply(m, &k, identity_id(me), 9000, &why),
			 ERR_EXPIRED);
}

static void test_rekey_is_the_owners(void **state)
{
	struct mesh_newkey k;

	(void)state;
	found();
	assert_int_equal(membership_rekey(m, other, NULL, 0, &arena, &k, &why),
			 OK);
	assert_int_equal(membership_apply(m, &k, identity_id(me), 1, &why),
			 ERR_CRYPTO);
	assert_int_equal(membership_rekey(m, owner, NULL, 0, &arena, &k, &why),
			 OK);
	k.mesh_key[5] ^= 1;
	assert_int_equal(membership_apply(m, &k, identity_id(me), 1, &why),
			 ERR_CRYPTO);
	k.mesh_key[5] ^= 1;
	k.generation++;
	assert_int_equal(membership_apply(m, &k, identity_id(me), 1, &why),
			 ERR_CRYPTO);
	assert_int_equal(m->generation, 0);
}

static void test_the_old_key_lives_a_day(void **state)
{
	const uint64_t now = UINT64_C(1700000000000);
	struct mesh_newkey k;

	(void)state;
	found();
	assert_null(membership_prev(m, now));
	assert_int_equal(membership_rekey(m, owner, NULL, 0, &arena, &k, &why),
			 OK);
	assert_int_equal(membership_apply(m, &k, identity_id(me), now, &why),
			 OK);
	assert_non_null(membership_prev(m, now));
	assert_non_null(membership_prev(m, now + OLD_KEY_MS - 1));
	assert_null(membership_prev(m, now + OLD_KEY_MS));
	assert_null(membership_prev(m, now - OLD_KEY_MS));
}

static void test_the_owners_key_is_asked_for(void **state)
{
	struct identity *mine = NULL;

	(void)state;
	assert_int_equal(membership_owner(m, false, &why, &mine), ERR_NOTFOUND);
	assert_int_equal(membership_owner(m, true, &why, &mine), OK);
	assert_int_equal(temp_mode(temp_path("owner.key")), 0600);
	assert_int_equal(membership_found(m, "home", mine, me, 1, &why), OK);
	identity_free(mine);
	assert_int_equal(membership_owner(m, false, &why, &mine), OK);
	identity_free(mine);
	/* A key that is not this mesh's. */
	assert_int_equal(
	    identity_save(other, temp_path("owner.key"), "owner", &why), OK);
	buf_clear(&why);
	assert_int_equal(membership_owner(m, false, &why, &mine), ERR_DENIED);
	assert_non_null(strstr(buf_str(&why), "owner import"));
	unlink(temp_path("owner.key"));
	assert_int_equal(membership_owner(m, false, &why, &mine), ERR_DENIED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    T(test_public_needs_no_file),
	    T(test_a_private_mesh_is_kept),
	    T(test_names_are_checked),
	    T(test_a_damaged_file_is_never_replaced),
	    T(test_joining_checks_the_answer),
	    T(test_rekey_changes_key_and_leaves_out),
	    T(test_rekey_is_the_owners),
	    T(test_the_old_key_lives_a_day),
	    T(test_the_owners_key_is_asked_for),
#undef T
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
