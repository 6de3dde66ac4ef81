/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A session from its first record to its end: records in and out, keepalive,
 * rekey, close (PROTOCOL 3 and 4).
 *
 * What is sent stands, in clear, in the open record at the end of the link's
 * own buffer; sealing happens there, in place, when the record is full or the
 * loop round ends. So a round costs one seal per 16 KiB and one write, however
 * many frames were made in it, and no copy.
 *
 * The end has two halves that come in either order: the owner is told, from a
 * post, and the link is closed, at once or after a goodbye had its time. The
 * memory goes after both, and never under a function of ours: those run from
 * posts, timers or the link, and pins count the posts.
 */
#include "rpc/session.h"

#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/base/utf8.h"
#include "rpc/hub.h"

#include <sodium.h>
#include <utlist.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ASLEEP_MS 500 /* our own timer came this late: not the peer's fault */

static const char *const state_names[] = {
    [S_CONNECTING] = "connecting",
    [S_FIRST] = "first",
    [S_MESSAGE_2] = "message-2",
    [S_MESSAGE_3] = "message-3",
    [S_WELCOME] = "welcome",
    [S_PARKED] = "parked",
    [S_UP] = "up",
    [S_ENDING] = "ending",
};

static void on_timer(void *arg);

static uint64_t now_ms(const struct session *s)
{
	return loop_ms(s->hub->o.loop);
}

/* Life */

struct session *session_new(struct hub *h, bool dialled, bool control)
{
	struct session *s = HN_NEW(struct session);

	s->hub = h;
	s->dialled = dialled;
	s->control = control;
	if (control)
		s->psk.kind = SESSION_CONTROL;
	s->timer = loop_timer_new(h->o.loop, on_timer, s);
	DL_APPEND(h->sessions, s);
	return s;
}

void session_free(struct session *s)
{
	struct hub *h = s->hub;

	if (s->dirty)
		DL_DELETE2(h->dirty, s, dprev, dnext);
	DL_DELETE(h->sessions, s);
	loop_timer_free(s->timer);
	loop_timer_free(s->retire);
	loop_timer_free(s->rest);
	handshake_free(s->hs);
	handshake_peer_release(&s->peer);
	record_reader_release(&s->reader);
	noise_cipher_wipe(&s->tx);
	noise_cipher_wipe(&s->rx);
	sodium_memzero(&s->psk, sizeof(s->psk));
	buf_release(&s->in);
	free(s->text);
	free(s);
	hub_freed(h);
}

static void maybe_free(struct session *s)
{
	if (s->told && !s->link && !s->pins)
		session_free(s);
}

static void drop_link(struct session *s)
{
	link_close(s->link);
	s->link = NULL;
}

static void answer_pings(struct session *s, enum err e)
{
	struct session_probe all[SESSION_PINGS];
	const size_t n = s->npings;

	memcpy(all, s->pings, n * sizeof(all[0]));
	s->npings = 0;
	for (size_t i = 0; i < n; i++)
		if (all[i].done)
			all[i].done(all[i].arg, e, 0);
}

static void on_told(void *arg)
{
	struct session *s = arg;

	answer_pings(s, ERR_GONE);
	hub_ended(s);
	s->told = true;
	s->pins--;
	maybe_free(s);
}

/* The text is cut between characters. */
static void say_goodbye(struct session *s, enum err why, const char *text)
{
	uint8_t body[2 + RECORD_TEXT];
	size_t n = 0, step;

	while (text[n] &&
	       (step = utf8_step(text + n, strlen(text + n), NULL)) &&
	       n + step <= RECORD_TEXT)
		n += step;
	body[0] = (uint8_t)((unsigned)why >> 8);
	body[1] = (uint8_t)why;
	memcpy(body + 2, text, n);
	record_put(&s->writer, link_out(s->link), RECORD_GOODBYE, body, 2 + n);
}

/* A dialler that is not welcomed yet may send no record (PROTOCOL 2.5). */
static bool may_say_goodbye(const struct session *s)
{
	return s->state == S_UP || s->state == S_PARKED ||
	       (!s->dialled && s->writer.tx);
}

void session_end(struct session *s, enum err why, const char *text,
		 bool goodbye)
{
	if (s->state == S_ENDING)
		return;
	const bool linger =
	    s->link && (s->refusing || (goodbye && may_say_goodbye(s)));

	log_debug("rpc", "session ends state=%s reason=%s text=%s peer=%s",
		  state_names[s->state], err_name(why), log_quote(text),
		  s->control ? "-" : node_str(&s->peer.hello.id));
	if (linger && !s->refusing) {
		say_goodbye(s, why, text);
		session_flush(s);
	}
	s->was_up = s->state == S_UP;
	s->state = S_ENDING;
	s->why = why;
	s->text = xstrdup(text);
	handshake_free(s->hs);
	s->hs = NULL;
	sodium_memzero(s->psk.key, sizeof(s->psk.key));
	loop_timer_cancel(s->timer);
	if (linger) {
		/* The peer closes when it has read it. Until then what it
		 * sends is read and forgotten: unread bytes would make the
		 * kernel reset the connection, and the goodbye with it. */
		link_pause(s->link, false);
		loop_timer_set(s->timer, SESSION_LINGER_MS);
	} else if (s->link) {
		drop_link(s);
	}
	s->pins++;
	loop_post(s->hub->o.loop, on_told, s);
}

void session_close(struct session *s, enum err why, const char *text)
{
	session_end(s, why, text ? text : err_str(why), true);
}

/* Records out */

static void rekey_if_due(struct session *s)
{
	const struct hub_options *o = &s->hub->o;

	if (s->control || s->state != S_UP ||
	    (s->writer.bytes < o->rekey_bytes &&
	     now_ms(s) - s->rekeyed_ms < o->rekey_ms))
		return;
	record_rekey(&s->writer, link_out(s->link));
	s->rekeyed_ms = now_ms(s);
	s->hub->counters.rekeys++;
}

void session_flush(struct session *s)
{
	/* While the kernel takes nothing the open record may as well grow. */
	if (!s->link || !link_ready(s->link))
		return;
	struct buf *out = link_out(s->link);
	record_end(&s->writer, out);
	if (!out->n)
		return;
	s->out_bytes += out->n;
	link_flush(s->link);
}

static void put(struct session *s, enum record_type type, const void *p,
		size_t n)
{
	record_put(&s->writer, link_out(s->link), type, p, n);
	hub_dirty(s);
}

size_t session_queued(const struct session *s)
{
	return s->link ? link_queued(s->link) : 0;
}

uint8_t *session_space(struct session *s, size_t n)
{
	assert(n && n <= SESSION_RECORD);
	if (s->state != S_UP)
		return s->hub->scratch;
	struct buf *out = link_out(s->link);
	if (!record_fits(&s->writer, out, n)) {
		record_end(&s->writer, out);
		rekey_if_due(s);
		if (out->n >= SESSION_FLUSH)
			session_flush(s);
		const size_t queued = link_queued(s->link);
		if (queued > SESSION_MAX) {
			session_end(s, ERR_LIMIT,
				    "the peer does not read what it asked for",
				    false);
			return s->hub->scratch;
		}
	}
	s->high |= link_queued(s->link) + n > SESSION_HIGH;
	hub_dirty(s);
	return record_space(&s->writer, out, n);
}

/* Keepalive: PROTOCOL 4.1 says who pings when. */

static void send_ping(struct session *s, struct session_probe *p)
{
	put_be64(p->token, ++s->next_token);
	p->sent_ns = clock_ns();
	put(s, RECORD_PING, p->token, RECORD_TOKEN);
}

static void keepalive_ping(struct session *s)
{
	struct session_probe p = {0};

	s->pinged_ms = now_ms(s);
	/* Forget the oldest of our own rather than not ask again. */
	for (size_t i = 0; i < s->npings; i++)
		if (!s->pings[i].done) {
			memmove(&s->pings[i], &s->pings[i + 1],
				(s->npings - i - 1) * sizeof(p));
			s->npings--;
			break;
		}
	send_ping(s, &p);
	if (s->npings < SESSION_PINGS)
		s->pings[s->npings++] = p;
}

static uint64_t max64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void expire_pings(struct session *s, uint64_t now, uint64_t *next)
{
	for (size_t i = 0; i < s->npings;) {
		const struct session_probe p = s->pings[i];
		if (!p.due_ms || p.due_ms > now) {
			if (p.due_ms && p.due_ms < *next)
				*next = p.due_ms;
			i++;
			continue;
		}
		memmove(&s->pings[i], &s->pings[i + 1],
			(s->npings - i - 1) * sizeof(p));
		s->npings--;
		p.done(p.arg, ERR_TIMEOUT, 0);
		if (s->state != S_UP)
			return;
		i = 0; /* done may have changed the list */
	}
}

static void keepalive(struct session *s)
{
	const struct hub_options *o = &s->hub->o;
	const uint64_t now = now_ms(s);
	const bool busy = s->outstanding > 0;
	const uint64_t limit =
	    busy ? o->silent_busy : 3 * (uint64_t)o->ping_idle;
	const uint64_t step = busy ? o->silent_busy / 3 : o->ping_idle;

	if (s->due_ms && now > s->due_ms + ASLEEP_MS)
		s->grace_ms = now - limit / 2; /* what came is still unread */
	uint64_t heard = max64(max64(s->heard_ms, s->since_ms), s->grace_ms);
	if (busy)
		heard = max64(heard, s->busy_ms);
	if (s->control && !s->dialled)
		heard = now; /* our user may have stopped it; its end is told */
	if (now >= heard + limit) {
		s->hub->counters.lost_silent++;
		session_end(s, ERR_GONE, "no sign of life from the peer",
			    false);
		return;
	}
	/* A busy session has traffic to go by, and pings only into silence. */
	uint64_t ping = s->pinged_ms + step;
	if (busy)
		ping = max64(ping, heard + step);
	if (now >= ping) {
		link_trim(s->link); /* before a quiet time, perhaps */
		keepalive_ping(s);
		ping = now + step;
	}
	uint64_t next = heard + limit < ping ? heard + limit : ping;
	expire_pings(s, now, &next);
	if (s->state != S_UP)
		return;
	s->due_ms = next;
	loop_timer_set(s->timer, next > now ? next - now : 1);
}

static void on_timer(void *arg)
{
	struct session *s = arg;

	switch (s->state) {
	case S_UP:
		keepalive(s);
		return;
	case S_ENDING:
		drop_link(s);
		maybe_free(s);
		return;
	case S_PARKED:
		return; /* the probe has its own limit */
	case S_CONNECTING:
	case S_FIRST:
	case S_MESSAGE_2:
	case S_MESSAGE_3:
	case S_WELCOME:
		session_end(s, ERR_TIMEOUT, "the handshake took too long",
			    false);
		return;
	}
}

void session_outstanding(struct session *s, int delta)
{
	const bool was = s->outstanding > 0;

	s->outstanding += delta;
	assert(s->outstanding >= 0);
	if (was || s->outstanding <= 0 || s->state != S_UP)
		return;
	/* The peer may have been quiet for long, rightly. */
	s->busy_ms = now_ms(s);
	const uint64_t soon = s->busy_ms + s->hub->o.silent_busy / 3;
	if (soon < s->due_ms) {
		s->due_ms = soon;
		loop_timer_set(s->timer, s->hub->o.silent_busy / 3);
	}
}

void session_probe_within(struct session *s, uint32_t ms, session_ping_fn done,
			  void *arg)
{
	struct session_probe p = {
	    .due_ms = now_ms(s) + ms,
	    .done = done,
	    .arg = arg,
	};

	assert(s->state == S_UP && s->npings < SESSION_PINGS);
	send_ping(s, &p);
	s->pings[s->npings++] = p;
	if (p.due_ms < s->due_ms) {
		s->due_ms = p.due_ms;
		loop_timer_set(s->timer, ms);
	}
}

struct refused_ping {
	session_ping_fn done;
	void *arg;
	enum err why;
};

static void on_refused_ping(void *arg)
{
	struct refused_ping *r = arg;

	r->done(r->arg, r->why, 0);
	free(r);
}

void session_ping(struct session *s, session_ping_fn done, void *arg)
{
	/* Two places stay free: keepalive's and a D11 probe's. */
	if (s->state == S_UP && s->npings < SESSION_PINGS - 2) {
		session_probe_within(s, s->hub->o.silent_busy, done, arg);
		return;
	}
	struct refused_ping *r = HN_NEW(struct refused_ping);
	*r = (struct refused_ping){done, arg,
				   s->state == S_UP ? ERR_BUSY : ERR_GONE};
	loop_post(s->hub->o.loop, on_refused_ping, r);
}

static void on_pong(struct session *s, const uint8_t *token)
{
	const uint64_t now = clock_ns();

	for (size_t i = 0; i < s->npings; i++) {
		const struct session_probe p = s->pings[i];
		if (memcmp(p.token, token, RECORD_TOKEN))
			continue;
		memmove(&s->pings[i], &s->pings[i + 1],
			(s->npings - i - 1) * sizeof(p));
		s->npings--;
		const uint64_t us = (now - p.sent_ns) / 1000;
		s->rtt_us = s->rtt_us ? (7 * s->rtt_us + us) / 8 : us;
		if (p.done)
			p.done(p.arg, OK, us);
		return;
	}
	/* Of a ping that was given up. */
}

/* Records in */

static void on_goodbye(struct session *s, const uint8_t *p, size_t n)
{
	struct buf text = {0};
	enum err why;

	if (record_goodbye(p, n, &why, &text))
		why = ERR_PROTO;
	/* To whoever dials it is no success; of a session that is up it tells
	 * a node that left from one that was lost. */
	if (why == OK && s->state != S_UP)
		why = ERR_GONE;
	session_end(s, why, text.n ? buf_str(&text) : err_str(why), false);
	buf_release(&text);
}

static void on_ping(struct session *s, const uint8_t *token)
{
	/* Whoever does not read gets no more to read (PROTOCOL 4.2). */
	if (link_queued(s->link) <= SESSION_HIGH)
		put(s, RECORD_PONG, token, RECORD_TOKEN);
}

/* The responder's first record is a ping: we are in (PROTOCOL 2.5). */
static enum err on_welcome(struct session *s, enum record_type type,
			   const uint8_t *p, size_t n)
{
	if (type == RECORD_GOODBYE) {
		on_goodbye(s, p, n);
		return ERR_CANCELED;
	}
	if (type != RECORD_PING)
		return ERR_PROTO;
	on_ping(s, p);
	if (hub_settle(s))
		session_go_up(s);
	return s->state == S_ENDING ? ERR_CANCELED : OK;
}

static enum err on_record(void *arg, enum record_type type, uint8_t *p,
			  size_t n)
{
	struct session *s = arg;
	struct hub *h = s->hub;
	enum err e;

	if (s->state == S_WELCOME)
		return on_welcome(s, type, p, n);
	switch (type) {
	case RECORD_FRAMES:
		e = h->o.record(h->o.arg, s, p, n);
		if (e && s->state == S_UP) {
			h->counters.bad_records++;
			session_end(s, e, "a record with bad frames", true);
		}
		break;
	case RECORD_PING:
		on_ping(s, p);
		break;
	case RECORD_PONG:
		on_pong(s, p);
		break;
	case RECORD_GOODBYE:
		on_goodbye(s, p, n);
		break;
	case RECORD_REKEY:
		break; /* the reader's */
	}
	return s->state == S_ENDING ? ERR_CANCELED : OK;
}

static void records_done(struct session *s, enum err e)
{
	if (!e || s->state == S_ENDING)
		return;
	s->hub->counters.bad_records++;
	hub_refused(s->hub, &s->address, "a record that breaks the protocol");
	session_end(s, e, "the peer broke the protocol", false);
}

void session_records(struct session *s, uint8_t *p, size_t n)
{
	records_done(s, record_feed(&s->reader, p, n, on_record, s));
}

static void on_resume(void *arg)
{
	struct session *s = arg;

	s->pins--;
	if (s->state != S_ENDING && !s->reader.held)
		records_done(s, record_resume(&s->reader, on_record, s));
	maybe_free(s);
}

/* Of a session that was parked: reads on, what came meanwhile first. */
static void unhold(struct session *s)
{
	s->reader.held = false;
	link_pause(s->link, false);
	if (!s->reader.part.n)
		return;
	s->pins++;
	loop_post(s->hub->o.loop, on_resume, s);
}

static void on_rested(void *arg)
{
	struct session *s = arg;

	s->resting = false;
	if (s->state == S_UP)
		unhold(s);
}

void session_rest(struct session *s, uint32_t ms)
{
	if (s->state != S_UP || s->resting)
		return;
	s->resting = true;
	s->reader.held = true;
	link_pause(s->link, true);
	s->hub->counters.rests++;
	if (!s->rest)
		s->rest = loop_timer_new(s->hub->o.loop, on_rested, s);
	loop_timer_set(s->rest, ms);
}

void session_go_up(struct session *s)
{
	const bool parked = s->state == S_PARKED;
	struct hub *h = s->hub;

	s->state = S_UP;
	s->since_ms = s->heard_ms = s->rekeyed_ms = now_ms(s);
	buf_release(&s->in);
	if (s->dialled)
		h->counters.handshakes_out++;
	else
		h->counters.handshakes_in++;
	if (parked)
		unhold(s);
	s->due_ms = 0;
	keepalive_ping(s); /* the responder's is the welcome */
	keepalive(s);
	h->o.up(h->o.arg, s);
	if (s->state != S_UP)
		return;
	if (!s->control)
		hub_judge(h, &s->peer.hello.id);
	if (s->state == S_UP && s->dial)
		hub_dial_up(s);
}

/* The link's callbacks */

static void on_open(void *arg)
{
	session_opened(arg);
}

/* Both said goodbye: nobody waits for the other to close. */
static enum err on_late_record(void *arg, enum record_type type, uint8_t *p,
			       size_t n)
{
	bool *bye = arg;

	(void)p;
	(void)n;
	*bye |= type == RECORD_GOODBYE;
	return OK;
}

static void lingering_bytes(struct session *s, uint8_t *p, size_t n)
{
	bool bye = false;

	/* Fails if the end came amid a chunk of records: then the timer or
	 * the peer's close is the end. */
	if (s->deaf || !s->was_up || s->reader.held) {
		s->deaf = true;
		return;
	}
	s->deaf = record_feed(&s->reader, p, n, on_late_record, &bye) != OK;
	if (bye && link_ready(s->link) && !link_queued(s->link))
		loop_timer_set(s->timer, 0);
}

static void on_bytes(void *arg, uint8_t *p, size_t n)
{
	struct session *s = arg;

	if (s->state == S_ENDING) {
		lingering_bytes(s, p, n);
		return;
	}
	s->heard_ms = now_ms(s);
	s->in_bytes += n;
	if (s->state >= S_WELCOME && !opening_refused(s, p, n))
		session_records(s, p, n);
	else if (s->state < S_WELCOME)
		opening_bytes(s, p, n);
}

static void on_sent(void *arg)
{
	struct session *s = arg;

	if (s->state == S_ENDING)
		session_flush(s); /* the goodbye */
	else if (link_ready(s->link))
		hub_dirty(s); /* what waited goes, writable may be called */
}

static void on_closed(void *arg, enum err why, const char *text)
{
	struct session *s = arg;

	if (s->state == S_ENDING) {
		drop_link(s);
		maybe_free(s);
		return;
	}
	if (s->state == S_UP)
		s->hub->counters.lost_reset++;
	s->early = s->state == S_MESSAGE_2 && !s->in.n;
	s->early_reset = s->early && link_was_reset(s->link);
	session_end(s, why, text, false);
}

const struct link_ops session_link_ops = {
    .open = on_open,
    .bytes = on_bytes,
    .sent = on_sent,
    .closed = on_closed,
};

/* Facts */

bool session_retiring(const struct session *s)
{
	return s->retiring;
}

enum session_kind session_kind(const struct session *s)
{
	return s->psk.kind;
}

const struct node_id *session_peer(const struct session *s)
{
	return &s->peer.hello.id;
}

const struct session_hello *session_hello(const struct session *s)
{
	return &s->peer.hello;
}

uint64_t session_psk_tag(const struct session *s)
{
	return s->psk.tag;
}

bool session_dialled(const struct session *s)
{
	return s->dialled;
}

bool session_aes(const struct session *s)
{
	return s->aes;
}

const uint8_t *session_hash(const struct session *s)
{
	return s->control ? NULL : s->hash;
}

void session_address(const struct session *s, struct buf *out)
{
	link_addr_str(&s->address, out);
}

bool session_is_up(const struct session *s)
{
	return s->state == S_UP;
}

uint64_t session_rtt_us(const struct session *s)
{
	return s->rtt_us;
}

uint64_t session_since_ms(const struct session *s)
{
	return s->since_ms;
}

uint64_t session_heard_ms(const struct session *s)
{
	return s->heard_ms;
}

void session_bytes(const struct session *s, uint64_t *in, uint64_t *out)
{
	*in = s->in_bytes;
	*out = s->out_bytes;
}

bool session_tcp(const struct session *s, struct link_tcp *out)
{
	return s->link && !s->control && link_tcp(s->link, out);
}

void session_set_user(struct session *s, void *user)
{
	s->user = user;
}

void *session_user(const struct session *s)
{
	return s->user;
}
