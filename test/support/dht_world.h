/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_TEST_DHT_WORLD_H
#define HN_TEST_DHT_WORLD_H

#include "dht/discovery.h"

/*
 * Several nodes in one process, each with a real OpenDHT node; they are told
 * of each other on 127.0.0.1 only, and no other mesh shares their network
 * number. Failures are cmocka's. Waiting is for events, with a deadline.
 */
#define NODES 12
#define SEEN 64

struct seen {
	char topic[TOPIC_NAME_MAX + 1];
	struct node_id id;
	uint64_t seq;
	uint64_t state, cores;
	unsigned count;
	uint64_t first_ms;
	bool expired;
};

struct world;
struct node {
	struct world *w;
	struct discovery *d;
	struct identity *me;
	uint64_t last_seq;
	unsigned issued;
	bool distrusts;
	struct seen seen[SEEN];
	size_t nseen;
	bool stopped;
	uint64_t stop_ms;
};

typedef bool (*cond_fn)(struct world *w, void *arg);

struct world {
	struct loop *loop;
	struct mesh_keys keys;
	struct node nodes[NODES];
	size_t n;
	cond_fn cond;
	void *arg;
	struct loop_timer *deadline;
	bool late;
};

/* Every pair of nodes [first, n) sees each other live under the topic. */
struct pairs {
	const char *topic;
	size_t first;
};

/* Runs the loop until cond, asked after each callback; false after ms. With
 * NULL: runs for ms. */
bool wait_for(struct world *w, cond_fn cond, void *arg, uint64_t ms);
/* The same for what no callback tells: asked every 20 ms too. */
bool wait_polled(struct world *w, cond_fn cond, void *arg, uint64_t ms);

void world_init(struct world *w);
/* Stops all nodes and everything else; no handle may be left. */
void world_end(struct world *w);

/* A node with a new identity. */
struct node *node_add(struct world *w);
/* Again, after it was stopped: the same identity and last_seq. */
void node_start(struct node *n, const struct mesh_keys *keys);
void node_stop(struct node *n);
/* Forgets stopped nodes so that their places can be used again. */
void nodes_drop(struct world *w, size_t keep);

void bootstrap(struct node *n, const struct node *to);
struct record body_of(unsigned cores);
void publish(struct node *n, const char *topic, unsigned cores);
struct seen *seen_of(struct node *n, const char *topic, const struct node *of);
uint64_t now_ms(void);

/* Conditions: arg is a struct node, or a struct pairs. */
bool all_stopped(struct world *w, void *arg);
bool is_stopped(struct world *w, void *arg);
bool all_connected(struct world *w, void *arg);
bool all_pairs(struct world *w, void *arg);

#endif
