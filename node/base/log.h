/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_BASE_LOG_H
#define HN_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/err.h"

/*
 * One line per event: time, level, area, message, then key=value pairs that
 * the caller formats into the message ("session closed peer=fox-amber-7d21
 * reason=timeout"). Any thread. base, rpc, dht and asic use DEBUG and TRACE
 * only; mesh and node decide and log once. Values from outside go through
 * log_quote. A message is cut at 2,000 bytes; errno is left as it was.
 */
enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

/*
 * LOG_TEXT     HH:MM:SS level area message key=value
 * LOG_JSON     {"ts","level","area","msg","node","peer","job"}: the last two
 *              are copied from peer= and job= at the end of the message
 * LOG_JOURNAL  <priority>level area message: no time, journald has one, and
 *              it reads and removes the priority (sd-daemon(3)); for a caller
 *              that found $JOURNAL_STREAM
 */
enum log_format { LOG_TEXT, LOG_JSON, LOG_JOURNAL };

/* fd is borrowed. Before the first call: LOG_INFO, LOG_TEXT, standard error.
 * level is for areas without one of their own, which stay. */
void log_setup(enum log_level level, enum log_format format, int fd);
void log_node(const char *name); /* the "node" field of JSON lines */
/* Whether LOG_TEXT may use colours; only used when fd is a terminal. Off at
 * first; the caller knows about NO_COLOR. */
void log_colour(bool allowed);

/* "debug" for all areas or "net=debug,dht=trace", read from left to right;
 * ERR_INPUT on others, and then nothing changes. */
enum err log_levels_parse(const char *spec) HN_CHECK;
enum log_level log_level_of(const char *area); /* what log_raise added too */
void log_raise(int by); /* SIGUSR1: more detail; 0 takes it back */

void log_at(enum log_level level, const char *area, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(area, ...) log_at(LOG_ERROR, area, __VA_ARGS__)
#define log_warn(area, ...) log_at(LOG_WARN, area, __VA_ARGS__)
#define log_info(area, ...) log_at(LOG_INFO, area, __VA_ARGS__)
#define log_debug(area, ...) log_at(LOG_DEBUG, area, __VA_ARGS__)
#define log_trace(area, ...) log_at(LOG_TRACE, area, __VA_ARGS__)

/*
 * What a peer can repeat: at most one line per `ms` at this call site; the
 * next line that passes carries "repeated=N", the number held back. Use:
 *   static struct log_gate gate;
 *   log_every(&gate, 10000, LOG_WARN, "net", "bad record from %s", x);
 */
struct log_gate {
	uint64_t next_ms; /* CLOCK_MONOTONIC; 0 passes at once */
	uint64_t held;
};
void log_every(struct log_gate *g, uint64_t ms, enum log_level level,
	       const char *area, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* A printable, quoted, cut copy of text from outside, in a ring of eight
 * per-thread buffers: good until eight calls later. At most 128 bytes of the
 * text; what a terminal could obey is escaped. NULL reads as -. */
const char *log_quote(const char *s);
const char *log_quote_n(const void *p, size_t n);

#endif
