/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_BASE_LEND_H
#define HN_BASE_LEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"

/*
 * What an owner lends to others: limits, as values and as the texts that a
 * person writes. One list of rows (LEND_LIMITS) serves the flags of a node,
 * those of `hnode offer`, the settings lend.*, and the wire, where a limit
 * travels as "share=50%". Pure; any thread. Who decides by them is
 * node/mesh/lender.h.
 */
#define LEND_HOURS_MAX 8
#define LEND_REGION_MAX 32 /* bytes of UTF-8 */
#define LEND_DAY_MIN (24 * 60)

struct lend_hours { /* minutes of the local day, from included, to not; */
	uint16_t from, to; /* to below from: over midnight */
};

struct lend {
	unsigned threads; /* of the device; 0: all */
	unsigned share;	  /* of these threads' time, percent */
	bool when_idle;	  /* only while nobody else uses the machine */
	uint64_t idle_ms; /* how long nobody must have used it */
	struct lend_hours hours[LEND_HOURS_MAX];
	size_t nhours; /* 0: all day */
	bool on_battery;
	unsigned max_temp;	      /* degrees Celsius; 0: any */
	unsigned max_jobs, max_units; /* of others at once; 0: any */
	uint64_t price;		      /* credits per 2^32 hashes */
	char region[LEND_REGION_MAX + 1];
	bool need_sensors; /* a limit whose sensor is missing holds back */
};

/*
 * X(id, name, node_flag, meta, default, help): the name is the flag of `hnode
 * offer`, the key lend.<name> and the name on the wire. The default is
 * lend_default's, for help.
 */
#define LEND_LIMITS(X) \
	X(threads, "threads", "lend-threads", "N", "all", \
	  "so many threads work for others; all: every one") \
	X(share, "share", "share", "PERCENT", "100%", \
	  "of these threads' time, such as 50%") \
	X(when, "when", "when", "WHEN", "always", \
	  "idle: only while nobody else uses this machine; or always") \
	X(idle_after, "idle-after", "idle-after", "TIME", "60s", \
	  "idle means that nobody used it for so long") \
	X(hours, "hours", "hours", "HOURS", "all", \
	  "local time, such as 23-07 or 22:30-06,12-13; or all") \
	X(on_battery, "on-battery", "on-battery", "WHEN", "always", \
	  "never: not while it runs on battery; or always") \
	X(max_temp, "max-temp", "max-temp", "TEMP", "none", \
	  "at this heat, such as 80C, the share falls, then it pauses") \
	X(max_jobs, "max-jobs", "max-jobs", "N", "any", \
	  "jobs of others at once") \
	X(max_units, "max-units", "max-units", "N", "any", \
	  "units of others at once") \
	X(price, "price", "price", "CREDITS", "0", "asked for 2^32 hashes") \
	X(region, "region", "region", "TEXT", NULL, \
	  "where this machine is, for those who choose by it") \
	X(need_sensors, "need-sensors", "need-sensors", "YESNO", "no", \
	  "yes: a limit whose sensor is missing pauses, too")

enum lend_limit {
#define X(id, name, flag, meta, def, help) LEND_##id,
	LEND_LIMITS(X)
#undef X
	    LEND_COUNT
};

extern const struct lend lend_default;

/* One limit from text; the name as in the list. ERR_INPUT with a sentence that
 * does not name it ("takes a percentage ..."); *l is unchanged then. */
enum err lend_set(struct lend *l, const char *name, const char *text,
		  struct buf *why) HN_CHECK;
/* "share=50%"; the sentence names the limit. */
enum err lend_set_pair(struct lend *l, const char *pair,
		       struct buf *why) HN_CHECK;
/* The value as lend_set would take it. */
void lend_text(const struct lend *l, enum lend_limit which, struct buf *out);
const char *lend_name(enum lend_limit which);
/* Those that are not at their default: "share 50%, hours 23:00-07:00"; empty
 * when there is none. */
void lend_summary(const struct lend *l, struct buf *out);

/* Is this one text well-formed? For tables of options. */
#define X(id, name, flag, meta, def, help) \
	bool lend_check_##id(const char *text, struct buf *why);
LEND_LIMITS(X)
#undef X

#endif
