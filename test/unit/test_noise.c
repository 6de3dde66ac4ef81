/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/mem.h"
#include "rpc/noise.h"

#include <sodium.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/*
 * What published vectors do not reach: every row of the pattern table between
 * two interpreters, the rules that a row must keep, and what must fail.
 * Section numbers are those of the Noise specification, revision 34.
 */

#define K NOISE_KEY_LEN

/* Deterministic "randomness": SHA-256 of a counter. */
struct source {
	uint64_t counter;
	unsigned calls;
};

static void fill(uint8_t *out, size_t n, void *arg)
{
	struct source *s = arg;
	uint8_t digest[crypto_hash_sha256_BYTES];

	assert_int_equal(n, sizeof digest);
	s->counter++;
	s->calls++;
	crypto_hash_sha256(digest, (const uint8_t *)&s->counter,
			   sizeof s->counter);
	memcpy(out, digest, n);
}

/* Two ends of one handshake and what they were made from. */
struct pair {
	char name[NOISE_PSKS_MAX * 5 + 64];
	struct source random;
	uint8_t s[2][K], s_pub[2][K], psks[NOISE_PSKS_MAX][K];
	struct noise_options o[2];
	struct noise *n[2]; /* initiator, responder */
	uint8_t msg[NOISE_MSG_MAX], payload[NOISE_MSG_MAX];
	size_t len;
};

static const char *const suites[] = {"ChaChaPoly", "AESGCM"};

static bool have_suite(unsigned suite)
{
	return suite != NOISE_AESGCM || noise_aesgcm_available();
}

static void pair_free(struct pair *p)
{
	for (int i = 0; i < 2; i++) {
		noise_free(p->n[i]);
		p->n[i] = NULL;
	}
}

/* Options for both ends of pattern + modifiers; nothing is made yet. */
static void pair_init(struct pair *p, const char *pattern, unsigned psks,
		      unsigned suite)
{
	size_t count = 0;
	int len;

	pair_free(p);
	memset(p, 0, offsetof(struct pair, msg));
	len = snprintf(p->name, sizeof p->name, "Noise_%s", pattern);
	for (unsigned k = 0; k < NOISE_PSKS_MAX; k++) {
		if (!(psks >> k & 1))
			continue;
		len += snprintf(p->name + len, sizeof p->name - (size_t)len,
				"%spsk%u", count > 0 ? "+" : "", k);
		memset(p->psks[count++], 0x50 + (int)k, K);
	}
	snprintf(p->name + len, sizeof p->name - (size_t)len,
		 "_25519_%s_SHA256", suites[suite]);
	for (int i = 0; i < 2; i++) {
		memset(p->s[i], 0x11 * (i + 1), K);
		crypto_scalarmult_base(p->s_pub[i], p->s[i]);
	}
	for (int i = 0; i < 2; i++)
		p->o[i] = (struct noise_options){
		    .protocol = p->name,
		    .initiator = i == 0,
		    .s = p->s[i],
		    .rs = p->s_pub[1 - i],
		    .psks = p->psks,
		    .n_psks = count,
		    .prologue = {(const uint8_t *)"test", 4},
		    .random = fill,
		    .random_arg = &p->random,
		};
}

static void pair_make(struct pair *p)
{
	pair_free(p);
	for (int i = 0; i < 2; i++)
		assert_int_equal(noise_new(&p->o[i], &p->n[i]), OK);
}

static int sender(const struct pair *p)
{
	return noise_my_turn(p->n[0]) ? 0 : 1;
}

/* Writes the next message into p->msg; returns who has to read it. */
static struct noise *pair_write(struct pair *p)
{
	static const uint8_t hello[] = "payload of some length";
	const int from = sender(p);

	assert_int_equal(noise_write(p->n[from], hello, sizeof hello, p->msg,
				     sizeof p->msg, &p->len),
			 OK);
	return p->n[1 - from];
}

static enum err pair_read(struct pair *p, struct noise *to)
{
	size_t n = 0;
	const enum err e =
	    noise_read(to, p->msg, p->len, p->payload, sizeof p->payload, &n);

	if (!e)
		assert_string_equal(p->payload, "payload of some length");
	return e;
}

static void pair_finish(struct pair *p)
{
	while (!noise_done(p->n[0])) {
		struct noise *to = pair_write(p);

		assert_false(noise_my_turn(p->n[0]) && noise_my_turn(p->n[1]));
		assert_int_equal(pair_read(p, to), OK);
	}
	assert_true(noise_done(p->n[1]));
	assert_false(noise_my_turn(p->n[0]) || noise_my_turn(p->n[1]));
	assert_memory_equal(noise_hash(p->n[0]), noise_hash(p->n[1]),
			    NOISE_HASH_LEN);
}

/* The rest of the handshake; false if a read failed on the way. */
static bool pair_survives(struct pair *p)
{
	while (!noise_done(p->n[0]) || !noise_done(p->n[1])) {
		struct noise *to = pair_write(p);

		if (pair_read(p, to)) {
			assert_false(noise_done(to));
			return false;
		}
	}
	return true;
}

static int setup(void **state)
{
	*state = HN_NEW(struct pair);
	return sodium_init() < 0;
}

static int teardown(void **state)
{
	pair_free(*state);
	free(*state);
	return 0;
}

/* --- the table --- */

static unsigned count_messages(const struct noise_pattern *p)
{
	unsigned n = 0;

	while (n < NOISE_MESSAGES_MAX && p->tokens[n][0] != NOISE_END)
		n++;
	return n;
}

static const struct noise_pattern *find_pattern(const char *name)
{
	size_t count;
	const struct noise_pattern *p = noise_patterns(&count);

	for (size_t i = 0; i < count; i++)
		if (strcmp(p[i].name, name) == 0)
			return &p[i];
	return NULL;
}

/* The message in which a token stands, -1 when it is nowhere. `from`: 0 or 1
 * asks only for messages of that side, 2 for all. */
static int where(const struct noise_pattern *p, uint8_t token, unsigned from)
{
	for (unsigned m = 0; m < count_messages(p); m++)
		for (const uint8_t *t = p->tokens[m]; *t != NOISE_END; t++)
			if (*t == token && (from == 2 || m % 2 == from))
				return (int)m;
	return -1;
}

/* What has happened up to some place in a handshake. */
struct course {
	bool e[2], s[2]; /* public keys sent, by side */
	bool dh[NOISE_SS + 1], psk;
};

/* 7.3 rule 4 and 9.3: may this side call ENCRYPT now? */
static bool may_encrypt(const struct course *c, unsigned side)
{
	if (c->psk && !c->e[side])
		return false;
	if (side == 0)
		return !(c->dh[NOISE_SE] && !c->dh[NOISE_EE]) &&
		       !(c->dh[NOISE_SS] && !c->dh[NOISE_ES]);
	return !(c->dh[NOISE_ES] && !c->dh[NOISE_EE]) &&
	       !(c->dh[NOISE_SS] && !c->dh[NOISE_SE]);
}

/* 7.3 rules 1 to 3 for one token, and rule 4 where it encrypts. */
static void check_token(struct course *c, uint8_t token, unsigned side)
{
	switch ((enum noise_token)token) {
	case NOISE_E:
		assert_false(c->e[side]);
		c->e[side] = true;
		return;
	case NOISE_S:
		assert_false(c->s[side]);
		assert_true(may_encrypt(c, side));
		c->s[side] = true;
		return;
	case NOISE_EE:
		assert_true(c->e[0] && c->e[1]);
		break;
	case NOISE_ES:
		assert_true(c->e[0] && c->s[1]);
		break;
	case NOISE_SE:
		assert_true(c->s[0] && c->e[1]);
		break;
	case NOISE_SS:
		assert_true(c->s[0] && c->s[1]);
		break;
	case NOISE_PSK:
	case NOISE_END:
		fail_msg("token %u in the table", token);
	}
	assert_false(c->dh[token]);
	c->dh[token] = true;
}

static void check_course(const struct noise_pattern *p, unsigned psks)
{
	struct course c = {.s = {p->pre_i, p->pre_r}, .psk = psks & 1};

	for (unsigned m = 0; m < count_messages(p); m++) {
		const unsigned side = m % 2;

		for (const uint8_t *t = p->tokens[m]; *t != NOISE_END; t++)
			check_token(&c, *t, side);
		c.psk = c.psk || psks >> (m + 1) & 1;
		assert_true(may_encrypt(&c, side));
	}
	assert_true(may_encrypt(&c, 0));
	if (!p->oneway)
		assert_true(may_encrypt(&c, 1));
}

static void test_table_is_valid(void **state)
{
	size_t count;
	const struct noise_pattern *p = noise_patterns(&count);

	(void)state;
	assert_int_equal(count, 3 + 12 + 23); /* 7.4, 7.5, 18.1 */
	for (size_t i = 0; i < count; i++) {
		assert_ptr_equal(find_pattern(p[i].name), &p[i]);
		for (unsigned m = 0; m < count_messages(&p[i]); m++)
			assert_int_equal(p[i].tokens[m][NOISE_TOKENS_MAX - 1],
					 NOISE_END);
		for (unsigned psks = 0;
		     psks < 1u << (count_messages(&p[i]) + 1); psks++)
			check_course(&p[i], psks);
	}
}

/* The letters of a name say where the static keys are (7.4, 7.5). */
static void check_letter(const struct noise_pattern *p, char letter,
			 unsigned side)
{
	const int sent = where(p, NOISE_S, side);

	assert_int_equal(side == 0 ? p->pre_i : p->pre_r, letter == 'K');
	switch (letter) {
	case 'N':
	case 'K':
		assert_int_equal(sent, -1);
		return;
	case 'X':
		if (!p->oneway)
			assert_true(sent > 0);
		else
			assert_int_equal(sent, 0);
		return;
	case 'I':
		assert_int_equal(sent, 0);
		return;
	default:
		fail_msg("letter %c", letter);
	}
}

static void check_name(const struct noise_pattern *p)
{
	char plain[3] = {p->name[0], 0, 0};
	const char *second = p->name + 1;
	const bool defer_i = *second == '1';
	bool defer_r;
	const struct noise_pattern *f;

	check_letter(p, p->name[0], 0);
	if (p->oneway) {
		check_letter(p, 'K', 1); /* the recipient's key is known */
		return;
	}
	second += defer_i;
	plain[1] = *second;
	check_letter(p, *second, 1);
	defer_r = second[1] == '1';
	f = find_pattern(plain);
	assert_non_null(f);
	/* A static key, whoever has it, is authenticated, and a "1" puts that
	 * into the next message (7.6). */
	assert_int_equal(where(p, NOISE_SE, 2) >= 0, p->name[0] != 'N');
	assert_int_equal(where(p, NOISE_ES, 2) >= 0, *second != 'N');
	if (p->name[0] != 'N')
		assert_int_equal(where(p, NOISE_SE, 2),
				 where(f, NOISE_SE, 2) + defer_i);
	if (*second != 'N')
		assert_int_equal(where(p, NOISE_ES, 2),
				 where(f, NOISE_ES, 2) + defer_r);
}

static void test_table_is_as_named(void **state)
{
	size_t count;
	const struct noise_pattern *p = noise_patterns(&count);

	(void)state;
	for (size_t i = 0; i < count; i++)
		check_name(&p[i]);
}

/* --- two interpreters --- */

static void check_transport(struct noise_cipher *tx, struct noise_cipher *rx)
{
	uint8_t buf[64] = "some transport message", was[64];

	memcpy(was, buf, sizeof buf);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(noise_cipher_seal(tx, NULL, 0, buf, 23, buf),
				 OK);
		assert_memory_not_equal(buf, was, 23);
		assert_int_equal(noise_cipher_open(rx, NULL, 0, buf,
						   23 + NOISE_TAG_LEN, buf),
				 OK);
		assert_memory_equal(buf, was, 23);
		assert_int_equal(tx->nonce, i + 1);
		if (i == 1) {
			noise_cipher_rekey(tx);
			noise_cipher_rekey(rx);
		}
	}
}

static void check_split(struct pair *p, bool oneway)
{
	struct noise_cipher tx[2], rx[2];

	for (int i = 0; i < 2; i++) {
		assert_int_equal(noise_split(p->n[i], &tx[i], &rx[i]), OK);
		assert_int_equal(noise_split(p->n[i], &tx[i], &rx[i]),
				 ERR_INPUT);
	}
	check_transport(&tx[0], &rx[1]);
	if (oneway) {
		uint8_t buf[64] = {0};

		assert_int_equal(
		    noise_cipher_seal(&tx[1], NULL, 0, buf, 1, buf),
		    ERR_CRYPTO);
		assert_int_equal(
		    noise_cipher_open(&rx[0], NULL, 0, buf, 17, buf),
		    ERR_CRYPTO);
		return;
	}
	assert_memory_not_equal(tx[0].key, tx[1].key, K);
	check_transport(&tx[1], &rx[0]);
}

static void check_remote_static(struct pair *p, const struct noise_pattern *row,
				unsigned side)
{
	const uint8_t *rs = noise_remote_static(p->n[1 - side]);

	if (where(row, NOISE_S, side) < 0 &&
	    !(side == 0 ? row->pre_i : row->pre_r)) {
		assert_null(rs);
		return;
	}
	assert_non_null(rs);
	assert_memory_equal(rs, p->s_pub[side], K);
}

/* psk modifiers as bits: none, each alone, the ends, all. */
static void test_every_pattern_runs(void **state)
{
	struct pair *p = *state;
	size_t count;
	const struct noise_pattern *rows = noise_patterns(&count);

	for (size_t i = 0; i < 2 * count; i++) {
		const struct noise_pattern *row = &rows[i / 2];
		const unsigned last = count_messages(row);
		const unsigned sets[] = {0, 1, 1u << last,	1u | 1u << last,
					 2, 3, (2u << last) - 1};

		if (!have_suite(i % 2))
			continue;
		for (size_t k = 0; k < HN_COUNT(sets); k++) {
			pair_init(p, row->name, sets[k], i % 2);
			pair_make(p);
			pair_finish(p);
			assert_int_equal(p->random.calls, row->oneway ? 1 : 2);
			check_remote_static(p, row, 0);
			check_remote_static(p, row, 1);
			check_split(p, row->oneway);
			pair_free(p);
		}
	}
}

/*
 * A digest of the final h of every pattern, without and with all its psks,
 * recorded when the table had been compared with the specification's text:
 * two interpreters with one wrong table would still agree with each other.
 */
static void test_transcripts_stay_the_same(void **state)
{
	static const char want[] =
	    "aa300ca96e515c18006597c3df056d6b74291785a24869f6c47eefb71e6f141c";
	struct pair *p = *state;
	size_t count;
	const struct noise_pattern *rows = noise_patterns(&count);
	crypto_hash_sha256_state hash;
	uint8_t digest[crypto_hash_sha256_BYTES];
	char got[2 * sizeof digest + 1];

	crypto_hash_sha256_init(&hash);
	for (size_t i = 0; i < 2 * count; i++) {
		const unsigned all = (2u << count_messages(&rows[i / 2])) - 1;

		pair_init(p, rows[i / 2].name, i % 2 == 0 ? 0 : all,
			  NOISE_CHACHAPOLY);
		pair_make(p);
		pair_finish(p);
		crypto_hash_sha256_update(&hash, noise_hash(p->n[0]),
					  NOISE_HASH_LEN);
	}
	crypto_hash_sha256_final(&hash, digest);
	sodium_bin2hex(got, sizeof got, digest, sizeof digest);
	assert_string_equal(got, want);
}

static void test_wrong_psk_fails(void **state)
{
	struct pair *p = *state;
	size_t count;
	const struct noise_pattern *rows = noise_patterns(&count);
	uint8_t other[NOISE_PSKS_MAX][K];

	for (size_t i = 0; i < count; i++) {
		for (unsigned k = 0; k <= count_messages(&rows[i]); k++) {
			pair_init(p, rows[i].name, 1u << k, NOISE_CHACHAPOLY);
			memcpy(other, p->psks, sizeof other);
			other[0][31] ^= 1;
			p->o[1].psks = other;
			pair_make(p);
			assert_false(pair_survives(p));
			pair_free(p);
		}
	}
}

static void test_wrong_static_fails(void **state)
{
	struct pair *p = *state;
	size_t count;
	const struct noise_pattern *rows = noise_patterns(&count);
	static const uint8_t secret[K] = {7};
	uint8_t stranger[K];

	crypto_scalarmult_base(stranger, secret);
	for (size_t i = 0; i < count; i++) {
		for (int side = 0; side < 2; side++) {
			if (!(side == 0 ? rows[i].pre_r : rows[i].pre_i))
				continue;
			pair_init(p, rows[i].name, 0, NOISE_CHACHAPOLY);
			p->o[side].rs = stranger;
			pair_make(p);
			assert_false(pair_survives(p));
			pair_free(p);
		}
	}
}

static void test_other_prologue_fails(void **state)
{
	struct pair *p = *state;

	pair_init(p, "NN", 0, NOISE_CHACHAPOLY);
	p->o[1].prologue.n--;
	pair_make(p);
	assert_false(pair_survives(p));
}

/* --- damaged messages --- */

/* Runs to message `at`; returns its reader. */
static struct noise *run_to(struct pair *p, unsigned at)
{
	struct noise *to;

	pair_make(p);
	for (unsigned m = 0; m < at; m++) {
		to = pair_write(p);
		assert_int_equal(pair_read(p, to), OK);
	}
	return pair_write(p);
}

static void check_dead(struct noise *n)
{
	uint8_t buf[256] = {0};
	struct noise_cipher tx, rx;
	size_t len;

	assert_false(noise_my_turn(n) || noise_done(n));
	assert_int_equal(noise_read(n, buf, 96, buf, sizeof buf, &len),
			 ERR_INPUT);
	assert_int_equal(noise_write(n, NULL, 0, buf, sizeof buf, &len),
			 ERR_INPUT);
	assert_int_equal(noise_split(n, &tx, &rx), ERR_INPUT);
}

/* A byte in the clear is only caught by what follows it. */
static void check_flips(struct pair *p, const char *name, unsigned psks,
			unsigned suite, bool at_once)
{
	const unsigned messages = count_messages(find_pattern(name));

	pair_init(p, name, psks, suite);
	for (unsigned m = 0; m < messages; m++) {
		run_to(p, m);
		for (size_t i = 0, len = p->len; i < len; i++) {
			struct noise *to = run_to(p, m);
			enum err e;

			p->msg[i] ^= (uint8_t)(1u << i % 8);
			e = noise_read(to, p->msg, p->len, p->payload,
				       sizeof p->payload, &(size_t){0});
			assert_true(e == OK || e == ERR_CRYPTO);
			assert_true(e || !at_once);
			if (e)
				check_dead(to);
			else
				assert_false(pair_survives(p));
		}
	}
	pair_free(p);
}

static void test_flipped_bits_fail(void **state)
{
	struct pair *p = *state;

	for (unsigned suite = 0; suite < 2; suite++) {
		if (!have_suite(suite))
			continue;
		check_flips(p, "XK", 1, suite, true);
		check_flips(p, "IK", 0, suite, true);
	}
	check_flips(p, "XX", 0, NOISE_CHACHAPOLY, false);
	check_flips(p, "X1X1", 4, NOISE_CHACHAPOLY, false);
	check_flips(p, "KX1", 0, NOISE_CHACHAPOLY, false);
}

static void test_truncated_and_oversized_fail(void **state)
{
	struct pair *p = *state;
	struct noise *to;
	size_t n;

	pair_init(p, "XK", 1, NOISE_CHACHAPOLY);
	for (unsigned m = 0; m < 3; m++) {
		run_to(p, m);
		for (size_t i = 0, len = p->len; i < len; i++) {
			to = run_to(p, m);
			const size_t least = m == 2 ? 64 : 48;
			const enum err e = noise_read(to, p->msg, i, p->payload,
						      sizeof p->payload, &n);

			assert_int_equal(e, i < least ? ERR_PROTO : ERR_CRYPTO);
			check_dead(to);
		}
	}
	to = run_to(p, 0);
	assert_int_equal(noise_read(to, p->msg, NOISE_MSG_MAX + 1, p->payload,
				    sizeof p->payload, &n),
			 ERR_LIMIT);
	check_dead(to);
	to = run_to(p, 0);
	assert_int_equal(noise_read(to, p->msg, p->len, p->payload, 22, &n),
			 ERR_LIMIT);
	check_dead(to);
}

static void test_largest_message_passes(void **state)
{
	struct pair *p = *state;
	const size_t most = NOISE_MSG_MAX - 48;
	uint8_t *big = xcalloc(1, NOISE_MSG_MAX);
	size_t n;

	pair_init(p, "XK", 1, NOISE_CHACHAPOLY);
	pair_make(p);
	assert_int_equal(
	    noise_write(p->n[0], big, most + 1, p->msg, sizeof p->msg, &n),
	    ERR_INPUT);
	assert_int_equal(
	    noise_write(p->n[0], big, most, p->msg, sizeof p->msg, &n), OK);
	assert_int_equal(n, NOISE_MSG_MAX);
	assert_int_equal(noise_read(p->n[1], p->msg, n, p->payload, most, &n),
			 OK);
	assert_int_equal(n, most);
	free(big);
}

static void test_misuse_changes_nothing(void **state)
{
	struct pair *p = *state;
	struct noise_cipher tx, rx;
	uint8_t h[NOISE_HASH_LEN];
	size_t n = 77;

	pair_init(p, "XK", 1, NOISE_CHACHAPOLY);
	pair_make(p);
	memcpy(h, noise_hash(p->n[0]), sizeof h);
	assert_int_equal(noise_read(p->n[0], p->msg, 48, p->payload, 9, &n),
			 ERR_INPUT);
	assert_int_equal(noise_write(p->n[1], NULL, 0, p->msg, 99, &n),
			 ERR_INPUT);
	assert_int_equal(noise_write(p->n[0], NULL, 0, p->msg, 47, &n),
			 ERR_INPUT);
	assert_int_equal(noise_split(p->n[0], &tx, &rx), ERR_INPUT);
	assert_int_equal(n, 77);
	assert_memory_equal(h, noise_hash(p->n[0]), sizeof h);
	/* The smallest buffers do. */
	assert_int_equal(noise_write(p->n[0], NULL, 0, p->msg, 48, &n), OK);
	assert_int_equal(n, 48);
	assert_int_equal(noise_read(p->n[1], p->msg, 48, NULL, 0, &n), OK);
	assert_int_equal(n, 0);
	pair_finish(p);
	assert_int_equal(noise_write(p->n[0], NULL, 0, p->msg, 99, &n),
			 ERR_INPUT);
}

/* --- several psks --- */

static void make_candidates(const struct pair *p, uint8_t out[16][K],
			    size_t place)
{
	for (size_t i = 0; i < NOISE_CANDIDATE_PSKS_MAX; i++)
		memset(out[i], (int)i, K);
	if (place < NOISE_CANDIDATE_PSKS_MAX)
		memcpy(out[place], p->psks[0], K);
}

static void test_read_psks_finds_the_one(void **state)
{
	struct pair *p = *state;
	uint8_t list[NOISE_CANDIDATE_PSKS_MAX][K];

	for (unsigned i = 0; i < 2 * NOISE_CANDIDATE_PSKS_MAX; i++) {
		const size_t place = i / 2;
		struct noise *to;
		size_t n, which = 99;

		if (!have_suite(i % 2))
			continue;
		pair_init(p, "XK", 1, i % 2);
		p->o[1].n_psks = 0;
		to = run_to(p, 0);
		make_candidates(p, list, place);
		if (place < 15) /* a second one that fits is not the answer */
			memcpy(list[15], list[place], K);
		assert_int_equal(noise_read_psks(to, list, 16, p->msg, p->len,
						 p->payload, sizeof p->payload,
						 &n, &which),
				 OK);
		assert_int_equal(which, place);
		assert_int_equal(n, 23);
		assert_string_equal(p->payload, "payload of some length");
		assert_memory_equal(noise_hash(p->n[0]), noise_hash(p->n[1]),
				    NOISE_HASH_LEN);
		pair_finish(p);
		check_split(p, false);
	}
}

static void test_read_psks_fails_on_none(void **state)
{
	struct pair *p = *state;
	uint8_t list[NOISE_CANDIDATE_PSKS_MAX][K];
	struct noise *to;
	size_t n = 7, which = 99;

	pair_init(p, "XK", 1, NOISE_CHACHAPOLY);
	p->o[1].n_psks = 0;
	make_candidates(p, list, 16);
	to = run_to(p, 0);
	assert_int_equal(noise_read_psks(to, list, 16, p->msg, p->len,
					 p->payload, 99, &n, &which),
			 ERR_CRYPTO);
	assert_int_equal(n, 7);
	assert_int_equal(which, 99);
	check_dead(to);

	/* A plain read has no psk to work with; too many, too few, no psk. */
	to = run_to(p, 0);
	assert_int_equal(noise_read(to, p->msg, p->len, p->payload, 99, &n),
			 ERR_INPUT);
	assert_int_equal(noise_read_psks(to, list, 17, p->msg, p->len,
					 p->payload, 99, &n, &which),
			 ERR_INPUT);
	assert_int_equal(noise_read_psks(to, list, 0, p->msg, p->len,
					 p->payload, 99, &n, &which),
			 ERR_INPUT);
	assert_int_equal(noise_read_psks(to, list, 1, p->msg, 47, p->payload,
					 99, &n, &which),
			 ERR_PROTO);
	check_dead(to);
	pair_init(p, "XK", 0, NOISE_CHACHAPOLY);
	to = run_to(p, 0);
	assert_int_equal(noise_read_psks(to, list, 1, p->msg, p->len,
					 p->payload, 99, &n, &which),
			 ERR_INPUT);
	assert_int_equal(pair_read(p, to), OK);
}

/* Trials that go through an encrypted static key, and further psk tokens:
 * theirs given, or the candidate for all. */
static void test_read_psks_keeps_other_places(void **state)
{
	static const struct {
		const char *name;
		unsigned psks;
		bool given;
	} rows[] = {{"IK", 1, false}, {"IK", 5, true},	{"IK", 5, false},
		    {"IK", 6, true},  {"KK", 3, true},	{"KK", 7, false},
		    {"NN", 3, true},  {"XK", 13, true}, {"X", 1, true}};
	struct pair *p = *state;
	uint8_t list[NOISE_CANDIDATE_PSKS_MAX][K];

	for (size_t i = 0; i < HN_COUNT(rows); i++) {
		uint8_t mine[NOISE_PSKS_MAX][K];
		struct noise *to;
		size_t n, which = 99;

		pair_init(p, rows[i].name, rows[i].psks, NOISE_CHACHAPOLY);
		memcpy(mine, p->psks, sizeof mine);
		memset(mine[0], 0xee, K); /* to be replaced */
		p->o[1].psks = mine;
		if (!rows[i].given) {
			p->o[1].n_psks = 0;
			for (unsigned k = 1; k < NOISE_PSKS_MAX; k++)
				memcpy(p->psks[k], p->psks[0], K);
		}
		make_candidates(p, list, 9);
		to = run_to(p, 0);
		assert_int_equal(noise_read_psks(to, list, 16, p->msg, p->len,
						 p->payload, sizeof p->payload,
						 &n, &which),
				 OK);
		assert_int_equal(which, 9);
		pair_finish(p);
	}
}

/* --- keys that are no good --- */

/* Points whose DH is zero whatever the private key (RFC 7748, section 6.1). */
static const char *const low_order[] = {
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
};

static void test_low_order_keys_are_refused(void **state)
{
	struct pair *p = *state;

	for (size_t i = 0; i < HN_COUNT(low_order); i++) {
		uint8_t bad[K];
		struct noise *n = NULL;
		size_t len;
		enum err e;

		sodium_hex2bin(bad, K, low_order[i], 64, NULL, NULL, NULL);
		/* As the ephemeral key: no later than our own first DH. */
		pair_init(p, "NN", 0, NOISE_CHACHAPOLY);
		n = run_to(p, 0);
		memcpy(p->msg, bad, K);
		e = noise_read(n, p->msg, p->len, p->payload, 99, &len);
		assert_int_equal(e, i == 0 ? ERR_CRYPTO : OK);
		if (!e)
			e = noise_write(n, NULL, 0, p->msg, sizeof p->msg,
					&len);
		assert_int_equal(e, ERR_CRYPTO);
		check_dead(n);
		/* As the responder's static key. */
		pair_init(p, "XK", 1, NOISE_CHACHAPOLY);
		p->o[0].rs = bad;
		pair_free(p);
		e = noise_new(&p->o[0], &p->n[0]);
		assert_int_equal(e, i == 0 ? ERR_INPUT : OK);
		if (!e)
			assert_int_equal(noise_write(p->n[0], NULL, 0, p->msg,
						     sizeof p->msg, &len),
					 ERR_CRYPTO);
	}
}

static void test_names_that_are_not_ours(void **state)
{
	static const char *const names[] = {
	    "",
	    "Noise",
	    "Noise_",
	    "Noise__25519_ChaChaPoly_SHA256",
	    "Noise_XX",
	    "Noise_XX_25519_ChaChaPoly",
	    "Noise_XX_25519_ChaChaPoly_SHA256 ",
	    "Noise_XX_25519_ChaChaPoly_SHA512",
	    "Noise_XX_448_ChaChaPoly_SHA256",
	    "Noise_XX_25519_ChaCha_SHA256",
	    "Noise_xx_25519_ChaChaPoly_SHA256",
	    "Noise_XXX_25519_ChaChaPoly_SHA256",
	    "Noise_X1_25519_ChaChaPoly_SHA256",
	    "Noise_NN1_25519_ChaChaPoly_SHA256",
	    "Noise_XXfallback_25519_ChaChaPoly_SHA256",
	    "Noise_XXfallback+psk0_25519_ChaChaPoly_SHA256",
	    "Noise_XXpsk_25519_ChaChaPoly_SHA256",
	    "Noise_XXpsk4_25519_ChaChaPoly_SHA256",
	    "Noise_XXpsk5_25519_ChaChaPoly_SHA256",
	    "Noise_XXpsk00_25519_ChaChaPoly_SHA256",
	    "Noise_XX+psk0_25519_ChaChaPoly_SHA256",
	    "Noise_XXpsk0+_25519_ChaChaPoly_SHA256",
	    "Noise_XXpsk0psk1_25519_ChaChaPoly_SHA256",
	    "Noise_XXpsk0+psk0_25519_ChaChaPoly_SHA256",
	    "Noise_XXpsk2+psk0_25519_ChaChaPoly_SHA256",
	    "Noise_NNpsk3_25519_ChaChaPoly_SHA256",
	    "Noise_Npsk2_25519_ChaChaPoly_SHA256",
	    "noise_XX_25519_ChaChaPoly_SHA256",
	};
	struct pair *p = *state;
	char *long_name = xcalloc(1, 400);

	pair_init(p, "XX", 0, NOISE_CHACHAPOLY);
	for (size_t i = 0; i < HN_COUNT(names); i++) {
		for (size_t psks = 0; psks <= 3; psks++) {
			p->o[0].protocol = names[i];
			p->o[0].n_psks = psks;
			assert_int_equal(noise_new(&p->o[0], &p->n[0]),
					 ERR_INPUT);
		}
	}
	memset(long_name, 'X', 399);
	memcpy(long_name, "Noise_", 6);
	p->o[0].protocol = long_name;
	assert_int_equal(noise_new(&p->o[0], &p->n[0]), ERR_INPUT);
	free(long_name);
}

static void test_missing_keys_are_refused(void **state)
{
	struct pair *p = *state;
	struct noise *n = NULL;
	struct noise_options o;

	pair_init(p, "XK", 1, NOISE_CHACHAPOLY);
	o = p->o[0];
	o.s = NULL;
	assert_int_equal(noise_new(&o, &n), ERR_INPUT);
	o = p->o[0];
	o.rs = NULL;
	assert_int_equal(noise_new(&o, &n), ERR_INPUT);
	o = p->o[0];
	o.random = NULL;
	assert_int_equal(noise_new(&o, &n), ERR_INPUT);
	o = p->o[0];
	o.n_psks = 0; /* the initiator writes the first psk */
	assert_int_equal(noise_new(&o, &n), ERR_INPUT);
	o.n_psks = 2;
	assert_int_equal(noise_new(&o, &n), ERR_INPUT);
	o = p->o[1];
	o.s = NULL;
	assert_int_equal(noise_new(&o, &n), ERR_INPUT);
	assert_null(n);
	/* The recipient of a one-way pattern needs no randomness. */
	pair_init(p, "N", 0, NOISE_CHACHAPOLY);
	p->o[1].random = NULL;
	pair_make(p);
	pair_finish(p);
}

static void test_fixed_ephemeral_repeats(void **state)
{
	struct pair *p = *state;
	static const uint8_t e[K] = {42};
	uint8_t first[256];

	pair_init(p, "XK", 1, NOISE_CHACHAPOLY);
	p->o[0].e = e;
	p->o[0].random = NULL;
	run_to(p, 0);
	memcpy(first, p->msg, p->len);
	run_to(p, 0);
	assert_memory_equal(first, p->msg, p->len);
}

/* --- cipher states --- */

static void test_nonces_run_out(void **state)
{
	static const uint8_t key[K] = {1};
	uint8_t buf[32] = {0};

	(void)state;
	for (unsigned suite = 0; suite < 2; suite++) {
		struct noise_cipher tx, rx;

		if (!have_suite(suite))
			continue;
		assert_int_equal(noise_cipher_init(&tx, suite, key), OK);
		tx.nonce = UINT64_MAX - 1;
		rx = tx;
		assert_int_equal(noise_cipher_seal(&tx, NULL, 0, buf, 4, buf),
				 OK);
		assert_int_equal(noise_cipher_seal(&tx, NULL, 0, buf, 4, buf),
				 ERR_LIMIT);
		assert_int_equal(noise_cipher_open(&rx, NULL, 0, buf, 20, buf),
				 OK);
		assert_int_equal(noise_cipher_open(&rx, NULL, 0, buf, 20, buf),
				 ERR_LIMIT);
		/* Rekey does not reset the nonce (11.3). */
		noise_cipher_rekey(&tx);
		assert_int_equal(noise_cipher_seal(&tx, NULL, 0, buf, 4, buf),
				 ERR_LIMIT);
	}
}

static void test_failed_open_keeps_the_nonce(void **state)
{
	static const uint8_t key[K] = {1}, ad[3] = {1, 2, 3};
	uint8_t in[] = "text", buf[sizeof in + NOISE_TAG_LEN], out[8];

	(void)state;
	for (unsigned suite = 0; suite < 2; suite++) {
		struct noise_cipher tx, rx;

		if (!have_suite(suite))
			continue;
		assert_int_equal(noise_cipher_init(&tx, suite, key), OK);
		rx = tx;
		assert_int_equal(
		    noise_cipher_seal(&tx, ad, 3, in, sizeof in, buf), OK);
		for (size_t i = 0; i < sizeof buf; i++) {
			buf[i] ^= 0x80;
			assert_int_equal(
			    noise_cipher_open(&rx, ad, 3, buf, sizeof buf, out),
			    ERR_CRYPTO);
			buf[i] ^= 0x80;
		}
		assert_int_equal(
		    noise_cipher_open(&rx, ad, 2, buf, sizeof buf, out),
		    ERR_CRYPTO);
		assert_int_equal(noise_cipher_open(&rx, ad, 3, buf, 15, out),
				 ERR_PROTO);
		assert_int_equal(rx.nonce, 0);
		assert_int_equal(
		    noise_cipher_open(&rx, ad, 3, buf, sizeof buf, out), OK);
		assert_memory_equal(out, in, sizeof in);
	}
}

static void test_cipher_limits(void **state)
{
	static const uint8_t key[K] = {1};
	uint8_t *buf = xcalloc(1, NOISE_MSG_MAX + 1);
	struct noise_cipher c, rx;

	(void)state;
	assert_int_equal(noise_cipher_init(&c, NOISE_CHACHAPOLY, key), OK);
	rx = c;
	assert_int_equal(
	    noise_cipher_seal(&c, NULL, 0, buf, NOISE_MSG_MAX - 15, buf),
	    ERR_LIMIT);
	assert_int_equal(
	    noise_cipher_seal(&c, NULL, 0, buf, NOISE_MSG_MAX - 16, buf), OK);
	assert_int_equal(
	    noise_cipher_open(&rx, NULL, 0, buf, NOISE_MSG_MAX + 1, buf),
	    ERR_LIMIT);
	assert_int_equal(
	    noise_cipher_open(&rx, NULL, 0, buf, NOISE_MSG_MAX, buf), OK);
	noise_cipher_wipe(&c);
	assert_true(sodium_is_zero((const uint8_t *)&c, sizeof c));
	assert_int_equal(noise_cipher_seal(&c, NULL, 0, buf, 1, buf),
			 ERR_CRYPTO);
	noise_cipher_rekey(&c);
	assert_false(c.keyed);
	free(buf);
}

/* The formula of 4.2, spelled out with libsodium alone. */
static void test_rekey_is_the_formula(void **state)
{
	static const uint8_t key[K] = {1, 2, 3}, zeros[K];
	uint8_t nonce[12], want[K + NOISE_TAG_LEN];
	struct noise_cipher c;

	(void)state;
	memset(nonce, 0, 4);
	memset(nonce + 4, 0xff, 8);
	crypto_aead_chacha20poly1305_ietf_encrypt(want, NULL, zeros, K, NULL, 0,
						  NULL, nonce, key);
	assert_int_equal(noise_cipher_init(&c, NOISE_CHACHAPOLY, key), OK);
	c.nonce = 5;
	noise_cipher_rekey(&c);
	assert_memory_equal(c.key, want, K);
	assert_int_equal(c.nonce, 5);
	if (!noise_aesgcm_available())
		return;
	crypto_aead_aes256gcm_encrypt(want, NULL, zeros, K, NULL, 0, NULL,
				      nonce, key);
	assert_int_equal(noise_cipher_init(&c, NOISE_AESGCM, key), OK);
	noise_cipher_rekey(&c);
	assert_memory_equal(c.key, want, K);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_table_is_valid),
	    TEST(test_table_is_as_named),
	    TEST(test_every_pattern_runs),
	    TEST(test_transcripts_stay_the_same),
	    TEST(test_wrong_psk_fails),
	    TEST(test_wrong_static_fails),
	    TEST(test_other_prologue_fails),
	    TEST(test_flipped_bits_fail),
	    TEST(test_truncated_and_oversized_fail),
	    TEST(test_largest_message_passes),
	    TEST(test_misuse_changes_nothing),
	    TEST(test_read_psks_finds_the_one),
	    TEST(test_read_psks_fails_on_none),
	    TEST(test_read_psks_keeps_other_places),
	    TEST(test_low_order_keys_are_refused),
	    TEST(test_names_that_are_not_ours),
	    TEST(test_missing_keys_are_refused),
	    TEST(test_fixed_ephemeral_repeats),
	    TEST(test_nonces_run_out),
	    TEST(test_failed_open_keeps_the_nonce),
	    TEST(test_cipher_limits),
	    TEST(test_rekey_is_the_formula),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
