# SPDX-License-Identifier: GPL-3.0-or-later
hn_test(unit test_receipt LINKS hn_base)
hn_test(unit test_replay LINKS hn_base
	SOURCES ${CMAKE_SOURCE_DIR}/node/mesh/replay.c)
