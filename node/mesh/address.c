/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/address.h"

#include <uv.h>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool address_parse(const char *text, struct address *out)
{
	const char *host = text;
	const char *colon = strrchr(text, ':');
	bool brackets = *host == '[';
	char *stop;

	if (!colon)
		return false;
	size_t n = (size_t)(colon - host);
	if (brackets) {
		if (n < 3 || host[n - 1] != ']')
			return false;
		host++;
		n -= 2;
	}
	/* Brackets are for IPv6, and only it has colons. */
	if (!n || n >= sizeof(out->host) ||
	    brackets != (memchr(host, ':', n) != NULL) ||
	    strcspn(host, "@ []/") < n || colon[1] < '0' || colon[1] > '9')
		return false;
	unsigned long port = strtoul(colon + 1, &stop, 10);
	if (*stop || !port || port > 65535)
		return false;
	memcpy(out->host, host, n);
	out->host[n] = 0;
	out->port = (uint16_t)port;
	return true;
}

void address_str(const char *host, uint16_t port, struct buf *out)
{
	buf_printf(out, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host,
		   (unsigned)port);
}

enum err address_parse_node(const char *text, struct node_id *id,
			    struct address *out, struct buf *why)
{
	const char *at = strchr(text, '@');
	char hex[65];

	if (!at) {
		buf_add_str(why,
			    "give ID@HOST:PORT: a session is only dialled to "
			    "a node whose id is known (`hnode id` prints it "
			    "there); HOST:PORT alone is what --bootstrap "
			    "takes");
		return ERR_INPUT;
	}
	if (at - text != 64) {
		buf_add_str(why, "the id in ID@HOST:PORT has 64 hex digits");
		return ERR_INPUT;
	}
	memcpy(hex, text, 64);
	hex[64] = 0;
	if (!hex_decode(hex, id->b, 32)) {
		buf_add_str(why, "the id in ID@HOST:PORT is not hex");
		return ERR_INPUT;
	}
	if (!address_parse(at + 1, out)) {
		buf_add_str(why, "after the @ stands HOST:PORT, with "
				 "[brackets] around an IPv6 address");
		return ERR_INPUT;
	}
	return OK;
}

/* --- our own --- */

static void add_host(struct strs *out, const char *host, uint16_t port)
{
	struct buf b = {0};

	address_str(host, port, &b);
	texts_add_once(out, buf_str(&b), ADDRESS_ANNOUNCED);
	buf_release(&b);
}

enum rank { RANK_4, RANK_6, RANK_LOOPBACK, RANK_NEVER };

static enum rank rank_of(const uv_interface_address_t *a, char host[static 64])
{
	if (a->address.address4.sin_family == AF_INET) {
		uv_ip4_name(&a->address.address4, host, 64);
		return a->is_internal ? RANK_LOOPBACK : RANK_4;
	}
	const struct in6_addr *ip = &a->address.address6.sin6_addr;
	uv_ip6_name(&a->address.address6, host, 64);
	/* A link-local address means nothing without the interface. */
	if (IN6_IS_ADDR_LINKLOCAL(ip) || IN6_IS_ADDR_MULTICAST(ip))
		return RANK_NEVER;
	return a->is_internal ? RANK_LOOPBACK : RANK_6;
}

static void add_interfaces(uint16_t port, struct strs *out)
{
	uv_interface_address_t *all;
	size_t before = out->n;
	char host[64];
	int n;

	if (uv_interface_addresses(&all, &n))
		return;
	for (enum rank r = RANK_4; r <= RANK_LOOPBACK; r++) {
		if (r == RANK_LOOPBACK && out->n > before)
			break;
		for (int i = 0; i < n; i++)
			if (rank_of(&all[i], host) == r)
				add_host(out, host, port);
	}
	uv_free_interface_addresses(all, n);
}

static bool is_wildcard(const char *bind)
{
	return !bind || !strcmp(bind, "0.0.0.0") || !strcmp(bind, "::") ||
	       !strcmp(bind, "*");
}

void address_own(const char *bind, const char *const *advertise,
		 size_t nadvertise, uint16_t port, struct strs *out)
{
	struct address a;

	for (size_t i = 0; i < nadvertise; i++) {
		if (address_parse(advertise[i], &a))
			add_host(out, a.host, a.port);
		else
			add_host(out, advertise[i], port);
	}
	if (is_wildcard(bind))
		add_interfaces(port, out);
	else if (strcmp(bind, "-"))
		add_host(out, bind, port);
}

/* --- how near --- */

static bool same_bits(const uint8_t *a, const uint8_t *b, const uint8_t *mask,
		      size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((a[i] ^ b[i]) & mask[i])
			return false;
	return true;
}

static bool near4(const struct in_addr *ip)
{
	uv_interface_address_t *all;
	bool found = false;
	int n;

	if (ntohl(ip->s_addr) >> 24 == 127)
		return true;
	if (uv_interface_addresses(&all, &n))
		return false;
	for (int i = 0; i < n && !found; i++)
		found = all[i].address.address4.sin_family == AF_INET &&
			same_bits(
			    (const void *)ip,
			    (const void *)&all[i].address.address4.sin_addr,
			    (const void *)&all[i].netmask.netmask4.sin_addr, 4);
	uv_free_interface_addresses(all, n);
	return found;
}

static bool near6(const struct in6_addr *ip)
{
	uv_interface_address_t *all;
	bool found = false;
	int n;

	if (IN6_IS_ADDR_LOOPBACK(ip) || IN6_IS_ADDR_LINKLOCAL(ip))
		return true;
	if (uv_interface_addresses(&all, &n))
		return false;
	for (int i = 0; i < n && !found; i++)
		found =
		    all[i].address.address6.sin6_family == AF_INET6 &&
		    same_bits(ip->s6_addr,
			      all[i].address.address6.sin6_addr.s6_addr,
			      all[i].netmask.netmask6.sin6_addr.s6_addr, 16);
	uv_free_interface_addresses(all, n);
	return found;
}

const char *address_path(const char *host)
{
	char plain[64];
	struct in_addr ip4;
	struct in6_addr ip6;

	snprintf(plain, sizeof(plain), "%s", host);
	char *zone = strchr(plain, '%');
	if (zone)
		*zone = 0;
	if (inet_pton(AF_INET, plain, &ip4) == 1)
		return near4(&ip4) ? "lan" : "direct";
	if (inet_pton(AF_INET6, plain, &ip6) != 1)
		return "direct";
	if (IN6_IS_ADDR_V4MAPPED(&ip6)) {
		memcpy(&ip4, ip6.s6_addr + 12, 4);
		return near4(&ip4) ? "lan" : "direct";
	}
	return near6(&ip6) ? "lan" : "direct";
}

/* --- lists of texts --- */

void texts_add(struct strs *s, const char *text)
{
	s->items = xrealloc(s->items, (s->n + 1) * sizeof(*s->items));
	s->items[s->n++] = xstrdup(text);
}

bool texts_have(const struct strs *s, const char *text)
{
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->items[i], text))
			return true;
	return false;
}

void texts_add_once(struct strs *s, const char *text, size_t max)
{
	if (s->n < max && strlen(text) <= STRS_MAX_TEXT && !texts_have(s, text))
		texts_add(s, text);
}

void texts_remove(struct strs *s, const char *text)
{
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->items[i], text)) {
			free(s->items[i]);
			memmove(&s->items[i], &s->items[i + 1],
				(s->n - i - 1) * sizeof(*s->items));
			s->n--;
			return;
		}
}

bool texts_same(const struct strs *a, const struct strs *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->items[i], b->items[i]))
			return false;
	return true;
}

void texts_clear(struct strs *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->items[i]);
	free(s->items);
	*s = (struct strs){0};
}

struct strs texts_copy(const struct strs *s, struct arena *a)
{
	struct strs c = {arena_alloc(a, (s->n + 1) * sizeof(char *)), s->n};

	for (size_t i = 0; i < s->n; i++)
		c.items[i] = arena_strndup(a, s->items[i], strlen(s->items[i]));
	return c;
}
