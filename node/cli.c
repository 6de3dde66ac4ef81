/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/cli.h"

#include "node/base/identity.h"
#include "node/base/loop.h"
#include "node/mesh/control.h"
#include "node/mesh/methods.h"
#include "node/out.h"
#include "rpc/rpc.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONNECT_MS 5000

/* --- small things --- */

int cli_usage(const struct cli *c, const char *fmt, ...)
{
	const char *name = c->verb ? c->verb->name : "";
	va_list ap;

	va_start(ap, fmt);
	char *text = xvasprintf(fmt, ap);
	va_end(ap);
	int code = out_fail(ERR_INPUT, "%s (see `hnode %s%s--help`)", text,
			    name, *name ? " " : "");
	free(text);
	return code;
}

char *cli_path(struct cli *c, const char *name)
{
	return arena_printf(&c->arena, "%s/%s", c->cfg.data_dir, name);
}

bool cli_confirm(const char *question)
{
	char answer[16] = "";
	int fd = open("/dev/tty", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return false;
	dprintf(fd, "%s [y/N] ", question);
	ssize_t n = read(fd, answer, sizeof(answer) - 1);
	close(fd);
	return n > 0 && (answer[0] == 'y' || answer[0] == 'Y');
}

enum err cli_read(const char *path, size_t max, struct buf *out,
		  struct buf *why)
{
	bool standard = !strcmp(path, "-");
	int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	const char *name = standard ? "standard input" : path;
	enum err e = OK;
	ssize_t n;

	if (fd < 0) {
		buf_printf(why, "cannot read %s: %s", name, strerror(errno));
		return errno == ENOENT ? ERR_INPUT : ERR_IO;
	}
	do {
		buf_reserve(out, 4096);
		n = read(fd, out->p + out->n, 4096);
		if (n > 0)
			out->n += (size_t)n;
	} while ((n > 0 && out->n <= max) || (n < 0 && errno == EINTR));
	if (n < 0) {
		buf_printf(why, "cannot read %s: %s", name, strerror(errno));
		e = ERR_IO;
	} else if (out->n > max) {
		buf_printf(why, "%s is longer than %zu bytes", name, max);
		e = ERR_INPUT;
	}
	if (!standard)
		close(fd);
	return e;
}

enum err cli_secret(struct cli *c, const char *text, size_t max, char **out,
		    struct buf *why)
{
	struct buf b = {0};
	enum err e = OK;

	if (!strcmp(text, "-"))
		e = cli_read("-", max, &b, why);
	else if (text[0] == '@')
		e = cli_read(text + 1, max, &b, why);
	else
		buf_add_str(&b, text);
	if (!e) {
		const char *s = buf_str(&b);
		size_t at = strspn(s, " \t\r\n"), n = strlen(s);
		while (n > at && strchr(" \t\r\n", s[n - 1]))
			n--;
		*out = arena_strndup(&c->arena, s + at, n - at);
		if (n == at) {
			buf_add_str(why, "there is nothing in it");
			e = ERR_INPUT;
		}
	}
	buf_release(&b);
	return e;
}

/* --- the control socket --- */

struct dialling {
	struct cli *c;
	enum err e;
	char *text;
	bool done;
};

static void on_dialled(void *arg, enum err e, struct session *s,
		       const char *text)
{
	struct dialling *d = arg;

	d->e = e;
	d->done = true;
	d->text = text ? xstrdup(text) : NULL;
	if (!e)
		d->c->session = s;
	loop_stop(d->c->loop);
}

static void on_down(void *arg, struct session *s, enum err why,
		    const char *text, bool dup)
{
	struct cli *c = arg;

	(void)s, (void)why, (void)text, (void)dup;
	c->session = NULL;
	/* `stop` waits for it; nobody else runs the loop for nothing. */
	loop_stop(c->loop);
}

static struct rpc *client_new(struct cli *c)
{
	struct rpc_options o = {
	    .hub = {.loop = c->loop},
	    .tables = mesh_methods,
	    .ntables = mesh_methods_count,
	    .arg = c,
	    .down = on_down,
	};

	return rpc_new(&o);
}

static void no_node(const struct cli *c, struct buf *why)
{
	buf_printf(why,
		   "no node runs on %s; start one with `hnode` or in the "
		   "background with `hnode up -d`, or name another with "
		   "--data-dir",
		   c->cfg.data_dir);
}

bool cli_try(struct cli *c, enum err *e, struct buf *why)
{
	struct dialling d = {.c = c};
	struct buf path = {0};

	if (c->session)
		return true;
	*e = control_find(c->cfg.data_dir, &path);
	if (*e) {
		no_node(c, why);
		buf_release(&path);
		return false;
	}
	if (access(buf_str(&path), R_OK | W_OK) && errno == EACCES) {
		buf_printf(why,
			   "the node on %s is another user's: run this as that "
			   "user",
			   c->cfg.data_dir);
		*e = ERR_DENIED;
		buf_release(&path);
		return false;
	}
	if (!c->loop)
		c->loop = loop_new();
	if (!c->rpc)
		c->rpc = client_new(c);
	hub_dial_control(rpc_hub(c->rpc), buf_str(&path), CONNECT_MS,
			 on_dialled, &d);
	while (!d.done)
		loop_run(c->loop);
	if (d.e == ERR_TIMEOUT || d.e == ERR_DENIED || d.e == ERR_PROTO) {
		buf_printf(why, "the node on %s does not answer: %s",
			   c->cfg.data_dir, d.text ? d.text : err_str(d.e));
		*e = d.e;
	} else if (d.e) {
		no_node(c, why);
		*e = ERR_NONODE;
	}
	buf_release(&path);
	free(d.text);
	return !d.e;
}

int cli_open(struct cli *c)
{
	struct buf why = {0};
	enum err e;
	int code = 0;

	if (!cli_try(c, &e, &why))
		code = out_fail(e, "%s", buf_str(&why));
	buf_release(&why);
	return code;
}

static void on_stopped(void *arg)
{
	struct cli *c = arg;

	c->rpc = NULL;
	loop_stop(c->loop);
}

void cli_close(struct cli *c)
{
	if (c->rpc) {
		rpc_stop(c->rpc, on_stopped, c);
		while (c->rpc)
			loop_run(c->loop);
	}
	if (c->loop)
		loop_free(c->loop);
	c->loop = NULL;
	arena_release(&c->arena);
}

/* --- calls --- */

struct asking {
	struct cli *c;
	const struct rpc_method *m;
	enum err e;
	const void *reply;
	char *text;
	bool done;
};

static void on_answer(void *arg, struct rpc_stream *st, enum err e,
		      const void *reply, const char *text)
{
	struct asking *a = arg;

	(void)st;
	if (!e) {
		const struct message *m =
		    a->m->reply ? a->m->reply : &message_empty;
		void *copy = arena_alloc(&a->c->arena, m->size ? m->size : 1);
		fields_copy(m, reply, &a->c->arena, copy);
		a->reply = copy;
	}
	a->e = e;
	a->text = text ? xstrdup(text) : NULL;
	a->done = true;
	loop_stop(a->c->loop);
}

enum err cli_ask(struct cli *c, const char *method, const void *request,
		 uint32_t timeout_ms, const void **reply, struct buf *why)
{
	static const struct rpc_ops ops = {.end = on_answer};
	struct asking a = {.c = c};

	if (!cli_try(c, &a.e, why))
		return a.e;
	a.m = rpc_method_find(c->rpc, method);
	assert(a.m);
	if (a.m->request) {
		a.e = fields_check(a.m->request, request, why);
		if (a.e)
			return a.e;
	}
	a.e = rpc_call(c->rpc, c->session, method, request,
		       timeout_ms ? timeout_ms : CLI_CALL_MS, &ops, &a, NULL);
	if (!a.e)
		while (!a.done)
			loop_run(c->loop);
	if (a.e == ERR_GONE && !c->session)
		buf_add_str(why, "the node stopped before it answered");
	else if (a.e == ERR_NOMETHOD && strcmp(method, "peer.call") != 0)
		buf_printf(why,
			   "this node does not know %s: is it an older hnode? "
			   "Restart it",
			   method);
	else if (a.e)
		buf_add_str(why, a.text ? a.text : err_str(a.e));
	else
		*reply = a.reply;
	free(a.text);
	return a.e;
}

int cli_call(struct cli *c, const char *method, const void *request,
	     uint32_t timeout_ms, const void **reply)
{
	struct buf why = {0};
	int code = 0;

	enum err e = cli_ask(c, method, request, timeout_ms, reply, &why);
	if (e)
		code = out_fail(e, "%s", buf_str(&why));
	buf_release(&why);
	return code;
}
