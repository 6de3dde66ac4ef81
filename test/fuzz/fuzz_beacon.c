/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Beacons after the seal (the first byte says whether the input is a body, or
 * a whole datagram). What is taken must come back the same.
 */
#include "test/fuzz/fuzz.h"

#include "dht/beacon.h"
#include "node/base/mem.h"

#include <sodium.h>

#include <stdlib.h>
#include <string.h>

static void body(const uint8_t *p, size_t n)
{
	struct beacon b, again;
	struct buf packed = {0};

	if (beacon_unpack(p, n, &b))
		return;
	fields_pack(&beacon_message, &b, &packed);
	if (beacon_unpack(packed.p, packed.n, &again) ||
	    memcmp(&b, &again, sizeof(b)) != 0)
		abort();
	buf_release(&packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t zero[32];
	struct mesh_keys keys;
	struct beacon b;

	if (!size || sodium_init() < 0)
		return 0;
	if (!(data[0] & 1)) {
		body(data + 1, size - 1);
		return 0;
	}
	mesh_keys_derive(zero, zero, &keys);
	(void)!beacon_open(data + 1, size - 1, &keys, &b);
	return 0;
}
