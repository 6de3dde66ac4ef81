# SPDX-License-Identifier: GPL-3.0-or-later
hn_fuzz(pack LINKS hn_base)
hn_fuzz(fields LINKS hn_base)
foreach(name json receipt word)
	if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/fuzz_${name}.c)
		hn_fuzz(${name} LINKS hn_base)
	endif()
endforeach()
