/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_BASE_FIELDS_H
#define HN_BASE_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/mem.h"

/*
 * One description per message (decision D9): a table of fields gives the wire
 * form (a msgpack array with fixed positions), bounded unpacking, the JSON
 * form, and the lists in the documents. Fields are only appended; a shorter
 * array leaves the missing tail at its zero value, unknown trailing fields
 * are skipped. Pure; any thread.
 *
 * A message is a plain struct; its table names the C members:
 *
 *	struct ping { uint64_t sent_ms; char *note; };
 *	static const struct field ping_fields[] = {
 *		FIELD_U64(struct ping, sent_ms, 0, "sender's clock, ms"),
 *		FIELD_STR(struct ping, note, 64, "any text"),
 *	};
 *	const struct message ping_message = MESSAGE("ping", struct ping,
 *		ping_fields);
 */
enum field_type {
	FIELD_T_BOOL,	   /* bool */
	FIELD_T_U64,	   /* uint64_t; limit = greatest value, 0 = any */
	FIELD_T_I64,	   /* int64_t */
	FIELD_T_F64,	   /* double, finite */
	FIELD_T_STR,	   /* char *, NULL travels as nil; limit = bytes */
	FIELD_T_BYTES,	   /* struct bytes; hex in JSON; limit = bytes */
	FIELD_T_FIXED,	   /* uint8_t[limit]; hex in JSON */
	FIELD_T_OPT_U64,   /* struct opt_u64; nil or null when not set */
	FIELD_T_OPT_FIXED, /* struct bytes of n 0 or limit; nil when 0 */
	FIELD_T_MSG,	   /* an embedded struct with a table of its own */
	FIELD_T_LIST,	   /* struct list of structs; limit = count */
	FIELD_T_STRS,	   /* struct strs; limit = count; each <= 256 bytes */
	FIELD_T_U32S,	   /* struct u32s, ascending; limit = count; packed as
			    * one bin of LEB128 differences (first value, then
			    * each minus the one before) */
};

#define STRS_MAX_TEXT 256 /* bytes of one text of a FIELD_T_STRS */

struct opt_u64 {
	bool set;
	uint64_t v;
};
struct list {
	void *items; /* array of n structs */
	size_t n;
};
struct strs {
	char **items;
	size_t n;
};
struct u32s {
	uint32_t *items;
	size_t n;
};

struct message;
struct field {
	const char *name;
	enum field_type type;
	size_t offset;
	size_t limit;
	const struct message *sub; /* MSG, LIST */
	const char *doc;
	unsigned since; /* method version that appended it; 0 = first */
};

struct message {
	const char *name;
	size_t size; /* sizeof the struct */
	const struct field *fields;
	size_t nfields;
};

#define MESSAGE(name_, struct_, fields_) \
	{ \
		name_, sizeof(struct_), fields_, \
		    sizeof(fields_) / sizeof((fields_)[0]) \
	}
#define FIELD_(type_, s, m, lim, sub_, doc_) \
	{ \
#m, type_, offsetof(s, m), lim, sub_, doc_, 0 \
	}
#define FIELD_BOOL(s, m, doc) FIELD_(FIELD_T_BOOL, s, m, 0, NULL, doc)
#define FIELD_U64(s, m, max, doc) FIELD_(FIELD_T_U64, s, m, max, NULL, doc)
#define FIELD_I64(s, m, doc) FIELD_(FIELD_T_I64, s, m, 0, NULL, doc)
#define FIELD_F64(s, m, doc) FIELD_(FIELD_T_F64, s, m, 0, NULL, doc)
#define FIELD_STR(s, m, max, doc) FIELD_(FIELD_T_STR, s, m, max, NULL, doc)
#define FIELD_BYTES(s, m, max, doc) FIELD_(FIELD_T_BYTES, s, m, max, NULL, doc)
#define FIELD_FIXED(s, m, doc) \
	FIELD_(FIELD_T_FIXED, s, m, sizeof(((s *)0)->m), NULL, doc)
#define FIELD_OPT_U64(s, m, doc) FIELD_(FIELD_T_OPT_U64, s, m, 0, NULL, doc)
#define FIELD_OPT_FIXED(s, m, n, doc) \
	FIELD_(FIELD_T_OPT_FIXED, s, m, n, NULL, doc)
#define FIELD_MSG(s, m, sub, doc) FIELD_(FIELD_T_MSG, s, m, 0, sub, doc)
#define FIELD_LIST(s, m, max, sub, doc) \
	FIELD_(FIELD_T_LIST, s, m, max, sub, doc)
#define FIELD_STRS(s, m, max, doc) FIELD_(FIELD_T_STRS, s, m, max, NULL, doc)
#define FIELD_U32S(s, m, max, doc) FIELD_(FIELD_T_U32S, s, m, max, NULL, doc)

/* The message without fields: an empty array, {}. */
extern const struct message message_empty;

/* Appends the wire form. Our own structs are trusted to keep the limits
 * (asserted) and to hold valid UTF-8. Lists of texts hold no NULL. */
void fields_pack(const struct message *m, const void *msg, struct buf *out);

/* Whether fields_pack may have it, for what a person wrote: lengths, numbers
 * and UTF-8. ERR_INPUT with a sentence that names the field. */
enum err fields_check(const struct message *m, const void *msg,
		      struct buf *why) HN_CHECK;

/*
 * Reads exactly one message from n bytes into *msg (zeroed first); variable
 * parts live in the arena and never point into the input. Text with a NUL
 * inside is refused. ERR_PROTO for a wrong shape or trailing bytes, ERR_LIMIT
 * beyond a limit; *msg is all zeros then.
 */
enum err fields_unpack(const struct message *m, const void *p, size_t n,
		       struct arena *a, void *msg) HN_CHECK;

/* A deep copy into the arena; `to` is zeroed first. */
void fields_copy(const struct message *m, const void *from, struct arena *a,
		 void *to);

/* JSON text of the message, appended; no newline. 64-bit integers are JSON
 * integers; from 2^63 on, which JSON readers round, digits in text. */
void fields_to_json(const struct message *m, const void *msg, struct buf *out);

/* From a JSON object. Missing keys leave zero. Unknown keys, wrong types and
 * values beyond a limit are ERR_INPUT with a sentence in why (may be NULL)
 * that names the field and what it takes; text beyond JSON_MAX_TEXT is
 * ERR_LIMIT. *msg is all zeros after a failure. */
enum err fields_from_json(const struct message *m, const char *text, size_t n,
			  struct arena *a, void *msg, struct buf *why) HN_CHECK;

/* A Markdown list of the fields (position, name, type, limit, meaning). */
void fields_doc(const struct message *m, struct buf *out);

#endif
