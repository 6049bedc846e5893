#pragma once

#include <cstdio>

namespace lab {

/// What a course expects of a small model.
struct Expectation {
  double times_smaller = 1.0, percent = 95.0;
};

/// "7.53 times smaller (expected 8: missed)"; 1 % less than expected is met.
inline void print_size(double times_smaller, const Expectation& expected) {
  std::printf("%.2f times smaller (expected %.0f: %s)", times_smaller, expected.times_smaller,
              times_smaller >= 0.99 * expected.times_smaller ? "met" : "missed");
}

/// "quality 97.1 % (expected more than 95 %: met)", and the end of a line.
inline void print_quality(double percent, const Expectation& expected) {
  std::printf("quality %5.1f %% (expected more than %.0f %%: %s)\n", percent, expected.percent,
              percent > expected.percent ? "met" : "missed");
  std::fflush(stdout);
}

}  // namespace lab
