/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/kind.h"

#include <stdlib.h>
#include <string.h>

const struct kind *const kind_list[KIND_COUNT] = {&kind_search, &kind_batch};

const struct kind *kind_find(const char *name)
{
	for (size_t i = 0; name && i < KIND_COUNT; i++)
		if (!strcmp(kind_list[i]->name, name))
			return kind_list[i];
	return NULL;
}

void hits_release(struct hits *h)
{
	free(h->v);
	*h = (struct hits){0};
}
