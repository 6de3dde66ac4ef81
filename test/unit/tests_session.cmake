# SPDX-License-Identifier: GPL-3.0-or-later
set(hubs ${CMAKE_SOURCE_DIR}/test/support/hubs.c)
hn_test(unit test_link LINKS hn_rpc LABELS threads)
hn_test(unit test_session LINKS hn_rpc SOURCES ${hubs} LABELS threads)
hn_test(unit test_hub LINKS hn_rpc SOURCES ${hubs} LABELS threads)
