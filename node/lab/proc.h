/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_LAB_PROC_H
#define HN_LAB_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "node/base/err.h"
#include "node/base/fields.h"

/*
 * A child of ours: started, slowed, ended. It dies with the process that
 * started it. Not reaped behind our back: its pid is its own until proc_reap
 * has said that it ended. Main thread only.
 */
struct proc {
	pid_t pid;   /* 0: does not run */
	bool paused; /* SIGSTOP */
	int status;  /* of wait, once it has ended */
};

struct proc_options {
	const struct strs *argv; /* argv[0] is the program */
	char *const *env;
	const char *log; /* both its outputs are appended there */
	int netns;	 /* a descriptor of the namespace it starts in; -1 */
};
/* ERR_IO with errno when there can be no process. A program that cannot be
 * run ends with 127. */
enum err proc_start(struct proc *p, const struct proc_options *o) HN_CHECK;

/* False: it still runs, or never did. Once true, p->status is known. */
bool proc_reap(struct proc *p);

void proc_pause(struct proc *p, bool paused);
/* Wakes it first if it must hear. */
void proc_signal(struct proc *p, int number);

/* "exit code 3", "signal 9 (Killed)". */
void proc_status(const struct proc *p, struct buf *out);

#endif
