/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "test/support/fake_hub.h"

#include "node/base/mem.h"

#include <utlist.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define RECORDS_PER_ROUND 4

struct record {
	struct record *next;
	size_t n;
	uint8_t bytes[SESSION_RECORD];
};

struct session {
	struct session *prev, *next;
	struct hub *hub;
	struct session *peer; /* NULL: gone */
	struct record *head, *tail;
	size_t queued;
	bool dialled, up, stalled, high, retiring, posted, down;
	enum err why;
	const char *text;
	void *user;
	struct fake_stats stats;
	unsigned refs; /* one until down, one per post */
};

struct hub {
	struct hub_options o;
	struct session *sessions;
	bool stopping;
	enum err last_down;
	loop_fn stopped;
	void *stopped_arg;
};

static void session_unref(struct session *s)
{
	if (--s->refs)
		return;
	while (s->head) {
		struct record *r = s->head;
		s->head = r->next;
		free(r);
	}
	free(s);
}

static void on_flush(void *arg);

static void post_flush(struct session *s)
{
	if (s->posted || s->stalled)
		return;
	s->posted = true;
	s->refs++;
	loop_post(s->hub->o.loop, on_flush, s);
}

static void post_down(struct session *s, enum err why, const char *text);

static void on_down(void *arg)
{
	struct session *s = arg;
	struct hub *h = s->hub;

	if (s->head && s->peer && !s->stalled) {
		/* What is queued goes first. */
		loop_post(h->o.loop, on_down, s);
		return;
	}
	if (s->peer) {
		s->peer->peer = NULL;
		post_down(s->peer, ERR_GONE, "the peer said goodbye");
	}
	s->down = true;
	DL_DELETE(h->sessions, s);
	h->last_down = s->why;
	h->o.down(h->o.arg, s, s->why, s->text, false);
	session_unref(s);
}

static void post_down(struct session *s, enum err why, const char *text)
{
	if (!s->up)
		return;
	s->up = false;
	s->why = why;
	s->text = text;
	loop_post(s->hub->o.loop, on_down, s);
}

enum err fake_session_inject(struct session *s, const void *p, size_t n)
{
	if (!s->up)
		return ERR_GONE;
	const enum err e = s->hub->o.record(s->hub->o.arg, s, p, n);
	if (e)
		session_close(s, e, "bad record");
	return e;
}

static void on_flush(void *arg)
{
	struct session *s = arg;

	s->posted = false;
	if (s->down) {
		session_unref(s);
		return;
	}
	for (int i = 0; i < RECORDS_PER_ROUND && s->head && !s->stalled; i++) {
		struct record *r = s->head;
		s->head = r->next;
		s->queued -= r->n;
		s->stats.records++;
		s->stats.bytes += r->n;
		if (r->n > s->stats.biggest_record)
			s->stats.biggest_record = r->n;
		if (s->peer)
			(void)fake_session_inject(s->peer, r->bytes, r->n);
		free(r);
	}
	if (s->head)
		post_flush(s);
	if (s->up && s->high && s->queued <= SESSION_LOW) {
		s->high = false;
		s->hub->o.writable(s->hub->o.arg, s);
	}
	session_unref(s);
}

uint8_t *session_space(struct session *s, size_t n)
{
	assert(n && n <= SESSION_RECORD);
	struct record *r = s->head ? s->tail : NULL;
	if (!r || SESSION_RECORD - r->n < n) {
		r = xcalloc(1, sizeof(*r));
		if (s->head)
			s->tail->next = r;
		else
			s->head = r;
		s->tail = r;
	}
	uint8_t *p = r->bytes + r->n;
	r->n += n;
	s->queued += n;
	if (s->queued > s->stats.most_queued)
		s->stats.most_queued = s->queued;
	if (s->queued > SESSION_HIGH)
		s->high = true;
	post_flush(s);
	return p;
}

size_t session_queued(const struct session *s)
{
	return s->queued;
}

void session_outstanding(struct session *s, int delta)
{
	s->stats.outstanding += delta;
}

bool session_retiring(const struct session *s)
{
	return s->retiring;
}

enum session_kind session_kind(const struct session *s)
{
	(void)s;
	return SESSION_PEER;
}

void session_rest(struct session *s, uint32_t ms)
{
	s->stats.rested_ms += ms;
}

void session_close(struct session *s, enum err why, const char *text)
{
	if (!s->up)
		return;
	post_down(s, why, text);
}

bool session_is_up(const struct session *s)
{
	return s->up;
}

bool session_dialled(const struct session *s)
{
	return s->dialled;
}

void session_set_user(struct session *s, void *user)
{
	s->user = user;
}

void *session_user(const struct session *s)
{
	return s->user;
}

/* Hubs */

struct hub *hub_new(const struct hub_options *o)
{
	struct hub *h = HN_NEW(struct hub);
	h->o = *o;
	return h;
}

static void on_hub_end(void *arg)
{
	struct hub *h = arg;

	if (h->sessions) {
		loop_post(h->o.loop, on_hub_end, h);
		return;
	}
	const loop_fn done = h->stopped;
	void *done_arg = h->stopped_arg;
	free(h);
	done(done_arg);
}

void hub_stop(struct hub *h, loop_fn done, void *arg)
{
	struct session *s;

	h->stopping = true;
	h->stopped = done;
	h->stopped_arg = arg;
	DL_FOREACH (h->sessions, s)
		session_close(s, ERR_GONE, "stopping");
	loop_post(h->o.loop, on_hub_end, h);
}

static void on_up(void *arg)
{
	struct session *s = arg;

	if (s->up)
		s->hub->o.up(s->hub->o.arg, s);
	session_unref(s);
}

static struct session *add(struct hub *h, bool dialled)
{
	struct session *s = HN_NEW(struct session);

	s->hub = h;
	s->dialled = dialled;
	s->up = true;
	s->refs = 2;
	DL_APPEND(h->sessions, s);
	loop_post(h->o.loop, on_up, s);
	return s;
}

void fake_hub_join(struct hub *a, struct hub *b)
{
	struct session *x = add(a, true);
	struct session *y = add(b, false);

	x->peer = y;
	y->peer = x;
}

struct session *fake_hub_session(struct hub *h)
{
	return h->sessions ? h->sessions->prev : NULL;
}

size_t fake_hub_sessions(const struct hub *h)
{
	struct session *s;
	size_t n;
	DL_COUNT(h->sessions, s, n);
	return n;
}

void fake_session_stall(struct session *s, bool stalled)
{
	s->stalled = stalled;
	if (!stalled && s->head)
		post_flush(s);
}

void fake_session_cut(struct session *s)
{
	struct session *peer = s->peer;

	if (peer) {
		peer->peer = NULL;
		s->peer = NULL;
		post_down(peer, ERR_GONE, "connection lost");
	}
	post_down(s, ERR_GONE, "connection lost");
}

void fake_session_retire(struct session *s)
{
	s->retiring = true;
	s->hub->o.retire(s->hub->o.arg, s);
}

struct fake_stats fake_session_stats(const struct session *s)
{
	return s->stats;
}

enum err fake_hub_down(struct hub *h)
{
	const enum err e = h->last_down;
	h->last_down = OK;
	return e;
}
