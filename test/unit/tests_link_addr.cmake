# SPDX-License-Identifier: GPL-3.0-or-later
hn_test(unit test_link_addr LINKS hn_rpc)
