/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_MESH_IMPL_H
#define HN_MESH_MESH_IMPL_H

#include "node/base/identity.h"
#include "node/mesh/mesh.h"
#include "node/mesh/methods.h"
#include "node/mesh/wire.h"
#include "rpc/rpc.h"

/*
 * What the files of this folder share: the composition. Each service is one
 * file with both halves of its methods: the call half (ask a node) and the
 * serve half (answer one); a table of rows; and a struct of its own for its
 * state, made by x_new(m) and ended by x_stop. serve's arg is struct mesh *.
 */
struct asic;
struct backup;
struct discovery;
struct enrol;
struct invites;
struct jobs;
struct lending;
struct journal;
struct membership;
struct offers;
struct peers;
struct service_digest;
struct service_hash;
struct service_job;
struct ledger;
struct ledger_answer;
struct replay;
struct service_node;
struct service_site;
struct service_receipt;
struct standing;
struct start;
struct topics;

struct mesh {
	struct mesh_options o; /* strings copied */
	struct loop *loop;
	struct store *store;
	const struct identity *me;
	uint8_t boot_id[8];
	uint64_t started_ms; /* loop_ms */

	struct membership *membership;
	struct rpc *rpc;
	struct discovery *discovery; /* NULL: off, or changing the mesh */
	struct peers *peers;
	struct topics *topics;
	struct invites *invites;
	struct asic *asic;
	struct offers *offers;
	struct lending *lending;
	struct service_site *service_site;
	struct jobs *jobs;
	struct journal *journal;   /* of the jobs */
	struct standing *standing; /* of the peers */
	struct backup *backup;	   /* of the jobs, elsewhere */
	struct service_job *service_job;
	struct service_hash *service_hash;
	struct service_digest *service_digest;
	struct service_node *service_node;
	struct ledger *ledger; /* receipts */
	struct replay *replay; /* leases served before */
	struct service_receipt *service_receipt;
	struct start *start; /* mesh.c, while it starts */
	struct enrol *enrol; /* enrol.c, while it joins with an invite */

	uint16_t port, dht_port;
	char *control; /* path of the control socket */
	bool stopping;

	/* What we say of ourselves. */
	struct strs address, dht_address; /* announced; host:port */
	uint64_t suites, cores, ram_mib;
	char *cpu;
	uint64_t last_seq; /* of records */
	int64_t clock_ms;  /* median of the peers' clocks minus ours (D18) */

	/* What is wrong, for status; sentences, NULL when all is well. */
	struct trouble {
		char *
		    unreachable; /* an address of ours that peers cannot dial */
		char *copied_key;
		char *discovery;
		char *left_out;	 /* a member says that we are */
		bool no_inbound; /* nobody can dial us, as far as we know */
	} trouble;
	bool said_alone, said_left_out;
	bool switching; /* discovery stops, to start in another mesh */
	loop_fn stopped;
	void *stopped_arg;
};

/* --- mesh.c: what the others need of the whole --- */

/* Our wall clock, or the peers' when ours is off (D18); for expiries. */
uint64_t mesh_now_ms(const struct mesh *m);
void mesh_set_clock(struct mesh *m, int64_t median);
/* Can others reach us, as far as we know? */
bool mesh_dialable(const struct mesh *m);
/* all: whoever says so could not dial any of our addresses. */
void mesh_set_unreachable(struct mesh *m, const char *address,
			  const char *error, const char *by, bool all);
void mesh_offers(const struct mesh *m, struct arena *a, struct list *out);
void mesh_tick(struct mesh *m); /* every few seconds */
/* What a member says when it refuses one that a rekey left out; that one
 * tells its owner (log, status) until a session opens. */
#define LEFT_OUT "left out of the mesh"
void mesh_left_out(struct mesh *m, const char *by);
void mesh_let_in(struct mesh *m);
/* The membership is another one now: leaves the old mesh and goes on in the
 * new one. */
void mesh_switched(struct mesh *m);
/* A rekey was applied: new keys for discovery. */
void mesh_rekeyed(struct mesh *m);

/* --- enrol.c --- */

/* Joins by an invite's word (m->o.join) before any port is open; done on the
 * loop. OK also when we are in that mesh already. */
typedef void (*enrol_done_fn)(struct mesh *m, enum err e, const char *text);
void enrol_start(struct mesh *m, enrol_done_fn done);
void enrol_free(struct mesh *m);
/* While it runs: the keys of handshakes. */
void enrol_creds(const struct mesh *m, struct session_creds *out);

/* --- status.c --- */

void status_reasons(const struct mesh *m, struct arena *a, struct strs *out);
void status_fill(struct mesh *m, struct arena *a, struct node_status *out);

/* --- service_node.c --- */

struct service_node *service_node_new(struct mesh *m);
void service_node_stop(struct service_node *s); /* ends look-ups, frees */
void node_info_fill(struct mesh *m, struct arena *a, struct node_info *out);

/* --- peers.c tells the job side who can work (m->service_job) --- */

/* A worker appeared or its numbers changed: it has a session, offers cap
 * (lent), has not paused it and is not in role `use`. Called for our own
 * node, too (offers). */
void service_job_worker(struct mesh *m, const struct cap_info *cap,
			const struct node_id *id, uint64_t rtt_us);
void service_job_worker_gone(struct mesh *m, const char *cap,
			     const struct node_id *id);

/* --- the job side tells peers.c --- */

/* Work of this capability is wanted: follow its topic, dial who offers it,
 * publish `want/` + cap while this holds (D8); false ends it. */
void peers_want(struct peers *p, const char *cap, bool wanted);
/* Failed a proof or is suspect: no work, listed as dropped with why; proof:
 * its session is closed, too. */
void peers_drop(struct peers *p, const struct node_id *id, bool proof,
		const char *why);
/* One that was dropped may work again. */
void peers_readmit(struct peers *p, const struct node_id *id);

/* --- service_job.c uses service_hash.c's call half --- */

struct lease;
struct scan_work;
/* Sends the lease to its worker, ourselves included; its news go to
 * jobs_progress and jobs_lease_end of m->jobs. */
enum err service_hash_assign(struct mesh *m, const struct lease *l) HN_CHECK;
void service_hash_revoke(struct mesh *m, uint64_t lease_id);
enum err service_hash_rescan(struct mesh *m, uint64_t check_id,
			     const struct scan_work *w) HN_CHECK;
void service_hash_rescan_cancel(struct mesh *m, uint64_t check_id);
struct service_hash *service_hash_new(struct mesh *m);
/* Cancels all; done on the loop when nothing of it is in flight. */
void service_hash_stop(struct service_hash *s, loop_fn done, void *arg);
/* The offer ended: units worked on for others are stopped and refused as
 * busy; what they had done is kept by their submitters. */
void service_hash_withdraw(struct mesh *m);
/* Units being worked on for others now (for `free` in records). */
unsigned service_hash_busy(const struct service_hash *s);

/* --- service_receipt.c --- */

struct service_receipt *service_receipt_new(struct mesh *m);
void service_receipt_stop(struct service_receipt *s);
/* What is on disk, once; done on the loop with m. */
void service_receipt_load(struct mesh *m, void (*done)(void *arg, enum err e,
						       const char *text));
void service_receipt_up(struct mesh *m, struct session *s);
void service_receipt_down(struct mesh *m, struct session *s);
/* Whose node that is, by the certificate that it showed; its own without. */
void service_receipt_owner(const struct session *s, struct node_id *out);
/* Is that a node of our owner? A node without an owner has no other. */
bool service_receipt_ours(const struct mesh *m, const struct session *s);
/* May this caller have this lease worked on? Asked once, last of all: what it
 * refuses (a replay; more than credit.limit owed) has failed when it returns
 * false. */
bool service_receipt_admit(struct mesh *m, struct rpc_stream *st,
			   const char *job, uint64_t lease);
/* We sign this answer and reply with it (kinds and texts: receipt.h). */
void service_receipt_served(struct mesh *m, struct rpc_stream *st,
			    const char *kind, struct bytes text,
			    const uint8_t sig[static 64]);
/* A peer's lease ended well and its signature is good; all but the owner is
 * filled in. */
void service_receipt_answered(struct mesh *m, struct ledger_answer *a);

/* --- service_job.c uses service_digest.c's call half --- */

/* The same for leases of batch jobs, and the files of those. */
enum err service_digest_assign(struct mesh *m, const struct lease *l) HN_CHECK;
void service_digest_revoke(struct mesh *m, uint64_t lease_id);
/* jobs_ops.finish. */
void service_digest_finish(struct mesh *m, const char *job, const void *spec);
/* The job has ended; and that is on disk. Other kinds are left alone. */
void service_digest_ended(struct mesh *m, const char *job);
void service_digest_final(struct mesh *m, const char *job);
struct service_digest *service_digest_new(struct mesh *m);
void service_digest_stop(struct service_digest *s, loop_fn done, void *arg);
/* The jobs of an earlier start are here. */
void service_digest_resume(struct mesh *m);
void service_digest_withdraw(struct mesh *m);

struct service_job *service_job_new(struct mesh *m);
/* Saves all open jobs, which go on at the next start; ends all watchers. */
void service_job_stop(struct service_job *s);
/* The node is ready: jobs of an earlier start go on, and the clock of all
 * that waits. */
void service_job_resume(struct mesh *m);

#endif
