/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/invite.h"

#include "node/base/word.h"
#include "node/mesh/membership.h"

#include <sodium.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define WORD_MAX 1200 /* bytes inside a word */

static const struct field invite_fields[] = {
    FIELD_U64(struct invite, version, 0, "INVITE_VERSION"),
    FIELD_STR(struct invite, mesh, MESH_NAME_MAX, "name of the mesh"),
    FIELD_FIXED(struct invite, mesh_id, "mesh id"),
    FIELD_FIXED(struct invite, node, "the inviter's node id"),
    FIELD_STRS(struct invite, address, INVITE_ADDRESSES,
	       "the inviter's session addresses"),
    FIELD_STRS(struct invite, dht, INVITE_ADDRESSES,
	       "the inviter's DHT addresses"),
    FIELD_FIXED(struct invite, secret, "for the handshake: secret"),
    FIELD_U64(struct invite, expires_ms, 0, "ms since 1970"),
    FIELD_U64(struct invite, uses, INVITE_USES_MAX, "how often it works"),
};
const struct message invite_message =
    MESSAGE("invite", struct invite, invite_fields);

void invite_word(const struct invite *i, struct buf *out)
{
	struct buf packed = {0};

	fields_pack(&invite_message, i, &packed);
	word_encode(WORD_INVITE, packed.p, packed.n, out);
	sodium_memzero(packed.p, packed.n);
	buf_release(&packed);
}

enum err invite_read(const char *word, struct arena *a, struct invite *out,
		     struct buf *why)
{
	struct buf packed = {0};
	struct invite i;

	enum err e = word_decode(WORD_INVITE, word, WORD_MAX, &packed, why);
	if (e)
		goto out;
	e = fields_unpack(&invite_message, packed.p, packed.n, a, &i);
	if (e || i.version != INVITE_VERSION) {
		buf_add_str(why, "the invite is of another version of hnode");
		e = ERR_INPUT;
		goto out;
	}
	if (!i.mesh || mesh_name_check(i.mesh, why) || !i.address.n) {
		if (!why->n)
			buf_add_str(why, "the invite names no address");
		e = ERR_INPUT;
		goto out;
	}
	*out = i;
out:
	if (packed.n)
		sodium_memzero(packed.p, packed.n);
	buf_release(&packed);
	return e == ERR_LIMIT ? ERR_INPUT : e;
}

void invite_psk(const uint8_t secret[static 16], uint8_t out[static 32])
{
	static const char text[] = "hnode invite 1";

	crypto_generichash(out, 32, (const uint8_t *)text, sizeof(text) - 1,
			   secret, 16);
}

/* --- the list --- */

struct given {
	uint64_t tag;
	uint8_t secret[16];
	uint64_t expires_ms;
	uint64_t uses;
	struct node_id *who; /* used by these */
	size_t nwho;
};

struct invites {
	struct store *store;
	struct given *items; /* oldest first */
	size_t n;
	uint64_t last_tag;
	invites_done_fn loaded;
	void *loaded_arg;
};

const struct store_schema invites_schema[] = {
    {"invites", 1,
     "CREATE TABLE invites (tag INTEGER PRIMARY KEY, secret BLOB NOT NULL,"
     " expires INTEGER NOT NULL, uses INTEGER NOT NULL);"
     "CREATE TABLE invite_uses (tag INTEGER NOT NULL, node BLOB NOT NULL,"
     " PRIMARY KEY (tag, node))"},
};
const size_t invites_schema_count = HN_COUNT(invites_schema);

struct invites *invites_new(struct store *s)
{
	struct invites *l = HN_NEW(struct invites);

	l->store = s;
	return l;
}

static void given_release(struct given *g)
{
	sodium_memzero(g->secret, sizeof(g->secret));
	free(g->who);
}

void invites_free(struct invites *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->n; i++)
		given_release(&l->items[i]);
	free(l->items);
	free(l);
}

static struct given *given_find(const struct invites *l, uint64_t tag)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->items[i].tag == tag)
			return &l->items[i];
	return NULL;
}

static struct given *given_add(struct invites *l, uint64_t tag,
			       const uint8_t secret[static 16],
			       uint64_t expires_ms, uint64_t uses)
{
	l->items = xrealloc(l->items, (l->n + 1) * sizeof(*l->items));
	struct given *g = &l->items[l->n++];
	*g = (struct given){.tag = tag, .expires_ms = expires_ms, .uses = uses};
	memcpy(g->secret, secret, 16);
	if (tag > l->last_tag)
		l->last_tag = tag;
	return g;
}

static bool used_by(const struct given *g, const struct node_id *who)
{
	for (size_t i = 0; i < g->nwho; i++)
		if (node_id_eq(&g->who[i], who))
			return true;
	return false;
}

static void add_user(struct given *g, const struct node_id *who)
{
	g->who = xrealloc(g->who, (g->nwho + 1) * sizeof(*g->who));
	g->who[g->nwho++] = *who;
}

/* A row for each use, and one for an invite without any. */
static void on_invites(const struct store_result *r, void *arg)
{
	struct invites *l = arg;

	for (size_t i = 0; !r->err && i < r->rows; i++) {
		const struct store_val *v = &r->cells[i * r->columns];
		const uint64_t tag = (uint64_t)v[0].i;
		struct given *g = given_find(l, tag);
		if (!g && v[1].b.n == 16)
			g = given_add(l, tag, v[1].b.p, (uint64_t)v[2].i,
				      (uint64_t)v[3].i);
		if (g && v[4].b.n == 32)
			add_user(g, (const void *)v[4].b.p);
	}
	l->loaded(l->loaded_arg, r->err, r->err ? r->message : NULL);
}

void invites_load(struct invites *l, invites_done_fn done, void *arg)
{
	l->loaded = done;
	l->loaded_arg = arg;
	store_run(l->store,
		  "SELECT tag, secret, expires, uses, node FROM invites LEFT "
		  "JOIN invite_uses USING (tag) ORDER BY tag",
		  NULL, 0, on_invites, l);
}

/* Those that are over go; a used up one makes room for a new one. */
static void drop_at(struct invites *l, size_t i)
{
	struct store_val tag = STORE_I(l->items[i].tag);

	store_run(l->store, "DELETE FROM invites WHERE tag = ?", &tag, 1, NULL,
		  NULL);
	store_run(l->store, "DELETE FROM invite_uses WHERE tag = ?", &tag, 1,
		  NULL, NULL);
	given_release(&l->items[i]);
	memmove(&l->items[i], &l->items[i + 1],
		(l->n - i - 1) * sizeof(*l->items));
	l->n--;
}

static bool make_room(struct invites *l, uint64_t now_ms)
{
	for (size_t i = l->n; i-- > 0;)
		if (l->items[i].expires_ms <= now_ms)
			drop_at(l, i);
	if (l->n < INVITES_OPEN)
		return true;
	for (size_t i = 0; i < l->n; i++)
		if (l->items[i].nwho >= l->items[i].uses) {
			drop_at(l, i);
			return true;
		}
	return false;
}

/* One change on its way to the disk. */
struct pending {
	struct invites *list;
	uint64_t tag;
	struct node_id who;
	invites_done_fn done;
	void *arg;
	enum err e; /* decided already */
};

static void on_added(const struct store_result *r, void *arg)
{
	struct pending *p = arg;

	if (r->err) {
		for (size_t i = 0; i < p->list->n; i++)
			if (p->list->items[i].tag == p->tag)
				drop_at(p->list, i);
	}
	p->done(p->arg, r->err, r->err ? r->message : NULL);
	free(p);
}

enum err invites_add(struct invites *l, uint64_t expires_ms, uint64_t uses,
		     uint64_t now_ms, uint8_t secret[static 16], uint64_t *tag,
		     struct buf *why, invites_done_fn done, void *arg)
{
	if (!make_room(l, now_ms)) {
		uint64_t first = UINT64_MAX;
		for (size_t i = 0; i < l->n; i++)
			if (l->items[i].expires_ms < first)
				first = l->items[i].expires_ms;
		buf_printf(why,
			   "%d invites are open already; the next ends in "
			   "%llu minutes",
			   INVITES_OPEN,
			   (unsigned long long)((first - now_ms) / 60000 + 1));
		return ERR_LIMIT;
	}
	randombytes_buf(secret, 16);
	struct pending *p = HN_NEW(struct pending);
	*p = (struct pending){
	    .list = l, .tag = l->last_tag + 1, .done = done, .arg = arg};
	given_add(l, p->tag, secret, expires_ms, uses);
	*tag = p->tag;
	const struct store_val vals[] = {STORE_I(p->tag), STORE_B(secret, 16),
					 STORE_I(expires_ms), STORE_I(uses)};
	store_run(l->store,
		  "INSERT INTO invites (tag, secret, expires, uses) VALUES "
		  "(?, ?, ?, ?)",
		  vals, 4, on_added, p);
	return OK;
}

static const char *use_text(enum err e)
{
	return e == ERR_NOTFOUND  ? "this invite is not known here any more"
	       : e == ERR_EXPIRED ? "this invite has expired; ask for a new "
				    "one"
	       : e == ERR_DENIED  ? "this invite is used up; ask for a new one"
				  : NULL;
}

static void on_used(const struct store_result *r, void *arg)
{
	struct pending *p = arg;
	enum err e = p->e ? p->e : r->err;

	/* Not on disk: not used. The next try may go through. */
	if (!p->e && e) {
		struct given *g = given_find(p->list, p->tag);
		for (size_t i = 0; g && i < g->nwho; i++)
			if (node_id_eq(&g->who[i], &p->who)) {
				g->who[i] = g->who[--g->nwho];
				break;
			}
	}
	p->done(p->arg, e, p->e ? use_text(e) : e ? r->message : NULL);
	free(p);
}

void invites_use(struct invites *l, uint64_t tag, const struct node_id *who,
		 uint64_t now_ms, invites_done_fn done, void *arg)
{
	struct given *g = given_find(l, tag);
	struct pending *p = HN_NEW(struct pending);

	*p = (struct pending){
	    .list = l, .tag = tag, .who = *who, .done = done, .arg = arg};
	if (!g)
		p->e = ERR_NOTFOUND;
	else if (g->expires_ms <= now_ms)
		p->e = ERR_EXPIRED;
	else if (!used_by(g, who) && g->nwho >= g->uses)
		p->e = ERR_DENIED;
	if (p->e) {
		/* The answer comes on the loop, in order with the others. */
		store_run(l->store, "SELECT 1", NULL, 0, on_used, p);
		return;
	}
	/* Taken in memory at once, or two newcomers would share the last. */
	if (!used_by(g, who))
		add_user(g, who);
	const struct store_val vals[] = {STORE_I(tag), STORE_B(who->b, 32)};
	store_run(l->store,
		  "INSERT OR IGNORE INTO invite_uses (tag, node) VALUES (?, ?)",
		  vals, 2, on_used, p);
}

void invites_each(const struct invites *l, uint64_t now_ms,
		  void (*fn)(uint64_t tag, const uint8_t secret[16], void *arg),
		  void *arg)
{
	size_t told = 0;

	for (int used_up = 0; used_up < 2; used_up++)
		for (size_t i = l->n; i-- > 0 && told < INVITES_OPEN;) {
			const struct given *g = &l->items[i];
			if (g->expires_ms > now_ms &&
			    (g->nwho >= g->uses) == (bool)used_up) {
				fn(g->tag, g->secret, arg);
				told++;
			}
		}
}
