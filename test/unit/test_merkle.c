/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/merkle.h"

#include "node/base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

/* The list of RFC 6962's reference tests and the root of each beginning. */
static const char *const texts[] = {
    "",
    "\x00",
    "\x10",
    "\x20\x21",
    "\x30\x31",
    "\x40\x41\x42\x43",
    "\x50\x51\x52\x53\x54\x55\x56\x57",
    "\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f"};
static const size_t lengths[] = {0, 1, 1, 2, 2, 4, 8, 16};
static const char *const roots[] = {
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};

static void test_published_roots(void **state)
{
	struct bytes list[HN_COUNT(texts)];
	char hex[65];

	(void)state;
	for (size_t i = 0; i < HN_COUNT(texts); i++)
		list[i] = (struct bytes){(const uint8_t *)texts[i], lengths[i]};
	for (size_t n = 0; n < HN_COUNT(roots); n++) {
		struct merkle *t = merkle_new(list, n, merkle_hash_plain);

		hex_encode(merkle_root(t), MERKLE_SIZE, hex);
		assert_string_equal(hex, roots[n]);
		merkle_free(t);
	}
}

/* The RFC's own words: a list is cut at the greatest power of two below its
 * length. */
static void by_the_book(const uint8_t (*d)[32], size_t n, uint8_t out[32])
{
	uint8_t text[65] = {1};
	size_t k = 1;

	if (n == 1) {
		merkle_leaf(d[0], 32, out);
		return;
	}
	while (2 * k < n)
		k *= 2;
	by_the_book(d, k, text + 1);
	by_the_book(d + k, n - k, text + 33);
	crypto_hash_sha256(out, text, sizeof(text));
}

static void test_every_place_is_proved_and_no_other(void **state)
{
	static uint8_t d[1100][32];
	static const size_t sizes[] = {1, 2, 3, 5, 6, 7, 64, 65, 1023, 1100};
	uint8_t path[MERKLE_PATH_MAX][MERKLE_SIZE];

	(void)state;
	for (size_t i = 0; i < HN_COUNT(d); i++)
		crypto_hash_sha256(d[i], (uint8_t *)&i, sizeof(i));
	for (size_t s = 0; s < HN_COUNT(sizes); s++) {
		const size_t n = sizes[s];
		struct merkle *t = merkle_of_digests(d, n, merkle_hash_plain);
		uint8_t want[32], leaf[32];

		by_the_book(d, n, want);
		assert_memory_equal(merkle_root(t), want, 32);
		for (size_t i = 0; i < n; i++) {
			const size_t k = merkle_path(t, i, path);

			merkle_leaf(d[i], 32, leaf);
			assert_true(merkle_proves(want, n, i, leaf, path, k));
			assert_false(
			    merkle_proves(want, n, i ^ 1, leaf, path, k));
			assert_false(merkle_proves(want, n, n, leaf, path, k));
			assert_false(
			    merkle_proves(want, n, i, leaf, path, k + 1));
			if (!k)
				continue;
			assert_false(
			    merkle_proves(want, n, i, leaf, path, k - 1));
			path[i % k][i % 32] ^= 1;
			assert_false(merkle_proves(want, n, i, leaf, path, k));
			leaf[i % 32] ^= 1;
			path[i % k][i % 32] ^= 1;
			assert_false(merkle_proves(want, n, i, leaf, path, k));
		}
		merkle_free(t);
	}
}

static void test_leaves_hashed_before_give_the_same(void **state)
{
	enum { N = 700 };
	static uint8_t long_text[3000], leaves[N][32];
	struct bytes list[N];

	(void)state;
	for (size_t i = 0; i < N; i++) {
		list[i] = (struct bytes){long_text, i * 4};
		merkle_leaf(long_text, i * 4, leaves[i]);
	}
	struct merkle *a = merkle_new(list, N, merkle_hash_plain);
	struct merkle *b = merkle_of_leaves(leaves, N, merkle_hash_plain);

	assert_memory_equal(merkle_root(a), merkle_root(b), MERKLE_SIZE);
	merkle_free(a);
	merkle_free(b);
	merkle_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_published_roots),
	    cmocka_unit_test(test_every_place_is_proved_and_no_other),
	    cmocka_unit_test(test_leaves_hashed_before_give_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
