/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_NODE_NODE_H
#define HN_NODE_NODE_H

struct cli;

/* What `up -d` wants to know. */
struct node_hooks {
	int log_fd;
	void (*ready)(void *arg);
	void *arg;
};

/* Makes the data directory or checks it (0700, ours). Exit code; printed. */
int node_directory(struct cli *c);

/*
 * Runs a node in that directory until a signal or node.stop ends it. hooks may
 * be NULL. The exit code; failures of the start are printed.
 */
int node_run(struct cli *c, const struct node_hooks *hooks);

#endif
