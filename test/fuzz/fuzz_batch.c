/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Many-message hashing: any mix of lengths gives the reference's digests on
 * every kernel that runs here. The first byte has the rounds; then two bytes
 * a message are its length, most of them short. Each message is an allocation
 * of its own, so that a sanitizer sees a byte read past it.
 */
#include "test/fuzz/fuzz.h"

#include "asic/kernel.h"
#include "asic/sha256d.h"
#include "node/base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGES = 200, LONG = 5000, SHORT = 260 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct bytes msgs[MESSAGES];
	static uint8_t *copies[MESSAGES];
	static uint8_t got[MESSAGES][32];
	size_t n = 0, kernels;
	const struct kernel *list = kernel_list(&kernels);
	int rounds;

	if (size < 1)
		return 0;
	rounds = 1 + (data[0] & 1);
	for (size_t at = 1; at + 2 <= size && n < MESSAGES; at += 2, n++) {
		size_t len = data[at] | (size_t)data[at + 1] << 8;

		/* One in sixteen may be long. */
		len %= data[at + 1] < 16 ? LONG : SHORT;
		copies[n] = xmalloc(len ? len : 1);
		for (size_t i = 0; i < len; i++)
			copies[n][i] = (uint8_t)(data[i % size] + i);
		msgs[n] = (struct bytes){copies[n], len};
	}
	for (size_t k = 0; k < kernels; k++) {
		if (!list[k].usable())
			continue;
		list[k].batch(msgs, n, rounds, got);
		for (size_t i = 0; i < n; i++) {
			uint8_t want[32];

			if (rounds == 1)
				sha256(msgs[i].p, msgs[i].n, want);
			else
				sha256d(msgs[i].p, msgs[i].n, want);
			assert(memcmp(got[i], want, 32) == 0);
		}
	}
	for (size_t i = 0; i < n; i++)
		free(copies[i]);
	return 0;
}
