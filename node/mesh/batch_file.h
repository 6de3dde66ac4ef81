/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_BATCH_FILE_H
#define HN_MESH_BATCH_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/mem.h"

/*
 * The two files of a batch job. FILE is a list of inputs, a line each (without
 * its newline) or a record of fixed size each; it is cut into blocks of
 * consecutive inputs, and a block is found again by a sparse index, so that no
 * more of the file than one window is ever in memory. OUT takes a digest an
 * input, written by its position.
 *
 * Everything here blocks: the uv pool only. Sentences in why are complete.
 */
#define BATCH_BLOCK_BYTES \
	(64u << 10) /* of a block, unless one input has more */
#define BATCH_BLOCK_INPUTS 1024u
#define BATCH_BLOCKS_MAX UINT32_MAX
#define BATCH_INPUT_MAX (1u << 20)
#define BATCH_ROW_BLOCKS 4096u		     /* of one row of the index */
#define BATCH_ROW_MAX (BATCH_ROW_BLOCKS * 8) /* bytes of a packed row */

/* Where a block begins: at which byte, with which input. */
struct batch_mark {
	uint64_t offset, input;
};

/* Which file it is, and that it has not changed. */
struct batch_file_id {
	uint64_t dev, ino, size, mtime_ns;
};

/* How FILE is cut: lines when record is 0. */
struct batch_cut {
	uint64_t record;
	uint64_t inputs, blocks, size;
};
uint64_t batch_blocks_of_records(uint64_t record, uint64_t inputs);
/* With records no index is needed. */
struct batch_mark batch_record_mark(const struct batch_cut *c, uint64_t block);

/* ERR_INPUT: not there, not to be read by this node, no regular file. */
enum err batch_file_open(const char *path, int *fd, struct batch_file_id *id,
			 struct buf *why) HN_CHECK;
bool batch_file_same(int fd, const struct batch_file_id *id);

/* --- the index --- */

/* BATCH_ROW_BLOCKS blocks (fewer in the last one): a pair of LEB128 numbers
 * each, its bytes and its inputs. */
struct batch_row {
	struct batch_mark start;
	unsigned blocks;
	struct buf packed;
};
/* The marks of the row's block number `block` and of those behind it, at most
 * `want`; the last there is is that of the row's end. Returns how many: fewer
 * too where the bytes are no such row. */
size_t batch_row_marks(const void *packed, size_t n, struct batch_mark start,
		       unsigned block, size_t want, struct batch_mark *out);

/* One pass over a file of lines. */
struct batch_scan {
	int fd;
	uint64_t size, at, line; /* read so far; where the line began */
	uint64_t inputs, blocks;
	struct batch_mark block; /* under way */
	struct batch_row row;
	uint8_t *window;
};
void batch_scan_init(struct batch_scan *s, int fd, uint64_t size);
void batch_scan_release(struct batch_scan *s);
/* Reads some megabytes on. Appends the rows that became complete to rows
 * (the caller releases their bytes); *end: that was all. */
#define BATCH_STEP_ROWS 16
enum err batch_scan_step(struct batch_scan *s,
			 struct batch_row rows[static BATCH_STEP_ROWS],
			 size_t *n, bool *end, struct buf *why) HN_CHECK;

/* --- the inputs between two marks --- */

struct batch_piece {
	const uint8_t *p; /* in the reader's window */
	size_t n;
	bool more; /* the next piece goes on where this one ends */
};
struct batch_reader {
	int fd;
	uint64_t record;
	uint64_t at, end; /* what is still to be read of the file */
	uint64_t left;	  /* of a record under way */
	bool begun;	  /* an input has begun */
	struct buf window;
	size_t used;	 /* of the window */
	uint64_t inputs; /* complete ones cut off */
};
void batch_reader_init(struct batch_reader *r, int fd, uint64_t record,
		       struct batch_mark from, struct batch_mark to);
void batch_reader_release(struct batch_reader *r);
/* Is the window cut up and something left to read? */
bool batch_reader_dry(const struct batch_reader *r);
/* Reads the next window. ERR_IO. */
enum err batch_reader_fill(struct batch_reader *r, struct buf *why) HN_CHECK;
/* Cuts off pieces of at most `most` bytes each, `bytes` altogether; does not
 * block. Returns how many, 0: dry, or at the end. */
size_t batch_reader_cut(struct batch_reader *r, struct batch_piece *out,
			size_t max, size_t most, size_t bytes);
bool batch_reader_ended(const struct batch_reader *r);

/* Calls fn with each wanted input between the marks; wanted are ascending
 * numbers, 0 is the first one there. ERR_IO; ERR_INPUT: the file has
 * changed. */
enum err batch_inputs(int fd, uint64_t record, struct batch_mark from,
		      struct batch_mark to, const uint32_t *wanted, size_t n,
		      void (*fn)(void *arg, size_t i, const void *p, size_t n),
		      void *arg, struct buf *why) HN_CHECK;

/* --- OUT --- */

struct batch_sink {
	const char *path; /* what it shall be called */
	uint64_t key;	  /* of its name until then */
	bool hex;	  /* 65-byte lines; else 32 bytes a digest */
	bool force;	  /* may replace */
	uint64_t inputs;
	uint64_t dev, ino; /* set by batch_sink_create */
};
uint64_t batch_sink_size(const struct batch_sink *o);
/* Makes the temporary file, with all the room it needs. ERR_EXISTS: there is
 * one of that name; ERR_IO: no room, no rights. */
enum err batch_sink_create(struct batch_sink *o,
			   const struct batch_file_id *input,
			   struct buf *why) HN_CHECK;
/* Opens the one made before, under whichever of the two names. */
enum err batch_sink_open(const struct batch_sink *o, int *fd,
			 struct buf *why) HN_CHECK;
/* On the disk when it returns OK. */
enum err batch_sink_write(const struct batch_sink *o, int fd, uint64_t first,
			  const uint8_t (*digests)[32], size_t n,
			  struct buf *why) HN_CHECK;
/* Gives it its name; again does no harm. */
enum err batch_sink_finish(const struct batch_sink *o,
			   struct buf *why) HN_CHECK;
/* Removes the temporary file, if there is one. */
void batch_sink_discard(const struct batch_sink *o);

#endif
