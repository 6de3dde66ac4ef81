/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/mem.h"
#include "rpc/noise.h"

#include <jansson.h>
#include <sodium.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * noise_vectors FILE...: runs Noise test vectors in the cacophony JSON format
 * against rpc/noise.c, both sides of each, byte for byte. One line per failure,
 * then "N passed, N failed" and ", N skipped" where there are any: other
 * algorithms than ours, or AES-GCM where libsodium lacks it.
 * Exit: 0, 1 if any vector failed, 64 if a file is not of this format.
 */

#define EXIT_BAD_INPUT 64

/* One side of a vector; pointers are NULL where the vector has nothing. */
struct side {
	struct bytes prologue, s, e, rs;
	uint8_t psks[NOISE_PSKS_MAX][NOISE_KEY_LEN];
	size_t n_psks;
};

struct message {
	struct bytes payload, ciphertext;
};

struct vector {
	const char *file;
	size_t index;
	const char *name;
	struct side init, resp;
	struct bytes hash;
	struct message *messages;
	size_t n_messages;
	struct arena arena;
};

/* The two ends while a vector runs. */
struct run {
	const struct vector *v;
	struct noise *init, *resp;
	struct noise_cipher init_tx, init_rx, resp_tx, resp_rx;
	bool split;
	uint8_t buf[NOISE_MSG_MAX];
};

static unsigned passed, failed, skipped;

static void __attribute__((noreturn, format(printf, 2, 3)))
malformed(const struct vector *v, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "noise_vectors: %s: vector %zu: ", v->file, v->index);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	exit(EXIT_BAD_INPUT);
}

static bool __attribute__((format(printf, 2, 3)))
differs(const struct vector *v, const char *fmt, ...)
{
	va_list ap;

	printf("FAIL %s: vector %zu: %s: ", v->file, v->index, v->name);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	return false;
}

/* --- reading the file --- */

static struct bytes hex(struct vector *v, const json_t *value, const char *what,
			size_t max)
{
	const char *text = json_string_value(value), *end;
	size_t len, n = 0;
	uint8_t *p;

	if (!text)
		malformed(v, "%s is not a string", what);
	len = json_string_length(value);
	if (len % 2 != 0 || len / 2 > max)
		malformed(v, "%s has %zu hex digits", what, len);
	p = arena_alloc(&v->arena, len / 2 + 1);
	if (sodium_hex2bin(p, len / 2, text, len, NULL, &n, &end) != 0 ||
	    end != text + len)
		malformed(v, "%s is not hexadecimal", what);
	return (struct bytes){p, n};
}

/* "init" or "resp" and the rest of the member's name; NULL when absent. */
static const json_t *member(const json_t *o, const char *who, const char *what)
{
	char key[64];

	snprintf(key, sizeof key, "%s_%s", who, what);
	return json_object_get(o, key);
}

static struct bytes key_of(struct vector *v, const json_t *o, const char *who,
			   const char *what)
{
	const json_t *value = member(o, who, what);
	struct bytes b = {NULL, 0};

	if (!value)
		return b;
	b = hex(v, value, what, NOISE_KEY_LEN);
	if (b.n != NOISE_KEY_LEN)
		malformed(v, "%s_%s has %zu bytes instead of %d", who, what,
			  b.n, NOISE_KEY_LEN);
	return b;
}

static void load_side(struct vector *v, const json_t *o, const char *who,
		      struct side *side)
{
	const json_t *prologue = member(o, who, "prologue");
	const json_t *psks = member(o, who, "psks");

	if (prologue)
		side->prologue = hex(v, prologue, "prologue", NOISE_MSG_MAX);
	side->s = key_of(v, o, who, "static");
	side->e = key_of(v, o, who, "ephemeral");
	side->rs = key_of(v, o, who, "remote_static");
	if (!psks)
		return;
	if (!json_is_array(psks) || json_array_size(psks) > NOISE_PSKS_MAX)
		malformed(v, "%s_psks is not a list of at most %d", who,
			  NOISE_PSKS_MAX);
	side->n_psks = json_array_size(psks);
	for (size_t i = 0; i < side->n_psks; i++) {
		const struct bytes b =
		    hex(v, json_array_get(psks, i), "psk", NOISE_KEY_LEN);

		if (b.n != NOISE_KEY_LEN)
			malformed(v, "%s_psks has one of %zu bytes", who, b.n);
		memcpy(side->psks[i], b.p, b.n);
	}
}

static void load_messages(struct vector *v, const json_t *o)
{
	const json_t *list = json_object_get(o, "messages");

	if (!json_is_array(list))
		malformed(v, "there is no list of messages");
	v->n_messages = json_array_size(list);
	v->messages =
	    arena_alloc(&v->arena, (v->n_messages + 1) * sizeof *v->messages);
	for (size_t i = 0; i < v->n_messages; i++) {
		const json_t *m = json_array_get(list, i);

		v->messages[i].payload = hex(v, json_object_get(m, "payload"),
					     "payload", NOISE_MSG_MAX);
		v->messages[i].ciphertext =
		    hex(v, json_object_get(m, "ciphertext"), "ciphertext",
			NOISE_MSG_MAX);
	}
}

static void load_vector(struct vector *v, const json_t *o)
{
	const json_t *hash = json_object_get(o, "handshake_hash");

	if (!json_is_object(o))
		malformed(v, "it is not an object");
	v->name = json_string_value(json_object_get(o, "protocol_name"));
	if (!v->name)
		malformed(v, "there is no protocol_name");
	load_side(v, o, "init", &v->init);
	load_side(v, o, "resp", &v->resp);
	load_messages(v, o);
	if (!hash)
		return;
	v->hash = hex(v, hash, "handshake_hash", 64);
}

/* --- running one --- */

/* The name has our algorithms and no modifier but pskN; others are skipped.
 * What follows from a name that is ours is judged by noise_new. */
static bool ours(const char *name)
{
	const char *pattern = strchr(name, '_');
	const char *algorithms = pattern ? strchr(pattern + 1, '_') : NULL;

	if (!algorithms || strncmp(name, "Noise_", 6) != 0)
		return false;
	if (strcmp(algorithms, "_25519_AESGCM_SHA256") == 0)
		return noise_aesgcm_available() && !strstr(name, "fallback");
	return strcmp(algorithms, "_25519_ChaChaPoly_SHA256") == 0 &&
	       !strstr(name, "fallback");
}

static enum err make(const struct vector *v, const struct side *side,
		     bool initiator, struct noise **out)
{
	const struct noise_options o = {
	    .protocol = v->name,
	    .initiator = initiator,
	    .s = side->s.p,
	    .e = side->e.p,
	    .rs = side->rs.p,
	    .psks = side->psks,
	    .n_psks = side->n_psks,
	    .prologue = side->prologue,
	};

	return noise_new(&o, out);
}

static bool equal(const uint8_t *p, size_t n, struct bytes b)
{
	return n == b.n && (n == 0 || memcmp(p, b.p, n) == 0);
}

static bool run_handshake(struct run *r, size_t i)
{
	const struct message *m = &r->v->messages[i];
	const bool turn = noise_my_turn(r->init);
	struct noise *from = turn ? r->init : r->resp;
	struct noise *to = turn ? r->resp : r->init;
	size_t n;
	enum err e;

	e = noise_write(from, m->payload.p, m->payload.n, r->buf, sizeof r->buf,
			&n);
	if (e)
		return differs(r->v, "message %zu: write: %s", i, err_str(e));
	if (!equal(r->buf, n, m->ciphertext))
		return differs(r->v, "message %zu: other ciphertext", i);
	e = noise_read(to, m->ciphertext.p, m->ciphertext.n, r->buf,
		       sizeof r->buf, &n);
	if (e)
		return differs(r->v, "message %zu: read: %s", i, err_str(e));
	if (!equal(r->buf, n, m->payload))
		return differs(r->v, "message %zu: other payload", i);
	return true;
}

static bool run_end(struct run *r)
{
	const struct bytes hash = r->v->hash;

	if (!noise_done(r->init) || !noise_done(r->resp))
		return differs(r->v, "the messages end before the handshake");
	if (hash.p && (!equal(noise_hash(r->init), NOISE_HASH_LEN, hash) ||
		       !equal(noise_hash(r->resp), NOISE_HASH_LEN, hash)))
		return differs(r->v, "other handshake hash");
	if (noise_split(r->init, &r->init_tx, &r->init_rx) ||
	    noise_split(r->resp, &r->resp_tx, &r->resp_rx))
		return differs(r->v, "no split");
	r->split = true;
	return true;
}

static bool run_transport(struct run *r, size_t i)
{
	const struct message *m = &r->v->messages[i];
	/* One-way: the responder has no key to send with. */
	const bool initiator = i % 2 == 0 || !r->init_rx.keyed;
	struct noise_cipher *tx = initiator ? &r->init_tx : &r->resp_tx;
	struct noise_cipher *rx = initiator ? &r->resp_rx : &r->init_rx;
	enum err e;

	e = noise_cipher_seal(tx, NULL, 0, m->payload.p, m->payload.n, r->buf);
	if (e)
		return differs(r->v, "message %zu: seal: %s", i, err_str(e));
	if (!equal(r->buf, m->payload.n + NOISE_TAG_LEN, m->ciphertext))
		return differs(r->v, "message %zu: other ciphertext", i);
	e = noise_cipher_open(rx, NULL, 0, m->ciphertext.p, m->ciphertext.n,
			      r->buf);
	if (e)
		return differs(r->v, "message %zu: open: %s", i, err_str(e));
	if (!equal(r->buf, m->ciphertext.n - NOISE_TAG_LEN, m->payload))
		return differs(r->v, "message %zu: other payload", i);
	return true;
}

static bool run_messages(struct run *r)
{
	for (size_t i = 0; i < r->v->n_messages; i++) {
		if (!noise_done(r->init)) {
			if (!run_handshake(r, i))
				return false;
			continue;
		}
		if (!r->split && !run_end(r))
			return false;
		if (!run_transport(r, i))
			return false;
	}
	return r->split || run_end(r);
}

static bool run_vector(const struct vector *v)
{
	struct run *r = HN_NEW(struct run);
	bool ok = false;
	enum err e;

	r->v = v;
	e = make(v, &v->init, true, &r->init);
	if (e) {
		differs(v, "initiator: %s", err_str(e));
		goto out;
	}
	e = make(v, &v->resp, false, &r->resp);
	if (e) {
		differs(v, "responder: %s", err_str(e));
		goto out;
	}
	ok = run_messages(r);
out:
	noise_free(r->init);
	noise_free(r->resp);
	free(r);
	return ok;
}

static void run_file(const char *file)
{
	json_error_t why;
	json_t *root = json_load_file(file, JSON_REJECT_DUPLICATES, &why);
	const json_t *list;

	if (!root) {
		fprintf(stderr, "noise_vectors: %s: %s (line %d)\n", file,
			why.text, why.line > 0 ? why.line : 0);
		exit(EXIT_BAD_INPUT);
	}
	list = json_object_get(root, "vectors");
	if (!json_is_array(list) || json_array_size(list) == 0) {
		fprintf(stderr, "noise_vectors: %s: no list of vectors\n",
			file);
		json_decref(root);
		exit(EXIT_BAD_INPUT);
	}
	for (size_t i = 0; i < json_array_size(list); i++) {
		struct vector v = {.file = file, .index = i};

		load_vector(&v, json_array_get(list, i));
		if (!ours(v.name))
			skipped++;
		else if (run_vector(&v))
			passed++;
		else
			failed++;
		arena_release(&v.arena);
	}
	json_decref(root);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: noise_vectors FILE...\n");
		return EXIT_BAD_INPUT;
	}
	if (sodium_init() < 0) {
		fprintf(stderr, "noise_vectors: libsodium does not start\n");
		return 1;
	}
	for (int i = 1; i < argc; i++)
		run_file(argv[i]);
	printf("%u passed, %u failed", passed, failed);
	if (skipped > 0)
		printf(", %u skipped", skipped);
	printf("\n");
	return failed > 0;
}
