/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/batch_file.h"

#include "test/support/temp.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct world {
	const char *dir;
	char *path;
	int fd;
	struct batch_file_id id;
	struct batch_row rows[64];
	size_t nrows;
	uint64_t inputs, blocks;
	struct buf why;
};

static void world_write(struct world *w, const void *p, size_t n)
{
	FILE *f = fopen(w->path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(p, 1, n, f), n);
	fclose(f);
	assert_int_equal(batch_file_open(w->path, &w->fd, &w->id, &w->why), OK);
	assert_int_equal(w->id.size, n);
}

static enum err world_scan(struct world *w)
{
	struct batch_scan s;
	bool end = false;
	enum err e = OK;

	batch_scan_init(&s, w->fd, w->id.size);
	while (!e && !end) {
		size_t n = 0;

		e = batch_scan_step(&s, w->rows + w->nrows, &n, &end, &w->why);
		w->nrows += n;
		assert_true(w->nrows + BATCH_STEP_ROWS <= HN_COUNT(w->rows));
	}
	w->inputs = s.inputs;
	w->blocks = s.blocks;
	batch_scan_release(&s);
	return e;
}

static int setup(void **state)
{
	struct world *w = HN_NEW(struct world);

	temp_make();
	w->dir = temp_dir;
	w->path = xasprintf("%s/in", w->dir);
	w->fd = -1;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	if (w->fd >= 0)
		close(w->fd);
	for (size_t i = 0; i < w->nrows; i++)
		buf_release(&w->rows[i].packed);
	buf_release(&w->why);
	temp_remove();
	free(w->path);
	free(w);
	return 0;
}

static struct batch_mark mark_of(const struct world *w, uint64_t block)
{
	struct batch_mark m = {0, 0};
	uint64_t row = block / BATCH_ROW_BLOCKS;

	if (row == w->nrows)
		return (struct batch_mark){w->id.size, w->inputs};
	const struct batch_row *r = &w->rows[row];

	assert_int_equal(batch_row_marks(r->packed.p, r->packed.n, r->start,
					 block % BATCH_ROW_BLOCKS, 1, &m),
			 1);
	return m;
}

/* All inputs of all blocks, each followed by a comma. */
static char *world_inputs(struct world *w, size_t most, size_t bytes)
{
	struct buf out = {0};

	for (uint64_t k = 0; k < w->blocks; k++) {
		const struct batch_mark a = mark_of(w, k),
					b = mark_of(w, k + 1);
		struct batch_piece pieces[7];
		struct batch_reader r;

		assert_true(a.offset < b.offset && a.input < b.input);
		assert_true(b.input - a.input <= BATCH_BLOCK_INPUTS);
		assert_true(b.offset - a.offset <= BATCH_BLOCK_BYTES ||
			    b.input - a.input == 1);
		batch_reader_init(&r, w->fd, 0, a, b);
		while (!batch_reader_ended(&r)) {
			if (batch_reader_dry(&r))
				assert_int_equal(batch_reader_fill(&r, &w->why),
						 OK);
			size_t n = batch_reader_cut(&r, pieces, 7, most, bytes);

			for (size_t i = 0; i < n; i++) {
				assert_true(pieces[i].n <= most);
				buf_add(&out, pieces[i].p, pieces[i].n);
				if (!pieces[i].more)
					buf_u8(&out, ',');
			}
		}
		assert_int_equal(r.inputs, b.input - a.input);
		batch_reader_release(&r);
	}
	buf_u8(&out, 0);
	return (char *)buf_take(&out, &(size_t){0});
}

static void expect(struct world *w, const char *text, const char *want)
{
	world_write(w, text, strlen(text));
	assert_int_equal(world_scan(w), OK);
	for (size_t most = 1; most < 9; most++) {
		char *got = world_inputs(w, most, 3 * most);

		assert_string_equal(got, want);
		free(got);
	}
}

static void test_lines(void **state)
{
	expect(*state, "a\nbb\n\n\nccc ccc ccc\r\nlast",
	       "a,bb,,,ccc ccc ccc\r,last,");
}

static void test_a_final_newline_begins_no_input(void **state)
{
	expect(*state, "one\n", "one,");
}

static void test_one_empty_line(void **state)
{
	expect(*state, "\n", ",");
}

static void test_an_empty_file_has_none(void **state)
{
	struct world *w = *state;

	expect(w, "", "");
	assert_int_equal(w->inputs, 0);
	assert_int_equal(w->blocks, 0);
	assert_int_equal(w->nrows, 0);
}

static void test_blocks_end_at_bytes_and_at_inputs(void **state)
{
	struct world *w = *state;
	struct buf b = {0};

	/* 3000 empty ones; 40 KiB twice; a mebibyte; two small ones. */
	for (int i = 0; i < 3000; i++)
		buf_u8(&b, '\n');
	for (int k = 0; k < 2; k++) {
		for (int i = 0; i < 40 << 10; i++)
			buf_u8(&b, 'x');
		buf_u8(&b, '\n');
	}
	for (unsigned i = 0; i < BATCH_INPUT_MAX; i++)
		buf_u8(&b, (uint8_t)(i % 251 == 10 ? 0 : i % 251));
	buf_add_str(&b, "\nu\nv");
	world_write(w, b.p, b.n);
	assert_int_equal(world_scan(w), OK);
	assert_int_equal(w->inputs, 3005);
	static const uint64_t begins[] = {0,	1024, 2048, 3001,
					  3002, 3003, 3005};

	assert_int_equal(w->blocks, HN_COUNT(begins) - 1);
	for (size_t i = 0; i < HN_COUNT(begins); i++)
		assert_int_equal(mark_of(w, i).input, begins[i]);
	buf_release(&b);
}

static void test_many_rows(void **state)
{
	struct world *w = *state;
	const size_t lines =
	    (2 * BATCH_ROW_BLOCKS + 5) * BATCH_BLOCK_INPUTS + 3;
	char *text = xmalloc(lines);

	memset(text, '\n', lines);
	world_write(w, text, lines);
	assert_int_equal(world_scan(w), OK);
	assert_int_equal(w->inputs, lines);
	assert_int_equal(w->nrows, 3);
	assert_int_equal(w->rows[2].blocks, 6);
	assert_int_equal(mark_of(w, 2 * BATCH_ROW_BLOCKS + 5).offset,
			 lines - 3);
	/* Those of a row, and the end of it, which is the next one's begin. */
	struct batch_mark marks[8];

	assert_int_equal(batch_row_marks(w->rows[0].packed.p,
					 w->rows[0].packed.n, w->rows[0].start,
					 BATCH_ROW_BLOCKS - 2, 8, marks),
			 3);
	assert_int_equal(marks[2].offset, w->rows[1].start.offset);
	free(text);
}

static void test_a_long_line_is_named(void **state)
{
	struct world *w = *state;
	char *text = xmalloc(BATCH_INPUT_MAX + 8);

	memset(text, 'x', BATCH_INPUT_MAX + 8);
	text[1] = text[3] = '\n';
	world_write(w, text, BATCH_INPUT_MAX + 5);
	assert_int_equal(world_scan(w), ERR_INPUT);
	assert_non_null(strstr(buf_str(&w->why), "line 3 is over 1 MiB"));
	free(text);
}

static void test_a_row_of_other_bytes_is_none(void **state)
{
	static const uint8_t bad[][4] = {{0, 1}, {1, 0}, {0xff, 0xff, 0xff, 1}};
	struct batch_mark marks[3];

	(void)state;
	for (size_t i = 0; i < HN_COUNT(bad); i++)
		assert_int_equal(batch_row_marks(bad[i], sizeof(bad[i]),
						 (struct batch_mark){0, 0}, 1,
						 2, marks),
				 0);
	assert_int_equal(batch_row_marks("\x05\x02\x07", 3,
					 (struct batch_mark){3, 4}, 0, 3,
					 marks),
			 2);
	assert_int_equal(marks[1].offset, 8);
	assert_int_equal(marks[1].input, 6);
}

static void test_records(void **state)
{
	struct batch_cut c = {.record = 80, .inputs = 5000};

	(void)state;
	c.blocks = batch_blocks_of_records(80, 5000);
	assert_int_equal(c.blocks, 7); /* 819 of 80 bytes are 64 KiB */
	assert_int_equal(batch_record_mark(&c, 1).input, 819);
	assert_int_equal(batch_record_mark(&c, 1).offset, 819 * 80);
	assert_int_equal(batch_record_mark(&c, 7).input, 5000);
	assert_int_equal(batch_blocks_of_records(1, 1025), 2);
	assert_int_equal(batch_blocks_of_records(1 << 20, 3), 3);
	assert_int_equal(batch_blocks_of_records(9, 0), 0);
}

struct seen {
	char text[64];
};

static void on_wanted(void *arg, size_t i, const void *p, size_t n)
{
	struct seen *s = arg;

	snprintf(s->text + strlen(s->text), 32, "%zu:%.*s ", i, (int)n,
		 (const char *)p);
}

static void test_wanted_inputs(void **state)
{
	struct world *w = *state;
	static const uint32_t wanted[] = {1, 3, 4};
	struct seen s = {""};

	world_write(w, "a\nbb\nccc\n\nlast", 14);
	assert_int_equal(batch_inputs(w->fd, 0, (struct batch_mark){0, 0},
				      (struct batch_mark){14, 5}, wanted, 3,
				      on_wanted, &s, &w->why),
			 OK);
	assert_string_equal(s.text, "0:bb 1: 2:last ");
	*s.text = 0;
	assert_int_equal(batch_inputs(w->fd, 7, (struct batch_mark){0, 0},
				      (struct batch_mark){14, 2}, wanted, 1,
				      on_wanted, &s, &w->why),
			 OK);
	assert_string_equal(s.text, "0:c\n\nlast ");
	/* One that the file has no more. */
	assert_int_equal(batch_inputs(w->fd, 0, (struct batch_mark){0, 0},
				      (struct batch_mark){9, 3}, wanted, 3,
				      on_wanted, &s, &w->why),
			 ERR_INPUT);
}

static void test_what_is_no_file(void **state)
{
	struct world *w = *state;
	struct batch_file_id id;
	int fd;

	assert_int_equal(batch_file_open(w->path, &fd, &id, &w->why),
			 ERR_INPUT);
	assert_non_null(strstr(buf_str(&w->why), "No such file"));
	buf_clear(&w->why);
	assert_int_equal(batch_file_open(w->dir, &fd, &id, &w->why), ERR_INPUT);
	assert_non_null(strstr(buf_str(&w->why), "is a directory"));
	buf_clear(&w->why);
	assert_int_equal(mkfifo(w->path, 0600), 0);
	assert_int_equal(batch_file_open(w->path, &fd, &id, &w->why),
			 ERR_INPUT);
	assert_non_null(strstr(buf_str(&w->why), "no regular file"));
	unlink(w->path);
}

static void test_a_changed_file_is_seen(void **state)
{
	struct world *w = *state;

	world_write(w, "abc\n", 4);
	assert_true(batch_file_same(w->fd, &w->id));
	const int fd = open(w->path, O_WRONLY | O_APPEND);

	assert_int_equal(write(fd, "d", 1), 1);
	close(fd);
	assert_false(batch_file_same(w->fd, &w->id));
}

/* --- OUT --- */

static struct batch_sink sink_of(struct world *w, uint64_t inputs, bool hex)
{
	free(w->path);
	w->path = xasprintf("%s/out", w->dir);
	return (struct batch_sink){
	    .path = w->path, .key = 0xabc, .inputs = inputs, .hex = hex};
}

static void fill(uint8_t (*d)[32], size_t n)
{
	for (size_t i = 0; i < n; i++)
		memset(d[i], (int)(i % 256), 32);
}

static void test_digests_stand_at_their_places(void **state)
{
	struct world *w = *state;
	static uint8_t d[1500][32], got[1500 * 65];
	char line[66];

	fill(d, 1500);
	for (int hex = 0; hex < 2; hex++) {
		struct batch_sink o = sink_of(w, 1500, hex);
		int fd;

		assert_int_equal(batch_sink_create(&o, &w->id, &w->why), OK);
		assert_int_equal(batch_sink_open(&o, &fd, &w->why), OK);
		/* The later ones first. */
		assert_int_equal(batch_sink_write(&o, fd, 900,
						  (const uint8_t(*)[32])d + 900,
						  600, &w->why),
				 OK);
		assert_int_equal(batch_sink_write(&o, fd, 0,
						  (const uint8_t(*)[32])d, 900,
						  &w->why),
				 OK);
		close(fd);
		assert_int_not_equal(access(w->path, F_OK), 0);
		assert_int_equal(batch_sink_finish(&o, &w->why), OK);
		assert_int_equal(batch_sink_finish(&o, &w->why), OK);
		/* A crash behind the renaming goes on with the named one. */
		assert_int_equal(batch_sink_open(&o, &fd, &w->why), OK);
		close(fd);
		fd = open(w->path, O_RDONLY);
		assert_int_equal(read(fd, got, sizeof(got)),
				 (ssize_t)batch_sink_size(&o));
		close(fd);
		for (size_t i = 0; i < 1500; i++) {
			hex_encode(d[i], 32, line);
			line[64] = '\n';
			if (hex)
				assert_memory_equal(got + i * 65, line, 65);
			else
				assert_memory_equal(got + i * 32, d[i], 32);
		}
		unlink(w->path);
	}
}

static void test_out_is_not_replaced(void **state)
{
	struct world *w = *state;
	struct batch_sink o = sink_of(w, 4, false);
	int fd = open(w->path, O_CREAT | O_WRONLY, 0600);

	close(fd);
	assert_int_equal(batch_sink_create(&o, &w->id, &w->why), ERR_EXISTS);
	assert_non_null(strstr(buf_str(&w->why), "--force"));
	/* It comes while the job runs. */
	unlink(w->path);
	assert_int_equal(batch_sink_create(&o, &w->id, &w->why), OK);
	fd = open(w->path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	buf_clear(&w->why);
	assert_int_equal(batch_sink_finish(&o, &w->why), ERR_EXISTS);
	o.force = true;
	assert_int_equal(batch_sink_finish(&o, &w->why), OK);
	struct stat st;

	assert_int_equal(stat(w->path, &st), 0);
	assert_int_equal(st.st_size, 128);
	/* Replacing the input would be a mistake in any case. */
	w->id.dev = (uint64_t)st.st_dev;
	w->id.ino = (uint64_t)st.st_ino;
	assert_int_equal(batch_sink_create(&o, &w->id, &w->why), ERR_INPUT);
	unlink(w->path);
}

static void test_out_that_cannot_be(void **state)
{
	struct world *w = *state;
	struct batch_sink o = {.path = w->dir, .inputs = 1};
	int fd;

	assert_int_equal(batch_sink_create(&o, &w->id, &w->why), ERR_INPUT);
	o.path = "/nowhere/at/all";
	assert_int_equal(batch_sink_create(&o, &w->id, &w->why), ERR_IO);
	/* The temporary one was removed. */
	o = sink_of(w, 4, false);
	assert_int_equal(batch_sink_create(&o, &w->id, &w->why), OK);
	batch_sink_discard(&o);
	batch_sink_discard(&o);
	assert_int_equal(batch_sink_open(&o, &fd, &w->why), ERR_IO);
}

static void test_no_room_is_known_before_the_work(void **state)
{
	struct world *w = *state;
	struct batch_sink o = sink_of(w, 1 << 20, false);
	struct rlimit old, tight = {1 << 20, RLIM_INFINITY};

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	tight.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
	const enum err e = batch_sink_create(&o, &w->id, &w->why);

	setrlimit(RLIMIT_FSIZE, &old);
	assert_int_equal(e, ERR_IO);
	assert_non_null(strstr(buf_str(&w->why), "too large"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_lines),
	    T(test_a_final_newline_begins_no_input),
	    T(test_one_empty_line),
	    T(test_an_empty_file_has_none),
	    T(test_blocks_end_at_bytes_and_at_inputs),
	    T(test_many_rows),
	    T(test_a_long_line_is_named),
	    T(test_a_row_of_other_bytes_is_none),
	    T(test_records),
	    T(test_wanted_inputs),
	    T(test_what_is_no_file),
	    T(test_a_changed_file_is_seen),
	    T(test_digests_stand_at_their_places),
	    T(test_out_is_not_replaced),
	    T(test_out_that_cannot_be),
	    T(test_no_room_is_known_before_the_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
