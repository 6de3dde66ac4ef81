# SPDX-License-Identifier: GPL-3.0-or-later
hn_fuzz(evidence LINKS hn_base)
