#pragma once

/// The only place a version is written; CMake reads it from here.
#define PARE_VERSION_MAJOR 0
#define PARE_VERSION_MINOR 1
#define PARE_VERSION_PATCH 0

namespace pare {

inline constexpr const char* version = "0.1.0";

}  // namespace pare
