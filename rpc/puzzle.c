/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rpc/puzzle.h"

#include "node/base/buf.h"

#include <sodium.h>

#include <string.h>

static void seed_of(const struct puzzles *s, const uint8_t ip[static 16],
		    uint64_t period, uint8_t seed[static PUZZLE_SEED])
{
	uint8_t text[16 + 8];

	memcpy(text, ip, 16);
	put_be64(text + 16, period);
	crypto_generichash(seed, PUZZLE_SEED, text, sizeof(text), s->key,
			   sizeof(s->key));
}

static bool is_solved(const uint8_t answer[static PUZZLE_ANSWER], unsigned bits)
{
	uint8_t hash[crypto_generichash_BYTES_MIN];
	unsigned zeros = 0;

	crypto_generichash(hash, sizeof(hash), answer, PUZZLE_ANSWER, NULL, 0);
	while (zeros < bits && !(hash[zeros / 8] & (0x80 >> zeros % 8)))
		zeros++;
	return zeros == bits;
}

void puzzle_make(const struct puzzles *s, const uint8_t ip[static 16],
		 uint64_t now_s, struct puzzle *out)
{
	out->bits = PUZZLE_BITS;
	seed_of(s, ip, now_s / PUZZLE_LIFE_S, out->seed);
}

bool puzzle_accept(struct puzzles *s, const uint8_t ip[static 16],
		   uint64_t now_s, const uint8_t answer[static PUZZLE_ANSWER])
{
	const uint64_t period = now_s / PUZZLE_LIFE_S;
	uint8_t seed[PUZZLE_SEED], before[PUZZLE_SEED], id[8];

	seed_of(s, ip, period, seed);
	seed_of(s, ip, period - 1, before);
	if ((memcmp(seed, answer, PUZZLE_SEED) &&
	     memcmp(before, answer, PUZZLE_SEED)) ||
	    !is_solved(answer, PUZZLE_BITS))
		return false;
	crypto_shorthash(id, answer + PUZZLE_SEED - 8, 16, s->key);
	for (unsigned i = 0; i < PUZZLE_USED; i++)
		if (!memcmp(s->used[i], id, sizeof(id)))
			return false;
	memcpy(s->used[s->next++ % PUZZLE_USED], id, sizeof(id));
	return true;
}

bool puzzle_solve(const struct puzzle *p, uint8_t answer[static PUZZLE_ANSWER])
{
	uint64_t n = 0;

	if (p->bits > PUZZLE_BITS_MAX)
		return false;
	memcpy(answer, p->seed, PUZZLE_SEED);
	/* Another number each time: one that was used is refused. */
	randombytes_buf(&n, sizeof(n));
	do {
		put_be64(answer + PUZZLE_SEED, n++);
	} while (!is_solved(answer, p->bits));
	return true;
}
