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

/* As above, but upwards from n + 1: the ratios m/(n+2), m/(n+3), ... fall. */
double poisson_above(double mean, uint64_t n)
{
	const double count = (double)n + 1;

	if (mean <= 0)
		return 0;
	if (count <= mean)
		return 1 - poisson_at_most(mean, n);
	double sum = 1, term = 1;

	for (double i = count + 1; term > sum * 1e-15; i++) {
		term *= mean / i;
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

double check_weight(uint64_t nonces, unsigned bits)
{
	return -expm1(-ldexp((double)nonces, -(int)bits));
}

/*
 * A piece in which the part y is left out, with L shares expected in all of
 * it, says nothing with chance exp(-L y). The piece was drawn evenly: the
 * mean of y is x. exp is convex, so over [0, 1] it lies below its chord
 * 1 - (1 - exp(-L)) y, whose mean is 1 - w x; equal when y is 0 or 1, that
 * is, when what is left out is one stretch. Pieces in strata, or of unequal
 * weights: a product of such factors is at most the power of their mean.
 */
double unseen_by_pieces(double x, double pieces, double weight)
{
	if (pieces <= 0)
		return 1;
	return exp(pieces * log1p(-fmin(1, x * weight / pieces)));
}

/* Whole strata that are left out, and the part of one at the border. */
double unseen_in_stretch(double x, double pieces, double weight)
{
	const double strata = floor(x * pieces);

	return exp(strata * log1p(-weight)) *
	       (1 - weight * (x * pieces - strata));
}

/* Each of the shares there is missing with chance x, on its own. */
double unseen_if_scattered(double x, double shares)
{
	return exp(-x * shares);
}

/* The most shares that are too few, in a test of so many expected; -1 when
 * even none at all may be chance. */
static int64_t too_few(double expected)
{
	int64_t lo = -1, hi = (int64_t)fmin(ceil(expected), 0x1p53);

	while (hi - lo > 1) {
		const int64_t mid = lo + (hi - lo) / 2;

		if (poisson_at_most(expected, (uint64_t)mid) < CHECK_DOUBT)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

/* What is reported is a Poisson variable of mean (1 - x) expected. */
double unseen_by_count(double x, double expected)
{
	const int64_t r = too_few(expected);

	return r < 0 ? 1 : poisson_above((1 - x) * expected, (uint64_t)r);
}

/* Behind what is left out it is, once more, exponential to the next share;
 * what lies before it, since the last one, only makes it longer. */
double unseen_by_gap(double gap, double expected)
{
	const double n = expected > 1 ? expected : 1;
	const double more = log(n / CHECK_DOUBT) - gap;

	return more > 0 ? -expm1(-more) : 0;
}

double unseen_if_false(double x, double n, unsigned bits)
{
	return exp(n * log1p(-x * (1 - ldexp(1, -(int)bits))));
}

/* No bad one among those drawn without putting back. */
double unseen_by_opening(uint64_t all, uint64_t bad, uint64_t opened)
{
	if (!bad || !opened)
		return 1;
	if (opened + bad > all)
		return 0;
	const double n = (double)all, b = (double)bad, k = (double)opened;

	return exp(lgamma(n - b + 1) - lgamma(n - b - k + 1) - lgamma(n + 1) +
		   lgamma(n - k + 1));
}

double unseen_winner(double rescanned)
{
	return 1 - rescanned;
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

/* (c) was tested last when half of what is next was expected. Both kinds of
 * evidence must be silent: no likelier than the less likely. */
static double unseen(double x, uint64_t pieces, double weight,
		     const struct evidence *e)
{
	return fmin(unseen_by_pieces(x, (double)pieces, weight),
		    e->next > FIRST_TEST ? unseen_by_count(x, e->next / 2) : 1);
}

void check_peer(struct check_report *r, uint64_t pieces, double weight,
		const struct evidence *e)
{
	r->unseen_1 = fmax(r->unseen_1, unseen(0.01, pieces, weight, e));
	r->unseen_10 = fmax(r->unseen_10, unseen(0.1, pieces, weight, e));
	r->unseen_50 = fmax(r->unseen_50, unseen(0.5, pieces, weight, e));
	if (pieces < r->fewest)
		r->fewest = pieces;
}

double check_fraction(const struct check_report *r)
{
	if (!r->foreign)
		return r->own ? 1 : 0;
	const double c = (double)r->rescanned / (double)r->foreign;

	return c < 1 ? c : 1;
}

double check_cost(const struct check_report *r)
{
	const double work = (double)r->foreign + (double)r->own;

	return work > 0 ? (double)(r->scanned + r->given) / work : 0;
}

static void note_checked(const struct check_report *r, struct buf *out)
{
	buf_printf(out,
		   "%" PRIu64 " shares expected of others, %" PRIu64
		   " reported, each hashed again, so that an invented one is "
		   "seen; %.2f %% of their work re-scanned in %" PRIu64
		   " piece%s",
		   r->expected, r->reported, 100 * check_fraction(r), r->pieces,
		   r->pieces == 1 ? "" : "s");
	if (r->checks)
		buf_printf(out,
			   ", %" PRIu64 " of %" PRIu64 " check units passed",
			   r->checks_passed, r->checks);
	if (r->replicas)
		buf_printf(out, ", %" PRIu64 " replica%s compared", r->replicas,
			   r->replicas == 1 ? "" : "s");
	if (r->unreplicated)
		buf_printf(out,
			   ", but no second peer was there for %" PRIu64
			   " nonces that should have had one",
			   r->unreplicated);
	buf_printf(out, ", at a cost of %.2f %% of the work",
		   100 * check_cost(r));
}

void check_note(const struct check_report *r, struct buf *out)
{
	if (!r->foreign) {
		buf_add_str(out, r->own ? "all of it was done by this node, "
					  "which trusts itself; every hit was "
					  "hashed again"
					: "nothing was done");
		return;
	}
	note_checked(r, out);
	if (!r->pieces) {
		buf_add_str(out, "; nothing was scanned again, so that only "
				 "the number of shares proves their work");
		return;
	}
	if (check_fraction(r) >= 1) {
		buf_add_str(out, "; all of it was scanned again here, so the "
				 "result is this node's own");
		return;
	}
	buf_printf(out,
		   "; a peer that skipped x stays unseen with probability at "
		   "most (1-0.22x)^s, s = %" PRIu64
		   " for the least checked one (x = 1 %%: %.2g, 10 %%: %.2g, "
		   "50 %%: %.2g); a withheld winner is seen only with "
		   "probability %.2g",
		   r->fewest, r->unseen_1, r->unseen_10, r->unseen_50,
		   1 - unseen_winner(check_fraction(r)));
}
