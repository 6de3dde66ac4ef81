# SPDX-License-Identifier: GPL-3.0-or-later
hn_test(unit test_cert LINKS hn_base)
hn_test(unit test_membership LINKS hn_mesh)
hn_test(unit test_invite LINKS hn_mesh LABELS threads)
hn_test(unit test_access LINKS hn_mesh)
hn_test(unit test_peers LINKS hn_mesh)
foreach(name mesh enrol)
	hn_test(unit test_${name} LINKS hn_mesh LABELS threads TIMEOUT 180
		SOURCES ${CMAKE_SOURCE_DIR}/test/support/nodes.c)
endforeach()
hn_test(unit test_batch_file LINKS hn_mesh)
hn_test(unit test_digest_look LINKS hn_mesh)
