/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "asic/kernel.h"

#include "asic/kernel_impl.h"
#include "asic/sha256d.h"
#include "node/base/mem.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

static const struct kernel kernels[] = {
    {"scalar", scalar_compiler, kernel_cpu_any, scalar_scan, scalar_batch},
#ifdef __x86_64__
    {"shani", shani_compiler, kernel_cpu_shani, shani_scan, shani_batch},
    {"avx2", avx2_compiler, kernel_cpu_avx2, avx2_scan, avx2_batch},
    {"avx512", avx512_compiler, kernel_cpu_avx512, avx512_scan, avx512_batch},
#endif
};

/* ---- what this processor can do ---- */

enum { CPU_SHANI = 1, CPU_AVX2 = 2, CPU_AVX512 = 4 };

static pthread_once_t cpu_once = PTHREAD_ONCE_INIT;
static unsigned cpu;

static void cpu_look(void)
{
#ifdef __x86_64__
	const unsigned ssse3_sse41 = 1u << 9 | 1u << 19, osxsave = 1u << 27;
	const unsigned f_dq_bw_vl = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
	unsigned a, b, c, d, b7, c7, d7, lo = 0, hi;

	if (!__get_cpuid(1, &a, &b, &c, &d) ||
	    !__get_cpuid_count(7, 0, &a, &b7, &c7, &d7))
		return;
	if ((c & ssse3_sse41) == ssse3_sse41 && b7 & 1u << 29)
		cpu |= CPU_SHANI;
	if (!(c & osxsave))
		return;
	/* XCR0: 0x06 xmm and ymm, 0xe0 opmasks and zmm are saved. */
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	if ((lo & 0x06) == 0x06 && b7 & 1u << 5)
		cpu |= CPU_AVX2;
	if ((lo & 0xe6) == 0xe6 && (b7 & f_dq_bw_vl) == f_dq_bw_vl)
		cpu |= CPU_AVX512;
#endif
}

static bool cpu_has(unsigned what)
{
	pthread_once(&cpu_once, cpu_look);
	return cpu & what;
}

bool kernel_cpu_any(void)
{
	return true;
}

bool kernel_cpu_shani(void)
{
	return cpu_has(CPU_SHANI);
}

bool kernel_cpu_avx2(void)
{
	return cpu_has(CPU_AVX2);
}

bool kernel_cpu_avx512(void)
{
	return cpu_has(CPU_AVX512);
}

kernel_compress_fn *kernel_compress(void)
{
#ifdef __x86_64__
	if (kernel_cpu_shani())
		return shani_compress;
#endif
	return scalar_compress;
}

/* ---- the job ---- */

static uint32_t ror(uint32_t x, unsigned n)
{
	return x >> n | x << (32 - n);
}

static uint32_t small0(uint32_t x)
{
	return ror(x, 7) ^ ror(x, 18) ^ x >> 3;
}

static uint32_t small1(uint32_t x)
{
	return ror(x, 17) ^ ror(x, 19) ^ x >> 10;
}

/* T1 and T2 of FIPS 180-4 6.2.2; kw is K + W of the round. */
static uint32_t round_t1(const uint32_t v[8], uint32_t kw)
{
	uint32_t e = v[4];

	return v[7] + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) +
	       ((e & v[5]) ^ (~e & v[6])) + kw;
}

static uint32_t round_t2(const uint32_t v[8])
{
	uint32_t a = v[0];

	return (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) +
	       ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
}

static void round_step(uint32_t v[8], uint32_t kw)
{
	uint32_t t1 = round_t1(v, kw), t2 = round_t2(v);

	memmove(v + 1, v, 7 * sizeof(v[0]));
	v[0] = t1 + t2;
	v[4] += t1;
}

void kernel_job_init(struct kernel_job *job, const uint8_t header[static 80])
{
	/* W4 is the end mark, W15 the header's length of 640 bits. */
	uint32_t w[18] = {[4] = 0x80000000, [15] = 640};

	memset(job, 0, sizeof(*job));
	sha256d_midstate(header, job->mid);
	for (int i = 0; i < 3; i++) {
		memcpy(&w[i], header + 64 + 4 * i, 4);
		w[i] = __builtin_bswap32(w[i]);
		job->tail[i] = w[i];
	}
	w[16] = small0(w[1]) + w[0];
	w[17] = small1(w[15]) + small0(w[2]) + w[1];
	for (int t = 0; t < 18; t++)
		if (t != 3)
			job->kw[t] = sha256_k[t] + w[t];

	uint32_t v[8];

	memcpy(v, job->mid, sizeof(v));
	round_step(v, job->kw[0]);
	round_step(v, job->kw[1]);
	memcpy(job->pre2, v, sizeof(v));
	round_step(v, job->kw[2]);
	memcpy(job->pre3, v, sizeof(v));

	uint32_t t1 = round_t1(v, sha256_k[3]);

	job->a3 = t1 + round_t2(v);
	job->e3 = t1 + v[3];
	/* What is g, f, e before round 3 is h in rounds 4, 5, 6. */
	for (int i = 0; i < 3; i++)
		job->hkw[i] = v[6 - i] + job->kw[4 + i];

	job->w16 = w[16];
	job->w17 = w[17];
	job->w18 = small1(w[16]) + w[2];
	job->w19 = small1(w[17]) + small0(w[4]);
	job->w31 = small0(w[16]) + w[15];
	job->w32 = small0(w[17]) + w[16];
}

uint32_t kernel_mask(unsigned zero_bits)
{
	/* The displayed hash begins with the last digest byte: H7's lowest. */
	if (zero_bits >= 32)
		return 0xffffffff;
	if (zero_bits == 0)
		return 0;
	return __builtin_bswap32(0xffffffffu << (32 - zero_bits));
}

/* ---- the table, and the fastest ---- */

const struct kernel *kernel_list(size_t *n)
{
	*n = HN_COUNT(kernels);
	return kernels;
}

const struct kernel *kernel_find(const char *name)
{
	for (size_t i = 0; i < HN_COUNT(kernels); i++)
		if (strcmp(kernels[i].name, name) == 0)
			return &kernels[i];
	return NULL;
}

static pthread_once_t best_once = PTHREAD_ONCE_INIT;
static const struct kernel *best_scan = &kernels[0], *best_batch = &kernels[0];

static double seconds_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds per nonce. */
static double time_scan(const struct kernel *k, const struct kernel_job *job,
			uint64_t n)
{
	double start = seconds_now();
	uint32_t out[4];
	uint64_t next;

	k->scan(job, 0, n, 0xffffffff, out, HN_COUNT(out), &next);
	return (seconds_now() - start) / (double)n;
}

/* Seconds per message. */
static double time_batch(const struct kernel *k, const struct bytes *msgs,
			 size_t n, uint8_t (*out)[32], unsigned times)
{
	double start = seconds_now();

	for (unsigned i = 0; i < times; i++)
		k->batch(msgs, n, 1, out);
	return (seconds_now() - start) / (double)n / times;
}

/*
 * The best of some slices of about a millisecond, shorter than what the
 * system gives a thread at once: that one ran undisturbed. Wall time, since
 * what virtual machines count as CPU time may be too little. A first short
 * slice sets the amount of work, so that an emulator does not take long.
 */
static void best_measure(void)
{
	enum { TRIES = 4, MESSAGES = 64, LEAST = 1024 };
	const double slice = 0.001, budget = 0.15;
	static const uint8_t header[80] = {1};
	uint8_t(*out)[32] = xcalloc(MESSAGES, sizeof(*out));
	struct bytes msgs[MESSAGES];
	struct kernel_job job;
	double fast_scan = 0, fast_batch = 0, start = seconds_now();

	kernel_job_init(&job, header);
	for (size_t i = 0; i < MESSAGES; i++)
		msgs[i] = (struct bytes){header, 64};

	for (size_t i = 0; i < HN_COUNT(kernels); i++) {
		const struct kernel *k = &kernels[i];
		double scan, batch, t;

		if (!k->usable())
			continue;
		scan = time_scan(k, &job, LEAST);
		batch = time_batch(k, msgs, MESSAGES, out, 1);
		for (int try = 0; try < TRIES; try++) {
			if (seconds_now() - start > budget)
				break;
			t = time_scan(k, &job, 1 + (uint64_t)(slice / scan));
			scan = t < scan ? t : scan;
			t = time_batch(
			    k, msgs, MESSAGES, out,
			    1 + (unsigned)(slice / MESSAGES / batch));
			batch = t < batch ? t : batch;
		}
		if (!fast_scan || scan < fast_scan) {
			fast_scan = scan;
			best_scan = k;
		}
		if (!fast_batch || batch < fast_batch) {
			fast_batch = batch;
			best_batch = k;
		}
	}
	free(out);
}

const struct kernel *kernel_best(void)
{
	pthread_once(&best_once, best_measure);
	return best_scan;
}

const struct kernel *kernel_best_batch(void)
{
	pthread_once(&best_once, best_measure);
	return best_batch;
}
