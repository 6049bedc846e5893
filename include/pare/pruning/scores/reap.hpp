#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "pare/core/finite.hpp"
#include "pare/core/tensor.hpp"

namespace pare {

/// How much each expert of a layer adds to the output of the tokens that it gets.
///
///     S_e = mean over tokens routed to e of gate_e(x) * ||f_e(x)||_2
///
/// Accuracy  float64 sums
/// Source    Lasby et al., "REAP the Experts: Why Pruning Prevails for One-Shot MoE compression",
/// 2025
class ExpertSaliency {
 public:
  /// Throws ArgumentError unless there are experts.
  explicit ExpertSaliency(Index experts)
      : sums_({std::max<Index>(experts, 0)}), tokens_({std::max<Index>(experts, 0)}) {
    if (experts < 1) throw ArgumentError("a layer of " + std::to_string(experts) + " experts");
  }

  /// Adds tokens that expert `e` got: their gate values as the layer multiplies with them (tokens),
  /// and the expert's outputs before that (tokens, hidden). Throws ArgumentError for an expert that
  /// does not exist, ShapeError when the tokens differ in number and NumericError for a value that
  /// is not finite; nothing has changed then.
  void add(Index e, VectorView<const float> gates, MatrixView<const float> outputs) {
    if (e < 0 || e >= experts())
      throw ArgumentError("expert " + std::to_string(e) + " is none of " +
                          std::to_string(experts()));
    if (gates.size() != outputs.rows())
      throw ShapeError(std::to_string(gates.size()) + " gate values do not fit outputs of shape " +
                       to_string(outputs.shape()));
    for (Index t = 0; t < gates.size(); ++t)
      if (!is_finite(static_cast<double>(gates[t])))
        throw NumericError("the gate value of token " + std::to_string(t) + " is not finite");
    require_finite(outputs, "output of an expert");
    for (Index t = 0; t < outputs.rows(); ++t) {
      double squares = 0.0;
      for (Index j = 0; j < outputs.cols(); ++j)
        squares += static_cast<double>(outputs(t, j)) * static_cast<double>(outputs(t, j));
      sums_[e] += static_cast<double>(gates[t]) * std::sqrt(squares);
    }
    tokens_[e] += outputs.rows();
  }

  [[nodiscard]] Index experts() const noexcept { return sums_.size(); }
  /// Tokens that expert `e` got. Throws ArgumentError for one that does not exist.
  [[nodiscard]] Index count(Index e) const {
    if (e < 0 || e >= experts())
      throw ArgumentError("expert " + std::to_string(e) + " is none of " +
                          std::to_string(experts()));
    return tokens_[e];
  }
  /// (experts); one that got no token has 0. Throws NumericError for one beyond float.
  [[nodiscard]] Vector<float> scores() const {
    Vector<float> result({experts()});
    for (Index e = 0; e < experts(); ++e) {
      if (tokens_[e] == 0) continue;
      result[e] = static_cast<float>(sums_[e] / static_cast<double>(tokens_[e]));
      if (!is_finite(static_cast<double>(result[e])))
        throw NumericError("the saliency of expert " + std::to_string(e) + " is beyond float");
    }
    return result;
  }

 private:
  Vector<double> sums_;
  Vector<Index> tokens_;
};

/// What a router asks of the experts that stay.
struct RouterLimits {
  /// Experts that a token gets.
  Index top_k = 1;
  /// Groups of consecutive experts, among which the router chooses first: each loses as many.
  Index groups = 1;
};

/// The experts of a layer that go, in ascending order: the floor(sparsity * experts) with the
/// lowest saliency, of equal ones the lowest index first; with groups, round(that / groups), half
/// to even, of each.
///
/// Errors    ArgumentError for a sparsity outside [0, 1), limits that are none, experts that do not
///           divide into groups, and where none would go or fewer than top_k stay; NumericError for
///           a score that is not finite
/// Source    as ExpertSaliency
[[nodiscard]] inline std::vector<Index> reap_removed(VectorView<const float> scores,
                                                     double sparsity,
                                                     const RouterLimits& limits = {}) {
  const Index experts = scores.size();
  if (!(sparsity >= 0.0 && sparsity < 1.0))
    throw ArgumentError("a sparsity of " + std::to_string(sparsity) + " is outside [0, 1)");
  if (limits.top_k < 1 || limits.groups < 1 || experts % limits.groups != 0)
    throw ArgumentError("a router of " + std::to_string(experts) + " experts in " +
                        std::to_string(limits.groups) + " groups, " + std::to_string(limits.top_k) +
                        " a token");
  for (Index e = 0; e < experts; ++e)
    if (!is_finite(static_cast<double>(scores[e])))
      throw NumericError("the saliency of expert " + std::to_string(e) + " is not finite");
  const auto whole = static_cast<Index>(std::floor(sparsity * static_cast<double>(experts)));
  // Half to even: in the middle between two numbers, the even one.
  Index of_group = whole / limits.groups;
  const Index rest = 2 * (whole % limits.groups);
  if (rest > limits.groups || (rest == limits.groups && of_group % 2 != 0)) ++of_group;
  const Index removed = of_group * limits.groups;
  if (removed == 0)
    throw ArgumentError("a sparsity of " + std::to_string(sparsity) + " removes none of " +
                        std::to_string(experts) + " experts");
  if (experts - removed < limits.top_k)
    throw ArgumentError(std::to_string(experts - removed) +
                        " experts would stay, but a token gets " + std::to_string(limits.top_k));
  std::vector<Index> result;
  const Index size = experts / limits.groups;
  for (Index g = 0; g < limits.groups; ++g) {
    std::vector<Index> order(static_cast<std::size_t>(size));
    for (Index k = 0; k < size; ++k) order[static_cast<std::size_t>(k)] = g * size + k;
    std::stable_sort(order.begin(), order.end(),
                     [&](Index a, Index b) { return scores[a] < scores[b]; });
    result.insert(result.end(), order.begin(), order.begin() + of_group);
  }
  std::sort(result.begin(), result.end());
  return result;
}

}  // namespace pare
