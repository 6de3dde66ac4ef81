/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_ACCESS_H
#define HN_MESH_ACCESS_H

#include <stdbool.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "rpc/rpc.h"

/*
 * Who may call what (decision D12): the one place of rights. The rule itself
 * is pure; access_authorize asks the mesh for what the rule needs to know.
 */
struct access_facts {
	enum session_kind kind;
	bool excluded; /* left out of the mesh, or failed a proof */
	bool granted;  /* we offer the row's capability, and role is not use */
};
/* ERR_DENIED with a sentence. */
enum err access_rule(const struct access_facts *f, const struct rpc_method *m,
		     struct buf *why) HN_CHECK;

/* rpc_options.authorize; arg is the mesh. ERR_BUSY: too many a second. */
enum err access_authorize(void *arg, struct session *s,
			  const struct rpc_method *m, struct buf *why) HN_CHECK;

const char *right_str(enum rpc_right r);

#endif
