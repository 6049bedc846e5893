#pragma once

#include <algorithm>
#include <cmath>

#include "pare/core/finite.hpp"
#include "pare/core/tensor.hpp"

namespace pare {

namespace detail {

/// The cosine of the angle between two vectors, in [-1, 1]; of one that is zero, 1/2.
[[nodiscard]] inline double cosine(VectorView<const float> a, VectorView<const float> b) noexcept {
  double dot = 0.0, squares_a = 0.0, squares_b = 0.0;
  for (Index j = 0; j < a.size(); ++j) {
    const double x = static_cast<double>(a[j]), y = static_cast<double>(b[j]);
    dot += x * y;
    squares_a += x * x;
    squares_b += y * y;
  }
  if (squares_a == 0.0 || squares_b == 0.0) return 0.5;
  return std::clamp(dot / (std::sqrt(squares_a) * std::sqrt(squares_b)), -1.0, 1.0);
}

inline void require_hidden_states(MatrixView<const float> before, MatrixView<const float> after) {
  if (before.shape() != after.shape())
    throw ShapeError("hidden states of shape " + to_string(before.shape()) +
                     " become those of shape " + to_string(after.shape()));
  require_finite(before, "hidden state before the block");
  require_finite(after, "hidden state after the block");
}

}  // namespace detail

/// How much a block changes the direction of hidden states: low = unimportant.
///
///     1 - mean over tokens of cos(before, after)
///
/// Edge      a state of zeros counts as a cosine of 1/2
/// Accuracy  float64 sums
/// Source    Men et al., "ShortGPT: Layers in Large Language Models are More Redundant Than You
///           Expect", 2024
class BlockInfluence {
 public:
  /// Adds tokens: hidden states before and after the block (tokens, hidden). Throws ShapeError when
  /// they differ in shape and NumericError naming an element that is not finite; nothing has
  /// changed then.
  void add(MatrixView<const float> before, MatrixView<const float> after) {
    detail::require_hidden_states(before, after);
    for (Index t = 0; t < before.rows(); ++t)
      cosines_ += detail::cosine(before.row(t), after.row(t));
    count_ += before.rows();
  }

  /// Tokens seen.
  [[nodiscard]] Index count() const noexcept { return count_; }
  /// In [0, 2]. Throws ArgumentError when no token was seen.
  [[nodiscard]] double score() const {
    if (count_ == 0) throw ArgumentError("the block influence has seen no token");
    return 1.0 - cosines_ / static_cast<double>(count_);
  }

 private:
  double cosines_ = 0.0;
  Index count_ = 0;
};

}  // namespace pare
