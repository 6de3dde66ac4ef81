/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/lab/talk.h"

#include "node/base/json.h"
#include "node/base/mem.h"

#include <utlist.h>
#include <uv.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES (64u << 10)
#define CLIENTS_MAX 64

struct talk_client {
	struct talk_client *prev, *next;
	struct talk *talk;
	uv_pipe_t pipe;
	struct buf in, out;
	uv_write_t req;
	bool asked, gone; /* gone: its question is answered to nobody */
	bool owed;	  /* an answer is due: the memory stays */
	char chunk[4096];
};

struct talk {
	struct loop *loop;
	uv_pipe_t socket;
	talk_fn fn;
	void *arg;
	struct talk_client *clients;
	unsigned n;
	bool closed; /* the socket itself */
	loop_fn done;
	void *done_arg;
};

static void maybe_stopped(struct talk *t)
{
	if (!t->done || !t->closed || t->clients)
		return;
	loop_post(t->loop, t->done, t->done_arg);
	free(t);
}

static void client_free(struct talk_client *c)
{
	struct talk *t = c->talk;

	DL_DELETE(t->clients, c);
	t->n--;
	buf_release(&c->in);
	buf_release(&c->out);
	free(c);
	maybe_stopped(t);
}

static void on_client_closed(uv_handle_t *h)
{
	struct talk_client *c = h->data;

	c->gone = true;
	if (!c->owed)
		client_free(c);
}

static void client_close(struct talk_client *c)
{
	if (!uv_is_closing((uv_handle_t *)&c->pipe))
		uv_close((uv_handle_t *)&c->pipe, on_client_closed);
}

static void on_answered(uv_write_t *req, int status)
{
	(void)status;
	client_close(req->data);
}

void talk_answer(struct talk_client *c, struct json *take_j)
{
	c->owed = false;
	if (c->gone) {
		json_free(take_j);
		client_free(c);
		return;
	}
	json_write(take_j, &c->out);
	buf_add_str(&c->out, "\n");
	json_free(take_j);
	c->req.data = c;
	uv_buf_t b = uv_buf_init((char *)c->out.p, (unsigned)c->out.n);
	if (uv_is_closing((uv_handle_t *)&c->pipe) ||
	    uv_write(&c->req, (uv_stream_t *)&c->pipe, &b, 1, on_answered))
		client_close(c);
}

void talk_refuse(struct talk_client *c, enum err e, const char *text)
{
	struct json *j = json_object(), *d = json_object();

	json_set(d, "code", json_str(err_name(e)));
	json_set(d, "message", json_str(text));
	json_set(j, "error", d);
	talk_answer(c, j);
}

static void on_alloc(uv_handle_t *h, size_t want, uv_buf_t *b)
{
	struct talk_client *c = h->data;

	(void)want;
	*b = uv_buf_init(c->chunk, sizeof(c->chunk));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
	struct talk_client *c = s->data;
	struct buf why = {0};
	struct json *q;

	if (n < 0 || c->in.n + (size_t)n > LINE_BYTES) {
		client_close(c);
		return;
	}
	buf_add(&c->in, b->base, (size_t)n);
	if (c->asked || !n || !memchr(b->base, '\n', (size_t)n))
		return;
	c->asked = c->owed = true;
	if (json_parse((const char *)c->in.p, c->in.n, &why, &q)) {
		talk_refuse(c, ERR_INPUT, buf_str(&why));
	} else {
		c->talk->fn(c->talk->arg, c, q);
		json_free(q);
	}
	buf_release(&why);
}

static void on_client(uv_stream_t *socket, int status)
{
	struct talk *t = socket->data;

	if (status)
		return;
	struct talk_client *c = HN_NEW(struct talk_client);
	c->talk = t;
	uv_pipe_init(loop_uv(t->loop), &c->pipe, 0);
	c->pipe.data = c;
	DL_APPEND(t->clients, c);
	t->n++;
	if (uv_accept(socket, (uv_stream_t *)&c->pipe) || t->n > CLIENTS_MAX ||
	    uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read))
		client_close(c);
}

static void on_socket_closed(uv_handle_t *h)
{
	struct talk *t = h->data;

	t->closed = true;
	maybe_stopped(t);
}

static void on_nothing(void *arg)
{
	(void)arg;
}

void talk_stop(struct talk *t, struct loop *loop, loop_fn done, void *arg)
{
	struct talk_client *c, *tmp;

	if (!t) {
		loop_post(loop, done, arg);
		return;
	}
	t->done = done;
	t->done_arg = arg;
	DL_FOREACH_SAFE (t->clients, c, tmp) {
		const bool waits = c->owed || !c->out.n;

		c->owed = false;
		if (c->gone)
			client_free(c);
		else if (waits) /* else it closes when it is written */
			client_close(c);
	}
	uv_close((uv_handle_t *)&t->socket, on_socket_closed);
}

enum err talk_new(struct loop *loop, const char *path, talk_fn fn, void *arg,
		  struct buf *why, struct talk **out)
{
	struct talk *t = HN_NEW(struct talk);

	t->loop = loop;
	t->fn = fn;
	t->arg = arg;
	uv_pipe_init(loop_uv(loop), &t->socket, 0);
	t->socket.data = t;
	unlink(path);
	int rc = uv_pipe_bind(&t->socket, path);
	if (!rc)
		rc = uv_listen((uv_stream_t *)&t->socket, 16, on_client);
	if (!rc) {
		*out = t;
		return OK;
	}
	buf_printf(why, "cannot listen on %s: %s", path, uv_strerror(rc));
	talk_stop(t, loop, on_nothing, NULL);
	return ERR_IO;
}
