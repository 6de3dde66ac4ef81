# SPDX-License-Identifier: GPL-3.0-or-later
hn_test(unit test_discovery LINKS hn_dht LABELS threads net TIMEOUT 180
	SOURCES ${CMAKE_SOURCE_DIR}/test/support/dht_world.c)
hn_test(unit test_overlay LINKS hn_dht LABELS threads net)
hn_test(unit test_record LINKS hn_dht)
hn_test(unit test_beacon LINKS hn_dht LABELS net)
