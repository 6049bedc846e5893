#pragma once

#include <cmath>
#include <cstdio>
#include <vector>

namespace lab {

/// A mean and its standard error, of percents.
class MeanWithError {
 public:
  void add(double percent) { values_.push_back(percent); }
  [[nodiscard]] double mean() const {
    double sum = 0.0;
    for (const double v : values_) sum += v;
    return sum / static_cast<double>(values_.size());
  }
  [[nodiscard]] double error() const {
    double squares = 0.0;
    for (const double v : values_) squares += (v - mean()) * (v - mean());
    const auto n = static_cast<double>(values_.size());
    return n < 2.0 ? 0.0 : std::sqrt(squares / (n - 1.0) / n);
  }
  void print(const char* name) const {
    std::printf("  %-34s %5.1f %% +- %.1f\n", name, mean(), error());
    std::fflush(stdout);
  }

 private:
  std::vector<double> values_;
};

}  // namespace lab
