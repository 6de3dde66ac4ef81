/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_RPC_LINK_ADDR_H
#define HN_RPC_LINK_ADDR_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/buf.h"

/*
 * Addresses of tcp ends. IPv4 as ::ffff:a.b.c.d; all zero for local sockets.
 * Pure, but for link_addr_descriptor; any thread.
 */
struct link_addr {
	uint8_t ip[16];
	uint16_t port;
	uint32_t scope; /* of a link-local one: its interface; else 0 */
};

bool link_addr_is_loopback(const struct link_addr *a); /* not for zeros */
/* "10.0.0.1:7450", "[::1]:7450", "[fe80::1%eth0]:7450", "local". */
void link_addr_str(const struct link_addr *a, struct buf *out);

/* ip in network order, 4 or 16 bytes; port_be too. */
void link_addr_v4(struct link_addr *a, const void *ip, uint16_t port_be);
void link_addr_v6(struct link_addr *a, const void *ip, uint16_t port_be);
struct sockaddr;
bool link_addr_of_sockaddr(const struct sockaddr *sa, struct link_addr *a);

/* IPv4, or IPv6 with or without brackets, link-local with its interface; the
 * port becomes 0. */
bool link_addr_parse(const char *host, struct link_addr *a);
/* Whether it may be a name to look up. */
bool link_host_is_name(const char *host);

/*
 * A duplicate (the caller's) of our own descriptor whose two ends are these,
 * or -1. Two ends of one connection in one process differ in which address is
 * theirs.
 */
int link_addr_descriptor(const struct link_addr *local,
			 const struct link_addr *peer);

#endif
