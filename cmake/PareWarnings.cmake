# Warnings for our own tests, benchmarks and examples: link pare_warnings PRIVATE, never export it.
add_library(pare_warnings INTERFACE)
set(PARE_WARNING_FLAGS -Wall -Wextra -Wpedantic -Wconversion -Wshadow $<$<BOOL:${PARE_WERROR}>:-Werror>)
target_compile_options(pare_warnings INTERFACE ${PARE_WARNING_FLAGS})
