/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An invite's word and what stands in it, from anybody's clipboard; the first
 * byte says which: the word itself, the bytes inside a word with a good
 * checksum, a certificate, or an address.
 */
#include "node/base/cert.h"
#include "node/base/word.h"
#include "node/mesh/address.h"
#include "node/mesh/invite.h"
#include "test/fuzz/fuzz.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void read_word(const char *word)
{
	struct arena a = {0};
	struct buf why = {0}, again = {0};
	struct invite i, back;

	enum err e = invite_read(word, &a, &i, &why);
	assert(e == OK || e == ERR_INPUT);
	assert(e == OK || why.n);
	if (!e) {
		/* What was read is written and read again the same. */
		invite_word(&i, &again);
		e = invite_read(buf_str(&again), &a, &back, &why);
		assert(!e && !memcmp(i.secret, back.secret, 16) &&
		       i.address.n == back.address.n);
	}
	buf_release(&again);
	buf_release(&why);
	arena_release(&a);
}

static void read_inside(const uint8_t *p, size_t n)
{
	struct buf word = {0};

	word_encode(WORD_INVITE, p, n, &word);
	read_word(buf_str(&word));
	buf_release(&word);
}

static void read_cert(const uint8_t *p, size_t n)
{
	static const uint8_t mesh[32];
	static const struct node_id node;
	struct buf why = {0};

	enum err e =
	    cert_check((struct bytes){p, n}, &node, mesh, &node, 0, &why, NULL);
	assert(e && why.n);
	buf_release(&why);
}

static void read_address(const char *text)
{
	struct address a, b;
	struct buf s = {0}, why = {0};
	struct node_id id;

	if (address_parse(text, &a)) {
		address_str(a.host, a.port, &s);
		bool good = address_parse(buf_str(&s), &b);
		assert(good && a.port == b.port && !strcmp(a.host, b.host));
		(void)address_path(a.host);
	}
	if (address_parse_node(text, &id, &a, &why))
		assert(why.n);
	buf_release(&s);
	buf_release(&why);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	if (!n)
		return 0;
	char *text = xstrndup((const char *)p + 1, n - 1);
	switch (p[0] & 3) {
	case 0:
		read_word(text);
		break;
	case 1:
		read_inside(p + 1, n - 1);
		break;
	case 2:
		read_cert(p + 1, n - 1);
		break;
	case 3:
		read_address(text);
		break;
	}
	free(text);
	return 0;
}
