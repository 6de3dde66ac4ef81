/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_NODE_CLI_VERBS_H
#define HN_NODE_CLI_VERBS_H

struct verb;

/* The rows of main.c's table, each beside the code that runs it. */

/* cli_up.c */
extern const struct verb verb_node, verb_up;
/* cli_node.c */
extern const struct verb verb_stop, verb_status, verb_id, verb_offer, verb_join,
    verb_leave, verb_topic_id, verb_version, verb_help;
/* cli_peer.c */
extern const struct verb verb_peers, verb_find, verb_dial, verb_ping, verb_info,
    verb_call;
/* cli_mesh.c */
extern const struct verb verb_invite, verb_mesh_rekey, verb_owner_show,
    verb_owner_export, verb_owner_import;
/* cli_job.c */
extern const struct verb verb_submit_search, verb_jobs, verb_job_show,
    verb_job_watch, verb_job_cancel;
/* cli_batch.c */
extern const struct verb verb_submit_batch;
/* cli_explain.c */
extern const struct verb verb_explain;
/* cli_hash.c */
extern const struct verb verb_hash;
/* cli_db.c */
extern const struct verb verb_db_check, verb_db_backup;
/* cli_receipt.c */
extern const struct verb verb_receipt_list, verb_receipt_show,
    verb_receipt_verify, verb_credits;
/* cli_trust.c */
extern const struct verb verb_evidence_list, verb_evidence_show,
    verb_evidence_verify, verb_evidence_add, verb_evidence_fetch, verb_pardon;
/* cli_bench.c */
extern const struct verb verb_bench_hash, verb_bench_rpc, verb_bench_peer;
/* cli_sim.c */
extern const struct verb verb_lab_simulate;
/* cli_lab.c */
extern const struct verb verb_lab_up, verb_lab_fault, verb_lab_watch,
    verb_lab_run, verb_lab_down;

#endif
