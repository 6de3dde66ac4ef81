/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "test/support/shards.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHOWN 20 /* failures that get a line of their own */

/* One process's corner of the shared page. */
struct shard {
	uint64_t next; /* number of the run to do, or that runs */
	bool running;
	uint64_t passed, failed;
	double sums[SHARD_SUMS];
};

static void say(struct shard *h, uint64_t seed, const char *why)
{
	h->failed++;
	if (h->failed <= SHOWN)
		printf("FAILED seed %" PRIu64 ": %s\n", seed, why);
	else if (h->failed == SHOWN + 1)
		printf("(and more)\n");
	fflush(stdout);
}

static void work(const struct shards *s, struct shard *h)
{
	for (; h->next < s->n; h->next += s->procs) {
		struct buf why = {0};

		h->running = true;
		const bool ok =
		    s->one(s->arg, s->seed + h->next, &why, h->sums);
		h->running = false;
		if (ok)
			h->passed++;
		else
			say(h, s->seed + h->next, buf_str(&why));
		buf_release(&why);
	}
}

static pid_t begin(const struct shards *s, struct shard *h)
{
	fflush(stdout);
	const pid_t parent = getpid(), pid = fork();

	if (pid < 0) {
		perror("fork");
		exit(70);
	}
	if (pid)
		return pid;
	/* One that outlives its starter would run for nobody. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(70);
	work(s, h);
	exit(0);
}

/* How a process ended; true when it has to go on behind what killed it. */
static bool died(const struct shards *s, struct shard *h, int status)
{
	char why[64];

	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return false;
	if (WIFSIGNALED(status))
		snprintf(why, sizeof(why), "died of signal %d (%s)",
			 WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(why, sizeof(why), "its process ended with code %d",
			 WEXITSTATUS(status));
	if (!h->running) {
		say(h, s->seed + h->next, why);
		return false;
	}
	say(h, s->seed + h->next, why);
	h->running = false;
	h->next += s->procs;
	return h->next < s->n;
}

struct shards_result shards_run(const struct shards *s)
{
	struct shards_result r = {0};
	const size_t size = s->procs * sizeof(struct shard);
	struct shard *h = mmap(NULL, size, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t *pids = calloc(s->procs, sizeof(*pids));

	if (h == MAP_FAILED || !pids) {
		perror("shards");
		exit(70);
	}
	for (unsigned i = 0; i < s->procs; i++) {
		h[i].next = i;
		pids[i] = begin(s, &h[i]);
	}
	for (unsigned i = 0; i < s->procs; i++) {
		int status;

		for (;;) {
			if (waitpid(pids[i], &status, 0) < 0) {
				if (errno == EINTR)
					continue;
				perror("waitpid");
				exit(70);
			}
			if (!died(s, &h[i], status))
				break;
			pids[i] = begin(s, &h[i]);
		}
		r.passed += h[i].passed;
		r.failed += h[i].failed;
		for (size_t k = 0; k < SHARD_MOST; k++)
			r.sums[k] += h[i].sums[k];
		if (h[i].sums[SHARD_MOST] > r.sums[SHARD_MOST])
			r.sums[SHARD_MOST] = h[i].sums[SHARD_MOST];
	}
	free(pids);
	munmap(h, size);
	return r;
}
