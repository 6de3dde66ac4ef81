/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "node/base/audit.h"
#include "node/base/receipt.h"
#include "test/support/books.h"

static struct identity *sub, *work;
static struct arena mem;
static struct buf why, text;

static void make_of(const char *kind, struct bytes t, struct receipt *r)
{
	*r = (struct receipt){.time_ms = 1700000000000};
	memset(r->mesh_id, 7, 32);
	memcpy(r->worker, identity_id(work)->b, 32);
	memcpy(r->worker_owner, identity_id(work)->b, 32);
	memcpy(r->submitter, identity_id(sub)->b, 32);
	memcpy(r->submitter_owner, identity_id(sub)->b, 32);
	buf_clear(&why);
	assert_int_equal(receipt_fill(r, kind, t, &mem, &why), OK);
	identity_sign(work, ANSWER_PURPOSE, &t, 1, r->answer_sig);
}

static struct receipt next(struct chain_head *h, uint64_t lease, uint64_t n)
{
	struct receipt r;

	make_of("search", search_text(&text, "job0123456ab", lease, 0, n), &r);
	assert_int_equal(receipt_sign(&r, h, sub), OK);
	assert_int_equal(chain_follow(h, &r), CHAIN_NEXT);
	return r;
}

static enum err verify(const struct receipt *r)
{
	buf_clear(&why);
	const enum err e = receipt_verify(r, &why);

	assert_int_equal(e != OK, why.n != 0);
	return e;
}

/* Signs it anew: the submitter itself says so. */
static struct receipt again(struct receipt r)
{
	struct chain_head h = {r.seq - 1, r.total - r.credit, {0}};

	memcpy(h.hash, r.prev, 32);
	assert_int_equal(receipt_sign(&r, &h, sub), OK);
	return r;
}

static void test_a_receipt_says_what_the_answer_says(void **state)
{
	struct chain_head h = {0};
	struct receipt r = next(&h, 77, 1 << 20);
	uint8_t input[82 + 16], hash[32];

	(void)state;
	assert_int_equal(verify(&r), OK);
	assert_string_equal(r.unit, "hash");
	assert_string_equal(r.job, "job0123456ab");
	assert_int_equal(r.lease, 77);
	assert_int_equal(r.amount, 1 << 20);
	assert_int_equal(r.credit, 256);
	assert_int_equal(r.total, 256);
	/* As anybody would compute it. */
	for (unsigned i = 0; i < 80; i++)
		input[i] = (uint8_t)i;
	put_be64(input + 80, 0);
	put_be64(input + 88, 1 << 20);
	input[96] = 12;
	crypto_hash_sha256(hash, input, 97);
	assert_memory_equal(hash, r.input, 32);
	memset(hash, 77, 32);
	assert_memory_equal(hash, r.output, 32);
}

/* In the open mesh there is no owner but the node. */
static void test_nobody_owes_in_anothers_name(void **state)
{
	static const uint8_t no_owner[32];
	struct chain_head h = {0};
	struct receipt r = next(&h, 77, 1 << 20), other;
	crypto_generichash_state s;

	(void)state;
	r.worker_owner[0] ^= 1;
	r.submitter_owner[0] ^= 1;
	other = again(r);
	assert_int_equal(verify(&other), OK); /* of a private mesh */
	crypto_generichash_init(&s, NULL, 0, 32);
	crypto_generichash_update(&s, (const uint8_t *)"hnode mesh", 10);
	crypto_generichash_update(&s, no_owner, 32);
	crypto_generichash_update(&s, (const uint8_t *)"public", 6);
	crypto_generichash_final(&s, r.mesh_id, 32);
	other = again(r);
	assert_int_equal(verify(&other), ERR_PROTO);
	assert_non_null(strstr(buf_str(&why), "owner"));
	r.worker_owner[0] ^= 1;
	other = again(r);
	assert_int_equal(verify(&other), ERR_PROTO);
	r.submitter_owner[0] ^= 1;
	other = again(r);
	assert_int_equal(verify(&other), OK);
}

static void test_credits_round_up(void **state)
{
	struct chain_head h = {0};
	struct buf b = {0};

	(void)state;
	assert_int_equal(next(&h, 1, 1).credit, 1);
	assert_int_equal(next(&h, 2, 4096).credit, 1);
	assert_int_equal(next(&h, 3, 4097).credit, 2);
	assert_int_equal(h.total, 4);
	assert_int_equal(next(&h, 4, UINT64_C(1) << 32).credit, CREDIT_PARTS);
	credit_str(CREDIT_PARTS + CREDIT_PARTS / 2, &b);
	assert_string_equal(buf_str(&b), "1.5");
	buf_clear(&b);
	credit_str(2, &b);
	assert_string_equal(buf_str(&b), "0.000001");
	buf_release(&b);
}

static void test_digests_are_counted_as_digests(void **state)
{
	struct chain_head h = {0};
	uint8_t t[12 + 32 + 24 + 1 + 32] = "job0123456ab";
	struct receipt r;

	(void)state;
	put_be64(t + 12 + 32, 5);
	put_be64(t + 12 + 40, 100);
	put_be64(t + 12 + 48, 356);
	make_of("digest", (struct bytes){t, sizeof(t)}, &r);
	assert_int_equal(receipt_sign(&r, &h, sub), OK);
	assert_int_equal(verify(&r), OK);
	assert_string_equal(r.unit, "digest");
	assert_int_equal(r.amount, 256);
	assert_int_equal(r.credit, 256);
	assert_int_equal(r.lease, 5);
}

static void test_packed_and_read_again_it_is_the_same(void **state)
{
	struct chain_head h = {0};
	struct receipt r = next(&h, 1, 5000), back;
	struct buf p = {0}, again = {0}, json = {0};

	(void)state;
	receipt_pack(&r, &p);
	assert_true(p.n <= RECEIPT_MAX);
	assert_int_equal(receipt_unpack(p.p, p.n, &mem, &back), OK);
	assert_int_equal(verify(&back), OK);
	receipt_pack(&back, &again);
	assert_int_equal(p.n, again.n);
	assert_memory_equal(p.p, again.p, p.n);
	/* And by way of JSON. */
	fields_to_json(&receipt_message, &r, &json);
	assert_int_equal(fields_from_json(&receipt_message, (char *)json.p,
					  json.n, &mem, &back, &why),
			 OK);
	assert_int_equal(verify(&back), OK);
	for (size_t n = 0; n < p.n; n++)
		assert_int_not_equal(receipt_unpack(p.p, n, &mem, &back), OK);
	buf_release(&p);
	buf_release(&again);
	buf_release(&json);
}

static void test_every_changed_byte_is_noticed(void **state)
{
	struct chain_head h = {0};
	struct receipt r = next(&h, 1, 5000), back;
	struct buf p = {0};

	(void)state;
	receipt_pack(&r, &p);
	for (size_t i = 0; i < p.n; i++) {
		struct arena a = {0};

		p.p[i] ^= 1;
		if (receipt_unpack(p.p, p.n, &a, &back) == OK)
			assert_int_not_equal(verify(&back), OK);
		p.p[i] ^= 1;
		arena_release(&a);
	}
	buf_release(&p);
}

#define ASSERT_FAULT(change, code, word) \
	do { \
		struct receipt r = good; \
		change; \
		r = again(r); \
		assert_int_equal(verify(&r), code); \
		assert_non_null(strstr(buf_str(&why), word)); \
	} while (0)

/* What a submitter may sign, and the worker did not. */
static void test_what_the_worker_did_not_sign_is_refused(void **state)
{
	struct chain_head h = {0};
	struct receipt good = next(&h, 9, 5000);

	(void)state;
	ASSERT_FAULT(r.lease++, ERR_PROTO, "lease");
	ASSERT_FAULT(r.amount--, ERR_PROTO, "amount");
	ASSERT_FAULT(r.credit--, ERR_PROTO, "credit");
	ASSERT_FAULT(r.job = "other", ERR_PROTO, "job");
	ASSERT_FAULT(r.unit = "digest", ERR_PROTO, "unit");
	ASSERT_FAULT(r.kind = "digest", ERR_PROTO, "text of a digest");
	ASSERT_FAULT(r.kind = "cooking", ERR_PROTO, "kind of work");
	ASSERT_FAULT(r.kind = NULL, ERR_PROTO, "kind of work");
	ASSERT_FAULT(r.input[3] ^= 1, ERR_PROTO, "input");
	ASSERT_FAULT(r.output[3] ^= 1, ERR_PROTO, "output");
	ASSERT_FAULT(r.answer_sig[3] ^= 1, ERR_DENIED, "answer_sig");
	ASSERT_FAULT(memcpy(r.worker, identity_id(sub)->b, 32), ERR_DENIED,
		     "answer_sig");
	ASSERT_FAULT(r.answer.n = 0, ERR_PROTO, "answer");
}

static void test_a_place_that_cannot_be_is_refused(void **state)
{
	struct chain_head h = {0};
	struct receipt good = next(&h, 9, 5000), r = good;

	(void)state;
	r.seq = 0;
	assert_int_equal(verify(&r), ERR_CRYPTO);
	struct chain_head from = {0, 5, {0}};
	assert_int_equal(receipt_sign(&r, &from, sub), OK);
	assert_int_equal(verify(&r), ERR_PROTO);
	assert_non_null(strstr(buf_str(&why), "total"));
	from = (struct chain_head){0, 0, {1}};
	assert_int_equal(receipt_sign(&r, &from, sub), OK);
	assert_int_equal(verify(&r), ERR_PROTO);
	assert_non_null(strstr(buf_str(&why), "prev"));
	from = (struct chain_head){1, UINT64_MAX, {1}};
	assert_int_equal(receipt_sign(&r, &from, sub), ERR_LIMIT);
	/* Nor what a database would take for a negative number. */
	from.total = INT64_MAX;
	assert_int_equal(receipt_sign(&r, &from, sub), ERR_LIMIT);
	from = (struct chain_head){INT64_MAX, 0, {1}};
	assert_int_equal(receipt_sign(&r, &from, sub), ERR_LIMIT);
	r = good;
	r.version = 2;
	assert_int_equal(verify(&r), ERR_PROTO);
	assert_non_null(strstr(buf_str(&why), "version"));
}

static void test_a_chain_is_followed(void **state)
{
	struct chain_head h = {0}, two, other, mine = {0};
	struct receipt r1 = next(&h, 1, 5000), r2 = next(&h, 2, 5000);

	(void)state;
	two = h;
	struct receipt r3 = next(&h, 3, 5000);
	assert_int_equal(chain_follow(&mine, &r2), CHAIN_GAP);
	assert_int_equal(chain_follow(&mine, &r1), CHAIN_NEXT);
	assert_int_equal(chain_follow(&mine, &r1), CHAIN_OLD);
	assert_int_equal(chain_follow(&mine, &r3), CHAIN_GAP);
	assert_int_equal(chain_follow(&mine, &r2), CHAIN_NEXT);
	/* Another number 3, and one that comes after it. */
	other = two;
	struct receipt f3 = next(&other, 33, 5000), f4 = next(&other, 4, 1);
	assert_int_equal(chain_follow(&mine, &r3), CHAIN_NEXT);
	assert_int_equal(chain_follow(&mine, &f3), CHAIN_FORK);
	assert_int_equal(chain_follow(&mine, &f4), CHAIN_FORK);
	/* The right hash, a wrong total. */
	two = mine;
	two.total--;
	make_of("search", search_text(&text, "j", 9, 0, 1), &r1);
	assert_int_equal(receipt_sign(&r1, &two, sub), OK);
	assert_int_equal(chain_follow(&mine, &r1), CHAIN_TOTAL);
	assert_int_equal(mine.seq, 3);
}

/* --- audits --- */

static void line(struct audit *a, const struct receipt *r)
{
	struct buf b = {0};

	fields_to_json(&receipt_message, r, &b);
	buf_u8(&b, '\n');
	audit_add(a, (char *)b.p, b.n);
	buf_release(&b);
}

static void head(struct audit *a, const struct identity *who)
{
	struct receipt_export x = {.export = RECEIPT_EXPORT};
	struct buf b = {0};

	memcpy(x.node, identity_id(who)->b, 32);
	memcpy(x.owner, identity_id(who)->b, 32);
	fields_to_json(&receipt_export_message, &x, &b);
	audit_add(a, (char *)b.p, b.n);
	buf_release(&b);
}

/* The verdict on two exports, of rows a and b of which the first na and nb. */
static bool audit(const struct receipt *a, size_t na, const struct receipt *b,
		  size_t nb)
{
	struct audit *au = audit_new();
	const struct audit_sum *s;

	buf_clear(&why);
	audit_begin(au, "a");
	head(au, sub);
	for (size_t i = na; i--;) /* the order is not said */
		line(au, &a[i]);
	if (b) {
		audit_begin(au, "b");
		head(au, work);
		audit_add(au, "\n", 1);
		for (size_t i = 0; i < nb; i++)
			line(au, &b[i]);
	}
	const bool equal = audit_end(au, &why);

	if (equal && b && na) {
		assert_int_equal(audit_sums(au, &s), 2);
		assert_int_equal(s[0].total, s[1].total);
		assert_int_equal(s[0].receipts, na);
	}
	assert_int_equal(equal, !why.n);
	buf_str(&why);
	audit_free(au);
	return equal;
}

static void test_an_audit_finds_the_first_difference(void **state)
{
	struct chain_head h = {0}, two;
	struct receipt r[5], f[5];

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		if (i == 2)
			two = h;
		r[i] = next(&h, i + 1, 5000);
	}
	memcpy(f, r, sizeof(f));
	assert_true(audit(r, 5, r, 5));
	assert_true(audit(r, 5, NULL, 0));
	assert_true(audit(r, 0, r, 0));
	/* One side has lost its beginning: its totals still tell. */
	assert_true(audit(r, 5, r + 2, 3));
	assert_false(audit(r, 5, r, 4));
	assert_non_null(strstr(buf_str(&why), "number 5"));
	assert_non_null(strstr(buf_str(&why), "number 4"));
	assert_false(audit(r, 5, r, 0));
	assert_non_null(strstr(buf_str(&why), "none in b"));
	/* A fork. */
	f[2] = next(&two, 30, 5000);
	f[3] = next(&two, 31, 5000);
	f[4] = next(&two, 32, 5000);
	assert_false(audit(r, 5, f, 5));
	assert_non_null(strstr(buf_str(&why), "number 3"));
	/* In one export. */
	struct receipt both[6];
	memcpy(both, r, sizeof(r));
	both[5] = f[2];
	assert_false(audit(both, 6, NULL, 0));
	assert_non_null(strstr(buf_str(&why), "two receipts number 3"));
	/* A hole. */
	both[2] = r[4];
	assert_false(audit(both, 4, NULL, 0));
	/* Paid twice. */
	two = h;
	both[5] = next(&two, 2, 5000);
	memcpy(both, r, sizeof(r));
	assert_false(audit(both, 6, NULL, 0));
	assert_non_null(strstr(buf_str(&why), "paid twice"));
	/* Tampered with. */
	memcpy(f, r, sizeof(f));
	f[1].amount++;
	assert_false(audit(r, 5, f, 5));
	assert_non_null(strstr(buf_str(&why), "b line"));
}

static void test_an_audit_survives_any_line(void **state)
{
	static const char *const bad[] = {"{",
					  "[]",
					  "{\"export\":2}",
					  "{\"export\":1,\"x\":1}",
					  "null",
					  "{\"version\":1}"};

	(void)state;
	for (size_t i = 0; i < HN_COUNT(bad); i++) {
		struct audit *a = audit_new();

		audit_begin(a, "a");
		audit_add(a, bad[i], strlen(bad[i]));
		buf_clear(&why);
		assert_false(audit_end(a, &why));
		assert_non_null(strstr(buf_str(&why), "a line 1"));
		audit_free(a);
	}
}

int main(void)
{
	static const uint8_t seed[2][32] = {{1}, {2}};
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_receipt_says_what_the_answer_says),
	    cmocka_unit_test(test_nobody_owes_in_anothers_name),
	    cmocka_unit_test(test_credits_round_up),
	    cmocka_unit_test(test_digests_are_counted_as_digests),
	    cmocka_unit_test(test_packed_and_read_again_it_is_the_same),
	    cmocka_unit_test(test_every_changed_byte_is_noticed),
	    cmocka_unit_test(test_what_the_worker_did_not_sign_is_refused),
	    cmocka_unit_test(test_a_place_that_cannot_be_is_refused),
	    cmocka_unit_test(test_a_chain_is_followed),
	    cmocka_unit_test(test_an_audit_finds_the_first_difference),
	    cmocka_unit_test(test_an_audit_survives_any_line),
	};

	if (sodium_init() < 0)
		return 1;
	sub = identity_from_seed(seed[0]);
	work = identity_from_seed(seed[1]);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	identity_free(sub);
	identity_free(work);
	arena_release(&mem);
	buf_release(&why);
	buf_release(&text);
	return failed;
}
