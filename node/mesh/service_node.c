/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/mesh_impl.h"

#include "node/base/log.h"
#include "node/mesh/access.h"
#include "node/mesh/address.h"
#include "node/mesh/membership.h"
#include "node/mesh/peers.h"
#include "node/mesh/topics.h"

#include <string.h>

/*
 * What any node of the mesh may ask of another, before any grant (RPC-07): is
 * it there, what is it, how is it doing; and the two words that nodes say of
 * their own accord. All are cheap, and at most 20 a second are answered
 * (access.c). The owner's methods are in service_owner.c.
 */
#define PROTOCOL_VERSION 1

static void serve_ping(struct rpc_stream *st, const void *request, void *arg)
{
	const struct ping *p = request;
	struct ping r = {.token = p->token, .unix_ms = clock_unix_ms()};

	(void)arg;
	rpc_reply(st, &r);
}

struct method_rows {
	struct arena *a;
	struct method_info *items;
	size_t n;
};

static void on_method(const struct rpc_method *m, void *arg)
{
	struct method_rows *r = arg;

	if (r->n < 128 && m->right != RIGHT_OWNER)
		r->items[r->n++] = (struct method_info){
		    .name = arena_strndup(r->a, m->name, strlen(m->name)),
		    .version = m->version,
		    .right = (char *)(uintptr_t)right_str(m->right),
		    .doc = m->doc ? arena_strndup(r->a, m->doc, strlen(m->doc))
				  : NULL};
}

void node_info_fill(struct mesh *m, struct arena *a, struct node_info *out)
{
	struct method_rows rows = {
	    a, arena_alloc(a, 128 * sizeof(struct method_info)), 0};
	char name[NODE_NAME_SIZE];

	node_name(identity_id(m->me), name);
	*out = (struct node_info){
	    .name = arena_strndup(a, name, strlen(name)),
	    .software = (char *)(uintptr_t)m->o.software,
	    .protocol = PROTOCOL_VERSION,
	    .mesh = m->membership->name,
	    .role = (char *)(uintptr_t)m->o.role,
	    .uptime_ms = loop_ms(m->loop) - m->started_ms,
	    .unix_ms = clock_unix_ms(),
	    .cores = m->cores,
	    .ram_mib = m->ram_mib,
	    .cpu = m->cpu,
	    .address = texts_copy(&m->address, a),
	    .suites = m->suites,
	    .dht_port = m->dht_port,
	};
	memcpy(out->id, identity_id(m->me)->b, 32);
	memcpy(out->mesh_id, m->membership->mesh_id, 32);
	mesh_offers(m, a, &out->offers);
	topics_own(m->topics, a, &out->topics);
	rpc_methods_each(m->rpc, on_method, &rows);
	out->methods = (struct list){rows.items, rows.n};
}

static void serve_info(struct rpc_stream *st, const void *request, void *arg)
{
	struct arena arena = {0};
	struct node_info info;

	(void)request;
	node_info_fill(arg, &arena, &info);
	rpc_reply(st, &info);
	arena_release(&arena);
}

static void serve_health(struct rpc_stream *st, const void *request, void *arg)
{
	struct arena arena = {0};
	struct node_health h;

	(void)request;
	status_reasons(arg, &arena, &h.reasons);
	h.word = h.reasons.n ? "degraded" : "healthy";
	rpc_reply(st, &h);
	arena_release(&arena);
}

static void serve_changed(struct rpc_stream *st, const void *request, void *arg)
{
	struct session *s = rpc_stream_session(st);
	struct mesh *m = arg;

	if (s && session_kind(s) != SESSION_CONTROL)
		peers_changed(m->peers, session_peer(s), request);
	rpc_reply(st, NULL);
}

static void serve_unreachable(struct rpc_stream *st, const void *request,
			      void *arg)
{
	struct session *s = rpc_stream_session(st);
	struct mesh *m = arg;

	if (s && session_kind(s) != SESSION_CONTROL)
		peers_unreachable(m->peers, session_peer(s), request);
	rpc_reply(st, NULL);
}

const struct rpc_method service_node_methods[] = {
    {.name = "node.ping",
     .version = 1,
     .right = RIGHT_MEMBER,
     .repeatable = true,
     .request = &ping_message,
     .reply = &ping_message,
     .serve = serve_ping,
     .doc = "answers with the same token and its wall clock"},
    {.name = "node.info",
     .version = 1,
     .right = RIGHT_MEMBER,
     .repeatable = true,
     .request = &message_empty,
     .reply = &node_info_message,
     .max_reply = 65536,
     .serve = serve_info,
     .doc = "what this node is, offers, and can be asked"},
    {.name = "node.health",
     .version = 1,
     .right = RIGHT_MEMBER,
     .repeatable = true,
     .request = &message_empty,
     .reply = &node_health_message,
     .serve = serve_health,
     .doc = "healthy or degraded, and why"},
    {.name = "node.changed",
     .version = 1,
     .right = RIGHT_MEMBER,
     .repeatable = true,
     .request = &node_changed_message,
     .max_request = 65536,
     .serve = serve_changed,
     .doc = "the caller's offers or topics changed"},
    {.name = "node.unreachable",
     .version = 1,
     .right = RIGHT_MEMBER,
     .repeatable = true,
     .request = &node_unreachable_message,
     .serve = serve_unreachable,
     .doc = "the caller cannot dial an address that we announce"},
    {0},
};
