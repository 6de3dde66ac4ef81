/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_RPC_OUTBOX_H
#define HN_RPC_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/frame.h"
#include "rpc/session.h"

/*
 * What waits to be sent on one session: a lane of whole messages per stream,
 * drained one frame per lane in turn, so that a long message delays nobody's
 * short one. Loop thread only. Embedded by its owner.
 *
 * Nothing here calls back while the owner puts: `number` excepted, which only
 * tells the lane's new stream number.
 */
struct outbox_msg;

struct lane {
	struct lane *prev,
	    *next; /* in the ring; next NULL and not queued: out */
	struct outbox_msg *head, *tail;
	size_t queued;	 /* bytes not yet given to the session */
	uint32_t number; /* the stream's; 0 until its first frame is written */
};

struct outbox {
	struct session *s;
	struct lane *ring;    /* lanes with something queued */
	uint32_t next_number; /* ours: odd or even */
	bool writing;	      /* inside session_space */
	void *arg;
	/* The lane's first frame takes the next number: on the wire numbers
	 * only grow, in whatever order lanes come to their turn. */
	void (*number)(void *arg, struct lane *l);
	/* From outbox_step: a frame of a message of this kind was written;
	 * whole: its last. May end the lane. */
	void (*fed)(void *arg, struct lane *l, enum frame_kind kind,
		    bool whole);
};

/* A message up to this size passes by others' queues, chunks excepted. */
#define OUTBOX_SMALL 1024u
/* As long as the session has no more than this queued. */
#define OUTBOX_URGENT (SESSION_HIGH + (128u << 10))
/* Above this the session is closed: the peer makes us answer (refusals,
 * credits) and does not read. */
#define OUTBOX_MAX (4u << 20)

/* Sends or queues one message of n bytes (copied). True: it is with the
 * session as a whole. False: queued; outbox_step has to be called. */
bool outbox_put(struct outbox *b, struct lane *l, enum frame_kind kind,
		const uint8_t *p, size_t n);
/* Whether outbox_put would send a chunk without queueing it. */
bool outbox_clear(const struct outbox *b, const struct lane *l);
/* Whether there is room for more bulk. */
bool outbox_room(const struct outbox *b);
/* A frame outside all lanes, at once. n <= 256. */
void outbox_control(struct outbox *b, enum frame_kind kind, uint32_t number,
		    const uint8_t *p, size_t n);
/* Writes one frame of the next lane; false: the ring is empty. */
bool outbox_step(struct outbox *b);
/* Forgets what the lane has queued. */
void outbox_drop(struct outbox *b, struct lane *l);

#endif
