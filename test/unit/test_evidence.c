/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/evidence.h"

#include "node/base/merkle.h"

#include <sodium.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "test/support/headers.h"

#define START 1000
#define END 9000
#define BITS 6

/* An honest answer to a small range, and the document around it. */
struct world {
	struct identity *worker;
	uint8_t header[80];
	uint32_t shares[1024];
	size_t n;
	struct buf text;
	struct evidence_doc doc;
};

/* Written apart from the code under test: bit by bit from the top. */
static bool is_share(const uint8_t header[static 80], uint32_t nonce,
		     unsigned bits)
{
	uint8_t h[80], d[32];

	memcpy(h, header, 80);
	for (unsigned i = 0; i < 4; i++)
		h[76 + i] = (uint8_t)(nonce >> 8 * i);
	crypto_hash_sha256(d, h, 80);
	crypto_hash_sha256(d, d, 32);
	for (unsigned i = 0; i < bits; i++)
		if (d[31 - i / 8] >> (7 - i % 8) & 1)
			return false;
	return true;
}

static void sign(struct world *w)
{
	uint8_t be[1024 * 4], list[32], numbers[25];

	for (size_t i = 0; i < w->n; i++)
		put_be32(be + 4 * i, w->shares[i]);
	crypto_hash_sha256(list, be, 4 * w->n);
	put_be64(numbers, 77);
	put_be64(numbers + 8, START);
	put_be64(numbers + 16, END);
	numbers[24] = BITS;
	buf_clear(&w->text);
	buf_add_str(&w->text, "4f2a91c0");
	buf_add(&w->text, w->header, 80);
	buf_add(&w->text, numbers, sizeof(numbers));
	buf_add(&w->text, list, sizeof(list));
	w->doc = (struct evidence_doc){
	    .version = EVIDENCE_VERSION,
	    .kind = (char *)(uintptr_t) "search",
	    .answer = {w->text.p, w->text.n},
	    .shares = {w->shares, w->n},
	};
	memcpy(w->doc.worker, identity_id(w->worker)->b, 32);
	identity_sign(w->worker, "hnode answer 1", &w->doc.answer, 1,
		      w->doc.sig);
}

static void setup(struct world *w)
{
	const uint8_t seed[32] = {1, 2, 3};

	memset(w, 0, sizeof(*w));
	w->worker = identity_from_seed(seed);
	unhex(known_headers[0].header, w->header, 80);
	for (uint32_t n = START; n < END; n++)
		if (is_share(w->header, n, BITS))
			w->shares[w->n++] = n;
	assert_in_range(w->n, 60, 200);
	sign(w);
}

static void teardown(struct world *w)
{
	identity_free(w->worker);
	buf_release(&w->text);
}

static void put_in(struct world *w, uint32_t nonce)
{
	size_t at = 0;

	while (at < w->n && w->shares[at] < nonce)
		at++;
	memmove(w->shares + at + 1, w->shares + at,
		(w->n++ - at) * sizeof(nonce));
	w->shares[at] = nonce;
	sign(w);
}

static uint32_t take_out(struct world *w, size_t at)
{
	const uint32_t nonce = w->shares[at];

	memmove(w->shares + at, w->shares + at + 1,
		(--w->n - at) * sizeof(nonce));
	sign(w);
	return nonce;
}

static uint32_t no_share(const struct world *w)
{
	uint32_t n = START + 500;

	while (is_share(w->header, n, BITS))
		n++;
	return n;
}

static enum err verify(const struct evidence_doc *d, const char *says)
{
	struct buf why = {0};

	const enum err e = evidence_verify(d, &why);
	assert_true(why.n > 0);
	if (says && !strstr(buf_str(&why), says))
		fail_msg("\"%s\" lacks \"%s\"", buf_str(&why), says);
	buf_release(&why);
	return e;
}

static enum err make(struct world *w, uint64_t nonce)
{
	struct buf why = {0};

	w->doc.nonce = nonce;
	const enum err e = evidence_make(&w->doc, &why);
	assert_true(why.n > 0);
	buf_release(&why);
	return e;
}

static void test_missed_share_is_proof(void **state)
{
	struct world w;

	(void)state;
	setup(&w);
	assert_int_equal(make(&w, take_out(&w, 5)), OK);
	assert_string_equal(w.doc.lie, "missed");
	assert_int_equal(verify(&w.doc, "lease 77 of job 4f2a91c0 that does "
					"not list nonce"),
			 OK);
	teardown(&w);
}

static void test_empty_list_is_proof(void **state)
{
	struct world w;
	uint32_t nonce;

	(void)state;
	setup(&w);
	nonce = w.shares[w.n - 1];
	w.n = 0;
	sign(&w);
	assert_int_equal(make(&w, nonce), OK);
	assert_int_equal(verify(&w.doc, NULL), OK);
	teardown(&w);
}

static void test_invented_share_is_proof(void **state)
{
	struct world w;

	(void)state;
	setup(&w);
	const uint32_t nonce = no_share(&w);
	put_in(&w, nonce);
	assert_int_equal(make(&w, nonce), OK);
	assert_string_equal(w.doc.lie, "false-share");
	assert_int_equal(verify(&w.doc, "lacks the asked zero bits"), OK);
	teardown(&w);
}

/* At the edges: the end is not in the range, the start is. */
static void test_nonce_outside_is_proof(void **state)
{
	struct world w;

	(void)state;
	setup(&w);
	put_in(&w, END);
	assert_int_equal(make(&w, END), OK);
	assert_string_equal(w.doc.lie, "outside");
	assert_int_equal(verify(&w.doc, "outside of its range"), OK);
	teardown(&w);
	setup(&w);
	put_in(&w, START - 1);
	assert_int_equal(make(&w, START - 1), OK);
	assert_string_equal(w.doc.lie, "outside");
	teardown(&w);
}

/* No nonce whatever turns an honest answer into evidence. */
static void test_honest_answer_proves_nothing(void **state)
{
	struct world w;

	(void)state;
	setup(&w);
	for (uint64_t n = 0; n < END + 1000; n++)
		if (make(&w, n) != ERR_INPUT)
			fail_msg("nonce %u", (unsigned)n);
	assert_int_equal(make(&w, UINT64_C(1) << 32), ERR_INPUT);
	assert_int_equal(make(&w, UINT64_MAX), ERR_INPUT);
	teardown(&w);
}

static void test_another_lie_than_claimed_is_refused(void **state)
{
	struct world w;

	(void)state;
	setup(&w);
	assert_int_equal(make(&w, take_out(&w, 5)), OK);
	w.doc.lie = (char *)(uintptr_t) "false-share";
	assert_int_equal(verify(&w.doc, "proves missed"), ERR_INPUT);
	w.doc.lie = NULL;
	assert_int_equal(verify(&w.doc, NULL), ERR_INPUT);
	teardown(&w);
}

/* Who has no key of the worker's can make nothing of what it signed. */
static void test_tampering_is_seen(void **state)
{
	struct world w;
	uint32_t left;

	(void)state;
	setup(&w);
	left = take_out(&w, 5);
	assert_int_equal(make(&w, left), OK);

	/* The list. */
	w.shares[7]++;
	assert_int_equal(verify(&w.doc, "list"), ERR_CRYPTO);
	w.shares[7]--;
	w.doc.shares.n--;
	assert_int_equal(verify(&w.doc, "list"), ERR_CRYPTO);
	w.doc.shares.n++;
	/* Each byte of the text, the signature, the key. */
	for (size_t i = 0; i < w.text.n; i++) {
		w.text.p[i] ^= 4;
		assert_int_not_equal(verify(&w.doc, NULL), OK);
		w.text.p[i] ^= 4;
	}
	for (size_t i = 0; i < 64; i++) {
		w.doc.sig[i] ^= 1;
		assert_int_equal(verify(&w.doc, "did not sign"), ERR_CRYPTO);
		w.doc.sig[i] ^= 1;
	}
	w.doc.worker[3] ^= 1;
	assert_int_equal(verify(&w.doc, "did not sign"), ERR_CRYPTO);
	w.doc.worker[3] ^= 1;
	/* Another nonce. */
	w.doc.nonce = no_share(&w);
	assert_int_equal(verify(&w.doc, "proves nothing"), ERR_INPUT);
	w.doc.nonce = left;
	assert_int_equal(verify(&w.doc, NULL), OK);
	teardown(&w);
}

static void test_unknown_version_and_kind_are_said(void **state)
{
	struct world w;

	(void)state;
	setup(&w);
	assert_int_equal(make(&w, take_out(&w, 5)), OK);
	w.doc.version = 2;
	assert_int_equal(verify(&w.doc, "version 1, not 2"), ERR_PROTO);
	w.doc.version = 1;
	w.doc.kind = (char *)(uintptr_t) "weather";
	assert_int_equal(verify(&w.doc, "no evidence about work"), ERR_PROTO);
	w.doc.kind = NULL;
	assert_int_equal(verify(&w.doc, NULL), ERR_PROTO);
	teardown(&w);
}

static void test_survives_both_forms(void **state)
{
	struct world w;
	struct buf packed = {0}, json = {0}, why = {0};
	struct arena a = {0};
	struct evidence_doc back;
	uint8_t id[EVIDENCE_ID_SIZE], again[EVIDENCE_ID_SIZE];

	(void)state;
	setup(&w);
	assert_int_equal(make(&w, take_out(&w, 5)), OK);
	evidence_id(&w.doc, id);
	evidence_pack(&w.doc, &packed);
	assert_int_equal(evidence_read(packed.p, packed.n, &a, &back, &why),
			 OK);
	assert_int_equal(verify(&back, NULL), OK);
	evidence_id(&back, again);
	assert_memory_equal(id, again, sizeof(id));

	buf_add_str(&json, "\n  ");
	fields_to_json(&evidence_message, &w.doc, &json);
	buf_add_str(&json, "\n");
	assert_int_equal(evidence_read(json.p, json.n, &a, &back, &why), OK);
	assert_int_equal(verify(&back, NULL), OK);

	/* Cut anywhere, it is none. */
	for (size_t n = 0; n < packed.n; n++) {
		buf_clear(&why);
		assert_int_not_equal(
		    evidence_read(packed.p, n, &a, &back, &why), OK);
		assert_true(why.n > 0);
	}
	buf_release(&packed);
	buf_release(&json);
	buf_release(&why);
	arena_release(&a);
	teardown(&w);
}

/* Five inputs; the digest of number 3 is not its own. */
struct digests {
	struct identity *me;
	struct buf text;
	uint8_t values[5][32];
	uint8_t paths[2][MERKLE_PATH_MAX][MERKLE_SIZE];
	struct evidence_doc d;
};

static const char *const inputs[] = {"a", "", "ccc", "dd", "e"};

static void digests_setup(struct digests *w, uint64_t place)
{
	struct bytes texts[5];
	uint8_t numbers[25] = {0};

	memset(w, 0, sizeof(*w));
	w->me = identity_random();
	for (size_t i = 0; i < 5; i++) {
		const uint8_t *p = (const uint8_t *)inputs[i];

		texts[i] = (struct bytes){p, strlen(inputs[i])};
		crypto_hash_sha256(w->values[i], p, texts[i].n);
		crypto_hash_sha256(w->values[i], w->values[i], 32);
	}
	w->values[3][7] ^= 1;
	struct merkle *in = merkle_new(texts, 5, merkle_hash_plain);
	struct merkle *out = merkle_of_digests((const uint8_t(*)[32])w->values,
					       5, merkle_hash_plain);

	put_be64(numbers, 77);
	put_be64(numbers + 8, 100);
	put_be64(numbers + 16, 105);
	numbers[24] = 2;
	buf_add_str(&w->text, "4f2a91c0");
	buf_add(&w->text, merkle_root(in), 32);
	buf_add(&w->text, numbers, sizeof(numbers));
	buf_add(&w->text, merkle_root(out), 32);
	w->d = (struct evidence_doc){
	    .kind = (char *)"digest",
	    .answer = {w->text.p, w->text.n},
	    .nonce = place,
	    .input = texts[place],
	    .digest = {w->values[place], 32},
	    .input_path = {w->paths[0][0],
			   32 * merkle_path(in, place, w->paths[0])},
	    .digest_path = {w->paths[1][0],
			    32 * merkle_path(out, place, w->paths[1])}};
	memcpy(w->d.worker, identity_id(w->me)->b, 32);
	identity_sign(w->me, "hnode answer 1", &w->d.answer, 1, w->d.sig);
	merkle_free(in);
	merkle_free(out);
}

static void digests_teardown(struct digests *w)
{
	identity_free(w->me);
	buf_release(&w->text);
}

static void test_wrong_digest_is_proof(void **state)
{
	struct digests w;
	struct buf why = {0}, packed = {0}, json = {0};
	struct arena a = {0};
	struct evidence_doc again;

	(void)state;
	digests_setup(&w, 3);
	assert_int_equal(evidence_make(&w.d, &why), OK);
	assert_string_equal(w.d.lie, "false-digest");
	assert_non_null(strstr(buf_str(&why), "wrong digest of input 103"));
	evidence_pack(&w.d, &packed);
	assert_int_equal(evidence_read(packed.p, packed.n, &a, &again, &why),
			 OK);
	assert_int_equal(evidence_verify(&again, &why), OK);
	fields_to_json(&evidence_message, &w.d, &json);
	assert_int_equal(evidence_read(json.p, json.n, &a, &again, &why), OK);
	assert_int_equal(evidence_verify(&again, &why), OK);

	/* Whatever is changed, it proves nothing. */
	struct evidence_doc bad[] = {again, again, again, again, again, again};

	bad[0].nonce = 2;
	bad[1].input = (struct bytes){(const uint8_t *)"dx", 2};
	bad[2].digest = (struct bytes){w.values[2], 32};
	bad[3].input_path.n -= 32;
	bad[4].digest_path.n -= 1;
	bad[5].sig[5] ^= 1;
	for (size_t i = 0; i < HN_COUNT(bad); i++)
		assert_int_equal(evidence_verify(&bad[i], &why), ERR_CRYPTO);
	again.answer.n = 60;
	assert_int_equal(evidence_verify(&again, &why), ERR_PROTO);
	digests_teardown(&w);

	/* And nothing convicts who was right. */
	for (uint64_t place = 0; place < 5; place++) {
		digests_setup(&w, place);
		assert_int_equal(evidence_make(&w.d, &why),
				 place == 3 ? OK : ERR_INPUT);
		digests_teardown(&w);
	}
	buf_release(&why);
	buf_release(&packed);
	buf_release(&json);
	arena_release(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_missed_share_is_proof),
	    cmocka_unit_test(test_empty_list_is_proof),
	    cmocka_unit_test(test_invented_share_is_proof),
	    cmocka_unit_test(test_nonce_outside_is_proof),
	    cmocka_unit_test(test_honest_answer_proves_nothing),
	    cmocka_unit_test(test_another_lie_than_claimed_is_refused),
	    cmocka_unit_test(test_tampering_is_seen),
	    cmocka_unit_test(test_unknown_version_and_kind_are_said),
	    cmocka_unit_test(test_survives_both_forms),
	    cmocka_unit_test(test_wrong_digest_is_proof),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
