/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/identity.h"

#include "node/base/word.h"
#include "test/support/temp.h"

#include <sodium.h>

#include <fcntl.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static int set_up(void **state)
{
	(void)state;
	temp_make();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	temp_remove();
	return 0;
}

static struct identity *load(const char *path, bool want_fresh)
{
	struct identity *me = NULL;
	struct buf why = {0};
	bool fresh = !want_fresh;
	assert_int_equal(identity_load(path, "node", &fresh, &why, &me), OK);
	assert_int_equal(fresh, want_fresh);
	assert_int_equal(why.n, 0);
	return me;
}

static void assert_refused(const char *path, enum err want, const char *words)
{
	struct identity *me = (struct identity *)1;
	struct buf why = {0};
	bool fresh;
	assert_int_equal(identity_load(path, "node", &fresh, &why, &me), want);
	assert_ptr_equal(me, (struct identity *)1);
	if (!strstr(buf_str(&why), words) || !strstr(buf_str(&why), path))
		fail_msg("\"%s\" does not say %s", buf_str(&why), words);
	buf_release(&why);
}

static size_t read_file(const char *path, char *out, size_t size)
{
	FILE *f = fopen(path, "re");
	assert_non_null(f);
	size_t n = fread(out, 1, size, f);
	fclose(f);
	return n;
}

static void test_file_is_made_private_and_read_again(void **state)
{
	(void)state;
	const char *path = temp_path("key");
	struct identity *a = load(path, true);
	assert_int_equal(temp_mode(path), 0600);
	struct identity *b = load(path, false);
	assert_true(node_id_eq(identity_id(a), identity_id(b)));
	identity_free(a);
	identity_free(b);
	identity_free(NULL);
	/* Nothing but the key is left there. */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(temp_dir), 0);
}

static void test_open_mode_is_mended(void **state)
{
	(void)state;
	const char *path = temp_path("key");
	identity_free(load(path, true));
	assert_int_equal(chmod(path, 0644), 0);
	identity_free(load(path, false));
	assert_int_equal(temp_mode(path), 0600);
}

static void test_every_cut_is_seen_and_kept(void **state)
{
	char text[256], again[256];
	(void)state;
	const char *path = temp_path("key");
	identity_free(load(path, true));
	size_t n = read_file(path, text, sizeof(text));
	for (size_t i = 1; i < n - 1; i++) {
		temp_write(path, text, i);
		assert_refused(path, ERR_CONFIG, "is cut short");
		assert_int_equal(read_file(path, again, sizeof(again)), i);
	}
	temp_write(path, text, 0);
	assert_refused(path, ERR_CONFIG, "is empty");
	temp_write(path, text, n - 1); /* an editor took the newline */
	identity_free(load(path, false));
}

static void test_every_changed_byte_is_seen(void **state)
{
	char text[256];
	(void)state;
	const char *path = temp_path("key");
	identity_free(load(path, true));
	size_t n = read_file(path, text, sizeof(text));
	for (size_t i = 0; i < n; i++) {
		text[i] ^= 1;
		temp_write(path, text, n);
		assert_refused(path, ERR_CONFIG, "the key file");
		text[i] ^= 1;
	}
	text[n] = 'x';
	temp_write(path, text, n + 1);
	assert_refused(path, ERR_CONFIG, "is damaged");
}

static void test_foreign_files_are_named(void **state)
{
	static uint8_t big[100000];
	struct identity *me = identity_random();
	struct buf why = {0};
	(void)state;
	const char *path = temp_path("key");
	temp_write(path, "-----BEGIN OPENSSH PRIVATE KEY-----\n", 36);
	assert_refused(path, ERR_CONFIG, "is not an hnode key file");
	temp_write(path, big, sizeof(big));
	assert_refused(path, ERR_CONFIG, "is not an hnode key file");
	temp_write(path, "hnode-key 2 node ab\n", 20);
	assert_refused(path, ERR_CONFIG, "newer hnode");
	assert_int_equal(identity_save(me, path, "owner", &why), OK);
	assert_refused(path, ERR_CONFIG, "another purpose");
	identity_free(me);
}

static void test_what_is_no_file_is_refused(void **state)
{
	(void)state;
	assert_refused(temp_dir, ERR_CONFIG, "no regular file");
	const char *pipe = temp_path("pipe");
	assert_int_equal(mkfifo(pipe, 0600), 0);
	assert_refused(pipe, ERR_CONFIG, "no regular file");
	assert_refused(temp_path("none/key"), ERR_IO, "cannot be written");
	const char *link = temp_path("link");
	assert_int_equal(symlink("nowhere", link), 0);
	assert_refused(link, ERR_CONFIG, "leads nowhere");
}

static void test_save_replaces(void **state)
{
	struct identity *me = identity_random();
	struct buf why = {0};
	(void)state;
	const char *path = temp_path("key");
	identity_free(load(path, true));
	assert_int_equal(identity_save(me, path, "node", &why), OK);
	assert_int_equal(temp_mode(path), 0600);
	struct identity *b = load(path, false);
	assert_true(node_id_eq(identity_id(me), identity_id(b)));
	identity_free(me);
	identity_free(b);
}

/* Eight processes begin at once; one key comes out. */
static void test_two_processes_get_one_key(void **state)
{
	enum { N = 8 };
	struct node_id ids[N];
	pid_t pids[N];
	int go[2], out[2];
	(void)state;
	const char *path = temp_path("key");
	assert_int_equal(pipe(go), 0);
	assert_int_equal(pipe(out), 0);
	for (int i = 0; i < N; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i])
			continue;
		char c;
		struct buf why = {0};
		struct identity *me;
		bool fresh;
		close(go[1]);
		if (read(go[0], &c, 1) != 0 ||
		    identity_load(path, "node", &fresh, &why, &me) ||
		    write(out[1], identity_id(me), NODE_ID_SIZE) !=
			NODE_ID_SIZE)
			_exit(1);
		_exit(0);
	}
	close(go[0]);
	close(go[1]);
	for (int i = 0; i < N; i++) {
		int status;
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
		assert_int_equal(read(out[0], &ids[i], NODE_ID_SIZE),
				 NODE_ID_SIZE);
		assert_true(node_id_eq(&ids[0], &ids[i]));
	}
	close(out[0]);
	close(out[1]);
}

/* RFC 8032 section 7.1, test 1. */
static void test_known_key(void **state)
{
	uint8_t seed[32];
	(void)state;
	assert_true(hex_decode("9d61b19deffd5a60ba844af492ec2cc4"
			       "4449c5697b326919703bac031cae7f60",
			       seed, 32));
	struct identity *me = identity_from_seed(seed);
	assert_string_equal(node_hex(identity_id(me)),
			    "d75a980182b10ab7d54bfed3c964073a"
			    "0ee172f3daa62325af021a68f707511a");
	/* From Python's hashlib.blake2b and the two lists. */
	assert_string_equal(node_str(identity_id(me)), "squid-linen-ac30");
	identity_free(me);
}

static void test_names_are_two_words_and_digits(void **state)
{
	struct node_id id = {{0}};
	char name[NODE_NAME_SIZE];
	(void)state;
	for (int i = 0; i < 2000; i++) {
		char animal[20], colour[20], digits[20];
		memcpy(id.b, &i, sizeof(i));
		node_name(&id, name);
		assert_int_equal(sscanf(name, "%19[a-z]-%19[a-z]-%19[0-9a-f]",
					animal, colour, digits),
				 3);
		assert_int_equal(strlen(digits), 4);
		assert_string_equal(node_str(&id), name);
	}
}

static void test_log_names_live_for_eight_calls(void **state)
{
	struct node_id id[8] = {{{0}}};
	const char *s[8];
	(void)state;
	for (int i = 0; i < 8; i++) {
		id[i].b[31] = (uint8_t)i;
		s[i] = node_hex(&id[i]);
	}
	for (int i = 0; i < 8; i++)
		assert_int_equal(s[i][63], '0' + i);
	assert_true(node_id_cmp(&id[1], &id[2]) < 0);
	assert_true(node_id_cmp(&id[2], &id[1]) > 0);
	assert_int_equal(node_id_cmp(&id[2], &id[2]), 0);
	assert_false(node_id_eq(&id[1], &id[2]));
}

static void test_signature_binds_purpose_parts_and_key(void **state)
{
	const struct bytes parts[] = {
	    {(const uint8_t *)"ab", 2}, {NULL, 0}, {(const uint8_t *)"c", 1}};
	const struct bytes joined = {(const uint8_t *)"abc", 3};
	const struct bytes other = {(const uint8_t *)"abd", 3};
	uint8_t sig[SIGN_SIZE], plain[SIGN_SIZE], seed[32] = {7};
	(void)state;
	struct identity *me = identity_from_seed(seed);
	struct identity *you = identity_random();
	const struct node_id *id = identity_id(me);
	identity_sign(me, "hnode test 1", parts, 3, sig);
	assert_true(node_id_verify(id, "hnode test 1", parts, 3, sig));
	assert_true(node_id_verify(id, "hnode test 1", &joined, 1, sig));
	assert_false(node_id_verify(id, "hnode test 2", parts, 3, sig));
	assert_false(node_id_verify(id, "hnode test 1", &other, 1, sig));
	assert_false(node_id_verify(id, "hnode test 1", parts, 1, sig));
	assert_false(
	    node_id_verify(identity_id(you), "hnode test 1", parts, 3, sig));
	for (int i = 0; i < SIGN_SIZE; i++) {
		sig[i] ^= 1;
		assert_false(node_id_verify(id, "hnode test 1", parts, 3, sig));
		sig[i] ^= 1;
	}
	/* The bytes that decisions.md D3 names. */
	uint8_t pk[32], sk[64];
	crypto_sign_seed_keypair(pk, sk, seed);
	crypto_sign_detached(plain, NULL, (const uint8_t *)"hnode test 1\0abc",
			     16, sk);
	assert_memory_equal(sig, plain, SIGN_SIZE);
	identity_free(me);
	identity_free(you);
}

static void test_noise_keys_agree(void **state)
{
	uint8_t a[32], b[32], pub_a[32], pub_b[32], ab[32], ba[32];
	(void)state;
	struct identity *ia = identity_random(), *ib = identity_random();
	identity_noise_key(ia, a);
	identity_noise_key(ib, b);
	assert_true(node_id_noise_key(identity_id(ia), pub_a));
	assert_true(node_id_noise_key(identity_id(ib), pub_b));
	assert_int_equal(crypto_scalarmult(ab, a, pub_b), 0);
	assert_int_equal(crypto_scalarmult(ba, b, pub_a), 0);
	assert_memory_equal(ab, ba, 32);
	identity_free(ia);
	identity_free(ib);
	/* Points of small order are no keys. */
	struct node_id bad = {{1}};
	assert_false(node_id_noise_key(&bad, pub_a));
	memset(&bad, 0, sizeof(bad));
	assert_false(node_id_noise_key(&bad, pub_a));
}

static void test_export_needs_the_passphrase(void **state)
{
	struct buf word = {0}, why = {0}, bytes = {0};
	struct identity *me = identity_random(), *back = NULL;
	(void)state;
	assert_int_equal(identity_export(me, "", &word), ERR_INPUT);
	assert_int_equal(identity_export(me, "correct horse", &word), OK);
	assert_int_equal(strncmp(buf_str(&word), "hnowner1", 8), 0);
	assert_int_equal(
	    identity_import(buf_str(&word), "wrong horse", &why, &back),
	    ERR_CRYPTO);
	assert_null(back);
	assert_non_null(strstr(buf_str(&why), "passphrase"));
	assert_int_equal(
	    identity_import(buf_str(&word), "correct horse", &why, &back), OK);
	assert_true(node_id_eq(identity_id(me), identity_id(back)));
	identity_free(back);

	/* Every header byte is authenticated: a changed salt fails. */
	assert_int_equal(
	    word_decode(WORD_OWNER, buf_str(&word), 200, &bytes, NULL), OK);
	bytes.p[5] ^= 1;
	buf_clear(&word);
	word_encode(WORD_OWNER, bytes.p, bytes.n, &word);
	back = NULL;
	assert_int_equal(
	    identity_import(buf_str(&word), "correct horse", &why, &back),
	    ERR_CRYPTO);
	identity_free(me);
	buf_release(&word);
	buf_release(&bytes);
	buf_release(&why);
}

static void assert_import_refused(const uint8_t *p, size_t n, enum err want,
				  const char *words)
{
	struct buf word = {0}, why = {0};
	struct identity *back = NULL;
	word_encode(WORD_OWNER, p, n, &word);
	assert_int_equal(identity_import(buf_str(&word), "x", &why, &back),
			 want);
	assert_null(back);
	assert_non_null(strstr(buf_str(&why), words));
	buf_release(&word);
	buf_release(&why);
}

static void test_import_refuses_odd_words(void **state)
{
	uint8_t data[91] = {1, 4, 6};
	struct buf why = {0};
	struct identity *back = NULL;
	(void)state;
	assert_import_refused(data, 0, ERR_INPUT, "wrong length");
	assert_import_refused(data, 90, ERR_INPUT, "wrong length");
	data[0] = 2;
	assert_import_refused(data, 91, ERR_INPUT, "newer");
	data[0] = 1;
	data[1] = 255;
	assert_import_refused(data, 91, ERR_LIMIT, "more work");
	data[1] = 0;
	assert_import_refused(data, 91, ERR_LIMIT, "more work");
	data[1] = 4;
	data[2] = 60;
	assert_import_refused(data, 91, ERR_LIMIT, "more work");
	assert_int_equal(identity_import("hn1qqqqqqq", "x", &why, &back),
			 ERR_INPUT);
	assert_non_null(strstr(buf_str(&why), "this is an invite"));
	buf_release(&why);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_file_is_made_private_and_read_again),
	    T(test_open_mode_is_mended),
	    T(test_every_cut_is_seen_and_kept),
	    T(test_every_changed_byte_is_seen),
	    T(test_foreign_files_are_named),
	    T(test_what_is_no_file_is_refused),
	    T(test_save_replaces),
	    T(test_two_processes_get_one_key),
	    cmocka_unit_test(test_known_key),
	    cmocka_unit_test(test_names_are_two_words_and_digits),
	    cmocka_unit_test(test_log_names_live_for_eight_calls),
	    cmocka_unit_test(test_signature_binds_purpose_parts_and_key),
	    cmocka_unit_test(test_noise_keys_agree),
	    cmocka_unit_test(test_export_needs_the_passphrase),
	    cmocka_unit_test(test_import_refuses_odd_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
