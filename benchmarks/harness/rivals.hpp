#pragma once

#include <vector>

#include "harness/result.hpp"

namespace bench {

/// Times the row's rivals against `work` in interleaved pairs. `seconds` is about what one run
/// takes, `use` the counter of runs.
[[nodiscard]] std::vector<RivalResult> measure_rivals(const Row& row, const Workload& work,
                                                      double seconds, pare::Index& use);

}  // namespace bench
