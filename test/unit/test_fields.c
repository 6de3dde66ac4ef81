/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/fields.h"

#include "node/base/pack.h"
#include "test/support/every_type.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *words[] = {"one", "", "drei \xe2\x82\xac"};
static uint32_t nonces[] = {0, 1, 127, 255, UINT32_MAX};
static struct every_part parts[] = {
    {"first", 1, {words, 2}},
    {NULL, UINT64_MAX, {NULL, 0}},
};
static struct every_type within = {.text = "within", .id = {9, 9, 9, 9}};

static struct every_type sample(void)
{
	return (struct every_type){
	    .flag = true,
	    .any = UINT64_MAX,
	    .small = 100,
	    .sign = INT64_MIN,
	    .real = 0.1,
	    .text = "a \"text\"",
	    .blob = {(const uint8_t *)"\0\1\2\377", 4},
	    .id = {1, 2, 3, 4},
	    .maybe = {true, 0},
	    .hash = {(const uint8_t *)"\1\2\3\4\5\6\7\10", 8},
	    .part = {"part", 77, {words, 1}},
	    .parts = {parts, 2},
	    .words = {words, 3},
	    .nonces = {nonces, 5},
	    .inner = {&within, 1},
	};
}

static void assert_bufs_equal(const struct buf *a, const struct buf *b)
{
	assert_int_equal(a->n, b->n);
	assert_memory_equal(a->p, b->p, a->n);
}

static void assert_is_sample(const struct every_type *m)
{
	const struct every_part *p = m->parts.items;
	const struct every_type *in = m->inner.items;

	assert_true(m->flag);
	assert_true(m->any == UINT64_MAX);
	assert_int_equal(m->small, 100);
	assert_true(m->sign == INT64_MIN);
	assert_true(m->real == 0.1);
	assert_string_equal(m->text, "a \"text\"");
	assert_int_equal(m->blob.n, 4);
	assert_memory_equal(m->blob.p, "\0\1\2\377", 4);
	assert_memory_equal(m->id, "\1\2\3\4", 4);
	assert_true(m->maybe.set && m->maybe.v == 0);
	assert_int_equal(m->hash.n, 8);
	assert_memory_equal(m->hash.p, "\1\2\3\4\5\6\7\10", 8);
	assert_string_equal(m->part.name, "part");
	assert_int_equal(m->part.amount, 77);
	assert_int_equal(m->parts.n, 2);
	assert_string_equal(p[0].tags.items[0], "one");
	assert_string_equal(p[0].tags.items[1], "");
	assert_null(p[1].name);
	assert_true(p[1].amount == UINT64_MAX);
	assert_int_equal(p[1].tags.n, 0);
	assert_int_equal(m->words.n, 3);
	assert_string_equal(m->words.items[2], words[2]);
	assert_int_equal(m->nonces.n, 5);
	assert_memory_equal(m->nonces.items, nonces, sizeof(nonces));
	assert_int_equal(m->inner.n, 1);
	assert_string_equal(in->text, "within");
	assert_memory_equal(in->id, "\x9\x9\x9\x9", 4);
}

/* The wire form of the sample, each time anew. */
static struct buf sample_wire(void)
{
	const struct every_type m = sample();
	struct buf b = {0};
	fields_pack(&every_type_message, &m, &b);
	return b;
}

static void assert_zero(const struct every_type *m)
{
	static const struct every_type zero;
	assert_memory_equal(m, &zero, sizeof(zero));
}

static void test_every_type_round_trips(void **state)
{
	(void)state;
	struct buf wire = sample_wire(), again = {0};
	struct arena a = {0};
	struct every_type m;

	assert_int_equal(
	    fields_unpack(&every_type_message, wire.p, wire.n, &a, &m), OK);
	/* Nothing points into the input. */
	struct buf kept = {0};
	buf_add(&kept, wire.p, wire.n);
	memset(wire.p, 0xee, wire.n);
	assert_is_sample(&m);
	fields_pack(&every_type_message, &m, &again);
	assert_bufs_equal(&kept, &again);
	arena_release(&a);
	buf_release(&wire);
	buf_release(&again);
	buf_release(&kept);
}

static void test_copy_is_deep(void **state)
{
	(void)state;
	struct buf wire = sample_wire();
	struct arena a = {0}, b = {0};
	struct every_type m, copy;

	assert_int_equal(
	    fields_unpack(&every_type_message, wire.p, wire.n, &a, &m), OK);
	memset(&copy, 0xee, sizeof(copy));
	fields_copy(&every_type_message, &m, &b, &copy);
	arena_release(&a);
	assert_is_sample(&copy);
	arena_release(&b);
	buf_release(&wire);
}

static void test_zero_round_trips(void **state)
{
	(void)state;
	const struct every_type zero = {0};
	struct every_type m;
	struct buf wire = {0};
	struct arena a = {0};

	fields_pack(&every_type_message, &zero, &wire);
	memset(&m, 0xee, sizeof(m));
	assert_int_equal(
	    fields_unpack(&every_type_message, wire.p, wire.n, &a, &m), OK);
	assert_zero(&m);
	arena_release(&a);
	buf_release(&wire);
}

static void test_shorter_array_leaves_zeros(void **state)
{
	(void)state;
	const size_t nfields = every_type_message.nfields;
	const struct every_type from = sample();

	for (size_t n = 0; n <= nfields; n++) {
		struct message old = every_type_message;
		struct buf wire = {0}, again = {0};
		struct arena a = {0};
		struct every_type m;

		old.nfields = n;
		fields_pack(&old, &from, &wire);
		assert_int_equal(
		    fields_unpack(&every_type_message, wire.p, wire.n, &a, &m),
		    OK);
		fields_pack(&old, &m, &again);
		assert_bufs_equal(&wire, &again);
		assert_int_equal(m.flag, n > 0);
		assert_int_equal(m.inner.n, n == nfields);
		arena_release(&a);
		buf_release(&wire);
		buf_release(&again);
	}
}

static void test_unknown_trailing_fields_are_skipped(void **state)
{
	(void)state;
	struct buf wire = sample_wire();
	struct arena a = {0};
	struct every_type m;

	/* 15 fields are a fixarray; three more need the wide form. */
	struct buf more = {0};
	assert_int_equal(wire.p[0], 0x9f);
	buf_add(&more, "\xdc\x00\x12", 3);
	buf_add(&more, wire.p + 1, wire.n - 1);
	buf_add(&more, "\x82\x01\xa1x\x02\x91\xc0", 7); /* a map */
	buf_add(&more, "\xd6\x01xxxx", 6);		/* an extension */
	pack_str(&more, "later", 5);
	assert_int_equal(
	    fields_unpack(&every_type_message, more.p, more.n, &a, &m), OK);
	assert_is_sample(&m);
	arena_release(&a);

	buf_u8(&more, 0xc0); /* after the message: not skipped */
	assert_int_equal(
	    fields_unpack(&every_type_message, more.p, more.n, &a, &m),
	    ERR_PROTO);
	assert_zero(&m);
	arena_release(&a);
	buf_release(&more);
	buf_release(&wire);
}

static void test_every_truncation_fails(void **state)
{
	(void)state;
	struct buf wire = sample_wire();
	for (size_t n = 0; n < wire.n; n++) {
		/* In a block of its own, so that checkers see overreads. */
		uint8_t *cut = xmemdup(wire.p, n);
		struct arena a = {0};
		struct every_type m;
		assert_int_equal(
		    fields_unpack(&every_type_message, cut, n, &a, &m),
		    ERR_PROTO);
		assert_zero(&m);
		arena_release(&a);
		free(cut);
	}
	buf_release(&wire);
}

/* Reads a message whose field `name` is the value in `wire`, the fields
 * before it being those of an empty message. */
static enum err unpack_field(const char *name, const struct buf *value)
{
	const struct every_type zero = {0};
	struct message head = every_type_message;
	struct every_type m;
	struct arena a = {0};
	struct buf wire = {0}, before = {0};

	head.nfields = 0;
	while (strcmp(every_type_fields[head.nfields].name, name))
		head.nfields++;
	fields_pack(&head, &zero, &before);
	pack_array(&wire, head.nfields + 1);
	buf_add(&wire, before.p + 1, before.n - 1);
	buf_add(&wire, value->p, value->n);
	const enum err e =
	    fields_unpack(&every_type_message, wire.p, wire.n, &a, &m);
	arena_release(&a);
	buf_release(&wire);
	buf_release(&before);
	return e;
}

static enum err unpack_raw(const char *name, const char *p, size_t n)
{
	struct buf value = {0};
	buf_add(&value, p, n);
	const enum err e = unpack_field(name, &value);
	buf_release(&value);
	return e;
}

#define RAW(name, literal) unpack_raw(name, literal, sizeof(literal) - 1)

static enum err unpack_text(const char *name, size_t n, bool bin)
{
	struct buf value = {0};
	char *text = xcalloc(1, n);
	memset(text, 'x', n);
	if (bin)
		pack_bin(&value, text, n);
	else
		pack_str(&value, text, n);
	const enum err e = unpack_field(name, &value);
	free(text);
	buf_release(&value);
	return e;
}

static enum err unpack_list(const char *name, size_t n, const char *each,
			    size_t size)
{
	struct buf value = {0};
	pack_array(&value, n);
	for (size_t i = 0; i < n; i++)
		buf_add(&value, each, size);
	const enum err e = unpack_field(name, &value);
	buf_release(&value);
	return e;
}

static void test_limits_hold_at_and_over(void **state)
{
	(void)state;
	assert_int_equal(RAW("small", "\x64"), OK);
	assert_int_equal(RAW("small", "\x65"), ERR_LIMIT);
	assert_int_equal(unpack_text("text", 300, false), OK);
	assert_int_equal(unpack_text("text", 301, false), ERR_LIMIT);
	assert_int_equal(unpack_text("blob", 300, true), OK);
	assert_int_equal(unpack_text("blob", 301, true), ERR_LIMIT);
	assert_int_equal(unpack_list("parts", 3, "\x90", 1), OK);
	assert_int_equal(unpack_list("parts", 4, "\x90", 1), ERR_LIMIT);
	assert_int_equal(unpack_list("words", 3, "\xa1w", 2), OK);
	assert_int_equal(unpack_list("words", 4, "\xa1w", 2), ERR_LIMIT);
	assert_int_equal(RAW("nonces", "\xc4\x05\x01\x01\x01\x01\x01"), OK);
	assert_int_equal(RAW("nonces", "\xc4\x06\x01\x01\x01\x01\x01\x01"),
			 ERR_LIMIT);
	/* Inside a nested message and inside a list. */
	assert_int_equal(RAW("part", "\x91\xa8xxxxxxxx"), OK);
	assert_int_equal(RAW("part", "\x91\xa9xxxxxxxxx"), ERR_LIMIT);
	assert_int_equal(RAW("parts", "\x91\x91\xa9xxxxxxxxx"), ERR_LIMIT);
}

static void test_texts_of_a_list_have_a_limit(void **state)
{
	(void)state;
	for (size_t n = STRS_MAX_TEXT; n <= STRS_MAX_TEXT + 1; n++) {
		struct buf value = {0};
		char text[STRS_MAX_TEXT + 1];
		memset(text, 'x', sizeof(text));
		pack_array(&value, 1);
		pack_str(&value, text, n);
		assert_int_equal(unpack_field("words", &value),
				 n > STRS_MAX_TEXT ? ERR_LIMIT : OK);
		buf_release(&value);
	}
}

static void test_exact_sizes(void **state)
{
	(void)state;
	assert_int_equal(unpack_text("id", 3, true), ERR_PROTO);
	assert_int_equal(unpack_text("id", 4, true), OK);
	assert_int_equal(unpack_text("id", 5, true), ERR_PROTO);
	assert_int_equal(RAW("id", "\xc0"), ERR_PROTO);
	assert_int_equal(unpack_text("hash", 0, true), ERR_PROTO);
	assert_int_equal(unpack_text("hash", 7, true), ERR_PROTO);
	assert_int_equal(unpack_text("hash", 8, true), OK);
	assert_int_equal(unpack_text("hash", 9, true), ERR_PROTO);
	assert_int_equal(RAW("hash", "\xc0"), OK);
}

static void test_wrong_types_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < every_type_message.nfields; i++) {
		const char *name = every_type_fields[i].name;
		assert_int_equal(RAW(name, "\x80"), ERR_PROTO); /* a map */
		assert_int_equal(RAW(name, "\xc1"), ERR_PROTO);
		assert_int_equal(RAW(name, ""), ERR_PROTO);
	}
	assert_int_equal(RAW("flag", "\x01"), ERR_PROTO);
	assert_int_equal(RAW("any", "\xff"), ERR_PROTO);
	assert_int_equal(RAW("any", "\xc0"), ERR_PROTO);
	assert_int_equal(RAW("maybe", "\xff"), ERR_PROTO);
	assert_int_equal(RAW("sign", "\xcf\x80\0\0\0\0\0\0\0"), ERR_PROTO);
	assert_int_equal(RAW("text", "\xc4\x01x"), ERR_PROTO);
	assert_int_equal(RAW("text", "\xa1\xff"), ERR_PROTO);
	assert_int_equal(RAW("text", "\xa3x\0y"), ERR_PROTO);
	assert_int_equal(RAW("blob", "\xa1x"), ERR_PROTO);
	assert_int_equal(RAW("part", "\xc0"), ERR_PROTO);
	assert_int_equal(RAW("words", "\x91\xc0"), ERR_PROTO);
	/* NaN and infinity */
	assert_int_equal(RAW("real", "\xca\x7f\xc0\0\0"), ERR_PROTO);
	assert_int_equal(RAW("real", "\xca\x7f\x80\0\0"), ERR_PROTO);
	assert_int_equal(RAW("real", "\x05"), OK);
	/* A count beyond the input asks for no memory. */
	assert_int_equal(RAW("parts", "\xdd\xff\xff\xff\xff"), ERR_PROTO);
}

static void test_ascending_numbers_are_checked(void **state)
{
	(void)state;
	assert_int_equal(RAW("nonces", "\xc4\0"), OK);
	assert_int_equal(RAW("nonces", "\xc4\x01\0"), OK);
	assert_int_equal(RAW("nonces", "\xc4\x02\x05\0"), ERR_PROTO);
	/* 2^32 - 1 and one more, as one number and as a sum */
	assert_int_equal(RAW("nonces", "\xc4\x05\xff\xff\xff\xff\x0f"), OK);
	assert_int_equal(RAW("nonces", "\xc4\x05\x80\x80\x80\x80\x10"),
			 ERR_PROTO);
	assert_int_equal(RAW("nonces", "\xc4\x06\xff\xff\xff\xff\x0f\x01"),
			 ERR_PROTO);
	/* cut, too long, not the shortest form */
	assert_int_equal(RAW("nonces", "\xc4\x01\x80"), ERR_PROTO);
	assert_int_equal(RAW("nonces", "\xc4\x02\x01\x80"), ERR_PROTO);
	assert_int_equal(RAW("nonces", "\xc4\x06\x81\x80\x80\x80\x80\x01"),
			 ERR_PROTO);
	assert_int_equal(RAW("nonces", "\xc4\x02\x81\0"), ERR_PROTO);
	assert_int_equal(unpack_text("nonces", 26, true), ERR_LIMIT);
}

/* `depth` messages inside each other; each is the one item of the last field
 * of the one around it. */
static enum err unpack_nested(size_t depth)
{
	const struct every_type zero = {0};
	struct message head = every_type_message;
	struct buf wire = {0}, before = {0};
	struct every_type m;
	struct arena a = {0};

	head.nfields--;
	fields_pack(&head, &zero, &before);
	for (size_t i = 1; i < depth; i++) {
		pack_array(&wire, every_type_message.nfields);
		buf_add(&wire, before.p + 1, before.n - 1);
		pack_array(&wire, 1);
	}
	pack_array(&wire, 0);
	const enum err e =
	    fields_unpack(&every_type_message, wire.p, wire.n, &a, &m);
	if (!e) {
		/* What could be read can be written, in both forms. */
		struct buf again = {0}, text = {0}, why = {0};
		fields_pack(&every_type_message, &m, &again);
		fields_to_json(&every_type_message, &m, &text);
		assert_int_equal(fields_from_json(&every_type_message,
						  buf_str(&text), text.n, &a,
						  &m, &why),
				 OK);
		buf_release(&again);
		buf_release(&text);
		buf_release(&why);
	}
	arena_release(&a);
	buf_release(&wire);
	buf_release(&before);
	return e;
}

static void test_depth_is_bounded(void **state)
{
	(void)state;
	/* A message and the list in it count one each. */
	assert_int_equal(unpack_nested(PACK_DEPTH / 2), OK);
	assert_int_equal(unpack_nested(PACK_DEPTH / 2 + 1), ERR_LIMIT);
	assert_int_equal(unpack_nested(5000), ERR_LIMIT);
}

static void test_empty_message(void **state)
{
	(void)state;
	struct buf b = {0};
	struct arena a = {0};
	fields_pack(&message_empty, NULL, &b);
	assert_int_equal(b.n, 1);
	assert_int_equal(fields_unpack(&message_empty, b.p, b.n, &a, NULL), OK);
	assert_int_equal(fields_unpack(&message_empty, "\x91\x05", 2, &a, NULL),
			 OK);
	assert_int_equal(fields_unpack(&message_empty, "", 0, &a, NULL),
			 ERR_PROTO);
	buf_clear(&b);
	fields_to_json(&message_empty, NULL, &b);
	assert_string_equal(buf_str(&b), "{}");
	assert_int_equal(
	    fields_from_json(&message_empty, "{}", 2, &a, NULL, &b), OK);
	buf_release(&b);
	arena_release(&a);
}

/* JSON */

static const char sample_json[] =
    "{\"flag\":true,\"any\":\"18446744073709551615\",\"small\":100,"
    "\"sign\":-9223372036854775808,\"real\":0.1,"
    "\"text\":\"a \\\"text\\\"\",\"blob\":\"000102ff\","
    "\"id\":\"01020304\",\"maybe\":0,\"hash\":\"0102030405060708\","
    "\"part\":{\"name\":\"part\",\"amount\":77,\"tags\":[\"one\"]},"
    "\"parts\":[{\"name\":\"first\",\"amount\":1,\"tags\":[\"one\",\"\"]},"
    "{\"name\":null,\"amount\":\"18446744073709551615\",\"tags\":[]}],"
    "\"words\":[\"one\",\"\",\"drei \xe2\x82\xac\"],"
    "\"nonces\":[0,1,127,255,4294967295],"
    "\"inner\":[{\"flag\":false,\"any\":0,\"small\":0,\"sign\":0,"
    "\"real\":0.0,\"text\":\"within\",\"blob\":\"\",\"id\":\"09090909\","
    "\"maybe\":null,\"hash\":null,"
    "\"part\":{\"name\":null,\"amount\":0,\"tags\":[]},\"parts\":[],"
    "\"words\":[],\"nonces\":[],\"inner\":[]}]}";

static void test_json_of_every_type(void **state)
{
	(void)state;
	const struct every_type m = sample();
	struct buf text = {0};
	fields_to_json(&every_type_message, &m, &text);
	assert_string_equal(buf_str(&text), sample_json);
	buf_release(&text);
}

static void test_json_reads_every_type(void **state)
{
	(void)state;
	struct buf why = {0};
	struct arena a = {0};
	struct every_type m;
	assert_int_equal(fields_from_json(&every_type_message, sample_json,
					  strlen(sample_json), &a, &m, &why),
			 OK);
	assert_int_equal(why.n, 0);
	assert_is_sample(&m);
	arena_release(&a);
	buf_release(&why);
}

static void test_json_missing_keys_are_zero(void **state)
{
	(void)state;
	struct buf why = {0};
	struct arena a = {0};
	struct every_type m;
	memset(&m, 0xee, sizeof(m));
	assert_int_equal(
	    fields_from_json(&every_type_message, "{}", 2, &a, &m, &why), OK);
	assert_zero(&m);
	arena_release(&a);
	buf_release(&why);
}

static const struct {
	const char *json, *why;
} refused[] = {
    {"{\"flag\":1}", "flag: expected true or false"},
    {"{\"any\":-1}", "any: expected a whole number, 0 or more"},
    {"{\"any\":1.5}", "any: expected a whole number, 0 or more"},
    {"{\"any\":\"12x\"}", "any: expected a whole number, 0 or more"},
    {"{\"any\":\"\"}", "any: expected a whole number, 0 or more"},
    {"{\"any\":\"18446744073709551616\"}",
     "any: expected a whole number, 0 or more"},
    {"{\"small\":101}", "small: expected a whole number from 0 to 100"},
    {"{\"small\":\"101\"}", "small: expected a whole number from 0 to 100"},
    {"{\"sign\":\"1\"}", "sign: expected a whole number"},
    {"{\"real\":\"1\"}", "real: expected a number"},
    {"{\"text\":5}", "text: expected text of at most 300 bytes"},
    {"{\"blob\":\"0\"}", "blob: expected hex digits of at most 300 bytes"},
    {"{\"blob\":\"zz\"}", "blob: expected hex digits of at most 300 bytes"},
    {"{\"blob\":null}", "blob: expected hex digits of at most 300 bytes"},
    {"{\"id\":\"0102\"}", "id: expected exactly 8 hex digits"},
    {"{\"id\":\"0102030405\"}", "id: expected exactly 8 hex digits"},
    {"{\"maybe\":-1}", "maybe: expected a whole number, 0 or more, or null"},
    {"{\"hash\":\"\"}", "hash: expected exactly 16 hex digits or null"},
    {"{\"part\":[]}", "part: expected an object, such as {}"},
    {"{\"part\":{\"name\":\"123456789\"}}",
     "part.name: expected text of at most 8 bytes"},
    {"{\"parts\":{}}", "parts: expected an array of at most 3 objects"},
    {"{\"parts\":[{},{},{},{}]}",
     "parts: expected an array of at most 3 objects"},
    {"{\"parts\":[{},{\"amount\":true}]}",
     "parts[1].amount: expected a whole number, 0 or more"},
    {"{\"parts\":[{},7]}", "parts[1]: expected an object, such as {}"},
    {"{\"words\":[\"x\",7]}",
     "words: expected an array of at most 3 texts of at most 256 bytes"},
    {"{\"words\":[\"\",\"\",\"\",\"\"]}",
     "words: expected an array of at most 3 texts of at most 256 bytes"},
    {"{\"nonces\":[5,5]}",
     "nonces: expected an array of at most 5 ascending whole numbers below "
     "2^32"},
    {"{\"nonces\":[4294967296]}",
     "nonces: expected an array of at most 5 ascending whole numbers below "
     "2^32"},
    {"{\"part\":{\"nmae\":\"x\"}}",
     "part: unknown field \"nmae\"; it takes name, amount, tags"},
    {"[]", "expected an object, such as {}"},
    {"7", "expected an object, such as {}"},
};

static void test_json_refusals_name_the_field(void **state)
{
	(void)state;
	for (size_t i = 0; i < HN_COUNT(refused); i++) {
		struct buf why = {0};
		struct arena a = {0};
		struct every_type m;
		const char *json = refused[i].json;
		assert_int_equal(fields_from_json(&every_type_message, json,
						  strlen(json), &a, &m, &why),
				 ERR_INPUT);
		assert_string_equal(buf_str(&why), refused[i].why);
		assert_zero(&m);
		assert_int_equal(fields_from_json(&every_type_message, json,
						  strlen(json), &a, &m, NULL),
				 ERR_INPUT);
		arena_release(&a);
		buf_release(&why);
	}
}

static void test_json_that_is_none(void **state)
{
	(void)state;
	struct buf why = {0};
	struct arena a = {0};
	struct every_type m;
	assert_int_equal(fields_from_json(&every_type_message, "{\"flag\":", 8,
					  &a, &m, &why),
			 ERR_INPUT);
	assert_true(why.n > 0);
	arena_release(&a);
	buf_release(&why);
}

static void test_doc_is_a_table(void **state)
{
	(void)state;
	struct buf doc = {0};
	fields_doc(&every_part_message, &doc);
	assert_string_equal(
	    buf_str(&doc),
	    "| # | name | type | limit | meaning |\n"
	    "|---|---|---|---|---|\n"
	    "| 0 | `name` | text or nil | 8 bytes | name of the part |\n"
	    "| 1 | `amount` | uint | 64 bits | how much of it |\n"
	    "| 2 | `tags` | list of text | 2 items of 256 bytes | words about "
	    "it |\n");
	buf_clear(&doc);
	fields_doc(&every_type_message, &doc);
	assert_non_null(strstr(buf_str(&doc), "a real \\| rational number"));
	assert_non_null(strstr(buf_str(&doc), "list of `part` | 3 items"));
	buf_release(&doc);
}

static void unfit(const struct every_type *v, const char *name)
{
	struct buf why = {0};

	assert_int_equal(fields_check(&every_type_message, v, &why), ERR_INPUT);
	assert_non_null(strstr(buf_str(&why), name));
	buf_release(&why);
}

static void test_check_names_what_does_not_fit(void **state)
{
	char text[302];
	char *four[] = {(char *)"a", (char *)"b", (char *)"c", (char *)"d"};
	struct every_type v = {.small = 100, .text = text};
	struct every_type inner = {.small = 101};
	struct buf why = {0};

	(void)state;
	memset(text, 'x', sizeof(text));
	text[300] = '\0';
	assert_int_equal(fields_check(&every_type_message, &v, &why), OK);
	assert_int_equal(why.n, 0);
	text[300] = 'x';
	text[301] = '\0';
	unfit(&v, "text");
	memcpy(text, "\xff", 2);
	unfit(&v, "text");
	v.text = NULL;
	v.words = (struct strs){four, 4};
	unfit(&v, "words");
	v.words.n = 3;
	v.part.name = (char *)"too long a name";
	unfit(&v, "name");
	v.part.name = NULL;
	v.inner = (struct list){&inner, 1};
	unfit(&v, "small");
	inner.small = 1;
	assert_int_equal(fields_check(&every_type_message, &v, &why), OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_check_names_what_does_not_fit),
	    cmocka_unit_test(test_every_type_round_trips),
	    cmocka_unit_test(test_copy_is_deep),
	    cmocka_unit_test(test_zero_round_trips),
	    cmocka_unit_test(test_shorter_array_leaves_zeros),
	    cmocka_unit_test(test_unknown_trailing_fields_are_skipped),
	    cmocka_unit_test(test_every_truncation_fails),
	    cmocka_unit_test(test_limits_hold_at_and_over),
	    cmocka_unit_test(test_texts_of_a_list_have_a_limit),
	    cmocka_unit_test(test_exact_sizes),
	    cmocka_unit_test(test_wrong_types_are_refused),
	    cmocka_unit_test(test_ascending_numbers_are_checked),
	    cmocka_unit_test(test_depth_is_bounded),
	    cmocka_unit_test(test_empty_message),
	    cmocka_unit_test(test_json_of_every_type),
	    cmocka_unit_test(test_json_reads_every_type),
	    cmocka_unit_test(test_json_missing_keys_are_zero),
	    cmocka_unit_test(test_json_refusals_name_the_field),
	    cmocka_unit_test(test_json_that_is_none),
	    cmocka_unit_test(test_doc_is_a_table),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
