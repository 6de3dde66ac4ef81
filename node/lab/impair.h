/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_LAB_IMPAIR_H
#define HN_LAB_IMPAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"

/*
 * What is wrong with a network: loss, delay, little bandwidth, partitions.
 * One struct for all nodes of a lab; nodes are numbered from 0. Pure: time is
 * an argument (microseconds of any clock that does not go back), chance comes
 * from a seed.
 */
#define LAB_NODES_MAX 64

/* A segment of a stream that is lost comes after another round trip; no
 * sooner than this, as of a sender that waits for its timer now and then. */
#define IMPAIR_STALL_US 50000
#define IMPAIR_SEGMENT 1448
/* What an uplink holds back before it drops packets. */
#define IMPAIR_BACKLOG_US 1000000

struct impair {
	uint64_t rng;
	unsigned loss;	    /* packets in a thousand */
	uint64_t delay_us;  /* one way; and a tenth of it more or less */
	uint64_t bandwidth; /* bytes a second of each node's uplink; 0: any */
	struct impair_node {
		unsigned group;	  /* nodes of one group hear each other */
		uint64_t busy_us; /* its uplink is busy until then */
	} nodes[LAB_NODES_MAX];
	uint64_t packets, lost; /* seen since the start */
};

void impair_init(struct impair *im, uint64_t seed);

/* Do they stand on the same side of every cut? */
bool impair_joined(const struct impair *im, size_t a, size_t b);

/* A packet of n bytes leaves at now: when it arrives, or false. */
bool impair_packet(struct impair *im, size_t from, size_t to, size_t n,
		   uint64_t now_us, uint64_t *due_us);

/* Bytes of a stream leave at now: when they arrive. They are late where a
 * packet would be lost. Cuts are the caller's to look at. */
uint64_t impair_stream(struct impair *im, size_t from, size_t n,
		       uint64_t now_us);

/* Packets under way, in the order of their arrival. */
struct parcel {
	struct parcel *prev, *next;
	uint64_t due_us;
	size_t from, to, n;
	uint8_t bytes[];
};
#define PARCELS_MAX 4096 /* more are dropped, as a full queue does */
struct parcels {
	struct parcel *head;
	size_t n;
};
/* Copies the bytes; false: full. */
bool parcels_put(struct parcels *q, uint64_t due_us, size_t from, size_t to,
		 const void *p, size_t n);
/* The next that is due, the caller's to free; or NULL. */
struct parcel *parcels_take(struct parcels *q, uint64_t now_us);
/* Of the first; false: there is none. */
bool parcels_due(const struct parcels *q, uint64_t *due_us);
void parcels_release(struct parcels *q);

#endif
