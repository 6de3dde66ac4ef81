/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_FUZZ_FUZZ_H
#define HN_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/*
 * The entry of each fuzz target, as libFuzzer calls it: one input, borrowed
 * for the call; always returns 0. What must not happen is an assert, a
 * sanitizer's report, or a call that takes long.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
