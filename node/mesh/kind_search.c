/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The search: nonces of one 80-byte header whose digest is at most a target.
 */
#include "asic/sha256d.h"
#include "node/base/buf.h"
#include "node/base/mem.h"
#include "node/mesh/job.h"
#include "node/mesh/kind.h"

#include <string.h>

static const struct field search_spec_fields[] = {
    FIELD_FIXED(struct search_spec, header,
		"the 80 bytes; the nonce in them is ignored"),
    FIELD_U64(struct search_spec, start, NONCES, "first nonce"),
    FIELD_U64(struct search_spec, end, NONCES, "nonce behind the last"),
    FIELD_FIXED(struct search_spec, target, "little-endian number"),
    FIELD_BOOL(struct search_spec, all, "do not stop at the first hit"),
    JOB_TERMS_FIELDS(struct search_spec),
};
const struct message search_spec_message =
    MESSAGE("search", struct search_spec, search_spec_fields);

enum err search_spec_check(const struct search_spec *s, struct buf *why)
{
	if (s->start >= s->end || s->end > NONCES) {
		buf_printf(why,
			   "the range must be nonces from 0 to 4294967295, "
			   "the first not above the last");
		return ERR_INPUT;
	}
	return job_terms_check(&s->terms, why);
}

static enum err search_check_spec(const void *spec, struct buf *why)
{
	return search_spec_check(spec, why);
}

static const struct job_terms *search_terms(const void *spec)
{
	const struct search_spec *s = spec;

	return &s->terms;
}

static bool search_all(const void *spec)
{
	const struct search_spec *s = spec;

	return s->all;
}

/* A share mask of more bits than every hit has would hide hits. */
static unsigned search_max_bits(const void *spec)
{
	const struct search_spec *s = spec;

	return target_zero_bits(s->target);
}

static struct span search_range(const void *spec)
{
	const struct search_spec *s = spec;

	return (struct span){s->start, s->end};
}

static void search_show(const void *spec, struct arena *a, struct job_info *out)
{
	const struct search_spec *s = spec;
	char header[2 * HEADER_SIZE + 1], target[65];

	hex_encode(s->header, HEADER_SIZE, header);
	digest_show(s->target, target);
	out->header = arena_strndup(a, header, strlen(header));
	out->target = arena_strndup(a, target, strlen(target));
	out->all = s->all;
}

static void search_cut(const void *spec, struct span unit, unsigned bits,
		       struct scan_work *out)
{
	const struct search_spec *s = spec;

	memcpy(out->header, s->header, sizeof(out->header));
	out->start = unit.a;
	out->end = unit.b;
	out->share_bits = bits;
}

static enum finding search_check(const void *spec, const struct judge *judge,
				 uint32_t nonce, unsigned bits,
				 uint8_t digest[static 32])
{
	const struct search_spec *s = spec;

	judge->fn(judge->arg, s->header, nonce, digest);
	if (sha256d_zero_bits(digest) < bits)
		return FINDING_FALSE;
	return sha256d_meets(digest, s->target) ? FINDING_HIT : FINDING_SHARE;
}

static enum merged search_merge(const void *spec, struct hits *hits,
				const struct hit *hit)
{
	const struct search_spec *s = spec;

	if (hits->n && !s->all)
		return MERGED_ENOUGH;
	if (hits->n == JOB_MAX_HITS)
		return hits_has(hits, hit->nonce) ? MERGED_MORE
						  : MERGED_TOO_MANY;
	hits_add(hits, hit);
	return s->all ? MERGED_MORE : MERGED_ENOUGH;
}

const struct kind kind_search = {
    .name = "search",
    .cap = "hash/sha256d",
    .spec = &search_spec_message,
    .work = &scan_work_message,
    .spec_size = sizeof(struct search_spec),
    .shares = true,
    .spec_check = search_check_spec,
    .terms = search_terms,
    .all = search_all,
    .max_bits = search_max_bits,
    .range = search_range,
    .show = search_show,
    .cut = search_cut,
    .check = search_check,
    .merge = search_merge,
};
