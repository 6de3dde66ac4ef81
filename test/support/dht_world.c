/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "test/support/dht_world.h"

#include "node/base/mem.h"

#include <sodium.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check(struct world *w)
{
	if (w->cond && w->cond(w, w->arg)) {
		w->cond = NULL;
		loop_stop(w->loop);
	}
}

static void on_deadline(void *arg)
{
	struct world *w = arg;
	w->late = true;
	loop_stop(w->loop);
}

bool wait_for(struct world *w, cond_fn cond, void *arg, uint64_t ms)
{
	if (cond && cond(w, arg))
		return true;
	w->cond = cond;
	w->arg = arg;
	w->late = false;
	loop_timer_set(w->deadline, ms);
	loop_run(w->loop);
	w->cond = NULL;
	loop_timer_cancel(w->deadline);
	return !w->late;
}

static void on_record(void *arg, const char *topic, const struct record *r)
{
	struct node *n = arg;
	struct seen *s = NULL;

	for (size_t i = 0; i < n->nseen && !s; i++)
		if (!strcmp(n->seen[i].topic, topic) &&
		    !memcmp(n->seen[i].id.b, r->node, 32))
			s = &n->seen[i];
	if (!s) {
		assert_true(n->nseen < SEEN);
		s = &n->seen[n->nseen++];
		*s = (struct seen){.first_ms = clock_ns() / 1000000};
		snprintf(s->topic, sizeof(s->topic), "%s", topic);
		memcpy(s->id.b, r->node, 32);
	}
	assert_true(r->seq > s->seq);
	assert_memory_not_equal(r->node, identity_id(n->me)->b, 32);
	s->seq = r->seq;
	s->state = r->state;
	s->cores = r->cores;
	s->expired = false;
	s->count++;
	check(n->w);
}

static void on_expired(void *arg, const char *topic, const struct node_id *id)
{
	struct node *n = arg;
	for (size_t i = 0; i < n->nseen; i++)
		if (!strcmp(n->seen[i].topic, topic) &&
		    node_id_eq(&n->seen[i].id, id))
			n->seen[i].expired = true;
	check(n->w);
}

static void on_beacon(void *arg, const struct beacon_news *b)
{
	(void)arg;
	(void)b;
}

static bool on_cert(void *arg, const struct record *r)
{
	const struct node *n = arg;
	(void)r;
	return !n->distrusts;
}

static void on_issued(void *arg, uint64_t seq)
{
	struct node *n = arg;
	assert_true(seq > n->last_seq);
	n->last_seq = seq;
	n->issued++;
}

void world_init(struct world *w)
{
	uint8_t id[32], key[32];

	memset(w, 0, sizeof(*w));
	w->loop = loop_new();
	w->deadline = loop_timer_new(w->loop, on_deadline, w);
	randombytes_buf(id, sizeof(id)); /* nobody shares our DHT */
	randombytes_buf(key, sizeof(key));
	mesh_keys_derive(id, key, &w->keys);
}

static void on_stopped(void *arg)
{
	struct node *n = arg;
	n->stopped = true;
	n->d = NULL;
	n->stop_ms = clock_ns() / 1000000 - n->stop_ms;
	check(n->w);
}

bool all_stopped(struct world *w, void *arg)
{
	(void)arg;
	for (size_t i = 0; i < w->n; i++)
		if (w->nodes[i].d)
			return false;
	return true;
}

bool is_stopped(struct world *w, void *arg)
{
	(void)w;
	return !((struct node *)arg)->d;
}

void node_stop(struct node *n)
{
	n->stop_ms = clock_ns() / 1000000;
	discovery_stop(n->d, on_stopped, n);
}

void world_end(struct world *w)
{
	for (size_t i = 0; i < w->n; i++)
		if (w->nodes[i].d)
			node_stop(&w->nodes[i]);
	assert_true(wait_for(w, all_stopped, NULL, 10000));
	for (size_t i = 0; i < w->n; i++)
		identity_free(w->nodes[i].me);
	loop_timer_free(w->deadline);
	assert_true(loop_free(w->loop));
}

void node_start(struct node *n, const struct mesh_keys *keys)
{
	struct buf why = {0};
	const struct discovery_options o = {
	    .loop = n->w->loop,
	    .me = n->me,
	    .keys = *keys,
	    .dht = true,
	    .suites = 1,
	    .last_seq = n->last_seq,
	    .arg = n,
	    .record = on_record,
	    .expired = on_expired,
	    .beacon = on_beacon,
	    .cert_ok = on_cert,
	    .issued = on_issued,
	};
	n->stopped = false;
	assert_int_equal(discovery_new(&o, &why, &n->d), OK);
	assert_true(discovery_port(n->d));
	buf_release(&why);
}

struct node *node_add(struct world *w)
{
	assert_true(w->n < NODES);
	struct node *n = &w->nodes[w->n++];
	memset(n, 0, sizeof(*n));
	n->w = w;
	n->me = identity_random();
	node_start(n, &w->keys);
	return n;
}

void nodes_drop(struct world *w, size_t keep)
{
	while (w->n > keep)
		identity_free(w->nodes[--w->n].me);
}

void bootstrap(struct node *n, const struct node *to)
{
	char port[8];
	snprintf(port, sizeof(port), "%u", discovery_port(to->d));
	discovery_bootstrap(n->d, "127.0.0.1", port);
}

struct record body_of(unsigned cores)
{
	return (struct record){.role = (char *)"both",
			       .suites = 1,
			       .cores = cores,
			       .software = (char *)"hnode test"};
}

void publish(struct node *n, const char *topic, unsigned cores)
{
	const struct record r = body_of(cores);
	discovery_publish(n->d, topic, &r);
}

struct seen *seen_of(struct node *n, const char *topic, const struct node *of)
{
	for (size_t i = 0; i < n->nseen; i++)
		if (!strcmp(n->seen[i].topic, topic) &&
		    node_id_eq(&n->seen[i].id, identity_id(of->me)))
			return &n->seen[i];
	return NULL;
}

bool all_pairs(struct world *w, void *arg)
{
	const struct pairs *p = arg;
	for (size_t i = p->first; i < w->n; i++)
		for (size_t j = p->first; j < w->n; j++) {
			const struct seen *s =
			    i == j
				? NULL
				: seen_of(&w->nodes[i], p->topic, &w->nodes[j]);
			if (i != j && (!s || s->state != RECORD_LIVE))
				return false;
		}
	return true;
}

bool all_connected(struct world *w, void *arg)
{
	(void)arg;
	for (size_t i = 0; i < w->n; i++)
		if (w->nodes[i].d &&
		    discovery_state(w->nodes[i].d) != DISCOVERY_CONNECTED)
			return false;
	return true;
}

/* Connection comes without a callback of discovery's: asked again by timer. */
struct polled {
	struct world *w;
	struct loop_timer *t;
};

static void on_poll(void *arg)
{
	check(((struct polled *)arg)->w);
}

bool wait_polled(struct world *w, cond_fn cond, void *arg, uint64_t ms)
{
	struct polled p = {w, NULL};
	p.t = loop_timer_new(w->loop, on_poll, &p);
	loop_timer_every(p.t, 20);
	const bool ok = wait_for(w, cond, arg, ms);
	loop_timer_free(p.t);
	return ok;
}

uint64_t now_ms(void)
{
	return clock_ns() / 1000000;
}
