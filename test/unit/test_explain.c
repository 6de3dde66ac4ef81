/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Scripted situations: each one breaks one thing, or several of which one
 * stands before the others, and that one is the reason that is said.
 */
#include "node/mesh/explain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct job_terms terms;
static struct explain_facts f;

/* A stranger's node that suits. */
static void suits(void)
{
	terms = (struct job_terms){0};
	f = (struct explain_facts){
	    .cap = "hash/sha256d",
	    .contact = EXPLAIN_SESSION,
	    .has_address = true,
	    .learned = true,
	    .offers = true,
	    .terms = &terms,
	    .c = {.rate = 20e6,
		  .measured = true,
		  .score = 0.5,
		  .region = "attic",
		  .price = 3,
		  .here = true,
		  .slots = 2},
	    .open = true,
	    .pending = true,
	};
}

static void dial_failed(const char *why)
{
	f.contact = EXPLAIN_RETRY;
	f.contact_why = why;
	f.retry_ms = 4200;
	f.learned = f.offers = f.c.here = false;
}

#define SITUATION(name, body) \
	static void s_##name(void) \
	{ \
		body; \
	}
SITUATION(wrong_mesh_key,
	  dial_failed("the peer closed the handshake without a word: another "
		      "mesh, another node, or overloaded"))
SITUATION(port_closed, dial_failed("192.0.2.1:7450: connection refused"))
SITUATION(no_answer, dial_failed("192.0.2.1:7450: no connection in time"))
SITUATION(version_too_old,
	  dial_failed("the peer speaks version 0 of the protocol, this is 1"))
SITUATION(version_too_new,
	  dial_failed("the peer speaks version 9 of the protocol, this is 1"))
SITUATION(copied_key, dial_failed("another live process uses this node key"))
SITUATION(too_many_sessions,
	  dial_failed("the peer takes no more connections now"))
SITUATION(certificate_expired,
	  dial_failed("the certificate expired on 2026-01-01"))
SITUATION(session_lost, (f.contact = EXPLAIN_LOST, f.c.here = false,
			 f.contact_why = "no sign of life from the peer"))
SITUATION(stopped, (f.contact = EXPLAIN_LEFT, f.c.here = false))
SITUATION(being_dialled, (f.contact = EXPLAIN_DIALLING, f.c.here = false))
SITUATION(outbound_only,
	  (f.contact = EXPLAIN_KNOWN, f.has_address = false, f.c.here = false))
SITUATION(not_dialled, (f.contact = EXPLAIN_KNOWN, f.c.here = false))
SITUATION(clock_off_by_an_hour,
	  (f.contact = EXPLAIN_KNOWN, f.has_address = f.learned = false,
	   f.c.here = false,
	   f.refused = "its announcement is 60 minutes ahead of our clock"))
SITUATION(certificate_of_another_mesh,
	  (f.contact = EXPLAIN_KNOWN, f.c.here = false,
	   f.refused = "its certificate is not valid in this mesh"))
SITUATION(left_out_by_a_rekey,
	  (f.excluded = true, dial_failed("the peer closed the handshake")))
SITUATION(proven_cheat, (f.barred = "proven to cheat: did not report nonce 7",
			 f.c.barred = true, f.c.here = false))
SITUATION(role_use, (f.use_only = true, f.offers = f.c.here = false))
SITUATION(no_offer, (f.offers = f.c.here = false))
SITUATION(other_offer,
	  (f.offers = f.c.here = false, f.instead = "infer/hash-hello"))
SITUATION(session_just_opened, f.learned = f.offers = f.c.here = false)
SITUATION(in_use_by_its_owner, f.paused = "this machine is in use (38 % by "
					  "others); again when it was idle "
					  "for 60 s")
SITUATION(outside_its_hours, f.paused = "outside its hours 23:00-07:00; "
					"again at 23:00")
SITUATION(on_battery, f.paused = "it runs on battery")
SITUATION(too_hot, f.paused = "91 C, over its limit of 80 C")
SITUATION(quarantined, (f.c.quarantined = true,
			f.quarantine = "quarantined after 3 failures in a row, "
				       "the last: said nothing of a unit; "
				       "tried again in 28 s"))
SITUATION(suspect, (f.dropped = "reported 3 shares where 120 were to be "
				"expected"))
SITUATION(no_chips, terms.hardware = true)
SITUATION(other_region, terms.region = "cellar")
SITUATION(not_trusted, terms.trust = 800)
SITUATION(too_dear, terms.max_price = 2)
SITUATION(too_slow, terms.min_rate = 50000000)
SITUATION(failed_just_now, f.c.rest_ms = 1500)
SITUATION(hands_full, f.c.held = 2)
SITUATION(ourselves_without_an_offer,
	  (f.self = true, f.offers = false, f.c.here = false))
SITUATION(ourselves_in_role_use,
	  (f.self = true, f.use_only = true, f.offers = f.c.here = false))
SITUATION(at_work, (f.held = 2, f.c.held = 2))
SITUATION(its_turn_is_next, (void)0)
SITUATION(only_others_may, (f.others = true, f.units = 3))
SITUATION(did_its_part, (f.open = f.pending = false, f.units = 12))
SITUATION(came_too_late, (f.open = f.pending = false))

static const struct {
	const char *name;
	void (*make)(void);
	const char *code, *words;
	bool chosen;
} situations[] = {
#define S(name, code, words) \
	{ \
#name, s_##name, code, words, false \
	}
#define CHOSEN(name, code, words) \
	{ \
#name, s_##name, code, words, true \
	}
    S(wrong_mesh_key, "unreachable", "another mesh"),
    S(port_closed, "unreachable", "connection refused; dialled again in 5 s"),
    S(no_answer, "unreachable", "no connection in time"),
    S(version_too_old, "unreachable", "speaks version 0"),
    S(version_too_new, "unreachable", "speaks version 9"),
    S(copied_key, "unreachable", "another live process"),
    S(too_many_sessions, "unreachable", "no more connections"),
    S(certificate_expired, "unreachable", "expired"),
    S(session_lost, "lost", "no sign of life"),
    S(stopped, "left", "said goodbye"),
    S(being_dialled, "dialling", "being dialled"),
    S(outbound_only, "no-address", "--no-listen"),
    S(not_dialled, "not-dialled", "no session yet"),
    S(clock_off_by_an_hour, "announcement", "60 minutes ahead"),
    S(certificate_of_another_mesh, "announcement", "certificate"),
    S(left_out_by_a_rekey, "left-out", "left out"),
    S(proven_cheat, "barred", "did not report nonce 7"),
    S(role_use, "role-use", "works for nobody"),
    S(no_offer, "no-offer", "offers nothing"),
    S(other_offer, "no-offer", "but infer/hash-hello"),
    S(session_just_opened, "not-known-yet", "being asked"),
    S(in_use_by_its_owner, "paused", "38 % by others"),
    S(outside_its_hours, "paused", "again at 23:00"),
    S(on_battery, "paused", "battery"),
    S(too_hot, "paused", "91 C"),
    S(quarantined, "quarantined", "tried again in 28 s"),
    S(suspect, "dropped", "3 shares where 120"),
    S(no_chips, "no-hardware", ""),
    S(other_region, "region", "cellar"),
    S(not_trusted, "untrusted", "0.50"),
    S(too_dear, "too-dear", "3"),
    S(too_slow, "too-slow", "50"),
    S(failed_just_now, "resting", ""),
    S(hands_full, "full", ""),
    S(ourselves_without_an_offer, "self-no-offer", "hnode offer"),
    S(ourselves_in_role_use, "self-role-use", "--role both"),
    CHOSEN(at_work, "working", "2 units"),
    CHOSEN(its_turn_is_next, "next", "next unit"),
    CHOSEN(only_others_may, "other-needed", "another peer"),
    CHOSEN(did_its_part, "did", "12 units"),
    S(came_too_late, "not-needed", "others had done"),
};

static void test_each_situation_gives_its_reason(void **state)
{
	(void)state;
	for (size_t i = 0; i < HN_COUNT(situations); i++) {
		struct buf text = {0};

		suits();
		situations[i].make();
		const struct explain_word w = explain(&f, &text);
		if (strcmp(w.code, situations[i].code) ||
		    !strstr(buf_str(&text), situations[i].words) ||
		    w.chosen != situations[i].chosen || !text.n)
			fail_msg("%s: %s: %s", situations[i].name, w.code,
				 buf_str(&text));
		buf_release(&text);
	}
}

/* One thing after the other is mended; the next one is said. */
static void test_the_first_of_many_is_said(void **state)
{
	static const char *const order[] = {
	    "left-out", "role-use", "paused",  "dropped", "quarantined",
	    "region",	"too-dear", "resting", "working",
	};
	struct buf text = {0};

	(void)state;
	suits();
	f.excluded = f.use_only = true;
	f.paused = f.dropped = f.quarantine = "so it is";
	f.c.quarantined = true;
	f.c.rest_ms = 10;
	f.clock_ms = -3600000;
	terms.region = "cellar";
	terms.max_price = 1;
	for (size_t i = 0; i < HN_COUNT(order); i++) {
		buf_clear(&text);
		assert_string_equal(explain(&f, &text).code, order[i]);
		assert_non_null(strstr(buf_str(&text), "60 minutes behind"));
		switch (i) {
		case 0:
			f.excluded = false;
			break;
		case 1:
			f.use_only = false;
			break;
		case 2:
			f.paused = NULL;
			break;
		case 3:
			f.dropped = NULL;
			break;
		case 4:
			f.quarantine = NULL;
			f.c.quarantined = false;
			break;
		case 5:
			terms.region = NULL;
			break;
		case 6:
			terms.max_price = 0;
			break;
		case 7:
			f.held = 1;
			break;
		}
	}
	buf_release(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_each_situation_gives_its_reason),
	    cmocka_unit_test(test_the_first_of_many_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
