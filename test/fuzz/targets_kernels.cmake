# SPDX-License-Identifier: GPL-3.0-or-later
hn_fuzz(batch LINKS hn_asic)
