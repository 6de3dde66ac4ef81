/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rpc/place.h"

#include "node/base/mem.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define TCP_LISTEN 10 /* the "st" column of /proc/net/tcp */

/* The inode of the listening socket in a table of proc(5); 0: not there. */
static unsigned long listening_inode(const char *table, uint16_t port)
{
	FILE *f = fopen(table, "re");
	char line[512];
	unsigned long found = 0;

	while (f && !found && fgets(line, sizeof(line), f)) {
		unsigned lport, state;
		unsigned long inode;

		if (sscanf(line,
			   " %*u: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x "
			   "%*s %*s %*s %*u %*u %lu",
			   &lport, &state, &inode) == 3 &&
		    lport == port && state == TCP_LISTEN)
			found = inode;
	}
	if (f)
		fclose(f);
	return found;
}

static bool holds(const char *pid, const char *socket)
{
	char path[300], target[64];
	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	DIR *dir = opendir(path);
	const struct dirent *e;
	bool found = false;

	while (dir && !found && (e = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/%s/fd/%.20s", pid,
			 e->d_name);
		const ssize_t n = readlink(path, target, sizeof(target) - 1);
		if (n <= 0)
			continue;
		target[n] = 0;
		found = !strcmp(target, socket);
	}
	if (dir)
		closedir(dir);
	return found;
}

static void name_process(const char *pid, struct buf *out)
{
	char path[300], comm[64] = "";
	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	FILE *f = fopen(path, "re");

	if (f && fgets(comm, sizeof(comm), f))
		comm[strcspn(comm, "\n")] = 0;
	if (f)
		fclose(f);
	for (char *p = comm; *p; p++)
		if (!isprint((unsigned char)*p))
			*p = '?';
	buf_printf(out, " by %s (pid %s)", *comm ? comm : "a process", pid);
}

void place_port_holder(uint16_t port, struct buf *out)
{
	char socket[64];
	unsigned long inode = listening_inode("/proc/net/tcp", port);

	if (!inode)
		inode = listening_inode("/proc/net/tcp6", port);
	if (!inode)
		return;
	snprintf(socket, sizeof(socket), "socket:[%lu]", inode);
	DIR *proc = opendir("/proc");
	const struct dirent *e;

	while (proc && (e = readdir(proc)))
		if (isdigit((unsigned char)e->d_name[0]) &&
		    holds(e->d_name, socket)) {
			name_process(e->d_name, out);
			break;
		}
	if (proc)
		closedir(proc);
}

/* Local sockets */

bool place_path_ok(const char *path)
{
	const struct sockaddr_un sun;
	return *path && strlen(path) < sizeof(sun.sun_path);
}

int place_lock_dir(const char *path, struct buf *why)
{
	char *dir = xstrdup(path);
	char *slash = strrchr(dir, '/');
	if (slash)
		slash[slash == dir] = 0;
	int fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	free(dir);
	if (fd >= 0 && !flock(fd, LOCK_EX))
		return fd;
	buf_printf(why, "cannot use the directory of %s: %s", path,
		   strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

enum err place_clear_socket(const char *path, struct buf *why)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct stat st;

	if (lstat(path, &st))
		return OK;
	if (!S_ISSOCK(st.st_mode)) {
		buf_printf(why, "%s is there and is not a socket", path);
		return ERR_CONFIG;
	}
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		buf_printf(why, "cannot make a socket: %s", strerror(errno));
		return ERR_IO;
	}
	memcpy(sun.sun_path, path, strlen(path) + 1);
	const int rc = connect(fd, (struct sockaddr *)&sun, sizeof(sun));
	const int e = errno;
	close(fd);
	if (rc && e == ECONNREFUSED) { /* left by a process that is dead */
		unlink(path);
		return OK;
	}
	if (rc && e == ENOENT)
		return OK;
	if (rc && e != EAGAIN) { /* that would be one with much to do */
		buf_printf(why, "cannot tell who holds %s: %s", path,
			   strerror(e));
		return ERR_IO;
	}
	buf_add_str(why, "a node already runs here");
	return ERR_EXISTS;
}
