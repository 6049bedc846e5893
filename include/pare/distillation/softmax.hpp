#pragma once

#include <cmath>
#include <limits>
#include <vector>

#include "pare/core/tensor_view.hpp"

namespace pare::detail {

/// Log-probabilities and probabilities of one row of logits at a temperature, in double.
class Softmax {
 public:
  Softmax() = default;

  /// Logits of -inf have probability 0 and the log-probability -inf; a row that has no other, or a
  /// NaN or +inf, gives NaN.
  template <class T>
  Softmax(VectorView<const T> logits, double temperature)
      : log_(static_cast<std::size_t>(logits.size())), value_(log_.size()) {
    double largest = -std::numeric_limits<double>::infinity();
    for (Index j = 0; j < logits.size(); ++j) {
      log(j) = static_cast<double>(logits[j]) / temperature;
      if (!(log(j) <= largest)) largest = log(j);
    }
    double sum = 0.0;
    for (std::size_t j = 0; j < log_.size(); ++j) sum += value_[j] = std::exp(log_[j] - largest);
    const double log_sum = largest + std::log(sum);
    for (std::size_t j = 0; j < log_.size(); ++j) {
      log_[j] -= log_sum;
      value_[j] /= sum;
    }
  }

  [[nodiscard]] Index size() const noexcept { return static_cast<Index>(log_.size()); }
  [[nodiscard]] double log(Index j) const noexcept { return log_[static_cast<std::size_t>(j)]; }
  /// The probability.
  [[nodiscard]] double operator[](Index j) const noexcept {
    return value_[static_cast<std::size_t>(j)];
  }

 private:
  [[nodiscard]] double& log(Index j) noexcept { return log_[static_cast<std::size_t>(j)]; }
  std::vector<double> log_, value_;
};

/// p times its logarithm's partner, where 0 times anything is 0.
[[nodiscard]] inline double product_or_zero(double p, double log_q) noexcept {
  return p == 0.0 ? 0.0 : p * log_q;
}

}  // namespace pare::detail
