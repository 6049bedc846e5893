#pragma once

#include <string>

namespace bench {

/// What a reader needs to judge the numbers.
struct Machine {
  std::string cpu, compiler, date;
  int cores = 0;
  double l3_bytes = 0.0;
};

[[nodiscard]] Machine this_machine();

}  // namespace bench
