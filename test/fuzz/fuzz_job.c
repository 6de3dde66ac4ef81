/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a stranger can say about jobs: a submission of any bytes, and then a
 * worker's words of any bytes about the lease it was given. However it lies,
 * the coordinator's answers stay inside their limits and every nonce is in
 * one place.
 *
 * The first byte is the length of the submission; the rest are words:
 * a kind, a lease, a prefix, and a list of shares as on the wire.
 */
#include "test/fuzz/fuzz.h"

#include "node/base/buf.h"
#include "node/mesh/job.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CAP "hash/sha256d"
#define LEASES 16
#define WORDS 64

struct given {
	uint64_t id;
	struct scan_work work;
};

struct desk {
	struct given leases[LEASES];
	uint64_t checks[LEASES];
	size_t n, nchecks;
	uint64_t draws;
};

static uint64_t on_random(void *arg)
{
	struct desk *d = arg;

	return ++d->draws * 0x9e3779b97f4a7c15u;
}

static enum err on_assign(void *arg, const struct lease *l)
{
	struct desk *d = arg;

	struct given *g = &d->leases[d->n++ % LEASES];

	g->id = l->id;
	lease_scan(l, &g->work);
	assert(scan_work_check(&g->work) == OK);
	return OK;
}

static void on_id(void *arg, uint64_t id)
{
	(void)arg;
	assert(id);
}

static enum err on_rescan(void *arg, uint64_t id, const struct scan_work *w)
{
	struct desk *d = arg;

	assert(scan_work_check(w) == OK);
	d->checks[d->nchecks++ % LEASES] = id;
	return OK;
}

static void on_bad(void *arg, const struct node_id *id,
		   const struct job_proof *proof, const char *why)
{
	(void)arg;
	(void)id;
	(void)proof;
	assert(strlen(why) > 0);
}

static void on_changed(void *arg, const char *job, bool ended)
{
	(void)arg;
	(void)job;
	(void)ended;
}

static const struct jobs_ops ops = {
    .random = on_random,
    .assign = on_assign,
    .revoke = on_id,
    .rescan = on_rescan,
    .rescan_cancel = on_id,
    .peer_bad = on_bad,
    .changed = on_changed,
};

/* The reference hash would be most of the time. */
static void judge(void *arg, const uint8_t header[static HEADER_SIZE],
		  uint32_t nonce, uint8_t digest[static 32])
{
	(void)arg;
	memcpy(digest, header, 32);
	put_le32(digest + 28, nonce * 0x9e3779b1u);
}

static void look(struct jobs *j, const char *id, uint64_t now)
{
	struct arena a = {0};
	struct buf wire = {0};
	struct job_info info, again;
	const enum err e = jobs_info(j, id, JOB_UNITS, now, &a, &info);

	assert(!e);
	assert(info.hashes <= info.end - info.start);
	fields_pack(&job_info_message, &info, &wire);
	const enum err back =
	    fields_unpack(&job_info_message, wire.p, wire.n, &a, &again);
	assert(!back);
	buf_release(&wire);
	arena_release(&a);
}

/* At most so many shares: each costs a hash. */
static size_t read_shares(struct reader *r, uint32_t *out, size_t max)
{
	size_t n = read_u8(r);

	if (n > max)
		n = max;
	for (size_t i = 0; i < n; i++)
		out[i] = read_be32(r);
	return n;
}

static void word(struct desk *d, struct jobs *j, struct reader *r,
		 uint64_t *now)
{
	const uint8_t kind = read_u8(r);
	const struct given *l = &d->leases[read_u8(r) % LEASES];
	const uint64_t below = l->work.start + read_be32(r);
	struct worker_offer o = {.slots = 1 + kind / 64};
	uint32_t shares[256];
	const size_t n = read_shares(r, shares, 256);

	*now += kind;
	/* Shares near the lease's start are likelier to be believed. */
	if (kind & 8)
		for (size_t i = 0; i < n; i++)
			shares[i] =
			    (uint32_t)(l->work.start + shares[i] % 4096);
	memset(o.id.b, kind >> 6, sizeof(o.id.b));
	switch (kind % 8) {
	case 0:
	case 1:
		jobs_progress(j, l->id, below, shares, n, *now);
		break;
	case 2:
		jobs_progress(j, l->id, l->work.end, shares, n, *now);
		break;
	case 3:
		jobs_lease_end(j, l->id, n ? ERR_BUSY : OK, below, *now);
		break;
	case 4:
		jobs_rescan_end(j, d->checks[kind / 8 % LEASES],
				n == 1 ? ERR_DEVICE : OK, shares, n, *now);
		break;
	case 5:
		o.rate = below;
		jobs_worker(j, CAP, &o, *now);
		break;
	case 6:
		jobs_worker_gone(j, CAP, &o.id, *now);
		break;
	case 7:
		jobs_tick(j, *now += 10 * n);
		break;
	}
}

static void run(const struct search_spec *s, struct reader *r)
{
	struct desk d = {0};
	struct buf why = {0};
	struct node_id self;
	struct worker_offer o = {.rate = 1000000};
	uint64_t now = 1;
	char id[JOB_ID_SIZE];

	memset(&self, 0xee, sizeof(self));
	memset(&o.id, 0, sizeof(o.id));
	struct jobs *j = jobs_new(&ops, &d, &self);
	jobs_set_judge(j, judge, NULL);
	if (!jobs_submit_search(j, s, now, &why, id)) {
		jobs_worker(j, CAP, &o, now);
		jobs_tick(j, now);
		for (int i = 0; i < WORDS && reader_left(r); i++)
			word(&d, j, r, &now);
		look(j, id, now);
	} else {
		assert(why.n);
	}
	buf_release(&why);
	jobs_free(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_of(data, size);
	struct arena a = {0};
	struct search_spec s;
	const size_t n = read_u8(&r);

	if (reader_left(&r) < n)
		return 0;
	const uint8_t *spec = read_bytes(&r, n);
	if (!fields_unpack(&search_spec_message, spec, n, &a, &s))
		run(&s, &r);
	arena_release(&a);
	return 0;
}
