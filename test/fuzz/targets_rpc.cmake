# SPDX-License-Identifier: GPL-3.0-or-later
if(TARGET hn_rpc)
	hn_fuzz(frame LINKS hn_rpc)

	# rpc over a hub in memory instead of the real one.
	set(rpc ${CMAKE_SOURCE_DIR}/rpc)
	add_library(rpc_in_memory STATIC ${rpc}/rpc.c ${rpc}/chan.c
		${rpc}/outbox.c ${rpc}/frame.c
		${CMAKE_SOURCE_DIR}/test/support/fake_hub.c)
	target_link_libraries(rpc_in_memory PUBLIC hn_base)
	if(HN_FUZZ)
		target_compile_options(rpc_in_memory PRIVATE
			-fsanitize=fuzzer-no-link ${fuzz_flags})
	endif()
	hn_fuzz(rpc LINKS rpc_in_memory)
endif()
