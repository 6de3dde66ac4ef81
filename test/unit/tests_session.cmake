# SPDX-License-Identifier: GPL-3.0-or-later
hn_test(unit test_link LINKS hn_rpc LABELS threads)
