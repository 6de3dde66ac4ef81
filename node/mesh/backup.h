/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_BACKUP_H
#define HN_MESH_BACKUP_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/fields.h"
#include "node/base/identity.h"
#include "node/base/loop.h"
#include "node/base/store.h"
#include "node/mesh/job.h"

/*
 * A job outlives its submitter's node (FLT-03): the backup that the job names
 * is sent each state of it that reached the disk, keeps the last, and when the
 * submitter has had no session with it for a while it takes the job over and
 * ends it. When the two meet again the backup gives back what it did
 * (jobs_merge), and lets go of the job. Two halves that were only cut off from
 * each other both went on; what both did is counted once, and shown.
 *
 * Both roles in one object. Loop thread only.
 */
struct backup;
struct mesh;

#define BACKUP_TAKEOVER_MS 30000  /* without a session; a setting */
#define BACKUP_JOB_MAX (1u << 20) /* bytes of one; a larger has no backup */
#define BACKUP_JOBS_PER_PEER 16
#define BACKUP_JOBS 256
#define BACKUP_BYTES (UINT64_C(64) << 20) /* of all jobs kept for others */

/* For whom this node is a backup: mesh_options.backup_accept is "mesh"
 * (members of a private mesh; in `public` nobody), "any" or "none". */

extern const struct store_schema backup_schema[];
extern const size_t backup_schema_count;

struct backup *backup_new(struct mesh *m);
/* Reads what is kept for others; after the jobs were read. */
void backup_load(struct backup *b, loop_fn done, void *arg);
void backup_stop(struct backup *b);
void backup_free(struct backup *b); /* no statement of it waits; NULL is fine */

/* Says, for people: whose job this is if it was taken over, and whether its
 * backup has it. Texts in the arena. */
void backup_tell(const struct backup *b, struct arena *a,
		 struct job_info *info);

/* job.replica: a job as it is on its submitter's disk. */
struct job_replica {
	char *job;
	struct bytes saved; /* as job_save.h packs it */
	bool ended;	    /* forget it */
};
struct job_replica_kept {
	bool taken_over; /* not kept: the backup runs it, and gives it back */
};
/* job.handback: what the backup made of it. */
struct job_handback {
	char *job;
	struct bytes saved;
	uint64_t had; /* nonces done when it was taken over */
};
struct job_handed {
	uint64_t twice; /* nonces that both had done */
};
extern const struct message job_replica_message, job_replica_kept_message,
    job_handback_message, job_handed_message;

#endif
