/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_RPC_RECORD_H
#define HN_RPC_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"

/*
 * Records (PROTOCOL 3): a length, and sealed in it a type and a body. On the
 * control socket the same in clear. Pure: bytes in, bytes out. Big-endian.
 */
struct noise_cipher;

enum record_type {
	RECORD_FRAMES = 0, /* 1 to SESSION_RECORD bytes */
	RECORD_PING = 1,   /* RECORD_TOKEN bytes */
	RECORD_PONG = 2,   /* the same bytes back */
	RECORD_REKEY = 3,  /* empty: what follows has the next key */
	RECORD_GOODBYE = 4 /* u16 error number, text */
};
#define RECORD_TOKEN 8
#define RECORD_TEXT 200 /* bytes of the goodbye's text */

/*
 * Reading. rx is borrowed; NULL: in clear. fn gets every record but REKEY,
 * which is done here; p may be changed by it and is valid for the call. A
 * result other than OK ends record_feed with it. After any failure the reader
 * is good for record_reader_release only.
 *
 * While held is set no record is given out: bytes that come are kept (the
 * caller stops reading soon), and record_resume goes on. fn may set it.
 */
typedef enum err (*record_fn)(void *arg, enum record_type type, uint8_t *p,
			      size_t n);
struct record_reader {
	struct noise_cipher *rx;
	struct buf part; /* of a record, or what came while held */
	bool held;
	bool busy; /* fn is being called: do not feed or resume */
	uint64_t rekeys;
};

enum err record_feed(struct record_reader *r, uint8_t *p, size_t n,
		     record_fn fn, void *arg) HN_CHECK;
enum err record_resume(struct record_reader *r, record_fn fn,
		       void *arg) HN_CHECK;
void record_reader_release(struct record_reader *r);

/* A goodbye's body; text is made printable. */
enum err record_goodbye(const uint8_t *p, size_t n, enum err *why,
			struct buf *text) HN_CHECK;

/*
 * Writing, to the end of a buffer that nobody else appends to while a record
 * is open. tx is borrowed; NULL: in clear.
 */
struct record_writer {
	struct noise_cipher *tx;
	bool open;
	size_t at;	/* of the open record in the buffer */
	uint64_t bytes; /* sealed since the last rekey */
};

/* Room for n more bytes of frames, n <= SESSION_RECORD, inside the open record
 * or a new one; good until the buffer is next touched. */
uint8_t *record_space(struct record_writer *w, struct buf *out, size_t n);
/* Whether n more bytes go into the record that is open. */
bool record_fits(const struct record_writer *w, const struct buf *out,
		 size_t n);
/* Ends and seals the open record, if there is one. */
void record_end(struct record_writer *w, struct buf *out);
/* One whole record; ends the open one first. */
void record_put(struct record_writer *w, struct buf *out, enum record_type type,
		const void *p, size_t n);
/* The marker, and the next key. Not in clear. */
void record_rekey(struct record_writer *w, struct buf *out);

#endif
