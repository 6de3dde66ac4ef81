# SPDX-License-Identifier: GPL-3.0-or-later
if(TARGET hn_rpc)
	hn_fuzz(frame LINKS hn_rpc)
endif()
