/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * hnode hash: digests of many inputs, their order kept, whoever computes them:
 * a peer, the node that runs here, or this process.
 *
 * What is held is bounded by one line, one chunk and what the stream lets us
 * send: a chunk that is refused (ERR_BUSY) waits, and nothing is read until it
 * is gone. Inputs that fail are not sent; they wait in a short queue for their
 * place among the digests. Reading blocks, so with a node it is done on the uv
 * pool, one read at a time.
 */
#include "asic/batch.h"
#include "node/base/identity.h"
#include "node/base/json.h"
#include "node/base/loop.h"
#include "node/cli.h"
#include "node/cli_verbs.h"
#include "node/lines.h"
#include "node/mesh/wire.h"
#include "node/out.h"
#include "rpc/rpc.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_BYTES (256u << 10)
#define CHUNK_BYTES (96u << 10) /* inputs of one chunk; less than its cap */
#define FAILED_WAITING 4096	/* before their turn to be printed */
#define FAILED_LISTED 1000000	/* in the final object */
#define FAILED_SAID 10		/* sentences on standard error */

struct failed {
	uint64_t index;
	const char *why;
};

struct hasher {
	struct cli *c;
	int rounds;
	bool single; /* one TEXT, no batch */
	bool self;   /* our own node does it */
	int fd;
	bool eof;
	struct lines lines;
	uint8_t *raw; /* what was read and not yet cut into lines */
	const uint8_t *at;
	size_t left;

	/* the input at hand, up to `done` in chunks already */
	struct lines_one one;
	size_t done;
	bool have;

	/* the chunk being filled */
	struct buf data;
	struct part {
		size_t n;
		bool more;
	} parts[BATCH_ITEMS_MAX];
	size_t nparts;
	uint64_t first, sent; /* complete inputs given away so far */

	/* results */
	struct failed waiting[FAILED_WAITING];
	size_t wait_at, nwaiting;
	uint64_t *failed;
	uint64_t nfailed, printed;
	char digest[65]; /* of the single one */
	bool broken;	 /* standard output is gone */

	/* with a node */
	struct rpc_stream *st;
	bool reading, ended, over;
	ssize_t got;
	int read_errno;
	enum err e;
	char *text;
	uint8_t by[32];
};

/* --- results --- */

static void put_failed(struct hasher *h, const struct failed *f)
{
	if (h->nfailed < FAILED_LISTED) {
		h->failed =
		    xrealloc(h->failed, (h->nfailed + 1) * sizeof(*h->failed));
		h->failed[h->nfailed] = f->index;
	}
	h->nfailed++;
	if (h->c->cfg.json) {
		struct json *j = json_object();
		json_set(j, "index", json_int((int64_t)f->index));
		json_set(j, "error", json_str(f->why));
		out_json(j);
		return;
	}
	out("-\n"); /* line n of the result stays that of input n */
	if (h->nfailed <= FAILED_SAID)
		out_note("hnode: input %" PRIu64 " (line %" PRIu64 "): %s",
			 f->index, f->index + 1, f->why);
	if (h->nfailed == FAILED_SAID)
		out_note("hnode: further bad inputs are only counted");
}

static void put_waiting(struct hasher *h)
{
	while (h->nwaiting && h->waiting[h->wait_at].index == h->printed) {
		put_failed(h, &h->waiting[h->wait_at]);
		h->wait_at = (h->wait_at + 1) % FAILED_WAITING;
		h->nwaiting--;
		h->printed++;
	}
	h->broken |= ferror(stdout) != 0;
}

static void put_digests(struct hasher *h, const uint8_t *p, size_t n)
{
	char hex[65];

	for (size_t i = 0; i < n && !h->broken; i++) {
		put_waiting(h);
		hex_encode(p + i * 32, 32, hex);
		if (h->single) {
			memcpy(h->digest, hex, sizeof(hex));
		} else if (h->c->cfg.json) {
			/* By hand: a million of these are made. */
			out("{\"index\":%" PRIu64 ",\"digest\":\"%s\"}\n",
			    h->printed, hex);
		} else {
			out("%s\n", hex);
		}
		h->printed++;
	}
	put_waiting(h);
	h->broken |= fflush(stdout) != 0;
}

static struct json *failed_json(const struct hasher *h)
{
	struct json *list = json_array();

	for (uint64_t i = 0; i < h->nfailed && i < FAILED_LISTED; i++)
		json_add(list, json_int((int64_t)h->failed[i]));
	return list;
}

/* by: a node's id in hex, or NULL for this process. */
static int put_end(struct hasher *h, const char *by, const char *who)
{
	struct buf count = {0};

	put_waiting(h);
	if (h->c->cfg.json) {
		struct json *j = json_object();
		if (h->single) {
			json_set(j, "index", json_int(0));
			json_set(j, "digest", json_str(h->digest));
		}
		json_set(j, "count", json_int((int64_t)h->printed));
		json_set(j, "failed", failed_json(h));
		json_set(j, "by", json_str(by ? by : "this process"));
		out_json(j);
	} else if (h->single) {
		out("%s\n", h->digest);
		out_note("by %s", who);
	} else {
		out_count(&count, h->printed);
		out_note("%s inputs, %" PRIu64 " failed, by %s",
			 buf_str(&count), h->nfailed, who);
	}
	buf_release(&count);
	return h->nfailed ? 2 : 0;
}

/* --- inputs --- */

/* The next input that is good; failed ones go to the queue. */
static bool next_input(struct hasher *h)
{
	while (!h->have && h->nwaiting < FAILED_WAITING) {
		if (!lines_feed(&h->lines, &h->at, &h->left, &h->one) &&
		    !(h->eof && lines_end(&h->lines, &h->one)))
			return false;
		h->have = !h->one.error;
		h->done = 0;
		if (h->have)
			break;
		h->waiting[(h->wait_at + h->nwaiting++) % FAILED_WAITING] =
		    (struct failed){h->one.index, h->one.error};
		put_waiting(h);
	}
	return h->have;
}

/* Moves inputs into the chunk until it is full (true) or there are no more. */
static bool fill_chunk(struct hasher *h)
{
	if (!h->nparts)
		h->first = h->sent;
	while (next_input(h)) {
		size_t room = CHUNK_BYTES - h->data.n;
		size_t n = h->one.n - h->done;
		if (h->nparts == BATCH_ITEMS_MAX || (n && !room))
			return true;
		n = n > room ? room : n;
		n = n > BATCH_PART_MAX ? BATCH_PART_MAX : n;
		if (n)
			buf_add(&h->data, h->one.p + h->done, n);
		h->done += n;
		h->have = h->done < h->one.n;
		h->parts[h->nparts++] = (struct part){n, h->have};
		h->sent += !h->have;
	}
	return false;
}

static void clear_chunk(struct hasher *h)
{
	buf_clear(&h->data);
	h->nparts = 0;
}

static int open_input(struct hasher *h, const char *path)
{
	h->fd =
	    strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	if (h->fd < 0)
		return out_fail(ERR_INPUT, "cannot read %s: %s", path,
				strerror(errno));
	h->raw = xmalloc(READ_BYTES);
	return 0;
}

/* --- in this process --- */

static void digest_chunk(struct hasher *h)
{
	static uint8_t digests[BATCH_ITEMS_MAX][32];
	static struct bytes msgs[BATCH_ITEMS_MAX];
	size_t at = 0;

	for (size_t i = 0; i < h->nparts; i++) {
		msgs[i].p = h->data.p ? h->data.p + at : (uint8_t *)"";
		msgs[i].n = h->parts[i].n;
		at += h->parts[i].n;
	}
	batch_digests(NULL, msgs, h->nparts, h->rounds, digests);
	put_digests(h, digests[0], h->nparts);
	clear_chunk(h);
}

/* A long input is not cut in pieces here: it goes by itself. */
static void local_inputs(struct hasher *h)
{
	while (next_input(h)) {
		if (h->one.n > CHUNK_BYTES) {
			uint8_t digest[1][32];
			struct bytes msg = {h->one.p, h->one.n};
			if (h->nparts)
				digest_chunk(h);
			batch_digests(NULL, &msg, 1, h->rounds, digest);
			put_digests(h, digest[0], 1);
			h->have = false;
			continue;
		}
		if (h->nparts == BATCH_ITEMS_MAX ||
		    h->data.n + h->one.n > CHUNK_BYTES)
			digest_chunk(h);
		if (h->one.n)
			buf_add(&h->data, h->one.p, h->one.n);
		h->parts[h->nparts++] = (struct part){h->one.n, false};
		h->have = false;
	}
	if (h->nparts)
		digest_chunk(h);
}

static int run_local(struct hasher *h)
{
	while (!h->eof) {
		ssize_t n = read(h->fd, h->raw, READ_BYTES);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return out_fail(ERR_IO, "cannot read the inputs: %s",
					strerror(errno));
		h->at = h->raw;
		h->left = (size_t)n;
		h->eof = !n;
		/* Twice: a full queue of failed ones is empty by then. */
		do {
			local_inputs(h);
		} while ((h->left || (h->eof && h->lines.begun)) && !h->broken);
		if (h->broken)
			return 1;
	}
	return put_end(h, NULL, "this process");
}

/* --- by a node --- */

static void pump(struct hasher *h);

static void stop_with(struct hasher *h, enum err e, const char *text)
{
	if (h->st)
		rpc_cancel(h->st);
	h->st = NULL;
	h->over = true;
	h->e = e;
	free(h->text);
	h->text = text ? xstrdup(text) : NULL;
	loop_stop(h->c->loop);
}

static void do_read(void *arg)
{
	struct hasher *h = arg;

	do {
		h->got = read(h->fd, h->raw, READ_BYTES);
	} while (h->got < 0 && errno == EINTR);
	h->read_errno = errno;
}

static void on_read(void *arg)
{
	struct hasher *h = arg;

	h->reading = false;
	if (h->over)
		return;
	if (h->got < 0) {
		stop_with(h, ERR_IO, strerror(h->read_errno));
		return;
	}
	h->at = h->raw;
	h->left = (size_t)h->got;
	h->eof = !h->got;
	pump(h);
}

static bool send_chunk(struct hasher *h)
{
	struct batch_item items[BATCH_ITEMS_MAX];
	struct batch_in in = {.first = h->first, .items = {items, h->nparts}};
	size_t at = 0;

	for (size_t i = 0; i < h->nparts; i++) {
		items[i].data.p = h->data.p ? h->data.p + at : (uint8_t *)"";
		items[i].data.n = h->parts[i].n;
		items[i].more = h->parts[i].more;
		at += h->parts[i].n;
	}
	/* Any other refusal is followed by the stream's end. */
	if (rpc_send(h->st, &in))
		return false;
	clear_chunk(h);
	return true;
}

static void pump(struct hasher *h)
{
	bool full = true;

	while (h->st && full) {
		full = fill_chunk(h);
		if (h->nparts && !send_chunk(h))
			return; /* on_room goes on */
	}
	if (!h->st || h->ended || h->reading || h->nwaiting == FAILED_WAITING)
		return;
	if (h->eof) {
		h->ended = true;
		rpc_send_end(h->st);
	} else {
		h->reading = true;
		loop_work(h->c->loop, do_read, on_read, h);
	}
}

static void on_room(void *arg, struct rpc_stream *st)
{
	(void)st;
	pump(arg);
}

static void on_digests(void *arg, struct rpc_stream *st, const void *msg)
{
	struct hasher *h = arg;
	const struct batch_out *r = msg;

	(void)st;
	if (!r)
		return;
	if (r->digests.n % 32) {
		stop_with(h, ERR_PROTO, "half a digest came back");
		return;
	}
	put_digests(h, r->digests.p, r->digests.n / 32);
	if (h->broken)
		stop_with(h, ERR_IO, "the result cannot be written");
	else
		pump(h);
}

static void on_end(void *arg, struct rpc_stream *st, enum err e,
		   const void *reply, const char *text)
{
	struct hasher *h = arg;

	(void)st;
	h->st = NULL;
	if (!e) {
		const struct batch_end *r = reply;
		memcpy(h->by, r->by, sizeof(h->by));
		if (r->count != h->sent) {
			e = ERR_PROTO;
			text = "another number of digests came back";
		}
	}
	stop_with(h, e, text);
}

static int run_remote(struct hasher *h, const struct node_id *peer)
{
	static const struct rpc_ops ops = {
	    .chunk = on_digests, .room = on_room, .end = on_end};
	struct hash_batch q = {.rounds = (uint64_t)h->rounds};
	struct node_id by;

	if (peer)
		memcpy(q.peer, peer->b, sizeof(q.peer));
	enum err e = rpc_call(h->c->rpc, h->c->session, "hash.batch", &q, 0,
			      &ops, h, &h->st);
	if (e)
		return out_fail(e, "the node takes no inputs now: %s",
				err_str(e));
	pump(h);
	while (!h->over)
		loop_run(h->c->loop);
	if (h->broken)
		h->e = ERR_IO;
	if (h->e) {
		int code = h->broken
			       ? 1
			       : out_fail(h->e, "after %" PRIu64 " inputs: %s",
					  h->printed,
					  h->text ? h->text : err_str(h->e));
		/* A thread may be reading from a terminal or pipe for ever. */
		if (h->reading)
			_exit(out_flush(code));
		return code;
	}
	memcpy(by.b, h->by, sizeof(by.b));
	char *who = arena_printf(&h->c->arena, "%s (%s)", node_str(&by),
				 h->self ? "this node" : "peer");
	return put_end(h, node_hex(&by), who);
}

/* --- the verb --- */

struct hash_opts {
	const char *batch, *peer;
	bool hex;
};
static const struct opt hash_opts[] = {
    {.flag = "batch",
     .letter = 'b',
     .type = OPT_TEXT,
     .meta = "FILE|-",
     .offset = offsetof(struct hash_opts, batch),
     .help = "one input per line; one digest per line comes out, - for an "
	     "input that is bad"},
    {.flag = "hex",
     .type = OPT_BOOL,
     .offset = offsetof(struct hash_opts, hex),
     .help = "inputs are hex digits"},
    {.flag = "peer",
     .type = OPT_TEXT,
     .meta = "PEER",
     .offset = offsetof(struct hash_opts, peer),
     .help = "let this peer do it"},
};

static int rounds_of(const char *name)
{
	return !strcmp(name, "sha256") ? 1 : !strcmp(name, "sha256d") ? 2 : 0;
}

/* The one input of the command line. */
static int take_text(struct hasher *h, const char *text, bool hex)
{
	struct buf why = {0}, *to = &h->lines.line;
	enum err e = OK;
	int code = 0;

	if (!strcmp(text, "-"))
		e = cli_read("-", BATCH_ITEM_MAX, to, &why);
	else
		buf_add_str(to, text);
	h->one = (struct lines_one){.p = to->p, .n = to->n};
	if (e) {
		code = out_fail(e, "%s", buf_str(&why));
	} else if (hex) {
		const char *s = buf_str(to);
		size_t n = to->n;
		while (n && (s[n - 1] == '\n' || s[n - 1] == '\r'))
			n--;
		e = hex_decode_buf(s, n, BATCH_ITEM_MAX, &h->lines.input);
		h->one.p = h->lines.input.p;
		h->one.n = h->lines.input.n;
		if (e)
			code = cli_usage(h->c, "with --hex the input must be "
					       "hex digits in pairs");
	}
	if (!h->one.p)
		h->one.p = (const uint8_t *)"";
	h->single = h->have = h->eof = true;
	buf_release(&why);
	return code;
}

static int find_peer(struct cli *c, const char *name, struct node_id *out,
		     bool *self)
{
	struct peer_ref ref = {.peer = (char *)name};
	const void *reply;

	int code = cli_call(c, "peer.ping", &ref, 0, &reply);
	if (!code) {
		const struct peer_session *s = reply;
		memcpy(out->b, s->id, sizeof(out->b));
		*self = s->path && !strcmp(s->path, "self");
	}
	return code;
}

static int run_with(struct hasher *h, const struct hash_opts *o)
{
	struct buf why = {0};
	struct node_id peer;
	enum err e;

	if (o->peer) {
		int code = find_peer(h->c, o->peer, &peer, &h->self);
		return code ? code : run_remote(h, &peer);
	}
	bool node = cli_try(h->c, &e, &why);
	buf_release(&why);
	h->self = true;
	if (node)
		return run_remote(h, NULL);
	if (!h->single)
		return run_local(h);
	local_inputs(h);
	return put_end(h, NULL, "this process");
}

static int run_hash(struct cli *c)
{
	const struct hash_opts *o = c->values;
	struct strs args = c->args;
	int rounds = 1, code;

	if (args.n) {
		rounds = rounds_of(args.items[0]);
		if (!rounds)
			return cli_usage(c,
					 "`%s` is no hash known here: sha256 "
					 "or sha256d",
					 args.items[0]);
	}
	if (o->batch ? args.n > 1 : args.n != 2)
		return cli_usage(c, "it needs sha256 or sha256d and a TEXT, "
				    "or --batch FILE");
	struct hasher *h = HN_NEW(struct hasher);
	h->c = c;
	h->rounds = rounds;
	h->fd = -1;
	h->lines.hex = o->hex;
	h->lines.max = BATCH_ITEM_MAX;
	code = o->batch ? open_input(h, o->batch)
			: take_text(h, args.items[1], o->hex);
	if (!code)
		code = run_with(h, o);
	if (h->fd > STDIN_FILENO)
		close(h->fd);
	lines_release(&h->lines);
	buf_release(&h->data);
	free(h->raw);
	free(h->failed);
	free(h->text);
	free(h);
	return code;
}

const struct verb verb_hash = {
    .name = "hash",
    .args = "sha256|sha256d TEXT|--batch FILE",
    .summary = "digests, by the node, a peer, or right here",
    .more = "TEXT - reads the one input from standard input. Exit 2 when some "
	    "inputs failed.",
    .example = "hnode hash sha256 abc\n"
	       "hnode hash sha256d --batch headers.hex --hex --json\n"
	       "printf 'a\\nb\\n' | hnode hash sha256 --batch -",
    VERB_OPTS(hash_opts, struct hash_opts),
    .max_args = 2,
    .run = run_hash,
};
