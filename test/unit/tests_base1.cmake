# SPDX-License-Identifier: GPL-3.0-or-later
hn_test(unit test_log LINKS hn_base LABELS threads)
hn_test(unit test_json LINKS hn_base)
hn_test(unit test_word LINKS hn_base)
hn_test(unit test_identity LINKS hn_base)
hn_test(unit test_store LINKS hn_base LABELS threads)
