/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A lease is a list of parts in ascending order that covers what is not told
 * outside yet: first those in hands or under check, then one that nobody has,
 * with gaps (also nobody's) where a part was taken back. Handing out cuts the
 * front off the first part without a holder, so the head of the list is always
 * what is oldest, and the list is as long as there are parts in hands.
 *
 * Parts are pulled: who has a free slot gets the next one, sized by its rate,
 * so that shares of the work follow the rates without a plan that could be
 * wrong. Near the end of all that is queued a part is at most its member's
 * share of what is left.
 */
#include "node/mesh/site.h"

#include "node/base/buf.h"
#include "node/base/mem.h"
#include "node/mesh/check.h"

#include <uthash.h>
#include <utlist.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_NONCES (1u << 18) /* of a member whose rate is not known */
#define LEAST_MS 20		/* a shorter part costs more than it gives */
#define CHECK_SHARE 10	/* checks take a tenth of our own rate at most */
#define OVERDUE_MS 1000 /* and three times what was expected */
#define DOUBLINGS 4
#define FRESH 0.4 /* weight of a new rate */

enum part_state {
	PART_TODO, /* nobody's */
	PART_HELD,
	PART_CHECKING, /* through, or cut at its prefix; under check */
	PART_DONE
};

struct member {
	struct node_id id;
	bool own, here, bad;
	double rate; /* H/s */
	bool measured;
	unsigned slots, held;
	struct part *parts; /* in its hands, oldest first */
	uint64_t since;	    /* it has been busy with its oldest part */
	uint64_t resume_at;
	unsigned streak;
	struct evidence evidence; /* of what it says it has done */
	uint64_t ndone, nonces;
	UT_hash_handle hh;
};

struct part {
	struct part *prev, *next;   /* in its lease */
	struct part *mprev, *mnext; /* in its member's hands */
	struct site_lease *lease;
	enum part_state state;
	uint64_t id; /* of its last assignment; 0: none */
	uint64_t start, end, below;
	uint64_t size;	   /* as it was handed out */
	struct member *by; /* not of PART_TODO */
	uint64_t expected_ms;
	struct span check;
	bool ended; /* its member has said its last word */
	bool check_running;
	struct buf shares; /* uint32_t; of an own part those not passed on */
	UT_hash_handle hh; /* by id: in hands or under check */
};

struct site_lease {
	struct site_lease *prev, *next;
	struct part *parts;
	void *arg;
	uint64_t client, turn; /* when its client last got a part */
	unsigned bits;
	uint64_t hashes;
};

struct site {
	struct site_ops ops;
	void *arg;
	struct member *members;
	struct part *by_id;
	struct site_lease *leases; /* oldest first */
	uint64_t next_id;
	uint64_t todo; /* nonces nobody has */
	uint64_t turns;
};

struct site *site_new(const struct site_ops *ops, void *arg)
{
	struct site *s = HN_NEW(struct site);

	s->ops = *ops;
	s->arg = arg;
	s->next_id = 1;
	return s;
}

/* --- parts --- */

static void part_unindex(struct site *s, struct part *p)
{
	if (!p->id)
		return;
	HASH_DEL(s->by_id, p);
	p->id = 0;
}

static void part_free(struct site *s, struct part *p)
{
	part_unindex(s, p);
	if (p->state == PART_TODO)
		s->todo -= p->end - p->start;
	DL_DELETE(p->lease->parts, p);
	buf_release(&p->shares);
	free(p);
}

static struct part *part_new(struct site_lease *l, uint64_t start, uint64_t end,
			     enum part_state state)
{
	struct part *p = HN_NEW(struct part);

	p->lease = l;
	p->start = p->below = start;
	p->end = end;
	p->state = state;
	return p;
}

static struct part *part_find(struct site *s, uint64_t id)
{
	struct part *p;

	HASH_FIND(hh, s->by_id, &id, sizeof(id), p);
	return p;
}

static void member_release(struct part *p, uint64_t now)
{
	struct member *m = p->by;

	DL_DELETE2(m->parts, p, mprev, mnext);
	m->held--;
	m->since = now;
}

/* Nobody's again, with the one behind it if that is so, too. */
static void part_reopen(struct site *s, struct part *p)
{
	struct part *next = p->next;

	part_unindex(s, p);
	buf_clear(&p->shares);
	p->ended = false;
	p->below = p->start;
	p->by = NULL;
	p->state = PART_TODO;
	s->todo += p->end - p->start;
	if (next && next->state == PART_TODO) {
		p->end = next->end;
		s->todo += next->end - next->start;
		part_free(s, next);
	}
}

/* --- passing on --- */

static void lease_free(struct site *s, struct site_lease *l)
{
	while (l->parts)
		part_free(s, l->parts);
	DL_DELETE(s->leases, l);
	free(l);
}

static void tell(const struct site *s, struct part *p)
{
	struct buf shares = p->shares;

	memset(&p->shares, 0, sizeof(p->shares));
	p->lease->hashes += p->below - p->start;
	p->start = p->below;
	s->ops.progress(p->lease->arg, p->below,
			(const uint32_t *)(const void *)shares.p,
			shares.n / sizeof(uint32_t));
	buf_release(&shares);
}

/* Tells the prefix that grew; true when that was the end of the lease. */
static bool lease_pass_on(struct site *s, struct site_lease *l)
{
	struct part *p;

	while ((p = l->parts)) {
		if (p->state == PART_HELD && p->by->own && p->below > p->start)
			tell(s, p);
		if (p->state != PART_DONE)
			return false;
		tell(s, p);
		part_free(s, p);
	}
	void *arg = l->arg;
	uint64_t hashes = l->hashes;
	lease_free(s, l);
	s->ops.done(arg, hashes);
	return true;
}

/* --- checking --- */

static double rate_of(const struct site *s, bool own)
{
	const struct member *m;
	double sum = 0;

	for (m = s->members; m; m = m->hh.next)
		if (m->here && !m->bad && m->own == own)
			sum += m->rate;
	return sum;
}

/* A piece of what it has done, at a random place. */
static void check_place(struct site *s, struct part *p)
{
	const double own = rate_of(s, true), others = rate_of(s, false);
	double part = 1.0 / SITE_CHECK_PART;

	if (others > 0 && own > 0 && own / CHECK_SHARE / others < part)
		part = own / CHECK_SHARE / others;
	uint64_t n = (uint64_t)((double)(p->below - p->start) * part);
	n = n < CHECK_PIECE_MIN ? CHECK_PIECE_MIN : n;
	p->check = check_run((struct span){p->start, p->below}, n,
			     s->ops.random, s->arg);
}

static void check_begin(struct site *s, struct part *p)
{
	p->check_running =
	    s->ops.check(s->arg, p->id, p->lease->arg, p->check.a, p->check.b);
}

/* The shares of the part that lie in the piece are those that were found. */
static bool check_good(const struct part *p, const uint32_t *found, size_t n)
{
	size_t count;
	const uint32_t *said =
	    check_within((const uint32_t *)(const void *)p->shares.p,
			 p->shares.n / sizeof(*said), p->check, &count);

	return count == n && (!n || !memcmp(said, found, n * sizeof(*found)));
}

/* D15's (c) and (d): do its shares look like work, over all its parts? */
static bool looks_done(const struct part *p)
{
	struct evidence *e = &p->by->evidence;
	const uint32_t *shares = (const uint32_t *)(const void *)p->shares.p;
	const size_t n = p->shares.n / sizeof(*shares);
	uint64_t last = p->start;

	evidence_add(e, p->below - p->start, p->lease->bits, n);
	for (size_t i = 0; i <= n; i++) {
		uint64_t at = i < n ? shares[i] : p->below;
		if (evidence_gap(at - last, p->lease->bits, e->expected))
			return false;
		last = at;
	}
	return !evidence_low(e);
}

/* What it told is all there will be of this part: [start, below). The rest
 * is nobody's again. */
static void part_settle(struct site *s, struct part *p, uint64_t now)
{
	struct site_lease *l = p->lease;

	member_release(p, now);
	if (p->below < p->end) {
		struct part *rest = part_new(l, p->below, p->end, PART_HELD);
		p->end = p->below;
		DL_APPEND_ELEM(l->parts, p, rest);
		part_reopen(s, rest);
	}
	if (p->below == p->start) {
		part_free(s, p);
		return;
	}
	if (p->by->own) {
		part_unindex(s, p);
		p->state = PART_DONE;
		return;
	}
	p->state = PART_CHECKING;
	check_place(s, p);
	check_begin(s, p);
}

/* --- members --- */

static struct member *member_find(const struct site *s,
				  const struct node_id *id)
{
	struct member *m;

	HASH_FIND(hh, s->members, id, sizeof(*id), m);
	return m;
}

static void member_rest(struct member *m, uint64_t now)
{
	const unsigned n = m->streak < DOUBLINGS ? m->streak : DOUBLINGS;

	m->resume_at = now + ((uint64_t)SITE_REST_MS << n);
	m->streak++;
}

/* Everything in its hands is cut at its prefix. */
static void member_empty(struct site *s, struct member *m, uint64_t now)
{
	while (m->parts) {
		struct part *p = m->parts;
		s->ops.revoke(s->arg, p->id);
		part_settle(s, p, now);
	}
}

static void feed(struct site *s, uint64_t now);

static void pass_on_all(struct site *s, uint64_t now)
{
	struct site_lease *l, *next;

	DL_FOREACH_SAFE (s->leases, l, next) {
		lease_pass_on(s, l);
	}
	feed(s, now);
}

void site_member(struct site *s, const struct node_id *id, bool own,
		 uint64_t rate, unsigned slots, uint64_t now)
{
	struct member *m = member_find(s, id);

	if (!m) {
		m = HN_NEW(struct member);
		m->id = *id;
		HASH_ADD(hh, s->members, id, sizeof(m->id), m);
	}
	if (!m->here) {
		m->streak = 0;
		m->resume_at = 0;
	}
	m->here = true;
	m->own = own;
	m->slots = slots > SITE_SLOTS_MAX ? SITE_SLOTS_MAX : slots ? slots : 2;
	if (!m->measured && rate)
		m->rate = (double)rate;
	feed(s, now);
}

void site_member_gone(struct site *s, const struct node_id *id, uint64_t now)
{
	struct member *m = member_find(s, id);

	if (!m || !m->here)
		return;
	m->here = false;
	m->measured = false;
	member_empty(s, m, now);
	pass_on_all(s, now);
}

/* Whatever of it was not told outside is done again by others. */
static void member_lied(struct site *s, struct member *m, const char *why,
			uint64_t now)
{
	struct site_lease *l;
	struct part *p, *next;

	m->bad = true;
	while (m->parts) {
		p = m->parts;
		if (!p->ended)
			s->ops.revoke(s->arg, p->id);
		member_release(p, now);
		part_reopen(s, p);
	}
	DL_FOREACH (s->leases, l) {
		/* Reopening swallows an open part behind, never one before. */
		for (p = l->parts; p; p = next) {
			next = p->next;
			if (p->by != m)
				continue;
			if (p->check_running)
				s->ops.check_cancel(s->arg, p->id);
			p->check_running = false;
			part_reopen(s, p);
			next = p->next;
		}
	}
	s->ops.lied(s->arg, &m->id, why);
}

/* --- handing out --- */

static bool member_free(const struct member *m, uint64_t now)
{
	return m->here && !m->bad && now >= m->resume_at &&
	       m->held < (m->streak ? 1 : m->slots);
}

static uint64_t part_size(const struct site *s, const struct member *m)
{
	const double all = rate_of(s, true) + rate_of(s, false);

	if (m->rate <= 0)
		return FIRST_NONCES;
	double n = m->rate * SITE_PART_MS / 1000;
	double fair = (double)s->todo * m->rate / all;
	double least = m->rate * LEAST_MS / 1000;
	n = n > fair ? fair : n;
	n = n < least ? least : n;
	return n < 1 ? 1 : (uint64_t)n;
}

static struct part *first_todo(const struct site_lease *l)
{
	struct part *p;

	DL_FOREACH (l->parts, p)
		if (p->state == PART_TODO)
			return p;
	return NULL;
}

/* Of the client that waits longest, from its oldest lease. */
static struct part *next_todo(const struct site *s)
{
	const struct site_lease *l, *best = NULL;
	struct part *p, *found = NULL;

	DL_FOREACH (s->leases, l) {
		if (best && l->turn >= best->turn)
			continue;
		p = first_todo(l);
		if (p) {
			best = l;
			found = p;
		}
	}
	return found;
}

static void take_turn(struct site *s, uint64_t client)
{
	struct site_lease *l;

	s->turns++;
	DL_FOREACH (s->leases, l)
		if (l->client == client)
			l->turn = s->turns;
}

/* Cuts so much off the front of one that nobody has. */
static void part_cut(struct part *p, uint64_t size)
{
	if (size >= p->end - p->start)
		return;
	struct part *rest =
	    part_new(p->lease, p->start + size, p->end, PART_TODO);
	p->end = rest->start;
	DL_APPEND_ELEM(p->lease->parts, p, rest);
}

static bool hand_out(struct site *s, struct member *m, struct part *p,
		     uint64_t now)
{
	take_turn(s, p->lease->client);
	part_cut(p, part_size(s, m));
	s->todo -= p->end - p->start;
	p->state = PART_HELD;
	p->by = m;
	p->id = s->next_id++;
	p->size = p->end - p->start;
	p->expected_ms =
	    m->rate > 0
		? (uint64_t)((double)(p->end - p->start) * 1000 / m->rate) + 1
		: SITE_PART_MS;
	HASH_ADD(hh, s->by_id, id, sizeof(p->id), p);
	if (!m->parts)
		m->since = now;
	DL_APPEND2(m->parts, p, mprev, mnext);
	m->held++;
	const struct site_part say = {.id = p->id,
				      .member = m->id,
				      .own = m->own,
				      .lease_arg = p->lease->arg,
				      .start = p->start,
				      .end = p->end,
				      .expected_ms = p->expected_ms};
	if (s->ops.assign(s->arg, &say))
		return true;
	member_release(p, now);
	part_reopen(s, p);
	member_rest(m, now);
	return false;
}

/* In turn, so that one with many slots does not take all. */
static void feed(struct site *s, uint64_t now)
{
	struct member *m;
	struct part *p;
	bool any = true;

	while (any && s->todo) {
		any = false;
		for (m = s->members; m; m = m->hh.next)
			if (member_free(m, now) && (p = next_todo(s)))
				any |= hand_out(s, m, p, now);
	}
}

/* --- leases --- */

struct site_lease *site_lease_new(struct site *s, uint64_t start, uint64_t end,
				  unsigned bits, uint64_t client,
				  void *lease_arg, uint64_t now)
{
	struct site_lease *l = HN_NEW(struct site_lease);
	const struct site_lease *other;

	assert(start < end);
	l->arg = lease_arg;
	l->bits = bits;
	l->client = client;
	DL_FOREACH (s->leases, other)
		if (other->client == client)
			l->turn = other->turn;
	struct part *p = part_new(l, start, end, PART_TODO);
	DL_APPEND(l->parts, p);
	s->todo += end - start;
	DL_APPEND(s->leases, l);
	feed(s, now);
	return l;
}

void site_lease_cancel(struct site *s, struct site_lease *l, uint64_t now)
{
	struct part *p;

	DL_FOREACH (l->parts, p) {
		if (p->check_running)
			s->ops.check_cancel(s->arg, p->id);
		if (p->state != PART_HELD)
			continue;
		s->ops.revoke(s->arg, p->id);
		member_release(p, now);
	}
	lease_free(s, l);
	feed(s, now);
}

/* --- members' words --- */

/* Too slow by far: what its oldest part shows is its rate, but no rate comes
 * back from nothing. */
static void learn_slow(struct member *m, uint64_t now)
{
	const struct part *p = m->parts;
	const double ms = (double)(now - m->since);
	const double did = (double)(p->below + p->size - p->end);
	const double rate = did * 1000 / ms, least = m->rate / 16;

	m->rate = rate > least ? rate : least;
}

/* Its rate over the time that it took for this much. */
static void learn(struct member *m, uint64_t nonces, uint64_t now)
{
	const double ms = now > m->since ? (double)(now - m->since) : 1;
	const double rate = (double)nonces * 1000 / ms;

	m->rate = m->measured ? m->rate * (1 - FRESH) + rate * FRESH : rate;
	m->measured = true;
}

void site_progress(struct site *s, uint64_t part, uint64_t below,
		   const uint32_t *shares, size_t n, uint64_t now)
{
	struct part *p = part_find(s, part);

	if (!p || p->state != PART_HELD)
		return;
	if (below < p->below || below > p->end) {
		site_lied(s, part, "progress that is none", now);
		return;
	}
	for (size_t i = 0; i < n; i++)
		if (shares[i] < p->below || shares[i] >= below ||
		    (i && shares[i] <= shares[i - 1])) {
			site_lied(s, part, "shares out of order", now);
			return;
		}
	p->by->nonces += below - p->below;
	p->below = below;
	buf_add(&p->shares, shares, n * sizeof(*shares));
	/* Its last word comes with site_end: nothing ends here. */
	if (p->by->own && p == p->lease->parts && below < p->end &&
	    below > p->start)
		tell(s, p);
}

void site_end(struct site *s, uint64_t part, enum err e, uint64_t now)
{
	struct part *p = part_find(s, part);

	if (!p || p->state != PART_HELD)
		return;
	struct member *m = p->by;
	p->ended = true;
	if (e == OK && p->below != p->end) {
		site_lied(s, part, "an end without all of the work", now);
		return;
	}
	if (!m->own && p->below > p->start && !looks_done(p)) {
		site_lied(s, part, "too few shares to be chance", now);
		return;
	}
	/* From when it was its oldest, so two in hands count once. */
	if (e == OK && p == m->parts)
		learn(m, p->size, now);
	m->ndone += e == OK;
	if (e)
		member_rest(m, now);
	else
		m->streak = 0;
	struct site_lease *l = p->lease;
	part_settle(s, p, now);
	lease_pass_on(s, l);
	feed(s, now);
}

void site_lied(struct site *s, uint64_t part, const char *why, uint64_t now)
{
	struct part *p = part_find(s, part);

	if (!p)
		return;
	/* Our own device's word is not doubted, but it may break. */
	if (p->by->own) {
		if (!p->ended)
			s->ops.revoke(s->arg, p->id);
		site_end(s, part, ERR_DEVICE, now);
		return;
	}
	member_lied(s, p->by, why, now);
	pass_on_all(s, now);
}

void site_checked(struct site *s, uint64_t part, enum err e,
		  const uint32_t *shares, size_t n, uint64_t now)
{
	struct part *p = part_find(s, part);

	if (!p || p->state != PART_CHECKING)
		return;
	p->check_running = false;
	if (e)
		return; /* site_tick tries again */
	if (!check_good(p, shares, n)) {
		member_lied(s, p->by, "other shares than there are", now);
		pass_on_all(s, now);
		return;
	}
	part_unindex(s, p);
	p->state = PART_DONE;
	lease_pass_on(s, p->lease);
	feed(s, now);
}

/* --- the clock --- */

static uint64_t due(const struct member *m)
{
	return m->since + 3 * m->parts->expected_ms + OVERDUE_MS;
}

uint64_t site_tick(struct site *s, uint64_t now)
{
	struct member *m;
	struct part *p;
	uint64_t next = now + 1000;

	for (m = s->members; m; m = m->hh.next) {
		if (m->parts && now >= due(m)) {
			learn_slow(m, now);
			member_rest(m, now);
			member_empty(s, m, now);
		}
	}
	for (p = s->by_id; p; p = p->hh.next)
		if (p->state == PART_CHECKING && !p->check_running)
			check_begin(s, p);
	pass_on_all(s, now);
	for (m = s->members; m; m = m->hh.next) {
		if (m->parts && due(m) < next)
			next = due(m);
		if (m->here && m->resume_at > now && m->resume_at < next)
			next = m->resume_at;
	}
	return next;
}

size_t site_views(const struct site *s, struct site_view *out, size_t max)
{
	const struct member *m;
	size_t n = 0;

	for (m = s->members; m && n < max; m = m->hh.next)
		out[n++] = (struct site_view){.id = m->id,
					      .own = m->own,
					      .here = m->here,
					      .bad = m->bad,
					      .rate = (uint64_t)m->rate,
					      .parts = m->ndone,
					      .nonces = m->nonces,
					      .held = m->held};
	return n;
}

void site_free(struct site *s)
{
	struct member *m, *next;

	if (!s)
		return;
	while (s->leases)
		lease_free(s, s->leases);
	HASH_ITER (hh, s->members, m, next) {
		HASH_DEL(s->members, m);
		free(m);
	}
	free(s);
}
