# pare::kernels, optional: what include/pare/kernels/compiled.hpp declares, compiled once instead of
# in every file that multiplies. Who links it compiles several times faster; pare::pare is complete
# without it. A small source file for each line of the list in that header.
set(pare_compiled ${PROJECT_SOURCE_DIR}/include/pare/kernels/compiled.hpp)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${pare_compiled})
file(STRINGS ${pare_compiled} pare_compiled_list REGEX "^PARE_COMPILED_[A-Z]+\\(extern")
set(pare_kernel_sources)
foreach(entry IN LISTS pare_compiled_list)
  string(REPLACE "extern" "" definition "${entry}")
  string(REGEX REPLACE "[^A-Za-z0-9]+" "_" name "${definition}")
  string(TOLOWER "${name}" name)
  string(REGEX REPLACE "^pare_compiled_|_$" "" name "${name}")
  set(source ${PROJECT_BINARY_DIR}/kernels/${name}.cpp)
  file(CONFIGURE OUTPUT ${source} @ONLY CONTENT
"#include \"pare/kernels/compiled.hpp\"

namespace pare::kernels {

@definition@

}  // namespace pare::kernels
")
  list(APPEND pare_kernel_sources ${source})
endforeach()

add_library(pare_kernels STATIC ${pare_kernel_sources})
add_library(pare::kernels ALIAS pare_kernels)
set_target_properties(pare_kernels PROPERTIES EXPORT_NAME kernels POSITION_INDEPENDENT_CODE ON)
target_link_libraries(pare_kernels PUBLIC pare)
target_compile_definitions(pare_kernels INTERFACE PARE_LINKS_COMPILED_KERNELS)
