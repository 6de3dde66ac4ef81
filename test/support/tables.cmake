# SPDX-License-Identifier: GPL-3.0-or-later
# The tables of all messages, for the tests that walk them.
if(NOT TARGET hn_test_tables)
	add_library(hn_test_tables STATIC ${CMAKE_SOURCE_DIR}/test/support/tables.c)
	target_link_libraries(hn_test_tables PUBLIC hn_mesh)
endif()
