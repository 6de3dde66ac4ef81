/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * N peers of the mesh `public` in one process, for test/mesh/test_peers.py:
 *each with a key of its own, its own session to one node, and a ping on it once
 *a second. Prints "up N" when all are, then one line a second: pings answered,
 * the median and the longest so far, how many sessions are up, and how many
 * dials the node refused: it takes so many a second. Ends when
 * its standard input does.
 *
 *	load_peers ID PORT N
 */
#include "dht/record.h"
#include "node/base/identity.h"
#include "node/base/loop.h"
#include "rpc/rpc.h"

#include <sodium.h>

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DIAL_MS 60000
#define DIALS 32     /* at once */
#define SAMPLES 4096 /* the last ones */

struct load;
struct peer {
	struct load *load;
	struct identity *me;
	struct rpc *rpc;
	struct session *session;
	bool again; /* the node was overloaded; as a node does, wait */
};

struct load {
	struct loop *loop;
	struct loop_timer *timer;
	struct node_id node;
	uint16_t port;
	struct session_creds creds;
	struct peer *peers;
	size_t n, begun, dialling, up, stopped, refused;
	uint64_t pings, longest_us;
	uint64_t us[SAMPLES];
	int code;
	bool told, ending;
};

static void on_creds(void *arg, struct session_creds *out)
{
	*out = ((struct peer *)arg)->load->creds;
}

static enum err on_admit(void *arg, const struct session_hello *hello,
			 const struct session_psk *psk, struct buf *why)
{
	(void)arg, (void)hello, (void)psk, (void)why;
	return OK;
}

static void on_down(void *arg, struct session *s, enum err why,
		    const char *text, bool dup)
{
	struct peer *p = arg;

	(void)s, (void)dup;
	p->session = NULL;
	p->load->up--;
	if (p->load->ending)
		return;
	fprintf(stderr, "down: %s (%s)\n", err_name(why), text ? text : "");
	p->load->code = 1;
}

static void dial_more(struct load *l);

static void on_dialled(void *arg, enum err e, struct session *s,
		       const char *text)
{
	struct peer *p = arg;
	struct load *l = p->load;

	l->dialling--;
	if (e) {
		if (!l->ending && !l->refused++)
			fprintf(stderr, "dial: %s (%s)\n", err_name(e),
				text ? text : "");
		p->again = true;
	} else {
		p->session = s;
		l->up++;
	}
	if (!l->ending)
		dial_more(l);
}

static void dial(struct peer *p)
{
	struct load *l = p->load;

	p->again = false;
	l->dialling++;
	hub_dial(rpc_hub(p->rpc), &l->node, "127.0.0.1", l->port, NULL, false,
		 DIAL_MS, on_dialled, p);
}

static void dial_more(struct load *l)
{
	static const struct rpc_method none[] = {{0}};
	static const struct rpc_method *const tables[] = {none};

	while (l->begun < l->n && l->dialling < DIALS) {
		struct peer *p = &l->peers[l->begun++];
		struct rpc_options o = {.hub = {.loop = l->loop,
						.creds = on_creds,
						.admit = on_admit},
					.tables = tables,
					.ntables = 1,
					.arg = p,
					.down = on_down};

		p->load = l;
		p->me = identity_random();
		o.hub.me = p->me;
		randombytes_buf(o.hub.boot_id, sizeof(o.hub.boot_id));
		p->rpc = rpc_new(&o);
		dial(p);
	}
}

static void on_pong(void *arg, enum err e, uint64_t us)
{
	struct load *l = arg;

	if (e)
		return;
	l->us[l->pings++ % SAMPLES] = us;
	l->longest_us = us > l->longest_us ? us : l->longest_us;
}

static int cmp(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void on_second(void *arg)
{
	struct load *l = arg;
	const size_t n = l->pings < SAMPLES ? (size_t)l->pings : SAMPLES;

	if (l->up == l->n && !l->told) {
		printf("up %zu\n", l->up);
		l->told = true;
	}
	qsort(l->us, n, sizeof(*l->us), cmp);
	printf("pings %" PRIu64 " p50 %" PRIu64 " us longest %" PRIu64
	       " us up %zu refused %zu\n",
	       l->pings, n ? l->us[n / 2] : 0, l->longest_us, l->up,
	       l->refused);
	fflush(stdout);
	for (size_t i = 0; i < l->begun; i++)
		if (l->peers[i].session)
			session_ping(l->peers[i].session, on_pong, l);
		else if (l->peers[i].again && l->dialling < DIALS)
			dial(&l->peers[i]);
}

/* --- the end --- */

static void on_stopped(void *arg)
{
	struct load *l = arg;

	if (++l->stopped == l->begun)
		loop_stop(l->loop);
}

static void on_input_ended(void *arg)
{
	struct load *l = arg;

	l->ending = true;
	loop_timer_cancel(l->timer);
	for (size_t i = 0; i < l->begun; i++)
		rpc_stop(l->peers[i].rpc, on_stopped, l);
}

static void wait_input(void *arg)
{
	char c[64];

	(void)arg;
	while (read(STDIN_FILENO, c, sizeof(c)) > 0)
		;
}

int main(int argc, char **argv)
{
	struct load l = {0};
	struct mesh_keys keys;
	uint8_t key[32];
	const uint8_t nobody[32] = {0};

	signal(SIGPIPE, SIG_IGN);
	if (sodium_init() < 0 || argc != 4 ||
	    !hex_decode(argv[1], l.node.b, sizeof(l.node.b))) {
		fprintf(stderr, "usage: load_peers ID PORT N\n");
		return 64;
	}
	l.port = (uint16_t)strtoul(argv[2], NULL, 10);
	l.n = strtoul(argv[3], NULL, 10);
	mesh_public_key(key);
	mesh_id_of(nobody, "public", l.creds.mesh_id);
	mesh_keys_derive(l.creds.mesh_id, key, &keys);
	memcpy(l.creds.psks[0].key, keys.psk0, 32);
	l.creds.psks[0].kind = SESSION_PEER;
	l.creds.npsks = 1;
	l.loop = loop_new();
	l.peers = xcalloc(l.n, sizeof(*l.peers));
	l.timer = loop_timer_new(l.loop, on_second, &l);
	loop_timer_every(l.timer, 1000);
	dial_more(&l);
	loop_work(l.loop, wait_input, on_input_ended, &l);
	loop_run(l.loop);
	loop_timer_free(l.timer);
	loop_free(l.loop);
	for (size_t i = 0; i < l.begun; i++)
		identity_free(l.peers[i].me);
	free(l.peers);
	return l.code;
}
