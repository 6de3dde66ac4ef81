/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_METHODS_H
#define HN_MESH_METHODS_H

#include <stddef.h>

struct rpc_method;

/*
 * Every method of this floor (decision D12): tables for rpc_options, each
 * ending in a row without a name, and each in the file of its service. A node
 * serves them; a client of its control socket only reads their messages from
 * them, and PROTOCOL.md is made of them.
 */
extern const struct rpc_method *const mesh_methods[];
extern const size_t mesh_methods_count;

#endif
