# SPDX-License-Identifier: GPL-3.0-or-later
set(hubs ${CMAKE_SOURCE_DIR}/test/support/hubs.c)
hn_test(unit test_link LINKS hn_rpc LABELS threads)
hn_test(unit test_session LINKS hn_rpc SOURCES ${hubs} LABELS threads)
hn_test(unit test_hub LINKS hn_rpc SOURCES ${hubs} LABELS threads)

# A benchmark, not a test: prints round trips beside those of plain TCP.
add_executable(bench_session ${CMAKE_SOURCE_DIR}/test/bench_session.c)
set_target_properties(bench_session PROPERTIES
	RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test)
target_link_libraries(bench_session PRIVATE hn_rpc)
hn_test(unit test_puzzle LINKS hn_rpc)
