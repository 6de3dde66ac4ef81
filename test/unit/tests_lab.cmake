# SPDX-License-Identifier: GPL-3.0-or-later
hn_test(unit test_impair LINKS hn_lab)
hn_test(unit test_relay LINKS hn_lab)
hn_test(unit test_talk LINKS hn_lab)
