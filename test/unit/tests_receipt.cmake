# SPDX-License-Identifier: GPL-3.0-or-later
hn_test(unit test_receipt LINKS hn_base)
