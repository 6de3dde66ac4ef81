# SPDX-License-Identifier: GPL-3.0-or-later
hn_test(unit test_journal LINKS hn_mesh LABELS threads)
