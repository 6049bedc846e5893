#pragma once

#include <array>
#include <span>
#include <string>
#include <type_traits>

#include "pare/core/tensor.hpp"
#include "pare/kernels/execution.hpp"

namespace pare {

namespace detail {

template <class T, std::size_t Rank>
void take_into(TensorView<const T, Rank> source, const std::span<const Index>* kept,
               TensorView<T, Rank> target) {
  if constexpr (Rank == 1) {
    for (Index i = 0; i < target.extent(0); ++i)
      target[i] = source[kept[0][static_cast<std::size_t>(i)]];
  } else {
    for (Index i = 0; i < target.extent(0); ++i)
      take_into<T, Rank - 1>(source.row(kept[0][static_cast<std::size_t>(i)]), kept + 1,
                             target.row(i));
  }
}

}  // namespace detail

/// The elements of a tensor whose index along every axis is listed, in the order of the lists.
///
/// Shapes    source of any rank from 1; the result has the extents of the lists
/// Values    of any trivially copyable type; copied, whatever they are
/// Errors    ShapeError naming an index outside its axis
/// Order     independent of the number of threads
template <class T, std::size_t Rank>
requires(Rank > 0) [[nodiscard]] Tensor<std::remove_const_t<T>, Rank> take(
    TensorView<T, Rank> source, const std::array<std::span<const Index>, Rank>& kept,
    const Execution& execution = {}) {
  using Value = std::remove_const_t<T>;
  Shape<Rank> shape{};
  for (std::size_t d = 0; d < Rank; ++d) {
    shape[d] = static_cast<Index>(kept[d].size());
    for (const Index i : kept[d])
      if (i < 0 || i >= source.extent(d))
        throw ShapeError("index " + std::to_string(i) + " is outside axis " + std::to_string(d) +
                         " of shape " + to_string(source.shape()));
  }
  Tensor<Value, Rank> result(shape);
  const TensorView<const Value, Rank> from = source;
  execution.parallel_for(shape[0], [&](Index i) {
    std::array<std::span<const Index>, Rank> lists = kept;
    lists[0] = kept[0].subspan(static_cast<std::size_t>(i), 1);
    detail::take_into<Value, Rank>(from, lists.data(), result.view().slice(0, i, 1));
  });
  return result;
}
template <class T, std::size_t Rank>
[[nodiscard]] Tensor<T, Rank> take(const Tensor<T, Rank>& source,
                                   const std::array<std::span<const Index>, Rank>& kept,
                                   const Execution& execution = {}) {
  return take(source.view(), kept, execution);
}

}  // namespace pare
