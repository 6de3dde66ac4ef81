/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The serve half of hash.digest: digests for somebody else's batch job. Inputs
 * come, digests go (digester.c); the leaves of both trees are kept, at most
 * DIGEST_INPUTS_MAX of each. When all are there the trees are grown in the uv
 * pool, the roots signed, and the places that the caller then draws opened.
 */
#include "node/base/buf.h"
#include "node/mesh/cheat.h"
#include "node/mesh/digest_look.h"
#include "node/mesh/digester.h"
#include "node/mesh/lender.h"
#include "node/mesh/lending.h"
#include "node/mesh/service_digest.h"
#include "node/mesh/service_hash.h"

#include <utlist.h>

#include <stdlib.h>
#include <string.h>

#define SERVING_MAX 32 /* leases at once, of all callers: 16 MiB each */
#define IDLE_MS 5000   /* one that keeps us waiting so long gives way */

struct digest_serving {
	struct digest_serving *prev, *next;
	struct service_digest *s;
	struct rpc_stream *st; /* NULL: over, the pool still runs */
	struct loan loan;
	struct digester *d;
	struct digest_answer answer;
	char job[16];
	uint64_t n;
	struct buf leaves, digests; /* 32 bytes each */
	bool growing, committed;
	uint64_t heard_at;     /* loop_ms: its caller did something */
	struct merkle *inputs; /* once grown */
	uint8_t sig[SIGN_SIZE];
};

static void serving_free(struct digest_serving *v)
{
	struct service_digest *s = v->s;

	digester_free(v->d);
	v->d = NULL;
	v->st = NULL;
	if (v->growing)
		return; /* on_grown goes on */
	lending_end(&v->loan);
	DL_DELETE(s->serving, v);
	s->nserving--;
	buf_release(&v->leaves);
	buf_release(&v->digests);
	merkle_free(v->inputs);
	free(v);
	service_digest_maybe_stopped(s);
}

static void serving_fail(struct digest_serving *v, enum err e, const char *text)
{
	rpc_fail(v->st, e, "%s", text);
	serving_free(v);
}

static bool on_digests(void *arg, const struct digests *d)
{
	struct digest_serving *v = arg;
	const uint8_t(*digests)[32] = cheat_digests(d->digests, d->n);
	const struct digest_out out = {.first = v->answer.start + d->first,
				       .digests = {digests[0], d->n * 32}};

	if (rpc_send(v->st, &out))
		return false;
	buf_add(&v->leaves, d->leaves, d->n * 32);
	buf_add(&v->digests, digests, d->n * 32);
	rpc_hold(v->st, d->held > DIGESTER_HELD);
	return true;
}

static void on_device_failed(void *arg, enum err e)
{
	serving_fail(arg, e == ERR_CANCELED ? ERR_BUSY : e,
		     "the device failed");
}

/* In the uv pool. */
static void grow(void *arg)
{
	struct digest_serving *v = arg;
	const size_t n = (size_t)v->n;

	v->inputs = merkle_of_leaves(
	    (const uint8_t(*)[32])(const void *)v->leaves.p, n, digest_hash);
	struct merkle *digests = merkle_of_digests(
	    (const uint8_t(*)[32])(const void *)v->digests.p, n, digest_hash);

	memcpy(v->answer.inputs, merkle_root(v->inputs), MERKLE_SIZE);
	memcpy(v->answer.root, merkle_root(digests), MERKLE_SIZE);
	merkle_free(digests);
	digest_answer_sign(&v->answer, v->s->m->me, v->sig);
}

static void commit(struct digest_serving *v)
{
	const struct digest_out out = {
	    .first = v->answer.end,
	    .inputs = {v->answer.inputs, MERKLE_SIZE},
	    .root = {v->answer.root, MERKLE_SIZE},
	    .sig = {v->sig, SIGN_SIZE}};

	v->committed = rpc_send(v->st, &out) == OK;
}

static void on_grown(void *arg)
{
	struct digest_serving *v = arg;

	v->growing = false;
	buf_release(&v->leaves);
	buf_release(&v->digests);
	if (v->st)
		commit(v);
	else
		serving_free(v);
}

static void on_all_digested(void *arg)
{
	struct digest_serving *v = arg;

	v->growing = true;
	loop_work(v->s->m->loop, grow, on_grown, v);
}

static const struct digester_ops digest_ops = {
    .take = on_digests, .failed = on_device_failed, .done = on_all_digested};

static void open_places(struct digest_serving *v, const struct u32s *open)
{
	struct digest_opened opened[DIGEST_OPEN_MAX];
	uint8_t paths[DIGEST_OPEN_MAX][MERKLE_PATH_MAX][MERKLE_SIZE];
	struct hash_digested reply = {.count = v->n,
				      .opened = {opened, open->n}};
	struct buf text = {0};

	for (size_t i = 0; i < open->n; i++) {
		if (open->items[i] >= v->n) {
			serving_fail(v, ERR_INPUT, "there is no such place");
			return;
		}
		const size_t steps =
		    merkle_path(v->inputs, open->items[i], paths[i]);

		opened[i] = (struct digest_opened){
		    open->items[i], {paths[i][0], steps * MERKLE_SIZE}};
	}
	digest_answer_text(&v->answer, &text);
	service_receipt_served(v->s->m, v->st, "digest",
			       (struct bytes){text.p, text.n}, v->sig);
	buf_release(&text);
	rpc_reply(v->st, &reply);
	serving_free(v);
}

static void on_chunk(void *arg, struct rpc_stream *st, const void *msg)
{
	struct digest_serving *v = arg;
	const struct digest_in *in = msg;
	const char *why = NULL;
	enum err e = OK;

	if (!in)
		return; /* nothing depends on it */
	v->heard_at = loop_ms(v->s->m->loop);
	if (v->committed) {
		open_places(v, &in->open);
		return;
	}
	if (in->open.n || digester_inputs(v->d) == v->n) {
		serving_fail(v, ERR_INPUT,
			     "places are opened after the "
			     "commitment");
		return;
	}
	e = in->first < v->answer.start
		? ERR_INPUT
		: digester_feed(v->d, in->first - v->answer.start, &in->items,
				&why);
	if (!e && digester_inputs(v->d) > v->n)
		e = ERR_INPUT;
	if (e) {
		serving_fail(v, e, why ? why : "inputs that the lease has not");
		return;
	}
	rpc_hold(st, digester_held(v->d) > DIGESTER_HELD);
	if (digester_inputs(v->d) == v->n && digester_end(v->d, &why))
		serving_fail(v, ERR_INPUT, why);
}

static void on_room(void *arg, struct rpc_stream *st)
{
	struct digest_serving *v = arg;

	(void)st;
	v->heard_at = loop_ms(v->s->m->loop);
	if (v->inputs && !v->growing && !v->committed)
		commit(v);
	else if (!v->growing && !v->committed)
		digester_push(v->d);
}

static void on_left(void *arg, struct rpc_stream *st, enum err e,
		    const void *reply, const char *text)
{
	(void)st, (void)e, (void)reply, (void)text;
	serving_free(arg);
}

static const struct rpc_ops serve_ops = {
    .chunk = on_chunk, .room = on_room, .end = on_left};

/* Nothing of it counts before it is committed to. */
static void on_recalled(void *arg)
{
	struct digest_serving *v = arg;
	struct buf why = {0};

	buf_printf(&why, "paused: %s", lending_word(v->s->m->lending)->why);
	if (v->st)
		serving_fail(v, ERR_BUSY, buf_str(&why));
	buf_release(&why);
}

/* Leases that are only held, by whoever can open streams, do not keep others
 * out: the one goes that has kept us waiting longest. True: there is room. */
static bool make_room(struct service_digest *s)
{
	struct digest_serving *v, *idle = NULL;

	DL_FOREACH (s->serving, v) {
		const bool waits = v->st && !v->growing && !digester_held(v->d);

		if (waits && (!idle || v->heard_at < idle->heard_at))
			idle = v;
	}
	if (!idle || loop_ms(s->m->loop) - idle->heard_at < IDLE_MS)
		return false;
	serving_fail(idle, ERR_BUSY, "nothing came for long, others wait");
	return true;
}

void serve_digest(struct rpc_stream *st, const void *request, void *arg)
{
	const struct hash_digest *q = request;
	struct mesh *m = arg;
	struct service_digest *s = m->service_digest;
	struct buf why = {0};
	enum err e = hash_digest_check(q, &why);

	if (!e && (m->stopping || s->stopped)) {
		buf_add_str(&why, "this node is stopping");
		e = ERR_GONE;
	} else if (!e && s->nserving >= SERVING_MAX && !make_room(s)) {
		buf_add_str(&why, "this node has enough to do");
		e = ERR_BUSY;
	}
	if (e) {
		rpc_fail(st, e, "%s", buf_str(&why));
		buf_release(&why);
		return;
	}
	if (!service_receipt_admit(m, st, q->job, q->lease))
		return;
	struct digest_serving *v = HN_NEW(struct digest_serving);

	v->s = s;
	v->st = st;
	v->heard_at = loop_ms(m->loop);
	v->n = q->end - q->start;
	memcpy(v->job, q->job, strlen(q->job) + 1);
	v->answer = (struct digest_answer){.job = v->job,
					   .lease = q->lease,
					   .start = q->start,
					   .end = q->end,
					   .rounds = (unsigned)q->rounds};
	v->d = digester_new(m->asic, (int)q->rounds, true, work_client(st),
			    &digest_ops, v);
	DL_APPEND(s->serving, v);
	s->nserving++;
	e = lending_take(m->lending, st, v->job, &v->loan, on_recalled, v,
			 &why);
	if (e) {
		serving_fail(v, e, buf_str(&why));
		buf_release(&why);
		return;
	}
	rpc_serve(st, &serve_ops, v);
}

void service_digest_withdraw(struct mesh *m)
{
	struct digest_serving *v, *tmp;

	if (!m->service_digest)
		return;
	DL_FOREACH_SAFE (m->service_digest->serving, v, tmp) {
		if (v->st)
			serving_fail(v, ERR_BUSY,
				     "this node offers the work no longer");
	}
}

void digest_serve_stop(struct service_digest *s)
{
	struct digest_serving *v, *tmp;

	DL_FOREACH_SAFE (s->serving, v, tmp) {
		if (v->st)
			serving_fail(v, ERR_GONE, "this node is stopping");
	}
}
