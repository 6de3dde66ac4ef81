/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/err.h"

#include <string.h>

static const struct row {
	enum err code;
	const char *name;
	int exit, http;
	const char *text;
} rows[] = {
#define X(code, num, name, exit, http, text) {code, name, exit, http, text},
    ERR_LIST(X)
#undef X
};

#define NROWS (sizeof(rows) / sizeof(rows[0]))

static const struct row *row_of(enum err e)
{
	for (size_t i = 0; i < NROWS; i++)
		if (rows[i].code == e)
			return &rows[i];
	return row_of(ERR_INTERNAL);
}

const char *err_name(enum err e)
{
	return row_of(e)->name;
}

const char *err_str(enum err e)
{
	return row_of(e)->text;
}

int err_exit(enum err e)
{
	return row_of(e)->exit;
}

int err_http(enum err e)
{
	return row_of(e)->http;
}

enum err err_from_name(const char *name)
{
	for (size_t i = 0; i < NROWS; i++)
		if (!strcmp(rows[i].name, name))
			return rows[i].code;
	return ERR_INTERNAL;
}

enum err err_from_wire(unsigned long long number)
{
	return number < NROWS ? rows[number].code : ERR_INTERNAL;
}
