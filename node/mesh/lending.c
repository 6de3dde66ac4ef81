/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/lending.h"
#include "node/mesh/mesh_impl.h"

#include "asic/asic.h"
#include "node/base/host.h"
#include "node/base/log.h"
#include "node/mesh/lender.h"
#include "node/mesh/offers.h"

#include <utlist.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOOK_MS 1000

struct lending {
	struct mesh *m;
	struct lender lender;
	struct host *host;
	struct host_facts facts; /* of the last look that has ended */
	struct host_facts look;	 /* of the one under way, on its thread */
	uint64_t look_ms, look_unix_ms;
	struct loop_timer *timer;
	struct loan *loans;
	bool on, looked, looking, stopping, freed;
	unsigned threads, share; /* as the device was told */
};

struct lending *lending_new(struct mesh *m)
{
	struct lending *l = HN_NEW(struct lending);

	l->m = m;
	l->host = host_new(m->o.sensors);
	lender_init(&l->lender, m->o.lend.share ? &m->o.lend : &lend_default,
		    loop_ms(m->loop));
	return l;
}

static void really_free(struct lending *l)
{
	host_free(l->host);
	free(l);
}

void lending_stop(struct lending *l)
{
	l->stopping = true;
	l->on = false;
	loop_timer_free(l->timer);
	l->timer = NULL;
}

void lending_free(struct lending *l)
{
	if (!l)
		return;
	l->freed = true;
	if (!l->looking)
		really_free(l);
}

const struct lend *lending_lend(const struct lending *l)
{
	return &l->lender.lend;
}

const struct lender_word *lending_word(const struct lending *l)
{
	return &l->lender.word;
}

/* --- what the lender says, to everybody --- */

static void recall_all(struct lending *l)
{
	struct loan *x, *tmp;

	DL_FOREACH_SAFE (l->loans, x, tmp) {
		x->recall(x->arg);
	}
}

static void log_word(const struct lender_word *w, bool was_allowed)
{
	if (!w->allowed)
		log_info("caps", "paused: %s", w->why);
	else if (w->cause)
		log_info("caps", "%s%s",
			 was_allowed ? "" : "lending again: ", w->why);
	else if (!was_allowed)
		log_info("caps", "lending again");
	else
		log_info("caps", "share for others: %u.%u %%", w->share / 10,
			 w->share % 10);
}

static void tell_device(struct lending *l)
{
	const unsigned threads = l->lender.lend.threads;
	const unsigned share = l->lender.word.share;

	/* While it pauses nothing is lent; what was told may stay. */
	if (!share || (threads == l->threads && share == l->share))
		return;
	l->threads = threads;
	l->share = share;
	asic_lend(l->m->asic, threads, share);
}

static unsigned day_second(void)
{
	const time_t now = (time_t)(clock_unix_ms() / 1000);
	struct tm tm;

	if (!localtime_r(&now, &tm))
		return 0;
	return (unsigned)(tm.tm_hour * 3600 + tm.tm_min * 60 + tm.tm_sec) %
	       86400;
}

static void judge(struct lending *l)
{
	const bool was = l->lender.word.allowed;

	const bool changed = lender_judge(&l->lender, &l->facts, day_second(),
					  loop_ms(l->m->loop));
	tell_device(l);
	if (!l->on || !changed)
		return;
	log_word(&l->lender.word, was);
	offers_changed(l->m->offers);
	if (was && !l->lender.word.allowed)
		recall_all(l);
}

/* --- looking --- */

static void look(void *arg)
{
	struct lending *l = arg;

	host_read(l->host, l->look_ms, l->look_unix_ms, &l->look);
}

static void on_looked(void *arg)
{
	struct lending *l = arg;

	l->looking = false;
	if (l->freed) {
		really_free(l);
		return;
	}
	l->looked = true;
	l->facts = l->look;
	if (l->on)
		judge(l);
}

static void on_time(void *arg)
{
	struct lending *l = arg;

	if (l->looking)
		return; /* a slow sensor: its answer comes */
	l->looking = true;
	l->look_ms = loop_ms(l->m->loop);
	l->look_unix_ms = clock_unix_ms();
	loop_work(l->m->loop, look, on_looked, l);
}

/* Looks while it is worth it, and judges by what is known until then. */
static void watch(struct lending *l)
{
	const bool needed = l->on && lender_watches(&l->lender.lend);

	if (l->stopping)
		return;
	if (!l->timer)
		l->timer = loop_timer_new(l->m->loop, on_time, l);
	if (!needed) {
		loop_timer_cancel(l->timer);
	} else if (!loop_timer_armed(l->timer)) {
		loop_timer_every(l->timer, LOOK_MS);
		on_time(l);
	}
	/* What no look has said yet is on its way, not missing: until then
	 * only the hours and the time of looking hold back. */
	if (!l->looked)
		l->facts = (struct host_facts){.use = HOST_SOON,
					       .input = HOST_SOON,
					       .on_battery = HOST_NO,
					       .heat_known = true};
	judge(l);
}

void lending_run(struct lending *l, bool on)
{
	if (on == l->on || l->stopping)
		return;
	l->on = on;
	/* Who offers anew is judged anew. */
	if (on) {
		const struct lend lend = l->lender.lend;
		lender_init(&l->lender, &lend, loop_ms(l->m->loop));
		l->looked = false;
	}
	watch(l);
}

enum err lending_limits(struct lending *l, const struct strs *pairs,
			struct buf *why)
{
	struct lend next = l->lender.lend;
	struct buf all = {0};

	for (size_t i = 0; i < pairs->n; i++) {
		enum err e = lend_set_pair(&next, pairs->items[i], why);
		if (e)
			return e;
	}
	if (!pairs->n)
		return OK;
	lender_limits(&l->lender, &next, loop_ms(l->m->loop));
	lend_summary(&next, &all);
	log_info("caps", "limits for others: %s",
		 all.n ? buf_str(&all) : "none");
	buf_release(&all);
	watch(l);
	if (l->on)
		offers_changed(l->m->offers);
	return OK;
}

/* --- loans --- */

unsigned lending_units(const struct lending *l)
{
	const struct loan *x;
	unsigned n = 0;

	DL_FOREACH (l->loans, x) {
		n++;
	}
	return n;
}

static bool same_job(const struct loan *x, const struct node_id *by,
		     const char *job)
{
	return node_id_eq(&x->by, by) && !strcmp(x->job, job);
}

/* Jobs that something is lent to, without this one. */
static unsigned other_jobs(const struct lending *l, const struct node_id *by,
			   const char *job)
{
	const struct loan *x, *before;
	unsigned n = 0;

	DL_FOREACH (l->loans, x) {
		if (by && same_job(x, by, job))
			continue;
		for (before = l->loans; before != x; before = before->next)
			if (same_job(before, &x->by, x->job))
				break;
		n += before == x;
	}
	return n;
}

enum err lending_take(struct lending *l, struct rpc_stream *st, const char *job,
		      struct loan *x, void (*recall)(void *arg), void *arg,
		      struct buf *why)
{
	const struct session *s = rpc_stream_session(st);
	const struct lend *lend = &l->lender.lend;

	*x = (struct loan){.recall = recall, .arg = arg};
	if (session_kind(s) == SESSION_CONTROL)
		return OK;
	if (!l->lender.word.allowed) {
		buf_printf(why, "paused: %s", l->lender.word.why);
		return ERR_BUSY;
	}
	x->by = *session_peer(s);
	snprintf(x->job, sizeof(x->job), "%s", job);
	if (lend->max_units && lending_units(l) >= lend->max_units) {
		buf_printf(why,
			   "%u units of others at once, no more, are "
			   "lent here",
			   lend->max_units);
		return ERR_BUSY;
	}
	if (lend->max_jobs && other_jobs(l, &x->by, x->job) >= lend->max_jobs) {
		buf_printf(why,
			   "%u jobs of others at once, no more, are lent "
			   "to here",
			   lend->max_jobs);
		return ERR_BUSY;
	}
	x->of = l;
	DL_APPEND(l->loans, x);
	return OK;
}

void lending_end(struct loan *x)
{
	if (!x->of)
		return;
	DL_DELETE(x->of->loans, x);
	x->of = NULL;
}

/* --- views --- */

static char *text_of(struct arena *a, const char *s)
{
	return s && *s ? arena_strndup(a, s, strlen(s)) : NULL;
}

/* Limits that hold nothing back, because no sensor says what they need. */
static char *blind_spots(const struct lending *l, struct arena *a)
{
	const struct lend *lend = &l->lender.lend;
	const struct host_facts *f = &l->facts;
	struct buf b = {0};

	if (!l->looked || lend->need_sensors)
		return NULL;
	if (lend->when_idle && f->use == HOST_MISSING)
		buf_printf(&b, "when idle");
	if (!lend->on_battery && f->on_battery == HOST_UNKNOWN)
		buf_printf(&b, "%son-battery", b.n ? ", " : "");
	if (lend->max_temp && !f->heat_known)
		buf_printf(&b, "%smax-temp", b.n ? ", " : "");
	char *text = text_of(a, buf_str(&b));
	buf_release(&b);
	return text;
}

static const char *battery_word(const struct host_facts *f)
{
	switch (f->on_battery) {
	case HOST_UNKNOWN:
		break;
	case HOST_NO:
		return "no";
	case HOST_YES:
		return "yes";
	}
	return "unknown";
}

static struct opt_u64 known(bool is, uint64_t v)
{
	return (struct opt_u64){is, is ? v : 0};
}

void lending_fill(const struct lending *l, struct arena *a,
		  struct lending_info *out)
{
	const struct lender_word *w = &l->lender.word;
	const struct host_facts *f = &l->facts;
	const bool seen = l->looked && l->on;
	struct strs *s = &out->limits;
	struct buf b = {0};

	*out = (struct lending_info){
	    .active = l->on,
	    .allowed = w->allowed,
	    .share = w->share,
	    .why = text_of(a, w->why),
	    .change_ms = w->change_ms,
	    .units = lending_units(l),
	    .jobs = other_jobs(l, NULL, NULL),
	    .others = known(seen && f->use == HOST_KNOWN, f->others),
	    .input_ms = known(seen && f->input == HOST_KNOWN, f->input_ms),
	    .on_battery = text_of(a, seen ? battery_word(f) : "unknown"),
	    .charge = known(seen && f->charge_known, f->charge),
	    .heat = known(seen && f->heat_known && f->heat >= 0,
			  (uint64_t)(f->heat < 0 ? 0 : f->heat)),
	    .heat_of = seen && f->heat_known ? text_of(a, f->heat_of) : NULL,
	    .blind = blind_spots(l, a),
	};
	s->items = arena_alloc(a, LEND_COUNT * sizeof(char *));
	for (size_t i = 0; i < LEND_COUNT; i++) {
		buf_clear(&b);
		lend_text(&l->lender.lend, (enum lend_limit)i, &b);
		s->items[s->n++] = arena_printf(
		    a, "%s=%s", lend_name((enum lend_limit)i), buf_str(&b));
	}
	lend_summary(&l->lender.lend, (buf_clear(&b), &b));
	out->summary = text_of(a, buf_str(&b));
	buf_release(&b);
}
