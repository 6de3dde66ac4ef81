/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Evidence as it comes from a peer or a file. What proves something must
 * prove it again after being written and read; nothing that is made up may.
 */
#include "test/fuzz/fuzz.h"

#include "node/base/evidence.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = {0};
	struct buf why = {0}, packed = {0}, json = {0};
	struct evidence_doc d, again;

	if (!evidence_read(data, size, &a, &d, &why)) {
		const enum err e = evidence_verify(&d, &why);
		enum err f;

		assert(why.n);
		evidence_pack(&d, &packed);
		f = evidence_read(packed.p, packed.n, &a, &again, &why);
		assert(!f && evidence_verify(&again, &why) == e);
		fields_to_json(&evidence_message, &d, &json);
		f = evidence_read(json.p, json.n, &a, &again, &why);
		assert(f == ERR_LIMIT ||
		       (!f && evidence_verify(&again, &why) == e));
	} else {
		assert(why.n);
	}
	buf_release(&why);
	buf_release(&packed);
	buf_release(&json);
	arena_release(&a);
	return 0;
}
