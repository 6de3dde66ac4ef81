/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define POINTER "hnode-control "

static enum err write_pointer(const char *file, const char *path,
			      struct buf *why)
{
	char *line = xasprintf(POINTER "%s\n", path);
	size_t n = strlen(line);
	struct stat st;

	if (!lstat(file, &st) && S_ISSOCK(st.st_mode))
		unlink(file); /* too long to be anybody's */
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool good = fd >= 0 && write(fd, line, n) == (ssize_t)n;
	if (fd >= 0 && close(fd))
		good = false;
	if (!good)
		buf_printf(why, "cannot write %s: %s", file, strerror(errno));
	free(line);
	return good ? OK : ERR_IO;
}

enum err control_place(const char *data_dir, const char *runtime_dir,
		       const struct node_id *id, struct buf *path,
		       struct buf *why)
{
	char *file = xasprintf("%s/control", data_dir);
	enum err e = OK;

	if (strlen(file) <= CONTROL_PATH_MAX) {
		buf_add_str(path, file);
		goto out;
	}
	if (!runtime_dir || !*runtime_dir) {
		buf_printf(why,
			   "%s is too long for a socket (%d bytes at most): "
			   "use a shorter --data-dir, or set XDG_RUNTIME_DIR",
			   file, CONTROL_PATH_MAX);
		e = ERR_CONFIG;
		goto out;
	}
	buf_printf(path, "%s/hnode-%.8s", runtime_dir, node_hex(id));
	if (strlen(buf_str(path)) > CONTROL_PATH_MAX) {
		buf_printf(why, "%s is too long for a socket, too",
			   buf_str(path));
		e = ERR_CONFIG;
		goto out;
	}
	e = write_pointer(file, buf_str(path), why);
out:
	free(file);
	return e;
}

enum err control_find(const char *data_dir, struct buf *path)
{
	char *file = xasprintf("%s/control", data_dir);
	enum err e = ERR_NONODE;
	char line[512];
	struct stat st;
	FILE *f = NULL;

	if (lstat(file, &st))
		goto out;
	if (S_ISSOCK(st.st_mode)) {
		buf_add_str(path, file);
		e = OK;
		goto out;
	}
	f = S_ISREG(st.st_mode) ? fopen(file, "re") : NULL;
	if (!f || !fgets(line, sizeof(line), f) ||
	    strncmp(line, POINTER, strlen(POINTER)) != 0)
		goto out;
	line[strcspn(line, "\n")] = 0;
	buf_add_str(path, line + strlen(POINTER));
	e = OK;
out:
	if (f)
		fclose(f);
	free(file);
	return e;
}

void control_remove(const char *data_dir, const char *path)
{
	char *file = xasprintf("%s/control", data_dir);

	unlink(path);
	if (strcmp(file, path) != 0)
		unlink(file);
	free(file);
}
