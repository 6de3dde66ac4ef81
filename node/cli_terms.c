/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/cli_terms.h"

#include "node/out.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static bool read_trust(const char *text, uint64_t *out)
{
	char *end;
	const double v = strtod(text, &end);

	if (end == text || *end || !(v >= 0 && v <= 1))
		return false;
	*out = (uint64_t)(v * PERMILLE + 0.5);
	return true;
}

static bool read_replicas(const char *text, uint64_t *out)
{
	if (!strcmp(text, "auto")) {
		*out = 0;
		return true;
	}
	return opt_read_uint(text, out) && *out >= 1 &&
	       *out <= TERMS_REPLICAS_MAX;
}

enum err terms_read(const struct terms_opts *o, struct job_terms *out,
		    struct buf *why)
{
	enum balance balance = BALANCE_RATE;

	out->min_rate = o->min_rate.v;
	out->max_price = o->max_price.v;
	out->hardware = o->hardware;
	out->region = (char *)(uintptr_t)o->region;
	if (o->balance && !balance_parse(o->balance, &balance)) {
		buf_add_str(why, "--balance takes rate, round-robin, "
				 "least-busy or random");
		return ERR_INPUT;
	}
	out->balance = balance;
	if (o->region && strlen(o->region) > TERMS_REGION_MAX) {
		buf_printf(why, "--region takes at most %d bytes",
			   TERMS_REGION_MAX);
		return ERR_INPUT;
	}
	if (o->trust && !read_trust(o->trust, &out->trust)) {
		buf_printf(why,
			   "--trust takes a score from 0 to 1, such as 0.7, "
			   "not %s",
			   o->trust);
		return ERR_INPUT;
	}
	if (o->replicas && !read_replicas(o->replicas, &out->replicas)) {
		buf_printf(why,
			   "--replicas takes a number from 1 to %d, or auto, "
			   "not %s",
			   TERMS_REPLICAS_MAX, o->replicas);
		return ERR_INPUT;
	}
	return OK;
}

static const char *sep(const struct buf *out)
{
	return out->n ? ", " : "";
}

void terms_say(const struct terms_shown *t, struct buf *out)
{
	if (t->balance && strcmp(t->balance, balance_str(BALANCE_RATE)) != 0)
		buf_printf(out, "balance %s", t->balance);
	if (t->min_rate) {
		buf_printf(out, "%sat least ", sep(out));
		out_rate(out, t->min_rate);
	}
	if (t->hardware)
		buf_printf(out, "%shardware only", sep(out));
	if (t->region)
		buf_printf(out, "%sregion %s", sep(out), t->region);
	if (t->trust > 0)
		buf_printf(out, "%sa score of %.3g or more", sep(out),
			   t->trust);
	if (t->max_price)
		buf_printf(out, "%sat most %" PRIu64 " credits", sep(out),
			   t->max_price);
	if (t->replicas == 1)
		buf_printf(out, "%seach unit by 1 peer", sep(out));
	else if (t->replicas)
		buf_printf(out,
			   "%seach unit of an unknown peer by %" PRIu64
			   " peers, 1 in %d of others",
			   sep(out), t->replicas, TERMS_REPLICA_SAMPLE);
}
