# SPDX-License-Identifier: GPL-3.0-or-later
hn_test(unit test_mesh LINKS hn_mesh LABELS threads TIMEOUT 180
	SOURCES ${CMAKE_SOURCE_DIR}/test/support/nodes.c)
