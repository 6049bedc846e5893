# Warnings for our own tests, benchmarks and examples: link pare_warnings PRIVATE, never export it.
add_library(pare_warnings INTERFACE)
set(PARE_WARNING_FLAGS -Wall -Wextra -Wpedantic -Wconversion $<$<BOOL:${PARE_WERROR}>:-Werror>)
# Of sources that are compiled together one shadows names of another.
target_compile_options(pare_warnings INTERFACE ${PARE_WARNING_FLAGS}
  $<$<NOT:$<BOOL:$<TARGET_PROPERTY:UNITY_BUILD>>>:-Wshadow>)
# GCC 12 sees overlapping copies in std::string's operator+ (GCC bug 105651).
target_compile_options(pare_warnings INTERFACE
  $<$<AND:$<CXX_COMPILER_ID:GNU>,$<VERSION_LESS:$<CXX_COMPILER_VERSION>,13>>:-Wno-restrict>)
