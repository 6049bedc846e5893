#pragma once

#include <string>

#include "pare/core/finite.hpp"
#include "pare/core/tensor.hpp"

/// Loops over the channels of a tensor of any rank: its slices along one axis.
namespace pare::detail {

/// The axis that `axis` names, which may count from the end. Throws ShapeError where there is none.
[[nodiscard]] inline std::size_t require_axis(Index axis, std::size_t rank) {
  const auto extents = static_cast<Index>(rank);
  if (axis < -extents || axis >= extents)
    throw ShapeError("a tensor of rank " + std::to_string(rank) + " has no axis " +
                     std::to_string(axis));
  return static_cast<std::size_t>(axis < 0 ? axis + extents : axis);
}

/// Calls f(a, b, ...) for the elements at each position of views of one shape, in row-major order.
template <class F, std::size_t Rank, class... T>
void for_each_position(const F& f, const TensorView<T, Rank>&... views) {
  if constexpr (Rank == 0) {
    f(views()...);
  } else {
    const Index extents[] = {views.extent(0)...};
    for (Index i = 0; i < extents[0]; ++i) {
      if constexpr (Rank == 1)
        f(views[i]...);
      else
        for_each_position(f, views.row(i)...);
    }
  }
}

/// Throws NumericError naming the channel of the first element that is NaN or infinite.
template <std::size_t Rank>
void require_finite_channels(TensorView<const float, Rank> tensor, std::size_t axis,
                             std::string_view what) {
  for (Index c = 0; c < tensor.extent(axis); ++c)
    for_each_position(
        [&](float value) {
          if (!is_finite(static_cast<double>(value)))
            throw NumericError("the " + std::string(what) + " of channel " + std::to_string(c) +
                               " holds a value that is not finite");
        },
        tensor.select(axis, c));
}

}  // namespace pare::detail
