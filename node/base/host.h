/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_BASE_HOST_H
#define HN_BASE_HOST_H

#include <stdbool.h>
#include <stdint.h>

/*
 * What the machine says of itself: how much of its processors other programs
 * use, when somebody last typed, battery, heat. From /proc, /sys and /dev
 * under a root that tests replace. What no sensor says is unknown, never 0.
 * One reader at a time, on any thread (it reads some dozen small files).
 */
struct host;

enum host_known {
	HOST_MISSING, /* there is no such sensor */
	HOST_SOON,    /* it takes another look, some time later */
	HOST_KNOWN
};
enum host_answer { HOST_UNKNOWN, HOST_NO, HOST_YES };

struct host_facts {
	enum host_known use;
	unsigned others; /* of all processors, permille, mean of some 5 s */
	enum host_known input;
	uint64_t input_ms; /* since the last key or terminal input */
	enum host_answer on_battery;
	bool charge_known;
	unsigned charge; /* of the battery, percent */
	bool heat_known;
	int heat; /* of the hottest sensor, thousandths of a degree Celsius */
	char heat_of[32]; /* which one */
};

/* root NULL: "/". */
struct host *host_new(const char *root);
void host_free(struct host *h);
/* now: monotonic; unix_ms: wall clock, which times of files are in. */
void host_read(struct host *h, uint64_t now_ms, uint64_t unix_ms,
	       struct host_facts *out);

#endif
