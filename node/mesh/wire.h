/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_WIRE_H
#define HN_MESH_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/fields.h"

/*
 * The messages of the mesh's methods that have no module of their own to
 * live in (a job's are in job.h, a unit's in asic/work.h). One struct and one
 * table each; both ends, the command line's --json and PROTOCOL.md section 10
 * use the same table. Ids are 32 raw bytes on the wire, hex in JSON. Times
 * are ms since 1970 unless they say otherwise.
 */

/* --- shared parts --- */

struct cap_info { /* one offered capability */
	char *name;
	uint64_t rate; /* measured H/s; 0: not measured */
	uint64_t free; /* percent of it free now */
	uint64_t devices;
	uint64_t slots; /* units it takes at once */
	uint64_t price; /* credits per 2^32 hashes; 0: free of charge */
	char *region;	/* its owner's word for where it is; NULL: not said */
	bool hardware;	/* dedicated chips, not a processor */
	char *paused;	/* why it takes no work now; NULL: it does */
};
#define CAP_REGION_MAX 32
#define CAP_PAUSED_MAX 160
extern const struct message cap_info_message;

struct method_info {
	char *name;
	uint64_t version;
	char *right;
	char *doc;
};
extern const struct message method_info_message;

/* --- any member may call --- */

struct ping { /* node.ping, request and reply */
	uint64_t token;
	uint64_t unix_ms;
};
extern const struct message ping_message;

struct node_info { /* node.info's reply */
	uint8_t id[32];
	char *name;
	char *software; /* "hnode 0.1.0" */
	uint64_t protocol;
	char *mesh;
	uint8_t mesh_id[32];
	char *role;
	uint64_t uptime_ms;
	uint64_t unix_ms;
	struct list offers; /* cap_info */
	uint64_t cores, ram_mib;
	char *cpu;	     /* kernels this CPU can run */
	struct strs address; /* announced */
	struct list methods; /* method_info */
	uint64_t suites;
	uint64_t dht_port;  /* UDP; 0: no DHT */
	struct strs topics; /* offered and joined */
};
extern const struct message node_info_message;

struct node_health { /* node.health's reply */
	char *word;  /* "healthy", "degraded" */
	struct strs reasons;
};
extern const struct message node_health_message;

struct node_changed {	    /* node.changed: what changed between records */
	uint64_t seq;	    /* ascending per boot */
	struct list offers; /* cap_info */
	struct strs topics; /* offered and joined */
};
extern const struct message node_changed_message;

struct node_unreachable { /* node.unreachable: your address does not work */
	char *address;
	char *error;
	bool all; /* no other address worked, either */
};
extern const struct message node_unreachable_message;

/* mesh.newkey: a rekey, signed by the mesh owner ("hnode rekey 1" over mesh
 * id, generation, mesh key, excluded ids in order). */
struct mesh_newkey {
	uint64_t generation;
	uint8_t mesh_key[32];
	struct list excluded; /* struct wire_id */
	uint8_t sig[64];
};
struct wire_id {
	uint8_t id[32];
};
extern const struct message wire_id_message, mesh_newkey_message;

/* --- a session opened with an invite --- */

struct mesh_enroll { /* request */
	char *software;
	uint8_t owner[32]; /* the newcomer's owner; zero: itself */
};
struct mesh_enrolled { /* reply */
	char *mesh;
	uint8_t mesh_key[32];
	uint8_t owner[32]; /* the mesh owner's key */
	uint64_t generation;
	struct bytes cert;
	struct list excluded;  /* wire_id */
	struct list known;     /* known_node: whom to dial first */
	uint8_t rekey_sig[64]; /* of the last rekey: mesh_newkey.sig */
};
struct known_node {
	uint8_t id[32];
	struct strs address;
	struct strs dht;
};
extern const struct message mesh_enroll_message, mesh_enrolled_message,
    known_node_message;

/* --- work, for members to whom the capability is granted --- */

struct hash_search { /* hash.search: one lease. Progress: search_progress */
	char *job;
	uint64_t lease;
	uint8_t header[80];
	uint64_t start, end, share_bits;
	uint64_t expected_ms;
};
struct search_progress {    /* chunk, callee to caller */
	uint64_t below;	    /* all below it is done */
	struct u32s shares; /* new ones, ascending */
};
struct hash_searched { /* reply; sig over "hnode answer 1" || job || lease
			* u64 || header || start u64 || end u64 || k u8 ||
			* SHA-256 of all share nonces as u32, integers big
			* endian */
	uint64_t hashes;
	uint64_t shares;
	uint8_t sig[64];
};
extern const struct message hash_search_message, search_progress_message,
    hash_searched_message;

/* hash.batch: digests of many inputs, order kept, streamed both ways. */
struct hash_batch {
	uint64_t rounds;  /* 1 SHA-256, 2 SHA-256d */
	uint8_t peer[32]; /* control socket only: zero = this node */
};
struct batch_item {
	struct bytes data; /* at most BATCH_PART_MAX */
	bool more;	   /* the next item goes on where this one ends */
};
struct batch_in {	/* chunk, caller to callee */
	uint64_t first; /* index of the input that items[0] is or goes on */
	struct list items;
};
struct batch_out { /* chunk, callee to caller: one for each batch_in that
		    * ends at least one input */
	uint64_t first;
	struct bytes digests; /* 32 each */
};
struct batch_end { /* reply */
	uint64_t count;
	uint8_t by[32];
};
#define BATCH_ITEM_MAX (1u << 20)    /* one input, all its parts */
#define BATCH_PART_MAX (64u << 10)   /* of it in one chunk */
#define BATCH_CHUNK_MAX (128u << 10) /* a packed chunk, either direction */
#define BATCH_ITEMS_MAX 1024
extern const struct message hash_batch_message, batch_item_message,
    batch_in_message, batch_out_message, batch_end_message;

/* --- the control socket's own (right: owner) --- */

struct peer_info { /* a row of `hnode peers` */
	uint8_t id[32];
	char *name;
	char *state;	 /* self, ok, dialling, known, retry, left, lost,
			  * dropped */
	char *path;	 /* self, lan, direct, - */
	char *address;	 /* of the session, else the first announced */
	uint64_t rtt_us; /* 0: none measured */
	char *role;
	struct list offers; /* cap_info */
	struct strs topics;
	char *software, *cpu;
	uint64_t cores, ram_mib;
	uint64_t age_ms;     /* since we last heard of it */
	uint64_t record_seq; /* of its newest record */
	uint64_t session_ms; /* how long the session is up; 0: none */
	uint64_t bytes_in, bytes_out;
	int64_t clock_ms;  /* its clock minus ours */
	char *why;	   /* of retry, lost, dropped */
	uint64_t retry_ms; /* until the next dial */
	char *source;	   /* dht, lan, dial, invite, stored, inbound */
	/* What this node thinks of it (score.h). */
	uint64_t score;	   /* permille */
	char *trust;	   /* new, trusted, quarantined, probation, barred */
	char *reasons;	   /* of the score */
	char *trust_why;   /* why it gets no work; NULL: it may */
	uint64_t until_ms; /* of a quarantine, from now */
	uint64_t units, fails; /* faded counts */
	uint64_t measured;     /* H/s at work for us; 0: not yet */
	uint64_t sent, resent; /* TCP segments of the session; 0: not known */
};
struct peers_query { /* peers.list and peers.find */
	char *topic; /* NULL: all */
	char *cap;   /* NULL: any */
	uint64_t min_rate;
	uint64_t max_rtt_us; /* 0: any */
	uint64_t wait_ms;    /* a first look-up waits so long; 0: 2,000 */
};
struct peers_list {
	struct list peers; /* peer_info */
};
extern const struct message peer_info_message, peers_query_message,
    peers_list_message;

struct peer_ref { /* peer.ping, peer.info: id in hex, a unique prefix of 4
		   * or more digits, or a name */
	char *peer;
};
struct peer_dial {
	char *address; /* ID@HOST:PORT */
	uint64_t timeout_ms;
};
struct peer_session { /* reply of peer.dial and peer.ping */
	uint8_t id[32];
	char *name;
	char *address;
	char *path;
	uint64_t rtt_us;
};
struct peer_call {
	char *peer;
	char *method;
	char *json; /* the request; NULL: {} */
	uint64_t timeout_ms;
};
struct peer_called {
	char *json; /* the reply */
};
extern const struct message peer_ref_message, peer_dial_message,
    peer_session_message, peer_call_message, peer_called_message;

struct topic_ref { /* topic.join, topic.leave, offer.stop */
	char *topic;
};
struct offer_add { /* begins as topic_ref does */
	char *topic;
	struct strs limits; /* "share=50%"; those not named stay */
};
struct topic_info {
	char *topic;
	uint8_t id[32];
	bool offered, joined, followed;
	uint64_t peers; /* live records of others */
};
struct topic_list { /* topic.list, and the reply of the four above */
	struct list topics;
};
struct lending_info {	       /* what the owner's limits say now */
	bool active;	       /* something is offered */
	bool allowed;	       /* others' work is taken now */
	uint64_t share;	       /* permille of the device's time they get now */
	char *why;	       /* of a pause or a lower share; NULL */
	uint64_t change_ms;    /* until that may change; 0: not known */
	uint64_t units, jobs;  /* of others, here now */
	struct opt_u64 others; /* permille of the processors others use */
	struct opt_u64 input_ms; /* since somebody typed */
	char *on_battery;	 /* yes, no, unknown */
	struct opt_u64 charge;	 /* percent */
	struct opt_u64 heat;	 /* thousandths of a degree Celsius */
	char *heat_of;		 /* the hottest sensor */
	char *blind;		 /* limits without a sensor; NULL */
	struct strs limits;	 /* "share=50%", all of them */
	char *summary;		 /* those that are set; NULL */
};
extern const struct message lending_info_message, offer_add_message;

/* --- sites --- */

struct site_offer {	    /* chunk of site.join, to the head */
	struct list offers; /* cap_info: all, as they are now */
};
struct site_name { /* chunk of site.join, from the head: you are in */
	char *name;
};
struct site_node { /* a node behind a head */
	uint8_t id[32];
	char *name;
	bool here;		/* it takes work */
	uint64_t rate, devices; /* H/s measured, or as it says */
	uint64_t parts, nonces; /* done for the site */
	uint64_t held;		/* parts in its hands */
};
struct site_info {
	char *name;	    /* NULL: in no site */
	char *head;	    /* whom this node is behind; NULL: nobody */
	bool joined;	    /* and that one has taken it */
	struct list behind; /* site_node */
};
extern const struct message site_offer_message, site_name_message,
    site_node_message, site_info_message;

struct offer_list {	    /* offer.list and offer.add's reply */
	struct list offers; /* cap_info */
	struct lending_info lending;
};
extern const struct message topic_ref_message, topic_info_message,
    topic_list_message, offer_list_message;

struct mesh_invite {
	uint64_t uses;	  /* 0: 1 */
	uint64_t life_ms; /* 0: 24 h */
	char *mesh;	  /* name for a new private mesh; NULL: "home" */
	bool yes;	  /* leave `public` without asking */
};
struct mesh_invited {
	char *invite; /* one word; NULL: it must be asked first */
	char *mesh;
	uint64_t expires_ms;
	uint64_t uses;
	bool new_mesh; /* the node left (would leave) `public` */
};
struct mesh_rekey {
	struct strs without; /* node ids (hex), or names of known peers */
};
struct mesh_rekeyed {
	uint64_t generation;
	uint64_t told; /* sessions that confirmed */
	uint64_t excluded;
};
extern const struct message mesh_invite_message, mesh_invited_message,
    mesh_rekey_message, mesh_rekeyed_message;

struct counter {
	char *name;
	uint64_t value;
};
struct device_info {
	char *id, *model, *kernel;
	bool hardware;
	uint64_t threads, rate, hashes, shares, hw_errors, running, queued;
};
struct node_status {	     /* node.status */
	char *word;	     /* healthy, degraded */
	struct strs reasons; /* each with what to do */
	uint8_t id[32];
	char *name, *software, *mesh, *role, *data_dir;
	uint8_t mesh_id[32];
	uint64_t pid, uptime_ms, port;
	uint64_t sessions, peers_known, jobs_open;
	char *dht; /* off, alone, connected */
	struct strs address;
	struct strs bootstraps;
	struct list offers;  /* cap_info */
	struct list topics;  /* topic_info */
	struct list devices; /* device_info */
	int64_t clock_ms;    /* median of sessions minus ours */
	struct list counters;
	uint64_t rss_kib;
	struct lending_info lending;
	uint64_t quarantined, barred; /* peers that get no work from us */
	struct site_info site;
};
extern const struct message counter_message, device_info_message,
    node_status_message;

struct job_ref { /* job.show, job.watch, job.cancel */
	char *job;
	uint64_t detail; /* enum job_detail */
};
struct explain_row { /* one peer of job.explain */
	uint8_t id[32];
	char *name;
	bool chosen; /* it has, had or gets work of the job */
	char *code;  /* "working", "too-slow", "unreachable", ... */
	char *text;
	uint64_t rate; /* H/s, measured or as it says; 0: not known */
	bool measured;
	uint64_t score;	 /* permille */
	uint64_t rtt_us; /* 0: none measured */
	uint64_t load;	 /* percent that others use of it */
	uint64_t price;
	uint64_t held, units, hashes; /* of this job */
};
struct explained { /* job.explain */
	char *job, *state, *balance;
	struct list peers; /* explain_row; those with work first */
	char *waiting;	   /* as in job_info */
};
extern const struct message explain_row_message, explained_message;

struct job_list {
	struct list jobs; /* job_info */
};
struct job_made { /* job.submit's reply */
	char *job;
};
extern const struct message job_ref_message, job_list_message, job_made_message;

#endif
