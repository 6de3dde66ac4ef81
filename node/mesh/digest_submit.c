/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * job.batch: a batch job is accepted once its file has been read through once
 * and OUT has its room. The index goes to the database row by row, each step
 * of the pass waits for the rows of the one before, so that neither the pass
 * nor what it makes is ever in memory as a whole. A caller that leaves ends
 * it, and so does a bad line.
 */
#include "node/base/buf.h"
#include "node/base/log.h"
#include "node/mesh/job.h"
#include "node/mesh/kind.h"
#include "node/mesh/kind_batch.h"
#include "node/mesh/service_digest.h"

#include <sodium.h>
#include <utlist.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SUBMITS_MAX 8 /* at once; each reads a file as fast as it can */

struct digest_submit {
	struct digest_submit *prev, *next;
	struct service_digest *s;
	struct rpc_stream *st; /* NULL: the caller has left */
	struct arena mem;
	struct batch_spec spec;
	int fd;
	struct batch_scan scan;
	struct batch_row rows[BATCH_STEP_ROWS];
	size_t nrows, waiting; /* for the store */
	uint64_t next_row;
	bool end, made; /* made: OUT is there */
	enum err e;
	struct buf why;
};

static void submit_free(struct digest_submit *u)
{
	struct service_digest *s = u->s;

	DL_DELETE(s->submits, u);
	if (u->fd >= 0)
		close(u->fd);
	for (size_t i = 0; i < u->nrows; i++)
		buf_release(&u->rows[i].packed);
	batch_scan_release(&u->scan);
	buf_release(&u->why);
	arena_release(&u->mem);
	free(u);
	service_digest_maybe_stopped(s);
}

static void remove_out(void *arg)
{
	struct digest_submit *u = arg;
	const struct batch_sink out = batch_spec_sink(&u->spec);

	batch_sink_discard(&out);
}

static void on_removed(void *arg)
{
	submit_free(arg);
}

/* It becomes no job. */
static void submit_fail(struct digest_submit *u)
{
	if (u->st)
		rpc_fail(u->st, u->e, "%s",
			 u->why.n ? buf_str(&u->why) : err_str(u->e));
	u->st = NULL;
	if (u->next_row)
		batch_index_drop(u->s->index, u->spec.key);
	if (u->made)
		loop_work(u->s->m->loop, remove_out, on_removed, u);
	else
		submit_free(u);
}

/* Its caller has left, or the node stops: true, and it is gone. */
static bool submit_over(struct digest_submit *u)
{
	if (u->st && !u->s->stopped && !u->e)
		return false;
	if (!u->e)
		u->e = u->st ? ERR_GONE : ERR_CANCELED;
	submit_fail(u);
	return true;
}

static void on_made(void *arg)
{
	struct digest_submit *u = arg;
	struct mesh *m = u->s->m;
	char id[JOB_ID_SIZE];

	if (submit_over(u))
		return;
	u->e = jobs_submit(m->jobs, &kind_batch, &u->spec, loop_ms(m->loop),
			   &u->why, id);
	if (u->e) {
		submit_fail(u);
		return;
	}
	log_info("work", "job accepted: digests of %" PRIu64 " inputs job=%s",
		 u->spec.inputs, id);
	service_job_submitted(m, u->st, id);
	submit_free(u);
}

static void make_out(void *arg)
{
	struct digest_submit *u = arg;
	const struct batch_file_id id = batch_spec_id(&u->spec);
	struct batch_sink out = batch_spec_sink(&u->spec);

	if (!batch_file_same(u->fd, &id)) {
		buf_printf(&u->why, "%s was changed while it was read",
			   u->spec.file);
		u->e = ERR_INPUT;
		return;
	}
	u->e = batch_sink_create(&out, &id, &u->why);
	u->made = !u->e;
	u->spec.out_dev = out.dev;
	u->spec.out_ino = out.ino;
}

static void scan_step(void *arg)
{
	struct digest_submit *u = arg;

	u->e = batch_scan_step(&u->scan, u->rows, &u->nrows, &u->end, &u->why);
	u->spec.inputs = u->scan.inputs;
	u->spec.blocks = u->scan.blocks;
}

static void on_step(void *arg);

static void submit_go_on(struct digest_submit *u)
{
	if (submit_over(u))
		return;
	if (u->end)
		loop_work(u->s->m->loop, make_out, on_made, u);
	else
		loop_work(u->s->m->loop, scan_step, on_step, u);
}

static void on_row(void *arg, enum err e, const char *text)
{
	struct digest_submit *u = arg;

	if (e && !u->e) {
		u->e = e;
		buf_printf(&u->why,
			   "the job cannot be saved, so it was not accepted: "
			   "%s",
			   text ? text : err_str(e));
	}
	if (!--u->waiting)
		submit_go_on(u);
}

static void on_step(void *arg)
{
	struct digest_submit *u = arg;
	const size_t n = u->e ? 0 : u->nrows;

	u->waiting = n;
	for (size_t i = 0; i < n; i++)
		batch_index_add(u->s->index, u->spec.key, u->next_row++,
				&u->rows[i], on_row, u);
	for (size_t i = 0; i < u->nrows; i++)
		buf_release(&u->rows[i].packed);
	u->nrows = 0;
	if (!n)
		submit_go_on(u);
}

static void open_input(void *arg)
{
	struct digest_submit *u = arg;
	struct batch_spec *spec = &u->spec;
	struct batch_file_id id;

	u->e = batch_file_open(spec->file, &u->fd, &id, &u->why);
	if (u->e)
		return;
	spec->size = id.size;
	spec->dev = id.dev;
	spec->ino = id.ino;
	spec->mtime_ns = id.mtime_ns;
	if (!spec->record) {
		batch_scan_init(&u->scan, u->fd, id.size);
		return;
	}
	u->end = true;
	spec->inputs = id.size / spec->record;
	spec->blocks = batch_blocks_of_records(spec->record, spec->inputs);
	if (id.size % spec->record) {
		buf_printf(&u->why,
			   "%s has %" PRIu64 " bytes, which is no multiple of "
			   "records of %" PRIu64,
			   spec->file, id.size, spec->record);
		u->e = ERR_INPUT;
	} else if (spec->blocks > BATCH_BLOCKS_MAX) {
		buf_add_str(&u->why, "the file is too large for one job");
		u->e = ERR_LIMIT;
	}
}

static void on_input(void *arg)
{
	submit_go_on(arg);
}

static void on_left(void *arg, struct rpc_stream *st, enum err e,
		    const void *reply, const char *text)
{
	struct digest_submit *u = arg;

	(void)st, (void)e, (void)reply, (void)text;
	u->st = NULL;
}

void serve_batch_submit(struct rpc_stream *st, const void *request, void *arg)
{
	static const struct rpc_ops ops = {.end = on_left};
	struct mesh *m = arg;
	struct service_digest *s = m->service_digest;
	struct digest_submit *u;
	struct buf why = {0};
	size_t n = 0;

	DL_COUNT(s->submits, u, n);
	enum err e = batch_request_check(request, &why);
	if (!e && (m->stopping || s->stopped || n >= SUBMITS_MAX)) {
		e = n >= SUBMITS_MAX ? ERR_BUSY : ERR_GONE;
		buf_add_str(&why, n >= SUBMITS_MAX
				      ? "other files are being read; try "
					"again"
				      : "this node is stopping");
	}
	if (e) {
		rpc_fail(st, e, "%s", buf_str(&why));
		buf_release(&why);
		return;
	}
	u = HN_NEW(struct digest_submit);
	u->s = s;
	u->st = st;
	u->fd = -1;
	fields_copy(&batch_spec_message, request, &u->mem, &u->spec);
	/* 63 bits, as the database has them, and not 0. */
	u->spec.key = 1 + randombytes_random();
	u->spec.key |= (uint64_t)(randombytes_random() >> 1) << 32;
	DL_APPEND(s->submits, u);
	rpc_serve(st, &ops, u);
	loop_work(m->loop, open_input, on_input, u);
}

/* Each ends when what it waits for comes. */
void digest_submit_stop(struct service_digest *s)
{
	struct digest_submit *u;

	DL_FOREACH (s->submits, u) {
		if (u->st)
			rpc_fail(u->st, ERR_GONE, "this node is stopping");
		u->st = NULL;
	}
}
