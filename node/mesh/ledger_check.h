/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_MESH_LEDGER_CHECK_H
#define HN_MESH_LEDGER_CHECK_H

#include <stdint.h>

/*
 * The part of `hnode db check` about receipts: each is what its row and its
 * chain say it is. Signatures are `hnode receipt verify`'s to look at. Blocks;
 * for the command line.
 */
struct store_tool;

/* fn gets a sentence for each thing that is wrong. How many receipts are
 * whole. */
typedef void (*ledger_wrong_fn)(void *arg, const char *text);
uint64_t ledger_check(struct store_tool *t, ledger_wrong_fn fn, void *arg);

#endif
