/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Records as they are after the seal (the first byte says whether the input is
 * a body, or a whole sealed value). What is taken must come back the same.
 */
#include "test/fuzz/fuzz.h"

#include "dht/record.h"
#include "node/base/mem.h"

#include <sodium.h>

#include <stdlib.h>
#include <string.h>

static void whole(const uint8_t *p, size_t n)
{
	static const uint8_t zero[32];
	struct mesh_keys keys;
	struct topic_id topic;
	struct arena a = {0};
	struct record r;

	mesh_keys_derive(zero, zero, &keys);
	topic_id_of(&keys, "hash/sha256d", &topic);
	(void)!record_open(p, n, &keys, &topic, 1700000000000, &a, &r);
	arena_release(&a);
}

static void body(const uint8_t *p, size_t n)
{
	struct arena a = {0};
	struct record r, again;
	struct buf first = {0}, second = {0};

	if (record_unpack(p, n, &a, &r) == RECORD_OK) {
		fields_pack(&record_message, &r, &first);
		if (record_unpack(first.p, first.n, &a, &again) != RECORD_OK)
			abort();
		fields_pack(&record_message, &again, &second);
		if (first.n != second.n ||
		    memcmp(first.p, second.p, first.n) != 0)
			abort();
	}
	arena_release(&a);
	buf_release(&first);
	buf_release(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size || sodium_init() < 0)
		return 0;
	if (data[0] & 1)
		whole(data + 1, size - 1);
	else
		body(data + 1, size - 1);
	return 0;
}
