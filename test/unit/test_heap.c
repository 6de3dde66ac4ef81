/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

#include "test/support/headers.h"

struct thing {
	int name;
	struct heap_node node;
};

#define THINGS 300

static const struct thing *top(const struct heap *h)
{
	return h->n ? HN_HEAP_OF(heap_top(h), struct thing, node) : NULL;
}

/* What a scan over all of them would find. */
static uint64_t least(const struct thing *t, size_t *n)
{
	uint64_t key = UINT64_MAX;

	*n = 0;
	for (size_t i = 0; i < THINGS; i++) {
		if (!heap_has(&t[i].node))
			continue;
		++*n;
		if (t[i].node.key < key)
			key = t[i].node.key;
	}
	return key;
}

static void test_top_is_the_least_whatever_happens(void **state)
{
	static struct thing t[THINGS];
	struct heap h = {0};
	uint64_t seed = 7;
	size_t n;

	(void)state;
	assert_null(heap_top(&h));
	for (int i = 0; i < THINGS; i++)
		t[i].name = i;
	for (int turn = 0; turn < 20000; turn++) {
		struct thing *x = &t[noise32(&seed) % THINGS];

		if (noise32(&seed) % 3)
			heap_put(&h, &x->node, noise32(&seed) % 1000);
		else
			heap_take(&h, &x->node);
		const uint64_t key = least(t, &n);

		assert_int_equal(h.n, n);
		if (n)
			assert_int_equal(top(&h)->node.key, key);
	}
	uint64_t last = 0;
	while (h.n) {
		struct thing *x = &t[top(&h)->name];

		assert_true(x->node.key >= last);
		last = x->node.key;
		heap_take(&h, &x->node);
		assert_false(heap_has(&x->node));
	}
	heap_release(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_top_is_the_least_whatever_happens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
