/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/kind.h"

#include <stdlib.h>

const struct kind *const kind_list[KIND_COUNT] = {&kind_search};

void hits_release(struct hits *h)
{
	free(h->v);
	*h = (struct hits){0};
}
