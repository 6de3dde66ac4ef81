/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/offers.h"
#include "node/mesh/mesh_impl.h"

#include "asic/asic.h"
#include "node/base/log.h"
#include "node/mesh/cheat.h"
#include "node/mesh/lender.h"
#include "node/mesh/lending.h"
#include "node/mesh/peers.h"
#include "node/mesh/service_site.h"
#include "node/mesh/topics.h"

#include <stdlib.h>
#include <string.h>

#define MEASURE_MS 500
#define WATCH_MS 1000

/* What the software device can do, and whether a scan measures it. */
static const struct ability {
	const char *cap;
	bool scans; /* asic_measure and asic_rate are about this one */
} abilities[] = {
    {"hash/sha256d", true},
};

struct offer {
	const struct ability *what;
	uint64_t rate; /* of the device: what our own jobs get */
	uint64_t lent; /* of it, what others get */
	bool up;       /* measured and published */
};

struct offer_wait {
	struct offer_wait *next;
	struct offers *o;
	const struct ability *what; /* NULL: an answer is on its way */
	offers_done_fn done;
	void *arg;
	enum err e;
	char *text;
};

struct offers {
	struct mesh *m;
	struct offer items[HN_COUNT(abilities)];
	size_t n;
	struct offer_wait *waits;
	bool measuring, stopping;
	struct loop_timer *watch;
	uint64_t told_free;
};

static const struct ability *ability_find(const char *cap)
{
	for (size_t i = 0; i < HN_COUNT(abilities); i++)
		if (!strcmp(abilities[i].cap, cap))
			return &abilities[i];
	return NULL;
}

static struct offer *offer_find(const struct offers *o, const char *cap)
{
	for (size_t i = 0; i < o->n; i++)
		if (!strcmp(o->items[i].what->cap, cap))
			return (struct offer *)(uintptr_t)&o->items[i];
	return NULL;
}

/* "102 MH/s"; "not measured" for 0. */
static void rate_str(uint64_t r, struct buf *out)
{
	static const char *const units[] = {"H/s",  "kH/s", "MH/s",
					    "GH/s", "TH/s", "PH/s"};
	double v = (double)r;
	size_t u = 0;

	if (!r) {
		buf_add_str(out, "not measured");
		return;
	}
	while (v >= 999.5 && u + 1 < HN_COUNT(units)) {
		v /= 1000;
		u++;
	}
	buf_printf(out, v < 99.95 && u ? "%.1f %s" : "%.0f %s", v, units[u]);
}

/* --- telling --- */

static unsigned slots_of(const struct offers *o)
{
	const unsigned most = lending_lend(o->m->lending)->max_units;

	return most && most < OFFER_SLOTS ? most : OFFER_SLOTS;
}

static uint64_t free_share(const struct offers *o)
{
	const uint64_t busy = lending_units(o->m->lending);
	struct site_sum behind;

	service_site_sum(o->m, &behind);
	const uint64_t slots = slots_of(o) + behind.slots;

	if (!lending_word(o->m->lending)->allowed)
		return 0;
	return busy >= slots ? 0 : 100 - busy * 100 / slots;
}

static void tell_own(struct offers *o, const struct offer *f)
{
	struct mesh *m = o->m;
	const struct cap_info c = {.name = (char *)(uintptr_t)f->what->cap,
				   .rate = f->rate,
				   .free = 100,
				   .devices = 1,
				   .slots = OFFER_SLOTS};

	if (m->service_job && strcmp(m->o.role, "use") != 0)
		service_job_worker(m, &c, identity_id(m->me), 0);
}

/* By more than a twentieth. */
static bool differs(uint64_t now, uint64_t told)
{
	const uint64_t off = now > told ? now - told : told - now;

	return off * 20 >= told && off;
}

/* What others get here, of our device and of what is behind us. */
static uint64_t lent_rate(const struct offers *o)
{
	struct site_sum behind;

	service_site_sum(o->m, &behind);
	return asic_lent_rate(o->m->asic) + behind.rate;
}

/* The device's own figure at work replaces the first measurement. True when
 * records are to say so, too: a tenth. */
static bool follow_rate(struct offers *o, struct offer *f, bool *told)
{
	const uint64_t rate = asic_rate(o->m->asic);
	const uint64_t lent = lent_rate(o);
	bool record = false;

	if (!f->up || !f->what->scans || !rate)
		return false;
	if (differs(rate, f->rate)) {
		f->rate = rate;
		tell_own(o, f);
		service_site_own(o->m, asic_lent_rate(o->m->asic));
	}
	if (differs(lent, f->lent)) {
		const uint64_t was = f->lent;
		record = (lent > was ? lent - was : was - lent) * 10 >= was;
		f->lent = lent;
		*told = true;
	}
	return record;
}

static void on_watch(void *arg)
{
	struct offers *o = arg;
	bool record = false, told = false;

	if (o->stopping)
		return;
	for (size_t i = 0; i < o->n; i++)
		record |= follow_rate(o, &o->items[i], &told);
	uint64_t share = free_share(o);
	if (share != o->told_free) {
		o->told_free = share;
		told = true;
	}
	if (record)
		topics_refresh(o->m->topics);
	if (told)
		peers_tell(o->m->peers);
}

void offers_changed(struct offers *o)
{
	bool told = false;

	if (o->stopping || !o->n)
		return;
	for (size_t i = 0; i < o->n; i++)
		follow_rate(o, &o->items[i], &told);
	o->told_free = free_share(o);
	topics_refresh(o->m->topics);
	peers_tell(o->m->peers);
}

struct offers *offers_new(struct mesh *m)
{
	struct offers *o = HN_NEW(struct offers);

	o->m = m;
	o->told_free = 100;
	o->watch = loop_timer_new(m->loop, on_watch, o);
	return o;
}

void offers_stop(struct offers *o)
{
	o->stopping = true;
	loop_timer_cancel(o->watch);
}

void offers_free(struct offers *o)
{
	if (!o)
		return;
	loop_timer_free(o->watch);
	free(o);
}

/* --- adding --- */

static void on_answer(void *arg)
{
	struct offer_wait *w = arg;

	w->done(w->arg, w->e, w->text);
	free(w->text);
	free(w);
}

static void answer(struct offer_wait *w, enum err e, const char *text)
{
	w->e = e;
	w->text = text ? xstrdup(text) : NULL;
	loop_post(w->o->m->loop, on_answer, w);
}

static void offer_up(struct offers *o, const struct ability *what,
		     uint64_t rate)
{
	struct offer *f = offer_find(o, what->cap);
	struct buf text = {0};

	if (!f || f->up)
		return;
	f->up = true;
	lending_run(o->m->lending, true);
	f->rate = what->scans ? rate : 0;
	f->lent = what->scans ? lent_rate(o) : 0;
	service_site_own(o->m, asic_lent_rate(o->m->asic));
	rate_str(f->lent, &text);
	log_info("caps", "offering %s, %s", what->cap, buf_str(&text));
	buf_release(&text);
	topics_offer(o->m->topics, what->cap, true);
	tell_own(o, f);
	if (!loop_timer_armed(o->watch))
		loop_timer_every(o->watch, WATCH_MS);
}

static void log_measured(struct offers *o, uint64_t rate)
{
	struct asic_device_info dev;
	struct buf text = {0};

	if (!asic_devices(o->m->asic, &dev, 1))
		return;
	rate_str(rate, &text);
	if (o->m->o.threads > dev.threads)
		log_warn("hash",
			 "--threads %u: more than one a core gains nothing, "
			 "using %u",
			 o->m->o.threads, dev.threads);
	log_info("hash", "%u thread%s, kernel %s, %s sha256d measured",
		 dev.threads, dev.threads == 1 ? "" : "s",
		 dev.kernel ? dev.kernel : "-", buf_str(&text));
	buf_release(&text);
}

static void on_measured(void *arg, uint64_t rate)
{
	struct offers *o = arg;
	struct offer_wait *waits = o->waits;

	o->measuring = false;
	o->waits = NULL;
	if (!o->stopping && rate)
		log_measured(o, rate);
	while (waits) {
		struct offer_wait *w = waits;
		waits = w->next;
		if (o->stopping) {
			answer(w, ERR_CANCELED, "this node is stopping");
			continue;
		}
		offer_up(o, w->what, rate);
		answer(w, OK, NULL);
	}
}

void offers_add(struct offers *o, const char *cap, offers_done_fn done,
		void *arg)
{
	const struct ability *what = cap ? ability_find(cap) : NULL;
	struct offer_wait *w = HN_NEW(struct offer_wait);

	*w =
	    (struct offer_wait){.o = o, .what = what, .done = done, .arg = arg};
	if (o->stopping) {
		answer(w, ERR_CANCELED, "this node is stopping");
		return;
	}
	if (!what) {
		struct buf why = {0};
		buf_printf(&why,
			   "nothing on this node can do %s; it can offer "
			   "hash/sha256d",
			   log_quote(cap));
		answer(w, ERR_INPUT, buf_str(&why));
		buf_release(&why);
		return;
	}
	if (!strcmp(o->m->o.role, "use")) {
		answer(w, ERR_CONFIG,
		       "a node of role `use` offers nothing; "
		       "start it with --role both or serve");
		return;
	}
	struct offer *f = offer_find(o, cap);
	if (f && f->up) {
		answer(w, OK, NULL);
		return;
	}
	if (!f)
		o->items[o->n++] = (struct offer){.what = what};
	w->next = o->waits;
	o->waits = w;
	if (!o->measuring) {
		o->measuring = true;
		asic_measure(o->m->asic, MEASURE_MS, on_measured, o);
	}
}

enum err offers_remove(struct offers *o, const char *cap, struct buf *why)
{
	struct offer *f = cap ? offer_find(o, cap) : NULL;

	if (!f || !f->up) {
		buf_printf(why, "this node does not offer %s", log_quote(cap));
		return ERR_NOTFOUND;
	}
	const char *name = f->what->cap;
	*f = o->items[--o->n];
	log_info("caps", "offering %s no more", name);
	if (!o->n)
		loop_timer_cancel(o->watch);
	topics_offer(o->m->topics, name, false);
	if (!o->n)
		lending_run(o->m->lending, false);
	if (o->m->service_hash && !o->n) {
		service_hash_withdraw(o->m);
		service_digest_withdraw(o->m);
	}
	if (o->m->service_job)
		service_job_worker_gone(o->m, name, identity_id(o->m->me));
	return OK;
}

/* --- views --- */

bool offers_have(const struct offers *o, const char *cap)
{
	const struct offer *f = offer_find(o, cap);

	return f && f->up;
}

static char *text_of(struct arena *a, const char *s)
{
	return *s ? arena_strndup(a, s, strlen(s)) : NULL;
}

void offers_list(const struct offers *o, struct arena *a, struct list *out)
{
	struct cap_info *rows = arena_alloc(a, (o->n + 1) * sizeof(*rows));
	struct site_sum behind;
	size_t n = 0;

	*out = (struct list){rows, 0};
	if (!o->n)
		return;
	const struct lender_word *w = lending_word(o->m->lending);
	const struct lend *lend = lending_lend(o->m->lending);

	service_site_sum(o->m, &behind);
	for (size_t i = 0; i < o->n; i++) {
		const struct offer *f = &o->items[i];
		if (!f->up)
			continue;
		rows[n++] = (struct cap_info){
		    .name = text_of(a, f->what->cap),
		    .rate = cheat_rate(f->lent),
		    .free = free_share(o),
		    .devices = 1 + behind.devices,
		    .slots = slots_of(o) + behind.slots,
		    .price = lend->price,
		    .region = text_of(a, lend->region),
		    .paused = w->allowed ? NULL : text_of(a, w->why)};
	}
	*out = (struct list){rows, n};
}
