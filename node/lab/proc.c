/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/lab/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Between fork and exec: nothing but system calls. */
static void become(const struct proc_options *o, char *const *argv,
		   pid_t parent)
{
	sigset_t none;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
		return;
	if (o->netns >= 0 && setns(o->netns, CLONE_NEWNET))
		return;
	int null = open("/dev/null", O_RDONLY);
	int log = open(o->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (null < 0 || log < 0)
		return;
	dup2(null, STDIN_FILENO);
	dup2(log, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	/* libuv blocks what it reads from its own descriptors. */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int s = 1; s < 32; s++)
		signal(s, SIG_DFL);
	/* A Ctrl-C at the terminal is for the lab. */
	setsid();
	execve(argv[0], argv, o->env);
}

enum err proc_start(struct proc *p, const struct proc_options *o)
{
	const pid_t parent = getpid();
	char **argv = xcalloc(o->argv->n + 1, sizeof(*argv));

	memcpy(argv, o->argv->items, o->argv->n * sizeof(*argv));
	const pid_t pid = fork();
	if (!pid) {
		become(o, argv, parent);
		_exit(127);
	}
	free(argv);
	if (pid < 0)
		return ERR_IO;
	*p = (struct proc){.pid = pid};
	return OK;
}

bool proc_reap(struct proc *p)
{
	int status;

	if (!p->pid || waitpid(p->pid, &status, WNOHANG) != p->pid)
		return false;
	*p = (struct proc){.status = status};
	return true;
}

void proc_pause(struct proc *p, bool paused)
{
	if (p->pid && p->paused != paused)
		kill(p->pid, paused ? SIGSTOP : SIGCONT);
	p->paused = p->pid && paused;
}

void proc_signal(struct proc *p, int number)
{
	proc_pause(p, false);
	if (p->pid)
		kill(p->pid, number);
}

void proc_status(const struct proc *p, struct buf *out)
{
	if (WIFSIGNALED(p->status))
		buf_printf(out, "signal %d (%s)", WTERMSIG(p->status),
			   strsignal(WTERMSIG(p->status)));
	else
		buf_printf(out, "exit code %d", WEXITSTATUS(p->status));
}
