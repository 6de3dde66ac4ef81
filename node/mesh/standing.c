/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/mesh/standing.h"

#include "node/base/log.h"
#include "node/mesh/job.h"

#include <sodium.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LAZY_MS 5000
#define LAZY_ROWS 512 /* at a time; what is left waits for the next */
#define SUM_SIZE 16

const struct store_schema standing_schema[] = {
    {"standing", 1,
     "CREATE TABLE standing (id BLOB PRIMARY KEY, barred INTEGER NOT NULL,"
     /* ms since 1970 */
     " at INTEGER NOT NULL, saved BLOB NOT NULL, sum BLOB NOT NULL)"},
    /* Evidence over all jobs (check.h); in the sum as well. */
    {"standing", 2, "ALTER TABLE standing ADD COLUMN total BLOB"},
};
const size_t standing_schema_count = HN_COUNT(standing_schema);

struct standing {
	struct loop *loop;
	struct store *store;
	struct jobs *jobs; /* NULL: stopped */
	struct loop_timer *due;
	uint64_t half_life_ms;
	standing_load_fn loaded;
	void *loaded_arg;
};

static const struct field total_fields[] = {
    FIELD_F64(struct evidence_total, e.expected, "shares expected"),
    FIELD_U64(struct evidence_total, e.reported, 0, "and reported"),
    FIELD_F64(struct evidence_total, e.next, "tested again at"),
    FIELD_U64(struct evidence_total, hashes, 0, "nonces done"),
    FIELD_U64(struct evidence_total, given, 0, "of them known before"),
    FIELD_U64(struct evidence_total, units, 0, "ended"),
    FIELD_U64(struct evidence_total, rescanned, 0, "nonces compared"),
    FIELD_U64(struct evidence_total, pieces, 0, "compared"),
    FIELD_F64(struct evidence_total, weight, "of them"),
    FIELD_U64(struct evidence_total, checks, 0, "of them known work"),
    FIELD_U64(struct evidence_total, failures, 0, "lies"),
};
static const struct message total_message =
    MESSAGE("evidence_total", struct evidence_total, total_fields);

/* What is known of one that was not seen for long is worth less: it is looked
 * at like a stranger again. Its figures about shares stay what they are. */
static void total_fade(struct evidence_total *t, uint64_t half_life_ms,
		       uint64_t ms)
{
	const double left = exp2(-(double)ms / (double)half_life_ms);

	t->pieces = (uint64_t)((double)t->pieces * left);
	t->checks = (uint64_t)((double)t->checks * left);
	t->rescanned = (uint64_t)((double)t->rescanned * left);
	t->weight *= left;
}

static void sum_of(const struct node_id *id, struct bytes score,
		   struct bytes total, uint8_t sum[static SUM_SIZE])
{
	crypto_generichash_state s;

	crypto_generichash_init(&s, id->b, sizeof(id->b), SUM_SIZE);
	crypto_generichash_update(&s, score.p, score.n);
	crypto_generichash_update(&s, total.p, total.n);
	crypto_generichash_final(&s, sum, SUM_SIZE);
}

static void on_saved(const struct store_result *r, void *arg)
{
	static struct log_gate gate;

	(void)arg;
	if (r->err)
		log_every(&gate, 60000, LOG_WARN, "work",
			  "scores of peers cannot be saved (%s); going on "
			  "with what is in memory",
			  r->message);
}

static void forget(struct standing *s, const struct node_id *id)
{
	const struct store_val v = STORE_B(id->b, sizeof(id->b));

	store_run(s->store, "DELETE FROM standing WHERE id = ?", &v, 1,
		  on_saved, s);
}

static void save(struct standing *s, const struct node_id *id,
		 const struct score *score, const struct evidence_total *total)
{
	struct buf b = {0}, t = {0};
	uint8_t sum[SUM_SIZE];

	if (score_is_blank(score)) {
		forget(s, id);
		return;
	}
	score_pack(score, &b);
	fields_pack(&total_message, total, &t);
	sum_of(id, (struct bytes){b.p, b.n}, (struct bytes){t.p, t.n}, sum);
	const struct store_val vals[] = {
	    STORE_B(id->b, sizeof(id->b)),
	    STORE_I(score->state == SCORE_BARRED),
	    STORE_I(score->at),
	    STORE_B(b.p, b.n),
	    STORE_B(sum, sizeof(sum)),
	    STORE_B(t.p, t.n),
	};
	store_run(s->store,
		  "INSERT OR REPLACE INTO standing (id, barred, at, saved, "
		  "sum, total) VALUES (?, ?, ?, ?, ?, ?)",
		  vals, HN_COUNT(vals), on_saved, s);
	buf_release(&t);
	buf_release(&b);
}

void standing_changed(struct standing *s, const struct node_id *id)
{
	struct peer_score now;

	if (s->jobs && jobs_score(s->jobs, id, loop_ms(s->loop), &now))
		save(s, id, &now.score, &now.total);
}

static void flush(struct standing *s, size_t most)
{
	struct node_id id;
	struct evidence_total total;
	struct score score;

	while (most-- && jobs_scored_next(s->jobs, &id, &score, &total))
		save(s, &id, &score, &total);
}

static void on_due(void *arg)
{
	struct standing *s = arg;

	if (s->jobs)
		flush(s, LAZY_ROWS);
}

void standing_tick(struct standing *s)
{
	if (!loop_timer_armed(s->due))
		loop_timer_set(s->due, LAZY_MS);
}

static void prune(struct standing *s)
{
	const struct store_val old =
	    STORE_I(clock_unix_ms() - STANDING_KEPT_MS);
	const struct store_val most = STORE_I(STANDING_MAX);

	store_run(s->store, "DELETE FROM standing WHERE barred = 0 AND at < ?",
		  &old, 1, on_saved, s);
	store_run(s->store,
		  "DELETE FROM standing WHERE id IN (SELECT id FROM standing "
		  "ORDER BY barred DESC, at DESC LIMIT -1 OFFSET ?)",
		  &most, 1, on_saved, s);
}

static bool restore(struct standing *s, const struct store_val *v)
{
	struct evidence_total total = {0};
	struct node_id id;
	struct score score;
	struct arena a = {0};
	uint8_t sum[SUM_SIZE];
	const uint64_t now = clock_unix_ms();

	if (v[0].b.n != sizeof(id.b))
		return false;
	memcpy(id.b, v[0].b.p, sizeof(id.b));
	sum_of(&id, v[1].b, v[3].b, sum);
	if (v[2].b.n != SUM_SIZE || memcmp(sum, v[2].b.p, SUM_SIZE) != 0 ||
	    score_unpack(v[1].b.p, v[1].b.n, &score) ||
	    (v[3].b.n &&
	     fields_unpack(&total_message, v[3].b.p, v[3].b.n, &a, &total))) {
		forget(s, &id);
		arena_release(&a);
		return false;
	}
	arena_release(&a);
	total_fade(&total, s->half_life_ms,
		   now > score.at ? now - score.at : 0);
	jobs_set_score(s->jobs, &id, &score, &total);
	return true;
}

static void on_rows(const struct store_result *r, void *arg)
{
	struct standing *s = arg;
	size_t lost = 0;

	if (!s->jobs)
		return;
	for (size_t i = 0; !r->err && i < r->rows; i++)
		lost += !restore(s, &r->cells[i * r->columns]);
	if (lost)
		log_warn("work",
			 "the score%s of %zu peer%s on disk cannot be read; "
			 "deleted, %s a stranger again",
			 lost == 1 ? "" : "s", lost, lost == 1 ? "" : "s",
			 lost == 1 ? "it is" : "each is");
	s->loaded(s->loaded_arg, r->err, r->message);
}

void standing_load(struct standing *s, standing_load_fn done, void *arg)
{
	s->loaded = done;
	s->loaded_arg = arg;
	prune(s);
	store_run(s->store,
		  "SELECT id, saved, sum, total FROM standing ORDER BY barred "
		  "DESC, at "
		  "DESC",
		  NULL, 0, on_rows, s);
}

struct standing *standing_new(struct loop *l, struct store *store,
			      struct jobs *j, uint64_t half_life_ms)
{
	struct standing *s = HN_NEW(struct standing);

	s->loop = l;
	s->store = store;
	s->jobs = j;
	s->half_life_ms = half_life_ms;
	s->due = loop_timer_new(l, on_due, s);
	return s;
}

void standing_stop(struct standing *s)
{
	flush(s, STANDING_MAX);
	s->jobs = NULL;
	loop_timer_free(s->due);
	s->due = NULL;
}

void standing_free(struct standing *s)
{
	free(s);
}
