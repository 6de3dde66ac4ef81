# SPDX-License-Identifier: GPL-3.0-or-later
# The coordinator's files with base and hashing only: they link without rpc
# and dht, which proves that they do no I/O of their own.
set(mesh ${CMAKE_SOURCE_DIR}/node/mesh)
add_library(job_pure STATIC ${mesh}/audit.c ${mesh}/challenge.c ${mesh}/trust.c ${mesh}/check.c ${mesh}/replica.c ${mesh}/job.c
	${mesh}/job_info.c ${mesh}/job_save.c ${mesh}/job_merge.c ${mesh}/kind.c
	${mesh}/kind_batch.c ${mesh}/digest.c ${mesh}/wire.c
	${mesh}/kind_search.c ${mesh}/lease.c ${mesh}/sched.c ${mesh}/sched_who.c ${mesh}/feed.c ${mesh}/score.c
	${mesh}/terms.c ${mesh}/unit.c ${mesh}/worker.c)
target_include_directories(job_pure PUBLIC ${CMAKE_SOURCE_DIR})
target_link_libraries(job_pure PUBLIC hn_asic hn_base m)
