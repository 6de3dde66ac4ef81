# SPDX-License-Identifier: GPL-3.0-or-later
include(${CMAKE_SOURCE_DIR}/test/support/tables.cmake)
hn_test(unit test_protocol LINKS hn_test_tables)
