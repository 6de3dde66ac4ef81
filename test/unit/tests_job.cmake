# SPDX-License-Identifier: GPL-3.0-or-later
if(NOT TARGET job_pure)
	include(${CMAKE_CURRENT_LIST_DIR}/../support/job_pure.cmake)
endif()
hn_test(unit test_lease LINKS job_pure)
hn_test(unit test_check LINKS job_pure)
hn_test(unit test_sched LINKS job_pure)
hn_test(unit test_score LINKS job_pure)
hn_test(unit test_job LINKS job_pure)
hn_test(unit test_job_save LINKS job_pure
	SOURCES ${CMAKE_SOURCE_DIR}/test/support/job_world.c)
