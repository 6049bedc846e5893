#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "pare/core/finite.hpp"
#include "pare/core/tensor_view.hpp"

namespace pare::detail {

inline constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

/// True of the log-probability -inf. Not by a comparison, which -ffast-math may leave out.
[[nodiscard]] constexpr bool is_excluded(double log_p) noexcept { return !is_finite(log_p); }

/// Log-probabilities and probabilities of one row of logits at a temperature, in double.
class Softmax {
 public:
  Softmax() = default;

  /// Logits of -inf have probability 0 and the log-probability -inf; a row that has no other, or a
  /// NaN or +inf, gives NaN. Classes from the last logit up to `classes` have probability 0.
  template <class T>
  Softmax(VectorView<T> logits, double temperature, Index classes = 0)
      : log_(static_cast<std::size_t>(std::max(classes, logits.size())), minus_infinity),
        value_(log_.size()) {
    const auto n = static_cast<std::size_t>(logits.size());
    double largest = minus_infinity;
    for (Index j = 0; j < logits.size(); ++j) {
      log(j) = static_cast<double>(logits[j]) / temperature;
      if (!(log(j) <= largest)) largest = log(j);
    }
    double sum = 0.0;
    for (std::size_t j = 0; j < n; ++j) sum += value_[j] = std::exp(log_[j] - largest);
    const double log_sum = largest + std::log(sum);
    for (std::size_t j = 0; j < n; ++j) {
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
  [[nodiscard]] Index most_likely() const noexcept {
    return std::max_element(value_.begin(), value_.end()) - value_.begin();
  }

 private:
  [[nodiscard]] double& log(Index j) noexcept { return log_[static_cast<std::size_t>(j)]; }
  std::vector<double> log_, value_;
};

/// p times its logarithm's partner, where 0 times anything is 0.
[[nodiscard]] inline double product_or_zero(double p, double log_q) noexcept {
  return p == 0.0 ? 0.0 : p * log_q;
}

/// log(exp(a) + exp(b)), where both may be -inf.
[[nodiscard]] inline double log_sum_exp(double a, double b) noexcept {
  const double larger = std::max(a, b);
  return is_excluded(larger) ? larger : larger + std::log1p(std::exp(std::min(a, b) - larger));
}

/// The entropy of a row of probabilities, in nats.
[[nodiscard]] inline double entropy_of(const Softmax& p) noexcept {
  double sum = 0.0;
  for (Index j = 0; j < p.size(); ++j) sum -= product_or_zero(p[j], p.log(j));
  return sum;
}

}  // namespace pare::detail
