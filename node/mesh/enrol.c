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
 * Joining with an invite (decision D2), the newcomer's side, before any port
 * of its own is open: dial the inviter with the invite's psk, call
 * mesh.enroll, check the answer, write the membership down, hang up. The node
 * then starts as a member like any other.
 */
#define DIAL_MS 6000
#define CALL_MS 10000

struct enrol {
	struct mesh *m;
	struct arena arena;
	struct invite invite;
	struct session_psk psk;
	size_t next; /* address to dial next */
	struct session *session;
	struct hub_dial *dial;
	struct buf why; /* of each address that failed */
	enum err e;
	enrol_done_fn done;
	struct list known; /* struct known_node, in the arena */
};

void enrol_creds(const struct mesh *m, struct session_creds *out)
{
	*out = (struct session_creds){.npsks = 1};
	memcpy(out->mesh_id, m->enrol->invite.mesh_id, 32);
	out->psks[0] = m->enrol->psk;
}

void enrol_free(struct mesh *m)
{
	struct enrol *n = m->enrol;

	if (!n)
		return;
	sodium_memzero(&n->psk, sizeof(n->psk));
	sodium_memzero(n->invite.secret, sizeof(n->invite.secret));
	arena_release(&n->arena);
	buf_release(&n->why);
	free(n);
	m->enrol = NULL;
}

static void on_end(void *arg)
{
	struct enrol *n = arg;
	struct mesh *m = n->m;

	if (m->stopping)
		return; /* mesh_stop frees it */
	enrol_done_fn done = n->done;
	char *text = n->why.n ? xstrdup(buf_str(&n->why)) : NULL;
	enum err e = n->e;
	const struct known_node *known = n->known.items;
	/* The keys of handshakes are the new mesh's from here on. */
	m->enrol = NULL;
	if (!e)
		for (size_t i = 0; i < n->known.n; i++)
			peers_known(m->peers, (const void *)known[i].id,
				    &known[i].address, &known[i].dht);
	m->enrol = n;
	enrol_free(m);
	done(m, e, text);
	free(text);
}

static void finish(struct enrol *n, enum err e)
{
	n->e = e;
	if (n->session)
		session_close(n->session, OK, "enrolled");
	n->session = NULL;
	loop_post(n->m->loop, on_end, n);
}

static enum err take(struct enrol *n, const struct mesh_enrolled *r)
{
	struct mesh *m = n->m;
	struct buf why = {0};

	enum err e =
	    membership_join(m->membership, r, n->invite.mesh, n->invite.mesh_id,
			    m->me, mesh_now_ms(m), &why);
	buf_clear(&n->why);
	if (e) {
		buf_printf(&n->why, "the invite's answer is not used: %s",
			   buf_str(&why));
	} else {
		struct mesh_enrolled copy;
		fields_copy(&mesh_enrolled_message, r, &n->arena, &copy);
		n->known = copy.known;
		sodium_memzero(copy.mesh_key, sizeof(copy.mesh_key));
	}
	buf_release(&why);
	return e;
}

static void on_enrolled(void *arg, struct rpc_stream *st, enum err e,
			const void *reply, const char *text)
{
	struct enrol *n = arg;

	(void)st;
	if (n->m->stopping)
		return;
	if (!e) {
		e = take(n, reply);
	} else {
		buf_clear(&n->why);
		buf_printf(&n->why, "the inviter refused: %s",
			   text ? text : err_str(e));
	}
	finish(n, e);
}

static void call_enroll(struct enrol *n)
{
	const struct rpc_ops ops = {.end = on_enrolled};
	const struct mesh_enroll ask = {
	    .software = (char *)(uintptr_t)n->m->o.software};

	enum err e = rpc_call(n->m->rpc, n->session, "mesh.enroll", &ask,
			      CALL_MS, &ops, n, NULL);
	if (e) {
		buf_add_str(&n->why, "the session to the inviter ended");
		finish(n, e);
	}
}

static void dial_next(struct enrol *n);

static void on_dialled(void *arg, enum err e, struct session *s,
		       const char *text)
{
	struct enrol *n = arg;

	n->dial = NULL;
	if (n->m->stopping)
		return;
	if (!e) {
		n->session = s;
		call_enroll(n);
		return;
	}
	buf_printf(&n->why, "%s%s: %s", n->why.n ? "; " : "",
		   n->invite.address.items[n->next - 1],
		   text ? text : err_str(e));
	n->e = e;
	dial_next(n);
}

static void dial_next(struct enrol *n)
{
	const struct node_id *id = (const void *)n->invite.node;
	struct address a;

	while (n->next < n->invite.address.n) {
		const char *text = n->invite.address.items[n->next++];
		if (!address_parse(text, &a))
			continue;
		n->dial = hub_dial(rpc_hub(n->m->rpc), id, a.host, a.port,
				   &n->psk, false, DIAL_MS, on_dialled, n);
		return;
	}
	struct buf said = {0};
	buf_printf(&said,
		   "the inviter %s could not be reached (%s); is it running, "
		   "and is the invite the last one it gave?",
		   node_str(id), n->why.n ? buf_str(&n->why) : "no address");
	buf_release(&n->why);
	n->why = said;
	finish(n, n->e ? n->e : ERR_GONE);
}

static enum err check(struct enrol *n)
{
	struct mesh *m = n->m;
	const struct invite *i = &n->invite;

	if (!m->membership->is_public &&
	    memcmp(i->mesh_id, m->membership->mesh_id, 32) != 0) {
		buf_printf(&n->why,
			   "this node is in mesh \"%s\" and the invite is for "
			   "\"%s\"; use another --data-dir for that, or move "
			   "%s/mesh away to leave \"%s\"",
			   m->membership->name, i->mesh, m->o.data_dir,
			   m->membership->name);
		return ERR_CONFIG;
	}
	if (!m->membership->is_public)
		return ERR_EXISTS;
	if (!memcmp(i->node, identity_id(m->me)->b, 32)) {
		buf_add_str(&n->why, "this invite was made by this very node");
		return ERR_INPUT;
	}
	if (i->expires_ms && i->expires_ms <= mesh_now_ms(m)) {
		buf_add_str(&n->why, "this invite has expired; ask for a new "
				     "one");
		return ERR_EXPIRED;
	}
	return OK;
}

void enrol_start(struct mesh *m, enrol_done_fn done)
{
	struct enrol *n = HN_NEW(struct enrol);

	n->m = m;
	n->done = done;
	m->enrol = n;
	enum err e = invite_read(m->o.join, &n->arena, &n->invite, &n->why);
	if (!e)
		e = check(n);
	if (e == ERR_EXISTS) {
		log_info("net",
			 "already in mesh \"%s\", the invite is not "
			 "needed",
			 m->membership->name);
		e = OK;
		loop_post(m->loop, on_end, n);
		return;
	}
	if (e) {
		finish(n, e);
		return;
	}
	invite_psk(n->invite.secret, n->psk.key);
	n->psk.kind = SESSION_INVITED;
	dial_next(n);
}
