/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_RPC_FRAME_H
#define HN_RPC_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/mem.h"
#include "rpc/session.h"

/*
 * The envelope of calls and streams (PROTOCOL 6). A record is a row of frames:
 * kind u8, flags u8, stream u32, length u16 (big-endian), payload. Pure: bytes
 * in, bytes out; nothing is allocated but by the caller's buf; any thread.
 *
 * A message (the request with its head, one chunk, the end with its reply) is
 * the payload of one frame or of several frames of one kind on one stream, of
 * which all but the last carry FRAME_MORE. The head of OPEN and END stands
 * whole in the first frame.
 */
#define FRAME_HEADER 8u
/* A frame never spans records; 8 bytes stay free for the record's own use. */
#define FRAME_PAYLOAD (SESSION_RECORD - FRAME_HEADER - 8u)
#define FRAME_NAME_MAX 64u   /* a method's name */
#define FRAME_TEXT_MAX 200u  /* an error's sentence */
#define FRAME_WINDOW 262144u /* bytes of chunks a caller may send unasked */
/* The largest chunk any row may allow: what a window always has free again
 * once half of it was consumed. */
#define FRAME_CHUNK_MAX (FRAME_WINDOW / 2)

enum frame_kind {
	FRAME_OPEN = 1,	    /* caller: head and request */
	FRAME_DATA = 2,	    /* a chunk, either direction */
	FRAME_DATA_END = 3, /* caller: no more chunks */
	FRAME_CREDIT = 4,   /* u32: bytes the other side may send in addition */
	FRAME_END = 5,	    /* callee: head and reply */
	FRAME_CANCEL = 6,   /* caller: u16 reason; no END is wanted */
};

enum frame_flag {
	FRAME_MORE = 0x01, /* the message goes on in the next frame */
	FRAME_SKIP = 0x80, /* who does not know the kind skips the frame */
};

struct frame {
	uint8_t kind; /* any value */
	uint8_t flags;
	uint32_t stream;
	struct bytes payload; /* borrowed from the record */
};

/*
 * Takes the next frame off the record. ERR_PROTO: cut off, a payload over
 * FRAME_PAYLOAD, a known kind on stream 0, FRAME_MORE with nothing in it or on
 * a kind that cannot go on. *known is false for a kind this version does not
 * know: skip it if FRAME_SKIP is set, else close (ERR_PROTO is the caller's).
 */
enum err frame_next(struct reader *r, struct frame *f, bool *known) HN_CHECK;

/* Writes FRAME_HEADER bytes. n <= FRAME_PAYLOAD. */
void frame_header(uint8_t *out, enum frame_kind kind, unsigned flags,
		  uint32_t stream, size_t n);

/* The head of OPEN, with what follows it in the first frame. */
struct frame_open {
	char name[FRAME_NAME_MAX + 1]; /* printable ASCII, not empty */
	uint16_t version;
	uint32_t deadline_ms; /* from arrival; 0: none */
	uint32_t credit;      /* bytes of chunks the callee may send */
	struct bytes body;    /* the request or its beginning; borrowed */
};
/* Appends head and body. */
void frame_open_pack(const struct frame_open *o, struct buf *out);
enum err frame_open_unpack(const struct frame *f,
			   struct frame_open *o) HN_CHECK;

/* The head of END likewise. */
struct frame_end {
	enum err err; /* a number from the future reads as ERR_INTERNAL */
	char text[FRAME_TEXT_MAX + 1]; /* UTF-8, "" for none */
	struct bytes body; /* the reply or its beginning; borrowed */
};
void frame_end_pack(const struct frame_end *e, struct buf *out);
enum err frame_end_unpack(const struct frame *f, struct frame_end *e) HN_CHECK;

/* Payloads of fixed form; bytes after them are from the future, skipped. */
enum err frame_credit_unpack(const struct frame *f, uint32_t *bytes) HN_CHECK;
enum err frame_cancel_unpack(const struct frame *f, enum err *why) HN_CHECK;

/* Copies a sentence up to FRAME_TEXT_MAX bytes, NUL, or the first byte that is
 * no UTF-8. text may be NULL when n is 0. */
void frame_text(char out[static FRAME_TEXT_MAX + 1], const void *text,
		size_t n);

#endif
