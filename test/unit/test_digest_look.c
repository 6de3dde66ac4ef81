/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/digest_look.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/identity.h"
#include "test/support/temp.h"

enum { INPUTS = 1000, RECORD = 4 };

/* A worker that is wrong at one place of a thousand, all of which are looked
 * at: wherever that is, it is what will be opened. */
static void test_a_wrong_place_is_opened_wherever_it_is(void **state)
{
	static uint8_t text[INPUTS][RECORD];
	static uint8_t digests[INPUTS][32];
	struct identity *worker = identity_random();
	struct batch_spec spec = {.rounds = 1,
				  .record = RECORD,
				  .inputs = INPUTS,
				  .blocks = 1,
				  .size = sizeof(text)};
	const struct batch_cut cut = batch_spec_cut(&spec);
	const struct batch_mark marks[] = {batch_record_mark(&cut, 0),
					   batch_record_mark(&cut, 1)};
	struct stat st;

	(void)state;
	temp_make();
	for (uint32_t i = 0; i < INPUTS; i++) {
		put_be32(text[i], i);
		crypto_hash_sha256(digests[i], text[i], RECORD);
	}
	temp_write(temp_path("in"), text, sizeof(text));
	const int fd = open(temp_path("in"), O_RDONLY | O_CLOEXEC);

	assert_int_equal(fstat(fd, &st), 0);
	spec.dev = (uint64_t)st.st_dev;
	spec.ino = (uint64_t)st.st_ino;
	spec.mtime_ns = (uint64_t)st.st_mtim.tv_sec * 1000000000 +
			(uint64_t)st.st_mtim.tv_nsec;
	for (uint32_t wrong = 0; wrong < INPUTS; wrong += 13) {
		struct digest_answer answer = {
		    .job = "j", .lease = 1, .end = INPUTS, .rounds = 1};
		uint8_t sig[SIGN_SIZE];

		digests[wrong][0] ^= 1;
		struct merkle *t =
		    merkle_of_digests(digests, INPUTS, digest_hash);

		memcpy(answer.root, merkle_root(t), MERKLE_SIZE);
		merkle_free(t);
		digest_answer_sign(&answer, worker, sig);
		struct digest_look l = {.fd = fd,
					.spec = &spec,
					.marks = marks,
					.nmarks = HN_COUNT(marks),
					.digests = digests,
					.n = INPUTS,
					.answer = &answer,
					.worker = identity_id(worker),
					.sig = sig,
					.want = INPUTS};

		digest_look_run(&l);
		assert_int_equal(l.e, OK);
		assert_true(l.wrong);
		assert_true(l.nopen <= DIGEST_OPEN_MAX);
		assert_int_equal(l.open[l.wrong_open], wrong);
		assert_memory_equal(l.input.p, text[wrong], RECORD);
		digest_look_release(&l);
		digests[wrong][0] ^= 1;
	}
	close(fd);
	identity_free(worker);
	temp_remove();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_wrong_place_is_opened_wherever_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
