/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/peers_impl.h"

#include "node/base/log.h"
#include "node/mesh/address.h"
#include "node/mesh/membership.h"

#include <stdlib.h>
#include <string.h>

/*
 * The peers table: where nodes of this mesh were reached, so that a mesh
 * restarts with every bootstrap gone. The latest PEERS_STORED are kept.
 */
const struct store_schema peers_schema[] = {
    {"peers", 1,
     "CREATE TABLE peers (mesh BLOB NOT NULL, id BLOB NOT NULL,"
     " address TEXT NOT NULL, dht TEXT NOT NULL, suites INTEGER NOT NULL,"
     " user INTEGER NOT NULL, last_ok INTEGER NOT NULL,"
     " PRIMARY KEY (mesh, id))"},
};
const size_t peers_schema_count = HN_COUNT(peers_schema);

static void join(const struct strs *s, struct buf *out)
{
	for (size_t i = 0; i < s->n; i++)
		buf_printf(out, "%s%s", i ? " " : "", s->items[i]);
	buf_str(out);
}

static void split(struct bytes text, struct strs *out)
{
	const char *at = (const char *)text.p, *end = at + text.n;

	while (at < end) {
		const char *stop = memchr(at, ' ', (size_t)(end - at));
		if (!stop)
			stop = end;
		char *one = xstrndup(at, (size_t)(stop - at));
		texts_add_once(out, one, ADDRESS_ANNOUNCED);
		free(one);
		at = stop + 1;
	}
}

void peer_store(struct peer *q)
{
	struct mesh *m = q->all->m;
	struct buf address = {0}, dht = {0};

	if (!q->address.n && !q->dht.n)
		return; /* it dials us; there is nothing to remember */
	join(&q->address, &address);
	join(&q->dht, &dht);
	const struct store_val vals[] = {
	    STORE_B(m->membership->mesh_id, 32),
	    STORE_B(q->id.b, 32),
	    store_text(buf_str(&address)),
	    store_text(buf_str(&dht)),
	    STORE_I(q->suites),
	    STORE_I(q->user),
	    STORE_I(clock_unix_ms()),
	};
	store_run(m->store,
		  "INSERT OR REPLACE INTO peers (mesh, id, address, dht, "
		  "suites, user, last_ok) VALUES (?, ?, ?, ?, ?, ?, ?)",
		  vals, HN_COUNT(vals), NULL, NULL);
	const struct store_val keep = STORE_I(PEERS_STORED);
	store_run(m->store,
		  "DELETE FROM peers WHERE rowid NOT IN (SELECT rowid FROM "
		  "peers ORDER BY last_ok DESC LIMIT ?)",
		  &keep, 1, NULL, NULL);
	buf_release(&address);
	buf_release(&dht);
}

void peers_store_clear(struct peers *p)
{
	const struct store_val id = STORE_B(p->m->membership->mesh_id, 32);

	store_run(p->m->store, "DELETE FROM peers WHERE mesh <> ?", &id, 1,
		  NULL, NULL);
}

static void on_stored(const struct store_result *r, void *arg)
{
	struct peers *p = arg;
	size_t n = 0;

	if (r->err)
		log_warn("net",
			 "the peers on disk cannot be read (%s); "
			 "going on without them",
			 r->message);
	for (size_t i = 0; !r->err && !p->stopping && i < r->rows; i++) {
		const struct store_val *v = &r->cells[i * r->columns];
		struct strs address = {0};
		if (v[0].b.n != 32)
			continue;
		struct peer *q =
		    peer_get_or_add(p, (const void *)v[0].b.p, PEER_FROM_STORE);
		if (!q || membership_excludes(p->m->membership, &q->id))
			continue;
		split(v[1].b, &address);
		for (size_t k = 0; k < address.n; k++)
			peer_add_address(q, address.items[k], false);
		texts_clear(&address);
		split(v[2].b, &q->dht);
		q->suites = (uint64_t)v[3].i;
		q->user = q->user || v[4].i;
		peer_bootstrap(q);
		peer_consider(q, false);
		n++;
	}
	if (n)
		log_info("net", "%zu peer%s remembered, tried first", n,
			 n == 1 ? "" : "s");
	p->loaded(p->loaded_arg);
}

void peers_load(struct peers *p, loop_fn done, void *arg)
{
	const struct store_val id = STORE_B(p->m->membership->mesh_id, 32);

	p->loaded = done;
	p->loaded_arg = arg;
	store_run(p->m->store,
		  "SELECT id, address, dht, suites, user FROM peers WHERE "
		  "mesh = ? ORDER BY last_ok DESC",
		  &id, 1, on_stored, p);
}
