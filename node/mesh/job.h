/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_JOB_H
#define HN_MESH_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "asic/work.h"
#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/fields.h"
#include "node/base/identity.h"
#include "node/mesh/check.h"
#include "node/mesh/lease.h"
#include "node/mesh/sched.h"
#include "node/mesh/score.h"
#include "node/mesh/terms.h"

/*
 * The coordinator: every job submitted to this node, its units, leases,
 * evidence and end (decisions D13, D15, D16). Pure: no I/O, no clock, no
 * randomness of its own. Time is an argument (ms, monotonic, never going
 * back), randomness a callback, and what must happen outside goes through
 * struct jobs_ops; so one simulator runs thousands of them. Ops may be called
 * from any jobs_* function that takes `now`; they must not call such a one
 * themselves (they post, or answer later). Loop thread only.
 *
 * In this file a worker is a peer (or this node) that offers the capability
 * of a job. The caller says who is there; the coordinator decides who gets
 * what.
 */
struct jobs;

#define JOB_ID_SIZE 16 /* text, "4f2a91c0": 8 hex digits */
#define JOB_MAX_OPEN 64
#define JOB_MAX_KEPT 256   /* ended ones remembered; the oldest go first */
#define JOB_MAX_HITS 65536 /* with --all; more: the job fails, saying so */

enum job_state {
	JOB_QUEUED, /* no worker yet */
	JOB_RUNNING,
	JOB_DONE,
	JOB_FAILED,
	JOB_CANCELED
};
const char *job_state_str(enum job_state s);

/* What `submit search` asks for. Wire form of job.submit's request. */
struct search_spec {
	uint8_t header[HEADER_SIZE];
	uint64_t start, end; /* nonces [start, end) */
	uint8_t target[32];  /* little-endian number */
	bool all;	     /* do not stop at the first hit */
	struct job_terms terms;
};
extern const struct message search_spec_message;
enum err search_spec_check(const struct search_spec *s,
			   struct buf *why) HN_CHECK;

/* A lease: one unit in one worker's hands. The id is never used again. */
struct kind;
struct lease {
	uint64_t id;
	char job[JOB_ID_SIZE];
	struct node_id worker;
	const struct kind *kind;
	const void *spec; /* what the job asks, in its kind's form; the job's,
			   * for the call */
	struct span span; /* which part of it */
	unsigned bits;	  /* share bits; 0 with a kind without shares */
	uint64_t expected_ms;
};
/* Of a kind with shares: the scan that it is. */
void lease_scan(const struct lease *l, struct scan_work *out);

/*
 * What a liar's own answer says, so that somebody else can find it wrong: with
 * what it signed for the lease, the nonce is all that is needed. An answer
 * that is found wrong before it is complete is not signed by then.
 */
enum job_lie {
	JOB_LIE_PLACE,	 /* told `nonce` out of its range or order, or twice */
	JOB_LIE_FALSE,	 /* the hash of `nonce`, which it told, is no share */
	JOB_LIE_MISSING, /* `nonce` is a share and its list has it not */
	JOB_LIE_BEYOND,	 /* told that all below `nonce` is done: no unit of its
			  */
	JOB_LIE_ANSWER,	 /* of a kind without shares; its service knows where */
	JOB_LIE_ELSEWHERE /* another node's proof: jobs_bar; no job or lease */
};
const char *job_lie_str(enum job_lie lie); /* "place", "false", ... */
struct job_proof {
	char job[JOB_ID_SIZE];
	uint64_t lease; /* of the liar's answer */
	enum job_lie lie;
	uint64_t nonce;
};

struct jobs_ops {
	uint64_t (*random)(void *arg); /* 64 uniform bits */
	/* Hands the lease to its worker. An error: as if it were lost. Its
	 * progress and end come by jobs_progress and jobs_lease_end. */
	enum err (*assign)(void *arg, const struct lease *l);
	/* Take it back; jobs_lease_end (ERR_CANCELED) may still come, or not:
	 * the lease is closed already and late words are clipped. Also called
	 * for all that is open when a job ends. */
	void (*revoke)(void *arg, uint64_t lease_id);
	/* Scan this piece on our own device to check a worker, before any unit
	 * that waits there; the result comes by jobs_rescan_end. At most 256
	 * run at a time, each well under a millisecond of one core as a rule.
	 * An error: not covered. */
	enum err (*rescan)(void *arg, uint64_t check_id,
			   const struct scan_work *w);
	void (*rescan_cancel)(void *arg, uint64_t check_id);
	/* It lied, and this is the proof; or it is suspect, without one
	 * (NULL): no work for it any more. proof is lent for the call. */
	void (*peer_bad)(void *arg, const struct node_id *id,
			 const struct job_proof *proof, const char *why);
	/* It was quarantined, let back or barred: jobs_scored_next has it, and
	 * should be asked at once. NULL is fine. */
	void (*scored)(void *arg, const struct node_id *id);
	/* Of a kind with `finish`: all its numbers are done. The result is
	 * made final and jobs_finished says so; again does no harm. */
	void (*finish)(void *arg, const char *job, const struct kind *kind,
		       const void *spec);
	/* Progress, a hit, or the end of a job: tell the subscribers. */
	void (*changed)(void *arg, const char *job, bool ended);
};

struct jobs *jobs_new(const struct jobs_ops *ops, void *arg,
		      const struct node_id *self);
void jobs_free(struct jobs *j); /* calls no op; NULL is fine */

/* Simulations put another hash in the place of the reference: the digest of
 * the header with this nonce. Before the first job. */
void jobs_set_judge(struct jobs *j,
		    void (*judge)(void *arg,
				  const uint8_t header[static HEADER_SIZE],
				  uint32_t nonce, uint8_t digest[static 32]),
		    void *arg);

/*
 * Rate 0: not known; it gets a small first unit. core_rate is what one core
 * of this node scans per second (the re-scan budget is a share of it).
 */
void jobs_set_core_rate(struct jobs *j, uint64_t hashes_per_s);
struct worker_offer {
	struct node_id id;
	uint64_t rate; /* announced or measured H/s of the device */
	uint64_t rtt_ms;
	uint64_t slots;	      /* units it takes at once; 0: two */
	struct node_id owner; /* zero: not known, the node itself */
	uint64_t price;	      /* credits per 2^32 hashes; 0: free of charge */
	uint64_t load;	      /* percent that others use of it */
	const char *region;   /* lent; NULL: not said */
	bool hardware;	      /* made for it, no processor */
};
/* New or changed worker of capability cap ("hash/sha256d"); gets its work at
 * once. One that was found bad stays without. Its rate counts until we have
 * measured it; our own node is a worker like others, but trusted. */
void jobs_worker(struct jobs *j, const char *cap, const struct worker_offer *w,
		 uint64_t now);
/* Gone: its leases are cut at their last prefix and given to others. */
void jobs_worker_gone(struct jobs *j, const char *cap, const struct node_id *id,
		      uint64_t now);

/* Accepts a job; its id goes to `id`. ERR_INPUT with a sentence; ERR_BUSY
 * when JOB_MAX_OPEN are open. Work is handed out at the next jobs_tick: call
 * it soon. */
enum err jobs_submit(struct jobs *j, const struct kind *kind, const void *spec,
		     uint64_t now, struct buf *why,
		     char id[static JOB_ID_SIZE]) HN_CHECK;
enum err jobs_submit_search(struct jobs *j, const struct search_spec *s,
			    uint64_t now, struct buf *why,
			    char id[static JOB_ID_SIZE]) HN_CHECK;
/* What jobs_ops.finish began has ended; an error fails the job. */
void jobs_finished(struct jobs *j, const char *id, enum err e, const char *text,
		   uint64_t now);
/* It cannot go on, for a reason outside; an ended or unknown one stays. */
void jobs_fail(struct jobs *j, const char *id, enum err e, const char *text,
	       uint64_t now);
/* ERR_NOTFOUND; a unique prefix is enough. One that has ended stays so. */
enum err jobs_cancel(struct jobs *j, const char *id, uint64_t now) HN_CHECK;
enum err jobs_cancel_because(struct jobs *j, const char *id, const char *text,
			     uint64_t now) HN_CHECK;

/* A worker's word: all of its lease below `below` is done, with these
 * further shares. The caller has made sure that it comes from the lease's
 * worker. Checked here; a lie drops the worker. The words of one lease come in
 * their order (a stream keeps it); one that says nothing new came twice and is
 * ignored. Words about a lease that was taken back still count for nonces that
 * nobody else did meanwhile; the rest is counted as late. An unknown lease is
 * ignored. */
void jobs_progress(struct jobs *j, uint64_t lease_id, uint64_t below,
		   const uint32_t *shares, size_t n, uint64_t now);
/* Of a kind without shares: a part of the answer came, which counts for
 * nothing yet. */
void jobs_heard(struct jobs *j, uint64_t lease_id, uint64_t now);
/* So many hashes of the lease's answer were computed again and are right. */
void jobs_checked(struct jobs *j, uint64_t lease_id, uint64_t hashes,
		  uint64_t now);
/* The end of a lease: OK means all of it is done (and told by progress, and
 * its signature was good: the caller checked) with so many hashes; OK without
 * that drops the worker, and so does ERR_CRYPTO, an answer without a good
 * signature. Anything else gives back what is above the last prefix, and the
 * worker rests for 0.5 s, doubling. */
void jobs_lease_end(struct jobs *j, uint64_t lease_id, enum err e,
		    uint64_t hashes, uint64_t now);
/* The caller has proof that what the lease's worker answered is wrong: no work
 * for it any more, and what it did is done again. Also about a closed lease;
 * an unknown one is ignored. */
void jobs_lie(struct jobs *j, uint64_t lease_id, const char *why, uint64_t now);
void jobs_rescan_end(struct jobs *j, uint64_t check_id, enum err e,
		     const uint32_t *shares, size_t n, uint64_t now);

/* Does what is due: hands out work, expires leases, spends the re-scan
 * budget, ends jobs. Returns when to call again at the latest (ms); other
 * calls need no jobs_tick after them, except a submission. */
uint64_t jobs_tick(struct jobs *j, uint64_t now);

/* Does any open job need this capability? (To follow topics, publish want.) */
bool jobs_wants(const struct jobs *j, const char *cap);

/*
 * Scores (score.h). jobs_set_trust and jobs_set_wall come before all else; the
 * wall clock is told again now and then (ms since 1970, as it is `now`).
 * Probes of idle peers every interval_ms, 0: none; those on their way out of
 * quarantine get them in any case; an answer may take timeout_ms beside the
 * scan itself.
 */
void jobs_set_trust(struct jobs *j, const struct score_rules *rules,
		    uint64_t interval_ms, uint64_t timeout_ms);
void jobs_set_wall(struct jobs *j, uint64_t unix_ms, uint64_t now);
/* As an earlier start left it; total may be NULL. */
void jobs_set_score(struct jobs *j, const struct node_id *id,
		    const struct score *s, const struct evidence_total *total);
/* One whose score has changed since it was given last; false: no more. */
bool jobs_scored_next(struct jobs *j, struct node_id *id, struct score *out,
		      struct evidence_total *total);
/* Proof of a lie came from elsewhere: as if it had been found here. */
void jobs_bar(struct jobs *j, const struct node_id *id, const char *why,
	      uint64_t now);
/* How many are quarantined or on probation, and how many are barred. */
void jobs_shut_out(const struct jobs *j, uint64_t *quarantined,
		   uint64_t *barred);
bool jobs_barred(const struct jobs *j, const struct node_id *id);
/* A person lets it back, on probation. */
void jobs_pardon(struct jobs *j, const struct node_id *id, uint64_t now);
struct peer_score {
	struct score score; /* as of now */
	struct score_rules rules;
	uint64_t wall_ms;
	uint64_t rate; /* measured H/s; 0: none */
	struct evidence_total total;
};
/* False: a stranger; *out is one, too. */
bool jobs_score(const struct jobs *j, const struct node_id *id, uint64_t now,
		struct peer_score *out);

/* How one node stands to one job: what its placement depends on. */
struct job_view {
	const char *cap; /* what the job needs */
	const struct job_terms *terms;
	struct sched_candidate c;
	bool open;	     /* the job is */
	bool pending;	     /* there is work that nobody holds */
	bool others;	     /* but that one may not do it */
	unsigned held;	     /* units of it in that node's hands */
	uint64_t units;	     /* it has ended */
	uint64_t hashes;     /* credited to it */
	const char *dropped; /* from this job: why; NULL: it was not */
};
/* ERR_NOTFOUND. What is lent lives until the next call of a jobs_* function. */
enum err jobs_view(const struct jobs *j, const char *job,
		   const struct node_id *id, uint64_t now,
		   struct job_view *out) HN_CHECK;

/* Snapshots for people and scripts: the replies of job.list, job.show and
 * the chunks of job.watch. */
struct job_hit {
	uint64_t nonce;
	char *hash; /* as explorers show it */
	char *by;   /* node id in hex */
};
extern const struct message job_hit_message;

struct job_peer {
	char *id, *name;
	uint64_t units, hashes;
	uint64_t rate; /* H/s over its work on this job */
	uint64_t expected_shares, shares;
	double rescanned; /* fraction of its hashes re-scanned */
	uint64_t late;	  /* units clipped as late */
	char *state;	  /* "working", "done", "lost", "dropped" */
	char *why;	  /* of dropped and lost */
	uint64_t pieces;  /* of its work that agreed with another list */
	uint64_t checks;  /* of them work whose answer was known */
	double unseen_10; /* chance that it left out a tenth, at most */
	/* Over all its jobs for this node; up to the end of this one. */
	uint64_t all_hashes, all_expected, all_shares, all_rescanned,
	    all_pieces, all_checks, all_failures;
};
extern const struct message job_peer_message;

struct job_unit {
	uint64_t lease, start, end, below;
	char *state; /* assigned, computing, done, taken-back */
	char *peer;  /* name */
};
extern const struct message job_unit_message;

struct job_info {
	char *job, *kind, *state;
	char *error, *text; /* of a failed one: err name and sentence */
	bool found;
	struct opt_u64 nonce; /* the (lowest) hit */
	char *hash, *by;      /* NULL when none */
	uint64_t start, end;  /* the range */
	uint64_t hashes;      /* nonces done, each counted once */
	double percent;	      /* 0..100 */
	double seconds;	      /* since submission, or its whole life */
	uint64_t rate;	      /* H/s now */
	double eta_s;	      /* -1: unknown */
	uint64_t peers;	      /* how many did work */
	uint64_t workers;     /* at work now */
	double checked;	      /* fraction re-scanned of what others did, 0..1;
			       * 1 when all was our own work */
	uint64_t expected_shares, shares, rehashed, pieces;
	uint64_t late; /* hashes done twice; counted once */
	uint64_t pending, assigned, computing, done, failed; /* units */
	char *header, *target; /* hex as given; as explorers show it */
	bool all;
	struct list hits;    /* struct job_hit; with all; not in brief */
	struct list by_peer; /* struct job_peer; job.show only */
	struct list units;   /* struct job_unit; job.show with units: those
			      * in hands and the last 256 */
	char *note;	     /* D15's sentence on what stays unseen */
	/* What was checked of others' work, beside the above; nonces. */
	uint64_t rescanned;		/* held against another list */
	uint64_t scanned;		/* that we scanned for it */
	uint64_t given;			/* that workers did twice for it */
	uint64_t checks, checks_passed; /* units whose answer was known */
	uint64_t replicas;		/* units done again and compared */
	uint64_t unreplicated; /* nonces that should have been, and were not */
	double cost;	       /* of all that, as a share of the work */
	/* Chances, at most, that the least checked peer left out 1, 10, 50 %
	 * and was not seen; that a withheld winner would have been seen. */
	double unseen_1, unseen_10, unseen_50, winner_seen;
	struct terms_shown terms;
	char *backup;	   /* id of the node that takes it over; NULL: none */
	uint64_t twice;	   /* nonces that both of them had done */
	char *backup_note; /* what the backup has; of an open job */
	char *taken_from;  /* this node is the backup of that one */
	char *file, *out;  /* of a batch; NULL */
	uint64_t inputs, bytes; /* that FILE has */
	char *waiting;		/* all is done: what for; NULL: for nothing */
};
extern const struct message job_info_message;

enum job_detail { JOB_BRIEF, JOB_PEERS, JOB_UNITS };
/* ERR_NOTFOUND; a unique prefix of the id is enough. */
enum err jobs_info(const struct jobs *j, const char *id, enum job_detail detail,
		   uint64_t now, struct arena *a,
		   struct job_info *out) HN_CHECK;
/* What a job asks, in the form of its kind; NULL: unknown. */
const void *jobs_spec(const struct jobs *j, const char *id,
		      const struct kind **kind);
void jobs_each(const struct jobs *j, void (*fn)(const char *id, void *arg),
	       void *arg);

#endif
