/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_JOURNAL_H
#define HN_MESH_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/err.h"
#include "node/base/loop.h"
#include "node/base/store.h"

/*
 * Jobs on disk: two tables of the store, brought up to date while jobs run
 * and read at the start (decision D17). A row is a job as jobs_save packs it,
 * with a checksum, since SQLite's pages have none. Loop thread only.
 *
 * At once: a submission, a hit, a dropped peer, an end. Lazily, every second
 * at most: progress; what was done after the last save is done again after a
 * crash. A job's end is told to people when it is on disk, not before.
 */
struct journal;
struct jobs;

/* What ended is remembered for so long, and so much of it; the count is
 * JOB_MAX_KEPT. The oldest go first. */
#define JOURNAL_KEPT_MS (UINT64_C(30) * 24 * 3600 * 1000)
#define JOURNAL_KEPT_BYTES (UINT64_C(64) << 20)
/* A record that cannot be read is kept aside for so long. */
#define JOURNAL_ASIDE_MS JOURNAL_KEPT_MS

extern const struct store_schema journal_schema[];
extern const size_t journal_schema_count;

/* ended: this job's end is on disk, or (said in the log) cannot be. */
typedef void (*journal_ended_fn)(void *arg, const char *job);
struct journal *journal_new(struct loop *l, struct store *s, struct jobs *j,
			    journal_ended_fn ended, void *arg);

/*
 * Restores what the tables hold; done once, before any job is submitted. A
 * job whose record is damaged is left out, said in the log and in
 * journal_trouble, and set aside. An error: the tables cannot be read or
 * written.
 */
typedef void (*journal_load_fn)(void *arg, enum err e, const char *text);
void journal_load(struct journal *j, journal_load_fn done, void *arg);

/* A new job; done when it is on disk, or with the reason why not. */
typedef void (*journal_done_fn)(void *arg, const char *job, enum err e,
				const char *text);
void journal_submitted(struct journal *j, const char *job, journal_done_fn done,
		       void *arg);
/* As jobs_ops.changed and .peer_bad say; may be called from them. */
void journal_changed(struct journal *j, const char *job, bool ended);
void journal_dropped(struct journal *j);

/* A write of this job has reached the disk. */
typedef void (*journal_saved_fn)(void *arg, const char *job);
void journal_on_saved(struct journal *j, journal_saved_fn fn, void *arg);
/* done when the job as it is now is on disk; not within this call. */
void journal_flush(struct journal *j, const char *job, journal_done_fn done,
		   void *arg);

/* false: it has ended, but its end is not on disk yet. */
bool journal_final(const struct journal *j, const char *job);
/* done when it is, soon in any case; not within this call. */
void journal_when_final(struct journal *j, const char *job,
			journal_done_fn done, void *arg);

/* A sentence for `status`, or NULL. */
const char *journal_trouble(const struct journal *j);

/* Saves all that is open as it is now; waiting ones hear ERR_GONE; the
 * coordinator is not used any more. */
void journal_stop(struct journal *j);
/* No statement of it may be waiting in the store. NULL is fine. */
void journal_free(struct journal *j);

/* The checksum of a row. */
#define JOURNAL_SUM_SIZE 16
void journal_sum(const char *id, const void *p, size_t n,
		 uint8_t sum[static JOURNAL_SUM_SIZE]);

#endif
