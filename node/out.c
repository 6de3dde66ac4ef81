/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/out.h"

#include "node/base/json.h"
#include "node/base/mem.h"
#include "node/base/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct out_options opts;
static bool colour_out; /* standard output shows colours */

void out_setup(const struct out_options *o)
{
	opts = *o;
	colour_out = !o->json && !o->no_color && isatty(STDOUT_FILENO);
}

bool out_is_json(void)
{
	return opts.json;
}

/* --- lines --- */

/* What a terminal could obey must not come from a peer: control characters,
 * those that two bytes of UTF-8 spell, too. */
static void make_printable(char *s, bool lines)
{
	for (unsigned char *p = (unsigned char *)s; *p; p++) {
		if (lines && (*p == '\n' || *p == '\t'))
			continue;
		if (*p < ' ' || *p == 0x7f)
			*p = '?';
		else if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
			p[0] = p[1] = '?';
	}
}

__attribute__((format(printf, 2, 0))) static void put_text(FILE *f,
							   const char *fmt,
							   va_list ap)
{
	char *text = xvasprintf(fmt, ap);

	make_printable(text, true);
	fputs(text, f);
	free(text);
}

void out(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	put_text(stdout, fmt, ap);
	va_end(ap);
}

void out_note(const char *fmt, ...)
{
	va_list ap;

	if (opts.quiet || opts.json)
		return;
	fflush(stdout);
	va_start(ap, fmt);
	put_text(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static void put_json(FILE *f, struct json *take_value)
{
	struct buf b = {0};

	json_write(take_value, &b);
	buf_add_str(&b, "\n");
	fwrite(b.p, 1, b.n, f);
	fflush(f);
	buf_release(&b);
	json_free(take_value);
}

void out_wrap(struct buf *b, const char *text, int indent)
{
	int column = 0;

	while (*text) {
		size_t n = strcspn(text, " ");
		if (column && column + 1 + (int)n > OUT_COLUMNS) {
			buf_add_str(b, "\n");
			column = 0;
		}
		buf_printf(b, "%*s%.*s", column ? 1 : indent, "", (int)n, text);
		column += (column ? 1 : indent) + (int)n;
		text += n + strspn(text + n, " ");
	}
}

void out_json(struct json *take_value)
{
	put_json(stdout, take_value);
}

void out_message(const struct message *m, const void *msg)
{
	struct buf b = {0};

	fields_to_json(m, msg, &b);
	buf_add_str(&b, "\n");
	fwrite(b.p, 1, b.n, stdout);
	fflush(stdout);
	buf_release(&b);
}

__attribute__((format(printf, 3, 0))) static int fail(const char *name,
						      int code, const char *fmt,
						      va_list ap)
{
	char *sentence = xvasprintf(fmt, ap);
	char *text = xasprintf("%s%s", opts.json ? "" : "hnode: ", sentence);

	free(sentence);
	fflush(stdout);
	if (opts.json) {
		struct json *j = json_object();
		json_set(j, "error", json_str(name));
		json_set(j, "message", json_str(text));
		json_set(j, "exit", json_int(code));
		put_json(stderr, j);
	} else {
		struct buf b = {0};
		make_printable(text, true);
		/* Scripts read a line, persons whole words. */
		if (isatty(STDERR_FILENO))
			out_wrap(&b, text, 0);
		else
			buf_add_str(&b, text);
		fprintf(stderr, "%s\n", buf_str(&b));
		buf_release(&b);
	}
	free(text);
	return code;
}

int out_fail(enum err e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int code = fail(err_name(e), err_exit(e), fmt, ap);
	va_end(ap);
	return code;
}

int out_fail_as(const char *name, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	code = fail(name, code, fmt, ap);
	va_end(ap);
	return code;
}

int out_flush(int code)
{
	bool bad = fflush(stdout) || ferror(stdout);
	int why = errno;

	clearerr(stdout);
	if (!bad)
		return code;
	/* A reader that left, as head does, knows it. */
	if (why != EPIPE)
		return out_fail(ERR_IO, "cannot write the result: %s",
				strerror(why));
	return code ? code : 1;
}

/* --- units --- */

/* Three digits that count: 1.23, 88.1, 164. */
static void three_digits(struct buf *b, double v)
{
	buf_printf(b, "%.*f", v < 9.995 ? 2 : v < 99.95 ? 1 : 0, v);
}

void out_rate(struct buf *b, uint64_t rate)
{
	static const char *const units[] = {"H/s",  "kH/s", "MH/s", "GH/s",
					    "TH/s", "PH/s", "EH/s"};
	double v = (double)rate;
	size_t i = 0;

	if (!rate) {
		buf_add_str(b, "-");
		return;
	}
	for (; v >= 999.5 && i + 1 < HN_COUNT(units); i++)
		v /= 1000;
	if (i)
		three_digits(b, v);
	else
		buf_printf(b, "%" PRIu64, rate);
	buf_printf(b, " %s", units[i]);
}

void out_count(struct buf *b, uint64_t n)
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%" PRIu64, n);

	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			buf_u8(b, ',');
		buf_u8(b, (uint8_t)digits[i]);
	}
}

void out_bytes(struct buf *b, uint64_t n)
{
	static const char *const units[] = {"B",   "KiB", "MiB",
					    "GiB", "TiB", "PiB"};
	double v = (double)n;
	size_t i = 0;

	for (; v >= 1023.5 && i + 1 < HN_COUNT(units); i++)
		v /= 1024;
	if (i)
		three_digits(b, v);
	else
		buf_printf(b, "%" PRIu64, n);
	buf_printf(b, " %s", units[i]);
}

void out_us(struct buf *b, uint64_t us)
{
	if (!us)
		buf_add_str(b, "-");
	else if (us < 1000)
		buf_printf(b, "%.2f ms", (double)us / 1000);
	else if (us < 100000)
		buf_printf(b, "%.1f ms", (double)us / 1000);
	else if (us < 1000000)
		buf_printf(b, "%.0f ms", (double)us / 1000);
	else
		buf_printf(b, "%.1f s", (double)us / 1e6);
}

void out_clock(struct buf *b, double s)
{
	if (!(s >= 0)) {
		buf_add_str(b, "--:--");
		return;
	}
	uint64_t t = s > 1e9 ? 1000000000 : (uint64_t)(s + 0.5);
	if (t >= 86400)
		buf_printf(b, "%" PRIu64 "d%02" PRIu64 "h", t / 86400,
			   t / 3600 % 24);
	else if (t >= 3600)
		buf_printf(b, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64, t / 3600,
			   t / 60 % 60, t % 60);
	else
		buf_printf(b, "%02" PRIu64 ":%02" PRIu64, t / 60, t % 60);
}

void out_age(struct buf *b, uint64_t ms)
{
	uint64_t s = ms / 1000;

	if (s < 120)
		buf_printf(b, "%" PRIu64 " s", s);
	else if (s < 7200)
		buf_printf(b, "%" PRIu64 " m", s / 60);
	else if (s < 172800)
		buf_printf(b, "%" PRIu64 " h", s / 3600);
	else
		buf_printf(b, "%" PRIu64 " d", s / 86400);
}

const char *out_s(uint64_t n)
{
	return n == 1 ? "" : "s";
}

/* --- tables --- */

#define COLUMN_GAP 2
#define FLEX_LEAST 8

struct cell {
	char *text;
	enum colour colour;
};

struct table {
	const char *const *heads;
	size_t columns;
	bool wide;
	struct cell *cells;
	size_t n, cap;
};

struct table *table_new(const char *const *heads, size_t n, bool wide)
{
	struct table *t = HN_NEW(struct table);

	t->heads = heads;
	t->columns = n;
	t->wide = wide;
	return t;
}

void table_free(struct table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n; i++)
		free(t->cells[i].text);
	free(t->cells);
	free(t);
}

void table_cell(struct table *t, enum colour c, const char *fmt, ...)
{
	struct cell *to;
	va_list ap;

	if (t->n == t->cap) {
		t->cap = t->cap ? 2 * t->cap : 32;
		t->cells = xrealloc(t->cells, t->cap * sizeof(*t->cells));
	}
	to = &t->cells[t->n++];
	to->colour = c;
	va_start(ap, fmt);
	to->text = xvasprintf(fmt, ap);
	va_end(ap);
	make_printable(to->text, false);
}

/* Characters, not bytes: text from peers may be UTF-8. */
static size_t width_of(const char *s)
{
	size_t n = strlen(s), width = 0;

	for (size_t i = 0; i < n; width++) {
		size_t step = utf8_step(s + i, n - i, NULL);
		i += step ? step : 1;
	}
	return width;
}

static const char *head_of(const struct table *t, size_t column)
{
	const char *h = t->heads[column];

	return h + (*h == '>' || *h == '*');
}

static void widths_of(const struct table *t, size_t *width)
{
	size_t sum = 0, flex = t->columns;

	for (size_t c = 0; c < t->columns; c++) {
		width[c] = width_of(head_of(t, c));
		for (size_t i = c; i < t->n; i += t->columns) {
			size_t w = width_of(t->cells[i].text);
			width[c] = w > width[c] ? w : width[c];
		}
		if (t->heads[c][0] == '*')
			flex = c;
		sum += width[c] + (c ? COLUMN_GAP : 0);
	}
	if (t->wide || sum <= OUT_COLUMNS || flex == t->columns)
		return;
	size_t over = sum - OUT_COLUMNS;
	width[flex] =
	    width[flex] > over + FLEX_LEAST ? width[flex] - over : FLEX_LEAST;
}

/* The text in its column; cut ones end in ~. */
static void put_cell(struct buf *b, const char *text, size_t width, bool right,
		     bool last, enum colour colour)
{
	static const char *const codes[] = {"", "\033[32m", "\033[33m",
					    "\033[31m", "\033[2m"};
	size_t n = strlen(text), w = width_of(text), shown = 0;
	size_t pad = w < width ? width - w : 0;
	bool paint = colour_out && colour != PLAIN;

	for (size_t i = 0; right && i < pad; i++)
		buf_u8(b, ' ');
	if (paint)
		buf_add_str(b, codes[colour]);
	for (size_t i = 0; i < n; shown++) {
		size_t step = utf8_step(text + i, n - i, NULL);
		step = step ? step : 1;
		if (w > width && shown + 1 >= width) {
			buf_u8(b, '~');
			break;
		}
		buf_add(b, text + i, step);
		i += step;
	}
	if (paint)
		buf_add_str(b, "\033[0m");
	for (size_t i = 0; !right && !last && i < pad; i++)
		buf_u8(b, ' ');
}

void table_text(const struct table *t, struct buf *b)
{
	size_t *width = xcalloc(t->columns, sizeof(*width));

	widths_of(t, width);
	for (size_t i = 0; i < t->columns + t->n; i++) {
		size_t c = i % t->columns;
		bool head = i < t->columns, last = c + 1 == t->columns;
		const struct cell *cell =
		    head ? NULL : &t->cells[i - t->columns];
		for (int gap = 0; c && gap < COLUMN_GAP; gap++)
			buf_u8(b, ' ');
		put_cell(b, head ? head_of(t, c) : cell->text, width[c],
			 t->heads[c][0] == '>', last,
			 head ? PLAIN : cell->colour);
		if (last)
			buf_u8(b, '\n');
	}
	free(width);
}

void table_print(struct table *take_t)
{
	struct buf b = {0};

	/* Who reads a pipe wants all of it. */
	take_t->wide |= !isatty(STDOUT_FILENO);
	table_text(take_t, &b);
	fwrite(b.p, 1, b.n, stdout);
	buf_release(&b);
	table_free(take_t);
}

/* --- progress --- */

#define BAR_WIDTH 20

static void put_facts(const struct progress_state *p, struct buf *b)
{
	if (p->waiting && *p->waiting) {
		buf_printf(b, "waits %s", p->waiting);
		return;
	}
	out_rate(b, p->rate);
	buf_add_str(b, "  ETA ");
	out_clock(b, p->eta_s);
	buf_printf(b, "  %" PRIu64 " peer%s  checked %.1f %%", p->peers,
		   out_s(p->peers), p->checked * 100);
}

void progress_bar(const struct progress_state *p, struct buf *b)
{
	double percent = p->percent < 0	    ? 0
			 : p->percent > 100 ? 100
					    : p->percent;
	int full = (int)(percent * BAR_WIDTH / 100);

	buf_printf(b, "%3d%% ", (int)percent);
	if (!p->waiting || !*p->waiting) { /* those words need the room */
		buf_u8(b, '[');
		for (int i = 0; i < BAR_WIDTH; i++)
			buf_u8(b, i < full ? '=' : ' ');
		buf_add_str(b, "] ");
	}
	put_facts(p, b);
	if (b->n > OUT_COLUMNS - 1)
		b->n = OUT_COLUMNS - 1;
}

void progress_line(const struct progress_state *p, struct buf *b)
{
	buf_printf(b, "%.1f %%  ", p->percent);
	put_facts(p, b);
}

struct progress progress_start(uint64_t now_ms)
{
	return (struct progress){
	    .terminal = isatty(STDERR_FILENO) && !opts.json,
	    .due_ms = now_ms + PROGRESS_LINE_MS,
	};
}

void progress_show(struct progress *g, const struct progress_state *p,
		   uint64_t now_ms)
{
	const bool waits = p->waiting && *p->waiting;
	struct buf b = {0};

	if (waits && !g->waited)
		g->due_ms = now_ms; /* said at once */
	g->waited = waits;
	if (opts.quiet || opts.json || (!g->terminal && now_ms < g->due_ms))
		return;
	if (g->terminal) {
		progress_bar(p, &b);
		fprintf(stderr, "\r%s\033[K", buf_str(&b));
		g->shown = true;
	} else {
		progress_line(p, &b);
		fprintf(stderr, "%s\n", buf_str(&b));
		g->due_ms = now_ms + PROGRESS_LINE_MS;
	}
	fflush(stderr);
	buf_release(&b);
}

void progress_end(struct progress *g)
{
	if (g->shown)
		fputs("\r\033[K", stderr);
	g->shown = false;
}
