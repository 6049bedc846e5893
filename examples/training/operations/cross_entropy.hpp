#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <string>

#include "pare/core/error.hpp"
#include "training/operations/product.hpp"

namespace training {

/// Labels that count nowhere: padding, prompts.
inline constexpr std::int32_t ignored_label = -100;

/// The mean over tokens of -log softmax(logits)[label]; its gradient times `weight` is added to
/// dlogits, unless that is empty.
///
/// Shapes    logits and dlogits (tokens, classes), rows contiguous; a label for each token
/// Errors    pare::ArgumentError naming a label outside the classes
/// Edge      0 where all labels are ignored
template <Scalar S>
[[nodiscard]] S cross_entropy(pare::MatrixView<const S> logits,
                              std::span<const std::int32_t> labels, pare::MatrixView<S> dlogits,
                              double weight, const pare::Execution& execution) {
  using std::exp;
  using std::log;
  Index counted = 0;
  for (const std::int32_t label : labels) {
    if (label == ignored_label) continue;
    if (label < 0 || label >= logits.cols())
      throw pare::ArgumentError("label " + std::to_string(label) + " is none of the " +
                                std::to_string(logits.cols()) + " classes");
    ++counted;
  }
  if (counted == 0) return S{0};
  pare::Vector<S> losses({logits.rows()});
  const S factor = scalar<S>(weight / static_cast<double>(counted));
  execution.parallel_for(logits.rows(), [&](Index t) {
    const std::int32_t label = labels[static_cast<std::size_t>(t)];
    if (label == ignored_label) return;
    const S* const row = &logits(t, 0);
    S largest = row[0], sum{};
    for (Index j = 1; j < logits.cols(); ++j) largest = row[j] > largest ? row[j] : largest;
    for (Index j = 0; j < logits.cols(); ++j) sum += exp(row[j] - largest);
    losses[t] = largest + log(sum) - row[label];
    if (dlogits.empty()) return;
    for (Index j = 0; j < logits.cols(); ++j)
      dlogits(t, j) += factor * (exp(row[j] - largest) / sum - S(j == label ? 1 : 0));
  });
  S total{};
  for (Index t = 0; t < losses.size(); ++t) total += losses[t];
  return total / scalar<S>(static_cast<double>(counted));
}

}  // namespace training
