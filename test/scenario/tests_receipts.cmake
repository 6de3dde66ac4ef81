# SPDX-License-Identifier: GPL-3.0-or-later
# The ledger with base only: it links without rpc, and does no I/O of its own.
set(mesh ${CMAKE_SOURCE_DIR}/node/mesh)
add_library(ledger_pure STATIC ${mesh}/ledger.c ${mesh}/ledger_follow.c
	${mesh}/ledger_send.c)
target_include_directories(ledger_pure PUBLIC ${CMAKE_SOURCE_DIR})
target_link_libraries(ledger_pure PUBLIC hn_base)
hn_test(scenario scenario_receipts LINKS ledger_pure
	SOURCES ${CMAKE_SOURCE_DIR}/test/support/ledger_world.c)
