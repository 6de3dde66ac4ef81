/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Apart from link.c, since the kernel's header of struct tcp_info, which has
 * the counts of segments, cannot stand beside the C library's.
 */
#include "rpc/link_impl.h"

#include "rpc/link.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>

bool link_fd_tcp(int fd, struct link_tcp *out)
{
	struct tcp_info t = {0};
	socklen_t n = sizeof(t);

	/* It tells how many segments went out since Linux 4.2. */
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &t, &n) ||
	    n < offsetof(struct tcp_info, tcpi_segs_in))
		return false;
	*out = (struct link_tcp){.rtt_us = t.tcpi_rtt,
				 .sent = t.tcpi_segs_out,
				 .resent = t.tcpi_total_retrans};
	return true;
}
