/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The device without a mesh, for scripts/bench mesh: scans nonces [START, END)
 * of block 125552's header on one thread of the software device, in units of
 * about a second as a worker gets them, with no one to talk to. Prints the
 * hashes and the seconds.
 *
 *	bench_scan START END SHARE_BITS UNIT
 */
#include "asic/asic.h"
#include "node/base/buf.h"
#include "node/base/loop.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char header_125552[] =
    "0100000081cd02ab7e569e8bcd9317e2fe99f2de44d49ab2b8851ba4a30800000000"
    "0000e320b6c2fffc8d750423db8b1eb942ae710e951ed797f7affc8892b0f1fc122b"
    "c7f5d74df2b9441a42a14695";

struct run {
	struct loop *loop;
	struct asic *asic;
	struct scan_work work; /* what is left of it */
	uint64_t unit, hashes, shares;
	unsigned open;
	enum err failed;
};

static void on_stopped(void *arg)
{
	struct run *r = arg;

	loop_stop(r->loop);
}

static void on_progress(void *arg, uint64_t below, const uint32_t *shares,
			size_t n)
{
	struct run *r = arg;

	(void)below;
	(void)shares;
	r->shares += n;
}

static void feed(struct run *r);

static void on_done(void *arg, enum err e, uint64_t hashes)
{
	struct run *r = arg;

	r->hashes += hashes;
	r->open--;
	if (e)
		r->failed = e;
	feed(r);
	if (!r->open)
		asic_stop(r->asic, on_stopped, r);
}

/* Two units are with the device, as with a worker's. */
static void feed(struct run *r)
{
	static const struct asic_scan_ops ops = {on_progress, on_done};
	struct asic_scan *scan;

	while (!r->failed && r->open < 2 && r->work.start < r->work.end) {
		struct scan_work w = r->work;
		if (w.end - w.start > r->unit)
			w.end = w.start + r->unit;
		r->failed =
		    asic_scan_start(r->asic, &w, ASIC_OWN, &ops, r, &scan);
		if (!r->failed)
			r->open++;
		r->work.start = w.end;
	}
}

int main(int argc, char **argv)
{
	struct run r = {0};
	struct buf why = {0};

	if (argc != 5) {
		fprintf(stderr,
			"usage: bench_scan START END SHARE_BITS UNIT\n");
		return 64;
	}
	r.work.start = strtoull(argv[1], NULL, 10);
	r.work.end = strtoull(argv[2], NULL, 10);
	r.work.share_bits = strtoull(argv[3], NULL, 10);
	r.unit = strtoull(argv[4], NULL, 10);
	enum err e = header_parse(header_125552, sizeof(header_125552) - 1,
				  r.work.header, &why);
	if (!e)
		e = scan_work_check(&r.work);
	if (e || !r.unit) {
		fprintf(stderr, "bench_scan: not a range, or no unit\n");
		return 64;
	}
	r.loop = loop_new();
	struct asic_options o = {.loop = r.loop, .threads = 1};
	e = asic_new(&o, &why, &r.asic);
	if (e) {
		fprintf(stderr, "bench_scan: %s\n", buf_str(&why));
		return err_exit(e);
	}
	uint64_t began = clock_ns();
	feed(&r);
	if (!r.open)
		asic_stop(r.asic, on_stopped, &r);
	loop_run(r.loop);
	printf("%" PRIu64 " hashes %" PRIu64 " shares %.3f s\n", r.hashes,
	       r.shares, (double)(clock_ns() - began) * 1e-9);
	loop_free(r.loop);
	buf_release(&why);
	return err_exit(r.failed);
}
