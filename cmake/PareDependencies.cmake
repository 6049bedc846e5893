# Everything pare is built with. An installed package is used first; with PARE_FETCH_DEPS what is
# missing is downloaded at the versions pinned here.
include(FetchContent)

set(PARE_Eigen3_SOURCE GIT_REPOSITORY https://gitlab.com/libeigen/eigen.git
  GIT_TAG 3147391d946bb4b6c68edd901f2add6ac1f31f8c)  # 3.4.0
set(PARE_xsimd_SOURCE URL https://github.com/xtensor-stack/xsimd/archive/refs/tags/13.2.0.tar.gz
  URL_HASH SHA256=edd8cd3d548c185adc70321c53c36df41abe64c1fe2c67bc6d93c3ecda82447a
  DOWNLOAD_EXTRACT_TIMESTAMP ON)
set(PARE_nlohmann_json_SOURCE GIT_REPOSITORY https://github.com/nlohmann/json.git
  GIT_TAG 9cca280a4d0ccf0c08f47a99aa71d1b0e52f8d03)  # 3.11.3
set(PARE_CLI11_SOURCE GIT_REPOSITORY https://github.com/CLIUtils/CLI11.git
  GIT_TAG 6c7b07a878ad834957b98d0f9ce1dbe0cb204fc9)  # 2.4.2
set(PARE_Catch2_SOURCE GIT_REPOSITORY https://github.com/catchorg/Catch2.git
  GIT_TAG 182c910b4b63ff587a3440e08f84f70497e49a81)  # 2.13.10
set(PARE_benchmark_SOURCE GIT_REPOSITORY https://github.com/google/benchmark.git
  GIT_TAG 344117638c8ff7e239044fd0fa7085839fc03021)  # 1.8.3

# The target each package provides, and where the headers lie in the source of one that has only
# headers: such sources are not configured, their include folder is all that is used.
set(PARE_Eigen3_TARGET Eigen3::Eigen)
set(PARE_Eigen3_HEADERS .)
set(PARE_xsimd_TARGET xsimd)
set(PARE_xsimd_HEADERS include)
set(PARE_nlohmann_json_TARGET nlohmann_json::nlohmann_json)
set(PARE_nlohmann_json_HEADERS include)
set(PARE_CLI11_TARGET CLI11::CLI11)
set(PARE_CLI11_HEADERS include)
set(PARE_Catch2_TARGET Catch2::Catch2)
set(PARE_Catch2_HEADERS single_include)
set(PARE_benchmark_TARGET benchmark::benchmark)

function(pare_fetch package)
  if(NOT DEFINED PARE_${package}_HEADERS)
    set(BENCHMARK_ENABLE_TESTING OFF)
    set(BENCHMARK_ENABLE_INSTALL OFF)
    set(CMAKE_POLICY_DEFAULT_CMP0077 NEW)
    FetchContent_Declare(${package} ${PARE_${package}_SOURCE} SYSTEM)
    FetchContent_MakeAvailable(${package})
    return()
  endif()
  FetchContent_Declare(${package} ${PARE_${package}_SOURCE} SOURCE_SUBDIR none)
  FetchContent_MakeAvailable(${package})
  string(TOLOWER ${package} lower)
  add_library(${PARE_${package}_TARGET} INTERFACE IMPORTED GLOBAL)
  target_include_directories(${PARE_${package}_TARGET} SYSTEM
    INTERFACE ${${lower}_SOURCE_DIR}/${PARE_${package}_HEADERS})
endfunction()

# pare_dependencies(<package>...): afterwards each package's target exists, or configuring ends
# with a line that says what to do.
macro(pare_dependencies)
  foreach(package ${ARGN})
    if(NOT TARGET ${PARE_${package}_TARGET})
      find_package(${package} CONFIG QUIET GLOBAL)
    endif()
    if(NOT TARGET ${PARE_${package}_TARGET})
      if(NOT PARE_FETCH_DEPS)
        message(FATAL_ERROR "pare needs ${package}: install it (scripts/quickstart.sh does on "
          "Debian and Ubuntu), or configure with -DPARE_FETCH_DEPS=ON to download it")
      endif()
      pare_fetch(${package})
      list(APPEND PARE_FETCHED ${package})
    endif()
  endforeach()
  include(${PROJECT_SOURCE_DIR}/cmake/PareXsimd.cmake)
endmacro()
