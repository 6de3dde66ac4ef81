/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_SUPPORT_TEMP_H
#define HN_SUPPORT_TEMP_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* A private directory for one test; temp_remove takes it away again. The
 * paths of temp_path are good until the second call after. */
static char temp_dir[64];

static inline void temp_make(void)
{
	snprintf(temp_dir, sizeof(temp_dir), "/tmp/hn-test-XXXXXX");
	if (!mkdtemp(temp_dir)) {
		perror("mkdtemp");
		abort();
	}
}

static inline const char *temp_path(const char *name)
{
	static char paths[2][128];
	static unsigned next;
	char *path = paths[next++ % 2];
	snprintf(path, sizeof(paths[0]), "%s/%s", temp_dir, name);
	return path;
}

static inline void temp_write(const char *path, const void *p, size_t n)
{
	FILE *f = fopen(path, "we");
	if (!f || fwrite(p, 1, n, f) != n || fclose(f)) {
		perror(path);
		abort();
	}
}

static inline unsigned temp_mode(const char *path)
{
	struct stat st;
	return stat(path, &st) ? 0 : (unsigned)st.st_mode & 07777;
}

static inline int temp_remove_one(const char *path, const struct stat *st,
				  int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void temp_remove(void)
{
	nftw(temp_dir, temp_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

#endif
