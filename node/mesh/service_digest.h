/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_SERVICE_DIGEST_H
#define HN_MESH_SERVICE_DIGEST_H

#include "node/mesh/batch_index.h"
#include "node/mesh/job.h"
#include "node/mesh/kind_batch.h"
#include "node/mesh/mesh_impl.h"

/*
 * Batch jobs, what service_digest.c (the call half of hash.digest),
 * digest_serve.c (the serve half) and digest_submit.c (job.batch) share. What
 * service_job.c calls is declared in mesh_impl.h.
 */
struct digest_files;
struct digest_serving;
struct digest_submit;
struct digest_unit;

struct service_digest {
	struct mesh *m;
	struct batch_index *index;
	struct digest_files *files; /* of jobs that had units */
	struct digest_unit *units;
	struct digest_serving *serving;
	struct digest_submit *submits;
	unsigned nserving, at_work; /* at_work: in the uv pool, of no list */
	size_t held;		    /* bytes of digests of all units */
	loop_fn stopped;
	void *stopped_arg;
};
void service_digest_maybe_stopped(struct service_digest *s);

/* --- digest_files.c --- */

/* The files of a job. */
struct digest_files {
	struct digest_files *prev, *next;
	struct service_digest *s;
	char job[JOB_ID_SIZE];
	struct arena mem;
	struct batch_spec spec;
	int in, out;
	enum { FILES_NEW, FILES_OPENING, FILES_OPEN } state;
	bool ended;
	unsigned users; /* units, and the opening */
	enum err e;
	struct buf why;
	uint64_t spent_ns, since_ns; /* computing again; since it was opened */
};

#define DIGEST_CHANGED \
	"the input file has changed since the job was submitted: submit it " \
	"again"
struct digest_files *digest_files_get(struct service_digest *s, const char *job,
				      const void *spec);
/* Opens them if nobody did; digest_files_opened is told when they are. */
void digest_files_open(struct digest_files *f);
void digest_files_opened(struct digest_files *f); /* service_digest.c */
/* The job cannot go on. */
void digest_files_fail(struct digest_files *f, enum err e, const char *text);
/* When nobody uses them, and the job has ended or the node stops. */
void digest_files_maybe_free(struct digest_files *f);

/* --- digest_serve.c, digest_submit.c: rows of the table of methods --- */

void serve_digest(struct rpc_stream *st, const void *request, void *arg);
void digest_serve_stop(struct service_digest *s);

void serve_batch_submit(struct rpc_stream *st, const void *request, void *arg);
void digest_submit_stop(struct service_digest *s);
/* service_job.c: the job is in the coordinator; saves it and answers. */
void service_job_submitted(struct mesh *m, struct rpc_stream *st,
			   const char *job);

#endif
