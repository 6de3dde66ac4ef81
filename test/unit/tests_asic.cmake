# SPDX-License-Identifier: GPL-3.0-or-later
hn_test(unit test_work LINKS hn_asic)
hn_test(unit test_asic LINKS hn_asic LABELS threads)
