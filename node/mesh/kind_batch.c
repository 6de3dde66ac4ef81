/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Digests of a file's inputs. Its space are the blocks of the file
 * (batch_file.h); its answers carry no shares, service_digest.c checks them.
 */
#include "node/mesh/kind_batch.h"

#include "node/mesh/job.h"
#include "node/mesh/kind.h"

#include <string.h>

/* A second's work of a slow worker; and what an answer may weigh: 128 blocks
 * are at most 4 MiB of digests. */
#define FIRST_BLOCKS 64
#define UNIT_BLOCKS 128

static const struct field batch_spec_fields[] = {
    FIELD_STR(struct batch_spec, file, BATCH_PATH_MAX,
	      "the inputs; the node reads it, absolute"),
    FIELD_STR(struct batch_spec, out, BATCH_PATH_MAX,
	      "where the digests go, absolute"),
    FIELD_U64(struct batch_spec, rounds, 2, "1 SHA-256, 2 SHA-256d"),
    FIELD_U64(struct batch_spec, record, BATCH_INPUT_MAX,
	      "bytes of each input; 0: an input a line"),
    FIELD_BOOL(struct batch_spec, hex, "digests as lines of hex"),
    FIELD_BOOL(struct batch_spec, force, "out may be replaced"),
    FIELD_U64(struct batch_spec, inputs, 0, "found out: inputs in the file"),
    FIELD_U64(struct batch_spec, blocks, BATCH_BLOCKS_MAX,
	      "found out: blocks of inputs"),
    FIELD_U64(struct batch_spec, size, 0, "found out: bytes of the file"),
    FIELD_U64(struct batch_spec, dev, 0, "found out: device of the file"),
    FIELD_U64(struct batch_spec, ino, 0, "found out: number of the file"),
    FIELD_U64(struct batch_spec, mtime_ns, 0,
	      "found out: when it was changed last, ns since 1970"),
    FIELD_U64(struct batch_spec, key, 0, "drawn: of its index"),
    FIELD_U64(struct batch_spec, out_dev, 0, "found out: device of out"),
    FIELD_U64(struct batch_spec, out_ino, 0, "found out: number of out"),
    JOB_TERMS_FIELDS(struct batch_spec),
};
const struct message batch_spec_message =
    MESSAGE("batch", struct batch_spec, batch_spec_fields);

static bool is_absolute(const char *path)
{
	return path && path[0] == '/' && path[1];
}

enum err batch_request_check(const struct batch_spec *s, struct buf *why)
{
	if (!is_absolute(s->file) || !is_absolute(s->out))
		buf_add_str(why, "file and out are absolute paths");
	else if (s->rounds != 1 && s->rounds != 2)
		buf_add_str(why, "rounds: 1 (SHA-256) or 2 (SHA-256d)");
	else if (s->terms.backup.n)
		buf_add_str(why, "a batch has no backup: its file is here");
	else if (s->terms.min_rate)
		buf_add_str(why, "a batch has no least rate: those are known "
				 "of searches");
	else if (s->terms.replicas > 1)
		buf_add_str(why, "a batch has no replicas: its answers are "
				 "committed to and opened");
	else if (s->record > BATCH_INPUT_MAX)
		buf_add_str(why, "a record has at most 1 MiB");
	else
		return job_terms_check(&s->terms, why);
	return ERR_INPUT;
}

static enum err batch_check_spec(const void *spec, struct buf *why)
{
	const struct batch_spec *s = spec;

	if (s->blocks > BATCH_BLOCKS_MAX || s->inputs < s->blocks ||
	    s->inputs > s->size || s->inputs / BATCH_BLOCK_INPUTS > s->blocks ||
	    (s->record && s->inputs != s->size / s->record)) {
		buf_add_str(why, "its numbers do not fit together");
		return ERR_INPUT;
	}
	return batch_request_check(s, why);
}

static const struct job_terms *batch_terms(const void *spec)
{
	const struct batch_spec *s = spec;

	return &s->terms;
}

static struct span batch_range(const void *spec)
{
	const struct batch_spec *s = spec;

	return (struct span){0, s->blocks};
}

static double batch_weight(const void *spec)
{
	const struct batch_spec *s = spec;

	return s->blocks ? (double)s->inputs / (double)s->blocks : 1;
}

static void batch_show(const void *spec, struct arena *a, struct job_info *out)
{
	const struct batch_spec *s = spec;

	out->file = arena_strndup(a, s->file, strlen(s->file));
	out->out = arena_strndup(a, s->out, strlen(s->out));
	out->inputs = s->inputs;
	out->bytes = s->size;
}

struct batch_file_id batch_spec_id(const struct batch_spec *s)
{
	return (struct batch_file_id){s->dev, s->ino, s->size, s->mtime_ns};
}

struct batch_sink batch_spec_sink(const struct batch_spec *s)
{
	return (struct batch_sink){.path = s->out,
				   .key = s->key,
				   .hex = s->hex,
				   .force = s->force,
				   .inputs = s->inputs,
				   .dev = s->out_dev,
				   .ino = s->out_ino};
}

struct batch_cut batch_spec_cut(const struct batch_spec *s)
{
	return (struct batch_cut){s->record, s->inputs, s->blocks, s->size};
}

const struct kind kind_batch = {
    .name = "batch",
    .cap = "hash/sha256d",
    .spec = &batch_spec_message,
    .spec_size = sizeof(struct batch_spec),
    .finish = true,
    .first = FIRST_BLOCKS,
    .most = UNIT_BLOCKS,
    .spec_check = batch_check_spec,
    .terms = batch_terms,
    .range = batch_range,
    .weight = batch_weight,
    .show = batch_show,
};
