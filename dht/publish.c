/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One struct entry per topic, with one put under way or standing. Everything
 * happens in the timer, which runs at the earliest due time of all entries:
 * calls only change an entry and its due time. So a burst of changes is one
 * put, and no callback runs inside a call.
 *
 * A put stands until the next one replaces it: OpenDHT then goes on announcing
 * it to nodes that join meanwhile, which is what keeps simultaneous joins from
 * missing each other. A put that nobody took is repeated with the same bytes,
 * since the same sequence is the same record.
 */
#include "dht/publish.h"

#include "dht/discovery.h"
#include "dht/overlay.h"
#include "node/base/log.h"
#include "node/base/mem.h"

#include <sodium.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define REFRESH_MS (4 * 60 * 1000)
#define CHANGE_MS (60 * 1000)
#define RETRY_FIRST_MS 1000
#define RETRY_MS 30000
#define TOMBSTONE_MS (60 * 1000) /* how long we go on announcing one */
#define OUTCOME_MS 20000	 /* OpenDHT's slowest answers take 9 s */
#define NEVER UINT64_MAX

struct entry {
	struct publisher *p;
	struct entry *next;
	char *topic;
	struct topic_id id;
	struct arena arena; /* of body */
	struct record body;
	struct buf fields; /* the body packed, to see whether it changed */
	struct buf sealed; /* what was put last */
	struct overlay_put *put;
	bool left;    /* a tombstone */
	bool changed; /* body is newer than sealed */
	bool taken;   /* some node stored sealed */
	bool waiting; /* for the outcome of put */
	bool urgent;  /* changed, and due whatever is under way */
	uint64_t due_ms, retry_ms;
	uint64_t sealed_ms; /* 0: never */
	uint64_t ends_ms;   /* of a tombstone */
};

struct publisher {
	struct publisher_options o;
	struct entry *entries;
	struct loop_timer *timer;
	uint64_t last_seq;
	bool leaving;
	struct loop_timer *limit;
	loop_fn left;
	void *left_arg;
};

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Entries */

static struct entry *entry_find(const struct publisher *p, const char *topic)
{
	for (struct entry *e = p->entries; e; e = e->next)
		if (!strcmp(e->topic, topic))
			return e;
	return NULL;
}

static size_t entry_count(const struct publisher *p)
{
	size_t n = 0;
	for (const struct entry *e = p->entries; e; e = e->next)
		n++;
	return n;
}

static void entry_free(struct entry *e)
{
	struct entry **at = &e->p->entries;

	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	if (e->put)
		overlay_put_end(e->put);
	free(e->topic);
	arena_release(&e->arena);
	buf_release(&e->fields);
	buf_release(&e->sealed);
	free(e);
}

static bool forget_tombstone(struct publisher *p)
{
	for (struct entry *e = p->entries; e; e = e->next)
		if (e->left) {
			entry_free(e);
			return true;
		}
	return false;
}

static void schedule(struct publisher *p)
{
	const uint64_t now = loop_ms(p->o.loop);
	uint64_t due = NEVER;

	for (const struct entry *e = p->entries; e; e = e->next) {
		if (e->due_ms < due)
			due = e->due_ms;
		if (e->left && e->ends_ms < due)
			due = e->ends_ms;
	}
	if (due == NEVER)
		loop_timer_cancel(p->timer);
	else
		loop_timer_set(p->timer, due > now ? due - now : 0);
}

static bool tombstone_pending(const struct publisher *p)
{
	for (const struct entry *e = p->entries; e; e = e->next)
		if (e->left && !e->taken)
			return true;
	return false;
}

static void end_leaving(struct publisher *p)
{
	const loop_fn left = p->left;

	if (!left)
		return;
	p->left = NULL;
	loop_timer_cancel(p->limit);
	left(p->left_arg);
}

/* Sealing and putting */

static uint64_t issue(struct publisher *p)
{
	const uint64_t now = clock_unix_ms() + (uint64_t)*p->o.clock_offset_ms;

	p->last_seq = later(now, p->last_seq + 1);
	if (p->o.issued)
		p->o.issued(p->o.arg, p->last_seq);
	return p->last_seq;
}

/*
 * A host with very many addresses does not fit: the last ones go, since they
 * are listed best first.
 */
static enum err seal(struct entry *e)
{
	struct publisher *p = e->p;
	struct record r = e->body;
	uint8_t nonce[24];
	enum err err;

	r.version = RECORD_VERSION;
	memcpy(r.node, identity_id(p->o.me)->b, sizeof(r.node));
	r.seq = issue(p);
	r.life_ms = RECORD_LIFE_MS;
	randombytes_buf(nonce, sizeof(nonce));
	for (;;) {
		buf_clear(&e->sealed);
		err = record_seal(&r, p->o.me, p->o.keys, &e->id, nonce,
				  &e->sealed);
		if (err != ERR_LIMIT || r.address.n + r.dht.n <= 2)
			break;
		if (r.dht.n > r.address.n)
			r.dht.n--;
		else
			r.address.n--;
	}
	e->changed = false;
	e->taken = false;
	e->sealed_ms = loop_ms(p->o.loop);
	e->retry_ms = RETRY_FIRST_MS;
	return err;
}

static void on_put(void *arg, bool ok)
{
	struct entry *e = arg;
	struct publisher *p = e->p;
	const uint64_t now = loop_ms(p->o.loop);

	log_trace("dht", "put topic=%s ok=%d bytes=%zu", e->topic, ok,
		  e->sealed.n);
	if (!ok)
		p->o.counters->put_failed++;
	e->waiting = false;
	if (e->urgent)
		return; /* something newer is due at once */
	if (ok) {
		e->taken = true;
		e->due_ms =
		    e->sealed_ms + (e->changed ? CHANGE_MS : REFRESH_MS);
	} else {
		e->due_ms = now + e->retry_ms;
		e->retry_ms *= 2;
		if (e->retry_ms > RETRY_MS)
			e->retry_ms = RETRY_MS;
	}
	if (p->leaving && !tombstone_pending(p))
		end_leaving(p);
	else
		schedule(p);
}

static void put(struct entry *e)
{
	struct publisher *p = e->p;
	struct overlay_put *before = e->put;

	p->o.counters->puts++;
	e->waiting = true;
	e->urgent = false;
	e->due_ms = loop_ms(p->o.loop) + OUTCOME_MS;
	e->put = overlay_put(p->o.overlay, e->id.b, e->sealed.p, e->sealed.n,
			     on_put, e);
	if (before)
		overlay_put_end(before);
}

static void entry_due(struct entry *e, uint64_t now)
{
	const bool stale = !e->sealed_ms || now - e->sealed_ms >= REFRESH_MS;
	if (e->waiting && !e->urgent)
		e->p->o.counters->put_failed++;
	if (e->changed || stale) {
		const enum err err = seal(e);
		if (err) {
			log_debug("dht", "record not put topic=%s: %s",
				  e->topic, err_str(err));
			e->due_ms = now + REFRESH_MS;
			return;
		}
	}
	put(e);
}

static void on_timer(void *arg)
{
	struct publisher *p = arg;
	const uint64_t now = loop_ms(p->o.loop);
	struct entry *next;

	for (struct entry *e = p->entries; e; e = next) {
		next = e->next;
		if (e->left && e->ends_ms <= now && !p->leaving)
			entry_free(e);
		else if (e->due_ms <= now)
			entry_due(e, now);
	}
	schedule(p);
}

/* Calls */

/* The part that the caller decides on. */
static void pack_body(const struct record *body, struct buf *out)
{
	struct record r = *body;
	r.version = RECORD_VERSION;
	r.seq = 0;
	r.life_ms = 0;
	memset(r.node, 0, sizeof(r.node));
	fields_pack(&record_message, &r, out);
}

static void keep_body(struct entry *e, const struct record *body)
{
	struct arena fresh = {0};
	struct record copy;

	fields_copy(&record_message, body, &fresh, &copy);
	arena_release(&e->arena);
	e->arena = fresh;
	e->body = copy;
}

static struct entry *entry_new(struct publisher *p, const char *topic)
{
	struct entry *e = HN_NEW(struct entry);
	e->p = p;
	e->topic = xstrdup(topic);
	e->due_ms = NEVER;
	topic_id_of(p->o.keys, topic, &e->id);
	e->next = p->entries;
	p->entries = e;
	return e;
}

bool publisher_set(struct publisher *p, const char *topic,
		   const struct record *body)
{
	const uint64_t now = loop_ms(p->o.loop);
	struct buf fields = {0};
	struct entry *e = entry_find(p, topic);

	if (p->leaving || body->address.n > RECORD_ADDRESSES ||
	    body->dht.n > RECORD_ADDRESSES || body->caps.n > RECORD_CAPS)
		return false;
	if (!e && entry_count(p) >= PUBLISH_MAX && !forget_tombstone(p))
		return false;
	pack_body(body, &fields);
	const bool same = e && !e->left && e->fields.n == fields.n &&
			  !memcmp(e->fields.p, fields.p, fields.n);
	if (same) {
		buf_release(&fields);
		return true;
	}
	/* Back after a tombstone is a beginning, not a change. */
	const bool fresh = !e || e->left || !e->sealed_ms;
	if (!e)
		e = entry_new(p, topic);
	e->left = false;
	e->changed = true;
	buf_release(&e->fields);
	e->fields = fields;
	keep_body(e, body);
	if (!p->o.overlay)
		return true;
	e->urgent |= fresh;
	if (fresh)
		e->due_ms = now;
	else if (!e->waiting && e->taken) /* else on_put decides */
		e->due_ms = later(e->sealed_ms + CHANGE_MS, now);
	schedule(p);
	return true;
}

static void entry_withdraw(struct entry *e)
{
	struct publisher *p = e->p;
	struct record r = e->body;

	if (!p->o.overlay || !e->sealed_ms) { /* nobody has heard of it */
		entry_free(e);
		return;
	}
	r.state = RECORD_LEFT;
	r.address.n = 0;
	r.dht.n = 0;
	r.caps.n = 0;
	keep_body(e, &r);
	buf_clear(&e->fields);
	e->left = true;
	e->changed = true;
	e->taken = false;
	e->urgent = true;
	e->due_ms = loop_ms(p->o.loop);
	e->ends_ms = e->due_ms + TOMBSTONE_MS;
}

void publisher_withdraw(struct publisher *p, const char *topic)
{
	struct entry *e = entry_find(p, topic);

	if (!e || e->left)
		return;
	entry_withdraw(e);
	schedule(p);
}

bool publisher_has(const struct publisher *p, const char *topic)
{
	const struct entry *e = entry_find(p, topic);
	return e && !e->left;
}

void publisher_connected(struct publisher *p)
{
	for (struct entry *e = p->entries; e; e = e->next)
		if (e->sealed_ms && !e->taken && !e->waiting) {
			e->due_ms = loop_ms(p->o.loop);
			e->retry_ms = RETRY_FIRST_MS;
		}
	schedule(p);
}

/* A new record now, whatever is under way. */
static void entry_again(struct entry *e)
{
	e->changed = true;
	e->urgent = true;
	e->due_ms = loop_ms(e->p->o.loop);
}

void publisher_rekey(struct publisher *p)
{
	struct entry *next;

	for (struct entry *e = p->entries; e; e = next) {
		next = e->next;
		if (e->left) { /* nothing is put under old topics */
			entry_free(e);
			continue;
		}
		if (e->put)
			overlay_put_end(e->put);
		e->put = NULL;
		topic_id_of(p->o.keys, e->topic, &e->id);
		if (p->o.overlay)
			entry_again(e);
	}
	schedule(p);
}

void publisher_saw_own(struct publisher *p, uint64_t seq)
{
	if (seq <= p->last_seq)
		return;
	log_debug("dht", "a record of ours is ahead of us, going on above it");
	p->last_seq = seq;
	for (struct entry *e = p->entries; e; e = e->next)
		entry_again(e);
	schedule(p);
}

static void on_limit(void *arg)
{
	end_leaving(arg);
}

void publisher_leave(struct publisher *p, uint64_t limit_ms, loop_fn done,
		     void *arg)
{
	struct entry *next;

	for (struct entry *e = p->entries; e; e = next) {
		next = e->next;
		if (!e->left)
			entry_withdraw(e);
	}
	p->leaving = true;
	p->left = done;
	p->left_arg = arg;
	loop_timer_set(p->limit, tombstone_pending(p) ? limit_ms : 0);
	schedule(p);
}

struct publisher *publisher_new(const struct publisher_options *o)
{
	struct publisher *p = HN_NEW(struct publisher);
	p->o = *o;
	p->last_seq = o->last_seq;
	p->timer = loop_timer_new(o->loop, on_timer, p);
	p->limit = loop_timer_new(o->loop, on_limit, p);
	return p;
}

void publisher_free(struct publisher *p)
{
	if (!p)
		return;
	while (p->entries)
		entry_free(p->entries);
	loop_timer_free(p->timer);
	loop_timer_free(p->limit);
	free(p);
}
