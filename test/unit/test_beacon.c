/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The beacon's bytes, and beacons sent and heard: in a network namespace of
 * its own with loopback only, and in one with two interfaces that are joined
 * like two hosts on a switch. Nothing leaves this process's namespaces.
 */
#include "dht/beacon.h"

#include "dht/discovery.h"
#include "dht/lan.h"
#include "node/base/log.h"
#include "node/base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sodium.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The bytes */

static struct mesh_keys some_keys(uint8_t which)
{
	const uint8_t id[32] = {which}, key[32] = {which, 1};
	struct mesh_keys k;
	mesh_keys_derive(id, key, &k);
	return k;
}

static struct beacon some_beacon(const struct identity *me)
{
	struct beacon b = {.version = BEACON_VERSION,
			   .kind = BEACON_HELLO,
			   .session_port = 7450,
			   .dht_port = 7450,
			   .suites = 3,
			   .time = 1700000000000};
	memcpy(b.node, identity_id(me)->b, sizeof(b.node));
	return b;
}

static void test_a_beacon_comes_back_as_it_was(void **state)
{
	const struct mesh_keys k = some_keys(1), other = some_keys(2);
	const uint8_t nonce[24] = {9};
	struct identity *me = identity_random();
	const struct beacon b = some_beacon(me);
	struct beacon out;
	struct buf p = {0};
	(void)state;

	beacon_seal(&b, me, &k, nonce, &p);
	print_message("a beacon: %zu bytes\n", p.n);
	assert_true(p.n <= BEACON_MAX);
	assert_int_equal(beacon_open(p.p, p.n, &k, &out), OK);
	assert_memory_equal(&b, &out, sizeof(b));
	assert_int_equal(beacon_open(p.p, p.n, &other, &out), ERR_CRYPTO);
	/* The same beacon key, another mesh: the signature tells. */
	struct mesh_keys twin = k;
	twin.mesh_id[0] ^= 1;
	assert_int_equal(beacon_open(p.p, p.n, &twin, &out), ERR_CRYPTO);
	buf_release(&p);
	identity_free(me);
}

static void test_every_flipped_bit_and_every_cut_is_refused(void **state)
{
	const struct mesh_keys k = some_keys(1);
	const uint8_t nonce[24] = {9};
	struct identity *me = identity_random();
	const struct beacon b = some_beacon(me);
	struct beacon out;
	uint8_t longer[BEACON_MAX + 1] = {0};
	struct buf p = {0};
	(void)state;

	beacon_seal(&b, me, &k, nonce, &p);
	for (size_t i = 0; i < p.n * 8; i++) {
		p.p[i / 8] ^= (uint8_t)(1 << i % 8);
		assert_int_equal(beacon_open(p.p, p.n, &k, &out), ERR_CRYPTO);
		p.p[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	for (size_t n = 0; n < p.n; n++)
		assert_int_equal(beacon_open(p.p, n, &k, &out), ERR_CRYPTO);
	assert_int_equal(beacon_open(longer, sizeof(longer), &k, &out),
			 ERR_LIMIT);
	buf_release(&p);
	identity_free(me);
}

static void test_fields_are_checked(void **state)
{
	struct identity *me = identity_random();
	struct beacon b = some_beacon(me), out;
	struct buf p = {0};
	(void)state;

	b.kind = 77; /* of a later version: plain to us */
	fields_pack(&beacon_message, &b, &p);
	assert_int_equal(beacon_unpack(p.p, p.n, &out), OK);
	assert_int_equal(out.kind, BEACON_PLAIN);
	buf_clear(&p);
	b.version = 2;
	fields_pack(&beacon_message, &b, &p);
	assert_int_equal(beacon_unpack(p.p, p.n, &out), ERR_PROTO);
	for (size_t n = 0; n < p.n; n++)
		assert_int_not_equal(beacon_unpack(p.p, n, &out), OK);
	buf_release(&p);
	identity_free(me);
}

/* Sending and hearing */

#define NODES 4
#define HEARD 32

struct world;
struct node {
	struct world *w;
	struct lan *l;
	struct identity *me;
	struct discovery_counters counters;
	struct beacon_news heard[HEARD];
	size_t nheard;
};

struct world {
	struct loop *loop;
	struct mesh_keys keys;
	uint16_t port;
	struct node nodes[NODES];
	size_t n;
	struct loop_timer *deadline;
	bool (*cond)(struct world *w);
	bool late;
	unsigned stopping;
};

static void check(struct world *w)
{
	if (w->cond && w->cond(w))
		loop_stop(w->loop);
}

static void on_deadline(void *arg)
{
	struct world *w = arg;
	w->late = true;
	loop_stop(w->loop);
}

static bool wait_for(struct world *w, bool (*cond)(struct world *w),
		     uint64_t ms)
{
	w->cond = cond;
	w->late = false;
	loop_timer_set(w->deadline, ms);
	loop_run(w->loop);
	w->cond = NULL;
	loop_timer_cancel(w->deadline);
	return !w->late;
}

static void on_beacon(void *arg, const struct beacon_news *n)
{
	struct node *me = arg;
	assert_false(node_id_eq(&n->id, identity_id(me->me)));
	if (me->nheard < HEARD)
		me->heard[me->nheard++] = *n;
	check(me->w);
}

static void world_init(struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->loop = loop_new();
	w->deadline = loop_timer_new(w->loop, on_deadline, w);
	w->keys = some_keys(3);
	w->port = 7451;
}

static void node_start(struct node *n, const char *bind_to)
{
	struct buf why = {0};
	const struct lan_options o = {.loop = n->w->loop,
				      .me = n->me,
				      .keys = n->w->keys,
				      .port = n->w->port,
				      .bind = bind_to,
				      .session_port = 7450,
				      .dht_port = 7452,
				      .suites = 3,
				      .counters = &n->counters,
				      .arg = n,
				      .beacon = on_beacon};
	assert_int_equal(lan_new(&o, &why, &n->l), OK);
	buf_release(&why);
}

static struct node *node_add(struct world *w, const char *bind_to)
{
	struct node *n = &w->nodes[w->n++];
	n->w = w;
	n->me = identity_random();
	node_start(n, bind_to);
	return n;
}

static void on_stopped(void *arg)
{
	struct world *w = arg;
	w->stopping--;
	check(w);
}

static bool none_stopping(struct world *w)
{
	return !w->stopping;
}

static void node_stop(struct node *n)
{
	n->w->stopping++;
	lan_stop(n->l, on_stopped, n->w);
	assert_true(wait_for(n->w, none_stopping, 5000));
	n->l = NULL;
}

static void world_end(struct world *w)
{
	for (size_t i = 0; i < w->n; i++) {
		if (w->nodes[i].l)
			node_stop(&w->nodes[i]);
		identity_free(w->nodes[i].me);
	}
	loop_timer_free(w->deadline);
	assert_true(loop_free(w->loop));
}

static const struct beacon_news *heard(const struct node *n,
				       const struct node *of, const char *host)
{
	for (size_t i = 0; i < n->nheard; i++)
		if (node_id_eq(&n->heard[i].id, identity_id(of->me)) &&
		    (!host || !strncmp(n->heard[i].host, host, strlen(host))))
			return &n->heard[i];
	return NULL;
}

static bool all_heard(struct world *w)
{
	for (size_t i = 0; i < w->n; i++)
		for (size_t j = 0; j < w->n; j++)
			if (i != j && !heard(&w->nodes[i], &w->nodes[j], NULL))
				return false;
	return true;
}

/* Namespaces */

static int home_fd = -1; /* the namespace that we came from */

static bool enter_new_netns(void)
{
	struct ifreq r = {0};

	if (home_fd < 0)
		home_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (home_fd < 0 || unshare(CLONE_NEWNET))
		return false;
	const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(r.ifr_name, sizeof(r.ifr_name), "lo");
	r.ifr_flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING;
	const bool ok = fd >= 0 && !ioctl(fd, SIOCSIFFLAGS, &r);
	close(fd);
	return ok;
}

static void leave_netns(void)
{
	assert_int_equal(setns(home_fd, CLONE_NEWNET), 0);
}

static int netns(void **state)
{
	(void)state;
	if (enter_new_netns())
		return 0;
	print_message("no network namespace to be had: %s\n", strerror(errno));
	*state = (void *)1;
	return 0;
}

static int home(void **state)
{
	if (!*state)
		leave_netns();
	*state = NULL;
	return 0;
}

#define IN_NETNS \
	do { \
		if (*state) \
			skip(); \
	} while (0)

static bool run(const char *command)
{
	return system(command) == 0;
}

static void test_nodes_on_one_machine_find_each_other(void **state)
{
	static const char *const binds[] = {NULL, "127.0.0.1", "0.0.0.0"};
	struct world w;
	IN_NETNS;

	for (size_t i = 0; i < HN_COUNT(binds); i++) {
		world_init(&w);
		for (int j = 0; j < 3; j++)
			node_add(&w, binds[i]);
		const uint64_t t = clock_ns();
		assert_true(wait_for(&w, all_heard, 5000));
		print_message("3 nodes on loopback, bind %s: %lu us\n",
			      binds[i] ? binds[i] : "-",
			      (unsigned long)((clock_ns() - t) / 1000));
		const struct beacon_news *n =
		    heard(&w.nodes[0], &w.nodes[1], NULL);
		assert_string_equal(n->host, "127.0.0.1");
		assert_int_equal(n->session_port, 7450);
		assert_int_equal(n->dht_port, 7452);
		assert_int_equal(n->suites, 3);
		world_end(&w);
	}
}

/* The others know it already, and answer all the same. */
static bool first_heard_second(struct world *w)
{
	return heard(&w->nodes[0], &w->nodes[1], NULL);
}

static void test_a_restarted_node_is_answered(void **state)
{
	struct world w;
	IN_NETNS;

	world_init(&w);
	struct node *a = node_add(&w, NULL), *b = node_add(&w, NULL);
	assert_true(wait_for(&w, all_heard, 5000));
	node_stop(a);
	a->nheard = 0;
	/* Its packets ran ahead of the clock by some ms, and a process does
	 * not start as fast as this one. */
	assert_false(wait_for(&w, NULL, 50));
	node_start(a, NULL);
	const uint64_t t = clock_ns();
	assert_true(wait_for(&w, first_heard_second, 1000));
	print_message("restarted, answered after %lu us\n",
		      (unsigned long)((clock_ns() - t) / 1000));
	/* Answers are not answered for ever. */
	assert_false(wait_for(&w, NULL, 500));
	assert_true(a->counters.beacons_out + b->counters.beacons_out < 12);
	world_end(&w);
}

static void send_to(uint16_t port, const void *p, size_t n)
{
	const struct sockaddr_in to = {.sin_family = AF_INET,
				       .sin_port = htons(port),
				       .sin_addr.s_addr =
					   htonl(INADDR_LOOPBACK)};
	const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(sendto(fd, p, n, 0, (const struct sockaddr *)&to,
			   sizeof(to)) == (ssize_t)n);
	close(fd);
}

static bool five_bad(struct world *w)
{
	return w->nodes[0].counters.bad_beacons >= 5;
}

static bool one_old(struct world *w)
{
	return w->nodes[0].counters.old_beacons >= 1;
}

static bool two_heard(struct world *w)
{
	return w->nodes[0].nheard >= 2;
}

/* Polls, since nothing calls back for what is refused. */
static void on_poll(void *arg)
{
	check(arg);
}

static void test_bad_and_replayed_beacons_are_counted(void **state)
{
	struct world w;
	struct identity *peer = identity_random();
	const struct mesh_keys other = some_keys(4);
	uint8_t garbage[2000], nonce[24] = {0};
	struct buf p = {0}, q = {0};
	IN_NETNS;

	world_init(&w);
	struct loop_timer *poll = loop_timer_new(w.loop, on_poll, &w);
	loop_timer_every(poll, 5);
	struct node *a = node_add(&w, NULL);
	const uint16_t port = lan_own_port(a->l, AF_INET);
	assert_true(port);
	randombytes_buf(garbage, sizeof(garbage));
	send_to(port, garbage, 0);
	send_to(port, garbage, 1);
	send_to(port, garbage, 200);
	send_to(port, garbage, sizeof(garbage));
	struct beacon b = some_beacon(peer);
	beacon_seal(&b, peer, &other, nonce, &p);
	send_to(port, p.p, p.n);
	assert_true(wait_for(&w, five_bad, 2000));
	assert_int_equal(a->counters.bad_beacons, 5);
	assert_int_equal(a->nheard, 0);

	buf_clear(&p);
	beacon_seal(&b, peer, &w.keys, nonce, &p);
	send_to(port, p.p, p.n);
	send_to(port, p.p, p.n); /* replayed */
	assert_true(wait_for(&w, one_old, 2000));
	assert_int_equal(a->nheard, 1);
	b.time--; /* older */
	beacon_seal(&b, peer, &w.keys, nonce, &q);
	send_to(port, q.p, q.n);
	buf_clear(&q);
	b.time += 2; /* newer, whatever our own clock says */
	beacon_seal(&b, peer, &w.keys, nonce, &q);
	send_to(port, q.p, q.n);
	assert_true(wait_for(&w, two_heard, 2000));
	assert_int_equal(a->counters.old_beacons, 2);
	assert_int_equal(a->counters.beacons_in, 2);
	loop_timer_free(poll);
	buf_release(&p);
	buf_release(&q);
	identity_free(peer);
	world_end(&w);
}

static bool many_came(struct world *w)
{
	return w->nodes[0].counters.beacons_in + w->nodes[0].counters.dropped >=
	       LAN_JUDGED + 20;
}

/* 250 new nodes in a moment: few answers, and no more opened than allowed. */
static void test_floods_are_bounded(void **state)
{
	const uint8_t nonce[24] = {0};
	struct world w;
	struct buf p = {0};
	IN_NETNS;

	world_init(&w);
	struct loop_timer *poll = loop_timer_new(w.loop, on_poll, &w);
	loop_timer_every(poll, 5);
	struct node *a = node_add(&w, "127.0.0.1");
	const uint16_t port = lan_own_port(a->l, AF_INET);
	for (int i = 0; i < 250; i++) {
		struct identity *peer = identity_random();
		const struct beacon b = some_beacon(peer);
		buf_clear(&p);
		beacon_seal(&b, peer, &w.keys, nonce, &p);
		send_to(port, p.p, p.n);
		identity_free(peer);
	}
	assert_true(wait_for(&w, many_came, 5000));
	/* Perhaps over the edge of a second, and with the rounds of its own. */
	assert_in_range(a->counters.beacons_in, 1, 2 * LAN_JUDGED);
	assert_true(a->counters.dropped > 0);
	assert_in_range(a->counters.beacons_out, 1, 2 * LAN_ANSWERS + 4);
	loop_timer_free(poll);
	buf_release(&p);
	world_end(&w);
}

static void test_old_keys_are_heard_after_a_rekey(void **state)
{
	struct world w;
	const struct mesh_keys fresh = some_keys(5);
	IN_NETNS;

	world_init(&w);
	struct node *a = node_add(&w, NULL);
	lan_rekey(a->l, &fresh, 60000);
	struct node *b = node_add(&w, NULL); /* has the old ones */
	assert_false(wait_for(&w, all_heard, 500));
	assert_non_null(heard(a, b, NULL));
	assert_null(heard(b, a, NULL));
	assert_true(b->counters.bad_beacons > 0);
	lan_rekey(b->l, &fresh, 60000);
	assert_true(wait_for(&w, all_heard, 5000));
	world_end(&w);
}

/*
 * Two hosts on a switch: our namespace and one more, joined by a veth pair.
 * The sockets of a node stay in the namespace where they were made, and so do
 * the interfaces that it reads; so the second node gets a process of its own.
 */
static bool both_ways(struct world *w)
{
	return heard(&w->nodes[0], &w->nodes[1], "10.77.0.2") &&
	       heard(&w->nodes[0], &w->nodes[1], "fe80::");
}

static int other_host(int ready)
{
	const uint8_t seed[32] = {42};
	struct world w;
	char c;

	world_init(&w);
	struct node *n = &w.nodes[w.n++];
	n->w = &w;
	n->me = identity_from_seed(seed);
	if (read(ready, &c, 1) != 1)
		return 1;
	node_start(n, NULL);
	return wait_for(&w, NULL, 9000) ? 1 : 0;
}

static bool addresses_settled(void)
{
	/* Duplicate address detection takes a second or two; nodad below
	 * avoids it. */
	return run("ip -6 addr show dev vethA | grep -q fe80");
}

static void test_two_hosts_find_each_other_by_both_protocols(void **state)
{
	const uint8_t seed[32] = {42};
	int pipes[2];
	char command[512];
	struct world w;
	IN_NETNS;

	if (!run("command -v ip >/dev/null")) {
		print_message("no ip command\n");
		skip();
	}
	assert_int_equal(pipe(pipes), 0);
	const pid_t pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		close(pipes[1]);
		_exit(enter_new_netns() ? other_host(pipes[0]) : 2);
	}
	close(pipes[0]);
	/* Until the child has a namespace of its own. */
	char ours[64], theirs[64], path[64];
	do {
		const ssize_t a = readlink("/proc/self/ns/net", ours, 63);
		snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
		const ssize_t b = readlink(path, theirs, 63);
		assert_true(a > 0 && b > 0);
		ours[a] = theirs[b] = 0;
		sched_yield();
	} while (!strcmp(ours, theirs));
	snprintf(command, sizeof(command),
		 "ip link add vethA type veth peer name vethB netns %d && "
		 "sysctl -qw net.ipv6.conf.vethA.accept_dad=0 && "
		 "nsenter -t %d -n sysctl -qw net.ipv6.conf.vethB.accept_dad=0 "
		 "&& ip addr add 10.77.0.1/24 broadcast + dev vethA && "
		 "ip link set vethA up && "
		 "nsenter -t %d -n ip addr add 10.77.0.2/24 broadcast + "
		 "dev vethB && nsenter -t %d -n ip link set vethB up",
		 (int)pid, (int)pid, (int)pid, (int)pid);
	const bool wired = run(command) && addresses_settled();
	if (!wired) {
		print_message("no veth pair to be had\n");
		close(pipes[1]);
		skip();
	}

	world_init(&w);
	struct node *a = node_add(&w, NULL);
	struct node *b = &w.nodes[w.n++]; /* stands for the other host */
	b->me = identity_from_seed(seed);
	/* Ours is up already: the newcomer is what is found. */
	wait_for(&w, NULL, 100);
	const uint64_t t = clock_ns();
	assert_int_equal(write(pipes[1], "x", 1), 1);
	assert_true(wait_for(&w, both_ways, 5000));
	print_message("over a switch, IPv4 and IPv6: %lu us\n",
		      (unsigned long)((clock_ns() - t) / 1000));
	const struct beacon_news *n = heard(a, b, "fe80::");
	assert_non_null(strstr(n->host, "%vethA"));
	close(pipes[1]);
	kill(pid, SIGTERM);
	w.n--;
	identity_free(b->me);
	world_end(&w);
}

static void test_bind_limits_the_interfaces(void **state)
{
	struct world w;
	struct buf why = {0};
	IN_NETNS;

	assert_true(lan_bind_ok(NULL, &why));
	assert_true(lan_bind_ok("::1", &why));
	assert_int_equal(why.n, 0);
	assert_false(lan_bind_ok("localhost", &why));
	assert_true(why.n > 0);
	buf_release(&why);
	/* An address that no interface owns: nothing is sent. */
	world_init(&w);
	struct node *a = node_add(&w, "192.0.2.1");
	struct node *b = node_add(&w, NULL);
	struct node *c = node_add(&w, "::1"); /* nothing there either */
	assert_false(wait_for(&w, NULL, 300));
	assert_int_equal(a->counters.beacons_out, 0);
	assert_int_equal(a->nheard, 0); /* b's came by lo, not one of a's */
	assert_int_equal(c->counters.beacons_out, 0);
	assert_true(b->counters.beacons_out > 0);
	world_end(&w);
}

int main(void)
{
#define NS(f) cmocka_unit_test_setup_teardown(f, netns, home)
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_beacon_comes_back_as_it_was),
	    cmocka_unit_test(test_every_flipped_bit_and_every_cut_is_refused),
	    cmocka_unit_test(test_fields_are_checked),
	    NS(test_nodes_on_one_machine_find_each_other),
	    NS(test_a_restarted_node_is_answered),
	    NS(test_bad_and_replayed_beacons_are_counted),
	    NS(test_floods_are_bounded),
	    NS(test_old_keys_are_heard_after_a_rekey),
	    NS(test_two_hosts_find_each_other_by_both_protocols),
	    NS(test_bind_limits_the_interfaces),
	};
	if (sodium_init() < 0)
		return 1;
	if (getenv("HN_TEST_LOG"))
		log_setup(LOG_TRACE, LOG_TEXT, 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
