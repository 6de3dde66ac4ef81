/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HN_TEST_JOB_TEXT_H
#define HN_TEST_JOB_TEXT_H

#include "node/mesh/job.h"

/* What a peer did in other jobs, too, is shown with each of them but not saved
 * with any: not compared where only one job is looked at. */
static inline void job_info_drop_ever(struct job_info *info)
{
	struct job_peer *p = info->by_peer.items;

	for (size_t i = 0; i < info->by_peer.n; i++) {
		p[i].all_hashes = p[i].all_expected = p[i].all_shares = 0;
		p[i].all_rescanned = p[i].all_pieces = p[i].all_checks = 0;
		p[i].all_failures = 0;
	}
}

#endif
