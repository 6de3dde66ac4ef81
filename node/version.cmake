# SPDX-License-Identifier: GPL-3.0-or-later
# Writes OUT with the commit of SOURCE when it changed; runs at every build.
execute_process(COMMAND git -C ${SOURCE} rev-parse --short=7 HEAD
	OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE
	ERROR_QUIET RESULT_VARIABLE failed)
if(failed)
	set(commit "release")
endif()
file(CONFIGURE OUTPUT ${OUT}
	CONTENT "/* Made by version.cmake. */\n#define HN_COMMIT \"${commit}\"\n")
