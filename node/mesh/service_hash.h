/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_SERVICE_HASH_H
#define HN_MESH_SERVICE_HASH_H

#include <stdbool.h>
#include <stdint.h>

/*
 * hash.search and hash.batch, both halves of each (service_hash.c,
 * service_batch.c). What other files of this folder call of them is declared
 * in mesh_impl.h; this is what the two and service_job.c share.
 */
struct mesh;
struct rpc_stream;

/* Whose work the device does for this stream: see asic_scan_start. */
uint64_t work_client(struct rpc_stream *st);

/* The serve half of hash.batch; over the control socket it may name a peer,
 * then this node passes the stream on. */
void serve_batch(struct rpc_stream *st, const void *request, void *arg);

/* The coordinator has news: run jobs_tick soon (once per loop round). */
void service_job_kick(struct mesh *m);

struct ledger_answer;
/* A lease that was just revoked, because what it told proves a lie: its end is
 * waited for, for the signature, 5 s at most. True: heard comes once, with the
 * answer or with NULL, perhaps while the node stops. */
typedef void (*service_hash_heard_fn)(void *arg,
				      const struct ledger_answer *answer);
bool service_hash_hear(struct mesh *m, uint64_t lease_id,
		       service_hash_heard_fn heard, void *arg);

#endif
