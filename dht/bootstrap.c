/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dht/bootstrap.h"

#include "node/base/mem.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static void bootstrap_release(struct bootstrap *b)
{
	free(b->host);
	free(b->port);
}

void bootstraps_release(struct bootstraps *b)
{
	for (size_t i = 0; i < b->n; i++)
		bootstrap_release(&b->items[i]);
	b->n = 0;
}

static bool is_port(const char *port)
{
	unsigned long n = 0;
	size_t i = 0;

	for (; port[i] >= '0' && port[i] <= '9' && i < 6; i++)
		n = n * 10 + (unsigned long)(port[i] - '0');
	return i && !port[i] && n && n <= 65535;
}

static struct bootstrap *worst(struct bootstraps *b)
{
	struct bootstrap *w = &b->items[0];

	for (size_t i = 1; i < b->n; i++) {
		struct bootstrap *x = &b->items[i];
		if (x->failed > w->failed ||
		    (x->failed == w->failed && x->asked_ms < w->asked_ms))
			w = x;
	}
	return w;
}

struct bootstrap *bootstraps_add(struct bootstraps *b, const char *host,
				 const char *port, bool *fresh)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM,
				       .ai_flags =
					   AI_NUMERICHOST | AI_NUMERICSERV};
	struct addrinfo *ai = NULL;
	struct bootstrap *x;

	*fresh = false;
	if (!host[0] || strlen(host) >= BOOTSTRAP_HOST || !is_port(port))
		return NULL;
	for (size_t i = 0; i < b->n; i++)
		if (!strcmp(b->items[i].host, host) &&
		    !strcmp(b->items[i].port, port))
			return &b->items[i];
	if (b->n < BOOTSTRAPS) {
		x = &b->items[b->n++];
	} else {
		x = worst(b);
		bootstrap_release(x);
	}
	*x = (struct bootstrap){
	    .id = ++b->last_id, .host = xstrdup(host), .port = xstrdup(port)};
	if (!getaddrinfo(host, port, &hints, &ai)) {
		bootstrap_keep(x, ai);
		x->numeric = x->naddr;
		freeaddrinfo(ai);
	}
	*fresh = true;
	return x;
}

struct bootstrap *bootstraps_by_id(struct bootstraps *b, unsigned id)
{
	for (size_t i = 0; i < b->n; i++)
		if (b->items[i].id == id)
			return &b->items[i];
	return NULL;
}

size_t bootstraps_answering(const struct bootstraps *b)
{
	size_t n = 0;
	for (size_t i = 0; i < b->n; i++)
		n += b->items[i].answered && !b->items[i].failed;
	return n;
}

void bootstraps_hurry(struct bootstraps *b)
{
	for (size_t i = 0; i < b->n; i++) {
		b->items[i].due_ms = 0;
		b->items[i].delay_ms = 0;
	}
}

void bootstrap_keep(struct bootstrap *b, const struct addrinfo *ai)
{
	b->naddr = 0;
	b->next_addr = 0;
	for (; ai && b->naddr < BOOTSTRAP_ADDRESSES; ai = ai->ai_next)
		if (ai->ai_family == AF_INET || ai->ai_family == AF_INET6)
			memcpy(&b->addr[b->naddr++], ai->ai_addr,
			       ai->ai_addrlen);
}

const struct sockaddr *bootstrap_next(struct bootstrap *b, socklen_t *n)
{
	const struct sockaddr_storage *ss = &b->addr[b->next_addr];

	b->next_addr = (b->next_addr + 1) % b->naddr;
	*n = ss->ss_family == AF_INET ? sizeof(struct sockaddr_in)
				      : sizeof(struct sockaddr_in6);
	return (const struct sockaddr *)ss;
}

void bootstrap_asked(struct bootstrap *b, uint64_t now_ms)
{
	b->asked_ms = now_ms;
	b->delay_ms = b->delay_ms ? b->delay_ms * 2 : BOOTSTRAP_FIRST_MS;
	if (b->delay_ms > BOOTSTRAP_MS)
		b->delay_ms = BOOTSTRAP_MS;
	b->due_ms = now_ms + b->delay_ms;
}

void bootstrap_outcome(struct bootstrap *b, uint64_t now_ms, bool ok)
{
	b->pinging = false;
	if (!ok) {
		/* Delays of its own begin when one stops to answer. */
		if (b->answered && !b->failed)
			b->delay_ms = 0;
		b->failed++;
		return;
	}
	b->failed = 0;
	b->answered = true;
	b->delay_ms = BOOTSTRAP_MS;
	b->due_ms = now_ms + BOOTSTRAP_MS;
}

bool bootstrap_split(const char *address, char host[static BOOTSTRAP_HOST],
		     const char **port)
{
	uint8_t ip[sizeof(struct in6_addr)];
	const char *colon = strrchr(address, ':');
	size_t n = colon ? (size_t)(colon - address) : 0;

	if (n > 1 && address[0] == '[' && colon[-1] == ']') {
		address++;
		n -= 2;
	}
	if (!n || n >= BOOTSTRAP_HOST)
		return false;
	memcpy(host, address, n);
	host[n] = 0;
	*port = colon + 1;
	return inet_pton(AF_INET, host, ip) == 1 ||
	       inet_pton(AF_INET6, host, ip) == 1;
}
