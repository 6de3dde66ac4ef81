/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_SCORE_H
#define HN_MESH_SCORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/fields.h"

/*
 * What we think of one peer: a number from 0 to 1 with its reasons, and
 * whether it may be given work. Pure. Time is wall-clock time, ms since 1970,
 * so that a score fades while this node is off; it may jump back, which fades
 * nothing and never lengthens a quarantine.
 *
 * The number is (2 + good) / (4 + good + bad): 0.5 for a stranger. An event
 * adds its weight to one of the two masses, which together stay below
 * SCORE_MASS (the older part gives way, so that a peer that was good for a
 * year and turns bad is seen within a hundred events) and which lose half in
 * each half-life. The counts per reason only fade.
 *
 * Who may work: NEW (a stranger, or one of whom nothing is left but a faded
 * memory) and TRUSTED. After `failures` in a row a peer is
 * QUARANTINED: nothing for `delay`, which doubles each time, then probes. The
 * first clean one makes it PROBATION, still with no work but probes; after
 * `clean` of them it is TRUSTED. Any failure on the way is the next
 * quarantine. A proven cheat is BARRED for good: only score_pardon, which a
 * person asks for, ends that.
 */
enum score_event {
	/* good */
	SCORE_UNIT,  /* a unit done, its answer signed */
	SCORE_PIECE, /* a piece of it, scanned again, was right */
	SCORE_PROBE, /* a range whose answer we knew was answered rightly */
	/* neither a failure nor a merit: a lender may */
	SCORE_BUSY, /* it gave a unit back */
	/* failures */
	SCORE_GONE,   /* its session ended under a unit */
	SCORE_SILENT, /* it said nothing of a unit */
	SCORE_FAILED, /* its device or its answer failed */
	SCORE_MISSED, /* a probe came to no answer in time */
	/* for which it gets no work at all */
	SCORE_SUSPECT, /* figures that chance does not make */
	SCORE_PROOF,   /* a lie that anybody can check */
	SCORE_EVENTS
};
const char *score_event_str(enum score_event e);
/* What the end of a lease is. */
enum score_event score_event_of(enum err e);

enum score_state {
	SCORE_NEW,
	SCORE_TRUSTED,
	SCORE_QUARANTINED,
	SCORE_PROBATION,
	SCORE_BARRED
};
const char *score_state_str(enum score_state s);

/* Settings, one for all peers. */
struct score_rules {
	uint64_t half_life_ms;
	unsigned failures; /* in a row */
	unsigned clean;	   /* probes until it is trusted again */
	uint64_t delay_ms, delay_max_ms;
};
extern const struct score_rules score_rules_default;

#define SCORE_MASS 100.0
/* Failures within so short a time are one: a session ends under two units. */
#define SCORE_SAME_MS 1000

/* Zero-initialised is a stranger. */
struct score {
	uint64_t at; /* faded up to here */
	double good, bad;
	double count[SCORE_EVENTS];
	enum score_state state;
	enum score_event why; /* of a state that gives no work */
	unsigned row;	      /* failures since the last good end */
	unsigned level;	      /* quarantines that lately were */
	unsigned togo;	      /* clean probes until trust */
	uint64_t failed_at;   /* the last failure */
	uint64_t until;	      /* QUARANTINED: no probe before; else: when it
			       * came back from there */
};

/* An event at that time. True when its state changed. */
bool score_event(struct score *s, const struct score_rules *r,
		 enum score_event e, uint64_t now_ms);
/* Brings masses and counts up to that time; the others below do not. */
void score_fade(struct score *s, const struct score_rules *r, uint64_t now_ms);
double score_value(const struct score *s); /* 0..1; a barred one: 0 */
uint64_t score_permille(const struct score *s);
bool score_may_work(const struct score *s);
/* Should it be asked a probe now? On its way back to trust, and the delay is
 * over. *due: else when; UINT64_MAX for never. */
bool score_wants_probe(const struct score *s, const struct score_rules *r,
		       uint64_t now_ms, uint64_t *due);
/* When the next probe may be, for people; 0 unless quarantined. */
uint64_t score_until(const struct score *s, const struct score_rules *r,
		     uint64_t now_ms);
/* Nothing is left of it that a stranger would not have. */
bool score_is_blank(const struct score *s);
/* A person lets it back: on probation, its reasons kept. */
void score_pardon(struct score *s, const struct score_rules *r,
		  uint64_t now_ms);

/* "120 units done, 40 pieces right, 2 times silent"; "nothing yet". */
void score_reasons(const struct score *s, struct buf *out);
/* Why it gets no work: "quarantined after 3 failures in a row, the last: said
 * nothing of a unit; tried again in 28 s". Nothing for one that may work. */
void score_why(const struct score *s, const struct score_rules *r,
	       uint64_t now_ms, struct buf *out);

/* For the disk. ERR_PROTO for what we cannot have written. */
void score_pack(const struct score *s, struct buf *out);
enum err score_unpack(const void *p, size_t n, struct score *out) HN_CHECK;

#endif
