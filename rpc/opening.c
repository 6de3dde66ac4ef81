/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * From a connection to a session (PROTOCOL 1 and 2): first bytes, three
 * messages, and the responder's first record, which says that it let the
 * dialler in. The sides take turns, so bytes beyond the awaited message break
 * the protocol. handshake.c does the computing; this file waits, counts, and
 * asks the hub's owner.
 */
#include "node/base/log.h"
#include "node/base/mem.h"
#include "rpc/hub.h"

#include <sodium.h>

#include <stdlib.h>
#include <string.h>

static void bad(struct session *s, uint64_t *counter, enum err why,
		const char *text)
{
	if (s->state == S_ENDING)
		return;
	(*counter)++;
	/* What we dialled ends as its dial's result. */
	if (!s->dialled)
		hub_refused(s->hub, &s->address, text);
	session_end(s, why, text, false);
}

static void me_of(struct session *s, const struct session_creds *creds,
		  struct handshake_me *me)
{
	const struct hub_options *o = &s->hub->o;

	*me = (struct handshake_me){
	    .identity = o->me,
	    .features = o->features,
	    .unix_ms = clock_unix_ms(),
	    .dials = s->dials,
	    .cert = creds->cert,
	};
	/* A newcomer has none for the mesh that it wants to enter. */
	if (s->dialled && s->psk.kind == SESSION_INVITED)
		me->cert = (struct bytes){0};
	memcpy(me->boot_id, o->boot_id, sizeof(me->boot_id));
	memcpy(me->mesh_id, creds->mesh_id, sizeof(me->mesh_id));
}

static void creds_of(struct hub *h, struct session_creds *creds)
{
	memset(creds, 0, sizeof(*creds));
	h->o.creds(h->o.arg, creds);
}

/* Our own id at the other end: ourselves, or a copy of our key (D11). */
static bool is_self(struct session *s)
{
	struct hub *h = s->hub;
	const struct session_hello *hello = &s->peer.hello;
	struct buf a = {0};

	if (!node_id_eq(&hello->id, identity_id(h->o.me)))
		return false;
	if (!memcmp(hello->boot_id, h->o.boot_id, sizeof(hello->boot_id))) {
		h->counters.self_dials++;
		session_end(s, ERR_EXISTS, "self: both ends are this node",
			    true);
		return true;
	}
	h->counters.copied_keys++;
	link_addr_str(&s->address, &a);
	if (h->o.copied_key)
		h->o.copied_key(h->o.arg, &hello->id, buf_str(&a));
	buf_release(&a);
	session_end(s, ERR_EXISTS, "another process uses this node's key",
		    true);
	return true;
}

/* False: ended, with a goodbye where the ciphers are there already. */
static bool admitted(struct session *s)
{
	struct hub *h = s->hub;
	struct buf why = {0};
	enum err e = OK;

	if (h->o.admit)
		e = h->o.admit(h->o.arg, &s->peer.hello, &s->psk, &why);
	if (e)
		session_end(s, e, why.n ? buf_str(&why) : "not admitted", true);
	buf_release(&why);
	return !e;
}

static void split(struct session *s)
{
	enum err e = handshake_split(s->hs, &s->tx, &s->rx, s->hash);

	handshake_free(s->hs);
	s->hs = NULL;
	if (e) {
		session_end(s, e, err_str(e), false);
		return;
	}
	s->reader.rx = &s->rx;
	s->writer.tx = &s->tx;
}

/* Responder */

static void send_refusal(struct session *s, struct refusal *r)
{
	uint8_t p[REFUSAL_MAX];

	r->version = PROTOCOL_VERSION;
	r->suites = s->hub->o.aes ? 3 : 1;
	buf_add(link_out(s->link), p, refusal_pack(r, p));
	link_flush(s->link);
	s->refusing = true;
}

static void refuse(struct session *s, enum refusal_code code)
{
	struct refusal r = {.code = code};

	send_refusal(s, &r);
	bad(s, &s->hub->counters.bad_version, ERR_PROTO,
	    code == REFUSAL_VERSION
		? "a dialler speaks another protocol version"
		: "a dialler named a cipher suite that is not here");
}

/* Nothing is computed for a stranger under attack (PROTOCOL 1.6); true: it
 * was asked, and this connection ends. */
static bool ask_puzzle(struct session *s, const uint8_t *answer)
{
	struct hub *h = s->hub;
	struct refusal r = {.code = REFUSAL_PUZZLE};
	const uint64_t now_s = loop_ms(h->o.loop) / 1000;

	if (answer && puzzle_accept(&h->puzzles, s->address.ip, now_s, answer))
		return false;
	if (!hub_is_busy(h))
		return false;
	puzzle_make(&h->puzzles, s->address.ip, now_s, &r.puzzle);
	send_refusal(s, &r);
	h->counters.puzzles_asked++;
	session_end(s, ERR_BUSY, "a puzzle was asked", false);
	return true;
}

/* Takes message 1 with what stands before it. */
static void message_1(struct session *s, const uint8_t first[static FIRST_SIZE],
		      const uint8_t *p, size_t n)
{
	struct session_creds creds;
	struct handshake_me me;
	size_t which;

	creds_of(s->hub, &creds);
	me_of(s, &creds, &me);
	s->aes = first[6] == NOISE_AESGCM;
	enum err e = handshake_accept(&me, first, creds.psks, creds.npsks, p, n,
				      &which, link_out(s->link), &s->hs);
	if (!e)
		s->psk = creds.psks[which];
	sodium_memzero(&creds, sizeof(creds));
	if (e) {
		bad(s, &s->hub->counters.bad_psk, e,
		    "a dialler's first message does not fit our keys");
		return;
	}
	sodium_memzero(s->psk.key, sizeof(s->psk.key));
	s->state = S_MESSAGE_3;
	link_flush(s->link);
}

static void message_3(struct session *s, const uint8_t *p, size_t n)
{
	enum err e = handshake_read3(s->hs, p, n, &s->peer);

	if (e) {
		bad(s, &s->hub->counters.bad_auth, e,
		    "a dialler's proof of its identity is wrong");
		return;
	}
	s->dials = s->peer.dials;
	split(s);
	if (s->state == S_ENDING || is_self(s) || !admitted(s))
		return;
	if (hub_settle(s))
		session_go_up(s);
}

static void first_bytes(struct session *s)
{
	struct first f;
	bool whole;

	if (first_unpack(s->in.p, s->in.n, &whole, &f) ||
	    (whole && f.control != s->control)) {
		bad(s, &s->hub->counters.bad_magic, ERR_PROTO,
		    "a connection that does not speak our protocol");
		return;
	}
	if (!whole)
		return;
	if (f.version != PROTOCOL_VERSION) {
		refuse(s, REFUSAL_VERSION);
		return;
	}
	if (s->control) {
		if (s->in.n == FIRST_SIZE)
			session_go_up(s);
		else
			bad(s, &s->hub->counters.bad_records, ERR_PROTO,
			    "bytes before their turn");
		return;
	}
	if (f.suite > NOISE_AESGCM ||
	    (f.suite == NOISE_AESGCM && !s->hub->o.aes)) {
		refuse(s, REFUSAL_SUITE);
		return;
	}
	const size_t first = FIRST_SIZE + (f.answered ? PUZZLE_ANSWER : 0);
	if (s->in.n < first)
		return;
	if (!ask_puzzle(s, f.answered ? s->in.p + FIRST_SIZE : NULL))
		s->first = first;
}

/* Dialler */

static void message_2(struct session *s, const uint8_t *p, size_t n)
{
	struct session_creds creds;
	struct handshake_me me;
	enum err e = handshake_read2(s->hs, p, n, &s->peer);

	if (e) {
		bad(s, &s->hub->counters.bad_auth, e,
		    "the responder's proof of its identity is wrong");
		return;
	}
	if (is_self(s) || !admitted(s))
		return;
	creds_of(s->hub, &creds);
	me_of(s, &creds, &me);
	e = handshake_write3(s->hs, &me, link_out(s->link));
	sodium_memzero(&creds, sizeof(creds));
	sodium_memzero(s->psk.key, sizeof(s->psk.key));
	if (e) {
		session_end(s, e, err_str(e), false);
		return;
	}
	s->state = S_WELCOME;
	split(s);
	if (s->state == S_WELCOME)
		link_flush(s->link);
}

static void refused(struct session *s)
{
	struct refusal r;
	char text[120];
	bool whole;

	if (refusal_unpack(s->in.p, s->in.n, &whole, &r)) {
		bad(s, &s->hub->counters.bad_magic, ERR_PROTO,
		    "the responder sent a malformed refusal");
		return;
	}
	if (!whole)
		return;
	if (r.code == REFUSAL_PUZZLE) {
		if (!s->control && hub_dial_puzzle(s, &r.puzzle))
			session_end(s, ERR_BUSY, "the responder asks a puzzle",
				    false);
		else
			session_end(s, ERR_BUSY,
				    "the peer takes no more connections now",
				    false);
		return;
	}
	s->hub->counters.bad_version++;
	if (r.code == REFUSAL_SUITE) {
		s->suite_refused = true;
		session_end(s, ERR_PROTO,
			    "the responder lacks the cipher suite", false);
		return;
	}
	snprintf(text, sizeof(text),
		 "the peer speaks version %u of the protocol, this is %u",
		 r.version, PROTOCOL_VERSION);
	session_end(s, ERR_PROTO, text, false);
}

/* Both */

/* One message with its length in front is in; more is out of turn. */
static void take_message(struct session *s, size_t at)
{
	const uint8_t *p = s->in.p + at;
	const size_t n = s->in.n - at;

	if (n < 2)
		return;
	const size_t len = (size_t)p[0] << 8 | p[1];
	if (!len || len > HANDSHAKE_MSG || n > 2 + len) {
		bad(s, &s->hub->counters.bad_records, ERR_PROTO,
		    "a malformed handshake message");
		return;
	}
	if (n < 2 + len)
		return;
	uint8_t *copy = xmemdup(s->in.p, s->in.n);
	buf_clear(&s->in);
	if (s->state == S_FIRST)
		message_1(s, copy, copy + at + 2, len);
	else if (s->state == S_MESSAGE_2)
		message_2(s, copy + at + 2, len);
	else
		message_3(s, copy + at + 2, len);
	free(copy);
}

void opening_bytes(struct session *s, const uint8_t *p, size_t n)
{
	const size_t room =
	    FIRST_SIZE + PUZZLE_ANSWER + 2 + HANDSHAKE_MSG - s->in.n;
	const bool too_many = n > room;

	buf_add(&s->in, p, too_many ? room : n);
	if (too_many && s->state == S_FIRST)
		first_bytes(s); /* it may be no dialler of ours at all */
	if (too_many) {
		bad(s, &s->hub->counters.bad_records, ERR_PROTO,
		    "too many bytes for a handshake");
		return;
	}
	switch (s->state) {
	case S_FIRST:
		if (!s->first)
			first_bytes(s);
		if (s->state == S_FIRST && s->first)
			take_message(s, s->first);
		return;
	case S_MESSAGE_2:
		if (!refusal_begins(s->in.p, s->in.n))
			take_message(s, 0);
		else
			refused(s);
		return;
	case S_MESSAGE_3:
		take_message(s, 0);
		return;
	case S_CONNECTING:
	case S_WELCOME:
	case S_PARKED:
	case S_UP:
	case S_ENDING:
		return;
	}
}

bool opening_refused(struct session *s, const uint8_t *p, size_t n)
{
	if (s->state != S_WELCOME || !s->control || s->reader.part.n ||
	    (!s->in.n && !refusal_begins(p, n)))
		return false;
	if (s->in.n + n > REFUSAL_MAX) {
		bad(s, &s->hub->counters.bad_records, ERR_PROTO,
		    "a malformed refusal");
		return true;
	}
	buf_add(&s->in, p, n);
	refused(s);
	return true;
}

void opening_accept(struct hub *h, struct link *take_l, bool control)
{
	struct session *s = session_new(h, false, control);

	s->link = take_l;
	s->address = *link_peer(take_l);
	s->state = S_FIRST;
	loop_timer_set(s->timer, h->o.handshake_ms);
	link_start(take_l, &session_link_ops, s);
}

/* Dialler: the link is there, we speak first. */
void session_opened(struct session *s)
{
	const struct first control = {.control = true,
				      .version = PROTOCOL_VERSION};
	struct session_creds creds;
	struct handshake_me me;

	s->address = *link_peer(s->link);
	loop_timer_set(s->timer, s->hub->o.handshake_ms);
	if (s->control) {
		uint8_t p[FIRST_SIZE];
		first_pack(&control, p);
		buf_add(link_out(s->link), p, sizeof(p));
		s->state = S_WELCOME;
		link_flush(s->link);
		return;
	}
	creds_of(s->hub, &creds);
	me_of(s, &creds, &me);
	me.answer = hub_dial_answer(s);
	enum err e = handshake_dial(&me, &s->peer.hello.id, s->psk.key,
				    s->aes ? NOISE_AESGCM : NOISE_CHACHAPOLY,
				    link_out(s->link), &s->hs);
	sodium_memzero(&creds, sizeof(creds));
	if (e) {
		session_end(s, e,
			    e == ERR_CRYPTO ? "this node id is not a valid key"
					    : err_str(e),
			    false);
		return;
	}
	s->state = S_MESSAGE_2;
	link_flush(s->link);
}

struct session *opening_dial(struct hub *h, const struct node_id *expect,
			     const char *host, uint16_t port, const char *path,
			     const struct session_psk *psk, bool aes,
			     uint32_t timeout_ms, enum err *why)
{
	struct session_creds creds;
	struct link *l;

	struct session *s = session_new(h, true, path != NULL);
	s->state = S_CONNECTING;
	s->aes = aes;
	if (path) {
		*why = link_dial_ipc(h->links, path, timeout_ms,
				     &session_link_ops, s, &l);
	} else {
		s->dials = ++h->ndials;
		s->peer.hello.id = *expect;
		creds_of(h, &creds);
		s->psk = psk ? *psk : creds.psks[0];
		sodium_memzero(&creds, sizeof(creds));
		*why = link_dial(h->links, host, port, timeout_ms,
				 &session_link_ops, s, &l);
	}
	if (*why) {
		session_free(s);
		return NULL;
	}
	s->link = l;
	return s;
}
