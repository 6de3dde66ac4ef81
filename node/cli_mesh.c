/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Verbs about the mesh: who may join it, and the key of its owner. A
 * passphrase comes from the terminal or a file, never from a flag, where other
 * users of the machine could read it.
 */
#include "node/base/identity.h"
#include "node/base/json.h"
#include "node/base/loop.h"
#include "node/base/word.h"
#include "node/cli.h"
#include "node/cli_verbs.h"
#include "node/mesh/wire.h"
#include "node/out.h"

#include <sodium.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

/* --- invite --- */

struct invite_opts {
	struct opt_u64 uses, expires;
	const char *mesh;
	bool yes;
};
static const struct opt invite_opts[] = {
    {.flag = "uses",
     .type = OPT_UINT,
     .meta = "N",
     .min = 1,
     .max = 1000,
     .offset = offsetof(struct invite_opts, uses),
     .help = "so many machines may use it [1]"},
    {.flag = "expires",
     .type = OPT_MS,
     .meta = "TIME",
     .min = 1000,
     .offset = offsetof(struct invite_opts, expires),
     .help = "it works for so long [24h]"},
    {.flag = "mesh",
     .type = OPT_TEXT,
     .meta = "NAME",
     .offset = offsetof(struct invite_opts, mesh),
     .help = "name of the private mesh that the first one makes [home]"},
    {.flag = "yes",
     .letter = 'y',
     .type = OPT_BOOL,
     .offset = offsetof(struct invite_opts, yes),
     .help = "do not ask before this node leaves \"public\""},
};

/* Leaving `public` cannot be undone by a key press: ask once. */
static int ask_to_leave(const struct mesh_invited *r)
{
	char *question =
	    xasprintf("This makes the private mesh \"%s\" and this node leaves "
		      "\"public\".\nGo on?",
		      r->mesh ? r->mesh : "home");
	bool yes = cli_confirm(question);

	free(question);
	if (yes)
		return 0;
	return out_fail_as("needs-yes", 64,
			   "an invite makes the private mesh \"%s\", and this "
			   "node leaves \"public\": say so with --yes",
			   r->mesh ? r->mesh : "home");
}

static int run_invite(struct cli *c)
{
	const struct invite_opts *o = c->values;
	struct mesh_invite q = {.uses = o->uses.v,
				.life_ms = o->expires.v,
				.mesh = (char *)o->mesh,
				.yes = o->yes};
	struct buf left = {0};
	const void *reply;

	int code = cli_call(c, "mesh.invite", &q, 0, &reply);
	if (code)
		return code;
	const struct mesh_invited *r = reply;
	if (!r->invite) {
		code = ask_to_leave(r);
		q.yes = true;
		if (!code)
			code = cli_call(c, "mesh.invite", &q, 0, &reply);
		if (code)
			return code;
		r = reply;
	}
	if (c->cfg.json) {
		out_message(&mesh_invited_message, r);
		return 0;
	}
	uint64_t now = clock_unix_ms();
	out_age(&left, r->expires_ms > now ? r->expires_ms - now + 500 : 0);
	out("%s\n", r->invite ? r->invite : "");
	out_note("valid %s, for %" PRIu64
		 " machine%s; joins the mesh \"%s\", may use and offer work:\n "
		 " hnode --join INVITE",
		 buf_str(&left), r->uses, r->uses == 1 ? "" : "s",
		 r->mesh ? r->mesh : "");
	if (r->new_mesh)
		out_note("this node has left \"public\" for \"%s\"", r->mesh);
	buf_release(&left);
	return 0;
}

const struct verb verb_invite = {
    .name = "invite",
    .summary = "a word that lets a machine join this mesh",
    .more = "On a node that is only in \"public\" it makes a private mesh. "
	    "The word is a\nsecret until it is used.",
    .example = "hnode invite --yes\nhnode invite --uses 3 --expires 2h",
    VERB_OPTS(invite_opts, struct invite_opts),
    .run = run_invite,
};

/* --- mesh rekey --- */

#define REKEY_MS 30000

struct rekey_opts {
	struct strs without;
};
static const struct opt rekey_opts[] = {
    {.flag = "without",
     .type = OPT_TEXTS,
     .meta = "NODE",
     .offset = offsetof(struct rekey_opts, without),
     .help = "leave this node out: its id or name (repeatable)"},
};

static int run_rekey(struct cli *c)
{
	const struct rekey_opts *o = c->values;
	struct mesh_rekey q = {.without = o->without};
	const void *reply;

	int code = cli_call(c, "mesh.rekey", &q, REKEY_MS, &reply);
	if (code)
		return code;
	const struct mesh_rekeyed *r = reply;
	if (c->cfg.json)
		out_message(&mesh_rekeyed_message, r);
	else
		out("key %" PRIu64 ": %" PRIu64 " node%s told, %" PRIu64
		    " left out\n",
		    r->generation, r->told, r->told == 1 ? "" : "s",
		    r->excluded);
	out_note("members that are off now get the new key within 24 h of "
		 "coming back; later they need an invite");
	return 0;
}

const struct verb verb_mesh_rekey = {
    .name = "mesh rekey",
    .args = "[--without NODE]...",
    .summary = "a new key for the mesh, without some nodes",
    .more = "Only on a node that holds the owner's key (`hnode owner`).",
    .example = "hnode mesh rekey --without owl-cobalt-11fe",
    VERB_OPTS(rekey_opts, struct rekey_opts),
    .run = run_rekey,
};

/* --- passphrases --- */

#define PASSPHRASE_MAX 1024

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signum)
{
	(void)signum;
	interrupted = 1;
}

/* One line without echo; the terminal is as before afterwards, even when
 * Ctrl-C ends it. */
static bool ask_secret(int fd, const char *question, char *out, size_t size)
{
	struct sigaction act = {.sa_handler = on_interrupt}, old;
	struct termios was, quiet;

	if (tcgetattr(fd, &was))
		return false;
	quiet = was;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	sigaction(SIGINT, &act, &old);
	tcsetattr(fd, TCSAFLUSH, &quiet);
	dprintf(fd, "%s: ", question);
	ssize_t n = read(fd, out, size - 1);
	tcsetattr(fd, TCSAFLUSH, &was);
	dprintf(fd, "\n");
	sigaction(SIGINT, &old, NULL);
	if (n <= 0 || interrupted)
		return false;
	out[n] = '\0';
	out[strcspn(out, "\r\n")] = '\0';
	return true;
}

static int passphrase_file(const char *path, char *out)
{
	struct buf b = {0}, why = {0};
	int code = 0;

	enum err e = cli_read(path, PASSPHRASE_MAX - 1, &b, &why);
	const char *s = buf_str(&b);
	size_t n = strcspn(s, "\r\n");
	if (e) {
		code = out_fail(e, "%s", buf_str(&why));
	} else if (!n) {
		code = out_fail(ERR_INPUT,
				"the first line of %s is empty: the "
				"passphrase belongs there",
				path);
	} else {
		memcpy(out, s, n);
		out[n] = '\0';
	}
	if (b.p)
		sodium_memzero(b.p, b.cap);
	buf_release(&b);
	buf_release(&why);
	return code;
}

static int passphrase_asked(bool twice, char *out)
{
	char again[PASSPHRASE_MAX] = "";
	int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	int code = 0;

	if (fd < 0)
		return out_fail(ERR_INPUT,
				"there is no terminal to ask for the "
				"passphrase: give --passphrase-file FILE");
	bool ok = ask_secret(fd, "Passphrase", out, PASSPHRASE_MAX);
	if (ok && twice)
		ok = ask_secret(fd, "The same again", again, sizeof(again));
	close(fd);
	if (!ok)
		code = interrupted
			   ? out_fail(ERR_CANCELED, "interrupted")
			   : out_fail(ERR_INPUT, "no passphrase was given");
	else if (!*out)
		code = out_fail(ERR_INPUT, "the passphrase must not be empty");
	else if (twice && strcmp(out, again) != 0)
		code = out_fail(ERR_INPUT, "the two differ: nothing was done");
	sodium_memzero(again, sizeof(again));
	return code;
}

static int passphrase(const char *file, bool twice, char *out)
{
	return file ? passphrase_file(file, out) : passphrase_asked(twice, out);
}

/* --- owner --- */

static int owner_load(struct cli *c, struct identity **out)
{
	char *path = cli_path(c, "owner.key");
	struct buf why = {0};
	bool fresh;
	int code = 0;

	if (access(path, F_OK))
		return out_fail(ERR_NOTFOUND,
				"there is no owner's key in %s: `hnode invite` "
				"makes one with a private mesh, `hnode owner "
				"import` takes one over",
				c->cfg.data_dir);
	enum err e = identity_load(path, "owner", &fresh, &why, out);
	if (e)
		code = out_fail(e, "%s", buf_str(&why));
	buf_release(&why);
	return code;
}

static void show_owner(struct cli *c, const struct identity *owner)
{
	const char *hex = node_hex(identity_id(owner));

	if (c->cfg.json) {
		struct json *j = json_object();
		json_set(j, "owner", json_str(hex));
		json_set(j, "file", json_str(cli_path(c, "owner.key")));
		out_json(j);
	} else {
		out("%s\n", hex);
		out_note("the key is in %s; keep a copy: `hnode owner export`",
			 cli_path(c, "owner.key"));
	}
}

static int run_owner_show(struct cli *c)
{
	struct identity *owner;

	int code = owner_load(c, &owner);
	if (code)
		return code;
	show_owner(c, owner);
	identity_free(owner);
	return 0;
}

const struct verb verb_owner_show = {
    .name = "owner show",
    .summary = "the public key of this node's owner",
    .example = "hnode owner show",
    .run = run_owner_show,
};

struct owner_opts {
	const char *passphrase;
	bool yes;
};
#define PASSPHRASE_OPT \
	{ \
		.flag = "passphrase-file", .type = OPT_TEXT, .meta = "FILE", \
		.offset = offsetof(struct owner_opts, passphrase), \
		.help = "its first line is the passphrase (default: ask)" \
	}

static const struct opt export_opts[] = {PASSPHRASE_OPT};
static const struct opt import_opts[] = {
    PASSPHRASE_OPT,
    {.flag = "yes",
     .letter = 'y',
     .type = OPT_BOOL,
     .offset = offsetof(struct owner_opts, yes),
     .help = "replace another owner's key without asking"},
};

static int run_owner_export(struct cli *c)
{
	const struct owner_opts *o = c->values;
	char phrase[PASSPHRASE_MAX] = "";
	struct identity *owner;
	struct buf word = {0};

	int code = owner_load(c, &owner);
	if (code)
		return code;
	code = passphrase(o->passphrase, true, phrase);
	if (!code) {
		enum err e = identity_export(owner, phrase, &word);
		if (e)
			code = out_fail(e, "the key cannot be sealed: %s",
					err_str(e));
	}
	sodium_memzero(phrase, sizeof(phrase));
	if (!code && c->cfg.json) {
		struct json *j = json_object();
		json_set(j, "owner", json_str(node_hex(identity_id(owner))));
		json_set(j, "sealed", json_str(buf_str(&word)));
		out_json(j);
	} else if (!code) {
		out("%s\n", buf_str(&word));
		out_note("of no use without the passphrase; on another node: "
			 "hnode owner import WORD");
	}
	identity_free(owner);
	buf_release(&word);
	return code;
}

const struct verb verb_owner_export = {
    .name = "owner export",
    .summary = "the owner's key as a word, with a passphrase",
    .example = "hnode owner export --passphrase-file phrase.txt",
    VERB_OPTS(export_opts, struct owner_opts),
    .run = run_owner_export,
};

/* Whether the key may take the place of what is there. */
static int may_replace(struct cli *c, const struct identity *take,
		       const char *path, bool yes)
{
	struct identity *there = NULL;
	struct buf why = {0};
	bool fresh, same = false;

	if (access(path, F_OK))
		return 0;
	if (identity_load(path, "owner", &fresh, &why, &there) == OK)
		same = node_id_eq(identity_id(there), identity_id(take));
	identity_free(there);
	buf_release(&why);
	if (same || yes ||
	    cli_confirm("There is another owner's key; its meshes can be "
			"managed no more without it. Replace it?"))
		return 0;
	return out_fail_as("needs-yes", 64,
			   "%s holds another owner's key: export it first, "
			   "then say --yes",
			   cli_path(c, "owner.key"));
}

static int run_owner_import(struct cli *c)
{
	const struct owner_opts *o = c->values;
	char phrase[PASSPHRASE_MAX] = "", *word;
	char *path = cli_path(c, "owner.key");
	struct identity *owner = NULL;
	struct buf why = {0};
	int code;

	enum err e =
	    cli_secret(c, c->args.items[0], PASSPHRASE_MAX, &word, &why);
	code = e ? out_fail(e, "%s", buf_str(&why))
		 : passphrase(o->passphrase, false, phrase);
	if (!code) {
		e = identity_import(word, phrase, &why, &owner);
		if (e)
			code = out_fail(e, "%s",
					why.n ? buf_str(&why) : err_str(e));
	}
	sodium_memzero(phrase, sizeof(phrase));
	if (!code && access(c->cfg.data_dir, F_OK))
		code = out_fail(ERR_NOTFOUND,
				"there is no %s yet: the first `hnode` on it "
				"makes it",
				c->cfg.data_dir);
	if (!code)
		code = may_replace(c, owner, path, o->yes);
	if (!code) {
		e = identity_save(owner, path, "owner", &why);
		if (e)
			code = out_fail(e, "%s", buf_str(&why));
	}
	if (!code)
		show_owner(c, owner);
	identity_free(owner);
	buf_release(&why);
	return code;
}

const struct verb verb_owner_import = {
    .name = "owner import",
    .args = "WORD|-|@FILE",
    .summary = "take over an exported owner's key",
    .example = "hnode owner import @owner.txt",
    VERB_OPTS(import_opts, struct owner_opts),
    .min_args = 1,
    .max_args = 1,
    .run = run_owner_import,
};
