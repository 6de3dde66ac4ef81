/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/lender.h"

#include "node/base/host.h"
#include "node/base/mem.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What is left of the share after so many steps, permille. */
static const unsigned heat_steps[] = {1000, 500, 250, 0};
#define HEAT_LAST (HN_COUNT(heat_steps) - 1)
#define DAY_S (LEND_DAY_MIN * 60u)

void lender_init(struct lender *l, const struct lend *limits, uint64_t now_ms)
{
	memset(l, 0, sizeof(*l));
	l->busy_ms = now_ms;
	l->word.share = 1000;
	l->word.allowed = true;
	lender_limits(l, limits, now_ms);
}

void lender_limits(struct lender *l, const struct lend *limits, uint64_t now_ms)
{
	/* Nobody looked before: it has to be seen idle from now on. */
	if (limits->when_idle && !l->lend.when_idle) {
		l->busy_ms = now_ms;
		l->seen = false;
	}
	if (!limits->max_temp)
		l->heat = 0;
	l->lend = *limits;
	/* The same cause may read otherwise now. */
	l->word.why[0] = '\0';
}

bool lender_watches(const struct lend *limits)
{
	return limits->when_idle || limits->nhours || !limits->on_battery ||
	       limits->max_temp;
}

static void say(struct lender_word *w, enum lender_cause cause,
		uint64_t change_ms, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static void say(struct lender_word *w, enum lender_cause cause,
		uint64_t change_ms, const char *fmt, ...)
{
	va_list ap;

	w->cause = cause;
	w->allowed = false;
	w->share = 0;
	w->change_ms = change_ms;
	va_start(ap, fmt);
	vsnprintf(w->why, sizeof(w->why), fmt, ap);
	va_end(ap);
}

/* --- hours --- */

static bool in_hours(const struct lend_hours *h, unsigned second)
{
	const unsigned from = h->from * 60u, to = h->to * 60u;

	return from < to ? second >= from && second < to
			 : second >= from || second < to;
}

static bool within(const struct lend *l, unsigned second)
{
	for (size_t i = 0; i < l->nhours; i++)
		if (in_hours(&l->hours[i], second))
			return true;
	return !l->nhours;
}

/* Seconds until the clock next shows this minute of the day. */
static unsigned until(unsigned second, unsigned minute)
{
	return (minute * 60u + DAY_S - second - 1) % DAY_S + 1;
}

/* Until the next border of the hours that changes whether we are within, and
 * the minute it is at. 0: none does. */
static unsigned hours_change(const struct lend *l, unsigned second,
			     unsigned *minute)
{
	const bool now = within(l, second);
	unsigned best = 0;

	for (size_t i = 0; i < 2 * l->nhours; i++) {
		const struct lend_hours *h = &l->hours[i / 2];
		unsigned at = (i % 2 ? h->to : h->from) % LEND_DAY_MIN;
		unsigned left = until(second, at);
		if (within(l, at * 60) != now && (!best || left < best)) {
			best = left;
			*minute = at;
		}
	}
	return best;
}

static bool judge_hours(const struct lender *l, unsigned second,
			struct lender_word *w)
{
	struct buf hours = {0};
	unsigned minute = 0;

	if (within(&l->lend, second)) {
		w->change_ms =
		    UINT64_C(1000) * hours_change(&l->lend, second, &minute);
		return true;
	}
	unsigned left = hours_change(&l->lend, second, &minute);
	lend_text(&l->lend, LEND_hours, &hours);
	say(w, LENDER_HOURS, UINT64_C(1000) * left,
	    "outside its hours %.60s; again at %02u:%02u", buf_str(&hours),
	    minute / 60, minute % 60);
	buf_release(&hours);
	return false;
}

/* --- sensors --- */

static bool judge_missing(const struct lender *l, const struct host_facts *f,
			  struct lender_word *w)
{
	const char *what = NULL;

	if (!l->lend.need_sensors)
		return true;
	if (l->lend.when_idle && f->use == HOST_MISSING)
		what = "whether it is in use";
	else if (!l->lend.on_battery && f->on_battery == HOST_UNKNOWN)
		what = "whether it runs on battery";
	else if (l->lend.max_temp && !f->heat_known)
		what = "how hot it is";
	if (what)
		say(w, LENDER_SENSOR, 0,
		    "no sensor tells %s, and need-sensors is set", what);
	return !what;
}

static bool judge_battery(const struct lender *l, const struct host_facts *f,
			  struct lender_word *w)
{
	if (l->lend.on_battery || f->on_battery != HOST_YES)
		return true;
	if (f->charge_known)
		say(w, LENDER_BATTERY, 0,
		    "this machine runs on battery (%u %%); again on mains",
		    f->charge);
	else
		say(w, LENDER_BATTERY, 0,
		    "this machine runs on battery; again on mains");
	return false;
}

/* --- heat --- */

static void take_heat(struct lender *l, int heat, uint64_t now)
{
	const int limit = (int)l->lend.max_temp * 1000;

	if (heat >= limit + LENDER_FAR_OVER * 1000) {
		l->heat = HEAT_LAST;
		l->heat_ms = now;
	} else if (heat >= limit && l->heat < HEAT_LAST &&
		   (!l->heat || now - l->heat_ms >= LENDER_HEAT_MS)) {
		l->heat++;
		l->heat_ms = now;
	}
	if (heat > limit - LENDER_COOLER * 1000) {
		l->cool_ms = now;
	} else if (l->heat && now - l->cool_ms >= LENDER_COOL_MS) {
		l->heat--;
		l->cool_ms = now;
	}
}

static bool judge_heat(struct lender *l, const struct host_facts *f,
		       uint64_t now, struct lender_word *w)
{
	if (!l->lend.max_temp)
		return true;
	/* A sensor that went away: what it said last counts no more. */
	if (f->heat_known)
		take_heat(l, f->heat, now);
	else
		l->heat = 0;
	if (!l->heat)
		return true;
	const unsigned left = heat_steps[l->heat];
	const int at = (f->heat + 500) / 1000;
	say(w, LENDER_HEAT, 0, "too hot (%d C, at most %u C); again below %u C",
	    at, l->lend.max_temp, l->lend.max_temp - LENDER_COOLER);
	if (!left)
		return false;
	w->allowed = true;
	w->share = l->lend.share * left / 100;
	if (!w->share)
		w->share = 1;
	snprintf(w->why, sizeof(w->why),
		 "hot (%d C, at most %u C), so its share is %u.%u %%", at,
		 l->lend.max_temp, w->share / 10, w->share % 10);
	return true;
}

/* --- use by others --- */

static void say_used(const struct lender *l, const struct host_facts *f,
		     uint64_t now, struct lender_word *w)
{
	const double idle_s = (double)l->lend.idle_ms / 1000;
	const uint64_t left = l->busy_ms + l->lend.idle_ms - now;

	if (f->use == HOST_KNOWN && f->others >= LENDER_BUSY)
		say(w, LENDER_USE, left,
		    "this machine is in use (%u %% by others); again when it "
		    "was idle for %g s",
		    (f->others + 5) / 10, idle_s);
	else if (f->input == HOST_KNOWN && f->input_ms < l->lend.idle_ms)
		say(w, LENDER_USE, left,
		    "this machine is in use (input %" PRIu64
		    " s ago); again when it was idle for %g s",
		    f->input_ms / 1000, idle_s);
	else
		say(w, l->word.cause == LENDER_USE ? LENDER_USE : LENDER_UNSEEN,
		    left, "this machine was not seen idle for %g s yet",
		    idle_s);
}

static bool judge_use(struct lender *l, const struct host_facts *f,
		      uint64_t now, struct lender_word *w)
{
	const bool typed =
	    f->input == HOST_KNOWN && f->input_ms < l->lend.idle_ms;

	if (!l->lend.when_idle)
		return true;
	if (f->use == HOST_KNOWN && f->others >= LENDER_BUSY)
		l->busy_ms = now;
	if (typed && now - f->input_ms > l->busy_ms)
		l->busy_ms = now - f->input_ms;
	l->seen = l->seen || f->use == HOST_KNOWN || f->input == HOST_KNOWN;
	/* Nothing here can ever tell: then this limit cannot hold back. */
	if (!l->seen && f->use == HOST_MISSING && f->input == HOST_MISSING)
		return true;
	if (now - l->busy_ms >= l->lend.idle_ms)
		return true;
	say_used(l, f, now, w);
	return false;
}

/* --- the whole --- */

bool lender_judge(struct lender *l, const struct host_facts *f, unsigned second,
		  uint64_t now_ms)
{
	struct lender_word w = {.allowed = true, .share = l->lend.share * 10};

	/* Memory of use and heat is kept whatever else holds back, so that
	 * hours that begin do not begin on a hot machine. */
	struct lender_word heat = w, use = w;
	const bool cool = judge_heat(l, f, now_ms, &heat);
	const bool idle = judge_use(l, f, now_ms, &use);
	if (judge_hours(l, second, &w) && judge_missing(l, f, &w) &&
	    judge_battery(l, f, &w)) {
		uint64_t change = w.change_ms;
		if (!cool || !idle)
			w = !cool ? heat : use;
		else if (l->heat)
			w = heat;
		if (!w.change_ms || (change && change < w.change_ms))
			w.change_ms = change;
	}
	const bool same = w.cause == l->word.cause && w.share == l->word.share;
	if (same && l->word.why[0])
		memcpy(w.why, l->word.why, sizeof(w.why));
	const bool told = !same || strcmp(w.why, l->word.why) != 0;
	l->word = w;
	return told;
}
