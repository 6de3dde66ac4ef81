/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A row of a batch's index of any bytes: marks ascend, and stay below what a
 * block may have. Then the same bytes as a file: every input is cut off once,
 * whatever the pieces.
 */
#include "test/fuzz/fuzz.h"

#include "node/mesh/batch_file.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct batch_mark marks[BATCH_ROW_BLOCKS + 1];
	const struct batch_mark start = {7, 3};
	const unsigned from = size ? data[0] % 5 : 0;
	const size_t n =
	    batch_row_marks(data, size, start, from, HN_COUNT(marks), marks);

	assert(n <= size / 2 + 1);
	for (size_t i = 1; i < n; i++) {
		const uint64_t bytes = marks[i].offset - marks[i - 1].offset;
		const uint64_t inputs = marks[i].input - marks[i - 1].input;

		assert(bytes && bytes <= BATCH_INPUT_MAX + 1);
		assert(inputs && inputs <= BATCH_BLOCK_INPUTS);
	}

	/* The reader, with all in its first window. */
	struct batch_reader r;
	const uint64_t record = size ? data[size - 1] % 9 : 0;
	const uint64_t whole = record ? size - size % record : size;
	size_t lines = 0, cut = 0, bytes = 0, k;
	struct batch_piece pieces[3];

	batch_reader_init(&r, -1, record, (struct batch_mark){0, 0},
			  (struct batch_mark){whole, 0});
	buf_add(&r.window, data, whole);
	r.at = whole;
	while ((k = batch_reader_cut(&r, pieces, 3, 1 + size % 7, 11))) {
		for (size_t i = 0; i < k; i++) {
			cut += !pieces[i].more;
			bytes += pieces[i].n;
		}
	}
	assert(batch_reader_ended(&r));
	for (size_t i = 0; i < whole; i++)
		lines += data[i] == '\n';
	if (record) {
		assert(cut == whole / record && bytes == whole);
	} else {
		assert(bytes == whole - lines);
		assert(cut == lines + (whole && data[whole - 1] != '\n'));
	}
	batch_reader_release(&r);
	return 0;
}
