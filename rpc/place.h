/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_RPC_PLACE_H
#define HN_RPC_PLACE_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"

/* The places where one listens, ports and socket files, and who has them. */

/*
 * Appends " by NAME (pid N)", who listens on this tcp port, where /proc tells
 * it (our own user's processes; all for root); else nothing.
 */
void place_port_holder(uint16_t port, struct buf *out);

bool place_path_ok(const char *path); /* short enough for a socket */

/*
 * Two nodes that start at once must not both find an old socket dead and
 * remove each other's new one: hold this while clearing and listening. A
 * descriptor to close, or -1 and a sentence.
 */
int place_lock_dir(const char *path, struct buf *why);

/* Removes a socket that a dead process left. OK: the path is free.
 * ERR_EXISTS: somebody answers there. ERR_CONFIG: it is no socket. ERR_IO:
 * another user's, say. */
enum err place_clear_socket(const char *path, struct buf *why) HN_CHECK;

#endif
