/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_BASE_WORD_H
#define HN_BASE_WORD_H

#include <stddef.h>

#include "node/base/buf.h"
#include "node/base/err.h"

/*
 * Bytes as one printable word that survives a chat window, a phone and a
 * pencil: a prefix that names the kind and ends in 1, then lower-case base32
 * of the bytes and a checksum. Pure; any thread.
 *
 *	word  = prefix || base32(bytes || check)
 *	check = first 4 bytes of BLAKE2b-256(prefix || NUL || bytes)
 *
 * Base32 takes 5 bits a character, most significant first, from bech32's
 * alphabet (BIP 173), which has no 1, b, i and o; the last bits are zero. So
 * the prefix ends at the last 1 of the word.
 */
#define WORD_INVITE "hn1"
#define WORD_OWNER "hnowner1"

/* Appended to out, without a newline. */
void word_encode(const char *prefix, const void *p, size_t n, struct buf *out);

/*
 * The bytes of a word of that prefix, appended to out. White space around it
 * and upper case are fine. ERR_LIMIT for more than max bytes; ERR_INPUT for
 * everything else, with a sentence in why (may be NULL) that tells a word of
 * another kind from a mistyped or cut one. The sentence never repeats the
 * word, which may be a secret.
 */
enum err word_decode(const char *prefix, const char *text, size_t max,
		     struct buf *out, struct buf *why) HN_CHECK;

#endif
