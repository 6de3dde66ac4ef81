# SPDX-License-Identifier: GPL-3.0-or-later
# The hash kernels. Each kernel file has the flags of its instructions, no
# other file has any: what runs is chosen at run time by CPUID. clang 19
# compiles them better than gcc 12 does, so it is used for these files where
# it is installed; sanitizer builds keep to one compiler.
find_program(HN_CLANG19 clang-19)
mark_as_advanced(HN_CLANG19)
set(clang_wanted OFF)
if(HN_CLANG19)
	set(clang_wanted ON)
endif()
option(HN_KERNEL_CLANG "compile the hash kernels with clang-19"
	${clang_wanted})

set(kernel_clang OFF)
if(HN_KERNEL_CLANG AND HN_CLANG19 AND NOT HN_SANITIZE)
	set(kernel_clang ON)
endif()

# An older clang does not know the CPU that clang 19's code is best tuned for.
include(CheckCCompilerFlag)
set(clang_tune -mtune=znver4)
if(NOT kernel_clang AND CMAKE_C_COMPILER_ID MATCHES "Clang")
	check_c_compiler_flag(-mtune=znver4 HN_TUNE_ZNVER4)
	if(NOT HN_TUNE_ZNVER4)
		set(clang_tune -mtune=icelake-server)
	endif()
endif()

# hn_kernel(file COMMON flags... GCC flags... CLANG flags...)
function(hn_kernel file)
	cmake_parse_arguments(K "" "" "COMMON;GCC;CLANG" ${ARGN})
	set(source ${CMAKE_CURRENT_SOURCE_DIR}/${file})
	set(flags -O3 ${K_COMMON})
	if(kernel_clang OR CMAKE_C_COMPILER_ID MATCHES "Clang")
		list(APPEND flags ${K_CLANG})
	else()
		# Their size is past what debug information can follow.
		list(APPEND flags -fno-var-tracking-assignments ${K_GCC})
	endif()
	if(NOT kernel_clang)
		set_source_files_properties(${source} PROPERTIES
			COMPILE_OPTIONS "${flags}")
		target_sources(hn_asic PRIVATE ${source})
		return()
	endif()
	set(object ${CMAKE_CURRENT_BINARY_DIR}/${file}.clang19.o)
	get_directory_property(options COMPILE_OPTIONS)
	set(pic)
	if(CMAKE_POSITION_INDEPENDENT_CODE)
		set(pic -fPIC)
	endif()
	# valgrind 3.19 gives up on the DWARF 5 of clang 19.
	add_custom_command(OUTPUT ${object}
		COMMAND ${HN_CLANG19} -std=gnu11 -D_GNU_SOURCE -gdwarf-4 ${options}
			${pic} ${flags} -I${CMAKE_SOURCE_DIR}
			-MD -MF ${object}.d -c ${source} -o ${object}
		DEPENDS ${source}
		DEPFILE ${object}.d
		COMMENT "Building ${file} with clang-19"
		VERBATIM)
	set_source_files_properties(${object} PROPERTIES
		EXTERNAL_OBJECT ON GENERATED ON)
	target_sources(hn_asic PRIVATE ${object})
endfunction()

target_sources(hn_asic PRIVATE sha256d.c kernel.c batch.c)
hn_kernel(kernel_scalar.c)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
	hn_kernel(kernel_shani.c COMMON -mssse3 -msse4.1 -msha)
	# The sums are written in the order that keeps the chains short.
	hn_kernel(kernel_avx2.c COMMON -mavx2 GCC -fno-tree-reassoc)
	hn_kernel(kernel_avx512.c
		COMMON -mavx512f -mavx512bw -mavx512dq -mavx512vl
		GCC -fno-tree-reassoc -mtune=icelake-server
		CLANG ${clang_tune})
endif()

# Apart from hn_asic, so that only `bench hash` brings OpenSSL in.
pkg_check_modules(CRYPTO REQUIRED IMPORTED_TARGET libcrypto)
hn_room(hn_asic_bench LINKS hn_asic PkgConfig::CRYPTO Threads::Threads
	SOURCES bench.c)
