# SPDX-License-Identifier: GPL-3.0-or-later
include(${CMAKE_SOURCE_DIR}/test/support/tables.cmake)
hn_fuzz(tables LINKS hn_test_tables)
