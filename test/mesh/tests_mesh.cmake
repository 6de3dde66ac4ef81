# SPDX-License-Identifier: GPL-3.0-or-later
#
# One CTest per file: test/mesh/test_jobs.py is mesh_jobs. They start real
# nodes on loopback or in network namespaces of their own, and need nothing
# but python3.
find_package(Python3 COMPONENTS Interpreter)

add_test(NAME check COMMAND ${CMAKE_SOURCE_DIR}/scripts/check)
set_tests_properties(check PROPERTIES LABELS check TIMEOUT 120)

# hn_mesh(jobs [LABEL mesh] [LABELS more...] [TIMEOUT s] [ALONE]): ALONE for one
# that measures how fast something ends while devices are at work. Labels tell
# what a test needs and is: unit, integration (real processes: all of these but
# load), network (namespaces: root), load, hardware.
function(hn_mesh name)
	cmake_parse_arguments(M "ALONE" "LABEL;TIMEOUT" "LABELS" ${ARGN})
	if(NOT M_LABEL)
		set(M_LABEL mesh)
		list(APPEND M_LABELS integration)
	endif()
	if(NOT M_TIMEOUT)
		set(M_TIMEOUT 180)
	endif()
	set(slow 1)
	if(HN_SANITIZE)
		# Deadlines of tests that measure time stretch with the program.
		set(slow 4)
		math(EXPR M_TIMEOUT "${M_TIMEOUT} * 3")
	endif()
	add_test(NAME ${M_LABEL}_${name}
		COMMAND ${Python3_EXECUTABLE} -B test_${name}.py
		WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}/test/mesh)
	set_tests_properties(${M_LABEL}_${name} PROPERTIES
		LABELS "${M_LABEL};${M_LABELS}" TIMEOUT ${M_TIMEOUT} SKIP_RETURN_CODE 77
		RUN_SERIAL $<BOOL:${M_ALONE}>
		ENVIRONMENT "HN_BIN=$<TARGET_FILE:hnode>;HN_TEST_SLOW=${slow}")
endfunction()

if(TARGET hnode AND Python3_FOUND)
	# The long ones first.
	hn_mesh(topic TIMEOUT 300)
	hn_mesh(invite)
	hn_mesh(dial)
	hn_mesh(hostile)
	hn_mesh(ground)
	hn_mesh(lan LABELS network)
	hn_mesh(lab LABELS network TIMEOUT 300)
	hn_mesh(cli)
	hn_mesh(hash)
	hn_mesh(lend)
	hn_mesh(batch)
	hn_mesh(site)
	hn_mesh(user)
	hn_mesh(cheat TIMEOUT 300)
	hn_mesh(evidence)
	hn_mesh(wire)
	hn_mesh(receipt)
	hn_mesh(readme TIMEOUT 300)
	hn_mesh(jobs ALONE TIMEOUT 300)
	hn_mesh(durable ALONE TIMEOUT 300)
	hn_mesh(backup ALONE)
	hn_mesh(explain)
	if(NOT HN_SANITIZE)
		hn_mesh(clean ALONE LABEL valgrind)
	endif()
endif()

# For test_peers.py: many peers in one process.
if(TARGET hn_rpc AND TARGET hn_dht)
	add_executable(load_peers ${CMAKE_SOURCE_DIR}/test/load_peers.c)
	set_target_properties(load_peers PROPERTIES
		RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test)
	target_link_libraries(load_peers PRIVATE hn_rpc hn_dht)
	if(TARGET hnode AND Python3_FOUND)
		hn_mesh(peers ALONE LABEL load TIMEOUT 180)
	endif()
endif()

# For scripts/bench mesh: the device without a mesh.
if(TARGET hn_asic)
	add_executable(bench_scan ${CMAKE_SOURCE_DIR}/test/bench_scan.c)
	set_target_properties(bench_scan PROPERTIES
		RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test)
	target_link_libraries(bench_scan PRIVATE hn_asic)
endif()
