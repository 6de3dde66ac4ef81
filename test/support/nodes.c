/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "test/support/nodes.h"

#include "node/mesh/peers.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct wait {
	struct loop *l;
	bool (*done)(void *arg);
	void *arg;
	uint64_t end;
	bool good;
};

static void on_poll(void *arg)
{
	struct wait *w = arg;

	w->good = w->done(w->arg);
	if (w->good || loop_ms(w->l) > w->end)
		loop_stop(w->l);
}

bool nodes_until(struct loop *l, bool (*done)(void *arg), void *arg)
{
	struct wait w = {l, done, arg, clock_ns() / 1000000 + NODES_WAIT_MS,
			 false};

	struct loop_timer *t = loop_timer_new(l, on_poll, &w);
	loop_timer_every(t, 2);
	loop_run(l);
	loop_timer_free(t);
	return w.good;
}

struct mesh_options node_options(struct node *n, struct loop *l,
				 const char *dir)
{
	struct buf why = {0};
	bool fresh;

	memset(n, 0, sizeof(*n));
	n->loop = l;
	snprintf(n->dir, sizeof(n->dir), "%s", dir);
	mkdir(n->dir, 0700);
	char *path = xasprintf("%s/node.key", n->dir);
	enum err e = identity_load(path, "node", &fresh, &why, &n->me);
	assert(!e);
	free(path);
	buf_release(&why);
	return (struct mesh_options){.loop = l,
				     .me = n->me,
				     .data_dir = n->dir,
				     .software = "hnode test",
				     .bind = "127.0.0.1",
				     .listen = true,
				     .dht = true,
				     .role = "both",
				     .threads = 1};
}

static void on_ready(void *arg, enum err e, const char *text)
{
	struct node *n = arg;

	n->ready = true;
	n->e = e;
	n->text = text ? xstrdup(text) : NULL;
}

static bool is_ready(void *arg)
{
	return ((struct node *)arg)->ready;
}

void node_start_raw(struct node *n, const struct mesh_options *o)
{
	struct mesh_options mine = *o;
	struct buf why = {0};
	size_t count;

	/* As the program does: a peer that is gone is an error code. */
	signal(SIGPIPE, SIG_IGN);
	char *path = xasprintf("%s/hnode.db", n->dir);
	const struct store_schema *schema = mesh_schema(&count);
	enum err e = store_open(n->loop, path, schema, count, &why, &n->store);
	assert(!e);
	free(path);
	buf_release(&why);
	mine.store = n->store;
	n->mesh = mesh_new(&mine, on_ready, n);
	bool good = nodes_until(n->loop, is_ready, n);
	assert(good);
}

static void on_control(void *arg, enum err e, struct session *s,
		       const char *text)
{
	struct node *n = arg;

	if (e)
		fprintf(stderr, "control: %s\n", text ? text : err_str(e));
	n->control = s;
}

static bool has_control(void *arg)
{
	return ((struct node *)arg)->control != NULL;
}

void node_start(struct node *n, const struct mesh_options *o)
{
	struct rpc_options client = {.hub = {.loop = n->loop},
				     .tables = mesh_methods,
				     .ntables = mesh_methods_count};

	node_start_raw(n, o);
	if (n->e)
		fprintf(stderr, "not ready: %s\n", n->text);
	assert(!n->e);
	n->client = rpc_new(&client);
	hub_dial_control(rpc_hub(n->client), n->mesh->control, 5000, on_control,
			 n);
	bool good = nodes_until(n->loop, has_control, n);
	assert(good);
}

static void on_flag(void *arg)
{
	*(bool *)arg = true;
}

static bool is_set(void *arg)
{
	return *(bool *)arg;
}

static void wait_flag(struct loop *l, bool *flag)
{
	bool good = nodes_until(l, is_set, flag);
	assert(good);
}

void node_stop(struct node *n)
{
	bool client = false, mesh = false, store = false;

	if (n->client) {
		rpc_stop(n->client, on_flag, &client);
		wait_flag(n->loop, &client);
	}
	mesh_stop(n->mesh, on_flag, &mesh);
	wait_flag(n->loop, &mesh);
	store_stop(n->store, on_flag, &store);
	wait_flag(n->loop, &store);
	identity_free(n->me);
	free(n->text);
	n->mesh = NULL;
	n->client = NULL;
	n->control = NULL;
	n->text = NULL;
}

const struct node_id *node_id_of(const struct node *n)
{
	return identity_id(n->me);
}

char *node_at(const struct node *n, struct arena *a)
{
	return arena_printf(a, "%s@127.0.0.1:%u", node_hex(node_id_of(n)),
			    (unsigned)mesh_port(n->mesh));
}

/* --- calls --- */

struct call {
	struct arena *a;
	const struct message *message;
	void *reply;
	bool done;
	enum err e;
	char *text;
};

static void on_end(void *arg, struct rpc_stream *st, enum err e,
		   const void *reply, const char *text)
{
	struct call *c = arg;

	(void)st;
	c->done = true;
	c->e = e;
	c->text = text ? arena_strndup(c->a, text, strlen(text)) : NULL;
	if (!e && c->reply && reply)
		fields_copy(c->message, reply, c->a, c->reply);
}

static bool is_done(void *arg)
{
	return ((struct call *)arg)->done;
}

static enum err call(struct loop *l, struct rpc *r, struct session *s,
		     const char *method, const void *request, struct arena *a,
		     void *reply, char **text)
{
	static const struct rpc_ops ops = {.end = on_end};
	const struct rpc_method *m = rpc_method_find(r, method);
	struct call c = {.a = a, .reply = reply};

	assert(m);
	c.message = m->reply ? m->reply : &message_empty;
	enum err e = rpc_call(r, s, method, request, 15000, &ops, &c, NULL);
	if (e)
		return e;
	bool good = nodes_until(l, is_done, &c);
	assert(good);
	if (text)
		*text = c.text;
	if (c.e && !text)
		fprintf(stderr, "%s: %s\n", method, c.text ? c.text : "-");
	return c.e;
}

enum err node_call(struct node *n, const char *method, const void *request,
		   struct arena *a, void *reply, char **text)
{
	return call(n->loop, n->client, n->control, method, request, a, reply,
		    text);
}

enum err node_call_peer(struct node *from, struct node *to, const char *method,
			const void *request, struct arena *a, void *reply,
			char **text)
{
	struct session *s = hub_find(rpc_hub(from->mesh->rpc), node_id_of(to));

	if (!s)
		return ERR_NOPEER;
	return call(from->loop, from->mesh->rpc, s, method, request, a, reply,
		    text);
}

/* --- rows --- */

struct peer_info *node_row(struct node *n, const struct node_id *who,
			   struct arena *a)
{
	const struct peers_query q = {0};
	struct peers_list list;

	peers_list(n->mesh->peers, &q, a, &list);
	struct peer_info *rows = list.peers.items;
	for (size_t i = 0; i < list.peers.n; i++)
		if (!memcmp(rows[i].id, who->b, 32))
			return &rows[i];
	return NULL;
}

struct look {
	struct node *n;
	const struct node_id *who;
	const char *state;
};

static bool is_seen(void *arg)
{
	struct look *k = arg;
	struct arena a = {0};

	struct peer_info *row = node_row(k->n, k->who, &a);
	bool good =
	    row ? !strcmp(row->state, k->state) : !strcmp(k->state, "gone");
	arena_release(&a);
	return good;
}

bool node_sees(struct node *n, const struct node_id *who, const char *state)
{
	struct look k = {n, who, state};

	return nodes_until(n->loop, is_seen, &k);
}
