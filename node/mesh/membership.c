/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/membership.h"

#include "dht/record.h"
#include "node/base/cert.h"

#include <sodium.h>

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_VERSION 1
#define FILE_MAX (1u << 18)
#define REKEY_PURPOSE "hnode rekey 1"

/* The file, by the same kind of table as every message. */
struct mesh_file {
	uint64_t hnode_mesh; /* FILE_VERSION */
	char *name;
	uint8_t mesh_id[32];
	uint8_t owner[32];
	uint8_t key[32];
	uint64_t generation;
	struct bytes prev_key;
	uint64_t rekeyed_ms;
	struct bytes cert;
	struct list excluded; /* struct wire_id */
	uint8_t rekey_sig[64];
};
static const struct field mesh_file_fields[] = {
    FIELD_U64(struct mesh_file, hnode_mesh, 0, "version of this file"),
    FIELD_STR(struct mesh_file, name, MESH_NAME_MAX, "name of the mesh"),
    FIELD_FIXED(struct mesh_file, mesh_id, "mesh id"),
    FIELD_FIXED(struct mesh_file, owner, "the mesh owner's key"),
    FIELD_FIXED(struct mesh_file, key, "the mesh key: secret"),
    FIELD_U64(struct mesh_file, generation, 0, "rekeys so far"),
    FIELD_OPT_FIXED(struct mesh_file, prev_key, 32, "the key before"),
    FIELD_U64(struct mesh_file, rekeyed_ms, 0, "when the key changed here"),
    FIELD_BYTES(struct mesh_file, cert, CERT_MAX, "our certificate"),
    FIELD_LIST(struct mesh_file, excluded, MESH_EXCLUDED_MAX, &wire_id_message,
	       "nodes left out"),
    FIELD_FIXED(struct mesh_file, rekey_sig, "of the last rekey"),
};
static const struct message mesh_file_message =
    MESSAGE("mesh_file", struct mesh_file, mesh_file_fields);

enum err mesh_name_check(const char *name, struct buf *why)
{
	size_t n = strlen(name);

	if (!n || n > MESH_NAME_MAX) {
		buf_printf(why, "the name of a mesh has 1 to %d letters",
			   MESH_NAME_MAX);
		return ERR_INPUT;
	}
	if (strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != n) {
		buf_add_str(why, "the name of a mesh is made of lower-case "
				 "letters, digits and - _ .");
		return ERR_INPUT;
	}
	if (!strcmp(name, "public")) {
		buf_add_str(why, "\"public\" is the open mesh; choose another "
				 "name");
		return ERR_INPUT;
	}
	return OK;
}

static struct membership *membership_new(const char *dir)
{
	struct membership *m = HN_NEW(struct membership);

	m->dir = xstrdup(dir);
	m->secret = sodium_malloc(sizeof(*m->secret));
	if (!m->secret)
		abort();
	sodium_memzero(m->secret, sizeof(*m->secret));
	return m;
}

static void set_public(struct membership *m)
{
	static const uint8_t no_owner[32];

	m->is_public = true;
	snprintf(m->name, sizeof(m->name), "public");
	mesh_public_key(m->secret->key);
	mesh_id_of(no_owner, m->name, m->mesh_id);
}

void membership_free(struct membership *m)
{
	if (!m)
		return;
	sodium_free(m->secret);
	buf_release(&m->cert);
	free(m->excluded);
	free(m->dir);
	free(m);
}

/* Moves what `from` holds into m, which keeps its address; frees from. */
static void take_over(struct membership *m, struct membership *take_from)
{
	struct membership old = *m;

	*m = *take_from;
	*take_from = old;
	membership_free(take_from);
}

static struct membership *membership_copy(const struct membership *m)
{
	struct membership *c = membership_new(m->dir);
	struct membership kept = *c;

	*c = *m;
	c->dir = kept.dir;
	c->secret = kept.secret;
	*c->secret = *m->secret;
	c->cert = (struct buf){0};
	buf_add(&c->cert, m->cert.p, m->cert.n);
	c->excluded = xmemdup(m->excluded, m->nexcluded * sizeof(*m->excluded));
	return c;
}

/* --- the file --- */

static enum err io_error(struct buf *why, const char *what, const char *path)
{
	buf_printf(why, "cannot %s %s: %s", what, path, strerror(errno));
	return ERR_IO;
}

static bool write_all(int fd, const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t k = write(fd, p, n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return false;
		p += k;
		n -= (size_t)k;
	}
	return fsync(fd) == 0;
}

static enum err write_file(const char *dir, const struct buf *text,
			   struct buf *why)
{
	char *path = xasprintf("%s/mesh", dir);
	/* One name: what a kill left behind is written over. */
	char *temp = xasprintf("%s/mesh.new", dir);
	enum err e = OK;

	int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0) {
		e = io_error(why, "write", temp);
		goto out;
	}
	bool good = write_all(fd, text->p, text->n);
	if (close(fd) || !good) {
		e = io_error(why, "write", temp);
		unlink(temp);
		goto out;
	}
	if (rename(temp, path)) {
		e = io_error(why, "replace", path);
		unlink(temp);
		goto out;
	}
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
out:
	free(path);
	free(temp);
	return e;
}

static enum err membership_save(const struct membership *m, struct buf *why)
{
	struct buf text = {0};
	struct mesh_file f = {
	    .hnode_mesh = FILE_VERSION,
	    .name = (char *)(uintptr_t)m->name,
	    .generation = m->generation,
	    .rekeyed_ms = m->rekeyed_ms,
	    .cert = {m->cert.p, m->cert.n},
	    .excluded = {m->excluded, m->nexcluded},
	};
	static_assert(sizeof(struct wire_id) == sizeof(struct node_id),
		      "the excluded list is packed in place");

	memcpy(f.mesh_id, m->mesh_id, 32);
	memcpy(f.owner, m->owner.b, 32);
	memcpy(f.key, m->secret->key, 32);
	if (m->has_prev)
		f.prev_key = (struct bytes){m->secret->prev, 32};
	memcpy(f.rekey_sig, m->rekey_sig, 64);
	fields_to_json(&mesh_file_message, &f, &text);
	buf_add_str(&text, "\n");
	enum err e = write_file(m->dir, &text, why);
	sodium_memzero(text.p, text.n);
	buf_release(&text);
	sodium_memzero(&f, sizeof(f));
	return e;
}

/* The whole file; *found false when there is none. */
static enum err read_file(const char *path, struct buf *out, bool *found,
			  struct buf *why)
{
	struct stat st;
	uint8_t part[4096];
	ssize_t k;

	*found = false;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? OK : io_error(why, "read", path);
	enum err e = OK;
	if (!fstat(fd, &st) && st.st_mode & 077 && fchmod(fd, 0600))
		e = io_error(why, "protect", path);
	while (!e && (k = read(fd, part, sizeof(part))) != 0) {
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			e = io_error(why, "read", path);
		else if (out->n + (size_t)k > FILE_MAX) {
			buf_printf(why, "%s is too long to be a membership",
				   path);
			e = ERR_CONFIG;
		} else
			buf_add(out, part, (size_t)k);
	}
	sodium_memzero(part, sizeof(part));
	close(fd);
	*found = true;
	return e;
}

static void from_file(struct membership *m, const struct mesh_file *f)
{
	snprintf(m->name, sizeof(m->name), "%s", f->name);
	memcpy(m->mesh_id, f->mesh_id, 32);
	memcpy(m->owner.b, f->owner, 32);
	memcpy(m->secret->key, f->key, 32);
	m->generation = f->generation;
	m->rekeyed_ms = f->rekeyed_ms;
	m->has_prev = f->prev_key.n == 32;
	if (m->has_prev)
		memcpy(m->secret->prev, f->prev_key.p, 32);
	buf_add(&m->cert, f->cert.p, f->cert.n);
	m->excluded =
	    xmemdup(f->excluded.items, f->excluded.n * sizeof(struct node_id));
	m->nexcluded = f->excluded.n;
	memcpy(m->rekey_sig, f->rekey_sig, 64);
}

static enum err load_file(struct membership *m, const struct buf *text,
			  const struct identity *me, struct buf *why)
{
	struct arena arena = {0};
	struct mesh_file f;
	struct buf detail = {0};
	uint8_t id[32];

	enum err e = fields_from_json(&mesh_file_message, (const char *)text->p,
				      text->n, &arena, &f, &detail);
	if (!e && f.hnode_mesh != FILE_VERSION) {
		buf_printf(&detail,
			   "it is of version %llu, this program "
			   "knows %d",
			   (unsigned long long)f.hnode_mesh, FILE_VERSION);
		e = ERR_CONFIG;
	}
	if (!e && (!f.name || mesh_name_check(f.name, &detail)))
		e = ERR_CONFIG;
	if (!e) {
		mesh_id_of(f.owner, f.name, id);
		if (memcmp(id, f.mesh_id, 32)) {
			buf_add_str(&detail, "name, owner and id do not fit");
			e = ERR_CONFIG;
		}
	}
	/* Expired is no reason not to start: a new invite mends it. */
	if (!e && cert_check(f.cert, identity_id(me), f.mesh_id,
			     (const struct node_id *)(const void *)f.owner, 0,
			     &detail, NULL))
		e = ERR_CONFIG;
	if (!e)
		from_file(m, &f);
	else {
		buf_printf(why,
			   "%s/mesh cannot be used (%s); restore it from a "
			   "copy, or move it away and join again with an "
			   "invite",
			   m->dir, buf_str(&detail));
		e = ERR_CONFIG;
	}
	sodium_memzero(&f, sizeof(f));
	buf_release(&detail);
	arena_release(&arena);
	return e;
}

enum err membership_load(const char *dir, const struct identity *me,
			 struct buf *why, struct membership **out)
{
	struct membership *m = membership_new(dir);
	struct buf text = {0};
	bool found;

	char *path = xasprintf("%s/mesh", dir);
	enum err e = read_file(path, &text, &found, why);
	if (!e && found)
		e = load_file(m, &text, me, why);
	else if (!e)
		set_public(m);
	if (text.n)
		sodium_memzero(text.p, text.n);
	buf_release(&text);
	free(path);
	if (e) {
		membership_free(m);
		return e;
	}
	*out = m;
	return OK;
}

/* --- making and joining --- */

enum err membership_found(struct membership *m, const char *name,
			  const struct identity *owner,
			  const struct identity *me, uint64_t now_ms,
			  struct buf *why)
{
	struct cert c = {.issued_ms = now_ms};

	enum err e = mesh_name_check(name, why);
	if (e)
		return e;
	struct membership *n = membership_new(m->dir);
	snprintf(n->name, sizeof(n->name), "%s", name);
	n->owner = *identity_id(owner);
	mesh_id_of(n->owner.b, name, n->mesh_id);
	randombytes_buf(n->secret->key, 32);
	memcpy(c.node, identity_id(me)->b, 32);
	memcpy(c.owner, n->owner.b, 32);
	memcpy(c.mesh_id, n->mesh_id, 32);
	cert_sign(&c, owner);
	cert_pack(&c, &n->cert);
	e = membership_save(n, why);
	if (e)
		membership_free(n);
	else
		take_over(m, n);
	return e;
}

enum err membership_join(struct membership *m, const struct mesh_enrolled *r,
			 const char *name, const uint8_t mesh_id[static 32],
			 const struct identity *me, uint64_t now_ms,
			 struct buf *why)
{
	const struct node_id *owner = (const void *)r->owner;
	uint8_t id[32];

	enum err e = mesh_name_check(name, why);
	if (e)
		return e;
	/* The mesh id commits to the owner's key: an inviter cannot lead us
	 * into another mesh than the one that the invite names. */
	mesh_id_of(r->owner, name, id);
	if (!r->mesh || strcmp(r->mesh, name) || memcmp(id, mesh_id, 32)) {
		buf_add_str(why, "the inviter answered for another mesh than "
				 "the invite names");
		return ERR_CRYPTO;
	}
	e = cert_check(r->cert, identity_id(me), mesh_id, owner, now_ms, why,
		       NULL);
	if (e)
		return e;
	struct membership *n = membership_new(m->dir);
	snprintf(n->name, sizeof(n->name), "%s", name);
	n->owner = *owner;
	memcpy(n->mesh_id, mesh_id, 32);
	memcpy(n->secret->key, r->mesh_key, 32);
	n->generation = r->generation;
	buf_add(&n->cert, r->cert.p, r->cert.n);
	n->nexcluded = r->excluded.n;
	n->excluded =
	    xmemdup(r->excluded.items, r->excluded.n * sizeof(struct node_id));
	memcpy(n->rekey_sig, r->rekey_sig, 64);
	e = membership_save(n, why);
	if (e)
		membership_free(n);
	else
		take_over(m, n);
	return e;
}

/* --- rekeys --- */

/* Signed: mesh id, generation, key, then the ids; all of fixed size. */
struct rekey_text {
	uint8_t generation[8];
	struct bytes parts[4];
};

static void rekey_parts(const struct membership *m, const struct mesh_newkey *k,
			struct rekey_text *t)
{
	put_be64(t->generation, k->generation);
	t->parts[0] = (struct bytes){m->mesh_id, 32};
	t->parts[1] = (struct bytes){t->generation, 8};
	t->parts[2] = (struct bytes){k->mesh_key, 32};
	t->parts[3] = (struct bytes){k->excluded.items, k->excluded.n * 32};
}

static bool listed(const struct node_id *ids, size_t n,
		   const struct node_id *id)
{
	for (size_t i = 0; i < n; i++)
		if (node_id_eq(&ids[i], id))
			return true;
	return false;
}

enum err membership_rekey(const struct membership *m,
			  const struct identity *owner,
			  const struct node_id *without, size_t n,
			  struct arena *a, struct mesh_newkey *out,
			  struct buf *why)
{
	struct rekey_text t;

	if (n + m->nexcluded > MESH_EXCLUDED_MAX) {
		buf_printf(why,
			   "a mesh can leave out %d nodes; %zu are left out "
			   "already",
			   MESH_EXCLUDED_MAX, m->nexcluded);
		return ERR_LIMIT;
	}
	struct node_id *ids =
	    arena_alloc(a, (n + m->nexcluded + 1) * sizeof(*ids));
	if (m->nexcluded)
		memcpy(ids, m->excluded, m->nexcluded * sizeof(*ids));
	size_t count = m->nexcluded;
	for (size_t i = 0; i < n; i++)
		if (!listed(ids, count, &without[i]))
			ids[count++] = without[i];
	*out = (struct mesh_newkey){.generation = m->generation + 1,
				    .excluded = {ids, count}};
	randombytes_buf(out->mesh_key, 32);
	rekey_parts(m, out, &t);
	identity_sign(owner, REKEY_PURPOSE, t.parts, 4, out->sig);
	return OK;
}

enum err membership_apply(struct membership *m, const struct mesh_newkey *k,
			  const struct node_id *self, uint64_t now_ms,
			  struct buf *why)
{
	struct rekey_text t;

	if (m->is_public) {
		buf_add_str(why, "the open mesh has no key to change");
		return ERR_DENIED;
	}
	rekey_parts(m, k, &t);
	if (!node_id_verify(&m->owner, REKEY_PURPOSE, t.parts, 4, k->sig)) {
		buf_add_str(why, "the new key is not signed by the owner of "
				 "this mesh");
		return ERR_CRYPTO;
	}
	if (k->generation == m->generation)
		return ERR_EXISTS;
	if (k->generation < m->generation) {
		buf_add_str(why, "this node has a newer key");
		return ERR_EXPIRED;
	}
	if (listed(k->excluded.items, k->excluded.n, self)) {
		buf_add_str(why, "this node is left out");
		return ERR_DENIED;
	}
	struct membership *n = membership_copy(m);
	memcpy(n->secret->prev, m->secret->key, 32);
	memcpy(n->secret->key, k->mesh_key, 32);
	n->has_prev = true;
	n->generation = k->generation;
	n->rekeyed_ms = now_ms;
	free(n->excluded);
	n->nexcluded = k->excluded.n;
	n->excluded =
	    xmemdup(k->excluded.items, k->excluded.n * sizeof(struct node_id));
	memcpy(n->rekey_sig, k->sig, 64);
	enum err e = membership_save(n, why);
	if (e)
		membership_free(n);
	else
		take_over(m, n);
	return e;
}

bool membership_newkey(const struct membership *m, struct arena *a,
		       struct mesh_newkey *out)
{
	if (m->is_public || !m->generation)
		return false;
	*out = (struct mesh_newkey){.generation = m->generation};
	memcpy(out->mesh_key, m->secret->key, 32);
	out->excluded.n = m->nexcluded;
	out->excluded.items =
	    arena_memdup(a, m->excluded, m->nexcluded * sizeof(struct node_id));
	memcpy(out->sig, m->rekey_sig, 64);
	return true;
}

uint64_t membership_prev_ms(const struct membership *m, uint64_t now_ms)
{
	/* A clock that was set back does not prolong the day: over a day in
	 * the past or in the future, both end it. */
	uint64_t age = now_ms > m->rekeyed_ms ? now_ms - m->rekeyed_ms
					      : m->rekeyed_ms - now_ms;

	return m->has_prev && age < OLD_KEY_MS ? OLD_KEY_MS - age : 0;
}

const uint8_t *membership_prev(const struct membership *m, uint64_t now_ms)
{
	return membership_prev_ms(m, now_ms) ? m->secret->prev : NULL;
}

void membership_keys(const struct membership *m, struct mesh_keys *out)
{
	mesh_keys_derive(m->mesh_id, m->secret->key, out);
}

bool membership_excludes(const struct membership *m, const struct node_id *id)
{
	return listed(m->excluded, m->nexcluded, id);
}

enum err membership_admit(const struct membership *m, const struct node_id *id,
			  struct bytes cert, uint64_t now_ms, struct buf *why)
{
	if (m->is_public)
		return OK;
	if (membership_excludes(m, id)) {
		buf_add_str(why, "this node was left out of the mesh");
		return ERR_DENIED;
	}
	return cert_check(cert, id, m->mesh_id, &m->owner, now_ms, why, NULL);
}

enum err membership_owner(const struct membership *m, bool make,
			  struct buf *why, struct identity **out)
{
	struct identity *owner = NULL;
	enum err e = OK;
	bool fresh;

	char *path = xasprintf("%s/owner.key", m->dir);
	if (!make && access(path, F_OK)) {
		buf_printf(why,
			   "this node does not hold the owner's key of mesh "
			   "\"%s\"; bring it here with `hnode owner import`, "
			   "or do this on the node that has it",
			   m->name);
		e = m->is_public ? ERR_NOTFOUND : ERR_DENIED;
		goto out;
	}
	e = identity_load(path, "owner", &fresh, why, &owner);
	if (e)
		goto out;
	if (!m->is_public && !node_id_eq(identity_id(owner), &m->owner)) {
		buf_printf(why,
			   "the owner's key here is not that of mesh \"%s\"; "
			   "bring that one with `hnode owner import`",
			   m->name);
		identity_free(owner);
		e = ERR_DENIED;
		goto out;
	}
	*out = owner;
out:
	free(path);
	return e;
}
