/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "test/support/tables.h"

#include <stdbool.h>

#include "dht/beacon.h"
#include "dht/record.h"
#include "node/base/audit.h"
#include "node/base/cert.h"
#include "node/base/mem.h"
#include "node/mesh/invite.h"
#include "node/mesh/mesh_impl.h"
#include "rpc/handshake.h"
#include "rpc/rpc.h"

const struct message *const other_messages[] = {
    &hello_message,  &cert_message,    &record_message,		&beacon_message,
    &invite_message, &receipt_message, &receipt_export_message,
};
const size_t n_other_messages = HN_COUNT(other_messages);

#define MESSAGES_MAX 256

struct walk {
	const struct message *seen[MESSAGES_MAX];
	size_t n;
};

static void visit(struct walk *w, const struct message *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < w->n; i++)
		if (w->seen[i] == m)
			return;
	if (w->n == MESSAGES_MAX)
		return;
	w->seen[w->n++] = m;
	for (size_t i = 0; i < m->nfields; i++)
		visit(w, m->fields[i].sub);
}

void each_message(void (*fn)(const struct message *m, void *arg), void *arg)
{
	struct walk w = {.n = 0};

	for (size_t t = 0; t < mesh_methods_count; t++) {
		for (const struct rpc_method *r = mesh_methods[t]; r->name;
		     r++) {
			visit(&w, r->request);
			visit(&w, r->up);
			visit(&w, r->down);
			visit(&w, r->reply);
		}
	}
	for (size_t i = 0; i < n_other_messages; i++)
		visit(&w, other_messages[i]);
	for (size_t i = 0; i < w.n; i++)
		fn(w.seen[i], arg);
}
