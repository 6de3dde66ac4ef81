/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/digest_look.h"

#include "asic/batch.h"
#include "node/base/mem.h"

#include <sodium.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

void digest_hash(const struct bytes *msgs, size_t n, uint8_t (*out)[32])
{
	batch_digests(NULL, msgs, n, 1, out);
}

static uint64_t random_bits(void *arg)
{
	uint64_t v;

	(void)arg;
	randombytes_buf(&v, sizeof(v));
	return v;
}

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void open_too(struct digest_look *l, uint32_t place, const void *p,
		     size_t n)
{
	/* The last one gives way to a wrong one, which itself stays. */
	if (l->nopen == DIGEST_OPEN_MAX && l->wrong)
		return;
	if (l->nopen == DIGEST_OPEN_MAX)
		l->nopen--;
	l->open[l->nopen] = place;
	merkle_leaf(p, n, l->leaves[l->nopen++]);
}

/* The places of one block, from `at` on. */
struct part {
	struct digest_look *l;
	size_t at;
};

static void on_input(void *arg, size_t i, const void *p, size_t n)
{
	const struct part *part = arg;
	struct digest_look *l = part->l;
	const struct bytes input = {n ? p : (const uint8_t *)"", n};
	const size_t stride = l->nplaces / DIGEST_OPEN_MAX + 1;
	const uint32_t place = l->places[part->at + i];
	uint8_t digest[1][32];

	batch_digests(NULL, &input, 1, (int)l->answer->rounds, digest);
	const bool right = !memcmp(digest[0], l->digests[place], 32);

	if ((part->at + i) % stride == 0 || (!right && !l->wrong))
		open_too(l, place, input.p, n);
	if (right || l->wrong)
		return;
	l->wrong = true;
	l->wrong_open = l->nopen - 1;
	buf_add(&l->input, input.p, n);
}

/* Reads the blocks again that have places in them. */
static enum err look_at_places(struct digest_look *l)
{
	struct part part = {l, 0};
	enum err e = OK;

	for (size_t k = 0; !e && k + 1 < l->nmarks; k++) {
		const uint64_t zero = l->marks[0].input;
		const uint64_t base = l->marks[k].input - zero;
		const uint64_t next = l->marks[k + 1].input - zero;
		uint32_t wanted[BATCH_BLOCK_INPUTS];
		size_t n = 0;

		while (part.at + n < l->nplaces &&
		       l->places[part.at + n] < next &&
		       n < BATCH_BLOCK_INPUTS) {
			wanted[n] = l->places[part.at + n] - (uint32_t)base;
			n++;
		}
		if (!n)
			continue;
		e = batch_inputs(l->fd, l->spec->record, l->marks[k],
				 l->marks[k + 1], wanted, n, on_input, &part,
				 &l->why);
		part.at += n;
	}
	return e;
}

/* The way from the wrong digest up to the root. */
static void find_path(struct digest_look *l)
{
	struct merkle *t = merkle_of_digests(l->digests, l->n, digest_hash);

	l->npath = merkle_path(t, l->open[l->wrong_open], l->path);
	merkle_free(t);
}

static bool is_signed(const struct digest_look *l)
{
	struct merkle *t = merkle_of_digests(l->digests, l->n, digest_hash);
	const bool same = !memcmp(merkle_root(t), l->answer->root, MERKLE_SIZE);

	merkle_free(t);
	return same && digest_answer_verify(l->answer, l->worker, l->sig);
}

void digest_look_run(struct digest_look *l)
{
	const struct batch_file_id id = batch_spec_id(l->spec);

	if (!is_signed(l)) {
		l->e = ERR_CRYPTO;
		return;
	}
	const uint64_t begin = cpu_ns();

	l->places = xcalloc(l->want, sizeof(*l->places));
	l->nplaces = l->want;
	digest_draw(l->n, l->want, random_bits, NULL, l->places);
	l->e = look_at_places(l);
	if (!l->e && !batch_file_same(l->fd, &id)) {
		buf_add_str(&l->why, "the input file has changed since the "
				     "job was submitted: submit it again");
		l->e = ERR_INPUT;
	}
	l->spent_ns = cpu_ns() - begin;
	if (l->wrong)
		find_path(l);
}

void digest_look_release(struct digest_look *l)
{
	buf_release(&l->why);
	buf_release(&l->input);
	free(l->places);
}

bool digest_look_opened(const struct digest_look *l,
			const struct hash_digested *r)
{
	const struct digest_opened *o = r->opened.items;

	if (r->count != l->n || r->opened.n != l->nopen)
		return false;
	for (size_t i = 0; i < l->nopen; i++) {
		const void *path = o[i].path.p;

		if (o[i].at != l->open[i] || o[i].path.n % MERKLE_SIZE ||
		    !merkle_proves(l->answer->inputs, l->n, l->open[i],
				   l->leaves[i], path,
				   o[i].path.n / MERKLE_SIZE))
			return false;
	}
	return true;
}
