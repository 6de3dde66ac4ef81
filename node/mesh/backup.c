/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The submitter's half keeps a copy entry per open job that names a backup:
 * dirty when the disk has something newer than the backup, one call at a time.
 * The backup's half keeps a held entry per job of others, with the bytes on
 * disk only; a timer looks which submitters are gone and which are back.
 *
 * Nobody can tell a dead submitter from one that is cut off. So a backup never
 * asks whether it may go on, and the submitter never waits for it: both work,
 * and jobs_merge sorts it out.
 */
#include "node/mesh/backup.h"
#include "node/mesh/mesh_impl.h"

#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/mesh/job_save.h"
#include "node/mesh/journal.h"
#include "node/mesh/membership.h"

#include "node/mesh/peers.h"

#include <utlist.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICK_MS 500
#define RETRY_MS 5000
#define ENDED_TRIES 8 /* each after twice the time: 20 minutes */
#define CALL_MS 15000
#define LOST_MS (UINT64_C(30) * 24 * 3600 * 1000) /* kept for so long */

const struct store_schema backup_schema[] = {
    {"backup", 1,
     "CREATE TABLE backup_jobs (submitter BLOB NOT NULL, job TEXT NOT NULL,"
     /* had: -1 kept; else taken over with so much done */
     " at INTEGER NOT NULL, had INTEGER NOT NULL, saved BLOB NOT NULL,"
     " PRIMARY KEY (submitter, job))"},
};
const size_t backup_schema_count = HN_COUNT(backup_schema);

static const struct field job_replica_fields[] = {
    FIELD_STR(struct job_replica, job, JOB_ID_SIZE - 1, "job id"),
    FIELD_BYTES(struct job_replica, saved, BACKUP_JOB_MAX,
		"a job_saved, packed; empty once it has ended"),
    FIELD_BOOL(struct job_replica, ended, "it has: forget it"),
};
const struct message job_replica_message =
    MESSAGE("job_replica", struct job_replica, job_replica_fields);

static const struct field job_replica_kept_fields[] = {
    FIELD_BOOL(struct job_replica_kept, taken_over,
	       "not kept: the backup runs it, and gives it back"),
};
const struct message job_replica_kept_message = MESSAGE(
    "job_replica_kept", struct job_replica_kept, job_replica_kept_fields);

static const struct field job_handback_fields[] = {
    FIELD_STR(struct job_handback, job, JOB_ID_SIZE - 1, "job id"),
    FIELD_BYTES(struct job_handback, saved, BACKUP_JOB_MAX,
		"a job_saved, packed"),
    FIELD_U64(struct job_handback, had, 0,
	      "nonces that were done when it was taken over"),
};
const struct message job_handback_message =
    MESSAGE("job_handback", struct job_handback, job_handback_fields);

static const struct field job_handed_fields[] = {
    FIELD_U64(struct job_handed, twice, 0, "nonces that both had done"),
};
const struct message job_handed_message =
    MESSAGE("job_handed", struct job_handed, job_handed_fields);

/* A job of ours. */
struct copy {
	struct copy *prev, *next;
	struct backup *all;
	char job[JOB_ID_SIZE];
	struct node_id peer;
	bool dirty, sending, ended;
	unsigned tries;		    /* to say that it has ended */
	uint64_t retry_ms, kept_ms; /* loop time; 0: never */
	char *trouble;
};

/* A job of somebody else. */
struct held {
	struct held *prev, *next;
	struct backup *all;
	char job[JOB_ID_SIZE];
	struct node_id submitter;
	uint64_t bytes, had;
	bool taken, taking, giving, over;
	uint64_t seen_ms, retry_ms;
};

struct backup {
	struct mesh *m;
	struct copy *copies;
	struct held *held;
	struct loop_timer *tick;
	bool stopping;
	loop_fn loaded;
	void *loaded_arg;
};

static uint64_t now_of(const struct backup *b)
{
	return loop_ms(b->m->loop);
}

static void arm(struct backup *b)
{
	if (!b->stopping && (b->copies || b->held) &&
	    !loop_timer_armed(b->tick))
		loop_timer_set(b->tick, TICK_MS);
}

/* --- the submitter's half --- */

static struct copy *copy_find(const struct backup *b, const char *job)
{
	struct copy *c;

	DL_FOREACH (b->copies, c)
		if (!strcmp(c->job, job))
			return c;
	return NULL;
}

static void copy_free(struct copy *c)
{
	DL_DELETE(c->all->copies, c);
	free(c->trouble);
	free(c);
}

static void copy_failed(struct copy *c, enum err e, const char *text)
{
	const bool first = !c->trouble;

	/* Nothing is lost: should it go on with the job, then it hears when it
	 * gives that back. */
	if (c->ended && ++c->tries == ENDED_TRIES) {
		copy_free(c);
		return;
	}
	c->sending = false;
	c->dirty = true;
	c->retry_ms = now_of(c->all) + (RETRY_MS << (c->ended ? c->tries : 0));
	free(c->trouble);
	c->trouble = xstrdup(text && *text ? text : err_str(e));
	if (first && !c->ended)
		log_warn("work",
			 "job %s has no backup now: %s: %s; trying again",
			 c->job, node_str(&c->peer), log_quote(c->trouble));
}

static void on_kept(void *arg, struct rpc_stream *st, enum err e,
		    const void *reply, const char *text)
{
	struct copy *c = arg;

	(void)st, (void)reply;
	if (c->all->stopping)
		return;
	if (e) {
		copy_failed(c, e, text);
		return;
	}
	if (!c->ended && (!c->kept_ms || c->trouble))
		log_info("work", "%s is the backup of job %s",
			 node_str(&c->peer), c->job);
	free(c->trouble);
	c->trouble = NULL;
	c->sending = false;
	c->kept_ms = now_of(c->all);
	if (c->ended && !c->dirty)
		copy_free(c);
}

static enum err copy_send(struct copy *c, struct session *s)
{
	static const struct rpc_ops ops = {.end = on_kept};
	struct mesh *m = c->all->m;
	struct job_replica q = {.job = c->job, .ended = c->ended};
	struct buf saved = {0};
	enum err e = OK;

	if (!c->ended)
		e = jobs_save(m->jobs, c->job, loop_ms(m->loop), &saved);
	q.saved = (struct bytes){saved.p, saved.n};
	c->dirty = false;
	if (!e)
		e = rpc_call(m->rpc, s, "job.replica", &q, CALL_MS, &ops, c,
			     NULL);
	buf_release(&saved);
	return e;
}

static void on_session(void *arg, enum err e, struct session *s,
		       const char *text)
{
	struct copy *c = arg;

	if (c->all->stopping)
		return;
	if (!e)
		e = copy_send(c, s);
	if (e)
		copy_failed(c, e, text);
}

static void copy_push(struct copy *c)
{
	if (!c->dirty || c->sending || now_of(c->all) < c->retry_ms)
		return;
	c->sending = true;
	peers_connect(c->all->m->peers, &c->peer, CALL_MS, on_session, c);
}

/* The disk has something new of this job; true: it is one with a backup that
 * is not ourselves. */
static void on_saved(void *arg, const char *job)
{
	struct backup *b = arg;
	struct copy *c = copy_find(b, job);
	struct node_id peer;
	size_t hits;
	bool open;

	if (b->stopping || !jobs_glance(b->m->jobs, job, &hits, &open) ||
	    !jobs_backup(b->m->jobs, job, &peer) ||
	    node_id_eq(&peer, identity_id(b->m->me)))
		return;
	if (!c && !open)
		return;
	if (!c) {
		c = HN_NEW(struct copy);
		c->all = b;
		c->peer = peer;
		snprintf(c->job, sizeof(c->job), "%s", job);
		DL_APPEND(b->copies, c);
	}
	c->ended = !open;
	c->dirty = true;
	copy_push(c);
	arm(b);
}

/* --- the backup's half: keeping --- */

static struct held *held_find(const struct backup *b, const struct node_id *id,
			      const char *job)
{
	struct held *h;

	DL_FOREACH (b->held, h)
		if (node_id_eq(&h->submitter, id) && !strcmp(h->job, job))
			return h;
	return NULL;
}

static struct held *held_add(struct backup *b, const struct node_id *id,
			     const char *job)
{
	struct held *h = HN_NEW(struct held);

	h->all = b;
	h->submitter = *id;
	h->seen_ms = now_of(b);
	snprintf(h->job, sizeof(h->job), "%s", job);
	DL_APPEND(b->held, h);
	return h;
}

static void held_drop(struct held *h)
{
	const struct store_val vals[] = {STORE_B(h->submitter.b, NODE_ID_SIZE),
					 store_text(h->job)};

	store_run(h->all->m->store,
		  "DELETE FROM backup_jobs WHERE submitter = ? AND job = ?",
		  vals, HN_COUNT(vals), NULL, NULL);
	DL_DELETE(h->all->held, h);
	free(h);
}

/* A replica that waits for the disk; its sender may leave before. */
struct keeping {
	struct rpc_stream *st; /* NULL: left */
};

static void on_sender_left(void *arg, struct rpc_stream *st, enum err e,
			   const void *reply, const char *text)
{
	struct keeping *k = arg;

	(void)st, (void)e, (void)reply, (void)text;
	k->st = NULL;
}

static struct keeping *keeping_new(struct rpc_stream *st)
{
	static const struct rpc_ops ops = {.end = on_sender_left};
	struct keeping *k = HN_NEW(struct keeping);

	k->st = st;
	rpc_serve(st, &ops, k);
	return k;
}

static void on_replica_stored(const struct store_result *r, void *arg)
{
	const struct job_replica_kept kept = {0};
	struct keeping *k = arg;

	if (k->st && r->err)
		rpc_fail(k->st, r->err, "it could not be written down: %s",
			 r->message);
	else if (k->st)
		rpc_reply(k->st, &kept);
	free(k);
}

static bool accepts(const struct backup *b)
{
	const char *whom = b->m->o.backup_accept;

	return !strcmp(whom, "any") ||
	       (!strcmp(whom, "mesh") && !b->m->membership->is_public);
}

static enum err may_keep(const struct backup *b, const struct node_id *id,
			 const struct job_replica *q, struct buf *why)
{
	const struct held *h;
	uint64_t bytes = q->saved.n;
	size_t all = 0, same = 0;

	if (!accepts(b)) {
		buf_add_str(why, "this node is nobody's backup (its owner may "
				 "start it with --backup-accept any)");
		return ERR_DENIED;
	}
	DL_FOREACH (b->held, h) {
		if (node_id_eq(&h->submitter, id) && !strcmp(h->job, q->job))
			continue;
		all++;
		same += node_id_eq(&h->submitter, id);
		bytes += h->bytes;
	}
	if (same < BACKUP_JOBS_PER_PEER && all < BACKUP_JOBS &&
	    bytes <= BACKUP_BYTES)
		return OK;
	buf_printf(why,
		   "this node keeps enough jobs for others: at most %d of one "
		   "peer, %d and %d MiB in all",
		   BACKUP_JOBS_PER_PEER, BACKUP_JOBS,
		   (int)(BACKUP_BYTES >> 20));
	return ERR_BUSY;
}

/* Its submitter says that it has ended. */
static void held_ended(struct held *h)
{
	struct mesh *m = h->all->m;

	if (h->taken) {
		enum err e = jobs_cancel_because(m->jobs, h->job,
						 "its submitter has ended it",
						 loop_ms(m->loop));
		(void)e; /* it may have ended here, too */
	}
	if (h->taking || h->giving)
		h->over = true;
	else
		held_drop(h);
}

static void keep(struct backup *b, struct held *h, const struct job_replica *q,
		 struct rpc_stream *st)
{
	const struct store_val vals[] = {
	    STORE_B(h->submitter.b, NODE_ID_SIZE), store_text(h->job),
	    STORE_I(clock_unix_ms()), STORE_B(q->saved.p, q->saved.n)};

	h->bytes = q->saved.n;
	h->seen_ms = now_of(b);
	store_run(b->m->store,
		  "INSERT INTO backup_jobs (submitter, job, at, had, saved) "
		  "VALUES (?, ?, ?, -1, ?) ON CONFLICT (submitter, job) DO "
		  "UPDATE SET at = excluded.at, saved = excluded.saved WHERE "
		  "had < 0",
		  vals, HN_COUNT(vals), on_replica_stored, keeping_new(st));
	arm(b);
}

static void serve_replica(struct rpc_stream *st, const void *request, void *arg)
{
	const struct job_replica *q = request;
	struct mesh *m = arg;
	struct backup *b = m->backup;
	const struct session *s = rpc_stream_session(st);
	struct job_replica_kept reply = {0};
	struct buf why = {0};

	if (session_kind(s) == SESSION_CONTROL || !job_id_ok(q->job) ||
	    (!q->ended && !q->saved.n)) {
		rpc_fail(st, ERR_INPUT, "it names a job and brings its bytes");
		return;
	}
	const struct node_id id = *session_peer(s);
	struct held *h = held_find(b, &id, q->job);
	if (q->ended) {
		if (h)
			held_ended(h);
		rpc_reply(st, &reply);
		return;
	}
	if (h && (h->taken || h->taking)) {
		reply.taken_over = true;
		rpc_reply(st, &reply);
		return;
	}
	enum err e = may_keep(b, &id, q, &why);
	if (e) {
		rpc_fail(st, e, "%s", buf_str(&why));
	} else {
		if (!h) {
			h = held_add(b, &id, q->job);
			log_info("work", "backup of job %s of %s", h->job,
				 node_str(&id));
		}
		keep(b, h, q, st);
	}
	buf_release(&why);
}

/* --- taking over --- */

static void on_taken_stored(void *arg, const char *job, enum err e,
			    const char *text)
{
	(void)arg;
	if (e && e != ERR_GONE)
		log_error("work", "job %s, taken over, is not on disk: %s", job,
			  text);
}

static enum err take_over(struct held *h, const struct store_val *v,
			  struct buf *why)
{
	struct mesh *m = h->all->m;

	enum err e =
	    jobs_adopt(m->jobs, h->job, v->b.p, v->b.n, loop_ms(m->loop), why);
	if (e)
		return e;
	h->taken = true;
	h->had = jobs_done(m->jobs, h->job);
	const struct store_val vals[] = {STORE_I(h->had),
					 STORE_B(h->submitter.b, NODE_ID_SIZE),
					 store_text(h->job)};
	store_run(m->store,
		  "UPDATE backup_jobs SET had = ? WHERE submitter = ? AND "
		  "job = ?",
		  vals, HN_COUNT(vals), NULL, NULL);
	journal_submitted(m->journal, h->job, on_taken_stored, NULL);
	log_warn("work",
		 "job %s taken over from %s, which has had no session here for "
		 "%" PRIu64 " s",
		 h->job, node_str(&h->submitter),
		 (now_of(h->all) - h->seen_ms) / 1000);
	service_job_resume(m);
	return OK;
}

static void on_replica_read(const struct store_result *r, void *arg)
{
	struct held *h = arg;
	struct backup *b = h->all;
	struct buf why = {0};

	h->taking = false;
	if (b->stopping || !b->m->jobs)
		return;
	if (h->over) {
		held_drop(h);
		return;
	}
	enum err e = r->err;
	if (!e && r->rows == 1)
		e = take_over(h, r->cells, &why);
	else
		buf_add_str(&why, e ? r->message : "it is gone");
	if (!h->taken) {
		log_warn("work", "job %s of %s cannot be taken over: %s",
			 h->job, node_str(&h->submitter), buf_str(&why));
		h->retry_ms = now_of(b) + 12 * RETRY_MS;
		if (e == ERR_PROTO || e == ERR_LIMIT || r->rows != 1)
			held_drop(h);
	}
	buf_release(&why);
}

static void held_take(struct held *h)
{
	const struct store_val vals[] = {STORE_B(h->submitter.b, NODE_ID_SIZE),
					 store_text(h->job)};

	h->taking = true;
	store_run(h->all->m->store,
		  "SELECT saved FROM backup_jobs WHERE submitter = ? AND "
		  "job = ?",
		  vals, HN_COUNT(vals), on_replica_read, h);
}

/* --- giving back --- */

static void let_go(struct held *h, const char *text)
{
	struct mesh *m = h->all->m;
	enum err e =
	    jobs_cancel_because(m->jobs, h->job, text, loop_ms(m->loop));

	(void)e; /* an ended one stays as it is */
	held_drop(h);
	service_job_resume(m);
}

static void not_given(const struct held *h, const char *text)
{
	static struct log_gate gate;

	log_every(&gate, 10000, LOG_INFO, "work",
		  "job %s cannot be given back yet: %s", h->job,
		  log_quote(text));
}

static void on_handed(void *arg, struct rpc_stream *st, enum err e,
		      const void *reply, const char *text)
{
	const struct job_handed *r = reply;
	struct held *h = arg;
	struct backup *b = h->all;

	(void)st;
	h->giving = false;
	if (b->stopping || !b->m->jobs)
		return;
	if (h->over) {
		held_drop(h);
	} else if (!e) {
		log_info("work",
			 "job %s given back to %s; %" PRIu64
			 " hashes were done on both sides",
			 h->job, node_str(&h->submitter), r->twice);
		let_go(h, "given back to its submitter");
	} else if (e == ERR_EXISTS) {
		let_go(h, "its submitter has ended it");
	} else if (e == ERR_NOTFOUND) {
		/* It lost its database: what is done here is all there is. */
		log_warn("work", "%s knows job %s no more; it ends here",
			 node_str(&h->submitter), h->job);
		held_drop(h);
	} else {
		not_given(h, text ? text : err_str(e));
		h->retry_ms = now_of(b) + RETRY_MS;
	}
}

static void held_give(struct held *h, struct session *s)
{
	static const struct rpc_ops ops = {.end = on_handed};
	struct mesh *m = h->all->m;
	struct job_handback q = {.job = h->job, .had = h->had};
	struct buf saved = {0};

	/* Its end is told when it is on disk, as always. */
	if (!journal_final(m->journal, h->job))
		return;
	enum err e = jobs_save(m->jobs, h->job, loop_ms(m->loop), &saved);
	q.saved = (struct bytes){saved.p, saved.n};
	if (e) {
		held_drop(h); /* ended, and forgotten with age */
	} else {
		e = rpc_call(m->rpc, s, "job.handback", &q, CALL_MS, &ops, h,
			     NULL);
		h->giving = !e;
		h->retry_ms = e ? now_of(h->all) + RETRY_MS : 0;
		if (e)
			not_given(h, err_str(e));
	}
	buf_release(&saved);
}

/* The submitter's half again: its job comes back. */
struct handing {
	struct rpc_stream *st; /* NULL: left */
	uint64_t twice;
};

static void on_backup_left(void *arg, struct rpc_stream *st, enum err e,
			   const void *reply, const char *text)
{
	struct handing *x = arg;

	(void)st, (void)e, (void)reply, (void)text;
	x->st = NULL;
}

static void on_merged_stored(void *arg, const char *job, enum err e,
			     const char *text)
{
	struct handing *x = arg;
	const struct job_handed reply = {.twice = x->twice};

	(void)job;
	if (x->st && e)
		rpc_fail(x->st, e, "it could not be written down: %s",
			 text ? text : err_str(e));
	else if (x->st)
		rpc_reply(x->st, &reply);
	free(x);
}

static void serve_handback(struct rpc_stream *st, const void *request,
			   void *arg)
{
	static const struct rpc_ops ops = {.end = on_backup_left};
	const struct job_handback *q = request;
	const struct session *s = rpc_stream_session(st);
	struct mesh *m = arg;
	struct buf why = {0};
	struct node_id named;
	uint64_t twice;

	if (!jobs_backup(m->jobs, q->job ? q->job : "", &named)) {
		rpc_fail(st, ERR_NOTFOUND, "no such job here");
		return;
	}
	if (session_kind(s) == SESSION_CONTROL ||
	    !node_id_eq(&named, session_peer(s))) {
		rpc_fail(st, ERR_DENIED, "another node is the backup of it");
		return;
	}
	enum err e = jobs_merge(m->jobs, q->saved.p, q->saved.n, q->had,
				loop_ms(m->loop), &why, &twice);
	if (e) {
		rpc_fail(st, e, "%s", buf_str(&why));
	} else {
		struct handing *x = HN_NEW(struct handing);

		log_info("work",
			 "job %s: its backup %s did some of it; %" PRIu64
			 " hashes were done on both sides and count once",
			 q->job, node_str(&named), twice);
		x->st = st;
		x->twice = twice;
		rpc_serve(st, &ops, x);
		journal_flush(m->journal, q->job, on_merged_stored, x);
		service_job_resume(m);
	}
	buf_release(&why);
}

/* --- the clock --- */

static void held_look(struct held *h)
{
	struct backup *b = h->all;
	struct session *s = hub_find(rpc_hub(b->m->rpc), &h->submitter);
	const uint64_t now = now_of(b);

	if (s)
		h->seen_ms = now;
	if (h->taking || h->giving || now < h->retry_ms)
		return;
	if (h->taken && s)
		held_give(h, s);
	else if (!h->taken && now - h->seen_ms >= b->m->o.backup_takeover_ms)
		held_take(h);
}

static void on_tick(void *arg)
{
	struct backup *b = arg;
	struct copy *c, *cnext;
	struct held *h, *hnext;

	if (b->stopping || !b->m->rpc || !b->m->jobs)
		return;
	DL_FOREACH_SAFE (b->copies, c, cnext)
		copy_push(c);
	DL_FOREACH_SAFE (b->held, h, hnext)
		held_look(h);
	arm(b);
}

/* --- life --- */

struct backup *backup_new(struct mesh *m)
{
	struct backup *b = HN_NEW(struct backup);

	b->m = m;
	b->tick = loop_timer_new(m->loop, on_tick, b);
	if (!m->o.backup_takeover_ms)
		m->o.backup_takeover_ms = BACKUP_TAKEOVER_MS;
	journal_on_saved(m->journal, on_saved, b);
	return b;
}

static void on_open_job(const char *id, void *arg)
{
	on_saved(arg, id);
}

static void on_rows(const struct store_result *r, void *arg)
{
	struct backup *b = arg;

	if (!b->stopping && r->err)
		log_error("work", "what is kept for others is unreadable: %s",
			  r->message);
	for (size_t i = 0; !b->stopping && !r->err && i < r->rows; i++) {
		const struct store_val *v = &r->cells[i * r->columns];
		struct node_id id;

		if (v[0].b.n != sizeof(id.b) || v[1].b.n >= JOB_ID_SIZE)
			continue;
		memcpy(id.b, v[0].b.p, sizeof(id.b));
		struct held *h = held_add(b, &id, (const char *)v[1].b.p);
		h->taken = v[2].i >= 0;
		h->had = h->taken ? (uint64_t)v[2].i : 0;
		h->bytes = (uint64_t)v[3].i;
	}
	if (!b->stopping && b->m->jobs)
		jobs_each(b->m->jobs, on_open_job, b);
	arm(b);
	b->loaded(b->loaded_arg);
}

void backup_load(struct backup *b, loop_fn done, void *arg)
{
	const struct store_val old = STORE_I(clock_unix_ms() - LOST_MS);

	b->loaded = done;
	b->loaded_arg = arg;
	store_run(b->m->store, "DELETE FROM backup_jobs WHERE at < ?", &old, 1,
		  NULL, NULL);
	store_run(b->m->store,
		  "SELECT submitter, job, had, length(saved) FROM backup_jobs",
		  NULL, 0, on_rows, b);
}

void backup_stop(struct backup *b)
{
	b->stopping = true;
	loop_timer_cancel(b->tick);
}

void backup_free(struct backup *b)
{
	if (!b)
		return;
	while (b->copies)
		copy_free(b->copies);
	while (b->held) {
		struct held *h = b->held;

		DL_DELETE(b->held, h);
		free(h);
	}
	loop_timer_free(b->tick);
	free(b);
}

void backup_tell(const struct backup *b, struct arena *a, struct job_info *info)
{
	const struct copy *c = copy_find(b, info->job);
	const struct held *h;

	DL_FOREACH (b->held, h)
		if (h->taken && !strcmp(h->job, info->job))
			info->taken_from =
			    arena_printf(a, "%s", node_str(&h->submitter));
	if (!c || c->ended)
		return;
	if (c->trouble)
		info->backup_note = arena_printf(a, "not now: %s", c->trouble);
	else if (c->kept_ms)
		info->backup_note =
		    arena_printf(a, "has it as of %" PRIu64 " s ago",
				 (now_of(b) - c->kept_ms) / 1000);
	else
		info->backup_note = arena_printf(a, "not reached yet");
}

const struct rpc_method backup_methods[] = {
    {.name = "job.replica",
     .version = 1,
     .right = RIGHT_MEMBER,
     .repeatable = true,
     .request = &job_replica_message,
     .reply = &job_replica_kept_message,
     .max_request = BACKUP_JOB_MAX + 256,
     .max_streams = 1,
     .serve = serve_replica,
     .doc = "keep a job for its submitter, and end it when that is gone"},
    {.name = "job.handback",
     .version = 1,
     .right = RIGHT_MEMBER,
     .repeatable = true,
     .request = &job_handback_message,
     .reply = &job_handed_message,
     .max_request = BACKUP_JOB_MAX + 256,
     .max_streams = 1,
     .serve = serve_handback,
     .doc = "give back what was done of a job that was taken over"},
    {0},
};
