# SPDX-License-Identifier: GPL-3.0-or-later
hn_test(unit test_evidence LINKS hn_base)
hn_test(unit test_standing LINKS hn_mesh LABELS threads)
