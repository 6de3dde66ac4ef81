/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "node/base/cert.h"

static struct identity *owner, *node;
static uint8_t mesh[32] = {7};
static struct buf packed, why;

static void make(uint64_t expires_ms)
{
	struct cert c = {.issued_ms = 1000, .expires_ms = expires_ms};

	memcpy(c.node, identity_id(node)->b, 32);
	memcpy(c.owner, identity_id(node)->b, 32);
	memcpy(c.mesh_id, mesh, 32);
	cert_sign(&c, owner);
	buf_clear(&packed);
	cert_pack(&c, &packed);
}

static enum err check(uint64_t now)
{
	buf_clear(&why);
	return cert_check((struct bytes){packed.p, packed.n}, identity_id(node),
			  mesh, identity_id(owner), now, &why, NULL);
}

static void test_a_good_certificate_passes(void **state)
{
	struct cert c;

	(void)state;
	make(0);
	assert_true(packed.n < CERT_MAX);
	assert_int_equal(cert_check((struct bytes){packed.p, packed.n},
				    identity_id(node), mesh, identity_id(owner),
				    5000, NULL, &c),
			 OK);
	assert_int_equal(c.issued_ms, 1000);
	assert_memory_equal(c.owner, identity_id(node)->b, 32);
	/* A clock behind the issuer's is no reason to refuse. */
	assert_int_equal(check(1), OK);
}

static void test_expiry_counts(void **state)
{
	(void)state;
	make(2000);
	assert_int_equal(check(1999), OK);
	assert_int_equal(check(2000), ERR_EXPIRED);
	assert_true(why.n);
}

static void test_of_another_node_mesh_or_owner_is_refused(void **state)
{
	(void)state;
	make(0);
	assert_int_equal(cert_check((struct bytes){packed.p, packed.n},
				    identity_id(owner), mesh,
				    identity_id(owner), 1, &why, NULL),
			 ERR_DENIED);
	mesh[0] ^= 1;
	assert_int_equal(check(1), ERR_DENIED);
	mesh[0] ^= 1;
	assert_int_equal(cert_check((struct bytes){packed.p, packed.n},
				    identity_id(node), mesh, identity_id(node),
				    1, &why, NULL),
			 ERR_CRYPTO);
}

static void test_no_changed_byte_passes(void **state)
{
	(void)state;
	make(9000);
	for (size_t i = 0; i < packed.n; i++) {
		packed.p[i] ^= 0x10;
		assert_int_not_equal(check(1), OK);
		packed.p[i] ^= 0x10;
	}
	assert_int_equal(check(1), OK);
	for (size_t n = 0; n < packed.n; n++)
		assert_int_not_equal(
		    cert_check((struct bytes){packed.p, n}, identity_id(node),
			       mesh, identity_id(owner), 1, NULL, NULL),
		    OK);
}

static void test_none_and_too_long_are_refused(void **state)
{
	uint8_t big[CERT_MAX + 1] = {0};

	(void)state;
	assert_int_equal(cert_check((struct bytes){NULL, 0}, identity_id(node),
				    mesh, identity_id(owner), 1, NULL, NULL),
			 ERR_PROTO);
	assert_int_equal(cert_check((struct bytes){big, sizeof(big)},
				    identity_id(node), mesh, identity_id(owner),
				    1, NULL, NULL),
			 ERR_PROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_good_certificate_passes),
	    cmocka_unit_test(test_expiry_counts),
	    cmocka_unit_test(test_of_another_node_mesh_or_owner_is_refused),
	    cmocka_unit_test(test_no_changed_byte_passes),
	    cmocka_unit_test(test_none_and_too_long_are_refused),
	};

	if (sodium_init() < 0)
		return 1;
	owner = identity_random();
	node = identity_random();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	identity_free(owner);
	identity_free(node);
	buf_release(&packed);
	buf_release(&why);
	return failed;
}
