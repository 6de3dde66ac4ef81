/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Four sockets: for each IP version a shared one, bound to the beacon port
 * with address reuse so that all nodes of a host hear what is sent to
 * everybody, and one of our own, bound to any port, from which all our packets
 * go and to which answers come (a unicast to a shared port would reach only
 * one of those who share it).
 *
 * Packets carry no address: what counts is where a packet came from. So each
 * packet of a round has a time of its own, one above the other, and a peer
 * with two networks in common hears of us on both.
 *
 * A loopback interface is no broadcast interface, but 127.255.255.255 reaches
 * every socket of the host that is bound to the wildcard: that way nodes on
 * one machine find each other without any network. IPv6 has no such address.
 *
 * A node answers one that it does not know, and one that says hello, which a
 * node does in its first seconds: after a restart the others know it, but it
 * knows nobody. An answer is answered only by who does not know its sender, so
 * two nodes exchange three packets at most.
 */
#include "dht/lan.h"

#include "dht/beacon.h"
#include "dht/discovery.h"
#include "node/base/log.h"
#include "node/base/mem.h"

#include <sodium.h>
#include <uv.h>

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define KEYSETS 3
#define READS_PER_WAKE 32
#define FORGET_MS (5 * 60 * 1000)
#define SECOND_MS 1000

enum sock_kind { SHARED4, OWN4, SHARED6, OWN6, SOCKETS };

struct sock {
	struct lan *l;
	int fd; /* -1: none */
	bool shared, polled;
	int family;
	uv_poll_t poll;
};

/* An address of an interface that we send from. */
struct face {
	unsigned index;
	int family;
	struct in_addr from, broadcast; /* IPv4 */
};

struct peer {
	struct node_id id;
	uint64_t time;	   /* of its last beacon, by its clock */
	uint64_t heard_ms; /* by ours */
};

struct keyset {
	struct mesh_keys keys;
	uint64_t until_ms; /* of an old one */
	bool used;
};

/* So many per second. */
struct share {
	uint64_t second_ms;
	unsigned used;
};

struct lan {
	struct lan_options o;
	struct keyset keys[KEYSETS]; /* [0] is the present one */
	int family;		     /* AF_UNSPEC: both */
	bool all;		     /* no bind: all interfaces */
	struct in_addr bind4;
	struct in6_addr bind6;
	struct sock socks[SOCKETS];
	struct face faces[LAN_INTERFACES];
	size_t nface;
	struct in6_addr group;
	unsigned joined[LAN_INTERFACES]; /* interfaces of the group */
	size_t njoined;
	struct loop_timer *timer;
	uint64_t fast_until_ms;
	uint64_t last_time;
	struct peer peers[LAN_PEERS];
	size_t npeer;
	struct share answers, judged;
	unsigned closing;
	bool stopping;
	loop_fn done;
	void *done_arg;
};

static bool share_take(struct share *s, uint64_t now, unsigned per_second)
{
	if (now - s->second_ms >= SECOND_MS) {
		s->second_ms = now;
		s->used = 0;
	}
	if (s->used >= per_second)
		return false;
	s->used++;
	return true;
}

/* Interfaces */

static bool loopback4(struct in_addr a)
{
	return ntohl(a.s_addr) >> 24 == IN_LOOPBACKNET;
}

/* A loopback interface owns all of 127/8, and lists one. */
static bool ours4(const struct lan *l, const struct in_addr *a)
{
	return l->family != AF_INET6 &&
	       (l->all || a->s_addr == l->bind4.s_addr ||
		(loopback4(*a) && loopback4(l->bind4)));
}

static bool ours6(const struct lan *l, const struct in6_addr *a)
{
	return l->family != AF_INET &&
	       (l->all || !memcmp(a, &l->bind6, sizeof(*a)));
}

static void face_add(struct lan *l, const struct face *f)
{
	for (size_t i = 0; i < l->nface; i++)
		if (!memcmp(&l->faces[i], f, sizeof(*f)))
			return;
	if (l->nface < LAN_INTERFACES)
		l->faces[l->nface++] = *f;
}

static void face_add4(struct lan *l, const struct ifaddrs *ifa)
{
	const struct sockaddr_in *a = (struct sockaddr_in *)ifa->ifa_addr;
	const struct sockaddr_in *b = (struct sockaddr_in *)ifa->ifa_broadaddr;
	struct face f;

	memset(&f, 0, sizeof(f)); /* compared as bytes */
	f.index = if_nametoindex(ifa->ifa_name);
	f.family = AF_INET;
	f.from = l->bind4.s_addr ? l->bind4 : a->sin_addr;
	if (ifa->ifa_flags & IFF_LOOPBACK)
		f.broadcast.s_addr = htonl(0x7fffffff); /* 127.255.255.255 */
	else if (ifa->ifa_flags & IFF_BROADCAST && b)
		f.broadcast = b->sin_addr;
	if (f.index && f.broadcast.s_addr && ours4(l, &a->sin_addr))
		face_add(l, &f);
}

static void face_add6(struct lan *l, const struct ifaddrs *ifa)
{
	const struct sockaddr_in6 *a = (struct sockaddr_in6 *)ifa->ifa_addr;
	struct face f;

	if (!(ifa->ifa_flags & IFF_MULTICAST) || !ours6(l, &a->sin6_addr))
		return;
	/* One per interface: the group has link-local scope. */
	memset(&f, 0, sizeof(f));
	f.index = if_nametoindex(ifa->ifa_name);
	f.family = AF_INET6;
	if (f.index)
		face_add(l, &f);
}

/* Reads the interfaces; true if there is one that was not there before. */
static bool faces_read(struct lan *l)
{
	struct face before[LAN_INTERFACES];
	const size_t n = l->nface;
	struct ifaddrs *list;

	if (getifaddrs(&list))
		return false;
	memcpy(before, l->faces, sizeof(before));
	l->nface = 0;
	for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
		if (!i->ifa_addr || !(i->ifa_flags & IFF_UP))
			continue;
		if (i->ifa_addr->sa_family == AF_INET)
			face_add4(l, i);
		else if (i->ifa_addr->sa_family == AF_INET6)
			face_add6(l, i);
	}
	freeifaddrs(list);

	bool fresh = false;
	for (size_t i = 0; i < l->nface; i++) {
		size_t j = 0;
		while (j < n &&
		       memcmp(&before[j], &l->faces[i], sizeof(before[j])))
			j++;
		fresh |= j == n;
	}
	return fresh;
}

/* Joins the group on new interfaces; one that went is left by the kernel. */
static void group_join(struct lan *l)
{
	const int fd = l->socks[SHARED6].fd;
	unsigned now[LAN_INTERFACES];
	size_t n = 0;

	if (fd < 0)
		return;
	for (size_t i = 0; i < l->nface; i++) {
		const struct face *f = &l->faces[i];
		struct ipv6_mreq m = {.ipv6mr_multiaddr = l->group,
				      .ipv6mr_interface = f->index};
		if (f->family != AF_INET6)
			continue;
		size_t j = 0;
		while (j < l->njoined && l->joined[j] != f->index)
			j++;
		if (j == l->njoined &&
		    setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m,
			       sizeof(m)) &&
		    errno != EADDRINUSE)
			continue;
		now[n++] = f->index;
	}
	memcpy(l->joined, now, n * sizeof(now[0]));
	l->njoined = n;
}

/* With bind, packets of other interfaces are none of ours. */
static bool heard_on_ours(const struct lan *l, int family, unsigned index)
{
	if (l->all)
		return true;
	for (size_t i = 0; i < l->nface; i++)
		if (l->faces[i].family == family && l->faces[i].index == index)
			return true;
	return false;
}

/* Sending */

static void seal_now(struct lan *l, enum beacon_kind kind, struct buf *out)
{
	const uint64_t now = clock_unix_ms();
	struct beacon b = {.version = BEACON_VERSION,
			   .kind = kind,
			   .session_port = l->o.session_port,
			   .dht_port = l->o.dht_port,
			   .suites = l->o.suites};
	uint8_t nonce[24];

	l->last_time = now > l->last_time ? now : l->last_time + 1;
	b.time = l->last_time;
	memcpy(b.node, identity_id(l->o.me)->b, sizeof(b.node));
	randombytes_buf(nonce, sizeof(nonce));
	beacon_seal(&b, l->o.me, &l->keys[0].keys, nonce, out);
}

static void send_from(struct lan *l, const struct sock *s, const struct face *f,
		      const struct sockaddr *to, socklen_t tolen,
		      enum beacon_kind kind)
{
	_Alignas(struct cmsghdr) uint8_t control[64] = {0};
	struct buf b = {0};
	struct iovec iov;
	struct msghdr m = {.msg_name = (void *)to,
			   .msg_namelen = tolen,
			   .msg_iov = &iov,
			   .msg_iovlen = 1};

	if (s->fd < 0)
		return;
	seal_now(l, kind, &b);
	iov = (struct iovec){b.p, b.n};
	if (f) {
		/* Out of this interface, whatever the routes say. */
		struct in_pktinfo four = {.ipi_ifindex = (int)f->index,
					  .ipi_spec_dst = f->from};
		struct in6_pktinfo six = {.ipi6_ifindex = f->index};
		const bool v4 = f->family == AF_INET;
		const size_t n = v4 ? sizeof(four) : sizeof(six);

		m.msg_control = control;
		m.msg_controllen = CMSG_SPACE(n);
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
		c->cmsg_type = v4 ? IP_PKTINFO : IPV6_PKTINFO;
		c->cmsg_len = CMSG_LEN(n);
		memcpy(CMSG_DATA(c), v4 ? (void *)&four : (void *)&six, n);
	}
	if (sendmsg(s->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		l->o.counters->beacons_out++;
	buf_release(&b);
}

static void send_round(struct lan *l, enum beacon_kind kind)
{
	for (size_t i = 0; i < l->nface; i++) {
		const struct face *f = &l->faces[i];
		const struct sockaddr_in four = {.sin_family = AF_INET,
						 .sin_port = htons(l->o.port),
						 .sin_addr = f->broadcast};
		const struct sockaddr_in6 six = {.sin6_family = AF_INET6,
						 .sin6_port = htons(l->o.port),
						 .sin6_addr = l->group,
						 .sin6_scope_id = f->index};
		if (f->family == AF_INET)
			send_from(l, &l->socks[OWN4], f,
				  (struct sockaddr *)&four, sizeof(four), kind);
		else
			send_from(l, &l->socks[OWN6], f,
				  (struct sockaddr *)&six, sizeof(six), kind);
	}
}

static void on_timer(void *arg)
{
	struct lan *l = arg;
	const uint64_t now = loop_ms(l->o.loop);

	if (faces_read(l))
		l->fast_until_ms = now + LAN_FAST_FOR_MS;
	group_join(l);
	const bool fast = now < l->fast_until_ms;
	send_round(l, fast ? BEACON_HELLO : BEACON_PLAIN);
	loop_timer_set(l->timer, fast ? LAN_FAST_MS : LAN_SLOW_MS);
}

/* Hearing */

static struct peer *peer_find(struct lan *l, const struct node_id *id)
{
	for (size_t i = 0; i < l->npeer; i++)
		if (node_id_eq(&l->peers[i].id, id))
			return &l->peers[i];
	return NULL;
}

static struct peer *peer_add(struct lan *l, const struct node_id *id)
{
	struct peer *p = &l->peers[0];

	if (l->npeer < LAN_PEERS)
		p = &l->peers[l->npeer++];
	else
		for (size_t i = 1; i < l->npeer; i++)
			if (l->peers[i].heard_ms < p->heard_ms)
				p = &l->peers[i];
	*p = (struct peer){.id = *id};
	return p;
}

/* "fe80::1%eth0" for a link-local address: elsewhere it means nothing. */
static void host_of(const struct sockaddr_storage *from, char *out, size_t n)
{
	const struct sockaddr_in *four = (const struct sockaddr_in *)from;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)from;
	char text[INET6_ADDRSTRLEN], name[IF_NAMESIZE];

	if (from->ss_family == AF_INET) {
		inet_ntop(AF_INET, &four->sin_addr, text, sizeof(text));
		snprintf(out, n, "%s", text);
		return;
	}
	inet_ntop(AF_INET6, &six->sin6_addr, text, sizeof(text));
	if (IN6_IS_ADDR_LINKLOCAL(&six->sin6_addr) &&
	    if_indextoname(six->sin6_scope_id, name))
		snprintf(out, n, "%s%%%s", text, name);
	else
		snprintf(out, n, "%s", text);
}

static void answer(struct lan *l, int family,
		   const struct sockaddr_storage *from)
{
	if (!share_take(&l->answers, loop_ms(l->o.loop), LAN_ANSWERS))
		return;
	send_from(l, &l->socks[family == AF_INET ? OWN4 : OWN6], NULL,
		  (const struct sockaddr *)from,
		  family == AF_INET ? sizeof(struct sockaddr_in)
				    : sizeof(struct sockaddr_in6),
		  BEACON_ANSWER);
}

static void heard(struct lan *l, const struct beacon *b, int family,
		  const struct sockaddr_storage *from)
{
	const uint64_t now = loop_ms(l->o.loop);
	struct beacon_news news = {.session_port = (uint16_t)b->session_port,
				   .dht_port = (uint16_t)b->dht_port,
				   .suites = b->suites};

	memcpy(news.id.b, b->node, sizeof(news.id.b));
	struct peer *p = peer_find(l, &news.id);
	/* After long silence a clock may have been set back. */
	const bool unknown = !p || now - p->heard_ms > FORGET_MS;
	if (!unknown && b->time <= p->time) {
		l->o.counters->old_beacons++;
		return;
	}
	if (!p)
		p = peer_add(l, &news.id);
	p->time = b->time;
	p->heard_ms = now;
	l->o.counters->beacons_in++;
	if (unknown || b->kind == BEACON_HELLO)
		answer(l, family, from);
	host_of(from, news.host, sizeof(news.host));
	l->o.beacon(l->o.arg, &news);
}

static void judge(struct lan *l, const uint8_t *p, size_t n, int family,
		  const struct sockaddr_storage *from)
{
	static struct log_gate gate;
	const uint64_t now = loop_ms(l->o.loop);
	enum err e = ERR_CRYPTO;
	struct beacon b;

	if (!share_take(&l->judged, now, LAN_JUDGED)) {
		l->o.counters->dropped++;
		return;
	}
	for (size_t i = 0; i < KEYSETS && e == ERR_CRYPTO; i++) {
		const struct keyset *k = &l->keys[i];
		if (k->used && (!i || now < k->until_ms))
			e = beacon_open(p, n, &k->keys, &b);
	}
	if (e) {
		l->o.counters->bad_beacons++;
		log_every(&gate, 10000, LOG_DEBUG, "dht",
			  "beacon refused bytes=%zu: %s", n, err_str(e));
		return;
	}
	if (memcmp(b.node, identity_id(l->o.me)->b, sizeof(b.node)))
		heard(l, &b, family, from);
}

static unsigned interface_of(struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		struct in_pktinfo four;
		struct in6_pktinfo six;
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			memcpy(&four, CMSG_DATA(c), sizeof(four));
			return (unsigned)four.ipi_ifindex;
		}
		if (c->cmsg_level == IPPROTO_IPV6 &&
		    c->cmsg_type == IPV6_PKTINFO) {
			memcpy(&six, CMSG_DATA(c), sizeof(six));
			return six.ipi6_ifindex;
		}
	}
	return 0;
}

static bool read_one(struct sock *s)
{
	_Alignas(struct cmsghdr) uint8_t control[128];
	uint8_t p[BEACON_MAX + 1]; /* one more shows what is too long */
	struct sockaddr_storage from;
	struct iovec iov = {p, sizeof(p)};
	struct msghdr m = {.msg_name = &from,
			   .msg_namelen = sizeof(from),
			   .msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};

	memset(&from, 0, sizeof(from));
	const ssize_t n = recvmsg(s->fd, &m, MSG_DONTWAIT);
	if (n < 0)
		return errno == EINTR || errno == ECONNREFUSED;
	if (from.ss_family == s->family &&
	    heard_on_ours(s->l, s->family, interface_of(&m)))
		judge(s->l, p, (size_t)n, s->family, &from);
	return true;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct sock *s = poll->data;

	(void)events;
	/* A callback may stop us: the socket is closed after this call. */
	for (int i = 0; !status && i < READS_PER_WAKE && !s->l->stopping; i++)
		if (!read_one(s))
			break;
}

/* Life */

static bool set(int fd, int level, int option)
{
	const int on = 1;
	return !setsockopt(fd, level, option, &on, sizeof(on));
}

static bool sock_bind(struct lan *l, const struct sock *s)
{
	struct sockaddr_in four = {.sin_family = AF_INET};
	struct sockaddr_in6 six = {.sin6_family = AF_INET6};
	const in_port_t port = s->shared ? htons(l->o.port) : 0;

	if (s->family == AF_INET) {
		four.sin_port = port;
		if (!s->shared)
			four.sin_addr = l->bind4;
		return set(s->fd, SOL_SOCKET, SO_BROADCAST) &&
		       set(s->fd, IPPROTO_IP, IP_PKTINFO) &&
		       !bind(s->fd, (struct sockaddr *)&four, sizeof(four));
	}
	/* Not bound to bind6: a link-local one needs its scope, and the
	 * interface of each packet is told and checked anyway. */
	six.sin6_port = port;
	return set(s->fd, IPPROTO_IPV6, IPV6_V6ONLY) &&
	       set(s->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO) &&
	       !bind(s->fd, (struct sockaddr *)&six, sizeof(six));
}

static void sock_open(struct lan *l, enum sock_kind kind)
{
	struct sock *s = &l->socks[kind];

	s->l = l;
	s->fd = -1;
	s->shared = kind == SHARED4 || kind == SHARED6;
	s->family = kind == SHARED4 || kind == OWN4 ? AF_INET : AF_INET6;
	if (l->family != AF_UNSPEC && l->family != s->family)
		return;
	s->fd = socket(s->family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0)
		return;
	/* Address reuse is enough on Linux, among users too; there every
	 * socket gets its copy of a broadcast. Port reuse would not be shared
	 * with another user's node. */
	if ((s->shared && !set(s->fd, SOL_SOCKET, SO_REUSEADDR)) ||
	    !sock_bind(l, s) ||
	    uv_poll_init(loop_uv(l->o.loop), &s->poll, s->fd)) {
		log_debug("dht", "no beacon socket family=%d shared=%d: %s",
			  s->family, s->shared, strerror(errno));
		close(s->fd);
		s->fd = -1;
		return;
	}
	s->poll.data = s;
	s->polled = true;
	uv_poll_start(&s->poll, UV_READABLE, on_readable);
}

static void bind_read(struct lan *l, const char *bind_to)
{
	l->all = true;
	l->family = AF_UNSPEC;
	if (!bind_to)
		return;
	if (inet_pton(AF_INET, bind_to, &l->bind4) == 1) {
		l->family = AF_INET;
		l->all = !l->bind4.s_addr;
	} else if (inet_pton(AF_INET6, bind_to, &l->bind6) == 1) {
		l->all = IN6_IS_ADDR_UNSPECIFIED(&l->bind6);
		l->family = l->all ? AF_UNSPEC : AF_INET6;
	}
}

bool lan_bind_ok(const char *bind_to, struct buf *why)
{
	uint8_t ip[sizeof(struct in6_addr)];

	if (!bind_to || inet_pton(AF_INET, bind_to, ip) == 1 ||
	    inet_pton(AF_INET6, bind_to, ip) == 1)
		return true;
	buf_printf(why, "%s is not an IP address", log_quote(bind_to));
	return false;
}

enum err lan_new(const struct lan_options *o, struct buf *why, struct lan **out)
{
	if (!lan_bind_ok(o->bind, why))
		return ERR_INPUT;
	struct lan *l = HN_NEW(struct lan);
	l->o = *o;
	bind_read(l, o->bind);
	l->o.bind = NULL; /* borrowed, read */
	l->keys[0] = (struct keyset){.keys = o->keys, .used = true};
	sodium_memzero(&l->o.keys, sizeof(l->o.keys));
	inet_pton(AF_INET6, LAN_GROUP, &l->group);
	for (int i = 0; i < SOCKETS; i++)
		sock_open(l, (enum sock_kind)i);
	l->timer = loop_timer_new(o->loop, on_timer, l);
	loop_timer_set(l->timer, 0);
	*out = l;
	return OK;
}

void lan_rekey(struct lan *l, const struct mesh_keys *keys, uint64_t old_ms)
{
	loop_assert(l->o.loop);
	memmove(&l->keys[1], &l->keys[0], (KEYSETS - 1) * sizeof(l->keys[0]));
	l->keys[1].until_ms = loop_ms(l->o.loop) + old_ms;
	l->keys[0] = (struct keyset){.keys = *keys, .used = true};
}

uint16_t lan_own_port(const struct lan *l, int family)
{
	const struct sock *s = &l->socks[family == AF_INET ? OWN4 : OWN6];
	struct sockaddr_storage a;
	socklen_t n = sizeof(a);

	if (s->fd < 0 || getsockname(s->fd, (struct sockaddr *)&a, &n))
		return 0;
	return ntohs(family == AF_INET
			 ? ((struct sockaddr_in *)&a)->sin_port
			 : ((struct sockaddr_in6 *)&a)->sin6_port);
}

static void lan_end(struct lan *l)
{
	const loop_fn done = l->done;
	void *arg = l->done_arg;

	sodium_memzero(l->keys, sizeof(l->keys));
	free(l);
	done(arg);
}

static void on_closed(uv_handle_t *h)
{
	struct sock *s = h->data;

	close(s->fd);
	if (!--s->l->closing)
		lan_end(s->l);
}

static void on_nothing_to_close(void *arg)
{
	lan_end(arg);
}

void lan_stop(struct lan *l, loop_fn done, void *arg)
{
	loop_assert(l->o.loop);
	l->stopping = true;
	l->done = done;
	l->done_arg = arg;
	loop_timer_free(l->timer);
	for (int i = 0; i < SOCKETS; i++)
		if (l->socks[i].polled) {
			l->closing++;
			uv_close((uv_handle_t *)&l->socks[i].poll, on_closed);
		}
	if (!l->closing)
		loop_post(l->o.loop, on_nothing_to_close, l);
}
