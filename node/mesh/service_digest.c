/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The call half of hash.digest: carries out the leases of batch jobs.
 *
 * A lease goes through its steps one after the other: the job's files are
 * opened, the index says where its inputs are, they are read and streamed to
 * the worker and digests come back, the worker commits, the answer is checked
 * at places drawn then, the worker opens some of them, the digests are written
 * to OUT and on the disk; only then the coordinator hears of it. Whatever
 * blocks is done in the uv pool, one piece at a time for each lease; a lease
 * that was taken back meanwhile is freed when its piece ends.
 *
 * Digests of a lease are held until they are checked, HELD_MAX bytes of all
 * leases; beyond that no lease is taken.
 */
#include "node/mesh/service_digest.h"

#include "asic/asic.h"
#include "node/base/buf.h"
#include "node/base/log.h"
#include "node/mesh/digest_look.h"
#include "node/mesh/digester.h"
#include "node/mesh/job.h"
#include "node/mesh/ledger.h"
#include "node/mesh/service_hash.h"
#include "node/mesh/service_trust.h"

#include <utlist.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BAD_INDEX "the job's index is damaged: submit it again"
#define HELD_MAX (256u << 20)
#define CHUNK_BYTES (96u << 10) /* inputs of one chunk; less than its cap */
#define TIMEOUT_MS \
	30000 /* of a lease, or TIMEOUT_TIMES what it should take \
	       */
#define TIMEOUT_TIMES 10
#define BUDGET_FREE_NS 100000000 /* re-computation before the budget counts */

enum step {
	STEP_FIND,   /* files and index */
	STEP_STREAM, /* inputs go, digests come */
	STEP_CHECK,
	STEP_OPEN, /* the worker opens what was drawn */
	STEP_WRITE,
};

struct digest_unit {
	struct digest_unit *prev, *next;
	struct service_digest *s;
	struct digest_files *f;
	uint64_t id;
	struct node_id worker;
	bool own, closed;
	bool busy; /* the pool or the store is at it */
	struct span span;
	uint64_t expected_ms;
	enum step step;
	struct batch_mark from, to;
	struct batch_mark *marks; /* of its blocks, and the end */
	size_t nmarks;
	uint64_t asked; /* the block whose row was read last, plus 1 */

	struct batch_reader reader;
	struct batch_piece *pieces; /* cut off, not sent yet */
	size_t npieces;
	uint64_t first; /* number of the first piece's input */
	struct rpc_stream *st;
	struct digester *own_work;
	uint8_t (*digests)[32];
	size_t n, got;

	struct digest_answer answer;
	uint8_t sig[SIGN_SIZE];
	enum err e;    /* of what the pool did */
	enum err left; /* the worker, while the pool was at it */
	struct buf why;
	struct digest_look look;
};

static void unit_begin(struct digest_unit *u);
static void unit_advance(struct digest_unit *u);
static void unit_pump(struct digest_unit *u);

static uint64_t now_of(const struct service_digest *s)
{
	return loop_ms(s->m->loop);
}

/* --- a lease's life --- */

static void unit_free(struct digest_unit *u)
{
	struct service_digest *s = u->s;
	struct digest_files *f = u->f;

	DL_DELETE(s->units, u);
	s->held -= u->n * 32;
	digester_free(u->own_work);
	batch_reader_release(&u->reader);
	buf_release(&u->why);
	digest_look_release(&u->look);
	free(u->marks);
	free(u->pieces);
	free(u->digests);
	free(u);
	f->users--;
	s->at_work++; /* that may have been the last of all */
	digest_files_maybe_free(f);
	s->at_work--;
	service_digest_maybe_stopped(s);
}

/* Nothing more is told of it. */
static void unit_close(struct digest_unit *u)
{
	u->closed = true;
	if (u->st)
		rpc_cancel(u->st);
	u->st = NULL;
	digester_free(u->own_work);
	u->own_work = NULL;
	if (!u->busy)
		unit_free(u);
}

/* The end of a lease; the unit is gone before the coordinator hears it. */
static void unit_end(struct digest_unit *u, enum err e)
{
	struct mesh *m = u->s->m;
	const uint64_t id = u->id;
	const bool tell = !u->closed && m->jobs;

	unit_close(u);
	if (!tell)
		return;
	jobs_lease_end(m->jobs, id, e, 0, loop_ms(m->loop));
	service_job_kick(m);
}

static void unit_job_fails(struct digest_unit *u, enum err e, const char *text)
{
	struct digest_files *f = u->f;
	char *copy = xstrdup(text);

	f->users++;
	unit_close(u);
	digest_files_fail(f, e, copy);
	f->users--;
	digest_files_maybe_free(f);
	free(copy);
}

/* Runs in the pool; then on the loop, unless the lease was taken back. */
static void unit_work(struct digest_unit *u, loop_fn work, loop_fn done)
{
	u->busy = true;
	loop_work(u->s->m->loop, work, done, u);
}

/* true: it was taken back meanwhile, and is gone. */
static bool unit_back(struct digest_unit *u)
{
	u->busy = false;
	if (!u->closed)
		return false;
	unit_free(u);
	return true;
}

/* --- where its inputs are --- */

static void on_row(void *arg, enum err e, const char *text)
{
	struct digest_unit *u = arg;

	if (unit_back(u))
		return;
	if (e)
		unit_job_fails(u, e, text ? text : err_str(e));
	else
		unit_advance(u);
}

/* Fills in the marks of its blocks and of the end; false: more must be read
 * from the index first. */
static bool find_marks(struct digest_unit *u)
{
	const struct batch_spec *spec = &u->f->spec;
	const struct batch_cut cut = batch_spec_cut(spec);
	const size_t all = (size_t)(u->span.b - u->span.a) + 1;

	if (!u->marks)
		u->marks = xcalloc(all, sizeof(*u->marks));
	while (u->nmarks < all) {
		const uint64_t block = u->span.a + u->nmarks;
		struct batch_mark *to = u->marks + u->nmarks;

		if (spec->record) {
			*to = batch_record_mark(&cut, block);
			u->nmarks++;
		} else if (block == spec->blocks) {
			*to = (struct batch_mark){spec->size, spec->inputs};
			u->nmarks++;
		} else {
			const size_t got = batch_index_find(
			    u->s->index, spec->key, block, all - u->nmarks, to);

			u->nmarks += got;
			if (got)
				continue;
			if (u->asked == block + 1) {
				unit_job_fails(u, ERR_PROTO, BAD_INDEX);
				return false;
			}
			u->asked = block + 1;
			u->busy = true;
			batch_index_load(u->s->index, spec->key, block, on_row,
					 u);
			return false;
		}
	}
	u->from = u->marks[0];
	u->to = u->marks[all - 1];
	return true;
}

/* --- the worker is this node --- */

static void write_digests(struct digest_unit *u);

static bool on_own_digests(void *arg, const struct digests *d)
{
	struct digest_unit *u = arg;

	memcpy(u->digests[u->got], d->digests, d->n * 32);
	u->got += d->n;
	jobs_heard(u->s->m->jobs, u->id, now_of(u->s));
	unit_pump(u);
	return true;
}

static void on_own_failed(void *arg, enum err e)
{
	unit_end(arg, e);
}

static void on_own_done(void *arg)
{
	write_digests(arg);
}

static const struct digester_ops own_ops = {
    .take = on_own_digests, .failed = on_own_failed, .done = on_own_done};

/* --- or a peer --- */

static void check_answer(struct digest_unit *u);
static void on_opened(struct digest_unit *u, const struct hash_digested *r);

static void on_digests(struct digest_unit *u, const struct digest_out *out)
{
	const size_t n = out->digests.n / 32;

	if (out->digests.n % 32 || out->first != u->answer.start + u->got ||
	    n > u->n - u->got) {
		unit_end(u, ERR_CRYPTO);
		return;
	}
	if (n)
		memcpy(u->digests[u->got], out->digests.p, n * 32);
	u->got += n;
	if (out->sig.n) {
		if (u->got < u->n || !out->root.n || !out->inputs.n) {
			unit_end(u, ERR_CRYPTO);
			return;
		}
		memcpy(u->answer.inputs, out->inputs.p, MERKLE_SIZE);
		memcpy(u->answer.root, out->root.p, MERKLE_SIZE);
		memcpy(u->sig, out->sig.p, SIGN_SIZE);
		check_answer(u);
		return;
	}
	jobs_heard(u->s->m->jobs, u->id, now_of(u->s));
}

static void on_chunk(void *arg, struct rpc_stream *st, const void *msg)
{
	struct digest_unit *u = arg;

	(void)st;
	if (msg && u->step == STEP_STREAM)
		on_digests(u, msg);
}

static void send_places(struct digest_unit *u);

static void on_room(void *arg, struct rpc_stream *st)
{
	struct digest_unit *u = arg;

	(void)st;
	if (u->step == STEP_STREAM)
		unit_pump(u);
	else if (u->step == STEP_OPEN)
		send_places(u);
}

static void lie(struct digest_unit *u);

static void on_end(void *arg, struct rpc_stream *st, enum err e,
		   const void *reply, const char *text)
{
	struct digest_unit *u = arg;

	(void)st;
	u->st = NULL;
	if (e)
		log_debug("work", "lease %llu ended by %s: %s (%s)",
			  (unsigned long long)u->id, node_str(&u->worker),
			  err_name(e), log_quote(text ? text : ""));
	if (!e && u->step == STEP_OPEN)
		on_opened(u, reply);
	else if (u->step == STEP_OPEN && u->look.wrong)
		lie(u); /* it does not open what would convict it */
	else if (u->busy)
		u->left = e ? e : ERR_CRYPTO;
	else
		unit_end(u, e ? e : ERR_CRYPTO);
}

static const struct rpc_ops call_ops = {
    .chunk = on_chunk, .room = on_room, .end = on_end};

static enum err call_remote(struct digest_unit *u)
{
	const struct hash_digest q = {.job = u->f->job,
				      .lease = u->id,
				      .start = u->answer.start,
				      .end = u->answer.end,
				      .rounds = u->answer.rounds,
				      .expected_ms = u->expected_ms};
	struct session *s = hub_find(rpc_hub(u->s->m->rpc), &u->worker);
	const uint64_t long_ms = TIMEOUT_TIMES * u->expected_ms;

	if (!s)
		return ERR_GONE;
	return rpc_call(u->s->m->rpc, s, "hash.digest", &q,
			long_ms > TIMEOUT_MS && long_ms < UINT32_MAX
			    ? (uint32_t)long_ms
			    : TIMEOUT_MS,
			&call_ops, u, &u->st);
}

/* --- reading and sending --- */

static void read_window(void *arg)
{
	struct digest_unit *u = arg;

	u->e = batch_reader_fill(&u->reader, &u->why);
}

static void on_window(void *arg)
{
	struct digest_unit *u = arg;

	if (unit_back(u))
		return;
	if (u->e)
		unit_job_fails(u, u->e, buf_str(&u->why));
	else if (u->left)
		unit_end(u, u->left);
	else
		unit_pump(u);
}

/* false: not now; or the lease is over. */
static bool send_pieces(struct digest_unit *u)
{
	struct batch_item items[BATCH_ITEMS_MAX];
	struct digest_in in = {.first = u->first, .items = {items, u->npieces}};
	const char *why;

	for (size_t i = 0; i < u->npieces; i++)
		items[i] = (struct batch_item){
		    .data = {u->pieces[i].p, u->pieces[i].n},
		    .more = u->pieces[i].more};
	if (!u->own) {
		if (!u->st || rpc_send(u->st, &in))
			return false;
	} else {
		if (digester_held(u->own_work) > DIGESTER_HELD)
			return false;
		const enum err e = digester_feed(
		    u->own_work, u->first - u->answer.start, &in.items, &why);
		if (e) {
			unit_end(u, e);
			return false;
		}
	}
	u->npieces = 0;
	return true;
}

/* All is sent. */
static void stream_ended(struct digest_unit *u)
{
	const char *why;

	if (u->reader.inputs != u->n) {
		unit_job_fails(u, ERR_INPUT, DIGEST_CHANGED);
		return;
	}
	if (u->own && digester_end(u->own_work, &why))
		unit_end(u, ERR_INTERNAL);
}

static void unit_pump(struct digest_unit *u)
{
	if (u->busy || u->closed || u->step != STEP_STREAM)
		return;
	for (;;) {
		if (u->npieces && !send_pieces(u))
			return;
		if (batch_reader_dry(&u->reader)) {
			unit_work(u, read_window, on_window);
			return;
		}
		if (batch_reader_ended(&u->reader))
			break;
		u->first = u->answer.start + u->reader.inputs;
		u->npieces =
		    batch_reader_cut(&u->reader, u->pieces, BATCH_ITEMS_MAX,
				     BATCH_PART_MAX, CHUNK_BYTES);
		if (!u->npieces)
			break; /* cut short: the count says so */
	}
	if (u->reader.fd >= 0) {
		u->reader.fd = -1; /* once */
		stream_ended(u);
	}
}

static void stream_start(struct digest_unit *u)
{
	const struct batch_spec *spec = &u->f->spec;

	u->step = STEP_STREAM;
	u->answer = (struct digest_answer){.job = u->f->job,
					   .lease = u->id,
					   .start = u->from.input,
					   .end = u->to.input,
					   .rounds = (unsigned)spec->rounds};
	u->n = (size_t)(u->to.input - u->from.input);
	if (u->to.input <= u->from.input || u->n > DIGEST_INPUTS_MAX) {
		u->n = 0;
		unit_job_fails(u, ERR_PROTO, BAD_INDEX);
		return;
	}
	u->s->held += u->n * 32;
	u->digests = xmalloc(u->n * 32);
	u->pieces = xcalloc(BATCH_ITEMS_MAX, sizeof(*u->pieces));
	batch_reader_init(&u->reader, u->f->in, spec->record, u->from, u->to);
	if (u->own) {
		u->own_work = digester_new(u->s->m->asic, (int)spec->rounds,
					   false, ASIC_OWN, &own_ops, u);
	} else {
		const enum err e = call_remote(u);

		if (e) {
			unit_end(u, e);
			return;
		}
	}
	unit_pump(u);
}

static void unit_advance(struct digest_unit *u)
{
	if (u->busy || u->f->state != FILES_OPEN || u->f->e)
		return; /* the job has failed, or on_files_open comes */
	if (find_marks(u))
		stream_start(u);
}

/* --- checking --- */

static void look_again(void *arg)
{
	struct digest_unit *u = arg;

	digest_look_run(&u->look);
}

static void on_looked(void *arg)
{
	struct digest_unit *u = arg;
	const struct digest_look *l = &u->look;

	u->f->spent_ns += l->spent_ns;
	if (unit_back(u))
		return;
	if (l->e == ERR_CRYPTO) {
		unit_end(u, ERR_CRYPTO);
	} else if (l->e) {
		unit_job_fails(u, l->e, buf_str(&u->look.why));
	} else if (l->wrong && u->left) {
		lie(u);
	} else if (u->left) {
		unit_end(u, u->left);
	} else {
		u->step = STEP_OPEN;
		send_places(u);
	}
}

/* One input in a hundred while the budget lasts, a share of one core since the
 * files were opened; a few in any case. */
static size_t places_wanted(const struct digest_unit *u)
{
	const struct digest_files *f = u->f;
	const uint64_t budget = (clock_ns() - f->since_ns) / PERMILLE *
				f->spec.terms.check_permille;
	size_t want = u->n / DIGEST_CHECK_PER;

	if (want < DIGEST_CHECK_MIN || f->spent_ns > budget + BUDGET_FREE_NS)
		want = DIGEST_CHECK_MIN;
	return want < u->n ? want : u->n;
}

static void check_answer(struct digest_unit *u)
{
	u->step = STEP_CHECK;
	u->look = (struct digest_look){
	    .fd = u->f->in,
	    .spec = &u->f->spec,
	    .marks = u->marks,
	    .nmarks = u->nmarks,
	    .digests = (const uint8_t(*)[32])u->digests,
	    .n = u->n,
	    .answer = &u->answer,
	    .worker = &u->worker,
	    .sig = u->sig,
	    .want = places_wanted(u),
	};
	unit_work(u, look_again, on_looked);
}

static void send_places(struct digest_unit *u)
{
	struct digest_in in = {.first = u->answer.end,
			       .open = {u->look.open, u->look.nopen}};

	if (u->st && rpc_send(u->st, &in) == OK)
		rpc_send_end(u->st);
}

/* Its digest is wrong, whether or not it proved which input it had. */
static void lie(struct digest_unit *u)
{
	struct mesh *m = u->s->m;
	const uint64_t id = u->id;
	char *why =
	    xasprintf("answered a wrong digest of input %" PRIu64,
		      u->answer.start + u->look.open[u->look.wrong_open]);

	unit_close(u);
	jobs_lie(m->jobs, id, why, loop_ms(m->loop));
	service_job_kick(m);
	free(why);
}

/* It proved itself which input it had: that convinces anybody. */
static void keep_proof(const struct digest_unit *u,
		       const struct hash_digested *r)
{
	const struct digest_look *l = &u->look;
	const struct digest_opened *o = r->opened.items;
	const uint32_t place = l->open[l->wrong_open];
	struct buf text = {0};

	if (l->input.n > EVIDENCE_INPUT_MAX)
		return;
	digest_answer_text(&u->answer, &text);
	struct evidence_doc doc = {
	    .kind = (char *)(uintptr_t) "digest",
	    .answer = {text.p, text.n},
	    .nonce = place,
	    .input = {l->input.p, l->input.n},
	    .input_path = o[l->wrong_open].path,
	    .digest = {u->digests[place], 32},
	    .digest_path = {l->path[0], l->npath * MERKLE_SIZE},
	};

	memcpy(doc.worker, u->worker.b, sizeof(doc.worker));
	memcpy(doc.sig, u->sig, sizeof(doc.sig));
	service_trust_found(u->s->m, &doc);
	buf_release(&text);
}

/* What its receipt will be about. */
static void keep_answer(const struct digest_unit *u)
{
	struct buf text = {0};

	digest_answer_text(&u->answer, &text);
	struct ledger_answer a = {.kind = "digest",
				  .job = u->f->job,
				  .lease = u->id,
				  .worker = u->worker,
				  .text = {text.p, text.n},
				  .sig = u->sig};

	service_receipt_answered(u->s->m, &a);
	buf_release(&text);
}

static void on_opened(struct digest_unit *u, const struct hash_digested *r)
{
	if (u->look.wrong) {
		if (digest_look_opened(&u->look, r))
			keep_proof(u, r);
		lie(u);
	} else if (!digest_look_opened(&u->look, r))
		unit_end(u, ERR_CRYPTO);
	else {
		keep_answer(u);
		write_digests(u);
	}
}

/* --- writing --- */

static void write_out(void *arg)
{
	struct digest_unit *u = arg;
	const struct batch_sink out = batch_spec_sink(&u->f->spec);

	u->e =
	    batch_sink_write(&out, u->f->out, u->answer.start,
			     (const uint8_t(*)[32])u->digests, u->n, &u->why);
}

static void on_written(void *arg)
{
	struct digest_unit *u = arg;
	struct mesh *m = u->s->m;
	const uint64_t id = u->id, end = u->span.b, checked = u->look.nplaces;
	struct digest_unit *v, *tmp;
	struct digest_files *f = u->f;

	u->busy = false;
	if (u->e) {
		unit_job_fails(u, u->e, buf_str(&u->why));
		return;
	}
	const uint64_t blocks = u->span.b - u->span.a;

	f->users++;
	u->closed = true;
	unit_free(u);
	/* Those that waited for this one to be on the disk. */
	DL_FOREACH_SAFE (f->s->units, v, tmp) {
		if (v->f == f && v->step == STEP_WRITE && !v->busy)
			write_digests(v);
	}
	/* Also of one that was taken back: it is checked and on the disk. */
	if (m->jobs && !f->ended) {
		jobs_checked(m->jobs, id, checked, loop_ms(m->loop));
		jobs_progress(m->jobs, id, end, NULL, 0, loop_ms(m->loop));
		jobs_lease_end(m->jobs, id, OK, blocks, loop_ms(m->loop));
		service_job_kick(m);
	}
	f->users--;
	digest_files_maybe_free(f);
}

/* Two writes to one place would end in any order. */
static bool must_wait(const struct digest_unit *u)
{
	const struct digest_unit *v;

	DL_FOREACH (u->s->units, v) {
		if (v != u && v->f == u->f && v->step == STEP_WRITE &&
		    v->busy && v->span.a < u->span.b && u->span.a < v->span.b)
			return true;
	}
	return false;
}

static void write_digests(struct digest_unit *u)
{
	u->step = STEP_WRITE;
	if (!must_wait(u))
		unit_work(u, write_out, on_written);
}

/* --- what service_job.c calls --- */

static void on_assigned(void *arg)
{
	struct digest_unit *u = arg;

	if (!unit_back(u))
		unit_advance(u);
}

/* Its end may change others, and the coordinator: not in anybody's loop. */
static void unit_begin(struct digest_unit *u)
{
	u->busy = true;
	loop_post(u->s->m->loop, on_assigned, u);
}

void digest_files_opened(struct digest_files *f)
{
	struct digest_unit *u;

	DL_FOREACH (f->s->units, u) {
		if (u->f == f && u->step == STEP_FIND && !u->busy)
			unit_begin(u);
	}
}

enum err service_digest_assign(struct mesh *m, const struct lease *l)
{
	struct service_digest *s = m->service_digest;

	if (s->held > HELD_MAX)
		return ERR_BUSY;
	struct digest_unit *u = HN_NEW(struct digest_unit);

	u->s = s;
	u->f = digest_files_get(s, l->job, l->spec);
	u->f->users++;
	u->id = l->id;
	u->worker = l->worker;
	u->own = node_id_eq(&l->worker, identity_id(m->me));
	u->span = l->span;
	u->expected_ms = l->expected_ms;
	DL_APPEND(s->units, u);
	/* The coordinator must not hear of it within this call. */
	digest_files_open(u->f);
	if (u->f->state == FILES_OPEN)
		unit_begin(u);
	return OK;
}

void service_digest_revoke(struct mesh *m, uint64_t lease_id)
{
	struct digest_unit *u;

	DL_FOREACH (m->service_digest->units, u) {
		if (u->id == lease_id && !u->closed) {
			unit_close(u);
			return;
		}
	}
}

struct service_digest *service_digest_new(struct mesh *m)
{
	struct service_digest *s = HN_NEW(struct service_digest);

	s->m = m;
	s->index = batch_index_new(m->store);
	return s;
}

void service_digest_maybe_stopped(struct service_digest *s)
{
	if (!s->stopped || s->units || s->serving || s->submits || s->files ||
	    s->at_work)
		return;
	loop_post(s->m->loop, s->stopped, s->stopped_arg);
	batch_index_free(s->index);
	s->m->service_digest = NULL;
	free(s);
}

void service_digest_stop(struct service_digest *s, loop_fn done, void *arg)
{
	struct digest_files *f, *ftmp;
	struct digest_unit *u, *utmp;

	s->at_work++; /* until all is said */
	s->stopped = done;
	s->stopped_arg = arg;
	digest_serve_stop(s);
	digest_submit_stop(s);
	DL_FOREACH_SAFE (s->units, u, utmp) {
		if (!u->closed)
			unit_close(u);
	}
	DL_FOREACH_SAFE (s->files, f, ftmp)
		digest_files_maybe_free(f);
	s->at_work--;
	service_digest_maybe_stopped(s);
}
