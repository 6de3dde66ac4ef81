/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/mesh_impl.h"

#include "node/base/cert.h"
#include "node/base/log.h"
#include "node/mesh/address.h"
#include "node/mesh/invite.h"
#include "node/mesh/membership.h"
#include "node/mesh/peers.h"

#include <sodium.h>

#include <stdlib.h>
#include <string.h>

/*
 * Who belongs to the mesh (decision D2): making invites, enrolling those who
 * come with one, changing the mesh key and handing the new one on.
 */
#define DEFAULT_NAME "home"
#define KNOWN_TOLD 16

/* --- mesh.invite --- */

struct invitation {
	struct mesh *m;
	struct rpc_stream *st;
	struct invite invite;
	bool new_mesh;
};

static void on_invite_kept(void *arg, enum err e, const char *text)
{
	struct invitation *x = arg;
	struct mesh *m = x->m;
	struct buf word = {0};

	if (e) {
		rpc_fail(x->st, e, "the invite could not be written down: %s",
			 text ? text : err_str(e));
	} else {
		struct arena arena = {0};
		x->invite.mesh = m->membership->name;
		x->invite.address = texts_copy(&m->address, &arena);
		x->invite.dht = texts_copy(&m->dht_address, &arena);
		invite_word(&x->invite, &word);
		struct mesh_invited r = {
		    .invite = (char *)(uintptr_t)buf_str(&word),
		    .mesh = m->membership->name,
		    .expires_ms = x->invite.expires_ms,
		    .uses = x->invite.uses,
		    .new_mesh = x->new_mesh,
		};
		rpc_reply(x->st, &r);
		arena_release(&arena);
	}
	if (word.n)
		sodium_memzero(word.p, word.n);
	buf_release(&word);
	sodium_memzero(&x->invite, sizeof(x->invite));
	free(x);
}

/* From `public` into a private mesh of our own. */
static enum err make_mesh(struct mesh *m, const char *name, struct buf *why)
{
	struct identity *owner = NULL;

	enum err e = mesh_name_check(name, why);
	if (!e)
		e = membership_owner(m->membership, true, why, &owner);
	if (e)
		return e;
	e = membership_found(m->membership, name, owner, m->me, mesh_now_ms(m),
			     why);
	identity_free(owner);
	if (!e)
		mesh_switched(m);
	return e;
}

static enum err may_invite(struct mesh *m, const struct mesh_invite *q,
			   struct buf *why)
{
	struct identity *owner = NULL;

	if (!m->address.n) {
		buf_add_str(why,
			    "this node listens on no port, so nobody could "
			    "come with an invite: start it without "
			    "--no-listen, or invite on another node");
		return ERR_CONFIG;
	}
	if (q->life_ms > INVITE_LIFE_MAX_MS) {
		buf_add_str(why, "an invite lives 31 days at most");
		return ERR_INPUT;
	}
	if (m->membership->is_public)
		return OK;
	if (q->mesh && strcmp(q->mesh, m->membership->name) != 0) {
		buf_printf(why, "this node is in mesh \"%s\" already",
			   m->membership->name);
		return ERR_EXISTS;
	}
	enum err e = membership_owner(m->membership, false, why, &owner);
	if (!e)
		identity_free(owner);
	return e;
}

static void serve_invite(struct rpc_stream *st, const void *request, void *arg)
{
	const struct mesh_invite *q = request;
	struct mesh *m = arg;
	struct buf why = {0};
	const char *name = q->mesh ? q->mesh : DEFAULT_NAME;
	uint64_t tag;

	bool fresh = m->membership->is_public;
	enum err e = may_invite(m, q, &why);
	if (!e && fresh)
		e = mesh_name_check(name, &why);
	if (!e && fresh && !q->yes) {
		struct mesh_invited r = {.mesh = (char *)(uintptr_t)name,
					 .new_mesh = true};
		rpc_reply(st, &r);
		buf_release(&why);
		return;
	}
	if (!e && fresh)
		e = make_mesh(m, name, &why);
	if (e) {
		rpc_fail(st, e, "%s", buf_str(&why));
		buf_release(&why);
		return;
	}
	uint64_t now = mesh_now_ms(m);
	struct invitation *x = HN_NEW(struct invitation);
	x->m = m;
	x->st = st;
	x->new_mesh = fresh;
	x->invite.version = INVITE_VERSION;
	x->invite.uses = q->uses ? q->uses : 1;
	x->invite.expires_ms = now + (q->life_ms ? q->life_ms : INVITE_LIFE_MS);
	memcpy(x->invite.mesh_id, m->membership->mesh_id, 32);
	memcpy(x->invite.node, identity_id(m->me)->b, 32);
	e = invites_add(m->invites, x->invite.expires_ms, x->invite.uses, now,
			x->invite.secret, &tag, &why, on_invite_kept, x);
	if (e) {
		rpc_fail(st, e, "%s", buf_str(&why));
		free(x);
	} else
		log_info("mesh", "an invite to \"%s\" was made, uses=%llu",
			 m->membership->name,
			 (unsigned long long)x->invite.uses);
	buf_release(&why);
}

/* --- mesh.enroll --- */

struct enrolment {
	struct mesh *m;
	struct rpc_stream *st;
	struct node_id who;
	uint8_t owner[32];
};

static void reply_enrolled(struct enrolment *x, const struct identity *owner)
{
	const struct membership *me = x->m->membership;
	struct arena arena = {0};
	struct buf packed = {0};
	struct cert c = {.issued_ms = mesh_now_ms(x->m)};
	struct mesh_enrolled r = {
	    .mesh = x->m->membership->name,
	    .generation = me->generation,
	    .excluded = {me->excluded, me->nexcluded},
	};

	memcpy(c.node, x->who.b, 32);
	bool own = sodium_is_zero(x->owner, 32);
	memcpy(c.owner, own ? x->who.b : x->owner, 32);
	memcpy(c.mesh_id, me->mesh_id, 32);
	cert_sign(&c, owner);
	cert_pack(&c, &packed);
	r.cert = (struct bytes){packed.p, packed.n};
	memcpy(r.mesh_key, me->secret->key, 32);
	memcpy(r.owner, me->owner.b, 32);
	memcpy(r.rekey_sig, me->rekey_sig, 64);
	peers_introduce(x->m->peers, &arena, KNOWN_TOLD, &r.known);
	rpc_reply(x->st, &r);
	sodium_memzero(&r, sizeof(r));
	arena_release(&arena);
	buf_release(&packed);
	log_info("mesh", "node %s joined \"%s\" with an invite",
		 node_str(&x->who), me->name);
}

static void on_use_counted(void *arg, enum err e, const char *text)
{
	struct enrolment *x = arg;
	struct identity *owner = NULL;
	struct buf why = {0};

	if (e)
		buf_add_str(&why, text ? text : err_str(e));
	else
		e = membership_owner(x->m->membership, false, &why, &owner);
	if (e) {
		rpc_fail(x->st, e, "%s", buf_str(&why));
		log_warn("mesh", "node %s was not let in: %s",
			 node_str(&x->who), buf_str(&why));
	} else
		reply_enrolled(x, owner);
	identity_free(owner);
	buf_release(&why);
	free(x);
}

static void serve_enroll(struct rpc_stream *st, const void *request, void *arg)
{
	const struct mesh_enroll *q = request;
	struct session *s = rpc_stream_session(st);
	struct mesh *m = arg;

	if (!s || m->membership->is_public) {
		rpc_fail(st, ERR_DENIED, "there is no mesh to join here");
		return;
	}
	struct enrolment *x = HN_NEW(struct enrolment);
	x->m = m;
	x->st = st;
	x->who = *session_peer(s);
	memcpy(x->owner, q->owner, 32);
	invites_use(m->invites, session_psk_tag(s), &x->who, mesh_now_ms(m),
		    on_use_counted, x);
}

/* --- mesh.rekey and mesh.newkey --- */

struct rekeying {
	struct mesh *m;
	struct rpc_stream *st;
	size_t excluded;
};

static void on_told(void *arg, size_t told)
{
	struct rekeying *x = arg;
	struct mesh_rekeyed r = {.generation = x->m->membership->generation,
				 .told = told,
				 .excluded = x->excluded};

	rpc_reply(x->st, &r);
	free(x);
}

/* Whom to leave out: ids, or names of peers. */
static enum err find_all(struct mesh *m, const struct strs *names,
			 struct node_id *out, struct buf *why)
{
	for (size_t i = 0; i < names->n; i++) {
		enum err e =
		    peers_find(m->peers, names->items[i], &out[i], why);
		if (e)
			return e;
		if (node_id_eq(&out[i], identity_id(m->me))) {
			buf_add_str(why, "this node cannot leave itself out");
			return ERR_INPUT;
		}
	}
	return OK;
}

static enum err rekey(struct mesh *m, const struct mesh_rekey *q,
		      struct arena *a, struct buf *why)
{
	struct identity *owner = NULL;
	struct mesh_newkey k;

	if (m->membership->is_public) {
		buf_add_str(why, "the open mesh \"public\" has no key to "
				 "change; `hnode invite` makes a private one");
		return ERR_DENIED;
	}
	struct node_id *ids = arena_alloc(a, (q->without.n + 1) * sizeof(*ids));
	enum err e = find_all(m, &q->without, ids, why);
	if (!e)
		e = membership_owner(m->membership, false, why, &owner);
	if (e)
		return e;
	e = membership_rekey(m->membership, owner, ids, q->without.n, a, &k,
			     why);
	identity_free(owner);
	if (!e)
		e = membership_apply(m->membership, &k, identity_id(m->me),
				     mesh_now_ms(m), why);
	sodium_memzero(k.mesh_key, sizeof(k.mesh_key));
	return e;
}

static void serve_rekey(struct rpc_stream *st, const void *request, void *arg)
{
	struct mesh *m = arg;
	struct arena arena = {0};
	struct buf why = {0};

	enum err e = rekey(m, request, &arena, &why);
	if (e) {
		rpc_fail(st, e, "%s", buf_str(&why));
	} else {
		struct rekeying *x = HN_NEW(struct rekeying);
		*x = (struct rekeying){m, st, m->membership->nexcluded};
		mesh_rekeyed(m);
		peers_rekeyed(m->peers, on_told, x);
	}
	arena_release(&arena);
	buf_release(&why);
}

static void serve_newkey(struct rpc_stream *st, const void *request, void *arg)
{
	struct mesh *m = arg;
	struct buf why = {0};

	enum err e = membership_apply(m->membership, request,
				      identity_id(m->me), mesh_now_ms(m), &why);
	if (!e) {
		mesh_rekeyed(m);
		peers_rekeyed(m->peers, NULL, NULL);
	}
	/* We have it, or a later one: nothing is wrong. */
	if (!e || e == ERR_EXISTS || e == ERR_EXPIRED) {
		rpc_reply(st, NULL);
	} else {
		static struct log_gate gate;
		log_every(&gate, 60000, LOG_WARN, "mesh",
			  "a new mesh key was refused: %s; keeping ours",
			  buf_str(&why));
		rpc_fail(st, e, "%s", buf_str(&why));
	}
	buf_release(&why);
}

const struct rpc_method service_mesh_methods[] = {
    {.name = "mesh.invite",
     .version = 1,
     .right = RIGHT_OWNER,
     .request = &mesh_invite_message,
     .reply = &mesh_invited_message,
     .serve = serve_invite,
     .doc = "makes an invite; from the open mesh, a private mesh first"},
    {.name = "mesh.rekey",
     .version = 1,
     .right = RIGHT_OWNER,
     .request = &mesh_rekey_message,
     .reply = &mesh_rekeyed_message,
     .max_request = 131072,
     .serve = serve_rekey,
     .doc = "a new mesh key for all but those left out"},
    {.name = "mesh.newkey",
     .version = 1,
     .right = RIGHT_MEMBER,
     .repeatable = true,
     .request = &mesh_newkey_message,
     .max_request = 65536,
     .serve = serve_newkey,
     .doc = "hands a new mesh key on, signed by the mesh owner"},
    {.name = "mesh.enroll",
     .version = 1,
     .right = RIGHT_INVITED,
     .repeatable = true,
     .request = &mesh_enroll_message,
     .reply = &mesh_enrolled_message,
     .max_reply = 131072,
     .serve = serve_enroll,
     .doc = "membership for a newcomer with an invite"},
    {0},
};
