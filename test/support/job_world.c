/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "test/support/job_world.h"

#include "node/base/mem.h"
#include "node/mesh/job_impl.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define STEP_US 250000
#define SELF 0xee

/* The hash: a Feistel permutation of 32 bits. */

static uint16_t mix16(uint32_t x, uint32_t key)
{
	x = (x + key) * 0x9e3779b1u;
	x ^= x >> 15;
	x *= 0x85ebca77u;
	return (uint16_t)(x >> 13);
}

static const uint32_t keys[4] = {0x243f6a88, 0x85a308d3, 0x13198a2e,
				 0x03707344};

static uint32_t permute(uint32_t x)
{
	uint16_t l = (uint16_t)(x >> 16), r = (uint16_t)x;

	for (int i = 0; i < 4; i++) {
		const uint16_t t = l ^ mix16(r, keys[i]);

		l = r;
		r = t;
	}
	return (uint32_t)l << 16 | r;
}

static uint32_t unpermute(uint32_t x)
{
	uint16_t l = (uint16_t)(x >> 16), r = (uint16_t)x;

	for (int i = 3; i >= 0; i--) {
		const uint16_t t = r ^ mix16(l, keys[i]);

		r = l;
		l = t;
	}
	return (uint32_t)l << 16 | r;
}

void world_judge(void *arg, const uint8_t header[static HEADER_SIZE],
		 uint32_t nonce, uint8_t digest[static 32])
{
	(void)arg;
	(void)header;
	memset(digest, 0, 32);
	put_le32(digest, nonce);
	put_le32(digest + 28, permute(nonce));
}

#define LISTED (1u << (32 - WORLD_BITS))
static uint32_t *listed;

static int by_value(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void list_free(void)
{
	free(listed);
}

static size_t first_listed(uint64_t x)
{
	size_t lo = 0, hi = LISTED;

	if (!listed) {
		listed = xmalloc(LISTED * sizeof(*listed));
		for (uint32_t i = 0; i < LISTED; i++)
			listed[i] = unpermute(i);
		qsort(listed, LISTED, sizeof(*listed), by_value);
		atexit(list_free);
	}
	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;

		if (listed[mid] < x)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The rare way: one by one. */
static uint32_t *shares_one_by_one(uint64_t a, uint64_t b, unsigned bits,
				   size_t *n)
{
	uint32_t *out = xmalloc((b - a + 2) * sizeof(*out));

	*n = 0;
	for (uint64_t i = a; i < b; i++)
		if ((uint64_t)permute((uint32_t)i) < UINT64_C(1) << (32 - bits))
			out[(*n)++] = (uint32_t)i;
	return out;
}

uint32_t *world_shares(uint64_t a, uint64_t b, unsigned bits, size_t *n)
{
	if (bits < WORLD_BITS)
		return shares_one_by_one(a, b, bits, n);
	const size_t from = first_listed(a), to = first_listed(b);
	uint32_t *out = xmalloc((to - from + 2) * sizeof(*out));

	*n = 0;
	for (size_t i = from; i < to; i++)
		if ((uint64_t)permute(listed[i]) < UINT64_C(1) << (32 - bits))
			out[(*n)++] = listed[i];
	return out;
}

void world_target(unsigned bits, uint8_t target[static 32])
{
	memset(target, 0xff, 32);
	put_le32(target + 28, bits < 32 ? 0xffffffffu >> bits : 0);
}

struct search_spec world_spec(uint64_t start, uint64_t end, unsigned bits,
			      bool all)
{
	struct search_spec s = {.start = start,
				.end = end,
				.all = all,
				.wait_ms = 30000,
				.check_permille = 50};

	world_target(bits, s.target);
	return s;
}

/* Events */

enum world_kind {
	EV_LEASE,
	EV_REVOKE,
	EV_STEP,
	EV_WORD,
	EV_END,
	EV_GONE,
	EV_BACK,
	EV_RESCAN
};

struct world_event {
	uint64_t at, order;
	enum world_kind kind;
	size_t worker;
	uint64_t id, below, from;
	struct lease lease;
	uint32_t *shares;
	size_t n;
	enum err err;
};

struct world_task {
	struct lease lease;
	uint64_t pos, told;
	uint64_t begun_us; /* 0: not yet */
	uint64_t begun_pos;
	uint64_t sent_us; /* when its last word arrives: order is kept */
	uint32_t last;
	bool has_last;
	struct world_task *prev, *next;
};

static bool before(const struct world_event *a, const struct world_event *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void push(struct world *w, struct world_event e)
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

static uint64_t ms(const struct world *w)
{
	return w->now_us / 1000;
}

static struct world_worker *worker_by_id(struct world *w,
					 const struct node_id *id, size_t *at)
{
	for (size_t i = 0; i < w->n; i++) {
		if (node_id_eq(&w->w[i].id, id)) {
			*at = i;
			return &w->w[i];
		}
	}
	assert(!"a worker nobody knows");
	return NULL;
}

/* Ops */

static uint64_t op_random(void *arg)
{
	return world_random(arg);
}

static uint64_t way(struct world *w, const struct world_worker *k)
{
	return k->lat_us + (k->jitter_us ? world_random(w) % k->jitter_us : 0);
}

static enum err op_assign(void *arg, const struct lease *l)
{
	struct world *w = arg;
	struct world_event e = {.kind = EV_LEASE, .lease = *l};
	struct world_worker *k = worker_by_id(w, &l->worker, &e.worker);

	assert(scan_work_check(&l->work) == OK);
	if (!k->here)
		return ERR_GONE;
	w->assigned++;
	if (k->announced && l->expected_ms > w->most_expected_ms)
		w->most_expected_ms = l->expected_ms;
	e.at = w->now_us + way(w, k);
	push(w, e);
	return OK;
}

static void op_revoke(void *arg, uint64_t id)
{
	struct world *w = arg;

	w->revoked++;
	for (size_t i = 0; i < w->n; i++)
		push(w, (struct world_event){.kind = EV_REVOKE,
					     .at = w->now_us + way(w, &w->w[i]),
					     .worker = i,
					     .id = id});
}

static enum err op_rescan(void *arg, uint64_t id, const struct scan_work *work)
{
	struct world *w = arg;
	const uint64_t n = work->end - work->start;
	struct world_event e = {.kind = EV_RESCAN, .id = id};

	if (w->core_rate <= 0)
		return ERR_DEVICE;
	w->rescans++;
	w->rescanned += n;
	e.at = w->now_us + 200 + (uint64_t)((double)n * 1e6 / w->core_rate);
	e.shares = world_shares(work->start, work->end,
				(unsigned)work->share_bits, &e.n);
	push(w, e);
	return OK;
}

static void op_rescan_cancel(void *arg, uint64_t id)
{
	(void)arg;
	(void)id;
}

static void op_bad(void *arg, const struct node_id *id, bool proof,
		   const char *why)
{
	struct world *w = arg;
	size_t at;
	struct world_worker *k = worker_by_id(w, id, &at);

	assert(!k->bad || w->restarts);
	w->save_due = true;
	k->bad = true;
	k->proof = proof;
	k->bad_at_us = w->now_us;
	snprintf(k->why, sizeof(k->why), "%s", why);
}

static void op_changed(void *arg, const char *job, bool ended)
{
	struct world *w = arg;

	(void)job;
	w->changed++;
	w->save_due |= ended;
	if (ended) {
		w->ended++;
		w->ended_us = w->now_us;
	}
}

static const struct jobs_ops ops = {
    .random = op_random,
    .assign = op_assign,
    .revoke = op_revoke,
    .rescan = op_rescan,
    .rescan_cancel = op_rescan_cancel,
    .peer_bad = op_bad,
    .changed = op_changed,
};

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

static void tasks_clear(struct world_worker *k)
{
	struct world_task *t, *next;

	DL_FOREACH_SAFE (k->tasks, t, next) {
		DL_DELETE(k->tasks, t);
		free(t);
	}
	k->step++;
	k->stepping = false;
}

void world_release(struct world *w)
{
	for (size_t i = 0; i < w->nheap; i++)
		free(w->heap[i].shares);
	for (size_t i = 0; i < w->n; i++)
		tasks_clear(&w->w[i]);
	free(w->heap);
	spans_release(&w->told);
	for (size_t i = 0; i < w->ndisk; i++)
		buf_release(&w->disk[i].saved);
	jobs_free(w->jobs);
}

void world_rejoin(struct world *w, size_t i)
{
	struct world_worker *k = &w->w[i];
	const struct worker_offer o = {.id = k->id,
				       .rate = k->announced,
				       .rtt_ms = 2 * k->lat_us / 1000,
				       .slots = k->slots};

	k->here = true;
	jobs_worker(w->jobs, "hash/sha256d", &o, ms(w));
}

size_t world_join(struct world *w, double rate, uint64_t lat_us,
		  enum world_lie lie)
{
	const size_t i = w->n++;
	struct world_worker *k = &w->w[i];

	assert(i < WORLD_WORKERS);
	memset(k->id.b, (int)i + 1, sizeof(k->id.b));
	k->rate = rate;
	k->lat_us = lat_us;
	k->lie = lie;
	k->lie_part = 0.3;
	k->announced = (uint64_t)(rate * w->announce);
	world_rejoin(w, i);
	return i;
}

void world_crash(struct world *w, size_t i, uint64_t heard_after_us)
{
	struct world_worker *k = &w->w[i];

	if (!k->here)
		return;
	k->here = false;
	tasks_clear(k);
	if (heard_after_us != UINT64_MAX)
		push(w, (struct world_event){.kind = EV_GONE,
					     .at = w->now_us + heard_after_us,
					     .worker = i});
}

void world_submit(struct world *w, const struct search_spec *s,
		  char id[static JOB_ID_SIZE])
{
	struct buf why = {0};
	const enum err e = jobs_submit_search(w->jobs, s, ms(w), &why, id);

	assert(e == OK);
	(void)e;
	buf_release(&why);
	w->next_tick = 0;
	if (w->durable)
		world_save(w);
}

static void save_one(const char *id, void *arg)
{
	struct world *w = arg;
	struct world_disk *d = w->disk;

	while (d < w->disk + w->ndisk && strcmp(d->id, id) != 0)
		d++;
	assert(d < w->disk + HN_COUNT(w->disk));
	if (d == w->disk + w->ndisk) {
		w->ndisk++;
		memcpy(d->id, id, sizeof(d->id));
	}
	buf_clear(&d->saved);
	const enum err e = jobs_save(w->jobs, id, ms(w), &d->saved);

	assert(e == OK && d->saved.n <= JOB_SAVED_MAX);
	(void)e;
}

void world_save(struct world *w)
{
	jobs_each(w->jobs, save_one, w);
	w->save_due = false;
	w->saved_us = w->now_us;
	w->saves++;
}

void world_restart(struct world *w, uint64_t down_us)
{
	w->restarts++;
	w->marks = jobs_marks(w->jobs);
	jobs_free(w->jobs);
	w->now_us += down_us;
	jobs_begin(w);
	jobs_set_marks(w->jobs, &w->marks);
	for (size_t i = 0; i < w->ndisk; i++) {
		struct buf why = {0};
		char id[JOB_ID_SIZE];
		const enum err e =
		    jobs_restore(w->jobs, w->disk[i].saved.p,
				 w->disk[i].saved.n, ms(w), &why, id);

		if (e)
			fprintf(stderr, "not restored: %s\n", buf_str(&why));
		assert(e == OK && !strcmp(id, w->disk[i].id));
		buf_release(&why);
	}
	/* Some stop what they did for the dead one; some have not noticed and
	 * go on to tell of leases that mean nothing any more. */
	for (size_t i = 0; i < w->n; i++) {
		if (world_random(w) % 2)
			tasks_clear(&w->w[i]);
		push(w, (struct world_event){.kind = EV_BACK,
					     .at = w->now_us +
						   world_random(w) % 2000000,
					     .worker = i});
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

/* Workers */

static double speed(const struct world_worker *k)
{
	switch (k->lie) {
	case LIE_SKIPS:
	case LIE_SCATTERED:
		return k->rate / (1 - k->lie_part);
	case LIE_LAZY:
		return k->rate * 1000;
	case HONEST:
	case LIE_WITHHOLDS:
	case LIE_INVENTS:
	case LIE_REPEATS:
	case LIE_BEYOND:
		break;
	}
	return k->rate;
}

static void plan(struct world *w, size_t i)
{
	struct world_worker *k = &w->w[i];
	struct world_task *t = k->tasks;

	if (!t || k->stepping)
		return;
	if (!t->begun_us) {
		t->begun_us = w->now_us;
		t->begun_pos = t->pos;
	}
	const uint64_t left = t->lease.work.end - t->pos;
	uint64_t us = (uint64_t)((double)left * 1e6 / speed(k)) + 1;

	if (us > STEP_US)
		us = STEP_US;
	k->stepping = true;
	push(w, (struct world_event){.kind = EV_STEP,
				     .at = w->now_us + us,
				     .worker = i,
				     .id = ++k->step});
}

/* Does this worker leave the nonce out? */
static bool leaves_out(struct world *w, const struct world_worker *k,
		       const struct world_task *t, uint32_t nonce)
{
	const struct scan_work *work = &t->lease.work;
	const double length = (double)(work->end - work->start);

	switch (k->lie) {
	case LIE_SKIPS:
		return (double)(nonce - work->start) >
		       length * (1 - k->lie_part);
	case LIE_SCATTERED:
		return (nonce >> (work->share_bits - 4)) % 100 <
		       (uint32_t)(100 * k->lie_part);
	case LIE_WITHHOLDS:
		return world_chance(w) < k->lie_part;
	case LIE_LAZY:
		return true;
	case HONEST:
	case LIE_INVENTS:
	case LIE_REPEATS:
	case LIE_BEYOND:
		break;
	}
	return false;
}

static void lie_about(struct world *w, struct world_worker *k,
		      struct world_task *t, struct world_event *e)
{
	size_t n = 0;

	for (size_t i = 0; i < e->n; i++)
		if (!leaves_out(w, k, t, e->shares[i]))
			e->shares[n++] = e->shares[i];
	e->n = n;
	if (k->lie == LIE_REPEATS && n) {
		e->shares[n] = e->shares[n - 1];
		e->n++;
	}
	if (k->lie == LIE_INVENTS && (!n || e->shares[n - 1] + 1 < e->below)) {
		e->shares[n] = (uint32_t)(e->below - 1);
		e->n++;
	}
	if (k->lie == LIE_BEYOND)
		e->below = t->lease.work.end + 1;
}

static void send(struct world *w, size_t i, struct world_task *t,
		 struct world_event e)
{
	struct world_worker *k = &w->w[i];
	uint64_t at = w->now_us + way(w, k);

	e.worker = i;
	e.id = t->lease.id;
	if (at < t->sent_us)
		at = t->sent_us;
	/* Words of different leases may overtake each other. */
	if (at < k->last_sent_us && world_chance(w) >= w->reorder)
		at = k->last_sent_us;
	t->sent_us = at;
	if (at > k->last_sent_us)
		k->last_sent_us = at;
	e.at = at;
	if (k->mute) {
		free(e.shares);
		return;
	}
	push(w, e);
	if (world_chance(w) < w->dup) {
		e.at += world_random(w) % 3000000;
		e.shares = xmemdup(e.shares, e.n * sizeof(*e.shares));
		push(w, e);
	}
}

static void tell(struct world *w, size_t i, struct world_task *t)
{
	struct world_worker *k = &w->w[i];
	struct world_event e = {
	    .kind = EV_WORD, .from = t->told, .below = t->pos};

	e.shares = world_shares(t->told, t->pos,
				(unsigned)t->lease.work.share_bits, &e.n);
	lie_about(w, k, t, &e);
	t->told = t->pos;
	send(w, i, t, e);
}

static void step(struct world *w, size_t i)
{
	struct world_worker *k = &w->w[i];
	struct world_task *t = k->tasks;

	k->stepping = false;
	if (!t)
		return;
	const double us = (double)(w->now_us - t->begun_us);
	uint64_t pos = t->begun_pos + (uint64_t)(us * speed(k) / 1e6);

	if (pos > t->lease.work.end)
		pos = t->lease.work.end;
	k->hashes += pos - t->pos;
	t->pos = pos;
	/* A changed rate counts from here. */
	t->begun_us = w->now_us;
	t->begun_pos = pos;
	if (pos > t->told)
		tell(w, i, t);
	if (pos == t->lease.work.end) {
		send(w, i, t,
		     (struct world_event){.kind = EV_END,
					  .below = t->lease.work.end -
						   t->lease.work.start});
		DL_DELETE(k->tasks, t);
		free(t);
	}
	plan(w, i);
}

static void on_lease(struct world *w, size_t i, const struct lease *l)
{
	struct world_worker *k = &w->w[i];

	if (!k->here)
		return;
	struct world_task *t = HN_NEW(struct world_task);

	t->lease = *l;
	t->pos = t->told = l->work.start;
	DL_APPEND(k->tasks, t);
	plan(w, i);
}

static void on_revoke(struct world *w, size_t i, uint64_t id)
{
	struct world_worker *k = &w->w[i];
	struct world_task *t, *next;

	DL_FOREACH_SAFE (k->tasks, t, next) {
		if (t->lease.id != id)
			continue;
		if (t == k->tasks) {
			k->stepping = false;
			k->step++;
		}
		DL_DELETE(k->tasks, t);
		free(t);
	}
	plan(w, i);
}

static void happen(struct world *w, struct world_event *e)
{
	struct world_worker *k = &w->w[e->worker];

	switch (e->kind) {
	case EV_LEASE:
		on_lease(w, e->worker, &e->lease);
		break;
	case EV_REVOKE:
		on_revoke(w, e->worker, e->id);
		break;
	case EV_STEP:
		if (k->stepping && e->id == k->step)
			step(w, e->worker);
		break;
	case EV_WORD:
		spans_add(&w->told, e->from,
			  e->below > e->from ? e->below : e->from);
		jobs_progress(w->jobs, e->id, e->below, e->shares, e->n, ms(w));
		break;
	case EV_END:
		jobs_lease_end(w->jobs, e->id, e->err, e->below, ms(w));
		break;
	case EV_GONE:
		if (!k->here)
			jobs_worker_gone(w->jobs, "hash/sha256d", &k->id,
					 ms(w));
		break;
	case EV_BACK:
		if (k->here)
			world_rejoin(w, e->worker);
		break;
	case EV_RESCAN:
		jobs_rescan_end(w->jobs, e->id, OK, e->shares, e->n, ms(w));
		break;
	}
	free(e->shares);
}

static uint64_t meet(const struct spans *a, const struct spans *b)
{
	uint64_t n = 0;

	for (size_t i = 0; i < a->n; i++)
		n += spans_count(b, a->v[i].a, a->v[i].b);
	return n;
}

void world_audit(const struct world *w)
{
	struct job *job;
	struct part *part;
	struct unit *u;

	DL_FOREACH (w->jobs->open, job) {
		const struct book *b = &job->book;
		struct spans out = {0}, all = {0};
		uint64_t credited = 0;

		assert(!meet(&b->pending, &b->out));
		assert(!meet(&b->pending, &b->done));
		DL_FOREACH (job->units, u) {
			if (u->replica || u->below == u->span.b)
				continue;
			const uint64_t n = u->span.b - u->below;

			assert(spans_add(&out, u->below, u->span.b) == n);
		}
		assert(out.total == b->out.total);
		assert(meet(&out, &b->out) == out.total);
		DL_FOREACH (job->parts, part) {
			assert(part->did.total == part->hashes);
			assert(meet(&part->did, &b->done) == part->hashes);
			credited += part->hashes;
		}
		assert(credited == b->done.total);
		for (size_t i = 0; i < b->pending.n; i++)
			spans_add(&all, b->pending.v[i].a, b->pending.v[i].b);
		for (size_t i = 0; i < b->out.n; i++)
			spans_add(&all, b->out.v[i].a, b->out.v[i].b);
		for (size_t i = 0; i < b->done.n; i++)
			spans_add(&all, b->done.v[i].a, b->done.v[i].b);
		assert(all.n == 1 && all.v[0].a == b->start &&
		       all.v[0].b == b->end);
		spans_release(&out);
		spans_release(&all);
	}
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

			happen(w, &e);
		} else {
			w->next_tick = jobs_tick(w->jobs, ms(w));
		}
		if (w->paranoid)
			world_audit(w);
		if (w->durable && w->save_due && world_chance(w) < w->torn)
			world_restart(w, world_random(w) % 3000000);
		else if (w->durable &&
			 (w->save_due || w->now_us >= w->saved_us + 1000000))
			world_save(w);
	}
}
