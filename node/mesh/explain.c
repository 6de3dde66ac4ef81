/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/explain.h"

#include "node/base/err.h"
#include "node/mesh/skew.h"

#include <inttypes.h>
#include <stdlib.h>

typedef const struct explain_facts facts;

static bool self_use_only(facts *f)
{
	return f->self && f->use_only;
}

static void say_self_use_only(facts *f, struct buf *b)
{
	(void)f;
	buf_add_str(b, "this node has role use: start it with --role both");
}

static bool self_no_offer(facts *f)
{
	return f->self && !f->offers;
}

static void say_self_no_offer(facts *f, struct buf *b)
{
	buf_printf(b, "this node does not offer %s: `hnode offer %s`", f->cap,
		   f->cap);
}

static bool is_excluded(facts *f)
{
	return f->excluded;
}

static void say_excluded(facts *f, struct buf *b)
{
	(void)f;
	buf_add_str(b, "left out of the mesh by its owner");
}

static bool is_barred(facts *f)
{
	return f->barred;
}

static void say_barred(facts *f, struct buf *b)
{
	buf_printf(b, "%s", f->barred);
}

static bool is_refused(facts *f)
{
	return f->refused && f->contact != EXPLAIN_SESSION;
}

static void say_refused(facts *f, struct buf *b)
{
	buf_printf(b, "%s", f->refused);
}

static bool has_left(facts *f)
{
	return f->contact == EXPLAIN_LEFT;
}

static void say_left(facts *f, struct buf *b)
{
	(void)f;
	buf_add_str(b, "it was stopped, and said goodbye");
}

static void say_contact(facts *f, const char *what, struct buf *b)
{
	buf_printf(b, "%s%s%s", what, f->contact_why ? ": " : "",
		   f->contact_why ? f->contact_why : "");
	if (f->retry_ms)
		buf_printf(b, "; dialled again in %" PRIu64 " s",
			   (f->retry_ms + 999) / 1000);
}

static bool is_unreachable(facts *f)
{
	return f->contact == EXPLAIN_RETRY;
}

static void say_unreachable(facts *f, struct buf *b)
{
	say_contact(f, "no session", b);
}

static bool is_lost(facts *f)
{
	return f->contact == EXPLAIN_LOST;
}

static void say_lost(facts *f, struct buf *b)
{
	say_contact(f, "its session ended", b);
}

static bool is_dialling(facts *f)
{
	return f->contact == EXPLAIN_DIALLING;
}

static void say_dialling(facts *f, struct buf *b)
{
	(void)f;
	buf_add_str(b, "it is being dialled");
}

static bool has_no_address(facts *f)
{
	return f->contact == EXPLAIN_KNOWN && !f->has_address;
}

static void say_no_address(facts *f, struct buf *b)
{
	(void)f;
	buf_add_str(b, "it announces no address and has not dialled us: it "
		       "runs with --no-listen, or only its name is known");
}

static bool is_use_only(facts *f)
{
	return f->use_only;
}

static void say_use_only(facts *f, struct buf *b)
{
	(void)f;
	buf_add_str(b, "it has role use: it works for nobody");
}

static bool lacks_offer(facts *f)
{
	return f->learned && !f->offers;
}

static void say_no_offer(facts *f, struct buf *b)
{
	if (f->instead)
		buf_printf(b, "it does not offer %s, but %s", f->cap,
			   f->instead);
	else
		buf_printf(b,
			   "it offers nothing (there: `hnode offer %s` or "
			   "--offer)",
			   f->cap);
}

static bool not_dialled(facts *f)
{
	return f->contact == EXPLAIN_KNOWN;
}

static void say_not_dialled(facts *f, struct buf *b)
{
	(void)f;
	buf_add_str(b, "no session yet; one is dialled while work is open");
}

static bool not_learned(facts *f)
{
	return !f->learned && !f->self;
}

static void say_not_learned(facts *f, struct buf *b)
{
	(void)f;
	buf_add_str(b, "its session is new: what it offers is being asked");
}

static bool is_paused(facts *f)
{
	return f->paused;
}

static void say_paused(facts *f, struct buf *b)
{
	buf_printf(b, "its owner's limits: %s", f->paused);
}

static bool was_dropped(facts *f)
{
	return f->dropped;
}

static void say_dropped(facts *f, struct buf *b)
{
	buf_printf(b, "dropped from this job: it %s", f->dropped);
}

static bool is_quarantined(facts *f)
{
	return f->quarantine;
}

static void say_quarantined(facts *f, struct buf *b)
{
	buf_printf(b, "%s", f->quarantine);
}

/* In order: the first that holds is what is said. */
static const struct reason {
	const char *code;
	bool (*holds)(facts *f);
	void (*say)(facts *f, struct buf *b);
} reasons[] = {
    {"self-role-use", self_use_only, say_self_use_only},
    {"self-no-offer", self_no_offer, say_self_no_offer},
    {"left-out", is_excluded, say_excluded},
    {"barred", is_barred, say_barred},
    {"announcement", is_refused, say_refused},
    {"left", has_left, say_left},
    {"unreachable", is_unreachable, say_unreachable},
    {"lost", is_lost, say_lost},
    {"role-use", is_use_only, say_use_only},
    {"no-offer", lacks_offer, say_no_offer},
    {"dialling", is_dialling, say_dialling},
    {"no-address", has_no_address, say_no_address},
    {"not-dialled", not_dialled, say_not_dialled},
    {"not-known-yet", not_learned, say_not_learned},
    {"paused", is_paused, say_paused},
    {"dropped", was_dropped, say_dropped},
    {"quarantined", is_quarantined, say_quarantined},
};

static struct explain_word placed(facts *f, struct buf *b)
{
	const struct sched_refusal now = sched_refuses_now(f->terms, &f->c);

	if (f->held) {
		buf_printf(b, "works on %u unit%s of it", f->held,
			   f->held == 1 ? "" : "s");
		return (struct explain_word){"working", true};
	}
	if (!f->open || !f->pending) {
		if (f->units)
			buf_printf(b, "did %" PRIu64 " unit%s of it", f->units,
				   f->units == 1 ? "" : "s");
		else
			buf_add_str(b, "suits, but others had done it all "
				       "before its turn came");
		return (struct explain_word){f->units ? "did" : "not-needed",
					     f->units > 0};
	}
	if (f->others) {
		buf_add_str(b, "did it already: another peer has to do it "
			       "again");
		return (struct explain_word){"other-needed", f->units > 0};
	}
	if (now.reason != SCHED_SUITS) {
		sched_refusal_say(&now, b);
		return (struct explain_word){sched_reason_str(now.reason),
					     f->units > 0};
	}
	buf_add_str(b, "suits, and gets the next unit");
	return (struct explain_word){"next", true};
}

static struct explain_word word_of(facts *f, struct buf *b)
{
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		if (!reasons[i].holds(f))
			continue;
		reasons[i].say(f, b);
		return (struct explain_word){reasons[i].code, f->units > 0};
	}
	const struct sched_refusal r = sched_refuses(f->terms, &f->c);

	if (r.reason == SCHED_SUITS)
		return placed(f, b);
	sched_refusal_say(&r, b);
	return (struct explain_word){sched_reason_str(r.reason), f->units > 0};
}

struct explain_word explain(const struct explain_facts *f, struct buf *text)
{
	const struct explain_word w = word_of(f, text);

	if (skew_bad(f->clock_ms))
		buf_printf(text, " (its clock is %lld minutes %s ours)",
			   llabs((long long)f->clock_ms) / 60000,
			   f->clock_ms > 0 ? "ahead of" : "behind");
	return w;
}
