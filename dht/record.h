/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_DHT_RECORD_H
#define HN_DHT_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/fields.h"
#include "node/base/identity.h"

/*
 * A node's announcement under one topic (decision D5): a table of fields,
 * signed over ("hnode record 1" || mesh id || topic id || body), sealed with
 * the mesh's record key, at most RECORD_MAX bytes. Pure: time is an argument.
 */
#define RECORD_MAX 1200
#define RECORD_ADDRESSES 64
#define RECORD_CAPS 64
#define RECORD_LIFE_MS (10 * 60 * 1000)
#define RECORD_AHEAD_MS (10 * 60 * 1000)
#define TOPIC_NAME_MAX 96

/* What everything in a mesh is derived from (D1, D3). */
struct mesh_keys {
	uint8_t mesh_id[32];
	uint8_t psk0[32];
	uint8_t topic[32];
	uint8_t record[32];
	uint8_t beacon[32];
	uint32_t network; /* OpenDHT's number, never 0 */
};
/* mesh_key is the mesh's secret; the result is secret but for mesh_id and
 * network. */
void mesh_keys_derive(const uint8_t mesh_id[static 32],
		      const uint8_t mesh_key[static 32], struct mesh_keys *out);
/* BLAKE2b-256("hnode mesh" || owner key || name); of `public` the owner key is
 * zeros. */
void mesh_id_of(const uint8_t owner[static 32], const char *name,
		uint8_t out[static 32]);
/* BLAKE2b-256("hnode public mesh"): the mesh key of `public`. */
void mesh_public_key(uint8_t out[static 32]);

struct topic_id {
	uint8_t b[32];
};
/* Topic names: lower-case letters, digits, and - _ . : / ; at most
 * TOPIC_NAME_MAX bytes; no part between slashes is empty. ERR_INPUT with a
 * sentence otherwise. */
enum err topic_check(const char *name, struct buf *why) HN_CHECK;
void topic_id_of(const struct mesh_keys *k, const char *name,
		 struct topic_id *out);

enum record_state { RECORD_LIVE, RECORD_LEFT };

/* One capability as announced; rates in units of work per second. */
struct record_cap {
	char *name;	/* "hash/sha256d" */
	uint64_t rate;	/* measured H/s; 0: not measured */
	uint64_t slots; /* units it runs at once */
	uint64_t free;	/* share free at issue, 0..100 */
	uint64_t devices;
	uint64_t price; /* credits per 2^32 hashes; 0: free of charge */
	char *region;	/* its owner's word for where it is; NULL */
	bool hardware;	/* dedicated chips, not a processor */
	bool paused;	/* takes no work now */
};
#define RECORD_REGION_MAX 32
extern const struct message record_cap_message;

struct record {
	uint64_t version; /* RECORD_VERSION */
	uint8_t node[32];
	uint64_t seq; /* ms since 1970 at issue, never below the last + 1 */
	uint64_t life_ms;
	uint64_t state;	     /* enum record_state */
	char *role;	     /* "serve", "use", "both" */
	struct strs address; /* host:port of sessions; none: outbound only */
	struct strs dht;     /* host:port of its DHT node */
	struct list caps;    /* struct record_cap */
	uint64_t suites;     /* bit 0 ChaChaPoly, bit 1 AESGCM */
	uint8_t boot_id[8];
	uint64_t cores, ram_mib;
	char *cpu;	   /* "sha-ni avx2 avx512" */
	char *software;	   /* "hnode 0.1.0" */
	struct bytes cert; /* empty in `public` */
};
#define RECORD_VERSION 1
extern const struct message record_message;

/*
 * Signs and seals; appended to out. ERR_LIMIT when over RECORD_MAX or with too
 * many addresses or capabilities. r->node must be me.
 */
enum err record_seal(const struct record *r, const struct identity *me,
		     const struct mesh_keys *k, const struct topic_id *topic,
		     const uint8_t nonce[static 24], struct buf *out) HN_CHECK;

/* Why a record is refused; each is counted apart. */
enum record_fault {
	RECORD_OK,
	RECORD_BAD_SIZE,      /* over RECORD_MAX, or too many of something */
	RECORD_BAD_SEAL,      /* of another mesh or topic, or garbage */
	RECORD_BAD_SHAPE,     /* not the fields of a record */
	RECORD_BAD_VERSION,   /* not RECORD_VERSION */
	RECORD_BAD_SIGNATURE, /* not by the node that it names */
	RECORD_AHEAD,	      /* issued over RECORD_AHEAD_MS from now */
	RECORD_EXPIRED
};

/*
 * Opens, checks signature, version, mesh, topic, times (now = our wall clock,
 * ms), counts; *out lives in the arena and is set only when all is well, or
 * all but the time (RECORD_AHEAD, RECORD_EXPIRED). The certificate is the
 * caller's to check, and so is the sequence.
 */
enum record_fault record_judge(const uint8_t *p, size_t n,
			       const struct mesh_keys *k,
			       const struct topic_id *topic, uint64_t now_ms,
			       struct arena *a, struct record *out) HN_CHECK;
/* The same as an error: ERR_CRYPTO (not ours or forged), ERR_PROTO,
 * ERR_EXPIRED, ERR_LIMIT. */
enum err record_open(const uint8_t *p, size_t n, const struct mesh_keys *k,
		     const struct topic_id *topic, uint64_t now_ms,
		     struct arena *a, struct record *out) HN_CHECK;

/* What a record is before it is signed, and after its signature was checked:
 * the fields alone, their values checked one by one. */
enum record_fault record_unpack(const uint8_t *body, size_t n, struct arena *a,
				struct record *out) HN_CHECK;

#endif
