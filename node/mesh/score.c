/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/score.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define PRIOR 2.0 /* of each mass: what a stranger begins with */
#define BLANK 0.05
#define TRUST 8.0 /* good mass that makes a stranger a trusted one ... */
#define FADED 1.0 /* ... and below which that is forgotten */
#define COUNT_MAX 1e12

/* A quarantine that is so long ago no longer doubles the next one. */
#define LEVEL_MS (60u * 60 * 1000)
#define LEVEL_MAX 16

#define DAY_MS (UINT64_C(24) * 3600 * 1000)

const struct score_rules score_rules_default = {
    .half_life_ms = 7 * DAY_MS,
    .failures = 3,
    .clean = 3,
    .delay_ms = 30 * 1000,
    .delay_max_ms = 3600 * 1000,
};

enum role { GOOD_END, GOOD, EXCUSED, FAILURE, DOUBT, PROOF };

static const struct {
	const char *name;
	enum role role;
	double weight;
	const char *one, *many; /* "1 unit done", "2 units done" */
	const char *deed;	/* "it ..." */
} events[SCORE_EVENTS] = {
    [SCORE_UNIT] = {"unit", GOOD_END, 1, "unit done", "units done",
		    "did a unit"},
    /* A unit has up to a hundred of them. */
    [SCORE_PIECE] = {"piece", GOOD, 0.02, "piece right", "pieces right",
		     "did a piece rightly"},
    [SCORE_PROBE] = {"probe", GOOD_END, 1, "probe right", "probes right",
		     "answered a probe"},
    [SCORE_BUSY] = {"busy", EXCUSED, 0.1, "unit given back", "units given back",
		    "gave a unit back"},
    [SCORE_GONE] = {"gone", FAILURE, 1, "time gone", "times gone",
		    "left in the middle of a unit"},
    [SCORE_SILENT] = {"silent", FAILURE, 2, "time silent", "times silent",
		      "said nothing of its unit"},
    [SCORE_FAILED] = {"failed", FAILURE, 2, "unit failed", "units failed",
		      "failed a unit"},
    [SCORE_MISSED] = {"missed", FAILURE, 2, "probe missed", "probes missed",
		      "did not answer a probe"},
    [SCORE_SUSPECT] = {"suspect", DOUBT, 50, "time suspect", "times suspect",
		       "reported what chance does not make"},
    [SCORE_PROOF] = {"proof", PROOF, 100, "proven lie", "proven lies",
		     "was proven to cheat"},
};

const char *score_event_str(enum score_event e)
{
	return e < SCORE_EVENTS ? events[e].name : "unknown";
}

enum score_event score_event_of(enum err e)
{
	if (e == OK)
		return SCORE_UNIT;
	if (e == ERR_BUSY || e == ERR_CANCELED)
		return SCORE_BUSY;
	return e == ERR_GONE ? SCORE_GONE : SCORE_FAILED;
}

const char *score_state_str(enum score_state s)
{
	switch (s) {
	case SCORE_NEW:
		return "new";
	case SCORE_TRUSTED:
		return "trusted";
	case SCORE_QUARANTINED:
		return "quarantined";
	case SCORE_PROBATION:
		return "probation";
	case SCORE_BARRED:
		return "barred";
	}
	return "unknown";
}

void score_fade(struct score *s, const struct score_rules *r, uint64_t now_ms)
{
	if (s->at && now_ms > s->at && r->half_life_ms) {
		const double left =
		    exp2(-(double)(now_ms - s->at) / (double)r->half_life_ms);

		s->good *= left;
		s->bad *= left;
		for (size_t i = 0; i < SCORE_EVENTS; i++)
			s->count[i] *= left;
	}
	if (s->state == SCORE_TRUSTED && s->good < FADED)
		s->state = SCORE_NEW;
	/* Also back: else a clock that once was years ahead would stop all
	 * fading until then. */
	s->at = now_ms;
}

static void weigh(struct score *s, enum score_event e)
{
	const bool good = events[e].role == GOOD || events[e].role == GOOD_END;

	*(good ? &s->good : &s->bad) += events[e].weight;
	const double mass = s->good + s->bad;
	if (mass > SCORE_MASS) {
		s->good *= SCORE_MASS / mass;
		s->bad *= SCORE_MASS / mass;
	}
	if (s->count[e] < COUNT_MAX)
		s->count[e] += 1;
}

static uint64_t delay_of(const struct score *s, const struct score_rules *r)
{
	const unsigned doublings = s->level ? s->level - 1 : 0;

	if (doublings < LEVEL_MAX && r->delay_ms < r->delay_max_ms >> doublings)
		return r->delay_ms << doublings;
	return r->delay_max_ms;
}

/* Good standing wears old quarantines off, one an hour. */
static void wear(struct score *s, uint64_t now_ms)
{
	if (!score_may_work(s) || !s->level || now_ms < s->until)
		return;
	const uint64_t worn = (now_ms - s->until) / LEVEL_MS;

	s->level = worn < s->level ? s->level - (unsigned)worn : 0;
}

static void quarantine(struct score *s, const struct score_rules *r,
		       enum score_event why, uint64_t now_ms)
{
	wear(s, now_ms);
	if (events[why].role == DOUBT)
		s->level = LEVEL_MAX;
	else if (s->level < LEVEL_MAX)
		s->level++;
	s->state = SCORE_QUARANTINED;
	s->why = why;
	s->togo = r->clean;
	s->until = now_ms + delay_of(s, r);
}

static bool failed(struct score *s, const struct score_rules *r,
		   enum score_event e, uint64_t now_ms)
{
	const bool same = s->row && now_ms >= s->failed_at &&
			  now_ms - s->failed_at < SCORE_SAME_MS;

	s->failed_at = now_ms;
	if (same)
		return false;
	s->row++;
	switch (s->state) {
	case SCORE_NEW:
	case SCORE_TRUSTED:
		if (s->row < r->failures)
			return false;
		break;
	case SCORE_QUARANTINED:
		/* What was in its hands before is no news; a probe is only
		 * sent when the delay is over. */
		if (e != SCORE_MISSED && now_ms < s->until)
			return false;
		break;
	case SCORE_PROBATION:
		break;
	case SCORE_BARRED:
		return false;
	}
	quarantine(s, r, e, now_ms);
	return true;
}

static bool succeeded(struct score *s, enum score_event e, uint64_t now_ms)
{
	switch (s->state) {
	case SCORE_NEW:
		if (s->good < TRUST)
			return false;
		s->state = SCORE_TRUSTED;
		break;
	case SCORE_QUARANTINED:
	case SCORE_PROBATION:
		/* An old unit that ends well is welcome and proves little. */
		if (e != SCORE_PROBE)
			return false;
		if (s->togo)
			s->togo--;
		s->state = s->togo ? SCORE_PROBATION : SCORE_TRUSTED;
		s->until = now_ms;
		break;
	case SCORE_TRUSTED:
	case SCORE_BARRED:
		return false;
	}
	if (score_may_work(s))
		s->row = 0;
	return true;
}

bool score_event(struct score *s, const struct score_rules *r,
		 enum score_event e, uint64_t now_ms)
{
	score_fade(s, r, now_ms);
	weigh(s, e);
	switch (events[e].role) {
	case GOOD_END:
		if (score_may_work(s))
			s->row = 0;
		return succeeded(s, e, now_ms);
	case GOOD:
	case EXCUSED:
		return false;
	case FAILURE:
		return failed(s, r, e, now_ms);
	case DOUBT:
		if (s->state == SCORE_BARRED)
			return false;
		quarantine(s, r, e, now_ms);
		return true;
	case PROOF:
		s->state = SCORE_BARRED;
		s->why = e;
		return true;
	}
	return false;
}

double score_value(const struct score *s)
{
	if (s->state == SCORE_BARRED)
		return 0;
	return (PRIOR + s->good) / (2 * PRIOR + s->good + s->bad);
}

uint64_t score_permille(const struct score *s)
{
	return (uint64_t)(score_value(s) * 1000 + 0.5);
}

bool score_may_work(const struct score *s)
{
	return s->state == SCORE_NEW || s->state == SCORE_TRUSTED;
}

/* A clock that was put back must not make the wait longer than it was. */
static uint64_t ends_at(const struct score *s, const struct score_rules *r,
			uint64_t now_ms)
{
	const uint64_t most = now_ms + r->delay_max_ms;

	return s->until < most ? s->until : most;
}

bool score_wants_probe(const struct score *s, const struct score_rules *r,
		       uint64_t now_ms, uint64_t *due)
{
	*due = UINT64_MAX;
	switch (s->state) {
	case SCORE_NEW:
	case SCORE_TRUSTED:
	case SCORE_BARRED:
		return false;
	case SCORE_PROBATION:
		*due = now_ms;
		return true;
	case SCORE_QUARANTINED:
		*due = ends_at(s, r, now_ms);
		return *due <= now_ms;
	}
	return false;
}

uint64_t score_until(const struct score *s, const struct score_rules *r,
		     uint64_t now_ms)
{
	return s->state == SCORE_QUARANTINED ? ends_at(s, r, now_ms) : 0;
}

bool score_is_blank(const struct score *s)
{
	double most = s->good > s->bad ? s->good : s->bad;

	for (size_t i = 0; i < SCORE_EVENTS; i++)
		if (s->count[i] > most)
			most = s->count[i];
	return score_may_work(s) && most < BLANK;
}

void score_pardon(struct score *s, const struct score_rules *r, uint64_t now_ms)
{
	if (score_may_work(s))
		return;
	score_fade(s, r, now_ms);
	s->state = SCORE_PROBATION;
	s->togo = r->clean;
	s->row = 0;
	s->until = now_ms;
}

/* For people */

void score_reasons(const struct score *s, struct buf *out)
{
	const size_t before = out->n;

	for (size_t i = 0; i < SCORE_EVENTS; i++) {
		const uint64_t n = (uint64_t)(s->count[i] + 0.5);

		if (n)
			buf_printf(out, "%s%" PRIu64 " %s",
				   out->n > before ? ", " : "", n,
				   n == 1 ? events[i].one : events[i].many);
	}
	if (out->n == before)
		buf_add_str(out, "nothing yet");
}

static void say_wait(uint64_t ms, struct buf *out)
{
	if (!ms)
		buf_add_str(out, "tried again now");
	else if (ms < 120000)
		buf_printf(out, "tried again in %" PRIu64 " s",
			   (ms + 999) / 1000);
	else
		buf_printf(out, "tried again in %" PRIu64 " min", ms / 60000);
}

void score_why(const struct score *s, const struct score_rules *r,
	       uint64_t now_ms, struct buf *out)
{
	const char *deed = events[s->why].deed;
	uint64_t ends;

	switch (s->state) {
	case SCORE_NEW:
	case SCORE_TRUSTED:
		break;
	case SCORE_QUARANTINED:
		ends = ends_at(s, r, now_ms);
		buf_printf(out, "quarantined: it %s", deed);
		if (s->row > 1)
			buf_printf(out, ", failure %u in a row", s->row);
		buf_add_str(out, "; ");
		say_wait(ends > now_ms ? ends - now_ms : 0, out);
		break;
	case SCORE_PROBATION:
		buf_printf(out,
			   "on probation since it %s: %u clean probe%s to go",
			   deed, s->togo, s->togo == 1 ? "" : "s");
		break;
	case SCORE_BARRED:
		buf_printf(out, "barred: it %s", deed);
		break;
	}
}

/* The disk's form */

struct saved {
	struct score s;
	uint64_t state, why, row, level, togo;
};

#define COUNT(event) \
	FIELD_F64(struct saved, s.count[SCORE_##event], "how often, faded")
static const struct field saved_fields[] = {
    FIELD_U64(struct saved, s.at, 0, "faded up to here"),
    FIELD_F64(struct saved, s.good, "mass"),
    FIELD_F64(struct saved, s.bad, "mass"),
    FIELD_U64(struct saved, state, SCORE_BARRED, "enum score_state"),
    FIELD_U64(struct saved, why, SCORE_EVENTS - 1, "enum score_event"),
    FIELD_U64(struct saved, row, UINT32_MAX, "failures in a row"),
    FIELD_U64(struct saved, level, LEVEL_MAX, "quarantines"),
    FIELD_U64(struct saved, togo, UINT32_MAX, "clean probes to go"),
    FIELD_U64(struct saved, s.failed_at, 0, "the last failure"),
    FIELD_U64(struct saved, s.until, 0, "end of a quarantine"),
    COUNT(UNIT),
    COUNT(PIECE),
    COUNT(PROBE),
    COUNT(BUSY),
    COUNT(GONE),
    COUNT(SILENT),
    COUNT(FAILED),
    COUNT(MISSED),
    COUNT(SUSPECT),
    COUNT(PROOF),
};
#undef COUNT
static const struct message saved_message =
    MESSAGE("score", struct saved, saved_fields);

void score_pack(const struct score *s, struct buf *out)
{
	const struct saved v = {.s = *s,
				.state = s->state,
				.why = s->why,
				.row = s->row,
				.level = s->level,
				.togo = s->togo};

	fields_pack(&saved_message, &v, out);
}

static bool sane(const struct score *s)
{
	if (!(s->good >= 0) || !(s->bad >= 0) ||
	    s->good + s->bad > SCORE_MASS * 1.001)
		return false;
	for (size_t i = 0; i < SCORE_EVENTS; i++)
		if (!(s->count[i] >= 0) || s->count[i] > COUNT_MAX + 1)
			return false;
	return true;
}

enum err score_unpack(const void *p, size_t n, struct score *out)
{
	struct arena a = {0};
	struct saved v;

	enum err e = fields_unpack(&saved_message, p, n, &a, &v);
	arena_release(&a);
	if (e)
		return e;
	if (!sane(&v.s))
		return ERR_PROTO;
	*out = v.s;
	out->state = (enum score_state)v.state;
	out->why = (enum score_event)v.why;
	out->row = (unsigned)v.row;
	out->level = (unsigned)v.level;
	out->togo = (unsigned)v.togo;
	return OK;
}
