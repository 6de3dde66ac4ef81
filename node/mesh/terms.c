/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/terms.h"

#include <inttypes.h>
#include <string.h>

#define WAIT_MS_MAX (UINT64_C(7) * 24 * 3600 * 1000)

static const char *const balance_names[BALANCE_COUNT] = {
    [BALANCE_RATE] = "rate",
    [BALANCE_ROUND_ROBIN] = "round-robin",
    [BALANCE_LEAST_BUSY] = "least-busy",
    [BALANCE_RANDOM] = "random",
};

const char *balance_str(enum balance b)
{
	return b < BALANCE_COUNT ? balance_names[b] : "unknown";
}

bool balance_parse(const char *text, enum balance *out)
{
	for (size_t i = 0; i < BALANCE_COUNT; i++) {
		if (strcmp(text, balance_names[i]) != 0)
			continue;
		*out = (enum balance)i;
		return true;
	}
	return false;
}

static const struct field terms_shown_fields[] = {
    FIELD_STR(struct terms_shown, balance, 16,
	      "rate, round-robin, least-busy or random"),
    FIELD_U64(struct terms_shown, min_rate, 0, "least H/s; 0: any"),
    FIELD_BOOL(struct terms_shown, hardware, "only devices made for it"),
    FIELD_STR(struct terms_shown, region, TERMS_REGION_MAX,
	      "only peers of this region"),
    FIELD_F64(struct terms_shown, trust, "least score, 0..1"),
    FIELD_U64(struct terms_shown, max_price, 0,
	      "most credits for 2^32 hashes or 2^20 digests; 0: any"),
    FIELD_U64(struct terms_shown, replicas, 0,
	      "each unit by so many; 0: as trust demands"),
};
const struct message terms_shown_message =
    MESSAGE("terms", struct terms_shown, terms_shown_fields);

void terms_show(const struct job_terms *t, struct arena *a,
		struct terms_shown *out)
{
	const char *balance = balance_str((enum balance)t->balance);

	*out = (struct terms_shown){
	    .balance = arena_strndup(a, balance, strlen(balance)),
	    .min_rate = t->min_rate,
	    .hardware = t->hardware,
	    .trust = (double)t->trust / PERMILLE,
	    .max_price = t->max_price,
	    .replicas = t->replicas,
	};
	if (t->region && *t->region)
		out->region = arena_strndup(a, t->region, strlen(t->region));
}

enum err job_terms_check(const struct job_terms *t, struct buf *why)
{
	if (t->wait_ms > WAIT_MS_MAX)
		buf_add_str(why, "a job waits for workers at most 7 days");
	else if (t->check_permille > PERMILLE)
		buf_printf(why,
			   "the re-scan budget is at most one core: 1000 "
			   "thousandths, not %" PRIu64,
			   t->check_permille);
	else if (t->replicas > TERMS_REPLICAS_MAX)
		buf_printf(why,
			   "a unit is done by 1 to %d peers, or by as many as "
			   "their trust demands (0); not by %" PRIu64,
			   TERMS_REPLICAS_MAX, t->replicas);
	else if (t->balance >= BALANCE_COUNT)
		buf_printf(why,
			   "balance is 0 (rate), 1 (round-robin), 2 "
			   "(least-busy) or 3 (random), not %" PRIu64,
			   t->balance);
	else if (t->trust > PERMILLE)
		buf_printf(why,
			   "a score is at most 1000 thousandths, not %" PRIu64,
			   t->trust);
	else
		return OK;
	return ERR_INPUT;
}
