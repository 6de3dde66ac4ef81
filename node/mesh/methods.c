/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/methods.h"

#include "node/base/mem.h"
#include "rpc/rpc.h"

#define TABLES(X) \
	X(service_node_methods) \
	X(service_owner_methods) \
	X(service_mesh_methods) \
	X(service_job_methods) \
	X(service_explain_methods) \
	X(backup_methods) \
	X(service_hash_methods) \
	X(service_receipt_methods) \
	X(service_site_methods) \
	X(service_trust_methods)

#define X(table) extern const struct rpc_method table[];
TABLES(X)
#undef X

#define X(table) table,
const struct rpc_method *const mesh_methods[] = {TABLES(X)};
#undef X
const size_t mesh_methods_count = HN_COUNT(mesh_methods);
