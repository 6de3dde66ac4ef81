/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "asic/sha256d.h"

#include "node/base/mem.h"
#include "test/support/headers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sodium.h>

/* The examples that NIST gives with FIPS 180-4. */
static void test_sha256_nist(void **state)
{
	static const struct {
		const char *text, *digest;
	} rows[] = {
	    {"", "e3b0c44298fc1c149afbf4c8996fb924"
		 "27ae41e4649b934ca495991b7852b855"},
	    {"abc", "ba7816bf8f01cfea414140de5dae2223"
		    "b00361a396177a9cb410ff61f20015ad"},
	    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
	     "248d6a61d20638b8e5c026930c3e6039"
	     "a33ce45964ff2167f6ecedd419db06c1"},
	};
	uint8_t got[32], want[32];
	char *million = xmalloc(1000000);

	(void)state;
	for (size_t i = 0; i < HN_COUNT(rows); i++) {
		unhex(rows[i].digest, want, 32);
		sha256(rows[i].text, strlen(rows[i].text), got);
		assert_memory_equal(got, want, 32);
	}
	memset(million, 'a', 1000000);
	unhex("cdc76e5c9914fb9281a1c7e284d73e67"
	      "f1809a48a497200e046d39ccc7112cd0",
	      want, 32);
	sha256(million, 1000000, got);
	assert_memory_equal(got, want, 32);
	free(million);
}

/* Against an implementation that is not ours, across every padding. */
static void test_sha256_equals_libsodium(void **state)
{
	uint8_t msg[4100], got[32], want[32];
	uint64_t seed = 7;

	(void)state;
	noise_fill(&seed, msg, sizeof(msg));
	for (size_t n = 0; n <= sizeof(msg); n += n < 300 ? 1 : 97) {
		crypto_hash_sha256(want, msg, n);
		sha256(msg, n, got);
		assert_memory_equal(got, want, 32);
		crypto_hash_sha256(want, want, 32);
		sha256d(msg, n, got);
		assert_memory_equal(got, want, 32);
	}
}

static void test_sha256d_real_headers(void **state)
{
	(void)state;
	for (size_t i = 0; i < HN_COUNT(known_headers); i++) {
		const struct known_header *k = &known_headers[i];
		size_t n = strlen(k->hash) / 2;
		uint8_t header[80], digest[32], shown[32], want[32];

		unhex(k->header, header, 80);
		unhex(k->hash, want, n);
		sha256d(header, 80, digest);
		for (int b = 0; b < 32; b++)
			shown[b] = digest[31 - b];
		assert_memory_equal(shown, want, n);
		assert_int_equal(sha256d_zero_bits(digest), k->zero_bits);

		/* The nonce given counts, not the one in the header. */
		memset(header + 76, 0xff, 4);
		sha256d_header(header, k->nonce, want);
		assert_memory_equal(digest, want, 32);
		sha256d_header(header, k->nonce + 1, want);
		assert_memory_not_equal(digest, want, 32);
	}
}

static void test_sha256d_midstate(void **state)
{
	(void)state;
	for (size_t i = 0; i < HN_COUNT(known_headers); i++) {
		const struct known_header *k = &known_headers[i];
		uint8_t header[80], want[32];
		uint32_t mid[8];

		if (!k->midstate)
			continue;
		unhex(k->header, header, 80);
		unhex(k->midstate, want, 32);
		sha256d_midstate(header, mid);
		for (int w = 0; w < 8; w++)
			assert_int_equal(mid[w], (uint32_t)want[4 * w] << 24 |
						     want[4 * w + 1] << 16 |
						     want[4 * w + 2] << 8 |
						     want[4 * w + 3]);
	}
}

static void test_sha256d_meets_compares_as_numbers(void **state)
{
	uint8_t a[32] = {0}, b[32] = {0};

	(void)state;
	assert_true(sha256d_meets(a, b));
	a[0] = 1;
	assert_false(sha256d_meets(a, b));
	b[31] = 1;
	assert_true(sha256d_meets(a, b));
	memset(a, 0xff, 31);
	assert_true(sha256d_meets(a, b));
	a[31] = 1;
	assert_false(sha256d_meets(a, b));
	memset(b, 0xff, 31);
	assert_true(sha256d_meets(a, b));
}

static void test_sha256d_zero_bits_counts_from_the_last_byte(void **state)
{
	uint8_t d[32] = {0};

	(void)state;
	assert_int_equal(sha256d_zero_bits(d), 256);
	d[0] = 1;
	assert_int_equal(sha256d_zero_bits(d), 255);
	d[28] = 0x10;
	assert_int_equal(sha256d_zero_bits(d), 27);
	d[31] = 0x80;
	assert_int_equal(sha256d_zero_bits(d), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_sha256_nist),
	    cmocka_unit_test(test_sha256_equals_libsodium),
	    cmocka_unit_test(test_sha256d_real_headers),
	    cmocka_unit_test(test_sha256d_midstate),
	    cmocka_unit_test(test_sha256d_meets_compares_as_numbers),
	    cmocka_unit_test(test_sha256d_zero_bits_counts_from_the_last_byte),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
