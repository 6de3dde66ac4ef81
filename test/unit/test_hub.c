/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Listeners, dials, limits, who may in, and which session to a peer counts. */
#include "rpc/hub.h"
#include "test/support/hubs.h"

#include "node/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct bench *b;
static struct hnode *a, *z, *w; /* w: a third, where a test wants one */
static struct proxy *proxy;
static struct raw_server *server;

static int begin(void **state)
{
	(void)state;
	b = bench_new();
	a = hnode_new(b);
	z = hnode_new(b);
	return 0;
}

static int end(void **state)
{
	(void)state;
	if (proxy)
		proxy_free(proxy);
	if (server)
		raw_server_free(server);
	proxy = NULL;
	server = NULL;
	hnode_free(w); /* may use the others' key */
	hnode_free(a);
	hnode_free(z);
	w = NULL;
	bench_free(b);
	return 0;
}

static void start_both(void)
{
	hnode_start(a, true);
	hnode_start(z, true);
}

static bool is_done(void *arg)
{
	return ((struct dialling *)arg)->done;
}

/* z is as it was: a right dial still works. */
static void assert_unharmed(void)
{
	struct hnode *n = hnode_new(b);

	hnode_start(n, false);
	connect_hubs(n, z);
	hnode_free(n);
}

/* Who may in */

static void assert_turned_away(uint64_t bad_psk)
{
	struct dialling d;

	start_both();
	assert_int_equal(dial(&d, a, z), ERR_DENIED);
	assert_non_null(strstr(d.text, "without a word"));
	assert_null(d.s);
	assert_int_equal(a->ups + z->ups, 0);
	/* Tried again, for it might have been the flood limits. */
	assert_true(hub_counters(z->hub)->bad_psk >= bad_psk);
	assert_true(hub_counters(z->hub)->handshakes_failed >= bad_psk);
	assert_int_equal(z->admits, 0);
}

static void test_wrong_psk(void **state)
{
	(void)state;
	a->creds.psks[0].key[3] ^= 1;
	assert_turned_away(2);
}

static void test_wrong_mesh_id(void **state)
{
	(void)state;
	a->creds.mesh_id[3] ^= 1;
	assert_turned_away(2);
}

static void test_wrong_key(void **state)
{
	struct dialling d;
	(void)state;

	w = hnode_new(b);
	start_both();
	/* w's id is expected where z listens. */
	dial_begin(&d, a, w, z->port, NULL, false, 5000);
	until(b, is_done, &d);
	assert_int_equal(d.e, ERR_DENIED);
	assert_true(hub_counters(z->hub)->bad_psk >= 1);
	assert_int_equal(z->ups, 0);
}

static bool both_down(void *arg)
{
	(void)arg;
	return !a->s && !z->s;
}

static void test_responder_does_not_admit(void **state)
{
	struct dialling d;
	static const uint8_t cert[] = "a certificate";
	(void)state;

	a->creds.cert = (struct bytes){cert, sizeof(cert)};
	z->admit = ERR_DENIED;
	z->admit_why = "your certificate has run out";
	start_both();
	assert_int_equal(dial(&d, a, z), ERR_DENIED);
	assert_string_equal(d.text, "your certificate has run out");
	assert_int_equal(z->admits, 1);
	assert_int_equal(z->seen_cert, sizeof(cert));
	assert_int_equal(a->ups + z->ups, 0);
	assert_int_equal(a->downs + z->downs, 0);
	z->admit = OK;
	assert_unharmed();
}

static void test_dialler_does_not_admit(void **state)
{
	struct dialling d;
	(void)state;

	a->admit = ERR_EXPIRED;
	a->admit_why = "left out by a rekey";
	start_both();
	assert_int_equal(dial(&d, a, z), ERR_EXPIRED);
	assert_string_equal(d.text, "left out by a rekey");
	assert_int_equal(z->ups, 0);
}

static void test_invite_is_told_apart(void **state)
{
	struct dialling d;
	static const uint8_t cert[] = "of another mesh";
	(void)state;

	struct session_psk invite = {.kind = SESSION_INVITED, .tag = 77};
	memset(invite.key, 0x11, 32);
	z->creds.psks[1] = (struct session_psk){.kind = SESSION_OLD_KEY};
	z->creds.psks[2] = invite;
	z->creds.npsks = 3;
	a->creds.psks[0].key[0] ^= 1; /* not a member yet */
	a->creds.cert = (struct bytes){cert, sizeof(cert)};
	start_both();
	dial_begin(&d, a, z, z->port, &invite, false, 5000);
	until(b, is_done, &d);
	assert_int_equal(d.e, OK);
	assert_int_equal(session_kind(z->s), SESSION_INVITED);
	assert_int_equal(session_psk_tag(z->s), 77);
	assert_int_equal(session_kind(a->s), SESSION_INVITED);
	assert_int_equal(z->seen_kind, SESSION_INVITED);
	assert_int_equal(z->seen_tag, 77);
	assert_int_equal(z->seen_cert, 0); /* a newcomer shows none */

	/* Enrolled: the session by the mesh key counts. */
	a->creds.psks[0].key[0] ^= 1;
	assert_int_equal(dial(&d, a, z), OK);
	assert_int_equal(session_kind(d.s), SESSION_PEER);
	assert_ptr_equal(hub_find(a->hub, identity_id(z->me)), d.s);
}

static void test_old_key_is_told_apart(void **state)
{
	struct dialling d;
	(void)state;

	z->creds.psks[1] = z->creds.psks[0];
	z->creds.psks[1].kind = SESSION_OLD_KEY;
	z->creds.psks[0].key[0] ^= 1;
	z->creds.npsks = 2;
	start_both();
	assert_int_equal(dial(&d, a, z), OK);
	assert_int_equal(session_kind(z->s), SESSION_OLD_KEY);
	assert_int_equal(session_kind(a->s), SESSION_PEER);
}

/* Versions and suites */

static bool got_refusal(void *arg)
{
	return ((struct raw *)arg)->in.n >= REFUSAL_SIZE;
}

static void refused_raw(const char *first, uint8_t code)
{
	struct refusal r;
	bool whole;

	struct raw *c = raw_connect(b, z->port);
	raw_send(c, first, FIRST_SIZE);
	until(b, got_refusal, c);
	assert_int_equal(refusal_unpack(c->in.p, c->in.n, &whole, &r), OK);
	assert_true(whole);
	assert_int_equal(r.code, code);
	assert_int_equal(r.version, PROTOCOL_VERSION);
	assert_int_equal(r.suites, 1);
	until(b, raw_is_closed, c);
	raw_close(c);
}

static void test_other_version_is_refused(void **state)
{
	(void)state;
	start_both();
	refused_raw("HNOD\0\2\0\0", REFUSAL_VERSION);
	refused_raw("HNOD\0\1\1\0", REFUSAL_SUITE); /* z has no AES */
	refused_raw("HNOD\0\1\7\0", REFUSAL_SUITE);
	assert_int_equal(hub_counters(z->hub)->bad_version, 3);
	assert_unharmed();
}

static void test_dialler_says_which_version_the_peer_has(void **state)
{
	struct dialling d;
	(void)state;

	start_both();
	server = raw_serve(b, "\xff\xffHNOD\1\0\3\1", REFUSAL_SIZE);
	dial_begin(&d, a, z, server->port, NULL, false, 5000);
	until(b, is_done, &d);
	assert_int_equal(d.e, ERR_PROTO);
	assert_non_null(strstr(d.text, "version 3"));
	assert_int_equal(server->n, 1); /* not tried again */
}

static void test_suite_falls_back_once(void **state)
{
	struct dialling d;
	(void)state;

	if (!noise_aesgcm_available())
		skip();
	a->o.aes = true;
	start_both();
	dial_begin(&d, a, z, z->port, NULL, true, 5000);
	until(b, is_done, &d);
	assert_int_equal(d.e, OK);
	assert_false(session_aes(d.s));
	assert_int_equal(hub_counters(z->hub)->bad_version, 1);

	/* A peer that refuses suite 0 too gets no third try. */
	server = raw_serve(b, "\xff\xffHNOD\2\0\1\1", REFUSAL_SIZE);
	dial_begin(&d, a, z, server->port, NULL, true, 5000);
	until(b, is_done, &d);
	assert_int_equal(d.e, ERR_PROTO);
	assert_int_equal(server->n, 2);
}

/* Garbage */

static bool raw_ended(struct raw *c)
{
	until(b, raw_is_closed, c);
	raw_close(c);
	return true;
}

static void send_garbage(const void *p, size_t n)
{
	struct raw *c = raw_connect(b, z->port);
	raw_send(c, p, n);
	assert_true(raw_ended(c));
}

static void test_garbage_is_closed(void **state)
{
	uint8_t big[4096];
	(void)state;

	start_both();
	memset(big, 'A', sizeof(big));
	send_garbage(big, sizeof(big));
	send_garbage("GET / HTTP/1.1\r\n\r\n", 18);
	send_garbage("H!", 2);		 /* seen before the eighth byte */
	send_garbage("HNCT\0\1\0\0", 8); /* the control socket's, over tcp */
	send_garbage("HNOD\0\1\0\2", 8); /* reserved bits */
	assert_int_equal(hub_counters(z->hub)->bad_magic, 5);

	/* Lengths: none, too long, and a second message out of turn. */
	memcpy(big, "HNOD\0\1\0\0\0\0", 10);
	send_garbage(big, 10);
	memcpy(big, "HNOD\0\1\0\0\377\376", 10);
	send_garbage(big, 10);
	memcpy(big, "HNOD\0\1\0\0\0\60", 10);
	send_garbage(big, 10 + 48 + 1);
	send_garbage(big, sizeof(big));
	assert_int_equal(hub_counters(z->hub)->bad_records, 4);
	send_garbage(big, 10 + 48); /* a message 1 of As */
	assert_int_equal(hub_counters(z->hub)->bad_psk, 1);
	assert_unharmed();
}

static void test_garbage_to_a_dialler(void **state)
{
	struct dialling d;
	uint8_t big[600];
	(void)state;

	start_both();
	memset(big, 0, sizeof(big));
	server = raw_serve(b,
			   "\0\100AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
			   "AAAAAAAAAAAAAAAAAA",
			   56);
	dial_begin(&d, a, z, server->port, NULL, false, 300);
	until(b, is_done, &d); /* message 2 never gets long enough */
	assert_int_equal(d.e, ERR_TIMEOUT);
	raw_server_free(server);
	server = raw_serve(b, "\0\0", 2);
	dial_begin(&d, a, z, server->port, NULL, false, 3000);
	until(b, is_done, &d);
	assert_int_equal(d.e, ERR_PROTO);
	raw_server_free(server);
	server = raw_serve(b, "\377\377HTTP/1.1", 10);
	dial_begin(&d, a, z, server->port, NULL, false, 3000);
	until(b, is_done, &d);
	assert_int_equal(d.e, ERR_PROTO);
}

/* A dialler up to message 1, by hand, as anyone may record and replay it. */
static void first_message(struct buf *out)
{
	struct handshake *hs;
	struct handshake_me me = {.identity = a->me};

	memcpy(me.mesh_id, a->creds.mesh_id, 32);
	assert_int_equal(handshake_dial(&me, identity_id(z->me),
					a->creds.psks[0].key, NOISE_CHACHAPOLY,
					out, &hs),
			 OK);
	handshake_free(hs);
}

static bool got_message_2(void *arg)
{
	const struct raw *c = arg;
	return c->in.n > 2;
}

static void test_replayed_message_1_leads_nowhere(void **state)
{
	struct buf m = {0};
	uint8_t third[202] = {0, 200};
	(void)state;

	start_both();
	first_message(&m);
	for (int i = 0; i < 3; i++) {
		struct raw *c = raw_connect(b, z->port);
		raw_send(c, m.p, m.n);
		until(b, got_message_2, c);
		raw_send(c, third, sizeof(third));
		assert_true(raw_ended(c));
	}
	assert_int_equal(hub_counters(z->hub)->bad_auth, 3);
	assert_int_equal(z->ups, 0);
	buf_release(&m);
	assert_unharmed();
}

static void test_truncated_handshake_times_out(void **state)
{
	struct buf m = {0};
	(void)state;

	z->o.handshake_ms = 60;
	start_both();
	first_message(&m);
	static const size_t cuts[] = {0, 3, 8, 9, 30};
	for (size_t i = 0; i < HN_COUNT(cuts); i++)
		send_garbage(m.p, cuts[i]); /* z closes */
	/* And one whose sender leaves. */
	struct raw *c = raw_connect(b, z->port);
	raw_send(c, m.p, 20);
	raw_close(c);
	run_for(b, 100);
	assert_int_equal(hub_counters(z->hub)->handshakes_failed, 6);
	buf_release(&m);
	z->o.handshake_ms = 5000;
	assert_unharmed();
}

/* The dialler proves who it is, and then speaks before its turn. */
static void handshake_by_hand(struct hnode *as, const char *more, size_t n)
{
	struct handshake_me me = {.identity = as->o.me};
	struct handshake_peer peer = {0};
	struct handshake *hs;
	struct buf out = {0};

	memcpy(me.mesh_id, as->creds.mesh_id, 32);
	memcpy(me.boot_id, as->o.boot_id, 8);
	assert_int_equal(handshake_dial(&me, identity_id(z->me),
					as->creds.psks[0].key, NOISE_CHACHAPOLY,
					&out, &hs),
			 OK);
	struct raw *c = raw_connect(b, z->port);
	raw_send(c, out.p, out.n);
	until(b, got_message_2, c);
	assert_int_equal(handshake_read2(hs, c->in.p + 2, c->in.n - 2, &peer),
			 OK);
	buf_clear(&out);
	assert_int_equal(handshake_write3(hs, &me, &out), OK);
	buf_add(&out, more, n);
	raw_send(c, out.p, out.n);
	assert_true(raw_ended(c));
	handshake_free(hs);
	handshake_peer_release(&peer);
	buf_release(&out);
}

static void test_dialler_waits_for_its_turn(void **state)
{
	(void)state;
	start_both();
	handshake_by_hand(a, "\0\21xxxxxxxxxxxxxxxxx", 19);
	assert_int_equal(hub_counters(z->hub)->bad_records, 1);
	assert_int_equal(z->ups, 0);
}

/* Ourselves */

static void test_own_id_is_not_dialled(void **state)
{
	struct dialling d;
	(void)state;

	start_both();
	assert_int_equal(dial(&d, z, z), ERR_INPUT);
	assert_non_null(strstr(d.text, "self"));
	assert_int_equal(hub_counters(z->hub)->self_dials, 1);
}

static void test_own_id_at_the_door(void **state)
{
	(void)state;
	start_both();
	handshake_by_hand(z, NULL, 0); /* same boot id: this process */
	assert_int_equal(hub_counters(z->hub)->self_dials, 1);
	assert_int_equal(z->copies, 0);
	w = hnode_twin(z);
	handshake_by_hand(w, NULL, 0);
	assert_int_equal(hub_counters(z->hub)->copied_keys, 1);
	assert_int_equal(z->copies, 1);
	assert_int_equal(z->ups, 0);
}

/* Several sessions between one pair (D11) */

static size_t count(struct hnode *n)
{
	return hub_each(n->hub, NULL, NULL);
}

static bool one_each(void *arg)
{
	(void)arg;
	return count(a) == 1 && count(z) == 1 && a->ups == 2 && z->ups == 2;
}

static void test_simultaneous_dials_leave_one(void **state)
{
	struct dialling d1, d2;
	(void)state;

	start_both();
	dial_begin(&d1, a, z, z->port, NULL, false, 5000);
	dial_begin(&d2, z, a, a->port, NULL, false, 5000);
	until(b, is_done, &d1);
	until(b, is_done, &d2);
	assert_int_equal(d1.e, OK);
	assert_int_equal(d2.e, OK);
	until(b, one_each, NULL);
	assert_true(hub_find(a->hub, identity_id(z->me)) == a->s);
	assert_memory_equal(session_hash(a->s), session_hash(z->s), 32);
	/* The smaller id's dial stays. */
	const bool a_smaller =
	    node_id_cmp(identity_id(a->me), identity_id(z->me)) < 0;
	assert_int_equal(session_dialled(a->s), a_smaller);
	assert_int_equal(a->downs, 1);
	assert_true(a->down_dup && z->down_dup);
	assert_int_equal(hub_counters(a->hub)->dups_closed, 1);
	hnode_send(a->s, "still", 5);
	run_for(b, 20);
	assert_int_equal(z->in.n, 5);
}

static void test_newer_of_two_dials_stays(void **state)
{
	struct dialling d;
	(void)state;

	start_both();
	assert_int_equal(dial(&d, a, z), OK);
	struct session *first = d.s;
	assert_int_equal(dial(&d, a, z), OK);
	assert_ptr_not_equal(d.s, first);
	assert_ptr_equal(hub_find(a->hub, identity_id(z->me)), d.s);
	assert_false(session_retiring(first)); /* not at once */
	until(b, one_each, NULL);
	assert_ptr_equal(a->s, d.s);
}

static bool retired_both(void *arg)
{
	(void)arg;
	return a->retires == 1 && z->retires == 1;
}

static void test_replaced_session_carries_on_until_closed(void **state)
{
	struct dialling d;
	(void)state;

	a->keep_retired = z->keep_retired = true;
	start_both();
	assert_int_equal(dial(&d, a, z), OK);
	struct session *first = d.s;
	assert_int_equal(dial(&d, a, z), OK);
	until(b, retired_both, NULL);
	assert_true(session_retiring(first));
	assert_int_equal(count(a), 2);
	hnode_send(first, "going on", 8);
	run_for(b, 20);
	assert_int_equal(z->in.n, 8);
	/* The one that counts dies: the other takes its place. */
	session_close(d.s, OK, "closed by hand");
	run_for(b, 50);
	assert_true(session_is_up(first));
	assert_false(session_retiring(first));
	assert_ptr_equal(hub_find(a->hub, identity_id(z->me)), first);
	assert_true(a->down_dup);
	session_close(first, OK, "done");
	until(b, both_down, NULL);
}

static void test_too_many_sessions_to_one_peer(void **state)
{
	struct dialling d;
	(void)state;

	a->keep_retired = z->keep_retired = true;
	start_both();
	for (int i = 0; i < 7; i++)
		assert_int_equal(dial(&d, a, z), OK);
	run_for(b, 50);
	assert_true(count(z) <= HUB_SESSIONS_PER_PEER);
	assert_ptr_equal(hub_find(a->hub, identity_id(z->me)), d.s);
}

/*
 * The responder still believes in a session that the dialler has lost, and by
 * the rule of ids it is the better one. It asks it, and drops it.
 */
static bool z_lost_one(void *arg)
{
	(void)arg;
	return z->downs == 1 && count(z) == 1;
}

static void test_dead_older_session_does_not_win(void **state)
{
	struct dialling d;
	(void)state;

	start_both();
	struct hnode *low = a, *high = z;
	if (node_id_cmp(identity_id(a->me), identity_id(z->me)) > 0) {
		low = z;
		high = a;
	}
	/* low's dial to high is the better one; it dies unseen by both. */
	proxy = proxy_new(b, high->port);
	dial_begin(&d, low, high, proxy->port, NULL, false, 5000);
	until(b, is_done, &d);
	assert_int_equal(d.e, OK);
	proxy->damage = SILENT;
	assert_int_equal(dial(&d, high, low), OK);
	struct hnode *keep = z;
	z = low;
	until(b, z_lost_one, NULL);
	assert_true(session_is_up(hub_find(low->hub, identity_id(high->me))));
	assert_false(
	    session_dialled(hub_find(low->hub, identity_id(high->me))));
	assert_int_equal(low->copies, 0);
	z = keep;
}

static bool a_up_twice(void *arg)
{
	(void)arg;
	return a->ups == 2 && a->downs == 1;
}

/* z is killed without a reset and starts anew, with a new boot id. */
static void test_restarted_peer_replaces_its_past(void **state)
{
	struct dialling d;
	(void)state;

	start_both();
	proxy = proxy_new(b, z->port);
	dial_begin(&d, a, z, proxy->port, NULL, false, 5000);
	until(b, is_done, &d);
	assert_int_equal(d.e, OK);
	proxy->damage = SILENT;
	w = hnode_twin(z);
	hnode_start(w, true);
	dial_begin(&d, w, a, a->port, NULL, false, 5000);
	run_for(b, 100);
	assert_false(d.done); /* the old one has two seconds to answer */
	assert_int_equal(a->ups, 1);
	until(b, a_up_twice, NULL);
	until(b, is_done, &d);
	assert_int_equal(d.e, OK);
	assert_int_equal(a->copies, 0);
	hnode_send(w->s, "back", 4);
	run_for(b, 20);
	assert_int_equal(a->in.n, 4);
}

static void test_restarted_peer_after_a_reset(void **state)
{
	struct dialling d;
	(void)state;

	start_both();
	assert_int_equal(dial(&d, a, z), OK);
	w = hnode_twin(z);
	hnode_start(w, true);
	dial_begin(&d, w, a, a->port, NULL, false, 5000);
	session_close(z->s, OK, "gone"); /* the old one ends by itself */
	const uint64_t from = loop_ms(b->loop);
	until(b, is_done, &d);
	assert_int_equal(d.e, OK);
	assert_true(loop_ms(b->loop) - from < 1000);
	assert_int_equal(a->copies, 0);
}

static void test_copied_key_is_reported(void **state)
{
	struct dialling d;
	(void)state;

	start_both();
	assert_int_equal(dial(&d, z, a), OK);
	w = hnode_twin(z); /* and z lives */
	hnode_start(w, true);
	assert_int_equal(dial(&d, w, a), ERR_EXISTS);
	assert_non_null(strstr(d.text, "another live process"));
	assert_int_equal(a->copies, 1);
	assert_int_equal(hub_counters(a->hub)->copied_keys, 1);
	assert_true(session_is_up(z->s));
	assert_int_equal(a->ups, 1);

	/* The same from the other side: a dials the copy. */
	assert_int_equal(dial(&d, a, w), ERR_EXISTS);
	assert_int_equal(a->copies, 2);
	assert_true(session_is_up(z->s));
}

/* Limits and time */

static bool flood_seen(void *arg)
{
	(void)arg;
	return hub_counters(z->hub)->flood_closed >= 6;
}

static void test_flood_is_closed_unread(void **state)
{
	struct raw *c[70];
	struct dialling d;
	size_t open = 0;
	(void)state;

	z->o.handshake_ms = 400;
	start_both();
	for (size_t i = 0; i < HN_COUNT(c); i++)
		c[i] = raw_connect(b, z->port);
	until(b, flood_seen, NULL);
	run_for(b, 20);
	for (size_t i = 0; i < HN_COUNT(c); i++)
		open += !c[i]->closed;
	assert_int_equal(open, HUB_HALF_OPEN);
	/* A dial gets through once the idle ones ran out of time. */
	assert_int_equal(dial(&d, a, z), OK);
	assert_true(hub_counters(z->hub)->flood_closed > 6);
	for (size_t i = 0; i < HN_COUNT(c); i++) {
		until(b, raw_is_closed, c[i]);
		raw_close(c[i]);
	}
}

static bool is_busy(void *arg)
{
	(void)arg;
	return hub_is_busy(z->hub);
}

static void test_under_attack_a_puzzle_is_asked(void **state)
{
	struct raw *c[HUB_BUSY_HALF_OPEN + 1];
	struct dialling d;
	(void)state;

	start_both();
	for (size_t i = 0; i < HN_COUNT(c); i++)
		c[i] = raw_connect(b, z->port);
	until(b, is_busy, NULL);
	assert_int_equal(dial(&d, a, z), OK);
	assert_int_equal(hub_counters(z->hub)->puzzles_asked, 1);
	assert_int_equal(hub_counters(a->hub)->puzzles_solved, 1);
	for (size_t i = 0; i < HN_COUNT(c); i++)
		raw_close(c[i]);
}

static void test_a_puzzle_too_hard_is_left_alone(void **state)
{
	static const char hard[] = "\xff\xffHNOD\3\0\1\1\21AAAABBBBCCCCDDDD";
	struct dialling d;
	(void)state;

	start_both();
	server = raw_serve(b, hard, REFUSAL_MAX);
	dial_begin(&d, a, z, server->port, NULL, false, 5000);
	until(b, is_done, &d);
	assert_int_equal(d.e, ERR_BUSY);
	assert_int_equal(hub_counters(a->hub)->puzzles_solved, 0);
}

static void test_a_full_node_lets_the_idle_one_go(void **state)
{
	struct dialling d;
	struct hnode *v;
	(void)state;

	z->o.max_sessions = 2;
	start_both();
	assert_int_equal(dial(&d, a, z), OK);
	w = hnode_new(b);
	hnode_start(w, true);
	assert_int_equal(dial(&d, w, z), OK);
	v = hnode_new(b);
	hnode_start(v, true);
	assert_int_equal(dial(&d, v, z), OK);
	assert_int_equal(hub_counters(z->hub)->evicted, 1);
	hnode_free(v);
}

/* Else one that has a network, as everybody with IPv6, is as many. */
static void test_a_network_is_one_place(void **state)
{
	uint8_t ip[16] = {0x20, 1, 0xd, 0xb8}, v4[16] = {[10] = 0xff, 0xff, 10};
	bool differ = false;
	(void)state;

	start_both();
	const unsigned v6 = hub_bucket(z->hub, ip),
		       first = hub_bucket(z->hub, v4);

	for (uint8_t i = 1; i; i++) {
		ip[8 + i % 8] = v4[15] = i;
		assert_int_equal(hub_bucket(z->hub, ip), v6);
		differ |= hub_bucket(z->hub, v4) != first;
	}
	assert_true(differ);
}

static void test_strangers_sessions_are_bounded(void **state)
{
	struct dialling d;
	(void)state;

	z->o.max_sessions = 1;
	start_both();
	assert_int_equal(dial(&d, a, z), OK);
	w = hnode_new(b);
	hnode_start(w, true);
	assert_int_not_equal(dial(&d, w, z), OK);
	assert_true(hub_counters(z->hub)->flood_closed > 0);
	assert_true(session_is_up(a->s));
	assert_int_equal(dial(&d, z, w), OK); /* our own dials are */
}

static void close_at_once(void *arg, struct session *s)
{
	(void)arg;
	session_close(s, ERR_DENIED, "not you");
}

static void test_dial_of_a_session_closed_in_up_ends_at_once(void **state)
{
	struct dialling d;
	(void)state;

	a->o.up = close_at_once;
	start_both();
	const uint64_t from = loop_ms(b->loop);
	assert_int_equal(dial(&d, a, z), ERR_DENIED);
	assert_string_equal(d.text, "not you");
	assert_true(loop_ms(b->loop) - from < 2000);
}

static void test_dial_that_nobody_answers(void **state)
{
	struct dialling d;
	(void)state;

	start_both();
	server = raw_serve(b, "", 0);
	dial_begin(&d, a, z, server->port, NULL, false, 100);
	until(b, is_done, &d);
	assert_int_equal(d.e, ERR_TIMEOUT);
	assert_non_null(strstr(d.text, "handshake"));
}

static void test_dial_of_a_closed_port(void **state)
{
	struct dialling d;
	(void)state;

	start_both();
	hub_unlisten(z->hub);
	assert_int_equal(dial(&d, a, z), ERR_GONE);
	assert_non_null(strstr(d.text, "refused"));
}

static void test_dial_can_be_canceled(void **state)
{
	struct dialling d;
	(void)state;

	start_both();
	dial_begin(&d, a, z, z->port, NULL, false, 5000);
	hub_dial_cancel(d.d);
	assert_false(d.done);
	until(b, is_done, &d);
	assert_int_equal(d.e, ERR_CANCELED);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
	    T(test_wrong_psk),
	    T(test_wrong_mesh_id),
	    T(test_wrong_key),
	    T(test_responder_does_not_admit),
	    T(test_dialler_does_not_admit),
	    T(test_invite_is_told_apart),
	    T(test_old_key_is_told_apart),
	    T(test_other_version_is_refused),
	    T(test_dialler_says_which_version_the_peer_has),
	    T(test_suite_falls_back_once),
	    T(test_garbage_is_closed),
	    T(test_garbage_to_a_dialler),
	    T(test_replayed_message_1_leads_nowhere),
	    T(test_truncated_handshake_times_out),
	    T(test_dialler_waits_for_its_turn),
	    T(test_own_id_is_not_dialled),
	    T(test_own_id_at_the_door),
	    T(test_simultaneous_dials_leave_one),
	    T(test_newer_of_two_dials_stays),
	    T(test_replaced_session_carries_on_until_closed),
	    T(test_too_many_sessions_to_one_peer),
	    T(test_dead_older_session_does_not_win),
	    T(test_restarted_peer_replaces_its_past),
	    T(test_restarted_peer_after_a_reset),
	    T(test_copied_key_is_reported),
	    T(test_flood_is_closed_unread),
	    T(test_under_attack_a_puzzle_is_asked),
	    T(test_a_puzzle_too_hard_is_left_alone),
	    T(test_a_full_node_lets_the_idle_one_go),
	    T(test_a_network_is_one_place),
	    T(test_strangers_sessions_are_bounded),
	    T(test_dial_of_a_session_closed_in_up_ends_at_once),
	    T(test_dial_that_nobody_answers),
	    T(test_dial_of_a_closed_port),
	    T(test_dial_can_be_canceled),
	};
	const int rc = cmocka_run_group_tests(tests, NULL, NULL);
	link_library_end();
	return rc;
}
