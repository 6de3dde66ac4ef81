/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_LAB_TALK_H
#define HN_LAB_TALK_H

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/loop.h"

/*
 * A local socket on which each client asks once: a line of JSON in, one out,
 * then the end. Loop thread only.
 */
struct json;
struct talk;
struct talk_client;

/* q is lent. An answer is due, now or later, exactly once. */
typedef void (*talk_fn)(void *arg, struct talk_client *c, const struct json *q);

/* A file that stands at that path is replaced: the caller holds the lock. */
enum err talk_new(struct loop *loop, const char *path, talk_fn fn, void *arg,
		  struct buf *why, struct talk **out) HN_CHECK;
void talk_answer(struct talk_client *c, struct json *take_j);
/* {"error": {"code", "message"}} */
void talk_refuse(struct talk_client *c, enum err e, const char *text);
/* Who waits for an answer gets none. NULL is fine: done is posted. */
void talk_stop(struct talk *t, struct loop *loop, loop_fn done, void *arg);

#endif
