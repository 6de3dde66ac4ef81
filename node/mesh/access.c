/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/access.h"
#include "node/mesh/mesh_impl.h"

#include "node/mesh/membership.h"
#include "node/mesh/offers.h"
#include "node/mesh/peers.h"
#include "node/mesh/service_site.h"

#include <string.h>

const char *right_str(enum rpc_right r)
{
	switch (r) {
	case RIGHT_OWNER:
		return "owner";
	case RIGHT_MEMBER:
		return "member";
	case RIGHT_GRANTED:
		return "granted";
	case RIGHT_INVITED:
		return "invited";
	}
	return "owner";
}

static enum err deny(struct buf *why, const char *text)
{
	buf_add_str(why, text);
	return ERR_DENIED;
}

static enum err member_rule(const struct access_facts *f,
			    const struct rpc_method *m, struct buf *why)
{
	switch (m->right) {
	case RIGHT_MEMBER:
		return OK;
	case RIGHT_GRANTED:
		if (f->granted)
			return OK;
		buf_printf(why, "this node does not offer %s",
			   m->cap ? m->cap : m->name);
		return ERR_DENIED;
	case RIGHT_INVITED:
		return deny(why, "for newcomers with an invite only");
	case RIGHT_OWNER:
		break;
	}
	return deny(why, "for the owner of this node only");
}

enum err access_rule(const struct access_facts *f, const struct rpc_method *m,
		     struct buf *why)
{
	switch (f->kind) {
	case SESSION_CONTROL:
		if (m->right == RIGHT_INVITED)
			return deny(why, "for newcomers with an invite only");
		return OK;
	case SESSION_INVITED:
		if (f->excluded)
			break;
		if (m->right == RIGHT_INVITED)
			return OK;
		return deny(why, "an invite only lets a node enrol");
	case SESSION_PEER:
	case SESSION_OLD_KEY:
		if (f->excluded)
			break;
		return member_rule(f, m, why);
	}
	return deny(why, "this node was left out of the mesh");
}

enum err access_authorize(void *arg, struct session *s,
			  const struct rpc_method *m, struct buf *why)
{
	struct mesh *mesh = arg;
	struct access_facts f = {.kind = session_kind(s)};

	/* The services end one after the other while sessions still stand. */
	if (mesh->stopping) {
		buf_add_str(why, "this node is stopping");
		return ERR_GONE;
	}
	if (f.kind != SESSION_CONTROL) {
		const struct node_id *id = session_peer(s);
		f.excluded = membership_excludes(mesh->membership, id) ||
			     peers_dropped(mesh->peers, id);
		f.granted = m->cap && offers_have(mesh->offers, m->cap) &&
			    service_site_serves(mesh, id) &&
			    strcmp(mesh->o.role, "use") != 0;
	}
	enum err e = access_rule(&f, m, why);
	if (e)
		return e;
	/* Questions that any member may ask are cheap, but not free. */
	if (m->right == RIGHT_MEMBER && f.kind != SESSION_CONTROL &&
	    !peers_allow(mesh->peers, s)) {
		buf_add_str(why, "too many calls, at most 20 a second");
		return ERR_BUSY;
	}
	return OK;
}
