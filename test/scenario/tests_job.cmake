# SPDX-License-Identifier: GPL-3.0-or-later
if(NOT TARGET job_pure)
	include(${CMAKE_CURRENT_LIST_DIR}/../support/job_pure.cmake)
endif()
hn_test(scenario scenario_jobs LINKS hn_world job_pure)
hn_test(scenario scenario_checks LINKS hn_world job_pure)
hn_test(scenario scenario_restart LINKS hn_world job_pure)
hn_test(scenario scenario_place LINKS hn_world job_pure)

# Programs that scripts/bench runs at length and the suite for a moment.
foreach(bench bench_cheaters bench_faults)
	add_executable(${bench} ${CMAKE_SOURCE_DIR}/test/${bench}.c
		${CMAKE_SOURCE_DIR}/test/support/shards.c)
	set_target_properties(${bench} PROPERTIES
		RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test)
	target_link_libraries(${bench} PRIVATE hn_world job_pure)
endforeach()
add_test(NAME faults COMMAND bench_faults --schedules 1000)
set_tests_properties(faults PROPERTIES LABELS scenario TIMEOUT 300)
hn_test(scenario scenario_trust LINKS hn_world job_pure)
add_test(NAME cheaters COMMAND bench_cheaters --jobs 200)
set_tests_properties(cheaters PROPERTIES LABELS scenario TIMEOUT 300)
