# SPDX-License-Identifier: GPL-3.0-or-later
set(frame_sources ${CMAKE_SOURCE_DIR}/rpc/frame.c)
set(rpc_sources ${frame_sources} ${CMAKE_SOURCE_DIR}/rpc/outbox.c
	${CMAKE_SOURCE_DIR}/rpc/chan.c ${CMAKE_SOURCE_DIR}/rpc/rpc.c)
hn_test(unit test_frame LINKS hn_base SOURCES ${frame_sources})
# Over a hub in memory, hence not with hn_rpc, which has the real one.
set(rpc_sources ${rpc_sources}
	${CMAKE_SOURCE_DIR}/test/support/fake_hub.c
	${CMAKE_SOURCE_DIR}/test/support/rpc_net.c)
hn_test(unit test_rpc LINKS hn_base SOURCES ${rpc_sources})
hn_test(unit test_chan LINKS hn_base SOURCES ${rpc_sources})
# The same over real sessions.
hn_test(unit test_rpc_tcp LINKS hn_rpc)
# Two processes; a figure for every cell, whatever it is.
hn_test(unit test_bench_rpc LINKS hn_rpc)
