/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_SKEW_H
#define HN_MESH_SKEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Our wall clock against those of our peers (decision D18). Pure.
 */
#define SKEW_MIN_PEERS 3
#define SKEW_BAD_MS (5 * 60 * 1000)

/* The median of peers' clocks minus ours; false with fewer than three. Sorts
 * offsets in place. Of an even number the one nearer to zero. */
bool skew_median(int64_t *offsets, size_t n, int64_t *out);
bool skew_bad(int64_t median);

#endif
