# SPDX-License-Identifier: GPL-3.0-or-later
if(TARGET hn_rpc)
	hn_fuzz(handshake LINKS hn_rpc)
	hn_fuzz(record LINKS hn_rpc)
endif()
