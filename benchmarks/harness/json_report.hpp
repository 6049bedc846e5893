#pragma once

#include <string>
#include <vector>

#include "harness/result.hpp"

namespace bench {

/// Writes machine, compiler, date, versions of peers and the rows to a file, all in base units
/// (seconds, bytes, operations). Rows that the file already has are replaced, others are kept, so
/// that several programs share one file. Throws pare::IoError or pare::FormatError.
void write_json(const std::string& path, const std::vector<Result>& results);

}  // namespace bench
