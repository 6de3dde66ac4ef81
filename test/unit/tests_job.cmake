# SPDX-License-Identifier: GPL-3.0-or-later
if(NOT TARGET job_pure)
	include(${CMAKE_CURRENT_LIST_DIR}/../support/job_pure.cmake)
endif()
hn_test(unit test_heap LINKS hn_base)
hn_test(unit test_lease LINKS job_pure)
hn_test(unit test_digest LINKS job_pure)
hn_test(unit test_kind_batch LINKS job_pure)
hn_test(unit test_check LINKS job_pure)
hn_test(unit test_sched LINKS job_pure)
hn_test(unit test_sched_who LINKS job_pure)
hn_test(unit test_score LINKS job_pure)
hn_test(unit test_challenge LINKS job_pure)
hn_test(unit test_job LINKS job_pure)
hn_test(unit test_job_save LINKS hn_world job_pure)
hn_test(unit test_job_merge LINKS hn_world job_pure)
# The coordinator's files once more, each block of code counting itself. The
# sanitizers' runtimes have such a hook of their own.
if(NOT HN_SANITIZE)
	get_target_property(job_files job_pure SOURCES)
	add_library(job_counted STATIC ${job_files}
		${CMAKE_SOURCE_DIR}/node/base/heap.c)
	target_include_directories(job_counted PUBLIC ${CMAKE_SOURCE_DIR})
	target_compile_options(job_counted PRIVATE
		-fsanitize-coverage=trace-pc)
	target_link_libraries(job_counted PUBLIC hn_asic hn_base m)
	hn_test(unit test_scale LINKS job_counted)
endif()
hn_test(unit test_explain LINKS job_pure SOURCES
	${CMAKE_SOURCE_DIR}/node/mesh/explain.c ${CMAKE_SOURCE_DIR}/node/mesh/skew.c)
hn_test(unit test_sim LINKS hn_world job_pure)
