#pragma once

#include "pare/pruning/scores/block_influence.hpp"

namespace pare {

/// The angle between the hidden states before and after a run of blocks, of the last token of each
/// sequence: low where the run can go.
///
///     mean over sequences of arccos(cos(before, after)) / pi
///
/// Edge      a state of zeros counts as a cosine of 1/2, which is 1/3
/// Accuracy  float64 sums
/// Source    Gromov et al., "The Unreasonable Ineffectiveness of the Deeper Layers", 2024
class AngularDistance {
 public:
  /// Adds sequences: a row each, the last token's state (sequences, hidden). Throws as
  /// BlockInfluence::add.
  void add(MatrixView<const float> before, MatrixView<const float> after) {
    detail::require_hidden_states(before, after);
    constexpr double pi = 3.14159265358979323846;
    for (Index s = 0; s < before.rows(); ++s)
      angles_ += std::acos(detail::cosine(before.row(s), after.row(s))) / pi;
    count_ += before.rows();
  }

  /// Sequences seen.
  [[nodiscard]] Index count() const noexcept { return count_; }
  /// In [0, 1]. Throws ArgumentError when no sequence was seen.
  [[nodiscard]] double score() const {
    if (count_ == 0) throw ArgumentError("the angular distance has seen no sequence");
    return angles_ / static_cast<double>(count_);
  }

 private:
  double angles_ = 0.0;
  Index count_ = 0;
};

}  // namespace pare
