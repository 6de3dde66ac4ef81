/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t next_bits(void *arg)
{
	uint64_t *x = arg;

	*x += 0x9e3779b97f4a7c15u;
	uint64_t z = *x;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static void test_places_are_drawn_evenly(void **state)
{
	enum { N = 40, WANT = 10, ROUNDS = 20000 };
	uint32_t out[WANT], count[N] = {0};
	uint64_t seed = 7;

	(void)state;
	for (int r = 0; r < ROUNDS; r++) {
		digest_draw(N, WANT, next_bits, &seed, out);
		for (int i = 0; i < WANT; i++) {
			assert_true(out[i] < N);
			assert_true(!i || out[i] > out[i - 1]);
			count[out[i]]++;
		}
	}
	/* Each a quarter of the time: 5,000 with a deviation of 61. */
	for (int i = 0; i < N; i++)
		assert_in_range(count[i], 4700, 5300);
	digest_draw(WANT, WANT, next_bits, &seed, out);
	for (uint32_t i = 0; i < WANT; i++)
		assert_int_equal(out[i], i);
}

/* What invents x is missed with the chance that the report states. */
static void test_detection_is_as_stated(void **state)
{
	enum { N = 1000, WANT = 16, BAD = 100, ROUNDS = 20000 };
	uint32_t out[WANT];
	uint64_t seed = 9;
	int missed = 0;

	(void)state;
	for (int r = 0; r < ROUNDS; r++) {
		bool seen = false;

		digest_draw(N, WANT, next_bits, &seed, out);
		for (int i = 0; i < WANT; i++)
			seen |= out[i] % (N / BAD) == 3;
		missed += !seen;
	}
	/* (1 - 0.1)^16 = 18.5 %, a little less without putting back. */
	assert_in_range(missed, ROUNDS * 17 / 100, ROUNDS * 19 / 100);
}

static void test_an_answer_is_signed_over_all_of_it(void **state)
{
	struct identity *me = identity_random();
	struct digest_answer a = {
	    .job = "4f2a91c0", .lease = 77, .start = 5, .end = 9, .rounds = 2};
	uint8_t sig[SIGN_SIZE];

	(void)state;
	a.inputs[3] = 1;
	a.root[31] = 2;
	digest_answer_sign(&a, me, sig);
	assert_true(digest_answer_verify(&a, identity_id(me), sig));
	struct digest_answer b[] = {a, a, a, a, a, a, a};

	b[0].job = "4f2a91c1";
	b[1].lease++;
	b[2].start++;
	b[3].end++;
	b[4].rounds = 1;
	b[5].inputs[0] ^= 1;
	b[6].root[0] ^= 1;
	for (size_t i = 0; i < HN_COUNT(b); i++)
		assert_false(digest_answer_verify(&b[i], identity_id(me), sig));
	struct buf text = {0};

	digest_answer_text(&a, &text);
	assert_int_equal(text.n, 8 + 32 + 24 + 1 + 32);
	buf_release(&text);
	identity_free(me);
}

static void test_requests_are_bounded(void **state)
{
	struct hash_digest q = {
	    .job = "j", .start = 7, .end = 7 + DIGEST_INPUTS_MAX, .rounds = 1};
	struct buf why = {0};

	(void)state;
	assert_int_equal(hash_digest_check(&q, &why), OK);
	q.end++;
	assert_int_equal(hash_digest_check(&q, &why), ERR_INPUT);
	q.end = q.start;
	assert_int_equal(hash_digest_check(&q, &why), ERR_INPUT);
	q.end = q.start + 1;
	q.rounds = 3;
	assert_int_equal(hash_digest_check(&q, &why), ERR_INPUT);
	q.rounds = 2;
	q.job = "";
	assert_int_equal(hash_digest_check(&q, &why), ERR_INPUT);
	q.job = NULL;
	assert_int_equal(hash_digest_check(&q, &why), ERR_INPUT);
	/* No receipt could name it: it would be work that nobody owes. */
	q.job = "a b";
	assert_int_equal(hash_digest_check(&q, &why), ERR_INPUT);
	buf_release(&why);
}

static void test_the_report_says_what_stays_unseen(void **state)
{
	struct digest_report r = {.own = true};
	struct buf b = {0};

	(void)state;
	assert_true(digest_fraction(&r) == 1);
	r.foreign = 1000;
	r.checked = r.fewest = 100;
	assert_true(digest_fraction(&r) == 0.1);
	digest_note(&r, &b);
	assert_non_null(strstr(buf_str(&b), "100 of 1000 digests"));
	assert_non_null(strstr(buf_str(&b), "s = 100"));
	assert_non_null(strstr(buf_str(&b), "(x = 1 %: 0.37)"));
	buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_places_are_drawn_evenly),
	    cmocka_unit_test(test_detection_is_as_stated),
	    cmocka_unit_test(test_an_answer_is_signed_over_all_of_it),
	    cmocka_unit_test(test_requests_are_bounded),
	    cmocka_unit_test(test_the_report_says_what_stays_unseen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
