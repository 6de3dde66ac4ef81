/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The files of batch jobs: opened when a job's first lease is carried out, and
 * looked at before whether they are still those of the submission; OUT gets
 * its name before a job is called done, and is removed when it ends otherwise.
 */
#include "node/base/buf.h"
#include "node/mesh/job.h"
#include "node/mesh/job_save.h"
#include "node/mesh/kind.h"
#include "node/mesh/service_digest.h"
#include "node/mesh/service_hash.h"

#include <utlist.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct digest_files *files_find(struct service_digest *s,
				       const char *job)
{
	struct digest_files *f;

	DL_FOREACH (s->files, f)
		if (!strcmp(f->job, job))
			return f;
	return NULL;
}

struct digest_files *digest_files_get(struct service_digest *s, const char *job,
				      const void *spec)
{
	struct digest_files *f = files_find(s, job);

	if (f)
		return f;
	f = HN_NEW(struct digest_files);
	f->s = s;
	f->in = f->out = -1;
	memcpy(f->job, job, strlen(job) + 1);
	fields_copy(&batch_spec_message, spec, &f->mem, &f->spec);
	DL_APPEND(s->files, f);
	return f;
}

void digest_files_maybe_free(struct digest_files *f)
{
	struct service_digest *s = f->s;

	if (f->users || !(f->ended || s->stopped))
		return;
	DL_DELETE(s->files, f);
	if (f->in >= 0)
		close(f->in);
	if (f->out >= 0)
		close(f->out);
	arena_release(&f->mem);
	buf_release(&f->why);
	free(f);
	service_digest_maybe_stopped(s);
}

void digest_files_fail(struct digest_files *f, enum err e, const char *text)
{
	struct service_digest *s = f->s;

	if (f->ended || !s->m->jobs || s->m->stopping)
		return;
	f->ended = true;
	jobs_fail(s->m->jobs, f->job, e, text, loop_ms(s->m->loop));
	service_job_kick(s->m);
}

static void open_files(void *arg)
{
	struct digest_files *f = arg;
	const struct batch_file_id want = batch_spec_id(&f->spec);
	const struct batch_sink out = batch_spec_sink(&f->spec);
	struct batch_file_id is;

	f->e = batch_file_open(f->spec.file, &f->in, &is, &f->why);
	if (!f->e && !batch_file_same(f->in, &want)) {
		buf_add_str(&f->why, DIGEST_CHANGED);
		f->e = ERR_INPUT;
	}
	if (!f->e)
		f->e = batch_sink_open(&out, &f->out, &f->why);
}

static void on_files_open(void *arg)
{
	struct digest_files *f = arg;

	f->state = FILES_OPEN;
	f->since_ns = clock_ns();
	if (f->e)
		digest_files_fail(f, f->e, buf_str(&f->why));
	digest_files_opened(f);
	f->users--;
	digest_files_maybe_free(f);
}

void digest_files_open(struct digest_files *f)
{
	if (f->state != FILES_NEW)
		return;
	f->state = FILES_OPENING;
	f->users++;
	loop_work(f->s->m->loop, open_files, on_files_open, f);
}

void service_digest_ended(struct mesh *m, const char *job)
{
	struct digest_files *f =
	    m->service_digest ? files_find(m->service_digest, job) : NULL;

	if (!f)
		return;
	f->ended = true;
	digest_files_maybe_free(f);
}

/* What is done with OUT when the job ends; in the pool. */
struct closing {
	struct service_digest *s;
	char job[JOB_ID_SIZE];
	struct arena mem;
	struct batch_spec spec;
	enum err e;
	struct buf why;
};

static void closing_start(struct service_digest *s, const char *job,
			  const void *spec, loop_fn work, loop_fn done)
{
	struct closing *c = HN_NEW(struct closing);

	c->s = s;
	memcpy(c->job, job, strlen(job) + 1);
	fields_copy(&batch_spec_message, spec, &c->mem, &c->spec);
	s->at_work++;
	loop_work(s->m->loop, work, done, c);
}

static void closing_free(struct closing *c)
{
	struct service_digest *s = c->s;

	arena_release(&c->mem);
	buf_release(&c->why);
	free(c);
	s->at_work--;
	service_digest_maybe_stopped(s);
}

static void name_out(void *arg)
{
	struct closing *c = arg;
	const struct batch_sink out = batch_spec_sink(&c->spec);

	c->e = batch_sink_finish(&out, &c->why);
}

static void on_named(void *arg)
{
	struct closing *c = arg;
	struct mesh *m = c->s->m;

	if (m->jobs) {
		jobs_finished(m->jobs, c->job, c->e, buf_str(&c->why),
			      loop_ms(m->loop));
		service_job_kick(m);
	}
	closing_free(c);
}

void service_digest_finish(struct mesh *m, const char *job, const void *spec)
{
	closing_start(m->service_digest, job, spec, name_out, on_named);
}

static void remove_out(void *arg)
{
	struct closing *c = arg;
	const struct batch_sink out = batch_spec_sink(&c->spec);

	batch_sink_discard(&out);
}

static void on_removed(void *arg)
{
	closing_free(arg);
}

void service_digest_final(struct mesh *m, const char *job)
{
	struct service_digest *s = m->service_digest;
	const struct kind *kind;
	const struct batch_spec *spec = jobs_spec(m->jobs, job, &kind);

	if (!spec || kind != &kind_batch)
		return;
	batch_index_drop(s->index, spec->key);
	/* Of a done one nothing is left to remove. */
	closing_start(s, job, spec, remove_out, on_removed);
}

struct keys {
	struct mesh *m;
	struct buf list;
};

static void add_key(const char *id, void *arg)
{
	struct keys *k = arg;
	const struct kind *kind;
	const struct batch_spec *spec = jobs_spec(k->m->jobs, id, &kind);
	size_t hits;
	bool open;

	if (spec && kind == &kind_batch &&
	    jobs_glance(k->m->jobs, id, &hits, &open) && open)
		buf_add(&k->list, &spec->key, sizeof(spec->key));
}

void service_digest_resume(struct mesh *m)
{
	struct keys k = {.m = m};

	jobs_each(m->jobs, add_key, &k);
	batch_index_keep(m->service_digest->index,
			 (const uint64_t *)(const void *)k.list.p,
			 k.list.n / sizeof(uint64_t));
	buf_release(&k.list);
}
