/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_BACKOFF_H
#define HN_MESH_BACKOFF_H

#include <stdint.h>

/*
 * Growing, jittered delays between dials ("decorrelated jitter"): each is
 * uniform between the base and three times the one before, so that many nodes
 * that lose one peer at the same time do not come back at the same time. Pure.
 */
#define BACKOFF_BASE_MS 1000u
#define BACKOFF_MAX_MS (5u * 60 * 1000)

/* prev_ms 0: the first. random: 64 uniform bits. */
static inline uint32_t backoff_next(uint32_t prev_ms, uint64_t random)
{
	uint64_t prev = prev_ms < BACKOFF_BASE_MS ? BACKOFF_BASE_MS : prev_ms;
	uint64_t next =
	    BACKOFF_BASE_MS + random % (3 * prev - BACKOFF_BASE_MS + 1);

	return next > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : (uint32_t)next;
}

#endif
