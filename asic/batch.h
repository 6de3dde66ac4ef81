/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_ASIC_BATCH_H
#define HN_ASIC_BATCH_H

#include <stddef.h>
#include <stdint.h>

struct bytes;
struct kernel;

/*
 * Digests of many messages of any lengths, in their order: rounds 1 is
 * SHA-256, 2 SHA-256 of that. On the kernel given, or for NULL on the one
 * that is fastest here (measured at the first call). The more messages in one
 * call the better: some hundred fill the lanes. No allocation; any thread;
 * out and the messages must not overlap.
 */
void batch_digests(const struct kernel *kernel, const struct bytes *msgs,
		   size_t n, int rounds, uint8_t (*out)[32]);

#endif
