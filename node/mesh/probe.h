/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_PROBE_H
#define HN_MESH_PROBE_H

#include <stdbool.h>
#include <stddef.h>

#include "node/base/fields.h"
#include "node/base/loop.h"

/*
 * Does anybody listen where a node says that it is? Connects to each address
 * (IP addresses only; a name is passed over) and hangs up. For a node that
 * dialled us, so that a wrong advertised address is noticed at all. Loop
 * thread only.
 */
struct probe;
#define PROBE_MS 4000

/* Bit i: the i-th address answered; tried: bit i: it was tried. error: of the
 * last failure. Once, never from inside, not after probe_cancel. */
typedef void (*probe_fn)(void *arg, unsigned worked, unsigned tried,
			 const char *error);
/* Only the first 8 addresses are looked at. NULL: none of them can be tried. */
struct probe *probe_start(struct loop *l, const struct strs *address,
			  probe_fn fn, void *arg);
void probe_cancel(struct probe *p); /* it frees itself */

#endif
