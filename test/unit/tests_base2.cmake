# SPDX-License-Identifier: GPL-3.0-or-later
hn_test(unit test_err LINKS hn_base)
hn_test(unit test_mem LINKS hn_base)
hn_test(unit test_buf LINKS hn_base)
hn_test(unit test_loop LINKS hn_base LABELS threads)
hn_test(unit test_pack LINKS hn_base)
hn_test(unit test_fields LINKS hn_base)
hn_test(unit test_merkle LINKS hn_base)
