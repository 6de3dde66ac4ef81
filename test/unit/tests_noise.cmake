# SPDX-License-Identifier: GPL-3.0-or-later
hn_test(unit test_noise LINKS hn_rpc)

add_executable(noise_vectors ${CMAKE_SOURCE_DIR}/test/noise_vectors.c)
set_target_properties(noise_vectors PROPERTIES
	RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test)
target_link_libraries(noise_vectors PRIVATE hn_rpc PkgConfig::JANSSON)
add_test(NAME noise_vectors COMMAND sh -c
	[[set -- "$1"/vectors/noise*.json
	[ -e "$1" ] || { echo "skipped: there is no $1"; exit 77; }
	exec "$0" "$@"]]
	$<TARGET_FILE:noise_vectors> ${HN_SHARED})
set_tests_properties(noise_vectors PROPERTIES TIMEOUT 60
	LABELS "unit;vectors" SKIP_RETURN_CODE 77)
