/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The formats are those of the Linux kernel's documentation: proc(5) for
 * /proc/stat, /proc/self/stat and /proc/interrupts; ABI/testing/
 * sysfs-class-power and sysfs-class-thermal; hwmon/sysfs-interface.
 *
 * Others' use is what /proc/stat counts as busy less what this process used,
 * which both count in the same ticks. Time stolen by a hypervisor is neither:
 * nobody here has it. Terminal input is what `w` goes by: the kernel sets a
 * terminal's access time when something is read from it. A keyboard at the
 * machine itself without a terminal (a desktop) shows in the interrupts of
 * its controller (i8042), where it has one; one on USB cannot be told from a
 * disk there, so then only the processors' use speaks.
 */
#include "node/base/host.h"

#include "node/base/mem.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOKS 6		     /* remembered, some 5 s at one a second */
#define TEXT_MAX (64u << 10) /* of a file; /proc/interrupts is the longest */
#define HEAT_MIN (-40000)    /* beyond these a sensor is broken */
#define HEAT_MAX 150000
#define AHEAD_MS 60000 /* a time of a file so far ahead is none */

struct look {
	uint64_t total, busy, own; /* ticks */
};

struct host {
	char *root;
	struct look looks[LOOKS]; /* oldest first */
	unsigned nlooks;
	bool keys_known;
	uint64_t keys, keys_ms; /* interrupts of a keyboard, and when last */
	char *text;
};

struct host *host_new(const char *root)
{
	struct host *h = HN_NEW(struct host);

	h->root = xstrdup(root ? root : "");
	h->text = xmalloc(TEXT_MAX);
	return h;
}

void host_free(struct host *h)
{
	if (!h)
		return;
	free(h->root);
	free(h->text);
	free(h);
}

/* --- files --- */

static bool path_of(const struct host *h, char path[PATH_MAX], const char *dir,
		    const char *entry, const char *name)
{
	int n = snprintf(path, PATH_MAX, "%s%s%s%s%s%s", h->root, dir,
			 entry ? "/" : "", entry ? entry : "", name ? "/" : "",
			 name ? name : "");

	return n > 0 && n < PATH_MAX;
}

/* The file as text in h->text; NULL when there is none. */
static const char *read_text(struct host *h, const char *dir, const char *entry,
			     const char *name)
{
	char path[PATH_MAX];
	size_t n = 0;

	if (!path_of(h, path, dir, entry, name))
		return NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return NULL;
	for (ssize_t got; n < TEXT_MAX - 1; n += (size_t)got) {
		got = read(fd, h->text + n, TEXT_MAX - 1 - n);
		if (got <= 0)
			break;
	}
	close(fd);
	h->text[n] = '\0';
	return n ? h->text : NULL;
}

static bool read_long(struct host *h, const char *dir, const char *entry,
		      const char *name, long long *v)
{
	const char *s = read_text(h, dir, entry, name);
	char *end;

	if (!s)
		return false;
	*v = strtoll(s, &end, 10);
	return end != s;
}

/* The file's only word is this one. */
static bool says(struct host *h, const char *dir, const char *entry,
		 const char *name, const char *word)
{
	const char *s = read_text(h, dir, entry, name);

	return s && !strncmp(s, word, strlen(word)) &&
	       strcspn(s, "\n") == strlen(word);
}

static void each_entry(struct host *h, const char *dir,
		       void (*fn)(struct host *h, const char *dir,
				  const char *entry, void *arg),
		       void *arg)
{
	char path[PATH_MAX];
	const struct dirent *e;

	if (!path_of(h, path, dir, NULL, NULL))
		return;
	DIR *d = opendir(path);
	if (!d)
		return;
	while ((e = readdir(d)))
		if (e->d_name[0] != '.')
			fn(h, dir, e->d_name, arg);
	closedir(d);
}

/* --- processors --- */

/* "cpu  user nice system idle iowait irq softirq steal guest guest_nice";
 * guest is counted in user. */
static bool read_total(struct host *h, struct look *l)
{
	const char *s = read_text(h, "/proc/stat", NULL, NULL);
	uint64_t v[8] = {0};
	char *end;

	if (!s || strncmp(s, "cpu ", 4) != 0)
		return false;
	s += 4;
	for (int i = 0; i < 8; i++, s = end) {
		v[i] = strtoull(s, &end, 10);
		if (end == s && i < 4)
			return false;
	}
	l->busy = v[0] + v[1] + v[2] + v[5] + v[6];
	l->total = l->busy + v[3] + v[4] + v[7];
	return true;
}

/* "pid (name) state ...": fields 14 and 15 are utime and stime; the name may
 * hold anything, so they are counted from the last bracket. */
static uint64_t read_own(struct host *h)
{
	const char *s = read_text(h, "/proc/self/stat", NULL, NULL);
	unsigned long long user = 0, system = 0;

	s = s ? strrchr(s, ')') : NULL;
	if (!s || sscanf(s + 1,
			 " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u "
			 "%llu %llu",
			 &user, &system) != 2)
		return 0;
	return user + system;
}

static void read_use(struct host *h, struct host_facts *out)
{
	struct look now;

	if (!read_total(h, &now)) {
		h->nlooks = 0;
		return;
	}
	now.own = read_own(h);
	const struct look *first = h->looks;
	/* Counters only grow; another file, as in tests, begins anew. */
	if (h->nlooks && now.total < h->looks[h->nlooks - 1].total)
		h->nlooks = 0;
	if (h->nlooks == LOOKS) {
		memmove(h->looks, h->looks + 1, sizeof(now) * (LOOKS - 1));
		h->nlooks--;
	}
	h->looks[h->nlooks++] = now;
	out->use = HOST_SOON;
	if (now.total <= first->total)
		return;
	uint64_t total = now.total - first->total;
	uint64_t busy = now.busy > first->busy ? now.busy - first->busy : 0;
	uint64_t own = now.own > first->own ? now.own - first->own : 0;
	out->use = HOST_KNOWN;
	out->others = busy > own ? (unsigned)((busy - own) * 1000 / total) : 0;
	if (out->others > 1000)
		out->others = 1000;
}

/* --- keyboard and terminals --- */

struct newest {
	uint64_t unix_ms, age_ms;
	bool any;
};

static void on_terminal(struct host *h, const char *dir, const char *entry,
			void *arg)
{
	struct newest *n = arg;
	char path[PATH_MAX];
	struct stat st;

	const char *digits =
	    !strncmp(entry, "tty", 3) && strcmp(dir, "/dev") == 0 ? entry + 3
								  : entry;
	/* pts/3, tty1; not ptmx, ttyS0 or tty0, which is whichever is shown */
	if (!*digits || strspn(digits, "0123456789") != strlen(digits) ||
	    !strcmp(entry, "tty0") || (!strcmp(dir, "/dev") && digits == entry))
		return;
	if (!path_of(h, path, dir, entry, NULL) || stat(path, &st))
		return;
	uint64_t at = (uint64_t)st.st_atim.tv_sec * 1000 +
		      (uint64_t)st.st_atim.tv_nsec / 1000000;
	if (at > n->unix_ms + AHEAD_MS)
		return;
	uint64_t age = at < n->unix_ms ? n->unix_ms - at : 0;
	if (!n->any || age < n->age_ms)
		n->age_ms = age;
	n->any = true;
}

/* Sum of the counts of the lines that name the controller. */
static bool read_keys(struct host *h, uint64_t *sum)
{
	const char *s = read_text(h, "/proc/interrupts", NULL, NULL);
	bool any = false;

	*sum = 0;
	for (; s && *s; s += strcspn(s, "\n"), s += *s == '\n') {
		size_t n = strcspn(s, "\n");
		const char *name = memmem(s, n, "i8042", 5);
		const char *p = memchr(s, ':', n);
		if (!name || !p)
			continue;
		any = true;
		for (p++; p < name;) {
			char *end;
			while (*p == ' ')
				p++;
			if (!isdigit((unsigned char)*p))
				break;
			*sum += strtoull(p, &end, 10);
			p = end;
		}
	}
	return any;
}

static void read_input(struct host *h, uint64_t now_ms, uint64_t unix_ms,
		       struct host_facts *out)
{
	struct newest n = {.unix_ms = unix_ms};
	uint64_t keys;

	each_entry(h, "/dev/pts", on_terminal, &n);
	each_entry(h, "/dev", on_terminal, &n);
	if (read_keys(h, &keys)) {
		if (!h->keys_known || keys != h->keys)
			h->keys_ms = now_ms;
		/* The first look says nothing about when. */
		bool when = h->keys_known;
		h->keys_known = true;
		h->keys = keys;
		if (when && (!n.any || now_ms - h->keys_ms < n.age_ms)) {
			n.age_ms = now_ms - h->keys_ms;
			n.any = true;
		}
	}
	out->input = n.any	     ? HOST_KNOWN
		     : h->keys_known ? HOST_SOON
				     : HOST_MISSING;
	out->input_ms = n.age_ms;
}

/* --- battery --- */

struct power {
	bool any, battery, discharging, mains, online;
	long long charge;
	bool charge_known;
};

static void on_supply(struct host *h, const char *dir, const char *entry,
		      void *arg)
{
	struct power *p = arg;
	long long v;

	/* The battery of a mouse is not ours. */
	if (says(h, dir, entry, "scope", "Device"))
		return;
	p->any = true;
	if (says(h, dir, entry, "type", "Battery")) {
		p->battery = true;
		p->discharging |= says(h, dir, entry, "status", "Discharging");
		if (read_long(h, dir, entry, "capacity", &v) && v >= 0 &&
		    v <= 100) {
			p->charge = v;
			p->charge_known = true;
		}
	} else if (read_long(h, dir, entry, "online", &v)) {
		p->mains = true;
		p->online |= v > 0;
	}
}

/* A machine that lists supplies, but no battery, has none. One that lists
 * nothing may be a container. */
static void read_power(struct host *h, struct host_facts *out)
{
	struct power p = {0};

	each_entry(h, "/sys/class/power_supply", on_supply, &p);
	if (!p.any)
		return;
	out->on_battery = p.battery && (p.discharging || (p.mains && !p.online))
			      ? HOST_YES
			      : HOST_NO;
	out->charge_known = p.charge_known;
	out->charge = (unsigned)p.charge;
}

/* --- heat --- */

static void take_heat(struct host *h, const char *dir, const char *entry,
		      const char *file, const char *label_file,
		      struct host_facts *out)
{
	long long v;

	if (!read_long(h, dir, entry, file, &v) || v < HEAT_MIN || v > HEAT_MAX)
		return;
	if (out->heat_known && v <= out->heat)
		return;
	out->heat_known = true;
	out->heat = (int)v;
	const char *label = read_text(h, dir, entry, label_file);
	snprintf(out->heat_of, sizeof(out->heat_of), "%s",
		 label ? label : entry);
	out->heat_of[strcspn(out->heat_of, "\n")] = '\0';
}

static void on_zone(struct host *h, const char *dir, const char *entry,
		    void *arg)
{
	if (!strncmp(entry, "thermal_zone", 12))
		take_heat(h, dir, entry, "temp", "type", arg);
}

struct sensors {
	const char *chip;
	struct host_facts *out;
};

static void on_sensor(struct host *h, const char *dir, const char *entry,
		      void *arg)
{
	struct sensors *s = arg;
	size_t n = strlen(entry);

	(void)dir;
	if (!strncmp(entry, "temp", 4) && n > 6 &&
	    !strcmp(entry + n - 6, "_input"))
		take_heat(h, "/sys/class/hwmon", s->chip, entry, "name",
			  s->out);
}

static void on_chip(struct host *h, const char *dir, const char *entry,
		    void *arg)
{
	struct sensors s = {entry, arg};
	char path[PATH_MAX];

	int n = snprintf(path, sizeof(path), "%s/%s", dir, entry);
	if (n > 0 && (size_t)n < sizeof(path))
		each_entry(h, path, on_sensor, &s);
}

/* --- the whole --- */

void host_read(struct host *h, uint64_t now_ms, uint64_t unix_ms,
	       struct host_facts *out)
{
	*out = (struct host_facts){0};
	read_use(h, out);
	read_input(h, now_ms, unix_ms, out);
	read_power(h, out);
	each_entry(h, "/sys/class/thermal", on_zone, out);
	each_entry(h, "/sys/class/hwmon", on_chip, out);
}
