# SPDX-License-Identifier: GPL-3.0-or-later
if(NOT TARGET job_pure)
	include(${CMAKE_CURRENT_LIST_DIR}/../support/job_pure.cmake)
endif()
hn_test(scenario scenario_jobs LINKS job_pure
	SOURCES ${CMAKE_SOURCE_DIR}/test/support/job_world.c)
hn_test(scenario scenario_restart LINKS job_pure
	SOURCES ${CMAKE_SOURCE_DIR}/test/support/job_world.c)
