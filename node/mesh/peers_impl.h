/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_PEERS_IMPL_H
#define HN_MESH_PEERS_IMPL_H

#include "node/mesh/mesh_impl.h"
#include "node/mesh/peers.h"

/*
 * Shared by peers.c (the table and what discovery says), peers_session.c (what
 * sessions say), dialer.c (whom to dial and when), peers_view.c (what people
 * see) and peers_db.c (what is on disk).
 */
enum peer_state {
	PEER_KNOWN,    /* heard of; no use for a session, or no address */
	PEER_DIALLING, /* the first dial, or one after a failure */
	PEER_OK,       /* has a session */
	PEER_RETRY,    /* could not be dialled; the timer runs */
	PEER_LEFT,     /* said goodbye; dialled again only on news */
	PEER_LOST,     /* its session broke; dialled again */
	PEER_DROPPED   /* failed a proof or is suspect: no work */
};
const char *peer_state_str(enum peer_state s);

enum peer_source {
	PEER_FROM_DHT,
	PEER_FROM_LAN,
	PEER_FROM_DIAL,
	PEER_FROM_INVITE,
	PEER_FROM_STORE,
	PEER_FROM_INBOUND
};

struct attempt; /* dialer.c */
struct waiter;

struct peer {
	struct peers *all;
	struct node_id id;
	char name[NODE_NAME_SIZE];
	enum peer_state state;
	enum peer_source source;
	char *why;	   /* of retry, lost, dropped; NULL */
	char *refused;	   /* why its records are not taken; NULL: they are */
	uint64_t heard_ms; /* loop_ms; 0: never in this run */
	uint64_t made_ms;  /* loop_ms */
	bool user;	   /* dialled by a person: never forgotten */
	bool lan;	   /* its beacon was heard */
	bool proof;	   /* dropped for good: not let in again */

	/* Facts, from its record or its own words. */
	const char *role; /* "serve", "use", "both" */
	char *software, *cpu;
	uint64_t cores, ram_mib, suites;
	uint64_t record_seq;
	uint8_t boot_id[8];   /* zero: not known */
	uint8_t left_boot[8]; /* of the process that said goodbye */
	struct strs address;  /* to dial, best first */
	struct strs dht;
	struct strs topics; /* live records, or its own words */
	struct strs wants;  /* capabilities it wants work of (D8) */
	struct cap_info *caps;
	size_t ncaps;
	uint64_t changed_seq; /* of its last node.changed */

	/* Its session. */
	struct session *session;
	bool learned;	  /* its node.info came over this session */
	int64_t clock_ms; /* its clock minus ours */
	double tokens;	  /* see peers_allow */
	uint64_t tokens_ms;

	/* Dialling. */
	struct attempt *attempt;
	struct loop_timer *timer;
	uint64_t due_ms; /* loop_ms when the timer ends */
	uint32_t backoff_ms;
	unsigned failures;	/* in a row */
	struct strs failed;	/* announced, and refused in the last attempt */
	uint8_t failed_boot[8]; /* of its process at that time */
	char *failed_why;
	struct probe *probe;
	uint8_t probed_boot[8];
	struct strs probed; /* the addresses that the probe is about */
	struct waiter *waiters;
};

struct peers {
	struct mesh *m;
	struct peer **items;
	size_t n;
	unsigned dialling;
	struct loop_timer *tick, *tell;
	uint64_t told_ms, changed_seq;
	bool greeted; /* "joined" was logged */
	bool stopping;
	uint64_t skew_warned_ms;
	loop_fn loaded;
	void *loaded_arg;
};

#define PEER_TOPICS 64
#define PEER_CAPS 64
#define PEER_CALLS_BURST 40

/* peers.c */
struct peer *peer_find(const struct peers *p, const struct node_id *id);
struct peer *peer_get_or_add(struct peers *p, const struct node_id *id,
			     enum peer_source source);
void peer_set_state(struct peer *q, enum peer_state s, const char *why);
/* Adds addresses; first: before those that are there. */
void peer_add_address(struct peer *q, const char *address, bool first);
void peer_workers(struct peer *q); /* tells the job side of its offers */
void peer_bootstrap(struct peer *q);
void peer_remove(struct peer *q);
void peer_heard(struct peer *q); /* a sign of life */
/* Takes its boot id; true: it is another process than before. */
bool peer_new_boot(struct peer *q, const uint8_t boot_id[8]);
/* The whole of its offers (struct cap_info, lent); tells the job side. */
void peer_set_caps(struct peer *q, const struct list *caps);
/* What it announces replaces what we had, but for the one that works. */
void peer_set_addresses(struct peer *q, const struct strs *said);
void peer_workers_gone(struct peer *q);
const char *role_name(const char *role);   /* one of three; else "both" */
char *text_cut(const char *s, size_t max); /* a copy; NULL stays */
void text_set(char **at, const char *s, size_t max);

/* peers_session.c */
void peer_probe_stop(struct peer *q);
void peers_on_tell(void *arg);

/* dialer.c */
/* Dials soon if it is of use, has an address and no session. fresh: there is
 * news, an old delay does not count. */
void peer_consider(struct peer *q, bool fresh);
void peer_lost_dial(struct peer *q); /* its session broke */
void peer_dial_cancel(struct peer *q);
void peer_dial_stop(struct peer *q);  /* with waiters: ERR_CANCELED */
void peer_on_session(struct peer *q); /* waiters get it */
void peer_wait(struct peer *q, uint32_t timeout_ms, peers_session_fn fn,
	       void *arg);
void on_peer_due(void *arg);

/* peers_db.c */
void peer_store(struct peer *q);
void peers_store_clear(struct peers *p);

#endif
