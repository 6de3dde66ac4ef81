/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_METHODS_H
#define HN_MESH_METHODS_H

#include "rpc/rpc.h"

/*
 * Every method of this floor (decision D12): tables for rpc_options, each
 * ending in a row without a name. A node serves them; a client of its control
 * socket only reads their messages from them.
 */
extern const struct rpc_method service_node_methods[];
extern const struct rpc_method service_owner_methods[];
extern const struct rpc_method service_mesh_methods[];
extern const struct rpc_method service_job_methods[];
extern const struct rpc_method service_hash_methods[];
extern const struct rpc_method service_receipt_methods[];
extern const struct rpc_method service_site_methods[];
extern const struct rpc_method backup_methods[];
extern const struct rpc_method service_trust_methods[];

#endif
