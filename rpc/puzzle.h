/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_RPC_PUZZLE_H
#define HN_RPC_PUZZLE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * What a responder under attack asks of a dialler before it computes anything
 * for it (PROTOCOL 1.6): a number whose hash with a seed has so many leading
 * zero bits. The seed is a code over the dialler's address and the minute, so
 * the responder keeps nothing until it is answered (Aura, Nikander and
 * Leiwo, "DoS-resistant authentication with client puzzles", 2000). Pure.
 */
#define PUZZLE_SEED 16
#define PUZZLE_ANSWER (PUZZLE_SEED + 8) /* seed, number big-endian */
#define PUZZLE_BITS 14			/* about 3 ms of one core */
#define PUZZLE_BITS_MAX 16 /* more are not worked on: the loop waits */
#define PUZZLE_LIFE_S 60   /* a seed is good in its minute and the next */
#define PUZZLE_USED 512	   /* answers remembered, so that each works once */

struct puzzle {
	uint8_t bits;
	uint8_t seed[PUZZLE_SEED];
};

/* The responder's; zeros but for a random key are ready. */
struct puzzles {
	uint8_t key[32];
	uint8_t used[PUZZLE_USED][8];
	unsigned next;
};

/* ip: 16 bytes, IPv4 as mapped. */
void puzzle_make(const struct puzzles *s, const uint8_t ip[static 16],
		 uint64_t now_s, struct puzzle *out);
/* Answers once: the same bytes again are refused, while they are remembered. */
bool puzzle_accept(struct puzzles *s, const uint8_t ip[static 16],
		   uint64_t now_s, const uint8_t answer[static PUZZLE_ANSWER]);

/* False: too many bits asked. */
bool puzzle_solve(const struct puzzle *p, uint8_t answer[static PUZZLE_ANSWER]);

#endif
