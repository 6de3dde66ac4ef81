/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Benchmarks of this machine, in a fixed form. They need no node; one that
 * works meanwhile makes the figures smaller.
 */
#include "asic/bench.h"
#include "asic/kernel.h"
#include "node/base/json.h"
#include "node/cli.h"
#include "node/cli_verbs.h"
#include "node/out.h"
#include "rpc/bench.h"

#include <stdio.h>
#include <string.h>

struct bench_opts {
	struct opt_u64 seconds, threads;
	bool chacha;
	const char *place;
};

static double seconds_of(const struct bench_opts *o, double otherwise)
{
	return o->seconds.set ? (double)o->seconds.v / 1000 : otherwise;
}

/* --- hash --- */

static const struct opt hash_rows[] = {
    {.flag = "seconds",
     .type = OPT_MS,
     .meta = "TIME",
     .min = 20,
     .max = 600000,
     .offset = offsetof(struct bench_opts, seconds),
     .help = "for each figure [0.3s]"},
    {.flag = "threads",
     .type = OPT_THREADS,
     .meta = "N",
     .max = 1024,
     .offset = offsetof(struct bench_opts, threads),
     .help = "up to so many threads (auto: one per core) [auto]"},
};

static struct json *row_json(const struct bench_row *r)
{
	struct json *j = json_object();

	json_set(j, "name", json_str(r->kernel->name));
	json_set(j, "threads", json_int((int64_t)r->threads));
	json_set(j, "mhs", json_num(r->scan.wall));
	json_set(j, "compiler", json_str(r->kernel->compiler));
	json_set(j, "mhs_cpu", json_num(r->scan.cpu));
	json_set(j, "openssl_mhs", json_num(r->scan.openssl));
	json_set(j, "openssl_ratio", json_num(r->scan.ratio));
	json_set(j, "batch64_m_s", json_num(r->b64.wall));
	json_set(j, "batch64_ratio", json_num(r->b64.ratio));
	json_set(j, "batch1k_m_s", json_num(r->b1k.wall));
	json_set(j, "batch1k_ratio", json_num(r->b1k.ratio));
	return j;
}

static void on_row(const struct bench_row *r, void *arg)
{
	(void)arg;
	out("%-8s %7u %9.2f %7.2f %9.2f %7.2f %9.3f %7.2f\n", r->kernel->name,
	    r->threads, r->scan.wall, r->scan.ratio, r->b64.wall, r->b64.ratio,
	    r->b1k.wall, r->b1k.ratio);
	fflush(stdout);
}

static int run_bench_hash(struct cli *c)
{
	const struct bench_opts *o = c->values;
	struct bench_hash b;

	if (!c->cfg.json) {
		out_note(
		    "sha256d scans in MH/s, batches of SHA-256 in million "
		    "a second;\nx: times OpenSSL's SHA-256 in this run, on "
		    "as many threads");
		out("%-8s %7s %9s %7s %9s %7s %9s %7s\n", "KERNEL", "THREADS",
		    "SCAN", "x", "64 B", "x", "1 KIB", "x");
	}
	enum err e = bench_hash_run(seconds_of(o, 0.3), (unsigned)o->threads.v,
				    c->cfg.json ? NULL : on_row, NULL, &b);
	if (e)
		return out_fail(e, "the benchmark cannot run: %s", err_str(e));
	if (c->cfg.json) {
		struct json *j = json_object(), *rows = json_array();
		for (size_t i = 0; i < b.n; i++)
			json_add(rows, row_json(&b.rows[i]));
		json_set(j, "kernels", rows);
		json_set(j, "best", json_str(b.best ? b.best->name : NULL));
		out_json(j);
	} else {
		const struct kernel *k = NULL;
		out("best: %s\n", b.best ? b.best->name : "-");
		for (size_t i = 0; i < b.n; i++) {
			if (b.rows[i].kernel == k)
				continue;
			k = b.rows[i].kernel;
			out_note("%s built by %s", k->name, k->compiler);
		}
	}
	bench_hash_release(&b);
	return 0;
}

const struct verb verb_bench_hash = {
    .name = "bench hash",
    .summary = "rates by kernel and thread, beside OpenSSL",
    .example = "hnode bench hash\nhnode bench hash --seconds 1s --json",
    VERB_OPTS(hash_rows, struct bench_opts),
    .run = run_bench_hash,
};

/* --- rpc --- */

static const struct opt rpc_rows[] = {
    {.flag = "seconds",
     .type = OPT_MS,
     .meta = "TIME",
     .min = 20,
     .max = 600000,
     .offset = offsetof(struct bench_opts, seconds),
     .help = "for each figure [1s]"},
    {.flag = "chacha",
     .type = OPT_BOOL,
     .offset = offsetof(struct bench_opts, chacha),
     .help = "ChaChaPoly even where AES-GCM is available"},
    {.flag = "cpu",
     .type = OPT_CHOICE,
     .meta = "WHERE",
     .choices = "apart shared free",
     .offset = offsetof(struct bench_opts, place),
     .help = "the two processes: apart, shared (on one CPU), free [apart]"},
};

static enum bench_place place_of(const char *name)
{
	if (name && !strcmp(name, "shared"))
		return BENCH_SHARED;
	return name && !strcmp(name, "free") ? BENCH_FREE : BENCH_APART;
}

static struct json *rtt_json(const struct bench_rtt *r)
{
	struct json *j = json_object();

	json_set(j, "p50_us", json_num(r->p50_us));
	json_set(j, "p99_us", json_num(r->p99_us));
	return j;
}

static void rpc_json(const struct bench_rpc_result *r)
{
	struct json *j = json_object(), *nng = rtt_json(&r->nng);
	struct json *beside = json_object();

	json_set(j, "p50_us", json_num(r->p50_us));
	json_set(j, "p99_us", json_num(r->p99_us));
	json_set(j, "calls_per_s", json_num(r->calls_per_s));
	json_set(j, "calls_alone_per_s", json_num(r->calls_alone_per_s));
	json_set(j, "stream_mb_s", json_num(r->stream_mb_s));
	json_set(j, "stream_up_mb_s", json_num(r->stream_up_mb_s));
	json_set(j, "suite", json_str(r->suite));
	json_set(beside, "p50_us", json_num(r->beside_p50_us));
	json_set(beside, "p99_us", json_num(r->beside_p99_us));
	json_set(beside, "stream_mb_s", json_num(r->beside_mb_s));
	json_set(j, "beside_stream", beside);
	json_set(j, "tcp", rtt_json(&r->tcp));
	json_set(nng, "calls_per_s", json_num(r->nng_calls_per_s));
	json_set(j, "nng_reqrep", nng);
	out_json(j);
}

static void rpc_text(const struct bench_rpc_result *r)
{
	out("%-26s %9s %9s %12s\n", "64 BYTES EACH WAY", "P50 US", "P99 US",
	    "CALLS/S");
	out("%-26s %9.1f %9.1f %12.0f\n", "hnode, encrypted", r->p50_us,
	    r->p99_us, r->calls_per_s);
	out("%-26s %9.1f %9.1f %12s\n", "hnode, beside a stream",
	    r->beside_p50_us, r->beside_p99_us, "-");
	out("%-26s %9.1f %9.1f %12.0f\n", "nng REQ/REP, plain", r->nng.p50_us,
	    r->nng.p99_us, r->nng_calls_per_s);
	out("%-26s %9.1f %9.1f %12s\n", "TCP ping-pong, plain", r->tcp.p50_us,
	    r->tcp.p99_us, "-");
	out("calls/s with 64 under way; one at a time: %.0f\n",
	    r->calls_alone_per_s);
	out("stream %.0f MB/s down, %.0f MB/s up, %.0f MB/s beside calls\n",
	    r->stream_mb_s, r->stream_up_mb_s, r->beside_mb_s);
	out("suite %s\n", r->suite);
}

static int run_bench_rpc(struct cli *c)
{
	const struct bench_opts *o = c->values;
	struct bench_rpc_options bo = {.seconds = seconds_of(o, 1),
				       .chacha = o->chacha,
				       .place = place_of(o->place)};
	struct bench_rpc_result r;
	struct buf why = {0};
	int code = 0;

	enum err e = bench_rpc_run(&bo, &r, &why);
	if (e)
		code = out_fail(e, "the benchmark cannot run: %s",
				why.n ? buf_str(&why) : err_str(e));
	else if (c->cfg.json)
		rpc_json(&r);
	else
		rpc_text(&r);
	buf_release(&why);
	return code;
}

const struct verb verb_bench_rpc = {
    .name = "bench rpc",
    .summary = "calls and streams between two processes",
    .more = "Beside them, in the same run: nng REQ/REP and a TCP ping-pong.",
    .example = "hnode bench rpc\nhnode bench rpc --json",
    VERB_OPTS(rpc_rows, struct bench_opts),
    .run = run_bench_rpc,
};

/* --- the other process of bench rpc --- */

static int run_bench_peer(struct cli *c)
{
	return bench_peer_main((int)c->args.n, c->args.items);
}

const struct verb verb_bench_peer = {
    .name = "bench-peer",
    .summary = "the other process of bench rpc",
    .example = "hnode bench rpc",
    .max_args = 16,
    .hidden = true,
    .run = run_bench_peer,
};
