# SPDX-License-Identifier: GPL-3.0-or-later
if(TARGET hn_dht)
	hn_fuzz(record_dht LINKS hn_dht)
	hn_fuzz(beacon LINKS hn_dht)
endif()
