# SPDX-License-Identifier: GPL-3.0-or-later
if(TARGET hn_rpc AND EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/fuzz_noise.c)
	hn_fuzz(noise LINKS hn_rpc)
endif()
