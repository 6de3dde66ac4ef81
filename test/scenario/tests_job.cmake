# SPDX-License-Identifier: GPL-3.0-or-later
if(NOT TARGET job_pure)
	include(${CMAKE_CURRENT_LIST_DIR}/../support/job_pure.cmake)
endif()
hn_test(scenario scenario_jobs LINKS hn_world job_pure)
hn_test(scenario scenario_restart LINKS hn_world job_pure)
