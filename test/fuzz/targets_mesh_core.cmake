# SPDX-License-Identifier: GPL-3.0-or-later
hn_fuzz(invite LINKS hn_mesh)
