/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A line is formatted on the caller's stack, without the mutex, and leaves in
 * one write(2) unless it is very long, with it: lines of several threads never
 * mix. `loudest` is the most detailed level that any area has, so that the
 * usual case, a trace call that nobody wants, costs two atomic loads and no
 * mutex.
 *
 * No allocation and no jansson here: a log line must come out also when
 * memory is short or the JSON code is what went wrong.
 */
#include "node/base/log.h"

#include "node/base/utf8.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_MAX 2000
#define AREA_MAX 16
#define AREAS_MAX 32
#define VALUE_MAX 128 /* of peer= and job= */
#define QUOTE_MAX 128
#define RING 8
#define WAIT_MS 100 /* for a reader that is slow */

static const char *const level_names[] = {"error", "warn", "info", "debug",
					  "trace"};
static const char *const level_colours[] = {"\033[31m", "\033[33m", "\033[32m",
					    "\033[2m", "\033[2m"};
static const int journal_priorities[] = {3, 4, 6, 7, 7};

struct levels {
	enum log_level all;
	struct area_level {
		char area[AREA_MAX];
		enum log_level level;
	} areas[AREAS_MAX];
	size_t n;
};

/* All of it under the mutex, but for the two atomics. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct levels levels = {.all = LOG_INFO};
static enum log_format format = LOG_TEXT;
static int out_fd = STDERR_FILENO;
static bool colour_allowed, colour;
static char node_field[64];
static atomic_int loudest = LOG_INFO;
static atomic_int raised;

static int clamp(int level)
{
	return level < LOG_ERROR   ? LOG_ERROR
	       : level > LOG_TRACE ? LOG_TRACE
				   : level;
}

static void levels_use(const struct levels *l)
{
	int most = l->all;
	for (size_t i = 0; i < l->n; i++)
		if ((int)l->areas[i].level > most)
			most = l->areas[i].level;
	levels = *l;
	atomic_store(&loudest, most);
}

void log_setup(enum log_level level, enum log_format form, int fd)
{
	pthread_mutex_lock(&mutex);
	struct levels l = levels;
	l.all = level;
	levels_use(&l);
	format = form;
	out_fd = fd;
	colour = colour_allowed && isatty(fd);
	pthread_mutex_unlock(&mutex);
}

void log_colour(bool allowed)
{
	pthread_mutex_lock(&mutex);
	colour_allowed = allowed;
	colour = allowed && isatty(out_fd);
	pthread_mutex_unlock(&mutex);
}

void log_node(const char *name)
{
	pthread_mutex_lock(&mutex);
	snprintf(node_field, sizeof(node_field), "%s", name ? name : "");
	pthread_mutex_unlock(&mutex);
}

/* Levels */

static bool level_parse(const char *s, size_t n, enum log_level *out)
{
	for (int i = LOG_ERROR; i <= LOG_TRACE; i++) {
		if (strlen(level_names[i]) == n &&
		    !memcmp(level_names[i], s, n)) {
			*out = i;
			return true;
		}
	}
	return false;
}

static bool area_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
	       c == '-';
}

static bool area_set(struct levels *l, const char *area, size_t n,
		     enum log_level level)
{
	if (!n || n >= AREA_MAX)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!area_char(area[i]))
			return false;
	struct area_level *a = NULL;
	for (size_t i = 0; i < l->n; i++)
		if (strlen(l->areas[i].area) == n &&
		    !memcmp(l->areas[i].area, area, n))
			a = &l->areas[i];
	if (!a && l->n < AREAS_MAX)
		a = &l->areas[l->n++];
	if (!a)
		return false;
	memcpy(a->area, area, n);
	a->area[n] = '\0';
	a->level = level;
	return true;
}

static bool item_parse(struct levels *l, const char *s, size_t n)
{
	const char *eq = memchr(s, '=', n);
	enum log_level level;

	if (!eq) {
		if (!level_parse(s, n, &level))
			return false;
		l->all = level;
		l->n = 0;
		return true;
	}
	size_t name = (size_t)(eq - s);
	return level_parse(eq + 1, n - name - 1, &level) &&
	       area_set(l, s, name, level);
}

enum err log_levels_parse(const char *spec)
{
	pthread_mutex_lock(&mutex);
	struct levels l = levels;
	pthread_mutex_unlock(&mutex);

	for (const char *s = spec;; s++) {
		size_t n = strcspn(s, ",");
		if (!item_parse(&l, s, n))
			return ERR_INPUT;
		s += n;
		if (!*s)
			break;
	}
	pthread_mutex_lock(&mutex);
	levels_use(&l);
	pthread_mutex_unlock(&mutex);
	return OK;
}

enum log_level log_level_of(const char *area)
{
	pthread_mutex_lock(&mutex);
	int level = levels.all;
	for (size_t i = 0; i < levels.n; i++)
		if (!strcmp(levels.areas[i].area, area))
			level = levels.areas[i].level;
	pthread_mutex_unlock(&mutex);
	return clamp(level + atomic_load(&raised));
}

void log_raise(int by)
{
	atomic_store(&raised, by);
}

static bool wanted(enum log_level level, const char *area)
{
	if ((int)level >
	    atomic_load_explicit(&loudest, memory_order_relaxed) +
		atomic_load_explicit(&raised, memory_order_relaxed))
		return level == LOG_ERROR; /* errors cannot be turned off */
	return level <= log_level_of(area);
}

/* Lines: a fixed buffer that silently ends when full. */

struct line {
	char p[MESSAGE_MAX * 6 + 1024]; /* JSON may write a byte as \u00XX */
	size_t n;
};

static void line_add(struct line *l, const char *s, size_t n)
{
	size_t room = sizeof(l->p) - l->n;
	if (n > room)
		n = room;
	memcpy(l->p + l->n, s, n);
	l->n += n;
}

static void line_str(struct line *l, const char *s)
{
	line_add(l, s, strlen(s));
}

__attribute__((format(printf, 2, 3))) static void line_printf(struct line *l,
							      const char *fmt,
							      ...)
{
	char tmp[128];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(tmp, sizeof(tmp), fmt, ap);
	va_end(ap);
	line_str(l, tmp);
}

/* One line stays one line, whatever a message holds: control characters
 * become spaces, so that no value can begin a line of its own. */
static void line_text(struct line *l, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		bool control = (unsigned char)s[i] < 0x20 || s[i] == 0x7f;
		line_add(l, control ? " " : s + i, 1);
	}
}

static void line_json(struct line *l, const char *s, size_t n)
{
	line_add(l, "\"", 1);
	for (size_t i = 0; i < n;) {
		uint32_t c;
		size_t step = utf8_step(s + i, n - i, &c);
		if (!step)
			line_str(l, "\\ufffd");
		else if (c == '"' || c == '\\')
			line_printf(l, "\\%c", (char)c);
		else if (c < 0x20 || (c >= 0x7f && c < 0xa0))
			line_printf(l, "\\u%04x", (unsigned)c);
		else
			line_add(l, s + i, step);
		i += step ? step : 1;
	}
	line_add(l, "\"", 1);
}

static void line_field(struct line *l, const char *name, const char *s)
{
	if (!*s)
		return;
	line_printf(l, ",\"%s\":", name);
	line_json(l, s, strlen(s));
}

/* The pairs at the end of a message: a word that is no pair forgets what
 * came before it, so that "bad peer=x in record" gives nothing. */
struct pairs {
	char peer[VALUE_MAX], job[VALUE_MAX];
};

static const char *value_end(const char *s)
{
	if (*s != '"')
		return s + strcspn(s, " ");
	for (s++; *s && *s != '"'; s++)
		if (*s == '\\' && s[1])
			s++;
	return *s ? s + 1 : s;
}

static void value_copy(char *out, const char *s, const char *end)
{
	if (end - s >= 2 && *s == '"' && end[-1] == '"') {
		s++;
		end--;
	}
	snprintf(out, VALUE_MAX, "%.*s", (int)(end - s), s);
}

static void pairs_find(struct pairs *p, const char *s)
{
	memset(p, 0, sizeof(*p));
	while (*s) {
		size_t key = 0;
		while (area_char(s[key]))
			key++;
		if (!key || s[key] != '=') {
			memset(p, 0, sizeof(*p));
			s += strcspn(s, " ");
		} else {
			const char *value = s + key + 1;
			const char *end = value_end(value);
			if (key == 4 && !memcmp(s, "peer", 4))
				value_copy(p->peer, value, end);
			else if (key == 3 && !memcmp(s, "job", 3))
				value_copy(p->job, value, end);
			s = end;
		}
		s += strspn(s, " ");
	}
}

static void write_json(struct line *l, enum log_level level, const char *area,
		       const char *msg, size_t n)
{
	struct timespec ts;
	struct tm tm;
	char day[40];
	struct pairs pairs;

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	line_printf(l, "{\"ts\":\"%s.%03ldZ\",\"level\":\"%s\",\"area\":", day,
		    ts.tv_nsec / 1000000, level_names[level]);
	line_json(l, area, strlen(area));
	line_str(l, ",\"msg\":");
	line_json(l, msg, n);
	line_field(l, "node", node_field);
	pairs_find(&pairs, msg);
	line_field(l, "peer", pairs.peer);
	line_field(l, "job", pairs.job);
	line_str(l, "}");
}

static void write_text(struct line *l, enum log_level level, const char *area,
		       const char *msg, size_t n)
{
	char day[16];
	struct tm tm;
	time_t now = time(NULL);

	localtime_r(&now, &tm);
	strftime(day, sizeof(day), "%H:%M:%S", &tm);
	if (colour)
		line_printf(l, "\033[2m%s\033[0m %s%s\033[0m %s ", day,
			    level_colours[level], level_names[level], area);
	else
		line_printf(l, "%s %s %s ", day, level_names[level], area);
	line_text(l, msg, n);
}

/* After one line that waited in vain none waits, until somebody reads. */
static bool has_room(void)
{
	static bool stuck;
	struct pollfd f = {.fd = out_fd, .events = POLLOUT};
	int rc;

	do
		rc = poll(&f, 1, stuck ? 0 : WAIT_MS);
	while (rc < 0 && errno == EINTR);
	stuck = rc == 0;
	return !stuck;
}

/* A full pipe or a closed terminal costs the line, never the node. Where
 * there is room at all, there is room for PIPE_BUF bytes. */
static void line_write(const char *p, size_t n)
{
	while (n && has_room()) {
		ssize_t done = write(out_fd, p, n < PIPE_BUF ? n : PIPE_BUF);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return;
		p += done;
		n -= (size_t)done;
	}
}

static void emit(enum log_level level, const char *area, const char *msg,
		 size_t n)
{
	struct line l;

	l.n = 0;
	pthread_mutex_lock(&mutex);
	switch (format) {
	case LOG_TEXT:
		write_text(&l, level, area, msg, n);
		break;
	case LOG_JSON:
		write_json(&l, level, area, msg, n);
		break;
	case LOG_JOURNAL:
		line_printf(&l, "<%d>%s %s ", journal_priorities[level],
			    level_names[level], area);
		line_text(&l, msg, n);
		break;
	}
	if (l.n == sizeof(l.p))
		l.n--;
	line_add(&l, "\n", 1);
	line_write(l.p, l.n);
	pthread_mutex_unlock(&mutex);
}

/* `held` is appended behind the pairs of the message. */
__attribute__((format(printf, 4, 0))) static void log_va(enum log_level level,
							 const char *area,
							 uint64_t held,
							 const char *fmt,
							 va_list ap)
{
	char msg[MESSAGE_MAX + 40];

	int len = vsnprintf(msg, MESSAGE_MAX, fmt, ap);
	size_t n = len < 0 ? 0 : (size_t)len;
	if (n >= MESSAGE_MAX) {
		n = MESSAGE_MAX - 1;
		memcpy(msg + n - 3, "...", 3);
	}
	if (held)
		n +=
		    (size_t)snprintf(msg + n, sizeof(msg) - n, " repeated=%llu",
				     (unsigned long long)held);
	msg[n] = '\0';
	emit(level, area, msg, n);
}

void log_at(enum log_level level, const char *area, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	assert(level >= LOG_ERROR && level <= LOG_TRACE);
	if (!wanted(level, area))
		return;
	va_start(ap, fmt);
	log_va(level, area, 0, fmt, ap);
	va_end(ap);
	errno = saved;
}

static bool gate_pass(struct log_gate *g, uint64_t ms, uint64_t *held)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	uint64_t now =
	    (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
	pthread_mutex_lock(&mutex);
	bool pass = now >= g->next_ms;
	if (pass) {
		*held = g->held;
		g->held = 0;
		g->next_ms = now + ms;
	} else {
		g->held++;
	}
	pthread_mutex_unlock(&mutex);
	return pass;
}

void log_every(struct log_gate *g, uint64_t ms, enum log_level level,
	       const char *area, const char *fmt, ...)
{
	int saved = errno;
	uint64_t held;
	va_list ap;

	assert(level >= LOG_ERROR && level <= LOG_TRACE);
	if (!wanted(level, area) || !gate_pass(g, ms, &held))
		return;
	va_start(ap, fmt);
	log_va(level, area, held, fmt, ap);
	va_end(ap);
	errno = saved;
}

/* Quoting */

/* What a terminal shows as itself: no controls (C0, DEL, C1), none of the
 * marks that turn the direction of text or break lines. */
static bool shown(uint32_t c)
{
	return (c >= 0x20 && c < 0x7f) ||
	       (c >= 0xa0 && c != 0xfeff && !(c >= 0x200b && c <= 0x200f) &&
		!(c >= 0x2028 && c <= 0x202e) && !(c >= 0x2060 && c <= 0x206f));
}

const char *log_quote_n(const void *p, size_t n)
{
	static _Thread_local char ring[RING][QUOTE_MAX * 4 + 8];
	static _Thread_local unsigned next;
	const char *s = p;

	if (!s)
		return "-";
	char *out = ring[next++ % RING], *o = out;
	*o++ = '"';
	size_t i = 0;
	while (i < n && i < QUOTE_MAX) {
		uint32_t c;
		size_t step = utf8_step(s + i, n - i, &c);
		if (i + step > QUOTE_MAX)
			break;
		if (step && shown(c) && c != '"' && c != '\\') {
			memcpy(o, s + i, step);
			o += step;
		} else if (c = (unsigned char)s[i], c == '"' || c == '\\') {
			*o++ = '\\';
			*o++ = (char)c;
		} else {
			for (size_t k = 0; k < (step ? step : 1); k++, o += 4)
				snprintf(o, 5, "\\x%02x",
					 (unsigned char)s[i + k]);
		}
		i += step ? step : 1;
	}
	memcpy(o, i < n ? "...\"" : "\"", i < n ? 5 : 2);
	return out;
}

const char *log_quote(const char *s)
{
	/* One byte beyond the cut is enough to know that it was cut. */
	return log_quote_n(s, s ? strnlen(s, QUOTE_MAX + 4) : 0);
}
