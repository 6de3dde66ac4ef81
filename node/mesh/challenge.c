/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Probes: first scanned by ourselves, then asked, then compared as the words
 * come. A lie is only acted upon when the answer is complete, because then it
 * is signed, and the proof is good for others too.
 *
 * The size is what the end of a job gives a worker of that rate, but never
 * more than we scan in OWN_MS; k is that of its usual units, or less where so
 * few shares would prove nothing.
 */
#include "node/mesh/job_impl.h"

#include "node/base/mem.h"
#include "node/mesh/sched.h"

#include <utlist.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OWN_MS 100	  /* of one core, at most */
#define CORE_RATE 1000000 /* while ours is not known; all cores do more */
#define FIRST (1u << 16)  /* nonces, where its rate is not known */
#define NONCES_MIN (1u << 14)
#define SHARES_LEAST 16 /* expected */
#define REST_MS 1000	/* between two probes of one peer */
#define BUSY_REST_MS 5000
#define NO_DEVICE_MS 10000
#define LOOK_AGAIN_MS 50 /* a look sees all peers: not at every event */
#define LOOK_MS 1000	 /* who is due is looked for so often at most */

enum lie { LIE_NONE, LIE_MISSED, LIE_FALSE, LIE_PLACE };

struct challenge {
	struct trust *trust;
	struct search_spec spec;
	struct span span;
	unsigned bits;
	char job[JOB_ID_SIZE];
	uint64_t check;	  /* our own scan; 0: done */
	uint64_t lease;	  /* 0: not asked yet */
	uint32_t *answer; /* all shares of the range */
	size_t n, seen;	  /* of them it told so many */
	uint64_t below;
	uint64_t deadline;
	uint64_t expected_ms;
	enum lie lie;
	bool ours_is_wrong; /* it knows a share that we did not find */
	uint32_t at;	    /* of the lie */
	struct challenge *prev, *next;
};

static void challenge_free(struct jobs *j, struct challenge *c)
{
	DL_DELETE(j->trusts.challenges, c);
	j->trusts.nchallenges--;
	if (c->check)
		j->trusts.nscanned--;
	c->trust->challenge = NULL;
	j->trusts.due = 0; /* for the next one */
	free(c->answer);
	free(c);
}

void challenges_release(struct trusts *t)
{
	struct challenge *c, *next;

	DL_FOREACH_SAFE (t->challenges, c, next) {
		free(c->answer);
		free(c);
	}
	t->challenges = NULL;
}

/* Its worker; NULL: gone. */
static struct worker *worker_of(struct jobs *j, const struct trust *t)
{
	struct worker *w = pool_find(jobs_pool(j, &kind_search), &t->id);

	return w && w->here ? w : NULL;
}

static void rest(struct challenge *c, uint64_t ms, uint64_t now)
{
	c->trust->ask_not_before = now + ms;
}

/* --- making one --- */

/* A header as miners know them, of a block that nobody has. */
static void make_header(struct jobs *j, uint64_t now,
			uint8_t header[static HEADER_SIZE])
{
	const uint64_t unix_s =
	    (j->trusts.wall_ms + (now - j->trusts.wall_at)) / 1000;

	for (size_t at = 0; at < HEADER_SIZE; at += 8) {
		const uint64_t r = j->ops.random(j->arg);

		memcpy(header + at, &r, 8);
	}
	put_le32(header, 0x20000000);
	memset(header + 4 + 24, 0, 8); /* the hash before it was small */
	put_le32(header + 68, (uint32_t)unix_s);
	put_le32(header + 72, 0x1d00ffff);
	put_le32(header + 76, 0);
}

static void make_range(struct jobs *j, struct challenge *c,
		       const struct worker *w)
{
	const double core = j->core_rate ? (double)j->core_rate : CORE_RATE;
	const double most = core * OWN_MS / 1000;
	double n = w->rate * SCHED_FLOOR_MS / 1000;

	if (w->rate <= 0)
		n = FIRST;
	if (n > most)
		n = most;
	if (n < NONCES_MIN)
		n = NONCES_MIN;
	const uint64_t nonces = (uint64_t)n;

	c->span.a = j->ops.random(j->arg) % (NONCES - nonces);
	c->span.b = c->span.a + nonces;
	c->bits = sched_bits(w->rate > 0 ? w->rate : core, SCHED_BITS_MAX);
	while (c->bits && nonces >> c->bits < SHARES_LEAST)
		c->bits--;
	c->expected_ms =
	    w->rate > 0 ? (uint64_t)(n * 1000 / w->rate) + 1 : OWN_MS;
}

static void start(struct jobs *j, struct trust *t, const struct worker *w,
		  uint64_t now)
{
	struct challenge *c = HN_NEW(struct challenge);
	struct scan_work work;

	c->trust = t;
	make_header(j, now, c->spec.header);
	memset(c->spec.target, 0xff, sizeof(c->spec.target));
	make_range(j, c, w);
	c->spec.start = c->span.a;
	c->spec.end = c->span.b;
	c->below = c->span.a;
	c->check = jobs_fresh_id(j);
	c->deadline = now + j->trusts.timeout_ms;
	DL_APPEND(j->trusts.challenges, c);
	j->trusts.nchallenges++;
	j->trusts.nscanned++;
	t->challenge = c;
	t->asked_at = now;
	kind_search.cut(&c->spec, c->span, c->bits, &work);
	if (j->ops.rescan(j->arg, c->check, &work) == OK)
		return;
	j->no_device_until = now + NO_DEVICE_MS;
	challenge_free(j, c);
}

/* --- our own scan --- */

static bool shares_true(const struct jobs *j, const struct challenge *c,
			const uint32_t *shares, size_t n)
{
	uint64_t least = c->span.a;
	uint8_t digest[32];

	for (size_t i = 0; i < n; i++) {
		if (shares[i] < least || shares[i] >= c->span.b ||
		    kind_search.check(&c->spec, &j->judge, shares[i], c->bits,
				      digest) == FINDING_FALSE)
			return false;
		least = (uint64_t)shares[i] + 1;
	}
	return true;
}

static void ask(struct jobs *j, struct challenge *c, uint64_t now)
{
	struct worker *w = worker_of(j, c->trust);

	if (!w || w->bad) {
		challenge_free(j, c);
		return;
	}
	struct lease lease = {.worker = c->trust->id,
			      .kind = &kind_search,
			      .spec = &c->spec,
			      .span = c->span,
			      .bits = c->bits,
			      .expected_ms = c->expected_ms};

	lease.id = c->lease = jobs_fresh_id(j);
	jobs_draw_id(j, c->job);
	memcpy(lease.job, c->job, sizeof(lease.job));
	c->deadline = now + j->trusts.timeout_ms + c->expected_ms;
	if (j->ops.assign(j->arg, &lease) == OK)
		return;
	rest(c, BUSY_REST_MS, now);
	challenge_free(j, c);
}

bool challenge_scanned(struct jobs *j, uint64_t check_id, enum err e,
		       const uint32_t *shares, size_t n, uint64_t now)
{
	struct challenge *c;

	DL_FOREACH (j->trusts.challenges, c)
		if (c->check == check_id)
			break;
	if (!c)
		return false;
	c->check = 0;
	j->trusts.nscanned--;
	j->trusts.due = 0; /* others waited for the device */
	if (e || !shares_true(j, c, shares, n)) {
		rest(c, BUSY_REST_MS, now);
		challenge_free(j, c);
		return true;
	}
	c->answer = xmemdup(shares, n * sizeof(*shares));
	c->n = n;
	ask(j, c, now);
	return true;
}

/* --- its words --- */

static struct challenge *asked(struct jobs *j, uint64_t lease_id)
{
	struct challenge *c;

	DL_FOREACH (j->trusts.challenges, c)
		if (c->lease && c->lease == lease_id)
			return c;
	return NULL;
}

static void found(struct challenge *c, enum lie lie, uint32_t at)
{
	if (c->lie)
		return;
	c->lie = lie;
	c->at = at;
}

/* The next share that it tells. */
static void compare(struct jobs *j, struct challenge *c, uint32_t share)
{
	uint8_t digest[32];

	if (c->seen < c->n && c->answer[c->seen] == share) {
		c->seen++;
		return;
	}
	if (share < c->span.a || share >= c->span.b || share < c->below) {
		found(c, LIE_PLACE, share);
		return;
	}
	if (c->seen < c->n && c->answer[c->seen] < share) {
		found(c, LIE_MISSED, c->answer[c->seen]);
		return;
	}
	if (kind_search.check(&c->spec, &j->judge, share, c->bits, digest) ==
	    FINDING_FALSE)
		found(c, LIE_FALSE, share);
	else if (c->seen && c->answer[c->seen - 1] >= share)
		found(c, LIE_PLACE, share);
	else
		c->ours_is_wrong = true;
}

bool challenge_progress(struct jobs *j, uint64_t lease_id, uint64_t below,
			const uint32_t *shares, size_t n, uint64_t now)
{
	struct challenge *c = asked(j, lease_id);

	(void)now;
	if (!c)
		return false;
	if (below <= c->below)
		return true; /* said before */
	for (size_t i = 0; i < n && !c->lie && !c->ours_is_wrong; i++)
		compare(j, c, shares[i]);
	if (c->seen < c->n && c->answer[c->seen] < below)
		found(c, LIE_MISSED, c->answer[c->seen]);
	if (below > c->span.b)
		found(c, LIE_PLACE, (uint32_t)(below - 1));
	c->below = below;
	return true;
}

static void drop(struct jobs *j, const struct challenge *c, struct worker *w,
		 uint64_t now)
{
	struct job_proof proof = {.lease = c->lease, .nonce = c->at};

	memcpy(proof.job, c->job, sizeof(proof.job));
	switch (c->lie) {
	case LIE_NONE:
		break;
	case LIE_MISSED:
		proof.lie = JOB_LIE_MISSING;
		jobs_drop(j, w, &proof, now,
			  "did not report nonce %" PRIu32 " of a probe", c->at);
		break;
	case LIE_FALSE:
		proof.lie = JOB_LIE_FALSE;
		jobs_drop(j, w, &proof, now,
			  "reported nonce %" PRIu32
			  " of a probe, whose hash has not the asked %u zero "
			  "bits",
			  c->at, c->bits);
		break;
	case LIE_PLACE:
		proof.lie = JOB_LIE_PLACE;
		jobs_drop(j, w, &proof, now,
			  "reported nonce %" PRIu32
			  " of a probe out of its range, out of order or twice",
			  c->at);
		break;
	}
}

/* Ends it; the memory of it is all that is left to judge by. */
static void conclude(struct jobs *j, struct challenge *c, enum err e,
		     uint64_t now)
{
	const struct challenge was = *c;
	struct worker *w = worker_of(j, c->trust);

	rest(c, e == ERR_BUSY ? BUSY_REST_MS : REST_MS, now);
	challenge_free(j, c);
	if (!w || w->bad || was.ours_is_wrong)
		return;
	if (was.lie)
		drop(j, &was, w, now);
	else if (e == OK && was.below >= was.span.b)
		trust_event(j, w, SCORE_PROBE, now);
	else if (e == ERR_CRYPTO)
		jobs_drop(j, w, NULL, now, "signed no answer to a probe");
	else if (e == ERR_BUSY || e == ERR_GONE)
		trust_event(j, w, score_event_of(e), now);
	else
		trust_event(j, w, SCORE_MISSED, now);
	if (j->returned)
		units_feed_all(j, now);
}

bool challenge_end(struct jobs *j, uint64_t lease_id, enum err e, uint64_t now)
{
	struct challenge *c = asked(j, lease_id);

	if (!c)
		return false;
	conclude(j, c, e, now);
	return true;
}

void challenge_forget(struct jobs *j, struct trust *t)
{
	struct challenge *c = t ? t->challenge : NULL;

	if (!c)
		return;
	const uint64_t check = c->check, lease = c->lease;

	challenge_free(j, c);
	if (check)
		j->ops.rescan_cancel(j->arg, check);
	else if (lease)
		j->ops.revoke(j->arg, lease);
}

/* --- whom, and when --- */

static void expire(struct jobs *j, uint64_t now)
{
	struct challenge *c, *next;

	DL_FOREACH_SAFE (j->trusts.challenges, c, next) {
		if (now < c->deadline)
			continue;
		if (c->check) {
			challenge_forget(j, c->trust);
			continue;
		}
		const uint64_t lease = c->lease;

		conclude(j, c, ERR_TIMEOUT, now);
		j->ops.revoke(j->arg, lease);
	}
}

/* When this peer should be probed; UINT64_MAX: not at all now. */
static uint64_t due_at(const struct jobs *j, const struct trust *t,
		       const struct worker *w, uint64_t now)
{
	const uint64_t wall = j->trusts.wall_ms + (now - j->trusts.wall_at);
	uint64_t at;

	if (t->challenge)
		return UINT64_MAX;
	if (!score_may_work(&t->score)) {
		if (!score_wants_probe(&t->score, &j->trusts.rules, wall,
				       &at) &&
		    at == UINT64_MAX)
			return UINT64_MAX;
		at = at > wall ? now + (at - wall) : now;
	} else {
		if (!j->trusts.interval_ms || w->held)
			return UINT64_MAX;
		at = t->asked_at + j->trusts.interval_ms;
	}
	return at > t->ask_not_before ? at : t->ask_not_before;
}

static uint64_t look(struct jobs *j, uint64_t now)
{
	uint64_t next = now + 60 * LOOK_MS;
	struct worker *w, *after;

	HASH_ITER (hh, jobs_pool(j, &kind_search)->by_id, w, after) {
		if (!w->here || w->bad || !w->trust)
			continue;
		const uint64_t at = due_at(j, w->trust, w, now);

		if (at > now) {
			next = at < next ? at : next;
			continue;
		}
		/* The others when this one is scanned, or has ended. */
		if (j->trusts.nscanned >= CHALLENGES_SCANNED ||
		    j->trusts.nchallenges >= CHALLENGES_MAX)
			return now + LOOK_MS;
		start(j, w->trust, w, now);
	}
	return next;
}

uint64_t challenges_tick(struct jobs *j, uint64_t now)
{
	uint64_t next;
	const struct challenge *c;

	expire(j, now);
	if (now < j->no_device_until)
		j->trusts.due = j->no_device_until;
	else if (j->trusts.due < j->trusts.looked_at + LOOK_AGAIN_MS)
		j->trusts.due = j->trusts.looked_at + LOOK_AGAIN_MS;
	if (now >= j->trusts.due) {
		j->trusts.looked_at = now;
		j->trusts.due = look(j, now);
	}
	next = j->trusts.due;
	DL_FOREACH (j->trusts.challenges, c)
		if (c->deadline < next)
			next = c->deadline;
	return next;
}
