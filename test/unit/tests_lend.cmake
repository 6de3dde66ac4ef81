# SPDX-License-Identifier: GPL-3.0-or-later
hn_test(unit test_host LINKS hn_base)
# The decision alone, which proves that it looks at nothing by itself.
hn_test(unit test_lender LINKS hn_base
	SOURCES ${CMAKE_SOURCE_DIR}/node/mesh/lender.c)
if(NOT TARGET job_pure)
	include(${CMAKE_CURRENT_LIST_DIR}/../support/job_pure.cmake)
endif()
hn_test(unit test_site LINKS job_pure
	SOURCES ${CMAKE_SOURCE_DIR}/node/mesh/site.c)
