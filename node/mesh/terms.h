/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_TERMS_H
#define HN_MESH_TERMS_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/fields.h"
#include "node/base/identity.h"

/*
 * What every job may ask of those who do it, whatever its kind: how long it
 * waits for them, how they are checked, who may be one and who gets how much.
 * Embedded in each kind's spec; all zero is "no conditions". Pure.
 */
enum balance {
	BALANCE_RATE,	     /* by measured rate, score and load */
	BALANCE_ROUND_ROBIN, /* equal units, one after the other */
	BALANCE_LEAST_BUSY,  /* to those that have most to spare */
	BALANCE_RANDOM,	     /* to anybody, drawn */
	BALANCE_COUNT
};
const char *balance_str(enum balance b); /* "rate", "round-robin", ... */
bool balance_parse(const char *text, enum balance *out);

#define TERMS_REPLICAS_MAX 8
#define TERMS_REPLICA_SAMPLE 8 /* of no strangers, one unit in so many */
#define TERMS_REGION_MAX 32    /* bytes */
#define PERMILLE 1000

struct job_terms {
	uint64_t wait_ms;	 /* nobody to do it for so long: ERR_NOPEER;
				  * 0 is no waiting at all, at most 7 days */
	uint64_t check_permille; /* re-scan budget: share of one core; the
				  * open jobs share it out among them */
	uint64_t replicas; /* 0: as trust demands; else each unit so often */
	uint64_t balance;  /* enum balance */
	uint64_t min_rate; /* H/s; 0: any */
	bool hardware;	   /* only devices made for it */
	char *region;	   /* as its offers say; NULL or "": any */
	uint64_t trust;	   /* least score, permille */
	uint64_t
	    max_price; /* credits per 2^32 hashes or 2^20 digests; 0: any */
	struct bytes backup; /* node id of the one that takes over; none */
};

/* The rows of a spec's table for its `struct job_terms terms`, last in it:
 * what is appended here is appended to every kind. */
#define JOB_TERMS_U64(s, m, max, doc) \
	{ \
#m, FIELD_T_U64, offsetof(s, terms.m), max, NULL, doc, 0 \
	}
#define JOB_TERMS_FIELDS(s) \
	JOB_TERMS_U64(s, wait_ms, 0, \
		      "how long to wait for somebody to do it"), \
	    JOB_TERMS_U64(s, check_permille, 0, \
			  "re-scan budget in thousandths of one core"), \
	    JOB_TERMS_U64(s, replicas, 0, \
			  "each unit by so many peers, 1 to 8; 0: as their " \
			  "trust demands"), \
	    JOB_TERMS_U64(s, balance, 0, \
			  "who gets how much: 0 by rate, 1 round-robin, 2 " \
			  "least-busy, 3 random"), \
	    JOB_TERMS_U64(s, min_rate, 0, "least H/s of a peer"), \
	    {"hardware", FIELD_T_BOOL, offsetof(s, terms.hardware), \
	     0,		 NULL,	       "only devices made for it", \
	     0}, \
	    {"region", \
	     FIELD_T_STR, \
	     offsetof(s, terms.region), \
	     TERMS_REGION_MAX, \
	     NULL, \
	     "only peers of this region", \
	     0}, \
	    JOB_TERMS_U64(s, trust, 0, "least score of a peer, permille"), \
	    JOB_TERMS_U64(s, max_price, 0, \
			  "most credits for 2^32 hashes or 2^20 digests; " \
			  "0: any"), \
	{ \
		"backup", FIELD_T_OPT_FIXED, offsetof(s, terms.backup), \
		    NODE_ID_SIZE, NULL, "node that finishes it without us", 0 \
	}

/* As people are shown them. */
struct terms_shown {
	char *balance;
	uint64_t min_rate;
	bool hardware;
	char *region; /* NULL: any */
	double trust; /* 0..1 */
	uint64_t max_price;
	uint64_t replicas; /* 0: as trust demands */
};
extern const struct message terms_shown_message;
void terms_show(const struct job_terms *t, struct arena *a,
		struct terms_shown *out);

/* ERR_INPUT with a sentence. */
enum err job_terms_check(const struct job_terms *t, struct buf *why) HN_CHECK;

#endif
