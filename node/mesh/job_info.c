/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/job_impl.h"

#include "node/mesh/digest.h"
#include "node/mesh/job.h"
#include "node/mesh/sched.h"

#include <utlist.h>

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define TEXT_MAX 512
#define NOTE_MAX 1024
#define WORD_MAX 32
#define PATH_MAX_SHOWN 1024
#define HEX_MAX 64 /* of a digest, a target, a node id */
#define PEERS_MAX WORKER_MAX
#define UNITS_MAX (WORKER_MAX * 4)

static const struct field job_hit_fields[] = {
    FIELD_U64(struct job_hit, nonce, NONCES, "the nonce"),
    FIELD_STR(struct job_hit, hash, HEX_MAX, "as explorers show it"),
    FIELD_STR(struct job_hit, by, HEX_MAX, "node id of the finder"),
};
const struct message job_hit_message =
    MESSAGE("job_hit", struct job_hit, job_hit_fields);

static const struct field job_peer_fields[] = {
    FIELD_STR(struct job_peer, id, HEX_MAX, "node id"),
    FIELD_STR(struct job_peer, name, NODE_NAME_SIZE, "its name for people"),
    FIELD_U64(struct job_peer, units, 0, "units it has ended"),
    FIELD_U64(struct job_peer, hashes, 0, "nonces credited to it"),
    FIELD_U64(struct job_peer, rate, 0, "H/s over its work on this job"),
    FIELD_U64(struct job_peer, expected_shares, 0, "shares expected of it"),
    FIELD_U64(struct job_peer, shares, 0, "shares it reported"),
    FIELD_F64(struct job_peer, rescanned, "fraction scanned again, 0..1"),
    FIELD_U64(struct job_peer, late, 0, "units that came late"),
    FIELD_STR(struct job_peer, state, WORD_MAX,
	      "working, done, lost or dropped"),
    FIELD_STR(struct job_peer, why, TEXT_MAX, "of lost and dropped ones"),
    FIELD_U64(struct job_peer, pieces, 0, "pieces that agreed"),
    FIELD_U64(struct job_peer, checks, 0, "of them, check units"),
    FIELD_F64(struct job_peer, unseen_10,
	      "chance that a tenth left out is unseen, at most"),
    FIELD_U64(struct job_peer, all_hashes, 0, "nonces, in all its jobs"),
    FIELD_U64(struct job_peer, all_expected, 0, "shares expected there"),
    FIELD_U64(struct job_peer, all_shares, 0, "shares reported there"),
    FIELD_U64(struct job_peer, all_rescanned, 0, "nonces compared there"),
    FIELD_U64(struct job_peer, all_pieces, 0, "pieces that agreed there"),
    FIELD_U64(struct job_peer, all_checks, 0, "check units passed there"),
    FIELD_U64(struct job_peer, all_failures, 0, "lies, proven or suspected"),
};
const struct message job_peer_message =
    MESSAGE("job_peer", struct job_peer, job_peer_fields);

static const struct field job_unit_fields[] = {
    FIELD_U64(struct job_unit, lease, 0, "lease id"),
    FIELD_U64(struct job_unit, start, NONCES, "first nonce"),
    FIELD_U64(struct job_unit, end, NONCES, "nonce behind the last"),
    FIELD_U64(struct job_unit, below, NONCES, "all below it is done"),
    FIELD_STR(struct job_unit, state, WORD_MAX,
	      "assigned, computing, done or taken-back"),
    FIELD_STR(struct job_unit, peer, NODE_NAME_SIZE, "who holds or held it"),
};
const struct message job_unit_message =
    MESSAGE("job_unit", struct job_unit, job_unit_fields);

static const struct field job_info_fields[] = {
    FIELD_STR(struct job_info, job, JOB_ID_SIZE, "job id"),
    FIELD_STR(struct job_info, kind, WORD_MAX, "kind of job"),
    FIELD_STR(struct job_info, state, WORD_MAX,
	      "queued, running, done, failed or canceled"),
    FIELD_STR(struct job_info, error, WORD_MAX, "of a failed one: its code"),
    FIELD_STR(struct job_info, text, TEXT_MAX, "and a sentence"),
    FIELD_BOOL(struct job_info, found, "is there a hit"),
    FIELD_OPT_U64(struct job_info, nonce, "the lowest hit"),
    FIELD_STR(struct job_info, hash, HEX_MAX, "its hash, as explorers do"),
    FIELD_STR(struct job_info, by, HEX_MAX, "who found it"),
    FIELD_U64(struct job_info, start, NONCES, "first nonce of the range"),
    FIELD_U64(struct job_info, end, NONCES, "nonce behind the last"),
    FIELD_U64(struct job_info, hashes, 0, "nonces done, each counted once"),
    FIELD_F64(struct job_info, percent, "of the range, 0..100"),
    FIELD_F64(struct job_info, seconds, "since submission, or its life"),
    FIELD_U64(struct job_info, rate, 0, "H/s now, or over its life"),
    FIELD_F64(struct job_info, eta_s, "seconds to the end; -1: unknown"),
    FIELD_U64(struct job_info, peers, 0, "how many did work"),
    FIELD_U64(struct job_info, workers, 0, "how many are at work now"),
    FIELD_F64(struct job_info, checked,
	      "fraction of others' work scanned again, 0..1"),
    FIELD_U64(struct job_info, expected_shares, 0, "shares expected"),
    FIELD_U64(struct job_info, shares, 0, "shares reported"),
    FIELD_U64(struct job_info, rehashed, 0, "shares hashed again"),
    FIELD_U64(struct job_info, pieces, 0, "pieces scanned again"),
    FIELD_U64(struct job_info, late, 0, "hashes done twice, counted once"),
    FIELD_U64(struct job_info, pending, 0, "units not given out, about"),
    FIELD_U64(struct job_info, assigned, 0, "units given out, not begun"),
    FIELD_U64(struct job_info, computing, 0, "units at work"),
    FIELD_U64(struct job_info, done, 0, "units done"),
    FIELD_U64(struct job_info, failed, 0, "units taken back"),
    FIELD_STR(struct job_info, header, 2 * HEADER_SIZE, "as hex"),
    FIELD_STR(struct job_info, target, HEX_MAX, "as explorers show it"),
    FIELD_BOOL(struct job_info, all, "does not stop at the first hit"),
    FIELD_LIST(struct job_info, hits, JOB_MAX_HITS, &job_hit_message,
	       "every hit; with all"),
    FIELD_LIST(struct job_info, by_peer, PEERS_MAX, &job_peer_message,
	       "who did what"),
    FIELD_LIST(struct job_info, units, UNITS_MAX, &job_unit_message,
	       "units in hands, and the last that ended"),
    FIELD_STR(struct job_info, note, NOTE_MAX,
	      "what the evidence says, and what it cannot"),
    FIELD_U64(struct job_info, rescanned, 0, "nonces of others compared"),
    FIELD_U64(struct job_info, scanned, 0, "nonces scanned here to check"),
    FIELD_U64(struct job_info, given, 0, "nonces done twice to check"),
    FIELD_U64(struct job_info, checks, 0, "check units that ended"),
    FIELD_U64(struct job_info, checks_passed, 0, "of them, passed"),
    FIELD_U64(struct job_info, replicas, 0, "replicas compared"),
    FIELD_U64(struct job_info, unreplicated, 0,
	      "nonces that no second peer could do"),
    FIELD_F64(struct job_info, cost, "of the checks, per work, 0..1"),
    FIELD_F64(struct job_info, unseen_1,
	      "chance that 1 % left out is unseen, at most"),
    FIELD_F64(struct job_info, unseen_10, "10 %"),
    FIELD_F64(struct job_info, unseen_50, "50 %"),
    FIELD_F64(struct job_info, winner_seen,
	      "chance that a withheld winner is seen"),
    FIELD_MSG(struct job_info, terms, &terms_shown_message,
	      "what it asks of its peers"),
    FIELD_STR(struct job_info, backup, HEX_MAX,
	      "node id of the one that takes it over"),
    FIELD_U64(struct job_info, twice, 0,
	      "nonces that submitter and backup both had done"),
    FIELD_STR(struct job_info, backup_note, TEXT_MAX,
	      "what the backup has of it; of an open job"),
    FIELD_STR(struct job_info, taken_from, NODE_NAME_SIZE,
	      "taken over here; whose job it is"),
    FIELD_STR(struct job_info, file, PATH_MAX_SHOWN, "of a batch: the inputs"),
    FIELD_STR(struct job_info, out, PATH_MAX_SHOWN, "and where digests go"),
    FIELD_U64(struct job_info, inputs, 0, "inputs in the file"),
    FIELD_U64(struct job_info, bytes, 0, "bytes of the file"),
    FIELD_STR(struct job_info, waiting, TEXT_MAX,
	      "what a job that is all done still waits for"),
};
const struct message job_info_message =
    MESSAGE("job_info", struct job_info, job_info_fields);

static char *text(struct arena *a, const char *s)
{
	return arena_strndup(a, s, strlen(s));
}

static char *show_digest(struct arena *a, const uint8_t digest[static 32])
{
	char hex[65];

	digest_show(digest, hex);
	return text(a, hex);
}

static char *hex_of(struct arena *a, const uint8_t id[static NODE_ID_SIZE])
{
	char hex[2 * NODE_ID_SIZE + 1];

	hex_encode(id, NODE_ID_SIZE, hex);
	return text(a, hex);
}

static uint64_t whole(double x)
{
	return x > 0 ? (uint64_t)llround(x) : 0;
}

/* Numbers of its space, in hashes. */
static double weight_of(const struct job *job)
{
	return job->kind->weight ? job->kind->weight(job->spec) : 1;
}

static struct check_report report_of(const struct job *job)
{
	struct check_report r = {.scanned = job->scanned,
				 .given = job->given,
				 .checks = job->checks,
				 .checks_passed = job->checks_passed,
				 .replicas = job->replicas,
				 .unreplicated = job->unreplicated,
				 .fewest = UINT64_MAX};
	const struct part *part;
	double expected = 0;

	DL_FOREACH (job->parts, part) {
		if (part->dropped)
			continue;
		if (part->self) {
			r.own += part->hashes;
			continue;
		}
		if (!part->hashes)
			continue;
		r.foreign += part->hashes;
		r.rescanned += part->rescanned;
		r.pieces += part->pieces;
		expected += part->evidence.expected;
		r.reported += part->evidence.reported;
		check_peer(&r, part->pieces, part->weight, &part->evidence);
	}
	if (r.fewest == UINT64_MAX)
		r.fewest = 0;
	r.expected = whole(expected);
	return r;
}

static void info_checks(const struct check_report *r, struct job_info *out)
{
	out->checked = check_fraction(r);
	out->pieces = r->pieces;
	out->rescanned = r->rescanned;
	out->scanned = r->scanned;
	out->given = r->given;
	out->checks = r->checks;
	out->checks_passed = r->checks_passed;
	out->replicas = r->replicas;
	out->unreplicated = r->unreplicated;
	out->cost = check_cost(r);
	out->unseen_1 = r->unseen_1;
	out->unseen_10 = r->unseen_10;
	out->unseen_50 = r->unseen_50;
	out->winner_seen = 1 - unseen_winner(check_fraction(r));
	/* Nothing rests on their word. */
	if (check_fraction(r) >= 1)
		out->unseen_1 = out->unseen_10 = out->unseen_50 = 0;
}

/* Of a kind without shares: pieces are single hashes. */
static void info_digests(const struct job *job, struct job_info *out,
			 struct buf *note)
{
	struct digest_report d = {.fewest = UINT64_MAX};
	const struct part *part;

	DL_FOREACH (job->parts, part) {
		if (part->dropped || !part->hashes)
			continue;
		d.own |= part->self;
		if (part->self)
			continue;
		d.foreign += whole((double)part->hashes * weight_of(job));
		d.checked += part->pieces;
		if (part->pieces < d.fewest)
			d.fewest = part->pieces;
	}
	if (d.fewest == UINT64_MAX)
		d.fewest = 0;
	out->pieces = out->rescanned = out->scanned = d.checked;
	out->checked = out->winner_seen = digest_fraction(&d);
	out->cost = d.foreign ? digest_fraction(&d) : 0;
	out->unseen_1 = d.foreign ? digest_unseen(0.01, d.fewest) : 0;
	out->unseen_10 = d.foreign ? digest_unseen(0.1, d.fewest) : 0;
	out->unseen_50 = d.foreign ? digest_unseen(0.5, d.fewest) : 0;
	digest_note(&d, note);
}

static void info_evidence(const struct job *job, struct arena *a,
			  struct job_info *out)
{
	const struct check_report r = report_of(job);
	const struct part *part;
	struct buf note = {0};
	double expected = 0;

	info_checks(&r, out);
	out->rehashed = job->rehashed;
	out->late = whole((double)job->late * weight_of(job));
	out->twice = whole((double)job->twice * weight_of(job));
	DL_FOREACH (job->parts, part) {
		if (part->dropped)
			continue;
		out->peers += part->hashes > 0;
		out->workers += part->open > 0;
		expected += part->evidence.expected;
		out->shares += part->evidence.reported;
	}
	out->expected_shares = whole(expected);
	if (job->kind->shares)
		check_note(&r, &note);
	else
		info_digests(job, out, &note);
	out->note = text(a, buf_str(&note));
	buf_release(&note);
}

static void info_progress(const struct job *job, uint64_t now,
			  struct job_info *out)
{
	const bool open = job_is_open(job);
	const uint64_t length = job->book.end - job->book.start;
	const uint64_t until = open ? now : job->ended_at;
	const uint64_t left = length - job->book.done.total;

	out->start = job->book.start;
	out->end = job->book.end;
	out->hashes = job->book.done.total;
	out->percent =
	    length ? 100.0 * (double)out->hashes / (double)length : 100;
	out->seconds = (double)(until - job->submitted_at) / 1000.0;
	if (open && job->rate > 0)
		out->rate = whole(job->rate);
	else if (out->seconds > 0)
		out->rate = whole((double)out->hashes / out->seconds);
	out->eta_s = !open	 ? 0
		     : out->rate ? (double)left / (double)out->rate
				 : -1;
	out->hashes = whole((double)out->hashes * weight_of(job));
	out->rate = whole((double)out->rate * weight_of(job));
}

static void info_waiting(const struct job *job, uint64_t now, struct arena *a,
			 struct job_info *out)
{
	if (!job_is_open(job) || !job->complete || job->nowed_given)
		return;
	const uint64_t ms = replica_wait_ms(job, now);

	if (ms)
		out->waiting =
		    arena_printf(a,
				 "for a second peer for %" PRIu64
				 " nonces, at most %" PRIu64 " s more",
				 job->owed_nonces, (ms + 999) / 1000);
}

static void info_counts(const struct job *job, struct job_info *out)
{
	const struct unit *u;
	const uint64_t size =
	    job->cut_units ? job->cut_nonces / job->cut_units : SCHED_FIRST;

	if (job_is_open(job))
		out->pending = (job->book.pending.total + size - 1) / size;
	out->done = job->done_units;
	out->failed = job->failed_units;
	DL_FOREACH (job->units, u) {
		out->assigned += !u->replica && u->state == UNIT_ASSIGNED;
		out->computing += !u->replica && u->state == UNIT_COMPUTING;
	}
}

static void info_hits(const struct job *job, bool list, struct arena *a,
		      struct job_info *out)
{
	const struct hits *h = &job->hits;

	if (!h->n)
		return;
	out->found = true;
	out->nonce = (struct opt_u64){true, hits_at(h, 0)->nonce};
	out->hash = show_digest(a, hits_at(h, 0)->digest);
	out->by = text(a, node_hex(&hits_at(h, 0)->by));
	if (!list)
		return;
	struct job_hit *items = arena_alloc(a, h->n * sizeof(*items));

	for (size_t i = 0; i < h->n; i++) {
		items[i].nonce = hits_at(h, i)->nonce;
		items[i].hash = show_digest(a, hits_at(h, i)->digest);
		items[i].by = text(a, node_hex(&hits_at(h, i)->by));
	}
	out->hits = (struct list){items, h->n};
}

static void info_ever(const struct part *part, struct job_peer *out)
{
	const struct evidence_total *t =
	    part->worker ? &part->worker->total : &part->ever;

	out->all_hashes = t->hashes;
	out->all_expected = whole(t->e.expected);
	out->all_shares = t->e.reported;
	out->all_rescanned = t->rescanned;
	out->all_pieces = t->pieces;
	out->all_checks = t->checks;
	out->all_failures = t->failures;
}

static void info_peer(const struct part *part, uint64_t now, struct arena *a,
		      struct job_peer *out)
{
	const uint64_t busy =
	    part->busy_ms + (part->open ? now - part->busy_since : 0);
	char name[NODE_NAME_SIZE];

	node_name(&part->id, name);
	out->id = text(a, node_hex(&part->id));
	out->name = text(a, name);
	out->units = part->units;
	const double hashes = (double)part->hashes * weight_of(part->job);

	out->hashes = whole(hashes);
	if (busy)
		out->rate = whole(hashes * 1000.0 / (double)busy);
	out->expected_shares = whole(part->evidence.expected);
	out->shares = part->evidence.reported;
	if (part->hashes)
		out->rescanned =
		    fmin(1, (double)(part->job->kind->shares ? part->rescanned
							     : part->pieces) /
				hashes);
	out->late = part->late;
	out->pieces = part->pieces;
	out->checks = part->checks;
	if (!part->self) {
		struct check_report r = {0};

		check_peer(&r, part->pieces, part->weight, &part->evidence);
		out->unseen_10 = part->job->kind->shares
				     ? r.unseen_10
				     : digest_unseen(0.1, part->pieces);
	}
	info_ever(part, out);
	out->state = part->dropped ? "dropped"
		     : part->lost  ? "lost"
		     : part->open  ? "working"
				   : "done";
	if ((part->dropped || part->lost) && part->why)
		out->why = text(a, part->why);
}

static void info_peers(const struct job *job, uint64_t now, struct arena *a,
		       struct job_info *out)
{
	const struct part *part;
	size_t n = 0;

	DL_COUNT(job->parts, part, n);
	if (n > PEERS_MAX)
		n = PEERS_MAX;
	if (!n)
		return;
	struct job_peer *items = arena_alloc(a, n * sizeof(*items));
	size_t i = 0;

	DL_FOREACH (job->parts, part) {
		if (i == n)
			break;
		info_peer(part, now, a, &items[i++]);
	}
	out->by_peer = (struct list){items, n};
}

static char *unit_state_str(enum unit_state s)
{
	switch (s) {
	case UNIT_ASSIGNED:
		return "assigned";
	case UNIT_COMPUTING:
		return "computing";
	case UNIT_DONE:
		return "done";
	case UNIT_BACK:
		return "taken-back";
	}
	return "unknown";
}

static size_t info_unit_list(const struct unit *list, struct arena *a,
			     struct job_unit *items, size_t i, size_t max)
{
	const struct unit *u;
	char name[NODE_NAME_SIZE];

	DL_FOREACH (list, u) {
		if (u->replica)
			continue;
		if (i == max)
			break;
		node_name(&u->part->id, name);
		items[i++] = (struct job_unit){
		    .lease = u->id,
		    .start = u->span.a,
		    .end = u->span.b,
		    .below = u->below,
		    .state = unit_state_str(u->state),
		    .peer = text(a, name),
		};
	}
	return i;
}

static void info_units(const struct job *job, struct arena *a,
		       struct job_info *out)
{
	size_t max = job->nunits + job->nclosed;

	if (!max)
		return;
	if (max > UNITS_MAX)
		max = UNITS_MAX;
	struct job_unit *items = arena_alloc(a, max * sizeof(*items));
	size_t n = info_unit_list(job->closed, a, items, 0, max);

	n = info_unit_list(job->units, a, items, n, max);
	out->units = (struct list){items, n};
}

enum err jobs_view(const struct jobs *j, const char *id,
		   const struct node_id *node, uint64_t now,
		   struct job_view *out)
{
	const struct job *job = jobs_find(j, id);

	if (!job)
		return ERR_NOTFOUND;
	const struct worker *w = pool_find(job->pool, node);
	const struct part *part = part_find(job, node);

	*out = (struct job_view){
	    .cap = job->kind->cap,
	    .terms = job->terms,
	    .open = job_is_open(job),
	    .pending = job_is_open(job) &&
		       (job->book.pending.n || job->runs || job->owed),
	};
	out->others =
	    out->pending && !job->book.pending.n && w && !replica_needs(job, w);
	if (w)
		out->c = job_candidate(job, w, now);
	if (!part)
		return OK;
	out->held = part->open;
	out->units = part->units;
	out->hashes = whole((double)part->hashes * weight_of(job));
	out->dropped = part->dropped ? part->why : NULL;
	return OK;
}

enum err jobs_info(const struct jobs *j, const char *id, enum job_detail detail,
		   uint64_t now, struct arena *a, struct job_info *out)
{
	const struct job *job = jobs_find(j, id);

	if (!job)
		return ERR_NOTFOUND;
	memset(out, 0, sizeof(*out));
	out->job = text(a, job->id);
	out->kind = text(a, job->kind->name);
	out->state = text(a, job_state_str(job->state));
	if (job->error) {
		out->error = text(a, err_name(job->error));
		out->text =
		    text(a, *job->text ? job->text : err_str(job->error));
	}
	if (job->terms->backup.n == NODE_ID_SIZE)
		out->backup = hex_of(a, job->terms->backup.p);
	info_progress(job, now, out);
	info_counts(job, out);
	info_waiting(job, now, a, out);
	info_evidence(job, a, out);
	job->kind->show(job->spec, a, out);
	terms_show(job->terms, a, &out->terms);
	info_hits(job, job->all && detail != JOB_BRIEF, a, out);
	if (detail != JOB_BRIEF)
		info_peers(job, now, a, out);
	if (detail == JOB_UNITS)
		info_units(job, a, out);
	return OK;
}
