/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_NODE_CLI_TERMS_H
#define HN_NODE_CLI_TERMS_H

#include "node/mesh/terms.h"
#include "node/opt.h"

/*
 * The flags of `submit` that say who may do a job, and who gets how much: the
 * same for every kind. A verb's struct of values has a `struct terms_opts
 * terms`, its table of options TERMS_ROWS(that struct).
 */
struct terms_opts {
	const char *balance, *region, *trust, *replicas;
	struct opt_u64 min_rate, max_price;
	bool hardware;
};

#define TERMS_ROW(s, flag_, type_, meta_, member, help_, hide) \
	{ \
		.flag = flag_, .type = type_, .meta = meta_, \
		.offset = offsetof(s, terms.member), .help = help_, \
		.hidden = hide \
	}
/* of_batch: what only searches have is refused, and not in the help. */
#define TERMS_ROWS(s) TERMS_ROWS_OF(s, false)
#define TERMS_ROWS_OF(s, of_batch) \
	{.flag = "balance", \
	 .type = OPT_CHOICE, \
	 .meta = "HOW", \
	 .choices = "rate round-robin least-busy random", \
	 .offset = offsetof(s, terms.balance), \
	 .help = "who gets the next unit, and how large [rate]"}, \
	    TERMS_ROW(s, "min-rate", OPT_RATE, "RATE", min_rate, \
		      "only peers that do so much, such as 10MH/s", of_batch), \
	    TERMS_ROW(s, "hardware-only", OPT_BOOL, NULL, hardware, \
		      "only devices made for it, no processors", false), \
	    TERMS_ROW(s, "region", OPT_TEXT, "TEXT", region, \
		      "only peers that say they are there", false), \
	    TERMS_ROW(s, "trust", OPT_TEXT, "0..1", trust, \
		      "only peers of at least this score (a stranger: " \
		      "0.5)", \
		      false), \
	    TERMS_ROW(s, "max-price", OPT_UINT, "CREDITS", max_price, \
		      "only peers that ask no more, for 2^32 hashes or " \
		      "2^20 digests", \
		      false), \
	    TERMS_ROW(s, "replicas", OPT_TEXT, "N|auto", replicas, \
		      "units of unknown peers are done N times, 1 to 8, by " \
		      "different peers [auto: a sample, at most 2 % of the " \
		      "work]", \
		      of_batch)

/* Sets all of *out but wait_ms, check_permille and backup; texts are lent.
 * ERR_INPUT with a sentence that names the flag. */
enum err terms_read(const struct terms_opts *o, struct job_terms *out,
		    struct buf *why) HN_CHECK;

/* "at least 10 MH/s, region eu, ..."; nothing without conditions. */
void terms_say(const struct terms_shown *t, struct buf *out);

#endif
