/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Events and their order, the submitter's node, its disk. */
#include "node/lab/world_impl.h"
#include "node/mesh/job_impl.h"

#include "node/base/mem.h"
#include "node/mesh/batch_file.h"
#include "node/mesh/digest.h"
#include "node/mesh/kind_batch.h"

#include <utlist.h>

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SELF 0xee
#define CAP "hash/sha256d"
#define RESEND_US 200000
#define SAVE_US 1000000
#define BOAST 10
#define FINISH_US 5000
#define LOOK_US 500
#define RECORD 64

static bool before(const struct world_event *a, const struct world_event *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

void world_push(struct world *w, struct world_event e)
{
	size_t i;

	e.order = w->order++;
	if (w->nheap == w->cap) {
		w->cap = w->cap ? w->cap * 2 : 64;
		w->heap = xrealloc(w->heap, w->cap * sizeof(e));
	}
	for (i = w->nheap++; i && before(&e, &w->heap[(i - 1) / 2]);
	     i = (i - 1) / 2)
		w->heap[i] = w->heap[(i - 1) / 2];
	w->heap[i] = e;
}

static struct world_event pop(struct world *w)
{
	const struct world_event top = w->heap[0];
	const struct world_event last = w->heap[--w->nheap];
	size_t i = 0;

	for (;;) {
		size_t c = 2 * i + 1;

		if (c >= w->nheap)
			break;
		if (c + 1 < w->nheap && before(&w->heap[c + 1], &w->heap[c]))
			c++;
		if (!before(&w->heap[c], &last))
			break;
		w->heap[i] = w->heap[c];
		i = c;
	}
	w->heap[i] = last;
	return top;
}

uint64_t world_random(struct world *w)
{
	/* splitmix64, Steele, Lea, Flood 2014 */
	uint64_t z = w->seed += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

double world_chance(struct world *w)
{
	return (double)(world_random(w) >> 11) * 0x1p-53;
}

void world_break(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (w->broken.n)
		return;
	va_start(ap, fmt);
	char *text = xvasprintf(fmt, ap);
	va_end(ap);
	buf_add_str(&w->broken, text);
	free(text);
}

static uint64_t ms(const struct world *w)
{
	return w->now_us / 1000;
}

/* A worker's id carries its index; the rest is filling. */
static struct node_id id_of(size_t i)
{
	struct node_id id;

	for (size_t at = 0; at < sizeof(id.b); at += 4)
		put_le32(id.b + at, (uint32_t)(i + 1) * (at ? 0x9e3779b1u : 1));
	return id;
}

static size_t index_of(const struct world *w, const struct node_id *id)
{
	const size_t i = (size_t)get_le32(id->b) - 1;

	assert(i < w->n);
	return i;
}

/* Ops */

static uint64_t op_random(void *arg)
{
	return world_random(arg);
}

uint64_t world_way(struct world *w, const struct world_worker *k)
{
	uint64_t us = k->lat_us;

	if (k->jitter_us)
		us += world_random(w) % k->jitter_us;
	if (w->late > 0 && world_chance(w) < w->late)
		us += world_random(w) % WORLD_LATE_US;
	/* As TCP does: again after a while, twice as long each time. */
	for (uint64_t wait = RESEND_US;
	     w->loss > 0 && wait < 64 * RESEND_US && world_chance(w) < w->loss;
	     wait *= 2)
		us += wait;
	return us;
}

static enum err op_assign(void *arg, const struct lease *l)
{
	struct world *w = arg;
	const size_t i = index_of(w, &l->worker);
	struct world_worker *k = &w->w[i];
	if (!k->here)
		return ERR_GONE;
	w->assigned++;
	if (k->announced && l->expected_ms > w->most_expected_ms)
		w->most_expected_ms = l->expected_ms;
	struct world_task *t = HN_NEW(struct world_task);

	t->id = l->id;
	t->worker = i;
	t->job = world_job_index(w, l->job);
	t->weight = 1;
	if (l->kind->shares) {
		lease_scan(l, &t->work);
		t->hit = get_le32(
		    ((const struct search_spec *)l->spec)->target + 28);
		assert(scan_work_check(&t->work) == OK);
	} else {
		t->work.start = l->span.a;
		t->work.end = l->span.b;
		t->digests = true;
		t->weight = BATCH_BLOCK_INPUTS;
	}
	t->pos = t->told = t->work.start;
	w->messages++;
	HASH_ADD(hh, w->by_lease, id, sizeof(t->id), t);
	world_push(w, (struct world_event){.kind = EV_LEASE,
					   .at = w->now_us + world_way(w, k),
					   .id = l->id});
	return OK;
}

static void op_revoke(void *arg, uint64_t id)
{
	struct world *w = arg;
	struct world_task *t;

	w->revoked++;
	w->messages++;
	HASH_FIND(hh, w->by_lease, &id, sizeof(id), t);
	if (!t)
		return; /* its worker is through with it, or dead */
	const uint64_t at = w->now_us + world_way(w, &w->w[t->worker]);

	world_push(w,
		   (struct world_event){.kind = EV_REVOKE, .at = at, .id = id});
}

static enum err op_rescan(void *arg, uint64_t id, const struct scan_work *work)
{
	struct world *w = arg;
	const uint64_t began = w->clock_ns ? w->clock_ns() : 0;
	const uint64_t n = work->end - work->start;
	struct world_event e = {.kind = EV_RESCAN, .id = id};

	if (w->core_rate <= 0)
		return ERR_DEVICE;
	w->rescans++;
	w->rescanned += n;
	e.at = w->now_us + 200 + (uint64_t)((double)n * 1e6 / w->core_rate);
	e.shares = world_shares(world_key(work->header), work->start, work->end,
				(unsigned)work->share_bits, &e.n);
	world_push(w, e);
	if (w->clock_ns) /* the device's time */
		w->spent_ns -= w->clock_ns() - began;
	return OK;
}

static void op_rescan_cancel(void *arg, uint64_t id)
{
	(void)arg;
	(void)id;
}

static void op_bad(void *arg, const struct node_id *id,
		   const struct job_proof *proof, const char *why)
{
	struct world *w = arg;
	struct world_worker *k = &w->w[index_of(w, id)];

	if (k->bad && k->proof && !w->restarts)
		world_break(w, "a worker was proven bad twice: %s", why);
	w->save_due = true;
	k->bad = true;
	k->proof = proof != NULL;
	k->bad_at_us = w->now_us;
	snprintf(k->why, sizeof(k->why), "%s", why);
}

/* Hashes. */
static uint64_t done_in(const struct job *job)
{
	if (!job)
		return 0;
	return job->book.done.total *
	       (job->kind->shares ? 1 : BATCH_BLOCK_INPUTS);
}

uint64_t world_done(const struct world *w)
{
	const struct job *job;
	uint64_t n = 0;

	for (size_t i = 0; i < w->njobs; i++)
		n += w->job[i].ended ? w->job[i].done : 0;
	DL_FOREACH (w->jobs->open, job)
		n += done_in(job);
	return n;
}

/* The files are written, in no time to speak of. */
static void op_finish(void *arg, const char *job, const struct kind *kind,
		      const void *spec)
{
	struct world *w = arg;

	(void)kind;
	(void)spec;
	world_push(w, (struct world_event){.kind = EV_FINISHED,
					   .at = w->now_us + FINISH_US,
					   .job = world_job_index(w, job),
					   .from = w->restarts});
}

static void op_changed(void *arg, const char *job, bool ended)
{
	struct world *w = arg;

	w->changed++;
	w->save_due |= ended;
	if (!ended)
		return;
	const uint32_t at = world_job_index(w, job); /* may move w->job */
	struct world_job *known = &w->job[at];

	if (known->ended && !w->restarts)
		world_break(w, "job %s ended twice", job);
	known->ended = true;
	known->ended_us = w->now_us;
	const struct job *found = jobs_find(w->jobs, job);

	known->done = done_in(found);
	w->failed += found && found->state == JOB_FAILED;
	w->ended++;
	w->ended_us = w->now_us;
}

static const struct jobs_ops ops = {
    .random = op_random,
    .assign = op_assign,
    .revoke = op_revoke,
    .rescan = op_rescan,
    .rescan_cancel = op_rescan_cancel,
    .peer_bad = op_bad,
    .finish = op_finish,
    .changed = op_changed,
};

/* The submitter */

static void jobs_begin(struct world *w)
{
	struct node_id self;

	memset(&self, SELF, sizeof(self));
	w->jobs = jobs_new(&ops, w, &self);
	jobs_set_judge(w->jobs, world_judge, NULL);
	jobs_set_core_rate(w->jobs, (uint64_t)w->core_rate);
}

void world_init(struct world *w, uint64_t seed)
{
	memset(w, 0, sizeof(*w));
	w->seed = seed;
	w->now_us = 1000000;
	w->core_rate = 50e6;
	w->announce = 1;
	jobs_begin(w);
}

void world_release(struct world *w)
{
	struct world_task *t, *next;

	jobs_free(w->jobs);
	HASH_ITER (hh, w->by_lease, t, next)
		world_task_free(w, t);
	for (size_t i = 0; i < w->nheap; i++)
		free(w->heap[i].shares);
	for (size_t i = 0; i < w->njobs; i++) {
		spans_release(&w->job[i].told);
		buf_release(&w->job[i].saved);
	}
	free(w->heap);
	free(w->job);
	free(w->overheard);
	free(w->w);
	buf_release(&w->broken);
}

void world_rejoin(struct world *w, size_t i)
{
	struct world_worker *k = &w->w[i];
	const struct worker_offer o = {.id = k->id,
				       .rate = k->announced,
				       .rtt_ms = 2 * k->lat_us / 1000,
				       .slots = k->slots};

	k->here = true;
	jobs_worker(w->jobs, CAP, &o, ms(w));
}

size_t world_join(struct world *w, double rate, uint64_t lat_us,
		  enum world_lie lie)
{
	const size_t i = w->n++;

	if (i == w->wcap) {
		w->wcap = w->wcap ? w->wcap * 2 : 16;
		w->w = xrealloc(w->w, w->wcap * sizeof(*w->w));
	}
	w->eavesdrops |= lie == LIE_REPLAYS;
	w->w[i] = (struct world_worker){
	    .id = id_of(i),
	    .rate = rate,
	    .lat_us = lat_us,
	    .lie = lie,
	    .lie_part = 0.3,
	    .announced = (uint64_t)(rate * w->announce *
				    (lie == LIE_BOASTS ? BOAST : 1)),
	};
	world_rejoin(w, i);
	return i;
}

void world_crash(struct world *w, size_t i, uint64_t heard_after_us)
{
	struct world_worker *k = &w->w[i];

	if (!k->here)
		return;
	k->here = false;
	worker_clear(w, i);
	if (heard_after_us != UINT64_MAX)
		world_push(
		    w, (struct world_event){.kind = EV_GONE,
					    .at = w->now_us + heard_after_us,
					    .worker = (uint32_t)i});
}

uint32_t world_job_index(struct world *w, const char *id)
{
	/* Those that are spoken of are mostly the last ones. */
	for (size_t i = w->njobs; i--;)
		if (!strcmp(w->job[i].id, id))
			return (uint32_t)i;
	if (w->njobs == w->jcap) {
		w->jcap = w->jcap ? w->jcap * 2 : 8;
		w->job = xrealloc(w->job, w->jcap * sizeof(*w->job));
	}
	w->job[w->njobs] = (struct world_job){0};
	snprintf(w->job[w->njobs].id, JOB_ID_SIZE, "%s", id);
	return (uint32_t)w->njobs++;
}

const struct world_job *world_find(const struct world *w, const char *id)
{
	for (size_t i = w->njobs; i--;)
		if (!strcmp(w->job[i].id, id))
			return &w->job[i];
	return NULL;
}

static void submitted(struct world *w, enum err e, struct buf *why,
		      const char *id)
{
	if (e)
		world_break(w, "a job was refused: %s", buf_str(why));
	else
		world_job_index(w, id);
	buf_release(why);
	w->next_tick = 0;
	if (w->durable)
		world_save(w);
}

void world_submit_batch(struct world *w, uint64_t blocks,
			const struct job_terms *terms,
			char id[static JOB_ID_SIZE])
{
	const uint64_t inputs = blocks * BATCH_BLOCK_INPUTS;
	const struct batch_spec s = {.file = (char *)"/in",
				     .out = (char *)"/out",
				     .rounds = 1,
				     .record = RECORD,
				     .inputs = inputs,
				     .blocks = blocks,
				     .size = inputs * RECORD,
				     .terms = *terms};
	struct buf why = {0};

	submitted(w, jobs_submit(w->jobs, &kind_batch, &s, ms(w), &why, id),
		  &why, id);
}

void world_submit(struct world *w, const struct search_spec *s,
		  char id[static JOB_ID_SIZE])
{
	struct buf why = {0};

	submitted(w, jobs_submit_search(w->jobs, s, ms(w), &why, id), &why, id);
}

static void save_one(const char *id, void *arg)
{
	struct world *w = arg;
	const uint32_t at = world_job_index(w, id); /* may move w->job */
	struct world_job *d = &w->job[at];

	buf_clear(&d->saved);
	const enum err e = jobs_save(w->jobs, id, ms(w), &d->saved);

	if (e || d->saved.n > JOB_SAVED_MAX)
		world_break(w, "job %s was not saved: %s", id, err_str(e));
}

void world_save(struct world *w)
{
	jobs_each(w->jobs, save_one, w);
	w->save_due = false;
	w->saved_us = w->now_us;
	w->saves++;
}

static void take_up(struct world *w, const struct world_job *d)
{
	struct buf why = {0};
	char id[JOB_ID_SIZE];
	const enum err e =
	    jobs_restore(w->jobs, d->saved.p, d->saved.n, ms(w), &why, id);

	if (e)
		world_break(w, "job %s was not restored: %s", d->id,
			    buf_str(&why));
	else if (strcmp(id, d->id) != 0)
		world_break(w, "job %s came back as %s", d->id, id);
	buf_release(&why);
}

void world_restart(struct world *w, uint64_t down_us)
{
	w->restarts++;
	w->marks = jobs_marks(w->jobs);
	jobs_free(w->jobs);
	w->now_us += down_us;
	jobs_begin(w);
	jobs_set_marks(w->jobs, &w->marks);
	for (size_t i = 0; i < w->njobs; i++)
		if (w->job[i].saved.n)
			take_up(w, &w->job[i]);
	/* Some stop what they did for the dead one; some have not noticed and
	 * go on to tell of leases that mean nothing any more. */
	for (size_t i = 0; i < w->n; i++) {
		if (world_random(w) % 2)
			worker_clear(w, i);
		world_push(w, (struct world_event){
				  .kind = EV_BACK,
				  .at = w->now_us + world_random(w) % 2000000,
				  .worker = (uint32_t)i});
	}
	w->save_due = false;
	w->next_tick = 0;
	if (w->paranoid)
		world_audit(w);
}

bool world_open(const struct world *w)
{
	return w->jobs->nopen > 0;
}

/* What happens */

static void on_lease(struct world *w, uint64_t id)
{
	struct world_task *t;

	HASH_FIND(hh, w->by_lease, &id, sizeof(id), t);
	if (!t)
		return;
	if (w->w[t->worker].here)
		worker_on_lease(w, t);
	else
		world_task_free(w, t);
}

static void on_word(struct world *w, const struct world_event *e)
{
	w->words++;
	w->messages++;
	if (!w->forgets)
		spans_add(&w->job[e->job].told, e->from,
			  e->below > e->from ? e->below : e->from);
	jobs_progress(w->jobs, e->id, e->below, e->shares, e->n, ms(w));
}

/* The root is known: places are drawn, and computed again. */
static void on_answer(struct world *w, struct world_event e)
{
	uint64_t want = e.n / DIGEST_CHECK_PER;

	w->words++;
	w->messages += 3; /* the commitment, the places, their openings */
	if (want < DIGEST_CHECK_MIN)
		want = DIGEST_CHECK_MIN < e.n ? DIGEST_CHECK_MIN : e.n;
	if (e.bad) {
		uint32_t *places = xmalloc(want * sizeof(*places));

		digest_draw(e.n, want, op_random, w, places);
		/* Which ones are bad does not matter, as they were chosen
		 * before: the first ones. */
		e.bad = places[0] < e.bad;
		free(places);
	}
	w->rescanned += want;
	e.kind = EV_LOOKED;
	e.n = want;
	e.shares = NULL;
	e.at = w->now_us + LOOK_US;
	world_push(w, e);
}

static void on_looked(struct world *w, const struct world_event *e)
{
	const uint64_t now = ms(w);

	if (e->bad) {
		jobs_lie(w->jobs, e->id, "a digest was wrong", now);
		return;
	}
	if (!w->forgets)
		spans_add(&w->job[e->job].told, e->from, e->below);
	jobs_checked(w->jobs, e->id, e->n, now);
	jobs_progress(w->jobs, e->id, e->below, NULL, 0, now);
	jobs_lease_end(w->jobs, e->id, OK, e->below - e->from, now);
}

static void on_end(struct world *w, const struct world_event *e)
{
	w->words++;
	w->messages++;
	jobs_lease_end(w->jobs, e->id, e->err, e->below, ms(w));
}

static void on_gone(struct world *w, const struct world_worker *k)
{
	if (!k->here)
		jobs_worker_gone(w->jobs, CAP, &k->id, ms(w));
}

static void happen(struct world *w, struct world_event *e)
{
	switch (e->kind) {
	case EV_LEASE:
		on_lease(w, e->id);
		break;
	case EV_REVOKE:
		worker_on_revoke(w, e->id);
		break;
	case EV_STEP:
		worker_on_step(w, e->worker, e->id);
		break;
	case EV_WORD:
		on_word(w, e);
		break;
	case EV_HEARD:
		jobs_heard(w->jobs, e->id, ms(w));
		break;
	case EV_ANSWER:
		on_answer(w, *e);
		break;
	case EV_LOOKED:
		on_looked(w, e);
		break;
	case EV_FINISHED:
		/* Of an earlier start: nobody waits for it. */
		if (e->from == w->restarts)
			jobs_finished(w->jobs, w->job[e->job].id, OK, "",
				      ms(w));
		break;
	case EV_END:
		on_end(w, e);
		break;
	case EV_GONE:
		on_gone(w, &w->w[e->worker]);
		break;
	case EV_BACK:
		if (w->w[e->worker].here)
			world_rejoin(w, e->worker);
		break;
	case EV_RESCAN:
		jobs_rescan_end(w->jobs, e->id, OK, e->shares, e->n, ms(w));
		break;
	}
	free(e->shares);
}

/* What an event costs the coordinator: those of the workers do not count. */
static void happen_measured(struct world *w, struct world_event *e)
{
	if (e->kind == EV_LEASE || e->kind == EV_REVOKE || e->kind == EV_STEP) {
		happen(w, e);
		return;
	}
	const uint64_t began = w->clock_ns ? w->clock_ns() : 0;

	w->calls++;
	happen(w, e);
	if (w->clock_ns)
		w->spent_ns += w->clock_ns() - began;
}

static void run_tick(struct world *w)
{
	const uint64_t began = w->clock_ns ? w->clock_ns() : 0;

	w->calls++;
	w->next_tick = jobs_tick(w->jobs, ms(w));
	if (w->clock_ns)
		w->spent_ns += w->clock_ns() - began;
}

void world_settle(struct world *w)
{
	if (w->paranoid)
		world_audit(w);
	if (!w->durable)
		return;
	if (w->save_due && world_chance(w) < w->torn)
		world_restart(w, world_random(w) % 3000000);
	else if (w->save_due || w->now_us >= w->saved_us + SAVE_US)
		world_save(w);
}

void world_run(struct world *w, uint64_t until_us)
{
	while (world_open(w)) {
		const uint64_t tick = w->next_tick * 1000;
		const bool event = w->nheap && w->heap[0].at <= tick;
		const uint64_t at = event ? w->heap[0].at : tick;

		if (at > until_us) {
			if (until_us > w->now_us)
				w->now_us = until_us;
			return;
		}
		if (at > w->now_us)
			w->now_us = at;
		if (event) {
			struct world_event e = pop(w);

			happen_measured(w, &e);
		} else {
			run_tick(w);
		}
		world_settle(w);
	}
}
