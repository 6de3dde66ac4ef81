/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/topics.h"
#include "node/mesh/mesh_impl.h"

#include "dht/discovery.h"
#include "node/mesh/address.h"
#include "node/mesh/membership.h"
#include "node/mesh/offers.h"
#include "node/mesh/peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct topic {
	char *name;
	bool offered, joined, wanted;
	uint64_t looked_ms; /* loop_ms of the last question; 0: none */
	/* What discovery does for us now. */
	bool follows, publishes, wants, follows_want;
};

struct topics {
	struct mesh *m;
	struct topic *items;
	size_t n;
	void (*news)(void *arg, const char *topic);
	void *news_arg;
	struct discovery *fed; /* the discovery that `follows` etc. speak of */
};

struct topics *topics_new(struct mesh *m)
{
	struct topics *t = HN_NEW(struct topics);

	t->m = m;
	return t;
}

void topics_free(struct topics *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n; i++)
		free(t->items[i].name);
	free(t->items);
	free(t);
}

static struct topic *find(const struct topics *t, const char *name)
{
	for (size_t i = 0; i < t->n; i++)
		if (!strcmp(t->items[i].name, name))
			return &t->items[i];
	return NULL;
}

static struct topic *get(struct topics *t, const char *name)
{
	struct topic *x = find(t, name);

	if (x)
		return x;
	t->items = xrealloc(t->items, (t->n + 1) * sizeof(*t->items));
	x = &t->items[t->n++];
	*x = (struct topic){.name = xstrdup(name)};
	return x;
}

static bool role_is(const struct topics *t, const char *role)
{
	return !strcmp(t->m->o.role, role);
}

/* --- what we publish --- */

static void body_of(struct topics *t, const struct topic *x, bool want,
		    struct arena *a, struct record *r)
{
	struct mesh *m = t->m;
	struct list offers;

	*r = (struct record){
	    .state = RECORD_LIVE,
	    .role = want ? "use" : (char *)(uintptr_t)m->o.role,
	    .address = m->address,
	    .dht = m->dht_address,
	    .suites = m->suites,
	    .cores = m->cores,
	    .ram_mib = m->ram_mib,
	    .cpu = m->cpu,
	    .software = (char *)(uintptr_t)m->o.software,
	    .cert = {m->membership->cert.p, m->membership->cert.n},
	};
	memcpy(r->boot_id, m->boot_id, 8);
	if (want || role_is(t, "use"))
		return;
	mesh_offers(m, a, &offers);
	struct cap_info *said = offers.items;
	struct record_cap *cap = arena_alloc(a, sizeof(*cap));
	for (size_t i = 0; i < offers.n; i++)
		if (!strcmp(said[i].name, x->name)) {
			*cap = (struct record_cap){.name = said[i].name,
						   .rate = said[i].rate,
						   .slots = said[i].slots,
						   .free = said[i].free,
						   .devices = said[i].devices,
						   .price = said[i].price,
						   .region = said[i].region,
						   .hardware = said[i].hardware,
						   .paused =
						       said[i].paused != NULL};
			r->caps = (struct list){cap, 1};
		}
}

static void publish(struct topics *t, const struct topic *x, bool want)
{
	struct arena arena = {0};
	struct record r;

	body_of(t, x, want, &arena, &r);
	const char *name =
	    want ? arena_printf(&arena, WANT_PREFIX "%s", x->name) : x->name;
	discovery_publish(t->m->discovery, name, &r);
	arena_release(&arena);
}

static void follow(struct topics *t, const char *name, bool on, bool *now)
{
	if (on && !*now)
		discovery_follow(t->m->discovery, name);
	else if (!on && *now)
		discovery_unfollow(t->m->discovery, name);
	*now = on;
}

/* Brings discovery's part of one topic up to date. */
static void sync(struct topics *t, struct topic *x)
{
	struct discovery *d = t->m->discovery;
	bool serve = role_is(t, "serve");
	char want[TOPIC_NAME_MAX + sizeof(WANT_PREFIX)];

	if (!d)
		return;
	snprintf(want, sizeof(want), WANT_PREFIX "%s", x->name);
	bool speak = x->joined || (x->offered && !role_is(t, "use"));
	if (speak)
		publish(t, x, false);
	else if (x->publishes)
		discovery_withdraw(d, x->name);
	x->publishes = speak;
	if (x->wanted)
		publish(t, x, true);
	else if (x->wants)
		discovery_withdraw(d, want);
	x->wants = x->wanted;
	follow(t, x->name,
	       !serve && (x->offered || x->joined || x->wanted || x->looked_ms),
	       &x->follows);
	/* Who cannot be dialled goes to those who want work done (D8). */
	follow(t, want, x->offered && (serve || !mesh_dialable(t->m)),
	       &x->follows_want);
}

static void changed(struct topics *t, struct topic *x)
{
	sync(t, x);
	if (!x->offered && !x->joined && !x->wanted && !x->looked_ms) {
		free(x->name);
		*x = t->items[--t->n];
	}
	peers_tell(t->m->peers);
	peers_consider(t->m->peers);
}

void topics_refresh(struct topics *t)
{
	if (t->fed != t->m->discovery) {
		t->fed = t->m->discovery;
		for (size_t i = 0; i < t->n; i++) {
			struct topic *x = &t->items[i];
			x->follows = x->publishes = false;
			x->wants = x->follows_want = false;
		}
	}
	for (size_t i = 0; i < t->n; i++)
		sync(t, &t->items[i]);
}

void topics_tick(struct topics *t)
{
	uint64_t now = loop_ms(t->m->loop);

	for (size_t i = t->n; i-- > 0;) {
		struct topic *x = &t->items[i];
		if (x->looked_ms && now - x->looked_ms > TOPICS_LOOK_MS) {
			x->looked_ms = 0;
			changed(t, x);
		}
	}
}

/* --- reasons --- */

enum err topics_join(struct topics *t, const char *name, struct buf *why)
{
	size_t joined = 0;

	enum err e = topic_check(name, why);
	if (e)
		return e;
	if (!strncmp(name, WANT_PREFIX, strlen(WANT_PREFIX))) {
		buf_add_str(why, "topics under want/ are kept by hnode itself");
		return ERR_INPUT;
	}
	for (size_t i = 0; i < t->n; i++)
		joined += t->items[i].joined;
	struct topic *x = find(t, name);
	if (x && x->joined)
		return OK;
	if (joined >= TOPICS_JOINED_MAX) {
		buf_printf(why, "%d topics are joined; leave one first",
			   TOPICS_JOINED_MAX);
		return ERR_LIMIT;
	}
	x = get(t, name);
	x->joined = true;
	changed(t, x);
	return OK;
}

enum err topics_leave(struct topics *t, const char *name, struct buf *why)
{
	struct topic *x = find(t, name);

	if (!x || !x->joined) {
		buf_printf(why, "this node did not join that topic%s",
			   x && x->offered ? "; it offers it: see `hnode offer "
					     "CAP --stop`"
					   : "");
		return ERR_NOTFOUND;
	}
	x->joined = false;
	changed(t, x);
	return OK;
}

void topics_offer(struct topics *t, const char *cap, bool offered)
{
	struct topic *x = get(t, cap);

	x->offered = offered;
	changed(t, x);
}

void topics_want(struct topics *t, const char *cap, bool wanted)
{
	struct topic *x = get(t, cap);

	x->wanted = wanted;
	changed(t, x);
}

bool topics_look(struct topics *t, const char *name)
{
	struct buf why = {0};
	struct topic *x;

	bool bad = topic_check(name, &why);
	buf_release(&why);
	if (bad || !t->m->discovery || role_is(t, "serve") ||
	    (!find(t, name) && t->n >= 2 * TOPICS_JOINED_MAX))
		return false;
	x = get(t, name);
	bool before = x->follows;
	x->looked_ms = loop_ms(t->m->loop) | 1;
	if (!before)
		changed(t, x);
	return !before;
}

bool topics_shared(const struct topics *t, const char *name)
{
	return find(t, name) != NULL;
}

bool topics_wanted(const struct topics *t, const char *name)
{
	const struct topic *x = find(t, name);

	return x && x->wanted;
}

/* --- news and views --- */

void topics_news(struct topics *t, const char *topic)
{
	if (t->news)
		t->news(t->news_arg, topic);
}

void topics_on_news(struct topics *t, void (*fn)(void *arg, const char *topic),
		    void *arg)
{
	t->news = fn;
	t->news_arg = arg;
}

void topics_own(const struct topics *t, struct arena *a, struct strs *out)
{
	*out = (struct strs){arena_alloc(a, (t->n + 1) * sizeof(char *)), 0};
	for (size_t i = 0; i < t->n; i++)
		if (t->items[i].offered || t->items[i].joined)
			out->items[out->n++] = arena_strndup(
			    a, t->items[i].name, strlen(t->items[i].name));
}

void topics_list(const struct topics *t, struct arena *a, struct list *out)
{
	struct topic_info *rows = arena_alloc(a, (t->n + 1) * sizeof(*rows));
	struct mesh_keys keys;

	membership_keys(t->m->membership, &keys);
	for (size_t i = 0; i < t->n; i++) {
		const struct topic *x = &t->items[i];
		struct topic_id id;
		topic_id_of(&keys, x->name, &id);
		rows[i] = (struct topic_info){
		    .topic = arena_strndup(a, x->name, strlen(x->name)),
		    .offered = x->offered,
		    .joined = x->joined,
		    .followed = x->follows,
		    .peers = peers_in_topic(t->m->peers, x->name)};
		memcpy(rows[i].id, id.b, 32);
	}
	*out = (struct list){rows, t->n};
}
