/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/lab/nat.h"

#include "node/base/log.h"
#include "node/base/mem.h"

#include <uv.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PACKET_MAX 2048
#define ROUND 64 /* packets of one device in one round of the loop */
#define SAID_MAX 400

struct site {
	struct nat *nat;
	size_t node;
	int tun;
	int router, home; /* namespaces; home is router's when it is public */
	uv_poll_t poll;
};

struct nat {
	struct loop *loop;
	struct impair *im;
	struct site *sites[LAB_NODES_MAX];
	size_t n;
	int host; /* our own namespace */
	struct parcels parcels;
	struct loop_timer *timer;
	uint64_t timer_us;
	unsigned handles;
	bool stopping;
	loop_fn done;
	void *done_arg;
};

/* --- programs --- */

struct program {
	const char *const *argv;
	int netns; /* -1: where we are */
	const char *input;
};

static void become(const struct program *p, int in, int out)
{
	if (p->netns >= 0 && setns(p->netns, CLONE_NEWNET))
		return;
	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	execvp(p->argv[0], (char *const *)(uintptr_t)p->argv);
}

/* Runs it to its end, which is a matter of milliseconds; what it says when it
 * fails goes to why. The input fits a pipe. */
static enum err run(const struct program *p, struct buf *why)
{
	char said[SAID_MAX + 1] = "";
	int in[2], out[2], status = -1;
	size_t at = 0;
	ssize_t n;

	if (pipe2(in, O_CLOEXEC))
		return ERR_IO;
	if (pipe2(out, O_CLOEXEC)) {
		close(in[0]);
		close(in[1]);
		return ERR_IO;
	}
	pid_t child = fork();
	if (!child) {
		become(p, in[0], out[1]);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	if (child > 0 && p->input &&
	    write(in[1], p->input, strlen(p->input)) < 0)
		log_debug("lab", "%s reads nothing", p->argv[0]);
	close(in[1]);
	while (at < SAID_MAX &&
	       (n = read(out[0], said + at, SAID_MAX - at)) > 0)
		at += (size_t)n;
	said[at] = '\0';
	close(out[0]);
	if (child > 0)
		while (waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
	if (!status)
		return OK;
	buf_printf(why, "`%s` failed: %s", p->argv[0],
		   at ? log_quote(said) : "it said nothing");
	return ERR_IO;
}

static enum err need(const char *program, const char *package, struct buf *why)
{
	const char *const argv[] = {program, "-V", NULL};
	struct buf said = {0};
	struct program p = {.argv = argv, .netns = -1};

	enum err e = run(&p, &said);
	buf_release(&said);
	if (e)
		buf_printf(why,
			   "--nat needs the program `%s`: install the package "
			   "%s",
			   program, package);
	return e ? ERR_CONFIG : OK;
}

/* --- namespaces --- */

static int open_here(void)
{
	return open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
}

/* A new one, or -1; this process stays where it is. */
static int new_namespace(const struct nat *n)
{
	int fd = -1;

	if (unshare(CLONE_NEWNET))
		return -1;
	fd = open_here();
	if (setns(n->host, CLONE_NEWNET))
		abort(); /* all that follows would happen elsewhere */
	return fd;
}

/* A TUN device belongs to the namespace in which it was opened. */
static int open_tun(const struct nat *n, int netns)
{
	struct ifreq r = {.ifr_flags = IFF_TUN | IFF_NO_PI};

	snprintf(r.ifr_name, sizeof(r.ifr_name), "wan0");
	if (setns(netns, CLONE_NEWNET))
		return -1;
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && ioctl(fd, TUNSETIFF, &r)) {
		close(fd);
		fd = -1;
	}
	if (setns(n->host, CLONE_NEWNET))
		abort();
	return fd;
}

static bool forward(const struct nat *n, int netns)
{
	bool done = false;

	if (setns(netns, CLONE_NEWNET))
		return false;
	int fd = open("/proc/sys/net/ipv4/ip_forward", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		done = write(fd, "1\n", 2) == 2;
		close(fd);
	}
	if (setns(n->host, CLONE_NEWNET))
		abort();
	return done;
}

static enum err ip_batch(int netns, const char *lines, struct buf *why)
{
	static const char *const argv[] = {"ip", "-batch", "-", NULL};
	const struct program p = {argv, netns, lines};

	return run(&p, why);
}

static enum err masquerade(int netns, enum lab_nat kind, struct buf *why)
{
	static const char *const argv[] = {"nft", "-f", "-", NULL};
	char *rules =
	    xasprintf("table ip lab {\n"
		      "chain out {\n"
		      "type nat hook postrouting priority 100;\n"
		      "oifname \"wan0\" masquerade%s\n"
		      "}\n"
		      "chain in {\n"
		      "type filter hook forward priority 0;\n"
		      "iifname \"wan0\" ct state new drop\n"
		      "}\n"
		      "}\n",
		      kind == LAB_NAT_SYMMETRIC ? " fully-random" : "");
	const struct program p = {argv, netns, rules};
	enum err e = run(&p, why);

	free(rules);
	return e;
}

/* --- packets --- */

static uint64_t now_us(void)
{
	return clock_ns() / 1000;
}

static void arm(struct nat *n, uint64_t due_us)
{
	const uint64_t now = now_us();

	if (due_us >= n->timer_us || n->stopping)
		return;
	n->timer_us = due_us;
	loop_timer_set(n->timer, due_us > now ? (due_us - now) / 1000 : 0);
}

static void deliver(struct nat *n)
{
	struct parcel *x;
	uint64_t due;

	while ((x = parcels_take(&n->parcels, now_us()))) {
		if (impair_joined(n->im, x->from, x->to) &&
		    write(n->sites[x->to]->tun, x->bytes, x->n) < 0)
			n->im->lost++; /* its queue is full, as queues are */
		free(x);
	}
	if (parcels_due(&n->parcels, &due))
		arm(n, due);
}

static void on_timer(void *arg)
{
	struct nat *n = arg;

	n->timer_us = UINT64_MAX;
	deliver(n);
}

/* 10.77.0.N of an IPv4 packet's destination, as a node's number; n: none. */
static size_t destination(const struct nat *n, const uint8_t *p, size_t len)
{
	static const uint8_t net[3] = {10, 77, 0};

	if (len < 20 || p[0] >> 4 != 4 || memcmp(p + 16, net, 3) || !p[19] ||
	    p[19] > n->n)
		return n->n;
	return p[19] - 1u;
}

static void on_packets(uv_poll_t *poll, int status, int events)
{
	struct site *s = poll->data;
	struct nat *n = s->nat;
	uint8_t p[PACKET_MAX];
	uint64_t due;

	(void)events;
	for (int i = 0; !status && i < ROUND; i++) {
		const ssize_t len = read(s->tun, p, sizeof(p));
		if (len <= 0)
			break;
		const size_t to = destination(n, p, (size_t)len);
		if (to != n->n &&
		    impair_packet(n->im, s->node, to, (size_t)len, now_us(),
				  &due) &&
		    !parcels_put(&n->parcels, due, s->node, to, p, (size_t)len))
			n->im->lost++;
	}
	deliver(n);
}

/* --- places --- */

static enum err site_up(struct nat *n, struct site *s, enum lab_nat kind,
			struct buf *why)
{
	const unsigned at = (unsigned)s->node + 1;
	struct buf text = {0};
	enum err e = ERR_IO;

	s->router = new_namespace(n);
	s->home = kind == LAB_NAT_NONE ? s->router : new_namespace(n);
	s->tun = s->router >= 0 && s->home >= 0 ? open_tun(n, s->router) : -1;
	if (s->tun < 0) {
		buf_printf(why,
			   "--nat: this system gives no network namespace "
			   "with a TUN device: %s",
			   strerror(errno));
		return ERR_IO;
	}
	buf_printf(&text,
		   "link set lo up\n"
		   "addr add 10.77.0.%u/24 dev wan0\n"
		   "link set wan0 up\n",
		   at);
	if (kind != LAB_NAT_NONE)
		buf_printf(&text,
			   "link add lan0 type veth peer name eth0 netns "
			   "/proc/%d/fd/%d\n"
			   "addr add 192.168.%u.1/24 dev lan0\n"
			   "link set lan0 up\n",
			   (int)getpid(), s->home, at);
	e = ip_batch(s->router, buf_str(&text), why);
	if (e || kind == LAB_NAT_NONE)
		goto out;
	buf_clear(&text);
	buf_printf(&text,
		   "link set lo up\n"
		   "addr add 192.168.%u.2/24 dev eth0\n"
		   "link set eth0 up\n"
		   "route add default via 192.168.%u.1\n",
		   at, at);
	e = ip_batch(s->home, buf_str(&text), why);
	if (!e)
		e = masquerade(s->router, kind, why);
	if (!e && !forward(n, s->router)) {
		buf_add_str(why, "--nat: a router cannot be told to forward");
		e = ERR_IO;
	}
out:
	buf_release(&text);
	return e;
}

static void site_free(struct site *s)
{
	if (s->home >= 0 && s->home != s->router)
		close(s->home);
	if (s->router >= 0)
		close(s->router);
	if (s->tun >= 0)
		close(s->tun);
	free(s);
}

enum err nat_add(struct nat *n, enum lab_nat kind, struct nat_place *out,
		 struct buf *why)
{
	struct site *s = HN_NEW(struct site);
	const unsigned at = (unsigned)n->n + 1;

	s->nat = n;
	s->node = n->n;
	s->tun = s->router = s->home = -1;
	enum err e = site_up(n, s, kind, why);
	if (e) {
		site_free(s);
		return e;
	}
	uv_poll_init(loop_uv(n->loop), &s->poll, s->tun);
	s->poll.data = s;
	n->sites[n->n++] = s;
	n->handles++;
	uv_poll_start(&s->poll, UV_READABLE, on_packets);
	out->netns = s->home;
	snprintf(out->seen, sizeof(out->seen), "10.77.0.%u", at);
	snprintf(out->host, sizeof(out->host),
		 kind == LAB_NAT_NONE ? "10.77.0.%u" : "192.168.%u.2", at);
	return OK;
}

/* --- the whole --- */

enum err nat_new(struct loop *loop, struct impair *im, struct buf *why,
		 struct nat **out)
{
	enum err e;

	if (geteuid()) {
		buf_add_str(why, "--nat makes network namespaces, which needs "
				 "root; without --nat a lab needs nothing");
		return ERR_DENIED;
	}
	if ((e = need("ip", "iproute2", why)) ||
	    (e = need("nft", "nftables", why)))
		return e;
	struct nat *n = HN_NEW(struct nat);
	n->loop = loop;
	n->im = im;
	n->host = open_here();
	n->timer = loop_timer_new(loop, on_timer, n);
	n->timer_us = UINT64_MAX;
	if (n->host < 0)
		abort(); /* this process has no namespace: no such thing */
	*out = n;
	return OK;
}

static void nat_free(struct nat *n)
{
	for (size_t i = 0; i < n->n; i++)
		site_free(n->sites[i]);
	close(n->host);
	parcels_release(&n->parcels);
	loop_timer_free(n->timer);
	loop_post(n->loop, n->done, n->done_arg);
	free(n);
}

static void on_poll_closed(uv_handle_t *h)
{
	const struct site *s = h->data;

	if (!--s->nat->handles)
		nat_free(s->nat);
}

void nat_stop(struct nat *n, loop_fn done, void *arg)
{
	n->stopping = true;
	n->done = done;
	n->done_arg = arg;
	loop_timer_cancel(n->timer);
	for (size_t i = 0; i < n->n; i++)
		uv_close((uv_handle_t *)&n->sites[i]->poll, on_poll_closed);
	if (!n->handles)
		nat_free(n);
}
