/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/config.h"

#include "node/base/log.h"

#ifdef HN_CHEATS
#include "node/mesh/cheat.h"
#endif

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

#define VARIABLE_MAX 64
#define PREFIX "HNODE_"

/* --- well-formed texts --- */

bool config_host_port(const char *text, struct buf *why)
{
	const char *colon = strrchr(text, ':');
	const char *close = strchr(text, ']');
	uint64_t port;

	/* A bare IPv6 address has colons, but none of them begins a port. */
	bool one = text[0] == '[' ? close && close + 1 == colon
				  : strchr(text, ':') == colon;
	if (colon && colon != text && one && strlen(text) < 256 &&
	    isdigit((unsigned char)colon[1]) &&
	    opt_read_uint(colon + 1, &port) && port >= 1 && port <= 65535)
		return true;
	buf_add_str(why, "takes HOST:PORT, such as 192.0.2.1:7450, "
			 "node.example:7450 or [2001:db8::1]:7450");
	return false;
}

static bool is_ip(const char *text, struct buf *why)
{
	struct in6_addr a;

	if (inet_pton(AF_INET, text, &a) == 1 ||
	    inet_pton(AF_INET6, text, &a) == 1)
		return true;
	buf_add_str(why, "takes an IP address of this machine, such as "
			 "192.0.2.1 or ::1");
	return false;
}

static bool is_log(const char *text, struct buf *why)
{
	if (log_levels_parse(text) == OK)
		return true;
	buf_add_str(why, "takes error, warn, info, debug or trace, or some of "
			 "area=level with commas between, such as net=debug");
	return false;
}

/* "-90", "3600": seconds, at most ten years. */
static bool read_seconds(const char *text, int64_t *out)
{
	uint64_t n;

	if (!opt_read_uint(text + (*text == '-'), &n) || n > 315360000)
		return false;
	*out = *text == '-' ? -(int64_t)n : (int64_t)n;
	return true;
}

static bool is_seconds(const char *text, struct buf *why)
{
	int64_t s;

	if (read_seconds(text, &s))
		return true;
	buf_add_str(why, "takes seconds, such as 3600 or =-90");
	return false;
}

int64_t config_clock_ms(const struct config *c)
{
	int64_t s = 0;

	return c->clock_offset && read_seconds(c->clock_offset, &s) ? s * 1000
								    : 0;
}

#ifdef HN_CHEATS
static bool is_cheat(const char *text, struct buf *why)
{
	return cheat_use(text, why) == OK;
}
#endif

static bool not_empty(const char *text, struct buf *why)
{
	if (*text)
		return true;
	buf_add_str(why, "must not be empty");
	return false;
}

static bool is_site(const char *text, struct buf *why)
{
	const size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz"
				      "0123456789-_.");

	if (n && n <= 32 && !text[n])
		return true;
	buf_add_str(why, "takes a name of at most 32 of a-z 0-9 - _ and .");
	return false;
}

static bool is_id(const char *text, struct buf *why)
{
	if (strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64)
		return true;
	buf_add_str(why, "takes a node's id, 64 hex digits: `hnode id` there "
			 "prints it");
	return false;
}

/* --- the table --- */

#define AT(member) offsetof(struct config, member)

static const struct opt rows[] = {
    {.flag = "data-dir",
     .type = OPT_TEXT,
     .meta = "DIR",
     .offset = AT(data_dir),
     .key = "data-dir",
     .check = not_empty,
     .help = "identity, database and control socket of the node"},
    {.flag = "json",
     .type = OPT_BOOL,
     .offset = AT(json),
     .help = "one JSON object, or one per line; errors, too"},
    {.flag = "quiet",
     .letter = 'q',
     .type = OPT_BOOL,
     .offset = AT(quiet),
     .help = "results, warnings and errors only"},
    {.flag = "verbose",
     .letter = 'v',
     .type = OPT_COUNT,
     .offset = AT(verbose),
     .help = "say more; twice: everything"},
    {.flag = "help",
     .letter = 'h',
     .type = OPT_BOOL,
     .offset = AT(help),
     .help = "this text"},

    {.flag = "bind",
     .type = OPT_TEXT,
     .meta = "ADDR",
     .offset = AT(bind),
     .key = "net.bind",
     .check = is_ip,
     .help = "listen on this address only (the DHT listens on all)"},
    {.flag = "port",
     .type = OPT_UINT,
     .meta = "N",
     .offset = AT(port),
     .max = 65535,
     .key = "net.port",
     .def = "7450",
     .help = "TCP and UDP port; 0: any free one, printed"},
    {.flag = "bootstrap",
     .type = OPT_TEXTS,
     .meta = "HOST:PORT",
     .offset = AT(bootstrap),
     .key = "net.bootstrap",
     .check = config_host_port,
     .help = "a node of the DHT to begin with (repeatable)"},
    {.flag = "advertise",
     .type = OPT_TEXTS,
     .meta = "HOST:PORT",
     .offset = AT(advertise),
     .key = "net.advertise",
     .check = config_host_port,
     .help = "announce this address, too (repeatable)"},
    {.flag = "advertise-only",
     .type = OPT_BOOL,
     .offset = AT(advertise_only),
     .key = "net.advertise-only",
     .help = "announce the addresses of --advertise and no other"},
    {.flag = "no-listen",
     .type = OPT_NOT,
     .offset = AT(listen),
     .key = "net.listen",
     .def = "1",
     .help = "open no session port: this node dials, nobody dials it"},
    {.flag = "no-lan",
     .type = OPT_NOT,
     .offset = AT(lan),
     .key = "net.lan",
     .def = "1",
     .help = "send and read no beacons on the local network"},
    {.flag = "no-dht",
     .type = OPT_NOT,
     .offset = AT(dht),
     .key = "net.dht",
     .def = "1",
     .help = "no DHT: only beacons, invites and `hnode dial`"},
    {.flag = "role",
     .type = OPT_CHOICE,
     .meta = "ROLE",
     .offset = AT(role),
     .choices = "serve use both",
     .key = "net.role",
     .def = "both",
     .help = "serve: work for others; use: only submit"},
    {.flag = "ping-interval",
     .type = OPT_MS,
     .meta = "TIME",
     .offset = AT(ping_ms),
     .min = 1000,
     .max = 3600000,
     .key = "session.ping-interval",
     .def = "10s",
     .help = "idle sessions are pinged so often; 3 misses: lost"},
    {.flag = "rekey-interval",
     .type = OPT_MS,
     .meta = "TIME",
     .offset = AT(rekey_ms),
     .min = 1000,
     .max = 86400000,
     .key = "session.rekey-interval",
     .def = "10m",
     .help = "sessions change their keys so often"},
    {.flag = "backup-accept",
     .type = OPT_CHOICE,
     .meta = "WHOM",
     .offset = AT(backup_accept),
     .choices = "mesh any none",
     .key = "backup.accept",
     .def = "mesh",
     .help = "be the backup of jobs of a private mesh's members, of "
	     "anybody, of nobody"},
    {.flag = "backup-takeover",
     .type = OPT_MS,
     .meta = "TIME",
     .offset = AT(backup_takeover),
     .min = 1000,
     .max = 86400000,
     .key = "backup.takeover",
     .def = "30s",
     .help = "take a job over when its submitter is gone for so long"},
    {.flag = "join",
     .type = OPT_TEXT,
     .meta = "INVITE",
     .offset = AT(join),
     .key = "join",
     .check = not_empty,
     .help = "join the mesh of this invite; - or @FILE reads it"},
    {.flag = "offer",
     .type = OPT_TEXTS,
     .meta = "CAP",
     .offset = AT(offer),
     .key = "offer",
     .check = not_empty,
     .help = "offer this machine for it, such as hash/sha256d "
	     "(repeatable)"},
    {.flag = "credit-limit",
     .type = OPT_UINT,
     .meta = "N",
     .offset = AT(credit_limit),
     .max = UINT64_C(1) << 40,
     .key = "credit.limit",
     .def = "0",
     .help = "credits (2^32 hashes) an owner may owe; 0: any"},
    {.flag = "threads",
     .type = OPT_THREADS,
     .meta = "N",
     .offset = AT(threads),
     .max = 1024,
     .key = "hash.threads",
     .def = "auto",
     .help = "threads that hash; auto: one per core"},
    {.flag = "affinity",
     .type = OPT_TEXT,
     .meta = "CPUS",
     .offset = AT(affinity),
     .key = "hash.affinity",
     .check = not_empty,
     .help = "pin them to these cores, such as 0,2-3"},
    {.flag = "kernel",
     .type = OPT_TEXT,
     .meta = "NAME",
     .offset = AT(kernel),
     .key = "hash.kernel",
     .check = not_empty,
     .help = "hash with this kernel (default: the fastest)"},
    {.flag = "site",
     .type = OPT_TEXT,
     .meta = "NAME",
     .offset = AT(site),
     .key = "site.name",
     .check = is_site,
     .help = "speak for the nodes behind this one: one worker for others"},
    {.flag = "site-node",
     .type = OPT_TEXTS,
     .meta = "ID",
     .offset = AT(site_nodes),
     .key = "site.nodes",
     .check = is_id,
     .help =
	 "this node may be behind it (repeatable); needed in the open mesh"},
    {.flag = "behind",
     .type = OPT_TEXT,
     .meta = "ID@HOST:PORT",
     .offset = AT(behind),
     .key = "site.head",
     .check = not_empty,
     .help = "work for the site of that node, speak to nobody else"},
#define X(id, name, flag, meta, def, help) \
	LEND_OPT(struct config, lend, id, flag, "lend." name, def, meta, help),
    LEND_LIMITS(X)
#undef X
	{.flag = "sensors",
	 .type = OPT_TEXT,
	 .meta = "DIR",
	 .offset = AT(sensors),
	 .key = "lend.sensors",
	 .check = not_empty,
	 .help = "for tests: read proc, sys and dev in this directory"},
    {.flag = "probe-interval",
     .type = OPT_MS,
     .meta = "TIME",
     .offset = AT(probe_ms),
     .max = 86400000,
     .key = "check.probe-interval",
     .def = "10m",
     .help = "idle workers are asked a little that we know; 0: never"},
    {.flag = "probe-timeout",
     .type = OPT_MS,
     .meta = "TIME",
     .offset = AT(probe_timeout_ms),
     .min = 100,
     .max = 600000,
     .key = "check.probe-timeout",
     .def = "10s",
     .help = "so much later than expected is no answer"},
    {.flag = "quarantine",
     .type = OPT_MS,
     .meta = "TIME",
     .offset = AT(quarantine_ms),
     .min = 100,
     .max = 3600000,
     .key = "check.quarantine",
     .def = "30s",
     .help = "no work after 3 failures in a row; doubles each time, up to "
	     "1h"},
    {.flag = "score-half-life",
     .type = OPT_MS,
     .meta = "TIME",
     .offset = AT(half_life_ms),
     .min = 60000,
     .key = "check.half-life",
     .def = "7d",
     .help = "what is known of a peer is worth half after so long"},
    {.flag = "log",
     .type = OPT_TEXT,
     .meta = "LEVEL",
     .offset = AT(log),
     .key = "log.level",
     .check = is_log,
     .help = "error warn info debug trace; or by area: net=debug"},
    {.flag = "log-format",
     .type = OPT_CHOICE,
     .meta = "FORM",
     .offset = AT(log_format),
     .choices = "text json",
     .key = "log.format",
     .def = "text",
     .help = "of a line"},
    {.flag = "clock-offset",
     .type = OPT_TEXT,
     .meta = "SECONDS",
     .offset = AT(clock_offset),
     .key = "clock.offset",
     .check = is_seconds,
     .help = "go by a clock that is so far off: to see what happens"},
#ifdef HN_CHEATS
    {.flag = "cheat",
     .type = OPT_TEXT,
     .meta = "HOW",
     .offset = AT(cheat),
     .key = "cheat",
     .check = is_cheat,
     .help = "lie to those who give it work"},
#endif
};
#define NROWS HN_COUNT(rows)
#define NCOMMON 5
_Static_assert(NROWS <= CONFIG_ROWS, "config.from is too short");

void lend_pairs(const struct lend_texts *t, struct arena *a, struct strs *out)
{
	const char *const texts[] = {
#define X(id, name, flag, meta, def, help) t->id,
	    LEND_LIMITS(X)
#undef X
	};

	*out = (struct strs){arena_alloc(a, LEND_COUNT * sizeof(char *)), 0};
	for (size_t i = 0; i < LEND_COUNT; i++)
		if (texts[i])
			out->items[out->n++] = arena_printf(
			    a, "%s=%s", lend_name((enum lend_limit)i),
			    texts[i]);
}

const struct opt *config_rows(size_t *n, size_t *common)
{
	*n = NROWS;
	*common = NCOMMON;
	return rows;
}

enum opt_from config_from(const struct config *c, const char *flag)
{
	for (size_t i = 0; i < NROWS; i++)
		if (!strcmp(rows[i].flag, flag))
			return (enum opt_from)c->from[i];
	return OPT_FROM_DEFAULT;
}

/* --- environment --- */

static void variable_of(const char *name, char out[VARIABLE_MAX])
{
	size_t n = strlen(PREFIX);

	assert(n + strlen(name) < VARIABLE_MAX);
	memcpy(out, PREFIX, n);
	for (; *name; name++)
		out[n++] = *name == '.' || *name == '-'
			       ? '_'
			       : (char)toupper((unsigned char)*name);
	out[n] = '\0';
}

bool config_variable(const struct opt *o, char *out, size_t size)
{
	char name[VARIABLE_MAX];

	if (!o->key)
		return false;
	variable_of(o->key, name);
	snprintf(out, size, "%s", name);
	return true;
}

static enum err set_from(struct config *c, const struct opt *o,
			 const char *text, struct arena *a, struct buf *why)
{
	if (o->type != OPT_TEXTS)
		return opt_set(o, c, text, a, why);
	opt_reset(o, c);
	for (const char *p = text; *p;) {
		p += strspn(p, " ,");
		size_t n = strcspn(p, " ,");
		if (!n)
			break;
		enum err e = opt_set(o, c, arena_strndup(a, p, n), a, why);
		if (e)
			return e;
		p += n;
	}
	return OK;
}

/* net.listen without its section. Of a value that a flag switches off, as the
 * flag's own variable HNODE_NO_LISTEN says the opposite. */
static bool short_variable(const struct opt *o, char out[VARIABLE_MAX])
{
	const char *dot = o->type == OPT_NOT ? strchr(o->key, '.') : NULL;

	if (dot)
		variable_of(dot + 1, out);
	return dot != NULL;
}

/* The variable named after the key, or the one after the flag. The latter of
 * net.listen is HNODE_NO_LISTEN: it says the opposite. */
static enum err from_environment(struct config *c, size_t i, struct arena *a,
				 struct buf *why)
{
	struct opt o = rows[i];
	char name[VARIABLE_MAX], weaker[VARIABLE_MAX];
	struct buf what = {0};

	variable_of(o.key, name);
	variable_of(o.flag, weaker);
	const char *text = getenv(name);
	const char *said = name;
	if (!text && short_variable(&o, name))
		text = getenv(name);
	if (text) {
		if (o.type == OPT_NOT)
			o.type = OPT_BOOL;
	} else {
		text = getenv(weaker);
		said = weaker;
	}
	if (!text || !*text)
		return OK;
	enum err e = set_from(c, &o, text, a, &what);
	if (e)
		buf_printf(why, "the variable %s %s", said, buf_str(&what));
	else
		c->from[i] = OPT_FROM_ENV;
	buf_release(&what);
	return e ? ERR_CONFIG : OK;
}

static bool known_variable(const char *name, size_t n)
{
	char known[VARIABLE_MAX];

	for (size_t i = 0; i < NROWS; i++) {
		if (!rows[i].key)
			continue;
		variable_of(rows[i].key, known);
		if (strlen(known) == n && !memcmp(known, name, n))
			return true;
		variable_of(rows[i].flag, known);
		if (strlen(known) == n && !memcmp(known, name, n))
			return true;
		if (short_variable(&rows[i], known) && strlen(known) == n &&
		    !memcmp(known, name, n))
			return true;
	}
	return false;
}

const char *config_nearest(const char *variable, struct arena *a)
{
	struct near n = near_of(variable);
	char known[VARIABLE_MAX];

	for (size_t i = 0; i < NROWS; i++) {
		if (!rows[i].key)
			continue;
		variable_of(rows[i].key, known);
		near_try(&n, arena_printf(a, "%s", known));
		variable_of(rows[i].flag, known);
		near_try(&n, arena_printf(a, "%s", known));
	}
	return n.best;
}

static void note_unknown(struct config *c, struct arena *a)
{
	static const struct opt list = {
	    .type = OPT_TEXTS, .offset = offsetof(struct config, unknown)};

	for (char **v = environ; v && *v; v++) {
		size_t n = strcspn(*v, "=");
		if (strncmp(*v, PREFIX, strlen(PREFIX)) != 0 ||
		    known_variable(*v, n))
			continue;
		enum err e =
		    opt_set(&list, c, arena_strndup(a, *v, n), a, NULL);
		(void)e; /* a text without a check is always taken */
	}
}

enum err config_init(struct config *c, struct arena *a, struct buf *why)
{
	memset(c, 0, sizeof(*c));
	for (size_t i = 0; i < NROWS; i++) {
		struct opt o = rows[i];
		if (!o.def)
			continue;
		if (o.type == OPT_NOT)
			o.type = OPT_BOOL;
		enum err e = set_from(c, &o, o.def, a, why);
		assert(!e);
		(void)e;
	}
	for (size_t i = 0; i < NROWS; i++) {
		enum err e = rows[i].key ? from_environment(c, i, a, why) : OK;
		if (e)
			return e;
	}
	note_unknown(c, a);
	return OK;
}

struct opt_table config_table(struct config *c, bool node)
{
	return (struct opt_table){.rows = rows,
				  .n = node ? NROWS : NCOMMON,
				  .values = c,
				  .from = c->from};
}

/* --- what depends on others --- */

static char *default_dir(struct arena *a)
{
	const char *data = getenv("XDG_DATA_HOME");
	const char *home = getenv("HOME");

	/* The specification: a relative path is to be ignored. */
	if (data && data[0] == '/')
		return arena_printf(a, "%s/hnode", data);
	if (home && home[0] == '/')
		return arena_printf(a, "%s/.local/share/hnode", home);
	return getuid() ? NULL : arena_printf(a, "/var/lib/hnode");
}

/* Nobody finds such a node, and it offers what it has to its head. */
static bool behind_a_head(struct config *c, struct arena *a, struct buf *why)
{
	static const struct opt offer = {.type = OPT_TEXTS,
					 .offset = AT(offer)};

	if (c->bootstrap.n || c->advertise.n || c->site) {
		buf_printf(why,
			   "--behind: nobody finds this node but its head; "
			   "leave out --%s",
			   c->bootstrap.n   ? "bootstrap"
			   : c->advertise.n ? "advertise"
					    : "site");
		return false;
	}
	c->listen = c->lan = c->dht = false;
	return c->offer.n || opt_set(&offer, c, "hash/sha256d", a, why) == OK;
}

enum err config_finish(struct config *c, struct arena *a, struct buf *why)
{
	const char *dir = c->data_dir ? c->data_dir : default_dir(a);

	if (c->behind && !behind_a_head(c, a, why))
		return ERR_CONFIG;
	if (c->site_nodes.n && !c->site) {
		buf_add_str(why, "--site-node without --site: name the site "
				 "that it is behind with --site NAME");
		return ERR_CONFIG;
	}
	if (c->advertise_only && !c->advertise.n) {
		buf_add_str(why, "--advertise-only without --advertise would "
				 "announce nothing: name an address with "
				 "--advertise HOST:PORT, or say --no-listen");
		return ERR_CONFIG;
	}
	if (!dir) {
		buf_add_str(why, "there is no HOME to keep the node's files "
				 "in: name a place with --data-dir DIR");
		return ERR_CONFIG;
	}
	if (dir[0] != '/') {
		char *here = getcwd(NULL, 0);
		if (!here) {
			buf_add_str(why, "the current directory is gone: name "
					 "another with --data-dir DIR");
			return ERR_CONFIG;
		}
		dir = arena_printf(a, "%s/%s", here, dir);
		free(here);
	}
	size_t n = strlen(dir);
	while (n > 1 && dir[n - 1] == '/')
		n--;
	c->data_dir = arena_strndup(a, dir, n);
	return OK;
}

/* --- facts --- */

bool config_no_color(void)
{
	const char *no = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	return (no && *no) || (term && !strcmp(term, "dumb"));
}

bool config_journal(int fd)
{
	const char *stream = getenv("JOURNAL_STREAM");
	struct stat st;
	char mine[64];

	if (!stream || fstat(fd, &st))
		return false;
	snprintf(mine, sizeof(mine), "%ju:%ju", (uintmax_t)st.st_dev,
		 (uintmax_t)st.st_ino);
	return !strcmp(stream, mine);
}

const char *config_runtime_dir(void)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");

	return dir && dir[0] == '/' ? dir : NULL;
}

char *const *config_other_environment(struct arena *a)
{
	size_t n = 0, kept = 0;

	while (environ[n])
		n++;
	char **out = arena_alloc(a, (n + 1) * sizeof(*out));
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], PREFIX, strlen(PREFIX)) != 0)
			out[kept++] = environ[i];
	return out;
}
