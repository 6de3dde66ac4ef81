/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_TEST_TABLES_H
#define HN_TEST_TABLES_H

#include <stddef.h>

struct message;

/* Every message that travels outside of methods: handshake, records, ... */
extern const struct message *const other_messages[];
extern const size_t n_other_messages;

/* fn for each message: those of the methods with all they contain, then the
 * others; each once. */
void each_message(void (*fn)(const struct message *m, void *arg), void *arg);

#endif
