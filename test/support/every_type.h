/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_SUPPORT_EVERY_TYPE_H
#define HN_SUPPORT_EVERY_TYPE_H

#include "node/base/fields.h"

/* A message with a field of every type, for the tests and the fuzzer of the
 * field tables. One per program: the tables are static. */
struct every_part {
	char *name;
	uint64_t amount;
	struct strs tags;
};

struct every_type {
	bool flag;
	uint64_t any;
	uint64_t small;
	int64_t sign;
	double real;
	char *text;
	struct bytes blob;
	uint8_t id[4];
	struct opt_u64 maybe;
	struct bytes hash;
	struct every_part part;
	struct list parts;
	struct strs words;
	struct u32s nonces;
	struct list inner; /* of struct every_type: tables may nest in lists */
};

static const struct field every_part_fields[] = {
    FIELD_STR(struct every_part, name, 8, "name of the part"),
    FIELD_U64(struct every_part, amount, 0, "how much of it"),
    FIELD_STRS(struct every_part, tags, 2, "words about it"),
};
static const struct message every_part_message =
    MESSAGE("part", struct every_part, every_part_fields);

static const struct message every_type_message;
static const struct field every_type_fields[] = {
    FIELD_BOOL(struct every_type, flag, "a flag"),
    FIELD_U64(struct every_type, any, 0, "any number"),
    FIELD_U64(struct every_type, small, 100, "percent"),
    FIELD_I64(struct every_type, sign, "with a sign"),
    FIELD_F64(struct every_type, real, "a real | rational number"),
    FIELD_STR(struct every_type, text, 300, "some text"),
    FIELD_BYTES(struct every_type, blob, 300, "some bytes"),
    FIELD_FIXED(struct every_type, id, "four bytes"),
    FIELD_OPT_U64(struct every_type, maybe, "a number or nothing"),
    FIELD_OPT_FIXED(struct every_type, hash, 8, "eight bytes or nothing"),
    FIELD_MSG(struct every_type, part, &every_part_message, "one part"),
    FIELD_LIST(struct every_type, parts, 3, &every_part_message, "parts"),
    FIELD_STRS(struct every_type, words, 3, "words"),
    FIELD_U32S(struct every_type, nonces, 5, "ascending numbers"),
    FIELD_LIST(struct every_type, inner, 2, &every_type_message, "the same"),
};
static const struct message every_type_message =
    MESSAGE("every", struct every_type, every_type_fields);

#endif
