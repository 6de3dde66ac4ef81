/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The composition root: gives each part its options, starts them in order,
 * stops them in reverse. What is here is the process: its directory, its lock,
 * its signals, its first lines and its end. The lock is a flock on DIR/pid,
 * which the kernel gives up however the process ends; the file stays, or a
 * second node could lock another file of the same name.
 */
#include "node/node.h"

#include "node/base/identity.h"
#include "node/base/json.h"
#include "node/base/log.h"
#include "node/base/loop.h"
#include "node/base/store.h"
#include "node/cli.h"
#include "node/mesh/mesh.h"
#include "node/out.h"
#include "node/version.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define STOP_MS 5000		  /* a stop that takes longer is a bug */
#define RAISED_MS (5 * 60 * 1000) /* SIGUSR1 */

struct node {
	struct cli *c;
	const struct config *cfg;
	const struct node_hooks *hooks;
	int lock;
	bool fresh, stopping;
	int code;
	char *join;
	struct identity *me;
	struct loop *loop;
	struct loop_timer *raised, *guard;
	struct store *store;
	struct mesh *mesh;
};

/* --- the directory --- */

static int make_dirs(const char *dir)
{
	char *path = xstrdup(dir);
	int code = 0;

	for (char *p = path + 1; !code; p++) {
		if (*p && *p != '/')
			continue;
		char was = *p;
		*p = '\0';
		if (mkdir(path, 0700) && errno != EEXIST)
			code = out_fail(ERR_CONFIG,
					"cannot make the data directory %s: "
					"%s; name another with --data-dir",
					path, strerror(errno));
		*p = was;
		if (!was)
			break;
	}
	free(path);
	return code;
}

static bool is_empty(const char *dir)
{
	DIR *d = opendir(dir);
	const struct dirent *e;
	bool empty = d != NULL;

	while (d && (e = readdir(d)))
		empty &= !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..");
	if (d)
		closedir(d);
	return empty;
}

/* D12: 0700. A directory of ours is mended; one with other things in it, such
 * as /tmp, is not ours to close. */
static int use_dir(struct cli *c)
{
	const char *dir = c->cfg.data_dir;
	struct stat st;

	int code = make_dirs(dir);
	if (code)
		return code;
	if (stat(dir, &st) || !S_ISDIR(st.st_mode))
		return out_fail(ERR_CONFIG, "%s is not a directory", dir);
	if (st.st_uid != geteuid())
		return out_fail(ERR_CONFIG,
				"%s belongs to another user: name a directory "
				"of your own with --data-dir",
				dir);
	if (!(st.st_mode & 077))
		return 0;
	if (!is_empty(dir) && access(cli_path(c, "node.key"), F_OK))
		return out_fail(ERR_CONFIG,
				"%s is open to others and holds other files: "
				"name an empty directory with --data-dir",
				dir);
	if (chmod(dir, 0700))
		return out_fail(ERR_CONFIG, "cannot close %s to others: %s",
				dir, strerror(errno));
	return 0;
}

static int take_lock(struct node *n)
{
	char text[32] = "";

	n->lock =
	    open(cli_path(n->c, "pid"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (n->lock < 0)
		return out_fail(ERR_IO, "cannot write in %s: %s",
				n->cfg->data_dir, strerror(errno));
	if (flock(n->lock, LOCK_EX | LOCK_NB)) {
		ssize_t got = read(n->lock, text, sizeof(text) - 1);
		text[got > 0 ? strspn(text, "0123456789") : 0] = '\0';
		return out_fail(ERR_EXISTS,
				"a node already runs here, pid %s: stop it "
				"with `hnode stop`, or give this one a "
				"--data-dir of its own",
				*text ? text : "unknown");
	}
	int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	if (ftruncate(n->lock, 0) ||
	    pwrite(n->lock, text, (size_t)len, 0) != len)
		return out_fail(ERR_IO, "cannot write in %s: %s",
				n->cfg->data_dir, strerror(errno));
	return 0;
}

/* --- the end --- */

static void on_store_stopped(void *arg)
{
	struct node *n = arg;

	n->store = NULL;
	loop_stop(n->loop);
}

static void on_mesh_stopped(void *arg)
{
	struct node *n = arg;

	n->mesh = NULL;
	if (n->store)
		store_stop(n->store, on_store_stopped, n);
	else
		loop_stop(n->loop);
}

static void on_guard(void *arg)
{
	(void)arg;
	log_error("node",
		  "still not stopped after %d s, leaving; please "
		  "report it with the lines above",
		  STOP_MS / 1000);
	_exit(err_exit(ERR_INTERNAL));
}

static void node_stop(struct node *n)
{
	if (n->stopping)
		return;
	n->stopping = true;
	loop_timer_set(n->guard, STOP_MS);
	mesh_stop(n->mesh, on_mesh_stopped, n);
}

/* --- signals --- */

static void on_end_signal(void *arg)
{
	struct node *n = arg;

	if (n->stopping) {
		log_warn("node", "leaving at once");
		_exit(130);
	}
	log_info("node", "stopping (again: at once)");
	node_stop(n);
}

static void on_request(void *arg)
{
	struct node *n = arg;

	log_info("node", "stopping, as `hnode stop` asked");
	node_stop(n);
}

static void on_usr1(void *arg)
{
	struct node *n = arg;

	log_raise(1);
	log_info("node", "SIGUSR1: the log says more for 5 minutes");
	loop_timer_set(n->raised, RAISED_MS);
}

static void on_raised(void *arg)
{
	(void)arg;
	log_raise(0);
}

/* --- the first lines --- */

static void say_who(const struct node *n)
{
	const struct node_id *id = identity_id(n->me);

	log_info("node", "%s (%s) pid %d", HN_SOFTWARE, HN_COMMIT,
		 (int)getpid());
	log_info("node", "id %s name %s (%s %s/node.key)", node_hex(id),
		 node_str(id), n->fresh ? "new key in" : "key in",
		 n->cfg->data_dir);
	for (size_t i = 0; i < n->cfg->unknown.n; i++) {
		const char *said = n->cfg->unknown.items[i];
		const char *near = config_nearest(said, &n->c->arena);
		log_warn("node", "%s is no setting of hnode: ignored%s%s%s",
			 said, near ? "; did you mean " : "", near ? near : "",
			 near ? "?" : "");
	}
}

/* The mesh has said which one it is, its ports and what it offers. */
static void say_ready(const struct node *n)
{
	if (!n->cfg->offer.n)
		log_info("caps", "offering nothing yet: see `hnode offer`");
	log_info("node", "files in %s; stop with Ctrl-C or `hnode stop`",
		 n->cfg->data_dir);
}

/* For scripts: where it is, once it is there. */
static void say_ready_json(const struct node *n)
{
	const struct node_id *id = identity_id(n->me);
	struct json *j = json_object();

	json_set(j, "id", json_str(node_hex(id)));
	json_set(j, "name", json_str(node_str(id)));
	json_set(j, "pid", json_int(getpid()));
	json_set(j, "port", json_int(mesh_port(n->mesh)));
	json_set(j, "dht_port", json_int(mesh_dht_port(n->mesh)));
	json_set(j, "mesh", json_str(mesh_name(n->mesh)));
	json_set(j, "data_dir", json_str(n->cfg->data_dir));
	out_json(j);
}

static void on_ready(void *arg, enum err e, const char *text)
{
	struct node *n = arg;

	if (n->stopping)
		return;
	if (e) {
		/* What is in the way here, such as a port, is configured. */
		n->code = out_fail(e == ERR_EXISTS ? ERR_CONFIG : e, "%s",
				   text ? text : err_str(e));
		node_stop(n);
		return;
	}
	say_ready(n);
	if (n->hooks)
		n->hooks->ready(n->hooks->arg);
	else if (n->cfg->json)
		say_ready_json(n);
}

/* --- the start --- */

static void log_start(const struct node *n)
{
	const struct config *cfg = n->cfg;
	int fd = n->hooks ? n->hooks->log_fd : STDERR_FILENO;
	enum log_format form = LOG_TEXT;

	if (cfg->json || !strcmp(cfg->log_format, "json"))
		form = LOG_JSON;
	else if (config_journal(fd))
		form = LOG_JOURNAL;
	log_colour(!config_no_color());
	log_setup(cfg->quiet	      ? LOG_WARN
		  : cfg->verbose > 1  ? LOG_TRACE
		  : cfg->verbose == 1 ? LOG_DEBUG
				      : LOG_INFO,
		  form, fd);
	if (cfg->log) {
		enum err e = log_levels_parse(cfg->log);
		(void)e; /* config.c has refused what is wrong */
	}
}

/* One descriptor a session: the default limit is for programs of before. */
static void raise_files(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur == r.rlim_max)
		return;
	r.rlim_cur = r.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &r))
		log_debug("node", "the limit of open files stays: %s",
			  strerror(errno));
}

static int load_key(struct node *n)
{
	struct buf why = {0};
	int code = 0;

	enum err e = identity_load(cli_path(n->c, "node.key"), "node",
				   &n->fresh, &why, &n->me);
	if (!e && n->cfg->join)
		e = cli_secret(n->c, n->cfg->join, 4096, &n->join, &why);
	if (e)
		code = out_fail(e, "%s", buf_str(&why));
	else
		log_node(node_str(identity_id(n->me)));
	buf_release(&why);
	return code;
}

/* SQLite takes an empty file, or none beside a log of changes, for a new
 * database and says nothing. */
static void warn_emptied(const char *path)
{
	char *wal = xasprintf("%s-wal", path);
	struct stat db, log;
	const bool there = !stat(path, &db);
	const bool changes = !stat(wal, &log) && log.st_size;

	free(wal);
	if ((there && db.st_size) || (!there && !changes))
		return;
	log_warn("node",
		 "the database %s is %s: what it held (jobs, remembered nodes) "
		 "is lost, a new one is made",
		 path, there ? "empty" : "gone");
}

static int open_store(struct node *n)
{
	const struct store_schema *schema;
	struct buf why = {0};
	size_t count;
	int code = 0;

	schema = mesh_schema(&count);
	warn_emptied(cli_path(n->c, "hnode.db"));
	enum err e = store_open(n->loop, cli_path(n->c, "hnode.db"), schema,
				count, &why, &n->store);
	if (e)
		code = out_fail(e, "%s", buf_str(&why));
	else if (store_lost(n->store))
		log_warn("node",
			 "the database is %" PRIu64
			 " changes older than it was: its log of changes was "
			 "cut, or an earlier copy was put in its place; jobs "
			 "that had ended since may run again",
			 store_lost(n->store));
	buf_release(&why);
	return code;
}

/* Each text was checked when it was read. */
static struct lend lend_of(const struct node *n)
{
	struct lend lend = lend_default;
	struct strs pairs;

	lend_pairs(&n->cfg->lend, &n->c->arena, &pairs);
	for (size_t i = 0; i < pairs.n; i++) {
		struct buf why = {0};
		enum err e = lend_set_pair(&lend, pairs.items[i], &why);
		assert(!e);
		(void)e;
		buf_release(&why);
	}
	return lend;
}

static void start_mesh(struct node *n)
{
	const struct config *cfg = n->cfg;
	struct mesh_options o = {
	    .loop = n->loop,
	    .store = n->store,
	    .me = n->me,
	    .data_dir = cfg->data_dir,
	    .software = HN_SOFTWARE,
	    .bind = cfg->bind,
	    .port = (uint16_t)cfg->port.v,
	    .port_given = config_from(cfg, "port") != OPT_FROM_DEFAULT,
	    .listen = cfg->listen,
	    .lan = cfg->lan,
	    .dht = cfg->dht,
	    .bootstrap = (const char *const *)cfg->bootstrap.items,
	    .nbootstrap = cfg->bootstrap.n,
	    .advertise = (const char *const *)cfg->advertise.items,
	    .nadvertise = cfg->advertise.n,
	    .advertise_only = cfg->advertise_only,
	    .offer = (const char *const *)cfg->offer.items,
	    .noffer = cfg->offer.n,
	    .role = cfg->role,
	    .join = n->join,
	    .threads = (unsigned)cfg->threads.v,
	    .affinity = cfg->affinity,
	    .kernel = cfg->kernel,
	    .lend = lend_of(n),
	    .sensors = cfg->sensors,
	    .site = cfg->site,
	    .site_nodes = (const char *const *)cfg->site_nodes.items,
	    .nsite_nodes = cfg->site_nodes.n,
	    .behind = cfg->behind,
	    .ping_ms = (uint32_t)cfg->ping_ms.v,
	    .trust = {.half_life_ms = cfg->half_life_ms.v,
		      .quarantine_ms = cfg->quarantine_ms.v,
		      .probe_ms = cfg->probe_ms.v,
		      .timeout_ms = cfg->probe_timeout_ms.v},
	    .rekey_ms = (uint32_t)cfg->rekey_ms.v,
	    .credit_limit = cfg->credit_limit.v,
	    .backup_accept = cfg->backup_accept,
	    .backup_takeover_ms = cfg->backup_takeover.v,
	    .runtime_dir = config_runtime_dir(),
	    .request_stop = on_request,
	    .request_arg = n,
	};

	n->mesh = mesh_new(&o, on_ready, n);
}

static void watch_signals(struct node *n)
{
	loop_signal(n->loop, SIGINT, on_end_signal, n);
	loop_signal(n->loop, SIGTERM, on_end_signal, n);
	loop_signal(n->loop, SIGHUP, on_end_signal, n);
	loop_signal(n->loop, SIGUSR1, on_usr1, n);
}

static void run_loop(struct node *n)
{
	n->loop = loop_new();
	n->raised = loop_timer_new(n->loop, on_raised, n);
	n->guard = loop_timer_new(n->loop, on_guard, n);
	watch_signals(n);
	n->code = open_store(n);
	if (!n->code) {
		start_mesh(n);
		loop_run(n->loop);
	}
	loop_timer_free(n->raised);
	loop_timer_free(n->guard);
	if (!loop_free(n->loop)) {
		log_error("node", "handles were left open; please report it");
		n->code = n->code ? n->code : err_exit(ERR_INTERNAL);
	}
}

int node_run(struct cli *c, const struct node_hooks *hooks)
{
	struct node n = {.c = c, .cfg = &c->cfg, .hooks = hooks, .lock = -1};

	umask(077);
	signal(SIGPIPE, SIG_IGN);
	log_start(&n);
	clock_unix_shift(config_clock_ms(&c->cfg));
	raise_files();
	n.code = take_lock(&n);
	if (!n.code)
		n.code = load_key(&n);
	if (!n.code) {
		say_who(&n);
		run_loop(&n);
		log_info("node", "stopped");
	}
	identity_free(n.me);
	if (n.lock >= 0) {
		if (!n.code && ftruncate(n.lock, 0))
			log_debug("node", "the pid stays in its file");
		close(n.lock);
	}
	return n.code;
}

int node_directory(struct cli *c)
{
	umask(077);
	return use_dir(c);
}
