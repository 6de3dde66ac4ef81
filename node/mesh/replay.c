/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/replay.h"

#include "node/base/buf.h"
#include "node/base/mem.h"

#include <sodium.h>
#include <uthash.h>

#include <stdlib.h>
#include <string.h>

#define KEY_SIZE 16

struct seen {
	uint8_t key[KEY_SIZE];
	uint64_t at;
	UT_hash_handle hh; /* in the order of arrival */
};

struct replay {
	uint8_t secret[32]; /* nobody chooses whom he collides with */
	struct seen *seen;
	struct replay_counters counters;
};

struct replay *replay_new(uint64_t window_ms, size_t cache)
{
	struct replay *r = HN_NEW(struct replay);

	r->counters.window_ms = window_ms;
	r->counters.cache = cache;
	randombytes_buf(r->secret, sizeof(r->secret));
	return r;
}

static void forget(struct replay *r, struct seen *s)
{
	HASH_DEL(r->seen, s);
	free(s);
	r->counters.held--;
}

void replay_free(struct replay *r)
{
	if (!r)
		return;
	while (r->seen)
		forget(r, r->seen);
	free(r);
}

bool replay_fresh(struct replay *r, const struct node_id *submitter,
		  const char *job, uint64_t lease, uint64_t now_ms)
{
	crypto_generichash_state h;
	uint8_t key[KEY_SIZE], be[8];
	struct seen *s;

	put_be64(be, lease);
	crypto_generichash_init(&h, r->secret, sizeof(r->secret), KEY_SIZE);
	crypto_generichash_update(&h, submitter->b, sizeof(submitter->b));
	crypto_generichash_update(&h, be, sizeof(be));
	crypto_generichash_update(&h, (const uint8_t *)job, strlen(job));
	crypto_generichash_final(&h, key, KEY_SIZE);
	while (r->seen && now_ms - r->seen->at > r->counters.window_ms &&
	       now_ms > r->seen->at)
		forget(r, r->seen);
	HASH_FIND(hh, r->seen, key, KEY_SIZE, s);
	if (s) {
		r->counters.refused++;
		return false;
	}
	if (r->counters.held == r->counters.cache) {
		r->counters.early++;
		forget(r, r->seen);
	}
	s = HN_NEW(struct seen);
	memcpy(s->key, key, KEY_SIZE);
	s->at = now_ms;
	HASH_ADD(hh, r->seen, key, KEY_SIZE, s);
	r->counters.held++;
	return true;
}

const struct replay_counters *replay_counters(const struct replay *r)
{
	return &r->counters;
}
