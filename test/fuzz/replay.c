/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Runs a fuzz target without a fuzzer: replay FOLDER|FILE... feeds each file
 * whole, cut at every length, and changed in ways that a fixed seed chooses.
 * The same inputs on every run and every machine. Each input stands in a
 * block of exactly its size, so that checkers see a read beyond it.
 *
 * Exit 0 when all ran, 77 (skipped) when there was no file, 1 on a file that
 * cannot be read; what the target finds ends the program.
 */
#include "test/fuzz/fuzz.h"

#include "node/base/buf.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_FILE (256u << 10) /* of a corpus file; more is cut off */
#define MAX_CUTS 512	      /* truncations per file */
#define MAX_CHANGED 512	      /* changed copies per file */
#define MAX_CHANGES 4	      /* in one copy */

static uint64_t seed;
static size_t files, inputs;

/* xorshift64: quality does not matter here, sameness does. */
static size_t pick(size_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return below ? seed % below : 0;
}

static void feed(const uint8_t *p, size_t n)
{
	uint8_t *exact = xmemdup(p, n);
	LLVMFuzzerTestOneInput(exact, n);
	free(exact);
	inputs++;
}

/* Values that decoders compare with: zero, signs, limits, msgpack heads. */
static const uint8_t edges[] = {0x00, 0x01, 0x7f, 0x80, 0x90, 0x9f, 0xc0, 0xc4,
				0xca, 0xcf, 0xd9, 0xdb, 0xdd, 0xdf, 0xfe, 0xff};

static void change(struct buf *b)
{
	const size_t at = pick(b->n);
	const size_t len = 1 + pick(b->n - at < 16 ? b->n - at : 16);
	uint8_t piece[17];

	switch (pick(6)) {
	case 0: /* one bit */
		b->p[at] ^= (uint8_t)(1u << pick(8));
		break;
	case 1:
		b->p[at] = edges[pick(sizeof(edges))];
		break;
	case 2:
		b->p[at] = (uint8_t)pick(256);
		break;
	case 3: /* a piece goes */
		memmove(b->p + at, b->p + at + len, b->n - at - len);
		b->n -= len;
		break;
	case 4: /* a piece comes twice */
		memcpy(piece, b->p + at, len);
		buf_reserve(b, len);
		memmove(b->p + at + len, b->p + at, b->n - at);
		memcpy(b->p + at, piece, len);
		b->n += len;
		break;
	case 5: /* noise at the end */
		for (size_t i = 0; i < len; i++)
			buf_u8(b, (uint8_t)pick(256));
		break;
	}
}

static void replay(const uint8_t *p, size_t n)
{
	seed = 0x9e3779b97f4a7c15u; /* for each file: none moves another */
	files++;
	feed(p, n);
	const size_t step = n / MAX_CUTS + 1;
	for (size_t cut = 0; cut < n; cut += step)
		feed(p, cut);
	for (size_t i = 0; n && i < MAX_CHANGED; i++) {
		struct buf b = {0};
		buf_add(&b, p, n);
		for (size_t k = 1 + pick(MAX_CHANGES); k && b.n; k--)
			change(&b);
		feed(b.p, b.n);
		buf_release(&b);
	}
}

static bool replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	if (!f) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return false;
	}
	uint8_t *p = xmalloc(MAX_FILE);
	const size_t n = fread(p, 1, MAX_FILE, f);
	const bool ok = !ferror(f);
	fclose(f);
	if (ok)
		replay(p, n);
	free(p);
	return ok;
}

static int visible(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

/* In order of name, so that runs are alike. */
static bool replay_folder(const char *path)
{
	struct dirent **names;
	bool ok = true;

	const int n = scandir(path, &names, visible, alphasort);
	if (n < 0)
		return errno == ENOENT;
	for (int i = 0; i < n; i++) {
		char *file = xasprintf("%s/%s", path, names[i]->d_name);
		ok &= replay_file(file);
		free(file);
		free(names[i]);
	}
	free(names);
	return ok;
}

int main(int argc, char **argv)
{
	struct stat st;
	bool ok = true;

	for (int i = 1; i < argc; i++) {
		const bool file = !stat(argv[i], &st) && S_ISREG(st.st_mode);
		ok &= file ? replay_file(argv[i]) : replay_folder(argv[i]);
	}
	printf("%zu files, %zu inputs\n", files, inputs);
	if (ok && !files) {
		puts("skipped: the corpus is empty");
		return 77;
	}
	return ok ? 0 : 1;
}
