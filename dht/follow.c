/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A followed topic has one channel per set of keys: the present one, and after
 * a rekey the old ones for a day. A channel is a standing listen, and a get
 * whenever something may have been missed: at the start, once somebody
 * answers, a little later (a young mesh still moves values about), every 4
 * minutes, and after values had to be dropped.
 *
 * Anybody can put anything under a key, and OpenDHT brings each value several
 * times. So a value goes through sieves, the cheap ones first: its hash is one
 * of the last few thousand that were judged (a keyed hash of the whole value,
 * or garbage could be made to pass for somebody's record); the topic's share of
 * this second is used up (it waits); then record_judge, certificate, and the
 * sequence.
 */
#include "dht/follow.h"

#include "dht/discovery.h"
#include "dht/known.h"
#include "dht/overlay.h"
#include "node/base/log.h"
#include "node/base/mem.h"

#include <sodium.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYSETS 3 /* the present one and two old ones */
#define REFRESH_MS (4 * 60 * 1000)
#define MISSED_MS 30000
#define SECOND_MS 1000
#define SEEN_SETS 1024
#define SEEN_WAYS 4

struct keyset {
	struct mesh_keys keys;
	uint64_t until_ms; /* of an old one */
};

struct channel {
	struct topic *t;
	struct keyset *keys; /* NULL: not in use */
	struct topic_id id;
	struct overlay_listen *listen;
};

/* A value that waits for its second. */
struct waiting {
	struct waiting *next;
	struct keyset *keys;
	size_t n;
	uint8_t p[];
};

struct topic {
	struct follower *f;
	struct topic *next;
	char *name;
	uint32_t number; /* in the table of known sequences */
	struct channel channels[KEYSETS];
	uint64_t refresh_ms;
	unsigned soon; /* refreshes to come in quick succession */
	uint64_t second_ms;
	unsigned judged; /* in that second */
	struct waiting *first, **last;
	size_t waiting;
};

struct follower {
	struct follower_options o;
	struct keyset *keys[KEYSETS]; /* [0] is the present one */
	struct topic *topics;
	uint32_t numbers;
	size_t waiting;
	struct known known;
	uint8_t seen_key[crypto_shorthash_KEYBYTES];
	uint64_t seen[SEEN_SETS][SEEN_WAYS]; /* marks of judged values */
	struct loop_timer *timer;
};

/* After being connected, the values are asked for again this much later. */
static const uint64_t soon_ms[] = {10000, 3000, 1000};

/* Values judged before */

static uint64_t mark_of(const struct follower *f, const uint8_t *p, size_t n)
{
	uint8_t h[crypto_shorthash_BYTES];
	crypto_shorthash(h, p, n, f->seen_key);
	return get_be64(h);
}

static bool seen(const struct follower *f, uint64_t mark)
{
	const uint64_t *set = f->seen[mark % SEEN_SETS];

	for (size_t i = 0; i < SEEN_WAYS; i++)
		if (set[i] == mark)
			return true;
	return false;
}

/* The oldest of its set goes. */
static void see(struct follower *f, uint64_t mark)
{
	uint64_t *set = f->seen[mark % SEEN_SETS];

	memmove(set + 1, set, (SEEN_WAYS - 1) * sizeof(*set));
	set[0] = mark;
}

static void forget_seen(struct follower *f)
{
	memset(f->seen, 0, sizeof(f->seen));
}

/* Topics */

static struct topic *topic_find(const struct follower *f, const char *name)
{
	for (struct topic *t = f->topics; t; t = t->next)
		if (!strcmp(t->name, name))
			return t;
	return NULL;
}

static struct topic *topic_by_number(const struct follower *f, uint32_t number)
{
	for (struct topic *t = f->topics; t; t = t->next)
		if (t->number == number)
			return t;
	return NULL;
}

static void schedule(struct follower *f)
{
	const uint64_t now = loop_ms(f->o.loop);
	uint64_t due = f->known.next_ms ? f->known.next_ms : UINT64_MAX;

	for (const struct topic *t = f->topics; t; t = t->next) {
		if (f->o.overlay && t->refresh_ms < due)
			due = t->refresh_ms;
		if (t->first && t->second_ms + SECOND_MS < due)
			due = t->second_ms + SECOND_MS;
	}
	for (size_t i = 1; i < KEYSETS; i++)
		if (f->keys[i] && f->keys[i]->until_ms < due)
			due = f->keys[i]->until_ms;
	if (due == UINT64_MAX)
		loop_timer_cancel(f->timer);
	else
		loop_timer_set(f->timer, due > now ? due - now : 0);
}

static void waiting_drop(struct topic *t, const struct keyset *keys)
{
	struct waiting **at = &t->first;

	while (*at) {
		struct waiting *w = *at;
		if (keys && w->keys != keys) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		free(w);
		t->waiting--;
		t->f->waiting--;
	}
	t->last = at;
}

/* Judging */

static void count_fault(struct discovery_counters *c, enum record_fault fault)
{
	switch (fault) {
	case RECORD_OK:
		break;
	case RECORD_BAD_SIZE:
	case RECORD_BAD_SHAPE:
		c->bad_shape++;
		break;
	case RECORD_BAD_SEAL:
		c->bad_seal++;
		break;
	case RECORD_BAD_VERSION:
		c->bad_version++;
		break;
	case RECORD_BAD_SIGNATURE:
		c->bad_signature++;
		break;
	case RECORD_AHEAD:
		c->bad_time++;
		break;
	case RECORD_EXPIRED:
		c->late++;
		break;
	}
}

/* In a young mesh OpenDHT knows few nodes, and those may all go at once. */
static void feed_bootstraps(struct follower *f, const struct record *r)
{
	for (size_t i = 0; i < r->dht.n && i < 4; i++)
		overlay_hint(f->o.overlay, r->dht.items[i]);
}

static void accept_record(struct topic *t, const struct record *r,
			  uint64_t now_ms)
{
	struct follower *f = t->f;
	struct node_id id;
	const bool left = r->state == RECORD_LEFT;

	memcpy(id.b, r->node, sizeof(id.b));
	/* Our wall clock may be set meanwhile: from here on the monotonic one
	 * counts, and never longer than the record's own life. */
	uint64_t life = r->seq + r->life_ms - now_ms;
	if (life > r->life_ms)
		life = r->life_ms;
	known_set(&f->known, t->number, &id, r->seq, loop_ms(f->o.loop) + life,
		  left);
	f->o.counters->records_ok++;
	if (!left)
		feed_bootstraps(f, r);
	char name[TOPIC_NAME_MAX + 1]; /* the callback may unfollow */
	snprintf(name, sizeof(name), "%s", t->name);
	f->o.record(f->o.arg, name, r);
}

static void judge_known(struct topic *t, const struct record *r, uint64_t mark,
			uint64_t now_ms)
{
	struct follower *f = t->f;
	struct node_id id;

	memcpy(id.b, r->node, sizeof(id.b));
	switch (known_judge(&f->known, t->number, &id, r->seq)) {
	case KNOWN_NEW:
	case KNOWN_NEWER:
		see(f, mark);
		accept_record(t, r, now_ms);
		break;
	case KNOWN_SAME:
		see(f, mark);
		f->o.counters->records_same++;
		break;
	case KNOWN_OLD:
		see(f, mark);
		f->o.counters->old_sequence++;
		break;
	case KNOWN_FULL:
		f->o.counters->over_limit++;
		break;
	}
}

static void judge(struct topic *t, const struct keyset *keys, const uint8_t *p,
		  size_t n)
{
	struct follower *f = t->f;
	static struct log_gate gate;
	const uint64_t now = clock_unix_ms() + (uint64_t)*f->o.clock_offset_ms;
	const uint64_t mark = mark_of(f, p, n);
	struct arena a = {0};
	struct topic_id id;
	struct record r;

	topic_id_of(&keys->keys, t->name, &id);
	const enum record_fault fault =
	    record_judge(p, n, &keys->keys, &id, now, &a, &r);
	if (fault) {
		/* Garbage stays garbage; what is ahead comes of age. */
		if (fault != RECORD_AHEAD)
			see(f, mark);
		count_fault(f->o.counters, fault);
		log_every(&gate, 10000, LOG_DEBUG, "dht",
			  "record refused topic=%s fault=%d bytes=%zu", t->name,
			  fault, n);
		if (fault == RECORD_AHEAD && f->o.refused)
			f->o.refused(f->o.arg, &r, r.seq - now);
	} else if (!memcmp(r.node, identity_id(f->o.me)->b, sizeof(r.node))) {
		see(f, mark);
		if (f->o.own)
			f->o.own(f->o.arg, r.seq);
	} else if (f->o.cert_ok && !f->o.cert_ok(f->o.arg, &r)) {
		f->o.counters->bad_cert++;
		if (f->o.refused)
			f->o.refused(f->o.arg, &r, 0);
	} else {
		judge_known(t, &r, mark, now);
	}
	arena_release(&a);
}

static bool share_left(struct topic *t)
{
	const uint64_t now = loop_ms(t->f->o.loop);

	if (now - t->second_ms >= SECOND_MS) {
		t->second_ms = now;
		t->judged = 0;
	}
	return t->judged < FOLLOW_RATE;
}

static void wait_for_share(struct topic *t, struct keyset *keys,
			   const uint8_t *p, size_t n)
{
	struct follower *f = t->f;

	if (t->waiting >= FOLLOW_WAIT || f->waiting >= FOLLOW_WAIT_ALL) {
		const uint64_t at = loop_ms(f->o.loop) + MISSED_MS;
		f->o.counters->dropped++;
		if (t->refresh_ms > at)
			t->refresh_ms = at;
		return;
	}
	struct waiting *w = xmalloc(sizeof(*w) + n);
	w->next = NULL;
	w->keys = keys;
	w->n = n;
	memcpy(w->p, p, n);
	*t->last = w;
	t->last = &w->next;
	t->waiting++;
	f->waiting++;
}

static void on_value(void *arg, const uint8_t *p, size_t n)
{
	struct channel *ch = arg;
	struct topic *t = ch->t;
	struct follower *f = t->f;

	if (seen(f, mark_of(f, p, n))) {
		f->o.counters->records_same++;
		return;
	}
	if (!t->first && share_left(t)) {
		t->judged++;
		judge(t, ch->keys, p, n);
	} else {
		wait_for_share(t, ch->keys, p, n);
	}
	/* judge may have called back; the follower outlives every value, but
	 * the topic may be gone. */
	schedule(f);
}

/* The callbacks may unfollow, this topic too: looked up again each time. */
static void judge_waiting(struct follower *f, uint32_t number)
{
	struct topic *t;

	while ((t = topic_by_number(f, number)) && t->first && share_left(t)) {
		struct waiting *w = t->first;
		t->first = w->next;
		if (!t->first)
			t->last = &t->first;
		t->waiting--;
		f->waiting--;
		t->judged++;
		if (!seen(f, mark_of(f, w->p, w->n)))
			judge(t, w->keys, w->p, w->n);
		free(w);
	}
}

/* Channels */

static void channel_open(struct channel *ch, struct topic *t,
			 struct keyset *keys)
{
	struct overlay *o = t->f->o.overlay;

	ch->t = t;
	ch->keys = keys;
	topic_id_of(&keys->keys, t->name, &ch->id);
	if (!o)
		return;
	ch->listen = overlay_listen(o, ch->id.b, on_value, ch);
	overlay_refresh(ch->listen);
}

static void channel_close(struct channel *ch)
{
	if (ch->listen)
		overlay_unlisten(ch->listen);
	*ch = (struct channel){0};
}

static void topic_refresh(struct topic *t, uint64_t now)
{
	for (size_t i = 0; i < KEYSETS; i++)
		if (t->channels[i].listen)
			overlay_refresh(t->channels[i].listen);
	t->refresh_ms = now + REFRESH_MS;
	if (t->soon && t->soon <= HN_COUNT(soon_ms))
		t->refresh_ms = now + soon_ms[--t->soon];
}

static void topic_free(struct topic *t)
{
	for (size_t i = 0; i < KEYSETS; i++)
		channel_close(&t->channels[i]);
	waiting_drop(t, NULL);
	known_forget(&t->f->known, t->number);
	free(t->name);
	free(t);
}

static void keyset_free(struct keyset *k)
{
	if (!k)
		return;
	sodium_memzero(k, sizeof(*k));
	free(k);
}

/* Ends one old set of keys with all its channels. */
static void keyset_drop(struct follower *f, size_t i)
{
	struct keyset *k = f->keys[i];

	for (struct topic *t = f->topics; t; t = t->next) {
		waiting_drop(t, k);
		for (size_t c = 0; c < KEYSETS; c++)
			if (t->channels[c].keys == k)
				channel_close(&t->channels[c]);
	}
	keyset_free(k);
	f->keys[i] = NULL;
}

static struct channel *channel_unused(struct topic *t)
{
	size_t i = 0;
	while (t->channels[i].keys)
		i++;
	return &t->channels[i]; /* there are as many as sets of keys */
}

/* Time */

static void expire(struct follower *f, uint64_t now)
{
	struct known_entry e;

	while (known_expire(&f->known, now, &e)) {
		const struct topic *t = topic_by_number(f, e.topic);
		if (!t || e.left || !f->o.expired)
			continue;
		char name[TOPIC_NAME_MAX + 1];
		snprintf(name, sizeof(name), "%s", t->name);
		f->o.expired(f->o.arg, name, &e.id);
	}
}

static void on_timer(void *arg)
{
	struct follower *f = arg;
	const uint64_t now = loop_ms(f->o.loop);

	for (size_t i = 1; i < KEYSETS; i++)
		if (f->keys[i] && f->keys[i]->until_ms <= now)
			keyset_drop(f, i);
	uint32_t numbers[FOLLOW_MAX];
	size_t n = 0;
	for (struct topic *t = f->topics; t; t = t->next) {
		if (f->o.overlay && t->refresh_ms <= now)
			topic_refresh(t, now);
		numbers[n++] = t->number;
	}
	for (size_t i = 0; i < n; i++)
		judge_waiting(f, numbers[i]);
	expire(f, now);
	schedule(f);
}

/* Calls */

bool follower_add(struct follower *f, const char *name)
{
	size_t n = 0;

	if (topic_find(f, name))
		return true;
	for (const struct topic *t = f->topics; t; t = t->next)
		n++;
	if (n >= FOLLOW_MAX)
		return false;
	struct topic *t = HN_NEW(struct topic);
	t->f = f;
	t->name = xstrdup(name);
	t->number = ++f->numbers;
	t->last = &t->first;
	t->next = f->topics;
	f->topics = t;
	/* What this topic had before it was left is news again. */
	forget_seen(f);
	for (size_t i = 0; i < KEYSETS; i++)
		if (f->keys[i])
			channel_open(&t->channels[i], t, f->keys[i]);
	t->soon = HN_COUNT(soon_ms);
	t->refresh_ms = loop_ms(f->o.loop) + SECOND_MS;
	schedule(f);
	return true;
}

void follower_remove(struct follower *f, const char *name)
{
	for (struct topic **at = &f->topics; *at; at = &(*at)->next) {
		struct topic *t = *at;
		if (strcmp(t->name, name))
			continue;
		*at = t->next;
		topic_free(t);
		schedule(f);
		return;
	}
}

bool follower_has(const struct follower *f, const char *name)
{
	return topic_find(f, name);
}

void follower_connected(struct follower *f)
{
	const uint64_t now = loop_ms(f->o.loop);

	for (struct topic *t = f->topics; t; t = t->next) {
		t->soon = HN_COUNT(soon_ms);
		topic_refresh(t, now);
	}
	schedule(f);
}

void follower_clock_changed(struct follower *f)
{
	forget_seen(f);
	for (struct topic *t = f->topics; t; t = t->next)
		t->refresh_ms = loop_ms(f->o.loop);
	schedule(f);
}

static struct keyset *keyset_new(const struct mesh_keys *keys)
{
	struct keyset *k = HN_NEW(struct keyset);
	k->keys = *keys;
	return k;
}

void follower_rekey(struct follower *f, const struct mesh_keys *keys,
		    uint64_t old_ms)
{
	if (f->keys[KEYSETS - 1])
		keyset_drop(f, KEYSETS - 1);
	memmove(&f->keys[1], &f->keys[0], (KEYSETS - 1) * sizeof(f->keys[0]));
	f->keys[1]->until_ms = loop_ms(f->o.loop) + old_ms;
	f->keys[0] = keyset_new(keys);
	for (struct topic *t = f->topics; t; t = t->next)
		channel_open(channel_unused(t), t, f->keys[0]);
	schedule(f);
}

struct follower *follower_new(const struct follower_options *o)
{
	struct follower *f = HN_NEW(struct follower);
	f->o = *o;
	f->keys[0] = keyset_new(&o->keys);
	sodium_memzero(&f->o.keys, sizeof(f->o.keys));
	crypto_shorthash_keygen(f->seen_key);
	f->timer = loop_timer_new(o->loop, on_timer, f);
	return f;
}

void follower_free(struct follower *f)
{
	if (!f)
		return;
	while (f->topics) {
		struct topic *t = f->topics;
		f->topics = t->next;
		topic_free(t);
	}
	for (size_t i = 0; i < KEYSETS; i++)
		keyset_free(f->keys[i]);
	known_release(&f->known);
	loop_timer_free(f->timer);
	free(f);
}
