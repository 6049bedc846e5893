#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "pare/core/error.hpp"
#include "pare/core/finite.hpp"
#include "pare/core/tensor_view.hpp"
#include "pare/kernels/execution.hpp"

/// How important each index of an axis of one tensor is, low = unimportant: what group_scores makes
/// scores of channels from.
namespace pare {

enum class TaylorSum : unsigned char {
  elements,  ///< sum |g w|
  vector,    ///< |sum g w|
};

namespace detail {

/// visit(i, elements of all views at one place), i the index along the axis; in memory order.
template <class Visit, class T, std::size_t Rank, class... Others>
void visit_along(Index axis, Index i, const Visit& visit, TensorView<T, Rank> first,
                 Others... others) {
  for (Index k = 0; k < first.extent(0); ++k) {
    const Index along = axis == 0 ? k : i;
    if constexpr (Rank == 1)
      visit(along, first[k], others[k]...);
    else
      visit_along(axis - 1, along, visit, first.row(k), others.row(k)...);
  }
}

/// For each index of the axis the sum of term(elements of all views at one place).
template <class Term, class T, std::size_t Rank, class... Others>
[[nodiscard]] std::vector<double> sums_along(std::size_t axis, const Execution& execution,
                                             const Term& term, TensorView<T, Rank> first,
                                             Others... others) {
  if (axis >= Rank)
    throw ShapeError("a tensor of shape " + to_string(first.shape()) + " has no axis " +
                     std::to_string(axis));
  const Index extent = first.extent(axis), share = 64;
  std::vector<double> sums(static_cast<std::size_t>(extent), 0.0);
  execution.parallel_for(ceil_div(extent, share), [&](Index s) {
    const Index begin = s * share, count = std::min(share, extent - begin);
    visit_along(
        static_cast<Index>(axis), 0,
        [&](Index i, auto... elements) {
          sums[static_cast<std::size_t>(begin + i)] += term(static_cast<double>(elements)...);
        },
        first.slice(axis, begin, count), others.slice(axis, begin, count)...);
  });
  for (std::size_t i = 0; i < sums.size(); ++i)
    if (!is_finite(sums[i]))
      throw NumericError("the sum over index " + std::to_string(i) + " of axis " +
                         std::to_string(axis) + " is not finite");
  return sums;
}

}  // namespace detail

/// sum |w|^power over all other axes: a norm without its root.
///
/// Shapes    w of any rank; the result has the extent of the axis
/// Errors    ShapeError for an axis that w has not; ArgumentError unless power > 0; NumericError
///           naming an index whose sum is not finite
/// Accuracy  summed in double, in an order that is independent of threads
/// Source    Li et al., "Pruning Filters for Efficient ConvNets", 2017 (power 1)
template <class T, std::size_t Rank>
[[nodiscard]] std::vector<double> axis_norms(TensorView<T, Rank> w, std::size_t axis,
                                             double power = 2.0, const Execution& execution = {}) {
  if (!(power > 0.0) || !is_finite(power))
    throw ArgumentError("the power of a norm is above 0, not " + std::to_string(power));
  if (power == 1.0)
    return detail::sums_along(
        axis, execution, [](double v) { return std::fabs(v); }, w);
  if (power == 2.0)
    return detail::sums_along(
        axis, execution, [](double v) { return v * v; }, w);
  return detail::sums_along(
      axis, execution, [power](double v) { return std::pow(std::fabs(v), power); }, w);
}

/// The change of the loss, to first order, when an index is removed.
///
/// Shapes    gradient g as w, any rank; the result has the extent of the axis
/// Errors    ShapeError; NumericError naming an index whose sum is not finite
/// Accuracy  as axis_norms
/// Source    Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient
///           Inference", 2017
template <class T, class G, std::size_t Rank>
[[nodiscard]] std::vector<double> axis_taylor(TensorView<T, Rank> w, TensorView<G, Rank> gradient,
                                              std::size_t axis, TaylorSum sum = TaylorSum::elements,
                                              const Execution& execution = {}) {
  if (w.shape() != gradient.shape())
    throw ShapeError("a gradient of shape " + to_string(gradient.shape()) +
                     " does not fit a weight of shape " + to_string(w.shape()));
  if (sum == TaylorSum::elements)
    return detail::sums_along(
        axis, execution, [](double v, double g) { return std::fabs(v * g); }, w, gradient);
  std::vector<double> sums = detail::sums_along(
      axis, execution, [](double v, double g) { return v * g; }, w, gradient);
  for (double& s : sums) s = std::fabs(s);
  return sums;
}

}  // namespace pare
