/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * For tuning: scan and batch rates of the kernels named (all: none named), in
 * cycles of a chain of dependent multiplications (3 each), in rounds that
 * alternate between the kernels; the best round counts.
 */
#include "asic/kernel.h"
#include "node/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double ghz(void)
{
	enum { N = 20000000 };
	double start = now();
	unsigned long x = 3;

	for (int i = 0; i < N; i++) {
		x *= 0x9e3779b97f4a7c15;
		__asm__ volatile("" : "+r"(x));
	}
	return 3.0 * N / (now() - start) * 1e-9;
}

#define MSGS 2048

int main(int argc, char **argv)
{
	static uint8_t text[MSGS][1024], out[MSGS][32];
	static struct bytes msgs[MSGS];
	static double best[8][4];
	size_t n, sizes[] = {64, 1024};
	const struct kernel *list = kernel_list(&n);
	uint8_t header[80] = {1, 2, 3};
	struct kernel_job job;
	double clock = 0;

	kernel_job_init(&job, header);
	for (int round = 0; round < 7; round++) {
		double g = ghz();

		clock = g > clock ? g : clock;
		for (size_t i = 0; i < n; i++) {
			uint32_t hits[4];
			uint64_t next, count = 1000000;
			double t;

			if (!list[i].usable() ||
			    (argc > 1 && strcmp(argv[1], list[i].name)))
				continue;
			t = now();
			list[i].scan(&job, 0, count, 0xffffffff, hits, 4,
				     &next);
			t = (double)next / (now() - t);
			best[i][0] = t > best[i][0] ? t : best[i][0];
			for (int s = 0; s < 2; s++) {
				int times = s ? 10 : 100;

				for (int m = 0; m < MSGS; m++)
					msgs[m] =
					    (struct bytes){text[m], sizes[s]};
				t = now();
				for (int k = 0; k < times; k++)
					list[i].batch(msgs, MSGS, 1, out);
				t = MSGS * times / (now() - t);
				best[i][1 + s] =
				    t > best[i][1 + s] ? t : best[i][1 + s];
			}
		}
	}
	printf("%.2f GHz\n", clock);
	for (size_t i = 0; i < n; i++)
		if (best[i][0] > 0)
			printf(
			    "%-8s %-16s scan %6.2f MH/s %6.1f cycles"
			    "  64 B %6.2f M/s %6.1f  1 KiB %5.2f M/s %6.0f\n",
			    list[i].name, list[i].compiler, best[i][0] / 1e6,
			    clock * 1e9 / best[i][0], best[i][1] / 1e6,
			    clock * 1e9 / best[i][1], best[i][2] / 1e6,
			    clock * 1e9 / best[i][2]);
	return 0;
}
