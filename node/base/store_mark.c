/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/store_mark.h"

#include "node/base/buf.h"
#include "node/base/log.h"
#include "node/base/mem.h"

#include <sodium.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The count, and a hash of it, so that half a write is none. */
#define MARK_SIZE 16

static int mark_file(const char *db_path, int flags)
{
	char *path = xasprintf("%s-mark", db_path);
	int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);

	free(path);
	return fd;
}

static void mark_sum(const uint8_t count[static 8], uint8_t sum[static 8])
{
	uint8_t hash[crypto_generichash_BYTES_MIN];

	crypto_generichash(hash, sizeof(hash), count, 8, NULL, 0);
	memcpy(sum, hash, 8);
}

uint64_t store_mark_read(const char *db_path)
{
	uint8_t p[MARK_SIZE], sum[8];
	int fd = mark_file(db_path, O_RDONLY);

	if (fd < 0)
		return 0;
	ssize_t n = pread(fd, p, sizeof(p), 0);
	close(fd);
	if (n != sizeof(p))
		return 0;
	mark_sum(p, sum);
	return memcmp(sum, p + 8, sizeof(sum)) ? 0 : get_be64(p);
}

void store_mark_open(struct store_mark *m, const char *db_path)
{
	m->fd = mark_file(db_path, O_RDWR | O_CREAT);
	if (m->fd < 0)
		log_debug("store", "no mark beside the database: %s",
			  strerror(errno));
}

void store_mark_write(const struct store_mark *m, uint64_t count)
{
	uint8_t p[MARK_SIZE];

	if (m->fd < 0)
		return;
	put_be64(p, count);
	mark_sum(p, p + 8);
	/* Not synced: a power cut may leave an older one, which says less. */
	if (pwrite(m->fd, p, sizeof(p), 0) != sizeof(p))
		log_debug("store", "the mark was not written: %s",
			  strerror(errno));
}

void store_mark_close(struct store_mark *m)
{
	if (m->fd >= 0)
		close(m->fd);
	m->fd = -1;
}
