include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(pare_config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/pare)
set(pare_exported pare)
set(pare_arch_independent ARCH_INDEPENDENT)
if(TARGET pare_kernels)
  list(APPEND pare_exported pare_kernels)
  unset(pare_arch_independent)
endif()
if(PARE_ENABLE_CUDA)
  list(APPEND pare_exported pare_cuda)
endif()

if(PARE_FETCHED)
  install(CODE "message(FATAL_ERROR \"pare is not installed from a build that downloaded \
dependencies (${PARE_FETCHED}): a consumer's find_package(pare) would not find them\")")
endif()

install(TARGETS ${pare_exported} EXPORT pareTargets FILE_SET HEADERS)
install(EXPORT pareTargets NAMESPACE pare:: DESTINATION ${pare_config_dir})
export(EXPORT pareTargets NAMESPACE pare:: FILE ${PROJECT_BINARY_DIR}/pareTargets.cmake)

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/pareConfig.cmake.in
  ${PROJECT_BINARY_DIR}/pareConfig.cmake INSTALL_DESTINATION ${pare_config_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/pareConfigVersion.cmake
  COMPATIBILITY SameMinorVersion ${pare_arch_independent})
configure_file(${PROJECT_SOURCE_DIR}/cmake/PareXsimd.cmake ${PROJECT_BINARY_DIR} COPYONLY)
install(FILES ${PROJECT_BINARY_DIR}/pareConfig.cmake ${PROJECT_BINARY_DIR}/pareConfigVersion.cmake
  ${PROJECT_BINARY_DIR}/PareXsimd.cmake DESTINATION ${pare_config_dir})
