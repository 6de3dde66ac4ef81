/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rpc/link_addr.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define HOST_MAX 253

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

void link_addr_v4(struct link_addr *a, const void *ip, uint16_t port_be)
{
	memcpy(a->ip, mapped, 12);
	memcpy(a->ip + 12, ip, 4);
	a->port = ntohs(port_be);
	a->scope = 0;
}

void link_addr_v6(struct link_addr *a, const void *ip, uint16_t port_be)
{
	memcpy(a->ip, ip, 16);
	a->port = ntohs(port_be);
	a->scope = 0;
}

bool link_addr_of_sockaddr(const struct sockaddr *sa, struct link_addr *a)
{
	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)sa;
		link_addr_v4(a, &in->sin_addr, in->sin_port);
	} else if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)sa;
		link_addr_v6(a, &in6->sin6_addr, in6->sin6_port);
		if (IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr))
			a->scope = in6->sin6_scope_id;
	} else {
		return false;
	}
	return true;
}

/* Without the scope: two ends of one connection are told by address and port,
 * and not every source of an address gives it. */
static bool addr_eq(const struct link_addr *a, const struct link_addr *b)
{
	return !memcmp(a->ip, b->ip, 16) && a->port == b->port;
}

static bool addr_is_v4(const struct link_addr *a)
{
	return !memcmp(a->ip, mapped, 12);
}

bool link_addr_is_loopback(const struct link_addr *a)
{
	if (addr_is_v4(a))
		return a->ip[12] == 127;
	return !memcmp(a->ip, &in6addr_loopback, 16);
}

static void ip_str(const struct link_addr *a, char out[static INET6_ADDRSTRLEN])
{
	if (addr_is_v4(a))
		inet_ntop(AF_INET, a->ip + 12, out, INET6_ADDRSTRLEN);
	else
		inet_ntop(AF_INET6, a->ip, out, INET6_ADDRSTRLEN);
}

void link_addr_str(const struct link_addr *a, struct buf *out)
{
	char ip[INET6_ADDRSTRLEN], name[IF_NAMESIZE];

	if (!a->port) {
		buf_add_str(out, "local");
		return;
	}
	ip_str(a, ip);
	if (addr_is_v4(a))
		buf_printf(out, "%s:%u", ip, a->port);
	else if (!a->scope)
		buf_printf(out, "[%s]:%u", ip, a->port);
	else if (if_indextoname(a->scope, name))
		buf_printf(out, "[%s%%%s]:%u", ip, name, a->port);
	else
		buf_printf(out, "[%s%%%u]:%u", ip, (unsigned)a->scope, a->port);
}

int link_addr_descriptor(const struct link_addr *local,
			 const struct link_addr *peer)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *e;
	int found = -1;

	while (dir && found < 0 && (e = readdir(dir))) {
		struct sockaddr_storage sa;
		struct link_addr a;
		socklen_t len = sizeof(sa);
		char *end;
		const long fd = strtol(e->d_name, &end, 10);

		if (*end || end == e->d_name)
			continue;
		if (getpeername((int)fd, (struct sockaddr *)&sa, &len) ||
		    !link_addr_of_sockaddr((struct sockaddr *)&sa, &a) ||
		    !addr_eq(&a, peer))
			continue;
		len = sizeof(sa);
		if (getsockname((int)fd, (struct sockaddr *)&sa, &len) ||
		    !link_addr_of_sockaddr((struct sockaddr *)&sa, &a) ||
		    !addr_eq(&a, local))
			continue;
		found = fcntl((int)fd, F_DUPFD_CLOEXEC, 0);
		break;
	}
	if (dir)
		closedir(dir);
	return found;
}

bool link_host_is_name(const char *host)
{
	const size_t n = strlen(host);

	return n && n <= HOST_MAX && host[0] != '-' &&
	       strspn(host, "abcdefghijklmnopqrstuvwxyz"
			    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
			    "0123456789-._") == n;
}

bool link_addr_parse(const char *host, struct link_addr *a)
{
	char text[INET6_ADDRSTRLEN + IF_NAMESIZE + 3];
	size_t n = strlen(host);
	uint32_t scope = 0;
	uint8_t ip[16];

	if (n >= sizeof(text))
		return false;
	memcpy(text, host, n + 1);
	if (inet_pton(AF_INET, text, ip) == 1) {
		link_addr_v4(a, ip, 0);
		return true;
	}
	char *p = text;
	if (n > 2 && p[0] == '[' && p[n - 1] == ']') {
		p[n - 1] = 0;
		p++;
	}
	char *zone = strchr(p, '%');
	if (zone) {
		*zone++ = 0;
		scope = if_nametoindex(zone);
		if (!scope)
			return false;
	}
	if (inet_pton(AF_INET6, p, ip) != 1)
		return false;
	link_addr_v6(a, ip, 0);
	a->scope = scope;
	return true;
}
