/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/lender.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/host.h"

#define HOUR 3600u
#define S 1000u

/* A machine where nothing holds work back. */
static const struct host_facts calm = {.use = HOST_KNOWN,
				       .input = HOST_KNOWN,
				       .input_ms = 1000 * HOUR * S,
				       .on_battery = HOST_NO,
				       .heat_known = true,
				       .heat = 40000};

static struct lend limits(const char *pairs)
{
	struct lend l = lend_default;
	struct buf why = {0};
	char *copy = xstrdup(pairs), *at = copy, *one;

	while ((one = strsep(&at, " ")))
		if (*one && lend_set_pair(&l, one, &why))
			fail_msg("%s: %s", one, buf_str(&why));
	free(copy);
	buf_release(&why);
	return l;
}

static struct lender lender(const char *pairs)
{
	struct lend lend = limits(pairs);
	struct lender l;

	lender_init(&l, &lend, 0);
	return l;
}

static void test_hours_hold_over_midnight(void **state)
{
	static const struct {
		const char *hours;
		unsigned second;
		bool allowed;
		unsigned change_s;
		const char *again;
	} rows[] = {
	    {"23-07", 22 * HOUR, false, HOUR, "again at 23:00"},
	    {"23-07", 23 * HOUR - 1, false, 1, "again at 23:00"},
	    {"23-07", 23 * HOUR, true, 8 * HOUR, ""},
	    {"23-07", 0, true, 7 * HOUR, ""},
	    {"23-07", 7 * HOUR - 1, true, 1, ""},
	    {"23-07", 7 * HOUR, false, 16 * HOUR, "again at 23:00"},
	    {"23-07,12-13", 8 * HOUR, false, 4 * HOUR, "again at 12:00"},
	    {"23-07,12-13", 12 * HOUR, true, HOUR, ""},
	    {"23-07,12-13", 13 * HOUR, false, 10 * HOUR, "again at 23:00"},
	    {"22:30-06:15", 22 * HOUR, false, 1800, "again at 22:30"},
	    {"22:30-06:15", 6 * HOUR, true, 900, ""},
	    {"09-17,17-18", 16 * HOUR, true, 2 * HOUR, ""},
	    {"0-24", 5 * HOUR, true, 0, ""},
	    {"18-24", 17 * HOUR, false, HOUR, "again at 18:00"},
	    {"18-24", 23 * HOUR, true, HOUR, ""},
	    {"all", 5 * HOUR, true, 0, ""},
	};

	(void)state;
	for (size_t i = 0; i < HN_COUNT(rows); i++) {
		char pair[40];
		snprintf(pair, sizeof(pair), "hours=%s", rows[i].hours);
		struct lender l = lender(pair);
		lender_judge(&l, &calm, rows[i].second, 0);
		print_message("%s at %u: %s\n", rows[i].hours, rows[i].second,
			      l.word.why);
		assert_int_equal(l.word.allowed, rows[i].allowed);
		assert_int_equal(l.word.change_ms / 1000, rows[i].change_s);
		assert_non_null(strstr(l.word.why, rows[i].again));
		assert_int_equal(l.word.share, rows[i].allowed ? 1000 : 0);
	}
}

/* One row is one second's look at the machine, in order. */
struct step {
	unsigned at_s;
	struct host_facts f;
	enum lender_cause cause;
	unsigned share;
	bool told;
	const char *why;
};

static void play(const char *pairs, const struct step *steps, size_t n)
{
	struct lender l = lender(pairs);

	for (size_t i = 0; i < n; i++) {
		const struct step *s = &steps[i];
		bool told = lender_judge(&l, &s->f, 12 * HOUR, s->at_s * 1000u);
		print_message("%u s: cause %d share %u: %s\n", s->at_s,
			      l.word.cause, l.word.share, l.word.why);
		assert_int_equal(l.word.cause, s->cause);
		assert_int_equal(l.word.share, s->share);
		assert_int_equal(l.word.allowed, s->share > 0);
		assert_int_equal(told, s->told);
		if (s->why)
			assert_non_null(strstr(l.word.why, s->why));
	}
}

static struct host_facts used(unsigned others)
{
	struct host_facts f = calm;

	f.others = others;
	return f;
}

static struct host_facts typed(uint64_t ago_s)
{
	struct host_facts f = calm;

	f.input_ms = ago_s * S;
	return f;
}

static void test_idle_is_seen_before_it_is_believed(void **state)
{
	const struct step steps[] = {
	    {0, calm, LENDER_UNSEEN, 0, true, "not seen idle for 60 s yet"},
	    {59, calm, LENDER_UNSEEN, 0, false, NULL},
	    {60, calm, LENDER_FREE, 500, true, ""},
	    {70, used(99), LENDER_FREE, 500, false, NULL},
	    {71, used(380), LENDER_USE, 0, true,
	     "in use (38 % by others); again when it was idle for 60 s"},
	    /* what it says does not flicker with the figure */
	    {72, used(700), LENDER_USE, 0, false, "38 %"},
	    {73, calm, LENDER_USE, 0, false, NULL},
	    {131, calm, LENDER_USE, 0, false, NULL},
	    {132, calm, LENDER_FREE, 500, true, ""},
	    {140, typed(2), LENDER_USE, 0, true, "input 2 s ago"},
	    {197, typed(59), LENDER_USE, 0, false, NULL},
	    {198, typed(60), LENDER_FREE, 500, true, ""},
	};

	(void)state;
	play("when=idle share=50%", steps, HN_COUNT(steps));
}

static struct host_facts hot(int degrees)
{
	struct host_facts f = calm;

	f.heat = degrees * 1000;
	return f;
}

static void test_heat_goes_in_steps(void **state)
{
	const struct step steps[] = {
	    {0, hot(79), LENDER_FREE, 800, true, ""},
	    {1, hot(80), LENDER_HEAT, 400, true, "its share is 40.0 %"},
	    {5, hot(84), LENDER_HEAT, 400, false, NULL},
	    {11, hot(82), LENDER_HEAT, 200, true, "its share is 20.0 %"},
	    {21, hot(81), LENDER_HEAT, 0, true, "again below 75 C"},
	    {40, hot(76), LENDER_HEAT, 0, false, NULL},
	    /* 30 s at 75 or below for each step back */
	    {41, hot(75), LENDER_HEAT, 0, false, NULL},
	    {69, hot(74), LENDER_HEAT, 0, false, NULL},
	    {70, hot(74), LENDER_HEAT, 200, true, "20.0 %"},
	    {80, hot(77), LENDER_HEAT, 200, false, NULL},
	    {110, hot(70), LENDER_HEAT, 400, true, "40.0 %"},
	    {140, hot(70), LENDER_FREE, 800, true, ""},
	    /* far over: at once */
	    {150, hot(90), LENDER_HEAT, 0, true, "too hot (90 C"},
	};

	(void)state;
	play("max-temp=80C share=80%", steps, HN_COUNT(steps));
}

static void test_battery(void **state)
{
	struct host_facts on = calm;

	on.on_battery = HOST_YES;
	on.charge_known = true;
	on.charge = 54;
	const struct step steps[] = {
	    {0, calm, LENDER_FREE, 1000, false, ""},
	    {1, on, LENDER_BATTERY, 0, true, "on battery (54 %)"},
	    {2, calm, LENDER_FREE, 1000, true, ""},
	};
	(void)state;
	play("on-battery=never", steps, HN_COUNT(steps));
	struct lender l = lender("");
	assert_false(lender_judge(&l, &on, 0, 0));
	assert_true(l.word.allowed);
}

/* What is not known holds nothing back, unless that is asked for. */
static void test_missing_sensors(void **state)
{
	const struct host_facts blind = {0};
	static const char *const pairs[] = {"when=idle", "on-battery=never",
					    "max-temp=60C"};

	(void)state;
	for (size_t i = 0; i < HN_COUNT(pairs); i++) {
		struct lender l = lender(pairs[i]);
		assert_false(lender_judge(&l, &blind, 0, 0));
		assert_true(l.word.allowed);
		char strict[64];
		snprintf(strict, sizeof(strict), "%s need-sensors=yes",
			 pairs[i]);
		l = lender(strict);
		assert_true(lender_judge(&l, &blind, 0, 0));
		assert_int_equal(l.word.cause, LENDER_SENSOR);
		assert_non_null(strstr(l.word.why, "no sensor tells"));
		if (i) {
			lender_judge(&l, &calm, 0, 1000);
			assert_true(l.word.allowed);
		}
	}
	/* The first look at a counter says nothing yet. */
	struct lender l = lender("when=idle");
	lender_judge(&l, &(struct host_facts){.use = HOST_SOON}, 0, 0);
	assert_int_equal(l.word.cause, LENDER_UNSEEN);
}

static void test_new_limits_count_at_once(void **state)
{
	struct lender l = lender("hours=1-2");
	struct lend other = limits("hours=3-4"), idle = limits("when=idle");

	(void)state;
	lender_judge(&l, &calm, 0, 0);
	assert_non_null(strstr(l.word.why, "01:00"));
	lender_limits(&l, &other, 0);
	assert_true(lender_judge(&l, &calm, 0, 0));
	assert_non_null(strstr(l.word.why, "03:00"));
	lender_limits(&l, &idle, 1000000);
	assert_true(lender_judge(&l, &calm, 0, 1000000));
	assert_int_equal(l.word.cause, LENDER_UNSEEN);
	assert_int_equal(l.word.change_ms, 60000);
	assert_false(lender_watches(&lend_default));
	assert_true(lender_watches(&idle));
}

static void test_limits_as_text(void **state)
{
	static const char *const good[] = {
	    "threads=2",	"threads=all",
	    "share=1%",		"share=100%",
	    "when=idle",	"idle-after=250ms",
	    "idle-after=90s",	"hours=23:00-07:00,12:00-13:30",
	    "on-battery=never", "max-temp=80C",
	    "max-jobs=3",	"max-units=any",
	    "price=12",		"region=garage,left",
	    "need-sensors=yes"};
	static const char *const bad[] = {
	    "threads=0",
	    "threads=-1",
	    "share=0%",
	    "share=101%",
	    "share=50%%",
	    "share=",
	    "when=never",
	    "hours=",
	    "hours=23",
	    "hours=23-",
	    "hours=24-3",
	    "hours=5-5",
	    "hours=1-2,",
	    "hours=1:7-2",
	    "hours=25-26",
	    "hours=1-24:30",
	    "max-temp=300C",
	    "max-temp=hot",
	    "price=-3",
	    "price=1.5",
	    "region=a\nb",
	    "region=\xff",
	    "max-jobs=99999",
	    "color=red",
	    "share",
	    "idle-after=2d",
	    "need-sensors=1",
	    "region=123456789012345678901234567890123",
	    "hours=1-2,3-4,5-6,7-8,9-10,11-12,13-14,15-16,17-18"};

	(void)state;
	for (size_t i = 0; i < HN_COUNT(good); i++) {
		struct lend l = limits(good[i]), again;
		struct buf text = {0};
		const char *value = strchr(good[i], '=') + 1;
		size_t n = (size_t)(value - good[i]) - 1;
		/* Each comes out as it went in. */
		for (size_t k = 0; k < LEND_COUNT; k++)
			if (strlen(lend_name((enum lend_limit)k)) == n &&
			    !strncmp(lend_name((enum lend_limit)k), good[i], n))
				lend_text(&l, (enum lend_limit)k, &text);
		assert_string_equal(buf_str(&text), value);
		again = limits(good[i]);
		assert_memory_equal(&again, &l, sizeof(l));
		buf_release(&text);
	}
	for (size_t i = 0; i < HN_COUNT(bad); i++) {
		struct lend l = lend_default;
		struct buf why = {0};
		if (lend_set_pair(&l, bad[i], &why) != ERR_INPUT)
			fail_msg("%s was taken", bad[i]);
		assert_true(why.n > 10);
		assert_memory_equal(&l, &lend_default, sizeof(l));
		buf_release(&why);
	}
	struct lend l = limits("share=50% hours=23-07 max-temp=80");
	struct buf text = {0};
	lend_summary(&l, &text);
	assert_string_equal(buf_str(&text),
			    "share 50%, hours 23:00-07:00, max-temp 80C");
	buf_release(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_hours_hold_over_midnight),
	    cmocka_unit_test(test_idle_is_seen_before_it_is_believed),
	    cmocka_unit_test(test_heat_goes_in_steps),
	    cmocka_unit_test(test_battery),
	    cmocka_unit_test(test_missing_sensors),
	    cmocka_unit_test(test_new_limits_count_at_once),
	    cmocka_unit_test(test_limits_as_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
