/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "asic/kernel.h"

#include "asic/sha256d.h"
#include "node/base/mem.h"
#include "test/support/headers.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

/* Calls fn for every kernel that runs here; says which do not. */
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

static uint32_t h7(const uint8_t digest[32])
{
	return (uint32_t)digest[28] << 24 | (uint32_t)digest[29] << 16 |
	       (uint32_t)digest[30] << 8 | digest[31];
}

static void test_kernel_mask_is_leading_zero_bits(void **state)
{
	uint64_t seed = 11;

	(void)state;
	assert_int_equal(kernel_mask(0), 0);
	assert_int_equal(kernel_mask(8), 0xff);
	assert_int_equal(kernel_mask(12), 0xf0ff);
	assert_int_equal(kernel_mask(32), 0xffffffff);
	assert_int_equal(kernel_mask(40), 0xffffffff);
	for (int i = 0; i < 2000; i++) {
		uint8_t digest[32];
		unsigned zeros = noise32(&seed) % 40, bits;

		noise_fill(&seed, digest, 32);
		for (unsigned b = 0; b < zeros; b++)
			digest[31 - b / 8] &= (uint8_t) ~(0x80 >> b % 8);
		bits = sha256d_zero_bits(digest);
		for (unsigned k = 0; k <= 32; k++)
			assert_int_equal((h7(digest) & kernel_mask(k)) == 0,
					 bits >= k);
	}
}

static void test_kernel_list_names(void **state)
{
	size_t n;
	const struct kernel *list = kernel_list(&n);

	(void)state;
	assert_true(n >= 1);
	assert_string_equal(list[0].name, "scalar");
	assert_true(list[0].usable());
	assert_null(kernel_find("no such kernel"));
	for (size_t i = 0; i < n; i++) {
		assert_ptr_equal(kernel_find(list[i].name), &list[i]);
		assert_true(strlen(list[i].compiler) > 0);
	}
}

static void real_headers(const struct kernel *k)
{
	for (size_t i = 0; i < HN_COUNT(known_headers); i++) {
		const struct known_header *known = &known_headers[i];
		uint8_t header[80];
		struct kernel_job job;
		uint64_t next, from = known->nonce - 20000;
		uint32_t out[4];

		unhex(known->header, header, 80);
		memset(header + 76, 0x5a, 4);
		kernel_job_init(&job, header);
		assert_int_equal(k->scan(&job, from, from + 40000,
					 kernel_mask(32), out, 4, &next),
				 1);
		assert_int_equal(out[0], known->nonce);
		assert_int_equal(next, from + 40000);
	}
}

static void test_kernel_finds_real_blocks(void **state)
{
	(void)state;
	each_kernel(real_headers);
}

/* What the reference says of a million nonces of random headers; of fewer
 * where a sanitizer makes it ten times slower. */
#ifdef __SANITIZE_THREAD__
enum { HEADERS = 25 };
#else
enum { HEADERS = 250 };
#endif
enum { RANGE = 4000, HITS_MAX = 400, BITS = 6 };
static struct reference {
	uint8_t header[80];
	uint64_t start;
	uint32_t hits[HITS_MAX];
	size_t n;
} refs[HEADERS];

static int make_references(void **state)
{
	uint64_t seed = 3;

	(void)state;
	for (struct reference *r = refs; r < refs + HEADERS; r++) {
		noise_fill(&seed, r->header, 80);
		r->start = noise32(&seed);
		if (r->start > (1ull << 32) - RANGE)
			r->start = (1ull << 32) - RANGE;
		for (uint64_t n = r->start; n < r->start + RANGE; n++) {
			uint8_t digest[32];

			sha256d_header(r->header, (uint32_t)n, digest);
			if (sha256d_zero_bits(digest) < BITS)
				continue;
			assert_true(r->n < HITS_MAX);
			r->hits[r->n++] = (uint32_t)n;
		}
	}
	return 0;
}

static void equal_hits(const struct kernel *k)
{
	size_t total = 0;

	for (const struct reference *r = refs; r < refs + HEADERS; r++) {
		uint32_t out[HITS_MAX + 1];
		struct kernel_job job;
		uint64_t next;
		size_t n;

		kernel_job_init(&job, r->header);
		n = k->scan(&job, r->start, r->start + RANGE, kernel_mask(BITS),
			    out, HN_COUNT(out), &next);
		assert_int_equal(next, r->start + RANGE);
		assert_int_equal(n, r->n);
		assert_memory_equal(out, r->hits, n * sizeof(out[0]));
		total += n;
	}
	print_message("%-7s %zu hits of %d nonces equal the reference (%s)\n",
		      k->name, total, HEADERS * RANGE, k->compiler);
}

static void test_kernel_equals_reference(void **state)
{
	(void)state;
	each_kernel(equal_hits);
}

/* Small output, odd pieces: together they give the list of one scan. */
static void in_pieces(const struct kernel *k)
{
	const struct reference *r = &refs[1];
	const uint64_t end = r->start + RANGE;
	struct kernel_job job;
	uint64_t seed = 5, next;
	uint32_t out[HITS_MAX];

	kernel_job_init(&job, r->header);
	for (size_t cap = 1; cap < 8; cap++) {
		size_t n = 0;

		for (uint64_t at = r->start; at < end; at = next) {
			uint64_t stop = at + 1 + noise32(&seed) % 90;
			size_t got;

			stop = stop < end ? stop : end;
			got = k->scan(&job, at, stop, kernel_mask(BITS),
				      out + n, cap, &next);
			assert_true(got <= cap);
			assert_true(next > at && next <= stop);
			assert_true(next == stop || got == cap);
			n += got;
			assert_true(n <= r->n);
		}
		assert_int_equal(n, r->n);
		assert_memory_equal(out, r->hits, n * sizeof(out[0]));
	}
}

static void test_kernel_resumes_where_the_output_was_full(void **state)
{
	(void)state;
	each_kernel(in_pieces);
}

static void at_edges(const struct kernel *k)
{
	struct kernel_job job;
	uint32_t out[100];
	uint64_t next = 0;

	kernel_job_init(&job, refs[0].header);
	/* Empty: nothing is found, nothing is written. */
	memset(out, 0xee, sizeof(out));
	assert_int_equal(k->scan(&job, 77, 77, 0, out, 100, &next), 0);
	assert_int_equal(next, 77);
	assert_int_equal(out[0], 0xeeeeeeee);

	/* Mask 0: every nonce, up to the last there is and none after. */
	assert_int_equal(
	    k->scan(&job, (1ull << 32) - 45, 1ull << 32, 0, out, 100, &next),
	    45);
	assert_int_equal(next, 1ull << 32);
	for (uint32_t i = 0; i < 45; i++)
		assert_int_equal(out[i], 0xffffffff - 44 + i);
	assert_int_equal(out[45], 0xeeeeeeee);

	assert_int_equal(k->scan(&job, 0, 100, 0, out, 33, &next), 33);
	assert_int_equal(next, 33);
}

static void test_kernel_ranges_end_where_they_say(void **state)
{
	(void)state;
	each_kernel(at_edges);
}

static void *ask_best(void *arg)
{
	(void)arg;
	return (void *)kernel_best();
}

static void test_kernel_best_is_the_same_for_all_threads(void **state)
{
	pthread_t threads[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, ask_best, NULL), 0);
	for (int i = 0; i < 4; i++) {
		void *best;

		assert_int_equal(pthread_join(threads[i], &best), 0);
		assert_ptr_equal(best, kernel_best());
	}
	assert_true(kernel_best()->usable());
	assert_true(kernel_best_batch()->usable());
	print_message("best: %s, for messages %s\n", kernel_best()->name,
		      kernel_best_batch()->name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_kernel_mask_is_leading_zero_bits),
	    cmocka_unit_test(test_kernel_list_names),
	    cmocka_unit_test(test_kernel_finds_real_blocks),
	    cmocka_unit_test(test_kernel_equals_reference),
	    cmocka_unit_test(test_kernel_resumes_where_the_output_was_full),
	    cmocka_unit_test(test_kernel_ranges_end_where_they_say),
	    cmocka_unit_test(test_kernel_best_is_the_same_for_all_threads),
	};

	return cmocka_run_group_tests(tests, make_references, NULL);
}
