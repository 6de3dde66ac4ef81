/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_SERVICE_TRUST_H
#define HN_MESH_SERVICE_TRUST_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/evidence.h"
#include "node/base/fields.h"
#include "node/base/identity.h"
#include "node/base/loop.h"
#include "node/base/store.h"

/*
 * Evidence against cheats (VER-09): kept on disk, given to members who ask,
 * handed to the other nodes of our owner or our private mesh, and taken from
 * anybody, because it proves itself: a node whose lie is proven here or
 * elsewhere gets no work from us any more. Loop thread only.
 */
struct job_proof;
struct mesh;

#define EVIDENCE_KEPT 1000 /* documents; fetched ones go first, then old */
#define EVIDENCE_KEPT_BYTES (UINT64_C(64) << 20)
#define EVIDENCE_KEPT_MS (UINT64_C(365) * 24 * 3600 * 1000)
#define EVIDENCE_PER_NODE 8 /* one is enough */
#define EVIDENCE_FETCHED 64 /* documents at once from one peer */

extern const struct store_schema evidence_schema[];
extern const size_t evidence_schema_count;

/* --- on the wire --- */

struct evidence_query {	  /* evidence.get */
	uint8_t node[32]; /* about whom; zero: anybody */
	uint64_t nth;	  /* of those, the newest first */
};
struct evidence_found {
	uint64_t total;
	struct bytes doc; /* evidence, packed; empty: no such nth */
};
struct evidence_given { /* evidence.put, evidence.add */
	struct bytes doc;
};
struct evidence_ref { /* evidence.show */
	char *id;     /* a prefix of 4 digits or more */
};
struct evidence_row {
	char *id;
	uint8_t node[32];
	char *name;
	char *lie;
	char *says;	/* the sentence */
	uint64_t at_ms; /* since when it is here */
	char *source;	/* here, FILE, or the name of the peer */
	bool fresh;	/* evidence.add: it was not known before */
};
struct evidence_list {
	struct list rows; /* evidence_row */
};
struct evidence_shown {
	struct evidence_row row;
	struct evidence_doc doc;
};
struct evidence_fetch {
	char *peer, *about; /* as peer_ref; about NULL: anybody */
};
struct evidence_fetched {
	uint64_t held;	  /* documents that it has */
	uint64_t refused; /* of those it gave: they prove nothing */
	struct list rows; /* those that do */
};
extern const struct message evidence_query_message, evidence_found_message,
    evidence_given_message, evidence_ref_message, evidence_row_message,
    evidence_list_message, evidence_shown_message, evidence_fetch_message,
    evidence_fetched_message;

/* --- inside the node --- */

/* Deletes what is beyond the limits. */
void service_trust_tidy(struct mesh *m);
struct ledger_answer;
/* The same with the answer at hand; NULL: it signed none. */
void service_trust_answer(struct mesh *m, const struct node_id *id,
			  const struct job_proof *proof,
			  const struct ledger_answer *answer);
/* Its lie was proven here: if its signed answer is there, a document is made,
 * kept and handed to the nodes of our owner. */
void service_trust_caught(struct mesh *m, const struct node_id *id,
			  const struct job_proof *proof);
/* The same of a document that lacks only version and lie; borrowed. */
void service_trust_found(struct mesh *m, struct evidence_doc *doc);

#endif
