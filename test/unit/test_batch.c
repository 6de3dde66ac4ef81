/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "asic/batch.h"

#include "asic/kernel.h"
#include "asic/sha256d.h"
#include "node/base/mem.h"
#include "test/support/headers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

/* The linker sends every allocation of this program through these. */
static unsigned long allocations;

#define WRAP(name, params, args) \
	void *__real_##name params; \
	void *__wrap_##name params; \
	void *__wrap_##name params \
	{ \
		allocations++; \
		return __real_##name args; \
	}
WRAP(malloc, (size_t n), (n))
WRAP(calloc, (size_t n, size_t size), (n, size))
WRAP(realloc, (void *p, size_t n), (p, n))
WRAP(aligned_alloc, (size_t align, size_t n), (align, n))

int __real_posix_memalign(void **p, size_t align, size_t n);
int __wrap_posix_memalign(void **p, size_t align, size_t n);
int __wrap_posix_memalign(void **p, size_t align, size_t n)
{
	allocations++;
	return __real_posix_memalign(p, align, n);
}

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { TURNS = 10 };
#else
enum { TURNS = 80 };
#endif
enum { MSGS = 2500, TEXT = 70000, LONGEST = 65536 + 3 };
static uint8_t text[TEXT];
static struct bytes msgs[MSGS];
static uint8_t got[MSGS + 1][32];

static void each_kernel(void (*fn)(const struct kernel *k))
{
	size_t n;
	const struct kernel *list = kernel_list(&n);

	for (size_t i = 0; i < n; i++)
		if (list[i].usable())
			fn(&list[i]);
		else
			print_message("skipped: this processor has no %s\n",
				      list[i].name);
}

/* Both rounds of the first n messages equal the reference; none beyond. */
static void check(const struct kernel *k, size_t n)
{
	for (int rounds = 1; rounds <= 2; rounds++) {
		unsigned long before = allocations;

		memset(got[n], 0xee, 32);
		batch_digests(k, msgs, n, rounds, got);
		assert_int_equal(allocations, before);
		for (size_t i = 0; i < n; i++) {
			uint8_t want[32];

			if (rounds == 1)
				sha256(msgs[i].p, msgs[i].n, want);
			else
				sha256d(msgs[i].p, msgs[i].n, want);
			if (memcmp(got[i], want, 32))
				fail_msg("%s: message %zu of %zu, %zu bytes, "
					 "%d rounds",
					 k->name, i, n, msgs[i].n, rounds);
		}
		for (int i = 0; i < 32; i++)
			assert_int_equal(got[n][i], 0xee);
	}
}

static void random_lengths(const struct kernel *k)
{
	uint64_t seed = 21;
	size_t n = MSGS;

	for (int turn = 0; turn < TURNS; turn++) {
		for (size_t i = 0; i < n; i++) {
			msgs[i].p = text + noise32(&seed) % 1000;
			msgs[i].n = noise32(&seed) % 301;
		}
		check(k, n);
		n = noise32(&seed) % MSGS;
	}
}

static void test_batch_random_lengths(void **state)
{
	(void)state;
	each_kernel(random_lengths);
}

/* Every length on its own, and every number of messages up to two groups. */
static void equal_lengths(const struct kernel *k)
{
	for (size_t len = 0; len <= 200; len++) {
		size_t n = len % 70;

		for (size_t i = 0; i < n; i++)
			msgs[i] = (struct bytes){text + 7 * i, len};
		check(k, n);
	}
}

static void test_batch_equal_lengths(void **state)
{
	(void)state;
	each_kernel(equal_lengths);
}

/* A few long ones among many short ones. */
static void long_ones(const struct kernel *k)
{
	uint64_t seed = 22;

	for (int turn = 0; turn < 6; turn++) {
		size_t n = 60 + 50 * (size_t)turn;

		for (size_t i = 0; i < n; i++) {
			bool is_long = noise32(&seed) % 40 == 0;

			msgs[i].p = text + noise32(&seed) % 4000;
			msgs[i].n = noise32(&seed) % (is_long ? LONGEST : 150);
		}
		msgs[n / 2] = (struct bytes){text, LONGEST};
		msgs[n - 1] = (struct bytes){text + 1, 65536};
		check(k, n);
	}
	/* All long, none equal. */
	for (size_t i = 0; i < 40; i++)
		msgs[i] = (struct bytes){text, 5000 + 37 * i};
	check(k, 40);
}

static void test_batch_long_among_short(void **state)
{
	(void)state;
	each_kernel(long_ones);
}

/* Messages that end where memory ends: nothing behind them is read. */
static uint8_t *page_end;

static void at_page_end(const struct kernel *k)
{
	for (size_t len = 0; len <= 140; len++) {
		for (size_t i = 0; i < 40; i++) {
			size_t n = i < 34 ? len : len + i;

			msgs[i] = (struct bytes){page_end - n, n};
		}
		check(k, 34);
		check(k, 40);
	}
}

static void test_batch_reads_messages_only(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *two = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_true(two != MAP_FAILED);
	assert_int_equal(mprotect(two + page, page, PROT_NONE), 0);
	memcpy(two, text, page);
	page_end = two + page;
	each_kernel(at_page_end);
	assert_int_equal(munmap(two, 2 * page), 0);
}

static void test_batch_real_headers(void **state)
{
	uint8_t headers[HN_COUNT(known_headers)][80], digest[32];

	(void)state;
	for (size_t i = 0; i < HN_COUNT(known_headers); i++) {
		unhex(known_headers[i].header, headers[i], 80);
		msgs[i] = (struct bytes){headers[i], 80};
	}
	batch_digests(NULL, msgs, HN_COUNT(known_headers), 2, got);
	for (size_t i = 0; i < HN_COUNT(known_headers); i++) {
		sha256d(headers[i], 80, digest);
		assert_memory_equal(got[i], digest, 32);
		assert_int_equal(sha256d_zero_bits(got[i]),
				 known_headers[i].zero_bits);
	}
}

static void test_batch_of_nothing(void **state)
{
	(void)state;
	batch_digests(NULL, NULL, 0, 1, NULL);
	/* An empty message may have no address. */
	msgs[0] = (struct bytes){NULL, 0};
	check(kernel_best_batch(), 1);
	for (size_t i = 0; i < 64; i++)
		msgs[i] = (struct bytes){NULL, 0};
	check(kernel_best_batch(), 64);
}

static int fill(void **state)
{
	uint64_t seed = 20;

	(void)state;
	noise_fill(&seed, text, sizeof(text));
	kernel_best_batch();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_batch_random_lengths),
	    cmocka_unit_test(test_batch_equal_lengths),
	    cmocka_unit_test(test_batch_long_among_short),
	    cmocka_unit_test(test_batch_reads_messages_only),
	    cmocka_unit_test(test_batch_real_headers),
	    cmocka_unit_test(test_batch_of_nothing),
	};

	return cmocka_run_group_tests(tests, fill, NULL);
}
