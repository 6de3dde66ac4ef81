/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_RPC_LINK_IMPL_H
#define HN_RPC_LINK_IMPL_H

#include <stdbool.h>

struct link;
struct link_ctx;
struct loop;
struct link_tcp;
struct nng_stream;

/*
 * The inside of link.h, shared by link.c (connections) and link_listen.c
 * (listeners). A ctx lives until all that holds a reference is gone.
 */
struct loop *link_ctx_ref(struct link_ctx *c);
void link_ctx_unref(struct link_ctx *c);
/* A link that waits for link_start or link_close. */
struct link *link_accepted(struct link_ctx *c, struct nng_stream *take_s);

/* link_tcp.c */
bool link_fd_tcp(int fd, struct link_tcp *out);

#endif
