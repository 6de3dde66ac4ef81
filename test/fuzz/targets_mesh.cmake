# SPDX-License-Identifier: GPL-3.0-or-later
if(TARGET hn_asic)
	if(NOT TARGET job_pure)
		include(${CMAKE_CURRENT_LIST_DIR}/../support/job_pure.cmake)
	endif()
	if(HN_FUZZ)
		target_compile_options(job_pure PRIVATE
			-fsanitize=fuzzer-no-link ${fuzz_flags})
		target_link_options(job_pure INTERFACE ${fuzz_flags})
	endif()
	hn_fuzz(job LINKS job_pure)
	hn_fuzz(job_save LINKS job_pure)
	hn_fuzz(batch_row LINKS hn_mesh)
endif()
