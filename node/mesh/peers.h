/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_PEERS_H
#define HN_MESH_PEERS_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/err.h"
#include "node/base/identity.h"
#include "node/base/loop.h"
#include "node/base/store.h"
#include "node/mesh/wire.h"

/*
 * What we know of each other node: its records, its session, its offers. It
 * joins discovery with rpc: news come in, sessions are dialled where they are
 * of use (dialer.c), and the job side is told who can work. Loop thread only.
 * (peers_want and peers_drop stand in mesh_impl.h.)
 */
struct beacon_news;
struct mesh;
struct peers;
struct record;
struct session;

#define PEERS_MAX 2048
#define PEERS_STORED 256
#define PEERS_GHOST_MS \
	(10 * 60 * 1000) /* unheard of for so long: forgotten \
			  */

extern const struct store_schema peers_schema[];
extern const size_t peers_schema_count;

struct peers *peers_new(struct mesh *m);
/* Says goodbye on every session, cancels dials and timers; their callbacks
 * come until rpc has stopped. */
void peers_stop(struct peers *p);
void peers_free(struct peers *p); /* after rpc has stopped */

/* Peers of this mesh that are on disk: entries, dials, bootstraps. done on
 * the loop. */
void peers_load(struct peers *p, loop_fn done, void *arg);
/* The node changed its mesh: closes all sessions with other nodes and forgets
 * all of them, on disk too. */
void peers_clear(struct peers *p, const char *why);

/* --- news --- */

void peers_record(struct peers *p, const char *topic, const struct record *r);
/* Signed by that node, but not taken: see discovery_options.refused. */
void peers_refused(struct peers *p, const struct record *r, uint64_t ahead_ms);
void peers_expired(struct peers *p, const char *topic,
		   const struct node_id *id);
void peers_beacon(struct peers *p, const struct beacon_news *n);
void peers_up(struct peers *p, struct session *s);
void peers_down(struct peers *p, struct session *s, enum err why,
		const char *text, bool dup);
/* node.changed and node.unreachable from a peer. */
void peers_changed(struct peers *p, const struct node_id *id,
		   const struct node_changed *c);
void peers_unreachable(struct peers *p, const struct node_id *id,
		       const struct node_unreachable *u);
/* Whom an inviter named. */
void peers_known(struct peers *p, const struct node_id *id,
		 const struct strs *address, const struct strs *dht);
/* Our topics changed: somebody may be of use now. */
void peers_consider(struct peers *p);
/* Our offers or topics changed: node.changed to every session, at most once a
 * second. */
void peers_tell(struct peers *p);
/* A rekey was applied: the left out are closed, the others told. done gets how
 * many confirmed; NULL is fine. */
typedef void (*peers_told_fn)(void *arg, size_t told);
void peers_rekeyed(struct peers *p, peers_told_fn done, void *arg);

/* May this session make one more call of those that are rate-limited? */
bool peers_allow(struct peers *p, const struct session *s);

/* --- asking --- */

/*
 * A node by id in hex, a unique prefix of 4 or more digits, its name or how
 * that begins (3 letters or more). The sentence says what is wrong
 * (ERR_NOTFOUND, ERR_INPUT: several fit).
 */
enum err peers_find(const struct peers *p, const char *text,
		    struct node_id *out, struct buf *why) HN_CHECK;
/* Rows, ours first, for the people; they live in the arena. */
void peers_list(const struct peers *p, const struct peers_query *q,
		struct arena *a, struct peers_list *out);
/* Of each node known, ourselves first: what keeps it away (explain.h). What
 * concerns a job is the caller's to fill in: cap says which offer counts. */
struct explain_facts;
void peers_facts(const struct peers *p, const char *cap, struct arena *a,
		 void (*fn)(void *arg, const struct node_id *id,
			    const char *name, uint64_t rtt_us,
			    const struct explain_facts *f),
		 void *arg);
size_t peers_count(const struct peers *p); /* nodes known, without us */
size_t peers_sessions(const struct peers *p);
void peers_each_session(const struct peers *p,
			void (*fn)(struct session *s, void *arg), void *arg);
size_t peers_in_topic(const struct peers *p, const char *topic);
/* For a newcomer: addresses of nodes we have sessions with. */
void peers_introduce(const struct peers *p, struct arena *a, size_t max,
		     struct list *out);
bool peers_know(const struct peers *p, const struct node_id *id);
bool peers_dropped(const struct peers *p, const struct node_id *id);
/* Clocks of the sessions against ours; false with fewer than three. */
bool peers_clock(const struct peers *p, int64_t *median);

/*
 * A session to this node, dialled if there is none. fn exactly once, never
 * from inside. peers_dial: at this address, as a user asked (such a peer is
 * dialled again when it is lost).
 */
typedef void (*peers_session_fn)(void *arg, enum err e, struct session *s,
				 const char *text);
void peers_connect(struct peers *p, const struct node_id *id,
		   uint32_t timeout_ms, peers_session_fn fn, void *arg);
void peers_dial(struct peers *p, const struct node_id *id, const char *address,
		uint32_t timeout_ms, peers_session_fn fn, void *arg);

/* Name, address, path and round trip of a session. */
void peer_session_of(const struct session *s, struct arena *a,
		     struct peer_session *out);

#endif
