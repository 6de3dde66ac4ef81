/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/mesh_impl.h"

#include "node/base/log.h"
#include "node/mesh/address.h"
#include "node/mesh/lending.h"
#include "node/mesh/offers.h"
#include "node/mesh/peers.h"
#include "node/mesh/topics.h"

#include <stdlib.h>
#include <string.h>

/*
 * What only the owner of this node may ask of it, over the control socket: the
 * methods behind `hnode status`, peers, find, dial, ping, info, call, topics
 * and offers. Questions that need another node hold their stream until it has
 * answered.
 */
#define LOOK_MS 2000  /* a first look-up waits so long for records (D4) */
#define SETTLE_MS 300 /* after the first record others follow soon */
#define CALL_MS 10000
#define CALL_MAX_MS 600000
#define LOOKUPS_MAX 32

/* A question about a topic that nobody asked about before. */
struct lookup {
	struct lookup *next;
	struct mesh *m;
	struct rpc_stream *st;
	struct loop_timer *timer;
	bool settling;
	char *topic, *cap;
	struct peers_query query;
};

struct service_node {
	struct mesh *m;
	struct lookup *lookups;
	size_t n;
};

/* --- peers.list and peers.find --- */

static void reply_list(struct mesh *m, struct rpc_stream *st,
		       const struct peers_query *q)
{
	struct arena arena = {0};
	struct peers_list list;

	peers_list(m->peers, q, &arena, &list);
	rpc_reply(st, &list);
	arena_release(&arena);
}

static void lookup_free(struct lookup *l)
{
	struct service_node *s = l->m->service_node;

	for (struct lookup **at = &s->lookups; *at; at = &(*at)->next)
		if (*at == l) {
			*at = l->next;
			s->n--;
			break;
		}
	loop_timer_free(l->timer);
	free(l->topic);
	free(l->cap);
	free(l);
}

static void on_looked(void *arg)
{
	struct lookup *l = arg;

	reply_list(l->m, l->st, &l->query);
	lookup_free(l);
}

static void on_asker_gone(void *arg, struct rpc_stream *st, enum err e,
			  const void *reply, const char *text)
{
	(void)st;
	(void)e;
	(void)reply;
	(void)text;
	lookup_free(arg);
}

static void on_news(void *arg, const char *topic)
{
	struct service_node *s = arg;

	for (struct lookup *l = s->lookups; l; l = l->next) {
		const char *name = l->topic ? l->topic : l->cap;
		if (strcmp(name, topic) || l->settling)
			continue;
		l->settling = true;
		loop_timer_set(l->timer, SETTLE_MS);
	}
}

static void serve_list(struct rpc_stream *st, const void *request, void *arg)
{
	static const struct rpc_ops ops = {.end = on_asker_gone};
	const struct peers_query *q = request;
	struct mesh *m = arg;
	struct service_node *s = m->service_node;

	const char *name = q->topic ? q->topic : q->cap;
	if (!name || !topics_look(m->topics, name) || s->n >= LOOKUPS_MAX) {
		reply_list(m, st, q);
		return;
	}
	struct lookup *l = HN_NEW(struct lookup);
	l->m = m;
	l->st = st;
	l->topic = q->topic ? xstrdup(q->topic) : NULL;
	l->cap = q->cap ? xstrdup(q->cap) : NULL;
	l->query = *q;
	l->query.topic = l->topic;
	l->query.cap = l->cap;
	l->timer = loop_timer_new(m->loop, on_looked, l);
	l->next = s->lookups;
	s->lookups = l;
	s->n++;
	rpc_serve(st, &ops, l);
	loop_timer_set(l->timer, q->wait_ms ? q->wait_ms : LOOK_MS);
}

struct service_node *service_node_new(struct mesh *m)
{
	struct service_node *s = HN_NEW(struct service_node);

	s->m = m;
	topics_on_news(m->topics, on_news, s);
	return s;
}

void service_node_stop(struct service_node *s)
{
	topics_on_news(s->m->topics, NULL, NULL);
	while (s->lookups) {
		rpc_fail(s->lookups->st, ERR_GONE, "this node is stopping");
		lookup_free(s->lookups);
	}
	free(s);
}

/* --- questions that need a session --- */

enum wish { WISH_DIAL, WISH_PING, WISH_INFO, WISH_CALL };

struct errand {
	struct mesh *m;
	struct rpc_stream *st;
	struct node_id id;
	enum wish wish;
	uint32_t timeout_ms;
	const struct rpc_method *method; /* WISH_CALL */
	struct arena arena;
	void *request;
	uint64_t sent_ns;
};

static void errand_end(struct errand *x, enum err e, const char *text)
{
	if (e)
		rpc_fail(x->st, e, "%s: %s", node_str(&x->id),
			 text ? text : err_str(e));
	arena_release(&x->arena);
	free(x);
}

static void reply_session(struct errand *x, uint64_t rtt_us)
{
	struct session *s = hub_find(rpc_hub(x->m->rpc), &x->id);
	struct peer_session r;

	if (!s) {
		errand_end(x, ERR_GONE, "its session ended");
		return;
	}
	peer_session_of(s, &x->arena, &r);
	if (rtt_us)
		r.rtt_us = rtt_us;
	rpc_reply(x->st, &r);
	errand_end(x, OK, NULL);
}

static void reply_called(struct errand *x, const void *reply)
{
	const struct message *m =
	    x->method->reply ? x->method->reply : &message_empty;
	struct buf json = {0};
	struct peer_called r;

	fields_to_json(m, reply ? reply : x->request, &json);
	r.json = (char *)(uintptr_t)buf_str(&json);
	if (json.n > 1048576)
		rpc_fail(x->st, ERR_LIMIT, "the reply is over 1 MiB as text");
	else
		rpc_reply(x->st, &r);
	buf_release(&json);
	errand_end(x, OK, NULL);
}

static void on_answered(void *arg, struct rpc_stream *st, enum err e,
			const void *reply, const char *text)
{
	struct errand *x = arg;

	(void)st;
	if (e) {
		errand_end(x, e, text);
		return;
	}
	switch (x->wish) {
	case WISH_DIAL:
	case WISH_PING:
		reply_session(x, (clock_ns() - x->sent_ns) / 1000);
		return;
	case WISH_INFO:
		rpc_reply(x->st, reply);
		errand_end(x, OK, NULL);
		return;
	case WISH_CALL:
		reply_called(x, reply);
		return;
	}
}

static void on_session(void *arg, enum err e, struct session *s,
		       const char *text)
{
	static const struct rpc_ops ops = {.end = on_answered};
	struct errand *x = arg;
	struct ping ping = {.unix_ms = clock_unix_ms()};

	if (e || x->m->stopping) {
		errand_end(x, e ? e : ERR_CANCELED, text);
		return;
	}
	bool info = x->wish == WISH_INFO, call = x->wish == WISH_CALL;
	x->sent_ns = clock_ns();
	e = rpc_call(x->m->rpc, s,
		     call   ? x->method->name
		     : info ? "node.info"
			    : "node.ping",
		     call   ? x->request
		     : info ? NULL
			    : (const void *)&ping,
		     x->timeout_ms, &ops, x, NULL);
	if (e)
		errand_end(x, e, NULL);
}

static struct errand *errand_new(struct mesh *m, struct rpc_stream *st,
				 enum wish wish, uint64_t timeout_ms)
{
	struct errand *x = HN_NEW(struct errand);

	*x = (struct errand){.m = m, .st = st, .wish = wish};
	x->timeout_ms = !timeout_ms		   ? CALL_MS
			: timeout_ms > CALL_MAX_MS ? CALL_MAX_MS
						   : (uint32_t)timeout_ms;
	return x;
}

static void serve_dial(struct rpc_stream *st, const void *request, void *arg)
{
	const struct peer_dial *q = request;
	struct buf why = {0}, at = {0};
	struct address a;
	struct node_id id;

	enum err e =
	    address_parse_node(q->address ? q->address : "", &id, &a, &why);
	if (e) {
		rpc_fail(st, e, "%s", buf_str(&why));
	} else {
		struct errand *x =
		    errand_new(arg, st, WISH_DIAL, q->timeout_ms);
		x->id = id;
		address_str(a.host, a.port, &at);
		peers_dial(x->m->peers, &id, buf_str(&at), x->timeout_ms,
			   on_session, x);
	}
	buf_release(&why);
	buf_release(&at);
}

/* The peer that a request names; false: the stream has its answer. */
static bool find_peer(struct mesh *m, struct rpc_stream *st, const char *peer,
		      struct node_id *id, bool *self)
{
	struct buf why = {0};

	enum err e = peers_find(m->peers, peer, id, &why);
	if (e)
		rpc_fail(st, e, "%s", buf_str(&why));
	else
		*self = node_id_eq(id, identity_id(m->me));
	buf_release(&why);
	return !e;
}

static void serve_peer_ping(struct rpc_stream *st, const void *request,
			    void *arg)
{
	const struct peer_ref *q = request;
	struct mesh *m = arg;
	struct node_id id;
	bool self;

	if (!find_peer(m, st, q->peer, &id, &self))
		return;
	if (self) {
		char name[NODE_NAME_SIZE];
		struct peer_session r = {.name = name, .path = "self"};
		node_name(&id, name);
		memcpy(r.id, id.b, 32);
		rpc_reply(st, &r);
		return;
	}
	struct errand *x = errand_new(m, st, WISH_PING, 0);
	x->id = id;
	peers_connect(m->peers, &id, x->timeout_ms, on_session, x);
}

static void serve_peer_info(struct rpc_stream *st, const void *request,
			    void *arg)
{
	const struct peer_ref *q = request;
	struct mesh *m = arg;
	struct node_id id;
	bool self = !q->peer || !*q->peer;

	if (!self && !find_peer(m, st, q->peer, &id, &self))
		return;
	if (self) {
		struct arena arena = {0};
		struct node_info info;
		node_info_fill(m, &arena, &info);
		rpc_reply(st, &info);
		arena_release(&arena);
		return;
	}
	struct errand *x = errand_new(m, st, WISH_INFO, 0);
	x->id = id;
	peers_connect(m->peers, &id, x->timeout_ms, on_session, x);
}

/* The request of a call from its JSON text. */
static enum err call_request(struct errand *x, const char *json,
			     struct buf *why)
{
	const struct message *m =
	    x->method->request ? x->method->request : &message_empty;
	const char *text = json && *json ? json : "{}";

	x->request = arena_alloc(&x->arena, m->size + 1);
	return fields_from_json(m, text, strlen(text), &x->arena, x->request,
				why);
}

static void serve_peer_call(struct rpc_stream *st, const void *request,
			    void *arg)
{
	const struct peer_call *q = request;
	struct mesh *m = arg;
	struct buf why = {0};
	struct node_id id;
	bool self;

	const struct rpc_method *method =
	    q->method ? rpc_method_find(m->rpc, q->method) : NULL;
	if (!method) {
		rpc_fail(st, ERR_NOMETHOD,
			 "no method %s is known here; `hnode info` lists those "
			 "that nodes answer",
			 log_quote(q->method));
		return;
	}
	if (method->up || method->down) {
		rpc_fail(st, ERR_INPUT,
			 "%s is a stream; `hnode call` makes "
			 "plain calls",
			 method->name);
		return;
	}
	if (!find_peer(m, st, q->peer, &id, &self))
		return;
	struct errand *x = errand_new(m, st, WISH_CALL, q->timeout_ms);
	x->id = id;
	x->method = method;
	enum err e = call_request(x, q->json, &why);
	if (e) {
		rpc_fail(st, e, "%s", buf_str(&why));
		errand_end(x, OK, NULL);
	} else
		peers_connect(m->peers, &id, x->timeout_ms, on_session, x);
	buf_release(&why);
}

/* --- topics and offers --- */

static void reply_topics(struct mesh *m, struct rpc_stream *st)
{
	struct arena arena = {0};
	struct topic_list r;

	topics_list(m->topics, &arena, &r.topics);
	rpc_reply(st, &r);
	arena_release(&arena);
}

static void serve_topics(struct rpc_stream *st, const void *request, void *arg)
{
	(void)request;
	reply_topics(arg, st);
}

static void serve_join(struct rpc_stream *st, const void *request, void *arg)
{
	const struct topic_ref *q = request;
	struct mesh *m = arg;
	struct buf why = {0};

	enum err e = topics_join(m->topics, q->topic ? q->topic : "", &why);
	if (e)
		rpc_fail(st, e, "%s", buf_str(&why));
	else
		reply_topics(m, st);
	buf_release(&why);
}

static void serve_leave(struct rpc_stream *st, const void *request, void *arg)
{
	const struct topic_ref *q = request;
	struct mesh *m = arg;
	struct buf why = {0};

	enum err e = topics_leave(m->topics, q->topic ? q->topic : "", &why);
	if (e)
		rpc_fail(st, e, "%s", buf_str(&why));
	else
		reply_topics(m, st);
	buf_release(&why);
}

static void reply_offers(struct mesh *m, struct rpc_stream *st)
{
	struct arena arena = {0};
	struct offer_list r;

	mesh_offers(m, &arena, &r.offers);
	lending_fill(m->lending, &arena, &r.lending);
	rpc_reply(st, &r);
	arena_release(&arena);
}

static void serve_offers(struct rpc_stream *st, const void *request, void *arg)
{
	(void)request;
	reply_offers(arg, st);
}

static void on_offered(void *arg, enum err e, const char *text)
{
	struct errand *x = arg;

	if (e)
		rpc_fail(x->st, e, "%s", text ? text : err_str(e));
	else
		reply_offers(x->m, x->st);
	errand_end(x, OK, NULL);
}

static void serve_offer(struct rpc_stream *st, const void *request, void *arg)
{
	const struct offer_add *q = request;
	struct mesh *m = arg;
	struct buf why = {0};

	/* Before the offer is up, so that it is never up without them. */
	enum err e = lending_limits(m->lending, &q->limits, &why);
	if (e) {
		rpc_fail(st, e, "%s", buf_str(&why));
	} else {
		struct errand *x = errand_new(m, st, WISH_CALL, 0);
		offers_add(m->offers, q->topic, on_offered, x);
	}
	buf_release(&why);
}

static void serve_offer_stop(struct rpc_stream *st, const void *request,
			     void *arg)
{
	const struct topic_ref *q = request;
	struct mesh *m = arg;
	struct buf why = {0};

	enum err e = offers_remove(m->offers, q->topic, &why);
	if (e)
		rpc_fail(st, e, "%s", buf_str(&why));
	else
		reply_offers(m, st);
	buf_release(&why);
}

/* --- the node itself --- */

static void serve_status(struct rpc_stream *st, const void *request, void *arg)
{
	struct arena arena = {0};
	struct node_status r;

	(void)request;
	status_fill(arg, &arena, &r);
	rpc_reply(st, &r);
	arena_release(&arena);
}

static void serve_stop(struct rpc_stream *st, const void *request, void *arg)
{
	struct mesh *m = arg;

	(void)request;
	if (!m->o.request_stop) {
		rpc_fail(st, ERR_DENIED, "this program ends by itself");
		return;
	}
	rpc_reply(st, NULL);
	m->o.request_stop(m->o.request_arg);
}

#define OWNER(name_, request_, reply_, serve_, doc_) \
	{ \
		.name = name_, .version = 1, .right = RIGHT_OWNER, \
		.request = request_, .reply = reply_, .max_request = 131072, \
		.max_reply = 4u << 20, .serve = serve_, .doc = doc_, \
	}

const struct rpc_method service_owner_methods[] = {
    OWNER("node.status", &message_empty, &node_status_message, serve_status,
	  "everything about this node"),
    OWNER("node.stop", &message_empty, NULL, serve_stop, "ends this node"),
    OWNER("peers.list", &peers_query_message, &peers_list_message, serve_list,
	  "the nodes that are known here"),
    OWNER("peers.find", &peers_query_message, &peers_list_message, serve_list,
	  "nodes by capability, rate and round trip"),
    OWNER("peer.dial", &peer_dial_message, &peer_session_message, serve_dial,
	  "opens a session to ID@HOST:PORT"),
    OWNER("peer.ping", &peer_ref_message, &peer_session_message,
	  serve_peer_ping, "one call's round trip to a peer"),
    OWNER("peer.info", &peer_ref_message, &node_info_message, serve_peer_info,
	  "a peer's own words"),
    OWNER("peer.call", &peer_call_message, &peer_called_message,
	  serve_peer_call, "any plain method of a peer, as JSON"),
    OWNER("topic.list", &message_empty, &topic_list_message, serve_topics,
	  "topics of this node"),
    OWNER("topic.join", &topic_ref_message, &topic_list_message, serve_join,
	  "announces this node under a topic and follows it"),
    OWNER("topic.leave", &topic_ref_message, &topic_list_message, serve_leave,
	  "takes that back"),
    OWNER("offer.list", &message_empty, &offer_list_message, serve_offers,
	  "what this node offers"),
    OWNER("offer.add", &offer_add_message, &offer_list_message, serve_offer,
	  "offers a capability, after measuring it"),
    OWNER("offer.stop", &topic_ref_message, &offer_list_message,
	  serve_offer_stop, "offers it no more"),
    {0},
};
