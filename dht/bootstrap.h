/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_DHT_BOOTSTRAP_H
#define HN_DHT_BOOTSTRAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/*
 * The addresses that the overlay begins with and comes back to, and when each
 * is to be asked next. Times are arguments (any one monotonic clock, ms);
 * nothing is sent and nothing is looked up here.
 */
#define BOOTSTRAPS 64
#define BOOTSTRAP_ADDRESSES 4
/* One that does not answer: after 1 s, 2 s, ... 60 s. One that does: 60 s. */
#define BOOTSTRAP_FIRST_MS 1000
#define BOOTSTRAP_MS 60000
#define BOOTSTRAP_HOST 256

struct bootstrap {
	unsigned id;
	char *host, *port;
	bool numeric; /* else a name, and addr is what it was last */
	struct sockaddr_storage addr[BOOTSTRAP_ADDRESSES];
	unsigned naddr, next_addr;
	bool looking, pinging; /* under way: the owner's */
	bool answered;	       /* ever */
	unsigned failed;       /* since its last answer */
	uint64_t asked_ms, due_ms, delay_ms;
};

/* Zero-initialised is empty and ready. */
struct bootstraps {
	struct bootstrap items[BOOTSTRAPS];
	size_t n;
	unsigned last_id;
};

void bootstraps_release(struct bootstraps *b);
/*
 * The entry of this address, a new one if need be (then the one that failed
 * most, or was asked longest ago, is forgotten at the bound). NULL when it is
 * no address. *fresh: it was not there.
 */
struct bootstrap *bootstraps_add(struct bootstraps *b, const char *host,
				 const char *port, bool *fresh);
struct bootstrap *bootstraps_by_id(struct bootstraps *b, unsigned id);
/* How many answered when asked last. */
size_t bootstraps_answering(const struct bootstraps *b);
/* All at once, and with the first delays again. */
void bootstraps_hurry(struct bootstraps *b);

struct addrinfo;
void bootstrap_keep(struct bootstrap *b, const struct addrinfo *ai);
/* The next of its addresses; naddr > 0. */
const struct sockaddr *bootstrap_next(struct bootstrap *b, socklen_t *n);
void bootstrap_asked(struct bootstrap *b, uint64_t now_ms);
void bootstrap_outcome(struct bootstrap *b, uint64_t now_ms, bool ok);

/* "1.2.3.4:5" or "[::1]:5", numeric only, in two parts. */
bool bootstrap_split(const char *address, char host[static BOOTSTRAP_HOST],
		     const char **port);

#endif
