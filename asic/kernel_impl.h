/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_ASIC_KERNEL_IMPL_H
#define HN_ASIC_KERNEL_IMPL_H

#include "asic/kernel.h"

#include <string.h>

/*
 * What the kernel files share and nobody else includes. Each of them may be
 * built by its own compiler with its own instruction flags, so everything here
 * is data, declarations, or static: an inline function with a shared body
 * could otherwise be taken from the file that needs the newest instructions.
 */

#define STR_(x) #x
#define STR(x) STR_(x)
#ifdef __clang__
#define KERNEL_COMPILER \
	"clang " STR(__clang_major__) "." STR(__clang_minor__) "." STR( \
	    __clang_patchlevel__)
#else
#define KERNEL_COMPILER "gcc " __VERSION__
#endif

/* What kernel.c needs of each kernel file; see struct kernel. */
#define KERNEL_DECLARE(name) \
	extern const char name##_compiler[]; \
	size_t name##_scan(const struct kernel_job *job, uint64_t start, \
			   uint64_t end, uint32_t mask, uint32_t *out, \
			   size_t cap, uint64_t *next); \
	void name##_batch(const struct bytes *msgs, size_t n, int rounds, \
			  uint8_t(*out)[32])
KERNEL_DECLARE(scalar);
KERNEL_DECLARE(shani);
KERNEL_DECLARE(avx2);
KERNEL_DECLARE(avx512);

/* CPUID says so, and XGETBV says that the system saves the registers. */
bool kernel_cpu_any(void);
bool kernel_cpu_shani(void);
bool kernel_cpu_avx2(void);
bool kernel_cpu_avx512(void);

/* n blocks of one message into the state; for those vectors leave over. */
typedef void kernel_compress_fn(uint32_t state[8], const uint8_t *blocks,
				size_t n);
kernel_compress_fn scalar_compress, shani_compress;

/* The faster of both on this machine. */
kernel_compress_fn *kernel_compress(void);

/*
 * What a vector kernel gives to batch.c, which deals the messages out to the
 * lanes. A state is uint32_t[8][width], aligned to 64 bytes: H0 of all lanes,
 * then H1 of all, and so on.
 */
struct lanes {
	size_t width;			/* at most LANES_MAX */
	void (*start)(uint32_t *state); /* the initial one in all lanes */
	/* n blocks into each lane's state; moves the pointers past them. */
	void (*blocks)(uint32_t *state, const uint8_t **p, size_t n);
	/* One block that is the same in all lanes: K + W of its 64 rounds. */
	void (*fixed)(uint32_t *state, const uint32_t kw[64]);
	/* Each lane's digest is hashed in its turn. */
	void (*again)(uint32_t *state);
	void (*digests)(const uint32_t *state, uint8_t (*out)[32]);
};
#define LANES_MAX 32

void lanes_batch(const struct lanes *l, const struct bytes *msgs, size_t n,
		 int rounds, uint8_t (*out)[32]);

/* How many blocks a message of n bytes becomes, the padding included. */
static inline size_t pad_blocks(size_t n)
{
	return n / 64 + (n % 64 < 56 ? 1 : 2);
}

/*
 * The message's last blocks, those that are not whole in the message itself:
 * its last n % 64 bytes, 0x80, zeros, its length in bits. Returns 1 or 2.
 */
static inline size_t pad_tail(uint8_t tail[static 128], const uint8_t *msg,
			      size_t n)
{
	size_t rest = n % 64, blocks = rest < 56 ? 1 : 2;
	uint64_t bits = __builtin_bswap64((uint64_t)n * 8);

	memset(tail, 0, 64);
	if (blocks > 1)
		memset(tail + 64, 0, 64);
	if (rest)
		memcpy(tail, msg + (n - rest), rest);
	tail[rest] = 0x80;
	memcpy(tail + 64 * blocks - 8, &bits, 8);
	return blocks;
}

static inline void put_digest(uint8_t out[static 32], const uint32_t state[8])
{
	for (int i = 0; i < 8; i++) {
		uint32_t x = __builtin_bswap32(state[i]);

		memcpy(out + 4 * i, &x, 4);
	}
}

#endif
