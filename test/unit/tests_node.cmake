# SPDX-License-Identifier: GPL-3.0-or-later
hn_test(unit test_config LINKS hn_cli)
hn_test(unit test_cli_parse LINKS hn_cli)
hn_test(unit test_out LINKS hn_cli)
hn_test(unit test_lines LINKS hn_cli)

# The manual page and the parser come from the same tables.
if(TARGET hnode)
	add_test(NAME man_page COMMAND sh -c
		"\"$1\" help --man | cmp - \"$2\"" sh
		$<TARGET_FILE:hnode> ${CMAKE_SOURCE_DIR}/node/hnode.1)
	set_tests_properties(man_page PROPERTIES TIMEOUT 20 LABELS unit)
endif()
