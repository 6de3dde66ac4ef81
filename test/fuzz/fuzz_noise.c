/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/mem.h"
#include "rpc/noise.h"

#include <sodium.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/*
 * The first byte says where the rest goes, by its low three bits: messages 1,
 * 2 and 3 of XKpsk0 to whoever reads them, message 1 to a responder with
 * several psks, or a protocol name. Bit 7 picks AESGCM. All keys are fixed, so
 * that a recorded message is taken.
 */

enum { FUZZ_MAX = 4096, FUZZ_PSK = 0x33, CANDIDATES = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct noise *make(bool initiator, bool aes, bool with_psk)
{
	uint8_t s[NOISE_KEY_LEN], e[NOISE_KEY_LEN], other[NOISE_KEY_LEN];
	uint8_t rs[NOISE_KEY_LEN], psk[1][NOISE_KEY_LEN];
	struct noise_options o = {
	    .protocol = aes ? "Noise_XKpsk0_25519_AESGCM_SHA256"
			    : "Noise_XKpsk0_25519_ChaChaPoly_SHA256",
	    .initiator = initiator,
	    .s = s,
	    .e = e,
	    .rs = rs,
	    .psks = psk,
	    .n_psks = with_psk ? 1 : 0,
	};
	struct noise *n;
	enum err err;

	memset(s, initiator ? 0x11 : 0x22, sizeof s);
	memset(other, initiator ? 0x22 : 0x11, sizeof other);
	memset(e, initiator ? 0x44 : 0x55, sizeof e);
	memset(psk, FUZZ_PSK, sizeof psk);
	if (crypto_scalarmult_base(rs, other) != 0)
		abort();
	err = noise_new(&o, &n);
	assert(!err);
	(void)err;
	return n;
}

/* The real messages before the one that is the input. */
static void pass(struct noise *from, struct noise *to)
{
	uint8_t msg[256];
	size_t n;

	if (noise_write(from, (const uint8_t *)"hello", 5, msg, sizeof msg,
			&n) ||
	    noise_read(to, msg, n, msg + 128, 128, &n))
		abort();
}

static void read_one(struct noise *n, const uint8_t *data, size_t size)
{
	uint8_t payload[FUZZ_MAX], again[64] = {0};
	size_t len = 0;

	if (!noise_read(n, data, size, payload, sizeof payload, &len)) {
		assert(len <= size);
		return;
	}
	/* A failure is for good. */
	if (noise_my_turn(n) || noise_done(n) ||
	    noise_read(n, again, sizeof again, payload, sizeof payload, &len) !=
		ERR_INPUT)
		abort();
}

static void read_psks(struct noise *n, const uint8_t *data, size_t size)
{
	uint8_t payload[FUZZ_MAX], psks[CANDIDATES][NOISE_KEY_LEN] = {{0}};
	size_t len = 0, which = 0;

	memset(psks[CANDIDATES - 1], FUZZ_PSK, sizeof psks[0]);
	if (noise_read_psks(n, psks, CANDIDATES, data, size, payload,
			    sizeof payload, &len, &which))
		return;
	assert(len <= size && which == CANDIDATES - 1);
}

static void parse_name(const uint8_t *data, size_t size)
{
	static const uint8_t key[NOISE_KEY_LEN] = {9};
	static const uint8_t psks[NOISE_PSKS_MAX][NOISE_KEY_LEN] = {{1}};
	char *name = xcalloc(1, size + 1);
	struct noise_options o = {
	    .protocol = name,
	    .s = key,
	    .e = key,
	    .rs = key,
	    .psks = psks,
	};

	if (size > 0)
		memcpy(name, data, size);
	for (o.n_psks = 0; o.n_psks <= NOISE_PSKS_MAX; o.n_psks++) {
		struct noise *n;

		o.initiator = size % 2;
		if (!noise_new(&o, &n))
			noise_free(n);
	}
	free(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct noise *dialler, *listener;
	unsigned kind;
	bool aes;

	if (sodium_init() < 0 || size < 1 || size > FUZZ_MAX)
		return 0;
	kind = data[0] & 7;
	aes = data[0] & 0x80 && noise_aesgcm_available();
	data++;
	size--;
	if (kind > 3) {
		parse_name(data, size);
		return 0;
	}
	dialler = make(true, aes, true);
	listener = make(false, aes, kind != 3);
	if (kind == 1 || kind == 2)
		pass(dialler, listener);
	if (kind == 2)
		pass(listener, dialler);
	if (kind == 3)
		read_psks(listener, data, size);
	else
		read_one(kind == 1 ? dialler : listener, data, size);
	noise_free(dialler);
	noise_free(listener);
	return 0;
}
