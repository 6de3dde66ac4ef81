# SPDX-License-Identifier: GPL-3.0-or-later
hn_test(unit test_sha256d LINKS hn_asic PkgConfig::SODIUM)
hn_test(unit test_kernel LINKS hn_asic Threads::Threads
	LABELS hardware)
hn_test(unit test_batch LINKS hn_asic)
# It counts what the code under test allocates.
target_link_options(test_batch PRIVATE -Wl,--wrap=malloc,--wrap=calloc
	-Wl,--wrap=realloc,--wrap=aligned_alloc,--wrap=posix_memalign)
hn_test(unit test_bench LINKS hn_asic_bench)
