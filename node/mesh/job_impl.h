/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_JOB_IMPL_H
#define HN_MESH_JOB_IMPL_H

#include "node/mesh/job.h"

#include <uthash.h>

#include "node/mesh/check.h"
#include "node/mesh/kind.h"
#include "node/mesh/lease.h"
#include "node/mesh/sched.h"
#include "node/mesh/trust.h"
#include "node/mesh/worker.h"

/*
 * The inside of the coordinator, shared by its files and nobody else:
 * job.c (the table, life cycle), unit.c (progress, ends, taking back), feed.c
 * (who gets the next unit),
 * audit.c (what we scan again), replica.c (what others do again), job_info.c
 * (what people are shown), job_save.c (what outlives the process).
 */
#define UNITS_KEPT 256 /* closed ones of a job, for late words and lists */

enum unit_state { UNIT_ASSIGNED, UNIT_COMPUTING, UNIT_DONE, UNIT_BACK };

/*
 * A unit under one lease. Open: in the lists of its job and its worker.
 * Closed: in the job's list of closed ones, until it is among the oldest or
 * the job ends.
 */
struct unit {
	uint64_t id;
	struct job *job;
	struct part *part;
	struct span span;
	uint64_t below;	  /* done so far */
	uint64_t audited; /* pieces were drawn below this */
	uint64_t last;	  /* behind the last share: where the gap begins */
	unsigned bits;
	enum unit_state state;
	bool open, late;
	struct piece *piece; /* it is the replica of this piece */
	bool replica;	  /* outside the cover: done by somebody else before */
	uint32_t *shares; /* from audited on */
	size_t nshares, cap;
	struct unit *prev, *next;   /* job->units or job->closed */
	struct unit *wprev, *wnext; /* worker->units */
	UT_hash_handle hh;
};

/* One worker's part in one job. */
struct part {
	struct job *job;
	struct worker *worker; /* NULL once the job has ended */
	struct node_id id;
	struct spans did; /* credited to it, each nonce to one worker */
	uint64_t hashes;  /* the size of did, also after the end */
	struct evidence evidence;
	uint64_t units, late;
	uint64_t rescanned;	    /* of what is credited to it */
	uint64_t pieces, checks;    /* what agreed; of it, check units */
	double weight;		    /* of the pieces: see check_weight */
	struct evidence_total ever; /* its worker's, when the job ended */
	unsigned looking;	    /* pieces in the queues of its job */
	unsigned open;
	uint64_t busy_since, busy_ms;
	bool self, dropped, lost;
	char *why;
	struct part *prev, *next;
	UT_hash_handle hh; /* by id */
	size_t place;	   /* among those saved last */
};

/* What is done again, and which shares its worker reported there. */
enum piece_role {
	PIECE_LOOK,  /* by ourselves */
	PIECE_RUN,   /* by a worker, since we cannot: short */
	PIECE_OWED,  /* by so many workers as was asked for */
	PIECE_KNOWN, /* perhaps: to see whether a worker comes to the same */
};
struct piece {
	enum piece_role role;
	struct part *part;
	uint64_t lease; /* under which its worker told it */
	struct span span;
	unsigned bits;
	uint32_t *shares;
	size_t n;
	/* LOOK */
	uint64_t id;	/* of the re-scan that runs */
	unsigned level; /* whose queue */
	/* the others */
	unsigned tries;
	unsigned rounds;			   /* OWED: by so many more */
	struct worker *by[TERMS_REPLICAS_MAX - 1]; /* have done it again */
	unsigned nby;
	struct piece *prev, *next; /* one of the lists of its job, or none
				    * while it is in a unit's hands */
};
static inline uint64_t piece_size(const struct piece *p)
{
	return p->span.b - p->span.a;
}

#define AUDIT_LEVELS 9 /* of what we know of a worker: 2^8 pieces and up */

struct job {
	struct jobs *jobs;
	char id[JOB_ID_SIZE];
	const struct kind *kind;
	struct pool *pool;
	void *spec; /* all of it lives in spec_mem */
	struct arena spec_mem;
	const struct job_terms *terms; /* part of it */
	bool picky;		       /* its terms refuse some workers */
	uint64_t suited_at;	       /* then it was counted: */
	size_t suited;		       /* usable ones they leave */
	uint64_t suited_rate;
	struct worker *turn;  /* the last that was given a unit */
	uint64_t nobody_at;   /* nobody idle suited then; 0: somebody did */
	uint64_t patience_ms; /* wait_ms, or more until workers are back */
	bool all;
	unsigned max_bits;

	enum job_state state;
	enum err error;
	char *text;
	uint64_t submitted_at, ended_at, served_at;
	bool enough, too_many;	  /* of hits: the end is near */
	bool complete;		  /* all of the range is done ... */
	uint64_t complete_at;	  /* ... since then */
	bool swept;		  /* ... and nobody holds parts of it */
	bool finishing, finished; /* jobs_ops.finish: asked, answered */

	struct book book;
	struct hits hits;
	struct part *parts, *part_by_id;
	struct unit *units, *closed; /* both: oldest first */
	size_t nunits, nclosed;
	size_t ncover; /* of the open ones, those that are no replicas */
	uint64_t done_units, failed_units, cut_units, cut_nonces;
	uint64_t late, rehashed;
	uint64_t twice; /* done by two coordinators: see jobs_merge */
	struct joined { /* what the last ones with this `had` came to */
		uint64_t had, fresh, twice;
	} joined;

	double tokens; /* nonces that may be re-scanned now */
	uint64_t tokens_at;
	uint64_t queued[AUDIT_LEVELS]; /* nonces waiting for tokens */
	struct piece *waiting[AUDIT_LEVELS], *running;
	size_t nrunning;
	uint64_t scanned; /* nonces that we scanned again */

	struct piece *runs, *owed, *known; /* by role; oldest first */
	size_t nruns, nowed, nknown;
	size_t kept_shares;  /* in owed and known */
	size_t nreplicating; /* in workers' hands; of them owed ones: */
	size_t nowed_given;
	uint64_t owed_nonces;  /* of owed ones, once for each round */
	uint64_t owed_at;      /* the last time one was done */
	uint64_t given;	       /* nonces that workers did again */
	uint64_t tested;       /* of them, of known ones */
	uint64_t unreplicated; /* nonces that should have been, and were not */
	uint64_t checks, checks_passed, replicas; /* units that ended */

	double rate;
	uint64_t rate_at, rate_hashes;
	struct job *prev, *next;
};

struct jobs {
	struct jobs_ops ops;
	void *arg;
	struct node_id self;
	struct judge judge;
	uint64_t core_rate;
	uint64_t next_id;
	uint64_t next_job, job_key; /* of their ids */
	struct pool pools[KIND_COUNT];
	struct trusts trusts;
	struct unit *leases; /* by id; open, and closed ones of open jobs */
	struct job *open, *ended; /* oldest first */
	size_t nopen, nended;
	uint64_t test_debt; /* nonces to be done before the next check unit */
	uint64_t ticked_at; /* 0: no job was open then */
	uint64_t no_device_until; /* our own refused to re-scan */
	bool returned; /* something is pending again: feed everybody */
	uint64_t feed_at, steal_at; /* not before, without a reason */
};

static inline bool job_is_open(const struct job *job)
{
	return job->state == JOB_QUEUED || job->state == JOB_RUNNING;
}

/* job.c */
void job_step(struct job *job, uint64_t now); /* ends it when it is time */
void job_changed(struct job *job);
struct pool *jobs_pool(struct jobs *j, const struct kind *kind);
/* A job of this kind, which is checked; not in any list yet. */
struct job *job_new(struct jobs *j, const struct kind *kind, const void *spec);
/* No work for it any more, in no job; what it did is done again. */
void jobs_drop(struct jobs *j, struct worker *w, const struct job_proof *proof,
	       uint64_t now, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
struct job_proof job_proof_of(const struct job *job, uint64_t lease,
			      enum job_lie lie, uint64_t nonce);
uint64_t jobs_fresh_id(struct jobs *j);
void jobs_draw_id(struct jobs *j, char id[static JOB_ID_SIZE]); /* a job's */
/* By its id or a unique prefix; NULL. */
struct job *jobs_find(const struct jobs *j, const char *id);

/* unit.c */
/* w's part in the job; NULL: none yet. */
struct part *part_find(const struct job *job, const struct node_id *id);
void part_add(struct job *job, struct part *part);
/* w's part in the job, made when there is none. */
struct part *job_part(struct job *job, struct worker *w);
void part_lost(struct part *part, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* In w's hands now, but w does not know it yet: unit_hand_over must follow. */
struct unit *unit_new(struct job *job, struct worker *w, struct span span,
		      unsigned bits, bool replica, uint64_t now);
bool unit_hand_over(struct unit *u, uint64_t expected_ms, uint64_t now);
void unit_close(struct unit *u, bool revoke, uint64_t now);
void unit_free(struct unit *u);
/* Takes back what its worker is silent about. */
void units_expire(struct jobs *j, struct pool *p, uint64_t now);
/* A verified hit joins the result; job_step will see to the end. */
void job_hit(struct job *job, uint32_t nonce, const uint8_t digest[static 32],
	     const struct node_id *by);

/* feed.c */
/* w as the job's terms see it: its rate in H/s. */
struct sched_candidate job_candidate(const struct job *job,
				     const struct worker *w, uint64_t now);
/* Do the job's terms, and what w did in it, leave it this worker? */
bool job_suits(const struct job *job, const struct worker *w, uint64_t now);
/* Fills the free slots of one worker, of all. */
void units_feed(struct jobs *j, struct pool *p, struct worker *w, uint64_t now);
void units_feed_all(struct jobs *j, uint64_t now);
/* After an event of w: hands out what came back, or fills w's slots. */
void jobs_settle(struct jobs *j, struct pool *p, struct worker *w,
		 uint64_t now);
/* Takes from slow workers what idle ones would do sooner. True when there is
 * something to watch. Looks at all that is in hands: not at every event. */
bool units_steal(struct jobs *j, struct pool *p, uint64_t now);

/* audit.c */
/* Draws what shall be scanned again of a unit, below its prefix. */
void audit_draw(struct unit *u, uint64_t now);
/* Starts what the budget allows; all that waits when flush. */
void audit_spend(struct job *job, bool flush, uint64_t now);
bool audit_busy(const struct job *job);
/* Too little was looked at to know this one. */
bool audit_stranger(const struct worker *w);
/* So many nonces of it were held against another list and agreed; own: they
 * are credited to it. */
void audit_passed(struct part *part, uint64_t nonces, unsigned bits, bool own,
		  uint64_t now);
void audit_forget(struct part *part); /* all pieces of it */
void audit_start(struct job *job, uint64_t now);
void audit_clear(struct job *job);
/* The part of u's list that lies there. */
struct piece *piece_new(struct unit *u, struct span span);
void piece_free(struct piece *p);

/* replica.c */
/* Our budget does not cover so many nonces of this range of u. */
void replica_want(struct unit *u, struct span range, uint64_t nonces);
/* u is done: takes its list if it is worth keeping. */
void replica_keep(struct unit *u, uint64_t now);
/* May there be something to give? Cheap, and right when it says no. */
bool replica_any(const struct job *job);
/* What w shall do again, in a unit like this one; NULL: nothing. Else
 * replica_taken or nothing must follow at once. */
struct piece *replica_pick(struct job *job, const struct worker *w,
			   const struct sched_cut *cut, struct span *span);
void replica_taken(struct piece *p, struct unit *u);
/* It has ended: done, or given back. */
void replica_ended(struct unit *u, bool done, uint64_t now);
/* All else is done: is what was asked for still to be waited for? For as long
 * as the job waits for workers. */
bool replica_owing(const struct job *job, uint64_t now);
/* What is owed and in nobody's hands is waited for so long; 0: no more. */
uint64_t replica_wait_ms(const struct job *job, uint64_t now);
/* Could w do again what shall be? */
bool replica_needs(const struct job *job, const struct worker *w);
void replica_forget(struct part *part); /* all that was its work */
void replica_end(struct job *job);

#endif
