/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_JOB_SAVE_H
#define HN_MESH_JOB_SAVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/fields.h"
#include "node/mesh/job.h"

/*
 * A job as bytes, so that it outlives the process: what was asked, who did
 * which nonces with what evidence, who was dropped, the hits, the time so
 * far. Pure, as the coordinator is.
 *
 * A saved job is a moment: what was done after it is done again and counted
 * once. Leases are not part of it: what was in somebody's hands is pending
 * again, and its old id means nothing any more. What waited to be scanned
 * again is lost with its process and therefore not counted as re-scanned.
 */
extern const struct message job_saved_message;

/* The most that jobs_save appends. */
#define JOB_SAVED_MAX (8u << 20)

/* Appends the job; ERR_NOTFOUND. A list of nonces that were done in more than
 * thirty thousand pieces is cut: the rest will be done again. */
enum err jobs_save(const struct jobs *j, const char *id, uint64_t now,
		   struct buf *out) HN_CHECK;

/*
 * Takes a saved job up again: open where it was, ended as it ended. Every hit
 * is hashed again, and the sums must agree; otherwise nothing changes and why
 * has the sentence: ERR_PROTO or ERR_LIMIT for bytes that are no saved job,
 * ERR_EXISTS for one that is here already, ERR_BUSY when JOB_MAX_OPEN are
 * open. An open job waits for workers afresh, half a minute at least. Call
 * jobs_tick soon.
 */
enum err jobs_restore(struct jobs *j, const void *p, size_t n, uint64_t now,
		      struct buf *why, char id[static JOB_ID_SIZE]) HN_CHECK;

/*
 * As above, with another node's job, whose backup we are: it must be the one
 * that id says and name us as its backup, else ERR_PROTO. What it says of
 * peers' shares is not taken for evidence.
 */
enum err jobs_adopt(struct jobs *j, const char *id, const void *p, size_t n,
		    uint64_t now, struct buf *why) HN_CHECK;

/* Could be a job's id. */
bool job_id_ok(const char *id);

/*
 * Joins what another node did of a job that is open here (its backup, which
 * took it over while we were gone or cut off). Nonces that nobody here had done
 * count now, for whoever did them there; each is counted once, whoever was
 * first. had: how many of them it had from us when it took over; what both did
 * beyond that is counted as done twice, added to the job and told in *twice;
 * a repeat (the same `had`) adds what is new in it, and tells the whole again.
 * Peers are credited by its word, but judged only by what we saw of them.
 * Hits are hashed again, and end the job where they would have. ERR_NOTFOUND:
 * no such job; ERR_EXISTS: it has ended here; ERR_PROTO, ERR_LIMIT: these are
 * not its bytes. Call jobs_tick soon.
 */
enum err jobs_merge(struct jobs *j, const void *p, size_t n, uint64_t had,
		    uint64_t now, struct buf *why, uint64_t *twice) HN_CHECK;
/* Which node takes it over; false: none was named, or no such job. */
bool jobs_backup(const struct jobs *j, const char *id, struct node_id *out);
/* How many nonces of it are done. */
uint64_t jobs_done(const struct jobs *j, const char *id);

/* Forgets an ended job; an open or unknown one stays as it is. */
void jobs_forget(struct jobs *j, const char *id);

/* How many hits it has, and whether it is open; false: no such job. */
bool jobs_glance(const struct jobs *j, const char *id, size_t *hits,
		 bool *open);

/*
 * Where the numbers of leases, re-scans and jobs go on: none of them comes
 * twice as long as a later start begins at or above where an earlier one
 * ended. The key makes of a job's number its id.
 */
struct job_marks {
	uint64_t lease; /* the last one used */
	uint64_t job;	/* how many were made */
	uint64_t key;
};
struct job_marks jobs_marks(const struct jobs *j);
void jobs_set_marks(struct jobs *j, const struct job_marks *m);

#endif
