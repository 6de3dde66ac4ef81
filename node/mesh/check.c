/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/check.h"

#include "asic/sha256d.h"

#include <inttypes.h>
#include <math.h>

#define FIRST_TEST 21.0 /* exp(-21) < CHECK_DOUBT: none at all is seen */

static void hash_header(void *arg, const uint8_t header[static HEADER_SIZE],
			uint32_t nonce, uint8_t digest[static 32])
{
	(void)arg;
	sha256d_header(header, nonce, digest);
}

const struct judge judge_reference = {hash_header, NULL};

/* The probability of n, times the sum of the falling ratios n/m, n(n-1)/m^2,
 * ..., which ends soon because each is smaller than the one before. */
double poisson_at_most(double mean, uint64_t n)
{
	const double count = (double)n;

	if (count >= mean)
		return 1;
	double sum = 1, term = 1;

	for (double i = count; i >= 1 && term > sum * 1e-15; i--) {
		term *= i / mean;
		sum += term;
	}
	return exp(-mean + count * log(mean) - lgamma(count + 1)) * sum;
}

void evidence_add(struct evidence *e, uint64_t hashes, unsigned bits,
		  uint64_t shares)
{
	e->expected += ldexp((double)hashes, -(int)bits);
	e->reported += shares;
}

bool evidence_low(struct evidence *e)
{
	if (e->next < FIRST_TEST)
		e->next = FIRST_TEST;
	if (e->expected < e->next)
		return false;
	e->next = 2 * e->expected;
	return poisson_at_most(e->expected, e->reported) < CHECK_DOUBT;
}

bool evidence_gap(uint64_t gap, unsigned bits, double expected)
{
	const double n = expected > 1 ? expected : 1;

	return n * exp(-ldexp((double)gap, -(int)bits)) < CHECK_DOUBT;
}

static uint64_t below(uint64_t n, uint64_t (*random)(void *arg), void *arg)
{
	return random(arg) % n; /* the bias is n / 2^64 */
}

/*
 * In a stratum of length l a piece of p nonces begins anywhere from p - 1
 * before it to its last nonce and is clipped: so that each nonce of the
 * stratum, its ends too, has the chance p / (l + p - 1).
 */
static struct span draw_in(struct span s, uint64_t p,
			   uint64_t (*random)(void *arg), void *arg)
{
	const uint64_t at = below(s.b - s.a + p - 1, random, arg);
	const uint64_t end = s.a + at + 1;

	return (struct span){
	    .a = at >= p - 1 ? s.a + at - (p - 1) : s.a,
	    .b = end < s.b ? end : s.b,
	};
}

size_t check_draw(struct span range, unsigned bits, uint64_t nonces,
		  uint64_t (*random)(void *arg), void *arg, struct span *out,
		  size_t max)
{
	const uint64_t length = range.b - range.a;
	uint64_t piece = bits > 2 ? UINT64_C(1) << (bits - 2) : 1;

	if (!length || !nonces || !max)
		return 0;
	if (nonces > length)
		nonces = length;
	if (piece < CHECK_PIECE_MIN)
		piece = CHECK_PIECE_MIN;
	if (piece < (nonces + max - 1) / max)
		piece = (nonces + max - 1) / max;
	if (piece > length)
		piece = length;
	/* Whole pieces, and one more as often as the rest demands. */
	uint64_t n = nonces / piece;
	if (below(piece, random, arg) < nonces % piece)
		n++;
	if (n > max)
		n = max;

	for (uint64_t i = 0; i < n; i++) {
		const struct span stratum = {range.a + length * i / n,
					     range.a + length * (i + 1) / n};

		out[i] = draw_in(stratum, piece, random, arg);
	}
	return (size_t)n;
}

struct span check_run(struct span range, uint64_t nonces,
		      uint64_t (*random)(void *arg), void *arg)
{
	const uint64_t length = range.b - range.a;

	return draw_in(range, nonces < length ? nonces : length, random, arg);
}

/* The first that is not below x. */
static size_t first_from(const uint32_t *list, size_t n, uint64_t x)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;

		if (list[mid] < x)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const uint32_t *check_within(const uint32_t *list, size_t n, struct span s,
			     size_t *count)
{
	const size_t from = first_from(list, n, s.a);

	*count = first_from(list, n, s.b) - from;
	return from < n ? list + from : NULL;
}

bool check_lacks(const uint32_t *have, size_t n, const uint32_t *all, size_t m,
		 uint32_t *which)
{
	size_t i = 0;

	for (size_t k = 0; k < m; k++) {
		while (i < n && have[i] < all[k])
			i++;
		if (i == n || have[i] != all[k]) {
			*which = all[k];
			return true;
		}
	}
	return false;
}

double check_fraction(const struct check_report *r)
{
	if (!r->foreign)
		return r->own ? 1 : 0;
	const double c = (double)r->rescanned / (double)r->foreign;

	return c < 1 ? c : 1;
}

void check_note(const struct check_report *r, struct buf *out)
{
	const double c = check_fraction(r);

	if (!r->foreign) {
		buf_add_str(out, r->own ? "all of it was done by this node, "
					  "which trusts itself; every hit was "
					  "hashed again"
					: "nothing was done");
		return;
	}
	if (!r->pieces) {
		buf_printf(out,
			   "%" PRIu64 " shares expected of others, %" PRIu64
			   " reported, each hashed again; nothing was scanned "
			   "again, so that nothing proves their work",
			   r->expected, r->reported);
		return;
	}
	buf_printf(out,
		   "%" PRIu64 " shares expected of others, %" PRIu64
		   " reported, each hashed again; %.2f %% of their work "
		   "re-scanned in %" PRIu64
		   " piece%s; a peer that skipped x stays unseen with "
		   "probability at most (1-0.22x)^s, s = %" PRIu64
		   " for the least checked one (x = 10 %%: %.2g); a withheld "
		   "winner is seen only with probability %.2g",
		   r->expected, r->reported, 100 * c, r->pieces,
		   r->pieces == 1 ? "" : "s", r->fewest,
		   pow(1 - 0.022, (double)r->fewest), c);
}
