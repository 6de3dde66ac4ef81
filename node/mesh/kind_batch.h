/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_KIND_BATCH_H
#define HN_MESH_KIND_BATCH_H

#include "node/mesh/batch_file.h"
#include "node/mesh/terms.h"

/*
 * What `submit batch` asks for: digests of all inputs of a file, into another.
 * Request of job.batch, where the node fills in what it found out about the
 * files; and the spec of the job. Its numbers are the blocks of the file.
 */
#define BATCH_PATH_MAX 1024
struct batch_spec {
	char *file, *out; /* absolute */
	uint64_t rounds;  /* 1 SHA-256, 2 SHA-256d */
	uint64_t record;  /* bytes of an input; 0: lines */
	bool hex, force;
	/* found out */
	uint64_t inputs, blocks;
	uint64_t size, dev, ino, mtime_ns; /* of file */
	uint64_t key;			   /* of its index, and of out's name */
	uint64_t out_dev, out_ino;
	struct job_terms terms;
};
extern const struct message batch_spec_message;
/* Of a request: only what people say. ERR_INPUT with a sentence. */
enum err batch_request_check(const struct batch_spec *s,
			     struct buf *why) HN_CHECK;
/* The parts of it in batch_file.h's words; out borrows the path. */
struct batch_file_id batch_spec_id(const struct batch_spec *s);
struct batch_sink batch_spec_sink(const struct batch_spec *s);
struct batch_cut batch_spec_cut(const struct batch_spec *s);

#endif
