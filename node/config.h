/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_NODE_CONFIG_H
#define HN_NODE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/base/fields.h"
#include "node/base/lend.h"
#include "node/base/mem.h"
#include "node/opt.h"

/*
 * Settings: one table of rows (opt.h) gives name, type, range, default, flag,
 * environment variable and help. A flag wins over the environment, that over
 * the default; each value knows where it came from. Read once at start,
 * constant afterwards. The only file that reads the environment.
 *
 * The variable of the key net.port is HNODE_NET_PORT; HNODE_PORT, after the
 * flag, does the same and is the weaker of the two. In a variable the texts of
 * a list are separated by spaces or commas.
 */
#define CONFIG_ROWS 64

/* The limits of what is lent, as texts; NULL: not said. */
struct lend_texts {
#define X(id, name, flag, meta, def, help) const char *id;
	LEND_LIMITS(X)
#undef X
};
/* As a list of "share=50%", in the arena. */
void lend_pairs(const struct lend_texts *t, struct arena *a, struct strs *out);
/* Rows of a table of options: `member` is a struct lend_texts in `struct_`. */
#define LEND_OPT(struct_, member, id_, flag_, key_, def_, meta_, help_) \
	{ \
		.flag = flag_, .type = OPT_TEXT, .meta = meta_, \
		.offset = offsetof(struct_, member.id_), .key = key_, \
		.def = def_, .check = lend_check_##id_, .help = help_, \
	}

struct config {
	/* for every verb */
	const char *data_dir; /* absolute */
	bool json, help, quiet;
	unsigned verbose;

	/* for a node */
	const char *bind;
	struct opt_u64 port, threads, ping_ms, rekey_ms;
	struct opt_u64 probe_ms, probe_timeout_ms, quarantine_ms, half_life_ms;
	struct strs bootstrap, advertise, offer;
	bool listen, lan, dht, advertise_only;
	struct opt_u64 credit_limit;
	const char *backup_accept;
	struct opt_u64 backup_takeover;
	const char *role, *join, *affinity, *kernel;
	struct lend_texts lend;
	const char *sensors;
	const char *site, *behind;
	struct strs site_nodes;
	const char *log, *log_format, *clock_offset;
	const char *cheat; /* hnode-cheat (node/mesh/cheat.h); else NULL */

	uint8_t from[CONFIG_ROWS]; /* enum opt_from, by row */
	struct strs unknown; /* HNODE_* variables that mean nothing to us */
};

/* The rows, those of every verb first. */
const struct opt *config_rows(size_t *n, size_t *common);
enum opt_from config_from(const struct config *c, const char *flag);
/* "HNODE_NET_PORT"; false when the row has no variable. */
bool config_variable(const struct opt *o, char *out, size_t size);
/* The variable that a mistyped one may stand for, in the arena; or NULL. */
const char *config_nearest(const char *variable, struct arena *a);

/*
 * Defaults and environment into *c; flags come by opt_parse with config_table
 * and then config_finish, which settles what depends on others. ERR_CONFIG
 * with a sentence that names the variable.
 */
enum err config_init(struct config *c, struct arena *a,
		     struct buf *why) HN_CHECK;
struct opt_table config_table(struct config *c, bool node);
enum err config_finish(struct config *c, struct arena *a,
		       struct buf *why) HN_CHECK;

/* clock_offset in ms; 0 when it was not given. */
int64_t config_clock_ms(const struct config *c);

/* "host:port", "[::1]:port"; the why as opt_set gives it. */
bool config_host_port(const char *text, struct buf *why);

/* Facts of the environment that are no settings. */
bool config_no_color(void);
bool config_journal(int fd);	      /* that descriptor goes to journald */
const char *config_runtime_dir(void); /* XDG_RUNTIME_DIR or NULL */
/* All variables but HNODE_*, for a node that these are not meant for. */
char *const *config_other_environment(struct arena *a);

#endif
