# pare::kernels, optional: what include/pare/kernels/compiled*.hpp declare, compiled once instead of
# in every file that multiplies. Who links it compiles several times faster; pare::pare is complete
# without it. A small source file for each line of their lists.
set(pare_compiled_list)
foreach(header compiled compiled_gemm)
  set(header ${PROJECT_SOURCE_DIR}/include/pare/kernels/${header}.hpp)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${header})
  file(STRINGS ${header} entries REGEX "^PARE_COMPILED_[A-Z]+\\(extern")
  list(APPEND pare_compiled_list ${entries})
endforeach()
set(pare_kernel_sources)
foreach(entry IN LISTS pare_compiled_list)
  string(REPLACE "extern" "" definition "${entry}")
  string(REGEX REPLACE "[^A-Za-z0-9]+" "_" name "${definition}")
  string(TOLOWER "${name}" name)
  string(REGEX REPLACE "^pare_compiled_|_$" "" name "${name}")
  set(source ${PROJECT_BINARY_DIR}/kernels/${name}.cpp)
  file(CONFIGURE OUTPUT ${source} @ONLY CONTENT
"#include \"pare/kernels/compiled.hpp\"
#include \"pare/kernels/compiled_gemm.hpp\"

namespace pare::kernels {

@definition@

}  // namespace pare::kernels
")
  list(APPEND pare_kernel_sources ${source})
endforeach()

add_library(pare_kernels STATIC ${pare_kernel_sources})
if(NOT PROJECT_IS_TOP_LEVEL)
  set_target_properties(pare_kernels PROPERTIES EXCLUDE_FROM_ALL ON)  # built where it is linked
endif()
add_library(pare::kernels ALIAS pare_kernels)
set_target_properties(pare_kernels PROPERTIES EXPORT_NAME kernels POSITION_INDEPENDENT_CODE ON)
target_link_libraries(pare_kernels PUBLIC pare)
target_compile_definitions(pare_kernels INTERFACE PARE_LINKS_COMPILED_KERNELS)
