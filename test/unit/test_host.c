/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "node/base/host.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "node/base/mem.h"
#include "test/support/temp.h"

#define WALL UINT64_C(1700000000000)

/* Writes a file of the made-up machine, with the folders above it. */
static void put(const char *path, const char *text)
{
	char full[256];

	snprintf(full, sizeof(full), "%s%s", temp_dir, path);
	for (char *p = full + strlen(temp_dir) + 1; *p; p++)
		if (*p == '/') {
			*p = '\0';
			mkdir(full, 0700);
			*p = '/';
		}
	temp_write(full, text, strlen(text));
}

static void set_time(const char *path, uint64_t unix_ms)
{
	char full[256];
	const struct timespec t = {.tv_sec = (time_t)(unix_ms / 1000)};

	snprintf(full, sizeof(full), "%s%s", temp_dir, path);
	assert_int_equal(
	    utimensat(AT_FDCWD, full, (struct timespec[]){t, t}, 0), 0);
}

static void stat_at(unsigned busy, unsigned idle, unsigned own)
{
	char text[160];

	snprintf(text, sizeof(text),
		 "cpu  %u 0 0 %u 0 0 0 0 0 0\ncpu0 1 2 3 4\n", busy, idle);
	put("/proc/stat", text);
	snprintf(text, sizeof(text),
		 "7 (a) b) R 1 2 3 4 5 6 7 8 9 10 %u 0 0 0 20 0\n", own);
	put("/proc/self/stat", text);
}

static struct host *machine(void)
{
	temp_make();
	return host_new(temp_dir);
}

static void end(struct host *h)
{
	host_free(h);
	temp_remove();
}

static void test_nothing_there_is_unknown(void **state)
{
	struct host *h = machine();
	struct host_facts f;

	(void)state;
	host_read(h, 0, WALL, &f);
	assert_int_equal(f.use, HOST_MISSING);
	assert_int_equal(f.input, HOST_MISSING);
	assert_int_equal(f.on_battery, HOST_UNKNOWN);
	assert_false(f.heat_known);
	assert_false(f.charge_known);
	put("/proc/stat", "garbage\n");
	put("/proc/interrupts", "\n\n i8042");
	put("/sys/class/thermal/thermal_zone0/temp", "cold\n");
	put("/sys/class/power_supply/AC/online", "x\n");
	host_read(h, 0, WALL, &f);
	assert_int_equal(f.use, HOST_MISSING);
	assert_int_equal(f.input, HOST_MISSING);
	assert_false(f.heat_known);
	end(h);
}

static void test_use_is_that_of_others(void **state)
{
	struct host *h = machine();
	struct host_facts f;

	(void)state;
	stat_at(1000, 9000, 500);
	host_read(h, 0, WALL, &f);
	assert_int_equal(f.use, HOST_SOON);
	/* of 200 ticks 150 were busy, 74 of them ours */
	stat_at(1150, 9050, 574);
	host_read(h, 1000, WALL, &f);
	assert_int_equal(f.use, HOST_KNOWN);
	assert_int_equal(f.others, 380);
	/* a mean over the last looks: what was goes out of it */
	for (unsigned i = 1; i <= 6; i++) {
		stat_at(1150, 9050 + 200 * i, 574);
		host_read(h, 1000, WALL, &f);
	}
	assert_int_equal(f.others, 0);
	/* ours counted later than theirs: never below nothing */
	stat_at(1160, 10260, 800);
	host_read(h, 1000, WALL, &f);
	assert_int_equal(f.others, 0);
	/* counters that begin anew */
	stat_at(10, 10, 0);
	host_read(h, 1000, WALL, &f);
	assert_int_equal(f.use, HOST_SOON);
	end(h);
}

static void test_input_is_the_newest(void **state)
{
	struct host *h = machine();
	struct host_facts f;

	(void)state;
	put("/dev/pts/0", "");
	put("/dev/pts/12", "");
	put("/dev/pts/ptmx", "");
	put("/dev/tty1", "");
	put("/dev/tty0", "");
	put("/dev/ttyS0", "");
	put("/dev/7", "");
	set_time("/dev/pts/0", WALL - 90000);
	set_time("/dev/pts/12", WALL - 40000);
	set_time("/dev/tty1", WALL - 50000);
	set_time("/dev/tty0", WALL);
	set_time("/dev/ttyS0", WALL);
	set_time("/dev/7", WALL);
	set_time("/dev/pts/ptmx", WALL);
	host_read(h, 0, WALL, &f);
	assert_int_equal(f.input, HOST_KNOWN);
	assert_int_equal(f.input_ms, 40000);
	set_time("/dev/tty1", WALL - 3000);
	host_read(h, 0, WALL, &f);
	assert_int_equal(f.input_ms, 3000);
	/* a keyboard: its counts say when only from the second look on */
	put("/proc/interrupts", "      CPU0 CPU1\n"
				"  1:  100  20  IO-APIC  1-edge  i8042\n"
				" 12:    5   0  IO-APIC 12-edge  i8042\n"
				" 16:  999   0  IO-APIC  ehci_hcd:usb1\n");
	host_read(h, 10000, WALL, &f);
	assert_int_equal(f.input_ms, 3000);
	put("/proc/interrupts", "      CPU0 CPU1\n"
				"  1:  100  21  IO-APIC  1-edge  i8042\n");
	host_read(h, 11000, WALL, &f);
	assert_int_equal(f.input_ms, 0);
	host_read(h, 13000, WALL, &f);
	assert_int_equal(f.input_ms, 2000);
	end(h);
}

static void test_battery_and_mains(void **state)
{
	struct host *h = machine();
	struct host_facts f;

	(void)state;
	put("/sys/class/power_supply/mouse/type", "Battery\n");
	put("/sys/class/power_supply/mouse/scope", "Device\n");
	put("/sys/class/power_supply/mouse/status", "Discharging\n");
	host_read(h, 0, WALL, &f);
	assert_int_equal(f.on_battery, HOST_UNKNOWN);
	put("/sys/class/power_supply/AC/type", "Mains\n");
	put("/sys/class/power_supply/AC/online", "1\n");
	host_read(h, 0, WALL, &f);
	assert_int_equal(f.on_battery, HOST_NO);
	assert_false(f.charge_known);
	put("/sys/class/power_supply/BAT0/type", "Battery\n");
	put("/sys/class/power_supply/BAT0/status", "Charging\n");
	put("/sys/class/power_supply/BAT0/capacity", "54\n");
	host_read(h, 0, WALL, &f);
	assert_int_equal(f.on_battery, HOST_NO);
	assert_int_equal(f.charge, 54);
	put("/sys/class/power_supply/BAT0/status", "Discharging\n");
	host_read(h, 0, WALL, &f);
	assert_int_equal(f.on_battery, HOST_YES);
	put("/sys/class/power_supply/BAT0/status", "Unknown\n");
	put("/sys/class/power_supply/AC/online", "0\n");
	host_read(h, 0, WALL, &f);
	assert_int_equal(f.on_battery, HOST_YES);
	end(h);
}

static void test_the_hottest_sensor_counts(void **state)
{
	struct host *h = machine();
	struct host_facts f;

	(void)state;
	put("/sys/class/thermal/thermal_zone0/temp", "45000\n");
	put("/sys/class/thermal/thermal_zone0/type", "x86_pkg_temp\n");
	put("/sys/class/thermal/cooling_device0/temp", "99000\n");
	host_read(h, 0, WALL, &f);
	assert_true(f.heat_known);
	assert_int_equal(f.heat, 45000);
	assert_string_equal(f.heat_of, "x86_pkg_temp");
	put("/sys/class/hwmon/hwmon1/name", "k10temp\n");
	put("/sys/class/hwmon/hwmon1/temp2_input", "61250\n");
	put("/sys/class/hwmon/hwmon1/temp2_max", "90000\n");
	put("/sys/class/hwmon/hwmon1/temp3_input", "255000\n"); /* broken */
	put("/sys/class/hwmon/hwmon1/fan1_input", "70000\n");
	host_read(h, 0, WALL, &f);
	assert_int_equal(f.heat, 61250);
	assert_string_equal(f.heat_of, "k10temp");
	end(h);
}

/* Whatever this machine has: no crash, plausible values. */
static void test_this_machine(void **state)
{
	struct host *h = host_new(NULL);
	struct host_facts f;

	(void)state;
	for (int i = 0; i < 2; i++)
		host_read(h, 1000, WALL, &f);
	assert_true(f.others <= 1000);
	assert_true(!f.charge_known || f.charge <= 100);
	host_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_nothing_there_is_unknown),
	    cmocka_unit_test(test_use_is_that_of_others),
	    cmocka_unit_test(test_input_is_the_newest),
	    cmocka_unit_test(test_battery_and_mains),
	    cmocka_unit_test(test_the_hottest_sensor_counts),
	    cmocka_unit_test(test_this_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
