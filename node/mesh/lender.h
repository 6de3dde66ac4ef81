/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_LENDER_H
#define HN_MESH_LENDER_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/lend.h"

/*
 * May others have work done here now, and how much? Facts of the machine, the
 * owner's limits and the time in, a word out. Pure: time is an argument, and
 * what it remembers (since when it is quiet, how hot it was) is in the struct.
 *
 * Idle: others used less than LENDER_BUSY of the processors, and nobody typed,
 * for as long as the limit says. Heat goes in steps: at the limit the share is
 * halved, every LENDER_HEAT_MS again, then work pauses; a step back each
 * LENDER_COOL_MS that it is LENDER_COOLER degrees below. What no sensor says
 * holds nothing back, unless the limits say so.
 */
struct host_facts;

#define LENDER_BUSY 100 /* permille of all processors */
#define LENDER_HEAT_MS 10000
#define LENDER_COOL_MS 30000
#define LENDER_COOLER 5	   /* degrees below the limit */
#define LENDER_FAR_OVER 10 /* degrees over it: pauses at once */
#define LENDER_WHY_MAX 128

enum lender_cause {
	LENDER_FREE, /* nothing holds it back */
	LENDER_HOURS,
	LENDER_BATTERY,
	LENDER_HEAT,
	LENDER_USE,
	LENDER_UNSEEN, /* it begins with a time of looking */
	LENDER_SENSOR  /* one that a limit needs is missing */
};

struct lender_word {
	bool allowed;
	unsigned share; /* permille of the device's time; 0 when not allowed */
	enum lender_cause cause;
	/* "outside its hours 23:00-07:00; again at 23:00". Empty when free.
	 * Stays as it is while the cause does. */
	char why[LENDER_WHY_MAX];
	uint64_t change_ms; /* until that may change, if all stays so; 0: it is
			     * not known */
};

struct lender {
	struct lend lend;
	struct lender_word word; /* the last one */
	uint64_t busy_ms;	 /* when it was last in use */
	bool seen;		 /* its use was known at least once */
	unsigned heat;		 /* steps taken */
	uint64_t heat_ms, cool_ms;
};

/* It has to be seen idle first, where that is asked for. */
void lender_init(struct lender *l, const struct lend *limits, uint64_t now_ms);
/* New limits; what it has seen is kept. */
void lender_limits(struct lender *l, const struct lend *limits,
		   uint64_t now_ms);
/* second: of the local day. The word is l->word; true when its cause or share
 * changed. */
bool lender_judge(struct lender *l, const struct host_facts *f, unsigned second,
		  uint64_t now_ms);
/* Does any limit need to look at the machine or the clock? */
bool lender_watches(const struct lend *limits);

#endif
