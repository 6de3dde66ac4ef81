/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The coordinator's surroundings: gives the pure job.c its clock, randomness,
 * workers and hands (service_hash.c), and serves the job.* methods. All of
 * jobs_tick runs from one timer: jobs_tick says when it is due next, news
 * bring it forward to the end of this round.
 */
#include "node/mesh/mesh_impl.h"

#include "asic/asic.h"
#include "node/base/buf.h"
#include "node/base/log.h"
#include "node/mesh/backup.h"
#include "node/mesh/job.h"
#include "node/mesh/journal.h"
#include "node/mesh/kind.h"
#include "node/mesh/kind_batch.h"
#include "node/mesh/ledger.h"
#include "node/mesh/service_digest.h"
#include "node/mesh/service_hash.h"
#include "node/mesh/service_trust.h"
#include "node/mesh/standing.h"

#include <sodium.h>
#include <utlist.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WATCH_MS 250 /* between two chunks of a job.watch */
#define SEARCH_CAP "hash/sha256d"
#define CORE_RATE_MS 100
#define PROBE_TIMEOUT_MS 10000

struct watcher {
	struct watcher *prev, *next;
	struct service_job *s;
	struct rpc_stream *st;
	char job[JOB_ID_SIZE];
	bool due, ended;
};

struct service_job {
	struct mesh *m;
	struct loop_timer *tick, *tell;
	struct watcher *watchers;
	bool wanted; /* we told peers.c that we want work done */
	bool core_known, measuring;
};

static uint64_t now_of(const struct service_job *s)
{
	return loop_ms(s->m->loop);
}

static enum err info_of(struct mesh *m, const char *id, enum job_detail detail,
			struct arena *a, struct job_info *out)
{
	enum err e = jobs_info(m->jobs, id, detail, loop_ms(m->loop), a, out);

	if (!e && m->backup)
		backup_tell(m->backup, a, out);
	/* An end that is not on disk yet is none. */
	if (!e && !journal_final(m->journal, out->job)) {
		out->state = arena_strndup(a, "running", 7);
		out->error = out->text = NULL;
	}
	return e;
}

/* --- what the coordinator asks for --- */

static uint64_t op_random(void *arg)
{
	uint64_t v;

	(void)arg;
	randombytes_buf(&v, sizeof(v));
	return v;
}

/* The services that carry the leases of a kind out. */
static const struct carrier {
	const struct kind *kind;
	enum err (*assign)(struct mesh *m, const struct lease *l);
	void (*revoke)(struct mesh *m, uint64_t lease_id); /* if it has it */
} carriers[] = {
    {&kind_search, service_hash_assign, service_hash_revoke},
    {&kind_batch, service_digest_assign, service_digest_revoke},
};

static enum err op_assign(void *arg, const struct lease *l)
{
	struct service_job *s = arg;

	for (size_t i = 0; i < HN_COUNT(carriers); i++)
		if (carriers[i].kind == l->kind)
			return carriers[i].assign(s->m, l);
	return ERR_DEVICE;
}

static void op_revoke(void *arg, uint64_t lease_id)
{
	struct service_job *s = arg;

	for (size_t i = 0; i < HN_COUNT(carriers); i++)
		carriers[i].revoke(s->m, lease_id);
}

static enum err op_rescan(void *arg, uint64_t check_id,
			  const struct scan_work *w)
{
	struct service_job *s = arg;

	return service_hash_rescan(s->m, check_id, w);
}

static void op_rescan_cancel(void *arg, uint64_t check_id)
{
	struct service_job *s = arg;

	service_hash_rescan_cancel(s->m, check_id);
}

/* Dropping a peer takes its workers from the coordinator, which is busy now:
 * it waits for the end of this round. */
struct bad_peer {
	struct mesh *m;
	struct node_id id;
	bool proven;
	struct job_proof proof; /* if so */
	char why[200];
};

static void on_peer_bad(void *arg)
{
	struct bad_peer *b = arg;

	if (b->m->peers && !b->m->stopping)
		peers_drop(b->m->peers, &b->id, b->proven, b->why);
	free(b);
}

/* The answer with the lie in it, or NULL: its session may end now. */
static void on_heard(void *arg, const struct ledger_answer *answer)
{
	struct bad_peer *b = arg;

	service_trust_answer(b->m, &b->id, &b->proof, answer);
	loop_post(b->m->loop, on_peer_bad, b);
}

static void op_peer_bad(void *arg, const struct node_id *id,
			const struct job_proof *proof, const char *why)
{
	struct service_job *s = arg;
	struct bad_peer *b = HN_NEW(struct bad_peer);

	journal_dropped(s->m->journal);
	ledger_dropped(s->m->ledger, id);
	log_warn("work", "%s dropped: %s; its units are done again peer=%s",
		 node_str(id), why, node_str(id));
	b->m = s->m;
	b->id = *id;
	b->proven = proof != NULL;
	if (proof)
		b->proof = *proof;
	snprintf(b->why, sizeof(b->why), "%s", why);
	if (proof && service_hash_hear(s->m, proof->lease, on_heard, b)) {
		/* People see it at once. */
		struct bad_peer *now = xmemdup(b, sizeof(*b));

		now->proven = false;
		loop_post(s->m->loop, on_peer_bad, now);
		return;
	}
	if (proof)
		service_trust_caught(s->m, id, proof);
	loop_post(s->m->loop, on_peer_bad, b);
}

/* The same for one whose score lets it back, or says that it has to wait. */
struct scored_peer {
	struct mesh *m;
	struct node_id id;
};

static void on_scored(void *arg)
{
	struct scored_peer *b = arg;
	struct peer_score s;

	if (b->m->jobs && b->m->peers && !b->m->stopping &&
	    jobs_score(b->m->jobs, &b->id, loop_ms(b->m->loop), &s) &&
	    score_may_work(&s.score))
		peers_readmit(b->m->peers, &b->id);
	free(b);
}

static void log_score(const struct node_id *id, const struct peer_score *s)
{
	struct buf why = {0};

	score_why(&s->score, &s->rules, s->wall_ms, &why);
	switch (s->score.state) {
	case SCORE_NEW:
		break;
	case SCORE_TRUSTED:
		log_info("work", "peer %s is trusted, score %.2f", node_str(id),
			 score_value(&s->score));
		break;
	case SCORE_QUARANTINED:
	case SCORE_PROBATION:
		log_info("work", "peer %s %s", node_str(id), buf_str(&why));
		break;
	case SCORE_BARRED:
		break; /* op_peer_bad says more */
	}
	buf_release(&why);
}

static void op_scored(void *arg, const struct node_id *id)
{
	struct service_job *s = arg;
	struct peer_score now;
	struct scored_peer *b = HN_NEW(struct scored_peer);

	standing_changed(s->m->standing, id);
	if (jobs_score(s->m->jobs, id, now_of(s), &now))
		log_score(id, &now);
	b->m = s->m;
	b->id = *id;
	loop_post(s->m->loop, on_scored, b);
}

/* How it ended, in words: "found nonce 0x9546a142", "no-peer: ...". */
static void log_ended(struct service_job *s, const char *job)
{
	struct arena a = {0};
	struct job_info i;

	if (info_of(s->m, job, JOB_BRIEF, &a, &i))
		log_info("work", "job ended job=%s", job);
	else if (i.nonce.set)
		log_info("work", "job ended: found nonce 0x%08llx job=%s",
			 (unsigned long long)i.nonce.v, job);
	else if (i.error && *i.error)
		log_info("work", "job ended: %s job=%s",
			 i.text && *i.text ? i.text : i.error, job);
	else
		log_info("work", "job ended: nothing found job=%s", job);
	arena_release(&a);
}

static void tell_watchers(struct service_job *s, const char *job, bool ended)
{
	struct watcher *w;

	DL_FOREACH (s->watchers, w) {
		if (strcmp(w->job, job) != 0)
			continue;
		w->due = true;
		w->ended |= ended;
		if (ended || !loop_timer_armed(s->tell))
			loop_timer_set(s->tell, ended ? 0 : WATCH_MS);
	}
}

static void op_finish(void *arg, const char *job, const struct kind *kind,
		      const void *spec)
{
	struct service_job *s = arg;

	(void)kind; /* there is one that asks for it */
	service_digest_finish(s->m, job, spec);
}

static void op_changed(void *arg, const char *job, bool ended)
{
	struct service_job *s = arg;

	if (ended)
		service_digest_ended(s->m, job);
	journal_changed(s->m->journal, job, ended);
	if (!ended)
		tell_watchers(s, job, false);
}

/* Its end is on disk. */
static void on_final(void *arg, const char *job)
{
	struct service_job *s = arg;

	ledger_job_ended(s->m->ledger, job);
	service_digest_final(s->m, job);
	tell_watchers(s, job, true);
	log_ended(s, job);
}

static const struct jobs_ops job_ops = {
    .random = op_random,
    .assign = op_assign,
    .revoke = op_revoke,
    .rescan = op_rescan,
    .rescan_cancel = op_rescan_cancel,
    .peer_bad = op_peer_bad,
    .scored = op_scored,
    .finish = op_finish,
    .changed = op_changed,
};

/* --- the clock --- */

static void tell_wants(struct service_job *s)
{
	bool wanted = jobs_wants(s->m->jobs, SEARCH_CAP);

	if (wanted == s->wanted)
		return;
	s->wanted = wanted;
	peers_want(s->m->peers, SEARCH_CAP, wanted);
}

static void on_tick(void *arg)
{
	struct service_job *s = arg;
	const uint64_t now = now_of(s);

	jobs_set_wall(s->m->jobs, mesh_now_ms(s->m), now);
	const uint64_t next = jobs_tick(s->m->jobs, now);

	tell_wants(s);
	standing_tick(s->m->standing);
	loop_timer_set(s->tick, next > now ? next - now : 1);
}

void service_job_kick(struct mesh *m)
{
	if (m->service_job)
		loop_timer_set(m->service_job->tick, 0);
}

/* --- workers, as peers.c knows them --- */

void service_job_worker(struct mesh *m, const struct cap_info *cap,
			const struct node_id *id, uint64_t rtt_us)
{
	struct worker_offer w = {.id = *id,
				 .rate = cap->rate,
				 .rtt_ms = (rtt_us + 999) / 1000,
				 .slots = cap->slots,
				 .price = cap->price,
				 .load = cap->free < 100 ? 100 - cap->free : 0,
				 .region = cap->region,
				 .hardware = cap->hardware};

	const struct session *session = hub_find(rpc_hub(m->rpc), id);

	if (!m->jobs)
		return;
	/* Two of one owner do not check each other. */
	if (session)
		service_receipt_owner(session, &w.owner);
	jobs_worker(m->jobs, cap->name, &w, loop_ms(m->loop));
	service_job_kick(m);
}

void service_job_worker_gone(struct mesh *m, const char *cap,
			     const struct node_id *id)
{
	if (!m->jobs)
		return;
	jobs_worker_gone(m->jobs, cap, id, loop_ms(m->loop));
	service_job_kick(m);
}

/* --- the methods --- */

/* A core's rate bounds the re-scans; measured when the first job comes, on a
 * node that offers nothing and so was not measured before. */
static void set_core_rate(struct service_job *s, uint64_t rate)
{
	struct asic_device_info d;

	if (!rate || !asic_devices(s->m->asic, &d, 1))
		return;
	s->core_known = true;
	jobs_set_core_rate(s->m->jobs, rate / (d.threads ? d.threads : 1));
}

static void on_core_rate(void *arg, uint64_t rate)
{
	struct mesh *m = arg;

	if (!m->service_job)
		return;
	m->service_job->measuring = false;
	set_core_rate(m->service_job, rate);
	service_job_kick(m);
}

static void know_core_rate(struct service_job *s)
{
	if (!s->core_known)
		set_core_rate(s, asic_rate(s->m->asic));
	if (s->core_known || s->measuring)
		return;
	s->measuring = true;
	asic_measure(s->m->asic, CORE_RATE_MS, on_core_rate, s->m);
}

/* An answer that waits for the disk; its caller may leave before. */
struct answer {
	struct mesh *m;
	struct rpc_stream *st; /* NULL: left */
};

static void on_asker_left(void *arg, struct rpc_stream *st, enum err e,
			  const void *reply, const char *text)
{
	struct answer *a = arg;

	(void)st, (void)e, (void)reply, (void)text;
	a->st = NULL;
}

static struct answer *answer_new(struct mesh *m, struct rpc_stream *st)
{
	static const struct rpc_ops ops = {.end = on_asker_left};
	struct answer *a = HN_NEW(struct answer);

	a->m = m;
	a->st = st;
	rpc_serve(st, &ops, a);
	return a;
}

static void on_submitted(void *arg, const char *job, enum err e,
			 const char *text)
{
	struct answer *a = arg;
	struct mesh *m = a->m;
	struct job_made made = {.job = (char *)(uintptr_t)job};

	if (a->st && e == ERR_GONE)
		rpc_fail(a->st, e,
			 "this node is stopping; `hnode jobs` at "
			 "its next start has the job");
	else if (a->st && e)
		rpc_fail(a->st, e,
			 "the job cannot be saved, so it was not "
			 "accepted: %s",
			 text);
	else if (a->st)
		rpc_reply(a->st, &made);
	free(a);
	if (e && e != ERR_GONE) {
		enum err gone = jobs_cancel(m->jobs, job, loop_ms(m->loop));
		(void)gone; /* it may have ended by itself */
	}
	if (e)
		return;
	know_core_rate(m->service_job);
	tell_wants(m->service_job);
	service_job_kick(m);
}

void service_job_submitted(struct mesh *m, struct rpc_stream *st,
			   const char *job)
{
	journal_submitted(m->journal, job, on_submitted, answer_new(m, st));
}

static void serve_submit(struct rpc_stream *st, const void *request, void *arg)
{
	const struct search_spec *spec = request;
	struct mesh *m = arg;
	struct buf why = {0};
	char id[JOB_ID_SIZE];

	enum err e =
	    jobs_submit_search(m->jobs, spec, loop_ms(m->loop), &why, id);
	if (e) {
		rpc_fail(st, e, "%s", why.n ? buf_str(&why) : err_str(e));
	} else {
		log_info("work", "job accepted: search %llu nonces job=%s",
			 (unsigned long long)(spec->end - spec->start), id);
		service_job_submitted(m, st, id);
	}
	buf_release(&why);
}

static void fail_unknown(struct rpc_stream *st, enum err e, const char *job)
{
	rpc_fail(st, e, "no job %s here: see `hnode jobs`",
		 log_quote(job ? job : ""));
}

static void serve_show(struct rpc_stream *st, const void *request, void *arg)
{
	const struct job_ref *q = request;
	struct arena a = {0};
	struct job_info info;

	enum err e = info_of(arg, q->job ? q->job : "",
			     (enum job_detail)q->detail, &a, &info);
	if (e)
		fail_unknown(st, e, q->job);
	else
		rpc_reply(st, &info);
	arena_release(&a);
}

static void on_canceled(void *arg, const char *job, enum err e,
			const char *text)
{
	struct answer *a = arg;
	struct arena mem = {0};
	struct job_info info;

	(void)text;
	if (a->st && (e == ERR_GONE || !a->m->jobs))
		rpc_fail(a->st, ERR_GONE, "this node is stopping");
	else if (a->st && info_of(a->m, job, JOB_BRIEF, &mem, &info))
		fail_unknown(a->st, ERR_NOTFOUND, job);
	else if (a->st)
		rpc_reply(a->st, &info);
	arena_release(&mem);
	free(a);
}

static void serve_cancel(struct rpc_stream *st, const void *request, void *arg)
{
	const struct job_ref *q = request;
	struct mesh *m = arg;
	struct arena a = {0};
	struct job_info info;

	enum err e = info_of(m, q->job ? q->job : "", JOB_BRIEF, &a, &info);
	if (!e)
		e = jobs_cancel(m->jobs, info.job, loop_ms(m->loop));
	if (e)
		fail_unknown(st, e, q->job);
	else
		journal_when_final(m->journal, info.job, on_canceled,
				   answer_new(m, st));
	arena_release(&a);
	service_job_kick(m);
}

struct listing {
	struct mesh *m;
	struct arena *a;
	struct job_info *infos;
	size_t n;
};

static void list_one(const char *id, void *arg)
{
	struct listing *l = arg;

	l->infos = xrealloc(l->infos, (l->n + 1) * sizeof(*l->infos));
	if (info_of(l->m, id, JOB_BRIEF, l->a, &l->infos[l->n]) == OK)
		l->n++;
}

static void serve_list(struct rpc_stream *st, const void *request, void *arg)
{
	struct arena a = {0};
	struct listing l = {.m = arg, .a = &a};
	struct job_list reply;

	(void)request;
	jobs_each(l.m->jobs, list_one, &l);
	reply.jobs = (struct list){l.infos, l.n};
	rpc_reply(st, &reply);
	free(l.infos);
	arena_release(&a);
}

static void watcher_free(struct watcher *w)
{
	DL_DELETE(w->s->watchers, w);
	free(w);
}

/* The newest state; a reader that is slow misses some, never the end. */
static void watcher_tell(struct watcher *w)
{
	struct arena a = {0};
	struct job_info info;

	enum job_detail detail = w->ended ? JOB_PEERS : JOB_BRIEF;
	enum err e = info_of(w->s->m, w->job, detail, &a, &info);
	w->due = false;
	if (e || w->ended) {
		if (e)
			fail_unknown(w->st, e, w->job);
		else
			rpc_reply(w->st, &info);
		watcher_free(w);
	} else {
		if (rpc_send(w->st, &info))
			w->due = true;
	}
	arena_release(&a);
}

static void on_tell(void *arg)
{
	struct service_job *s = arg;
	struct watcher *w, *tmp;

	DL_FOREACH_SAFE (s->watchers, w, tmp) {
		if (w->due)
			watcher_tell(w);
	}
	DL_FOREACH (s->watchers, w) {
		/* Time passes even when nothing is heard of the workers. */
		w->due = true;
		if (!loop_timer_armed(s->tell))
			loop_timer_set(s->tell, WATCH_MS);
	}
}

static void on_watcher_left(void *arg, struct rpc_stream *st, enum err e,
			    const void *reply, const char *text)
{
	(void)st, (void)e, (void)reply, (void)text;
	watcher_free(arg);
}

static void serve_watch(struct rpc_stream *st, const void *request, void *arg)
{
	static const struct rpc_ops ops = {.end = on_watcher_left};
	const struct job_ref *q = request;
	struct mesh *m = arg;
	struct arena a = {0};
	struct job_info info;

	enum err e = info_of(m, q->job ? q->job : "", JOB_PEERS, &a, &info);
	if (e) {
		fail_unknown(st, e, q->job);
	} else if ((!strcmp(info.state, "done") ||
		    !strcmp(info.state, "failed") ||
		    !strcmp(info.state, "canceled"))) {
		rpc_reply(st, &info);
	} else {
		struct watcher *w = HN_NEW(struct watcher);
		w->s = m->service_job;
		w->st = st;
		w->due = true;
		memcpy(w->job, info.job, strlen(info.job) + 1);
		DL_APPEND(m->service_job->watchers, w);
		rpc_serve(st, &ops, w);
		loop_timer_set(m->service_job->tell, 0);
	}
	arena_release(&a);
}

static uint64_t half_life_ms(const struct mesh *m)
{
	return m->o.trust.half_life_ms ? m->o.trust.half_life_ms
				       : score_rules_default.half_life_ms;
}

/* The settings; zero is the default, but no probes of idle peers. */
static void set_trust(struct service_job *s)
{
	const struct mesh_trust *t = &s->m->o.trust;
	struct score_rules r = score_rules_default;

	r.half_life_ms = half_life_ms(s->m);
	if (t->quarantine_ms)
		r.delay_ms = t->quarantine_ms;
	if (r.delay_max_ms < r.delay_ms)
		r.delay_max_ms = r.delay_ms;
	jobs_set_trust(s->m->jobs, &r, t->probe_ms,
		       t->timeout_ms ? t->timeout_ms : PROBE_TIMEOUT_MS);
}

struct service_job *service_job_new(struct mesh *m)
{
	struct service_job *s = HN_NEW(struct service_job);

	s->m = m;
	s->tick = loop_timer_new(m->loop, on_tick, s);
	s->tell = loop_timer_new(m->loop, on_tell, s);
	m->jobs = jobs_new(&job_ops, s, identity_id(m->me));
	jobs_set_wall(m->jobs, mesh_now_ms(m), now_of(s));
	set_trust(s);
	m->journal = journal_new(m->loop, m->store, m->jobs, on_final, s);
	m->standing = standing_new(m->loop, m->store, m->jobs, half_life_ms(m));
	return s;
}

void service_job_resume(struct mesh *m)
{
	service_digest_resume(m);
	if (jobs_wants(m->jobs, SEARCH_CAP))
		know_core_rate(m->service_job);
	service_job_kick(m);
}

static void stop_one(const char *id, void *arg)
{
	struct buf *ids = arg;

	buf_add(ids, id, strlen(id) + 1);
}

void service_job_stop(struct service_job *s)
{
	struct watcher *w, *tmp;
	struct buf ids = {0};

	/* What is saved stays open on disk; here all hands stop. */
	journal_stop(s->m->journal);
	standing_stop(s->m->standing);
	jobs_each(s->m->jobs, stop_one, &ids);
	for (size_t at = 0; at < ids.n; at += strlen((char *)ids.p + at) + 1) {
		enum err e =
		    jobs_cancel(s->m->jobs, (char *)ids.p + at, now_of(s));
		(void)e; /* the ended ones */
	}
	buf_release(&ids);
	DL_FOREACH_SAFE (s->watchers, w, tmp) {
		rpc_fail(w->st, ERR_GONE,
			 "this node is stopping; the job goes on when it "
			 "starts again");
		watcher_free(w);
	}
	loop_timer_free(s->tick);
	loop_timer_free(s->tell);
	s->m->service_job = NULL;
	jobs_free(s->m->jobs);
	s->m->jobs = NULL;
	free(s);
}

#define LIST_MAX (1u << 20)

const struct rpc_method service_job_methods[] = {
    {.name = "job.submit",
     .version = 1,
     .request = &search_spec_message,
     .reply = &job_made_message,
     .serve = serve_submit,
     .doc = "accept a search; the job id"},
    {.name = "job.batch",
     .version = 1,
     .request = &batch_spec_message,
     .reply = &job_made_message,
     .serve = serve_batch_submit,
     .doc = "accept digests of a file's inputs; the job id"},
    {.name = "job.watch",
     .version = 1,
     .repeatable = true,
     .request = &job_ref_message,
     .reply = &job_info_message,
     .down = &job_info_message,
     .max_reply = 16 * LIST_MAX,
     .serve = serve_watch,
     .doc = "follow a job to its end"},
    {.name = "job.list",
     .version = 1,
     .repeatable = true,
     .request = &message_empty,
     .reply = &job_list_message,
     .max_reply = LIST_MAX,
     .serve = serve_list,
     .doc = "all jobs submitted here"},
    {.name = "job.show",
     .version = 1,
     .repeatable = true,
     .request = &job_ref_message,
     .reply = &job_info_message,
     .max_reply = 16 * LIST_MAX,
     .serve = serve_show,
     .doc = "one job, with peers and units"},
    {.name = "job.cancel",
     .version = 1,
     .repeatable = true,
     .request = &job_ref_message,
     .reply = &job_info_message,
     .serve = serve_cancel,
     .doc = "stop a job on all peers"},
    {0},
};
