/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "test/fuzz/fuzz.h"

#include "node/base/json.h"

#include <assert.h>
#include <string.h>

static bool look(const char *key, const struct json *v, void *arg)
{
	(void)arg;
	assert(key && v && strlen(key) < JSON_MAX_TEXT);
	return true;
}

/* What is read can be written, on one line, and read again to the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf why = {0}, once = {0}, twice = {0};
	struct json *j, *again;

	enum err e = json_parse((const char *)data, size, &why, &j);
	assert((e != OK) == (why.n > 0));
	if (e) {
		assert(e == ERR_INPUT || e == ERR_LIMIT);
		goto out;
	}
	json_each(j, look, NULL);
	json_write(j, &once);
	assert(!memchr(once.p, '\n', once.n) && !memchr(once.p, 0, once.n));
	/* Escaping may lengthen a text beyond what is read. */
	if (once.n <= JSON_MAX_TEXT) {
		e = json_parse((const char *)once.p, once.n, &why, &again);
		assert(!e);
		json_write(again, &twice);
		assert(twice.n == once.n && !memcmp(twice.p, once.p, once.n));
		json_free(again);
	}
	json_free(j);
out:
	buf_release(&why);
	buf_release(&once);
	buf_release(&twice);
	return 0;
}
