/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A saved job of any bytes, as a damaged database may hold: refused with a
 * sentence, or taken up with books that hold, and then saved and restored the
 * same.
 */
#include "test/fuzz/fuzz.h"

#include "node/base/buf.h"
#include "node/mesh/job_save.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static uint64_t on_random(void *arg)
{
	uint64_t *draws = arg;

	return ++*draws * 0x9e3779b97f4a7c15u;
}

static enum err on_assign(void *arg, const struct lease *l)
{
	struct scan_work work;

	(void)arg;
	lease_scan(l, &work);
	assert(scan_work_check(&work) == OK);
	return OK;
}

static void on_id(void *arg, uint64_t id)
{
	(void)arg;
	(void)id;
}

static enum err on_rescan(void *arg, uint64_t id, const struct scan_work *w)
{
	(void)arg, (void)id, (void)w;
	return ERR_DEVICE;
}

static void on_bad(void *arg, const struct node_id *id,
		   const struct job_proof *proof, const char *why)
{
	(void)arg, (void)id, (void)proof, (void)why;
}

static void on_changed(void *arg, const char *job, bool ended)
{
	(void)arg, (void)job, (void)ended;
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

/* Many nonces hit, so that lists of hits get far. */
static void judge(void *arg, const uint8_t header[static HEADER_SIZE],
		  uint32_t nonce, uint8_t digest[static 32])
{
	(void)arg;
	memcpy(digest, header, 32);
	put_le32(digest + 28, nonce * 0x9e3779b1u);
}

static struct jobs *begin(uint64_t *draws)
{
	struct node_id self;

	memset(&self, 0xee, sizeof(self));
	struct jobs *j = jobs_new(&ops, draws, &self);
	jobs_set_judge(j, judge, NULL);
	return j;
}

static void look(struct jobs *j, const char *id)
{
	struct arena a = {0};
	struct buf wire = {0};
	struct job_info info, again;
	const enum err e = jobs_info(j, id, JOB_UNITS, 7, &a, &info);

	assert(!e);
	assert(info.hashes <= info.end - info.start);
	fields_pack(&job_info_message, &info, &wire);
	const enum err back =
	    fields_unpack(&job_info_message, wire.p, wire.n, &a, &again);
	assert(!back);
	buf_release(&wire);
	arena_release(&a);
}

/* Somebody does some of what is left. */
static void go_on(struct jobs *j, const char *id)
{
	struct worker_offer o = {.rate = 1000000};

	memset(o.id.b, 1, sizeof(o.id.b));
	jobs_worker(j, "hash/sha256d", &o, 7);
	jobs_tick(j, 8);
	jobs_worker_gone(j, "hash/sha256d", &o.id, 9);
	look(j, id);
	const enum err e = jobs_cancel(j, id, 10);
	assert(!e);
	look(j, id);
	jobs_forget(j, id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t draws = 0;
	struct buf why = {0}, saved = {0}, again = {0};
	struct jobs *one = begin(&draws), *two = begin(&draws);
	char id[JOB_ID_SIZE], same[JOB_ID_SIZE];

	if (jobs_restore(one, data, size, 7, &why, id)) {
		assert(why.n);
	} else {
		look(one, id);
		enum err e = jobs_save(one, id, 7, &saved);
		assert(!e && saved.n <= JOB_SAVED_MAX);
		e = jobs_restore(two, saved.p, saved.n, 7, &why, same);
		assert(!e && !strcmp(id, same));
		e = jobs_save(two, id, 7, &again);
		assert(!e && saved.n == again.n &&
		       !memcmp(saved.p, again.p, saved.n));
		go_on(two, id);
	}
	buf_release(&why);
	buf_release(&saved);
	buf_release(&again);
	jobs_free(one);
	jobs_free(two);
	return 0;
}
