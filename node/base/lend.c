/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/lend.h"

#include "node/base/utf8.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define IDLE_MAX_MS UINT64_C(86400000)
#define TEMP_MIN 20
#define TEMP_MAX 120
#define COUNT_MAX 1024
#define PRICE_MAX UINT64_C(1000000000000)

const struct lend lend_default = {
    .share = 100, .idle_ms = 60000, .on_battery = true};

/* Digits, then one of the endings; what it is worth goes to *v. */
static bool read_number(const char *s, const char *const ends[],
			const uint64_t worth[], uint64_t *v)
{
	uint64_t n = 0;
	size_t len = strspn(s, "0123456789");

	if (!len || len > 15)
		return false;
	for (size_t i = 0; i < len; i++)
		n = n * 10 + (uint64_t)(s[i] - '0');
	for (size_t i = 0; ends[i]; i++)
		if (!strcmp(s + len, ends[i])) {
			*v = n * worth[i];
			return true;
		}
	return false;
}

/* A plain number from 1 to max, or the word for none, which is 0. */
static bool read_count(const char *s, const char *none, uint64_t max,
		       uint64_t *v)
{
	static const char *const ends[] = {"", NULL};
	static const uint64_t worth[] = {1};

	if (!strcmp(s, none)) {
		*v = 0;
		return true;
	}
	return read_number(s, ends, worth, v) && *v >= 1 && *v <= max;
}

static bool read_word(const char *s, const char *no, const char *yes, bool *v)
{
	if (strcmp(s, no) != 0 && strcmp(s, yes) != 0)
		return false;
	*v = !strcmp(s, yes);
	return true;
}

/* "07", "7", "22:30", "24" at *s; moves on. */
static bool read_clock(const char **s, uint16_t *minute)
{
	unsigned part[2] = {0, 0};

	for (int i = 0; i < 2; i++) {
		size_t n = strspn(*s, "0123456789");
		if (!n || n > 2 || (i && n != 2))
			return false;
		for (size_t k = 0; k < n; k++)
			part[i] = part[i] * 10 + (unsigned)((*s)[k] - '0');
		*s += n;
		if (**s != ':' || i)
			break;
		(*s)++;
	}
	*minute = (uint16_t)(part[0] * 60 + part[1]);
	return part[1] < 60 && *minute <= LEND_DAY_MIN;
}

static bool read_hours(const char *s, struct lend *l)
{
	l->nhours = 0;
	if (!strcmp(s, "all"))
		return true;
	for (;; s++) {
		struct lend_hours h;
		if (l->nhours == LEND_HOURS_MAX || !read_clock(&s, &h.from) ||
		    *s++ != '-' || !read_clock(&s, &h.to) || h.from == h.to ||
		    h.from == LEND_DAY_MIN)
			return false;
		l->hours[l->nhours++] = h;
		if (!*s)
			return true;
		if (*s != ',')
			return false;
	}
}

static bool read_region(const char *s, struct lend *l)
{
	size_t n = strlen(s);

	if (n > LEND_REGION_MAX)
		return false;
	for (size_t i = 0, step; i < n; i += step) {
		uint32_t c;
		step = utf8_step(s + i, n - i, &c);
		if (!step || c < 0x20 || (c >= 0x7f && c < 0xa0))
			return false;
	}
	memcpy(l->region, s, n + 1);
	return true;
}

static bool read_temp(const char *s, uint64_t *v)
{
	static const char *const ends[] = {"", "C", "c", "\302\260C", NULL};
	static const uint64_t worth[] = {1, 1, 1, 1};

	if (!strcmp(s, "none")) {
		*v = 0;
		return true;
	}
	return read_number(s, ends, worth, v) && *v >= TEMP_MIN &&
	       *v <= TEMP_MAX;
}

static bool read_percent(const char *s, uint64_t *v)
{
	static const char *const ends[] = {"", "%", NULL};
	static const uint64_t worth[] = {1, 1};

	return read_number(s, ends, worth, v) && *v >= 1 && *v <= 100;
}

static bool read_time(const char *s, uint64_t *v)
{
	static const char *const ends[] = {"", "ms", "s", "m", "h", NULL};
	static const uint64_t worth[] = {1000, 1, 1000, 60000, 3600000};

	return read_number(s, ends, worth, v) && *v >= 100 && *v <= IDLE_MAX_MS;
}

static bool read_price(const char *s, uint64_t *v)
{
	static const char *const ends[] = {"", NULL};
	static const uint64_t worth[] = {1};

	return read_number(s, ends, worth, v) && *v <= PRICE_MAX;
}

static const char *const names[] = {
#define X(id, name, flag, meta, def, help) name,
    LEND_LIMITS(X)
#undef X
};

static const char *const takes[] = {
    [LEND_threads] = "takes a number of threads, or all",
    [LEND_share] = "takes a percentage from 1% to 100%",
    [LEND_when] = "takes idle or always",
    [LEND_idle_after] = "takes a duration such as 30s or 10m, up to a day",
    [LEND_hours] = "takes hours of the day such as 23-07, 22:30-06:15 or "
		   "23-07,12-13 (at most 8), or all",
    [LEND_on_battery] = "takes never or always",
    [LEND_max_temp] = "takes degrees Celsius from 20C to 120C, or none",
    [LEND_max_jobs] = "takes a number from 1 to 1024, or any",
    [LEND_max_units] = "takes a number from 1 to 1024, or any",
    [LEND_price] = "takes a whole number of credits, 0 for nothing",
    [LEND_region] = "takes a text of at most 32 bytes without control "
		    "characters",
    [LEND_need_sensors] = "takes yes or no",
};

static bool set(struct lend *l, enum lend_limit which, const char *s)
{
	uint64_t v = 0;
	bool b = false, ok = false;

	switch (which) {
	case LEND_threads:
		ok = read_count(s, "all", COUNT_MAX, &v);
		l->threads = (unsigned)v;
		break;
	case LEND_share:
		ok = read_percent(s, &v);
		l->share = (unsigned)v;
		break;
	case LEND_when:
		ok = read_word(s, "always", "idle", &l->when_idle);
		break;
	case LEND_idle_after:
		ok = read_time(s, &l->idle_ms);
		break;
	case LEND_hours:
		ok = read_hours(s, l);
		break;
	case LEND_on_battery:
		ok = read_word(s, "never", "always", &l->on_battery);
		break;
	case LEND_max_temp:
		ok = read_temp(s, &v);
		l->max_temp = (unsigned)v;
		break;
	case LEND_max_jobs:
		ok = read_count(s, "any", COUNT_MAX, &v);
		l->max_jobs = (unsigned)v;
		break;
	case LEND_max_units:
		ok = read_count(s, "any", COUNT_MAX, &v);
		l->max_units = (unsigned)v;
		break;
	case LEND_price:
		ok = read_price(s, &l->price);
		break;
	case LEND_region:
		ok = read_region(s, l);
		break;
	case LEND_need_sensors:
		ok = read_word(s, "no", "yes", &b);
		l->need_sensors = b;
		break;
	case LEND_COUNT:
		break;
	}
	return ok;
}

static enum err set_one(struct lend *l, enum lend_limit which, const char *text,
			struct buf *why)
{
	struct lend next = *l;

	if (!set(&next, which, text)) {
		buf_add_str(why, takes[which]);
		return ERR_INPUT;
	}
	*l = next;
	return OK;
}

enum err lend_set(struct lend *l, const char *name, const char *text,
		  struct buf *why)
{
	for (size_t i = 0; i < LEND_COUNT; i++)
		if (!strcmp(names[i], name))
			return set_one(l, (enum lend_limit)i, text, why);
	buf_add_str(why, "is no limit of an offer");
	return ERR_INPUT;
}

enum err lend_set_pair(struct lend *l, const char *pair, struct buf *why)
{
	const char *value = strchr(pair, '=');
	char name[24] = "";
	struct buf what = {0};

	if (!value || (size_t)(value - pair) >= sizeof(name)) {
		buf_add_str(why, "a limit is NAME=VALUE, such as share=50%");
		return ERR_INPUT;
	}
	memcpy(name, pair, (size_t)(value - pair));
	enum err e = lend_set(l, name, value + 1, &what);
	if (e)
		buf_printf(why, "%s %s", name, buf_str(&what));
	buf_release(&what);
	return e;
}

static void put_clock(uint16_t minute, struct buf *out)
{
	buf_printf(out, "%02u:%02u", minute / 60u, minute % 60u);
}

static void put_count(uint64_t v, const char *none, struct buf *out)
{
	if (v)
		buf_printf(out, "%" PRIu64, v);
	else
		buf_add_str(out, none);
}

void lend_text(const struct lend *l, enum lend_limit which, struct buf *out)
{
	switch (which) {
	case LEND_threads:
		put_count(l->threads, "all", out);
		break;
	case LEND_share:
		buf_printf(out, "%u%%", l->share);
		break;
	case LEND_when:
		buf_add_str(out, l->when_idle ? "idle" : "always");
		break;
	case LEND_idle_after:
		if (l->idle_ms % 1000)
			buf_printf(out, "%" PRIu64 "ms", l->idle_ms);
		else
			buf_printf(out, "%" PRIu64 "s", l->idle_ms / 1000);
		break;
	case LEND_hours:
		for (size_t i = 0; i < l->nhours; i++) {
			buf_add_str(out, i ? "," : "");
			put_clock(l->hours[i].from, out);
			buf_add_str(out, "-");
			put_clock(l->hours[i].to, out);
		}
		if (!l->nhours)
			buf_add_str(out, "all");
		break;
	case LEND_on_battery:
		buf_add_str(out, l->on_battery ? "always" : "never");
		break;
	case LEND_max_temp:
		put_count(l->max_temp, "none", out);
		buf_add_str(out, l->max_temp ? "C" : "");
		break;
	case LEND_max_jobs:
		put_count(l->max_jobs, "any", out);
		break;
	case LEND_max_units:
		put_count(l->max_units, "any", out);
		break;
	case LEND_price:
		buf_printf(out, "%" PRIu64, l->price);
		break;
	case LEND_region:
		buf_add_str(out, l->region);
		break;
	case LEND_need_sensors:
		buf_add_str(out, l->need_sensors ? "yes" : "no");
		break;
	case LEND_COUNT:
		break;
	}
}

const char *lend_name(enum lend_limit which)
{
	return names[which];
}

void lend_summary(const struct lend *l, struct buf *out)
{
	struct buf is = {0}, was = {0};
	bool any = false;

	for (size_t i = 0; i < LEND_COUNT; i++) {
		buf_clear(&is);
		buf_clear(&was);
		lend_text(l, (enum lend_limit)i, &is);
		lend_text(&lend_default, (enum lend_limit)i, &was);
		if (!strcmp(buf_str(&is), buf_str(&was)))
			continue;
		buf_printf(out, "%s%s %s", any ? ", " : "", names[i],
			   buf_str(&is));
		any = true;
	}
	buf_release(&is);
	buf_release(&was);
}

#define X(id, name, flag, meta, def, help) \
	bool lend_check_##id(const char *text, struct buf *why) \
	{ \
		struct lend scratch = lend_default; \
		return set_one(&scratch, LEND_##id, text, why) == OK; \
	}
LEND_LIMITS(X)
#undef X
