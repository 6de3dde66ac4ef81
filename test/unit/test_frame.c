/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rpc/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A frame as bytes. */
static size_t put(uint8_t *out, enum frame_kind kind, unsigned flags,
		  uint32_t stream, const void *p, size_t n)
{
	frame_header(out, kind, flags, stream, n);
	if (n)
		memcpy(out + FRAME_HEADER, p, n);
	return FRAME_HEADER + n;
}

static void test_frames_in_a_row_come_out_in_order(void **state)
{
	uint8_t rec[256];
	struct frame f;
	bool known;

	(void)state;
	size_t n = put(rec, FRAME_DATA, FRAME_MORE, 7, "abc", 3);
	n += put(rec + n, FRAME_DATA_END, 0, 0x01020304, NULL, 0);
	struct reader r = reader_of(rec, n);

	assert_int_equal(frame_next(&r, &f, &known), OK);
	assert_true(known);
	assert_int_equal(f.kind, FRAME_DATA);
	assert_int_equal(f.flags, FRAME_MORE);
	assert_int_equal(f.stream, 7);
	assert_int_equal(f.payload.n, 3);
	assert_memory_equal(f.payload.p, "abc", 3);
	assert_int_equal(frame_next(&r, &f, &known), OK);
	assert_int_equal(f.kind, FRAME_DATA_END);
	assert_int_equal(f.stream, 0x01020304);
	assert_int_equal(f.payload.n, 0);
	assert_int_equal(reader_left(&r), 0);
}

static void test_header_bytes_are_those_of_the_protocol(void **state)
{
	static const uint8_t want[] = {2, 1, 0, 0, 1, 2, 0x30, 0x39};
	uint8_t got[FRAME_HEADER];

	(void)state;
	frame_header(got, FRAME_DATA, FRAME_MORE, 0x102, 12345);
	assert_memory_equal(got, want, sizeof(want));
}

static void test_every_cut_is_refused(void **state)
{
	uint8_t rec[64];
	struct frame f;
	bool known;

	(void)state;
	const size_t n = put(rec, FRAME_DATA, 0, 1, "0123456789", 10);
	for (size_t cut = 0; cut < n; cut++) {
		struct reader r = reader_of(rec, cut);
		assert_int_equal(frame_next(&r, &f, &known), ERR_PROTO);
	}
}

static void test_bad_frames_are_refused(void **state)
{
	static const struct {
		uint8_t bytes[9];
		size_t n;
	} bad[] = {
	    {{2, 0, 0, 0, 0, 0, 0, 1, 9}, 9},	 /* stream 0 */
	    {{2, 1, 0, 0, 0, 1, 0, 0}, 8},	 /* more of nothing */
	    {{3, 1, 0, 0, 0, 1, 0, 1, 9}, 9},	 /* cannot go on */
	    {{4, 1, 0, 0, 0, 1, 0, 1, 9}, 9},	 /* nor this */
	    {{2, 0, 0, 0, 0, 1, 0xff, 0xff}, 8}, /* too long */
	};
	struct frame f;
	bool known;

	(void)state;
	for (size_t i = 0; i < HN_COUNT(bad); i++) {
		struct reader r = reader_of(bad[i].bytes, bad[i].n);
		assert_int_equal(frame_next(&r, &f, &known), ERR_PROTO);
	}
}

static void test_payload_over_the_limit_is_refused(void **state)
{
	struct frame f;
	bool known;

	(void)state;
	uint8_t *rec = xcalloc(1, FRAME_HEADER + FRAME_PAYLOAD + 1);
	rec[0] = FRAME_DATA;
	rec[5] = 1;
	for (size_t n = FRAME_PAYLOAD; n <= FRAME_PAYLOAD + 1; n++) {
		rec[6] = (uint8_t)(n >> 8);
		rec[7] = (uint8_t)n;
		struct reader r = reader_of(rec, FRAME_HEADER + n);
		assert_int_equal(frame_next(&r, &f, &known),
				 n > FRAME_PAYLOAD ? ERR_PROTO : OK);
	}
	free(rec);
}

static void test_unknown_kinds_are_told_not_judged(void **state)
{
	static const uint8_t rec[] = {99, FRAME_SKIP, 0, 0, 0, 0, 0, 1, 5};
	struct reader r = reader_of(rec, sizeof(rec));
	struct frame f;
	bool known = true;

	(void)state;
	assert_int_equal(frame_next(&r, &f, &known), OK);
	assert_false(known);
	assert_int_equal(f.flags, FRAME_SKIP);
}

static void test_open_round_trip(void **state)
{
	struct frame_open o = {.name = "node.ping",
			       .version = 3,
			       .deadline_ms = 70000,
			       .credit = FRAME_WINDOW,
			       .body = {(const uint8_t *)"req", 3}};
	struct frame_open got;
	struct buf b = {0};

	(void)state;
	frame_open_pack(&o, &b);
	struct frame f = {.kind = FRAME_OPEN, .payload = {b.p, b.n}};
	assert_int_equal(frame_open_unpack(&f, &got), OK);
	assert_string_equal(got.name, "node.ping");
	assert_int_equal(got.version, 3);
	assert_int_equal(got.deadline_ms, 70000);
	assert_int_equal(got.credit, FRAME_WINDOW);
	assert_int_equal(got.body.n, 3);
	assert_memory_equal(got.body.p, "req", 3);
	for (size_t cut = 0; cut < b.n - 3; cut++) {
		f.payload.n = cut;
		assert_int_equal(frame_open_unpack(&f, &got), ERR_PROTO);
	}
	buf_release(&b);
}

static void test_open_of_the_future_keeps_its_body(void **state)
{
	const struct frame_open o = {.name = "x",
				     .body = {(const uint8_t *)"req", 3}};
	struct frame_open got;
	struct buf b = {0}, longer = {0};

	(void)state;
	frame_open_pack(&o, &b);
	const size_t head = b.p[0];
	buf_u8(&longer, (uint8_t)(head + 2));
	buf_add(&longer, b.p + 1, head);
	buf_add(&longer, "??", 2); /* a field we do not know */
	buf_add(&longer, "req", 3);
	const struct frame f = {.kind = FRAME_OPEN,
				.payload = {longer.p, longer.n}};
	assert_int_equal(frame_open_unpack(&f, &got), OK);
	assert_int_equal(got.body.n, 3);
	assert_memory_equal(got.body.p, "req", 3);
	buf_release(&b);
	buf_release(&longer);
}

static void test_names_are_printable(void **state)
{
	static const char *const bad[] = {"a b", "a\n", "\x7f", "\xc3\xa9"};
	struct frame_open got;

	(void)state;
	for (size_t i = 0; i < HN_COUNT(bad); i++) {
		struct frame_open o = {0};
		struct buf b = {0};
		memcpy(o.name, bad[i], strlen(bad[i]));
		frame_open_pack(&o, &b);
		const struct frame f = {.kind = FRAME_OPEN,
					.payload = {b.p, b.n}};
		assert_int_equal(frame_open_unpack(&f, &got), ERR_PROTO);
		buf_release(&b);
	}
}

static void test_end_round_trip(void **state)
{
	struct frame_end e = {.err = ERR_BUSY,
			      .text = "later, please",
			      .body = {(const uint8_t *)"rep", 3}};
	struct frame_end got;
	struct buf b = {0};

	(void)state;
	frame_end_pack(&e, &b);
	struct frame f = {.kind = FRAME_END, .payload = {b.p, b.n}};
	assert_int_equal(frame_end_unpack(&f, &got), OK);
	assert_int_equal(got.err, ERR_BUSY);
	assert_string_equal(got.text, "later, please");
	assert_int_equal(got.body.n, 3);
	for (size_t cut = 0; cut < b.n - 3; cut++) {
		f.payload.n = cut;
		assert_int_equal(frame_end_unpack(&f, &got), ERR_PROTO);
	}
	/* A code of the future. */
	b.p[1] = 0x7f;
	f.payload.n = b.n;
	assert_int_equal(frame_end_unpack(&f, &got), OK);
	assert_int_equal(got.err, ERR_INTERNAL);
	buf_release(&b);
}

static void test_text_is_cut_at_a_character(void **state)
{
	char in[2 * FRAME_TEXT_MAX], out[FRAME_TEXT_MAX + 1];

	(void)state;
	memset(in, 'a', sizeof(in));
	frame_text(out, in, sizeof(in));
	assert_int_equal(strlen(out), FRAME_TEXT_MAX);
	memcpy(in + FRAME_TEXT_MAX - 1, "\xc3\xa9", 2);
	frame_text(out, in, sizeof(in));
	assert_int_equal(strlen(out), FRAME_TEXT_MAX - 1);
	frame_text(out, "ok\xff more", 8);
	assert_string_equal(out, "ok");
	frame_text(out, NULL, 0);
	assert_string_equal(out, "");
}

static void test_credit_and_cancel(void **state)
{
	static const uint8_t p[] = {0, 5, 1, 2, 9};
	struct frame f = {.kind = FRAME_CREDIT, .payload = {p, 4}};
	uint32_t n = 0;
	enum err why = OK;

	(void)state;
	assert_int_equal(frame_credit_unpack(&f, &n), OK);
	assert_int_equal(n, 0x00050102);
	f.payload.n = 5; /* from the future */
	assert_int_equal(frame_credit_unpack(&f, &n), OK);
	f.payload.n = 3;
	assert_int_equal(frame_credit_unpack(&f, &n), ERR_PROTO);
	assert_int_equal(frame_cancel_unpack(&f, &why), OK);
	assert_int_equal(why, ERR_CANCELED);
	f.payload.n = 1;
	assert_int_equal(frame_cancel_unpack(&f, &why), ERR_PROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_frames_in_a_row_come_out_in_order),
	    cmocka_unit_test(test_header_bytes_are_those_of_the_protocol),
	    cmocka_unit_test(test_every_cut_is_refused),
	    cmocka_unit_test(test_bad_frames_are_refused),
	    cmocka_unit_test(test_payload_over_the_limit_is_refused),
	    cmocka_unit_test(test_unknown_kinds_are_told_not_judged),
	    cmocka_unit_test(test_open_round_trip),
	    cmocka_unit_test(test_open_of_the_future_keeps_its_body),
	    cmocka_unit_test(test_names_are_printable),
	    cmocka_unit_test(test_end_round_trip),
	    cmocka_unit_test(test_text_is_cut_at_a_character),
	    cmocka_unit_test(test_credit_and_cancel),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
