/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/skew.h"

#include <stdlib.h>

static int cmp(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t size_of(int64_t v)
{
	return v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
}

bool skew_median(int64_t *offsets, size_t n, int64_t *out)
{
	if (n < SKEW_MIN_PEERS)
		return false;
	qsort(offsets, n, sizeof(*offsets), cmp);
	int64_t high = offsets[n / 2], low = offsets[(n - 1) / 2];
	*out = size_of(low) < size_of(high) ? low : high;
	return true;
}

bool skew_bad(int64_t median)
{
	return size_of(median) > SKEW_BAD_MS;
}
