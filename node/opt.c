/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/opt.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* --- values --- */

struct unit {
	const char *name;
	uint64_t is;
};

#define S UINT64_C(1000)
static const struct unit times[] = {{"", S},
				    {"ms", 1},
				    {"s", S},
				    {"m", 60 * S},
				    {"h", 3600 * S},
				    {"d", 86400 * S},
				    {"w", 7 * 86400 * S}};

#define K UINT64_C(1000)
static const struct unit rates[] = {{"", 1},
				    {"k", K},
				    {"m", K *K},
				    {"g", K *K *K},
				    {"t", K *K *K *K},
				    {"p", K *K *K *K *K},
				    {"e", K *K *K *K *K *K}};

static const struct unit sizes[] = {
    {"", 1},	       {"b", 1},
    {"kb", K},	       {"mb", K *K},
    {"gb", K *K *K},   {"tb", K *K *K *K},
    {"kib", 1u << 10}, {"mib", 1u << 20},
    {"gib", 1u << 30}, {"tib", UINT64_C(1) << 40}};

static const struct unit percents[] = {{"", 10}, {"%", 10}};

/*
 * Digits with an optional fraction, times the unit behind them. Exact: no
 * floating point; what is beyond the unit's resolution is cut.
 */
static bool read_scaled(const char *s, size_t n, const struct unit *units,
			size_t nunits, uint64_t *out)
{
	uint64_t whole = 0, part = 0, scale = 1;
	size_t i = 0;

	for (; i < n && isdigit((unsigned char)s[i]); i++) {
		if (whole > (UINT64_MAX - 9) / 10)
			return false;
		whole = whole * 10 + (uint64_t)(s[i] - '0');
	}
	if (!i)
		return false;
	if (i + 1 < n && s[i] == '.' && isdigit((unsigned char)s[i + 1])) {
		for (i++; i < n && isdigit((unsigned char)s[i]); i++) {
			if (scale > UINT64_C(100000000))
				continue;
			part = part * 10 + (uint64_t)(s[i] - '0');
			scale *= 10;
		}
	}
	for (size_t u = 0; u < nunits; u++) {
		if (strlen(units[u].name) != n - i ||
		    strncasecmp(units[u].name, s + i, n - i) != 0)
			continue;
		unsigned __int128 v =
		    (unsigned __int128)whole * units[u].is +
		    (unsigned __int128)part * units[u].is / scale;
		if (v > UINT64_MAX)
			return false;
		*out = (uint64_t)v;
		return true;
	}
	return false;
}

bool opt_read_uint(const char *s, uint64_t *out)
{
	bool hex = s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
	uint64_t v = 0;

	s += hex ? 2 : 0;
	if (!*s)
		return false;
	for (; *s; s++) {
		unsigned base = hex ? 16 : 10, digit;
		if (isdigit((unsigned char)*s))
			digit = (unsigned)(*s - '0');
		else if (hex && isxdigit((unsigned char)*s))
			digit =
			    (unsigned)(tolower((unsigned char)*s) - 'a') + 10;
		else
			return false;
		if (v > (UINT64_MAX - digit) / base)
			return false;
		v = v * base + digit;
	}
	*out = v;
	return true;
}

bool opt_read_ms(const char *s, uint64_t *out)
{
	return read_scaled(s, strlen(s), times, HN_COUNT(times), out);
}

bool opt_read_rate(const char *s, uint64_t *out)
{
	size_t n = strlen(s);

	if (n > 2 && !strcasecmp(s + n - 2, "/s"))
		n -= 2;
	if (n > 1 && (s[n - 1] == 'H' || s[n - 1] == 'h'))
		n--;
	return read_scaled(s, n, rates, HN_COUNT(rates), out);
}

bool opt_read_size(const char *s, uint64_t *out)
{
	return read_scaled(s, strlen(s), sizes, HN_COUNT(sizes), out);
}

bool opt_read_permille(const char *s, uint64_t *out)
{
	return read_scaled(s, strlen(s), percents, HN_COUNT(percents), out);
}

bool opt_read_range(const char *s, uint64_t max, uint64_t *start, uint64_t *end)
{
	const char *dash = strchr(s, '-');
	char first[24];
	uint64_t a, b;

	if (!dash || (size_t)(dash - s) >= sizeof(first))
		return false;
	memcpy(first, s, (size_t)(dash - s));
	first[dash - s] = '\0';
	if (!opt_read_uint(first, &a) || !opt_read_uint(dash + 1, &b))
		return false;
	if (a > b || b > max || b == UINT64_MAX)
		return false;
	*start = a;
	*end = b + 1;
	return true;
}

static bool choice_ok(const char *choices, const char *text)
{
	size_t n = strlen(text);

	for (const char *p = choices; *p; p += strcspn(p, " ")) {
		p += strspn(p, " ");
		if (n && !strncmp(p, text, n) && (!p[n] || p[n] == ' '))
			return true;
	}
	return false;
}

static void say_range(const struct opt *o, struct buf *why)
{
	buf_printf(why, "from %" PRIu64, o->min);
	if (o->max)
		buf_printf(why, " to %" PRIu64, o->max);
	else
		buf_add_str(why, " up");
}

static enum err set_number(const struct opt *o, struct opt_u64 *to,
			   const char *text, struct buf *why)
{
	uint64_t v;
	bool ok = false;
	const char *like = "a number";

	switch (o->type) {
	case OPT_UINT:
		ok = opt_read_uint(text, &v);
		break;
	case OPT_THREADS:
		like = "a number of threads or auto";
		ok = opt_read_uint(text, &v) && v;
		if (!strcmp(text, "auto")) {
			v = 0;
			ok = true;
		}
		break;
	case OPT_MS:
		like = "a duration such as 500ms, 30s, 10m, 2h or 7d";
		ok = opt_read_ms(text, &v);
		break;
	case OPT_RATE:
		like = "a rate such as 500kH, 1MH or 1.2TH/s";
		ok = opt_read_rate(text, &v);
		break;
	case OPT_SIZE:
		like = "a size such as 64kB or 4GiB";
		ok = opt_read_size(text, &v);
		break;
	case OPT_PERMILLE:
		like = "a percentage such as 5% or 2.5%";
		ok = opt_read_permille(text, &v);
		break;
	case OPT_BOOL:
	case OPT_NOT:
	case OPT_COUNT:
	case OPT_TEXT:
	case OPT_CHOICE:
	case OPT_TEXTS:
		break;
	}
	if (!ok) {
		buf_printf(why, "takes %s", like);
		if (o->type == OPT_UINT && (o->min || o->max)) {
			buf_add_str(why, " ");
			say_range(o, why);
		}
		return ERR_INPUT;
	}
	if (v < o->min || (o->max && v > o->max)) {
		/* Durations and shares are not shown in their inner unit. */
		if (o->type == OPT_UINT || o->type == OPT_THREADS) {
			buf_add_str(why, "takes a number ");
			say_range(o, why);
		} else {
			buf_printf(why, "is %s",
				   v < o->min ? "too small" : "too large");
			if (o->type == OPT_PERMILLE && v > o->min)
				buf_printf(why, ": at most %g%%",
					   (double)o->max / 10);
		}
		return ERR_INPUT;
	}
	to->set = true;
	to->v = v;
	return OK;
}

static enum err set_bool(bool *to, const char *text, bool yes, struct buf *why)
{
	static const char *const on[] = {"1", "true", "yes", "on"};
	static const char *const off[] = {"0", "false", "no", "off"};

	for (size_t i = 0; i < HN_COUNT(on); i++) {
		if (!strcasecmp(text, on[i]) || !strcasecmp(text, off[i])) {
			*to = !strcasecmp(text, on[i]) == yes;
			return OK;
		}
	}
	buf_add_str(why, "takes 1 or 0, true or false, yes or no, on or off");
	return ERR_INPUT;
}

static void add_text(struct strs *to, const char *text, struct arena *a)
{
	char **items = arena_alloc(a, (to->n + 1) * sizeof(*items));

	if (to->n)
		memcpy(items, to->items, to->n * sizeof(*items));
	items[to->n++] = (char *)text;
	to->items = items;
}

enum err opt_set(const struct opt *o, void *values, const char *text,
		 struct arena *a, struct buf *why)
{
	void *to = (char *)values + o->offset;

	if (o->check && !o->check(text, why))
		return ERR_INPUT;
	switch (o->type) {
	case OPT_BOOL:
	case OPT_NOT:
		return set_bool(to, text, o->type == OPT_BOOL, why);
	case OPT_COUNT:
		++*(unsigned *)to;
		return OK;
	case OPT_TEXT:
		*(const char **)to = text;
		return OK;
	case OPT_CHOICE:
		if (!choice_ok(o->choices, text)) {
			buf_printf(why, "takes one of: %s", o->choices);
			return ERR_INPUT;
		}
		*(const char **)to = text;
		return OK;
	case OPT_TEXTS:
		add_text(to, text, a);
		return OK;
	case OPT_UINT:
	case OPT_THREADS:
	case OPT_MS:
	case OPT_RATE:
	case OPT_SIZE:
	case OPT_PERMILLE:
		return set_number(o, to, text, why);
	}
	return ERR_INTERNAL;
}

void opt_reset(const struct opt *o, void *values)
{
	if (o->type == OPT_TEXTS)
		*(struct strs *)((char *)values + o->offset) = (struct strs){0};
}

/* --- did you mean --- */

#define NEAR_MAX 32

struct near near_of(const char *word)
{
	return (struct near){.word = word, .cost = SIZE_MAX};
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Optimal string alignment: edits, a swap of neighbours being one. */
static size_t distance(const char *a, const char *b)
{
	size_t na = strlen(a), nb = strlen(b);
	size_t d[3][NEAR_MAX + 1] = {{0}};

	if (na > NEAR_MAX || nb > NEAR_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= nb; j++)
		d[0][j] = j;
	for (size_t i = 1; i <= na; i++) {
		size_t *row = d[i % 3], *up = d[(i + 2) % 3];
		row[0] = i;
		for (size_t j = 1; j <= nb; j++) {
			size_t same = a[i - 1] != b[j - 1];
			row[j] = least(least(row[j - 1], up[j]) + 1,
				       up[j - 1] + same);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1])
				row[j] =
				    least(row[j], d[(i + 1) % 3][j - 2] + 1);
		}
	}
	return d[na % 3][nb];
}

void near_try(struct near *n, const char *candidate)
{
	size_t len = strlen(n->word);
	size_t cost = distance(n->word, candidate);

	/* A third of the letters may be wrong; a beginning is no mistake. */
	if (len >= 2 && !strncmp(n->word, candidate, len))
		cost = 1;
	else if (cost > (len + 2) / 3)
		return;
	if (cost < n->cost) {
		n->cost = cost;
		n->best = candidate;
	}
}

/* --- command lines --- */

struct found {
	const struct opt *o;
	const struct opt_table *t;
	size_t row;
};

static bool find_flag(const struct opt_table *tables, size_t ntables,
		      const char *name, size_t len, struct found *out)
{
	for (size_t t = 0; t < ntables; t++) {
		for (size_t i = 0; i < tables[t].n; i++) {
			const struct opt *o = &tables[t].rows[i];
			if (o->flag && strlen(o->flag) == len &&
			    !memcmp(o->flag, name, len)) {
				*out = (struct found){o, &tables[t], i};
				return true;
			}
		}
	}
	return false;
}

static bool find_letter(const struct opt_table *tables, size_t ntables,
			char letter, struct found *out)
{
	for (size_t t = 0; t < ntables; t++) {
		for (size_t i = 0; i < tables[t].n; i++) {
			if (tables[t].rows[i].letter != letter)
				continue;
			*out =
			    (struct found){&tables[t].rows[i], &tables[t], i};
			return true;
		}
	}
	return false;
}

static bool takes_value(const struct opt *o)
{
	return o->type != OPT_BOOL && o->type != OPT_NOT &&
	       o->type != OPT_COUNT;
}

static void unknown_flag(const struct opt_table *tables, size_t ntables,
			 const char *name, size_t len, struct buf *why)
{
	char word[NEAR_MAX + 1];

	len = least(len, NEAR_MAX);
	memcpy(word, name, len);
	word[len] = '\0';
	struct near n = near_of(word);
	for (size_t t = 0; t < ntables; t++)
		for (size_t i = 0; i < tables[t].n; i++)
			if (tables[t].rows[i].flag && !tables[t].rows[i].hidden)
				near_try(&n, tables[t].rows[i].flag);
	buf_printf(why, "there is no --%s here", word);
	if (n.best)
		buf_printf(why, "; did you mean --%s?", n.best);
}

static enum err flag_value(const struct found *f, const char *value,
			   struct arena *a, struct buf *why)
{
	struct buf what = {0};

	if (f->t->from && f->t->from[f->row] != OPT_FROM_FLAG) {
		opt_reset(f->o, f->t->values);
		f->t->from[f->row] = OPT_FROM_FLAG;
	}
	enum err e = opt_set(f->o, f->t->values, value, a, &what);
	if (e)
		buf_printf(why, "--%s %s", f->o->flag, buf_str(&what));
	buf_release(&what);
	return e;
}

/* One word that begins with --; *i is its place. */
static enum err long_flag(const struct opt_table *tables, size_t ntables, int n,
			  char **argv, int *i, struct arena *a, struct buf *why)
{
	const char *name = argv[*i] + 2;
	const char *eq = strchr(name, '=');
	size_t len = eq ? (size_t)(eq - name) : strlen(name);
	struct found f;

	if (!find_flag(tables, ntables, name, len, &f)) {
		unknown_flag(tables, ntables, name, len, why);
		return ERR_INPUT;
	}
	if (!takes_value(f.o)) {
		/* --json=no is what a script may write. */
		return flag_value(&f, eq ? eq + 1 : "1", a, why);
	}
	if (!eq && *i + 1 >= n) {
		buf_printf(why, "--%s needs a value: %s", f.o->flag, f.o->meta);
		return ERR_INPUT;
	}
	return flag_value(&f, eq ? eq + 1 : argv[++*i], a, why);
}

/* One word of letters behind a single dash. */
static enum err short_flags(const struct opt_table *tables, size_t ntables,
			    int n, char **argv, int *i, struct arena *a,
			    struct buf *why)
{
	for (const char *p = argv[*i] + 1; *p; p++) {
		struct found f;
		if (!find_letter(tables, ntables, *p, &f)) {
			buf_printf(why, "there is no -%c here",
				   isprint((unsigned char)*p) ? *p : '?');
			if (strlen(argv[*i]) > 3)
				buf_add_str(why,
					    "; long flags have two dashes");
			return ERR_INPUT;
		}
		enum err e;
		if (!takes_value(f.o)) {
			e = flag_value(&f, "1", a, why);
			if (e)
				return e;
			continue;
		}
		if (p[1])
			return flag_value(&f, p + 1, a, why);
		if (*i + 1 >= n) {
			buf_printf(why, "-%c needs a value: %s", *p, f.o->meta);
			return ERR_INPUT;
		}
		return flag_value(&f, argv[++*i], a, why);
	}
	return OK;
}

enum err opt_parse(const struct opt_table *tables, size_t ntables, int n,
		   char **argv, struct arena *a, struct strs *args,
		   struct buf *why)
{
	bool flags = true;

	for (int i = 0; i < n; i++) {
		const char *w = argv[i];
		enum err e = OK;

		if (!flags || w[0] != '-' || !w[1]) {
			add_text(args, w, a);
			flags = flags && !tables[0].passes_on;
		} else if (!strcmp(w, "--"))
			flags = false;
		else if (w[1] == '-')
			e = long_flag(tables, ntables, n, argv, &i, a, why);
		else
			e = short_flags(tables, ntables, n, argv, &i, a, why);
		if (e)
			return e;
	}
	return OK;
}
