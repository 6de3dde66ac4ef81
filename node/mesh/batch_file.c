/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/batch_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WINDOW (256u << 10)
#define STEP_BYTES (8u << 20)

uint64_t batch_blocks_of_records(uint64_t record, uint64_t inputs)
{
	const struct batch_cut c = {.record = record, .inputs = UINT64_MAX};
	const uint64_t per = batch_record_mark(&c, 1).input;

	return inputs / per + (inputs % per != 0);
}

struct batch_mark batch_record_mark(const struct batch_cut *c, uint64_t block)
{
	uint64_t per = BATCH_BLOCK_BYTES / c->record;

	if (!per)
		per = 1;
	if (per > BATCH_BLOCK_INPUTS)
		per = BATCH_BLOCK_INPUTS;
	const uint64_t input =
	    block <= c->inputs / per ? block * per : c->inputs;

	return (struct batch_mark){input * c->record, input};
}

static void file_id(const struct stat *st, struct batch_file_id *id)
{
	id->dev = (uint64_t)st->st_dev;
	id->ino = (uint64_t)st->st_ino;
	id->size = (uint64_t)st->st_size;
	id->mtime_ns = (uint64_t)st->st_mtim.tv_sec * 1000000000 +
		       (uint64_t)st->st_mtim.tv_nsec;
}

enum err batch_file_open(const char *path, int *fd, struct batch_file_id *id,
			 struct buf *why)
{
	/* A pipe without a writer must not hold us up. */
	const int f = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (f < 0 || fstat(f, &st)) {
		buf_printf(why,
			   "the node cannot read %s: %s (it reads the file "
			   "itself, as user %u)",
			   path, strerror(errno), (unsigned)geteuid());
		if (f >= 0)
			close(f);
		return ERR_INPUT;
	}
	if (!S_ISREG(st.st_mode)) {
		buf_printf(why,
			   "%s is %s: a batch job reads a regular file, whose "
			   "parts can be read again",
			   path,
			   S_ISDIR(st.st_mode) ? "a directory"
					       : "no regular file");
		close(f);
		return ERR_INPUT;
	}
	file_id(&st, id);
	*fd = f;
	return OK;
}

bool batch_file_same(int fd, const struct batch_file_id *id)
{
	struct batch_file_id now;
	struct stat st;

	if (fstat(fd, &st))
		return false;
	file_id(&st, &now);
	return now.dev == id->dev && now.ino == id->ino &&
	       now.size == id->size && now.mtime_ns == id->mtime_ns;
}

/* --- the index --- */

static void put_leb(struct buf *b, uint64_t v)
{
	for (; v > 127; v >>= 7)
		buf_u8(b, (uint8_t)(v | 128));
	buf_u8(b, (uint8_t)v);
}

/* At most 21 bits: a block has at most a mebibyte and its newline. */
static bool get_leb(struct reader *r, uint64_t *v)
{
	*v = 0;
	for (unsigned shift = 0; shift < 21; shift += 7) {
		const uint8_t b = read_u8(r);

		*v |= (uint64_t)(b & 127) << shift;
		if (!(b & 128))
			return !r->failed;
	}
	return false;
}

size_t batch_row_marks(const void *packed, size_t n, struct batch_mark start,
		       unsigned block, size_t want, struct batch_mark *out)
{
	struct reader r = reader_of(packed, n);
	struct batch_mark m = start;
	uint64_t bytes, inputs;
	size_t got = 0;

	for (unsigned i = 0; got < want && i <= BATCH_ROW_BLOCKS; i++) {
		if (i >= block)
			out[got++] = m;
		if (!get_leb(&r, &bytes) || !get_leb(&r, &inputs) || !bytes ||
		    !inputs || inputs > BATCH_BLOCK_INPUTS ||
		    bytes > BATCH_INPUT_MAX + 1)
			break;
		m.offset += bytes;
		m.input += inputs;
	}
	return got;
}

void batch_scan_init(struct batch_scan *s, int fd, uint64_t size)
{
	*s = (struct batch_scan){.fd = fd, .size = size};
	s->window = xmalloc(WINDOW);
}

void batch_scan_release(struct batch_scan *s)
{
	free(s->window);
	buf_release(&s->row.packed);
}

struct rows {
	struct batch_row *v;
	size_t n;
};

static void row_end(struct batch_scan *s, struct rows *rows)
{
	rows->v[rows->n++] = s->row;
	s->row = (struct batch_row){.start = s->block};
}

/* The block ends in front of the line at `offset`. */
static void block_end(struct batch_scan *s, uint64_t offset, struct rows *rows)
{
	put_leb(&s->row.packed, offset - s->block.offset);
	put_leb(&s->row.packed, s->inputs - s->block.input);
	s->block = (struct batch_mark){offset, s->inputs};
	s->blocks++;
	if (++s->row.blocks == BATCH_ROW_BLOCKS)
		row_end(s, rows);
}

static void line_end(struct batch_scan *s, uint64_t next, struct rows *rows)
{
	const uint64_t inputs = s->inputs - s->block.input;

	if (inputs && (next - s->block.offset > BATCH_BLOCK_BYTES ||
		       inputs == BATCH_BLOCK_INPUTS))
		block_end(s, s->line, rows);
	s->inputs++;
	s->line = next;
}

static enum err line_too_long(const struct batch_scan *s, struct buf *why)
{
	buf_printf(why,
		   "line %" PRIu64 " is over 1 MiB, the most that an input may "
		   "have",
		   s->inputs + 1);
	return ERR_INPUT;
}

static enum err scan_window(struct batch_scan *s, size_t n, struct rows *rows,
			    struct buf *why)
{
	const uint8_t *p = s->window, *end = p + n, *nl;

	while ((nl = memchr(p, '\n', (size_t)(end - p)))) {
		const uint64_t at = s->at + (uint64_t)(nl - s->window);

		if (at - s->line > BATCH_INPUT_MAX)
			return line_too_long(s, why);
		line_end(s, at + 1, rows);
		p = nl + 1;
	}
	s->at += n;
	if (s->at - s->line > BATCH_INPUT_MAX)
		return line_too_long(s, why);
	return OK;
}

static ssize_t read_at(int fd, void *p, size_t n, uint64_t at)
{
	ssize_t got;

	do {
		got = pread(fd, p, n, (off_t)at);
	} while (got < 0 && errno == EINTR);
	return got;
}

static enum err cannot_read(ssize_t got, struct buf *why)
{
	buf_printf(why, "the input file cannot be read: %s",
		   got < 0 ? strerror(errno) : "it became shorter");
	return got < 0 ? ERR_IO : ERR_INPUT;
}

enum err batch_scan_step(struct batch_scan *s,
			 struct batch_row out[static BATCH_STEP_ROWS],
			 size_t *n, bool *end, struct buf *why)
{
	const uint64_t until =
	    s->size - s->at < STEP_BYTES ? s->size : s->at + STEP_BYTES;
	struct rows rows = {out, 0};
	enum err e = OK;

	/* The worst are empty lines: two rows in a step. */
	while (!e && s->at < until) {
		const uint64_t left = until - s->at;
		const ssize_t got =
		    read_at(s->fd, s->window,
			    left < WINDOW ? (size_t)left : WINDOW, s->at);

		e = got <= 0 ? cannot_read(got, why)
			     : scan_window(s, (size_t)got, &rows, why);
	}
	*end = s->at == s->size;
	if (!e && *end) {
		if (s->line < s->size)
			line_end(s, s->size, &rows);
		if (s->inputs > s->block.input)
			block_end(s, s->size, &rows);
		if (s->row.blocks)
			row_end(s, &rows);
	}
	*n = rows.n;
	if (!e && s->blocks > BATCH_BLOCKS_MAX) {
		buf_add_str(why, "the file is too large for one job");
		e = ERR_LIMIT;
	}
	return e;
}

/* --- the inputs between two marks --- */

void batch_reader_init(struct batch_reader *r, int fd, uint64_t record,
		       struct batch_mark from, struct batch_mark to)
{
	*r = (struct batch_reader){.fd = fd,
				   .record = record,
				   .at = from.offset,
				   .end = to.offset,
				   .left = record};
}

void batch_reader_release(struct batch_reader *r)
{
	buf_release(&r->window);
}

bool batch_reader_dry(const struct batch_reader *r)
{
	return r->used == r->window.n && r->at < r->end;
}

bool batch_reader_ended(const struct batch_reader *r)
{
	return r->used == r->window.n && r->at == r->end && !r->begun;
}

enum err batch_reader_fill(struct batch_reader *r, struct buf *why)
{
	const uint64_t left = r->end - r->at;
	const size_t want = left < WINDOW ? (size_t)left : WINDOW;

	buf_clear(&r->window);
	buf_reserve(&r->window, want);
	r->used = 0;
	const ssize_t got = read_at(r->fd, r->window.p, want, r->at);

	if (got <= 0)
		return cannot_read(got, why);
	r->window.n = (size_t)got;
	r->at += (uint64_t)got;
	return OK;
}

/* One piece of what is in the window. */
static struct batch_piece cut_line(struct batch_reader *r, size_t most)
{
	const uint8_t *p = r->window.p + r->used;
	const size_t left = r->window.n - r->used;
	const size_t look = left < most + 1 ? left : most + 1;
	const uint8_t *nl = memchr(p, '\n', look);
	struct batch_piece piece = {p, nl ? (size_t)(nl - p) : look, !nl};

	if (piece.n > most)
		piece.n = most;
	r->used += piece.n + (nl != NULL);
	return piece;
}

static struct batch_piece cut_record(struct batch_reader *r, size_t most)
{
	const size_t left = r->window.n - r->used;
	struct batch_piece piece = {.p = r->window.p + r->used};

	piece.n = r->left < left ? (size_t)r->left : left;
	if (piece.n > most)
		piece.n = most;
	r->left -= piece.n;
	piece.more = r->left > 0;
	if (!piece.more)
		r->left = r->record;
	r->used += piece.n;
	return piece;
}

size_t batch_reader_cut(struct batch_reader *r, struct batch_piece *out,
			size_t max, size_t most, size_t bytes)
{
	size_t n = 0;

	while (n < max && bytes && r->used < r->window.n) {
		const size_t room = bytes < most ? bytes : most;

		out[n] = r->record ? cut_record(r, room) : cut_line(r, room);
		bytes -= out[n].n;
		r->begun = out[n].more;
		r->inputs += !out[n++].more;
	}
	/* The last line of a file may have no newline. */
	if (n < max && r->begun && !r->record && r->used == r->window.n &&
	    r->at == r->end) {
		out[n++] = (struct batch_piece){(const uint8_t *)"", 0, false};
		r->begun = false;
		r->inputs++;
	}
	return n;
}

struct wanted {
	const uint32_t *at;
	size_t i, n;
	struct buf input;
	void (*fn)(void *arg, size_t i, const void *p, size_t n);
	void *arg;
};

static void pick(struct wanted *w, uint64_t index, const struct batch_piece *p)
{
	if (w->i == w->n || index != w->at[w->i])
		return;
	if (p->more || w->input.n)
		buf_add(&w->input, p->p, p->n);
	if (p->more)
		return;
	const bool whole = w->input.n == 0;

	w->fn(w->arg, w->i++, whole ? p->p : w->input.p,
	      whole ? p->n : w->input.n);
	buf_clear(&w->input);
}

enum err batch_inputs(int fd, uint64_t record, struct batch_mark from,
		      struct batch_mark to, const uint32_t *at, size_t n,
		      void (*fn)(void *arg, size_t i, const void *p, size_t n),
		      void *arg, struct buf *why)
{
	struct wanted w = {.at = at, .n = n, .fn = fn, .arg = arg};
	struct batch_piece pieces[256];
	struct batch_reader r;
	enum err e = OK;
	size_t k;

	batch_reader_init(&r, fd, record, from, to);
	while (!e && w.i < n && !batch_reader_ended(&r)) {
		if (batch_reader_dry(&r))
			e = batch_reader_fill(&r, why);
		if (e)
			break;
		uint64_t index = r.inputs;

		k = batch_reader_cut(&r, pieces, HN_COUNT(pieces),
				     BATCH_INPUT_MAX, SIZE_MAX);
		if (!k) /* a record without its end */
			break;
		for (size_t i = 0; i < k; i++) {
			pick(&w, index, &pieces[i]);
			index += !pieces[i].more;
		}
	}
	if (!e && w.i < n) {
		buf_add_str(why, "the input file has changed");
		e = ERR_INPUT;
	}
	batch_reader_release(&r);
	buf_release(&w.input);
	return e;
}

/* --- OUT --- */

#define HEX_LINE 65

uint64_t batch_sink_size(const struct batch_sink *o)
{
	return o->inputs * (o->hex ? HEX_LINE : 32);
}

static char *part_path(const struct batch_sink *o)
{
	return xasprintf("%s.part-%08" PRIx32, o->path, (uint32_t)o->key);
}

static enum err out_fail(const char *path, const char *doing, struct buf *why)
{
	buf_printf(why, "the result cannot be %s %s: %s", doing, path,
		   strerror(errno));
	if (errno == ENOSPC || errno == EDQUOT)
		buf_add_str(why, "; free some space there");
	return errno == EEXIST ? ERR_EXISTS : ERR_IO;
}

/* A rename would replace it only at the end, hours later. */
static enum err out_vacant(const struct batch_sink *o,
			   const struct batch_file_id *input, struct buf *why)
{
	struct stat st;

	if (lstat(o->path, &st))
		return errno == ENOENT ? OK
				       : out_fail(o->path, "written to", why);
	if (S_ISDIR(st.st_mode)) {
		buf_printf(why, "--out %s is a directory: name a file in it",
			   o->path);
		return ERR_INPUT;
	}
	if ((uint64_t)st.st_dev == input->dev &&
	    (uint64_t)st.st_ino == input->ino) {
		buf_printf(why, "--out %s is the input file itself", o->path);
		return ERR_INPUT;
	}
	if (!o->force) {
		buf_printf(why, "%s exists: --force replaces it", o->path);
		return ERR_EXISTS;
	}
	return OK;
}

/* All the room at once where the file system can, so that a full disk is
 * known before the work is done. */
static bool make_room(int fd, uint64_t size)
{
	if (!size)
		return true;
	if (size > INT64_MAX) {
		errno = EFBIG;
		return false;
	}
	if (!fallocate(fd, 0, 0, (off_t)size))
		return true;
	if (errno != EOPNOTSUPP && errno != ENOSYS)
		return false;
	return !ftruncate(fd, (off_t)size);
}

enum err batch_sink_create(struct batch_sink *o,
			   const struct batch_file_id *input, struct buf *why)
{
	enum err e = out_vacant(o, input, why);
	struct stat st;

	if (e)
		return e;
	char *part = part_path(o);
	const int fd =
	    open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

	if (fd < 0) {
		e = out_fail(part, "written to", why);
	} else if (!make_room(fd, batch_sink_size(o)) || fstat(fd, &st)) {
		e = out_fail(part, "written to", why);
		unlink(part);
	} else {
		o->dev = (uint64_t)st.st_dev;
		o->ino = (uint64_t)st.st_ino;
	}
	if (fd >= 0)
		close(fd);
	free(part);
	return e;
}

static bool is_ours(const struct batch_sink *o, const struct stat *st)
{
	return S_ISREG(st->st_mode) && (uint64_t)st->st_dev == o->dev &&
	       (uint64_t)st->st_ino == o->ino &&
	       (uint64_t)st->st_size == batch_sink_size(o);
}

static int open_ours(const struct batch_sink *o, const char *path)
{
	const int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;

	if (fd < 0)
		return -1;
	if (!fstat(fd, &st) && is_ours(o, &st))
		return fd;
	close(fd);
	errno = ENOENT;
	return -1;
}

enum err batch_sink_open(const struct batch_sink *o, int *fd, struct buf *why)
{
	char *part = part_path(o);

	*fd = open_ours(o, part);
	if (*fd < 0 && errno == ENOENT)
		*fd = open_ours(o, o->path); /* it has its name already */
	if (*fd < 0)
		out_fail(part, "written on to", why);
	free(part);
	return *fd < 0 ? ERR_IO : OK;
}

static bool write_at(int fd, const void *from, size_t n, uint64_t at)
{
	const uint8_t *p = from;

	while (n) {
		const ssize_t done = pwrite(fd, p, n, (off_t)at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return false;
		p += done;
		n -= (size_t)done;
		at += (uint64_t)done;
	}
	return true;
}

static bool write_hex(int fd, uint64_t first, const uint8_t (*digests)[32],
		      size_t n)
{
	char lines[512 * HEX_LINE + 1];

	while (n) {
		const size_t k = n < 512 ? n : 512;

		for (size_t i = 0; i < k; i++) {
			hex_encode(digests[i], 32, lines + i * HEX_LINE);
			lines[i * HEX_LINE + 64] = '\n';
		}
		if (!write_at(fd, lines, k * HEX_LINE, first * HEX_LINE))
			return false;
		digests += k;
		first += k;
		n -= k;
	}
	return true;
}

enum err batch_sink_write(const struct batch_sink *o, int fd, uint64_t first,
			  const uint8_t (*digests)[32], size_t n,
			  struct buf *why)
{
	const bool done = o->hex ? write_hex(fd, first, digests, n)
				 : write_at(fd, digests, n * 32, first * 32);

	if (!done || fdatasync(fd))
		return out_fail(o->path, "written to", why);
	return OK;
}

static void sync_folder(const char *path)
{
	char *folder = xstrdup(path);
	char *slash = strrchr(folder, '/');

	if (slash)
		slash[slash == folder] = 0;
	const int fd = open(slash ? folder : ".", O_RDONLY | O_CLOEXEC);

	/* Some file systems cannot: then the name is as safe as they make it.
	 */
	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
	free(folder);
}

static bool give_name(const struct batch_sink *o, const char *part)
{
	if (o->force)
		return !rename(part, o->path);
	/* link() never replaces, on every file system that has it. */
	if (!link(part, o->path))
		return !unlink(part);
	if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS)
		return false;
	if (!access(o->path, F_OK)) {
		errno = EEXIST;
		return false;
	}
	return !rename(part, o->path);
}

enum err batch_sink_finish(const struct batch_sink *o, struct buf *why)
{
	char *part = part_path(o);
	struct stat st;
	enum err e = OK;

	if (!stat(o->path, &st) && is_ours(o, &st))
		unlink(part); /* a crash between link and unlink leaves both */
	else if (!give_name(o, part))
		e = out_fail(o->path, "given its name", why);
	sync_folder(o->path);
	free(part);
	return e;
}

void batch_sink_discard(const struct batch_sink *o)
{
	char *part = part_path(o);

	unlink(part);
	free(part);
}
