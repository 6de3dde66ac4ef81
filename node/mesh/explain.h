/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_EXPLAIN_H
#define HN_MESH_EXPLAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/mesh/sched.h"

/*
 * Why a peer was given work of a job, or why not: the first of a list of
 * reasons that holds, from what keeps it away altogether to what only makes it
 * wait. Pure; the filters of a job's terms are sched.h's own.
 */
enum explain_contact {
	EXPLAIN_SESSION, /* there is one; ourselves, too */
	EXPLAIN_KNOWN,	 /* heard of, not dialled */
	EXPLAIN_DIALLING,
	EXPLAIN_RETRY, /* the dial failed, and is tried again */
	EXPLAIN_LOST,
	EXPLAIN_LEFT
};

/* All that is known of it; texts are lent and may be NULL. */
struct explain_facts {
	const char *cap; /* what the job needs */
	bool self;
	bool excluded;	     /* a rekey left it out of the mesh */
	const char *barred;  /* was proven to cheat: how */
	const char *refused; /* why its announcements are not taken */
	enum explain_contact contact;
	const char *contact_why;
	uint64_t retry_ms; /* until the next dial; 0: none is due */
	bool has_address;
	bool use_only;	     /* its role: works for nobody */
	bool learned;	     /* its offers are known */
	const char *instead; /* what it offers, where that is not cap */
	bool offers;	     /* cap */
	const char *paused;  /* its owner's limits hold it back: which */
	const char *dropped; /* from this job: why */
	const char *quarantine;
	int64_t clock_ms; /* its clock minus ours; 0: not known */

	const struct job_terms *terms;
	struct sched_candidate c;
	bool open;	/* the job is */
	bool pending;	/* there is work that nobody holds */
	bool others;	/* but it did that already */
	unsigned held;	/* units of this job in its hands */
	uint64_t units; /* it has ended */
};

struct explain_word {
	const char *code; /* "no-offer" */
	bool chosen;	  /* it has, had or gets work */
};
/* The sentence is appended. */
struct explain_word explain(const struct explain_facts *f, struct buf *text);

#endif
